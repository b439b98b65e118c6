//! Keeping the records of releases: from the order to the end, over restarts, and for those who want to read them.
//!
//! # Not here
//! The record and its bytes (`records`), the runs (`runs`).

use std::collections::HashMap;

use sluice_mail::{Outcome, Time};
use sluice_queue::{Count, EntryKey, Settled, Tally};
use sluice_spool::Durability;

use crate::core::Core;
use crate::event::Answer;
use crate::notes::Kind;
use crate::order::{Order, ReleaseId, written};
use crate::records::{End, Progress, ReleaseRecord, bounded};
use crate::runs::Run;

/// Callbacks that may wait for the ends of releases; whoever comes when there are so many is answered at once.
const WAITING_MAX: usize = 10_000;

impl Core {
    /// Begins the record of a release that covers so much, part of which may go under others.
    pub(crate) fn begin_record(
        &mut self,
        id: ReleaseId,
        order: &Order,
        covered: Count,
        with: &[ReleaseId],
        now: Time,
    ) {
        let own = self.queues.tally(id.0);
        let peer = order.requester.peer().cloned().unwrap_or_default();
        let escaped = |text: &str| text.escape_debug().to_string();
        let mut elsewhere = covered;
        if let Some(own) = &own {
            elsewhere -= own.promised;
        }
        let ended = match (&own, with.is_empty()) {
            (Some(_), _) => None,
            (None, true) => Some((now, End::Nothing)),
            (None, false) => Some((now, End::Joined)),
        };
        let record = ReleaseRecord {
            id,
            asked: now,
            by: order.requester.word().to_owned(),
            site: order.site.clone().unwrap_or_default(),
            login: escaped(&peer.login.unwrap_or_default()),
            address: escaped(&peer.address),
            helo: escaped(&peer.helo),
            channel: peer.source_channel,
            argument: escaped(&peer.argument),
            covers: written(&order.selectors),
            way: order.via.to_string(),
            promised: covered,
            elsewhere,
            with: with.to_vec(),
            tally: own.unwrap_or_default(),
            last_text: String::new(),
            ended,
        };
        self.write_note(Kind::Release, &record.encode(), Durability::Lazy, None);
        match self.runs.get_mut(&id) {
            Some(run) if ended.is_none() => run.record = Some(Box::new(record)),
            _ => self.records.keep(&record),
        }
    }

    /// An attempt has come to this: it is counted, and the sums are journalled. The settlement itself is to follow at once.
    pub(crate) fn count_settled(&mut self, entry: EntryKey, settled: Settled) {
        let run = self.queues.run_of_entry(entry);
        let message = self.queues.entry(entry).message;
        let before = self.queues.recipients(entry);
        if !self.queues.settle(entry, settled) {
            return;
        }
        let Some(id) = run.map(ReleaseId) else { return };
        // The last entry of a message that was released by itself ends its run: the note of the end says it all, and stands
        // before the settlement too.
        let Some(tally) = self.queues.tally(id.0) else {
            return;
        };
        if self.runs.get(&id).is_none_or(|run| run.record.is_none()) {
            return;
        }
        let all: u64 = self.queues.entries_of(message).map(|one| self.queues.recipients(one)).sum();
        let open = all.saturating_sub(before) + settled.open;
        let progress = Progress { id, message: self.queues.message(message).id.0, open, tally };
        self.write_note(Kind::Release, &progress.encode(), Durability::Lazy, None);
    }

    /// What was said of a recipient that was put off or failed.
    pub(crate) fn tell_record(&mut self, entry: EntryKey, outcome: &Outcome) {
        let run = self.queues.run_of_entry(entry).map(ReleaseId);
        if let Some(record) = run.and_then(|id| self.runs.get_mut(&id)).and_then(|run| run.record.as_mut()) {
            let (status, text, peer) = (outcome.status(), outcome.text(), outcome.peer());
            let from = if peer.is_empty() { String::new() } else { format!("{peer}: ") };
            let whole = format!("{from}{status} {text}").escape_debug().to_string();
            record.last_text = bounded(&whole).to_owned();
        }
    }

