//! `sluice spool bring-back`: what segments in quarantine have, and the spool has not.
//!
//! Where a hub works in the folder it is asked to do it, and goes on meanwhile; else this does it alone.

use std::path::Path;

use serde_json::Value;
use sluice_admin::Request;
use sluice_admin::protocol::{AsideRow, AsideSegmentRow, BroughtBackRow};
use sluice_spool::{Aside, AsideError, Later, Look, OpenError, Options};

use crate::cli::Format;
use crate::cli::spool::SpoolBringBack;
use crate::commands::spool::unusable;
use crate::commands::{queue, remote};
use crate::exit::{Exit, Failure};
use crate::output::line;
use crate::{consent, load, set_aside};

/// What was found, all segments together.
#[derive(Default)]
struct Survey {
    segments: Vec<AsideSegmentRow>,
}

/// `sluice spool bring-back`.
pub(crate) fn bring_back(asked: &SpoolBringBack) -> Result<Exit, Failure> {
    let folder = load::spool_dir(&asked.common)?;
    match Look::alone(&folder, Later::Refuse) {
        Ok(look) => alone(asked, &folder, look),
        Err(OpenError::InUse { .. }) => by_the_hub(asked),
        Err(error) => Err(unusable(error)),
    }
}

/// The hub that works in the folder does it.
fn by_the_hub(asked: &SpoolBringBack) -> Result<Exit, Failure> {
    let common = &asked.common;
    let mut survey = Survey::default();
    let request = Request::SpoolAside { segment: asked.segment };
    // What can be read comes before a fault.
    let surveyed = remote::ask(common, &request, |row| survey.take(asked, row))?;
    if surveyed != Exit::Ok && survey.segments.is_empty() {
        return Ok(surveyed);
    }
    if let Some(exit) = survey.answer(asked)? {
        return Ok(if surveyed == Exit::Ok { exit } else { surveyed });
    }
    let mut done = BroughtBackRow::default();
    let request = Request::SpoolBringBack { segment: asked.segment, by: queue::who() };
    let exit = remote::ask(common, &request, |row| {
        match (row["progress"].as_u64(), row["of"].as_u64()) {
            (Some(_), Some(0)) => {}
            (Some(progress), Some(of)) => crate::complain(&format!("{progress} of {of} messages")),
            _ => done = serde_json::from_value(row.clone())?,
        }
        Ok(())
    })?;
    if exit == Exit::Ok || done.brought_back > 0 {
        told(done.brought_back);
    }
    if exit != Exit::Ok {
        return Ok(exit);
    }
    Ok(if done.damaged == 0 && done.is_whole { Exit::Ok } else { Exit::Data })
}

/// Nobody works in the folder.
fn alone(asked: &SpoolBringBack, folder: &Path, look: Look) -> Result<Exit, Failure> {
    let numbers = match asked.segment {
        Some(number) => vec![number],
        None => look.set_aside()?,
    };
    let mut survey = Survey::default();
    let mut asides: Vec<Aside> = Vec::new();
    let mut first = None;
    for number in numbers {
        let mut aside = match look.aside(number).map_err(failed) {
            Ok(aside) => aside,
            Err(failure) => {
                // It does not stand in the way of those behind it.
                first.get_or_insert(failure);
                continue;
            }
        };
        set_aside::doubt_envelopes(&mut aside);
        for message in &aside.messages {
            show(asked, &set_aside::message_row(&aside, message))?;
        }
        survey.segments.push(set_aside::segment_row(number, &aside));
        asides.push(aside);
    }
    if survey.segments.is_empty()
        && let Some(failure) = first
    {
        return Err(failure);
    }
    if let Some(exit) = survey.answer(asked)? {
        return first.map_or(Ok(exit), Err);
    }
    drop(look);
    let mut count = 0;
    for aside in asides.iter().filter(|aside| aside.missing().next().is_some()) {
        let look = Look::alone(folder, Later::Refuse).map_err(unusable)?;
        let is_done = set_aside::is_done(aside);
        match look.bring_back(aside, is_done, Options::default()).map_err(failed) {
            Ok(came) => count += came,
            Err(failure) => {
                first.get_or_insert(failure);
            }
        }
    }
    if count > 0 || first.is_none() {
        told(count);
    }
    first.map_or(Ok(survey.exit()), Err)
}

