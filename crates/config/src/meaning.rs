//! From the keywords in force to [`Settings`].
//!
//! Arguments have been checked when they were read; an argument that did not pass leaves its default, and the
//! diagnostic it got keeps the configuration from being used.

use crate::filters;
use crate::model::Keyword;
use crate::options::Options;
use crate::settings::{
    AddressStyle, Alternate, Copies, Demand, Direction, Ehlo, EnvelopeToField, EtrnPolicy, ForwardCheck,
    Ident, Immediate, LineEnds, LongLines, Mx, NoticeTerms, PerPriority, PostmasterCopies, Settings,
    SwitchChannel, Vrfy,
};
use crate::transfer_priorities::TransferPriorities;
use crate::values;
use sluice_mail::Priority;
use std::time::Duration;

const HOUR: u64 = 3600;
/// How long a sender's date is kept where the keyword does not say it: 7 days (Messaging Server Reference,
/// "deferreddestination").
const DEFERRAL: Duration = Duration::from_secs(7 * 24 * HOUR);

/// The bit of `returnenvelope` that is `mailfromdnsverify`.
const VERIFY_SENDER: u32 = 8;

/// What the meaning of a channel's keywords depends on beside the keywords.
pub(crate) struct Surroundings<'a> {
    pub(crate) official_host: &'a str,
    pub(crate) options: &'a Options,
    /// The ages that hold where the channel says nothing: the local channel's.
    pub(crate) notices: &'a PerPriority<Vec<Duration>>,
}

/// The meaning of the keywords in force on a channel, but for the pool, which the job controller has a say in.
pub(crate) fn settings(keywords: &[Keyword], around: &Surroundings<'_>) -> Settings {
    let mut settings = Settings {
        notices: around.notices.clone(),
        return_envelope: around.options.return_envelope,
        ..Settings::default()
    };
    let mut copies = None;
    let mut backoff = [const { None }; 4];
    for keyword in keywords {
        match keyword.info.name {
            "multiple" => copies = Some(Copies::Multiple),
            "single" => copies = Some(Copies::Single),
            "single_sys" => copies = Some(Copies::SingleSystem),
            "backoff" => backoff[0] = durations(keyword),
            "urgentbackoff" => backoff[1] = durations(keyword),
            "normalbackoff" => backoff[2] = durations(keyword),
            "nonurgentbackoff" => backoff[3] = durations(keyword),
            "alternatechannel" => {
                settings.alternate.get_or_insert_default().channel =
                    keyword.arguments.first().map(|name| name.to_lowercase()).unwrap_or_default();
            }
            "alternateblocklimit" | "alternatelinelimit" | "alternaterecipientlimit" => {
                alternate_limit(keyword, around.options, settings.alternate.get_or_insert_default());
            }
            word => {
                let argument = keyword.arguments.first().map(String::as_str);
                let (source, destination) = (&mut settings.source_filters, &mut settings.destination_filters);
                if !filters::ask(word, argument, source, destination) {
                    apply(keyword, around, &mut settings);
                }
            }
        }
    }
    settings.mail_from_dns_verify |= settings.return_envelope & VERIFY_SENDER != 0;
    // Limits without a channel to go to limit nothing.
    settings.alternate = settings.alternate.filter(|alternate| !alternate.channel.is_empty());
    let general = &around.options.priority_limits;
    for (own, general) in [
        (&mut settings.priority_limits.urgent, general.urgent),
        (&mut settings.priority_limits.normal, general.normal),
        (&mut settings.priority_limits.nonurgent, general.nonurgent),
    ] {
        *own = own.or(general);
    }
    let [general, urgent, normal, nonurgent] = backoff;
    let choose = |list: &mut Vec<Duration>, special: Option<Vec<Duration>>| {
        if let Some(chosen) = special.or_else(|| general.clone()) {
            *list = chosen;
        }
    };
    choose(&mut settings.backoff.urgent, urgent);
    choose(&mut settings.backoff.normal, normal);
    choose(&mut settings.backoff.nonurgent, nonurgent);
    // A client talks to one host in a transaction; with a fixed peer there is only one.
    settings.copies = copies.unwrap_or(match (&settings.smtp, &settings.daemon) {
        (Some(_), None) => Copies::SingleSystem,
        _ => Copies::Multiple,
    });
    settings
}

