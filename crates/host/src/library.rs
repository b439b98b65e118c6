//! Opening a library and reading its table: the handshake, before any function of the plugin is called.
//!
//! The table is distrusted field by field: version first, then size, then pointers, counts, lengths and text. Its bytes
//! are copied, so that nothing later depends on them. A pointer that is wrong but not null cannot be recognised; that
//! the file was written by someone who may run code here was checked before it was opened.
//!
//! # Not here
//! Finding the file and its permissions (`load`); calling the functions (`call`).
#![allow(unsafe_code)]

use crate::call::taken;
use crate::plugin::{OptionKind, PluginOption, feature_names};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use sluice_abi as abi;
use std::ffi::c_void;
use std::mem::{ManuallyDrop, MaybeUninit, offset_of};
use std::path::Path;

/// Longest name and version of a plugin, in bytes.
const NAME_MAX: usize = 64;
/// Longest description, in bytes.
const DESCRIPTION_MAX: usize = 256;
/// Most options of a plugin.
const OPTIONS_MAX: usize = 256;
/// Longest help of an option, in bytes.
const HELP_MAX: usize = 4096;
/// Most routines of a plugin.
const ROUTINES_MAX: usize = 256;

/// What this host can do for a plugin.
pub(crate) const FEATURES: u64 = (abi::FEATURE_ENQUEUE
    | abi::FEATURE_ROUTE
    | abi::FEATURE_FILTER
    | abi::FEATURE_POLL
    | abi::FEATURE_NEXT_HOP
    | abi::FEATURE_WISHES
    | abi::FEATURE_PRIORITY) as u64;

/// Name and version of this program, as plugins and operators are told them.
pub(crate) const PROGRAM: &str = concat!("Sluice ", env!("CARGO_PKG_VERSION"));

/// The function that answers routine calls.
pub(crate) type Route = unsafe extern "C" fn(abi::Text, abi::Text, *mut u8, usize, *mut usize) -> u32;

/// The function that looks at a message before it is queued.
pub(crate) type Filter =
    unsafe extern "C" fn(*mut c_void, *const abi::FilterMessage, *const abi::Filtering) -> u32;

/// The plugin's functions; they stay valid because the library is never unloaded.
#[derive(Clone, Copy)]
pub(crate) struct Functions {
    pub(crate) create: unsafe extern "C" fn(*const abi::Host, *const abi::Create, *mut *mut c_void) -> i32,
    pub(crate) run: unsafe extern "C" fn(*mut c_void, *const abi::Worker) -> i32,
    pub(crate) stop: unsafe extern "C" fn(*mut c_void),
    pub(crate) destroy: unsafe extern "C" fn(*mut c_void),
    /// Only in plugins with routines.
    pub(crate) route: Option<Route>,
    /// Only in plugins that are filters.
    pub(crate) filter: Option<Filter>,
}

/// What the table of a plugin says, copied and checked.
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) options: Vec<PluginOption>,
    pub(crate) routines: Vec<String>,
    pub(crate) features: u64,
    pub(crate) functions: Functions,
}

