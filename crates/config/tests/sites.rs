//! `sites.cnf`: what it means, and every way in which it can be wrong.
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use sluice_config::{Config, Counts, Covers, MemoryFiles, Method, Password, Tier, Tls};
use std::time::Duration;
use support::{diagnose, folder, good};

const MAIN: &str = ". $U%$H@TAG\n\nl\nhub.example.com\n\ntcp_local smtp mx\nTAG\n\ntcp_dialup smtp mx periodic\nTCP-DIALUP\n";
const UTC: &str = "TIME_ZONE=UTC\n";

fn files(sites: &str) -> MemoryFiles {
    folder(&[("sluice.cnf", MAIN), ("option.dat", UTC), ("sites.cnf", sites)])
}

fn config(sites: &str) -> Config {
    good(&files(sites))
}

/// What is said of a section.
fn said(sites: &str) -> String {
    diagnose(&files(sites))
}

fn site(lines: &str) -> String {
    said(&format!("[SITE=a]\n{lines}\n"))
}

fn activator(lines: &str) -> String {
    said(&format!("[ACTIVATOR=p]\n{lines}\n"))
}

#[test]
fn a_whole_site() {
    let config = config(
        "! a ship\n[SITE=Ship]\nDOMAINS=ship.example.com, @Below.Example.COM.\nDOMAINS=bücher.example\nQUEUE_NAME=#ship-q\n\
         CHANNEL=TCP_dialup\nLOGIN=captain mate\nTIER=dynamic\nTARGET=192.0.2.7\nPORT=2525\nLIFETIME=60d\nNOTICES=3d, 10d\n\
         WINDOW=mon-fri 22:00-06:00\nWINDOW=sat, sun\nSCHEDULE=30 6 * * *\nSCHEDULE=every 2h\nMAX_SIZE_IN_WINDOW=100K\nCOUNTS=0\n\
         COVERS=site\nON_LINK_UP=1\n",
    );
    let site = config.sites.by_name("ship").unwrap();
    assert_eq!(&*site.name, "Ship");
    let domains: Vec<_> = site.domains.iter().map(|own| (&*own.domain, own.with_below)).collect();
    assert_eq!(
        domains,
        [("ship.example.com", false), ("below.example.com", true), ("xn--bcher-kva.example", false)]
    );
    assert_eq!(site.queue_name.as_deref(), Some("ship-q"));
    assert_eq!(site.channel.as_deref(), Some("tcp_dialup"));
    assert!(site.has_login("captain") && site.has_login("mate") && !site.has_login("Captain"));
    assert_eq!(
        (site.tier, site.target.as_deref(), site.port),
        (Tier::Dynamic, Some("[192.0.2.7]"), Some(2525))
    );
    assert_eq!(site.lifetime, Some(Duration::from_secs(60 * 86_400)));
    assert_eq!(site.notices.as_deref().unwrap(), [3, 10].map(|days| Duration::from_secs(days * 86_400)));
    let thursday = sluice_mail::Time(0);
    let windows = site.windows.as_ref().unwrap();
    assert!(windows.is_open(thursday) && !windows.is_open(thursday.plus(Duration::from_secs(12 * 3600))));
    assert!(windows.is_open(thursday.plus(Duration::from_secs(60 * 3600))), "saturday noon");
    let next = site.schedule.as_ref().unwrap().next(thursday).unwrap();
    assert!(next.since(thursday) <= Duration::from_secs(7200));
    assert_eq!(
        (site.max_size_in_window, site.counts, site.covers),
        (Some(102_400), Counts::No, Covers::Site)
    );
    assert!(site.on_link_up);
}

