//! Channel plugin: delivery into maildirs.
//!
//! Each recipient's address names a folder below MAILDIR_ROOT; the message is written there so that it survives a crash
//! before the recipient is settled as delivered. A mailbox that does not exist is made by its first message, unless
//! CREATE_MAILBOX is 0; then it is an unknown user.
//!
//! # Reading order
//! `mailbox`: from an address to a folder. `maildir`: from a message to a file.
//! # Failure
//! An address that cannot name a mailbox fails with 5.1.3, an unknown one with 5.1.1. What the file system refuses is
//! deferred: 4.3.1 when it is full, 4.2.2 when the user's quota is, 4.3.0 otherwise. One recipient's trouble is not
//! another's.
//! # Not here
//! Forwarding, aliases, filters: who reaches this channel has been rewritten already.
#![forbid(unsafe_code)]

mod mailbox;
mod maildir;

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluice_sdk::{
    Channel, Context, CreateError, Delivery, Next, OptionSpec, Options, Outcome, RunError, Status, Worker,
};

use mailbox::{Mailboxes, Pattern};
use maildir::{Missing, Namer, StoreError, Trace};

/// The channel's option file.
#[derive(Debug, Options)]
struct Written {
    /// Folder of a mailbox: `%u` stands for the user, `%d` for the domain, `%%` for a percent sign. Without `%u` it is the
    /// folder above all mailboxes. A relative path starts from the folder of the configuration.
    #[option(default = "/var/mail/sluice/%u")]
    maildir_root: Pattern,
    /// 1: a mailbox is made by its first message. 0: a user without a folder is unknown (5.1.1).
    #[option(default = true)]
    create_mailbox: bool,
    /// 1: `user+anything` is delivered to `user`. 0: it is a mailbox of its own.
    #[option(default = true)]
    strip_subaddress: bool,
    /// 1: `Fred` and `fred` are one mailbox, with a name in lower case. 0: they are two.
    #[option(default = true)]
    fold_case: bool,
}

/// How long to wait for a delivery; the host wakes the wait by itself, this is only a bound.
const WAIT: Duration = Duration::from_secs(600);

/// A channel that delivers into maildirs.
#[derive(Debug)]
pub struct Local {
    mailboxes: Mailboxes,
    missing: Missing,
    namer: Namer,
}

impl Channel for Local {
    const NAME: &'static str = "local";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "delivery into maildirs";
    const OPTIONS: &'static [OptionSpec] = Written::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        let written: Written = context.options()?;
        let folder = context.setting("folder").unwrap_or_default();
        let Written { maildir_root, create_mailbox, strip_subaddress, fold_case } = written;
        Ok(Local {
            mailboxes: Mailboxes::new(&maildir_root.0, folder, strip_subaddress, fold_case)?,
            missing: if create_mailbox { Missing::Create } else { Missing::Unknown },
            namer: Namer::new(context.setting("local_host").unwrap_or_default()),
        })
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        loop {
            match worker.next(WAIT) {
                Next::Delivery(delivery) => self.deliver(&delivery),
                Next::Idle | Next::Poll => {}
                Next::Stop => return Ok(()),
            }
        }
    }
}

impl Local {
    fn deliver(&self, delivery: &Delivery<'_>) {
        for recipient in delivery.take_recipients() {
            let trace = Trace { sender: delivery.sender(), recipient: recipient.address };
            let outcome = self.put(trace, delivery.pieces());
            recipient.settle(outcome);
        }
    }

    /// One message for one recipient.
    fn put<'a>(&self, trace: Trace<'_>, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
        let mailbox = match self.mailboxes.of(trace.recipient) {
            Ok(mailbox) => mailbox,
            Err(why) => return Outcome::failed(Status::new(5, 1, 3), why),
        };
        // A clock before 1970 still gives unique names: the counter and the process do that.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match maildir::store(&mailbox.folder, self.missing, &self.namer.name(now), trace, pieces) {
            Ok(()) => Outcome::delivered(format!("delivered to mailbox {}", mailbox.name)),
            Err(error) => outcome_of(&error, &mailbox.name),
        }
    }
}

