//! Mail that goes over the channel `defragment`: pieces of messages that are for a channel with that keyword, and messages that are too
//! large for one with `maxblocks` or `maxlines`.
//!
//! What comes from such a channel is not led there again. In its queue a piece keeps its domain; a message that is to be cut stands
//! under the name of the channel that it is cut for, which is how the plugin knows the limits.
//!
//! # Not here
//! Putting together and cutting (the plugin `defragment`).

use std::fmt::Write as _;

use sluice_config::{Channel, Config, DEFRAGMENT};
use sluice_mail::Envelope;
use sluice_mail::mime::Partial;

/// Octets of a message in which its header must end, to be looked at. A longer one is no piece of a message that any program makes.
const HEAD_MAX: usize = 64 * 1024;

/// The beginning of a message, as far as it is needed to see whether it is a piece.
#[derive(Debug, Default)]
pub(crate) struct Head(Vec<u8>);

impl Head {
    /// Whether any channel asks.
    pub(crate) fn wanted(config: &Config) -> bool {
        config.channels.by_name(DEFRAGMENT).is_some()
            && config.channels.iter().any(|channel| channel.settings.defragment || is_limited(channel))
    }

    /// Takes what follows.
    pub(crate) fn take(&mut self, octets: &[u8]) {
        let room = HEAD_MAX - self.0.len();
        self.0.extend_from_slice(&octets[..octets.len().min(room)]);
    }

    fn is_piece(&self) -> bool {
        Partial::of(sluice_mail::mime::split(&self.0).0).is_some()
    }
}

fn is_limited(channel: &Channel) -> bool {
    channel.settings.piece_octets.is_some() || channel.settings.piece_lines.is_some()
}

/// Leads recipients over the channel `defragment` where they need it.
pub(crate) fn lead(
    envelope: &mut Envelope,
    head: &Head,
    size: u64,
    lines: impl Fn() -> u64,
    config: &Config,
) {
    let source = config.channels.by_name(&envelope.source_channel);
    if source.is_some_and(Channel::defragments) || config.channels.by_name(DEFRAGMENT).is_none() {
        return;
    }
    let is_piece = head.is_piece();
    for recipient in &mut envelope.recipients {
        let Some(channel) = config.channels.by_name(&recipient.channel) else { continue };
        let settings = &channel.settings;
        if is_piece && settings.defragment {
            DEFRAGMENT.clone_into(&mut recipient.channel);
        } else if !is_piece
            && (settings.piece_octets.is_some_and(|most| size > most)
                || settings.piece_lines.is_some_and(|most| lines() > most))
        {
            recipient.domain.clone_from(&channel.name);
            DEFRAGMENT.clone_into(&mut recipient.channel);
        }
    }
}

/// The limits of all channels that mail is cut for: name, octets and lines, with 0 for none.
pub(crate) fn cut_limits(config: &Config) -> String {
    let mut text = String::new();
    for channel in config.channels.iter().filter(|channel| is_limited(channel)) {
        let (octets, lines) = (channel.settings.piece_octets, channel.settings.piece_lines);
        let _ = write!(text, "{} {} {} ", channel.name, octets.unwrap_or(0), lines.unwrap_or(0));
    }
    text
}
