//! Whatever the rules and whatever the address: rewriting ends, nothing panics, and looking on changes nothing.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use sluice_config::{Config, Rule};
use sluice_mail::Address;
use sluice_rewrite::{Context, Kind, Rewriter, Step, Trace};

const BASE: &str = "x $U@x\n\nl\nlocal.example local.alias\nother.local\n\ntcp_a smtp\nTCP-A\nnear proper\n\n\
    tcp_b smtp routelocal bangoverpercent defaulthost def.example def2.example\nTCP-B\n\ntcp_c smtp norules\nc\n";

/// The base configuration with these rules, which need not have come through a file.
fn with_rules(rules: &[(String, String)]) -> Config {
    let (config, _, diagnostics) = sluice_config::read_text(BASE);
    let mut config = config.unwrap_or_else(|| panic!("{diagnostics:?}"));
    let place = config.rules[0].clone();
    config.rules = rules
        .iter()
        .map(|(pattern, template)| Rule {
            pattern: pattern.clone(),
            template: template.clone(),
            ..place.clone()
        })
        .collect();
    config
}

/// Texts of pieces that mean something, and now and then of anything.
fn text(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        12 => prop::sample::select(pieces).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..most).prop_map(|pieces| pieces.concat())
}

fn pattern() -> impl Strategy<Value = String> {
    text(
        &["a", "b", ".", "*", "$*", "$%", "$!", "[", "]", "1", "x|", "local.example", "TCP-A", "near", "İ"],
        6,
    )
}

fn template() -> impl Strategy<Value = String> {
    let pieces = &[
        "$U",
        "$H",
        "$D",
        "$L",
        "%",
        "@",
        "%",
        "@",
        "$0U",
        "$1U",
        "$1D",
        "$2H",
        "$&0",
        "$!1",
        "$*0",
        "$#9",
        "$A",
        "$S",
        "$P",
        "$X",
        "$E",
        "$B",
        "$F",
        "$R",
        "$Mtcp_a",
        "$Ntcp_*",
        "$Qtcp_b",
        "$Cc",
        "$1M",
        "$1N",
        "$~",
        "$1~",
        "$Tx|",
        "$T",
        "$?no",
        "$4000000?later",
        "$V$H",
        "$Za",
        "$\\",
        "$^",
        "$_",
        "$=",
        "$W",
        "$0A",
        "$7A",
        "$0X",
        "$,",
        "$(x)",
        "${m,$H}",
        "$[i,r,a]",
        "$]u[",
        "$.t.",
        "$",
        "$9",
        "$$",
        "$%",
        "$@",
        "a",
        "b",
        ".",
        "local.example",
        "TCP-A",
        "TCP-B",
        "near",
        " ",
        "é",
        "$99999999999D",
    ];
    prop_oneof![
        2 => text(pieces, 9),
        3 => (text(&["$U", "$H", "a", "$0U", "$\\"], 3), text(&["$H", "$D", "a", "b", ".", "$H$D"], 4), text(pieces, 3))
            .prop_map(|(user, host, rest)| format!("{user}%{host}{rest}")),
        3 => (text(&["$U", "x$U"], 2), text(&["$H$D", "a.b", "[$L]"], 3), prop::sample::select(vec!["TCP-A", "TCP-B", "local.example", "c", "near", "$D"]))
            .prop_map(|(user, host, system)| format!("{user}%{host}@{system}")),
    ]
}

