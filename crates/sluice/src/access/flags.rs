//! The flags of the access tables: which of them have arguments, in which order those stand, and what acts here.
//!
//! The order is that of Messaging Server's table "Access mapping flags and metacharacters". The words of a refusal and the
//! fields for a header are made here too: strangers have a part in their text.

use std::time::Duration;

use sluice_config::Config;
use sluice_diag::{Code, Diagnostic, Severity, nearest};
use sluice_mail::{Refusal, Status};
use sluice_rewrite::mapping::Flags;

/// Longest text of an answer that goes into a reply or the log.
const TEXT_MAX: usize = 400;
/// Longest line of a header (RFC 5322 section 2.1.1).
const FIELD_MAX: usize = 998;

/// A flag of the tables that are asked about senders and recipients.
struct Flag {
    letter: char,
    /// Fields of the text that it takes.
    fields: usize,
    acts: Acts,
}

/// Where a flag does something.
enum Acts {
    Everywhere,
    /// In FROM_ACCESS alone.
    Sender,
    Nowhere,
}

const fn flag(letter: char, fields: usize, acts: Acts) -> Flag {
    Flag { letter, fields, acts }
}

/// All flags, those with arguments in the order in which the arguments are read. The argument of `N` and `F` is all the
/// rest, so they come behind the others.
static FLAGS: &[Flag] = &[
    flag('U', 1, Acts::Everywhere),
    flag('J', 1, Acts::Sender),
    flag('K', 1, Acts::Nowhere),
    flag('I', 2, Acts::Everywhere),
    flag('<', 1, Acts::Everywhere),
    flag('>', 1, Acts::Everywhere),
    flag('D', 1, Acts::Everywhere),
    flag('T', 1, Acts::Nowhere),
    flag('A', 1, Acts::Everywhere),
    flag('G', 1, Acts::Nowhere),
    flag('S', 1, Acts::Nowhere),
    flag('X', 1, Acts::Everywhere),
    flag(',', 1, Acts::Nowhere),
    flag('N', 0, Acts::Everywhere),
    flag('F', 0, Acts::Everywhere),
    flag('Y', 0, Acts::Everywhere),
    flag('B', 0, Acts::Everywhere),
    flag('H', 0, Acts::Everywhere),
    flag('V', 0, Acts::Everywhere),
    flag('Z', 0, Acts::Everywhere),
    flag('!', 0, Acts::Nowhere),
];

/// The tables whose flags are looked at, with the flags that act; `None` for those with the flags of [`FLAGS`].
const TABLES: [(&str, Option<&str>); 9] = [
    ("PORT_ACCESS", Some("YNFT<>")),
    (SENDERS, None),
    ("ORIG_SEND_ACCESS", None),
    ("SEND_ACCESS", None),
    ("ORIG_MAIL_ACCESS", None),
    ("MAIL_ACCESS", None),
    ("ETRN_ACCESS", Some("YNFSD")),
    ("REVERSE", Some("YND")),
    ("FORWARD", Some("YNDGHI")),
];

const SENDERS: &str = "FROM_ACCESS";

/// How long replies wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delay {
    /// This one.
    Once(Duration),
    /// This one and all further ones of the transaction.
    Each(Duration),
}

/// What a table's answer says, its arguments read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// `$U`: the answer is to be logged.
    pub(super) debug: bool,
    /// `$N` and `$F`, and the reason.
    pub(super) refused: Option<String>,
    /// `$J`.
    pub(super) sender: Option<String>,
    /// `$I`: user and group.
    pub(super) group: Option<String>,
    /// `$<`.
    pub(super) log: Option<String>,
    /// `$>`.
    pub(super) log_refusal: Option<String>,
    /// `$D`.
    pub(super) delay: Option<Delay>,
    /// `$A`.
    pub(super) field: Option<String>,
    /// `$X`.
    pub(super) status: Option<Status>,
    /// Arguments that mean nothing.
    pub(super) mistakes: Vec<String>,
}

/// Takes fields off the front of a text.
struct Fields<'t>(Option<&'t str>);

