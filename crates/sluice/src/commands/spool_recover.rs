//! `sluice spool recover`: what can be read of a spool, moved into a new one.

use serde_json::json;
use sluice_spool::{Later, Look, Options, SalvageError};

use crate::cli::Format;
use crate::cli::spool::SpoolRecover;
use crate::commands::spool::{advance, bar, findings, in_words, is_whole, open, unusable, verified};
use crate::consent;
use crate::exit::{Exit, Failure};
use crate::output::line;

/// `sluice spool recover`.
pub(crate) fn recover(recover: &SpoolRecover) -> Result<Exit, Failure> {
    let common = &recover.common;
    if recover.to.symlink_metadata().is_ok() {
        return Err(failed(SalvageError::Exists(recover.to.clone())));
    }
    let look = open(common, |folder| Look::alone(folder, Later::PassOver))?;
    let loss = verified(&look)?;
    for row in findings(&look, &loss) {
        match common.format {
            Format::Json => line(&row.to_string())?,
            Format::Text => line(&in_words(&row))?,
        }
    }
    let entries = &look.recovered().entries;
    let unreadable = entries.iter().filter(|live| look.read(live.at).is_err()).count();
    let counted = format!("{} messages can be moved, {} cannot", entries.len() - unreadable, loss.messages());
    if recover.dry_run {
        crate::complain(&format!("{counted}; nothing was done"));
        return Ok(if is_whole(&loss) { Exit::Ok } else { Exit::Data });
    }
    let question = format!("{counted}\nmove them into {}?", recover.to.display());
    let otherwise =
        format!("{counted}; nothing was done: --yes is needed, --dry-run says what would be moved");
    if !recover.yes && !consent::given(&question, &otherwise)? {
        return Ok(Exit::Usage);
    }
    let bar = bar("messages");
    let salvaged =
        look.salvage(&recover.to, Options::default(), &loss, &mut |done, of| advance(&bar, done, of));
    bar.finish_and_clear();
    let salvaged = salvaged.map_err(failed)?;
    match common.format {
        Format::Json => line(
            &json!({
                "folder": recover.to, "messages": salvaged.messages, "content_bytes": salvaged.bytes,
                "notes": salvaged.notes, "quarantined": salvaged.quarantined,
                "unreadable": salvaged.unreadable.iter()
                    .map(|(id, why)| json!({ "id": id.to_string(), "what": why })).collect::<Vec<_>>(),
            })
            .to_string(),
        )?,
        Format::Text => {
            for (id, why) in &salvaged.unreadable {
                line(&format!("not moved: message {id}: {why}"))?;
            }
            for copy in &salvaged.quarantined {
                line(&format!("damaged bytes: {}", copy.display()))?;
            }
            line(&format!("{} messages are in {}", salvaged.messages, recover.to.display()))?;
        }
    }
    let is_all = salvaged.unreadable.is_empty() && loss.messages() == 0 && !loss.may_hide_messages();
    Ok(if is_all { Exit::Ok } else { Exit::Data })
}

fn failed(error: SalvageError) -> Failure {
    match error {
        SalvageError::Open(error) => unusable(error),
        error @ SalvageError::Exists(_) => Failure::new(Exit::Usage, error),
        error => Failure::new(Exit::Temporary, error),
    }
}
