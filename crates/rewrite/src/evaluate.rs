//! Runs a compiled template for one address: gives its parts, or the reason why the rule does not apply.
//!
//! # Not here
//! Choosing the rule, and what is done with the parts (`rewriter`).

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use sluice_config::Channel;
use sluice_mail::{Address, Status};

use crate::Kind;
use crate::lookups::{Lookups, routine_names};
use crate::mapping::{Flags, MappingTables};
use crate::place::First;
use crate::probe::Matched;
use crate::template::{self, Case, End, LookUp, Need, Op, Part, Separator, Template};

/// Longest part a template may build: as long as the longest address that is read, so that rules which repeat cannot
/// grow an address without end.
pub(crate) const PART_LENGTH_MAX: usize = Address::LENGTH_MAX;

/// A template ready to be run.
#[derive(Debug)]
pub(crate) struct Program {
    ops: Box<[Op]>,
    /// Union of the positions asked for, `0` for any; asked before anything is expanded.
    positions: u8,
    only_text: bool,
}

impl Program {
    pub(crate) fn new(template: Template) -> Program {
        let stops = template.ops.iter().any(|(op, _)| matches!(op, Op::CheckNow { or_stop: true }));
        let open = template.ops.iter().any(|(op, _)| matches!(op, Op::LookUp { .. }));
        let mut positions = 0;
        let mut ops = Vec::with_capacity(template.ops.len());
        for (op, _) in template.ops {
            match op {
                // A template that may stop early must not be judged by controls it does not reach, nor one without those
                // that a look-up brings.
                Op::Position(position) if !stops && !open => positions |= position.bit(),
                op => ops.push(op),
            }
        }
        // Cheap checks first, unless the order is part of the meaning.
        if !stops {
            ops.sort_by_key(|op| !matches!(op, Op::Need(_) | Op::Broken));
        }
        Program { ops: ops.into(), positions, only_text: template.only_text }
    }
}

/// What a template is run for.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) first: First<'a>,
    pub(crate) matched: Matched<'a>,
}

/// What does not change while one address is rewritten.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) kind: Kind,
    pub(crate) source_name: &'a str,
    /// The mail comes in again, whatever channel it appears to come from.
    pub(crate) again: bool,
    pub(crate) source: Option<&'a Channel>,
    /// Unknown while the envelope recipient is rewritten.
    pub(crate) destination: Option<(&'a str, Option<&'a Channel>)>,
    pub(crate) hosted: &'a dyn Fn(&str) -> bool,
    pub(crate) lookups: &'a dyn Lookups,
    pub(crate) mappings: &'a MappingTables,
    /// Knows the names of channels, for reading text that a look-up brought.
    pub(crate) is_channel: &'a dyn Fn(&str) -> bool,
}

/// The text of `$?` and the code that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorText<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) number: Option<u32>,
}

impl ErrorText<'_> {
    /// `$3045089?` is 3.45.89; without a number, 5.1.2.
    pub(crate) fn status(&self) -> Status {
        self.number.map_or(Status::NO_SUCH_HOST, |number| {
            let class = u8::try_from(number / 1_000_000).unwrap_or(u8::MAX);
            Status::new(class, (number / 1000 % 1000) as u16, (number % 1000) as u16)
        })
    }
}

/// What a template built.
#[derive(Debug)]
pub(crate) struct Output<'a, 'p> {
    pub(crate) shape: Shape<'a>,
    pub(crate) tag: Option<Cow<'p, str>>,
    pub(crate) error: Option<ErrorText<'p>>,
}

/// The shapes a template may have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shape<'a> {
    /// `A%B`: rewrite again.
    Again { user: Cow<'a, str>, host: Cow<'a, str> },
    /// All others: the routing system is known.
    Routed { user: Cow<'a, str>, host: Cow<'a, str>, via: Option<Cow<'a, str>>, system: Cow<'a, str> },
    /// `$?text` alone: the address stays as it is.
    AsIs,
}