impl Survey {
    /// A row of the hub's answer.
    fn take(&mut self, asked: &SpoolBringBack, row: &Value) -> std::io::Result<()> {
        if row["segment"].is_u64() {
            self.segments.push(serde_json::from_value(row.clone())?);
            return Ok(());
        }
        // How far it is, which only says that it goes on.
        if row["progress"].is_u64() {
            return Ok(());
        }
        show(asked, &serde_json::from_value(row.clone())?)
    }

    fn missing(&self) -> u64 {
        self.segments.iter().map(|segment| segment.missing).sum()
    }

    fn damaged(&self) -> u64 {
        self.segments.iter().map(|segment| segment.damaged).sum()
    }

    fn exit(&self) -> Exit {
        let is_whole = self.segments.iter().all(|segment| segment.is_whole);
        if self.damaged() == 0 && is_whole { Exit::Ok } else { Exit::Data }
    }

    /// Says what was found, and asks whether it shall be done. `None`: yes.
    fn answer(&self, asked: &SpoolBringBack) -> Result<Option<Exit>, Failure> {
        if self.segments.is_empty() {
            crate::complain("there is no segment in quarantine");
            return Ok(Some(Exit::Ok));
        }
        for segment in self.segments.iter().filter(|segment| !segment.is_whole) {
            let path = &segment.file;
            crate::complain(&format!(
                "{path} still cannot be read whole: more mail may be in it, and it stays"
            ));
        }
        if self.segments.iter().any(|segment| segment.has_unread_journal) {
            crate::complain(
                "a journal in quarantine cannot be read whole: settled mail may be among what can be brought back",
            );
        }
        let counted =
            format!("{} messages can be brought back, {} are still damaged", self.missing(), self.damaged());
        if asked.dry_run || self.missing() == 0 {
            crate::complain(&format!("{counted}; nothing was done"));
            return Ok(Some(self.exit()));
        }
        let question = format!("{counted}\nput them into the spool?");
        let otherwise =
            format!("{counted}; nothing was done: --yes is needed, --dry-run says what would be done");
        let is_wanted = asked.yes || consent::given(&question, &otherwise)?;
        Ok((!is_wanted).then_some(Exit::Usage))
    }
}

fn told(count: u64) {
    crate::complain(&format!("{count} messages are in the spool again, and wait like new ones"));
}

fn show(asked: &SpoolBringBack, row: &AsideRow) -> std::io::Result<()> {
    match asked.common.format {
        Format::Json => line(&serde_json::to_string(row)?),
        Format::Text => line(&in_words(row)),
    }
}

fn in_words(row: &AsideRow) -> String {
    let what = match row.fate.as_str() {
        "missing" => "can be brought back".to_owned(),
        "there" => "is in the spool".to_owned(),
        "settled" => "the spool had it, or it was settled".to_owned(),
        "gone" => "could be read then, and has gone its way".to_owned(),
        _ => format!("is still damaged: {}", row.what.as_deref().unwrap_or_default()),
    };
    let recipients = row.recipients.as_ref().map_or(0, Vec::len);
    let sender = row.sender.as_deref().unwrap_or("?");
    format!("message {} from <{sender}>, {recipients} recipients: {what}", row.id)
}

fn failed(error: AsideError) -> Failure {
    match error {
        AsideError::Open(error) => unusable(error),
        error @ (AsideError::NotThere(_) | AsideError::NoList(_)) => Failure::new(Exit::Data, error),
        error => Failure::new(Exit::Temporary, error),
    }
}
