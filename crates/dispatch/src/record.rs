//! Records of what happens to messages, one line for each recipient, on channels that have `logging`.
//!
//! The fields are those of PMDF's mail log, in its order (System Manager's Guide, "Managing mail logging"): source and
//! destination channel, code, size in blocks, envelope From, original recipient, active recipient, and for what left a
//! channel what the other side said. Codes: `E` queued, `D` delivered, `Q` put off, `R` refused.
//!
//! # Not here
//! What is logged of sessions (`smtpd`), and of what a person has to know (everywhere).

use std::sync::{Arc, OnceLock};

use sluice_config::Config;
use sluice_mail::{Envelope, Outcome};

/// What records of a delivery tell beside its outcome. The desk knows when it has read the envelope.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) sender: String,
    /// Index in the envelope, original and active address, in order.
    pub(crate) recipients: Vec<(u32, String, String)>,
}

/// To be filled in by the desk.
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
    let (source, sender) = (&envelope.source_channel, shown(&envelope.sender));
    recipients
        .map(|recipient| {
            let (original, active) = (shown(&recipient.original), shown(&recipient.address));
            let blocks = blocks(octets, config);
            format!("{source} {} E {blocks} {sender} rfc822;{original} {active}", recipient.channel)
        })
        .collect()
}

/// The record of what became of a recipient.
pub(crate) fn settled(
    channel: &str,
    blocks: u64,
    facts: &Facts,
    (index, outcome): &(u32, Outcome),
) -> Option<String> {
    let at = facts.recipients.binary_search_by_key(index, |(known, ..)| *known).ok()?;
    let (_, original, active) = &facts.recipients[at];
    let code = match outcome {
        Outcome::Delivered { .. } => 'D',
        Outcome::Deferred { .. } => 'Q',
        Outcome::Failed { .. } => 'R',
    };
    let (original, active, sender) = (shown(original), shown(active), shown(&facts.sender));
    let mut line = format!("{channel} {code} {blocks} {sender} rfc822;{original} {active}");
    if !outcome.peer().is_empty() {
        line.push_str(" dns;");
        line.push_str(outcome.peer());
    }
    line.push_str(" smtp;");
    line.extend(outcome.text().escape_debug());
    Some(line)
}

/// Writes a record.
pub(crate) fn write(line: &str) {
    tracing::info!(target: "sluice::record", "{line}");
}

/// An address fit for a line of fields; the null one is `<>`.
fn shown(address: &str) -> String {
    if address.is_empty() { "<>".to_owned() } else { address.escape_debug().collect() }
}
