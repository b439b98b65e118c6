//! The edge itself: the exported table, its functions, and the only `unsafe` of a plugin written in Rust.
//!
//! Everything here turns what the host lends (pointers and lengths) into borrowed Rust values, and back. The promises
//! relied upon are the host's, written in `docs/internals/abi.md`; each `SAFETY` comment names the one it needs.
//!
//! # Not here
//! Anything that an author calls by name, apart from [`export_channel!`](crate::export_channel); catching panics (`fence`).
#![allow(unsafe_code)]

use crate::context::{Context, Level, Log, Setting, SettingKind};
use crate::delivery::{Delivery, Next, Worker};
use crate::fence::fenced;
use crate::{
    Channel, CreateError, Handover, NotTaken, OptionKind, OptionSpec, Outcome, Routine, Status, Submission,
};
use sluice_abi as abi;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, offset_of};
use std::time::Duration;

mod filtering;
mod lent;
pub(crate) mod stage;

pub use filtering::{HasFilter, RawFiltered};
pub use lent::RawDelivery;

/// Exports a type that implements [`Channel`](crate::Channel) as the plugin of this library. Once per library.
#[macro_export]
macro_rules! export_channel {
    ($channel:ty) => {
        const _: () = {
            const OPTIONS: &[$crate::OptionSpec] = <$channel as $crate::Channel>::OPTIONS;
            static TABLE: $crate::export::OptionTable<{ OPTIONS.len() }> =
                $crate::export::OptionTable::new(OPTIONS);
            const ROUTINES: &[$crate::Routine] = <$channel as $crate::Channel>::ROUTINES;
            static NAMES: $crate::export::RoutineTable<{ ROUTINES.len() }> =
                $crate::export::RoutineTable::new(ROUTINES);
            #[unsafe(export_name = "sluice_plugin")]
            #[used]
            static PLUGIN: $crate::export::Exported =
                $crate::export::Exported::new::<$channel, _, _>(&TABLE, &NAMES);

            impl $crate::export::IsExported for $channel {
                fn exported() -> &'static $crate::export::Exported {
                    &PLUGIN
                }
            }
        };
    };
}

/// Exports a type that implements [`Filter`](crate::Filter) as the plugin of this library. Once per library.
#[macro_export]
macro_rules! export_filter {
    ($filter:ty) => {
        const _: () = {
            type Channel = $crate::FilterOnly<$filter>;
            const OPTIONS: &[$crate::OptionSpec] = <Channel as $crate::Channel>::OPTIONS;
            static TABLE: $crate::export::OptionTable<{ OPTIONS.len() }> =
                $crate::export::OptionTable::new(OPTIONS);
            static NAMES: $crate::export::RoutineTable<0> = $crate::export::RoutineTable::new(&[]);
            #[unsafe(export_name = "sluice_plugin")]
            #[used]
            static PLUGIN: $crate::export::Exported =
                $crate::export::Exported::new::<Channel, _, _>(&TABLE, &NAMES).with_filter::<Channel>();
        };
    };
}

/// The option table in the form that crosses the edge.
#[repr(transparent)]
#[derive(Debug)]
pub struct OptionTable<const N: usize>([abi::OptionSpec; N]);

// SAFETY: the pointers in it lead to `'static` text that nobody changes (`OptionSpec` has only `&'static str`).
unsafe impl<const N: usize> Sync for OptionTable<N> {}

