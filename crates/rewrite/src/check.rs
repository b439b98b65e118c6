//! What can be said about rules when the configuration is read: mistakes in a template, and rules that do nothing.
//!
//! # Not here
//! The texts that explain each kind of remark (`codes`).

mod patterns;
mod reach;
mod turns;

use std::collections::HashSet;
use std::ops::Range;

use sluice_config::{Config, Rule};
use sluice_diag::{Diagnostic, Span};

use self::patterns::{asterisks_lead, changed_places, no_host};
use crate::codes;
use crate::glob::Glob;
use crate::guess::{ChannelNames, Guesses};
use crate::mapping::no_such_table;
use crate::table::{SlotOf, Table, lower};
use crate::template::{self, LookUp, Need, Op, ProblemKind, Separator, Template};

/// PMDF keeps this many characters of a pattern or template.
const RULE_PART_LENGTH_MAX: usize = 252;
/// Longest tag.
const TAG_LENGTH_MAX: usize = 32;

/// Entries of the domain database that never apply. What depends on channels is not looked at: there may be very many.
pub(crate) fn domain_database(config: &Config) -> Vec<Diagnostic> {
    let Some(database) = config.databases.get("domain") else { return Vec::new() };
    let is_channel = |name: &str| config.channels.by_name(name).is_some();
    let mut found = Vec::new();
    for (key, text) in database.iter() {
        let message = if key.contains('*') {
            format!("the entry `{key}` is never asked for: it holds an asterisk")
        } else {
            let template = template::parse(text, &is_channel);
            let Some(problem) = template.problems.first() else { continue };
            format!("the entry `{key}` never applies: `{}` is a mistake", &text[problem.place.clone()])
        };
        let mut remark = Diagnostic::new(&codes::DOMAIN_DATABASE, message);
        remark.span = database.place(key);
        found.push(remark);
    }
    found
}

fn tag_of((op, _): &(Op, Range<usize>)) -> Option<&str> {
    match op {
        Op::Tag(tag) => Some(tag),
        _ => None,
    }
}

/// Looks at the rules of a configuration in their order. What it costs grows with the rules and the channels, not with
/// their product, however many mistakes there are.
pub(crate) struct Checker<'c> {
    config: &'c Config,
    table: &'c Table,
    slot_of: &'c SlotOf,
    /// Every tag that some template sets; looked for when first needed.
    tags: Option<HashSet<Box<str>>>,
    /// By the number of a pattern, the first rule that always applies.
    certain: Vec<Option<u32>>,
    channels: ChannelNames<'c>,
    near_hosts: Guesses<'c>,
    facts: reach::Facts,
    found: Vec<Diagnostic>,
}

impl<'c> Checker<'c> {
    pub(crate) fn new(config: &'c Config, table: &'c Table, slot_of: &'c SlotOf) -> Checker<'c> {
        Checker {
            config,
            table,
            slot_of,
            tags: None,
            certain: vec![None; table.len()],
            channels: ChannelNames::new(config),
            near_hosts: Guesses::default(),
            facts: reach::Facts::default(),
            found: Vec::new(),
        }
    }

    /// All remarks, those about rules in the order of the file; to be called behind the last rule.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        reach::check(self.config, self.table, &self.facts, &self.certain, &mut self.found);
        self.found
    }

    pub(crate) fn rule(&mut self, index: usize, rule: &'c Rule, template: &Template) {
        self.pattern(rule);
        if changed_places(rule) {
            return;
        }
        for problem in &template.problems {
            self.problem(rule, problem.kind, problem.place.clone());
        }
        for (op, place) in &template.ops {
            self.op(rule, op, place.clone());
        }
        self.never(rule, template);
        let broken = template.ops.iter().any(|(op, _)| matches!(op, Op::Broken));
        let parts = parts(template);
        if !self.blank(rule, template) && !broken {
            self.shape(rule, template, &parts);
        }
        let certain = self.reach(index, rule, template, &parts)
            || self.certain[self.slot_of.rule(index)].is_none()
                && applies(&rule.pattern, template, &parts, turns::is_lasting);
        self.facts.add(index, rule, template, &parts, certain);
        if template.only_text {
            self.lone_text(rule, template);
        }
        for (part, span) in [(&rule.pattern, rule.span), (&rule.template, rule.template_span)] {
            if part.len() > RULE_PART_LENGTH_MAX && part.chars().count() > RULE_PART_LENGTH_MAX {
                let message = format!("{} characters in one part of a rule", part.chars().count());
                self.found.push(Diagnostic::new(&codes::TOO_LONG, message).at(span));
            }
        }
    }

