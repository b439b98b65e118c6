//! A message that holds a batch: `application/batch-SMTP` (RFC 2442), as PMDF's own channels of this kind send them.
//!
//! # Not here
//! Batches in a part of a message with several: whoever sends a batch sends it alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sluice_mail::header;

const BATCH: &str = "application/batch-smtp";

/// The batch that a message holds, which is given without stuffed dots. Or why it holds none.
pub(crate) fn batch_of(message: &[u8]) -> Result<Vec<u8>, String> {
    let end = header::end(message).unwrap_or(message.len());
    let (head, rest) = message.split_at(end);
    // Between header and body is the line that ends the header.
    let body = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    let field = |name: &[u8]| {
        let found = header::fields(head).find(|field| field.name.eq_ignore_ascii_case(name))?;
        let text = String::from_utf8_lossy(&head[found.body]).into_owned();
        // Parameters and comments say nothing that matters here.
        Some(text.split([';', '(']).next().unwrap_or_default().trim().to_ascii_lowercase())
    };
    match field(b"content-type") {
        Some(kind) if kind == BATCH => {}
        Some(kind) => return Err(format!("it holds `{}` and not {BATCH}", kind.escape_debug())),
        None => return Err(format!("it has no Content-Type, and so no {BATCH}")),
    }
    match field(b"content-transfer-encoding").as_deref() {
        None | Some("7bit" | "8bit" | "binary") => Ok(body.to_vec()),
        Some("base64") => {
            let text: Vec<u8> = body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
            STANDARD.decode(text).map_err(|error| format!("its base64 is broken: {error}"))
        }
        Some(other) => Err(format!("the encoding `{}` is not read here", other.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str) -> String {
        batch_of(message.as_bytes()).map_or_else(|why| why, |batch| String::from_utf8(batch).unwrap())
    }

    #[test]
    fn a_batch_is_found_in_its_message() {
        let head = "From: a@b\r\nContent-Type: Application/Batch-SMTP;\r\n charset=x (so)\r\n";
        assert_eq!(told(&format!("{head}\r\nHELO x\r\nQUIT\r\n")), "HELO x\r\nQUIT\r\n");
        let encoded = format!("{head}Content-Transfer-Encoding: BASE64\r\n\r\nSEVM\r\nTyB4Cg==\r\n");
        assert_eq!(told(&encoded), "HELO x\n");
        assert!(
            told(&format!("{head}Content-Transfer-Encoding: base64\r\n\r\n!!\r\n"))
                .starts_with("its base64 is broken")
        );
        assert!(
            told(&format!("{head}Content-Transfer-Encoding: x-uu\r\n\r\n"))
                .starts_with("the encoding `x-uu`")
        );
        assert!(told("Content-Type: text/plain\r\n\r\nx\r\n").starts_with("it holds `text/plain`"));
        assert!(told("Subject: x\r\n\r\nx\r\n").starts_with("it has no Content-Type"));
    }
}
