//! Somebody who passes an SMTP dialogue on, and follows it: is anything under way, and does the client take its leave?
//!
//! A connection that has roles turned (ATRN) serves one client after the other: the far side is one server to them all. So
//! whoever stands in between keeps back QUIT, which would end the connection for those that are still to come, and lets
//! another client in only where the one before has left nothing half done.
//!
//! # Promises
//! Commands are passed on by whole lines, content at once. While the dialogue is *sound*, a QUIT is never passed on, and
//! [`Onlooker::is_between`] is true only where the next octet of a client will be taken for the beginning of a command.
//! # Failure
//! What cannot be followed (a reply that nobody asked for, a change to TLS, a line without end) makes the dialogue unsound,
//! for good: everything is passed on then as it is, and no other client may follow.
//! # Not here
//! Sockets; what the two say, but for that.

use std::collections::VecDeque;

use memchr::memchr;

use crate::reply::ReplyReader;

/// Longest command line that is followed. RFC 5321 section 4.5.3.1 and its extensions come to about 2,500 octets.
const LINE_MAX: usize = 16 * 1024;
/// Most commands that may be without a reply: a client that does not read replies cannot make us count for ever.
const ASKED_MAX: usize = 64 * 1024;

/// A command that has no reply yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// DATA: 354 lets the content begin.
    Data,
    Other,
}

/// Content of a message on its way from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    None,
    /// Behind DATA, to the line with the dot.
    Lines(At),
    /// Behind BDAT: so many octets are to come.
    Chunk(u64),
}

/// Where in a line of content we are, as far as the end depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Dot,
    DotCr,
    Cr,
    Within,
}

/// Follows the dialogue of one server, which has greeted, with one client after the other.
#[derive(Debug)]
pub struct Onlooker {
    replies: ReplyReader,
    asked: VecDeque<Asked>,
    content: Content,
    /// The beginning of a command line.
    line: Vec<u8>,
    has_quit: bool,
    is_sound: bool,
}

impl Default for Onlooker {
    fn default() -> Self {
        Self::new()
    }
}

impl Onlooker {
    /// Nobody has said anything behind the greeting.
    #[must_use]
    pub fn new() -> Self {
        Self {
            replies: ReplyReader::new(),
            asked: VecDeque::new(),
            content: Content::None,
            line: Vec::new(),
            has_quit: false,
            is_sound: true,
        }
    }

    /// Whether all that was said could be followed.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// Nothing is under way: another client may begin, with EHLO, which also ends what this one may have begun with MAIL
    /// (RFC 5321 section 4.1.4).
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.is_sound
            && self.content == Content::None
            && self.asked.is_empty()
            && !self.replies.is_within_reply()
    }

    /// The client has said QUIT; whatever it says behind that goes nowhere. Whoever passes the dialogue on answers for the
    /// server as soon as it has answered everything else.
    #[must_use]
    pub const fn has_quit(&self) -> bool {
        self.has_quit
    }

    /// Another client has the connection from here on.
    pub fn next_client(&mut self) {
        debug_assert!(self.is_between(), "a client is let in while something is under way");
        self.line.clear();
        self.has_quit = false;
    }

    /// The client says this; what is to be passed on is appended to `out`.
    pub fn client(&mut self, mut octets: &[u8], out: &mut Vec<u8>) {
        while self.is_sound && !self.has_quit && !octets.is_empty() {
            let taken = match self.content {
                Content::None => {
                    self.command(&mut octets, out);
                    continue;
                }
                Content::Chunk(left) => {
                    let taken = usize::try_from(left).map_or(octets.len(), |left| left.min(octets.len()));
                    let left = left - taken as u64;
                    self.content = if left == 0 { Content::None } else { Content::Chunk(left) };
                    taken
                }
                Content::Lines(at) => match at.go(octets) {
                    (taken, Some(at)) => {
                        self.content = Content::Lines(at);
                        taken
                    }
                    (taken, None) => {
                        self.content = Content::None;
                        self.asked.push_back(Asked::Other);
                        taken
                    }
                },
            };
            let (content, rest) = octets.split_at(taken);
            out.extend_from_slice(content);
            octets = rest;
        }
        if !self.is_sound {
            out.append(&mut self.line);
            out.extend_from_slice(octets);
        }
    }

    /// The server says this.
    pub fn server(&mut self, mut octets: &[u8]) {
        while self.is_sound && !octets.is_empty() {
            match self.replies.read(&mut octets) {
                Ok(None) => {}
                Ok(Some(reply)) => match self.asked.pop_front() {
                    Some(Asked::Data) if reply.code == 354 => self.content = Content::Lines(At::Start),
                    // 421 may be the answer to anything, and is the last one (RFC 5321 section 3.8).
                    Some(_) if reply.code != 421 => {}
                    _ => self.is_sound = false,
                },
                Err(_) => self.is_sound = false,
            }
        }
    }

    /// Takes a command line, or a part of one, from the front.
    fn command(&mut self, octets: &mut &[u8], out: &mut Vec<u8>) {
        if self.asked.back() == Some(&Asked::Data) {
            // Whether this is content depends on a reply that is still to come: a client must wait for it.
            self.is_sound = false;
            return;
        }
        let end = memchr(b'\n', octets);
        let (piece, rest) = octets.split_at(end.map_or(octets.len(), |end| end + 1));
        *octets = rest;
        self.line.extend_from_slice(piece);
        if end.is_none() {
            self.is_sound = self.line.len() <= LINE_MAX;
            return;
        }
        let mut words = self.line.split(|octet| octet.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_slice() {
            b"QUIT" => {
                self.has_quit = true;
                return self.line.clear();
            }
            // After these it is no longer lines that are exchanged.
            b"STARTTLS" | b"AUTH" => self.is_sound = false,
            b"BDAT" => match words.next().and_then(|size| std::str::from_utf8(size).ok()?.parse().ok()) {
                Some(0) => {}
                Some(size) => self.content = Content::Chunk(size),
                None => self.is_sound = false,
            },
            _ => {}
        }
        let asked = if verb == b"DATA" { Asked::Data } else { Asked::Other };
        self.asked.push_back(asked);
        self.is_sound &= self.line.len() <= LINE_MAX && self.asked.len() <= ASKED_MAX;
        out.append(&mut self.line);
    }
}

