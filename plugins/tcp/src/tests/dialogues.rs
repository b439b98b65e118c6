//! One worker against scripted servers.

use std::time::{Duration, Instant};

use super::support::*;
use crate::message::Message;
use crate::outbox::{Outbox, Shared};

fn literal(port: u16, given: &[(&str, &str)]) -> Shared {
    let mut pairs = vec![("daemon", "[127.0.0.1]")];
    pairs.extend_from_slice(given);
    channel(port, &pairs, None)
}

const MESSAGE: &str = "Subject: x||body|..dot|.";

#[test]
fn messages_share_a_connection_and_arrive_as_they_are() {
    let script =
        [greeting(), one_message(), one_message(), one_message(), vec![Hear, Say("221 bye")]].concat();
    let peer = Peer::start(vec![script]);
    let shared = literal(peer.port, &[]);
    let mut outbox = Outbox::new(&shared);
    for _ in 0..2 {
        assert_eq!(deliver(&mut outbox, &message(&["r@b"])), ["delivered 2.0.0 [127.0.0.1]: 250 2.0.0 done"]);
    }
    let mut empty = message(&["r@b"]);
    empty.pieces.clear();
    empty.size = 0;
    assert_eq!(deliver(&mut outbox, &empty).len(), 1);
    shared.pool.close_idle(Duration::ZERO);
    let envelope = |size| format!("MAIL FROM:<s@a.example> SIZE={size}|RCPT TO:<r@b>|DATA");
    assert_eq!(
        peer.heard(),
        [format!(
            "EHLO hub.example|{}|{MESSAGE}|{}|{MESSAGE}|{}|.|QUIT",
            envelope(27),
            envelope(27),
            envelope(0)
        )]
    );
}

#[test]
fn a_message_in_many_pieces_arrives_whole() {
    let peer = Peer::start(vec![[greeting(), one_message()].concat()]);
    let shared = literal(peer.port, &[]);
    let line = [b"x".repeat(78), b"\r\n".to_vec()].concat();
    let mut large = message(&["r@b"]);
    // More pieces than one system call takes, and more bytes than the socket's buffers.
    large.pieces = (0..5000 * 40).map(|at| &line[at % 40 * 2..(at % 40 + 1) * 2]).collect();
    large.size = 5000 * 80;
    assert!(deliver(&mut Outbox::new(&shared), &large)[0].starts_with("delivered"));
    let heard = peer.heard();
    let lines: Vec<&str> = heard[0].split('|').skip(4).collect();
    assert_eq!(lines.len(), 5001);
    assert!(lines[..5000].iter().all(|line| line.len() == 78));
}

#[test]
fn every_recipient_gets_its_own_answer() {
    let script = [
        greeting(),
        vec![Hear, Hear, Hear, Hear, Hear],
        vec![
            Say("250 ok"),
            Say("250 ok"),
            Say("550 5.1.1 who"),
            Say("451 busy"),
            Say("354 go"),
            Take,
            Say("250 done"),
        ],
    ]
    .concat();
    let peer = Peer::start(vec![script]);
    let shared = literal(peer.port, &[]);
    assert_eq!(
        deliver(&mut Outbox::new(&shared), &message(&["a@b", "b@b", "c@b"])),
        [
            "delivered 2.0.0 [127.0.0.1]: 250 done",
            "failed 5.1.1 [127.0.0.1]: 550 5.1.1 who",
            "deferred 4.3.0 [127.0.0.1]: 451 busy"
        ]
    );
    peer.heard();
}

#[test]
fn recipients_beyond_the_servers_limit_follow_in_another_transaction() {
    let first = vec![
        Hear,
        Hear,
        Hear,
        Hear,
        Hear,
        Say("250 ok"),
        Say("250 ok"),
        Say("452 4.5.3 many"),
        Say("452 many"),
        Say("354 go"),
        Take,
        Say("250 one"),
    ];
    let second = vec![
        Hear,
        Hear,
        Hear,
        Hear,
        Say("250 ok"),
        Say("250 ok"),
        Say("452 many"),
        Say("354 go"),
        Take,
        Say("250 two"),
    ];
    let third = vec![Hear, Hear, Hear, Say("250 ok"), Say("452 many"), Say("503 nobody")];
    let peer = Peer::start(vec![[greeting(), first, second, third].concat()]);
    let shared = literal(peer.port, &[]);
    assert_eq!(
        deliver(&mut Outbox::new(&shared), &message(&["a@b", "b@b", "c@b"])),
        [
            "delivered 2.0.0 [127.0.0.1]: 250 one",
            "delivered 2.0.0 [127.0.0.1]: 250 two",
            "deferred 4.5.3 [127.0.0.1]: 452 many"
        ]
    );
    peer.heard();
}

