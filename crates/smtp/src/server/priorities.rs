//! Who may ask for which priority (MT-PRIORITY, RFC 6710).
//!
//! Mail that is to go later than other mail takes nothing from anybody, so everybody may ask for that. What goes before others' mail
//! is for clients that are known: those that have logged in, and those of our own networks. What a stranger asks for beyond 0 is lowered to 0, and he
//! is told so by the replies to MAIL and to the end of the message (RFC 6710: X.3.6, and the priority that it has now).
//!
//! # Not here
//! The order of mail (`queue`), and the priority that a header asks for (`content`).

use sluice_mail::TransferPriority;

use super::Server;
use crate::command::MailParams;
use crate::replies;
use crate::reply::Reply;

/// How MT-PRIORITY is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priorities {
    /// MAIL without it is refused.
    pub required: bool,
    /// The client is known by its address. A login makes it known too.
    pub is_known: bool,
}

impl Server {
    /// What is against the priority that MAIL asks for, or against its asking for none. What the client may not have is
    /// lowered.
    pub(super) fn priority_refused(&mut self, params: &mut MailParams) -> Option<Reply> {
        self.lowered = None;
        let asked = params.wishes.priority;
        let Some(terms) = self.policy.priorities else {
            return asked.map(|_| replies::unknown_parameter("MT-PRIORITY"));
        };
        let Some(asked) = asked else {
            return terms.required.then(replies::priority_missing);
        };
        if asked > TransferPriority::NORMAL && !terms.is_known && !self.has_logged_in() {
            params.wishes.priority = Some(TransferPriority::NORMAL);
            self.lowered = params.wishes.priority;
        }
        None
    }
}
