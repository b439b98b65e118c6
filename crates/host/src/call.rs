//! Calls across the edge, in both directions: the plugin's functions, and the callbacks it is given.
//!
//! # Invariants
//! A callback never unwinds into the plugin, trusts no length before it has bounded it, and keeps nothing that the
//! plugin lends. What the host lends stays where it is: a [`Lent`] owns everything that its pointers lead to.
//! # Not here
//! Deciding anything: `worker` answers the callbacks, `instance` starts the threads.
#![allow(unsafe_code)]
// In the tests of this crate a plugin is played (`rehearsal`), and nobody comes this way.
#![cfg_attr(test, allow(dead_code))]

use crate::door::{ADDRESS_MAX, OCTETS_MAX, PIECES_MAX, RECIPIENTS_MAX, Submission, Submitted};
use crate::guise::{self, Guise, Later};
use crate::library::{FEATURES, PROGRAM, Route};
use crate::log::{LINE_MAX, Lines, NAME_MAX, OUTCOME_MAX, REASON_MAX, one_line};
use crate::plugin::Plugin;
use crate::spec::{SettingKind, Spec};
use crate::work::Delivery;
use crate::worker::{Answer, Worker};
use parking_lot::Mutex;
use sluice_abi as abi;
use sluice_mail::{Handover, Notify, Outcome, RecipientWishes, Return, Status, Wishes, wishes};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::mem::{MaybeUninit, offset_of};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

mod filtering;

pub(crate) use filtering::filter;

/// What names a channel in the log. Never freed, because a plugin's own threads may log at any time; one for each pair
/// of channel and plugin, so that restarts do not add up.
pub(crate) struct Handle {
    channel: String,
    plugin: String,
    /// Of what it says, and of what is said of its faults.
    lines: Mutex<Lines>,
}

impl Handle {
    pub(crate) fn of(channel: &str, plugin: &str) -> &'static Handle {
        static ALL: Mutex<BTreeMap<(String, String), &'static Handle>> = Mutex::new(BTreeMap::new());
        let key = (channel.to_owned(), plugin.to_owned());
        ALL.lock().entry(key).or_insert_with_key(|(channel, plugin)| {
            let lines = Mutex::default();
            Box::leak(Box::new(Handle { channel: channel.clone(), plugin: plugin.clone(), lines }))
        })
    }

    /// Whether one more line is written.
    pub(crate) fn one_more_line(&self) -> bool {
        let (is_told, untold) = self.lines.lock().one_more();
        self.tell(untold);
        is_told
    }

    /// Says how many lines were left out, when the time for that has come. Called now and then.
    pub(crate) fn tell_untold(&self) {
        let untold = self.lines.lock().over();
        self.tell(untold);
    }

    /// The same at the end, whether or not that time has come.
    pub(crate) fn tell_rest(&self) {
        let untold = self.lines.lock().rest();
        self.tell(untold);
    }

    fn tell(&self, untold: u32) {
        if untold > 0 {
            let Handle { channel, plugin, .. } = self;
            tracing::warn!(channel, plugin, untold, "it said more than fits into the log");
        }
    }
}

/// A channel as its plugin made it. `destroy` is called when the last thread that may use it has let go.
pub(crate) struct Created {
    plugin: Arc<Plugin>,
    channel: *mut c_void,
}

// SAFETY: the contract: a channel may be used and destroyed on any thread, and by several at once.
unsafe impl Send for Created {}
// SAFETY: as above.
unsafe impl Sync for Created {}

/// Why there is no channel.
pub(crate) enum NotCreated {
    Refused(String),
    Failed(String),
    Panicked(String),
}

