//! `sluice site` and `sluice activator`, `add`, `set` and `remove`: `sites.cnf` is edited in place.
//!
//! The configuration is read with the new text before anybody writes it; with an error in it the file stays untouched. A
//! running hub is told afterwards. Not here: the edits of the text ([`crate::site_file`]), what the options mean (`config`).

use std::path::PathBuf;

use sluice_admin::{Client, ClientError};
use sluice_config::{Config, SITE_FILE, SiteSection};
use sluice_diag::{Severity, errors_in, nearest};

use super::password::ask;
use super::remote;
use crate::cli::{ActivatorAdd, ActivatorSet, Common, Editing, Format, Removal, SiteAdd, SiteSet};
use crate::exit::{Exit, Failure};
use crate::in_place::{self, New};
use crate::site_file::{self, Changes};
use crate::{complain, load, output, report, site_arguments};

/// `sluice site add`.
pub(crate) fn add_site(add: &SiteAdd) -> Result<Exit, Failure> {
    Edit::new(SiteSection::Site, &add.editing).add(&add.name, add.values.changes())
}

/// `sluice site set`.
pub(crate) fn set_site(set: &SiteSet) -> Result<Exit, Failure> {
    Edit::new(SiteSection::Site, &set.editing).set(&set.name, set.values.changes(), &set.unset)
}

/// `sluice site remove`.
pub(crate) fn remove_sites(removal: &Removal) -> Result<Exit, Failure> {
    Edit::new(SiteSection::Site, &removal.editing).remove(&removal.names)
}

/// `sluice activator add`.
pub(crate) fn add_activator(add: &ActivatorAdd) -> Result<Exit, Failure> {
    Edit::new(SiteSection::Activator, &add.editing).add(&add.name, add.values.changes())
}

/// `sluice activator set`.
pub(crate) fn set_activator(set: &ActivatorSet) -> Result<Exit, Failure> {
    Edit::new(SiteSection::Activator, &set.editing).set(&set.name, set.values.changes(), &set.unset)
}

/// `sluice activator remove`.
pub(crate) fn remove_activators(removal: &Removal) -> Result<Exit, Failure> {
    Edit::new(SiteSection::Activator, &removal.editing).remove(&removal.names)
}

/// One edit of the file.
struct Edit<'a> {
    section: SiteSection,
    editing: &'a Editing,
    file: PathBuf,
}

impl<'a> Edit<'a> {
    fn new(section: SiteSection, editing: &'a Editing) -> Edit<'a> {
        Edit { section, editing, file: load::site_file(&editing.common.config) }
    }

    fn add(&self, name: &str, values: &Changes<'_>) -> Result<Exit, Failure> {
        let changes = self.lines(values)?;
        self.carry_out(&format!("{} `{name}` is added", self.what()), |config, text| {
            if site_file::has(text, self.section, name)
                || self.names(config).any(|own| own.eq_ignore_ascii_case(name))
            {
                let error = anyhow::anyhow!(
                    "there is {} `{name}` already; `sluice {} set` changes it",
                    self.an(),
                    self.what()
                );
                return Err(Failure::new(Exit::Data, error));
            }
            Ok(site_file::added(text, self.section, name, &changes))
        })
    }

    fn set(&self, name: &str, values: &Changes<'_>, unset: &[String]) -> Result<Exit, Failure> {
        let mut changes = self.lines(values)?;
        for option in unset {
            let Some(known) = site_arguments::option_named(self.section, option) else {
                let near = nearest(&option.to_ascii_lowercase(), site_arguments::names(self.section));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                let error = anyhow::anyhow!("--unset {option}: {} has no such option{hint}", self.an());
                return Err(Failure::new(Exit::Usage, error));
            };
            if changes.iter().any(|(set, _)| *set == known) {
                let error = anyhow::anyhow!("--unset {option}: the option is set by the same command");
                return Err(Failure::new(Exit::Usage, error));
            }
            changes.push((known, Vec::new()));
        }
        if changes.is_empty() {
            let error = anyhow::anyhow!("nothing to change; name an option, or --unset one");
            return Err(Failure::new(Exit::Usage, error));
        }
        self.carry_out(&format!("{} `{name}` is changed", self.what()), |config, text| {
            site_file::changed(text, self.section, name, &changes).ok_or_else(|| self.nobody(config, name))
        })
    }

    fn remove(&self, names: &[String]) -> Result<Exit, Failure> {
        let told = match names {
            [name] => format!("{} `{name}` is taken out", self.what()),
            _ => format!("{} {}s are taken out", names.len(), self.what()),
        };
        self.carry_out(&told, |config, text| {
            names.iter().try_fold(text.to_owned(), |text, name| {
                site_file::removed(&text, self.section, name).ok_or_else(|| self.nobody(config, name))
            })
        })
    }

    fn what(&self) -> &'static str {
        match self.section {
            SiteSection::Site => "site",
            SiteSection::Activator => "activator",
        }
    }