impl<const N: usize> OptionTable<N> {
    /// The same table, made when the plugin is compiled.
    #[must_use]
    pub const fn new(options: &[OptionSpec]) -> OptionTable<N> {
        const EMPTY: abi::OptionSpec = abi::OptionSpec {
            name: abi::Text::NONE,
            kind: 0,
            flags: 0,
            default: abi::Text::NONE,
            help: abi::Text::NONE,
            min: 0,
            max: 0,
        };
        let mut table = [EMPTY; N];
        let mut at = 0;
        while at < N {
            let option = &options[at];
            table[at].name = abi::Text::of(option.name);
            table[at].kind = match option.kind {
                OptionKind::Text => abi::OPTION_TEXT,
                OptionKind::Integer => abi::OPTION_INTEGER,
                OptionKind::Switch => abi::OPTION_SWITCH,
                OptionKind::Seconds => abi::OPTION_SECONDS,
                OptionKind::Path => abi::OPTION_PATH,
            };
            if let Some(default) = option.default {
                table[at].default = abi::Text::of(default);
            }
            table[at].help = abi::Text::of(option.help);
            if option.required {
                table[at].flags = abi::OPTION_FLAG_REQUIRED;
            }
            if let Some((min, max)) = option.range {
                table[at].min = min;
                table[at].max = if max == u64::MAX { 0 } else { max };
            }
            at += 1;
        }
        OptionTable(table)
    }
}

/// The names of the routines in the form that crosses the edge.
#[repr(transparent)]
#[derive(Debug)]
pub struct RoutineTable<const N: usize>([abi::Text; N]);

// SAFETY: the pointers in it lead to `'static` text that nobody changes.
unsafe impl<const N: usize> Sync for RoutineTable<N> {}

impl<const N: usize> RoutineTable<N> {
    /// The names, made when the plugin is compiled.
    #[must_use]
    pub const fn new(routines: &[Routine]) -> RoutineTable<N> {
        let mut names = [abi::Text::NONE; N];
        let mut at = 0;
        while at < N {
            names[at] = abi::Text::of(routines[at].name);
            at += 1;
        }
        RoutineTable(names)
    }
}

/// The data symbol `sluice_plugin`.
#[repr(transparent)]
#[derive(Debug)]
pub struct Exported(abi::Plugin);

// SAFETY: the pointers in it lead to `'static` data that nobody changes.
unsafe impl Sync for Exported {}

/// A channel that is exported by [`export_channel!`](crate::export_channel), which implements this.
pub trait IsExported: Channel {
    /// Its table.
    fn exported() -> &'static Exported;
}

impl Exported {
    /// The table of the plugin `C`.
    #[must_use]
    pub const fn new<C: Channel, const N: usize, const R: usize>(
        options: &'static OptionTable<N>,
        routines: &'static RoutineTable<R>,
    ) -> Exported {
        Exported(abi::Plugin {
            abi_version: abi::ABI_VERSION,
            size: size_of::<abi::Plugin>() as u32,
            name: abi::Text::of(C::NAME),
            version: abi::Text::of(C::VERSION),
            description: abi::Text::of(C::DESCRIPTION),
            options: options.0.as_ptr(),
            option_count: N,
            option_size: size_of::<abi::OptionSpec>() as u32,
            reserved: 0,
            create: Some(create::<C>),
            run: Some(run::<C>),
            stop: Some(stop::<C>),
            destroy: Some(destroy::<C>),
            route: if R == 0 { None } else { Some(route::<C>) },
            routines: if R == 0 { std::ptr::null() } else { routines.0.as_ptr() },
            routine_count: R,
            filter: None,
            features: 0,
            needs: 0,
        })
    }

    /// The same table, of a plugin that is a filter besides.
    #[must_use]
    pub const fn with_filter<C: HasFilter>(mut self) -> Exported {
        self.0.filter = Some(filtering::filter::<C>);
        self
    }

    /// The same table, of a plugin that does what these bits say, and cannot do without what those say of a host.
    #[must_use]
    pub const fn with_features(mut self, features: u32, needs: u32) -> Exported {
        self.0.features = features as u64;
        self.0.needs = needs as u64;
        self
    }
}

/// The host's callbacks, all of them present.
#[derive(Clone, Copy, Debug)]
struct Callbacks {
    next: unsafe extern "C" fn(*const abi::Worker, u64, *mut *const abi::Delivery) -> u32,
    settle: unsafe extern "C" fn(*const abi::Worker, u64, u32, *const abi::Outcome) -> u32,
    finish: unsafe extern "C" fn(*const abi::Worker, u64) -> u32,
    deadline: unsafe extern "C" fn(*const abi::Worker, u64) -> u64,
    log: unsafe extern "C" fn(*const abi::Channel, u32, abi::Text, abi::Text),
    explain: unsafe extern "C" fn(*const abi::Channel, abi::Text),
    /// Not in older hosts.
    enqueue: Option<unsafe extern "C" fn(*const abi::Worker, *const abi::Submission) -> u32>,
}

