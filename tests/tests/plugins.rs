//! A plugin that fails costs an error message and its own channel: never the hub, never a message.

use sluice_testkit::{Batch, Sink, Site, built, wait_for};
use sluice_tests::{Destination, SOON, WHILE, hub};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A hub with a good channel beside one that is carried by the plugin of the test.
fn hub_with(name: &str, plugin: &Path, options: &str, good: &Sink) -> Site {
    let hub = hub(
        name,
        &[
            Destination::direct("tcp_bad", "bad.example", 1),
            Destination::direct("tcp_next", "next.example", good.port()),
        ],
    );
    hub.write("job_controller.cnf", &format!("[CHANNEL=tcp_bad]\nMASTER_PLUGIN={}\n", plugin.display()));
    if !options.is_empty() {
        hub.write("tcp_bad_option", options);
    }
    hub
}

fn misbehaving() -> PathBuf {
    built("libsluice_misbehaving.so")
}

/// Mail for the bad channel is kept, mail for the good one passes, and the hub stops as it should.
fn the_rest_works(hub: &mut Site, good: &Sink) {
    good.clear();
    Batch::new(hub.address(), "fred@next.example", 5).send_all();
    good.wait(5, SOON);
    assert!(hub.runs());
    assert_eq!(hub.waiting(Some("tcp_bad")), 3, "mail of the bad channel waits");
    hub.stop();
}

/// Waits until the log has this to say.
fn says(hub: &Site, what: &str) {
    wait_for(&format!("the log says {what:?}"), SOON, || hub.log().contains(what));
}

#[test]
fn a_plugin_that_panics_hangs_or_refuses_costs_its_own_channel() {
    let modes = [
        ("panic_in_create", "a panic in create"),
        ("fail_in_create", "the moon is in the wrong house"),
        ("panic_on_delivery", "a panic on"),
        ("returns_error", "no network today"),
        ("hang", "tcp_bad"),
        ("never_settles", ""),
        ("leaks", ""),
        ("no_such_mode", "no_such_mode"),
    ];
    for (mode, message) in modes {
        let good = Sink::start();
        let mut hub = hub_with(mode, &misbehaving(), &format!("MODE={mode}\nPAUSE=20000\n"), &good);
        hub.write("option.dat", "SPOOL_DIR=../spool\nDELIVERY_DEADLINE=1s\n");
        hub.start();
        Batch::new(hub.address(), "fred@bad.example", 3).send_all();
        if !message.is_empty() {
            says(&hub, message);
        }
        the_rest_works(&mut hub, &good);

        // With a plugin that does what it should, the same mail goes out: nothing was lost with the failure.
        hub.write("tcp_bad_option", "MODE=delivers_all\n");
        hub.start();
        hub.json(&["trigger", "#tcp_bad"]);
        hub.wait_for_waiting(Some("tcp_bad"), 0, SOON);
        hub.stop();
    }
}

#[test]
fn what_a_plugin_says_cannot_forge_the_log() {
    let good = Sink::start();
    let mut hub = hub_with("garbage", &misbehaving(), "MODE=logs_garbage\n", &good);
    hub.start();
    Batch::new(hub.address(), "fred@bad.example", 1).send_all();
    hub.wait_for_waiting(Some("tcp_bad"), 0, SOON);
    says(&hub, "fake line");
    assert!(!hub.log().lines().any(|line| line.starts_with("fake line")), "a line of the plugin's own");
    assert!(!hub.log().contains("\u{1b}[2J"), "a terminal sequence in the log");
    hub.stop();
}

#[test]
fn a_file_that_others_can_write_is_not_loaded() {
    let good = Sink::start();
    let mut hub = hub_with("permissions", Path::new("/nowhere"), "", &good);
    let copy = hub.folder().join("libsluice_loose.so");
    fs::copy(misbehaving(), &copy).expect("a copy of the plugin");
    fs::set_permissions(&copy, Permissions::from_mode(0o777)).expect("our own file");
    hub.write("job_controller.cnf", &format!("[CHANNEL=tcp_bad]\nMASTER_PLUGIN={}\n", copy.display()));
    hub.start();
    Batch::new(hub.address(), "fred@bad.example", 3).send_all();
    says(&hub, "chmod go-w");
    the_rest_works(&mut hub, &good);
}

