//! Records of what happens to messages, one line for each recipient, on channels that have `logging`.
//!
//! The fields are those of PMDF's mail log, in its order (System Manager's Guide, "Managing mail logging"): source and
//! destination channel, code, size in blocks, envelope From, original recipient, active recipient, and for what left a
//! channel what the other side said. Codes: `E` queued, `D` delivered, `Q` put off, `Z` put off
//! while others of the message were delivered, `R` refused or given up, `W` the sender is told of a delay, `K` in the place of
//! `R` and `W` where the sender does not want to be told, `H` (ours) what an operator does to an entry, or a hold of the hub's.
//! `docs/internals/mail-log-format.md` has the lines.
//!
//! # Not here
//! What is logged of sessions (`smtpd`), and of what a person has to know (everywhere).

use std::fmt;
use std::sync::{Arc, OnceLock};

use sluice_config::Config;
use sluice_mail::notice::Action;
use sluice_mail::{Envelope, Notify, Outcome, Recipient};
use sluice_spool::EntryId;

/// What records of a delivery tell beside its outcome. Known when the envelope has been read.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) sender: String,
    /// In the order of their indexes.
    pub(crate) recipients: Vec<Fact>,
}

/// A recipient of it.
#[derive(Debug)]
pub(crate) struct Fact {
    /// Its index in the envelope.
    pub(crate) index: u32,
    /// The address as the client gave it.
    pub(crate) original: String,
    /// The address in use.
    pub(crate) active: String,
    /// What the sender wants to be told.
    pub(crate) notify: Notify,
}

/// To be filled in when the envelope has been read.
pub(crate) type Promised = Arc<OnceLock<Facts>>;

/// Blocks of a message, begun ones counted (PMDF counts a message of one byte as one block).
pub(crate) const fn blocks(octets: u64, config: &Config) -> u64 {
    let size = config.options.block_size;
    octets.div_ceil(if size == 0 { 1 } else { size })
}

/// The records of a message that is about to be queued.
pub(crate) fn queued(envelope: &Envelope, octets: u64, config: &Config) -> Vec<String> {
    let logs = |name: &str| config.channels.by_name(name).is_some_and(|channel| channel.settings.logging);
    let recipients = envelope.recipients.iter().filter(|recipient| logs(&recipient.channel));
    let source = &envelope.source_channel;
    recipients
        .map(|recipient| {
            let sender = shown(&envelope.sender);
            let (original, active) = (shown(&recipient.original), shown(&recipient.address));
            let blocks = blocks(octets, config);
            format!("{source} {} E {blocks} {sender} rfc822;{original} {active}", recipient.channel)
        })
        .collect()
}

/// The records of what became of recipients in one attempt.
pub(crate) fn settled<'a>(
    channel: &'a str,
    blocks: u64,
    facts: &'a Facts,
    outcomes: &'a [(u32, Outcome)],
) -> impl Iterator<Item = String> + 'a {
    let partly = outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Delivered { .. }));
    outcomes.iter().filter_map(move |(index, outcome)| {
        let at = facts.recipients.binary_search_by_key(index, |known| known.index).ok()?;
        let Fact { original, active, notify, .. } = &facts.recipients[at];
        let code = match outcome {
            Outcome::Delivered { .. } => 'D',
            Outcome::Deferred { .. } if partly => 'Z',
            Outcome::Deferred { .. } => 'Q',
            Outcome::Failed { .. } => refused(&facts.sender, *notify, Action::Failed),
        };
        Some(line(code, channel, blocks, &facts.sender, (original, active), Some(outcome)))
    })
}

/// `R` for a failure and `W` for a delay, or `K` where the sender does not want to be told.
fn refused(sender: &str, notify: Notify, action: Action) -> char {
    match action {
        _ if !sender.is_empty() && !notify.wants(action) => 'K',
        Action::Delayed => 'W',
        _ => 'R',
    }
}

/// The record of a warning about a recipient, or of its end without another attempt.
pub(crate) fn told(
    channel: &str,
    blocks: u64,
    sender: &str,
    recipient: &Recipient,
    action: Action,
    outcome: Option<&Outcome>,
) -> String {
    let code = refused(sender, recipient.wishes.notify, action);
    line(code, channel, blocks, sender, (&recipient.original, &recipient.address), outcome)
}

fn line(
    code: char,
    channel: &str,
    blocks: u64,
    sender: &str,
    (original, active): (&str, &str),
    outcome: Option<&Outcome>,
) -> String {
    let (original, active, sender) = (shown(original), shown(active), shown(sender));
    let mut line = format!("{channel} {code} {blocks} {sender} rfc822;{original} {active}");
    let Some(outcome) = outcome else { return line };
    if !outcome.peer().is_empty() {
        line.push_str(" dns;");
        line.push_str(&shown(outcome.peer()));
    }
    line.push_str(" smtp;");
    line.extend(outcome.text().escape_debug());
    line
}

