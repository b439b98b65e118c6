//! One thread that looks at all workers now and then, and does what must not be done on a caller's thread.
//!
//! # Not here
//! What becomes of a hung worker: that is its instance's affair.

use crate::sync::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use crate::sync::{Mutex, thread};
use crate::worker::Worker;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How late a missed deadline is noticed, at most, when deadlines are long.
const TICK_MAX: Duration = Duration::from_secs(1);
/// How often to look, at most, when deadlines are short.
const TICK_MIN: Duration = Duration::from_millis(10);

type Job = Box<dyn FnOnce() + Send>;

/// Watches workers. The thread starts with the first of them and ends when the watchdog is dropped.
#[derive(Default)]
pub(crate) struct Watchdog {
    state: Mutex<State>,
}

struct State {
    jobs: (Sender<Job>, Receiver<Job>),
    started: bool,
    workers: Vec<Weak<Worker>>,
    tick: Duration,
}

impl Default for State {
    fn default() -> State {
        State { jobs: unbounded(), started: false, workers: Vec::new(), tick: TICK_MAX }
    }
}

/// Woken by jobs and by the clock; ended when the watchdog is gone, which is noticed at the next tick.
fn watch(watchdog: &Weak<Watchdog>, jobs: &Receiver<Job>) {
    loop {
        let Some(tick) = watchdog.upgrade().map(|watchdog| watchdog.state.lock().tick) else { return };
        match jobs.recv_timeout(tick) {
            Ok(job) => job(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(watchdog) = watchdog.upgrade() {
            watchdog.look();
        }
    }
}

impl Watchdog {
    /// Watches `worker` until it is dropped.
    pub(crate) fn watch(self: &Arc<Self>, worker: &Arc<Worker>) {
        let spec = &worker.instance.spec;
        let wanted = (spec.deadline.min(spec.create_deadline) / 4).clamp(TICK_MIN, TICK_MAX);
        let mut state = self.state.lock();
        let wake = wanted < state.tick || !state.started;
        state.tick = state.tick.min(wanted);
        state.workers.push(Arc::downgrade(worker));
        drop(state);
        if wake {
            self.later(|| {}); // Wakes the thread, which then waits for the shorter time.
        }
    }

    /// Runs `job` on the watchdog's thread. Never waits, and never runs it here.
    pub(crate) fn later(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock();
        let me = Arc::downgrade(self);
        let State { jobs: (jobs, receiver), started, .. } = &mut *state;
        // The receiver is kept here too, so this cannot fail.
        let _ = jobs.send(Box::new(job));
        if *started {
            return;
        }
        let receiver = receiver.clone();
        match thread::Builder::new().name("plugin-watchdog".to_owned()).spawn(move || watch(&me, &receiver)) {
            Ok(_) => *started = true,
            // The jobs wait; the next one brings the next attempt.
            Err(error) => tracing::error!(%error, "the watchdog of the plugins could not be started"),
        }
    }

    fn look(&self) {
        let workers: Vec<Arc<Worker>> = {
            let mut state = self.state.lock();
            state.workers.retain(|worker| worker.strong_count() > 0);
            state.workers.iter().filter_map(Weak::upgrade).collect()
        };
        let now = Instant::now();
        for worker in workers {
            if let Some(overdue) = worker.overdue(now) {
                worker.instance.abandon(&worker, &overdue);
            }
            worker.instance.after_a_rest();
        }
    }
}
