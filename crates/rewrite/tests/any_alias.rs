//! Whatever the aliases and whatever the address: expansion ends, nothing panics, and nobody gets two copies.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use sluice_config::{Database, MemoryFiles, Place};
use sluice_mail::Address;
use sluice_rewrite::{Context, Kind, Rewriter};

const MAIN: &str = ".far $U%$H.far@TAG\n.store $U%$H.store@STORE\n\nl\nhub\n\ntcp_x smtp\nTAG\n\n\
    tcp_store smtp aliaslocal subaddresswild\nSTORE\n";

fn rewriter(aliases: &str, database: &str, domains: u32) -> Option<Rewriter> {
    let files = MemoryFiles::new()
        .with("sluice.cnf", MAIN)
        .with("aliases", aliases)
        .with("list", "a\nb@a.far\nc+*\n")
        .with("alias.txt", database)
        .with("option.dat", format!("ALIAS_DOMAINS={domains}\n"));
    let (config, ..) = sluice_config::read_with_errors(&files, &Place::File(PathBuf::from("sluice.cnf")));
    Some(Rewriter::compile(Arc::new(config?)).0)
}

fn name() -> impl Strategy<Value = String> {
    let names = &["a", "b", "c", "d", "a+*", "a+x", "a@hub", "*@hub", "b@a.store", "*@a.store", "\"q r\""];
    prop::sample::select(names.as_slice()).prop_map(str::to_owned)
}

fn member() -> impl Strategy<Value = String> {
    let members = &[
        "a",
        "b",
        "c",
        "d",
        "a+x",
        "b+*",
        "a@hub",
        "b@a.store",
        "x@a.far",
        "n@nowhere",
        "u%hub",
        "far!u",
        "@hub:a@hub",
        "<list",
        "\"q r\"",
        "",
        "[HOLD_LIST] list",
        "[ENVELOPE_FROM] o@hub",
        "[CANT_LIST] list",
        "é",
    ];
    prop_oneof![9 => prop::sample::select(members.as_slice()).prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn lines(separator: &'static str) -> impl Strategy<Value = String> {
    let line = (name(), prop::collection::vec(member(), 1..5))
        .prop_map(move |(name, members)| format!("{name}{separator}{}\n", members.join(",")));
    prop::collection::vec(line, 0..10).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn expansion_ends_and_nobody_is_in_it_twice(
        aliases in lines(": "),
        database in lines(" "),
        domains in 0u32..8,
        address in prop_oneof![name(), member()],
        sender in prop::sample::select(vec!["", "a", "b@a.far", "x@y"]),
    ) {
        let Some(rewriter) = rewriter(&aliases, &database, domains) else { return Ok(()) };
        let Ok(address) = Address::parse(&address) else { return Ok(()) };
        let context = Context { kind: Kind::EnvelopeTo, source_channel: "l", destination_channel: None };
        let mut steps = Vec::new();
        let watched = rewriter.expand(&address, sender, &context, Some(&mut steps));
        let alone = rewriter.expand(&address, sender, &context, None);
        prop_assert_eq!(&alone, &watched);
        prop_assert!(!steps.is_empty());
        if let Ok(expansion) = watched {
            prop_assert!(!expansion.recipients.is_empty());
            let mut seen = HashSet::new();
            for recipient in &expansion.recipients {
                let route = &recipient.route;
                prop_assert!(seen.insert((&route.channel, route.final_address())), "{} twice", route.final_address());
                prop_assert!(sender.is_empty() <= recipient.sender.is_none());
            }
        }
    }

    #[test]
    fn any_text_can_be_an_alias_file_and_a_database(text in "(.{0,30}[:,\\[\\]<\"\\\\ \n]){0,12}") {
        let _ = rewriter(&text, &text, 7);
        let _ = Database::from_image(text.into_bytes());
    }
}

#[test]
fn a_tree_of_aliases_that_doubles_at_each_level_is_cut_off() {
    // Each level names the next one twice, by two spellings, so that loops are not what ends it.
    let mut aliases = String::new();
    for level in 0..60 {
        aliases.push_str(&format!(
            "n{level}: n{}, m{}\nm{level}: n{}, m{}\n",
            level + 1,
            level + 1,
            level + 1,
            level + 1
        ));
    }
    let files = MemoryFiles::new()
        .with("sluice.cnf", MAIN)
        .with("aliases", aliases)
        .with("option.dat", "MAX_ALIAS_LEVELS=100\n");
    let (config, ..) = sluice_config::read(&files, &Place::File(PathBuf::from("sluice.cnf")));
    let (rewriter, _) = Rewriter::compile(Arc::new(config.unwrap()));
    let context = Context { kind: Kind::EnvelopeTo, source_channel: "l", destination_channel: None };
    let started = std::time::Instant::now();
    let rejected = rewriter.expand(&Address::parse("n0").unwrap(), "", &context, None).unwrap_err();
    assert_eq!(rejected.text, "the alias stands for too many addresses");
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
}
