//! ETRN of a session: whose mail it asks for, whether this client may have it, which way it goes, and what the client is told.
//!
//! The order is that of the checks: how often it was asked, ETRN_ACCESS, the site and its login; then the dispatcher is
//! ordered to release. A name that leads nowhere may be an alias of one that does (CNAME): then that one is asked for.
//!
//! # Promises
//! Mail of a site with a login moves for that login only. It goes to the address of a request only when the login was safe,
//! and the address is that of the connection, never one that was said. A client without a claim learns neither whether
//! mail waits nor how much.
//! # Not here
//! The form of the argument and the state of the session (`smtp`), what a release does (`dispatch`).

use std::net::IpAddr;
use std::time::Duration;

use sluice_config::{Counts, Covers, Site, Tier, is_public_suffix};
use sluice_dispatch::{Loaded, Matched, Order, Peer, Released, Requester, Via};
use sluice_mail::{Address, Host, NextHop, Status};
use sluice_queue::Selector;
use sluice_rewrite::{Context, Kind};
use sluice_smtp::etrn::{Answers, EtrnPolicy, Node, Waiting};
use sluice_smtp::replies;
use sluice_smtp::reply::Reply;
use sluice_smtpd::{Demand, Session};
use tokio::sync::oneshot;

use crate::access::Access;
use crate::hub::Hub;
use crate::names::Names;

/// How long the name service has for an alias, or for the address of a site: the reply to ETRN is to be immediate
/// (RFC 1985 section 5), and what the name service does not know in this time it does not know.
const LOOKUP_TIME: Duration = Duration::from_secs(1);

/// Bit of LOG_CONNECTION for the records of ETRN.
const LOG_ETRN: u32 = 4;

/// What an ETRN comes to before the dispatcher is ordered.
struct Asking {
    order: Order,
    /// What its site is told of counts; as the channel says when it is no site's.
    counts: Counts,
    /// The login owns the site, or the client has the address of its target.
    claim: bool,
    /// A name whose addresses would be a claim too.
    claim_by_name: Option<String>,
}

/// Answers ETRN.
pub(crate) async fn answer(hub: &Hub, names: &Names, session: &Session, argument: &str) -> Reply {
    let loaded = hub.loaded();
    let Ok(node) = argument.parse::<Node>() else { return replies::etrn_syntax() };
    let answers = Answers::new(session.admission.etrn, &node);
    let (reply, channels) = if hub.asks().admits(&loaded.config.options, client(session), &node.to_string()) {
        match access(&loaded, session, &node, argument, &answers) {
            Ok(instead) => {
                let question = Question { hub, names, loaded: &loaded, session, argument };
                question.answer(&node, instead, &answers).await
            }
            Err(reply) => (reply, Vec::new()),
        }
    } else {
        (answers.too_often(), Vec::new())
    };
    record(&loaded, session, argument, &channels, &reply);
    reply
}

/// The address of a client, one for both ways of writing IPv4.
pub(crate) fn client(session: &Session) -> IpAddr {
    session.connection.peer.ip().to_canonical()
}

/// Who asks, as orders and their records have it.
pub(crate) fn peer(session: &Session, argument: &str) -> Peer {
    Peer {
        source_channel: session.admission.source_channel.clone(),
        address: client(session).to_string(),
        helo: session.helo.clone(),
        login: session.login.as_ref().map(|login| login.name.clone()),
        argument: argument.to_owned(),
    }
}

/// A record of the connection log (PMDF's code `I`), where LOG_CONNECTION wants it.
fn record(loaded: &Loaded, session: &Session, argument: &str, channels: &[String], reply: &Reply) {
    let options = &loaded.config.options;
    let default = loaded.config.channels.by_name(&session.connection.channel);
    let bits = default.and_then(|channel| channel.server.log_connection).unwrap_or(options.log_connection);
    if bits & LOG_ETRN == 0 {
        return;
    }
    let (local, peer) = (session.connection.local, session.connection.peer);
    let (local_ip, peer_ip) = (local.ip().to_canonical(), peer.ip().to_canonical());
    let (source, helo) = (&session.admission.source_channel, session.helo.escape_debug());
    let channels = if channels.is_empty() { "-".to_owned() } else { channels.join(",") };
    let (local_port, peer_port, argument) = (local.port(), peer.port(), argument.escape_debug());
    tracing::info!(
        target: "sluice::record",
        "{source} {channels} +I TCP|{local_ip}|{local_port}|{peer_ip}|{peer_port} SMTP/{helo} {argument} smtp;{reply}"
    );
}

/// What ETRN_ACCESS says: the channel to run instead, or the refusal.
fn access(
    loaded: &Loaded,
    session: &Session,
    node: &Node,
    argument: &str,
    answers: &Answers,
) -> Result<Option<String>, Reply> {
    if !loaded.rewriter.mappings().has("ETRN_ACCESS") {
        return Ok(None);
    }
    let (channel, name) = target(loaded, &session.admission.source_channel, node);
    Access::of_session(loaded, session).etrn(&channel, &name, argument).map_err(|text| {
        tracing::info!(peer = %session.connection.peer, node = argument, "ETRN refused by ETRN_ACCESS");
        match text.as_str() {
            "" => answers.not_allowed("the rules of this system forbid it"),
            text => Reply::new(459, Status { class: 4, subject: 5, detail: 0 }, text.to_owned()),
        }
    })
}

