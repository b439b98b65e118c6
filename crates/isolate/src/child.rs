//! The child: an ordinary host with one instance, between the hub's frames and the plugin.
//!
//! The main thread reads frames; one thread writes what has come together, and tells of lines that were left out of the log. Whatever goes wrong with the socket ends the
//! process: the hub has gone, or the plugin has had its hands on it, and both are the hub's to cope with.

use crate::confine::confine;
use crate::log::{ToTheHub, WARN};
use crate::raw::{Mapped, close_inherited};
use crate::socket::receive;
use crate::wire::{self, Frames, Hello, LentDelivery, Piece, Ready, ToChild, ToHub, write_finished};
use parking_lot::{Condvar, Mutex, MutexGuard};
use sluice_host::{
    Content, FrontDoor, Host, HostEvent, Instance, Lease, Lines, OptionKind, Plugin, Recorder, Spec,
    Submission,
};
use sluice_mail::{Outcome, Status};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// What a program is started with when it is to be a child.
pub const ARGUMENT: &str = "isolated-channel";

/// Octets that wait for the socket before those who have more to say wait too.
const WAITING_MAX: usize = 4 << 20;
/// Outcomes of one frame: with the longest texts they are still within the length of frames.
const OUTCOMES_AT_ONCE: usize = 256;
/// Recipients and octets of one frame of a submission, likewise.
const RECIPIENTS_AT_ONCE: usize = 64;
const CONTENT_AT_ONCE: usize = 64 << 10;

/// How often it is looked whether the time of lines that were left out of the log is over.
const UNTOLD: Duration = Duration::from_secs(1);

/// Exit statuses, for the hub's log.
const STATUS_DONE: i32 = 0;
const STATUS_TROUBLE: i32 = 70;
const STATUS_NOT_LOADED: i32 = 69;

/// What waits to be written to the hub.
pub(crate) struct Outgoing {
    state: Mutex<Waiting>,
    /// There is something for the writer.
    something: Condvar,
    /// There is room, or nothing left.
    room: Condvar,
    /// Lines for the log among it. The hub counts them as well, and ends a child that says much more.
    lines: Mutex<Lines>,
    /// Some of them were left out, and nobody has said so: the writer does when their time is over. Changed while `lines` is locked.
    has_untold: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    octets: Vec<u8>,
    /// The writer sleeps.
    sleeps: bool,
    /// The writer has something in hand.
    writes: bool,
}

impl Outgoing {
    pub(crate) fn new() -> Arc<Outgoing> {
        Arc::new(Outgoing {
            state: Mutex::default(),
            something: Condvar::new(),
            room: Condvar::new(),
            lines: Mutex::default(),
            has_untold: AtomicBool::new(false),
        })
    }

    /// What would be written next.
    #[cfg(test)]
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.state.lock().octets)
    }

    /// Appends what `write` writes.
    fn put(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        while state.octets.len() > WAITING_MAX {
            self.room.wait(&mut state);
        }
        write(&mut state.octets);
        if state.sleeps {
            state.sleeps = false;
            drop(state);
            self.something.notify_one();
        }
    }

    pub(crate) fn say(&self, frame: &ToHub) {
        self.put(|out| frame.write(out));
    }

    /// Counts lines of the log. When the first is left out, the writer wakes, to look from now on whether their time is over.
    pub(crate) fn count_lines<C>(&self, count: impl FnOnce(&mut Lines) -> C) -> C {
        let mut lines = self.lines.lock();
        let counted = count(&mut lines);
        let has_untold = lines.has_untold();
        let had = self.has_untold.swap(has_untold, Ordering::Relaxed);
        drop(lines);
        if has_untold && !had {
            let state = self.state.lock();
            if state.sleeps {
                self.something.notify_one();
            }
        }
        counted
    }

    /// A word about lines of the log that were left out.
    pub(crate) fn say_untold(&self, untold: u32) {
        if untold > 0 {
            self.say(&left_out(untold));
        }
    }

    /// The same at the end, whether or not their time is over.
    pub(crate) fn tell_rest(&self) {
        let untold = self.count_lines(Lines::rest);
        self.say_untold(untold);
    }

    /// The same by the writer, of those whose time is over and of which nobody else may come to speak. It waits for no room: it makes it.
    fn write_untold(&self) {
        let untold = self.count_lines(Lines::over);
        if untold > 0 {
            left_out(untold).write(&mut self.state.lock().octets);
        }
    }

    /// Waits until everything is written, with a word about what was left out of the log.
    fn drain(&self) {
        self.tell_rest();
        let mut state = self.state.lock();
        while !state.octets.is_empty() || state.writes {
            self.room.wait(&mut state);
        }
    }

    /// The life of the writer.
    pub(crate) fn write_to(&self, mut socket: &UnixStream) {
        let mut octets = Vec::new();
        loop {
            {
                if self.has_untold.load(Ordering::Relaxed) {
                    self.write_untold();
                }
                let mut state = self.state.lock();
                state.writes = false;
                if state.octets.is_empty() {
                    self.room.notify_all();
                    while state.octets.is_empty() {
                        state.sleeps = true;
                        if !self.has_untold.load(Ordering::Relaxed) {
                            self.something.wait(&mut state);
                        } else if self.something.wait_for(&mut state, UNTOLD).timed_out() {
                            state.sleeps = false;
                            MutexGuard::unlocked(&mut state, || self.write_untold());
                        }
                    }
                    drop(state);
                    // Who has more to say gets to it first, and it is written in one go.
                    thread::yield_now();
                    state = self.state.lock();
                }
                std::mem::swap(&mut octets, &mut state.octets);
                state.writes = true;
            }
            self.room.notify_all();
            if socket.write_all(&octets).is_err() {
                std::process::exit(STATUS_TROUBLE);
            }
            octets.clear();
            octets.shrink_to(WAITING_MAX);
        }
    }
}

