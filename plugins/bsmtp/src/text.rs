//! Batch SMTP as text (RFC 2442): the client's half of an SMTP session, one message after the other.
//!
//! ```text
//! EHLO hub.example
//! MAIL FROM:<fred@hub.example> BODY=8BITMIME RET=HDRS ENVID=QQ+2B314159
//! RCPT TO:<ann@ship.example> NOTIFY=SUCCESS ORCPT=rfc822;ann@hub.example
//! DATA
//! (the message in wire form)
//! .
//! QUIT
//! ```
//!
//! What is written has CRLF line ends and is fit for `sendmail -bs` and `exim -bS`. What is read may have LF alone, as files made by
//! hand have. What a sender wishes to be told (RFC 3461) is written where the channel is told that the reader knows it, and always read; when
//! it wants a message released and how soon carried (RFC 4865, RFC 6710) stays with the hub that has been told. A file is read twice: once to see that it is whole and keeps to the limits, and only then to take its messages in.
//!
//! # Not here
//! Files and folders.

use std::io::{self, BufRead, Write};

use sluice_mail::{RecipientWishes, Wishes};
use sluice_smtp::command::{self, Command, Mistake};

/// Longest line of a batch. A message with a line of more than 1,000 octets is refused later; this bounds what is held.
const LINE_MAX: usize = 64 << 10;
/// The most recipients of one message.
const RECIPIENTS_MAX: usize = 100_000;

/// What a batch may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Octets of one message.
    pub(crate) message: u64,
    /// Octets of the whole batch, uncompressed.
    pub(crate) batch: u64,
}

/// A message of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parcel {
    /// Empty for the null reverse-path.
    pub(crate) sender: String,
    pub(crate) recipients: Vec<To>,
    pub(crate) smtputf8: bool,
    /// RET and ENVID.
    pub(crate) wishes: Wishes,
    /// In wire form.
    pub(crate) content: Vec<u8>,
}

/// One of its recipients.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct To {
    pub(crate) address: String,
    /// NOTIFY and ORCPT.
    pub(crate) wishes: RecipientWishes,
}

/// Why a batch is not read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// It says something that makes no sense there, on this line.
    Bad(u64, String),
    /// It ends where it must not, on this line: what a crash leaves of a message that was being written.
    Ends(u64, &'static str),
    /// The file cannot be read, or its compression is broken.
    Failed(io::Error),
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unreadable::Bad(line, why) => write!(to, "line {line}: {why}"),
            Unreadable::Ends(line, why) => write!(to, "line {line}: {why}"),
            Unreadable::Failed(error) => write!(to, "it cannot be read: {error}"),
        }
    }
}

/// The lines of an envelope.
#[derive(Debug)]
pub(crate) struct Envelope {
    mail: String,
    recipients: Vec<String>,
}

impl Envelope {
    /// Those of a message. A wish that no reader would take is left out.
    pub(crate) fn new(
        sender: &str,
        flags: Flags,
        wishes: &Wishes,
        recipients: impl Iterator<Item = (String, RecipientWishes)>,
    ) -> Envelope {
        let body = if flags.eight_bit { " BODY=8BITMIME" } else { "" };
        let utf8 = if flags.smtputf8 { " SMTPUTF8" } else { "" };
        let returned =
            wishes.returned.map(|returned| format!(" RET={}", returned.name())).unwrap_or_default();
        let envelope_id = said("ENVID", &wishes.envelope_id);
        let mail = format!("MAIL FROM:<{sender}>{body}{utf8}");
        let recipients = recipients.map(|(address, wishes)| {
            let line = format!("RCPT TO:<{address}>");
            // One that is not ASCII came with SMTPUTF8, and goes with it.
            let is_fit = wishes.original.is_ascii() || flags.smtputf8;
            let original = if is_fit { said("ORCPT", &wishes.original) } else { String::new() };
            with_wishes(line, &format!("{}{original}", said("NOTIFY", &wishes.notify.to_string())))
        });
        Envelope {
            recipients: recipients.collect(),
            mail: with_wishes(mail, &format!("{returned}{envelope_id}")),
        }
    }

