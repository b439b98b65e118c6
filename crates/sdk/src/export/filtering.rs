//! Calls of a filter: the message as the host lends it, the changes, the verdict.
//!
//! # Not here
//! What an author sees of it (`filter`).

use super::{Kept, borrowed, taken};
use crate::fence::fenced;
use crate::filter::{Filter, FilterOnly, Filtered, FilteredRecipient, NotChanged, Verdict};
use crate::{Channel, Log, Status};
use sluice_abi as abi;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::time::Duration;

/// A channel with a filter in it.
pub trait HasFilter: Channel {
    /// The filter's type.
    type Filter: Filter;

    /// The filter.
    fn as_filter(&self) -> &Self::Filter;
}

impl<F: Filter> HasFilter for FilterOnly<F> {
    type Filter = F;

    fn as_filter(&self) -> &F {
        &self.0
    }
}

/// The function of the table.
pub(super) unsafe extern "C" fn filter<C: HasFilter>(
    channel: *mut c_void,
    message: *const abi::FilterMessage,
    filtering: *const abi::Filtering,
) -> u32 {
    // SAFETY: the host gives back the pointer that `create` stored, and not after `destroy`.
    let Some(kept) = (unsafe { channel.cast::<Kept<C>>().as_ref() }) else { return abi::FILTER_FAILED };
    // SAFETY: the host lends both, and all they lead to, for the length of this call.
    let Some(raw) = (unsafe { RawFiltered::new(message, filtering) }) else {
        kept.log.write(crate::Level::Error, None, "the host's message cannot be read; it is not filtered");
        return abi::FILTER_FAILED;
    };
    let calls = raw.calls;
    let verdict = fenced(|| kept.channel.as_filter().filter(&mut Filtered::new(raw, Log { raw: kept.log })));
    match verdict {
        Ok(Verdict::Accept) => abi::FILTER_ACCEPT,
        Ok(Verdict::Refuse { code, status, text }) => {
            calls.reply(code, status, &text);
            abi::FILTER_REFUSE
        }
        Ok(Verdict::Hold { reason }) => {
            calls.reply(0, Status::new(5, 0, 0), &reason);
            abi::FILTER_HOLD
        }
        Ok(Verdict::Discard) => abi::FILTER_DISCARD,
        Ok(Verdict::Failed { reason }) => {
            calls.reply(0, Status::new(4, 0, 0), &reason);
            abi::FILTER_FAILED
        }
        Err(text) => {
            calls.reply(0, Status::new(4, 0, 0), &text);
            abi::FILTER_PANIC
        }
    }
}

/// The host's functions for one call.
#[derive(Clone, Copy, Debug)]
struct Calls {
    call: *const abi::FilterCall,
    reply: unsafe extern "C" fn(*const abi::FilterCall, *const abi::FilterReply) -> u32,
    edit: unsafe extern "C" fn(*const abi::FilterCall, *const abi::HeaderEdit) -> u32,
    add_recipient: unsafe extern "C" fn(*const abi::FilterCall, abi::Text) -> u32,
    withdraw: unsafe extern "C" fn(*const abi::FilterCall, u32) -> u32,
    time_left: unsafe extern "C" fn(*const abi::FilterCall) -> u64,
}

impl Calls {
    fn reply(&self, code: u16, status: Status, text: &str) {
        let reply = abi::FilterReply {
            size: size_of::<abi::FilterReply>() as u32,
            code: u32::from(code),
            class: u16::from(status.class),
            subject: status.subject,
            detail: status.detail,
            reserved: 0,
            text: abi::Text::of(text),
        };
        // SAFETY: the text lives for the length of the call, and the filter's own call has not returned.
        unsafe { (self.reply)(self.call, &raw const reply) };
    }
}

/// A message to be filtered, across the edge; `'m` is the length of one call.
#[derive(Debug)]
pub struct RawFiltered<'m> {
    /// As far as the host has it; fields that an older host does not know are zero.
    message: abi::FilterMessage,
    calls: Calls,
    lent: PhantomData<&'m ()>,
}

// SAFETY: what it leads to does not change while it is lent, and may be read from any thread; so may the functions be called.
unsafe impl Send for RawFiltered<'_> {}
// SAFETY: as above.
unsafe impl Sync for RawFiltered<'_> {}

