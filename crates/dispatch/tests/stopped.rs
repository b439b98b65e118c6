//! The dispatcher on a disk that is stopped after every so many operations: what a start knows of holds, attempts, due times,
//! suspensions, stopped channels and releases.
//!
//! The workload keeps a diary of what it was told. A suspension is told when it is on the disk, and everything the dispatcher has
//! journalled before it is then on the disk too: at such a *mark* the diary takes down how everything stands.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use sluice_dispatch::{Act as Do, Acting, Closing, Filter, ReleaseId, ask};
use sluice_mail::{Priority, Time};
use sluice_queue::State;
use sluice_spool::EntryId;
use sluice_spool::testing::{CrashStorage, Loss};
use support::{Act, HOUR, House, MINUTE, configuration};

/// How an entry stood at a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stood {
    attempts: u16,
    due: Option<Time>,
}

#[derive(Debug, Default)]
struct Diary {
    /// Told to be accepted, and for whom.
    accepted: BTreeMap<EntryId, &'static str>,
    /// For whom anything was sent at all.
    sent: BTreeSet<&'static str>,
    /// Told to be on hold, and not asked to be lifted.
    held: BTreeSet<EntryId>,
    /// Told to be suspended; told to be stopped.
    suspended: BTreeSet<&'static str>,
    suspensions_asked: BTreeSet<&'static str>,
    stopped: bool,
    /// As of the last mark: what waited, and what had gone.
    stood: BTreeMap<EntryId, Stood>,
    gone: BTreeSet<EntryId>,
    /// Releases that were told of before the last mark, and whether they were over.
    releases: BTreeMap<u64, bool>,
    releases_told: Vec<ReleaseId>,
    /// When the clock stood still.
    now: Time,
}

/// The house while its disk lives. Each step gives `None` when it does not any more.
struct Story<'a> {
    house: &'a House,
    disk: &'a CrashStorage,
    diary: &'a mut Diary,
}

impl Story<'_> {
    fn lives(&self) -> Option<()> {
        (!self.disk.stopped()).then_some(())
    }

    fn send(&mut self, to: &'static str) -> Option<EntryId> {
        self.diary.sent.insert(to.split_once('!').unwrap().1);
        let envelope = self.house.envelope("sender@there.example", Priority::Normal, &[to]);
        let id = self.house.try_submit(envelope, b"Subject: test\r\n\r\nHello.\r\n".to_vec()).ok()?;
        self.diary.accepted.insert(id, to);
        Some(id)
    }

    fn act(&mut self, act: Do, id: EntryId) -> Option<()> {
        if act != Do::Hold {
            self.diary.held.remove(&id);
        }
        let filter = Filter { ids: vec![id], ..Filter::default() };
        let chosen = self.house.handle().choose(filter, &mut |_, _| true).ok()?.entries;
        let acting = Acting { act, by: "the test".to_owned(), reason: String::new() };
        self.lives()?;
        let tally = self.house.handle().act(acting, &chosen, &mut |_, _| true).ok()?;
        self.lives()?;
        if act == Do::Hold && tally.done == 1 {
            self.diary.held.insert(id);
        }
        Some(())
    }

    fn suspend(&mut self, domain: &'static str) -> Option<()> {
        self.lives()?;
        self.diary.suspensions_asked.insert(domain);
        let closing =
            Closing::Suspend { domain: domain.to_owned(), below: false, time: None, reason: String::new() };
        ask(|done| self.house.handle().close(closing, done)).ok()?.ok()?;
        self.diary.suspended.insert(domain);
        Some(())
    }

    /// Everything so far is on the disk.
    fn mark(&mut self, domain: &'static str) -> Option<()> {
        self.house.quiet();
        let list = self.house.list();
        let releases: BTreeMap<u64, bool> = self
            .diary
            .releases_told
            .iter()
            .map(|id| {
                (
                    id.0,
                    ask(|done| self.house.handle().release_record(*id, done))
                        .unwrap()
                        .unwrap()
                        .ended
                        .is_some(),
                )
            })
            .collect();
        self.suspend(domain)?;
        self.diary.stood =
            list.iter().map(|view| (view.id, Stood { attempts: view.attempts, due: view.due })).collect();
        self.diary.gone =
            self.diary.accepted.keys().copied().filter(|id| !self.diary.stood.contains_key(id)).collect();
        self.diary.releases = releases;
        Some(())
    }

    fn release(&mut self, selector: &str) -> Option<()> {
        self.lives()?;
        let released = self.house.etrn(selector);
        self.diary.releases_told.push(released.id);
        Some(())
    }

    /// The first half, before a restart.
    fn first(&mut self) -> Option<()> {
        self.send("tcp_local!late@there.example")?;
        self.send("tcp_slow!b@slow.example")?;
        let kept = self.send("tcp_slow!c@slow.example")?;
        self.send("tcp_site!d@site.example")?;
        self.mark("mark1.example")?;
        self.act(Do::Hold, kept)?;
        self.suspend("peer.example")?;
        self.send("tcp_site!e@peer.example")?;
        let closing = Closing::Stop(vec!["tcp_called".to_owned()]);
        ask(|done| self.house.handle().close(closing, done)).ok()?.ok()?;
        self.diary.stopped = true;
        self.house.pass(31 * MINUTE);
        self.mark("mark2.example")?;
        self.release("slow.example")?;
        self.mark("mark3.example")
    }

    fn second(&mut self) -> Option<()> {
        self.house.pass(HOUR);
        let other = self.send("tcp_slow!f@slow.example")?;
        self.act(Do::Hold, other)?;
        self.mark("mark4.example")?;
        let first = self.diary.held.first().copied()?;
        self.act(Do::Release, first)?;
        self.release("slow.example")?;
        self.house.pass(HOUR);
        self.mark("mark5.example")
    }
}

