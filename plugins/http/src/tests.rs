//! The worker's core against scripted servers on loopback.

#![allow(clippy::unwrap_used)]

mod secure;
mod support;

use std::time::{Duration, Instant};

use base64::Engine as _;
use support::*;

use crate::outbox::Outbox;
use crate::request::signature;
use crate::settings::Format;
use crate::template::Template;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken";
const DELIVERED: &str = "delivered 2.0.0 127.0.0.1: 200 OK: taken";

#[test]
fn messages_share_a_connection_and_arrive_without_stuffed_dots() {
    let server = Server::start(vec![vec![Hear, Say(OK), Hear, Say(OK)]]);
    let shared = server.channel();
    let mut outbox = Outbox::new(&shared);
    assert_eq!(post(&mut outbox, &mail(&["a@b", "c%\u{e9}@b"])), DELIVERED);
    assert_eq!(post(&mut outbox, &mail(&["a@b"])), DELIVERED);
    drop(outbox);
    let heard = server.heard();
    let [first, second] = &heard[0][..] else { panic!("{heard:?}") };
    assert_eq!(first.line, "POST /hook?x=y HTTP/1.1");
    assert_eq!(first.body, b"Subject: x\r\n\r\nbody\r\n.dot\r\n");
    assert_eq!(first.field("content-type"), "message/rfc822");
    assert_eq!(first.field("content-length"), "26");
    assert_eq!(first.field("host"), format!("127.0.0.1:{}", shared.settings.address.port));
    assert_eq!(first.field("sluice-id"), "00000000000000a1");
    assert_eq!(first.field("sluice-sender"), "<s@a.example>");
    assert_eq!(first.field("sluice-recipient"), "<a@b>, <c%25%C3%A9@b>");
    assert_eq!(second.field("sluice-recipient"), "<a@b>");
    assert!(first.field("idempotency-key").starts_with("00000000000000a1-"));
    assert_ne!(first.field("idempotency-key"), second.field("idempotency-key"), "other recipients");
}

#[test]
fn the_key_is_the_same_for_each_attempt_and_another_for_anything_else() {
    let answers = || {
        vec![
            Hear,
            Say("HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n"),
            Hear,
            Say(OK),
            Hear,
            Say(OK),
            Hear,
            Say(OK),
        ]
    };
    let server = Server::start(vec![answers()]);
    let shared = server.channel();
    let mut outbox = Outbox::new(&shared);
    let first = mail(&["a@b"]);
    post(&mut outbox, &first);
    post(&mut outbox, &Mail { attempts: 1, ..first.clone() });
    post(&mut outbox, &Mail { arrived_ms: 1, ..first.clone() });
    post(&mut outbox, &Mail { id: "00000000000000a2", ..first });
    drop(outbox);
    let heard = server.heard();
    let keys: Vec<String> = heard[0].iter().map(|request| request.field("idempotency-key")).collect();
    assert!(keys[0] == keys[1] && keys[1] != keys[2] && keys[2] != keys[3] && keys[3] != keys[0], "{keys:?}");
}

#[test]
fn json_has_the_envelope_and_the_message_in_base64() {
    let server = Server::start(vec![vec![Hear, Say(OK)]]);
    let mut shared = server.channel();
    shared.settings.format = Format::Json;
    let large = [b"x".repeat(70).as_slice(), b"\r\n"].concat().repeat(2000);
    let pieces = [&b"Subject: x\r\n\r\n..\r\n"[..], &large];
    assert_eq!(
        post(&mut Outbox::new(&shared), &Mail { pieces: &pieces, ..mail(&["a@b", "\"q\\\"\"@b"]) }),
        DELIVERED
    );
    let heard = server.heard();
    let request = &heard[0][0];
    assert_eq!(request.field("content-length"), request.body.len().to_string());
    let json: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(json["recipients"][1]["address"], "\"q\\\"\"@b");
    assert_eq!(
        (&json["sender"], &json["hub"], &json["attempt"]),
        (&"s@a.example".into(), &"hub.example".into(), &1.into())
    );
    assert_eq!(json["arrived"], "2026-11-30T16:00:00Z");
    let message =
        base64::engine::general_purpose::STANDARD.decode(json["message"].as_str().unwrap()).unwrap();
    assert!(message == [b"Subject: x\r\n\r\n.\r\n", large.as_slice()].concat());
    assert_eq!(json["size"], message.len());
    assert_eq!(request.field("sluice-sender"), "", "it is in the envelope");
}

