//! The front door: what the SMTP listeners ask, answered from the configuration, the rewriter and the dispatcher.
//!
//! Decides the source channel (`switchchannel`) and who may send. Not here: what becomes of a recipient (`recipients`), the
//! conversation (`smtpd`), the meaning of a release (`dispatch`).

use std::net::IpAddr;
use std::sync::Arc;

use sluice_config::{Channel, Config, EtrnPolicy, LineEnds, ServerOptions, Settings, SwitchChannel, Vrfy};
use sluice_dispatch::{Loaded, Matched, Released, Requester};
use sluice_mail::{Address, Recipient, Refusal, Status};
use sluice_queue::Selector;
use sluice_rewrite::{Context, Kind};
use sluice_smtp::etrn::{Answers, Node, Waiting};
use sluice_smtp::replies;
use sluice_smtp::reply::Reply;
use sluice_smtpd::{
    Accepted, Admission, Connection, Ends, EtrnAnswer, ExpandLater, Incoming, Intake, Limits, LongLines,
    MailParams, Orders, Quotas, Reception, Session, Transaction,
};

use crate::access::Access;
use crate::arriving::Arriving;
use crate::hub::{self, Hub};
use crate::recipients::Recipients;

/// Least number of ETRN commands that a session may send unless the operator says otherwise. PMDF's own default of one
/// breaks every client that has two names.
const ETRNS_PER_SESSION_MIN: u32 = 8;

/// The hub as the listeners see it.
pub(crate) struct Door {
    hub: Arc<Hub>,
}

impl Door {
    /// A door into this hub.
    pub(crate) fn new(hub: Arc<Hub>) -> Door {
        Door { hub }
    }

    /// Where a recipient goes, or why it goes nowhere.
    fn resolve(
        &self,
        session: &Session,
        sender: &str,
        path: &str,
        orders: &mut Orders,
    ) -> Result<Vec<Accepted>, Refusal> {
        let loaded = self.hub.loaded();
        let address = Address::parse(path).map_err(|error| bad_address(5, 1, 3, path, &error))?;
        let mut ordered = orders.clone();
        let accepted = Recipients { loaded: &loaded, session, sender, path }.accept(&address, &mut ordered);
        match accepted {
            Ok(_) => *orders = ordered,
            // What was said about a recipient who is refused concerns nobody else, but the client may well wait.
            Err(_) => {
                (orders.delay_once, orders.delay_each) = (ordered.delay_once, ordered.delay_each);
            }
        }
        accepted
    }
}

impl Intake for Door {
    fn admit(&self, connection: &Connection) -> Result<Admission, Refusal> {
        let loaded = self.hub.loaded();
        let config = &loaded.config;
        let Some(default) = config.channels.by_name(&connection.channel) else {
            // The listener outlived a reload that took its channel away.
            let text = format!("{} does not take mail at the moment", config.channels.local().official_host);
            return Err(Refusal { code: 421, status: Status { class: 4, subject: 3, detail: 2 }, text });
        };
        Access::of_connection(&loaded, connection).connect()?;
        let source = switched(&loaded, default, connection.peer.ip()).unwrap_or(default);
        let options = &config.options;
        let banner_host = default.server.banner_host.clone();
        let largest = [
            Some(options.max_message_size),
            options.block_limit,
            config.channels.largest_block_limit(),
            source.settings.source_block_limit,
        ];
        let defaults = Limits::default();
        Ok(Admission {
            source_channel: source.name.clone(),
            banner_host: banner_host.unwrap_or_else(|| config.channels.local().official_host.clone()),
            etrn: etrn_policy(source),
            limits: Limits {
                max_message_size: largest.into_iter().flatten().filter(|size| *size > 0).min().unwrap_or(0),
                max_recipients: [
                    Some(options.max_recipients),
                    default.server.allow_recipients_per_transaction,
                    source.settings.recipient_limit,
                ]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(defaults.max_recipients),
                max_errors: source.settings.disconnect_bad_command_limit.unwrap_or(defaults.max_errors),
                quotas: quotas(&source.settings, &default.server),
                etrn_per_session: default.server.allow_etrns_per_session.unwrap_or(ETRNS_PER_SESSION_MIN),
                max_received_lines: options.max_received_lines,
                command_timeout: default.server.command_receive_time,
                data_timeout: default.server.data_receive_time,
                expand_later: expand_later(&loaded, source),
                ..defaults
            },
            reception: reception(&source.settings, config),
        })
    }

    fn sender(
        &self,
        session: &Session,
        path: &str,
        _params: &MailParams,
        orders: &mut Orders,
    ) -> Result<(), Refusal> {
        if !path.is_empty() {
            Address::parse(path).map_err(|error| bad_address(5, 1, 7, path, &error))?;
        }
        let loaded = self.hub.loaded();
        if loaded.rewriter.mappings().is_empty() {
            return Ok(());
        }
        let access = Access::of_session(&loaded, session);
        if !access.asks_about_senders() {
            return Ok(());
        }
        let source_channel = session.admission.source_channel.as_str();
        access.sender(source_channel, &hub::rewritten(&loaded, path, source_channel), orders)
    }