#[test]
fn a_kept_connection_that_died_costs_nothing() {
    for last in [vec![], vec![Say("421 4.4.2 idle")], vec![Hear, Say("421 4.3.2 enough")], vec![Hear, Reset]]
    {
        let first = [greeting(), one_message(), last].concat();
        let second = [greeting(), one_message()].concat();
        let peer = Peer::start(vec![first, second]);
        let shared = literal(peer.port, &[]);
        let mut outbox = Outbox::new(&shared);
        for pause in [0, 250] {
            std::thread::sleep(Duration::from_millis(pause));
            assert_eq!(
                deliver(&mut outbox, &message(&["r@b"])),
                ["delivered 2.0.0 [127.0.0.1]: 250 2.0.0 done"]
            );
        }
        drop(outbox);
        assert!(peer.heard()[1].ends_with(MESSAGE));
    }
}

#[test]
fn a_new_connection_that_dies_defers() {
    let peer = Peer::start(vec![[greeting(), vec![Hear, Hear, Hear]].concat()]);
    let shared = literal(peer.port, &[]);
    assert_eq!(
        deliver(&mut Outbox::new(&shared), &message(&["r@b"])),
        ["deferred 4.4.2 [127.0.0.1]: connection lost while waiting for the reply to MAIL"]
    );
    peer.heard();
}

/// What a server says for one message to two recipients of which it refuses the second, at each point of the dialogue.
fn exchange() -> Vec<(usize, &'static [u8])> {
    // How many lines the client has sent before.
    vec![
        (0, b"220 mx ESMTP\r\n"),
        (1, b"250-mx\r\n250 PIPELINING\r\n"),
        (4, b"250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n"),
        (0, b"250 done\r\n"),
    ]
}

#[test]
fn a_line_that_drops_at_any_byte_the_server_sends_loses_nothing() {
    let total: usize = exchange().iter().map(|(_, bytes)| bytes.len()).sum();
    for at in 0..=total {
        let (mut script, mut left) = (Vec::new(), at);
        for (number, (lines, bytes)) in exchange().into_iter().enumerate() {
            script.extend(vec![Hear; lines]);
            if number == 3 {
                script.push(Take);
            }
            let some = &bytes[..bytes.len().min(left)];
            left -= some.len();
            script.push(Bytes(some.to_vec()));
            if some.len() < bytes.len() {
                break;
            }
        }
        let peer = Peer::start(vec![script]);
        let shared = literal(peer.port, &[]);
        let settled = deliver(&mut Outbox::new(&shared), &message(&["r@b", "q@b"]));
        let delivered = settled[0].starts_with("delivered");
        // The end of the last line may be missing without harm only when the line is complete.
        assert_eq!(delivered, at == total, "at {at}: {settled:?}");
        assert!(delivered || settled[0].starts_with("deferred 4."), "at {at}: {settled:?}");
        assert!(
            settled[1].starts_with("failed 5.1.1") || settled[1].starts_with("deferred 4.4.2"),
            "{settled:?}"
        );
        peer.heard();
    }
}

#[test]
fn a_line_that_drops_at_any_byte_the_client_sends_loses_nothing() {
    let sent = "EHLO hub.example\r\n".len();
    let group = "MAIL FROM:<s@a.example>\r\nRCPT TO:<r@b>\r\nDATA\r\n".len();
    for count in 0..=sent + group {
        let script = [
            vec![Say("220 mx"), Swallow(count.min(sent))],
            match count.checked_sub(sent) {
                Some(count) => vec![Say("250-mx"), Say("250 PIPELINING"), Swallow(count)],
                None => vec![],
            },
        ]
        .concat();
        let peer = Peer::start(vec![script]);
        let shared = literal(peer.port, &[("STATUS_RECEIVE_TIME", "5"), ("STATUS_MAIL_RECEIVE_TIME", "5")]);
        let settled = deliver(&mut Outbox::new(&shared), &message(&["r@b"]));
        assert!(settled[0].starts_with("deferred 4.4.2"), "after {count}: {settled:?}");
        peer.heard();
    }
}

