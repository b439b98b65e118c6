//! The frozen C contract between Sluice and a channel plugin.
//!
//! A plugin is a shared library that exports one data symbol, `sluice_plugin`: a static [`Plugin`] table with its
//! name, its options and its functions. The host gives it a [`Host`] table of callbacks when it creates a channel,
//! and an opaque worker pointer when it runs one. Nothing else crosses the edge: pointers, lengths, integers and
//! status codes, no Rust types, no unwinding, no allocation that one side makes and the other frees.
//!
//! The document is `docs/internals/abi.md`; it says who owns which bytes for how long, which thread may call what, and
//! how the contract may grow. The offsets given there are compared with these types by a test, and `include/sluice.h`
//! is made from this file and compared by another.
//!
//! # Invariants
//! Every structure that may grow begins with its own size, or is walked by a stride that its owner states. A published
//! field never moves and never changes its meaning; new fields go to the end; anything else is a new [`ABI_VERSION`].
//! # Not here
//! Any code. Loading and calling is in `host`, the safe face for authors in Rust is `sdk`.
#![no_std]
#![forbid(unsafe_code)]

use core::ffi::c_void;
use core::mem::offset_of;

/// The version of this contract. A plugin is loaded only when its table says exactly this number.
pub const ABI_VERSION: u32 = 1;

/// The name of the exported data symbol, with the closing NUL that a symbol lookup wants.
pub const SYMBOL: &[u8] = b"sluice_plugin\0";

/// `create`, `run`: all is well.
pub const STATUS_OK: i32 = 0;
/// `create`, `run`: it could not; the reason was given to [`Host::explain`]. The host tries again later.
pub const STATUS_FAILED: i32 = 1;
/// `create`: the settings are wrong and trying again is useless; the reason was given to [`Host::explain`].
pub const STATUS_REFUSED: i32 = 2;
/// `create`, `run`: the plugin's own fence caught a panic (or an exception); its message was given to [`Host::explain`].
pub const STATUS_PANIC: i32 = 3;

/// [`Host::next`]: a delivery was stored.
pub const NEXT_DELIVERY: u32 = 1;
/// [`Host::next`]: nothing came within the time asked for.
pub const NEXT_IDLE: u32 = 2;
/// [`Host::next`]: there may be nothing queued, but the peer is to be asked for its mail (a poll run).
pub const NEXT_POLL: u32 = 3;
/// [`Host::next`]: finish what you hold and return from `run`.
pub const NEXT_STOP: u32 = 4;

/// [`Host::settle`], [`Host::finish`]: taken.
pub const SETTLE_OK: u32 = 0;
/// [`Host::settle`], [`Host::finish`]: the token is not with this worker: never was, is finished, or was taken back at its deadline.
pub const SETTLE_UNKNOWN: u32 = 1;
/// [`Host::settle`]: no such recipient in this delivery.
pub const SETTLE_NO_RECIPIENT: u32 = 2;
/// [`Host::settle`]: this recipient was settled before; the first word counts.
pub const SETTLE_AGAIN: u32 = 3;
/// [`Host::settle`]: the outcome is not usable (null pointer, unknown kind, impossible status code).
pub const SETTLE_BAD: u32 = 4;

/// [`Host::enqueue`]: every recipient has been answered, for better or worse.
pub const ENQUEUE_DONE: u32 = 0;
/// [`Host::enqueue`]: the worker's time is over, or the delivery named in [`Submission::of`] is not with it.
pub const ENQUEUE_GONE: u32 = 1;
/// [`Host::enqueue`]: the submission is not usable: too small, without recipients, too many of them, null pointers.
pub const ENQUEUE_BAD: u32 = 2;
/// [`Host::enqueue`]: no mail is taken from plugins at the moment.
pub const ENQUEUE_CLOSED: u32 = 3;

