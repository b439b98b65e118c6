//! `sluice check`: everything that is wrong with a configuration, without running it.

use crate::cli::{Check, Format};
use crate::exit::{Exit, Failure};
use crate::{load, output, report};

/// Reads the configuration and shows what was noticed.
pub(crate) fn check(check: &Check) -> Result<Exit, Failure> {
    let reading = load::read(&check.common.config);
    report::show(&reading.diagnostics, &reading.sources, check.common.format)?;
    if check.common.format == Format::Text {
        output::line(&format!("{}: {}", check.common.config.display(), report::tally(&reading.diagnostics)))?;
    }
    Ok(if reading.loaded.is_some() { Exit::Ok } else { Exit::Config })
}