fn apply(keyword: &Keyword, around: &Surroundings<'_>, settings: &mut Settings) {
    let first = keyword.arguments.first().map(String::as_str);
    let text = || first.map(str::to_owned);
    let count = || first.and_then(values::decimal).and_then(|value| u32::try_from(value).ok());
    let bytes = || count().map(|blocks| u64::from(blocks).saturating_mul(around.options.block_size));
    let at_least_one = || count().filter(|value| *value > 0);
    match keyword.info.name {
        // LMTP is SMTP with another greeting and more replies; what tells them apart is the plugin's business.
        "smtp" | "smtp_crorlf" | "lmtp" | "lmtp_crorlf" => settings.smtp = Some(LineEnds::CrOrLf),
        "smtp_crlf" | "lmtp_crlf" => settings.smtp = Some(LineEnds::Crlf),
        "smtp_cr" | "lmtp_cr" => settings.smtp = Some(LineEnds::Cr),
        "smtp_lf" | "lmtp_lf" => settings.smtp = Some(LineEnds::Lf),
        "nosmtp" => settings.smtp = None,
        "mx" => settings.mx = Mx::Mx,
        "nomx" => settings.mx = Mx::NoMx,
        "nodns" => settings.mx = Mx::NoDns,
        "randommx" => settings.mx = Mx::Random,
        "nonrandommx" => settings.mx = Mx::NonRandom,
        "defaultmx" => settings.mx = Mx::Default,
        "daemon" => settings.daemon = first.map(|host| peer(host, around.official_host)),
        "port" => settings.port = count().and_then(|port| u16::try_from(port).ok()).unwrap_or(25),
        "interfaceaddress" => settings.interface_address = first.and_then(values::address),
        "lastresort" => settings.last_resort = text(),
        "nameservers" => {
            settings.name_servers =
                keyword.arguments.iter().filter_map(|text| values::address(text)).collect();
        }
        "defaultnameservers" => settings.name_servers.clear(),

        "master" => settings.direction = Direction::Master,
        "slave" => settings.direction = Direction::Slave,
        "bidirectional" => settings.direction = Direction::Bidirectional,
        "immediate" => settings.periodic = false,
        "periodic" => settings.periodic = true,
        "immurgent" => settings.immediate = Immediate::Urgent,
        "immnormal" => settings.immediate = Immediate::Normal,
        "immnonurgent" => settings.immediate = Immediate::Nonurgent,
        "period" => settings.period = at_least_one().unwrap_or(1),
        "after" => settings.after = first.and_then(values::seconds_or_time).unwrap_or_default(),
        "serviceall" => settings.service_all = true,
        "noserviceall" => settings.service_all = false,
        "notices" => {
            if let Some(list) = ages(keyword, around.options) {
                settings.notices = PerPriority::all(list);
            }
        }
        "urgentnotices" => set(&mut settings.notices.urgent, ages(keyword, around.options)),
        "normalnotices" => set(&mut settings.notices.normal, ages(keyword, around.options)),
        "nonurgentnotices" => set(&mut settings.notices.nonurgent, ages(keyword, around.options)),
        "maxjobs" => set(&mut settings.max_jobs, at_least_one()),
        "pool" | "queue" => set(&mut settings.pool, text()),
        "threaddepth" => set(&mut settings.thread_depth, at_least_one()),
        "defragment" => settings.defragment = true,
        "nodefragment" => settings.defragment = false,
        "maxblocks" => settings.piece_octets = bytes().filter(|octets| *octets > 0),
        "maxlines" => settings.piece_lines = at_least_one().map(u64::from),
        "holdlimit" => settings.hold_limit = count(),
        "addrsperfile" => settings.addrs_per_file = at_least_one(),
        "addrsperjob" => settings.addrs_per_job = Some(count().unwrap_or(0)),
        "filesperjob" => settings.files_per_job = Some(count().unwrap_or(0)),
        "expandlimit" => settings.expand_limit = count(),
        "expandchannel" => settings.expand_channel = text().map(|name| name.to_lowercase()),
        "viaaliasrequired" => settings.via_alias_required = true,
        "viaaliasoptional" => settings.via_alias_required = false,

        "allowetrn" => settings.etrn = EtrnPolicy::Allow,
        "silentetrn" => settings.etrn = EtrnPolicy::Silent,
        "domainetrn" => settings.etrn = EtrnPolicy::Domain,
        "disableetrn" => settings.etrn = EtrnPolicy::Disable,
        "blocketrn" => settings.block_etrn = true,
        "sendetrn" => settings.send_etrn = text(),
        "nosendetrn" => settings.send_etrn = None,
        "switchchannel" => settings.switch_channel = SwitchChannel::Switch,
        "allowswitchchannel" => settings.switch_channel = SwitchChannel::Allow,
        "noswitchchannel" => settings.switch_channel = SwitchChannel::Never,
        "tlsswitchchannel" => settings.tls_switch_channel = text(),
        "saslswitchchannel" => settings.sasl_switch_channel = text(),
        "nosaslswitchchannel" => settings.sasl_switch_channel = None,
        "disconnectbadauthlimit" => set(&mut settings.disconnect_bad_auth_limit, at_least_one()),

        "blocklimit" => settings.block_limit = bytes(),
        "noblocklimit" => settings.block_limit = None,
        "sourceblocklimit" => settings.source_block_limit = bytes(),
        "linelimit" => settings.line_limit = count(),
        "nolinelimit" => settings.line_limit = None,
        "recipientlimit" => settings.recipient_limit = count(),
        "recipientcutoff" => settings.recipient_cutoff = count(),
        "transactionlimit" => settings.transaction_limit = count(),
        "deferralrejectlimit" => settings.deferral_reject_limit = count(),
        "disconnectbadcommandlimit" => settings.disconnect_bad_command_limit = count(),
        "disconnectcommandlimit" => settings.disconnect_command_limit = count(),
        "disconnectrecipientlimit" => settings.disconnect_recipient_limit = count(),
        "disconnectrejectlimit" => settings.disconnect_reject_limit = count(),
        "disconnecttransactionlimit" => settings.disconnect_transaction_limit = count(),
        "chunkingserver" => settings.chunking_server = true,
        "nochunkingserver" => settings.chunking_server = false,
        "rejectsmtplonglines" => settings.long_lines = LongLines::Reject,
        "truncatesmtplonglines" => settings.long_lines = LongLines::Truncate,
        "wrapsmtplonglines" => settings.long_lines = LongLines::Wrap,
        "eightstrict" => settings.eight_bit_strict = true,
        "eightbit" | "eightnegotiate" | "sevenbit" => settings.eight_bit_strict = false,
        "receivedfrom" => settings.received_from = true,
        "noreceivedfrom" => settings.received_from = false,
        "identnonenumeric" | "identtcpnumeric" => settings.ident = Ident::Numeric,
        "identnone" | "identtcp" => settings.ident = Ident::Both,
        "identnonelimited" | "identtcplimited" => settings.ident = Ident::Limited,
        "identnonesymbolic" | "identtcpsymbolic" => settings.ident = Ident::Symbolic,
        "forwardchecknone" => settings.forward_check = ForwardCheck::None,
        "forwardchecktag" => settings.forward_check = ForwardCheck::Tag,
        "forwardcheckdelete" => settings.forward_check = ForwardCheck::Delete,
        "mailfromdnsverify" => settings.mail_from_dns_verify = true,
        "nomailfromdnsverify" => settings.mail_from_dns_verify = false,
        "submit" => settings.submit = true,
        "receivedfor" => settings.received_for = true,
        "noreceivedfor" => settings.received_for = false,
        "acceptalladdresses" => settings.accept_all_addresses = true,
        "acceptvalidaddresses" => settings.accept_all_addresses = false,
        _ => apply_to_schedule(keyword, around, settings),
    }
}

