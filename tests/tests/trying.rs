//! `sluice test channel`, `sluice test rewrite` and `sluice test match`: what an operator reads before anything runs.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::process::{Command, Stdio};

use sluice_testkit::{Site, built};

const MAIN: &str = "\
hub.example            $U@hub.example
site7.example.net      $U%site7.example.net@TCP-DIALUP
lab.example            $U%$(lab)@TCP-DAEMON
.                      $U%$H@TCP-DAEMON

defaults logging notices 1 2 4 7

l
hub.example

tcp_local smtp mx switchchannel
TCP-DAEMON

tcp_dialup smtp mx daemon dial.example.net periodic blocketrn holdlimit 30 group_of_ours \\
  description \"Sites that dial\"
TCP-DIALUP hub.dial.example
remote7 site7.example.net
";

fn site() -> Site {
    let site = Site::new("trying");
    site.write("pmdf.cnf", MAIN);
    site.write("tcp_dialup_option", "MAX_MX_RECORDS=2\nALLOW_ETRNS_PER_SESSION=3\n");
    site.write("option.dat", "SPOOL_DIR=../spool\nPMDF_POST_INTERVAL=2h\n");
    site.write("aliases", "desk: a@site7.example.net, b@far.example\n");
    site.write("general.txt", "lab one.lab.example\n");
    site
}

