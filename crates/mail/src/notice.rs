//! Delivery status notifications: the message that tells a sender what could not be delivered, or not yet.
//!
//! [`Notice`] holds the facts and [`Notice::build`] makes the message of them: a `multipart/report` (RFC 6522) of a text
//! for people, a `message/delivery-status` for programs (RFC 3464), and the original message or its header.
//!
//! # Invariants
//! The result has CR LF line ends, no line longer than 998 octets of ours, and no header field that was not put there by
//! this module: control characters of replies and addresses never reach it.
//! # Not here
//! Whether a notice is due, and sending it. The transparency dots ([`crate::wire::stuff`]).

mod text;

use crate::{LaterRelease, Status, Time, rfc5322_date};

/// What became of one recipient (RFC 3464 section 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is given up.
    Failed,
    /// It is still being tried.
    Delayed,
    /// It was delivered.
    Delivered,
    /// It was handed to a system that makes no reports.
    Relayed,
    /// It stood for several addresses, to which the message goes on.
    Expanded,
}

impl Action {
    /// All of them, in the order in which a notice tells them.
    pub const ALL: [Action; 5] =
        [Action::Failed, Action::Delayed, Action::Delivered, Action::Relayed, Action::Expanded];

    const fn name(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delayed => "delayed",
            Action::Delivered => "delivered",
            Action::Relayed => "relayed",
            Action::Expanded => "expanded",
        }
    }
}

/// One recipient in a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// As the sender gave it; empty when it is not known.
    pub original: String,
    /// As it was where the message began, with its type in front (ORCPT, decoded: `rfc822; a@b`); empty when that was not
    /// told.
    pub origin: String,
    /// As it was at the end.
    pub final_address: String,
    /// What became of it.
    pub action: Action,
    /// The enhanced code.
    pub status: Status,
    /// The remote reply with its code, or our own words.
    pub diagnostic: String,
    /// Who said so; empty when it was this system.
    pub peer: String,
    /// When it was last tried, if ever.
    pub last_attempt: Option<Time>,
    /// Until when it is tried, for [`Action::Delayed`].
    pub retry_until: Option<Time>,
}

/// What is returned of the original message. Plain text: without transparency dots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Returned {
    /// Its header (RFC 6522 section 4, `text/rfc822-headers`).
    Header(Vec<u8>),
    /// Its header and the first lines of its body (`message/rfc822`).
    Beginning(Vec<u8>),
    /// All of it (`message/rfc822`).
    Message(Vec<u8>),
}

impl Returned {
    /// Most octets of a header that are returned; a longer one is cut at the end of a line.
    pub const HEADER_SIZE_MAX: usize = 64 * 1024;

    /// The whole message when it has at most `limit` octets, else its header. Stops reading pieces as soon as that is
    /// decided, so that a large message is never wholly in memory.
    pub fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Returned {
        let kept = first_octets(pieces, limit.max(Returned::HEADER_SIZE_MAX) + 1);
        if kept.len() <= limit { Returned::Message(kept) } else { Returned::header_of(kept) }
    }

    /// The header and at most so many `lines` of the body, as a warning holds them: the message itself will still come.
    pub fn sample<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, lines: u32) -> Returned {
        let most = Returned::HEADER_SIZE_MAX + SAMPLE_SIZE_MAX;
        let mut kept = first_octets(pieces, most + 1);
        let body = header_end(&kept) + 2;
        if lines == 0 || body > Returned::HEADER_SIZE_MAX {
            return Returned::header_of(kept);
        }
        let mut ends = memchr::memmem::find_iter(kept.get(body..).unwrap_or_default(), b"\r\n");
        let end = usize::try_from(lines - 1).ok().and_then(|last| ends.nth(last)).map(|at| body + at + 2);
        match end {
            Some(end) if end < kept.len() => kept.truncate(end),
            _ if kept.len() <= most => return Returned::Message(kept),
            _ => cut_at_line(&mut kept, most),
        }
        Returned::Beginning(kept)
    }

    fn header_of(mut message: Vec<u8>) -> Returned {
        let end = header_end(&message);
        message.truncate(end);
        if end > Returned::HEADER_SIZE_MAX {
            cut_at_line(&mut message, Returned::HEADER_SIZE_MAX);
        }
        Returned::Header(message)
    }
}

/// Most octets of a body in a warning, however long its lines are.
const SAMPLE_SIZE_MAX: usize = 16 * 1024;

/// The beginning of a message, of at most so many octets; no more pieces are taken than needed.
fn first_octets<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, most: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    for piece in pieces {
        kept.extend_from_slice(&piece[..piece.len().min(most - kept.len())]);
        if kept.len() == most {
            break;
        }
    }
    kept
}

/// Where the empty line is, or the end of what has none.
fn header_end(message: &[u8]) -> usize {
    match memchr::memmem::find(message, b"\r\n\r\n") {
        _ if message.starts_with(b"\r\n") => 0,
        Some(end) => end + 2,
        None => message.len(),
    }
}