/// When mail is sent, and on whose behalf jobs are started.
fn apply_to_schedule(keyword: &Keyword, around: &Surroundings<'_>, settings: &mut Settings) {
    let first = keyword.arguments.first();
    let bytes = || {
        let blocks =
            first.and_then(|text| values::decimal(text)).and_then(|blocks| u64::try_from(blocks).ok());
        blocks.map(|blocks| blocks.saturating_mul(around.options.block_size))
    };
    let deferral = |unsaid| {
        let seconds = first.and_then(|text| values::decimal(text));
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        Some(seconds.unwrap_or(unsaid))
    };
    match keyword.info.name {
        "urgentblocklimit" => settings.priority_limits.urgent = bytes(),
        "normalblocklimit" => settings.priority_limits.normal = bytes(),
        "nonurgentblocklimit" => settings.priority_limits.nonurgent = bytes(),
        "minperiodicurgent" => settings.periodic_priorities.0 = Priority::Urgent,
        "minperiodicnormal" => settings.periodic_priorities.0 = Priority::Normal,
        "minperiodicnonurgent" => settings.periodic_priorities.0 = Priority::Nonurgent,
        "maxperiodicurgent" => settings.periodic_priorities.1 = Priority::Urgent,
        "maxperiodicnormal" => settings.periodic_priorities.1 = Priority::Normal,
        "maxperiodicnonurgent" => settings.periodic_priorities.1 = Priority::Nonurgent,
        "deferred" => settings.deferred_destination = deferral(Duration::MAX),
        "deferreddestination" => settings.deferred_destination = deferral(DEFERRAL),
        "nodeferred" | "nodeferreddestination" => settings.deferred_destination = None,
        "deferredsource" => settings.deferred_source = deferral(DEFERRAL),
        "futurerelease" => {
            let seconds = first.and_then(|text| values::decimal(text));
            let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
            settings.later_release = seconds.filter(|seconds| *seconds > 0);
        }
        "nomtpriorities" => settings.transfer_priorities = TransferPriorities::Unknown,
        "mtprioritiesallowed" => settings.transfer_priorities = TransferPriorities::Allowed,
        "mtprioritiesrequired" => settings.transfer_priorities = TransferPriorities::Required,
        "nodeferredsource" => settings.deferred_source = None,
        "urgentqueue" => settings.priority_pools.urgent = first.cloned(),
        "normalqueue" => settings.priority_pools.normal = first.cloned(),
        "nonurgentqueue" => settings.priority_pools.nonurgent = first.cloned(),
        "connectcanonical" => settings.connect_canonical = true,
        "connectalias" => settings.connect_canonical = false,
        _ => {
            apply_to_protection(keyword.info.name, settings);
            apply_to_addresses_and_talk(keyword, settings);
        }
    }
}

