//! What a reply, or a refusal of our own, means for a recipient.

use sluice_mail::{Handover, Outcome, Status};

use super::Wait;
use crate::reply::Reply;

/// Longest path that is put into a command. RFC 5321 section 4.5.3.1.3 says 256; source routes made by rewriting may be
/// longer and the server is the one to judge, within a line (section 4.5.3.1.4 and its extensions) that any server reads.
const PATH_MAX: usize = 900;

/// Text of a reply in an outcome, in characters. A notice quotes it for each recipient.
const SHOWN_MAX: usize = 512;

/// The end of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// One for each recipient, in the order they were given.
    pub verdicts: Vec<Verdict>,
    /// The connection had served before and was found dead before MAIL was answered: nothing is known about the
    /// message, and it deserves a new connection at once.
    pub stale: bool,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The outcome.
    pub outcome: Outcome,
    /// The server took others and had no room for this one in the same transaction (RFC 5321 section 4.5.3.1.10):
    /// another transaction at once is in place.
    pub surplus: bool,
}

impl Verdict {
    pub(super) fn of(outcome: Outcome) -> Verdict {
        Verdict { outcome, surplus: false }
    }
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// What it means for messages that were to go over it.
    pub outcome: Outcome,
    /// The server still listens: QUIT may be sent.
    pub polite: bool,
}

pub(super) fn deferred(status: Status, text: &str, peer: &str) -> Outcome {
    Outcome::Deferred { status, text: text.to_owned(), peer: peer.to_owned() }
}

pub(super) fn failed(status: Status, text: &str, peer: &str) -> Outcome {
    Outcome::Failed { status, text: text.to_owned(), peer: peer.to_owned() }
}

/// A reply in one line, bounded.
pub(super) fn shown(answer: &Reply) -> String {
    let mut text = answer.to_string();
    if let Some((at, _)) = text.char_indices().nth(SHOWN_MAX) {
        text.truncate(at);
        text.push_str("...");
    }
    text
}

/// An address from a stranger as text that is safe to log.
pub(super) fn printable(text: &str) -> String {
    text.chars().take(SHOWN_MAX).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// What a reply means for the recipients it speaks about.
pub(super) fn outcome_of(answer: &Reply, to: Wait, peer: &str) -> Outcome {
    // RFC 5321 section 4.5.3.1.10: 552 to RCPT was once the code for too many recipients and is to be read as 452.
    let code = if answer.code == 552 && to == Wait::Rcpt { 452 } else { answer.code };
    let class = (code / 100) as u8;
    let mut status = answer.status.unwrap_or_else(|| status_of(code, to));
    status.class = class;
    let (text, peer) = (shown(answer), peer.to_owned());
    match class {
        // Whether the server makes reports is known where the offers are.
        2 => Outcome::Delivered { status, text, peer, handover: Handover::Relayed },
        5 => Outcome::Failed { status, text, peer },
        _ => Outcome::Deferred { status, text, peer },
    }
}

/// Whether a reply to RCPT says that the transaction has enough recipients, and not that a mailbox is full.
pub(super) fn says_too_many(answer: &Reply) -> bool {
    let too_many = answer.status.is_none_or(|status| (status.subject, status.detail) == (5, 3));
    matches!(answer.code, 452 | 552) && too_many
}

/// The enhanced status for a reply that has none, from the descriptions in RFC 5321 section 4.2.3, RFC 7504 and
/// RFC 3463 section 3.
fn status_of(code: u16, to: Wait) -> Status {
    let class = (code / 100) as u8;
    let (subject, detail) = match (code, to) {
        (421, _) => (3, 2),
        (450, Wait::Rcpt) => (2, 0),
        (451, _) => (3, 0),
        (452, Wait::Rcpt) => (5, 3),
        (452, _) => (3, 1),
        (455 | 504 | 555, _) => (5, 4),
        (500, _) => (5, 2),
        (501 | 553, Wait::Rcpt) => (1, 3),
        (501 | 553, Wait::Mail) => (1, 7),
        (501, _) => (5, 4),
        (502 | 503, _) => (5, 1),
        (521, _) => (3, 2),
        (550, Wait::Rcpt) => (1, 1),
        (551, Wait::Rcpt) => (1, 6),
        (552, _) => (3, 4),
        (556, _) => (1, 10),
        _ => (0, 0),
    };
    Status::new(class, subject, detail)
}

/// Whether a path cannot stand between angle brackets. Control characters could end the command; an unquoted blank or
/// angle bracket could begin a parameter.
pub(super) fn path_fault(path: &str, may_be_empty: bool) -> bool {
    if path.is_empty() {
        return !may_be_empty;
    }
    if path.len() > PATH_MAX || path.chars().any(char::is_control) {
        return true;
    }
    let (mut quoted, mut escaped) = (false, false);
    for byte in path.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b' ' | b'<' | b'>' if !quoted => return true,
            _ => {}
        }
    }
    quoted || escaped
}
