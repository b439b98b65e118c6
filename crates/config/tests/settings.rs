//! What keywords mean.
#![allow(clippy::unwrap_used)]

mod support;
use sluice_config::{
    AddressStyle, Copies, Direction, Ehlo, EtrnPolicy, Immediate, LineEnds, Mx, PostmasterCopies, Settings,
    SwitchChannel, TransferPriorities, Vrfy,
};
use sluice_mail::Priority;
use std::time::Duration;
use support::{config, folder, good, with_block};

/// The settings of a channel `tcp_x` with official host `TAG`.
fn settings(keywords: &str) -> Settings {
    config(&with_block(&format!("tcp_x {keywords}"))).channels.by_name("tcp_x").unwrap().settings.clone()
}

fn hours(list: &[Duration]) -> Vec<u64> {
    list.iter().map(|age| age.as_secs() / 3600).collect()
}

fn minutes(list: &[Duration]) -> Vec<u64> {
    list.iter().map(|wait| wait.as_secs() / 60).collect()
}

#[test]
fn a_channel_without_keywords_has_the_products_defaults() {
    let found = settings("");
    assert_eq!(found, Settings::default());
    assert_eq!(found.smtp, None);
    assert_eq!((found.port, found.max_jobs, found.period, found.thread_depth), (25, 7, 1, 10));
    assert_eq!(found.etrn, EtrnPolicy::Silent);
    assert_eq!(found.switch_channel, SwitchChannel::Allow);
    assert_eq!(found.copies, Copies::Multiple);
    assert_eq!(found.pool, "DEFAULT");
    assert_eq!(hours(&found.notices.normal), [72, 144, 216, 288]);
    assert_eq!(minutes(&found.backoff.urgent), [30, 60, 60, 120, 120, 120, 240]);
    assert_eq!(minutes(&found.backoff.normal), [60, 120, 120, 240, 240, 240, 480]);
    assert_eq!(minutes(&found.backoff.nonurgent), [120, 240, 240, 480, 480, 480, 960]);
    assert!(found.rules && !found.logging && !found.periodic && !found.block_etrn);
}

