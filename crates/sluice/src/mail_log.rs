//! The mail log: records of messages on channels with `logging`, in files, a line each.
//!
//! Records come as `tracing` events (target `sluice::record`), whichever crate and thread writes them. Here they get their
//! time, and go to a thread that appends them and begins a file for each day. Nobody waits for that thread: it has room for
//! some lines, and says what it had to drop. `docs/internals/mail-log-format.md` has files and lines.
//!
//! # Not here
//! What a record says (`dispatch`), and the ordinary log, which has them too (`log`).

mod files;
pub(crate) mod reading;

use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use sluice_mail::Time;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use self::files::Files;

/// What the events of records have as target.
pub(crate) const TARGET: &str = "sluice::record";

/// Lines that wait for the disk; they take some 20 MB. A burst of several seconds, or moving a day's file, fits.
const LINES_WAITING: usize = 65_536;

/// Octets that are written at once.
const BATCH: usize = 1 << 20;

/// Stands in the place of an id.
const NO_ID: &str = "----------------";

/// The log of this process. One, since `tracing` has one subscriber.
static LOG: OnceLock<MailLog> = OnceLock::new();

struct MailLog {
    lines: Mutex<Option<Sender<String>>>,
    /// Lines between here and the thread.
    waiting: AtomicUsize,
    /// Lines that found no room, and were not told of yet.
    lost: AtomicU64,
    /// Nothing is ever sent: its other end goes with the thread. `None`: there is none.
    thread: Mutex<Option<Receiver<()>>>,
}

/// From now on records are kept in that folder.
pub(crate) fn open(folder: &Path) {
    let (sender, receiver) = mpsc::channel();
    let log = MailLog {
        lines: Mutex::new(Some(sender)),
        waiting: AtomicUsize::new(0),
        lost: AtomicU64::new(0),
        thread: Mutex::new(None),
    };
    if LOG.set(log).is_err() {
        return;
    }
    let files = Files::new(folder);
    let (running, ended) = mpsc::channel::<()>();
    let thread = move || {
        // Dropped by a panic too, which is in the log already, by its hook.
        let _running = running;
        keep(files, &receiver);
    };
    match std::thread::Builder::new().name("mail-log".to_owned()).spawn(thread) {
        Ok(_) => *LOG.wait().thread.lock() = Some(ended),
        Err(error) => {
            LOG.wait().lines.lock().take();
            tracing::error!(%error, "no thread for the mail log; records are in this log only");
        }
    }
}

/// Waits until everything is written, or for that long; nothing is kept any more.
pub(crate) fn close(within: Duration) {
    let Some(log) = LOG.get() else { return };
    if let Some(left) = log.close(within) {
        tracing::error!(
            records = left,
            "the disk of the mail log does not answer; records that it may not have are in this log only"
        );
    }
}

impl MailLog {
    /// How many lines may not be written, where the time was not enough.
    fn close(&self, within: Duration) -> Option<usize> {
        self.lines.lock().take();
        let ended = self.thread.lock().take()?;
        match ended.recv_timeout(within) {
            Err(RecvTimeoutError::Timeout) => Some(self.waiting.load(Ordering::Relaxed)),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}

/// Appends what comes, in batches, until nobody can write any more.
fn keep(mut files: Files, lines: &Receiver<String>) {
    while let Ok(first) = lines.recv() {
        let day = files::day(&first).to_owned();
        let (mut batch, mut count, mut next) = (first, 1usize, None);
        while batch.len() < BATCH {
            match lines.try_recv() {
                Ok(line) if files::day(&line) == day => {
                    batch.push_str(&line);
                    count += 1;
                }
                Ok(line) => {
                    next = Some(line);
                    break;
                }
                Err(_) => break,
            }
        }
        let taken = count + usize::from(next.is_some());
        for (batch, count) in [Some((batch, count)), next.map(|line| (line, 1))].into_iter().flatten() {
            if let Err(error) = files.append(&batch) {
                tracing::error!(
                    error = format!("{error:#}"),
                    records = count,
                    "records are lost to the mail log"
                );
            }
        }
        let Some(log) = LOG.get() else { continue };
        log.waiting.fetch_sub(taken, Ordering::Relaxed);
        let lost = log.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::error!(records = lost, "the mail log could not keep up; records are in this log only");
        }
    }
}

/// Takes the records out of what is logged.
pub(crate) struct Records;

impl<S: Subscriber> Layer<S> for Records {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(log) = LOG.get() else { return };
        let mut record = Record::default();
        event.record(&mut record);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let id = if record.id.is_empty() { NO_ID } else { &record.id };
        let line = format!("{} {id} {}\n", files::stamp(Time(millis)), record.text);
        let lines = log.lines.lock();
        let Some(lines) = lines.as_ref() else { return };
        if log.waiting.load(Ordering::Relaxed) >= LINES_WAITING {
            log.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            log.waiting.fetch_add(1, Ordering::Relaxed);
            // Fails only when the thread has ended by a panic, which the ordinary log has.
            let _ = lines.send(line);
        }
    }
}

/// The fields of an event.
#[derive(Default)]
struct Record {
    id: String,
    text: String,
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "id" => write!(self.id, "{value:?}"),
            "message" => write!(self.text, "{value:?}"),
            _ => Ok(()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_does_not_answer_holds_up_no_stop() {
        let log = |thread| MailLog {
            lines: Mutex::default(),
            waiting: AtomicUsize::new(3),
            lost: AtomicU64::new(0),
            thread: Mutex::new(thread),
        };
        let (running, ended) = mpsc::channel();
        assert_eq!(log(Some(ended)).close(Duration::from_millis(10)), Some(3));
        drop(running);
        let (running, ended) = mpsc::channel();
        let thread = std::thread::spawn(move || drop(running));
        assert_eq!(log(Some(ended)).close(Duration::from_secs(600)), None);
        thread.join().unwrap();
        assert_eq!(log(None).close(Duration::from_secs(600)), None);
    }
}