    /// Do asterisks lead in the pattern, or in what is left of it behind one of the tags?
    fn may_match(&mut self, pattern: &str, untagged: &str) -> bool {
        if asterisks_lead(untagged) {
            return true;
        }
        let config = self.config;
        let tags = self.tags.get_or_insert_with(|| {
            let is_channel = |name: &str| config.channels.by_name(name).is_some();
            let sets = |rule: &&Rule| rule.template.contains("$T") || rule.template.contains("$t");
            let templates =
                config.rules.iter().filter(sets).map(|rule| template::parse(&rule.template, &is_channel));
            templates
                .flat_map(|template| {
                    template.ops.iter().filter_map(tag_of).map(Box::from).collect::<Vec<_>>()
                })
                .collect()
        });
        let mut ends = pattern.char_indices().map(|(at, _)| at).skip(1).chain([pattern.len()]);
        ends.any(|end| tags.contains(&pattern[..end]) && asterisks_lead(&pattern[end..]))
    }

    fn pattern(&mut self, rule: &Rule) {
        if rule.pattern.contains("&/") {
            let message = "`&/…/` in a pattern is not supported";
            self.found.push(Diagnostic::new(&codes::MACRO, message).at(rule.span));
        }
        let pattern = lower(&rule.pattern);
        let untagged = pattern.rfind('|').map_or(&*pattern, |bar| &pattern[bar + 1..]);
        if untagged.starts_with('$') && !matches!(untagged, "$*" | "$%" | "$!") {
            let message = format!("no host is ever compared with `{}`", rule.pattern);
            let help = match changed_places(rule) {
                true => "pattern and template have changed places: the pattern comes first",
                false => "the patterns with `$` are `$*`, `$%` and `$!`",
            };
            self.found.push(Diagnostic::new(&codes::UNKNOWN_PATTERN, message).at(rule.span).help(help));
        } else if !self.may_match(&pattern, untagged) {
            let message = format!("`{}` never matches: `*` replaces whole leading labels only", rule.pattern);
            let mut diagnostic = Diagnostic::new(&codes::ASTERISK, message).at(rule.span);
            diagnostic = diagnostic.help(match untagged.rsplit_once('*') {
                Some((_, rest)) if rest.starts_with('.') && rest.len() > 1 => {
                    format!("to match any host under it, write `{rest}`")
                }
                _ => "write one `*` for each leading label, or begin with a dot for any number of them"
                    .to_owned(),
            });
            self.found.push(diagnostic);
        } else if let Some((why, help)) = no_host(untagged) {
            let message = format!("`{}` never matches: {why}", rule.pattern);
            self.found.push(Diagnostic::new(&codes::CANNOT_MATCH, message).at(rule.span).help(help));
        }
    }