fn left_out(untold: u32) -> ToHub {
    let text = format!("it said more than fits into the log untold={untold}");
    ToHub::Log { level: WARN, id: String::new(), text }
}

/// Runs a plugin for the hub at the other end of standard input. Does not return.
pub fn run_child() -> ! {
    let socket = match own_socket() {
        Ok(socket) => socket,
        Err(error) => trouble(&format!("no socket: {error}")),
    };
    if let Err(error) = close_inherited(&socket) {
        trouble(&format!("cannot close what was inherited: {error}"));
    }
    let mut incoming = Incoming { socket, frames: Frames::new(wire::TO_CHILD_MAX), came: VecDeque::new() };
    let hello = match incoming.next() {
        Some(ToChild::Hello(hello)) if hello.version == wire::VERSION => hello,
        Some(ToChild::Hello(hello)) => trouble(&format!(
            "the hub speaks version {}, this program {}: its file was replaced; restart the hub",
            hello.version,
            wire::VERSION
        )),
        _ => trouble("this is for the hub itself to start"),
    };
    let outgoing = Outgoing::new();
    if let Err(error) = start_writer(&incoming.socket, &outgoing) {
        trouble(&format!("no thread to write: {error}"));
    }
    let mut lent = || incoming.came.pop_front().map(File::from);
    let (Some(recorder), Some(library)) = (lent(), lent()) else {
        trouble("the hub did not send what comes with its greeting");
    };
    match load(&hello, &recorder, library, &outgoing) {
        Ok((host, plugin, ready)) => {
            outgoing.say(&ToHub::Ready(wire::VERSION, ready));
            if !hello.looks {
                Serving::begin(&host, plugin, hello.spec, Arc::clone(&outgoing)).serve(incoming);
            }
            outgoing.drain();
            std::process::exit(STATUS_DONE);
        }
        Err(why) => {
            outgoing.say(&ToHub::Cannot(why));
            outgoing.drain();
            std::process::exit(STATUS_NOT_LOADED);
        }
    }
}

/// For people who start it by hand, and for the hub, which reads standard error.
fn trouble(what: &str) -> ! {
    let _ = writeln!(std::io::stderr(), "isolated channel: {what}");
    std::process::exit(STATUS_TROUBLE);
}

/// The socket that is our standard input, which is nothing afterwards.
fn own_socket() -> std::io::Result<UnixStream> {
    use std::os::fd::AsFd;
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let nothing = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    Ok(UnixStream::from(socket))
}

/// What comes from the hub.
struct Incoming {
    socket: UnixStream,
    frames: Frames,
    came: VecDeque<OwnedFd>,
}

impl Incoming {
    /// The next frame; `None` when the hub has gone.
    fn next(&mut self) -> Option<ToChild> {
        loop {
            match self.frames.next_frame() {
                Ok(Some((kind, body))) => match ToChild::read(kind, body) {
                    Ok(frame) => return Some(frame),
                    Err(bad) => trouble(&format!("the hub sent something that cannot be read: {bad}")),
                },
                Ok(None) => {}
                Err(bad) => trouble(&format!("the hub sent something that cannot be read: {bad}")),
            }
            match receive(&self.socket, self.frames.room(), &mut self.came) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.frames.came(count),
            }
        }
    }
}

fn start_writer(socket: &UnixStream, outgoing: &Arc<Outgoing>) -> std::io::Result<()> {
    let (socket, outgoing) = (socket.try_clone()?, Arc::clone(outgoing));
    thread::Builder::new().name("to-hub".to_owned()).spawn(move || outgoing.write_to(&socket)).map(drop)
}

