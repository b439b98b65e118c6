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
fn options() {
    compare("options.md", &sluice_config::reference_options());
}

#[test]
fn diagnostics() {
    let page = sluice_config::reference_diagnostics(sluice_config::codes());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/diagnostics.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        return compare("diagnostics.md", &page);
    }
    // The page also holds the codes of other crates, which the program adds; those of this crate must be there as they are.
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    for section in page.split("\n## ").skip(1) {
        let name = section.lines().next().unwrap();
        assert!(
            there.contains(&format!("\n## {}", section.trim_end())),
            "docs/reference/diagnostics.md does not explain `{name}` as the table does; write it with \
             `UPDATE_REFERENCE=1 cargo test -p sluice-config`"
        );
    }
}
