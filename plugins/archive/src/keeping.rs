//! A copy in a folder: the message as a file, and beside it a record of its envelope.
//!
//! Both have the name of arrival and queue id, which are the message's own: deliveries of one message to different domains, and one that
//! is made again after a crash, find the file, and add to the record whom they are about.
//!
//! ```text
//! 2026/11/30/1796057775948-0000000000000004.eml
//! 2026/11/30/1796057775948-0000000000000004.env      id, arrived, sender, and a line for each recipient
//! ```

use std::collections::{BTreeSet, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sluice_durable::{Trouble, Unread};
use sluice_mail::{Time, rfc3339};
use sluice_sdk::Delivery;

/// Octets of a record that is added to.
const RECORD_MAX: u64 = 64 << 20;
/// Folders that are remembered as tidied up: more than are written into at a time.
const TIDIED_MAX: usize = 1000;
const RECIPIENT: &str = "recipient: ";

/// What keeps copies in folders.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    /// Folders from which what a crash has left has been removed: the deliveries that were being made then are made again, and come
    /// to the same.
    tidied: Mutex<HashSet<PathBuf>>,
}

impl Keeping {
    /// Keeps a copy of a message for these recipients. When it returns, both files are on the disk.
    pub(crate) fn put(
        &self,
        delivery: &Delivery<'_>,
        pattern: &Path,
        recipients: &[&str],
    ) -> Result<(), Trouble> {
        let arrived = Time(delivery.arrived_ms());
        let folder = dated(pattern, &rfc3339(arrived));
        sluice_durable::make_folder(&folder)?;
        self.tidy(&folder)?;
        let name = format!("{:013}-{}", arrived.0, delivery.id());
        let written = sluice_durable::write(&folder.join(format!("{name}.eml")), |out| {
            let (mut reader, mut buffer) = (delivery.reader().lf_only(), vec![0; 64 << 10]);
            loop {
                match reader.read(&mut buffer)? {
                    0 => return Ok(()),
                    count => out.write_all(&buffer[..count])?,
                }
            }
        });
        match written {
            Err(trouble) if !trouble.is_taken() => return Err(trouble),
            _ => {}
        }
        let path = folder.join(format!("{name}.env"));
        let known = match sluice_durable::read(&path, RECORD_MAX) {
            Ok(text) => recipients_of(&String::from_utf8_lossy(&text)),
            Err(Unread::Failed(trouble)) if trouble.is_missing() => BTreeSet::new(),
            Err(Unread::Failed(trouble)) => return Err(trouble),
            Err(why) => {
                let error = std::io::Error::other(why.to_string());
                return Err(Trouble { what: "cannot read", path, error });
            }
        };
        let mut all = known.clone();
        all.extend(recipients.iter().map(|one| one_line(one)));
        if all == known {
            // Whoever wrote the two may not have come to make their names durable.
            return sluice_durable::sync_folder(&folder);
        }
        sluice_durable::replace(&path, |out| {
            let (id, sender) = (delivery.id(), one_line(delivery.sender()));
            write!(out, "id: {id}\narrived: {}\nsender: <{sender}>\n", rfc3339(arrived))?;
            all.iter().try_for_each(|one| writeln!(out, "{RECIPIENT}<{one}>"))
        })
    }

    fn tidy(&self, folder: &Path) -> Result<(), Trouble> {
        let mut tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
        if tidied.contains(folder) {
            return Ok(());
        }
        if tidied.len() >= TIDIED_MAX {
            tidied.clear();
        }
        tidied.insert(folder.to_owned());
        sluice_durable::tidy(folder).map(|_| ())
    }
}

/// Whom a record is about.
fn recipients_of(text: &str) -> BTreeSet<String> {
    let read =
        |line: &str| Some(line.strip_prefix(RECIPIENT)?.strip_prefix('<')?.strip_suffix('>')?.to_owned());
    text.lines().filter_map(read).collect()
}

/// A folder with its date filled in: that of `2026-11-30T…`.
fn dated(pattern: &Path, date: &str) -> PathBuf {
    let part = |from: usize, to: usize| date.get(from..to).unwrap_or("0000");
    let text = pattern.to_string_lossy();
    PathBuf::from(text.replace("%Y", part(0, 4)).replace("%m", part(5, 7)).replace("%d", part(8, 10)))
}

/// An address as part of a line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_have_the_date_in_them() {
        let date = rfc3339(Time(1_796_057_775_948));
        assert_eq!(dated(Path::new("/a/%Y/%m/%d"), &date), Path::new("/a/2026/11/30"));
        assert_eq!(dated(Path::new("/a/%Y-%m"), &date), Path::new("/a/2026-11"));
        assert_eq!(dated(Path::new("/a"), &date), Path::new("/a"));
    }

    #[test]
    fn a_record_tells_whom_it_is_about() {
        let text = "id: 1\nsender: <a@b>\nrecipient: <c@d>\nrecipient: <\"x y\"@z>\n";
        assert_eq!(recipients_of(text), BTreeSet::from(["\"x y\"@z".to_owned(), "c@d".to_owned()]));
        assert_eq!(one_line("a\r\nrecipient: <x>"), "a??recipient: <x>");
    }
}
