//! One run of an activator: what is looked at before, the errand, and what it came to.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sluice_config::{Activator, Config, Method, Password, Tls};
use sluice_sasl::client::Credentials;
use sluice_smtp::asker::{Name, Question};
use sluice_smtpd::{Connection, Intake, Stream, serve_reversed};

use crate::asking::{self, Ended, Errand, Heard, Protection, Server, Standing, Times};
use crate::hub::Hub;
use crate::intake::Door;
use crate::own_names::own_names;

/// The bits of a password file's mode that nobody but its owner and group may have.
const OTHERS: u32 = 0o007;
/// How long our own listener may take to greet.
const OWN_LISTENER_TIME: Duration = Duration::from_secs(5);

/// What a run came to.
pub(super) struct Outcome {
    /// The server was turned to. Not so where something of our own was in the way.
    pub(super) asked: bool,
    pub(super) standing: Standing,
    /// The answers, or why there are none.
    pub(super) words: String,
    /// What is wrong on our side although the server was asked.
    pub(super) warning: Option<String>,
    /// Mail was promised: by the server at this address, for these names, in these words.
    pub(super) promise: Option<(Option<IpAddr>, Vec<String>, String)>,
}

impl Outcome {
    /// Nothing was asked, for a reason of our own.
    pub(super) fn not_asked(standing: Standing, words: &str) -> Outcome {
        let words = format!("not asked: {words}");
        Outcome { asked: false, standing, words, warning: None, promise: None }
    }
}

/// Asks the server of an activator.
pub(super) async fn run(hub: &Arc<Hub>, activator: &Activator) -> Outcome {
    let loaded = hub.loaded();
    let config = &loaded.config;
    let mut warning = None;
    if activator.method == Method::Etrn {
        // The mail comes over connections that the server opens: without a listener it would only bounce about.
        let own = asking::listeners(&config.services);
        if let Err(why) = asking::accepts_mail(&own, OWN_LISTENER_TIME).await {
            return Outcome::not_asked(
                Standing::Later,
                &format!("our own listener does not accept mail: {why}"),
            );
        }
        warning = unreachable(config, &activator.server);
    }
    let (errand, names) = {
        let names = match names(activator, &loaded) {
            Ok(names) => names,
            Err(why) => return Outcome::not_asked(Standing::Refused, &why),
        };
        match errand(activator, config, &names) {
            Ok(errand) => (errand, names),
            Err(why) => return Outcome::not_asked(Standing::Refused, &why),
        }
    };
    drop(loaded);
    let name = &activator.name;
    let report = asking::ask(&errand, &mut |heard| match heard {
        Heard::Event(text) => tracing::debug!(activator = %name, text),
        Heard::Sent(text) => tracing::debug!(activator = %name, sent = text),
        Heard::Received(octets) => tracing::debug!(activator = %name, received = %octets.escape_ascii()),
    })
    .await;
    let command = match activator.method {
        Method::Etrn => "ETRN",
        Method::Atrn => "ATRN",
    };
    let words = report.words(&errand.server, command);
    let (standing, promises_mail) = (report.standing(), report.promises_mail());
    if let (Ended::Turned(stream), Some(ends)) = (report.ended, report.ends) {
        return collect(hub, activator, stream, ends, words).await;
    }
    let promise = promises_mail.then(|| {
        let names = names.iter().map(ToString::to_string).collect();
        (report.ends.map(|(peer, _)| peer.ip().to_canonical()), names, words.clone())
    });
    Outcome { asked: true, standing, words, warning, promise }
}

/// The roles are turned: the provider's mail goes to our own front door, as from a listener.
async fn collect(
    hub: &Arc<Hub>,
    activator: &Activator,
    stream: Box<dyn Stream>,
    (peer, local): (SocketAddr, SocketAddr),
    words: String,
) -> Outcome {
    let loaded = hub.loaded();
    let of_listener = loaded.config.services.first().map_or("tcp_local", |service| service.channel.as_str());
    let channel = activator.channel.as_deref().unwrap_or(of_listener);
    let connection = Connection {
        peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
        local: SocketAddr::new(local.ip().to_canonical(), local.port()),
        service: format!("ATRN {}", activator.name).into(),
        channel: channel.to_lowercase().into(),
        implicit_tls: false,
        name: None,
    };
    drop(loaded);
    // When the hub stops, its runtime goes, and the connection with it: what has no 250 stays with the provider.
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let door: Arc<dyn Intake> = Arc::new(Door::new(Arc::clone(hub)));
    let (standing, how) = match serve_reversed(stream, connection, door, stopping).await {
        Ok((1, Ok(()))) => (Standing::Done, "1 message came".to_owned()),
        Ok((count, Ok(()))) => (Standing::Done, format!("{count} messages came")),
        Ok((count, Err(error))) => {
            (Standing::Later, format!("the line was cut after {count} messages: {error}"))
        }
        Err(refusal) => (Standing::Refused, format!("our own rules keep the provider out: {refusal}")),
    };
    Outcome { asked: true, standing, words: format!("{words}; {how}"), warning: None, promise: None }
}

