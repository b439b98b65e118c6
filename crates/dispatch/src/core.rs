//! The dispatcher's state, and the loop's steps: take an event in, let time pass, start what may start.
//!
//! No thread of its own and no clock: `run` drives it, and tests can do the same step by step. What an event does is
//! told by topic in the modules beside: `accept`, `schedule`, `release`, `settle`, `expiry`, `reports`.
//!
//! # Invariants
//! Every entry under a lease is in exactly one of `deliveries` (a worker has it) and `notices` (its sender is
//! being told). Every job slot in use belongs to one of `leases`.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use sluice_mail::Time;
use sluice_queue::{ChannelKey, EntryKey, Party, Queues, State, Turns};
use sluice_spool::Spool;

use crate::acts::Wishes;
use crate::agenda::Agenda;
use crate::aside::Aside;
use crate::closed::Closed;
use crate::crashes::Crashes;
use crate::desk::Reader;
use crate::ebb::Ebb;
use crate::event::{Answer, Event, Loaded, Question};
use crate::expiry::Patrol;
use crate::handle::Shared;
use crate::jumps::Jumps;
use crate::last_error::LastErrors;
use crate::lookout::Lookout;
use crate::moments::Moments;
use crate::mute::Mute;
use crate::notice::NoticeJob;
use crate::order::ReleaseId;
use crate::policy::Policy;
use crate::record::Promised;
use crate::records::{FoundReleases, Records, ReleaseRecord};
use crate::runner::Runner;
use crate::runs::Run;
use crate::settle::{PendingNotice, WaitingNotices};
use crate::sites::SitePlan;
use crate::sync::Sender;
use crate::timed::TimedChannels;

/// A channel, configured or not.
pub(crate) struct Channel {
    /// `None` when no configuration has it (any more).
    pub(crate) policy: Option<Policy>,
    pub(crate) runner: RunnerState,
    /// The number of its instance, which no other has, so that news of an old one is known as such.
    pub(crate) generation: u64,
    /// Leases under way, of whatever generation, and the recipients that they began with.
    pub(crate) jobs: u32,
    pub(crate) recipients_leased: u64,
    /// What went wrong with its plugin last.
    pub(crate) error: Option<String>,
    /// Failures in a row, for the pause before the next start.
    pub(crate) failures: u32,
    /// No lease before this time: its plugin needs a pause.
    pub(crate) pause_until: Time,
    /// The peer is to be asked for mail as soon as there is an instance.
    pub(crate) poll: bool,
    /// What was last said of deferred deliveries.
    pub(crate) deferrals: Deferrals,
    /// Deliveries that its plugin has given back, one after the other, without a word about anybody.
    pub(crate) mute: Mute,
}

/// What the log has of a channel's deferred deliveries: a peer that is away defers thousands, all for one reason.
#[derive(Debug, Default)]
pub(crate) struct Deferrals {
    /// The last that was told of: when, and why.
    pub(crate) told: Option<(Time, sluice_mail::Status, String)>,
    /// How many of the same since.
    pub(crate) untold: u64,
}

/// A channel's instance.
pub(crate) enum RunnerState {
    /// None; started when there is something to do.
    None,
    /// A thread is starting it.
    Starting,
    /// Alive.
    Running(Arc<dyn Runner>),
    /// It could not be started or has ended; not again before that time.
    Failed(Time),
}

/// Jobs of a pool.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub(crate) limit: u32,
    pub(crate) jobs: u32,
    /// Channels that have something to do and found no free slot: first come, first served, but for those that have been
    /// asked for mail. With the numbers of their places; the last one of a channel counts.
    waiting: Turns<(ChannelKey, u32)>,
    places: HashMap<ChannelKey, Wait>,
    last_place: u32,
}

/// A channel in line.
#[derive(Debug)]
struct Wait {
    place: u32,
    /// It is there for somebody who has just asked.
    is_asked: bool,
}

