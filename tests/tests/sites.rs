//! Sites and activators by command: `sites.cnf` is edited in place, checked as a whole first, and taken into force by a hub that
//! runs.

use sluice_testkit::{Ran, Site, message, wait_for};
use sluice_tests::{Destination, SOON, hub};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const CONTENT: &str = "! Who gets what.\n\n! the branch in the hills\n[SITE=hills]\n! their own words\nDOMAINS=hills.example,\\\n   @valley.example\nPORT=2525\nTARGET=[127.0.0.1]\n\n! and the ship\n[SITE=ship]\nDOMAINS=ship.example\nSCHEDULE=every 2h\n";

/// A hub that does not run, with two sites.
fn configured(name: &str) -> Site {
    let site = hub(
        name,
        &[
            Destination::held("tcp_hills", "hills.example", 9),
            Destination::held("tcp_ship", "ship.example", 9),
        ],
    );
    site.write("sites.cnf", CONTENT);
    site
}

fn text(site: &Site) -> String {
    fs::read_to_string(site.configuration().join("sites.cnf")).expect("sites.cnf")
}

fn done(ran: &Ran) {
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn sites_are_added_changed_and_removed_and_everything_else_stays() {
    let site = configured("sites-edited");
    done(&site.command(&[
        "site",
        "add",
        "office",
        "--domains",
        "office.example",
        "--domains",
        "@o.example",
        "--login",
        "office",
    ]));
    let added = "\n[SITE=office]\nDOMAINS=office.example\nDOMAINS=@o.example\nLOGIN=office\n";
    assert_eq!(text(&site), format!("{CONTENT}{added}"));

    done(&site.command(&["site", "set", "HILLS", "--port", "25", "--login", "hills", "--unset", "target"]));
    let changed = CONTENT.replace("PORT=2525\nTARGET=[127.0.0.1]\n", "PORT=25\nLOGIN=hills\n");
    assert_eq!(text(&site), format!("{changed}{added}"));

    done(&site.command(&["site", "remove", "office", "hills"]));
    assert_eq!(
        text(&site),
        "! Who gets what.\n\n! the branch in the hills\n\n! and the ship\n[SITE=ship]\nDOMAINS=ship.example\nSCHEDULE=every 2h\n"
    );
    let left = fs::read_dir(site.configuration())
        .expect("a folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert!(!left.into_iter().any(|name| name.contains(".new")), "nothing is left over");
}

/// Rows 4.5 and 4.10 of the mission: a list that can be added to, listed, changed and cut.
#[test]
fn row_4_5_activators_are_added_listed_changed_and_removed() {
    let site = configured("activators-edited");
    done(&site.command(&[
        "activator",
        "add",
        "one",
        "--server",
        "mail.one.example",
        "--names",
        "#q7 @example.com",
    ]));
    done(&site.command(&[
        "activator",
        "add",
        "two",
        "--server",
        "[192.0.2.7]",
        "--schedule",
        "30 6 * * mon-fri",
        "--schedule",
        "every 4h",
    ]));
    done(&site.command(&["activator", "set", "one", "--port", "2525", "--tls", "must", "--unset", "names"]));
    let rows = site.json(&["activator", "list"]);
    let names: Vec<_> = rows.iter().map(|row| row["activator"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(
        (&rows[0]["port"], &rows[0]["tls"], &rows[0]["names"]),
        (&2525.into(), &"must".into(), &serde_json::json!([]))
    );
    assert_eq!(rows[1]["schedule"], "30 6 * * mon-fri; every 4h");
    assert!(rows[1]["next_run"].as_str().is_some_and(|next| next.ends_with('Z')), "{rows:?}");
    let shown = site.json(&["activator", "show", "two"]);
    assert_eq!((&shown[0]["reachable"], &shown[0]["watch_secs"]), (&false.into(), &600.into()));
    done(&site.command(&["activator", "remove", "one", "two"]));
    assert_eq!(text(&site), CONTENT);
    assert_eq!(site.command(&["activator", "list"]).out, "no activators\n");
}

#[test]
fn row_4_9_an_activator_whose_server_cannot_reach_us_is_reported() {
    let site = configured("activator-unreachable");
    let ran = site.command(&["activator", "add", "p", "--server", "mail.p.example"]);
    done(&ran);
    assert!(ran.err.contains("activator-without-listener"), "{ran:?}");
    let ran = site.command(&["activator", "add", "self", "--server", "hub.example"]);
    assert_eq!(ran.code, 78, "{ran:?}");
    assert!(ran.err.contains("activator-of-ourselves"), "{ran:?}");
}

#[test]
fn the_file_is_made_where_there_was_none_and_not_for_everybody() {
    let site = hub("sites-new-file", &[]);
    done(&site.command(&["site", "add", "a", "--domains", "a.example"]));
    let path = site.configuration().join("sites.cnf");
    let (mode, main) = (
        fs::metadata(&path).expect("it is there"),
        fs::metadata(site.configuration().join("sluice.cnf")).expect("main"),
    );
    assert_eq!((mode.mode() & 0o777, mode.uid(), mode.gid()), (0o640, main.uid(), main.gid()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("mode");
    done(&site.command(&["site", "set", "a", "--counts", "0"]));
    assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o644, "the mode stays");
    let ran = site.command(&[
        "activator",
        "add",
        "p",
        "--server",
        "mail.p.example",
        "--login",
        "me",
        "--password",
        "hush",
    ]);
    assert_eq!(ran.code, 78, "{ran:?}");
    assert!(ran.err.contains("bad-activator-password") && ran.err.contains("chmod 640"), "{ran:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("mode");
    done(&site.command(&[
        "activator",
        "add",
        "p",
        "--server",
        "mail.p.example",
        "--login",
        "me",
        "--password",
        "hush",
    ]));
    let shown = site.command(&["activator", "show", "p"]);
    assert!(shown.out.contains("in sites.cnf") && !shown.out.contains("hush"), "{shown:?}");
}

/// For each option a value that cannot be: the status says configuration, the file is as it was.
#[test]
fn wrong_values_are_refused_and_nothing_is_written() {
    let site = configured("sites-wrong");
    for (option, value, code) in [
        ("domains", "a b@c", "bad-site-domain"),
        ("domains", "@com", "site-domain-is-public"),
        ("domains", "ship.example", "duplicate-site-domain"),
        ("queue-name", "a/b", "bad-queue-name"),
        ("channel", "tcp_shop", "site-unknown-channel"),
        ("login", "#x", "bad-option-value"),
        ("tier", "high", "bad-option-value"),
        ("tier", "dynamic", "tier-without-login"),
        ("target", "no host", "bad-site-host"),
        ("port", "0", "bad-option-value"),
        ("port", "-1", "bad-option-value"),
        ("lifetime", "30", "bad-option-value"),
        ("notices", "2d 1d", "bad-option-value"),
        ("window", "someday", "bad-window"),
        ("window", "10:00-10:00", "window-never-opens"),
        ("schedule", "* * * *", "bad-schedule"),
        ("schedule", "0 0 31 2 *", "schedule-never-runs"),
        ("max-size-in-window", "1T", "bad-option-value"),
        ("counts", "maybe", "bad-option-value"),
        ("covers", "all", "bad-option-value"),
        ("on-link-up", "2", "bad-option-value"),
    ] {
        let ran = site.command(&["site", "set", "hills", &format!("--{option}"), value]);
        assert_eq!(ran.code, 78, "--{option} {value}: {ran:?}");
        assert!(
            ran.err.contains(code) && ran.err.contains("nothing is written"),
            "--{option} {value}: {ran:?}"
        );
        assert_eq!(text(&site), CONTENT, "--{option} {value}");
    }
    for (option, value, code) in [
        ("server", "a b", "bad-site-host"),
        ("port", "70000", "bad-option-value"),
        ("names", "a@b", "bad-activator-name"),
        ("password", "x", "site-options-disagree"),
        ("password-file", "nowhere", "site-options-disagree"),
        ("login", "me", "site-options-disagree"),
        ("tls", "yes", "bad-option-value"),
        ("method", "turn", "bad-option-value"),
        ("method", "atrn", "site-options-disagree"),
        ("schedule", "soon", "bad-schedule"),
        ("window", "fun", "bad-window"),
        ("on-link-up", "on", "bad-option-value"),
        ("watch", "10", "bad-option-value"),
    ] {
        let mut arguments = vec!["activator", "add", "p"];
        let flag = format!("--{option}");
        if option != "server" {
            arguments.extend(["--server", "mail.p.example"]);
        }
        arguments.extend([flag.as_str(), value]);
        let ran = site.command(&arguments);
        assert_eq!(ran.code, 78, "--{option} {value}: {ran:?}");
        assert!(ran.err.contains(code), "--{option} {value}: {ran:?}");
        assert_eq!(text(&site), CONTENT, "--{option} {value}");
    }
}

#[test]
fn wrong_commands_have_their_own_status() {
    let site = configured("sites-usage");
    for (arguments, code, said) in [
        (&["site", "add", "ship", "--domains", "x.example"][..], 65, "there is a site `ship` already"),
        (&["site", "add", "no/name", "--domains", "x.example"], 78, "bad-site-name"),
        (&["site", "add", "empty"], 78, "site-without-domains"),
        (&["site", "add", "x", "--domains", ""], 64, "cannot stand in sites.cnf"),
        (&["site", "add", "x", "--domains", "a.example\nTIER=static"], 64, "control character"),
        (&["site", "add", "x", "--domains", "a.example\\"], 64, "ends with"),
        (&["site", "add", "x", "--port", "1", "--port", "2"], 64, "cannot be used multiple times"),
        (&["site", "add", "x", "--colour", "red"], 64, "unexpected argument"),
        (&["site", "set", "ship"], 64, "nothing to change"),
        (&["site", "set", "shop", "--port", "1"], 65, "did you mean `ship`?"),
        (&["site", "set", "ship", "--unset", "prot"], 64, "did you mean `port`?"),
        (&["site", "set", "ship", "--port", "1", "--unset", "PORT"], 64, "set by the same command"),
        (&["site", "remove", "ship", "shop"], 65, "there is no site `shop`"),
        (&["site", "show", "shop"], 65, "did you mean `ship`?"),
        (&["activator", "show", "p"], 65, "there is no activator `p`"),
        (&["activator", "remove", "p"], 65, "there is no activator `p`"),
        (&["activator", "add", "p"], 78, "activator-without-server"),
    ] {
        let ran = site.command(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(said), "{arguments:?}: {ran:?}");
        assert_eq!(text(&site), CONTENT, "{arguments:?}");
    }
    site.write("sluice.cnf", "nonsense\n");
    let ran = site.command(&["site", "add", "x", "--domains", "x.example"]);
    assert_eq!(ran.code, 78, "an error elsewhere: {ran:?}");
    assert_eq!(text(&site), CONTENT);
}

#[test]
fn a_dry_run_shows_the_lines_and_writes_none() {
    let site = configured("sites-dry");
    let ran = site.command(&["site", "set", "ship", "--schedule", "@daily", "--dry-run"]);
    done(&ran);
    assert_eq!(ran.out, "-SCHEDULE=every 2h\n+SCHEDULE=@daily\n");
    assert_eq!(text(&site), CONTENT);
    assert_eq!(site.command(&["site", "set", "ship", "--schedule", "soon", "--dry-run"]).code, 78);
}

#[test]
fn a_site_in_an_included_file_is_changed_there() {
    let site = configured("sites-included");
    site.write("more", "[SITE=cabin]\nDOMAINS=cabin.example\n");
    site.write("sites.cnf", "<more\n");
    let ran = site.command(&["site", "set", "cabin", "--port", "25"]);
    assert_eq!(ran.code, 65, "{ran:?}");
    assert!(ran.err.contains("includes; change it there"), "{ran:?}");
    assert_eq!(site.command(&["site", "add", "cabin", "--domains", "c.example"]).code, 65);
    assert_eq!(site.json(&["site", "list"])[0]["site"], "cabin");
}

#[test]
fn list_and_show_have_stable_fields() {
    let site = configured("sites-shown");
    let rows = site.json(&["site", "list"]);
    assert_eq!(rows.len(), 2);
    let fields = |row: &serde_json::Value| -> Vec<String> {
        row.as_object().expect("an object").keys().cloned().collect()
    };
    let listed = [
        "channel",
        "counts",
        "covers",
        "domains",
        "file",
        "lifetime_secs",
        "line",
        "logins",
        "max_size_in_window",
        "notices_secs",
        "on_link_up",
        "port",
        "queue_name",
        "schedule",
        "site",
        "target",
        "tier",
        "windows",
    ];
    assert_eq!(fields(&rows[0]), listed);
    assert_eq!(rows[0]["domains"], serde_json::json!(["hills.example", "@valley.example"]));
    assert_eq!((&rows[0]["tier"], &rows[0]["line"]), (&"static".into(), &4.into()));
    let shown = site.json(&["site", "show", "ship", "hills"]);
    let extra = [
        "asked_by",
        "bytes",
        "channels",
        "goes_to",
        "messages",
        "next_release",
        "next_window",
        "window_open",
    ];
    let mut all: Vec<String> = listed.iter().chain(&extra).map(|field| (*field).to_owned()).collect();
    all.sort_unstable();
    assert_eq!(fields(&shown[0]), all);
    assert_eq!(shown[0]["channels"], serde_json::json!(["tcp_ship"]));
    assert_eq!(shown[1]["goes_to"], "[127.0.0.1]");
    assert!(shown[0]["next_release"].is_string() && shown[0]["messages"].is_null(), "{shown:?}");
    let text = site.command(&["site", "show", "ship"]).out;
    assert!(
        text.starts_with("site ship\n") && text.contains("waits in") && text.contains("tcp_ship"),
        "{text}"
    );
}

#[test]
fn a_running_hub_takes_a_new_site_into_force() {
    let mut site = configured("sites-running");
    site.start();
    let mut talk = site.talk();
    talk.deliver("a@origin.example", &["fred@ship.example"], &message(1, 500)).expect("a reply");
    talk.quit();
    wait_for("the message in the queue", SOON, || site.waiting(Some("tcp_ship")) == 1);
    let shown = site.json(&["site", "show", "ship"]);
    assert_eq!(shown[0]["messages"], 1, "{shown:?}");
    assert!(shown[0]["bytes"].as_u64().is_some_and(|bytes| bytes > 500), "{shown:?}");

    let ran = site.command(&["site", "set", "ship", "--counts", "0"]);
    done(&ran);
    assert!(ran.out.contains("the new configuration is in force"), "{ran:?}");
    let ran = site.command(&["site", "set", "ship", "--counts", "1", "--no-reload"]);
    done(&ran);
    assert!(!ran.out.contains("in force"), "{ran:?}");
    site.stop();
    let ran = site.command(&["site", "set", "ship", "--counts", "0"]);
    done(&ran);
    assert!(ran.err.contains("no hub runs"), "{ran:?}");
}
