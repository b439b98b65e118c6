//! A template of a mapping entry, read once into instructions.
//!
//! The language is that of the PMDF System Manager's Guide, chapter 5 ("mapping file, templates"), with the additions of
//! Messaging Server. It is not the language of rewrite templates: `${…}` is the general database here and `$|…|` another
//! table, a digit stands for the text of a wildcard, and a letter that means nothing else is a flag for the caller.
//!
//! # Not here
//! Running the instructions (`table`).

use std::ops::Range;

use crate::lookups::routine_names;

/// Levels of look-ups inside look-ups that can be written.
const NESTING_MAX: usize = 12;

/// One instruction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    /// Text as written.
    Text(Box<str>),
    /// `$0` to `$9`.
    Wildcard(u8),
    /// `$\ $^ $_`.
    Case(Case),
    /// `$=`.
    QuoteForLdap,
    /// `$#file|radix|width|modulus#`.
    Sequence { file: Box<str>, radix: u32, width: usize, modulus: Option<u64> },
    /// `$?x?`.
    Chance(f64),
    /// `$|table;text|`.
    Table { name: Box<[Op]>, text: Box<[Op]> },
    /// `${text}`.
    Database(Box<[Op]>),
    /// `$[image,routine,text]`: all of it, with image and routine written out.
    Routine(Box<[Op]>),
    /// `$]url[`, `$}domain,attribute{`: never answered.
    NotAvailable,
    /// `$:x` (true) and `$;x` (false): goes on only if the input flag is set, or clear.
    Input(char, bool),
    /// `$C $L $R $E`.
    Control(Control),
    /// `$+1E`.
    Stop,
    /// A flag for the caller, upper case.
    Flag(char),
    /// Something that could not be read.
    Broken,
}

/// What happens to the letters of everything that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Case {
    #[default]
    AsIs,
    Lower,
    Upper,
}

/// What comes after an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// `$C`.
    Continue,
    /// `$L`.
    Loop,
    /// `$R`.
    Restart,
    /// `$E`.
    End,
}

/// A mistake in a template, with its place in the template's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    pub(crate) place: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// `$` is the last character.
    Dangling,
    /// `$` in front of a character that needs none.
    NoMeaning,
    /// A look-up without its end.
    Unclosed,
    /// Look-ups inside look-ups, too many.
    TooDeep,
    /// `$|…|` without `;`.
    NoSemicolon,
    /// `$?x?` where x is no percentage.
    BadChance,
    /// `$#…#` with something else than a file and numbers.
    BadSequence,
    /// `$:` or `$;` without a flag.
    NoFlag,
    /// `$[…]` without the names of image and routine, or with substitutions in them.
    RoutineNames,
}

/// A template that was read.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Template {
    /// Instructions, each with its place.
    pub(crate) ops: Vec<(Op, Range<usize>)>,
    pub(crate) problems: Vec<Problem>,
}

/// Reads a template.
pub(crate) fn parse(text: &str) -> Template {
    let mut reader = Reader { text, problems: Vec::new() };
    let (ops, _) = reader.read(0, None, 0);
    Template { ops, problems: reader.problems }
}

type Placed = (Op, Range<usize>);

