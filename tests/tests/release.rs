//! The story the hub was built for: mail for a site that is away waits, and ETRN lets out exactly what it names.

use sluice_testkit::{Batch, Sink, Site, below_received, message, number_of, watch};
use sluice_tests::{Destination, SOON, WHILE, hub, numbers};
use std::time::Duration;

/// Three names of one site on a held channel, and another site that stays at sea.
fn dial_up(name: &str, site: &Sink, ship: &Sink) -> Site {
    let mut hub = hub(
        name,
        &[
            Destination::held("tcp_dialup", "site7.example", site.port()),
            Destination::held("tcp_ship", "ship.example", ship.port()),
        ],
    );
    hub.start();
    hub
}

#[test]
fn two_hundred_messages_wait_and_each_form_of_etrn_lets_out_exactly_its_own() {
    let (site, ship) = (Sink::start(), Sink::start());
    let hub = dial_up("release", &site, &ship);
    let groups = [
        ("fred@site7.example", 0, 70),
        ("fred@pc.site7.example", 70, 40),
        ("fred@lab.pc.site7.example", 110, 30),
        ("fred@mac.site7.example", 140, 40),
        ("captain@ship.example", 180, 20),
    ];
    for (to, first, count) in groups {
        Batch { first, sessions: 4, size: 4096, ..Batch::new(hub.address(), to, count) }.send_all();
    }
    assert_eq!(hub.waiting(Some("tcp_dialup")), 180);
    assert_eq!(hub.waiting(Some("tcp_ship")), 20);
    watch("nothing arrives before it is asked for", WHILE, || site.connections() + ship.connections() == 0);

    let mut client = hub.talk();
    let steps = [
        // Exactly the domain: not what is under it.
        ("ETRN site7.example", 0, 70),
        // The name and everything under it.
        ("ETRN @pc.site7.example", 70, 70),
        // Whatever the channel has left.
        ("ETRN #tcp_dialup", 140, 40),
    ];
    let mut so_far = 0;
    for (command, first, count) in steps {
        let reply = client.want(command, 253);
        assert!(reply.text().contains(&count.to_string()), "{command}: {reply}");
        so_far += count;
        let arrived = site.wait(so_far, SOON);
        watch("nothing else arrives", Duration::from_millis(300), || site.count() == so_far);
        let new: Vec<usize> = numbers(&arrived).into_iter().filter(|number| *number >= first).collect();
        assert_eq!(new, (first..first + count).collect::<Vec<_>>(), "after {command}");
    }
    client.quit();

    for one in site.arrived() {
        let number = number_of(&one.content).unwrap();
        assert_eq!(
            below_received(&one.content),
            message(number, 4096),
            "message {number} was changed on its way"
        );
        assert!(one.content.starts_with(b"Received: "), "no trace line on message {number}");
        assert_eq!(one.from, "sender@origin.example");
    }
    hub.wait_for_waiting(Some("tcp_dialup"), 0, SOON);
    assert_eq!(hub.waiting(Some("tcp_ship")), 20, "the unrelated site's mail stays");
    assert_eq!(ship.connections(), 0);
}

#[test]
fn a_message_for_two_sites_is_released_for_one() {
    let (site, ship) = (Sink::start(), Sink::start());
    let hub = dial_up("two-sites", &site, &ship);
    let to = vec!["fred@site7.example".to_owned(), "captain@ship.example".to_owned()];
    Batch { to, ..Batch::new(hub.address(), "", 1) }.send_all();
    hub.talk().want("ETRN site7.example", 253);
    let arrived = site.wait(1, SOON);
    assert_eq!(arrived[0].to, ["fred@site7.example"]);
    watch("the other recipient waits", Duration::from_millis(500), || ship.connections() == 0);
    assert_eq!(hub.waiting(Some("tcp_ship")), 1);
    hub.talk().want("ETRN ship.example", 253);
    assert_eq!(ship.wait(1, SOON)[0].to, ["captain@ship.example"]);
}

#[test]
fn etrn_answers_what_it_knows_and_refuses_what_it_must() {
    let (site, ship) = (Sink::start(), Sink::start());
    let hub = dial_up("answers", &site, &ship);
    let mut client = hub.talk();
    assert!(client.want("EHLO client.example", 250).offers("ETRN"));
    client.want("ETRN site7.example", 251);
    client.want("ETRN", 501);
    client.want("ETRN site7.example ship.example", 501);
    client.want("ETRN @ site7.example", 501);
    client.want("ETRN $(id).example", 501);
    client.want("ETRN unknown.invalid", 459);
    client.want("ETRN #tcp_nosuch", 459);
    client.want("MAIL FROM:<a@b.example>", 250);
    client.want("ETRN site7.example", 503);
    // The transaction is still there.
    client.want("RCPT TO:<fred@site7.example>", 250);
    client.want("RSET", 250);
    // etrn(8) ends its lines with LF alone and speaks in lower case.
    client.raw(b"etrn site7.example\n").unwrap();
    assert_eq!(client.read().unwrap().code, 251);
    client.quit();
    let (mut early, _) = sluice_testkit::Talk::open(hub.address()).unwrap();
    early.want("ETRN site7.example", 503);
}