/// Leaves whole lines of at most `most` octets together.
fn cut_at_line(text: &mut Vec<u8>, most: usize) {
    text.truncate(most);
    let last_line = memchr::memmem::rfind(text, b"\r\n").map_or(0, |at| at + 2);
    text.truncate(last_line);
}

/// Who notices come from where nothing else is said.
pub const PERSONAL_NAME: &str = "Mail Delivery System";

/// The facts of a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The name of this system.
    pub reporting_mta: String,
    /// Who is told: the return path of the original.
    pub sender: String,
    /// Whom people write to about it; also the author of the notice.
    pub postmaster: String,
    /// The name that goes with that address; empty for [`PERSONAL_NAME`].
    pub personal: String,
    /// `Message-ID` of the notice, with or without its angle brackets.
    pub message_id: String,
    /// Date of the notice.
    pub date: Time,
    /// When the original was accepted here.
    pub arrived: Time,
    /// Envelope identifier the sender gave (RFC 3461, ENVID), decoded; empty when there was none.
    pub envelope_id: String,
    /// The later release that the sender asked for (RFC 4865).
    pub later: Option<LaterRelease>,
    /// Who it is about.
    pub recipients: Vec<Report>,
    /// What is returned of the original.
    pub returned: Returned,
}

impl Notice {
    /// The notice as a message: CR LF line ends, not dot-stuffed. It holds octets above 127 only when the original or an
    /// address does; the caller looks for them to set the flags of its envelope.
    pub fn build(&self) -> Vec<u8> {
        let (returned, type_of_returned) = match &self.returned {
            Returned::Header(header) => (text::with_line_ends(header), "text/rfc822-headers"),
            Returned::Beginning(message) | Returned::Message(message) => {
                (text::with_line_ends(message), "message/rfc822")
            }
        };
        let boundary = self.boundary(&returned);
        let eight_bit = !returned.is_ascii();
        let encoding = if eight_bit { "8bit" } else { "7bit" };

        let mut out = text::Writer::with_capacity(returned.len() + 4096);
        let personal = if self.personal.is_empty() { PERSONAL_NAME } else { &self.personal };
        out.field("From", &format!("{} <{}>", text::phrase(personal), text::address(&self.postmaster)));
        out.field("To", &format!("<{}>", text::address(&self.sender)));
        out.field("Subject", self.subject());
        out.field("Date", &rfc5322_date(self.date));
        let id = text::address(&self.message_id);
        out.field("Message-ID", &format!("<{}>", id.trim_matches(['<', '>'])));
        out.field("Auto-Submitted", "auto-replied");
        out.field("MIME-Version", "1.0");
        let report = format!("multipart/report; report-type=delivery-status; boundary=\"{boundary}\"");
        out.field("Content-Type", &report);
        out.field("Content-Transfer-Encoding", encoding);
        out.line("");
        out.line("This is a notice in MIME format about a message you sent.");
        out.line("");

        out.line(&format!("--{boundary}"));
        out.field("Content-Description", "Notification");
        self.for_people(&mut out);
        out.line("");

        out.line(&format!("--{boundary}"));
        out.field("Content-Description", "Delivery report");
        out.field("Content-Type", "message/delivery-status");
        out.line("");
        self.for_programs(&mut out);

        out.line(&format!("--{boundary}"));
        let is_trouble = self.has(Action::Failed) || self.has(Action::Delayed);
        let description = if is_trouble { "Undelivered message" } else { "Original message" };
        out.field("Content-Description", description);
        out.field("Content-Type", type_of_returned);
        out.field("Content-Transfer-Encoding", encoding);
        out.line("");
        out.raw(&returned);
        out.line("");
        out.line(&format!("--{boundary}--"));
        out.finish()
    }

    fn has(&self, action: Action) -> bool {
        self.recipients.iter().any(|report| report.action == action)
    }

