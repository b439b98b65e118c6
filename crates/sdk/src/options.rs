//! Options as a struct: a table for the host and the operator, and values for the channel, from one definition.
//!
//! ```
//! use sluice_sdk::{OptionWord, Options};
//! use std::path::PathBuf;
//! use std::time::Duration;
//!
//! /// What the option file of a channel may say.
//! #[derive(Debug, Options)]
//! struct Mine {
//!     /// Where messages are sent to.
//!     #[option(name = "URL")]
//!     target: String, // Without a default it must be there.
//!     /// How often a message is tried before it is given back.
//!     #[option(default = 3, range = 1..=100)]
//!     retries: u32,
//!     /// Seconds to wait for an answer.
//!     #[option(default = 30, range = 1..)]
//!     patience: Duration,
//!     /// 1 writes a line for each message.
//!     verbose: bool, // A switch is off unless it is said to be on.
//!     /// Where copies are kept. Not set: none are.
//!     copies: Option<PathBuf>,
//!     /// How lines end: `crlf` or `lf`.
//!     #[option(default = "crlf")]
//!     line_end: LineEnd,
//! }
//!
//! #[derive(Debug, PartialEq, OptionWord)]
//! enum LineEnd {
//!     Crlf,
//!     Lf,
//! }
//!
//! let spec = &Mine::TABLE[1];
//! assert_eq!((spec.name, spec.default, spec.range), ("RETRIES", Some("3"), Some((1, 100))));
//! assert_eq!(spec.help, "How often a message is tried before it is given back.");
//! assert!(Mine::TABLE[0].required && !Mine::TABLE[4].required);
//! ```
//!
//! The channel says `const OPTIONS: &'static [OptionSpec] = Mine::TABLE;` and, in `create`, `let mine: Mine = context.options()?;`.
//!
//! A table that contradicts itself does not compile:
//!
//! ```compile_fail
//! #[derive(sluice_sdk::Options)]
//! struct Mine {
//!     /// The default is out of range.
//!     #[option(default = 300, range = 1..=100)]
//!     retries: u32,
//! }
//! ```
//!
//! ```compile_fail
//! #[derive(sluice_sdk::Options)]
//! struct Mine {
//!     /// No such line end.
//!     #[option(default = "cr")]
//!     line_end: LineEnd,
//! }
//!
//! #[derive(sluice_sdk::OptionWord)]
//! enum LineEnd {
//!     Crlf,
//!     Lf,
//! }
//! ```
//!
//! # Failure
//! What is wrong in an option file is said all at once, each with name, value and what would be right. The host and `sluice
//! check` look at kinds and ranges before any of this runs, and give file and line; what is left for here are words, and types of
//! the plugin's own.
//! # Not here
//! The other way to options, one by one and by name: [`Context`].

use crate::{Context, CreateError, OptionKind, OptionSpec};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A struct whose fields are a channel's options. Made by `#[derive(Options)]`.
pub trait Options: Sized {
    /// The options, for [`Channel::OPTIONS`](crate::Channel::OPTIONS).
    const TABLE: &'static [OptionSpec];

    /// Reads them.
    ///
    /// # Errors
    /// [`CreateError::Refused`] with everything that is wrong.
    fn read(context: &Context) -> Result<Self, CreateError>;
}

/// A type of which an option may be. Implement it for types of your own; for an enum of words `#[derive(OptionWord)]` does.
///
/// ```
/// use sluice_sdk::{OptionKind, OptionValue, Written};
///
/// /// A port, but not one of those that belong to the system.
/// struct HighPort(u16);
///
/// impl OptionValue for HighPort {
///     const KIND: OptionKind = OptionKind::Integer;
///     const MOST: u64 = u16::MAX as u64;
///
///     fn read(written: &Written<'_>) -> Result<HighPort, String> {
///         let port = u16::read(written)?;
///         if port < 1024 { Err("a port above 1023".to_owned()) } else { Ok(HighPort(port)) }
///     }
/// }
/// ```
pub trait OptionValue: Sized {
    /// What the host lets through.
    const KIND: OptionKind;
    /// Greatest value, of a number.
    const MOST: u64 = u64::MAX;
    /// Must it be written where there is no default?
    const REQUIRED: bool = true;
    /// The words that it may be, for a default that is checked when the plugin is compiled. Empty: any.
    const WORDS: &'static [&'static str] = &[];

    /// The value of what is written, or of the default.
    ///
    /// # Errors
    /// What it must be, as in "it must be …".
    fn read(written: &Written<'_>) -> Result<Self, String>;

    /// The value of an option that is not written and has no default, where there is one.
    #[must_use]
    fn absent() -> Option<Self> {
        None
    }
}

