//! `sluice etrn`, also as a link named `etrn`: asks a server for our mail.
//!
//! It acts as the manual page etrn(8) of Solaris says. The configuration is read for what it is needed for: the names
//! when none are given, where our own listener is, and what we call ourselves; without one, a server can still be asked
//! for names on the command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use sluice_dispatch::Loaded;
use sluice_sasl::client::Credentials;
use sluice_smtp::asker::{Answer, End, Meaning, Name, Question};

use crate::asking::{self, Ended, Errand, Heard, Protection, Times};
use crate::cli::{Etrn, EtrnTls, Format};
use crate::exit::{Exit, ExitWith, Failure};
use crate::{complain, load, output, own_names, sendmail_cf};

/// The bits of a password file's mode that nobody but its owner may have.
const OTHERS: u32 = 0o077;

/// Asks.
pub(crate) fn etrn(etrn: &Etrn) -> Result<Exit, Failure> {
    let check_own = etrn.check_own || etrn.names.is_empty();
    let needs_names = etrn.names.is_empty() && etrn.sendmail_cf.is_none();
    let loaded = configuration(etrn, needs_names)?;
    let names = names(etrn, loaded.as_ref())?;
    let protection = match etrn.tls {
        EtrnTls::No => Protection::No,
        EtrnTls::May => Protection::May,
        EtrnTls::Must => Protection::Must,
        EtrnTls::Implicit => Protection::Implicit,
    };
    let credentials = credentials(etrn)?;
    let trust = asking::trust(protection, credentials.is_some(), etrn.tls_anybody, etrn.tls_ca.as_deref());
    let wait = Duration::from_secs(etrn.wait);
    let errand = Errand {
        server: etrn.server.clone(),
        question: Question::Etrn(names),
        name: own_name(etrn, loaded.as_ref()),
        protection,
        trust: trust.map_err(|why| Failure::new(Exit::Data, anyhow::anyhow!(why)))?,
        credentials,
        times: Times { connect: wait, ..Times::default() },
    };
    let own = match &loaded {
        Some(loaded) => asking::listeners(&loaded.config.services),
        None => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 25))],
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for the network")
        .exit_with(Exit::Temporary)?;
    runtime.block_on(async {
        if check_own && let Err(why) = asking::accepts_mail(&own, wait).await {
            complain(&format!(
                "our own listener does not accept mail, {} is not asked: {why}",
                errand.server
            ));
            return Ok(Exit::System);
        }
        let mut shown = Shown::new(etrn.verbose);
        let report = asking::ask(&errand, &mut |heard| shown.hear(heard)).await;
        tell(etrn, &report.answers, &report.ended)
    })
}

/// The configuration, where there is one; there must be one when the names are to come from it.
fn configuration(etrn: &Etrn, needed: bool) -> Result<Option<Loaded>, Failure> {
    let path = &etrn.common.config;
    if needed {
        return load::read_or_fail(path).map(|(loaded, _)| Some(loaded));
    }
    // Its mistakes are no business of a command that can do without.
    Ok(if path.exists() { load::read(path).loaded } else { None })
}

/// The names to ask for.
fn names(etrn: &Etrn, loaded: Option<&Loaded>) -> Result<Vec<Name>, Failure> {
    if !etrn.names.is_empty() {
        return Ok(etrn.names.clone());
    }
    let (names, place) = match (&etrn.sendmail_cf, loaded) {
        (Some(file), _) => {
            let text = read(file)?;
            let found = sendmail_cf::names(&text, |path| std::fs::read_to_string(path))
                .map_err(|why| Failure::new(Exit::Data, anyhow::anyhow!("{}: {why}", file.display())))?;
            for remark in found.remarks {
                complain(&format!("{}: {remark}", file.display()));
            }
            (found.names, file)
        }
        (None, Some(loaded)) => (own_names::own_names(loaded), &etrn.common.config),
        (None, None) => (Vec::new(), &etrn.common.config),
    };
    if names.is_empty() {
        let error = anyhow::anyhow!(
            "{} has no domain that this system takes mail for; name one behind the server",
            place.display()
        );
        return Err(Failure::new(Exit::Config, error));
    }
    Ok(names)
}

fn read(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    Ok(String::from_utf8_lossy(&text.exit_with(Exit::Data)?).into_owned())
}