    /// Whether a reader of batches understands it: a path has fewer octets than an address may have.
    pub(crate) fn fits(&self) -> bool {
        std::iter::once(&self.mail)
            .chain(&self.recipients)
            .all(|line| command::parse(line.as_bytes()).is_ok())
    }
}

/// A parameter; nothing where nothing is said.
fn said(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!(" {name}={value}") }
}

/// The line with these wishes, or without when nobody would read it with them.
fn with_wishes(line: String, wishes: &str) -> String {
    let whole = format!("{line}{wishes}");
    if command::parse(whole.as_bytes()).is_ok() { whole } else { line }
}

/// Whether a batch can begin with the name of this host.
pub(crate) fn greets(host: &str) -> bool {
    matches!(command::parse(format!("EHLO {host}").as_bytes()), Ok(Command::Ehlo(_)))
}

/// Writes the beginning of a batch.
pub(crate) fn write_head(out: &mut dyn Write, host: &str) -> io::Result<()> {
    write!(out, "EHLO {host}\r\n")
}

/// Writes a message with its envelope.
pub(crate) fn write_message<'a>(
    out: &mut dyn Write,
    envelope: &Envelope,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> io::Result<()> {
    write!(out, "{}\r\n", envelope.mail)?;
    for line in &envelope.recipients {
        write!(out, "{line}\r\n")?;
    }
    out.write_all(b"DATA\r\n")?;
    let mut last = *b"\r\n";
    for piece in pieces {
        out.write_all(piece)?;
        match piece {
            [.., before, end] => last = [*before, *end],
            [end] => last = [last[1], *end],
            [] => {}
        }
    }
    // The wire form of a message ends with a line end; an empty one has none.
    out.write_all(if last == *b"\r\n" { b".\r\n" } else { b"\r\n.\r\n" })
}

/// Writes the end of a batch.
pub(crate) fn write_end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"QUIT\r\n")
}

/// What is said behind the reverse-path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flags {
    pub(crate) eight_bit: bool,
    pub(crate) smtputf8: bool,
}