/// The text of an option's value.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    text: &'a str,
    range: (u64, u64),
    spec: &'a OptionSpec,
    folder: Option<&'a Path>,
}

impl Written<'_> {
    /// As written.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text
    }

    /// Is it this word? Letter case and blanks around it do not count.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        self.text.trim().eq_ignore_ascii_case(word)
    }

    /// The number that it is, between the option's bounds.
    ///
    /// # Errors
    /// What it must be.
    pub fn number(&self) -> Result<u64, String> {
        let digits = self.text.trim();
        // `FromStr` of integers takes a leading `+`, which no option file means.
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = if plain { digits.parse::<u64>().ok() } else { None };
        number
            .filter(|number| (self.range.0..=self.range.1).contains(number))
            .ok_or_else(|| self.spec.wanted())
    }

    /// The file or folder that it names; a relative one starts from the folder of the configuration, where that is known.
    ///
    /// # Errors
    /// What it must be.
    pub fn path(&self) -> Result<PathBuf, String> {
        let path = self.text.trim();
        if path.is_empty() || path.contains('\0') {
            return Err(self.spec.wanted());
        }
        Ok(self.folder.map_or_else(|| PathBuf::from(path), |folder| folder.join(path)))
    }
}

impl OptionValue for String {
    const KIND: OptionKind = OptionKind::Text;

    fn read(written: &Written<'_>) -> Result<String, String> {
        Ok(written.text().to_owned())
    }
}

impl OptionValue for PathBuf {
    const KIND: OptionKind = OptionKind::Path;

    fn read(written: &Written<'_>) -> Result<PathBuf, String> {
        written.path()
    }
}

impl OptionValue for bool {
    const KIND: OptionKind = OptionKind::Switch;

    fn read(written: &Written<'_>) -> Result<bool, String> {
        match written.text().trim() {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(written.spec.wanted()),
        }
    }
}

/// Whole seconds.
impl OptionValue for Duration {
    const KIND: OptionKind = OptionKind::Seconds;

