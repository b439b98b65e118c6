//! Paths of sockets that are longer than the system takes.
//!
//! The address of a socket holds 108 bytes (unix(7)), and a spool may stand deeper than that. The folder is opened then,
//! and the socket reached through it by proc(5)'s short name for an open folder.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Longest path that is used as it is. An address holds a few more octets here, and fewer elsewhere.
const PATH_MAX: usize = 103;

#[derive(Debug)]
/// A socket's path that is short enough, for as long as this lives.
pub struct Reach {
    path: PathBuf,
    _folder: Option<File>,
}

impl Reach {
    /// A way to a socket at `path`, which need not be there yet. Relative paths start from the working folder.
    ///
    /// # Errors
    /// The folder of a long path cannot be opened.
    pub fn new(path: &Path) -> io::Result<Reach> {
        let (true, Some(folder), Some(name)) =
            (path.as_os_str().len() > PATH_MAX, path.parent(), path.file_name())
        else {
            return Ok(Reach { path: path.to_owned(), _folder: None });
        };
        let folder = File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        Ok(Reach { path, _folder: Some(folder) })
    }

    /// What to bind, or to connect to, in this process.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_socket_deep_in_folders_is_bound_and_found() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("control.sock");
        assert!(UnixListener::bind(&path).is_err(), "the system does not take it");
        let _listener = UnixListener::bind(Reach::new(&path).unwrap().path()).unwrap();
        assert!(path.exists());
        UnixStream::connect(Reach::new(&path).unwrap().path()).unwrap();
        assert_eq!(Reach::new(Path::new("/short.sock")).unwrap().path(), Path::new("/short.sock"));
    }
}
