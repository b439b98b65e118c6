//! Compiled tables, and one mapping operation: a text goes in at the top of a table, an output and flags come out.
//!
//! # Invariants
//! An operation ends, whatever table and input are: restarts are counted as the documents say, and all work of an
//! operation, of the tables it asks included, comes out of one budget. Entries that do not match cost no allocation.
//! # Not here
//! What a caller makes of the answer; the language (`pattern`, `template`).

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;

use sluice_config::{MappingEntry, Mappings};
use sluice_diag::{Diagnostic, Span};

use super::check;
use super::pattern::{self, Matched, Pattern, SAVED_MAX, Saved, Scratch};
use super::quick::{Quick, Sieve, Text};
use super::template::{self, Case, Control, Op};
use crate::lookups::{Lookups, RoutineCall, routine_names};

/// Passes over a table that may follow each other without the text getting shorter.
const RESTARTS_MAX: u32 = 10;
/// Tables that may ask each other.
const NESTING_MAX: u32 = 10;
/// Longest text that templates may build. The products have room for 252 or 1024 characters.
const OUTPUT_LENGTH_MAX: usize = 16 * 1024;
/// Steps of all matches, expansions and passes of one operation.
const STEPS_MAX: u64 = 4_000_000;

/// A set of flags: letters in upper case, and a few signs.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u128);

impl Flags {
    /// No flags.
    pub const NONE: Flags = Flags(0);

    /// Is this flag in the set? Letter case does not count.
    #[must_use]
    pub fn has(self, flag: char) -> bool {
        self.0 & bit(flag) != 0
    }

    /// The set with one flag more.
    #[must_use]
    pub fn with(self, flag: char) -> Flags {
        Flags(self.0 | bit(flag))
    }

    /// The flags in alphabetical order (that of ASCII, signs first).
    pub fn iter(self) -> impl Iterator<Item = char> {
        (0..128u8).filter(move |code| self.0 & (1 << code) != 0).map(char::from)
    }

    /// Takes a flag in; of `Y` and `N` the last one counts.
    fn add(&mut self, flag: char) {
        match flag {
            'Y' => self.0 &= !bit('N'),
            'N' => self.0 &= !bit('Y'),
            _ => {}
        }
        *self = self.with(flag);
    }
}

fn bit(flag: char) -> u128 {
    if flag.is_ascii_graphic() { 1 << (flag.to_ascii_uppercase() as u8) } else { 0 }
}

impl FromIterator<char> for Flags {
    fn from_iter<T: IntoIterator<Item = char>>(flags: T) -> Flags {
        flags.into_iter().fold(Flags::NONE, Flags::with)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|flag| write!(f, "{flag}"))
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

/// What a table said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The text after the last entry that succeeded; `None` when no pattern matched. An entry that matched and failed gives
    /// the text as it was.
    pub output: Option<String>,
    /// The flags of all entries that matched, `C`, `L`, `R` and `E` left out: they only steer.
    pub flags: Flags,
    /// What went wrong on the way and is the operator's business: a pattern that was given up, a loop that was ended.
    pub warnings: Vec<String>,
}

impl Answer {
    /// Did any pattern match?
    #[must_use]
    pub fn matched(&self) -> bool {
        self.output.is_some()
    }
}

/// All mapping tables of a configuration, ready for any number of threads.
#[derive(Debug, Default)]
pub struct MappingTables {
    tables: Vec<Table>,
    by_name: HashMap<Box<str>, usize>,
    routines: Vec<RoutineCall>,
}

#[derive(Debug)]
struct Table {
    name: Box<str>,
    entries: Vec<Entry>,
    sieve: Sieve,
}

#[derive(Debug)]
struct Entry {
    pattern: Pattern,
    ops: Box<[Op]>,
    span: Span,
}

