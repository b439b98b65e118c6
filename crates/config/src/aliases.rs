//! The alias file: names, and the addresses each of them stands for.
//!
//! The language is that of the PMDF System Manager's Guide, chapter 3 ("Aliases", "The alias file", "Mailing lists"):
//! `name: address, address`, a value `<file` for a list with one address a line, and named parameters in brackets behind
//! it. Files that lists name are read here, so that expansion later touches no disk.
//!
//! # Not here
//! When an address is looked up, and what becomes of the result (`rewrite`).

use crate::codes;
use crate::databases::Databases;
use crate::lines::{Line, Manner, Reader};
use crate::written::foreign_comment;
use sluice_diag::{Diagnostic, Span, errors_in, nearest};
use sluice_mail::Address;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::path::Path;

mod parameters;
mod value;

pub(crate) use parameters::names_files;
pub use parameters::{ListParameter, list_parameters};
use parameters::{OWN_SENDER, Set, positional, set, set_senders};
use value::{Item, items, unquoted};

/// Name of the alias file in the configuration folder.
pub(crate) const ALIAS_FILE: &str = "aliases";
/// Characters of a name that the products read.
const NAME_LENGTH_MAX: usize = 60;
/// Characters of an address that the products read.
const ADDRESS_LENGTH_MAX: usize = 252;

/// How sendmail's alias files name a list.
const INCLUDE: &str = ":include:";

/// The aliases of the alias file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aliases {
    list: Vec<Alias>,
    by_name: HashMap<String, u32>,
    /// Entries of the alias database that name files, which are read with the configuration: by key, each with the value
    /// that it was made from.
    of_database: HashMap<String, (String, Alias)>,
}

impl Aliases {
    /// The alias of that name, case aside.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Alias> {
        let index = self.by_name.get(name).or_else(|| self.by_name.get(&name.to_lowercase()))?;
        self.list.get(*index as usize)
    }

    /// The alias of an entry of the alias database. What an entry says about files is known from when the configuration
    /// was read; one that came later names files in vain.
    #[must_use]
    pub fn of_entry(&self, key: &str, value: &str) -> Alias {
        match self.of_database.get(key) {
            Some((known, alias)) if known == value => alias.clone(),
            _ => Alias::from_value(key, value).0,
        }
    }

    /// All aliases in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Alias> {
        self.list.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// One alias.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alias {
    /// Its name as written.
    pub name: String,
    /// Where the name stands; `None` for an entry of a database.
    pub span: Option<Span>,
    /// The addresses it stands for, those of list files in their places.
    pub members: Vec<Member>,
    /// Some of the members come from a list file.
    pub is_list: bool,
    /// `[ENVELOPE_FROM]`: the reverse-path of its copies.
    pub envelope_from: Option<String>,
    /// `[ERRORS_TO]`: the same, where `[ENVELOPE_FROM]` is not given.
    pub errors_to: Option<String>,
    /// `[AUTH_LIST]`: only these senders may use it. Like the following, addresses in which `*` stands for anything.
    pub auth_list: Option<Vec<String>>,
    /// `[CANT_LIST]`: these senders may not.
    pub cant_list: Option<Vec<String>>,
    /// `[HOLD_LIST]`: what these senders send waits for an operator.
    pub hold_list: Option<Vec<String>>,
    /// `[NOHOLD_LIST]`: what anybody else sends waits for an operator.
    pub nohold_list: Option<Vec<String>>,
    /// `[AUTH_CHANNEL]`: only mail that comes in by one of these channels may use it; `*` stands for anything.
    pub auth_channels: Option<Vec<String>>,
    /// `[CANT_CHANNEL]`: mail that comes in by one of these channels may not.
    pub cant_channels: Option<Vec<String>>,
    /// `[MODERATOR_ADDRESS]`: gets what others than moderators send, in the place of the members.
    pub moderator: Option<Address>,
    /// `[MODERATOR_LIST]`: the moderators besides that one.
    pub moderator_list: Option<Vec<String>>,
    /// `[ERROR_TEXT]`: what senders are told who may not use it.
    pub error_text: Option<String>,
    /// `[BLOCKLIMIT]`: largest message in blocks.
    pub block_limit: Option<u32>,
    /// `[LINELIMIT]`: most lines of a message.
    pub line_limit: Option<u32>,
    /// `[AUTH_MAPPING]`: the mapping table that lets a sender in.
    pub auth_mapping: Option<String>,
    /// `[CANT_MAPPING]`: the table that keeps a sender out.
    pub cant_mapping: Option<String>,
    /// `[HOLD_MAPPING]`: the table that says whose messages wait for an operator.
    pub hold_mapping: Option<String>,
    /// `[NOHOLD_MAPPING]`: the table that says whose do not.
    pub nohold_mapping: Option<String>,
    /// `[MODERATOR_MAPPING]`: the table that says who is a moderator.
    pub moderator_mapping: Option<String>,
}