    fn problem(&mut self, rule: &Rule, kind: ProblemKind, place: Range<usize>) {
        let text = &rule.template[place.clone()];
        let (code, message, help) = match kind {
            ProblemKind::Unknown => {
                let help = match text.as_bytes().last() {
                    Some(b'y' | b'Y') => Some("`$Y` belongs to mapping tables".to_owned()),
                    _ => Some("write `$$` for a dollar sign".to_owned()),
                };
                (&codes::UNKNOWN_SEQUENCE, format!("`{text}` means nothing in a template"), help)
            }
            ProblemKind::Dangling => (
                &codes::UNKNOWN_SEQUENCE,
                "`$` at the end of a template".to_owned(),
                Some("write `$$` for a dollar sign, or finish the sequence".to_owned()),
            ),
            ProblemKind::NoDigit => (
                &codes::UNKNOWN_SEQUENCE,
                format!("`{text}` needs a digit, the number of a label"),
                Some(format!("`{text}0` is the first label counted from its end")),
            ),
            ProblemKind::Unclosed => {
                let close = match text.as_bytes().get(1) {
                    Some(b'(') => ")",
                    Some(b'{') => "}",
                    Some(b'[') => "]",
                    Some(b']') => "[",
                    _ => ".",
                };
                let help = format!("it ends with `{close}`; write `$$` for a dollar sign");
                (&codes::UNCLOSED, format!("`{text}` is not closed"), Some(help))
            }
            ProblemKind::NoName => {
                let help = "write the name directly behind the letter, as in `$Mtcp_local` or `$Tinside|`";
                (&codes::NO_NAME, format!("`{text}` has no name behind it"), Some(help.to_owned()))
            }
            ProblemKind::RoutineNames => {
                let help = "write `$[image,routine,argument]`, image and routine without substitutions";
                (&codes::NO_NAME, format!("`{text}` does not name what it calls"), Some(help.to_owned()))
            }
            ProblemKind::InName => (
                &codes::NO_NAME,
                format!("`{text}` may not stand in the name behind `$V` or `$Z`, or inside a look-up"),
                None,
            ),
        };
        let mut diagnostic = Diagnostic::new(code, message).at(rule.template_part(place.start, place.end));
        diagnostic.help = help;
        self.found.push(diagnostic);
    }

    fn op(&mut self, rule: &Rule, op: &Op, place: Range<usize>) {
        let span = rule.template_part(place.start, place.end);
        match op {
            Op::Source { name, .. } | Op::Destination { name, .. } => self.channel_name(rule, name, place),
            Op::Tag(tag) if tag.chars().count() > TAG_LENGTH_MAX => {
                let message =
                    format!("a tag of {} characters; {TAG_LENGTH_MAX} is the limit", tag.chars().count());
                self.found.push(Diagnostic::new(&codes::TAG_TOO_LONG, message).at(span));
            }
            Op::LookUp { kind: LookUp::Database, .. } => {
                let missing = self.config.databases.get("general").is_none();
                if missing {
                    let message = "the rule is skipped: there is no general database";
                    let remark = Diagnostic::new(&codes::NO_DATABASE, message).at(span);
                    self.found.push(remark.help(
                        "put a file `general.txt` beside the main file: a key, blanks, a value on each line",
                    ));
                }
            }
            Op::LookUp { kind: LookUp::Mapping, .. } => self.mapping_table(rule, place, span),
            // Whoever loads plugins knows whether they have it.
            Op::LookUp { kind: LookUp::Routine, .. } => {}
            Op::LookUp { kind, .. } => {
                let message =
                    format!("the rule is skipped: it asks {}, which this version does not do", kind.words());
                let remark = Diagnostic::new(&codes::NOT_AVAILABLE, message).at(span);
                self.found.push(
                    remark.help("a mapping table, `${NAME,text}`, or the general database does it here"),
                );
            }
            Op::EndOfPart => {
                let message = "`$,` ends the part; what follows up to the next separator is left out";
                self.found.push(Diagnostic::new(&codes::DOLLAR_COMMA, message).at(span));
            }
            Op::ErrorText { text, .. } if !text.is_ascii() => {
                let message = "the text behind `$?` is not plain ASCII";
                let remark = Diagnostic::new(&codes::ERROR_TEXT, message).at(span);
                self.found.push(remark.help("replies of SMTP are ASCII: write it without accents"));
            }
            Op::Text(text) if text.contains("&/") => {
                let message = "`&/…/` in a template is not supported";
                self.found.push(Diagnostic::new(&codes::MACRO, message).at(span));
            }
            _ => {}
        }
    }

