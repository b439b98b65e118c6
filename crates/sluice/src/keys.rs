//! What must stay secret: the private keys of the listeners, and who may log in with what.
//!
//! Read beside the configuration and put in force with it, whole or not at all. A file that everybody may read is refused:
//! what is known to all proves nothing. Not here: what the files mean (`smtpd`, `sasl`), who writes them
//! (`commands::password`).

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_config::{Atrn, Config, Demand, Service};
use sluice_diag::{Code, Diagnostic, Sources, Span};
use sluice_smtpd::{Certificates, Users};

use crate::site_keys;

/// Names of the files where none are written, those of PMDF's table directory.
const CERTIFICATE_FILE: &str = "server-pub.pem";
const KEY_FILE: &str = "server-priv.pem";

/// The bits of a file's mode that nobody but its owner and group may have.
const OTHERS: u32 = 0o007;

/// The keys in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    by_service: HashMap<String, Certificates>,
    users: Option<Arc<Users>>,
}

impl Keys {
    /// What a service shows of itself.
    pub(crate) fn certificates(&self, service: &str) -> Option<Certificates> {
        self.by_service.get(service).cloned()
    }

    /// Who may log in.
    pub(crate) fn users(&self) -> Option<Arc<Users>> {
        self.users.clone()
    }
}

/// Reads all files that the configuration names. What is wrong with one of them is an error, what is missing a warning.
pub(crate) fn read(config: &Config, sources: &Sources) -> (Keys, Vec<Diagnostic>) {
    let (mut keys, mut found) = (Keys::default(), Vec::new());
    let mut said = Vec::new();
    for service in &config.services {
        match certificates(config, service) {
            Ok(Some(certificates)) => drop(keys.by_service.insert(service.name.clone(), certificates)),
            Ok(None) => {
                if let Some(span) = service.tls_span {
                    let message = format!("the service `{}` has no certificate for TLS_PORT", service.name);
                    found.push(remark("tls-port-not-served", message, span).help(
                        "nothing listens on this port; write `TLS_CERTIFICATE=` and `TLS_KEY=` into the section",
                    ));
                }
            }
            // Services often share a file.
            Err(remark) if said.contains(&remark.message) => {}
            Err(remark) => {
                said.push(remark.message.clone());
                found.push(*remark);
            }
        }
    }
    if let Some((path, span)) = &config.options.password_file {
        match users(path, *span) {
            Ok(users) => keys.users = Some(Arc::new(users)),
            Err(remark) => found.push(*remark),
        }
    }
    missing(config, &keys, &mut found);
    site_keys::check(config, keys.users.as_deref(), sources, &mut found);
    (keys, found)
}

/// Channels whose keywords ask for what there is not.
fn missing(config: &Config, keys: &Keys, found: &mut Vec<Diagnostic>) {
    // Where files are broken, that has been said.
    if sluice_diag::errors_in(found) {
        return;
    }
    for service in config.services.iter().filter(|service| service.atrn != Atrn::No) {
        if keys.users.is_none() {
            let message = format!(
                "there is no PASSWORD_FILE for the service `{}`: nobody can log in for ATRN",
                service.name
            );
            found
                .push(remark("login-without-users", message, service.span).help(
                    "write `PASSWORD_FILE=passwords` into option.dat, then `sluice password set NAME`",
                ));
        }
    }
    // Where a port of the same channel has no certificate, too.
    let is_said = |channel: &sluice_config::Channel| {
        config.services.iter().any(|service| {
            !service.listen_tls.is_empty() && service.channel.eq_ignore_ascii_case(&channel.name)
        })
    };
    let entry = |channel: &sluice_config::Channel| {
        config.services.iter().any(|service| service.channel.eq_ignore_ascii_case(&channel.name))
    };
    for channel in config.channels.iter().filter(|channel| entry(channel)) {
        if channel.settings.tls_server != Demand::No && keys.by_service.is_empty() && !is_said(channel) {
            let (what, severity) = consequence(channel.settings.tls_server, "STARTTLS is not offered");
            let message = format!("there is no certificate for the channel `{}`: {what}", channel.name);
            found.push(remark("tls-without-certificate", message, channel.span).severity(severity).help(
                format!("put {CERTIFICATE_FILE} and {KEY_FILE} into the configuration folder, or name others with TLS_CERTIFICATE and TLS_KEY"),
            ));
        }
        if channel.settings.sasl_server != Demand::No && keys.users.is_none() {
            let (what, severity) = consequence(channel.settings.sasl_server, "AUTH is not offered");
            let message = format!("there is no PASSWORD_FILE for the channel `{}`: {what}", channel.name);
            found.push(
                remark("login-without-users", message, channel.span)
                    .severity(severity)
                    .help("write `PASSWORD_FILE=passwords` into option.dat, then `sluice password set NAME`"),
            );
        }
    }
}

