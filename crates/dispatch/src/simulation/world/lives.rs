//! Lives of the hub: starting on what the disk has, crashing, stopping.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sluice_spool::testing::{CrashStorage, Loss};

use super::super::chance::Chance;
use super::super::filters::Questions;
use super::super::hub::Hub;
use super::super::plugins::Plugins;
use super::super::scenery;
use super::checks::check_records;
use super::operators::Shut;
use super::{Answers, World, new_folder};
use crate::event::Event;
use crate::run::Loop;

impl World {
    pub(super) fn start(&mut self) {
        if self.chance.once_in(4) && self.numbers > 0 {
            let operations = self.chance.below(30) as u64;
            self.storage.stop_after(operations);
        }
        loop {
            let chance = Chance::new(self.chance.number());
            let plugins = Plugins::new(chance, !self.is_good);
            let loaded = scenery::loaded(self.variant);
            let started = Hub::start(&self.storage, loaded, plugins, self.now, self.instant());
            match started {
                Ok((mut hub, found)) => {
                    hub.plant = self.plant;
                    self.note(format!("start: {} found", found.len()));
                    self.hub = Some(hub);
                    break;
                }
                Err(error) if self.storage.stopped() => {
                    self.note(format!("stopped while starting: {}", crate::desk::chain(&error)));
                    self.change_disk();
                }
                Err(error) => panic!("the hub does not start: {}", crate::desk::chain(&error)),
            }
        }
        let hub = self.hub.as_ref().expect("it was started just now");
        self.last_release = hub.core.last_release;
        self.planned = hub.core.last_release.0;
        self.in_order.clear();
        self.ledger.restart(&hub.core);
        self.ledger.reloaded(&hub.core, self.now);
        let now = self.now;
        let shut = Shut::of(&hub.core).at(now);
        let is_known = self.snapshots[self.answered..].iter().any(|one| one.clone().at(now) == shut);
        assert!(is_known, "{shut:?} is closed, not one of {:?}", &self.snapshots[self.answered..]);
        self.snapshots = vec![shut.clone()];
        self.answered = 0;
        self.shut = shut;
        self.ledger.check(hub, now);
        check_records(&hub.core);
    }

    /// Everything in memory is gone, and some of what was not synced.
    pub(super) fn crash(&mut self) {
        self.note("crash");
        self.storage.stop();
        self.forget_life();
        self.change_disk();
        self.start();
    }

    /// What waited for an answer gets none.
    pub(super) fn forget_life(&mut self) {
        self.answers = Answers::default();
        self.questions = Questions::default();
        self.sessions.clear();
        self.said.clear();
        self.asked.clear();
        self.covered.clear();
        self.acts.clear();
        self.closings.clear();
        self.has_reloaded = false;
        self.renewal = None;
        self.releases.clear();
        self.hub = None;
        self.ledger.crash();
    }

    pub(super) fn change_disk(&mut self) {
        let loss = match self.chance.below(3) {
            0 => Loss::Nothing,
            1 => Loss::Unsynced,
            _ => Loss::Torn(self.chance.number()),
        };
        self.note(format!("{loss:?}"));
        let folder = new_folder();
        self.storage.survivors(loss, folder.path()).expect("room for a simulated disk");
        self.storage = CrashStorage::new(folder.path()).expect("a disk that was copied");
        self.folder = folder;
        self.is_faulty = false;
    }

    /// Stops the hub as `sluice stop` does, and starts it again.
    pub(super) fn restart(&mut self) {
        self.mend();
        self.stop();
        if self.storage.stopped() {
            return self.crash();
        }
        self.start();
    }

    pub(super) fn stop(&mut self) {
        self.note("stop");
        let hub = self.hub();
        let shared = Arc::clone(&hub.handle.shared);
        shared.stopping.store(true, Ordering::Release);
        let until = Instant::now() + Duration::from_secs(3600);
        assert!(shared.inbox.try_send(Event::Stop { until }).is_ok(), "the inbox has room");
        drop(shared);
        self.stop_sessions();
        for _ in 0..10_000 {
            if self.storage.stopped() {
                return;
            }
            self.spool();
            while self.desk() {}
            while self.hub().pile_len() > 0 {
                self.work();
            }
            self.perform();
            self.converse();
            while self.verdict() {}
            self.all_peers();
            self.pass(Duration::from_millis(10));
            if self.round() == Loop::Ends {
                let now = self.now;
                let hub = self.hub.take().expect("it has just stopped");
                hub.end(now);
                if !self.storage.stopped() {
                    self.ledger.all_is_durable();
                    self.answered = self.snapshots.len() - 1;
                    self.take_answers();
                }
                self.forget_life();
                return;
            }
        }
        panic!("the hub does not stop");
    }
}
