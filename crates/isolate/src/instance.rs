//! One isolated channel as its caller has it, and the thread that starts its children, gives them leases, and buries them.
//!
//! # Invariants
//! An offer that was taken is in `queue`, with the thread, or in the ledger. The thread is the only one that starts children
//! and that writes to them, so that frames are whole and in order. No event is sent on a thread that calls a method of
//! [`Isolated`], nor with the state locked.
//! # Failure
//! After a death offers are refused for a while, as those of an instance in process are.

use crate::child::chain;
use crate::child_process::{Child, START_MIN};
use crate::ledger::Ledger;
use crate::life::Life;
use crate::sync::{Condvar, Mutex, thread};
use crate::wire::Ready;
use sluice_host::{
    Events, Host, HostEvent, Offer, OfferError, Refusal, Sealed, SettingKind, Spec, StopReason,
};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which program children are.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its file.
    pub path: PathBuf,
    /// What it is started with; the program then calls [`run_child`](crate::run_child).
    pub arguments: Vec<OsString>,
    /// Variables that it gets beside the few that it has of ours.
    pub environment: Vec<(OsString, OsString)>,
}

impl Program {
    /// The program that runs now, also where another file has taken its name.
    #[must_use]
    pub fn this_one() -> Program {
        Program {
            path: "/proc/self/exe".into(),
            arguments: vec![crate::ARGUMENT.into()],
            environment: Vec::new(),
        }
    }
}

/// What a child may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in octets; `None` for no limit.
    pub memory: Option<u64>,
    /// Percent of one processor; `None` for no limit.
    pub cpu_percent: Option<u32>,
    /// What it may read, beside what every child may.
    pub read: Vec<PathBuf>,
    /// What it may read and write, beside the paths that its options name.
    pub write: Vec<PathBuf>,
    /// Folders of the hub's own: no folder that one of these lies in is opened for a path that is not there yet.
    pub own: Vec<PathBuf>,
}

/// What a child has for its word about the channel, beyond the time in which the channel is to be made: it is late only when it is stopped,
/// or when the plugin keeps it from speaking.
const WORD: Duration = Duration::from_secs(5);
/// Longer than anybody waits, and short enough to be added to a clock.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// Memory of a child that only looks.
const LOOK_MEMORY: u64 = 512 << 20;

/// A channel whose plugin runs in a process of its own. Dropping it stops it at once.
pub struct Isolated {
    shared: Arc<Shared>,
}

/// What its threads share.
pub(crate) struct Shared {
    pub(crate) spec: Spec,
    pub(crate) channel: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) events: Events,
    pub(crate) host: Host,
    pub(crate) program: Program,
    /// What each child loads.
    pub(crate) sealed: Arc<Sealed>,
    /// What the first child said of the plugin.
    looked: Ready,
    pub(crate) state: Mutex<State>,
    /// There may be something to do for the thread.
    pub(crate) changed: Condvar,
    /// Held while something comes back of a child's and until that is told, so that the end of a lease is told last. Before `state`.
    pub(crate) telling: Mutex<()>,
}

/// What is known of the channel in the child, beyond what becomes of its leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// Nobody has asked.
    Unknown,
    /// Somebody wants to know, and the child has not been asked.
    Wanted,
    /// It has, and has not answered.
    Asked,
    /// It has been made, or why it has not.
    Known(Result<(), String>),
}

pub(crate) struct State {
    pub(crate) open: bool,
    pub(crate) stop: Option<(StopReason, Instant)>,
    pub(crate) queue: VecDeque<Offer>,
    /// Whether there is a channel in the child.
    pub(crate) creation: Creation,
    /// The child has been asked for it and has not answered.
    pub(crate) asked: bool,
    resume: Option<Instant>,
    failures: u32,
    pub(crate) ledger: Ledger,
    /// Leases that were taken and have not ended.
    pub(crate) leases: usize,
    /// Whole frames that wait to be written.
    pub(crate) frames: Vec<u8>,
    /// Which child they are for: the first is 1.
    pub(crate) life: u64,
    pub(crate) answer: Option<Result<Ready, String>>,
    /// The child will say nothing more.
    pub(crate) over: bool,
    /// Since when the child is to be replaced, as soon as it has nothing to do.
    pub(crate) retire: Option<Instant>,
    /// How many of its workers have hung.
    pub(crate) hung: u32,
    /// Its last word.
    pub(crate) stopped: Option<(StopReason, u32)>,
    /// Submissions that wait for an answer, and their octets; and how many have had one.
    pub(crate) submissions: usize,
    pub(crate) submitted: usize,
    pub(crate) answered: u64,
    /// The thread waits for the ledger to be empty.
    pub(crate) wants_empty: bool,
    pub(crate) pid: Option<u32>,
    pub(crate) children: u64,
}

