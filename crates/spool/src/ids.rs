//! The two small values that the rest of the hub holds instead of a message: its [`EntryId`] and its [`Location`].
//!
//! Both are plain copies; holding one keeps nothing alive. What keeps bytes alive is a [`crate::Stored`].

use std::fmt;
use std::str::FromStr;

/// The name of one accepted message, for as long as there is a spool.
///
/// It is handed out when a draft begins, so that it can stand in the `Received:` field that goes in front of the
/// content (RFC 5321 section 4.4, the `ID` clause). It is never used again, also not after a restart and also not when
/// its draft was given up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

impl fmt::Display for EntryId {
    /// Sixteen upper-case hexadecimal digits: of one width, so that lists line up and sort as text.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016X}", self.0)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EntryId({self})")
    }
}

/// The text is not an entry id: one to sixteen hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry id is one to sixteen hexadecimal digits")]
pub struct NotAnEntryId;

impl FromStr for EntryId {
    type Err = NotAnEntryId;

    /// Accepts what `Display` writes, in either case and without the leading zeros.
    fn from_str(text: &str) -> Result<EntryId, NotAnEntryId> {
        if text.is_empty() || text.len() > 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAnEntryId);
        }
        u64::from_str_radix(text, 16).map(EntryId).map_err(|_| NotAnEntryId)
    }
}

/// Where the record of a message begins.
///
/// Thirty-two bits each: a segment is far smaller than 4 GiB, and four thousand million segments outlast the disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Number of the segment file.
    pub segment: u32,
    /// Byte offset of the record in that file; a multiple of eight.
    pub offset: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "segment {} offset {}", self.segment, self.offset)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Location({}:{})", self.segment, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_id_reads_back_what_it_prints() {
        for id in [EntryId(0), EntryId(0xABCDEF), EntryId(u64::MAX)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!("2a".parse(), Ok(EntryId(42)));
    }

    #[test]
    fn what_is_not_hexadecimal_is_not_an_entry_id() {
        for text in ["", "g", "+1", "-1", " 1", "00000000000000001", "é"] {
            assert_eq!(text.parse::<EntryId>(), Err(NotAnEntryId), "{text:?}");
        }
    }
}