/// [`Submission::flags`]: the message is not pure seven-bit text (RFC 6152).
pub const SUBMISSION_EIGHT_BIT: u32 = 1;
/// [`Submission::flags`]: the message needs SMTPUTF8 (RFC 6531).
pub const SUBMISSION_SMTPUTF8: u32 = 2;
/// [`Submission::flags`]: the message appears to come from the channel that the delivery in [`Submission::of`] once came
/// in by, and not from the worker's own.
pub const SUBMISSION_AS_ORIGINAL: u32 = 4;
/// [`Submission::flags`]: the message is on hold from the moment it comes in, until an operator releases it. A host that is older than
/// this flag passes over it.
pub const SUBMISSION_ON_HOLD: u32 = 8;

/// [`Plugin::route`]: the routine has no answer for this argument.
pub const ROUTE_MISS: u32 = 0;
/// [`Plugin::route`]: the answer was stored.
pub const ROUTE_FOUND: u32 = 1;
/// [`Plugin::route`]: there is no such routine.
pub const ROUTE_UNKNOWN: u32 = 2;
/// [`Plugin::route`]: the answer does not fit.
pub const ROUTE_TOO_LONG: u32 = 3;
/// [`Plugin::route`]: the plugin's own fence caught a panic (or an exception).
pub const ROUTE_PANIC: u32 = 4;

/// [`Outcome::kind`]: the next hop, or the mailbox, has it now.
pub const OUTCOME_DELIVERED: u32 = 1;
/// [`Outcome::kind`]: not now; the host tries again by the channel's schedule.
pub const OUTCOME_DEFERRED: u32 = 2;
/// [`Outcome::kind`]: never; the sender gets a notice.
pub const OUTCOME_FAILED: u32 = 3;

/// [`Outcome::handover`]: this was the end of the way; the host tells the sender, if asked to.
pub const HANDOVER_FINAL: u32 = 0;
/// [`Outcome::handover`]: the next hop makes no reports of deliveries; the host tells the sender so, if asked to.
pub const HANDOVER_RELAYED: u32 = 1;
/// [`Outcome::handover`]: the next hop was told what the sender wants, and answers for that too.
pub const HANDOVER_PASSED_ON: u32 = 2;

/// [`Recipient::notify`]: the sender is told nothing about this recipient (RFC 3461).
pub const NOTIFY_NEVER: u32 = 1;
/// [`Recipient::notify`]: the sender is told when it was delivered.
pub const NOTIFY_SUCCESS: u32 = 2;
/// [`Recipient::notify`]: the sender is told when it cannot be delivered.
pub const NOTIFY_FAILURE: u32 = 4;
/// [`Recipient::notify`]: the sender is told when it is late.
pub const NOTIFY_DELAY: u32 = 8;

/// [`Delivery::returned`]: a notice of failure is to return the whole message (RFC 3461).
pub const RETURN_FULL: u32 = 1;
/// [`Delivery::returned`]: a notice of failure is to return the header.
pub const RETURN_HEADERS: u32 = 2;

/// [`Setting::kind`]: a channel keyword in force.
pub const SETTING_KEYWORD: u32 = 1;
/// [`Setting::kind`]: a line of the channel's option file.
pub const SETTING_OPTION: u32 = 2;
/// [`Setting::kind`]: something the host knows, such as `official_host`.
pub const SETTING_FACT: u32 = 3;

/// [`OptionSpec::kind`]: any text.
pub const OPTION_TEXT: u32 = 0;
/// [`OptionSpec::kind`]: a decimal number that is not negative.
pub const OPTION_INTEGER: u32 = 1;
/// [`OptionSpec::kind`]: `0` or `1`.
pub const OPTION_SWITCH: u32 = 2;
/// [`OptionSpec::kind`]: a decimal number of seconds.
pub const OPTION_SECONDS: u32 = 3;
/// [`OptionSpec::kind`]: a file or folder.
pub const OPTION_PATH: u32 = 4;

/// [`OptionSpec::flags`]: a channel cannot do without this option, which has no default.
pub const OPTION_FLAG_REQUIRED: u32 = 1;

