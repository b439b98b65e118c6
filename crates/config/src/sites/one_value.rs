//! One value of a section: a list, one of a few words, a port, a host, a length of time.
//!
//! A value that is none is reported where it stands, and taken as not written.
//!
//! # Not here
//! What values mean together ([`super::reading`]).

use super::reading::All;
use super::words::{self, Found};
use crate::codes;
use crate::lines::place;
use crate::option_file::{Section, Setting};
use crate::values;
use sluice_diag::{Span, nearest};
use std::time::Duration;

/// Domains and logins of one site, and names of one activator.
const LIST_LENGTH_MAX: usize = 10_000;

/// A word of a list with its place.
type Word<'a> = (&'a str, Span);

impl All<'_, '_> {
    /// The words of all lines of a name.
    pub(super) fn list<'s>(&mut self, section: &'s Section, name: &str) -> Vec<Word<'s>> {
        let mut list = Vec::new();
        for setting in section.settings.0.iter().filter(|setting| setting.name == name) {
            let before = list.len();
            list.extend(
                words::words(&setting.value).map(|Found { text, range }| {
                    (text, place(&[], setting.value_span, range.start, range.end))
                }),
            );
            if list.len() == before {
                let message = format!("`{name}` is empty");
                self.say(
                    &codes::BAD_OPTION_VALUE,
                    message,
                    setting.span,
                    "write something behind the `=`, or take the line out",
                );
            }
        }
        if list.len() > LIST_LENGTH_MAX {
            let message = format!("`{name}` has {} entries, more than {LIST_LENGTH_MAX}", list.len());
            self.say(
                &codes::BAD_OPTION_VALUE,
                message,
                list[LIST_LENGTH_MAX].1,
                "make several sections of it",
            );
            list.truncate(LIST_LENGTH_MAX);
        }
        list
    }

    pub(super) fn choice<T: Copy>(
        &mut self,
        section: &Section,
        name: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let setting = section.settings.get(name)?;
        let found = choices.iter().find(|(word, _)| setting.value.eq_ignore_ascii_case(word));
        if found.is_none() {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
            let help =
                match nearest(&setting.value.to_ascii_lowercase(), choices.iter().map(|(word, _)| *word)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are {}", words.join(", ")),
                };
            self.bad_value(setting, &words.join(", "), &help);
        }
        found.map(|(_, choice)| *choice)
    }

    pub(super) fn switch(&mut self, section: &Section, name: &str) -> Option<bool> {
        let setting = section.settings.get(name)?;
        match values::integer(&setting.value) {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => {
                self.bad_value(setting, "0 or 1", "write 0 or 1");
                None
            }
        }
    }

    pub(super) fn port(&mut self, setting: &Setting) -> Option<u16> {
        let port = values::integer(&setting.value)
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0);
        if port.is_none() {
            self.bad_value(setting, "a port", "write a number from 1 to 65535");
        }
        port
    }

    pub(super) fn host(&mut self, setting: &Setting) -> Option<Box<str>> {
        let host = words::host(&setting.value);
        if host.is_none() {
            let message = format!("`{}` is neither a host name nor an address", setting.value);
            let help = "write a name such as `mail.example.com`, or an address in brackets: `[192.0.2.7]`, `[IPv6:2001:db8::7]`";
            self.say(&codes::BAD_SITE_HOST, message, setting.value_span, help);
        }
        host
    }

    pub(super) fn length(&mut self, setting: &Setting) -> Option<Duration> {
        let length = length(&setting.value);
        if length.is_none() {
            self.bad_value(setting, "a length of time", LENGTH_HELP);
        }
        length
    }

    pub(super) fn bad_value(&mut self, setting: &Setting, wanted: &str, help: &str) {
        let message = format!("`{}` is no value for `{}` ({wanted})", setting.value, setting.name);
        self.say(&codes::BAD_OPTION_VALUE, message, setting.value_span, help);
    }
}

pub(super) const LENGTH_HELP: &str = "write a time with its unit, such as `12h`, `30d` or `P30D`";

/// A length of time with its unit: a bare number would be days to one reader and seconds to the next.
pub(super) fn length(text: &str) -> Option<Duration> {
    let bare = text.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
    values::duration(text).filter(|length| !bare && !length.is_zero())
}
