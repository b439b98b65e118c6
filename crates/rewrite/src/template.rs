//! A template read once into instructions. Nothing is looked up in the text again when addresses are rewritten.
//!
//! The language is that of the PMDF System Manager's Guide, chapter 2 (rewrite rules: templates, substitutions, control
//! sequences) with the additions of the later Messaging Server. Reading never stops at a mistake: it notes a
//! [`Problem`] and the instruction becomes [`Op::Broken`], so that the rule never applies.
//!
//! # Not here
//! Running the instructions (`evaluate`), and judging a rule among its neighbours (`check`).

use std::ops::Range;

use crate::glob::Glob;
use crate::lookups::routine_names;
use crate::place::Position;

/// One instruction of a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    /// Text as written.
    Text(Box<str>),
    /// `$U`.
    User,
    /// `$0U`.
    UserWithoutSubaddress,
    /// `$1U`.
    Subaddress,
    /// `$D`, `$nD`: the domain part without its first n labels.
    Domain(usize),
    /// `$H`, `$nH`: the host part without its first n labels.
    Host(usize),
    /// `$L`.
    Literal,
    /// `$&n $!n $*n $#n`: one label, or the rule fails.
    Label { of: Part, from: End, number: usize },
    /// `$nA`: one character of the address.
    AddressCharacter(usize),
    /// `$nX`: one label of the whole host.
    WholeHostLabel(usize),
    /// `$W`.
    Unique,
    /// `$\ $^ $_`.
    Case(Case),
    /// `$=`.
    QuoteForLdap,
    /// `%` or `@` written in the template.
    Separator(Separator),
    /// `$,`: what follows up to the next separator is dropped.
    EndOfPart,
    /// `$S $A $P $X`.
    Position(Position),
    /// `$E $B $F $R`.
    Need(Need),
    /// `$M $N`: the source channel is (not) one of this name.
    Source { wanted: bool, name: Glob },
    /// `$1M $1N`: the source channel is (not) one that processes mail again.
    SourceIsInternal { wanted: bool },
    /// `$Q $C`: the destination channel is (not) one of this name.
    Destination { wanted: bool, name: Glob },
    /// `$~`, and `$1~`, which ends the template instead of failing the rule.
    CheckNow { or_stop: bool },
    /// `$V $Z`: the domain is (not) hosted here.
    Hosted { wanted: bool, name: Box<[Op]> },
    /// `$T`.
    Tag(Box<str>),
    /// `$?`, `$n?`.
    ErrorText { text: Box<str>, number: Option<u32> },
    /// `$(…) ${…} $[…] $]…[`: what is found for the argument is template text in this place.
    LookUp { kind: LookUp, argument: Box<[Op]> },
    /// Something that could not be read.
    Broken,
}

/// Which part of the matched host a label is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Host,
    Domain,
}

/// The end that labels are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Left,
    Right,
}

/// What happens to the case of everything that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    AsIs,
    Lower,
    Upper,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    Percent,
    At,
}

/// What `$E $B $F $R` ask of the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Envelope,
    Header,
    Forward,
    Backward,
}

/// Sources of text outside the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookUp {
    Database,
    Mapping,
    Routine,
    Directory,
}

impl LookUp {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            LookUp::Database => "the general database, $(…)",
            LookUp::Mapping => "a mapping table, ${…}",
            LookUp::Routine => "a site routine, $[…]",
            LookUp::Directory => "a directory, $]…[",
        }
    }
}

/// A mistake in a template, with its place in the template's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    pub(crate) place: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// `$x` has no meaning.
    Unknown,
    /// `$` is the last character.
    Dangling,
    /// `$&` and its like without their digit.
    NoDigit,
    /// A look-up or `$.…` without its end.
    Unclosed,
    /// `$M` and its like without a name, `$T` without a tag.
    NoName,
    /// `$[…]` without the names of image and routine, or with substitutions in them.
    RoutineNames,
    /// Something other than text and substitutions in the name behind `$V` or `$Z`, or in the argument of a look-up.
    InName,
}

