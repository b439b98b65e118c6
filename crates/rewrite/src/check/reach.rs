//! What rules do together: tags that are set and never tested, or tested and never set; rules that send an address round
//! for ever; channels that no address comes to.
//!
//! All of it errs on the side of silence: what depends on a look-up, on another file or on a program counts as reached.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

use sluice_config::{Arguments, Channel, Config, Rule, is_local_name};
use sluice_diag::Diagnostic;

use super::parts;
use crate::codes;
use crate::glob::Glob;
use crate::probe;
use crate::template::{Op, Separator, Template};

/// Names of channels that mail comes to in other ways than by rules: built-in work, queues for operators, delivery that a
/// directory or another channel chooses, and the customary starting points of sessions (PMDF System Manager's Guide, table 2-7; Messaging
/// Server Administration Guide, chapter 8).
const REACHED_OTHERWISE: [&str; 28] = [
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
    "native",
    "sms",
    "test",
    "bsin",
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
/// Rules that an address is followed through in search of a circle.
const CIRCLE_MAX: usize = 32;

/// The remarks of this module about a configuration without gross mistakes.
pub(super) fn check(
    config: &Config,
    templates: &[Template],
    certain: &HashMap<String, usize>,
    found: &mut Vec<Diagnostic>,
) {
    tags(config, templates, found);
    let mut first = HashMap::with_capacity(config.rules.len());
    for (index, rule) in config.rules.iter().enumerate() {
        first.entry(rule.pattern.to_lowercase()).or_insert(index);
    }
    let rules = Rules { config, templates, certain, first };
    rules.circles(found);
    rules.first_of_all(found);
    rules.channels(found);
}

fn tags(config: &Config, templates: &[Template], found: &mut Vec<Diagnostic>) {
    let mut set: BTreeMap<String, (&Rule, Range<usize>)> = BTreeMap::new();
    for (rule, template) in config.rules.iter().zip(templates) {
        for (op, place) in &template.ops {
            if let Op::Tag(tag) = op {
                set.entry(tag.to_lowercase()).or_insert((rule, place.clone()));
            }
        }
    }
    let tagged = config.rules.iter().filter(|rule| rule.pattern.contains('|'));
    let database = config.databases.get("domain");
    let in_database = |wanted: &dyn Fn(&str, &str) -> bool| {
        database.is_some_and(|database| database.iter().any(|(key, value)| wanted(key, value)))
    };
    let patterns: BTreeSet<String> = match set.is_empty() {
        true => BTreeSet::new(),
        false => config.rules.iter().map(|rule| rule.pattern.to_lowercase()).collect(),
    };
    for (tag, (rule, place)) in &set {
        let tested = patterns.range(tag.clone()..).next().is_some_and(|pattern| pattern.starts_with(tag));
        // A tag that is too long has its own remark.
        if tested
            || tag.chars().count() > super::TAG_LENGTH_MAX
            || in_database(&|key, _| key.to_lowercase().starts_with(tag))
        {
            continue;
        }
        let message = format!("no pattern begins with the tag `{tag}`, so behind this rule no rule matches");
        let remark = Diagnostic::new(&codes::TAG_NEVER_TESTED, message);
        let remark = remark.at(rule.template_part(place.start, place.end));
        found.push(remark.help(format!("add rules such as `{tag}. $U%$H@…`, or take the tag out")));
    }
    // The set of a database cannot be known without reading all of it as templates; a mention is enough.
    let mut in_templates = None;
    for rule in tagged {
        let pattern = rule.pattern.to_lowercase();
        if set.keys().any(|tag| pattern.starts_with(tag)) {
            continue;
        }
        let database_sets = *in_templates
            .get_or_insert_with(|| in_database(&|_, value| value.contains("$T") || value.contains("$t")));
        if database_sets {
            break;
        }
        let tag = &pattern[..=pattern.rfind('|').unwrap_or(0)];
        let message = format!("`{}` never matches: no rule sets the tag `{tag}`", rule.pattern);
        let remark = Diagnostic::new(&codes::TAG_NEVER_SET, message).at(rule.span);
        let near = sluice_diag::nearest(tag, set.keys().map(String::as_str));
        found.push(remark.help(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("a template sets it with `$T{tag}`"),
        }));
    }
}

struct Rules<'c> {
    config: &'c Config,
    templates: &'c [Template],
    /// Pattern to the first rule that always applies.
    certain: &'c HashMap<String, usize>,
    /// Pattern to its first rule.
    first: HashMap<String, usize>,
}

