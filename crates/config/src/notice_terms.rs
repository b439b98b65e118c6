//! What a channel's keywords say of notices: how they are written, and which of them the postmaster sees.
//!
//! # Not here
//! When they are due (`Settings::notices`), and writing them (`mail`, `dispatch`).

/// How notices about mail to a channel are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NoticeTerms {
    /// `returnaddress`: the postmaster's address in them.
    pub address: Option<String>,
    /// `returnpersonal`: the name that goes with it.
    pub personal: Option<String>,
    /// `suppressfinal`: they tell a recipient as the sender gave it, and not what became of that.
    pub suppress_final: bool,
    /// `postheadonly`: copies for the postmaster hold no more than the header of a message.
    pub post_head_only: bool,
    /// `notificationchannel`: the channel that they come from in the place of `process`, lower case.
    pub channel: Option<String>,
}

/// When the postmaster gets a copy of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PostmasterCopies {
    /// Always.
    Always,
    /// Except for messages whose return address is empty (PMDF's choice where no keyword is written).
    #[default]
    UnlessNullSender,
    /// Only when the notice cannot go to the sender.
    OnError,
    /// Never.
    Never,
}