/// A template that was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    /// Instructions, each with the place it was written at.
    pub(crate) ops: Vec<(Op, Range<usize>)>,
    /// The template is `$?text` and at most controls: the text runs to the end, the address stays as it is.
    pub(crate) only_text: bool,
    pub(crate) problems: Vec<Problem>,
}

/// Reads a template. `is_channel` knows the names of channels: one that holds a `$`, as in `$Mcc$mail`, would otherwise
/// end where a control in lower case could begin.
pub(crate) fn parse(text: &str, is_channel: &dyn Fn(&str) -> bool) -> Template {
    let mut reader =
        Reader { text, is_channel, ops: Vec::new(), only_text: false, problems: Vec::new(), in_name: false };
    reader.read(0, text.len());
    Template { ops: reader.ops, only_text: reader.only_text, problems: reader.problems }
}

struct Reader<'t> {
    text: &'t str,
    is_channel: &'t dyn Fn(&str) -> bool,
    ops: Vec<(Op, Range<usize>)>,
    only_text: bool,
    problems: Vec<Problem>,
    /// Reading the name behind `$V` or `$Z`, or the argument of a look-up.
    in_name: bool,
}

impl Reader<'_> {
    fn read(&mut self, start: usize, end: usize) {
        let bytes = self.text.as_bytes();
        let mut at = start;
        while at < end {
            let next = match bytes[at] {
                b'$' => self.sequence(at, end),
                b'%' => self.push(Op::Separator(Separator::Percent), at, at + 1),
                b'@' => self.push(Op::Separator(Separator::At), at, at + 1),
                _ => {
                    let special = |b: &u8| matches!(b, b'$' | b'%' | b'@');
                    let stop = bytes[at..end].iter().position(special).map_or(end, |n| at + n);
                    self.push(Op::Text(self.text[at..stop].into()), at, stop)
                }
            };
            debug_assert!(next > at, "reading goes forward");
            at = next;
        }
    }

    fn push(&mut self, op: Op, start: usize, end: usize) -> usize {
        self.ops.push((op, start..end));
        end
    }

    fn problem(&mut self, kind: ProblemKind, start: usize, end: usize) -> usize {
        self.problems.push(Problem { kind, place: start..end });
        self.push(Op::Broken, start, end)
    }

    /// Reads what begins with the `$` at `start`; gives the offset behind it.
    fn sequence(&mut self, start: usize, end: usize) -> usize {
        let text = &self.text[..end];
        let digits = text.as_bytes()[start + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        let at = start + 1 + digits;
        let number: Option<u32> = (digits > 0).then(|| text[start + 1..at].parse().unwrap_or(u32::MAX));
        let Some(letter) = text[at..].chars().next() else {
            return self.problem(ProblemKind::Dangling, start, end);
        };
        let after = at + letter.len_utf8();
        let count = number.unwrap_or(0) as usize;
        let op = match (letter.to_ascii_uppercase(), number) {
            ('$', None) => Op::Text("$".into()),
            ('%', None) => Op::Text("%".into()),
            ('@', None) => Op::Text("@".into()),
            ('U', None) => Op::User,
            ('U', Some(0)) => Op::UserWithoutSubaddress,
            ('U', Some(1)) => Op::Subaddress,
            ('D', _) => Op::Domain(count),
            ('H', _) => Op::Host(count),
            ('L', None) => Op::Literal,
            ('A', Some(_)) => Op::AddressCharacter(count),
            ('X', Some(_)) => Op::WholeHostLabel(count),
            ('W', None) => Op::Unique,
            ('\\', None) => Op::Case(Case::Lower),
            ('^', None) => Op::Case(Case::Upper),
            ('_', None) => Op::Case(Case::AsIs),
            ('=', None) => Op::QuoteForLdap,
            ('&' | '!' | '*' | '#', None) => return self.label(letter, start, after),
            _ if self.in_name => return self.problem(ProblemKind::InName, start, after),
            ('S', None) => Op::Position(Position::Route),
            ('A', None) => Op::Position(Position::At),
            ('P', None) => Op::Position(Position::Percent),
            ('X', None) => Op::Position(Position::Bang),
            ('E', None) => Op::Need(Need::Envelope),
            ('B', None) => Op::Need(Need::Header),
            ('F', None) => Op::Need(Need::Forward),
            ('R', None) => Op::Need(Need::Backward),
            ('M' | 'N' | 'Q' | 'C' | 'T', None) => return self.named(letter, start, after, end),
            ('M', Some(1)) => Op::SourceIsInternal { wanted: true },
            ('N', Some(1)) => Op::SourceIsInternal { wanted: false },
            ('~', None) => Op::CheckNow { or_stop: false },
            ('~', Some(1)) => Op::CheckNow { or_stop: true },
            ('?', _) => return self.error_text(number, start, after, end),
            ('V' | 'Z', None) => return self.hosted(letter, start, after, end),
            (',', None) => Op::EndOfPart,
            ('(' | '{' | '[' | ']', None) => return self.look_up(letter, start, after, end),
            // The value for a temporary directory failure: no directory is asked yet, so it has no use.
            ('.', None) => {
                return match text[after..].find('.') {
                    Some(dot) => after + dot + 1,
                    None => self.problem(ProblemKind::Unclosed, start, end),
                };
            }
            _ => return self.problem(ProblemKind::Unknown, start, after),
        };
        self.push(op, start, after)
    }

    fn label(&mut self, letter: char, start: usize, at: usize) -> usize {
        let Some(digit) = self.text.as_bytes().get(at).filter(|b| b.is_ascii_digit()) else {
            return self.problem(ProblemKind::NoDigit, start, at);
        };
        let (of, from) = match letter {
            '&' => (Part::Host, End::Left),
            '!' => (Part::Host, End::Right),
            '*' => (Part::Domain, End::Left),
            _ => (Part::Domain, End::Right),
        };
        self.push(Op::Label { of, from, number: usize::from(digit - b'0') }, start, at + 1)
    }

    /// `$M $N $Q $C $T` and the name behind them.
    fn named(&mut self, letter: char, start: usize, at: usize, end: usize) -> usize {
        let capitals = name_end(self.text, at, end, |letter| letter.is_ascii_uppercase());
        let stop = if letter.eq_ignore_ascii_case(&'t') || !(self.is_channel)(self.text[at..capitals].trim())
        {
            name_end(self.text, at, end, |_| true)
        } else {
            capitals
        };
        let name = self.text[at..stop].trim();
        if name.is_empty() {
            return self.problem(ProblemKind::NoName, start, at);
        }
        let op = match letter.to_ascii_uppercase() {
            'M' => Op::Source { wanted: true, name: Glob::new(name) },
            'N' => Op::Source { wanted: false, name: Glob::new(name) },
            'Q' => Op::Destination { wanted: true, name: Glob::new(name) },
            'C' => Op::Destination { wanted: false, name: Glob::new(name) },
            _ => Op::Tag(name.to_lowercase().into()),
        };
        self.push(op, start, stop)
    }

    fn error_text(&mut self, number: Option<u32>, start: usize, at: usize, end: usize) -> usize {
        let is_control = |op: &Op| {
            !matches!(op, Op::Text(_) | Op::Separator(_) | Op::EndOfPart | Op::LookUp { .. })
                && !op.is_substitution()
        };
        self.only_text = self.ops.iter().all(|(op, _)| is_control(op));
        let stop = if self.only_text { end } else { error_text_end(self.text, at, end) };
        let raw = self.text[at..stop].trim();
        let text = if self.only_text { raw.into() } else { unescape(raw) };
        self.push(Op::ErrorText { text, number }, start, stop)
    }

    fn hosted(&mut self, letter: char, start: usize, at: usize, end: usize) -> usize {
        let stop = name_end(self.text, at, end, |_| true);
        if stop == at {
            return self.problem(ProblemKind::NoName, start, at);
        }
        let name = self.inner(at, stop).into_iter().collect();
        self.push(Op::Hosted { wanted: letter.eq_ignore_ascii_case(&'v'), name }, start, stop)
    }

    /// The instructions of a text in which only substitutions have a meaning.
    fn inner(&mut self, at: usize, stop: usize) -> Vec<Op> {
        let mut inner = Reader {
            text: self.text,
            is_channel: self.is_channel,
            ops: Vec::new(),
            only_text: false,
            problems: Vec::new(),
            in_name: true,
        };
        inner.read(at, stop);
        self.problems.append(&mut inner.problems);
        inner.ops.into_iter().map(|(op, _)| op).collect()
    }

    fn look_up(&mut self, letter: char, start: usize, at: usize, end: usize) -> usize {
        let (close, kind) = match letter {
            '(' => (')', LookUp::Database),
            '{' => ('}', LookUp::Mapping),
            '[' => (']', LookUp::Routine),
            _ => ('[', LookUp::Directory),
        };
        match self.text[at..end].find(close) {
            Some(length) => {
                let plain = |op| match op {
                    Op::Separator(Separator::Percent) => Op::Text("%".into()),
                    Op::Separator(Separator::At) => Op::Text("@".into()),
                    op => op,
                };
                let stop = at + length;
                if kind == LookUp::Routine && routine_names(&self.text[at..stop]).is_none() {
                    return self.problem(ProblemKind::RoutineNames, start, stop + 1);
                }
                // A directory has an argument language of its own, and is never asked.
                let argument = match kind {
                    LookUp::Database | LookUp::Mapping | LookUp::Routine => self.inner(at, stop),
                    LookUp::Directory => Vec::new(),
                };
                let argument = argument.into_iter().map(plain).collect();
                self.push(Op::LookUp { kind, argument }, start, at + length + 1)
            }
            None => self.problem(ProblemKind::Unclosed, start, end),
        }
    }
}

