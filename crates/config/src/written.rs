//! The first line of a channel block: which keywords are written on it, with which arguments.
//!
//! All keywords parse by their entry in the table; what is written wrong is reported and skipped in such a way that one
//! slip gives one diagnostic. What the keywords mean is not decided here (see `meaning`).

use crate::codes;
use crate::grammar::{Quoting, Word};
use crate::keyword::{Arguments, KeywordInfo, keyword, keywords};
use crate::lines::Line;
use crate::model::Keyword;
use crate::values;
use sluice_diag::{Diagnostic, Severity, Span, nearest};

/// Longest argument where the table says nothing else (PMDF System Manager's Guide, channel block syntax).
const ARGUMENT_LENGTH_MAX: usize = 40;
const INTEGERS_MAX: usize = 5;
const DURATIONS_MAX: usize = 8;
/// Name servers that a resolver can use; more are a mistake.
const ADDRESSES_MAX: usize = 16;

/// General keywords that also set what the special ones of these groups set.
const COVERS: [(&str, &[&str]); 3] = [
    ("notices", &["urgentnotices", "normalnotices", "nonurgentnotices"]),
    ("tls", &["tlsclient", "tlsserver"]),
    ("sasl", &["saslclient", "saslserver"]),
];

/// Whether `later` sets all that `earlier` set.
fn replaces(later: &KeywordInfo, earlier: &KeywordInfo) -> bool {
    let covered =
        COVERS.iter().find(|(group, _)| *group == later.sets()).map_or(&[][..], |(_, groups)| groups);
    later.sets() == earlier.sets() || covered.contains(&earlier.sets())
}

/// Lets the keywords of a line take effect over those that are in force; the rightmost wins.
pub(crate) fn put_in_force(in_force: &mut Vec<Keyword>, line: &[Keyword]) {
    for keyword in line {
        in_force.retain(|earlier| !replaces(keyword.info, earlier.info));
        in_force.push(keyword.clone());
    }
}

/// Whether a word is spelt like a keyword.
pub(crate) fn is_keyword(word: &Word) -> bool {
    word.is_bare() && keyword(&word.text).is_some()
}

/// Reads the words behind the channel name.
///
/// With the words that are no keywords, and that PMDF takes for groups of senders.
pub(crate) fn read_keywords(
    words: &[Word],
    line: &Line,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Vec<Keyword>, Vec<String>) {
    let mut reader = Reader {
        words,
        line,
        next: 0,
        found: Vec::new(),
        groups: Vec::new(),
        doubtful: Vec::new(),
        diagnostics,
    };
    while reader.next < words.len() {
        reader.keyword();
    }
    let Reader { found, groups, doubtful, .. } = reader;
    for (index, later) in found.iter().enumerate() {
        if doubtful.contains(&later.span) {
            continue;
        }
        let earlier = found[..index].iter().rev().find(|earlier| replaces(later.info, earlier.info));
        if let Some(earlier) = earlier {
            let (now, before) = (later.info.name, earlier.info.name);
            let message = if now == before {
                format!("`{now}` is written twice; the rightmost wins")
            } else {
                format!("`{now}` takes away the effect of `{before}` in front of it")
            };
            let remark = Diagnostic::new(&codes::OVERRIDDEN_KEYWORD, message).at(later.span);
            let remark = remark.note(earlier.span, format!("`{before}` is here"));
            diagnostics.push(remark.help("take out the one that is not meant"));
        }
    }
    (found, groups)
}

struct Reader<'a> {
    words: &'a [Word],
    line: &'a Line,
    next: usize,
    found: Vec<Keyword>,
    /// Words that are no keywords.
    groups: Vec<String>,
    /// Keywords that stand where an argument must: they may be meant as that.
    doubtful: Vec<Span>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

/// An argument that was taken.
struct Taken {
    text: String,
    span: Span,
}