/// Calls `create`.
pub(crate) fn create(
    plugin: &Arc<Plugin>,
    spec: &Spec,
    handle: &'static Handle,
) -> Result<Created, NotCreated> {
    let settings: Vec<abi::Setting> = spec
        .settings
        .iter()
        .map(|setting| abi::Setting {
            kind: match setting.kind {
                SettingKind::Keyword => abi::SETTING_KEYWORD,
                SettingKind::Option => abi::SETTING_OPTION,
                SettingKind::Fact => abi::SETTING_FACT,
            },
            reserved: 0,
            name: abi::Text::of(&setting.name),
            value: abi::Text::of(&setting.value),
        })
        .collect();
    let create = abi::Create {
        size: size_of::<abi::Create>() as u32,
        setting_size: size_of::<abi::Setting>() as u32,
        handle: std::ptr::from_ref(handle).cast(),
        channel: abi::Text::of(&spec.channel),
        settings: settings.as_ptr(),
        setting_count: settings.len(),
    };
    let later_settings: Vec<Later<abi::Setting>>;
    let later;
    let (host, given): (*const abi::Host, *const abi::Create) = match spec.guise {
        Guise::Now => (&raw const HOST.0, &raw const create),
        Guise::Older => (&raw const OLDER.0, &raw const create),
        Guise::Later => {
            let (name, value) = (abi::Text::of("unheard_of"), abi::Text::of("of"));
            let unknown = abi::Setting { kind: guise::UNKNOWN_SETTING, reserved: 0, name, value };
            later_settings =
                std::iter::once(unknown).chain(settings.iter().copied()).map(Later::of).collect();
            later = Later::of(abi::Create {
                size: Later::<abi::Create>::size(),
                setting_size: Later::<abi::Setting>::size(),
                settings: later_settings.as_ptr().cast(),
                setting_count: later_settings.len(),
                ..create
            });
            ((&raw const LATER.0).cast(), (&raw const later).cast())
        }
    };
    let mut channel = std::ptr::null_mut();
    EXPLAINED.take();
    // SAFETY: the function belongs to a library that is never unloaded; settings and texts live in `spec` and above.
    let status = unsafe { (plugin.functions.create)(host, given, &raw mut channel) };
    let text = EXPLAINED.take();
    let or = |text: String, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text };
    match status {
        abi::STATUS_OK => Ok(Created { plugin: plugin.clone(), channel }),
        abi::STATUS_REFUSED => Err(NotCreated::Refused(or(text, "it did not say why"))),
        abi::STATUS_PANIC => Err(NotCreated::Panicked(or(text, "panicked"))),
        other => Err(NotCreated::Failed(or(text, &format!("status {other}, and it did not say why")))),
    }
}

impl Created {
    /// Calls `run` on this thread: its status, and its reason if it gave one. `worker` is kept alive by the caller.
    pub(crate) fn run(&self, worker: &Arc<Worker>) -> (i32, String) {
        EXPLAINED.take();
        // SAFETY: the pointer is the one that `create` stored, and `destroy` was not called: that is our own drop. The
        // worker lives longer than the call.
        let status = unsafe { (self.plugin.functions.run)(self.channel, Arc::as_ptr(worker).cast()) };
        (status, EXPLAINED.take())
    }

    /// Calls `stop`, which may not come back.
    pub(crate) fn stop(&self) {
        // SAFETY: as in `run`.
        unsafe { (self.plugin.functions.stop)(self.channel) };
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        // SAFETY: the pointer is the one that `create` stored; whoever calls `run` or `stop` has an `Arc` of this, so
        // none of these calls is going on, and none will follow.
        unsafe { (self.plugin.functions.destroy)(self.channel) };
    }
}

/// A delivery in the form that a plugin sees, together with everything it leads to.
pub(crate) struct Lent {
    delivery: Box<abi::Delivery>,
    source: Delivery,
    _recipients: Vec<abi::Recipient>,
    _pieces: Vec<abi::Piece>,
    /// What the plugin sees in place of `delivery`, where it is to see another hub.
    later: Option<Box<LaterDelivery>>,
}

/// A delivery of a later hub, with its recipients.
struct LaterDelivery {
    delivery: Later<abi::Delivery>,
    recipients: Vec<Later<abi::Recipient>>,
}

