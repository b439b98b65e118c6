//! Logical lines: what is left of the files when includes are spliced in, comments are gone and continued lines are
//! joined.
//!
//! A [`Line`] keeps for each of its pieces the file and offset it came from, so that a diagnostic about a word points
//! at the word as it stands in its file. The rules are those of all PMDF configuration files: `!` in column one makes a
//! comment, `<` in column one includes a file, at most three levels deep, and `\` as the last character joins the next
//! line. Comments do not exist for the reader; they are skipped inside a continued line too.

use crate::codes;
use crate::files::{Files, Names};
use sluice_diag::{Diagnostic, Severity, SourceId, Sources, Span};
use std::cell::OnceCell;
use std::path::{Component, Path, PathBuf};

/// Files that may be open inside each other below the main file.
const INCLUDE_DEPTH_MAX: usize = 3;
const LOOP_HELP: &str = "take the line out, or name another file";

/// What differs between kinds of files.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// Characters in a physical line that the products can read.
    line_length_max: usize,
    /// What is said of an included file that cannot be read: the code, and the words in front of its name.
    not_included: (&'static sluice_diag::Code, &'static str),
    /// Characters that make a comment of a line when they stand in column one.
    comments: &'static [char],
}

impl Manner {
    /// Most files.
    pub(crate) const ORDINARY: Manner = Manner {
        line_length_max: 252,
        not_included: (&codes::CANNOT_READ_FILE, "cannot read the included file"),
        comments: &['!'],
    };
    /// The alias file and the lists that it names.
    pub(crate) const ALIASES: Manner = Manner {
        line_length_max: 1024,
        not_included: (&codes::CANNOT_OPEN_ALIAS_FILE, "cannot open alias include file"),
        ..Manner::ORDINARY
    };
    /// `sites.cnf`, which the products do not have.
    pub(crate) const SITES: Manner = Manner { line_length_max: 16_384, ..Manner::ORDINARY };
    /// The file `conversions`: commands are long (Messaging Server 6 reads 1024 characters of a line).
    pub(crate) const CONVERSIONS: Manner = Manner { line_length_max: 1024, ..Manner::ORDINARY };
    /// Text databases: their own limits are on keys and values.
    pub(crate) const DATABASE: Manner = Manner { line_length_max: 1024, ..Manner::ORDINARY };
    /// Files of `NAME=value` lines: comments begin with `!`, `#` or `;` (Messaging Server Administration Guide, "Option
    /// File"). A value may be long: Messaging Server's delivery options are.
    pub(crate) const OPTIONS: Manner =
        Manner { line_length_max: 1024, comments: &['!', '#', ';'], ..Manner::ORDINARY };
}
/// Lines with broken characters that are reported for one file; a picture has thousands.
const BAD_LINES_REPORTED_MAX: usize = 20;

/// One logical line.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The text without trailing blanks; empty for a blank line.
    pub(crate) text: String,
    /// Where its first piece stands; nearly all lines have no other.
    first: Span,
    /// Offset in the text at which each further piece begins, and where it stands.
    more: Vec<(usize, Span)>,
    /// The diagnostic about a backslash with blanks behind it at the end of this line, or of the line before.
    pub(crate) lost_continuation: Option<usize>,
}

impl Line {
    /// A text that stands, or comes from something that stands, at this place.
    pub(crate) fn at(text: &str, place: Span) -> Line {
        Line { text: text.to_owned(), first: place, more: Vec::new(), lost_continuation: None }
    }

    /// Where the bytes of a range stand; for a range over several files or lines, its beginning.
    pub(crate) fn span(&self, range: &std::ops::Range<usize>) -> Span {
        let behind = self.more.partition_point(|(offset, _)| *offset <= range.start);
        let (offset, span) = behind.checked_sub(1).map_or((0, self.first), |index| self.more[index]);
        within(span, range.start - offset, range.end.max(range.start) - offset)
    }

    /// Where the line stands: its first word up to the end of that piece.
    pub(crate) fn whole(&self) -> Span {
        let indent = self.text.len() - self.text.trim_start().len();
        self.span(&(indent..self.text.len()))
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.text.is_empty()
    }

