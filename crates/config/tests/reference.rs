//! The pages of `docs/reference/` are made from the tables of the crate, and these tests compare them.
#![allow(clippy::unwrap_used)]

use std::path::Path;

fn compare(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, page).unwrap();
        return;
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page,
        "docs/reference/{name} is not what the tables say; write it with `UPDATE_REFERENCE=1 cargo test -p sluice-config`"
    );
}

#[test]
fn keywords() {
    compare("keywords.md", &sluice_config::reference_keywords());
}

#[test]
fn keywords_without_effect() {
    compare("keywords-without-effect.md", &sluice_config::reference_without_effect());
}

#[test]
fn options() {
    compare("options.md", &sluice_config::reference_options());
}

#[test]
fn sites() {
    compare("sites.md", &sluice_config::reference_sites());
}

#[test]
fn diagnostics() {
    compare("diagnostics.md", &sluice_config::reference_diagnostics(sluice_config::codes()));
}

/// The tables of list parameters stand in the middle of a page; each begins with its head and ends with a blank line.
#[test]
fn list_parameters() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/aliases.md");
    let mut page = std::fs::read_to_string(&path).unwrap();
    let parameters = sluice_config::list_parameters();
    for (head, acts) in
        [("| Parameter | What it does |", true), ("| Parameter | Why it changes nothing |", false)]
    {
        let rows = parameters.iter().filter(|one| one.acts() == acts).map(|one| {
            let argument =
                if one.argument().is_empty() { String::new() } else { format!(" {}", one.argument()) };
            format!("| `[{}]{argument}` | {} |\n", one.name, one.text)
        });
        let table = format!("{head}\n|---|---|\n{}", rows.collect::<String>());
        let start = page.find(head).unwrap_or_else(|| panic!("aliases.md has no table {head}"));
        let length = page[start..].find("\n\n").unwrap() + 1;
        page.replace_range(start..start + length, &table);
    }
    compare("aliases.md", &page);
}

/// The tables of parameters stand in the middle of the page of the channel `conversion`.
#[test]
fn conversions() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/channel-conversion.md");
    let mut page = std::fs::read_to_string(&path).unwrap();
    let (head, tail) = ("<!-- parameters -->\n", "\n<!-- end of parameters -->");
    let start = page.find(head).unwrap() + head.len();
    let end = page.find(tail).unwrap_or_else(|| page.find(tail.trim()).unwrap());
    page.replace_range(start..end.max(start), &sluice_config::reference_conversions());
    compare("channel-conversion.md", &page);
}
