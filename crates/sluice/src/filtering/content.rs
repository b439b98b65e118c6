//! The content of a message while filters look at it: the pieces that came, and another header if one has changed it.
//!
//! # Not here
//! How a header is changed (`mail::header_edit`).

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
    room: Room,
}

impl Content {
    /// What came, as it is.
    pub(crate) fn new(pieces: Vec<Vec<u8>>, room: Room) -> Arc<Content> {
        let first = pieces.first().map_or(&[][..], Vec::as_slice);
        let whole = (pieces.len() == 1).then_some(first.len());
        let header_end = header::end(first).or(whole);
        Arc::new(Content { came: Arc::new(Came { pieces, header_end, room }), header: None })
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

    /// The pieces, for the spool. What others have a share in is copied; whoever is the last gets it as it came, with the
    /// room that it takes.
    pub(crate) fn into_pieces(content: Arc<Content>) -> (Vec<Vec<u8>>, Option<Room>) {
        let first = content.header.as_ref().map(|header| [header.as_slice(), content.rest()].concat());
        let came = match Arc::try_unwrap(content) {
            Ok(content) => content.came,
            Err(shared) => Arc::clone(&shared.came),
        };
        let (mut pieces, room) = match Arc::try_unwrap(came) {
            Ok(Came { pieces, room, .. }) => (pieces, Some(room)),
            Err(shared) => (shared.pieces.clone(), None),
        };
        if let Some(first) = first {
            match pieces.first_mut() {
                Some(place) => *place = first,
                None => pieces.push(first),
            }
        }
        (pieces, room)
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
        let (pieces, _) = Content::into_pieces(Arc::clone(content));
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
        let piece = b"A: 1\r\n\r\nbody\r\n".to_vec();
        let at = piece.as_ptr();
        let content = Content::new(vec![piece], Room::default());
        let other = content.edited(&[]);
        let (copied, room) = Content::into_pieces(content);
        assert!(copied[0].as_ptr() != at && room.is_none());
        let (pieces, room) = Content::into_pieces(other);
        assert!(pieces[0].as_ptr() == at && room.is_some());
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
