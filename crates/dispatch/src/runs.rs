//! Runs under way: which way the mail of a release goes, and when a release is over.
//!
//! A run belongs to the queues that it covers (`sluice_queue` keeps which). Its way is known here, and every lease taken
//! from one of its queues gets it. An order for queues that are under a run already joins that run and goes its way,
//! unless it names another target and the run may be moved; what goes down a turned connection is never moved.
//!
//! # A turned run
//! One lease at a time, over the one connection that the site has opened, one channel after the other: the plugin of each
//! connects to the bridge by itself. It is over when nothing is left, when the connection fails, or when the session says
//! so; what is left then waits as it did before, for the site's next request, with no step taken in its schedule.
//!
//! # A channel that cannot start
//! Its mail leaves the run, which does not wait for a plugin that somebody has to mend first, and waits as it did before. The
//! record says what was the matter. So does the mail of a release that begins while the channel sits out the pause after that.

use std::sync::Arc;

use sluice_mail::{Outcome, Time};
use sluice_queue::{ChannelKey, Collect, Lanes, Party, QueueKey};

use crate::core::{Core, Lease, RunnerState};
use crate::order::{ReleaseId, Via};
use crate::policy::Schedule;
use crate::records::{End, ReleaseRecord, bounded};

/// A run under way.
pub(crate) struct Run {
    pub(crate) via: Via,
    /// Its next hop as plugins are told.
    next_hop: Option<Arc<str>>,
    /// For a turned run: its connection has failed.
    is_broken: bool,
    /// Why it ends, where it does not end by itself.
    why: Option<End>,
    /// What is told of it, but for the sums, which the queue keeps. Schedules that find nothing leave none.
    pub(crate) record: Option<Box<ReleaseRecord>>,
}

impl Run {
    /// One whose mail goes as configured.
    pub(crate) const fn as_configured() -> Self {
        Self { via: Via::Channel, next_hop: None, is_broken: false, why: None, record: None }
    }
}

/// Which way the mail of a queue goes.
#[derive(Clone, Default)]
pub(crate) struct Way {
    pub(crate) next_hop: Option<Arc<str>>,
    /// The run, where it goes down a turned connection.
    pub(crate) turned: Option<ReleaseId>,
}

impl PartialEq for Way {
    fn eq(&self, other: &Self) -> bool {
        self.next_hop == other.next_hop && self.turned == other.turned
    }
}

impl Core {
    /// The number of a new release: the time, or the one after the last.
    pub(crate) fn next_release(&mut self, now: Time) -> ReleaseId {
        self.last_release = ReleaseId(now.0.max(self.last_release.0 + 1));
        self.last_release
    }

    /// Makes what waits in the queues due, under a run of its own or under those that are on their way already. Returns
    /// those that it has joined, in order.
    pub(crate) fn begin_run(
        &mut self,
        id: ReleaseId,
        via: &Via,
        party: Option<&Party>,
        queues: &[QueueKey],
        collects: Vec<Collect>,
        now: Time,
    ) -> Vec<ReleaseId> {
        let (mut own, mut theirs): (Vec<QueueKey>, Vec<(ReleaseId, QueueKey)>) = (Vec::new(), Vec::new());
        for &queue in queues {
            match self.queues.run_of(queue).map(ReleaseId) {
                Some(run) if self.stays(run, via) => theirs.push((run, queue)),
                _ => own.push(queue),
            }
        }
        theirs.sort_unstable();
        let groups: Vec<(ReleaseId, Vec<QueueKey>)> = theirs
            .chunk_by(|a, b| a.0 == b.0)
            .map(|group| (group[0].0, group.iter().map(|&(_, queue)| queue).collect()))
            .collect();
        for (run, queues) in &groups {
            let collects = if own.is_empty() { collects.clone() } else { Vec::new() };
            self.queues.join(run.0, party, queues, collects, now);
        }
        if !own.is_empty() {
            let losing: Vec<ReleaseId> =
                own.iter().filter_map(|&queue| self.queues.run_of(queue).map(ReleaseId)).collect();
            let lanes = if via.is_turned() { Lanes::Single } else { Lanes::Many };
            let next_hop = via.next_hop().map(|hop| hop.to_string().into());
            let run = Run { via: via.clone(), next_hop, is_broken: false, why: None, record: None };
            self.runs.insert(id, run);
            self.queues.begin_run(id.0, lanes, party, &own, collects, now);
            for loser in losing {
                if !self.queues.is_running(loser.0)
                    && let Some(run) = self.runs.get_mut(&loser)
                {
                    run.why = Some(End::TakenOver);
                }
            }
        }
        groups.into_iter().map(|(run, _)| run).collect()
    }

