//! Writing a message into a maildir so that it is there for good, or not at all.
//!
//! A message is written to `tmp` under a name nobody else uses, synced, and renamed into `new`; then the folder `new` is
//! synced. Only after that is the recipient delivered. A crash before leaves a file in `tmp`, which readers ignore, and
//! the hub delivers again; a crash between rename and settlement may leave the message there twice, and never loses it.
//!
//! In the file lines end with LF alone, as on any Unix system, and leading dots are single again. In front stand
//! `Return-Path:` (RFC 5321 section 4.4) and `Delivered-To:`.
//!
//! # Not here
//! Which folder (`mailbox`), what an error means for the recipient (`lib`).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sluice_mail::wire::Unstuffer;

/// Whether a mailbox that is not there is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// By its first message.
    Create,
    /// Whoever has no folder is unknown.
    Unknown,
}

/// Why a message is not in the mailbox.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// There is no such mailbox, and none is to be made.
    NoMailbox,
    /// The folder that holds all mailboxes is missing, so nothing can be said about this one.
    NoRoot(PathBuf),
    /// The system refused.
    Failed(&'static str, PathBuf, io::Error),
}

/// What stands in front of the content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trace<'a> {
    /// Envelope sender.
    pub(crate) sender: &'a str,
    /// The address delivered to.
    pub(crate) recipient: &'a str,
}

/// Makes names that nobody else makes: time, process, a counter, and the host for folders on a network.
#[derive(Debug)]
pub(crate) struct Namer {
    host: String,
    count: AtomicU64,
}

impl Namer {
    /// Slashes and colons mean something in such names; the convention writes them as octal escapes.
    pub(crate) fn new(host: &str) -> Namer {
        let visible = |c: char| !c.is_control() && !c.is_whitespace();
        let host: String = host.chars().filter(|&c| visible(c)).take(100).collect();
        let host = host.replace('/', "\\057").replace(':', "\\072");
        Namer { host: if host.is_empty() { "localhost".to_owned() } else { host }, count: AtomicU64::new(0) }
    }

    /// The next name; `now` is the time since 1970.
    pub(crate) fn name(&self, now: Duration) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let (secs, micros, process) = (now.as_secs(), now.subsec_micros(), std::process::id());
        format!("{secs}.M{micros}P{process}Q{count}.{}", self.host)
    }
}

/// Puts a message in wire form into a mailbox.
pub(crate) fn store<'a>(
    folder: &Path,
    missing: Missing,
    name: &str,
    trace: Trace<'_>,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<(), StoreError> {
    prepare(folder, missing)?;
    let (tmp, new) = (folder.join("tmp").join(name), folder.join("new").join(name));
    let written = write(&tmp, trace, pieces)
        .map_err(|error| StoreError::Failed("cannot write", tmp.clone(), error))
        .and_then(|()| {
            fs::rename(&tmp, &new)
                .map_err(|error| StoreError::Failed("cannot move into `new`", tmp.clone(), error))
        });
    if let Err(error) = written {
        // What is left behind in `tmp` harms nobody, so a second failure is of no interest.
        drop(fs::remove_file(&tmp));
        return Err(error);
    }
    sync_folder(&folder.join("new"))
}

fn write<'a>(path: &Path, trace: Trace<'_>, pieces: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut out = BufWriter::with_capacity(64 * 1024, file);
    writeln!(out, "Return-Path: <{}>", one_line(trace.sender))?;
    writeln!(out, "Delivered-To: {}", one_line(trace.recipient))?;
    let mut unstuffer = Unstuffer::new();
    for piece in pieces {
        for plain in unstuffer.piece(piece) {
            // Wire form has CR only in front of LF.
            let mut rest = plain;
            while let Some(at) = memchr::memchr(b'\r', rest) {
                out.write_all(&rest[..at])?;
                rest = &rest[at + 1..];
            }
            out.write_all(rest)?;
        }
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()
}

/// An address as the value of a header line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Makes sure that the mailbox has its three folders.
fn prepare(folder: &Path, missing: Missing) -> Result<(), StoreError> {
    // One at a time: a worker that finds the folders of another must not deliver into them before they are synced.
    static PREPARING: Mutex<()> = Mutex::new(());
    let _alone = PREPARING.lock().unwrap_or_else(PoisonError::into_inner);
    if folder.join("cur").is_dir() && folder.join("new").is_dir() && folder.join("tmp").is_dir() {
        return Ok(());
    }
    if !folder.is_dir() && missing == Missing::Unknown {
        // A file system that is not mounted must not make every user unknown.
        let root = folder.parent().unwrap_or(folder);
        return match fs::symlink_metadata(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && root.is_dir() => {
                Err(StoreError::NoMailbox)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NoRoot(root.to_owned())),
            Err(error) => Err(StoreError::Failed("cannot look at", folder.to_owned(), error)),
            Ok(_) => Err(StoreError::Failed(
                "not a folder",
                folder.to_owned(),
                io::ErrorKind::NotADirectory.into(),
            )),
        };
    }
    make_durably(folder)?;
    for part in ["tmp", "cur", "new"] {
        make(&folder.join(part))?;
    }
    sync_folder(folder)
}