/// Reads a batch, message by message.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    from: R,
    limits: Limits,
    line: u64,
    read: u64,
    ended: bool,
    /// Where the first line ends.
    head: u64,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(from: R, limits: Limits) -> Reader<R> {
        Reader { from, limits, line: 0, read: 0, ended: false, head: 0 }
    }

    /// Octets that have been read: the end of the message that was given last.
    pub(crate) fn position(&self) -> u64 {
        self.read
    }

    /// Octets of the first line, which greets.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// The next message; `None` behind the last one.
    pub(crate) fn next(&mut self) -> Result<Option<Parcel>, Unreadable> {
        let mut parcel: Option<Parcel> = None;
        let mut line = Vec::new();
        while !self.ended {
            if !self.read_line(&mut line)? {
                self.ended = true;
                break;
            }
            // Old mailers fill files up with blank lines.
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let trimmed = line.strip_suffix(b"\n").unwrap_or(&line);
            let trimmed = trimmed.strip_suffix(b"\r").unwrap_or(trimmed);
            let bad = |why: String| Unreadable::Bad(self.line, why);
            match command::parse(trimmed) {
                Ok(Command::Helo(_) | Command::Ehlo(_) | Command::Rset) => parcel = None,
                Ok(Command::Noop) => {}
                Ok(Command::Mail { path, params }) => {
                    if parcel.is_some() {
                        return Err(bad("a second MAIL in front of DATA".to_owned()));
                    }
                    // When it is released and how soon it is carried was for the hub that it came from.
                    let wishes = Wishes { later: None, priority: None, ..params.wishes };
                    let smtputf8 = params.smtputf8;
                    parcel = Some(Parcel { sender: path.to_owned(), smtputf8, wishes, ..Parcel::default() });
                }
                Ok(Command::Rcpt { path, wishes }) => match &mut parcel {
                    Some(parcel) if parcel.recipients.len() >= RECIPIENTS_MAX => {
                        return Err(bad(format!("more than {RECIPIENTS_MAX} recipients of one message")));
                    }
                    Some(parcel) => parcel.recipients.push(To { address: path.to_owned(), wishes }),
                    None => return Err(bad("RCPT without MAIL".to_owned())),
                },
                Ok(Command::Data) => match parcel.take() {
                    Some(parcel) if !parcel.recipients.is_empty() => {
                        return Ok(Some(Parcel { content: self.content()?, ..parcel }));
                    }
                    Some(_) => return Err(bad("DATA without RCPT".to_owned())),
                    None => return Err(bad("DATA without MAIL".to_owned())),
                },
                Ok(Command::Quit) => self.ended = true,
                Ok(_) => return Err(bad(format!("`{}` has no place in a batch", shown(trimmed)))),
                // Words of older batches that ask for nothing (`TICK`, `VERB`).
                Err(_) if [&b"TICK"[..], b"VERB"].iter().any(|word| starts_with_word(trimmed, word)) => {}
                Err(_) if !line.ends_with(b"\n") => {
                    return Err(Unreadable::Ends(self.line, "the batch ends within a line"));
                }
                Err(Mistake::Answer(reply)) => {
                    return Err(bad(format!("`{}`: {reply}", shown(trimmed))));
                }
                Err(Mistake::ForeignProtocol) => {
                    return Err(bad(format!("`{}` is no command", shown(trimmed))));
                }
            }
        }
        match parcel {
            Some(_) => Err(Unreadable::Ends(self.line, "the batch ends within a message")),
            None => Ok(None),
        }
    }

    /// The lines of a message up to the one with a dot, in wire form.
    fn content(&mut self) -> Result<Vec<u8>, Unreadable> {
        let (mut content, mut line) = (Vec::new(), Vec::new());
        loop {
            if !self.read_line(&mut line)? {
                return Err(Unreadable::Ends(self.line, "the batch ends within a message"));
            }
            let Some(text) = line.strip_suffix(b"\n") else {
                return Err(Unreadable::Ends(self.line, "the batch ends within a line"));
            };
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if text == b"." {
                return Ok(content);
            }
            if content.len() as u64 + text.len() as u64 + 2 > self.limits.message {
                let why = format!("a message has more than {} octets", self.limits.message);
                return Err(Unreadable::Bad(self.line, why));
            }
            content.extend_from_slice(text);
            content.extend_from_slice(b"\r\n");
        }
    }

    /// One line with its end. `false` at the end of the batch.
    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool, Unreadable> {
        line.clear();
        self.line += 1;
        loop {
            let buffer = match self.from.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Unreadable::Failed(error)),
            };
            if buffer.is_empty() {
                return Ok(!line.is_empty());
            }
            let end = buffer.iter().position(|&octet| octet == b'\n').map(|at| at + 1);
            let count = end.unwrap_or(buffer.len());
            if line.len() + count > LINE_MAX {
                return Err(Unreadable::Bad(self.line, format!("it has more than {LINE_MAX} octets")));
            }
            line.extend_from_slice(&buffer[..count]);
            self.from.consume(count);
            self.read += count as u64;
            if self.read > self.limits.batch {
                let why = format!("the batch has more than {} octets", self.limits.batch);
                return Err(Unreadable::Bad(self.line, why));
            }
            if end.is_some() {
                if self.line == 1 {
                    self.head = self.read;
                }
                return Ok(true);
            }
        }
    }
}

fn starts_with_word(line: &[u8], word: &[u8]) -> bool {
    line.len() >= word.len()
        && line[..word.len()].eq_ignore_ascii_case(word)
        && line.get(word.len()).is_none_or(u8::is_ascii_whitespace)
}