/// [`Delivery::flags`]: the message is not pure seven-bit text (RFC 6152).
pub const DELIVERY_EIGHT_BIT: u32 = 1;
/// [`Delivery::flags`]: the message needs SMTPUTF8 (RFC 6531).
pub const DELIVERY_SMTPUTF8: u32 = 2;
/// [`Delivery::flags`]: another delivery for the same destination follows at once; a connection is worth keeping.
pub const DELIVERY_MORE: u32 = 4;
/// The sender has said how soon the message is to be transferred (`MT-PRIORITY`): [`Delivery::transfer_priority`] is to be passed on.
pub const DELIVERY_MT_PRIORITY: u32 = 8;

/// [`Host::log`]: someone must act.
pub const LOG_ERROR: u32 = 1;
/// [`Host::log`]: the plugin coped.
pub const LOG_WARN: u32 = 2;
/// [`Host::log`]: what was asked for happened.
pub const LOG_INFO: u32 = 3;
/// [`Host::log`]: for the plugin's author.
pub const LOG_DEBUG: u32 = 4;
/// [`Host::log`]: for the plugin's author, in every detail.
pub const LOG_TRACE: u32 = 5;

/// [`Host::features`]: the host has [`Host::enqueue`].
pub const FEATURE_ENQUEUE: u32 = 1;
/// [`Host::features`]: the host calls [`Plugin::route`].
pub const FEATURE_ROUTE: u32 = 2;
/// [`Host::features`]: the host calls [`Plugin::filter`].
pub const FEATURE_FILTER: u32 = 4;
/// [`Host::features`]: the host answers [`NEXT_POLL`] when a channel is to be polled.
pub const FEATURE_POLL: u32 = 8;
/// [`Host::features`]: deliveries have [`Delivery::next_hop`]; [`Plugin::features`]: the plugin obeys it.
pub const FEATURE_NEXT_HOP: u32 = 16;
/// [`Host::features`]: deliveries and submissions have what the sender wants to be told (RFC 3461).
pub const FEATURE_WISHES: u32 = 32;
/// [`Host::features`]: deliveries have [`Delivery::transfer_priority`] (RFC 6710).
pub const FEATURE_PRIORITY: u32 = 64;

/// Borrowed UTF-8 text, not closed by a NUL. `data` is null only for text that is absent.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// First byte.
    pub data: *const u8,
    /// Number of bytes.
    pub len: usize,
}

impl Text {
    /// Absent text.
    pub const NONE: Text = Text { data: core::ptr::null(), len: 0 };

    /// The text of `text`; it is borrowed, whoever keeps the result keeps `text` too.
    #[must_use]
    pub const fn of(text: &str) -> Text {
        Text { data: text.as_ptr(), len: text.len() }
    }
}

/// Borrowed bytes of a message.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// First byte.
    pub data: *const u8,
    /// Number of bytes, never 0.
    pub len: usize,
}

/// A channel as the host knows it; plugins only carry the pointer.
#[repr(C)]
#[derive(Debug)]
pub struct Channel {
    opaque: [u8; 0],
}

/// A worker as the host knows it; plugins only carry the pointer, and not past the end of `run`.
#[repr(C)]
#[derive(Debug)]
pub struct Worker {
    opaque: [u8; 0],
}

/// One option that the plugin understands, for checking an option file and for help without running plugin code.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Upper-case letters, digits and `_`; unique in its table.
    pub name: Text,
    /// One of the `OPTION_` constants.
    pub kind: u32,
    /// `OPTION_FLAG_` bits; unknown ones are to be ignored. Zero in plugins that are older than this field.
    pub flags: u32,
    /// What an absent line means, written as in the file; null data when there is no default.
    pub default: Text,
    /// A sentence or two for the operator.
    pub help: Text,
    /// Least value of a number or of seconds. Not in a table whose stride is 56.
    pub min: u64,
    /// Greatest value of a number or of seconds; 0 when there is no bound.
    pub max: u64,
}

impl OptionSpec {
    /// Size of this structure before it had [`OptionSpec::min`]: the least stride of a plugin's table.
    pub const SIZE_FIRST: usize = offset_of!(OptionSpec, min);
}

/// One setting handed to `create`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// One of the `SETTING_` constants.
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// Keyword (lower case), option (upper case) or fact (lower case).
    pub name: Text,
    /// Its arguments joined by one blank; empty when there is none.
    pub value: Text,
}

