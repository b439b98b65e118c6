//! What an operator has closed: stopped channels, and domains that are suspended.
//!
//! A *stopped* channel leases nothing; what is under way finishes, mail waits. A *suspended* domain is not tried on any
//! channel, whoever asks, until it is resumed or its time is over. Both survive restart and reload: the whole is written
//! as one note (`docs/internals/notes-format.md`), durably before the operator is answered.
//!
//! Age limits go on counting: what grows too old while its way is closed is returned.
//!
//! # Not here
//! Holds, which are about entries (`queue`); that a suspended queue gives nothing to a lease (`queue`), nor a stopped
//! channel takes one (`schedule`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use sluice_mail::{ReversedDomain, Time};
use sluice_queue::Selector;
use sluice_spool::Durability;

use crate::core::Core;
use crate::desk::chain;
use crate::event::Answer;
use crate::notes::{Bytes, Kind, NoteError};

/// Suspensions at once. Each arrival in a new queue asks them, and all are written whenever one changes.
pub const SUSPENSIONS_MAX: usize = 10_000;
/// Octets of a reason.
pub const REASON_MAX: usize = 1000;
/// Similar names offered for one that is unknown.
const NEAREST_MAX: usize = 3;
/// Flag: everything below the domain too.
const BELOW: u8 = 1;
/// Stands for "until it is resumed".
const OPEN_END: u64 = u64::MAX;

/// A domain for which nothing is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// The destination domain, in lower case.
    pub domain: String,
    /// Everything below it too.
    pub below: bool,
    /// When it began.
    pub since: Time,
    /// When it ends by itself; `None`: when somebody resumes it.
    pub until: Option<Time>,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
}

/// A suspension's domain, and whether everything below it is meant.
type Name = (ReversedDomain, bool);

impl Suspension {
    fn key(&self) -> Name {
        (ReversedDomain::new(&self.domain), self.below)
    }
}

/// As a selector: `example.com` or `@example.com`.
impl fmt::Display for Suspension {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", if self.below { "@" } else { "" }, self.domain)
    }
}

/// All that is closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Closed {
    /// Stopped channels, and since when.
    channels: BTreeMap<String, Time>,
    suspensions: BTreeMap<Name, Suspension>,
    /// Those that end by themselves, by their ends: asked after each event.
    ends: BTreeSet<(Time, Name)>,
}

impl Closed {
    pub(crate) fn is_stopped(&self, channel: &str) -> bool {
        self.channels.contains_key(channel)
    }

    pub(crate) fn stopped_since(&self, channel: &str) -> Option<Time> {
        self.channels.get(channel).copied()
    }

    /// False when it was stopped already.
    pub(crate) fn stop(&mut self, channel: &str, now: Time) -> bool {
        let is_new = !self.is_stopped(channel);
        if is_new {
            self.channels.insert(channel.to_owned(), now);
        }
        is_new
    }

    pub(crate) fn suspend(&mut self, suspension: Suspension) {
        let name = suspension.key();
        self.resume(&name);
        if let Some(until) = suspension.until {
            self.ends.insert((until, name.clone()));
        }
        self.suspensions.insert(name, suspension);
    }

    /// Takes a suspension away, if there is one of that name.
    fn resume(&mut self, name: &Name) -> Option<Suspension> {
        let suspension = self.suspensions.remove(name)?;
        if let Some(until) = suspension.until {
            self.ends.remove(&(until, name.clone()));
        }
        Some(suspension)
    }

    /// Takes away a suspension whose time is over, the one that was over first.
    fn resume_over(&mut self, now: Time) -> Option<Suspension> {
        let (_, name) = self.ends.first().filter(|(end, _)| *end <= now)?.clone();
        self.resume(&name)
    }

    pub(crate) fn suspensions(&self) -> impl Iterator<Item = &Suspension> {
        self.suspensions.values()
    }

    /// The suspension that keeps a domain's mail: its own, or the nearest one above it.
    pub(crate) fn suspension_of(&self, domain: &str) -> Option<&Suspension> {
        let own = || self.suspensions.get(&(ReversedDomain::new(domain), false));
        if self.suspensions.is_empty() { None } else { own().or_else(|| self.suspension_below(domain)) }
    }