// SAFETY: the pointers lead to heap memory that this value owns, which is not changed until it is dropped.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl Lent {
    /// The delivery comes back when it has no recipient, or one index twice.
    pub(crate) fn new(
        mut source: Delivery,
        token: u64,
        lease: u64,
        more: bool,
    ) -> Result<Lent, Box<Delivery>> {
        source.recipients.sort_by_key(|recipient| recipient.index);
        let twice = source.recipients.windows(2).any(|pair| pair[0].index == pair[1].index);
        if twice || source.recipients.is_empty() {
            return Err(Box::new(source));
        }
        let recipients: Vec<abi::Recipient> = source
            .recipients
            .iter()
            .map(|recipient| abi::Recipient {
                index: recipient.index,
                reserved: 0,
                address: abi::Text::of(&recipient.address),
                original: abi::Text::of(&recipient.original),
                domain: abi::Text::of(&source.domain),
                notify: u32::from(recipient.wishes.notify.bits()),
                reserved_too: 0,
                origin: lent_text(&recipient.wishes.original),
            })
            .collect();
        let mut pieces = Vec::new();
        let mut body_size = 0;
        // The pieces are borrowed from inside the `Arc`, which `source` keeps for as long as they are lent.
        source.content.pieces(&mut |piece| {
            if !piece.is_empty() {
                body_size += piece.len() as u64;
                pieces.push(abi::Piece { data: piece.as_ptr(), len: piece.len() });
            }
        });
        let flag = |on: bool, bit: u32| if on { bit } else { 0 };
        let delivery = Box::new(abi::Delivery {
            size: size_of::<abi::Delivery>() as u32,
            flags: flag(source.eight_bit, abi::DELIVERY_EIGHT_BIT)
                | flag(source.smtputf8, abi::DELIVERY_SMTPUTF8)
                | flag(more || source.more_follows, abi::DELIVERY_MORE)
                | flag(source.wishes.priority.is_some(), abi::DELIVERY_MT_PRIORITY),
            token,
            lease,
            id: abi::Text::of(&source.id),
            sender: abi::Text::of(&source.sender),
            arrived_ms: source.arrived.0,
            body_size,
            attempts: source.attempts,
            priority: source.priority as u32,
            recipients: recipients.as_ptr(),
            recipient_count: recipients.len(),
            recipient_size: size_of::<abi::Recipient>() as u32,
            reserved: 0,
            pieces: pieces.as_ptr(),
            piece_count: pieces.len(),
            next_hop: source.next_hop.as_deref().map_or(abi::Text::NONE, abi::Text::of),
            returned: source.wishes.returned.map_or(0, |returned| returned as u32),
            reserved_too: 0,
            envelope_id: lent_text(&source.wishes.envelope_id),
            transfer_priority: i32::from(source.transfer_priority().number()),
            reserved_three: 0,
        });
        Ok(Lent { delivery, source, _recipients: recipients, _pieces: pieces, later: None })
    }

    /// Makes it look as another hub's would.
    pub(crate) fn disguise(&mut self, guise: Guise) {
        match guise {
            Guise::Now => {}
            Guise::Older => {
                let delivery = &mut *self.delivery;
                delivery.size = abi::Delivery::SIZE_FIRST as u32;
                delivery.flags &= abi::DELIVERY_EIGHT_BIT | abi::DELIVERY_SMTPUTF8 | abi::DELIVERY_MORE;
                delivery.next_hop = guise::NOWHERE;
                delivery.envelope_id = guise::NOWHERE;
            }
            Guise::Later => {
                let recipients = self._recipients.iter().copied().map(Later::of).collect();
                let mut later = Box::new(LaterDelivery { delivery: Later::of(*self.delivery), recipients });
                let delivery = &mut later.delivery.now;
                delivery.size = Later::<abi::Delivery>::size();
                delivery.flags |= guise::UNKNOWN_FLAGS;
                delivery.recipient_size = Later::<abi::Recipient>::size();
                delivery.recipients = later.recipients.as_ptr().cast();
                self.later = Some(later);
            }
        }
    }

    pub(crate) fn source(&self) -> &Delivery {
        &self.source
    }

    pub(crate) fn pointer(&self) -> Pointer {
        match &self.later {
            None => Pointer(&raw const *self.delivery),
            Some(later) => Pointer((&raw const later.delivery).cast()),
        }
    }
}

/// Where a lent delivery is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pointer(*const abi::Delivery);

#[cfg(test)]
impl Pointer {
    /// What a plugin reads first. While the worker holds the delivery.
    pub(crate) fn token(&self) -> u64 {
        // SAFETY: the worker keeps the `Lent` that this points into for as long as its thread is in the plugin's code.
        unsafe { (*self.0).token }
    }
}

/// The callbacks as one table.
struct Table(abi::Host);

