//! Activators under shuttle: runs, operators, a reload, and mail that comes before its promise is understood, in every order of their steps
//! that chance comes upon.
//!
//! The servers are played, and no time passes but what a story lets pass. Each story is told a second time with somebody who does it the
//! wrong way, which must be found.
//!
//! # Not here
//! What the clock does to all that (the tests of `activators`), and conversations with servers (`sluice-tests`).

pub(super) mod doubles {
    //! A lock and a counter with a place before each step at which somebody else may go on. Outside of a rehearsal nobody else is there.

    use std::cell::Cell;
    use std::sync::atomic::Ordering;

    thread_local! {
        /// Shuttle plays all threads of a story on this one.
        static GOES_ON: Cell<bool> = const { Cell::new(false) };
    }

    /// Others are there until it is dropped.
    pub(super) struct Rehearsal(());

    impl Rehearsal {
        pub(super) fn begin() -> Rehearsal {
            GOES_ON.set(true);
            Rehearsal(())
        }
    }

    impl Drop for Rehearsal {
        fn drop(&mut self) {
            GOES_ON.set(false);
        }
    }

    pub(super) fn step() {
        if GOES_ON.get() {
            shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
        }
    }

    #[derive(Default)]
    pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(parking_lot::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> parking_lot::MutexGuard<'_, T> {
            step();
            loop {
                match self.0.try_lock() {
                    Some(guard) => return guard,
                    None if GOES_ON.get() => shuttle::thread::yield_now(),
                    None => return self.0.lock(),
                }
            }
        }
    }

    #[derive(Default)]
    pub(crate) struct AtomicUsize(std::sync::atomic::AtomicUsize);

    impl AtomicUsize {
        pub(crate) fn load(&self, order: Ordering) -> usize {
            step();
            self.0.load(order)
        }

        pub(crate) fn store(&self, value: usize, order: Ordering) {
            step();
            self.0.store(value, order);
        }
    }
}

use super::*;
use doubles::{Rehearsal, step};
use shuttle::thread;
use std::sync::atomic::AtomicU64;

/// Orders of steps that are tried of each story.
const RUNS: usize = 2000;
const NOW: Time = Time(1_800_000_000_000);

fn every_order(story: impl Fn() + Send + Sync + 'static) {
    let _goes_on = Rehearsal::begin();
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 19;
    config.max_steps = shuttle::MaxSteps::FailAfter(20_000);
    let scheduler = shuttle::scheduler::RandomScheduler::new(RUNS);
    shuttle::Runner::new(scheduler, config).run(story);
}

/// Two activators, the first of which has this schedule.
fn read(schedule: &str) -> Arc<Config> {
    read_sites(format!(
        "[ACTIVATOR=p]\nSERVER=mail.p.example\nNAMES=h.example\nSCHEDULE={schedule}\n\
         [ACTIVATOR=q]\nSERVER=mail.q.example\nNAMES=h.example\n"
    ))
}

fn read_sites(sites: String) -> Arc<Config> {
    let files = sluice_config::MemoryFiles::new()
        .with("c/sluice.cnf", "h.example $U@h.example\n\nl\nh.example\n\ntcp_local smtp\nTCP-DAEMON\n")
        .with("c/dispatcher.cnf", "[SERVICE=SMTP]\nPORT=2525\n")
        .with("c/sites.cnf", sites);
    let (config, _, diagnostics) = sluice_config::read(&files, &sluice_config::Place::Folder("c".into()));
    Arc::new(config.unwrap_or_else(|| panic!("{diagnostics:?}")))
}

/// Activators that are known, and of which the first is due at once.
fn due_at_once(config: &Config) -> Arc<Activators> {
    let activators = Activators::default();
    activators.due(config, NOW);
    activators.states.lock().get_mut("p").expect("it is configured").next = Some(NOW);
    Arc::new(activators)
}

fn done(promise: Option<(Option<IpAddr>, Vec<String>, String)>) -> Outcome {
    Outcome { asked: true, promise, ..Outcome::not_asked(Standing::Done, "250") }
}

