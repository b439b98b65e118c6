//! Filters: a plugin looks at a message before it is queued, changes it, and says what becomes of it.
//!
//! A [`Filter`] is a channel that a plugin has made, of which only the function `filter` is called. The caller waits, with a
//! deadline, while the call is made on a thread of its own. What a filter is shown is owned by the call, so that a filter that hangs
//! reads nothing that has gone.
//!
//! # Invariants
//! What was said by a call that failed or was given up has no effect. A verdict counts as it is given, whatever was answered to
//! the changes before it.
//! # Not here
//! Which mail is shown to which filter, and what the changes mean to recipients and header (`sluice`).

use crate::aside::{Aside, HUNG_MAX, NoAnswer};
use crate::call::{Created, Handle, NotCreated, create, filter};
use crate::door::ADDRESS_MAX;
use crate::plugin::{OptionProblem, Plugin};
use crate::spec::{Setting, SettingKind, Spec};
use crate::work::Content;
use parking_lot::Mutex;
use sluice_abi as abi;
use sluice_mail::header_edit::{Change, HeaderEdit};
use sluice_mail::{RecipientWishes, Refusal, Status, Time};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Most changes of the header in one call.
const EDITS_MAX: usize = 1000;
/// Most octets of all changes of the header in one call.
const EDIT_OCTETS_MAX: usize = 256 * 1024;
/// Most recipients that one call adds.
const ADDED_MAX: usize = 100;
/// How long whoever drops a filter waits for its `destroy`.
const DESTROY_MAX: Duration = Duration::from_secs(1);
/// How often one call is told in the log that it uses a function wrongly.
const COMPLAINTS_MAX: usize = 5;

/// What is known about a message, the same for all filters that see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Queue id.
    pub id: String,
    /// The channel that it comes in by.
    pub source_channel: String,
    /// The client's address; `None` when a channel brought it in.
    pub client_address: Option<IpAddr>,
    /// What the name service calls the client; empty when it was not asked, or did not know.
    pub client_name: String,
    /// What the client calls itself.
    pub helo: String,
    /// The name it has logged in with; empty without a login.
    pub login: String,
    /// When it came.
    pub arrived: Time,
    /// It is not all seven-bit.
    pub eight_bit: bool,
    /// It needs SMTPUTF8.
    pub smtputf8: bool,
    /// The line that it came over is protected.
    pub tls: bool,
    /// The client is known by its address or login.
    pub is_known: bool,
    /// A channel brought it in.
    pub from_channel: bool,
    /// A channel brought it in again.
    pub again: bool,
}

/// What a filter is shown in one call.
pub struct Shown {
    /// What is known about the message.
    pub about: Arc<About>,
    /// Which filter it is, from 1.
    pub number: u32,
    /// The words that go with the keyword that asked for it.
    pub opt_in: String,
    /// The channel that the copy is for; `None` for the whole message.
    pub destination_channel: Option<String>,
    /// Envelope sender; empty is the null reverse-path.
    pub sender: String,
    /// At least one.
    pub recipients: Vec<ShownRecipient>,
    /// The message in wire form; the hub's own `Received:` is its first field.
    pub content: Arc<dyn Content>,
    /// Its header is small enough to be changed.
    pub may_be_edited: bool,
}

/// One recipient of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownRecipient {
    /// The address that it goes to.
    pub address: String,
    /// As the submitter gave it.
    pub original: String,
    /// The channel that it goes to.
    pub channel: String,
    /// What the sender wants to be told.
    pub wishes: RecipientWishes,
}

/// What a filter has made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Changes of its header, in their order.
    pub edits: Vec<HeaderEdit>,
    /// Recipients more, as addresses that nobody has looked at.
    pub added: Vec<String>,
    /// Positions of recipients that are taken away, ascending.
    pub withdrawn: Vec<usize>,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It is not taken.
    Refuse(Refusal),
    /// It waits for an operator, for this reason.
    Hold(String),
    /// It is thrown away.
    Discard,
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The plugin is no filter.
    #[error("plugin {0} has no function `filter`")]
    NoFilter(String),
    /// An option is not what the plugin's table wants.
    #[error("{0}")]
    Option(OptionProblem),
    /// The plugin refuses the settings.
    #[error("it refuses the settings: {0}")]
    Refused(String),
    /// It could not be created.
    #[error("it could not be created: {0}")]
    NotCreated(String),
    /// It says that it has no verdict.
    #[error("it has no verdict: {0}")]
    Failed(String),
    /// It panicked.
    #[error("{0}")]
    Panicked(String),
    /// It returned a number that has no meaning.
    #[error("it returned {0}, which has no meaning")]
    Status(u32),
    /// It did not return in time.
    #[error("it did not return within {0:?}")]
    Hung(Duration),
    /// It was not called, because too many earlier calls hang.
    #[error("it is not called: {HUNG_MAX} earlier calls hang")]
    TooManyHung,
    /// It was not called, because there is no thread for it.
    #[error("it is not called: no thread is left for it")]
    NoThread,
}