impl Reader<'_> {
    fn span(&self, word: &Word) -> Span {
        self.line.span(&word.range)
    }

    fn stop(&mut self) {
        self.next = self.words.len();
    }

    /// The next word, unless the line ends in front of it. What cannot be read ends the line with a diagnostic.
    fn peek(&mut self) -> Option<&Word> {
        let word = self.words.get(self.next)?;
        let span = self.line.span(&word.range);
        if word.quoting == Quoting::Open {
            let remark = Diagnostic::new(&codes::UNCLOSED_QUOTE, "this quote has no partner").at(span);
            self.diagnostics.push(remark.help("end the argument with `\"`, and a blank if more follows"));
            self.stop();
            return None;
        }
        if word.is_bare() && word.text.starts_with('!') {
            let message = "`!` makes a comment only in column one";
            let remark = Diagnostic::new(&codes::MISPLACED_COMMENT, message).at(span);
            self.diagnostics.push(remark.help("put the comment on a line of its own"));
            self.stop();
            return None;
        }
        self.words.get(self.next)
    }

    fn keyword(&mut self) {
        let Some(word) = self.peek().cloned() else { return };
        let span = self.span(&word);
        let info = if word.is_bare() { keyword(&word.text) } else { None };
        let Some(info) = info else {
            self.stranger(&word, span);
            return;
        };
        self.next += 1;
        let before = self.diagnostics.len();
        let taken = self.arguments(info, span);
        if self.diagnostics.len() > before && taken.is_empty() && info.arguments != Arguments::None {
            // The mistake is reported; whoever looks for the keyword still finds it.
            self.found.push(Keyword {
                info,
                arguments: Vec::new(),
                span,
                argument_spans: Vec::new(),
                inherited: false,
            });
            return;
        }
        let (arguments, argument_spans) = taken.into_iter().map(|taken| (taken.text, taken.span)).unzip();
        self.found.push(Keyword { info, arguments, span, argument_spans, inherited: false });
    }

    /// A word that is no keyword, and the words behind it that belong to it.
    fn stranger(&mut self, word: &Word, span: Span) {
        self.next += 1;
        if word.is_bare() && word.text == "\\" {
            let message = "`\\` continues the line only as its very last character, and more follows";
            let remark = Diagnostic::new(&codes::LOST_CONTINUATION, message).at(span);
            let remark = remark.severity(Severity::Error);
            self.diagnostics.push(remark.help("take it out, or begin a new line behind it"));
            if self.words.get(self.next).is_some_and(|word| word.text.starts_with('!')) {
                self.stop();
            }
            return;
        }
        if !is_wordlike(word) {
            let mut end = span;
            while let Some(more) = self.words.get(self.next).filter(|more| !is_wordlike(more)) {
                if more.quoting == Quoting::Open || more.text.starts_with('!') {
                    break;
                }
                end = self.line.span(&more.range);
                self.next += 1;
            }
            self.diagnostics.push(self.unexpected(word, span.to(end)));
            return;
        }
        let text = &word.text;
        self.groups.push(text.clone());
        let name = text.split('=').next().unwrap_or(text);
        let near = nearest(name, keywords().iter().map(|info| info.name));
        let remark = Diagnostic::new(&codes::UNKNOWN_KEYWORD, format!("`{text}` is not a keyword")).at(span);
        let remark = match near {
            Some(near) if name.len() < text.len() => {
                remark.help(format!("write `{near} {}`", &text[name.len() + 1..]))
            }
            Some(near) => remark.help(format!("did you mean `{near}`?")),
            None => remark.help(
                "the reference lists all keywords; the name of a group of senders, which PMDF takes here, is not supported",
            ),
        };
        self.diagnostics.push(remark);
        let assigned = name.len() < text.len();
        let takes =
            near.and_then(keyword).filter(|_| !assigned).map_or(0, |info| most_arguments(info.arguments));
        let mut skipped = 0;
        while let Some(more) = self.words.get(self.next) {
            let belongs = more.quoting != Quoting::Open && !more.text.starts_with('!') && !is_keyword(more);
            if !belongs || (is_wordlike(more) && skipped >= takes) {
                break;
            }
            skipped += 1;
            self.next += 1;
        }
    }

    fn unexpected(&self, word: &Word, span: Span) -> Diagnostic {
        let remark = Diagnostic::new(
            &codes::UNEXPECTED_ARGUMENT,
            match self.found.last().map(|keyword| keyword.info) {
                None => format!("`{}` is not a keyword", word.text),
                Some(info) if info.arguments == Arguments::None => {
                    format!("`{}` is not a keyword, and `{}` takes no argument", word.text, info.name)
                }
                Some(info) => {
                    format!("`{}` is not a keyword, and `{}` has its arguments already", word.text, info.name)
                }
            },
        );
        remark.at(span).help(if holds_invisible_blank(&word.text) {
            "it holds a blank that only looks like one; type it anew"
        } else if word.text.strip_suffix(',').is_some_and(|before| keyword(before).is_some()) {
            "keywords are separated by blanks alone"
        } else {
            "take it out, or put in front of it the keyword that it belongs to"
        })
    }

    fn arguments(&mut self, info: &'static KeywordInfo, span: Span) -> Vec<Taken> {
        match info.arguments {
            Arguments::None => Vec::new(),
            Arguments::OptionalInteger => {
                let numeric = self
                    .words
                    .get(self.next)
                    .is_some_and(|word| !is_keyword(word) && values::decimal(&word.text).is_some());
                if numeric { self.single(info, span) } else { Vec::new() }
            }
            Arguments::Integers => self.integers(info, span),
            Arguments::Durations => self.durations(info, span),
            Arguments::Addresses => {
                let mut taken = self.single(info, span);
                while !taken.is_empty() && taken.len() < ADDRESSES_MAX {
                    let more = self.words.get(self.next).filter(|word| values::address(&word.text).is_some());
                    if more.is_none() {
                        break;
                    }
                    taken.extend(self.single(info, span));
                }
                taken
            }
            Arguments::Hosts => {
                let mut taken = self.single(info, span);
                let second = self.words.get(self.next).is_some_and(is_second_host);
                if !taken.is_empty() && second {
                    taken.extend(self.single(info, span));
                }
                taken
            }
            _ => self.single(info, span),
        }
    }

    /// The word that stands where an argument must, or a diagnostic that there is none.
    fn required(&mut self, info: &KeywordInfo, span: Span) -> Option<Word> {
        let at_end = self.next >= self.words.len();
        let numeric =
            matches!(info.arguments, Arguments::Integer { .. } | Arguments::Integers | Arguments::Seconds);
        let remark = |message: String| {
            Diagnostic::new(&codes::MISSING_ARGUMENT, message).at(span).help(format!(
                "write `{} {}`",
                info.name,
                example(info)
            ))
        };
        if at_end {
            let message = format!("`{}` needs an argument ({})", info.name, info.arguments.describe());
            self.diagnostics.push(remark(message));
            return None;
        }
        let word = self.peek()?.clone();
        if is_keyword(&word) && !(numeric && values::decimal(&word.text).is_some()) {
            let what = info.arguments.describe();
            let message =
                format!("`{}` needs an argument ({what}), and `{}` is a keyword", info.name, word.text);
            self.diagnostics.push(remark(message));
            self.doubtful.push(self.span(&word));
            return None;
        }
        self.next += 1;
        Some(word)
    }

    fn single(&mut self, info: &KeywordInfo, span: Span) -> Vec<Taken> {
        let Some(word) = self.required(info, span) else { return Vec::new() };
        let taken = Taken { span: self.span(&word), text: word.text };
        let (length, limit) = (taken.text.chars().count(), length_max(info.arguments));
        if length > limit {
            let message =
                format!("the argument of `{}` has {length} characters, more than {limit}", info.name);
            let remark = Diagnostic::new(&codes::ARGUMENT_TOO_LONG, message).at(taken.span);
            let help = match info.arguments {
                Arguments::Peer => {
                    "make the host the official host name of the channel, and write `daemon router`"
                }
                _ => "use a shorter one",
            };
            self.diagnostics.push(remark.help(help));
        } else if let Err(why) = check(info.arguments, &taken.text) {
            let message = match taken.text.as_str() {
                "" => format!("an empty text is no argument for `{}`", info.name),
                text => format!("`{text}` is no argument for `{}`: {why}", info.name),
            };
            self.diagnostics.push(bad_argument(info, message).at(taken.span));
        }
        vec![taken]
    }

    fn integers(&mut self, info: &KeywordInfo, span: Span) -> Vec<Taken> {
        let Some(first) = self.required(info, span) else { return Vec::new() };
        let mut words = vec![first];
        if values::decimal(&words[0].text).is_some() {
            while let Some(more) = self.words.get(self.next) {
                // `822` and `733` are numbers and keywords; behind a list they are meant as keywords.
                if values::decimal(&more.text).is_none() || is_keyword(more) {
                    break;
                }
                words.push(more.clone());
                self.next += 1;
            }
        }
        if let Some(sixth) = words.get(INTEGERS_MAX) {
            let span = self.span(sixth);
            self.too_long(info, INTEGERS_MAX, words.len(), span);
            words.truncate(INTEGERS_MAX);
        }
        let mut last = 0;
        for word in &words {
            let span = self.span(word);
            match values::decimal(&word.text) {
                Some(age) if age <= 0 || age > i64::from(u16::MAX) => {
                    let message = format!("`{age}` is no age for `{}`: it is not from 1 to 65535", info.name);
                    self.diagnostics.push(bad_argument(info, message).at(span));
                    break;
                }
                Some(age) if age <= last => {
                    let message =
                        format!("`{age}` in `{}` is not greater than `{last}` in front of it", info.name);
                    let remark = Diagnostic::new(&codes::NOT_INCREASING, message).at(span);
                    self.diagnostics.push(remark.help("write the ages in increasing order"));
                    break;
                }
                Some(age) => last = age,
                None => {
                    let message =
                        format!("`{}` is no argument for `{}`: it is no integer", word.text, info.name);
                    self.diagnostics.push(bad_argument(info, message).at(span));
                    break;
                }
            }
        }
        words.into_iter().map(|word| Taken { span: self.span(&word), text: word.text }).collect()
    }

    fn durations(&mut self, info: &KeywordInfo, span: Span) -> Vec<Taken> {
        let Some(first) = self.required(info, span) else { return Vec::new() };
        let mut words = vec![first];
        while let Some(more) = self.words.get(self.next) {
            // `5m` is no duration, but nothing else either: behind one that is wrong it belongs to the list.
            let wrong = values::iso_duration(&words[words.len() - 1].text).is_none();
            let number = more.text.starts_with(|c: char| c.is_ascii_digit()) && !is_keyword(more);
            if !if wrong { number } else { looks_like_duration(more) } {
                break;
            }
            words.push(more.clone());
            self.next += 1;
        }
        if let Some(word) = words.iter().find(|word| values::iso_duration(&word.text).is_none()) {
            let span = self.span(word);
            let message = format!("`{}` in `{}` is no ISO 8601 duration", word.text, info.name);
            let remark = Diagnostic::new(&codes::BAD_ARGUMENT, message).at(span);
            self.diagnostics.push(remark.help("durations look like PT30M, PT4H or P1D"));
        }
        if let Some(ninth) = words.get(DURATIONS_MAX) {
            let span = self.span(ninth);
            self.too_long(info, DURATIONS_MAX, words.len(), span);
            words.truncate(DURATIONS_MAX);
        }
        words.into_iter().map(|word| Taken { span: self.span(&word), text: word.text }).collect()
    }

    fn too_long(&mut self, info: &KeywordInfo, most: usize, found: usize, span: Span) {
        let message = format!("`{}` has {found} values, more than {most}", info.name);
        let remark = Diagnostic::new(&codes::LIST_TOO_LONG, message).at(span);
        self.diagnostics.push(remark.help("take out values"));
    }
}

