//! Channels whose plugins run in processes of their own: what kills a plugin costs a restart and no mail.

use sluice_testkit::{Batch, Sink, Site, built, number_of, wait_for};
use sluice_tests::{Destination, Ledger, SOON, Version, hub, numbers, send};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A hub with an isolated channel that is carried by `misbehaving`, beside a good one.
fn hub_with(name: &str, options: &str, good: &Sink) -> Site {
    let hub = hub(
        name,
        &[
            Destination { channel: "tcp_bad", domain: "bad.example", port: 1, keywords: "isolated" },
            Destination::direct("tcp_next", "next.example", good.port()),
        ],
    );
    let plugin = built("libsluice_misbehaving.so");
    hub.write("job_controller.cnf", &format!("[CHANNEL=tcp_bad]\nMASTER_PLUGIN={}\n", plugin.display()));
    hub.write("tcp_bad_option", options);
    hub
}

fn says(hub: &Site, what: &str) {
    wait_for(&format!("the log says {what:?}"), SOON, || hub.log().contains(what));
}

/// How often the log has this to say.
fn times(hub: &Site, what: &str) -> usize {
    hub.log().matches(what).count()
}

/// Process ids of the children of the hub.
fn children(hub: &Site) -> Vec<u32> {
    let pid = hub.id().expect("the hub runs");
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(text.split_ascii_whitespace().filter_map(|number| number.parse::<u32>().ok()));
    }
    found
}

fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()), "{pid} could not be killed");
}

fn exists(pid: u32) -> bool {
    // A zombie that nobody waits for any more does no harm.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|text| !text.contains(") Z "))
}

#[test]
fn a_plugin_that_ends_its_process_costs_its_own_channel_and_no_mail() {
    for (mode, message) in [
        ("aborts", "died of signal 6 (SIGABRT)"),
        ("segfaults", "died of signal 11 (SIGSEGV)"),
        ("exits", "ended by itself with status 3"),
        ("devours", "its process"),
        ("burns", "did not finish within"),
        ("panic_on_delivery", "a panic on"),
        ("hang", "did not finish within"),
        ("fail_in_create", "the moon is in the wrong house"),
        ("no_such_mode", "no_such_mode"),
        ("never_settles", "a process of its own"),
    ] {
        let good = Sink::start();
        let options = format!("MODE={mode}\nPAUSE=20000\nISOLATED_MEMORY=64M\n");
        let mut hub = hub_with(mode, &options, &good);
        hub.write("option.dat", "SPOOL_DIR=../spool\nDELIVERY_DEADLINE=1s\n");
        hub.start();
        Batch::new(hub.address(), "fred@bad.example", 3).send_all();
        says(&hub, message);
        Batch::new(hub.address(), "fred@next.example", 5).send_all();
        good.wait(5, SOON);
        assert!(hub.runs());
        assert_eq!(hub.waiting(Some("tcp_bad")), 3, "mail of the bad channel waits ({mode})");
        hub.stop();

        // With a plugin that does what it should, the same mail goes out: nothing was lost.
        hub.write("tcp_bad_option", "MODE=delivers_all\n");
        hub.start();
        // Some were held by now, for what they have cost.
        hub.command(&["queue", "release", "--channel", "tcp_bad", "--yes"]);
        hub.json(&["trigger", "#tcp_bad"]);
        hub.wait_for_waiting(Some("tcp_bad"), 0, SOON);
        hub.stop();
    }
}

#[test]
fn a_plugin_in_a_process_of_its_own_does_not_command_the_hub() {
    let good = Sink::start();
    let mut hub = hub_with("commands", "", &good);
    let socket = hub.folder().join("spool/control.sock");
    hub.write("tcp_bad_option", &format!("MODE=commands_the_hub\nPLACE={}\n", socket.display()));
    hub.start();
    assert!(socket.exists(), "{}", socket.display());
    Batch::new(hub.address(), "fred@bad.example", 1).send_all();
    wait_for("it has tried", SOON, || hub.json(&["queue", "list"])[0]["attempts"] == 1);
    let row = hub.json(&["queue", "list"]).remove(0);
    let said = row["last_error"].as_str().unwrap_or_default();
    if hub.log().contains("no seccomp") {
        eprintln!("this kernel has no seccomp, nothing was tried");
    } else {
        assert!(said.contains("may not command the hub"), "{row}");
        says(&hub, "a client of the control socket is refused");
    }
    // What it wanted stopped goes on.
    Batch::new(hub.address(), "fred@next.example", 1).send_all();
    good.wait(1, SOON);
    hub.stop();
}