impl Pool {
    /// A channel stands in line, for a party if one has asked for its mail, which `is_new` says if it has had none of it yet. Where
    /// it stands there already, it stays, unless somebody has asked since.
    pub(crate) fn wait(&mut self, key: ChannelKey, party: Option<&Party>, is_new: bool) {
        let is_asked = party.is_some() && is_new;
        if self.places.get(&key).is_some_and(|wait| wait.is_asked || !is_asked) {
            return;
        }
        self.last_place = self.last_place.wrapping_add(1);
        self.places.insert(key, Wait { place: self.last_place, is_asked });
        self.waiting.push((key, self.last_place), party, is_asked);
    }

    pub(crate) fn is_waiting(&self, key: ChannelKey) -> bool {
        self.places.contains_key(&key)
    }

    /// Whether a channel that comes now has to stand in line even if there is a slot.
    pub(crate) fn has_line(&self) -> bool {
        !self.places.is_empty()
    }

    /// The channel whose turn it is at a free slot; `None` when there is no such slot or channel.
    pub(crate) fn next(&mut self) -> Option<ChannelKey> {
        if self.jobs >= self.limit {
            return None;
        }
        let places = &self.places;
        let is_over = |(key, place)| places.get(&key).is_none_or(|wait| wait.place != place);
        let (key, _) = self.waiting.pop(is_over)?;
        self.places.remove(&key);
        Some(key)
    }

    /// Nobody stands in line any more.
    pub(crate) fn send_away(&mut self) {
        self.waiting = Turns::default();
        self.places.clear();
    }
}

/// A lease under way.
pub(crate) struct Lease {
    pub(crate) channel: ChannelKey,
    pub(crate) pool: String,
    /// The peer was to be asked for mail.
    pub(crate) poll: bool,
    /// Tokens of its deliveries, for when all of them come back untried.
    pub(crate) tokens: Vec<u64>,
    /// Of all its entries.
    pub(crate) recipients: u64,
    /// The release whose turned connection it goes down.
    pub(crate) turned: Option<ReleaseId>,
}

/// A delivery under way: one entry, or several of one message that share a transaction.
pub(crate) struct InFlight {
    pub(crate) entry: Taken,
    /// For the records of a channel with `logging`.
    pub(crate) record: Option<Promised>,
    /// Recipients whose sender wants to hear when they are delivered, in order.
    pub(crate) wanted: Vec<u32>,
    pub(crate) others: Option<Box<Others>>,
    /// The release whose turned connection it goes down.
    pub(crate) turned: Option<ReleaseId>,
}

/// An entry that is being delivered.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) entry: EntryKey,
    /// It was taken before its own due time, by a release.
    pub(crate) early: bool,
}

/// The entries that share a delivery beside the first one.
pub(crate) struct Others {
    pub(crate) entries: Vec<Taken>,
    /// Which entry each recipient belongs to, counted from 0 for the first one. Known when the envelope has been read,
    /// before the plugin gets the delivery.
    pub(crate) owners: Owners,
}

/// Indexes of recipients in the envelope, and the entries that they belong to.
pub(crate) type Owners = Arc<OnceLock<Vec<(u32, usize)>>>;

impl InFlight {
    pub(crate) fn all(&self) -> impl Iterator<Item = Taken> {
        let others = self.others.iter().flat_map(|others| others.entries.iter().copied());
        std::iter::once(self.entry).chain(others)
    }
}

