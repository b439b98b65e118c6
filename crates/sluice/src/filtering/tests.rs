//! Messages that wait for verdicts: how much of them, and how long.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::mpsc;

use sluice_mail::{Recipient, RecipientWishes, Time};
use sluice_smtpd::{Admission, AtrnPolicy, EtrnPolicy, Limits, MailParams, Reception, Safety};

use super::*;
use crate::load;

/// A hub whose only filter is not there, and is optional: every message is shown to nobody, and passes.
fn hub(folder: &std::path::Path) -> Arc<Hub> {
    let configuration = folder.join("configuration");
    fs::create_dir(&configuration).unwrap();
    let text = "hub.example $U@hub.example\nnext.example $U%$D@TCP_NEXT\n\nl\nhub.example\n\n\
                tcp_local smtp sourcespamfilter1\nTCP-DAEMON\n\ntcp_next smtp daemon [127.0.0.1] port 1 addreturnpath\nTCP_NEXT\n";
    fs::write(configuration.join("sluice.cnf"), text).unwrap();
    let options = "SPOOL_DIR=../spool\nSPAMFILTER1_LIBRARY=nosuch\nSPAMFILTER1_OPTIONAL=1\n";
    fs::write(configuration.join("option.dat"), options).unwrap();
    let place = configuration.join("sluice.cnf");
    let reading = load::with_keys(load::read(&place));
    let hub = Hub::start(&place, reading.loaded.expect("a configuration without mistakes"), reading.keys);
    hub.unwrap_or_else(|_| panic!("a hub"))
}

fn filtering(hub: &Arc<Hub>) -> Box<Filtering> {
    let admission = Admission {
        source_channel: "tcp_local".to_owned(),
        banner_host: "hub.example".to_owned(),
        etrn: EtrnPolicy::Disable,
        atrn: AtrnPolicy::No,
        safety: Safety::default(),
        is_known: true,
        limits: Limits::default(),
        reception: Reception::default(),
    };
    let session = Session::inside("tcp_local", "hub.example".to_owned(), admission, Origin::Client);
    let transaction = Transaction {
        sender: "a@origin.example".to_owned(),
        params: MailParams::default(),
        commands: 1,
        recipients: vec![recipient().into()],
        expanded: Vec::new(),
    };
    Box::new(Filtering {
        hub: Arc::clone(hub),
        loaded: hub.loaded(),
        inner: Box::new(Arriving::new(hub, &session, &transaction)),
        session,
        transaction,
        pieces: Vec::new(),
        room: Room::default(),
    })
}

fn recipient() -> Recipient {
    Recipient {
        address: "fred@next.example".to_owned(),
        original: "fred@next.example".to_owned(),
        channel: "tcp_next".to_owned(),
        domain: "next.example".to_owned(),
        wishes: RecipientWishes::default(),
    }
}

fn parcel() -> Parcel {
    let arrived = Time(1_700_000_000_000);
    let envelope = Envelope {
        arrived,
        source_channel: "tcp_local".to_owned(),
        recipients: vec![recipient()],
        ..Envelope::default()
    };
    Parcel {
        envelopes: vec![envelope],
        refused: Vec::new(),
        expanded: Vec::new(),
        wishes: Wishes::default(),
        arrived,
        tail: b"Received: us\r\nSubject: x\r\n\r\nbody\r\n".to_vec(),
    }
}

fn committed(hub: &Hub) -> u64 {
    hub.dispatcher().spool_health().1.commits
}

/// One test, because what waits for verdicts is counted for the whole process.
#[test]
fn what_waits_for_verdicts_has_limits_in_octets_and_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path());
    let judge = |filtering: Box<Filtering>, end| {
        let (done, answer) = promise();
        filtering.judge(parcel(), end, done);
        answer.recv_timeout(STORE_MAX).unwrap()
    };
    // Nobody waits any more: the client has been told to come again, and nothing is stored behind its back.
    let late = judge(filtering(&hub), Some(Instant::now())).unwrap_err();
    assert_eq!((late.code, committed(&hub)), (451, 0), "{late}");
    assert_eq!(judge(filtering(&hub), Some(Instant::now() + STORE_MAX)), Ok(()));
    assert_eq!(committed(&hub), 1);
    assert_eq!(
        judge(filtering(&hub), None),
        Ok(()),
        "a plugin that brings it in waits for as long as it takes"
    );

    // The spool has taken so long for it that the session is about to give up.
    let before = committed(&hub);
    let store = filtering(&hub).judged(parcel(), None).unwrap().unwrap();
    let (done, answer) = promise();
    store.run(Some(Instant::now()), done);
    let late = answer.recv_timeout(STORE_MAX).unwrap().unwrap_err();
    assert_eq!((late.code, committed(&hub)), (451, before), "{late}");

    // Headers of copies that wait for each other count, too.
    let mut store = filtering(&hub).judged(parcel(), None).unwrap().unwrap();
    store.parts.extend(filtering(&hub).judged(parcel(), None).unwrap().unwrap().parts);
    let mut others = Room::default();
    assert!(others.grow(HELD_OCTETS_MAX - 10 - HELD_OCTETS.load(Ordering::Relaxed)));
    let (done, answer) = promise();
    store.run(None, done);
    let refusal = answer.recv_timeout(STORE_MAX).unwrap().unwrap_err();
    assert_eq!((refusal.code, committed(&hub)), (452, before), "{refusal}");
    drop(others);

    // Others have taken all the room but ten octets.
    let mut others = Room::default();
    assert!(others.grow(HELD_OCTETS_MAX - 10));
    let mut small = filtering(&hub);
    let (told, answers) = mpsc::channel();
    let chunk = |filtering: &mut Filtering, octets: usize| {
        let told = told.clone();
        filtering.chunk(vec![b'x'; octets], Box::new(move |answer| told.send(answer).unwrap()));
        answers.recv_timeout(STORE_MAX).unwrap()
    };
    assert_eq!(chunk(&mut small, 10), Ok(()));
    let refusal = chunk(&mut small, 1).unwrap_err();
    assert_eq!((refusal.code, refusal.status), (452, Status::new(4, 3, 1)));
    let refusal = judge(filtering(&hub), None).unwrap_err();
    assert_eq!(refusal.code, 452, "the last octets count, too");
    drop(others);
    assert_eq!(chunk(&mut small, 1), Ok(()));
    drop(small);
    assert_eq!(HELD_OCTETS.load(Ordering::Relaxed), 0, "all room is given back");
    hub.stop(Duration::from_secs(5));
}