impl State {
    fn new() -> State {
        State {
            open: true,
            stop: None,
            queue: VecDeque::new(),
            creation: Creation::Unknown,
            asked: false,
            resume: None,
            failures: 0,
            ledger: Ledger::default(),
            leases: 0,
            frames: Vec::new(),
            life: 0,
            answer: None,
            over: false,
            retire: None,
            hung: 0,
            stopped: None,
            submissions: 0,
            submitted: 0,
            answered: 0,
            wants_empty: false,
            pid: None,
            children: 0,
        }
    }

    pub(crate) fn rest(&self) -> Duration {
        self.resume.map_or(Duration::ZERO, |resume| resume.saturating_duration_since(Instant::now()))
    }

    /// The child that was to make the channel, or has made it, is no more, or cannot.
    pub(crate) fn not_created(&mut self, why: &impl ToString) {
        match self.creation {
            // Also of one that was made: whoever waits to hear of it may not have come to look, and is told what became of it.
            Creation::Wanted | Creation::Asked | Creation::Known(Ok(())) => {
                self.creation = Creation::Known(Err(why.to_string()));
            }
            Creation::Unknown | Creation::Known(Err(_)) => {}
        }
    }

    /// The plugin got something done.
    pub(crate) fn worked(&mut self) {
        self.failures = 0;
    }
}

/// A channel that is to be made, of whichever copy of its plugin.
struct New<'a> {
    host: &'a Host,
    program: &'a Program,
    spec: Spec,
    limits: Limits,
    events: &'a Events,
}

impl New<'_> {
    fn shared(&self, sealed: &Arc<Sealed>, limits: Limits, looked: Ready) -> Arc<Shared> {
        Arc::new(Shared {
            channel: self.spec.channel.as_str().into(),
            spec: self.spec.clone(),
            limits,
            events: Arc::clone(self.events),
            host: self.host.clone(),
            program: self.program.clone(),
            sealed: Arc::clone(sealed),
            looked,
            state: Mutex::new(State::new()),
            changed: Condvar::new(),
            telling: Mutex::new(()),
        })
    }

    /// What a child says of the plugin, which has nothing yet of what the channel may write.
    fn look(&self, sealed: &Arc<Sealed>) -> Result<Ready, String> {
        let limits = Limits { write: Vec::new(), ..self.limits.clone() };
        Ok(Child::start(&self.shared(sealed, limits, Ready::default()), true)?.looked)
    }

    fn begin(&self, sealed: &Arc<Sealed>, looked: Ready) -> Result<Isolated, String> {
        let mut limits = self.limits.clone();
        let (named, missing) = paths_of(&self.spec, &looked, &limits.own);
        limits.write.extend(named);
        for path in missing {
            tracing::warn!(
                channel = self.spec.channel,
                plugin = looked.plugin,
                "{} is not there, and what lies above it is not opened to the plugin's process: make it, and then \
                 the channel anew",
                path.display()
            );
        }
        tracing::info!(
            channel = self.spec.channel,
            plugin = looked.plugin,
            version = looked.version,
            file = %sealed.file().display(),
            "the plugin will run in a process of its own: {}",
            looked.confined
        );
        let shared = self.shared(sealed, limits, looked);
        let life = Life::of(Arc::clone(&shared));
        thread::Builder::new()
            .name(shared.thread("isolated"))
            .spawn(move || life.live())
            .map_err(|error| format!("no thread for it: {error}"))?;
        Ok(Isolated { shared })
    }
}

