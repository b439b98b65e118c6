//! Dialogues between EHLO and MAIL: `C:` what we must say, `S:` what the server says, `TLS` a handshake that succeeds.

#![allow(clippy::unwrap_used)]

use sluice_sasl::client::Credentials;
use sluice_sasl::server::{Exchange, Step as Sasl};
use sluice_sasl::users::{User, Users, changed};
use sluice_sasl::{Mechanism, decode, encode};

use super::*;

fn manner(tls: Demand, auth: Demand) -> Manner {
    let safety = Safety { tls, auth, credentials: Credentials::new("fred", "pencil"), ..Safety::default() };
    Manner { name: "me".into(), peer: "mx".into(), safety, ..Manner::default() }
}

/// The conversation with a server that says the lines of `script` that begin with `S:`; how it ends.
fn play(manner: Manner, script: &str) -> Vec<String> {
    let mut client = Client::new(manner);
    let mut script = script.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    let mut seen = Vec::new();
    loop {
        match client.step() {
            Step::Write => {
                let text = String::from_utf8(client.output().to_vec()).unwrap();
                seen.extend(text.lines().map(|line| format!("C: {line}")));
                client.output_sent();
            }
            Step::Read(_) => {
                let mut said = String::new();
                while let Some(line) = script.next_if(|line| line.starts_with("S: ")) {
                    said += &format!("{}\r\n", &line[3..]);
                }
                if said.is_empty() {
                    seen.push("(waits)".into());
                    return seen;
                }
                client.receive(said.as_bytes());
            }
            Step::StartTls => {
                seen.push("TLS".into());
                client.secured();
            }
            Step::Ready => {
                seen.push(client.login_trouble().map_or("ready".into(), |why| format!("ready, {why}")));
                return seen;
            }
            Step::Over(ending) => {
                seen.push(format!("{} {}", ending.outcome.status(), ending.outcome.text()));
                return seen;
            }
            step => panic!("{step:?}"),
        }
        script.next_if(|line| !line.starts_with("S: "));
    }
}

#[test]
fn tls_is_used_where_it_is_offered_and_missed_only_where_it_must_be() {
    let offered = "S: 220 mx\n-\nS: 250-mx\nS: 250 STARTTLS\n-\nS: 220 go\n-\n-\nS: 250 mx";
    for demand in [Demand::May, Demand::Must] {
        let seen = play(manner(demand, Demand::No), offered);
        assert_eq!(seen, ["C: EHLO me", "C: STARTTLS", "TLS", "C: EHLO me", "ready"]);
    }
    assert_eq!(play(manner(Demand::No, Demand::No), offered), ["C: EHLO me", "ready"]);
    let refused = "S: 220 mx\n-\nS: 250-mx\nS: 250 STARTTLS\n-\nS: 454 4.7.0 later";
    assert_eq!(play(manner(Demand::May, Demand::No), refused), ["C: EHLO me", "C: STARTTLS", "ready"]);
    assert_eq!(
        play(manner(Demand::Must, Demand::No), refused)[2],
        "4.7.10 TLS is demanded, and the server refused STARTTLS: 454 4.7.0 later"
    );
    let without = "S: 220 mx\n-\nS: 250 mx";
    let missed = "4.7.10 TLS is demanded, and the server does not offer STARTTLS";
    assert_eq!(play(manner(Demand::May, Demand::No), without), ["C: EHLO me", "ready"]);
    assert_eq!(play(manner(Demand::Must, Demand::No), without), ["C: EHLO me", missed]);
    let old = "S: 220 mx\n-\nS: 502 what\n-\nS: 250 mx";
    assert_eq!(play(manner(Demand::Must, Demand::No), old), ["C: EHLO me", "C: HELO me", missed]);
}

#[test]
fn nothing_that_was_said_before_tls_counts_under_it() {
    let injected = "S: 220 mx\n-\nS: 250-mx\nS: 250 STARTTLS\n-\nS: 220 go\nS: 250 mx";
    let seen = play(manner(Demand::May, Demand::No), injected);
    assert_eq!(seen[2], "4.5.0 protocol violation: the server speaks before TLS is on");
    let gone = "S: 220 mx\n-\nS: 250-AUTH PLAIN\nS: 250-ETRN\nS: 250 STARTTLS\n-\nS: 220 go\n-\n-\nS: 250 mx";
    let mut manner = manner(Demand::May, Demand::May);
    manner.etrn = Some("site.example".into());
    assert!(play(manner, gone)[4].starts_with("ready, the server offers no way to log in"));
}

