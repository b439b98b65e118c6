//! What rules do together: tags that are set and never tested, or tested and never set; rules that send an address round
//! for ever; channels that no address comes to.
//!
//! All of it errs on the side of silence: what depends on a look-up, on another file or on a program counts as reached.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

use sluice_config::{Arguments, Channel, Config, Rule, is_local_name};
use sluice_diag::Diagnostic;

use super::Parts;
use super::turns::Conditions;
use crate::codes;
use crate::glob::Glob;
use crate::guess::Guesses;
use crate::probe;
use crate::table::{Table, lower};
use crate::template::{Op, Separator, Template};

/// Names of channels that mail comes to in other ways than by rules: built-in work, queues for operators, delivery that a
/// directory or another channel chooses, and the customary starting points of sessions (PMDF System Manager's Guide, table 2-7; Messaging
/// Server Administration Guide, chapter 8).
const REACHED_OTHERWISE: [&str; 30] = [
    "process",
    "reprocess",
    "conversion",
    "defragment",
    "bitbucket",
    "hold",
    "filter_discard",
    "inactive",
    "disclaimer",
    "circuitcheck",
    "ims-ms",
    "sims-ms",
    "native",
    "sms",
    "test",
    "bsin",
    "pickup",
    "tcp_submit",
    "tcp_auth",
    "tcp_tas",
    "tcp_lmtpss",
    "mailserv",
    "pipe",
    "text_to_ps",
    "ps_to_g3",
    "g3_to_fax",
    "fax_to_data",
    "data_to_bitmap",
    "mime_to_x400",
    "x400_to_mime",
];
/// Comparisons of a channel's hosts with routing systems that are not plain text. Beyond this nothing is said.
const COMPARISONS_MAX: usize = 4_000_000;
/// Octets of other files that are searched for names of channels. Beyond this nothing is said.
const SEARCHED_MAX: usize = 1 << 28;
/// Rules that an address is followed through in search of a circle.
const CIRCLE_MAX: usize = 32;

/// What is to be known of all rules together. Rules are taken in one at a time, since their templates are not kept.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Each tag with the first rule that sets it, and where in its template.
    tags: BTreeMap<String, (usize, Range<usize>)>,
    /// By rule, the plain host that it sends round, always or under conditions that last.
    round: HashMap<usize, (Box<str>, Conditions)>,
    /// Routing systems, in lower case.
    plain: HashSet<String>,
    /// Those that depend on the address, with `*` for what does.
    open: BTreeSet<String>,
    /// A look-up gives a routing system, which may be any.
    any: bool,
}

impl Facts {
    /// Takes in a rule; `certain`: it always applies, or would but for conditions that last, and none of its pattern in front of it
    /// always does.
    pub(super) fn add(
        &mut self,
        index: usize,
        rule: &Rule,
        template: &Template,
        parts: &Parts<'_>,
        certain: bool,
    ) {
        let mut sets_tag = false;
        for (op, place) in &template.ops {
            if let Op::Tag(tag) = op {
                sets_tag = true;
                self.tags.entry(tag.to_lowercase()).or_insert((index, place.clone()));
            }
        }
        let system = system_of(&rule.pattern, template, parts);
        let mut separators = template.ops.iter().filter(|(op, _)| matches!(op, Op::Separator(_)));
        let again = matches!(separators.next(), Some((Op::Separator(Separator::Percent), _)));
        if again
            && separators.next().is_none()
            && !sets_tag
            && certain
            // A `!` may be asked first in the next turn.
            && !parts[0].iter().any(|(op, _)| matches!(op, Op::Text(text) if text.contains('!')))
            && let Some(host) = system.as_ref().filter(|host| !host.contains('*'))
        {
            let conditions = Conditions::of(template);
            if conditions.can_be_met() {
                self.round.insert(index, (host.as_str().into(), conditions));
            }
        }
        if template.only_text {
            return;
        }
        match system {
            Some(system) if system.contains('*') => _ = self.open.insert(system),
            Some(system) => _ = self.plain.insert(system),
            None => self.any = true,
        }
    }
}

