//! What a chat gets of a message: a JSON text of the operator's with places for what the message says.
//!
//! `$(name)` stands for a value, `$$` for a dollar sign. Values are put in as the inside of a JSON string, whatever is in them, so
//! that no message can add to the text or end a string; control characters other than line ends are left out, and long values are
//! cut. A template is tried when the channel starts.
//!
//! # Not here
//! Reading MIME: mail-parser.

use mail_parser::{Addr, Address, MessageParser};
use serde_json::Value;

use crate::request::Mail;

/// Of a message's beginning that much is looked at.
const LOOKED_AT: usize = 1024 * 1024;
/// Names that a template may have, each with what it stands for.
const NAMES: [(&str, Name); 10] = [
    ("id", Name::Id),
    ("hub", Name::Hub),
    ("channel", Name::Channel),
    ("sender", Name::Sender),
    ("recipients", Name::Recipients),
    ("arrived", Name::Arrived),
    ("from", Name::From),
    ("to", Name::To),
    ("subject", Name::Subject),
    ("text", Name::Text),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Id,
    Hub,
    Channel,
    Sender,
    Recipients,
    Arrived,
    From,
    To,
    Subject,
    Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Name),
}

/// A JSON text with places for values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
    text_max: usize,
}

/// The values that a message has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    pub(crate) id: String,
    pub(crate) hub: String,
    pub(crate) channel: String,
    pub(crate) sender: String,
    pub(crate) recipients: String,
    pub(crate) arrived: String,
    from: String,
    to: String,
    subject: String,
    text: String,
}

impl Template {
    /// Reads a template. Values of it have `text_max` characters at most.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub(crate) fn read(text: &str, text_max: usize) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            plain.push_str(&rest[..at]);
            let behind = &rest[at + 1..];
            if let Some(after) = behind.strip_prefix('$') {
                plain.push('$');
                rest = after;
                continue;
            }
            let known = || NAMES.map(|(name, _)| format!("$({name})")).join(", ");
            let line = text[..text.len() - rest.len() + at].matches('\n').count() + 1;
            let (written, after) =
                behind.strip_prefix('(').and_then(|inside| inside.split_once(')')).ok_or_else(|| {
                    format!(
                        "line {line}: `$` stands alone; write `$$` for a dollar sign, or one of {}",
                        known()
                    )
                })?;
            let Some((_, name)) = NAMES.iter().find(|(name, _)| *name == written) else {
                return Err(format!(
                    "line {line}: `$({})` is unknown; there are {}",
                    written.escape_debug(),
                    known()
                ));
            };
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Value(*name));
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        let template = Template { pieces, text_max };
        // Quotes and braces in values show whether each place is inside of a string.
        let odd = "\"}],{\"x\":\"";
        let values = Values {
            id: odd.to_owned(),
            hub: odd.to_owned(),
            channel: odd.to_owned(),
            sender: odd.to_owned(),
            recipients: odd.to_owned(),
            arrived: odd.to_owned(),
            from: odd.to_owned(),
            to: odd.to_owned(),
            subject: odd.to_owned(),
            text: odd.to_owned(),
        };
        match serde_json::from_str::<Value>(&template.filled(&values)) {
            Ok(_) => Ok(template),
            Err(error) => {
                Err(format!("it is no JSON with its values in place, which stand inside of strings: {error}"))
            }
        }
    }

    /// The text with values in their places.
    pub(crate) fn filled(&self, values: &Values) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value(name) => {
                    let value = self.cut(values.named(*name));
                    // A JSON string without the quotes around it.
                    let quoted = Value::String(value).to_string();
                    out.push_str(&quoted[1..quoted.len() - 1]);
                }
            }
        }
        out
    }

    fn cut(&self, value: &str) -> String {
        let mut letters =
            value.chars().filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t'));
        let mut cut: String = letters.by_ref().take(self.text_max).collect();
        if letters.next().is_some() {
            cut.push_str("...");
        }
        cut
    }
}

impl Values {
    /// What a message and its envelope say; the recipients are those of one request.
    pub(crate) fn of(mail: &Mail<'_>, hub: &str, channel: &str) -> Values {
        let mut octets = Vec::new();
        for slice in mail.plain() {
            octets.extend_from_slice(&slice[..slice.len().min(LOOKED_AT - octets.len())]);
            if octets.len() == LOOKED_AT {
                break;
            }
        }
        let recipients: Vec<&str> = mail.recipients.iter().map(|to| to.address).collect();
        Values {
            id: mail.id.to_owned(),
            hub: hub.to_owned(),
            channel: channel.to_owned(),
            sender: mail.sender.to_owned(),
            recipients: recipients.join(", "),
            arrived: mail.arrived(),
            ..Values::of_message(&octets)
        }
    }