#[test]
fn a_message_that_kills_three_processes_is_held_and_its_channel_goes_on() {
    let good = Sink::start();
    let mut hub = hub_with("culprit", "MODE=aborts_when_addressed\n", &good);
    hub.start();
    Batch::new(hub.address(), "abort@bad.example", 1).send_all();
    says(&hub, "held: this message needs an operator");
    assert_eq!(
        times(&hub, "its process died of signal 6 (SIGABRT)") / 2,
        3,
        "each death is told by two parts of the hub"
    );
    Batch::new(hub.address(), "fred@bad.example", 20).send_all();
    hub.wait_for_waiting(Some("tcp_bad"), 1, SOON);
    let row = hub.json(&["queue", "list"]).remove(0);
    assert_eq!(row["state"], "held", "{row}");
    let id = row["id"].as_str().expect("an id").to_owned();
    let shown = hub.command(&["queue", "show", &id]).out;
    assert!(shown.contains("3 processes of the channel died with it in hand"), "{shown}");
    // It is known after a restart as well; and let go, it has one try before it is held again.
    hub.stop();
    hub.start();
    assert_eq!(hub.json(&["queue", "list"])[0]["state"], "held");
    let deaths = times(&hub, "its process died of signal 6");
    hub.command(&["queue", "release", &id]);
    wait_for("it is held again", SOON, || {
        times(&hub, "its process died of signal 6") > deaths
            && hub.json(&["queue", "list"])[0]["state"] == "held"
    });
    hub.stop();
}

#[test]
fn how_often_a_message_has_killed_is_known_after_a_restart() {
    let good = Sink::start();
    let mut hub = hub_with("counting", "MODE=aborts_when_addressed\n", &good);
    hub.start();
    Batch::new(hub.address(), "abort@bad.example", 1).send_all();
    says(&hub, "its process died of signal 6 (SIGABRT)");
    hub.stop();
    let before = times(&hub, "a channel's plugin failed");
    assert!((1..3).contains(&before), "{before}");
    hub.start();
    says(&hub, "held: this message needs an operator");
    assert_eq!(times(&hub, "a channel's plugin failed"), 3);
    hub.stop();
}

#[test]
fn killed_children_lose_nothing_and_die_with_the_hub() {
    let good = Sink::start();
    let mut hub = hub(
        "killed",
        &[Destination {
            channel: "tcp_next",
            domain: "next.example",
            port: good.port(),
            keywords: "isolated maxjobs 4",
        }],
    );
    hub.start();
    let messages = 400;
    let mut kills = 0;
    for round in 0..8 {
        let batch = Batch::new(hub.address(), "fred@next.example", messages / 8);
        Batch { first: round * messages / 8, ..batch }.send_all();
        for pid in children(&hub) {
            kill(pid);
            kills += 1;
        }
    }
    assert!(kills > 0, "there was nothing to kill");
    hub.wait_for_waiting(Some("tcp_next"), 0, SOON);
    let mut copies: HashMap<usize, usize> = HashMap::new();
    for mail in good.take_arrived() {
        *copies.entry(number_of(&mail.content).expect("one of ours")).or_default() += 1;
    }
    assert_eq!(copies.len(), messages, "every message arrived");
    let twice: usize = copies.values().map(|count| count - 1).sum();
    // Four workers, each of which has one in hand, for each death; and what was finished and not yet told.
    assert!(twice <= kills * 64, "{twice} copies for {kills} deaths");

    // A hub that is killed takes its children along.
    Batch::new(hub.address(), "fred@next.example", 5).send_all();
    wait_for("a child", SOON, || !children(&hub).is_empty());
    let orphans = children(&hub);
    hub.kill();
    wait_for("the end of the children", SOON, || !orphans.iter().any(|pid| exists(*pid)));
    hub.start();
    hub.wait_for_waiting(None, 0, SOON);
    hub.stop();
}

