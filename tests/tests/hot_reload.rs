//! Plugins are made anew while mail goes through them: every message is delivered once, and what cannot be used is not used.

use sluice_testkit::{Batch, Manner, Sink, Site, built, wait_for, watch};
use sluice_tests::{Destination, Ledger, SOON, Version, WHILE, arrived, hub, send};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Reloads under load.
const RELOADS: u32 = 50;

/// A hub with a channel that is carried by the ledger's plugin, beside a good one.
fn hub_with_ledger(name: &str, keywords: &str, pause: Duration) -> (Site, Ledger) {
    let keywords = keywords.to_owned();
    let destination =
        Destination { channel: "tcp_ledger", domain: "ledger.example", port: 1, keywords: &keywords };
    let hub = hub(name, &[destination]);
    let ledger = Ledger::build(&hub);
    hub.write(
        "job_controller.cnf",
        &format!("[CHANNEL=tcp_ledger]\nMASTER_PLUGIN={}\n", ledger.file().display()),
    );
    hub.write("tcp_ledger_option", &ledger.options(pause));
    (hub, ledger)
}

/// `sluice plugin reload ledger`; its row.
fn reload(hub: &Site) -> serde_json::Value {
    let rows = hub.json(&["plugin", "reload", "ledger"]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].clone()
}

/// A reload that is refused: what it says.
fn refused(hub: &Site) -> String {
    let ran = hub.command(&["plugin", "reload", "ledger"]);
    assert_eq!(ran.code, 78, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("what is in force stays in force"), "{}", ran.err);
    ran.err
}

fn says(hub: &Site, what: &str) {
    wait_for(&format!("the log says {what:?}"), SOON, || hub.log().contains(what));
}

/// One message, which the version delivers.
fn delivers(hub: &Site, ledger: &Ledger, number: usize, version: u32) {
    send(hub, "fred@ledger.example", number, 1);
    wait_for("it is delivered", SOON, || ledger.delivered().contains_key(&number));
    let line = ledger.lines().into_iter().find(|line| line.number == number).expect("its line");
    assert_eq!(line.version, version, "message {number}");
}

#[test]
fn fifty_reloads_in_a_stream_of_mail_lose_nothing_and_double_nothing() {
    let (mut hub, ledger) = hub_with_ledger("reload-stream", "maxjobs 4", Duration::ZERO);
    hub.start();
    let (address, stop) = (hub.address(), AtomicBool::new(false));
    let sent = thread::scope(|scope| {
        let stop = &stop;
        let sender = scope.spawn(move || {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                let batch =
                    Batch { first: sent, sessions: 4, ..Batch::new(address, "fred@ledger.example", 40) };
                batch.send_all();
                sent += 40;
            }
            sent
        });
        let turns = || {
            for version in 2..=RELOADS + 1 {
                let before = ledger.lines().len();
                wait_for("mail goes through", SOON, || ledger.lines().len() >= before + 10);
                // Every other one by writing over the file that is loaded.
                ledger.put(match version % 2 {
                    0 => Version::Renamed(version),
                    _ => Version::WrittenOver(version),
                });
                let row = reload(&hub);
                assert_eq!(row["generation"], version);
                assert_eq!(row["version"], format!("generation {version:07}"));
            }
        };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(turns));
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().expect("a sender that nothing happened to");
        done.expect("fifty reloads");
        sent
    });
    ledger.wait_for_each_once(sent, SOON);
    hub.wait_for_waiting(None, 0, SOON);
    assert!(ledger.versions().len() > 40, "most of them have delivered: {:?}", ledger.versions());
    assert!(!hub.log().contains("deferred"), "nobody was made to wait by it");
    says(&hub, "so many generations of a plugin are in memory");
    hub.stop();
}

#[test]
fn a_slow_plugin_finishes_what_it_holds_while_the_new_one_works() {
    let (mut hub, ledger) = hub_with_ledger("reload-slow", "maxjobs 3", Duration::from_millis(1500));
    hub.start();
    send(&hub, "fred@ledger.example", 0, 24);
    for version in 2..=4 {
        let begun = |version| ledger.lines().iter().any(|line| line.version == version && !line.is_end);
        wait_for("the one before has begun something", SOON, || begun(version - 1));
        ledger.put(Version::WrittenOver(version));
        let row = reload(&hub);
        assert_eq!(
            (row["generation"].as_u64(), row["before"].as_u64()),
            (Some(version.into()), Some((version - 1).into()))
        );
        let channel = &row["channels"][0];
        assert_eq!(
            (channel["channel"].as_str(), channel["had_instance"].as_bool()),
            (Some("tcp_ledger"), Some(true))
        );
        assert!(channel["draining"].as_u64().is_some_and(|jobs| (1..=3).contains(&jobs)), "{channel}");
    }
    ledger.wait_for_each_once(24, SOON);
    hub.wait_for_waiting(None, 0, SOON);
    // Each version has begun something, and all that it had begun was ended by itself.
    assert_eq!(ledger.versions(), [1, 2, 3, 4]);
    let lines = ledger.lines();
    for begin in lines.iter().filter(|line| !line.is_end) {
        let is_end = |line: &&sluice_tests::Line| line.is_end && line.number == begin.number;
        assert_eq!(lines.iter().find(is_end).expect("its end").version, begin.version);
    }
    hub.stop();
}

