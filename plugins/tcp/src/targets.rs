//! From a destination to the hosts and addresses to try, in order (RFC 5321 section 5.1).
//!
//! # Not here
//! The lookups themselves (`names`), trying the addresses (`outbox`).

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use sluice_mail::{Host, NextHop};
use sluice_sdk::{Handover, Outcome, Status};

use crate::names::{Answer, Exchange, Names};
use crate::settings::{Lookups, Settings};

/// A place to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name of the host; a literal when it has none.
    pub(crate) name: String,
    pub(crate) place: Place,
    /// Whose place it is.
    pub(crate) approach: Approach,
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Net(SocketAddr),
    /// A socket of this machine, by its path.
    Unix(String),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Net(address) => address.fmt(out),
            Place::Unix(path) => out.write_str(path),
        }
    }
}

/// What a connection may be asked for, and what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approach {
    /// The host is the one that the channel is configured for: all of its settings apply.
    Configured,
    /// The hub has named another host for this delivery. The channel's login is for the configured one, and is not shown
    /// to any other.
    Named,
    /// A program of this machine, or a connection that a site has opened and turned: no TLS, no login, no ETRN.
    Local,
}

/// Who is looked for: what a failed lookup means depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sought<'a> {
    /// The destination of the message: where it does not exist, the message has failed.
    Destination(&'a str),
    /// A host that the configuration names (`daemon`, `lastresort`). The operator wants the mail to go there; when it
    /// is not found (a dial-up site between two addresses, a name server gone wrong) the mail waits.
    Configured(&'a str),
    /// A host that the hub has named for this delivery: by its addresses, at this port, unless its MX records are asked
    /// for. The mail waits when it is not found.
    Named { host: &'a str, port: Option<u16>, mx: bool },
}

impl<'a> Sought<'a> {
    pub(crate) fn name(self) -> &'a str {
        let (Sought::Destination(name) | Sought::Configured(name) | Sought::Named { host: name, .. }) = self;
        name
    }

    fn approach(self) -> Approach {
        match self {
            Sought::Destination(_) | Sought::Configured(_) => Approach::Configured,
            Sought::Named { .. } => Approach::Named,
        }
    }

    /// The port to use in place of the channel's.
    fn port(self, settings: &Settings) -> u16 {
        match self {
            Sought::Named { port: Some(port), .. } => port,
            _ => settings.port,
        }
    }

    /// Whether MX records are asked for.
    fn follows_mx(self, settings: &Settings) -> bool {
        match self {
            Sought::Named { mx, .. } => mx,
            Sought::Destination(_) | Sought::Configured(_) => {
                !matches!(settings.lookups, Lookups::Addresses | Lookups::HostTable)
            }
        }
    }

    /// A lookup that ended with nothing.
    fn missing(self, subject: u16, detail: u16, text: String) -> Outcome {
        match self {
            Sought::Destination(_) => Outcome::failed(Status::new(5, subject, detail), text),
            Sought::Configured(_) | Sought::Named { .. } => {
                Outcome::deferred(Status::new(4, subject, detail), text)
            }
        }
    }
}

/// The hosts to try for a destination, best first.
pub(crate) fn hosts(
    names: &dyn Names,
    settings: &Settings,
    sought: Sought<'_>,
) -> Result<Vec<String>, Outcome> {
    let domain = sought.name();
    if !sought.follows_mx(settings) || literal(domain).is_some() {
        return Ok(vec![domain.to_owned()]);
    }
    match names.exchanges(domain) {
        Answer::Found(exchanges) => {
            let hosts = in_order(exchanges, settings);
            if hosts.is_empty() {
                // RFC 7505 section 3.
                let text = format!("{domain} does not accept mail: its MX record says so");
                return Err(sought.missing(1, 10, text));
            }
            Ok(hosts)
        }
        // RFC 5321 section 5.1: without MX records the domain stands for itself.
        Answer::Nothing => Ok(vec![domain.to_owned()]),
        Answer::NoSuchName => Err(sought.missing(1, 2, format!("{domain} does not exist in the DNS"))),
        Answer::Trouble(why) => Err(trouble(domain, &why)),
    }
}

/// The addresses of one of the hosts.
pub(crate) fn addresses(
    names: &dyn Names,
    settings: &Settings,
    sought: Sought<'_>,
    host: &str,
) -> Result<Vec<Target>, Outcome> {
    let found = match literal(host) {
        Some(address) => vec![address],
        None => match names.addresses(host) {
            Answer::Found(found) => found,
            Answer::NoSuchName if host == sought.name() => {
                let place =
                    if settings.lookups == Lookups::HostTable { "in the host table" } else { "in the DNS" };
                return Err(sought.missing(1, 2, format!("{host} does not exist {place}")));
            }
            Answer::Nothing if host == sought.name() => {
                return Err(sought.missing(4, 4, format!("{host} has no address and no MX record")));
            }
            Answer::NoSuchName | Answer::Nothing => {
                let text = format!("{host}, a mail host of {}, has no address", sought.name());
                return Err(sought.missing(4, 4, text));
            }
            Answer::Trouble(why) => return Err(trouble(host, &why)),
        },
    };
    let name = if literal(host).is_some() { format!("[{}]", found[0]) } else { host.to_owned() };
    Ok(found
        .into_iter()
        .take(settings.addresses_max)
        .map(|ip| Target {
            name: name.clone(),
            place: Place::Net(SocketAddr::new(ip, sought.port(settings))),
            approach: sought.approach(),
        })
        .collect())
}

/// Where the hub wants a delivery to go in place of where the channel would take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hop {
    Host { host: String, port: Option<u16>, mx: bool },
    Unix(String),
}

