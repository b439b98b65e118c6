//! The end of a run: everybody is well, nothing is closed, and everything must drain.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::checks::check_records;
use super::{World, alive};
use crate::closed::Closing;
use crate::handle::PERMITS;

/// At the end, time goes on for so long at most: past the last date of a sender's, and then a day of services and windows.
const FINALE: Duration = Duration::from_secs(60 * 3600);
/// And in such steps.
const FINALE_STEP: Duration = Duration::from_secs(600);

/// Further than anything that goes by itself waits.
const SET_BACK: Duration = Duration::from_secs(40_000);

impl World {
    /// Everybody is well from now on, and nothing is closed: everything drains.
    pub(super) fn finale(&mut self) {
        self.note("finale");
        self.mend();
        // As far as chance has left an end for the disk behind, it is called off.
        self.storage.restart();
        // Somebody may set the clock back once more, at any time while retries wait.
        let sets_back = self.chance.once_in(2).then(|| *self.chance.pick(&[0, 0, 1, 3, 8]));
        if sets_back.is_some() {
            self.pump();
        }
        self.is_good = true;
        self.peers.is_good.store(true, Ordering::Relaxed);
        self.hub().plugins.stage().is_moody = false;
        self.set_clock_right();
        self.pump();
        let shut = self.shut.clone();
        self.close(Closing::Start(shut.channels.into_iter().collect()));
        for (domain, below) in shut.domains.into_keys() {
            self.close(Closing::Resume { domain, below });
        }
        let end = self.steady + FINALE;
        let mut jumps = 0;
        for turn in 0.. {
            if sets_back == Some(turn) {
                self.set_clock_to(self.now.minus(SET_BACK));
                jumps += 1;
            }
            self.pump();
            let (now, steady) = (self.now, self.steady);
            self.ledger.check_patience(&alive(&self.hub).core, jumps, now, steady);
            self.release_all_held();
            self.pump();
            if self.hub().core.queues.messages_total() == 0 {
                break;
            }
            assert!(self.steady < end, "it does not drain: {:?}", self.left());
            self.pass(FINALE_STEP);
        }
        self.pump();
        self.ledger.close();
        check_records(&self.hub().core);
        let core = &self.hub().core;
        assert!(core.leases.is_empty() && core.deliveries.is_empty() && core.notices.is_empty());
        let permits = core.shared.permits.load(Ordering::Acquire);
        assert_eq!(permits, PERMITS, "permits of nobody");
        assert!(core.channels.iter().all(|channel| channel.jobs == 0), "jobs of nobody");
        assert!(core.pools.values().all(|pool| pool.jobs == 0), "slots of nobody");
        self.stop();
        self.start();
        let left = self.hub().core.queues.messages_total();
        assert_eq!(left, 0, "the spool has what was settled: {:?}", self.left());
        let notices = self.ledger.messages.values().filter(|message| message.is_notice).count();
        if notices > 0 {
            self.note(format!("{notices} notices"));
        }
        self.note("end");
    }

    pub(super) fn left(&mut self) -> Vec<String> {
        let core = &self.hub().core;
        core.queues.summaries().map(|row| format!("{row:?}")).collect()
    }

    /// Everybody does what there is to do, until there is nothing.
    pub(super) fn pump(&mut self) {
        for _ in 0..2_000 {
            let mut did = false;
            while self.desk() {
                did = true;
            }
            while self.hub().pile_len() > 0 {
                self.work();
                did = true;
            }
            while self.perform() {
                did = true;
            }
            did |= self.converse();
            while self.verdict() {
                did = true;
            }
            self.all_peers();
            let instant = self.instant();
            let hub = self.hub();
            let waits = hub.waiting() > 0
                || hub.core.spool.stats().transitions_waiting > 0
                || hub.steps.due().is_some_and(|due| due <= instant);
            self.pass(Duration::from_millis(20));
            self.spool();
            self.round();
            if !did && !waits {
                return;
            }
        }
        panic!("there is no end to it: {:?}", self.left());
    }
}