#[test]
fn a_form_has_two_parts() {
    let server = Server::start(vec![vec![Hear, Say(OK)]]);
    let mut shared = server.channel();
    shared.settings.format = Format::Multipart;
    assert_eq!(post(&mut Outbox::new(&shared), &mail(&["a@b"])), DELIVERED);
    let heard = server.heard();
    let request = &heard[0][0];
    let media = request.field("content-type");
    let boundary = media.strip_prefix("multipart/form-data; boundary=").unwrap();
    let body = String::from_utf8(request.body.clone()).unwrap();
    let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
    assert_eq!((parts.len(), parts[0], parts[3]), (4, "", "--\r\n"), "{body}");
    assert!(
        parts[1].contains("name=\"envelope\"") && parts[1].contains("\"sender\":\"s@a.example\""),
        "{body}"
    );
    assert!(parts[2].ends_with("\r\n\r\nSubject: x\r\n\r\nbody\r\n.dot\r\n\r\n"), "{body}");
}

#[test]
fn a_chat_gets_what_the_template_says() {
    let server = Server::start(vec![vec![Hear, Say("HTTP/1.1 204 No Content\r\n\r\n")]]);
    let mut shared = server.channel();
    let template = r#"{"text": "$(sender) to $(recipients): $(subject)\n$(text)"}"#;
    shared.settings.format = Format::Template(Template::read(template, 100).unwrap());
    assert_eq!(post(&mut Outbox::new(&shared), &mail(&["a@b"])), "delivered 2.0.0 127.0.0.1: 204 No Content");
    let heard = server.heard();
    assert_eq!(
        String::from_utf8_lossy(&heard[0][0].body),
        r#"{"text": "s@a.example to a@b: x\nbody\n.dot"}"#
    );
}

#[test]
fn fields_of_the_site_and_a_signature_go_with_each_request() {
    let server = Server::start(vec![vec![Hear, Say(OK)]]);
    let mut shared = server.channel();
    let key = b"0123456789abcdef";
    shared.settings.key = Some(key.to_vec());
    shared.settings.headers = vec![("authorization".parse().unwrap(), "Bearer x".parse().unwrap())];
    post(&mut Outbox::new(&shared), &mail(&["a@b"]));
    let heard = server.heard();
    let request = &heard[0][0];
    assert_eq!(request.field("authorization"), "Bearer x");
    let said = request.field("sluice-signature");
    let time: u64 = said.strip_prefix("t=").unwrap().split_once(',').unwrap().0.parse().unwrap();
    assert_eq!(said, signature(key, time, [&request.body].into_iter()));
    assert!(time > 1_700_000_000);
}

#[test]
fn a_large_message_goes_out_piece_by_piece() {
    let server = Server::start(vec![vec![Hear, Say(OK)]]);
    let shared = server.channel();
    let line = [b"y".repeat(98).as_slice(), b"\r\n"].concat();
    let pieces: Vec<&[u8]> = std::iter::repeat_n(line.as_slice(), 100_000).collect();
    assert_eq!(post(&mut Outbox::new(&shared), &Mail { pieces: &pieces, ..mail(&["a@b"]) }), DELIVERED);
    assert_eq!(server.heard()[0][0].body.len(), 10_000_000);
}