#[test]
fn passwords_are_shown_to_nobody_without_tls() {
    let plain = "S: 220 mx\n-\nS: 250-mx\nS: 250 AUTH PLAIN LOGIN";
    let seen = play(manner(Demand::No, Demand::May), plain);
    assert!(seen[1].starts_with("ready, the server offers no way to log in"), "{seen:?}");
    let seen = play(manner(Demand::No, Demand::Must), plain);
    assert!(seen[1].starts_with("4.7.0 a login is demanded: the server offers no way"), "{seen:?}");
    let mut secured = manner(Demand::No, Demand::Must);
    secured.safety.secured = true;
    let seen = play(secured.clone(), "S: 220 mx\n-\nS: 250-mx\nS: 250 AUTH PLAIN LOGIN\n-\nS: 235 2.7.0 yes");
    assert_eq!(seen, ["C: EHLO me", "C: AUTH PLAIN AGZyZWQAcGVuY2ls", "ready"]);
    let login =
        "S: 220 mx\n-\nS: 250 AUTH=LOGIN\n-\nS: 334 VXNlcm5hbWU6\n-\nS: 334 UGFzc3dvcmQ6\n-\nS: 235 yes";
    let login = login.replace("S: 250 AUTH", "S: 250-mx\nS: 250 AUTH");
    let seen = play(secured, &login);
    assert_eq!(seen, ["C: EHLO me", "C: AUTH LOGIN", "C: ZnJlZA==", "C: cGVuY2ls", "ready"]);
}

#[test]
fn a_login_that_fails_stops_only_who_must() {
    for (answer, text) in [
        ("S: 535 5.7.8 no", "the server refused the login: 535 5.7.8 no"),
        ("S: 334 ***\n-\nS: 501 cancelled", "the server's challenge is no base64"),
        ("S: 454 4.7.0 later", "the server refused the login: 454 4.7.0 later"),
    ] {
        let script = format!("S: 220 mx\n-\nS: 250-mx\nS: 250 AUTH CRAM-MD5\n-\n{answer}");
        let seen = play(manner(Demand::No, Demand::May), &script);
        assert_eq!(seen.last().unwrap(), &format!("ready, {text}"));
        let seen = play(manner(Demand::No, Demand::Must), &script);
        assert_eq!(seen.last().unwrap(), &format!("4.7.0 a login is demanded: {text}"));
    }
    let mut nobody = manner(Demand::No, Demand::Must);
    nobody.safety.credentials = None;
    let seen = play(nobody, "S: 220 mx\n-\nS: 250-mx\nS: 250 AUTH CRAM-MD5");
    assert!(seen[1].contains("there are no AUTH_USERNAME and AUTH_PASSWORD"), "{seen:?}");
}

#[test]
fn a_server_that_does_not_know_our_password_gets_no_mail() {
    let script = "S: 220 mx\n-\nS: 250-mx\nS: 250 AUTH SCRAM-SHA-256\n-\nS: 235 2.7.0 welcome";
    for demand in [Demand::May, Demand::Must] {
        let seen = play(manner(Demand::No, demand), script);
        assert_eq!(seen[2], "4.7.5 the server does not prove that it knows our password");
    }
}

#[test]
fn our_server_is_understood() {
    let fred = User::new("pencil", *b"0123456789abcdef", 4096, true).unwrap();
    let users = Users::read(&changed("", "fred", Some(&fred)).unwrap()).0;
    for mechanism in [Mechanism::ScramSha256, Mechanism::CramMd5] {
        let mut client = Client::new(manner(Demand::No, Demand::Must));
        client.receive(b"220 mx\r\n");
        client.output_sent();
        client.receive(format!("250-mx\r\n250 AUTH {}\r\n", mechanism.name()).as_bytes());
        let mut exchange = Exchange::new(mechanism, &[9; 18], "mx", 1);
        let mut first = true;
        let ready = loop {
            match client.step() {
                Step::Write => {}
                step => break step,
            }
            let line = String::from_utf8(client.output().to_vec()).unwrap();
            client.output_sent();
            let word = if first { line.trim_end().split(' ').nth(2) } else { Some(line.trim_end()) };
            first = false;
            let said = word.map(|word| decode(word.as_bytes()).unwrap());
            let reply = match exchange.step(&users, said.as_deref()) {
                Sasl::Challenge(challenge) => format!("334 {}\r\n", encode(&challenge)),
                Sasl::Accepted(_) => "235 2.7.0 yes\r\n".to_owned(),
                step => panic!("{step:?}"),
            };
            client.receive(reply.as_bytes());
        };
        assert_eq!(ready, Step::Ready, "{mechanism:?}");
        assert_eq!(client.login_trouble(), None);
    }
}
