//! The content of a message while filters look at it: the pieces that came, and another header if one has changed it.
//!
//! # Not here
//! How a header is changed (`mail::header_edit`).

use std::borrow::Cow;
use std::sync::Arc;

use sluice_mail::header;
use sluice_mail::header_edit::{HeaderEdit, edited};

use super::Room;

/// What came, with one of its headers. Cheap to make for another header: the pieces are shared.
#[derive(Debug, Default)]
pub(crate) struct Content {
    came: Arc<Came>,
    /// In the place of the header that came.
    header: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Came {
    pieces: Vec<Vec<u8>>,
    /// Length of the header, without the empty line; `None` for one that is longer than the first piece.
    header_end: Option<usize>,
    /// What the pieces take is counted as long as they are here.
    _room: Room,
}

impl Content {
    /// What came, as it is.
    pub(crate) fn new(pieces: Vec<Vec<u8>>, room: Room) -> Arc<Content> {
        let first = pieces.first().map_or(&[][..], Vec::as_slice);
        let whole = (pieces.len() == 1).then_some(first.len());
        let header_end = header::end(first).or(whole);
        Arc::new(Content { came: Arc::new(Came { pieces, header_end, _room: room }), header: None })
    }

    /// The header is what came.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.header.is_none()
    }

    /// The header is not too long to be changed.
    pub(crate) fn may_be_edited(&self) -> bool {
        self.came.header_end.is_some()
    }

    /// The same with another header.
    pub(crate) fn edited(self: &Arc<Self>, edits: &[HeaderEdit]) -> Arc<Content> {
        let Some(end) = self.came.header_end.filter(|_| !edits.is_empty()) else { return Arc::clone(self) };
        let header = match &self.header {
            Some(header) => header,
            None => self.came.pieces.first().map_or(&[][..], |first| &first[..end]),
        };
        let changed = edited(header, edits);
        if changed == header {
            return Arc::clone(self);
        }
        Arc::new(Content { came: Arc::clone(&self.came), header: Some(changed) })
    }

    /// What of the first piece stands behind the header.
    fn rest(&self) -> &[u8] {
        let first = self.came.pieces.first().map_or(&[][..], Vec::as_slice);
        match self.header {
            Some(_) => &first[self.came.header_end.unwrap_or(0)..],
            None => first,
        }
    }

    /// Octets and lines of it as they count against the limits of channels: without the hub's own field, and without stuffed dots.
    pub(crate) fn measure(&self) -> (u64, u32) {
        let header = self.header.as_deref().unwrap_or(self.rest());
        let own = header::fields(header).next().map_or(0, |field| field.place.end);
        let (mut octets, mut lines, mut before, mut skipped) = (0, 0u32, b'\n', own);
        sluice_host::Content::pieces(self, &mut |piece| {
            let counted = &piece[skipped.min(piece.len())..];
            skipped -= piece.len() - counted.len();
            for &octet in counted {
                // A stuffed dot is the first octet of its line.
                octets += u64::from((before, octet) != (b'\n', b'.'));
                lines = lines.saturating_add(u32::from(octet == b'\n'));
                before = octet;
            }
        });
        (octets, lines)
    }

    /// How many pieces it has for the spool.
    pub(crate) fn count(&self) -> usize {
        self.came.pieces.len()
    }

    /// The first piece, with the header that it has now.
    pub(crate) fn first(&self) -> Cow<'_, [u8]> {
        match &self.header {
            Some(header) => Cow::Owned([header.as_slice(), self.rest()].concat()),
            None => Cow::Borrowed(self.rest()),
        }
    }

    /// One of the pieces, for the spool. What others have a share in is copied, this piece alone; nobody else's is given as it came, and is
    /// not here afterwards.
    pub(crate) fn hand_on(content: &mut Arc<Content>, at: usize) -> Vec<u8> {
        if at == 0 && content.header.is_some() {
            return content.first().into_owned();
        }
        match Arc::get_mut(content).and_then(|content| Arc::get_mut(&mut content.came)) {
            Some(came) => came.pieces.get_mut(at).map(std::mem::take).unwrap_or_default(),
            None => content.came.pieces.get(at).cloned().unwrap_or_default(),
        }
    }
}

