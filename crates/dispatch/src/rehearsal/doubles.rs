//! The faces of what the loop and its callers share, with a place before each step at which somebody else may go on.
//!
//! One thread runs at a time, so that a step is whole. Outside of a rehearsal nobody else is there, and each is what it stands for.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use sluice_handoff::{SendError, TryRecvError, TrySendError};

/// A sleep of the loop that is shorter than this is no sleep: it looks again when others have had a turn.
const SLEEPS: Duration = Duration::from_secs(1);

thread_local! {
    /// Shuttle plays all threads of a story on this one.
    static GOES_ON: Cell<bool> = const { Cell::new(false) };
}

/// While somebody has this, there are others.
pub(crate) struct Rehearsal(());

impl Rehearsal {
    pub(crate) fn begin() -> Self {
        GOES_ON.set(true);
        Self(())
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        GOES_ON.set(false);
    }
}

/// Somebody else may go on here.
pub(crate) fn step() {
    if GOES_ON.get() {
        shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
    }
}

pub(crate) struct ArcSwap<T>(arc_swap::ArcSwap<T>);

impl<T> ArcSwap<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(arc_swap::ArcSwap::new(value))
    }

    pub(crate) fn load(&self) -> impl Deref<Target = Arc<T>> {
        step();
        self.0.load()
    }

    pub(crate) fn load_full(&self) -> Arc<T> {
        step();
        self.0.load_full()
    }

    pub(crate) fn store(&self, value: Arc<T>) {
        step();
        self.0.store(value);
    }
}

pub(crate) struct AtomicBool(std::sync::atomic::AtomicBool);

impl AtomicBool {
    pub(crate) const fn new(value: bool) -> Self {
        Self(std::sync::atomic::AtomicBool::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> bool {
        step();
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: bool, order: Ordering) {
        step();
        self.0.store(value, order);
    }

    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        step();
        self.0.swap(value, order)
    }
}

pub(crate) struct AtomicUsize(std::sync::atomic::AtomicUsize);

impl AtomicUsize {
    pub(crate) const fn new(value: usize) -> Self {
        Self(std::sync::atomic::AtomicUsize::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> usize {
        step();
        self.0.load(order)
    }

    pub(crate) fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        step();
        self.0.fetch_add(value, order)
    }

    pub(crate) fn fetch_update(
        &self,
        set: Ordering,
        fetch: Ordering,
        change: impl FnMut(usize) -> Option<usize>,
    ) -> Result<usize, usize> {
        step();
        self.0.fetch_update(set, fetch, change)
    }
}

/// A bell as `handoff` promises it: who has rung is heard. That the real one keeps that is rehearsed there.
pub(crate) struct Bell {
    real: Arc<sluice_handoff::Bell>,
    sleeper: Mutex<Option<shuttle::thread::Thread>>,
}

impl Bell {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { real: sluice_handoff::Bell::new(), sleeper: Mutex::new(None) })
    }

    pub(crate) fn bounded<T>(self: &Arc<Self>, length: usize) -> (Sender<T>, Receiver<T>) {
        let (real, receiver) = self.real.bounded(length);
        (Sender { real, bell: Arc::clone(self) }, Receiver(receiver))
    }

    fn ring(&self) {
        step();
        let sleeper = self.sleeper.lock().clone();
        sleeper.iter().for_each(shuttle::thread::Thread::unpark);
    }

    pub(crate) fn wait(&self, time: Duration, nothing_there: impl FnOnce() -> bool) {
        if !GOES_ON.get() {
            return self.real.wait(time, nothing_there);
        }
        if time < SLEEPS {
            return shuttle::thread::yield_now();
        }
        *self.sleeper.lock() = Some(shuttle::thread::current());
        step();
        if nothing_there() {
            shuttle::thread::park();
        }
    }
}

pub(crate) struct Sender<T> {
    real: sluice_handoff::Sender<T>,
    bell: Arc<Bell>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { real: self.real.clone(), bell: Arc::clone(&self.bell) }
    }
}

impl<T> Sender<T> {
    /// All queues of a rehearsal have room.
    pub(crate) fn send(&self, thing: T) -> Result<(), SendError<T>> {
        step();
        self.real.send(thing)?;
        self.bell.ring();
        Ok(())
    }

    pub(crate) fn try_send(&self, thing: T) -> Result<(), TrySendError<T>> {
        step();
        self.real.try_send(thing)?;
        self.bell.ring();
        Ok(())
    }

    pub(crate) fn send_quietly(&self, thing: T) -> Result<(), SendError<T>> {
        step();
        self.real.send_quietly(thing)
    }

    pub(crate) fn ring(&self) {
        self.bell.ring();
    }
}

pub(crate) struct Receiver<T>(sluice_handoff::Receiver<T>);

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        step();
        self.0.try_recv()
    }

    pub(crate) fn try_iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        step();
        self.0.is_empty()
    }
}

/// What somebody waits for who has a thread to wait with.
pub(crate) struct Awaited<T>(crossbeam_channel::Receiver<T>);

pub(crate) fn bounded<T>(length: usize) -> (crossbeam_channel::Sender<T>, Awaited<T>) {
    let (sender, receiver) = crossbeam_channel::bounded(length);
    (sender, Awaited(receiver))
}

impl<T> Awaited<T> {
    /// In a rehearsal it looks again and again.
    pub(crate) fn recv(&self) -> Result<T, crossbeam_channel::RecvError> {
        if !GOES_ON.get() {
            return self.0.recv();
        }
        loop {
            match self.0.try_recv() {
                Ok(thing) => return Ok(thing),
                Err(TryRecvError::Disconnected) => return Err(crossbeam_channel::RecvError),
                Err(TryRecvError::Empty) => shuttle::thread::yield_now(),
            }
        }
    }
}