pub(crate) struct Core {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) spool: Spool,
    pub(crate) queues: Queues,
    /// By [`ChannelKey::index`].
    pub(crate) channels: Vec<Channel>,
    pub(crate) pools: HashMap<String, Pool>,
    /// Pools in which a slot has become free, or may have, since channels that wait for one were last asked.
    pub(crate) freed: Vec<String>,
    pub(crate) agenda: Agenda,
    pub(crate) lookout: Lookout,
    /// Channels with a fixed peer, by its name.
    pub(crate) peers: HashMap<String, Vec<ChannelKey>>,
    /// Channels whose peer the periodic service asks, with mail or without.
    pub(crate) pollers: Vec<ChannelKey>,
    /// Channels that may run for an operator and for a peer's ETRN, in order.
    pub(crate) runnable: [Arc<[ChannelKey]>; 2],
    /// Releases under way that have a run of their own, and the number of the last one.
    pub(crate) runs: HashMap<ReleaseId, Run>,
    pub(crate) last_release: ReleaseId,
    pub(crate) leases: HashMap<u64, Lease>,
    pub(crate) deliveries: HashMap<u64, InFlight>,
    pub(crate) notices: HashMap<u64, PendingNotice>,
    /// Notices that wait for a place among those under way, or for their time.
    pub(crate) notices_waiting: WaitingNotices,
    /// Source of lease, delivery and notice numbers.
    pub(crate) next_number: u64,
    /// Old instances that are still finishing.
    pub(crate) draining: HashMap<(ChannelKey, u64), Arc<dyn Runner>>,
    pub(crate) reader: Reader,
    /// Notices that are to be made.
    pub(crate) desk: crossbeam_channel::Sender<Box<NoticeJob>>,
    /// Who does what takes its time.
    pub(crate) aside: Arc<dyn Aside>,
    /// For threads and instances that report back.
    pub(crate) inbox: Sender<Event>,
    /// What the clock has set going so far.
    pub(crate) moments: Moments,
    pub(crate) patrol: Patrol,
    /// Whether somebody sets the clock.
    pub(crate) jumps: Jumps,
    /// What the sites ask for.
    pub(crate) sites: SitePlan,
    /// Channels with a schedule.
    pub(crate) timed: TimedChannels,
    /// What operators want done with entries that are in delivery.
    pub(crate) wishes: Wishes,
    /// Where entries stood that an operator returns, and which neither time nor a release was to move: on hold, or waiting for a date.
    /// Until the sender has been told a crash brings them back there.
    pub(crate) returning: HashMap<EntryKey, State>,
    /// Why entries were deferred last.
    pub(crate) errors: LastErrors,
    pub(crate) crashes: Crashes,
    /// What an operator has closed.
    pub(crate) closed: Closed,
    /// Notes of later versions, as they are.
    pub(crate) foreign_notes: Vec<Vec<u8>>,
    /// Releases that are over; those that an earlier run has noted, until the queue is recovered; and who waits for one.
    pub(crate) records: Records,
    pub(crate) found_releases: FoundReleases,
    pub(crate) waiting_for: HashMap<ReleaseId, Vec<Answer<Option<ReleaseRecord>>>>,
    pub(crate) checkpoint: crate::journal::Checkpoint,
    /// Whether much has gone.
    pub(crate) ebb: Ebb,
    /// The copy for a checkpoint that is being made.
    pub(crate) copying: Option<Box<crate::journal::Copying>>,
    /// When stopping: how long deliveries are waited for.
    pub(crate) stopping: Option<Instant>,
}

