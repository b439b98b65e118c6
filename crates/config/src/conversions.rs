//! The file `conversions`: which parts of messages are converted, by what, into what; and the answers of the mapping table `CONVERSIONS`,
//! which leads mail to the channel that does it.
//!
//! The form is that of PMDF System Manager's Guide, "Conversion Control": entries of `parameter=value;`, an entry ending with a line that does not end in a
//! semicolon, or in front of a blank line. A value with blanks or semicolons stands in quotes, as in a parameter of MIME.
//!
//! What acts is handed to the channel's plugin as one text ([`Conversions::to_text`]), whose form is that of this module and of
//! `plugins/conversion`: a clause a line, `name=value`, and an empty line behind each entry.
//!
//! # Not here
//! Taking messages apart and running programs (the plugin `conversion`), asking the table (`dispatch`).

mod parameters;

pub use parameters::{ConversionParameter, ConversionUse, ConversionValue, conversion_parameters};

use crate::codes;
use crate::lines::{Line, Reader, Text};
use crate::mappings::Mappings;
use crate::model::{CONVERSION, Channel};
use parameters::ConversionUse::{Action, Condition, Elsewhere, PassedOver};
use parameters::ConversionValue::{HeaderFile, Pattern, Switch, Token, Variable, Words};
use parameters::{PARAMETERS, TAKEN};
use sluice_diag::{Diagnostic, Span, nearest};
use std::fmt::Write as _;
use std::ops::Range;

/// Name of the file in a configuration folder.
pub(crate) const CONVERSION_FILE: &str = "conversions";
/// The mapping table that leads mail to a channel `conversion`.
pub const CONVERSIONS: &str = "CONVERSIONS";

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversions {
    /// The entries that act, in the order of the file.
    pub entries: Vec<ConversionEntry>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversionEntry {
    /// Its clauses: a parameter by its long name in lower case, and its value without quotes.
    pub clauses: Vec<(String, String)>,
    /// Where it begins.
    pub span: Span,
}

impl Conversions {
    /// The entries as the plugin reads them.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            for (name, value) in &entry.clauses {
                let _ = writeln!(text, "{name}={value}");
            }
            text.push('\n');
        }
        text
    }
}

/// A clause as written.
struct Clause<'a> {
    line: &'a Line,
    name: Range<usize>,
    value: Range<usize>,
    text: String,
}

/// An entry that is being read.
#[derive(Default)]
struct Pending<'a> {
    clauses: Vec<Clause<'a>>,
    /// Something of it could not be read, which has been said.
    is_broken: bool,
}

/// Reads the file.
pub(crate) fn read(text: &Text, reader: &mut Reader<'_>) -> Conversions {
    let mut conversions = Conversions::default();
    let mut entry = Pending::default();
    for line in &text.lines {
        let goes_on = match line.is_blank() {
            true => false,
            false => clauses(line, &mut entry, reader),
        };
        if !goes_on {
            conversions.entries.extend(whole(std::mem::take(&mut entry), reader));
        }
    }
    conversions.entries.extend(whole(entry, reader));
    conversions
}

/// Takes the clauses of a line. Whether the entry goes on with the next one.
fn clauses<'a>(line: &'a Line, entry: &mut Pending<'a>, reader: &mut Reader<'_>) -> bool {
    let text = line.text.as_str();
    let mut bad = |range: Range<usize>, message: String, entry: &mut Pending<'a>| {
        entry.is_broken = true;
        let remark = Diagnostic::new(&codes::BAD_CONVERSION, message).at(line.span(&range));
        reader.push(
            remark.help("write `parameter=value;`, and a value with blanks or semicolons in double quotes"),
        );
    };
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if at >= text.len() {
            return true;
        }
        let end = text[at..].find(['=', ';']).map_or(text.len(), |offset| at + offset);
        let written = text[at..end].trim_end();
        let name = at..at + written.len();
        if !text[end..].starts_with('=') || written.is_empty() {
            bad(name.start..name.end.max(name.start + 1), format!("`{written}` has no value"), entry);
            at = (end + 1).min(text.len());
            if end >= text.len() {
                return false;
            }
            continue;
        }
        let start = end + 1 + (text[end + 1..].len() - text[end + 1..].trim_start().len());
        let Some((value, behind)) = value(text, start) else {
            bad(start..text.len(), "a quoted text has no end".to_owned(), entry);
            return text.ends_with(';');
        };
        let rest = text[behind..].trim_start();
        if !rest.is_empty() && !rest.starts_with(';') {
            bad(behind..text.len(), format!("`{rest}` stands behind a value"), entry);
            return text.ends_with(';');
        }
        entry.clauses.push(Clause { line, name, value: start..behind, text: value });
        if rest.is_empty() {
            return false;
        }
        at = text.len() - rest.len() + 1;
    }
}

