//! Arguments of `sluice release`.

use clap::{Args, Subcommand};

use super::Common;

/// What can be asked of releases.
#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    /// Lists releases, the newest first, with messages promised, delivered, deferred, bounced and left over.
    ///
    /// The newest 10,000 are kept, and of each site the last ten.
    List(ReleaseList),
    /// Shows all that is known of one release.
    ///
    /// Promised and joined are what it covered; each of these messages and recipients is in one of the counts below. Exit
    /// status 65 when there is no such record.
    Show(ReleaseShow),
    /// Tells how a release goes on until it is over, or until Ctrl-C.
    ///
    /// Without an id the newest that is under way, or else the newest. With `--format json` a line at each change.
    Follow(ReleaseFollow),
}

/// Arguments of `release list`.
#[derive(Debug, Args)]
pub(crate) struct ReleaseList {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Only those of this site, the last ten at most.
    #[arg(long, value_name = "SITE")]
    pub(crate) site: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: u64,
}

/// Arguments of `release show`.
#[derive(Debug, Args)]
pub(crate) struct ReleaseShow {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The id, as `release list` and the log have it.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// Arguments of `release follow`.
#[derive(Debug, Args)]
pub(crate) struct ReleaseFollow {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The id, as `release list` and the log have it.
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
}
