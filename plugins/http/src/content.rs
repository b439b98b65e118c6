//! The body of a request: what stands around the message, and the message as octets or in base64, made piece by piece as it goes out.
//!
//! # Invariants
//! The chunks together have the length that was said before the first of them, and are the same each time they are made.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use serde_json::json;

use crate::request::Mail;
use crate::settings::{Format, Settings};
use crate::template::Values;

/// Octets of the message in a chunk; a multiple of three, so that base64 goes on without a gap.
const CHUNK: usize = 48 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Octets(Vec<u8>),
    Message,
    Base64,
}

/// A body, still without the message in it.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pieces: Vec<Piece>,
    /// Octets of all chunks together.
    pub(crate) length: u64,
    pub(crate) media_type: String,
}

impl Content {
    /// The body for a message. `boundary` stands between the parts of a form, and nobody can guess it.
    pub(crate) fn of(mail: &Mail<'_>, settings: &Settings, boundary: &str) -> Content {
        let size = mail.plain().map(|slice| slice.len() as u64).sum::<u64>();
        let octets = |text: String| Piece::Octets(text.into_bytes());
        let (pieces, media_type) = match &settings.format {
            Format::Message => (vec![Piece::Message], "message/rfc822".to_owned()),
            Format::Json => {
                let mut envelope = envelope(mail, settings, size).to_string();
                // The message is the last member.
                envelope.pop();
                envelope.push_str(",\"message\":\"");
                (
                    vec![octets(envelope), Piece::Base64, octets("\"}".to_owned())],
                    "application/json".to_owned(),
                )
            }
            Format::Multipart => {
                let before = format!(
                    "--{boundary}\r\nContent-Disposition: form-data; name=\"envelope\"\r\nContent-Type: application/json\r\n\r\n{}\r\n\
                     --{boundary}\r\nContent-Disposition: form-data; name=\"message\"; filename=\"message.eml\"\r\n\
                     Content-Type: message/rfc822\r\n\r\n",
                    envelope(mail, settings, size)
                );
                let pieces = vec![octets(before), Piece::Message, octets(format!("\r\n--{boundary}--\r\n"))];
                (pieces, format!("multipart/form-data; boundary={boundary}"))
            }
            Format::Template(template) => {
                let values = Values::of(mail, &settings.hub, &settings.channel);
                (vec![octets(template.filled(&values))], "application/json".to_owned())
            }
        };
        let length = |piece: &Piece| match piece {
            Piece::Octets(octets) => octets.len() as u64,
            Piece::Message => size,
            Piece::Base64 => size.div_ceil(3) * 4,
        };
        Content { length: pieces.iter().map(length).sum(), pieces, media_type }
    }

    /// The body in chunks.
    pub(crate) fn chunks<'a>(&'a self, mail: &'a Mail<'_>) -> Chunks<'a> {
        Chunks { pieces: self.pieces.iter(), mail, inside: None }
    }
}

/// What a receiver may want to know of a message without reading it.
fn envelope(mail: &Mail<'_>, settings: &Settings, size: u64) -> serde_json::Value {
    let recipients: Vec<_> =
        mail.recipients.iter().map(|to| json!({"address": to.address, "original": to.original})).collect();
    json!({
        "id": mail.id,
        "hub": settings.hub,
        "channel": settings.channel,
        "sender": mail.sender,
        "recipients": recipients,
        "arrived": mail.arrived(),
        "attempt": u64::from(mail.attempts) + 1,
        "size": size,
    })
}

/// The chunks of a body.
pub(crate) struct Chunks<'a> {
    pieces: std::slice::Iter<'a, Piece>,
    mail: &'a Mail<'a>,
    inside: Option<Inside<'a>>,
}

/// The message, being given out.
struct Inside<'a> {
    slices: Box<dyn Iterator<Item = &'a [u8]> + 'a>,
    /// What is left of the last slice.
    rest: &'a [u8],
    base64: bool,
}

impl Inside<'_> {
    fn next(&mut self) -> Option<Bytes> {
        let mut octets = Vec::with_capacity(CHUNK);
        while octets.len() < CHUNK {
            if self.rest.is_empty() {
                match self.slices.next() {
                    Some(slice) => self.rest = slice,
                    None => break,
                }
            }
            let (now, later) = self.rest.split_at(self.rest.len().min(CHUNK - octets.len()));
            octets.extend_from_slice(now);
            self.rest = later;
        }
        match octets.is_empty() {
            true => None,
            false if self.base64 => Some(STANDARD.encode(octets).into()),
            false => Some(octets.into()),
        }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(inside) = &mut self.inside {
                if let Some(chunk) = inside.next() {
                    return Some(chunk);
                }
                self.inside = None;
            }
            let base64 = match self.pieces.next()? {
                Piece::Octets(octets) => return Some(Bytes::copy_from_slice(octets)),
                Piece::Message => false,
                Piece::Base64 => true,
            };
            self.inside = Some(Inside { slices: Box::new(self.mail.plain()), rest: &[], base64 });
        }
    }
}