impl Hop {
    /// Reads what the hub said; an outcome tells what is wrong with it.
    pub(crate) fn read(text: &str) -> Result<Hop, Outcome> {
        match text.parse::<NextHop>() {
            Ok(NextHop::Unix(path)) => Ok(Hop::Unix(path)),
            Ok(NextHop::Host { host, port, mx }) => {
                let host = match host {
                    Host::Name(name) => name,
                    Host::Address(address) => format!("[{address}]"),
                };
                Ok(Hop::Host { host, port, mx })
            }
            // RFC 3463 X.3.5: the system is not set up for it.
            Err(error) => Err(Outcome::deferred(Status::new(4, 3, 5), format!("the next hop: {error}"))),
        }
    }
}

fn trouble(name: &str, why: &str) -> Outcome {
    Outcome::deferred(Status::new(4, 4, 3), format!("looking up {name}: {why}"))
}

/// Hosts by preference. A null MX among others is left out: it contradicts them (RFC 7505 section 3).
fn in_order(mut exchanges: Vec<Exchange>, settings: &Settings) -> Vec<String> {
    exchanges.retain(|exchange| !exchange.host.is_empty());
    if settings.lookups == Lookups::Shuffled {
        shuffle(&mut exchanges);
    }
    // The sort is stable: equal preferences stay as they came, or as they were shuffled.
    exchanges.sort_by_key(|exchange| exchange.preference);
    let mut hosts: Vec<String> = Vec::new();
    for exchange in exchanges {
        if !hosts.iter().any(|host| host.eq_ignore_ascii_case(&exchange.host)) {
            hosts.push(exchange.host);
        }
    }
    hosts.truncate(settings.mx_max);
    hosts
}

fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        // Keys of the standard hasher are random for each state; nobody can gain by guessing them here.
        let random = RandomState::new().build_hasher().finish();
        items.swap(last, (random % (last as u64 + 1)) as usize);
    }
}

