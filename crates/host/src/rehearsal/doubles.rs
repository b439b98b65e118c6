//! Locks, conditions and channels with the faces of parking_lot and crossbeam, and the heart of shuttle.
//!
//! No time passes here. A wait with a deadline that is not over yet lasts until it is woken, so that nobody is saved by a timeout who
//! should have been woken. Only the watchdog's tick comes now and then.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
    /// `None` only while somebody waits with it.
    held: Option<shuttle::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { lock: self, held: self.0.lock().ok() }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("nobody panics with a lock in hand")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("nobody panics with a lock in hand")
    }
}

#[derive(Default)]
pub(crate) struct Condvar(shuttle::sync::Condvar);

pub(crate) struct TimedOut(bool);

impl TimedOut {
    pub(crate) const fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.held.take().expect("it is locked");
        guard.held = self.0.wait(held).ok();
    }

    /// A deadline that is over is over; one that is not never will be.
    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> TimedOut {
        if deadline <= Instant::now() {
            return self.wait_for(guard, Duration::ZERO);
        }
        self.wait(guard);
        TimedOut(false)
    }

    /// A look every few moments: others go on, and then it looks again.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _time: Duration) -> TimedOut {
        guard.held = None;
        shuttle::thread::yield_now();
        guard.held = guard.lock.0.lock().ok();
        TimedOut(true)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A queue that many fill and many empty.
pub(crate) mod channel {
    use super::{Condvar, Mutex};
    use shuttle::rand::{Rng, thread_rng};
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    pub(crate) use crossbeam_channel::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

    struct Queue<T> {
        items: VecDeque<T>,
        bound: usize,
        senders: usize,
        receivers: usize,
    }

    struct Shared<T> {
        queue: Mutex<Queue<T>>,
        changed: Condvar,
    }

    pub(crate) struct Sender<T>(Arc<Shared<T>>);
    pub(crate) struct Receiver<T>(Arc<Shared<T>>);

    pub(crate) fn bounded<T>(bound: usize) -> (Sender<T>, Receiver<T>) {
        let queue = Queue { items: VecDeque::new(), bound, senders: 1, receivers: 1 };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new() });
        (Sender(shared.clone()), Receiver(shared))
    }

    pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        bounded(usize::MAX)
    }

    impl<T> Clone for Receiver<T> {
        fn clone(&self) -> Self {
            self.0.queue.lock().receivers += 1;
            Self(self.0.clone())
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.0.queue.lock().senders -= 1;
            self.0.changed.notify_all();
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            self.0.queue.lock().receivers -= 1;
        }
    }

    impl<T> Sender<T> {
        pub(crate) fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
            let mut queue = self.0.queue.lock();
            if queue.receivers == 0 {
                return Err(TrySendError::Disconnected(item));
            }
            if queue.items.len() >= queue.bound {
                return Err(TrySendError::Full(item));
            }
            queue.items.push_back(item);
            drop(queue);
            self.0.changed.notify_one();
            Ok(())
        }

        /// For queues that have room, which all are that this is used with.
        pub(crate) fn send(&self, item: T) -> Result<(), SendError<T>> {
            self.try_send(item).map_err(|error| SendError(error.into_inner()))
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
            let mut queue = self.0.queue.lock();
            let gone = queue.senders == 0;
            queue.items.pop_front().ok_or(if gone { TryRecvError::Disconnected } else { TryRecvError::Empty })
        }

        fn wait(&self) -> Result<T, RecvError> {
            let mut queue = self.0.queue.lock();
            loop {
                if let Some(item) = queue.items.pop_front() {
                    return Ok(item);
                }
                if queue.senders == 0 {
                    return Err(RecvError);
                }
                self.0.changed.wait(&mut queue);
            }
        }

        /// A deadline that is over is over; one that is not never will be.
        pub(crate) fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
            if deadline > Instant::now() {
                return self.wait().map_err(|RecvError| RecvTimeoutError::Disconnected);
            }
            shuttle::thread::yield_now();
            self.try_recv().map_err(|error| match error {
                TryRecvError::Empty => RecvTimeoutError::Timeout,
                TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
            })
        }

        /// Now and then it times out at once, and otherwise never.
        pub(crate) fn recv_timeout(&self, time: Duration) -> Result<T, RecvTimeoutError> {
            let is_over = thread_rng().gen_range(0..4) == 0;
            self.recv_deadline(Instant::now() + if is_over { Duration::ZERO } else { time })
        }
    }
}
