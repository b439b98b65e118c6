//! Content as the peer takes it: encoded where it holds 8-bit text or long lines that the peer does not (channel keywords
//! `sevenbit`, `eightnegotiate`, `eightbit`, `linelength`).
//!
//! # Not here
//! The encodings (`sluice_mail::seven_bit`).

use sluice_mail::seven_bit::{self, Needs};
use sluice_mail::wire::{self, Unstuffer};
use sluice_sdk::{Outcome, Status};

use crate::message::Message;
use crate::settings::Settings;

/// Largest message that is encoded: it is held in memory for that.
const SIZE_MAX: u64 = 64 << 20;

/// What became of a message for one kind of peer.
pub(crate) type Fitted = (Needs, Result<Vec<u8>, Outcome>);

/// What a peer needs, as far as it concerns this message. `None`: it takes the message as it is.
pub(crate) fn needs(settings: &Settings, peer_takes_eight_bit: bool, message: &Message<'_>) -> Option<Needs> {
    let takes = !settings.seven_bit && (peer_takes_eight_bit || settings.eight_bit);
    let needs = Needs { seven_bit: message.eight_bit && !takes, line_max: settings.line_length };
    (needs != Needs::default()).then_some(needs)
}

/// The message in wire form as the peer takes it, or what its recipients are told.
pub(crate) fn fit(message: &Message<'_>, needs: Needs) -> Result<Vec<u8>, Outcome> {
    // RFC 6152 section 3: it is encoded, or it is returned. RFC 3463 X.6.3: conversion required but not possible.
    let refused = |why: &str| {
        let text =
            format!("the message has to be encoded for a 7-bit peer or its lines, and cannot be: {why}");
        Outcome::failed(Status::new(5, 6, 3), text)
    };
    if message.size > SIZE_MAX {
        return Err(refused("it is too large"));
    }
    let mut unstuffer = Unstuffer::new();
    let plain: Vec<u8> =
        message.pieces.iter().flat_map(|piece| unstuffer.piece(piece)).flatten().copied().collect();
    match seven_bit::encoded(&plain, needs) {
        Ok(fitted) => Ok(wire::stuff(&fitted)),
        Err(why) => Err(refused(&why.to_string())),
    }
}
