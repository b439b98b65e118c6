//! The page about commands that operators need for the queue, made of the tables that clap reads. Only tests are in here:
//! one compares the page, or writes it anew when `UPDATE_REFERENCE` is set (`cargo xtask reference`).

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use super::Cli;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/queue-commands.md");

/// The commands that the page is about.
const COMMANDS: &[&str] = &["queue", "channel", "suspend", "resume", "plugin", "spool"];

/// Options that every command has; they are told once.
const COMMON: &[&str] = &["config", "format", "spool", "help"];

fn text(styled: Option<&clap::builder::StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default()
}

/// As it is typed: `--limit <N>`, `[ID|SELECTOR]...`.
fn typed(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default();
    let value = values.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" ");
    match argument.get_long() {
        Some(long) if argument.get_action().takes_values() => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}

fn rows(out: &mut String, arguments: &[&Arg]) {
    if arguments.is_empty() {
        return;
    }
    out.push_str("\n| Argument | Meaning |\n|---|---|\n");
    for argument in arguments {
        let possible: Vec<String> = argument
            .get_possible_values()
            .iter()
            .filter(|_| argument.get_action().takes_values())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let mut help = text(argument.get_long_help().or(argument.get_help())).replace('\n', " ");
        if !possible.is_empty() {
            let _ = write!(help, " One of {}.", possible.join(", "));
        }
        let typed = typed(argument).replace('|', "\\|");
        let _ = writeln!(out, "| `{typed}` | {} |", help.replace('|', "\\|"));
    }
}

fn section(out: &mut String, path: &str, command: &Command) {
    let _ = write!(out, "\n## sluice {path}\n\n{}\n", text(command.get_long_about().or(command.get_about())));
    let own = command
        .get_arguments()
        .filter(|argument| !COMMON.contains(&argument.get_id().as_str()) && !argument.is_hide_set());
    rows(out, &own.collect::<Vec<_>>());
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help" && !inner.is_hide_set())
    {
        section(out, &format!("{path} {}", inner.get_name()), inner);
    }
}

fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut out = String::from(
        "# Queue commands\n\nGenerated from the program's tables by `cargo xtask reference`; do not edit. What to do with these \
         commands is told in [the queue, by hand](../guide/queue.md).\n\nEach of them takes:\n",
    );
    let reload = command.find_subcommand("reload").expect("a command that has no more than all have");
    let common = reload.get_arguments().filter(|argument| argument.get_id() != "help");
    rows(&mut out, &common.collect::<Vec<_>>());
    for name in COMMANDS {
        section(&mut out, name, command.find_subcommand(name).expect("a command of ours"));
    }
    out
}

#[test]
fn the_page_about_queue_commands_is_current() {
    let page = page();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(PAGE, &page).expect("the page can be written");
    }
    let found = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(found == page, "docs/reference/queue-commands.md is not current: cargo xtask reference");
}
