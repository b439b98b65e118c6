//! The envelope of a queued message, and its bytes.
//!
//! The layout is drawn in `docs/internals/envelope-format.md`; a test decodes the example printed there. The bytes carry
//! no checksum of their own: whoever stores them (`spool`) checks the record they are part of.
//!
//! # Not here
//! What has happened to a recipient since (`queue` keeps that as entry state, apart from the envelope).

use crate::{LaterRelease, Notify, RecipientWishes, Return, Time, TransferPriority, Wishes};

/// How urgent a message is (header field `Priority:`, RFC 2156). Decides when a channel starts at enqueue and which
/// retry and age lists apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Priority {
    /// `Priority: urgent`.
    Urgent = 0,
    /// No field, or `Priority: normal`.
    #[default]
    Normal = 1,
    /// `Priority: non-urgent`.
    Nonurgent = 2,
}

impl Priority {
    /// The priority with this number on disk.
    pub const fn from_number(number: u8) -> Option<Priority> {
        match number {
            0 => Some(Priority::Urgent),
            1 => Some(Priority::Normal),
            2 => Some(Priority::Nonurgent),
            _ => None,
        }
    }
}

/// One recipient as it is queued.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Recipient {
    /// What the channel puts into RCPT TO: after rewriting and line-3 names, `@route:local@host`.
    pub address: String,
    /// As the client gave it, for `Original-Recipient`.
    pub original: String,
    /// Name of the channel that owns it.
    pub channel: String,
    /// Queue key: lower-cased host the channel would connect for.
    pub domain: String,
    /// What the sender wants to be told about it.
    pub wishes: RecipientWishes,
}

/// Everything about a message that is not its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// Return path; empty for the null reverse-path.
    pub sender: String,
    /// When the message was accepted; ages are counted from here.
    pub arrived: Time,
    /// Channel the message came in by.
    pub source_channel: String,
    /// Urgency, as the header says it. What MAIL says is among the wishes, and goes before it.
    pub priority: Priority,
    /// BODY=8BITMIME was said, or 8-bit bytes were seen.
    pub eight_bit: bool,
    /// SMTPUTF8 was asked for.
    pub smtputf8: bool,
    /// Accepted on hold (hold limit, too many Received lines, a filter).
    pub held: bool,
    /// Why a filter holds it; empty where none does.
    pub hold_reason: String,
    /// When the sender wants it delivered at the earliest: by the header field `Deferred-Delivery:` (RFC 2156),
    /// or by MAIL where `wishes` has a later release.
    pub deferred_until: Option<Time>,
    /// What the sender wishes about notices, and what it asked of the release.
    pub wishes: Wishes,
    /// Everyone the message is for.
    pub recipients: Vec<Recipient>,
}

/// Why bytes are not an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Written by a version this program does not know.
    #[error("envelope version {0} is not known to this program (it reads version {VERSION})")]
    Version(u8),
    /// A length points behind the end, or the bytes stop early.
    #[error("the envelope is cut off at byte {at}: {what} needs {needs} bytes more")]
    Short {
        /// Offset at which reading stopped.
        at: usize,
        /// What was being read.
        what: &'static str,
        /// How many bytes are missing.
        needs: usize,
    },
    /// A field holds a value that has no meaning.
    #[error("{what} at byte {at} has no meaning")]
    Value {
        /// Offset of the field.
        at: usize,
        /// Its name.
        what: &'static str,
    },
    /// Bytes follow the last recipient.
    #[error("{0} bytes follow the last recipient")]
    Trailing(usize),
}

const VERSION: u8 = 1;
const EIGHT_BIT: u16 = 1;
const SMTPUTF8: u16 = 2;
const HELD: u16 = 4;
const DEFERRED: u16 = 8;
const WISHES: u16 = 16;
const LATER: u16 = 32;
const TRANSFER: u16 = 64;
const REASON: u16 = 128;
const KNOWN: u16 = EIGHT_BIT | SMTPUTF8 | HELD | DEFERRED | WISHES | LATER | TRANSFER | REASON;
/// Kind and number of a request for a later release.
const LATER_SIZE: usize = 9;
/// Four empty strings: the least a recipient takes.
const RECIPIENT_SIZE_MIN: usize = 16;