#[test]
fn keywords_decide_who_may_use_which_form() {
    let site = Sink::start();
    let held = Destination::held("tcp_dialup", "site7.example", site.port());
    let blocked =
        Destination { keywords: "periodic blocketrn", ..Destination::held("tcp_ship", "ship.example", 1) };
    for (keyword, plain, at, channel) in
        [("silentetrn", 250, 250, 250), ("domainetrn", 459, 250, 459), ("disableetrn", 502, 502, 502)]
    {
        let mut hub = hub(keyword, &[held, blocked]);
        hub.write("sluice.cnf", &sluice_tests::configuration(keyword, &[held, blocked]));
        hub.start();
        let mut client = hub.talk();
        let offered = client.want("EHLO client.example", 250).offers("ETRN");
        assert_eq!(offered, keyword != "disableetrn");
        for (command, code) in
            [("ETRN site7.example", plain), ("ETRN @site7.example", at), ("ETRN #tcp_dialup", channel)]
        {
            let reply = client.want(command, code);
            let told = command.contains("tcp_dialup") || !reply.text().contains("tcp_dialup");
            assert!(told, "{keyword} gives the channel's name away: {reply}");
        }
        if keyword == "silentetrn" {
            client.want("ETRN ship.example", 459);
        }
        client.quit();
        hub.stop();
    }
}

#[test]
fn the_number_of_etrns_in_a_session_is_limited() {
    let (site, ship) = (Sink::start(), Sink::start());
    let mut hub = hub("limit", &[Destination::held("tcp_dialup", "site7.example", site.port())]);
    hub.write("tcp_local_option", "ALLOW_ETRNS_PER_SESSION=2\n");
    hub.start();
    let mut client = hub.talk();
    client.want("ETRN site7.example", 251);
    client.want("ETRN site7.example", 251);
    client.want("ETRN site7.example", 458);
    client.want("NOOP", 250);
    hub.talk().want("ETRN site7.example", 251);
    drop(ship);
}

#[test]
fn what_fails_at_release_time_waits_for_the_next() {
    let (site, ship) = (Sink::start(), Sink::start());
    let hub = dial_up("deferred", &site, &ship);
    Batch::new(hub.address(), "fred@site7.example", 5).send_all();
    site.behave(sluice_testkit::Manner { end: Some("451 4.3.0 not now".to_owned()), ..Default::default() });
    hub.talk().want("ETRN site7.example", 253);
    sluice_testkit::wait_for("the hub has tried", SOON, || site.connections() > 0);
    sluice_testkit::wait_for("the attempts are over", SOON, || {
        hub.json(&["queue", "summarize"]).iter().all(|row| row["active"] == 0)
    });
    assert_eq!(hub.waiting(None), 5);
    site.behave(sluice_testkit::Manner::default());
    hub.talk().want("ETRN site7.example", 253);
    site.wait(5, SOON);
    hub.wait_for_waiting(None, 0, SOON);
}

#[test]
fn a_refused_recipient_comes_back_to_the_sender_as_a_notice() {
    let (site, back) = (Sink::start(), Sink::start());
    let mut hub = hub(
        "bounce",
        &[
            Destination::held("tcp_dialup", "site7.example", site.port()),
            Destination::direct("tcp_back", "origin.example", back.port()),
        ],
    );
    hub.start();
    let refusal = ("nobody@".to_owned(), "550 5.1.1 no such user here".to_owned());
    site.behave(sluice_testkit::Manner { recipient: Some(refusal), ..Default::default() });
    let to = vec!["nobody@site7.example".to_owned(), "fred@site7.example".to_owned()];
    Batch { to, ..Batch::new(hub.address(), "", 1) }.send_all();
    hub.talk().want("ETRN site7.example", 253);
    assert_eq!(site.wait(1, SOON)[0].to, ["fred@site7.example"]);
    let notice = &back.wait(1, SOON)[0];
    assert_eq!((notice.from.as_str(), notice.to.as_slice()), ("", &["sender@origin.example".to_owned()][..]));
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    for part in ["multipart/report", "Action: failed", "nobody@site7.example", "5.1.1", "no such user here"] {
        assert!(text.contains(part), "the notice does not say {part:?}:\n{text}");
    }
    hub.wait_for_waiting(None, 0, SOON);
}
