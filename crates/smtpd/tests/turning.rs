//! Sessions that are turned round by ATRN (RFC 2645), over loopback sockets.
#![allow(missing_docs, clippy::unwrap_used)]

#[allow(unreachable_pub, dead_code)]
mod site;

use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use site::{Fake, Site, until, with_fred};
use sluice_smtp::replies;
use sluice_smtpd::{AtrnAnswer, AtrnPolicy, Course, Turned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Says back what the client says, until it closes.
fn echo() -> Course {
    Box::new(|mut turned: Turned| -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut octets = [0; 1024];
            while let Ok(read @ 1..) = turned.read(&mut octets).await {
                turned.write_all(&octets[..read]).await.unwrap();
            }
        })
    })
}

fn site(policy: AtrnPolicy, answers: Vec<AtrnAnswer>) -> Site {
    Site::new(with_fred(|fake: &mut Fake| {
        fake.atrn = policy;
        fake.limits.intake_timeout = Duration::from_millis(300);
        // The last one is taken first.
        fake.on_atrn = Mutex::new(answers.into_iter().rev().collect());
    }))
}

#[test]
fn after_250_every_octet_belongs_to_the_turned_session() {
    let site = site(AtrnPolicy::Offered, vec![AtrnAnswer::Turn(echo())]);
    let mut client = site.client();
    client.hello();
    client.log_in();
    assert_eq!(client.say("atrn Site7.Example,b.example"), "250 2.0.0 OK now reversing the connection");
    assert_eq!(client.say("220 site7.example ready"), "220 site7.example ready");
    // What would be a command is none any more.
    assert_eq!(client.say("250 QUIT"), "250 QUIT");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.reply(), "(closed)");
    assert_eq!(*site.fake.asked_atrn.lock().unwrap(), ["fred: site7.example b.example"]);
}

#[test]
fn the_line_feed_of_a_slow_atrn_is_no_octet_of_the_turned_session() {
    let site = site(AtrnPolicy::Offered, vec![AtrnAnswer::Turn(echo())]);
    let mut client = site.client();
    client.hello();
    client.log_in();
    client.send("ATRN\r");
    assert_eq!(client.reply(), "250 2.0.0 OK now reversing the connection");
    client.send("\n220 site7");
    let mut octets = [0; 9];
    client.stream.read_exact(&mut octets).unwrap();
    assert_eq!(octets, *b"220 site7");
}

#[test]
fn what_comes_behind_atrn_too_early_prevents_the_turn() {
    let site = site(AtrnPolicy::Offered, vec![AtrnAnswer::Turn(echo())]);
    let mut client = site.client();
    client.hello();
    client.log_in();
    client.stream.write_all(b"ATRN site7.example\r\n220 gotcha\r\n").unwrap();
    assert_eq!(client.reply(), "503 5.5.1 Nothing may follow ATRN before its reply");
    assert_eq!(client.reply(), "500 5.5.2 Command not recognized");
    assert!(site.fake.asked_atrn.lock().unwrap().is_empty());
    // The session is as it was.
    assert_eq!(client.say("ATRN"), "250 2.0.0 OK now reversing the connection");
}

#[test]
fn a_refused_turn_leaves_the_session_as_it_was() {
    let refused = |reply| AtrnAnswer::Refused(reply);
    let answers = vec![
        refused(replies::atrn_no_mail()),
        refused(replies::atrn_refused("b.example is not yours")),
        refused(replies::atrn_unable()),
    ];
    let site = site(AtrnPolicy::Offered, answers);
    let mut client = site.client();
    client.hello();
    assert_eq!(client.say("ATRN"), "530 5.7.0 No AUTH command has been given");
    client.log_in();
    assert_eq!(client.say("ATRN"), "453 4.0.0 You have no mail");
    assert_eq!(client.say("ATRN b.example"), "450 4.7.1 ATRN request refused: b.example is not yours");
    assert_eq!(client.say("ATRN"), "451 4.3.0 Unable to process ATRN request now");
    // Nobody answers any more.
    assert_eq!(client.say("ATRN"), "451 4.3.0 Unable to process ATRN request now");
    assert_eq!(client.say("MAIL FROM:<a@b.example>"), "250 2.1.0 Sender OK");
    assert_eq!(client.say("ATRN"), "503 5.5.1 ATRN not allowed inside a mail transaction");
    assert_eq!(client.say("RCPT TO:<c@d.example>"), "250 2.1.5 Recipient OK");
}

#[test]
fn a_client_that_hangs_up_ends_the_turned_session() {
    let (tell, told) = std::sync::mpsc::channel();
    let course = move |mut turned: Turned| -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let end = turned.read(&mut [0; 10]).await;
            tell.send(end.unwrap_or(0)).unwrap();
        })
    };
    let site = site(AtrnPolicy::Only, vec![AtrnAnswer::Turn(Box::new(course))]);
    let mut client = site.client();
    assert!(client.say("EHLO site7.example").contains("ATRN"));
    client.log_in();
    assert_eq!(client.say("ATRN"), "250 2.0.0 OK now reversing the connection");
    drop(client);
    until("the course has seen the end", || told.try_recv() == Ok(0));
}
