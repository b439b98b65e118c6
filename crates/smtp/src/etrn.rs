//! ETRN (RFC 1985): the argument, who may use which form, and the words of the answer.
//!
//! The argument is a stranger's text. A [`Node`] is what is left of it when it is well formed; nothing else of it is
//! handed on. [`Answers`] makes the replies, and is where the promise of the quiet policies is kept: no channel name and
//! no count in anything it says, not even the name that the client itself gave behind `#`.
//!
//! # Not here
//! What a node matches and what is released (`dispatch`), the order of checks in a session (`server`).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::replies;
use crate::reply::Reply;

/// Longest name behind `#`. RFC 1985 leaves queue names to the server; ours are channel and queue names.
pub const QUEUE_NAME_OCTETS_MAX: usize = 63;
/// Longest domain (RFC 1035 section 2.3.4, without the final dot).
pub const DOMAIN_OCTETS_MAX: usize = 253;
/// Longest label of a domain (RFC 1035 section 2.3.4).
pub const LABEL_OCTETS_MAX: usize = 63;

/// What the client asks to have released, as it wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Node {
    /// `ETRN host`: that host, or an address literal with its brackets.
    Host(String),
    /// `ETRN @domain`: the domain and all under it; the text without `@`.
    Subnet(String),
    /// `ETRN #name`: a queue or channel of that name; the text without `#`.
    Queue(String),
    /// `ETRN name`: no domain, but what could be the name of a queue. Clients that were given a queue name by their provider
    /// send it with `#` or without. Where there is no such queue, it is a syntax error like any other.
    Name(String),
}

/// The argument of ETRN is not a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a domain, @domain or #queue")]
pub struct NodeError;

impl FromStr for Node {
    type Err = NodeError;

    /// `@` and a domain, `#` and a queue name, a domain or address literal, or a queue name alone. Domains are ASCII
    /// (A-labels), with at least two labels.
    fn from_str(text: &str) -> Result<Node, NodeError> {
        match text.as_bytes().first() {
            Some(b'@') if is_domain(&text[1..]) => Ok(Node::Subnet(text[1..].to_owned())),
            Some(b'#') if is_queue_name(&text[1..]) => Ok(Node::Queue(text[1..].to_owned())),
            Some(b'[') if is_literal(text) => Ok(Node::Host(text.to_owned())),
            _ if is_domain(text) => Ok(Node::Host(text.to_owned())),
            // A name with dots that is no domain is a mistake, and nobody's queue.
            Some(first) if first.is_ascii_alphanumeric() && !text.contains('.') && is_queue_name(text) => {
                Ok(Node::Name(text.to_owned()))
            }
            _ => Err(NodeError),
        }
    }
}

impl fmt::Display for Node {
    /// As the client wrote it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Host(name) | Node::Name(name) => write!(f, "{name}"),
            Node::Subnet(name) => write!(f, "@{name}"),
            Node::Queue(name) => write!(f, "#{name}"),
        }
    }
}

pub(crate) fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        let octets = label.as_bytes();
        (1..=LABEL_OCTETS_MAX).contains(&octets.len())
            && octets.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            && octets.first() != Some(&b'-')
            && octets.last() != Some(&b'-')
    };
    text.len() <= DOMAIN_OCTETS_MAX && text.contains('.') && text.split('.').all(label)
}

fn is_queue_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'$');
    (1..=QUEUE_NAME_OCTETS_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_literal(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else {
        return false;
    };
    let tag = inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:"));
    match tag {
        Some(_) => inner[5..].parse::<Ipv6Addr>().is_ok(),
        None => inner.parse::<Ipv4Addr>().is_ok(),
    }
}

/// What an incoming channel grants: the keywords `allowetrn`, `silentetrn`, `domainetrn`, `disableetrn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EtrnPolicy {
    /// All three forms; the reply names the channel that runs and the number of messages (`allowetrn`).
    Allow,
    /// All three forms; the reply tells nothing (`silentetrn`, and no keyword at all).
    #[default]
    Silent,
    /// Only `@domain` (`domainetrn`), or with `plain` also `domain` (`ETRN_DOMAIN_PLAIN=1`); the reply tells nothing.
    Domain {
        /// The plain form is served too.
        plain: bool,
    },
    /// Not offered, 502 (`disableetrn`).
    Disable,
}

