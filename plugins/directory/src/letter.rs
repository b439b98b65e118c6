//! From the content of a file to a message and its envelope.
//!
//! Programs that know the envelope write it in front of the header, in fields `X-Sender:` and `X-Receiver:`, as for the pick-up folders
//! of Microsoft's servers; only fields at the very top are taken for that, so that a message which has such fields for other reasons
//! goes nowhere by them. Otherwise the recipients are those of `To:`, `Cc:` and `Bcc:`, as for `sendmail -t`. `Bcc:` is taken
//! out in any case, and so is `Return-Path:`, which is for the last hop to write.

use std::ops::Range;

use sluice_mail::{Address, field, header};

/// The most recipients of one file.
const RECIPIENTS_MAX: usize = 10_000;

/// A message that was read from a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    /// Empty for the null reverse-path.
    pub(crate) sender: String,
    /// In their order, each once.
    pub(crate) recipients: Vec<String>,
    /// In wire form.
    pub(crate) content: Vec<u8>,
}

/// Reads a file. `sender` is for those that do not name their own; `<>` for the null reverse-path.
pub(crate) fn read(file: &[u8], sender: Option<&str>) -> Result<Letter, String> {
    let wire = sluice_sdk::wire(file);
    let end = header::end(&wire).unwrap_or(wire.len());
    let head = &wire[..end];
    let mut letter = Letter { sender: String::new(), recipients: Vec::new(), content: Vec::new() };
    let (mut named, mut at_top) = (false, true);
    let mut out: Vec<Range<usize>> = Vec::new();
    let (mut to, mut from, mut true_sender) = (Vec::new(), Vec::new(), Vec::new());
    for one in header::fields(head) {
        if one.name.is_empty() {
            let line =
                String::from_utf8_lossy(&head[one.place]).trim_end().chars().take(60).collect::<String>();
            return Err(format!("its header has a line that is no field: {}", line.escape_debug()));
        }
        let (name, body) = (one.name.to_ascii_lowercase(), &head[one.body.clone()]);
        match name.as_slice() {
            b"x-sender" if at_top => {
                letter.sender = written_sender(body)?;
                named = true;
                out.push(one.place);
                continue;
            }
            b"x-receiver" if at_top => {
                let all = addresses("X-Receiver", body)?;
                if all.is_empty() {
                    return Err("its field `X-Receiver` names nobody".to_owned());
                }
                letter.recipients.extend(all);
                out.push(one.place);
                continue;
            }
            b"to" => to.push(addresses("To", body)),
            b"cc" => to.push(addresses("Cc", body)),
            b"bcc" => {
                to.push(addresses("Bcc", body));
                out.push(one.place);
            }
            b"return-path" => out.push(one.place),
            b"from" => from.push(body),
            b"sender" => true_sender.push(body),
            _ => {}
        }
        at_top = false;
    }
    if letter.recipients.is_empty() {
        // What is wrong with these fields is of interest only where they are what is gone by.
        letter.recipients = to.into_iter().collect::<Result<Vec<Vec<String>>, String>>()?.concat();
    }
    if !named {
        letter.sender = match sender {
            Some(sender) => written_sender(sender.as_bytes())?,
            None => match (true_sender.first(), from.first()) {
                (Some(body), _) => first_of("Sender", body)?,
                (None, Some(body)) => first_of("From", body)?,
                (None, None) => {
                    return Err(
                        "nobody is its sender: it has neither `X-Sender:`, `Sender:` nor `From:`".to_owned()
                    );
                }
            },
        };
    }
    let mut seen = std::collections::HashSet::new();
    letter.recipients.retain(|one| seen.insert(one.clone()));
    match letter.recipients.len() {
        0 => return Err("it is for nobody: it has neither `X-Receiver:` at the top nor addresses in `To:`, `Cc:` or `Bcc:`".to_owned()),
        count if count > RECIPIENTS_MAX => return Err(format!("it is for {count} recipients; at most {RECIPIENTS_MAX} are allowed")),
        _ => {}
    }
    letter.content = without(&wire, &out);
    Ok(letter)
}

/// `<a@b>`, `a@b`, or `<>`.
fn written_sender(body: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(body).map_err(|_| "its sender is not UTF-8".to_owned())?.trim();
    if text.is_empty() || text == "<>" {
        return Ok(String::new());
    }
    let bare = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
    match Address::parse(bare) {
        Ok(address) => Ok(address.to_string()),
        Err(error) => Err(format!("its sender `{}` is no address: {error}", bare.escape_debug())),
    }
}