/// The channel that an ETRN would run, and the full name of the node, for the probe of ETRN_ACCESS.
fn target(loaded: &Loaded, source_channel: &str, node: &Node) -> (String, String) {
    let name = match node {
        Node::Queue(name) => {
            let found = loaded.config.channels.by_name(name);
            return (found.map_or_else(|| name.to_lowercase(), |channel| channel.name.clone()), name.clone());
        }
        Node::Host(name) | Node::Subnet(name) | Node::Name(name) => name,
    };
    let address = Address { route: Vec::new(), local: "postmaster".to_owned(), host: Some(name.clone()) };
    let context = Context { kind: Kind::EnvelopeTo, source_channel, destination_channel: None };
    match loaded.rewriter.route(&address, &context, None) {
        Ok(route) => {
            let host = route.host().to_owned();
            (route.channel, host)
        }
        Err(_) => (String::new(), name.clone()),
    }
}

/// One ETRN that has come so far.
struct Question<'a> {
    hub: &'a Hub,
    names: &'a Names,
    loaded: &'a Loaded,
    session: &'a Session,
    argument: &'a str,
}

impl Question<'_> {
    /// The reply, and the channels that run.
    async fn answer(&self, node: &Node, instead: Option<String>, answers: &Answers) -> (Reply, Vec<String>) {
        let asking = match instead {
            Some(channel) => Ok(self.plain(Selector::Channel(channel.to_lowercase()))),
            None => self.judge(node, answers),
        };
        let asking = match asking {
            Ok(asking) => asking,
            Err(reply) => return (reply, Vec::new()),
        };
        let may_be_alias = asking.order.site.is_none();
        let Some(mut found) = self.release(asking).await else { return (answers.unable(), Vec::new()) };
        if may_be_alias
            && found.0.messages == 0
            && let Node::Host(name) = node
            && !name.starts_with('[')
            && let Some(other) = self.canonical(name).await
            && let Ok(asking) = self.judge(&Node::Host(other), answers)
            && let Some(released) = self.release(asking).await
            && matches!(released.0.matched, Matched::Known | Matched::Closed)
        {
            found = released;
        }
        let (released, counts, claim) = found;
        let answers = if claim { answers.clone().with_claim() } else { answers.clone() };
        (reply(&answers, &released, counts), released.channels)
    }

    /// Orders a release and waits for what it has found. `None` when the dispatcher cannot take note of it.
    async fn release(&self, asking: Asking) -> Option<(Released, Counts, bool)> {
        let Asking { order, counts, mut claim, claim_by_name } = asking;
        let node = self.argument;
        let released = release(self.hub, order, node).await?;
        let tells = counts != Counts::No && self.session.admission.etrn != EtrnPolicy::Allow;
        if let (false, true, Some(name)) = (claim, tells, claim_by_name) {
            claim = self.addresses(&name).await.contains(&client(self.session));
        }
        Some((released, counts, claim))
    }

    /// An order for something that is no site's.
    fn plain(&self, selector: Selector) -> Asking {
        let requester = Requester::Etrn(peer(self.session, self.argument));
        let order = Order::new(selector, requester);
        Asking { order, counts: Counts::Yes, claim: false, claim_by_name: None }
    }

    /// Whose mail the node is, and whether this client may have it.
    fn judge(&self, node: &Node, answers: &Answers) -> Result<Asking, Reply> {
        let sites = &self.loaded.config.sites;
        let by_name = |name: &str| sites.by_queue_name(name).or_else(|| sites.by_name(name));
        let lower = |name: &String| name.to_lowercase();
        let (whole, site) = match node {
            Node::Name(name) => (true, Some(by_name(name).ok_or_else(replies::etrn_syntax)?)),
            Node::Queue(name) => match by_name(name) {
                Some(site) => (true, Some(site)),
                None => return Ok(self.plain(Selector::Channel(lower(name)))),
            },
            Node::Host(name) => match by_name(name) {
                Some(site) => (true, Some(site)),
                None => match sites.by_domain(name) {
                    Some(site) => (site.covers == Covers::Site, Some(site)),
                    None => (true, self.by_target(name)),
                },
            },
            Node::Subnet(name) if is_public_suffix(name) => return Err(answers.too_broad()),
            Node::Subnet(name) => {
                let site = sites.by_domain(name);
                (site.is_some_and(|site| site.covers == Covers::Site), site)
            }
        };
        let Some(site) = site else {
            return Ok(self.plain(match node {
                Node::Subnet(name) => Selector::Subnet(lower(name)),
                Node::Host(name) | Node::Queue(name) | Node::Name(name) => Selector::Host(lower(name)),
            }));
        };
        let login = self.session.login.as_ref().map(|login| login.name.as_str());
        if !site.is_open_to(login) {
            let can_log_in = login.is_none() && self.session.admission.safety.auth != Demand::No;
            tracing::info!(peer = %self.session.connection.peer, site = %site.name, login, "ETRN for a site of another login");
            return Err(match (node, can_log_in) {
                // What may be no name at all is not said to be one.
                (Node::Name(_), _) => replies::etrn_syntax(),
                (_, true) => replies::auth_required(),
                (_, false) => answers.unknown(),
            });
        }
        let owns = login.is_some_and(|login| site.has_login(login));
        if site.tier == Tier::Turned {
            return Err(answers.clone().with_claim().not_allowed("its mail is taken by ATRN"));
        }
        let mut order = Order::for_site(site, Requester::Etrn(peer(self.session, self.argument)));
        match node {
            _ if whole => {}
            Node::Subnet(name) => order.selectors = below(site, name),
            Node::Host(name) | Node::Queue(name) | Node::Name(name) => {
                order.selectors = vec![Selector::Host(lower(name))];
            }
        }
        if let Some(way) = self.proved_way(site, owns) {
            order.via = way;
        }
        let target = site.target.as_deref().unwrap_or_default();
        let literal = address(target);
        let claim = owns || literal == Some(client(self.session));
        let claim_by_name = (literal.is_none() && !target.is_empty()).then(|| target.to_owned());
        Ok(Asking { order, counts: site.counts, claim, claim_by_name })
    }

    /// The site whose mail goes to this host, if it is one only.
    fn by_target(&self, name: &str) -> Option<&Site> {
        let mut sites = self.loaded.config.sites.by_target(name);
        sites.next().filter(|_| sites.next().is_none())
    }

    /// Where the mail of a site goes because of what the client has proved; `None` is where it goes for anybody.
    fn proved_way(&self, site: &Site, owns: bool) -> Option<Via> {
        let host = Host::Address(client(self.session));
        (site.tier == Tier::Dynamic && owns && self.is_safe()).then_some(Via::Target(NextHop::Host {
            host,
            port: site.port,
            mx: false,
        }))
    }

    /// Whether the login is proof enough for mail to go to the address that it came from: nobody on the way can have heard
    /// the password.
    fn is_safe(&self) -> bool {
        self.session.login.as_ref().is_some_and(|login| !login.mechanism.is_clear())
            || self.session.tls.is_some()
    }

    /// What a name is an alias of.
    async fn canonical(&self, name: &str) -> Option<String> {
        let resolver =
            self.names.of(self.loaded.config.channels.by_name(&self.session.admission.source_channel)?)?;
        self.names.within(LOOKUP_TIME, crate::names::canonical(resolver, name.to_owned())).await.flatten()
    }

    async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let channel = self.loaded.config.channels.by_name(&self.session.admission.source_channel);
        let Some(resolver) = channel.and_then(|channel| self.names.of(channel)) else { return Vec::new() };
        let found = self.names.within(LOOKUP_TIME, crate::names::addresses(resolver, name.to_owned())).await;
        found.unwrap_or_default()
    }
}