#[test]
fn a_library_that_is_no_plugin_or_of_another_version_is_refused() {
    let sources = [
        ("nothing", "int nothing;\n", "sluice_plugin"),
        (
            // Far larger than any table of ours, so that nothing is read past its end; the first word is the version.
            "version",
            "struct { unsigned version, size; unsigned char rest[4096]; } sluice_plugin = { 99, 4096, { 0 } };\n",
            "99",
        ),
    ];
    for (name, source, message) in sources {
        let good = Sink::start();
        let mut hub = hub_with(name, Path::new("/nowhere"), "", &good);
        let (code, library) = (hub.folder().join("plugin.c"), hub.folder().join("plugin.so"));
        fs::write(&code, source).expect("a new file");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code).status();
        assert!(built.is_ok_and(|status| status.success()), "a C compiler is needed: apt-get install gcc");
        hub.write("job_controller.cnf", &format!("[CHANNEL=tcp_bad]\nMASTER_PLUGIN={}\n", library.display()));
        hub.start();
        Batch::new(hub.address(), "fred@bad.example", 3).send_all();
        says(&hub, message);
        the_rest_works(&mut hub, &good);
    }
}

#[test]
fn what_an_option_may_be_is_checked_without_running_the_plugin() {
    let good = Sink::start();
    let mut hub = hub_with("bounds", Path::new("/nowhere"), "VERBOSE=200\n", &good);
    let library = hub.folder().join("drain.so");
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let build = |defines: &[&str]| {
        let built = Command::new("cc")
            .args(["-std=c11", "-shared", "-fPIC"])
            .args(defines.iter().map(|define| format!("-D{define}")))
            .arg("-I")
            .arg(project.join("include"))
            .arg("-o")
            .arg(&library)
            .arg(project.join("crates/host/tests/fixtures/drain.c"))
            .status();
        assert!(built.is_ok_and(|status| status.success()), "a C compiler is needed: apt-get install gcc");
    };
    hub.write("job_controller.cnf", &format!("[CHANNEL=tcp_bad]\nMASTER_PLUGIN={}\n", library.display()));
    let remarks = |hub: &Site| {
        let rows = hub.json(&["check"]);
        let ours = rows.iter().filter(|row| row["code"].as_str().is_some_and(|code| code.contains("option")));
        ours.map(|row| format!("{} {}", row["line"], row["message"].as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    build(&["KIND=SLUICE_OPTION_INTEGER", "MIN=1", "MAX=100"]);
    assert_eq!(
        remarks(&hub),
        ["1 option VERBOSE of plugin drain is `200`; it must be a whole number from 1 to 100"]
    );
    hub.start();
    Batch::new(hub.address(), "fred@bad.example", 3).send_all();
    says(&hub, "it must be a whole number from 1 to 100");
    the_rest_works(&mut hub, &good);

    build(&["KIND=SLUICE_OPTION_INTEGER", "FLAGS=SLUICE_OPTION_FLAG_REQUIRED"]);
    assert_eq!(remarks(&hub), Vec::<String>::new());
    hub.write("tcp_bad_option", "PEER=x\n");
    let said = remarks(&hub);
    assert!(said.len() == 1 && said[0].ends_with(" option VERBOSE of plugin drain is not set"), "{said:?}");
    hub.start();
    says(&hub, "option VERBOSE of plugin drain is not set and has no default");
    the_rest_works(&mut hub, &good);
    hub.write("tcp_bad_option", "VERBOSE=1\n");
    hub.start();
    hub.json(&["trigger", "#tcp_bad"]);
    hub.wait_for_waiting(Some("tcp_bad"), 0, SOON);
    hub.stop();
}

#[test]
fn a_plugin_that_was_cut_short_is_refused_and_the_whole_one_is_taken() {
    let good = Sink::start();
    let mut hub = hub_with("cut", Path::new("/nowhere"), "", &good);
    let library = hub.folder().join("plugin.so");
    let whole = fs::read(built("libsluice_bitbucket.so")).expect("a built plugin");
    // What is loaded stands in front of the debug information.
    fs::write(&library, &whole[..40_000]).expect("a new file");
    hub.write("job_controller.cnf", &format!("[CHANNEL=tcp_bad]\nMASTER_PLUGIN={}\n", library.display()));
    hub.start();
    Batch::new(hub.address(), "fred@bad.example", 3).send_all();
    says(&hub, "is cut short");
    assert!(hub.runs());
    assert_eq!(hub.waiting(Some("tcp_bad")), 3);
    fs::write(&library, &whole).expect("our own file");
    hub.command(&["trigger", "#tcp_bad"]);
    wait_for("the mended plugin takes the mail", SOON, || hub.waiting(Some("tcp_bad")) == 0);
    hub.stop();
}

#[test]
fn a_missing_plugin_is_named_with_the_places_that_were_searched() {
    let good = Sink::start();
    let mut hub = hub_with("missing", Path::new("nosuch"), "", &good);
    hub.start();
    Batch::new(hub.address(), "fred@bad.example", 3).send_all();
    says(&hub, "libsluice_nosuch.so");
    sluice_testkit::watch("the hub stays", WHILE, || hub.runs());
    the_rest_works(&mut hub, &good);
}

#[test]
fn rules_and_tables_call_routines_of_plugins() {
    let good = Sink::start();
    let mut hub = hub_with("routines", &misbehaving(), "", &good);
    let rules = "up.example $U%$[misbehaving,upper,next].example@TCP_NEXT\n\
                 hang.example $U%$[misbehaving,hangs,$U]@TCP_NEXT\n\
                 panic.example $U%$[misbehaving,panics,$U]@TCP_NEXT\n\
                 other.example $U%$[elsewhere,upper,$U]@TCP_NEXT\n\
                 slip.example $U%$[misbehaving,uper,$U]@TCP_NEXT\n";
    let text = fs::read_to_string(hub.configuration().join("sluice.cnf")).expect("our own file");
    hub.write("sluice.cnf", &format!("{rules}{text}"));
    hub.write("mappings", "UP\n\n  a*  $Y$[misbehaving,upper,$0]\n  b*  $Y$[misbehaving,forges,$0]\n");
    let codes: Vec<String> = hub
        .json(&["check"])
        .iter()
        .filter(|row| row["code"].as_str().is_some_and(|code| code.starts_with("routine-")))
        .map(|row| {
            format!(
                "{} {} {}",
                row["line"],
                row["code"].as_str().unwrap_or(""),
                row["help"].as_str().unwrap_or("")
            )
        })
        .collect();
    assert_eq!(
        codes,
        [
            "4 routine-image-not-loaded write `ROUTINE_PLUGINS=elsewhere` into option.dat",
            "5 routine-unknown did you mean `upper`?"
        ]
    );
    let configuration = hub.configuration().display().to_string();
    // What stands behind the texts is more texts, so the rest of the rows is not looked at.
    let common = ["--format", "json", "--config", &configuration];
    let mapping = [&["test", "mapping", "--table", "UP"], &common[..], &["afred", "bfred"]].concat();
    let rows = hub.command(&mapping).json();
    assert_eq!((rows[0]["output"].as_str(), rows[0]["flags"].as_str()), (Some("FRED"), Some("Y")));
    assert_eq!(rows[1]["output"].as_str(), Some("bfred"), "an answer with line ends is none");
    let rows =
        hub.command(&["test", "rewrite", "fred@up.example", "fred@slip.example", "--format", "json"]).json();
    assert_eq!(rows[0]["channel"].as_str(), Some("tcp_next"));
    assert_eq!(rows[1]["channel"].as_str(), None);
    hub.start();
    let mut client = hub.talk();
    client
        .deliver("a@origin.example", &["fred@up.example"], &sluice_testkit::message(1, 200))
        .expect("an answer");
    assert_eq!(good.wait(1, SOON)[0].to, ["fred@NEXT.example"]);
    // Each of these is a miss, and none of them costs the hub more than a second.
    client.want("MAIL FROM:<a@origin.example>", 250);
    for address in ["60000@hang.example", "fred@panic.example", "fred@other.example", "fred@slip.example"] {
        client.want(&format!("RCPT TO:<{address}>"), 550);
    }
    says(&hub, "it did not return within 1s");
    says(&hub, "the routine panicked");
    client.want("RCPT TO:<kim@up.example>", 250);
    hub.stop();
}
