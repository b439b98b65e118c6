//! The filters that `option.dat` names: each a plugin that is made ready when it is first needed, and asked about messages.
//!
//! # Failure
//! A filter that cannot be loaded or created is tried again after a rest of a second, which doubles up to a minute; one that
//! refuses its settings is not tried again before they change. Until then it has no verdict, like one that panics or hangs, and
//! `SPAMFILTERn_OPTIONAL` says what becomes of the mail.
//! # Not here
//! Which mail is shown to which filter (`filtering`), the call itself and its deadline (`host`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use sluice_config::{Config, FilterPlugin, WithoutVerdict};
use sluice_diag::{Code, Diagnostic, Severity};
use sluice_host::{Filter, FilterError, Host, Judged, OptionProblem, Plugin, Setting, Shown, Spec};

use crate::hub;

/// The rest after a filter could not be made: it doubles with each time, up to the second.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How often a filter looks whether another generation of its plugin is in force.
const LOOK: Duration = Duration::from_secs(1);

/// The filters of the configuration in force.
pub(crate) struct Filters {
    all: RwLock<Vec<Arc<Named>>>,
}

/// One of them.
pub(crate) struct Named {
    plugin: FilterPlugin,
    host: Host,
    spec: Spec,
    state: Mutex<State>,
}

enum State {
    Untried,
    Ready {
        filter: Arc<Filter>,
        looked: Instant,
        /// A generation of its plugin of which it could not be made.
        not: Option<Arc<Plugin>>,
    },
    Resting {
        until: Instant,
        failures: u32,
        why: String,
    },
    Refused(String),
}

impl State {
    fn ready(filter: Filter) -> State {
        State::Ready { filter: Arc::new(filter), looked: Instant::now(), not: None }
    }
}

impl Filters {
    /// Those of a configuration.
    pub(crate) fn new(config: &Config) -> Filters {
        let host = hub::plugin_host(config);
        let all = config.filters.iter().map(|plugin| Arc::new(Named::new(plugin, &host, config)));
        Filters { all: RwLock::new(all.collect()) }
    }

    /// Takes those of another configuration. A filter whose settings and file are the same goes on; another is ended when no
    /// message is shown to it any more.
    pub(crate) fn renew(&self, config: &Config) {
        let host = hub::plugin_host(config);
        let before = self.all.read().clone();
        let renewed = config.filters.iter().map(|plugin| {
            let new = Named::new(plugin, &host, config);
            let same = before.iter().find(|old| old.is_same(&new));
            same.cloned().unwrap_or_else(|| Arc::new(new))
        });
        let renewed: Vec<Arc<Named>> = renewed.collect();
        *self.all.write() = renewed;
    }

    /// The filter of a number, if it has a plugin.
    pub(crate) fn get(&self, number: u32) -> Option<Arc<Named>> {
        self.all.read().iter().find(|named| named.plugin.options.number == number).cloned()
    }

    /// Names of the filters that are made of the plugin in this file, `spamfilter1` for the first.
    pub(crate) fn made_of(&self, file: &str) -> Vec<String> {
        let all = self.all.read().clone();
        // One that is being made at the moment is not there yet.
        let is_made_of = |named: &&Arc<Named>| match named.state.try_lock().as_deref() {
            Some(State::Ready { filter, .. }) => filter.plugin().file().display().to_string() == file,
            _ => false,
        };
        all.iter().filter(is_made_of).map(|named| named.spec.channel.clone()).collect()
    }

    /// Makes the filters of a generation that is to be put in force, with the option files of `fresh` where they can be read. Of a filter
    /// only those change; everything else is as in the configuration in force. `users` are the names of the plugin.
    ///
    /// # Errors
    /// The first that cannot be made, and why. Nothing has changed then.
    pub(crate) fn next(
        &self,
        users: &[String],
        plugin: &Arc<Plugin>,
        fresh: Option<&Config>,
        config: &Config,
    ) -> Result<Vec<Arc<Named>>, (String, String)> {
        let before = self.all.read().clone();
        let concerned = before.iter().filter(|named| users.contains(&named.plugin.options.plugin));
        let made = concerned.map(|named| {
            let number = named.plugin.options.number;
            let is_same = |other: &&FilterPlugin| {
                (other.options.number, &other.options.plugin) == (number, &named.plugin.options.plugin)
            };
            let fresh = fresh.and_then(|fresh| fresh.filters.iter().find(is_same));
            let option_file = fresh.unwrap_or(&named.plugin).option_file.clone();
            let next = Named::new(&FilterPlugin { option_file, ..named.plugin.clone() }, &named.host, config);
            let filter = Filter::create(plugin, &next.spec)
                .map_err(|why| (next.spec.channel.clone(), why.to_string()))?;
            *next.state.lock() = State::ready(filter);
            Ok(Arc::new(next))
        });
        made.collect()
    }