impl<'t> Fields<'t> {
    fn next(&mut self) -> Option<&'t str> {
        let text = self.0?;
        let (first, behind) =
            text.split_once('|').map_or((text, None), |(first, behind)| (first, Some(behind)));
        self.0 = behind;
        Some(first)
    }

    fn rest(self) -> String {
        self.0.unwrap_or_default().to_owned()
    }
}

/// Takes the arguments of the flags out of the answer of a table that is asked about mail.
pub(super) fn read(flags: Flags, output: &str) -> Read {
    let mut fields = Fields(Some(output));
    let mut read = Read::default();
    for known in FLAGS.iter().filter(|known| known.fields > 0 && flags.has(known.letter)) {
        let argument = fields.next().unwrap_or_default().trim();
        match known.letter {
            'U' => read.debug = argument.parse::<i64>().is_ok_and(|level| level != 0),
            'J' => read.sender = Some(argument.to_owned()),
            'I' => read.group = Some(format!("{argument}|{}", fields.next().unwrap_or_default().trim())),
            '<' => read.log = Some(argument.to_owned()),
            '>' => read.log_refusal = Some(argument.to_owned()),
            'D' => match delay(argument) {
                Some(delay) => read.delay = Some(delay),
                None => read
                    .mistakes
                    .push(format!("$D with {argument:?}, which is no number of hundredths of a second")),
            },
            'A' => match field(argument) {
                Some(field) => read.field = Some(field),
                None => read.mistakes.push(format!("$A with {argument:?}, which is no header line")),
            },
            'X' => match argument.parse::<Status>() {
                Ok(status) => read.status = Some(status),
                Err(_) => read.mistakes.push(format!("$X with {argument:?}, which is no enhanced code")),
            },
            _ => {}
        }
    }
    if flags.has('N') || flags.has('F') {
        read.refused = Some(fields.rest());
    } else if read.group.is_some() {
        read.refused = Some(String::new());
    }
    read
}

/// The same for PORT_ACCESS, which has fewer flags; with the text behind two bars, for the log.
pub(super) fn read_port(flags: Flags, output: &str) -> (Read, Option<String>) {
    let (output, note) = match output.split_once("||") {
        Some((output, note)) => (output, Some(note.trim().to_owned())),
        None => (output, None),
    };
    let mut fields = Fields(Some(output));
    let mut read = Read::default();
    if flags.has('<') {
        read.log = fields.next().map(str::to_owned);
    }
    if flags.has('>') {
        read.log_refusal = fields.next().map(str::to_owned);
    }
    if flags.has('N') || flags.has('F') {
        read.refused = Some(fields.rest());
    }
    (read, note)
}

/// Hundredths of a second; negative ones are for this command alone.
fn delay(text: &str) -> Option<Delay> {
    let hundredths: i64 = text.parse().ok()?;
    let time = Duration::from_millis(hundredths.unsigned_abs().saturating_mul(10));
    Some(if hundredths < 0 { Delay::Once(time) } else { Delay::Each(time) })
}

/// A header line as it may stand in a message: `name: text` in printable ASCII.
fn field(text: &str) -> Option<String> {
    let (name, _) = text.split_once(':')?;
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let printable = |c: char| match c {
        '\t' => ' ',
        c if c == ' ' || c.is_ascii_graphic() => c,
        _ => '?',
    };
    Some(text.chars().map(printable).take(FIELD_MAX).collect())
}

/// What the client is told. The text may begin with a reply code, and an enhanced code behind it.
pub(super) fn refusal(code: u16, status: Option<Status>, text: &str) -> Refusal {
    let text = clean(text);
    let (said, mut rest) = leading_code(&text);
    let mut code = said.unwrap_or(code);
    let mut written = status;
    if let Some((digits, behind)) = rest.split_once(' ')
        && let Ok(found) = digits.parse::<Status>()
        && matches!(found.class, 4 | 5)
    {
        (written, rest) = (Some(found), behind.trim_start());
    }
    let status = written.unwrap_or(Status { class: if code < 500 { 4 } else { 5 }, subject: 7, detail: 1 });
    if said.is_none() {
        // 450 for what may be tried again.
        code = if status.class == 4 { 450 } else { code };
    }
    let class = if code < 500 { 4 } else { 5 };
    Refusal { code, status: Status { class, ..status }, text: or_default(rest) }
}