/// What the host keeps for us between calls.
struct Kept<C> {
    channel: C,
    callbacks: Callbacks,
    log: RawLog,
}

unsafe extern "C" fn create<C: Channel>(
    host: *const abi::Host,
    create: *const abi::Create,
    channel: *mut *mut c_void,
) -> i32 {
    // SAFETY: the host gives pointers to its table and to the settings, both at least as large as their `size` says,
    // and alive at least as long as this call; the first two fields of the table never move.
    let (callbacks, create) = match unsafe { (callbacks(host), create.as_ref()) } {
        (Some(callbacks), Some(create)) if !channel.is_null() => (callbacks, create),
        _ => return abi::STATUS_REFUSED,
    };
    let log = RawLog { callback: callbacks.log, handle: create.handle };
    let made = fenced(|| {
        // SAFETY: as above.
        let context = unsafe { context::<C>(create, log) }?;
        C::create(context)
    });
    let (status, text) = match made {
        Ok(Ok(made)) => {
            let kept = Box::new(Kept { channel: made, callbacks, log });
            // SAFETY: not null (checked above), and the host's own place for this pointer.
            unsafe { *channel = Box::into_raw(kept).cast() };
            return abi::STATUS_OK;
        }
        Ok(Err(CreateError::Refused(text))) => (abi::STATUS_REFUSED, text),
        Ok(Err(CreateError::Failed(text))) => (abi::STATUS_FAILED, text),
        Err(text) => (abi::STATUS_PANIC, text),
    };
    // SAFETY: the callback takes any text that is alive for the length of the call.
    unsafe { (callbacks.explain)(create.handle, abi::Text::of(&text)) };
    status
}

unsafe extern "C" fn run<C: Channel>(channel: *mut c_void, worker: *const abi::Worker) -> i32 {
    // SAFETY: the host gives back the pointer that `create` stored, and not after `destroy`.
    let Some(kept) = (unsafe { channel.cast::<Kept<C>>().as_ref() }) else { return abi::STATUS_FAILED };
    let raw = RawWorker { pointer: worker, callbacks: kept.callbacks, log: kept.log, run: PhantomData };
    let (status, text) = match fenced(|| kept.channel.run(&mut Worker { raw })) {
        Ok(Ok(())) => return abi::STATUS_OK,
        Ok(Err(error)) => (abi::STATUS_FAILED, error.0),
        Err(text) => (abi::STATUS_PANIC, text),
    };
    // SAFETY: the callback takes any text that is alive for the length of the call.
    unsafe { (kept.callbacks.explain)(kept.log.handle, abi::Text::of(&text)) };
    status
}

unsafe extern "C" fn stop<C: Channel>(channel: *mut c_void) {
    // SAFETY: as in `run`.
    let Some(kept) = (unsafe { channel.cast::<Kept<C>>().as_ref() }) else { return };
    if let Err(text) = fenced(|| kept.channel.stop()) {
        kept.log.write(Level::Error, None, &format!("stop: {text}"));
    }
}

unsafe extern "C" fn destroy<C: Channel>(channel: *mut c_void) {
    if channel.is_null() {
        return;
    }
    // SAFETY: the host calls this once, with the pointer that `create` stored, after every `run` has returned.
    let kept = unsafe { Box::from_raw(channel.cast::<Kept<C>>()) };
    let log = kept.log;
    if let Err(text) = fenced(|| drop(kept)) {
        log.write(Level::Error, None, &format!("destroy: {text}"));
    }
}