impl Rules<'_> {
    /// The host that a rule of the shape `A%B` sends round, when the rule always applies, sets no tag, and the host is plain.
    fn sent_round(&self, index: usize) -> Option<String> {
        let (rule, template) = (&self.config.rules[index], &self.templates[index]);
        let mut separators = template.ops.iter().filter(|(op, _)| matches!(op, Op::Separator(_)));
        let again = matches!(separators.next(), Some((Op::Separator(Separator::Percent), _)));
        if !again
            || separators.next().is_some()
            || template.ops.iter().any(|(op, _)| matches!(op, Op::Tag(_)))
            || self.certain.get(&rule.pattern.to_lowercase()) != Some(&index)
        {
            return None;
        }
        system_of(&rule.pattern, template).filter(|host| !host.contains('*'))
    }

    /// `a $U%b` and `b $U%a`: an address that comes in never comes out.
    fn circles(&self, found: &mut Vec<Diagnostic>) {
        if self.config.databases.get("domain").is_some_and(|database| !database.is_empty()) {
            return;
        }
        let mut seen = HashSet::new();
        for (start, rule) in self.config.rules.iter().enumerate() {
            let mut way = vec![start];
            let mut index = start;
            while way.len() <= CIRCLE_MAX && !seen.contains(&start) {
                let Some(next) = self.sent_round(index).and_then(|host| self.first_asked(&host)) else {
                    break;
                };
                if next == start {
                    seen.extend(way.iter().copied());
                    let message = match way.len() {
                        1 => format!("`{}` is rewritten by this rule over and over", rule.pattern),
                        _ => format!(
                            "`{}` comes back to this rule by way of others, over and over",
                            rule.pattern
                        ),
                    };
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
        probe::probe(host, host, &mut String::new(), usize::MAX, |pattern, _| {
            self.first.get(pattern).copied()
        })
    }

    /// The rule that certainly takes a host, when no tag is set.
    fn taken_by(&self, host: &str) -> Option<usize> {
        let lower = host.to_lowercase();
        probe::probe(host, &lower, &mut String::new(), usize::MAX, |pattern, _| {
            self.certain.get(pattern).copied()
        })
    }

    /// `$*` is asked before all other patterns, wherever it stands.
    fn first_of_all(&self, found: &mut Vec<Diagnostic>) {
        let Some(index) = self.certain.get("$*") else { return };
        let others = |rule: &&Rule| !rule.pattern.starts_with('$') && !rule.pattern.contains('|');
        let Some(rule) = self.config.rules.iter().find(others) else { return };
        let message =
            "no other rule is ever tried: `$*` is asked before all patterns, and this rule always applies";
        let remark = Diagnostic::new(&codes::UNREACHABLE, message).at(self.config.rules[*index].span);
        let remark = remark.note(rule.span, "a rule that is never tried");
        found.push(remark.help("to take what no other rule takes, write `.` in place of `$*`"));
    }

    /// Channels to which no rule sends anything, and whose names are taken by rules that send them elsewhere.
    fn channels(&self, found: &mut Vec<Diagnostic>) {
        // With a tag, and without rules, names that a rule would take are looked up as they are.
        let sets_tag = |template: &Template| template.ops.iter().any(|(op, _)| matches!(op, Op::Tag(_)));
        if self.templates.iter().any(sets_tag)
            || self.config.channels.iter().any(|channel| !channel.settings.rules)
        {
            return;
        }
        let mut plain = HashSet::new();
        let mut open = BTreeSet::new();
        for (rule, template) in self.config.rules.iter().zip(self.templates) {
            if template.only_text {
                continue;
            }
            match system_of(&rule.pattern, template) {
                Some(system) if system.contains('*') => {
                    open.insert(system);
                }
                Some(system) => {
                    plain.insert(system);
                }
                // A look-up may give anything.
                None => return,
            }
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
        for channel in candidates {
            if used.contains(channel.name.as_str()) || self.mentioned(channel) {
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

    /// Is the channel, or one of its hosts, named where no rule says so: in a mapping table or a database?
    fn mentioned(&self, channel: &Channel) -> bool {
        let names: Vec<String> = channel
            .hosts
            .iter()
            .map(|host| host.name.to_lowercase())
            .chain([channel.name.to_lowercase()])
            .collect();
        let mentions = |text: &str| {
            let text = text.to_lowercase();
            names.iter().any(|name| text.contains(name.as_str()))
        };
        let config = self.config;
        config.mappings.iter().flat_map(|table| &table.entries).any(|entry| mentions(&entry.template))
            || sluice_config::DATABASES
                .iter()
                .filter_map(|name| config.databases.get(name))
                .any(|database| database.iter().any(|(_, value)| mentions(value)))
    }
}

fn reached_otherwise(name: &str) -> bool {
    REACHED_OTHERWISE.iter().any(|known| {
        name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', '-']))
    })
}

/// The last part of a template, in lower case, with `*` for what depends on the address; `None` when a look-up decides.
fn system_of(pattern: &str, template: &Template) -> Option<String> {
    if template.ops.iter().any(|(op, _)| matches!(op, Op::LookUp { .. } | Op::Broken)) {
        return None;
    }
    let untagged = pattern.rsplit('|').next().unwrap_or(pattern);
    let mut system = String::new();
    for (op, _) in parts(template).last()? {
        match op {
            Op::Text(text) => system.push_str(&text.to_lowercase()),
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
