//! From a delivery to a file.
//!
//! The name is made of when the message arrived, its queue id and its first recipient. A delivery that is made once more, after a crash, has the
//! same name; what lies there is then the same message, and is left alone.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use sluice_durable::Trouble;
use sluice_sdk::{CreateError, Delivery, OptionWord, Outcome, Status};

/// Where envelopes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, OptionWord)]
pub(crate) enum Envelopes {
    Headers,
    Sidecar,
    None,
}

/// How lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, OptionWord)]
pub(crate) enum LineEnd {
    Lf,
    Crlf,
}

/// The folder for what is queued to the channel.
#[derive(Debug)]
pub(crate) struct Dropping {
    folder: PathBuf,
    envelopes: Envelopes,
    lf_only: bool,
}

impl Dropping {
    pub(crate) fn new(written: &crate::Written) -> Result<Option<Dropping>, CreateError> {
        let Some(folder) = written.drop_dir.clone() else { return Ok(None) };
        sluice_durable::make_folder(&folder).map_err(|trouble| CreateError::failed(trouble.to_string()))?;
        let lf_only = written.line_end == LineEnd::Lf;
        Ok(Some(Dropping { folder, envelopes: written.envelope, lf_only }))
    }

    /// Drops a message for all its recipients.
    pub(crate) fn put(&self, delivery: &Delivery<'_>) -> Outcome {
        let first = delivery.recipients().next().map_or(0, |recipient| recipient.index);
        let name = format!("{:013}-{}-{first}", delivery.arrived_ms(), delivery.id());
        let written = match self.write(delivery, &name) {
            // Whoever wrote it may not have come to make its name durable.
            Err(trouble) if trouble.is_taken() => sluice_durable::sync_folder(&self.folder).and(Err(trouble)),
            written => written,
        };
        match written {
            Ok(()) => Outcome::delivered(format!("dropped as {name}.eml")),
            Err(trouble) if trouble.is_taken() => {
                Outcome::delivered(format!("dropped before, as {name}.eml"))
            }
            Err(trouble) => {
                let detail = if trouble.is_full() { 1 } else { 0 };
                Outcome::deferred(Status::new(4, 3, detail), trouble.to_string())
            }
        }
    }

    fn write(&self, delivery: &Delivery<'_>, name: &str) -> Result<(), Trouble> {
        let end = if self.lf_only { "\n" } else { "\r\n" };
        let envelope = |out: &mut dyn Write, prefix: &str| -> io::Result<()> {
            write!(out, "{prefix}Sender: <{}>{end}", one_line(delivery.sender()))?;
            delivery
                .recipients()
                .try_for_each(|to| write!(out, "{prefix}Receiver: <{}>{end}", one_line(to.address)))
        };
        if self.envelopes == Envelopes::Sidecar {
            // First, so that whoever finds the message finds this, too. One that is there already is the same.
            sluice_durable::replace(&self.folder.join(format!("{name}.env")), |out| envelope(out, ""))?;
        }
        sluice_durable::write(&self.folder.join(format!("{name}.eml")), |out| {
            if self.envelopes == Envelopes::Headers {
                envelope(out, "X-")?;
            }
            let mut reader = delivery.reader();
            if self.lf_only {
                reader = reader.lf_only();
            }
            let mut buffer = vec![0; 64 << 10];
            loop {
                match reader.read(&mut buffer)? {
                    0 => return Ok(()),
                    count => out.write_all(&buffer[..count])?,
                }
            }
        })
    }
}

/// An address as part of a line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