#[test]
fn the_next_start_says_in_whose_code_the_last_one_ended() {
    let good = Sink::start();
    let mut hub = hub_with("last_calls", "MODE=aborts\n", &good);
    hub.replace("sluice.cnf", " isolated", "");
    hub.start();
    Batch::new(hub.address(), "fred@bad.example", 1).send_all();
    hub.wait_for_end();
    hub.write("tcp_bad_option", "MODE=delivers_all\n");
    hub.start();
    says(&hub, "the hub ended without a stop; a worker of this plugin had been lent a delivery");
    let log = hub.log();
    let line = log.lines().find(|line| line.contains("the hub ended without a stop")).expect("the line");
    assert!(line.contains("tcp_bad") && line.contains("misbehaving") && line.contains("in_hand=1"), "{line}");
    hub.json(&["trigger", "#tcp_bad"]);
    hub.wait_for_waiting(Some("tcp_bad"), 0, SOON);
    hub.stop();
    // After a stop there is nothing to say.
    hub.start();
    assert_eq!(times(&hub, "the hub ended without a stop"), 1);
    hub.stop();
}

#[test]
fn the_operator_is_shown_which_channel_has_a_process_and_the_hub_does_not_load_its_plugin() {
    let good = Sink::start();
    let mut hub = hub_with("shown", "MODE=delivers_all\n", &good);
    hub.start();
    let channel = |hub: &Site, name: &str| {
        let rows = hub.json(&["channel", "list"]);
        rows.into_iter().find(|row| row["channel"] == name).expect("the channel's row")
    };
    let row = channel(&hub, "tcp_bad");
    assert_eq!((row["isolated"].as_bool(), row["pid"].is_null()), (Some(true), true), "{row}");
    let shown = hub.command(&["plugin", "show", "misbehaving"]).out;
    assert!(shown.contains("tcp_bad: idle") && shown.contains("isolated"), "{shown}");

    Batch::new(hub.address(), "fred@bad.example", 1).send_all();
    hub.wait_for_waiting(Some("tcp_bad"), 0, SOON);
    let pid = u32::try_from(channel(&hub, "tcp_bad")["pid"].as_u64().expect("an id")).expect("an id");
    assert!(children(&hub).contains(&pid), "it is a child of the hub");
    let rows = hub.json(&["plugin", "list"]);
    let row = rows.iter().find(|row| row["channels"][0] == "tcp_bad").expect("the plugin's row");
    assert_eq!((row["isolated"].as_bool(), row["pids"][0].as_u64()), (Some(true), Some(pid.into())), "{row}");
    let shown = hub.json(&["plugin", "show", "misbehaving"]).remove(0);
    let of_channel = &shown["channels"][0];
    assert_eq!(
        (of_channel["isolated"].as_bool(), of_channel["pid"].as_u64()),
        (Some(true), Some(pid.into())),
        "{shown}"
    );
    assert!(shown["options"].as_array().is_some_and(|options| !options.is_empty()), "{shown}");
    let next = channel(&hub, "tcp_next");
    assert_eq!((next["isolated"].as_bool(), next["pid"].is_null()), (Some(false), true), "{next}");
    let maps = fs::read_to_string(format!("/proc/{}/maps", hub.id().expect("it runs"))).expect("its maps");
    assert!(!maps.contains("misbehaving"), "the hub has not loaded it to look at it");
    hub.stop();
}

