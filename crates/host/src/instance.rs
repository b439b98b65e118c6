//! One channel run by one plugin: its queue, its worker threads, its pauses and its end.
//!
//! Threads come with work and go without it: [`Instance::offer`] starts a worker when more leases wait than workers do,
//! up to the channel's limit; a worker that has been idle for long returns. Of several that wait, the one that has worked
//! last is called: what it needs is still in the caches, and the others may grow idle. The channel itself is created by the
//! first worker's thread, with a deadline.
//!
//! # Invariants
//! A lease that was taken is in the queue, or with one worker, or reported. The queue is only filled while the instance is
//! not stopping, so whoever empties it after `stop` was set empties it for good.
//! No event is sent on a thread that calls a method of [`Instance`]: the caller may be the one that reads them.
//! # Failure
//! After a failure no worker is started for a while. Workers that are left go on; when there is none, the queue is given
//! back, and offers are refused with the time that is left.

use crate::call::{Handle, NotCreated};
use crate::door::FrontDoor;
use crate::event::{Cause, Events, Failure, HostEvent, StopReason};
use crate::load::Host;
use crate::plugin::{OptionProblem, Plugin};
use crate::recorder::{Call, Recorder, Slot};
use crate::sending::{Sending, Sends};
use crate::spec::{SettingKind, Spec};
use crate::sync::{AtomicBool, AtomicUsize, Condvar, Created, Mutex, MutexGuard, create, thread};
use crate::watchdog::Watchdog;
use crate::work::Offer;
use crate::worker::{Overdue, Seized, Worker, untouched_lease};
use sluice_abi::{STATUS_OK, STATUS_PANIC};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

mod ending;

/// How long workers get to finish when the instance stops because its settings were refused.
const OWN_STOP: Duration = Duration::from_secs(10);

/// A channel that is run by a plugin. Dropping it stops it at once.
pub struct Instance {
    inner: Arc<Inner>,
}

/// A lease that was not taken.
#[derive(Debug)]
pub struct OfferError {
    /// It comes back unread.
    pub offer: Offer,
    /// Why.
    pub why: Refusal,
}

/// Why a lease was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many leases wait as may.
    Full,
    /// The plugin failed; nothing is started for so long.
    Resting(Duration),
    /// The instance is stopping, or has stopped.
    Stopped,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Full => to.write_str("its queue is full"),
            Refusal::Resting(rest) => write!(to, "it rests for {rest:?} after a failure"),
            Refusal::Stopped => to.write_str("it is stopping"),
        }
    }
}

/// How an instance is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The generation of its plugin.
    pub generation: u32,
    /// Worker threads.
    pub workers: usize,
    /// Leases that wait for one.
    pub queued: usize,
    /// Threads that were given up and have not come back.
    pub hung: u32,
    /// It takes nothing any more.
    pub ended: bool,
    /// How long no worker is started yet, after a failure.
    pub rest: Duration,
    /// How often it has failed: panics, early returns, hangs, and a `create` that could not.
    pub failures: u64,
}

impl Instance {
    /// Makes a channel. Nothing of the plugin runs before there is work, or [`prepare`](Self::prepare) is called.
    pub fn start(host: &Host, plugin: Arc<Plugin>, spec: Spec, events: Events) -> Instance {
        let spec = spec.within_limits();
        let inner = Inner {
            handle: Handle::of(&spec.channel, plugin.name()),
            channel: spec.channel.as_str().into(),
            plugin,
            spec,
            events,
            stopping: AtomicBool::new(false),
            failures_in_a_row: AtomicUsize::new(0),
            sending: Sending::default(),
            watchdog: host.watchdog().clone(),
            door: host.door().clone(),
            recorder: host.recorder().cloned(),
            state: Mutex::new(State {
                open: true,
                queue: VecDeque::new(),
                idle: Vec::new(),
                called: 0,
                created: None,
                not_created: None,
                failures: 0,
                workers: Vec::new(),
                left_behind: 0,
                reporting: 0,
                resume: None,
                give_up: None,
            }),
            quiet: Condvar::new(),
        };
        Instance { inner: Arc::new(inner) }
    }