#[test]
fn each_keyword_that_acts_changes_its_setting() {
    assert_eq!(settings("smtp").smtp, Some(LineEnds::CrOrLf));
    assert_eq!(settings("smtp_crorlf").smtp, Some(LineEnds::CrOrLf));
    assert_eq!(settings("smtp_crlf").smtp, Some(LineEnds::Crlf));
    assert_eq!(settings("smtp_lf").smtp, Some(LineEnds::Lf));
    assert_eq!(settings("smtp_cr").smtp, Some(LineEnds::Cr));
    assert_eq!(settings("smtp mx").mx, Mx::Mx);
    assert_eq!(settings("smtp nomx").mx, Mx::NoMx);
    assert_eq!(settings("smtp nodns").mx, Mx::NoDns);
    assert_eq!(settings("smtp randommx").mx, Mx::Random);
    assert_eq!(settings("smtp nonrandommx").mx, Mx::NonRandom);
    assert_eq!(settings("smtp port 2525").port, 2525);
    assert_eq!(
        settings("smtp interfaceaddress 127.0.0.2").interface_address,
        Some("127.0.0.2".parse().unwrap())
    );
    assert_eq!(settings("smtp lastresort a.b").last_resort.as_deref(), Some("a.b"));
    assert_eq!(settings("smtp nameservers 127.0.0.1 127.0.0.2 mx").name_servers.len(), 2);
    assert_eq!(settings("smtp master").direction, Direction::Master);
    assert_eq!(settings("smtp slave").direction, Direction::Slave);
    assert_eq!(settings("smtp immurgent").immediate, Immediate::Urgent);
    assert_eq!(settings("smtp immnonurgent").immediate, Immediate::Nonurgent);
    assert!(settings("smtp periodic").periodic);
    assert_eq!(settings("smtp period 3").period, 3);
    assert_eq!(settings("smtp after 90").after, Duration::from_secs(90));
    assert_eq!(settings("smtp after PT5M").after, Duration::from_secs(300));
    assert!(settings("smtp serviceall").service_all);
    assert_eq!(settings("smtp maxjobs 20").max_jobs, 20);
    assert_eq!(settings("smtp threaddepth 3").thread_depth, 3);
    assert_eq!(settings("smtp holdlimit 40").hold_limit, Some(40));
    assert_eq!(settings("smtp addrsperfile 99").addrs_per_file, Some(99));
    assert_eq!(settings("smtp").files_per_job, None);
    assert_eq!(settings("smtp filesperjob 5 addrsperjob 7").files_per_job, Some(5));
    assert_eq!(settings("smtp filesperjob 5 addrsperjob 7").addrs_per_job, Some(7));
    assert_eq!(settings("smtp filesperjob 0 addrsperjob -1").files_per_job, Some(0));
    assert_eq!(settings("smtp addrsperjob -1").addrs_per_job, Some(0), "one job, as with 0");
    let limits = settings("smtp urgentblocklimit 1 normalblocklimit 2 nonurgentblocklimit 3").priority_limits;
    assert_eq!((limits.urgent, limits.normal, limits.nonurgent), (Some(1024), Some(2048), Some(3072)));
    let range = |keywords| settings(keywords).periodic_priorities;
    assert_eq!(range("smtp"), (Priority::Nonurgent, Priority::Urgent));
    assert_eq!(range("smtp minperiodicurgent"), (Priority::Urgent, Priority::Urgent));
    assert_eq!(range("smtp minperiodicnormal maxperiodicnormal"), (Priority::Normal, Priority::Normal));
    assert_eq!(range("smtp maxperiodicnonurgent"), (Priority::Nonurgent, Priority::Nonurgent));
    assert_eq!(range("smtp minperiodicnonurgent maxperiodicurgent"), (Priority::Nonurgent, Priority::Urgent));
    let week = Some(Duration::from_secs(604_800));
    assert_eq!(settings("smtp deferred").deferred_destination, Some(Duration::MAX));
    assert_eq!(settings("smtp deferred 60").deferred_destination, Some(Duration::from_secs(60)));
    assert_eq!(settings("smtp deferreddestination").deferred_destination, week);
    assert_eq!(settings("smtp deferred nodeferred").deferred_destination, None);
    assert_eq!(settings("smtp deferreddestination nodeferreddestination").deferred_destination, None);
    assert_eq!(settings("smtp deferredsource").deferred_source, week);
    assert_eq!(settings("smtp deferredsource 5").deferred_source, Some(Duration::from_secs(5)));
    assert_eq!(settings("smtp deferredsource nodeferredsource").deferred_source, None);
    assert_eq!(settings("smtp").transfer_priorities, TransferPriorities::Passed);
    for (word, meant) in [
        ("nomtpriorities", TransferPriorities::Unknown),
        ("mtprioritiesallowed", TransferPriorities::Allowed),
        ("mtprioritiesrequired", TransferPriorities::Required),
    ] {
        assert_eq!(settings(&format!("smtp {word}")).transfer_priorities, meant, "{word}");
    }
    assert_eq!(settings("smtp").later_release, None);
    assert_eq!(settings("smtp futurerelease 86400").later_release, Some(86_400));
    assert_eq!(settings("smtp futurerelease 0").later_release, None);
    let pools = settings("smtp urgentqueue A normalqueue B nonurgentqueue C").priority_pools;
    assert_eq!(pools.urgent.as_deref(), Some("A"));
    assert_eq!((pools.normal.as_deref(), pools.nonurgent.as_deref()), (Some("B"), Some("C")));
    let alternate =
        "alternatechannel tcp_big alternateblocklimit 2 alternatelinelimit 3 alternaterecipientlimit 4";
    let alternate = settings(&format!("smtp {alternate}")).alternate.unwrap();
    assert_eq!(alternate.channel, "tcp_big");
    assert_eq!(alternate.block_limit, Some(2048));
    assert_eq!((alternate.line_limit, alternate.recipient_limit), (Some(3), Some(4)));
    assert_eq!(settings("smtp alternateblocklimit 2").alternate, None);
    assert!(settings("smtp connectcanonical").connect_canonical);
    assert!(!settings("smtp connectcanonical connectalias").connect_canonical);
    assert_eq!(settings("smtp allowetrn").etrn, EtrnPolicy::Allow);
    assert_eq!(settings("smtp domainetrn").etrn, EtrnPolicy::Domain);
    assert_eq!(settings("smtp disableetrn").etrn, EtrnPolicy::Disable);
    assert!(settings("smtp blocketrn").block_etrn);
    assert_eq!(settings("smtp sendetrn a.b").send_etrn.as_deref(), Some("a.b"));
    assert_eq!(settings("smtp switchchannel").switch_channel, SwitchChannel::Switch);
    assert_eq!(settings("smtp noswitchchannel").switch_channel, SwitchChannel::Never);
    assert_eq!(settings("smtp blocklimit 10").block_limit, Some(10 * 1024));
    assert_eq!(settings("smtp sourceblocklimit 10").source_block_limit, Some(10 * 1024));
    assert_eq!(settings("smtp disconnectbadcommandlimit 3").disconnect_bad_command_limit, Some(3));
    assert_eq!(settings("smtp transactionlimit 3").transaction_limit, Some(3));
    assert_eq!(settings("smtp recipientlimit 3").recipient_limit, Some(3));
    assert!(!settings("smtp norules").rules);
    assert!(settings("smtp routelocal").route_local);
    assert!(settings("smtp bangoverpercent").bang_over_percent);
    assert!(settings("smtp aliaslocal").alias_local);
    assert_eq!(
        settings("smtp defaulthost a.b c.d").default_host,
        Some(("a.b".to_owned(), Some("c.d".to_owned())))
    );
    assert_eq!(settings("smtp defaulthost a.b mx").default_host, Some(("a.b".to_owned(), None)));
    assert_eq!(settings("smtp 733").env_address_style, AddressStyle::Percent);
    assert_eq!(settings("smtp bangstyle").env_address_style, AddressStyle::Bang);
    assert_eq!(settings("smtp nosendpost").send_post, PostmasterCopies::Never);
    assert_eq!(settings("smtp errwarnpost").warn_post, PostmasterCopies::OnError);
    assert_eq!(settings("smtp vrfyhide").vrfy, Vrfy::Hide);
    assert_eq!(settings("smtp noehlo").helo, Ehlo::Helo);
    assert_eq!(settings("smtp checkehlo").helo, Ehlo::Check);
    assert!(settings("smtp logging").logging);
}

