//! What a sender wishes to be told about a message: the parameters of the SMTP extension for delivery status
//! notifications (RFC 3461), as they stand in an envelope; when it wants the message to be released (RFC 4865), and how
//! soon it wants it transferred (RFC 6710).
//!
//! ENVID and ORCPT are kept in the encoded form in which they came (`xtext`), because they are passed on unchanged;
//! only a notice shows them decoded. What is kept here has been checked: no blank, no control character, within the
//! lengths that the RFC allows.
//!
//! # Not here
//! Reading a command line (`smtp`), and deciding what is told (`dispatch`).

use std::fmt;
use std::time::Duration;

use crate::notice::Action;
use crate::{Time, TransferPriority, rfc3339};

/// Longest ENVID in octets (RFC 3461 section 4.4).
pub const ENVELOPE_ID_OCTETS_MAX: usize = 100;
/// Longest ORCPT in octets (RFC 3461 section 4.2).
pub const ORIGINAL_OCTETS_MAX: usize = 500;

/// When a sender wants to be told about a recipient (RFC 3461 section 4.1). The default is that nothing was said: then
/// failures are told and delays may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Notify(u8);

impl Notify {
    /// Never.
    pub const NEVER: Notify = Notify(1);
    /// When it was delivered.
    pub const SUCCESS: Notify = Notify(2);
    /// When it cannot be delivered.
    pub const FAILURE: Notify = Notify(4);
    /// When it is late.
    pub const DELAY: Notify = Notify(8);

    const NAMES: [(Notify, &'static str); 3] =
        [(Notify::SUCCESS, "SUCCESS"), (Notify::FAILURE, "FAILURE"), (Notify::DELAY, "DELAY")];

    /// The value of NOTIFY: `NEVER`, or a list of the others without blanks.
    #[must_use]
    pub fn parse(text: &str) -> Option<Notify> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Some(Notify::NEVER);
        }
        let known = |word: &str| Notify::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(word));
        text.split(',').try_fold(Notify(0), |sum, word| known(word).map(|(one, _)| Notify(sum.0 | one.0)))
    }

    /// As a number: 1 never, 2 success, 4 failure, 8 delay; 0 nothing said.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From such a number, unless it is a sum that means nothing.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Notify> {
        match bits {
            0..=2 | 4 | 6 | 8 | 10 | 12 | 14 => Some(Notify(bits)),
            _ => None,
        }
    }

    /// Nothing was said.
    #[must_use]
    pub const fn is_default(self) -> bool {
        self.0 == 0
    }

    /// Whether this is to be told.
    #[must_use]
    pub const fn wants(self, action: Action) -> bool {
        match action {
            Action::Failed => self.0 == 0 || self.0 & Notify::FAILURE.0 != 0,
            Action::Delayed => self.0 == 0 || self.0 & Notify::DELAY.0 != 0,
            Action::Delivered | Action::Relayed | Action::Expanded => self.0 & Notify::SUCCESS.0 != 0,
        }
    }

    /// The same without word of success, which has been told already.
    #[must_use]
    pub const fn without_success(self) -> Notify {
        match self.0 & !Notify::SUCCESS.0 {
            0 if self.0 != 0 => Notify::NEVER,
            rest => Notify(rest),
        }
    }
}

impl fmt::Display for Notify {
    /// As it is written behind `NOTIFY=`; nothing for the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Notify::NEVER {
            return f.write_str("NEVER");
        }
        let mut between = "";
        for (_, name) in Notify::NAMES.iter().filter(|(one, _)| self.0 & one.0 != 0) {
            write!(f, "{between}{name}")?;
            between = ",";
        }
        Ok(())
    }
}

/// How much of a message a notice of failure is to return (RFC 3461 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Return {
    /// All of it.
    Full = 1,
    /// Its header.
    Headers = 2,
}

impl Return {
    /// The value of RET.
    #[must_use]
    pub fn parse(text: &str) -> Option<Return> {
        [Return::Full, Return::Headers].into_iter().find(|one| one.name().eq_ignore_ascii_case(text))
    }

    /// As it is written behind `RET=`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Return::Full => "FULL",
            Return::Headers => "HDRS",
        }
    }

    /// The number on disk and across the plugin edge; 0 is nothing said.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Option<Return>> {
        match number {
            0 => Some(None),
            1 => Some(Some(Return::Full)),
            2 => Some(Some(Return::Headers)),
            _ => None,
        }
    }
}

