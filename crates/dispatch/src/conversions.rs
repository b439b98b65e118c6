//! Mail that goes over a channel `conversion`: what the mapping table `CONVERSIONS` says yes to.
//!
//! The table is asked for each channel that a message is for, with the one that it comes from (PMDF System Manager's Guide, "Selecting Traffic for
//! Conversion Processing"). In the queue of the channel that converts, mail stands under both names, `from:to`, which is how the
//! plugin knows them; what it brings in again as the original goes where it was to go, and is not led there again.
//!
//! # Failure
//! A question that the table cannot answer for now, since a database is not there, is the caller's: mail is not to go past a program that looks for
//! harm in it.
//! # Not here
//! Converting (the plugin `conversion`), the file `conversions` (`config`).

use sluice_config::{CONVERSION, CONVERSIONS, Channel, Config, ConversionAnswer, waits_for_filter};
use sluice_mail::Envelope;
use sluice_rewrite::mapping::Flags;

use crate::event::Loaded;

/// The table cannot be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unanswered;

/// Leads recipients over a channel `conversion` where the table says so. `by` is the channel that brings the message in, where one does.
pub(crate) fn lead(
    envelope: &mut Envelope,
    by: Option<&str>,
    is_piece: bool,
    loaded: &Loaded,
) -> Result<(), Unanswered> {
    let config = &loaded.config;
    if !loaded.rewriter.mappings().has(CONVERSIONS) || config.channels.by_name(CONVERSION).is_none() {
        return Ok(());
    }
    let of = |name: &str| config.channels.by_name(name);
    // What a channel that converts puts on hold waits there, and is converted once more when it is released.
    let by = by.filter(|_| !envelope.held);
    // Pieces that were cut for a thin line are of a message that has been here.
    let was_cut = is_piece && of(&envelope.source_channel).is_some_and(Channel::defragments);
    if was_cut || by.and_then(of).is_some_and(Channel::converts) {
        return Ok(());
    }
    let unanswered = loaded.rewriter.lookups().unanswered();
    let mut known: Vec<(String, Option<String>)> = Vec::new();
    for recipient in &mut envelope.recipients {
        // Mail that rules have sent there has no further destination yet.
        // Nor is mail converted that its filters have not seen: that is done when they have.
        if waits_for_filter(&recipient.channel, &recipient.domain)
            || of(&recipient.channel).is_none_or(|channel| channel.converts() || channel.defragments())
        {
            continue;
        }
        let answer = match known.iter().find(|(channel, _)| *channel == recipient.channel) {
            Some((_, answer)) => answer.clone(),
            None => {
                let answer = ask(&envelope.source_channel, &recipient.channel, loaded);
                known.push((recipient.channel.clone(), answer.clone()));
                answer
            }
        };
        let Some(over) = answer.filter(|over| by != Some(over.as_str()) && *over != recipient.channel) else {
            continue;
        };
        if of(&over).is_some_and(Channel::converts) {
            recipient.domain = format!("{}:{}", envelope.source_channel, recipient.channel);
        }
        recipient.channel = over;
    }
    match loaded.rewriter.lookups().unanswered() == unanswered {
        true => Ok(()),
        false => Err(Unanswered),
    }
}

/// The channel that mail from one to the other goes over; `None` for none.
fn ask(from: &str, to: &str, loaded: &Loaded) -> Option<String> {
    let probe = format!("IN-CHAN={from};OUT-CHAN={to};CONVERT");
    let answer = loaded.rewriter.map(CONVERSIONS, &probe, Flags::NONE)?;
    for warning in &answer.warnings {
        tracing::warn!(table = CONVERSIONS, probe, "{warning}");
    }
    let output = answer.output?;
    tracing::debug!(table = CONVERSIONS, probe, output, "asked a mapping table");
    let read = ConversionAnswer::read(&output);
    for word in &read.unknown {
        tracing::warn!(table = CONVERSIONS, probe, word, "not understood, passed over");
    }
    let name = read.channel?;
    match loaded.config.channels.by_name(&name) {
        Some(channel) => Some(channel.name.clone()),
        None => {
            tracing::error!(
                table = CONVERSIONS,
                probe,
                channel = name,
                "there is no such channel; `conversion` is taken"
            );
            Some(CONVERSION.to_owned())
        }
    }
}

/// The entries of the file `conversions`, for the plugin of a channel that converts.
pub(crate) fn entries(config: &Config) -> String {
    config.conversions.to_text()
}
