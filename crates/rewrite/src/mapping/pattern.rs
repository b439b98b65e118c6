//! A pattern of a mapping entry, read once into elements, and the matcher.
//!
//! The language is that of the PMDF System Manager's Guide, chapter 5 ("mapping file, patterns"): wildcards, classes, sets,
//! back matches, and the address forms of the later products. Letter case never counts.
//!
//! The matcher backtracks. Without back matches a place in pattern and text that failed once fails always, so failures
//! are remembered once a match turns out to be long; that keeps the work polynomial. What is left is stopped by
//! [`WORK_MAX`].
//!
//! # Not here
//! Templates, and the order of entries (`table`).

mod cover;
mod elements;
mod matching;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use matching::Matcher;

/// Steps of one match before it is given up as "no match". Honest patterns need a few dozen.
pub(crate) const STEPS_MAX: u32 = 1_000_000;
/// A step into a place not seen before costs this much; one that only looks costs 1.
const STEP_COST: u64 = 16;
const WORK_MAX: u64 = STEPS_MAX as u64 * STEP_COST;
/// Work after which failures are remembered.
const REMEMBER_AFTER: u64 = 512 * STEP_COST;
/// Places for which failures are remembered; beyond that only the limit on work helps.
const PLACES_MAX: usize = 1 << 24;
/// Elements of a pattern. A pattern of legal length cannot have more.
const ITEMS_MAX: usize = 1024;
/// Longest text of an IPv6 address.
const IPV6_TEXT_MAX: usize = 45;

/// What one wildcard takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Class {
    Any,
    Alpha,
    Binary,
    Decimal,
    Hexadecimal,
    Octal,
    Symbol,
    Blank,
    /// Ranges of characters in lower case and upper case.
    Set(Box<[(char, char)]>),
}

impl Class {
    fn letter(letter: char) -> Option<Class> {
        Some(match letter.to_ascii_uppercase() {
            'A' => Class::Alpha,
            'B' => Class::Binary,
            'D' => Class::Decimal,
            'H' | 'X' => Class::Hexadecimal,
            'O' => Class::Octal,
            'S' => Class::Symbol,
            'T' => Class::Blank,
            _ => return None,
        })
    }

    fn has(&self, c: char) -> bool {
        match self {
            Class::Any => true,
            Class::Alpha => c.is_ascii_alphabetic(),
            Class::Binary => matches!(c, '0' | '1'),
            Class::Decimal => c.is_ascii_digit(),
            Class::Hexadecimal => c.is_ascii_hexdigit(),
            Class::Octal => matches!(c, '0'..='7'),
            Class::Symbol => c.is_ascii_alphanumeric() || matches!(c, '_' | '$'),
            Class::Blank => matches!(c, ' ' | '\t' | '\x0B'),
            Class::Set(ranges) => {
                let inside = |c: char| ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                inside(c) || c.to_lowercase().any(inside) || c.to_uppercase().any(inside)
            }
        }
    }
}

/// One element.
#[derive(Debug, Clone, PartialEq)]
enum Item {
    /// Text, ASCII letters in lower case.
    Text(Box<str>),
    /// A wildcard for one character.
    One(Class, Option<u8>),
    /// A wildcard for any number of characters.
    Run { class: Class, few: bool, save: Option<u8> },
    /// What a wildcard in front took.
    Back(u8, Option<u8>),
    /// An IPv4 address; bits of the mask count.
    V4 { net: u32, mask: u32, save: Option<u8> },
    /// An IPv6 address.
    V6 { net: u128, mask: u128, save: Option<u8> },
}

/// A mistake in a pattern, with its place in the pattern's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    pub(crate) place: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// `$` at the end.
    Dangling,
    /// No such sequence.
    Unknown,
    /// A class or modifier without `*` or `%` behind it.
    NoWildcard,
    /// `$[` without `]`.
    OpenSet,
    /// `$[]`.
    EmptySet,
    /// A range from a greater to a smaller character.
    BadRange,
    /// A back match to a wildcard that is not in front of it.
    BackMatch,
    /// `$(`, `$<` or `${` without its end.
    OpenAddress,
    /// Not an address.
    BadAddress,
    /// More bits than the address has.
    BadPrefix,
    /// More elements than any legal pattern has.
    TooLong,
}

