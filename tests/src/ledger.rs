//! A channel in C that writes down what it does, in as many versions as a test wants, and what it has written.

use sluice_testkit::{Site, wait_for};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What the built file has in the place of its version.
const VERSION: &[u8] = b"generation 0000000";

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The delivery is over, and was not only begun.
    pub is_end: bool,
    /// Which version wrote it.
    pub version: u32,
    /// The number of the message.
    pub number: usize,
}

/// A version of the plugin: its number, and how it comes where the old one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A new file takes the name of the old one (mv).
    Renamed(u32),
    /// The old file is written over (cp).
    WrittenOver(u32),
}

/// The plugin, and its ledger, in the folder of a site.
#[derive(Debug)]
pub struct Ledger {
    whole: Vec<u8>,
    file: PathBuf,
    ledger: PathBuf,
}

impl Ledger {
    /// Builds it and puts version 1 in its place.
    ///
    /// # Panics
    /// When there is no C compiler.
    #[must_use]
    pub fn build(site: &Site) -> Ledger {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let built = site.folder().join("built.so");
        let compiled = Command::new("cc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-I"])
            .arg(root.join("../include"))
            .arg(root.join("src/fixtures/ledger.c"))
            .arg("-o")
            .arg(&built)
            .status();
        assert!(compiled.is_ok_and(|status| status.success()), "a C compiler is needed: apt-get install gcc");
        let whole = fs::read(&built).unwrap();
        let ledger = Ledger {
            whole,
            file: site.folder().join("libsluice_ledger.so"),
            ledger: site.folder().join("ledger"),
        };
        ledger.put(Version::Renamed(1));
        ledger
    }

    /// The plugin's file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Lines of the channel's option file.
    #[must_use]
    pub fn options(&self, pause: Duration) -> String {
        format!("LEDGER={}\nPAUSE={}\n", self.ledger.display(), pause.as_millis())
    }

    /// The bytes of a version.
    ///
    /// # Panics
    /// When the built file does not have its version where it can be found.
    #[must_use]
    pub fn bytes(&self, version: u32) -> Vec<u8> {
        let mut bytes = self.whole.clone();
        let at = bytes.windows(VERSION.len()).position(|part| part == VERSION).expect("a version");
        bytes[at..at + VERSION.len()].copy_from_slice(format!("generation {version:07}").as_bytes());
        bytes
    }

    /// Puts a version where the plugin's file is.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, version: Version) {
        match version {
            Version::Renamed(version) => {
                let beside = self.file.with_extension("new");
                fs::write(&beside, self.bytes(version)).unwrap();
                fs::set_permissions(&beside, Permissions::from_mode(0o755)).unwrap();
                fs::rename(&beside, &self.file).unwrap();
            }
            Version::WrittenOver(version) => fs::write(&self.file, self.bytes(version)).unwrap(),
        }
    }

    /// Everything that was written so far.
    ///
    /// # Panics
    /// When a line is not one of the plugin's.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let text = fs::read_to_string(&self.ledger).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let line = |line: &str| {
            let mut words = line.split(' ');
            let what = words.next()?;
            let (version, number) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some(Line { is_end: what == "end", version, number })
        };
        let lines = whole.lines().map(|text| line(text).unwrap_or_else(|| panic!("a line {text:?}")));
        lines.collect()
    }

    /// Numbers of messages, and how often each was delivered to the end.
    #[must_use]
    pub fn delivered(&self) -> BTreeMap<usize, usize> {
        let mut times = BTreeMap::new();
        for line in self.lines().iter().filter(|line| line.is_end) {
            *times.entry(line.number).or_default() += 1;
        }
        times
    }

    /// Waits until so many have been delivered, and asserts that each was begun and ended once: nothing lost, nothing twice.
    ///
    /// # Panics
    /// When that is not so.
    pub fn wait_for_each_once(&self, count: usize, deadline: Duration) {
        wait_for(&format!("{count} messages are delivered"), deadline, || self.delivered().len() >= count);
        let begun = self.lines().iter().filter(|line| !line.is_end).count();
        let delivered = self.delivered();
        assert_eq!(delivered.keys().copied().collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
        let twice: Vec<_> = delivered.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty() && begun == count, "{begun} begun of {count}, more than once: {twice:?}");
    }

    /// The versions that have delivered something.
    #[must_use]
    pub fn versions(&self) -> Vec<u32> {
        let mut versions: Vec<u32> = self.lines().iter().map(|line| line.version).collect();
        versions.sort_unstable();
        versions.dedup();
        versions
    }
}