#[test]
fn what_an_isolated_channel_brings_in_arrives_once() {
    let good = Sink::start();
    let site = Site::new("brings-in");
    let rules = "later.example $U%later.example@REPROCESS-DAEMON$1N\n\
                 later.example $U%again.next.example@TCP_NEXT$1M$Mtcp_local\n";
    let to = [Destination::direct("tcp_next", "next.example", good.port())];
    let configuration = sluice_tests::configuration("", &to);
    site.write(
        "sluice.cnf",
        &format!("{rules}{configuration}\nreprocess isolated maxjobs 4\nREPROCESS-DAEMON\n"),
    );
    let mut hub = site;
    hub.start();
    // The first sizes lie in the socket's frames, the last does not fit into one.
    let mut sent = 0;
    for size in [300, 5000, 300_000] {
        let batch =
            Batch { first: sent, sessions: 4, size, ..Batch::new(hub.address(), "fred@later.example", 50) };
        batch.send_all();
        sent += 50;
    }
    let arrived = good.wait(sent, SOON);
    assert!(!children(&hub).is_empty(), "it has a process of its own");
    hub.wait_for_waiting(None, 0, SOON);
    assert_eq!(good.count(), sent, "none twice");
    assert_eq!(numbers(&arrived), (0..sent).collect::<Vec<_>>());
    assert!(arrived.iter().all(|mail| mail.to == ["fred@again.next.example"]));
    // Content and its length are what was sent.
    let longest = arrived.iter().map(|mail| mail.content.len()).max().unwrap_or(0);
    assert!(longest >= 300_000, "{longest}");
    hub.stop();
}

/// A hub with an isolated channel that is carried by the ledger's plugin.
fn hub_with_ledger(name: &str) -> (Site, Ledger) {
    let keywords = "isolated maxjobs 4";
    let hub =
        hub(name, &[Destination { channel: "tcp_ledger", domain: "ledger.example", port: 1, keywords }]);
    let ledger = Ledger::build(&hub);
    hub.write(
        "job_controller.cnf",
        &format!("[CHANNEL=tcp_ledger]\nMASTER_PLUGIN={}\n", ledger.file().display()),
    );
    hub.write("tcp_ledger_option", &options_of(&hub, &ledger));
    (hub, ledger)
}

/// Options with which it delivers.
fn options_of(hub: &Site, ledger: &Ledger) -> String {
    let folder = hub.folder().display().to_string();
    format!("{}ISOLATED_WRITE={folder}\n", ledger.options(Duration::from_millis(2)))
}

/// Sends messages while `turns` takes its turns, and returns how many.
fn with_mail(hub: &Site, turns: impl FnOnce()) -> usize {
    let (address, stop) = (hub.address(), AtomicBool::new(false));
    thread::scope(|scope| {
        let stop = &stop;
        let sender = scope.spawn(move || {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                let batch = Batch::new(address, "fred@ledger.example", 40);
                Batch { first: sent, sessions: 4, ..batch }.send_all();
                sent += 40;
            }
            sent
        });
        let done = catch_unwind(AssertUnwindSafe(turns));
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().expect("a sender that nothing happened to");
        done.expect("what is done meanwhile");
        sent
    })
}

/// Ten more deliveries are begun or ended.
fn mail_goes_on(ledger: &Ledger) {
    let before = ledger.lines().len();
    wait_for("mail goes through", SOON, || ledger.lines().len() >= before + 10);
}

#[test]
fn reloads_of_an_isolated_plugin_under_mail_lose_nothing_and_double_nothing() {
    let (mut hub, ledger) = hub_with_ledger("isolated-reload");
    hub.start();
    let sent = with_mail(&hub, || {
        for version in 2..=11 {
            mail_goes_on(&ledger);
            ledger.put(match version % 2 {
                0 => Version::Renamed(version),
                _ => Version::WrittenOver(version),
            });
            let row = hub.json(&["plugin", "reload", "ledger"]).remove(0);
            assert_eq!(row["version"], format!("generation {version:07}"), "{row}");
            assert_eq!(row["channels"][0]["channel"], "tcp_ledger", "{row}");
        }
    });
    ledger.wait_for_each_once(sent, SOON);
    hub.wait_for_waiting(None, 0, SOON);
    assert!(ledger.versions().len() > 5, "most of them have delivered: {:?}", ledger.versions());
    assert!(!hub.log().contains("deferred"), "nobody was made to wait by it");
    // The processes of old generations end when they hold nothing any more.
    wait_for("one process is left", SOON, || children(&hub).len() == 1);
    hub.stop();
}

