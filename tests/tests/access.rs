//! The mapping tables at the door: connections, senders, recipients and ETRN, let in and turned away.

use sluice_testkit::{Sink, Site, Talk, message};
use sluice_tests::{Destination, SOON, hub};

const MAPPINGS: &str = "\
FROM_ACCESS

    TCP|127.0.0.1|*|*|*|SMTP/*|MAIL|*|spammer@*|    $NGo$ away
    *|held@*|                                       $H$Y
    *|other@*|                                      $Jchanged@example.org$Y

ORIG_SEND_ACCESS

    *|*|tcp_site|secret@*     $X4.2.2|Not$ now$N
    *|*|*|trash@*             $B$Y
    *|*|*|hold@*              $H

MAIL_ACCESS

    *|MAIL|*|*|*|closed@site.example      $N571$ Closed

ETRN_ACCESS

    TCP|*|*|*|*|SMTP/*|tcp_site|*|refused.site.example   $NNot$ for$ you
    *|other.site.example                                 $DTCP_LATER$S

FORWARD

    old@site.example    new@site.example$Y$D

REVERSE

    *@inner.example     $0@outer.example$Y
";

fn mapped(name: &str, site: &Sink, later: &Sink) -> Site {
    let mut hub = hub(
        name,
        &[
            Destination::direct("tcp_site", "site.example", site.port()),
            Destination::held("tcp_later", "later.example", later.port()),
        ],
    );
    hub.write("mappings", MAPPINGS);
    hub.start();
    hub
}

#[test]
fn tables_refuse_hold_discard_and_change() {
    let (site, later) = (Sink::start(), Sink::start());
    let hub = mapped("access", &site, &later);
    let mut client: Talk = hub.talk();
    let reply = client.want("MAIL FROM:<spammer@example.org>", 550);
    assert!(reply.text().contains("Go away"), "{reply}");
    client.want("MAIL FROM:<me@example.org>", 250);
    let reply = client.want("RCPT TO:<secret@site.example>", 450);
    assert!(reply.text().contains("4.2.2") && reply.text().contains("Not now"), "{reply}");
    let reply = client.want("RCPT TO:<closed@site.example>", 571);
    assert!(reply.text().contains("Closed"), "{reply}");
    client.want("RCPT TO:<trash@site.example>", 250);
    client.want("RCPT TO:<old@site.example>", 250);
    client.want("RSET", 250);
    let mut number = 0;
    let mut send = |from: &str, to: &[&str]| {
        number += 1;
        let mut client = hub.talk();
        let reply = client.deliver(from, to, &message(number, 512)).unwrap();
        assert_eq!(reply.code, 250, "{reply}");
        client.quit();
    };
    send("me@inner.example", &["trash@site.example", "old@site.example"]);
    let arrived = site.wait(1, SOON);
    assert_eq!(arrived[0].from, "me@outer.example");
    assert_eq!(arrived[0].to, ["new@site.example"]);
    send("other@example.org", &["fred@site.example"]);
    let arrived = site.wait(2, SOON);
    assert_eq!(arrived[1].from, "changed@example.org");
    send("held@example.org", &["fred@site.example"]);
    send("me@example.org", &["hold@site.example"]);
    hub.wait_for_waiting(Some("tcp_site"), 2, SOON);
    client.quit();
}

#[test]
fn etrn_access_refuses_and_redirects() {
    let (site, later) = (Sink::start(), Sink::start());
    let hub = mapped("etrn-access", &site, &later);
    let mut client = hub.talk();
    client.deliver("me@example.org", &["a@later.example"], &message(1, 512)).unwrap();
    assert_eq!(hub.waiting(Some("tcp_later")), 1);
    let reply = client.want("ETRN refused.site.example", 459);
    assert!(reply.text().contains("4.5.0") && reply.text().contains("Not for you"), "{reply}");
    let reply = client.ask("ETRN other.site.example").unwrap();
    assert!((250..=253).contains(&reply.code), "{reply}");
    later.wait(1, SOON);
    client.quit();
}

#[test]
fn port_access_closes_the_door() {
    let site = Sink::start();
    let mut hub = hub("port-access", &[Destination::direct("tcp_site", "site.example", site.port())]);
    hub.write("mappings", "PORT_ACCESS\n\n  TCP|*|*|$(127.0.0.0/8)|*  $N421$ Not$ from$ here\n");
    hub.spawn();
    let greeting =
        sluice_testkit::wait_until(SOON, || Talk::open(hub.address()).ok().map(|(_, greeting)| greeting));
    let greeting = greeting.expect("the hub answers");
    assert_eq!(greeting.code, 421, "{greeting}");
    assert!(greeting.text().contains("Not from here"), "{greeting}");
}