/// What `create` is given. Borrowed for the length of that call; the [`Channel`] handle in it is for ever.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Create {
    /// Size of this structure as the host knows it.
    pub size: u32,
    /// Distance in bytes from one setting to the next.
    pub setting_size: u32,
    /// Names the channel in [`Host::log`]. Usable from any thread until the process ends.
    pub handle: *const Channel,
    /// Channel name, lower case.
    pub channel: Text,
    /// The settings.
    pub settings: *const Setting,
    /// How many settings.
    pub setting_count: usize,
}

/// One recipient of a delivery.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Recipient {
    /// What [`Host::settle`] wants; ascending within a delivery, not necessarily consecutive.
    pub index: u32,
    /// Zero.
    pub reserved: u32,
    /// The address to use with the next hop, without angle brackets.
    pub address: Text,
    /// The address as the message's submitter gave it.
    pub original: Text,
    /// The destination domain.
    pub domain: Text,
    /// What the sender wants to be told: sum of `NOTIFY_` bits, 0 when it did not say.
    pub notify: u32,
    /// Zero.
    pub reserved_too: u32,
    /// Address and type where the message began (ORCPT), encoded as it goes on the wire; absent when it was not told.
    pub origin: Text,
}

/// One message for one or more recipients, lent to a worker until it calls [`Host::finish`] or returns from `run`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// Size of this structure as the host knows it.
    pub size: u32,
    /// `DELIVERY_` bits; unknown ones are to be ignored.
    pub flags: u32,
    /// Names this delivery in `settle`, `finish` and `deadline`. Never reused, never 0.
    pub token: u64,
    /// The batch it came in: deliveries with the same number have the same destination.
    pub lease: u64,
    /// The message's queue id, for logs and for what is said to the peer.
    pub id: Text,
    /// Envelope sender without angle brackets; empty is the null reverse-path.
    pub sender: Text,
    /// When it was accepted, milliseconds since 1970-01-01 UTC.
    pub arrived_ms: u64,
    /// Sum of the lengths of the pieces.
    pub body_size: u64,
    /// How often delivery was tried before.
    pub attempts: u32,
    /// 0 urgent, 1 normal, 2 non-urgent.
    pub priority: u32,
    /// The recipients.
    pub recipients: *const Recipient,
    /// How many recipients, at least 1.
    pub recipient_count: usize,
    /// Distance in bytes from one recipient to the next.
    pub recipient_size: u32,
    /// Zero.
    pub reserved: u32,
    /// The message in wire form: CRLF line ends, dot-stuffed, without the closing dot line (RFC 5321 section 4.5.2).
    pub pieces: *const Piece,
    /// How many pieces; 0 is an empty message.
    pub piece_count: usize,
    /// Where this delivery goes in place of where the channel's settings say: `host`, `host:port`, `[address]:port`, or
    /// `unix:/path` of a socket; absent for "as configured". Not in a delivery whose `size` is 120.
    pub next_hop: Text,
    /// What a notice of failure is to return: a `RETURN_` constant, 0 when the sender did not say.
    pub returned: u32,
    /// Zero.
    pub reserved_too: u32,
    /// The sender's name of the message (ENVID), encoded as it goes on the wire; absent when there is none.
    pub envelope_id: Text,
    /// How soon it is to be transferred, -9 to 9, the higher the sooner (RFC 6710): what MAIL said if `flags` has
    /// `DELIVERY_MT_PRIORITY`, else 4, 0 or -4 for the three values of `priority`. Not in a delivery whose `size` is 160.
    pub transfer_priority: i32,
    /// Zero.
    pub reserved_three: u32,
}

impl Delivery {
    /// Size of this structure before it had [`Delivery::next_hop`]: what a plugin may rely on from any host.
    pub const SIZE_FIRST: usize = offset_of!(Delivery, next_hop);
}

