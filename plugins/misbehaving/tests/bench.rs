//! The bench of the SDK sees what a plugin does wrong; this one does everything wrong on purpose.
#![allow(clippy::unwrap_used)]

use sluice_misbehaving::Misbehaving;
use sluice_sdk::testing::{Bench, Ended, Mail, Report};
use sluice_sdk::{Level, NotTaken, Outcome, Status};
use std::time::Duration;

fn mail(to: &[&str]) -> Mail {
    to.iter().fold(Mail::new("sender@hub.example"), |mail, to| mail.to(*to)).text("Subject: x\n\n.dots\n")
}

fn bench(mode: &str) -> Bench<Misbehaving> {
    Bench::new().option("MODE", mode).option("PAUSE", "1")
}

fn play(mode: &str) -> Report {
    bench(mode).mail(mail(&["a@b", "c@d"])).mail(mail(&["e@f"])).run()
}

#[test]
fn a_channel_that_behaves_has_a_clean_report() {
    let report = play("delivers_all");
    report.assert_clean();
    assert_eq!(
        report.story(),
        "test-1 a@b delivered 2.0.0 done\ntest-1 c@d delivered 2.0.0 done\ntest-2 e@f delivered 2.0.0 done\n"
    );
    assert_eq!(play("fails_all").outcome("e@f"), Some(&Outcome::failed(Status::new(5, 7, 1), "go away")));
    // It settles what it holds when it is told that nothing came, last one first.
    play("hoards").assert_clean();
}

#[test]
fn settling_twice_late_or_beside_is_a_fault() {
    let report = play("settles_twice");
    assert_eq!(report.faults, ["test-1: a@b was settled twice", "test-2: e@f was settled twice"]);
    assert_eq!(report.outcome("a@b"), Some(&Outcome::delivered("done")), "the first word counts");
    let report = play("settles_wrong_index");
    assert_eq!(report.faults.len(), 6, "{:?}", report.faults);
    assert_eq!(report.faults[0], "test-1: index 4294967295 was settled, which no recipient has");
    assert_eq!(report.faults[1], "test-1: a@b was settled by an outcome that is none");
    assert!(std::panic::catch_unwind(|| report.assert_clean()).is_err());
}

#[test]
fn what_is_forgotten_is_seen() {
    let report = play("never_settles");
    assert_eq!(report.faults, Vec::<String>::new(), "a hub defers it: no rule is broken");
    assert_eq!(report.story(), "test-1 a@b not settled\ntest-1 c@d not settled\ntest-2 e@f not settled\n");
    assert!(std::panic::catch_unwind(|| report.assert_clean()).is_err());
    let report = play("leaks");
    assert_eq!(
        report.faults,
        ["test-1: `run` returned without giving it back", "test-2: `run` returned without giving it back"]
    );
}

#[test]
fn panics_and_errors_are_told_with_their_words() {
    let report = play("panic_on_delivery");
    let Ended::Panicked(text) = &report.ended[0] else { panic!("{report:?}") };
    assert!(text.ends_with(": a panic on test-1"), "{text}");
    assert_eq!(report.story(), "test-1 a@b not settled\ntest-1 c@d not settled\ntest-2 e@f not handed out\n");
    assert!(
        matches!(play("panic_in_create").created, Ended::Panicked(text) if text.ends_with(": a panic in create"))
    );
    assert_eq!(play("fail_in_create").created, Ended::Failed("the moon is in the wrong house".to_owned()));
    assert_eq!(play("returns_error").ended, [Ended::Failed("no network today".to_owned())]);
    assert_eq!(play("returns_early").ended, [Ended::Early]);
    let report = play("panic_in_destroy");
    let said = report.log.last().unwrap();
    assert!(said.level == Level::Error && said.text.ends_with("a panic in destroy"), "{said:?}");
}

#[test]
fn settings_are_checked_as_a_hub_does_it() {
    let refused = |report: Report| match report.created {
        Ended::Refused(text) => text,
        other => panic!("{other:?}"),
    };
    assert!(
        refused(play("no_such_mode"))
            .starts_with("MODE is `no_such_mode`; it must be one of panic_in_create, ")
    );
    let report = Bench::<Misbehaving>::new().option("pause", "soon").run();
    assert_eq!(refused(report), "option PAUSE is `soon`; it must be a whole number");
}