    /// Puts filters that [`next`](Self::next) has made in the place of those of their numbers. Gives their names.
    pub(crate) fn put_in_force(&self, made: Vec<Arc<Named>>) -> Vec<String> {
        let mut replaced = Vec::new();
        let mut names = Vec::new();
        let mut all = self.all.write();
        for next in made {
            let of_number = |named: &&mut Arc<Named>| {
                (named.plugin.options.number, named.plugin()) == (next.plugin.options.number, next.plugin())
            };
            if let Some(place) = all.iter_mut().find(of_number) {
                names.push(next.spec.channel.clone());
                replaced.push(std::mem::replace(place, next));
            }
        }
        drop(all);
        // Ended here, and not where others wait for the list; by whoever uses one of them last.
        drop(replaced);
        names
    }

    /// Makes them ready, so that trouble shows early.
    pub(crate) fn prepare(&self) {
        for named in self.all.read().clone() {
            if let Err(why) = named.ready() {
                let (filter, plugin) = (named.plugin.options.number, &named.plugin.options.plugin);
                tracing::error!(filter, %plugin, %why, "a filter is not there; {}", named.consequence());
            }
        }
    }
}

impl Named {
    fn new(plugin: &FilterPlugin, host: &Host, config: &Config) -> Named {
        let number = plugin.options.number;
        let options = plugin.option_file.iter().map(|option| Setting::option(&option.name, &option.value));
        let mut settings: Vec<Setting> = options.collect();
        settings.push(Setting::fact("filter", number.to_string()));
        settings.push(Setting::fact("official_host", &config.channels.local().official_host));
        settings.push(Setting::fact("folder", config.folder.to_string_lossy()));
        Named {
            plugin: plugin.clone(),
            host: host.clone(),
            spec: Spec::new(name_of(number), settings),
            state: Mutex::new(State::Untried),
        }
    }

    /// Settings and the file of the plugin are the same. A filter that is not there yet is always tried anew.
    fn is_same(&self, new: &Named) -> bool {
        let (old, other) = (&self.plugin.options, &new.plugin.options);
        let options = (old.number, &old.plugin, old.without_verdict, old.time)
            == (other.number, &other.plugin, other.without_verdict, other.time);
        let state = self.state.lock();
        let State::Ready { filter, .. } = &*state else { return false };
        let file = new.host.load(&other.plugin);
        options
            && self.spec.settings == new.spec.settings
            && file.is_ok_and(|file| Arc::ptr_eq(&file, filter.plugin()))
    }

    /// What becomes of mail that it has no verdict about.
    pub(crate) fn without_verdict(&self) -> WithoutVerdict {
        self.plugin.options.without_verdict
    }

    /// Its plugin as the configuration names it.
    pub(crate) fn plugin(&self) -> &str {
        &self.plugin.options.plugin
    }

