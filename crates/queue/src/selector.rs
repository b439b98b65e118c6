//! What a release, a listing or an operator's command is about, and how it is written.
//!
//! The forms are those of ETRN's argument (RFC 1985, section 3: a node, `@` for a node and everything below it, `#` for
//! a queue by name) and, for operators only, `id:` with a queue id. Whether a name is known, and who may name it, is
//! decided by `dispatch`; whether a peer's spelling is legal in ETRN (which is narrower) by the SMTP server.

use std::fmt;
use std::str::FromStr;

use sluice_spool::EntryId;

/// Longest domain name in text form (RFC 1035, section 2.3.4: 255 octets on the wire).
const DOMAIN_LENGTH_MAX: usize = 253;
/// Longest label of a domain name (RFC 1035, section 2.3.4).
const LABEL_LENGTH_MAX: usize = 63;
/// Longest channel name we accept. PMDF's own limit is 32; names that we have not made ourselves get some room.
const CHANNEL_LENGTH_MAX: usize = 63;

/// Which part of the queue is meant. Names are kept in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selector {
    /// `example.com`: what waits for exactly this domain, or for the fixed peer of that name. For operators also
    /// `sourcespamfilter1:tcp_local`, the queue in which mail waits for a filter.
    Host(String),
    /// `@example.com`: this domain and everything below it, over all channels.
    Subnet(String),
    /// `#tcp_dialup`: a whole channel.
    Channel(String),
    /// `id:0000000000000A41`: one message. Operators only; ETRN has no such form.
    Message(EntryId),
}

/// Why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Nothing at all was written.
    #[error("a selector is `domain`, `@domain`, `#channel` or `id:message`; this one is empty")]
    Empty,
    /// `@`, `#` or `id:` with nothing after it.
    #[error("`{0}` needs a name after it")]
    NoName(&'static str),
    /// White space anywhere.
    #[error("a selector has no blanks in it: {0:?}")]
    Blank(String),
    /// Longer than a domain name can be.
    #[error("a domain name has at most {DOMAIN_LENGTH_MAX} characters, this one has {0}")]
    DomainTooLong(usize),
    /// Two dots in a row, or a dot at the beginning.
    #[error("`{0}` has an empty label between its dots")]
    EmptyLabel(String),
    /// One label of more than 63 characters.
    #[error("the label `{0}` has more than {LABEL_LENGTH_MAX} characters")]
    LabelTooLong(String),
    /// A character that domain names do not have.
    #[error("`{character}` cannot be in a domain name: {domain:?}")]
    DomainCharacter {
        /// The first offending character.
        character: char,
        /// The name it is in.
        domain: String,
    },
    /// `[` without `]`, or no address between them.
    #[error("`{0}` is not an address literal such as [192.0.2.1] or [IPv6:2001:db8::1]")]
    Literal(String),
    /// A character that channel names do not have.
    #[error("`{character}` cannot be in a channel name: {channel:?}")]
    ChannelCharacter {
        /// The first offending character.
        character: char,
        /// The name it is in.
        channel: String,
    },
    /// Longer than any channel name.
    #[error("a channel name has at most {CHANNEL_LENGTH_MAX} characters, this one has {0}")]
    ChannelTooLong(usize),
    /// `id:` with something that is not a queue id.
    #[error("`{0}` is not a queue id; `sluice queue list` shows them")]
    Id(String),
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text.is_empty() {
            return Err(SelectorError::Empty);
        }
        if text.chars().any(|character| character.is_whitespace() || character.is_control()) {
            return Err(SelectorError::Blank(text.to_owned()));
        }
        if let Some(name) = text.strip_prefix('#') {
            return channel(name).map(Self::Channel);
        }
        if let Some(name) = text.strip_prefix('@') {
            return match name {
                "" => Err(SelectorError::NoName("@")),
                name => domain(name).map(Self::Subnet),
            };
        }
        if let Some(id) = text.strip_prefix("id:") {
            return match id {
                "" => Err(SelectorError::NoName("id:")),
                id => id.parse().map(Self::Message).map_err(|_| SelectorError::Id(id.to_owned())),
            };
        }
        if waits_for_filter(text) {
            return Ok(Self::Host(text.to_ascii_lowercase()));
        }
        domain(text).map(Self::Host)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(domain) => out.write_str(domain),
            Self::Subnet(domain) => write!(out, "@{domain}"),
            Self::Channel(channel) => write!(out, "#{channel}"),
            Self::Message(id) => write!(out, "id:{id}"),
        }
    }
}

fn channel(name: &str) -> Result<String, SelectorError> {
    if name.is_empty() {
        return Err(SelectorError::NoName("#"));
    }
    let legal =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.' | '$');
    if let Some(character) = name.chars().find(|&character| !legal(character)) {
        return Err(SelectorError::ChannelCharacter { character, channel: name.to_owned() });
    }
    if name.len() > CHANNEL_LENGTH_MAX {
        return Err(SelectorError::ChannelTooLong(name.len()));
    }
    Ok(name.to_ascii_lowercase())
}

/// Whether it names a queue in which mail waits for a filter: `sourcespamfilter1:tcp_local`, `destinationspamfilter2:tcp_next`. No
/// host has such a name, and ETRN reads its argument elsewhere, by its own rules.
fn waits_for_filter(text: &str) -> bool {
    let Some((filter, name)) = text.split_once(':') else { return false };
    let filter = filter.to_ascii_lowercase();
    let number =
        ["sourcespamfilter", "destinationspamfilter"].iter().find_map(|one| filter.strip_prefix(one));
    let is_number = |number: &str| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    number.is_some_and(is_number) && channel(name).is_ok()
}

