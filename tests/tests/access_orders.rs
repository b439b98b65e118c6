//! What the mapping tables order beside yes and no: delays, header lines, discarding, relaying, other addresses.

use std::time::{Duration, Instant};

use sluice_testkit::{Arrived, Sink, Site, Talk, message};
use sluice_tests::{Destination, SOON, WHILE, configuration, hub};

/// A hub with two sites, these tables and these options.
fn mapped(name: &str, one: &Sink, two: &Sink, mappings: &str, options: &str) -> Site {
    let mut hub = hub(
        name,
        &[
            Destination::direct("tcp_one", "one.example", one.port()),
            Destination {
                keywords: "noreverse",
                ..Destination::direct("tcp_two", "two.example", two.port())
            },
        ],
    );
    hub.write("mappings", mappings);
    if !options.is_empty() {
        let before = std::fs::read_to_string(hub.configuration().join("option.dat")).unwrap_or_default();
        hub.write("option.dat", &format!("{before}{options}"));
    }
    hub.start();
    hub
}

/// Sends a message that must be accepted.
fn send(hub: &Site, number: usize, from: &str, to: &[&str]) {
    let mut client = hub.talk();
    let reply = client.deliver(from, to, &message(number, 512)).expect("a reply");
    assert_eq!(reply.code, 250, "{reply}");
    client.quit();
}

fn header(arrived: &Arrived) -> String {
    let text = String::from_utf8_lossy(&arrived.content).into_owned();
    text.split("\r\n\r\n").next().unwrap_or_default().to_owned()
}

#[test]
fn every_table_of_recipients_can_refuse_and_sees_what_it_should() {
    let (one, two) = (Sink::start(), Sink::start());
    let tables = "\
ORIG_SEND_ACCESS

    tcp_local|bad@x.example|tcp_one|*@one.example|*      $NNo$ 1

SEND_ACCESS

    *|*|*|member@one.example|<*>          $NNever
    *|*|tcp_one|member@one.example|team@hub.example  $N5.7.0$ No$ 2

ORIG_MAIL_ACCESS

    TCP|127.0.0.1|*|127.0.0.1|*|SMTP/client.example|MAIL|tcp_local|bad@x.example|tcp_two|*|*   $N550$ 5.1.8$ No$ 3

MAIL_ACCESS

    TCP|*|SMTP/client.example|MAIL|tcp_local||tcp_two|nobounces@two.example|*  $C$:E$NNo$ 4$E
";
    let mut hub = hub(
        "access-orcpt",
        &[
            Destination::direct("tcp_one", "one.example", one.port()),
            Destination::direct("tcp_two", "two.example", two.port()),
        ],
    );
    hub.write("mappings", tables);
    hub.write("aliases", "team: member@one.example\n");
    let options = std::fs::read_to_string(hub.configuration().join("option.dat")).unwrap_or_default();
    hub.write("option.dat", &format!("{options}ACCESS_ORCPT=1\n"));
    hub.start();
    let mut client = hub.talk();
    client.want("RSET", 250);
    client.want("EHLO client.example", 250);
    client.want("MAIL FROM:<bad@x.example>", 250);
    let said = |client: &mut Talk, to: &str| client.want(&format!("RCPT TO:<{to}>"), 550).text();
    assert!(said(&mut client, "a@one.example").contains("No 1"));
    assert!(said(&mut client, "a@two.example").contains("5.1.8 No 3"));
    client.want("RSET", 250);
    client.want("MAIL FROM:<>", 250);
    client.want("RCPT TO:<member@one.example>", 250);
    assert!(said(&mut client, "team@hub.example").contains("5.7.0 No 2"));
    client.want("RCPT TO:<a@two.example>", 250);
    assert!(said(&mut client, "nobounces@two.example").contains("No 4"));
    client.want("HELO client.example", 250);
    client.want("MAIL FROM:<>", 250);
    client.want("RCPT TO:<nobounces@two.example>", 250);
    client.quit();
}

#[test]
fn a_refusal_takes_its_time_and_so_do_the_commands_behind_it() {
    let (one, two) = (Sink::start(), Sink::start());
    let tables = "\
FROM_ACCESS

    *|slow@x.example|    $D-40$Y

ORIG_SEND_ACCESS

    *|*|*|refused@*     $N$D30|Relaying$ not$ allowed
";
    let hub = mapped("access-delay", &one, &two, tables, "");
    let mut client = hub.talk();
    let mut timed = |line: &str, code: u16| {
        let start = Instant::now();
        client.want(line, code);
        start.elapsed()
    };
    let tenth = Duration::from_millis(100);
    assert!(timed("MAIL FROM:<slow@x.example>", 250) >= 4 * tenth);
    let other = timed("RCPT TO:<a@one.example>", 250);
    assert!(other < 4 * tenth, "a negative delay is for MAIL alone, and RCPT took {other:?}");
    assert!(timed("RCPT TO:<refused@one.example>", 550) >= 3 * tenth);
    assert!(timed("RCPT TO:<b@one.example>", 250) >= 3 * tenth, "a positive delay is for the transaction");
    timed("RSET", 250);
    let other = timed("MAIL FROM:<a@x.example>", 250);
    assert!(other < 3 * tenth, "the next transaction took {other:?}");
}

