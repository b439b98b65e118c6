//! What crosses the edge when a filter is shown a message.
//!
//! # Not here
//! The function itself, which is in the table: [`Plugin::filter`].

#[allow(unused_imports)] // For the documentation.
use crate::Plugin;
use crate::{Piece, Text};

/// [`Plugin::filter`]: the message goes on, with the changes that were made to it.
pub const FILTER_ACCEPT: u32 = 0;
/// [`Plugin::filter`]: the message is not taken; [`Filtering::reply`] has said what the client is told.
pub const FILTER_REFUSE: u32 = 1;
/// [`Plugin::filter`]: the message is taken and waits for an operator; [`Filtering::reply`] has said why.
pub const FILTER_HOLD: u32 = 2;
/// [`Plugin::filter`]: the message is taken and thrown away.
pub const FILTER_DISCARD: u32 = 3;
/// [`Plugin::filter`]: no verdict can be given at the moment; [`Filtering::reply`] may have said why.
pub const FILTER_FAILED: u32 = 4;
/// [`Plugin::filter`]: the plugin's own fence caught a panic (or an exception); [`Filtering::reply`] has its message.
pub const FILTER_PANIC: u32 = 5;

/// [`Filtering`]'s functions: taken.
pub const CHANGE_OK: u32 = 0;
/// [`Filtering`]'s functions: this call is over: its time has passed.
pub const CHANGE_GONE: u32 = 1;
/// [`Filtering`]'s functions: not usable: a null pointer, bad UTF-8, a name that is no field name, a value with a bare CR.
pub const CHANGE_BAD: u32 = 2;
/// [`Filtering`]'s functions: there is no such recipient, or it was taken away before.
pub const CHANGE_NO_RECIPIENT: u32 = 3;
/// [`Filtering`]'s functions: this call has made as many changes as are allowed.
pub const CHANGE_TOO_MANY: u32 = 4;

/// [`HeaderEdit::kind`]: a new field on top of the header, below the hub's own `Received:`.
pub const EDIT_ADD_FIRST: u32 = 1;
/// [`HeaderEdit::kind`]: a new field at the end of the header.
pub const EDIT_ADD_LAST: u32 = 2;
/// [`HeaderEdit::kind`]: the field has this value now; one that is not there is put at the end.
pub const EDIT_REPLACE: u32 = 3;
/// [`HeaderEdit::kind`]: the field goes; one that is not there is gone already.
pub const EDIT_REMOVE: u32 = 4;

/// [`FilterMessage::flags`]: the message is not pure seven-bit text (RFC 6152).
pub const MESSAGE_EIGHT_BIT: u32 = 1;
/// [`FilterMessage::flags`]: the message needs SMTPUTF8 (RFC 6531): values of fields may be UTF-8.
pub const MESSAGE_SMTPUTF8: u32 = 2;
/// [`FilterMessage::flags`]: it came over a line that TLS protects.
pub const MESSAGE_TLS: u32 = 4;
/// [`FilterMessage::flags`]: the client is known by its address or its login, and no stranger.
pub const MESSAGE_KNOWN: u32 = 8;
/// [`FilterMessage::flags`]: a channel brought it in; there is no client.
pub const MESSAGE_FROM_CHANNEL: u32 = 16;
/// [`FilterMessage::flags`]: a channel brought it in again, after it had come in before.
pub const MESSAGE_AGAIN: u32 = 32;

/// One recipient of a message that a filter is shown.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FilterRecipient {
    /// What [`Filtering::withdraw`] wants; from 0.
    pub index: u32,
    /// What the sender wants to be told: sum of `NOTIFY_` bits, 0 when it did not say.
    pub notify: u32,
    /// The address that it goes to, without angle brackets.
    pub address: Text,
    /// The address as the message's submitter gave it.
    pub original: Text,
    /// The channel that it goes to.
    pub channel: Text,
    /// As in a delivery.
    pub origin: Text,
}

impl FilterRecipient {
    /// Size of this structure in the first version of the contract that had it.
    pub const SIZE_FIRST: usize = 72;
}

