//! [`FoundState`]: the state of an entry as a start finds it.
//!
//! After a checkpoint nearly all states stand in one file, which is mapped; a million of them are handed over without a copy or an
//! allocation each. The map goes with the last of them.

use std::ops::Deref;
use std::sync::Arc;

use crate::map::Map;

/// The bytes of a state.
#[derive(Clone)]
pub struct FoundState(Kept);

#[derive(Clone)]
enum Kept {
    /// From a journal, or from whoever made this.
    Own(Box<[u8]>),
    /// A stretch of a checkpoint. Its length is below 2^32, as that of every record is.
    Mapped { map: Arc<Map>, start: usize, len: u32 },
}

// There is one for each message that waits.
const _: () = assert!(size_of::<Option<FoundState>>() <= 24);

impl FoundState {
    /// A stretch of a map; bytes of its own when it is none.
    pub(crate) fn mapped(map: &Arc<Map>, start: usize, len: usize) -> FoundState {
        match u32::try_from(len) {
            Ok(len) => FoundState(Kept::Mapped { map: Arc::clone(map), start, len }),
            Err(_) => FoundState::from(map.slice(start..start + len).unwrap_or_default().to_vec()),
        }
    }
}

impl From<Vec<u8>> for FoundState {
    fn from(bytes: Vec<u8>) -> FoundState {
        FoundState(Kept::Own(bytes.into()))
    }
}

impl Deref for FoundState {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kept::Own(bytes) => bytes,
            // A checkpoint is never written again once it has its name, and the stretch was in it when it was read.
            Kept::Mapped { map, start, len } => map.slice(*start..*start + *len as usize).unwrap_or_default(),
        }
    }
}

impl std::fmt::Debug for FoundState {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(out)
    }
}

impl PartialEq for FoundState {
    fn eq(&self, other: &FoundState) -> bool {
        **self == **other
    }
}

impl Eq for FoundState {}