/// What comes of it. Who only offers something is used to not everybody having it.
fn consequence(demand: Demand, offered: &'static str) -> (&'static str, sluice_diag::Severity) {
    match demand {
        Demand::Must => ("it takes no mail at all", sluice_diag::Severity::Warning),
        Demand::May | Demand::No => (offered, sluice_diag::Severity::Info),
    }
}

/// The certificate and key of a service; nothing where none are written and those of the usual name are not there.
fn certificates(config: &Config, service: &Service) -> Result<Option<Certificates>, Box<Diagnostic>> {
    let usual = |name: &str| config.folder.join(name);
    let span = service.tls_span.unwrap_or(service.span);
    let written = service.tls_certificate.is_some() || service.tls_key.is_some();
    let (certificate, certificate_span) =
        service.tls_certificate.clone().unwrap_or_else(|| (usual(CERTIFICATE_FILE), span));
    let (key, key_span) = service.tls_key.clone().unwrap_or_else(|| (usual(KEY_FILE), span));
    if !written && !certificate.exists() {
        return Ok(None);
    }
    let bad = |message: String, span: Span| Box::new(remark("bad-certificate", message, span));
    let unreadable = |path: &PathBuf, error: io::Error, span: Span| {
        bad(format!("cannot read {}: {error}", path.display()), span)
    };
    let chain =
        std::fs::read(&certificate).map_err(|error| unreadable(&certificate, error, certificate_span))?;
    let private = read_secret(&key).map_err(|trouble| match trouble {
        Trouble::Unreadable(error) => unreadable(&key, error, key_span),
        Trouble::Open(mode) => {
            let message = format!("{} is open to everybody (mode {mode:o})", key.display());
            Box::new(
                bad(message, key_span)
                    .help(format!("chmod 640 {}, and make a new key: this one is known", key.display())),
            )
        }
    })?;
    match Certificates::read(&chain, &private) {
        Ok(certificates) => Ok(Some(certificates)),
        Err(error @ sluice_smtpd::CertificateError::NoCertificate) => {
            Err(bad(format!("{}: {error}", certificate.display()), certificate_span))
        }
        Err(error @ sluice_smtpd::CertificateError::NoKey) => {
            Err(bad(format!("{}: {error}", key.display()), key_span))
        }
        Err(sluice_smtpd::CertificateError::Unusable { source }) => {
            let (certificate, key) = (certificate.display(), key.display());
            let message = format!("{certificate} and {key} cannot be used together: {source}");
            Err(Box::new(
                bad(message, certificate_span)
                    .help("the key must be that of the first certificate in the file"),
            ))
        }
    }
}

fn users(path: &Path, span: Span) -> Result<Users, Box<Diagnostic>> {
    let bad = |message: String| Box::new(remark("bad-password-file", message, span));
    let octets = read_secret(path).map_err(|trouble| match trouble {
        Trouble::Unreadable(error) if error.kind() == io::ErrorKind::NotFound => Box::new(
            bad(format!("{} does not exist", path.display()))
                .help("`sluice password set NAME` makes it, with its first user"),
        ),
        Trouble::Unreadable(error) => bad(format!("cannot read {}: {error}", path.display())),
        Trouble::Open(mode) => Box::new(
            bad(format!("{} is open to everybody (mode {mode:o})", path.display()))
                .help(format!("chmod 640 {}, and set all passwords anew: they may be known", path.display())),
        ),
    })?;
    let text = String::from_utf8(octets).map_err(|_| bad(format!("{} is no text", path.display())))?;
    let (users, mistakes) = Users::read(&text);
    match mistakes.as_slice() {
        [] => Ok(users),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            let message = format!("{}:{}: {}{more}", path.display(), first.line, first.what);
            Err(Box::new(bad(message).help("`sluice password remove NAME` and `set NAME` make a new line")))
        }
    }
}

/// Why a secret cannot be read.
pub(crate) enum Trouble {
    Unreadable(io::Error),
    /// Everybody may do something with it; the mode.
    Open(u32),
}

/// The content of a file that others may not read.
pub(crate) fn read_secret(path: &Path) -> Result<Vec<u8>, Trouble> {
    let mode = std::fs::metadata(path).map_err(Trouble::Unreadable)?.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(Trouble::Open(mode));
    }
    std::fs::read(path).map_err(Trouble::Unreadable)
}

pub(crate) fn remark(code: &str, message: String, span: Span) -> Diagnostic {
    Diagnostic::new(self::code(code), message).at(span)
}

/// A code of the configuration, where the explanations are.
fn code(name: &str) -> &'static Code {
    let mut codes = sluice_config::codes().iter().copied();
    codes.find(|code| code.name == name).expect("a code of `config`, compared by a test")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_codes_asked_for_exist() {
        for name in [
            "tls-port-not-served",
            "bad-certificate",
            "tls-without-certificate",
            "bad-password-file",
            "login-without-users",
            "bad-activator-password",
            "site-login-unknown",
        ] {
            assert_eq!(super::code(name).name, name);
        }
    }
}
