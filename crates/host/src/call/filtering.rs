//! The call of a filter: what it is lent, and the functions by which it changes the message.
//!
//! # Not here
//! What is made of the changes (`filter`).

use super::{Created, address, copied, guarded, lent_text, taken};
use crate::filter::{CallState, Shown};
use crate::log::OUTCOME_MAX;
use sluice_abi as abi;
use sluice_mail::Status;
use sluice_mail::header_edit::Change;
use std::sync::Arc;
use std::time::Duration;

/// Calls a filter on this thread: the number that it returns. Everything that it is lent lives until it does.
pub(crate) fn filter(created: &Created, shown: &Shown, call: &Arc<CallState>, time: Duration) -> Option<u32> {
    let function = created.plugin.functions.filter?;
    let recipients: Vec<abi::FilterRecipient> = (0..)
        .zip(&shown.recipients)
        .map(|(index, recipient)| abi::FilterRecipient {
            index,
            notify: u32::from(recipient.wishes.notify.bits()),
            address: abi::Text::of(&recipient.address),
            original: abi::Text::of(&recipient.original),
            channel: abi::Text::of(&recipient.channel),
            origin: lent_text(&recipient.wishes.original),
        })
        .collect();
    let mut pieces = Vec::new();
    let mut body_size = 0;
    shown.content.pieces(&mut |piece| {
        if !piece.is_empty() {
            body_size += piece.len() as u64;
            pieces.push(abi::Piece { data: piece.as_ptr(), len: piece.len() });
        }
    });
    let flag = |on: bool, bit: u32| if on { bit } else { 0 };
    let about = &shown.about;
    let client = about.client_address.map(|address| address.to_string()).unwrap_or_default();
    let message = abi::FilterMessage {
        size: size_of::<abi::FilterMessage>() as u32,
        flags: flag(about.eight_bit, abi::MESSAGE_EIGHT_BIT)
            | flag(about.smtputf8, abi::MESSAGE_SMTPUTF8)
            | flag(about.tls, abi::MESSAGE_TLS)
            | flag(about.is_known, abi::MESSAGE_KNOWN)
            | flag(about.from_channel, abi::MESSAGE_FROM_CHANNEL)
            | flag(about.again, abi::MESSAGE_AGAIN),
        number: shown.number,
        time_ms: u32::try_from(time.as_millis()).unwrap_or(u32::MAX),
        id: abi::Text::of(&about.id),
        source_channel: abi::Text::of(&about.source_channel),
        destination_channel: lent_text(shown.destination_channel.as_deref().unwrap_or_default()),
        opt_in: lent_text(&shown.opt_in),
        sender: abi::Text::of(&shown.sender),
        client_address: lent_text(&client),
        client_name: lent_text(&about.client_name),
        helo: abi::Text::of(&about.helo),
        login: lent_text(&about.login),
        arrived_ms: about.arrived.0,
        body_size,
        recipients: recipients.as_ptr(),
        recipient_count: recipients.len(),
        recipient_size: size_of::<abi::FilterRecipient>() as u32,
        reserved: 0,
        pieces: pieces.as_ptr(),
        piece_count: pieces.len(),
    };
    let filtering = abi::Filtering {
        size: size_of::<abi::Filtering>() as u32,
        reserved: 0,
        call: Arc::as_ptr(call).cast(),
        reply: Some(reply),
        edit: Some(edit),
        add_recipient: Some(add_recipient),
        withdraw: Some(withdraw),
        time_left: Some(time_left),
    };
    // SAFETY: the function belongs to a library that is never unloaded; the pointer is the one that `create` stored, and
    // `destroy` is not called while there is a `Created`; all that is lent lives in `shown`, `call` and above.
    Some(unsafe { function(created.channel, &raw const message, &raw const filtering) })
}

/// # Safety
/// The pointer is null, or the one of a call that has not returned.
unsafe fn state<'c>(pointer: *const abi::FilterCall) -> Option<&'c CallState> {
    // SAFETY: the caller's promise; the thread that made the call keeps the state alive.
    unsafe { pointer.cast::<CallState>().as_ref() }
}