impl sluice_host::Content for Content {
    fn pieces<'a>(&'a self, take: &mut dyn FnMut(&'a [u8])) {
        if let Some(header) = &self.header {
            take(header);
        }
        take(self.rest());
        self.came.pieces.iter().skip(1).for_each(|piece| take(piece));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use sluice_host::Content as _;
    use sluice_mail::header_edit::Change;

    fn text(content: &Arc<Content>) -> String {
        let mut all = Vec::new();
        content.pieces(&mut |piece| all.extend_from_slice(piece));
        let mut content = Arc::clone(content);
        let pieces: Vec<_> = (0..content.count()).map(|at| Content::hand_on(&mut content, at)).collect();
        assert_eq!(pieces.concat(), all, "what is stored is what was shown");
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn another_header_leaves_the_body_where_it_is() {
        let came = [b"Received: us\r\nA: 1\r\n\r\nbo".to_vec(), b"dy\r\n".to_vec()];
        let content = Content::new(came.to_vec(), Room::default());
        let add = HeaderEdit::new(Change::AddFirst, 0, "X", "2", false).unwrap();
        let first = content.edited(std::slice::from_ref(&add));
        let second = first.edited(&[add]);
        assert_eq!(text(&content), "Received: us\r\nA: 1\r\n\r\nbody\r\n");
        assert_eq!(text(&first), "Received: us\r\nX: 2\r\nA: 1\r\n\r\nbody\r\n");
        assert_eq!(text(&second), "Received: us\r\nX: 2\r\nX: 2\r\nA: 1\r\n\r\nbody\r\n");
        let nothing = HeaderEdit::new(Change::Remove, 0, "None", "", false).unwrap();
        assert!(content.edited(&[nothing]).is_unchanged());
    }

    #[test]
    fn the_last_one_gets_the_pieces_that_came() {
        let came = vec![b"A: 1\r\n\r\nbody\r\n".to_vec(), b"more\r\n".to_vec()];
        let at = [came[0].as_ptr(), came[1].as_ptr()];
        let mut content = Content::new(came, Room::default());
        let add = HeaderEdit::new(Change::AddLast, 0, "X", "2", false).unwrap();
        let (mut same, mut other) = (content.edited(&[]), content.edited(&[add]));
        let is_as_came = |piece: &Vec<u8>, index: usize| piece.as_ptr() == at[index];
        assert_eq!(Content::hand_on(&mut other, 0), b"A: 1\r\nX: 2\r\n\r\nbody\r\n");
        assert!(!is_as_came(&Content::hand_on(&mut other, 1), 1));
        drop(other);
        assert!(!is_as_came(&Content::hand_on(&mut content, 1), 1));
        drop(content);
        // A piece at a time: nobody else is left.
        assert!(
            is_as_came(&Content::hand_on(&mut same, 1), 1) && is_as_came(&Content::hand_on(&mut same, 0), 0)
        );
        assert!(Content::hand_on(&mut same, 2).is_empty());
    }

    #[test]
    fn a_message_counts_without_what_the_hub_has_added() {
        let text = b"Received: us\r\n by\r\nA: 1\r\n\r\n..dot\r\n..\r\n";
        for cut in [0].into_iter().chain(19..=text.len()) {
            let pieces = [&text[..cut], &text[cut..]].map(<[u8]>::to_vec).to_vec();
            let content =
                Content::new(pieces.into_iter().filter(|piece| !piece.is_empty()).collect(), Room::default());
            assert_eq!(content.measure(), (17, 4), "{cut}");
        }
        let add = HeaderEdit::new(Change::AddLast, 0, "X", "2", false).unwrap();
        let content = Content::new(vec![b"Received: us\r\nA: 1\r\n\r\n".to_vec()], Room::default());
        assert_eq!(content.edited(&[add]).measure(), (14, 3));
    }

    #[test]
    fn messages_without_body_header_or_anything_can_be_changed() {
        let add = HeaderEdit::new(Change::AddLast, 0, "X", "2", false).unwrap();
        for (came, changed) in [
            (vec![], "X: 2\r\n"),
            (vec![b"A: 1\r\n".to_vec()], "A: 1\r\nX: 2\r\n"),
            (vec![b"A: 1\r\n\r\n".to_vec()], "A: 1\r\nX: 2\r\n\r\n"),
        ] {
            let content = Content::new(came, Room::default());
            // Of nothing at all there is no first piece; a message always has the hub's own field.
            if content.may_be_edited() {
                assert_eq!(text(&content.edited(std::slice::from_ref(&add))), changed);
            }
        }
        let long = Content::new(vec![vec![b'a'; 100], b"\r\n\r\n".to_vec()], Room::default());
        assert!(!long.may_be_edited() && long.edited(&[add]).is_unchanged());
    }
}
