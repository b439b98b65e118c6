//! [`Envelopes`]: the envelopes of many messages, read one after the other.
//!
//! Whoever looks at one message asks the kernel for its octets before touching them (`map`). A start that has to look at a
//! million would ask a million times for what lies side by side. Here a *stretch* of a segment is asked for at once, and what
//! lies within is read without asking again. Stretches grow while messages are close to each other in the order in which
//! they are asked for, and are small where they are not, so that no more is brought from the disk than before.
//!
//! # How long a stretch counts
//! A page that was fetched may be cut off by somebody, or dropped and then not come back: touching it ends the process
//! with `SIGBUS`. For one message that instant is some microseconds; a stretch is no longer counted on than
//! [`STRETCH_LASTS`], and then asked for again.
//!
//! # Not here
//! Bodies, and whether they are whole: that is seen when they are read.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::ReadError;
use crate::ids::Location;
use crate::record::{self, RECORD_HEADER_LEN};
use crate::segment::SegmentFile;
use crate::spool::{Shared, Spool};
use crate::stored;

/// What is fetched for the first message, and for each that is far from the one before.
const STRETCH_MIN: usize = 16 << 10;
/// What is fetched at most: with envelopes and small bodies about a thousand messages.
const STRETCH_MAX: usize = 512 << 10;
/// How long octets that were fetched may be touched without asking again.
const STRETCH_LASTS: Duration = Duration::from_millis(10);

/// Reads envelopes of one spool, best in the order of their places. See [`Spool::envelopes`].
pub struct Envelopes<'a> {
    spool: &'a Spool,
    stretch: Option<Stretch>,
}

/// What was fetched last.
struct Stretch {
    segment: Arc<SegmentFile>,
    range: Range<usize>,
    since: Instant,
}

impl<'a> Envelopes<'a> {
    pub(crate) fn new(spool: &'a Spool) -> Envelopes<'a> {
        Envelopes { spool, stretch: None }
    }

    /// The envelope of a message, verified, as [`Spool::read_envelope`] reads it.
    ///
    /// # Errors
    /// [`ReadError`]; damage is reported and copied aside like that which any reader meets.
    pub fn read(&mut self, at: Location) -> Result<Vec<u8>, ReadError> {
        let (spool, stretch) = (self.spool, &mut self.stretch);
        let shared = spool.shared();
        let result = stored::where_it_is(shared, at, |at| envelope_at(shared, stretch, at));
        spool.report(at, result)
    }
}

/// One envelope.
pub(crate) fn envelope(shared: &Shared, at: Location) -> Result<Vec<u8>, ReadError> {
    stored::where_it_is(shared, at, |at| {
        let segment = stored::segment_of(shared, at)?;
        let bytes = segment.record_head(&*shared.storage, at.offset as usize)?;
        stored::envelope_in(&segment, at, bytes)
    })
}

fn envelope_at(shared: &Shared, stretch: &mut Option<Stretch>, at: Location) -> Result<Vec<u8>, ReadError> {
    let offset = at.offset as usize;
    let last = stretch.take().filter(|stretch| stretch.segment.number() == at.segment);
    let segment = match &last {
        Some(stretch) => Arc::clone(&stretch.segment),
        None => stored::segment_of(shared, at)?,
    };
    let bytes = segment.view(&*shared.storage, offset)?;
    // What follows the last stretch, or stands at its end, is the next one, and longer.
    let (mut fetched, mut next_len) = (0, STRETCH_MIN);
    if let Some(last) = &last
        && last.range.start <= offset
        && offset <= last.range.end + STRETCH_MIN
    {
        next_len = (last.range.len() * 2).min(STRETCH_MAX);
        if last.since.elapsed() < STRETCH_LASTS {
            fetched = last.range.end.saturating_sub(offset);
        }
    }
    let is_there = |fetched: usize| {
        fetched >= RECORD_HEADER_LEN.min(bytes.len())
            && fetched >= record::head_length_said(bytes).min(bytes.len())
    };
    if is_there(fetched) {
        *stretch = last;
    } else {
        let range = offset..offset + next_len.min(bytes.len());
        if segment.fetch(offset, range.len()).is_ok() && is_there(range.len()) {
            *stretch = Some(Stretch { segment: Arc::clone(&segment), range, since: Instant::now() });
        } else {
            // A long envelope, or something behind it that cannot be read and may be another's.
            segment.record_head(&*shared.storage, offset)?;
        }
    }
    stored::envelope_in(&segment, at, bytes)
}