/// Why a rule was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// `$S $A $P $X`: the host stood elsewhere.
    Position,
    /// `$E $B $F $R`: not that kind of address; the letter that asked.
    Kind(char),
    /// `$M $N $1M $1N`: the source channel is not the one, or is the one excluded.
    SourceChannel,
    /// `$Q $C`: the destination channel is not the one, or is the one excluded.
    DestinationChannel,
    /// `$V`: the domain is not hosted here.
    NotHosted(String),
    /// `$Z`: the domain is hosted here.
    Hosted(String),
    /// `$&n $!n $*n $#n`: there is no such label.
    NoLabel(usize),
    /// A look-up that is not available; which, in words.
    LookUp(&'static str),
    /// A look-up that found nothing.
    NotFound {
        /// Which, in words.
        what: &'static str,
        /// What it was asked for.
        asked: String,
    },
    /// Text that came from a look-up asks again where it may not.
    Nested(&'static str),
    /// The parts and separators make no known shape.
    Shape,
    /// A host came out empty.
    EmptyHost,
    /// A part came out longer than any address may be.
    TooLong,
    /// The template has a mistake that was reported when the configuration was read.
    Broken,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Position => f.write_str("it is for hosts in another position"),
            Failure::Kind('E') => f.write_str("$E: it is for envelope addresses only"),
            Failure::Kind('B') => f.write_str("$B: it is for header addresses only"),
            Failure::Kind('F') => f.write_str("$F: it is for forward-pointing addresses only"),
            Failure::Kind(_) => f.write_str("$R: it is for backward-pointing addresses only"),
            Failure::SourceChannel => f.write_str("its check of the source channel is not met"),
            Failure::DestinationChannel => f.write_str("its check of the destination channel is not met"),
            Failure::NotHosted(domain) => write!(f, "$V: {domain} is not hosted here"),
            Failure::Hosted(domain) => write!(f, "$Z: {domain} is hosted here"),
            Failure::NoLabel(number) => write!(f, "there is no label number {number}"),
            Failure::LookUp(what) => write!(f, "it asks {what}, which this version does not do"),
            Failure::NotFound { what, asked } => write!(f, "{what}, has nothing for `{asked}`"),
            Failure::Nested(what) => write!(f, "text from a look-up may not ask {what}"),
            Failure::Shape => f.write_str("its parts make no address and routing system"),
            Failure::EmptyHost => f.write_str("a host came out empty"),
            Failure::TooLong => f.write_str("the result is too long for an address"),
            Failure::Broken => f.write_str("the template has a mistake"),
        }
    }
}

/// Runs a program. `Err` means that the rule is skipped.
pub(crate) fn run<'a, 'p: 'a>(
    program: &'p Program,
    subject: Subject<'a>,
    surroundings: Surroundings<'a>,
) -> Result<Output<'a, 'p>, Failure> {
    if program.positions != 0 && program.positions & subject.first.position.bit() == 0 {
        return Err(Failure::Position);
    }
    let mut machine = Machine {
        subject,
        surroundings,
        parts: [const { Cow::Borrowed("") }; 4],
        separators: [Separator::Percent; 3],
        part: 0,
        case: Case::AsIs,
        ldap: false,
        part_ended: false,
        positions: 0,
        source: Check::default(),
        destination: Check::default(),
        tag: None,
        error: None,
        fetched: Vec::new(),
        only_text: program.only_text,
    };
    for op in &program.ops {
        if machine.step(op, Cow::Borrowed)?.is_break() {
            break;
        }
    }
    machine.finish()
}

/// The pending answers of one group of channel checks.
#[derive(Debug, Default)]
struct Check {
    wanted: bool,
    hit: bool,
    excluded: bool,
}

impl Check {
    fn add(&mut self, wanted: bool, matches: bool) {
        if wanted {
            self.wanted = true;
            self.hit |= matches;
        } else {
            self.excluded |= matches;
        }
    }