fn bad_argument(info: &KeywordInfo, message: String) -> Diagnostic {
    let help = format!("`sluice explain {}` tells what it takes", info.name);
    Diagnostic::new(&codes::BAD_ARGUMENT, message).help(help)
}

/// What is said about a line that begins with `#` or `;`, which no host, channel or alias does: it is passed over.
pub(crate) fn foreign_comment(text: &str, at: Span) -> Option<Diagnostic> {
    let sign = text.chars().next().filter(|c| matches!(c, '#' | ';'))?;
    let remark =
        Diagnostic::new(&codes::MISPLACED_COMMENT, format!("`{sign}` makes no comment in this file"));
    Some(remark.at(at).severity(Severity::Warning).help("write `!` in column one; the line is passed over"))
}

/// Whether a text has a blank that separates nothing: from a web page, or an editor that helps with typesetting.
pub(crate) fn holds_invisible_blank(text: &str) -> bool {
    text.contains(['\u{A0}', '\u{2007}', '\u{202F}', '\u{200B}', '\u{FEFF}'])
}

/// Whether a word has the form of a keyword, `name=value` included.
fn is_wordlike(word: &Word) -> bool {
    let name = word.text.split('=').next().unwrap_or_default();
    let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    word.is_bare() && letters && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Whether a word is meant as a duration: it is one, or it is no keyword and begins like one.
fn looks_like_duration(word: &Word) -> bool {
    let mut chars = word.text.chars();
    let begins = chars.next().is_some_and(|c| c.eq_ignore_ascii_case(&'p'))
        && match chars.next() {
            Some('T' | 't') => chars.next().is_some_and(|c| c.is_ascii_digit()),
            Some(c) => c.is_ascii_digit(),
            None => false,
        };
    begins && !is_keyword(word)
}

/// Whether the word behind the first host of `defaulthost` is a second one and not a keyword, well or badly spelt.
fn is_second_host(word: &Word) -> bool {
    if word.quoting == Quoting::Open || word.text.starts_with('!') || is_keyword(word) {
        return false;
    }
    let dotted = word.text.contains('.') || word.text.starts_with('[') || !word.is_bare();
    dotted || (is_wordlike(word) && nearest(&word.text, keywords().iter().map(|info| info.name)).is_none())
}

fn most_arguments(arguments: Arguments) -> usize {
    match arguments {
        Arguments::None => 0,
        Arguments::Integers => INTEGERS_MAX,
        Arguments::Durations => DURATIONS_MAX,
        Arguments::Addresses => ADDRESSES_MAX,
        Arguments::Hosts => 2,
        _ => 1,
    }
}

fn length_max(arguments: Arguments) -> usize {
    match arguments {
        Arguments::Text { most } | Arguments::Name { most } | Arguments::Url { most } => most,
        Arguments::Mailbox => 252,
        _ => ARGUMENT_LENGTH_MAX,
    }
}

fn example(info: &KeywordInfo) -> &'static str {
    match info.arguments {
        Arguments::None => "",
        Arguments::Integer { .. } if info.name == "port" => "2525",
        Arguments::Integer { .. } | Arguments::OptionalInteger => "10",
        Arguments::Integers => "1 2 4 7",
        Arguments::Durations => "PT30M PT1H PT4H",
        Arguments::Seconds => "60",
        Arguments::Host | Arguments::Hosts | Arguments::Peer => "host.example.com",
        Arguments::Text { .. } => "\"some text\"",
        Arguments::Name { .. } => "name",
        Arguments::Url { .. } => "file:/path",
        Arguments::Mailbox => "postmaster@example.com",
        Arguments::Channel => "tcp_local",
        Arguments::Charset => "utf-8",
        Arguments::Language => "en",
        Arguments::Character => "=",
        Arguments::Address | Arguments::Addresses => "192.0.2.1",
    }
}