#[test]
fn a_server_that_closes_in_the_middle_of_a_message_is_quoted() {
    let peer = Peer::start(vec![
        [
            greeting(),
            vec![
                Hear,
                Hear,
                Hear,
                Say("250 ok"),
                Say("250 ok"),
                Say("354 go"),
                Swallow(1000),
                Say("421 4.3.1 no room"),
                Pause(Duration::from_millis(100)),
                Reset,
            ],
        ]
        .concat(),
    ]);
    let shared = literal(peer.port, &[]);
    let body = [b"x".repeat(998), b"\r\n".to_vec()].concat().repeat(20_000);
    let mut large = message(&["r@b"]);
    large.pieces = vec![&body];
    let settled = deliver(&mut Outbox::new(&shared), &large);
    // Whether the last words arrive before the reset is up to the network.
    assert!(settled[0].starts_with("deferred 4."), "{settled:?}");
    drop(peer.heard());
}

#[test]
fn slow_peers_meet_a_deadline_even_when_they_drip() {
    let begun = Instant::now();
    let drip: Vec<Do> =
        (0..40).flat_map(|_| [Bytes(b"2".to_vec()), Pause(Duration::from_millis(100))]).collect();
    for (script, name, text) in [
        (vec![UntilGone], "STATUS_RECEIVE_TIME", "the greeting"),
        ([vec![Say("220 mx"), Hear], drip].concat(), "STATUS_RECEIVE_TIME", "the reply to EHLO"),
        ([greeting(), vec![UntilGone]].concat(), "STATUS_MAIL_RECEIVE_TIME", "the reply to MAIL"),
        (
            [greeting(), vec![Hear, Say("250 ok"), UntilGone]].concat(),
            "STATUS_RCPT_RECEIVE_TIME",
            "the reply to RCPT",
        ),
        (
            [greeting(), vec![Hear, Hear, Hear, Say("250 ok"), Say("250 ok"), UntilGone]].concat(),
            "STATUS_RECEIVE_TIME",
            "the reply to DATA",
        ),
    ] {
        let peer = Peer::start(vec![script]);
        let shared = literal(peer.port, &[(name, "0.4")]);
        assert_eq!(
            deliver(&mut Outbox::new(&shared), &message(&["r@b"])),
            [format!("deferred 4.4.2 [127.0.0.1]: timed out while waiting for {text}")]
        );
        peer.heard();
    }
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_server_that_is_slow_with_each_reply_is_waited_for() {
    let wait = || Pause(Duration::from_millis(300));
    let peer = Peer::start(vec![vec![
        wait(),
        Say("220 mx"),
        Hear,
        wait(),
        Say("250 mx"),
        Hear,
        wait(),
        Say("250 ok"),
        Hear,
        wait(),
        Say("250 ok"),
        Hear,
        wait(),
        Say("354 go"),
        Take,
        wait(),
        Say("250 done"),
    ]]);
    let times =
        [("STATUS_RECEIVE_TIME", "1"), ("STATUS_MAIL_RECEIVE_TIME", "1"), ("STATUS_RCPT_RECEIVE_TIME", "1")];
    let shared = literal(peer.port, &times);
    assert_eq!(
        deliver(&mut Outbox::new(&shared), &message(&["r@b"])),
        ["delivered 2.0.0 [127.0.0.1]: 250 done"]
    );
    peer.heard();
}

#[test]
fn an_unreachable_peer_is_tried_once_a_batch() {
    // The script ends the listener after one connection that it closes at once.
    let peer = Peer::start(vec![vec![Say("421 4.3.2 closed for today")]]);
    let port = peer.port;
    let shared = literal(port, &[]);
    let mut outbox = Outbox::new(&shared);
    for _ in 0..1000 {
        assert_eq!(
            deliver(&mut outbox, &message(&["r@b"])),
            ["deferred 4.3.2 [127.0.0.1]: 421 4.3.2 closed for today"]
        );
    }
    peer.heard();
    // A new batch is a new try: now the port is closed.
    let mut later = message(&["r@b"]);
    later.lease = 2;
    let settled = deliver(&mut outbox, &later);
    assert!(
        settled[0].starts_with(&format!(
            "deferred 4.4.1 [127.0.0.1]: no connection to [127.0.0.1] at 127.0.0.1:{port}: "
        )),
        "{settled:?}"
    );
    // And when the peer is back in the next one, the mail goes.
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let server = std::thread::spawn(move || drop(listener.accept().unwrap()));
    later.lease = 3;
    assert!(deliver(&mut outbox, &later)[0].contains("waiting for the greeting"));
    server.join().unwrap();
}

#[test]
fn the_next_address_and_the_last_resort() {
    let good = || [greeting(), one_message()].concat();
    // Nobody listens on the first address.
    let peer = Peer::start(vec![good()]);
    let shared = channel(peer.port, &[], Some(Box::new(Here(vec!["127.0.0.77", "127.0.0.1"]))));
    assert!(
        deliver(&mut Outbox::new(&shared), &message(&["r@b"]))[0]
            .starts_with("delivered 2.0.0 site.example:")
    );
    peer.heard();
    let peer = Peer::start(vec![good()]);
    let shared = channel(
        peer.port,
        &[("lastresort", "[127.0.0.1]")],
        Some(Box::new(Here(vec!["127.0.0.77", "127.0.0.78"]))),
    );
    assert!(
        deliver(&mut Outbox::new(&shared), &message(&["r@b"]))[0].starts_with("delivered 2.0.0 [127.0.0.1]:")
    );
    peer.heard();
    // A host that sends us away is passed over too, and when no other is left its word counts.
    let away = || vec![Say("554 5.7.1 go away"), Hear, Say("221 bye")];
    let peer = Peer::start(vec![away(), good()]);
    let shared = channel(
        peer.port,
        &[("lastresort", "[127.0.0.1]"), ("interfaceaddress", "127.0.0.5")],
        Some(Box::new(Here(vec!["127.0.0.1"]))),
    );
    assert_eq!(
        deliver(&mut Outbox::new(&shared), &message(&["r@b"])),
        ["failed 5.7.1 site.example: 554 5.7.1 go away"]
    );
    drop(std::net::TcpStream::connect(("127.0.0.1", peer.port)));
    assert_eq!(peer.heard()[0], "QUIT");
}

#[test]
fn the_interface_address_is_used() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || listener.accept().unwrap().1);
    let shared = literal(port, &[("interfaceaddress", "127.0.0.5")]);
    deliver(&mut Outbox::new(&shared), &message(&["r@b"]));
    assert_eq!(server.join().unwrap().ip().to_string(), "127.0.0.5");
    let shared = literal(port, &[("interfaceaddress", "::1")]);
    let settled = deliver(&mut Outbox::new(&shared), &message(&["r@b"]));
    assert!(
        settled[0].starts_with("deferred 4.4.1") && settled[0].contains("`interfaceaddress` ::1"),
        "{settled:?}"
    );
}

