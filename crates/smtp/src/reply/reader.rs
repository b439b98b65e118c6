//! Reads the replies of another server, from bytes that come in any split.
//!
//! Lenient where real servers need it (LF alone, no text behind the code, a bare code), strict where a wrong guess would
//! put replies out of step with commands (the code changes within one reply, no digits at all).

use std::borrow::Cow;

use memchr::memchr;
use sluice_mail::Status;

use super::Reply;

/// Most lines a reply may have. An EHLO reply of the busiest servers has about twenty.
pub const REPLY_LINES_MAX: usize = 128;
/// Most octets of one reply. RFC 5321 allows 512 a line; long texts beyond it are seen in the wild.
pub const REPLY_OCTETS_MAX: usize = 32 * 1024;

/// Why bytes are not a reply. The connection is out of step: nothing more can be said on it but goodbye.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The line has no reply code at its start.
    #[error("not an SMTP reply: {0:?}")]
    NoCode(String),
    /// A multi-line reply changes its code.
    #[error("a reply that began with code {first} goes on with {then}")]
    CodeChanged {
        /// Code of the first line.
        first: u16,
        /// Code of the line that differs.
        then: u16,
    },
    /// More than [`REPLY_OCTETS_MAX`] octets or [`REPLY_LINES_MAX`] lines.
    #[error("reply longer than {REPLY_OCTETS_MAX} octets or {REPLY_LINES_MAX} lines")]
    TooLong,
}

/// Collects the lines of one reply after the other.
#[derive(Debug, Default)]
pub struct ReplyReader {
    /// Octets of the line that has no end yet.
    line: Vec<u8>,
    reply: Option<Reply>,
    octets: usize,
}

impl ReplyReader {
    /// A reader at the start of a reply.
    pub fn new() -> ReplyReader {
        ReplyReader::default()
    }

    /// Part of a reply has been read. A connection that closes now broke off in the middle.
    pub fn is_within_reply(&self) -> bool {
        self.reply.is_some() || !self.line.is_empty()
    }

    /// Takes octets from the front of `bytes` until a reply is complete or nothing is left.
    ///
    /// The rest stays in `bytes` for the next call: with PIPELINING several replies arrive together.
    pub fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Reply>, ReplyError> {
        while !bytes.is_empty() {
            let taken = memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
            self.octets += taken;
            if self.octets > REPLY_OCTETS_MAX {
                return Err(ReplyError::TooLong);
            }
            let (piece, rest) = bytes.split_at(taken);
            *bytes = rest;
            self.line.extend_from_slice(piece);
            if self.line.last() == Some(&b'\n') {
                let mut line = std::mem::take(&mut self.line);
                let complete = self.take_line(&line)?;
                line.clear();
                self.line = line;
                if complete {
                    self.octets = 0;
                    return Ok(self.reply.take().map(finish));
                }
            }
        }
        Ok(None)
    }

    /// Adds one line with its end; true when it was the last of its reply.
    fn take_line(&mut self, line: &[u8]) -> Result<bool, ReplyError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let no_code =
            || ReplyError::NoCode(String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned());
        let (code, behind) = match line {
            [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', behind @ ..] => {
                let digit = |octet: &u8| u16::from(octet - b'0');
                (digit(a) * 100 + digit(b) * 10 + digit(c), behind)
            }
            _ => return Err(no_code()),
        };
        let (last, text) = match behind {
            [] => (true, behind),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(no_code()),
        };
        let reply = self.reply.get_or_insert_with(|| Reply { code, status: None, lines: Vec::new() });
        if reply.code != code {
            return Err(ReplyError::CodeChanged { first: reply.code, then: code });
        }
        if reply.lines.len() == REPLY_LINES_MAX {
            return Err(ReplyError::TooLong);
        }
        reply.lines.push(Cow::Owned(String::from_utf8_lossy(text).into_owned()));
        Ok(last)
    }
}

/// Takes the enhanced code out of the lines, when the first line has one of the reply's class.
fn finish(mut reply: Reply) -> Reply {
    let Some(status) = reply.lines.first().and_then(|line| split_status(line)).map(|(status, _)| status)
    else {
        return reply;
    };
    if u16::from(status.class) != reply.code / 100 {
        return reply;
    }
    reply.status = Some(status);
    for line in &mut reply.lines {
        if let Some((same, text)) = split_status(line)
            && same == status
        {
            *line = Cow::Owned(text.to_owned());
        }
    }
    reply
}

