//! The table of patterns: from a pattern, with its tag in front, to its rules, by one probe.
//!
//! All patterns stand in one text, in lower case and as A-labels, each once; the index finds the place of one by its hash. A host is
//! asked for under a handful of patterns, so what counts is that a probe that finds nothing touches little memory, and that
//! one that finds something has all it needs in two places: the entry in the index with the short form of the rule, and the
//! pattern with the texts of that form behind it.
//!
//! # Not here
//! Which patterns are asked for a host, and in which order (`probe`); the rules themselves (`rewriter`).

use std::borrow::Cow;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use sluice_mail::a_labels;

use crate::direct::Direct;
use crate::probe::Reach;

/// Patterns and the numbers of their rules.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// The patterns in lower case, one behind the other, and behind each the texts of its short forms.
    text: String,
    index: HashTable<Slot>,
    hasher: RandomState,
    /// Rules of patterns that have several, in the order of the file.
    rules: Vec<Entry>,
    reach: Reach,
}

/// One pattern.
#[derive(Debug)]
struct Slot {
    /// Where it stands in the text.
    at: usize,
    length: u32,
    /// Patterns are numbered as they come.
    number: u32,
    count: u32,
    /// Where its rules stand in the list, when there are several.
    first: u32,
    /// Its rule when it has one, as most do.
    only: Entry,
}

/// A rule of a pattern.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// Its number.
    pub(crate) rule: u32,
    /// Its short form, if it has one; the texts are [`Table::texts`].
    pub(crate) direct: Option<Direct>,
}

/// Which pattern of the table each rule has.
pub(crate) struct SlotOf(Vec<u32>);

impl Table {
    /// A table of the patterns of all rules, which are numbered from 0.
    pub(crate) fn new<'p>(patterns: impl ExactSizeIterator<Item = &'p str>) -> (Table, SlotOf) {
        let mut table = Table { index: HashTable::with_capacity(patterns.len()), ..Table::default() };
        let mut slot_of = Vec::with_capacity(patterns.len());
        for (rule, pattern) in (0u32..).zip(patterns) {
            slot_of.push(table.enter(pattern, rule));
        }
        // Where the rules of each pattern begin, and later where the next of them goes.
        let mut places = vec![0; table.index.len()];
        let mut end = 0;
        for slot in table.index.iter_mut().filter(|slot| slot.count > 1) {
            slot.first = end;
            places[slot.number as usize] = end + 1;
            end += slot.count;
        }
        table.rules = vec![Entry { rule: 0, direct: None }; end as usize];
        for (rule, number) in (0u32..).zip(&slot_of) {
            // Patterns with one rule have no place, which is written as 0.
            let place = &mut places[*number as usize];
            if *place > 0 {
                table.rules[*place as usize - 1].rule = rule;
                *place += 1;
            }
        }
        table.index.shrink_to_fit(|slot| table.hasher.hash_one(slot.pattern(&table.text)));
        table.text.shrink_to_fit();
        (table, SlotOf(slot_of))
    }

    /// Takes in the short forms of the rules, in the order of the rules, and their texts.
    pub(crate) fn shorten(&mut self, directs: &[Option<Direct>], texts: &str) {
        let mut together = String::with_capacity(self.text.len() + texts.len());
        for slot in self.index.iter_mut() {
            let at = together.len();
            together.push_str(slot.pattern(&self.text));
            slot.at = at;
            let entries = match slot.count {
                1 => std::slice::from_mut(&mut slot.only),
                count => &mut self.rules[slot.first as usize..(slot.first + count) as usize],
            };
            for entry in entries {
                let direct = directs.get(entry.rule as usize).copied().flatten();
                entry.direct = direct.and_then(|direct| direct.moved(texts, &mut together));
            }
        }
        self.text = together;
    }

    /// The texts of all short forms.
    pub(crate) fn texts(&self) -> &str {
        &self.text
    }

    /// The number of a pattern, a new one if it has none; the pattern has one rule more.
    fn enter(&mut self, pattern: &str, rule: u32) -> u32 {
        let lower = lower(pattern);
        let hash = self.hasher.hash_one(&*lower);
        let Table { text, index, hasher, reach, .. } = self;
        if let Some(slot) = index.find_mut(hash, |slot| slot.pattern(text) == lower) {
            slot.count += 1;
            return slot.number;
        }
        let number = index.len() as u32;
        let only = Entry { rule, direct: None };
        let slot = Slot { at: text.len(), length: lower.len() as u32, number, count: 1, first: 0, only };
        text.push_str(&lower);
        index.insert_unique(hash, slot, |slot| hasher.hash_one(slot.pattern(text)));
        reach.add(&lower);
        number
    }

    fn slot(&self, pattern: &str) -> Option<&Slot> {
        let hash = self.hasher.hash_one(pattern);
        self.index.find(hash, |slot| slot.pattern(&self.text) == pattern)
    }

    /// The number of a pattern (lower case), below [`Table::len`].
    pub(crate) fn number(&self, pattern: &str) -> Option<usize> {
        self.slot(pattern).map(|slot| slot.number as usize)
    }

    /// The rules of a pattern (lower case), in the order of the file.
    pub(crate) fn rules(&self, pattern: &str) -> &[Entry] {
        match self.slot(pattern) {
            None => &[],
            Some(slot) if slot.count == 1 => std::slice::from_ref(&slot.only),
            Some(slot) => &self.rules[slot.first as usize..(slot.first + slot.count) as usize],
        }
    }

    /// All patterns, each once and in lower case, in no order.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = &str> {
        self.index.iter().map(|slot| slot.pattern(&self.text))
    }

    /// How many different patterns there are.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// What it is of use to ask for.
    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }
}