#[test]
fn the_last_message_of_a_slow_channel_is_waited_for_and_a_limit_is_obeyed() {
    let (mut hub, ledger) = hub_with_ledger("reload-drain", "maxjobs 1", Duration::from_secs(4));
    hub.start();
    send(&hub, "fred@ledger.example", 0, 2);
    wait_for("the first is begun", SOON, || !ledger.lines().is_empty());
    ledger.put(Version::Renamed(2));
    reload(&hub);
    // One job at a time, whichever generation has it: the second message waits for the first.
    ledger.wait_for_each_once(2, SOON);
    let told: Vec<_> = ledger.lines().iter().map(|line| (line.is_end, line.version, line.number)).collect();
    assert_eq!(told, [(false, 1, 0), (true, 1, 0), (false, 2, 1), (true, 2, 1)]);
    // With no time to drain, what is held is taken away, and the new one has it at once.
    send(&hub, "fred@ledger.example", 2, 1);
    wait_for("it is begun", SOON, || ledger.lines().len() == 5);
    ledger.put(Version::Renamed(3));
    hub.json(&["plugin", "reload", "ledger", "--drain", "0"]);
    wait_for("the new one has begun it", SOON, || {
        ledger.lines().iter().any(|line| line.version == 3 && line.number == 2)
    });
    hub.wait_for_waiting(None, 0, SOON);
    hub.stop();
}

#[test]
fn what_cannot_be_used_is_told_and_what_runs_goes_on() {
    let (mut hub, ledger) = hub_with_ledger("reload-refused", "", Duration::ZERO);
    hub.start();
    delivers(&hub, &ledger, 0, 1);
    let whole = ledger.bytes(2);
    let file = ledger.file();
    let compile = |name: &str, source: &str| {
        let (code, library) = (hub.folder().join(format!("{name}.c")), hub.folder().join(name));
        fs::write(&code, source).expect("a new file");
        let built = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&code)
            .status();
        assert!(built.is_ok_and(|status| status.success()), "a C compiler is needed: apt-get install gcc");
        fs::read(&library).expect("what was built")
    };
    let version =
        "struct { unsigned version, size; unsigned char rest[4096]; } sluice_plugin = { 99, 4096, { 0 } };\n";
    let functions =
        "struct { unsigned version, size; unsigned char rest[4096]; } sluice_plugin = { 1, 4096, { 0 } };\n";
    let dies = "#include <stdlib.h>\n__attribute__((constructor)) static void now(void) { abort(); }\n";
    let sleeps = "#include <unistd.h>\n__attribute__((constructor)) static void now(void) { sleep(60); }\n";
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("no library", b"this is not a library\n".repeat(100), "is not a shared library for this machine"),
        ("half of one", whole[..whole.len() / 3].to_vec(), "is cut short"),
        (
            "no plugin",
            compile("nothing.so", "int nothing;\n"),
            "does not export the data symbol `sluice_plugin`",
        ),
        ("another version", compile("version.so", version), "99"),
        ("no functions", compile("functions.so", functions), "null pointer for its function `create`"),
        ("one that kills", compile("dies.so", dies), "kills the process that loads it"),
        ("one that hangs", compile("sleeps.so", sleeps), "does not finish loading within"),
    ];
    for (number, (what, bytes, why)) in cases.into_iter().enumerate() {
        fs::write(file, bytes).expect("our own file");
        let said = refused(&hub);
        assert!(said.contains(why), "{what}: {said}");
        delivers(&hub, &ledger, number + 1, 1);
    }
    fs::write(file, &whole).expect("our own file");
    fs::set_permissions(file, Permissions::from_mode(0o777)).expect("our own file");
    assert!(refused(&hub).contains("chmod go-w"));
    fs::set_permissions(file, Permissions::from_mode(0o755)).expect("our own file");
    // The settings that its channel has by now are those that it must like.
    let good = ledger.options(Duration::ZERO);
    hub.write("tcp_ledger_option", &format!("{good}WANTED=impossible\n"));
    let said = refused(&hub);
    assert!(
        said.contains(&format!("channel tcp_ledger cannot be started with {}: ", file.display()))
            && said.contains("WANTED is impossible"),
        "{said}"
    );
    delivers(&hub, &ledger, 8, 1);
    hub.write("tcp_ledger_option", &good);
    fs::remove_file(file).expect("our own file");
    assert!(refused(&hub).contains("libsluice_ledger.so"));
    delivers(&hub, &ledger, 9, 1);
    ledger.put(Version::Renamed(2));
    assert_eq!(reload(&hub)["version"], "generation 0000002");
    delivers(&hub, &ledger, 10, 2);
    ledger.wait_for_each_once(11, SOON);
    hub.stop();
}