/// What is wished about a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Wishes {
    /// RET.
    pub returned: Option<Return>,
    /// ENVID, encoded; empty when there was none.
    pub envelope_id: String,
    /// HOLDFOR or HOLDUNTIL.
    pub later: Option<LaterRelease>,
    /// MT-PRIORITY, as far as the client was let have it; `None` when nothing was said.
    pub priority: Option<TransferPriority>,
}

/// When a message is to be released (RFC 4865 section 4), as the client has put it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LaterRelease {
    /// HOLDFOR: so many seconds after it was accepted.
    For(u32),
    /// HOLDUNTIL: then.
    Until(Time),
}

impl LaterRelease {
    /// The date of release of a message that was accepted at `arrived`.
    #[must_use]
    pub fn date(self, arrived: Time) -> Time {
        match self {
            LaterRelease::For(secs) => arrived.plus(Duration::from_secs(secs.into())),
            LaterRelease::Until(date) => date,
        }
    }
}

impl fmt::Display for LaterRelease {
    /// As it stands in `Future-Release-Request:` of a notice: `for;3600`, `until;2026-11-21T21:30:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LaterRelease::For(secs) => write!(f, "for;{secs}"),
            LaterRelease::Until(date) => write!(f, "until;{}", rfc3339(*date)),
        }
    }
}

impl Wishes {
    /// Nothing was said about notices.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.returned.is_none() && self.envelope_id.is_empty()
    }
}

/// What is wished about one of its recipients.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RecipientWishes {
    /// NOTIFY.
    pub notify: Notify,
    /// ORCPT, `type;address` with the address encoded; empty when there was none.
    pub original: String,
}

impl RecipientWishes {
    /// Nothing was said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.notify.is_default() && self.original.is_empty()
    }

    /// Type and address of ORCPT in plain, if there is one.
    #[must_use]
    pub fn decoded(&self) -> Option<(&str, String)> {
        let (kind, address) = self.original.split_once(';')?;
        let plain = if is_utf8(kind) { unicode_decoded(address) } else { xtext_decoded(address)? };
        Some((kind, plain))
    }
}

/// Whether a text may stand behind `ENVID=`: encoded printable ASCII, not empty.
#[must_use]
pub fn is_envelope_id(text: &str) -> bool {
    (1..=ENVELOPE_ID_OCTETS_MAX).contains(&text.len()) && xtext_decoded(text).is_some()
}