unsafe extern "C" fn reply(call: *const abi::FilterCall, reply: *const abi::FilterReply) -> u32 {
    guarded(abi::CHANGE_BAD, || {
        // SAFETY: the plugin's promise in the contract; the size comes first in every version.
        let (Some(state), Some(size)) = (unsafe { (state(call), reply.cast::<u32>().as_ref()) }) else {
            return abi::CHANGE_BAD;
        };
        let size = *size as usize;
        if size < abi::FilterReply::SIZE_FIRST {
            return state.bad("a reply that is smaller than it must be");
        }
        // SAFETY: so much is there, and the text lives for the length of the call.
        let (reply, text) = unsafe {
            let reply = taken(reply, size);
            (reply, copied(reply.text, OUTCOME_MAX))
        };
        let Ok(class) = u8::try_from(reply.class) else {
            return state.bad("a reply with an impossible status code");
        };
        state.reply(reply.code, Status { class, subject: reply.subject, detail: reply.detail }, text)
    })
}

unsafe extern "C" fn edit(call: *const abi::FilterCall, edit: *const abi::HeaderEdit) -> u32 {
    guarded(abi::CHANGE_BAD, || {
        // SAFETY: as above.
        let (Some(state), Some(size)) = (unsafe { (state(call), edit.cast::<u32>().as_ref()) }) else {
            return abi::CHANGE_BAD;
        };
        let size = *size as usize;
        if size < abi::HeaderEdit::SIZE_FIRST {
            return state.bad("a change of the header that is smaller than it must be");
        }
        // SAFETY: so much is there.
        let edit = unsafe { taken(edit, size) };
        let change = match edit.kind {
            abi::EDIT_ADD_FIRST => Change::AddFirst,
            abi::EDIT_ADD_LAST => Change::AddLast,
            abi::EDIT_REPLACE => Change::Replace,
            abi::EDIT_REMOVE => Change::Remove,
            _ => return state.bad("a change of the header of an unknown kind"),
        };
        // A value that is not looked at need not be readable.
        let value = if change == Change::Remove { abi::Text::NONE } else { edit.value };
        let room = state.room();
        if edit.name.len.saturating_add(value.len) > room {
            return state.too_many();
        }
        // SAFETY: the texts live for the length of the call.
        match unsafe { (bounded(edit.name, room), bounded(value, room)) } {
            (Ok(name), Ok(value)) => state.edit(change, edit.occurrence, name, value),
            (Err(problem), _) | (_, Err(problem)) => state.bad(problem),
        }
    })
}

unsafe extern "C" fn add_recipient(call: *const abi::FilterCall, to: abi::Text) -> u32 {
    guarded(abi::CHANGE_BAD, || {
        // SAFETY: as above.
        let Some(state) = (unsafe { state(call) }) else { return abi::CHANGE_BAD };
        // SAFETY: the text lives for the length of the call.
        match unsafe { address(to) } {
            Some(to) => state.add_recipient(to),
            None => state.bad("a recipient that is too long, or not UTF-8"),
        }
    })
}

unsafe extern "C" fn withdraw(call: *const abi::FilterCall, index: u32) -> u32 {
    // SAFETY: as above.
    guarded(abi::CHANGE_BAD, || unsafe { state(call) }.map_or(abi::CHANGE_BAD, |state| state.withdraw(index)))
}

unsafe extern "C" fn time_left(call: *const abi::FilterCall) -> u64 {
    guarded(0, || {
        // SAFETY: as above.
        let left = unsafe { state(call) }.map_or(Duration::ZERO, CallState::time_left);
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Text that is not longer than this. Absent text is empty.
///
/// # Safety
/// The text is absent, or lives for `'t`.
unsafe fn bounded<'t>(text: abi::Text, most: usize) -> Result<&'t str, &'static str> {
    if text.len == 0 {
        return Ok("");
    }
    if text.data.is_null() {
        return Err("a change of the header with a null pointer");
    }
    if text.len > most {
        return Err("more text for the header than a call may bring");
    }
    // SAFETY: not null and bounded; the caller's promise.
    let octets = unsafe { std::slice::from_raw_parts(text.data, text.len) };
    std::str::from_utf8(octets).map_err(|_| "a change of the header that is not UTF-8")
}
