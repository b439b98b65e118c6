//! The list of options at the end of the reference page is what the plugin's table says.

use sluice_sdk::{Channel, OPTION_LIST_HEAD, option_list};

#[test]
fn the_reference_page_lists_the_options() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/channel-conversion.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let start = page.find(OPTION_LIST_HEAD).unwrap_or(page.len());
    let current = format!("{}{}", &page[..start], option_list(sluice_conversion::Conversion::OPTIONS));
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, current).expect("the page can be written");
        return;
    }
    assert!(
        page == current,
        "docs/reference/channel-conversion.md is not what the table says; write it with `cargo xtask reference`"
    );
}