#[test]
fn a_daemon_that_is_no_full_name_is_the_official_host() {
    assert_eq!(settings("smtp daemon peer.example.com").daemon.as_deref(), Some("peer.example.com"));
    assert_eq!(settings("smtp daemon router").daemon.as_deref(), Some("TAG"));
    assert_eq!(settings("smtp daemon [127.0.0.1]").daemon.as_deref(), Some("[127.0.0.1]"));
    assert_eq!(settings("smtp").daemon, None);
    let config = config(&with_block("tcp_x smtp daemon router"));
    assert_eq!(config.channels.by_name("tcp_x").unwrap().fixed_peer(), Some("TAG"));
    assert_eq!(config.channels.local().fixed_peer(), None);
}

#[test]
fn recipients_share_entries_by_host_where_the_client_chooses_the_host() {
    assert_eq!(settings("").copies, Copies::Multiple);
    assert_eq!(settings("smtp").copies, Copies::SingleSystem);
    assert_eq!(settings("smtp daemon router").copies, Copies::Multiple);
    assert_eq!(settings("smtp single").copies, Copies::Single);
    assert_eq!(settings("smtp multiple").copies, Copies::Multiple);
}

#[test]
fn the_general_list_of_waits_is_for_priorities_without_their_own() {
    let found = settings("smtp urgentbackoff PT1M backoff pt5m \"PT10M\"").backoff;
    assert_eq!(minutes(&found.urgent), [1]);
    assert_eq!(minutes(&found.normal), [5, 10]);
    assert_eq!(minutes(&found.nonurgent), [5, 10]);
}

#[test]
fn ages_are_those_of_the_local_channel_unless_the_channel_has_its_own() {
    let text = ". $U@h\n\nl notices 1 2\nh\n\ntcp_a smtp\na\n\ntcp_b smtp notices 4 urgentnotices 1 3\nb\n";
    let config = config(text);
    let notices = |name: &str| config.channels.by_name(name).unwrap().settings.notices.clone();
    assert_eq!(hours(&notices("tcp_a").normal), [24, 48]);
    assert_eq!(hours(&notices("tcp_b").normal), [96]);
    assert_eq!(hours(&notices("tcp_b").urgent), [24, 72]);
}

