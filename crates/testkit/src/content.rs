//! Messages that can be told apart, and compared byte for byte after their journey.

/// A message of about `size` bytes in wire lines (CRLF), not dot-stuffed.
///
/// Its subject carries `number`; the body has lines that begin with dots, an empty line, blanks at the end of a line and
/// a line near the limit of 998, which are the places where a relay that edits would show.
#[must_use]
pub fn message(number: usize, size: usize) -> Vec<u8> {
    let mut text = format!(
        "From: Sender <sender@origin.example>\r\nTo: whom it concerns\r\nSubject: number {number}\r\n\
         Message-ID: <{number}@origin.example>\r\n\r\n.a line with a dot\r\n..with two\r\n.\r\n\r\nblanks  \t \r\n"
    )
    .into_bytes();
    if size > 3000 {
        text.extend(std::iter::repeat_n(b'x', 996));
        text.extend(b"\r\n");
    }
    let filler = b"The quick brown fox jumps over the lazy dog, again and again.\r\n";
    while text.len() + filler.len() <= size {
        text.extend(filler);
    }
    text
}

/// The number that [`message`] put into the subject.
#[must_use]
pub fn number_of(content: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(content);
    let line = text.lines().find_map(|line| line.strip_prefix("Subject: number "))?;
    line.trim().parse().ok()
}

/// The message without the trace lines that relays and delivery put on top of it: `Received:`, `Return-Path:`,
/// `Delivered-To:`, with their continuation lines.
#[must_use]
pub fn below_received(content: &[u8]) -> &[u8] {
    const TRACE: [&[u8]; 3] = [b"received:", b"return-path:", b"delivered-to:"];
    let mut rest = content;
    loop {
        let lower: Vec<u8> = rest.iter().take(16).map(u8::to_ascii_lowercase).collect();
        if !TRACE.iter().any(|name| lower.starts_with(name)) {
            return rest;
        }
        loop {
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return &[] };
            rest = &rest[end + 1..];
            if !matches!(rest.first(), Some(b' ' | b'\t')) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_lines_are_taken_off_and_nothing_else() {
        let inner = message(7, 4096);
        let mut outer =
            b"Return-Path: <a@b>\r\nReceived: from x\r\n\tby y;\r\n now\r\nRECEIVED: z\r\n".to_vec();
        outer.extend(&inner);
        assert_eq!(below_received(&outer), inner);
        assert_eq!(below_received(&inner), inner);
        assert_eq!(number_of(&outer), Some(7));
        assert!(inner.len() <= 4096 && inner.len() > 3900);
        assert_eq!(below_received(b"Received: cut off"), b"");
    }
}
