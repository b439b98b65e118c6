//! Records of releases: who asked for what, what was promised, and what came of it.
//!
//! Every release of something that is ours leaves a record. While its run goes the record is with the run; when it is over
//! the record is kept as it is journalled (`docs/internals/notes-format.md`, kind 2), a hundred octets or so. The newest
//! are kept (RELEASE_RECORDS), and of each site the last ones however old they are (RELEASE_RECORDS_PER_SITE).
//!
//! # What is counted is what is journalled
//! Before a settlement is journalled goes a note with the sums as they are after it, and with the number of recipients that
//! its message has open then. The journal is cut by a crash in one place, so the next start finds either both, or the note
//! alone; and then the message has more recipients open than the note says, and the sums before it count. A recipient that
//! the far side took without that being journalled is therefore left over, and is delivered again: counted once.
//!
//! # Not here
//! The sums themselves (`sluice_queue`), when a run ends (`runs`).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;

use sluice_mail::Time;
use sluice_queue::{Count, Tally};

use crate::notes::{Bytes, NoteError};
use crate::order::ReleaseId;

/// Longest text in a record, in octets: what a stranger said, what a peer answered, what was named.
const TEXT_MAX: usize = 300;
/// Other releases that a record points to.
const WITH_MAX: usize = 16;

/// First byte of a note of this kind.
const WHOLE: u8 = 1;
const PROGRESS: u8 = 2;

/// A release, and what has come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRecord {
    /// Its id.
    pub id: ReleaseId,
    /// When it was asked for.
    pub asked: Time,
    /// How: `etrn`, `atrn`, `operator`, `schedule`.
    pub by: String,
    /// The site it was for.
    pub site: String,
    /// As whom the peer had logged in.
    pub login: String,
    /// The peer's address.
    pub address: String,
    /// What it called itself, escaped.
    pub helo: String,
    /// The channel of its session.
    pub channel: String,
    /// What it asked for, as it was typed, escaped.
    pub argument: String,
    /// What was released.
    pub covers: String,
    /// Which way the mail went.
    pub way: String,
    /// What was answered: all that was covered at that moment.
    pub promised: Count,
    /// The part of it that was on its way under other releases, which count it.
    pub elsewhere: Count,
    /// Those releases.
    pub with: Vec<ReleaseId>,
    /// What has come of the rest. Its `promised` is that rest.
    pub tally: Tally,
    /// What was said last of a recipient that was put off or failed.
    pub last_text: String,
    /// When it was over, and why. `None`: it is not.
    pub ended: Option<(Time, End)>,
}

/// Why a release is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything has been tried.
    Done = 1,
    /// Nothing was waiting.
    Nothing = 2,
    /// All of it was on its way already: the release that it has joined counts it.
    Joined = 3,
    /// Another release has taken over what was left.
    TakenOver = 4,
    /// The connection that the site had opened failed.
    ConnectionLost = 5,
    /// The site's session was over.
    SessionOver = 6,
    /// The hub was stopped.
    Stopped = 7,
    /// The hub ended without a word; what was not journalled as settled is left over, and will be delivered again.
    Interrupted = 8,
    /// A channel could not be started, and everything else has been tried.
    CannotStart = 9,
}

impl End {
    const ALL: [End; 9] = [
        End::Done,
        End::Nothing,
        End::Joined,
        End::TakenOver,
        End::ConnectionLost,
        End::SessionOver,
        End::Stopped,
        End::Interrupted,
        End::CannotStart,
    ];
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            End::Done => "everything was tried",
            End::Nothing => "nothing was waiting",
            End::Joined => "joined a release under way",
            End::TakenOver => "taken over by another release",
            End::ConnectionLost => "the turned connection failed",
            End::SessionOver => "the session was over",
            End::Stopped => "the hub was stopped",
            End::Interrupted => "the hub ended suddenly; what was under way is left over",
            End::CannotStart => "a channel could not be started",
        })
    }
}