/// The remarks of this module.
pub(super) fn check(
    config: &Config,
    table: &Table,
    facts: &Facts,
    certain: &[Option<u32>],
    found: &mut Vec<Diagnostic>,
) {
    tags(config, table, &facts.tags, found);
    let rules = Rules { config, table, facts, certain };
    rules.circles(found);
    rules.first_of_all(found);
    rules.channels(found);
}

fn tags(
    config: &Config,
    table: &Table,
    set: &BTreeMap<String, (usize, Range<usize>)>,
    found: &mut Vec<Diagnostic>,
) {
    let database = config.databases.get("domain");
    let mut patterns = None;
    for (tag, (index, place)) in set {
        // A tag that is too long has its own remark.
        if tag.chars().count() > super::TAG_LENGTH_MAX {
            continue;
        }
        let patterns = patterns.get_or_insert_with(|| {
            let keys = database.into_iter().flat_map(|database| database.iter()).map(|(key, _)| lower(key));
            let mut patterns: Vec<Cow<'_, str>> = table.patterns().map(Cow::Borrowed).chain(keys).collect();
            patterns.sort_unstable();
            patterns
        });
        let at = patterns.partition_point(|pattern| **pattern < **tag);
        if patterns.get(at).is_some_and(|pattern| pattern.starts_with(tag)) {
            continue;
        }
        let message = format!("no pattern begins with the tag `{tag}`, so behind this rule no rule matches");
        let remark = Diagnostic::new(&codes::TAG_NEVER_TESTED, message);
        let remark = remark.at(config.rules[*index].template_part(place.start, place.end));
        found.push(remark.help(format!("add rules such as `{tag}. $U%$H@…`, or take the tag out")));
    }
    let mut near = Guesses::default();
    // The set of a database cannot be known without reading all of it as templates; a mention is enough.
    let mut database_sets = None;
    for rule in config.rules.iter().filter(|rule| rule.pattern.contains('|')) {
        let pattern = lower(&rule.pattern);
        let mut ends = pattern.char_indices().map(|(at, _)| at).chain([pattern.len()]);
        if ends.any(|end| set.contains_key(&pattern[..end])) {
            continue;
        }
        let sets = |value: &str| value.contains("$T") || value.contains("$t");
        if *database_sets.get_or_insert_with(|| {
            database.is_some_and(|database| database.iter().any(|(_, value)| sets(value)))
        }) {
            break;
        }
        let tag = &pattern[..=pattern.rfind('|').unwrap_or(0)];
        let message = format!("`{}` never matches: no rule sets the tag `{tag}`", rule.pattern);
        let remark = Diagnostic::new(&codes::TAG_NEVER_SET, message).at(rule.span);
        found.push(remark.help(match near.nearest(tag, || set.keys().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("a template sets it with `$T{tag}`"),
        }));
    }
}

struct Rules<'c> {
    config: &'c Config,
    table: &'c Table,
    facts: &'c Facts,
    /// By the number of a pattern, the first rule that always applies.
    certain: &'c [Option<u32>],
}

