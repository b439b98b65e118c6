//! What a channel knows about itself: its settings and its way to the log.

use crate::{CreateError, OptionSpec, Options, export};
use std::fmt::Display;
use std::ops::RangeBounds;
use std::time::Duration;

/// Where a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// A channel keyword in force.
    Keyword,
    /// A line of the channel's option file.
    Option,
    /// Something the host knows, such as `official_host`.
    Fact,
}

/// One setting of the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Where it comes from.
    pub kind: SettingKind,
    /// Its name.
    pub name: String,
    /// A keyword's arguments joined by one blank, an option's value as written; empty when there is none.
    pub value: String,
}

/// Everything a channel is created from. Owned: the channel may keep it.
#[derive(Clone, Debug)]
pub struct Context {
    pub(crate) channel: String,
    pub(crate) settings: Vec<Setting>,
    pub(crate) options: &'static [OptionSpec],
    pub(crate) log: Log,
}

impl Context {
    /// The channel's name, lower case.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// All settings: keywords in force, option lines, facts.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The arguments of a keyword in force, or a fact; `Some("")` for a keyword without arguments.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        let found = self.settings.iter().find(|one| one.kind != SettingKind::Option && same(&one.name, name));
        found.map(|one| one.value.as_str())
    }

    /// Is the keyword in force?
    #[must_use]
    pub fn has(&self, keyword: &str) -> bool {
        self.setting(keyword).is_some()
    }

    /// An option's value as written, or its default. `None` when neither is there.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.written(name)
            .or_else(|| self.options.iter().find(|one| same(one.name, name)).and_then(|one| one.default))
    }

    /// All options at once, as the struct that was made for them.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn options<T: Options>(&self) -> Result<T, CreateError> {
        T::read(self)
    }

    /// An option's value as written; the last line counts.
    pub(crate) fn written(&self, name: &str) -> Option<&str> {
        let of_file = |one: &&Setting| one.kind == SettingKind::Option && same(&one.name, name);
        self.settings.iter().rfind(of_file).map(|one| one.value.as_str())
    }

    /// An option that must be there.
    ///
    /// # Errors
    /// When it is neither written nor has a default.
    pub fn option_text(&self, name: &str) -> Result<&str, CreateError> {
        self.option(name)
            .ok_or_else(|| CreateError::Refused(format!("option {name} is not set and has no default")))
    }

    /// A whole number within `range`.
    ///
    /// # Errors
    /// When it is absent without a default, not a number, or outside of `range`; the text names option, value and range.
    pub fn option_u32(&self, name: &str, range: impl RangeBounds<u32>) -> Result<u32, CreateError> {
        self.option_number(name, range)
    }

    /// A whole number within `range`.
    ///
    /// # Errors
    /// As [`option_u32`](Self::option_u32).
    pub fn option_u64(&self, name: &str, range: impl RangeBounds<u64>) -> Result<u64, CreateError> {
        self.option_number(name, range)
    }

    /// A time in whole seconds within `range`.
    ///
    /// # Errors
    /// As [`option_u32`](Self::option_u32).
    pub fn option_seconds(&self, name: &str, range: impl RangeBounds<u64>) -> Result<Duration, CreateError> {
        Ok(Duration::from_secs(self.option_number(name, range)?))
    }

    /// `0` is false, `1` is true.
    ///
    /// # Errors
    /// When it is absent without a default, or anything else.
    pub fn option_switch(&self, name: &str) -> Result<bool, CreateError> {
        match self.option_text(name)?.trim() {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(CreateError::Refused(format!("option {name} is `{other}`; it must be 0 or 1"))),
        }
    }

    /// Writes a line to the host's log.
    pub fn log(&self, level: Level, text: &str) {
        self.log.write(level, text);
    }

    /// A handle for logging that may be kept and sent to other threads.
    #[must_use]
    pub fn logger(&self) -> Log {
        self.log
    }

    fn option_number<N: std::str::FromStr + PartialOrd + Display>(
        &self,
        name: &str,
        range: impl RangeBounds<N>,
    ) -> Result<N, CreateError> {
        let written = self.option_text(name)?.trim();
        let refused = |what: &str| {
            let text = format!("option {name} is `{written}`; it must be {what}");
            CreateError::Refused(text)
        };
        // `FromStr` of integers takes a leading `+`, which no option file means.
        let digits = !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { written.parse::<N>().ok() } else { None };
        match number {
            Some(number) if range.contains(&number) => Ok(number),
            _ => Err(refused(&in_words(&range))),
        }
    }
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// `a whole number from 1 to 65535`.
fn in_words<N: Display>(range: &impl RangeBounds<N>) -> String {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let from = match range.start_bound() {
        Included(least) => format!("of at least {least}"),
        Excluded(below) => format!("above {below}"),
        Unbounded => "that is not negative".to_owned(),
    };
    match (range.start_bound(), range.end_bound()) {
        (Included(least), Included(most)) => format!("a whole number from {least} to {most}"),
        (_, Included(most)) => format!("a whole number {from} and at most {most}"),
        (_, Excluded(above)) => format!("a whole number {from} and below {above}"),
        (_, Unbounded) => format!("a whole number {from}"),
    }
}

