//! `sluice check`: everything that is wrong with a configuration, without running it.
//!
//! What stands in a channel's option file is partly for its plugin. The plugin is loaded and its table of options asked; that
//! runs none of its code but what the system's loader runs.

use std::collections::HashMap;

use sluice_config::{Config, OptionValue};
use sluice_diag::{Code, Diagnostic, Severity, nearest};
use sluice_host::{Host, OptionProblem};

use crate::cli::{Check, Format};
use crate::exit::{Exit, Failure};
use crate::hub::plugin_folders;
use crate::{load, output, report};

/// Reads the configuration and shows what was noticed.
pub(crate) fn check(check: &Check) -> Result<Exit, Failure> {
    let mut reading = load::with_keys(load::judge(&check.common.config));
    if let Some(loaded) = &reading.loaded {
        reading.diagnostics.extend(plugin_options(&loaded.config));
        reading.diagnostics.extend(crate::filters::check(&loaded.config));
        reading.diagnostics.sort_by_key(|diagnostic| diagnostic.span.map(|span| (span.source, span.start)));
    }
    if check.print {
        for diagnostic in &reading.diagnostics {
            crate::complain(&report::to_text(diagnostic, &reading.sources));
        }
        if let Some(loaded) = &reading.loaded {
            output::line(sluice_config::print(&loaded.config).trim_end())?;
        }
        return Ok(if reading.loaded.is_some() { Exit::Ok } else { Exit::Config });
    }
    report::show(&reading.diagnostics, &reading.sources, check.common.format)?;
    if check.common.format == Format::Text {
        output::line(&format!("{}: {}", check.common.config.display(), report::tally(&reading.diagnostics)))?;
    }
    Ok(if reading.loaded.is_some() { Exit::Ok } else { Exit::Config })
}

/// What is wrong with those options of channels that their plugins read. The hub starts all the same, so these are
/// warnings.
fn plugin_options(config: &Config) -> Vec<Diagnostic> {
    let host = Host::new(plugin_folders(config));
    let mut plugins = HashMap::new();
    let mut found = Vec::new();
    for channel in &config.channels {
        let Some(name) = channel.plugin.as_deref() else { continue };
        for option in channel.option_file.iter().filter(|option| !option.known_to_server) {
            let plugin = plugins.entry(name).or_insert_with(|| host.load(name));
            match plugin {
                Ok(plugin) => match plugin.check_option(&option.name, &option.value) {
                    Ok(()) => {}
                    Err(OptionProblem::Unknown { .. }) if option.recognised => {}
                    Err(OptionProblem::Unknown { .. }) => {
                        let plugin_has = plugin.options().iter().map(|option| option.name.as_str());
                        let help =
                            format!("neither the server nor the plugin `{name}` has it; it is ignored");
                        found.push(unknown(option, plugin_has, help));
                    }
                    Err(problem @ OptionProblem::Value { .. }) => {
                        let remark = Diagnostic::new(code("bad-option-value"), problem.to_string());
                        let remark = remark.at(option.value_span).severity(Severity::Warning);
                        found.push(
                            remark.help(format!("the channel `{}` does not start with it", channel.name)),
                        );
                    }
                },
                Err(_) if option.recognised => {}
                Err(error) => {
                    let help = format!("the plugin `{name}`, whose it may be, cannot be asked: {error}");
                    found.push(unknown(option, std::iter::empty(), help));
                }
            }
        }
        if let Ok(plugin) = plugins.entry(name).or_insert_with(|| host.load(name)) {
            let written =
                |name: &str| channel.option_file.iter().any(|line| line.name.eq_ignore_ascii_case(name));
            for option in plugin.options().iter().filter(|option| option.required && !written(&option.name)) {
                let message = format!("option {} of plugin {} is not set", option.name, plugin.name());
                let help = format!(
                    "the channel `{0}` does not start without it; write `{1}=…` into `{0}_option`: {2}",
                    channel.name, option.name, option.help
                );
                found.push(Diagnostic::new(code("option-required"), message).at(channel.span).help(help));
            }
        }
    }
    found
}

fn unknown<'a>(option: &OptionValue, plugin_has: impl Iterator<Item = &'a str>, help: String) -> Diagnostic {
    let of_channels =
        sluice_config::option_tables().into_iter().filter(|table| table.file.contains("_option"));
    let server_has = of_channels.flat_map(|table| table.options).map(|info| info.name);
    let near = nearest(&option.name, server_has.chain(plugin_has));
    let message = format!("`{}` is not an option", option.name);
    let remark = Diagnostic::new(code("unknown-option"), message).at(option.span);
    remark.help(near.map_or(help, |near| format!("did you mean `{near}`?")))
}

/// A code of the configuration, which has these mistakes in other files too.
fn code(name: &str) -> &'static Code {
    let mut codes = sluice_config::codes().iter().copied();
    codes.find(|code| code.name == name).expect("a code of `config`, compared by a test")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_codes_asked_for_exist() {
        for name in ["unknown-option", "bad-option-value", "option-required"] {
            assert_eq!(super::code(name).name, name);
        }
    }
}
