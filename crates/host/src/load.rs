//! Finding a plugin's file, deciding whether to trust it, and keeping what was loaded.
//!
//! A file is loaded once; asking again gives the same [`Plugin`]. When another file has taken its place (a new one,
//! renamed over it), that one is loaded beside the old as a new generation; who still has the old `Arc` keeps using it. A
//! file that the handshake refused counts as a generation too, because the linker keeps it.

use crate::door::FrontDoor;
use crate::elf;
use crate::library::{self, PROGRAM, Unfit};
use crate::permissions;
use crate::plugin::Plugin;
use crate::routine::Callers;
use crate::watchdog::Watchdog;
use parking_lot::Mutex;
use sluice_abi::ABI_VERSION;
use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Why a plugin is not loaded. Each text says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A name that could not be part of a file name.
    #[error("`{name}` is not a plugin name: use letters, digits, `_` and `-`, or a path with `/`")]
    Name {
        /// As asked for.
        name: String,
    },
    /// No such file anywhere.
    #[error("there is no plugin {name}: looked for {}", list(.looked))]
    NotFound {
        /// As asked for.
        name: String,
        /// Every place that was looked at, in order.
        looked: Vec<PathBuf>,
    },
    /// The file or its folder cannot be examined.
    #[error("cannot examine plugin {}", .path.display())]
    Examine {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder, a device, …
    #[error("plugin {} is not a regular file", .path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Someone else could have written it.
    #[error("plugin {} is not loaded: {why}; type `{fix}`", .path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Whose, or which mode.
        why: String,
        /// A command that mends it.
        fix: String,
    },
    /// Written over while it was loaded.
    #[error(
        "plugin {} was overwritten while it was loaded; restart the hub, and next time put the new file beside it and rename it (mv)",
        .path.display()
    )]
    Overwritten {
        /// The file.
        path: PathBuf,
    },
    /// The file ends before the library does; loading it would end the process.
    #[error(
        "plugin {} is cut short: the file has {has} bytes, the library needs {needed}; put the whole file there",
        .path.display()
    )]
    CutShort {
        /// The file.
        path: PathBuf,
        /// Length of the file.
        has: u64,
        /// Length that its headers speak of, at least.
        needed: u64,
    },
    /// The dynamic linker refuses it.
    #[error("plugin {} is not a shared library for this machine: {text}", .path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// The dynamic linker's words.
        text: String,
    },
    /// A library, but not a plugin.
    #[error(
        "library {} is not a Sluice plugin: it does not export the data symbol `sluice_plugin` ({text})",
        .path.display()
    )]
    NoSymbol {
        /// The file.
        path: PathBuf,
        /// The dynamic linker's words.
        text: String,
    },
    /// Built for another version of the contract.
    #[error(
        "plugin {}{} was built for plugin ABI version {plugin}, this hub ({PROGRAM}) has version {host}; build it again with this hub's sluice.h or sdk",
        .path.display(),
        in_brackets(.named)
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Name and version that its table tells, as far as they can be read.
        named: String,
        /// The version of the contract that it was built for.
        plugin: u32,
        /// Ours.
        host: u32,
    },
    /// It says that it cannot do without something that this hub does not have.
    #[error(
        "plugin {}{} needs what this hub ({PROGRAM}) cannot do: {features}; take a newer hub, or an older version of the plugin",
        .path.display(),
        in_brackets(.named)
    )]
    Needs {
        /// The file.
        path: PathBuf,
        /// Name and version that its table tells.
        named: String,
        /// The features that are missing.
        features: String,
    },
    /// The table is too small to be what it says.
    #[error(
        "plugin {} has a table of {size} bytes, ABI version {ABI_VERSION} needs at least {}; was `size` set to sizeof(sluice_plugin_table)?",
        .path.display(),
        sluice_abi::Plugin::SIZE_FIRST
    )]
    TooSmall {
        /// The file.
        path: PathBuf,
        /// What the table says.
        size: u32,
    },
    /// A function is missing.
    #[error("plugin {} has a null pointer for its function `{function}`", .path.display())]
    NoFunction {
        /// The file.
        path: PathBuf,
        /// Which one.
        function: &'static str,
    },
    /// Something else in the table is wrong.
    #[error("plugin {} has a bad table: {field} {problem}", .path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Which field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Name and version in brackets behind a file, if they are known.