impl RawFiltered<'_> {
    /// Looks at every text once. `None` when it cannot be read.
    ///
    /// # Safety
    /// Both pointers are null, or lead to what the host lends for `'m`; the sizes come first in every version.
    unsafe fn new(message: *const abi::FilterMessage, filtering: *const abi::Filtering) -> Option<Self> {
        // SAFETY: the caller's promise.
        let (size, room) = unsafe { (message.cast::<u32>().as_ref()?, filtering.cast::<u32>().as_ref()?) };
        let (size, room) = (*size as usize, *room as usize);
        if size < abi::FilterMessage::SIZE_FIRST || room < abi::Filtering::SIZE_FIRST {
            return None;
        }
        // SAFETY: the caller's promise; so much is there.
        let (message, given) = unsafe { (taken(message, size), taken(filtering, room)) };
        let calls = Calls {
            call: given.call,
            reply: given.reply?,
            edit: given.edit?,
            add_recipient: given.add_recipient?,
            withdraw: given.withdraw?,
            time_left: given.time_left?,
        };
        let raw = RawFiltered { message, calls, lent: PhantomData };
        if (message.recipient_size as usize) < abi::FilterRecipient::SIZE_FIRST {
            return None;
        }
        // SAFETY: the host's texts live for `'m`.
        let readable = |text: &abi::Text| unsafe { borrowed(text) }.is_some();
        let texts = [
            &message.id,
            &message.source_channel,
            &message.destination_channel,
            &message.opt_in,
            &message.sender,
            &message.client_address,
            &message.client_name,
            &message.helo,
            &message.login,
        ];
        let fits = texts.into_iter().all(readable)
            && (0..message.recipient_count).all(|position| {
                let one = raw.at(position);
                [&one.address, &one.original, &one.channel, &one.origin].into_iter().all(readable)
            });
        fits.then_some(raw)
    }

    pub(crate) fn get(&self) -> &abi::FilterMessage {
        &self.message
    }

    pub(crate) fn has(&self, flag: u32) -> bool {
        self.message.flags & flag != 0
    }

    pub(crate) fn text(&self, which: impl Fn(&abi::FilterMessage) -> &abi::Text) -> &str {
        self.read(which(&self.message))
    }

    fn read(&self, text: &abi::Text) -> &str {
        // SAFETY: texts live for `'m`.
        unsafe { borrowed(text) }.expect("`new` has looked at every text")
    }

    fn at(&self, position: usize) -> abi::FilterRecipient {
        assert!(position < self.message.recipient_count, "a recipient that is not in the message");
        let stride = self.message.recipient_size as usize;
        // SAFETY: below the count; the host states the stride; recipients live for `'m`.
        unsafe { taken(self.message.recipients.byte_add(position * stride), stride) }
    }

    pub(crate) fn recipient(&self, position: usize) -> FilteredRecipient<'_> {
        let one = self.at(position);
        FilteredRecipient {
            index: one.index,
            address: self.read(&one.address),
            original: self.read(&one.original),
            channel: self.read(&one.channel),
            notify: u8::try_from(one.notify).unwrap_or(0),
            origin: self.read(&one.origin),
        }
    }

    pub(crate) fn piece(&self, position: usize) -> Option<&[u8]> {
        if position >= self.message.piece_count {
            return None;
        }
        // SAFETY: below the count; pieces and their bytes live for `'m`, and are never null.
        Some(unsafe {
            let piece = &*self.message.pieces.add(position);
            std::slice::from_raw_parts(piece.data, piece.len)
        })
    }

    pub(crate) fn remaining(&self) -> Duration {
        // SAFETY: `'m` has not ended.
        Duration::from_millis(unsafe { (self.calls.time_left)(self.calls.call) })
    }

    pub(crate) fn edit(
        &self,
        kind: u32,
        occurrence: u32,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), NotChanged> {
        let edit = abi::HeaderEdit {
            size: size_of::<abi::HeaderEdit>() as u32,
            kind,
            occurrence,
            reserved: 0,
            name: abi::Text::of(name),
            value: value.map_or(abi::Text::NONE, abi::Text::of),
        };
        // SAFETY: the texts live for the length of the call; `'m` has not ended.
        answer(unsafe { (self.calls.edit)(self.calls.call, &raw const edit) })
    }

    pub(crate) fn add_recipient(&self, address: &str) -> Result<(), NotChanged> {
        // SAFETY: as above.
        answer(unsafe { (self.calls.add_recipient)(self.calls.call, abi::Text::of(address)) })
    }

    pub(crate) fn withdraw(&self, index: u32) -> Result<(), NotChanged> {
        // SAFETY: `'m` has not ended.
        answer(unsafe { (self.calls.withdraw)(self.calls.call, index) })
    }
}

fn answer(code: u32) -> Result<(), NotChanged> {
    match code {
        abi::CHANGE_OK => Ok(()),
        abi::CHANGE_GONE => Err(NotChanged::Gone),
        abi::CHANGE_NO_RECIPIENT => Err(NotChanged::NoRecipient),
        abi::CHANGE_TOO_MANY => Err(NotChanged::TooMany),
        _ => Err(NotChanged::Bad), // Also an answer from a newer host that we do not know.
    }
}
