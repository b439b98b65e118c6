//! `sluice run`: puts the hub together, lets it run, and stops it.
//!
//! Order matters at both ends. Up: configuration, spool, dispatcher, control socket, listeners, so that nothing is
//! accepted before it can be kept. Down: listeners, dispatcher (which leaves everything durable), spool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sluice_config::Config;
use sluice_smtpd::Settings;
use tokio::signal::unix::{SignalKind, signal};

use crate::activators::Activators;
use crate::cli::Run;
use crate::control::Console;
use crate::exit::{Exit, ExitWith, Failure};
use crate::hub::{Hub, log_diagnostics};
use crate::intake::Door;
use crate::keys::Keys;
use crate::load::{self, Reading};
use crate::{at_start, log, mail_log, plugins, report};

/// Within this time after SIGTERM the process is gone, with everything durable.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How much of [`STOP_WITHIN`] sessions have to finish what they are at; the rest is the dispatcher's and the spool's.
const SESSIONS_STOP_WITHIN: Duration = Duration::from_secs(3);

/// What the mail log has for its last lines, whatever is left of [`STOP_WITHIN`].
const MAIL_LOG_MIN: Duration = Duration::from_secs(1);

/// What the dispatcher leaves for writing the checkpoint.
const CHECKPOINT_MARGIN: Duration = Duration::from_secs(2);

/// Runs the hub until it is told to stop.
pub(crate) fn run(run: &Run) -> Result<Exit, Failure> {
    sluice_spool::be_moderate();
    log::start(&run.log, run.common.format)?;
    // Absolute, so that nothing later depends on the folder this was started in, and logs name whole paths.
    let place = std::path::absolute(&run.common.config).exit_with(Exit::Config)?;
    let Reading { loaded, sources, diagnostics, keys } = load::with_keys(load::read_to_run(&place, run)?);
    log_diagnostics(&diagnostics, &sources);
    // The texts of the files are not kept while the hub runs.
    drop(sources);
    let Some(loaded) = loaded else {
        let tally = report::tally(&diagnostics);
        let error = anyhow::anyhow!("{} cannot be used: {tally}", run.common.config.display());
        return Err(Failure::new(Exit::Config, error));
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(listener_threads())
        .enable_all()
        .thread_name("smtpd")
        .build()
        .context("cannot start the threads of the listeners")
        .exit_with(Exit::Temporary)?;
    let config = Arc::clone(&loaded.config);
    mail_log::open(&config.options.log_dir);
    let hub = Hub::start(&place, loaded, keys)?;
    let served = runtime.block_on(serve(&hub, config));
    // Listeners are closed now, or never opened; what is in the spool stays there either way.
    let (begun, result) = match served {
        Ok(begun) => (begun, Ok(Exit::Ok)),
        Err(failure) => (Instant::now(), Err(failure)),
    };
    let left = STOP_WITHIN.saturating_sub(begun.elapsed()).saturating_sub(CHECKPOINT_MARGIN);
    hub.stop(left.max(Duration::from_secs(1)));
    mail_log::close(STOP_WITHIN.saturating_sub(begun.elapsed()).max(MAIL_LOG_MIN));
    runtime.shutdown_background();
    tracing::info!("stopped");
    result
}

/// Threads for the sessions: half as many as there are processors. The spool, the dispatcher and the plugins have about as much
/// to do with a message as its session has, and on threads of their own; more threads here only wake each other up and
/// take each other's sessions away.
fn listener_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}

/// Listens and waits for signals; returns when the listeners are closed, with the moment at which stopping began.
async fn serve(hub: &Arc<Hub>, config: Arc<Config>) -> Result<Instant, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let socket = &config.options.control_socket;
    let control = sluice_admin::Server::bind(socket).exit_with(Exit::Temporary)?;
    let keys = hub.keys();
    let services = config.services.iter().map(|service| listening(service, &keys)).collect();
    let settings = Settings {
        host: config.channels.local().official_host.clone(),
        grace: SESSIONS_STOP_WITHIN,
        ..Settings::default()
    };
    let listeners = sluice_smtpd::Server::bind(services, settings).await.exit_with(Exit::Temporary)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), control = %socket.display(), "sluice is running");
    // A reload may take its place.
    drop(config);
    for (service, address) in listeners.addresses() {
        tracing::info!(service, %address, "listening");
    }
    let console: Arc<dyn sluice_admin::Control> = Arc::new(Console::new(Arc::clone(hub)));
    let control = tokio::spawn(control.run(console));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let door = Arc::new(Door::new(Arc::clone(hub)));
    let sessions = tokio::spawn(listeners.run(door, async move {
        // The sender going away means the same.
        let _ = stopped.await;
    }));
    at_start::ask_hosts(hub);
    plugins::watch(hub);
    tokio::spawn(Activators::serve(Arc::downgrade(hub)));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => {
                let hub = Arc::clone(hub);
                tokio::task::spawn_blocking(move || hub.reload_and_log());
            }
        }
    }
    tracing::info!("stopping");
    let begun = Instant::now();
    drop(stop);
    if let Err(error) = sessions.await {
        tracing::error!(%error, "the listeners ended by a panic");
    }
    control.abort();
    // The socket's file goes when the aborted task has been dropped.
    let _ = control.await;
    Ok(begun)
}

/// A listener of the configuration, in the listeners' terms.
fn listening(service: &sluice_config::Service, keys: &Keys) -> sluice_smtpd::Service {
    sluice_smtpd::Service {
        name: service.name.clone(),
        listen: service.listen.clone(),
        // Without a certificate nobody could be served there; that has been said.
        listen_tls: match keys.certificates(&service.name) {
            Some(_) => service.listen_tls.clone(),
            None => Vec::new(),
        },
        channel: service.channel.to_lowercase(),
        max_connections: service.max_connections,
        max_connections_per_client: service.max_connections_per_client,
    }
}
