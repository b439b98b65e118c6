//! Logging of a running hub: `tracing` events to standard error, as text or as JSON lines.
//!
//! Not here: the mail log with its E, D and Q records (`mail_log`), which takes them from the same events.

use std::io::{self, IsTerminal};

use sluice_smtpd::SLAVE_DEBUG;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::cli::Format;
use crate::exit::{Exit, ExitWith, Failure};
use crate::mail_log;

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
    let text = fmt::layer().with_writer(io::stderr);
    let text = match format {
        Format::Json => text.json().boxed(),
        Format::Text => text.with_ansi(io::stderr().is_terminal()).boxed(),
    };
    // Whatever `--log` leaves out, records go to the mail log.
    let records =
        filter_fn(|event| event.target() == mail_log::TARGET).with_max_level_hint(LevelFilter::INFO);
    let records = mail_log::Records.with_filter(records);
    tracing_subscriber::registry().with(text.with_filter(filter)).with(records).init();
    Ok(())
}