    /// The suspension that keeps all there may be below a domain: `@` of its own, or the nearest one above it.
    pub(crate) fn suspension_below(&self, domain: &str) -> Option<&Suspension> {
        let of = |name: &str| self.suspensions.get(&(ReversedDomain::new(name), true));
        if domain.starts_with('[') {
            return of(domain);
        }
        let above = std::iter::successors(Some(domain), |name| name.split_once('.').map(|(_, above)| above));
        above.filter(|name| !name.is_empty()).find_map(of)
    }

    fn next_end(&self) -> Option<Time> {
        self.ends.first().map(|&(end, _)| end)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // Counts and lengths have limits where they come in: names of channels and domains, `REASON_MAX`, `SUSPENSIONS_MAX`.
        let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes();
        let mut out = Vec::new();
        out.extend_from_slice(&count(self.channels.len()));
        out.extend_from_slice(&count(self.suspensions.len()));
        for (name, since) in &self.channels {
            out.extend_from_slice(&since.0.to_le_bytes());
            out.extend_from_slice(&count(name.len()));
            out.extend_from_slice(name.as_bytes());
        }
        for one in self.suspensions.values() {
            out.extend_from_slice(&[if one.below { BELOW } else { 0 }, 0]);
            out.extend_from_slice(&count(one.domain.len()));
            out.extend_from_slice(&count(one.reason.len()));
            out.extend_from_slice(&one.since.0.to_le_bytes());
            out.extend_from_slice(&one.until.map_or(OPEN_END, |until| until.0).to_le_bytes());
            out.extend_from_slice(one.domain.as_bytes());
            out.extend_from_slice(one.reason.as_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, NoteError> {
        let mut bytes = Bytes(bytes);
        let (channels, suspensions) = (bytes.u16()?, bytes.u16()?);
        let mut closed = Self::default();
        for _ in 0..channels {
            let since = Time(bytes.u64()?);
            let length = bytes.u16()?;
            closed.channels.insert(bytes.text(length)?, since);
        }
        for _ in 0..suspensions {
            let [flags, _] = bytes.array()?;
            if flags & !BELOW != 0 {
                return Err(NoteError::Flags(flags));
            }
            let (domain, reason) = (bytes.u16()?, bytes.u16()?);
            let (since, until) = (Time(bytes.u64()?), bytes.u64()?);
            let (domain, reason) = (bytes.text(domain)?, bytes.text(reason)?);
            let until = (until != OPEN_END).then_some(Time(until));
            closed.suspend(Suspension { domain, below: flags & BELOW != 0, since, until, reason });
        }
        bytes.end()?;
        Ok(closed)
    }
}

/// What an operator wants closed or opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closing {
    /// Stops these channels.
    Stop(Vec<String>),
    /// Starts them again.
    Start(Vec<String>),
    /// Suspends a domain.
    Suspend {
        /// The domain, in lower case.
        domain: String,
        /// Everything below it too.
        below: bool,
        /// For how long; `None`: until it is resumed.
        time: Option<Duration>,
        /// Why.
        reason: String,
    },
    /// Resumes a domain.
    Resume {
        /// As it was suspended.
        domain: String,
        /// As it was suspended.
        below: bool,
    },
}

/// What has become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosingDone {
    /// What was closed or opened: a channel's name, or a selector of a suspension.
    pub name: String,
    /// False when it was so before.
    pub changed: bool,
    /// Messages that wait there.
    pub messages: u64,
    /// Deliveries under way, which finish.
    pub active: u64,
    /// The suspension that is in force now, or was until now.
    pub suspension: Option<Suspension>,
}

/// Why nothing was closed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClosingError {
    /// A channel that neither the configuration has nor mail waits in.
    #[error("there is no channel `{name}`; nothing was changed")]
    NoChannel {
        /// As it was asked for.
        name: String,
        /// Similar ones.
        nearest: Vec<String>,
    },
    /// Nobody has suspended this.
    #[error("`{name}` is not suspended")]
    NotSuspended {
        /// As it was asked for.
        name: String,
        /// Suspensions that are like it, or that cover it.
        nearest: Vec<String>,
    },
    /// There are as many suspensions as there may be.
    #[error(
        "there are {SUSPENSIONS_MAX} suspensions already; stop the channel, or suspend what is above (`@DOMAIN`)"
    )]
    TooMany,
    /// It is in force, but a restart now might not know of it.
    #[error("it is in force, but not on the disk yet: {0}")]
    NotDurable(String),
}

