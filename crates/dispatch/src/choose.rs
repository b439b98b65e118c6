//! Which entries an operator means: filters that combine, and how they are asked without stopping the mail.
//!
//! What the index knows (channel, domain, age, size, state, id) is looked at by the loop, some thousand entries at a time.
//! What only envelopes know (sender, recipients) is read from the spool on the thread of whoever asks, between its
//! questions to the loop. So neither the size of the queue nor that of the answer is a wait for anybody else.
//!
//! What comes or goes while somebody chooses may be chosen or not; a chosen entry that has gone since is told apart when it
//! is acted upon.

use std::sync::Arc;
use std::time::Duration;

use sluice_mail::{Envelope, ReversedDomain, Time};
use sluice_queue::{EntryKey, EntryView, Selector, State};
use sluice_spool::EntryId;

use crate::core::Core;
use crate::desk;
use crate::event::Event;
use crate::handle::{Busy, Handle, ask};
use crate::last_error::Deferral;

/// Entries that the loop looks at in one step: some hundred microseconds.
const STEP: u32 = 8192;
/// Entries that one step of showing or acting is about.
pub(crate) const CHUNK: usize = 512;

/// An address, a domain, or a pattern, for senders and recipients. Letter case does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mailbox {
    /// `<>`: no address, as notices have for a sender.
    Null,
    /// `user@example.com`.
    Exact(String),
    /// `example.com`: any local part at exactly this domain.
    Domain(String),
    /// `@example.com`: at the domain or below it.
    Below(String),
    /// With `*` (any characters) or `?` (one) in it: compared with the whole address.
    Pattern(String),
}

/// Why a text is no [`Mailbox`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address (user@example.com), domain (example.com, @example.com), pattern (*@example.com) or `<>`"
)]
pub struct NoMailbox(String);

impl std::str::FromStr for Mailbox {
    type Err = NoMailbox;

    fn from_str(text: &str) -> Result<Self, NoMailbox> {
        let wrong = || NoMailbox(text.escape_debug().to_string());
        if text == "<>" {
            return Ok(Self::Null);
        }
        let text = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
        let lower = text.to_lowercase();
        if lower.is_empty() || lower.chars().any(|one| one.is_control() || one.is_whitespace()) {
            return Err(wrong());
        }
        if lower.contains(['*', '?']) {
            return Ok(Self::Pattern(lower));
        }
        if let Some(domain) = lower.strip_prefix('@') {
            return if domain.is_empty() || domain.contains('@') {
                Err(wrong())
            } else {
                Ok(Self::Below(domain.to_owned()))
            };
        }
        match lower.rsplit_once('@') {
            None => Ok(Self::Domain(lower)),
            Some((_, "")) => Err(wrong()),
            Some(_) => Ok(Self::Exact(lower)),
        }
    }
}

impl Mailbox {
    /// Whether an address is meant.
    #[must_use]
    pub fn matches(&self, address: &str) -> bool {
        let lower = address.to_lowercase();
        let domain = || lower.rsplit_once('@').map(|(_, domain)| domain);
        match self {
            Self::Null => lower.is_empty(),
            Self::Exact(one) => *one == lower,
            Self::Domain(name) => {
                domain().is_some_and(|domain| ReversedDomain::new(domain) == ReversedDomain::new(name))
            }
            Self::Below(name) => domain()
                .is_some_and(|domain| ReversedDomain::new(domain).is_within(&ReversedDomain::new(name))),
            Self::Pattern(pattern) => like(pattern.as_bytes(), lower.as_bytes()),
        }
    }
}

/// Compares with `*` and `?`, in time that grows with the product of the lengths at most.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&one) if one == b'?' || one == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((back, taken)) = star else { return false };
                star = Some((back, taken + 1));
                (at, from) = (back + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|&one| one == b'*')
}

/// What is meant. Within a list any of them will do; between fields all must hold; an empty list says nothing.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Domains, subnets, channels, ids.
    pub selectors: Vec<Selector>,
    /// Channels, by name in lower case.
    pub channels: Vec<String>,
    /// Domains and subnets.
    pub domains: Vec<Selector>,
    /// Ids of messages.
    pub ids: Vec<EntryId>,
    /// Envelope senders.
    pub senders: Vec<Mailbox>,
    /// Open recipients, as they are routed or as they were given.
    pub recipients: Vec<Mailbox>,
    /// Accepted at least so long ago.
    pub older_than: Option<Duration>,
    /// Accepted less long ago.
    pub newer_than: Option<Duration>,
    /// More octets of content than that.
    pub larger_than: Option<u64>,
    /// Fewer octets of content.
    pub smaller_than: Option<u64>,
    /// Where they stand.
    pub states: Vec<Standing>,
    /// Messages with a higher id only.
    pub after: Option<EntryId>,
    /// Messages with no higher id.
    pub up_to: Option<EntryId>,
}

