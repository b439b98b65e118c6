//! FORWARD and the forward database, flag by flag and bit by bit.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use sluice_config::{MemoryFiles, Place};
use sluice_mail::Address;
use sluice_rewrite::mapping::Flags;
use sluice_rewrite::{Context, Kind, Rewriter};

const MAIN: &str = "h $U@h\na $U%a@TCP-OUT\nb $U%b@TCP-BACK\nshort $U%a@TCP-OUT\n\nl\nh\n\ntcp_out smtp\nTCP-OUT\n\ntcp_back smtp\nTCP-BACK\n";

fn rewriter(options: &str, database: &str, table: &str) -> Rewriter {
    let mut files = MemoryFiles::new()
        .with("sluice.cnf", MAIN)
        .with("option.dat", options)
        .with("aliases", "team: one@a, two@b\n");
    if !database.is_empty() {
        files = files.with("forward.txt", database);
    }
    if !table.is_empty() {
        files = files.with("mappings", format!("FORWARD\n\n{table}"));
    }
    let (config, _, found) = sluice_config::read(&files, &Place::Folder(Path::new("").to_owned()));
    let config = config.unwrap_or_else(|| panic!("{found:?}"));
    Rewriter::compile(Arc::new(config)).0
}

/// Where a recipient goes, from me@x on the channel l; `!` behind one that is held.
fn forwarded(rewriter: &Rewriter, address: &str) -> String {
    let context = Context { kind: Kind::EnvelopeTo, source_channel: "l", destination_channel: None };
    let expansion = rewriter.expand(&Address::parse(address).unwrap(), "me@x", &context, None).unwrap();
    let mut shown = Vec::new();
    for recipient in expansion.recipients {
        match rewriter.forward(recipient, "me@x", &context, Flags::NONE) {
            Err(rejected) => shown.push(format!("refused: {}", rejected.text)),
            Ok(found) => {
                shown.extend(found.recipients.iter().map(|to| {
                    let held = if to.held { "!" } else { "" };
                    format!("{} {}{held}", to.route.channel, to.route.final_address())
                }));
                shown.extend(found.remarks);
            }
        }
    }
    shown.join("; ")
}

#[test]
fn without_table_and_option_nothing_changes() {
    assert_eq!(forwarded(&rewriter("", "one@a two@b\n", ""), "one@a"), "tcp_out one@a");
}

#[test]
fn the_table_answers_with_its_flags() {
    let rules = rewriter(
        "",
        "",
        "  plain@a    new@short$Y\n  again@a    new@short$Y$D\n  team@a     team@h$Y$D\n  no@a   new@b$N\n  mute@a new@b\n  \
         hold@a     $I\n  both@a     new@b$Y$I\n  lost@a     x@nowhere$Y\n  lostD@a    x@nowhere$Y$D\n  bad@a      x@$Y\n",
    );
    assert_eq!(forwarded(&rules, "plain@a"), "tcp_out new@short", "the rules only choose the channel");
    assert_eq!(forwarded(&rules, "again@a"), "tcp_out new@a");
    assert_eq!(forwarded(&rules, "team@a"), "tcp_out one@a; tcp_back two@b");
    assert_eq!(forwarded(&rules, "no@a"), "tcp_out no@a");
    assert_eq!(forwarded(&rules, "mute@a"), "tcp_out mute@a", "without $Y the output is dropped");
    assert_eq!(forwarded(&rules, "hold@a"), "tcp_out hold@a!");
    assert_eq!(forwarded(&rules, "both@a"), "tcp_back new@b!");
    assert_eq!(forwarded(&rules, "lost@a"), "tcp_out x@nowhere", "no rule: the channel stays");
    assert_eq!(forwarded(&rules, "lostD@a"), "refused: illegal host/domain name found");
    assert!(forwarded(&rules, "bad@a").starts_with("tcp_out bad@a; bad@a is forwarded to \"x@\""));
    assert_eq!(forwarded(&rules, "other@a"), "tcp_out other@a");
}

#[test]
fn what_is_forwarded_may_be_forwarded_again() {
    let rules = rewriter(
        "",
        "",
        "  one@a    two@a$Y$D\n  two@a    three@b$Y$D\n  end@a    two@a$Y$D$H\n  ping@a   pong@a$Y$D\n  pong@a   ping@a$Y$D\n  self@a self@a$Y$D\n",
    );
    assert_eq!(forwarded(&rules, "one@a"), "tcp_back three@b");
    assert_eq!(forwarded(&rules, "end@a"), "tcp_out two@a", "$H: and no further");
    let round = forwarded(&rules, "ping@a");
    assert!(round.contains("forwarded too often in a row"), "{round}");
    assert_eq!(forwarded(&rules, "self@a"), "tcp_out self@a");
}

#[test]
fn the_database_is_asked_where_the_option_says_so() {
    let database = "one@a two@b\ntwo@b three@short\nl|me@x|one@a source@b\n";
    let table = "  table@a   one@a$Y\n  tableG@a  one@a$Y$G\n  closed@a $N$H\n";
    assert_eq!(forwarded(&rewriter("USE_FORWARD_DATABASE=1\n", database, ""), "one@a"), "tcp_out three@a");
    assert_eq!(forwarded(&rewriter("USE_FORWARD_DATABASE=9\n", database, ""), "one@a"), "tcp_back source@b");
    let on = rewriter("USE_FORWARD_DATABASE=1\n", &format!("{database}closed@a x@b\n"), table);
    assert_eq!(forwarded(&on, "table@a"), "tcp_out one@a", "without $G the output counts");
    assert_eq!(forwarded(&on, "tableG@a"), "tcp_back two@b");
    assert_eq!(forwarded(&on, "closed@a"), "tcp_out closed@a");
    let off = rewriter("", database, table);
    assert_eq!(forwarded(&off, "tableG@a"), "tcp_out one@a", "the database is not in use");
}

#[test]
fn channels_and_sender_are_part_of_the_question_where_the_bits_say_so() {
    let table = "  l|me@x|tcp_out|*@a  all.$0@b$Y\n  tcp_out|*@a to.$0@b$Y\n  l|me@x|*@a from.$0@b$Y\n  *@a plain.$0@b$Y\n";
    let ask =
        |option: u32| forwarded(&rewriter(&format!("USE_FORWARD_DATABASE={option}\n"), "", table), "u@a");
    assert_eq!(ask(0), "tcp_back plain.u@b");
    assert_eq!(ask(16), "tcp_back from.u@b");
    assert_eq!(ask(64), "tcp_back to.u@b");
    assert_eq!(ask(80), "tcp_back all.u@b");
}