unsafe extern "C" fn route<C: Channel>(
    routine: abi::Text,
    argument: abi::Text,
    answer: *mut u8,
    room: usize,
    length: *mut usize,
) -> u32 {
    // SAFETY: the host's texts live for the length of the call.
    let (Some(routine), Some(argument)) = (unsafe { (borrowed(&routine), borrowed(&argument)) }) else {
        return abi::ROUTE_MISS;
    };
    let Some(found) = C::ROUTINES.iter().find(|one| one.name.eq_ignore_ascii_case(routine)) else {
        return abi::ROUTE_UNKNOWN;
    };
    match fenced(|| (found.call)(argument)) {
        Ok(None) => abi::ROUTE_MISS,
        Ok(Some(text)) if text.len() > room || answer.is_null() || length.is_null() => abi::ROUTE_TOO_LONG,
        Ok(Some(text)) => {
            // SAFETY: the host's room has so many bytes; neither pointer is null, and the text is no part of the room.
            unsafe {
                std::ptr::copy_nonoverlapping(text.as_ptr(), answer, text.len());
                *length = text.len();
            }
            abi::ROUTE_FOUND
        }
        Err(_) => abi::ROUTE_PANIC,
    }
}

/// # Safety
/// `host` is null, or leads to a host table that is never freed.
unsafe fn callbacks(host: *const abi::Host) -> Option<Callbacks> {
    if host.is_null() {
        return None;
    }
    // SAFETY: the caller's promise; version and size are the first fields of every version of the table.
    let (version, size) = unsafe { ((*host).abi_version, (*host).size) };
    if version != abi::ABI_VERSION || (size as usize) < abi::Host::SIZE_FIRST {
        return None;
    }
    // SAFETY: the caller's promise, and the size was checked; no more is read than there is.
    let host = unsafe { taken(host, size as usize) };
    Some(Callbacks {
        next: host.next?,
        settle: host.settle?,
        finish: host.finish?,
        deadline: host.deadline?,
        log: host.log?,
        explain: host.explain?,
        enqueue: host.enqueue,
    })
}

/// # Safety
/// The settings live, and are as many as `create` says.
unsafe fn context<C: Channel>(create: &abi::Create, log: RawLog) -> Result<Context, CreateError> {
    if (create.size as usize) < size_of::<abi::Create>()
        || (create.setting_size as usize) < size_of::<abi::Setting>()
    {
        return Err(CreateError::refused("the host's settings are smaller than this plugin needs"));
    }
    // SAFETY: the host's texts live for the length of `create`.
    let text = |text: &abi::Text| match unsafe { borrowed(text) } {
        Some(text) => Ok(text.to_owned()),
        None => Err(CreateError::refused("the host's settings are not UTF-8")),
    };
    let mut settings = Vec::with_capacity(create.setting_count);
    for at in 0..create.setting_count {
        // SAFETY: `at` is below the count; the host states the stride.
        let setting = unsafe { &*create.settings.byte_add(at * create.setting_size as usize) };
        let kind = match setting.kind {
            abi::SETTING_KEYWORD => SettingKind::Keyword,
            abi::SETTING_OPTION => SettingKind::Option,
            abi::SETTING_FACT => SettingKind::Fact,
            _ => continue, // A kind from a newer host: not for us.
        };
        settings.push(Setting { kind, name: text(&setting.name)?, value: text(&setting.value)? });
    }
    Ok(Context { channel: text(&create.channel)?, settings, options: C::OPTIONS, log: Log { raw: log } })
}

/// A structure of the host as far as it has one: fields that an older host does not know are zero.
///
/// # Safety
/// So many octets are there. The structure is one of the contract, where every field may be zero.
unsafe fn taken<T: Copy>(pointer: *const T, size: usize) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the caller's promise; no more than fits is copied.
    unsafe {
        let octets = size.min(size_of::<T>());
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), value.as_mut_ptr().cast(), octets);
        value.assume_init()
    }
}

/// `None` when it is not UTF-8. Absent text is empty.
///
/// # Safety
/// The text lives for `'t` and nobody changes it.
unsafe fn borrowed<'t>(text: &abi::Text) -> Option<&'t str> {
    if text.data.is_null() || text.len == 0 {
        return Some("");
    }
    // SAFETY: the caller's promise.
    std::str::from_utf8(unsafe { std::slice::from_raw_parts(text.data, text.len) }).ok()
}