/// What stands in the place of the greeting: the text as it is, with a reply code in front if it has none.
pub(super) fn closed_door(text: &str) -> Refusal {
    let text = clean(text);
    let (said, rest) = leading_code(&text);
    let code = said.unwrap_or(554);
    let status = Status { class: if code < 500 { 4 } else { 5 }, subject: 7, detail: 1 };
    Refusal { code, status, text: or_default(rest) }
}

/// The reply code that a text begins with, and what is behind it.
fn leading_code(text: &str) -> (Option<u16>, &str) {
    match text.split_once(' ') {
        Some((digits, behind)) if digits.len() == 3 => match digits.parse::<u16>() {
            Ok(code @ 400..=599) => (Some(code), behind.trim_start()),
            _ => (None, text),
        },
        _ => (None, text),
    }
}

fn or_default(text: &str) -> String {
    if text.is_empty() { "refused by the rules of this system".to_owned() } else { text.to_owned() }
}

/// Text of an answer as it may stand in a reply or a log.
pub(super) fn clean(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}

/// Flags that entries of the tables put out and that do nothing in this version, and those that refuse without saying so:
/// each flag of a table once. Also a forward database that nobody asks.
pub(crate) fn check(rewriter: &sluice_rewrite::Rewriter) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (table, own) in TABLES {
        let acts = |letter: char| match own {
            Some(acting) => acting.contains(letter),
            None => FLAGS.iter().any(|flag| {
                flag.letter == letter
                    && match flag.acts {
                        Acts::Everywhere => true,
                        Acts::Sender => table == SENDERS,
                        Acts::Nowhere => false,
                    }
            }),
        };
        let mut seen = Flags::NONE;
        for (flags, span) in rewriter.mappings().flags_in(table) {
            for flag in flags.iter().filter(|flag| !seen.has(*flag)) {
                if own.is_none() && flag == 'I' {
                    let message = format!(
                        "`$I` of {table} asks for a group, and this hub knows none: the entry refuses"
                    );
                    let remark = Diagnostic::new(&GROUP, message).at(span);
                    found.push(remark.help("let the pattern tell senders apart, or a database (`${…}`)"));
                } else if !acts(flag) {
                    let message = format!("the flag `${flag}` of {table} has no effect in this version");
                    found.push(Diagnostic::new(&NO_EFFECT, message).at(span));
                }
            }
            seen = flags.iter().fold(seen, Flags::with);
        }
    }
    let config = rewriter.config();
    check_names(config, &mut found);
    if config.databases.get("forward").is_some() && config.options.use_forward_database & 1 == 0 {
        let remark = Diagnostic::new(&NOT_ASKED, "the forward database is there, and nobody asks it");
        found.push(remark.help("write `USE_FORWARD_DATABASE=1` into option.dat"));
    }
    found
}

/// Tables that nobody asks and whose name is nearly that of one that the hub asks.
fn check_names(config: &Config, found: &mut Vec<Diagnostic>) {
    let asked = TABLES.into_iter().map(|(name, _)| name);
    let asked: Vec<&str> = asked.chain(["INTERNAL_IP", "CONVERSIONS"]).collect();
    for table in config.mappings.iter() {
        let name = table.name.to_uppercase();
        let Some(near) = nearest(&name, asked.iter().copied()).filter(|near| *near != name) else { continue };
        if asked.contains(&name.as_str()) || !nearly_equal(&name, near) || is_called(config, &name) {
            continue;
        }
        let message = format!("nobody asks the table `{}`", table.name);
        let remark = Diagnostic::new(&TABLE_NOT_ASKED, message).at(table.span);
        found.push(remark.help(format!("did you mean `{near}`?")));
    }
}

