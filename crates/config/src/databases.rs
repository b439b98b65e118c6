//! Text databases: a key, blanks, a value on each line, or the same compiled.
//!
//! Reading text and taking a compiled file end in the same place, a [`Database`] (`image`). The compiled file is taken when
//! it is newer than the text and all that the text includes; [`Files::compiled`] says how it gets here. Keys are compared without
//! case; of two entries with one key the first counts.
//!
//! # Not here
//! What a value means: template text, addresses, patterns (`rewrite`). Writing files, and mapping them (the binary).

use crate::aliases::{Alias, names_files};
use crate::codes;
use crate::files::{Compiled, CompiledError, Files};
use crate::lines::{Line, Manner, Reader};
use crate::model::Config;
use sluice_diag::{Diagnostic, Sources, Span};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod image;

pub use image::{Database, DatabaseError, Image, Unavailable};
use image::{Entries, build};

/// The databases that are looked for in the configuration folder, as `NAME.txt` and `NAME.db`.
pub const DATABASES: [&str; 5] = ["general", "domain", "alias", "reverse", "forward"];

/// Characters of a key or value that the products keep.
const PART_LENGTH_MAX: usize = 252;

/// The databases of a configuration, by name. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Databases {
    by_name: HashMap<String, Arc<Database>>,
}

impl Databases {
    /// The database of that name, case aside; `None` when there is no file for it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Database> {
        if self.by_name.is_empty() {
            return None;
        }
        self.by_name.get(name).or_else(|| self.by_name.get(&name.to_lowercase())).map(Arc::as_ref)
    }

    /// Whether one of them is a file that was seen to be no longer the one that was opened.
    #[must_use]
    pub fn any_is_lost(&self) -> bool {
        self.by_name.values().any(|database| database.is_lost())
    }

    /// All of them, with their names, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Database)> {
        self.by_name.iter().map(|(name, database)| (name.as_str(), &**database))
    }

    /// Puts a database in, in the place of one of that name.
    pub fn set(&mut self, name: &str, database: impl Into<Arc<Database>>) {
        self.by_name.insert(name.to_lowercase(), database.into());
    }

    /// Takes the database of that name out.
    pub(crate) fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// The value of a key in the database of that name.
    ///
    /// # Errors
    /// [`Unavailable`] when that cannot be told now.
    pub fn value(&self, name: &str, key: &str) -> Result<Option<&str>, Unavailable> {
        self.get(name).map_or(Ok(None), |database| database.get(key))
    }
}

/// Reads one text database, whether or not there is a compiled one. `folder` is where the names of included files start
/// from. There is none when there is no such file.
#[must_use]
pub fn read_database(
    files: &dyn Files,
    folder: &Path,
    text: &Path,
) -> (Option<Database>, Sources, Vec<Diagnostic>) {
    let mut reader = Reader::new(files, folder, Manner::DATABASE);
    let database = read_text(text, &mut reader);
    (database, reader.sources, reader.diagnostics)
}

/// Reads the databases that stand beside the main file.
pub(crate) fn read_all(folder: &Path, reader: &mut Reader<'_>) -> Databases {
    let mut databases = Databases::default();
    for name in DATABASES {
        let text = reader.here(&folder.join(format!("{name}.txt")));
        let compiled = folder.join(format!("{name}.db"));
        let read =
            read_compiled(name, &text, &compiled, reader).or_else(|| read_text(&text, reader).map(Arc::new));
        if let Some(database) = read {
            databases.set(name, database);
        }
    }
    databases
}

/// The compiled form, if it is whole and newer than the text and all that the text includes, or if there is no text.
fn read_compiled(name: &str, text: &Path, compiled: &Path, reader: &mut Reader<'_>) -> Option<Arc<Database>> {
    let compiled_at = reader.files.modified(compiled).ok()?;
    let is_older = |path: &Path, reader: &Reader<'_>| match reader.files.modified(path) {
        Ok(changed) => changed < compiled_at,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if !is_older(text, reader) {
        return None;
    }
    let found = reader.files.compiled(compiled).and_then(|found| {
        // Each of its keys is a pattern of the rules, so all of it is about to be read anyway.
        if name == "domain" {
            found.database.verify().map_err(CompiledError::Unusable)?;
        }
        Ok(found)
    });
    let Compiled { database, in_memory } = match found {
        Ok(found) => found,
        Err(error) => {
            let message = match error {
                CompiledError::Read(error) => format!("cannot read {}: {error}", compiled.display()),
                CompiledError::Unusable(error) => format!("{} is not used: {error}", compiled.display()),
            };
            let remark = Diagnostic::new(&codes::BAD_COMPILED_DATABASE, message);
            let remark = remark.at(Span::new(reader.sources.add(compiled, String::new()), 0, 0));
            reader.push(remark.help("`sluice compile` writes it anew; until then the text is read"));
            return None;
        }
    };
    if !database.sources().all(|source| is_older(Path::new(source), reader)) {
        return None;
    }
    if let Some(why) = in_memory {
        let message = format!("{} is read into memory and not mapped: {}", compiled.display(), why.text);
        let remark = Diagnostic::new(&codes::DATABASE_NOT_MAPPED, message);
        let remark = remark.at(Span::new(reader.sources.add(compiled, String::new()), 0, 0));
        reader.push(remark.help(why.help));
    }
    Some(database)
}