impl MappingTables {
    /// Compiles the tables and checks them. An entry whose pattern has a mistake never matches; one whose template has
    /// one matches and fails.
    #[must_use]
    pub fn compile(mappings: &Mappings) -> (MappingTables, Vec<Diagnostic>) {
        let mut compiled = MappingTables::default();
        let mut found = Vec::new();
        for table in mappings.iter() {
            let mut checker = check::Checker::new(mappings, &mut found);
            let mut entries = Vec::with_capacity(table.entries.len());
            for entry in &table.entries {
                let (pattern, mistakes) = pattern::parse(&entry.pattern);
                let template = template::parse(&entry.template);
                checker.entry(entry, &pattern, &mistakes, &template);
                compiled.routines.extend(routine_calls(entry, &template));
                if mistakes.is_empty() {
                    let ops = template.ops.into_iter().map(|(op, _)| op).collect();
                    entries.push(Entry { pattern, ops, span: entry.span });
                }
            }
            let sieve = Sieve::new(entries.iter().map(|entry| &entry.pattern));
            let index = compiled.tables.len();
            // Callers write names of tables in upper case, which is then found without being changed first.
            let index_of = *compiled.by_name.entry(table.name.to_lowercase().into()).or_insert(index);
            if table.name.is_ascii() {
                compiled.by_name.entry(table.name.to_ascii_uppercase().into()).or_insert(index_of);
            }
            compiled.tables.push(Table { name: table.name.as_str().into(), entries, sieve });
        }
        (compiled, found)
    }

    /// Are there no tables?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Is there a table of that name, case aside?
    #[must_use]
    pub fn has(&self, table: &str) -> bool {
        self.index(table).is_some()
    }

    /// The names of the tables, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|table| &*table.name)
    }

    /// The flags that entries of a table put out, each with the place of its entry.
    pub fn flags_in(&self, table: &str) -> impl Iterator<Item = (Flags, Span)> {
        let entries = self.index(table).map_or(&[][..], |index| &self.tables[index].entries);
        entries.iter().map(|entry| {
            let flags = entry.ops.iter().filter_map(|op| match op {
                Op::Flag(flag) => Some(*flag),
                _ => None,
            });
            (flags.collect(), entry.span)
        })
    }

    /// The routines that entries call.
    pub fn routines(&self) -> impl Iterator<Item = &RoutineCall> {
        self.routines.iter()
    }

    /// Asks a table. `None`: there is no such table.
    #[must_use]
    pub fn probe(&self, table: &str, input: &str, flags: Flags, lookups: &dyn Lookups) -> Option<Answer> {
        let table = self.index(table)?;
        let mut run = Run {
            tables: self,
            lookups,
            input: flags,
            scratch: Scratch::default(),
            work: 0,
            depth: 0,
            warnings: Vec::new(),
        };
        let (output, flags) = run.table(table, input);
        Some(Answer { output, flags, warnings: run.warnings })
    }

    fn index(&self, table: &str) -> Option<usize> {
        if self.by_name.is_empty() {
            return None;
        }
        let found = self.by_name.get(table).copied();
        found.or_else(|| self.by_name.get(table.to_lowercase().as_str()).copied())
    }
}

/// The calls of a template, those inside other look-ups included.
fn routine_calls(entry: &MappingEntry, template: &template::Template) -> Vec<RoutineCall> {
    fn named(op: &Op, span: Span, calls: &mut Vec<RoutineCall>) {
        if let Op::Routine(text) = op
            && let Some(Op::Text(names)) = text.first()
            && let Some((image, routine, _)) = routine_names(names)
        {
            calls.push(RoutineCall { image: image.to_owned(), routine: routine.to_owned(), span });
        }
        op.inside().for_each(|op| named(op, span, calls));
    }
    let mut calls = Vec::new();
    for (op, place) in &template.ops {
        named(op, entry.template_part(place.start, place.end), &mut calls);
    }
    calls
}

/// One operation, with the tables that it asks in turn.
struct Run<'a> {
    tables: &'a MappingTables,
    lookups: &'a dyn Lookups,
    input: Flags,
    scratch: Scratch,
    work: u64,
    depth: u32,
    warnings: Vec<String>,
}

/// A template being expanded.
struct Expansion<'a> {
    text: &'a str,
    saved: Saved,
    saved_count: usize,
    flags: &'a mut Flags,
    control: Option<Control>,
}

/// A part of a template failed.
struct PartFailed;

type Step = Result<ControlFlow<()>, PartFailed>;

/// How text is put out: what `$\ $^ $_` and `$=` set.
#[derive(Default)]
struct Output {
    text: String,
    case: Case,
    ldap: bool,
}

