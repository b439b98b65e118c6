//! One batch that has been copied to our own disk, from beginning to end.
//!
//! It is read twice: first to see that it is whole, makes sense and keeps to the limits, so that half a batch has no effect; then message by
//! message. When it has been seen to be whole its record begins with the line `whole`. After each message a line is appended to its record and synced: `12` for a message that is done, `12 3` for its
//! recipient 3 while others have to wait. A crash doubles at most the message whose line was not written yet.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use flate2::read::MultiGzDecoder;
use sluice_mail::Wishes;
use sluice_mail::notice::Action;
use sluice_sdk::{Level, Log, NotTaken, Outcome, Submission, Worker};

use crate::text::{Limits, Parcel, Reader, To, Unreadable};
use crate::told;

/// Room in which files are read.
const BUFFER: usize = 64 << 10;
/// The first octets of what gzip has written.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A batch to be brought in.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    /// The batch, as it was on the carrier, joined.
    pub(crate) batch: &'a Path,
    /// Where its record is.
    pub(crate) record: PathBuf,
    /// Its name, for people.
    pub(crate) name: &'a str,
    /// How many messages it must have, where that is known.
    pub(crate) messages: Option<u64>,
    pub(crate) limits: Limits,
    /// Our own name.
    pub(crate) host: &'a str,
    pub(crate) log: Log,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    /// It is not done, and nothing stands in its way.
    More,
    Later(String),
    Bad(String),
    /// The worker's time is over.
    Gone,
}

