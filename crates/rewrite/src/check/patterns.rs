//! What a pattern can match: hosts, as addresses have them.
//!
//! # Not here
//! Which rule for a host is tried first, and which never (`reach`).

use sluice_config::Rule;

/// Is the pattern a template, and the template a pattern?
pub(super) fn changed_places(rule: &Rule) -> bool {
    let (pattern, template) = (&rule.pattern, &rule.template);
    let makes_address = pattern.contains("$U") || pattern.contains("$u");
    makes_address && pattern.contains(['@', '%']) && !template.contains(['$', '@', '%'])
}

/// Why a pattern is like no host that an address can have, and what to write instead.
pub(super) fn no_host(pattern: &str) -> Option<(String, String)> {
    if pattern.starts_with('$') || pattern == "." {
        return None;
    }
    if let Some((_, host)) = pattern.split_once('@') {
        return Some((
            "patterns are compared with hosts, not with whole addresses".to_owned(),
            format!(
                "write `{host}`; `$U` is the user; an alias or the table FORWARD changes single addresses"
            ),
        ));
    }
    if let Some(c) = pattern.chars().find(|c| matches!(c, '%' | '!' | ',' | ':' | '<' | '>' | ';'))
        && !pattern.starts_with('[')
    {
        return Some((
            format!("no host holds `{c}`"),
            "write the name of one host, or of a domain".to_owned(),
        ));
    }
    if let Some(inside) = pattern.strip_prefix('[') {
        let Some(inside) = inside.strip_suffix(']') else {
            return Some(("the literal has no `]`".to_owned(), format!("write `{pattern}]`")));
        };
        let numbers: Vec<&str> = inside.split('.').collect();
        let quad = inside.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'/'));
        if quad && inside.contains('/') {
            let help =
                "write whole elements, as in `[10.1.]`; for other networks use a mapping table".to_owned();
            return Some(("literals are compared element by element, not by bits".to_owned(), help));
        }
        let too_high = |number: &&&str| number.parse::<u32>().is_ok_and(|number| number > 255);
        if let Some(number) = numbers.iter().find(too_high).filter(|_| quad) {
            return Some((
                format!("{number} is no element of an IPv4 address"),
                "elements go from 0 to 255".to_owned(),
            ));
        }
        if quad && !inside.is_empty() && !inside.ends_with('.') && numbers.len() < 4 {
            let help = format!("for all addresses that begin so, write `[{inside}.]`");
            return Some(("an IPv4 address has four elements".to_owned(), help));
        }
        return None;
    }
    let labels = pattern.strip_prefix('.').unwrap_or(pattern);
    if labels.split('.').any(str::is_empty) {
        let right = labels.split('.').filter(|label| !label.is_empty()).collect::<Vec<_>>().join(".");
        let dot = if pattern.starts_with('.') { "." } else { "" };
        return Some(("no host has an empty label".to_owned(), format!("write `{dot}{right}`")));
    }
    None
}

/// A `*` may only stand for whole leading labels, or for every element of a domain literal.
pub(super) fn asterisks_lead(pattern: &str) -> bool {
    if !pattern.contains('*') || pattern == "$*" {
        return true;
    }
    if let Some(inside) = pattern.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inside.split('.').all(|label| label == "*");
    }
    pattern.split('.').skip_while(|label| *label == "*").all(|label| !label.contains('*'))
}