    /// `${table,text}`: is there such a table?
    fn mapping_table(&mut self, rule: &Rule, place: Range<usize>, span: Span) {
        let text = &rule.template[place];
        let inside = text.strip_prefix("${").unwrap_or(text);
        let Some((name, _)) = inside.split_once(',') else {
            let message = format!("the rule is skipped: `{text}` has no comma behind the table");
            let remark = Diagnostic::new(&crate::mapping::NO_SUCH_TABLE, message).at(span);
            self.found.push(remark.help("write `${TABLE,text}`"));
            return;
        };
        // A name that is put together at run time cannot be looked up here.
        if !name.contains('$') && self.config.mappings.table(name.trim()).is_none() {
            self.found.push(no_such_table(&self.config.mappings, name.trim(), span));
        }
    }

    fn channel_name(&mut self, rule: &Rule, name: &Glob, place: Range<usize>) {
        if self.channels.has(name) {
            return;
        }
        let channels = &self.config.channels;
        let control = &rule.template[place.start..place.start + 2];
        let written = rule.template[place.start + 2..place.end].trim();
        let message = format!("`{control}` checks for channel `{written}`, and there is none");
        let span = rule.template_part(place.start, place.end);
        let mut diagnostic = Diagnostic::new(&codes::UNKNOWN_CHANNEL, message).at(span);
        let before_dollar = written.split_once('$').map(|(before, _)| before);
        if let Some(short) = before_dollar.filter(|short| channels.by_name(short).is_some()) {
            let help = format!(
                "channel names may hold `$`, so this one goes on behind `{short}`: write `{control}{short}` at the end \
                 of the template, or in front of `%`, `@` or another such control"
            );
            diagnostic = diagnostic.help(help);
        } else if let Some((channel, _)) = channels.by_host(name.as_str()) {
            let help = format!("`{}` is a host name; its channel is `{}`", name.as_str(), channel.name);
            diagnostic = diagnostic.help(help);
        } else if let Some(near) = self.channels.near(name.as_str()) {
            diagnostic = diagnostic.help(format!("did you mean `{control}{near}`?"));
        }
        self.found.push(diagnostic);
    }

    /// A blank in the text of a template: the rest is a comment, or another rule, or was not meant to be there.
    fn blank(&mut self, rule: &Rule, template: &Template) -> bool {
        if rule.template.contains('\r') {
            // The line end of another system, which is reported where the file is read.
            return true;
        }
        let blank = template.ops.iter().find_map(|(op, place)| match op {
            Op::Text(text) => text.find(char::is_whitespace).map(|at| place.start + at),
            _ => None,
        });
        let Some(blank) = blank else { return false };
        let rest = rule.template[blank..].trim_start();
        let help = if rest.starts_with('!') {
            "put the comment on a line of its own, with `!` in column one"
        } else {
            "take it out; each rule has a line of its own"
        };
        let span = rule.template_part(blank, rule.template.len() - rest.len());
        let message = "a blank in a template is part of the user or host";
        self.found.push(Diagnostic::new(&codes::BLANK, message).at(span).help(help));
        true
    }

    /// `$E$B` and `$F$R`.
    fn never(&mut self, rule: &Rule, template: &Template) {
        let has = |need: Need| template.ops.iter().any(|(op, _)| *op == Op::Need(need));
        for (one, other, words) in [
            (Need::Envelope, Need::Header, "`$E` and `$B`"),
            (Need::Forward, Need::Backward, "`$F` and `$R`"),
        ] {
            if has(one) && has(other) {
                let message = format!("{words} exclude each other: the rule never applies");
                let span = rule.template_span;
                self.found.push(
                    Diagnostic::new(&codes::NEVER_APPLIES, message)
                        .at(span)
                        .help("leave both out to take either"),
                );
            }
        }
    }

