//! Changing single lines of a file and leaving every other byte as it is.
//!
//! A file is a row of lines with their ends. A line is replaced by one line, so that line numbers mean the same in the
//! old folder and the new one, and comments stay where they are.

/// The lines of a file, with what is to become of them.
#[derive(Debug)]
pub(crate) struct Lines {
    lines: Vec<Vec<u8>>,
    changed: u32,
}

impl Lines {
    /// Takes a file apart.
    pub(crate) fn new(bytes: &[u8]) -> Lines {
        Lines {
            lines: bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect(),
            changed: 0,
        }
    }

    /// How many lines there are.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// A line as text, without its end; bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&self, index: usize) -> String {
        let line = self.lines.get(index).map_or(&[][..], Vec::as_slice);
        String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']).to_owned()
    }

    /// Puts a text in the place of a line, whose end stays.
    pub(crate) fn replace(&mut self, index: usize, text: &str) {
        let Some(line) = self.lines.get_mut(index) else { return };
        let end = match line.as_slice() {
            [.., b'\r', b'\n'] => "\r\n",
            [.., b'\n'] => "\n",
            _ => "",
        };
        *line = format!("{text}{end}").into_bytes();
        self.changed += 1;
    }

    /// Makes a comment of a line, and of the lines that continue it. Blank lines and comments are left alone.
    pub(crate) fn comment_out(&mut self, index: usize) {
        let mut index = index;
        let mut continued = true;
        loop {
            let text = self.text(index);
            // A comment between a line and its continuation does not end it.
            if !text.starts_with('!') {
                continued = text.ends_with('\\');
            }
            if let Some(line) = self.lines.get_mut(index)
                && !line.starts_with(b"!")
                && !line.trim_ascii().is_empty()
            {
                line.insert(0, b'!');
                self.changed += 1;
            }
            index += 1;
            if !continued || index >= self.lines.len() {
                return;
            }
        }
    }

    /// How many lines were changed.
    pub(crate) fn changed(&self) -> u32 {
        self.changed
    }

    /// Puts the file together again.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.lines.concat()
    }
}

/// The name on a line `<name`, where that is an include.
pub(crate) fn included(line: &str) -> Option<&str> {
    line.strip_prefix('<').map(str::trim).filter(|name| !name.is_empty())
}

/// In the alias file: where a list is read from a file, `alias: <name`; the range of the name.
pub(crate) fn list_file(line: &str) -> Option<std::ops::Range<usize>> {
    let colon = line.find(':')?;
    let rest = line.get(colon + 1..)?;
    let mark = colon + 1 + (rest.len() - rest.trim_start().len());
    let name = line.get(mark..)?.strip_prefix('<')?;
    let start = mark + 1 + (name.len() - name.trim_start().len());
    let name = line.get(start..)?;
    let end = match name.strip_prefix('"') {
        Some(quoted) => quoted.find('"').map(|at| at + 2)?,
        None => name.find([' ', '\t', ',']).unwrap_or(name.len()),
    };
    (end > 0).then_some(start..start + end)
}

/// `NAME=value`, the name in upper case.
pub(crate) fn option(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let fits = !name.is_empty() && !name.starts_with(['!', '[']) && !name.contains([' ', '\t']);
    fits.then(|| (name.to_ascii_uppercase(), value.trim()))
}

/// `[KIND=name]`, the kind in upper case.
pub(crate) fn section(line: &str) -> Option<(String, String)> {
    let inner = line.trim().strip_prefix('[')?.strip_suffix(']')?;
    let (kind, name) = inner.split_once('=')?;
    Some((kind.trim().to_ascii_uppercase(), name.trim().to_owned()))
}

/// The last part of a file name as UNIX, VMS and Windows write it, without quotes and version.
pub(crate) fn base_name(name: &str) -> &str {
    let name = name.trim().trim_matches('"');
    let name = name.rsplit(['/', '\\', ':', ']', '>']).next().unwrap_or(name);
    match name.rsplit_once(';') {
        Some((name, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_stays_byte_for_byte() {
        let text = b"a\r\n\xff b\\\n  c\r\n\r\nlast";
        let mut lines = Lines::new(text);
        assert_eq!(lines.len(), 5);
        lines.replace(0, "x");
        lines.comment_out(1);
        assert_eq!(lines.changed(), 3);
        assert_eq!(lines.into_bytes(), b"x\r\n!\xff b\\\n!  c\r\n\r\nlast");
        assert_eq!(Lines::new(text).into_bytes(), text);
    }

    #[test]
    fn names_of_three_systems() {
        assert_eq!(base_name("/pmdf/table/internet.rules"), "internet.rules");
        assert_eq!(base_name("PMDF_TABLE:INTERNET.RULES;12"), "INTERNET.RULES");
        assert_eq!(base_name("DISK$1:[PMDF.TABLE]x.dis"), "x.dis");
        assert_eq!(base_name("\"C:\\pmdf\\x.dis\""), "x.dis");
    }

    #[test]
    fn files_named_in_aliases() {
        let found = |line: &str| list_file(line).map(|range| line[range].to_owned());
        assert_eq!(found("staff: </pmdf/table/staff.dis"), Some("/pmdf/table/staff.dis".to_owned()));
        assert_eq!(
            found("staff:<\"PMDF_ROOT:[x]a b.dis\", [errors_to] x"),
            Some("\"PMDF_ROOT:[x]a b.dis\"".to_owned())
        );
        assert_eq!(found("fred: fred@a.example"), None);
        assert_eq!(found("x: <"), None);
        assert_eq!(found("x: <\""), None);
    }

    #[test]
    fn options_and_sections() {
        assert_eq!(option(" image = x=y "), Some(("IMAGE".to_owned(), "x=y")));
        assert_eq!(option("!a=b"), None);
        assert_eq!(section(" [channel=tcp_*] "), Some(("CHANNEL".to_owned(), "tcp_*".to_owned())));
        assert_eq!(section("[x"), None);
    }
}
