//! A host for tests: the callbacks of the contract over a list of deliveries, without a spool, a clock or a network.
//!
//! It calls a plugin through the table that the plugin exports, as a hub does, so that what is tested is what is shipped.
//!
//! # Invariants
//! What was lent stays readable until the stage is gone, and a stage that a plugin knows the address of is never gone: a thread of
//! the plugin may write to the log at any time.
//! # Not here
//! What an author of a test calls (`testing`).

use super::{Exported, borrowed, outcome_of};
use crate::testing::{Brought, BroughtTo, Ended, Line, Mail, Report, Settled};
use crate::{Level, NotTaken, Outcome, Setting, SettingKind, Status};
use sluice_abi as abi;
use std::collections::{HashMap, VecDeque};
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// A plugin that holds mail is told that nothing came so often before it is told to stop: time for what it does when idle.
const IDLE_MAX: u32 = 64;

/// Answers what a plugin brings in.
pub(crate) type Answer = dyn Fn(&Brought) -> Result<Vec<Outcome>, NotTaken> + Send + Sync;

/// What is to be played.
pub(crate) struct Play {
    pub(crate) channel: String,
    pub(crate) settings: Vec<Setting>,
    pub(crate) mails: Vec<Mail>,
    pub(crate) polls: u32,
    pub(crate) workers: usize,
    pub(crate) patience: Duration,
    pub(crate) answer: Box<Answer>,
    pub(crate) takes_mail: bool,
}

/// Everything that the plugin can reach by a pointer of ours.
struct Stage {
    answer: Box<Answer>,
    state: Mutex<State>,
    /// Told when the plugin is to be stopped.
    stopping: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Lent>,
    lent: Vec<Lent>,
    polls: u32,
    idles: u32,
    stopping: bool,
    faults: Vec<String>,
    log: Vec<Line>,
    explained: HashMap<ThreadId, String>,
    brought: Vec<Brought>,
}

/// A worker as the plugin names it.
struct Seat {
    stage: &'static Stage,
    number: usize,
    told: AtomicBool,
}

/// A delivery with everything it leads to.
struct Lent {
    mail: Arc<Mail>,
    token: u64,
    seat: usize,
    looked: usize,
    taken: bool,
    finished: bool,
    outcomes: Vec<Option<Outcome>>,
    raw: Box<abi::Delivery>,
    _recipients: Box<[abi::Recipient]>,
    _pieces: Box<[abi::Piece]>,
    _domains: Vec<String>,
}

// SAFETY: its pointers lead into what it owns itself, on the heap, which nobody changes.
unsafe impl Send for Lent {}

