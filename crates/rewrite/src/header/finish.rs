//! What else a channel does to a header: fields that tell the envelope, header lines that an option file takes out, cuts,
//! renames, adds or moves, and long lists of addresses split over several fields (PMDF System Manager's Guide, sections
//! 2.3.4.48 and 2.3.7; Messaging Server Administration Guide, "Configuring header handling").
//!
//! # Invariants
//! Fields that nothing is said about stay octet for octet, and where nothing changes the order they stay in it.
//! # Not here
//! The addresses in the fields ([`super`]), which file belongs to which channel (`config`).

use sluice_config::{HeaderOption, HeaderOptions};
use sluice_mail::{field, header};

use super::{FORWARD, LINE_OCTETS_MAX, kind_of_field};

/// Lines of lists that are made here are folded at this length (RFC 5322 section 2.1.1).
const FOLD_OCTETS: usize = 78;
const ENVELOPE_TO: &[u8] = b"X-Envelope-To";
const RETURN_PATH: &[u8] = b"Return-Path";

/// What is done with fields that tell the envelope recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EnvelopeTo<'a> {
    /// Those that are there stay.
    #[default]
    Keep,
    /// They are taken out.
    Remove,
    /// There is one with these recipients.
    Write(&'a [String]),
}

/// What is done to the header of a copy once its addresses have been rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Finish<'a> {
    /// The envelope sender for a `Return-Path:` field on top, in the place of those that are there.
    pub return_path: Option<&'a str>,
    /// `X-Envelope-To:` fields.
    pub envelope_to: EnvelopeTo<'a>,
    /// The header option file.
    pub options: Option<&'a HeaderOptions>,
    /// Addresses in one field at most; the others go into further fields.
    pub max_addresses: Option<u32>,
    /// Octets of one field of addresses at most; the others go into further fields.
    pub max_octets: Option<u32>,
}

/// One field, whole.
struct Line {
    name: Vec<u8>,
    octets: Vec<u8>,
}

impl Finish<'_> {
    /// Whether nothing is done.
    pub fn is_idle(&self) -> bool {
        *self == Finish::default()
    }

    /// The header as it is afterwards.
    pub fn apply(&self, header: &[u8]) -> Vec<u8> {
        let mut lines: Vec<Line> = header::fields(header)
            .map(|found| Line { name: found.name.to_vec(), octets: header[found.place].to_vec() })
            .collect();
        if let Some(sender) = self.return_path {
            lines.retain(|line| !line.is(RETURN_PATH));
            lines.insert(0, Line::new("Return-Path", &format!("<{sender}>")));
        }
        if self.envelope_to != EnvelopeTo::Keep {
            lines.retain(|line| !line.is(ENVELOPE_TO));
        }
        if let EnvelopeTo::Write(recipients) = self.envelope_to {
            lines.push(Line::list(ENVELOPE_TO, recipients));
        }
        if let Some(options) = self.options {
            lines = trimmed(lines, options);
        }
        if self.max_addresses.is_some() || self.max_octets.is_some() {
            lines = lines.into_iter().flat_map(|line| self.split(line)).collect();
        }
        lines.into_iter().flat_map(|line| line.octets).collect()
    }

    /// A field of addresses as several, each within the limits. One address alone may be beyond them.
    fn split(&self, line: Line) -> Vec<Line> {
        let Some(colon) = line.octets.iter().position(|octet| *octet == b':') else { return vec![line] };
        let body = &line.octets[colon + 1..];
        let elements = match field::elements(body) {
            Ok(elements) if kind_of_field(&line.name).is_some() && elements.len() > 1 => elements,
            _ => return vec![line],
        };
        let most = |limit: Option<u32>| limit.map_or(usize::MAX, |limit| limit as usize);
        let (addresses, octets) = (most(self.max_addresses), most(self.max_octets));
        if elements.len() <= addresses && line.octets.len().saturating_sub(2) <= octets {
            return vec![line];
        }
        let (mut lines, mut gathered, mut length) = (Vec::new(), Vec::new(), 0);
        for element in elements {
            let element = &body[element];
            let beyond =
                gathered.len() >= addresses || line.name.len() + 2 + length + 2 + element.len() > octets;
            if beyond && !gathered.is_empty() {
                lines.push(Line::list(&line.name, &std::mem::take(&mut gathered)));
                length = 0;
            }
            length += element.len() + if gathered.is_empty() { 0 } else { 2 };
            gathered.push(element);
        }
        lines.push(Line::list(&line.name, &gathered));
        lines
    }
}

impl Line {
    fn new(name: &str, text: &str) -> Line {
        let text = format!("{name}: {text}\r\n");
        Line { name: name.into(), octets: text.into_bytes() }
    }

    /// A field with a list, folded between its elements.
    fn list(name: &[u8], elements: &[impl AsRef<[u8]>]) -> Line {
        let mut text = [name, b": "].concat();
        let mut column = text.len();
        for (index, element) in elements.iter().map(AsRef::as_ref).enumerate() {
            if index > 0 && column + 2 + element.len() > FOLD_OCTETS {
                text.extend_from_slice(b",\r\n ");
                column = 1;
            } else if index > 0 {
                text.extend_from_slice(b", ");
                column += 2;
            }
            text.extend_from_slice(element);
            column += element.len();
        }
        text.extend_from_slice(b"\r\n");
        Line { name: name.into(), octets: text }
    }

    fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Lines of text that it takes.
    fn lines(&self) -> usize {
        self.octets.iter().filter(|octet| **octet == b'\n').count()
    }

    /// Leaves so many lines of text.
    fn keep_lines(&mut self, most: usize) {
        let ends = self.octets.iter().enumerate().filter(|(_, octet)| **octet == b'\n');
        if let Some((end, _)) = ends.take(most).last() {
            self.octets.truncate(end + 1);
        }
    }

    /// Leaves so many octets, folds not counted.
    fn keep_octets(&mut self, most: usize) {
        let mut counted = 0;
        let mut end = self.octets.len();
        for (at, octet) in self.octets.iter().enumerate() {
            if matches!(octet, b'\r' | b'\n') {
                continue;
            }
            counted += 1;
            if counted > most {
                end = at;
                break;
            }
        }
        if end == self.octets.len() {
            return;
        }
        // Not within a character, and never within the name.
        while end > 0 && self.octets[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        let name = self.octets.iter().position(|octet| *octet == b':').map_or(0, |colon| colon + 1);
        self.octets.truncate(end.max(name));
        let kept = self.octets.trim_ascii_end().len();
        self.octets.truncate(kept);
        self.octets.extend_from_slice(b"\r\n");
    }

    /// Folds at blanks so that lines have no more octets than this, where there are blanks.
    fn fold(&mut self, most: usize) {
        if self.octets.split(|octet| *octet == b'\n').all(|line| line.len() <= most + 1) {
            return;
        }
        let mut folded = Vec::with_capacity(self.octets.len() + 16);
        let text: Vec<u8> =
            self.octets.iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
        let mut column = 0;
        // A word with the blanks in front of it; the name is never left alone on its line.
        let mut words = 0;
        for word in text.split_inclusive(|octet| matches!(octet, b' ' | b'\t')) {
            if words > 1 && column + word.trim_ascii_end().len() > most {
                let kept = folded.trim_ascii_end().len();
                let blanks = folded.split_off(kept);
                folded.extend_from_slice(b"\r\n");
                let blanks = if blanks.is_empty() { b" ".to_vec() } else { blanks };
                column = blanks.len();
                folded.extend(blanks);
            }
            folded.extend_from_slice(word);
            column += word.len();
            words += usize::from(!word.trim_ascii().is_empty());
        }
        folded.extend_from_slice(b"\r\n");
        self.octets = folded;
    }

    fn rename(&mut self, name: &str) {
        if let Some(colon) = self.octets.iter().position(|octet| *octet == b':') {
            self.octets.splice(..colon, name.bytes());
            self.name = name.into();
        }
    }
}

/// The lines as a header option file has them.
fn trimmed(lines: Vec<Line>, options: &HeaderOptions) -> Vec<Line> {
    let mut kept: Vec<(i32, Line)> = Vec::with_capacity(lines.len() + 4);
    // How many fields, and how many lines of text, of each name there are so far.
    let mut counts: Vec<(Vec<u8>, usize, usize)> = Vec::new();
    for mut line in lines {
        let option = options.of(&line.name, is_standard(&line.name)).filter(|_| !line.name.is_empty());
        let Some(option) = option else {
            kept.push((0, line));
            continue;
        };
        let known = counts.iter().position(|(name, ..)| line.is(name)).unwrap_or_else(|| {
            counts.push((line.name.clone(), 0, 0));
            counts.len() - 1
        });
        let (_, fields, text_lines) = &mut counts[known];
        if within(&mut line, option, fields, text_lines) {
            if let Some(name) = &option.relabel {
                line.rename(name);
            }
            kept.push((option.precedence, line));
        }
    }
    for (name, option) in &options.named {
        let last = kept.iter().rposition(|(_, line)| line.is(name.as_bytes()));
        let mut texts = Vec::new();
        texts.extend(option.fill.as_ref().filter(|_| last.is_none()));
        texts.extend(&option.add);
        let behind = last.map_or(kept.len(), |last| last + 1);
        for (at, text) in (behind..).zip(texts) {
            kept.insert(at, (option.precedence, Line::new(name, text)));
        }
    }
    kept.sort_by_key(|(precedence, _)| *precedence);
    kept.into_iter().map(|(_, line)| line).collect()
}

/// Cuts a line to its limits; false when it goes.
fn within(line: &mut Line, option: &HeaderOption, fields: &mut usize, text_lines: &mut usize) -> bool {
    let limit = |number: i32| usize::try_from(number).ok().filter(|number| *number > 0);
    if option.maximum < 0 || option.max_lines < 0 || limit(option.maximum).is_some_and(|most| *fields >= most)
    {
        return false;
    }
    if option.max_chars > 0 {
        line.keep_octets(option.max_chars as usize);
    }
    if option.line_length > 0 {
        line.fold((option.line_length as usize).min(LINE_OCTETS_MAX));
    }
    if let Some(most) = limit(option.max_lines) {
        if *text_lines >= most {
            return false;
        }
        line.keep_lines(most - *text_lines);
    }
    *fields += 1;
    *text_lines += line.lines();
    true
}

/// Is there a field that says who gets the message?
pub fn has_recipients(header: &[u8]) -> bool {
    header::fields(header)
        .any(|found| FORWARD.iter().any(|name| found.name.eq_ignore_ascii_case(name.as_bytes())))
}

/// What `missingrecipientpolicy` does about a header without recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingRecipients {
    /// Nothing.
    Pass,
    /// This field is put at the end of the header.
    Add(Vec<u8>),
    /// The message is refused.
    Refuse,
}

