//! What can be said about entries when they are read: mistakes, and entries that do nothing.

use std::collections::HashMap;
use std::net::IpAddr;

use sluice_config::{MappingEntry, Mappings};
use sluice_diag::{Diagnostic, Span, nearest};

use super::codes;
use super::pattern::{self, Pattern, SAVED_MAX, Signs};
use super::template::{self, Control, Op, Template};

/// What is said about a mistake in a pattern: its code, the words, and how to mend it.
pub(super) fn words(
    mistake: &pattern::Problem,
    pattern: &str,
) -> (&'static sluice_diag::Code, String, &'static str) {
    use pattern::ProblemKind as Kind;
    let text = &pattern[mistake.place.clone()];
    match mistake.kind {
        Kind::Dangling => {
            (&codes::DANGLING, "`$` at the end of a pattern".to_owned(), "write `$$` for a dollar sign")
        }
        Kind::Unknown => (
            &codes::PATTERN_SEQUENCE,
            format!("`{text}` means nothing in a pattern"),
            "write `$$` for a dollar sign; other characters than `*`, `%` and blanks need no `$`",
        ),
        Kind::NoWildcard => (
            &codes::NO_WILDCARD,
            format!("`{text}` is not followed by `*` or `%`"),
            "write `%` behind it for one character, `*` for any number",
        ),
        Kind::OpenSet => (&codes::SET, format!("the set `{text}` has no `]`"), "close it with `]`"),
        Kind::EmptySet => (&codes::SET, "an empty set".to_owned(), "write `\\]` for a bracket in a set"),
        Kind::BadRange => (
            &codes::SET,
            format!("`{text}` is no range: it goes backwards"),
            "exchange the two, or write `\\-` for a hyphen",
        ),
        Kind::BackMatch => (
            &codes::BACK_MATCH,
            format!("`{text}` names a wildcard that is not in front of it"),
            "the first wildcard of a pattern is number 0",
        ),
        Kind::OpenAddress => (
            &codes::ADDRESS,
            format!("`{text}` is not closed"),
            "write `$(a.b.c.d/n)`, `$<a.b.c.d/n>` or `${ipv6/n}`",
        ),
        Kind::BadAddress => (
            &codes::ADDRESS,
            format!("`{text}` is not an address"),
            "write all of it, such as `10.0.0.0/8` or `2001:db8::/32`",
        ),
        Kind::BadPrefix => (
            &codes::ADDRESS,
            format!("`{text}` is no number of bits of such an address"),
            "IPv4 addresses have 32 bits, IPv6 addresses 128",
        ),
        Kind::TooLong => (
            &codes::PATTERN_SEQUENCE,
            "a pattern of too many elements".to_owned(),
            "make several entries of it",
        ),
    }
}

/// Looks at the entries of one table in their order.
pub(crate) struct Checker<'c> {
    mappings: &'c Mappings,
    found: &'c mut Vec<Diagnostic>,
    /// Patterns, in lower case, that end the search, and where the first of each stands.
    ending: HashMap<String, Span>,
    /// Those with wildcards, in their order.
    general: Vec<(Signs, Pattern, Span)>,
    /// Steps that may still be spent on comparing patterns with each other.
    steps: usize,
    /// `*` has been reported as standing above others.
    all_reported: bool,
}

/// Steps for comparing the patterns of one table with each other. Tables of some hundred entries need a part of it; what
/// lies behind is not compared.
const COVER_STEPS_MAX: usize = 8_000_000;

