//! Calls of routines: `$[image,routine,argument]` in rewrite rules and in mapping tables.
#![allow(clippy::unwrap_used)]

use sluice_config::{MemoryFiles, Place};
use sluice_mail::Address;
use sluice_rewrite::mapping::Flags;
use sluice_rewrite::{Context, Kind, Lookups, Rewriter};
use std::path::PathBuf;
use std::sync::Arc;

/// Answers with what it is asked, and misses what has `miss` in it.
struct Site;

impl Lookups for Site {
    fn database(&self, _: &str, key: &str) -> Option<String> {
        (key == "call").then(|| "$[site,echo,$U]%d@TCP-DAEMON".to_owned())
    }

    fn routine(&self, image: &str, routine: &str, argument: &str) -> Option<String> {
        match routine {
            "echo" if !argument.contains("miss") => Some(argument.to_owned()),
            "show" => Some(format!("{image}.{routine}.x")),
            "template" => Some("$U%other@TCP-DAEMON".to_owned()),
            _ => None,
        }
    }
}

const CHANNELS: &str = "\nl\nhub.example\n\ntcp_local smtp\nTCP-DAEMON\n";

/// The compiled rules, and what is said about them.
fn compiled(rules: &str, mappings: &str) -> (Rewriter, Vec<String>) {
    let files =
        MemoryFiles::new().with("sluice.cnf", format!("{rules}{CHANNELS}")).with("mappings", mappings);
    let (config, sources, said) = sluice_config::read(&files, &Place::File(PathBuf::from("sluice.cnf")));
    let shown: Vec<String> = said.iter().map(|one| one.render(&sources)).collect();
    let (rewriter, found) = Rewriter::compile(Arc::new(config.unwrap_or_else(|| panic!("{shown:?}"))));
    let found = found
        .iter()
        .map(|one| format!("{} {}: {}", sources.position(one.span.unwrap()), one.code.name, one.message));
    let found = found.collect();
    (rewriter.with_lookups(Arc::new(Site)), found)
}

fn route(rules: &str, address: &str) -> String {
    let (rewriter, _) = compiled(rules, "");
    let context = Context { kind: Kind::EnvelopeTo, source_channel: "l", destination_channel: None };
    match rewriter.route(&Address::parse(address).unwrap(), &context, None) {
        Ok(route) => route.address.to_string(),
        Err(rejected) => format!("refused: {}", rejected.text),
    }
}

#[test]
fn the_answer_stands_in_the_place_of_the_call() {
    assert_eq!(route("a $U%$[site,echo,x.$D]@TCP-DAEMON\n", "u@a"), "u@x.a");
    assert_eq!(route("a $U%$[ /lib/site.so , show ]@TCP-DAEMON\n", "u@a"), "u@/lib/site.so.show.x");
    // Commas belong to the argument, and so do the signs that mean something elsewhere.
    assert_eq!(route("a $[site,echo,$U,1]%b@TCP-DAEMON\n", "u@a"), "u,1@b");
    assert_eq!(route("a $^$[site,echo,$U]$_%b@TCP-DAEMON\n", "u@a"), "U@b");
}

#[test]
fn the_answer_is_read_as_a_template() {
    assert_eq!(route("a $[site,template,x]\n", "u@a"), "u@other");
}

#[test]
fn a_miss_skips_the_rule() {
    let rules = "a $U%$[site,echo,$U]@TCP-DAEMON\na $U%second@TCP-DAEMON\n";
    assert_eq!(route(rules, "u@a"), "u@u");
    assert_eq!(route(rules, "miss@a"), "miss@second");
    assert_eq!(route("a $U%$[site,none,$U]@TCP-DAEMON\n", "u@a"), "refused: illegal host/domain name found");
}

#[test]
fn text_of_a_database_may_call_a_routine() {
    assert_eq!(route("a $(call)\n", "u@a"), "u@d");
}

#[test]
fn mapping_tables_call_routines() {
    let mappings =
        "T\n\n  m*  $Y$[site,echo,$0]\n  n*  $Y<$[site,echo,$0miss]>\n  t*  $Y$[site,show,$|U;$0|]\n";
    let (rewriter, said) = compiled("a $U@TCP-DAEMON\n", mappings);
    assert_eq!(said, ["5:9 mapping-no-such-table: there is no mapping table `U`"].map(String::from));
    let ask = |text: &str| {
        let answer = rewriter.map("T", text, Flags::NONE).unwrap();
        answer.output.unwrap()
    };
    assert_eq!(ask("m,a"), ",a");
    assert_eq!(ask("na"), "na", "an entry that fails leaves the text as it was");
    let calls: Vec<String> =
        rewriter.routines().map(|call| format!("{} {}", call.image, call.routine)).collect();
    assert_eq!(calls, ["site echo", "site echo", "site show"]);
}

#[test]
fn what_is_called_is_written_out() {
    let (rewriter, said) =
        compiled("a $U%$[$H,echo,x]@TCP-DAEMON\nb $U%$[site]@TCP-DAEMON\nc $U%$[site,echo@TCP-DAEMON\n", "");
    assert_eq!(
        said,
        [
            "1:6 rewrite-missing-name: `$[$H,echo,x]` does not name what it calls",
            "2:6 rewrite-missing-name: `$[site]` does not name what it calls",
            "3:6 rewrite-unclosed-lookup: `$[site,echo@TCP-DAEMON` is not closed",
        ]
    );
    assert_eq!(rewriter.routines().count(), 0);
    let (_, said) = compiled("a $U@TCP-DAEMON\n", "T\n\n  m*  $[$0,echo,x]\n");
    assert_eq!(said, ["3:7 mapping-bad-lookup: `$[$0,echo,x]` does not name what it calls"]);
}