impl Rules<'_> {
    /// `a $U%b` and `b $U%a`: an address that comes in never comes out. Conditions that last change nothing about that, if one
    /// address can meet all of them.
    fn circles(&self, found: &mut Vec<Diagnostic>) {
        if self.config.databases.get("domain").is_some_and(|database| !database.is_empty()) {
            return;
        }
        let mut seen = HashSet::new();
        for (start, rule) in self.config.rules.iter().enumerate() {
            let mut way = vec![start];
            let mut index = start;
            let mut conditions = Conditions::default();
            while way.len() <= CIRCLE_MAX && !seen.contains(&start) {
                let Some((host, own)) = self.facts.round.get(&index) else { break };
                let Some(both) = conditions.and(own) else { break };
                conditions = both;
                let Some(next) = self.first_asked(host) else { break };
                if next == start {
                    seen.extend(way.iter().copied());
                    let mut message = match way.len() {
                        1 => format!("`{}` is rewritten by this rule over and over", rule.pattern),
                        _ => format!(
                            "`{}` comes back to this rule by way of others, over and over",
                            rule.pattern
                        ),
                    };
                    if !conditions.are_none() {
                        message.push_str(", where the conditions are met");
                    }
                    let mut remark = Diagnostic::new(&codes::ENDLESS, message).at(rule.template_span);
                    for other in &way[1..] {
                        remark = remark.note(self.config.rules[*other].span, "one of them");
                    }
                    found.push(remark.help("write `@` and a channel's host where the way shall end"));
                    break;
                }
                if way.contains(&next) {
                    break;
                }
                way.push(next);
                index = next;
            }
        }
    }

    /// The first rule that is asked for a host when no tag is set.
    fn first_asked(&self, host: &str) -> Option<usize> {
        probe::probe(host, host, "", self.table.reach(), &mut String::new(), |pattern, _| {
            self.table.rules(pattern).first().map(|entry| entry.rule as usize)
        })
    }

    /// The rule of a pattern that always applies.
    fn certain(&self, pattern: &str) -> Option<usize> {
        let rule = self.certain.get(self.table.number(pattern)?)?;
        rule.map(|rule| rule as usize)
    }

    /// The rule that certainly takes a host, when no tag is set.
    fn taken_by(&self, host: &str) -> Option<usize> {
        probe::probe(host, &lower(host), "", self.table.reach(), &mut String::new(), |pattern, _| {
            self.certain(pattern)
        })
    }

    /// `$*` is asked before all other patterns, wherever it stands.
    fn first_of_all(&self, found: &mut Vec<Diagnostic>) {
        let Some(index) = self.certain("$*") else { return };
        let others = |rule: &&Rule| !rule.pattern.starts_with('$') && !rule.pattern.contains('|');
        let Some(rule) = self.config.rules.iter().find(others) else { return };
        let message =
            "no other rule is ever tried: `$*` is asked before all patterns, and this rule always applies";
        let remark = Diagnostic::new(&codes::UNREACHABLE, message).at(self.config.rules[index].span);
        let remark = remark.note(rule.span, "a rule that is never tried");
        found.push(remark.help("to take what no other rule takes, write `.` in place of `$*`"));
    }

    /// Channels to which no rule sends anything, and whose names are taken by rules that send them elsewhere.
    fn channels(&self, found: &mut Vec<Diagnostic>) {
        // With a tag, and without rules, names that a rule would take are looked up as they are.
        let Facts { tags, plain, open, any, .. } = self.facts;
        if !tags.is_empty() || *any || self.config.channels.iter().any(|channel| !channel.settings.rules) {
            return;
        }
        if open.contains("*") {
            return;
        }
        let open: Vec<Glob> = open.iter().map(|system| Glob::new(system)).collect();
        let mut comparisons = 0;
        let mut candidates = Vec::new();
        for channel in &self.config.channels {
            if is_local_name(&channel.name) || channel.has("slave") || reached_otherwise(&channel.name) {
                continue;
            }
            comparisons += channel.hosts.len() * open.len();
            if comparisons > COMPARISONS_MAX {
                return;
            }
            let reached = channel.hosts.iter().any(|host| {
                let name = host.name.to_lowercase();
                plain.contains(&name)
                    || open.iter().any(|system| system.matches(&name))
                    || self.taken_by(&name).is_none()
            });
            if !reached {
                candidates.push(channel);
            }
        }
        if candidates.is_empty() {
            return;
        }
        let used = self.used_by_other_files();
        // To open a large compiled database, hardly any of it is read; this is no reason to read all of it.
        let databases = sluice_config::DATABASES.iter().filter_map(|name| self.config.databases.get(name));
        if databases.map(|database| database.image().len()).sum::<usize>() > SEARCHED_MAX {
            return;
        }
        let other_files = self.other_files();
        let mut searched = 0;
        for channel in candidates {
            if used.contains(channel.name.as_str()) {
                continue;
            }
            searched += other_files.len() * (channel.hosts.len() + 1);
            if searched > SEARCHED_MAX {
                return;
            }
            if mentioned(channel, &other_files) {
                continue;
            }
            let host = &channel.official_host;
            let taken = self.taken_by(host).map(|index| &self.config.rules[index]);
            let message = format!("no rule sends mail to the channel `{}`", channel.name);
            let mut remark = Diagnostic::new(&codes::CHANNEL_NOT_REACHED, message).at(channel.span);
            if let Some(rule) = taken {
                let note = format!("an address at `{host}` itself is taken by this rule");
                remark = remark.note(rule.span, note);
            }
            found.push(remark.help(format!("write a rule whose template ends with `@{host}`")));
        }
    }

    /// Channels that sessions start on or are moved to.
    fn used_by_other_files(&self) -> HashSet<&str> {
        let services = self.config.services.iter().map(|service| service.channel.as_str());
        let keywords = self.config.channels.iter().flat_map(|channel| &channel.keywords);
        let switches = keywords
            .filter(|keyword| keyword.info.arguments == Arguments::Channel)
            .flat_map(|keyword| keyword.arguments.iter().map(String::as_str));
        services.chain(switches).collect()
    }

    /// The texts of mapping tables and databases in which channels may be named, in lower case.
    fn other_files(&self) -> String {
        let config = self.config;
        let entries = config.mappings.iter().flat_map(|table| &table.entries);
        let databases = sluice_config::DATABASES.iter().filter_map(|name| config.databases.get(name));
        let values = databases.flat_map(|database| database.iter().map(|(_, value)| value));
        let mut texts = String::new();
        for text in entries.map(|entry| entry.template.as_str()).chain(values) {
            texts.push_str(&lower(text));
            texts.push('\n');
        }
        texts
    }
}

