//! Reads one command line of a client.
//!
//! Addresses are handed on as they were written: source routes, quotes and literals matter to the rewrite rules. Only
//! what no address can be is refused here. Verbs are taken in any case, blanks behind the colon of `MAIL FROM:` are
//! tolerated; an address without angle brackets is not.
//!
//! # Not here
//! Cutting lines out of a stream (`line`), whether the command is in order now (`server`), what an ETRN argument means
//! (`etrn`).

mod path;

use sluice_mail::wishes::{is_envelope_id, is_original};
use sluice_mail::{LaterRelease, Notify, RecipientWishes, Return, TransferPriority, Wishes, rfc3339_time};

use crate::line::AUTH_OCTETS_MAX;
use crate::replies;
use crate::reply::Reply;

pub use path::PATH_OCTETS_MAX;

/// Longest command line without its end, for all verbs but MAIL and RCPT (RFC 5321 section 4.5.3.1.4: 512 with CR LF).
/// MAIL and RCPT have [`COMMAND_OCTETS_MAX`], since extensions add parameters; AUTH has [`AUTH_OCTETS_MAX`].
pub const SHORT_COMMAND_OCTETS_MAX: usize = 510;
/// Longest MAIL or RCPT without its end: a path of 512 octets, and parameters of the extensions to come.
pub const COMMAND_OCTETS_MAX: usize = 2048;
/// Longest name in EHLO and HELO: a domain has 253 octets, some clients send a little more.
pub const HELLO_OCTETS_MAX: usize = 255;

/// Most digits of the seconds behind `HOLDFOR=` (RFC 4865 section 4).
const HOLD_DIGITS_MAX: usize = 9;

/// The verbs that this server has, as HELP shows them.
pub const VERBS: &str = "HELO EHLO MAIL RCPT DATA BDAT RSET NOOP VRFY ETRN HELP QUIT";

/// A well-formed command. Its order in the session has not been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'l> {
    /// HELO and the client's name.
    Helo(&'l str),
    /// EHLO and the client's name.
    Ehlo(&'l str),
    /// MAIL FROM. The path is without angle brackets, empty for `<>`.
    Mail {
        /// As written.
        path: &'l str,
        /// What was said behind it.
        params: MailParams,
    },
    /// RCPT TO. The path is without angle brackets.
    Rcpt {
        /// As written; never empty.
        path: &'l str,
        /// What was said behind it.
        wishes: RecipientWishes,
    },
    /// DATA.
    Data,
    /// BDAT (RFC 3030): so many octets of the message follow.
    Bdat {
        /// How many.
        octets: u64,
        /// They are the last ones.
        last: bool,
    },
    /// RSET.
    Rset,
    /// NOOP, with any argument.
    Noop,
    /// STARTTLS.
    StartTls,
    /// AUTH (RFC 4954).
    Auth {
        /// The name of a mechanism.
        mechanism: &'l str,
        /// The initial response, in base64; `=` for an empty one.
        response: Option<&'l str>,
    },
    /// VRFY and what to verify.
    Vrfy(&'l str),
    /// HELP and all of its argument.
    Help(&'l str),
    /// ETRN and all of its argument; empty if there was none.
    Etrn(&'l str),
    /// ATRN and all of its argument; empty if there was none.
    Atrn(&'l str),
    /// QUIT.
    Quit,
}

/// Parameters of MAIL that are offered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailParams {
    /// `SIZE=` (RFC 1870): what the client thinks the message has; absent or 0 when it does not know.
    pub size: Option<u64>,
    /// `BODY=` (RFC 6152).
    pub body: Body,
    /// `SMTPUTF8` (RFC 6531).
    pub smtputf8: bool,
    /// `AUTH=` (RFC 4954 section 5) was there.
    pub auth: bool,
    /// `RET=` and `ENVID=` (RFC 3461), `HOLDFOR=` and `HOLDUNTIL=` (RFC 4865), `MT-PRIORITY=` (RFC 6710).
    pub wishes: Wishes,
}

/// Value of `BODY=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Body {
    /// `7BIT`, or nothing said.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
}

/// Why a line is not a command that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mistake {
    /// The reply says it all; the session goes on.
    Answer(Reply),
    /// Another protocol speaks (HTTP): close at once, for what follows is not meant for us.
    ForeignProtocol,
}

impl From<Reply> for Mistake {
    fn from(reply: Reply) -> Mistake {
        Mistake::Answer(reply)
    }
}

/// Reads a command line, without its line end.
pub fn parse(line: &[u8]) -> Result<Command<'_>, Mistake> {
    let text = match std::str::from_utf8(line) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\t') => text,
        _ => return Err(replies::illegal_characters().into()),
    };
    let text = trim_end(text);
    let (verb, argument) = match text.find([' ', '\t']) {
        Some(blank) => (&text[..blank], text[blank..].trim_start_matches([' ', '\t'])),
        None => (text, ""),
    };
    let mut upper = [0; 8];
    let Some(upper) = upper.get_mut(..verb.len()) else {
        return Err(replies::unknown_command().into());
    };
    upper.copy_from_slice(verb.as_bytes());
    upper.make_ascii_uppercase();
    let limit = match &*upper {
        b"MAIL" | b"RCPT" => COMMAND_OCTETS_MAX,
        b"AUTH" => AUTH_OCTETS_MAX,
        _ => SHORT_COMMAND_OCTETS_MAX,
    };
    if line.len() > limit {
        return Err(replies::line_too_long().into());
    }
    match &*upper {
        b"HELO" => hello(argument).map(Command::Helo),
        b"EHLO" => hello(argument).map(Command::Ehlo),
        b"MAIL" => mail(argument),
        b"RCPT" => rcpt(argument),
        b"DATA" => without_argument("DATA", argument, Command::Data),
        b"RSET" => without_argument("RSET", argument, Command::Rset),
        b"QUIT" => without_argument("QUIT", argument, Command::Quit),
        b"NOOP" => Ok(Command::Noop),
        b"HELP" => Ok(Command::Help(argument)),
        b"VRFY" if argument.is_empty() => Err(replies::argument_missing("VRFY").into()),
        b"VRFY" => Ok(Command::Vrfy(argument)),
        b"ETRN" => Ok(Command::Etrn(argument)),
        b"EXPN" => Err(replies::not_implemented("EXPN").into()),
        b"TURN" => Err(replies::not_implemented("TURN").into()),
        b"ATRN" => Ok(Command::Atrn(argument)),
        b"STARTTLS" => without_argument("STARTTLS", argument, Command::StartTls),
        b"AUTH" => auth(argument),
        b"BDAT" => bdat(argument),
        b"GET" | b"POST" | b"PUT" | b"HEAD" | b"OPTIONS" | b"CONNECT" => Err(Mistake::ForeignProtocol),
        _ => Err(replies::unknown_command().into()),
    }
}