    /// Settles the group; the next check begins a new one.
    fn holds(&mut self) -> bool {
        let group = std::mem::take(self);
        (!group.wanted || group.hit) && !group.excluded
    }
}

struct Machine<'a, 'p> {
    subject: Subject<'a>,
    surroundings: Surroundings<'a>,
    parts: [Cow<'a, str>; 4],
    separators: [Separator; 3],
    part: usize,
    case: Case,
    ldap: bool,
    part_ended: bool,
    positions: u8,
    source: Check,
    destination: Check,
    tag: Option<Cow<'p, str>>,
    error: Option<ErrorText<'p>>,
    /// The look-ups whose text is being expanded, the outermost first.
    fetched: Vec<LookUp>,
    only_text: bool,
}

/// Look-ups whose text may ask again, one inside the other.
const LOOK_UP_DEPTH_MAX: usize = 10;

type Flow = std::ops::ControlFlow<()>;

impl<'a, 'p: 'a> Machine<'a, 'p> {
    /// Carries out one instruction. `keep` turns text of the instruction into text of the result: borrowed from a rule,
    /// copied from what a look-up brought.
    fn step<'o>(&mut self, op: &'o Op, keep: fn(&'o str) -> Cow<'p, str>) -> Result<Flow, Failure> {
        match op {
            Op::Text(text) => self.put(keep(text), false)?,
            Op::Case(case) => self.case = *case,
            Op::QuoteForLdap => self.ldap = true,
            Op::EndOfPart => self.part_ended = true,
            Op::Separator(separator) => {
                self.settle_channels()?;
                if self.part == self.separators.len() {
                    return Err(Failure::Shape);
                }
                self.separators[self.part] = *separator;
                self.part += 1;
                self.part_ended = false;
            }
            Op::Position(position) => self.positions |= position.bit(),
            Op::Need(need) => self.need(*need)?,
            Op::Source { wanted, name } => {
                if self.surroundings.source.is_none_or(|channel| channel.settings.rules) {
                    self.source.add(*wanted, name.matches(self.surroundings.source_name));
                }
            }
            Op::SourceIsInternal { wanted } => {
                if self.surroundings.source.is_none_or(|channel| channel.settings.rules) {
                    let internal = self.surroundings.again || is_internal(self.surroundings.source_name);
                    self.source.add(*wanted, internal);
                }
            }
            Op::Destination { wanted, name } => {
                if let Some((destination, channel)) = self.surroundings.destination
                    && channel.is_none_or(|channel| channel.settings.rules)
                {
                    self.destination.add(*wanted, name.matches(destination));
                }
            }
            Op::CheckNow { or_stop } => {
                let settled = self.settle_channels();
                if *or_stop && settled.is_err() {
                    return Ok(Flow::Break(()));
                }
                settled?;
            }
            Op::Hosted { wanted, name } => self.hosted(*wanted, name)?,
            Op::Tag(tag) => self.tag = Some(keep(tag)),
            Op::ErrorText { text, number } => {
                self.error = Some(ErrorText { text: keep(text), number: *number });
            }
            Op::LookUp { kind, argument } => return self.look_up(*kind, argument),
            Op::Broken => return Err(Failure::Broken),
            substitution => {
                let text = self.substitute(substitution)?;
                self.put(text, true)?;
            }
        }
        Ok(Flow::Continue(()))
    }

    /// The answer of a mapping table, if it says `$Y` or `$T` (PMDF System Manager's Guide, chapter 2, "mapping
    /// substitutions"). A comma separates the name of the table from the text.
    fn mapping(&self, asked: &str) -> Option<String> {
        let (table, text) = asked.split_once(',')?;
        let surroundings = self.surroundings;
        let answer = surroundings.mappings.probe(table.trim(), text, Flags::NONE, surroundings.lookups)?;
        answer.output.filter(|_| answer.flags.has('Y') || answer.flags.has('T'))
    }