    /// Number and order of the parts, and a constant routing system.
    fn shape(&mut self, rule: &Rule, template: &Template, parts: &Parts<'_>) {
        if template.only_text || is_open_ended(template) {
            return;
        }
        let separators: Vec<Separator> = template
            .ops
            .iter()
            .filter_map(|(op, _)| if let Op::Separator(s) = op { Some(*s) } else { None })
            .collect();
        use Separator::{At, Percent};
        let message = match separators[..] {
            [] => "the template has one part; it needs a user and a host",
            [Percent] | [At] | [Percent, At] | [At, At] | [At, At, At] => {
                match parts.iter().skip(1).position(Vec::is_empty) {
                    Some(_) => "a host of the template is empty",
                    None => {
                        self.user(rule, template, parts);
                        if separators != [Percent] {
                            self.routing_system(rule, template, parts);
                        }
                        return;
                    }
                }
            }
            _ => "the separators of the template make none of the known shapes",
        };
        let help =
            "a template is A%B@C, A@B, A%B, A@B@C, A@B@C@D or $?text; write $% and $@ for plain characters";
        self.found.push(Diagnostic::new(&codes::SHAPE, message).at(rule.template_span).help(help));
    }

    /// A user part in which a sign is missing: `U` for everybody, or the host directly behind the user.
    fn user(&mut self, rule: &Rule, template: &Template, parts: &Parts<'_>) {
        let Some(first) = parts.first() else { return };
        let letter = match first[..] {
            [(Op::Text(text), place)] if text.eq_ignore_ascii_case("u") => Some((place, text)),
            _ => None,
        };
        let joined = first.windows(2).find_map(|pair| match (&pair[0].0, &pair[1].0) {
            (Op::User | Op::UserWithoutSubaddress, Op::Domain(_) | Op::Host(_)) => {
                Some((&pair[0].1, &pair[1].1))
            }
            _ => None,
        });
        let (message, place, help) = match (letter, joined) {
            (Some((place, text)), _) => {
                let message = format!("mail for everybody goes to one mailbox, `{text}`");
                (message, place.clone(), format!("write `${text}` for the user of the address"))
            }
            (None, Some((user, host))) => {
                let (user, host) = (user.start..host.end, &rule.template[host.clone()]);
                let message = format!("`{}` makes one word of user and host", &rule.template[user.clone()]);
                let separators = template.ops.iter().any(|(op, _)| *op == Op::Separator(Separator::Percent));
                let sign = if separators { "$%" } else { "%" };
                (message, user, format!("write `{sign}` in front of `{host}`"))
            }
            (None, None) => return,
        };
        let span = rule.template_part(place.start, place.end);
        self.found.push(Diagnostic::new(&codes::ODD_USER, message).at(span).help(help));
    }

    fn routing_system(&mut self, rule: &Rule, template: &Template, parts: &Parts<'_>) {
        // A reason that is written out is for just this: the address is to be refused.
        if template.ops.iter().any(|(op, _)| matches!(op, Op::ErrorText { .. })) {
            return;
        }
        let Some(last) = parts.last() else { return };
        let mut system = String::new();
        for (op, _) in last {
            match op {
                Op::Text(text) => system.push_str(text),
                _ => return,
            }
        }
        let channels = &self.config.channels;
        // A macro of the other format has its own remark.
        if channels.by_host(&system).is_some() || system.contains("&/") {
            return;
        }
        let (Some((_, first)), Some((_, end))) = (last.first(), last.last()) else { return };
        let span = rule.template_part(first.start, end.end);
        let message = format!("`{system}` is no host of any channel: addresses that match are refused");
        let mut diagnostic = Diagnostic::new(&codes::NO_CHANNEL_HOST, message).at(span);
        let hosts = || channels.iter().flat_map(|channel| &channel.hosts).map(|host| host.name.as_str());
        if channels
            .by_name(&system)
            .is_some_and(|channel| !channel.official_host.eq_ignore_ascii_case(&system))
        {
            let host = &channels.by_name(&system).expect("found in the line above").official_host;
            diagnostic = diagnostic.help(format!("`{system}` is a channel name; its host is `{host}`"));
        } else if let Some(near) = self.near_hosts.nearest(&system, hosts) {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        } else if self.table.number(&lower(&system)).is_some() {
            diagnostic = diagnostic.help(format!(
                "a rule for `{system}` is not used for it: write the routing system of that rule here"
            ));
        } else {
            diagnostic = diagnostic.help(format!(
                "write the host of a channel; if the refusal is meant, give its reason: `$?no mail for {system}`"
            ));
        }
        self.found.push(diagnostic);
    }