#[test]
fn transactions_per_session_and_idle_time() {
    let one = || [greeting(), one_message(), vec![Hear, Say("221 bye")]].concat();
    let two = [greeting(), one_message(), one_message(), vec![Hear, Say("221 bye")]].concat();
    let peer = Peer::start(vec![two, one()]);
    let shared = literal(peer.port, &[("ATTEMPT_TRANSACTIONS_PER_SESSION", "2")]);
    let mut outbox = Outbox::new(&shared);
    for _ in 0..3 {
        assert!(deliver(&mut outbox, &message(&["r@b"]))[0].starts_with("delivered"));
    }
    assert!(outbox.until_idle().is_some());
    shared.pool.close_idle(Duration::ZERO);
    assert!(outbox.until_idle().is_none());
    assert!(peer.heard().iter().all(|heard| heard.ends_with("QUIT")));

    let peer = Peer::start(vec![one(), one()]);
    let shared = literal(peer.port, &[("IDLE_TIME", "0.2")]);
    let mut outbox = Outbox::new(&shared);
    deliver(&mut outbox, &message(&["r@b"]));
    outbox.close_idle();
    assert!(outbox.until_idle().is_some());
    std::thread::sleep(outbox.until_idle().unwrap() + Duration::from_millis(20));
    outbox.close_idle();
    assert!(outbox.until_idle().is_none());
    deliver(&mut outbox, &message(&["r@b"]));
    shared.pool.close_idle(Duration::ZERO);
    assert!(peer.heard().iter().all(|heard| heard.ends_with("QUIT")));
}