/// A domain as queues have it: labels of letters, digits, `-` and `_`, or an address literal. One label is enough, for
/// mail can wait for a host of the site's own that has a bare name.
fn domain(name: &str) -> Result<String, SelectorError> {
    if name.len() > DOMAIN_LENGTH_MAX {
        return Err(SelectorError::DomainTooLong(name.len()));
    }
    if let Some(literal) = name.strip_prefix('[') {
        let address = literal.strip_suffix(']').ok_or_else(|| SelectorError::Literal(name.to_owned()))?;
        let is_address = match address.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => {
                address[5..].parse::<std::net::Ipv6Addr>().is_ok()
            }
            _ => address.parse::<std::net::Ipv4Addr>().is_ok(),
        };
        return if is_address {
            Ok(name.to_lowercase())
        } else {
            Err(SelectorError::Literal(name.to_owned()))
        };
    }
    // A dot at the end is the root's, and some clients send it.
    let name = name.strip_suffix('.').unwrap_or(name);
    for label in name.split('.') {
        if label.is_empty() {
            return Err(SelectorError::EmptyLabel(name.to_owned()));
        }
        if label.len() > LABEL_LENGTH_MAX {
            return Err(SelectorError::LabelTooLong(label.to_owned()));
        }
        let legal = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_');
        if let Some(character) = label.chars().find(|&character| !legal(character)) {
            return Err(SelectorError::DomainCharacter { character, domain: name.to_owned() });
        }
    }
    Ok(name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match text.parse::<Selector>() {
            Ok(selector) => format!("{selector}"),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn the_four_forms_are_read_and_written_back() {
        assert_eq!("Example.COM".parse(), Ok(Selector::Host("example.com".into())));
        assert_eq!("@Example.com.".parse(), Ok(Selector::Subnet("example.com".into())));
        assert_eq!("#TCP_dialup".parse(), Ok(Selector::Channel("tcp_dialup".into())));
        assert_eq!(read("id:0000000000000A41"), "id:0000000000000A41");
        assert_eq!(read("[192.0.2.7]"), "[192.0.2.7]");
        assert_eq!(read("[IPv6:2001:DB8::1]"), "[ipv6:2001:db8::1]");
        assert_eq!(read("localhost"), "localhost");
        assert_eq!(read("bücher.example"), "bücher.example");
    }

    #[test]
    fn queues_in_which_mail_waits_for_filters_can_be_named() {
        for queue in ["sourcespamfilter1:tcp_local", "destinationspamfilter2:tcp_next"] {
            assert_eq!(read(queue), queue);
            assert_eq!(read(&queue.to_uppercase()), queue);
        }
        for other in
            ["sourcespamfilter:tcp_local", "sourcespamfilter1:", "sourcespamfilterx:y", "next.example:25"]
        {
            assert_eq!(read(other), format!("error: `:` cannot be in a domain name: {other:?}"));
        }
        assert!(read("sourcespamfilter1:a:b").starts_with("error: "));
    }

    #[test]
    fn each_mistake_is_named() {
        assert_eq!(
            read(""),
            "error: a selector is `domain`, `@domain`, `#channel` or `id:message`; this one is empty"
        );
        assert_eq!(read("@"), "error: `@` needs a name after it");
        assert_eq!(read("#"), "error: `#` needs a name after it");
        assert_eq!(read("id:"), "error: `id:` needs a name after it");
        assert_eq!(read("# tcp_local"), "error: a selector has no blanks in it: \"# tcp_local\"");
        assert_eq!(read("a..b"), "error: `a..b` has an empty label between its dots");
        assert_eq!(read("."), "error: `` has an empty label between its dots");
        assert_eq!(read("@@b"), "error: `@` cannot be in a domain name: \"@b\"");
        assert_eq!(read("a;b.example"), "error: `;` cannot be in a domain name: \"a;b.example\"");
        assert_eq!(read("#a/b"), "error: `/` cannot be in a channel name: \"a/b\"");
        assert_eq!(
            read("[300.0.0.1]"),
            "error: `[300.0.0.1]` is not an address literal such as [192.0.2.1] or [IPv6:2001:db8::1]"
        );
        assert_eq!(
            read("[1.2.3.4"),
            "error: `[1.2.3.4` is not an address literal such as [192.0.2.1] or [IPv6:2001:db8::1]"
        );
        assert_eq!(read("id:xyz"), "error: `xyz` is not a queue id; `sluice queue list` shows them");
        assert_eq!(read("a\u{7}b"), "error: a selector has no blanks in it: \"a\\u{7}b\"");
        assert_eq!(
            read(&"a.".repeat(200)),
            "error: a domain name has at most 253 characters, this one has 400"
        );
        assert_eq!(
            read(&"a".repeat(64)),
            format!("error: the label `{}` has more than 63 characters", "a".repeat(64))
        );
        assert_eq!(
            read(&format!("#{}", "a".repeat(64))),
            "error: a channel name has at most 63 characters, this one has 64"
        );
        // Cut within a character: the length test must not.
        assert_eq!(
            read("[éééé]"),
            "error: `[éééé]` is not an address literal such as [192.0.2.1] or [IPv6:2001:db8::1]"
        );
    }
}