impl Envelope {
    /// How soon it is to be transferred: as MAIL said (RFC 6710), else as the header says.
    #[must_use]
    pub fn transfer_priority(&self) -> TransferPriority {
        self.wishes.priority.unwrap_or_else(|| self.priority.into())
    }

    /// The bytes of this envelope, version 1.
    pub fn encode(&self) -> Vec<u8> {
        let strings = self.recipients.iter().map(|r| {
            RECIPIENT_SIZE_MIN + r.address.len() + r.original.len() + r.channel.len() + r.domain.len()
        });
        let date = self.deferred_until.map_or(0, |_| 8);
        let wishes = if self.has_wishes() { self.encoded_wishes() } else { Vec::new() };
        let texts = self.sender.len() + self.source_channel.len() + strings.sum::<usize>();
        let later = self.wishes.later.map_or(0, |_| LATER_SIZE);
        let transfer = usize::from(self.wishes.priority.is_some());
        let reason = if self.hold_reason.is_empty() { 0 } else { 4 + self.hold_reason.len() };
        let size = 24 + date + texts + wishes.len() + later + transfer + reason;
        let flags = [(self.eight_bit, EIGHT_BIT), (self.smtputf8, SMTPUTF8), (self.held, HELD)];
        let deferred = self.deferred_until.map_or(0, |_| DEFERRED);
        let wished = if wishes.is_empty() { 0 } else { WISHES };
        let flags = flags.into_iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum::<u16>();
        let flags = flags | deferred | wished | self.wishes.later.map_or(0, |_| LATER);
        let flags = flags | self.wishes.priority.map_or(0, |_| TRANSFER);
        let flags = flags | if reason == 0 { 0 } else { REASON };
        let mut bytes = Vec::with_capacity(size);
        bytes.push(VERSION);
        bytes.push(self.priority as u8);
        bytes.extend(flags.to_le_bytes());
        bytes.extend(length(self.recipients.len()));
        bytes.extend(self.arrived.0.to_le_bytes());
        let recipients =
            self.recipients.iter().flat_map(|r| [&r.address, &r.original, &r.channel, &r.domain]);
        for text in [&self.sender, &self.source_channel].into_iter().chain(recipients) {
            bytes.extend(length(text.len()));
            bytes.extend(text.as_bytes());
        }
        if let Some(until) = self.deferred_until {
            bytes.extend(until.0.to_le_bytes());
        }
        bytes.extend(wishes);
        if let Some(later) = self.wishes.later {
            let (kind, number) = match later {
                LaterRelease::For(secs) => (1, u64::from(secs)),
                LaterRelease::Until(date) => (2, date.0),
            };
            bytes.push(kind);
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.wishes.priority.map(TransferPriority::level));
        if reason > 0 {
            bytes.extend(length(self.hold_reason.len()));
            bytes.extend(self.hold_reason.as_bytes());
        }
        debug_assert_eq!(bytes.len(), size, "the size is computed from the same strings");
        bytes
    }

    fn has_wishes(&self) -> bool {
        !self.wishes.is_default() || self.recipients.iter().any(|recipient| !recipient.wishes.is_default())
    }

