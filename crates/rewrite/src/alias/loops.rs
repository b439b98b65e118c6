//! Aliases of the file that lead to each other.
//!
//! Expansion ends at an alias that comes back, so that nothing runs for ever; but who gets the mail is then an accident. One
//! that names itself is meant as a mailbox, and ends the search. Aliases of the database are not looked at: they change
//! while the configuration does not.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use sluice_config::Config;
use sluice_diag::Diagnostic;

use super::{NOWHERE_REPORTED_MAX, Walk};
use crate::codes;
use crate::rewriter::{Context, Kind, Rewriter};

/// One remark for each circle.
pub(super) fn check(rewriter: &Rewriter) -> Vec<Diagnostic> {
    let config = rewriter.config();
    let local = config.channels.local();
    let context = Context { kind: Kind::EnvelopeTo, source_channel: &local.name, destination_channel: None };
    let walk = Walk::new(rewriter, &context, false, "", None);
    // The names of aliases that the members of each alias are; in the order of the file.
    let next: HashMap<String, Vec<String>> = config
        .aliases
        .iter()
        .map(|alias| {
            let name = alias.name.to_lowercase();
            let names: Vec<String> =
                alias.members.iter().filter_map(|member| walk.alias_named(&member.address)).collect();
            let ends = names.contains(&name);
            (name, if ends { Vec::new() } else { names })
        })
        .collect();
    let mut done: HashSet<&str> = HashSet::new();
    let mut found = Vec::new();
    for alias in config.aliases.iter() {
        let Some((start, _)) = next.get_key_value(&alias.name.to_lowercase()) else { continue };
        // The way to the alias that is looked at, each with the number of members that were tried.
        let mut way: Vec<(&str, usize)> = Vec::new();
        if done.insert(start) {
            way.push((start, 0));
        }
        while let Some((name, tried)) = way.last_mut() {
            let Some(member) = next.get(*name).and_then(|names| names.get(*tried)) else {
                way.pop();
                continue;
            };
            *tried += 1;
            let Some((member, _)) = next.get_key_value(member) else { continue };
            if let Some(first) = way.iter().position(|(name, _)| *name == member) {
                let others: Vec<&str> = way[first + 1..].iter().map(|(name, _)| *name).collect();
                found.push(looped(config, member, &others));
                if found.len() == NOWHERE_REPORTED_MAX {
                    return found;
                }
            } else if done.insert(member) {
                way.push((member, 0));
            }
        }
    }
    found
}

/// The remark about aliases each of which leads to the next one, and the last to the first.
fn looped(config: &Config, first: &str, others: &[&str]) -> Diagnostic {
    let mut message = format!("the alias `{first}` leads back to itself");
    let mut by = ", by way of ";
    for name in others {
        let _ = write!(message, "{by}`{name}`");
        by = ", ";
    }
    let span = |name: &str| config.aliases.get(name).and_then(|alias| alias.span);
    let mut remark = Diagnostic::new(&codes::ALIAS_LOOP, message);
    remark.span = span(first);
    for name in others {
        if let Some(span) = span(name) {
            remark = remark.note(span, format!("`{name}` is here"));
        }
    }
    remark.help("write the address at the host where the mail shall end")
}
