//! Sessions over loopback sockets: what clients see and what the intake gets.
#![allow(missing_docs, clippy::unwrap_used)]

#[allow(unreachable_pub, dead_code)]
mod site;

use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use site::{Addressee, Fake, Manner, Site, addressee, service, until};
use sluice_mail::Priority;
use sluice_smtpd::{BindError, CHUNK_OCTETS, EtrnPolicy, Limits, Server, Settings};

fn with(change: impl FnOnce(&mut Fake)) -> Site {
    let mut fake = Fake::default();
    change(&mut fake);
    Site::new(fake)
}

fn with_limits(change: impl FnOnce(&mut Limits)) -> Site {
    with(|fake| change(&mut fake.limits))
}

#[test]
fn a_message_arrives_as_it_was_sent_behind_our_received_field() {
    let site = Site::new(Fake::default());
    let mut client = site.client();
    client.hello();
    assert_eq!(client.say("MAIL FROM:<a@client.example> BODY=8BITMIME SIZE=50"), "250 2.1.0 Sender OK");
    assert_eq!(client.say("RCPT TO:<\"b c\"@site.example>"), "250 2.1.5 Recipient OK");
    assert!(client.say("DATA").starts_with("354 "));
    let body = "Subject: x\r\nPriority: urgent\r\n\r\n..dot\r\ngr\u{fc}n\r\n";
    client.send(body);
    assert_eq!(client.say("."), "250 2.6.0 Message accepted, id 00000001");
    assert_eq!(client.say("QUIT"), "221 2.0.0 hub.example closing connection");
    assert_eq!(client.reply(), "(closed)");
    let accepted = site.accepted().remove(0);
    let text = String::from_utf8(accepted.bytes).unwrap();
    let (trace, rest) = text.split_at(text.find("Subject: x").unwrap());
    assert_eq!(rest, body);
    let trace = trace.split_once(";\r\n\t").unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        trace.0,
        format!(
            "Received: from client.example ([127.0.0.1])\r\n\tby hub.example (Sluice {version}) with ESMTP id \
             00000001\r\n\tfor <\"b c\"@site.example>"
        )
    );
    assert!(trace.1.ends_with(" +0000\r\n"), "{}", trace.1);
    let envelope = accepted.envelope;
    assert_eq!(
        (envelope.sender.as_str(), envelope.source_channel.as_str()),
        ("a@client.example", "tcp_local")
    );
    assert_eq!((envelope.priority, envelope.eight_bit, envelope.smtputf8), (Priority::Urgent, true, false));
    assert_eq!((envelope.held, envelope.recipients.len()), (false, 1));
    assert_eq!(envelope.recipients[0].original, "\"b c\"@site.example");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now - envelope.arrived.secs() < 60);
}

#[test]
fn replies_to_a_pipelined_group_come_in_one_piece() {
    let site = Site::new(Fake::default());
    let mut client = site.client();
    client.hello();
    let group =
        "MAIL FROM:<a@client.example>\r\nRCPT TO:<b@unknown.example>\r\nRCPT TO:<c@site.example>\r\nDATA\r\n";
    client.send(group);
    let mut octets = [0; 4096];
    let read = client.stream.read(&mut octets).unwrap();
    let text = String::from_utf8_lossy(&octets[..read]);
    let codes: Vec<&str> = text.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["250", "550", "250", "354"]);
    // The end of the message and what follows it come together too (RFC 2920 section 3.2 shows this).
    client.send("text\r\n.\r\nMAIL FROM:<>\r\nQUIT\r\n");
    assert_eq!(client.reply(), "250 2.6.0 Message accepted, id 00000001");
    assert_eq!(client.reply(), "250 2.1.0 Sender OK");
    assert_eq!(client.reply(), "221 2.0.0 hub.example closing connection");
    assert_eq!(site.accepted()[0].envelope.recipients.len(), 1);
}

#[test]
fn etrn_clients_that_end_lines_in_lf_alone_are_served_in_order() {
    let site = with(|fake| {
        fake.etrn = EtrnPolicy::Allow;
        fake.on_etrn = Manner::After(Duration::from_millis(30));
    });
    let replies =
        site.silent_client().all_replies_to(b"ehlo site.example\netrn a.example\nNOOP\netrn #q\nquit\n");
    assert!(replies[1].starts_with("250 hub.example Hello site.example"));
    assert_eq!(replies[2], "253 2.0.0 OK, 3 pending messages for node a.example started, channel tcp_dialup");
    assert_eq!(replies[3], "250 2.0.0 OK");
    assert_eq!(replies[4], "253 2.0.0 OK, 3 pending messages for node #q started, channel tcp_dialup");
    assert_eq!(replies[5], "221 2.0.0 hub.example closing connection");
}