    /// What the failure of the filter means for mail, in words.
    pub(crate) fn consequence(&self) -> &'static str {
        match self.without_verdict() {
            WithoutVerdict::Passes => "mail passes without it",
            WithoutVerdict::Refused => "mail for it is refused for now",
            WithoutVerdict::Waits => {
                "mail for it waits on the channel reprocess, or where it is that comes in again is refused for now"
            }
        }
    }

    /// Shows it a message, and waits for the verdict.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn ask(&self, shown: Shown) -> Result<Judged, String> {
        let filter = self.ready()?;
        filter.ask(shown, self.plugin.options.time).map_err(|error| error.to_string())
    }

    fn ready(&self) -> Result<Arc<Filter>, String> {
        // Who comes meanwhile would have to make it as well, and waits.
        let mut state = self.state.lock();
        let failures = match &mut *state {
            State::Ready { filter, looked, not } => {
                if looked.elapsed() >= LOOK {
                    *looked = Instant::now();
                    self.follow(filter, not);
                }
                return Ok(filter.clone());
            }
            State::Refused(why) => return Err(why.clone()),
            State::Resting { until, why, .. } if *until > Instant::now() => return Err(why.clone()),
            State::Resting { failures, .. } => *failures,
            State::Untried => 0,
        };
        let (why, is_final) = match self.make() {
            Ok(filter) => {
                *state = State::ready(filter);
                let State::Ready { filter, .. } = &*state else { return Err("it is not there".to_owned()) };
                return Ok(filter.clone());
            }
            Err(failed) => failed,
        };
        *state = match is_final {
            true => State::Refused(why.clone()),
            false => {
                let rest = REST.0.saturating_mul(1 << failures.min(6)).min(REST.1);
                State::Resting { until: Instant::now() + rest, failures: failures + 1, why: why.clone() }
            }
        };
        Err(why)
    }

    /// Takes the generation of the plugin that is in force by now. The old one goes on where the new one cannot be made, which is
    /// tried once.
    fn follow(&self, filter: &mut Arc<Filter>, not: &mut Option<Arc<Plugin>>) {
        let Ok(plugin) = self.host.load(self.plugin()) else { return };
        let is_known = Arc::ptr_eq(&plugin, filter.plugin())
            || not.as_ref().is_some_and(|failed| Arc::ptr_eq(&plugin, failed));
        if is_known {
            return;
        }
        let (number, name) = (self.plugin.options.number, self.plugin());
        match Filter::create(&plugin, &self.spec) {
            Ok(made) => {
                tracing::info!(
                    filter = number,
                    plugin = name,
                    version = plugin.version(),
                    "a filter goes on with another generation of its plugin"
                );
                *filter = Arc::new(made);
            }
            Err(why) => {
                tracing::error!(filter = number, plugin = name, %why, "a filter goes on with the old generation of its plugin");
                *not = Some(plugin);
            }
        }
    }

    /// With why it is not made comes whether it never will be with these settings.
    fn make(&self) -> Result<Filter, (String, bool)> {
        let plugin = self.host.load(&self.plugin.options.plugin).map_err(|error| (chain(&error), false))?;
        Filter::create(&plugin, &self.spec).map_err(|error| (error.to_string(), error.is_final()))
    }
}

/// What a filter is called where channels are named.
pub(crate) fn name_of(number: u32) -> String {
    format!("spamfilter{number}")
}

/// What is wrong with the filters of a configuration that only their plugins know. The hub starts all the same.
pub(crate) fn check(config: &Config) -> Vec<Diagnostic> {
    let host = hub::plugin_host(config);
    let mut found = Vec::new();
    for filter in &config.filters {
        let (number, name) = (filter.options.number, &filter.options.plugin);
        let plugin = match host.load(name) {
            Ok(plugin) if plugin.has_filter() => plugin,
            Ok(_) => {
                let message = format!("filter {number}: {}", FilterError::NoFilter(name.clone()));
                let remark = Diagnostic::new(&NOT_A_FILTER, message).at(filter.options.plugin_span);
                found.push(remark.help("name a plugin that is a filter; the others are for channels"));
                continue;
            }
            Err(error) => {
                let message = format!("filter {number} is not there: {}", chain(&error));
                found.push(Diagnostic::new(&NOT_LOADED, message).at(filter.options.plugin_span));
                continue;
            }
        };
        found.extend(options(filter, &plugin));
        let given: Vec<Setting> =
            filter.option_file.iter().map(|line| Setting::option(&line.name, &line.value)).collect();
        if let Some(needed) = plugin.missing_option(&given) {
            let message = format!("filter {number}: option {needed} is not set and has no default");
            let at =
                filter.options.config_file.as_ref().map_or(filter.options.plugin_span, |(_, span)| *span);
            let file = match &filter.options.config_file {
                Some((file, _)) => format!("write `{needed}=…` into {file}"),
                None => format!(
                    "name an option file with `SPAMFILTER{number}_CONFIG_FILE` and write `{needed}=…` into it"
                ),
            };
            found.push(Diagnostic::new(&MISSING_OPTION, message).at(at).help(file));
        }
    }
    found
}

fn options(filter: &FilterPlugin, plugin: &Plugin) -> Vec<Diagnostic> {
    let remarks = filter.option_file.iter().filter_map(|option| {
        let problem = plugin.check_option(&option.name, &option.value).err()?;
        let (code, at) = match problem {
            OptionProblem::Unknown { .. } => (&UNKNOWN_OPTION, option.span),
            _ => (&BAD_OPTION, option.value_span),
        };
        let remark = Diagnostic::new(code, problem.to_string()).at(at);
        let names = plugin.options().iter().map(|option| option.name.as_str());
        Some(
            match (std::ptr::eq(code, &raw const UNKNOWN_OPTION), sluice_diag::nearest(&option.name, names)) {
                (true, Some(near)) => remark.help(format!("did you mean `{near}`?")),
                (true, None) => remark.help("it is ignored"),
                (false, _) => remark.help("the filter is not there with it"),
            },
        )
    });
    remarks.collect()
}

