//! The files of the mail log: today's, yesterday's, and all before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sluice_mail::{Time, rfc3339};

/// Their names, the oldest lines first.
pub(super) const NAMES: [&str; 3] = ["mail.log", "mail.log_yesterday", "mail.log_current"];

/// Octets of a line up to the id, and of the day in it.
pub(super) const STAMP_LEN: usize = 24;
const DAY_LEN: usize = 11;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time as it begins a line: `02-Dec-2026 09:15:07.042`, UTC.
pub(super) fn stamp(time: Time) -> String {
    let text = rfc3339(time);
    let (day, rest) = text.split_once('T').unwrap_or_default();
    let mut parts = day.split('-');
    let (year, month, day) =
        (parts.next().unwrap_or("0000"), parts.next().unwrap_or("01"), parts.next().unwrap_or("01"));
    let month = month.parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    let (month, clock) = (month.copied().unwrap_or(MONTHS[0]), rest.trim_end_matches('Z'));
    format!("{day}-{month}-{year} {clock}.{:03}", time.0 % 1000)
}

/// The same as RFC 3339 has it. `None` for what is no such text.
pub(super) fn as_rfc3339(stamp: &str) -> Option<String> {
    let (day, clock) = stamp.split_once(' ')?;
    let mut parts = day.split('-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    let text = format!("{year}-{month:02}-{day}T{clock}Z");
    sluice_mail::rfc3339_time(&text).map(|_| text)
}

/// The day of a line.
pub(super) fn day(line: &str) -> &str {
    line.get(..DAY_LEN).unwrap_or_default()
}

/// The folder and the file of today.
pub(super) struct Files {
    folder: PathBuf,
    current: Option<Current>,
    /// The last day that could not be begun, whose lines stand behind those of the day before. Empty: none.
    not_begun: String,
}

struct Current {
    file: File,
    day: String,
}

impl Files {
    /// Nothing is made before there is a line.
    pub(super) fn new(folder: &Path) -> Files {
        Files { folder: folder.to_owned(), current: None, not_begun: String::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Appends lines of one day. Where that day cannot begin a file, it is said once, and they stay in the present one until the
    /// next day, or the next start.
    pub(super) fn append(&mut self, lines: &str) -> anyhow::Result<()> {
        let (path, day) = (self.path(NAMES[2]), day(lines).to_owned());
        if !self.current.as_ref().is_some_and(|current| is_at(&current.file, &path)) {
            self.current = None;
        }
        let current = match self.current.take() {
            Some(current) => current,
            None => self.open(&path, &day)?,
        };
        // A clock that is set back begins no other file.
        let mut current = if later(&day, &current.day) && later(&day, &self.not_begun) {
            match self.turn() {
                Ok(()) => self.open(&path, &day)?,
                Err(error) => {
                    tracing::error!(%error, folder = %self.folder.display(), day, "the mail log cannot begin a file for a new day; it goes on in the present one");
                    self.not_begun = day;
                    current
                }
            }
        } else {
            current
        };
        let written = current.file.write_all(lines.as_bytes());
        // What has failed may have left half a line, which is ended when the file is opened again.
        if written.is_ok() {
            self.current = Some(current);
        }
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    fn open(&self, path: &Path, today: &str) -> anyhow::Result<Current> {
        let open = || {
            fs::DirBuilder::new().recursive(true).mode(0o750).create(&self.folder)?;
            OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
        };
        let mut file = open().with_context(|| format!("cannot open {}", path.display()))?;
        let mut first = [0; DAY_LEN];
        let day = match file.read_exact(&mut first) {
            Ok(()) => String::from_utf8_lossy(&first).into_owned(),
            Err(_) => today.to_owned(),
        };
        // A day that is none would never end.
        let day = if as_number(&day).is_some() { day } else { today.to_owned() };
        mend_last_line(&mut file).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Current { file, day })
    }

    /// Yesterday's lines go to all before, and today's become yesterday's. When that is stopped in between, lines may stand in two
    /// files; none are lost.
    fn turn(&self) -> io::Result<()> {
        let [all, yesterday, current] = NAMES.map(|name| self.path(name));
        match File::open(&yesterday) {
            Ok(mut from) => {
                if all.try_exists()? {
                    add(&mut from, &mut OpenOptions::new().append(true).open(&all)?)?;
                    fs::remove_file(&yesterday)?;
                } else {
                    fs::rename(&yesterday, &all)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        match fs::rename(&current, &yesterday) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// Adds all of one to the end of another, where it is then on the disk; or else nothing.
fn add(from: &mut impl io::Read, to: &mut File) -> io::Result<()> {
    let before = to.metadata()?.len();
    let added = io::copy(from, to).and_then(|_| to.sync_data());
    if added.is_err() {
        // Where this fails too, lines stand in two files, as after a crash.
        let _ = to.set_len(before);
    }
    added
}

/// Whether a path still leads to the file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(file), Ok(path)) = (file.metadata(), fs::metadata(path)) else { return false };
    (file.dev(), file.ino()) == (path.dev(), path.ino())
}

/// Ends a line that a crash has cut off.
fn mend_last_line(file: &mut File) -> io::Result<()> {
    use std::io::{Seek as _, SeekFrom};
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

/// Whether one day is after another.
fn later(one: &str, other: &str) -> bool {
    as_number(one) > as_number(other)
}

fn as_number(day: &str) -> Option<String> {
    as_rfc3339(&format!("{day} 00:00:00.000"))
}

/// Reads a file line by line. What is longer than any record of ours comes in pieces, so that a foreign file costs no memory.
pub(super) fn lines_of(file: File, mut line: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    const LINE_MAX: u64 = 64 << 10;
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        if (&mut reader).take(LINE_MAX).read_until(b'\n', &mut buffer)? == 0 || !line(buffer.trim_ascii_end())
        {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: u64, text: &str) -> String {
        format!("{} {text}\n", stamp(Time(time)))
    }

    const DAY: u64 = 86_400_000;
    /// 2 December 2026, 09:15:07.042.
    const NOON: u64 = 1_796_202_907_042;

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap_or_default()
    }

    #[test]
    fn times_are_written_and_read_back() {
        assert_eq!(stamp(Time(NOON)), "02-Dec-2026 09:15:07.042");
        assert_eq!(stamp(Time(NOON)).len(), STAMP_LEN);
        assert_eq!(as_rfc3339("02-Dec-2026 09:15:07.042").as_deref(), Some("2026-12-02T09:15:07.042Z"));
        for wrong in ["", "02-Dez-2026 09:15:07.042", "02-Dec-2026", "02-Dec-2026 9:15", "x-Dec-y z"] {
            assert_eq!(as_rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_day_has_its_file_and_older_ones_are_gathered() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("log");
        let mut files = Files::new(&place);
        assert!(!place.exists());
        let [one, two, three, four] = [0, 1, 2, 9].map(|days| line(NOON + days * DAY, &days.to_string()));
        files.append(&one).unwrap();
        files.append(&two).unwrap();
        assert_eq!([read(&place, NAMES[1]), read(&place, NAMES[2])], [one.clone(), two.clone()]);
        // Also by a hub that was not there the day before.
        let mut files = Files::new(&place);
        files.append(&three).unwrap();
        files.append(&line(NOON, "the clock was set back")).unwrap();
        files.append(&four).unwrap();
        assert_eq!(read(&place, NAMES[0]), [one, two].concat());
        assert!(read(&place, NAMES[1]).starts_with(&three), "{}", read(&place, NAMES[1]));
        assert_eq!(read(&place, NAMES[2]), four);
    }

    #[test]
    fn a_file_that_is_moved_is_begun_anew_and_a_line_cut_off_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::new(folder.path());
        files.append(&line(NOON, "one")).unwrap();
        fs::rename(folder.path().join(NAMES[2]), folder.path().join("moved")).unwrap();
        files.append(&line(NOON, "two")).unwrap();
        assert_eq!(read(folder.path(), NAMES[2]), line(NOON, "two"));
        fs::write(folder.path().join(NAMES[2]), "02-Dec-2026 09:1").unwrap();
        let mut files = Files::new(folder.path());
        files.append(&line(NOON, "three")).unwrap();
        assert_eq!(read(folder.path(), NAMES[2]), format!("02-Dec-2026 09:1\n{}", line(NOON, "three")));
    }

    #[test]
    fn what_does_not_fit_behind_older_lines_leaves_nothing_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all");
        fs::write(&path, "older\n").unwrap();
        let mut to = OpenOptions::new().append(true).open(&path).unwrap();
        let half = "half of yester";
        // A folder cannot be read: the error comes after some octets went over.
        let mut from = half.as_bytes().chain(File::open(folder.path()).unwrap());
        add(&mut from, &mut to).unwrap_err();
        assert_eq!(read(folder.path(), "all"), "older\n");
        add(&mut "yesterday\n".as_bytes(), &mut to).unwrap();
        assert_eq!(read(folder.path(), "all"), "older\nyesterday\n");
    }

    #[test]
    fn a_day_that_cannot_begin_a_file_is_written_to_the_present_one() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        let mut files = Files::new(place);
        let [one, two, three, more, four] = [(0, "1"), (1, "2"), (2, "3"), (2, "more"), (3, "4")]
            .map(|(days, text)| line(NOON + days * DAY, text));
        files.append(&one).unwrap();
        files.append(&two).unwrap();
        std::os::unix::fs::symlink("/dev/full", place.join(NAMES[0])).unwrap();
        files.append(&three).unwrap();
        assert_eq!((read(place, NAMES[1]), read(place, NAMES[2])), (one.clone(), [&*two, &three].concat()));
        // There is room again: that is seen on the next day.
        fs::remove_file(place.join(NAMES[0])).unwrap();
        files.append(&more).unwrap();
        assert_eq!(read(place, NAMES[2]), [&*two, &three, &more].concat());
        files.append(&four).unwrap();
        let all = NAMES.map(|name| read(place, name));
        assert_eq!(all, [one, [two, three, more].concat(), four]);
    }

    #[test]
    fn half_a_line_of_a_write_that_failed_is_ended_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAMES[2]);
        let mut files = Files::new(folder.path());
        let [one, two, three] = ["one", "two", "three"].map(|text| line(NOON, text));
        files.append(&one).unwrap();
        // Stands for a disk that is full in the middle of a line.
        let half = &two[..two.len() / 2];
        files.current.as_mut().unwrap().file.write_all(half.as_bytes()).unwrap();
        files.current.as_mut().unwrap().file = File::open(&path).unwrap();
        files.append(&two).unwrap_err();
        files.append(&three).unwrap();
        assert_eq!(read(folder.path(), NAMES[2]), format!("{one}{half}\n{three}"));
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("log");
        fs::write(&place, "a file in the way").unwrap();
        let mut files = Files::new(&place);
        let error = format!("{:#}", files.append(&line(NOON, "one")).unwrap_err());
        assert!(error.contains("log/mail.log_current"), "{error}");
        fs::remove_file(&place).unwrap();
        files.append(&line(NOON, "two")).unwrap();
        assert_eq!(read(&place, NAMES[2]), line(NOON, "two"));
    }
}
