//! One worker that knows its next message: what goes over the wire together, and what becomes of it when something is in the way.

use std::io::{IoSlice, Read};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::support::*;
use crate::connection::write_all;
use crate::halt::Halt;
use crate::message::Message;
use crate::outbox::{Outbox, Shared};
use crate::socket::Socket;
use crate::tls::Wire;

const CONTENT: &str = "Subject: x||body|..dot|.";
const DONE: &str = "delivered 2.0.0 [127.0.0.1]: 250 2.0.0 done";

fn literal(port: u16, given: &[(&str, &str)]) -> Shared {
    let mut pairs = vec![("daemon", "[127.0.0.1]")];
    pairs.extend_from_slice(given);
    channel(port, &pairs, None)
}

fn numbered(id: &'static str, to: &'static str) -> Message<'static> {
    Message { id, ..message(&[to]) }
}

fn envelope(to: &str) -> String {
    format!("MAIL FROM:<s@a.example> SIZE=27|RCPT TO:<{to}>|DATA")
}

/// The server's part up to the content of a message, with the envelope of the next behind it.
fn with_next() -> Vec<Do> {
    vec![Hear, Hear, Hear, Say("250 ok"), Say("250 ok"), Say("354 go"), Take, Hear, Hear, Hear]
}

/// Its answer to both.
fn answers() -> Vec<Do> {
    vec![Say("250 2.0.0 done"), Say("250 ok"), Say("250 ok"), Say("354 go")]
}

#[test]
fn the_envelope_of_the_next_message_goes_with_the_one_at_hand() {
    // The server says nothing to the first message before it has the second envelope.
    let script = [
        greeting(),
        with_next(),
        answers(),
        vec![Take, Hear, Hear, Hear],
        answers(),
        vec![Take, Say("250 2.0.0 done"), Hear, Say("221 bye")],
    ];
    let peer = Peer::start(vec![script.concat()]);
    let shared = literal(peer.port, &[]);
    let mut outbox = Outbox::new(&shared);
    let [one, two, three] =
        [("1", "one@b"), ("2", "two@b"), ("3", "three@b")].map(|(id, to)| numbered(id, to));
    assert_eq!(deliver_before(&mut outbox, &one, Some(&two)), [DONE]);
    assert_eq!(deliver_before(&mut outbox, &two, Some(&three)), [DONE]);
    assert_eq!(deliver(&mut outbox, &three), [DONE]);
    shared.pool.close_idle(Duration::ZERO);
    let all = ["one@b", "two@b", "three@b"].map(|to| format!("{}|{CONTENT}", envelope(to)));
    assert_eq!(peer.heard(), [format!("EHLO hub.example|{}|QUIT", all.join("|"))]);
}

#[test]
fn a_server_that_ends_behind_the_first_message_gets_the_second_on_another_connection() {
    let done = Say("250 2.0.0 done");
    for end in [vec![], vec![Say("421 4.3.2 enough")], vec![Reset]] {
        let first = [greeting(), with_next(), vec![done.clone()], end].concat();
        let second = [greeting(), one_message(), vec![UntilGone]].concat();
        let peer = Peer::start(vec![first, second]);
        let shared = literal(peer.port, &[]);
        let mut outbox = Outbox::new(&shared);
        let (one, two) = (numbered("1", "one@b"), numbered("2", "two@b"));
        assert_eq!(deliver_before(&mut outbox, &one, Some(&two)), [DONE]);
        assert_eq!(deliver(&mut outbox, &two), [DONE]);
        shared.pool.close_idle(Duration::ZERO);
        let heard = peer.heard();
        assert!(heard[0].ends_with(&envelope("two@b")), "{heard:?}");
        let again = format!("EHLO hub.example|{}|{CONTENT}", envelope("two@b"));
        assert!(heard[1].starts_with(&again), "{heard:?}");
    }
}

#[test]
fn a_line_that_drops_at_the_end_of_the_first_message_defers_it_alone() {
    let peer = Peer::start(vec![
        [greeting(), with_next()].concat(),
        [greeting(), one_message(), vec![UntilGone]].concat(),
    ]);
    let shared = literal(peer.port, &[]);
    let mut outbox = Outbox::new(&shared);
    let (one, two) = (numbered("1", "one@b"), numbered("2", "two@b"));
    let settled = deliver_before(&mut outbox, &one, Some(&two));
    assert!(settled[0].starts_with("deferred 4.4.2"), "{settled:?}");
    assert_eq!(deliver(&mut outbox, &two), [DONE]);
    shared.pool.close_idle(Duration::ZERO);
    peer.heard();
}

