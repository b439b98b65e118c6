//! A line that comes up while a release is under way (row 4.14): the mail of that release goes, and nothing is put off.
//!
//! The hub and the site run in a network of their own that has no way to the site's address for the first seconds. How long a
//! connection that is slow in coming is waited for is tested in the `tcp` plugin.
#![allow(clippy::unwrap_used)]

use sluice_testkit::{Site, built, maildir};
use sluice_tests::{configuration, send};
use std::fs;
use std::process::Command;

/// Starts both, releases, and makes the way three seconds later.
const ALONE: &str = r#"
ip link set lo up || exit 98
"$SLUICE" run --config "$SITE" 2>"$SITE/log" & site=$!
"$SLUICE" run --config "$HUB" 2>"$HUB/log" & hub=$!
wait_for() {
    tries=0
    until eval "$1"; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || { kill "$hub" "$site"; exit "$2"; }
        sleep 0.1
    done
}
wait_for 'grep -q listening "$SITE/log" && grep -q listening "$HUB/log"' 97
"$SLUICE" trigger --config "$HUB" site7.example || exit 96
sleep 3
[ "$(ls "$INBOX" 2>/dev/null | wc -l)" = 0 ] || exit 95
ip addr add 10.99.0.1/32 dev lo || exit 94
wait_for '[ "$(ls "$INBOX" 2>/dev/null | wc -l)" = 3 ]' 93
wait_for '"$SLUICE" release list --config "$HUB" --format json | grep -q "\"end\":\"[a-z]"' 92
"$SLUICE" release list --config "$HUB" --format json
kill "$hub" "$site"
wait "$hub" "$site"
"#;

#[test]
fn row_4_14_a_line_that_comes_up_during_a_release_gets_its_mail() {
    let alone = Command::new("unshare").args(["-rn", "ip", "link", "set", "lo", "up"]).output();
    if !alone.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("left out: a network of our own is not to be had here: {alone:?}");
        return;
    }
    let site = Site::new("dialled-site");
    site.write("l_option", "MAILDIR_ROOT=../mail\n");
    site.write(
        "sluice.cnf",
        "site7.example $U@site7.example\n\nl\nsite7.example\n\ntcp_local smtp nomx\nTCP-DAEMON\n",
    );
    let port = site.address().port();
    // On all addresses, that of the line included.
    site.write("dispatcher.cnf", &format!("[SERVICE=SMTP]\nPORT={port}\n"));
    let mut hub = Site::new("dialled-hub");
    let destination = sluice_tests::Destination {
        keywords: "periodic",
        ..sluice_tests::Destination::held("tcp_dialup", "site7.example", port)
    };
    hub.write("sluice.cnf", &configuration("", &[destination]).replace("[127.0.0.1]", "[10.99.0.1]"));
    hub.start();
    send(&hub, "fred@site7.example", 0, 3);
    hub.stop();
    let inbox = site.folder().join("mail/fred");
    let output = Command::new("unshare")
        .args(["-rn", "sh", "-c", ALONE])
        .env("SLUICE", built("sluice"))
        .env("HUB", hub.configuration())
        .env("SITE", site.configuration())
        .env("INBOX", inbox.join("new"))
        .output()
        .unwrap();
    let log = fs::read_to_string(hub.configuration().join("log")).unwrap_or_default();
    let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{said}\n{log}");
    assert_eq!(maildir(&inbox).len(), 3);
    let record: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(record["delivered"]["messages"], 3, "{record}");
    assert_eq!(record["deferred"]["messages"], 0, "{record}");
}
