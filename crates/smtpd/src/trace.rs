//! The `Received:` field that this server puts in front of a message (RFC 5321 section 4.4).

use std::net::IpAddr;

use sluice_mail::{Time, TransferPriority, rfc5322_date};

use crate::intake::ClientName;

/// The field of a message that a channel brings in.
pub(crate) fn inside(from: &str, host: &str, id: &str, now: Time) -> String {
    let from: String = from.chars().map(|c| if is_name_character(c) { c } else { '?' }).collect();
    let version = env!("CARGO_PKG_VERSION");
    let date = rfc5322_date(now);
    format!("Received: from {from}\r\n\tby {host} (Sluice {version}) id {id};\r\n\t{date}\r\n")
}

/// What the field tells.
pub(crate) struct Trace<'a> {
    /// The name the client gave; a stranger's text.
    pub(crate) helo: &'a str,
    pub(crate) peer: IpAddr,
    /// What the name service calls the client.
    pub(crate) name: Option<&'a ClientName>,
    /// The address is left out where there is a name.
    pub(crate) name_only: bool,
    pub(crate) host: &'a str,
    /// EHLO was said.
    pub(crate) extended: bool,
    pub(crate) smtputf8: bool,
    pub(crate) tls: bool,
    pub(crate) login: bool,
    pub(crate) id: &'a str,
    /// The reverse-path, where some copy goes out with another one.
    pub(crate) original_sender: Option<&'a str>,
    /// The recipient, if there is only one: with more, naming one would tell the others about it.
    pub(crate) recipient: Option<&'a str>,
    /// The priority that MAIL has asked for, as far as it was given (RFC 6710 section 6).
    pub(crate) priority: Option<TransferPriority>,
    pub(crate) now: Time,
}

impl Trace<'_> {
    /// The field, folded, each line with CR LF.
    pub(crate) fn field(&self) -> String {
        // Each message has one: what is not there costs nothing, and the formatter is left out where a text will do.
        let mut field = String::with_capacity(FIELD_OCTETS);
        field.push_str("Received: from ");
        push_cleaned(&mut field, self.helo, is_name_character);
        field.push_str(" (");
        // PMDF System Manager's Guide, "identnone" and "forwardchecktag".
        if let Some(ClientName { name, doubtful }) = self.name {
            field.push_str(name);
            field.push_str(if *doubtful { "*" } else { "" });
        }
        if self.name.is_none() || !self.name_only {
            field.push_str(if self.name.is_some() { " [" } else { "[" });
            push_address(&mut field, self.peer);
            field.push(']');
        }
        field.push(')');
        // In a comment (RFC 5322 section 3.2.2) of a line that is not too long.
        if let Some(sender) = self.original_sender.filter(|sender| sender.len() < 500) {
            field.push_str("\r\n\t(original mail from ");
            push_cleaned(&mut field, sender, is_plain_in_comment);
            field.push(')');
        }
        field.push_str("\r\n\tby ");
        field.push_str(self.host);
        field.push_str(concat!(" (Sluice ", env!("CARGO_PKG_VERSION"), ") with "));
        // RFC 3848 and RFC 6531 section 4.3 name the values of "with". There is none for HELO under TLS.
        field.push_str(match (self.extended, self.smtputf8) {
            (_, true) => "UTF8SMTP",
            (true, false) => "ESMTP",
            (false, false) => "SMTP",
        });
        let extended = self.extended || self.smtputf8;
        field.push_str(if self.tls && extended { "S" } else { "" });
        field.push_str(if self.login && extended { "A" } else { "" });
        field.push_str(" id ");
        field.push_str(self.id);
        if let Some(address) = self.recipient {
            field.push_str("\r\n\tfor <");
            field.push_str(address);
            field.push('>');
        }
        if let Some(priority) = self.priority {
            field.push_str(&format!("\r\n\tpriority {priority}"));
        }
        field.push_str(";\r\n\t");
        field.push_str(&rfc5322_date(self.now));
        field.push_str("\r\n");
        field
    }
}

/// Most fields are shorter.
const FIELD_OCTETS: usize = 320;

/// The address of a client as it stands in an address literal (RFC 5321 section 4.1.3).
fn push_address(field: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, part) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    field.push('.');
                }
                for unit in [100, 10, 1] {
                    if part >= unit || unit == 1 {
                        field.push(char::from(b'0' + part / unit % 10));
                    }
                }
            }
        }
        IpAddr::V6(address) => field.push_str(&format!("IPv6:{address}")),
    }
}

