//! A filter in C, good and hostile, through the real table.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_host::{
    About, Content, Filter, FilterError, Host, Judged, Setting, Shown, ShownRecipient, Spec, Verdict,
};
use sluice_mail::header_edit::edited;
use sluice_mail::{RecipientWishes, Status, Time};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::*;

const LONG: Duration = Duration::from_secs(20);

struct Kit {
    _folder: tempfile::TempDir,
    filter: Filter,
}

fn kit(settings: &[(&str, &str)]) -> Result<Kit, FilterError> {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "filter.c", "filter", &[]);
    let plugin = Host::new(vec![folder.path().to_owned()]).load("filter").unwrap();
    assert!(plugin.has_filter());
    let settings = settings.iter().map(|(name, value)| Setting::option(*name, *value)).collect();
    Filter::create(&plugin, &Spec::new("spamfilter1", settings)).map(|filter| Kit { _folder: folder, filter })
}

fn shown(content: Arc<dyn Content>, smtputf8: bool) -> Shown {
    let about = About {
        id: "Q1".to_owned(),
        source_channel: "tcp_local".to_owned(),
        client_address: Some("2001:db8::7".parse().unwrap()),
        client_name: String::new(),
        helo: "client.example".to_owned(),
        login: String::new(),
        arrived: Time(1000),
        eight_bit: false,
        smtputf8,
        tls: true,
        is_known: false,
        from_channel: false,
        again: false,
    };
    let recipient = |number: u32| ShownRecipient {
        address: format!("user{number}@site.example"),
        original: format!("User{number}@site.example"),
        channel: "tcp_site".to_owned(),
        wishes: RecipientWishes::default(),
    };
    Shown {
        about: Arc::new(about),
        number: 1,
        opt_in: "spam".to_owned(),
        destination_channel: None,
        sender: "a@origin.example".to_owned(),
        recipients: vec![recipient(0), recipient(1)],
        content,
        may_be_edited: true,
    }
}

fn message(order: &str) -> Vec<u8> {
    format!("Received: by us\r\nSubject: one\r\nX-Do-1: {order}\r\nSubject: two\r\n\r\nbody\r\n").into_bytes()
}

impl Kit {
    fn ask_within(&self, order: &str, time: Duration) -> Result<Judged, FilterError> {
        self.filter.ask(shown(Arc::new(message(order)), false), time)
    }

    fn ask(&self, order: &str) -> Judged {
        self.ask_within(order, LONG).unwrap()
    }

    /// The header that the filter makes of the message, without its order.
    fn header(&self, order: &str) -> String {
        let judged = self.ask(order);
        assert_eq!(judged.verdict, Verdict::Accept);
        let came = message("nothing");
        let end = came.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 2;
        String::from_utf8(edited(&came[..end], &judged.edits))
            .unwrap()
            .replace("X-Do-1: nothing\r\n", "")
            .replace("\r\n", "|")
    }
}

#[test]
fn each_verdict_comes_back_as_it_was_given() {
    let kit = kit(&[]).unwrap();
    assert_eq!(
        kit.ask("nothing"),
        Judged { verdict: Verdict::Accept, edits: vec![], added: vec![], withdrawn: vec![] }
    );
    let Verdict::Refuse(refusal) = kit.ask("refuse go away").verdict else { panic!() };
    assert_eq!((refusal.code, refusal.status, refusal.text.as_str()), (554, Status::new(5, 7, 9), "go away"));
    let Verdict::Refuse(refusal) = kit.ask("refuse-now later").verdict else { panic!() };
    assert_eq!((refusal.code, refusal.status, refusal.text.as_str()), (450, Status::new(4, 7, 9), "later"));
    let Verdict::Refuse(refusal) = kit.ask("refuse-silently").verdict else { panic!() };
    assert_eq!(
        (refusal.code, refusal.status, refusal.text.as_str()),
        (550, Status::new(5, 7, 1), "refused by a filter")
    );
    assert_eq!(kit.ask("hold looks odd").verdict, Verdict::Hold("looks odd".to_owned()));
    assert_eq!(kit.ask("discard").verdict, Verdict::Discard);
    assert_eq!(kit.ask_within("fail no table", LONG), Err(FilterError::Failed("no table".to_owned())));
    assert!(matches!(kit.ask_within("panic", LONG), Err(FilterError::Panicked(_))));
    assert_eq!(kit.ask_within("odd", LONG), Err(FilterError::Status(77)));
}

#[test]
fn headers_and_recipients_are_changed() {
    let kit = kit(&[("TAG", "t")]).unwrap();
    assert_eq!(kit.header("first 1"), "Received: by us|X-First: 1|Subject: one|Subject: two|");
    assert_eq!(kit.header("last 1"), "Received: by us|Subject: one|Subject: two|X-Last: 1|");
    assert_eq!(kit.header("replace new one"), "Received: by us|Subject: new one|");
    assert_eq!(kit.header("remove Received"), "Received: by us|Subject: one|Subject: two|");
    let judged = kit.ask("redirect kim@other.example");
    assert_eq!((judged.added, judged.withdrawn), (vec!["kim@other.example".to_owned()], vec![0, 1]));
    assert!(kit.header("tell").ends_with(
        "X-Told: tag=t number=1 flags=4 from=tcp_local to= opt=spam sender=a@origin.example client=2001:db8::7 \
         helo=client.example size=1 [0 user0@site.example tcp_site] [1 user1@site.example tcp_site]|"
    ));
}