/// Runs the workload until operation `stop`. The disk, the diary, and whether it came to the end.
fn run_until(stop: u64, folder: &Path) -> (CrashStorage, Diary, bool) {
    let disk = CrashStorage::stop_at(folder, stop).unwrap();
    let mut diary = Diary::default();
    let begin = Time(1_790_000_000_000);
    let loaded = configuration(&[("tcp_local", "backoff PT30M PT1H")], "");
    diary.now = begin;
    let Some(mut house) =
        House::on(loaded, Arc::new(disk.clone()), begin, &[("late@there.example", Act::Defer)])
    else {
        return (disk, diary, false);
    };
    let mut ended = Story { house: &house, disk: &disk, diary: &mut diary }.first().is_some();
    diary.now = house.clock_now();
    if ended {
        house.stop();
        ended = !disk.stopped() && house.try_start().is_ok();
    }
    if ended {
        ended = Story { house: &house, disk: &disk, diary: &mut diary }.second().is_some();
        diary.now = house.clock_now();
    }
    house.stop();
    let ended = ended && !disk.stopped();
    (disk, diary, ended)
}

fn check(folder: &Path, diary: &Diary) {
    let rest = CrashStorage::new(folder).unwrap();
    let loaded = configuration(&[("tcp_local", "backoff PT30M PT1H")], "");
    let acts = ["tcp_local", "tcp_slow", "tcp_site"].map(|channel| (channel, Act::Defer));
    let house = House::on(loaded, Arc::new(rest), diary.now, &acts).unwrap();
    house.quiet();
    let list = house.list();
    let view = |id: &EntryId| list.iter().find(|view| view.id == *id);
    for (id, to) in &diary.accepted {
        // Only two are ever delivered: when they are asked for.
        let may_be_gone = to.ends_with("@slow.example") && !diary.releases_told.is_empty()
            || to.ends_with("d@site.example");
        assert!(view(id).is_some() || may_be_gone, "{to} was accepted and is lost");
        assert!(!(view(id).is_some() && diary.gone.contains(id)), "{to} had gone and is back");
    }
    assert!(list.len() <= diary.sent.len(), "something was invented: {list:#?}");
    for id in &diary.held {
        assert_eq!(view(id).unwrap().state, State::Held, "{id} was put on hold: {list:#?}");
    }
    for (id, stood) in &diary.stood {
        let Some(view) = view(id) else { continue };
        assert!(view.attempts >= stood.attempts, "{id} was tried more often: {stood:?}, {view:?}");
        let tried_since = view.attempts > stood.attempts;
        let moved = diary.now;
        // Once more tried, or released, it waits for another time.
        let released = !diary.releases_told.is_empty();
        assert!(
            tried_since || released || view.due == stood.due || view.due <= Some(moved),
            "{stood:?}, {view:?}"
        );
    }
    let suspensions = ask(|done| house.handle().suspensions(done)).unwrap();
    let suspended: BTreeSet<&str> = suspensions.iter().map(|row| row.name.as_str()).collect();
    assert!(diary.suspended.iter().all(|domain| suspended.contains(domain)), "{suspended:?} {diary:#?}");
    let asked = &diary.suspensions_asked;
    assert!(suspended.iter().all(|domain| asked.contains(domain)), "{suspended:?} was invented");
    if diary.stopped {
        assert!(house.channel("tcp_called").stopped_since.is_some(), "the channel was stopped");
    }
    for (id, was_over) in &diary.releases {
        let record = ask(|done| house.handle().release_record(ReleaseId(*id), done)).unwrap();
        let record = record.unwrap_or_else(|| panic!("no record of {id}"));
        assert!(record.is_balanced(), "{record:#?}");
        assert!(!was_over || record.ended.is_some(), "{record:#?}");
    }
    // Time moves nothing that is on hold or suspended.
    house.pass(5 * HOUR);
    house.quiet();
    for got in house.got() {
        let id: EntryId = got.id.parse().unwrap();
        assert!(!diary.held.contains(&id), "on hold, and tried: {got:?}");
        assert!(
            !diary.suspended.contains("peer.example") || got.domain != "peer.example",
            "suspended, and tried"
        );
    }
}

#[test]
fn stopped_anywhere_a_start_knows_holds_attempts_suspensions_and_releases() {
    let mut stop = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let (disk, diary, ended) = run_until(stop, folder.path());
        let losses = [Loss::Nothing, Loss::Unsynced, Loss::Torn(stop), Loss::Torn(stop + 1000)];
        for loss in losses {
            let rest = tempfile::tempdir().unwrap();
            disk.survivors(loss, rest.path()).unwrap();
            let result = std::panic::catch_unwind(|| check(rest.path(), &diary));
            assert!(result.is_ok(), "stopped at operation {stop}, loss {loss:?}: {diary:#?}");
        }
        if ended {
            assert!(stop > 60, "the workload has only {stop} operations");
            assert!(diary.stood.values().any(|stood| stood.attempts > 1), "{diary:#?}");
            assert_eq!((diary.held.len(), diary.releases.len(), diary.gone.len()), (1, 2, 2), "{diary:#?}");
            return;
        }
        stop += 1;
    }
}
