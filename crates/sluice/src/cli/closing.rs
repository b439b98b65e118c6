//! Arguments of the commands that close and open ways: `channel stop`, `channel start`, `suspend`, `resume`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::Common;

/// What can be asked of the channels.
#[derive(Debug, Subcommand)]
pub(crate) enum Channel {
    /// Lists the channels: plugin, schedule, jobs, what waits, what last went wrong.
    List(ChannelList),
    /// Stops channels: nothing of them is begun, what is under way finishes, mail waits.
    ///
    /// Stays so over restarts and reloads, until `sluice channel start`. ETRN for a stopped channel is told 458, a
    /// release says what keeps it back. Ages go on counting: see `notices`. Exit status 65, and none is stopped, when there is no
    /// channel of one of the names.
    Stop(ChannelNames),
    /// Starts channels that were stopped: what is due is delivered.
    Start(ChannelNames),
}

/// Arguments of `channel list`.
#[derive(Debug, Args)]
pub(crate) struct ChannelList {
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Arguments of `channel stop` and `channel start`.
#[derive(Debug, Args)]
pub(crate) struct ChannelNames {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Names of channels.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
}

/// Arguments of `suspend`.
#[derive(Debug, Args)]
pub(crate) struct Suspend {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The destination domain, as `queue summarize` shows it; with `@` before it, everything below it too.
    #[arg(value_name = "DOMAIN|@DOMAIN", required_unless_present = "list")]
    pub(crate) domain: Option<String>,
    /// For how long: 90s, 30m, 2h, 1d12h. Without it, until `sluice resume`.
    #[arg(long = "for", value_name = "TIME", value_parser = time, conflicts_with = "list")]
    pub(crate) time: Option<Duration>,
    /// Why, for those who ask with `--list`.
    #[arg(long, value_name = "TEXT", default_value = "", conflicts_with = "list")]
    pub(crate) reason: String,
    /// Lists what is suspended.
    #[arg(long, conflicts_with = "domain")]
    pub(crate) list: bool,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) common: Common,
    /// As it was suspended: `example.com` or `@example.com`.
    #[arg(value_name = "DOMAIN|@DOMAIN")]
    pub(crate) domain: String,
}

/// A time that somebody types.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    match sluice_config::time_in_words(text) {
        Some(time) if time >= Duration::from_secs(1) => Ok(time),
        Some(_) => Err("less than a second".to_owned()),
        None => Err("not a time such as 90s, 30m, 2h, 3d, 1d12h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_what_is_none_is_said() {
        assert_eq!(time("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(time("1d12h"), Ok(Duration::from_secs(36 * 3600)));
        for wrong in ["", "h", "2x", "-2h", "zwei", "2h3"] {
            assert!(time(wrong).is_err(), "{wrong}: {:?}", time(wrong));
        }
        assert_eq!(time("0s"), Err("less than a second".to_owned()));
    }
}
