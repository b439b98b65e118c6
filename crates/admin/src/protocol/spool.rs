//! Requests about segments in quarantine: what they have, and bringing it back.

use serde::{Deserialize, Serialize};

/// A message in a segment that was set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideRow {
    /// Its id.
    pub id: String,
    /// The segment in quarantine, as a path.
    pub file: String,
    /// `missing` (it can be brought back), `there`, `settled`, `gone` or `damaged`.
    pub fate: String,
    /// Octets of its content.
    pub content_bytes: u64,
    /// The envelope sender, where the envelope can be read.
    pub sender: Option<String>,
    /// The recipients, where the envelope can be read.
    pub recipients: Option<Vec<String>>,
    /// What is still damaged.
    pub what: Option<String>,
}

/// A segment that was set aside; its row comes behind those of its messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideSegmentRow {
    /// Its number.
    pub segment: u32,
    /// Where it is.
    pub file: String,
    /// All that a start could not read of it is understood now.
    pub is_whole: bool,
    /// A journal in quarantine cannot be read whole: settled mail may be among what is missing.
    pub has_unread_journal: bool,
    /// Messages that can be brought back.
    pub missing: u64,
    /// Messages that are still damaged.
    pub damaged: u64,
}

/// What was brought back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroughtBackRow {
    /// Messages that are in the spool again.
    pub brought_back: u64,
    /// Messages that are still damaged, in the segments that were asked for.
    pub damaged: u64,
    /// All of these segments are understood.
    pub is_whole: bool,
}
