//! The page of the mission says how to see each row by hand: what is typed there is typed here, row by row, on the sample
//! that the page is meant for.
//!
//! What a row shows is for its own tests. Here it is enough that each command is one that the program knows and ends as it should,
//! and that each line that is to be said in a session is answered, by a refusal where the row is about one.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sluice_testkit::{Site, Talk, built, free_port};
use sluice_tests::send;

/// The first words of lines that are said in a session.
const SAID: [&str; 6] = ["EHLO", "ETRN", "ETRNX", "MAIL", "RCPT", "QUIT"];
/// What cannot be typed as it stands: `…` or a name in capitals is for the reader to fill in, and a hub that runs is running.
const LEFT_OUT: [&str; 6] = ["…", "SERVER", "FILE", "sluice run", "PARAMETER", " -b "];
/// How the commands of a row may end, where that is not 0.
const ENDS: [(&str, i32); 1] = [("3.14", 69)];
/// Replies that a row is about, where they are not 250 to 253.
const REFUSED: [(&str, &[u16]); 10] = [
    ("1.6c+", &[459]),
    ("1.6e+", &[459]),
    ("2.5", &[458]),
    ("5.2", &[503]),
    ("5.3", &[501]),
    ("5.10", &[458]),
    ("5.11", &[459]),
    ("5.12", &[500, 501]),
    ("1.6d+", &[502]),
    ("5.16+", &[530]),
];

struct Row<'a> {
    number: &'a str,
    /// What stands between backticks, in order.
    spans: Vec<&'a str>,
}

fn rows(text: &str) -> Vec<Row<'_>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            // Every second piece stands between backticks.
            let spans = fields[4].split('`').skip(1).step_by(2).collect();
            Row { number: fields[0], spans }
        })
        .collect()
}

/// A copy of a folder of the sample on other ports.
fn copy(part: &str, site: &Site, ports: &[(String, String)]) {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/dialup").join(part);
    for entry in fs::read_dir(sample).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let mut text = fs::read_to_string(entry.path()).unwrap();
        for (written, used) in ports {
            text = text.replace(written, used);
        }
        site.write(entry.file_name().to_str().unwrap(), &text);
    }
}

/// The words of a command as a shell divides them; the page quotes with `'` only.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (at, piece) in command.split('\'').enumerate() {
        if at % 2 == 1 {
            words.last_mut().unwrap().push_str(piece);
            continue;
        }
        for (at, word) in piece.split(' ').enumerate() {
            if at > 0 {
                words.push(String::new());
            }
            words.last_mut().unwrap().push_str(word);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Runs a command of the page; its exit status and what it said.
fn run(command: &str, hub: &Path, site: &Path, ports: &[(String, String)]) -> (i32, String) {
    let mut words = words(command);
    for word in &mut words {
        for (written, used) in ports {
            *word = word.replace(written, used);
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match words.iter().position(|word| word == "--config") {
        Some(at) => {
            let place = match words[at + 1].as_str() {
                "samples/dialup/hub" => hub.to_owned(),
                "samples/dialup/site" => site.to_owned(),
                other => root.join(other),
            };
            words[at + 1] = place.to_string_lossy().into_owned();
        }
        None if words[1] != "help" && words[1] != "etrn" => {
            words.extend(["--config".to_owned(), hub.to_string_lossy().into_owned()]);
        }
        None => {}
    }
    let output = Command::new(built("sluice")).args(&words[1..]).current_dir(root).output().unwrap();
    let said = [output.stdout, output.stderr].map(|octets| String::from_utf8_lossy(&octets).into_owned());
    (output.status.code().unwrap_or(-1), said.concat())
}

#[test]
fn what_the_page_says_can_be_typed() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("mission.tsv")).unwrap();
    let rows = rows(&text);
    assert!(rows.len() > 80, "{} rows", rows.len());
    let (mut hub, mut site) = (Site::new("by-hand-hub"), Site::new("by-hand-site"));
    let ports: Vec<(String, String)> =
        [("10025", hub.address().port()), ("10026", site.address().port()), ("10027", free_port())]
            .map(|(written, used)| (written.to_owned(), used.to_string()))
            .into();
    copy("hub", &hub, &ports);
    copy("site", &site, &ports);
    hub.start();
    site.start();
    let folders: [PathBuf; 2] = [hub.configuration(), site.configuration()];
    let (mut commands, mut lines, mut wrong) = (0, 0, String::new());
    for Row { number, spans } in &rows {
        send(&hub, "fred@site7.example.net", 0, 1);
        let mut session: Option<Talk> = None;
        // What the reader is to change first is not changed here.
        let wants_change =
            spans.iter().any(|span| matches!(*span, "disableetrn" | "domainetrn" | "silentetrn" | "LOGIN"));
        for span in spans.iter().filter(|span| !LEFT_OUT.iter().any(|word| span.contains(word))) {
            let first = span.split(' ').next().unwrap_or_default();
            if first == "sluice" && span.contains(' ') {
                commands += 1;
                let (code, said) = run(span, &folders[0], &folders[1], &ports);
                let expected = ENDS.iter().find(|(row, _)| row == number).map_or(0, |(_, code)| *code);
                if code != expected {
                    let _ = writeln!(wrong, "{number}: `{span}` ended with {code}:\n{said}");
                }
            } else if SAID.contains(&first) && !wants_change {
                lines += 1;
                let times = if *number == "2.5" { 9 } else { 1 };
                let talk = session.get_or_insert_with(|| hub.talk());
                let reply = (0..times).map(|_| talk.ask(span).unwrap()).last().unwrap();
                let refused =
                    REFUSED.iter().find(|(row, _)| row == number).map_or(&[][..], |(_, codes)| codes);
                if !(220..=253).contains(&reply.code) && !refused.contains(&reply.code) {
                    let _ = writeln!(wrong, "{number}: to `{span}` the hub said {reply}");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(commands >= 35 && lines >= 20, "{commands} commands, {lines} lines");
    site.stop();
    hub.stop();
}