impl Lent {
    fn new(mail: Mail, token: u64, more: bool) -> Lent {
        let mail = Arc::new(mail);
        let told = |text: &str| if text.is_empty() { abi::Text::NONE } else { abi::Text::of(text) };
        let domains: Vec<String> = mail.recipients.iter().map(|one| one.domain()).collect();
        let recipients: Box<[abi::Recipient]> = mail
            .recipients
            .iter()
            .zip(&domains)
            .enumerate()
            .map(|(at, (one, domain))| abi::Recipient {
                // Not consecutive: nobody may count on that.
                index: 3 * u32::try_from(at).unwrap_or(u32::MAX / 3) + 1,
                reserved: 0,
                address: abi::Text::of(&one.address),
                original: abi::Text::of(if one.original.is_empty() { &one.address } else { &one.original }),
                domain: abi::Text::of(domain),
                notify: u32::from(one.notify),
                reserved_too: 0,
                origin: told(&one.origin),
            })
            .collect();
        let pieces: Box<[abi::Piece]> = mail
            .content
            .chunks(mail.piece_size.max(1))
            .map(|piece| abi::Piece { data: piece.as_ptr(), len: piece.len() })
            .collect();
        let flag = |on: bool, bit: u32| if on { bit } else { 0 };
        let raw = Box::new(abi::Delivery {
            size: size_of::<abi::Delivery>() as u32,
            flags: flag(!mail.content.is_ascii(), abi::DELIVERY_EIGHT_BIT)
                | flag(mail.smtputf8, abi::DELIVERY_SMTPUTF8)
                | flag(more, abi::DELIVERY_MORE)
                | flag(mail.transfer_priority.is_some(), abi::DELIVERY_MT_PRIORITY),
            token,
            lease: mail.lease,
            id: abi::Text::of(&mail.id),
            sender: abi::Text::of(&mail.sender),
            arrived_ms: mail.arrived_ms,
            body_size: mail.content.len() as u64,
            attempts: mail.attempts,
            priority: match mail.priority {
                crate::Priority::Urgent => 0,
                crate::Priority::Normal => 1,
                crate::Priority::Nonurgent => 2,
            },
            recipients: recipients.as_ptr(),
            recipient_count: recipients.len(),
            recipient_size: size_of::<abi::Recipient>() as u32,
            reserved: 0,
            pieces: pieces.as_ptr(),
            piece_count: pieces.len(),
            next_hop: told(&mail.next_hop),
            returned: u32::from(mail.returned),
            reserved_too: 0,
            envelope_id: told(&mail.envelope_id),
            transfer_priority: i32::from(mail.transfer_priority.unwrap_or(0)),
            reserved_three: 0,
        });
        Lent {
            token,
            seat: 0,
            looked: 0,
            taken: false,
            finished: false,
            outcomes: vec![None; recipients.len()],
            raw,
            _recipients: recipients,
            _pieces: pieces,
            _domains: domains,
            mail,
        }
    }
}

impl Stage {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, state: &mut State) {
        state.stopping = true;
        self.stopping.notify_all();
    }
}

/// The delivery that this worker holds under this token.
fn held(lent: &mut [Lent], seat: usize, token: u64) -> Option<&mut Lent> {
    lent.iter_mut().find(|one| one.token == token && one.seat == seat && !one.finished && !one.taken)
}

/// The table of callbacks; it lives for ever, as the contract says.
static HOST: Table = Table(host(Some(enqueue)));
/// The same of a hub that takes no mail from plugins.
static OLDER_HOST: Table = Table(host(None));

struct Table(abi::Host);

// SAFETY: the pointers in it lead to functions and constant text.
unsafe impl Sync for Table {}

const fn host(
    enqueue: Option<unsafe extern "C" fn(*const abi::Worker, *const abi::Submission) -> u32>,
) -> abi::Host {
    abi::Host {
        abi_version: abi::ABI_VERSION,
        size: size_of::<abi::Host>() as u32,
        next: Some(next),
        settle: Some(settle),
        finish: Some(finish),
        deadline: Some(deadline),
        log: Some(log),
        explain: Some(explain),
        enqueue,
        features: 0,
        program: abi::Text::of("sluice-sdk's bench"),
    }
}

/// A plugin's channel, which several threads use at once: that is what it is for.
#[derive(Clone, Copy)]
struct Made(*mut c_void);

// SAFETY: the contract: `run` is called on several threads at once, `stop` on any.
unsafe impl Send for Made {}