impl Slot {
    fn pattern<'t>(&self, text: &'t str) -> &'t str {
        &text[self.at..self.at + self.length as usize]
    }
}

impl SlotOf {
    /// The number of the pattern of a rule, below [`Table::len`].
    pub(crate) fn rule(&self, rule: usize) -> usize {
        self.0[rule] as usize
    }
}

/// The text in lower case and as A-labels, so that a rule is found in either spelling of a name; the text itself when it is that
/// already, as nearly all hosts and patterns are.
pub(crate) fn lower(text: &str) -> Cow<'_, str> {
    a_labels(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[&str]) -> (Table, SlotOf) {
        Table::new(patterns.iter().copied())
    }

    fn rules(table: &Table, pattern: &str) -> Vec<u32> {
        table.rules(pattern).iter().map(|entry| entry.rule).collect()
    }

    #[test]
    fn rules_of_a_pattern_keep_their_order() {
        let (table, slot_of) = table(&["a", ".B", "A", ".b", "a", "ä", "Ä", "only"]);
        assert_eq!(rules(&table, "only"), [7]);
        assert_eq!(rules(&table, "a"), [0, 2, 4]);
        assert_eq!(rules(&table, ".b"), [1, 3]);
        assert_eq!(rules(&table, "xn--4ca"), [5, 6]);
        assert_eq!(rules(&table, "A"), []);
        assert_eq!(rules(&table, "b"), []);
        assert_eq!(table.len(), 4);
        assert_eq!([0, 2, 4].map(|rule| slot_of.rule(rule)), [slot_of.rule(0); 3]);
        assert_eq!((table.number("xn--4ca"), table.number("ä"), table.number("")), (Some(2), None, None));
        let mut patterns: Vec<&str> = table.patterns().collect();
        patterns.sort_unstable();
        assert_eq!(patterns, [".b", "a", "only", "xn--4ca"]);
    }

    #[test]
    fn an_empty_table_has_nothing() {
        let (table, _) = table(&[]);
        assert_eq!((rules(&table, ""), table.len()), (vec![], 0));
    }
}
