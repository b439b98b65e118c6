//! Secrets that `sites.cnf` speaks of: the passwords of activators, and whether the logins of sites exist.
//!
//! Not here: the password file of those who log in here ([`crate::keys`]).

use std::path::Path;

use sluice_config::{Config, Password};
use sluice_diag::{Diagnostic, Sources};
use sluice_sasl::users::checked_name;
use sluice_smtpd::Users;

use crate::keys::{Trouble, read_secret, remark};

/// Logins without a user that are told one by one; of a file of thousands that was forgotten the rest says no more.
const UNKNOWN_TOLD_MAX: usize = 20;

/// Looks at the secrets of sites and activators.
pub(crate) fn check(config: &Config, users: Option<&Users>, sources: &Sources, found: &mut Vec<Diagnostic>) {
    for activator in config.sites.activators() {
        let Some(login) = &activator.login else { continue };
        let (file, span) = match &login.password {
            Password::Written { span, .. } => (sources.path(span.source), *span),
            Password::InFile { path, span } => (path.as_path(), *span),
        };
        let trouble = match &login.password {
            Password::Written { .. } => read_secret(file).err().and_then(|trouble| match trouble {
                // Where the file is not there yet it is made with a mode that is right.
                Trouble::Unreadable(_) => None,
                open => Some(told(file, &open)),
            }),
            Password::InFile { .. } => password_of(&login.password).err(),
        };
        if let Some((message, help)) = trouble {
            found.push(remark("bad-activator-password", message, span).help(help));
        }
    }
    unknown_logins(config, users, found);
}

/// The password of an activator. The first line of its file, read anew each time, so that a change needs no reload.
///
/// # Errors
/// What is wrong, and what to do about it.
pub(crate) fn password_of(password: &Password) -> Result<String, (String, String)> {
    let file = match password {
        Password::Written { text, .. } => return Ok(text.to_string()),
        Password::InFile { path, .. } => path,
    };
    let octets = read_secret(file).map_err(|trouble| told(file, &trouble))?;
    let text = String::from_utf8(octets).ok();
    let line = text.as_deref().and_then(|text| text.lines().next()).filter(|line| !line.is_empty());
    line.map(str::to_owned).ok_or_else(|| {
        (format!("{} has no password in its first line", file.display()), "write one line of text".to_owned())
    })
}

fn told(file: &Path, trouble: &Trouble) -> (String, String) {
    match trouble {
        Trouble::Unreadable(error) => {
            let help = "write the password into its first line, and let the hub's account read it";
            (format!("cannot read {}: {error}", file.display()), help.to_owned())
        }
        Trouble::Open(mode) => (
            format!("{} is open to everybody (mode {mode:o})", file.display()),
            format!("chmod 640 {}, and change the password: it may be known", file.display()),
        ),
    }
}

fn unknown_logins(config: &Config, users: Option<&Users>, found: &mut Vec<Diagnostic>) {
    let broken = users.is_none() && config.options.password_file.is_some();
    if broken {
        // What is wrong with the file has been said.
        return;
    }
    let mut unknown = 0;
    let mut last = None;
    for site in &config.sites {
        for login in &site.logins {
            let known =
                checked_name(login).is_some_and(|name| users.is_some_and(|users| users.get(&name).is_some()));
            if known {
                continue;
            }
            unknown += 1;
            if unknown > UNKNOWN_TOLD_MAX {
                last = Some(site.span);
                continue;
            }
            let (message, help) = match users {
                Some(_) => (
                    format!("the login `{login}` of the site `{}` is not in the password file", site.name),
                    format!("`sluice password set {login}` adds it"),
                ),
                None => (
                    format!(
                        "the site `{}` has the login `{login}`, and there is no password file",
                        site.name
                    ),
                    "write `PASSWORD_FILE=passwords` into option.dat, then `sluice password set NAME`"
                        .to_owned(),
                ),
            };
            found.push(remark("site-login-unknown", message, site.span).help(help));
        }
    }
    if let Some(span) = last {
        let message =
            format!("{} more logins of sites are not in the password file", unknown - UNKNOWN_TOLD_MAX);
        found.push(
            remark("site-login-unknown", message, span).help("`sluice password list` lists those that are"),
        );
    }
}
