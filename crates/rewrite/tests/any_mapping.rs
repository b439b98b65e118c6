//! Whatever patterns, templates and texts are: no panic, and every operation ends.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;
use sluice_config::MemoryFiles;
use sluice_rewrite::mapping::{LonePattern, MappingTables, PatternMistake};
use sluice_rewrite::{Lookups, NoLookups};

/// Pieces that meet the language more often than chance would.
const PIECES: &[&str] = &[
    "$", "*", "%", "$*", "$%", "$_", "$@", "$^", "$A", "$D*", "$H%", "$0", "$1*", "$[", "]", "a-f", "\\",
    "$(", "1.2.3.4", "/24", ")", "$<", ">", "${", "::1", "}", "|", "a", "B", "é", "ß", "0", "9", "$C", "$R",
    "$L", "$E", "$+1E", "$Y", "$N", "$?50?", "$#f#", "$|T;", "$|", ";", "$:A", "$;A", "$]", "$.", "@", ".",
    "$ ", "x", "ax", "$=", "\u{212A}",
];

/// Answers everything, so that look-ups go on.
struct Yes;

impl Lookups for Yes {
    fn database(&self, _name: &str, key: &str) -> Option<String> {
        Some(format!("{key}$0"))
    }

    fn sequence(&self, _file: &str) -> Option<u64> {
        Some(u64::MAX)
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => prop::collection::vec(prop::sample::select(PIECES), 0..12).prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
    ]
}

fn compiled(entries: &[(String, String)]) -> MappingTables {
    let mut file = "T\n\n".to_owned();
    for (pattern, template) in entries {
        file.push_str(&format!(" {} {}\n", pattern.replace('\n', ""), template.replace('\n', "")));
    }
    let files = MemoryFiles::new().with("mappings", file);
    let (read, _, _) = sluice_config::read_mappings(&files, Path::new("mappings"));
    MappingTables::compile(&read).0
}

/// The same pattern language, written as plainly as can be, for patterns of `*`, `%` and plain characters.
fn plain_match(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|taken| plain_match(rest, &text[taken..])),
        Some((wanted, rest)) => text.split_first().is_some_and(|(c, behind)| {
            (*wanted == '%' || c.eq_ignore_ascii_case(wanted)) && plain_match(rest, behind)
        }),
    }
}

fn try_pattern(pattern: &str, text: &str) -> Result<Option<Vec<String>>, Vec<PatternMistake>> {
    LonePattern::read(pattern).map(|pattern| {
        assert!(pattern.elements().iter().all(|(words, _)| !words.is_empty()));
        pattern.matches(text)
    })
}

proptest! {
    #[test]
    fn patterns_do_not_mind_any_text(pattern in text(), text in text()) {
        if let Ok(Some(taken)) = try_pattern(&pattern, &text) {
            prop_assert!(taken.iter().all(|piece| text.contains(piece.as_str())));
        }
    }

    #[test]
    fn plain_patterns_match_what_they_should(pattern in "[abA*%é]{0,8}", text in "[abBé]{0,8}") {
        let expected = plain_match(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>());
        prop_assert_eq!(try_pattern(&pattern, &text).unwrap().is_some(), expected);
    }

    #[test]
    fn operations_end(entries in prop::collection::vec((text(), text()), 0..6), input in text()) {
        let tables = compiled(&entries);
        for lookups in [&Yes as &dyn Lookups, &NoLookups] {
            let answer = tables.probe("t", &input, "A".chars().collect(), lookups).unwrap();
            prop_assert!(answer.matched() || answer.flags.to_string().is_empty());
        }
    }

    #[test]
    fn what_a_glance_rules_out_does_not_match(
        literals in prop::collection::vec("[a-cA-C.@|*]{1,12}", 1..40),
        input in "[a-cA-C.@|]{0,16}",
    ) {
        let entries: Vec<(String, String)> =
            literals.iter().enumerate().map(|(n, text)| (text.clone(), n.to_string())).collect();
        let first = literals.iter().position(|pattern| try_pattern(pattern, &input).unwrap().is_some());
        let answer = compiled(&entries).probe("T", &input, "".chars().collect(), &NoLookups).unwrap();
        prop_assert_eq!(answer.output, first.map(|n| n.to_string()));
    }
}

#[test]
fn tables_that_only_go_round_are_ended() {
    for entries in [
        &[("*", "$0$0$R")][..],
        &[("a*", "b$0x$R"), ("b*", "a$R")],
        &[("*", "$|T;$0|$|T;$0|$|T;$0|$R$Y")],
        &[("*a*", "$0aa$1$L"), ("*", "$0$0$L")],
    ] {
        let entries: Vec<(String, String)> = entries
            .iter()
            .map(|(pattern, template)| ((*pattern).to_owned(), (*template).to_owned()))
            .collect();
        let answer = compiled(&entries).probe("T", "a", "".chars().collect(), &Yes).unwrap();
        assert!(answer.matched());
    }
}
