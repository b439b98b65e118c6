//! Routines of plugins, for `$[image,routine,argument]` in rewrite rules and mapping tables.
//!
//! Only plugins that the configuration loads are called: those of its channels, but for those with `isolated`, and those of the option
//! `ROUTINE_PLUGINS`.
//! A file that only a template names is never opened, since text of templates may come from a database, which more people
//! may write to than to `job_controller.cnf`. *image* is the plugin as it is named there, or the name in its file's
//! name: `libsluice_site.so` and `site.so` are both `site`.
//!
//! # Failure
//! A routine that panics, hangs or answers garbage is a miss, and is said in the log. A plugin that cannot be loaded is
//! named by `sluice check`, and all its routines miss.
//! # Not here
//! The call itself and its deadline (`host`).

use std::path::Path;
use std::sync::{Arc, OnceLock};

use sluice_config::Config;
use sluice_diag::{Code, Diagnostic, Severity, nearest};
use sluice_host::{Host, Plugin};
use sluice_rewrite::Rewriter;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::hub;

/// The plugins whose routines may be called. Each is loaded when it is asked for the first time.
pub(crate) struct Routines {
    host: Host,
    allowed: Vec<Allowed>,
}

struct Allowed {
    /// As the configuration names it.
    name: String,
    plugin: OnceLock<Result<Arc<Plugin>, String>>,
}

impl Allowed {
    fn is(&self, image: &str) -> bool {
        is_named(&self.name, image)
    }
}

/// Whether a plugin that the configuration calls `name` is meant by `image`: that name, or the one in its file's name.
pub(crate) fn is_named(name: &str, image: &str) -> bool {
    if name.eq_ignore_ascii_case(image) {
        return true;
    }
    let file = Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = file.strip_suffix(".so").unwrap_or(file);
    let bare = stem.strip_prefix("lib").unwrap_or(stem);
    let bare = bare.strip_prefix("sluice_").unwrap_or(bare);
    name.contains('/') && [stem, bare].iter().any(|name| name.eq_ignore_ascii_case(image))
}

/// Waits without keeping the other sessions of the thread waiting: a plugin may take its time.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    let runtime = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match runtime {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

impl Routines {
    /// Those of a configuration.
    pub(crate) fn new(config: &Config) -> Routines {
        // What is isolated is never opened here.
        let inside = config.channels.iter().filter(|channel| !channel.settings.isolated);
        let of_channels = inside.filter_map(|channel| channel.plugin.as_ref());
        let mut names: Vec<&String> = of_channels.chain(&config.options.routine_plugins).collect();
        names.sort_unstable();
        names.dedup();
        let allowed =
            names.into_iter().map(|name| Allowed { name: name.clone(), plugin: OnceLock::new() }).collect();
        Routines { host: hub::plugin_host(config), allowed }
    }

    /// The plugin that *image* means; `None` when the configuration loads none of that name.
    fn plugin(&self, image: &str) -> Option<&Result<Arc<Plugin>, String>> {
        let allowed = self.allowed.iter().find(|allowed| allowed.is(image))?;
        Some(allowed.plugin.get_or_init(|| self.host.load(&allowed.name).map_err(|error| chain(&error))))
    }

    /// Calls a routine.
    pub(crate) fn call(&self, image: &str, routine: &str, argument: &str) -> Option<String> {
        let Some(Ok(plugin)) = self.plugin(image) else {
            tracing::warn!(
                image,
                routine,
                "a rule calls a routine of a plugin that is not loaded; it is passed over"
            );
            return None;
        };
        match aside(|| plugin.in_force().call(routine, argument)) {
            Ok(answer) => {
                tracing::debug!(image, routine, argument, ?answer, "called a routine");
                answer
            }
            Err(error) => {
                tracing::error!(image, routine, argument, %error, "a routine gave no answer that can be used");
                None
            }
        }
    }

    /// Calls in rules and tables that can only miss.
    pub(crate) fn check(&self, rewriter: &Rewriter) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for call in rewriter.routines() {
            let (image, routine) = (&call.image, &call.routine);
            let remark = match self.plugin(image) {
                None => {
                    let message = format!("`{image}` is no plugin that this configuration loads");
                    let names = self.allowed.iter().map(|allowed| allowed.name.as_str());
                    let help = match nearest(image, names) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("write `ROUTINE_PLUGINS={image}` into option.dat"),
                    };
                    Diagnostic::new(&NO_IMAGE, message).help(help)
                }
                Some(Err(why)) => Diagnostic::new(&NOT_LOADED, format!("no routine of `{image}`: {why}")),
                Some(Ok(plugin)) => {
                    if plugin.routines().iter().any(|name| name.eq_ignore_ascii_case(routine)) {
                        continue;
                    }
                    let message = format!("the plugin `{image}` has no routine `{routine}`");
                    let names = plugin.routines().iter().map(String::as_str);
                    let remark = Diagnostic::new(&NO_ROUTINE, message);
                    match (nearest(routine, names), plugin.routines()) {
                        (Some(near), _) => remark.help(format!("did you mean `{near}`?")),
                        (None, []) => remark.help("it has none at all"),
                        (None, names) => remark.help(format!("it has {}", names.join(", "))),
                    }
                }
            };
            found.push(remark.at(call.span));
        }
        found
    }
}

/// An error and what it came from, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

/// Every kind of remark that [`Routines::check`] makes.
pub(crate) static CODES: [&Code; 3] = [&NO_IMAGE, &NOT_LOADED, &NO_ROUTINE];

static NO_IMAGE: Code = Code {
    name: "routine-image-not-loaded",
    severity: Severity::Warning,
    summary: "a template calls a plugin that the configuration does not load",
    explanation: "`$[image,routine,argument]` calls a routine of a plugin. Only plugins that the configuration loads are called: those of its \
channels, and those that the option `ROUTINE_PLUGINS` names; a file that only a template names is never opened. The call misses each time, so the \
rule is skipped, or the entry fails.",
};

static NOT_LOADED: Code = Code {
    name: "routine-plugin-not-loaded",
    severity: Severity::Warning,
    summary: "a plugin whose routines templates call cannot be loaded",
    explanation: "The text says why. Until that is mended each call misses: the rule is skipped, or the entry fails.",
};

static NO_ROUTINE: Code = Code {
    name: "routine-unknown",
    severity: Severity::Warning,
    summary: "a template calls a routine that the plugin does not have",
    explanation: "The plugin lists the names of its routines, and this one is not among them; letter case does not count. The call misses each \
time: the rule is skipped, or the entry fails.",
};
