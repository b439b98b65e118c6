//! The end of an instance: what waits is given back, workers finish what they hold or are left behind, the channel is destroyed.
//!
//! Runs on a thread of its own, since a plugin may take its time with all of that.

use super::{Created, Inner};
use crate::event::{Cause, HostEvent, StopReason};
use crate::recorder::Call;
use crate::spec::FOREVER;
use crate::sync::channel::bounded;
use crate::worker::untouched_lease;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// When a stop leaves more time than this, the plugin is told of it only so long before the end, or when nobody holds a
/// delivery any more: `stop` breaks off what workers wait for, and what they hold may take the time that it has.
const HURRY: Duration = Duration::from_secs(10);
/// How often is looked whether somebody does.
const DRAIN_TICK: Duration = Duration::from_millis(20);
/// How often the end looks whether the last words of others are out.
const SENDING_TICK: Duration = Duration::from_millis(5);
/// How long `destroy` gets, at least, before the stop is reported without it.
const DESTROY_MIN: Duration = Duration::from_secs(1);

impl Inner {
    pub(super) fn begin_stop(self: &Arc<Self>, reason: StopReason, deadline: Duration) {
        let mut state = self.state.lock();
        let until = Instant::now() + deadline.min(FOREVER);
        state.give_up = Some(state.give_up.map_or(until, |before| before.min(until)));
        if !state.open {
            self.quiet.notify_all();
            return;
        }
        self.stopping.store(true, Ordering::Release);
        state.open = false;
        while !state.idle.is_empty() {
            state.call_one();
        }
        let nothing_runs = state.workers.is_empty() && state.created.is_none();
        drop(state);
        let me = self.clone();
        if nothing_runs {
            self.watchdog.later(move || me.end(reason));
            return;
        }
        let other = reason.clone();
        let thread = self.thread("stop");
        if thread.spawn(move || me.end(reason)).is_err() {
            let me = self.clone();
            self.state.lock().give_up = Some(Instant::now());
            self.watchdog.later(move || me.end(other));
        }
    }

    /// Until when workers may finish.
    fn give_up(&self) -> Instant {
        self.state.lock().give_up.unwrap_or_else(Instant::now)
    }

    /// The end, on a thread of its own.
    fn end(self: &Arc<Self>, reason: StopReason) {
        let (queue, workers, created) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.queue), state.workers.clone(), state.created.clone())
        };
        for offer in queue {
            untouched_lease(&offer.read(), &Cause::Stopping).into_iter().for_each(|event| self.send(event));
        }
        for worker in &workers {
            worker.give_back_pending(&Cause::Stopping);
        }
        let has_time = || self.give_up().checked_sub(HURRY).is_some_and(|hurry| Instant::now() < hurry);
        while has_time() && workers.iter().any(|one| one.holds()) {
            self.quiet.wait_for(&mut self.state.lock(), DRAIN_TICK);
        }
        if let Some(created) = created.filter(|_| !workers.is_empty()) {
            // It may not come back, so nobody waits for it.
            let thread = self.thread("stopping");
            let slot = self.slot();
            let _ = thread.spawn(move || {
                slot.iter().for_each(|slot| slot.note(Call::Stop));
                created.stop();
            });
        }
        drop(workers);
        let mut state = self.state.lock();
        // Woken by the last worker and by a stop that leaves less time, ended by the deadline.
        while !state.workers.is_empty() {
            let give_up = state.give_up.unwrap_or_else(Instant::now);
            if self.quiet.wait_until(&mut state, give_up).timed_out() {
                break;
            }
        }
        let remaining = std::mem::take(&mut state.workers);
        drop(state);
        let mut late = 0;
        for worker in remaining {
            if let Some(seized) = worker.seize(&Cause::Stopping) {
                worker.report_seized(seized);
                late += 1;
            }
        }
        let mut state = self.state.lock();
        state.left_behind += late;
        // Ended by whoever has reported; what they wait for is that their events are taken.
        while state.reporting > 0 || self.sending.is_under_way() {
            self.quiet.wait_for(&mut state, SENDING_TICK);
        }
        let created = state.created.take();
        let left_behind = u32::try_from(state.left_behind).unwrap_or(0);
        drop(state);
        if let Some(created) = created {
            let left = self.give_up().saturating_duration_since(Instant::now());
            self.let_go(created, left.max(DESTROY_MIN));
        }
        self.handle.tell_rest();
        self.send(HostEvent::Stopped { channel: self.channel.clone(), reason, left_behind });
    }

    /// Destroys the channel, unless a thread is left that still uses it: that one will.
    fn let_go(&self, created: Arc<Created>, limit: Duration) {
        let (done, wait) = bounded::<()>(1);
        let thread = self.thread("destroy");
        let slot = self.slot();
        let started = thread.spawn(move || {
            slot.iter().for_each(|slot| slot.note(Call::Destroy));
            drop(created);
            let _ = done.send(());
        });
        if started.is_ok() && wait.recv_timeout(limit).is_err() {
            tracing::error!(channel = %self.channel, plugin = self.plugin.name(), "`destroy` did not return in time");
        }
    }
}