/// Why a library is not a plugin for this host.
#[derive(Clone)]
pub(crate) enum Unfit {
    /// The dynamic linker says so.
    NotALibrary(String),
    /// No symbol `sluice_plugin`.
    NoSymbol(String),
    /// Another version of the contract: its number, and the plugin's name and version as far as they can be read.
    Version(u32, String),
    /// It needs what this host cannot do: these features; and the plugin's name and version.
    Needs(String, String),
    /// The table is smaller than version 1 has it.
    Small(u32),
    /// This function pointer is null.
    NoFunction(&'static str),
    /// This field of the table is wrong, in this way.
    Field(String, String),
}

/// Opens a library for good and reads its table.
pub(crate) fn open(path: &Path) -> Result<Table, Unfit> {
    // SAFETY: opening runs the library's own initialisers. That the file comes from someone who may run code as this
    // user was checked by the caller, and they run on no thread that anything else waits for with a lock.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    // Never unloaded, whatever the table says: an initialiser may have started a thread or registered an exit function.
    let library = ManuallyDrop::new(library.map_err(|error| Unfit::NotALibrary(linker_says(&error)))?);
    // SAFETY: the symbol is only used as an address here; its type is checked below as far as a type can be.
    let symbol = unsafe { library.get::<*const abi::Plugin>(abi::SYMBOL) };
    let symbol = symbol.map_err(|error| Unfit::NoSymbol(linker_says(&error)))?;
    let table: *const abi::Plugin = symbol.into_raw().cast_const().cast();
    if table.is_null() {
        return Err(Unfit::NoSymbol("the symbol is null".to_owned()));
    }
    if !table.is_aligned() {
        return Err(field("sluice_plugin", "is not aligned to 8 bytes"));
    }
    // SAFETY: the symbol's promise: version and size are the first fields in every version of the contract.
    let (version, size) = unsafe { ((*table).abi_version, (*table).size) };
    if version != abi::ABI_VERSION {
        return Err(Unfit::Version(version, named(table, size)));
    }
    if (size as usize) < abi::Plugin::SIZE_FIRST {
        return Err(Unfit::Small(size));
    }
    // SAFETY: version and size were checked, no more is read than there is, and every field may be zero.
    let own = unsafe { taken(table, size as usize) };
    let lacking = own.needs & !FEATURES;
    if lacking != 0 {
        return Err(Unfit::Needs(feature_names(lacking), named(table, size)));
    }
    let table = &own;
    let functions = Functions {
        create: table.create.ok_or(Unfit::NoFunction("create"))?,
        run: table.run.ok_or(Unfit::NoFunction("run"))?,
        stop: table.stop.ok_or(Unfit::NoFunction("stop"))?,
        destroy: table.destroy.ok_or(Unfit::NoFunction("destroy"))?,
        route: table.route,
        filter: table.filter,
    };
    let name = text("name", table.name, NAME_MAX)?;
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if name.is_empty() || !name.bytes().all(lower) {
        return Err(field("name", "must be lower-case letters, digits, `_` and `-`"));
    }
    Ok(Table {
        name,
        version: text("version", table.version, NAME_MAX)?,
        description: text("description", table.description, DESCRIPTION_MAX)?,
        options: options(table)?,
        routines: routines(table)?,
        features: table.features,
        functions,
    })
}

/// Name and version of a plugin that is refused, in the places that they have in every version of the contract; what cannot be
/// read is left out.
fn named(table: *const abi::Plugin, size: u32) -> String {
    if (size as usize) < offset_of!(abi::Plugin, description) {
        return String::new();
    }
    // SAFETY: the contract's promise for every version; the size covers both fields.
    let (name, version) = unsafe { ((*table).name, (*table).version) };
    let name = text("name", name, NAME_MAX).unwrap_or_default();
    let version = text("version", version, NAME_MAX).unwrap_or_default();
    [name, version].join(" ").trim().to_owned()
}

fn options(table: &abi::Plugin) -> Result<Vec<PluginOption>, Unfit> {
    if table.option_count == 0 {
        return Ok(Vec::new());
    }
    if table.option_count > OPTIONS_MAX {
        let problem = format!("is {}; at most {OPTIONS_MAX} options are allowed", table.option_count);
        return Err(field("option_count", &problem));
    }
    let stride = table.option_size as usize;
    if stride < abi::OptionSpec::SIZE_FIRST || !stride.is_multiple_of(align_of::<abi::OptionSpec>()) {
        let problem = format!("is {stride}; at least {}, in steps of 8", abi::OptionSpec::SIZE_FIRST);
        return Err(field("option_size", &problem));
    }
    if table.options.is_null() || !table.options.is_aligned() {
        return Err(field("options", "is null or not aligned although option_count is not 0"));
    }
    let mut options: Vec<PluginOption> = Vec::with_capacity(table.option_count);
    for at in 0..table.option_count {
        // SAFETY: the table's promise: `option_count` entries, `option_size` bytes apart; null and alignment were
        // checked above, and no more is read of an entry than it has.
        let option = unsafe { option_at(table.options.byte_add(at * stride), stride) };
        let label = |part: &str| format!("options[{at}].{part}");
        let name = text(&label("name"), option.name, NAME_MAX)?;
        let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || !name.bytes().all(upper) {
            return Err(field(&label("name"), "must be upper-case letters, digits and `_`"));
        }
        if options.iter().any(|before| before.name == name) {
            return Err(field(&label("name"), &format!("is {name} for the second time")));
        }
        let kind = match option.kind {
            abi::OPTION_TEXT => OptionKind::Text,
            abi::OPTION_INTEGER => OptionKind::Integer,
            abi::OPTION_SWITCH => OptionKind::Switch,
            abi::OPTION_SECONDS => OptionKind::Seconds,
            abi::OPTION_PATH => OptionKind::Path,
            other => return Err(field(&label("kind"), &format!("is {other}, which is no kind of option"))),
        };
        let default = match option.default.data.is_null() {
            true => None,
            false => Some(text(&label("default"), option.default, HELP_MAX)?),
        };
        let numeric = matches!(kind, OptionKind::Integer | OptionKind::Seconds);
        let (min, max) = (option.min, if option.max == 0 { u64::MAX } else { option.max });
        if !numeric && (option.min, option.max) != (0, 0) {
            return Err(field(&label("min"), "and `max` are for numbers and seconds only"));
        }
        if min > max {
            return Err(field(&label("min"), &format!("is {min}, and `max` is {max}")));
        }
        let required = option.flags & abi::OPTION_FLAG_REQUIRED != 0;
        if required && default.is_some() {
            return Err(field(&label("flags"), "say that it is required, and there is a default"));
        }
        options.push(PluginOption {
            name,
            kind,
            range: (numeric && (min, max) != (0, u64::MAX)).then_some(min..=max),
            required,
            default,
            help: text(&label("help"), option.help, HELP_MAX)?,
        });
    }
    Ok(options)
}

/// An entry of the table of options as far as the plugin has it: fields that an older plugin does not know are zero.
///
/// # Safety
/// `stride` bytes are there.
unsafe fn option_at(pointer: *const abi::OptionSpec, stride: usize) -> abi::OptionSpec {
    let mut option = MaybeUninit::<abi::OptionSpec>::zeroed();
    // SAFETY: the caller's promise; no more than fits is copied, and every field may be zero.
    unsafe {
        let octets = stride.min(size_of::<abi::OptionSpec>());
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), option.as_mut_ptr().cast(), octets);
        option.assume_init()
    }
}

