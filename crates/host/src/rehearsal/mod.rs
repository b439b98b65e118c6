//! Instances, workers and the watchdog under shuttle: every order of steps that chance comes upon, with a plugin that is played.
//!
//! What is promised to whoever offers leases is held against what comes: each delivery that was taken is finished once, each
//! lease is done once and after its deliveries, the end comes once and last. And that something comes at all: nobody is saved
//! by a timeout (`doubles`), so that a wake-up that is lost is a deadlock, which shuttle finds.

pub(crate) mod doubles;

use crate::call::{Handle, NotCreated};
use crate::event::{Events, HostEvent};
use crate::instance::Instance;
use crate::library::Functions;
use crate::load::Host;
use crate::plugin::Plugin;
use crate::sealed::Sealed;
use crate::spec::Spec;
use crate::work::{Delivery, Lease, Recipient};
use crate::worker::{Answer, Worker};
use doubles::{Condvar, Mutex};
use shuttle::rand::{Rng, thread_rng};
use sluice_abi as abi;
use sluice_mail::{Handover, Outcome, Status};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

/// Orders of steps that are tried for each story.
const RUNS: usize = 3000;

/// True once in so many times.
fn once_in(times: u32) -> bool {
    thread_rng().gen_range(0..times) == 0
}

/// Deliveries that are finished only when so many of them are under way at once.
#[derive(Default)]
struct Meeting {
    /// Needed, and there.
    state: Mutex<(u64, u64)>,
    changed: Condvar,
}

impl Meeting {
    fn come(&self) {
        let mut state = self.state.lock();
        state.1 += 1;
        self.changed.notify_all();
        while state.1 < state.0 {
            self.changed.wait(&mut state);
        }
    }
}

thread_local! {
    /// That of the story which is played; shuttle plays all threads of one on this one.
    static MEETING: RefCell<Option<Arc<Meeting>>> = const { RefCell::new(None) };
}

/// How the plugin is played; told by the channel's name.
fn is_moody(spec: &Spec) -> bool {
    spec.channel == "moody"
}

/// A channel of the played plugin.
pub(crate) struct Created {
    moody: bool,
}

/// Creates one, or not.
pub(crate) fn create(_: &Arc<Plugin>, spec: &Spec, _: &'static Handle) -> Result<Created, NotCreated> {
    shuttle::thread::yield_now();
    match is_moody(spec) && once_in(8) {
        true => Err(NotCreated::Failed("a bad day".to_owned())),
        false => Ok(Created { moody: is_moody(spec) }),
    }
}

impl Created {
    /// Takes delivery after delivery and settles them, some later than others, until it is told to stop.
    pub(crate) fn run(&self, worker: &Arc<Worker>) -> (i32, String) {
        let mut held = Vec::new();
        loop {
            // Whoever holds something does not wait for more.
            let patience = if held.is_empty() { Duration::from_secs(3600) } else { Duration::ZERO };
            match worker.next(patience) {
                Answer::Delivery(pointer) => {
                    held.push(pointer.token());
                    let meeting = MEETING.with_borrow(Clone::clone);
                    meeting.iter().for_each(|meeting| meeting.come());
                }
                Answer::Idle | Answer::Poll => {}
                Answer::Stop => {
                    held.drain(..).for_each(|token| settle(worker, token));
                    return (abi::STATUS_OK, String::new());
                }
            }
            if self.moody && once_in(10) {
                return (abi::STATUS_PANIC, "panicked".to_owned());
            }
            if !once_in(3) {
                held.drain(..).for_each(|token| settle(worker, token));
            }
        }
    }

    pub(crate) fn stop(&self) {}
}

fn settle(worker: &Worker, token: u64) {
    let status = Status { class: 2, subject: 0, detail: 0 };
    let handover = Handover::Final;
    worker.settle(
        token,
        0,
        Outcome::Delivered { status, text: String::new(), peer: String::new(), handover },
    );
    worker.finish(token);
}

extern "C" fn no_create(_: *const abi::Host, _: *const abi::Create, _: *mut *mut c_void) -> i32 {
    abi::STATUS_REFUSED
}

extern "C" fn no_run(_: *mut c_void, _: *const abi::Worker) -> i32 {
    abi::STATUS_REFUSED
}

extern "C" fn nothing(_: *mut c_void) {}

/// A plugin in name: `create` above takes its place.
fn plugin() -> Arc<Plugin> {
    let functions = Functions {
        create: no_create,
        run: no_run,
        stop: nothing,
        destroy: nothing,
        route: None,
        filter: None,
    };
    Arc::new(Plugin {
        generation: 1,
        sealed: Arc::new(Sealed::of_nothing()),
        name: "played".to_owned(),
        version: String::new(),
        description: String::new(),
        abi_version: 1,
        features: 0,
        options: Vec::new(),
        routines: Vec::new(),
        functions,
        routine_calls: crate::aside::Aside::new("routine"),
    })
}

fn delivery(token: u64) -> Delivery {
    let address = "a@there.example".to_owned();
    let recipients =
        vec![Recipient { index: 0, original: address.clone(), address, wishes: Default::default() }];
    Delivery {
        token,
        id: token.to_string(),
        source_channel: "l".to_owned(),
        domain: "there.example".into(),
        recipients,
        ..Delivery::blank()
    }
}

/// What has come, and who waits for it.
#[derive(Default)]
struct Told {
    events: Mutex<Vec<HostEvent>>,
    changed: Condvar,
}

impl Told {
    /// Waits until the events are enough.
    fn wait(&self, is_enough: impl Fn(&[HostEvent]) -> bool) {
        let mut events = self.events.lock();
        while !is_enough(&events) {
            self.changed.wait(&mut events);
        }
    }
}