impl At {
    /// Goes over content. How much of it was taken, and where in a line that ends; `None` behind the line with the dot. Only
    /// CR LF `.` CR LF is the end.
    fn go(mut self, octets: &[u8]) -> (usize, Option<At>) {
        let mut at = 0;
        while let Some(&octet) = octets.get(at) {
            at += 1;
            self = match (self, octet) {
                (At::DotCr, b'\n') => return (at, None),
                (At::Cr, b'\n') => At::Start,
                (At::Start, b'.') => At::Dot,
                (At::Dot, b'\r') => At::DotCr,
                (_, b'\r') => At::Cr,
                _ => {
                    at += memchr(b'\r', &octets[at..]).unwrap_or(octets.len() - at);
                    At::Within
                }
            };
        }
        (octets.len(), Some(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a dialogue comes to: lines `C: …` and `S: …`, with `\n` for CR LF; what was passed on, and how it stands.
    fn follow(dialogue: &str, piece: usize) -> String {
        let mut onlooker = Onlooker::new();
        let mut passed = Vec::new();
        for line in dialogue.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (who, text) = line.split_at(2);
            let octets = text.trim_start().replace("\\n", "\r\n").into_bytes();
            for piece in octets.chunks(piece) {
                match who {
                    "C:" => onlooker.client(piece, &mut passed),
                    _ => onlooker.server(piece),
                }
            }
        }
        let stands = match (onlooker.is_sound(), onlooker.is_between(), onlooker.has_quit()) {
            (false, ..) => "unsound",
            (_, true, true) => "between, has quit",
            (_, true, false) => "between",
            (_, false, true) => "within, has quit",
            (_, false, false) => "within",
        };
        format!("{} | {stands}", String::from_utf8(passed).unwrap().replace("\r\n", "\\n"))
    }

    /// The same in pieces of all sizes.
    fn follows(dialogue: &str) -> String {
        let whole = follow(dialogue, usize::MAX);
        for piece in [1, 2, 3, 7] {
            assert_eq!(follow(dialogue, piece), whole, "in pieces of {piece}");
        }
        whole
    }

    #[test]
    fn quit_stays_here_and_what_is_before_it_goes_on() {
        assert_eq!(follows("C: EHLO a\\n\nS: 250-b\\n250 X\\n"), "EHLO a\\n | between");
        assert_eq!(follows("C: EHLO a\\n"), "EHLO a\\n | within");
        assert_eq!(follows("C: EHLO a\\n\nS: 250 b\\n\nC: quit \\nNOOP\\n"), "EHLO a\\n | between, has quit");
        assert_eq!(follows("C: NOOP\\nQUIT\\n"), "NOOP\\n | within, has quit");
        assert_eq!(follows("C: NOOP\\nQUIT\\n\nS: 250 b\\n"), "NOOP\\n | between, has quit");
    }

    #[test]
    fn half_a_command_is_kept_and_half_a_reply_is_something_under_way() {
        assert_eq!(follows("C: NOO"), " | between");
        assert_eq!(follows("C: NOOP\\n\nS: 250-a\\n250"), "NOOP\\n | within");
    }

    #[test]
    fn content_is_not_commands() {
        let open = "C: MAIL FROM:<>\\nRCPT TO:<a@b>\\nDATA\\n\nS: 250 a\\n250 b\\n354 c\\n\n";
        let passed = "MAIL FROM:<>\\nRCPT TO:<a@b>\\nDATA\\n";
        for content in ["QUIT\\n", "x\\nQUIT\\n..\\n", "\\n.x\\n", "x.\\n"] {
            let dialogue = format!("{open}C: {content}");
            assert_eq!(follows(&dialogue), format!("{passed}{content} | within"));
        }
        assert_eq!(follows(&format!("{open}C: x\\n.\\n")), format!("{passed}x\\n.\\n | within"));
        assert_eq!(follows(&format!("{open}C: .\\nQUIT\\n")), format!("{passed}.\\n | within, has quit"));
        assert_eq!(
            follows(&format!("{open}C: x\\n.\\nRSET\\n\nS: 250 d\\n250 e\\n")),
            format!("{passed}x\\n.\\nRSET\\n | between")
        );
        // A lone LF and a lone CR end nothing.
        let mut bare = Vec::new();
        let mut onlooker = Onlooker::new();
        onlooker.client(b"DATA\r\n", &mut bare);
        onlooker.server(b"354 go on\r\n");
        onlooker.client(b"x\n.\nQUIT\r\n.\nQUIT\r\n\r.\r\n", &mut bare);
        assert!(!onlooker.has_quit() && !onlooker.is_between() && onlooker.is_sound());
    }

    #[test]
    fn data_that_is_refused_is_followed_by_commands() {
        assert_eq!(follows("C: DATA\\n\nS: 503 no\\n\nC: QUIT\\n"), "DATA\\n | between, has quit");
    }

    #[test]
    fn chunks_are_counted() {
        assert_eq!(follows("C: BDAT 6 LAST\\nQUIT\\n"), "BDAT 6 LAST\\nQUIT\\n | within");
        assert_eq!(
            follows("C: BDAT 8\\nQUIT\\n\\nBDAT 0 LAST\\n\nS: 250 a\\n250 b\\n"),
            "BDAT 8\\nQUIT\\n\\nBDAT 0 LAST\\n | between"
        );
        assert_eq!(follows("C: BDAT 8\\nQUI\nS: 500 what\\n"), "BDAT 8\\nQUI | within");
    }

    #[test]
    fn what_cannot_be_followed_is_passed_on_and_nobody_may_come_after() {
        for (dialogue, passed) in [
            ("C: NOOP\\n\nS: 250 a\\n250 b\\n\nC: QUIT\\n", "NOOP\\nQUIT\\n"),
            ("C: NOOP\\n\nS: 421 going\\n\nC: QUIT\\n", "NOOP\\nQUIT\\n"),
            ("C: NOOP\\n\nS: what\\n", "NOOP\\n"),
            ("C: STARTTLS\\n\nS: 220 go\\n\nC: \u{16}\u{3}", "STARTTLS\\n\u{16}\u{3}"),
            ("C: BDAT many\\n", "BDAT many\\n"),
            ("C: DATA\\nQUIT\\n", "DATA\\nQUIT\\n"),
        ] {
            assert_eq!(follows(dialogue), format!("{passed} | unsound"), "{dialogue}");
        }
        let long = "x".repeat(LINE_MAX + 1);
        assert_eq!(follows(&format!("C: {long}")), format!("{long} | unsound"));
    }

    #[test]
    fn another_client_begins_anew() {
        let mut onlooker = Onlooker::new();
        let mut passed = Vec::new();
        onlooker.client(b"NOOP\r\nQUIT\r\n", &mut passed);
        onlooker.server(b"250 fine\r\n");
        onlooker.next_client();
        onlooker.client(b"EHLO b\r\n", &mut passed);
        assert_eq!(passed, b"NOOP\r\nEHLO b\r\n");
        assert!(!onlooker.is_between() && !onlooker.has_quit());
    }
}
