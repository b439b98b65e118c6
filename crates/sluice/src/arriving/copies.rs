//! The copies of a message that are stored each by itself, and whether all of them can be.

use sluice_mail::{Envelope, Refusal};

use super::Arriving;

impl Arriving {
    /// Whether the table `CONVERSIONS` can be asked about these now: before the first of several copies is committed.
    ///
    /// # Errors
    /// A database does not answer.
    pub(crate) fn can_lead(&self, envelopes: &[Envelope]) -> Result<(), Refusal> {
        let by = self.brought_by.as_deref();
        self.hub.dispatcher().can_lead(envelopes, by).map_err(|error| error.refusal())
    }

    /// The envelopes in the form in which they are stored: one for each header and reverse-path among the recipients.
    pub(super) fn divided(&self, envelopes: Vec<Envelope>) -> Vec<(usize, Envelope)> {
        let mut divided: Vec<(usize, Envelope)> = Vec::with_capacity(envelopes.len());
        for mut envelope in envelopes {
            let recipients = std::mem::take(&mut envelope.recipients);
            let first = divided.len();
            for recipient in recipients {
                let copy = self.copies.iter().find(|copy| {
                    copy.has(&recipient.channel, &recipient.address)
                        && *copy.own_sender.as_ref().unwrap_or(&self.sender) == envelope.sender
                });
                let (variant, sender) =
                    copy.map_or((0, &envelope.sender), |copy| (copy.variant, &copy.sender));
                let known = divided[first..]
                    .iter_mut()
                    .find(|(of, stored)| *of == variant && stored.sender == *sender);
                match known {
                    Some((_, stored)) => stored.recipients.push(recipient),
                    None => {
                        let sender = sender.clone();
                        divided.push((
                            variant,
                            Envelope { sender, recipients: vec![recipient], ..envelope.clone() },
                        ));
                    }
                }
            }
        }
        divided
    }
}