/// Appends a stranger's text with a question mark in the place of what could do harm.
fn push_cleaned(field: &mut String, text: &str, is_harmless: fn(char) -> bool) {
    field.extend(text.chars().map(|c| if is_harmless(c) { c } else { '?' }));
}

/// As it may stand in a comment.
fn is_plain_in_comment(character: char) -> bool {
    !character.is_control() && !matches!(character, '(' | ')' | '\\')
}

/// Others could close a comment or begin another clause of the field.
fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | '[' | ']' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_everybody_writes_them() {
        for part in 0..=255 {
            let address = IpAddr::from([part, 0, 255 - part, 10]);
            let mut field = String::new();
            push_address(&mut field, address);
            assert_eq!(field, address.to_string());
        }
        let mut field = String::new();
        push_address(&mut field, "2001:db8::1".parse().unwrap());
        assert_eq!(field, "IPv6:2001:db8::1");
    }

    #[test]
    fn the_field_is_folded_and_a_strangers_name_is_cleaned() {
        let name = ClientName { name: "pc.site.example".to_owned(), doubtful: false };
        let doubtful = ClientName { doubtful: true, ..name.clone() };
        let mut trace = Trace {
            helo: "evil)(;x\"",
            peer: IpAddr::from([192, 0, 2, 7]),
            name: None,
            name_only: false,
            host: "hub.example",
            extended: true,
            smtputf8: false,
            tls: false,
            login: false,
            id: "00A7",
            original_sender: None,
            recipient: Some("@gate:\"a b\"@site.example"),
            priority: None,
            now: Time::from_secs(1_795_296_600),
        };
        let shown = |trace: &Trace<'_>| {
            let field = trace.field().replace(env!("CARGO_PKG_VERSION"), "VERSION");
            assert!(field.ends_with("\r\n") && !field.replace("\r\n", "").contains(['\r', '\n']));
            field.replace("\r\n\t", "\n  ")
        };
        insta::assert_snapshot!(shown(&trace), @r#"
        Received: from evil???x? ([192.0.2.7])
          by hub.example (Sluice VERSION) with ESMTP id 00A7
          for <@gate:"a b"@site.example>;
          Sat, 21 Nov 2026 21:30:00 +0000
        "#);
        trace.priority = TransferPriority::new(-4);
        assert!(trace.field().contains("site.example>\r\n\tpriority -4;\r\n"), "{}", trace.field());
        (trace.recipient, trace.priority) = (None, None);
        trace.helo = "[192.0.2.7]";
        trace.peer = "2001:db8::7".parse().unwrap();
        trace.extended = false;
        insta::assert_snapshot!(shown(&trace), @r"
        Received: from [192.0.2.7] ([IPv6:2001:db8::7])
          by hub.example (Sluice VERSION) with SMTP id 00A7;
          Sat, 21 Nov 2026 21:30:00 +0000
        ");
        trace.name = Some(&name);
        assert!(trace.field().contains("(pc.site.example [IPv6:2001:db8::7])"));
        trace.name_only = true;
        assert!(trace.field().contains("(pc.site.example)"));
        trace.name = Some(&doubtful);
        assert!(trace.field().contains("(pc.site.example*)"));
        trace.name = None;
        trace.original_sender = Some("u)ser@site.example");
        insta::assert_snapshot!(shown(&trace), @r"
        Received: from [192.0.2.7] ([IPv6:2001:db8::7])
          (original mail from u?ser@site.example)
          by hub.example (Sluice VERSION) with SMTP id 00A7;
          Sat, 21 Nov 2026 21:30:00 +0000
        ");
        trace.smtputf8 = true;
        assert!(trace.field().contains(" with UTF8SMTP id "));
        for (extended, smtputf8, tls, login, with) in [
            (true, false, true, false, "ESMTPS"),
            (true, false, false, true, "ESMTPA"),
            (true, false, true, true, "ESMTPSA"),
            (true, true, true, true, "UTF8SMTPSA"),
            (false, false, true, true, "SMTP"),
        ] {
            (trace.extended, trace.smtputf8, trace.tls, trace.login) = (extended, smtputf8, tls, login);
            assert!(trace.field().contains(&format!(" with {with} id ")), "{}", trace.field());
        }
    }
}