    /// The pieces of a part of the line that is made of several, with offsets from its beginning. Empty when there is
    /// only one: that is where [`Line::span`] says.
    pub(crate) fn pieces_of(&self, range: &std::ops::Range<usize>) -> Vec<(usize, Span)> {
        let further = |(offset, _): &&(usize, Span)| range.contains(offset) && *offset > range.start;
        let mut further = self.more.iter().filter(further).peekable();
        if further.peek().is_none() {
            return Vec::new();
        }
        let further = further.map(|(offset, span)| (offset - range.start, *span));
        std::iter::once((0, self.span(range))).chain(further).collect()
    }
}

/// The place of the bytes `start..end` of a text that stands at `whole` and is made of `pieces`, if of several.
pub(crate) fn place(pieces: &[(usize, Span)], whole: Span, start: usize, end: usize) -> Span {
    let index = pieces.partition_point(|(offset, _)| *offset <= start).checked_sub(1);
    let (offset, span) = index.map_or((0, whole), |index| pieces[index]);
    within(span, start - offset, end.max(start) - offset)
}

/// A part of a piece, cut off where the piece ends.
fn within(piece: Span, start: usize, end: usize) -> Span {
    let at =
        |offset: usize| piece.start.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX)).min(piece.end);
    Span::new(piece.source, at(start), at(end))
}

/// The logical lines of a file.
pub(crate) struct Text {
    pub(crate) lines: Vec<Line>,
    /// The main file.
    pub(crate) source: SourceId,
    /// Whether all of it could be read; if not, what seems to be missing may stand in the part that is not there.
    pub(crate) complete: bool,
}

/// What reading needs and leaves behind.
pub(crate) struct Reader<'a> {
    pub(crate) files: &'a dyn Files,
    /// Relative names start from here.
    pub(crate) folder: &'a Path,
    pub(crate) sources: Sources,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) manner: Manner,
    /// What the files of the folder are called; read when it is first asked for.
    names: OnceCell<Names>,
}

/// A line as it stands in a file, without its end.
#[derive(Clone, Copy)]
struct Physical {
    source: SourceId,
    start: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(files: &'a dyn Files, folder: &'a Path, manner: Manner) -> Reader<'a> {
        Reader {
            files,
            folder,
            sources: Sources::new(),
            diagnostics: Vec::new(),
            manner,
            names: OnceCell::new(),
        }
    }
}

