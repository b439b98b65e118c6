//! Limits of headers; what becomes of addresses in them is on the pages in `tests/`.
#![allow(clippy::unwrap_used)]
use std::path::PathBuf;
use std::sync::Arc;

use sluice_config::{MemoryFiles, Place};

use super::*;

fn rewriter(rules: &str) -> Rewriter {
    let text = format!("{rules}\n\nl\nhub.example\n\ntcp_local smtp\nTCP-DAEMON\n");
    let files = MemoryFiles::new().with("sluice.cnf", text.as_str());
    let (config, ..) = sluice_config::read(&files, &Place::File(PathBuf::from("sluice.cnf")));
    Rewriter::compile(Arc::new(config.unwrap())).0
}

const CONTEXT: Context<'_> =
    Context { kind: Kind::HeaderTo, source_channel: "tcp_local", destination_channel: Some("l") };

fn through(rewriter: &Rewriter, header: &[u8]) -> Vec<u8> {
    let addresses = HeaderAddresses::read(header, None);
    let edited = rewriter.edit_header(header, &addresses, &CONTEXT, None, &|| false);
    let mut out = Vec::new();
    edited.edits.apply(header, &mut out);
    assert!(out.len() <= header.len() + edited.edits.growth());
    out
}

#[test]
fn a_line_that_would_become_too_long_is_folded_before_the_address() {
    let rewriter = rewriter("a  $U%a.very.long.name.of.a.host.example@TCP-DAEMON\n.  $U%$H@TCP-DAEMON");
    let filler = "x".repeat(966);
    let header = format!("To: {filler}@b.example, u@a, v@a\r\n");
    let out = String::from_utf8(through(&rewriter, header.as_bytes())).unwrap();
    assert_eq!(
        out,
        format!(
            "To: {filler}@b.example, \r\n u@a.very.long.name.of.a.host.example, v@a.very.long.name.of.a.host.example\r\n"
        )
    );
    // Alone on its line and still too long: it stays.
    let header = format!("To:\r\n {}@a (c)\r\n", "x".repeat(985));
    assert_eq!(through(&rewriter, header.as_bytes()), header.as_bytes());
}

#[test]
fn what_is_beyond_the_limits_passes_as_it_is() {
    let rewriter = rewriter("a  $U%b.example@TCP-DAEMON");
    let many = format!("To: {}u@a\r\n", "u@a,\r\n ".repeat(HEADER_ADDRESSES_MAX + 5));
    let out = String::from_utf8(through(&rewriter, many.as_bytes())).unwrap();
    assert_eq!(out.matches("u@b.example").count(), HEADER_ADDRESSES_MAX);
    assert_eq!(out.matches("u@a").count(), 6);
    let long = format!("X: {}\r\nTo: u@a\r\n", "x\r\n ".repeat(HEADER_OCTETS_MAX / 4));
    assert_eq!(through(&rewriter, long.as_bytes()), long.as_bytes());
    let header = b"To: u@a,\r\n v@a\r\nCc: w@a\r\n";
    let addresses = HeaderAddresses::read(header, Some(8));
    let mut out = Vec::new();
    rewriter.edit_header(header, &addresses, &CONTEXT, None, &|| false).edits.apply(header, &mut out);
    assert_eq!(out, b"To: u@a,\r\n v@a\r\nCc: w@b.example\r\n");
    let addresses = HeaderAddresses::read(header, None);
    let left = std::cell::Cell::new(2);
    let late = || {
        left.set(left.get() - 1);
        left.get() < 0
    };
    out.clear();
    rewriter.edit_header(header, &addresses, &CONTEXT, None, &late).edits.apply(header, &mut out);
    assert_eq!(out, b"To: u@b.example,\r\n v@b.example\r\nCc: w@a\r\n");
}

#[test]
fn nothing_that_would_break_a_header_stands_in_it() {
    let stands =
        |old: &str, new: (&str, &str)| may_stand(&Address::parse(old).unwrap(), &Address::new(new.0, new.1));
    assert!(stands("u@a", ("u", "b.example")));
    assert!(!stands("u@a", ("u\r\nX-Evil: 1", "b")));
    assert!(!stands("u@a", ("u", "b\0")));
    // The copy may go where nothing but ASCII is taken, and was accepted as such.
    assert!(!stands("u@a", ("u", "b\u{e4}.example")));
    assert!(stands("\u{f6}@a", ("\u{f6}", "b\u{e4}.example")));
}