/// A server promises mail, and sends it at once; `came` is how the activators hear of it.
fn promise_and_send(came: fn(&Activators, IpAddr, &[String])) {
    let config = read("every 30m");
    every_order(move || {
        let activators = due_at_once(&config);
        let hears = Arc::clone(&activators);
        assert_eq!(activators.due(&config, NOW).len(), 1, "it is asked now");
        let server = IpAddr::from([192, 0, 2, 1]);
        let sends = thread::spawn(move || {
            if hears.is_watching() {
                came(&hears, server, &[]);
            }
        });
        let promise = Some((Some(server), vec!["h.example".to_owned()], "250 mail follows".to_owned()));
        activators.ended(&config.sites.activators()[0], done(promise), NOW);
        sends.join().expect("one who sends does not panic");
        let late = NOW.plus(config.sites.activators()[0].watch).plus(minutes(1));
        activators.due(&config, late);
        assert_eq!(activators.states.lock()["p"].alert, None, "the mail has come");
        assert_eq!(activators.states.lock()["p"].early.from.len(), 0, "nobody asks");
    });
}

#[test]
fn mail_that_comes_before_its_promise_is_understood_keeps_it() {
    promise_and_send(Activators::mail_came);
}

#[test]
#[should_panic(expected = "the mail has come")]
fn who_looks_at_mail_only_when_it_was_promised_is_found_out() {
    promise_and_send(|activators, from, domains| {
        let mut states = activators.states.lock();
        for state in states.values_mut() {
            if state.watch.as_ref().is_some_and(|watch| watch.is_kept_by(from, domains)) {
                state.watch = None;
            }
        }
    });
}