/// The record of what somebody does to an entry: `by` does `act`, and says why, or nothing.
pub(crate) fn acted(
    channel: &str,
    blocks: u64,
    domain: &str,
    by: impl fmt::Display,
    act: &str,
    why: &str,
) -> String {
    let (domain, by) = (shown(domain), shown(&by.to_string()));
    let why = if why.is_empty() { String::new() } else { format!(": {}", why.escape_debug()) };
    format!("{channel} H {blocks} - - @{domain} dns;{by} smtp;{act}{why}")
}

/// Writes a record about a message.
pub(crate) fn write(id: EntryId, line: &str) {
    tracing::info!(target: "sluice::record", %id, "{line}");
}

/// An address fit for a line of fields; the null one is `<>`. A space would look like the end of a field.
fn shown(address: &str) -> String {
    if address.is_empty() {
        return "<>".to_owned();
    }
    let mut text = String::with_capacity(address.len());
    for one in address.chars() {
        if one == ' ' { text.push_str("\\u{20}") } else { text.extend(one.escape_debug()) }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_mail::{Handover, RecipientWishes, Status};

    fn facts(sender: &str) -> Facts {
        let fact = |index, name: &str, notify| Fact {
            index,
            original: format!("{name}@b"),
            active: format!("{name}@c"),
            notify,
        };
        let recipients = vec![fact(0, "a", Notify::default()), fact(4, "never", Notify::NEVER)];
        Facts { sender: sender.to_owned(), recipients }
    }

    fn records(sender: &str, outcomes: &[(u32, Outcome)]) -> Vec<String> {
        settled("tcp_x", 2, &facts(sender), outcomes).collect()
    }

    #[test]
    fn codes_of_an_attempt() {
        let (text, peer) = (String::from("said so"), String::from("mx.c"));
        let delivered = Outcome::Delivered {
            status: Status::new(2, 0, 0),
            text: text.clone(),
            peer: peer.clone(),
            handover: Handover::Relayed,
        };
        let deferred =
            Outcome::Deferred { status: Status::new(4, 0, 0), text: text.clone(), peer: String::new() };
        let failed = Outcome::Failed { status: Status::new(5, 0, 0), text, peer };
        assert_eq!(
            records("s@b", &[(0, deferred.clone()), (4, failed.clone())]),
            [
                "tcp_x Q 2 s@b rfc822;a@b a@c smtp;said so",
                "tcp_x K 2 s@b rfc822;never@b never@c dns;mx.c smtp;said so"
            ]
        );
        // Put off while others got it; and what comes back to nobody is no matter of wishes.
        assert_eq!(
            records("s@b", &[(0, deferred), (4, delivered)]),
            [
                "tcp_x Z 2 s@b rfc822;a@b a@c smtp;said so",
                "tcp_x D 2 s@b rfc822;never@b never@c dns;mx.c smtp;said so"
            ]
        );
        assert_eq!(
            records("", &[(4, failed)]),
            ["tcp_x R 2 <> rfc822;never@b never@c dns;mx.c smtp;said so"]
        );
        assert_eq!(
            records(
                "s@b",
                &[(
                    7,
                    Outcome::Deferred {
                        status: Status::new(4, 0, 0),
                        text: String::new(),
                        peer: String::new(),
                    }
                )]
            ),
            [""; 0]
        );
    }

    #[test]
    fn fields_hold_no_spaces_and_acts_say_by_whom() {
        assert_eq!(shown("\"a b\"@c"), "\\\"a\\u{20}b\\\"@c");
        assert_eq!(
            acted("tcp_x", 2, "c", "operator:root b", "hold", "look\ninto it"),
            "tcp_x H 2 - - @c dns;operator:root\\u{20}b smtp;hold: look\\ninto it"
        );
        assert_eq!(acted("tcp_x", 2, "c", "hub", "hold", ""), "tcp_x H 2 - - @c dns;hub smtp;hold");
    }

    #[test]
    fn codes_of_what_no_attempt_has_brought() {
        let with = |notify| Recipient {
            address: "a@c".to_owned(),
            original: "a@b".to_owned(),
            wishes: RecipientWishes { notify, original: String::new() },
            ..Recipient::default()
        };
        let late = |notify| told("tcp_x", 2, "s@b", &with(notify), Action::Delayed, None);
        assert_eq!(late(Notify::default()), "tcp_x W 2 s@b rfc822;a@b a@c");
        assert_eq!(late(Notify::FAILURE), "tcp_x K 2 s@b rfc822;a@b a@c");
    }
}
