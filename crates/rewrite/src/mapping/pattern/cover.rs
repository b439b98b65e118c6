//! Whether every text that one pattern matches is matched by another.
//!
//! The answer "yes" is certain; "no" may also mean that it could not be seen. The elements of the special pattern are
//! taken as if they were the text, so a wildcard of the general one takes whole elements.
//!
//! # Not here
//! What an entry that is never reached is worth saying (`check`).

use super::{Class, Item, Pattern, quad};

/// One element of the special pattern: a character of its text, or a wildcard.
enum Element<'p> {
    Character(char),
    Other(&'p Item),
}

impl Pattern {
    /// Does every text that `special` matches match this pattern too? `steps` is what may still be spent, and is spent.
    pub(crate) fn covers(&self, special: &Pattern, steps: &mut usize) -> bool {
        if self.length_min > special.length_min || self.has_back {
            return false;
        }
        let general = elements(self);
        let special = elements(special);
        let places = (general.len() + 1) * (special.len() + 1);
        if places > *steps {
            *steps = 0;
            return false;
        }
        // From the back: whether the elements from `g` on cover those from `s` on.
        let width = special.len() + 1;
        let mut covered = vec![false; places];
        for g in (0..=general.len()).rev() {
            for s in (0..=special.len()).rev() {
                *steps -= 1;
                let rest = |g: usize, s: usize| covered.get(g * width + s).copied().unwrap_or(false);
                covered[g * width + s] = match general.get(g) {
                    None => s == special.len(),
                    Some(Element::Other(Item::Run { class, .. })) => {
                        rest(g + 1, s)
                            || special.get(s).is_some_and(|one| within(one, class)) && rest(g, s + 1)
                    }
                    Some(one) => match takes(one, &special[s..]) {
                        Some(taken) => rest(g + 1, s + taken),
                        None => false,
                    },
                };
            }
        }
        covered[0]
    }
}

fn elements(pattern: &Pattern) -> Vec<Element<'_>> {
    let mut elements = Vec::new();
    for item in &pattern.items {
        match item {
            Item::Text(text) => elements.extend(text.chars().map(Element::Character)),
            item => elements.push(Element::Other(item)),
        }
    }
    elements
}

/// All characters of all texts of the element are of the class.
fn within(element: &Element<'_>, class: &Class) -> bool {
    match element {
        Element::Character(c) => class.has(*c),
        _ if *class == Class::Any => true,
        Element::Other(Item::One(special, _) | Item::Run { class: special, .. }) => subset(special, class),
        Element::Other(_) => false,
    }
}

fn subset(special: &Class, class: &Class) -> bool {
    match (special, class) {
        (_, Class::Any) => true,
        (a, b) if a == b => true,
        (Class::Binary, Class::Octal | Class::Decimal | Class::Hexadecimal | Class::Symbol)
        | (Class::Octal, Class::Decimal | Class::Hexadecimal | Class::Symbol)
        | (Class::Decimal, Class::Hexadecimal | Class::Symbol)
        | (Class::Hexadecimal | Class::Alpha, Class::Symbol) => true,
        (Class::Binary | Class::Octal | Class::Decimal | Class::Hexadecimal, Class::Set(_)) => {
            ('0'..='f').filter(|c| special.has(*c)).all(|c| class.has(c))
        }
        // A range that goes through a few hundred characters is looked at, others are not.
        (Class::Set(ranges), _) => {
            let size: u32 = ranges.iter().map(|(low, high)| (*high as u32).saturating_sub(*low as u32)).sum();
            size < 512
                && ranges.iter().all(|(low, high)| {
                    (*low..=*high).all(|c| {
                        class.has(c) && c.to_lowercase().chain(c.to_uppercase()).all(|c| class.has(c))
                    })
                })
        }
        _ => false,
    }
}

/// How many elements of the special pattern a single element of the general one takes, when it surely takes them.
fn takes(general: &Element<'_>, special: &[Element<'_>]) -> Option<usize> {
    let first = special.first()?;
    let one = match (general, first) {
        (Element::Character(general), Element::Character(special)) => same_letter(*general, *special),
        (Element::Other(Item::One(class, _)), Element::Character(c)) => class.has(*c),
        (Element::Other(Item::One(class, _)), Element::Other(Item::One(special, _))) => {
            subset(special, class)
        }
        (
            Element::Other(Item::V4 { net, mask, .. }),
            Element::Other(Item::V4 { net: special, mask: bits, .. }),
        ) => mask & bits == *mask && special & mask == *net,
        (
            Element::Other(Item::V6 { net, mask, .. }),
            Element::Other(Item::V6 { net: special, mask: bits, .. }),
        ) => mask & bits == *mask && special & mask == *net,
        (Element::Other(Item::V4 { net, mask, .. }), Element::Character(_)) => {
            return address(special).filter(|(value, _)| value & mask == *net).map(|(_, length)| length);
        }
        _ => false,
    };
    one.then_some(1)
}