/// Is the channel, or one of its hosts, named where no rule says so?
fn mentioned(channel: &Channel, other_files: &str) -> bool {
    let names = channel.hosts.iter().map(|host| &host.name).chain([&channel.name]);
    names.into_iter().any(|name| other_files.contains(&*lower(name)))
}

fn reached_otherwise(name: &str) -> bool {
    REACHED_OTHERWISE.iter().any(|known| {
        name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', '-']))
    })
}

/// The last part of a template, in lower case, with `*` for what depends on the address; `None` when a look-up decides.
fn system_of(pattern: &str, template: &Template, parts: &Parts<'_>) -> Option<String> {
    if template.ops.iter().any(|(op, _)| matches!(op, Op::LookUp { .. } | Op::Broken)) {
        return None;
    }
    let untagged = pattern.rsplit('|').next().unwrap_or(pattern);
    let mut system = String::new();
    for (op, _) in parts.last()? {
        match op {
            Op::Text(text) => system.push_str(&lower(text)),
            // An exact pattern is the whole host, and leaves nothing open.
            Op::Domain(0) if !untagged.starts_with(['.', '*', '$', '[']) => {
                system.push_str(&untagged.to_lowercase());
            }
            Op::Host(_) if !untagged.starts_with(['.', '*', '$', '[']) => {}
            // The dot belongs to it; where a pattern spells nothing out there is none.
            Op::Domain(0) if untagged.starts_with(['.', '*']) => {
                let spelled = untagged.trim_start_matches(['*', '.']);
                if !spelled.is_empty() {
                    system.push('.');
                    system.push_str(&spelled.to_lowercase());
                }
            }
            Op::Case(_) => {}
            _ => system.push('*'),
        }
    }
    Some(system)
}