/// Where an entry stands, as operators name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Due, or waits for its time or a release.
    Waiting,
    /// In delivery.
    Active,
    /// Waits for a date of the sender's.
    Deferred,
    /// On hold.
    Held,
}

impl From<State> for Standing {
    fn from(state: State) -> Self {
        match state {
            State::Ready | State::Delayed => Self::Waiting,
            State::Leased => Self::Active,
            State::Deferred => Self::Deferred,
            State::Held => Self::Held,
        }
    }
}

/// An entry that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chosen {
    /// Its message.
    pub id: EntryId,
    /// Its number, good as long as it lives.
    pub(crate) key: EntryKey,
}

/// One step's worth of chosen entries.
pub(crate) struct Page {
    found: Vec<Chosen>,
    /// Where to go on.
    next: Option<u32>,
}

/// What choosing has found.
#[derive(Debug, Default)]
pub struct Choice {
    /// The entries, by id: oldest first.
    pub entries: Vec<Chosen>,
    /// Entries whose envelope cannot be read, so that nobody knows whether they are meant. They are not chosen.
    pub unreadable: u64,
}

impl Filter {
    /// Whether envelopes must be read.
    #[must_use]
    pub fn asks_envelopes(&self) -> bool {
        !self.senders.is_empty() || !self.recipients.is_empty()
    }

    fn covers(selector: &Selector, id: EntryId, channel: &str, domain: &ReversedDomain) -> bool {
        match selector {
            Selector::Host(name) => *domain == ReversedDomain::new(name),
            Selector::Subnet(name) => domain.is_within(&ReversedDomain::new(name)),
            Selector::Channel(name) => name == channel,
            Selector::Message(one) => *one == id,
        }
    }

    fn envelope_matches(&self, envelope: &Envelope, view: &EntryView) -> bool {
        let any = |list: &[Mailbox], address: &str| list.iter().any(|one| one.matches(address));
        if !self.senders.is_empty() && !any(&self.senders, &envelope.sender) {
            return false;
        }
        let mut open = desk::open_recipients(envelope, &view.channel, &view.domain, view.open.as_deref());
        self.recipients.is_empty()
            || open
                .any(|(_, one)| any(&self.recipients, &one.address) || any(&self.recipients, &one.original))
    }
}

/// Sorts entries, and drops those behind so many, but for those of the last one's message. So a list of the first thousand out of millions
/// keeps some thousands.
fn keep_oldest(entries: &mut Vec<Chosen>, most: usize) {
    entries.sort_unstable();
    let Some(last) = most.checked_sub(1).and_then(|last| entries.get(last)).map(|last| last.id) else {
        if most == 0 {
            entries.clear();
        }
        return;
    };
    entries.truncate(entries.partition_point(|one| one.id <= last));
}

impl Core {
    /// One step of choosing: what the index knows.
    pub(crate) fn choose(&self, filter: &Filter, from: u32, now: Time) -> Page {
        let mut found = Vec::new();
        let by_name = |list: &[Selector], id, channel: &str, domain: &ReversedDomain| {
            list.is_empty() || list.iter().any(|one| Filter::covers(one, id, channel, domain))
        };
        let next = self.queues.walk(from, STEP, |key, entry, message| {
            let age = now.since(message.arrived);
            let by_message = (filter.ids.is_empty() || filter.ids.contains(&message.id))
                && filter.after.is_none_or(|after| message.id > after)
                && filter.up_to.is_none_or(|last| message.id <= last)
                && filter.older_than.is_none_or(|limit| age >= limit)
                && filter.newer_than.is_none_or(|limit| age < limit)
                && filter.larger_than.is_none_or(|limit| message.size > limit)
                && filter.smaller_than.is_none_or(|limit| message.size < limit);
            if !by_message {
                return;
            }
            if !filter.states.is_empty() && !filter.states.contains(&self.queues.state(key).into()) {
                return;
            }
            let is_named = !(filter.selectors.is_empty() && filter.domains.is_empty());
            let (channel, domain) = self.queues.queue_names(entry.queue);
            let channel = self.queues.channel_name(channel);
            if !filter.channels.is_empty() && !filter.channels.iter().any(|one| **one == **channel) {
                return;
            }
            if is_named {
                let domain = ReversedDomain::new(domain);
                if !by_name(&filter.selectors, message.id, channel, &domain)
                    || !by_name(&filter.domains, message.id, channel, &domain)
                {
                    return;
                }
            }
            found.push(Chosen { id: message.id, key });
        });
        Page { found, next }
    }

    /// Entries as an operator sees them; `None` for those that have gone.
    pub(crate) fn views(&self, chosen: &[Chosen]) -> Vec<Option<EntryView>> {
        let view = |one: &Chosen| self.queues.is_entry_of(one.key, one.id).then(|| self.queues.view(one.key));
        chosen.iter().map(view).collect()
    }

