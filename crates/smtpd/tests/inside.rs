//! Messages that channels bring in, against an intake that writes down what it is asked.
#![allow(clippy::unwrap_used)]

use sluice_mail::{Envelope, Outcome, Recipient, RecipientWishes, Refusal, Status, Time, Wishes};
use sluice_smtpd::inside::{self, Message, To};
use sluice_smtpd::{
    Accepted, Admission, AtrnPolicy, Connection, Done, EtrnAnswer, EtrnPolicy, Incoming, Intake, Limits,
    MailParams, Orders, Origin, Parcel, Reception, Session, Transaction,
};
use std::sync::{Arc, Mutex};

type Taken = Arc<Mutex<Vec<(Envelope, Vec<u8>)>>>;

#[derive(Default)]
struct Book {
    taken: Taken,
    commit: Option<Refusal>,
}

struct Draft {
    content: Vec<u8>,
    taken: Taken,
    commit: Option<Refusal>,
}

fn refusal(code: u16, text: &str) -> Refusal {
    let class = if code < 500 { 4 } else { 5 };
    Refusal::new(code, Status { class, subject: 1, detail: 1 }, text)
}

impl Intake for Book {
    fn admit(&self, _: &Connection) -> Result<Admission, Refusal> {
        Err(refusal(554, "there is no connection"))
    }

    fn sender(&self, _: &Session, path: &str, _: &MailParams, _: &mut Orders) -> Result<(), Refusal> {
        if path == "spammer@x" { Err(refusal(550, "not you")) } else { Ok(()) }
    }

    fn recipient(&self, _: &Session, _: &str, path: &str, _: &mut Orders) -> Result<Vec<Accepted>, Refusal> {
        let one = |address: &str, sender: Option<&str>| {
            let recipient = Recipient {
                address: address.to_owned(),
                original: path.to_owned(),
                channel: "tcp_local".to_owned(),
                domain: "x".to_owned(),
                ..Recipient::default()
            };
            let expanded = sender.is_some();
            Accepted { sender: sender.map(str::to_owned), expanded, ..recipient.into() }
        };
        match path {
            "nobody@x" => Err(refusal(550, "no such user")),
            "later@x" => Err(refusal(450, "not now")),
            "void@x" => Ok(Vec::new()),
            "list@x" => Ok(vec![one("a@x", Some("owner@x")), one("b@x", Some("owner@x"))]),
            path => Ok(vec![one(path, None)]),
        }
    }

    fn begin(&self, _: &Session, _: &Transaction) -> Box<dyn Incoming> {
        Box::new(Draft { content: Vec::new(), taken: self.taken.clone(), commit: self.commit.clone() })
    }

    fn etrn(&self, _: &Session, _: &str, _: Box<dyn FnOnce(EtrnAnswer) + Send>) {}
}

impl Incoming for Draft {
    fn id(&self) -> String {
        "Q1".to_owned()
    }

    fn chunk(&mut self, bytes: Vec<u8>, done: Done) {
        self.content.extend(bytes);
        done(Ok(()));
    }

    fn commit(mut self: Box<Self>, parcel: Parcel, done: Done) {
        let Parcel { envelopes, tail, .. } = parcel;
        if let Some(refusal) = self.commit {
            return done(Err(refusal));
        }
        self.content.extend(tail);
        for envelope in envelopes {
            self.taken.lock().unwrap().push((envelope, self.content.clone()));
        }
        done(Ok(()));
    }
}

fn session(max_message_size: u64) -> Session {
    let limits = Limits { max_message_size, max_received_lines: 3, ..Limits::default() };
    let admission = Admission {
        source_channel: "tcp_local".to_owned(),
        banner_host: "hub.example".to_owned(),
        etrn: EtrnPolicy::Disable,
        atrn: AtrnPolicy::No,
        safety: sluice_smtpd::Safety::default(),
        is_known: true,
        limits,
        reception: Reception::default(),
    };
    Session::inside("reprocess", "reprocess-daemon.hub.example".to_owned(), admission, Origin::Again)
}

