//! Deliveries in files; the format stands in the documentation of [`testing`](super).

use super::Mail;
use super::mail::MailTo;
use crate::{Priority, Reader};
use std::str::FromStr;

/// Reads a recorded delivery. The error begins with the number of the line.
pub(super) fn parse(recorded: &[u8]) -> Result<Mail, String> {
    let mut mail = Mail::new("");
    let (mut rest, mut number) = (recorded, 0_usize);
    loop {
        let (line, behind) = match rest.iter().position(|&byte| byte == b'\n') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &[][..]),
        };
        number += 1;
        let line = str::from_utf8(line).map_err(|_| format!("{number}: the line is not UTF-8"))?;
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            rest = behind;
            break;
        }
        if !line.starts_with('#') {
            read_line(&mut mail, line).map_err(|error| format!("{number}: {error}"))?;
        }
        rest = behind;
    }
    if mail.recipients.is_empty() {
        return Err(format!("{number}: there is no line `recipient:` above the blank line"));
    }
    Ok(mail.text(rest))
}

fn read_line(mail: &mut Mail, line: &str) -> Result<(), String> {
    let Some((name, value)) = line.split_once(':') else {
        return Err(format!("`{line}` has no colon; a blank line stands in front of the message"));
    };
    let value = value.trim();
    match name.to_ascii_lowercase().as_str() {
        "sender" => value.clone_into(&mut mail.sender),
        "recipient" => mail.recipients.push(recipient(value)?),
        "id" => value.clone_into(&mut mail.id),
        "attempts" => mail.attempts = number(value)?,
        "priority" => {
            mail.priority = match value.to_ascii_lowercase().as_str() {
                "urgent" => Priority::Urgent,
                "normal" => Priority::Normal,
                "nonurgent" => Priority::Nonurgent,
                _ => return Err(format!("priority `{value}` is not `urgent`, `normal` or `nonurgent`")),
            }
        }
        "transfer-priority" => {
            let number: i8 = number(value)?;
            if !(-9..=9).contains(&number) {
                return Err(format!("transfer-priority {number} is not from -9 to 9"));
            }
            mail.transfer_priority = Some(number);
        }
        "arrived" => mail.arrived_ms = number(value)?,
        "lease" => mail.lease = number(value)?,
        "next-hop" => value.clone_into(&mut mail.next_hop),
        "returned" => mail.returned = number(value)?,
        "envelope-id" => value.clone_into(&mut mail.envelope_id),
        "smtputf8" => {
            mail.smtputf8 = match value {
                "0" => false,
                "1" => true,
                _ => return Err(format!("smtputf8 is `{value}`; it must be 0 or 1")),
            }
        }
        _ => return Err(format!("there is no line `{name}:` in an envelope")),
    }
    Ok(())
}

fn recipient(value: &str) -> Result<MailTo, String> {
    let mut words = value.split_whitespace();
    let address = words.next().ok_or("a recipient needs an address")?.to_owned();
    let mut to = MailTo { address, ..MailTo::default() };
    for word in words {
        match word.split_once('=') {
            Some(("original", text)) => text.clone_into(&mut to.original),
            Some(("notify", text)) => to.notify = number(text)?,
            Some(("origin", text)) => text.clone_into(&mut to.origin),
            _ => return Err(format!("`{word}` is not `original=`, `notify=` or `origin=`")),
        }
    }
    Ok(to)
}

fn number<N: FromStr>(value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("`{value}` is not a number that fits here"))
}

/// Writes one.
pub(super) fn write(mail: &Mail) -> Vec<u8> {
    let mut out = Vec::new();
    let mut line = |name: &str, value: &str| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    };
    line("sender", &mail.sender);
    for one in &mail.recipients {
        let mut value = one.address.clone();
        if !one.original.is_empty() {
            value += &format!(" original={}", one.original);
        }
        if one.notify != 0 {
            value += &format!(" notify={}", one.notify);
        }
        if !one.origin.is_empty() {
            value += &format!(" origin={}", one.origin);
        }
        line("recipient", &value);
    }
    let priority = match mail.priority {
        Priority::Urgent => "urgent",
        Priority::Normal => "",
        Priority::Nonurgent => "nonurgent",
    };
    let unless_zero = |number: u64| if number == 0 { String::new() } else { number.to_string() };
    for (name, value) in [
        ("id", mail.id.clone()),
        ("attempts", unless_zero(mail.attempts.into())),
        ("priority", priority.to_owned()),
        ("transfer-priority", mail.transfer_priority.map_or_else(String::new, |number| number.to_string())),
        ("arrived", mail.arrived_ms.to_string()),
        ("lease", unless_zero(mail.lease)),
        ("next-hop", mail.next_hop.clone()),
        ("returned", unless_zero(mail.returned.into())),
        ("envelope-id", mail.envelope_id.clone()),
        ("smtputf8", unless_zero(mail.smtputf8.into())),
    ] {
        if !value.is_empty() {
            line(name, &value);
        }
    }
    out.push(b'\n');
    // What is in memory is always readable, and a `Vec` always takes it.
    let _ = Reader::over([mail.content.as_slice()]).lf_only().copy_to(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mail = Mail::new("s@a")
            .to_original("fred@b", "list@b")
            .wishes(6, "rfc822;fred@b")
            .to("kim@b")
            .id("000A")
            .attempts(3)
            .priority(Priority::Urgent)
            .transfer_priority(-4)
            .arrived_ms(5)
            .lease(7)
            .next_hop("[192.0.2.1]:25")
            .envelope(1, "e+2B")
            .smtputf8()
            .text(b"Subject: x\n\n.\n..dots\n\xe4 last");
        assert_eq!(Mail::parse(&mail.recorded()), Ok(mail));
        let least = Mail::parse(b"# Somebody\r\nRECIPIENT: a@b\r\n\r\n").unwrap();
        assert_eq!(least, Mail::new("").to("a@b"));
        assert_eq!(Mail::parse(b"recipient: a@b"), Ok(Mail::new("").to("a@b")), "cut off, but whole so far");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let said = |text: &str| Mail::parse(text.as_bytes()).unwrap_err();
        assert_eq!(said(""), "1: there is no line `recipient:` above the blank line");
        assert_eq!(
            said("sender: a\n\nrecipient: x\n"),
            "2: there is no line `recipient:` above the blank line"
        );
        assert_eq!(
            said("Subject x\n"),
            "1: `Subject x` has no colon; a blank line stands in front of the message"
        );
        assert_eq!(said("sender: a\nsubject: x\n"), "2: there is no line `subject:` in an envelope");
        assert_eq!(said("recipient:\n"), "1: a recipient needs an address");
        assert_eq!(said("recipient: a notify=x\n"), "1: `x` is not a number that fits here");
        assert_eq!(said("recipient: a b\n"), "1: `b` is not `original=`, `notify=` or `origin=`");
        assert_eq!(said("priority: high\n"), "1: priority `high` is not `urgent`, `normal` or `nonurgent`");
        assert_eq!(said("transfer-priority: 10\n"), "1: transfer-priority 10 is not from -9 to 9");
        assert_eq!(said("attempts: -1\n"), "1: `-1` is not a number that fits here");
        assert!(Mail::parse(b"sender: \xff\n").unwrap_err().starts_with("1: "));
        let missing = Mail::read("/nowhere/at/all").unwrap_err();
        assert!(missing.starts_with("/nowhere/at/all: "), "{missing}");
    }
}
