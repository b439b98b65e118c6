//! What happened to an address, step by step, for people.

use std::fmt;

use sluice_diag::{Sources, Span};

use crate::evaluate::Failure;
use crate::place::Position;
use crate::rewriter::Kind;

/// The steps of one rewriting, in order. Keeping one costs time; hand one in only when somebody will read it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// The steps.
    pub steps: Vec<Step>,
}

/// A rule as written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleText {
    /// The pattern.
    pub pattern: String,
    /// The template.
    pub template: String,
    /// Place of the pattern; `None` for an entry of the domain database.
    pub span: Option<Span>,
}

/// One step of rewriting.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// What was asked.
    Begin {
        /// The address.
        address: String,
        /// What it is.
        kind: Kind,
        /// The channel that does the rewriting.
        source_channel: String,
    },
    /// The null path, or an address without local part: it is not changed.
    NotRewritten,
    /// A bare name got a host.
    Completed {
        /// The name with its new host.
        address: String,
        /// The host came from `defaulthost` of the source channel; otherwise it is the local host.
        default_host: bool,
    },
    /// The first host of the address at hand.
    FirstHost {
        /// The address at hand.
        address: String,
        /// The host.
        host: String,
        /// Where it stood.
        position: Position,
        /// What was left for `$U`.
        user: String,
    },
    /// The table was asked for a pattern.
    Probe {
        /// The pattern, behind the tag in force.
        pattern: String,
        /// How many rules have it.
        rules: usize,
    },
    /// A rule was tried and does not apply.
    RuleFailed {
        /// The rule.
        rule: RuleText,
        /// Why.
        why: Failure,
    },
    /// A rule applies.
    RuleApplied {
        /// The rule.
        rule: RuleText,
        /// What its template built, as `user@host routed to system` or `user@host, again`.
        result: String,
    },
    /// The tag for all further probes.
    Tagged(
        /// The tag.
        String,
    ),
    /// No rule matches: the host is taken as it is.
    AsIs {
        /// The host.
        host: String,
    },
    /// The address goes through the rules again.
    Again {
        /// The address now.
        address: String,
        /// How many times so far.
        repeats: u32,
    },
    /// The routing system is a host of a channel.
    ChannelFound {
        /// The routing system.
        routing_system: String,
        /// The channel.
        channel: String,
    },
    /// The routing system is no host of any channel.
    NoChannel {
        /// The routing system.
        routing_system: String,
    },
    /// A local host with more behind it: the result is thrown away, the host deleted.
    HostRemoved {
        /// The host that was deleted.
        host: String,
        /// The channel that made it local.
        channel: String,
        /// What is left.
        address: String,
    },
    /// A `%` or `!` host that nobody knows: the local part is a mailbox name here.
    Mailbox {
        /// The name with the local host.
        address: String,
    },
    /// The channel table gives the host another name in envelope recipients.
    ProperName {
        /// The name in the table.
        host: String,
        /// The proper name.
        proper: String,
        /// The channel.
        channel: String,
    },
    /// The envelope keyword of the channel writes the routing system into the address.
    RouteWritten {
        /// The routing system.
        routing_system: String,
        /// The address with it.
        address: String,
    },
    /// The local host alias of the channel stands for the official name of this system.
    LocalAlias {
        /// The channel.
        channel: String,
        /// The address with it.
        address: String,
    },
    /// The channel writes routes in another form.
    Restyled {
        /// The channel.
        channel: String,
        /// The address in that form.
        address: String,
    },
    /// The result.
    Done {
        /// The address after rewriting.
        address: String,
        /// The channel.
        channel: String,
    },
    /// The address is refused.
    Refused {
        /// The reason.
        text: String,
    },
}

impl Trace {
    /// An empty trace.
    pub fn new() -> Trace {
        Trace::default()
    }

    /// The steps as lines of text; rules are named with file and line.
    pub fn lines(&self, sources: &Sources) -> Vec<String> {
        self.steps.iter().map(|step| step.line(sources)).collect()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for RuleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{} {}`", self.pattern, self.template)
    }
}

impl Step {
    /// The step as text; a rule is named with its file and line.
    pub fn line(&self, sources: &Sources) -> String {
        match self {
            Step::RuleFailed { rule, .. } | Step::RuleApplied { rule, .. } => {
                let Some(span) = rule.span else { return format!("{self} (domain database)") };
                let (path, line) = (sources.path(span.source), sources.position(span).line);
                format!("{self} ({}:{line})", path.display())
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Begin { address, kind, source_channel } => {
                write!(f, "rewriting {address} as {kind}, from channel {source_channel}")
            }
            Step::NotRewritten => f.write_str("the address has no local part: it is not changed"),
            Step::Completed { address, default_host: false } => {
                write!(f, "no host: the local host is added, {address}")
            }
            Step::Completed { address, default_host: true } => {
                write!(f, "no host: defaulthost of the source channel is added, {address}")
            }
            Step::FirstHost { address, host, position, user } => {
                write!(f, "first host of {address} is {host}, {position}; user is {user}")
            }
            Step::Probe { pattern, rules: 0 } => write!(f, "pattern {pattern}: no rule"),
            Step::Probe { pattern, rules: 1 } => write!(f, "pattern {pattern}: 1 rule"),
            Step::Probe { pattern, rules } => write!(f, "pattern {pattern}: {rules} rules"),
            Step::RuleFailed { rule, why } => write!(f, "rule {rule} does not apply: {why}"),
            Step::RuleApplied { rule, result } => write!(f, "rule {rule} applies: {result}"),
            Step::Tagged(tag) => write!(f, "the tag is now {tag}"),
            Step::AsIs { host } => write!(f, "no rule applies to {host}: it is its own routing system"),
            Step::Again { address, repeats } => {
                write!(f, "rewriting again from the start with {address} (repeat {repeats})")
            }
            Step::ChannelFound { routing_system, channel } => {
                write!(f, "routing system {routing_system} belongs to channel {channel}")
            }
            Step::NoChannel { routing_system } => {
                write!(f, "routing system {routing_system} is no host of any channel")
            }
            Step::HostRemoved { host, channel, address } => write!(
                f,
                "{host} is this system (channel {channel}) and there are more hosts: it is removed, leaving {address}"
            ),
            Step::Mailbox { address } => {
                write!(f, "no such host: the whole local part is a mailbox here, {address}")
            }
            Step::ProperName { host, proper, channel } => {
                write!(f, "the table of channel {channel} calls {host} {proper} in envelope recipients")
            }
            Step::RouteWritten { routing_system, address } => {
                write!(
                    f,
                    "the way through {routing_system} is written into the envelope recipient, {address}"
                )
            }
            Step::LocalAlias { channel, address } => {
                write!(f, "channel {channel} has a local host alias, {address}")
            }
            Step::Restyled { channel, address } => {
                write!(f, "channel {channel} writes envelope recipients in its own form, {address}")
            }
            Step::Done { address, channel } => write!(f, "result: {address} on channel {channel}"),
            Step::Refused { text } => write!(f, "refused: {text}"),
        }
    }
}