#[test]
fn defaults() {
    let config = config("[SITE=a]\nDOMAINS=a.example\n[SITE=b]\nCHANNEL=tcp_dialup\nTARGET=b.example.net\n");
    let a = config.sites.by_name("A").unwrap();
    assert_eq!((a.tier, a.counts, a.covers, a.on_link_up), (Tier::None, Counts::Yes, Covers::Name, false));
    assert!(a.logins.is_empty() && a.windows.is_none() && a.schedule.is_none() && a.lifetime.is_none());
    assert_eq!(config.sites.by_name("b").unwrap().tier, Tier::Static);
}

#[test]
fn a_whole_activator() {
    let config = config(
        "[ACTIVATOR=provider]\nSERVER=Mail.Provider.example\nNAMES=example.com @example.com,#q7\nLOGIN=me\nPASSWORD_FILE=secret\n\
         TLS=must\nSCHEDULE=every 30m\nWINDOW=weekdays\nON_LINK_UP=1\nWATCH=5m\n\
         [ACTIVATOR=odmr]\nSERVER=[192.0.2.1]\nMETHOD=atrn\nLOGIN=me\nPASSWORD=hush hush\nCHANNEL=TCP_Dialup\n",
    );
    let provider = config.sites.activator("PROVIDER").unwrap();
    assert_eq!((&*provider.server, provider.port), ("mail.provider.example", 25));
    assert_eq!(
        provider.names.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["example.com", "@example.com", "#q7"]
    );
    let login = provider.login.as_ref().unwrap();
    assert_eq!(&*login.name, "me");
    assert!(matches!(&login.password, Password::InFile { path, .. } if path.ends_with("etc/sluice/secret")));
    assert_eq!((provider.tls, provider.method, provider.on_link_up), (Tls::Must, Method::Etrn, true));
    assert_eq!(provider.watch, Duration::from_secs(300));
    let odmr = config.sites.activator("odmr").unwrap();
    assert_eq!((odmr.method, odmr.port, odmr.tls), (Method::Atrn, 366, Tls::May));
    assert_eq!((provider.channel.as_deref(), odmr.channel.as_deref()), (None, Some("tcp_dialup")));
    let password = &odmr.login.as_ref().unwrap().password;
    assert!(matches!(password, Password::Written { text, .. } if &**text == "hush hush"));
    assert!(!format!("{odmr:?}").contains("hush"), "a password that is debugged ends in a log");
}

#[test]
fn sites_are_found_by_all_their_names() {
    let config = config(
        "[SITE=a]\nDOMAINS=@example.com\nLOGIN=one\n[SITE=b]\nDOMAINS=b.example.com\nQUEUE_NAME=bq\nLOGIN=one, two\n",
    );
    let sites = &config.sites;
    let by_domain = |domain| sites.by_domain(domain).map_or("-", |site| &*site.name);
    for (domain, site) in [
        ("example.com", "a"),
        ("EXAMPLE.com.", "a"),
        ("x.y.example.com", "a"),
        ("b.example.com", "b"),
        ("B.Example.Com", "b"),
        ("x.b.example.com", "a"),
        ("notexample.com", "-"),
        ("com", "-"),
        ("", "-"),
        ("[192.0.2.1]", "-"),
    ] {
        assert_eq!(by_domain(domain), site, "{domain}");
    }
    assert_eq!(sites.by_queue_name("BQ").map(|site| &*site.name), Some("b"));
    assert!(sites.by_queue_name("a").is_none() && sites.by_name("c").is_none());
    let owned: Vec<_> = sites.by_login("one").map(|site| &*site.name).collect();
    assert_eq!(
        {
            let mut owned = owned;
            owned.sort_unstable();
            owned
        },
        ["a", "b"]
    );
    assert_eq!(sites.by_login("two").count(), 1);
    assert_eq!(sites.by_login("three").count(), 0);
    assert!(sites.by_name("a").unwrap().has_domain("deep.below.Example.com"));
    assert!(!sites.by_name("b").unwrap().has_domain("x.b.example.com"));
}