#[test]
fn a_renewal_whose_channel_cannot_be_made_leaves_the_old_process_at_work() {
    let (mut hub, ledger) = hub_with_ledger("isolated-refused");
    hub.start();
    let good = options_of(&hub, &ledger);
    let before = format!("channel tcp_ledger cannot be started with {}: ", ledger.file().display());
    let sent = with_mail(&hub, || {
        mail_goes_on(&ledger);
        let pid = children(&hub);
        assert_eq!(pid.len(), 1, "{pid:?}");
        for (version, (wanted, words)) in (2..).zip([
            ("impossible", "WANTED is impossible"),
            ("elsewhere", "WANTED is elsewhere today"),
            ("nobody", "its process died of signal 6 (SIGABRT)"),
            ("patience", "it was not created within 10s"),
        ]) {
            ledger.put(Version::Renamed(version));
            hub.write("tcp_ledger_option", &format!("{good}WANTED={wanted}\n"));
            let ran = hub.command(&["plugin", "reload", "ledger"]);
            assert_eq!(ran.code, 78, "{wanted}: {}{}", ran.out, ran.err);
            for part in [&*before, words, "what is in force stays in force"] {
                assert!(ran.err.contains(part), "{wanted}: {}", ran.err);
            }
            mail_goes_on(&ledger);
            wait_for("the new process has gone", SOON, || children(&hub) == pid);
        }
        assert_eq!(ledger.versions(), [1], "nobody else has had mail");
        hub.write("tcp_ledger_option", &good);
        ledger.put(Version::Renamed(6));
        let row = hub.json(&["plugin", "reload", "ledger"]).remove(0);
        assert_eq!(row["version"], "generation 0000006", "{row}");
        wait_for("the new one delivers", SOON, || ledger.versions() == [1, 6]);
    });
    ledger.wait_for_each_once(sent, SOON);
    hub.wait_for_waiting(None, 0, SOON);
    assert!(!hub.log().contains("deferred"), "nobody was made to wait by it");
    hub.stop();
}

/// Sends a message, and waits until this version of the plugin has delivered it.
fn delivers(hub: &Site, ledger: &Ledger, number: usize, version: u32) {
    send(hub, "fred@ledger.example", number, 1);
    wait_for("it is delivered", SOON, || ledger.delivered().contains_key(&number));
    let line = ledger.lines().into_iter().find(|line| line.number == number).expect("its line");
    assert_eq!(line.version, version, "message {number}");
}

/// Kills the one process that there is, when it has nothing in hand that would be delivered again.
fn kill_the_child(hub: &Site) {
    hub.wait_for_waiting(None, 0, SOON);
    wait_for("one process", SOON, || children(hub).len() == 1);
    let deaths = times(hub, "died of signal 9");
    children(hub).into_iter().for_each(kill);
    wait_for("its death is told", SOON, || times(hub, "died of signal 9") > deaths);
}

