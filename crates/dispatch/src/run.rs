//! The loop and its thread: what wakes it, in which order it takes things, and how it ends.
//!
//! It is woken by an arrival, by the inbox, or by the next time that something is due, and looks at the clock at least
//! once a second, for clocks may be set. It ends after [`Event::Stop`], when deliveries are back or their deadline is over.
//!
//! Events are taken in batches, arrivals first: who asks about the queue after a message was acknowledged sees it there.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use sluice_mail::Time;
use sluice_queue::Queues;
use sluice_spool::{Live, Spool};

use crate::aside::{Aside, Threads};
use crate::clock::Clock;
use crate::closed::Closed;
use crate::core::{Core, RunnerState};
use crate::desk::{Desk, Reader};
use crate::event::{Event, Loaded};
use crate::expiry::Patrol;
use crate::handle::{Handle, INBOX, NOTICES, PERMITS, Shared};
use crate::journal::Checkpoint;
use crate::moments::Moments;
use crate::notice::NoticeJob;
use crate::order::ReleaseId;
use crate::policy::Policy;
use crate::runner::Runners;
use crate::sync::{ArcSwap, AtomicBool, AtomicUsize, Bell, Receiver, bounded};

/// Most events taken before what follows from them is started.
const BATCH: usize = 1024;
/// Longest sleep: a clock that was set is noticed within it.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// While stopping: how often it is looked whether all is done.
const STOP_LOOK: Duration = Duration::from_millis(20);
/// Part of the stopping deadline that is kept for writing things down.
const WRITE_DOWN: Duration = Duration::from_secs(2);

/// What the dispatcher is made of.
pub struct Parts {
    /// The configuration.
    pub loaded: Arc<Loaded>,
    /// The spool, just opened.
    pub spool: Spool,
    /// What was in it.
    pub entries: Vec<Live>,
    /// The dispatcher's notes in it, oldest first.
    pub notes: Vec<Vec<u8>>,
    /// Who starts channel instances.
    pub runners: Arc<dyn Runners>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Parts").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

/// Starts the dispatcher.
#[derive(Debug)]
pub struct Dispatcher;

impl Dispatcher {
    /// Queues what the spool has and starts the loop. Returns when everything is queued.
    ///
    /// # Errors
    /// The machine gives no thread.
    pub fn start(parts: Parts) -> io::Result<Handle> {
        let clock = Arc::clone(&parts.clock);
        let Assembled { mut core, ways_in, desk, jobs, ended, handle } =
            Assembled::of(parts, Arc::new(Threads));
        std::thread::Builder::new().name("dispatch-desk".to_owned()).spawn(move || desk.run(&jobs))?;
        let thread = std::thread::Builder::new().name("dispatch".to_owned()).spawn(move || {
            run(&mut core, &ways_in, &*clock);
            core.end(clock.now());
            drop(ended);
        })?;
        if let Ok(mut place) = handle.shared.thread.lock() {
            *place = Some(thread);
        }
        Ok(handle)
    }
}

/// Where events come in.
pub(crate) struct WaysIn {
    pub(crate) arrivals: Receiver<Event>,
    pub(crate) inbox: Receiver<Event>,
    /// Rung when there is something in either.
    pub(crate) bell: Arc<Bell>,
}

impl WaysIn {
    fn are_empty(&self) -> bool {
        self.arrivals.is_empty() && self.inbox.is_empty()
    }
}

/// A dispatcher whose threads have not begun: what each of them is to have.
pub(crate) struct Assembled {
    pub(crate) core: Core,
    pub(crate) ways_in: WaysIn,
    pub(crate) desk: Desk,
    pub(crate) jobs: crossbeam_channel::Receiver<Box<NoticeJob>>,
    /// Dropped when the loop has ended.
    pub(crate) ended: crossbeam_channel::Sender<()>,
    pub(crate) handle: Handle,
}

impl Assembled {
    /// Queues what the spool has.
    pub(crate) fn of(parts: Parts, aside: Arc<dyn Aside>) -> Self {
        let Parts { loaded, spool, entries, notes, runners, clock } = parts;
        let bell = Bell::new();
        let (arrivals_in, arrivals) = bell.bounded(PERMITS + NOTICES);
        let (inbox_in, inbox) = bell.bounded(INBOX);
        // Bounded by the notices under way.
        let (desk_in, desk_out) = unbounded();
        let (ended_in, ended) = bounded::<()>(0);
        let shared = Arc::new(Shared {
            loaded: ArcSwap::new(Arc::clone(&loaded)),
            permits: AtomicUsize::new(PERMITS),
            looks: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            arrivals: arrivals_in.clone(),
            inbox: inbox_in.clone(),
            spool: spool.clone(),
            runners,
            activators_kept: Mutex::default(),
            thread: Mutex::new(None),
            ended,
        });
        let now = clock.now();
        let mut core = Core {
            loaded: Arc::clone(&loaded),
            shared: Arc::clone(&shared),
            spool: spool.clone(),
            queues: Queues::new(),
            channels: Vec::new(),
            pools: std::collections::HashMap::new(),
            freed: Vec::new(),
            agenda: crate::agenda::Agenda::default(),
            lookout: crate::lookout::Lookout::starting(now),
            peers: std::collections::HashMap::new(),
            pollers: Vec::new(),
            runnable: [Arc::default(), Arc::default()],
            runs: std::collections::HashMap::new(),
            last_release: ReleaseId(0),
            leases: std::collections::HashMap::new(),
            deliveries: std::collections::HashMap::new(),
            notices: std::collections::HashMap::new(),
            notices_waiting: crate::settle::WaitingNotices::default(),
            next_number: 0,
            draining: std::collections::HashMap::new(),
            reader: Reader { spool: spool.clone(), inbox: inbox_in.clone() },
            desk: desk_in,
            aside,
            inbox: inbox_in,
            moments: Moments {
                kept: now,
                next_service: now.plus(loaded.config.options.post_interval),
                ..Moments::default()
            },
            patrol: Patrol::starting(now),
            jumps: crate::jumps::Jumps::default(),
            sites: crate::sites::SitePlan::default(),
            timed: crate::timed::TimedChannels::default(),
            wishes: std::collections::HashMap::new(),
            returning: std::collections::HashMap::new(),
            errors: crate::last_error::LastErrors::default(),
            crashes: crate::crashes::Crashes::default(),
            closed: Closed::default(),
            foreign_notes: Vec::new(),
            records: crate::records::Records::new(crate::reload::kept_records(&loaded.config)),
            found_releases: crate::records::FoundReleases::default(),
            waiting_for: std::collections::HashMap::new(),
            checkpoint: Checkpoint::starting(now),
            ebb: crate::ebb::Ebb::starting(now),
            copying: None,
            stopping: None,
        };
        let policies = Policy::of_all(&loaded.config);
        core.reload(loaded, policies, Vec::new(), now);
        core.take_up(crate::notes::read(notes), now);
        core.recover(entries, now);
        core.recover_releases(now);
        let desk = Desk { spool, arrivals: arrivals_in };
        let ways_in = WaysIn { arrivals, inbox, bell };
        Self { core, ways_in, desk, jobs: desk_out, ended: ended_in, handle: Handle { shared } }
    }
}

/// The loop, until the dispatcher has stopped; the end is the caller's to make.
pub(crate) fn run(core: &mut Core, ways_in: &WaysIn, clock: &dyn Clock) {
    loop {
        let reading = clock.reading();
        let now = reading.0;
        core.watch_clock(reading);
        if core.go_on(now) == Loop::Ends {
            break;
        }
        let wait =
            if core.stopping.is_some() { STOP_LOOK } else { core.next_wake().since(now).min(SLEEP_MAX) };
        ways_in.bell.wait(wait, || ways_in.are_empty());
        if !ways_in.are_empty() {
            let reading = clock.reading();
            core.watch_clock(reading);
            core.take_in(ways_in, reading.0);
        }
    }
}

/// Whether the loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loop {
    GoesOn,
    Ends,
}

