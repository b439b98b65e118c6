//! What becomes of a recipient at the door: aliases, the access tables, relaying and forwarding.
//!
//! # Relaying
//! A client that neither its address nor its login has moved away from the listener's own channel is a stranger.
//! A stranger's mail may go to every channel but the one it came in by, unless that has a fixed peer: for on that channel
//! any host of the world can be reached. `ALLOW_RELAY=1` in the channel's option file lifts this, and so does an access table
//! that answers `$Y` for the recipient: sites write their exceptions so, in front of an entry with `$N`.
//!
//! # Not here
//! The conversation (`smtpd`), the rest of the front door (`intake`), the header and reverse-path of each copy (`arriving`).

use std::cell::LazyCell;
use std::ops::Deref;

use sluice_dispatch::Loaded;
use sluice_mail::{Address, Recipient, RecipientWishes, Refusal, Status};
use sluice_rewrite::{Context, Expanded, Expansion, Forwarded, Kind};
use sluice_smtpd::{Accepted, Orders, Origin, Session};

use crate::access::{Access, Addressee, Verdict};
use crate::hub;

/// One RCPT command.
pub(crate) struct Recipients<'a> {
    pub(crate) loaded: &'a Loaded,
    pub(crate) session: &'a Session,
    /// The reverse-path as the client wrote it.
    pub(crate) sender: &'a str,
    /// The recipient as the client wrote it.
    pub(crate) path: &'a str,
}

impl Recipients<'_> {
    /// Whom the address stands for; nobody, if its copies are to be thrown away.
    pub(crate) fn accept(&self, address: &Address, orders: &mut Orders) -> Result<Vec<Accepted>, Refusal> {
        let (loaded, path) = (self.loaded, self.path);
        let context = self.context();
        // A null reverse-path is never replaced: no notice may be sent about a notice.
        let own = orders.sender.clone().filter(|_| !self.sender.is_empty());
        let sender = own.as_deref().unwrap_or(self.sender);
        let expansion = match self.session.origin {
            Origin::Again => loaded.rewriter.expand_again(address, sender, &context),
            Origin::Client | Origin::Channel => loaded.rewriter.expand(address, sender, &context, None),
        };
        let expansion = expansion.map_err(|rejected| rejected.into_refusal(path))?;
        for (member, rejected) in &expansion.lost {
            tracing::warn!(alias = path, %member, why = rejected.text, "an address of an alias goes nowhere and gets no copy");
        }
        // Only tables and forwarding ask about the sender.
        let rewritten = LazyCell::new(|| hub::rewritten(loaded, sender, context.source_channel));
        let access = Access::of_session(loaded, self.session);
        let verdicts = self.judge(&access, &rewritten, address, &expansion, orders)?;
        let is_alias = expansion.is_alias;
        let mut accepted = Vec::with_capacity(expansion.recipients.len());
        for (copy, verdict) in expansion.recipients.into_iter().zip(verdicts) {
            if !is_alias && !verdict.allowed {
                // Where an alias leads is the operator's word, and no relaying for strangers.
                self.check_relay(&copy.route.channel)?;
            }
            if verdict.discard {
                tracing::info!(recipient = path, address = %copy.route.address, "accepted and discarded, by a mapping table");
                continue;
            }
            let forwarded = match loaded.rewriter.forwards() {
                true => loaded.rewriter.forward(copy, &rewritten, &context, access.flags()),
                false => Ok(Forwarded { recipients: vec![copy], ..Forwarded::default() }),
            };
            let forwarded = forwarded.map_err(|rejected| rejected.into_refusal(path))?;
            for remark in &forwarded.remarks {
                tracing::error!(recipient = path, "{remark}");
            }
            let several = forwarded.recipients.len() > 1;
            for one in forwarded.recipients {
                let Expanded { route, sender: of_list, held, size_max, lines_max } = one;
                let limits = loaded.config.channels.by_name(&route.channel).map(|channel| &channel.settings);
                let of_channel = limits.and_then(|settings| settings.block_limit);
                let lines_of_channel = limits.and_then(|settings| settings.line_limit);
                let recipient = Recipient {
                    address: route.final_address().to_string(),
                    original: path.to_owned(),
                    domain: route.host().to_lowercase(),
                    channel: route.channel,
                    // What the client says about it is handed down later.
                    wishes: RecipientWishes::default(),
                };
                accepted.push(Accepted {
                    sender: of_list.or_else(|| own.clone()),
                    held: held || verdict.hold || orders.hold,
                    expanded: is_alias || several,
                    size_max: of_channel.into_iter().chain(size_max).min(),
                    lines_max: lines_of_channel.into_iter().chain(lines_max).min(),
                    ..recipient.into()
                });
            }
        }
        Ok(accepted)
    }

    fn context(&self) -> Context<'_> {
        let source_channel = self.session.admission.source_channel.as_str();
        Context { kind: Kind::EnvelopeTo, source_channel, destination_channel: None }
    }

    /// Asks the access tables: what they say of each address that the recipient stands for.
    fn judge(
        &self,
        access: &Access<'_>,
        sender: &dyn Deref<Target = String>,
        address: &Address,
        expansion: &Expansion,
        orders: &mut Orders,
    ) -> Result<Vec<Verdict>, Refusal> {
        let (original, expanded) = (access.asks_about_recipients(true), access.asks_about_recipients(false));
        let context = self.context();
        let mut before = Verdict::default();
        if original {
            let route = self.loaded.rewriter.route(address, &context, None);
            let (channel, to) = match &route {
                Ok(route) => (route.channel.as_str(), route.address.to_string()),
                Err(_) => ("", address.to_string()),
            };
            let to = Addressee { channel, address: &to, original: self.path };
            access.recipient(true, context.source_channel, sender, to, &mut before, orders)?;
        }
        let mut verdicts = Vec::with_capacity(expansion.recipients.len());
        for Expanded { route, .. } in &expansion.recipients {
            let mut verdict = before.clone();
            if expanded {
                let address = route.address.to_string();
                let to = Addressee { channel: &route.channel, address: &address, original: self.path };
                access.recipient(false, context.source_channel, sender, to, &mut verdict, orders)?;
            }
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    /// Refuses what a client that neither its address nor its login has moved sends back to the channel it came by.
    fn check_relay(&self, channel: &str) -> Result<(), Refusal> {
        let source_channel = self.session.admission.source_channel.as_str();
        // TLS may have moved the session, and does not make a friend of a stranger.
        let origins = [source_channel, &self.session.connection.channel];
        let comes_back = origins.iter().any(|origin| channel.eq_ignore_ascii_case(origin));
        if self.session.origin != Origin::Client || self.session.admission.is_known || !comes_back {
            return Ok(());
        }
        let relays = self.loaded.config.channels.by_name(channel).is_some_and(|channel| {
            channel.fixed_peer().is_some() || channel.server.allow_relay || !channel.is_smtp()
        });
        if relays {
            return Ok(());
        }
        let text = format!("relaying to {} is not allowed from here", self.path);
        Err(Refusal { code: 550, status: Status { class: 5, subject: 7, detail: 1 }, text })
    }
}