/// The way to the log across the edge.
#[derive(Clone, Copy, Debug)]
pub struct RawLog {
    callback: unsafe extern "C" fn(*const abi::Channel, u32, abi::Text, abi::Text),
    handle: *const abi::Channel,
}

// SAFETY: the host's promise: `log` may be called from any thread, the handle is never freed.
unsafe impl Send for RawLog {}
// SAFETY: as above.
unsafe impl Sync for RawLog {}

impl RawLog {
    /// A log that nobody reads.
    #[cfg(test)]
    pub(crate) fn unread() -> RawLog {
        unsafe extern "C" fn ignore(_: *const abi::Channel, _: u32, _: abi::Text, _: abi::Text) {}
        RawLog { callback: ignore, handle: std::ptr::null() }
    }

    pub(crate) fn write(self, level: Level, id: Option<&str>, text: &str) {
        let level = match level {
            Level::Error => abi::LOG_ERROR,
            Level::Warn => abi::LOG_WARN,
            Level::Info => abi::LOG_INFO,
            Level::Debug => abi::LOG_DEBUG,
            Level::Trace => abi::LOG_TRACE,
        };
        let id = id.map_or(abi::Text::NONE, abi::Text::of);
        // SAFETY: both texts live for the length of the call.
        unsafe { (self.callback)(self.handle, level, id, abi::Text::of(text)) };
    }
}

/// A worker across the edge; `'w` is the length of one `run`.
#[derive(Clone, Copy, Debug)]
pub struct RawWorker<'w> {
    pointer: *const abi::Worker,
    callbacks: Callbacks,
    log: RawLog,
    run: PhantomData<&'w ()>,
}

// SAFETY: the host's promise: callbacks may be called from any thread while `run` has not returned, which is `'w`.
unsafe impl Send for RawWorker<'_> {}
// SAFETY: as above.
unsafe impl Sync for RawWorker<'_> {}

impl<'w> RawWorker<'w> {
    pub(crate) fn log(&self) -> RawLog {
        self.log
    }

    pub(crate) fn enqueue(&self, submission: &Submission<'_>) -> Result<Vec<Outcome>, NotTaken> {
        let Some(enqueue) = self.callbacks.enqueue else { return Err(NotTaken::Unsupported) };
        let told = |text: &str| if text.is_empty() { abi::Text::NONE } else { abi::Text::of(text) };
        let recipients: Vec<abi::Submitted> = submission
            .recipients
            .iter()
            .map(|to| abi::Submitted {
                address: abi::Text::of(&to.address),
                original: told(&to.original),
                notify: u32::from(to.notify),
                reserved: 0,
                origin: told(&to.origin),
            })
            .collect();
        let filled = submission.pieces.iter().filter(|piece| !piece.is_empty());
        let pieces: Vec<abi::Piece> =
            filled.map(|piece| abi::Piece { data: piece.as_ptr(), len: piece.len() }).collect();
        let flag = |on: bool, bit: u32| if on { bit } else { 0 };
        let unanswered = Outcome::deferred(Status::new(4, 3, 0), "the hub said nothing");
        let mut answers: Vec<Outcome> = vec![unanswered; recipients.len()];
        let raw = abi::Submission {
            size: size_of::<abi::Submission>() as u32,
            flags: flag(submission.eight_bit, abi::SUBMISSION_EIGHT_BIT)
                | flag(submission.smtputf8, abi::SUBMISSION_SMTPUTF8)
                | flag(submission.as_original, abi::SUBMISSION_AS_ORIGINAL)
                | flag(submission.on_hold, abi::SUBMISSION_ON_HOLD),
            of: submission.of,
            sender: abi::Text::of(&submission.sender),
            recipients: recipients.as_ptr(),
            recipient_count: recipients.len(),
            recipient_size: size_of::<abi::Submitted>() as u32,
            returned: u32::from(submission.returned),
            pieces: pieces.as_ptr(),
            piece_count: pieces.len(),
            answered: Some(answered),
            context: (&raw mut answers).cast(),
            envelope_id: told(&submission.envelope_id),
        };
        // SAFETY: everything that the submission leads to lives for the length of the call, and nothing else touches
        // `answers` meanwhile; `'w` has not ended.
        match unsafe { enqueue(self.pointer, &raw const raw) } {
            abi::ENQUEUE_DONE => Ok(answers),
            abi::ENQUEUE_GONE => Err(NotTaken::Gone),
            abi::ENQUEUE_CLOSED => Err(NotTaken::Closed),
            _ => Err(NotTaken::Bad),
        }
    }