/// One address of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The address.
    pub address: Address,
    /// Where it stands; `None` for an entry of a database.
    pub span: Option<Span>,
}

impl Alias {
    /// The mapping tables that it asks.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        let tables = [
            &self.auth_mapping,
            &self.cant_mapping,
            &self.hold_mapping,
            &self.nohold_mapping,
            &self.moderator_mapping,
        ];
        tables.into_iter().flatten().map(String::as_str)
    }

    /// An alias from the value of a database entry, and what is wrong with the value. Files are not opened here: parts
    /// that would need one are wrong.
    #[must_use]
    pub fn from_value(name: &str, value: &str) -> (Alias, Vec<String>) {
        let mut alias = Alias { name: name.to_owned(), ..Alias::default() };
        let mut wrong = Vec::new();
        let mut place = 0;
        for (item, _) in items(value, 0) {
            let said = match item {
                Item::Address(text) => address(text).map(|address| {
                    alias.members.push(Member { address, span: None });
                }),
                Item::Parameter { name, value, .. } => {
                    match set(&mut alias, &name.to_ascii_uppercase(), value) {
                        Set::Wrong(why, _) => Err(why),
                        _ => Ok(()),
                    }
                }
                Item::Positional(text) => {
                    place += 1;
                    positional(&mut alias, place, text).map(|_| ())
                }
                Item::List(_) => Err("the list file is read when the configuration is".to_owned()),
                Item::Ldap => Err("a directory is not asked".to_owned()),
                Item::Open(text) => Err(format!("`{text}` has no `]`")),
                Item::Empty => Err("an address is missing between commas".to_owned()),
            };
            wrong.extend(said.err());
        }
        if alias.members.is_empty() && wrong.is_empty() {
            wrong.push("there is no address".to_owned());
        }
        (alias, wrong)
    }

    /// The reverse-path that its copies go out with, if it is not the one they came with.
    #[must_use]
    pub fn sender(&self) -> Option<&str> {
        let written = self.envelope_from.as_deref().or(self.errors_to.as_deref());
        written.filter(|address| *address != OWN_SENDER)
    }
}

/// A colon in front of an address hides it from notices in Messaging Server ("Alias file format"); notices of this system
/// name the address that was written to in any case.
fn address(text: &str) -> Result<Address, String> {
    match Address::parse(text.strip_prefix(':').unwrap_or(text)) {
        Ok(address) if address.local.is_empty() => Err(format!("`{text}` has no local part")),
        Ok(address) => Ok(address),
        Err(error) => Err(format!("`{text}`: {error}")),
    }
}

/// Reads the alias file that stands beside the main file, if there is one. `domains` are the bits of `ALIAS_DOMAINS`.
pub(crate) fn read(folder: &Path, domains: u32, databases: &Databases, reader: &mut Reader<'_>) -> Aliases {
    let mut aliases = Aliases { of_database: entries_with_files(databases, reader), ..Aliases::default() };
    let Some(text) = reader.read_optional_as(&folder.join(ALIAS_FILE), Manner::ALIASES) else {
        return aliases;
    };
    let mut unfinished = false;
    for line in text.lines.iter().filter(|line| !line.is_blank()) {
        let goes_on = std::mem::replace(&mut unfinished, line.text.ends_with(','));
        // The comma at the end of the line above has its remark, which says how to go on here.
        if goes_on && line.text.starts_with([' ', '\t']) && colon(&line.text).is_none() {
            continue;
        }
        if let Some(remark) = foreign_comment(&line.text, line.whole()) {
            reader.push(remark);
            continue;
        }
        let Some((alias, span)) = alias(line, domains, reader) else { continue };
        match aliases.by_name.entry(alias.name.to_lowercase()) {
            Entry::Vacant(place) => {
                place.insert(aliases.list.len() as u32);
                aliases.list.push(alias);
            }
            Entry::Occupied(first) => {
                let message = format!(
                    "duplicate aliases found: `{}` is there already, the first one counts",
                    alias.name
                );
                let mut remark = Diagnostic::new(&codes::DUPLICATE_ALIAS, message).at(span);
                if let Some(first) = aliases.list[*first.get() as usize].span {
                    remark = remark.note(first, "the first is here");
                }
                reader.push(remark.help("take one of the two out, or make one of them"));
            }
        }
    }
    aliases
}

