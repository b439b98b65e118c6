//! The table of patterns: from a pattern, with its tag in front, to its rules, by one probe.
//!
//! All patterns stand in one text, in lower case and each once; the index finds the place of one by its hash. A host is
//! asked for under a handful of patterns, so what counts is that a probe that finds nothing touches little memory.
//!
//! # Not here
//! Which patterns are asked for a host, and in which order (`probe`); the rules themselves (`rewriter`).

use std::borrow::Cow;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::probe::Reach;

/// Patterns and the numbers of their rules.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// The patterns in lower case, one behind the other.
    text: String,
    slots: Vec<Slot>,
    index: HashTable<u32>,
    hasher: RandomState,
    /// Rules by slot, those of one slot in the order of the file.
    rules: Vec<u32>,
    reach: Reach,
}

/// One pattern.
#[derive(Debug)]
struct Slot {
    /// Where it stands in the text.
    at: usize,
    length: u32,
    /// Where its rules stand in the list of rules.
    first: u32,
    count: u32,
}

/// Which pattern of the table each rule has.
pub(crate) struct SlotOf(Vec<u32>);

impl Table {
    /// A table of the patterns of all rules, which are numbered from 0.
    pub(crate) fn new<'p>(patterns: impl ExactSizeIterator<Item = &'p str>) -> (Table, SlotOf) {
        let mut table = Table::default();
        let mut slot_of = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            slot_of.push(table.enter(pattern));
        }
        let mut next = 0;
        for slot in &mut table.slots {
            slot.first = next;
            next += std::mem::take(&mut slot.count);
        }
        table.rules = vec![0; slot_of.len()];
        for (rule, slot) in (0u32..).zip(&slot_of) {
            let slot = &mut table.slots[*slot as usize];
            table.rules[(slot.first + slot.count) as usize] = rule;
            slot.count += 1;
        }
        (table, SlotOf(slot_of))
    }

    /// The slot of a pattern, a new one if it has none, with one rule more.
    fn enter(&mut self, pattern: &str) -> u32 {
        let lower = lower(pattern);
        let hash = self.hasher.hash_one(&*lower);
        let Table { text, slots, index, hasher, reach, .. } = self;
        let found = index.find(hash, |slot| slots[*slot as usize].pattern(text) == lower);
        let slot = match found {
            Some(slot) => *slot,
            None => {
                let slot = slots.len() as u32;
                slots.push(Slot { at: text.len(), length: lower.len() as u32, first: 0, count: 0 });
                text.push_str(&lower);
                index.insert_unique(hash, slot, |slot| hasher.hash_one(slots[*slot as usize].pattern(text)));
                reach.add(&lower);
                slot
            }
        };
        slots[slot as usize].count += 1;
        slot
    }

    /// The number of a pattern (lower case), below [`Table::len`].
    pub(crate) fn number(&self, pattern: &str) -> Option<usize> {
        let hash = self.hasher.hash_one(pattern);
        let slot = self.index.find(hash, |slot| self.slots[*slot as usize].pattern(&self.text) == pattern)?;
        Some(*slot as usize)
    }

    /// The rules of a pattern (lower case), in the order of the file.
    pub(crate) fn rules(&self, pattern: &str) -> &[u32] {
        let slot = self.number(pattern).map(|number| &self.slots[number]);
        slot.map_or(&[], |slot| &self.rules[slot.first as usize..(slot.first + slot.count) as usize])
    }

    /// All patterns, each once and in lower case.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|slot| slot.pattern(&self.text))
    }

    /// How many different patterns there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
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

/// The text in lower case; the text itself when it is that already, as nearly all hosts and patterns are.
pub(crate) fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        Cow::Owned(text.to_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[&str]) -> (Table, SlotOf) {
        Table::new(patterns.iter().copied())
    }

    #[test]
    fn rules_of_a_pattern_keep_their_order() {
        let (table, slot_of) = table(&["a", ".B", "A", ".b", "a", "ä", "Ä"]);
        assert_eq!(table.rules("a"), [0, 2, 4]);
        assert_eq!(table.rules(".b"), [1, 3]);
        assert_eq!(table.rules("ä"), [5, 6]);
        assert_eq!(table.rules("A"), [0u32; 0]);
        assert_eq!(table.rules("b"), [0u32; 0]);
        assert_eq!(table.len(), 3);
        assert_eq!([0, 2, 4].map(|rule| slot_of.rule(rule)), [slot_of.rule(0); 3]);
        assert_eq!((table.number("ä"), table.number("")), (Some(2), None));
        assert_eq!(table.patterns().collect::<Vec<_>>(), ["a", ".b", "ä"]);
    }

    #[test]
    fn an_empty_table_has_nothing() {
        let (table, _) = table(&[]);
        assert_eq!((table.rules(""), table.len()), (&[][..], 0));
    }
}
