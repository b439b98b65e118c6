//! A configuration with ten mistakes gives ten diagnostics, each at its place, and the hub does not start with it.

use sluice_testkit::Site;
use std::collections::BTreeSet;
use std::fmt::Write;

/// In these files `«` stands before every place where a diagnostic must point. The marks are taken out, and remembered.
const SLUICE_CNF: &str = "\
! Ten mistakes, in four files.
site7.example $U%$D@TCP-DIALUP
wrong.example $U«$J%$D@TCP-DIALUP
<«gone.rules

l
hub.example

tcp_local smtp nomx «nologgin
TCP-DAEMON

tcp_dialup smtp nomx daemon [127.0.0.1] port «many periodic
TCP-DIALUP

tcp_back smtp nomx notices 1 9 «3
TCP-BACK

tcp_twice smtp nomx
«TCP-BACK

«tcp_bare smtp nomx
";
const OPTION_DAT: &str = "! One mistake here.\nSPOOL_DIR=../spool\nMAX_RECIPIENTS=«plenty\n";
const DISPATCHER_CNF: &str = "[SERVICE=SMTP]\nINTERFACE_ADDRESS=127.0.0.1\nPORT=«70000\n";
const JOB_CONTROLLER_CNF: &str = "[POOL=DEFAULT]\nJOB_LIMIT=«-4\n";

/// Takes out the marks and tells where they stood, as file, line and column from 1.
fn unmark(file: &str, text: &str, places: &mut BTreeSet<(String, u64, u64)>) -> String {
    let mut clean = String::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(before) = line.find('«').map(|at| &line[..at]) {
            places.insert((file.to_owned(), number as u64 + 1, before.chars().count() as u64 + 1));
        }
        let _ = writeln!(clean, "{}", line.replace('«', ""));
    }
    clean
}

fn with_mistakes() -> (Site, BTreeSet<(String, u64, u64)>) {
    let site = Site::new("mistakes");
    let mut places = BTreeSet::new();
    for (file, text) in [
        ("sluice.cnf", SLUICE_CNF),
        ("option.dat", OPTION_DAT),
        ("dispatcher.cnf", DISPATCHER_CNF),
        ("job_controller.cnf", JOB_CONTROLLER_CNF),
    ] {
        site.write(file, &unmark(file, text, &mut places));
    }
    assert_eq!(places.len(), 10, "the test itself has ten marks");
    (site, places)
}

#[test]
fn ten_mistakes_are_ten_diagnostics_at_their_places() {
    let (site, places) = with_mistakes();
    let ran = site.command(&["check", "--format", "json"]);
    assert_eq!(ran.code, 78, "{}{}", ran.out, ran.err);
    let rows = ran.json();
    let errors: Vec<_> = rows.iter().filter(|row| row["severity"] == "error").collect();
    let found: BTreeSet<(String, u64, u64)> = errors
        .iter()
        .map(|row| {
            let file = row["file"].as_str().unwrap_or_default();
            let file = file.rsplit('/').next().unwrap_or_default().to_owned();
            (file, row["line"].as_u64().unwrap_or(0), row["column"].as_u64().unwrap_or(0))
        })
        .collect();
    let missing: Vec<_> = places.difference(&found).collect();
    let extra: Vec<_> = found.difference(&places).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, extra {extra:?}\n{}", ran.out);
    assert_eq!(errors.len(), 10, "{}", ran.out);
    for row in errors {
        for field in ["code", "message"] {
            assert!(row[field].as_str().is_some_and(|text| !text.is_empty()), "no {field}: {row}");
        }
        assert!(row.get("help").is_some(), "{row}");
        let code = row["code"].as_str().unwrap_or_default();
        let explained =
            std::process::Command::new(sluice_testkit::built("sluice")).args(["explain", code]).output();
        assert!(explained.is_ok_and(|output| output.status.success()), "{code} is not explained");
    }
    let near = rows.iter().find(|row| row["message"].as_str().is_some_and(|text| text.contains("nologgin")));
    let help = near.and_then(|row| row["help"].as_str()).unwrap_or_default();
    assert!(help.contains("nologging"), "the nearest keyword is not named: {near:?}");
}

#[test]
fn the_same_in_words_names_file_line_and_column() {
    let (site, places) = with_mistakes();
    let ran = site.command(&["check"]);
    assert_eq!(ran.code, 78);
    let text = ran.out + &ran.err;
    for (file, line, column) in places {
        assert!(
            text.contains(&format!("{file}:{line}:{column}")),
            "{file}:{line}:{column} is not in\n{text}"
        );
    }
}

#[test]
fn the_hub_does_not_start_with_them() {
    let (mut site, _) = with_mistakes();
    site.spawn();
    let status = site.wait_for_end();
    assert_eq!(status.code(), Some(78), "{}", site.log());
    assert!(site.log().contains("nologgin"), "{}", site.log());
    assert!(
        !site.folder().join("spool").exists(),
        "nothing is touched before the configuration is known to be good"
    );
}

#[test]
fn a_slip_in_the_option_file_of_a_channel_is_a_warning_at_its_line() {
    let site = Site::new("option-slips");
    site.write("sluice.cnf", ". $U%$H@TCP-DAEMON\n\nl\nhub.example\n\ntcp_local smtp nomx\nTCP-DAEMON\n");
    let options = "! Of the server, of the plugin, of other products: nothing to say.\n\
ALLOW_ETRNS_PER_SESSION=3\nMAX_MX_RECORDS=2\nEHLO_ADDITION=x\n\
ALLOW_ETRN_PER_SESSION=3\nSOMETHING_ELSE=1\nMAX_A_RECORDS=all\n";
    site.write("tcp_local_option", options);
    let ran = site.command(&["check", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let rows = ran.json();
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            (row["line"].as_u64(), row["severity"].as_str(), row["code"].as_str(), row["help"].as_str())
        })
        .collect();
    assert_eq!(found.len(), 3, "{}", ran.out);
    assert_eq!(
        (found[0].0, found[0].1, found[0].2),
        (Some(5), Some("warning"), Some("unknown-option")),
        "{}",
        ran.out
    );
    assert_eq!(found[0].3, Some("did you mean `ALLOW_ETRNS_PER_SESSION`?"));
    assert_eq!((found[1].0, found[1].2), (Some(6), Some("unknown-option")), "{}", ran.out);
    assert_eq!((found[2].0, found[2].2), (Some(7), Some("bad-option-value")), "{}", ran.out);
}
