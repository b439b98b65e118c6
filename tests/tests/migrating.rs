//! The commands of `docs/guide/migrating.md`, in their order, on a folder of the corpus.

use sluice_testkit::built;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

#[test]
fn the_commands_of_the_page_do_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("../docs/guide/migrating.md")).expect("the page");
    let old = root.join("configurations/good/dialup-hub");
    let folder = tempfile::tempdir().expect("a folder");
    let new = folder.path().join("new");
    let run = |line: &str| -> Output {
        let words = line.split_whitespace().skip(1).map(|word| match word {
            "/pmdf/table" => old.display().to_string(),
            "/etc/sluice" => new.display().to_string(),
            word => word.to_owned(),
        });
        Command::new(built("sluice")).args(words).output().expect("the program starts")
    };
    let mut ran = Vec::new();
    for line in
        page.split("```").skip(1).step_by(2).flat_map(str::lines).filter(|line| line.starts_with("sluice "))
    {
        let output = run(line);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{line}\n{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!(line.contains("--dry-run") && new.exists()), "a dry run wrote something");
        ran.push((line.to_owned(), text));
    }
    let told = |start: &str, end: &str| {
        let found = ran.iter().find(|(line, _)| line.starts_with(start) && line.contains(end));
        found.unwrap_or_else(|| panic!("the page has no `{start} … {end}`")).1.clone()
    };
    let report = told("sluice import", "--to /etc/sluice");
    for heading in ["Works as it is", "Has no effect here", "To decide"] {
        assert!(page.contains(heading) && report.contains(heading), "{heading}: {report}");
    }
    assert!(told("sluice import", "--dry-run").contains("nothing is written"));
    let way = |folder: &str| {
        let text = told("sluice test rewrite", folder);
        text.lines()
            .filter(|line| line.contains(" = ") || line.contains("= "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(way("/pmdf/table"), way("/etc/sluice"), "the page says that they are the same");
    assert!(way("/etc/sluice").iter().any(|line| line.contains("tcp_local")));
    let again = run("sluice import pmdf /pmdf/table --to /etc/sluice");
    assert_eq!(again.status.code(), Some(65), "nothing is overwritten");
}