#[test]
fn an_etrn_that_nobody_answers_is_458() {
    for manner in [Manner::Forgets, Manner::Hangs] {
        let site = with(|fake| {
            fake.on_etrn = manner;
            fake.limits.intake_timeout = Duration::from_millis(100);
        });
        let mut client = site.client();
        client.hello();
        assert_eq!(client.say("ETRN a.example"), "458 4.3.0 Unable to queue messages for node a.example");
        assert_eq!(client.say("NOOP"), "250 2.0.0 OK");
    }
}

#[test]
fn octets_may_come_one_by_one() {
    let site = Site::new(Fake::default());
    let mut client = site.client();
    let text =
        "EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@site.example>\r\nDATA\r\n.\r.\r\n..\r\n.\r\nQUIT\r\n";
    for octet in text.chars() {
        client.send(&octet.to_string());
    }
    let replies = client.all_replies_to(b"");
    let codes: Vec<&str> = replies.iter().map(|reply| &reply[..3]).collect();
    assert_eq!(codes, ["250", "250", "250", "354", "554", "221"], "{replies:?}");
}

#[test]
fn an_lf_that_comes_behind_the_reply_to_quit_resets_nothing() {
    let site = Site::new(Fake::default());
    let mut client = site.client();
    client.hello();
    client.send("QUIT\r");
    assert!(client.reply().starts_with("221 "));
    client.send("\n");
    assert_eq!(client.reply(), "(closed)");
}

/// Elsewhere the end follows the reply as soon as it can.
#[cfg(target_os = "linux")]
#[test]
fn the_end_of_a_connection_comes_with_the_reply_to_quit() {
    let site = Site::new(Fake::default());
    for _ in 0..200 {
        let mut client = site.client();
        client.send("QUIT\r\n");
        let mut octets = [0; 512];
        let read = client.stream.read(&mut octets).unwrap();
        assert!(octets[..read].starts_with(b"221 "));
        // Not a moment later.
        client.stream.set_nonblocking(true).unwrap();
        assert_eq!(client.stream.read(&mut octets).unwrap(), 0);
    }
}

