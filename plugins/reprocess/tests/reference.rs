//! The list of options at the end of the reference page is what the plugin's table says.

use sluice_sdk::{Channel, OptionKind};
use std::fmt::Write;

const HEAD: &str = "| Option | Value | Default | Meaning |\n|---|---|---|---|\n";

fn list() -> String {
    let mut list = HEAD.to_owned();
    for option in sluice_reprocess::Reprocess::OPTIONS {
        let kind = match option.kind {
            OptionKind::Text if option.name.ends_with("_TIME") => "time",
            OptionKind::Text => "text",
            OptionKind::Integer => "number",
            OptionKind::Switch => "0 or 1",
            OptionKind::Seconds => "seconds",
            OptionKind::Path => "path",
        };
        let default = option.default.map_or_else(|| "-".to_owned(), |default| format!("`{default}`"));
        let help = option.help.replace('|', "\\|");
        writeln!(list, "| `{}` | {kind} | {default} | {help} |", option.name)
            .expect("a string takes everything");
    }
    list
}

#[test]
fn the_reference_page_lists_the_options() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/channel-reprocess.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let start = page.find(HEAD).unwrap_or(page.len());
    let current = format!("{}{}", &page[..start], list());
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, current).expect("the page can be written");
        return;
    }
    assert!(
        page == current,
        "docs/reference/channel-reprocess.md is not what the table says; write it with `cargo xtask reference`"
    );
}