impl FilterError {
    /// It will be the same until the settings change.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, FilterError::NoFilter(_) | FilterError::Option(_) | FilterError::Refused(_))
    }
}

/// A filter that is ready to be asked. Its plugin's `destroy` is called when it is dropped and no call is going on, on a thread of
/// its own: whoever drops the filter waits a second for it and no longer.
pub struct Filter {
    plugin: Arc<Plugin>,
    /// There until it is dropped.
    created: Option<Arc<Created>>,
    handle: &'static Handle,
    calls: Aside,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Filter").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        let created = self.created.take();
        let (over, is_over) = mpsc::sync_channel::<()>(1);
        let destroy = thread::Builder::new().name("destroy".to_owned()).spawn(move || {
            drop(created);
            drop(over);
        });
        if destroy.is_ok() {
            let _ = is_over.recv_timeout(DESTROY_MAX);
        }
        self.handle.tell_rest();
    }
}

impl Filter {
    /// Makes a filter of its plugin and settings. Waits for `create`, not longer than `spec.create_deadline`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn create(plugin: &Arc<Plugin>, spec: &Spec) -> Result<Filter, FilterError> {
        if !plugin.has_filter() {
            return Err(FilterError::NoFilter(plugin.name().to_owned()));
        }
        for Setting { kind, name, value } in &spec.settings {
            if *kind == SettingKind::Option {
                match plugin.check_option(name, value) {
                    // As for channels: an option that the plugin does not have is the operator's slip, which `check` names.
                    Ok(()) | Err(OptionProblem::Unknown { .. }) => {}
                    Err(problem) => return Err(FilterError::Option(problem)),
                }
            }
        }
        if let Some(needed) = plugin.missing_option(&spec.settings) {
            return Err(FilterError::Refused(format!("option {needed} is not set and has no default")));
        }
        let calls = Aside::new("filter");
        let spec = spec.clone().within_limits();
        let deadline = spec.create_deadline;
        let of = plugin.clone();
        let handle = Handle::of(&spec.channel, plugin.name());
        let made = calls.call(deadline, move || create(&of, &spec, handle));
        let made = made.map_err(|why| match why {
            NoAnswer::Hung => FilterError::NotCreated(format!("it did not return within {deadline:?}")),
            NoAnswer::TooManyHung | NoAnswer::NoThread => FilterError::NoThread,
        })?;
        let created = made.map_err(|why| match why {
            NotCreated::Refused(text) => FilterError::Refused(text),
            NotCreated::Failed(text) | NotCreated::Panicked(text) => FilterError::NotCreated(text),
        })?;
        Ok(Filter { plugin: plugin.clone(), created: Some(Arc::new(created)), handle, calls })
    }

    /// The plugin.
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Shows it a message and waits for the verdict, not longer than `time`.
    ///
    /// # Errors
    /// Why there is no verdict; nothing that was said has an effect then.
    pub fn ask(&self, shown: Shown, time: Duration) -> Result<Judged, FilterError> {
        let state = Arc::new(CallState {
            filter: shown.number,
            id: shown.about.id.clone(),
            plugin: self.plugin.name().to_owned(),
            handle: self.handle,
            smtputf8: shown.about.smtputf8,
            may_be_edited: shown.may_be_edited,
            recipients: shown.recipients.len(),
            end: Instant::now() + time,
            changes: Mutex::new(Some(Changes::default())),
        });
        let (created, call) = (self.created.clone(), state.clone());
        let answer =
            self.calls.call(time, move || created.and_then(|created| filter(&created, &shown, &call, time)));
        // Nobody else comes by to tell of lines that were left out.
        self.handle.tell_untold();
        // From here on the call is over for whoever still speaks.
        let changes = state.changes.lock().take().unwrap_or_default();
        let number = answer.map_err(|why| match why {
            NoAnswer::Hung => FilterError::Hung(time),
            NoAnswer::TooManyHung => FilterError::TooManyHung,
            NoAnswer::NoThread => FilterError::NoThread,
        })?;
        let number = number.ok_or_else(|| FilterError::NoFilter(self.plugin.name().to_owned()))?;
        changes.judged(number)
    }
}

/// What has been said in a call so far.
#[derive(Debug, Default)]
struct Changes {
    reply: Option<(u32, Status, String)>,
    edits: Vec<HeaderEdit>,
    edit_octets: usize,
    added: Vec<String>,
    withdrawn: BTreeSet<u32>,
    complaints: usize,
}

impl Changes {
    fn judged(self, number: u32) -> Result<Judged, FilterError> {
        let text = |otherwise: &str| {
            let said = self.reply.as_ref().map(|(.., text)| text.as_str());
            said.filter(|text| !text.is_empty()).unwrap_or(otherwise).to_owned()
        };
        let verdict = match number {
            abi::FILTER_ACCEPT => Verdict::Accept,
            abi::FILTER_REFUSE => Verdict::Refuse(refusal(self.reply.as_ref(), text("refused by a filter"))),
            abi::FILTER_HOLD => Verdict::Hold(text("held by a filter")),
            abi::FILTER_DISCARD => Verdict::Discard,
            abi::FILTER_FAILED => return Err(FilterError::Failed(text("it did not say why"))),
            abi::FILTER_PANIC => return Err(FilterError::Panicked(text("it panicked"))),
            other => return Err(FilterError::Status(other)),
        };
        let withdrawn = self.withdrawn.into_iter().map(|index| index as usize).collect();
        Ok(Judged { verdict, edits: self.edits, added: self.added, withdrawn })
    }
}