/// Confines this process and loads the plugin.
fn load(
    hello: &Hello,
    recorder: &File,
    library: File,
    outgoing: &Arc<Outgoing>,
) -> Result<(Host, Arc<Plugin>, Ready), String> {
    let spans = AtomicU64::new(1);
    let log = ToTheHub { outgoing: Arc::clone(outgoing), most: hello.level, spans };
    // Fails only where the program has a log already, which then has what is said here.
    let _ = tracing::subscriber::set_global_default(log);
    let recorder = Recorder::begin(recorder).map_err(|error| format!("no recorder: {error}"))?;
    let confined = confine(hello)?;
    let host = Host::new(Vec::new());
    host.record_in(recorder);
    let plugin = host.load_lent(Path::new(&hello.file), library).map_err(|error| chain(&error))?;
    let options = plugin.options().iter();
    let ready = Ready {
        plugin: plugin.name().to_owned(),
        version: plugin.version().to_owned(),
        description: plugin.description().to_owned(),
        abi: plugin.abi_version(),
        options: options.map(|option| (option.name.clone(), option.kind == OptionKind::Path)).collect(),
        confined,
    };
    Ok((host, plugin, ready))
}

/// An error and what it came from, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// The instance, and what the hub has sent for it.
struct Serving {
    instance: Arc<Instance>,
    outgoing: Arc<Outgoing>,
    door: Arc<Door>,
    /// Leases for which the hub wants to hear that the poll is over.
    polls: Arc<Mutex<HashSet<u64>>>,
    files: HashMap<u32, Arc<Mapped>>,
}

impl Serving {
    fn begin(host: &Host, plugin: Arc<Plugin>, spec: Spec, outgoing: Arc<Outgoing>) -> Serving {
        let door = Arc::new(Door {
            outgoing: Arc::clone(&outgoing),
            last: Mutex::new(0),
            waiting: Mutex::default(),
        });
        host.open_door(Arc::clone(&door) as Arc<dyn FrontDoor>);
        let polls = Arc::new(Mutex::new(HashSet::new()));
        let events = {
            let (outgoing, polls) = (Arc::clone(&outgoing), Arc::clone(&polls));
            Arc::new(move |event| tell(&outgoing, &polls, event))
        };
        // The hub replaces a process with workers that hang. One that stopped by itself would refuse what it gets until it ends.
        let spec = Spec { hung_max: u32::MAX, ..spec };
        let instance = Arc::new(Instance::start(host, plugin, spec, events));
        Serving { instance, outgoing, door, polls, files: HashMap::new() }
    }

    /// Takes frames until the hub has gone. When the instance has ended, whoever tells of it ends the process.
    fn serve(mut self, mut incoming: Incoming) {
        while let Some(frame) = incoming.next() {
            match frame {
                ToChild::Lease(lease) => self.take(lease),
                ToChild::Segment { key, length } => {
                    let file = incoming.came.pop_front().map(File::from);
                    let mapped = file.ok_or_else(|| std::io::Error::other("no descriptor came with it"));
                    match mapped.and_then(|file| Mapped::of(&file, length)) {
                        Ok(mapped) => drop(self.files.insert(key, Arc::new(mapped))),
                        Err(error) => trouble(&format!("cannot map what the hub sent: {error}")),
                    }
                }
                ToChild::Forget(key) => drop(self.files.remove(&key)),
                ToChild::Answer(request, answers) => self.door.answer(request, answers),
                ToChild::Stop(deadline) => self.instance.stop(deadline),
                ToChild::Prepare => self.prepare(),
                ToChild::Hello(_) => trouble("the hub greets twice"),
            }
        }
        std::process::exit(STATUS_TROUBLE);
    }

    /// Has the channel created, and says what came of it: on a thread of its own, since it may take its time.
    fn prepare(&self) {
        let (instance, outgoing) = (Arc::clone(&self.instance), Arc::clone(&self.outgoing));
        let create = move || outgoing.say(&ToHub::Created(instance.create_now()));
        if let Err(error) = thread::Builder::new().name("prepare".to_owned()).spawn(create) {
            self.outgoing.say(&ToHub::Created(Err(format!("no thread could be started: {error}"))));
        }
    }

    fn take(&self, lease: wire::LentLease) {
        let wire::LentLease { lease, poll, deliveries } = lease;
        let deliveries = deliveries.into_iter().map(|LentDelivery { mut delivery, pieces }| {
            delivery.content = Arc::new(self.content(&pieces));
            delivery
        });
        let taken = Lease { lease, poll, deliveries: deliveries.collect() };
        if poll {
            self.polls.lock().insert(lease);
        }
        if self.instance.offer(taken).is_err() {
            self.polls.lock().remove(&lease);
            self.outgoing.say(&ToHub::Refused(lease));
        }
    }

