//! Calls that may hang: each is made on a thread of its own, and given up at a deadline.
//!
//! Threads wait for the next call for a while and then go. Those that hang are counted, and when too many of them do, nothing
//! more is called until one comes back. What a call returns that was given up is dropped on its thread.
//!
//! # Not here
//! What is called, and what it means that there is no answer.

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// So many calls may hang before nothing more is called.
pub(crate) const HUNG_MAX: usize = 4;
/// Most threads; more calls at once than this are refused.
const THREADS_MAX: usize = 64;
/// A thread that has had nothing to do for so long ends.
const IDLE_EXIT: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// It did not return in time.
    Hung,
    /// It was not called, because too many earlier calls hang.
    TooManyHung,
    /// It was not called, because there is no thread for it.
    NoThread,
}

/// The threads that make calls of one kind.
pub(crate) struct Aside {
    shared: Arc<Shared>,
}

struct Shared {
    /// What the threads are called.
    name: &'static str,
    /// Threads that wait for a call.
    idle: Mutex<Vec<(usize, Sender<Call>)>>,
    threads: AtomicUsize,
    hung: AtomicUsize,
    numbers: AtomicUsize,
}

/// Makes the call, and gives what hands its answer over.
type Work = Box<dyn FnOnce() -> Box<dyn FnOnce() + Send> + Send>;

struct Call {
    work: Work,
    /// Set by whichever side is first: the thread with its answer, or the caller who gives up.
    over: Arc<AtomicBool>,
}

impl Aside {
    pub(crate) fn new(name: &'static str) -> Aside {
        let shared = Shared {
            name,
            idle: Mutex::new(Vec::new()),
            threads: AtomicUsize::new(0),
            hung: AtomicUsize::new(0),
            numbers: AtomicUsize::new(0),
        };
        Aside { shared: Arc::new(shared) }
    }

    /// Makes a call and waits for its answer, not longer than `time`.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        time: Duration,
        code: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let shared = &self.shared;
        if shared.hung.load(Ordering::SeqCst) >= HUNG_MAX {
            return Err(NoAnswer::TooManyHung);
        }
        let (reply, answer) = bounded(1);
        let over = Arc::new(AtomicBool::new(false));
        let work: Work = Box::new(move || {
            let made = code();
            Box::new(move || {
                let _ = reply.send(made); // Fails when nobody waits any more.
            })
        });
        let mut call = Call { work, over: over.clone() };
        loop {
            let idle = shared.idle.lock().pop();
            let Some((_, thread)) = idle else {
                shared.start(call)?;
                break;
            };
            // A thread that was waiting takes it; one that has ended in this moment has left the list.
            match thread.send(call) {
                Ok(()) => break,
                Err(returned) => call = returned.0,
            }
        }
        if let Ok(answer) = answer.recv_timeout(time) {
            return Ok(answer);
        }
        // Counted before it can be taken back.
        shared.hung.fetch_add(1, Ordering::SeqCst);
        if over.swap(true, Ordering::SeqCst) {
            shared.hung.fetch_sub(1, Ordering::SeqCst);
            return answer.recv().map_err(|_| NoAnswer::Hung);
        }
        Err(NoAnswer::Hung)
    }
}

impl Shared {
    fn start(self: &Arc<Self>, call: Call) -> Result<(), NoAnswer> {
        if self.threads.fetch_add(1, Ordering::SeqCst) >= THREADS_MAX {
            self.threads.fetch_sub(1, Ordering::SeqCst);
            return Err(NoAnswer::NoThread);
        }
        let shared = self.clone();
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        let thread = thread::Builder::new().name(self.name.to_owned());
        thread.spawn(move || shared.work(number, call)).map(|_| ()).map_err(|_| {
            self.threads.fetch_sub(1, Ordering::SeqCst);
            NoAnswer::NoThread
        })
    }

    /// The life of a thread: its first call, and those that come while it waits.
    fn work(&self, number: usize, first: Call) {
        let (sender, calls): (Sender<Call>, Receiver<Call>) = bounded(1);
        let mut next = Some(first);
        while let Some(call) = next.take() {
            let hand_over = (call.work)();
            let given_up = call.over.swap(true, Ordering::SeqCst);
            if given_up {
                self.hung.fetch_sub(1, Ordering::SeqCst);
            }
            self.idle.lock().push((number, sender.clone()));
            hand_over();
            next = match calls.recv_timeout(IDLE_EXIT) {
                Ok(call) => Some(call),
                Err(_) => {
                    let mut idle = self.idle.lock();
                    let before = idle.len();
                    idle.retain(|(other, _)| *other != number);
                    // Not on the list any more: somebody is just sending a call.
                    if idle.len() == before { calls.recv().ok() } else { None }
                }
            };
        }
        self.threads.fetch_sub(1, Ordering::SeqCst);
    }
}
