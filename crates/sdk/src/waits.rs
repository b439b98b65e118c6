//! What a channel waits for outside of [`Worker::next`](crate::Worker::next): a peer's answer, a pause. [`Channel::stop`](crate::Channel::stop)
//! ends it.
//!
//! ```
//! use std::io::{self, Read};
//! use std::net::{Shutdown, TcpStream};
//! use sluice_sdk::Waits;
//!
//! struct Chat {
//!     waits: Waits,
//! }
//!
//! impl Chat {
//!     /// Called by the channel's function `stop`, on another thread than the worker's.
//!     fn stop(&self) {
//!         self.waits.stop();
//!     }
//!
//!     fn answer(&self, mut peer: TcpStream) -> io::Result<Vec<u8>> {
//!         let copy = peer.try_clone()?;
//!         // From here on `stop` shuts the connection, and whoever reads from it sees its end.
//!         let _wait = self.waits.enter(move || drop(copy.shutdown(Shutdown::Both)))?;
//!         let mut answer = Vec::new();
//!         peer.read_to_end(&mut answer)?;
//!         Ok(answer)
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! # Invariants
//! A wait that is entered is ended by a `stop` that comes later, and one that would be entered after it does not begin. No wait is ended
//! twice.
//! # Not here
//! Waits that nobody can end: a name that the system looks up, `TcpStream::connect_timeout`. Keep them short.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a wait is ended from another thread.
type End = Box<dyn FnOnce() + Send>;

/// All waits of a channel.
#[derive(Default)]
pub struct Waits {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    is_stopped: bool,
    next: u64,
    ends: BTreeMap<u64, End>,
}

/// The channel is stopping, so nothing new is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping;

impl fmt::Display for Stopping {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("the channel is stopping")
    }
}

impl std::error::Error for Stopping {}

impl From<Stopping> for io::Error {
    fn from(stopping: Stopping) -> io::Error {
        io::Error::other(stopping)
    }
}

/// A wait that was entered. It is left when this is dropped.
#[must_use = "a wait is left when this is dropped, and cannot be ended any more"]
pub struct Wait<'w> {
    waits: &'w Waits,
    number: u64,
}

impl Waits {
    /// Ends every wait, now and from now on. What ends a wait is called on this thread, one after the other.
    pub fn stop(&self) {
        let ends = {
            let mut state = self.lock();
            state.is_stopped = true;
            std::mem::take(&mut state.ends)
        };
        self.stopped.notify_all();
        // Outside of the lock: whoever is ended by it leaves at once.
        ends.into_values().for_each(|end| end());
    }

    /// Whether [`stop`](Waits::stop) was called.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    /// Enters a wait that `end` ends. Until what is given back is dropped, [`stop`](Waits::stop) calls it, on another thread and once: it must
    /// not wait for anything itself. A `stop` that is at it just then may call it although the wait was left.
    ///
    /// # Errors
    /// `stop` was called before; `end` is not called then.
    pub fn enter(&self, end: impl FnOnce() + Send + 'static) -> Result<Wait<'_>, Stopping> {
        let mut state = self.lock();
        if state.is_stopped {
            return Err(Stopping);
        }
        let number = state.next;
        state.next += 1;
        state.ends.insert(number, Box::new(end));
        Ok(Wait { waits: self, number })
    }

    /// Waits for so long, for a peer that wants to be left alone, say.
    ///
    /// # Errors
    /// `stop` was called before the time was over.
    pub fn pause(&self, time: Duration) -> Result<(), Stopping> {
        let begun = Instant::now();
        let mut state = self.lock();
        while !state.is_stopped {
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            // The same end for a wait that nobody has woken.
            state = self.stopped.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(Stopping)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        // What `end` holds is given up outside of the lock.
        let end = self.waits.lock().ends.remove(&self.number);
        drop(end);
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        to.debug_struct("Waits")
            .field("is_stopped", &state.is_stopped)
            .field("entered", &state.ends.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Wait").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// No test waits longer.
    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn a_wait_is_ended_once_and_not_when_it_was_left() {
        let waits = Waits::default();
        let ended = Arc::new(AtomicUsize::new(0));
        let count = |by: usize| {
            let ended = Arc::clone(&ended);
            move || {
                ended.fetch_add(by, Ordering::Relaxed);
            }
        };
        let one = waits.enter(count(1)).unwrap();
        drop(waits.enter(count(10)).unwrap());
        let two = waits.enter(count(100)).unwrap();
        assert_eq!((waits.is_stopped(), format!("{waits:?}").contains("entered: 2")), (false, true));
        waits.stop();
        waits.stop();
        drop((one, two));
        assert_eq!((ended.load(Ordering::Relaxed), waits.is_stopped()), (101, true));
        assert_eq!(waits.enter(count(1000)).map(drop), Err(Stopping));
        assert_eq!(io::Error::from(Stopping).to_string(), "the channel is stopping");
        assert_eq!(ended.load(Ordering::Relaxed), 101);
    }

    #[test]
    fn a_pause_ends_by_its_time_or_by_the_stop() {
        let waits = Waits::default();
        assert_eq!(waits.pause(Duration::from_millis(1)), Ok(()));
        std::thread::scope(|scope| {
            let paused = [(); 3].map(|()| scope.spawn(|| waits.pause(LONG)));
            waits.stop();
            paused.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), Err(Stopping)));
        });
        assert_eq!(waits.pause(Duration::ZERO), Err(Stopping));
    }

    #[test]
    fn whoever_enters_while_it_stops_is_ended_or_does_not_begin() {
        for _ in 0..200 {
            let waits = Waits::default();
            std::thread::scope(|scope| {
                let entering = [(); 2].map(|()| {
                    scope.spawn(|| {
                        let (tell, told) = std::sync::mpsc::channel();
                        match waits.enter(move || tell.send(()).unwrap()) {
                            Ok(_wait) => told.recv_timeout(LONG).is_ok(),
                            Err(Stopping) => true,
                        }
                    })
                });
                waits.stop();
                assert!(entering.into_iter().all(|one| one.join().unwrap()));
            });
        }
    }
}
