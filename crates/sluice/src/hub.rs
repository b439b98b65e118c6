//! The running hub: configuration snapshot, spool, dispatcher, and what joins them.
//!
//! Not here: the listeners (`intake`), the control socket (`control`), signals (`commands::run`).

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::{Mutex, RwLock};
use sluice_config::Config;
use sluice_diag::{Diagnostic, Severity, Sources};
use sluice_dispatch::{Dispatcher, Handle, Loaded, NotRenewed, Parts, Plugins, SystemClock, ask};
use sluice_host::{FrontDoor, Host, Recorder};
use sluice_mail::Address;
use sluice_rewrite::{Context, Kind};
use sluice_spool::Spool;

use crate::activators::Activators;
use crate::asks::Asks;
use crate::exit::{Exit, ExitWith, Failure};
use crate::filters::Filters;
use crate::inner_door::InnerDoor;
use crate::keys::Keys;
use crate::turning::TurnedSites;
use crate::{last_calls, load, report};

/// How long a reload waits until nobody uses the old configuration any more, and how often it looks.
const FREE_WITHIN: Duration = Duration::from_secs(2);
const FREE_LOOK: Duration = Duration::from_millis(5);

/// A hub at work.
pub(crate) struct Hub {
    /// Where the configuration is read from.
    place: PathBuf,
    dispatcher: Handle,
    keys: RwLock<Arc<Keys>>,
    activators: Activators,
    filters: Filters,
    asks: Asks,
    turned: TurnedSites,
    /// One reload at a time: the last one read must be the one in force.
    reloading: Mutex<()>,
    /// What plugins do last.
    last_calls: Option<Arc<Recorder>>,
}

/// What a reload came to.
pub(crate) struct Reloaded {
    /// Whether the new configuration is in force.
    pub(crate) accepted: bool,
    /// Why it is not, where nothing is wrong with it by itself.
    pub(crate) refused: Option<NotRenewed>,
    /// What was noticed while reading it.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The texts that the diagnostics point into.
    pub(crate) sources: Sources,
}

impl Reloaded {
    /// Why the new configuration is not in force, and what is.
    pub(crate) fn refusal(&self) -> String {
        let why = match &self.refused {
            Some(why) => format!(": {why}"),
            None => format!(" ({})", report::tally(&self.diagnostics)),
        };
        format!("the new configuration is refused{why}; the old one stays in force")
    }
}

impl Hub {
    /// Opens the spool, takes up what waits in it, and starts the dispatcher.
    ///
    /// # Errors
    /// [`Exit::Temporary`] when the spool cannot be opened, with the reason.
    pub(crate) fn start(place: &Path, loaded: Loaded, keys: Keys) -> Result<Arc<Hub>, Failure> {
        let options = &loaded.config.options;
        let folder = &options.spool_dir;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make the spool folder {}", folder.display()))
            .exit_with(Exit::Temporary)?;
        let storage = sluice_spool::Disk::open(folder)
            .with_context(|| format!("cannot use the spool folder {}", folder.display()))
            .exit_with(Exit::Temporary)?;
        let settings =
            sluice_spool::Options { segment_size: options.segment_size, ..sluice_spool::Options::default() };
        let (spool, recovered) = Spool::open(Arc::new(storage), settings)
            .with_context(|| format!("cannot open the spool in {}", folder.display()))
            .exit_with(Exit::Temporary)?;
        tracing::info!(spool = %folder.display(), messages = recovered.entries.len(), "the spool is open");
        for damage in &recovered.quarantined {
            tracing::error!(
                ?damage,
                "damage was found in the spool; what could not be read is in quarantine"
            );
        }
        let filters = Filters::new(&loaded.config);
        let host = plugin_host(&loaded.config);
        let last_calls = last_calls::begin(&options.control_socket);
        last_calls.iter().for_each(|recorder| host.record_in(Arc::clone(recorder)));
        let door = Arc::new(InnerDoor::default());
        host.open_door(Arc::clone(&door) as Arc<dyn FrontDoor>);
        let runners = Arc::new(Plugins::new(host, vec![folder.to_owned()]));
        let parts = Parts {
            loaded: Arc::new(loaded),
            spool,
            entries: recovered.entries,
            notes: recovered.notes,
            runners,
            clock: Arc::new(SystemClock),
        };
        let dispatcher = Dispatcher::start(parts).exit_with(Exit::Temporary)?;
        let activators = Activators::new(dispatcher.activators_kept());
        let keys = RwLock::new(Arc::new(keys));
        let hub = Arc::new(Hub {
            place: place.to_owned(),
            dispatcher,
            keys,
            activators,
            filters,
            asks: Asks::default(),
            turned: TurnedSites::default(),
            reloading: Mutex::new(()),
            last_calls,
        });
        door.open(&hub);
        let of_filters = Arc::downgrade(&hub);
        std::thread::Builder::new()
            .name("filters".to_owned())
            .spawn(move || of_filters.upgrade().iter().for_each(|hub| hub.filters.prepare()))
            .exit_with(Exit::Temporary)?;
        Ok(hub)
    }

