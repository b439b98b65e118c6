//! Whose rights a program runs with.
//!
//! A hub that runs as root gives them up for the program, with all groups but the account's own. Accounts are looked up in
//! `/etc/passwd` and nowhere else: asking other services needs the C library's resolver, which loads code into the hub.

use std::ffi::OsString;
use std::path::PathBuf;

const PASSWD: &str = "/etc/passwd";
/// Where programs and shells look for others.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// An account of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// The number of the user.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// Its folder.
    pub home: PathBuf,
    /// Its rights are others than the hub's, which have to be given up.
    pub changes: bool,
}

/// Why no program can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAccount {
    /// The operator has to write something else.
    #[error("{0}")]
    Refused(String),
    /// The system does not tell.
    #[error("{0}")]
    Unknown(String),
}

/// What every program has in its environment, before what its channel gives it: nothing of the hub's own.
pub fn environment(account: Option<&Account>) -> Vec<(&'static str, OsString)> {
    let mut variables: Vec<(&'static str, OsString)> =
        vec![("PATH", PATH.into()), ("SHELL", "/bin/sh".into()), ("LANG", "C".into())];
    match account {
        Some(account) => {
            let name = OsString::from(&account.name);
            variables.extend([
                ("USER", name.clone()),
                ("LOGNAME", name),
                ("HOME", account.home.clone().into()),
            ]);
        }
        None => variables.push(("HOME", "/".into())),
    }
    variables
}

/// The account that programs run as; `None` for the hub's own when that is not root.
///
/// # Errors
/// [`NoAccount`]: also when the hub runs as root and none is named.
pub fn find(name: Option<&str>) -> Result<Option<Account>, NoAccount> {
    let own = rustix::process::geteuid().as_raw();
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        if own == 0 {
            let text = "the hub runs as root, and programs are not to: name an account by the keyword `user` or the option USER";
            return Err(NoAccount::Refused(text.to_owned()));
        }
        return Ok(None);
    };
    let text = std::fs::read_to_string(PASSWD)
        .map_err(|error| NoAccount::Unknown(format!("cannot read {PASSWD}: {error}")))?;
    let account = in_passwd(&text, name, own)
        .ok_or_else(|| NoAccount::Refused(format!("there is no account `{name}` in {PASSWD}")))?;
    if own != 0 && account.changes {
        let text =
            format!("programs cannot run as `{name}`: only a hub that runs as root can change accounts");
        return Err(NoAccount::Refused(text));
    }
    Ok(Some(account))
}

fn in_passwd(text: &str, name: &str, own: u32) -> Option<Account> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = fields.nth(1).filter(|home| !home.is_empty()).unwrap_or("/");
    Some(Account { name: name.to_owned(), uid, gid, home: home.into(), changes: uid != own })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_from_the_file() {
        let text =
            "root:x:0:0:root:/root:/bin/sh\nmail:x:8:9::/var/mail:/sbin/nologin\nbad:x:a:b\nbare:x:7:7\n";
        let mail = in_passwd(text, "mail", 0).unwrap();
        assert_eq!((mail.uid, mail.gid, mail.home.to_str(), mail.changes), (8, 9, Some("/var/mail"), true));
        assert!(!in_passwd(text, "root", 0).unwrap().changes);
        assert_eq!(in_passwd(text, "bad", 0), None);
        assert_eq!(in_passwd(text, "nobody", 0), None);
        assert_eq!(in_passwd(text, "bare", 0).unwrap().home.to_str(), Some("/"));
    }

    #[test]
    fn an_account_that_is_not_there_is_refused() {
        let error = find(Some("no such account")).unwrap_err();
        assert_eq!(
            error,
            NoAccount::Refused("there is no account `no such account` in /etc/passwd".to_owned())
        );
    }
}