/// Plays it through the plugin's table.
pub(crate) fn play(plugin: &'static Exported, play: Play) -> Report {
    let table = &plugin.0;
    let Play { channel, settings, mails, polls, workers, patience, answer, takes_mail } = play;
    let count = mails.len();
    let leases: Vec<u64> = mails.iter().map(|mail| mail.lease).collect();
    let waiting = mails.into_iter().enumerate().map(|(at, mail)| {
        let more = at + 1 < count && leases[at] == leases[at + 1];
        Lent::new(mail, at as u64 + 1, more)
    });
    let state = State { waiting: waiting.collect(), polls, ..State::default() };
    // A plugin may keep the handle for its log as long as the process lives.
    let stage: &'static Stage =
        Box::leak(Box::new(Stage { answer, state: Mutex::new(state), stopping: Condvar::new() }));
    let (Some(create), Some(run), Some(stop), Some(destroy)) =
        (table.create, table.run, table.stop, table.destroy)
    else {
        return report(stage, Ended::Failed("the table lacks a function".to_owned()), Vec::new());
    };
    let told: Vec<abi::Setting> = settings
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
    let handle: *const abi::Channel = (&raw const *stage).cast();
    let given = abi::Create {
        size: size_of::<abi::Create>() as u32,
        setting_size: size_of::<abi::Setting>() as u32,
        handle,
        channel: abi::Text::of(&channel),
        settings: told.as_ptr(),
        setting_count: told.len(),
    };
    let host = if takes_mail { &HOST } else { &OLDER_HOST };
    let mut made = std::ptr::null_mut();
    // SAFETY: the table is a plugin's, and everything given lives for the length of the call.
    let status = unsafe { create(&raw const host.0, &raw const given, &raw mut made) };
    let created = ended(stage, status);
    if created != Ended::Well {
        return report(stage, created, Vec::new());
    }
    let made = Made(made);
    let (done, results) = mpsc::channel::<(usize, Ended)>();
    for number in 0..workers.max(1) {
        let done = done.clone();
        let seat: &'static Seat = Box::leak(Box::new(Seat { stage, number, told: false.into() }));
        std::thread::spawn(move || {
            let made = made;
            // SAFETY: `made` is what `create` has stored, and `destroy` waits for this call; the seat lives for ever.
            let status = unsafe { run(made.0, (&raw const *seat).cast()) };
            let mut result = ended(stage, status);
            if result == Ended::Well && !seat.told.load(Ordering::Relaxed) {
                result = Ended::Early;
            }
            let _ = done.send((number, result));
        });
    }
    drop(done);
    let stopper = std::thread::spawn(move || {
        let made = made;
        let mut state = stage.state();
        while !state.stopping {
            state = stage.stopping.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        // SAFETY: as above; `destroy` waits for this call too.
        unsafe { stop(made.0) };
    });
    let mut ended = vec![Ended::Hung; workers.max(1)];
    let end = Instant::now() + patience;
    for _ in 0..ended.len() {
        match results.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok((number, result)) => ended[number] = result,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    // Whoever has ended by itself has not been told to.
    stage.stop(&mut stage.state());
    if ended.contains(&Ended::Hung) {
        return report(stage, created, ended); // Its threads are left alone, as a hub does.
    }
    if stopper.join().is_err() {
        stage.state().faults.push("stop panicked across the edge".to_owned());
    }
    // SAFETY: every `run` and `stop` has returned, and this is called once.
    unsafe { destroy(made.0) };
    report(stage, created, ended)
}

fn ended(stage: &Stage, status: i32) -> Ended {
    let text = stage.state().explained.remove(&std::thread::current().id()).unwrap_or_default();
    match status {
        abi::STATUS_OK => Ended::Well,
        abi::STATUS_REFUSED => Ended::Refused(text),
        abi::STATUS_PANIC => Ended::Panicked(text),
        _ => Ended::Failed(text),
    }
}

fn report(stage: &Stage, created: Ended, ended: Vec<Ended>) -> Report {
    let mut state = stage.state();
    let mut faults = std::mem::take(&mut state.faults);
    for lent in state.lent.iter().filter(|lent| !lent.finished && !lent.taken) {
        if ended.get(lent.seat).is_some_and(|ended| *ended != Ended::Hung) {
            faults.push(format!("{}: `run` returned without giving it back", lent.mail.id));
        }
    }
    let settled = |lent: &Lent, handed_out: bool| Settled {
        id: lent.mail.id.clone(),
        recipients: lent
            .mail
            .recipients
            .iter()
            .map(|one| one.address.clone())
            .zip(lent.outcomes.clone())
            .collect(),
        handed_out,
        taken_away: lent.taken,
    };
    let mut deliveries: Vec<Settled> = state.lent.iter().map(|lent| settled(lent, true)).collect();
    deliveries.extend(state.waiting.iter().map(|lent| settled(lent, false)));
    Report {
        created,
        ended,
        deliveries,
        log: std::mem::take(&mut state.log),
        submissions: std::mem::take(&mut state.brought),
        faults,
    }
}

/// # Safety
/// The pointer is null or one that `play` has given to `run`.
unsafe fn seat(worker: *const abi::Worker) -> Option<&'static Seat> {
    // SAFETY: the caller's promise; seats live for ever.
    unsafe { worker.cast::<Seat>().as_ref() }
}

unsafe extern "C" fn next(worker: *const abi::Worker, _: u64, into: *mut *const abi::Delivery) -> u32 {
    // SAFETY: the plugin gives back what it was given.
    let Some(seat) = (unsafe { seat(worker) }) else { return abi::NEXT_STOP };
    let mut guard = seat.stage.state();
    let state = &mut *guard;
    if !state.stopping && state.polls > 0 {
        state.polls -= 1;
        return abi::NEXT_POLL;
    }
    if !state.stopping
        && let Some(mut lent) = state.waiting.pop_front()
    {
        lent.seat = seat.number;
        // SAFETY: the plugin's place for the pointer; the contract has it not null.
        unsafe { *into = &raw const *lent.raw };
        let stops = lent.mail.stops;
        state.idles = 0;
        state.lent.push(lent);
        if stops {
            seat.stage.stop(state);
        }
        return abi::NEXT_DELIVERY;
    }
    let holds = state.lent.iter().any(|lent| lent.seat == seat.number && !lent.finished && !lent.taken);
    let others = state.lent.iter().any(|lent| lent.seat != seat.number && !lent.finished && !lent.taken);
    if !state.stopping && holds && state.idles < IDLE_MAX {
        state.idles += 1;
        return abi::NEXT_IDLE;
    }
    if !state.stopping && !others {
        seat.stage.stop(state);
    }
    seat.told.store(true, Ordering::Relaxed);
    abi::NEXT_STOP
}

unsafe extern "C" fn settle(
    worker: *const abi::Worker,
    token: u64,
    index: u32,
    outcome: *const abi::Outcome,
) -> u32 {
    // SAFETY: as in `next`; the outcome is the plugin's and lives for this call.
    let (Some(seat), outcome) = (unsafe { (seat(worker), outcome.as_ref()) }) else {
        return abi::SETTLE_UNKNOWN;
    };
    let mut guard = seat.stage.state();
    let state = &mut *guard;
    let Some(lent) = held(&mut state.lent, seat.number, token) else {
        state
            .faults
            .push(format!("a recipient of delivery {token} was settled, which is not with this worker"));
        return abi::SETTLE_UNKNOWN;
    };
    let id = lent.mail.id.clone();
    let place = usize::try_from(index).ok().filter(|index| index % 3 == 1).map(|index| index / 3);
    let Some(place) = place.filter(|place| *place < lent.outcomes.len()) else {
        state.faults.push(format!("{id}: index {index} was settled, which no recipient has"));
        return abi::SETTLE_NO_RECIPIENT;
    };
    let address = lent.mail.recipients[place].address.clone();
    let good = |outcome: &abi::Outcome| {
        matches!(outcome.kind, abi::OUTCOME_DELIVERED | abi::OUTCOME_DEFERRED | abi::OUTCOME_FAILED)
            && matches!(outcome.class, 2 | 4 | 5)
            && outcome.subject <= 999
            && outcome.detail <= 999
    };
    let Some(outcome) = outcome.filter(|outcome| good(outcome)) else {
        state.faults.push(format!("{id}: {address} was settled by an outcome that is none"));
        return abi::SETTLE_BAD;
    };
    if lent.outcomes[place].is_some() {
        state.faults.push(format!("{id}: {address} was settled twice"));
        return abi::SETTLE_AGAIN;
    }
    // SAFETY: the outcome's texts live as long as it does.
    lent.outcomes[place] = Some(unsafe { outcome_of(outcome) });
    abi::SETTLE_OK
}

unsafe extern "C" fn finish(worker: *const abi::Worker, token: u64) -> u32 {
    // SAFETY: as in `next`.
    let Some(seat) = (unsafe { seat(worker) }) else { return abi::SETTLE_UNKNOWN };
    let mut state = seat.stage.state();
    let ours = |lent: &&mut Lent| lent.token == token && lent.seat == seat.number && !lent.finished;
    let answer = match state.lent.iter_mut().find(ours) {
        // Taken away before: to be given back all the same, and nobody's fault.
        Some(lent) => {
            lent.finished = true;
            if lent.taken { abi::SETTLE_UNKNOWN } else { abi::SETTLE_OK }
        }
        None => {
            state.faults.push(format!("delivery {token} was given back, which is not with this worker"));
            abi::SETTLE_UNKNOWN
        }
    };
    drop(state);
    answer
}

unsafe extern "C" fn deadline(worker: *const abi::Worker, token: u64) -> u64 {
    // SAFETY: as in `next`.
    let Some(seat) = (unsafe { seat(worker) }) else { return 0 };
    let mut state = seat.stage.state();
    let Some(lent) = held(&mut state.lent, seat.number, token) else { return 0 };
    let left = lent.mail.time_left.get(lent.looked).or(lent.mail.time_left.last()).copied();
    lent.looked += 1;
    let left = left.unwrap_or(Duration::from_secs(600));
    lent.taken = left.is_zero();
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

unsafe extern "C" fn log(channel: *const abi::Channel, level: u32, id: abi::Text, text: abi::Text) {
    // SAFETY: the plugin gives back the handle of `create`, which lives for ever; its texts live for this call.
    let (Some(stage), id, text) =
        (unsafe { (channel.cast::<Stage>().as_ref(), borrowed(&id), borrowed(&text)) })
    else {
        return;
    };
    let mut state = stage.state();
    let Some(text) = text else {
        state.faults.push("a line for the log is not UTF-8".to_owned());
        return;
    };
    let level = match level {
        abi::LOG_ERROR => Level::Error,
        abi::LOG_WARN => Level::Warn,
        abi::LOG_INFO => Level::Info,
        abi::LOG_DEBUG => Level::Debug,
        _ => Level::Trace,
    };
    let id = id.filter(|id| !id.is_empty()).map(str::to_owned);
    state.log.push(Line { level, id, text: text.to_owned() });
}

unsafe extern "C" fn explain(channel: *const abi::Channel, text: abi::Text) {
    // SAFETY: as in `log`.
    let (Some(stage), text) = (unsafe { (channel.cast::<Stage>().as_ref(), borrowed(&text)) }) else {
        return;
    };
    let text = text.unwrap_or("(not UTF-8)").to_owned();
    stage.state().explained.insert(std::thread::current().id(), text);
}

unsafe extern "C" fn enqueue(worker: *const abi::Worker, submission: *const abi::Submission) -> u32 {
    // SAFETY: as in `next`; the submission is the plugin's, and so is everything it leads to, for this call.
    let (Some(seat), Some(submission)) = (unsafe { (seat(worker), submission.as_ref()) }) else {
        return abi::ENQUEUE_BAD;
    };
    // SAFETY: as above.
    let Some(brought) = (unsafe { brought(submission) }) else {
        seat.stage.state().faults.push("a submission cannot be read".to_owned());
        return abi::ENQUEUE_BAD;
    };
    if submission.of != 0 && held(&mut seat.stage.state().lent, seat.number, submission.of).is_none() {
        return abi::ENQUEUE_GONE;
    }
    let answer = (seat.stage.answer)(&brought);
    let count = brought.recipients.len();
    seat.stage.state().brought.push(brought);
    let answers = match answer {
        Ok(answers) => answers,
        Err(NotTaken::Gone) => return abi::ENQUEUE_GONE,
        Err(NotTaken::Closed) => return abi::ENQUEUE_CLOSED,
        Err(_) => return abi::ENQUEUE_BAD,
    };
    let missing = Outcome::deferred(Status::new(4, 3, 0), "the test has no answer for this recipient");
    for position in 0..count {
        let outcome = answers.get(position).unwrap_or(&missing);
        if let Some(answered) = submission.answered {
            let raw = super::lent::raw_outcome(outcome);
            // SAFETY: on the same thread, within the call, with the plugin's own context.
            unsafe {
                answered(submission.context, u32::try_from(position).unwrap_or(u32::MAX), &raw const raw);
            };
        }
    }
    abi::ENQUEUE_DONE
}

/// # Safety
/// The submission lives, and everything it leads to.
unsafe fn brought(submission: &abi::Submission) -> Option<Brought> {
    if (submission.size as usize) < size_of::<abi::Submission>() || submission.recipient_count == 0 {
        return None;
    }
    let stride = submission.recipient_size as usize;
    // SAFETY: the caller's promise; counts and stride are the plugin's own.
    unsafe {
        let text = |text: &abi::Text| borrowed(text).map(str::to_owned);
        let recipients = (0..submission.recipient_count).map(|at| {
            let one: abi::Submitted = super::taken(submission.recipients.byte_add(at * stride), stride);
            Some(BroughtTo {
                address: text(&one.address)?,
                original: text(&one.original)?,
                notify: u8::try_from(one.notify).ok()?,
                origin: text(&one.origin)?,
            })
        });
        let mut content = Vec::new();
        for at in 0..submission.piece_count {
            let piece = &*submission.pieces.add(at);
            content.extend_from_slice(std::slice::from_raw_parts(piece.data, piece.len));
        }
        Some(Brought {
            sender: text(&submission.sender)?,
            recipients: recipients.collect::<Option<_>>()?,
            content,
            eight_bit: submission.flags & abi::SUBMISSION_EIGHT_BIT != 0,
            smtputf8: submission.flags & abi::SUBMISSION_SMTPUTF8 != 0,
            as_original: submission.flags & abi::SUBMISSION_AS_ORIGINAL != 0,
            on_hold: submission.flags & abi::SUBMISSION_ON_HOLD != 0,
            again: submission.of != 0,
            returned: u8::try_from(submission.returned).ok()?,
            envelope_id: text(&submission.envelope_id)?,
        })
    }
}

/// Asks a routine of the plugin.
pub(crate) fn route(plugin: &'static Exported, name: &str, argument: &str) -> Result<Option<String>, String> {
    let Some(route) = plugin.0.route else { return Err("the plugin has no routines".to_owned()) };
    let (mut room, mut length) = (vec![0_u8; 1024], 0);
    // SAFETY: the texts and the room live for the length of the call.
    let status = unsafe {
        route(abi::Text::of(name), abi::Text::of(argument), room.as_mut_ptr(), room.len(), &raw mut length)
    };
    match status {
        abi::ROUTE_MISS => Ok(None),
        abi::ROUTE_FOUND => {
            room.truncate(length);
            String::from_utf8(room).map(Some).map_err(|_| "the answer is not UTF-8".to_owned())
        }
        abi::ROUTE_UNKNOWN => Err(format!("there is no routine {name}")),
        abi::ROUTE_TOO_LONG => Err("the answer has more than 1024 bytes".to_owned()),
        abi::ROUTE_PANIC => Err("the routine panicked".to_owned()),
        other => Err(format!("the routine answered {other}")),
    }
}
