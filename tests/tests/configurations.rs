//! Configurations as sites write them, and broken ones: `tests/configurations/`.
//!
//! `good/NAME/` is a whole folder. Its file `expected` has a line for every remark that `sluice check` may make, and
//! must (`remark FILE:LINE:COLUMN CODE`), and lines `address → channel, form`, with the circumstances in brackets in
//! front (`[header-from from tcp_local to tcp_site]`), `, final FORM` behind where the envelope gets another form, or
//! `→ refused: TEXT`. `broken/NAME.txt` begins with prose and the diagnostics in their order,
//! `FILE:LINE:COLUMN CODE`; each file follows below `==> NAME`.

use serde_json::Value;
use sluice_testkit::built;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn corpus(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configurations").join(kind);
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

/// Runs the program; gives its JSON lines and its exit status.
fn sluice(arguments: &[&str], folder: &Path, more: &[&str]) -> (Vec<Value>, i32) {
    let output = Command::new(built("sluice"))
        .args(arguments)
        .args(["--format", "json", "--config"])
        .arg(folder)
        .args(more)
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let rows = text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    (rows, output.status.code().expect("an exit status"))
}

/// `FILE:LINE:COLUMN CODE` of every remark about a folder, in order.
fn remarks(folder: &Path) -> (Vec<String>, i32) {
    let (rows, code) = sluice(&["check"], folder, &[]);
    let rows = rows.iter().map(|row| {
        let file = row["file"].as_str().unwrap_or("-");
        let file =
            Path::new(file).strip_prefix(folder).map_or(file.to_owned(), |name| name.display().to_string());
        format!("{file}:{}:{} {}", row["line"], row["column"], row["code"].as_str().unwrap_or_default())
    });
    (rows.collect(), code)
}

#[test]
fn configurations_of_sites_load_without_a_false_alarm() {
    let folders = corpus("good");
    assert!(folders.len() >= 50, "only {} configurations", folders.len());
    let mut wrong = String::new();
    for folder in folders {
        let expected = fs::read_to_string(folder.join("expected")).expect("what is expected");
        let allowed: Vec<&str> = expected.lines().filter_map(|line| line.strip_prefix("remark ")).collect();
        let (found, code) = remarks(&folder);
        if found != allowed || code != 0 {
            let _ = writeln!(wrong, "{} (exit status {code})", name(&folder));
            for line in found {
                let _ = writeln!(wrong, "remark {line}");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The answer to one line, in the words of the expectation.
fn answer(folder: &Path, question: &str, expected: &str) -> String {
    let (circumstances, address) = match question.strip_prefix('[').filter(|rest| rest.contains("] ")) {
        Some(rest) => rest.split_once("] ").expect("a bracket and a blank"),
        None => ("", question),
    };
    let mut more = Vec::new();
    let mut words = circumstances.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "from" => more.extend(["--source-channel", words.next().expect("a channel")]),
            "to" => more.extend(["--destination-channel", words.next().expect("a channel")]),
            kind => more.extend(["--kind", kind]),
        }
    }
    more.push(address.trim());
    let (rows, code) = sluice(&["test", "rewrite"], folder, &more);
    let [row] = rows.as_slice() else { return format!("{} answers, exit status {code}", rows.len()) };
    let text = |field: &str| row[field].as_str().unwrap_or("-").to_owned();
    if !row["error"].is_null() {
        return format!("refused: {}", text("error"));
    }
    let answer = format!("{}, {}", text("channel"), text("address"));
    if expected.contains(", final ") { format!("{answer}, final {}", text("final_address")) } else { answer }
}

#[test]
fn addresses_go_where_the_sites_send_them() {
    let mut wrong = String::new();
    let mut asked = 0;
    for folder in corpus("good") {
        let expected = fs::read_to_string(folder.join("expected")).expect("what is expected");
        let before = asked;
        for (question, expected) in expected.lines().filter_map(|line| line.split_once('→')) {
            let found = answer(&folder, question.trim(), expected.trim());
            asked += 1;
            if found != expected.trim() {
                let _ = writeln!(
                    wrong,
                    "{}: {}\n  expected {}\n  found    {found}",
                    name(&folder),
                    question.trim(),
                    expected.trim()
                );
            }
        }
        assert!(asked > before, "{} asks for no address", name(&folder));
    }
    assert!(wrong.is_empty(), "{asked} asked\n{wrong}");
}

#[test]
fn broken_configurations_give_their_own_diagnostics() {
    let files = corpus("broken");
    assert!(files.len() >= 170, "only {} broken configurations", files.len());
    let mut wrong = String::new();
    let mut codes = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a text");
        let mut parts = text.split("==> ");
        let head = parts.next().unwrap_or_default();
        let folder = tempfile::tempdir().expect("a folder");
        for part in parts {
            let (file, content) = part.split_once('\n').expect("a name and a content");
            // What cannot be seen in an editor is spelt out.
            let content =
                content.replace("<CR>", "\r").replace("<BEL>", "\u{7}").replace("<BOM>", "\u{feff}");
            let content = content.replace("<BLANK>", " ");
            fs::write(folder.path().join(file.trim()), content).expect("a file of the case");
        }
        let expected: Vec<&str> = head
            .lines()
            .filter(|line| {
                line.split_once(' ').is_some_and(|(place, code)| {
                    place.split(':').count() == 3
                        && place.ends_with(|c: char| c.is_ascii_digit())
                        && !code.contains(' ')
                })
            })
            .collect();
        assert!(!expected.is_empty(), "{} expects nothing", name(&file));
        codes
            .extend(expected.iter().filter_map(|line| line.split_once(' ')).map(|(_, code)| code.to_owned()));
        let (found, _) = remarks(folder.path());
        if found != expected {
            let _ = writeln!(wrong, "{}:\n  {}", name(&file), found.join("\n  "));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(codes.len() >= 40, "only {} different diagnostics: {codes:?}", codes.len());
}

#[test]
fn what_is_imported_loads_and_sends_mail_to_the_same_places() {
    let mut imported = 0;
    for folder in corpus("good") {
        let product = match (folder.join("pmdf.cnf").exists(), folder.join("imta.cnf").exists()) {
            (true, _) => "pmdf",
            (_, true) => "imta",
            _ => continue,
        };
        imported += 1;
        let new = tempfile::tempdir().expect("a folder");
        let to = new.path().join("new");
        let import = |more: &[&str]| {
            Command::new(built("sluice"))
                .args(["import", product])
                .arg(&folder)
                .arg("--to")
                .arg(&to)
                .args(more)
                .output()
                .expect("the program starts")
        };
        let name = name(&folder);
        let dry = import(&["--dry-run"]);
        assert_eq!(dry.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&dry.stderr));
        assert!(!to.exists(), "{name}: a dry run wrote something");
        let done = import(&["--format", "json"]);
        assert_eq!(done.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&done.stdout));
        for line in String::from_utf8_lossy(&done.stdout).lines() {
            let row: Value = serde_json::from_str(line).expect("a JSON line");
            assert!(row["kind"].is_string(), "{name}: {row}");
        }
        assert_eq!(import(&[]).status.code(), Some(65), "{name}: an existing file would be overwritten");
        let (found, code) = remarks(&to);
        assert_eq!(code, 0, "{name}: {found:?}");
        let expected = fs::read_to_string(folder.join("expected")).expect("what is expected");
        for (question, expected) in expected.lines().filter_map(|line| line.split_once('→')) {
            assert_eq!(answer(&to, question.trim(), expected.trim()), expected.trim(), "{name}: {question}");
        }
    }
    assert!(imported >= 25, "only {imported} of the configurations are of other products");
}
