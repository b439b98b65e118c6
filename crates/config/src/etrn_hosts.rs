//! `ETRN_HOSTS`: servers that are asked for our mail when the service starts, and what each is asked for.
//!
//! The form is that of Solaris: groups with white space between them, each a server and, behind a colon, names with
//! commas between them: `s1:c1.1,c1.2 s2:c2.1 s3`. A server without names is asked for all that are ours. Ours is a
//! port in front of the names, which nobody can take for a name: `s1:2525:c1.1`, `s3:2525`.
//!
//! The text stands in `option.dat`, or in a file of the form of `/etc/default/sendmail`, a line
//! `ETRN_HOSTS="…"` among others that are passed over.
//!
//! # Not here
//! The asking, which is the hub's.

use crate::codes;
use crate::lines::Reader;
use crate::options::Options;
use sluice_diag::{Diagnostic, Span};
use std::ops::Range;
use std::path::Path;

/// Name of the option, here and in a file of the system.
pub(crate) const ETRN_HOSTS: &str = "ETRN_HOSTS";
/// The port of SMTP.
const SMTP_PORT: u16 = 25;
/// Longest name or server (RFC 1035 section 2.3.4 has 253 for a domain).
const WORD_OCTETS_MAX: usize = 255;
/// Most groups; each is a connection when the service starts.
const GROUPS_MAX: usize = 1000;

/// A server to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtrnHost {
    /// A host name, or an address in brackets.
    pub server: String,
    /// Its port; 25 if none is written.
    pub port: u16,
    /// What to ask for, as it goes over the wire. Empty: every name that is ours.
    pub names: Vec<String>,
    /// Where the group stands.
    pub span: Span,
}

/// What both options come to, those of the file behind those of `option.dat`.
pub(crate) fn read(options: &Options, reader: &mut Reader<'_>) -> Vec<EtrnHost> {
    let mut hosts = Vec::new();
    if let Some((text, span)) = &options.etrn_hosts {
        take(text, *span, &mut hosts, reader);
    }
    if let Some((path, span)) = &options.etrn_hosts_file {
        match reader.files.read(path) {
            Ok(bytes) => of_file(path, &String::from_utf8_lossy(&bytes), &mut hosts, reader),
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                let remark = Diagnostic::new(&codes::CANNOT_READ_FILE, message).at(*span);
                reader.push(remark.help("ETRN_HOSTS_FILE names a file of the form of /etc/default/sendmail"));
            }
        }
    }
    hosts
}

/// A file that a shell could read: the last line that sets the variable counts.
fn of_file(path: &Path, text: &str, hosts: &mut Vec<EtrnHost>, reader: &mut Reader<'_>) {
    let source = reader.sources.add(path, text.to_owned());
    let mut found = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        let assigned = trimmed.strip_prefix("export ").unwrap_or(trimmed).trim_start();
        if let Some(value) = assigned.strip_prefix(ETRN_HOSTS).and_then(|rest| rest.strip_prefix('=')) {
            // Both are parts of the line, the value its end without the blanks behind it.
            let at = start + line.trim_end().len() - value.len();
            found = Some((value, at));
        }
        start += line.len();
    }
    if let Some((value, at)) = found {
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        take(value, Span::new(source, offset(at), offset(at + value.len())), hosts, reader);
    }
}

