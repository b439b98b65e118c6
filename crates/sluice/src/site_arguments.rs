//! The options of sites and activators on the command line: made from the table that the file's reader has, so that each
//! has one name and one explanation everywhere.
//!
//! `MAX_SIZE_IN_WINDOW` of the file is `--max-size-in-window` here. Not here: what values are right, which the reader says.

use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use sluice_config::{SiteOption, SiteSection, site_options};

/// Each option with its name on the command line.
static FLAGS: LazyLock<Vec<(&SiteOption, String)>> = LazyLock::new(|| {
    let flag = |option: &SiteOption| option.name.to_ascii_lowercase().replace('_', "-");
    site_options().iter().map(|option| (option, flag(option))).collect()
});

/// Values for the options of a section, in the order of the table.
#[derive(Debug, Clone)]
pub(crate) struct Values<const ACTIVATOR: bool>(Vec<(&'static str, Vec<String>)>);

/// Values for a site.
pub(crate) type SiteValues = Values<false>;
/// Values for an activator.
pub(crate) type ActivatorValues = Values<true>;

impl<const ACTIVATOR: bool> Values<ACTIVATOR> {
    /// Names of options, and a line for each value given.
    pub(crate) fn changes(&self) -> &[(&'static str, Vec<String>)] {
        &self.0
    }
}

fn flags(activator: bool) -> impl Iterator<Item = &'static (&'static SiteOption, String)> {
    let section = if activator { SiteSection::Activator } else { SiteSection::Site };
    FLAGS.iter().filter(move |(option, _)| option.section == section)
}

/// The option of that name in a section: as the file or as the command line has it.
pub(crate) fn option_named(section: SiteSection, name: &str) -> Option<&'static str> {
    let mut named = flags(section == SiteSection::Activator);
    named
        .find(|(option, flag)| {
            option.name.eq_ignore_ascii_case(name) || flag.eq_ignore_ascii_case(name.trim_start_matches('-'))
        })
        .map(|(option, _)| option.name)
}

/// Names of the options of a section as the command line has them.
pub(crate) fn names(section: SiteSection) -> impl Iterator<Item = &'static str> {
    flags(section == SiteSection::Activator).map(|(_, flag)| flag.as_str())
}

impl<const ACTIVATOR: bool> Args for Values<ACTIVATOR> {
    fn augment_args(command: Command) -> Command {
        flags(ACTIVATOR).fold(command, |command, (option, flag)| {
            let again = if option.repeats { " May be repeated." } else { "" };
            let long = format!("{} {}{again}\n\nDefault: {}.", option.help, option.long, option.default);
            let action = if option.repeats { ArgAction::Append } else { ArgAction::Set };
            command.arg(
                Arg::new(option.name)
                    .long(flag.as_str())
                    .value_name(placeholder(option))
                    .help(option.help)
                    .long_help(long)
                    .allow_hyphen_values(true)
                    .action(action),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// What stands behind the option in its usage: a word for the value.
fn placeholder(option: &SiteOption) -> &'static str {
    match option.name {
        "DOMAINS" => "DOMAIN,…",
        "NAMES" => "NAME,…",
        "LOGIN" | "QUEUE_NAME" => "NAME",
        "CHANNEL" => "CHANNEL",
        "TARGET" | "SERVER" => "HOST",
        "PORT" => "PORT",
        "LIFETIME" | "WATCH" => "TIME",
        "NOTICES" => "TIME,…",
        "WINDOW" => "DAYS TIMES",
        "SCHEDULE" => "WHEN",
        "MAX_SIZE_IN_WINDOW" => "BYTES",
        "COUNTS" | "ON_LINK_UP" => "0|1",
        "TIER" => "none|static|dynamic|turned",
        "COVERS" => "name|site",
        "TLS" => "no|may|must|implicit",
        "METHOD" => "etrn|atrn",
        "PASSWORD_FILE" => "FILE",
        _ => "TEXT",
    }
}

impl<const ACTIVATOR: bool> FromArgMatches for Values<ACTIVATOR> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let values = flags(ACTIVATOR).filter_map(|(option, _)| {
            let given: Vec<String> = matches.get_many::<String>(option.name)?.cloned().collect();
            Some((option.name, given))
        });
        Ok(Values(values.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