impl Core {
    /// Takes an event in. What follows from it is started by [`Core::proceed`].
    pub(crate) fn handle(&mut self, event: Event, now: Time) {
        match event {
            Event::Accepted(ticket) => {
                self.shared.permits.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
                self.accept(&ticket, now);
            }
            Event::Notice { number, end } => self.notice_ended(number, end, now),
            Event::Release { order, done } => done(self.release(&order, now)),
            Event::EndRelease(id) => self.end_release(id, now),
            Event::AwaitRelease(id, done) => self.await_release(id, done),
            Event::Host { channel, generation, event } => self.host_event(channel, generation, event, now),
            Event::Unreadable { token, what } => self.unreadable(token, &what, now),
            Event::Wanted { token, recipients } => {
                if let Some(delivery) = self.deliveries.get_mut(&token) {
                    delivery.wanted = recipients;
                }
            }
            Event::Started { channel, generation, result } => self.started(channel, generation, result, now),
            Event::Close { closing, done } => self.close(closing, done, now),
            Event::Choose { filter, from, done } => done(self.choose(&filter, from, now)),
            Event::Views { chosen, done } => done(self.views(&chosen)),
            Event::LastErrors { chosen, done } => done(self.last_errors(&chosen)),
            Event::Details { id, done } => done(self.details(id)),
            Event::Act { acting, chosen, done } => self.act(&acting, &chosen, done, now),
            Event::Ask(question) => self.answer(question, now),
            Event::Reload { loaded, policies, tried, done } => {
                self.reload(loaded, policies, tried, now);
                done(());
            }
            Event::PlanReload { instances, done } => done(self.plan_reload(instances, now)),
            Event::PlanRenewal { plugins, done } => done(self.plan_renewal(&plugins)),
            Event::Renew { prepared, next, drain, done } => done(self.renew(prepared, &next, drain, now)),
            Event::ActivatorsKept(kept) => self.note_activators(kept, now),
            Event::Cut(result) => self.begin_copy(result, now),
            Event::Checkpointed(result) => self.checkpointed(result, now),
            Event::Stop { until } => self.stop(until),
        }
    }

    /// Lets time pass: what has become due is ready, services and patrols take place.
    pub(crate) fn pass(&mut self, now: Time) {
        self.end_suspensions(now);
        self.queues.advance(now);
        self.hold_dated(now);
        self.agenda.advance(now);
        self.service(now);
        self.run_timed_channels(now);
        self.release_sites(now);
        self.walk_after_jump(now);
        self.walk_patrol(now);
        self.look_out(now);
        self.note_ended_runs(now);
    }

    /// Starts what may start.
    pub(crate) fn proceed(&mut self, now: Time) {
        self.start_notices(now);
        if self.stopping.is_none() {
            self.lease(now);
        }
        self.copy_on(now);
        self.checkpoint_if_large(now);
        self.give_back_pages(now);
    }

    /// When [`Core::pass`] or [`Core::proceed`] has something to do without an event.
    pub(crate) fn next_wake(&self) -> Time {
        if self.copying.is_some() {
            return Time(0);
        }
        let next = self
            .moments
            .next_service
            .min(self.patrol.next())
            .min(self.checkpoint.next())
            .min(self.lookout.next());
        let wakes = [
            self.jumps.next_wake(),
            self.queues.next_wake(),
            self.agenda.next_wake(),
            self.next_notice(),
            self.sites.next_wake(),
            self.timed.next_wake(),
            self.next_suspension_end(),
            self.ebb.next_wake(),
        ];
        wakes.into_iter().flatten().fold(next, Time::min)
    }

    pub(crate) const fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// The channel of that name, known from now on.
    pub(crate) fn channel(&mut self, name: &str) -> ChannelKey {
        let key = self.queues.channel(name);
        if self.channels.len() <= key.index() {
            self.channels.push(Channel {
                policy: None,
                runner: RunnerState::None,
                generation: 0,
                jobs: 0,
                recipients_leased: 0,
                error: None,
                failures: 0,
                pause_until: Time(0),
                poll: false,
                deferrals: Deferrals::default(),
                mute: Mute::default(),
            });
        }
        key
    }

    pub(crate) fn policy(&self, key: ChannelKey) -> Option<&Policy> {
        self.channels.get(key.index()).and_then(|channel| channel.policy.as_ref())
    }

    fn answer(&self, question: Question, now: Time) {
        match question {
            Question::Summarize { from, done } => done(self.summaries(from)),
            Question::Suspensions(done) => done(self.suspensions()),
            Question::List { selector, limit, done } => done(self.list(selector.as_ref(), limit)),
            Question::Releases { site, limit, done } => done(self.list_releases(site.as_deref(), limit)),
            Question::Release(id, done) => done(self.release_record(id)),
            Question::Channels(done) => done(self.channel_reports(now)),
        }
    }
}
