//! One life of the hub: dispatcher, desk, spool and what they give away, each of which does something only when it is told
//! to, on one thread. It ends by a stop, or by being dropped, as a crash drops everything.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice_mail::Time;
use sluice_spool::testing::{CrashStorage, Steps};
use sluice_spool::{Live, OpenError, Options, Storage};

use super::planted::Plant;
use super::plugins::Plugins;
use crate::aside::{Aside, Work};
use crate::clock::Clock;
use crate::core::Core;
use crate::crashes::Crashes;
use crate::desk::Desk;
use crate::event::Loaded;
use crate::handle::Handle;
use crate::notice::NoticeJob;
use crate::run::{Assembled, Loop, Parts, WaysIn};

/// The dispatcher never asks: it is told the time with each step.
struct NoClock(Time);

impl Clock for NoClock {
    fn now(&self) -> Time {
        self.0
    }
}

/// Pieces of work that nobody has done yet.
#[derive(Clone, Default)]
struct Pile(Arc<Mutex<Vec<(String, Work)>>>);

impl Aside for Pile {
    fn begin(&self, name: String, work: Work) -> io::Result<()> {
        self.0.lock().expect("work is done outside the lock").push((name, work));
        Ok(())
    }
}

pub(super) struct Hub {
    pub(super) core: Core,
    pub(super) handle: Handle,
    pub(super) plugins: Plugins,
    pub(super) steps: Steps,
    /// A fault that it has.
    pub(super) plant: Option<Plant>,
    ways_in: WaysIn,
    desk: Desk,
    jobs: crossbeam_channel::Receiver<Box<NoticeJob>>,
    pile: Pile,
    /// Dropped last, as in `run`.
    _ended: crossbeam_channel::Sender<()>,
}

/// Small files, so that there are many; and what is left of them is moved soon.
fn options() -> Options {
    let rest = Duration::from_secs(2);
    Options { segment_size: 48 << 10, journal_size: 8 << 10, queue_length: 64, rest, ..Options::default() }
}

impl Hub {
    /// Starts on what the disk has; with what was found there.
    pub(super) fn start(
        storage: &CrashStorage,
        loaded: Arc<Loaded>,
        plugins: Plugins,
        now: Time,
        instant: Instant,
    ) -> Result<(Self, Vec<Live>), OpenError> {
        let storage: Arc<dyn Storage> = Arc::new(storage.clone());
        let (spool, steps, recovered) = Steps::open(storage, options(), instant)?;
        let found = recovered.entries.clone();
        let parts = Parts {
            loaded,
            spool,
            entries: recovered.entries,
            notes: recovered.notes,
            runners: Arc::new(plugins.clone()),
            clock: Arc::new(NoClock(now)),
        };
        let pile = Pile::default();
        let Assembled { core, ways_in, desk, jobs, ended, handle } =
            Assembled::of(parts, Arc::new(pile.clone()));
        Ok((
            Self { core, handle, plugins, steps, plant: None, ways_in, desk, jobs, pile, _ended: ended },
            found,
        ))
    }

    fn watch_clock(&mut self, (now, steady): (Time, Duration)) {
        self.core.watch_clock((now, Some(steady)));
        if self.plant == Some(Plant::RetriesStayWhereTheyWere) {
            self.core.jumps.forget_what_waits();
        }
        if self.plant == Some(Plant::DeathsAreForgotten) {
            self.core.crashes = Crashes::default();
        }
    }

    /// Takes in all that has come. How much that was.
    pub(super) fn take_in(&mut self, reading: (Time, Duration)) -> usize {
        let (waiting, now) = (self.waiting(), reading.0);
        self.watch_clock(reading);
        self.core.take_in(&self.ways_in, now);
        waiting
    }

    /// What would be taken in.
    pub(super) fn waiting(&self) -> usize {
        self.ways_in.arrivals.len() + self.ways_in.inbox.len()
    }

    pub(super) fn go_on(&mut self, reading: (Time, Duration)) -> Loop {
        self.watch_clock(reading);
        self.core.go_on(reading.0)
    }

    /// A worker reads its lease, or one job is done at the desk, if there is either.
    pub(super) fn read(&mut self) -> bool {
        if self.plugins.read() {
            return true;
        }
        let Ok(job) = self.jobs.try_recv() else { return false };
        self.desk.take(job);
        true
    }

    pub(super) fn pile_len(&self) -> usize {
        self.pile.0.lock().expect("work is done outside the lock").len()
    }

    /// Does one of the pieces of work that wait. Its name.
    pub(super) fn work(&mut self, which: usize) -> String {
        let (name, work) = self.pile.0.lock().expect("work is done outside the lock").remove(which);
        work();
        name
    }

    /// The end of a stop.
    pub(super) fn end(self, now: Time) {
        self.core.end(now);
    }
}