/// Takes a text apart and says what is wrong with its groups, each where it stands.
fn take(text: &str, span: Span, hosts: &mut Vec<EtrnHost>, reader: &mut Reader<'_>) {
    let place = |part: Range<usize>| {
        let offset =
            |at: usize| span.start.saturating_add(u32::try_from(at).unwrap_or(u32::MAX)).min(span.end);
        Span::new(span.source, offset(part.start), offset(part.end))
    };
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''));
    let (inner, from) = match quote {
        Some(quote) => match text[1..].split_once(quote) {
            Some((inner, _)) => (inner, 1),
            None => {
                let message = format!("the quote of {ETRN_HOSTS} is not closed");
                let remark = Diagnostic::new(&codes::BAD_ETRN_HOSTS, message).at(place(0..1));
                return reader.push(remark.help(format!("write another {quote} behind the last group")));
            }
        },
        None => (text, 0),
    };
    for word in words(inner) {
        let group = &inner[word.clone()];
        let at = |part: Range<usize>| place(from + word.start + part.start..from + word.start + part.end);
        if hosts.len() == GROUPS_MAX {
            let message = format!("{ETRN_HOSTS} has more than {GROUPS_MAX} groups");
            let remark = Diagnostic::new(&codes::BAD_ETRN_HOSTS, message).at(at(0..group.len()));
            return reader.push(remark.help("ask the others by activators, in sites.cnf"));
        }
        match host(group) {
            Ok((server, port, names)) => {
                hosts.push(EtrnHost { server, port, names, span: at(0..group.len()) });
            }
            Err((part, why)) => {
                let remark = Diagnostic::new(&codes::BAD_ETRN_HOSTS, why).at(at(part));
                reader
                    .push(remark.help("a group is `server`, `server:name,name` or `server:port:name,name`"));
            }
        }
    }
}

/// The words of a text, by place.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let start = text.len() - rest.len();
        let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
        rest = &rest[length..];
        (length > 0).then_some(start..start + length)
    })
}

