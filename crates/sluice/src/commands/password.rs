//! `sluice password`: the file of those who may log in.
//!
//! The file is replaced whole, by a rename, so that a hub that reads it never sees half of it; who changes it at the
//! same time waits. A new file belongs to whoever makes it and can be read by nobody else; an existing one keeps owner
//! and mode.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use sluice_sasl::users::{SALT_OCTETS, User, Users, changed, checked_name};

use crate::cli::{Format, PasswordCheck, PasswordFile, PasswordList, PasswordRemove, PasswordSet};
use crate::exit::{Exit, ExitWith, Failure};
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
fn ask(prompt: &str, twice: bool) -> Result<String, Failure> {
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
    let in_file = || format!("cannot change {}", path.display());
    // A link stays one, and what it points to is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let lock = File::open(folder).with_context(in_file).exit_with(Exit::Data)?;
    // Held until the end: two who change the file one after the other both have their way.
    lock.lock().with_context(in_file)?;
    let (text, existing) = match fs::read_to_string(path) {
        Ok(text) => (text, Some(fs::metadata(path).with_context(in_file)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), None),
        Err(error) => return Err(error).with_context(in_file).exit_with(Exit::Data),
    };
    let Some(text) = change(&text) else { return Ok(false) };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = folder.join(name);
    // What a run that was stopped has left.
    let _ = fs::remove_file(&new);
    let written = write(&new, &text, existing.as_ref())
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| lock.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.with_context(in_file).exit_with(Exit::Data)?;
    Ok(true)
}

fn write(path: &Path, text: &str, like: Option<&fs::Metadata>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    if let Some(like) = like {
        // Whoever may read the file now, the hub's account above all, may read it afterwards.
        if (like.uid(), like.gid()) != (file.metadata()?.uid(), file.metadata()?.gid()) {
            std::os::unix::fs::chown(path, Some(like.uid()), Some(like.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(like.mode() & 0o777))?;
    }
    file.sync_all()
}