    fn subject(&self) -> &'static str {
        if self.has(Action::Failed) {
            "Your message could not be delivered"
        } else if self.has(Action::Delayed) {
            "Your message has not been delivered yet"
        } else if self.has(Action::Delivered) {
            "Your message was delivered"
        } else if self.has(Action::Relayed) {
            "Your message was relayed"
        } else {
            "Your message was passed on to several addresses"
        }
    }

    /// A delimiter that no line of what is returned begins with.
    fn boundary(&self, returned: &[u8]) -> String {
        let mut number = self.date.0;
        loop {
            let boundary = format!("=_notice_{number:x}");
            if memchr::memmem::find(returned, boundary.as_bytes()).is_none() {
                return boundary;
            }
            number = number.wrapping_add(1);
        }
    }

    /// The text part: who was not reached, since when, why, and what happens next.
    fn for_people(&self, out: &mut text::Writer) {
        let mut words = text::Words::default();
        words.line(&format!("This is the mail system at {}.", text::plain(&self.reporting_mta)));
        let arrived = rfc5322_date(self.arrived);
        for action in Action::ALL {
            if !self.has(action) {
                continue;
            }
            words.line("");
            words.line(&match action {
                Action::Failed => {
                    format!("The message you sent, which arrived here on {arrived}, could not be delivered to:")
                }
                Action::Delayed => {
                    format!("The message you sent, which arrived here on {arrived}, has not been delivered yet to:")
                }
                Action::Delivered => {
                    format!("The message you sent, which arrived here on {arrived}, was delivered to:")
                }
                Action::Relayed => {
                    format!("The message you sent, which arrived here on {arrived}, was handed to the next system for:")
                }
                Action::Expanded => {
                    format!("The message you sent, which arrived here on {arrived}, goes on to those that this stands for:")
                }
            });
            for report in self.recipients.iter().filter(|report| report.action == action) {
                self.recipient_for_people(report, &mut words);
            }
            words.line("");
            words.line(match action {
                Action::Failed => {
                    "This is final: the message will not be tried again for them. If it matters, reach them another \
                     way, or correct the address and send the message again."
                }
                Action::Delayed => {
                    "This is only a warning. You need not send the message again: it is kept here and will be tried \
                     again. If it cannot be delivered in the end, you will be told."
                }
                Action::Delivered => "Nothing more will be sent about them.",
                Action::Relayed => {
                    "The next system does not report deliveries, so this is the last you will hear, unless it fails there."
                }
                Action::Expanded => "You will not be told when it is delivered to each of them.",
            });
        }
        words.line("");
        words.line(match self.returned {
            Returned::Header(_) => "The header of your message is attached, and a report for programs.",
            Returned::Beginning(_) => {
                "The header and the first lines of your message are attached, and a report for programs."
            }
            Returned::Message(_) => "Your message is attached, and a report for programs.",
        });
        words.line(&format!("For help, write to {}.", text::plain(&self.postmaster)));
        words.write_part(out);
    }

    fn recipient_for_people(&self, report: &Report, words: &mut text::Words) {
        let original = text::plain(&report.original);
        let last = text::plain(&report.final_address);
        let shown = if original.is_empty() { &last } else { &original };
        words.line("");
        words.line(&format!("  <{shown}>"));
        if !original.is_empty() && !original.eq_ignore_ascii_case(&last) && !last.is_empty() {
            words.line(&format!("    which here means <{last}>"));
        }
        let diagnostic = text::plain(&report.diagnostic);
        let peer = text::plain(&report.peer);
        match (peer.is_empty(), diagnostic.is_empty()) {
            (false, false) => words.line(&format!("    {peer} answered: {diagnostic}")),
            (true, false) => words.line(&format!("    {diagnostic}")),
            (_, true) if report.action == Action::Failed => words.line("    No reason is known."),
            _ => {}
        }
        if let (Action::Delayed, Some(until)) = (report.action, report.retry_until) {
            words.line(&format!("    It will be tried until {}.", rfc5322_date(until)));
        }
    }

    /// RFC 3464: fields about the message, then a group for each recipient.
    fn for_programs(&self, out: &mut text::Writer) {
        if !self.envelope_id.is_empty() {
            out.field("Original-Envelope-Id", &text::ascii(&self.envelope_id));
        }
        out.field("Reporting-MTA", &format!("dns; {}", text::ascii(&self.reporting_mta)));
        out.field("Arrival-Date", &rfc5322_date(self.arrived));
        if let Some(later) = self.later {
            out.field("Future-Release-Request", &later.to_string());
        }
        for report in &self.recipients {
            out.line("");
            if !report.origin.is_empty() {
                out.field("Original-Recipient", &text::ascii(&report.origin));
            } else if !report.original.is_empty() {
                out.field("Original-Recipient", &text::typed_address(&report.original));
            }
            out.field("Final-Recipient", &text::typed_address(&report.final_address));
            out.field("Action", report.action.name());
            out.field("Status", &report.status.to_string());
            if !report.peer.is_empty() {
                out.field("Remote-MTA", &format!("dns; {}", text::ascii(&report.peer)));
            }
            if !report.diagnostic.is_empty() {
                let said_by = if report.peer.is_empty() { "x-local" } else { "smtp" };
                out.field("Diagnostic-Code", &format!("{said_by}; {}", text::ascii(&report.diagnostic)));
            }
            if let Some(last) = report.last_attempt {
                out.field("Last-Attempt-Date", &rfc5322_date(last));
            }
            if let (Action::Delayed, Some(until)) = (report.action, report.retry_until) {
                out.field("Will-Retry-Until", &rfc5322_date(until));
            }
        }
        out.line("");
    }
}

#[cfg(test)]
mod tests;
