//! The terms of a session: by which channel its mail comes in, what it may use up, and how it is protected.
//!
//! The channel of the listener comes first. `switchchannel` moves the session by the client's address,
//! `tlsswitchchannel` when TLS is on, `saslswitchchannel` when the client has logged in; each keyword is looked for on
//! the channel that the one before it led to.
//!
//! # Relaying
//! A session is *known* when its address or its login has moved it to another channel; all others are strangers. TLS alone
//! says nothing about who somebody is.
//!
//! # Not here
//! What strangers may not do (`intake`), the conversation (`smtpd`).

use std::net::IpAddr;

use sluice_config::{
    Atrn, Channel, Config, Demand, EtrnPolicy, Ident, LineEnds, ServerOptions, Settings, SwitchChannel,
    TransferPriorities,
};
use sluice_dispatch::Loaded;
use sluice_mail::Address;
use sluice_rewrite::{Context, Kind};
use sluice_smtpd::{
    Admission, AtrnPolicy, Connection, Ends, ExpandLater, Limits, LongLines, Mechanism, Quotas, Reception,
    Safety, Session,
};

use sluice_smtp::server::LATER_SECS_MAX;

use crate::keys::Keys;

/// Least number of ETRN commands that a session may send unless the operator says otherwise. PMDF's own default of one
/// breaks every client that has two names.
const ETRNS_PER_SESSION_MIN: u32 = 8;

/// The terms of a connection that came in by `default`; with a session, of one in which TLS or a login has come about.
pub(crate) fn of(
    loaded: &Loaded,
    keys: &Keys,
    default: &Channel,
    connection: &Connection,
    session: Option<&Session>,
) -> Admission {
    let config = &loaded.config;
    let by_name = |name: &Option<String>| name.as_deref().and_then(|name| config.channels.by_name(name));
    let by_address = switched(loaded, default, connection);
    let mut source = by_address.unwrap_or(default);
    let mut is_known = by_address.is_some();
    let has_tls = session.map_or(connection.implicit_tls, |session| session.tls.is_some());
    if has_tls && let Some(channel) = by_name(&source.settings.tls_switch_channel) {
        source = channel;
    }
    if session.is_some_and(|session| session.login.is_some())
        && let Some(channel) = by_name(&source.settings.sasl_switch_channel)
    {
        (source, is_known) = (channel, true);
    }
    let options = &config.options;
    let banner_host = default.server.banner_host.clone();
    let largest = [
        Some(options.max_message_size),
        options.block_limit,
        config.channels.largest_block_limit(),
        source.settings.source_block_limit,
    ];
    let defaults = Limits::default();
    let atrn = atrn_policy(config, &connection.service);
    Admission {
        source_channel: source.name.clone(),
        banner_host: banner_host.unwrap_or_else(|| config.channels.local().official_host.clone()),
        etrn: etrn_policy(source),
        atrn,
        safety: safety(source, keys, &connection.service, atrn),
        is_known,
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
            etrn_per_session: default
                .server
                .allow_etrns_per_session
                .unwrap_or_else(|| ETRNS_PER_SESSION_MIN.max(nodes_of(config, session))),
            max_received_lines: options.max_received_lines,
            command_timeout: default.server.command_receive_time,
            data_timeout: default.server.data_receive_time,
            expand_later: expand_later(loaded, source),
            ..defaults
        },
        reception: Reception {
            // What is looked up is the listener's channel's business.
            name_only: default.settings.ident == Ident::Symbolic,
            ..reception(&source.settings, config)
        },
    }
}

/// How many nodes the login of a session owns: so many ETRN commands must be possible.
fn nodes_of(config: &Config, session: Option<&Session>) -> u32 {
    let Some(login) = session.and_then(|session| session.login.as_ref()) else { return 0 };
    let nodes = config.sites.by_login(&login.name);
    let nodes: usize = nodes.map(|site| site.domains.len() + usize::from(site.queue_name.is_some())).sum();
    u32::try_from(nodes).unwrap_or(u32::MAX)
}

/// Whether sessions of a service may be turned round.
fn atrn_policy(config: &Config, service: &str) -> AtrnPolicy {
    let service = config.services.iter().find(|one| one.name == service);
    match service.map(|service| service.atrn).unwrap_or_default() {
        Atrn::No => AtrnPolicy::No,
        Atrn::Offered => AtrnPolicy::Offered,
        Atrn::Only => AtrnPolicy::Only,
    }
}

/// What protects a session. Where the means are missing, what is only offered is not; what is demanded still is.
fn safety(source: &Channel, keys: &Keys, service: &str, atrn: AtrnPolicy) -> Safety {
    let demand = |wanted: Demand, possible: bool| match wanted {
        Demand::Must => sluice_smtpd::Demand::Must,
        Demand::May if possible => sluice_smtpd::Demand::May,
        Demand::May | Demand::No => sluice_smtpd::Demand::No,
    };
    let users = keys.users();
    let has_cram = users.as_ref().is_some_and(|users| users.has_cram());
    let mechanisms = match users {
        None => Vec::new(),
        Some(_) => {
            let all = Mechanism::ALL.into_iter();
            all.filter(|mechanism| has_cram || *mechanism != Mechanism::CramMd5).collect()
        }
    };
    Safety {
        tls: demand(
            at_least_may(source.settings.tls_server, atrn == AtrnPolicy::Only),
            keys.certificates(service).is_some(),
        ),
        auth: demand(
            at_least_may(source.settings.sasl_server, atrn != AtrnPolicy::No),
            !mechanisms.is_empty(),
        ),
        mechanisms,
        max_auth_failures: source.settings.disconnect_bad_auth_limit,
    }
}

/// ATRN needs a login, and the service ODMR has no other keywords than its channel's to say so.
fn at_least_may(wanted: Demand, needed: bool) -> Demand {
    if needed && wanted == Demand::No { Demand::May } else { wanted }
}

/// The channel that `switchchannel` moves a client to: the one that the client's address rewrites to, or else its name, if
/// that may be switched to (PMDF System Manager's Guide, "switchchannel").
fn switched<'a>(loaded: &'a Loaded, default: &Channel, connection: &Connection) -> Option<&'a Channel> {
    if default.settings.switch_channel != SwitchChannel::Switch {
        return None;
    }
    let literal = match connection.peer.ip().to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    };
    let by_name = connection.name.as_ref().filter(|name| {
        // A name that does not lead back may be anybody's invention.
        default.settings.ident != Ident::Limited && !name.doubtful
    });
    std::iter::once(literal)
        .chain(by_name.map(|name| name.name.clone()))
        .find_map(|host| switch_target(loaded, default, host))
}

/// The channel that a host rewrites to, if a session may be moved there.
fn switch_target<'a>(loaded: &'a Loaded, default: &Channel, host: String) -> Option<&'a Channel> {
    let address = Address { route: Vec::new(), local: "postmaster".to_owned(), host: Some(host) };
    let context =
        Context { kind: Kind::EnvelopeFrom, source_channel: &default.name, destination_channel: None };
    let route = loaded.rewriter.route(&address, &context, None).ok()?;
    let channel = loaded.config.channels.by_name(&route.channel)?;
    (channel.name != default.name && channel.settings.switch_channel != SwitchChannel::Never)
        .then_some(channel)
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
        later_release: settings.later_release.map(|secs| secs.min(LATER_SECS_MAX)),
        priorities: match settings.transfer_priorities {
            TransferPriorities::Passed | TransferPriorities::Unknown => None,
            TransferPriorities::Allowed => Some(false),
            TransferPriorities::Required => Some(true),
        },
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
        name_only: false,
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
