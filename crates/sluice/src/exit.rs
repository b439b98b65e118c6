//! Exit statuses, after sysexits(3), and the one error type of commands that carries one.

use std::fmt;
use std::process::ExitCode;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// The command line was wrong (EX_USAGE).
    Usage = 64,
    /// What was named is not there, or the input cannot be used (EX_DATAERR).
    Data = 65,
    /// There is no such host, or it does not answer (EX_NOHOST).
    NoHost = 68,
    /// The service asked for is not to be had there (EX_UNAVAILABLE).
    Unavailable = 69,
    /// Our own mistake (EX_SOFTWARE).
    Software = 70,
    /// Something that this machine should have is not there: our own listener (EX_OSERR).
    System = 71,
    /// Not now; the same command may work later (EX_TEMPFAIL).
    Temporary = 75,
    /// The other side does not speak the protocol (EX_PROTOCOL).
    Protocol = 76,
    /// The other side will not do it for us (EX_NOPERM).
    Refused = 77,
    /// The configuration has errors (EX_CONFIG).
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// An error with the exit status that it means. Without one, an error ends in [`Exit::Software`].
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    source: anyhow::Error,
}

impl Failure {
    /// Says that `source` ends the command with `exit`.
    pub(crate) fn new(exit: Exit, source: impl Into<anyhow::Error>) -> Failure {
        Failure { exit, source: source.into() }
    }

    /// The exit status.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The kind of the system's error when that is what failed.
    pub(crate) fn io_kind(&self) -> Option<std::io::ErrorKind> {
        self.source.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(source: E) -> Failure {
        Failure { exit: Exit::Software, source: source.into() }
    }
}

impl fmt::Display for Failure {
    /// The whole chain, outermost first.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#}", self.source)
    }
}

/// Gives an error its exit status.
pub(crate) trait ExitWith<T> {
    /// The value, or a [`Failure`] with this status.
    fn exit_with(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> ExitWith<T> for Result<T, E> {
    fn exit_with(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|source| Failure::new(exit, source))
    }
}
