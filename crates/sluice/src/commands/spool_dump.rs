//! `sluice spool dump`: records in readable form.

use std::io::{self, Write};

use serde_json::{Map, Value, json};
use sluice_dispatch::MessageState;
use sluice_mail::{Envelope, Priority, rfc3339};
use sluice_spool::{EntryId, FileOf, Later, Location, Look, Standing, What};

use crate::cli::spool::SpoolDump;
use crate::commands::spool::{open, unusable, warn_of_holder};
use crate::exit::{Exit, ExitWith, Failure};
use crate::output::line;

/// `sluice spool dump`.
pub(crate) fn dump(dump: &SpoolDump) -> Result<Exit, Failure> {
    let id = match dump.id.as_deref().map(|text| text.strip_prefix("id:").unwrap_or(text).parse::<EntryId>())
    {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => {
            crate::complain("that is not a queue id; `sluice queue list` and `sluice spool dump` show them");
            return Ok(Exit::Usage);
        }
    };
    let look = open(&dump.common, |folder| Look::at(folder, Later::PassOver))?;
    warn_of_holder(&look)?;
    if let (Some(id), true) = (id, dump.body) {
        return body(&look, id);
    }
    let wanted = [
        (FileOf::Segment, dump.segment),
        (FileOf::Journal, dump.journal),
        (FileOf::Checkpoint, dump.checkpoint),
    ];
    let one = wanted.into_iter().find_map(|(kind, number)| Some((kind, number?)));
    let files = look.files().into_iter().filter(|file| one.is_none_or(|one| one == (file.kind, file.number)));
    let (mut rows, mut written, mut has_file) = (0u64, Ok(()), false);
    for file in files {
        has_file = true;
        look.records(&file, &mut |standing| {
            if id.is_none_or(|id| about(&standing.what) == Some(id)) {
                rows += 1;
                written = line(&row(&file.name, &standing, dump.envelope).to_string());
            }
            written.is_ok()
        })
        .map_err(unusable)?;
        std::mem::replace(&mut written, Ok(()))?;
    }
    match (has_file, id) {
        (false, _) => {
            crate::complain("there is no such file in the spool");
            Ok(Exit::Data)
        }
        (true, Some(id)) if rows == 0 => {
            crate::complain(&format!("the spool has nothing about message {id}"));
            Ok(Exit::Data)
        }
        _ => Ok(Exit::Ok),
    }
}

/// The content of a message: of its last record that can be read, since one may have been copied forward.
fn body(look: &Look, id: EntryId) -> Result<Exit, Failure> {
    let mut places = Vec::new();
    for file in look.files().iter().filter(|file| file.kind == FileOf::Segment) {
        look.records(file, &mut |standing| {
            if matches!(standing.what, What::Message { id: found, .. } if found == id) {
                let offset = u32::try_from(standing.offset).unwrap_or(u32::MAX);
                places.push(Location { segment: file.number, offset });
            }
            true
        })
        .map_err(unusable)?;
    }
    let mut last = None;
    for at in places.into_iter().rev() {
        match look.read(at) {
            Ok(stored) => {
                let mut out = io::stdout().lock();
                stored.pieces().try_for_each(|piece| out.write_all(piece))?;
                out.flush()?;
                return Ok(Exit::Ok);
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error).exit_with(Exit::Data),
        None => {
            crate::complain(&format!("the spool has no message {id}"));
            Ok(Exit::Data)
        }
    }
}

/// The message that a record is about.
fn about(what: &What<'_>) -> Option<EntryId> {
    match what {
        What::Message { id, .. }
        | What::Chunk { id, .. }
        | What::State { id, .. }
        | What::Removed { id, .. }
        | What::Entry { id, .. } => Some(*id),
        _ => None,
    }
}

fn row(file: &str, standing: &Standing<'_>, with_envelope: bool) -> Value {
    let mut row = json!({ "file": file, "offset": standing.offset, "length": standing.len });
    let at = |at: &Location| json!({ "segment": at.segment, "offset": at.offset });
    let fields = match &standing.what {
        What::Message { id, envelope, body_len, parts, is_good } => {
            let mut fields = json!({
                "record": "message", "id": id.to_string(), "envelope_octets": envelope.len(), "body_octets": body_len,
                "parts": parts.iter().map(at).collect::<Vec<_>>(), "good": is_good,
            });
            if with_envelope {
                fields["envelope"] = envelope_of(envelope);
            }
            fields
        }
        What::Chunk { id, index, body_len, is_good } => {
            json!({ "record": "chunk", "id": id.to_string(), "index": index, "body_octets": body_len, "good": is_good })
        }
        What::State { id, at: place, state } => {
            json!({ "record": "state", "id": id.to_string(), "at": at(place), "state": state_of(state) })
        }
        What::Removed { id, at: place } => {
            json!({ "record": "removed", "id": id.to_string(), "at": at(place) })
        }
        What::Note(note) => json!({
            "record": "note", "version": note.first(), "kind": note.get(1), "octets": note.len(), "hex": hex(note),
        }),
        What::Void { file, from } => json!({ "record": "void", "of": file, "from": from }),
        What::Reserve { mark } => json!({ "record": "reserve", "ids_below": EntryId(*mark).to_string() }),
        What::Begin { journal, scan, next_id } => json!({
            "record": "begin", "journals_up_to": journal, "scan": at(scan), "ids_below": EntryId(*next_id).to_string(),
        }),
        What::Entry { id, at: place, body_len, state } => json!({
            "record": "entry", "id": id.to_string(), "at": at(place), "body_octets": body_len,
            "state": state.map(state_of),
        }),
        What::End { entries, notes } => json!({ "record": "end", "entries": entries, "notes": notes }),
        What::Damage(what) => json!({ "record": "damage", "what": what }),
        What::Torn => json!({ "record": "torn" }),
    };
    if let (Some(row), Value::Object(fields)) = (row.as_object_mut(), fields) {
        row.extend(fields);
    }
    row
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Urgent => "urgent",
        Priority::Normal => "normal",
        Priority::Nonurgent => "nonurgent",
    }
}

