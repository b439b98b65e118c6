//! Exchanges: the examples of the RFCs, our own client, a foreign client, and nonsense.

#![allow(clippy::unwrap_used)]

use rsasl::config::SASLConfig;
use rsasl::mechname::Mechname;
use rsasl::prelude::SASLClient;

use super::*;
use crate::client::{Attempt, Credentials};
use crate::users;

const RANDOM: [u8; RANDOM_OCTETS] = [7; RANDOM_OCTETS];

fn users_of(list: &[(&str, &str, bool)]) -> Users {
    let mut text = String::new();
    for (name, password, with_cram) in list {
        let user = users::User::new(password, *b"0123456789abcdef", 4096, *with_cram).unwrap();
        text = users::changed(&text, name, Some(&user)).unwrap();
    }
    let (users, mistakes) = Users::read(&text);
    assert_eq!(mistakes, []);
    users
}

fn ours() -> Users {
    users_of(&[("fred", "pencil", true), ("ginger", "p\u{e4}\u{df}", false), ("a,b=c", "x", false)])
}

fn exchange(mechanism: Mechanism) -> Exchange {
    Exchange::new(mechanism, &RANDOM, "hub.example", 1_795_296_600)
}

/// The end of an exchange in which the client says these things, one after the other.
fn said(mechanism: Mechanism, users: &Users, words: &[&[u8]]) -> Step {
    let mut exchange = exchange(mechanism);
    let mut step = None;
    for word in words {
        step = Some(exchange.step(users, Some(word)));
    }
    step.unwrap()
}

fn accepted(name: &str) -> Step {
    Step::Accepted(name.to_owned())
}

/// Our client against our server.
fn between(mechanism: Mechanism, users: &Users, name: &str, password: &str) -> Step {
    let mut attempt = Attempt::new(mechanism, Credentials::new(name, password).unwrap(), &RANDOM);
    let mut exchange = exchange(mechanism);
    let initial = attempt.initial();
    let mut step = exchange.step(users, initial.as_deref());
    while let Step::Challenge(challenge) = &step {
        let answer = attempt.answer(challenge).unwrap();
        step = exchange.step(users, Some(&answer));
    }
    assert_eq!(matches!(step, Step::Accepted(_)), attempt.is_complete() && step != Step::Rejected);
    step
}

#[test]
fn our_client_and_our_server_understand_each_other() {
    let users = ours();
    for mechanism in Mechanism::ALL {
        assert_eq!(between(mechanism, &users, "fred", "pencil"), accepted("fred"), "{mechanism:?}");
        assert_eq!(between(mechanism, &users, "fred", "Pencil"), Step::Rejected, "{mechanism:?}");
        assert_eq!(between(mechanism, &users, "fredx", "pencil"), Step::Rejected, "{mechanism:?}");
        let other = between(mechanism, &users, "ginger", "p\u{e4}\u{df}");
        let expected = if mechanism == Mechanism::CramMd5 { Step::Rejected } else { accepted("ginger") };
        assert_eq!(other, expected, "{mechanism:?}: who has no secret for CRAM-MD5 cannot use it");
    }
    assert_eq!(between(Mechanism::ScramSha256, &users, "a,b=c", "x"), accepted("a,b=c"));
}

#[test]
fn a_foreign_client_logs_in_and_is_turned_away() {
    let users = ours();
    for mechanism in [Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login] {
        for (name, password, good) in
            [("fred", "pencil", true), ("fred", "pen", false), ("nobody", "pencil", false)]
        {
            let config = SASLConfig::with_credentials(None, name.into(), password.into()).unwrap();
            let offered = [Mechname::parse(mechanism.name().as_bytes()).unwrap()];
            let mut client = SASLClient::new(config).start_suggested(&[offered[0]]).unwrap();
            let mut exchange = exchange(mechanism);
            let mut answer = Vec::new();
            if client.are_we_first() {
                client.step(None, &mut answer).unwrap();
            }
            let first = client.are_we_first().then_some(answer.as_slice());
            let mut step = exchange.step(&users, first);
            while let Step::Challenge(challenge) = &step {
                let mut answer = Vec::new();
                client.step(Some(challenge), &mut answer).unwrap();
                step = exchange.step(&users, Some(&answer));
            }
            let expected = if good { accepted(name) } else { Step::Rejected };
            assert_eq!(step, expected, "{mechanism:?} {name} {password}");
        }
    }
}

