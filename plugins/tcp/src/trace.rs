//! Every step of a connection in the log, for a channel with `master_debug`.
//!
//! What is said on both sides is written as it goes over the wire, line by line; message content is not, nor what
//! authenticates us.

use std::fmt;
use std::sync::Arc;

use sluice_sdk::Level;

/// Where a worker writes what is not about a message.
pub(crate) type Log = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// Longest line that is shown; a peer may send more.
const SHOWN_MAX: usize = 1000;

/// The trace of one connection; silent without `master_debug`.
#[derive(Default)]
pub(crate) struct Trace {
    log: Option<Log>,
    peer: String,
    /// A line that has not come to its end.
    heard: Vec<u8>,
    /// The server has asked for a secret (334, RFC 4954 section 4).
    is_secret: bool,
}

impl fmt::Debug for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Trace").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Trace {
    pub(crate) fn new(log: Option<Log>, peer: &str) -> Trace {
        Trace { log, peer: peer.to_owned(), ..Trace::default() }
    }

    /// A step that is no line of either side.
    pub(crate) fn step(&self, text: &str) {
        if let Some(log) = &self.log {
            log(Level::Info, &format!("{}: {text}", self.peer));
        }
    }

    /// Commands that go out.
    pub(crate) fn sent(&self, bytes: &[u8]) {
        if self.log.is_none() {
            return;
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = shown(line);
            let mut words = line.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                _ if self.is_secret => self.step("> (not shown)"),
                (Some(verb), Some(how), Some(_)) if verb.eq_ignore_ascii_case("AUTH") => {
                    self.step(&format!("> {verb} {how} (not shown)"));
                }
                _ => self.step(&format!("> {line}")),
            }
        }
    }

    /// Bytes that came in.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        if self.log.is_none() {
            return;
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = SHOWN_MAX.saturating_sub(self.heard.len()).min(part.len());
            self.heard.extend_from_slice(&part[..room]);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.heard);
                self.is_secret = line.starts_with(b"334");
                self.step(&format!("< {}", shown(&line)));
            }
        }
    }
}

/// A line without its end, fit for a log.
fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line.trim_ascii_end()).escape_debug().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn both_sides_are_shown_line_by_line_and_no_secret() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log: Log = Arc::new({
            let seen = Arc::clone(&seen);
            move |_, text: &str| seen.lock().unwrap().push(text.to_owned())
        });
        let mut trace = Trace::new(Some(log), "mx");
        trace.received(b"220 mx\r\n250-a\r");
        trace.received(b"\n250 \x1bb\r\n");
        trace.sent(b"MAIL FROM:<s@a>\r\nRCPT TO:<r@b>\r\n");
        trace.sent(b"AUTH PLAIN c2VjcmV0\r\n");
        trace.sent(b"AUTH LOGIN\r\n");
        trace.received(b"334 VXNlcg==\r\n");
        trace.sent(b"c2VjcmV0\r\n");
        trace.received(b"235 ok\r\n");
        trace.sent(b"QUIT\r\n");
        assert_eq!(
            seen.lock().unwrap().as_slice(),
            [
                "mx: < 220 mx",
                "mx: < 250-a",
                "mx: < 250 \\u{1b}b",
                "mx: > MAIL FROM:<s@a>",
                "mx: > RCPT TO:<r@b>",
                "mx: > AUTH PLAIN (not shown)",
                "mx: > AUTH LOGIN",
                "mx: < 334 VXNlcg==",
                "mx: > (not shown)",
                "mx: < 235 ok",
                "mx: > QUIT"
            ]
        );
        let mut silent = Trace::default();
        silent.received(b"220 mx\r\n");
        assert!(silent.heard.is_empty());
    }
}