struct Reader<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Reads from `at` up to `close`, or to the end; gives the offset of `close`, if it is there.
    fn read(&mut self, mut at: usize, close: Option<char>, depth: usize) -> (Vec<Placed>, Option<usize>) {
        let text = self.text;
        let mut ops: Vec<Placed> = Vec::new();
        while let Some(c) = text[at..].chars().next() {
            if Some(c) == close {
                return (ops, Some(at));
            }
            if c == '$' {
                let (op, end) = self.sequence(at, depth);
                match (op, ops.last_mut()) {
                    (Op::Text(more), Some((Op::Text(text), place))) => join(text, &more, place, end),
                    (op, _) => ops.push((op, at..end)),
                }
                at = end;
                continue;
            }
            let stop =
                text[at..].find(|c| c == '$' || Some(c) == close).map_or(text.len(), |offset| at + offset);
            match ops.last_mut() {
                Some((Op::Text(before), place)) => join(before, &text[at..stop], place, stop),
                _ => ops.push((Op::Text(text[at..stop].into()), at..stop)),
            }
            at = stop;
        }
        (ops, None)
    }

    fn broken(&mut self, kind: ProblemKind, start: usize, end: usize) -> (Op, usize) {
        self.problems.push(Problem { kind, place: start..end });
        (Op::Broken, end)
    }

    /// The text up to `close`, which is not looked into; the offset behind `close`.
    fn raw(&mut self, start: usize, at: usize, close: char) -> Result<(Range<usize>, usize), (Op, usize)> {
        match self.text[at..].find(close) {
            Some(length) => Ok((at..at + length, at + length + close.len_utf8())),
            None => Err(self.broken(ProblemKind::Unclosed, start, self.text.len())),
        }
    }

    /// What begins with the `$` at `start`, and where it ends.
    fn sequence(&mut self, start: usize, depth: usize) -> (Op, usize) {
        let text = self.text;
        let Some(c) = text[start + 1..].chars().next() else {
            return self.broken(ProblemKind::Dangling, start, text.len());
        };
        let after = start + 1 + c.len_utf8();
        let op = match c {
            '0'..='9' => Op::Wildcard(c as u8 - b'0'),
            '$' | ' ' | '\t' => Op::Text(c.to_string().into()),
            '\\' => Op::Case(Case::Lower),
            '^' => Op::Case(Case::Upper),
            '_' => Op::Case(Case::AsIs),
            '=' => Op::QuoteForLdap,
            '#' => return self.number(start, after),
            '?' => return self.chance(start, after),
            '|' | '{' | '[' => return self.look_up(c, start, after, depth),
            ']' | '}' => {
                let close = if c == ']' { '[' } else { '{' };
                return match self.raw(start, after, close) {
                    Ok((_, end)) => (Op::NotAvailable, end),
                    Err(broken) => broken,
                };
            }
            // The value for a temporary failure of a directory: no directory is asked, so it has no use.
            '.' => {
                return match self.raw(start, after, '.') {
                    Ok((_, end)) => (Op::Text("".into()), end),
                    Err(broken) => broken,
                };
            }
            ':' | ';' => {
                let Some(flag) = text[after..].chars().next().filter(|flag| flag.is_ascii_graphic()) else {
                    return self.broken(ProblemKind::NoFlag, start, after);
                };
                return (Op::Input(flag.to_ascii_uppercase(), c == ':'), after + 1);
            }
            '+' => {
                let digits = text[after..].bytes().take_while(u8::is_ascii_digit).count();
                let letter = text[after + digits..].chars().next();
                return match (&text[after..after + digits], letter) {
                    ("1", Some('e' | 'E')) => (Op::Stop, after + 2),
                    _ => {
                        let end = after + digits;
                        self.problems.push(Problem { kind: ProblemKind::NoMeaning, place: start..end });
                        (Op::Text(text[start + 1..end].into()), end)
                    }
                };
            }
            letter if letter.is_ascii_alphabetic() => match letter.to_ascii_uppercase() {
                'C' => Op::Control(Control::Continue),
                'L' => Op::Control(Control::Loop),
                'R' => Op::Control(Control::Restart),
                'E' => Op::Control(Control::End),
                flag => Op::Flag(flag),
            },
            // Flags of the access tables.
            '!' | '<' | '>' | ',' => Op::Flag(c),
            other => {
                self.problems.push(Problem { kind: ProblemKind::NoMeaning, place: start..after });
                Op::Text(other.to_string().into())
            }
        };
        (op, after)
    }

    /// `$#file|radix|width|modulus#`. The file must be written out: what a stranger sends must not choose it.
    fn number(&mut self, start: usize, after: usize) -> (Op, usize) {
        let (inside, end) = match self.raw(start, after, '#') {
            Ok(found) => found,
            Err(broken) => return broken,
        };
        let mut parts = self.text[inside].split('|').map(str::trim);
        let file = parts.next().unwrap_or_default();
        let mut part = |default: i64| match parts.next() {
            None | Some("") => Some(default),
            Some(number) => number.parse::<i64>().ok(),
        };
        let (radix, width, modulus) = (part(10), part(0), part(0));
        let bad = file.is_empty() || file.contains(['$', '\0']) || parts.next().is_some();
        match (radix, width, modulus) {
            (Some(radix), Some(width @ 0..=64), Some(modulus @ 0..))
                if !bad && (2..=36).contains(&radix.abs()) =>
            {
                let modulus = u64::try_from(modulus).ok().filter(|modulus| *modulus > 0);
                let (radix, width) = (radix.unsigned_abs() as u32, width as usize);
                (Op::Sequence { file: file.into(), radix, width, modulus }, end)
            }
            _ => self.broken(ProblemKind::BadSequence, start, end),
        }
    }

    fn chance(&mut self, start: usize, after: usize) -> (Op, usize) {
        let (inside, end) = match self.raw(start, after, '?') {
            Ok(found) => found,
            Err(broken) => return broken,
        };
        match self.text[inside].trim().parse::<f64>() {
            Ok(percent) if percent.is_finite() && percent >= 0.0 => (Op::Chance(percent), end),
            _ => self.broken(ProblemKind::BadChance, start, end),
        }
    }

    /// `$|table;text|`, `${text}` and `$[image,routine,text]`: what stands in them is expanded before use.
    fn look_up(&mut self, letter: char, start: usize, after: usize, depth: usize) -> (Op, usize) {
        if depth >= NESTING_MAX {
            return self.broken(ProblemKind::TooDeep, start, self.text.len());
        }
        let close = match letter {
            '|' => '|',
            '[' => ']',
            _ => '}',
        };
        let (inside, end) = self.read(after, Some(close), depth + 1);
        let Some(end) = end else {
            return self.broken(ProblemKind::Unclosed, start, self.text.len());
        };
        if letter == '[' && routine_names(&self.text[after..end]).is_none() {
            return self.broken(ProblemKind::RoutineNames, start, end + 1);
        }
        let end = end + 1;
        let mut ops = inside.into_iter().map(|(op, _)| op);
        if letter == '{' {
            return (Op::Database(ops.collect()), end);
        }
        if letter == '[' {
            return (Op::Routine(ops.collect()), end);
        }
        // The first `;` that was written separates.
        let mut name = Vec::new();
        for op in ops.by_ref() {
            match op {
                Op::Text(text) => match text.split_once(';') {
                    Some((before, behind)) => {
                        name.push(Op::Text(before.into()));
                        let rest = std::iter::once(Op::Text(behind.into())).chain(ops);
                        return (Op::Table { name: name.into(), text: rest.collect() }, end);
                    }
                    None => name.push(Op::Text(text)),
                },
                other => name.push(other),
            }
        }
        self.broken(ProblemKind::NoSemicolon, start, end)
    }
}

fn join(text: &mut Box<str>, more: &str, place: &mut Range<usize>, end: usize) {
    let mut joined = std::mem::take(text).into_string();
    joined.push_str(more);
    *text = joined.into();
    place.end = end;
}

impl Op {
    /// The name of the table that is asked, when it is written out.
    pub(crate) fn table_name(&self) -> Option<&str> {
        match self {
            Op::Table { name, .. } => match &**name {
                [Op::Text(name)] => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    /// The instructions inside this one.
    pub(crate) fn inside(&self) -> impl Iterator<Item = &Op> {
        let (name, text): (&[Op], &[Op]) = match self {
            Op::Table { name, text } => (name, text),
            Op::Database(text) | Op::Routine(text) => (&[], text),
            _ => (&[], &[]),
        };
        name.iter().chain(text)
    }
}