    fn of_message(octets: &[u8]) -> Values {
        let Some(message) = MessageParser::default().parse(octets) else { return Values::default() };
        let text = message.body_text(0).unwrap_or_default();
        Values {
            from: listed(message.from()),
            to: listed(message.to()),
            subject: message.subject().unwrap_or_default().to_owned(),
            text: text.replace("\r\n", "\n").trim_end().to_owned(),
            ..Values::default()
        }
    }

    fn named(&self, name: Name) -> &str {
        match name {
            Name::Id => &self.id,
            Name::Hub => &self.hub,
            Name::Channel => &self.channel,
            Name::Sender => &self.sender,
            Name::Recipients => &self.recipients,
            Name::Arrived => &self.arrived,
            Name::From => &self.from,
            Name::To => &self.to,
            Name::Subject => &self.subject,
            Name::Text => &self.text,
        }
    }
}

/// Names and addresses of a field: `Fred <fred@a.example>, ...`.
fn listed(field: Option<&Address<'_>>) -> String {
    let one = |one: &Addr<'_>| match (one.name(), one.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (None, Some(text)) | (Some(text), None) => text.to_owned(),
        (None, None) => String::new(),
    };
    let all: Vec<String> =
        field.into_iter().flat_map(Address::iter).map(one).filter(|one| !one.is_empty()).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, message: &[u8]) -> String {
        Template::read(template, 20).unwrap().filled(&Values::of_message(message))
    }

    #[test]
    fn values_are_the_inside_of_strings() {
        let message = b"From: \"Fred, A.\" <fred@a.example>\r\nTo: b@c.example, =?utf-8?q?Z=C3=BCrich?= <z@c.example>\r\n\
                        Subject: =?iso-8859-1?Q?Gr=FC=DFe?= \"},{\r\nContent-Type: text/plain; charset=utf-8\r\n\
                        Content-Transfer-Encoding: quoted-printable\r\n\r\nH=C3=A9llo \"you\"\\=\r\n!\r\n";
        assert_eq!(
            filled(r#"{"text": "$(subject)", "cost": "5$$"}"#, message),
            r#"{"text": "Grüße \"},{", "cost": "5$"}"#
        );
        assert_eq!(filled(r#"["$(text)"]"#, message), r#"["Héllo \"you\"\\!"]"#);
        assert_eq!(filled(r#"["$(from)"]"#, message), r#"["Fred, A. <fred@a.exa..."]"#);
        assert_eq!(filled(r#"["$(to)"]"#, message), r#"["b@c.example, Zürich ..."]"#);
        assert_eq!(filled(r#"["$(subject)"]"#, b"no message\x01\xff"), r#"[""]"#);
        assert_eq!(filled(r#"["$(text)"]"#, b"\r\na\x01\x1b[2Jb\r\nc\r\n"), r#"["a[2Jb\nc"]"#);
    }

    #[test]
    fn html_becomes_text() {
        let message = b"Content-Type: text/html\r\n\r\n<p>Hello <b>you</b></p>\r\n";
        assert_eq!(filled(r#"["$(text)"]"#, message), r#"["Hello you"]"#);
    }

    #[test]
    fn what_is_no_template() {
        for (text, why) in [
            (r#"{"a": $(subject)}"#, "it is no JSON with its values in place"),
            (r#"{"a": "$(subject)}"#, "it is no JSON"),
            ("{\n\"a\": \"$(Subject)\"}", "line 2: `$(Subject)` is unknown; there are $(id), "),
            (r#"{"a": "$5"}"#, "line 1: `$` stands alone"),
            (r#"{"a": "$("}"#, "line 1: `$` stands alone"),
            ("", "it is no JSON"),
        ] {
            let error = Template::read(text, 20).unwrap_err();
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }

    #[test]
    fn no_octets_make_it_panic() {
        let seed = b"From: a\r\nSubject: =?x?q?\xff=?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\xf0\r\n--b--";
        for at in 0..seed.len() {
            for octet in [0, b'"', b'\r', 0xff] {
                let mut changed = seed.to_vec();
                changed[at] = octet;
                let text = filled(r#"["$(text)","$(subject)","$(from)"]"#, &changed);
                assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
            }
        }
    }
}