#[test]
fn names_that_are_there_twice() {
    assert_snapshot!(said(
        "[SITE=a]\nDOMAINS=a.example, @b.example\nQUEUE_NAME=q\n[SITE=A]\nDOMAINS=@A.example\n[SITE=c]\nDOMAINS=b.example, c.example, c.example\nQUEUE_NAME=Q\n\
         [ACTIVATOR=a]\nSERVER=mail.example.net\n[ACTIVATOR=A]\nSERVER=mail.example.net\n"
    ), @r#"
    sites.cnf:4:7: error[duplicate-site]: the section `[SITE=A]` is there twice
    note: sites.cnf:1:7: the first is here
    help: rename one of the two, or make one section of them
    sites.cnf:5:9: error[duplicate-site-domain]: the domain `a.example` of the site `A` belongs to the site `a`
    note: sites.cnf:2:9: it is named here first
    help: a domain belongs to one site: take one of the two out
    sites.cnf:7:9: error[duplicate-site-domain]: the domain `b.example` of the site `c` belongs to the site `a`
    note: sites.cnf:2:20: it is named here first
    help: a domain belongs to one site: take one of the two out
    sites.cnf:7:31: error[duplicate-site-domain]: the domain `c.example` is named twice by the site `c`
    note: sites.cnf:7:20: it is named here first
    help: a domain belongs to one site: take one of the two out
    sites.cnf:8:12: error[duplicate-queue-name]: the queue name `Q` of the site `c` is that of the site `a`
    note: sites.cnf:3:12: the first is here
    help: a queue name belongs to one site: change one of the two
    sites.cnf:11:12: error[duplicate-site]: the section `[ACTIVATOR=A]` is there twice
    note: sites.cnf:9:12: the first is here
    help: rename one of the two, or make one section of them
    "#);
}

#[test]
fn sites_that_cannot_be() {
    assert_snapshot!(site("PORT=25"), @r#"
    sites.cnf:1:7: error[site-without-domains]: the site `a` has no domains
    help: write `DOMAINS=` into its section
    "#);
    assert_snapshot!(site("DOMAINS="), @r#"
    sites.cnf:2:1: error[bad-option-value]: `DOMAINS` is empty
    help: write something behind the `=`, or take the line out
    "#);
    assert_snapshot!(site("DOMAINS=a.example, user@b.example, @com, co.uk, a..b"), @r#"
    sites.cnf:2:20: error[bad-site-domain]: `user@b.example` is no domain
    help: write domains such as `example.com`, or `@example.com` for all below it too
    sites.cnf:2:36: error[site-domain-is-public]: `com` is a public suffix: names below it belong to many
    help: name the domains that are the site's own
    sites.cnf:2:42: warning[site-domain-is-public]: `co.uk` is a public suffix: names below it belong to many
    help: name the domains that are the site's own
    sites.cnf:2:49: error[bad-site-domain]: `a..b` is no domain
    help: write domains such as `example.com`, or `@example.com` for all below it too
    "#);
    assert_snapshot!(site("DOMAINS=a.example\nCHANNEL=tcp_dailup"), @r#"
    sites.cnf:3:9: error[site-unknown-channel]: the channel `tcp_dailup` is not defined
    help: did you mean `tcp_dialup`?
    "#);
    let atrn = "SERVER=mail.example.net\nMETHOD=atrn\nLOGIN=me\nPASSWORD_FILE=x";
    assert_snapshot!(activator(&format!("{atrn}\nCHANNEL=tcp_dailup")), @r#"
    sites.cnf:6:9: error[site-unknown-channel]: the channel `tcp_dailup` is not defined
    help: did you mean `tcp_dialup`?
    "#);
    assert_eq!(activator(&format!("{atrn}\nCHANNEL=")), "");
    assert_snapshot!(activator("SERVER=mail.example.net\nCHANNEL=tcp_dialup"), @r#"
    sites.cnf:3:1: error[site-options-disagree]: the activator `p` has a channel and asks by ETRN
    help: the server connects to a listener, which has a channel: write `METHOD=atrn`, or take the line out
    "#);
    assert_snapshot!(site("DOMAINS=a.example\nQUEUE_NAME=q;rm\nLOGIN=#x"), @r#"
    sites.cnf:3:12: error[bad-queue-name]: `q;rm` cannot be the name of a queue
    help: use up to 63 letters, digits, `.`, `-` and `_`
    sites.cnf:4:7: error[bad-option-value]: `#x` cannot be a login
    help: a login is one word of at most 320 octets
    "#);
    assert_snapshot!(site("DOMAINS=a.example\nQUEUE_NAME=tcp_dialup"), @r#"
    sites.cnf:3:12: warning[queue-name-of-channel]: the queue name `tcp_dialup` hides the channel of that name from `ETRN #tcp_dialup`
    help: choose another name
    "#);
    assert_snapshot!(site("DOMAINS=a.example\nTIER=dynamic"), @r#"
    sites.cnf:3:6: error[tier-without-login]: the site `a` is of tier `dynamic` and has no login
    help: without a login its mail would go to whoever asks: write `LOGIN=`
    "#);
    assert_snapshot!(site("DOMAINS=a.example\nTIER=turned\nTARGET=x.example"), @r#"
    sites.cnf:1:7: warning[turned-without-service]: the site `a` takes its mail by ATRN, and no service offers that
    help: write a section `[SERVICE=ODMR]` into dispatcher.cnf, or `ATRN=1` into that of another service
    sites.cnf:3:6: error[tier-without-login]: the site `a` is of tier `turned` and has no login
    help: ATRN needs a login: write `LOGIN=`
    sites.cnf:4:1: error[site-options-disagree]: `TARGET` has no effect for the site `a` of tier `turned`
    help: its mail goes back over the connection of the request: take the line out
    "#);
    assert_snapshot!(site("DOMAINS=a.example\nTIER=static"), @r#"
    sites.cnf:3:6: error[tier-without-target]: the site `a` is of tier `static` and has no target
    help: write `TARGET=`, or `TIER=none` for the mail exchangers
    "#);
    assert_snapshot!(site("DOMAINS=a.example\nTIER=none\nTARGET=a b"), @r#"
    sites.cnf:4:1: error[site-options-disagree]: `TARGET` has no effect for the site `a` of tier `none`
    help: write `TIER=static`, or take the line out
    sites.cnf:4:8: error[bad-site-host]: `a b` is neither a host name nor an address
    help: write a name such as `mail.example.com`, or an address in brackets: `[192.0.2.7]`, `[IPv6:2001:db8::7]`
    "#);
    assert_snapshot!(site("DOMAINS=a.example\nTIER=dinamic\nCOVERS=all\nCOUNTS=two\nPORT=0\nON_LINK_UP=yes"), @r#"
    sites.cnf:3:6: error[bad-option-value]: `dinamic` is no value for `TIER` (`none`, `static`, `dynamic`, `turned`)
    help: did you mean `dynamic`?
    sites.cnf:4:8: error[bad-option-value]: `all` is no value for `COVERS` (`name`, `site`)
    help: there are `name`, `site`
    sites.cnf:5:8: error[bad-option-value]: `two` is no value for `COUNTS` (`yes`, `some`, `no`, `1`, `0`)
    help: there are `yes`, `some`, `no`, `1`, `0`
    sites.cnf:6:6: error[bad-option-value]: `0` is no value for `PORT` (a port)
    help: write a number from 1 to 65535
    sites.cnf:7:12: error[bad-option-value]: `yes` is no value for `ON_LINK_UP` (0 or 1)
    help: write 0 or 1
    "#);
    assert_snapshot!(site("DOMAINS=a.example\nLIFETIME=30\nNOTICES=3d, 2d"), @r#"
    sites.cnf:3:10: error[bad-option-value]: `30` is no value for `LIFETIME` (a length of time)
    help: write a time with its unit, such as `12h`, `30d` or `P30D`
    sites.cnf:4:13: error[bad-option-value]: `2d` is not later than the notice in front of it
    help: write the ages in growing order
    "#);
    assert_snapshot!(site("DOMAINS=a.example\nLIFETIME=5d\nNOTICES=3d, 5d\nMAX_SIZE_IN_WINDOW=10X"), @r#"
    sites.cnf:4:13: error[site-options-disagree]: the notice at `5d` is never sent: mail is returned before
    help: make `LIFETIME` longer, or take the age out
    sites.cnf:5:1: error[site-options-disagree]: the site `a` has `MAX_SIZE_IN_WINDOW` and no window
    help: larger messages would wait for ever: write a `WINDOW`, or take the line out
    sites.cnf:5:20: error[bad-option-value]: `10X` is no value for `MAX_SIZE_IN_WINDOW` (bytes)
    help: write bytes; `100K` is short for 100 × 1024
    "#);
    assert_snapshot!(site("DOMAINS=a.example\nWINDOW=mon-fri 22:00-06:00\nWINDOW=fun 10:00-11:00\nSCHEDULE=* * * *;every 5m"), @r#"
    sites.cnf:4:8: error[bad-window]: `fun` is no day of the week
    help: days are mon, tue, wed, thu, fri, sat and sun
    sites.cnf:5:10: error[bad-schedule]: a cron expression has five fields, and this has 4
    help: write minute, hour, day of the month, month and day of the week: `30 6 * * mon-fri`
    "#);
    assert_snapshot!(site("DOMAINS=a.example\nWINDOW=10:00-10:00\nSCHEDULE=0 0 30 2 *"), @r#"
    sites.cnf:3:8: error[window-never-opens]: `10:00-10:00` ends when it begins, so it never opens
    help: for the whole day write `00:00-24:00`, or the days without times
    sites.cnf:4:10: error[schedule-never-runs]: `0 0 30 2 *` never happens: no date is like that
    help: look at the day of the month and the month
    "#);
    assert_snapshot!(site("DOMAINS=a.example\nSERVER=x\nDOMANIS=b.example\nNONSENSE=1"), @r#"
    sites.cnf:3:1: error[site-option-astray]: `SERVER` is no option of a section `[SITE=…]`
    help: it belongs into `[ACTIVATOR=…]`
    sites.cnf:4:1: warning[unknown-option]: `DOMANIS` is not an option
    help: did you mean `DOMAINS`?
    sites.cnf:5:1: warning[unknown-option]: `NONSENSE` is not an option
    help: it is ignored; the reference lists the options of each section
    "#);
    assert_snapshot!(said("DOMAINS=a.example\n[SITES=a]\nDOMAINS=b.example\n[SITE=a/b]\nDOMAINS=c.example\n"), @r#"
    sites.cnf:1:1: error[site-option-astray]: `DOMAINS` stands in front of the first section
    help: write it below `[SITE=name]` or `[ACTIVATOR=name]`
    sites.cnf:2:2: error[unknown-section]: a section `SITES` does not belong here
    help: did you mean `[SITE=a]`?
    sites.cnf:4:7: error[bad-site-name]: `a/b` cannot be the name of a section
    help: use up to 63 letters, digits, `.`, `-` and `_`
    "#);
}

#[test]
fn activators_that_cannot_be() {
    assert_snapshot!(activator("NAMES=a.example"), @r#"
    sites.cnf:1:12: error[activator-without-server]: the activator `p` has no server
    help: write `SERVER=` into its section
    "#);
    assert_snapshot!(activator("SERVER=mail.example.net:25\nNAMES=a b@c #q/x"), @r#"
    sites.cnf:2:8: error[bad-site-host]: `mail.example.net:25` is neither a host name nor an address
    help: write a name such as `mail.example.com`, or an address in brackets: `[192.0.2.7]`, `[IPv6:2001:db8::7]`
    sites.cnf:3:9: error[bad-activator-name]: `b@c` cannot be asked for
    help: write domains, `@domain` for all below too, or `#queue`
    sites.cnf:3:13: error[bad-activator-name]: `#q/x` cannot be asked for
    help: write domains, `@domain` for all below too, or `#queue`
    "#);
    assert_snapshot!(activator("SERVER=Hub.Example.com"), @r#"
    sites.cnf:2:8: error[activator-of-ourselves]: the server of the activator `p` is this hub itself
    help: name the server that keeps mail for us; `sluice trigger` releases what waits here
    "#);
    assert_snapshot!(activator("SERVER=localhost"), @r#"
    sites.cnf:2:8: error[activator-of-ourselves]: the server of the activator `p` is this hub itself
    help: name the server that keeps mail for us; `sluice trigger` releases what waits here
    "#);
    assert_snapshot!(activator("SERVER=mail.example.net\nMETHOD=atrn\nNAMES=@a.example"), @r#"
    sites.cnf:3:1: error[site-options-disagree]: the activator `p` asks by ATRN and has no login
    help: ATRN needs a login: write `LOGIN` and `PASSWORD_FILE`
    sites.cnf:4:7: error[bad-activator-name]: `@a.example` cannot be asked for
    help: ATRN takes domains only
    "#);
    assert_snapshot!(activator("SERVER=mail.example.net\nLOGIN=me"), @r#"
    sites.cnf:3:1: error[site-options-disagree]: the activator `p` has a login and no password
    help: write `PASSWORD_FILE`
    "#);
    assert_snapshot!(activator("SERVER=mail.example.net\nPASSWORD=x"), @r#"
    sites.cnf:3:1: error[site-options-disagree]: the activator `p` has a password and no login
    help: write `LOGIN`
    "#);
    assert_snapshot!(activator("SERVER=mail.example.net\nLOGIN=me\nPASSWORD=x\nPASSWORD_FILE=y"), @r#"
    sites.cnf:5:1: error[site-options-disagree]: the activator `p` has two passwords
    help: keep `PASSWORD_FILE` and take `PASSWORD` out
    "#);
    assert_snapshot!(activator("SERVER=mail.example.net\nTLS=yes\nMETHOD=turn\nWATCH=0s\nWINDOW=weekend"), @r#"
    sites.cnf:3:5: error[bad-option-value]: `yes` is no value for `TLS` (`no`, `may`, `must`, `implicit`)
    help: there are `no`, `may`, `must`, `implicit`
    sites.cnf:4:8: error[bad-option-value]: `turn` is no value for `METHOD` (`etrn`, `atrn`)
    help: there are `etrn`, `atrn`
    sites.cnf:5:7: error[bad-option-value]: `0s` is no value for `WATCH` (a length of time)
    help: write a time with its unit, such as `12h`, `30d` or `P30D`
    sites.cnf:6:1: error[site-options-disagree]: the activator `p` has a window and no schedule
    help: a window says when the schedule counts: write a `SCHEDULE`, or take the line out
    "#);
}

#[test]
fn an_activator_needs_a_listener_that_can_be_reached() {
    let with = |dispatcher: &str, method: &str| {
        let sites = format!("[ACTIVATOR=p]\nSERVER=[127.0.0.2]\n{method}");
        let files = [
            ("sluice.cnf", MAIN),
            ("option.dat", UTC),
            ("sites.cnf", &sites),
            ("dispatcher.cnf", dispatcher),
        ];
        diagnose(&folder(&files))
    };
    let loopback = "[SERVICE=SMTP]\nPORT=[127.0.0.1]2525\n";
    assert_snapshot!(with(loopback, ""), @r#"
    sites.cnf:1:12: warning[activator-without-listener]: the activator `p` asks for mail, and we listen on loopback addresses only
    help: after ETRN the server connects to us: let a service in dispatcher.cnf listen on an address that it can reach
    "#);
    assert_snapshot!(with("! none\n", ""), @r#"
    sites.cnf:1:12: warning[activator-without-listener]: the activator `p` asks for mail, and no service listens for it
    help: after ETRN the server connects to us: let a service in dispatcher.cnf listen on an address that it can reach
    "#);
    assert_eq!(with("[SERVICE=SMTP]\nPORT=25\n", "PORT=2525"), "");
    assert_eq!(with(loopback, "METHOD=atrn\nLOGIN=me\nPASSWORD_FILE=x"), "");
    assert_snapshot!(with("[SERVICE=SMTP]\nPORT=[192.0.2.1]25,[127.0.0.2]2525\n", "PORT=2525"), @r#"
    sites.cnf:2:8: error[activator-of-ourselves]: the server of the activator `p` is this hub itself
    help: name the server that keeps mail for us; `sluice trigger` releases what waits here
    "#);
}

#[test]
fn time_zones() {
    let zone = |name: &str| {
        let option = format!("TIME_ZONE={name}\n");
        let files = folder(&[
            ("sluice.cnf", MAIN),
            ("option.dat", &option),
            ("sites.cnf", "[SITE=a]\nDOMAINS=a.example\nSCHEDULE=06:00\n"),
        ]);
        match std::fs::read("/usr/share/zoneinfo/Europe/Berlin") {
            Ok(content) => files.with("/usr/share/zoneinfo/Europe/Berlin", content),
            Err(_) => files,
        }
    };
    let next = |name: &str| {
        let config = good(&zone(name));
        let schedule = config.sites.by_name("a").unwrap().schedule.clone().unwrap();
        sluice_mail::rfc3339(schedule.next(sluice_mail::Time::from_secs(1_800_000_000)).unwrap())
    };
    assert_eq!(next("UTC"), "2027-01-16T06:00:00Z");
    assert_eq!(next("CET-1CEST,M3.5.0,M10.5.0/3"), "2027-01-16T05:00:00Z");
    if std::path::Path::new("/usr/share/zoneinfo/Europe/Berlin").exists() {
        assert_eq!(next("Europe/Berlin"), "2027-01-16T05:00:00Z");
    }
    assert_snapshot!(diagnose(&zone("Europe/Berlim")), @r#"
    option.dat:1:11: error[unknown-time-zone]: the time zone `Europe/Berlim` is not known
    help: write a name that stands below /usr/share/zoneinfo, such as `Europe/Berlin`, or a rule such as `CET-1CEST,M3.5.0,M10.5.0/3`
    "#);
    assert!(diagnose(&zone("../../../etc/passwd")).contains("unknown-time-zone"));
}

#[test]
fn a_hundred_thousand_sites() {
    use std::fmt::Write as _;
    let mut text = String::new();
    for number in 0..100_000 {
        let _ = writeln!(
            text,
            "[SITE=site{number}]\nDOMAINS=site{number}.example.com\nQUEUE_NAME=q{number}\nLOGIN=login{number}\nCHANNEL=tcp_dialup\nSCHEDULE=mon-fri 06:00\n"
        );
    }
    let files = files(&text);
    let begin = std::time::Instant::now();
    let config = good(&files);
    let took = begin.elapsed();
    assert_eq!(config.sites.len(), 100_000);
    for number in [0, 77_777, 99_999] {
        let name = format!("site{number}");
        assert_eq!(&*config.sites.by_domain(&format!("{name}.example.com")).unwrap().name, name);
        assert_eq!(&*config.sites.by_queue_name(&format!("q{number}")).unwrap().name, name);
        assert_eq!(&*config.sites.by_login(&format!("login{number}")).next().unwrap().name, name);
    }
    // Not optimized, and on a machine that others use: a hundred times what it takes otherwise, and nothing quadratic.
    assert!(took < Duration::from_secs(60), "{took:?}");
    eprintln!("100,000 sites were read in {took:?}");
}
