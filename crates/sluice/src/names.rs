//! The name service as the listeners need it: the name of a client, and whether the domain of a sender exists.
//!
//! Resolvers are made when a channel first wants one, and kept: they remember answers. The channel keyword `nameservers` and
//! the option `NAMESERVER_PORT` of its file say whom to ask; without them it is the system's own servers and host table.
//!
//! # Not here
//! Where mail goes (the plugins have resolvers of their own), and how long an answer is waited for (`smtpd`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use parking_lot::Mutex;
use sluice_config::{Channel, ForwardCheck};
use sluice_mail::{Refusal, Status};
use sluice_smtpd::{ClientName, LOOKUP_TIME};

/// Longest name in the DNS (RFC 1035 section 2.3.4).
const NAME_OCTETS_MAX: usize = 253;

/// How long a name service that has not answered in time is left alone by those who need its answer at once.
const SILENCE: Duration = Duration::from_secs(60);
/// An alias may lead to another one; a row of more than this is a circle, or as good as one.
const ALIASES_MAX: usize = 8;

/// Which servers to ask: none are the system's own.
type Servers = (Vec<IpAddr>, u16);

/// Resolvers, one for each choice of servers.
#[derive(Default)]
pub(crate) struct Names {
    resolvers: Mutex<HashMap<Servers, TokioResolver>>,
    /// Until then nobody waits for a name service that has not answered in time.
    silent_until: Mutex<Option<Instant>>,
}

impl Names {
    /// The resolver of a channel; `None` when there is none to be had, which the log tells.
    pub(crate) fn of(&self, channel: &Channel) -> Option<TokioResolver> {
        let port = channel.option_file.iter().find(|option| option.name == "NAMESERVER_PORT");
        let port = port.and_then(|option| option.value.parse().ok()).unwrap_or(53);
        let servers = (channel.settings.name_servers.clone(), port);
        let mut known = self.resolvers.lock();
        if let Some(resolver) = known.get(&servers) {
            return Some(resolver.clone());
        }
        match resolver(&servers) {
            Ok(resolver) => {
                known.insert(servers, resolver.clone());
                Some(resolver)
            }
            Err(why) => {
                tracing::error!(channel = %channel.name, why, "no name service for this channel");
                None
            }
        }
    }
}

impl Names {
    /// Waits so long for a look-up that somebody waits for in turn. When one was in vain, the next ones are not tried for a
    /// while.
    pub(crate) async fn within<T>(&self, limit: Duration, lookup: impl Future<Output = T>) -> Option<T> {
        if self.silent_until.lock().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let answer = tokio::time::timeout(limit, lookup).await.ok();
        if answer.is_none() {
            *self.silent_until.lock() = Some(Instant::now() + SILENCE);
        }
        answer
    }
}

fn resolver((servers, port): &Servers) -> Result<TokioResolver, String> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio().map_err(|error| format!("/etc/resolv.conf cannot be used: {error}"))?
    } else {
        let servers = servers.iter().map(|&ip| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = *port;
                connection
            });
            NameServerConfig::new(ip, true, connections.into())
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        builder
    };
    let options = builder.options_mut();
    options.timeout = LOOKUP_TIME / 2;
    options.attempts = 1;
    builder.build().map_err(|error| error.to_string())
}

/// Records of one kind; `Err(None)` when there are none, `Err(Some)` when nobody could say.
async fn records<T>(
    resolver: &TokioResolver,
    name: Name,
    kind: RecordType,
    read: impl Fn(&RData) -> Option<T>,
) -> Result<Vec<T>, Option<String>> {
    match resolver.lookup(name, kind).await {
        Ok(lookup) => {
            let found: Vec<T> = lookup.answers().iter().filter_map(|record| read(&record.data)).collect();
            if found.is_empty() { Err(None) } else { Ok(found) }
        }
        Err(error) if error.is_nx_domain() || error.is_no_records_found() => Err(None),
        Err(error) => Err(Some(error.to_string())),
    }
}

/// The name of a client, checked as the channel wants it.
pub(crate) async fn client_name(
    resolver: TokioResolver,
    client: IpAddr,
    check: ForwardCheck,
) -> Option<ClientName> {
    let client = client.to_canonical();
    let read = |data: &RData| match data {
        RData::PTR(name) => Some(name.0.to_ascii()),
        _ => None,
    };
    let names = records(&resolver, Name::from(client), RecordType::PTR, read).await.ok()?;
    // Whoever owns the address writes there what they like.
    let name =
        names.into_iter().map(|name| name.trim_end_matches('.').to_owned()).find(|name| is_name(name))?;
    if check == ForwardCheck::None {
        return Some(ClientName { name, doubtful: false });
    }
    let kind = if client.is_ipv4() { RecordType::A } else { RecordType::AAAA };
    let mut absolute = Name::from_utf8(&name).ok()?;
    absolute.set_fqdn(true);
    let back = records(&resolver, absolute, kind, RData::ip_addr).await.unwrap_or_default();
    let doubtful = !back.contains(&client);
    (!doubtful || check == ForwardCheck::Tag).then_some(ClientName { name, doubtful })
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() <= NAME_OCTETS_MAX && name.bytes().all(is_letter)
}

/// What a name is an alias of (CNAME), to the end of the row; `None` when it is none.
pub(crate) async fn canonical(resolver: TokioResolver, name: String) -> Option<String> {
    let mut found = None;
    let mut name = name;
    for _ in 0..ALIASES_MAX {
        let mut absolute = Name::from_utf8(name.trim_end_matches('.')).ok()?;
        absolute.set_fqdn(true);
        let read = |data: &RData| match data {
            RData::CNAME(target) => Some(target.0.to_ascii()),
            _ => None,
        };
        let Ok(targets) = records(&resolver, absolute, RecordType::CNAME, read).await else { return found };
        name = targets.into_iter().next()?.trim_end_matches('.').to_lowercase();
        if !is_name(&name) {
            return None;
        }
        found = Some(name.clone());
    }
    None
}

