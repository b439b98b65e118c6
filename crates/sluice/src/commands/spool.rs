//! `sluice spool verify` and `stat`: a spool folder, looked at without a hub. What the spool says of bytes and ids, here gets its
//! words about mail.

use std::collections::BTreeMap;
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};
use sluice_mail::{Envelope, Time, rfc3339};
use sluice_spool::{Later, Look, Loss, OpenError, What};

use crate::cli::{Common, Format};
use crate::exit::{Exit, Failure};
use crate::load;
use crate::output::{cell, line};

/// Recipients that are named of a message; the count says how many there are.
const RECIPIENTS_SHOWN: usize = 20;

/// Looks into the configuration's spool; `look` is how.
pub(crate) fn open(
    common: &Common,
    look: impl FnOnce(&Path) -> Result<Look, OpenError>,
) -> Result<Look, Failure> {
    let folder = load::spool_dir(common)?;
    look(&folder).map_err(unusable)
}

/// An error with its exit status.
pub(crate) fn unusable(error: OpenError) -> Failure {
    let exit = match error {
        OpenError::Newer { .. } | OpenError::Unrecognised { .. } | OpenError::NoSpool { .. } => Exit::Data,
        _ => Exit::Temporary,
    };
    Failure::new(exit, error)
}

/// Says when somebody works in the folder.
pub(crate) fn warn_of_holder(look: &Look) -> std::io::Result<()> {
    if let Some(holder) = look.holder()? {
        let who = holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
        crate::complain(&format!("{who} works in this spool: what it is writing now may look damaged"));
    }
    Ok(())
}

