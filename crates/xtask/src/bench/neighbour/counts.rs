//! What has become of the messages, by their ids: what the mail log and the queue say of each.

use super::hub::{Hub, channel};
use anyhow::{Context, Result};
use sluice_testkit::wait_until;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The mail log is written behind the mail.
const BEHIND: Duration = Duration::from_secs(10);

/// What became of the messages of a channel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) delivered: usize,
    pub(super) returned: usize,
    pub(super) waiting: usize,
    pub(super) held: usize,
    /// Of these nobody knows anything.
    pub(super) lost: usize,
}

/// A message that waits: its id, and whether it is held.
type Waits = (String, bool);

/// Of each mode; what waits and has been delivered or returned as well, since a crash or a deadline came between, waits.
pub(super) fn counts(hub: &Hub, modes: &[&str], sent: &[usize]) -> Result<Vec<Counts>> {
    let look = || -> Result<Vec<Counts>> {
        let mut all = Vec::new();
        for (mode, sent) in modes.iter().zip(sent) {
            let channel = channel(mode);
            let limit = (sent + 1000).to_string();
            let rows = hub.rows(&["queue", "list", "--channel", &channel, "--limit", &limit])?;
            let waits = rows.iter().map(|row| {
                let id = row["id"].as_str().context("a row without an id")?;
                Ok((id.to_owned(), row["state"] == "held"))
            });
            all.push((channel, waits.collect::<Result<Vec<Waits>>>()?));
        }
        let log = hub.mail_log();
        Ok(account(&ended(&log), &all, sent))
    };
    let none_lost = || look().ok().filter(|counts| counts.iter().all(|one| one.lost == 0));
    wait_until(BEHIND, none_lost).map_or_else(look, Ok)
}

/// How many messages these channels have delivered so far.
pub(super) fn delivered(hub: &Hub, channels: &[&str]) -> usize {
    if channels.is_empty() {
        return 0;
    }
    let log = hub.mail_log();
    let ended = ended(&log);
    channels.iter().filter_map(|channel| ended.get(&(*channel, "D"))).map(BTreeSet::len).sum()
}

/// Ids of messages by channel and code of the mail log's lines.
type Ended<'l> = BTreeMap<(&'l str, &'l str), BTreeSet<&'l str>>;

fn ended(log: &str) -> Ended<'_> {
    let mut ended: Ended<'_> = BTreeMap::new();
    for line in log.lines() {
        let mut words = line.split(' ').skip(2);
        if let (Some(id), Some(channel), Some(code)) = (words.next(), words.next(), words.next()) {
            ended.entry((channel, code)).or_default().insert(id);
        }
    }
    ended
}

fn account(ended: &Ended<'_>, channels: &[(String, Vec<Waits>)], sent: &[usize]) -> Vec<Counts> {
    let of = |((channel, waits), sent): (&(String, Vec<Waits>), &usize)| {
        let waiting: BTreeSet<&str> = waits.iter().map(|(id, _)| id.as_str()).collect();
        let ids = |code: &str| {
            let ids = ended.get(&(channel.as_str(), code)).into_iter().flatten();
            ids.copied().filter(|id| !waiting.contains(id)).collect::<BTreeSet<&str>>()
        };
        let (delivered, returned) = (ids("D"), ids("R"));
        let known = delivered.union(&returned).count() + waiting.len();
        Counts {
            delivered: delivered.len(),
            returned: returned.difference(&delivered).count(),
            waiting: waiting.len(),
            held: waits.iter().filter(|(_, is_held)| *is_held).count(),
            lost: sent.saturating_sub(known),
        }
    };
    channels.iter().zip(sent).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_once_however_often_it_is_told_of() {
        let log = "02-Dec-2026 09:15:07.042 00A1 tcp_hang D 1 a@b rfc822;c@d\n\
                   02-Dec-2026 09:15:07.043 00A1 tcp_hang D 1 a@b rfc822;c@d\n\
                   02-Dec-2026 09:15:07.044 00A2 tcp_hang Q 1 a@b rfc822;c@d smtp;later\n\
                   02-Dec-2026 09:15:07.045 00A3 tcp_hang D 1 a@b rfc822;c@d\n\
                   02-Dec-2026 09:15:07.045 00A1 tcp_leaks R 1 a@b rfc822;c@d\n";
        let waits = |ids: &[(&str, bool)]| ids.iter().map(|(id, held)| ((*id).to_owned(), *held)).collect();
        let channels = [
            // One was delivered and waits all the same: it will be delivered twice, and is not two messages.
            ("tcp_hang".to_owned(), waits(&[("00A2", true), ("00A3", false)])),
            ("tcp_leaks".to_owned(), waits(&[("00A2", false)])),
        ];
        let counts = account(&ended(log), &channels, &[3, 3]);
        let expected = [
            Counts { delivered: 1, returned: 0, waiting: 2, held: 1, lost: 0 },
            Counts { delivered: 0, returned: 1, waiting: 1, held: 0, lost: 1 },
        ];
        assert_eq!(counts, expected);
    }
}