impl ReleaseRecord {
    /// What was promised is somewhere: `promised + joined` equals the sum of what became of it. Messages that are in part
    /// elsewhere count here.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        let mut told = self.tally.promised;
        told += self.elsewhere;
        self.tally.is_balanced() && told.recipients == self.promised.recipients
    }

    /// The record as the body of a note.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![WHOLE];
        number(&mut out, self.id.0);
        number(&mut out, self.asked.0);
        let (ended, why) = self.ended.map_or((0, 0), |(at, why)| (at.0, why as u8));
        out.push(why);
        number(&mut out, ended);
        let texts = [
            &self.by,
            &self.site,
            &self.login,
            &self.address,
            &self.helo,
            &self.channel,
            &self.argument,
            &self.covers,
            &self.way,
            &self.last_text,
        ];
        for text in texts {
            let text = bounded(text);
            number(&mut out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        let with = &self.with[..self.with.len().min(WITH_MAX)];
        number(&mut out, with.len() as u64);
        with.iter().for_each(|id| number(&mut out, id.0));
        count(&mut out, self.promised);
        count(&mut out, self.elsewhere);
        tally(&mut out, &self.tally);
        out
    }

    fn decode(bytes: &mut Bytes<'_>) -> Result<Self, NoteError> {
        let (id, asked) = (ReleaseId(read_number(bytes)?), Time(read_number(bytes)?));
        let [why] = bytes.array()?;
        let ended = Time(read_number(bytes)?);
        let ended = match why {
            0 => None,
            why => Some((
                ended,
                End::ALL.into_iter().find(|end| *end as u8 == why).ok_or(NoteError::Flags(why))?,
            )),
        };
        let mut text = || {
            let length = u16::try_from(read_number(bytes)?).map_err(|_| NoteError::Short)?;
            bytes.text(length)
        };
        let (by, site, login, address, helo) = (text()?, text()?, text()?, text()?, text()?);
        let (channel, argument, covers, way, last_text) = (text()?, text()?, text()?, text()?, text()?);
        let mut with = Vec::new();
        for _ in 0..read_number(bytes)?.min(WITH_MAX as u64) {
            with.push(ReleaseId(read_number(bytes)?));
        }
        let (promised, elsewhere) = (read_count(bytes)?, read_count(bytes)?);
        let tally = read_tally(bytes)?;
        Ok(Self {
            id,
            asked,
            by,
            site,
            login,
            address,
            helo,
            channel,
            argument,
            covers,
            way,
            promised,
            elsewhere,
            with,
            tally,
            last_text,
            ended,
        })
    }
}

/// What goes into the journal before a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) id: ReleaseId,
    /// The message that is about to be settled, and how many recipients it has open after that.
    pub(crate) message: u64,
    pub(crate) open: u64,
    /// The sums after it.
    pub(crate) tally: Tally,
}

impl Progress {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![PROGRESS];
        number(&mut out, self.id.0);
        number(&mut out, self.message);
        number(&mut out, self.open);
        tally(&mut out, &self.tally);
        out
    }

    fn decode(bytes: &mut Bytes<'_>) -> Result<Self, NoteError> {
        Ok(Self {
            id: ReleaseId(read_number(bytes)?),
            message: read_number(bytes)?,
            open: read_number(bytes)?,
            tally: read_tally(bytes)?,
        })
    }
}

/// Releases as the notes of an earlier run tell of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FoundReleases {
    /// The last whole record of each, with what was noted of it since: the last two.
    found: BTreeMap<ReleaseId, (ReleaseRecord, Option<Progress>, Option<Progress>)>,
}

impl FoundReleases {
    /// Takes in the body of a note.
    pub(crate) fn add(&mut self, body: &[u8]) -> Result<(), NoteError> {
        let mut bytes = Bytes(body);
        let [what] = bytes.array()?;
        match what {
            WHOLE => {
                let record = ReleaseRecord::decode(&mut bytes)?;
                bytes.end()?;
                self.found.insert(record.id, (record, None, None));
            }
            PROGRESS => {
                let progress = Progress::decode(&mut bytes)?;
                bytes.end()?;
                // Its beginning may have been passed over as damaged: there is nothing to count for then.
                if let Some((record, before, last)) = self.found.get_mut(&progress.id)
                    && record.ended.is_none()
                {
                    *before = last.replace(progress);
                }
            }
            other => return Err(NoteError::Flags(other)),
        }
        Ok(())
    }