    /// Asks for text and expands it in this place. Inside text of the general database the general database may not be
    /// asked again (PMDF System Manager's Guide, chapter 2, "general database substitutions").
    fn look_up(&mut self, kind: LookUp, argument: &[Op]) -> Result<Flow, Failure> {
        let asks_itself = kind == LookUp::Database && self.fetched.contains(&kind);
        if asks_itself || self.fetched.len() >= LOOK_UP_DEPTH_MAX {
            return Err(Failure::Nested(kind.words()));
        }
        let asked = self.argument(argument)?;
        let found = match kind {
            LookUp::Database => self.surroundings.lookups.database("general", &asked),
            LookUp::Mapping => self.mapping(&asked),
            LookUp::Routine => routine_names(&asked).and_then(|(image, routine, argument)| {
                self.surroundings.lookups.routine(image, routine, argument)
            }),
            LookUp::Directory => return Err(Failure::LookUp(kind.words())),
        };
        let Some(text) = found else { return Err(Failure::NotFound { what: kind.words(), asked }) };
        let template = template::parse(&text, self.surroundings.is_channel);
        // An error text runs to the end only where nothing else makes the address.
        self.only_text |= template.only_text && self.part == 0 && self.parts[0].is_empty();
        self.fetched.push(kind);
        let mut flow = Flow::Continue(());
        for (op, _) in &template.ops {
            flow = self.step(op, |text| Cow::Owned(text.to_owned()))?;
            if flow.is_break() {
                break;
            }
        }
        self.fetched.pop();
        Ok(flow)
    }

    /// The argument of a look-up with its substitutions made.
    fn argument(&self, ops: &[Op]) -> Result<String, Failure> {
        let mut argument = String::new();
        let mut case = Case::AsIs;
        for op in ops {
            let text = match op {
                Op::Text(text) => Cow::Borrowed(&**text),
                Op::Case(next) => {
                    case = *next;
                    continue;
                }
                Op::Broken => return Err(Failure::Broken),
                op => self.substitute(op)?,
            };
            match case {
                Case::AsIs => argument.push_str(&text),
                Case::Lower => argument.push_str(&text.to_lowercase()),
                Case::Upper => argument.push_str(&text.to_uppercase()),
            }
            if argument.len() > PART_LENGTH_MAX {
                return Err(Failure::TooLong);
            }
        }
        Ok(argument)
    }

    fn need(&self, need: Need) -> Result<(), Failure> {
        let kind = self.surroundings.kind;
        let (met, letter) = match need {
            Need::Envelope => (kind.is_envelope(), 'E'),
            Need::Header => (!kind.is_envelope(), 'B'),
            Need::Forward => (kind.is_forward(), 'F'),
            Need::Backward => (!kind.is_forward(), 'R'),
        };
        if met { Ok(()) } else { Err(Failure::Kind(letter)) }
    }

    fn settle_channels(&mut self) -> Result<(), Failure> {
        let (source, destination) = (self.source.holds(), self.destination.holds());
        match (source, destination) {
            (false, _) => Err(Failure::SourceChannel),
            (_, false) => Err(Failure::DestinationChannel),
            _ => Ok(()),
        }
    }

    fn hosted(&self, wanted: bool, name: &[Op]) -> Result<(), Failure> {
        let mut domain = String::new();
        for op in name {
            match op {
                Op::Text(text) => domain.push_str(text),
                op if op.is_substitution() => domain.push_str(&self.substitute(op)?),
                _ => {}
            }
        }
        match ((self.surroundings.hosted)(&domain), wanted) {
            (true, true) | (false, false) => Ok(()),
            (false, true) => Err(Failure::NotHosted(domain)),
            (true, false) => Err(Failure::Hosted(domain)),
        }
    }