/// A quoted text or what stands in front of a semicolon or a blank, and the offset behind it.
fn value(text: &str, start: usize) -> Option<(String, usize)> {
    let rest = &text[start..];
    let Some(inside) = rest.strip_prefix('"') else {
        let end = rest.find([';', ' ', '\t']).unwrap_or(rest.len());
        return Some((rest[..end].to_owned(), start + end));
    };
    let mut value = String::new();
    let mut characters = inside.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, start + 1 + at + 1)),
            '\\' => value.push(characters.next()?.1),
            character => value.push(character),
        }
    }
    None
}

/// The parameter of a name, and its canonical spelling.
fn parameter(written: &str) -> Option<(&'static ConversionParameter, String)> {
    let name = written.to_ascii_lowercase();
    let stem = name.trim_end_matches(|character: char| character.is_ascii_digit());
    let is_numbered = stem.len() < name.len() && name.len() - stem.len() <= 3;
    PARAMETERS.iter().find_map(|one| {
        if one.name.ends_with('-') {
            return (is_numbered && stem == one.name).then(|| (one, name.clone()));
        }
        (name == one.name || (!one.also.is_empty() && name == one.also)).then(|| (one, one.name.to_owned()))
    })
}

/// An entry from its clauses, unless it does nothing.
fn whole(pending: Pending<'_>, reader: &mut Reader<'_>) -> Option<ConversionEntry> {
    let Pending { clauses, is_broken } = pending;
    let first = clauses.first()?;
    let span = first.line.span(&first.name);
    let mut entry = ConversionEntry { clauses: Vec::with_capacity(clauses.len()), span };
    // Why it does nothing, where that has been said already.
    let mut is_dead = is_broken;
    for clause in &clauses {
        let written = &clause.line.text[clause.name.clone()];
        let at = clause.line.span(&clause.name);
        let Some((known, name)) = parameter(written) else {
            let remark = Diagnostic::new(
                &codes::CONVERSION_WITHOUT_EFFECT,
                format!("`{written}` is no parameter of a conversion; it is passed over"),
            );
            let near = nearest(&written.to_ascii_lowercase(), PARAMETERS.iter().map(|one| one.name));
            reader.push(match near {
                Some(near) if near.ends_with('-') => {
                    remark.at(at).help(format!("did you mean `{near}0`? It has a number behind"))
                }
                Some(near) => remark.at(at).help(format!("did you mean `{near}`?")),
                None => remark.at(at).help("the page on the file `conversions` lists those that there are"),
            });
            continue;
        };
        if let Some(help) = wrong(known, &clause.text) {
            let message = format!("`{name}` cannot be `{}`", clause.text);
            let remark = Diagnostic::new(&codes::BAD_CONVERSION, message).at(clause.line.span(&clause.value));
            reader.push(remark.help(help));
            is_dead = true;
            continue;
        }
        let is_off = known.value == Switch && clause.text == "0";
        match known.part {
            Elsewhere if !is_off => {
                let message = format!("`{name}`: {}; the entry does nothing", known.meaning);
                reader.push(Diagnostic::new(&codes::CONVERSION_WITHOUT_EFFECT, message).at(at));
                is_dead = true;
                continue;
            }
            Elsewhere => continue,
            PassedOver => {
                let message = format!("`{name}` has no effect: {}", known.meaning);
                reader.push(Diagnostic::new(&codes::CONVERSION_WITHOUT_EFFECT, message).at(at));
                continue;
            }
            Condition | Action => {}
        }
        if entry.clauses.iter().any(|(other, _)| *other == name) {
            let message = format!("`{name}` is twice in one entry");
            let remark = Diagnostic::new(&codes::BAD_CONVERSION, message).at(at);
            reader.push(remark.help("does a line above miss a blank line behind it?"));
            is_dead = true;
            continue;
        }
        entry.clauses.push((name, clause.text.clone()));
    }
    let has = |name: &str| entry.clauses.iter().any(|(other, _)| other == name);
    let deletes = entry.clauses.iter().any(|(name, value)| name == "delete" && value == "1");
    if !is_dead && !has("in-type") {
        let message = "the entry has no `in-type`, so it is for no part";
        let remark = Diagnostic::new(&codes::CONVERSION_WITHOUT_EFFECT, message).at(span);
        reader.push(remark.help("write `in-type=*;` for parts of all types"));
        is_dead = true;
    }
    if !is_dead && !has("command") && !deletes {
        let message = "the entry has neither `command` nor `delete=1`, so it does nothing";
        reader.push(Diagnostic::new(&codes::CONVERSION_WITHOUT_EFFECT, message).at(span));
        is_dead = true;
    }
    for (name, _) in &entry.clauses {
        let Some((stem, number)) = name.rsplit_once('-') else { continue };
        let Some(stem) = stem.strip_suffix("-value").or_else(|| stem.strip_suffix("-default")) else {
            continue;
        };
        if !has(&format!("{stem}-name-{number}")) {
            let message = format!("`{name}` has no `{stem}-name-{number}` that it is about");
            reader.push(Diagnostic::new(&codes::BAD_CONVERSION, message).at(span));
            is_dead = true;
        }
    }
    (!is_dead).then_some(entry)
}