/// The enhanced code at the start of a text, and what follows its blank.
fn split_status(line: &str) -> Option<(Status, &str)> {
    let (word, text) = line.split_once(' ').unwrap_or((line, ""));
    Some((word.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8], split: usize) -> Result<Vec<String>, ReplyError> {
        let mut reader = ReplyReader::new();
        let mut replies = Vec::new();
        for mut piece in bytes.chunks(split) {
            while let Some(reply) = reader.read(&mut piece)? {
                replies.push(format!(
                    "{:?} {:?} {:?}",
                    reply.code,
                    reply.status.map(|s| s.to_string()),
                    reply.lines
                ));
            }
        }
        assert!(!reader.is_within_reply());
        Ok(replies)
    }

    #[test]
    fn any_split_gives_the_same_replies() {
        let bytes = b"220 mx.example ESMTP\r\n250-mx.example\r\n250-SIZE 100\r\n250 PIPELINING\r\n\
            550-5.7.509 Access denied\r\n550 5.7.509 see elsewhere\r\n354\r\n250 \n421 4.3.2";
        let bytes = [bytes.as_slice(), b"\r\n"].concat();
        let expected = read_all(&bytes, bytes.len()).unwrap();
        insta::assert_snapshot!(expected.join("\n"), @r#"
        220 None ["mx.example ESMTP"]
        250 None ["mx.example", "SIZE 100", "PIPELINING"]
        550 Some("5.7.509") ["Access denied", "see elsewhere"]
        354 None [""]
        250 None [""]
        421 Some("4.3.2") [""]
        "#);
        for split in 1..bytes.len() {
            assert_eq!(read_all(&bytes, split).unwrap(), expected, "split every {split}");
        }
    }

    #[test]
    fn an_enhanced_code_of_another_class_is_text() {
        assert_eq!(read_all(b"250 5.1.1 odd\r\n", 99).unwrap(), [r#"250 None ["5.1.1 odd"]"#]);
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for bytes in [
            &b"hello\r\n"[..],
            b"\r\n",
            b"25\r\n",
            b"250_x\r\n",
            b"199 a\r\n",
            b"600 a\r\n",
            b"2500\r\n",
            b"SSH-2.0-x\r\n",
        ] {
            assert!(matches!(read_all(bytes, 99), Err(ReplyError::NoCode(_))), "{bytes:?}");
        }
        assert_eq!(
            read_all(b"250-a\r\n550 b\r\n", 99),
            Err(ReplyError::CodeChanged { first: 250, then: 550 })
        );
    }

    #[test]
    fn a_reply_without_end_is_cut_off() {
        let mut reader = ReplyReader::new();
        let endless = vec![b'2'; REPLY_OCTETS_MAX + 1];
        assert_eq!(reader.read(&mut endless.as_slice()), Err(ReplyError::TooLong));
        let lines = b"250-x\r\n".repeat(REPLY_LINES_MAX + 1);
        assert_eq!(ReplyReader::new().read(&mut lines.as_slice()), Err(ReplyError::TooLong));
    }

    #[test]
    fn what_we_write_is_what_we_read() {
        let reply = Reply::new(550, Status::new(5, 7, 1), "no").and("never");
        let mut reader = ReplyReader::new();
        assert_eq!(reader.read(&mut reply.to_bytes().as_slice()), Ok(Some(reply)));
    }

    #[test]
    fn an_oracle_agrees_on_ordinary_replies() {
        for text in ["250 2.1.5 fine\r\n", "450-4.2.0 a\r\n450 4.2.0 b\r\n", "354 go\r\n", "554 no\r\n"] {
            let other = smtp_proto::response::parser::ResponseReceiver::default()
                .parse(&mut text.as_bytes().iter())
                .unwrap();
            let ours = ReplyReader::new().read(&mut text.as_bytes()).unwrap().unwrap();
            assert_eq!(ours.code, other.code);
            assert_eq!(ours.lines.join("\n"), other.message);
            let esc = ours.status.map_or([0; 3], |s| [s.class, s.subject as u8, s.detail as u8]);
            assert_eq!(esc, other.esc);
        }
    }
}
