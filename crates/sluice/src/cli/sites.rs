//! The command line of `sluice site` and `sluice activator`.

use clap::{Args, Subcommand};

use super::Common;
use crate::site_arguments::{ActivatorValues, SiteValues};

/// What can be done with the sites.
#[derive(Debug, Subcommand)]
pub(crate) enum Site {
    /// Adds a site.
    ///
    /// Who waits for the mail of a domain gets a name, and what belongs to it: the login that may ask, the host that the mail goes
    /// to, how long it may wait. Without options beyond the domains, mail goes to their mail exchangers whoever asks.
    ///
    /// Example: sluice site add branch7 --domains branch7.example.com,@b7.example.com --login branch7 --tier dynamic
    /// --lifetime 30d
    Add(SiteAdd),
    /// Changes options of a site: those that are named, and no others.
    ///
    /// An option that may stand more than once gets the values given here in place of all it had.
    ///
    /// Example: sluice site set branch7 --window 'mon-fri 22:00-06:00' --max-size-in-window 1M --unset port
    Set(SiteSet),
    /// Takes sites out. Their mail stays where it is and follows its channel alone from then on.
    ///
    /// Example: sluice site remove branch7
    Remove(Removal),
    /// Lists the sites of the configuration.
    ///
    /// Each JSON line has site, domains, queue_name, channel, logins, tier, target, port, lifetime_secs, notices_secs, windows,
    /// schedule, max_size_in_window, counts, covers, on_link_up, file and line.
    List(Listing),
    /// Shows what a site means: where its mail waits and would go, who may ask for it, when it goes on its own, and, if a hub
    /// runs, what waits.
    ///
    /// Each JSON line has what `list` has, and channels, goes_to, asked_by, window_open, next_window, next_release, messages and
    /// bytes (null where no hub runs). Exit status 65 when there is no such site.
    ///
    /// Example: sluice site show branch7
    Show(Naming),
}

/// What can be done with the activators.
#[derive(Debug, Subcommand)]
pub(crate) enum Activator {
    /// Adds a server that keeps mail for us, and when it is asked for it.
    ///
    /// With ETRN the server then connects to us: `sluice check` warns when no listener of ours can be reached.
    ///
    /// Example: sluice activator add provider --server mail.provider.example --names @example.com --schedule 'every 30m'
    Add(ActivatorAdd),
    /// Changes options of an activator: those that are named, and no others.
    ///
    /// Example: sluice activator set provider --schedule 'weekdays 08:00, 13:00' --unset names
    Set(ActivatorSet),
    /// Takes activators out.
    ///
    /// Example: sluice activator remove provider
    Remove(Removal),
    /// Lists the activators of the configuration, in the order of the file, and how they are doing if a hub runs.
    ///
    /// Each JSON line has activator, server, port, method, channel, names, login, tls, schedule, windows, on_link_up,
    /// watch_secs, next_run, file and line; hub_runs (null when the hub does not answer), and what the hub knows, null where none runs:
    /// running, runs, last_run, standing (done, later or refused), answer, waits_until and alert. Without a hub next_run is
    /// the next time of the schedule; with one, what a refusal has put off counts.
    List(Listing),
    /// Shows an activator: what it asks whom, how the last run went, when the next is, and whether we can be reached for what
    /// comes.
    ///
    /// Each JSON line has what `list` has, and password (`in sites.cnf` or the file), listeners and reachable. Exit status 65
    /// when there is no such activator.
    ///
    /// Example: sluice activator show provider
    Show(Naming),
    /// Has the running hub ask servers now, and tells what they said.
    ///
    /// Waits until it is over, which with METHOD=atrn is when the mail has come. Exit status 0 when the server does what it
    /// was asked for, 75 when it may do so later, 77 when it refuses. With --on-link-up those are asked that have
    /// ON_LINK_UP, and nothing is waited for.
    ///
    /// Example: sluice activator run provider
    Run(ActivatorRun),
    /// Shows how the activators are doing: last run, answer, next run, alert.
    ///
    /// This is what the running hub knows; after a restart it begins anew. Each JSON line has activator, server, port, method,
    /// running, runs, last_run, standing, answer, next_run, waits_until and alert.
    Status(ActivatorStatus),
}

/// How the file is changed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Editing {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Does not tell a running hub; `sluice reload` does it later.
    #[arg(long)]
    pub(crate) no_reload: bool,
    /// Shows which lines of sites.cnf would go (-) and come (+), checks the result, and writes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Arguments of `site add`.
#[derive(Debug, Args)]
pub(crate) struct SiteAdd {
    #[command(flatten)]
    pub(crate) editing: Editing,
    /// The name of the site: letters, digits, `.`, `-` and `_`.
    #[arg(value_name = "SITE")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) values: SiteValues,
}

/// Arguments of `site set`.
#[derive(Debug, Args)]
pub(crate) struct SiteSet {
    #[command(flatten)]
    pub(crate) editing: Editing,
    /// The name of the site.
    #[arg(value_name = "SITE")]
    pub(crate) name: String,
    /// Takes an option out, so that its default holds again. May be repeated.
    #[arg(long, value_name = "OPTION")]
    pub(crate) unset: Vec<String>,
    #[command(flatten)]
    pub(crate) values: SiteValues,
}

/// Arguments of `activator add`.
#[derive(Debug, Args)]
pub(crate) struct ActivatorAdd {
    #[command(flatten)]
    pub(crate) editing: Editing,
    /// The name of the activator: letters, digits, `.`, `-` and `_`.
    #[arg(value_name = "ACTIVATOR")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) values: ActivatorValues,
}

/// Arguments of `activator set`.
#[derive(Debug, Args)]
pub(crate) struct ActivatorSet {
    #[command(flatten)]
    pub(crate) editing: Editing,
    /// The name of the activator.
    #[arg(value_name = "ACTIVATOR")]
    pub(crate) name: String,
    /// Takes an option out, so that its default holds again. May be repeated.
    #[arg(long, value_name = "OPTION")]
    pub(crate) unset: Vec<String>,
    #[command(flatten)]
    pub(crate) values: ActivatorValues,
}

/// Arguments of `remove`.
#[derive(Debug, Args)]
pub(crate) struct Removal {
    #[command(flatten)]
    pub(crate) editing: Editing,
    /// Names; none is taken out when one of them is not there.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct Listing {
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub(crate) struct Naming {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Names.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
}

/// Arguments of `activator run`.
#[derive(Debug, Args)]
pub(crate) struct ActivatorRun {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Asks all that have ON_LINK_UP.
    #[arg(long, conflicts_with = "names")]
    pub(crate) on_link_up: bool,
    /// Names of activators, asked one after the other.
    #[arg(value_name = "ACTIVATOR", required_unless_present = "on_link_up")]
    pub(crate) names: Vec<String>,
}

/// Arguments of `activator status`.
#[derive(Debug, Args)]
pub(crate) struct ActivatorStatus {
    #[command(flatten)]
    pub(crate) common: Common,
}