#[test]
fn options_are_read_anew_and_the_rest_of_the_configuration_is_not() {
    let (mut hub, ledger) = hub_with_ledger("reload-options", "", Duration::ZERO);
    hub.start();
    delivers(&hub, &ledger, 0, 1);
    let elsewhere = hub.folder().join("elsewhere");
    hub.write("tcp_ledger_option", &format!("LEDGER={}\n", elsewhere.display()));
    let row = reload(&hub);
    assert_eq!((row["generation"].as_u64(), row["before"].as_u64()), (Some(1), Some(1)));
    assert!(
        row["remarks"][0].as_str().is_some_and(|remark| remark.contains("only the channels were made anew")),
        "{row}"
    );
    send(&hub, "fred@ledger.example", 1, 1);
    wait_for("it is written elsewhere", SOON, || elsewhere.exists());
    // A configuration that has mistakes is no reason to keep an old plugin; its options are those in force.
    hub.write("sluice.cnf", "what is this\n");
    ledger.put(Version::Renamed(2));
    let row = reload(&hub);
    assert!(
        row["remarks"][0]
            .as_str()
            .is_some_and(|remark| remark.contains("options are those that are in force")),
        "{row}"
    );
    send(&hub, "fred@ledger.example", 2, 1);
    wait_for("by the new one, elsewhere", SOON, || {
        fs::read_to_string(&elsewhere).is_ok_and(|text| text.contains("end 0000002 2"))
    });
    hub.stop();
}