    fn encoded_wishes(&self) -> Vec<u8> {
        let mut bytes = vec![self.wishes.returned.map_or(0, |returned| returned as u8)];
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend(length(text.len()));
            bytes.extend(text.as_bytes());
        };
        text(&mut bytes, &self.wishes.envelope_id);
        for Recipient { wishes, .. } in &self.recipients {
            bytes.push(wishes.notify.bits());
            text(&mut bytes, &wishes.original);
        }
        bytes
    }

    /// Reads what [`Envelope::encode`] wrote. Every length is checked before it is believed.
    pub fn decode(bytes: &[u8]) -> Result<Envelope, EnvelopeError> {
        let mut reader = Reader { bytes, at: 0 };
        let version = reader.array::<1>("the version")?[0];
        if version != VERSION {
            return Err(EnvelopeError::Version(version));
        }
        let priority = Priority::from_number(reader.array::<1>("the priority")?[0])
            .ok_or(EnvelopeError::Value { at: 1, what: "the priority" })?;
        let flags = u16::from_le_bytes(reader.array("the flags")?);
        if flags & !KNOWN != 0 {
            return Err(EnvelopeError::Value { at: 2, what: "the flags" });
        }
        let count = reader.length("the number of recipients")?;
        let arrived = Time(u64::from_le_bytes(reader.array("the time of arrival")?));
        let sender = reader.text("the sender")?;
        let source_channel = reader.text("the source channel")?;
        reader.room_for(count.saturating_mul(RECIPIENT_SIZE_MIN), "the recipients")?;
        let mut recipients = Vec::with_capacity(count);
        for _ in 0..count {
            recipients.push(Recipient {
                address: reader.text("a recipient's address")?,
                original: reader.text("a recipient's original address")?,
                channel: reader.text("a recipient's channel")?,
                domain: reader.text("a recipient's domain")?,
                wishes: RecipientWishes::default(),
            });
        }
        let deferred_until = match flags & DEFERRED {
            0 => None,
            _ => Some(Time(u64::from_le_bytes(reader.array("the date of delivery")?))),
        };
        let mut wishes = match flags & WISHES {
            0 => Wishes::default(),
            _ => reader.wishes(&mut recipients)?,
        };
        if flags & LATER != 0 {
            wishes.later = Some(reader.later()?);
        }
        if flags & TRANSFER != 0 {
            let what = "the priority of transfer";
            let at = reader.at;
            let priority = TransferPriority::at_level(reader.array::<1>(what)?[0]);
            wishes.priority = Some(priority.ok_or(EnvelopeError::Value { at, what })?);
        }
        let hold_reason = match flags & REASON {
            0 => String::new(),
            _ => reader.text("the reason of the hold")?,
        };
        if reader.at != bytes.len() {
            return Err(EnvelopeError::Trailing(bytes.len() - reader.at));
        }
        let envelope = Envelope {
            sender,
            arrived,
            source_channel,
            priority,
            eight_bit: flags & EIGHT_BIT != 0,
            smtputf8: flags & SMTPUTF8 != 0,
            held: flags & HELD != 0,
            hold_reason,
            deferred_until,
            wishes,
            recipients,
        };
        let says_nothing = (flags & WISHES != 0 && !envelope.has_wishes())
            || (flags & REASON != 0 && envelope.hold_reason.is_empty());
        match says_nothing {
            // One envelope has one form.
            true => Err(EnvelopeError::Value { at: 2, what: "the flags" }),
            false => Ok(envelope),
        }
    }
}

