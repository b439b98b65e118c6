//! Address reversal: the reverse database and the mapping table REVERSE turn an internal address into the one that the
//! world is to see (PMDF System Manager's Guide, chapter 3, "Address reversal database and REVERSE mapping"; Messaging
//! Server Administration Guide, "To convert addresses from an internal form to a public form").
//!
//! The database is asked first, and the table where the database has nothing. Which addresses are asked for, and whether
//! channels are part of the question, are the bits of `USE_REVERSE_DATABASE`; the null address and envelope recipients
//! are never reversed.
//!
//! # Not here
//! Taking addresses out of a header and putting them back.

use std::borrow::Cow;

use sluice_mail::Address;

use crate::mapping::Flags;
use crate::rewriter::{Context, Rewriter};

const REVERSE: &str = "REVERSE";
const DATABASE: &str = "reverse";

/// Bits of `USE_REVERSE_DATABASE`.
mod bits {
    /// Addresses are reversed after rewriting.
    pub(super) const AFTER: u32 = 1;
    /// Addresses are reversed before rewriting.
    pub(super) const BEFORE: u32 = 2;
    /// Forward-pointing header addresses too.
    pub(super) const ALL: u32 = 4;
    /// REVERSE is asked `source|destination|address`.
    pub(super) const TABLE_BY_CHANNEL: u32 = 8;
    /// The database is asked `source|destination|address`.
    pub(super) const DATABASE_BY_CHANNEL: u32 = 16;
    /// REVERSE is asked about what the database gave, too.
    pub(super) const TABLE_ALWAYS: u32 = 32;
    /// With [`DATABASE_BY_CHANNEL`]: `destination|address`.
    pub(super) const DATABASE_WITHOUT_SOURCE: u32 = 128;
    /// With [`TABLE_BY_CHANNEL`]: `destination|address`.
    pub(super) const TABLE_WITHOUT_SOURCE: u32 = 256;
}

/// When an address is reversed; `USE_REVERSE_DATABASE` says at which of the two moments, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It has not been rewritten yet (bit 1 of the option).
    BeforeRewriting,
    /// It has been rewritten (bit 0, set by default).
    AfterRewriting,
}

/// What became of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reversal {
    /// It stays as it is.
    Unchanged,
    /// It is to be replaced.
    Changed(Address),
    /// Database or table gave this, which is no address: the address stays as it is, and the operator should be told.
    NotAnAddress(String),
}

impl Rewriter {
    /// Reverses one address, of the envelope or of the header as `context.kind` says. Envelope recipients and the null
    /// address come back unchanged, and so does mail to a channel with `noreverse`. Where the destination is not known,
    /// its field is empty.
    ///
    /// The address is asked for as it is written, its route included.
    pub fn reverse(&self, address: &Address, context: &Context<'_>, moment: Moment) -> Reversal {
        if !self.reverses(address, context, moment) {
            return Reversal::Unchanged;
        }
        let option = self.config().options.use_reverse_database;
        let before = address.to_string();
        let found = self.reverse_database(&before, option, context);
        let text = match &found {
            Some(value) if option & bits::TABLE_ALWAYS == 0 => Some(value.clone()),
            Some(value) => self.reverse_table(value, option, context).or(found),
            None => self.reverse_table(&before, option, context),
        };
        let Some(text) = text else { return Reversal::Unchanged };
        match Address::parse(text.trim()) {
            Ok(address) if address.is_null() => Reversal::NotAnAddress(text),
            Ok(reversed) if reversed == *address => Reversal::Unchanged,
            Ok(reversed) => Reversal::Changed(reversed),
            Err(_) => Reversal::NotAnAddress(text),
        }
    }

    fn reverses(&self, address: &Address, context: &Context<'_>, moment: Moment) -> bool {
        let options = &self.config().options;
        let wanted = match moment {
            Moment::BeforeRewriting => bits::BEFORE,
            Moment::AfterRewriting => bits::AFTER,
        };
        let kind = context.kind;
        let exempt = || {
            let channel = context.destination_channel.and_then(|name| self.config().channels.by_name(name));
            channel.is_some_and(|channel| channel.has("noreverse"))
        };
        options.use_reverse_database & wanted != 0
            && !address.is_null()
            && match (kind.is_envelope(), kind.is_forward()) {
                (true, true) => false,
                (true, false) => options.reverse_envelope,
                (false, true) => options.use_reverse_database & bits::ALL != 0,
                (false, false) => true,
            }
            && (self.mappings().has(REVERSE) || self.config().databases.get(DATABASE).is_some())
            && !exempt()
    }

    fn reverse_database(&self, address: &str, option: u32, context: &Context<'_>) -> Option<String> {
        let by_channel = option & bits::DATABASE_BY_CHANNEL != 0;
        let key = question(address, by_channel, option & bits::DATABASE_WITHOUT_SOURCE == 0, context);
        self.lookups().database(DATABASE, &key)
    }

    fn reverse_table(&self, address: &str, option: u32, context: &Context<'_>) -> Option<String> {
        let by_channel = option & bits::TABLE_BY_CHANNEL != 0;
        let probe = question(address, by_channel, option & bits::TABLE_WITHOUT_SOURCE == 0, context);
        let flags = Flags::NONE
            .with(if context.kind.is_envelope() { 'E' } else { 'B' })
            .with(if context.kind.is_forward() { 'F' } else { 'R' });
        let answer = self.map(REVERSE, &probe, flags)?;
        let output = answer.output.filter(|_| answer.flags.has('Y'))?;
        let again =
            if answer.flags.has('D') { self.reverse_database(output.trim(), option, context) } else { None };
        Some(again.unwrap_or(output))
    }
}

fn question<'a>(
    address: &'a str,
    by_channel: bool,
    with_source: bool,
    context: &Context<'_>,
) -> Cow<'a, str> {
    let destination = context.destination_channel.unwrap_or_default();
    match (by_channel, with_source) {
        (false, _) => Cow::Borrowed(address),
        (true, true) => Cow::Owned(format!("{}|{destination}|{address}", context.source_channel)),
        (true, false) => Cow::Owned(format!("{destination}|{address}")),
    }
}