/// What every text that matches has in common; most entries are passed over on that alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signs {
    /// The first octets, in lower case, first one lowest.
    pub(crate) head: u64,
    pub(crate) head_mask: u64,
    /// The last octets, in lower case, last one lowest.
    pub(crate) tail: u64,
    pub(crate) tail_mask: u64,
}

impl Signs {
    /// Can a pattern with these signs match all that one with the other signs matches?
    pub(crate) fn allow(self, special: Signs) -> bool {
        let head = special.head_mask & self.head_mask == self.head_mask
            && special.head & self.head_mask == self.head;
        let tail = special.tail_mask & self.tail_mask == self.tail_mask
            && special.tail & self.tail_mask == self.tail;
        head && tail
    }
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pattern {
    items: Box<[Item]>,
    /// How many wildcards are saved; only the first ten can be named.
    pub(crate) saved: usize,
    has_back: bool,
    /// Fewest octets of a text that matches.
    length_min: usize,
}

/// The texts that wildcards took: the first ten.
pub(crate) type Saved = [(u32, u32); SAVED_MAX];
/// Wildcards that can be named: `$0` to `$9`.
pub(crate) const SAVED_MAX: usize = 10;
/// Index of a wildcard whose text can be named by a back match; some more than ten are kept for those.
const BACK_MAX: usize = 64;

/// How a match ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matched {
    Yes,
    No,
    /// Given up.
    TooMuchWork,
}

/// Memory of the matcher, used again from match to match.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    failed: Vec<u64>,
}

/// Reads a pattern. One with mistakes matches nothing.
pub(crate) fn parse(text: &str) -> (Pattern, Vec<Problem>) {
    let mut reader =
        Reader { text, items: Vec::new(), literal: String::new(), saved: 0, problems: Vec::new() };
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let next = at + c.len_utf8();
        at = match c {
            '$' => reader.sequence(at),
            '%' => {
                let save = reader.save(true);
                reader.push(Item::One(Class::Any, save));
                next
            }
            '*' => {
                let save = reader.save(true);
                reader.push(Item::Run { class: Class::Any, few: false, save });
                next
            }
            other => {
                reader.literal.push(other.to_ascii_lowercase());
                next
            }
        };
    }
    reader.flush();
    if reader.items.len() > ITEMS_MAX {
        reader.problem(ProblemKind::TooLong, 0, text.len());
    }
    let length_min = reader.items.iter().map(Item::length_min).sum();
    let has_back = reader.items.iter().any(|item| matches!(item, Item::Back(..)));
    let pattern = Pattern { items: reader.items.into(), saved: reader.saved, has_back, length_min };
    (pattern, reader.problems)
}