/// Lengths and counts are 32 bits wide on disk; nothing that large is ever accepted from outside.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length)
        .expect("limits on addresses and recipients keep lengths far below 4 GiB")
        .to_le_bytes()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn room_for(&self, size: usize, what: &'static str) -> Result<(), EnvelopeError> {
        let left = self.bytes.len() - self.at;
        if size > left { Err(EnvelopeError::Short { at: self.at, what, needs: size - left }) } else { Ok(()) }
    }

    fn take(&mut self, size: usize, what: &'static str) -> Result<&'a [u8], EnvelopeError> {
        self.room_for(size, what)?;
        let taken = &self.bytes[self.at..self.at + size];
        self.at += size;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], EnvelopeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    fn length(&mut self, what: &'static str) -> Result<usize, EnvelopeError> {
        Ok(u32::from_le_bytes(self.array(what)?) as usize)
    }

    fn wishes(&mut self, recipients: &mut [Recipient]) -> Result<Wishes, EnvelopeError> {
        let what = "what is to be returned";
        let at = self.at;
        let returned = Return::from_number(self.array::<1>(what)?[0]);
        let returned = returned.ok_or(EnvelopeError::Value { at, what })?;
        let envelope_id = self.text("the sender's name of the message")?;
        for recipient in recipients {
            let what = "when to tell about a recipient";
            let at = self.at;
            let notify = Notify::from_bits(self.array::<1>(what)?[0]);
            let notify = notify.ok_or(EnvelopeError::Value { at, what })?;
            let original = self.text("a recipient's address at its origin")?;
            recipient.wishes = RecipientWishes { notify, original };
        }
        Ok(Wishes { returned, envelope_id, ..Wishes::default() })
    }

    fn later(&mut self) -> Result<LaterRelease, EnvelopeError> {
        let what = "the request for a later release";
        let at = self.at;
        let kind = self.array::<1>(what)?[0];
        let number = u64::from_le_bytes(self.array(what)?);
        let later = match kind {
            1 => u32::try_from(number).ok().map(LaterRelease::For),
            2 => Some(LaterRelease::Until(Time(number))),
            _ => None,
        };
        later.ok_or(EnvelopeError::Value { at, what })
    }

    fn text(&mut self, what: &'static str) -> Result<String, EnvelopeError> {
        let size = self.length(what)?;
        let at = self.at;
        let bytes = self.take(size, what)?;
        let text = std::str::from_utf8(bytes).map_err(|_| EnvelopeError::Value { at, what })?;
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Envelope {
        Envelope {
            sender: "a@b.example".into(),
            arrived: Time(1_795_296_600_123),
            source_channel: "tcp_local".into(),
            priority: Priority::Nonurgent,
            eight_bit: true,
            smtputf8: false,
            held: true,
            hold_reason: String::new(),
            deferred_until: None,
            wishes: Wishes::default(),
            recipients: vec![Recipient {
                address: "u@site7.example".into(),
                original: "U@Site7.example".into(),
                channel: "tcp_dialup".into(),
                domain: "site7.example".into(),
                wishes: RecipientWishes::default(),
            }],
        }
    }

    fn wishing() -> Envelope {
        let mut envelope = example();
        envelope.wishes =
            Wishes { returned: Some(Return::Headers), envelope_id: "QQ314159".into(), ..Wishes::default() };
        envelope.recipients[0].wishes = RecipientWishes {
            notify: Notify::parse("SUCCESS,DELAY").unwrap(),
            original: "rfc822;U+2B@b".into(),
        };
        envelope.recipients.push(Recipient { address: "v@b".into(), ..Recipient::default() });
        envelope
    }

    #[test]
    fn wishes_stand_behind_everything_else() {
        let bytes = wishing().encode();
        let tail = b"\x02\x08\0\0\0QQ314159\x0a\x0d\0\0\0rfc822;U+2B@b\0\0\0\0\0";
        assert!(bytes.ends_with(tail), "{bytes:02x?}");
        assert_eq!(bytes[2], 16 | 4 | 1);
        let with = |from_end: usize, value: u8| {
            let mut bytes = bytes.clone();
            let at = bytes.len() - from_end;
            bytes[at] = value;
            (at, Envelope::decode(&bytes))
        };
        let (at, said) = with(tail.len(), 3);
        assert_eq!(said, Err(EnvelopeError::Value { at, what: "what is to be returned" }));
        let (at, said) = with(5, 3);
        assert_eq!(said, Err(EnvelopeError::Value { at, what: "when to tell about a recipient" }));
    }

    #[test]
    fn the_example_in_the_format_page_is_what_we_write_and_read() {
        let page = include_str!("../../../docs/internals/envelope-format.md");
        let block = page.split("```hex\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let bytes: Vec<u8> = block
            .lines()
            .flat_map(|line| line.split('|').next().unwrap().split_whitespace().skip(1))
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect();
        let dump: String = example()
            .encode()
            .chunks(16)
            .enumerate()
            .map(|(row, chunk)| {
                let hex: Vec<String> = chunk.iter().map(|b| format!("{b:02x}")).collect();
                let text: String =
                    chunk.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '.' }).collect();
                format!("{:04x}  {:<47} | {text}\n", row * 16, hex.join(" "))
            })
            .collect();
        assert_eq!(example().encode(), bytes, "the page should print\n{dump}");
        assert_eq!(block, dump);
        assert_eq!(Envelope::decode(&bytes), Ok(example()));
    }

    #[test]
    fn every_combination_of_flags_comes_back() {
        for bits in 0..512 {
            let mut envelope = Envelope {
                hold_reason: if bits & 256 != 0 { "filter 1: ünlikely".into() } else { String::new() },
                eight_bit: bits & 1 != 0,
                smtputf8: bits & 2 != 0,
                held: bits & 4 != 0,
                deferred_until: (bits & 8 != 0).then_some(Time(1_795_300_200_000)),
                ..if bits & 16 != 0 { wishing() } else { example() }
            };
            envelope.wishes.priority = (bits & 128 != 0).then_some(TransferPriority::MIN);
            envelope.wishes.later = match bits >> 5 & 3 {
                0 => None,
                1 => Some(LaterRelease::For(u32::MAX)),
                2 => Some(LaterRelease::For(0)),
                _ => Some(LaterRelease::Until(Time(1_795_300_200_000))),
            };
            assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
        }
        let none = Envelope::default();
        assert_eq!(Envelope::decode(&none.encode()), Ok(none));
    }

    #[test]
    fn the_reason_of_a_hold_stands_at_the_very_end() {
        let mut envelope = example();
        envelope.wishes.priority = TransferPriority::new(6);
        envelope.hold_reason = "filter 1: odd".into();
        let bytes = envelope.encode();
        assert!(bytes.ends_with(b"\x03\x0d\0\0\0filter 1: odd"), "{bytes:02x?}");
        assert_eq!(bytes[2], 128 | 64 | 4 | 1);
        // An empty one has another form, which is the only one.
        let mut empty = bytes[..bytes.len() - 13].to_vec();
        let at = empty.len() - 4;
        empty[at] = 0;
        assert_eq!(Envelope::decode(&empty), Err(EnvelopeError::Value { at: 2, what: "the flags" }));
    }

    #[test]
    fn a_priority_of_transfer_stands_at_the_very_end_and_goes_before_the_header() {
        let mut envelope = example();
        assert_eq!(envelope.transfer_priority().number(), -4);
        envelope.wishes.later = Some(LaterRelease::For(3600));
        envelope.wishes.priority = TransferPriority::new(6);
        let bytes = envelope.encode();
        assert!(bytes.ends_with(b"\x01\x10\x0e\0\0\0\0\0\0\x03"), "{bytes:02x?}");
        assert_eq!(bytes[2], 64 | 32 | 4 | 1);
        let read = Envelope::decode(&bytes).unwrap();
        assert_eq!((read.transfer_priority().number(), read.priority), (6, Priority::Nonurgent));
        let at = bytes.len() - 1;
        for wrong in [19, 255] {
            let mut bytes = bytes.clone();
            bytes[at] = wrong;
            let wrong = EnvelopeError::Value { at, what: "the priority of transfer" };
            assert_eq!(Envelope::decode(&bytes), Err(wrong));
        }
    }

    #[test]
    fn a_later_release_stands_behind_the_wishes() {
        let mut envelope = example();
        envelope.wishes.later = Some(LaterRelease::For(3600));
        let bytes = envelope.encode();
        assert!(bytes.ends_with(b"\x01\x10\x0e\0\0\0\0\0\0"), "{bytes:02x?}");
        assert_eq!(bytes[2], 32 | 4 | 1);
        let at = bytes.len() - LATER_SIZE;
        for (place, value) in [(at, 0), (at, 3), (at + 5, 1)] {
            let mut bytes = bytes.clone();
            bytes[place] = value;
            let wrong = EnvelopeError::Value { at, what: "the request for a later release" };
            assert_eq!(Envelope::decode(&bytes), Err(wrong));
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let mut envelope = Envelope { deferred_until: Some(Time(1)), ..wishing() };
        envelope.wishes.later = Some(LaterRelease::Until(Time(1)));
        envelope.wishes.priority = TransferPriority::new(9);
        let bytes = envelope.encode();
        for end in 0..bytes.len() {
            assert!(
                matches!(Envelope::decode(&bytes[..end]), Err(EnvelopeError::Short { .. })),
                "cut at {end}"
            );
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Envelope::decode(&longer), Err(EnvelopeError::Trailing(1)));
    }

    #[test]
    fn lengths_are_not_believed() {
        let mut bytes = example().encode();
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(Envelope::decode(&bytes), Err(EnvelopeError::Short { what: "the recipients", .. })));
        let mut bytes = example().encode();
        bytes[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(Envelope::decode(&bytes), Err(EnvelopeError::Short { what: "the sender", .. })));
    }

    #[test]
    fn values_without_meaning_are_named() {
        let with = |at: usize, value: u8| {
            let mut bytes = example().encode();
            bytes[at] = value;
            Envelope::decode(&bytes)
        };
        assert_eq!(with(0, 9), Err(EnvelopeError::Version(9)));
        assert_eq!(with(1, 3), Err(EnvelopeError::Value { at: 1, what: "the priority" }));
        assert_eq!(with(3, 0x80), Err(EnvelopeError::Value { at: 2, what: "the flags" }));
        assert_eq!(with(20, 0xff), Err(EnvelopeError::Value { at: 20, what: "the sender" }));
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let good = example().encode();
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let _ = Envelope::decode(&bytes);
            }
        }
    }
}
