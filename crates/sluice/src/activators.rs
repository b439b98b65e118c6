//! Activators at work: servers that keep mail for us are asked when it is time, when somebody says so, and when a line
//! comes up; and somebody hears of it when they promise mail that does not come.
//!
//! The configuration says who is asked and when (`sites.cnf`); the state here is that of a running hub and is lost with
//! it: a restart begins with no runs, no alerts and no back-off. What is kept is up to when each has been asked by its schedule
//! (the dispatcher has a note of it), so that a moment that passed while no hub ran, or at which the server could not be
//! asked, is made up for at the next start: once, and if a window is open. An activator that a reload leaves as it was keeps its state.
//!
//! After a refusal (459, 501, no ETRN there, no login) the server is left alone for hours, since only a change of a
//! configuration can help; after 458, 421 or a connection that did not come about, for minutes.
//!
//! # Not here
//! The conversation (`asking`), the times (`sluice_config::Timetable`), and the mail, which comes in by the listeners.

mod run;
mod sync;
mod watch;

#[cfg(test)]
mod rehearsal;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use sluice_admin::protocol::ActivatorRow;
use sluice_config::{Activator, Config};
use sluice_dispatch::{Clock as _, ClockWatch, Jump, SystemClock};
use sluice_mail::{Time, rfc3339};
use tokio::runtime::Handle;

use crate::asking::Standing;
use crate::hub::Hub;
use run::Outcome;
use sync::{AtomicUsize, Mutex};

pub(crate) use watch::Watched;

/// How often is looked whether an activator is due.
const LOOK: Duration = Duration::from_secs(1);
/// How long a server that may do it soon is left alone, by failures in a row; the last one for all further.
const LATER: [Duration; 6] = [minutes(1), minutes(2), minutes(5), minutes(15), minutes(30), minutes(60)];
/// The same for one that refuses.
const REFUSED: [Duration; 4] = [minutes(60), minutes(120), minutes(240), minutes(480)];
/// Addresses, and domains, of mail that comes while a server is being asked; of more than that none is kept in mind.
const EARLY_MAX: usize = 1000;
/// Times outside the windows that are passed over in looking for one inside.
const TIMES_PASSED_OVER_MAX: usize = 1000;

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// The activators of a running hub.
#[derive(Default)]
pub(crate) struct Activators {
    states: Mutex<BTreeMap<String, State>>,
    /// Up to when an earlier run has kept the moments of those that are not yet in `states`.
    found: Mutex<BTreeMap<String, Time>>,
    /// What the dispatcher has been told of that.
    told: Mutex<BTreeMap<String, Time>>,
    /// How many of them wait for mail, or may be promised some now: most of the time none, and then accepted mail is not looked at.
    watching: AtomicUsize,
    /// Whether somebody sets the clock.
    clock: Mutex<ClockWatch>,
    /// Set once, when the hub serves.
    place: Mutex<Option<(Weak<Hub>, Handle)>>,
}

/// How an activator is doing.
struct State {
    /// As it was when `next` was worked out.
    activator: Activator,
    next: Option<Time>,
    /// The moments of its schedule up to this time need nobody any more: the server has answered.
    kept: Time,
    running: bool,
    /// What has come while it was being asked: a server may send before its promise is understood.
    early: Early,
    runs: u64,
    last_run: Option<Time>,
    last: Option<(Standing, String)>,
    alert: Option<String>,
    /// Failures in a row.
    failures: usize,
    watch: Option<Watch>,
}

/// Mail that was promised.
struct Watch {
    until: Time,
    server: Option<IpAddr>,
    names: Vec<String>,
    promise: String,
}

/// Mail that came while a server was being asked.
#[derive(Default)]
struct Early {
    from: BTreeSet<IpAddr>,
    domains: BTreeSet<String>,
}

impl Early {
    fn came(&mut self, from: IpAddr, domains: &[String]) {
        if self.from.len() < EARLY_MAX {
            self.from.insert(from);
        }
        let room = EARLY_MAX - self.domains.len();
        self.domains.extend(domains.iter().take(room).cloned());
    }

    /// Whether some of it is what was promised.
    fn keeps(&self, watch: &Watch) -> bool {
        self.from.iter().any(|from| watch.is_kept_by(*from, &[]))
            || self.domains.iter().any(|domain| watch.is_asked(domain))
    }
}

/// The clock on the wall, which timetables go by.
fn now() -> Time {
    Time::from(SystemTime::now())
}