    /// Name of the channel.
    pub fn channel(&self) -> &str {
        &self.inner.channel
    }

    /// The plugin that runs it.
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.inner.plugin
    }

    /// Creates the channel now rather than with the first lease, so that trouble with its settings shows early.
    pub fn prepare(&self) {
        let mut state = self.inner.state.lock();
        if state.created.is_none() && state.workers.is_empty() && state.open && state.rest().is_zero() {
            self.inner.start_worker(&mut state);
        }
    }

    /// Creates the channel now and waits until that is done, or has failed, for as long as `create` may take: whoever
    /// wants to know that an instance works before anything is given to it.
    ///
    /// # Errors
    /// Why the plugin has made no channel.
    pub fn create_now(&self) -> Result<(), String> {
        self.prepare();
        let mut state = self.inner.state.lock();
        loop {
            if state.created.is_some() {
                return Ok(());
            }
            if let Some(why) = &state.not_created {
                return Err(why.clone());
            }
            if !state.open || state.workers.is_empty() {
                return Err(Refusal::Stopped.to_string());
            }
            // Woken by the first worker, which has made the channel or could not, or is given up by the watchdog.
            self.inner.quiet.wait(&mut state);
        }
    }

    /// How it is at the moment.
    pub fn report(&self) -> Report {
        let state = self.inner.state.lock();
        Report {
            generation: self.inner.plugin.generation(),
            workers: state.workers.len(),
            queued: state.queue.len(),
            hung: u32::try_from(state.left_behind).unwrap_or(0),
            ended: !state.open,
            rest: state.rest(),
            failures: state.failures,
        }
    }

    /// Takes a lease. Never waits.
    ///
    /// # Errors
    /// The lease comes back when the queue is full, the plugin is resting after a failure, or the instance stops.
    pub fn offer(&self, offer: impl Into<Offer>) -> Result<(), Box<OfferError>> {
        let offer = offer.into();
        let refused = |offer, why| Err(Box::new(OfferError { offer, why }));
        let mut state = self.inner.state.lock();
        if !state.open {
            return refused(offer, Refusal::Stopped);
        }
        let rest = state.rest();
        if state.workers.is_empty() && !rest.is_zero() {
            return refused(offer, Refusal::Resting(rest));
        }
        if state.queue.len() >= self.inner.spec.queue_bound {
            return refused(offer, Refusal::Full);
        }
        state.queue.push_back(offer);
        state.call_one();
        self.inner.start_worker_if_needed(&mut state);
        Ok(())
    }

    /// How many leases wait for a worker.
    pub fn queued(&self) -> usize {
        self.inner.state.lock().queue.len()
    }

    /// How many worker threads there are.
    pub fn workers(&self) -> usize {
        self.inner.state.lock().workers.len()
    }

    /// Ends the instance: what waits is given back, workers may finish what they hold until `deadline` is over, and are
    /// left behind then. The plugin's `stop` is called when they hold nothing any more, or ten seconds before that time. Returns at once; [`HostEvent::Stopped`] comes at the end. Of several stops the
    /// earliest deadline counts.
    pub fn stop(&self, deadline: Duration) {
        self.inner.begin_stop(StopReason::Asked, deadline);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.inner.begin_stop(StopReason::Asked, Duration::ZERO);
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Instance").field("channel", &self.inner.channel).finish_non_exhaustive()
    }
}

/// What a worker got out of the queue.
pub(crate) enum Received<'a> {
    Offer(Offer, Sends<'a>),
    Nothing,
    Closed,
}

/// What instance, workers and watchdog share.
pub(crate) struct Inner {
    pub(crate) spec: Spec,
    pub(crate) channel: Arc<str>,
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) handle: &'static Handle,
    events: Events,
    stopping: AtomicBool,
    failures_in_a_row: AtomicUsize,
    /// What is on its way and in no list any more.
    pub(crate) sending: Sending,
    watchdog: Arc<Watchdog>,
    /// Where workers bring mail in, once somebody has opened it.
    pub(crate) door: Arc<OnceLock<Arc<dyn FrontDoor>>>,
    recorder: Option<Arc<Recorder>>,
    state: Mutex<State>,
    /// The last worker has gone, or the channel has been created.
    quiet: Condvar,
}