fn in_brackets(named: &str) -> String {
    if named.is_empty() { String::new() } else { format!(" ({named})") }
}

fn list(places: &[PathBuf]) -> String {
    let shown: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    shown.join(", ")
}

/// Loads plugins and watches over their workers. One for a process; cheap to clone.
#[derive(Clone)]
pub struct Host {
    folders: Arc<[PathBuf]>,
    shared: Arc<Shared>,
}

/// What a process has once, wherever it looks for plugins.
struct Shared {
    loaded: Mutex<HashMap<PathBuf, Vec<Generation>>>,
    watchdog: Arc<Watchdog>,
    door: Arc<OnceLock<Arc<dyn FrontDoor>>>,
}

/// One file that was loaded from a path.
struct Generation {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    /// `None` when the handshake refused it: the linker has it all the same, for as long as the process lives.
    plugin: Option<Arc<Plugin>>,
}

impl Host {
    /// Looks for plugins in `folders`, in this order.
    pub fn new(folders: Vec<PathBuf>) -> Host {
        let shared = Shared {
            loaded: Mutex::new(HashMap::new()),
            watchdog: Arc::new(Watchdog::default()),
            door: Arc::new(OnceLock::new()),
        };
        Host { folders: folders.into(), shared: Arc::new(shared) }
    }

    /// The same host, looking in other folders: what is loaded is loaded for both.
    pub fn looking_in(&self, folders: Vec<PathBuf>) -> Host {
        Host { folders: folders.into(), shared: self.shared.clone() }
    }

    /// Lets plugins bring mail in, by this door. The first door counts.
    pub fn open_door(&self, door: Arc<dyn FrontDoor>) {
        let _ = self.shared.door.set(door);
    }

    pub(crate) fn door(&self) -> &Arc<OnceLock<Arc<dyn FrontDoor>>> {
        &self.shared.door
    }

    /// The usual order: the program's own folder, `../lib/sluice` beside it, then the folders of `PLUGIN_PATH`.
    pub fn usual_folders(program: &Path, plugin_path: &[PathBuf]) -> Vec<PathBuf> {
        let own = program.parent().unwrap_or(Path::new("."));
        let mut folders = vec![own.to_owned(), own.parent().unwrap_or(own).join("lib/sluice")];
        folders.extend_from_slice(plugin_path);
        folders
    }