impl Activators {
    /// With what an earlier run has left.
    pub(crate) fn new(found: BTreeMap<String, Time>) -> Self {
        Self { told: Mutex::new(found.clone()), found: Mutex::new(found), ..Self::default() }
    }

    /// Looks after them until the hub is gone. To be spawned once.
    pub(crate) async fn serve(hub: Weak<Hub>) {
        if let Some(hub) = hub.upgrade() {
            *hub.activators().place.lock() = Some((Arc::downgrade(&hub), Handle::current()));
        }
        loop {
            // The hub going away ends this.
            let Some(strong) = hub.upgrade() else { return };
            let config = Arc::clone(&strong.loaded().config);
            strong.activators().watch_clock(SystemClock.reading());
            for activator in strong.activators().due(&config, now()) {
                let hub = Arc::clone(&strong);
                tokio::spawn(async move { Activators::run(&hub, &activator).await });
            }
            strong.activators().tell_kept(strong.dispatcher());
            drop((config, strong));
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Looks whether the clock was set, and plans anew what was planned by the old time.
    ///
    /// Set back, the next moment of a schedule is the first by the new time, and who has refused or could not be asked is left alone for
    /// no longer than was left of that. Set forward, what is due is due once. Mail that was promised is waited for as long as was said,
    /// whatever the clock says.
    fn watch_clock(&self, reading: (Time, Option<Duration>)) {
        let Some(jump) = self.clock.lock().look(reading) else { return };
        let now = reading.0;
        for state in self.states.lock().values_mut() {
            match jump {
                Jump::Back(by) => {
                    state.kept = state.kept.min(now);
                    let wait = state.next.map(|next| next.minus(by));
                    let scheduled = first(&state.activator, now);
                    state.next = match state.last.as_ref().map(|(standing, _)| *standing) {
                        None | Some(Standing::Done) => scheduled,
                        Some(Standing::Later) => {
                            wait.and_then(|wait| opened(&state.activator, wait.max(now)))
                        }
                        Some(Standing::Refused) => {
                            scheduled.map(|scheduled| scheduled.max(wait.unwrap_or(now)))
                        }
                    };
                    // What a line that came up has made due stays so.
                    if let Some(wait) = wait.filter(|wait| *wait <= now) {
                        state.next = Some(wait);
                    }
                    if let Some(watch) = &mut state.watch {
                        watch.until = watch.until.minus(by);
                    }
                }
                Jump::Forward(by) => {
                    if let Some(watch) = &mut state.watch {
                        watch.until = watch.until.plus(by);
                    }
                }
            }
        }
    }

    /// Gives those that are to run now, marked as running.
    fn due(&self, config: &Config, now: Time) -> Vec<Activator> {
        let mut states = self.states.lock();
        self.bring_in_line(&mut states, config, now);
        let mut due = Vec::new();
        for state in states.values_mut() {
            if !state.running && state.next.is_some_and(|next| next <= now) {
                state.begins();
                due.push(state.activator.clone());
            }
        }
        self.count(&states);
        due
    }

    /// Whether anybody has to look at mail.
    fn count(&self, states: &BTreeMap<String, State>) {
        let watching = states.values().filter(|state| state.running || state.watch.is_some());
        self.watching.store(watching.count(), Ordering::Relaxed);
    }

    /// Brings the states in line with the configuration, and says what was waited for in vain.
    fn bring_in_line(&self, states: &mut BTreeMap<String, State>, config: &Config, now: Time) {
        let list = config.sites.activators();
        // One that is being asked is known until that is over, also where a reload has taken it away: another one may put it back meanwhile,
        // and its server is not asked twice at a time.
        states.retain(|name, state| state.running || list.iter().any(|one| *one.name == **name));
        for activator in list {
            let state = states.entry(activator.name.to_string()).or_insert_with(|| {
                let kept = self.found.lock().remove(&*activator.name).map_or(now, |kept| kept.min(now));
                State::new(activator, kept, now)
            });
            if state.activator != *activator {
                // Somebody changed it, perhaps because of what it met: it starts afresh.
                let (running, runs, early) = (state.running, state.runs, std::mem::take(&mut state.early));
                *state = State { running, runs, early, ..State::new(activator, now, now) };
            }
            if state.watch.as_ref().is_some_and(|watch| watch.until <= now)
                && let Some(watch) = state.watch.take()
            {
                let alert =
                    format!("no mail came within {} s of: {}", activator.watch.as_secs(), watch.promise);
                tracing::error!(activator = %activator.name, server = %activator.server, alert, "activator: promised mail did not come");
                state.alert = Some(alert);
            }
        }
        self.count(states);
    }

    /// Has it written down up to when they have been asked, where that has changed.
    fn tell_kept(&self, dispatcher: &sluice_dispatch::Handle) {
        let states = self.states.lock();
        let timed = states.iter().filter(|(_, state)| state.activator.schedule.is_some());
        let kept: BTreeMap<String, Time> = timed.map(|(name, state)| (name.clone(), state.kept)).collect();
        drop(states);
        let mut told = self.told.lock();
        // A dispatcher that is busy is told at the next look.
        if *told != kept && dispatcher.keep_activators(kept.clone()).is_ok() {
            *told = kept;
        }
    }

    /// Takes note of how a run went.
    fn ended(&self, activator: &Activator, outcome: Outcome, now: Time) {
        let Outcome { asked, standing, words, warning, promise } = outcome;
        let (name, server) = (&activator.name, &activator.server);
        match standing {
            Standing::Done => tracing::info!(activator = %name, %server, answers = words, "activator: asked"),
            Standing::Later => {
                tracing::warn!(activator = %name, %server, answers = words, "activator: not now");
            }
            Standing::Refused => {
                tracing::error!(activator = %name, %server, answers = words, "activator: refused; somebody must look at it");
            }
        }
        if let Some(warning) = &warning {
            tracing::warn!(activator = %name, %server, warning, "activator");
        }
        let mut states = self.states.lock();
        let Some(state) = states.get_mut(&**name) else { return self.count(&states) };
        state.running = false;
        let early = std::mem::take(&mut state.early);
        // As it is now: a reload may have come in the middle.
        let activator = state.activator.clone();
        state.last_run = Some(now);
        state.runs += 1;
        state.last = Some((standing, words.clone()));
        let scheduled = first(&activator, now);
        if asked && standing != Standing::Later {
            state.kept = now;
        }
        let nth = |waits: &[Duration]| waits[state.failures.min(waits.len() - 1)];
        // Only who is asked by the clock is asked again by it.
        state.next = scheduled.map(|scheduled| match standing {
            Standing::Done => scheduled,
            Standing::Later => opened(&activator, now.plus(nth(&LATER))).unwrap_or(scheduled),
            Standing::Refused => scheduled.max(now.plus(nth(&REFUSED))),
        });
        match standing {
            Standing::Done => {
                state.failures = 0;
                state.alert = warning;
            }
            Standing::Later => {
                state.failures += 1;
                state.alert = warning.or(state.alert.take());
            }
            Standing::Refused => {
                state.failures += 1;
                state.alert = Some(words);
            }
        }
        if let Some((server, names, promise)) = promise {
            let watch = Watch { until: now.plus(activator.watch), server, names, promise };
            state.watch = (!early.keeps(&watch)).then_some(watch);
        }
        self.count(&states);
    }

    /// Has one ask its server now. Gives its row as it is then: running; the run is over when `runs` has grown.
    pub(crate) fn start(&self, name: &str) -> Result<ActivatorRow, RunError> {
        let Some((Some(hub), runtime)) =
            self.place.lock().as_ref().map(|(hub, runtime)| (hub.upgrade(), runtime.clone()))
        else {
            return Err(RunError::NotServing);
        };
        let config = Arc::clone(&hub.loaded().config);
        let Some(activator) = config.sites.activator(name).cloned() else {
            let names = config.sites.activators().iter().map(|one| &*one.name);
            return Err(RunError::Unknown(sluice_diag::nearest(name, names).map(str::to_owned)));
        };
        // Else mail that was promised a moment ago would count as late by a clock that was set forward.
        self.watch_clock(SystemClock.reading());
        self.mark(&config, &activator.name, now())?;
        let row = self.rows(&config).into_iter().find(|row| *row.activator == *activator.name);
        runtime.spawn(async move { Activators::run(&hub, &activator).await });
        row.ok_or(RunError::Unknown(None))
    }

    /// A run of one that is marked as running.
    async fn run(hub: &Arc<Hub>, activator: &Activator) {
        let outcome = run::run(hub, activator).await;
        // Else the next look would move by a jump that has happened already what is planned here by the new time.
        hub.activators().watch_clock(SystemClock.reading());
        hub.activators().ended(activator, outcome, now());
        hub.activators().tell_kept(hub.dispatcher());
    }

    /// Marks one as running; an error when it is.
    fn mark(&self, config: &Config, name: &str, now: Time) -> Result<(), RunError> {
        let mut states = self.states.lock();
        self.bring_in_line(&mut states, config, now);
        match states.get_mut(name) {
            Some(state) if state.running => Err(RunError::Busy),
            Some(state) => {
                state.begins();
                self.count(&states);
                Ok(())
            }
            None => Err(RunError::Unknown(None)),
        }
    }

    /// A line has come up: those with `ON_LINK_UP` are asked at the next look, whatever they met before. Gives their names.
    pub(crate) fn link_up(&self, config: &Config) -> Vec<String> {
        self.link_up_at(config, SystemClock.reading())
    }

    fn link_up_at(&self, config: &Config, reading: (Time, Option<Duration>)) -> Vec<String> {
        // Else what is planned here by the new time would be moved by the jump at the next look, and mail that was promised a moment
        // ago would count as late.
        self.watch_clock(reading);
        let now = reading.0;
        let mut states = self.states.lock();
        // States are there for all of them then.
        self.bring_in_line(&mut states, config, now);
        let is_known = |name: &str| config.sites.activator(name).is_some();
        let marked = states.iter_mut().filter(|(name, state)| state.activator.on_link_up && is_known(name));
        marked
            .map(|(name, state)| {
                state.next = Some(now);
                name.clone()
            })
            .collect()
    }

    /// How all of them are doing, in the order of the file.
    pub(crate) fn rows(&self, config: &Config) -> Vec<ActivatorRow> {
        let states = self.states.lock();
        let row = |activator: &Activator| {
            let state = states.get(&*activator.name);
            ActivatorRow {
                activator: activator.name.to_string(),
                server: activator.server.to_string(),
                port: activator.port,
                method: activator.method.as_str().to_owned(),
                running: state.is_some_and(|state| state.running),
                runs: state.map_or(0, |state| state.runs),
                last_run: state.and_then(|state| state.last_run).map(rfc3339),
                standing: state.and_then(|state| Some(state.last.as_ref()?.0.word().to_owned())),
                answer: state.and_then(|state| Some(state.last.as_ref()?.1.clone())),
                next_run: state.and_then(|state| state.next).map(rfc3339),
                waits_until: state.and_then(|state| Some(rfc3339(state.watch.as_ref()?.until))),
                alert: state.and_then(|state| state.alert.clone()),
            }
        };
        config.sites.activators().iter().map(row).collect()
    }

    /// Whether some activator waits for mail that was promised, or may be promised some now.
    pub(crate) fn is_watching(&self) -> bool {
        self.watching.load(Ordering::Relaxed) > 0
    }

    /// A message has come from this address for these domains: promises that it keeps are no longer waited for.
    pub(crate) fn mail_came(&self, from: IpAddr, domains: &[String]) {
        let mut states = self.states.lock();
        for state in states.values_mut() {
            if state.watch.as_ref().is_some_and(|watch| watch.is_kept_by(from, domains)) {
                state.watch = None;
            }
            if state.running {
                state.early.came(from, domains);
            }
        }
        self.count(&states);
    }
}

/// Why an activator was not run.
#[derive(Debug)]
pub(crate) enum RunError {
    /// There is none of that name; perhaps this one was meant.
    Unknown(Option<String>),
    /// It is being asked.
    Busy,
    /// The hub is starting or stopping.
    NotServing,
}

impl State {
    fn new(activator: &Activator, kept: Time, now: Time) -> State {
        let next = planned(activator, kept, now);
        if let Some(missed) = next.filter(|next| *next < now) {
            tracing::info!(activator = %activator.name, at = rfc3339(missed), "activator: a moment of its schedule has passed without an answer; asked now");
        }
        State {
            activator: activator.clone(),
            next,
            kept,
            running: false,
            early: Early::default(),
            runs: 0,
            last_run: None,
            last: None,
            alert: None,
            failures: 0,
            watch: None,
        }
    }

    /// Its server is asked from now on.
    fn begins(&mut self) {
        self.running = true;
        self.early = Early::default();
    }
}

/// When an activator is asked whose moments have been kept up to `kept`: a time that has passed stands for all that were
/// missed, and is left out where no window is open now.
fn planned(activator: &Activator, kept: Time, now: Time) -> Option<Time> {
    let next = first(activator, kept)?;
    if next > now || opened(activator, now) == Some(now) { Some(next) } else { first(activator, now) }
}

/// The first time of the schedule after `after` at which a window is open.
fn first(activator: &Activator, after: Time) -> Option<Time> {
    let schedule = activator.schedule.as_ref()?;
    let mut time = after;
    for _ in 0..TIMES_PASSED_OVER_MAX {
        time = schedule.next(time)?;
        let opened = opened(activator, time)?;
        if opened == time {
            return Some(time);
        }
        // Nothing before the window is of interest.
        time = opened.minus(Duration::from_millis(1));
    }
    None
}

/// The first moment from `time` on at which a window is open.
fn opened(activator: &Activator, time: Time) -> Option<Time> {
    match &activator.windows {
        Some(windows) => windows.opens_after(time),
        None => Some(time),
    }
}

impl Watch {
    /// Whether such a message is what was promised: from that server, or for a name that was asked for.
    fn is_kept_by(&self, from: IpAddr, domains: &[String]) -> bool {
        self.server == Some(from) || domains.iter().any(|domain| self.is_asked(domain))
    }

    /// Whether a recipient's domain is among the names that were asked for.
    fn is_asked(&self, domain: &str) -> bool {
        // Names are as DNS has them; a recipient's domain may be in its own script.
        let domain = sluice_mail::a_labels(domain);
        self.names.iter().any(|name| match name.strip_prefix('@') {
            Some(name) => {
                let name = sluice_mail::a_labels(name);
                domain.strip_suffix(&*name).is_some_and(|front| front.is_empty() || front.ends_with('.'))
            }
            None => domain == sluice_mail::a_labels(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_kept_when_the_server_was_asked_and_had_an_answer() {
        let files = sluice_config::MemoryFiles::new()
            .with("c/sluice.cnf", "h.example $U@h.example\n\nl\nh.example\n\ntcp_local smtp\nTCP-DAEMON\n")
            .with("c/dispatcher.cnf", "[SERVICE=SMTP]\nPORT=2525\n")
            .with(
                "c/sites.cnf",
                "[ACTIVATOR=p]\nSERVER=mail.p.example\nNAMES=h.example\nSCHEDULE=every 30m\n",
            );
        let place = sluice_config::Place::Folder("c".into());
        let (config, _, diagnostics) = sluice_config::read(&files, &place);
        let config = config.unwrap_or_else(|| panic!("{diagnostics:?}"));
        let activator = &config.sites.activators()[0];
        let began = Time(1_796_202_907_042);
        let ended = |outcome| {
            let activators = Activators::default();
            activators.due(&config, began);
            activators.ended(activator, outcome, began.plus(minutes(1)));
            activators.states.lock()["p"].kept
        };
        let answered = |standing| Outcome { asked: true, ..Outcome::not_asked(standing, "") };
        assert_eq!(ended(Outcome::not_asked(Standing::Refused, "no password")), began);
        assert_eq!(ended(Outcome::not_asked(Standing::Later, "no listener")), began);
        assert_eq!(ended(answered(Standing::Later)), began);
        for standing in [Standing::Refused, Standing::Done] {
            assert_eq!(ended(answered(standing)), began.plus(minutes(1)));
        }
    }

    /// An activator that asks each half hour, and its configuration.
    fn half_hourly() -> Config {
        half_hourly_with("")
    }

    /// The same with more lines.
    fn half_hourly_with(lines: &str) -> Config {
        let files = sluice_config::MemoryFiles::new()
            .with("c/sluice.cnf", "h.example $U@h.example\n\nl\nh.example\n\ntcp_local smtp\nTCP-DAEMON\n")
            .with("c/dispatcher.cnf", "[SERVICE=SMTP]\nPORT=2525\n")
            .with(
                "c/sites.cnf",
                format!("[ACTIVATOR=p]\nSERVER=mail.p.example\nNAMES=h.example\nSCHEDULE=every 30m\n{lines}"),
            );
        let (config, _, diagnostics) = sluice_config::read(&files, &sluice_config::Place::Folder("c".into()));
        config.unwrap_or_else(|| panic!("{diagnostics:?}"))
    }

    #[test]
    fn a_clock_that_is_set_puts_no_asking_off_and_no_alert_forward() {
        let config = half_hourly();
        let began = Time(1_796_202_907_042);
        let day = minutes(24 * 60);
        let promise = || Some((None, vec!["h.example".to_owned()], "250 mail follows".to_owned()));
        // As a run left it: when is the next, and until when is the promised mail waited for, by a clock that is a day off?
        let after = |standing, jump: Option<Time>| {
            let activators = Activators::default();
            activators.watch_clock((began, Some(minutes(0))));
            activators.due(&config, began);
            let promise = promise().filter(|_| standing == Standing::Done);
            let outcome = Outcome { asked: true, promise, ..Outcome::not_asked(standing, "") };
            activators.ended(&config.sites.activators()[0], outcome, began);
            let now = jump.unwrap_or(began);
            activators.watch_clock((now, Some(minutes(0))));
            let states = activators.states.lock();
            let state = &states["p"];
            let until = state.watch.as_ref().map(|watch| watch.until.since(now));
            (state.next.map(|next| next.since(now)), until, state.kept <= now)
        };
        for standing in [Standing::Done, Standing::Later, Standing::Refused] {
            let (next, until, _) = after(standing, None);
            assert!(next.is_some_and(|next| next > Duration::ZERO), "{standing:?}");
            let back = after(standing, Some(began.minus(day)));
            assert_eq!(
                back,
                (next, until, true),
                "{standing:?}: set back by a day, all of it is as far away"
            );
            let forward = after(standing, Some(began.plus(day)));
            assert_eq!(
                forward,
                (Some(Duration::ZERO), until, true),
                "{standing:?}: due, and no alert for mail of a moment ago"
            );
        }
    }

    #[test]
    fn what_a_line_has_made_due_stays_due_when_the_clock_is_set_back() {
        let config = half_hourly();
        let began = Time(1_796_202_907_042);
        let activators = Activators::default();
        activators.watch_clock((began, Some(minutes(0))));
        activators.due(&config, began);
        activators.states.lock().get_mut("p").expect("it is configured").next = Some(began);
        let back = began.minus(minutes(600));
        activators.watch_clock((back, Some(minutes(0))));
        assert_eq!(activators.due(&config, back).len(), 1);
        assert_eq!(activators.due(&config, back).len(), 0, "it is being asked");
    }

    #[test]
    fn a_line_that_comes_up_right_after_the_clock_was_set_makes_nothing_late() {
        let began = Time(1_796_202_907_042);
        let config = half_hourly_with("ON_LINK_UP=1\n");
        for by in [0, 24 * 60] {
            let activators = Activators::default();
            activators.watch_clock((began, Some(minutes(0))));
            activators.due(&config, began);
            let promise = Some((None, vec!["h.example".to_owned()], "250 mail follows".to_owned()));
            let outcome = Outcome { asked: true, promise, ..Outcome::not_asked(Standing::Done, "") };
            activators.ended(&config.sites.activators()[0], outcome, began);
            let now = began.plus(minutes(by));
            assert_eq!(activators.link_up_at(&config, (now, Some(minutes(0)))), ["p"]);
            let states = activators.states.lock();
            let state = &states["p"];
            assert_eq!((state.next, &state.alert), (Some(now), &None), "{by} minutes forward");
            let left = state.watch.as_ref().map(|watch| watch.until.since(now));
            assert_eq!(left, Some(config.sites.activators()[0].watch), "{by} minutes forward");
        }
    }

    #[test]
    fn mail_from_the_server_or_for_a_name_keeps_a_promise() {
        let watch = Watch {
            until: Time(0),
            server: Some(IpAddr::from([192, 0, 2, 1])),
            names: vec!["a.example".into(), "@b.example".into(), "#queue".into(), "@xn--4ca.example".into()],
            promise: String::new(),
        };
        let kept = |from: [u8; 4], domain: &str| watch.is_kept_by(from.into(), &[domain.to_owned()]);
        assert!(kept([192, 0, 2, 1], "whatever.example"));
        for domain in
            ["a.example", "A.Example", "b.example", "x.B.example", "\u{e4}.example", "x.\u{c4}.example"]
        {
            assert!(kept([192, 0, 2, 2], domain), "{domain}");
        }
        for domain in
            ["x.a.example", "xb.example", "example", "queue", "", "\u{f6}.example", "x\u{e4}.example"]
        {
            assert!(!kept([192, 0, 2, 2], domain), "{domain}");
        }
    }
}