/// That a server elsewhere cannot reach listeners which are on the loopback interface only.
fn unreachable(config: &Config, server: &str) -> Option<String> {
    let is_here = |address: &Option<IpAddr>| address.is_some_and(|address| address.is_loopback());
    let mut listeners = config.services.iter().flat_map(|service| &service.listen);
    let bare = server.trim_start_matches('[').trim_end_matches(']');
    let server_is_here =
        bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    (!server_is_here && listeners.all(|(address, _)| is_here(address))).then(|| {
        "all our listeners are on the loopback interface, where the server cannot reach them".to_owned()
    })
}

/// What to ask for.
fn names(activator: &Activator, loaded: &sluice_dispatch::Loaded) -> Result<Vec<Name>, String> {
    let read = |name: &str| name.parse::<Name>().map_err(|error| format!("{name}: {error}"));
    let names = activator.names.iter().map(|name| read(name)).collect::<Result<Vec<_>, _>>()?;
    if !names.is_empty() || activator.method == Method::Atrn {
        return Ok(names);
    }
    match own_names(loaded) {
        names if names.is_empty() => Err("there is no domain that this system takes mail for".to_owned()),
        names => Ok(names),
    }
}

fn errand(activator: &Activator, config: &Config, names: &[Name]) -> Result<Errand, String> {
    let protection = match activator.tls {
        Tls::No => Protection::No,
        Tls::May => Protection::May,
        Tls::Must => Protection::Must,
        Tls::Implicit => Protection::Implicit,
    };
    let credentials = match &activator.login {
        None => None,
        Some(login) => {
            let password = match &login.password {
                Password::Written { text, .. } => text.to_string(),
                Password::InFile { path, .. } => password_of(path)?,
            };
            let credentials = Credentials::new(&login.name, &password);
            Some(
                credentials
                    .ok_or("the login or its password is empty, too long, or has control characters")?,
            )
        }
    };
    let question = match activator.method {
        Method::Etrn => Question::Etrn(names.to_vec()),
        Method::Atrn => Question::Atrn(names.to_vec()),
    };
    Ok(Errand {
        server: Server { host: activator.server.to_string(), port: activator.port },
        question,
        name: config.channels.local().official_host.clone(),
        protection,
        trust: asking::trust(protection, credentials.is_some(), false, None)?,
        credentials,
        times: Times::default(),
    })
}

/// The first line of a file that not everybody may read.
fn password_of(path: &Path) -> Result<String, String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let mode = std::fs::metadata(path).map_err(told)?.mode();
    if mode & OTHERS != 0 {
        return Err(format!("{} may be read by everybody (mode {:o})", path.display(), mode & 0o777));
    }
    let text = std::fs::read_to_string(path).map_err(told)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_config::{MemoryFiles, Place};

    /// Whether a server of that name can reach listeners that are written so.
    fn reaches(services: &str, server: &str) -> bool {
        let files = MemoryFiles::new()
            .with("c/sluice.cnf", "h.example $U@h.example\n\nl\nh.example\n\ntcp_local smtp\nTCP-DAEMON\n")
            .with("c/dispatcher.cnf", services);
        let (config, _, diagnostics) = sluice_config::read(&files, &Place::Folder("c".into()));
        let Some(config) = config else { panic!("{diagnostics:?}") };
        unreachable(&config, server).is_none()
    }

    #[test]
    fn row_4_9_listeners_on_loopback_only_are_out_of_reach() {
        let here = "[SERVICE=SMTP]\nPORT=2525\nINTERFACE_ADDRESS=127.0.0.1\n";
        assert!(!reaches(here, "mail.provider.example"));
        assert!(!reaches(here, "[192.0.2.1]"));
        assert!(reaches(here, "localhost") && reaches(here, "[127.0.0.1]") && reaches(here, "[::1]"));
        assert!(reaches("[SERVICE=SMTP]\nPORT=2525\n", "mail.provider.example"));
        let public = "[SERVICE=SMTP]\nPORT=2525\nINTERFACE_ADDRESS=192.0.2.7\n";
        assert!(reaches(public, "mail.provider.example"));
        assert!(reaches(&format!("{here}[SERVICE=OTHER]\nPORT=26\n"), "mail.provider.example"));
    }
}
