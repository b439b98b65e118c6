//! The channel `hold`: mail that waits for an operator.

use sluice_testkit::{Batch, Sink, Site, wait_for, watch};
use sluice_tests::{Destination, SOON, WHILE, configuration, numbers};

/// Mail for `held.example` is held; from the channel `hold` it goes to the sink, as all other mail.
fn hub(name: &str, block: &str, sink: &Sink) -> Site {
    let site = Site::new(name);
    let to = [Destination::direct("tcp_next", "next.example", sink.port())];
    let rules = "held.example $U%$D@HOLD-DAEMON$Nhold\nheld.example $U%next.example@TCP_NEXT$Mhold\n";
    let text = format!("{rules}{}\n{block}\nHOLD-DAEMON\n", configuration("allowetrn", &to));
    site.write("sluice.cnf", &text);
    site.write("tcp_local_option", "ALLOW_ETRNS_PER_SESSION=100\n");
    site
}

fn held(hub: &Site) -> usize {
    hub.json(&["queue", "list", "--state", "held"]).len()
}

#[test]
fn nothing_moves_it_but_an_operator() {
    for (name, block) in
        [("hold", "hold"), ("hold-slave", "hold slave"), ("hold-more", "hold_more periodic backoff PT1S")]
    {
        let sink = Sink::start();
        let mut hub = hub(name, block, &sink);
        if name == "hold-more" {
            hub.replace("sluice.cnf", "$Nhold\n", "$Nhold_more\n");
            hub.replace("sluice.cnf", "$Mhold\n", "$Mhold_more\n");
        }
        let checked = hub.command(&["check"]);
        assert!(
            checked.code == 0 && checked.out.ends_with("nothing to complain about\n"),
            "{}{}",
            checked.out,
            checked.err
        );
        hub.start();
        Batch::new(hub.address(), "fred@held.example", 3).send_all();
        Batch { first: 10, ..Batch::new(hub.address(), "fred@next.example", 1) }.send_all();
        assert_eq!(numbers(&sink.wait(1, SOON)), [10], "others go");
        wait_for("it is on hold", SOON, || held(&hub) == 3);
        let channel = block.split(' ').next().expect("a name");
        hub.command(&["trigger", channel]);
        hub.talk().ask("ETRN held.example").expect("an answer");
        watch("it stays", WHILE, || held(&hub) == 3 && sink.count() == 1);
        // Over a restart, and over one without warning.
        hub.stop();
        hub.start();
        hub.kill();
        hub.start();
        watch("it stays", WHILE, || held(&hub) == 3 && sink.count() == 1);
        let all = hub.json(&["queue", "list", "--state", "held"]);
        let id = all[0]["id"].as_str().expect("an id").to_owned();
        let released = hub.command(&["queue", "release", &id]);
        assert_eq!(released.code, 0, "{}{}", released.out, released.err);
        assert_eq!(sink.wait(2, SOON).len(), 2, "{}", hub.report());
        watch("the others stay", WHILE, || held(&hub) == 2 && sink.count() == 2);
        let released = hub.command(&["queue", "release", &format!("#{channel}"), "--yes"]);
        assert_eq!(released.code, 0, "{}{}", released.out, released.err);
        assert_eq!(numbers(&sink.wait(4, SOON)), [0, 1, 2, 10]);
        hub.wait_for_waiting(None, 0, SOON);
        hub.stop();
    }
}

#[test]
fn what_is_sent_there_again_is_on_hold_again_and_goes_back_when_it_is_returned() {
    let sink = Sink::start();
    let mut hub = hub("hold-again", "hold", &sink);
    hub.replace("sluice.cnf", "$Nhold\n", "\n");
    let back = "origin.example $U%$D@TCP_NEXT\n";
    hub.replace("sluice.cnf", "held.example $U%next", &format!("{back}held.example $U%next"));
    hub.start();
    let mut client = hub.talk();
    let content = b"Subject: x\r\n\r\nx\r\n";
    let reply = client.deliver("a@origin.example", &["fred@held.example", "kim@next.example"], content);
    assert_eq!(reply.expect("an answer").code, 250);
    assert_eq!(
        sink.wait(1, SOON)[0].to,
        ["kim@next.example"],
        "one message, and only one of its recipients is held"
    );
    let id = |hub: &Site| {
        let all = hub.json(&["queue", "list", "--state", "held"]);
        (all.len() == 1).then(|| all[0]["id"].as_str().expect("an id").to_owned())
    };
    wait_for("it is on hold", SOON, || id(&hub).is_some());
    let first = id(&hub).expect("one");
    assert_eq!(hub.command(&["queue", "release", &first]).code, 0);
    wait_for("it is on hold again", SOON, || id(&hub).is_some_and(|id| id != first));
    let second = id(&hub).expect("one");
    assert_eq!(hub.command(&["queue", "return", &second]).code, 0);
    let notice = sink.wait(2, SOON);
    assert_eq!(notice[1].to, ["a@origin.example"]);
    hub.wait_for_waiting(None, 0, SOON);
    hub.stop();
}