// SAFETY: it never changes; its only pointer leads to a text of the program.
unsafe impl Sync for Table {}

/// What a later hub has.
struct LaterTable(Later<abi::Host>);

// SAFETY: as above.
unsafe impl Sync for LaterTable {}

static HOST: Table = Table(NOW);
static OLDER: Table = Table(abi::Host { enqueue: None, features: 0, program: abi::Text::NONE, ..NOW });
static LATER: LaterTable = LaterTable(Later::of(abi::Host {
    size: Later::<abi::Host>::size(),
    features: NOW.features | guise::UNKNOWN_FEATURES,
    ..NOW
}));

const NOW: abi::Host = abi::Host {
    abi_version: abi::ABI_VERSION,
    size: size_of::<abi::Host>() as u32,
    next: Some(next),
    settle: Some(settle),
    finish: Some(finish),
    deadline: Some(deadline),
    log: Some(log),
    explain: Some(explain),
    enqueue: Some(enqueue),
    features: FEATURES,
    program: abi::Text { data: PROGRAM.as_ptr(), len: PROGRAM.len() },
};

thread_local! {
    /// What `explain` said on this thread.
    static EXPLAINED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Answers with `otherwise` if we panic: that is our mistake, and it must not unwind into the plugin.
fn guarded<T>(otherwise: T, code: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(code)).unwrap_or_else(|_| {
        tracing::error!("the plugin host panicked in a callback; please report this");
        otherwise
    })
}

/// # Safety
/// The pointer is null, or one that `run` was called with, and that `run` has not returned.
unsafe fn worker<'w>(pointer: *const abi::Worker) -> Option<&'w Worker> {
    // SAFETY: the caller's promise; the thread that called `run` keeps the worker alive.
    unsafe { pointer.cast::<Worker>().as_ref() }
}

unsafe extern "C" fn next(
    pointer: *const abi::Worker,
    timeout_ms: u64,
    lent: *mut *const abi::Delivery,
) -> u32 {
    guarded(abi::NEXT_STOP, || {
        // SAFETY: the plugin's promise in the contract.
        let Some(worker) = (unsafe { worker(pointer) }) else { return abi::NEXT_STOP };
        if lent.is_null() {
            worker.complain("it asked for a delivery without a place to put it");
            return abi::NEXT_STOP;
        }
        match worker.next(Duration::from_millis(timeout_ms)) {
            Answer::Delivery(delivery) => {
                // SAFETY: not null; the plugin's promise that it is a place for a pointer.
                unsafe { *lent = delivery.0 };
                abi::NEXT_DELIVERY
            }
            Answer::Idle => abi::NEXT_IDLE,
            Answer::Poll => abi::NEXT_POLL,
            Answer::Stop => abi::NEXT_STOP,
        }
    })
}

unsafe extern "C" fn settle(
    pointer: *const abi::Worker,
    token: u64,
    index: u32,
    outcome: *const abi::Outcome,
) -> u32 {
    guarded(abi::SETTLE_BAD, || {
        // SAFETY: the plugin's promise in the contract.
        let Some(worker) = (unsafe { worker(pointer) }) else { return abi::SETTLE_UNKNOWN };
        // SAFETY: the plugin lends the outcome and its texts for the length of the call.
        match unsafe { read_outcome(outcome) } {
            Ok(outcome) => worker.settle(token, index, outcome),
            Err(problem) => {
                worker.complain(&format!("it settled recipient {index} with an outcome that {problem}"));
                abi::SETTLE_BAD
            }
        }
    })
}

unsafe extern "C" fn finish(pointer: *const abi::Worker, token: u64) -> u32 {
    guarded(abi::SETTLE_UNKNOWN, || {
        // SAFETY: the plugin's promise in the contract.
        unsafe { worker(pointer) }.map_or(abi::SETTLE_UNKNOWN, |worker| worker.finish(token))
    })
}

unsafe extern "C" fn deadline(pointer: *const abi::Worker, token: u64) -> u64 {
    guarded(0, || {
        // SAFETY: the plugin's promise in the contract.
        let left = unsafe { worker(pointer) }.map_or(Duration::ZERO, |worker| worker.remaining(token));
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    })
}

