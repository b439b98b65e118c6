//! The alias file: names, and the addresses each of them stands for.
//!
//! The language is that of the PMDF System Manager's Guide, chapter 3 ("Aliases", "The alias file", "Mailing lists"):
//! `name: address, address`, a value `<file` for a list with one address a line, and named parameters in brackets behind
//! it. Files that lists name are read here, so that expansion later touches no disk.
//!
//! # Not here
//! When an address is looked up, and what becomes of the result (`rewrite`).

use crate::codes;
use crate::lines::{Line, Manner, Reader};
use crate::values;
use sluice_diag::{Diagnostic, Span, nearest};
use sluice_mail::Address;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::path::Path;

mod value;

use value::{Item, items, unquoted};

/// Name of the alias file in the configuration folder.
pub(crate) const ALIAS_FILE: &str = "aliases";
/// Characters of a name that the products read.
const NAME_LENGTH_MAX: usize = 60;
/// Characters of an address that the products read.
const ADDRESS_LENGTH_MAX: usize = 252;

/// The aliases of the alias file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aliases {
    list: Vec<Alias>,
    by_name: HashMap<String, u32>,
}

impl Aliases {
    /// The alias of that name, case aside.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Alias> {
        let index = self.by_name.get(name).or_else(|| self.by_name.get(&name.to_lowercase()))?;
        self.list.get(*index as usize)
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
    /// `[AUTH_CHANNEL]`: only mail that comes in by this channel may use it; `*` stands for anything.
    pub auth_channel: Option<String>,
    /// `[CANT_CHANNEL]`: mail that comes in by this channel may not.
    pub cant_channel: Option<String>,
    /// `[MODERATOR_ADDRESS]`: gets what others than moderators send, in the place of the members.
    pub moderator: Option<Address>,
    /// `[MODERATOR_LIST]`: the moderators besides that one.
    pub moderator_list: Option<Vec<String>>,
    /// `[ERROR_TEXT]`: what senders are told who may not use it.
    pub error_text: Option<String>,
    /// `[BLOCKLIMIT]`: largest message in blocks.
    pub block_limit: Option<u32>,
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
    /// An alias from the value of a database entry, and what is wrong with the value. A database names no files: parts
    /// that would need one are wrong.
    #[must_use]
    pub fn from_value(name: &str, value: &str) -> (Alias, Vec<String>) {
        let mut alias = Alias { name: name.to_owned(), ..Alias::default() };
        let mut wrong = Vec::new();
        for (item, _) in items(value, 0) {
            let said = match item {
                Item::Address(text) => match address(text) {
                    Ok(address) => {
                        alias.members.push(Member { address, span: None });
                        continue;
                    }
                    Err(why) => why,
                },
                Item::Parameter { name, value, .. } => {
                    let slot = match name.to_ascii_uppercase().as_str() {
                        "ENVELOPE_FROM" => &mut alias.envelope_from,
                        "ERRORS_TO" => &mut alias.errors_to,
                        "ERROR_TEXT" => &mut alias.error_text,
                        "AUTH_CHANNEL" => &mut alias.auth_channel,
                        "CANT_CHANNEL" => &mut alias.cant_channel,
                        "MODERATOR_ADDRESS" => {
                            alias.moderator = address(value).ok();
                            continue;
                        }
                        _ => continue,
                    };
                    *slot = Some(value.to_owned());
                    continue;
                }
                Item::List(_) => "a database entry names no list file".to_owned(),
                Item::Ldap => "a directory is not asked".to_owned(),
                Item::Empty => "an address is missing between commas".to_owned(),
            };
            wrong.push(said);
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

fn address(text: &str) -> Result<Address, String> {
    match Address::parse(text) {
        Ok(address) if address.local.is_empty() => Err(format!("`{text}` has no local part")),
        Ok(address) => Ok(address),
        Err(error) => Err(format!("`{text}`: {error}")),
    }
}

/// In the place of an address of `[ENVELOPE_FROM]` or `[ERRORS_TO]`: the envelope sender stays.
const OWN_SENDER: &str = "/";

/// What the bracketed names of the products mean here.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    Text,
    Senders,
    Blocks,
    Channel,
    WithoutEffect,
}

/// Named parameters of lists, in capitals.
const PARAMETERS: [(&str, Known); 48] = [
    ("ENVELOPE_FROM", Known::Text),
    ("ERRORS_TO", Known::Text),
    ("ERROR_TEXT", Known::Text),
    ("AUTH_LIST", Known::Senders),
    ("CANT_LIST", Known::Senders),
    ("HOLD_LIST", Known::Senders),
    ("NOHOLD_LIST", Known::Senders),
    ("BLOCKLIMIT", Known::Blocks),
    ("AUTH_CHANNEL", Known::Channel),
    ("AUTH_MAPPING", Known::WithoutEffect),
    ("AUTH_USERNAME", Known::WithoutEffect),
    ("CANT_CHANNEL", Known::Channel),
    ("CANT_MAPPING", Known::WithoutEffect),
    ("CANT_USERNAME", Known::WithoutEffect),
    ("CAPTURE", Known::WithoutEffect),
    ("CONVERSION_TAG", Known::WithoutEffect),
    ("COMMENT", Known::WithoutEffect),
    ("CREATION_DATE", Known::WithoutEffect),
    ("DEFERRED", Known::WithoutEffect),
    ("DELAY_NOTIFICATIONS", Known::WithoutEffect),
    ("NODELAY_NOTIFICATIONS", Known::WithoutEffect),
    ("DESCRIPTION", Known::WithoutEffect),
    ("EXPANDABLE", Known::WithoutEffect),
    ("NONEXPANDABLE", Known::WithoutEffect),
    ("FILTER", Known::WithoutEffect),
    ("HEADER_ADDITION", Known::WithoutEffect),
    ("HEADER_ALIAS", Known::WithoutEffect),
    ("HEADER_EXPANSION", Known::WithoutEffect),
    ("HEADER_TRIMMING", Known::WithoutEffect),
    ("HOLD_MAPPING", Known::WithoutEffect),
    ("NOHOLD_MAPPING", Known::WithoutEffect),
    ("IMPORTANCE", Known::WithoutEffect),
    ("KEEP_DELIVERY", Known::WithoutEffect),
    ("KEEP_READ", Known::WithoutEffect),
    ("LINELIMIT", Known::WithoutEffect),
    ("MODERATOR_ADDRESS", Known::Text),
    ("MODERATOR_LIST", Known::Senders),
    ("MODERATOR_MAPPING", Known::WithoutEffect),
    ("ORIGINATOR_REPLY", Known::WithoutEffect),
    ("PRECEDENCE", Known::WithoutEffect),
    ("PRIORITY", Known::WithoutEffect),
    ("PRIVATE", Known::WithoutEffect),
    ("PUBLIC", Known::WithoutEffect),
    ("REPLY_TO", Known::WithoutEffect),
    ("RECEIVEDFOR", Known::WithoutEffect),
    ("SENSITIVITY", Known::WithoutEffect),
    ("TAG", Known::WithoutEffect),
    ("USERNAME", Known::WithoutEffect),
];

/// Reads the alias file that stands beside the main file, if there is one. `domains` are the bits of `ALIAS_DOMAINS`.
pub(crate) fn read(folder: &Path, domains: u32, reader: &mut Reader<'_>) -> Aliases {
    let mut aliases = Aliases::default();
    let Some(text) = reader.read_optional_as(&folder.join(ALIAS_FILE), Manner::ALIASES) else {
        return aliases;
    };
    for line in text.lines.iter().filter(|line| !line.is_blank()) {
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
    check_continuation(line, reader);
    let mut alias = Alias { name: name.to_owned(), span: Some(span), ..Alias::default() };
    let value = &line.text[colon + 1..];
    let before = reader.diagnostics.len();
    for (item, range) in items(value, colon + 1) {
        take(&mut alias, item, &range, line, reader);
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

fn take(alias: &mut Alias, item: Item<'_>, range: &Range<usize>, line: &Line, reader: &mut Reader<'_>) {
    let span = line.span(range);
    match item {
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
    match address(text) {
        Ok(address) => alias.members.push(Member { address, span: Some(span) }),
        Err(why) => {
            let message = format!("bad equivalence for alias `{}`: {why}", alias.name);
            let remark = Diagnostic::new(&codes::BAD_ALIAS_ADDRESS, message).at(span);
            reader.push(remark.help("separate addresses by commas; quote odd local parts, `\"a b\"@host`"));
        }
    }
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
    let Some((_, known)) = PARAMETERS.iter().find(|(known, _)| *known == upper) else {
        let remark =
            Diagnostic::new(&codes::UNKNOWN_ALIAS_PARAMETER, format!("`[{name}]` is no parameter of a list"));
        let remark = remark.at(span);
        reader.push(match nearest(&upper, PARAMETERS.iter().map(|(known, _)| *known)) {
            Some(near) => remark.help(format!("did you mean `[{near}]`?")),
            None => remark.help("it is ignored"),
        });
        return;
    };
    let bad = |why: &str, help: &str, reader: &mut Reader<'_>| {
        let message = format!("`[{upper}]` of the alias `{}`: {why}", alias.name);
        reader.push(
            Diagnostic::new(&codes::BAD_ALIAS_PARAMETER, message)
                .at(if value.is_empty() { span } else { value_span })
                .help(help),
        );
    };
    match known {
        Known::WithoutEffect => {
            let message = format!("`[{upper}]` is accepted and has no effect");
            reader.push(Diagnostic::new(&codes::ALIAS_PARAMETER_WITHOUT_EFFECT, message).at(span));
        }
        _ if value.is_empty() => bad("there is no value", "write the value behind the bracket", reader),
        Known::Blocks => match values::integer(value).and_then(|blocks| u32::try_from(blocks).ok()) {
            Some(blocks) => {
                alias.block_limit = Some(blocks);
                let message = "`[BLOCKLIMIT]` is read and not enforced";
                reader.push(Diagnostic::new(&codes::ALIAS_PARAMETER_WITHOUT_EFFECT, message).at(span));
            }
            None => bad("it is no number of blocks", "write an integer", reader),
        },
        Known::Channel if upper == "AUTH_CHANNEL" => alias.auth_channel = Some(value.to_lowercase()),
        Known::Channel => alias.cant_channel = Some(value.to_lowercase()),
        Known::Text if value == OWN_SENDER && upper == "ENVELOPE_FROM" => {
            alias.envelope_from = Some(value.to_owned());
        }
        Known::Text if value == OWN_SENDER && upper == "ERRORS_TO" => {
            alias.errors_to = Some(value.to_owned());
        }
        Known::Text if upper == "ERROR_TEXT" => alias.error_text = Some(value.to_owned()),
        Known::Text => match address(value) {
            Ok(moderator) if upper == "MODERATOR_ADDRESS" => alias.moderator = Some(moderator),
            Ok(_) if upper == "ENVELOPE_FROM" => alias.envelope_from = Some(value.to_owned()),
            Ok(_) => alias.errors_to = Some(value.to_owned()),
            Err(why) => bad(&why, "write an address", reader),
        },
        Known::Senders => {
            let file = value.trim_start_matches('<').trim();
            let Some(senders) = list_file(unquoted(file), &alias.name, value_span, reader) else { return };
            let senders = Some(senders.into_iter().map(|(text, _)| text.to_lowercase()).collect());
            match upper.as_str() {
                "AUTH_LIST" => alias.auth_list = senders,
                "CANT_LIST" => alias.cant_list = senders,
                "HOLD_LIST" => alias.hold_list = senders,
                "MODERATOR_LIST" => alias.moderator_list = senders,
                _ => alias.nohold_list = senders,
            }
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
        let (_, wrong) = Alias::from_value("x", "<file, a b, , \"<ldap:x>\"");
        assert_eq!(wrong.len(), 4);
        assert_eq!(Alias::from_value("x", " ").1, ["there is no address"]);
    }
}