    /// Messages of which it has to be known how many recipients they have open.
    pub(crate) fn messages(&self) -> HashSet<u64> {
        self.found.values().filter_map(|(_, _, last)| last.map(|last| last.message)).collect()
    }

    /// The records, oldest first. Those that were under way are over; `open` says how many recipients a message has
    /// open now.
    pub(crate) fn finish(self, now: Time, open: impl Fn(u64) -> u64) -> Vec<ReleaseRecord> {
        let ended = |(mut record, before, last): (ReleaseRecord, Option<Progress>, Option<Progress>)| {
            if record.ended.is_none() {
                let counts = last.filter(|last| open(last.message) <= last.open).or(before);
                if let Some(progress) = counts {
                    record.tally = progress.tally;
                }
                record.tally.close();
                record.ended = Some((now, End::Interrupted));
            }
            record
        };
        self.found.into_values().map(ended).collect()
    }
}

/// How many records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The newest, whoever asked.
    pub(crate) newest: usize,
    /// The last of each site.
    pub(crate) of_site: usize,
}

/// The records of releases that are over.
#[derive(Debug)]
pub(crate) struct Records {
    kept: Kept,
    all: BTreeMap<ReleaseId, Box<[u8]>>,
    /// The newest, with the site of each. They do not end in the order in which they began.
    newest: BTreeMap<ReleaseId, Box<str>>,
    of_site: HashMap<Box<str>, VecDeque<ReleaseId>>,
}

impl Records {
    pub(crate) fn new(kept: Kept) -> Self {
        Self { kept, all: BTreeMap::new(), newest: BTreeMap::new(), of_site: HashMap::new() }
    }

    /// From now on so many are kept. Those that are too many go.
    pub(crate) fn set_kept(&mut self, kept: Kept) {
        let shrinks = kept.newest < self.kept.newest || kept.of_site < self.kept.of_site;
        self.kept = kept;
        if !shrinks {
            return;
        }
        let sites: Vec<Box<str>> = self.of_site.keys().cloned().collect();
        for site in sites {
            self.prune(&site);
        }
        self.prune("");
    }

    /// Keeps a record; older ones may have to go.
    pub(crate) fn keep(&mut self, record: &ReleaseRecord) {
        if self.all.insert(record.id, record.encode().into()).is_some() {
            return;
        }
        let site: Box<str> = record.site.as_str().into();
        self.newest.insert(record.id, site.clone());
        if !site.is_empty() {
            self.of_site.entry(site.clone()).or_default().push_back(record.id);
        }
        self.prune(&site);
    }

    /// Lets records go that are too many: of this site, and of all.
    fn prune(&mut self, site: &str) {
        let mut gone = Vec::new();
        if let Some(own) = self.of_site.get_mut(site) {
            let too_many = own.len().saturating_sub(self.kept.of_site);
            gone.extend(own.drain(..too_many).map(|id| (id, Box::from(site))));
        }
        while self.newest.len() > self.kept.newest {
            gone.extend(self.newest.pop_first());
        }
        for (id, site) in gone {
            let is_the_sites = self.of_site.get(&site).is_some_and(|own| own.contains(&id));
            if !is_the_sites && !self.newest.contains_key(&id) {
                self.all.remove(&id);
            }
        }
    }

    pub(crate) fn get(&self, id: ReleaseId) -> Option<ReleaseRecord> {
        self.all.get(&id).and_then(|bytes| read(bytes))
    }