    fn read(written: &Written<'_>) -> Result<Duration, String> {
        written.number().map(Duration::from_secs)
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl OptionValue for $number {
            const KIND: OptionKind = OptionKind::Integer;
            const MOST: u64 = <$number>::MAX as u64;

            fn read(written: &Written<'_>) -> Result<$number, String> {
                let number = written.number()?;
                <$number>::try_from(number).map_err(|_| written.spec.wanted())
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64, usize);

/// An option that may be left out.
impl<T: OptionValue> OptionValue for Option<T> {
    const KIND: OptionKind = T::KIND;
    const MOST: u64 = T::MOST;
    const REQUIRED: bool = false;
    const WORDS: &'static [&'static str] = T::WORDS;

    fn read(written: &Written<'_>) -> Result<Option<T>, String> {
        T::read(written).map(Some)
    }

    fn absent() -> Option<Option<T>> {
        Some(None)
    }
}

/// Completes a row of a derived table by what its type says, while the plugin is compiled.
///
/// # Panics
/// Where the row contradicts itself: then the plugin does not compile.
#[doc(hidden)]
#[must_use]
pub const fn checked<T: OptionValue>(mut spec: OptionSpec) -> OptionSpec {
    let numeric = matches!(T::KIND, OptionKind::Integer | OptionKind::Seconds);
    assert!(numeric || spec.range.is_none(), "only numbers and seconds have a range");
    if numeric {
        let (min, max) = match spec.range {
            Some(range) => range,
            None => (0, u64::MAX),
        };
        assert!(min <= max, "the range is empty");
        assert!(max > 0, "a range needs more than 0");
        assert!(min <= T::MOST, "the range is outside of the type");
        let max = if max > T::MOST { T::MOST } else { max };
        spec.range = if min == 0 && max == u64::MAX { None } else { Some((min, max)) };
    }
    if spec.default.is_none() && T::REQUIRED {
        if matches!(T::KIND, OptionKind::Switch) {
            spec.default = Some("0");
        } else {
            spec.required = true;
        }
    }
    if let Some(default) = spec.default {
        let digits = default.as_bytes();
        if numeric {
            let (mut number, mut at) = (0_u64, 0);
            assert!(!digits.is_empty(), "the default is not a number");
            while at < digits.len() {
                assert!(digits[at].is_ascii_digit(), "the default is not a number");
                number = number * 10 + (digits[at] - b'0') as u64;
                at += 1;
            }
            if let Some((min, max)) = spec.range {
                assert!(min <= number && number <= max, "the default is outside of the range");
            }
        }
        if matches!(T::KIND, OptionKind::Switch) {
            assert!(
                digits.len() == 1 && matches!(digits[0], b'0' | b'1'),
                "the default of a switch is 0 or 1"
            );
        }
        let mut known = T::WORDS.is_empty();
        let mut at = 0;
        while at < T::WORDS.len() {
            known = known || default.eq_ignore_ascii_case(T::WORDS[at]);
            at += 1;
        }
        assert!(known, "the default is none of the words");
    }
    spec
}

/// `` `a`, `b` or `c` ``.
#[doc(hidden)]
#[must_use]
pub fn one_of(words: &[&str]) -> String {
    let mut text = String::new();
    for (at, word) in words.iter().enumerate() {
        let between = match at {
            0 => "",
            _ if at + 1 == words.len() => " or ",
            _ => ", ",
        };
        let _ = write!(text, "{between}`{word}`");
    }
    text
}

/// Longest value that is repeated in a message about it, in characters.
const SHOWN_MAX: usize = 80;

/// Reads one option after the other and keeps what is wrong with them.
#[doc(hidden)]
#[derive(Debug)]
pub struct Reading<'c> {
    context: &'c Context,
    table: &'static [OptionSpec],
    folder: Option<&'c Path>,
    wrong: Vec<String>,
}

impl<'c> Reading<'c> {
    #[must_use]
    pub fn new(context: &'c Context, table: &'static [OptionSpec]) -> Reading<'c> {
        let folder = context.setting("folder").filter(|folder| !folder.is_empty()).map(Path::new);
        Reading { context, table, folder, wrong: Vec::new() }
    }

    /// The value of the option at this place of the table; `None` when something is wrong with it.
    pub fn value<T: OptionValue>(&mut self, place: usize) -> Option<T> {
        let spec = &self.table[place];
        let Some(text) = self.context.written(spec.name).or(spec.default) else {
            let absent = T::absent();
            if absent.is_none() {
                self.wrong.push(format!("option {} is not set and has no default", spec.name));
            }
            return absent;
        };
        let range = spec.range.unwrap_or((0, u64::MAX));
        match T::read(&Written { text, range, spec, folder: self.folder }) {
            Ok(value) => Some(value),
            Err(wanted) => {
                let mut shown: String = text.chars().take(SHOWN_MAX).collect();
                if shown.len() < text.len() {
                    shown.push('…');
                }
                self.wrong.push(format!("option {} is `{shown}`; it must be {wanted}", spec.name));
                None
            }
        }
    }

    #[must_use]
    pub fn refused(self) -> CreateError {
        CreateError::Refused(self.wrong.join("; "))
    }
}