#[test]
fn a_process_that_died_is_followed_by_one_with_the_plugin_that_is_in_force() {
    let (mut hub, ledger) = hub_with_ledger("isolated-in-force");
    hub.start();
    let good = options_of(&hub, &ledger);
    delivers(&hub, &ledger, 0, 1);
    // A file that a reload has refused.
    hub.write("tcp_ledger_option", &format!("{good}WANTED=impossible\n"));
    ledger.put(Version::Renamed(2));
    let ran = hub.command(&["plugin", "reload", "ledger"]);
    assert_eq!(ran.code, 78, "{}{}", ran.out, ran.err);
    hub.write("tcp_ledger_option", &good);
    kill_the_child(&hub);
    delivers(&hub, &ledger, 1, 1);
    // One that nobody has looked at, and none at all.
    fs::write(ledger.file(), "rubbish").expect("our own file");
    kill_the_child(&hub);
    delivers(&hub, &ledger, 2, 1);
    fs::remove_file(ledger.file()).expect("our own file");
    kill_the_child(&hub);
    delivers(&hub, &ledger, 3, 1);
    // One that a reload has taken.
    ledger.put(Version::Renamed(4));
    let row = hub.json(&["plugin", "reload", "ledger"]).remove(0);
    assert_eq!(row["version"], "generation 0000004", "{row}");
    ledger.put(Version::WrittenOver(5));
    kill_the_child(&hub);
    delivers(&hub, &ledger, 4, 4);
    // A configuration with other options makes an instance anew, of the same plugin.
    let before = children(&hub);
    hub.write("tcp_ledger_option", &format!("{good}ISOLATED_MEMORY=300M\n"));
    hub.command(&["reload"]);
    delivers(&hub, &ledger, 5, 4);
    wait_for("the one before has gone", SOON, || children(&hub).len() == 1 && children(&hub) != before);
    let row = hub.json(&["plugin", "show", "ledger"]).remove(0);
    let shown = (row["file"].as_str(), row["version"].as_str());
    assert_eq!(shown, (ledger.file().to_str(), Some("generation 0000004")), "{row}");
    // Who starts the hub anew has the file.
    hub.stop();
    hub.start();
    delivers(&hub, &ledger, 6, 5);
    ledger.wait_for_each_once(7, SOON);
    assert!(!hub.log().contains("deferred"), "nobody was made to wait by it");
    hub.stop();
}

#[test]
fn channels_of_an_isolated_plugin_and_their_processes_have_one_copy_of_it() {
    let channels = ["tcp_ledger", "tcp_other"];
    let to = ["ledger.example", "other.example"];
    let destination = |(channel, domain)| Destination { channel, domain, port: 1, keywords: "isolated" };
    let mut hub = hub("isolated-copy", &channels.into_iter().zip(to).map(destination).collect::<Vec<_>>());
    let ledger = Ledger::build(&hub);
    let plugin = ledger.file().display().to_string();
    let controller = channels.map(|channel| format!("[CHANNEL={channel}]\nMASTER_PLUGIN={plugin}\n"));
    hub.write("job_controller.cnf", &controller.concat());
    channels.iter().for_each(|channel| hub.write(&format!("{channel}_option"), &options_of(&hub, &ledger)));
    hub.start();
    // The numbers of the copies that processes have loaded, and how many the hub keeps.
    let copies = |hub: &Site| {
        let mut loaded: Vec<String> = Vec::new();
        for pid in children(hub) {
            let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("its maps");
            let of_copy = maps.lines().filter(|line| line.contains("/memfd:libsluice_ledger.so"));
            loaded.extend(of_copy.filter_map(|line| line.split_ascii_whitespace().nth(4).map(str::to_owned)));
        }
        loaded.sort();
        loaded.dedup();
        let open = fs::read_dir(format!("/proc/{}/fd", hub.id().expect("it runs"))).expect("its descriptors");
        let kept = open.flatten().filter_map(|one| fs::read_link(one.path()).ok());
        let kept = kept.filter(|link| link.to_string_lossy().contains("memfd:libsluice_ledger.so")).count();
        (loaded, kept)
    };
    let both_deliver = |first: usize| {
        to.iter().zip(first..).for_each(|(to, number)| send(&hub, &format!("fred@{to}"), number, 1));
        ledger.wait_for_each_once(first + 2, SOON);
        wait_for("two processes", SOON, || children(&hub).len() == 2);
    };
    both_deliver(0);
    let (first, kept) = copies(&hub);
    assert_eq!((first.len(), kept), (1, 1), "{first:?}");
    ledger.put(Version::WrittenOver(2));
    hub.json(&["plugin", "reload", "ledger"]);
    both_deliver(2);
    wait_for("the old copy has gone", SOON, || copies(&hub).1 == 1);
    let (second, _) = copies(&hub);
    assert!(second.len() == 1 && second != first, "{first:?} {second:?}");
    hub.stop();
}

