//! What a program says in the file OUTPUT_OPTIONS: lines `NAME=value` (Messaging Server Administration Guide, "To Use Conversion Channel
//! Output Options").
//!
//! # Not here
//! What is done about it.

/// Octets of the file.
pub(crate) const OPTIONS_MAX: u64 = 64 * 1024;
/// Characters of a text that goes into a notice.
const TEXT_MAX: usize = 800;

/// What a program wants to become of the part, or of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The part is what the program made of it.
    Convert,
    /// PMDF__FORCERETURN: the message goes back to its sender.
    Return,
    /// PMDF__FORCEPOST: it goes to the postmaster, and to nobody else.
    Post,
    /// PMDF__FORCEASIS: it goes on unchanged.
    AsIs,
    /// PMDF__FORCEDELETE: the part is taken out.
    Delete,
    /// PMDF__FORCEHOLD: it is put on hold.
    Hold,
    /// PMDF__FORCEDISCARD, PMDF__FORCEJETTISON: it goes nowhere.
    Discard,
    /// PMDF__AGN, and every number that is not known: it is tried again.
    Later,
}

/// Numbers of the statuses (`pmdf_err.h` of PMDF and Messaging Server).
const STATUSES: [(u32, Wish); 11] = [
    (0, Wish::Convert),
    // The odd ones of VMS that mean success.
    (1, Wish::Convert),
    (0x0A9C_857A, Wish::Return),
    (0x0A9C_857B, Wish::Return),
    (0x0A9C_8612, Wish::Post),
    (0x0A9C_8632, Wish::AsIs),
    (0x0A9C_8662, Wish::Delete),
    (0x0A9C_86AA, Wish::Hold),
    (0x0A9C_86B3, Wish::Discard),
    (0x0A9C_86E3, Wish::Discard),
    (0x0A9C_809A, Wish::Later),
];

/// What the file said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) status: Option<Wish>,
    pub(crate) kind: Option<String>,
    pub(crate) subtype: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) disposition: Option<String>,
    pub(crate) encoding: Option<String>,
    pub(crate) mode: Option<String>,
    /// What the sender is told.
    pub(crate) diagnostic: Option<String>,
    /// Lines that say nothing.
    pub(crate) unknown: Vec<String>,
}

impl Told {
    /// Reads the file.
    pub(crate) fn read(text: &[u8]) -> Told {
        let mut told = Told::default();
        let text = String::from_utf8_lossy(text);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if !told.take(line) && told.unknown.len() < 5 {
                told.unknown.push(bounded(line, 80));
            }
        }
        told
    }

    fn take(&mut self, line: &str) -> bool {
        let Some((name, value)) = line.split_once('=') else { return false };
        let value = unquoted(value.trim());
        let token = || is_token(&value).then(|| value.to_ascii_lowercase());
        let text = || Some(bounded(&value, TEXT_MAX)).filter(|text| !text.is_empty());
        let slot = match name.trim().to_ascii_uppercase().as_str() {
            "STATUS" => {
                let number = match value.strip_prefix("0x").or_else(|| value.strip_prefix("0X")) {
                    Some(digits) => u32::from_str_radix(digits, 16).ok(),
                    None => value.parse().ok(),
                };
                let known =
                    |number| STATUSES.iter().find(|(known, _)| *known == number).map(|(_, wish)| *wish);
                self.status = Some(number.and_then(known).unwrap_or(Wish::Later));
                return number.is_some();
            }
            "OUTPUT_TYPE" => (&mut self.kind, token()),
            "OUTPUT_SUBTYPE" => (&mut self.subtype, token()),
            "OUTPUT_DISPOSITION" => (&mut self.disposition, token()),
            "OUTPUT_ENCODING" => (&mut self.encoding, token()),
            "OUTPUT_MODE" => (&mut self.mode, token()),
            "OUTPUT_DESCRIPTION" => (&mut self.description, text()),
            "OUTPUT_DIAGNOSTIC" => (&mut self.diagnostic, text()),
            _ => return false,
        };
        let is_good = slot.1.is_some();
        if is_good {
            *slot.0 = slot.1;
        }
        is_good
    }
}

/// A word of MIME (RFC 2045 section 5.1).
pub(crate) fn is_token(text: &str) -> bool {
    let fits = |octet: u8| octet.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&octet);
    !text.is_empty() && text.len() <= 127 && text.bytes().all(fits)
}

fn unquoted(value: &str) -> String {
    for quote in ['"', '\''] {
        let inside = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inside) = inside {
            return inside.to_owned();
        }
    }
    value.to_owned()
}

/// A text without control characters, of at most so many octets.
pub(crate) fn bounded(text: &str, most: usize) -> String {
    let mut clean: String = text.chars().filter(|character| !character.is_control()).collect();
    clean.truncate(clean.floor_char_boundary(most));
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_manual() {
        for (text, wish) in [
            ("178029946", Wish::Return),
            ("0x0A9C857B", Wish::Return),
            ("178029938", Wish::Later),
            ("178030250", Wish::Hold),
            ("178030178", Wish::Delete),
            ("\"178030259\"", Wish::Discard),
            ("178028698", Wish::Later),
            ("0", Wish::Convert),
            ("ten", Wish::Later),
        ] {
            assert_eq!(Told::read(format!("STATUS={text}").as_bytes()).status, Some(wish), "{text}");
        }
        assert_eq!(Told::read(b"").status, None);
    }

    #[test]
    fn values_are_clean() {
        let told = Told::read(
            b"output_type='Application'\r\nOUTPUT_SUBTYPE=a b\nOUTPUT_DIAGNOSTIC=\"5.7.1 No\x07 \xff\"\nX\nOUTPUT_DISPOSITION=a\nOUTPUT_DISPOSITION=\n",
        );
        assert_eq!(told.kind.as_deref(), Some("application"));
        assert_eq!((told.subtype, told.disposition.as_deref()), (None, Some("a")));
        assert_eq!(told.diagnostic.as_deref(), Some("5.7.1 No \u{fffd}"));
        assert_eq!(told.unknown, ["OUTPUT_SUBTYPE=a b", "X", "OUTPUT_DISPOSITION="]);
    }
}