struct Reader<'t> {
    text: &'t str,
    items: Vec<Item>,
    literal: String,
    saved: usize,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn flush(&mut self) {
        if !self.literal.is_empty() {
            let text = std::mem::take(&mut self.literal);
            self.items.push(Item::Text(text.into()));
        }
    }

    fn push(&mut self, item: Item) {
        self.flush();
        self.items.push(item);
    }

    /// The number of the next wildcard, if it is kept.
    fn save(&mut self, wanted: bool) -> Option<u8> {
        if !wanted {
            return None;
        }
        let index = self.saved;
        self.saved += 1;
        u8::try_from(index).ok().filter(|index| usize::from(*index) < BACK_MAX)
    }

    fn problem(&mut self, kind: ProblemKind, start: usize, end: usize) -> usize {
        self.problems.push(Problem { kind, place: start..end });
        end
    }

    /// What begins with the `$` at `start`; gives the offset behind it.
    fn sequence(&mut self, start: usize) -> usize {
        let text = self.text;
        let mut at = start + 1;
        let Some(first) = text[at..].chars().next() else {
            return self.problem(ProblemKind::Dangling, start, text.len());
        };
        if matches!(first, '*' | '%' | '$' | ' ' | '\t') {
            self.literal.push(first);
            return at + 1;
        }
        let (mut few, mut keep) = (false, true);
        let mut class: Option<Class> = None;
        let mut back: Option<usize> = None;
        loop {
            let Some(c) = text[at..].chars().next() else {
                return self.problem(ProblemKind::NoWildcard, start, text.len());
            };
            let plain = class.is_none() && back.is_none();
            match c {
                '_' => few = true,
                '@' => keep = false,
                '^' => keep = true,
                '*' | '%' => {
                    let save = self.save(keep);
                    match (back, class) {
                        (Some(number), _) => match u8::try_from(number) {
                            Ok(number) => self.push(Item::Back(number, save)),
                            Err(_) => return self.problem(ProblemKind::BackMatch, start, at + 1),
                        },
                        (None, class) => {
                            let class = class.unwrap_or(Class::Any);
                            self.push(match c {
                                '%' => Item::One(class, save),
                                _ => Item::Run { class, few, save },
                            });
                        }
                    }
                    return at + 1;
                }
                '0'..='9' if plain => {
                    let digits = text[at..].bytes().take_while(u8::is_ascii_digit).count();
                    let number = text[at..at + digits].parse().unwrap_or(usize::MAX);
                    if number >= self.saved.min(BACK_MAX) {
                        self.problem(ProblemKind::BackMatch, start, at + digits);
                    }
                    back = Some(number);
                    at += digits;
                    continue;
                }
                '[' if plain => match self.set(start, at + 1) {
                    Ok((set, behind)) => {
                        class = Some(set);
                        at = behind;
                        continue;
                    }
                    Err(behind) => return behind,
                },
                '(' | '<' | '{' if plain => return self.address(start, at, c, keep),
                c if plain => match Class::letter(c) {
                    Some(known) => class = Some(known),
                    None => return self.problem(ProblemKind::Unknown, start, at + c.len_utf8()),
                },
                _ => return self.problem(ProblemKind::NoWildcard, start, at),
            }
            at += c.len_utf8();
        }
    }

    /// The set whose first character is at `from`; gives it and the offset behind its bracket.
    fn set(&mut self, start: usize, from: usize) -> Result<(Class, usize), usize> {
        let text = self.text;
        // Each character, and whether a hyphen is one that makes a range.
        let mut members: Vec<(char, bool, usize)> = Vec::new();
        let mut characters = text[from..].char_indices();
        let end = loop {
            match characters.next() {
                None => return Err(self.problem(ProblemKind::OpenSet, start, text.len())),
                Some((_, '\\')) => match characters.next() {
                    None => return Err(self.problem(ProblemKind::OpenSet, start, text.len())),
                    Some((at, c)) => members.push((c, false, from + at)),
                },
                Some((at, ']')) => break from + at + 1,
                Some((at, c)) => members.push((c, c == '-', from + at)),
            }
        };
        if members.is_empty() {
            return Err(self.problem(ProblemKind::EmptySet, start, end));
        }
        let mut ranges = Vec::new();
        let mut index = 0;
        while let Some((low, _, at)) = members.get(index) {
            match members.get(index + 1..index + 3) {
                Some([(_, true, _), (high, _, last)]) => {
                    // As case does not count, `A-f` and `a-F` are `a-f`.
                    let letters = low.is_ascii_alphabetic() && high.is_ascii_alphabetic();
                    let fold = |c: char| if letters { c.to_ascii_lowercase() } else { c };
                    let (from, to) = (fold(*low), fold(*high));
                    if from > to {
                        self.problem(ProblemKind::BadRange, *at, last + high.len_utf8());
                    }
                    ranges.push((from, to));
                    index += 3;
                }
                _ => {
                    ranges.push((*low, *low));
                    index += 1;
                }
            }
        }
        Ok((Class::Set(ranges.into()), end))
    }

    /// `$(…)`, `$<…>`, `${…}` with its opening character at `open`.
    fn address(&mut self, start: usize, open: usize, letter: char, keep: bool) -> usize {
        let close = match letter {
            '(' => ')',
            '<' => '>',
            _ => '}',
        };
        let Some(length) = self.text[open + 1..].find(close) else {
            return self.problem(ProblemKind::OpenAddress, start, self.text.len());
        };
        let inside = open + 1..open + 1 + length;
        let behind = inside.end + 1;
        let (address, bits) = match self.text[inside.clone()].split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (&self.text[inside.clone()], None),
        };
        let width: u32 = if letter == '{' { 128 } else { 32 };
        let significant = match bits {
            None => Some(width),
            Some(bits) => bits
                .parse::<u32>()
                .ok()
                .filter(|count| *count <= width && bits.bytes().all(|b| b.is_ascii_digit()))
                .map(|count| if letter == '<' { width - count } else { count }),
        };
        let Some(significant) = significant else {
            let slash = inside.start + address.len();
            return self.problem(ProblemKind::BadPrefix, slash, inside.end).max(behind);
        };
        let save = self.save(keep);
        if letter == '{' {
            let Ok(address) = address.parse::<Ipv6Addr>() else {
                return self
                    .problem(ProblemKind::BadAddress, inside.start, inside.end.max(inside.start))
                    .max(behind);
            };
            let mask = u128::MAX.checked_shl(128 - significant).unwrap_or(0);
            self.push(Item::V6 { net: u128::from(address) & mask, mask, save });
        } else {
            let quad = quad(address.as_bytes(), 0).filter(|(_, end)| *end == address.len());
            let Some((address, _)) = quad else {
                return self.problem(ProblemKind::BadAddress, inside.start, inside.end).max(behind);
            };
            let mask = u32::MAX.checked_shl(32 - significant).unwrap_or(0);
            self.push(Item::V4 { net: address & mask, mask, save });
        }
        behind
    }
}