    /// The configuration in force.
    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        self.dispatcher.loaded()
    }

    /// The certificates and users in force.
    pub(crate) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read())
    }

    /// The filters that messages are shown to.
    pub(crate) fn filters(&self) -> &Filters {
        &self.filters
    }

    /// How often mail was asked for.
    pub(crate) fn asks(&self) -> &Asks {
        &self.asks
    }

    /// The sites that take their mail by ATRN now.
    pub(crate) fn turned(&self) -> &TurnedSites {
        &self.turned
    }

    /// The dispatcher.
    pub(crate) fn dispatcher(&self) -> &Handle {
        &self.dispatcher
    }

    /// The servers that are asked for our mail.
    pub(crate) fn activators(&self) -> &Activators {
        &self.activators
    }

    /// Does something during which no configuration is reloaded, with the place that it is read from.
    pub(crate) fn between_reloads<T>(&self, work: impl FnOnce(&Path) -> T) -> T {
        let _one = self.reloading.lock();
        work(&self.place)
    }

    /// Reads the configuration again and puts it in force, whole or not at all: a channel whose instance works and is to have
    /// another one must have made that first. Waits until it is.
    pub(crate) fn reload(&self) -> Reloaded {
        let _one = self.reloading.lock();
        let old = self.dispatcher.loaded();
        let reading = load::with_keys(load::read(&self.place));
        let (mut accepted, mut refused) = (false, None);
        if let Some(loaded) = reading.loaded {
            let loaded = Arc::new(loaded);
            let put_in_force = |tried| {
                ask(|done| self.dispatcher.reload(Arc::clone(&loaded), tried, move || done(())))?;
                Ok(())
            };
            refused = self.dispatcher.try_out(&loaded).and_then(put_in_force).err();
            accepted = refused.is_none();
            if accepted {
                *self.keys.write() = Arc::new(reading.keys);
                self.filters.renew(&self.loaded().config);
                free(old);
            }
        }
        Reloaded { accepted, refused, diagnostics: reading.diagnostics, sources: reading.sources }
    }

    /// [`Hub::reload`] for a signal: what is to be said goes into the log.
    pub(crate) fn reload_and_log(&self) {
        let reloaded = self.reload();
        log_diagnostics(&reloaded.diagnostics, &reloaded.sources);
        if reloaded.accepted {
            tracing::info!("the new configuration is in force");
        } else {
            tracing::error!("{}", reloaded.refusal());
        }
    }

    /// Ends deliveries within `deadline`, writes everything down and closes the spool.
    pub(crate) fn stop(&self, deadline: Duration) {
        self.dispatcher.stop(deadline);
        self.last_calls.iter().for_each(|recorder| recorder.end());
    }
}

/// Frees a configuration that is no longer in force on this thread: with a hundred thousand rules that takes a while, for which no
/// session should wait. Sessions have it for one answer at a time, so the wait is short; where one has it longer
/// (a plugin is asked), it is that one that frees it.
fn free(old: Arc<Loaded>) {
    let end = Instant::now() + FREE_WITHIN;
    while Arc::strong_count(&old) > 1 && Instant::now() < end {
        std::thread::sleep(FREE_LOOK);
    }
    drop(old);
}

/// An envelope sender after rewriting. A backward-pointing address that no rule knows is left as it was: mail from
/// strangers must not depend on our rules for their domains.
pub(crate) fn rewritten(loaded: &Loaded, sender: &str, source_channel: &str) -> String {
    let Ok(address) = Address::parse(sender) else { return sender.to_owned() };
    if address.is_null() {
        return sender.to_owned();
    }
    let context = Context { kind: Kind::EnvelopeFrom, source_channel, destination_channel: None };
    match loaded.rewriter.route(&address, &context, None) {
        Ok(route) => route.address.to_string(),
        Err(_) => sender.to_owned(),
    }
}

/// The host of this process, looking where the configuration says. What is loaded is loaded once, whoever asks.
pub(crate) fn plugin_host(config: &Config) -> Host {
    static HOST: LazyLock<Host> = LazyLock::new(|| Host::new(Vec::new()));
    HOST.looking_in(plugin_folders(config))
}

/// Where plugins are looked for: next to the program, then in `PLUGIN_PATH`.
pub(crate) fn plugin_folders(config: &Config) -> Vec<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    Host::usual_folders(&program, &config.options.plugin_path)
}

/// Writes diagnostics into the log, each at its severity.
pub(crate) fn log_diagnostics(diagnostics: &[Diagnostic], sources: &Sources) {
    for diagnostic in diagnostics {
        let text = report::to_text(diagnostic, sources);
        match diagnostic.severity {
            Severity::Error => tracing::error!("{text}"),
            Severity::Warning => tracing::warn!("{text}"),
            Severity::Info => tracing::info!("{text}"),
        }
    }
}