/// The addresses of a host; none when it has none, or nobody can say.
pub(crate) async fn addresses(resolver: TokioResolver, host: String) -> Vec<IpAddr> {
    let Ok(mut name) = Name::from_utf8(host.trim_end_matches('.')) else { return Vec::new() };
    name.set_fqdn(true);
    let mut found = records(&resolver, name.clone(), RecordType::A, RData::ip_addr).await.unwrap_or_default();
    found.extend(records(&resolver, name, RecordType::AAAA, RData::ip_addr).await.unwrap_or_default());
    found
}

/// Whether mail could be sent to a domain at all: it has an MX record or an address.
pub(crate) async fn domain_exists(resolver: TokioResolver, domain: String) -> Result<(), Refusal> {
    let unknown = || {
        let text = format!("the domain {domain} of the sender is not in the name service");
        Refusal::new(550, Status::new(5, 1, 8), text)
    };
    let mut name = Name::from_utf8(domain.trim_end_matches('.')).map_err(|_| unknown())?;
    name.set_fqdn(true);
    let mut trouble = None;
    for kind in [RecordType::MX, RecordType::A, RecordType::AAAA] {
        match records(&resolver, name.clone(), kind, |_| Some(())).await {
            Ok(_) => return Ok(()),
            Err(Some(why)) => trouble = Some(why),
            Err(None) => {}
        }
    }
    match trouble {
        None => Err(unknown()),
        Some(why) => {
            tracing::warn!(domain, why, "the domain of a sender could not be looked up");
            Err(sluice_smtp::replies::sender_not_looked_up().into_refusal())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_testkit::{NameServer, Record};

    const ZONE: &[(&str, Record)] = &[
        ("5.2.0.192.in-addr.arpa", Record::Name("pc.site.example")),
        ("pc.site.example", Record::Address([192, 0, 2, 5])),
        ("6.2.0.192.in-addr.arpa", Record::Name("liar.example")),
        ("liar.example", Record::Address([192, 0, 2, 77])),
        ("7.2.0.192.in-addr.arpa", Record::Name("bad)name.example")),
        ("8.2.0.192.in-addr.arpa", Record::Broken),
        ("mail.example", Record::Exchange("pc.site.example")),
        ("broken.example", Record::Broken),
        ("alias.example", Record::Alias("other.example")),
        ("other.example", Record::Alias("pc.site.example")),
        ("circle.example", Record::Alias("circle.example")),
    ];

    fn ask<T>(question: impl AsyncFnOnce(TokioResolver) -> T) -> T {
        let server = NameServer::start(ZONE);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let resolver = resolver(&(vec![IpAddr::from([127, 0, 0, 1])], server.port()));
        runtime.block_on(async { question(resolver.unwrap()).await })
    }

    fn name(last: u8, check: ForwardCheck) -> Option<(String, bool)> {
        let client = IpAddr::from([192, 0, 2, last]);
        let found = ask(async |resolver| client_name(resolver, client, check).await);
        found.map(|found| (found.name, found.doubtful))
    }

    #[test]
    fn a_name_is_marked_or_forgotten_when_it_does_not_lead_back() {
        use ForwardCheck::{Delete, None as Unchecked, Tag};
        for check in [Unchecked, Tag, Delete] {
            assert_eq!(name(5, check), Some(("pc.site.example".to_owned(), false)), "{check:?}");
        }
        assert_eq!(name(6, Unchecked), Some(("liar.example".to_owned(), false)));
        assert_eq!(name(6, Tag), Some(("liar.example".to_owned(), true)));
        assert_eq!(name(6, Delete), None);
    }

    #[test]
    fn an_alias_is_followed_to_its_end() {
        let end = |name: &str| ask(async |resolver| canonical(resolver, name.to_owned()).await);
        assert_eq!(end("alias.example").as_deref(), Some("pc.site.example"));
        for name in ["pc.site.example", "circle.example", "nowhere.example", "broken.example", "", "a..b"] {
            assert_eq!(end(name), None, "{name}");
        }
        let found = |host: &str| ask(async |resolver| addresses(resolver, host.to_owned()).await);
        assert_eq!(found("pc.site.example"), [IpAddr::from([192, 0, 2, 5])]);
        assert!(found("nowhere.example").is_empty());
    }

    #[test]
    fn a_silent_name_service_is_left_alone_for_a_while() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let names = Names::default();
            assert_eq!(names.within(Duration::from_secs(9), async { 1 }).await, Some(1));
            let silent = names.within(Duration::from_millis(1), std::future::pending::<()>());
            assert_eq!(silent.await, None);
            assert_eq!(names.within(Duration::from_secs(9), async { 1 }).await, None, "nobody asks");
        });
    }

    #[test]
    fn what_is_no_name_is_none() {
        for last in [7, 8, 9] {
            assert_eq!(name(last, ForwardCheck::None), None, "{last}");
        }
    }

    #[test]
    fn a_domain_exists_with_an_exchanger_or_an_address() {
        let code = |domain: &str| {
            ask(async |resolver| domain_exists(resolver, domain.to_owned()).await)
                .map_err(|refusal| refusal.code)
        };
        assert_eq!(code("mail.example"), Ok(()));
        assert_eq!(code("pc.site.example."), Ok(()));
        assert_eq!(code("nowhere.example"), Err(550));
        assert_eq!(code("broken.example"), Err(450));
        assert_eq!(code(&"x".repeat(300)), Err(550));
    }
}