#[test]
fn no_other_message_goes_behind_an_envelope_that_was_sent_ahead() {
    let first = [greeting(), with_next(), answers(), vec![Hear]].concat();
    let second = [greeting(), one_message(), vec![UntilGone]].concat();
    let peer = Peer::start(vec![first, second]);
    let shared = literal(peer.port, &[]);
    let mut outbox = Outbox::new(&shared);
    let (one, two, other) = (numbered("1", "one@b"), numbered("2", "two@b"), numbered("3", "other@b"));
    assert_eq!(deliver_before(&mut outbox, &one, Some(&two)), [DONE]);
    assert_eq!(deliver(&mut outbox, &other), [DONE]);
    shared.pool.close_idle(Duration::ZERO);
    let heard = peer.heard();
    assert!(heard[0].ends_with("DATA|(gone)"), "{heard:?}");
    assert!(heard[1].contains("other@b"), "{heard:?}");
}

#[test]
fn a_message_that_the_host_takes_back_meanwhile_is_not_sent() {
    let peer = Peer::start(vec![[greeting(), with_next(), answers(), vec![Hear]].concat()]);
    let shared = literal(peer.port, &[]);
    let mut outbox = Outbox::new(&shared);
    let (one, two) = (numbered("1", "one@b"), Message { ours: &|| false, ..numbered("2", "two@b") });
    assert_eq!(deliver_before(&mut outbox, &one, Some(&two)), [DONE]);
    let settled = deliver(&mut outbox, &two);
    assert!(settled[0].starts_with("deferred 4.4.2"), "{settled:?}");
    assert!(peer.heard()[0].ends_with("DATA|(gone)"));
}

#[test]
fn recipients_of_the_second_message_are_settled_by_its_own_replies() {
    let refused =
        vec![Say("250 2.0.0 done"), Say("250 ok"), Say("550 5.1.1 unknown"), Say("503 5.5.1 nobody")];
    let script = [greeting(), with_next(), refused, one_message(), vec![UntilGone]].concat();
    let peer = Peer::start(vec![script]);
    let shared = literal(peer.port, &[]);
    let mut outbox = Outbox::new(&shared);
    let (one, two) = (numbered("1", "one@b"), numbered("2", "two@b"));
    assert_eq!(deliver_before(&mut outbox, &one, Some(&two)), [DONE]);
    assert_eq!(deliver(&mut outbox, &two), ["failed 5.1.1 [127.0.0.1]: 550 5.1.1 unknown"]);
    // What the server still holds of the second is reset by the third's envelope.
    let heard = {
        let settled = deliver(&mut outbox, &numbered("3", "three@b"));
        shared.pool.close_idle(Duration::ZERO);
        (settled, peer.heard())
    };
    assert!(heard.1[0].contains("RSET"), "{heard:?}");
}

#[test]
fn nothing_goes_ahead_where_the_next_message_may_not_follow() {
    let alone = |given: &[(&str, &str)], next: &Message<'_>, greeting: Vec<Do>| {
        // Hears the end of the first message before anything else, and then what comes.
        let peer = Peer::start(vec![
            [greeting, one_message(), vec![Pause(Duration::from_millis(100)), Hear, UntilGone]].concat(),
        ]);
        let shared = literal(peer.port, given);
        let mut outbox = Outbox::new(&shared);
        assert_eq!(deliver_before(&mut outbox, &numbered("1", "one@b"), Some(next)), [DONE]);
        shared.pool.close_idle(Duration::ZERO);
        let heard = peer.heard();
        let first = format!("EHLO hub.example|{}|{CONTENT}", envelope("one@b"));
        assert!(heard[0] == format!("{first}|QUIT") || heard[0] == format!("{first}|(gone)"), "{heard:?}");
    };
    let two = numbered("2", "two@b");
    alone(&[("ATTEMPT_TRANSACTIONS_PER_SESSION", "1")], &two, greeting());
    alone(&[("IDLE_TIME", "0")], &two, greeting());
    alone(&[], &Message { next_hop: Some("127.0.0.2"), ..two.clone() }, greeting());
    // It would have to be encoded for this server, which is found out when its turn comes.
    let seven_bit = vec![Say("220 mx ESMTP"), Hear, Say("250-mx"), Say("250-SIZE"), Say("250 PIPELINING")];
    alone(&[], &Message { eight_bit: true, ..two }, seven_bit);
}

/// So it is known whether the end of a message is among what has gone.
#[test]
fn what_was_not_taken_is_counted_to_the_octet() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut wire = Wire::new(Socket::Tcp(client));
    // More than any system keeps for a peer that reads nothing.
    let parts = [vec![b'x'; 48 << 20], vec![b'y'; 5], vec![b'z'; 48 << 20]];
    let all: usize = parts.iter().map(Vec::len).sum();
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let limit = Duration::from_millis(50);
    let (_, left) =
        write_all(&mut wire, &mut None, &mut slices, limit, &Halt::default()).expect_err("nobody reads");
    drop(wire);
    let mut came = Vec::new();
    server.read_to_end(&mut came).unwrap();
    assert_eq!(came.len() + left, all);
}