impl Isolated {
    /// Makes a channel of the plugin that is in force. While none is, it is made of what is in the file, which is in force when
    /// a child could load it. A first child looks at the plugin and ends; the next one is started when there is work, or
    /// [`prepare`](Self::prepare) is called. Waits for the first: call it on a thread that may wait.
    ///
    /// # Errors
    /// The whole reason why the plugin cannot be run, in one line.
    pub fn start(
        host: &Host,
        program: &Program,
        plugin: &str,
        spec: Spec,
        limits: Limits,
        events: &Events,
    ) -> Result<Isolated, String> {
        let new = New { host, program, spec, limits, events };
        loop {
            let sealed = host.seal(plugin).map_err(|error| chain(&error))?;
            let looked = new.look(&sealed)?;
            // Somebody may have been faster, with a file that was another one: then it is that.
            if let Some(sealed) = host.hold(&sealed) {
                return new.begin(&sealed, looked);
            }
        }
    }

    /// Makes a channel of a plugin that is not in force, and does not put it in force. All else is as in [`start`](Self::start).
    ///
    /// # Errors
    /// As there.
    pub fn start_next(
        host: &Host,
        program: &Program,
        sealed: &Arc<Sealed>,
        spec: Spec,
        limits: Limits,
        events: &Events,
    ) -> Result<Isolated, String> {
        let new = New { host, program, spec, limits, events };
        let looked = new.look(sealed)?;
        new.begin(sealed, looked)
    }

    /// Has a child look at a plugin: what it says of itself. Waits for it.
    ///
    /// # Errors
    /// The whole reason why the plugin cannot be run, in one line.
    pub fn look(host: &Host, program: &Program, sealed: &Arc<Sealed>) -> Result<Ready, String> {
        let shared = Arc::new(Shared::to_look(host, program, sealed));
        Ok(Child::start(&shared, true)?.looked)
    }

    #[cfg(test)]
    pub(crate) fn of(shared: Arc<Shared>) -> Isolated {
        Isolated { shared }
    }