    pub(crate) fn next(&self, timeout: Duration) -> Next<'w> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let mut lent: *const abi::Delivery = std::ptr::null();
        // SAFETY: the pointer is the host's own, and `'w` has not ended.
        match unsafe { (self.callbacks.next)(self.pointer, timeout_ms, &raw mut lent) } {
            abi::NEXT_DELIVERY => match self.accept(lent) {
                Some(raw) => Next::Delivery(Delivery::new(raw)),
                None => Next::Idle,
            },
            abi::NEXT_POLL => Next::Poll,
            abi::NEXT_STOP => Next::Stop,
            _ => Next::Idle, // Also an answer from a newer host that we do not know.
        }
    }

    /// Looks at every text once, so that nobody has to afterwards.
    fn accept(&self, lent: *const abi::Delivery) -> Option<RawDelivery<'w>> {
        // SAFETY: the host stored a pointer to a delivery that lives until `finish` or the end of `run`; the size comes
        // first in every version.
        let size = unsafe { lent.cast::<u32>().as_ref() }.map(|size| *size as usize)?;
        // SAFETY: as above, and no more is read than there is.
        let delivery = unsafe { taken(lent, size) };
        let raw = RawDelivery { lent: Box::new(delivery), worker: *self };
        let sized = size >= abi::Delivery::SIZE_FIRST
            && delivery.recipient_size as usize >= offset_of!(abi::Recipient, notify);
        // SAFETY: the host's texts live as long as the delivery.
        let readable = |text: &abi::Text| unsafe { borrowed(text) }.is_some();
        let fits = sized
            && readable(&delivery.id)
            && readable(&delivery.sender)
            && readable(&delivery.next_hop)
            && readable(&delivery.envelope_id)
            && (0..delivery.recipient_count).all(|position| {
                let one = raw.at(position);
                readable(&one.address)
                    && readable(&one.original)
                    && readable(&one.domain)
                    && readable(&one.origin)
            });
        if fits {
            return Some(raw);
        }
        self.log.write(Level::Error, None, "the host's delivery cannot be read; it is given back");
        None // Dropping `raw` gives it back.
    }
}

/// Called by the host, within `enqueue` and on its thread, once for each recipient.
unsafe extern "C" fn answered(context: *mut c_void, position: u32, outcome: *const abi::Outcome) {
    // SAFETY: the context is the one that `enqueue` gave, which waits there untouched; the outcome is the host's and lives
    // for this call, and so do its texts.
    let (Some(answers), Some(outcome)) =
        (unsafe { (context.cast::<Vec<Outcome>>().as_mut(), outcome.as_ref()) })
    else {
        return;
    };
    let Some(place) = usize::try_from(position).ok().and_then(|at| answers.get_mut(at)) else { return };
    // SAFETY: as above. Whoever brought it in again has handed the sender's wishes on with it.
    *place = unsafe { outcome_of(outcome) }.handed_over(Handover::PassedOn);
}