/// What does not compile.
///
/// No help:
/// ```compile_fail
/// #[derive(sluice_sdk::Options)]
/// struct Mine {
///     retries: u32,
/// }
/// ```
/// A name in lower case:
/// ```compile_fail
/// #[derive(sluice_sdk::Options)]
/// struct Mine {
///     /// Help.
///     #[option(name = "retries")]
///     retries: u32,
/// }
/// ```
/// One name twice:
/// ```compile_fail
/// #[derive(sluice_sdk::Options)]
/// struct Mine {
///     /// Help.
///     a: u32,
///     /// Help.
///     #[option(name = "A")]
///     b: u32,
/// }
/// ```
/// A setting that does not exist:
/// ```compile_fail
/// #[derive(sluice_sdk::Options)]
/// struct Mine {
///     /// Help.
///     #[option(least = 1)]
///     a: u32,
/// }
/// ```
/// A range that is none:
/// ```compile_fail
/// #[derive(sluice_sdk::Options)]
/// struct Mine {
///     /// Help.
///     #[option(range = 5)]
///     a: u32,
/// }
/// ```
/// A range of words:
/// ```compile_fail
/// #[derive(sluice_sdk::Options)]
/// struct Mine {
///     /// Help.
///     #[option(range = 1..=5)]
///     a: String,
/// }
/// ```
/// An empty range:
/// ```compile_fail
/// #[derive(sluice_sdk::Options)]
/// struct Mine {
///     /// Help.
///     #[option(range = 5..=4)]
///     a: u32,
/// }
/// ```
/// A range beyond the type:
/// ```compile_fail
/// #[derive(sluice_sdk::Options)]
/// struct Mine {
///     /// Help.
///     #[option(range = 256..)]
///     a: u8,
/// }
/// ```
/// A default that is no number:
/// ```compile_fail
/// #[derive(sluice_sdk::Options)]
/// struct Mine {
///     /// Help.
///     #[option(default = "x")]
///     a: u32,
/// }
/// ```
/// A default that is no switch:
/// ```compile_fail
/// #[derive(sluice_sdk::Options)]
/// struct Mine {
///     /// Help.
///     #[option(default = 2)]
///     a: bool,
/// }
/// ```
/// A type that no option is of:
/// ```compile_fail
/// #[derive(sluice_sdk::Options)]
/// struct Mine {
///     /// Help.
///     a: Vec<u8>,
/// }
/// ```
/// A generic table:
/// ```compile_fail
/// #[derive(sluice_sdk::Options)]
/// struct Mine<T> {
///     /// Help.
///     a: T,
/// }
/// ```
/// Fields without names:
/// ```compile_fail
/// #[derive(sluice_sdk::Options)]
/// struct Mine(u32);
/// ```
/// Words with fields:
/// ```compile_fail
/// #[derive(sluice_sdk::OptionWord)]
/// enum Mine {
///     A(u32),
/// }
/// ```
/// One word twice:
/// ```compile_fail
/// #[derive(sluice_sdk::OptionWord)]
/// enum Mine {
///     A,
///     #[option(word = "A")]
///     B,
/// }
/// ```
/// No words:
/// ```compile_fail
/// #[derive(sluice_sdk::OptionWord)]
/// enum Mine {}
/// ```
/// And what does, so that the others do not fail for another reason:
/// ```
/// #[derive(sluice_sdk::Options)]
/// struct Mine {
///     /// Help.
///     #[option(name = "B", default = 5, range = 1..=5,)]
///     a: u32,
/// }
/// ```
#[cfg(doctest)]
#[derive(Debug)]
struct Wrong;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::RawLog;
    use crate::{Log, Setting, SettingKind};
    use sluice_sdk_derive::{OptionWord, Options};

    #[derive(Debug, PartialEq, Options)]
    struct Mine {
        /// Where messages
        /// are sent to.
        #[option(name = "URL")]
        target: String,
        /// Tries.
        #[option(default = 3, range = 1..=100)]
        retries: u32,
        /// Seconds.
        #[option(default = 30, range = 1..)]
        patience: Duration,
        /// Loud.
        verbose: bool,
        /// Copies.
        copies: Option<PathBuf>,
        /// Line ends.
        #[option(default = "crlf")]
        line_end: LineEnd,
        /// A small number.
        small: Option<u8>,
    }

    #[derive(Debug, PartialEq, OptionWord)]
    enum LineEnd {
        Crlf,
        LfOnly,
        #[option(word = "none")]
        Nothing,
    }

    fn read(lines: &[(&str, &str)]) -> Result<Mine, String> {
        let line = |(name, value): &(&str, &str)| Setting {
            kind: SettingKind::Option,
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        let mut settings: Vec<Setting> = lines.iter().map(line).collect();
        settings.push(Setting {
            kind: SettingKind::Fact,
            name: "folder".to_owned(),
            value: "/etc/mail".to_owned(),
        });
        let log = Log { raw: RawLog::unread() };
        let context = Context { channel: "mine".to_owned(), settings, options: Mine::TABLE, log };
        context.options().map_err(|error| error.to_string())
    }

    #[test]
    fn a_struct_is_read_with_its_defaults() {
        let mine = read(&[("url", "x")]).unwrap();
        let wanted = Mine {
            target: "x".to_owned(),
            retries: 3,
            patience: Duration::from_secs(30),
            verbose: false,
            copies: None,
            line_end: LineEnd::Crlf,
            small: None,
        };
        assert_eq!(mine, wanted);
        let mine = read(&[
            ("URL", " x"),
            ("RETRIES", "100"),
            ("Patience", " 1 "),
            ("VERBOSE", "1"),
            ("COPIES", "copies/a"),
            ("LINE_END", "LF_only"),
            ("SMALL", "255"),
            ("OF_THE_SERVER", "?"),
            ("RETRIES", "99"),
        ]);
        let wanted = Mine {
            target: " x".to_owned(),
            retries: 99,
            patience: Duration::from_secs(1),
            verbose: true,
            copies: Some("/etc/mail/copies/a".into()),
            line_end: LineEnd::LfOnly,
            small: Some(255),
        };
        assert_eq!(mine, Ok(wanted));
        assert_eq!(read(&[("URL", ""), ("COPIES", "/a")]).unwrap().copies, Some("/a".into()));
    }

    #[test]
    fn all_that_is_wrong_is_said_with_name_value_and_remedy() {
        let long = "9".repeat(500);
        let wrong = read(&[
            ("RETRIES", "101"),
            ("PATIENCE", "0"),
            ("VERBOSE", "yes"),
            ("COPIES", " "),
            ("LINE_END", "cr"),
            ("SMALL", "256"),
        ]);
        assert_eq!(
            wrong.unwrap_err(),
            "option URL is not set and has no default; option RETRIES is `101`; it must be a whole number from 1 to 100; \
             option PATIENCE is `0`; it must be a whole number of seconds, at least 1; option VERBOSE is `yes`; it must be 0 or 1; \
             option COPIES is ` `; it must be a file or folder; option LINE_END is `cr`; it must be `crlf`, `lf_only` or `none`; \
             option SMALL is `256`; it must be a whole number, at most 255"
        );
        for bad in ["", "x", "-1", "+1", "1.0", &long] {
            let said = read(&[("URL", "x"), ("RETRIES", bad)]).unwrap_err();
            assert!(said.starts_with("option RETRIES is `") && said.len() < 160, "{said}");
        }
    }

    #[test]
    fn the_table_is_what_the_host_is_told() {
        let row = |at: usize| {
            let OptionSpec { name, kind, default, range, required, .. } = Mine::TABLE[at];
            (name, kind, default, range, required)
        };
        assert_eq!(row(0), ("URL", OptionKind::Text, None, None, true));
        assert_eq!(Mine::TABLE[0].help, "Where messages are sent to.");
        assert_eq!(row(1), ("RETRIES", OptionKind::Integer, Some("3"), Some((1, 100)), false));
        assert_eq!(row(2), ("PATIENCE", OptionKind::Seconds, Some("30"), Some((1, u64::MAX)), false));
        assert_eq!(row(3), ("VERBOSE", OptionKind::Switch, Some("0"), None, false));
        assert_eq!(row(4), ("COPIES", OptionKind::Path, None, None, false));
        assert_eq!(row(5), ("LINE_END", OptionKind::Text, Some("crlf"), None, false));
        assert_eq!(row(6), ("SMALL", OptionKind::Integer, None, Some((0, 255)), false));
        assert_eq!(Mine::TABLE.len(), 7);
    }

    /// The type is told from what stands around it, and help is one line of any characters.
    #[test]
    fn structs_are_read_as_people_write_them() {
        #[derive(Options)]
        #[allow(dead_code)]
        pub(crate) struct Odd {
            #[doc = r#"A "raw" one."#]
            #[option(default = "a\"b\u{e9}", name = "R")]
            pub(crate) raw: String,
            /// Two,
            ///
            /// with a \ and an "é".
            #[allow(clippy::struct_field_names)]
            #[option(range = 1..10)]
            pub half_open: ::core::option::Option<u16>,
            /// Three.
            #[option(range = ..=1_000, default = 1_0)]
            r#type: u64,
        }
        let row = |at: usize| {
            (Odd::TABLE[at].name, Odd::TABLE[at].help, Odd::TABLE[at].default, Odd::TABLE[at].range)
        };
        assert_eq!(row(0), ("R", "A \"raw\" one.", Some("a\"b\u{e9}"), None));
        assert_eq!(row(1), ("HALF_OPEN", "Two, with a \\ and an \"é\".", None, Some((1, 9))));
        assert_eq!(row(2), ("TYPE", "Three.", Some("10"), Some((0, 1000))));
        assert_eq!(Odd::TABLE.len(), 3);
    }
}