/// Where the colon behind a name stands.
fn colon(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut in_literal = false;
    text.char_indices().find_map(|(at, character)| {
        match character {
            '"' => quoted = !quoted,
            '[' if !quoted => in_literal = true,
            ']' => in_literal = false,
            ':' if !quoted && !in_literal => return Some(at),
            _ => {}
        }
        None
    })
}

fn alias(line: &Line, domains: u32, reader: &mut Reader<'_>) -> Option<(Alias, Span)> {
    let start = line.text.len() - line.text.trim_start().len();
    let found = colon(&line.text).filter(|colon| {
        // A colon behind a comma or a blank-separated word belongs to something else.
        !line.text[..*colon].contains(',')
    });
    let Some(colon) = found else {
        let text = line.text.trim();
        let remark = Diagnostic::new(&codes::NOT_AN_ALIAS, format!("`{text}` is no alias: it has no colon"));
        let help = if start > 0 {
            "if it goes on with the line above, end that one with `,\\`"
        } else {
            "write `name: address`, or `!` in column one for a comment"
        };
        reader.push(remark.at(line.whole()).help(help));
        return None;
    };
    let written = &line.text[start..colon];
    let name = unquoted(written.trim_end());
    let span = line.span(&(start..start + written.trim_end().len().max(1)));
    if name.is_empty() {
        let remark = Diagnostic::new(&codes::NOT_AN_ALIAS, "there is no name in front of the colon");
        reader.push(remark.at(span).help("write `name: address`"));
        return None;
    }
    if written.ends_with([' ', '\t']) {
        let blank = line.span(&(start + written.trim_end().len()..colon));
        let message = format!("blanks between the alias `{name}` and its colon");
        reader.push(
            Diagnostic::new(&codes::BLANK_BEFORE_COLON, message).at(blank).help(format!("write `{name}:`")),
        );
    } else if written.contains([' ', '\t']) && !written.starts_with('"') {
        let message = format!("the alias name `{name}` holds a blank");
        reader.push(Diagnostic::new(&codes::NOT_AN_ALIAS, message).at(span).help("put quotes around it"));
        return None;
    }
    let length = name.chars().count();
    if length > NAME_LENGTH_MAX {
        let message = format!("the alias name has {length} characters, more than {NAME_LENGTH_MAX}");
        reader.push(
            Diagnostic::new(&codes::ALIAS_TOO_LONG, message)
                .at(span)
                .help("the products read 60; it works here"),
        );
    }
    never_asked(name, domains, span, reader);
    let mut alias = Alias { name: name.to_owned(), span: Some(span), ..Alias::default() };
    let value = &line.text[colon + 1..];
    let before = reader.diagnostics.len();
    take_all(&mut alias, value, colon + 1, line, reader);
    // An address that goes on behind a `\` without a comma is wrong for that very reason.
    if !errors_in(&reader.diagnostics[before..]) {
        check_continuation(line, reader);
    }
    if alias.members.is_empty() && !alias.is_list && reader.diagnostics.len() == before {
        let message = format!("no equivalence addresses for alias `{name}`");
        let remark = Diagnostic::new(&codes::ALIAS_WITHOUT_ADDRESSES, message).at(span);
        reader.push(remark.help("write at least one address behind the colon, or take the line out"));
    }
    Some((alias, span))
}

/// A name in a form that `ALIAS_DOMAINS` does not ask for.
fn never_asked(name: &str, domains: u32, span: Span, reader: &mut Reader<'_>) {
    let (bit, form) = if name.starts_with("*@") {
        (4, "`*@host`")
    } else if name.contains('@') {
        (2, "whole addresses")
    } else {
        (1, "local parts")
    };
    if domains & bit == 0 {
        let message = format!("the alias `{name}` is never found: {form} are not looked up");
        let remark = Diagnostic::new(&codes::ALIAS_NEVER_ASKED, message).at(span);
        reader.push(remark.help(format!("write `ALIAS_DOMAINS={}` into option.dat", domains | bit)));
    }
}

/// PMDF continues a line only behind a comma.
fn check_continuation(line: &Line, reader: &mut Reader<'_>) {
    for (offset, _) in line.pieces_of(&(0..line.text.len())).into_iter().skip(1) {
        let before = line.text[..offset].trim_end();
        if !before.ends_with(',') {
            let at = line.span(&(before.len().saturating_sub(1)..before.len()));
            let message = "a continued line of the alias file does not end with a comma";
            reader.push(
                Diagnostic::new(&codes::ALIAS_CONTINUATION, message)
                    .at(at)
                    .help("put the `\\` behind a comma, as PMDF wants it"),
            );
        }
    }
}

