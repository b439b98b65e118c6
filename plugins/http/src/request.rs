//! A request: its header fields, its key and its signature.

use hmac::{Hmac, Mac as _};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};
use sluice_mail::wire::Unstuffer;
use sluice_mail::{Time, rfc3339};

use crate::content::Content;
use crate::settings::{Format, Settings};

/// One recipient of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct To<'a> {
    pub(crate) address: &'a str,
    pub(crate) original: &'a str,
}

/// A message as the worker has it, for the recipients of one request.
#[derive(Debug, Clone)]
pub(crate) struct Mail<'a> {
    pub(crate) id: &'a str,
    pub(crate) sender: &'a str,
    pub(crate) recipients: Vec<To<'a>>,
    /// Wire form.
    pub(crate) pieces: &'a [&'a [u8]],
    /// Milliseconds since 1970.
    pub(crate) arrived_ms: u64,
    /// Attempts before this one.
    pub(crate) attempts: u32,
}

impl<'a> Mail<'a> {
    /// The message without stuffed dots, as slices.
    pub(crate) fn plain(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut unstuffer = Unstuffer::new();
        self.pieces.iter().flat_map(move |piece| unstuffer.piece(piece))
    }

    /// When it came, as RFC 3339 writes it.
    pub(crate) fn arrived(&self) -> String {
        rfc3339(Time::from_secs(self.arrived_ms / 1000))
    }

    /// The same for each attempt at the same message for the same recipients, and for nothing else: a hub that begins anew
    /// counts its ids from the start, but not at the same moment.
    fn key(&self, settings: &Settings) -> String {
        let mut hash = Sha256::new();
        for part in [settings.hub.as_str(), &settings.channel, self.sender, &self.arrived_ms.to_string()] {
            hash.update(part);
            hash.update([0]);
        }
        for to in &self.recipients {
            hash.update(to.address);
            hash.update([0]);
        }
        format!("{}-{}", self.id, hex(&hash.finalize()[..16]))
    }
}

/// The header fields that go with a body, but for those of HEADERS_FILE. `now` is in seconds since 1970.
pub(crate) fn fields(mail: &Mail<'_>, content: &Content, settings: &Settings, now: u64) -> HeaderMap {
    let mut fields = HeaderMap::new();
    // All of these texts are visible ASCII: `coded`, digits, words of ours and a boundary.
    let mut add = |name: HeaderName, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            fields.append(name, value);
        }
    };
    add(header::USER_AGENT, concat!("Sluice/", env!("CARGO_PKG_VERSION")).to_owned());
    add(header::ACCEPT, "*/*".to_owned());
    add(header::CONTENT_TYPE, content.media_type.clone());
    add(HeaderName::from_static("idempotency-key"), mail.key(settings));
    add(HeaderName::from_static("sluice-id"), coded(mail.id));
    if matches!(settings.format, Format::Message) {
        add(HeaderName::from_static("sluice-sender"), format!("<{}>", coded(mail.sender)));
        for to in &mail.recipients {
            add(HeaderName::from_static("sluice-recipient"), format!("<{}>", coded(to.address)));
        }
    }
    if let Some(key) = &settings.key {
        add(HeaderName::from_static("sluice-signature"), signature(key, now, content.chunks(mail)));
    }
    fields
}

/// `t=SECONDS,v1=HEX`: the HMAC-SHA-256 of the seconds, a dot and the body.
pub(crate) fn signature(key: &[u8], now: u64, body: impl Iterator<Item = impl AsRef<[u8]>>) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{now}.").as_bytes());
    body.for_each(|chunk| mac.update(chunk.as_ref()));
    format!("t={now},v1={}", hex(&mac.finalize().into_bytes()))
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A text as visible ASCII: everything else, and the percent sign, becomes `%` and two digits (RFC 3986 section 2.1).
fn coded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'!'..=b'~' if octet != b'%' => out.push(char::from(octet)),
            _ => out.push_str(&format!("%{octet:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_fields_are_visible_ascii() {
        assert_eq!(coded("a%b@c.example"), "a%25b@c.example");
        assert_eq!(coded("\"a b\"@c"), "\"a%20b\"@c");
        assert_eq!(coded("\u{fc}\r\n@c"), "%C3%BC%0D%0A@c");
    }

    #[test]
    fn a_signature_is_the_hmac_of_time_and_body() {
        // `printf '1.ab' | openssl dgst -sha256 -hmac 0123456789abcdef`
        assert_eq!(
            signature(b"0123456789abcdef", 1, [b"a", b"b"].into_iter()),
            "t=1,v1=ec8504e8c91ed62dd7b7a6315c1aec09896655c0f5e20b2d995deaddeadf7428"
        );
    }
}