impl Op {
    /// Does it put text into the result?
    pub(crate) fn is_substitution(&self) -> bool {
        matches!(
            self,
            Op::User
                | Op::UserWithoutSubaddress
                | Op::Subaddress
                | Op::Domain(_)
                | Op::Host(_)
                | Op::Literal
                | Op::Label { .. }
                | Op::AddressCharacter(_)
                | Op::WholeHostLabel(_)
                | Op::Unique
        )
    }
}

/// Where a channel name, tag or text that begins at `at` ends: before `@`, `%`, or a control that may follow it.
/// Channel names may hold `$`, so no other `$` ends them. `counts` says which spellings of a control's letter do.
fn name_end(text: &str, at: usize, end: usize, counts: fn(&u8) -> bool) -> usize {
    let bytes = &text.as_bytes()[..end];
    (at..end)
        .find(|&i| match bytes[i] {
            b'@' | b'%' => true,
            b'$' => ends_a_name(&bytes[i + 1..], counts),
            _ => false,
        })
        .unwrap_or(end)
}

/// As [`name_end`], except that `$@`, `$%` and `$$` stand for themselves.
fn error_text_end(text: &str, at: usize, end: usize) -> usize {
    let bytes = &text.as_bytes()[..end];
    let mut i = at;
    while i < end {
        match (bytes[i], bytes.get(i + 1)) {
            (b'$', Some(b'@' | b'%' | b'$')) => i += 1,
            (b'@' | b'%', _) => return i,
            (b'$', _) if ends_a_name(&bytes[i + 1..], |_| true) => return i,
            _ => {}
        }
        i += 1;
    }
    end
}

