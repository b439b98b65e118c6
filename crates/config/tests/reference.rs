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
fn diagnostics() {
    compare("diagnostics.md", &sluice_config::reference_diagnostics(sluice_config::codes()));
}