/// One group; a mistake is told with its place in the group.
#[allow(clippy::type_complexity)]
fn host(group: &str) -> Result<(String, u16, Vec<String>), (Range<usize>, String)> {
    let end = match group.strip_prefix('[') {
        Some(inner) => match inner.find(']') {
            Some(end) => end + 2,
            None => return Err((0..group.len(), format!("the bracket of `{group}` is not closed"))),
        },
        None => group.find(':').unwrap_or(group.len()),
    };
    let server = &group[..end];
    let bare = server.strip_prefix('[').and_then(|server| server.strip_suffix(']'));
    let is_server = match bare {
        Some(address) => address.trim_start_matches("IPv6:").parse::<std::net::IpAddr>().is_ok(),
        None => {
            let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_');
            !server.is_empty() && server.len() <= WORD_OCTETS_MAX && server.bytes().all(fits)
        }
    };
    if !is_server {
        let what = if server.is_empty() {
            format!("the group `{group}` has no server in front of its colon")
        } else {
            format!("`{server}` is no server: a host name, or an address in brackets")
        };
        return Err((0..end.max(1).min(group.len()), what));
    }
    let (mut at, mut port) = (end, SMTP_PORT);
    if at == group.len() {
        return Ok((server.to_owned(), port, Vec::new()));
    }
    if !group[at..].starts_with(':') {
        return Err((at..group.len(), format!("behind `{server}` comes a colon, or nothing")));
    }
    at += 1;
    // A name has a dot, `@` or `#` in it: digits alone are a port.
    let digits = group[at..].split(':').next().unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit()) {
        port = match digits.parse() {
            Ok(port @ 1..) => port,
            _ => return Err((at..at + digits.len(), format!("`{digits}` is no port: 1 to 65535"))),
        };
        at += digits.len();
        if at == group.len() {
            return Ok((server.to_owned(), port, Vec::new()));
        }
        at += 1;
    }
    let mut names = Vec::new();
    for name in group[at..].split(',') {
        let fits = |c: char| c.is_ascii_graphic() && !matches!(c, ':' | '"' | '\'');
        if name.trim_start_matches(['@', '#']).is_empty() {
            return Err((at..at + name.len(), format!("a name is missing behind `{}`", &group[..at])));
        }
        if name.len() > WORD_OCTETS_MAX || !name.chars().all(fits) {
            return Err((at..at + name.len(), format!("`{name}` is no name to ask for")));
        }
        names.push(name.to_owned());
        at += name.len() + 1;
    }
    Ok((server.to_owned(), port, names))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::files::{MemoryFiles, Place};
    use crate::reading::read;
    use std::path::PathBuf;

    const MAIN: &str = "h.example $U@h.example\n\nl\nh.example\n";

    /// The groups that `option.dat` comes to, or the diagnostics with their places.
    fn groups(options: &str, file: &str) -> String {
        let files = MemoryFiles::new()
            .with("c/sluice.cnf", MAIN)
            .with("c/option.dat", options)
            .with("c/default-sendmail", file);
        let (config, sources, diagnostics) = read(&files, &Place::Folder(PathBuf::from("c")));
        let errors: Vec<String> = diagnostics
            .iter()
            .filter(|one| one.code.name == "bad-etrn-hosts" || one.code.name == "cannot-read-file")
            .map(|one| {
                let place = sources.position(one.span.unwrap());
                format!("{}:{} {}", place.line, place.column, one.message)
            })
            .collect();
        if !errors.is_empty() {
            return errors.join("; ");
        }
        let Some(config) = config else { panic!("{diagnostics:?}") };
        let shown = config.etrn_hosts.iter().map(|host| {
            let port = if host.port == 25 { String::new() } else { format!(":{}", host.port) };
            format!("{}{port}[{}]", host.server, host.names.join(" "))
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn row_3_8_the_form_of_the_manual() {
        let text = "ETRN_HOSTS=\"s1.domain.com:clnt.domain.com s2.domain.com:clnt.domain.com\"\n";
        assert_eq!(groups(text, ""), "s1.domain.com[clnt.domain.com] s2.domain.com[clnt.domain.com]");
        assert_eq!(groups("ETRN_HOSTS=s1:c1.1,c1.2 s2:c2.1 s3\n", ""), "s1[c1.1 c1.2] s2[c2.1] s3[]");
        assert_eq!(groups("", ""), "");
    }

    #[test]
    fn row_3_9_any_white_space_and_no_clients() {
        assert_eq!(groups("ETRN_HOSTS=\"  s1:a.b \t  s2\t\ts3:@c.d,#q \"\n", ""), "s1[a.b] s2[] s3[@c.d #q]");
        assert_eq!(groups("ETRN_HOSTS=\"\"\n", ""), "");
    }

    #[test]
    fn a_port_stands_in_front_of_the_names() {
        assert_eq!(
            groups("ETRN_HOSTS=s1:2525:a.b,c.d s2:366 [::1]:26:a.b [192.0.2.1]\n", ""),
            "s1:2525[a.b c.d] s2:366[] [::1]:26[a.b] [192.0.2.1][]"
        );
    }

    #[test]
    fn mistakes_are_told_with_their_column() {
        for (value, expected) in [
            ("s1:a.b :c.d", "1:19 the group `:c.d` has no server"),
            ("s1:a.b,,c.d", "1:19 a name is missing behind `s1:a.b,`"),
            ("s1: s2", "1:15 a name is missing behind `s1:`"),
            ("s1:99999:a.b", "1:15 `99999` is no port"),
            ("s1:0", "1:15 `0` is no port"),
            ("\"s1 s2", "1:12 the quote of ETRN_HOSTS is not closed"),
            ("\"s1 [::1\"", "1:16 the bracket of `[::1` is not closed"),
            ("s1 s!2:a.b", "1:15 `s!2` is no server"),
            ("[x]:a.b", "1:12 `[x]` is no server"),
            ("[::1]a.b", "1:17 behind `[::1]` comes a colon"),
            ("s1:a.b:c.d", "1:15 `a.b:c.d` is no name"),
            ("s1:@", "1:15 a name is missing"),
        ] {
            let told = groups(&format!("ETRN_HOSTS={value}\n"), "");
            assert!(told.starts_with(expected), "{value}: {told}");
        }
        // Every mistake is told, and the right groups are not lost by it.
        assert_eq!(groups("ETRN_HOSTS=s1:, s2:, s3\n", "").matches("is missing").count(), 2);
    }

    #[test]
    fn a_file_of_the_system() {
        let options = "ETRN_HOSTS_FILE=default-sendmail\nETRN_HOSTS=s0\n";
        let file = "# The mailer\nMODE=\"-bd\"\nETRN_HOSTS=\"old\"\nexport ETRN_HOSTS='s1:a.b s2'  \nQUEUEINTERVAL=15m\n";
        assert_eq!(groups(options, file), "s0[] s1[a.b] s2[]");
        assert_eq!(groups(options, "MODE=x\n"), "s0[]");
        assert!(groups(options, "A=b\nETRN_HOSTS=\"s1: s2\"\n").starts_with("2:16 a name is missing"));
        assert!(groups("ETRN_HOSTS_FILE=/no/such\n", "").contains("cannot read /no/such"));
    }
}