/// How loud a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Someone must act.
    Error,
    /// The plugin coped.
    Warn,
    /// What was asked for happened.
    Info,
    /// For the plugin's author.
    Debug,
    /// For the plugin's author, in every detail.
    Trace,
}

/// The way to the host's log. The host names channel and plugin in each line, limits its length and escapes control
/// characters.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    pub(crate) raw: export::RawLog,
}

impl Log {
    /// Writes a line that is about the channel.
    pub fn write(&self, level: Level, text: &str) {
        self.raw.write(level, None, text);
    }

    /// Writes a line that is about the message with queue id `id`.
    pub fn write_about(&self, level: Level, id: &str, text: &str) {
        self.raw.write(level, Some(id), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OptionKind;

    const OPTIONS: &[OptionSpec] = &[
        OptionSpec::new("PORT", OptionKind::Integer, "").default_text("25"),
        OptionSpec::new("WAIT", OptionKind::Seconds, ""),
        OptionSpec::new("QUIET", OptionKind::Switch, "").default_text("0"),
    ];

    fn context(settings: &[(SettingKind, &str, &str)]) -> Context {
        let setting = |(kind, name, value): &(SettingKind, &str, &str)| Setting {
            kind: *kind,
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        Context {
            channel: "tcp_local".to_owned(),
            settings: settings.iter().map(setting).collect(),
            options: OPTIONS,
            log: Log { raw: export::RawLog::unread() },
        }
    }

    fn option(name: &str, value: &str) -> Context {
        context(&[(SettingKind::Option, name, value)])
    }

    #[test]
    fn keywords_and_options_do_not_hide_each_other() {
        let context = context(&[
            (SettingKind::Keyword, "port", "587"),
            (SettingKind::Keyword, "smtp", ""),
            (SettingKind::Fact, "official_host", "TCP-DAEMON"),
        ]);
        assert_eq!(context.setting("PORT"), Some("587"));
        assert_eq!(context.option("port"), Some("25"));
        assert_eq!(context.setting("official_host"), Some("TCP-DAEMON"));
        assert!(context.has("smtp") && !context.has("nomx"));
    }

    #[test]
    fn the_last_line_of_an_option_counts() {
        let context = context(&[(SettingKind::Option, "PORT", "1"), (SettingKind::Option, "port", "2")]);
        assert_eq!(context.option_u32("PORT", 1..=65535), Ok(2));
    }

    #[test]
    fn numbers_are_taken_within_their_range() {
        assert_eq!(option("port", " 587 ").option_u32("PORT", 1..=65535), Ok(587));
        assert_eq!(option("OTHER", "1").option_u32("PORT", 1..=65535), Ok(25));
        assert_eq!(option("WAIT", "90").option_seconds("WAIT", 1..), Ok(Duration::from_secs(90)));
        assert_eq!(option("QUIET", "1").option_switch("QUIET"), Ok(true));
        assert_eq!(option("OTHER", "1").option_switch("QUIET"), Ok(false));
    }

    #[test]
    fn what_is_wrong_is_said_with_name_value_and_remedy() {
        let said = |result: Result<u32, CreateError>| result.unwrap_err().to_string();
        for bad in ["0", "65536", "", "x", "-1", "+1", "1.0", "99999999999999999999"] {
            assert_eq!(
                said(option("PORT", bad).option_u32("PORT", 1..=65535)),
                format!("option PORT is `{bad}`; it must be a whole number from 1 to 65535")
            );
        }
        assert_eq!(
            said(option("PORT", "5").option_u32("PORT", 10..)),
            "option PORT is `5`; it must be a whole number of at least 10"
        );
        assert_eq!(
            said(option("PORT", "5").option_u32("PORT", ..4)),
            "option PORT is `5`; it must be a whole number that is not negative and below 4"
        );
        assert_eq!(
            said(option("PORT", "5").option_u32("WAIT", ..)),
            "option WAIT is not set and has no default"
        );
        assert_eq!(
            option("QUIET", "yes").option_switch("QUIET").unwrap_err(),
            CreateError::Refused("option QUIET is `yes`; it must be 0 or 1".to_owned())
        );
    }
}