unsafe extern "C" fn log(handle: *const abi::Channel, level: u32, id: abi::Text, text: abi::Text) {
    guarded((), || {
        // SAFETY: the plugin gives back the handle that `create` got, which is never freed.
        let Some(handle) = (unsafe { handle.cast::<Handle>().as_ref() }) else { return };
        // What is for finding mistakes, and is shown only where somebody has asked for it, is shown whole.
        if level <= abi::LOG_INFO && !handle.one_more_line() {
            return;
        }
        let Handle { channel, plugin, .. } = handle;
        // SAFETY: texts live for the call.
        let (id, text) = unsafe { (copied(id, NAME_MAX), copied(text, LINE_MAX)) };
        let id = (!id.is_empty()).then_some(id);
        let id = id.as_deref();
        match level {
            abi::LOG_ERROR => tracing::error!(channel, plugin, id, "{text}"),
            abi::LOG_WARN => tracing::warn!(channel, plugin, id, "{text}"),
            abi::LOG_INFO => tracing::info!(channel, plugin, id, "{text}"),
            abi::LOG_DEBUG => tracing::debug!(channel, plugin, id, "{text}"),
            _ => tracing::trace!(channel, plugin, id, "{text}"),
        }
    });
}

unsafe extern "C" fn explain(_handle: *const abi::Channel, text: abi::Text) {
    guarded((), || {
        // SAFETY: the text lives for the length of the call.
        EXPLAINED.set(unsafe { copied(text, REASON_MAX) });
    });
}

unsafe extern "C" fn enqueue(pointer: *const abi::Worker, submission: *const abi::Submission) -> u32 {
    guarded(abi::ENQUEUE_BAD, || {
        // SAFETY: the plugin's promise in the contract.
        let Some(worker) = (unsafe { worker(pointer) }) else { return abi::ENQUEUE_GONE };
        // SAFETY: the plugin lends the submission and all it leads to for the length of the call.
        let read = match unsafe { read_submission(submission) } {
            Ok(read) => read,
            Err(problem) => {
                worker.complain(&format!("it brought a message in that {problem}"));
                return abi::ENQUEUE_BAD;
            }
        };
        let origin = match worker.origin(read.raw.of) {
            Ok(origin) => origin,
            Err(answer) => return answer,
        };
        let has = |bit: u32| read.raw.flags & bit != 0;
        if has(abi::SUBMISSION_AS_ORIGINAL) && origin.is_none() {
            worker.complain(
                "it brought a message in under an original source channel without naming a delivery",
            );
            return abi::ENQUEUE_BAD;
        }
        let usable: Vec<Submitted<'_>> = read.recipients.iter().flatten().cloned().collect();
        let mut answers = Vec::new();
        if !usable.is_empty() {
            let submission = Submission {
                channel: &worker.instance.channel,
                origin,
                as_original: has(abi::SUBMISSION_AS_ORIGINAL),
                sender: read.sender,
                wishes: read.wishes,
                recipients: &usable,
                pieces: &read.pieces,
                eight_bit: has(abi::SUBMISSION_EIGHT_BIT),
                smtputf8: has(abi::SUBMISSION_SMTPUTF8),
                on_hold: has(abi::SUBMISSION_ON_HOLD),
            };
            match worker.submit(&submission) {
                Some(said) => answers = said,
                None => return abi::ENQUEUE_CLOSED,
            }
        }
        let mut answers = answers.into_iter();
        for (position, recipient) in (0..).zip(&read.recipients) {
            let outcome = match recipient {
                Some(_) => answers.next().unwrap_or_else(|| Outcome::Deferred {
                    status: Status { class: 4, subject: 3, detail: 0 },
                    text: "nobody answered for the message".to_owned(),
                    peer: String::new(),
                }),
                None => Outcome::Failed {
                    status: Status { class: 5, subject: 1, detail: 3 },
                    text: "the address is too long, or not UTF-8".to_owned(),
                    peer: String::new(),
                },
            };
            if let Some(answered) = read.raw.answered {
                let lent = lent_outcome(&outcome);
                // SAFETY: the plugin's promise: a function of this type, which takes its own context and does not unwind.
                unsafe { answered(read.raw.context, position, &raw const lent) };
            }
        }
        abi::ENQUEUE_DONE
    })
}