    /// Whether queues under that run stay with it when an order for them goes this way. A peer that names no target cannot
    /// move mail away from one.
    fn stays(&self, run: ReleaseId, via: &Via) -> bool {
        let Some(run) = self.runs.get(&run) else { return false };
        run.via.is_turned() || *via == Via::Channel || run.via == *via
    }

    /// Which way the mail of a queue goes now.
    pub(crate) fn way_of(&self, queue: QueueKey) -> Way {
        let id = self.queues.run_of(queue).map(ReleaseId);
        let Some((id, run)) = id.and_then(|id| self.runs.get(&id).map(|run| (id, run))) else {
            return Way::default();
        };
        Way { next_hop: run.next_hop.clone(), turned: run.via.is_turned().then_some(id) }
    }

    /// A recipient of a turned run was put off: was that the connection's doing?
    pub(crate) fn turned_outcome(&mut self, id: ReleaseId, outcome: &Outcome) {
        // RFC 3463 subject 4 is the network, and X.3.2 a peer that takes nothing now (421).
        let status = outcome.status();
        let is_network = status.subject == 4 || (status.subject == 3 && status.detail == 2);
        if let Outcome::Deferred { .. } = outcome
            && is_network
            && let Some(run) = self.runs.get_mut(&id)
        {
            run.is_broken = true;
        }
    }

    /// A lease of a turned run is over.
    pub(crate) fn turned_lease_over(&mut self, lease: &Lease, now: Time) {
        let Some(id) = lease.turned else { return };
        let Some(run) = self.runs.get(&id) else { return };
        if !run.is_broken && self.queues.run_has_ready(id.0, None) {
            self.queues.end_turn(id.0, now);
            // Its plugin was told that more follows, and keeps the connection for it, on which others would wait.
            if self.queues.run_has_ready(id.0, Some(lease.channel)) {
                self.agenda.list_first(lease.channel);
            }
        } else {
            self.end_turned(id, now);
        }
    }

    /// Ends a release that goes down a turned connection, for its session is over. Others end by themselves.
    pub(crate) fn end_release(&mut self, id: ReleaseId, now: Time) {
        if let Some(run) = self.runs.get_mut(&id).filter(|run| run.via.is_turned()) {
            run.why = Some(End::SessionOver);
            self.end_turned(id, now);
        }
    }

    fn end_turned(&mut self, id: ReleaseId, now: Time) {
        let channels = &self.channels;
        let waits = |key: ChannelKey| {
            let policy = channels.get(key.index()).and_then(|channel| channel.policy.as_ref());
            policy.is_none_or(|policy| policy.schedule != Schedule::Immediate)
        };
        self.queues.end_run_now(id.0, waits, now);
    }

    /// A channel cannot run, for this reason: no release waits for it.
    pub(crate) fn leave_runs(&mut self, key: ChannelKey, why: &str, now: Time) {
        let name = Arc::clone(self.queues.channel_name(key));
        let waits = self.policy(key).is_none_or(|policy| policy.schedule != Schedule::Immediate);
        for number in self.queues.runs_of_channel(key) {
            let left = |core: &Self| core.queues.tally(number).map(|tally| tally.left);
            let before = left(self);
            self.queues.leave_channel(number, key, waits, now);
            // A run that had nothing more to do there is not ended by it.
            if left(self) != before
                && let Some(run) = self.runs.get_mut(&ReleaseId(number))
            {
                run.why.get_or_insert(End::CannotStart);
                if let Some(record) = &mut run.record {
                    let text = format!("channel {name}: {why}").escape_debug().to_string();
                    record.last_text = bounded(&text).to_owned();
                }
            }
        }
    }

    /// A release has begun that nobody has looked at the plugin for: it does not wait for the pause that a channel sits out.
    pub(crate) fn leave_runs_in_pause(&mut self, key: ChannelKey, now: Time) {
        let channel = &self.channels[key.index()];
        if matches!(channel.runner, RunnerState::Failed(until) if until > now) {
            let why = channel.error.clone().unwrap_or_default();
            self.leave_runs(key, &why, now);
        }
    }

    /// Takes note of runs that are over.
    pub(crate) fn note_ended_runs(&mut self, now: Time) {
        for (number, tally) in self.queues.take_ended() {
            let id = ReleaseId(number);
            let Some(run) = self.runs.remove(&id) else { continue };
            let why = match run.why {
                Some(why) => why,
                None if run.is_broken => End::ConnectionLost,
                None => End::Done,
            };
            self.release_over(run, tally, why, now);
        }
    }
}