/// The compiled databases of a configuration that are damaged where opening them does not look, each with its file.
#[must_use]
pub fn damaged_databases(config: &Config) -> Vec<(PathBuf, Diagnostic)> {
    let mut found = Vec::new();
    for name in DATABASES {
        let Some(Err(why)) = config.databases.get(name).map(Database::verify) else { continue };
        let file = config.folder.join(format!("{name}.db"));
        let message = format!("{} is damaged: {why}", file.display());
        let remark = Diagnostic::new(&codes::BAD_COMPILED_DATABASE, message);
        let help = "`sluice compile` writes it anew; until then the mail that asks for a damaged entry waits";
        found.push((file, remark.help(help)));
    }
    found
}

/// Reads a database from its text; `None` when there is no such file.
pub(crate) fn read_text(path: &Path, reader: &mut Reader<'_>) -> Option<Database> {
    let text = reader.read_optional_as(path, Manner::DATABASE)?;
    let is = |name: &str| path.file_stem().is_some_and(|stem| stem == name);
    let is_alias = is("alias");
    let of_addresses = is_alias || is("domain") || is("reverse") || is("forward");
    let mut entries = Entries::new();
    for line in text.lines.iter().filter(|line| !line.is_blank()) {
        entry(line, is_alias, &mut entries, reader);
        if of_addresses {
            colon(line, reader);
        }
    }
    let mut sources: Vec<String> = Vec::new();
    for line in &text.lines {
        let source = line.whole().source;
        let name = reader.sources.path(source).display().to_string();
        if source != text.source && !sources.contains(&name) {
            sources.push(name);
        }
    }
    Some(build(&entries, &sources))
}

/// A key as it would stand in the alias file, which nobody finds in a database of addresses or hosts.
fn colon(line: &Line, reader: &mut Reader<'_>) {
    let start = line.text.len() - line.text.trim_start().len();
    let rest = &line.text[start..];
    let end = start + rest.find([' ', '\t']).unwrap_or(rest.len());
    let key = &line.text[start..end];
    let has_value = !line.text[end..].trim().is_empty();
    if let Some(name) =
        key.strip_suffix(':').filter(|name| has_value && !name.is_empty() && !name.starts_with('!'))
    {
        let message = format!("the key `{key}` is never found: the colon is part of it");
        let remark = Diagnostic::new(&codes::DATABASE_KEY_WITH_COLON, message).at(line.span(&(start..end)));
        reader.push(remark.help(format!("write `{name}`, blanks, and the value")));
    }
}

fn entry(line: &Line, is_alias: bool, entries: &mut Entries, reader: &mut Reader<'_>) {
    let start = line.text.len() - line.text.trim_start().len();
    let rest = &line.text[start..];
    let key_end = start + rest.find([' ', '\t']).unwrap_or(rest.len());
    let key = &line.text[start..key_end];
    let span = line.span(&(start..key_end));
    let value = line.text[key_end..].trim();
    if key.starts_with('!') {
        let remark = Diagnostic::new(&codes::MISPLACED_COMMENT, "`!` makes a comment only in column one");
        reader.push(remark.at(line.whole()).help("take out the blanks in front of it"));
        return;
    }
    if value.is_empty() {
        let message = format!("the entry `{key}` has no value");
        let remark = Diagnostic::new(&codes::DATABASE_ENTRY_WITHOUT_VALUE, message).at(span);
        reader.push(remark.help("write the value behind the key, with a blank in between"));
        return;
    }
    let value_start = line.text.len() - line.text[key_end..].trim_start().len();
    for (what, part, range) in [("key", key, start..key_end), ("value", value, value_start..line.text.len())]
    {
        let length = part.chars().count();
        if length > PART_LENGTH_MAX {
            let message = format!(
                "the {what} of a database entry has {length} characters, more than {PART_LENGTH_MAX}"
            );
            let remark = Diagnostic::new(&codes::DATABASE_ENTRY_TOO_LONG, message).at(line.span(&range));
            reader.push(remark.help("the products keep 252; it works here"));
        }
    }
    // What an entry says about files is read with the alias file.
    if is_alias && !names_files(value) {
        for why in Alias::from_value(key, value).1 {
            let message = format!("bad equivalence for alias `{key}`: {why}");
            reader.push(
                Diagnostic::new(&codes::BAD_ALIAS_ADDRESS, message)
                    .at(line.span(&(value_start..line.text.len()))),
            );
        }
    }
    match entries.entry(key.to_lowercase()) {
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert((value.to_owned(), Some(span)));
        }
        std::collections::btree_map::Entry::Occupied(first) => {
            let message = format!("the key `{key}` is there twice; the first entry counts");
            let mut remark = Diagnostic::new(&codes::DUPLICATE_DATABASE_KEY, message).at(span);
            if let Some(first) = first.get().1 {
                remark = remark.note(first, "the first is here");
            }
            reader.push(remark.help("take one of the two out"));
        }
    }
}