fn ends_a_name(after_dollar: &[u8], counts: fn(&u8) -> bool) -> bool {
    let digits = after_dollar.iter().take_while(|b| b.is_ascii_digit()).count();
    let letter = after_dollar.get(digits).filter(|b| !b.is_ascii_alphabetic() || counts(b));
    match letter.map(u8::to_ascii_uppercase) {
        Some(b'M' | b'N' | b'?' | b'~') => true,
        Some(b'Q' | b'C' | b'T' | b'V' | b'Z') => digits == 0,
        _ => false,
    }
}

fn unescape(text: &str) -> Box<str> {
    text.replace("$@", "@").replace("$%", "%").replace("$$", "$").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Template {
        parse(text, &|name| name == "cc$mail")
    }

    fn ops(text: &str) -> Vec<Op> {
        let template = read(text);
        assert_eq!(template.problems, [], "{text}");
        template.ops.into_iter().map(|(op, _)| op).collect()
    }

    fn problem(text: &str) -> (ProblemKind, &str) {
        let template = read(text);
        assert_eq!(template.problems.len(), 1, "{text}: {:?}", template.problems);
        (template.problems[0].kind, &text[template.problems[0].place.clone()])
    }

    fn text(text: &str) -> Op {
        Op::Text(text.into())
    }

    #[test]
    fn letters_count_in_either_case() {
        assert_eq!(ops("$u%$h$d@x"), ops("$U%$H$D@x"));
        assert_eq!(ops("$e$f$mtcp_local"), ops("$E$F$Mtcp_local"));
    }

    #[test]
    fn a_channel_name_ends_at_a_control_that_may_follow_it_and_nowhere_else() {
        let source = |wanted, name: &str| Op::Source { wanted, name: Glob::new(name) };
        assert_eq!(ops("$Mcc$a$Nb"), [source(true, "cc$a"), source(false, "b")]);
        assert_eq!(ops("$ma$nb"), [source(true, "a"), source(false, "b")]);
        assert_eq!(ops("$Mcc$mail$Nb"), [source(true, "cc$mail"), source(false, "b")]);
        assert_eq!(
            ops("$Ma$1M$1~-error$4000000?Temporary lookup failure"),
            [
                source(true, "a"),
                Op::SourceIsInternal { wanted: true },
                Op::CheckNow { or_stop: true },
                text("-error"),
                Op::ErrorText { text: "Temporary lookup failure".into(), number: Some(4_000_000) },
            ]
        );
        assert_eq!(ops("$Ma@b"), [source(true, "a"), Op::Separator(Separator::At), text("b")]);
    }

    #[test]
    fn the_hosted_check_expands_its_name() {
        assert_eq!(
            ops("$V$H@l"),
            [
                Op::Hosted { wanted: true, name: [Op::Host(0)].into() },
                Op::Separator(Separator::At),
                text("l")
            ]
        );
    }

    #[test]
    fn a_lone_error_text_runs_to_the_end() {
        let template = read("$?Unrecognized address; contact postmaster@siroe.com");
        assert!(template.only_text);
        let whole = "Unrecognized address; contact postmaster@siroe.com";
        assert_eq!(template.ops[0].0, Op::ErrorText { text: whole.into(), number: None });
        assert!(read("$A$?no $Mx").only_text);
        assert!(!read("$U@x$?text").only_text);
    }

    #[test]
    fn an_error_text_elsewhere_ends_at_a_terminator() {
        let found = ops("$U$?not $@ here%$H@x");
        assert_eq!(found[1], Op::ErrorText { text: "not @ here".into(), number: None });
        assert_eq!(found.len(), 6);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        assert_eq!(problem("$U%$Y@x"), (ProblemKind::Unknown, "$Y"));
        assert_eq!(problem("$2U@x"), (ProblemKind::Unknown, "$2U"));
        assert_eq!(problem("$U@x$"), (ProblemKind::Dangling, "$"));
        assert_eq!(problem("$U@$&x"), (ProblemKind::NoDigit, "$&"));
        assert_eq!(problem("$U@$(x"), (ProblemKind::Unclosed, "$(x"));
        assert_eq!(problem("$U$M@x"), (ProblemKind::NoName, "$M"));
        assert_eq!(problem("$U@x$V$Ex"), (ProblemKind::InName, "$E"));
        assert_eq!(problem("$U@$é"), (ProblemKind::Unknown, "$é"));
    }
}