    /// A run is over, and so is its release.
    pub(crate) fn release_over(&mut self, run: Run, tally: Tally, why: End, now: Time) {
        let Some(mut record) = run.record else { return };
        record.tally = tally;
        record.ended = Some((now, why));
        self.write_note(Kind::Release, &record.encode(), Durability::Lazy, None);
        let ReleaseRecord { id, ref site, ref last_text, .. } = *record;
        let Tally { joined, delivered, deferred, bounced, left, .. } = tally;
        tracing::info!(
            %id,
            site,
            why = %why,
            promised = record.promised.messages,
            joined = joined.messages,
            delivered = delivered.messages,
            deferred = deferred.messages,
            bounced = bounced.messages,
            left_over = left.messages,
            bytes = delivered.bytes,
            last_text,
            "release is over"
        );
        self.records.keep(&record);
        for done in self.waiting_for.remove(&id).unwrap_or_default() {
            done(Some((*record).clone()));
        }
    }

    /// The records of releases under way, as they are now.
    pub(crate) fn live_records(&self) -> impl Iterator<Item = ReleaseRecord> {
        self.runs.iter().filter_map(|(&id, _)| self.live_record(id))
    }

    fn live_record(&self, id: ReleaseId) -> Option<ReleaseRecord> {
        let record = self.runs.get(&id)?.record.as_deref()?;
        let tally = self.queues.tally(id.0).unwrap_or(record.tally);
        Some(ReleaseRecord { tally, ..record.clone() })
    }

    pub(crate) fn release_record(&self, id: ReleaseId) -> Option<ReleaseRecord> {
        self.live_record(id).or_else(|| self.records.get(id))
    }

    pub(crate) fn list_releases(&self, site: Option<&str>, limit: usize) -> Vec<ReleaseRecord> {
        let mut list: Vec<ReleaseRecord> =
            self.live_records().filter(|record| site.is_none_or(|site| record.site == site)).collect();
        list.extend(self.records.list(site, limit));
        list.sort_unstable_by_key(|record| std::cmp::Reverse(record.id));
        list.truncate(limit);
        list
    }

    pub(crate) fn await_release(&mut self, id: ReleaseId, done: Answer<Option<ReleaseRecord>>) {
        let record = self.release_record(id);
        let joined = record.as_ref().filter(|record| matches!(record.ended, Some((_, End::Joined))));
        let id = joined.and_then(|record| record.with.first().copied()).unwrap_or(id);
        let record = self.release_record(id).or(record);
        let is_over = record.as_ref().is_none_or(|record| record.ended.is_some());
        if is_over || self.waiting_for.len() >= WAITING_MAX {
            return done(record);
        }
        self.waiting_for.entry(id).or_default().push(done);
    }

    /// Takes up the records of an earlier run, once the queue is as the spool has it.
    pub(crate) fn recover_releases(&mut self, now: Time) {
        let found = std::mem::take(&mut self.found_releases);
        let wanted = found.messages();
        let mut open: HashMap<u64, u64> = HashMap::new();
        if !wanted.is_empty() {
            for (key, message) in self.queues.messages().filter(|(_, message)| wanted.contains(&message.id.0))
            {
                let recipients = self.queues.entries_of(key).map(|entry| self.queues.recipients(entry)).sum();
                open.insert(message.id.0, recipients);
            }
        }
        for record in found.finish(now, |message| open.get(&message).copied().unwrap_or(0)) {
            self.last_release = self.last_release.max(record.id);
            if record.ended == Some((now, End::Interrupted)) {
                tracing::warn!(id = %record.id, left_over = record.tally.left.messages, "a release was cut off when the hub ended");
                self.write_note(Kind::Release, &record.encode(), Durability::Lazy, None);
            }
            self.records.keep(&record);
        }
    }

    /// The hub stops: what is under way is over.
    pub(crate) fn stop_releases(&mut self, now: Time) {
        self.note_ended_runs(now);
        for (id, run) in std::mem::take(&mut self.runs) {
            if let Some(mut tally) = self.queues.tally(id.0) {
                tally.close();
                self.release_over(run, tally, End::Stopped, now);
            }
        }
    }
}
