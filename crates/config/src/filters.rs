//! Filters of messages: which plugins they are (`option.dat`), and which channels ask for them (keywords).
//!
//! Names and numbers are Messaging Server's ("Integrating spam and virus filtering programs" in its Administration Guide):
//! `SPAMFILTERn_LIBRARY` names what is called, the keywords `sourcespamfilterN` and `destinationspamfilterN` say for which mail. Here
//! the library is a plugin of ours.
//!
//! # Not here
//! Loading the plugin, and asking it.

use crate::codes;
use crate::lines::{Manner, Reader};
use crate::model::{Channel, OptionValue};
use crate::option_file;
use crate::options::Options;
use sluice_diag::{Diagnostic, Span};
use std::time::Duration;

/// Filters are numbered from 1 to this.
pub(crate) const FILTERS_MAX: u32 = 8;
/// How long a filter may take for a message where `SPAMFILTERn_TIMEOUT` does not say it. Clients wait at least ten minutes
/// behind the final dot (RFC 5321 section 4.5.3.2.6).
pub(crate) const TIME: Duration = Duration::from_secs(30);
/// The most that it may be: all eight together stay below those ten minutes.
pub(crate) const TIME_MAX_SECS: i64 = 60;

/// What becomes of mail about which a filter has no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WithoutVerdict {
    /// 0 and -2: it is refused for now.
    #[default]
    Refused,
    /// 1 and 2: it goes on as if the filter had not been asked.
    Passes,
    /// 3 and 4: it is taken, and waits on the channel [`WAITING_CHANNEL`] until the filter has one.
    Waits,
}

/// The channel on which mail waits for filters.
pub const WAITING_CHANNEL: &str = "reprocess";

/// Keywords without their numbers, as they stand in the names of queues in which mail waits.
pub const SOURCE_FILTER: &str = "sourcespamfilter";
/// The same for destinations.
pub const DESTINATION_FILTER: &str = "destinationspamfilter";

/// Whether mail in this queue of a channel waits for a filter: `sourcespamfilter1:tcp_local` on [`WAITING_CHANNEL`]. It has not been
/// seen by all its filters, and goes nowhere else before that. No address has a host of that form, for a colon stands in none but a domain literal.
#[must_use]
pub fn waits_for_filter(channel: &str, queue: &str) -> bool {
    let is_filter = |name: &str| [SOURCE_FILTER, DESTINATION_FILTER].iter().any(|one| name.starts_with(one));
    channel == WAITING_CHANNEL && queue.split_once(':').is_some_and(|(name, _)| is_filter(name))
}

/// What option.dat says of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterOptions {
    /// 1 to 8.
    pub number: u32,
    /// `SPAMFILTERn_LIBRARY`: its plugin, by name, or as a file when there is a `/` in it.
    pub plugin: String,
    /// Where the plugin is named.
    pub plugin_span: Span,
    /// `SPAMFILTERn_CONFIG_FILE`: its option file, as written.
    pub config_file: Option<(String, Span)>,
    /// `SPAMFILTERn_OPTIONAL`: what becomes of mail when the filter fails.
    pub without_verdict: WithoutVerdict,
    /// Where that is said, or the plugin is named.
    pub without_verdict_span: Span,
    /// `SPAMFILTERn_TIMEOUT`: how long it may take for a message.
    pub time: Duration,
}

/// A filter that channels may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterPlugin {
    /// What option.dat says of it.
    pub options: FilterOptions,
    /// The lines of its option file.
    pub option_file: Vec<OptionValue>,
}

/// A filter that a channel asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterUse {
    /// 1 to 8.
    pub number: u32,
    /// The argument of the keyword with `optin`; empty without.
    pub opt_in: String,
}

/// Which filter a keyword asks for, and whether for mail from the channel: `sourcespamfilter3optin` is 3 and true.
fn asked(keyword: &str) -> Option<(u32, bool)> {
    let (rest, is_source) = match keyword.strip_prefix("sourcespamfilter") {
        Some(rest) => (rest, true),
        None => (keyword.strip_prefix("destinationspamfilter")?, false),
    };
    let number: u32 = rest.strip_suffix("optin").unwrap_or(rest).parse().ok()?;
    (1..=FILTERS_MAX).contains(&number).then_some((number, is_source))
}

