//! The trait that a channel plugin implements, and how it says that it cannot.

use crate::{Context, Worker};

/// A channel: where mail goes that was routed to it. One value for each configured channel; `run` is called on several
/// threads at once.
pub trait Channel: Send + Sync + Sized + 'static {
    /// Name of the plugin: lower-case letters, digits, `_` and `-`.
    const NAME: &'static str;
    /// Version of the plugin, usually `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// One line for the operator.
    const DESCRIPTION: &'static str;
    /// The options that the channel's option file may set. The host checks the file against this table and prints help
    /// from it, without running any code of the plugin.
    const OPTIONS: &'static [OptionSpec] = &[];
    /// The routines that rewrite rules and mapping tables may call, as `$[image,routine,argument]`.
    const ROUTINES: &'static [Routine] = &[];

    /// Makes the channel of its settings. Must not wait for the network: it has a deadline, and no mail moves before.
    ///
    /// # Errors
    /// What is wrong with the settings, or what is missing at the moment.
    fn create(context: Context) -> Result<Self, CreateError>;

    /// Works: asks `worker` for deliveries until it says [`Next::Stop`](crate::Next::Stop).
    ///
    /// # Errors
    /// Why no delivery can be made at all; the host runs the worker again later. What concerns one message or one
    /// recipient is an [`Outcome`](crate::Outcome), not an error.
    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError>;

    /// Wakes whatever this channel's workers wait for outside of [`Worker::next`], which wakes by itself. Called while
    /// they run; must return at once.
    fn stop(&self) {}
}

/// A routine for rewrite rules and mapping tables. It belongs to the plugin, not to a channel, and is called on any
/// thread, several at once, whether or not there is a channel. An SMTP session waits for it: it has one second, and must
/// not wait for a network.
#[derive(Clone, Copy, Debug)]
pub struct Routine {
    /// Letters, digits, `_`, `-` and `.`; letter case does not count.
    pub name: &'static str,
    /// Answers for an argument: one line of at most 1,024 bytes. With `None` the rule that asks does not apply.
    pub call: fn(argument: &str) -> Option<String>,
}

/// What an option's value looks like. The host refuses other values before the plugin sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// A decimal number that is not negative.
    Integer,
    /// `0` or `1`.
    Switch,
    /// A decimal number of seconds.
    Seconds,
    /// A file or folder.
    Path,
}

/// One option of the channel's option file. [`Options`](derive@crate::Options) makes these of a struct; by hand:
///
/// ```
/// use sluice_sdk::{OptionKind, OptionSpec};
///
/// const PORT: OptionSpec =
///     OptionSpec::new("PORT", OptionKind::Integer, "Port of the peer.").default_text("25").within(1, 65_535);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionSpec {
    /// Upper-case letters, digits and `_`.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: OptionKind,
    /// What an absent line means; `None` when absence itself means something.
    pub default: Option<&'static str>,
    /// A sentence or two for the operator.
    pub help: &'static str,
    /// Least and greatest value of a number or of seconds; `None` for any, and for other kinds.
    pub range: Option<(u64, u64)>,
    /// A channel cannot do without it. Only without a default.
    pub required: bool,
}

impl OptionSpec {
    /// An option that may be absent, has no default and takes every value of its kind.
    #[must_use]
    pub const fn new(name: &'static str, kind: OptionKind, help: &'static str) -> OptionSpec {
        OptionSpec { name, kind, default: None, help, range: None, required: false }
    }

    /// The same with a default, as it would stand in the file.
    #[must_use]
    pub const fn default_text(mut self, default: &'static str) -> OptionSpec {
        self.default = Some(default);
        self
    }

    /// The same between these bounds, both included.
    #[must_use]
    pub const fn within(mut self, min: u64, max: u64) -> OptionSpec {
        self.range = Some((min, max));
        self
    }

    /// The same, which must be there.
    #[must_use]
    pub const fn required(mut self) -> OptionSpec {
        self.required = true;
        self
    }

    /// What its value must be, in words: `a whole number from 1 to 100`.
    #[must_use]
    pub fn wanted(&self) -> String {
        let kind = match self.kind {
            OptionKind::Text => "text",
            OptionKind::Integer => "a whole number",
            OptionKind::Switch => "0 or 1",
            OptionKind::Seconds => "a whole number of seconds",
            OptionKind::Path => "a file or folder",
        };
        match self.range {
            None => kind.to_owned(),
            Some((min, u64::MAX)) => format!("{kind}, at least {min}"),
            Some((0, max)) => format!("{kind}, at most {max}"),
            Some((min, max)) => format!("{kind} from {min} to {max}"),
        }
    }
}

/// Why a channel cannot be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateError {
    /// The settings are wrong: the operator has to change them, the host does not try again until then.
    Refused(String),
    /// Something is missing at the moment; the host tries again.
    Failed(String),
}

impl CreateError {
    /// The settings are wrong: say which, and what would be right.
    pub fn refused(text: impl Into<String>) -> CreateError {
        CreateError::Refused(text.into())
    }

    /// Not now: say what is missing.
    pub fn failed(text: impl Into<String>) -> CreateError {
        CreateError::Failed(text.into())
    }
}

impl std::fmt::Display for CreateError {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (CreateError::Refused(text) | CreateError::Failed(text)) = self;
        to.write_str(text)
    }
}

impl std::error::Error for CreateError {}

/// Why a worker gives up; the host starts another one, later and later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunError(pub String);

impl RunError {
    /// Why no delivery can be made at all.
    pub fn new(text: impl Into<String>) -> RunError {
        RunError(text.into())
    }
}

impl std::fmt::Display for RunError {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for RunError {}