struct State {
    /// Until the instance is stopping.
    open: bool,
    queue: VecDeque<Offer>,
    /// Workers that wait for a lease, the one that has waited longest first.
    idle: Vec<Arc<Condvar>>,
    /// Workers that were called and are not here yet.
    called: usize,
    created: Option<Arc<Created>>,
    /// Why it was not, the last time that was tried.
    not_created: Option<String>,
    /// Since the beginning.
    failures: u64,
    workers: Vec<Arc<Worker>>,
    /// Hung threads that have not come back. Signed, because a thread may come back while it is being given up.
    left_behind: i64,
    /// Threads that have left `workers` and still have something to report; the end waits for them.
    reporting: usize,
    /// No worker is started before.
    resume: Option<Instant>,
    /// Until when workers may finish, once the instance is stopping. Never later than it was.
    give_up: Option<Instant>,
}

impl State {
    /// Wakes the worker that has become idle last.
    fn call_one(&mut self) {
        if let Some(worker) = self.idle.pop() {
            self.called += 1;
            worker.notify_one();
        }
    }

    fn rest(&self) -> Duration {
        self.resume.map_or(Duration::ZERO, |resume| resume.saturating_duration_since(Instant::now()))
    }
}

/// How a worker's thread ended.
enum Ending {
    /// It was told to.
    Told,
    /// It was not.
    Failed(Failure),
    /// The settings are wrong.
    Refused(String),
}

