//! LMTP over both kinds of socket.

use std::time::Duration;

use super::hops::at_socket;
use super::support::*;
use crate::outbox::Outbox;

/// A store that knows one user, whose neighbour is out of room.
fn store(opening: &'static str) -> Vec<Do> {
    vec![
        Say(opening),
        Hear,
        Say("250-store"),
        Say("250 PIPELINING"),
        Hear,
        Hear,
        Hear,
        Hear,
        Hear,
        Say("250 2.1.0 ok"),
        Say("250 2.1.5 ok"),
        Say("550 5.1.1 unknown"),
        Say("250 2.1.5 ok"),
        Say("354 go"),
        Take,
        Say("250 2.0.0 <good@b> saved"),
        Say("552 5.2.2 <full@b> quota exceeded"),
    ]
}

const HEARD: &str = "LHLO hub.example|MAIL FROM:<s@a.example>|RCPT TO:<good@b>|RCPT TO:<nobody@b>|RCPT TO:<full@b>|DATA|\
                     Subject: x||body|..dot|.";

fn outcomes(peer: &str) -> [String; 3] {
    [
        format!("delivered 2.0.0 {peer}: 250 2.0.0 <good@b> saved"),
        format!("failed 5.1.1 {peer}: 550 5.1.1 unknown"),
        format!("failed 5.2.2 {peer}: 552 5.2.2 <full@b> quota exceeded"),
    ]
}

#[test]
fn each_recipient_has_an_outcome_of_its_own() {
    let peer = Peer::start(vec![store("220 store LMTP")]);
    let shared = channel(peer.port, &[("lmtp", ""), ("daemon", "[127.0.0.1]")], None);
    let told = deliver(&mut Outbox::new(&shared), &message(&["good@b", "nobody@b", "full@b"]));
    assert_eq!(told, outcomes("[127.0.0.1]"));
    assert_eq!(peer.heard(), [HEARD]);
}

#[test]
fn a_socket_of_this_machine_is_kept_as_other_connections_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lmtp");
    let again =
        vec![Hear, Hear, Hear, Say("250 ok"), Say("250 ok"), Say("354 go"), Take, Say("250 2.0.0 done")];
    let peer = at_socket(&path, vec![[store("220 store LMTP"), again, vec![Hear, Say("221 bye")]].concat()]);
    // `daemon` and the domain lead nowhere.
    let given = [("lmtp", ""), ("SOCKET", path.to_str().unwrap()), ("daemon", "[127.0.0.1]")];
    let shared = channel(1, &given, None);
    let mut outbox = Outbox::new(&shared);
    let told = deliver(&mut outbox, &message(&["good@b", "nobody@b", "full@b"]));
    assert_eq!(told, outcomes(path.to_str().unwrap()));
    let told = deliver(&mut outbox, &message(&["good@b"]));
    assert_eq!(told, [format!("delivered 2.0.0 {}: 250 2.0.0 done", path.display())]);
    shared.pool.close_idle(Duration::ZERO);
    let heard = peer.join().unwrap();
    assert!(heard[0].starts_with(HEARD) && heard[0].ends_with("|QUIT"), "{heard:?}");
    assert_eq!(heard[0].matches("LHLO").count(), 1);
}

#[test]
fn a_socket_where_nobody_listens_defers() {
    let shared = channel(1, &[("lmtp", ""), ("SOCKET", "/nowhere/lmtp")], None);
    let told = deliver(&mut Outbox::new(&shared), &message(&["r@b"]));
    assert!(told[0].starts_with("deferred 4.4.1 /nowhere/lmtp: no connection to /nowhere/lmtp"), "{told:?}");
}

#[test]
fn a_server_of_smtp_gets_nothing_by_lmtp() {
    let peer =
        Peer::start(vec![vec![Say("220 mx ESMTP"), Hear, Say("500 5.5.2 what?"), Hear, Say("221 bye")]]);
    let shared = channel(peer.port, &[("lmtp", ""), ("daemon", "[127.0.0.1]")], None);
    let told = deliver(&mut Outbox::new(&shared), &message(&["r@b"]));
    assert!(told[0].starts_with("deferred 4.5.1 [127.0.0.1]: the server does not know LHLO"), "{told:?}");
    assert_eq!(peer.heard(), ["LHLO hub.example|QUIT"]);
}