/// The dotted quad at `at`: its value and end. All digits that are there belong to it.
fn quad(text: &[u8], mut at: usize) -> Option<(u32, usize)> {
    let mut value = 0;
    for part in 0..4 {
        if part > 0 {
            if text.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let start = at;
        let mut number = 0u32;
        while let Some(digit) = text.get(at).filter(|byte| byte.is_ascii_digit()) {
            number = number * 10 + u32::from(digit - b'0');
            at += 1;
            if at - start > 3 {
                return None;
            }
        }
        if at == start || number > 255 {
            return None;
        }
        value = value << 8 | number;
    }
    Some((value, at))
}

/// The longest IPv6 address at `at`: its value and end.
fn ipv6(text: &str, at: usize) -> Option<(u128, usize)> {
    let bytes = text.as_bytes();
    let part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let run = bytes[at..].iter().take(IPV6_TEXT_MAX + 1).take_while(|byte| part(byte)).count();
    (2..=run.min(IPV6_TEXT_MAX)).rev().find_map(|length| {
        let end = at + length;
        if bytes.get(end).is_some_and(u8::is_ascii_hexdigit) {
            return None;
        }
        let address: Ipv6Addr = text.get(at..end)?.parse().ok()?;
        Some((u128::from(address), end))
    })
}

/// The IPv4 address that a text begins with.
pub(crate) fn leading_address(text: &str) -> Option<Ipv4Addr> {
    quad(text.as_bytes(), 0).map(|(value, _)| Ipv4Addr::from(value))
}

impl Item {
    fn length_min(&self) -> usize {
        match self {
            // A letter may have a shorter spelling in the other case.
            Item::Text(text) if text.is_ascii() => text.len(),
            Item::Text(text) => text.chars().count(),
            Item::One(..) => 1,
            Item::Run { .. } | Item::Back(..) => 0,
            Item::V4 { .. } => 7,
            Item::V6 { .. } => 2,
        }
    }
}

impl Pattern {
    /// What every text that matches begins and ends with.
    pub(crate) fn signs(&self) -> Signs {
        let mut signs = Signs::default();
        if let Some(Item::Text(text)) = self.items.first() {
            for (place, byte) in text.bytes().take(8).take_while(u8::is_ascii).enumerate() {
                signs.head |= u64::from(byte) << (8 * place);
                signs.head_mask |= 0xFF << (8 * place);
            }
        }
        if let Some(Item::Text(text)) = self.items.last() {
            for (place, byte) in text.bytes().rev().take(8).take_while(u8::is_ascii).enumerate() {
                signs.tail |= u64::from(byte) << (8 * place);
                signs.tail_mask |= 0xFF << (8 * place);
            }
        }
        signs
    }

    /// Is there anything but plain text in it?
    pub(crate) fn is_open(&self) -> bool {
        self.items.iter().any(|item| !matches!(item, Item::Text(_)))
    }

    /// The network that a text must begin with, when an IPv4 address comes first: bits and mask.
    pub(crate) fn leading_network(&self) -> Option<(u32, u32)> {
        match self.items.first() {
            Some(Item::V4 { net, mask, .. }) => Some((*net, *mask)),
            _ => None,
        }
    }

    /// The plain texts in it, in lower case.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter_map(|item| match item {
            Item::Text(text) => Some(&**text),
            _ => None,
        })
    }

    /// Does `text` match, and what did the wildcards take? With the steps that it took.
    pub(crate) fn matches(&self, text: &str, saved: &mut Saved, scratch: &mut Scratch) -> (Matched, u64) {
        if text.len() < self.length_min {
            return (Matched::No, 0);
        }
        let mut matcher = Matcher {
            items: &self.items,
            text,
            taken: [(0, 0); BACK_MAX],
            work: 0,
            remember: !self.has_back && self.items.len() * (text.len() + 1) <= PLACES_MAX,
            remembering: false,
            scratch,
        };
        let found = matcher.run(0, 0);
        let steps = matcher.work / STEP_COST;
        if found {
            saved.copy_from_slice(&matcher.taken[..SAVED_MAX]);
            (Matched::Yes, steps)
        } else if matcher.work > WORK_MAX {
            (Matched::TooMuchWork, steps)
        } else {
            (Matched::No, steps)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run(pattern: &str, text: &str) -> Option<Vec<String>> {
        let (pattern, problems) = parse(pattern);
        assert!(problems.is_empty(), "{problems:?}");
        let mut saved = Saved::default();
        match pattern.matches(text, &mut saved, &mut Scratch::default()).0 {
            Matched::Yes => {
                let taken = saved.iter().take(pattern.saved);
                Some(taken.map(|(from, to)| text[*from as usize..*to as usize].to_owned()).collect())
            }
            Matched::No => None,
            Matched::TooMuchWork => panic!("too much work"),
        }
    }

    #[test]
    fn a_hard_pattern_ends() {
        let pattern = "*a".repeat(40);
        assert_eq!(run(&format!("{pattern}b"), &"a".repeat(400)), None);
        assert!(run(&pattern, &"a".repeat(400)).is_some());
        assert_eq!(run(&format!("{}!", "$D*".repeat(60)), &"1".repeat(300)), None);
    }

    #[test]
    fn a_pattern_of_back_matches_is_given_up() {
        let (pattern, _) = parse(&format!("*{}x", "*$0*".repeat(12)));
        let (found, _) = pattern.matches(&"ab".repeat(60), &mut Saved::default(), &mut Scratch::default());
        assert_eq!(found, Matched::TooMuchWork);
    }

    #[test]
    fn failures_of_one_match_are_forgotten_in_the_next() {
        let (pattern, _) = parse(&format!("{}b", "*a".repeat(30)));
        let mut scratch = Scratch::default();
        let text = "a".repeat(200);
        assert_eq!(pattern.matches(&text, &mut Saved::default(), &mut scratch).0, Matched::No);
        let ends = format!("{text}b");
        assert_eq!(pattern.matches(&ends, &mut Saved::default(), &mut scratch).0, Matched::Yes);
    }

    #[test]
    fn letters_beyond_ascii_have_no_case_either() {
        assert_eq!(run("Ärger*", "äRGERlich"), Some(vec!["lich".to_owned()]));
        assert_eq!(run("%", "é"), Some(vec!["é".to_owned()]));
        assert_eq!(run("*é", "é"), Some(vec![String::new()]));
        assert_eq!(run("$[à-é]%", "Ç"), Some(vec!["Ç".to_owned()]));
    }
}