/// A line of a stranger's, for people.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(60)]);
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_mail::{LaterRelease, Notify, Return};

    fn envelope(sender: &str, to: &[&str], flags: Flags) -> Envelope {
        let to = to.iter().map(|to| ((*to).to_owned(), RecipientWishes::default()));
        Envelope::new(sender, flags, &Wishes::default(), to)
    }

    const LIMITS: Limits = Limits { message: 1000, batch: 100_000 };

    fn told(batch: &str) -> String {
        let mut reader = Reader::new(batch.as_bytes(), LIMITS);
        let mut told = Vec::new();
        loop {
            match reader.next() {
                Ok(Some(parcel)) => {
                    let content = String::from_utf8_lossy(&parcel.content).replace("\r\n", "|");
                    let to: Vec<String> = parcel
                        .recipients
                        .iter()
                        .map(|to| {
                            let notify = said("NOTIFY", &to.wishes.notify.to_string());
                            format!("{}{notify}{}", to.address, said("ORCPT", &to.wishes.original))
                        })
                        .collect();
                    let to = to.join(" ");
                    let returned = parcel.wishes.returned.map_or("", Return::name);
                    let wishes =
                        format!("{}{}", said("RET", returned), said("ENVID", &parcel.wishes.envelope_id));
                    let utf8 = if parcel.smtputf8 { " utf8" } else { "" };
                    told.push(format!("<{}>{wishes} to {to}{utf8}: {content}", parcel.sender));
                }
                Ok(None) => return told.join("\n"),
                Err(why) => {
                    told.push(why.to_string());
                    return told.join("\n");
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut batch = Vec::new();
        write_head(&mut batch, "hub.example").unwrap();
        let plain = Flags { eight_bit: false, smtputf8: false };
        let wire = b"Subject: x\r\n\r\n..dot\r\n";
        for cut in 0..=wire.len() {
            let pieces = [&wire[..cut], &wire[cut..]];
            write_message(&mut batch, &envelope("s@a", &["r@b", "q@b"], plain), pieces.into_iter()).unwrap();
        }
        let utf8 = Flags { eight_bit: true, smtputf8: true };
        write_message(&mut batch, &envelope("", &["j\u{fc}@b"], utf8), std::iter::empty()).unwrap();
        write_end(&mut batch).unwrap();
        let text = String::from_utf8(batch).unwrap();
        let one = "<s@a> to r@b q@b: Subject: x||..dot|\n".repeat(wire.len() + 1);
        assert_eq!(told(&text), format!("{one}<> to j\u{fc}@b utf8: "));
        // As it is when somebody has edited it.
        assert_eq!(told(&text.replace("\r\n", "\n")), told(&text));
    }

    #[test]
    fn what_a_sender_wishes_is_written_and_read() {
        let wishes = Wishes {
            returned: Some(Return::Headers),
            envelope_id: "QQ+2B31".to_owned(),
            later: Some(LaterRelease::For(60)),
            ..Wishes::default()
        };
        let to = |notify: u8, original: &str| RecipientWishes {
            notify: Notify::from_bits(notify).unwrap(),
            original: original.to_owned(),
        };
        let recipients = [
            ("r@b".to_owned(), to(10, "rfc822;r+2Bx@c")),
            ("q@b".to_owned(), to(1, "")),
            ("p@b".to_owned(), to(0, "utf-8;j\u{fc}@b")),
            ("o@b".to_owned(), to(0, "no type")),
        ];
        let plain = Flags { eight_bit: false, smtputf8: false };
        let mut batch = Vec::new();
        let envelope = Envelope::new("s@a", plain, &wishes, recipients.into_iter());
        assert!(envelope.fits(), "what cannot be written of the wishes is left out, and the mail goes");
        write_message(&mut batch, &envelope, [&b"x\r\n"[..]].into_iter()).unwrap();
        let text = String::from_utf8(batch).unwrap();
        assert!(!text.contains("HOLDFOR"), "{text}");
        assert_eq!(
            told(&text),
            "<s@a> RET=HDRS ENVID=QQ+2B31 to r@b NOTIFY=SUCCESS,DELAY ORCPT=rfc822;r+2Bx@c q@b NOTIFY=NEVER p@b o@b: x|"
        );
        // What asks for something that no batch can give is read, and means nothing.
        let asks = "MAIL FROM:<a@b> HOLDFOR=60 MT-PRIORITY=3 RET=FULL\nRCPT TO:<c@d>\nDATA\nhi\n.\n";
        assert_eq!(told(asks), "<a@b> RET=FULL to c@d: hi|");
        for bad in ["MAIL FROM:<a@b> RET=SOME\n", "MAIL FROM:<a@b>\nRCPT TO:<c@d> NOTIFY=NEVER,DELAY\n"] {
            assert!(told(bad).starts_with("line "), "{}", told(bad));
        }
    }

    #[test]
    fn batches_made_by_hand_and_by_older_programs_are_read() {
        let batch = "\nHELO x\nVERB ON\nTICK 17\nmail from:<a@b>\nrcpt to:<c@d>\ndata\nhi\n.\n\nRSET\nNOOP\nMAIL FROM:<>\nRSET\nMAIL FROM:<e@f>\nRCPT TO:<g@h>\nDATA\n.\n";
        assert_eq!(told(batch), "<a@b> to c@d: hi|\n<e@f> to g@h: ");
        assert_eq!(
            told("MAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\nx\n.\nQUIT\nwhatever stands behind"),
            "<a@b> to c@d: x|"
        );
        assert_eq!(told(""), "");
    }

    #[test]
    fn what_a_reader_would_refuse_is_known_before_it_is_written() {
        let long = format!("{}@ship.example", "x".repeat(600));
        let fits = |sender: &str, to: &[&str], smtputf8| {
            envelope(sender, to, Flags { eight_bit: false, smtputf8 }).fits()
        };
        assert!(fits("", &["a@b", "j\u{fc}@b"], true));
        assert!(fits("s@a", &["a@b"], false));
        assert!(!fits("s@a", &["a@b", &long], false));
        assert!(!fits(&long, &["a@b"], false));
        assert!(greets("hub.example") && greets("[192.0.2.1]"));
        assert!(!greets("h\u{fc}b.example") && !greets(&"x".repeat(2000)));
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_line() {
        let long = format!("MAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\n{}\n.\n", "x".repeat(LINE_MAX));
        let large = format!("MAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\n{}.\n", "x\n".repeat(500));
        let endless = "NOOP\n".repeat(30_000);
        for (batch, expected) in [
            ("DATA\n", "line 1: DATA without MAIL"),
            ("RCPT TO:<a@b>\n", "line 1: RCPT without MAIL"),
            ("MAIL FROM:<a@b>\nDATA\n", "line 2: DATA without RCPT"),
            ("MAIL FROM:<a@b>\nMAIL FROM:<a@b>\n", "line 2: a second MAIL in front of DATA"),
            ("MAIL FROM:<a@b>\nRCPT TO:<c@d>\n", "line 3: the batch ends within a message"),
            ("MAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\nhi\n", "line 5: the batch ends within a message"),
            ("MAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\nhi", "line 4: the batch ends within a line"),
            ("ETRN x\n", "line 1: `ETRN x` has no place in a batch"),
            ("GET / HTTP/1.1\n", "line 1: `GET / HTTP/1.1` is no command"),
            ("\u{0}\n", "line 1: `\\0`: "),
            (&long, "line 4: it has more than 65536 octets"),
            (&large, "line 337: a message has more than 1000 octets"),
            (&endless, "line 20001: the batch has more than 100000 octets"),
        ] {
            let found = told(batch);
            let start = &batch[..batch.len().min(60)];
            assert!(found.starts_with(expected), "{start:?}: {found}");
        }
    }
}
