//! Octets of a frame as numbers, texts and lists; and a stream of octets as frames.

/// Octets that are no frame, or a frame that cannot be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Bad(pub(crate) &'static str);

const HEAD: usize = 8;

/// Begins a frame; its length is put in by [`end`], which wants what this gives.
pub(crate) fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind, 0, 0, 0]);
    at
}

/// Ends a frame.
pub(crate) fn end(out: &mut [u8], at: usize) {
    let length = u32::try_from(out.len() - at - HEAD).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// A text: its length and its octets.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text);
}

/// Frames out of what came over the socket so far.
#[derive(Debug)]
pub struct Frames {
    octets: Vec<u8>,
    /// Where the next frame begins.
    at: usize,
    /// How much of `octets` has come.
    filled: usize,
    /// The last read had room for no more.
    was_full: bool,
    /// Reads in a row that used little of the room.
    small: u8,
    body_max: usize,
}

/// The most room that is offered for one read.
const ROOM: usize = 256 << 10;
/// The least. There is one of these for each process that lives, and most of them have nothing to say.
const ROOM_MIN: usize = 16 << 10;
/// After so many reads in a row that used little of it, there is half as much.
const SMALL_READS: u8 = 16;

impl Frames {
    /// For frames with bodies of at most so many octets.
    #[must_use]
    pub fn new(body_max: usize) -> Frames {
        Frames { octets: vec![0; ROOM_MIN], at: 0, filled: 0, was_full: false, small: 0, body_max }
    }

    /// Where the next octets are to be put. Then call [`came`](Self::came).
    pub fn room(&mut self) -> &mut [u8] {
        if self.at > 0 {
            self.octets.copy_within(self.at..self.filled, 0);
            self.filled -= self.at;
            self.at = 0;
        }
        let room = self.octets.len().clamp(ROOM_MIN, ROOM);
        let free = self.octets.len() - self.filled;
        if std::mem::take(&mut self.was_full) && room < ROOM {
            self.octets.resize(self.filled + 2 * room, 0);
        } else if free < room / 2 {
            // A frame is larger than what one read gives.
            self.octets.resize(self.filled + room, 0);
        } else if self.filled == 0 && self.octets.len() > ROOM_MIN && self.small >= SMALL_READS {
            self.small = 0;
            self.octets.truncate((self.octets.len() / 2).max(ROOM_MIN));
            self.octets.shrink_to_fit();
        }
        &mut self.octets[self.filled..]
    }

    /// So many octets were put there.
    pub fn came(&mut self, count: usize) {
        self.filled = (self.filled + count).min(self.octets.len());
        self.small = if count < self.octets.len() / 8 { self.small.saturating_add(1) } else { 0 };
        self.was_full = self.filled == self.octets.len();
        // What one large frame needed is not kept for ever.
        if self.octets.len() > 8 * ROOM && self.filled < ROOM {
            self.octets.truncate(2 * ROOM);
            self.octets.shrink_to(2 * ROOM);
        }
    }

    /// The next whole frame: its kind and its body.
    ///
    /// # Errors
    /// What came is no head of a frame.
    pub fn next_frame(&mut self) -> Result<Option<(u8, &[u8])>, Bad> {
        let rest = &self.octets[self.at..self.filled];
        let Some((head, rest)) = rest.split_at_checked(HEAD) else { return Ok(None) };
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > self.body_max {
            return Err(Bad("a frame is longer than frames may be"));
        }
        if head[5..] != [0; 3] {
            return Err(Bad("what should be the head of a frame is none"));
        }
        let kind = head[4];
        if rest.len() < length {
            return Ok(None);
        }
        let from = self.at + HEAD;
        self.at = from + length;
        Ok(Some((kind, &self.octets[from..self.at])))
    }
}

/// What is left of a body.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn octets(&mut self, count: usize) -> Result<&'a [u8], Bad> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Bad("a frame ends early"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        self.octets(N)?.try_into().map_err(|_| Bad("a frame ends early"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Bad> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Bad> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Bad> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Bad> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Bad> {
        self.array().map(i32::from_le_bytes)
    }

    /// The octets of a text, whatever they are.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Bad> {
        let length = self.u32()? as usize;
        self.octets(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Bad> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Bad("a text is not UTF-8"))
    }

    pub(crate) fn string(&mut self) -> Result<String, Bad> {
        self.text().map(str::to_owned)
    }

    /// The number of items of a list, each of which takes at least so many octets.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, Bad> {
        let count = self.u32()? as usize;
        if count > self.0.len() / least.max(1) {
            return Err(Bad("a list is longer than its frame"));
        }
        Ok(count)
    }

    /// A list, read item by item.
    pub(crate) fn list<T>(
        &mut self,
        least: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, Bad>,
    ) -> Result<Vec<T>, Bad> {
        let count = self.count(least)?;
        (0..count).map(|_| item(self)).collect()
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), Bad> {
        if self.0.is_empty() { Ok(()) } else { Err(Bad("something follows the end of a frame")) }
    }
}