/// A submission as far as the host looks into it.
struct Read<'s> {
    raw: abi::Submission,
    sender: &'s str,
    wishes: Wishes,
    /// `None` for an address that cannot be one.
    recipients: Vec<Option<Submitted<'s>>>,
    pieces: Vec<&'s [u8]>,
}

/// # Safety
/// The pointer is null, or leads to a submission that lives for `'s` with everything it leads to.
unsafe fn read_submission<'s>(pointer: *const abi::Submission) -> Result<Read<'s>, &'static str> {
    // SAFETY: the caller's promise; the size comes first in every version.
    let size = unsafe { pointer.cast::<u32>().as_ref() }.ok_or("is a null pointer")?;
    if (*size as usize) < abi::Submission::SIZE_FIRST {
        return Err("is smaller than it must be");
    }
    // SAFETY: as above.
    let raw = unsafe { taken(pointer, *size as usize) };
    let stride = raw.recipient_size as usize;
    if raw.recipient_count == 0 || raw.recipients.is_null() {
        return Err("has no recipients");
    }
    if raw.recipient_count > RECIPIENTS_MAX {
        return Err("has more than 100000 recipients");
    }
    if stride < offset_of!(abi::Submitted, notify) || !stride.is_multiple_of(align_of::<abi::Submitted>()) {
        return Err("has recipients that are smaller than they must be");
    }
    if raw.piece_count > PIECES_MAX || (raw.piece_count > 0 && raw.pieces.is_null()) {
        return Err("has too many pieces, or none where it says so");
    }
    // SAFETY: as above.
    let sender = unsafe { address(raw.sender) }.ok_or("has a sender that is too long, or not UTF-8")?;
    // SAFETY: as above.
    let envelope_id = unsafe { address(raw.envelope_id) };
    let wishes = Wishes {
        returned: u8::try_from(raw.returned).ok().and_then(Return::from_number).flatten(),
        envelope_id: envelope_id.filter(|id| wishes::is_envelope_id(id)).unwrap_or_default().to_owned(),
        ..Wishes::default()
    };
    let recipients = (0..raw.recipient_count).map(|at| {
        // SAFETY: below the count; the plugin states the stride; it lives for `'s`.
        let recipient = unsafe { taken(raw.recipients.byte_add(at * stride), stride) };
        // SAFETY: as above.
        let texts =
            unsafe { (address(recipient.address)?, address(recipient.original)?, address(recipient.origin)) };
        let (address, original, origin) = texts;
        let notify = u8::try_from(recipient.notify).ok().and_then(Notify::from_bits).unwrap_or_default();
        let origin = origin.filter(|origin| wishes::is_original(origin)).unwrap_or_default();
        let wishes = RecipientWishes { notify, original: origin.to_owned() };
        let original = if original.is_empty() { address } else { original };
        Some(Submitted { address, original, wishes })
    });
    let recipients = recipients.collect();
    let mut pieces = Vec::with_capacity(raw.piece_count);
    let mut octets = 0_usize;
    for at in 0..raw.piece_count {
        // SAFETY: below the count.
        let piece = unsafe { *raw.pieces.add(at) };
        octets = octets.saturating_add(piece.len);
        if octets > OCTETS_MAX || (piece.data.is_null() && piece.len > 0) {
            return Err("has more content than anybody takes, or a null pointer for it");
        }
        if piece.len > 0 {
            // SAFETY: not null; the plugin's promise that so many bytes are there for `'s`.
            pieces.push(unsafe { std::slice::from_raw_parts(piece.data, piece.len) });
        }
    }
    Ok(Read { raw, sender, wishes, recipients, pieces })
}

/// A structure of the plugin as far as it has one: fields that an older plugin does not know are zero.
///
/// # Safety
/// So many octets are there. The structure is one of the contract, where every field may be zero.
pub(crate) unsafe fn taken<T: Copy>(pointer: *const T, size: usize) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the caller's promise; no more than fits is copied.
    unsafe {
        let octets = size.min(size_of::<T>());
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), value.as_mut_ptr().cast(), octets);
        value.assume_init()
    }
}

/// Text that is absent when it is empty.
fn lent_text(text: &str) -> abi::Text {
    if text.is_empty() { abi::Text::NONE } else { abi::Text::of(text) }
}