/// Whether a text may stand behind `ORCPT=`: a type, a semicolon and an encoded address. An address of the type `utf-8`
/// (RFC 6533 section 3) may hold characters beyond ASCII; whoever takes it looks for them.
#[must_use]
pub fn is_original(text: &str) -> bool {
    let Some((kind, address)) = text.split_once(';') else { return false };
    let is_atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*/?^_`{|}~-".contains(&b);
    let readable = match is_utf8(kind) {
        true => address.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '+' && c != '='),
        false => xtext_decoded(address).is_some(),
    };
    text.len() <= ORIGINAL_OCTETS_MAX
        && !kind.is_empty()
        && kind.bytes().all(is_atom)
        && !address.is_empty()
        && readable
}

fn is_utf8(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("utf-8")
}

/// What an `xtext` (RFC 3461 section 4) stands for: `None` when it is none, or not printable ASCII.
#[must_use]
pub fn xtext_decoded(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    // Lower case letters are no hexadecimal digits here.
    let digit = |b: Option<u8>| match b? {
        b @ b'0'..=b'9' => Some(b - b'0'),
        b @ b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    };
    while let Some(byte) = bytes.next() {
        let meant = match byte {
            b'+' => (digit(bytes.next())? << 4) | digit(bytes.next())?,
            b'=' => return None,
            b if b.is_ascii_graphic() => b,
            _ => return None,
        };
        let printable = meant.is_ascii_graphic() || meant == b' ' || meant == b'\t';
        plain.push(printable.then_some(char::from(meant))?);
    }
    Some(plain)
}

/// An address of the type `utf-8` in plain: `\x{HEX}` are characters, all else is itself.
fn unicode_decoded(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\x{") {
        let (before, behind) = (&rest[..at], &rest[at + 3..]);
        plain.push_str(before);
        let meant = behind.split_once('}').and_then(|(digits, after)| {
            let digits = Some(digits).filter(|digits| (2..=6).contains(&digits.len()))?;
            let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
            Some((character, after)).filter(|(character, _)| !character.is_control())
        });
        match meant {
            Some((character, after)) => {
                plain.push(character);
                rest = after;
            }
            None => {
                plain.push_str("\\x{");
                rest = behind;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_is_never_or_a_list() {
        for (text, bits, written) in [
            ("NEVER", 1, "NEVER"),
            ("never", 1, "NEVER"),
            ("SUCCESS", 2, "SUCCESS"),
            ("Delay,failure", 12, "FAILURE,DELAY"),
            ("SUCCESS,FAILURE,DELAY", 14, "SUCCESS,FAILURE,DELAY"),
            ("SUCCESS,SUCCESS", 2, "SUCCESS"),
        ] {
            let notify = Notify::parse(text).unwrap();
            assert_eq!((notify.bits(), notify.to_string().as_str()), (bits, written), "{text}");
            assert_eq!(Notify::from_bits(bits), Some(notify));
        }
        for bad in ["", ",", "NEVER,SUCCESS", "SUCCESS,", "SUCCESS, DELAY", "x", "NEVER "] {
            assert_eq!(Notify::parse(bad), None, "{bad:?}");
        }
        for bad in [3, 5, 7, 9, 15, 16, 255] {
            assert_eq!(Notify::from_bits(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_told_depends_on_what_was_asked_for() {
        let told = |notify: Notify| {
            let all = [Action::Failed, Action::Delayed, Action::Delivered, Action::Relayed, Action::Expanded];
            all.map(|action| u8::from(notify.wants(action))).map(|one| one.to_string()).concat()
        };
        assert_eq!(told(Notify::default()), "11000");
        assert_eq!(told(Notify::NEVER), "00000");
        assert_eq!(told(Notify::SUCCESS), "00111");
        assert_eq!(told(Notify::FAILURE), "10000");
        assert_eq!(told(Notify::DELAY), "01000");
        let without = |text: &str| Notify::parse(text).unwrap().without_success().to_string();
        assert_eq!(without("SUCCESS"), "NEVER");
        assert_eq!(without("SUCCESS,DELAY"), "DELAY");
        assert_eq!(without("NEVER"), "NEVER");
        assert_eq!(Notify::default().without_success(), Notify::default());
    }

    #[test]
    fn encoded_texts_are_read() {
        assert_eq!(xtext_decoded("a+2Bb+3Dc+20d").as_deref(), Some("a+b=c d"));
        for bad in ["a=b", "+", "+2", "+2b", "a b", "+0D", "+E4", "\u{e4}"] {
            assert_eq!(xtext_decoded(bad), None, "{bad}");
        }
        assert!(is_envelope_id("QQ314159") && is_envelope_id(&"x".repeat(100)));
        assert!(!is_envelope_id("") && !is_envelope_id(&"x".repeat(101)) && !is_envelope_id("+0A"));
        for good in ["rfc822;Fred+2Bx@b.example", "x400;/S+3D1/", "utf-8;\u{e4}@b"] {
            assert!(is_original(good), "{good}");
        }
        let long = format!("rfc822;{}", "x".repeat(494));
        for bad in [
            "",
            "rfc822",
            "rfc822;",
            ";a@b",
            "rfc 822;a@b",
            "rfc822;a=b",
            "rfc822;\u{e4}@b",
            "utf-8;a+b",
            &long,
        ] {
            assert!(!is_original(bad), "{bad}");
        }
    }

    #[test]
    fn an_original_recipient_is_shown_in_plain() {
        let shown = |text: &str| {
            let wishes = RecipientWishes { original: text.to_owned(), ..RecipientWishes::default() };
            wishes.decoded().map(|(kind, address)| format!("{kind}; {address}"))
        };
        assert_eq!(shown("rfc822;a+2Bb@c").as_deref(), Some("rfc822; a+b@c"));
        assert_eq!(shown("utf-8;\\x{E4}@b\\x{0A}\\x{").as_deref(), Some("utf-8; \u{e4}@b\\x{0A}\\x{"));
        assert_eq!(shown(""), None);
    }
}