impl Work<'_> {
    /// Brings in what has not been brought in, for as long as until then.
    pub(crate) fn go_on(&self, worker: &Worker<'_>, until: Instant) -> Fate {
        let mut record = match Record::open(&self.record) {
            Ok(record) => record,
            Err(error) => return Fate::Later(format!("cannot open {}: {error}", self.record.display())),
        };
        if record.is_new {
            if let Err(fate) = self.check() {
                return fate;
            }
            if let Err(error) = record.checked() {
                return Fate::Later(format!("cannot write {}: {error}", self.record.display()));
            }
        }
        // It kept to the limits when it was begun, and half a batch is not given back.
        let mut reader = match self.reader(Limits { message: u64::MAX, batch: u64::MAX }) {
            Ok(reader) => reader,
            Err(error) => return Fate::Later(error.to_string()),
        };
        let mut index = 0;
        // However long it took to get here: without one message in each turn a large batch would never end.
        let mut has_brought = false;
        loop {
            match reader.next() {
                Ok(None) => return Fate::Done,
                Err(why) => return unreadable(why),
                Ok(Some(_)) if record.done.contains(&index) => {}
                Ok(Some(_)) if has_brought && Instant::now() >= until => return Fate::More,
                Ok(Some(parcel)) => {
                    has_brought = true;
                    if let Err(fate) = self.bring_in(worker, index, &parcel, &mut record) {
                        return fate;
                    }
                }
            }
            index += 1;
        }
    }

    /// Sees whether it can be taken as a whole.
    fn check(&self) -> Result<(), Fate> {
        let mut reader = self.reader(self.limits).map_err(|error| Fate::Later(error.to_string()))?;
        let mut messages = 0;
        while reader.next().map_err(unreadable)?.is_some() {
            messages += 1;
        }
        match self.messages {
            Some(wanted) if wanted != messages => {
                Err(Fate::Bad(format!("it has {messages} messages, and {wanted} by its manifest")))
            }
            _ => Ok(()),
        }
    }

    fn reader(&self, limits: Limits) -> io::Result<Reader<Box<dyn BufRead>>> {
        let mut file = BufReader::with_capacity(BUFFER, File::open(self.batch)?);
        let packed = file.fill_buf()?.starts_with(&GZIP);
        let from: Box<dyn BufRead> = match packed {
            true => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file))),
            false => Box::new(file),
        };
        Ok(Reader::new(from, limits))
    }

    /// One message.
    fn bring_in(
        &self,
        worker: &Worker<'_>,
        index: u64,
        parcel: &Parcel,
        record: &mut Record,
    ) -> Result<(), Fate> {
        let later =
            |error: io::Error| Fate::Later(format!("cannot write {}: {error}", self.record.display()));
        let open: Vec<(u64, &To)> = (0..)
            .zip(&parcel.recipients)
            .filter(|(number, _)| !record.answered.contains(&(index, *number)))
            .collect();
        let mut submission = Submission::new(parcel.sender.as_str(), [parcel.content.as_slice()]);
        if parcel.smtputf8 {
            submission = submission.smtputf8();
        }
        let Wishes { returned, envelope_id, .. } = &parcel.wishes;
        submission = submission.wishing(returned.map_or(0, |returned| returned as u8), envelope_id.as_str());
        for (_, To { address, wishes }) in &open {
            submission =
                submission.to_notifying(address.as_str(), wishes.notify.bits(), wishes.original.as_str());
        }
        let answers = match open.is_empty() {
            true => Vec::new(),
            false => worker.enqueue(&submission).map_err(|error| self.not_taken(error, index))?,
        };
        let (mut refused, mut taken, mut waiting) = (Vec::new(), Vec::new(), None);
        for ((number, recipient), answer) in open.iter().zip(answers) {
            match answer {
                Outcome::Delivered { .. } => taken.push(*number),
                Outcome::Failed { .. } => refused.push((*number, *recipient, answer)),
                Outcome::Deferred { status, text, .. } => {
                    waiting = Some(format!(
                        "message {}: {} is deferred: {status} {text}",
                        index + 1,
                        recipient.address
                    ));
                }
            }
        }
        // Whoever was taken stays taken, even if the notice about another has to wait.
        if waiting.is_some() || !refused.is_empty() {
            record.answer(index, &taken).map_err(later)?;
        }
        if !refused.is_empty() {
            let about: Vec<(&To, Outcome)> =
                refused.iter().map(|(_, recipient, outcome)| (*recipient, outcome.clone())).collect();
            self.tell(worker, index, parcel, &about)?;
            let numbers: Vec<u64> = refused.iter().map(|(number, ..)| *number).collect();
            if waiting.is_some() {
                record.answer(index, &numbers).map_err(later)?;
            }
        }
        match waiting {
            Some(why) => Err(Fate::Later(why)),
            None => record.finish(index).map_err(later),
        }
    }

    fn not_taken(&self, error: NotTaken, index: u64) -> Fate {
        match error {
            NotTaken::Gone => Fate::Gone,
            error => Fate::Later(format!("message {}: {error}", index + 1)),
        }
    }

    /// Sends the sender a notice about recipients who were refused. There is none for the null reverse-path, nor about a recipient of whom
    /// the sender wants to hear nothing.
    fn tell(
        &self,
        worker: &Worker<'_>,
        index: u64,
        parcel: &Parcel,
        refused: &[(&To, Outcome)],
    ) -> Result<(), Fate> {
        for (recipient, outcome) in refused {
            let text = format!(
                "batch {}, message {} from <{}>: {} is refused: {} {}",
                self.name,
                index + 1,
                parcel.sender,
                recipient.address,
                outcome.status(),
                outcome.text()
            );
            self.log.write(Level::Warn, &text);
        }
        let wants = |(to, _): &&(&To, Outcome)| to.wishes.notify.wants(Action::Failed);
        let refused: Vec<(&To, Outcome)> = refused.iter().filter(wants).cloned().collect();
        if parcel.sender.is_empty() || refused.is_empty() {
            return Ok(());
        }
        let content = told::notice(self.host, &format!("{}.{index}", self.name), parcel, &refused);
        let mut notice = Submission::new("", [content.as_slice()]).to(parcel.sender.as_str());
        if !parcel.sender.is_ascii() {
            notice = notice.smtputf8();
        }
        let answers = worker.enqueue(&notice).map_err(|error| self.not_taken(error, index))?;
        match answers.first() {
            Some(Outcome::Deferred { status, text, .. }) => {
                Err(Fate::Later(format!("the notice to {}: {status} {text}", parcel.sender)))
            }
            Some(Outcome::Failed { status, text, .. }) => {
                // Nobody is left who could be told, but the operator.
                let text = format!("the notice to {} cannot be sent: {status} {text}", parcel.sender);
                self.log.write(Level::Error, &text);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn unreadable(why: Unreadable) -> Fate {
    match why {
        Unreadable::Bad(..) | Unreadable::Ends(..) => Fate::Bad(why.to_string()),
        // What is compressed and cannot be read was damaged before it came here.
        Unreadable::Failed(error) => match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Fate::Bad(format!("its compression is broken: {error}"))
            }
            _ => Fate::Later(error.to_string()),
        },
    }
}

/// How far a batch has been brought in.
#[derive(Debug)]
struct Record {
    file: File,
    is_new: bool,
    done: HashSet<u64>,
    /// Message and recipient.
    answered: HashSet<(u64, u64)>,
}

impl Record {
    fn open(path: &Path) -> io::Result<Record> {
        let mut text = Vec::new();
        match File::open(path) {
            Ok(mut file) => {
                file.read_to_end(&mut text)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut record = Record {
            file: OpenOptions::new().create(true).append(true).mode(0o600).open(path)?,
            is_new: text.is_empty(),
            done: HashSet::new(),
            answered: HashSet::new(),
        };
        if let Some(folder) = path.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        // A line without its end was being written at a crash: it does not count.
        let whole = text.iter().rposition(|&octet| octet == b'\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            record.file.set_len(whole as u64)?;
        }
        for line in String::from_utf8_lossy(&text[..whole]).lines() {
            let mut numbers = line.split(' ').map(str::parse::<u64>);
            let _ = match (numbers.next(), numbers.next()) {
                (Some(Ok(message)), None) => record.done.insert(message),
                (Some(Ok(message)), Some(Ok(recipient))) => record.answered.insert((message, recipient)),
                // The line `whole`; nothing else is ever written.
                _ => false,
            };
        }
        Ok(record)
    }

    /// It has been seen to be whole, which need not be seen again.
    fn checked(&mut self) -> io::Result<()> {
        self.is_new = false;
        self.file.write_all(b"whole\n")?;
        self.file.sync_data()
    }

    fn finish(&mut self, message: u64) -> io::Result<()> {
        self.done.insert(message);
        self.file.write_all(format!("{message}\n").as_bytes())?;
        self.file.sync_data()
    }

    fn answer(&mut self, message: u64, recipients: &[u64]) -> io::Result<()> {
        if recipients.is_empty() {
            return Ok(());
        }
        let lines: String = recipients.iter().map(|recipient| format!("{message} {recipient}\n")).collect();
        self.answered.extend(recipients.iter().map(|recipient| (message, *recipient)));
        self.file.write_all(lines.as_bytes())?;
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_far_as_it_was_written() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("record");
        let mut record = Record::open(&path).unwrap();
        assert!(record.is_new);
        record.checked().unwrap();
        assert!(
            !Record::open(&path).unwrap().is_new,
            "what was seen to be whole is not looked through again"
        );
        record.finish(0).unwrap();
        record.answer(1, &[0, 2]).unwrap();
        drop(record);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        // A crash in the middle of a line, which would be read as message 1.
        file.write_all(b"1").unwrap();
        drop(file);
        let mut record = Record::open(&path).unwrap();
        assert!(!record.is_new && record.done == HashSet::from([0]));
        assert_eq!(record.answered, HashSet::from([(1, 0), (1, 2)]));
        record.finish(7).unwrap();
        assert_eq!(Record::open(&path).unwrap().done, HashSet::from([0, 7]));
    }
}
