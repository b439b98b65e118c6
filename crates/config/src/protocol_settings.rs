//! What keywords say of how a channel speaks with others: ends of lines, names and addresses, VRFY, the greeting.
//!
//! # Not here
//! All other keywords, and what each has without one (`settings`).

/// What ends a line on an SMTP channel, apart from message content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnds {
    /// `smtp`, `smtp_crorlf`: CR, LF, or both.
    CrOrLf,
    /// `smtp_crlf`: only both.
    Crlf,
    /// `smtp_cr`.
    Cr,
    /// `smtp_lf`.
    Lf,
}

/// How the name of a target becomes addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mx {
    /// `defaultmx`: like `mx` where there is a name service.
    #[default]
    Default,
    /// `mx`: MX records, in the same way as `nonrandommx`.
    Mx,
    /// `randommx`: MX records, those of equal preference in random order.
    Random,
    /// `nonrandommx`: MX records, those of equal preference in the order received.
    NonRandom,
    /// `nomx`: address records only.
    NoMx,
    /// `nodns`: the local host table only.
    NoDns,
}

/// What is done about the name of a client (PMDF System Manager's Guide, "Reverse DNS lookups on incoming SMTP connections").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ident {
    /// `identnonenumeric`: it is not looked up. Messaging Server's choice where no keyword is written.
    #[default]
    Numeric,
    /// `identnone`: name and address stand in `Received:`, and the name may choose a channel.
    Both,
    /// `identnonelimited`: the same, but the name chooses no channel.
    Limited,
    /// `identnonesymbolic`: only the name stands in `Received:`.
    Symbolic,
}

/// What becomes of a client's name that does not lead back to its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardCheck {
    /// Nobody looks.
    #[default]
    None,
    /// It is marked.
    Tag,
    /// It is forgotten.
    Delete,
}

/// How the server answers VRFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Vrfy {
    /// In full.
    Allow,
    /// As the option `HIDE_VERIFY` of the channel says.
    #[default]
    Default,
    /// Vaguely.
    Hide,
}

/// How the client greets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ehlo {
    /// EHLO, and HELO when that is not understood.
    #[default]
    Default,
    /// `ehlo`: always EHLO.
    Ehlo,
    /// `checkehlo`: EHLO when the greeting of the server says ESMTP.
    Check,
    /// `noehlo`: always HELO.
    Helo,
}