/// Reads the entries of the alias database that name files.
fn entries_with_files(databases: &Databases, reader: &mut Reader<'_>) -> HashMap<String, (String, Alias)> {
    let mut found = HashMap::new();
    let Some(database) = databases.get("alias") else { return found };
    let mut compiled = None;
    // A large database has few entries with one of the signs, or none, and is then not read.
    for (key, value) in database.with_brackets() {
        if !names_files(value) {
            continue;
        }
        let place = database.place(key).unwrap_or_else(|| {
            *compiled.get_or_insert_with(|| {
                Span::new(reader.sources.add(Path::new("alias.db"), String::new()), 0, 0)
            })
        });
        let line = Line::at(value, place);
        let mut alias = Alias { name: key.to_owned(), ..Alias::default() };
        take_all(&mut alias, value, 0, &line, reader);
        found.insert(key.to_owned(), (value.to_owned(), alias));
    }
    found
}

/// Takes the parts of a value, which begins at `start` of the line.
fn take_all(alias: &mut Alias, value: &str, start: usize, line: &Line, reader: &mut Reader<'_>) {
    let mut place = 0;
    for (item, range) in items(value, start) {
        take(alias, item, &range, &mut place, line, reader);
    }
}

/// `place` counts the addresses behind a list.
fn take(
    alias: &mut Alias,
    item: Item<'_>,
    range: &Range<usize>,
    place: &mut usize,
    line: &Line,
    reader: &mut Reader<'_>,
) {
    let span = line.span(range);
    match item {
        Item::Positional(text) => {
            *place += 1;
            match positional(alias, *place, text) {
                Ok(Some(message)) => {
                    let remark = Diagnostic::new(&codes::ALIAS_POSITIONAL, message).at(span);
                    reader.push(remark.help("a member goes into the list file, or in front of the `<`"));
                }
                Ok(None) => {}
                Err(why) => bad_address(alias, &why, span, reader),
            }
        }
        Item::Address(text) => member(alias, text, span, reader),
        Item::Empty => {
            let message = format!("bad equivalence for alias `{}`: an address is missing", alias.name);
            let remark = Diagnostic::new(&codes::BAD_ALIAS_ADDRESS, message).at(span);
            reader
                .push(remark.help("take the comma out, or write `\\` behind it and go on in the next line"));
        }
        Item::Ldap => {
            let message = format!("the alias `{}` asks a directory, which Sluice does not", alias.name);
            let remark = Diagnostic::new(&codes::ALIAS_FROM_DIRECTORY, message).at(span);
            reader.push(remark.help("write the addresses out, or into a file, and name that with `<file`"));
        }
        Item::List(file) => {
            alias.is_list = true;
            if let Some(text) = list_file(file, &alias.name, span, reader) {
                for (text, span) in text {
                    member(alias, &text, span, reader);
                }
            }
        }
        Item::Open(text) => {
            let message = format!("`{text}` of the alias `{}` has no `]`", alias.name);
            let remark = Diagnostic::new(&codes::BAD_ALIAS_PARAMETER, message).at(span);
            reader.push(remark.help("close the bracket behind the name of the parameter"));
        }
        Item::Parameter { name, value, value_range } => {
            let value_span = line.span(&value_range);
            parameter(alias, (name, span), (value, value_span), reader);
        }
    }
}

fn member(alias: &mut Alias, text: &str, span: Span, reader: &mut Reader<'_>) {
    let length = text.chars().count();
    if length > ADDRESS_LENGTH_MAX {
        let message = format!("an address of the alias `{}` has {length} characters", alias.name);
        reader.push(
            Diagnostic::new(&codes::ALIAS_TOO_LONG, message)
                .at(span)
                .help("the products read 252; it works here"),
        );
    }
    if let Some(file) = text.get(..INCLUDE.len()).filter(|head| head.eq_ignore_ascii_case(INCLUDE)) {
        let message = format!("bad equivalence for alias `{}`: `{file}` is no word of this file", alias.name);
        let remark = Diagnostic::new(&codes::BAD_ALIAS_ADDRESS, message).at(span);
        return reader.push(remark.help(format!("write `<{}`", text[INCLUDE.len()..].trim())));
    }
    let plain = unquoted(text);
    // Addresses of gateways look like files too: `/S=Bloggs/O=Example/`.
    if plain.starts_with('|') || (plain.starts_with('/') && !plain.contains(['=', '@'])) {
        let message = format!("`{text}` of the alias `{}` is taken as the name of a mailbox", alias.name);
        let remark = Diagnostic::new(&codes::ALIAS_PROGRAM, message).at(span);
        reader.push(remark.help("aliases run no programs and write no files; write an address"));
    }
    match address(text) {
        Ok(address) => alias.members.push(Member { address, span: Some(span) }),
        Err(why) => bad_address(alias, &why, span, reader),
    }
}