    fn recipient(
        &self,
        session: &Session,
        sender: &str,
        path: &str,
        orders: &mut Orders,
    ) -> Result<Vec<Accepted>, Refusal> {
        match self.resolve(session, sender, path, orders) {
            // A temporary error stays one: to bounce the recipient would make it permanent.
            Err(refusal) if session.admission.reception.accept_all && refusal.code >= 500 => {
                let original = path.to_owned();
                let recipient = Recipient { address: path.to_owned(), original, ..Recipient::default() };
                Ok(vec![Accepted { refused: Some(refusal), ..recipient.into() }])
            }
            answer => answer,
        }
    }

    fn verify(&self, session: &Session, text: &str) -> Reply {
        let loaded = self.hub.loaded();
        let channel = loaded.config.channels.by_name(&session.admission.source_channel);
        let open = channel.is_some_and(|channel| match channel.settings.vrfy {
            Vrfy::Allow => true,
            Vrfy::Hide => false,
            Vrfy::Default => {
                let default = loaded.config.channels.by_name(&session.connection.channel);
                !default.unwrap_or(channel).server.hide_verify
            }
        });
        if !open {
            return replies::cannot_verify();
        }
        let path = text.strip_prefix('<').and_then(|path| path.strip_suffix('>')).unwrap_or(text);
        let known = self.resolve(session, "", path, &mut Orders::default());
        match known.as_deref() {
            // Whom a list stands for is not told.
            Ok([only]) => Reply::new(
                250,
                Status { class: 2, subject: 1, detail: 5 },
                format!("<{}>", only.recipient.address),
            ),
            Err(refusal) => Reply::from(refusal.clone()),
            Ok(_) => replies::cannot_verify(),
        }
    }

    fn begin(&self, session: &Session, transaction: &Transaction) -> Box<dyn Incoming> {
        Box::new(Arriving::new(&self.hub, session, transaction))
    }

    fn etrn(&self, session: &Session, argument: &str, done: Box<dyn FnOnce(EtrnAnswer) + Send>) {
        let Ok(node) = argument.parse::<Node>() else {
            return done(EtrnAnswer { reply: replies::etrn_syntax() });
        };
        let policy = session.admission.etrn;
        let answers = Answers::new(policy, &node);
        let loaded = self.hub.loaded();
        let mut instead = None;
        if loaded.rewriter.mappings().has("ETRN_ACCESS") {
            let (channel, name) = etrn_target(&loaded, &session.admission.source_channel, &node);
            match Access::of_session(&loaded, session).etrn(&channel, &name, argument) {
                Ok(channel) => instead = channel,
                Err(text) => {
                    tracing::info!(peer = %session.connection.peer, node = argument, "ETRN refused by ETRN_ACCESS");
                    let status = Status { class: 4, subject: 5, detail: 0 };
                    let reply = match text.as_str() {
                        "" => answers.not_allowed("the rules of this system forbid it"),
                        text => Reply::new(459, status, text.to_owned()),
                    };
                    return done(EtrnAnswer { reply });
                }
            }
        }
        let selector = match &node {
            Node::Host(name) => Selector::Host(name.to_lowercase()),
            Node::Subnet(name) => Selector::Subnet(name.to_lowercase()),
            Node::Queue(name) => Selector::Channel(name.to_lowercase()),
        };
        let selector = instead.map_or(selector, |channel| Selector::Channel(channel.to_lowercase()));
        let requester = Requester::Etrn {
            peer: format!("{} ({})", session.connection.peer, session.helo),
            source_channel: session.admission.source_channel.clone(),
        };
        let asked = self.hub.dispatcher().release(selector, requester, move |released| {
            done(EtrnAnswer { reply: etrn_reply(&answers, &released) });
        });
        if let Err(busy) = asked {
            // The callback has gone unused, which the session answers with 458.
            tracing::warn!(node = argument, %busy, "an ETRN could not be taken note of");
        }
    }
}

/// The words for what a release found.
fn etrn_reply(answers: &Answers, released: &Released) -> Reply {
    match released.matched {
        Matched::Known => {
            let channels = released.channels.iter().map(String::as_str).collect::<Vec<_>>();
            answers.started(&channels, Waiting::Messages(released.messages))
        }
        Matched::Blocked => answers.not_allowed("this system does not release it on request"),
        Matched::Unknown => answers.unknown(),
    }
}

