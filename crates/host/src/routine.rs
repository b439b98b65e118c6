//! Routine calls: `$[image,routine,argument]` of rewrite rules and mapping tables.
//!
//! Whoever rewrites an address must not hang with a plugin, so the call is made on a thread of its own, and given up after
//! [`DEADLINE`]; when [`HUNG_MAX`] calls hang, the plugin is not called any more until one comes back.
//!
//! # Not here
//! Which plugins may be called, and what a rule makes of the answer.

use crate::aside::{HUNG_MAX, NoAnswer};
use crate::call;
use crate::plugin::Plugin;
use sluice_abi as abi;
use std::time::Duration;

/// How long a routine may take. An SMTP session waits for it.
const DEADLINE: Duration = Duration::from_secs(1);
/// Room for an answer in bytes; PMDF's routines have 252.
const ANSWER_MAX: usize = 1024;
/// Longest argument in bytes: what a template can build.
const ARGUMENT_MAX: usize = 16 * 1024;

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
        let (name, argument) = (name.clone(), argument.to_owned());
        let called =
            self.routine_calls.call(DEADLINE, move || call::route(function, &name, &argument, ANSWER_MAX));
        let (status, answer, length) = called.map_err(|why| match why {
            NoAnswer::Hung => RoutineError::Hung,
            NoAnswer::TooManyHung => RoutineError::TooManyHung,
            NoAnswer::NoThread => RoutineError::NoThread,
        })?;
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