#[test]
fn header_lines_are_added_and_messages_thrown_away() {
    let (one, two) = (Sink::start(), Sink::start());
    let tables = "\
FROM_ACCESS

    *|SMTP/*|MAIL|*|*@marked.example|      $AX-Mark:$ from$ $3@marked.example$Y
    *|*@v.example|                         $V$Y

SEND_ACCESS

    *|*|*|x@one.example       $AX-To:$ a$ copy$Y
    *|*|*|gone@one.example    $B
    *|*|*|all@one.example     $Z
    *|*|*|group@one.example   $Istaff|mail$Y
";
    let hub = mapped("access-orders", &one, &two, tables, "");
    send(&hub, 1, "me@marked.example", &["x@one.example", "y@two.example"]);
    for sink in [&one, &two] {
        let header = header(&sink.wait(1, SOON)[0]);
        let added: Vec<&str> = header.lines().filter(|line| line.starts_with("X-")).take(2).collect();
        assert_eq!(added, ["X-Mark: from me@marked.example", "X-To: a copy"], "{header}");
        assert!(header.starts_with("Received:"), "{header}");
    }
    send(&hub, 2, "me@x.example", &["gone@one.example", "y@two.example"]);
    two.wait(2, SOON);
    send(&hub, 3, "me@x.example", &["a@one.example", "all@one.example", "y@two.example"]);
    send(&hub, 4, "me@v.example", &["a@one.example", "y@two.example"]);
    send(&hub, 5, "me@x.example", &["last@one.example"]);
    let arrived = one.wait(2, SOON);
    assert_eq!(arrived[1].to, ["last@one.example"], "$Z and $V throw away all copies, $B only its own");
    assert_eq!(two.count(), 2);
    assert!(!header(&arrived[1]).contains("X-"), "orders end with their message");
    let mut client = hub.talk();
    client.want("MAIL FROM:<me@x.example>", 250);
    client.want("RCPT TO:<group@one.example>", 550);
    client.quit();
    let said = hub.command(&["check"]);
    assert!((said.out.clone() + &said.err).contains("mapping-group-check"), "{}{}", said.out, said.err);
}

#[test]
fn a_yes_for_a_recipient_lets_strangers_relay_and_one_for_a_sender_does_not() {
    let (one, two) = (Sink::start(), Sink::start());
    let mut hub = Site::new("access-relay");
    let text = configuration("mx", &[Destination::direct("tcp_one", "one.example", one.port())]);
    hub.write("sluice.cnf", &text.replacen("\nl\n", "relay.example $U%relay.example@TCP-DAEMON\n\nl\n", 1));
    hub.write(
        "mappings",
        "FROM_ACCESS

  *  $Y

ORIG_SEND_ACCESS

  tcp_local|*@partner.example|tcp_local|*   $Y
",
    );
    hub.start();
    let mut client = hub.talk();
    client.want("MAIL FROM:<me@x.example>", 250);
    let reply = client.want("RCPT TO:<a@relay.example>", 550);
    assert!(reply.text().contains("relaying"), "{reply}");
    client.want("RSET", 250);
    client.want("MAIL FROM:<me@partner.example>", 250);
    client.want("RCPT TO:<a@relay.example>", 250);
    client.want("RSET", 250);
    // A bar in an address is none in the question: the sender cannot write the fields himself.
    client.want("MAIL FROM:<\"a@partner.example|tcp_local|b\"@evil.example>", 250);
    client.want("RCPT TO:<a@relay.example>", 550);
    client.quit();
    drop(two);
}

#[test]
fn internal_addresses_are_told_apart_by_a_table() {
    let one = Sink::start();
    let mut hub = Site::new("access-internal");
    let text = configuration("switchchannel", &[Destination::direct("tcp_one", "one.example", one.port())]);
    let rules =
        "[] $E$R${INTERNAL_IP,$L}$U%[$L]@INTRANET-DAEMON\nrelay.example $U%relay.example@TCP-DAEMON\n\nl\n";
    let text =
        text.replacen("\nl\n", rules, 1) + "\ntcp_intranet smtp nomx allowswitchchannel\nINTRANET-DAEMON\n";
    hub.write("sluice.cnf", &text);
    let table = |network: &str| {
        format!(
            "INTERNAL_IP\n\n  $({network})  $Y\n  *  $N\n\nPORT_ACCESS\n\n  *|*|*|*|*  $C$|INTERNAL_IP;$3|$YINTERNAL$E\n  *  $YEXTERNAL\n\nORIG_SEND_ACCESS\n\n  tcp_local|*|tcp_local|*  $NRelaying$ not$ allowed\n"
        )
    };
    hub.write("mappings", &table("127.0.0.0/8"));
    hub.start();
    let ask = |hub: &Site, code: u16| {
        let mut client = hub.talk();
        client.want("MAIL FROM:<me@x.example>", 250);
        let reply = client.want("RCPT TO:<a@relay.example>", code);
        client.quit();
        reply.text()
    };
    ask(&hub, 250);
    hub.write("mappings", &table("10.0.0.0/8"));
    assert_eq!(hub.command(&["reload"]).code, 0);
    assert!(ask(&hub, 550).contains("Relaying not allowed"));
}

#[test]
fn each_copy_has_the_sender_of_its_channel() {
    let (one, two) = (Sink::start(), Sink::start());
    let tables = "\
REVERSE

    tcp_local|tcp_one|*@inner.example     $0@outer.example$Y$D
    *|tcp_two|*@inner.example             wrong@outer.example$Y
";
    let mut hub = hub(
        "reverse-channels",
        &[
            Destination::direct("tcp_one", "one.example", one.port()),
            Destination {
                keywords: "noreverse",
                ..Destination::direct("tcp_two", "two.example", two.port())
            },
        ],
    );
    hub.write("mappings", tables);
    hub.write("reverse.txt", "public@inner.example  Public.One@outer.example\ntcp_local|tcp_one|x@outer.example y@z\nfred@outer.example  Fred.F@outer.example\n");
    let options = std::fs::read_to_string(hub.configuration().join("option.dat")).unwrap_or_default();
    hub.write("option.dat", &format!("{options}USE_REVERSE_DATABASE=13\n"));
    hub.start();
    let senders = |count: usize| {
        (one.wait(count, SOON)[count - 1].from.clone(), two.wait(count, SOON)[count - 1].from.clone())
    };
    send(&hub, 1, "me@inner.example", &["a@one.example", "b@two.example"]);
    assert_eq!(senders(1), ("me@outer.example".into(), "me@inner.example".into()));
    send(&hub, 2, "public@inner.example", &["a@one.example", "b@two.example"]);
    assert_eq!(senders(2), ("Public.One@outer.example".into(), "public@inner.example".into()));
    send(&hub, 3, "fred@inner.example", &["a@one.example", "b@two.example"]);
    assert_eq!(senders(3), ("Fred.F@outer.example".into(), "fred@inner.example".into()));
    send(&hub, 4, "", &["a@one.example", "b@two.example"]);
    assert_eq!(senders(4), (String::new(), String::new()));
}

#[test]
fn recipients_are_forwarded_by_table_and_database() {
    let (one, two) = (Sink::start(), Sink::start());
    let tables = "\
FORWARD

    *|me@x.example|moved@one.example    moved@two.example$Y$D
    *|*|team@one.example                team@hub.example$Y$D
    *|*|kept@one.example                $I
    *|*|table@one.example               old@one.example$Y$G
";
    let mut hub = hub(
        "forward-both",
        &[
            Destination::direct("tcp_one", "one.example", one.port()),
            Destination::direct("tcp_two", "two.example", two.port()),
        ],
    );
    hub.write("mappings", tables);
    hub.write("aliases", "team: a@one.example, b@two.example\n");
    hub.write("forward.txt", "old@one.example  new@two.example\n");
    let options = std::fs::read_to_string(hub.configuration().join("option.dat")).unwrap_or_default();
    hub.write("option.dat", &format!("{options}USE_FORWARD_DATABASE=17\n"));
    hub.start();
    let last = |sink: &Sink, count: usize| sink.wait(count, SOON)[count - 1].to.join(",");
    send(&hub, 1, "me@x.example", &["moved@one.example"]);
    assert_eq!(last(&two, 1), "moved@two.example");
    send(&hub, 2, "you@x.example", &["moved@one.example"]);
    assert_eq!(last(&one, 1), "moved@one.example");
    send(&hub, 3, "me@x.example", &["team@one.example"]);
    assert_eq!((last(&one, 2), last(&two, 2)), ("a@one.example".into(), "b@two.example".into()));
    send(&hub, 4, "me@x.example", &["old@one.example"]);
    assert_eq!(last(&two, 3), "new@two.example");
    send(&hub, 5, "me@x.example", &["table@one.example"]);
    assert_eq!(last(&two, 4), "new@two.example");
    send(&hub, 6, "me@x.example", &["kept@one.example"]);
    hub.wait_for_waiting(Some("tcp_one"), 1, SOON);
    std::thread::sleep(WHILE);
    assert_eq!(one.count(), 2, "the last one waits for an operator");
}