/// The field that a policy puts into a header without recipients. `recipients` are those of the envelope.
pub fn missing_recipients(policy: u32, recipients: &[String]) -> MissingRecipients {
    match policy {
        2 => MissingRecipients::Add(Line::list(b"To", recipients).octets),
        3 => MissingRecipients::Add(Line::list(b"Bcc", recipients).octets),
        4 => MissingRecipients::Add(Line::new("To", "Recipients not specified: ;").octets),
        5 => MissingRecipients::Add(b"Bcc: \r\n".to_vec()),
        6 => MissingRecipients::Refuse,
        _ => MissingRecipients::Pass,
    }
}

/// The header with the address of a login, as `authrewrite` asks for it: bit 1 adds a `Sender:` field where there is none,
/// bit 2 puts one in the place of what is there. In a header with fields of a resending it is `Resent-Sender:`. `None` is no
/// change. (Messaging Server Administration Guide, "Using Authenticated Addresses from SMTP AUTH in Header".)
pub fn authenticated_sender(header: &[u8], bits: u32, login: &str) -> Option<Vec<u8>> {
    let is_resent = |name: &[u8]| name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"Resent-"));
    let name = match header::fields(header).any(|found| is_resent(found.name)) {
        true => "Resent-Sender",
        false => "Sender",
    };
    let is_sender = |found: &header::Field<'_>| found.name.eq_ignore_ascii_case(name.as_bytes());
    let there = header::fields(header).any(|found| is_sender(&found));
    if bits & 2 == 0 && (bits & 1 == 0 || there) {
        return None;
    }
    let mut kept = Vec::with_capacity(header.len() + login.len() + 20);
    let mut from = 0;
    for found in header::fields(header).filter(is_sender) {
        kept.extend_from_slice(&header[from..found.place.start]);
        from = found.place.end;
    }
    kept.extend_from_slice(&header[from..]);
    kept.extend_from_slice(&Line::new(name, login).octets);
    Some(kept)
}

/// Whether a header line is in a standard: RFC 5322, MIME, reports, lists, X.400 gateways (RFC 2156), privacy (RFC 1421).
fn is_standard(name: &[u8]) -> bool {
    const OTHERS: [&str; 72] = [
        "Received",
        "Date",
        "Resent-Date",
        "Message-ID",
        "Resent-Message-ID",
        "In-Reply-To",
        "References",
        "Subject",
        "Comments",
        "Keywords",
        "Encrypted",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
        "Content-ID",
        "Content-Description",
        "Content-Disposition",
        "Content-Language",
        "Content-Length",
        "Content-Location",
        "Content-MD5",
        "Content-Duration",
        "Content-Return",
        "Content-Identifier",
        "Alternate-Recipient",
        "Autoforwarded",
        "Autosubmitted",
        "Auto-Submitted",
        "Conversion",
        "Conversion-With-Loss",
        "DL-Expansion-History",
        "Deferred-Delivery",
        "Delivery-Date",
        "Discarded-X400-IPMS-Extensions",
        "Discarded-X400-MTS-Extensions",
        "Disclose-Recipients",
        "Expiry-Date",
        "Expires",
        "Generate-Delivery-Report",
        "Importance",
        "Incomplete-Copy",
        "Language",
        "Latest-Delivery-Time",
        "Message-Type",
        "Obsoletes",
        "Original-Encoded-Information-Types",
        "Originator-Return-Address",
        "Prevent-NonDelivery-Report",
        "Priority",
        "Reply-By",
        "Sensitivity",
        "Supersedes",
        "Supersedes-Message-ID",
        "X400-Content-Identifier",
        "X400-Content-Return",
        "X400-Content-Type",
        "X400-MTS-Identifier",
        "X400-Originator",
        "X400-Received",
        "X400-Recipients",
        "X400-Trace",
        "List-Help",
        "List-Id",
        "List-Post",
        "List-Subscribe",
        "List-Unsubscribe",
        "Original-Recipient",
        "Encoding",
        "Organization",
        "DKIM-Signature",
        "Key-Info",
        "Proc-Type",
    ];
    kind_of_field(name).is_some() || OTHERS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

#[cfg(test)]
#[path = "finish/tests.rs"]
mod tests;