impl Inner {
    pub(crate) fn send(&self, event: HostEvent) {
        (self.events)(event);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The plugin got something done, so earlier failures do not count any more.
    pub(crate) fn worked(&self) {
        if self.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Waits for a lease, at most until `until`.
    pub(crate) fn receive(self: &Arc<Self>, worker: &Worker, until: Instant) -> Received<'_> {
        let called = worker.called();
        let mut state = self.state.lock();
        loop {
            if worker.is_gone() {
                // It was given up while it waited here, and may have been called all the same: another one is.
                if !state.queue.is_empty() {
                    state.call_one();
                    self.start_worker_if_needed(&mut state);
                }
                return Received::Closed;
            }
            if let Some(offer) = state.queue.pop_front() {
                // Someone may have counted on this worker in the moment in which it was no longer idle.
                self.start_worker_if_needed(&mut state);
                return Received::Offer(offer, self.sending.begin());
            }
            if !state.open {
                return Received::Closed;
            }
            if Instant::now() >= until {
                return Received::Nothing;
            }
            state.idle.push(Arc::clone(called));
            called.wait_until(&mut state, until);
            // Whoever called has taken this worker off the list; when the time is over, nobody has.
            match state.idle.iter().rposition(|other| Arc::ptr_eq(other, called)) {
                Some(at) => drop(state.idle.remove(at)),
                None => state.called -= 1,
            }
        }
    }

    fn start_worker_if_needed(self: &Arc<Self>, state: &mut State) {
        let creating = state.created.is_none() && !state.workers.is_empty();
        let below_limit = state.workers.len() < self.spec.max_workers as usize;
        let wanted = state.queue.len() > state.idle.len() + state.called;
        if wanted && below_limit && !creating && state.open && state.rest().is_zero() {
            self.start_worker(state);
        }
    }

    /// Called by the watchdog now and then. After a failure no worker is started for a while, and leases that were taken
    /// in that time would wait for the workers that are left, however long those are busy.
    pub(crate) fn after_a_rest(self: &Arc<Self>) {
        self.handle.tell_untold();
        self.start_worker_if_needed(&mut self.state.lock());
    }

    /// Where a new worker writes down what it does, if there is room.
    pub(crate) fn slot(&self) -> Option<Slot> {
        Recorder::slot(self.recorder.as_ref()?, &self.channel, self.plugin.name())
    }

    fn start_worker(self: &Arc<Self>, state: &mut State) {
        let worker = Arc::new(Worker::new(self.clone(), state.created.is_none()));
        let thread = self.thread("worker");
        let created = state.created.clone();
        let main = {
            let worker = worker.clone();
            move || {
                let ending = worker.instance.work(&worker, created);
                worker.instance.worker_ended(&worker, ending);
            }
        };
        self.watchdog.watch(&worker);
        state.workers.push(worker.clone());
        if let Err(error) = thread.spawn(main) {
            // Not here: the caller holds the lock, and may be the one that reads events.
            let failure = Failure::NoThread(error.to_string());
            self.watchdog.later(move || worker.instance.worker_ended(&worker, Ending::Failed(failure)));
        }
    }

    /// The life of a worker thread.
    fn work(self: &Arc<Self>, worker: &Arc<Worker>, created: Option<Arc<Created>>) -> Ending {
        let created = match created {
            Some(created) => created,
            None => match self.checked().and_then(|()| {
                worker.note(Call::Create);
                create(&self.plugin, &self.spec, self.handle)
            }) {
                Ok(created) => {
                    let created = Arc::new(created);
                    let mut state = self.state.lock();
                    if !worker.created() {
                        return Ending::Told; // Too late: nobody waits for it, and dropping it destroys it.
                    }
                    state.created = Some(created.clone());
                    state.not_created = None;
                    self.quiet.notify_all();
                    // The leases that came meanwhile may want more than this one worker.
                    let waiting = state.queue.len().min(self.spec.max_workers as usize);
                    for _ in 1..waiting {
                        self.start_worker_if_needed(&mut state);
                    }
                    created
                }
                Err(NotCreated::Refused(text)) => return Ending::Refused(text),
                Err(NotCreated::Failed(text)) => return Ending::Failed(Failure::CreateFailed(text)),
                Err(NotCreated::Panicked(text)) => return Ending::Failed(Failure::CreatePanicked(text)),
            },
        };
        worker.note(Call::Run);
        let (status, text) = created.run(worker);
        match status {
            STATUS_OK if worker.told_to_stop() || self.is_stopping() => Ending::Told,
            STATUS_PANIC => Ending::Failed(Failure::Panicked(text)),
            status => Ending::Failed(Failure::Returned { status, text }),
        }
    }

    /// Values that the plugin's own table rules out, and options that it needs. Options it does not know may be for others, such
    /// as the listeners.
    fn checked(&self) -> Result<(), NotCreated> {
        let options = || self.spec.settings.iter().filter(|setting| setting.kind == SettingKind::Option);
        for option in options() {
            if let Err(problem @ OptionProblem::Value { .. }) =
                self.plugin.check_option(&option.name, &option.value)
            {
                return Err(NotCreated::Refused(problem.to_string()));
            }
        }
        if let Some(needed) = self.plugin.missing_option(&self.spec.settings) {
            let text =
                format!("option {needed} of plugin {} is not set and has no default", self.plugin.name());
            return Err(NotCreated::Refused(text));
        }
        Ok(())
    }

    /// A thread of this channel. The system shows the first 15 bytes of its name.
    fn thread(&self, what: &str) -> thread::Builder {
        thread::Builder::new().name(format!("{}-{what}", self.channel).replace('\0', "?"))
    }

    /// Called once on each worker's thread, at its end.
    fn worker_ended(self: &Arc<Self>, worker: &Arc<Worker>, ending: Ending) {
        let cause = match &ending {
            Ending::Told => Cause::Done,
            Ending::Failed(
                Failure::CreateFailed(_)
                | Failure::CreatePanicked(_)
                | Failure::CreateHung(_)
                | Failure::NoThread(_),
            )
            | Ending::Refused(_) => Cause::NotCreated,
            Ending::Failed(_) => Cause::WorkerEnded,
        };
        let Some(seized) = worker.seize(&cause) else {
            // It was given up as hung and has come back after all.
            let mut state = self.state.lock();
            state.left_behind -= 1;
            drop(state);
            tracing::warn!(
                channel = %self.channel,
                plugin = self.plugin.name(),
                "a worker that was given up has returned"
            );
            return;
        };
        match ending {
            Ending::Told => {
                let mut state = self.state.lock();
                let left_over = self.forget(&mut state, worker);
                self.report(state, (worker, seized), (left_over, &Cause::WorkerEnded), None);
            }
            Ending::Failed(failure) => self.failed(worker, seized, failure, &cause),
            Ending::Refused(text) => {
                tracing::error!(
                    channel = %self.channel,
                    plugin = self.plugin.name(),
                    "the channel is stopped: its plugin refuses the settings: {text}"
                );
                self.state.lock().not_created = Some(format!("its plugin refuses the settings: {text}"));
                self.begin_stop(StopReason::Refused(text), OWN_STOP);
                let mut state = self.state.lock();
                self.forget(&mut state, worker);
            }
        }
    }

    /// Called by the watchdog for a worker that missed its deadline.
    pub(crate) fn abandon(self: &Arc<Self>, worker: &Arc<Worker>, overdue: &Overdue) {
        let (failure, cause) = match overdue {
            Overdue::Create(limit) => (Failure::CreateHung(*limit), Cause::NotCreated),
            Overdue::Work(limit) => (Failure::Hung(*limit), Cause::Hung),
        };
        if let Some(seized) = worker.seize(&cause) {
            self.state.lock().left_behind += 1;
            self.failed(worker, seized, failure, &cause);
        }
    }

    /// One worker less, in a way that was not meant to be.
    fn failed(self: &Arc<Self>, worker: &Arc<Worker>, seized: Seized, failure: Failure, cause: &Cause) {
        let before = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed);
        let doubled = 1_u32.checked_shl(u32::try_from(before).unwrap_or(u32::MAX)).unwrap_or(u32::MAX);
        let pause = self.spec.pause_first.saturating_mul(doubled).min(self.spec.pause_max);
        let mut state = self.state.lock();
        state.resume = Some(Instant::now() + pause);
        state.failures += 1;
        if *cause == Cause::NotCreated {
            state.not_created = Some(failure.to_string());
        }
        let is_open = state.open;
        let hung_now = u32::try_from(state.left_behind).unwrap_or(0);
        let left_over = self.forget(&mut state, worker);
        tracing::error!(
            channel = %self.channel,
            plugin = self.plugin.name(),
            pause_secs = pause.as_secs_f64(),
            "the plugin failed: {failure}"
        );
        let failed = HostEvent::WorkerFailed { channel: self.channel.clone(), failure, pause };
        self.report(state, (worker, seized), (left_over, cause), Some(failed));
        if hung_now >= self.spec.hung_max && is_open {
            tracing::error!(
                channel = %self.channel,
                plugin = self.plugin.name(),
                "the channel is stopped: {hung_now} of its workers hang"
            );
            // Those that do not hang may finish what they hold, as at any stop.
            self.begin_stop(StopReason::TooManyHung(hung_now), self.spec.deadline);
        }
    }