/// What is wrong with a value, and what it may be.
fn wrong(parameter: &ConversionParameter, value: &str) -> Option<String> {
    let not = |help: &str| Some(help.to_owned());
    if value.chars().any(char::is_control) {
        return not("a value has no control characters");
    }
    let of_mime = |octet: u8| octet.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&octet);
    match parameter.value {
        Pattern | ConversionValue::Text => None,
        // A symbol in single quotes is filled in when the entry is used.
        Token if !value.is_empty() && value.bytes().all(of_mime) => None,
        Token => not(
            "it takes a word of MIME: letters, digits and signs such as `-` and `.`, or a symbol in single quotes",
        ),
        Switch if matches!(value, "0" | "1") => None,
        Switch => not("it takes 0 or 1"),
        HeaderFile if matches!(value, "0" | "1" | "2") => None,
        HeaderFile => not("it takes 0, 1 or 2"),
        Variable => {
            let mut octets = value.bytes();
            let begins = octets.next().is_some_and(|octet| octet.is_ascii_alphabetic() || octet == b'_');
            let is_name = begins && octets.all(|octet| octet.is_ascii_alphanumeric() || octet == b'_');
            let upper = value.to_ascii_uppercase();
            let is_taken = TAKEN.contains(&upper.as_str()) || upper.starts_with("LD_");
            if !is_name {
                return not("it takes the name of a variable: letters, digits and `_`");
            }
            if is_taken {
                return not("the channel or the system uses this variable; choose another name");
            }
            None
        }
        Words(words) if words.iter().any(|word| word.eq_ignore_ascii_case(value)) => None,
        Words(words) => Some(format!("it takes one of {}", words.join(", "))),
    }
}

/// What the table `CONVERSIONS` answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConversionAnswer {
    /// The channel that converts: `None` for none.
    pub channel: Option<String>,
    /// Words that mean nothing here.
    pub unknown: Vec<String>,
}

impl ConversionAnswer {
    /// Reads an answer: words with commas between them, of which the last one counts.
    #[must_use]
    pub fn read(output: &str) -> ConversionAnswer {
        let mut answer = ConversionAnswer::default();
        for word in output.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let named = word.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case("channel"));
            match named {
                Some((_, name)) if !name.is_empty() => answer.channel = Some(name.to_ascii_lowercase()),
                _ if word.eq_ignore_ascii_case("yes") => {
                    answer.channel.get_or_insert_with(|| CONVERSION.to_owned());
                }
                _ if word.eq_ignore_ascii_case("no") => answer.channel = None,
                _ => answer.unknown.push(word.to_owned()),
            }
        }
        answer
    }
}

/// What can be wrong between the table, the file and the channels.
pub(crate) fn check(
    conversions: Option<&Conversions>,
    mappings: &Mappings,
    channels: &[Channel],
    reader: &mut Reader<'_>,
) {
    let has = |name: &str| channels.iter().any(|channel| channel.name.eq_ignore_ascii_case(name));
    let help = "add a channel block `conversion` with the host `CONVERSION-DAEMON`";
    let Some(table) = mappings.table(CONVERSIONS) else {
        let first = conversions.and_then(|conversions| conversions.entries.first());
        if let Some(first) = first.filter(|_| !has(CONVERSION)) {
            let message = "nothing is converted: there is neither a mapping table `CONVERSIONS` nor a channel `conversion`";
            reader.push(Diagnostic::new(&codes::NO_CONVERSION_CHANNEL, message).at(first.span).help(help));
        }
        return;
    };
    if !has(CONVERSION) {
        let message = "nothing is converted: there is no channel `conversion`";
        reader.push(Diagnostic::new(&codes::NO_CONVERSION_CHANNEL, message).at(table.span).help(help));
    } else if conversions.is_none_or(|conversions| conversions.entries.is_empty()) {
        let message = "mail is led to the channel `conversion`, and no entry of the file `conversions` says what is to be done with it";
        let remark = Diagnostic::new(&codes::CONVERSION_WITHOUT_EFFECT, message).at(table.span);
        reader.push(remark.help("write the file, or take the table out"));
    }
    for entry in &table.entries {
        // What is filled in is known when the table is asked.
        if entry.template.contains('$') {
            continue;
        }
        let answer = ConversionAnswer::read(&entry.template);
        for word in &answer.unknown {
            let message = format!("`{word}` of the table CONVERSIONS means nothing here");
            let remark = Diagnostic::new(&codes::BAD_CONVERSION_ANSWER, message).at(entry.template_span);
            reader.push(remark.help("an answer is `Yes`, `No`, or `Channel=` and the name of a channel"));
        }
        if let Some(channel) = answer.channel.filter(|channel| channel != CONVERSION && !has(channel)) {
            let message =
                format!("the table CONVERSIONS names the channel `{channel}`, which does not exist");
            reader.push(Diagnostic::new(&codes::BAD_CONVERSION_ANSWER, message).at(entry.template_span));
        }
    }
}

#[cfg(test)]
#[path = "conversions/tests.rs"]
mod tests;