/// `None` when it cannot be an address. Absent text is empty.
///
/// # Safety
/// The text is absent, or lives for `'s`.
unsafe fn address<'s>(text: abi::Text) -> Option<&'s str> {
    if text.data.is_null() || text.len == 0 {
        return Some("");
    }
    if text.len > ADDRESS_MAX {
        return None;
    }
    // SAFETY: the caller's promise.
    std::str::from_utf8(unsafe { std::slice::from_raw_parts(text.data, text.len) }).ok()
}

/// An outcome in the form that a plugin sees; it borrows the texts.
fn lent_outcome(outcome: &Outcome) -> abi::Outcome {
    let kind = match outcome {
        Outcome::Delivered { .. } => abi::OUTCOME_DELIVERED,
        Outcome::Deferred { .. } => abi::OUTCOME_DEFERRED,
        Outcome::Failed { .. } => abi::OUTCOME_FAILED,
    };
    let Status { class, subject, detail } = outcome.status();
    abi::Outcome {
        size: size_of::<abi::Outcome>() as u32,
        kind,
        class: u16::from(class),
        subject,
        detail,
        handover: match outcome {
            Outcome::Delivered { handover: Handover::Relayed, .. } => abi::HANDOVER_RELAYED as u16,
            Outcome::Delivered { handover: Handover::PassedOn, .. } => abi::HANDOVER_PASSED_ON as u16,
            _ => abi::HANDOVER_FINAL as u16,
        },
        text: abi::Text::of(outcome.text()),
        peer: abi::Text::of(outcome.peer()),
    }
}

/// Calls a routine: what the plugin answered, and the bytes that it stored and says it stored.
pub(crate) fn route(function: Route, routine: &str, argument: &str, room: usize) -> (u32, Vec<u8>, usize) {
    let mut answer = vec![0_u8; room];
    let mut length = 0_usize;
    let (name, argument) = (abi::Text::of(routine), abi::Text::of(argument));
    // SAFETY: the function belongs to a library that is never unloaded; texts and room live for the length of the call.
    let status = unsafe { function(name, argument, answer.as_mut_ptr(), room, &raw mut length) };
    answer.truncate(length);
    (status, answer, length)
}

/// # Safety
/// The pointer is null, or leads to an outcome whose texts live for the length of the call.
unsafe fn read_outcome(outcome: *const abi::Outcome) -> Result<Outcome, &'static str> {
    // SAFETY: the caller's promise; the size comes first in every version.
    let size = unsafe { outcome.cast::<u32>().as_ref() }.ok_or("is a null pointer")?;
    if (*size as usize) < size_of::<abi::Outcome>() {
        return Err("is smaller than it must be");
    }
    // SAFETY: as above.
    let outcome = unsafe { &*outcome };
    if !matches!(outcome.class, 2 | 4 | 5) || outcome.subject > 999 || outcome.detail > 999 {
        return Err("has an impossible status code");
    }
    // A remote host may well say 5.1.1 in a 4xx reply; what the plugin decided counts, and the code is made to agree.
    let status = |class: u8| Status { class, subject: outcome.subject, detail: outcome.detail };
    // SAFETY: as above.
    let (text, peer) = unsafe { (copied(outcome.text, OUTCOME_MAX), copied(outcome.peer, NAME_MAX)) };
    match outcome.kind {
        abi::OUTCOME_DELIVERED => {
            let handover = match u32::from(outcome.handover) {
                abi::HANDOVER_RELAYED => Handover::Relayed,
                abi::HANDOVER_PASSED_ON => Handover::PassedOn,
                _ => Handover::Final,
            };
            Ok(Outcome::Delivered { status: status(2), text, peer, handover })
        }
        abi::OUTCOME_DEFERRED => Ok(Outcome::Deferred { status: status(4), text, peer }),
        abi::OUTCOME_FAILED => Ok(Outcome::Failed { status: status(5), text, peer }),
        _ => Err("is of an unknown kind"),
    }
}