    /// Appends text to the current part, as the case and quoting in force want it.
    fn put(&mut self, text: Cow<'a, str>, substituted: bool) -> Result<(), Failure> {
        if self.part_ended || text.is_empty() {
            return Ok(());
        }
        let text = if substituted && self.ldap { quote_for_ldap(text) } else { text };
        let text = match self.case {
            Case::AsIs => text,
            Case::Lower => Cow::Owned(text.to_lowercase()),
            Case::Upper => Cow::Owned(text.to_uppercase()),
        };
        let part = &mut self.parts[self.part];
        if part.len() + text.len() > PART_LENGTH_MAX {
            return Err(Failure::TooLong);
        }
        if part.is_empty() {
            *part = text;
        } else {
            part.to_mut().push_str(&text);
        }
        Ok(())
    }

    fn substitute(&self, op: &Op) -> Result<Cow<'a, str>, Failure> {
        let First { user, host, .. } = self.subject.first;
        let matched = self.subject.matched;
        Ok(match op {
            Op::User => Cow::Borrowed(user),
            Op::UserWithoutSubaddress => Cow::Borrowed(&user[..subaddress(user)]),
            Op::Subaddress => Cow::Borrowed(&user[subaddress(user)..]),
            Op::Host(0) => Cow::Borrowed(matched.host()),
            Op::Domain(0) => matched.domain(),
            Op::Host(skip) => Cow::Borrowed(without_labels(matched.host(), *skip)),
            Op::Domain(skip) => match matched.domain() {
                Cow::Borrowed(domain) => Cow::Borrowed(without_labels(domain, *skip)),
                Cow::Owned(_) => Cow::Borrowed(""),
            },
            Op::Literal => Cow::Borrowed(matched.literal()),
            Op::Label { of, from, number } => {
                let text = match of {
                    Part::Host => Cow::Borrowed(matched.host()),
                    Part::Domain => matched.domain(),
                };
                let found = match text {
                    Cow::Borrowed(text) => label(text, *from, *number).map(Cow::Borrowed),
                    Cow::Owned(literal) => (*number == 0).then_some(Cow::Owned(literal)),
                };
                found.ok_or(Failure::NoLabel(*number))?
            }
            Op::AddressCharacter(number) => {
                let address = user.chars().chain(['@']).chain(host.chars());
                address.clone().nth(*number).map_or(Cow::Borrowed(""), |c| Cow::Owned(c.to_string()))
            }
            Op::WholeHostLabel(number) => Cow::Borrowed(label(host, End::Left, *number).unwrap_or("")),
            Op::Unique => Cow::Owned(unique()),
            _ => Cow::Borrowed(""),
        })
    }

    fn finish(mut self) -> Result<Output<'a, 'p>, Failure> {
        if self.positions != 0 && self.positions & self.subject.first.position.bit() == 0 {
            return Err(Failure::Position);
        }
        self.settle_channels()?;
        let (tag, error) = (self.tag, self.error);
        if self.only_text && self.part == 0 && self.parts[0].is_empty() {
            return Ok(Output { shape: Shape::AsIs, tag, error });
        }
        use Separator::{At, Percent};
        let [user, host, third, fourth] = self.parts;
        if host.is_empty() {
            return Err(if self.part == 0 { Failure::Shape } else { Failure::EmptyHost });
        }
        let shape = match &self.separators[..self.part] {
            [Percent] => Shape::Again { user, host },
            [At] => Shape::Routed { user, system: host.clone(), host, via: None },
            [Percent, At] => Shape::Routed { user, host, via: None, system: third },
            [At, At] => Shape::Routed { user, host, via: Some(third.clone()), system: third },
            [At, At, At] => Shape::Routed { user, host, via: Some(third), system: fourth },
            _ => return Err(Failure::Shape),
        };
        if let Shape::Routed { via, system, .. } = &shape
            && (system.is_empty() || via.as_ref().is_some_and(|via| via.is_empty()))
        {
            return Err(Failure::EmptyHost);
        }
        Ok(Output { shape, tag, error })
    }
}

/// Channels that take mail only to hand it on, so that their mail has been through rewriting before.
fn is_internal(channel: &str) -> bool {
    let family = channel.split('_').next().unwrap_or(channel);
    ["reprocess", "process", "conversion", "defragment", "directory", "hold"]
        .iter()
        .any(|name| family.eq_ignore_ascii_case(name))
}