impl Core {
    /// Puts in force what an earlier run had closed.
    pub(crate) fn close_as_found(&mut self, closed: Closed, now: Time) {
        for name in closed.channels.keys() {
            tracing::warn!(channel = name, "this channel was stopped by an operator, and stays so");
        }
        if !closed.suspensions.is_empty() {
            tracing::warn!(suspensions = closed.suspensions.len(), "domains are suspended by an operator");
        }
        self.closed = closed;
        self.suspend_queues(now);
        self.know_channels();
    }

    /// Whether no lease may be taken for a channel.
    pub(crate) fn is_stopped(&self, key: sluice_queue::ChannelKey) -> bool {
        self.closed.is_stopped(self.queues.channel_name(key))
    }

    /// When [`Core::end_suspensions`] has something to do.
    pub(crate) fn next_suspension_end(&self) -> Option<Time> {
        self.closed.next_end()
    }

    /// Ends the suspensions whose time is over.
    pub(crate) fn end_suspensions(&mut self, now: Time) {
        if self.closed.next_end().is_none_or(|end| end > now) {
            return;
        }
        while let Some(one) = self.closed.resume_over(now) {
            tracing::info!(domain = %one, "the time of a suspension is over");
        }
        self.suspend_queues(now);
        // Were it lost, the next start would find the same time over.
        self.write_note(Kind::Closed, &self.closed.encode(), Durability::Lazy, None);
    }

    /// Closes or opens. The answer comes when it is written down.
    pub(crate) fn close(
        &mut self,
        closing: Closing,
        done: Answer<Result<Vec<ClosingDone>, ClosingError>>,
        now: Time,
    ) {
        let rows = match closing {
            Closing::Stop(names) => self.stop_channels(&names, true, now),
            Closing::Start(names) => self.stop_channels(&names, false, now),
            Closing::Suspend { domain, below, time, reason } => {
                let until = time.map(|time| now.plus(time));
                self.suspend(Suspension { domain, below, since: now, until, reason }, now)
            }
            Closing::Resume { domain, below } => self.resume(&domain, below, now),
        };
        let rows = match rows {
            Ok(rows) if rows.iter().any(|row| row.changed) => rows,
            unchanged => return done(unchanged),
        };
        let written = move |result: Result<(), sluice_spool::SealError>| {
            done(result.map(|()| rows).map_err(|error| ClosingError::NotDurable(chain(&error))));
        };
        self.write_note(Kind::Closed, &self.closed.encode(), Durability::Sync, Some(Box::new(written)));
    }

    fn stop_channels(
        &mut self,
        names: &[String],
        stop: bool,
        now: Time,
    ) -> Result<Vec<ClosingDone>, ClosingError> {
        for name in names {
            let has_mail = || {
                let key = self.queues.known_channel(name);
                key.is_some_and(|key| !self.queues.queues_of_channel(key).is_empty())
            };
            let is_known = self.loaded.config.channels.by_name(name).is_some()
                || self.closed.is_stopped(name)
                || has_mail();
            if !is_known {
                let known = self.loaded.config.channels.iter().map(|channel| channel.name.clone());
                return Err(ClosingError::NoChannel { name: name.clone(), nearest: like(name, known) });
            }
        }
        let mut rows = Vec::with_capacity(names.len());
        for name in names {
            let changed =
                if stop { self.closed.stop(name, now) } else { self.closed.channels.remove(name).is_some() };
            let key = self.channel(name);
            if changed {
                tracing::info!(channel = name, stop, "an operator has stopped or started a channel");
            }
            if !stop {
                // Somebody has looked, and perhaps mended the plugin.
                self.wake_channel(key);
            }
            let summaries = self.queues.summaries().filter(|queue| *queue.channel == **name);
            let (messages, active) =
                summaries.fold((0, 0), |sum, queue| (sum.0 + queue.messages, sum.1 + queue.active));
            rows.push(ClosingDone { name: name.clone(), changed, messages, active, suspension: None });
        }
        self.know_channels();
        Ok(rows)
    }