#[test]
fn the_example_of_rfc_7677() {
    let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let salt: [u8; 16] = crate::decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
    let user = users::User::new("pencil", salt, 4096, false).unwrap();
    let users = Users::read(&users::changed("", "user", Some(&user)).unwrap()).0;
    let mut exchange = Exchange { state: State::ScramFirst { nonce: nonce.into() } };
    let challenge = exchange.step(&users, Some(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"));
    let whole = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let text = format!("{whole},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    assert_eq!(challenge, Step::Challenge(text.into_bytes()));
    let proof = format!("c=biws,{whole},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    let verified = exchange.step(&users, Some(proof.as_bytes()));
    assert_eq!(verified, Step::Challenge(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec()));
    assert_eq!(exchange.step(&users, Some(b"")), accepted("user"));
    assert_eq!(exchange.step(&users, Some(b"")), Step::Malformed, "an exchange ends once");
}

#[test]
fn the_example_of_rfc_2195() {
    let users = users_of(&[("tim", "tanstaaftanstaaf", true)]);
    let challenge = b"<1896.697170952@postoffice.reston.mci.net>".to_vec();
    let mut exchange = Exchange { state: State::Cram { challenge: challenge.clone(), asked: false } };
    assert_eq!(exchange.step(&users, None), Step::Challenge(challenge.clone()));
    let answer = b"tim b913a602c7eda7a495b4e6e7334d3890";
    assert_eq!(exchange.step(&users, Some(answer)), accepted("tim"));
    let credentials = Credentials::new("tim", "tanstaaftanstaaf").unwrap();
    let mut attempt = Attempt::new(Mechanism::CramMd5, credentials, &RANDOM);
    assert_eq!(attempt.initial(), None);
    assert_eq!(attempt.answer(&challenge).unwrap(), answer);
}

#[test]
fn a_challenge_of_cram_md5_is_a_message_id_with_our_name() {
    let Step::Challenge(challenge) = exchange(Mechanism::CramMd5).step(&ours(), None) else { panic!() };
    assert_eq!(String::from_utf8(challenge).unwrap(), "<BwcHBwcHBwcHBwcHBwcHBwcH.1795296600@hub.example>");
}

#[test]
fn nobody_acts_for_another() {
    let users = ours();
    assert_eq!(said(Mechanism::Plain, &users, &[b"\0fred\0pencil"]), accepted("fred"));
    assert_eq!(said(Mechanism::Plain, &users, &[b"fred\0fred\0pencil"]), accepted("fred"));
    assert_eq!(said(Mechanism::Plain, &users, &[b"ginger\0fred\0pencil"]), Step::Rejected);
    assert!(matches!(said(Mechanism::ScramSha256, &users, &[b"n,a=fred,n=fred,r=x"]), Step::Challenge(_)));
    assert_eq!(said(Mechanism::ScramSha256, &users, &[b"n,a=ginger,n=fred,r=x"]), Step::Malformed);
}

#[test]
fn nonsense_is_malformed() {
    let users = ours();
    let long = vec![b'x'; 5000];
    for words in [
        &b""[..],
        b"fred",
        b"\0fred",
        b"\0\0pencil",
        b"\0fred\0",
        b"\0fred\0pencil\0",
        b"\xff\0fred\0pencil",
        &long,
    ] {
        assert_eq!(said(Mechanism::Plain, &users, &[words]), Step::Malformed, "{words:?}");
    }
    for words in [
        &b""[..],
        b"n,,",
        b"n,,n=,r=x",
        b"n,,n=fred,r=",
        b"n,,n=fred",
        b"n,,m=1,n=fred,r=x",
        b"n,,n=fr=ed,r=x",
        b"n,,n=fr=,r=x",
        b"n,,n=fr=\xc3\xa4,r=x",
        b"n,,n=fred,r=a b",
        b"p=tls-unique,,n=fred,r=x",
        b"x,,n=fred,r=x",
        b"n,b=fred,n=fred,r=x",
        &long,
    ] {
        assert_eq!(said(Mechanism::ScramSha256, &users, &[words]), Step::Malformed, "{words:?}");
    }
    for words in [
        &b""[..],
        b",p=",
        b"c=biws,r=x",
        b"c=biws,r=x,p=",
        b"c=biws,r=x,p=eA==",
        b"x,p=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    ] {
        let first = b"n,,n=fred,r=x";
        assert_eq!(said(Mechanism::ScramSha256, &users, &[first, words]), Step::Malformed, "{words:?}");
    }
    let proof = b"c=biws,r=other,p=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    assert_eq!(said(Mechanism::ScramSha256, &users, &[b"n,,n=fred,r=x", proof]), Step::Rejected);
    assert_eq!(said(Mechanism::CramMd5, &users, &[b"fred x"]), Step::Malformed, "the server speaks first");
    for words in [&b""[..], b"fred", b"fred 12", b"\xff 0123456789abcdef0123456789abcdef"] {
        let mut exchange = exchange(Mechanism::CramMd5);
        exchange.step(&users, None);
        assert_eq!(exchange.step(&users, Some(words)), Step::Malformed, "{words:?}");
    }
    assert_eq!(said(Mechanism::Login, &users, &[b"\xff"]), Step::Malformed);
    assert_eq!(said(Mechanism::Login, &users, &[b"fred", b"\xff"]), Step::Malformed);
    assert_eq!(said(Mechanism::Login, &users, &[&long]), Step::Malformed);
}

#[test]
fn any_octets_at_any_place_are_answered() {
    let users = ours();
    let mut seed = 1u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    let pieces: [&[u8]; 12] =
        [b"n,,", b"n=fred", b",r=", b"c=biws", b",p=", b"\0", b"=2C", b"=", b"\xff", b" ", b"a", b"fred"];
    for _ in 0..300 {
        for mechanism in Mechanism::ALL {
            let mut exchange = exchange(mechanism);
            for _ in 0..3 {
                let word: Vec<u8> = (0..random() % 8).flat_map(|_| pieces[random() % 12]).copied().collect();
                if !matches!(exchange.step(&users, Some(&word)), Step::Challenge(_)) {
                    break;
                }
            }
        }
    }
}
