//! From a delivery to a file.
//!
//! The name is made of when the message arrived, its queue id and its recipients. A delivery that is made once more, after a crash, has the
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
        let recipients = of_recipients(delivery.recipients().map(|recipient| recipient.index));
        let name = format!("{:013}-{}-{recipients}", delivery.arrived_ms(), delivery.id());
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

/// The part of a name that tells these recipients from others of the message: they may be put together in another way when the
/// channel's keywords have changed.
fn of_recipients(indexes: impl Iterator<Item = u32>) -> String {
    let indexes: Vec<u32> = indexes.collect();
    let first = indexes.first().copied().unwrap_or(0);
    if indexes.len() < 2 {
        return first.to_string();
    }
    // FNV-1a: the same in every version, which no hash of the standard library is.
    let octets = indexes.iter().flat_map(|index| index.to_le_bytes());
    let sum = octets.fold(0xcbf2_9ce4_8422_2325_u64, |sum, octet| {
        (sum ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{first}-{:08x}", (sum ^ (sum >> 32)) & 0xffff_ffff)
}

/// An address as part of a line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_that_are_put_together_in_another_way_have_another_name() {
        let name = |indexes: &[u32]| of_recipients(indexes.iter().copied());
        assert_eq!((name(&[]), name(&[7])), ("0".to_owned(), "7".to_owned()));
        assert_eq!(name(&[0, 1, 2]), name(&[0, 1, 2]));
        let names = [name(&[0]), name(&[0, 1]), name(&[0, 2]), name(&[0, 1, 2])];
        assert!(names.iter().enumerate().all(|(at, one)| !names[..at].contains(one)), "{names:?}");
        // What is written into folders of others stays as it is.
        assert!(names[1].len() == 10 && names[1].starts_with("0-"), "{names:?}");
    }
}