/// `maytls` and `maysasl` and their kind. The plain words are about both sides, those with an end about one.
fn apply_to_protection(name: &str, settings: &mut Settings) {
    let demands = [("no", Demand::No), ("may", Demand::May), ("must", Demand::Must)];
    let found = demands.into_iter().find_map(|(word, demand)| Some((name.strip_prefix(word)?, demand)));
    let Some((of, demand)) = found else { return };
    let Settings { tls_server, tls_client, sasl_server, sasl_client, .. } = settings;
    match of {
        "tls" => (*tls_server, *tls_client) = (demand, demand),
        "tlsserver" => *tls_server = demand,
        "tlsclient" => *tls_client = demand,
        "sasl" => (*sasl_server, *sasl_client) = (demand, demand),
        "saslserver" => *sasl_server = demand,
        "saslclient" => *sasl_client = demand,
        _ => {}
    }
}

fn alternate_limit(keyword: &Keyword, options: &Options, alternate: &mut Alternate) {
    let first = keyword.arguments.first();
    let limit = first.and_then(|text| values::decimal(text)).and_then(|limit| u64::try_from(limit).ok());
    match keyword.info.name {
        "alternateblocklimit" => {
            alternate.block_limit = limit.map(|blocks| blocks.saturating_mul(options.block_size));
        }
        "alternatelinelimit" => alternate.line_limit = limit,
        _ => alternate.recipient_limit = limit,
    }
}

/// Nought is no limit.
fn number_above_zero(text: Option<String>) -> Option<u32> {
    text.and_then(|text| text.parse().ok()).filter(|number| *number > 0)
}