/// Do they differ in one place, by two letters at most? `MY_MAIL_ACCESS` is a name that somebody chose.
fn nearly_equal(one: &str, other: &str) -> bool {
    let head = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let tail = one.bytes().rev().zip(other.bytes().rev()).take_while(|(a, b)| a == b).count();
    head + tail + 2 >= one.len().max(other.len())
}

/// Whether a rule, another table or a list asks the table.
fn is_called(config: &Config, name: &str) -> bool {
    let (rule, table) = (format!("${{{name},"), format!("$|{name};"));
    let holds = |text: &str, call: &str| text.contains('$') && text.to_uppercase().contains(call);
    config.rules.iter().any(|one| holds(&one.template, &rule))
        || config.mappings.iter().any(|one| one.entries.iter().any(|entry| holds(&entry.template, &table)))
        || config.aliases.iter().any(|alias| alias.tables().any(|table| table.eq_ignore_ascii_case(name)))
}

/// The kinds of remark that [`check`] makes.
pub(crate) static CODES: [&Code; 4] = [&NO_EFFECT, &GROUP, &NOT_ASKED, &TABLE_NOT_ASKED];

static TABLE_NOT_ASKED: Code = Code {
    name: "mapping-table-not-asked",
    severity: Severity::Warning,
    summary: "a mapping table has nearly the name of one that the hub asks",
    explanation: "The hub asks its tables by name (`ORIG_SEND_ACCESS`, `PORT_ACCESS`, `REVERSE` and others); one that is misspelt is never asked, and \
what it was to keep out comes in. Tables of any name can be asked by rewrite rules (`${TABLE,text}`), by other tables \
(`$|TABLE;text|`) and by lists; nothing of that kind asks this one.",
};

static NOT_ASKED: Code = Code {
    name: "forward-database-not-asked",
    severity: Severity::Warning,
    summary: "`forward.txt` is there and `USE_FORWARD_DATABASE` does not turn it on",
    explanation: "The forward database takes part in forwarding only if the option `USE_FORWARD_DATABASE` has bit 1; its default is 0. Without \
it every recipient in the file gets the mail under the old address. Set the option, or take the file away.",
};

static NO_EFFECT: Code = Code {
    name: "mapping-flag-without-effect",
    severity: Severity::Warning,
    summary: "a flag of an access table has no effect",
    explanation: "The answer is used, and this flag in it is passed over; its argument, if it has one, is still taken out of the text. The \
reference page on mapping tables says which flags of which tables act. Where such a flag closed a door, close it in another way: `$N` \
refuses, `$H` holds.",
};