#[test]
fn what_is_too_large_is_not_sent() {
    let server = Server::start(vec![]);
    let mut shared = server.channel();
    shared.settings.size_max = Some(26);
    let told = post(&mut Outbox::new(&shared), &mail(&["a@b"]));
    assert_eq!(told, "failed 5.3.4 : the message has 27 octets, more than the 26 of MAX_SIZE");
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let server = Server::start(vec![vec![Hear, Say(OK), Close], vec![Hear, Say(OK)]]);
    let shared = server.channel();
    let mut outbox = Outbox::new(&shared);
    assert_eq!(post(&mut outbox, &mail(&["a@b"])), DELIVERED);
    // Whether the end of the old one has been seen by now or not.
    assert_eq!(post(&mut outbox, &mail(&["a@b"])), DELIVERED);
    // One that dies of the request is found out by it.
    let server = Server::start(vec![vec![Hear, Say(OK), Hear, Close], vec![Hear, Say(OK)]]);
    let shared = server.channel();
    let mut outbox = Outbox::new(&shared);
    assert_eq!(post(&mut outbox, &mail(&["a@b"])), DELIVERED);
    assert_eq!(post(&mut outbox, &mail(&["a@b"])), DELIVERED);
}

#[test]
fn one_that_was_asked_to_be_closed_is_not_used_again() {
    let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\ntaken";
    let server = Server::start(vec![
        vec![Hear, Say(closing)],
        vec![Hear, Say("HTTP/1.0 200 OK\r\n\r\ntaken")],
        vec![Hear, Say(OK)],
    ]);
    let shared = server.channel();
    let mut outbox = Outbox::new(&shared);
    for _ in 0..3 {
        assert_eq!(post(&mut outbox, &mail(&["a@b"])), DELIVERED);
    }
    assert_eq!(server.heard().len(), 3);
}