/// What became of one recipient. Borrowed for the length of the call to [`Host::settle`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Size of this structure as the plugin knows it.
    pub size: u32,
    /// One of the `OUTCOME_` constants.
    pub kind: u32,
    /// RFC 3463 status class: 2, 4 or 5, in agreement with `kind`.
    pub class: u16,
    /// RFC 3463 subject, at most 999.
    pub subject: u16,
    /// RFC 3463 detail, at most 999.
    pub detail: u16,
    /// A `HANDOVER_` constant, of what was delivered. Zero in plugins that are older than this field.
    pub handover: u16,
    /// The reply of whoever decided, with its code if there was one; for the notice and the log.
    pub text: Text,
    /// Who decided: host name of the next hop, or empty for the plugin itself.
    pub peer: Text,
}

/// One recipient of a submission.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Submitted {
    /// The address, without angle brackets. It is rewritten and aliases are expanded, as for mail from a listener.
    pub address: Text,
    /// The address that notices are to name; absent where that is `address`.
    pub original: Text,
    /// As in a delivery.
    pub notify: u32,
    /// Zero.
    pub reserved: u32,
    /// As in a delivery.
    pub origin: Text,
}

/// A message that a worker brings in. Borrowed for the length of the call to [`Host::enqueue`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Submission {
    /// Size of this structure as the plugin knows it.
    pub size: u32,
    /// `SUBMISSION_` bits.
    pub flags: u32,
    /// Token of a delivery that this worker holds and that the message comes of; 0 for a message of its own.
    pub of: u64,
    /// Envelope sender without angle brackets; empty is the null reverse-path.
    pub sender: Text,
    /// The recipients.
    pub recipients: *const Submitted,
    /// How many recipients, at least 1.
    pub recipient_count: usize,
    /// Distance in bytes from one recipient to the next.
    pub recipient_size: u32,
    /// What a notice of failure is to return: a `RETURN_` constant, 0 when the sender did not say. Of a message that comes of a
    /// delivery, what was said with that counts, here and for `envelope_id`.
    pub returned: u32,
    /// The message in wire form, as in a delivery.
    pub pieces: *const Piece,
    /// How many pieces; 0 is an empty message.
    pub piece_count: usize,
    /// Called once for each recipient, by its position from 0, before [`Host::enqueue`] answers [`ENQUEUE_DONE`], and on
    /// the same thread. `OUTCOME_DELIVERED` means that the message is durable for this recipient. The outcome and its
    /// texts are the host's and valid during the call. Null when nobody wants to know.
    pub answered: Option<unsafe extern "C" fn(context: *mut c_void, position: u32, *const Outcome)>,
    /// Handed to `answered` as it is.
    pub context: *mut c_void,
    /// The sender's name of the message (ENVID), encoded as it goes on the wire; absent when there is none. Not in a submission whose
    /// `size` is 88.
    pub envelope_id: Text,
}

impl Submission {
    /// Size of this structure before it had [`Submission::envelope_id`]: what a host may rely on from any plugin.
    pub const SIZE_FIRST: usize = offset_of!(Submission, envelope_id);
}

mod filter;

pub use filter::*;

/// The host's callbacks. The table lives until the process ends; every callback may be called from any thread.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// [`ABI_VERSION`] of the host.
    pub abi_version: u32,
    /// Size of this structure as the host knows it.
    pub size: u32,
    /// Waits at most `timeout_ms` for something to do. Stores a delivery through the last argument only when it
    /// answers [`NEXT_DELIVERY`].
    pub next: Option<unsafe extern "C" fn(*const Worker, timeout_ms: u64, *mut *const Delivery) -> u32>,
    /// Says what became of one recipient; once each.
    pub settle: Option<unsafe extern "C" fn(*const Worker, token: u64, index: u32, *const Outcome) -> u32>,
    /// Gives the delivery's bytes back. Recipients that were not settled are deferred.
    pub finish: Option<unsafe extern "C" fn(*const Worker, token: u64) -> u32>,
    /// Milliseconds until the delivery is taken away; 0 when it is not, or no longer, with this worker.
    pub deadline: Option<unsafe extern "C" fn(*const Worker, token: u64) -> u64>,
    /// Writes a line to the host's log: channel, level, message id (may be absent), text.
    pub log: Option<unsafe extern "C" fn(*const Channel, level: u32, id: Text, text: Text)>,
    /// Tells why this thread's `create` or `run` is about to fail; the last word before it returns counts.
    pub explain: Option<unsafe extern "C" fn(*const Channel, text: Text)>,
    /// Takes a message from a worker, and waits until it is durable or refused. Null in a host that is older than this field.
    pub enqueue: Option<unsafe extern "C" fn(*const Worker, *const Submission) -> u32>,
    /// What this host can do: sum of `FEATURE_` bits. Zero in a host that is older than this field, whose sizes and
    /// pointers tell the same.
    pub features: u64,
    /// Name and version of the host's program, such as `Sluice 0.1.0`. Absent in a host that is older than this field.
    pub program: Text,
}