fn first_of(name: &str, body: &[u8]) -> Result<String, String> {
    addresses(name, body)?.into_iter().next().ok_or_else(|| format!("its field `{name}` has no address"))
}

fn addresses(name: &str, body: &[u8]) -> Result<Vec<String>, String> {
    let read =
        field::addresses(body).map_err(|error| format!("its field `{name}` cannot be read: {error}"))?;
    Ok(read.into_iter().map(|one| one.address.to_string()).collect())
}

/// Octets without these stretches, which are in order.
fn without(octets: &[u8], places: &[Range<usize>]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(octets.len());
    let mut from = 0;
    for place in places {
        kept.extend_from_slice(&octets[from..place.start]);
        from = place.end;
    }
    kept.extend_from_slice(&octets[from..]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(file: &str) -> String {
        match read(file.as_bytes(), None) {
            Ok(letter) => {
                let content = String::from_utf8(letter.content).unwrap().replace("\r\n", "|");
                format!("<{}> to {}: {content}", letter.sender, letter.recipients.join(" "))
            }
            Err(why) => why,
        }
    }

    #[test]
    fn the_envelope_stands_at_the_top_or_in_the_header() {
        for (file, expected) in [
            (
                "X-Sender: <s@a>\nX-Receiver: r@b\nX-Receiver: q@b\nSubject: x\n\nhi\n",
                "<s@a> to r@b q@b: Subject: x||hi|",
            ),
            ("x-sender:\nX-RECEIVER: <r@b>, q@b\r\nSubject: x\r\n\r\n", "<> to r@b q@b: Subject: x||"),
            (
                "From: Fred <f@a>\nTo: A <a@b>, b@b\nCc: g: c@b, a@b;\nBcc: d@b\nSubject: x\n\n.hi\n",
                "<f@a> to a@b b@b c@b d@b: From: Fred <f@a>|To: A <a@b>, b@b|Cc: g: c@b, a@b;|Subject: x||..hi|",
            ),
            ("Sender: s@a\nFrom: f@a, g@a\nTo: a@b\n", "<s@a> to a@b: Sender: s@a|From: f@a, g@a|To: a@b|"),
            // Further down they are fields like any other.
            (
                "From: f@a\nTo: a@b\nX-Receiver: everybody@b\nX-Sender: boss@b\n\n",
                "<f@a> to a@b: From: f@a|To: a@b|X-Receiver: everybody@b|X-Sender: boss@b||",
            ),
            (
                "X-Receiver: a@b\nReturn-Path: <old@c>\nFrom: f@a\nTo: not <asked\n\n",
                "<f@a> to a@b: From: f@a|To: not <asked||",
            ),
        ] {
            assert_eq!(told(file), expected);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (file, expected) in [
            ("", "nobody is its sender"),
            ("From: f@a\n\nhi\n", "it is for nobody"),
            ("From: f@a\nTo: a@b <\n\n", "its field `To` cannot be read"),
            ("To: a@b\n\n", "nobody is its sender"),
            ("From: undisclosed:;\nTo: a@b\n\n", "its field `From` has no address"),
            ("X-Sender: a b\nX-Receiver: a@b\n\n", "its sender `a b` is no address"),
            ("X-Receiver: \nFrom: a@b\n\n", "its field `X-Receiver` names nobody"),
            ("MZ\u{1}binary\nFrom: f@a\n", "its header has a line that is no field: MZ\\u{1}binary"),
        ] {
            let found = told(file);
            assert!(found.starts_with(expected), "{file:?}: {found}");
        }
        let many: String = (0..=RECIPIENTS_MAX).map(|n| format!("X-Receiver: r{n}@b\n")).collect();
        assert_eq!(
            told(&format!("{many}From: f@a\n\n")),
            "it is for 10001 recipients; at most 10000 are allowed"
        );
    }

    #[test]
    fn an_option_names_the_sender() {
        let sender = |option| read(b"From: f@a\nTo: a@b\n\n", Some(option)).map(|letter| letter.sender);
        assert_eq!(sender("<>").as_deref(), Ok(""));
        assert_eq!(sender("robot@a").as_deref(), Ok("robot@a"));
    }
}