    fn suspend(&mut self, suspension: Suspension, now: Time) -> Result<Vec<ClosingDone>, ClosingError> {
        let is_new = !self.closed.suspensions.contains_key(&suspension.key());
        if is_new && self.closed.suspensions.len() >= SUSPENSIONS_MAX {
            return Err(ClosingError::TooMany);
        }
        self.closed.suspend(suspension.clone());
        self.suspend_queues(now);
        tracing::info!(domain = %suspension, reason = suspension.reason, "an operator has suspended a domain");
        Ok(vec![self.suspension_row(suspension)])
    }

    fn resume(&mut self, domain: &str, below: bool, now: Time) -> Result<Vec<ClosingDone>, ClosingError> {
        let Some(suspension) = self.closed.resume(&(ReversedDomain::new(domain), below)) else {
            let name = format!("{}{domain}", if below { "@" } else { "" });
            let covering = self.closed.suspension_of(domain).map(ToString::to_string);
            let all = self.closed.suspensions().map(ToString::to_string);
            let nearest = covering.map_or_else(|| like(&name, all), |one| vec![one]);
            return Err(ClosingError::NotSuspended { name, nearest });
        };
        self.suspend_queues(now);
        tracing::info!(domain = %suspension, "an operator has resumed a domain");
        Ok(vec![self.suspension_row(suspension)])
    }

    fn suspension_row(&self, suspension: Suspension) -> ClosingDone {
        let queues = if suspension.below {
            self.queues.queues_of_subnet(&suspension.domain)
        } else {
            self.queues.queues_of_domain(&suspension.domain)
        };
        let (messages, active) = self.queues.totals(&queues);
        ClosingDone {
            name: suspension.to_string(),
            changed: true,
            messages,
            active,
            suspension: Some(suspension),
        }
    }

    /// All suspensions, with what waits under each.
    pub(crate) fn suspensions(&self) -> Vec<ClosingDone> {
        self.closed.suspensions().map(|one| self.suspension_row(one.clone())).collect()
    }

    fn suspend_queues(&mut self, now: Time) {
        let domains = self.closed.suspensions().map(Suspension::key);
        self.queues.set_suspended(domains, now);
    }
}

/// Names like one that nobody knows.
fn like(word: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    let mut found = Vec::new();
    while found.len() < NEAREST_MAX {
        let nearest = sluice_diag::nearest(word, names.iter().map(String::as_str)).map(str::to_owned);
        let Some(name) = nearest else { break };
        names.retain(|other| *other != name);
        found.push(name);
    }
    found
}

/// Whether a selector names a domain that can be suspended; its domain, and whether all below it is meant.
#[must_use]
pub fn suspendable(selector: &Selector) -> Option<(&str, bool)> {
    match selector {
        Selector::Host(domain) => Some((domain, false)),
        Selector::Subnet(domain) => Some((domain, true)),
        Selector::Channel(_) | Selector::Message(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_next_is_known_whatever_was_suspended_again_and_resumed() {
        let mut closed = Closed::default();
        let suspend = |closed: &mut Closed, domain: &str, until: Option<u64>| {
            let until = until.map(Time);
            let reason = String::new();
            closed.suspend(Suspension {
                domain: domain.to_owned(),
                below: false,
                since: Time(0),
                until,
                reason,
            });
        };
        suspend(&mut closed, "a.example", Some(10));
        suspend(&mut closed, "b.example", Some(20));
        suspend(&mut closed, "c.example", None);
        assert_eq!(closed.next_end(), Some(Time(10)));
        suspend(&mut closed, "a.example", Some(30));
        assert_eq!(closed.next_end(), Some(Time(20)), "a later word replaces an earlier one");
        assert_eq!(
            Closed::decode(&closed.encode()),
            Ok(closed.clone()),
            "the ends are known after a restart"
        );
        closed.resume(&(ReversedDomain::new("b.example"), false));
        assert_eq!(closed.next_end(), Some(Time(30)));
        assert_eq!(closed.resume_over(Time(29)), None);
        assert_eq!(closed.resume_over(Time(30)).map(|one| one.domain), Some("a.example".to_owned()));
        assert_eq!((closed.next_end(), closed.suspensions().count()), (None, 1));
    }
}