/// The channel that `switchchannel` moves a client to: the one that the client's address rewrites to, if that may be
/// switched to (PMDF System Manager's Guide, "switchchannel").
fn switched<'a>(loaded: &'a Loaded, default: &Channel, client: IpAddr) -> Option<&'a Channel> {
    if default.settings.switch_channel != SwitchChannel::Switch {
        return None;
    }
    let literal = match client.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    };
    let address = Address { route: Vec::new(), local: "postmaster".to_owned(), host: Some(literal) };
    let context =
        Context { kind: Kind::EnvelopeFrom, source_channel: &default.name, destination_channel: None };
    let route = loaded.rewriter.route(&address, &context, None).ok()?;
    let channel = loaded.config.channels.by_name(&route.channel)?;
    (channel.name != default.name && channel.settings.switch_channel != SwitchChannel::Never)
        .then_some(channel)
}

/// What the keywords of the source channel and the options of the listener's channel limit. Where both say something, the
/// lower limit holds.
fn quotas(settings: &Settings, server: &ServerOptions) -> Quotas {
    let least = |keyword: Option<u32>, option: Option<u32>| keyword.into_iter().chain(option).min();
    Quotas {
        recipient_cutoff: least(settings.recipient_cutoff, server.reject_recipients_per_transaction),
        rejects_before_deferral: least(
            settings.deferral_reject_limit,
            server.allow_rejections_before_deferral,
        ),
        transactions: least(settings.transaction_limit, server.allow_transactions_per_session),
        disconnect_transactions: settings.disconnect_transaction_limit,
        disconnect_recipients: settings.disconnect_recipient_limit,
        disconnect_rejects: settings.disconnect_reject_limit,
        disconnect_commands: settings.disconnect_command_limit,
    }
}

/// How messages come in by a channel.
fn reception(settings: &Settings, config: &Config) -> Reception {
    let options = &config.options;
    let loop_mark = config.checks_loops.then(sluice_dispatch::loop_mark);
    Reception {
        chunking: settings.chunking_server,
        accept_all: settings.accept_all_addresses,
        loop_mark,
        // `linelimit` is a limit of the channel that a message goes to.
        max_lines: options.line_limit,
        long_lines: match settings.long_lines {
            sluice_config::LongLines::Reject => LongLines::Refuse,
            sluice_config::LongLines::Truncate => LongLines::Truncate,
            sluice_config::LongLines::Wrap => LongLines::Wrap,
        },
        eight_bit_strict: settings.eight_bit_strict,
        received_for: settings.received_for,
        received_from: settings.received_from,
        submit: settings.submit,
        debug: settings.slave_debug,
        line_ends: match settings.smtp {
            None | Some(LineEnds::CrOrLf) => Ends::CrOrLf,
            Some(LineEnds::Crlf) => Ends::Crlf,
            Some(LineEnds::Cr) => Ends::Cr,
            Some(LineEnds::Lf) => Ends::Lf,
        },
    }
}

/// `expandlimit`, if there is a channel that can bring the mail in again.
fn expand_later(loaded: &Loaded, source: &Channel) -> Option<ExpandLater> {
    let more_than = source.settings.expand_limit?;
    let name = source.settings.expand_channel.as_deref().unwrap_or("reprocess");
    let channel = loaded.config.channels.by_name(name)?;
    let domain = channel.official_host.to_lowercase();
    Some(ExpandLater { more_than, channel: channel.name.clone(), domain })
}

/// The keyword on the source channel, in the listeners' terms.
fn etrn_policy(source: &Channel) -> sluice_smtpd::EtrnPolicy {
    match source.settings.etrn {
        EtrnPolicy::Allow => sluice_smtpd::EtrnPolicy::Allow,
        EtrnPolicy::Silent => sluice_smtpd::EtrnPolicy::Silent,
        EtrnPolicy::Domain => sluice_smtpd::EtrnPolicy::Domain { plain: source.server.etrn_domain_plain },
        EtrnPolicy::Disable => sluice_smtpd::EtrnPolicy::Disable,
    }
}

/// The channel that an ETRN would run, and the full name of the node, for the probe of ETRN_ACCESS.
fn etrn_target(loaded: &Loaded, source_channel: &str, node: &Node) -> (String, String) {
    let name = match node {
        Node::Queue(name) => {
            let found = loaded.config.channels.by_name(name);
            return (found.map_or_else(|| name.to_lowercase(), |channel| channel.name.clone()), name.clone());
        }
        Node::Host(name) | Node::Subnet(name) => name,
    };
    let address = Address { route: Vec::new(), local: "postmaster".to_owned(), host: Some(name.clone()) };
    let context = Context { kind: Kind::EnvelopeTo, source_channel, destination_channel: None };
    match loaded.rewriter.route(&address, &context, None) {
        Ok(route) => (route.channel, route.host),
        Err(_) => (String::new(), name.clone()),
    }
}

fn bad_address(class: u8, subject: u16, detail: u16, path: &str, error: &dyn std::error::Error) -> Refusal {
    Refusal { code: 553, status: Status { class, subject, detail }, text: format!("{path}: {error}") }
}