/// An address as TARGET has it: in brackets.
fn address(target: &str) -> Option<IpAddr> {
    let inner = target.strip_prefix('[')?.strip_suffix(']')?;
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => inner[5..].parse().ok(),
        _ => inner.parse().ok(),
    }
}

/// What a site has at and below a domain.
fn below(site: &Site, domain: &str) -> Vec<Selector> {
    use sluice_mail::ReversedDomain;
    let asked = ReversedDomain::new(domain);
    let whole =
        site.domains.iter().any(|own| own.with_below && asked.is_within(&ReversedDomain::new(&own.domain)));
    if whole {
        return vec![Selector::Subnet(domain.to_lowercase())];
    }
    let own = site.domains.iter().filter(|own| ReversedDomain::new(&own.domain).is_within(&asked));
    own.map(Order::selector_of).collect()
}

/// Orders a release and waits for what it has found. `None` when the dispatcher cannot take note of it.
pub(crate) async fn release(hub: &Hub, order: Order, node: &str) -> Option<Released> {
    let (sender, answer) = oneshot::channel();
    let asked = hub.dispatcher().release(order, move |released| drop(sender.send(released)));
    if let Err(busy) = asked {
        tracing::warn!(node, %busy, "a release could not be taken note of");
        return None;
    }
    answer.await.ok()
}

/// The words for what a release has found.
fn reply(answers: &Answers, released: &Released, counts: Counts) -> Reply {
    match released.matched {
        Matched::Known => {
            let channels = released.channels.iter().map(String::as_str).collect::<Vec<_>>();
            let waiting = match (counts, released.messages) {
                (Counts::Yes, messages) => Waiting::Messages(messages),
                (Counts::Some, 0) => Waiting::Nothing,
                (Counts::Some, _) => Waiting::Something,
                (Counts::No, _) => Waiting::Unknown,
            };
            answers.started(&channels, waiting)
        }
        Matched::Blocked => answers.not_allowed("this system does not release it on request"),
        Matched::Unknown => answers.unknown(),
        // Why is the operator's business; the client is to come again.
        Matched::Closed | Matched::Unanswered => answers.unable(),
    }
}
