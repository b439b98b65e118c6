//! Finding a plugin's file, deciding whether to trust it, and keeping what was loaded.
//!
//! A file is loaded once; asking again gives the same [`Plugin`], whatever the file is by now. When another one has taken
//! its place, [`Host::load_next`] loads that beside the old as a new generation, which is used from
//! [`Host::put_in_force`] on; who still has the old `Arc` keeps using it.

use crate::aside::Aside;
use crate::copy::{Copied, Identity, Opened};
use crate::door::FrontDoor;
use crate::generations::{GENERATIONS_WARN, Generation, Line};
use crate::library::{self, PROGRAM, Unfit};
use crate::permissions;
use crate::plugin::Plugin;
use crate::recorder::Recorder;
use crate::sealed::Sealed;
use crate::watchdog::Watchdog;
use parking_lot::Mutex;
use sluice_abi::ABI_VERSION;
use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
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
    /// It was written to while it was copied.
    #[error("plugin {} is being written to; try again when it is whole", .path.display())]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// More is to be loaded than anybody's library needs.
    #[error("plugin {} wants {len} bytes to be loaded, which is too much for a plugin", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// So many.
        len: u64,
    },
    /// There is no memory for the copy that is loaded, or no right to make one.
    #[error("cannot copy plugin {} into memory", .path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
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
    /// By the place at which the file was found.
    lines: Mutex<HashMap<PathBuf, Arc<Line>>>,
    /// The linker is given the files themselves, not copies.
    in_place: bool,
    watchdog: Arc<Watchdog>,
    door: Arc<OnceLock<Arc<dyn FrontDoor>>>,
    recorder: OnceLock<Arc<Recorder>>,
}

impl Host {
    /// Looks for plugins in `folders`, in this order.
    pub fn new(folders: Vec<PathBuf>) -> Host {
        Host::with(folders, false)
    }

    /// Looks for plugins in `folders`, and loads the files themselves in place of copies: debuggers and valgrind then find
    /// what they need behind the part that is loaded. For tools that look at one plugin and end; whoever writes over such
    /// a file kills the process.
    pub fn in_place(folders: Vec<PathBuf>) -> Host {
        Host::with(folders, true)
    }