    /// Newest first, those of one site if it is named.
    pub(crate) fn list(&self, site: Option<&str>, limit: usize) -> Vec<ReleaseRecord> {
        match site {
            None => self.all.values().rev().take(limit).filter_map(|bytes| read(bytes)).collect(),
            Some(site) => {
                let own = self.of_site.get(site);
                own.into_iter().flatten().rev().take(limit).filter_map(|&id| self.get(id)).collect()
            }
        }
    }

    /// The bodies of notes, oldest first.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        self.all.values().map(|bytes| &**bytes)
    }
}

fn read(body: &[u8]) -> Option<ReleaseRecord> {
    let mut bytes = Bytes(body.get(1..)?);
    ReleaseRecord::decode(&mut bytes).ok()
}

/// A text as it may stand in a record.
pub(crate) fn bounded(text: &str) -> &str {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Seven bits in each byte, the lowest first; the eighth says that more follow.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_number(bytes: &mut Bytes<'_>) -> Result<u64, NoteError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = bytes.array()?;
        if shift == 63 && byte > 1 {
            return Err(NoteError::Flags(byte));
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(NoteError::Short)
}

fn count(out: &mut Vec<u8>, count: Count) {
    for value in [count.messages, count.recipients, count.bytes] {
        number(out, value);
    }
}

fn read_count(bytes: &mut Bytes<'_>) -> Result<Count, NoteError> {
    Ok(Count { messages: read_number(bytes)?, recipients: read_number(bytes)?, bytes: read_number(bytes)? })
}

fn tally(out: &mut Vec<u8>, tally: &Tally) {
    let Tally { promised, joined, waiting, deferred, delivered, bounced, left } = *tally;
    for one in [promised, joined, waiting, deferred, delivered, bounced, left] {
        count(out, one);
    }
}

fn read_tally(bytes: &mut Bytes<'_>) -> Result<Tally, NoteError> {
    Ok(Tally {
        promised: read_count(bytes)?,
        joined: read_count(bytes)?,
        waiting: read_count(bytes)?,
        deferred: read_count(bytes)?,
        delivered: read_count(bytes)?,
        bounced: read_count(bytes)?,
        left: read_count(bytes)?,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn of(messages: u64, recipients: u64, bytes: u64) -> Count {
        Count { messages, recipients, bytes }
    }

    pub(crate) fn example() -> ReleaseRecord {
        ReleaseRecord {
            id: ReleaseId(1_790_000_000_001),
            asked: Time(1_790_000_000_000),
            by: "etrn".into(),
            site: "north".into(),
            login: "north".into(),
            address: "192.0.2.7".into(),
            helo: "n.example".into(),
            channel: "tcp_local".into(),
            argument: "n.example".into(),
            covers: "n.example".into(),
            way: "as configured".into(),
            promised: of(2, 3, 300),
            elsewhere: Count::default(),
            with: Vec::new(),
            tally: Tally {
                promised: of(2, 3, 300),
                delivered: of(1, 2, 200),
                left: of(1, 1, 100),
                ..Tally::default()
            },
            last_text: String::new(),
            ended: Some((Time(1_790_000_004_096), End::Done)),
        }
    }

    #[test]
    fn a_record_is_read_back_and_cut_bytes_are_none() {
        let record = ReleaseRecord { with: vec![ReleaseId(7), ReleaseId(u64::MAX)], ..example() };
        let body = record.encode();
        assert_eq!(read(&body), Some(record.clone()));
        for length in 0..body.len() {
            let mut found = FoundReleases::default();
            assert!(found.add(&body[..length]).is_err(), "{length} bytes");
        }
        let mut long = body;
        long.push(0);
        assert_eq!(FoundReleases::default().add(&long), Err(NoteError::Long(1)));
        assert_eq!(FoundReleases::default().add(&[9]), Err(NoteError::Flags(9)));
        let long_text = ReleaseRecord { argument: "\u{e9}".repeat(400), ..record };
        let back = read(&long_text.encode()).unwrap();
        assert_eq!(back.argument, "\u{e9}".repeat(TEXT_MAX / 2));
    }

    #[test]
    fn the_journal_is_believed_and_the_note_alone_is_not() {
        let begun = ReleaseRecord {
            ended: None,
            tally: Tally { promised: of(2, 3, 300), waiting: of(2, 3, 300), ..Tally::default() },
            ..example()
        };
        let after = |delivered: Count, waiting: Count| Tally {
            promised: of(2, 3, 300),
            waiting,
            delivered,
            ..Tally::default()
        };
        let first =
            Progress { id: begun.id, message: 4, open: 0, tally: after(of(1, 2, 200), of(1, 1, 100)) };
        let second =
            Progress { id: begun.id, message: 5, open: 0, tally: after(of(2, 3, 300), Count::default()) };
        let ended = |open_of_five: u64| {
            let mut found = FoundReleases::default();
            for body in [begun.encode(), first.encode(), second.encode()] {
                found.add(&body).unwrap();
            }
            let open = |message| if message == 5 { open_of_five } else { 0 };
            found.finish(Time(9), open).remove(0)
        };
        let both = ended(0);
        assert_eq!((both.tally.delivered, both.tally.left), (of(2, 3, 300), Count::default()));
        assert_eq!(both.ended, Some((Time(9), End::Interrupted)));
        let one = ended(1);
        assert_eq!((one.tally.delivered, one.tally.left), (of(1, 2, 200), of(1, 1, 100)));
        assert!(one.is_balanced() && both.is_balanced());
    }

    #[test]
    fn the_newest_are_kept_and_the_last_ten_of_each_site_however_old() {
        const NEWEST: usize = 100;
        const OF_SITE: usize = 10;
        let mut records = Records::new(Kept { newest: NEWEST, of_site: OF_SITE });
        let record =
            |id: u64, site: &str| ReleaseRecord { id: ReleaseId(id), site: site.into(), ..example() };
        (1..=15).for_each(|id| records.keep(&record(id, "quiet")));
        (16..16 + NEWEST as u64).for_each(|id| records.keep(&record(id, "")));
        let of_quiet = records.list(Some("quiet"), 100);
        assert_eq!(
            of_quiet.iter().map(|one| one.id.0).collect::<Vec<_>>(),
            (6..=15).rev().collect::<Vec<_>>()
        );
        assert_eq!(records.all.len(), NEWEST + OF_SITE);
        assert_eq!(records.get(ReleaseId(5)), None);
        (100_000..100_020).for_each(|id| records.keep(&record(id, "quiet")));
        assert_eq!(records.all.len(), NEWEST, "the old ones of the site have gone");
        assert_eq!(records.list(Some("quiet"), 100).len(), OF_SITE);
        assert_eq!(records.bodies().count(), NEWEST);
        // An operator wants fewer.
        records.set_kept(Kept { newest: 15, of_site: 3 });
        assert_eq!((records.all.len(), records.list(Some("quiet"), 100).len()), (15, 3));
        records.set_kept(Kept { newest: 2, of_site: 3 });
        assert_eq!((records.all.len(), records.list(Some("quiet"), 100).len()), (3, 3));
        records.set_kept(Kept { newest: 100, of_site: 10 });
        records.keep(&record(200_000, "quiet"));
        assert_eq!((records.all.len(), records.list(Some("quiet"), 100).len()), (4, 4));
        // They do not end in the order in which they began.
        let mut records = Records::new(Kept { newest: 3, of_site: 1 });
        for (id, site) in [(9, ""), (1, ""), (8, "quiet"), (2, "quiet"), (7, ""), (3, ""), (6, "quiet")] {
            records.keep(&record(id, site));
        }
        let kept: Vec<u64> = records.list(None, 100).iter().map(|one| one.id.0).collect();
        assert_eq!(kept, [9, 8, 7, 6], "the three newest, and the last of the site");
        (10..13).for_each(|id| records.keep(&record(id, "")));
        assert_eq!(records.all.len(), 4);
        assert!(example().encode().len() < 160, "{}", example().encode().len());
    }
}