    /// Where plugins are looked for.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    pub(crate) fn watchdog(&self) -> &Arc<Watchdog> {
        &self.shared.watchdog
    }

    /// Loads a plugin by its name, or by the path of its file if there is a `/` in `name`.
    ///
    /// # Errors
    /// Why it is not loaded; nothing of the plugin was called.
    pub fn load(&self, name: &str) -> Result<Arc<Plugin>, LoadError> {
        let found = self.find(name)?;
        // The linker goes by what the name leads to, and so do the permissions.
        let path = fs::canonicalize(&found).map_err(|source| LoadError::Examine { path: found, source })?;
        let file = fs::metadata(&path).map_err(|source| LoadError::Examine { path: path.clone(), source })?;
        if !file.is_file() {
            return Err(LoadError::NotAFile { path });
        }
        trusted(&path, &file)?;
        let mut loaded = self.shared.loaded.lock();
        let generations = loaded.entry(path.clone()).or_default();
        let modified = (file.mtime(), file.mtime_nsec());
        let mut spelling = generations.len();
        if let Some(at) =
            generations.iter().position(|one| (one.device, one.inode) == (file.dev(), file.ino()))
        {
            if generations[at].modified != modified {
                return Err(LoadError::Overwritten { path });
            }
            match &generations[at].plugin {
                Some(plugin) => return Ok(plugin.clone()),
                // Refused before, and unchanged: the linker gives the same again, so it will be the same refusal.
                None => spelling = at,
            }
        }
        let short =
            elf::cut_short(&path).map_err(|source| LoadError::Examine { path: path.clone(), source })?;
        if let Some((needed, has)) = short {
            return Err(LoadError::CutShort { path, has, needed });
        }
        let (device, inode) = (file.dev(), file.ino());
        let table = match library::open(&spelled_anew(&path, spelling)) {
            Ok(table) => table,
            Err(unfit) => {
                let in_memory = !matches!(unfit, Unfit::NotALibrary(_));
                if in_memory && spelling == generations.len() {
                    generations.push(Generation { device, inode, modified, plugin: None });
                }
                return Err(refusal(&path, unfit));
            }
        };
        let plugin = Arc::new(Plugin {
            file: path,
            name: table.name,
            version: table.version,
            description: table.description,
            abi_version: ABI_VERSION,
            features: table.features,
            options: table.options,
            routines: table.routines,
            functions: table.functions,
            callers: Callers::default(),
        });
        tracing::info!(
            plugin = plugin.name(),
            version = plugin.version(),
            file = %plugin.file().display(),
            "plugin loaded"
        );
        generations.push(Generation { device, inode, modified, plugin: Some(plugin.clone()) });
        Ok(plugin)
    }

    /// Everything that is loaded, sorted by name; of several generations the newest.
    pub fn loaded(&self) -> Vec<Arc<Plugin>> {
        let loaded = self.shared.loaded.lock();
        let newest = |generations: &Vec<Generation>| {
            generations.iter().rev().find_map(|generation| generation.plugin.clone())
        };
        let mut plugins: Vec<_> = loaded.values().filter_map(newest).collect();
        plugins.sort_by(|one, other| (one.name(), one.file()).cmp(&(other.name(), other.file())));
        plugins
    }

    fn find(&self, name: &str) -> Result<PathBuf, LoadError> {
        if name.contains('/') {
            let path = PathBuf::from(name);
            return match path.exists() {
                true => Ok(path),
                false => Err(LoadError::NotFound { name: name.to_owned(), looked: vec![path] }),
            };
        }
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        {
            return Err(LoadError::Name { name: name.to_owned() });
        }
        let file = format!("libsluice_{name}.so");
        let looked: Vec<PathBuf> = self.folders.iter().map(|folder| folder.join(&file)).collect();
        match looked.iter().find(|path| path.exists()) {
            Some(path) => Ok(path.clone()),
            None => Err(LoadError::NotFound { name: name.to_owned(), looked }),
        }
    }
}

fn trusted(path: &Path, file: &Metadata) -> Result<(), LoadError> {
    let examine = |source| LoadError::Examine { path: path.to_owned(), source };
    let folder = fs::metadata(path.parent().unwrap_or(Path::new("/"))).map_err(examine)?;
    let user = permissions::effective_user().map_err(examine)?;
    match permissions::unsafe_because(path, file, &folder, user) {
        None => Ok(()),
        Some((why, fix)) => Err(LoadError::Permissions { path: path.to_owned(), why, fix }),
    }
}

/// The linker hands out the library it has when it is asked for a path it knows, even when the file is another one by
/// now. So each generation is asked for under a spelling of its own: `/lib/x.so`, `/lib/./x.so`, `/lib/././x.so`.
fn spelled_anew(path: &Path, generation: usize) -> PathBuf {
    match (generation, path.parent(), path.file_name()) {
        (1.., Some(folder), Some(name)) => {
            let mut text = folder.as_os_str().to_owned();
            for _ in 0..generation {
                text.push("/.");
            }
            text.push("/");
            text.push(name);
            PathBuf::from(text)
        }
        _ => path.to_owned(),
    }
}

fn refusal(path: &Path, unfit: Unfit) -> LoadError {
    let path = path.to_owned();
    match unfit {
        Unfit::NotALibrary(text) => LoadError::NotALibrary { path, text },
        Unfit::NoSymbol(text) => LoadError::NoSymbol { path, text },
        Unfit::Version(plugin, named) => LoadError::Version { path, named, plugin, host: ABI_VERSION },
        Unfit::Needs(features, named) => LoadError::Needs { path, named, features },
        Unfit::Small(size) => LoadError::TooSmall { path, size },
        Unfit::NoFunction(function) => LoadError::NoFunction { path, function },
        Unfit::Field(field, problem) => LoadError::Table { path, field, problem },
    }
}
