//! Two hubs that point at each other: one call takes the mail both ways (rows 1.9 and 2.3).

use sluice_testkit::{Batch, Sink, Site, watch};
use sluice_tests::{SOON, WHILE, numbers};

/// The configuration of a partner that owns the domain `own`, whose mail goes to `inbox`. Mail for `other` waits until it is
/// time, and whoever brings it asks there for the mail for `own`.
fn partner(site: &Site, own: &str, inbox: &Sink, other: &str, at: &Site) {
    let text = format!(
        "host.{own} $U@host.{own}\n{own} $U%$D@TCP-INBOX\n{other} $U%$D@TCP-PARTNER\n\n\
         l\nhost.{own}\n\ntcp_local smtp nomx allowetrn\nTCP-DAEMON\n\n\
         tcp_inbox smtp nomx daemon [127.0.0.1] port {}\nTCP-INBOX\n\n\
         tcp_partner smtp nomx daemon [127.0.0.1] \\\n    periodic sendetrn {own} port {}\nTCP-PARTNER\n",
        inbox.port(),
        at.address().port(),
    );
    site.write("sluice.cnf", &text);
    site.write("tcp_local_option", "ALLOW_ETRNS_PER_SESSION=100\n");
}

fn releases(site: &Site) -> usize {
    site.log().lines().filter(|line| line.contains(" release id=")).count()
}

#[test]
fn row_1_9_and_2_3_mail_goes_both_ways_in_one_call() {
    let (mut a, mut b) = (Site::new("partner-a"), Site::new("partner-b"));
    let (inbox_a, inbox_b) = (Sink::start(), Sink::start());
    partner(&a, "a.example", &inbox_a, "b.example", &b);
    partner(&b, "b.example", &inbox_b, "a.example", &a);
    a.start();
    b.start();
    Batch::new(a.address(), "ginger@b.example", 20).send_all();
    Batch { first: 20, ..Batch::new(b.address(), "fred@a.example", 30) }.send_all();
    watch("nothing moves by itself", WHILE, || inbox_a.count() + inbox_b.count() == 0);
    assert_eq!((a.waiting(Some("tcp_partner")), b.waiting(Some("tcp_partner"))), (20, 30));

    // The call: A is told that the line is up, B is told nothing but what A says.
    assert_eq!(a.command(&["trigger", "#tcp_partner"]).code, 0);
    assert_eq!(numbers(&inbox_b.wait(20, SOON)), (0..20).collect::<Vec<_>>());
    assert_eq!(numbers(&inbox_a.wait(30, SOON)), (20..50).collect::<Vec<_>>());
    for site in [&a, &b] {
        site.wait_for_waiting(None, 0, SOON);
    }
    assert!(b.log().contains("selector=\"a.example\" requester=etrn"), "{}", b.log());
    // B has asked A in its turn, for there each sends ETRN; two that have nothing more for each other come to rest.
    let asked = releases(&a) + releases(&b);
    watch("they do not go on asking each other", WHILE, || releases(&a) + releases(&b) == asked);
    assert_eq!((inbox_a.count(), inbox_b.count()), (30, 20));
    a.stop();
    b.stop();
}