    fn an(&self) -> &'static str {
        match self.section {
            SiteSection::Site => "a site",
            SiteSection::Activator => "an activator",
        }
    }

    fn names<'c>(&self, config: Option<&'c Config>) -> Box<dyn Iterator<Item = &'c str> + 'c> {
        let Some(config) = config else { return Box::new(std::iter::empty()) };
        match self.section {
            SiteSection::Site => Box::new(config.sites.iter().map(|site| &*site.name)),
            SiteSection::Activator => {
                Box::new(config.sites.activators().iter().map(|activator| &*activator.name))
            }
        }
    }

    fn nobody(&self, config: Option<&Config>, name: &str) -> Failure {
        let what = self.what();
        let error = if self.names(config).any(|own| own.eq_ignore_ascii_case(name)) {
            anyhow::anyhow!("the {what} `{name}` stands in a file that {SITE_FILE} includes; change it there")
        } else {
            let hint = nearest(name, self.names(config)).map(|near| format!("; did you mean `{near}`?"));
            anyhow::anyhow!("there is no {what} `{name}`{}", hint.unwrap_or_default())
        };
        Failure::new(Exit::Data, error)
    }

    /// Values as they stand in the file.
    fn lines(&self, values: &Changes<'_>) -> Result<Vec<(&'static str, Vec<String>)>, Failure> {
        let mut lines = Vec::new();
        for (option, given) in values {
            let Some(option) = site_arguments::option_named(self.section, option) else { continue };
            let mut written = Vec::new();
            for value in given {
                let value = match (option, value.as_str()) {
                    ("PASSWORD", "-") => ask("Password: ", false)?,
                    (_, value) => value.trim().to_owned(),
                };
                if value.is_empty() || value.contains(char::is_control) || value.ends_with('\\') {
                    let error = anyhow::anyhow!(
                        "the value `{}` of {option} cannot stand in {SITE_FILE}: it is empty, has a control character, or ends with `\\`",
                        value.escape_debug()
                    );
                    return Err(Failure::new(Exit::Usage, error));
                }
                written.push(value);
            }
            lines.push((option, written));
        }
        Ok(lines)
    }

    /// Makes the new text, reads the configuration with it, writes it, and tells the hub.
    fn carry_out(
        &self,
        told: &str,
        edit: impl FnOnce(Option<&Config>, &str) -> Result<String, Failure>,
    ) -> Result<Exit, Failure> {
        let Editing { common, no_reload, dry_run } = self.editing;
        let mut shown = Vec::new();
        let changed = in_place::change(&self.file, New::Like(&load::main_file(&common.config)), |text| {
            let before = load::read(&common.config);
            let new = edit(before.loaded.as_ref().map(|loaded| &*loaded.config), text)?;
            self.check(common, &new)?;
            shown = site_file::difference(text, &new);
            Ok((!dry_run && new != text).then_some(new))
        })?;
        if *dry_run {
            shown.iter().try_for_each(|line| output::line(line))?;
            return Ok(Exit::Ok);
        }
        if !changed {
            complain(&format!("{}: nothing changes", self.file.display()));
            return Ok(Exit::Ok);
        }
        complain(&format!("{}: {told}", self.file.display()));
        if *no_reload { Ok(Exit::Ok) } else { tell_the_hub(common) }
    }

    /// Reads the configuration with another text in the place of the file.
    fn check(&self, common: &Common, text: &str) -> Result<(), Failure> {
        let reading = load::with_keys(load::read_with_file(&common.config, &self.file, text));
        let of_file = |source| reading.sources.path(source).file_name() == self.file.file_name();
        for diagnostic in &reading.diagnostics {
            let here = diagnostic.span.is_some_and(|span| of_file(span.source));
            let matters = match diagnostic.severity {
                Severity::Error => true,
                Severity::Warning => here,
                Severity::Info => false,
            };
            if !matters {
                continue;
            }
            if common.format == Format::Json {
                output::line(&report::to_json(diagnostic, &reading.sources).to_string())?;
            } else {
                complain(&report::to_text(diagnostic, &reading.sources));
            }
        }
        if errors_in(&reading.diagnostics) {
            let error = anyhow::anyhow!(
                "{} would have {}; nothing is written",
                common.config.display(),
                report::tally(&reading.diagnostics)
            );
            return Err(Failure::new(Exit::Config, error));
        }
        Ok(())
    }
}

/// Has a running hub read its configuration again; says so when there is none.
fn tell_the_hub(common: &Common) -> Result<Exit, Failure> {
    match Client::connect(&load::control_socket(common)?) {
        Err(ClientError::NotRunning { .. }) => {
            complain("no hub runs with this configuration; it takes effect when one is started");
            Ok(Exit::Ok)
        }
        // Whatever else is wrong with the hub is told by the command that asks it.
        _ => remote::reload(common),
    }
}