#[test]
fn workers_share_the_channels_connections() {
    // One connection is allowed, and it carries both workers' messages: the second takes over what the first keeps.
    let peer =
        Peer::start(vec![[greeting(), one_message(), one_message(), vec![Hear, Say("221 bye")]].concat()]);
    let shared = literal(peer.port, &[("MAX_CLIENT_THREADS", "1")]);
    let (mut first, mut second) = (Outbox::new(&shared), Outbox::new(&shared));
    assert!(deliver(&mut first, &message(&["r@b"]))[0].starts_with("delivered"));
    assert!(deliver(&mut second, &message(&["q@b"]))[0].starts_with("delivered"));
    shared.halt.stop();
    shared.pool.close_idle(Duration::ZERO);
    assert!(peer.heard()[0].ends_with("QUIT"));
}

#[test]
fn a_connection_to_another_host_makes_room() {
    // Another host's idle connection is closed for the one that is needed now, and a message never waits for IDLE_TIME.
    let peer = Peer::start(vec![
        [greeting(), one_message(), vec![Hear, Say("221 bye")]].concat(),
        [greeting(), one_message(), vec![Hear, Say("221 bye")]].concat(),
    ]);
    let shared =
        channel(peer.port, &[("MAX_CLIENT_THREADS", "1"), ("IDLE_TIME", "3600"), ("nodns", "")], None);
    let mut outbox = Outbox::new(&shared);
    for host in ["[127.0.0.1]", "localhost"] {
        let to = Message { domain: host, ..message(&["r@b"]) };
        let settled = deliver(&mut outbox, &to);
        assert!(settled[0].starts_with("delivered"), "{settled:?}");
    }
    shared.halt.stop();
    shared.pool.close_idle(Duration::ZERO);
    assert!(peer.heard().iter().all(|heard| heard.ends_with("QUIT")));
}

#[test]
fn a_server_that_ends_the_connection_over_etrn_gets_the_mail_on_another() {
    let hello = || vec![Say("220 mx"), Hear, Say("250-mx"), Say("250-ETRN"), Say("250 PIPELINING")];
    let plain = || [hello(), one_message(), vec![Hear, Say("221 bye")]].concat();
    for rude in [
        vec![Hear, Say("421 4.7.0 not you")],
        vec![Hear],
        vec![Hear, Say("354 what")],
        vec![Hear, Say("what")],
    ] {
        let peer = Peer::start(vec![[hello(), rude].concat(), plain()]);
        let shared = literal(peer.port, &[("sendetrn", "hub.example")]);
        let mut outbox = Outbox::new(&shared);
        let settled = deliver(&mut outbox, &message(&["r@b"]));
        assert!(settled[0].starts_with("delivered"), "{settled:?}");
        shared.pool.close_idle(Duration::ZERO);
        let heard = peer.heard();
        assert_eq!(heard[0], "EHLO hub.example|ETRN hub.example");
        assert!(heard[1].starts_with("EHLO hub.example|MAIL FROM:<s@a.example>|"), "{heard:?}");
    }
}

#[test]
fn etrn_at_the_start_of_each_connection_and_when_polled() {
    let hello = || {
        vec![
            Say("220 mx"),
            Hear,
            Say("250-mx"),
            Say("250-ETRN"),
            Say("250 PIPELINING"),
            Hear,
            Say("250 started"),
        ]
    };
    let peer = Peer::start(vec![[hello(), one_message(), vec![Hear, Say("221 bye")]].concat()]);
    let shared = literal(peer.port, &[("sendetrn", "hub.example")]);
    let mut outbox = Outbox::new(&shared);
    outbox.poll();
    // A connection this young has asked already; and mail goes over it.
    outbox.poll();
    assert!(deliver(&mut outbox, &message(&["r@b"]))[0].starts_with("delivered"));
    shared.pool.close_idle(Duration::ZERO);
    let heard = peer.heard();
    assert_eq!(
        heard,
        [format!(
            "EHLO hub.example|ETRN hub.example|MAIL FROM:<s@a.example>|RCPT TO:<r@b>|DATA|{MESSAGE}|QUIT"
        )]
    );
    // Without a fixed peer, or without a name to ask for, there is nobody to call.
    let nobody = channel(1, &[("sendetrn", "hub.example")], None);
    Outbox::new(&nobody).poll();
    let nothing = literal(1, &[]);
    Outbox::new(&nothing).poll();
}