    /// Is the rule ever tried? True when it always applies itself.
    fn reach(&mut self, index: usize, rule: &'c Rule, template: &Template, parts: &Parts<'_>) -> bool {
        let certain = &mut self.certain[self.slot_of.rule(index)];
        if let Some(first) = *certain {
            let first = &self.config.rules[first as usize];
            let message =
                format!("the rule is never tried: one for `{}` above it always applies", rule.pattern);
            self.found.push(
                Diagnostic::new(&codes::UNREACHABLE, message)
                    .at(rule.span)
                    .note(first.span, "the rule that always applies")
                    .help("put the rule with conditions first, or take one of the two out"),
            );
            return false;
        }
        let always = applies(&rule.pattern, template, parts, |_| false);
        if always {
            *certain = u32::try_from(index).ok();
        }
        always
    }

    /// Controls behind a lone `$?` are part of its text.
    fn lone_text(&mut self, rule: &Rule, template: &Template) {
        let Some((Op::ErrorText { text, .. }, place)) = template.ops.last() else { return };
        if text.contains('$') {
            let message = "the text behind a lone `$?` runs to the end of the line, `$` sequences included";
            let span = rule.template_part(place.start, place.end);
            self.found.push(
                Diagnostic::new(&codes::ERROR_TEXT, message).at(span).help("put controls in front of `$?`"),
            );
        }
    }
}

/// Its parts cannot be counted in advance.
fn is_open_ended(template: &Template) -> bool {
    template.ops.iter().any(|(op, _)| matches!(op, Op::LookUp { .. } | Op::CheckNow { or_stop: true }))
}

/// The instructions of a template that make text, by part.
type Parts<'t> = Vec<Vec<&'t (Op, Range<usize>)>>;

/// The parts of a template; what stands behind `$,` is left out.
fn parts(template: &Template) -> Parts<'_> {
    let mut parts = vec![Vec::new()];
    let mut ended = false;
    for item in &template.ops {
        match &item.0 {
            Op::Separator(_) => {
                parts.push(Vec::new());
                ended = false;
            }
            Op::EndOfPart => ended = true,
            op if !ended && (matches!(op, Op::Text(_)) || op.is_substitution()) => {
                if let Some(part) = parts.last_mut() {
                    part.push(item);
                }
            }
            _ => {}
        }
    }
    parts
}

/// No control, look-up or label in it can fail but those that are set aside, and its parts are in order.
fn applies(pattern: &str, template: &Template, parts: &Parts<'_>, aside: fn(&Op) -> bool) -> bool {
    let can_fail = |op: &Op| {
        !aside(op)
            && !matches!(
                op,
                Op::Text(_)
                    | Op::User
                    | Op::UserWithoutSubaddress
                    | Op::Subaddress
                    | Op::Case(_)
                    | Op::QuoteForLdap
                    | Op::EndOfPart
                    | Op::Unique
                    | Op::Tag(_)
                    | Op::ErrorText { .. }
                    | Op::Separator(_)
            )
            && !matches!(
                op,
                Op::Domain(_) | Op::Host(_) | Op::Literal | Op::AddressCharacter(_) | Op::WholeHostLabel(_)
            )
    };
    if template.ops.iter().any(|(op, _)| can_fail(op)) {
        return false;
    }
    // What a pattern leaves open is never empty in `$H`, what it spells out never in `$D`.
    let pattern = pattern.rsplit('|').next().unwrap_or(pattern);
    let open = pattern.starts_with(['.', '*', '$']);
    let spelled = pattern.starts_with('[') || pattern.contains(char::is_alphanumeric);
    let certain = |op: &Op| match op {
        Op::Text(_) | Op::Unique => true,
        Op::Host(0) => open,
        Op::Domain(0) => spelled,
        _ => false,
    };
    template.only_text
        || (2..=4).contains(&parts.len())
            && parts.iter().skip(1).all(|part| part.iter().any(|item| certain(&item.0)))
}