#[test]
fn a_channel_that_hangs_is_left_alone() {
    let started = std::time::Instant::now();
    let report = Bench::<Misbehaving>::new()
        .option("MODE", "hang")
        .option("PAUSE", "60000")
        .patience(Duration::from_millis(200))
        .mail(mail(&["a@b"]))
        .run();
    assert_eq!(report.ended, [Ended::Hung]);
    assert!(started.elapsed() < Duration::from_secs(50));
}

#[test]
fn time_is_what_the_test_says() {
    // It is taken away while it is being delivered: what is settled afterwards is settled too late.
    let taken = mail(&["a@b"]).time_left([Duration::ZERO]);
    let report = bench("looks_at_its_time").mail(taken).mail(mail(&["c@d"])).run();
    assert_eq!(report.story(), "test-1 a@b taken away\ntest-2 c@d delivered 2.0.0 600 seconds left\n");
    assert_eq!(
        report.faults,
        ["a recipient of delivery 1 was settled, which is not with this worker"],
        "it settles all the same"
    );
}

#[test]
fn a_stop_in_the_middle_leaves_the_rest_where_it_is() {
    let mails = [mail(&["a@b"]), mail(&["c@d"]).stop_meanwhile(), mail(&["e@f"])];
    let report = bench("delivers_all").mails(mails).run();
    report.assert_clean();
    assert_eq!(
        report.story(),
        "test-1 a@b delivered 2.0.0 done\ntest-2 c@d delivered 2.0.0 done\ntest-3 e@f not handed out\n"
    );
}

#[test]
fn several_workers_share_the_mail() {
    let mails = (0..200).map(|at| mail(&[&format!("r{at}@b")]));
    let report = bench("delivers_all").workers(4).mails(mails).run();
    report.assert_clean();
    assert_eq!((report.deliveries.len(), report.ended.len()), (200, 4));
}

#[test]
fn mail_that_is_brought_in_is_collected_and_answered() {
    let report = bench("enqueues_again").mail(mail(&["a@b", "c@d"])).run();
    report.assert_clean();
    let brought = &report.submissions[0];
    assert_eq!(
        (brought.sender.as_str(), brought.again, brought.as_original),
        ("sender@hub.example", true, true)
    );
    assert_eq!(brought.content, b"Subject: x\r\n\r\n..dots\r\n");
    let addresses: Vec<_> = brought.recipients.iter().map(|to| to.address.as_str()).collect();
    assert_eq!(addresses, ["a@b", "c@d"]);

    let refusing = bench("enqueues_again").mail(mail(&["a@b", "c@d"])).answers(|brought| {
        let good = |to: &str| match to {
            "a@b" => Outcome::delivered("queued"),
            _ => Outcome::failed(Status::new(5, 1, 1), "unknown"),
        };
        Ok(brought.recipients.iter().map(|to| good(&to.address)).collect())
    });
    assert_eq!(
        refusing.run().story(),
        "test-1 a@b delivered 2.0.0 queued\ntest-1 c@d failed 5.1.1 unknown\n"
    );

    let closed = bench("enqueues_again").mail(mail(&["a@b"])).answers(|_| Err(NotTaken::Closed)).run();
    assert_eq!(closed.story(), "test-1 a@b not settled\n");
    assert_eq!(closed.log[0].text, "not taken: no mail is taken at the moment");
    let older = bench("enqueues_again").mail(mail(&["a@b"])).takes_no_mail().run();
    assert_eq!(older.log[0].text, "not taken: this hub takes no mail from plugins");
}

#[test]
fn polls_come_before_mail() {
    let report = bench("delivers_all").polls(2).mail(mail(&["a@b"])).run();
    report.assert_clean();
    assert_eq!(report.log.iter().filter(|line| line.text == "polled").count(), 2);
}

#[test]
fn routines_are_asked() {
    let bench = Bench::<Misbehaving>::new();
    assert_eq!(bench.route("upper", "fred"), Ok(Some("FRED".to_owned())));
    assert_eq!(bench.route("misses", "fred"), Ok(None));
    assert_eq!(bench.route("panics", "fred"), Err("the routine panicked".to_owned()));
    assert_eq!(bench.route("shouts", "fred"), Err("the answer has more than 1024 bytes".to_owned()));
    assert_eq!(bench.route("nobody", "fred"), Err("there is no routine nobody".to_owned()));
}