#[test]
fn a_stopping_channel_waits_for_nobody_new() {
    let peer = Peer::start(vec![[greeting(), one_message(), vec![Hear, Say("221 bye")]].concat()]);
    let shared = literal(peer.port, &[]);
    let mut outbox = Outbox::new(&shared);
    deliver(&mut outbox, &message(&["r@b"]));
    shared.halt.stop();
    shared.pool.close_idle(Duration::ZERO);
    assert!(peer.heard()[0].ends_with("QUIT"));
    assert_eq!(deliver(&mut outbox, &message(&["r@b"])), ["deferred 4.3.2 : the channel is stopping"]);
}

#[test]
fn a_dialogue_under_way_is_given_up_some_time_after_the_stop() {
    let peer = Peer::start(vec![[greeting(), vec![UntilGone]].concat()]);
    let shared = literal(peer.port, &[]);
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| deliver(&mut Outbox::new(&shared), &message(&["r@b"])));
        std::thread::sleep(Duration::from_millis(200));
        let begun = Instant::now();
        shared.halt.stop();
        assert_eq!(
            stuck.join().unwrap(),
            ["deferred 4.3.2 [127.0.0.1]: stopped while waiting for the reply to MAIL"]
        );
        let took = begun.elapsed();
        assert!(took < crate::halt::STOP_GRACE + Duration::from_secs(2), "{took:?}");
    });
    peer.heard();
}

#[test]
fn a_message_that_the_host_took_back_is_not_sent() {
    let peer = Peer::start(vec![
        [greeting(), vec![Hear, Hear, Hear, Say("250 ok"), Say("250 ok"), Say("354 go"), Hear]].concat(),
    ]);
    let shared = literal(peer.port, &[]);
    let taken = Message { ours: &|| false, ..message(&["r@b"]) };
    let settled = deliver(&mut Outbox::new(&shared), &taken);
    assert!(settled[0].starts_with("deferred 4.4.2"), "{settled:?}");
    assert!(peer.heard()[0].ends_with("DATA|(gone)"));
}

#[test]
fn a_source_route_is_taken_off_where_the_channel_says_so() {
    for (keywords, heard) in
        [(&[][..], "RCPT TO:<@a,@b:r@c>"), (&[("dequeue_removeroute", "")][..], "RCPT TO:<r@c>")]
    {
        let plain = vec![Say("220 mx"), Hear, Say("250-mx"), Say("250 PIPELINING")];
        let peer = Peer::start(vec![[plain, one_message()].concat()]);
        let shared = literal(peer.port, keywords);
        let settled = deliver(&mut Outbox::new(&shared), &message(&["@a,@b:r@c"]));
        assert!(settled[0].starts_with("delivered"), "{settled:?}");
        let conversation = peer.heard().concat();
        assert!(conversation.contains(heard), "{conversation}");
    }
}

#[test]
fn replies_in_small_packets_do_not_meet_delayed_acknowledgements() {
    // Each `Say` is a packet of its own, and the server's socket holds back the next until the last was acknowledged.
    let script =
        std::iter::once(greeting()).chain(std::iter::repeat_n(one_message(), 100)).flatten().collect();
    let peer = Peer::start(vec![script]);
    let shared = literal(peer.port, &[]);
    let mut outbox = Outbox::new(&shared);
    let begun = Instant::now();
    for _ in 0..100 {
        assert!(deliver(&mut outbox, &message(&["r@b"]))[0].starts_with("delivered"));
    }
    // At 40 ms each it would be four seconds and more.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    peer.heard();
}

