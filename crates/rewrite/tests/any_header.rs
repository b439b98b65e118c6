//! Whatever the header and whatever the rules: nothing panics, what does not change is the same octet for octet, and what
//! comes out is read again as a header with as many fields.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use sluice_mail::{field, header};
use sluice_rewrite::header::{HeaderAddresses, HeaderEdits, enclosed_headers, kind_of_field};
use sluice_rewrite::{Context, Kind, Rewriter};

const CHANNELS: &str = "\n\nl\nlocal.example\n\ntcp_a smtp\nTCP-A alias.example\n\ntcp_b smtp exproute defaulthost def.example\n\
    TCP-B\n\nc improute header_733\nc\n\nd header_uucp uucp\nd\n";

fn rewriter(rules: &str) -> Rewriter {
    let (config, _, diagnostics) = sluice_config::read_text(&format!("{rules}{CHANNELS}"));
    Rewriter::compile(Arc::new(config.unwrap_or_else(|| panic!("{diagnostics:?}")))).0
}

fn edits(rewriter: &Rewriter, header: &[u8], from: &str, to: &str) -> HeaderEdits {
    let context = Context { kind: Kind::HeaderTo, source_channel: from, destination_channel: Some(to) };
    let addresses = HeaderAddresses::read(header, None);
    rewriter.edit_header(header, &addresses, &context, Some("client.example"), &|| false).edits
}

fn applied(edits: &HeaderEdits, header: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    edits.apply(header, &mut out);
    out
}

/// Fields of pieces that mean something in them.
fn any_header() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        30 => prop::sample::select(&[
            "u", "@", "a", ".", "b.example", "<", ">", ",", ";", ":", "(", ")", "\"", "\\", "[192.0.2.1]", " ", "\r\n ",
            "%", "!", "TCP-B", "local.example", "<u@a>", "u@b.example", "@c:", "\t", "\u{e4}", "=?x?Q?y?=", "d",
        ][..]).prop_map(|text| text.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|octet| vec![octet]),
        4 => prop::sample::select(&["\r\nTo:", "\r\nFrom: ", "\r\nX-Other: ", "\r\nReply-to :"][..])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| {
        let mut header = b"Cc: ".to_vec();
        header.extend(pieces.concat());
        header.extend_from_slice(b"\r\n");
        header
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_header_comes_out_with_its_fields(header in any_header(), from in 0usize..5, to in 0usize..5) {
        let rewriter = rewriter("a  $U%a.example@TCP-B\nb.example  $U@$D@r@TCP-A\n.  $U%$H@TCP-A");
        let channels = ["l", "tcp_a", "tcp_b", "c", "d"];
        let edits = edits(&rewriter, &header, channels[from], channels[to]);
        let out = applied(&edits, &header);
        prop_assert_eq!(edits.is_empty(), out == header);
        let names = |text: &[u8]| header::fields(text).map(|field| field.name.to_vec()).collect::<Vec<_>>();
        prop_assert_eq!(names(&out), names(&header));
        // A field with addresses still has as many.
        let count = |text: &[u8]| {
            header::fields(text)
                .map(|one| kind_of_field(one.name).map(|_| field::addresses(&text[one.body]).map(|all| all.len()).ok()))
                .collect::<Vec<_>>()
        };
        prop_assert_eq!(count(&out), count(&header));
        // A line is no longer than it was, or within the limit.
        let longest = |text: &[u8]| text.split(|octet| *octet == b'\n').map(<[u8]>::len).max().unwrap_or(0);
        prop_assert!(longest(&out) <= longest(&header).max(999));
    }

    #[test]
    fn any_message_has_its_enclosed_headers_in_order(
        pieces in prop::collection::vec(prop::sample::select(&[
            "Content-Type: multipart/digest; boundary=b", "Content-Type: message/rfc822", "\r\n", "\r\n\r\n", "--b", "--b--", "To: a", "\"", ";",
            "Content-Type: multipart/x; boundary=\"b", "\\", "b", "\n", ":", " ",
        ][..]), 0..60),
        end in any::<prop::sample::Index>(),
    ) {
        let octets = pieces.concat().into_bytes();
        let mut behind = 0;
        for place in enclosed_headers(&octets, end.index(octets.len() + 1)) {
            prop_assert!(behind <= place.start && place.end <= octets.len());
            behind = place.end;
        }
    }

    #[test]
    fn what_no_rule_changes_is_the_same(
        words in prop::collection::vec(prop::sample::select(&[
            "u@a.example", "Ann <u@a.example>", "(x (y)) u@a.example", "<u @ b.example>", "\"q, q\" <\"l l\"@c.example>", "g: u@a.example;",
            "<@r.example:u@s.example>", "", "nonsense nonsense", "<", "<>",
        ][..]), 0..8),
        fold in prop::sample::select(&[",", ", ", ",\r\n ", " ,\r\n\t \t"][..]),
    ) {
        let rewriter = rewriter(".  $U%$H@TCP-A");
        let header = format!("To: {}\r\nfrom:{}\r\n", words.join(fold), words.first().unwrap_or(&""));
        prop_assert!(edits(&rewriter, header.as_bytes(), "l", "tcp_a").is_empty(), "{header:?}");
    }
}
