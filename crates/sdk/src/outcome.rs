//! What became of a recipient, in the plugin's words.

/// A status code of RFC 3463, such as 4.4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// 2 success, 4 not now, 5 never.
    pub class: u8,
    /// What it is about: 1 the address, 2 the mailbox, 4 the network, …
    pub subject: u16,
    /// Which of the things that can be said about it.
    pub detail: u16,
}

impl Status {
    /// `class.subject.detail`.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Status {
        Status { class, subject, detail }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// Who tells the sender about a recipient that was delivered, if it asked for that (RFC 3461).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handover {
    /// The hub: this was the end of the way.
    #[default]
    Final,
    /// The hub: the next hop makes no reports of deliveries.
    Relayed,
    /// The next hop, which was told what the sender wants.
    PassedOn,
}

/// What became of one recipient. `text` is the reply of whoever decided, with its code if there was one; `peer` is that
/// host's name, empty when the plugin decided itself. Both reach the sender's notice and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The next hop, or the mailbox, has it now and answers for it.
    Delivered {
        /// Class 2.
        status: Status,
        /// What the peer said.
        text: String,
        /// Who said it.
        peer: String,
        /// Who tells the sender.
        handover: Handover,
    },
    /// Not now; the host tries again by the channel's schedule.
    Deferred {
        /// Class 4.
        status: Status,
        /// What the peer said.
        text: String,
        /// Who said it.
        peer: String,
    },
    /// Never; the sender gets a notice.
    Failed {
        /// Class 5.
        status: Status,
        /// What the peer said.
        text: String,
        /// Who said it.
        peer: String,
    },
}

impl Outcome {
    /// Its status code.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Outcome::Delivered { status, .. }
            | Outcome::Deferred { status, .. }
            | Outcome::Failed { status, .. } => *status,
        }
    }

    /// What the deciding side said.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Outcome::Delivered { text, .. }
            | Outcome::Deferred { text, .. }
            | Outcome::Failed { text, .. } => text,
        }
    }

    /// Delivered by the plugin itself, 2.0.0.
    pub fn delivered(text: impl Into<String>) -> Outcome {
        Outcome::Delivered {
            status: Status::new(2, 0, 0),
            text: text.into(),
            peer: String::new(),
            handover: Handover::Final,
        }
    }

    /// Passed on by the plugin itself, 2.0.0: whoever has it now tells the sender what becomes of it ([`Handover::PassedOn`]).
    pub fn passed_on(text: impl Into<String>) -> Outcome {
        Outcome::Delivered {
            status: Status::new(2, 0, 0),
            text: text.into(),
            peer: String::new(),
            handover: Handover::PassedOn,
        }
    }

    /// Not now, says the plugin itself.
    pub fn deferred(status: Status, text: impl Into<String>) -> Outcome {
        Outcome::Deferred { status, text: text.into(), peer: String::new() }
    }

    /// Never, says the plugin itself.
    pub fn failed(status: Status, text: impl Into<String>) -> Outcome {
        Outcome::Failed { status, text: text.into(), peer: String::new() }
    }

    /// The same, with somebody else to tell the sender about a delivery.
    #[must_use]
    pub fn handed_over(mut self, to: Handover) -> Outcome {
        if let Outcome::Delivered { handover, .. } = &mut self {
            *handover = to;
        }
        self
    }

    /// The same, said by `name`.
    #[must_use]
    pub fn from_peer(mut self, name: impl Into<String>) -> Outcome {
        let (Outcome::Delivered { peer, .. } | Outcome::Deferred { peer, .. } | Outcome::Failed { peer, .. }) =
            &mut self;
        *peer = name.into();
        self
    }
}