fn trim_end(text: &str) -> &str {
    text.trim_end_matches([' ', '\t'])
}

fn without_argument<'l>(verb: &str, argument: &str, command: Command<'l>) -> Result<Command<'l>, Mistake> {
    if argument.is_empty() { Ok(command) } else { Err(replies::no_argument_allowed(verb).into()) }
}

/// The client's name. What a site calls itself is often wrong and never proof of anything: any word of printable
/// ASCII will do.
fn hello(argument: &str) -> Result<&str, Mistake> {
    let name = argument.split([' ', '\t']).next().unwrap_or_default();
    let fits =
        !name.is_empty() && name.len() <= HELLO_OCTETS_MAX && name.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(name) } else { Err(replies::hello_syntax().into()) }
}

fn mail(argument: &str) -> Result<Command<'_>, Mistake> {
    let rest = after_word(argument, "FROM:").ok_or_else(replies::mail_syntax)?;
    if !rest.starts_with('<') {
        return Err(replies::mail_syntax().into());
    }
    let (path, rest) = path::split(rest).ok_or_else(replies::bad_sender)?;
    let params = mail_params(rest)?;
    if !path.is_ascii() && !params.smtputf8 {
        return Err(replies::address_needs_smtputf8().into());
    }
    Ok(Command::Mail { path, params })
}

fn auth(argument: &str) -> Result<Command<'_>, Mistake> {
    let mut words = argument.split([' ', '\t']).filter(|word| !word.is_empty());
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), response, None) => Ok(Command::Auth { mechanism, response }),
        _ => Err(replies::auth_syntax().into()),
    }
}

fn rcpt(argument: &str) -> Result<Command<'_>, Mistake> {
    let rest = after_word(argument, "TO:").ok_or_else(replies::rcpt_syntax)?;
    if !rest.starts_with('<') {
        return Err(replies::rcpt_syntax().into());
    }
    let (path, rest) = path::split(rest).ok_or_else(replies::bad_recipient)?;
    if path.is_empty() {
        return Err(replies::bad_recipient().into());
    }
    Ok(Command::Rcpt { path, wishes: rcpt_params(rest)? })
}

fn rcpt_params(text: &str) -> Result<RecipientWishes, Mistake> {
    let mut wishes = RecipientWishes::default();
    for word in text.split([' ', '\t']).filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let bad = || Mistake::from(replies::bad_parameter(&keyword(word)));
        if name.eq_ignore_ascii_case("NOTIFY") {
            let notify = Notify::parse(value).filter(|_| wishes.notify.is_default());
            wishes.notify = notify.ok_or_else(bad)?;
        } else if name.eq_ignore_ascii_case("ORCPT") {
            if !wishes.original.is_empty() || !is_original(value) {
                return Err(bad());
            }
            value.clone_into(&mut wishes.original);
        } else {
            return Err(replies::unknown_parameter(&keyword(word)).into());
        }
    }
    Ok(wishes)
}