    fn with(folders: Vec<PathBuf>, in_place: bool) -> Host {
        let shared = Shared {
            lines: Mutex::new(HashMap::new()),
            in_place,
            watchdog: Arc::new(Watchdog::default()),
            door: Arc::new(OnceLock::new()),
            recorder: OnceLock::new(),
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

    /// The door, once it is open.
    pub fn door_if_open(&self) -> Option<Arc<dyn FrontDoor>> {
        self.shared.door.get().cloned()
    }

    /// Has workers write down what they are about to do, for whoever finds this process dead. The first recorder counts.
    pub fn record_in(&self, recorder: Arc<Recorder>) {
        let _ = self.shared.recorder.set(recorder);
    }

    pub(crate) fn recorder(&self) -> Option<&Arc<Recorder>> {
        self.shared.recorder.get()
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

    /// Loads a plugin by its name, or by the path of its file if there is a `/` in `name`. What has been loaded before is
    /// not looked at again.
    ///
    /// # Errors
    /// Why it is not loaded; nothing of the plugin was called.
    pub fn load(&self, name: &str) -> Result<Arc<Plugin>, LoadError> {
        let line = self.line(name)?;
        if let Some(plugin) = line.in_force() {
            return Ok(plugin);
        }
        let mut generations = line.generations.lock();
        if let Some(plugin) = line.in_force() {
            return Ok(plugin);
        }
        let plugin = match line.sealed_in_force() {
            // Other processes have it.
            Some(sealed) => self.load_sealed(&mut generations, &sealed)?,
            None => self.load_file(&line, &mut generations)?,
        };
        line.put_in_force(&plugin);
        Ok(plugin)
    }

    /// Loads what is in a plugin's file now, as the next generation. It is not in force yet: [`load`](Self::load) gives
    /// what it gave before. If the file is the one that was loaded last, that is what it gives.
    ///
    /// # Errors
    /// Why it is not loaded; nothing of the plugin was called.
    pub fn load_next(&self, name: &str) -> Result<Arc<Plugin>, LoadError> {
        let line = self.line(name)?;
        let mut generations = line.generations.lock();
        self.load_file(&line, &mut generations)
    }

    /// From now on this generation is what [`load`](Self::load) gives.
    pub fn put_in_force(&self, plugin: &Arc<Plugin>) {
        if let Some(line) = plugin.sealed.line.upgrade() {
            line.put_in_force(plugin);
        }
    }

    /// Where the file of a plugin is found.
    ///
    /// # Errors
    /// It is nowhere.
    pub fn place(&self, name: &str) -> Result<PathBuf, LoadError> {
        self.line(name).map(|line| line.place.clone())
    }

    /// Whether the file of a plugin is another one than it was when it was loaded last: to be asked now and then. `None`
    /// when nothing of that name is loaded, or there is no file.
    pub fn has_changed(&self, plugin: &Plugin) -> Option<FileState> {
        let line = plugin.sealed.line.upgrade()?;
        let now = Identity::of(&fs::metadata(&line.place).ok()?);
        let generations = line.generations.try_lock()?;
        let is_known = generations.last().is_some_and(|newest| newest.sealed.identity() == now);
        Some(if is_known { FileState::Known } else { FileState::Changed(Seen(now)) })
    }

    /// Loads the file of a line, unless it is what the newest generation is.
    fn load_file(
        &self,
        line: &Arc<Line>,
        generations: &mut Vec<Generation>,
    ) -> Result<Arc<Plugin>, LoadError> {
        let number = 1 + generations.iter().filter(|one| one.result.is_ok()).count();
        let newest = generations.last().map(|newest| newest.sealed.clone());
        let sealed = self.seal_file(line, newest, &format!("#{number}"))?;
        self.load_sealed(generations, &sealed)
    }

    /// Opens the file of a line, looks at it, and copies it; the copy is called by the file's name and `suffix`. If its octets are those of the
    /// `known` copy there is no second one.
    pub(crate) fn seal_file(
        &self,
        line: &Arc<Line>,
        known: Option<Arc<Sealed>>,
        suffix: &str,
    ) -> Result<Arc<Sealed>, LoadError> {
        let examine = |source| LoadError::Examine { path: line.place.clone(), source };
        let opened = Opened::open(&line.place).map_err(examine)?;
        let path = opened.path.clone();
        if !opened.about.is_file() {
            return Err(LoadError::NotAFile { path });
        }
        trusted(&path, &opened.about)?;
        let identity = Identity::of(&opened.about);
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let copied = opened.copy(&format!("{file_name}{suffix}"));
        let copy = match copied.map_err(|source| LoadError::Copy { path: path.clone(), source })? {
            Copied::Whole(copy) => copy,
            Copied::Short { needed, has } => return Err(LoadError::CutShort { path, has, needed }),
            Copied::Changing => return Err(LoadError::Changing { path }),
            Copied::TooLarge(len) => return Err(LoadError::TooLarge { path, len }),
        };
        if let Some(known) = known
            && known.copy.is_same(&copy).map_err(examine)?
        {
            if known.file != path {
                return Ok(Arc::new(Sealed::of(path, line, identity, known.copy.clone())));
            }
            known.see(identity);
            return Ok(known);
        }
        Ok(Arc::new(Sealed::of(path, line, identity, Arc::new(copy))))
    }

    /// Loads a copy as the next generation of its line, unless it is what the newest one is.
    pub(crate) fn load_sealed(
        &self,
        generations: &mut Vec<Generation>,
        sealed: &Arc<Sealed>,
    ) -> Result<Arc<Plugin>, LoadError> {
        let path = sealed.file.clone();
        let copy = &sealed.copy;
        if let Some(newest) = generations.last() {
            let known = &newest.sealed;
            let examine = |source| LoadError::Examine { path: path.clone(), source };
            if Arc::ptr_eq(&known.copy, copy) || known.copy.is_same(copy).map_err(examine)? {
                known.see(sealed.identity());
                return newest.result.clone().map_err(|unfit| refusal(&path, unfit));
            }
        }
        let number = 1 + generations.iter().filter(|one| one.result.is_ok()).count();
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let in_place = self.shared.in_place;
        let lent = if in_place { path.clone() } else { copy.path() };
        let result = match library::open(&lent) {
            Err(Unfit::NotALibrary(text)) => {
                // The linker has let go of it, and so do we.
                let mut text = text.replace(&lent.display().to_string(), &file_name);
                if !in_place && copy.contains(b"$ORIGIN") {
                    text.push_str(ORIGIN_HELP);
                }
                return Err(LoadError::NotALibrary { path, text });
            }
            Err(unfit) => Err(unfit),
            Ok(table) => Ok(Arc::new(Plugin {
                generation: u32::try_from(number).unwrap_or(u32::MAX),
                sealed: sealed.clone(),
                name: table.name,
                version: table.version,
                description: table.description,
                abi_version: ABI_VERSION,
                features: table.features,
                options: table.options,
                routines: table.routines,
                functions: table.functions,
                routine_calls: Aside::new("routine"),
            })),
        };
        if !in_place {
            // The linker has mapped it, and knows it by the number of its descriptor: it is never closed, like the library.
            std::mem::forget(copy.clone());
        }
        generations.push(Generation { sealed: sealed.clone(), result: result.clone() });
        if generations.len() >= GENERATIONS_WARN {
            tracing::warn!(
                file = %path.display(),
                generations = generations.len(),
                "so many generations of a plugin are in memory, where they stay until the hub is started anew"
            );
        }
        let plugin = result.map_err(|unfit| refusal(&path, unfit))?;
        tracing::info!(
            plugin = plugin.name(),
            version = plugin.version(),
            generation = plugin.generation(),
            file = %plugin.file().display(),
            "plugin loaded"
        );
        Ok(plugin)
    }

    /// Everything that is loaded and in force, sorted by name.
    pub fn loaded(&self) -> Vec<Arc<Plugin>> {
        let lines = self.shared.lines.lock();
        let mut plugins: Vec<_> = lines.values().filter_map(|line| line.in_force()).collect();
        plugins.sort_by(|one, other| (one.name(), one.file()).cmp(&(other.name(), other.file())));
        plugins
    }

    /// The place of a plugin's file, and what was loaded from there. A file that has been taken away still has what was
    /// loaded from it.
    pub(crate) fn line(&self, name: &str) -> Result<Arc<Line>, LoadError> {
        let found = self.find(name);
        let mut lines = self.shared.lines.lock();
        let place = match found {
            Ok(place) => absolute(&place),
            Err(error) => {
                let LoadError::NotFound { looked, .. } = &error else { return Err(error) };
                let known = looked.iter().find_map(|place| lines.get(&absolute(place)));
                return known.filter(|line| line.sealed_in_force().is_some()).cloned().ok_or(error);
            }
        };
        Ok(lines.entry(place).or_insert_with_key(|place| Arc::new(Line::new(place.clone()))).clone())
    }

    /// The line of a file that need not be there.
    pub(crate) fn line_at(&self, file: &Path) -> Arc<Line> {
        let mut lines = self.shared.lines.lock();
        lines.entry(absolute(file)).or_insert_with_key(|place| Arc::new(Line::new(place.clone()))).clone()
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

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What to know of a library that looks for others beside itself.
const ORIGIN_HELP: &str = "; its `$ORIGIN` does not lead to its folder, because a copy is loaded: build it with an absolute RUNPATH";

/// What a look at a plugin's file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// It is what was loaded last, or tried.
    Known,
    /// It is another one. Two looks that say the same mean that nobody writes to it at the moment.
    Changed(Seen),
}

/// The file as a look saw it; good for comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(pub(crate) Identity);

impl Seen {
    /// Looks at a file; `None` when there is none, or it cannot be looked at.
    #[must_use]
    pub fn of(file: &Path) -> Option<Seen> {
        fs::metadata(file).ok().map(|about| Seen(Identity::of(&about)))
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