    /// Name of the channel.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.shared.channel
    }

    /// What its plugin says of itself.
    #[must_use]
    pub fn plugin(&self) -> &Ready {
        &self.shared.looked
    }

    /// The copy of its plugin's file that its children load.
    #[must_use]
    pub fn sealed(&self) -> &Arc<Sealed> {
        &self.shared.sealed
    }

    /// Process id of the child, while there is one.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.shared.state.lock().pid
    }

    /// How many children there have been.
    #[must_use]
    pub fn children(&self) -> u64 {
        self.shared.state.lock().children
    }

    /// Starts a child and creates the channel there now rather than with the first lease.
    pub fn prepare(&self) {
        self.shared.prepare(&mut self.shared.state.lock());
    }

    /// Starts a child, creates the channel there, and waits until that is done or has failed: whoever wants to know that an
    /// instance works before anything is given to it. Waits twice as long as `create` may take, and a little more, at most.
    ///
    /// # Errors
    /// Why there is no channel: the plugin's words, or what became of the child.
    pub fn create_now(&self) -> Result<(), String> {
        let create = self.shared.spec.create_deadline.min(FOREVER);
        let limit = create.max(START_MIN) + create + WORD;
        let until = Instant::now() + limit;
        let mut state = self.shared.state.lock();
        self.shared.prepare(&mut state);
        loop {
            if let Creation::Known(result) = &state.creation {
                return result.clone();
            }
            if !state.open {
                let reason = state.stop.as_ref().map_or(&StopReason::Asked, |(reason, _)| reason);
                return Err(reason.to_string());
            }
            if state.creation == Creation::Unknown {
                return Err(Refusal::Resting(state.rest()).to_string());
            }
            // Woken by the child's word, its death, or a stop.
            if self.shared.changed.wait_until(&mut state, until).timed_out() {
                return Err(format!("its process has not said within {limit:?} whether there is a channel"));
            }
        }
    }

    /// Takes a lease. Never waits.
    ///
    /// # Errors
    /// The lease comes back when as many wait as may, the plugin is resting after a failure, or the instance stops.
    pub fn offer(&self, offer: impl Into<Offer>) -> Result<(), Box<OfferError>> {
        let offer = offer.into();
        let refused = |offer, why| Err(Box::new(OfferError { offer, why }));
        let spec = &self.shared.spec;
        let mut state = self.shared.state.lock();
        if !state.open {
            return refused(offer, Refusal::Stopped);
        }
        let rest = state.rest();
        if !rest.is_zero() {
            return refused(offer, Refusal::Resting(rest));
        }
        if state.leases >= spec.queue_bound + spec.max_workers as usize {
            return refused(offer, Refusal::Full);
        }
        state.leases += 1;
        state.queue.push_back(offer);
        if state.queue.len() == 1 {
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    /// How many leases no worker can have taken up yet.
    #[must_use]
    pub fn queued(&self) -> usize {
        let state = self.shared.state.lock();
        state.leases.saturating_sub(self.shared.spec.max_workers as usize).max(state.queue.len())
    }

    /// Ends the instance: what waits is given back, workers may finish what they hold until `deadline` is over. Returns at
    /// once; [`HostEvent::Stopped`] comes at the end. Of several stops the earliest deadline counts.
    pub fn stop(&self, deadline: Duration) {
        self.shared.begin_stop(StopReason::Asked, deadline);
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

impl std::fmt::Debug for Isolated {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Isolated").field("channel", &self.shared.channel).finish_non_exhaustive()
    }
}

/// Paths that options of the plugin's table name, or the nearest folder above what is not there; and those that are not
/// there below a folder that is not the plugin's alone.
fn paths_of(spec: &Spec, plugin: &Ready, own: &[PathBuf]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let fact =
        |name: &str| spec.settings.iter().find(|one| one.kind == SettingKind::Fact && one.name == name);
    let folder = fact("folder").map_or(Path::new("/"), |fact| Path::new(&fact.value));
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let kept: Vec<PathBuf> = own.iter().map(|path| real(path)).chain([real(folder)]).collect();
    let holds_path = |name: &str| {
        plugin.options.iter().any(|(option, is_path)| *is_path && option.eq_ignore_ascii_case(name))
    };
    let options = spec.settings.iter().filter(|one| one.kind == SettingKind::Option);
    let (mut named, mut missing) = (Vec::new(), Vec::new());
    for option in options.filter(|one| holds_path(&one.name) && !one.value.trim().is_empty()) {
        let path = folder.join(option.value.trim());
        let Some(there) = path.ancestors().find(|path| path.exists()) else { continue };
        let is_kept = |there: PathBuf| kept.iter().any(|kept| kept.starts_with(&there));
        if there == Path::new("/") || (there != path && is_kept(real(there))) {
            missing.push(path);
        } else {
            named.push(there.to_owned());
        }
    }
    (named, missing)
}

impl Shared {
    /// For a child that only looks, of no channel.
    pub(crate) fn to_look(host: &Host, program: &Program, sealed: &Arc<Sealed>) -> Shared {
        Shared {
            spec: Spec::new("look", Vec::new()),
            channel: "look".into(),
            limits: Limits { memory: Some(LOOK_MEMORY), ..Limits::default() },
            events: Arc::new(|_| {}),
            host: host.clone(),
            program: program.clone(),
            sealed: Arc::clone(sealed),
            looked: Ready::default(),
            state: Mutex::new(State::new()),
            changed: Condvar::new(),
            telling: Mutex::new(()),
        }
    }

    /// For a child that is never started.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Shared {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nothing.so");
        std::fs::write(&file, "nothing").unwrap();
        let host = Host::new(Vec::new());
        let sealed = host.seal(&file.to_string_lossy()).unwrap();
        Shared::to_look(&host, &Program::this_one(), &sealed)
    }

    /// For children that are played.
    #[cfg(test)]
    pub(crate) fn of_a_story(events: Events) -> Shared {
        let mut shared = Shared { events, ..Shared::of_nothing() };
        // No time passes in a rehearsal: what is to rest rests for no time.
        (shared.spec.pause_first, shared.spec.pause_max) = (Duration::ZERO, Duration::ZERO);
        shared
    }

    /// Until this goes, nobody else tells of what comes back.
    pub(crate) fn turn_to_tell(&self) -> impl Sized {
        crate::sync::turn(&self.telling)
    }

    pub(crate) fn send(&self, event: HostEvent) {
        (self.events)(event);
    }

    /// Name of a thread of this channel. The system shows the first 15 bytes.
    pub(crate) fn thread(&self, what: &str) -> String {
        format!("{}-{what}", self.channel).replace('\0', "?")
    }

    pub(crate) fn plugin_name(&self) -> &str {
        &self.looked.plugin
    }

    /// Lines of the child that were not told.
    pub(crate) fn tell_untold(&self, untold: u32) {
        if untold > 0 {
            let (channel, plugin) = (&*self.channel, self.plugin_name());
            tracing::warn!(channel, plugin, untold, "it said more than fits into the log");
        }
    }

    fn prepare(&self, state: &mut State) {
        let is_known = matches!(state.creation, Creation::Asked | Creation::Known(Ok(())));
        if state.open && state.rest().is_zero() && !is_known {
            state.creation = Creation::Wanted;
            self.changed.notify_all();
        }
    }

    pub(crate) fn begin_stop(&self, reason: StopReason, deadline: Duration) {
        let mut state = self.state.lock();
        let until = Instant::now() + deadline.min(FOREVER);
        if state.open {
            state.open = false;
            state.stop = Some((reason, until));
        } else if let Some((_, before)) = &mut state.stop {
            *before = until.min(*before);
        }
        self.changed.notify_all();
    }

    /// How long the child has had work and got nothing done: no delivery came back, and no mail of its was answered. `progress` is
    /// what was seen last.
    pub(crate) fn silent_for(&self, progress: &mut (u64, Instant)) -> Option<Duration> {
        let state = self.state.lock();
        let done = state.ledger.came_back() + state.answered;
        if state.ledger.is_empty() || done != progress.0 || state.submissions > 0 {
            *progress = (done, Instant::now());
            return None;
        }
        Some(progress.1.elapsed())
    }

    /// Another failure: how long to rest.
    pub(crate) fn pause(&self, state: &mut State) -> Duration {
        let doubled = 1_u32.checked_shl(state.failures).unwrap_or(u32::MAX);
        state.failures = state.failures.saturating_add(1);
        let pause = self.spec.pause_first.saturating_mul(doubled).min(self.spec.pause_max);
        state.resume = Some(Instant::now() + pause);
        pause
    }

    /// The child says that the plugin failed and rests: not shorter than it would by our own count, which goes on when a child is
    /// replaced.
    pub(crate) fn rests(&self, state: &mut State, pause: Duration) -> Duration {
        let pause = self.pause(state).max(pause.min(self.spec.pause_max));
        state.resume = Some(Instant::now() + pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_host::Setting;
    use std::fs;

    #[test]
    fn one_that_brings_mail_in_is_not_silent() {
        let shared = Shared::of_nothing();
        let mut progress = (0, Instant::now());
        {
            // A poll that takes its time.
            let mut state = shared.state.lock();
            let lease = state.ledger.open(1, 0, true);
            state.ledger.part(lease, true);
        }
        assert!(shared.silent_for(&mut progress).is_some());
        // Answered between two looks.
        shared.state.lock().answered += 1;
        assert_eq!(shared.silent_for(&mut progress), None);
        assert!(shared.silent_for(&mut progress).is_some());
    }

    #[test]
    fn what_is_not_there_opens_nothing_of_the_hubs() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        for folder in ["conf/made", "lib/sluice", "spool/sluice"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        let named = |value: &str| {
            let options = [("FOLDER", value.to_owned()), ("COMMAND", at("other").display().to_string())];
            let mut settings = vec![Setting::fact("folder", at("conf").display().to_string())];
            settings.extend(options.iter().map(|(name, value)| Setting::option(*name, value)));
            let looked = Ready { options: vec![("FOLDER".to_owned(), true)], ..Ready::default() };
            paths_of(&Spec::new("x", settings), &looked, &[at("spool/sluice")])
        };
        let opens = |value: &str, path: &str| assert_eq!(named(value), (vec![at(path)], vec![]), "{value}");
        opens("made", "conf/made");
        opens("made/deep/below", "conf/made");
        opens(&at("lib/sluice/box/of").display().to_string(), "lib/sluice");
        for value in ["outbox", "../spool/new", "made/../outbox", "../spool/sluice/x", "/sluice-not-there"] {
            assert_eq!(named(value), (vec![], vec![at("conf").join(value)]), "{value}");
        }
        // One that is there was meant.
        opens("../spool/sluice", "conf/../spool/sluice");
    }
}