impl<'c> Checker<'c> {
    pub(crate) fn new(mappings: &'c Mappings, found: &'c mut Vec<Diagnostic>) -> Checker<'c> {
        Checker {
            mappings,
            found,
            ending: HashMap::new(),
            general: Vec::new(),
            steps: COVER_STEPS_MAX,
            all_reported: false,
        }
    }

    pub(crate) fn entry(
        &mut self,
        entry: &MappingEntry,
        pattern: &Pattern,
        mistakes: &[pattern::Problem],
        template: &Template,
    ) {
        for mistake in mistakes {
            self.pattern(entry, mistake);
        }
        for problem in &template.problems {
            self.template(entry, problem);
        }
        for (op, place) in &template.ops {
            let span = entry.template_part(place.start, place.end);
            self.op(op, pattern, mistakes.is_empty(), span);
        }
        if mistakes.is_empty() {
            self.bare_network(entry);
            self.reach(entry, pattern, template);
        }
    }

    /// A field of the pattern that is a network and nothing else.
    fn bare_network(&mut self, entry: &MappingEntry) {
        let mut start = 0;
        for field in entry.pattern.split('|') {
            let network = field.split_once('/').is_some_and(|(address, bits)| {
                address.parse::<IpAddr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= 128)
            });
            if network {
                let message = format!("`{field}` is compared as text, and no address holds a `/`");
                let span = entry.pattern_part(start, start + field.len());
                let (open, close) = if field.contains(':') { ("${", "}") } else { ("$(", ")") };
                let remark = Diagnostic::new(&codes::BARE_NETWORK, message).at(span);
                self.found.push(remark.help(format!("write `{open}{field}{close}`")));
            }
            start += field.len() + 1;
        }
    }

    fn pattern(&mut self, entry: &MappingEntry, mistake: &pattern::Problem) {
        let (code, message, help) = words(mistake, &entry.pattern);
        let span = entry.pattern_part(mistake.place.start, mistake.place.end);
        self.found.push(Diagnostic::new(code, message).at(span).help(help));
    }

    fn template(&mut self, entry: &MappingEntry, problem: &template::Problem) {
        use template::ProblemKind as Kind;
        let text = &entry.template[problem.place.clone()];
        let (code, message, help) = match problem.kind {
            Kind::Dangling => {
                (&codes::DANGLING, "`$` at the end of a template".to_owned(), "write `$$` for a dollar sign")
            }
            Kind::NoMeaning => (
                &codes::NO_MEANING,
                format!("`{text}` has no meaning in a template"),
                "take the `$` out, or write `$$` for a dollar sign",
            ),
            Kind::Unclosed => (
                &codes::LOOK_UP,
                format!("`{text}` is not closed"),
                match text.as_bytes().get(1) {
                    Some(b'|') => "it ends with `|`",
                    Some(b'{') => "it ends with `}`",
                    Some(b']') => "it ends with `[`",
                    Some(b'[') => "it ends with `]`",
                    Some(b'}') => "it ends with `{`",
                    Some(b'#') => "it ends with `#`",
                    Some(b'?') => "it ends with `?`",
                    _ => "it ends with `.`",
                },
            ),
            Kind::TooDeep => (
                &codes::LOOK_UP,
                "look-ups stand inside each other too deep".to_owned(),
                "let another table do a part of it",
            ),
            Kind::NoSemicolon => {
                (&codes::LOOK_UP, format!("`{text}` has no `;` behind the table"), "write `$|table;text|`")
            }
            Kind::BadChance => {
                (&codes::LOOK_UP, format!("`{text}` is no percentage"), "write a number, such as `$?25?`")
            }
            Kind::BadSequence => (
                &codes::LOOK_UP,
                format!("`{text}` is no sequence number"),
                "write `$#file|radix|width|modulus#`, the file without substitutions, radix 2 to 36, width up to 64",
            ),
            Kind::RoutineNames => (
                &codes::LOOK_UP,
                format!("`{text}` does not name what it calls"),
                "write `$[image,routine,text]`, image and routine without substitutions",
            ),
            Kind::NoFlag => (
                &codes::LOOK_UP,
                format!("`{text}` needs a flag behind it"),
                "write the letter of the flag, as in `$:A`",
            ),
        };
        let span = entry.template_part(problem.place.start, problem.place.end);
        self.found.push(Diagnostic::new(code, message).at(span).help(help));
    }

    fn op(&mut self, op: &Op, pattern: &Pattern, pattern_is_good: bool, span: Span) {
        match op {
            Op::Wildcard(number)
                if pattern_is_good && usize::from(*number) >= pattern.saved.min(SAVED_MAX) =>
            {
                let message = match pattern.saved {
                    0 => format!("`${number}`: the pattern has no wildcards"),
                    1 => format!("`${number}`: the pattern has 1 wildcard, `$0`"),
                    count => {
                        format!("`${number}`: the pattern has {count} wildcards, `$0` to `${}`", count - 1)
                    }
                };
                let remark = Diagnostic::new(&codes::NO_SUCH_WILDCARD, message).at(span);
                self.found.push(remark.help("nothing is put in; wildcards are counted from 0"));
            }
            Op::NotAvailable => {
                let message = "this look-up is not available, so the entry fails";
                let remark = Diagnostic::new(&codes::NOT_AVAILABLE, message).at(span);
                self.found.push(
                    remark.help("use `${text}` and a text database, or another table with `$|table;text|`"),
                );
            }
            op => {
                if let Some(name) = op.table_name()
                    && self.mappings.table(name.trim()).is_none()
                {
                    self.found.push(no_such_table(self.mappings, name.trim(), span));
                }
            }
        }
        for inner in op.inside() {
            self.op(inner, pattern, pattern_is_good, span);
        }
    }

    /// Can the entry be reached, and does it hide others?
    fn reach(&mut self, entry: &MappingEntry, compiled: &Pattern, template: &Template) {
        let pattern = entry.pattern.to_lowercase();
        if let Some(first) = self.ending.get(&pattern) {
            let message = "this entry is never reached: one above has the same pattern";
            let remark = Diagnostic::new(&codes::SHADOWED, message).at(entry.span).note(*first, "this one");
            self.found.push(remark.help("write `$C` into the one above, or take one of the two out"));
            return;
        }
        if let Some(first) = self.ending.get("*") {
            if !std::mem::replace(&mut self.all_reported, true) {
                let message = "this entry is never reached: `*` above it matches everything";
                let remark =
                    Diagnostic::new(&codes::SHADOWED, message).at(entry.span).note(*first, "this one");
                self.found.push(remark.help("put the entry with `*` last"));
            }
            return;
        }
        let steps = &mut self.steps;
        let signs = compiled.signs();
        let mut general = self.general.iter();
        let covers =
            |(of, above, _): &&(Signs, Pattern, Span)| of.allow(signs) && above.covers(compiled, steps);
        if let Some((_, _, above)) = general.find(covers) {
            let message = "this entry is never reached: one above matches all that it matches";
            let remark = Diagnostic::new(&codes::SHADOWED, message).at(entry.span).note(*above, "this one");
            self.found.push(remark.help("put the special one first, or write `$C` into the one above"));
            return;
        }
        let goes_on = template.ops.iter().any(|(op, _)| {
            matches!(op, Op::Control(Control::Continue | Control::Loop | Control::Restart) | Op::Input(..))
        });
        if goes_on {
            // What comes below is compared with another text than what stands above.
            self.ending.clear();
            self.general.clear();
        } else if template.problems.is_empty() {
            self.ending.insert(pattern, entry.span);
            if compiled.is_open() {
                self.general.push((signs, compiled.clone(), entry.span));
            }
        }
    }
}

/// The remark about a table that does not exist.
pub(crate) fn no_such_table(mappings: &Mappings, name: &str, span: Span) -> Diagnostic {
    let message = format!("there is no mapping table `{name}`");
    let remark = Diagnostic::new(&codes::NO_SUCH_TABLE, message).at(span);
    let upper = name.to_uppercase();
    match nearest(&upper, mappings.iter().map(|table| table.name.as_str())) {
        Some(near) => remark.help(format!("did you mean `{near}`?")),
        None => remark.help("add the table to the file `mappings`"),
    }
}
