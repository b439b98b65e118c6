//! What an address and a probe of a mapping table cost, counted in allocations: the part of their speed that does not
//! depend on the machine. `cargo xtask bench language` measures the rest.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use sluice_config::{Database, MemoryFiles};
use sluice_mail::Address;
use sluice_rewrite::mapping::{Flags, MappingTables};
use sluice_rewrite::{Context, Kind, NoLookups, Rewriter};

fn rewriter(rules: usize) -> Rewriter {
    let mut text = "hub.example $U@hub.example\n. $U%$H@tcp-daemon\n".to_owned();
    for number in 0..rules {
        let line = match number % 4 {
            0 => format!("host{number}.example.com $U%$D@TCP-DAEMON"),
            1 => format!(".dom{number}.example.net $E$U%$H$D@tcp-daemon"),
            2 => format!("*.star{number}.example.org $U%$H.inside@tcp-daemon$Mtcp_local"),
            _ => format!("again{number}.example.com $U%host{}.example.com", number - 3),
        };
        _ = writeln!(text, "{line}");
    }
    text.push_str("\nl\nhub.example\n\ntcp_local smtp mx\ntcp-daemon\n");
    let (config, sources, remarks) = sluice_config::read_text(&text);
    let said: Vec<String> = remarks.iter().map(|remark| remark.render(&sources)).collect();
    Rewriter::compile(Arc::new(config.unwrap_or_else(|| panic!("{said:?}")))).0
}

fn allocations(rewriter: &Rewriter, address: &str, channel: &str) -> u64 {
    let address = Address::parse(address).unwrap();
    let context = Context { kind: Kind::EnvelopeTo, source_channel: "tcp_local", destination_channel: None };
    let mut route = None;
    let counted = allocation_counter::measure(|| route = rewriter.route(&address, &context, None).ok());
    assert_eq!(route.unwrap().channel, channel, "{address}");
    counted.count_total
}

/// A route is an address of a local part and a host, the channel and the routing system: four texts.
const ROUTE: u64 = 4;

#[test]
fn an_address_costs_the_texts_of_its_route_and_little_more() {
    let cases = [
        ("fred@host4.example.com", "tcp_local", ROUTE),
        ("fred@HOST4.Example.COM", "tcp_local", ROUTE + 1),
        // Some pattern has an asterisk, so that probes with one are put together.
        ("fred@mail.dom5.example.net", "tcp_local", ROUTE + 1),
        ("fred@anywhere.example.edu", "tcp_local", ROUTE + 1),
        ("fred@hub.example", "l", ROUTE),
        // Not of the common shape: the host is put together anew.
        ("fred@mail.star6.example.org", "tcp_local", ROUTE + 3),
        // The result of the first turn.
        ("fred@again7.example.com", "tcp_local", ROUTE + 2),
        // The parts of the local one are taken off: what the rule made of them is thrown away.
        ("fred%host4.example.com@hub.example", "tcp_local", ROUTE + 6),
        ("@host4.example.com:fred@far.example.edu", "tcp_local", ROUTE + 9),
    ];
    // As many rules as there are make no difference.
    for rules in [100, 10_000] {
        let rewriter = rewriter(rules);
        for (address, channel, most) in cases {
            let counted = allocations(&rewriter, address, channel);
            assert!(counted <= most, "{address} with {rules} rules: {counted} allocations, more than {most}");
            assert!(counted >= ROUTE, "{address}: {counted} allocations cannot make a route: who counts?");
        }
    }
}

#[test]
fn a_host_of_many_labels_costs_no_more_than_one_of_few() {
    let rewriter = rewriter(1000);
    let few = allocations(&rewriter, "fred@a.b.example", "tcp_local");
    let many = allocations(&rewriter, &format!("fred@{}example", "a.".repeat(100)), "tcp_local");
    // Asterisks are written down as far as some pattern has them.
    assert!(many <= few + 1, "{many} allocations instead of {few}");
}

#[test]
fn a_mapping_table_is_walked_without_allocation() {
    let mut text = "PORT_ACCESS\n\n".to_owned();
    for number in 0..1000 {
        _ = writeln!(text, "  tcp_local|*@dom{number}.example.com|*|* $Yyes");
    }
    let files = MemoryFiles::new().with("mappings", text);
    let (mappings, ..) = sluice_config::read_mappings(&files, Path::new("mappings"));
    let (tables, remarks) = MappingTables::compile(&mappings);
    assert!(remarks.is_empty());
    for (domain, matches, most) in [("dom0", true, 1), ("dom999", true, 1), ("none", false, 0)] {
        let text = format!("tcp_local|fred@{domain}.example.com|tcp_local|someone@far.example");
        let mut answer = None;
        let counted = allocation_counter::measure(|| {
            answer = tables.probe("PORT_ACCESS", &text, Flags::NONE, &NoLookups);
        });
        assert_eq!(answer.unwrap().matched(), matches, "{domain}");
        assert!(
            counted.count_total <= most,
            "{domain}: {} allocations, more than {most}",
            counted.count_total
        );
        assert_eq!(
            counted.count_total > 0,
            matches,
            "{domain}: an output is made exactly when an entry matches"
        );
    }
}

#[test]
fn a_large_database_costs_its_file_and_a_probe_costs_nothing() {
    const ENTRIES: u32 = 100_000;
    let pairs = (0..ENTRIES)
        .map(|number| (format!("user{number:07}@example.com"), format!("u{number}@inside.example")));
    let image = Database::from_pairs(pairs).image().to_vec();
    let size = image.len() as u64;
    assert!(size < 90 * u64::from(ENTRIES), "{size} octets");

    // As many octets as the file has were read; taking them, which looks at all of them, needs nothing beside.
    let mut database = None;
    let counted = allocation_counter::measure(|| database = Database::from_image(image).ok());
    let database = database.unwrap();
    assert_eq!(database.len(), ENTRIES as usize);
    assert_eq!(counted.count_total, 0, "{} octets beside the {size} of the file", counted.bytes_total);

    for (key, expected) in [
        ("user0000000@example.com", Some("u0@inside.example")),
        ("user0077777@example.com", Some("u77777@inside.example")),
        ("user0099999@example.com", Some("u99999@inside.example")),
        ("user0100000@example.com", None),
        ("", None),
    ] {
        let mut found = Ok(None);
        let counted = allocation_counter::measure(|| found = database.get(key));
        assert_eq!(found, Ok(expected), "{key}");
        assert_eq!(counted.count_total, 0, "{key}");
    }
    let counted = allocation_counter::measure(|| {
        assert!(matches!(database.get("USER0000042@example.com"), Ok(Some(_))));
    });
    assert_eq!(counted.count_total, 1, "a key in capitals is written in small letters first");
}
