//! What the host knows about a plugin without running any of its code.

use crate::aside::Aside;
use crate::library::Functions;
use crate::sealed::Sealed;
use crate::spec::{Setting, SettingKind};
use sluice_abi as abi;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A loaded plugin. Its library stays loaded until the process ends.
pub struct Plugin {
    pub(crate) generation: u32,
    /// What it was loaded from.
    pub(crate) sealed: Arc<Sealed>,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) abi_version: u32,
    pub(crate) features: u64,
    pub(crate) options: Vec<PluginOption>,
    pub(crate) routines: Vec<String>,
    pub(crate) functions: Functions,
    pub(crate) routine_calls: Aside,
}

/// One option that a plugin understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginOption {
    /// Upper-case letters, digits and `_`.
    pub name: String,
    /// What its value looks like.
    pub kind: OptionKind,
    /// Between which bounds a number or a number of seconds must lie; `None` for any, and for other kinds.
    pub range: Option<RangeInclusive<u64>>,
    /// A channel cannot do without it.
    pub required: bool,
    /// What an absent line means.
    pub default: Option<String>,
    /// A sentence or two for the operator.
    pub help: String,
}

impl PluginOption {
    /// What its value must be, in words: `a whole number from 1 to 100`.
    pub fn wanted(&self) -> String {
        let kind = self.kind;
        match self.range.as_ref().map(|range| (*range.start(), *range.end())) {
            None => kind.to_string(),
            Some((min, u64::MAX)) => format!("{kind}, at least {min}"),
            Some((0, max)) => format!("{kind}, at most {max}"),
            Some((min, max)) => format!("{kind} from {min} to {max}"),
        }
    }

    /// Is it a value for this option?
    pub fn takes(&self, value: &str) -> bool {
        let digits = value.trim();
        let number = || {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u64>().ok()).flatten()
        };
        match self.kind {
            OptionKind::Text => true,
            OptionKind::Integer | OptionKind::Seconds => {
                number().is_some_and(|number| self.range.as_ref().is_none_or(|range| range.contains(&number)))
            }
            OptionKind::Switch => matches!(digits, "0" | "1"),
            OptionKind::Path => !digits.is_empty(),
        }
    }
}

/// What the value of an option looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// A decimal number that is not negative.
    Integer,
    /// `0` or `1`.
    Switch,
    /// A decimal number of seconds.
    Seconds,
    /// A file or folder.
    Path,
}

impl fmt::Display for OptionKind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            OptionKind::Text => "text",
            OptionKind::Integer => "a whole number",
            OptionKind::Switch => "0 or 1",
            OptionKind::Seconds => "a whole number of seconds",
            OptionKind::Path => "a file or folder",
        })
    }
}

/// The features of the contract by name. A bit that is not in it comes from a newer one.
const FEATURE_NAMES: [(u32, &str); 7] = [
    (abi::FEATURE_ENQUEUE, "enqueue"),
    (abi::FEATURE_ROUTE, "route"),
    (abi::FEATURE_FILTER, "filter"),
    (abi::FEATURE_POLL, "poll"),
    (abi::FEATURE_NEXT_HOP, "next_hop"),
    (abi::FEATURE_WISHES, "wishes"),
    (abi::FEATURE_PRIORITY, "priority"),
];

fn feature_list(features: u64) -> Vec<String> {
    let set = (0..u64::BITS).filter(|bit| features & (1 << bit) != 0);
    set.map(|bit| {
        let known = FEATURE_NAMES.iter().find(|(value, _)| u64::from(*value) == 1 << bit);
        known.map_or_else(|| format!("number {bit}"), |(_, name)| (*name).to_owned())
    })
    .collect()
}

/// The features in a word, for a sentence.
pub(crate) fn feature_names(features: u64) -> String {
    feature_list(features).join(", ")
}

/// What is wrong with a line of an option file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionProblem {
    /// The plugin has no such option.
    #[error("plugin {plugin} has no option {name}")]
    Unknown {
        /// The plugin.
        plugin: String,
        /// As written.
        name: String,
    },
    /// The value is not of the option's kind.
    #[error("option {name} of plugin {plugin} is `{value}`; it must be {wanted}")]
    Value {
        /// The plugin.
        plugin: String,
        /// The option.
        name: String,
        /// As written.
        value: String,
        /// What it must be.
        wanted: String,
    },
}

impl Plugin {
    /// The file it was loaded from.
    pub fn file(&self) -> &Path {
        self.sealed.file()
    }

    /// The copy that it was loaded from, for other processes to load as well.
    #[must_use]
    pub fn sealed(&self) -> &Arc<Sealed> {
        &self.sealed
    }

    /// Which loading of a file at that place it is, from 1 on.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The place at which its file was found: its path, unless that is behind a link.
    pub fn place(&self) -> PathBuf {
        self.sealed.line.upgrade().map_or_else(|| self.file().to_owned(), |line| line.place.clone())
    }

    /// The generation that is in force: this one, until another has taken its place.
    #[must_use]
    pub fn in_force(self: &Arc<Self>) -> Arc<Plugin> {
        self.sealed.line.upgrade().and_then(|line| line.in_force()).unwrap_or_else(|| self.clone())
    }

    /// How many generations from its place are in memory, those included that were refused.
    pub fn generations(&self) -> usize {
        self.sealed.line.upgrade().map_or(1, |line| line.generations.lock().len())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// One line about it.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The version of the contract it was built for; always the host's.
    pub fn abi_version(&self) -> u32 {
        self.abi_version
    }

    /// Is it a filter: can it look at messages before they are queued?
    pub fn has_filter(&self) -> bool {
        self.functions.filter.is_some()
    }

    /// What it says that it does, beside what its functions tell: names of features, in the order of their bits.
    pub fn features(&self) -> Vec<String> {
        feature_list(self.features)
    }

    /// The options it understands, in its own order.
    pub fn options(&self) -> &[PluginOption] {
        &self.options
    }

    /// Names of the routines that rules may call, in its own order.
    pub fn routines(&self) -> &[String] {
        &self.routines
    }

    /// The first option that the plugin needs and that is not among these settings.
    #[must_use]
    pub fn missing_option(&self, settings: &[Setting]) -> Option<&str> {
        let is_set = |name: &str| {
            settings.iter().any(|set| set.kind == SettingKind::Option && set.name.eq_ignore_ascii_case(name))
        };
        let missing = self.options.iter().find(|option| option.required && !is_set(&option.name));
        missing.map(|option| option.name.as_str())
    }

    /// Is `value` a good line for option `name`? Names are compared without regard to case.
    ///
    /// # Errors
    /// The plugin has no such option, or the value is not of its kind.
    pub fn check_option(&self, name: &str, value: &str) -> Result<(), OptionProblem> {
        let Some(option) = self.options.iter().find(|option| option.name.eq_ignore_ascii_case(name)) else {
            return Err(OptionProblem::Unknown { plugin: self.name.clone(), name: name.to_owned() });
        };
        if option.takes(value) {
            return Ok(());
        }
        Err(OptionProblem::Value {
            plugin: self.name.clone(),
            name: option.name.clone(),
            value: value.to_owned(),
            wanted: option.wanted(),
        })
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Plugin")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("file", &self.file())
            .finish_non_exhaustive()
    }
}