#[test]
fn a_command_must_be_there_in_time_even_if_it_trickles() {
    let site = with_limits(|limits| limits.command_timeout = Duration::from_millis(300));
    let mut client = site.client();
    let start = Instant::now();
    let mut trickle = client.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        while trickle.write_all(b"N").is_ok() && start.elapsed() < site::PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(client.reply(), "421 4.4.2 hub.example Timeout waiting for a command, closing connection");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn content_must_come_in_time_and_not_by_drops() {
    let site = with_limits(|limits| limits.data_timeout = Duration::from_millis(300));
    let mut client = site.client();
    client.begin_message();
    let start = Instant::now();
    let mut trickle = client.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        while trickle.write_all(b"x\r\n").is_ok() && start.elapsed() < site::PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(
        client.reply(),
        "421 4.4.2 hub.example Timeout waiting for message content, closing connection"
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    until("the draft is gone", || site.fake.drafts.load(Ordering::SeqCst) == 0);
    assert!(site.accepted().is_empty());
}

#[test]
fn a_message_has_a_time_limit_as_a_whole() {
    let site = with_limits(|limits| limits.data_total_timeout = Duration::from_millis(200));
    let mut client = site.client();
    client.begin_message();
    client.send("x\r\n");
    assert!(client.reply().starts_with("421 4.4.2 "));
}

#[test]
fn connections_are_limited_by_client_and_by_service() {
    for (of_service, of_client, words) in [
        (2, 0, "421 hub.example Too many connections, try again later"),
        (0, 2, "421 hub.example Too many connections from your address, close one first"),
    ] {
        let mut service = service("SMTP");
        (service.max_connections, service.max_connections_per_client) = (of_service, of_client);
        let settings = Settings { host: "hub.example".into(), ..Settings::default() };
        let site = Site::with(Fake::default(), service, settings);
        let first = site.client();
        let mut second = site.client();
        let mut third = site.silent_client();
        assert_eq!((third.reply(), third.reply()), (words.to_owned(), "(closed)".to_owned()));
        drop(first);
        until("a place is free again", || site.silent_client().reply().starts_with("220 "));
        assert_eq!(second.say("NOOP"), "250 2.0.0 OK", "the others did not notice");
    }
}

#[test]
fn a_connection_that_is_not_admitted_hears_why() {
    let site = Site::with(Fake::default(), service("closed"), Settings::default());
    let mut client = site.silent_client();
    assert_eq!(
        (client.reply(), client.reply()),
        ("554 no service for you".to_owned(), "(closed)".to_owned())
    );
}

/// A message body of about this many octets in which no two lines are the same.
fn body(octets: usize) -> String {
    let mut text = String::from("Subject: large\r\n\r\n");
    let mut line = 0;
    while text.len() < octets {
        text.push_str(&format!("..line {line:08} {}\r\n", "x".repeat(line % 90)));
        line += 1;
    }
    text
}

#[test]
fn a_large_message_is_handed_on_in_pieces_one_at_a_time() {
    let site = with(|fake| fake.on_chunk = Manner::After(Duration::from_millis(40)));
    let mut client = site.client();
    client.begin_message();
    let body = body(3 << 20);
    client.send(&body);
    assert_eq!(client.say("."), "250 2.6.0 Message accepted, id 00000001");
    let accepted = site.accepted().remove(0);
    assert!(accepted.bytes.ends_with(body.as_bytes()), "the message changed on its way");
    assert!(accepted.chunks.len() >= 9, "{:?}", accepted.chunks);
    let sizes = CHUNK_OCTETS..CHUNK_OCTETS + 70_000;
    assert!(accepted.chunks.iter().all(|size| sizes.contains(size)), "{:?}", accepted.chunks);
    assert_eq!(site.fake.outstanding_max.load(Ordering::SeqCst), 1, "a piece was handed on too early");
}

#[test]
fn a_large_message_that_cannot_be_kept_is_read_to_its_end_and_refused() {
    for (manner, words) in [
        (Manner::Full, "452 4.3.1 Insufficient storage, try again later"),
        (Manner::Forgets, "451 4.3.0 Message not stored, try again later"),
        (Manner::Hangs, "451 4.3.0 Message not stored, try again later"),
    ] {
        let site = with(|fake| {
            fake.on_chunk = manner;
            fake.limits.intake_timeout = Duration::from_millis(200);
        });
        let mut client = site.client();
        client.begin_message();
        client.send(&body(2 << 20));
        assert_eq!(client.say("."), words);
        assert_eq!(client.say("NOOP"), "250 2.0.0 OK");
        assert!(site.accepted().is_empty());
        assert_eq!(site.fake.drafts.load(Ordering::SeqCst), 0, "the draft was given up");
    }
}

#[test]
fn a_message_over_the_size_limit_is_refused_at_its_end() {
    let site = with_limits(|limits| limits.max_message_size = 500_000);
    let mut client = site.client();
    client.begin_message();
    client.send(&body(1 << 20));
    assert_eq!(client.say("."), "552 5.3.4 Message exceeds limit of 500000 octets");
    assert!(site.accepted().is_empty());
    assert_eq!(
        client.say("MAIL FROM:<> SIZE=500001"),
        "552 5.3.4 Message size exceeds limit of 500000 octets"
    );
}

#[test]
fn the_commit_decides_about_250() {
    for (manner, words) in [
        (Manner::After(Duration::from_millis(50)), "250 2.6.0 Message accepted, id 00000001"),
        (Manner::Full, "452 4.3.1 Insufficient storage, try again later"),
        (Manner::Forgets, "451 4.3.0 Message not stored, try again later"),
        (Manner::Hangs, "451 4.3.0 Message not stored, try again later"),
    ] {
        let site = with(|fake| {
            fake.on_commit = manner;
            if manner == Manner::Hangs {
                fake.limits.intake_timeout = Duration::from_millis(300);
            }
        });
        let mut client = site.client();
        client.begin_message();
        client.send("Subject: x\r\n\r\n.\r\n");
        assert_eq!(client.reply(), words);
        assert_eq!(client.say("NOOP"), "250 2.0.0 OK");
    }
}

#[test]
fn there_is_no_250_before_the_commit() {
    let site = with(|fake| fake.on_commit = Manner::Hangs);
    let mut client = site.client();
    client.begin_message();
    client.send(".\r\n");
    client.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut octets = [0; 100];
    let error = client.stream.read(&mut octets).unwrap_err();
    assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
}

#[test]
fn a_client_that_goes_away_leaves_a_message_only_with_its_whole_content() {
    let site = Site::new(Fake::default());
    let text = b"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@site.example>\r\nDATA\r\nSubject: x\r\n\r\ntext\r\n.\r\nQUIT\r\n";
    let end = text.windows(5).position(|window| window == b"\r\n.\r\n").unwrap() + 5;
    for cut in 0..=text.len() {
        let before = site.accepted().len();
        let replies = site.silent_client().all_replies_to(&text[..cut]);
        let told = replies.iter().filter(|reply| reply.starts_with("250 2.6.0")).count();
        let accepted = site.accepted().len() - before;
        assert_eq!(accepted, usize::from(cut >= end), "after {cut} octets");
        if let Some(last) = site.accepted().last().filter(|_| accepted == 1) {
            assert!(
                replies.iter().any(|reply| reply.ends_with(&last.id)),
                "the id told is the id kept: {replies:?}"
            );
        }
        assert_eq!(told, accepted, "after {cut} octets: {replies:?}");
    }
    until("no draft is left", || site.fake.drafts.load(Ordering::SeqCst) == 0);
}

#[test]
fn nothing_is_smuggled() {
    let site = Site::new(Fake::default());
    for sequence in ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\r\n\0.\r\n"] {
        let mut client = site.client();
        client.begin_message();
        client.send(&format!(
            "a{sequence}MAIL FROM:<evil@x.example>\r\nRCPT TO:<b@site.example>\r\nDATA\r\nevil\r\n.\r\n"
        ));
        assert!(client.reply().starts_with("554 5.6.0 "), "{sequence:?}");
        assert_eq!(client.say("NOOP"), "250 2.0.0 OK", "one reply and no more: {sequence:?}");
    }
    assert!(site.accepted().is_empty());
}

#[test]
fn a_message_that_runs_in_a_circle_is_held() {
    let site = with_limits(|limits| limits.max_received_lines = 3);
    for (lines, held) in [(3, false), (4, true)] {
        let mut client = site.client();
        client.begin_message();
        client.send(&"Received: from a by b; now\r\n".repeat(lines));
        assert!(client.say("\r\nbody\r\n.").starts_with("250 2.6.0"));
        assert_eq!(site.accepted().last().unwrap().envelope.held, held);
    }
}

#[test]
fn errors_and_long_lines_end_where_they_should() {
    let site = with_limits(|limits| limits.max_errors = 3);
    let mut client = site.client();
    assert_eq!(client.say(&"x".repeat(100_000)), "500 5.5.2 Command line too long");
    assert_eq!(client.say("FROB"), "500 5.5.2 Command not recognized");
    assert_eq!(client.say("FROB"), "421 4.7.0 Too many errors, closing connection");
    assert_eq!(client.reply(), "(closed)");
}

#[test]
fn more_replies_than_fit_into_one_write_all_arrive() {
    let site = Site::new(Fake::default());
    let replies = site.silent_client().all_replies_to("HELP\n".repeat(900).as_bytes());
    assert_eq!(replies.len(), 901);
    assert!(replies[1..].iter().all(|reply| reply.starts_with("214 2.0.0 Commands: ")));
}

#[test]
fn a_session_that_panics_costs_its_own_connection() {
    let site = Site::new(Fake::default());
    let mut other = site.client();
    let mut client = site.client();
    client.hello();
    assert_eq!(client.say("MAIL FROM:<>"), "250 2.1.0 Sender OK");
    assert_eq!(client.say("RCPT TO:<panic@site.example>"), "(closed)");
    assert_eq!(other.say("NOOP"), "250 2.0.0 OK");
    site.client();
}

#[test]
fn a_stop_ends_idle_sessions_and_lets_messages_finish() {
    let mut site = Site::new(Fake::default());
    let mut idle = site.client();
    idle.hello();
    let mut thinking = site.client();
    thinking.hello();
    assert_eq!(thinking.say("MAIL FROM:<>"), "250 2.1.0 Sender OK");
    let mut sending = site.client();
    sending.begin_message();
    sending.send("Subject: x\r\n");
    site.stop();
    let shutting_down = "421 4.3.2 hub.example Shutting down, try again later";
    assert_eq!((idle.reply(), idle.reply()), (shutting_down.to_owned(), "(closed)".to_owned()));
    assert_eq!(thinking.reply(), shutting_down);
    until("nobody listens any more", || std::net::TcpStream::connect(site.address).is_err());
    sending.send("\r\nbody\r\n.\r\n");
    assert_eq!(sending.reply(), "250 2.6.0 Message accepted, id 00000001");
    assert_eq!(sending.reply(), shutting_down);
    drop((idle, thinking, sending));
    site.stopped();
    assert_eq!(site.accepted().len(), 1);
}

#[test]
fn a_message_that_does_not_finish_is_cut_off_after_the_grace_time() {
    let settings = Settings { grace: Duration::from_millis(200), ..Settings::default() };
    let mut site = Site::with(Fake::default(), service("SMTP"), settings);
    let mut client = site.client();
    client.begin_message();
    let start = Instant::now();
    site.stopped();
    assert!(start.elapsed() >= Duration::from_millis(200) && start.elapsed() < Duration::from_secs(10));
    let mut octets = [0; 10];
    assert!(matches!(client.stream.read(&mut octets), Ok(0) | Err(_)), "the connection is gone");
    assert!(site.accepted().is_empty());
    assert_eq!(site.fake.drafts.load(Ordering::SeqCst), 0);
}

#[test]
fn an_address_in_use_is_reported_with_service_and_address() {
    let site = Site::new(Fake::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut second = service("SECOND");
    second.listen = vec![(Some(site.address.ip()), site.address.port())];
    let error = runtime.block_on(Server::bind(vec![second], Settings::default())).unwrap_err();
    assert!(
        matches!(&error, BindError::InUse { service, address } if service == "SECOND" && *address == site.address)
    );
    let mut nowhere = service("NOWHERE");
    nowhere.listen = vec![(Some("192.0.2.1".parse().unwrap()), 0)];
    let error = runtime.block_on(Server::bind(vec![nowhere], Settings::default())).unwrap_err();
    assert_eq!(error.to_string(), "service NOWHERE: cannot listen on 192.0.2.1:0");
}

#[test]
fn a_listener_without_address_serves_both_families() {
    let mut all = service("SMTP");
    all.listen = vec![(None, 0)];
    let site = Site::with(Fake::default(), all, Settings::default());
    let mut client = {
        let stream = std::net::TcpStream::connect(("127.0.0.1", site.address.port())).unwrap();
        stream.set_read_timeout(Some(site::PATIENCE)).unwrap();
        site::Client::new(stream)
    };
    assert!(client.reply().starts_with("220 "));
    client.begin_message();
    assert!(client.say(".").starts_with("250 2.6.0"));
    let bytes = site.accepted().remove(0).bytes;
    assert!(String::from_utf8_lossy(&bytes).contains("([127.0.0.1])"), "an IPv4 client is shown as such");
}

#[test]
fn an_alias_becomes_an_envelope_for_each_sender_and_nobody_gets_two_copies() {
    let of_list = |address: &str, sender: Option<&str>, held: bool| Addressee {
        recipient: addressee(address),
        sender: sender.map(str::to_owned),
        held,
        expanded: true,
        ..addressee(address).into()
    };
    let list = vec![
        of_list("plain@site.example", None, false),
        of_list("a@site.example", Some("owner@site.example"), false),
        of_list("b@site.example", Some("owner@site.example"), false),
        of_list("waits@site.example", None, true),
        of_list("direct@site.example", Some("other@site.example"), false),
    ];
    let site = with(|fake| fake.list = list);
    let mut client = site.client();
    client.hello();
    client.say("MAIL FROM:<u@x.example>");
    client.say("RCPT TO:<direct@site.example>");
    assert_eq!(client.say("RCPT TO:<list@site.example>"), "250 2.1.5 Recipient OK");
    client.say("RCPT TO:<list@other.example>");
    client.say("DATA");
    assert!(client.say("Subject: x\r\n\r\ntext\r\n.").starts_with("250 "));
    let found: Vec<String> = site
        .accepted()
        .iter()
        .map(|accepted| {
            assert!(accepted.bytes.ends_with(b"text\r\n"));
            let envelope = &accepted.envelope;
            let to: Vec<&str> = envelope.recipients.iter().map(|to| to.address.as_str()).collect();
            format!("{} {} {}", envelope.sender, envelope.held, to.join(" "))
        })
        .collect();
    assert_eq!(
        found,
        [
            "u@x.example false direct@site.example plain@site.example",
            "u@x.example true waits@site.example",
            "owner@site.example false a@site.example b@site.example",
        ]
    );
}
