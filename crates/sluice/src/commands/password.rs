//! `sluice password`: the file of those who may log in.
//!
//! The file is changed in place, whole or not at all ([`crate::in_place`]). A new one belongs to whoever makes it and can be
//! read by nobody else.

use std::fs;
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use sluice_sasl::users::{SALT_OCTETS, User, Users, changed, checked_name};

use crate::cli::{Format, PasswordCheck, PasswordFile, PasswordList, PasswordRemove, PasswordSet};
use crate::exit::{Exit, ExitWith, Failure};
use crate::in_place::{self, New};
use crate::{complain, load, output};

/// Gives a user a password.
pub(crate) fn set(set: &PasswordSet) -> Result<Exit, Failure> {
    let name = name_of(&set.name)?;
    let path = file(&set.file)?;
    let password = ask(&format!("Password for {name}: "), true)?;
    let mut salt = [0; SALT_OCTETS];
    getrandom::fill(&mut salt).map_err(|error| anyhow::anyhow!("no random octets: {error}"))?;
    let user = User::new(&password, salt, set.iterations, set.cram_md5);
    let Some(user) = user else {
        let error = anyhow::anyhow!(
            "this cannot be a password: it is empty, longer than 1024 octets, or has control characters"
        );
        return Err(Failure::new(Exit::Data, error));
    };
    change(&path, |text| changed(text, &name, Some(&user)))?;
    complain(&format!("{}: {name} may log in; `sluice reload` tells the hub", path.display()));
    Ok(Exit::Ok)
}

/// Takes a user out.
pub(crate) fn remove(remove: &PasswordRemove) -> Result<Exit, Failure> {
    let name = name_of(&remove.name)?;
    let path = file(&remove.file)?;
    if !change(&path, |text| changed(text, &name, None))? {
        return Err(nobody(&path, &name));
    }
    complain(&format!("{}: {name} is taken out; `sluice reload` tells the hub", path.display()));
    Ok(Exit::Ok)
}

/// Lists who may log in, and how.
pub(crate) fn list(list: &PasswordList) -> Result<Exit, Failure> {
    let path = file(&list.file)?;
    for (name, user) in read(&path)?.iter() {
        match list.file.common.format {
            Format::Json => output::line(&json!({"name": name, "cram_md5": user.has_cram()}).to_string())?,
            Format::Text if user.has_cram() => output::line(&format!("{name}  (CRAM-MD5 too)"))?,
            Format::Text => output::line(name)?,
        }
    }
    Ok(Exit::Ok)
}

/// Says whether a password is the right one.
pub(crate) fn check(check: &PasswordCheck) -> Result<Exit, Failure> {
    let name = name_of(&check.name)?;
    let path = file(&check.file)?;
    let users = read(&path)?;
    let Some(user) = users.get(&name) else { return Err(nobody(&path, &name)) };
    let password = ask(&format!("Password for {name}: "), false)?;
    if user.knows(&password) {
        output::line("right")?;
        Ok(Exit::Ok)
    } else {
        Err(Failure::new(Exit::Data, anyhow::anyhow!("that is not the password of {name}")))
    }
}

fn nobody(path: &Path, name: &str) -> Failure {
    Failure::new(Exit::Data, anyhow::anyhow!("{}: there is no {name}", path.display()))
}

fn name_of(name: &str) -> Result<String, Failure> {
    checked_name(name).ok_or_else(|| {
        let error = anyhow::anyhow!(
            "`{}` cannot be a name: it is one word of at most 320 octets that does not begin with #",
            name.escape_debug()
        );
        Failure::new(Exit::Usage, error)
    })
}

/// The password file: the one on the command line, or the configuration's.
fn file(file: &PasswordFile) -> Result<PathBuf, Failure> {
    match &file.file {
        Some(path) => Ok(path.clone()),
        None => load::password_file(&file.common.config),
    }
}

fn read(path: &Path) -> Result<Users, Failure> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .exit_with(Exit::Data)?;
    let (users, mistakes) = Users::read(&text);
    for mistake in mistakes {
        complain(&format!("{}:{}: {}", path.display(), mistake.line, mistake.what));
    }
    Ok(users)
}

/// A password: from the terminal without showing it, or the first line of standard input.
pub(crate) fn ask(prompt: &str, twice: bool) -> Result<String, Failure> {
    let mut line = String::new();
    if io::stdin().is_terminal() {
        line = rpassword::prompt_password(prompt).context("cannot read a password").exit_with(Exit::Data)?;
        let again = || rpassword::prompt_password("Again: ").context("cannot read a password");
        if twice && again().exit_with(Exit::Data)? != line {
            return Err(Failure::new(Exit::Data, anyhow::anyhow!("the two are not the same")));
        }
    } else {
        io::stdin().lock().read_line(&mut line).context("cannot read a password").exit_with(Exit::Data)?;
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Replaces the file by what `change` makes of its text; false when that is nothing.
fn change(path: &Path, change: impl FnOnce(&str) -> Option<String>) -> Result<bool, Failure> {
    in_place::change(path, New::Private, |text| Ok(change(text)))
}