/// Makes a folder and those above it that are missing, each synced into the one above.
fn make_durably(folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    make_durably(parent)?;
    make(folder)?;
    sync_folder(parent)
}

fn make(folder: &Path) -> Result<(), StoreError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(StoreError::Failed("cannot make the folder", folder.to_owned(), error)),
        Ok(()) => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)
        .and_then(|open| open.sync_all())
        .map_err(|error| StoreError::Failed("cannot sync the folder", folder.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const TRACE: Trace<'_> = Trace { sender: "s@a", recipient: "fred+x@b" };

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    }

    fn put(folder: &Path, missing: Missing, name: &str, pieces: &[&[u8]]) -> Result<(), StoreError> {
        store(folder, missing, name, TRACE, pieces.iter().copied())
    }

    #[test]
    fn a_message_is_written_as_text_of_this_system() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("deep/er/fred");
        let wire = b"Subject: x\r\n\r\n..dot\r\n...\r\nend\r\n";
        let expected = b"Return-Path: <s@a>\nDelivered-To: fred+x@b\nSubject: x\n\n.dot\n..\nend\n";
        for cut in 0..=wire.len() {
            let name = format!("m{cut:03}");
            put(&folder, Missing::Create, &name, &[&wire[..cut], &wire[cut..]]).unwrap();
            assert_eq!(fs::read(folder.join("new").join(&name)).unwrap(), expected, "cut at {cut}");
        }
        assert_eq!(files(&folder.join("tmp")), Vec::<PathBuf>::new());
        for path in [&folder, &folder.join("tmp"), &folder.join("new"), &folder.join("cur")] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        }
        assert_eq!(fs::metadata(folder.join("new/m000")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_empty_message_and_the_null_sender() {
        let root = tempfile::tempdir().unwrap();
        let trace = Trace { sender: "", recipient: "a\r\nX-Forged: yes" };
        store(&root.path().join("fred"), Missing::Create, "m", trace, std::iter::empty()).unwrap();
        assert_eq!(
            fs::read_to_string(root.path().join("fred/new/m")).unwrap(),
            "Return-Path: <>\nDelivered-To: a??X-Forged: yes\n"
        );
    }

    #[test]
    fn a_name_that_is_taken_is_not_written_over() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("fred");
        put(&folder, Missing::Create, "m", &[b"one\r\n"]).unwrap();
        fs::write(folder.join("tmp/n"), "someone else's").unwrap();
        assert!(matches!(put(&folder, Missing::Create, "n", &[b"x\r\n"]), Err(StoreError::Failed(..))));
        assert_eq!(files(&folder.join("new")), [folder.join("new/m")]);
    }

    #[test]
    fn a_mailbox_that_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let put_in = |folder: &Path| put(folder, Missing::Unknown, "m", &[b"x\r\n"]);
        assert!(matches!(put_in(&root.path().join("nobody")), Err(StoreError::NoMailbox)));
        // Not mounted is not the same as unknown.
        let unmounted = root.path().join("away/fred");
        assert!(matches!(put_in(&unmounted), Err(StoreError::NoRoot(at)) if at == root.path().join("away")));
        assert!(!root.path().join("away").exists());
        fs::write(root.path().join("file"), "").unwrap();
        assert!(matches!(put_in(&root.path().join("file")), Err(StoreError::Failed("not a folder", ..))));
        // A folder is enough; the rest is made.
        fs::create_dir(root.path().join("fred")).unwrap();
        put_in(&root.path().join("fred")).unwrap();
        assert_eq!(files(&root.path().join("fred/new")).len(), 1);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("fred");
        put(&folder, Missing::Create, "m", &[b"x\r\n"]).unwrap();
        // A folder of the message's name is in the way of the rename.
        fs::create_dir_all(folder.join("new/n")).unwrap();
        fs::write(folder.join("new/n/x"), "").unwrap();
        let error = put(&folder, Missing::Create, "n", &[b"x\r\n"]).unwrap_err();
        assert!(matches!(error, StoreError::Failed("cannot move into `new`", ..)), "{error:?}");
        assert_eq!(files(&folder.join("tmp")), Vec::<PathBuf>::new());
    }

    #[test]
    fn names_are_unique_and_harmless() {
        let namer = Namer::new("hub/x:25 \n");
        let names: std::collections::HashSet<String> =
            (0..1000).map(|_| namer.name(Duration::from_micros(1_700_000_000_000_001))).collect();
        assert_eq!(names.len(), 1000);
        assert!(
            names
                .iter()
                .all(|name| !name.contains(['/', ':', ' ', '\n']) && name.starts_with("1700000000.M1P"))
        );
        assert!(Namer::new("").name(Duration::ZERO).ends_with(".localhost"));
    }
}
