//! Address reversal, bit by bit.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use sluice_config::{MemoryFiles, Place};
use sluice_mail::Address;
use sluice_rewrite::{Context, Kind, Moment, Reversal, Rewriter};

const MAIN: &str = "h $U@h\n\nl\nh\n\ntcp_in smtp\nin-daemon\n\ntcp_out smtp\nout-daemon\n\ntcp_plain smtp noreverse\nplain-daemon\n";

fn rewriter(options: &str, reverse: &str, table: &str) -> Rewriter {
    let mut files = MemoryFiles::new().with("sluice.cnf", MAIN).with("option.dat", options);
    if !reverse.is_empty() {
        files = files.with("reverse.txt", reverse);
    }
    if !table.is_empty() {
        files = files.with("mappings", format!("REVERSE\n\n{table}"));
    }
    let (config, _, found) = sluice_config::read(&files, &Place::Folder(Path::new("").to_owned()));
    let config = config.unwrap_or_else(|| panic!("{found:?}"));
    Rewriter::compile(Arc::new(config)).0
}

fn ask(rewriter: &Rewriter, address: &str, kind: Kind, moment: Moment, to: Option<&str>) -> String {
    let context = Context { kind, source_channel: "tcp_in", destination_channel: to };
    match rewriter.reverse(&Address::parse(address).unwrap(), &context, moment) {
        Reversal::Unchanged => "same".to_owned(),
        Reversal::Changed(address) => address.to_string(),
        Reversal::NotAnAddress(text) => format!("no address: {text}"),
    }
}

/// A header sender of mail to `tcp_out`, after rewriting.
fn from(rewriter: &Rewriter, address: &str) -> String {
    ask(rewriter, address, Kind::HeaderFrom, Moment::AfterRewriting, Some("tcp_out"))
}

#[test]
fn the_database_comes_first_and_then_the_table() {
    let both = rewriter("", "adam@a.siroe.com Adam.One@siroe.com\n", "  *@*.siroe.com  $0@siroe.com$Y\n");
    assert_eq!(from(&both, "ADAM@a.siroe.com"), "Adam.One@siroe.com");
    assert_eq!(from(&both, "eve@b.siroe.com"), "eve@siroe.com");
    assert_eq!(from(&both, "eve@example.org"), "same");
    assert_eq!(
        from(&both, "@relay:eve@b.siroe.com"),
        "@relay:eve@siroe.com",
        "a route is part of the question"
    );
}

#[test]
fn d_asks_the_database_once_more_and_n_discards() {
    let rules = rewriter(
        "",
        "user@mailhost.siroe.com first.last@siroe.com\n",
        "  *@old.siroe.com   $0@mailhost.siroe.com$Y$D\n  *@not.siroe.com  $0@siroe.com$N\n  *@nor.siroe.com $0@siroe.com\n  *@bad.siroe.com a$ b@$Y\n  *@gone.siroe.com $Y\n",
    );
    assert_eq!(from(&rules, "user@old.siroe.com"), "first.last@siroe.com");
    assert_eq!(from(&rules, "other@old.siroe.com"), "other@mailhost.siroe.com");
    assert_eq!(from(&rules, "user@not.siroe.com"), "same");
    assert_eq!(from(&rules, "user@nor.siroe.com"), "same", "without $Y the result is dropped");
    assert_eq!(from(&rules, "user@bad.siroe.com"), "no address: a b@");
    assert_eq!(from(&rules, "user@gone.siroe.com"), "no address: ");
}

#[test]
fn kinds_are_told_by_flags_and_excepted_by_options() {
    let table = "  *@x  $C$:E$0@envelope$Y$E\n  *@x  $C$:F$0@forward$Y$E\n  *@x $0@backward$Y\n";
    let ask_all = |rules: &Rewriter| {
        [Kind::EnvelopeFrom, Kind::EnvelopeTo, Kind::HeaderTo, Kind::HeaderFrom]
            .map(|kind| ask(rules, "a@x", kind, Moment::AfterRewriting, Some("tcp_out")))
    };
    assert_eq!(ask_all(&rewriter("", "", table)), ["a@envelope", "same", "a@forward", "a@backward"]);
    assert_eq!(
        ask_all(&rewriter("REVERSE_ENVELOPE=0\n", "", table)),
        ["same", "same", "a@forward", "a@backward"]
    );
    assert_eq!(
        ask_all(&rewriter("USE_REVERSE_DATABASE=1\n", "", table)),
        ["a@envelope", "same", "same", "a@backward"]
    );
    assert_eq!(ask_all(&rewriter("USE_REVERSE_DATABASE=0\n", "", table)), ["same"; 4]);
}

#[test]
fn moments_and_exempt_channels() {
    let table = "  *@x $0@y$Y\n";
    let rules = rewriter("USE_REVERSE_DATABASE=6\n", "", table);
    let at = |moment, to| ask(&rules, "a@x", Kind::HeaderFrom, moment, to);
    assert_eq!(at(Moment::BeforeRewriting, Some("tcp_out")), "a@y");
    assert_eq!(at(Moment::AfterRewriting, Some("tcp_out")), "same");
    assert_eq!(at(Moment::BeforeRewriting, Some("tcp_plain")), "same");
    assert_eq!(at(Moment::BeforeRewriting, None), "a@y");
    assert_eq!(from(&rewriter("", "", "  * x@y$Y\n"), "same@place"), "x@y");
}

#[test]
fn channels_are_part_of_the_question_where_the_bits_say_so() {
    let database = "a@x database@x\ntcp_in|tcp_out|a@x both@x\ntcp_out|a@x to@x\n";
    let table = "  tcp_*|tcp_out|*@x   $0.$1@table$Y$D\n  tcp_out|*@x  to.$0@table$Y\n  *@x plain@table$Y\n";
    let ask =
        |option: u32| from(&rewriter(&format!("USE_REVERSE_DATABASE={option}\n"), database, table), "a@x");
    assert_eq!(ask(5), "database@x");
    assert_eq!(ask(13), "database@x", "the database is asked without channels");
    assert_eq!(ask(5 + 16), "both@x");
    assert_eq!(ask(5 + 16 + 128), "to@x");
    let ask = |option: u32| from(&rewriter(&format!("USE_REVERSE_DATABASE={option}\n"), "", table), "a@x");
    assert_eq!(ask(5), "plain@table");
    assert_eq!(ask(13), "in.a@table");
    assert_eq!(ask(13 + 256), "to.a@table");
    let ask = |option: u32| {
        from(
            &rewriter(&format!("USE_REVERSE_DATABASE={option}\n"), database, "  database@x after@x$Y\n"),
            "a@x",
        )
    };
    assert_eq!(ask(5), "database@x");
    assert_eq!(ask(5 + 32), "after@x", "the table has the last word");
}
