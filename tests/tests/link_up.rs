//! A line comes up: the marked sites get their mail, by command and by each of the hooks in `samples/link-up`.

use sluice_testkit::{Ran, Sink, Site, built, message, wait_for};
use sluice_tests::{Destination, SOON, hub};
use std::path::Path;
use std::process::Command;

/// Arguments and environment of a hook.
type Call = (&'static [&'static str], &'static [(&'static str, &'static str)]);

/// A hub with mail for a site that is marked and for one that is not.
fn with_mail(name: &str, sink: &Sink) -> Site {
    let port = sink.address().port();
    let mut site = hub(
        name,
        &[
            Destination::held("tcp_ship", "ship.example", port),
            Destination::held("tcp_hut", "hut.example", port),
        ],
    );
    site.write(
        "sites.cnf",
        "[SITE=ship]\nDOMAINS=ship.example\nON_LINK_UP=1\n[SITE=hut]\nDOMAINS=hut.example\n",
    );
    site.start();
    send(&site);
    site
}

fn send(site: &Site) {
    let mut talk = site.talk();
    let reply = talk
        .deliver("a@origin.example", &["fred@ship.example", "fred@hut.example"], &message(1, 500))
        .expect("a reply");
    assert_eq!(reply.code, 250, "{reply}");
    talk.quit();
    wait_for("mail for the ship", SOON, || site.waiting(Some("tcp_ship")) == 1);
}

fn ship_is_served(site: &Site) {
    wait_for("the ship's mail to go", SOON, || site.waiting(Some("tcp_ship")) == 0);
    assert_eq!(site.waiting(Some("tcp_hut")), 1, "the other one is not marked");
}

#[test]
fn the_command_releases_marked_sites() {
    let sink = Sink::start();
    let site = with_mail("link-up-command", &sink);
    let ran: Ran = site.command(&["trigger", "--on-link-up", "hut"]);
    assert_eq!(ran.code, 65, "{ran:?}");
    assert!(ran.err.contains("the site `hut` is not marked"), "{ran:?}");
    let ran = site.command(&["trigger", "--on-link-up", "shop"]);
    assert_eq!(ran.code, 65, "{ran:?}");
    assert!(ran.err.contains("there is no site `shop`") && ran.err.contains("did you mean ship?"), "{ran:?}");
    let rows = site.json(&["trigger", "--on-link-up", "SHIP"]);
    assert_eq!(
        (rows.len(), &rows[0]["site"], &rows[0]["messages"]),
        (1, &"ship".into(), &1.into()),
        "{rows:?}"
    );
    ship_is_served(&site);
    assert_eq!(site.command(&["trigger", "--on-link-up"]).out, "ship: 0 messages released\n");
    assert_eq!(site.command(&["trigger"]).code, 64);
}

#[test]
fn each_hook_releases_marked_sites() {
    let sink = Sink::start();
    let mut site = with_mail("link-up-hooks", &sink);
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/link-up");
    let run = |configuration: &Path, hook: &str, (arguments, environment): Call| {
        let mut command = Command::new(hooks.join(hook));
        command.args(arguments).env_clear().envs(environment.iter().copied());
        command.env("SLUICE", built("sluice")).env("SLUICE_CONFIG", configuration);
        command.output().expect("the hook runs")
    };
    let calls: [(&str, Call, Call); 3] = [
        ("NetworkManager/dispatcher.d/90-sluice", (&["ppp0", "up"], &[]), (&["ppp0", "down"], &[])),
        ("ppp/ip-up.d/sluice", (&[], &[("PPP_IFACE", "ppp0")]), (&[], &[])),
        (
            "networkd-dispatcher/routable.d/sluice",
            (&[], &[("IFACE", "ppp0"), ("OperationalState", "routable")]),
            (&[], &[("IFACE", "ppp0"), ("OperationalState", "off")]),
        ),
    ];
    for (number, (hook, up, down)) in calls.into_iter().enumerate() {
        if number > 0 {
            let mut talk = site.talk();
            let reply = talk
                .deliver("a@origin.example", &["fred@ship.example"], &message(number + 1, 500))
                .expect("a reply");
            assert_eq!(reply.code, 250, "{reply}");
            talk.quit();
            wait_for("mail for the ship", SOON, || site.waiting(Some("tcp_ship")) == 1);
        }
        let idle = run(&site.configuration(), hook, down);
        assert!(idle.status.success() && idle.stdout.is_empty(), "{hook}: {idle:?}");
        assert_eq!(site.waiting(Some("tcp_ship")), 1, "{hook}: nothing came up");
        let ran = run(&site.configuration(), hook, up);
        assert!(ran.status.success(), "{hook}: {ran:?}");
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "ship: 1 message released\n", "{hook}");
        ship_is_served(&site);
    }
    site.stop();
    let ran = run(&site.configuration(), "ppp/ip-up.d/sluice", (&[], &[("PPP_IFACE", "ppp0")]));
    assert_eq!(ran.status.code(), Some(75), "{ran:?}");
}
