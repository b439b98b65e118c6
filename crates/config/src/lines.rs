//! Logical lines.

use sluice_diag::Span;

/// The place of the bytes `start..end` of a joined text, from the offsets at which its pieces begin.
pub(crate) fn place(pieces: &[(usize, Span)], start: usize, end: usize) -> Option<Span> {
    let index = pieces.partition_point(|(offset, _)| *offset <= start).checked_sub(1)?;
    let (offset, span) = pieces.get(index)?;
    let begin = span.start + (start - offset) as u32;
    let stop = (span.start + (end.max(start) - offset) as u32).min(span.end);
    Some(Span::new(span.source, begin.min(span.end), stop))
}