/// The two halves of a round.
impl Core {
    /// Does what is due, and starts what may start.
    pub(crate) fn go_on(&mut self, now: Time) -> Loop {
        self.pass(now);
        self.proceed(now);
        if self.has_stopped() { Loop::Ends } else { Loop::GoesOn }
    }

    /// Takes what has come in, as much as is a batch.
    pub(crate) fn take_in(&mut self, ways_in: &WaysIn, now: Time) {
        let WaysIn { arrivals, inbox, .. } = ways_in;
        self.pass(now);
        for _ in 0..BATCH {
            if let Ok(arrival) = arrivals.try_recv() {
                self.handle(arrival, now);
                continue;
            }
            let Ok(event) = inbox.try_recv() else { break };
            // What was acknowledged before this was asked may have come in since the look at the arrivals.
            for arrival in arrivals.try_iter().take(arrivals.len()) {
                self.handle(arrival, now);
            }
            self.handle(event, now);
        }
    }
}

impl Core {
    /// Begins to stop: no new lease, and instances finish what they hold.
    pub(crate) fn stop(&mut self, until: Instant) {
        tracing::info!(deliveries = self.deliveries.len(), "dispatcher is stopping");
        let until = until.checked_sub(WRITE_DOWN).map_or(until, |earlier| earlier.max(Instant::now()));
        self.stopping = Some(until);
        self.drop_copy();
        let deadline = until.saturating_duration_since(Instant::now());
        for key in self.queues.channels() {
            self.retire_runner(key, deadline);
        }
    }

    /// Whether everything has come back, or has had its time.
    fn has_stopped(&self) -> bool {
        let Some(until) = self.stopping else { return false };
        let is_starting = self.channels.iter().any(|channel| matches!(channel.runner, RunnerState::Starting));
        let is_done = self.deliveries.is_empty()
            && self.notices.is_empty()
            && self.leases.is_empty()
            && self.draining.is_empty()
            && !self.checkpoint.is_running()
            && !is_starting;
        is_done || Instant::now() >= until
    }

    /// Writes down what there is. What is still under way is written as waiting: it will be delivered again.
    pub(crate) fn end(mut self, now: Time) {
        if !self.deliveries.is_empty() {
            tracing::warn!(
                deliveries = self.deliveries.len(),
                "stopped with deliveries under way; they will be tried again"
            );
        }
        self.stop_releases(now);
        self.reckon_moments(now);
        self.last_checkpoint();
        let spool = self.spool.clone();
        spool.close();
        let stats = self.spool.stats();
        tracing::info!(
            commits = stats.commits,
            syncs = stats.syncs,
            written = stats.written,
            journal_syncs = stats.journal_syncs,
            journalled = stats.journalled,
            forwarded = stats.forwarded,
            "dispatcher has stopped"
        );
    }
}