/// Enters what a keyword asks for; false when it is no keyword about filters.
pub(crate) fn ask(
    keyword: &str,
    argument: Option<&str>,
    source: &mut Vec<FilterUse>,
    destination: &mut Vec<FilterUse>,
) -> bool {
    let Some((number, is_source)) = asked(keyword) else { return false };
    let uses = if is_source { source } else { destination };
    uses.retain(|other| other.number != number);
    let at = uses.partition_point(|other| other.number < number);
    uses.insert(at, FilterUse { number, opt_in: argument.unwrap_or_default().to_owned() });
    true
}

/// The filters, with their option files; and remarks on channels that ask for what is not there.
pub(crate) fn read(options: &Options, channels: &[Channel], reader: &mut Reader<'_>) -> Vec<FilterPlugin> {
    for channel in channels {
        for keyword in &channel.keywords {
            let Some((number, _)) = asked(keyword.info.name) else { continue };
            if options.filters.iter().any(|filter| filter.number == number) {
                continue;
            }
            let message =
                format!("`{}`: there is no filter {number}, mail passes as it is", keyword.info.name);
            let remark = Diagnostic::new(&codes::NO_SUCH_FILTER, message).at(keyword.span);
            reader.push(remark.help(format!("write `SPAMFILTER{number}_LIBRARY=plugin` into option.dat")));
        }
    }
    let brings_in =
        channels.iter().any(|one| one.name == WAITING_CHANNEL && one.plugin.as_deref() == Some("reprocess"));
    for filter in options.filters.iter().filter(|one| one.without_verdict == WithoutVerdict::Waits) {
        if brings_in {
            continue;
        }
        let number = filter.number;
        let message = format!(
            "no mail can wait for filter {number}: there is no channel `{WAITING_CHANNEL}` that brings mail in again"
        );
        let remark = Diagnostic::new(&codes::FILTER_CANNOT_WAIT, message).at(filter.without_verdict_span);
        reader.push(remark.help(format!(
            "add a channel block `{WAITING_CHANNEL}` with the host `REPROCESS-DAEMON`, or write `SPAMFILTER{number}_OPTIONAL=0`"
        )));
    }
    let filters = options
        .filters
        .iter()
        .map(|filter| FilterPlugin { option_file: option_lines(filter, reader), options: filter.clone() });
    filters.collect()
}

fn option_lines(filter: &FilterOptions, reader: &mut Reader<'_>) -> Vec<OptionValue> {
    let Some((name, span)) = &filter.config_file else { return Vec::new() };
    match reader.open_as(name, Manner::OPTIONS) {
        Ok(text) => option_file::of_plugin(&text, reader),
        Err(why) => {
            let message = format!("cannot read the option file of filter {}: {why}", filter.number);
            let remark = Diagnostic::new(&codes::CANNOT_READ_FILE, message).at(*span);
            reader.push(remark.help("write the file, or take the line out"));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_name_a_number_and_a_direction() {
        assert_eq!(asked("sourcespamfilter1"), Some((1, true)));
        assert_eq!(asked("destinationspamfilter8optin"), Some((8, false)));
        for other in
            ["sourcespamfilter", "sourcespamfilter9", "sourcespamfilter0", "sourcespamfilterx", "submit"]
        {
            assert_eq!(asked(other), None, "{other}");
        }
    }

    #[test]
    fn queues_in_which_mail_waits_for_filters_are_known() {
        for queue in ["sourcespamfilter1:tcp_local", "destinationspamfilter8:tcp_next"] {
            assert!(
                waits_for_filter(WAITING_CHANNEL, queue) && !waits_for_filter("conversion", queue),
                "{queue}"
            );
        }
        for queue in ["", "tcp_local:tcp_next", "sourcespamfilter1", "[ipv6:::1]", "reprocess-daemon"] {
            assert!(!waits_for_filter(WAITING_CHANNEL, queue), "{queue}");
        }
    }

    #[test]
    fn uses_are_in_the_order_of_their_numbers_and_the_last_word_counts() {
        let (mut source, mut destination) = (Vec::new(), Vec::new());
        for (word, argument) in [
            ("sourcespamfilter3", None),
            ("sourcespamfilter1optin", Some("spam")),
            ("destinationspamfilter2", None),
            ("sourcespamfilter3optin", Some("virus,spam")),
        ] {
            assert!(ask(word, argument, &mut source, &mut destination));
        }
        let seen = |uses: &[FilterUse]| {
            uses.iter().map(|one| format!("{}{}", one.number, one.opt_in)).collect::<Vec<_>>()
        };
        assert_eq!(
            (seen(&source), seen(&destination)),
            (vec!["1spam".into(), "3virus,spam".into()], vec!["2".into()])
        );
    }
}