    fn content(&self, pieces: &[Piece]) -> Lent {
        let found = pieces.iter().map(|piece| {
            let known = self.files.get(&piece.key);
            let range = piece
                .offset
                .checked_add(piece.length)
                .and_then(|end| Some(usize::try_from(piece.offset).ok()?..usize::try_from(end).ok()?));
            match (known, range) {
                (Some(file), Some(range)) if range.end <= file.len() => (Arc::clone(file), range),
                _ => trouble("the hub named a place that there is not"),
            }
        });
        Lent(found.collect())
    }
}

/// A content in files of the hub's.
struct Lent(Vec<(Arc<Mapped>, Range<usize>)>);

impl Content for Lent {
    fn pieces<'a>(&'a self, take: &mut dyn FnMut(&'a [u8])) {
        self.0.iter().for_each(|(file, range)| take(file.slice(range.clone())));
    }
}

/// Tells the hub of an event.
fn tell(outgoing: &Outgoing, polls: &Mutex<HashSet<u64>>, event: HostEvent) {
    let polled = event.lease_done().filter(|lease| polls.lock().remove(lease));
    match event {
        HostEvent::Finished { token, outcomes, cause, .. } => outgoing.put(|out| {
            let (most, last) = outcomes.split_at(outcomes.len() - outcomes.len().min(OUTCOMES_AT_ONCE));
            for outcomes in most.chunks(OUTCOMES_AT_ONCE) {
                ToHub::Settled { delivery: token, outcomes: outcomes.to_vec() }.write(out);
            }
            write_finished(out, token, &cause, last);
        }),
        HostEvent::LeaseDone { .. } => {}
        HostEvent::WorkerFailed { failure, pause, .. } => outgoing.say(&ToHub::Failed { failure, pause }),
        HostEvent::Stopped { reason, left_behind, .. } => {
            outgoing.say(&ToHub::Stopped { reason, left_behind });
            outgoing.drain();
            std::process::exit(STATUS_DONE);
        }
    }
    if let Some(lease) = polled {
        outgoing.say(&ToHub::LeaseDone(lease));
    }
}

/// The way out for mail that the plugin brings in.
struct Door {
    outgoing: Arc<Outgoing>,
    /// Number of the last request. Locked while one is being sent, since the hub takes one at a time.
    last: Mutex<u32>,
    waiting: Mutex<HashMap<u32, SyncSender<Option<Vec<Outcome>>>>>,
}

impl Door {
    fn answer(&self, request: u32, answers: Option<Vec<Outcome>>) {
        if let Some(waiting) = self.waiting.lock().remove(&request) {
            let _ = waiting.send(answers); // There is room for one.
        }
    }
}

impl FrontDoor for Door {
    fn submit(&self, submission: &Submission<'_>) -> Option<Vec<Outcome>> {
        let octets: usize = submission.pieces.iter().map(|piece| piece.len()).sum();
        if octets > wire::SUBMISSION_MAX {
            let too_large = Outcome::Failed {
                status: Status { class: 5, subject: 3, detail: 4 },
                text: format!("an isolated channel brings in at most {} octets", wire::SUBMISSION_MAX),
                peer: String::new(),
            };
            return Some(vec![too_large; submission.recipients.len()]);
        }
        let (answer, answered) = sync_channel(1);
        {
            let mut last = self.last.lock();
            *last = last.wrapping_add(1);
            let request = *last;
            self.waiting.lock().insert(request, answer);
            self.outgoing.say(&ToHub::Submit {
                request,
                eight_bit: submission.eight_bit,
                smtputf8: submission.smtputf8,
                as_original: submission.as_original,
                on_hold: submission.on_hold,
                origin: submission.origin.as_ref().map(|origin| origin.id.clone()),
                sender: submission.sender.to_owned(),
                returned: submission.wishes.returned,
                envelope_id: submission.wishes.envelope_id.clone(),
            });
            for some in submission.recipients.chunks(RECIPIENTS_AT_ONCE) {
                let some = some
                    .iter()
                    .map(|one| (one.address.to_owned(), one.original.to_owned(), one.wishes.clone()));
                self.outgoing.say(&ToHub::Recipients(request, some.collect()));
            }
            for piece in submission.pieces {
                for octets in piece.chunks(CONTENT_AT_ONCE) {
                    self.outgoing.say(&ToHub::Content(request, octets.to_vec()));
                }
            }
            self.outgoing.say(&ToHub::Submitted(request));
        }
        answered.recv().ok().flatten()
    }
}