/// The address in `[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321 section 4.1.3), or either without brackets.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Some(tag) = inner.get(..5)
        && tag.eq_ignore_ascii_case("IPv6:")
    {
        return inner[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    inner.parse().ok()
}

/// Which of two reasons counts when several hosts were tried: one that may pass means that trying again makes sense,
/// and of two alike the one from the better host.
pub(crate) fn milder(first: Option<Outcome>, second: Outcome) -> Outcome {
    match (first, second) {
        (Some(Outcome::Failed { .. }), second @ Outcome::Deferred { .. }) | (None, second) => second,
        (Some(first), _) => first,
    }
}

/// An outcome as it crosses the edge to the host.
pub(crate) fn outward(outcome: sluice_mail::Outcome) -> Outcome {
    let across = |status: sluice_mail::Status| Status::new(status.class, status.subject, status.detail);
    match outcome {
        sluice_mail::Outcome::Delivered { status, text, peer, handover } => {
            let handover = match handover {
                sluice_mail::Handover::Final => Handover::Final,
                sluice_mail::Handover::Relayed => Handover::Relayed,
                sluice_mail::Handover::PassedOn => Handover::PassedOn,
            };
            Outcome::Delivered { status: across(status), text, peer, handover }
        }
        sluice_mail::Outcome::Deferred { status, text, peer } => {
            Outcome::Deferred { status: across(status), text, peer }
        }
        sluice_mail::Outcome::Failed { status, text, peer } => {
            Outcome::Failed { status: across(status), text, peer }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::Given;

    #[derive(Debug)]
    struct Zone;

    impl Names for Zone {
        fn exchanges(&self, domain: &str) -> Answer<Exchange> {
            let mx = |records: &[(u16, &str)]| {
                let one = |&(preference, host): &(u16, &str)| Exchange { preference, host: host.to_owned() };
                Answer::Found(records.iter().map(one).collect())
            };
            match domain {
                "many.example" => mx(&[(20, "c"), (10, "a"), (20, "d"), (10, "b"), (30, "A"), (20, "e")]),
                "null.example" => mx(&[(0, "")]),
                "odd.example" => mx(&[(0, ""), (10, "a")]),
                "gone.example" => Answer::NoSuchName,
                "slow.example" => Answer::Trouble("timed out".into()),
                _ => Answer::Nothing,
            }
        }

        fn addresses(&self, host: &str) -> Answer<IpAddr> {
            match host {
                "a" => Answer::Found(vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]),
                "plain.example" => Answer::Found(vec!["192.0.2.9".parse().unwrap()]),
                "gone" | "gone.example" => Answer::NoSuchName,
                "slow" => Answer::Trouble("timed out".into()),
                _ => Answer::Nothing,
            }
        }
    }

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::read(&Given::of(pairs)).unwrap()
    }

    fn told(outcome: &Outcome) -> String {
        match outcome {
            Outcome::Delivered { status, text, .. } => format!("delivered {status} {text}"),
            Outcome::Deferred { status, text, .. } => format!("deferred {status} {text}"),
            Outcome::Failed { status, text, .. } => format!("failed {status} {text}"),
        }
    }

    fn hosts_of(pairs: &[(&str, &str)], sought: Sought<'_>) -> String {
        hosts(&Zone, &settings(pairs), sought).map_or_else(|outcome| told(&outcome), |hosts| hosts.join(" "))
    }

    #[test]
    fn mail_hosts_in_order_of_preference() {
        let destination = |domain| hosts_of(&[], Sought::Destination(domain));
        assert_eq!(destination("many.example"), "a b c d e");
        assert_eq!(destination("plain.example"), "plain.example");
        assert_eq!(destination("odd.example"), "a");
        assert_eq!(destination("[192.0.2.7]"), "[192.0.2.7]");
        assert_eq!(hosts_of(&[("MAX_MX_RECORDS", "2")], Sought::Destination("many.example")), "a b");
        assert_eq!(hosts_of(&[("nomx", "")], Sought::Destination("many.example")), "many.example");
    }

    #[test]
    fn randommx_shuffles_only_equals() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let hosts = hosts_of(&[("randommx", "")], Sought::Destination("many.example"));
            assert!(
                hosts.starts_with("a b ")
                    || hosts.starts_with("b a ")
                    || hosts.starts_with("b A ")
                    || hosts.starts_with("A b "),
                "{hosts}"
            );
            seen.insert(hosts);
        }
        assert!(seen.len() >= 12, "{seen:?}");
    }

    #[test]
    fn what_a_failed_lookup_means() {
        let destination = |domain| hosts_of(&[], Sought::Destination(domain));
        assert_eq!(
            destination("null.example"),
            "failed 5.1.10 null.example does not accept mail: its MX record says so"
        );
        assert_eq!(destination("gone.example"), "failed 5.1.2 gone.example does not exist in the DNS");
        assert_eq!(destination("slow.example"), "deferred 4.4.3 looking up slow.example: timed out");
        // A host that the operator named is waited for.
        let configured = |domain| hosts_of(&[], Sought::Configured(domain));
        assert_eq!(configured("gone.example"), "deferred 4.1.2 gone.example does not exist in the DNS");
        assert_eq!(
            configured("null.example"),
            "deferred 4.1.10 null.example does not accept mail: its MX record says so"
        );
    }

    #[test]
    fn addresses_of_a_host() {
        let of = |pairs: &[(&str, &str)], domain, host| {
            addresses(&Zone, &settings(pairs), Sought::Destination(domain), host).map_or_else(
                |outcome| told(&outcome),
                |targets| {
                    let shown = targets.iter().map(|target| format!("{}={}", target.name, target.place));
                    shown.collect::<Vec<_>>().join(" ")
                },
            )
        };
        assert_eq!(of(&[], "x", "a"), "a=192.0.2.1:25 a=[2001:db8::1]:25");
        assert_eq!(of(&[("MAX_A_RECORDS", "1"), ("port", "2525")], "x", "a"), "a=192.0.2.1:2525");
        assert_eq!(of(&[], "[192.0.2.7]", "[192.0.2.7]"), "[192.0.2.7]=192.0.2.7:25");
        assert_eq!(of(&[], "x", "gone"), "failed 5.4.4 gone, a mail host of x, has no address");
        assert_eq!(of(&[], "gone", "gone"), "failed 5.1.2 gone does not exist in the DNS");
        assert_eq!(of(&[], "bare", "bare"), "failed 5.4.4 bare has no address and no MX record");
        assert_eq!(of(&[], "x", "slow"), "deferred 4.4.3 looking up slow: timed out");
    }

    #[test]
    fn literals() {
        for (text, address) in [
            ("[127.0.0.1]", Some("127.0.0.1")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("[IPv6:::1]", Some("::1")),
            ("[ipv6:2001:db8::1]", Some("2001:db8::1")),
            ("[::1]", Some("::1")),
            ("[127.0.0.1", None),
            ("[127.0.0.256]", None),
            ("[IPv6:127.0.0.1]", None),
            ("mail.example", None),
            ("", None),
            ("\u{e9}\u{e9}\u{e9}\u{e9}", None),
        ] {
            assert_eq!(literal(text), address.map(|text| text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_reason_that_may_pass_outweighs_one_that_will_not() {
        let failed = || Outcome::failed(Status::new(5, 0, 0), "no");
        let deferred = |text: &str| Outcome::deferred(Status::new(4, 0, 0), text);
        assert_eq!(milder(None, failed()), failed());
        assert_eq!(milder(Some(failed()), deferred("a")), deferred("a"));
        assert_eq!(milder(Some(deferred("a")), failed()), deferred("a"));
        assert_eq!(milder(Some(deferred("a")), deferred("b")), deferred("a"));
    }
}