fn same_letter(general: char, special: char) -> bool {
    general == special || general.to_lowercase().eq(special.to_lowercase())
}

/// The dotted quad that the elements spell out, and how many there are. What follows must not be able to go on with it.
fn address(special: &[Element<'_>]) -> Option<(u32, usize)> {
    let character = |element: &Element<'_>| match element {
        Element::Character(c) if c.is_ascii_digit() || *c == '.' => Some(*c),
        _ => None,
    };
    let text: String = special.iter().map_while(character).collect();
    let (value, end) = quad(text.as_bytes(), 0)?;
    let ends = match special.get(end) {
        None => true,
        Some(Element::Character(c)) => !c.is_ascii_digit(),
        Some(Element::Other(_)) => false,
    };
    ends.then_some((value, end))
}

#[cfg(test)]
mod tests {
    use super::super::{Matched, Saved, Scratch, parse};

    fn covers(general: &str, special: &str) -> bool {
        let mut steps = 1 << 20;
        parse(general).0.covers(&parse(special).0, &mut steps)
    }

    #[test]
    fn what_is_certain_is_seen() {
        for (general, special) in [
            ("*", "anything"),
            ("*", "$0x"),
            ("*@example.com", "fred@EXAMPLE.com"),
            ("*@example.com", "*.fred%@example.com"),
            ("tcp_*|*|*|*", "tcp_local|*|l|$D*@a.b"),
            ("TCP|*|25|$(10.0.0.0/8)|*", "TCP|*|25|10.1.2.3|*"),
            ("TCP|*|25|$(10.0.0.0/8)|*", "TCP|*|25|$(10.1.0.0/16)|77"),
            ("${2001:db8::/32}", "${2001:db8:1::/48}"),
            ("a%c", "abc"),
            ("a$A*", "a$[b-d]*"),
            ("$[0-9]*", "$D%$D%"),
            ("$_*x*", "*x"),
            ("$X*", "$B*17"),
        ] {
            assert!(covers(general, special), "{general} covers {special}");
        }
    }

    #[test]
    fn what_is_not_so_is_not_said() {
        for (general, special) in [
            ("fred@example.com", "*@example.com"),
            ("a*", "*a"),
            ("a%", "a*"),
            ("a%", "a"),
            ("$D*", "$X*"),
            ("$A*", "$D*"),
            ("*.example.com", "example.com"),
            ("$(10.0.0.0/8)", "10.1.2.3*"),
            ("$(10.0.0.0/8)", "11.1.2.3"),
            ("$(10.1.0.0/16)", "$(10.0.0.0/8)"),
            ("*$0*", "aa"),
            ("*|x|*", "*|*|x"),
            ("$[a-c]*", "$[a-d]*"),
        ] {
            assert!(!covers(general, special), "{general} does not cover {special}");
        }
    }

    /// Texts made of the special pattern match the general one whenever that is said to cover it.
    #[test]
    fn no_text_says_otherwise() {
        let pieces =
            ["a", "b", "1", ".", "*", "%", "$D*", "$A%", "$[ab]*", "10.0.0.1", "$(10.0.0.0/8)", "$B*", "|"];
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        let mut said = 0;
        for _ in 0..30_000 {
            let make = |next: &mut dyn FnMut(usize) -> usize| -> Vec<&str> {
                (0..=next(3)).map(|_| pieces[next(pieces.len())]).collect()
            };
            let (general, special) = (make(&mut next).concat(), make(&mut next));
            if !covers(&general, &special.concat()) {
                continue;
            }
            said += 1;
            for _ in 0..4 {
                let text: String = special
                    .iter()
                    .map(|piece| match *piece {
                        "*" => ["", "x", "a1", "10.0.0.1", "b|"][next(5)],
                        "%" => ["x", "a", "1", "."][next(4)],
                        "$D*" => ["", "7", "10"][next(3)],
                        "$A%" => ["q", "a"][next(2)],
                        "$[ab]*" => ["", "ba", "A"][next(3)],
                        "$(10.0.0.0/8)" => ["10.0.0.1", "10.255.3.4"][next(2)],
                        "$B*" => ["", "101"][next(3).min(1)],
                        plain => plain,
                    })
                    .collect();
                let matches = |pattern: &str| {
                    let mut saved = Saved::default();
                    parse(pattern).0.matches(&text, &mut saved, &mut Scratch::default()).0 == Matched::Yes
                };
                // An address next to digits reads more than was put there, so the text may not be one of the special's.
                assert!(!matches(&special.concat()) || matches(&general), "{general}, {special:?}, {text}");
            }
        }
        assert!(said > 1000, "{said}");
    }
}