/// An error and what it came from, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

/// Every kind of remark that [`check`] makes.
pub(crate) static CODES: [&Code; 5] =
    [&NOT_LOADED, &NOT_A_FILTER, &UNKNOWN_OPTION, &BAD_OPTION, &MISSING_OPTION];

static NOT_LOADED: Code = Code {
    name: "filter-not-loaded",
    severity: Severity::Warning,
    summary: "the plugin of a filter cannot be loaded",
    explanation: "The text says why. Until that is mended `SPAMFILTERn_OPTIONAL` says what becomes of its mail: it is refused for now (451), passes or waits. Libraries of Messaging Server's filters are no plugins of this hub; take the line out to switch the filter off.",
};

static NOT_A_FILTER: Code = Code {
    name: "filter-without-function",
    severity: Severity::Warning,
    summary: "the plugin of a filter is no filter",
    explanation: "A plugin that looks at messages has the function `filter` in its table, and this one has not. `SPAMFILTERn_OPTIONAL` says what \
becomes of the mail: it is refused for now (451), passes or waits.",
};

static UNKNOWN_OPTION: Code = Code {
    name: "filter-unknown-option",
    severity: Severity::Warning,
    summary: "a line of a filter's option file is no option of its plugin",
    explanation: "The plugin lists its options, and this is none of them. The line is ignored.",
};

static BAD_OPTION: Code = Code {
    name: "filter-bad-option",
    severity: Severity::Warning,
    summary: "an option of a filter has a value that its plugin does not take",
    explanation: "The plugin's table says what the value must be. The filter is not made with it: `SPAMFILTERn_OPTIONAL` says what \
becomes of the mail: it is refused for now (451), passes or waits.",
};

static MISSING_OPTION: Code = Code {
    name: "filter-missing-option",
    severity: Severity::Warning,
    summary: "a filter's plugin needs an option that is not set",
    explanation: "The plugin's table says that it cannot do without this option, and there is no default. The filter is not made without it: `SPAMFILTERn_OPTIONAL` says \
what becomes of the mail: it is refused for now (451), passes or waits.",
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    const FIXTURE: &str = include_str!("../../host/tests/fixtures/filter.c");

    fn compile(text: &str, folder: &Path) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        fs::write(folder.join("filter.c"), text).unwrap();
        let made = Command::new("cc")
            .args(["-std=c11", "-fPIC", "-shared", "-I"])
            .arg(root.join("include"))
            .arg(folder.join("filter.c"))
            .arg("-o")
            .arg(folder.join("libsluice_filter.so"))
            .status();
        assert!(made.is_ok_and(|status| status.success()), "a C compiler is needed: apt-get install gcc");
    }

    #[test]
    fn a_generation_of_which_no_filter_can_be_made_is_tried_once() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        compile(FIXTURE, folder.path());
        let plugin = place("libsluice_filter.so").display().to_string();
        fs::write(place("sluice.cnf"), "hub.example $U@hub.example\n\nl\nhub.example\n").unwrap();
        let options = format!("SPAMFILTER1_LIBRARY={plugin}\nSPAMFILTER1_CONFIG_FILE=filter.opt\n");
        fs::write(place("option.dat"), options).unwrap();
        // A relative path starts from the folder of the configuration.
        fs::write(place("filter.opt"), "CALLS=calls\n").unwrap();
        let config = crate::load::read(&place("sluice.cnf")).loaded.unwrap().config;
        let filters = Filters::new(&config);
        let named = filters.get(1).unwrap();
        let calls = || fs::read_to_string(place("calls")).unwrap_or_default().len();
        let first = named.ready().unwrap();
        assert_eq!((calls(), filters.made_of(&plugin)), (1, vec!["spamfilter1".to_owned()]));
        compile(
            &FIXTURE
                .replace("    *channel = filter;\n", "    free(filter);\n    return SLUICE_STATUS_FAILED;\n"),
            folder.path(),
        );
        let host = hub::plugin_host(&config);
        let next = host.load_next(&plugin).unwrap();
        assert!(!Arc::ptr_eq(&next, first.plugin()));
        host.put_in_force(&next);
        for _ in 0..2 {
            std::thread::sleep(LOOK + Duration::from_millis(50));
            assert!(Arc::ptr_eq(&named.ready().unwrap(), &first));
            assert_eq!(calls(), 2, "create of the new one was called once");
        }
        assert!(filters.next(&[plugin], &next, None, &config).is_err_and(|(name, _)| name == "spamfilter1"));
    }
}
