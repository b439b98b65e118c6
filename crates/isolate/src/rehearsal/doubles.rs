//! Locks, conditions and threads with the faces of parking_lot and the standard library, and a process with its socket.
//!
//! No time passes in a rehearsal: who waits is woken, or waits for ever. Outside of one, locks are what they stand for.

use super::played::play;
use crate::instance::{Program, Shared};
use crate::watch::Known;
use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::net::Shutdown;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is done wrong in a story that must be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// The thread that hears a process, and its end, wakes nobody.
    WhoHearsWakesNobody,
    /// Who asks for a stop wakes nobody.
    StopWakesNobody,
    /// The threads of a child are not waited for when it is buried.
    RestIsNotWaitedFor,
    /// What comes back is told of without regard for what another thread is about to tell.
    ToldOutOfTurn,
}

thread_local! {
    /// Shuttle plays all threads of a story on this one.
    static GOES_ON: Cell<bool> = const { Cell::new(false) };
    static MISTAKE: Cell<Option<Mistake>> = const { Cell::new(None) };
}

/// While somebody has this, there are others.
pub(crate) struct Rehearsal(());

impl Rehearsal {
    pub(crate) fn begin(mistake: Option<Mistake>) -> Self {
        GOES_ON.set(true);
        MISTAKE.set(mistake);
        Self(())
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        GOES_ON.set(false);
        MISTAKE.set(None);
    }
}

fn has_planted(mistake: Mistake) -> bool {
    MISTAKE.get() == Some(mistake)
}

/// Whether the thread that runs has a name that ends so.
fn is_thread(end: &str) -> bool {
    shuttle::thread::current().name().is_some_and(|name| name.ends_with(end))
}

pub(crate) enum Mutex<T> {
    Real(parking_lot::Mutex<T>),
    Played(shuttle::sync::Mutex<T>),
}

pub(crate) enum MutexGuard<'a, T> {
    Real(parking_lot::MutexGuard<'a, T>),
    /// `None` only while somebody waits with it.
    Played(Option<shuttle::sync::MutexGuard<'a, T>>),
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        match GOES_ON.get() {
            true => Self::Played(shuttle::sync::Mutex::new(value)),
            false => Self::Real(parking_lot::Mutex::new(value)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        match self {
            Self::Real(lock) => MutexGuard::Real(lock.lock()),
            Self::Played(lock) => MutexGuard::Played(lock.lock().ok()),
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Real(held) => held,
            Self::Played(held) => held.as_ref().expect("nobody panics with a lock in hand"),
        }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match self {
            Self::Real(held) => held,
            Self::Played(held) => held.as_mut().expect("nobody panics with a lock in hand"),
        }
    }
}

/// Of rehearsals only.
pub(crate) struct Condvar(Option<shuttle::sync::Condvar>);

pub(crate) struct TimedOut;

impl TimedOut {
    pub(crate) const fn timed_out(&self) -> bool {
        false
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(GOES_ON.get().then(shuttle::sync::Condvar::new))
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let (Some(changed), MutexGuard::Played(held)) = (&self.0, guard) else {
            panic!("nobody waits outside of a rehearsal")
        };
        *held = changed.wait(held.take().expect("it is locked")).ok();
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> TimedOut {
        self.wait(guard);
        TimedOut
    }

    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) -> TimedOut {
        self.wait(guard);
        TimedOut
    }

    pub(crate) fn notify_all(&self) {
        let Some(changed) = &self.0 else { return };
        let is_lost = (has_planted(Mistake::WhoHearsWakesNobody) && is_thread("-hear"))
            || (has_planted(Mistake::StopWakesNobody) && is_thread("stops"));
        if !is_lost {
            changed.notify_all();
        }
    }
}

/// Whose turn it is to tell what comes back.
pub(crate) fn turn(lock: &Mutex<()>) -> Option<MutexGuard<'_, ()>> {
    (!has_planted(Mistake::ToldOutOfTurn)).then(|| lock.lock())
}

pub(crate) mod thread {
    use super::{Mistake, has_planted};
    pub(crate) use shuttle::thread::yield_now;

    pub(crate) struct Builder(shuttle::thread::Builder);

    pub(crate) struct JoinHandle<T>(shuttle::thread::JoinHandle<T>);

    impl Builder {
        pub(crate) fn new() -> Self {
            Self(shuttle::thread::Builder::new())
        }

        pub(crate) fn name(self, name: String) -> Self {
            Self(self.0.name(name))
        }

        pub(crate) fn spawn<T: Send + 'static>(
            self,
            work: impl FnOnce() -> T + Send + 'static,
        ) -> std::io::Result<JoinHandle<T>> {
            self.0.spawn(work).map(JoinHandle)
        }
    }

    impl<T> JoinHandle<T> {
        pub(crate) fn join(self) -> std::thread::Result<()> {
            if !has_planted(Mistake::RestIsNotWaitedFor) {
                return self.0.join().map(drop);
            }
            Ok(())
        }
    }
}

