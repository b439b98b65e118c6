//! The list of options at the end of a channel's reference page, in Markdown, made from the plugin's own table.
//!
//! Comparing it with a page, and writing the page, is for the test of each plugin.

use crate::channel::{OptionKind, OptionSpec};

/// First lines of the list: where a page holds them, the list begins.
pub const OPTION_LIST_HEAD: &str = "| Option | Value | Default | Meaning |\n|---|---|---|---|\n";

/// The options as a table of Markdown, one row each, in the order of `options`. A text whose name ends in `_TIME` is called a
/// time.
pub fn option_list(options: &[OptionSpec]) -> String {
    let mut list = OPTION_LIST_HEAD.to_owned();
    for option in options {
        let kind = match option.kind {
            OptionKind::Text if option.name.ends_with("_TIME") => "time",
            OptionKind::Text => "text",
            OptionKind::Integer => "number",
            OptionKind::Switch => "0 or 1",
            OptionKind::Seconds => "seconds",
            OptionKind::Path => "path",
        };
        let kind = match option.range {
            None => kind.to_owned(),
            Some((min, u64::MAX)) => format!("{kind}, at least {min}"),
            Some((min, max)) => format!("{kind}, {min} to {max}"),
        };
        let default = match option.default {
            Some(default) => format!("`{default}`"),
            None if option.required => "must be set".to_owned(),
            None => "-".to_owned(),
        };
        let help = option.help.replace('|', "\\|");
        list += &format!("| `{}` | {kind} | {default} | {help} |\n", option.name);
    }
    list
}