/// What is answered, and what was taken.
fn take(book: &Book, sender: &str, to: &[&'static str], pieces: &[&[u8]]) -> String {
    let to_one =
        |one: &&'static str| To { address: one, original: "as@given", wishes: RecipientWishes::default() };
    let recipients: Vec<To<'_>> = to.iter().map(to_one).collect();
    let message = Message {
        sender,
        recipients: &recipients,
        wishes: &Wishes::default(),
        pieces,
        eight_bit: false,
        smtputf8: false,
        on_hold: false,
        priority: None,
        now: Time(0),
    };
    match inside::take(book, &session(10_000_000), &message) {
        None => "closed".to_owned(),
        Some(outcomes) => {
            let said = |outcome: &Outcome| match outcome {
                Outcome::Delivered { text, .. } => format!("+{text}"),
                Outcome::Deferred { text, .. } => format!("~{text}"),
                Outcome::Failed { text, .. } => format!("-{text}"),
            };
            outcomes.iter().map(said).collect::<Vec<_>>().join("; ")
        }
    }
}

const GOOD: &[u8] = b"Subject: x\r\n\r\n..dot\r\n";

#[test]
fn each_recipient_is_answered_and_each_kind_of_copy_has_an_envelope() {
    let book = Book::default();
    let to = ["fred@x", "nobody@x", "later@x", "void@x", "list@x", "fred@x"];
    assert_eq!(
        take(&book, "s@y", &to, &[GOOD]),
        "+queued as Q1; -550 5.1.1 no such user; ~450 4.1.1 not now; +queued as Q1; +queued as Q1; +queued as Q1"
    );
    let taken = book.taken.lock().unwrap();
    let shown: Vec<String> = taken
        .iter()
        .map(|(envelope, _)| {
            let to: Vec<&str> = envelope.recipients.iter().map(|one| one.address.as_str()).collect();
            format!("{} to {to:?} from {}", envelope.sender, envelope.source_channel)
        })
        .collect();
    assert_eq!(shown, ["s@y to [\"fred@x\"] from tcp_local", "owner@x to [\"a@x\", \"b@x\"] from tcp_local"]);
    assert_eq!(taken[0].0.recipients[0].original, "as@given");
    let text = String::from_utf8(taken[0].1.clone()).unwrap();
    assert!(
        text.starts_with("Received: from reprocess-daemon.hub.example\r\n\tby hub.example (Sluice "),
        "{text}"
    );
    assert!(text.ends_with("\r\nSubject: x\r\n\r\n..dot\r\n"), "{text}");
}

#[test]
fn when_nobody_is_left_nothing_is_kept() {
    let book = Book::default();
    assert_eq!(take(&book, "s@y", &["nobody@x", "void@x"], &[GOOD]), "-550 5.1.1 no such user; +discarded");
    assert_eq!(take(&book, "spammer@x", &["fred@x"], &[GOOD]), "-550 5.1.1 not you");
    assert!(book.taken.lock().unwrap().is_empty());
}

#[test]
fn content_that_is_not_in_wire_form_is_refused_whole() {
    let book = Book::default();
    let long = [vec![b'x'; 2000], b"\r\n".to_vec()].concat();
    let huge = vec![b"0123456789\r\n".as_slice(); 1_000_000];
    let bad: [&[&[u8]]; 8] = [
        &[b"bare\nline\r\n"],
        &[b"bare\rline\r\n"],
        &[b"nul\0\r\n"],
        &[b"no end"],
        &[b"a\r\n.\r\nMAIL FROM:<>\r\n"],
        &[b"a\r\n", b".", b"\r\n", b"b\r\n"],
        &[&long],
        &huge,
    ];
    for pieces in bad {
        let said = take(&book, "s@y", &["fred@x"], pieces);
        assert!(said.starts_with("-55"), "{said}");
    }
    assert!(book.taken.lock().unwrap().is_empty());
    assert_eq!(take(&book, "s@y", &["fred@x"], &[]), "+queued as Q1");
    assert_eq!(take(&book, "s@y", &["fred@x"], &[b"a\r", b"\nb\r\n"]), "+queued as Q1");
}

#[test]
fn a_house_that_does_not_take_it_is_told_from_one_that_closes() {
    let busy = Book { commit: Some(refusal(451, "too busy")), ..Book::default() };
    assert_eq!(
        take(&busy, "s@y", &["fred@x", "nobody@x"], &[GOOD]),
        "~451 4.1.1 too busy; -550 5.1.1 no such user"
    );
    let closing = Book { commit: Some(refusal(421, "closing")), ..Book::default() };
    assert_eq!(take(&closing, "s@y", &["fred@x"], &[GOOD]), "closed");
}

#[test]
fn too_many_received_fields_put_it_on_hold() {
    let book = Book::default();
    let header = b"Received: x\r\n".repeat(4);
    take(&book, "s@y", &["fred@x"], &[&header, GOOD]);
    take(&book, "s@y", &["fred@x"], &[&header[..39], GOOD]);
    let held: Vec<bool> = book.taken.lock().unwrap().iter().map(|(envelope, _)| envelope.held).collect();
    assert_eq!(held, [true, false]);
}

#[test]
fn large_content_goes_in_pieces_and_arrives_whole() {
    let book = Book::default();
    let line = b"0123456789\r\n".repeat(100_000);
    take(&book, "s@y", &["fred@x"], &[&line]);
    assert!(book.taken.lock().unwrap()[0].1.ends_with(&line));
}