/// A refusal whose code and status agree; what was not said is filled in.
fn refusal(reply: Option<&(u32, Status, String)>, text: String) -> Refusal {
    let (code, status) = reply.map_or((0, Status::new(0, 0, 0)), |(code, status, _)| (*code, *status));
    let class = match (code, status.class) {
        (0, 4) | (400..=499, _) => 4,
        _ => 5,
    };
    let code = match (code, class) {
        (0, 4) => 451,
        (0, _) => 550,
        (code, _) => u16::try_from(code).unwrap_or(550),
    };
    let status = match (status.subject, status.detail) {
        (0, 0) => Status { class, subject: 7, detail: 1 },
        (subject, detail) => Status { class, subject, detail },
    };
    Refusal { code, status, text }
}

/// One call of a filter, as its functions see it.
pub(crate) struct CallState {
    filter: u32,
    id: String,
    plugin: String,
    handle: &'static Handle,
    smtputf8: bool,
    may_be_edited: bool,
    recipients: usize,
    end: Instant,
    /// `None` when the call is over.
    changes: Mutex<Option<Changes>>,
}

impl CallState {
    fn change(&self, make: impl FnOnce(&mut Changes) -> Result<u32, &'static str>) -> u32 {
        let mut changes = self.changes.lock();
        let Some(open) = changes.as_mut() else { return abi::CHANGE_GONE };
        match make(open) {
            Ok(answer) => answer,
            Err(problem) => {
                open.complaints += 1;
                if open.complaints <= COMPLAINTS_MAX && self.handle.one_more_line() {
                    let CallState { filter, id, plugin, .. } = self;
                    tracing::warn!(%id, filter, %plugin, "a filter gives {problem}; it is passed over");
                }
                abi::CHANGE_BAD
            }
        }
    }

    /// A change for which there is no room any more.
    pub(crate) fn too_many(&self) -> u32 {
        self.change(|_| Ok(abi::CHANGE_TOO_MANY))
    }

    /// Octets of the header that changes may still bring.
    pub(crate) fn room(&self) -> usize {
        let changes = self.changes.lock();
        EDIT_OCTETS_MAX - changes.as_ref().map_or(0, |changes| changes.edit_octets)
    }

    pub(crate) fn time_left(&self) -> Duration {
        if self.changes.lock().is_none() {
            return Duration::ZERO;
        }
        self.end.saturating_duration_since(Instant::now())
    }

    /// Something that cannot be used.
    pub(crate) fn bad(&self, problem: &'static str) -> u32 {
        self.change(|_| Err(problem))
    }

    pub(crate) fn reply(&self, code: u32, status: Status, text: String) -> u32 {
        self.change(|changes| {
            let agrees = match code {
                0 => matches!(status.class, 0 | 4 | 5),
                400..=599 => status.class == 0 || u32::from(status.class) == code / 100,
                _ => false,
            };
            if !agrees || status.subject > 999 || status.detail > 999 {
                return Err("a reply whose code and status are not of 4yz or 5yz, or do not agree");
            }
            changes.reply = Some((code, status, text));
            Ok(abi::CHANGE_OK)
        })
    }

    pub(crate) fn edit(&self, change: Change, occurrence: u32, name: &str, value: &str) -> u32 {
        self.change(|changes| {
            if !self.may_be_edited {
                return Err("a change of a header that is too long to be changed");
            }
            let Some(edit) = HeaderEdit::new(change, occurrence, name, value, self.smtputf8) else {
                return Err("a change of the header whose name or value cannot stand there");
            };
            let octets = changes.edit_octets + edit.octets();
            if changes.edits.len() >= EDITS_MAX || octets > EDIT_OCTETS_MAX {
                return Ok(abi::CHANGE_TOO_MANY);
            }
            changes.edit_octets = octets;
            changes.edits.push(edit);
            Ok(abi::CHANGE_OK)
        })
    }

    pub(crate) fn add_recipient(&self, address: &str) -> u32 {
        self.change(|changes| {
            if address.is_empty() || address.len() > ADDRESS_MAX || address.chars().any(char::is_control) {
                return Err("a recipient that is no address");
            }
            if changes.added.len() >= ADDED_MAX {
                return Ok(abi::CHANGE_TOO_MANY);
            }
            if !changes.added.iter().any(|known| known == address) {
                changes.added.push(address.to_owned());
            }
            Ok(abi::CHANGE_OK)
        })
    }

    pub(crate) fn withdraw(&self, index: u32) -> u32 {
        self.change(|changes| {
            let new = (index as usize) < self.recipients && changes.withdrawn.insert(index);
            Ok(if new { abi::CHANGE_OK } else { abi::CHANGE_NO_RECIPIENT })
        })
    }
}