/// A state, or its bytes and why they are none.
fn state_of(bytes: &[u8]) -> Value {
    let state = match MessageState::decode(bytes) {
        Ok(state) => state,
        Err(error) => return json!({ "error": error.to_string(), "hex": hex(bytes) }),
    };
    let groups = state.groups.iter().map(|group| {
        let mut row = json!({
            "channel": group.channel, "domain": group.domain, "held": group.held, "deferred": group.deferred,
            "attempts": group.attempts, "step": group.step, "noticed": group.noticed, "recipients": group.recipients,
            "due": group.due.map(rfc3339), "open": group.open,
        });
        if let Some((at, error)) = &group.error {
            row["deferred_at"] = rfc3339(*at).into();
            row["last_error"] = format!("{} {}", error.status, error.text).into();
            row["peer"] = error.peer.clone().into();
        }
        row
    });
    json!({
        "priority": priority(state.priority.class()), "transfer_priority": state.priority.number(), "arrived": rfc3339(state.arrived), "entries": groups.collect::<Vec<_>>(),
    })
}

/// An envelope, or its bytes and why they are none.
fn envelope_of(bytes: &[u8]) -> Value {
    let envelope = match Envelope::decode(bytes) {
        Ok(envelope) => envelope,
        Err(error) => return json!({ "error": error.to_string(), "hex": hex(bytes) }),
    };
    let recipients = envelope.recipients.iter().map(|one| {
        json!({
            "address": one.address, "original": one.original, "channel": one.channel, "domain": one.domain,
            "notify": one.wishes.notify.to_string(), "orcpt": one.wishes.original,
        })
    });
    let mut row = Map::new();
    row.insert("sender".to_owned(), envelope.sender.clone().into());
    row.insert("source_channel".to_owned(), envelope.source_channel.clone().into());
    row.insert("arrived".to_owned(), rfc3339(envelope.arrived).into());
    row.insert("priority".to_owned(), priority(envelope.priority).into());
    row.insert("transfer_priority".to_owned(), envelope.transfer_priority().number().into());
    row.insert("envelope_id".to_owned(), envelope.wishes.envelope_id.clone().into());
    row.insert("eight_bit".to_owned(), envelope.eight_bit.into());
    row.insert("smtputf8".to_owned(), envelope.smtputf8.into());
    row.insert("held".to_owned(), envelope.held.into());
    row.insert("deferred_until".to_owned(), envelope.deferred_until.map(rfc3339).into());
    row.insert("recipients".to_owned(), recipients.collect::<Vec<_>>().into());
    Value::Object(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_mail::{Notify, Recipient, RecipientWishes, TransferPriority, Wishes};

    #[test]
    fn an_envelope_is_shown_with_what_its_sender_wished() {
        let wishes = RecipientWishes {
            notify: Notify::parse("SUCCESS,DELAY").unwrap(),
            original: "rfc822;a@b".into(),
        };
        let envelope = Envelope {
            eight_bit: true,
            smtputf8: true,
            wishes: Wishes {
                envelope_id: "QQ314159".into(),
                priority: TransferPriority::new(6),
                ..Wishes::default()
            },
            recipients: vec![Recipient { address: "a@b".into(), wishes, ..Recipient::default() }],
            ..Envelope::default()
        };
        let row = envelope_of(&envelope.encode());
        assert_eq!((&row["transfer_priority"], &row["envelope_id"]), (&6.into(), &"QQ314159".into()));
        assert_eq!((&row["eight_bit"], &row["smtputf8"]), (&true.into(), &true.into()));
        let one = &row["recipients"][0];
        assert_eq!((&one["notify"], &one["orcpt"]), (&"SUCCESS,DELAY".into(), &"rfc822;a@b".into()));
    }
}