impl EtrnPolicy {
    /// Whether this form of ETRN is served at all.
    pub fn permits(self, node: &Node) -> bool {
        match (self, node) {
            (EtrnPolicy::Allow | EtrnPolicy::Silent, _) | (EtrnPolicy::Domain { .. }, Node::Subnet(_)) => {
                true
            }
            (EtrnPolicy::Domain { plain }, Node::Host(_)) => plain,
            (EtrnPolicy::Domain { .. }, Node::Queue(_) | Node::Name(_)) | (EtrnPolicy::Disable, _) => false,
        }
    }
}

/// How much waits for the node at the moment of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Nobody has looked.
    Unknown,
    /// Nothing.
    Nothing,
    /// Something; nobody has counted.
    Something,
    /// This many messages. Nought is the same as [`Waiting::Nothing`].
    Messages(u64),
}

/// Makes the replies to one ETRN under one policy.
#[derive(Debug, Clone)]
pub struct Answers {
    names_channel: bool,
    /// The client may know how much waits, and why it is refused.
    counts: bool,
    node: String,
}

impl Answers {
    /// Answers about `node` to a client of a channel with `policy`.
    pub fn new(policy: EtrnPolicy, node: &Node) -> Answers {
        let open = policy == EtrnPolicy::Allow;
        // A quiet server does not even repeat a queue name: it may be the name of a channel.
        let node = match node {
            Node::Queue(_) | Node::Name(_) if !open => "as named".to_owned(),
            node => node.to_string(),
        };
        Answers { names_channel: open, counts: open, node }
    }

    /// The client has a claim to the node (it logged in, or connects from the site's own address): it may know how much
    /// waits, whatever the policy.
    #[must_use]
    pub fn with_claim(mut self) -> Answers {
        self.counts = true;
        self
    }

    /// The node's mail goes out now: 250, or for those who may know 251, 252, 253. `channels` are those that run.
    pub fn started(&self, channels: &[&str], waiting: Waiting) -> Reply {
        let waiting = if self.counts { waiting } else { Waiting::Unknown };
        let channel = if self.names_channel { channels.join(", ") } else { String::new() };
        let node = &self.node;
        match (waiting, channel.as_str()) {
            (Waiting::Nothing | Waiting::Messages(0), _) => replies::etrn_nothing_waiting(node),
            (Waiting::Unknown, "") => replies::etrn_started(node),
            (Waiting::Something, "") => replies::etrn_pending(node),
            (Waiting::Messages(count), "") => replies::etrn_pending_count(count, node),
            (Waiting::Unknown, channel) => replies::etrn_channel_started(node, channel),
            (Waiting::Something, channel) => replies::etrn_channel_pending(node, channel),
            (Waiting::Messages(count), channel) => replies::etrn_channel_pending_count(count, node, channel),
        }
    }

    /// 458: the store or the queue cannot do it now.
    pub fn unable(&self) -> Reply {
        replies::etrn_unable(&self.node)
    }

    /// 458: this client, or all clients together, ask for the node too often.
    pub fn too_often(&self) -> Reply {
        replies::etrn_too_often(&self.node)
    }

    /// 459 by policy. The reason goes to clients that may know it; the others cannot tell it from
    /// [`Answers::unknown`], or they could find out which nodes there are.
    pub fn not_allowed(&self, reason: &str) -> Reply {
        if self.counts { replies::etrn_not_allowed(&self.node, reason) } else { self.unknown() }
    }

    /// 459 for `@` and a name below which anybody may have a domain. That it is one is no secret.
    pub fn too_broad(&self) -> Reply {
        replies::etrn_not_allowed(&self.node, "everybody's domains are below it")
    }

    /// 459 for a node that this system does not serve.
    pub fn unknown(&self) -> Reply {
        replies::etrn_unknown_node(&self.node)
    }

    /// 459 for a form of ETRN that the policy does not permit; this is said whether the node exists or not.
    pub(crate) fn form_not_served(&self, reason: &str) -> Reply {
        replies::etrn_not_allowed(&self.node, reason)
    }
}