static GROUP: Code = Code {
    name: "mapping-group-check",
    severity: Severity::Warning,
    summary: "an access table checks a group, and there are none",
    explanation: "`$I` with `user|group` lets mail through only if the user belongs to the group. This hub has no users and no groups, so the \
check never succeeds: whatever the entry matches is refused. Passing it over would open what was meant to be closed. Write the users into \
the pattern or into the general database, which `${…}` asks.",
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn flags(letters: &str) -> Flags {
        letters.chars().collect()
    }

    #[test]
    fn arguments_are_read_in_their_order() {
        let found = read(flags("ND"), "30|Relaying not allowed");
        assert_eq!(found.refused.as_deref(), Some("Relaying not allowed"));
        assert_eq!(found.delay, Some(Delay::Each(Duration::from_millis(300))));
        let all =
            "9|new@from|new@sender|user|group|seen|turned away|-50|tag|X-A: b|ct|1,2,3|4.7.1|5|Come | later";
        let found = read(flags("UJKI<>DTAGSX,N"), all);
        assert!(found.debug);
        assert_eq!(found.sender.as_deref(), Some("new@from"));
        assert_eq!(found.group.as_deref(), Some("user|group"));
        assert_eq!(found.log.as_deref(), Some("seen"));
        assert_eq!(found.log_refusal.as_deref(), Some("turned away"));
        assert_eq!(found.delay, Some(Delay::Once(Duration::from_millis(500))));
        assert_eq!(found.field.as_deref(), Some("X-A: b"));
        assert_eq!(found.status, Some(Status { class: 4, subject: 7, detail: 1 }));
        assert_eq!(found.refused.as_deref(), Some("Come | later"));
        assert!(found.mistakes.is_empty());
        assert_eq!(read(flags("Y"), "EXTERNAL"), Read::default());
        assert_eq!(read(flags("F"), "").refused.as_deref(), Some(""));
        assert_eq!(read(flags("ND"), "30").refused.as_deref(), Some(""));
    }

    #[test]
    fn arguments_that_mean_nothing_are_named_and_passed_over() {
        let found = read(flags("DAXN"), "soon|no line|5|Go away");
        assert_eq!(found.mistakes.len(), 3, "{:?}", found.mistakes);
        assert_eq!((found.delay, found.field, found.status), (None, None, None));
        assert_eq!(found.refused.as_deref(), Some("Go away"));
    }

    #[test]
    fn a_group_that_cannot_be_checked_refuses() {
        assert_eq!(read(flags("IY"), "user|group").refused.as_deref(), Some(""));
        assert_eq!(read(flags("IN"), "user|group|not yours").refused.as_deref(), Some("not yours"));
    }

    #[test]
    fn a_header_line_cannot_smuggle_another() {
        assert_eq!(field("X-From: a\r\nBcc: b\u{e9}\tc").unwrap(), "X-From: a??Bcc: b? c");
        assert_eq!(field("X From: a"), None);
        assert_eq!(field(": a"), None);
        assert_eq!(field("X-Long: ".to_owned().as_str()).unwrap(), "X-Long: ");
        assert_eq!(field(&format!("X: {}", "y".repeat(2000))).unwrap().len(), FIELD_MAX);
    }

    #[test]
    fn port_access_has_texts_for_the_log() {
        let (read, note) = read_port(flags("<>N"), "seen|turned away|421 Later||from the list");
        assert_eq!(read.log.as_deref(), Some("seen"));
        assert_eq!(read.log_refusal.as_deref(), Some("turned away"));
        assert_eq!(read.refused.as_deref(), Some("421 Later"));
        assert_eq!(note.as_deref(), Some("from the list"));
        assert_eq!(read_port(flags("Y"), "EXTERNAL"), (Read::default(), None));
    }

    #[test]
    fn refusals_carry_the_codes_that_are_written() {
        let shown = |refusal: Refusal| format!("{} {} {}", refusal.code, refusal.status, refusal.text);
        let told = |code, status: Option<&str>, text| {
            shown(refusal(code, status.map(|status| status.parse().unwrap()), text))
        };
        assert_eq!(told(550, None, "Mail Blocked"), "550 5.7.1 Mail Blocked");
        assert_eq!(told(550, None, "5.7.0 Mail Blocked"), "550 5.7.0 Mail Blocked");
        assert_eq!(told(550, None, "550 5.1.8 No such sender"), "550 5.1.8 No such sender");
        assert_eq!(told(550, None, "4.2.1 Try later"), "450 4.2.1 Try later");
        assert_eq!(told(550, None, "550 4.2.1 Which"), "550 5.2.1 Which");
        assert_eq!(told(550, Some("4.4.2"), "later"), "450 4.4.2 later");
        assert_eq!(told(550, None, "421 4.3.2 busy"), "421 4.3.2 busy");
        assert_eq!(told(550, None, "571 no"), "571 5.7.1 no");
        assert_eq!(told(550, None, "250 no"), "550 5.7.1 250 no");
        assert_eq!(told(550, None, "45s 4.40 Try again later"), "550 5.7.1 45s 4.40 Try again later");
        assert_eq!(told(550, None, "a\r\n250 b"), "550 5.7.1 a250 b");
        assert_eq!(told(550, None, ""), "550 5.7.1 refused by the rules of this system");
        assert_eq!(shown(closed_door("452 4.4.0 Try again later")), "452 4.7.1 4.4.0 Try again later");
        assert_eq!(shown(closed_door("Go away")), "554 5.7.1 Go away");
        assert_eq!(shown(closed_door("")), "554 5.7.1 refused by the rules of this system");
    }
}