/// The login, with its password from a file.
fn credentials(etrn: &Etrn) -> Result<Option<Credentials>, Failure> {
    let (Some(name), Some(file)) = (&etrn.login, &etrn.password_file) else { return Ok(None) };
    let text = read(file)?;
    let mode = std::fs::metadata(file).exit_with(Exit::Data)?.mode();
    if mode & OTHERS != 0 {
        let error = anyhow::anyhow!(
            "{} may be read by others (mode {:o}); `chmod 600` it first",
            file.display(),
            mode & 0o777
        );
        return Err(Failure::new(Exit::Data, error));
    }
    match Credentials::new(name, text.lines().next().unwrap_or_default()) {
        Some(credentials) => Ok(Some(credentials)),
        None => {
            let error = anyhow::anyhow!(
                "--login {}: name or password is empty, too long, or has control characters",
                name.escape_debug()
            );
            Err(Failure::new(Exit::Data, error))
        }
    }
}

/// What we call ourselves.
fn own_name(etrn: &Etrn, loaded: Option<&Loaded>) -> String {
    if let Some(name) = &etrn.helo {
        return name.clone();
    }
    if let Some(loaded) = loaded {
        return loaded.config.channels.local().official_host.clone();
    }
    // What gethostname(2) says, without asking the environment.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// The conversation on standard output, when it is to be shown: what we say behind `>>> `, replies as they come.
struct Shown {
    verbose: bool,
    /// The beginning of a line that is not whole yet.
    rest: Vec<u8>,
}

/// A line of a reply is shown no longer than this.
const LINE_SHOWN_MAX: usize = 2048;

impl Shown {
    fn new(verbose: bool) -> Shown {
        Shown { verbose, rest: Vec::new() }
    }

    fn hear(&mut self, heard: Heard<'_>) {
        if !self.verbose {
            return;
        }
        match heard {
            Heard::Event(text) => line(text),
            Heard::Sent(text) => text.lines().for_each(|text| line(&format!(">>> {text}"))),
            Heard::Received(octets) => {
                self.rest.extend_from_slice(octets);
                while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                    let whole: Vec<u8> = self.rest.drain(..=end).collect();
                    line(&printable(&whole));
                }
                if self.rest.len() > LINE_SHOWN_MAX {
                    line(&printable(&std::mem::take(&mut self.rest)));
                }
            }
        }
    }
}

/// A server's line without what could move the terminal about.
fn printable(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    text.trim_end_matches(['\r', '\n']).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A reader who went away does not keep the server from being asked.
fn line(text: &str) {
    let _ = output::line(text);
}

/// Says what went wrong, and in JSON what every name got; gives the exit status.
fn tell(etrn: &Etrn, answers: &[Answer], ended: &Ended) -> Result<Exit, Failure> {
    let server = &etrn.server;
    if etrn.common.format == Format::Json {
        for answer in answers {
            let count = match answer.meaning {
                Meaning::Counted(count) => Some(count),
                _ => None,
            };
            let row = json!({
                "server": server.to_string(), "name": answer.name, "answer": answer.meaning.word(),
                "messages": count, "reply": answer.reply,
            });
            output::line(&row.to_string())?;
        }
    }
    let mut met = Vec::new();
    for answer in answers.iter().filter(|answer| !answer.meaning.is_accepted()) {
        complain(&format!("{server}: {}: {}", answer.name, answer.reply));
        met.push(match answer.meaning {
            Meaning::Refused | Meaning::LoginNeeded => Exit::Refused,
            Meaning::Malformed => Exit::Data,
            Meaning::Unsupported => Exit::Unavailable,
            Meaning::OutOfOrder => Exit::Protocol,
            _ => Exit::Temporary,
        });
    }
    if let Some(what) = ended.trouble(server, "ETRN") {
        complain(&what);
    }
    let exit = match ended {
        Ended::NoConnection(_) => Exit::NoHost,
        Ended::Said(End::Answered) => Exit::Ok,
        Ended::Said(End::NotOffered) => Exit::Unavailable,
        Ended::Said(End::TurnedAway { for_now: true, .. } | End::Lost(_)) => Exit::Temporary,
        Ended::Said(End::TurnedAway { .. } | End::NoTls(_) | End::NoLogin(_)) => Exit::Refused,
        // ATRN is not asked here.
        Ended::Said(End::Nonsense(_)) | Ended::Turned(_) => Exit::Protocol,
    };
    met.push(exit);
    let order = [Exit::Refused, Exit::Data, Exit::Unavailable, Exit::Protocol, Exit::Temporary];
    Ok(order.into_iter().find(|exit| met.contains(exit)).unwrap_or(exit))
}
