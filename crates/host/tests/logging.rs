//! What a plugin writes reaches the log with its channel, its name and its message, and cannot forge a line.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_host::{About, Filter, Host, LINES_MAX, Setting, Shown, Spec};
use sluice_mail::Time;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps every event as a line of its fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::TRACE
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Lines {
    fn with(&self, word: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|line| line.contains(word)).cloned().collect()
    }
}

/// A message that tells filter 1 what to do.
fn shown(order: &str) -> Shown {
    let about = About {
        id: "Q1".to_owned(),
        source_channel: "tcp_local".to_owned(),
        client_address: None,
        client_name: String::new(),
        helo: String::new(),
        login: String::new(),
        arrived: Time(1000),
        eight_bit: false,
        smtputf8: false,
        tls: false,
        is_known: false,
        from_channel: true,
        again: false,
    };
    Shown {
        about: Arc::new(about),
        number: 1,
        opt_in: String::new(),
        destination_channel: None,
        sender: "a@origin.example".to_owned(),
        recipients: Vec::new(),
        content: Arc::new(format!("Subject: one\r\nX-Do-1: {order}\r\n\r\nbody\r\n").into_bytes()),
        may_be_edited: true,
    }
}

/// One test, because there is one log for the process.
#[test]
fn lines_of_plugins_are_named_bounded_and_harmless() {
    let lines = Lines::default();
    tracing::subscriber::set_global_default(lines.clone()).unwrap();
    let (folder, host, plugin) = misbehaving();

    let mut polled = Running::start(&host, &plugin, spec("polled_channel", "delivers_all", Duration::ZERO));
    polled.offer(sluice_host::Lease { lease: 1, poll: true, deliveries: Vec::new() });
    polled.until_leases_done(1);
    assert_eq!(
        lines.with("polled_channel"),
        [r#"INFO message=polled channel="polled_channel" plugin="misbehaving""#]
    );

    let mut garbage = Running::start(&host, &plugin, spec("garbage_channel", "logs_garbage", Duration::ZERO));
    garbage.offer(lease(7, &[&[0]]));
    garbage.until_leases_done(1);
    let written = lines.with("garbage_channel");
    assert_eq!(written.len(), 1, "{written:?}");
    assert!(written[0].starts_with(r"WARN message=\u{1b}[2J fake line\u{0}\u{202e}\u{1b}[2J"), "{written:?}");
    assert!(
        written[0].ends_with(r#"… channel="garbage_channel" plugin="misbehaving" id="Q70""#),
        "{written:?}"
    );
    assert!(written[0].len() < 2200 && !written[0].contains(['\u{1b}', '\n', '\u{202e}']), "{written:?}");

    for (mode, word) in [
        ("settles_twice", "it settled recipient 0 again; the first word counts"),
        ("settles_wrong_index", "it settled recipient 4294967295, who is not in the delivery"),
        ("settles_wrong_index", "it settled recipient 0 with an outcome that has an impossible status code"),
    ] {
        let mut careless = Running::start(&host, &plugin, spec("careless_channel", mode, Duration::ZERO));
        careless.offer(lease(8, &[&[0]]));
        careless.until_leases_done(1);
        assert!(
            lines.with("careless_channel").iter().any(|line| line.contains(word)),
            "{mode}: {:?}",
            lines.with("careless")
        );
    }

    // Of what goes on and on there is as much as anybody reads, and a word about the rest.
    let word = "it said more than fits into the log";
    for (mode, name, deliveries) in
        [("floods", "flooding_channel", 1), ("settles_twice", "stuttering_channel", 1000)]
    {
        let begun = Instant::now();
        let mut endless = Running::start(&host, &plugin, spec(name, mode, Duration::ZERO));
        endless.offer(lease(30, &vec![&[0][..]; deliveries]));
        endless.until_leases_done(1);
        eventually("a word about the rest", || lines.with(name).iter().any(|line| line.contains(word)));
        let told = lines.with(name).iter().filter(|line| !line.contains(word)).count();
        // Each second that the test takes has its lines.
        let most = LINES_MAX as usize * (begun.elapsed().as_secs() as usize + 1);
        assert!((LINES_MAX as usize..=most).contains(&told), "{mode}: {told} lines");
    }

    // Also when the channel ends before its second is over.
    let mut ended = Running::start(&host, &plugin, spec("ended_channel", "floods", Duration::ZERO));
    ended.offer(lease(31, &[&[0]]));
    ended.until_leases_done(1);
    ended.instance.stop(Duration::from_secs(60));
    ended.until_stopped();
    let untold = |line: &String| line.split_once("untold=")?.1.split(' ').next()?.parse::<usize>().ok();
    let said = lines.with("ended_channel");
    let told = said.iter().filter(|line| !line.contains(word)).count();
    assert_eq!(told + said.iter().filter_map(untold).sum::<usize>(), 20_000, "{said:?}");

    // A filter, of whose calls nobody else comes by to tell: when it is called again, and when it ends.
    compile(folder.path(), "filter.c", "filter", &[]);
    let talkative = Host::new(vec![folder.path().to_owned()]).load("filter").unwrap();
    let filter = Filter::create(&talkative, &Spec::new("talking_filter", Vec::new())).unwrap();
    let long = Duration::from_secs(20);
    let counted = || {
        let said = lines.with("talking_filter");
        let told = said.iter().filter(|line| !line.contains(word)).count();
        (told, said.iter().filter_map(untold).sum::<usize>())
    };
    filter.ask(shown("chat 500"), long).unwrap();
    let (told, left_out) = counted();
    assert!(told >= LINES_MAX as usize && told + left_out < 500, "{told} told, {left_out} left out so far");
    std::thread::sleep(Duration::from_millis(1100));
    filter.ask(shown("nothing"), long).unwrap();
    let (told, left_out) = counted();
    assert_eq!(told + left_out, 500);
    filter.ask(shown("chat 300"), long).unwrap();
    drop(filter);
    let (told, left_out) = counted();
    assert_eq!(told + left_out, 800);

    compile(folder.path(), "drain.c", "drain", &[]);
    let drain = Host::new(vec![folder.path().to_owned()]).load("drain").unwrap();
    let settings = vec![Setting::option("VERBOSE", "0")];
    let mut in_c = Running::start(&host, &drain, Spec::new("channel_in_c", settings));
    in_c.offer(lease(9, &[&[0]]));
    in_c.until_leases_done(1);
    assert_eq!(
        lines.with("channel_in_c"),
        [r#"DEBUG message=24 bytes gone channel="channel_in_c" plugin="drain" id="Q90""#]
    );
}