#[test]
fn a_chunk_has_no_stuffed_dots_and_no_final_dot() {
    let hello = vec![Say("220 mx ESMTP"), Hear, Say("250-mx"), Say("250-PIPELINING"), Say("250 CHUNKING")];
    let body = "Subject: x\r\n\r\nbody\r\n.dot\r\n..\r\n";
    let lines = vec![Hear; body.lines().count()];
    let envelope = vec![Hear, Hear, Say("250 ok"), Say("250 ok"), Hear];
    let chunk = [envelope, lines, vec![Say("250 done")]].concat();
    let peer = Peer::start(vec![[hello.clone(), chunk].concat()]);
    let shared = literal(peer.port, &[]);
    let mut dotted = message(&["r@b"]);
    // The stuffed dot of the second line stands at the start of a piece.
    dotted.pieces = vec![b"Subject: x\r\n\r\nbody\r\n", b"..dot\r\n...\r\n"];
    assert!(deliver(&mut Outbox::new(&shared), &dotted)[0].starts_with("delivered"));
    let heard = peer.heard();
    let expected = format!("|BDAT {} LAST|Subject: x||body|.dot|..", body.len());
    assert!(heard[0].ends_with(&expected), "{heard:?}");

    let data = vec![Hear, Hear, Hear, Say("250 ok"), Say("250 ok"), Say("354 go"), Take, Say("250 done")];
    let peer = Peer::start(vec![[hello, data].concat()]);
    let shared = literal(peer.port, &[("nochunkingclient", "")]);
    assert!(deliver(&mut Outbox::new(&shared), &message(&["r@b"]))[0].starts_with("delivered"));
    assert!(peer.heard()[0].ends_with(&format!("|DATA|{MESSAGE}")));
}

#[test]
fn what_a_channel_remembers_of_hosts_is_its_choice() {
    // Each connection that is made finds the next script; the listener ends after the last.
    let refuse = || vec![Say("421 4.3.2 closed for today")];
    for (keyword, connections) in
        [("cacheeverything", 1), ("cachefailures", 1), ("cachesuccesses", 3), ("nocache", 3)]
    {
        let peer = Peer::start((0..connections).map(|_| refuse()).collect());
        let shared = literal(peer.port, &[(keyword, "")]);
        let mut outbox = Outbox::new(&shared);
        for _ in 0..3 {
            assert_eq!(
                deliver(&mut outbox, &message(&["r@b"])),
                ["deferred 4.3.2 [127.0.0.1]: 421 4.3.2 closed for today"],
                "{keyword}"
            );
        }
        assert_eq!(peer.heard().len(), connections);
    }
}

#[test]
fn an_address_rests_after_trouble_whatever_the_batch() {
    let served = [greeting(), one_message()].concat();
    let peer = Peer::start(vec![vec![Say("421 4.3.2 closed for now")], served]);
    let shared = literal(peer.port, &[("ipbackoff", "PT1S PT1H")]);
    let mut outbox = Outbox::new(&shared);
    let begun = Instant::now();
    let mut lease = 0;
    let mut send = || {
        lease += 1;
        let mut one = message(&["r@b"]);
        one.lease = lease;
        deliver(&mut outbox, &one)
    };
    let resting = ["deferred 4.3.2 [127.0.0.1]: 421 4.3.2 closed for now"];
    assert_eq!(send(), resting);
    while begun.elapsed() < Duration::from_millis(700) {
        assert_eq!(send(), resting, "a new batch is no new try while it rests");
        std::thread::sleep(Duration::from_millis(50));
    }
    while begun.elapsed() < Duration::from_millis(1200) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(send()[0].starts_with("delivered"));
    peer.heard();
}

#[test]
fn a_server_that_is_ourselves_gets_no_mail() {
    let script = vec![Say("220 hub ESMTP"), Hear, Say("250-hub"), Say("250 XLOOP AB12"), Hear];
    let peer = Peer::start(vec![script]);
    let shared = literal(peer.port, &[("loopcheck", ""), ("loop_mark", "AB12")]);
    assert_eq!(
        deliver(&mut Outbox::new(&shared), &message(&["r@b"])),
        ["failed 5.4.6 [127.0.0.1]: SMTP client-server loop detected"]
    );
    assert_eq!(peer.heard(), ["EHLO hub.example|QUIT"]);
}

#[test]
fn master_debug_tells_every_step() {
    let steps = |keywords: &[(&str, &str)]| {
        let peer = Peer::start(vec![[greeting(), one_message()].concat()]);
        let mut shared = literal(peer.port, keywords);
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let lines = std::sync::Arc::clone(&seen);
        shared.log = std::sync::Arc::new(move |_, text: &str| lines.lock().unwrap().push(text.to_owned()));
        assert!(deliver(&mut Outbox::new(&shared), &message(&["r@b"]))[0].starts_with("delivered"));
        let port = peer.port;
        peer.heard();
        let seen = seen.lock().unwrap().join("\n");
        seen.replace(&port.to_string(), "PORT")
    };
    assert_eq!(steps(&[]), "");
    let told = steps(&[("master_debug", "")]);
    for step in [
        "a message of 27 octets from <s@a.example> for r@b, by way of [127.0.0.1]",
        "[127.0.0.1]: hosts to try: [127.0.0.1]",
        "[127.0.0.1]: connecting to 127.0.0.1:PORT",
        "[127.0.0.1]: > EHLO hub.example",
        "[127.0.0.1]: > MAIL FROM:<s@a.example> SIZE=27",
        "[127.0.0.1]: < 250 2.0.0 done",
        "r@b: 2.0.0 250 2.0.0 done",
    ] {
        assert!(told.lines().any(|line| line == step), "no {step:?} in\n{told}");
    }
    assert!(!told.contains("body"), "content is nobody's business: {told}");
}