fn routines(table: &abi::Plugin) -> Result<Vec<String>, Unfit> {
    if table.routine_count == 0 {
        return Ok(Vec::new());
    }
    if table.route.is_none() {
        return Err(Unfit::NoFunction("route"));
    }
    if table.routine_count > ROUTINES_MAX {
        let problem = format!("is {}; at most {ROUTINES_MAX} routines are allowed", table.routine_count);
        return Err(field("routine_count", &problem));
    }
    if table.routines.is_null() || !table.routines.is_aligned() {
        return Err(field("routines", "is null or not aligned although routine_count is not 0"));
    }
    let mut routines: Vec<String> = Vec::with_capacity(table.routine_count);
    for at in 0..table.routine_count {
        // SAFETY: the table's promise: `routine_count` texts; null and alignment were checked above.
        let written = unsafe { *table.routines.add(at) };
        let label = format!("routines[{at}]");
        let name = text(&label, written, NAME_MAX)?;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if name.is_empty() || !name.bytes().all(good) {
            return Err(field(&label, "must be letters, digits, `_`, `-` and `.`"));
        }
        if routines.iter().any(|before| before.eq_ignore_ascii_case(&name)) {
            return Err(field(&label, &format!("is {name} for the second time")));
        }
        routines.push(name);
    }
    Ok(routines)
}

fn text(name: &str, text: abi::Text, most: usize) -> Result<String, Unfit> {
    if text.len == 0 {
        return Ok(String::new());
    }
    if text.data.is_null() {
        return Err(field(name, &format!("is null with length {}", text.len)));
    }
    if text.len > most {
        return Err(field(name, &format!("has {} bytes; at most {most} are allowed", text.len)));
    }
    // SAFETY: the table's promise: `len` bytes at `data` that do not change; null and length were checked above.
    let bytes = unsafe { std::slice::from_raw_parts(text.data, text.len) };
    let found = std::str::from_utf8(bytes).map_err(|_| field(name, "is not UTF-8"))?;
    if found.chars().any(char::is_control) {
        return Err(field(name, "has control characters"));
    }
    Ok(found.to_owned())
}

/// The words of the dynamic linker, which are the innermost ones.
fn linker_says(error: &libloading::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn field(name: &str, problem: &str) -> Unfit {
    Unfit::Field(name.to_owned(), problem.to_owned())
}