/// What lies in the socket, and how the process is.
pub(crate) struct Line {
    pub(crate) to_child: Vec<u8>,
    to_hub: VecDeque<u8>,
    pub(crate) is_dead: bool,
    is_shut: bool,
}

pub(crate) struct Socket {
    pub(crate) line: Mutex<Line>,
    pub(crate) changed: Condvar,
}

impl Socket {
    /// The process says something, if it still lives.
    pub(crate) fn say(&self, octets: &[u8]) {
        let mut line = self.line.lock();
        if !line.is_dead {
            line.to_hub.extend(octets);
            self.changed.notify_all();
        }
    }

    pub(crate) fn die(&self) {
        self.line.lock().is_dead = true;
        self.changed.notify_all();
    }

    fn shutdown(&self, _: Shutdown) {
        self.line.lock().is_shut = true;
        self.changed.notify_all();
    }
}

impl Read for &Socket {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        // Who hears may stand still while all others get far.
        if super::once_in(8) {
            (0..super::below(60)).for_each(|_| thread::yield_now());
        }
        let mut line = self.line.lock();
        while line.to_hub.is_empty() && !line.is_shut {
            self.changed.wait(&mut line);
        }
        line.to_hub.read(room)
    }
}

pub(crate) struct Handle {
    pub(crate) pid: u32,
    pub(crate) socket: Socket,
}

impl Handle {
    pub(crate) fn kill(&self) {
        self.socket.die();
    }

    pub(crate) fn ends_within(&self, _: Duration) -> bool {
        self.socket.line.lock().is_dead
    }
}

pub(crate) struct Process {
    pub(crate) handle: Arc<Handle>,
    pub(crate) output: Option<PipeReader>,
}

impl Process {
    pub(crate) fn start(_: &Program) -> io::Result<Self> {
        let line = Line { to_child: Vec::new(), to_hub: VecDeque::new(), is_dead: false, is_shut: false };
        let socket = Socket { line: Mutex::new(line), changed: Condvar::new() };
        let handle = Arc::new(Handle { pid: 1, socket });
        let process = Arc::clone(&handle);
        shuttle::thread::spawn(move || play(&process.socket));
        Ok(Self { handle, output: None })
    }

    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        Ok(ExitStatus::from_raw(9))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.handle.kill();
    }
}

pub(crate) fn send(socket: &Socket, octets: &[u8], _: &[&File]) -> io::Result<()> {
    let mut line = socket.line.lock();
    if line.is_dead {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    line.to_child.extend_from_slice(octets);
    socket.changed.notify_all();
    Ok(())
}

/// Some children are ended by whoever watches them, for what they use.
pub(crate) fn watch(_: &Shared, handle: &Handle, _: Option<PipeReader>, known: &parking_lot::Mutex<Known>) {
    if super::once_in(4) {
        (0..super::below(40)).for_each(|_| thread::yield_now());
        Known::ended_because(known, "was ended: it had too much".to_owned());
        handle.kill();
    }
    let mut line = handle.socket.line.lock();
    while !line.is_dead {
        handle.socket.changed.wait(&mut line);
    }
    drop(line);
    handle.socket.shutdown(Shutdown::Both);
}