/// Offset of the first `+` outside quotes, or the length.
fn subaddress(user: &str) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in user.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'+' if !quoted => return at,
            _ => {}
        }
    }
    user.len()
}

/// The text without its first labels. A leading dot stays in front of what is left, so that `$H$1D` is still a name.
fn without_labels(text: &str, skip: usize) -> &str {
    if is_literal(text) {
        return "";
    }
    let dotted = text.starts_with('.');
    let mut at = usize::from(dotted);
    for _ in 0..skip {
        match text[at..].find('.') {
            Some(dot) => at += dot + 1,
            None => return "",
        }
    }
    &text[at - usize::from(dotted)..]
}

/// One label; the leading dot of a domain part does not begin an empty one, and a literal is a single label.
fn label(text: &str, from: End, number: usize) -> Option<&str> {
    let text = text.strip_prefix('.').unwrap_or(text);
    if text.is_empty() {
        return None;
    }
    if is_literal(text) {
        return (number == 0).then_some(text);
    }
    match from {
        End::Left => text.split('.').nth(number),
        End::Right => text.rsplit('.').nth(number),
    }
}

fn is_literal(text: &str) -> bool {
    text.starts_with('[')
}

/// RFC 4515 section 3: the characters that mean something in a filter, as backslash and two digits.
pub(crate) fn quote_for_ldap(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains(['*', '(', ')', '\\', '\0']) {
        return text;
    }
    let mut quoted = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '*' => quoted.push_str("\\2a"),
            '(' => quoted.push_str("\\28"),
            ')' => quoted.push_str("\\29"),
            '\\' => quoted.push_str("\\5c"),
            '\0' => quoted.push_str("\\00"),
            other => quoted.push(other),
        }
    }
    Cow::Owned(quoted)
}

/// A text that no other call in this process gives, and that other processes are very unlikely to give.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // The keys of a fresh `RandomState` are random; the count alone makes texts of one process differ.
    let random = RandomState::new().hash_one(count);
    format!("{random:016x}{count:x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_taken_off_from_the_left() {
        for (text, skip, left) in [
            ("host.example.com", 0, "host.example.com"),
            ("host.example.com", 1, "example.com"),
            ("host.example.com", 3, ""),
            (".example.com", 1, ".com"),
            ("a", 1, ""),
            ("", 1, ""),
            ("[1.2.3.4]", 1, ""),
        ] {
            assert_eq!(without_labels(text, skip), left, "{text} {skip}");
        }
    }

    #[test]
    fn single_labels_count_from_either_end() {
        assert_eq!(label(".siroe.com", End::Left, 0), Some("siroe"));
        assert_eq!(label(".siroe.com", End::Right, 0), Some("com"));
        assert_eq!(label("a.b", End::Left, 2), None);
        assert_eq!(label("", End::Left, 0), None);
        assert_eq!(label("[1.2]", End::Right, 0), Some("[1.2]"));
    }

    #[test]
    fn the_subaddress_begins_at_the_first_unquoted_plus() {
        for (user, bare, rest) in
            [("a+b+c", "a", "+b+c"), ("a", "a", ""), ("\"a+b\"", "\"a+b\"", ""), ("+x", "", "+x")]
        {
            assert_eq!((&user[..subaddress(user)], &user[subaddress(user)..]), (bare, rest));
        }
    }

    #[test]
    fn unique_texts_differ() {
        assert_ne!(unique(), unique());
    }

    #[test]
    fn filters_are_quoted() {
        assert_eq!(quote_for_ldap("a*(b)\\".into()), "a\\2a\\28b\\29\\5c");
    }

    #[test]
    fn the_internal_channels() {
        for name in ["reprocess", "process_x", "conversion", "DEFRAGMENT", "hold"] {
            assert!(is_internal(name), "{name}");
        }
        for name in ["tcp_local", "processing", "l"] {
            assert!(!is_internal(name), "{name}");
        }
    }
}