fn done(events: &[HostEvent]) -> usize {
    events.iter().filter(|event| event.lease_done().is_some()).count()
}

fn stopped(events: &[HostEvent]) -> bool {
    events.iter().any(|event| matches!(event, HostEvent::Stopped { .. }))
}

/// One instance in one order of steps.
struct Story {
    spec: Spec,
    leases: u64,
    deliveries: u64,
    /// The stop comes while leases are offered and worked on, not after all are done; and gives workers so much time.
    stops_early: Option<Duration>,
    /// A lease goes before the others, and is done when they come.
    warms_up: bool,
    /// Each of the others is held until all are.
    meet: bool,
}

impl Story {
    fn of(channel: &str, workers: u32) -> Self {
        let mut spec = Spec::new(channel, Vec::new());
        spec.max_workers = workers;
        // No time passes in a rehearsal: what is to rest rests for no time, and what is idle may go at once.
        (spec.pause_first, spec.pause_max) = (Duration::ZERO, Duration::ZERO);
        if once_in(2) {
            spec.idle_exit = Duration::ZERO;
        }
        spec.hung_max = 1000;
        let (stops_early, warms_up, meet) = (None, false, false);
        Self { spec, leases: 3, deliveries: 2, stops_early, warms_up, meet }
    }

    fn play(self) {
        let told = Arc::new(Told::default());
        let teller = told.clone();
        let events: Events = Arc::new(move |event| {
            teller.events.lock().push(event);
            teller.changed.notify_all();
        });
        let host = Host::new(Vec::new());
        let instance = Arc::new(Instance::start(&host, plugin(), self.spec, events));
        let offer = |lease: u64| {
            let deliveries = (0..self.deliveries).map(|number| delivery(lease * 10 + number)).collect();
            instance.offer(Lease { lease, poll: once_in(4), deliveries }).is_ok().then_some(lease)
        };
        let meeting = Arc::new(Meeting::default());
        MEETING.set(Some(meeting.clone()));
        let mut taken = Vec::new();
        if self.warms_up {
            taken.extend(offer(self.leases));
            told.wait(|events| done(events) == taken.len());
        }
        *meeting.state.lock() = (if self.meet { self.leases } else { 0 }, 0);
        let stop = self.stops_early.map(|deadline| {
            let instance = instance.clone();
            shuttle::thread::spawn(move || instance.stop(deadline))
        });
        taken.extend((0..self.leases).filter_map(offer));
        if let Some(stop) = stop {
            stop.join().expect("a stop does not panic");
        } else {
            told.wait(|events| done(events) == taken.len());
            instance.stop(Duration::from_secs(1));
        }
        told.wait(stopped);
        drop(instance);
        drop(host);
        check(&told.events.lock(), &taken, self.deliveries);
    }

    fn rehearse(story: impl Fn() -> Story + Send + Sync + 'static) {
        shuttle::check_random(move || story().play(), RUNS);
    }
}

fn check(events: &[HostEvent], taken: &[u64], deliveries: u64) {
    let mut left: BTreeMap<u64, u64> = taken.iter().map(|&lease| (lease, deliveries)).collect();
    let mut finished = Vec::new();
    for (place, event) in events.iter().enumerate() {
        match event {
            HostEvent::Finished { token, lease, outcomes, unsettled, .. } => {
                assert!(!finished.contains(token), "delivery {token} is finished twice: {events:#?}");
                finished.push(*token);
                assert_eq!(outcomes.len() + unsettled.len(), 1, "{event:?}");
                let left =
                    left.get_mut(lease).unwrap_or_else(|| panic!("lease {lease} is not open: {events:#?}"));
                *left -= 1;
            }
            HostEvent::LeaseDone { .. } => {}
            HostEvent::WorkerFailed { .. } => {}
            HostEvent::Stopped { .. } => {
                assert_eq!(place + 1, events.len(), "the end is not last: {events:#?}");
            }
        }
        if let Some(lease) = event.lease_done() {
            let left = left.remove(&lease);
            assert_eq!(left, Some(0), "lease {lease} is done: {events:#?}");
        }
    }
    assert!(left.is_empty(), "leases {left:?} were taken and never done: {events:#?}");
}

#[test]
fn whatever_the_order_each_lease_is_worked_off() {
    Story::rehearse(|| Story::of("good", 1));
    Story::rehearse(|| Story::of("good", 3));
}

#[test]
fn a_lease_does_not_wait_for_a_busy_worker_where_there_may_be_another() {
    for warms_up in [false, true] {
        Story::rehearse(move || Story { deliveries: 1, warms_up, meet: true, ..Story::of("good", 3) });
    }
}

#[test]
fn an_instance_that_stops_gives_back_what_it_has_once() {
    for channel in ["good", "moody"] {
        // Time enough, and none.
        for deadline in [Duration::from_secs(3600), Duration::ZERO] {
            Story::rehearse(move || Story { stops_early: Some(deadline), ..Story::of(channel, 2) });
        }
    }
}

#[test]
fn while_a_plugin_rests_what_was_taken_before_comes_back() {
    Story::rehearse(|| {
        let mut story = Story::of("moody", 2);
        (story.spec.pause_first, story.spec.pause_max) =
            (Duration::from_secs(3600), Duration::from_secs(3600));
        story
    });
}

#[test]
fn workers_that_fail_lose_nothing_and_others_go_on() {
    Story::rehearse(|| Story::of("moody", 1));
    Story::rehearse(|| Story::of("moody", 3));
}

#[test]
fn workers_that_are_given_up_as_hung_are_told_of_once_though_they_come_back() {
    Story::rehearse(|| {
        let mut story = Story::of("good", 2);
        // Whoever holds something is late, whenever the watchdog looks.
        story.spec.deadline = Duration::ZERO;
        story
    });
}