impl Run<'_> {
    fn warn(&mut self, text: String) {
        if self.warnings.len() < 8 {
            self.warnings.push(text);
        }
    }

    fn table(&mut self, index: usize, input: &str) -> (Option<String>, Flags) {
        let tables = self.tables;
        let table = &tables.tables[index];
        let mut string = Cow::Borrowed(input);
        let (mut flags, mut any) = (Flags::NONE, false);
        let mut at = 0;
        let (mut loop_wanted, mut looped) = (false, false);
        let mut passes = Passes::new(input);
        let mut text = Text::new(&string, &table.sieve);
        loop {
            let Some((place, saved)) = self.next_match(table, at, &string, &text) else {
                if loop_wanted && !looped && passes.again(&string) && self.afford(table) {
                    looped = true;
                    at = 0;
                    continue;
                }
                break;
            };
            any = true;
            let entry = &table.entries[place];
            let mut expansion = Expansion {
                text: &string,
                saved,
                saved_count: entry.pattern.saved.min(SAVED_MAX),
                flags: &mut flags,
                control: None,
            };
            let result = self.expand(&entry.ops, &mut expansion);
            let control = expansion.control;
            if let Ok(result) = result {
                string = Cow::Owned(result);
                text = Text::new(&string, &table.sieve);
            }
            match control {
                // A later entry overrides the wish of an earlier one for another pass (Messaging Server Administration
                // Reference, "Mapping Entry Templates").
                Some(Control::Continue) => (loop_wanted, at) = (false, place + 1),
                Some(Control::Loop) => {
                    loop_wanted = true;
                    at = place + 1;
                }
                Some(Control::Restart) if passes.again(&string) && self.afford(table) => {
                    (loop_wanted, at) = (false, 0);
                }
                Some(Control::Restart | Control::End) | None => break,
            }
        }
        (any.then(|| string.into_owned()), flags)
    }

    /// Takes a pass over the table out of the budget; false when there is nothing left.
    fn afford(&mut self, table: &Table) -> bool {
        self.work += 64 + table.entries.len() as u64 / 8;
        if self.work <= STEPS_MAX {
            return true;
        }
        self.warn(format!("mapping table {} was stopped: it goes round and round", table.name));
        false
    }

    /// The next entry that matches, from `at` on.
    fn next_match(&mut self, table: &Table, at: usize, string: &str, text: &Text) -> Option<(usize, Saved)> {
        let mut saved = Saved::default();
        let candidates = table.sieve.rest(at);
        for (offset, quick) in candidates.iter().enumerate() {
            if !Quick::may_match(quick, text) {
                continue;
            }
            let place = at + offset;
            let entry = &table.entries[place];
            if self.work > STEPS_MAX {
                self.warn(format!("mapping table {} was stopped: too much work for one text", table.name));
                return None;
            }
            let (matched, steps) = entry.pattern.matches(string, &mut saved, &mut self.scratch);
            self.work += 1 + steps;
            match matched {
                Matched::Yes => return Some((place, saved)),
                Matched::No => {}
                Matched::TooMuchWork => self.warn(format!(
                    "entry {} of mapping table {} was taken as not matching: comparing took more than {} steps",
                    place + 1,
                    table.name,
                    pattern::STEPS_MAX
                )),
            }
        }
        None
    }

    fn expand(&mut self, ops: &[Op], expansion: &mut Expansion<'_>) -> Result<String, PartFailed> {
        let mut output = Output::default();
        for op in ops {
            if self.step(op, expansion, &mut output)?.is_break() {
                break;
            }
        }
        Ok(output.text)
    }

    fn step(&mut self, op: &Op, expansion: &mut Expansion<'_>, output: &mut Output) -> Step {
        match op {
            Op::Text(text) => output.put(text)?,
            Op::Wildcard(number) => {
                let number = usize::from(*number);
                if number < expansion.saved_count {
                    let (from, to) = expansion.saved[number];
                    output.put_substituted(&expansion.text[from as usize..to as usize])?;
                }
            }
            Op::Case(case) => output.case = *case,
            Op::QuoteForLdap => output.ldap = true,
            Op::Sequence { file, radix, width, modulus } => {
                let number = self.lookups.sequence(file).ok_or(PartFailed)?;
                let number = modulus.map_or(number, |modulus| number % modulus);
                output.put(&in_radix(number, *radix, *width))?;
            }
            Op::Chance(percent) => {
                if self.lookups.percent() >= *percent {
                    return Err(PartFailed);
                }
            }
            Op::Table { name, text } => {
                let name = self.expand(name, expansion)?;
                let text = self.expand(text, expansion)?;
                let answer = self.ask(name.trim(), &text).ok_or(PartFailed)?;
                output.put_substituted(&answer)?;
            }
            Op::Database(key) => {
                let key = self.expand(key, expansion)?;
                let value = self.lookups.database("general", &key).ok_or(PartFailed)?;
                output.put_substituted(&value)?;
            }
            Op::Routine(text) => {
                let asked = self.expand(text, expansion)?;
                let (image, routine, argument) = routine_names(&asked).ok_or(PartFailed)?;
                let value = self.lookups.routine(image, routine, argument).ok_or(PartFailed)?;
                output.put_substituted(&value)?;
            }
            Op::Input(flag, wanted) => {
                if self.input.has(*flag) != *wanted {
                    return Err(PartFailed);
                }
            }
            Op::Control(control) => expansion.control = Some(*control),
            Op::Stop => {
                expansion.control = Some(Control::End);
                return Ok(ControlFlow::Break(()));
            }
            Op::Flag(flag) => expansion.flags.add(*flag),
            Op::NotAvailable | Op::Broken => return Err(PartFailed),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Another table's answer, if it says `$Y`.
    fn ask(&mut self, table: &str, text: &str) -> Option<String> {
        let index = self.tables.index(table)?;
        self.work += 64;
        if self.depth >= NESTING_MAX {
            self.warn(format!("mapping tables ask each other more than {NESTING_MAX} levels deep"));
            return None;
        }
        self.depth += 1;
        let (output, flags) = self.table(index, text);
        self.depth -= 1;
        output.filter(|_| flags.has('Y'))
    }
}

impl Output {
    fn put(&mut self, text: &str) -> Result<(), PartFailed> {
        if self.text.len() + text.len() > OUTPUT_LENGTH_MAX {
            return Err(PartFailed);
        }
        match self.case {
            Case::AsIs => self.text.push_str(text),
            Case::Lower => self.text.push_str(&text.to_lowercase()),
            Case::Upper => self.text.push_str(&text.to_uppercase()),
        }
        Ok(())
    }

    fn put_substituted(&mut self, text: &str) -> Result<(), PartFailed> {
        if self.ldap {
            self.put(&crate::evaluate::quote_for_ldap(Cow::Borrowed(text)))
        } else {
            self.put(text)
        }
    }
}

/// Counts the passes over a table.
struct Passes {
    /// Characters of the text that the last pass began with.
    length: usize,
    count: u32,
}

impl Passes {
    fn new(text: &str) -> Passes {
        Passes { length: text.chars().count(), count: 0 }
    }

    /// May another pass begin, with this text?
    fn again(&mut self, text: &str) -> bool {
        let length = text.chars().count();
        self.count = if length >= self.length { self.count + 1 } else { 0 };
        self.length = length;
        self.count <= RESTARTS_MAX
    }
}

/// A number in digits of a radix, `0` to `9` and `A` to `Z`, with zeros in front up to a width.
fn in_radix(mut number: u64, radix: u32, width: usize) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = char::from_digit((number % u64::from(radix)) as u32, radix).unwrap_or('0');
        digits.push(digit.to_ascii_uppercase());
        number /= u64::from(radix);
        if number == 0 {
            break;
        }
    }
    while digits.len() < width {
        digits.push('0');
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_radix_and_a_width() {
        assert_eq!(in_radix(0, 10, 0), "0");
        assert_eq!(in_radix(255, 16, 4), "00FF");
        assert_eq!(in_radix(u64::MAX, 36, 0), "3W5E11264SGSF");
        assert_eq!(in_radix(12345, 10, 3), "12345");
    }

    #[test]
    fn the_last_of_yes_and_no_counts() {
        let mut flags = Flags::NONE;
        for flag in ['Y', 'D', 'N'] {
            flags.add(flag);
        }
        assert_eq!(flags.to_string(), "DN");
        assert!(flags.has('d') && !flags.has('é'));
    }
}