/// A bar on standard error, where that is a terminal.
pub(crate) fn bar(unit: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let template = match unit {
        "bytes" => "{wide_bar} {bytes} of {total_bytes}, {eta} left",
        _ => "{wide_bar} {pos} of {len} messages, {eta} left",
    };
    // A template of ours that does not parse costs the bar its look, not the command its work.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Moves a bar.
pub(crate) fn advance(bar: &ProgressBar, done: u64, of: u64) {
    if bar.length() != Some(of) {
        bar.set_length(of);
    }
    bar.set_position(done);
}

/// Checks everything, with a bar.
pub(crate) fn verified(look: &Look) -> Result<Loss, Failure> {
    let bar = bar("bytes");
    let loss = look.verify(&mut |done, of| advance(&bar, done, of));
    bar.finish_and_clear();
    loss.map_err(unusable)
}

/// `sluice spool verify`.
pub(crate) fn verify(common: &Common) -> Result<Exit, Failure> {
    let look = open(common, |folder| Look::at(folder, Later::Refuse))?;
    warn_of_holder(&look)?;
    let loss = verified(&look)?;
    let rows = findings(&look, &loss);
    for row in &rows {
        match common.format {
            Format::Json => line(&row.to_string())?,
            Format::Text => line(&in_words(row))?,
        }
    }
    let (files, messages) = (look.files().len(), look.recovered().entries.len());
    if is_whole(&loss) {
        crate::complain(&format!("{files} files, {messages} messages: all whole"));
        return Ok(Exit::Ok);
    }
    let live = loss.messages();
    let gone = loss.flaws.iter().filter(|flaw| !flaw.is_live).count();
    crate::complain(&format!(
        "{files} files, {messages} messages: {live} of them damaged or lost, {gone} more damaged places; \
         `sluice spool recover --to DIR` moves what can be read"
    ));
    Ok(Exit::Data)
}

pub(crate) fn is_whole(loss: &Loss) -> bool {
    loss.flaws.is_empty() && loss.lost.is_empty()
}

/// A row for each thing that is wrong, or worth a word.
pub(crate) fn findings(look: &Look, loss: &Loss) -> Vec<Value> {
    let mut rows = Vec::new();
    for flaw in &loss.flaws {
        let damage = &flaw.damage;
        let mut row = json!({
            "finding": "damage", "file": damage.path, "offset": damage.offset, "length": damage.length,
            "what": damage.what, "waits": flaw.is_live,
        });
        if let Some(id) = damage.entry {
            row["id"] = id.to_string().into();
        }
        if let Some(copy) = &damage.kept {
            row["copy"] = json!(copy);
        }
        if let Some(Ok(envelope)) = flaw.envelope.as_deref().map(Envelope::decode) {
            row["sender"] = envelope.sender.clone().into();
            row["recipients"] = recipients(&envelope);
        }
        rows.push(row);
    }
    for (id, state) in &loss.lost {
        let mut row = json!({
            "finding": "lost", "id": id.to_string(), "waits": true,
            "what": "a journal has its state, and the message is in no segment",
        });
        if let Ok(state) = sluice_dispatch::MessageState::decode(state) {
            let entries = state.groups.iter().map(|group| format!("{} on {}", group.domain, group.channel));
            row["entries"] = entries.collect::<Vec<_>>().into();
        }
        rows.push(row);
    }
    for torn in &loss.torn {
        rows.push(json!({
            "finding": "torn", "file": torn.path, "offset": torn.offset, "length": torn.length,
            "what": "the end of the file, not whole: after a crash nothing that was acknowledged is in it",
        }));
    }
    for path in &look.recovered().foreign {
        rows.push(json!({ "finding": "foreign", "file": path, "what": "not a file of this spool" }));
    }
    rows
}

fn recipients(envelope: &Envelope) -> Value {
    let shown = envelope.recipients.iter().take(RECIPIENTS_SHOWN);
    let mut shown: Vec<Value> = shown.map(|recipient| recipient.address.clone().into()).collect();
    if let Some(more) = envelope.recipients.len().checked_sub(RECIPIENTS_SHOWN).filter(|more| *more > 0) {
        shown.push(format!("and {more} more").into());
    }
    shown.into()
}

pub(crate) fn in_words(row: &Value) -> String {
    let mut text = cell(&row["finding"]);
    if let Some(file) = row["file"].as_str() {
        text.push_str(&format!(": {}", file.escape_debug()));
    }
    if let (Some(offset), Some(length)) = (row["offset"].as_u64(), row["length"].as_u64()) {
        text.push_str(&format!(", {length} bytes at {offset}"));
    }
    text.push_str(&format!(": {}", cell(&row["what"])));
    if row["id"].is_string() {
        let waits = if row["waits"] == true { "which waits" } else { "which does not wait any more" };
        text.push_str(&format!("; message {}, {waits}", cell(&row["id"])));
    }
    if row["sender"].is_string() {
        let sender = if row["sender"] == "" { "<>".to_owned() } else { cell(&row["sender"]) };
        text.push_str(&format!(", from {sender} to {}", cell(&row["recipients"])));
    }
    if row["entries"].is_array() {
        text.push_str(&format!(", for {}", cell(&row["entries"])));
    }
    text
}

/// Messages of one channel.
#[derive(Default)]
struct Share {
    messages: u64,
    recipients: u64,
    bytes: u64,
}

/// What is counted of messages that can be read.
#[derive(Default)]
struct Tally {
    messages: u64,
    channels: BTreeMap<String, Share>,
    oldest: Option<Time>,
    newest: Option<Time>,
}

impl Tally {
    fn count(&mut self, envelope: &Envelope, body_len: u64) {
        self.messages += 1;
        self.oldest = self.oldest.into_iter().chain([envelope.arrived]).min();
        self.newest = self.newest.into_iter().chain([envelope.arrived]).max();
        let mut of_message = BTreeMap::<&str, u64>::new();
        for recipient in &envelope.recipients {
            *of_message.entry(&recipient.channel).or_default() += 1;
        }
        for (channel, recipients) in of_message {
            let share = self.channels.entry(channel.to_owned()).or_default();
            share.messages += 1;
            share.recipients += recipients;
            share.bytes += body_len;
        }
    }
}

/// `sluice spool stat`.
pub(crate) fn stat(common: &Common) -> Result<Exit, Failure> {
    let look = open(common, |folder| Look::at(folder, Later::Refuse))?;
    warn_of_holder(&look)?;
    let (mut files, mut reserved, mut used) = ([0u64; 3], [0u64; 3], [0u64; 3]);
    let live: std::collections::HashSet<_> =
        look.recovered().entries.iter().map(|live| (live.at.segment, live.at.offset)).collect();
    let mut is_of_live = std::collections::HashSet::new();
    let (mut tally, mut good_parts) = (Tally::default(), std::collections::HashSet::new());
    let mut in_parts = Vec::new();
    let bar = bar("bytes");
    let all = look.files();
    let total: u64 = all.iter().map(|file| file.len).sum();
    let (mut done, mut live_bytes) = (0, 0);
    // Parts of a body stand before the message that names them, so segments are gone through from the last to the first.
    for file in all.iter().rev() {
        let kind = file.kind as usize;
        files[kind] += 1;
        reserved[kind] += file.len;
        let mut here = Vec::new();
        let end = look.records(file, &mut |standing| {
            let offset = u32::try_from(standing.offset).unwrap_or(u32::MAX);
            match standing.what {
                What::Message { parts, envelope, body_len, is_good, .. }
                    if live.contains(&(file.number, offset)) =>
                {
                    live_bytes += standing.len;
                    is_of_live.extend(parts.iter().map(|part| (part.segment, part.offset)));
                    match Envelope::decode(envelope).ok().filter(|_| is_good) {
                        Some(envelope) if parts.is_empty() => tally.count(&envelope, body_len),
                        Some(envelope) => in_parts.push((envelope, body_len, parts)),
                        None => {}
                    }
                }
                What::Chunk { is_good, .. } => here.push((offset, standing.len, is_good)),
                _ => {}
            }
            true
        });
        used[kind] += end.map_err(unusable)?;
        for (offset, len, is_good) in here {
            if is_of_live.contains(&(file.number, offset)) {
                live_bytes += len;
                if is_good {
                    good_parts.insert((file.number, offset));
                }
            }
        }
        done += file.len;
        advance(&bar, done, total);
    }
    bar.finish_and_clear();
    for (envelope, body_len, parts) in &in_parts {
        if parts.iter().all(|part| good_parts.contains(&(part.segment, part.offset))) {
            tally.count(envelope, *body_len);
        }
    }
    let bytes: u64 = look.recovered().entries.iter().map(|entry| entry.body_len).sum();
    let Tally { messages: readable, channels, oldest, newest } = tally;
    let (kept, kept_bytes) = quarantine(&load::spool_dir(common)?);
    let messages = look.recovered().entries.len() as u64;
    let unreadable = messages.saturating_sub(readable);
    let spool = json!({
        "segments": files[0], "segment_bytes": reserved[0], "used_bytes": used[0], "live_bytes": live_bytes,
        "settled_bytes": used[0].saturating_sub(live_bytes), "journals": files[1], "journal_bytes": used[1],
        "checkpoints": files[2], "checkpoint_bytes": used[2], "messages": messages, "content_bytes": bytes,
        "bytes_per_message": live_bytes.checked_div(messages), "unreadable": unreadable,
        "oldest": oldest.map(rfc3339), "newest": newest.map(rfc3339),
        "quarantined": kept, "quarantined_bytes": kept_bytes,
    });
    let rows = channels.iter().map(|(channel, share)| {
        json!({ "channel": channel, "messages": share.messages, "recipients": share.recipients, "content_bytes": share.bytes })
    });
    match common.format {
        Format::Json => {
            line(&spool.to_string())?;
            for row in rows {
                line(&row.to_string())?;
            }
        }
        Format::Text => {
            for (name, value) in spool.as_object().unwrap_or(&Map::new()) {
                line(&format!("{:<18} {}", name.replace('_', " "), cell(value)))?;
            }
            for row in rows {
                line(&format!(
                    "on {}: {} messages for {} recipients, {} octets",
                    cell(&row["channel"]),
                    row["messages"],
                    row["recipients"],
                    row["content_bytes"]
                ))?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// Copies of damaged bytes, and how long they are together.
fn quarantine(folder: &Path) -> (u64, u64) {
    let entries = std::fs::read_dir(folder.join("quarantine")).into_iter().flatten().flatten();
    let copies = entries.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "bytes"));
    copies.fold((0, 0), |(count, bytes), entry| {
        (count + 1, bytes + entry.metadata().map_or(0, |found| found.len()))
    })
}
