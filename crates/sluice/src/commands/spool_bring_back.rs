//! `sluice spool bring-back`: what segments in quarantine have, and the spool has not.

use std::path::Path;

use serde_json::{Value, json};
use sluice_mail::Envelope;
use sluice_spool::{Aside, AsideError, AsideMessage, Fate, Later, Look, Options};

use crate::cli::Format;
use crate::cli::spool::SpoolBringBack;
use crate::commands::spool::{open, unusable};
use crate::consent;
use crate::exit::{Exit, Failure};
use crate::output::line;

/// `sluice spool bring-back`.
pub(crate) fn bring_back(asked: &SpoolBringBack) -> Result<Exit, Failure> {
    let common = &asked.common;
    let alone = |folder: &Path| Look::alone(folder, Later::Refuse);
    let look = open(common, alone)?;
    let numbers = match asked.segment {
        Some(number) => vec![number],
        None => look.set_aside()?,
    };
    if numbers.is_empty() {
        crate::complain("there is no segment in quarantine");
        return Ok(Exit::Ok);
    }
    let asides: Vec<Aside> =
        numbers.iter().map(|number| look.aside(*number)).collect::<Result<_, _>>().map_err(failed)?;
    let is_damaged = |message: &AsideMessage| matches!(message.fate, Fate::Damaged(_));
    let damaged =
        asides.iter().flat_map(|aside| &aside.messages).filter(|message| is_damaged(message)).count();
    let missing: usize = asides.iter().map(|aside| aside.missing().count()).sum();
    for aside in &asides {
        for message in &aside.messages {
            let row = row(aside, message);
            match common.format {
                Format::Json => line(&row.to_string())?,
                Format::Text => line(&in_words(message, &row))?,
            }
        }
    }
    for aside in asides.iter().filter(|aside| !aside.is_whole) {
        let path = aside.path.display();
        crate::complain(&format!("{path} still cannot be read whole: more mail may be in it, and it stays"));
    }
    if asides.iter().any(|aside| aside.has_unread_journal) {
        crate::complain(
            "a journal in quarantine cannot be read whole: settled mail may be among what can be brought back",
        );
    }
    let exit = if damaged == 0 && asides.iter().all(|aside| aside.is_whole) { Exit::Ok } else { Exit::Data };
    let counted = format!("{missing} messages can be brought back, {damaged} are still damaged");
    if asked.dry_run || missing == 0 {
        crate::complain(&format!("{counted}; nothing was done"));
        return Ok(exit);
    }
    let question = format!("{counted}\nput them into the spool?");
    let otherwise =
        format!("{counted}; nothing was done: --yes is needed, --dry-run says what would be done");
    if !asked.yes && !consent::given(&question, &otherwise)? {
        return Ok(Exit::Usage);
    }
    drop(look);
    let mut count = 0;
    for aside in asides.iter().filter(|aside| aside.missing().next().is_some()) {
        // What is still damaged in it may be whole another day.
        let is_done = aside.is_whole && !aside.messages.iter().any(is_damaged);
        count += open(common, alone)?.bring_back(aside, is_done, Options::default()).map_err(failed)?;
    }
    crate::complain(&format!("{count} messages are in the spool again, and wait like new ones"));
    Ok(exit)
}

fn row(aside: &Aside, message: &AsideMessage) -> Value {
    let (fate, why) = match &message.fate {
        Fate::Missing => ("missing", None),
        Fate::There => ("there", None),
        Fate::Settled => ("settled", None),
        Fate::Gone => ("gone", None),
        Fate::Damaged(why) => ("damaged", Some(why)),
    };
    let mut row = json!({
        "id": message.id.to_string(), "file": aside.path, "fate": fate, "content_bytes": message.body_len,
    });
    if let Ok(envelope) = Envelope::decode(&message.envelope) {
        row["sender"] = envelope.sender.into();
        row["recipients"] = envelope.recipients.iter().map(|one| one.address.clone()).collect();
    }
    if let Some(why) = why {
        row["what"] = why.clone().into();
    }
    row
}

fn in_words(message: &AsideMessage, row: &Value) -> String {
    let what = match &message.fate {
        Fate::Missing => "can be brought back".to_owned(),
        Fate::There => "is in the spool".to_owned(),
        Fate::Settled => "the spool had it, or it was settled".to_owned(),
        Fate::Gone => "could be read then, and has gone its way".to_owned(),
        Fate::Damaged(why) => format!("is still damaged: {why}"),
    };
    let recipients = row["recipients"].as_array().map_or(0, Vec::len);
    let sender = row["sender"].as_str().unwrap_or("?");
    format!("message {} from <{sender}>, {recipients} recipients: {what}", message.id)
}

fn failed(error: AsideError) -> Failure {
    match error {
        AsideError::Open(error) => unusable(error),
        error @ (AsideError::NotThere(_) | AsideError::NoList(_)) => Failure::new(Exit::Data, error),
        error => Failure::new(Exit::Temporary, error),
    }
}
