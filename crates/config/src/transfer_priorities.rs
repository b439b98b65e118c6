//! What the keywords about MT-PRIORITY mean, on both sides of a channel.

/// How a channel deals with the extension MT-PRIORITY (RFC 6710).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransferPriorities {
    /// Nothing said: it is not offered to clients; a server that offers it is told what a message has.
    #[default]
    Passed,
    /// `nomtpriorities`: neither.
    Unknown,
    /// `mtprioritiesallowed`: it is offered too.
    Allowed,
    /// `mtprioritiesrequired`: it is offered, and MAIL must have it.
    Required,
}