fn bdat(argument: &str) -> Result<Command<'_>, Mistake> {
    let mut words = argument.split([' ', '\t']).filter(|word| !word.is_empty());
    let octets = words.next().filter(|word| word.len() <= 20 && word.bytes().all(|b| b.is_ascii_digit()));
    let last = match words.next() {
        None => Some(false),
        Some(word) if word.eq_ignore_ascii_case("LAST") => Some(true),
        Some(_) => None,
    };
    match (octets.and_then(|octets| octets.parse().ok()), last, words.next()) {
        (Some(octets), Some(last), None) => Ok(Command::Bdat { octets, last }),
        _ => Err(replies::bdat_syntax().into()),
    }
}

/// What follows `word`, in any case, and blanks behind it.
fn after_word<'l>(text: &'l str, word: &str) -> Option<&'l str> {
    let start = text.get(..word.len())?;
    start.eq_ignore_ascii_case(word).then(|| text[word.len()..].trim_start_matches([' ', '\t']))
}

fn mail_params(text: &str) -> Result<MailParams, Mistake> {
    let mut params = MailParams::default();
    let (mut size_seen, mut body_seen) = (false, false);
    for word in text.split([' ', '\t']).filter(|word| !word.is_empty()) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let bad = || Mistake::from(replies::bad_parameter(&keyword(word)));
        if is("SIZE") {
            let digits = value.filter(|value| value.bytes().all(|b| b.is_ascii_digit()));
            // RFC 1870 section 3 allows twenty digits, which is more than any limit we can have.
            let digits =
                digits.filter(|digits| (1..=20).contains(&digits.len()) && !size_seen).ok_or_else(bad)?;
            params.size = Some(digits.parse().unwrap_or(u64::MAX));
            size_seen = true;
        } else if is("BODY") {
            params.body = match value {
                Some(value) if body_seen || value.is_empty() => return Err(bad()),
                Some(value) if value.eq_ignore_ascii_case("7BIT") => Body::SevenBit,
                Some(value) if value.eq_ignore_ascii_case("8BITMIME") => Body::EightBitMime,
                _ => return Err(bad()),
            };
            body_seen = true;
        } else if is("SMTPUTF8") {
            if value.is_some() || params.smtputf8 {
                return Err(bad());
            }
            params.smtputf8 = true;
        } else if is("AUTH") {
            if params.auth || !value.is_some_and(is_xtext) {
                return Err(bad());
            }
            params.auth = true;
        } else if is("RET") {
            let returned = value.and_then(Return::parse).filter(|_| params.wishes.returned.is_none());
            params.wishes.returned = Some(returned.ok_or_else(bad)?);
        } else if is("ENVID") {
            let name = value.filter(|value| params.wishes.envelope_id.is_empty() && is_envelope_id(value));
            name.ok_or_else(bad)?.clone_into(&mut params.wishes.envelope_id);
        } else if is("HOLDFOR") || is("HOLDUNTIL") {
            let later =
                value.and_then(|value| if is("HOLDFOR") { hold_for(value) } else { hold_until(value) });
            // One of them, once (RFC 4865 section 4).
            params.wishes.later = Some(later.filter(|_| params.wishes.later.is_none()).ok_or_else(bad)?);
        } else if is("MT-PRIORITY") {
            let priority = value.and_then(TransferPriority::parse);
            let priority = priority.filter(|_| params.wishes.priority.is_none());
            params.wishes.priority = Some(priority.ok_or_else(replies::priority_syntax)?);
        } else {
            return Err(replies::unknown_parameter(&keyword(word)).into());
        }
    }
    Ok(params)
}

/// Up to nine digits of which the first is not 0.
fn hold_for(text: &str) -> Option<LaterRelease> {
    let digits = text.len() <= HOLD_DIGITS_MAX && text.bytes().all(|b| b.is_ascii_digit());
    let secs = text.parse().ok().filter(|_| digits && !text.starts_with('0'))?;
    Some(LaterRelease::For(secs))
}

fn hold_until(text: &str) -> Option<LaterRelease> {
    rfc3339_time(text).map(LaterRelease::Until)
}

/// Whether a text is `xtext` (RFC 3461 section 4) or the `<>` that AUTH has for nobody.
fn is_xtext(text: &str) -> bool {
    let mut parts = text.split('+');
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'=');
    let hexadecimal = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    let first = parts.next().unwrap_or_default();
    let rest = |part: &str| part.len() >= 2 && part.bytes().take(2).all(hexadecimal) && plain(part);
    !text.is_empty() && plain(first) && parts.all(rest)
}

/// The name of a parameter, as it is repeated to the client: shortened, in capitals.
fn keyword(word: &str) -> String {
    let name = word.split('=').next().unwrap_or_default();
    name.chars().take(32).collect::<String>().to_ascii_uppercase()
}

#[cfg(test)]
#[path = "command/tests.rs"]
mod tests;