#[test]
fn mishaps() {
    for (script, outcome) in [
        (vec![Hear, Close], "deferred 4.4.2 127.0.0.1: connection lost before the answer"),
        (vec![Close], "deferred 4.4.2 127.0.0.1: connection lost before the answer"),
        (vec![Pause(100), Reset], "deferred 4.4.2 127.0.0.1: connection lost before the answer"),
        (
            vec![Hear, Say("SSH-2.0-OpenSSH_9.2\r\n")],
            "deferred 4.5.0 127.0.0.1: the server does not speak HTTP",
        ),
        (
            vec![Hear, Say("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")],
            "deferred 4.5.0 127.0.0.1: the server does not speak HTTP",
        ),
        (vec![Hear, Say("HTTP/1.1 99")], "deferred 4.4.2 127.0.0.1: connection lost"),
        (
            vec![
                Hear,
                Say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
                UntilGone,
            ],
            "deferred 4.5.0 127.0.0.1: no answer to a POST: 101",
        ),
        (vec![Hear, UntilGone], "deferred 4.4.2 127.0.0.1: there was no answer for 1 s"),
        (vec![Hear, Endless("X: ")], "deferred 4.5.0 127.0.0.1: the server does not speak HTTP"),
        (vec![Hear, Say("HTTP/1.1 200 OK\r\n\r\n"), Endless("a")], "delivered 2.0.0 127.0.0.1: 200 OK: aaaa"),
        (
            vec![Hear, Say("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf"), Close],
            "delivered 2.0.0 127.0.0.1: 200 OK: half",
        ),
        (
            vec![
                Hear,
                Say("HTTP/1.1 100 Continue\r\n\r\n"),
                Say("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
                Say(OK),
            ],
            DELIVERED,
        ),
    ] {
        let shown = format!("{script:?}");
        let server = Server::start(vec![script]);
        let shared = server.channel();
        let told = post(&mut Outbox::new(&shared), &mail(&["a@b"]));
        assert!(told.starts_with(outcome), "{shown}: {told}");
    }
}

/// What comes of 30 million octets, more than lie in the buffers of two systems.
fn post_large(outbox: &mut Outbox<'_>) -> String {
    let line = [b"y".repeat(98).as_slice(), b"\r\n"].concat();
    let pieces: Vec<&[u8]> = std::iter::repeat_n(line.as_slice(), 300_000).collect();
    post(outbox, &Mail { pieces: &pieces, ..mail(&["a@b"]) })
}

#[test]
fn a_refusal_before_the_whole_message_counts_at_once() {
    for (no, outcome) in [
        (
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
            "failed 5.3.4 127.0.0.1: 413 Payload Too Large",
        ),
        (
            "HTTP/1.1 503 no\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n",
            "deferred 4.3.2 127.0.0.1: 503 Service Unavailable (Retry-After: 9)",
        ),
    ] {
        let server = Server::start(vec![vec![HearHead, Say(no), Pause(300), Close]]);
        let shared = server.channel();
        assert_eq!(post_large(&mut Outbox::new(&shared)), outcome);
    }
}

#[test]
fn a_2xx_before_the_whole_message_counts_when_the_rest_has_been_sent() {
    let server = Server::start(vec![vec![HearHead, Say(OK), Pause(300), HearBody, Hear, Say(OK)]]);
    let shared = server.channel();
    let mut outbox = Outbox::new(&shared);
    assert_eq!(post_large(&mut outbox), DELIVERED);
    assert_eq!(post(&mut outbox, &mail(&["a@b"])), DELIVERED, "the connection is as good as before");
    assert_eq!(server.heard()[0][0].body.len(), 30_000_000);
}

#[test]
fn a_2xx_for_a_message_that_the_server_does_not_have_is_no_delivery() {
    let early = "deferred 4.4.2 127.0.0.1: the server said 200 before it had the whole message, and took no more of it";
    let last = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\ntaken";
    // It takes nothing more.
    let server = Server::start(vec![vec![HearHead, Say(OK), UntilTold]]);
    let shared = server.channel();
    assert_eq!(post_large(&mut Outbox::new(&shared)), early);
    server.tell();
    // It goes away, or says before that it will. The end may be seen before the answer.
    for script in [
        vec![HearHead, Say(OK), Pause(200), Close],
        vec![HearHead, Say(OK), Pause(200), Reset],
        vec![HearHead, Say(last), Pause(200), Close],
        vec![HearHead, Say("HTTP/1.0 200 OK\r\n\r\ntaken"), Close],
    ] {
        let shown = format!("{script:?}");
        let server = Server::start(vec![script]);
        let shared = server.channel();
        let told = post_large(&mut Outbox::new(&shared));
        let lost = told.starts_with("deferred 4.4.2 127.0.0.1: connection lost before the answer");
        assert!(told == early || lost, "{shown}: {told}");
    }
}

#[test]
fn a_server_that_takes_nothing_is_given_up() {
    let server = Server::start(vec![vec![HearHead, UntilTold]]);
    let shared = server.channel();
    let line = [b"y".repeat(98).as_slice(), b"\r\n"].concat();
    let pieces: Vec<&[u8]> = std::iter::repeat_n(line.as_slice(), 300_000).collect();
    let told = post(&mut Outbox::new(&shared), &Mail { pieces: &pieces, ..mail(&["a@b"]) });
    assert_eq!(told, "deferred 4.4.2 127.0.0.1: the server took nothing for 1 s");
    server.tell();
}

#[test]
fn a_server_that_is_not_there_is_tried_once_in_a_batch() {
    // A port below those that are given to who asks for any: a server of another test cannot have it meanwhile.
    let shared = shared("http://127.0.0.1:1/hook");
    let mut outbox = Outbox::new(&shared);
    let first = post(&mut outbox, &mail(&["a@b"]));
    assert!(
        first.starts_with("deferred 4.4.1 127.0.0.1: no connection to 127.0.0.1 at 127.0.0.1:"),
        "{first}"
    );
    assert_eq!(
        outbox.post(&mail(&["a@b"]), 7, Duration::from_secs(60)).text(),
        first.split_once(": ").unwrap().1
    );
}

#[test]
fn a_rest_that_is_asked_for_is_kept_by_all_workers() {
    let busy = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start(vec![vec![Hear, Say(busy), Hear, Say(OK)]]);
    let shared = server.channel();
    let (mut one, mut two) = (Outbox::new(&shared), Outbox::new(&shared));
    let told = post(&mut one, &mail(&["a@b"]));
    assert_eq!(told, "deferred 4.3.2 127.0.0.1: 429 Too Many Requests (Retry-After: 1)");
    let told = post(&mut two, &mail(&["a@b"]));
    assert_eq!(told, "deferred 4.3.2 127.0.0.1: the server wants to be left alone for another 1 s");
    let since = Instant::now();
    while post(&mut one, &mail(&["a@b"])) != DELIVERED {
        assert!(since.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn redirections_are_followed_where_that_is_asked_for() {
    let away = |code: u16, to: &str| {
        format!("HTTP/1.1 {code} Elsewhere\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
    };
    let other = Server::start(vec![vec![Hear, Say(OK)]]);
    let there = format!("http://127.0.0.1:{}/there", other.port);
    let server = Server::start(vec![vec![
        Hear,
        Speak(away(307, "/here")),
        Hear,
        Speak(away(308, &there)),
        Hear,
        Speak(away(302, "/here")),
    ]]);
    let mut shared = server.channel();
    shared.settings.redirects_max = 2;
    shared.settings.headers = vec![("authorization".parse().unwrap(), "Bearer x".parse().unwrap())];
    assert_eq!(post(&mut Outbox::new(&shared), &mail(&["a@b"])), DELIVERED);
    let elsewhere = other.heard();
    assert_eq!(elsewhere[0][0].line, "POST /there HTTP/1.1");
    assert_eq!(elsewhere[0][0].body, b"Subject: x\r\n\r\nbody\r\n.dot\r\n");
    assert_eq!(elsewhere[0][0].field("authorization"), "", "the secret is for the first server");
    drop(server);
    // Not asked for, too many, or of another kind.
    for (script, most, outcome) in [
        (
            vec![away(307, "/here")],
            0,
            "deferred 4.3.5 127.0.0.1: the server redirects to /here, which is not followed: 307",
        ),
        (
            vec![away(307, "/a"), away(307, "/b")],
            1,
            "deferred 4.3.5 127.0.0.1: the server redirects to /b, which",
        ),
        (vec![away(302, "/a")], 5, "deferred 4.3.5 127.0.0.1: the server redirects to /a, which"),
        (
            vec![away(307, "ftp://a.example/")],
            5,
            "deferred 4.3.5 127.0.0.1: the server redirects to an address that begins neither",
        ),
    ] {
        let steps = script.into_iter().flat_map(|answer| [Hear, Speak(answer)]).collect();
        let server = Server::start(vec![steps]);
        let mut shared = server.channel();
        shared.settings.redirects_max = most;
        let told = post(&mut Outbox::new(&shared), &mail(&["a@b"]));
        assert!(told.starts_with(outcome), "{told}");
    }
}

#[test]
fn a_stopping_channel_waits_for_an_answer_only_for_a_moment() {
    let server = Server::start(vec![vec![Hear, UntilGone]]);
    let mut shared = server.channel();
    shared.settings.times.status = Duration::from_secs(3600);
    let since = Instant::now();
    let told = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            shared.halt.stop();
        });
        post(&mut Outbox::new(&shared), &mail(&["a@b"]))
    });
    assert_eq!(told, "deferred 4.3.2 : stopped before the answer");
    assert!(since.elapsed() < Duration::from_secs(30));
    assert_eq!(post(&mut Outbox::new(&shared), &mail(&["a@b"])), "deferred 4.3.2 : the channel is stopping");
}
