//! What a session has used up, and how much of it the operator allows.
//!
//! # Not here
//! The limits that hold without the operator's word (`Policy::max_errors` and its neighbours).

use crate::replies;
use crate::reply::Reply;

/// Limits that the keywords and options of a channel set. `None`: the operator has set none.
///
/// The meanings are those of Messaging Server's Administration Guide, "Setting Session Limits" and "Setting Limits on Bad RCPT
/// TO Addresses", and of PMDF's SMTP channel options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas {
    /// `recipientcutoff`, `REJECT_RECIPIENTS_PER_TRANSACTION`: a transaction in which more recipients were asked for is
    /// refused whole at DATA.
    pub recipient_cutoff: Option<u32>,
    /// `deferralrejectlimit`, `ALLOW_REJECTIONS_BEFORE_DEFERRAL`: after so many refused recipients all further ones are put
    /// off, good or bad.
    pub rejects_before_deferral: Option<u32>,
    /// `transactionlimit`, `ALLOW_TRANSACTIONS_PER_SESSION`: with so many messages taken, MAIL is refused.
    pub transactions: Option<u32>,
    /// `disconnecttransactionlimit`: with so many messages taken, the next MAIL or RSET ends the session.
    pub disconnect_transactions: Option<u32>,
    /// `disconnectrecipientlimit`: with so many recipients taken, the next MAIL or RSET ends the session.
    pub disconnect_recipients: Option<u32>,
    /// `disconnectrejectlimit`: with so many recipients refused, the next MAIL or RSET ends the session.
    pub disconnect_rejects: Option<u32>,
    /// `disconnectcommandlimit`: the command after so many ends the session, unless it is QUIT.
    pub disconnect_commands: Option<u32>,
}

impl Quotas {
    /// Whether refused recipients have a limit of their own. If not, they count as errors of the session.
    pub(super) fn limit_rejects(&self) -> bool {
        self.rejects_before_deferral.is_some() || self.disconnect_rejects.is_some()
    }
}

/// What a session has used up since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Spent {
    pub(super) commands: u32,
    pub(super) transactions: u32,
    pub(super) recipients: u32,
    pub(super) rejects: u32,
}

fn reached(spent: u32, quota: Option<u32>) -> bool {
    quota.is_some_and(|quota| spent >= quota)
}

impl Spent {
    /// Another command has come; whether it is one too many.
    pub(super) fn command(&mut self, quotas: &Quotas) -> bool {
        self.commands = self.commands.saturating_add(1);
        quotas.disconnect_commands.is_some_and(|quota| self.commands > quota)
    }

    /// What a client is told instead of the reply to MAIL or RSET when it has used up what the session may have.
    pub(super) fn end(&self, quotas: &Quotas) -> Option<Reply> {
        if reached(self.transactions, quotas.disconnect_transactions) {
            Some(replies::session_transaction_limit())
        } else if reached(self.recipients, quotas.disconnect_recipients) {
            Some(replies::session_recipient_limit())
        } else if reached(self.rejects, quotas.disconnect_rejects) {
            Some(replies::session_reject_limit())
        } else {
            None
        }
    }

    /// No further message is taken in this session.
    pub(super) fn no_more_messages(&self, quotas: &Quotas) -> bool {
        reached(self.transactions, quotas.transactions)
    }

    /// Recipients are put off.
    pub(super) fn defers(&self, quotas: &Quotas) -> bool {
        reached(self.rejects, quotas.rejects_before_deferral)
    }
}
