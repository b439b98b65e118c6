//! What a session has gathered when DATA is accepted, and what becomes of it.
//!
//! Plain data; the order of the commands that fill it is in the module above.

use sluice_mail::notice::Action;
use sluice_mail::{Recipient, RecipientWishes, Refusal};

use crate::command::MailParams;
use crate::content::Fault;

/// A transaction whose DATA was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The reverse-path; empty for the null one.
    pub sender: String,
    /// Parameters of MAIL.
    pub params: MailParams,
    /// The accepted recipients, at least one.
    pub recipients: Vec<Accepted>,
    /// RCPT commands that were accepted; one of them may stand for several recipients.
    pub commands: u32,
    /// Those of them that stand for several recipients, or for a list, where their sender wants to be told something.
    pub expanded: Vec<Expanded>,
}

/// A recipient that stands for others, and what the sender wishes about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    /// As the client gave it.
    pub original: String,
    /// What the client said about it.
    pub wishes: RecipientWishes,
    /// What is to be told when the message is safe: a list is its destination, an alias leads on.
    pub action: Action,
}

/// One of the recipients that the path of a RCPT command stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The recipient.
    pub recipient: Recipient,
    /// The reverse-path that its copy goes out with, where that is not the client's: a list has its own.
    pub sender: Option<String>,
    /// Its copy waits for an operator.
    pub held: bool,
    /// It came out of an alias. Such a recipient is dropped when the transaction has it already.
    pub expanded: bool,
    /// Most octets of a message for it; `None` is no limit.
    pub size_max: Option<u64>,
    /// Most lines of a message for it; `None` is no limit.
    pub lines_max: Option<u32>,
    /// It gets no copy, and the sender a notice that says so: `acceptalladdresses` lets no RCPT fail.
    pub refused: Option<Refusal>,
}

impl Accepted {
    /// Whether a message of so many octets is too large for it.
    pub fn is_outgrown_by(&self, octets: u64) -> bool {
        self.size_max.is_some_and(|size_max| octets > size_max)
    }
}

impl From<Recipient> for Accepted {
    fn from(recipient: Recipient) -> Accepted {
        Accepted {
            recipient,
            sender: None,
            held: false,
            expanded: false,
            size_max: None,
            lines_max: None,
            refused: None,
        }
    }
}

/// Hands the wishes about a recipient down to those that it stands for, by RFC 3461 section 5.2.7. Who has one other
/// address keeps all of them. Who stands for several is reported as expanded, and word of success is not asked of each; a
/// list, which has a reverse-path of its own, is where the message was sent to, and what its sender wished ends there.
pub fn hand_down(original: &str, wishes: RecipientWishes, accepted: &mut [Accepted]) -> Option<Expanded> {
    if wishes.is_default() {
        return None;
    }
    let is_list = accepted.iter().any(|one| one.expanded && one.sender.is_some());
    let action = match accepted {
        [] => return None,
        _ if is_list => Action::Delivered,
        [only] => {
            only.recipient.wishes = wishes;
            return None;
        }
        several => {
            for one in several {
                one.recipient.wishes =
                    RecipientWishes { notify: wishes.notify.without_success(), ..wishes.clone() };
            }
            Action::Expanded
        }
    };
    Some(Expanded { original: original.to_owned(), wishes, action })
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// It is safe, under this id.
    Safe(String),
    /// Its content is at fault.
    Faulty(Fault),
    /// It was not taken.
    Refused(Refusal),
}