#[test]
fn a_configuration_with_which_a_channel_cannot_be_made_is_refused_as_a_whole() {
    for (name, keywords) in [("reload-in-hub", "maxjobs 2"), ("reload-isolated", "isolated maxjobs 2")] {
        let (mut hub, ledger) = hub_with_ledger(name, keywords, Duration::ZERO);
        let good = format!("{}ISOLATED_WRITE={}\n", ledger.options(Duration::ZERO), hub.folder().display());
        let good = if keywords.contains("isolated") { good } else { ledger.options(Duration::ZERO) };
        hub.write("tcp_ledger_option", &good);
        hub.start();
        delivers(&hub, &ledger, 0, 1);
        let process = |hub: &Site| {
            let rows = hub.json(&["channel", "list"]);
            rows.iter().find(|row| row["channel"] == "tcp_ledger").expect("its row")["pid"].clone()
        };
        let in_force = process(&hub);
        let has_other =
            |hub: &Site| hub.json(&["channel", "list"]).iter().any(|row| row["channel"] == "tcp_other");
        let before = fs::read_to_string(hub.configuration().join("sluice.cnf")).expect("our own file");
        hub.write("sluice.cnf", &format!("{before}\ntcp_other smtp\nTCP-OTHER\n"));
        for (wanted, words) in
            [("impossible", "WANTED is impossible"), ("elsewhere", "WANTED is elsewhere today")]
        {
            hub.write("tcp_ledger_option", &format!("{good}WANTED={wanted}\n"));
            let ran = hub.command(&["reload"]);
            assert_eq!(ran.code, 78, "{}{}", ran.out, ran.err);
            let before =
                format!("refused: channel tcp_ledger cannot be started with {}: ", ledger.file().display());
            for part in [&*before, words, "the old one stays in force"] {
                assert!(ran.err.contains(part), "{part}: {}", ran.err);
            }
            assert!(!has_other(&hub), "nothing of it is in force");
        }
        // The same instance, with the options that it had.
        delivers(&hub, &ledger, 1, 1);
        assert_eq!(process(&hub), in_force);
        assert!(!hub.log().contains("deferred"), "nobody was made to wait by it");
        hub.write("tcp_ledger_option", &format!("{good}WANTED=nothing\n"));
        let ran = hub.command(&["reload"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        assert!(has_other(&hub));
        delivers(&hub, &ledger, 2, 1);
        // A channel that stands still has nothing to lose: what is wrong with it may be mended step by step.
        hub.stop();
        hub.write("tcp_ledger_option", &format!("{good}WANTED=impossible\n"));
        hub.start();
        send(&hub, "fred@ledger.example", 3, 1);
        says(&hub, "WANTED is impossible");
        wait_for("it is known to stand still", SOON, || {
            let rows = hub.json(&["channel", "list"]);
            rows.iter().any(|row| row["channel"] == "tcp_ledger" && row.to_string().contains("impossible"))
        });
        hub.write("tcp_ledger_option", &format!("{good}WANTED=elsewhere\n"));
        let ran = hub.command(&["reload"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        hub.write("tcp_ledger_option", &good);
        let ran = hub.command(&["reload"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        ledger.wait_for_each_once(4, SOON);
        hub.stop();
    }
}

#[test]
fn a_file_that_is_written_over_does_not_hurt_who_runs_it() {
    let (mut hub, ledger) = hub_with_ledger("reload-overwritten", "", Duration::ZERO);
    hub.start();
    delivers(&hub, &ledger, 0, 1);
    let len = ledger.bytes(1).len();
    for (number, bytes) in [vec![0; len], vec![0xff; len / 2], Vec::new()].into_iter().enumerate() {
        fs::write(ledger.file(), bytes).expect("our own file");
        delivers(&hub, &ledger, number + 1, 1);
    }
    watch("nothing is loaded by itself", WHILE, || hub.runs() && !hub.log().contains("made anew"));
    hub.stop();
}

#[test]
fn a_file_that_changes_is_taken_in_by_itself_where_that_is_wanted() {
    let (mut hub, ledger) = hub_with_ledger("reload-watch", "", Duration::ZERO);
    hub.write("option.dat", "SPOOL_DIR=../spool\nWATCH_PLUGINS=1\n");
    hub.start();
    delivers(&hub, &ledger, 0, 1);
    fs::write(ledger.file(), "half of a").expect("our own file");
    says(&hub, "is not a shared library for this machine");
    delivers(&hub, &ledger, 1, 1);
    ledger.put(Version::WrittenOver(2));
    wait_for("the new one is in force", SOON, || hub.log().contains("generation 0000002"));
    delivers(&hub, &ledger, 2, 2);
    // What could not be loaded was tried once.
    assert_eq!(hub.log().matches("is not a shared library for this machine").count(), 1);
    hub.write("option.dat", "SPOOL_DIR=../spool\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    ledger.put(Version::WrittenOver(3));
    watch("nobody looks any more", 2 * WHILE, || !hub.log().contains("generation 0000003"));
    hub.stop();
}

#[test]
fn a_connection_under_way_is_not_broken_off_by_a_reload() {
    let good = Sink::start();
    // Longer than the plugin goes on when it is told to hurry, because the hub ends.
    good.behave(Manner { pause: Duration::from_millis(1800), ..Manner::default() });
    let mut hub = hub("reload-tcp", &[Destination::direct("tcp_next", "next.example", good.port())]);
    hub.start();
    send(&hub, "fred@next.example", 0, 3);
    wait_for("a dialogue is under way", SOON, || good.connections() > 0);
    let rows = hub.json(&["plugin", "reload", "tcp"]);
    let channels: Vec<_> =
        rows[0]["channels"].as_array().expect("channels").iter().map(|one| one["channel"].as_str()).collect();
    assert_eq!(channels, [Some("tcp_local"), Some("tcp_next")]);
    assert_eq!(arrived(&good, 3), [0, 1, 2]);
    hub.wait_for_waiting(None, 0, SOON);
    assert!(!hub.log().contains("deferred"));
    hub.stop();
}

#[test]
fn plugins_are_listed_and_shown_by_the_hub_and_without_it() {
    let (mut hub, ledger) = hub_with_ledger("plugin-show", "maxjobs 2", Duration::ZERO);
    let show = |hub: &Site| hub.json(&["plugin", "show", "ledger"])[0].clone();
    let file = ledger.file().display().to_string();
    let row = show(&hub);
    assert_eq!((row["file"].as_str(), row["generation"].as_u64()), (Some(&*file), Some(1)));
    assert_eq!(row["channels"][0]["channel"], "tcp_ledger");
    assert!(row["channels"][0]["status"].is_null(), "no hub runs: {row}");
    let options: Vec<_> = row["options"]
        .as_array()
        .expect("options")
        .iter()
        .map(|one| (one["option"].as_str(), one["value"].as_str(), one["default"].as_str()))
        .collect();
    assert_eq!(
        options,
        [
            (Some("LEDGER"), Some("a file or folder"), None),
            (Some("PAUSE"), Some("a whole number"), Some("0")),
            (Some("WANTED"), Some("text"), Some("nothing")),
        ]
    );
    hub.start();
    delivers(&hub, &ledger, 0, 1);
    ledger.put(Version::Renamed(2));
    reload(&hub);
    delivers(&hub, &ledger, 1, 2);
    let row = show(&hub);
    assert_eq!(
        (row["generation"].as_u64(), row["generations"].as_u64(), row["version"].as_str()),
        (Some(2), Some(2), Some("generation 0000002"))
    );
    let channel = &row["channels"][0];
    assert_eq!((channel["status"].as_str(), channel["generation"].as_u64()), (Some("running"), Some(2)));
    assert_eq!(
        (channel["max_jobs"].as_u64(), channel["hung"].as_u64(), channel["failures"].as_u64()),
        (Some(2), Some(0), Some(0))
    );
    let listed = hub.json(&["plugin", "list"]);
    let ours = listed.iter().find(|row| row["plugin"] == "ledger").expect("a row");
    assert_eq!((ours["generation"].as_u64(), ours["file"].as_str()), (Some(2), Some(&*file)));
    let text = hub.command(&["plugin", "show", "ledger"]);
    assert!(
        text.out.contains("generation   2 (2 in memory)") && text.out.contains("tcp_ledger: running"),
        "{}",
        text.out
    );
    for command in ["show", "reload"] {
        let ran = hub.command(&["plugin", command, "tpc"]);
        assert_eq!(ran.code, 65, "{}", ran.err);
        assert!(ran.err.contains("no plugin `tpc`") && ran.err.contains("tcp"), "{}", ran.err);
    }
    // What the plugin did wrong is to be seen.
    hub.write(
        "job_controller.cnf",
        &format!("[CHANNEL=tcp_ledger]\nMASTER_PLUGIN={}\n", built("libsluice_misbehaving.so").display()),
    );
    hub.write("tcp_ledger_option", "MODE=panic_on_delivery\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    send(&hub, "fred@ledger.example", 2, 1);
    wait_for("a failure is counted", SOON, || {
        let rows = hub.json(&["plugin", "show", "misbehaving"]);
        rows[0]["channels"][0]["failures"].as_u64().is_some_and(|failures| failures > 0)
    });
    // The configuration calls it by a path; it has a name all the same.
    let ran = hub.command(&["plugin", "reload", "misbehaving"]);
    assert!(ran.code == 0 && ran.out.starts_with("misbehaving: generation 1, "), "{}{}", ran.out, ran.err);
    hub.stop();
}

#[test]
fn a_plugin_that_is_made_anew_before_its_channel_has_anything_to_do_is_listed_once() {
    let (mut hub, ledger) = hub_with_ledger("plugin-idle", "", Duration::ZERO);
    hub.start();
    let file = ledger.file().display().to_string();
    for generation in 1..=2 {
        if generation == 2 {
            ledger.put(Version::Renamed(2));
        }
        reload(&hub);
        let rows = hub.json(&["plugin", "list"]);
        let ours: Vec<_> = rows.iter().filter(|row| row["file"] == file.as_str()).collect();
        assert_eq!(ours.len(), 1, "{rows:#?}");
        assert_eq!(ours[0]["generation"], generation);
        assert_eq!(ours[0]["channels"], serde_json::json!(["tcp_ledger"]));
    }
    // That is what it begins with.
    delivers(&hub, &ledger, 0, 2);
    assert_eq!(hub.json(&["plugin", "list"]).iter().filter(|row| row["file"] == file.as_str()).count(), 1);
    hub.stop();
}

#[test]
fn the_hub_opens_no_library_of_an_isolated_channel_to_make_it_anew() {
    let (mut hub, ledger) = hub_with_ledger("reload-isolated", "isolated", Duration::ZERO);
    hub.start();
    let maps = || {
        let pid = hub.id().expect("the hub runs");
        fs::read_to_string(format!("/proc/{pid}/maps")).expect("a map of its memory")
    };
    let name = ledger.file().file_name().and_then(|name| name.to_str()).expect("the plugin's file");
    // Nothing was delivered yet, so no process has had a look at it.
    assert_eq!(reload(&hub)["generation"], 1);
    assert!(!maps().contains(name), "the hub has it");
}
