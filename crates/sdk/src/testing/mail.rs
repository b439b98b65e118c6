//! A message as a test makes it.
//!
//! # Not here
//! Its form in a file (`recorded`).

use super::recorded;
use crate::{Priority, wire};
use std::path::Path;
use std::time::Duration;

/// A message for one or more recipients, to be played to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub(crate) id: String,
    pub(crate) sender: String,
    pub(crate) recipients: Vec<MailTo>,
    /// In wire form.
    pub(crate) content: Vec<u8>,
    pub(crate) attempts: u32,
    pub(crate) priority: Priority,
    pub(crate) transfer_priority: Option<i8>,
    pub(crate) arrived_ms: u64,
    pub(crate) lease: u64,
    pub(crate) next_hop: String,
    pub(crate) returned: u8,
    pub(crate) envelope_id: String,
    pub(crate) smtputf8: bool,
    pub(crate) piece_size: usize,
    pub(crate) time_left: Vec<Duration>,
    pub(crate) stops: bool,
}

/// One of its recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MailTo {
    pub(crate) address: String,
    pub(crate) original: String,
    pub(crate) notify: u8,
    pub(crate) origin: String,
}

impl MailTo {
    pub(crate) fn domain(&self) -> String {
        self.address.rsplit_once('@').map_or("", |(_, domain)| domain).to_lowercase()
    }
}

impl Mail {
    /// An empty message from this sender (empty for the null reverse-path), still without recipients.
    pub fn new(sender: impl Into<String>) -> Mail {
        Mail {
            id: String::new(),
            sender: sender.into(),
            recipients: Vec::new(),
            content: Vec::new(),
            attempts: 0,
            priority: Priority::Normal,
            transfer_priority: None,
            arrived_ms: 1_700_000_000_000,
            lease: 0,
            next_hop: String::new(),
            returned: 0,
            envelope_id: String::new(),
            smtputf8: false,
            piece_size: usize::MAX,
            time_left: Vec::new(),
            stops: false,
        }
    }

    /// One recipient more.
    #[must_use]
    pub fn to(self, address: impl Into<String>) -> Mail {
        self.to_original(address, "")
    }

    /// One recipient more, whom the submitter called something else.
    #[must_use]
    pub fn to_original(mut self, address: impl Into<String>, original: impl Into<String>) -> Mail {
        let (address, original) = (address.into(), original.into());
        self.recipients.push(MailTo { address, original, notify: 0, origin: String::new() });
        self
    }

    /// What the sender wants to be told about the recipient that was named last (RFC 3461): NOTIFY as a sum of bits, and ORCPT.
    #[must_use]
    pub fn wishes(mut self, notify: u8, origin: impl Into<String>) -> Mail {
        if let Some(last) = self.recipients.last_mut() {
            (last.notify, last.origin) = (notify, origin.into());
        }
        self
    }

    /// Its header and text, with line ends of any kind; dots are stuffed here.
    #[must_use]
    pub fn text(mut self, text: impl AsRef<[u8]>) -> Mail {
        self.content = wire(text.as_ref());
        self
    }

    /// Its content as it stands in the spool, right or wrong: for tests of messages that no hub would hand out.
    #[must_use]
    pub fn wire_form(mut self, content: impl Into<Vec<u8>>) -> Mail {
        self.content = content.into();
        self
    }

    /// Its queue id.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Mail {
        self.id = id.into();
        self
    }

    /// How often it was tried before.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Mail {
        self.attempts = attempts;
        self
    }

    /// How urgent it is.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Mail {
        self.priority = priority;
        self
    }

    /// The number of RFC 6710 that the sender has given.
    #[must_use]
    pub fn transfer_priority(mut self, number: i8) -> Mail {
        self.transfer_priority = Some(number);
        self
    }

    /// When it was accepted, milliseconds since 1970.
    #[must_use]
    pub fn arrived_ms(mut self, arrived_ms: u64) -> Mail {
        self.arrived_ms = arrived_ms;
        self
    }

    /// Its batch. Where the next one has the same, `more_follows` says so.
    #[must_use]
    pub fn lease(mut self, lease: u64) -> Mail {
        self.lease = lease;
        self
    }

    /// Where it goes in place of where the settings say.
    #[must_use]
    pub fn next_hop(mut self, next_hop: impl Into<String>) -> Mail {
        self.next_hop = next_hop.into();
        self
    }

    /// RET and ENVID of RFC 3461.
    #[must_use]
    pub fn envelope(mut self, returned: u8, envelope_id: impl Into<String>) -> Mail {
        (self.returned, self.envelope_id) = (returned, envelope_id.into());
        self
    }

    /// It needs SMTPUTF8.
    #[must_use]
    pub fn smtputf8(mut self) -> Mail {
        self.smtputf8 = true;
        self
    }

    /// Lends the content in pieces of so many bytes, not in one.
    #[must_use]
    pub fn in_pieces_of(mut self, size: usize) -> Mail {
        self.piece_size = size.max(1);
        self
    }

    /// What the channel is told when it asks how much time is left: these values one after the other, the last one ever
    /// after. Zero means that the delivery was taken away.
    #[must_use]
    pub fn time_left(mut self, left: impl IntoIterator<Item = Duration>) -> Mail {
        self.time_left = left.into_iter().collect();
        self
    }

    /// The channel is told to stop while it delivers this one; what comes behind is not handed out.
    #[must_use]
    pub fn stop_meanwhile(mut self) -> Mail {
        self.stops = true;
        self
    }

    /// As a recorded delivery, line ends as LF. What only a test can say (pieces, time left, a stop) is not in it.
    #[must_use]
    pub fn recorded(&self) -> Vec<u8> {
        recorded::write(self)
    }

    /// Reads a recorded delivery; [the format](super#recorded-deliveries).
    ///
    /// # Errors
    /// What is wrong, with the number of the line.
    pub fn parse(recorded: &[u8]) -> Result<Mail, String> {
        recorded::parse(recorded)
    }

    /// Reads a recorded delivery from a file.
    ///
    /// # Errors
    /// What is wrong, with the name of the file.
    pub fn read(file: impl AsRef<Path>) -> Result<Mail, String> {
        let file = file.as_ref();
        let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Mail::parse(&text).map_err(|error| format!("{}:{error}", file.display()))
    }

    /// Reads all recorded deliveries of a folder, by the order of their names. Hidden files and folders are passed over.
    ///
    /// # Errors
    /// What is wrong, with the name of the file.
    pub fn read_folder(folder: impl AsRef<Path>) -> Result<Vec<Mail>, String> {
        let folder = folder.as_ref();
        let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !hidden && entry.path().is_file() {
                files.push(entry.path());
            }
        }
        files.sort();
        files.into_iter().map(Mail::read).collect()
    }
}