/// A greeting without 8BITMIME.
fn old_greeting() -> Vec<Do> {
    vec![Say("220 mx ESMTP"), Hear, Say("250-mx"), Say("250 PIPELINING")]
}

fn eight_bit<'a>(content: &'a [u8]) -> Message<'a> {
    let mut message = message(&["r@b"]);
    (message.pieces, message.size, message.eight_bit) = (vec![content], content.len() as u64, true);
    message
}

#[test]
fn text_of_8_bits_is_encoded_for_a_peer_that_does_not_take_it() {
    let text = "Subject: x\r\n\r\n..\u{fc}\r\n".as_bytes();
    let encoded = "Subject: x|MIME-Version: 1.0|Content-Type: text/plain; charset=utf-8|\
        Content-Transfer-Encoding: quoted-printable||..=C3=BC|.";
    let as_it_is = "Subject: x||..\u{fc}|.";
    for (keyword, offered, body, content) in [
        ("eightnegotiate", false, "", encoded),
        ("eightnegotiate", true, " BODY=8BITMIME", as_it_is),
        ("eightbit", false, "", as_it_is),
        ("sevenbit", true, "", encoded),
        ("sevenbit", false, "", encoded),
    ] {
        let hello = if offered { greeting() } else { old_greeting() };
        let peer = Peer::start(vec![[hello, one_message()].concat()]);
        let shared = literal(peer.port, &[(keyword, "")]);
        let settled = deliver(&mut Outbox::new(&shared), &eight_bit(text));
        assert!(settled[0].starts_with("delivered"), "{keyword}: {settled:?}");
        let heard = peer.heard();
        assert!(heard[0].ends_with(&format!("|DATA|{content}")), "{keyword}: {heard:?}");
        assert_eq!(heard[0].contains("BODY="), !body.is_empty(), "{keyword}: {heard:?}");
    }
}

#[test]
fn a_message_that_only_says_8_bits_goes_as_it_is() {
    let peer = Peer::start(vec![[old_greeting(), one_message()].concat()]);
    let shared = literal(peer.port, &[]);
    let settled = deliver(&mut Outbox::new(&shared), &eight_bit(b"Subject: x\r\n\r\nplain\r\n"));
    assert!(settled[0].starts_with("delivered"), "{settled:?}");
    assert!(peer.heard()[0].ends_with("|DATA|Subject: x||plain|."));
}

#[test]
fn what_encoding_would_spoil_is_returned() {
    let signed = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\u{fc}\r\n--b--\r\n";
    let peer = Peer::start(vec![[old_greeting(), vec![UntilGone]].concat()]);
    let shared = literal(peer.port, &[("IDLE_TIME", "0")]);
    let settled = deliver(&mut Outbox::new(&shared), &eight_bit(signed.as_bytes()));
    assert!(settled[0].starts_with("failed 5.6.3 ") && settled[0].contains("signed"), "{settled:?}");
    peer.heard();
}

#[test]
fn linelength_has_longer_lines_encoded() {
    let long = format!("Subject: x\r\n\r\n{}\r\n", "word ".repeat(30));
    for (keywords, is_encoded) in
        [(&[][..], false), (&[("linelength", "200")][..], false), (&[("linelength", "80")][..], true)]
    {
        let peer = Peer::start(vec![[greeting(), one_message()].concat()]);
        let shared = literal(peer.port, keywords);
        let mut message = eight_bit(long.as_bytes());
        message.eight_bit = false;
        assert!(deliver(&mut Outbox::new(&shared), &message)[0].starts_with("delivered"));
        assert_eq!(peer.heard()[0].contains("quoted-printable"), is_encoded, "{keywords:?}");
    }
}
