//! The channel is tried without a hub: mail is played to it through the table that the hub loads.

use sluice_@NAME@::@TYPE@;
use sluice_sdk::testing::{Bench, Ended, Mail};
use std::fs;
use std::path::PathBuf;

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

fn bench(folder: &std::path::Path) -> Bench<@TYPE@> {
    Bench::new().option("FOLDER", folder.display().to_string())
}

#[test]
fn messages_are_written() {
    let folder = folder("written");
    let recorded = Mail::read("tests/mail/hello").expect("a recorded delivery");
    let report = bench(&folder).mail(recorded).run();
    report.assert_clean();
    assert_eq!(
        report.story(),
        "hello fred@@HOST@.example delivered 2.0.0 written as hello-1.eml\n\
         hello kim@@HOST@.example delivered 2.0.0 written as hello-4.eml\n"
    );
    let text = fs::read_to_string(folder.join("hello-1.eml")).expect("the message");
    assert!(text.starts_with("Subject: hello\n"), "{text}");
    assert!(text.contains("\n.a line with a dot\n"), "{text}");
}

#[test]
fn what_is_too_long_fails_and_what_may_pass_is_deferred() {
    let gone = folder("gone").join("away");
    let mail = || Mail::new("sender@hub.example").to("fred@@HOST@.example").text("Subject: x\n\nHello.\n");
    let report = bench(&gone).mail(mail()).run();
    assert!(report.story().starts_with("test-1 fred@@HOST@.example deferred 4.3.0 cannot write: "));
    let long = mail().text("x\n".repeat(1000));
    let report = bench(&folder("long")).option("MOST", "1000").mail(long).run();
    assert_eq!(report.story(), "test-1 fred@@HOST@.example failed 5.3.4 more than 1000 bytes\n");
}

#[test]
fn wrong_options_are_refused() {
    let report = Bench::<@TYPE@>::new().run();
    assert_eq!(report.created, Ended::Refused("option FOLDER is not set and has no default".to_owned()));
    let report = bench(&folder("options")).option("MOST", "1").run();
    let text = "option MOST is `1`; it must be a whole number, at least 1000";
    assert_eq!(report.created, Ended::Refused(text.to_owned()));
}