/// The clock has one ask, and two operators have each of the two; `mark` is how they do.
fn one_at_a_time(mark: fn(&Activators, &Config, &str) -> Result<(), RunError>) {
    let config = read("every 30m");
    every_order(move || {
        let activators = due_at_once(&config);
        let asked = Arc::new(AtomicU64::new(0));
        let busy = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ask = {
            let (activators, asked) = (Arc::clone(&activators), Arc::clone(&asked));
            move |activator: &Activator| {
                let is_first = &*activator.name == "p";
                assert!(!is_first || !busy.swap(true, Ordering::SeqCst), "it is being asked already");
                step();
                if is_first {
                    busy.store(false, Ordering::SeqCst);
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                activators.ended(activator, done(None), NOW);
            }
        };
        let clock = {
            let (activators, config, ask) = (Arc::clone(&activators), Arc::clone(&config), ask.clone());
            thread::spawn(move || activators.due(&config, NOW).iter().for_each(ask))
        };
        let operators: Vec<_> = config
            .sites
            .activators()
            .iter()
            .map(|activator| {
                let (activators, config, ask) = (Arc::clone(&activators), Arc::clone(&config), ask.clone());
                let activator = activator.clone();
                thread::spawn(move || match mark(&activators, &config, &activator.name) {
                    Ok(()) => ask(&activator),
                    Err(error) => assert!(&*activator.name == "p", "nobody else asks: {error:?}"),
                })
            })
            .collect();
        clock.join().expect("the clock does not panic");
        operators.into_iter().for_each(|one| one.join().expect("an operator does not panic"));
        let states = activators.states.lock();
        assert_eq!(states["p"].runs, asked.load(Ordering::SeqCst));
        assert!(states["p"].runs >= 1 && states["q"].runs == 1);
        assert!(states.values().all(|state| !state.running));
        assert!(!activators.is_watching(), "nobody waits for mail");
    });
}

#[test]
fn a_server_is_asked_by_one_at_a_time_and_no_other_is_in_the_way() {
    one_at_a_time(|activators, config, name| activators.mark(config, name, NOW));
}

#[test]
#[should_panic(expected = "it is being asked already")]
fn who_looks_whether_it_is_asked_and_says_so_later_is_found_out() {
    one_at_a_time(|activators, config, name| {
        let is_running = activators.rows(config).iter().any(|row| row.activator == name && row.running);
        if is_running {
            return Err(RunError::Busy);
        }
        activators.states.lock().get_mut(name).expect("it is configured").running = true;
        Ok(())
    });
}

/// Another schedule comes into force while a server is asked; `ended` is how the run ends.
fn reload_amid(ended: fn(&Activators, &Activator)) {
    let (before, after) = (read("every 30m"), read("03:00"));
    every_order(move || {
        let activators = due_at_once(&before);
        let run = activators.due(&before, NOW).remove(0);
        let (reloads, config) = (Arc::clone(&activators), Arc::clone(&after));
        let reload = thread::spawn(move || reloads.due(&config, NOW).len());
        ended(&activators, &run);
        assert_eq!(reload.join().expect("a reload does not panic"), 0, "it has just been asked");
        assert!(activators.due(&after, NOW).is_empty(), "it has just been asked");
        let states = activators.states.lock();
        let state = &states["p"];
        let planned = first(&after.sites.activators()[0], NOW);
        assert_eq!(
            (state.next, state.running, state.runs),
            (planned, false, 1),
            "it goes by the new schedule"
        );
    });
}

#[test]
fn a_run_that_ends_behind_a_reload_goes_by_what_is_in_force() {
    reload_amid(|activators, run| activators.ended(run, done(None), NOW));
}

#[test]
#[should_panic(expected = "it goes by the new schedule")]
fn a_run_that_plans_by_what_it_began_with_is_found_out() {
    reload_amid(|activators, run| {
        activators.ended(run, done(None), NOW);
        if let Some(state) = activators.states.lock().get_mut(&*run.name) {
            state.next = first(run, NOW);
        }
    });
}

/// A reload takes away an activator whose server is being asked, and another one puts it back, when an operator has it ask; `take_away` is what the
/// first reload does.
fn put_back_amid(take_away: fn(&Activators, &Config)) {
    let with = read("every 30m");
    let without = read_sites("[ACTIVATOR=q]\nSERVER=mail.q.example\nNAMES=h.example\n".to_owned());
    every_order(move || {
        let activators = due_at_once(&with);
        let busy = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ask = {
            let activators = Arc::clone(&activators);
            move |activator: &Activator| {
                assert!(!busy.swap(true, Ordering::SeqCst), "it is being asked already");
                step();
                busy.store(false, Ordering::SeqCst);
                activators.ended(activator, done(None), NOW);
            }
        };
        let run = activators.due(&with, NOW).remove(0);
        let reloads = {
            let (activators, with, without, ask) =
                (Arc::clone(&activators), Arc::clone(&with), Arc::clone(&without), ask.clone());
            thread::spawn(move || {
                take_away(&activators, &without);
                activators.due(&with, NOW).iter().for_each(&ask);
                match activators.mark(&with, "p", NOW) {
                    Ok(()) => ask(&with.sites.activators()[0]),
                    Err(error) => assert!(matches!(error, RunError::Busy), "{error:?}"),
                }
            })
        };
        ask(&run);
        reloads.join().expect("a reload does not panic");
        assert!(activators.states.lock().values().all(|state| !state.running));
        activators.due(&without, NOW);
        assert!(!activators.states.lock().contains_key("p"), "it is known no more");
    });
}

#[test]
fn one_that_is_taken_away_and_put_back_while_it_is_asked_is_not_asked_twice() {
    put_back_amid(|activators, without| assert!(activators.due(without, NOW).is_empty()));
}

#[test]
#[should_panic(expected = "it is being asked already")]
fn who_forgets_one_that_is_asked_because_it_was_taken_away_is_found_out() {
    put_back_amid(|activators, without| {
        let is_known = |name: &String| without.sites.activators().iter().any(|one| *one.name == **name);
        activators.states.lock().retain(|name, _| is_known(name));
    });
}
