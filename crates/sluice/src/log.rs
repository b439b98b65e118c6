//! Logging of a running hub: `tracing` events to standard error, as text or as JSON lines.
//!
//! Not here: the mail log with its E, D and Q records, which must not lose lines and comes in a later release.

use std::io::{self, IsTerminal};

use sluice_smtpd::SLAVE_DEBUG;
use tracing_subscriber::EnvFilter;

use crate::cli::Format;
use crate::exit::{Exit, ExitWith, Failure};

/// Starts logging; `directives` are as for `--log`.
///
/// # Errors
/// Directives that cannot be read end in [`Exit::Usage`].
pub(crate) fn start(directives: &str, format: Format) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(directives).map_err(|error| {
        Failure::new(Exit::Usage, anyhow::anyhow!("cannot read --log {directives:?}: {error}"))
    })?;
    // What an operator has asked for with a keyword is told at every level; other directives may still silence it.
    let filter = if directives.contains(SLAVE_DEBUG) {
        filter
    } else {
        let told = format!("{SLAVE_DEBUG}=debug").parse().exit_with(Exit::Software)?;
        filter.add_directive(told)
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        Format::Json => builder.json().init(),
        Format::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
    }
    Ok(())
}