fn address() -> impl Strategy<Value = Address> {
    let host = || {
        text(
            &[
                "a",
                "b",
                ".",
                "x",
                "[1.2.3.4]",
                "[",
                "]",
                "near",
                "local.example",
                "TCP-A",
                "İ",
                "c",
                "%",
                "*",
            ],
            5,
        )
    };
    let local = text(&["u", "%", "!", "a", "b", "+", "\"", "\\", ".", "local.example", "%a", "b!"], 9);
    (prop::collection::vec(host(), 0..4), local, prop::option::of(host()))
        .prop_map(|(route, local, host)| Address { route, local, host })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rewriting_ends_and_does_not_mind_being_watched(
        rules in prop::collection::vec((pattern(), template()), 0..14),
        addresses in prop::collection::vec(address(), 1..6),
        kind in prop::sample::select(vec![Kind::EnvelopeTo, Kind::EnvelopeFrom, Kind::HeaderTo, Kind::HeaderFrom]),
        source in prop::sample::select(vec!["l", "tcp_a", "tcp_b", "tcp_c", "none"]),
        destination in prop::sample::select(vec![None, Some("tcp_a"), Some("tcp_c"), Some("none")]),
    ) {
        let unique = rules.iter().any(|(_, template)| template.to_lowercase().contains("$w"));
        let (rewriter, diagnostics) = Rewriter::compile(Arc::new(with_rules(&rules)));
        for diagnostic in diagnostics {
            prop_assert!(diagnostic.span.is_some(), "{diagnostic:?} has no place");
            let known = sluice_rewrite::codes().iter().chain(sluice_rewrite::mapping::codes());
            prop_assert!(known.into_iter().any(|code| std::ptr::eq(*code, diagnostic.code)));
        }
        let context = Context { kind, source_channel: source, destination_channel: destination };
        for address in &addresses {
            let alone = rewriter.route(address, &context, None);
            let mut trace = Trace::new();
            let watched = rewriter.route(address, &context, Some(&mut trace));
            if !unique {
                prop_assert_eq!(&alone, &watched, "{}", address);
            }
            let last = trace.steps.last();
            match &watched {
                Ok(route) => {
                    let done = matches!(last, Some(Step::Done { .. }));
                    prop_assert!(done);
                    prop_assert!(rewriter.config().channels.by_name(&route.channel).is_some());
                    let is_null = address.is_null();
                    prop_assert!(is_null || rewriter.config().channels.by_host(&route.routing_system).is_some());
                }
                Err(rejected) => {
                    let refused = matches!(last, Some(Step::Refused { .. }));
                    prop_assert!(refused);
                    prop_assert!(!rejected.text.is_empty());
                    let refusal = rejected.into_refusal("u@a\r\n250 ok");
                    prop_assert!(!refusal.text.contains(['\r', '\n']));
                }
            }
            prop_assert!(!trace.to_string().is_empty());
        }
    }

    #[test]
    fn any_address_that_is_read_can_be_rewritten(bytes in ".{0,300}") {
        let rules = [(".".to_owned(), "$U%$H@TCP-A".to_owned()), ("$%".to_owned(), "$U%$H.x".to_owned())];
        let (rewriter, _) = Rewriter::compile(Arc::new(with_rules(&rules)));
        if let Ok(address) = Address::parse(&bytes) {
            let context = Context { kind: Kind::EnvelopeTo, source_channel: "l", destination_channel: None };
            let _ = rewriter.route(&address, &context, None);
        }
    }
}

#[test]
fn long_addresses_cost_little() {
    // The longest address of the most hosts, against rules that repeat and rules that remove.
    let rules: Vec<(String, String)> = [(".a", "$U%$H"), ("x", "$U@local.example"), (".", "$U%$H@TCP-A")]
        .map(|(p, t)| (p.to_owned(), t.to_owned()))
        .into();
    let (rewriter, _) = Rewriter::compile(Arc::new(with_rules(&rules)));
    let context = Context { kind: Kind::EnvelopeTo, source_channel: "l", destination_channel: None };
    let labels = format!("u@{}a", "a.".repeat(500));
    let percents = format!("u{}@x", "%x".repeat(500));
    let route = format!("{}:u@far", vec!["@x"; 300].join(","));
    let started = std::time::Instant::now();
    for text in [&labels, &percents, &route] {
        let _ = rewriter.route(&Address::parse(text).unwrap(), &context, None);
    }
    assert!(started.elapsed().as_millis() < 1000, "{:?}", started.elapsed());
    assert_eq!(
        rewriter.route(&Address::parse(&percents).unwrap(), &context, None).unwrap().address.to_string(),
        "u@local.example"
    );
}
