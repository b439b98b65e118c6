//! Rewriting: how many addresses a second, of each kind and mixed. No address comes twice in a round.

use std::hint::black_box;

use sluice_mail::Address;
use sluice_rewrite::{Context, Kind, Rewriter};

use crate::rate;
use crate::texts::{domain, host, star};

/// Different addresses of each kind.
const ADDRESSES: usize = 200_000;

/// The kinds, and the share of each in the mix, in percent.
const KINDS: [(&str, usize); 7] = [
    ("exact", 35),
    ("domain", 20),
    ("star", 5),
    ("catch_all", 20),
    ("route", 5),
    ("percent", 5),
    ("local", 10),
];

/// Address `number` of a kind. The rules are taken in an order that no cache likes.
fn address(kind: &str, number: usize, rules: usize) -> String {
    let rule = number.wrapping_mul(7_919) % rules / 10 * 10;
    match kind {
        "exact" => format!("user{number}@{}", host(rule + number % 5)),
        "domain" => format!("user{number}@mail{}{}", number % 97, domain(rule + 5 + number % 4)),
        "star" => format!("user{number}@mail{}{}", number % 97, &star(rule + 9)[1..]),
        "catch_all" => format!("user{number}@www.nobody{number}.example.edu"),
        "route" => format!("@{}:user{number}@far{number}.example.edu", host(rule)),
        // Two turns: this system is taken off, then the host behind the percent sign is looked for.
        "percent" => format!("user{number}%{}@hub.example", host(rule)),
        _ => format!("user{number}@hub.example"),
    }
}

fn kind_in_mix(number: usize) -> &'static str {
    let mut place = number.wrapping_mul(61) % 100;
    for (kind, share) in KINDS {
        if place < share {
            return kind;
        }
        place -= share;
    }
    "local"
}

/// Prints the rate of each kind and of the mix.
pub(crate) fn measure(rewriter: &Rewriter, rules: usize, channels: usize) -> Result<(), String> {
    let mut shown = vec![format!("\"rules\":{rules},\"channels\":{channels}")];
    for kind in KINDS.into_iter().map(|(kind, _)| kind).chain(["mix"]) {
        let of = |number| if kind == "mix" { kind_in_mix(number) } else { kind };
        let texts: Vec<String> = (0..ADDRESSES).map(|number| address(of(number), number, rules)).collect();
        let parse = |text: &String| Address::parse(text).map_err(|error| format!("{text}: {error}"));
        let addresses = texts.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let context =
            Context { kind: Kind::EnvelopeTo, source_channel: "tcp_local", destination_channel: None };
        for address in &addresses {
            if let Err(rejected) = rewriter.route(address, &context, None) {
                return Err(format!("{address}: {}", rejected.text));
            }
        }
        let found = rate(|| {
            for address in &addresses {
                _ = black_box(rewriter.route(black_box(address), &context, None));
            }
            addresses.len()
        })?;
        shown.push(format!("\"{kind}\":{found:.0}"));
        if kind == "mix" {
            let found = rate(|| {
                for text in &texts {
                    let address = Address::parse(black_box(text)).unwrap_or_default();
                    _ = black_box(rewriter.route(&address, &context, None));
                }
                texts.len()
            })?;
            shown.push(format!("\"mix_with_parsing\":{found:.0}"));
        }
    }
    println!("{{{}}}", shown.join(","));
    Ok(())
}