#[test]
fn ages_are_hours_when_the_option_file_says_so() {
    let files = folder(&[("sluice.cnf", ". $U@h\n\nl notices 1 2\nh\n"), ("option.dat", "RETURN_UNITS=1\n")]);
    assert_eq!(hours(&good(&files).channels.local().settings.notices.normal), [1, 2]);
}

#[test]
fn defaults_accumulate_and_nodefaults_forgets_them() {
    let text = "\
. $U@h

defaults smtp maxjobs 3

defaults mx maxjobs 5

l nosmtp
h

tcp_a nomx
a

nodefaults

tcp_b smtp
b
";
    let config = config(text);
    let of = |name: &str| config.channels.by_name(name).unwrap();
    assert_eq!(of("l").settings.smtp, None);
    assert_eq!((of("tcp_a").settings.mx, of("tcp_a").settings.max_jobs), (Mx::NoMx, 5));
    assert!(
        of("tcp_a").keyword("maxjobs").unwrap().inherited && !of("tcp_a").keyword("nomx").unwrap().inherited
    );
    assert!(!of("tcp_a").has("mx"));
    assert_eq!((of("tcp_b").settings.mx, of("tcp_b").settings.max_jobs), (Mx::Default, 7));
}

#[test]
fn names_of_the_lines_below_the_second() {
    let text = ". $U@h\n\nl\nh\n\ntcp_a smtp\nTAG alias.example.com\nnick\nNode proper.example.com\n";
    let config = config(text);
    let channel = config.channels.by_name("tcp_a").unwrap();
    assert_eq!(channel.local_alias.as_deref(), Some("alias.example.com"));
    let hosts: Vec<(&str, Option<&str>)> =
        channel.hosts.iter().map(|host| (host.name.as_str(), host.proper.as_deref())).collect();
    assert_eq!(hosts, [("TAG", None), ("nick", Some("TAG")), ("Node", Some("proper.example.com"))]);
    assert_eq!(config.channels.by_host("NODE").unwrap().1.proper.as_deref(), Some("proper.example.com"));
    assert!(config.channels.by_host("alias.example.com").is_none());
}

#[test]
fn tls_and_logins_are_asked_for_on_both_sides_or_one() {
    use sluice_config::Demand::{May, Must, No};
    for (keywords, server, client, auth_server, auth_client) in [
        ("", No, No, No, No),
        ("maytls maysasl", May, May, May, May),
        ("musttls mustsasl", Must, Must, Must, Must),
        ("maytls notlsserver maysasl nosaslclient", No, May, May, No),
        ("musttlsserver maytlsclient mustsaslserver maysaslclient", Must, May, Must, May),
        ("maytlsserver notls", No, No, No, No),
    ] {
        let found = settings(keywords);
        assert_eq!((found.tls_server, found.tls_client), (server, client), "{keywords}");
        assert_eq!((found.sasl_server, found.sasl_client), (auth_server, auth_client), "{keywords}");
    }
    let found = settings("tlsswitchchannel l saslswitchchannel tcp_x disconnectbadauthlimit 5");
    assert_eq!(found.tls_switch_channel.as_deref(), Some("l"));
    assert_eq!(found.sasl_switch_channel.as_deref(), Some("tcp_x"));
    assert_eq!(found.disconnect_bad_auth_limit, 5);
    assert_eq!(settings("").disconnect_bad_auth_limit, 3);
    assert_eq!(settings("saslswitchchannel tcp_b nosaslswitchchannel").sasl_switch_channel, None);
}

#[test]
fn returnenvelope_has_a_bit_for_the_look_up_of_senders() {
    for (keywords, bits, verified) in [
        ("smtp", 0, false),
        ("smtp returnenvelope 3", 3, false),
        ("smtp returnenvelope 9", 9, true),
        ("smtp mailfromdnsverify", 0, true),
    ] {
        let settings = settings(keywords);
        assert_eq!((settings.return_envelope, settings.mail_from_dns_verify), (bits, verified), "{keywords}");
    }
}
