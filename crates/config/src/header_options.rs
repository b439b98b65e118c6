//! Header option files: which header lines are taken out, cut, renamed, added or moved in mail to a channel
//! (`CHANNEL_headers.opt`, with `headertrim`) or from it (`CHANNEL_read_headers.opt`, with `headerread`).
//!
//! The form is that of PMDF System Manager's Guide, section 2.3.7, "Header option files": lines like those of a header, a name
//! and options separated by commas. A line that begins with a blank goes on with the one above.
//!
//! # Not here
//! What is done to a header (`rewrite`).

use crate::codes;
use crate::lines::{Line, Reader, Text};
use sluice_diag::{Diagnostic, nearest};
use std::ops::Range;

/// The options of one kind of header line. Nought and `None` are no option.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderOption {
    /// `ADD`: a further line with this text, behind those of its kind.
    pub add: Option<String>,
    /// `FILL`: a line with this text, where there is none of its kind.
    pub fill: Option<String>,
    /// `LINELENGTH`: the length at which lines are folded.
    pub line_length: u32,
    /// `MAXCHARS`: octets of a line, folds not counted; what is longer is cut off.
    pub max_chars: u32,
    /// `MAXIMUM`: lines of this kind; -1 takes all of them out.
    pub maximum: i32,
    /// `MAXLINES`: lines of text that all of this kind may take together; -1 takes all of them out.
    pub max_lines: i32,
    /// `PRECEDENCE`: lower numbers go up, higher ones down.
    pub precedence: i32,
    /// `RELABEL`: the name that the lines get.
    pub relabel: Option<String>,
}

/// A header option file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderOptions {
    /// Header lines by name, as written, in the order of the file.
    pub named: Vec<(String, HeaderOption)>,
    /// `Other:`, for lines that are in no standard.
    pub other: Option<HeaderOption>,
    /// `Defaults:`, for all lines that the file does not name.
    pub defaults: Option<HeaderOption>,
}

/// The options there are. GROUP is read and does nothing: lines keep their order unless PRECEDENCE moves them.
const NAMES: [&str; 9] =
    ["ADD", "FILL", "GROUP", "LINELENGTH", "MAXCHARS", "MAXIMUM", "MAXLINES", "PRECEDENCE", "RELABEL"];
/// Longest text of a line that is added: with its name it must fit on one line of a message.
const TEXT_OCTETS_MAX: usize = 900;

impl HeaderOptions {
    /// The options for a header line of that name; `standard` says whether it is in a standard.
    #[must_use]
    pub fn of(&self, name: &[u8], standard: bool) -> Option<&HeaderOption> {
        let named = self.named.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        let unnamed = || match (&self.other, standard) {
            (Some(other), false) => Some(other),
            _ => self.defaults.as_ref(),
        };
        named.map(|(_, option)| option).or_else(unnamed)
    }
}

/// Reads a header option file.
pub(crate) fn read(text: &Text, reader: &mut Reader<'_>) -> HeaderOptions {
    let mut options = HeaderOptions::default();
    let mut into: Option<String> = None;
    for line in text.lines.iter().filter(|line| !line.is_blank()) {
        let from = if line.text.starts_with([' ', '\t']) && into.is_some() {
            0
        } else {
            let Some(colon) = line.text.find(':') else {
                reader.push(
                    Diagnostic::new(&codes::BAD_HEADER_OPTION, "no colon behind the name of a header line")
                        .at(line.whole())
                        .help("write `Header-Name: OPTION=value, OPTION=value`"),
                );
                into = None;
                continue;
            };
            let name = line.text[..colon].trim().to_owned();
            if !is_name(&name) {
                let message = format!("`{name}` cannot be the name of a header line");
                reader.push(Diagnostic::new(&codes::BAD_HEADER_OPTION, message).at(line.span(&(0..colon))));
                into = None;
                continue;
            }
            into = Some(name);
            colon + 1
        };
        if let Some(name) = &into {
            let slot = options.slot(name);
            read_options(line, from, slot, reader);
        }
    }
    for (which, option) in [("Defaults", &options.defaults), ("Other", &options.other)] {
        if option.as_ref().is_some_and(|option| option.add.is_some() || option.fill.is_some()) {
            let message =
                format!("ADD and FILL have no effect in `{which}:`, which is the name of no header line");
            let at =
                text.lines.iter().find(|line| line.text.to_lowercase().starts_with(&which.to_lowercase()));
            let remark = Diagnostic::new(&codes::UNKNOWN_HEADER_OPTION, message);
            reader.push(match at {
                Some(line) => remark.at(line.whole()),
                None => remark,
            });
        }
    }
    options
}