impl Reader<'_> {
    /// What a file of the folder is called here; the path as it was for all others.
    pub(crate) fn here(&self, path: &Path) -> PathBuf {
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().and_then(|name| name.to_str());
        let beside =
            parent == self.folder || (parent.as_os_str().is_empty() && self.folder == Path::new("."));
        let Some(name) = name.filter(|_| beside) else { return path.to_path_buf() };
        self.names().here(name).map_or_else(|| path.to_path_buf(), |here| path.with_file_name(here))
    }

    /// The path of a file that the configuration names. One with a folder is looked for there first.
    fn named(&self, name: &str) -> PathBuf {
        let path = plain(&self.folder.join(table_file(name)));
        if file_name(name) == name { self.here(&path) } else { path }
    }

    fn names(&self) -> &Names {
        self.names.get_or_init(|| Names::of(self.files, self.folder))
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// As [`Reader::read_optional`], for a file of another kind.
    pub(crate) fn read_optional_as(&mut self, path: &Path, manner: Manner) -> Option<Text> {
        let before = std::mem::replace(&mut self.manner, manner);
        let text = self.read_optional(path);
        self.manner = before;
        text
    }

    /// Reads a file of another kind that the configuration names; that it cannot be read is the caller's to say.
    pub(crate) fn open_as(&mut self, name: &str, manner: Manner) -> Result<Text, String> {
        let path = self.named(name);
        let (path, bytes) = match self.files.read(&path) {
            Ok(bytes) => (path, bytes),
            Err(error) => match self.instead_of(&path, name, error.kind()) {
                Some((_, found, bytes)) => (found, bytes),
                None => return Err(format!("{}: {}", path.display(), reason(&error))),
            },
        };
        let before = std::mem::replace(&mut self.manner, manner);
        let text = self.text(&path, bytes);
        self.manner = before;
        Ok(text)
    }

    /// Reads a file that must exist.
    pub(crate) fn read(&mut self, path: &Path) -> Option<Text> {
        let path = &self.here(path);
        match self.files.read(path) {
            Ok(bytes) => Some(self.text(path, bytes)),
            Err(error) => {
                let source = self.sources.add(path, String::new());
                let remark = Diagnostic::new(
                    &codes::CANNOT_READ_FILE,
                    format!("cannot read {}: {}", path.display(), reason(&error)),
                );
                self.push(remark.at(Span::new(source, 0, 0)));
                None
            }
        }
    }

    /// Reads a file that may be missing.
    pub(crate) fn read_optional(&mut self, path: &Path) -> Option<Text> {
        match self.files.read(&self.here(path)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            _ => self.read(path),
        }
    }

    fn text(&mut self, path: &Path, bytes: Vec<u8>) -> Text {
        let (source, is_text) = self.decode(path, bytes);
        let mut physical = Vec::new();
        let mut chain = vec![(plain(path), None)];
        let complete = self.splice(source, &mut chain, &mut physical) && is_text;
        Text { lines: self.join(&physical), source, complete }
    }

    /// Takes the bytes in as text. Bytes that are not UTF-8 are reported by line, and replaced. A byte order mark is left
    /// out, so that columns are those of the editor. False: it is text of another kind, and nothing is taken in.
    fn decode(&mut self, path: &Path, bytes: Vec<u8>) -> (SourceId, bool) {
        if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
            let source = self.sources.add(path, String::new());
            let remark = Diagnostic::new(&codes::NOT_UTF8, "the file is UTF-16 text");
            self.push(remark.at(Span::new(source, 0, 0)).help("save the file as ASCII or UTF-8"));
            return (source, false);
        }
        let marked = bytes.starts_with("\u{FEFF}".as_bytes());
        let bytes = match String::from_utf8(bytes) {
            Ok(text) if !marked => return (self.sources.add(path, text), true),
            Ok(text) => text.into_bytes(),
            Err(error) => error.into_bytes(),
        };
        let bytes = if marked { &bytes[3..] } else { &bytes[..] };
        let mut text = String::with_capacity(bytes.len());
        let mut bad = Vec::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match std::str::from_utf8(line) {
                Ok(line) => text.push_str(line),
                Err(error) => {
                    bad.push((text.len() + error.valid_up_to(), line[0] == b'!', line[error.valid_up_to()]));
                    text.push_str(&String::from_utf8_lossy(line));
                }
            }
        }
        let source = self.sources.add(path, text);
        if marked {
            let remark = Diagnostic::new(&codes::BYTE_ORDER_MARK, "the file begins with a byte order mark");
            self.push(remark.at(Span::new(source, 0, 0)).help("save it without one; it is ignored here"));
        }
        for (offset, comment, byte) in bad.into_iter().take(BAD_LINES_REPORTED_MAX) {
            let at = offset as u32;
            let remark = Diagnostic::new(&codes::NOT_UTF8, format!("byte 0x{byte:02X} is not UTF-8 text"))
                .at(Span::new(source, at, at + '\u{FFFD}'.len_utf8() as u32))
                .help("save the file as ASCII or UTF-8");
            self.push(if comment { remark.severity(Severity::Info) } else { remark });
        }
        (source, true)
    }

    /// Adds the lines of a text, with those of the files it includes in their places. False: something is missing.
    fn splice(
        &mut self,
        source: SourceId,
        chain: &mut Vec<(PathBuf, Option<Span>)>,
        lines: &mut Vec<Physical>,
    ) -> bool {
        let mut complete = true;
        let mut start = 0;
        // The text is asked for anew for each line, since including a file adds to the texts.
        while let Some(line) = self.sources.text(source)[start..].split_inclusive('\n').next() {
            let next = start + line.len();
            let line = line.strip_suffix('\n').unwrap_or(line);
            let content = line.strip_suffix('\r').unwrap_or(line);
            let physical = Physical { source, start, end: start + content.len() };
            if let Some(name) = content.strip_prefix('<') {
                let name = name.to_owned();
                complete &= self.include(physical, &name, chain, lines);
            } else {
                lines.push(physical);
            }
            start = next;
        }
        complete
    }

    fn include(
        &mut self,
        line: Physical,
        name: &str,
        chain: &mut Vec<(PathBuf, Option<Span>)>,
        lines: &mut Vec<Physical>,
    ) -> bool {
        let lead = 1 + name.len() - name.trim_start().len();
        let name = name.trim();
        let span =
            Span::new(line.source, (line.start + lead) as u32, (line.start + lead + name.len()) as u32);
        if name.is_empty() {
            let span = Span::new(line.source, line.start as u32, line.end as u32);
            self.push(Diagnostic::new(&codes::INCLUDE_WITHOUT_NAME, "`<` names no file").at(span));
            return false;
        }
        let path = self.named(name);
        let refuse = |code, message: String| {
            let mut remark = Diagnostic::new(code, message).at(span);
            for (path, from) in chain.iter().rev() {
                if let Some(from) = from {
                    remark = remark.note(*from, format!("{} is included here", path.display()));
                }
            }
            remark
        };
        if chain.iter().any(|(other, _)| *other == path) {
            let remark = refuse(&codes::INCLUDE_LOOP, format!("{} includes itself", path.display()));
            self.push(remark.help(LOOP_HELP));
            return false;
        }
        if chain.len() > INCLUDE_DEPTH_MAX {
            let message = format!("{} is included more than {INCLUDE_DEPTH_MAX} levels deep", path.display());
            let remark = refuse(&codes::INCLUDE_TOO_DEEP, message);
            self.push(remark);
            return false;
        }
        let read = match self.files.read(&path) {
            Ok(bytes) => Ok((path, bytes)),
            Err(error) => match self.instead_of(&path, name, error.kind()) {
                Some((here, found, bytes)) => {
                    let message =
                        format!("{} is not there; {here} beside the main file is read", path.display());
                    let remark = Diagnostic::new(&codes::INCLUDE_FOUND_BESIDE, message).at(span);
                    self.push(remark.help(format!("write `<{here}`")));
                    Ok((found, bytes))
                }
                None => Err((path, error)),
            },
        };
        let (path, bytes) = match read {
            Ok(read) => read,
            Err((path, error)) => {
                let (code, words) = self.manner.not_included;
                let message = format!("{words} {}: {}", path.display(), reason(&error));
                let remark = refuse(code, message);
                self.push(match self.beside_the_main_file(&path) {
                    Some(here) => {
                        remark.help(format!("there is one in the configuration folder: write `<{here}`"))
                    }
                    None => remark,
                });
                return false;
            }
        };
        if chain.iter().any(|(other, _)| *other == path) {
            let message = format!("{} includes itself", path.display());
            self.push(Diagnostic::new(&codes::INCLUDE_LOOP, message).at(span).help(LOOP_HELP));
            return false;
        }
        let (source, is_text) = self.decode(&path, bytes);
        chain.push((path, Some(span)));
        let complete = self.splice(source, chain, lines);
        chain.pop();
        complete && is_text
    }

    /// The file that is read for one named with the folder of another system, which is not there: its name, path and
    /// content. A name without a folder is looked for nowhere else.
    fn instead_of(
        &self,
        missing: &Path,
        name: &str,
        why: std::io::ErrorKind,
    ) -> Option<(String, PathBuf, Vec<u8>)> {
        if why != std::io::ErrorKind::NotFound || file_name(name) == name {
            return None;
        }
        let here = self.beside_the_main_file(missing)?;
        let path = plain(&self.folder.join(&here));
        let bytes = self.files.read(&path).ok()?;
        Some((here, path, bytes))
    }

    /// Configurations that come from another system name its folders: the file may stand beside the main file here.
    fn beside_the_main_file(&self, missing: &Path) -> Option<String> {
        let name = file_name(missing.to_str()?);
        let here = self.names().here(name)?;
        (self.folder.join(here) != *missing).then(|| here.to_owned())
    }

    /// Drops comments and joins what is continued.
    fn join(&mut self, physical: &[Physical]) -> Vec<Line> {
        // Set aside, so that lines can be looked at while something is said about them.
        let sources = std::mem::take(&mut self.sources);
        let mut lines: Vec<Line> = Vec::with_capacity(physical.len());
        let mut pending: Option<(Line, Span)> = None;
        let mut lost = None;
        let mut odd_lines = 0;
        for line in physical {
            let text = &sources.text(line.source)[line.start..line.end];
            if text.starts_with(self.manner.comments) {
                continue;
            }
            self.check_length(*line, text);
            self.check_characters(*line, text, &mut odd_lines);
            let trimmed = text.trim_end();
            if trimmed.is_empty()
                && let Some((open, backslash)) = pending.take()
            {
                let remark = Diagnostic::new(&codes::LOST_CONTINUATION, "the line behind this `\\` is blank");
                self.push(remark.at(backslash).help("take the `\\` out, or the blank line"));
                lost = Some(self.diagnostics.len() - 1);
                lines.push(Line { lost_continuation: lost, ..open });
            }
            let whole = self.span(*line, 0, text.len());
            let mut joined = match pending.take() {
                Some((mut open, _)) => {
                    open.more.push((open.text.len(), whole));
                    open
                }
                None => Line { text: String::new(), first: whole, more: Vec::new(), lost_continuation: None },
            };
            if let Some(continued) = text.strip_suffix('\\') {
                joined.text.push_str(continued);
                pending = Some((joined, self.span(*line, continued.len(), text.len())));
                continue;
            }
            joined.lost_continuation =
                if joined.is_blank() && trimmed.is_empty() { lost } else { lost.take() };
            if let Some(before) = trimmed.strip_suffix('\\') {
                joined.text.push_str(before);
                let span = self.span(*line, before.len(), trimmed.len());
                let remark = Diagnostic::new(
                    &codes::LOST_CONTINUATION,
                    "`\\` with blanks behind it does not continue the line",
                );
                self.push(remark.at(span).help("take out the blanks at the end of the line"));
                lost = Some(self.diagnostics.len() - 1);
                joined.lost_continuation = lost;
            } else {
                // Of a line that has only one piece, the blanks at its end need not be kept even for a moment.
                joined.text.push_str(if joined.more.is_empty() { trimmed } else { text });
            }
            joined.text.truncate(joined.text.trim_end().len());
            lines.push(joined);
        }
        if let Some((open, backslash)) = pending {
            let remark =
                Diagnostic::new(&codes::LOST_CONTINUATION, "the file ends with a line that `\\` continues");
            self.push(remark.at(backslash).help("take the `\\` out, or add the rest of the line"));
            let mut open = Line { lost_continuation: Some(self.diagnostics.len() - 1), ..open };
            open.text.truncate(open.text.trim_end().len());
            lines.push(open);
        }
        for line in &mut lines {
            line.text.truncate(line.text.trim_end().len());
        }
        self.sources = sources;
        lines
    }

    fn check_length(&mut self, line: Physical, text: &str) {
        let most = self.manner.line_length_max;
        if text.len() <= most {
            return;
        }
        if let Some((offset, _)) = text.char_indices().nth(most) {
            let length = text.chars().count();
            let message = format!("the line has {length} characters, more than {most}");
            let remark = Diagnostic::new(&codes::LONG_LINE, message);
            let span = self.span(line, offset, text.len());
            self.push(remark.at(span).help("break it with `\\` at the end of the first part"));
        }
    }

    /// What nobody sees on the screen: a line end of another system, a byte that an editor left.
    fn check_characters(&mut self, line: Physical, text: &str, said: &mut usize) {
        if text.bytes().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t')) {
            return;
        }
        let odd = |c: char| c.is_control() && !matches!(c, '\t' | '\x0B' | '\x0C');
        let Some((offset, odd)) = text.char_indices().find(|(_, c)| odd(*c)) else { return };
        *said += 1;
        if *said > BAD_LINES_REPORTED_MAX {
            return;
        }
        let remark = if odd == '\r' {
            let remark = Diagnostic::new(&codes::CONTROL_CHARACTER, "a carriage return inside a line");
            remark.help("save the file with line ends of LF or CR LF")
        } else {
            let message = format!("an invisible character, {}", odd.escape_unicode());
            Diagnostic::new(&codes::CONTROL_CHARACTER, message).help("take it out")
        };
        self.push(remark.at(self.span(line, offset, offset + odd.len_utf8())));
    }

    fn span(&self, line: Physical, from: usize, to: usize) -> Span {
        Span::new(line.source, (line.start + from) as u32, (line.start + to) as u32)
    }
}

/// The products name their table directory by a logical name; that is the configuration folder here.
fn table_file(name: &str) -> &str {
    for prefix in ["PMDF_TABLE:", "IMTA_TABLE:"] {
        if let Some(head) = name.get(..prefix.len())
            && head.eq_ignore_ascii_case(prefix)
        {
            return &name[prefix.len()..];
        }
    }
    name
}

/// The last part of a name as UNIX, VMS (`DISK:[FOLDER]NAME.TYPE;3`) and Windows write it, a version left out.
pub(crate) fn file_name(name: &str) -> &str {
    let name = name.rsplit(['/', '\\', ':', ']', '>']).next().unwrap_or(name);
    match name.rsplit_once(';') {
        Some((name, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    }
}

/// The path without `.` and without `name/..`, so that two spellings of one file compare equal.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