#[test]
fn the_file_of_an_isolated_plugin_is_taken_in_by_itself_where_that_is_wanted() {
    let (mut hub, ledger) = hub_with_ledger("isolated-watch");
    hub.write("option.dat", "SPOOL_DIR=../spool\nWATCH_PLUGINS=1\n");
    hub.start();
    let good = options_of(&hub, &ledger);
    let delivers = |number: usize, version: u32| {
        send(&hub, "fred@ledger.example", number, 1);
        wait_for("it is delivered", SOON, || ledger.delivered().contains_key(&number));
        let line = ledger.lines().into_iter().find(|line| line.number == number).expect("its line");
        assert_eq!(line.version, version, "message {number}");
    };
    let refusals = |words: &str| {
        let log = hub.log();
        log.lines().filter(|line| line.contains("is not made anew") && line.contains(words)).count()
    };
    delivers(0, 1);
    fs::write(ledger.file(), "half of a").expect("our own file");
    wait_for("it is refused", SOON, || refusals("is not a shared library for this machine") == 1);
    delivers(1, 1);
    // One that opens, and makes no channel of the options that there are by now.
    hub.write("tcp_ledger_option", &format!("{good}WANTED=impossible\n"));
    ledger.put(Version::WrittenOver(2));
    wait_for("it is refused", SOON, || refusals("WANTED is impossible") == 1);
    delivers(2, 1);
    hub.write("tcp_ledger_option", &good);
    ledger.put(Version::Renamed(3));
    let is_in_force = |line: &str| line.contains("the plugin was made anew") && line.contains("0000003");
    wait_for("the new one is in force", SOON, || hub.log().lines().any(is_in_force));
    delivers(3, 3);
    ledger.wait_for_each_once(4, SOON);
    wait_for("one process is left", SOON, || children(&hub).len() == 1);
    // What could not be used was tried once each.
    assert_eq!(
        (refusals("is not a shared library for this machine"), refusals("WANTED is impossible")),
        (1, 1)
    );
    hub.stop();
}

#[test]
fn a_link_to_the_file_of_an_isolated_plugin_is_followed_to_what_has_changed() {
    let (mut hub, ledger) = hub_with_ledger("isolated-watch-link");
    hub.write("option.dat", "SPOOL_DIR=../spool\nWATCH_PLUGINS=1\n");
    let (link, first) = (hub.folder().join("link.so"), hub.folder().join("first.so"));
    fs::copy(ledger.file(), &first).expect("our own file");
    symlink(&first, &link).expect("a link");
    hub.write("job_controller.cnf", &format!("[CHANNEL=tcp_ledger]\nMASTER_PLUGIN={}\n", link.display()));
    hub.start();
    let delivers = |number: usize, version: u32| {
        let words = format!("generation {version:07}");
        let is_in_force = |line: &str| line.contains("the plugin was made anew") && line.contains(&words);
        wait_for("it is in force", SOON, || version == 1 || hub.log().lines().any(is_in_force));
        send(&hub, "fred@ledger.example", number, 1);
        wait_for("it is delivered", SOON, || ledger.delivered().contains_key(&number));
        let line = ledger.lines().into_iter().find(|line| line.number == number).expect("its line");
        assert_eq!(line.version, version, "message {number}");
    };
    delivers(0, 1);
    // The link is led to another file, and then that file is changed.
    ledger.put(Version::Renamed(2));
    let beside = link.with_extension("new");
    symlink(ledger.file(), &beside).expect("a link");
    fs::rename(&beside, &link).expect("our own link");
    delivers(1, 2);
    ledger.put(Version::WrittenOver(3));
    delivers(2, 3);
    ledger.wait_for_each_once(3, SOON);
    let renewals = hub.log().lines().filter(|line| line.contains("the plugin was made anew")).count();
    assert_eq!(renewals, 2, "once for each");
    hub.stop();
}