impl HeaderOptions {
    /// The options of a name; a name that comes twice goes on with what it had.
    fn slot(&mut self, name: &str) -> &mut HeaderOption {
        if name.eq_ignore_ascii_case("other") {
            return self.other.get_or_insert_default();
        }
        if name.eq_ignore_ascii_case("defaults") {
            return self.defaults.get_or_insert_default();
        }
        let known = self.named.iter().position(|(other, _)| other.eq_ignore_ascii_case(name));
        let index = known.unwrap_or_else(|| {
            self.named.push((name.to_owned(), HeaderOption::default()));
            self.named.len() - 1
        });
        &mut self.named[index].1
    }
}

/// What a header line may be called (RFC 5322 section 2.2).
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 60
        && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':')
}

/// Reads `OPTION=value, OPTION="value"` from an offset of the line on.
fn read_options(line: &Line, from: usize, into: &mut HeaderOption, reader: &mut Reader<'_>) {
    let text = line.text.as_str();
    let bad = |range: Range<usize>, message: String, reader: &mut Reader<'_>| {
        let remark = Diagnostic::new(&codes::BAD_HEADER_OPTION, message).at(line.span(&range));
        reader.push(remark.help("options are `NAME=number` or `NAME=\"text\"`, with commas between them"));
    };
    let mut at = from;
    loop {
        at += text[at..].len() - text[at..].trim_start_matches([' ', '\t', ',']).len();
        if at >= text.len() {
            return;
        }
        let Some(equals) = text[at..].find('=').map(|offset| at + offset) else {
            return bad(at..text.len(), format!("`{}` has no value", text[at..].trim()), reader);
        };
        let written = text[at..equals].trim();
        let name = written.to_uppercase();
        let name_range = at..at + written.len();
        let start = equals + 1 + (text[equals + 1..].len() - text[equals + 1..].trim_start().len());
        let Some((value, end)) = value(text, start) else {
            return bad(start..text.len(), "a quoted text has no end".to_owned(), reader);
        };
        at = end;
        if !NAMES.contains(&name.as_str()) {
            let message = format!("`{written}` is no option of a header line");
            let remark = Diagnostic::new(&codes::UNKNOWN_HEADER_OPTION, message).at(line.span(&name_range));
            reader.push(match nearest(&name, NAMES.into_iter()) {
                Some(near) => remark.help(format!("did you mean {near}?")),
                None => remark.help(format!("there are {}", NAMES.join(", "))),
            });
            continue;
        }
        if let Err(why) = set(into, &name, &value) {
            bad(start..end, format!("{name} {why}, not `{value}`"), reader);
        }
    }
}

/// A quoted text or a word, and the offset behind it.
fn value(text: &str, start: usize) -> Option<(String, usize)> {
    let rest = &text[start..];
    let Some(inside) = rest.strip_prefix('"') else {
        let end = rest.find(',').unwrap_or(rest.len());
        return Some((rest[..end].trim().to_owned(), start + end));
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

fn set(option: &mut HeaderOption, name: &str, value: &str) -> Result<(), &'static str> {
    let text = || {
        let fits =
            value.len() <= TEXT_OCTETS_MAX && value.is_ascii() && !value.contains(|c: char| c.is_control());
        if fits { Ok(Some(value.to_owned())) } else { Err("takes a text of ASCII characters on one line") }
    };
    let count = || value.parse::<u32>().map_err(|_| "takes a number");
    let limit = || match value.parse::<i32>() {
        Ok(number) if number >= -1 => Ok(number),
        _ => Err("takes a number, or -1 to take the lines out"),
    };
    match name {
        "ADD" => option.add = text()?,
        "FILL" => option.fill = text()?,
        "GROUP" => drop(count()?),
        "LINELENGTH" => option.line_length = count()?,
        "MAXCHARS" => option.max_chars = count()?,
        "MAXIMUM" => option.maximum = limit()?,
        "MAXLINES" => option.max_lines = limit()?,
        "PRECEDENCE" => option.precedence = value.parse().map_err(|_| "takes a number")?,
        "RELABEL" => {
            let name = value.trim_end_matches(':');
            if !is_name(name) {
                return Err("takes the name of a header line");
            }
            option.relabel = Some(name.to_owned());
        }
        _ => {}
    }
    Ok(())
}