/// One message that a filter is shown before it is queued. Borrowed until [`Plugin::filter`] returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FilterMessage {
    /// Size of this structure as the host knows it.
    pub size: u32,
    /// `MESSAGE_` bits; unknown ones are to be ignored.
    pub flags: u32,
    /// Which filter this is, 1 to 8: the number in the keyword that asked for it.
    pub number: u32,
    /// Milliseconds that there are for the verdict, from the beginning of the call.
    pub time_ms: u32,
    /// The message's queue id, for logs.
    pub id: Text,
    /// The channel that it comes in by.
    pub source_channel: Text,
    /// The channel that the copy is for; absent when the whole message is shown.
    pub destination_channel: Text,
    /// The words behind the keyword that asked for the filter (`sourcespamfilter1optin`); absent for one without words.
    pub opt_in: Text,
    /// Envelope sender without angle brackets; empty is the null reverse-path.
    pub sender: Text,
    /// The address of the client, IPv4 or IPv6, without brackets; absent when a channel brought the message in.
    pub client_address: Text,
    /// What the name service calls the client; absent when it was not asked, or did not know.
    pub client_name: Text,
    /// What the client calls itself (EHLO, HELO). A stranger's text.
    pub helo: Text,
    /// The name that the client has logged in with; absent without a login.
    pub login: Text,
    /// When it came, milliseconds since 1970-01-01 UTC.
    pub arrived_ms: u64,
    /// Sum of the lengths of the pieces.
    pub body_size: u64,
    /// The recipients.
    pub recipients: *const FilterRecipient,
    /// How many recipients, at least 1.
    pub recipient_count: usize,
    /// Distance in bytes from one recipient to the next.
    pub recipient_size: u32,
    /// Zero.
    pub reserved: u32,
    /// The message in wire form, as in a delivery; the hub's own `Received:` is its first field.
    pub pieces: *const Piece,
    /// How many pieces, at least 1.
    pub piece_count: usize,
}

impl FilterMessage {
    /// Size of this structure in the first version of the contract that had it.
    pub const SIZE_FIRST: usize = 216;
}

/// One call of a filter as the host knows it; plugins only carry the pointer, and not past the end of the call.
#[repr(C)]
#[derive(Debug)]
pub struct FilterCall {
    opaque: [u8; 0],
}

/// What the client is told, or why a message is on hold. Borrowed for the length of the call to [`Filtering::reply`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FilterReply {
    /// Size of this structure as the plugin knows it.
    pub size: u32,
    /// Reply code of SMTP, 400 to 599; 0 is 550, or 451 for a status of class 4. Of no meaning for a message on hold.
    pub code: u32,
    /// RFC 3463 status class: 4 or 5, in agreement with `code`.
    pub class: u16,
    /// RFC 3463 subject, at most 999.
    pub subject: u16,
    /// RFC 3463 detail, at most 999.
    pub detail: u16,
    /// Zero.
    pub reserved: u16,
    /// For the client and the log.
    pub text: Text,
}

impl FilterReply {
    /// Size of this structure in the first version of the contract that had it.
    pub const SIZE_FIRST: usize = 32;
}

/// A change of the header. Borrowed for the length of the call to [`Filtering::edit`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HeaderEdit {
    /// Size of this structure as the plugin knows it.
    pub size: u32,
    /// One of the `EDIT_` constants.
    pub kind: u32,
    /// Which of the fields with this name is replaced or removed, counted from the top and from 1; 0 means all of them
    /// (of which the first is replaced, and the others go). Zero for a new field.
    pub occurrence: u32,
    /// Zero.
    pub reserved: u32,
    /// Name of the field, without the colon: printable ASCII, 1 to 76 bytes.
    pub name: Text,
    /// What stands behind the colon and the blank; folded lines are told by CRLF and a blank or tab. Absent for a removal.
    pub value: Text,
}

impl HeaderEdit {
    /// Size of this structure in the first version of the contract that had it.
    pub const SIZE_FIRST: usize = 48;
}

/// The host's functions for one call of a filter. Valid until [`Plugin::filter`] returns, on any thread.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Filtering {
    /// Size of this structure as the host knows it.
    pub size: u32,
    /// Zero.
    pub reserved: u32,
    /// What each of the functions wants first.
    pub call: *const FilterCall,
    /// Says what goes with the verdict: the reply to a refusal, why the message is held, what is missing. The last word counts.
    pub reply: Option<unsafe extern "C" fn(*const FilterCall, *const FilterReply) -> u32>,
    /// Changes the header. Changes are made in the order of the calls, each to what the one before has left.
    pub edit: Option<unsafe extern "C" fn(*const FilterCall, *const HeaderEdit) -> u32>,
    /// Sends the message to this address too. It is rewritten and aliases are expanded, as for mail that comes in.
    pub add_recipient: Option<unsafe extern "C" fn(*const FilterCall, address: Text) -> u32>,
    /// Takes a recipient away. Nobody is told of it.
    pub withdraw: Option<unsafe extern "C" fn(*const FilterCall, index: u32) -> u32>,
    /// Milliseconds that are left for the verdict.
    pub time_left: Option<unsafe extern "C" fn(*const FilterCall) -> u64>,
}

impl Filtering {
    /// Size of this structure in the first version of the contract that had it.
    pub const SIZE_FIRST: usize = 56;
}