/// A bounded copy that is safe to show.
///
/// # Safety
/// The text is absent, or lives for the length of the call.
unsafe fn copied(text: abi::Text, most: usize) -> String {
    if text.data.is_null() || text.len == 0 {
        return String::new();
    }
    // One byte more than is kept, so that what was cut can be seen to be cut.
    // SAFETY: the caller's promise; never more than the plugin said it has.
    let bytes = unsafe { std::slice::from_raw_parts(text.data, text.len.min(most + 1)) };
    one_line(bytes, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(recipients: *const abi::Submitted, stride: usize) -> abi::Submission {
        abi::Submission {
            size: size_of::<abi::Submission>() as u32,
            flags: 0,
            of: 0,
            sender: abi::Text::NONE,
            recipients,
            recipient_count: 2,
            recipient_size: stride as u32,
            returned: 0,
            pieces: std::ptr::null(),
            piece_count: 0,
            answered: None,
            context: std::ptr::null_mut(),
            envelope_id: abi::Text::NONE,
        }
    }

    #[test]
    fn recipients_of_a_plugin_that_knows_no_wishes_are_read() {
        // A recipient of the first version: two texts and nothing behind them.
        let old = [["a@b", "A@b"], ["c@d", ""]].map(|pair| pair.map(abi::Text::of));
        let stride = size_of::<[abi::Text; 2]>();
        let raw = submission(old.as_ptr().cast(), stride);
        // SAFETY: everything lives to the end of this function, and the stride is that of the array.
        let read = unsafe { read_submission(&raw const raw) }.unwrap_or_else(|why| panic!("{why}"));
        let recipients: Vec<_> = read.recipients.iter().flatten().collect();
        assert_eq!((recipients[0].address, recipients[0].original), ("a@b", "A@b"));
        assert_eq!((recipients[1].address, recipients[1].original), ("c@d", "c@d"));
        assert!(recipients.iter().all(|one| one.wishes.is_default()));
        // SAFETY: as above.
        assert!(unsafe { read_submission(&raw const raw) }.is_ok());
        let raw = submission(old.as_ptr().cast(), stride - 8);
        // SAFETY: as above; it is refused before anything is read.
        assert!(unsafe { read_submission(&raw const raw) }.is_err());
    }

    #[test]
    fn wishes_that_mean_nothing_are_left_out() {
        let one = |notify, origin| abi::Submitted {
            address: abi::Text::of("a@b"),
            original: abi::Text::NONE,
            notify,
            reserved: 0,
            origin: abi::Text::of(origin),
        };
        let new = [one(6, "rfc822;x@y"), one(3, "no type")];
        let raw = submission(new.as_ptr(), size_of::<abi::Submitted>());
        // SAFETY: everything lives to the end of this function.
        let read = unsafe { read_submission(&raw const raw) }.unwrap_or_else(|why| panic!("{why}"));
        let wishes: Vec<_> = read.recipients.iter().flatten().map(|one| &one.wishes).collect();
        assert_eq!((wishes[0].notify.bits(), wishes[0].original.as_str()), (6, "rfc822;x@y"));
        assert!(wishes[1].is_default());
    }

    #[test]
    fn wishes_about_a_message_are_read_where_the_plugin_knows_them() {
        let to = [["a@b", ""], ["c@d", ""]].map(|pair| pair.map(abi::Text::of));
        let read = |size: usize, returned: u32, envelope_id: &str| {
            let mut raw = submission(to.as_ptr().cast(), size_of::<[abi::Text; 2]>());
            (raw.size, raw.returned) = (size as u32, returned);
            raw.envelope_id = abi::Text::of(envelope_id);
            // SAFETY: everything lives to the end of this function, and the size is at most that of the structure.
            let read = unsafe { read_submission(&raw const raw) }.map_err(str::to_owned);
            read.map(|read| (read.wishes.returned, read.wishes.envelope_id))
        };
        let (now, first) = (size_of::<abi::Submission>(), abi::Submission::SIZE_FIRST);
        assert_eq!(read(now, 2, "QQ+2B1"), Ok((Some(Return::Headers), "QQ+2B1".to_owned())));
        assert_eq!(read(first, 0, "not there"), Ok((None, String::new())));
        assert_eq!(read(now, 3, "not encoded"), Ok((None, String::new())));
        assert_eq!(read(now, 257, &"x".repeat(101)), Ok((None, String::new())));
        assert!(read(first - 1, 0, "").is_err());
    }
}