/// # Safety
/// The texts of the outcome live.
unsafe fn outcome_of(outcome: &abi::Outcome) -> Outcome {
    // SAFETY: the caller's promise.
    let (text, peer) = unsafe { (borrowed(&outcome.text), borrowed(&outcome.peer)) };
    let (text, peer) = (text.unwrap_or_default().to_owned(), peer.unwrap_or_default().to_owned());
    let status = Status::new(u8::try_from(outcome.class).unwrap_or(4), outcome.subject, outcome.detail);
    let handover = match u32::from(outcome.handover) {
        abi::HANDOVER_RELAYED => Handover::Relayed,
        abi::HANDOVER_PASSED_ON => Handover::PassedOn,
        _ => Handover::Final,
    };
    match outcome.kind {
        abi::OUTCOME_DELIVERED => Outcome::Delivered { status, text, peer, handover },
        abi::OUTCOME_FAILED => Outcome::Failed { status, text, peer },
        _ => Outcome::Deferred { status, text, peer },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_not_ours_is_refused() {
        let host = abi::Host {
            abi_version: abi::ABI_VERSION,
            size: size_of::<abi::Host>() as u32,
            next: None,
            settle: None,
            finish: None,
            deadline: None,
            log: None,
            explain: None,
            enqueue: None,
            features: 0,
            program: abi::Text::NONE,
        };
        let old = abi::Host { abi_version: abi::ABI_VERSION + 1, ..host };
        let small = abi::Host { size: 16, ..host };
        for host in [&raw const host, &raw const old, &raw const small, std::ptr::null()] {
            // SAFETY: null, or a table that lives to the end of this function.
            assert!(unsafe { callbacks(host) }.is_none());
        }
    }

    struct Asked;

    impl Channel for Asked {
        const NAME: &'static str = "asked";
        const VERSION: &'static str = "1";
        const DESCRIPTION: &'static str = "has routines";
        const ROUTINES: &'static [Routine] = &[
            Routine { name: "upper", call: |argument| Some(argument.to_uppercase()) },
            Routine { name: "never", call: |_| None },
            Routine { name: "panics", call: |argument| panic!("asked for {argument}") },
        ];

        fn create(_: Context) -> Result<Self, CreateError> {
            Ok(Asked)
        }

        fn run(&self, _: &mut Worker<'_>) -> Result<(), crate::RunError> {
            Ok(())
        }
    }

    #[test]
    fn routines_are_found_by_name_fenced_and_bounded() {
        let ask = |routine: &str, argument: &str, room: usize| {
            let (mut answer, mut length) = ([0_u8; 8], 0);
            let (routine, argument) = (abi::Text::of(routine), abi::Text::of(argument));
            // SAFETY: the room is not larger than `answer`, and everything lives for the call.
            let status = unsafe {
                route::<Asked>(routine, argument, answer.as_mut_ptr(), room.min(8), &raw mut length)
            };
            (status, String::from_utf8_lossy(&answer[..length]).into_owned())
        };
        assert_eq!(ask("UPPER", "fred", 8), (abi::ROUTE_FOUND, "FRED".to_owned()));
        assert_eq!(ask("upper", "fred", 3), (abi::ROUTE_TOO_LONG, String::new()));
        assert_eq!(ask("upper", "", 0), (abi::ROUTE_FOUND, String::new()));
        assert_eq!(ask("never", "fred", 8).0, abi::ROUTE_MISS);
        assert_eq!(ask("panics", "fred", 8).0, abi::ROUTE_PANIC);
        assert_eq!(ask("other", "fred", 8).0, abi::ROUTE_UNKNOWN);
        let names = RoutineTable::<3>::new(Asked::ROUTINES).0;
        assert_eq!((names[0].len, names[2].len), (5, 6));
    }

    #[test]
    fn the_option_table_says_what_was_written() {
        const OPTIONS: &[OptionSpec] = &[
            OptionSpec::new("A", OptionKind::Seconds, "help").default_text("").within(1, u64::MAX),
            OptionSpec::new("BC", OptionKind::Path, "").required(),
        ];
        let table = OptionTable::<2>::new(OPTIONS).0;
        assert_eq!((table[0].kind, table[1].kind), (abi::OPTION_SECONDS, abi::OPTION_PATH));
        assert_eq!((table[0].name.len, table[1].name.len, table[0].help.len), (1, 2, 4));
        assert_eq!((table[0].flags, table[0].min, table[0].max), (0, 1, 0));
        assert_eq!(table[1].flags, abi::OPTION_FLAG_REQUIRED);
        // An empty default is a default; an absent one is null.
        assert!(!table[0].default.data.is_null() && table[1].default.data.is_null());
    }
}