    /// Why entries were deferred last; `None` for those that never were, or have gone.
    pub(crate) fn last_errors(&self, chosen: &[Chosen]) -> Vec<Option<Deferral>> {
        let error = |one: &Chosen| {
            self.errors.of(one.key).filter(|_| self.queues.is_entry_of(one.key, one.id)).cloned()
        };
        chosen.iter().map(error).collect()
    }
}

impl Handle {
    /// The entries that a filter means, oldest first. Waits for the loop between steps and reads envelopes here: for
    /// threads that may wait. `looked` is told now and then how many envelopes were read, and of how many; it says
    /// whether to go on.
    ///
    /// # Errors
    /// [`Busy`] when the dispatcher cannot take note of a question.
    pub fn choose(&self, filter: Filter, looked: &mut dyn FnMut(u64, u64) -> bool) -> Result<Choice, Busy> {
        self.choose_first(usize::MAX, filter, looked)
    }

    /// The same, but only the oldest so many, with all those of the last one's message, where the index alone decides; and where
    /// envelopes do, no more of them are read when so many are found.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn choose_first(
        &self,
        most: usize,
        filter: Filter,
        looked: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Choice, Busy> {
        let filter = Arc::new(filter);
        let mut entries = Vec::new();
        let mut from = 0;
        loop {
            let question = Arc::clone(&filter);
            let page = ask(|done| self.tell(Event::Choose { filter: question, from, done }))?;
            entries.extend(page.found);
            if !filter.asks_envelopes() && entries.len() > most.saturating_mul(2).max(CHUNK) {
                keep_oldest(&mut entries, most);
            }
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        if filter.asks_envelopes() {
            entries.sort_unstable();
        } else {
            keep_oldest(&mut entries, most);
        }
        let mut choice = Choice { entries, unreadable: 0 };
        if filter.asks_envelopes() {
            self.read_envelopes(most, &filter, &mut choice, looked)?;
        }
        Ok(choice)
    }

    fn read_envelopes(
        &self,
        most: usize,
        filter: &Filter,
        choice: &mut Choice,
        looked: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<(), Busy> {
        let all = std::mem::take(&mut choice.entries);
        let mut seen = 0;
        for chunk in all.chunks(CHUNK) {
            // Entries of one message stand together: its envelope is read once.
            let mut last: Option<(EntryId, Option<Envelope>)> = None;
            for (one, view) in chunk.iter().zip(self.views(chunk)?) {
                let Some(view) = view else { continue };
                if last.as_ref().is_none_or(|(id, _)| *id != one.id) {
                    let bytes = self.spool().read_envelope(view.at).ok();
                    last = Some((one.id, bytes.and_then(|bytes| Envelope::decode(&bytes).ok())));
                }
                match last.as_ref().and_then(|(_, envelope)| envelope.as_ref()) {
                    Some(envelope) if filter.envelope_matches(envelope, &view) => choice.entries.push(*one),
                    Some(_) => {}
                    None => choice.unreadable += 1,
                }
            }
            seen += chunk.len() as u64;
            // Something of a later message is there: then those of the last one wanted are complete.
            let enough = most.checked_sub(1).and_then(|last| choice.entries.get(last));
            let is_enough =
                enough.is_some_and(|enough| choice.entries.last().is_some_and(|one| one.id > enough.id));
            if is_enough || !looked(seen, all.len() as u64) {
                break;
            }
        }
        Ok(())
    }

    /// Entries as an operator sees them; `None` for those that have gone. At most some hundred at once.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn views(&self, chosen: &[Chosen]) -> Result<Vec<Option<EntryView>>, Busy> {
        let chosen = chosen.to_vec();
        ask(|done| self.tell(Event::Views { chosen, done }))
    }

    /// When and why entries were deferred last; `None` for those that never were, or have gone.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn last_errors(&self, chosen: &[Chosen]) -> Result<Vec<Option<Deferral>>, Busy> {
        let chosen = chosen.to_vec();
        ask(|done| self.tell(Event::LastErrors { chosen, done }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_are_addresses_domains_and_patterns() {
        for (text, address, is_meant) in [
            ("<>", "", true),
            ("<>", "a@b.example", false),
            ("A@b.Example", "a@B.example", true),
            ("<a@b.example>", "a@b.example", true),
            ("a@b.example", "aa@b.example", false),
            ("b.example", "x@b.example", true),
            ("b.example", "x@c.b.example", false),
            ("@b.example", "x@c.b.example", true),
            ("@b.example", "x@bb.example", false),
            ("*@b.example", "x@b.example", true),
            ("fr?d*", "fred@b.example", true),
            ("*a*a*a*b", "aaaaaaaaaaaaaaaa", false),
            ("*", "", true),
        ] {
            let mailbox: Mailbox = text.parse().expect(text);
            assert_eq!(mailbox.matches(address), is_meant, "{text} {address:?}");
        }
        for wrong in ["", "@", "a@", "a b@c", "@a@b", "a\u{7}@b"] {
            assert!(wrong.parse::<Mailbox>().is_err(), "{wrong:?}");
        }
    }
}