#[test]
fn a_channel_is_shown_with_the_places_of_its_keywords_and_the_way_of_a_message() {
    let site = site();
    let ran = site.command(&["test", "channel", "tcp_dialup"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    for line in [
        "  description           = Sites that dial",
        "  official host         = TCP-DIALUP",
        "  local host alias      = hub.dial.example",
        "  further host          = remote7, in the envelope site7.example.net",
        "  rightslist ids        = group_of_ours (without effect)",
        "  notices 1 2 4 7                              pmdf.cnf:6 (defaults)",
        "  daemon dial.example.net                      pmdf.cnf:14 (block)",
        "  MAX_MX_RECORDS 2                             tcp_dialup_option:1 (plugin)",
        "  ALLOW_ETRNS_PER_SESSION 3                    tcp_dialup_option:2 (hub)",
        "  site7.example.net $U%site7.example.net@TCP-DIALUP pmdf.cnf:2 (rule)",
        "  waits for the periodic service (every 2 h), an operator or ETRN",
        "  the sender is warned after 1 d, 2 d, 4 d, and it is returned after 7 d",
        "  limit holdlimit = 30",
        "  may be released by the operator (`sluice trigger`); not by ETRN",
    ] {
        assert!(ran.out.lines().any(|shown| shown == line), "no line {line:?} in\n{}", ran.out);
    }
    assert!(ran.out.contains("plugin                = tcp "), "{}", ran.out);
    assert!(
        !ran.out.contains("is tried again after"),
        "periodic channels have no times of their own: {}",
        ran.out
    );

    let rows = site.json(&["test", "channel", "tcp_local", "TCP-DIALUP"]);
    assert_eq!(rows.len(), 2);
    let (local, dialup) = (&rows[0], &rows[1]);
    assert_eq!(local["starts"], serde_json::json!(["urgent", "normal"]));
    assert_eq!(local["attempts_after_secs"][0], 3600);
    assert_eq!(local["etrn"], serde_json::json!(["SMTP"]));
    assert_eq!(dialup["channel"], "tcp_dialup", "a host stands for its channel");
    assert_eq!(dialup["starts"], serde_json::json!([]));
    assert_eq!(dialup["returned_after_secs"], 7 * 86_400);
    assert_eq!(dialup["limits"], serde_json::json!({ "holdlimit": 30 }));
    assert_eq!(dialup["etrn"], serde_json::json!([]));
    let keyword =
        dialup["keywords"].as_array().and_then(|all| all.iter().find(|word| word["name"] == "periodic"));
    assert_eq!(keyword.map(|word| (&word["from"], &word["line"])), Some((&"block".into(), &14.into())));

    let none = site.command(&["test", "channel", "tcp_dialpu"]);
    assert_eq!(none.code, 65);
    assert!(none.err.contains("did you mean `tcp_dialup`?"), "{}", none.err);
}

#[test]
fn rewriting_shows_the_fields_of_the_rewriting_test() {
    let site = site();
    let ran = site.command(&[
        "test",
        "rewrite",
        "--sender",
        "boss@far.example",
        "Fred <u@site7.example.net>",
        "desk@hub.example",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for line in [
        "  forward channel        = tcp_dialup",
        "  channel description    = Sites that dial",
        "  channel rightslist ids = group_of_ours",
        "  backward channel       = tcp_dialup",
        "  header To              = u@site7.example.net",
        "  header From            = u@site7.example.net",
        "  envelope To            = u@site7.example.net (route (TCP-DIALUP,TCP-DIALUP))",
        "  envelope From          = u@site7.example.net",
        "  name                   = Fred",
        "  mbox                   = u",
        "  expanded address       = a@site7.example.net, channel tcp_dialup",
        "  expanded address       = b@far.example, channel tcp_local",
    ] {
        assert!(ran.out.lines().any(|shown| shown == line), "no line {line:?} in\n{}", ran.out);
    }
    let flags = ran.out.lines().find(|line| line.contains("channel flags")).unwrap_or_default();
    assert!(flags.contains("PERIODIC") && flags.contains("NOTICES 1 2 4 7"), "{flags}");
}

#[test]
fn the_options_of_the_rewriting_test_are_taken() {
    let site = site();
    let other = site.folder().join("other.txt");
    std::fs::write(&other, "lab two.lab.example\n").expect("a file");
    let database = format!("general={}", other.display());
    let rows = site.json(&[
        "test",
        "rewrite",
        "--database",
        &database,
        "--flags",
        "AB",
        "--sender",
        "a@b.example",
        "u@lab.example",
    ]);
    assert_eq!(rows[0]["address"], "u@two.lab.example");
    assert_eq!(site.json(&["test", "rewrite", "u@lab.example"])[0]["address"], "u@one.lab.example");
    let wrong = site.command(&["test", "rewrite", "--database", "nothing=x", "u@lab.example"]);
    assert_eq!(wrong.code, 64, "{}", wrong.err);
}

/// Runs the program with something on standard input.
fn with_input(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(built("sluice"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What is not read is no matter: a mistake in the arguments ends the program first.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn a_pattern_is_taken_apart_and_compared() {
    let arguments =
        ["test", "match", "$[ax1]*@*.example.com", "xx11a@sys1.example.com", "12a@node.example.com"];
    let (code, out, err) = with_input(&arguments, "not read\n");
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        out,
        "Pattern: $[ax1]*@*.example.com\n\
         [  1S] any number of [ax1], as many as possible\n\
         [  2 ] \"@\"\n\
         [  3S] any number of characters, as many as possible\n\
         [  4 ] \".example.com\"\n\
         Target: xx11a@sys1.example.com\n\
         Match.\n\
         0 - xx11a\n\
         1 - sys1\n\
         Target: 12a@node.example.com\n\
         No match.\n"
    );

    let (code, out, err) = with_input(
        &["test", "match", "$@*.$D%$_*$(10.0.0.0/8)", "--format", "json"],
        "a.5x10.1.2.3\na.bx10.1.2.3\n",
    );
    assert_eq!(code, 0, "{err}");
    let rows: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["matched"], true);
    assert_eq!(rows[0]["wildcards"], serde_json::json!(["5", "x", "10.1.2.3"]));
    assert_eq!(rows[0]["elements"][0]["wildcard"], serde_json::Value::Null);
    assert_eq!(
        rows[0]["elements"][4],
        serde_json::json!({ "element": "an address of 10.0.0.0/8", "wildcard": 2 })
    );
    assert_eq!(rows[1]["matched"], false);
    assert_eq!(rows[1]["wildcards"], serde_json::Value::Null);

    let (code, out, err) = with_input(&["test", "match", "é$Q*$[f-a]*", "x"], "");
    assert_eq!((code, out.as_str()), (65, ""));
    assert!(err.contains("column 2 of the pattern: `$Q` means nothing in a pattern"), "{err}");
    assert!(err.contains("column 7 of the pattern: `f-a` is no range"), "{err}");
}

#[test]
fn texts_for_a_table_may_come_from_standard_input() {
    let site = site();
    site.write("mappings", "T\n\n  a*  <$0>$Y$C$D\n  *  $0$E\n");
    let configuration = site.configuration();
    let arguments =
        ["test", "mapping", "--table", "t", "--format", "json", "--config", configuration.to_str().unwrap()];
    let (code, out, err) = with_input(&arguments, "ab\n\n");
    assert_eq!(code, 0, "{err}");
    let rows: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = |input: &str, output: &str, flags: &str| serde_json::json!({ "table": "t", "input": input, "matched": true, "output": output, "flags": flags });
    assert_eq!(rows, [row("ab", "<b>", "DY"), row("", "", "")], "`C` and `E` only steer");
}
