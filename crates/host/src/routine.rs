//! Routine calls: `$[image,routine,argument]` of rewrite rules and mapping tables.
//!
//! Whoever rewrites an address must not hang with a plugin, so the call is made on a thread of its own, and given up after
//! [`DEADLINE`]. Threads wait for the next call for a while and then go; those that hang are counted, and when
//! [`HUNG_MAX`] of them do, the plugin is not called any more until one comes back.
//!
//! # Not here
//! Which plugins may be called, and what a rule makes of the answer.

use crate::call;
use crate::library::Route;
use crate::plugin::Plugin;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use sluice_abi as abi;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// How long a routine may take. An SMTP session waits for it.
const DEADLINE: Duration = Duration::from_secs(1);
/// So many calls of a plugin may hang before it is not called any more.
const HUNG_MAX: usize = 4;
/// Room for an answer in bytes; PMDF's routines have 252.
const ANSWER_MAX: usize = 1024;
/// Longest argument in bytes: what a template can build.
const ARGUMENT_MAX: usize = 16 * 1024;
/// Most threads of a plugin; more calls at once than this are refused.
const THREADS_MAX: usize = 64;
/// A thread that has had nothing to do for so long ends.
const IDLE_EXIT: Duration = Duration::from_secs(30);

/// Why a routine gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoutineError {
    /// The plugin has no such routine.
    #[error("plugin {plugin} has no routine {routine}")]
    Unknown {
        /// The plugin.
        plugin: String,
        /// The routine.
        routine: String,
    },
    /// It panicked, or says so.
    #[error("the routine panicked")]
    Panicked,
    /// The answer is not UTF-8, or has control characters.
    #[error("its answer is not text")]
    NotText,
    /// The answer is longer than there is room.
    #[error("its answer is longer than {ANSWER_MAX} bytes")]
    TooLong,
    /// The argument is longer than any routine is given.
    #[error("the argument is longer than {ARGUMENT_MAX} bytes")]
    LongArgument,
    /// It returned a number that has no meaning.
    #[error("it returned {0}, which has no meaning")]
    Status(u32),
    /// It did not return in time.
    #[error("it did not return within {DEADLINE:?}")]
    Hung,
    /// It was not called, because too many earlier calls hang.
    #[error("it is not called: {HUNG_MAX} earlier calls hang")]
    TooManyHung,
    /// It was not called, because there is no thread for it.
    #[error("it is not called: no thread is left for it")]
    NoThread,
}

/// The threads that call a plugin's routines.
#[derive(Default)]
pub(crate) struct Callers {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Threads that wait for a call.
    idle: Mutex<Vec<(usize, Sender<Call>)>>,
    threads: AtomicUsize,
    hung: AtomicUsize,
    numbers: AtomicUsize,
}

struct Call {
    function: Route,
    routine: String,
    argument: String,
    reply: Sender<(u32, Vec<u8>, usize)>,
    /// Set by whichever side is first: the thread with its answer, or the caller who gives up.
    over: Arc<AtomicBool>,
}

impl Plugin {
    /// Calls a routine, whose name is compared without regard to case. `Ok(None)` when it has no answer. Waits for a second
    /// at most.
    ///
    /// # Errors
    /// Why there is no answer that can be used.
    pub fn call(&self, routine: &str, argument: &str) -> Result<Option<String>, RoutineError> {
        let known = self.routines.iter().find(|name| name.eq_ignore_ascii_case(routine));
        let (Some(name), Some(function)) = (known, self.functions.route) else {
            return Err(RoutineError::Unknown { plugin: self.name.clone(), routine: routine.to_owned() });
        };
        if argument.len() > ARGUMENT_MAX {
            return Err(RoutineError::LongArgument);
        }
        let (status, answer, length) = self.callers.call(function, name, argument)?;
        match status {
            abi::ROUTE_MISS => Ok(None),
            abi::ROUTE_FOUND if length > ANSWER_MAX => Err(RoutineError::TooLong),
            abi::ROUTE_FOUND => match String::from_utf8(answer) {
                Ok(text) if !text.chars().any(char::is_control) => Ok(Some(text)),
                _ => Err(RoutineError::NotText),
            },
            abi::ROUTE_UNKNOWN => {
                Err(RoutineError::Unknown { plugin: self.name.clone(), routine: routine.to_owned() })
            }
            abi::ROUTE_TOO_LONG => Err(RoutineError::TooLong),
            abi::ROUTE_PANIC => Err(RoutineError::Panicked),
            other => Err(RoutineError::Status(other)),
        }
    }
}

impl Callers {
    fn call(
        &self,
        function: Route,
        routine: &str,
        argument: &str,
    ) -> Result<(u32, Vec<u8>, usize), RoutineError> {
        let shared = &self.shared;
        if shared.hung.load(Ordering::SeqCst) >= HUNG_MAX {
            return Err(RoutineError::TooManyHung);
        }
        let (reply, answer) = bounded(1);
        let over = Arc::new(AtomicBool::new(false));
        let mut call = Call {
            function,
            routine: routine.to_owned(),
            argument: argument.to_owned(),
            reply,
            over: over.clone(),
        };
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
        if let Ok(answer) = answer.recv_timeout(DEADLINE) {
            return Ok(answer);
        }
        // Counted before it can be taken back.
        shared.hung.fetch_add(1, Ordering::SeqCst);
        if over.swap(true, Ordering::SeqCst) {
            shared.hung.fetch_sub(1, Ordering::SeqCst);
            return answer.recv().map_err(|_| RoutineError::Hung);
        }
        Err(RoutineError::Hung)
    }
}

impl Shared {
    fn start(self: &Arc<Self>, call: Call) -> Result<(), RoutineError> {
        if self.threads.fetch_add(1, Ordering::SeqCst) >= THREADS_MAX {
            self.threads.fetch_sub(1, Ordering::SeqCst);
            return Err(RoutineError::NoThread);
        }
        let shared = self.clone();
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        let thread = thread::Builder::new().name("routine".to_owned());
        thread.spawn(move || shared.work(number, call)).map(|_| ()).map_err(|_| {
            self.threads.fetch_sub(1, Ordering::SeqCst);
            RoutineError::NoThread
        })
    }

    /// The life of a thread: its first call, and those that come while it waits.
    fn work(&self, number: usize, first: Call) {
        let (sender, calls): (Sender<Call>, Receiver<Call>) = bounded(1);
        let mut next = Some(first);
        while let Some(call) = next.take() {
            let answer = call::route(call.function, &call.routine, &call.argument, ANSWER_MAX);
            let given_up = call.over.swap(true, Ordering::SeqCst);
            if given_up {
                self.hung.fetch_sub(1, Ordering::SeqCst);
            }
            self.idle.lock().push((number, sender.clone()));
            let _ = call.reply.send(answer); // Fails when nobody waits any more.
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