/// Whether a text can be an argument of the kind; if not, why.
fn check(arguments: Arguments, text: &str) -> Result<(), String> {
    let fine = |fine: bool, why: &str| if fine { Ok(()) } else { Err(why.to_owned()) };
    match arguments {
        Arguments::None | Arguments::Integers | Arguments::Durations => Ok(()),
        Arguments::Integer { least, most } => match values::decimal(text) {
            None => Err("it is no integer".to_owned()),
            Some(value) if value < least => Err(format!("it is less than {least}")),
            Some(value) if value > most => Err(format!("it is more than {most}")),
            Some(_) => Ok(()),
        },
        Arguments::OptionalInteger => fine(
            values::decimal(text).is_some_and(|value| (0..1 << 31).contains(&value)),
            "it is no time in seconds",
        ),
        Arguments::Seconds => fine(
            values::seconds_or_time(text).is_some(),
            "it is neither seconds nor a time such as PT30M or 00:30:00",
        ),
        Arguments::Host | Arguments::Hosts | Arguments::Peer => {
            let odd = |c: char| c.is_whitespace() || c.is_control() || "()<>,;\"\\!%|&'`/=".contains(c);
            fine(!text.is_empty() && !text.contains(odd), "it is no host name")?;
            let port = text.split_once(':').map(|(_, port)| port);
            let port = port.is_some_and(|port| values::decimal(port).is_some());
            fine(!port, "the port of a host has a keyword of its own, `port`")
        }
        Arguments::Text { .. } => fine(!text.contains(char::is_control), "it has control characters"),
        Arguments::Name { .. } | Arguments::Charset | Arguments::Language => {
            let odd = |c: char| c.is_whitespace() || c.is_control();
            fine(!text.is_empty() && !text.contains(odd), "it is no name")
        }
        Arguments::Channel => fine(is_channel_name(text), "it is no channel name"),
        Arguments::Url { .. } => {
            let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
            let letters = scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c));
            fine(!scheme.is_empty() && letters, "it is no URL")
        }
        Arguments::Mailbox => {
            fine(!text.is_empty() && !text.contains(char::is_control), "it is no mail address")
        }
        Arguments::Character => {
            let code = values::decimal(text).is_some_and(|code| (0..=255).contains(&code));
            fine(code || text.chars().count() == 1, "it is neither a character nor its code")
        }
        Arguments::Address | Arguments::Addresses => {
            fine(values::address(text).is_some(), "it is no IP address")
        }
    }
}

/// Characters that a channel name has.
pub(crate) fn is_channel_name(name: &str) -> bool {
    let letters =
        name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'$');
    // The families with a hyphen: Messaging Server's store, and that of Sun Internet Mail Server before it.
    let reserved = matches!(name, "ims-ms" | "sims-ms")
        || name.strip_prefix("ims-ms_").is_some_and(|rest| !rest.is_empty() && is_channel_name(rest));
    !name.is_empty() && name.len() <= 32 && (letters || reserved)
}