#[test]
fn misuse_is_answered_and_has_no_effect() {
    let kit = kit(&[]).unwrap();
    let judged = kit.ask("hostile");
    let header = edited(b"Received: by us\r\n", &judged.edits);
    // A recipient that is not there is 3, and a change that is larger than all may be 4; all else is 2.
    assert_eq!(
        String::from_utf8(header).unwrap(),
        "Received: by us\r\nX-Hostile: 22222224222222222222322222\r\n"
    );
    assert_eq!((judged.verdict, judged.added, judged.withdrawn), (Verdict::Accept, vec![], vec![]));
    // In a message that is SMTPUTF8 text of any script is welcome.
    let judged = kit.filter.ask(shown(Arc::new(message("hostile")), true), LONG).unwrap();
    let header = String::from_utf8(edited(b"", &judged.edits)).unwrap();
    assert_eq!(header, "X-A: ä\r\nX-Hostile: 22222204222222222222322222\r\n");
}

#[test]
fn changes_have_limits() {
    let kit = kit(&[]).unwrap();
    assert_eq!(kit.ask("many").edits.len(), 1000);
    assert_eq!(kit.ask("crowd site.example").added.len(), 100);
    let mut shown = shown(Arc::new(message("last 1")), false);
    shown.may_be_edited = false;
    assert!(kit.filter.ask(shown, LONG).unwrap().edits.is_empty());
}

/// Content that tells when it has gone.
struct Traced(Vec<u8>, #[allow(dead_code)] Arc<()>); // Counted, not read.

impl Content for Traced {
    fn pieces<'a>(&'a self, take: &mut dyn FnMut(&'a [u8])) {
        let (one, other) = self.0.split_at(20);
        take(one);
        take(&[]);
        take(other);
    }
}

#[test]
fn what_is_said_too_late_has_no_effect_and_what_was_lent_stays() {
    let kit = kit(&[]).unwrap();
    let alive = Arc::new(());
    let content = Arc::new(Traced(message("late 1500"), alive.clone()));
    let begun = Instant::now();
    let answer = kit.filter.ask(shown(content, false), Duration::from_millis(300));
    assert_eq!(answer, Err(FilterError::Hung(Duration::from_millis(300))));
    assert!(begun.elapsed() < Duration::from_millis(1400));
    // The filter still reads it.
    assert_eq!(Arc::strong_count(&alive), 2);
    // Another message is shown meanwhile.
    assert_eq!(kit.ask("nothing").verdict, Verdict::Accept);
    eventually("the content to go", || Arc::strong_count(&alive) == 1);
}

#[test]
fn a_filter_that_hangs_four_times_is_not_called_until_it_comes_back() {
    let kit = kit(&[]).unwrap();
    let short = Duration::from_millis(50);
    for _ in 0..4 {
        assert_eq!(kit.ask_within("hang 2000", short), Err(FilterError::Hung(short)));
    }
    let begun = Instant::now();
    assert_eq!(kit.ask_within("nothing", LONG), Err(FilterError::TooManyHung));
    assert!(begun.elapsed() < Duration::from_secs(1));
    eventually("it to be called again", || kit.ask_within("nothing", LONG).is_ok());
}

#[test]
fn settings_are_checked_before_and_by_create() {
    assert_eq!(
        kit(&[("LIMIT", "many")]).err().unwrap().to_string(),
        "option LIMIT of plugin filter is `many`; it must be a whole number"
    );
    let refused = kit(&[("CREATE", "refuses")]).err().unwrap();
    assert_eq!(
        (refused.to_string().as_str(), refused.is_final()),
        ("it refuses the settings: it does not like them", true)
    );
    let failed = kit(&[("CREATE", "fails")]).err().unwrap();
    assert_eq!(
        (failed.to_string().as_str(), failed.is_final()),
        ("it could not be created: something is missing", false)
    );
}

#[test]
fn a_channel_is_no_filter() {
    let (_folder, host, _) = misbehaving();
    let plugin = host.load("bitbucket").unwrap();
    let answer = Filter::create(&plugin, &Spec::new("spamfilter1", Vec::new()));
    assert_eq!(answer.err(), Some(FilterError::NoFilter("bitbucket".to_owned())));
}

#[test]
fn a_destroy_that_does_not_return_holds_nobody_up() {
    let kit = kit(&[("TAG", "stays")]).unwrap();
    assert!(kit.header("nothing").contains("Subject: one"));
    let begun = Instant::now();
    drop(kit.filter);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_filter_is_not_made_without_an_option_that_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "filter.c", "filter", &["TAG_FLAGS=1"]);
    let plugin = Host::new(vec![folder.path().to_owned()]).load("filter").unwrap();
    let make = |settings| Filter::create(&plugin, &Spec::new("spamfilter1", settings));
    let refused = make(vec![Setting::fact("TAG", "a fact is no option")]).err().unwrap();
    assert!(refused.is_final() && refused.to_string().contains("option TAG is not set"), "{refused}");
    make(vec![Setting::option("tag", "set")]).unwrap();
}
