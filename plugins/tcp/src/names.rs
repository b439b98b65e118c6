//! Looking names up: MX and address records from the DNS, and the local host table.
//!
//! The resolver is asynchronous and lives on a small runtime of the plugin's own; callers block. It caches as the
//! records' times to live allow, negative answers for at most half a minute: a dial-up site that has just entered its
//! new address shall be found.
//!
//! # Not here
//! What the answers mean for a message (`targets`).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use tokio::runtime::Runtime;

use crate::halt::Halt;
use crate::settings::{Lookups, Settings};

/// What a lookup found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    /// At least one record.
    Found(Vec<T>),
    /// The name exists and has no such record.
    Nothing,
    /// The name does not exist.
    NoSuchName,
    /// Nobody could say; the reason.
    Trouble(String),
}

/// An MX record (RFC 1035 section 3.3.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) preference: u16,
    /// Without the final dot; empty in a null MX (RFC 7505).
    pub(crate) host: String,
}

/// A name service.
pub(crate) trait Names: fmt::Debug + Send + Sync {
    /// MX records of a domain, in the order received.
    fn exchanges(&self, domain: &str) -> Answer<Exchange>;
    /// Addresses of a host, IPv4 first.
    fn addresses(&self, host: &str) -> Answer<IpAddr>;
}

/// The name service that the settings ask for.
pub(crate) fn service(settings: &Settings, runtime: &Arc<Runtime>, halt: &Arc<Halt>) -> Box<dyn Names> {
    let hosts = Hosts::from_system().unwrap_or_default();
    if settings.lookups == Lookups::HostTable {
        return Box::new(HostTable { hosts });
    }
    Box::new(Dns {
        resolver: resolver(settings),
        hosts,
        runtime: Arc::clone(runtime),
        halt: Arc::clone(halt),
    })
}

/// How long one name server gets, twice.
const QUERY_TIME: Duration = Duration::from_secs(5);
/// Longest memory for "there is no such record".
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(30);

fn resolver(settings: &Settings) -> Result<TokioResolver, String> {
    let builder = if settings.nameservers.is_empty() {
        TokioResolver::builder_tokio().map_err(|error| format!("/etc/resolv.conf cannot be used: {error}"))?
    } else {
        let servers = settings.nameservers.iter().map(|&ip| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = settings.nameserver_port;
                connection
            });
            NameServerConfig::new(ip, true, connections.into())
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let mut builder = builder;
    let options = builder.options_mut();
    options.timeout = QUERY_TIME;
    options.attempts = 2;
    options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
    // We look into the host table ourselves, so that a host with one address there is not asked for in the DNS.
    options.use_hosts_file = ResolveHosts::Never;
    builder.build().map_err(|error| format!("the resolver cannot be set up: {error}"))
}

/// `nodns`: nothing but the host table.
#[derive(Debug)]
struct HostTable {
    hosts: Hosts,
}

impl Names for HostTable {
    fn exchanges(&self, _domain: &str) -> Answer<Exchange> {
        Answer::Nothing
    }

    fn addresses(&self, host: &str) -> Answer<IpAddr> {
        match absolute(host) {
            Ok(name) => match in_table(&self.hosts, &name) {
                found if found.is_empty() => Answer::NoSuchName,
                found => Answer::Found(found),
            },
            Err(answer) => answer,
        }
    }
}

struct Dns {
    /// Or why there is none; that is told with each message, since the rest of the channel may not need it.
    resolver: Result<TokioResolver, String>,
    hosts: Hosts,
    runtime: Arc<Runtime>,
    halt: Arc<Halt>,
}

impl Dns {
    /// Waits for an answer; a stopping channel does not.
    fn wait<T>(&self, answer: impl Future<Output = Answer<T>>) -> Answer<T> {
        self.runtime.block_on(async {
            tokio::select! {
                answer = answer => answer,
                () = self.halt.told() => Answer::Trouble("the channel is stopping".to_owned()),
            }
        })
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dns")
    }
}

impl Names for Dns {
    fn exchanges(&self, domain: &str) -> Answer<Exchange> {
        let name = match absolute(domain) {
            Ok(name) => name,
            Err(answer) => return answer,
        };
        // A name of the host table is a host of ours and has no MX.
        if !in_table(&self.hosts, &name).is_empty() {
            return Answer::Nothing;
        }
        let resolver = match &self.resolver {
            Ok(resolver) => resolver,
            Err(why) => return Answer::Trouble(why.clone()),
        };
        let read = |data: &RData| match data {
            RData::MX(mx) => {
                let host = mx.exchange.to_ascii();
                Some(Exchange { preference: mx.preference, host: host.trim_end_matches('.').to_owned() })
            }
            _ => None,
        };
        self.wait(look_up(resolver, name, RecordType::MX, read))
    }