fn apply_to_addresses_and_talk(keyword: &Keyword, settings: &mut Settings) {
    let first = keyword.arguments.first().cloned();
    match keyword.info.name {
        "rules" => settings.rules = true,
        "norules" => settings.rules = false,
        "routelocal" => settings.route_local = true,
        "bangoverpercent" => settings.bang_over_percent = true,
        "nobangoverpercent" => settings.bang_over_percent = false,
        "aliaslocal" => settings.alias_local = true,
        "exproute" => settings.explicit_route = true,
        "noexproute" => settings.explicit_route = false,
        "improute" => settings.implicit_route = true,
        "noimproute" => settings.implicit_route = false,
        "dequeue_removeroute" => settings.remove_route_at_dequeue = true,
        "defaulthost" => {
            settings.default_host = first.map(|host| (host, keyword.arguments.get(1).cloned()));
        }
        "nodefaulthost" => settings.default_host = None,
        "remotehost" => settings.remote_host = true,
        "noremotehost" => settings.remote_host = false,
        "x_env_to" => settings.envelope_to_field = EnvelopeToField::Write,
        "nox_env_to" => settings.envelope_to_field = EnvelopeToField::Remove,
        "addreturnpath" => settings.add_return_path = true,
        "noaddreturnpath" => settings.add_return_path = false,
        "missingrecipientpolicy" => {
            settings.missing_recipient_policy = first.and_then(|number| number.parse().ok());
        }
        "authrewrite" => settings.auth_rewrite = first.and_then(|bits| bits.parse().ok()).unwrap_or(0),
        "noauthrewrite" => settings.auth_rewrite = 0,
        "inner" => settings.inner_headers = true,
        "noinner" => settings.inner_headers = false,
        "headertrim" => settings.header_trim = true,
        "noheadertrim" => settings.header_trim = false,
        "headerread" => settings.header_read = true,
        "noheaderread" => settings.header_read = false,
        "maxheaderaddrs" => settings.max_header_addresses = number_above_zero(first),
        "maxheaderchars" => settings.max_header_octets = number_above_zero(first),
        "maxprocchars" => settings.max_processed_octets = first.and_then(|number| number.parse().ok()),
        "sourceroute" | "822" => settings.env_address_style = AddressStyle::SourceRoute,
        "percents" | "733" => settings.env_address_style = AddressStyle::Percent,
        "uucp" | "bangstyle" => settings.env_address_style = AddressStyle::Bang,
        "header_822" => settings.header_address_style = AddressStyle::SourceRoute,
        "header_733" => settings.header_address_style = AddressStyle::Percent,
        "header_uucp" => settings.header_address_style = AddressStyle::Bang,

        "sendpost" => settings.send_post = PostmasterCopies::Always,
        "copysendpost" => settings.send_post = PostmasterCopies::UnlessNullSender,
        "errsendpost" => settings.send_post = PostmasterCopies::OnError,
        "nosendpost" => settings.send_post = PostmasterCopies::Never,
        "warnpost" => settings.warn_post = PostmasterCopies::Always,
        "copywarnpost" => settings.warn_post = PostmasterCopies::UnlessNullSender,
        "errwarnpost" => settings.warn_post = PostmasterCopies::OnError,
        "nowarnpost" => settings.warn_post = PostmasterCopies::Never,
        "aliaspostmaster" => settings.alias_postmaster = true,
        "returnenvelope" => set(&mut settings.return_envelope, first.and_then(|bits| bits.parse().ok())),
        "user" => settings.user = first,
        "vrfyallow" => settings.vrfy = Vrfy::Allow,
        "vrfydefault" => settings.vrfy = Vrfy::Default,
        "vrfyhide" => settings.vrfy = Vrfy::Hide,
        "ehlo" => settings.helo = Ehlo::Ehlo,
        "checkehlo" => settings.helo = Ehlo::Check,
        "noehlo" => settings.helo = Ehlo::Helo,
        "logging" => settings.logging = true,
        "nologging" => settings.logging = false,
        "master_debug" => settings.master_debug = true,
        "nomaster_debug" => settings.master_debug = false,
        "slave_debug" => settings.slave_debug = true,
        "noslave_debug" => settings.slave_debug = false,
        "isolated" => settings.isolated = true,
        "noisolated" => settings.isolated = false,
        name => apply_to_notices(name, first, &mut settings.notice_terms),
    }
}

/// How notices are written.
fn apply_to_notices(name: &str, first: Option<String>, terms: &mut NoticeTerms) {
    match name {
        "returnaddress" => terms.address = first,
        "noreturnaddress" => terms.address = None,
        "returnpersonal" => terms.personal = first,
        "noreturnpersonal" => terms.personal = None,
        "suppressfinal" => terms.suppress_final = true,
        "includefinal" | "useintermediate" => terms.suppress_final = false,
        "postheadonly" => terms.post_head_only = true,
        "postheadbody" => terms.post_head_only = false,
        "notificationchannel" => terms.channel = first.map(|name| name.to_lowercase()),
        _ => {}
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// The peer that `daemon` names: a word that is not a full domain name stands for the official host of the channel
/// (PMDF System Manager's Guide, "daemon").
fn peer(argument: &str, official_host: &str) -> String {
    let full = argument.contains('.') || argument.starts_with('[');
    if full { argument.to_owned() } else { official_host.to_owned() }
}

fn durations(keyword: &Keyword) -> Option<Vec<Duration>> {
    let list: Vec<Duration> =
        keyword.arguments.iter().filter_map(|text| values::iso_duration(text)).collect();
    (!list.is_empty()).then_some(list)
}

/// Ages in days, or in hours with `RETURN_UNITS=1`.
fn ages(keyword: &Keyword, options: &Options) -> Option<Vec<Duration>> {
    let unit = if options.return_units_hours { HOUR } else { 24 * HOUR };
    let numbers = keyword.arguments.iter().filter_map(|text| values::decimal(text));
    let list: Vec<Duration> = numbers
        .filter_map(|number| u64::try_from(number).ok())
        .map(|number| Duration::from_secs(number.saturating_mul(unit)))
        .collect();
    (!list.is_empty()).then_some(list)
}