fn bad_address(alias: &Alias, why: &str, span: Span, reader: &mut Reader<'_>) {
    let message = format!("bad equivalence for alias `{}`: {why}", alias.name);
    let remark = Diagnostic::new(&codes::BAD_ALIAS_ADDRESS, message).at(span);
    reader.push(remark.help("separate addresses by commas; quote odd local parts, `\"a b\"@host`"));
}

/// The lines of a file that a list names.
fn list_file(file: &str, alias: &str, span: Span, reader: &mut Reader<'_>) -> Option<Vec<(String, Span)>> {
    let refuse = |why: String, reader: &mut Reader<'_>| {
        let message = format!("cannot open alias include file of `{alias}`: {why}");
        reader.push(
            Diagnostic::new(&codes::CANNOT_OPEN_ALIAS_FILE, message)
                .at(span)
                .help("relative names start from the configuration folder"),
        );
        None
    };
    if file.is_empty() {
        return refuse("`<` names no file".to_owned(), reader);
    }
    let text = match reader.open_as(file, Manner::ALIASES) {
        Ok(text) => text,
        Err(why) => return refuse(why, reader),
    };
    let lines = text.lines.iter().filter(|line| !line.is_blank());
    let mut found = Vec::new();
    for line in lines {
        if let Some(remark) = foreign_comment(&line.text, line.whole()) {
            reader.push(remark);
            continue;
        }
        for (item, range) in items(&line.text, 0) {
            match item {
                Item::Address(text) => found.push((text.to_owned(), line.span(&range))),
                Item::Empty => {}
                _ => found.push((line.text[range.clone()].to_owned(), line.span(&range))),
            }
        }
    }
    Some(found)
}

fn parameter(alias: &mut Alias, name: (&str, Span), value: (&str, Span), reader: &mut Reader<'_>) {
    let ((name, span), (value, value_span)) = (name, value);
    let upper = name.to_ascii_uppercase();
    match set(alias, &upper, value) {
        Set::Done => {}
        Set::Unknown => {
            let message = format!("`[{name}]` is no parameter of a list");
            let remark = Diagnostic::new(&codes::UNKNOWN_ALIAS_PARAMETER, message).at(span);
            let names = list_parameters().iter().map(|parameter| parameter.name);
            reader.push(match nearest(&upper, names) {
                Some(near) => remark.help(format!("did you mean `[{near}]`?")),
                None => remark.help("it is ignored"),
            });
        }
        Set::Idle(why) => {
            let message = format!("`[{upper}]` is accepted and has no effect: {why}");
            reader.push(Diagnostic::new(&codes::ALIAS_PARAMETER_WITHOUT_EFFECT, message).at(span));
        }
        Set::File => {
            let file = unquoted(value.trim_start_matches('<').trim());
            let Some(senders) = list_file(file, &alias.name, value_span, reader) else {
                // A list of senders that cannot be read lets nobody in, and keeps nobody out.
                return set_senders(alias, &upper, Vec::new());
            };
            set_senders(alias, &upper, senders.into_iter().map(|(text, _)| text.to_lowercase()).collect());
        }
        Set::Wrong(why, help) => {
            let message = format!("`[{upper}]` of the alias `{}`: {why}", alias.name);
            reader.push(
                Diagnostic::new(&codes::BAD_ALIAS_PARAMETER, message)
                    .at(if value.is_empty() { span } else { value_span })
                    .help(help),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_database_entry_is_an_alias_too() {
        let (alias, wrong) = Alias::from_value("x", "a@b, [ENVELOPE_FROM] o@p, c");
        assert_eq!((alias.members.len(), alias.sender(), wrong.len()), (2, Some("o@p"), 0));
        let (_, wrong) = Alias::from_value("x", "\"<ldap:x>\", , <file, a b");
        assert_eq!(wrong.len(), 4);
        assert_eq!(Alias::from_value("x", " ").1, ["there is no address"]);
    }
}
