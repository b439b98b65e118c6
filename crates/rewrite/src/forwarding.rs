//! Forwarding: the mapping table FORWARD and the forward database send an envelope recipient somewhere else (PMDF System
//! Manager's Guide, chapter 3, "Forward database and FORWARD address mapping"; Messaging Server Administration Guide, "The
//! forward lookup table and FORWARD address mapping").
//!
//! Both come behind rewriting and aliases. The database takes part only if `USE_FORWARD_DATABASE` says so.
//!
//! # Invariants
//! Forwarding ends: an address is forwarded at most `MAX_ALIAS_LEVELS` times in a row.

use std::borrow::Cow;

use sluice_mail::Address;

use crate::alias::{EXPANSION_MAX, Expanded};
use crate::mapping::Flags;
use crate::rejected::Rejected;
use crate::rewriter::{Context, Rewriter};

const FORWARD: &str = "FORWARD";
const DATABASE: &str = "forward";

/// Bits of `USE_FORWARD_DATABASE`.
mod bits {
    /// The database is asked.
    pub(super) const DATABASE: u32 = 1;
    /// It is asked `source|from|address`.
    pub(super) const DATABASE_BY_SOURCE: u32 = 8;
    /// FORWARD is asked `source|from|address`.
    pub(super) const TABLE_BY_SOURCE: u32 = 16;
    /// The channel that the address goes to stands in front of it in the question to FORWARD.
    pub(super) const TABLE_BY_DESTINATION: u32 = 64;
}

/// Whom a recipient is forwarded to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// The recipients; the one that was asked for, if nothing forwards it.
    pub recipients: Vec<Expanded>,
    /// What went wrong and is the operator's business.
    pub remarks: Vec<String>,
}

/// What table and database say about one address.
#[derive(Debug, Default)]
struct Answer {
    target: Option<String>,
    /// The target is rewritten, looked up as an alias and forwarded in turn.
    again: bool,
    /// `$H`: but not forwarded.
    last: bool,
    /// `$I`: its copy waits for an operator.
    hold: bool,
}

impl Rewriter {
    /// Forwards one recipient that aliases led to. `sender` is the rewritten reverse-path, and `context` that of the recipient.
    ///
    /// # Errors
    /// As [`Rewriter::expand`], for an address that it is forwarded to and that is to be rewritten.
    pub fn forward(
        &self,
        recipient: Expanded,
        sender: &str,
        context: &Context<'_>,
        input: Flags,
    ) -> Result<Forwarded, Rejected> {
        let mut found = Forwarded::default();
        if !self.forwards() {
            found.recipients.push(recipient);
            return Ok(found);
        }
        // A bar in a stranger's address would move the parts of the question behind it.
        let asked_with = sender.replace('|', "_");
        let left = self.config().options.max_alias_levels;
        let unanswered = self.lookups.unanswered();
        let result =
            Walk { rewriter: self, sender, asked_with: &asked_with, context, input, found: &mut found }
                .visit(recipient, left);
        if self.lookups.unanswered() != unanswered {
            return Err(Rejected::unavailable());
        }
        result.map(|()| found)
    }

    /// Whether anybody's mail may be forwarded: there is a table or a database that says so.
    #[must_use]
    pub fn forwards(&self) -> bool {
        self.mappings().has(FORWARD) || self.config().options.use_forward_database & bits::DATABASE != 0
    }
}

struct Walk<'w> {
    rewriter: &'w Rewriter,
    sender: &'w str,
    /// The sender in questions.
    asked_with: &'w str,
    context: &'w Context<'w>,
    input: Flags,
    found: &'w mut Forwarded,
}

impl Walk<'_> {
    fn visit(&mut self, mut recipient: Expanded, left: u32) -> Result<(), Rejected> {
        let asked = recipient.route.address.to_string();
        let answer = self.ask(&asked, &recipient.route.channel);
        recipient.held |= answer.hold;
        let Some(text) = answer.target else { return self.take(recipient) };
        let address = match Address::parse(text.trim()) {
            Ok(address) if !address.is_null() => address,
            _ => {
                self.found
                    .remarks
                    .push(format!("{asked} is forwarded to {text:?}, which is no address and is not used"));
                return self.take(recipient);
            }
        };
        if !answer.again {
            // The rules only find the channel; where they know none it stays as it was.
            let route = self.rewriter.route(&address, self.context, None).unwrap_or(recipient.route);
            recipient.route = route.with_address(address);
            return self.take(recipient);
        }
        if left == 0 {
            self.found
                .remarks
                .push(format!("{asked} is forwarded too often in a row: the mail stays with it"));
            return self.take(recipient);
        }
        let expansion = self.rewriter.expand(&address, self.sender, self.context, None)?;
        for (member, rejected) in &expansion.lost {
            self.found.remarks.push(format!(
                "{member}, of the alias {address}, goes nowhere and gets no copy: {}",
                rejected.text
            ));
        }
        for mut member in expansion.recipients {
            member.held |= recipient.held;
            member.limit(recipient.size_max, recipient.lines_max);
            member.sender = member.sender.or_else(|| recipient.sender.clone());
            let same = member.route.address == recipient.route.address;
            if answer.last || same { self.take(member)? } else { self.visit(member, left - 1)? }
        }
        Ok(())
    }

    fn take(&mut self, recipient: Expanded) -> Result<(), Rejected> {
        if self.found.recipients.len() >= EXPANSION_MAX {
            return Err(Rejected::new(
                "the address is forwarded to too many",
                sluice_mail::Status::new(5, 5, 3),
            ));
        }
        self.found.recipients.push(recipient);
        Ok(())
    }

    fn ask(&mut self, address: &str, destination: &str) -> Answer {
        let mut said = Answer::default();
        let option = self.rewriter.config().options.use_forward_database;
        let probe = self.table_question(address, destination, option);
        if let Some(answer) = self.rewriter.map(FORWARD, &probe, self.input) {
            let flags = answer.flags;
            self.found.remarks.extend(answer.warnings);
            if let Some(output) = answer.output {
                said.hold = flags.has('I');
                said.last = flags.has('H');
                if flags.has('Y') {
                    said.again = flags.has('D');
                    let found = if flags.has('G') { self.database(output.trim(), option) } else { None };
                    said.target = Some(found.unwrap_or(output));
                    return said;
                }
                if said.last {
                    return said;
                }
            }
        }
        if let Some(found) = self.database(address, option) {
            said.target = Some(found);
            said.again = true;
        }
        said
    }

    fn table_question<'a>(&self, address: &'a str, destination: &str, option: u32) -> Cow<'a, str> {
        let mut fields = Vec::with_capacity(4);
        if option & bits::TABLE_BY_SOURCE != 0 {
            fields.extend([self.context.source_channel, self.asked_with]);
        }
        if option & bits::TABLE_BY_DESTINATION != 0 {
            fields.push(destination);
        }
        if fields.is_empty() {
            return Cow::Borrowed(address);
        }
        fields.push(address);
        Cow::Owned(fields.join("|"))
    }

    fn database(&self, address: &str, option: u32) -> Option<String> {
        if option & bits::DATABASE == 0 {
            return None;
        }
        if option & bits::DATABASE_BY_SOURCE == 0 {
            return self.rewriter.lookups().database(DATABASE, address);
        }
        let key = format!("{}|{}|{address}", self.context.source_channel, self.asked_with);
        self.rewriter.lookups().database(DATABASE, &key)
    }
}