    fn addresses(&self, host: &str) -> Answer<IpAddr> {
        let name = match absolute(host) {
            Ok(name) => name,
            Err(answer) => return answer,
        };
        let found = in_table(&self.hosts, &name);
        if !found.is_empty() {
            return Answer::Found(found);
        }
        let resolver = match &self.resolver {
            Ok(resolver) => resolver,
            Err(why) => return Answer::Trouble(why.clone()),
        };
        self.wait(async {
            let (four, six) = tokio::join!(
                look_up(resolver, name.clone(), RecordType::A, RData::ip_addr),
                look_up(resolver, name.clone(), RecordType::AAAA, RData::ip_addr),
            );
            both(four, six)
        })
    }
}

/// Two lookups of one name as one answer. An address is good even when the other half of the answer is missing.
fn both(four: Answer<IpAddr>, six: Answer<IpAddr>) -> Answer<IpAddr> {
    match (four, six) {
        (Answer::Found(mut four), Answer::Found(six)) => {
            four.extend(six);
            Answer::Found(four)
        }
        (Answer::Found(found), _) | (_, Answer::Found(found)) => Answer::Found(found),
        (Answer::Trouble(why), _) | (_, Answer::Trouble(why)) => Answer::Trouble(why),
        (Answer::NoSuchName, _) | (_, Answer::NoSuchName) => Answer::NoSuchName,
        (Answer::Nothing, Answer::Nothing) => Answer::Nothing,
    }
}

async fn look_up<T>(
    resolver: &TokioResolver,
    name: Name,
    kind: RecordType,
    read: impl Fn(&RData) -> Option<T>,
) -> Answer<T> {
    match resolver.lookup(name, kind).await {
        Ok(lookup) => {
            let found: Vec<T> = lookup.answers().iter().filter_map(|record| read(&record.data)).collect();
            if found.is_empty() { Answer::Nothing } else { Answer::Found(found) }
        }
        Err(error) => answer_of(&error),
    }
}

fn answer_of<T>(error: &NetError) -> Answer<T> {
    if error.is_nx_domain() {
        Answer::NoSuchName
    } else if error.is_no_records_found() {
        Answer::Nothing
    } else {
        Answer::Trouble(error.to_string())
    }
}

/// The name as the root sees it: no search list is ever applied to a mail domain. What cannot be a name in the DNS does
/// not exist there.
fn absolute<T>(text: &str) -> Result<Name, Answer<T>> {
    let text = text.trim_end_matches('.');
    if text.is_empty() {
        return Err(Answer::NoSuchName);
    }
    let mut name = Name::from_utf8(text).map_err(|_| Answer::NoSuchName)?;
    name.set_fqdn(true);
    Ok(name)
}

fn in_table(hosts: &Hosts, name: &Name) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        if let Some(lookup) = hosts.lookup_static_host(&Query::query(name.clone(), kind)) {
            found.extend(lookup.answers().iter().filter_map(|record| record.data.ip_addr()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_good_even_when_the_other_family_fails() {
        let found = || Answer::Found(vec![ip("192.0.2.1")]);
        for other in [Answer::Nothing, Answer::NoSuchName, Answer::Trouble("x".into())] {
            assert_eq!(both(found(), other.clone()), found());
            assert_eq!(both(other, found()), found());
        }
        assert_eq!(both(Answer::Nothing, Answer::Trouble("x".into())), Answer::Trouble("x".into()));
        assert_eq!(both(Answer::NoSuchName, Answer::Trouble("x".into())), Answer::Trouble("x".into()));
        assert_eq!(both(Answer::Nothing, Answer::NoSuchName), Answer::NoSuchName);
    }

    #[test]
    fn what_cannot_be_a_name_does_not_exist() {
        let long = "x".repeat(300);
        for text in ["", ".", "a..b", &long] {
            assert_eq!(absolute::<IpAddr>(text), Err(Answer::NoSuchName), "{text:?}");
        }
        assert_eq!(absolute::<IpAddr>("Mail.Example.").unwrap(), absolute::<IpAddr>("mail.example").unwrap());
    }

    #[test]
    fn the_host_table_is_enough_for_nodns() {
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(&b"127.0.0.9 site.example site\n::9 site.example\n"[..]).unwrap();
        let table = HostTable { hosts };
        assert_eq!(table.addresses("site.example"), Answer::Found(vec![ip("127.0.0.9"), ip("::9")]));
        assert_eq!(table.addresses("SITE"), Answer::Found(vec![ip("127.0.0.9")]));
        assert_eq!(table.addresses("other.example"), Answer::NoSuchName);
        assert_eq!(table.exchanges("site.example"), Answer::Nothing);
    }
}
