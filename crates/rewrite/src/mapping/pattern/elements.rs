//! A pattern in words: what it was read as.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Class, Item, Pattern};

impl Pattern {
    /// Each element in words, with the number under which its text is kept.
    pub(crate) fn elements(&self) -> Vec<(String, Option<u8>)> {
        self.items.iter().map(Item::words).collect()
    }
}

impl Item {
    fn words(&self) -> (String, Option<u8>) {
        match self {
            Item::Text(text) => (format!("\"{text}\""), None),
            Item::One(class, save) => (format!("one {}", class.one()), *save),
            Item::Run { class, few, save } => {
                let much = if *few { "as few as possible" } else { "as many as possible" };
                (format!("any number of {}, {much}", class.many()), *save)
            }
            Item::Back(number, save) => (format!("what wildcard {number} took"), *save),
            Item::V4 { net, mask, save } => {
                (format!("an address of {}/{}", Ipv4Addr::from(*net), mask.leading_ones()), *save)
            }
            Item::V6 { net, mask, save } => {
                (format!("an address of {}/{}", Ipv6Addr::from(*net), mask.leading_ones()), *save)
            }
        }
    }
}

impl Class {
    fn one(&self) -> String {
        match self {
            Class::Any => "character".to_owned(),
            Class::Alpha => "letter A-Z".to_owned(),
            Class::Binary => "binary digit".to_owned(),
            Class::Decimal => "decimal digit".to_owned(),
            Class::Hexadecimal => "hexadecimal digit".to_owned(),
            Class::Octal => "octal digit".to_owned(),
            Class::Symbol => "digit, letter, `_` or `$`".to_owned(),
            Class::Blank => "blank or tab".to_owned(),
            Class::Set(_) => format!("of {}", self.members()),
        }
    }

    fn many(&self) -> String {
        match self {
            Class::Any => "characters".to_owned(),
            Class::Alpha => "letters A-Z".to_owned(),
            Class::Binary => "binary digits".to_owned(),
            Class::Decimal => "decimal digits".to_owned(),
            Class::Hexadecimal => "hexadecimal digits".to_owned(),
            Class::Octal => "octal digits".to_owned(),
            Class::Symbol => "digits, letters, `_` and `$`".to_owned(),
            Class::Blank => "blanks and tabs".to_owned(),
            Class::Set(_) => self.members(),
        }
    }

    fn members(&self) -> String {
        let Class::Set(ranges) = self else { return String::new() };
        let shown = ranges.iter().map(|(low, high)| match low == high {
            true => low.to_string(),
            false => format!("{low}-{high}"),
        });
        format!("[{}]", shown.collect::<String>())
    }
}
