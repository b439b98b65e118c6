//! Requests about entries of the queue: lists, counts, one message in full, its content, and acts.

use std::time::{Duration, Instant};

use sluice_admin::protocol::{
    Act as Wanted, ActRow, ContentRow, CountRow, EntryRow, Filter as Written, MessageEntry, MessageRecipient,
    MessageRow, Progress,
};
use sluice_admin::{Fault, FaultKind};
use sluice_dispatch::{
    ACT_REASON_MAX, Act, ActError, Acting, Choice, Deferral, Details, EntryView, Filter, LastError, Mailbox,
    Standing,
};
use sluice_mail::{Envelope, Priority, rfc3339};
use sluice_queue::{Selector, State};
use sluice_spool::EntryId;

use super::{Rows, busy, put, selector};
use crate::hub::Hub;

/// Most entries that one list shows; a hub may hold millions.
const LIST_LIMIT_MAX: u64 = 1_000_000;
/// Entries whose views are asked for at once.
const CHUNK: usize = 512;
/// Octets of content in a row.
const STRETCH: usize = 16 * 1024;
/// How often somebody who waits is told how far it is.
const PROGRESS: Duration = Duration::from_secs(2);
/// Longest name of who acts.
const BY_MAX: usize = 200;

/// The entries, oldest first.
pub(super) fn list(
    hub: &Hub,
    one: Option<&str>,
    written: &Written,
    limit: u64,
    row: Rows<'_>,
) -> Result<(), Fault> {
    let mut filter = filter(written)?;
    filter.selectors.extend(one.map(selector).transpose()?);
    let limit = limit.min(LIST_LIMIT_MAX);
    // Some more, because what was settled since is not shown.
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(CHUNK);
    let choice = choose_first(hub, most, filter, row)?;
    let (mut shown, mut last) = (0, None);
    for chunk in choice.entries.chunks(CHUNK) {
        let views = hub.dispatcher().views(chunk).map_err(busy)?;
        let errors = hub.dispatcher().last_errors(chunk).map_err(busy)?;
        for (view, error) in views.into_iter().zip(errors) {
            let Some(view) = view else { continue };
            // A page ends with a message, so that the next one can begin after its id.
            if shown >= limit && last != Some(view.id) {
                return Ok(());
            }
            last = Some(view.id);
            let Some(listed) = entry_row(hub, &view, error.as_ref()) else { continue };
            shown += 1;
            if !put(row, &listed) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// `None` for what was settled since.
fn entry_row(hub: &Hub, view: &EntryView, last: Option<&Deferral>) -> Option<EntryRow> {
    let (envelope, error) = match hub.dispatcher().envelope(view) {
        Ok(envelope) => (envelope?, None),
        Err(error) => (Envelope::default(), Some(error)),
    };
    let open = hub.dispatcher().open(&envelope, view);
    let recipients = open.map(|recipient| recipient.address.clone()).collect();
    let Envelope { sender, hold_reason, .. } = envelope;
    Some(EntryRow {
        id: view.id.to_string(),
        channel: view.channel.to_string(),
        domain: view.domain.to_string(),
        state: state(view.state).to_owned(),
        sender,
        recipients,
        bytes: view.size,
        transfer_priority: view.priority.number(),
        arrived: rfc3339(view.arrived),
        attempts: u32::from(view.attempts),
        due: view.due.map(rfc3339),
        deferred_at: last.map(|&(at, _)| rfc3339(at)),
        last_error: last.map(|(_, error)| words(error)),
        peer: last.and_then(|(_, error)| peer(error)),
        hold_reason: Some(hold_reason).filter(|reason| view.state == State::Held && !reason.is_empty()),
        error,
    })
}

/// What was said when a delivery was deferred.
fn words(error: &LastError) -> String {
    format!("{} {}", error.status, error.text)
}

/// Who said so.
fn peer(error: &LastError) -> Option<String> {
    Some(error.peer.clone()).filter(|peer| !peer.is_empty())
}

fn state(state: State) -> &'static str {
    match state {
        State::Ready | State::Delayed => "waiting",
        State::Leased => "active",
        State::Deferred => "deferred",
        State::Held => "held",
    }
}

/// How much a filter means.
pub(super) fn count(hub: &Hub, written: &Written, row: Rows<'_>) -> Result<(), Fault> {
    let filter = filter(written)?;
    let recipients = filter.recipients.clone();
    let choice = choose(hub, filter, row)?;
    let mut count = CountRow {
        unreadable: choice.unreadable,
        newest: choice.entries.last().map(|last| last.id.to_string()),
        ..CountRow::default()
    };
    let mut last = None;
    for chunk in choice.entries.chunks(CHUNK) {
        for view in hub.dispatcher().views(chunk).map_err(busy)?.into_iter().flatten() {
            count.entries += 1;
            if last.replace(view.id) != Some(view.id) {
                count.messages += 1;
                count.bytes += view.size;
            }
            count.active += u64::from(view.state == State::Leased);
            count.held += u64::from(view.state == State::Held);
            if !recipients.is_empty() {
                count.others += others(hub, &view, &recipients);
            }
        }
    }
    put(row, &count);
    Ok(())
}

/// Recipients of an entry that nobody named.
fn others(hub: &Hub, view: &EntryView, named: &[Mailbox]) -> u64 {
    let Ok(Some(envelope)) = hub.dispatcher().envelope(view) else { return 0 };
    let is_named = |address: &str| named.iter().any(|one| one.matches(address));
    let open = hub.dispatcher().open(&envelope, view);
    open.filter(|one| !is_named(&one.address) && !is_named(&one.original)).count() as u64
}

/// Does something to entries.
pub(super) fn act(
    hub: &Hub,
    act: Wanted,
    written: &Written,
    by: &str,
    reason: String,
    row: Rows<'_>,
) -> Result<(), Fault> {
    let malformed = |text: String| Err(Fault::new(FaultKind::Malformed, text));
    if reason.len() > ACT_REASON_MAX {
        return malformed(format!(
            "a reason has at most {ACT_REASON_MAX} octets, this one has {}",
            reason.len()
        ));
    }
    if reason.chars().any(char::is_control) {
        return malformed("a reason is one line, without control characters".to_owned());
    }
    if act == Wanted::Return && !reason.is_ascii() {
        return malformed(
            "the reason of a return goes into a status report, which is ASCII (RFC 3464)".to_owned(),
        );
    }
    let by = named(by);
    let filter = filter(written)?;
    let missing = match (filter.ids.as_slice(), filter.selectors.as_slice()) {
        ([id], []) | ([], [Selector::Message(id)]) => Some(*id),
        _ => None,
    };
    let choice = choose(hub, filter, row)?;
    if let (Some(id), true) = (missing, choice.entries.is_empty()) {
        return Err(unknown(id));
    }
    let acting = Acting { act: wanted(act), by, reason };
    let entries = choice.entries.len() as u64;
    let mut watch = Watch::new();
    let tally = hub.dispatcher().act(acting, &choice.entries, &mut |acted, of| watch.tell(row, acted, of));
    let tally = tally.map_err(|error| match error {
        ActError::Busy(_) | ActError::NotDurable { .. } => {
            Fault::new(FaultKind::Unavailable, error.to_string())
        }
    })?;
    put(
        row,
        &ActRow {
            act,
            entries,
            done: tally.done,
            unchanged: tally.unchanged,
            active: tally.active,
            held: tally.held,
            closed: tally.closed,
            gone: tally.gone,
            failed: tally.failed,
            unreadable: choice.unreadable,
        },
    );
    Ok(())
}

/// Who acts, as the log names them.
pub(super) fn named(by: &str) -> String {
    by.chars().flat_map(char::escape_debug).take(BY_MAX).collect()
}

fn wanted(act: Wanted) -> Act {
    match act {
        Wanted::Hold => Act::Hold,
        Wanted::Release => Act::Release,
        Wanted::Return => Act::Return,
        Wanted::Delete => Act::Delete,
        Wanted::Retry => Act::Retry,
    }
}

/// Everything known of a message.
pub(super) fn show(hub: &Hub, text: &str, row: Rows<'_>) -> Result<(), Fault> {
    let id = id(text)?;
    let entries = hub.dispatcher().show(id).map_err(busy)?;
    let Some(first) = entries.first() else { return Err(unknown(id)) };
    let (envelope, error) = match hub.dispatcher().envelope(&first.view) {
        Ok(Some(envelope)) => (Some(envelope), None),
        // Settled between the two questions.
        Ok(None) => return Err(unknown(id)),
        Err(error) => (None, Some(error)),
    };
    let known = envelope.as_ref();
    let recipients = known.map(|envelope| {
        let recipient = |(index, one): (u32, &sluice_mail::Recipient)| {
            let own = |entry: &&Details| {
                let view = &entry.view;
                *view.channel == *one.channel
                    && *view.domain == *one.domain
                    && view.open.as_ref().is_none_or(|open| open.contains(&index))
            };
            MessageRecipient {
                address: one.address.clone(),
                original: one.original.clone(),
                channel: one.channel.clone(),
                domain: one.domain.clone(),
                state: entries.iter().find(own).map_or("settled", |entry| state(entry.view.state)).to_owned(),
            }
        };
        (0u32..).zip(&envelope.recipients).map(recipient).collect()
    });
    let priority = known.map_or(first.view.priority, Envelope::transfer_priority);
    let shown = MessageRow {
        id: id.to_string(),
        sender: known.map(|envelope| envelope.sender.clone()).unwrap_or_default(),
        source_channel: known.map(|envelope| envelope.source_channel.clone()).unwrap_or_default(),
        // The index counts the age of what is released later from its release.
        arrived: rfc3339(known.map_or(first.view.arrived, |envelope| envelope.arrived)),
        bytes: first.view.size,
        priority: match priority.class() {
            Priority::Urgent => "urgent",
            Priority::Normal => "normal",
            Priority::Nonurgent => "nonurgent",
        }
        .to_owned(),
        transfer_priority: priority.number(),
        deferred_until: known.and_then(|envelope| envelope.deferred_until).map(rfc3339),
        hold_reason: known
            .map(|envelope| envelope.hold_reason.clone())
            .filter(|reason| !reason.is_empty() && entries.iter().any(|one| one.view.state == State::Held)),
        recipients: recipients.unwrap_or_default(),
        entries: entries.iter().map(message_entry).collect(),
        error,
    };
    put(row, &shown);
    Ok(())
}

fn message_entry(entry: &Details) -> MessageEntry {
    let view = &entry.view;
    let error = entry.error.as_ref();
    MessageEntry {
        channel: view.channel.to_string(),
        domain: view.domain.to_string(),
        state: state(view.state).to_owned(),
        attempts: u32::from(view.attempts),
        due: view.due.map(rfc3339),
        expires: entry.expires.map(rfc3339),
        notices_sent: u32::from(entry.notices_sent),
        deferred_at: error.map(|&(at, _)| rfc3339(at)),
        last_error: error.map(|(_, error)| words(error)),
        peer: error.and_then(|(_, error)| peer(error)),
        closed: entry.closed.clone(),
        noted: entry.noted.map(str::to_owned),
        schedule: entry.schedule.map_or_else(String::new, |schedule| schedule.to_string()),
        plugin: entry.plugin.clone(),
        fixed_peer: entry.fixed_peer.clone(),
    }
}

/// The content of a message.
pub(super) fn read(hub: &Hub, text: &str, headers: bool, row: Rows<'_>) -> Result<(), Fault> {
    let id = id(text)?;
    let entries = hub.dispatcher().show(id).map_err(busy)?;
    let Some(first) = entries.first() else { return Err(unknown(id)) };
    let stored = hub.dispatcher().spool().read(first.view.at).map_err(|error| {
        Fault::new(FaultKind::Unavailable, format!("message {id} cannot be read: {error}"))
    })?;
    let mut reading = Unstuffing { line: 0, headers };
    for piece in stored.pieces() {
        for stretch in piece.chunks(STRETCH) {
            let (octets, more) = reading.take(stretch);
            if !octets.is_empty() && !put(row, &ContentRow { octets }) || !more {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Takes the dots away that the wire form has put before dots (RFC 5321, section 4.5.2).
struct Unstuffing {
    /// Octets of the line so far, its end not counted.
    line: usize,
    /// Ends with the header.
    headers: bool,
}

impl Unstuffing {
    /// One character for each octet, and whether there is more to read.
    fn take(&mut self, octets: &[u8]) -> (String, bool) {
        let mut text = String::with_capacity(octets.len());
        for &octet in octets {
            match octet {
                b'\n' => {
                    // An empty line, of which only the CR counts, ends the header; it is not shown.
                    if self.headers && self.line == 0 {
                        text.truncate(text.trim_end_matches('\r').len());
                        return (text, false);
                    }
                    self.line = 0;
                }
                b'.' if self.line == 0 => {
                    self.line = 1;
                    continue;
                }
                b'\r' => {}
                _ => self.line += 1,
            }
            text.push(char::from(octet));
        }
        (text, true)
    }
}

fn id(text: &str) -> Result<EntryId, Fault> {
    let bare = text.strip_prefix("id:").unwrap_or(text);
    bare.parse().map_err(|_| {
        let text = text.escape_debug();
        Fault::new(
            FaultKind::Malformed,
            format!("`{text}` is not a queue id; `sluice queue list` shows them"),
        )
    })
}

fn unknown(id: EntryId) -> Fault {
    Fault::new(FaultKind::Unknown, format!("there is no message {id} in the queue"))
}

/// Reads a filter.
fn filter(written: &Written) -> Result<Filter, Fault> {
    let domain = |text: &String| match selector(text)? {
        found @ (Selector::Host(_) | Selector::Subnet(_)) => Ok(found),
        Selector::Channel(_) | Selector::Message(_) => {
            Err(Fault::new(FaultKind::Malformed, format!("`{}` is no domain", text.escape_debug())))
        }
    };
    let mailbox = |text: &String| {
        text.parse::<Mailbox>().map_err(|error| Fault::new(FaultKind::Malformed, error.to_string()))
    };
    let standing = |text: &String| match text.as_str() {
        "waiting" => Ok(Standing::Waiting),
        "active" => Ok(Standing::Active),
        "deferred" => Ok(Standing::Deferred),
        "held" => Ok(Standing::Held),
        other => Err(Fault::new(
            FaultKind::Malformed,
            format!("`{}` is no state; they are waiting, active, deferred, held", other.escape_debug()),
        )),
    };
    let all = |texts: &[String]| texts.iter().map(|text| selector(text)).collect::<Result<Vec<_>, _>>();
    Ok(Filter {
        selectors: all(&written.selectors)?,
        channels: written.channels.iter().map(|name| name.to_lowercase()).collect(),
        domains: written.domains.iter().map(domain).collect::<Result<_, _>>()?,
        ids: written.ids.iter().map(|text| id(text)).collect::<Result<_, _>>()?,
        senders: written.senders.iter().map(mailbox).collect::<Result<_, _>>()?,
        recipients: written.recipients.iter().map(mailbox).collect::<Result<_, _>>()?,
        older_than: written.older_than.map(Duration::from_secs),
        newer_than: written.newer_than.map(Duration::from_secs),
        larger_than: written.larger_than,
        smaller_than: written.smaller_than,
        states: written.states.iter().map(standing).collect::<Result<_, _>>()?,
        after: written.after.as_deref().map(id).transpose()?,
        up_to: written.up_to.as_deref().map(id).transpose()?,
    })
}

fn choose(hub: &Hub, filter: Filter, row: Rows<'_>) -> Result<Choice, Fault> {
    choose_first(hub, usize::MAX, filter, row)
}

fn choose_first(hub: &Hub, most: usize, filter: Filter, row: Rows<'_>) -> Result<Choice, Fault> {
    let mut watch = Watch::new();
    let mut wanted = true;
    let choice = hub.dispatcher().choose_first(most, filter, &mut |looked, of| {
        wanted = watch.tell(row, looked, of);
        wanted
    });
    match choice.map_err(busy)? {
        choice if wanted => Ok(choice),
        // Whoever asked has gone; nothing is to be done with a part of what was meant.
        _ => Err(Fault::new(FaultKind::Unavailable, "nobody waits for the answer")),
    }
}

/// Tells how far it is, now and then.
pub(super) struct Watch(Instant);

impl Watch {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// False when nobody listens any more.
    pub(super) fn tell(&mut self, row: Rows<'_>, progress: u64, of: u64) -> bool {
        if self.0.elapsed() < PROGRESS {
            return true;
        }
        self.0 = Instant::now();
        put(row, &Progress { progress, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_loses_its_dots_wherever_it_is_cut() {
        let wire = b"Subject: x\r\n..a\r\n\r\n...\r\nb.\r\n..\r\n";
        for cut in 0..wire.len() {
            for (headers, expected) in
                [(false, "Subject: x\r\n.a\r\n\r\n..\r\nb.\r\n.\r\n"), (true, "Subject: x\r\n.a\r\n")]
            {
                let mut reading = Unstuffing { line: 0, headers };
                let (mut text, more) = reading.take(&wire[..cut]);
                if more {
                    text.push_str(&reading.take(&wire[cut..]).0);
                }
                assert_eq!(text.trim_end_matches('\r'), expected.trim_end_matches('\r'), "cut at {cut}");
            }
        }
    }
}