fn outcome_of(error: &StoreError, mailbox: &str) -> Outcome {
    match error {
        StoreError::NoMailbox => Outcome::failed(Status::new(5, 1, 1), format!("no such mailbox: {mailbox}")),
        StoreError::NoRoot(root) => {
            let text = format!("the folder of the mailboxes is not there: {}", root.display());
            Outcome::deferred(Status::new(4, 3, 0), text)
        }
        StoreError::Failed(what, path, error) => {
            let status = match error.kind() {
                io::ErrorKind::StorageFull => Status::new(4, 3, 1),
                io::ErrorKind::QuotaExceeded => Status::new(4, 2, 2),
                _ => Status::new(4, 3, 0),
            };
            Outcome::deferred(status, format!("{what}: {}: {error}", path.display()))
        }
    }
}

sluice_sdk::export_channel!(Local);

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn local(root: &Path, missing: Missing) -> Local {
        Local {
            mailboxes: Mailboxes::new(root.to_str().unwrap(), "", true, true).unwrap(),
            missing,
            namer: Namer::new("hub.example"),
        }
    }

    fn put(local: &Local, recipient: &str) -> String {
        let trace = Trace { sender: "s@a", recipient };
        match local.put(trace, [&b"x\r\n"[..]].into_iter()) {
            Outcome::Delivered { status, text, .. } => format!("delivered {status} {text}"),
            Outcome::Deferred { status, text, .. } => format!("deferred {status} {text}"),
            Outcome::Failed { status, text, .. } => format!("failed {status} {text}"),
        }
    }

    #[test]
    fn recipients_are_settled_by_what_happened_to_them() {
        let root = tempfile::tempdir().unwrap();
        let making = local(root.path(), Missing::Create);
        assert_eq!(put(&making, "Fred+x@b"), "delivered 2.0.0 delivered to mailbox fred");
        assert_eq!(put(&making, "fred@b"), "delivered 2.0.0 delivered to mailbox fred");
        assert_eq!(std::fs::read_dir(root.path().join("fred/new")).unwrap().count(), 2);
        assert!(put(&making, "\"../fred\"@b").starts_with("failed 5.1.3 "));
        let known = local(root.path(), Missing::Unknown);
        assert_eq!(put(&known, "fred@b"), "delivered 2.0.0 delivered to mailbox fred");
        assert_eq!(put(&known, "barney@b"), "failed 5.1.1 no such mailbox: barney");
        assert!(!root.path().join("barney").exists());
        let away = local(&root.path().join("away"), Missing::Unknown);
        assert!(put(&away, "fred@b").starts_with("deferred 4.3.0 the folder of the mailboxes is not there"));
        std::fs::write(root.path().join("wilma"), "").unwrap();
        assert!(put(&making, "wilma@b").starts_with("deferred 4.3.0 cannot make the folder: "));
    }

    #[test]
    fn what_the_file_system_refuses_waits() {
        let failed =
            |kind: io::ErrorKind| StoreError::Failed("cannot write", "/m/fred/tmp/x".into(), kind.into());
        for (kind, status) in [
            (io::ErrorKind::StorageFull, "4.3.1"),
            (io::ErrorKind::QuotaExceeded, "4.2.2"),
            (io::ErrorKind::PermissionDenied, "4.3.0"),
            (io::ErrorKind::ReadOnlyFilesystem, "4.3.0"),
        ] {
            match outcome_of(&failed(kind), "fred") {
                Outcome::Deferred { status: found, text, .. } => {
                    assert_eq!(found.to_string(), status);
                    assert!(text.starts_with("cannot write: /m/fred/tmp/x: "), "{text}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_full_disk_is_told_from_other_trouble() {
        // A device that is always full stands in for a disk.
        let error = std::fs::write("/dev/full", "x").unwrap_err();
        let outcome = outcome_of(&StoreError::Failed("cannot write", "/m/fred/tmp/x".into(), error), "fred");
        assert!(
            matches!(outcome, Outcome::Deferred { status, .. } if status == Status::new(4, 3, 1)),
            "{outcome:?}"
        );
    }
}