impl Host {
    /// Size of this structure in the first version of the contract: what a plugin may rely on from any host.
    pub const SIZE_FIRST: usize = 88;
}

/// What the data symbol `sluice_plugin` is. It must not change after the library is loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Plugin {
    /// [`ABI_VERSION`] that the plugin was built for.
    pub abi_version: u32,
    /// Size of this structure as the plugin knows it.
    pub size: u32,
    /// Name: lower-case letters, digits, `_` and `-`, at most 64 bytes.
    pub name: Text,
    /// Version of the plugin, at most 64 bytes.
    pub version: Text,
    /// One line for the operator, at most 256 bytes.
    pub description: Text,
    /// The options; may be null when there is none.
    pub options: *const OptionSpec,
    /// How many options, at most 256.
    pub option_count: usize,
    /// Distance in bytes from one option to the next.
    pub option_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Makes a channel of the settings and stores whatever pointer the plugin wants to see again.
    pub create: Option<unsafe extern "C" fn(*const Host, *const Create, channel: *mut *mut c_void) -> i32>,
    /// Works until [`Host::next`] answers [`NEXT_STOP`]. Called on several threads at once with the same channel.
    pub run: Option<unsafe extern "C" fn(channel: *mut c_void, *const Worker) -> i32>,
    /// Wakes whatever the channel's workers wait for outside the host. Must return at once.
    pub stop: Option<unsafe extern "C" fn(channel: *mut c_void)>,
    /// Frees the channel. Called once, after every `run` has returned.
    pub destroy: Option<unsafe extern "C" fn(channel: *mut c_void)>,
    /// Answers `$[image,routine,argument]` of rewrite rules and mapping tables: stores at most `room` bytes of UTF-8 and
    /// their number. Called on any thread, several at once, with or without a channel. Null when there is no routine.
    pub route: Option<
        unsafe extern "C" fn(
            routine: Text,
            argument: Text,
            answer: *mut u8,
            room: usize,
            length: *mut usize,
        ) -> u32,
    >,
    /// Names of the routines: letters, digits, `_`, `-` and `.`, at most 64 bytes each. Null when there is none.
    pub routines: *const Text,
    /// How many routines, at most 256.
    pub routine_count: usize,
    /// Looks at a whole message before it is queued, changes it through the last argument, and answers with a `FILTER_`
    /// constant. `run` need not have been called. Called on any thread, several at once with the same channel. Null when
    /// the plugin is no filter.
    pub filter:
        Option<unsafe extern "C" fn(channel: *mut c_void, *const FilterMessage, *const Filtering) -> u32>,
    /// What this plugin does, beside what the pointers above tell: sum of `FEATURE_` bits. Not in a table whose `size` is 144.
    pub features: u64,
    /// What the host must be able to do for this plugin: sum of `FEATURE_` bits. A host that cannot do all of it does not
    /// load the plugin, and names what it lacks. Not in a table whose `size` is 152.
    pub needs: u64,
}

impl Plugin {
    /// Size of this structure in the first version of the contract: what a host may rely on from any plugin.
    pub const SIZE_FIRST: usize = offset_of!(Plugin, features);
}

const _: () = assert!(Plugin::SIZE_FIRST == 144 && size_of::<Host>() == Host::SIZE_FIRST);

const _: () = assert!(size_of::<usize>() == 8, "the contract is written for 64-bit machines");