    /// Takes a worker off the list. If leases wait, another is started; if that cannot be and there is none left, the
    /// leases come back to be reported.
    fn forget(self: &Arc<Self>, state: &mut State, worker: &Arc<Worker>) -> Vec<Offer> {
        state.workers.retain(|other| !Arc::ptr_eq(other, worker));
        if state.open {
            self.start_worker_if_needed(state);
        }
        if state.workers.is_empty() {
            self.quiet.notify_all();
        }
        // Under the lock nobody fills the queue, and nobody is there who empties it. `end` does that when stopping.
        match state.workers.is_empty() && state.open {
            true => state.queue.drain(..).collect(),
            false => Vec::new(),
        }
    }

    /// Reports what a worker had, then leases that no worker is left for, then `last`: without the lock, when the worker
    /// is off the list already, and yet before the end is reported.
    fn report(
        &self,
        mut state: MutexGuard<'_, State>,
        (worker, seized): (&Worker, Seized),
        (left_over, cause): (Vec<Offer>, &Cause),
        last: Option<HostEvent>,
    ) {
        state.reporting += 1;
        drop(state);
        worker.report_seized(seized);
        left_over
            .into_iter()
            .flat_map(|offer| untouched_lease(&offer.read(), cause))
            .chain(last)
            .for_each(|event| self.send(event));
        self.state.lock().reporting -= 1;
        self.quiet.notify_all();
    }
}
