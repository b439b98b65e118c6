//! Pieces of a message become the message (RFC 2046 section 5.2.2.1).
//!
//! # Not here
//! Which pieces belong together, and whether all are there (`store`).

use sluice_mail::header;
use sluice_mail::mime::split;

/// Whether a field of the message is that of the message inside, and not of the piece around it.
fn is_inner(name: &[u8]) -> bool {
    let content = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
    let named = [&b"subject"[..], b"message-id", b"encrypted", b"mime-version"];
    content || named.iter().any(|one| name.eq_ignore_ascii_case(one))
}

/// The message of which these are the pieces, in order. The header is that around the first piece, but for what belongs to the
/// message inside, which follows; the headers around the others mean nothing.
pub(crate) fn joined(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pieces.iter().map(Vec::len).sum());
    let mut pieces = pieces.iter().map(|piece| split(piece));
    let Some((around, first)) = pieces.next() else { return out };
    let (inside, body) = split(first);
    for (header, inner) in [(around, false), (inside, true)] {
        for field in header::fields(header) {
            if is_inner(field.name) == inner && !field.name.is_empty() {
                out.extend_from_slice(&header[field.place]);
            }
        }
        // A header that ends with the piece may lack its last line end.
        if !out.is_empty() && !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    pieces.for_each(|(_, body)| out.extend_from_slice(body));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 2046 section 5.2.2.2, with other words.
    #[test]
    fn the_header_is_that_around_the_first_and_what_belongs_inside() {
        let one = b"X-Way: One\r\nFrom: bill@host.example\r\nTo: joe@other.example\r\nDate: Fri, 26 Mar 1993 12:59:38 -0500\r\n\
            Subject: Audio mail (part 1 of 2)\r\nMessage-ID: <one@host.example>\r\nMIME-Version: 1.0\r\n\
            Content-type: message/partial; id=\"abc@host.example\"; number=1; total=2\r\n\r\n\
            X-Way: Two\r\nX-Other: no\r\nSubject: Audio mail\r\nMessage-ID: <many@host.example>\r\nMIME-Version: 1.0\r\n\
            Content-type: audio/basic\r\nContent-transfer-encoding: base64\r\n\r\n first half\r\n";
        let two = b"From: bill@host.example\r\nX-Third: no\r\nContent-type: message/partial; id=\"abc@host.example\"; number=2; total=2\r\n\r\n\
            second half\r\n";
        let whole = String::from_utf8(joined(&[one.to_vec(), two.to_vec()])).unwrap();
        assert_eq!(
            whole,
            "X-Way: One\r\nFrom: bill@host.example\r\nTo: joe@other.example\r\nDate: Fri, 26 Mar 1993 12:59:38 -0500\r\n\
             Subject: Audio mail\r\nMessage-ID: <many@host.example>\r\nMIME-Version: 1.0\r\nContent-type: audio/basic\r\n\
             Content-transfer-encoding: base64\r\n\r\n first half\r\nsecond half\r\n"
        );
    }

    #[test]
    fn odd_pieces_give_some_message() {
        for pieces in
            [&[&b""[..]][..], &[b"\r\n", b"x"], &[b"A: b", b"C: d"], &[b"A: b\r\n\r\nSubject", b"\r\n\r\ny"]]
        {
            let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
            assert!(sluice_mail::mime::split(&joined(&pieces)).0.ends_with(b"\r\n"), "{pieces:?}");
        }
    }
}
