//! The alias file and the text databases: what is read, and what is said about each mistake.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sluice_config::{Config, Database, MemoryFiles, Place};
use support::{FOLDER, diagnose, folder, good};

const MAIN: &str = ". $U%$H@TAG\n\nl\nhub.example.com\n\ntcp_local smtp\nTAG\n";

fn with(files: &[(&str, &str)]) -> MemoryFiles {
    folder(&[&[("sluice.cnf", MAIN)], files].concat())
}

fn aliases(text: &str) -> String {
    diagnose(&with(&[("aliases", text)]))
}

/// Members of each alias.
fn read(files: &MemoryFiles) -> Vec<String> {
    let config: Config = good(files);
    let shown = config.aliases.iter().map(|alias| {
        let members: Vec<String> = alias.members.iter().map(|member| member.address.to_string()).collect();
        format!("{}: {}", alias.name, members.join(" "))
    });
    shown.collect()
}

#[test]
fn the_file_is_read_with_comments_continuations_includes_and_lists() {
    let files = with(&[
        ("aliases", "! comment\n\nPostmaster: fred\nsales: a@b, \\\n  c, \"d, e\"@f\n<more.txt\nlast: x\n"),
        ("more.txt", "! included\nstaff: <\"list.txt\", [ENVELOPE_FROM] o@p\n"),
        ("list.txt", "! members\none@a\n\ntwo@b , three@c\n<deeper.txt\n"),
        ("deeper.txt", "four@d\n"),
    ]);
    assert_eq!(diagnose(&files), "");
    assert_eq!(
        read(&files),
        ["Postmaster: fred", "sales: a@b c \"d, e\"@f", "staff: one@a two@b three@c four@d", "last: x"]
    );
    let config = good(&files);
    assert_eq!(config.aliases.get("POSTMASTER").unwrap().name, "Postmaster");
    assert_eq!(config.aliases.get("staff").unwrap().sender(), Some("o@p"));
    assert_eq!((config.aliases.len(), config.aliases.get("nobody")), (4, None));
}

#[test]
fn every_mistake_has_its_place() {
    let cases = [
        (
            "fred: a\nFRED: b\n",
            "aliases:2:1: warning[duplicate-alias]: duplicate aliases found: `FRED` is there already, the first one counts\nnote: aliases:1:1: the first is here\nhelp: take one of the two out, or make one of them",
        ),
        (
            "fred:\n",
            "aliases:1:1: error[alias-without-addresses]: no equivalence addresses for alias `fred`\nhelp: write at least one address behind the colon, or take the line out",
        ),
        (
            "fred: a, b c@d\n",
            "aliases:1:10: error[bad-alias-address]: bad equivalence for alias `fred`: `b c@d`: ' ' may not stand in a local part unless it is quoted\nhelp: separate addresses by commas; quote odd local parts, `\"a b\"@host`",
        ),
        (
            "fred: a,, b\n",
            "aliases:1:9: error[bad-alias-address]: bad equivalence for alias `fred`: an address is missing\nhelp: take the comma out, or write `\\` behind it and go on in the next line",
        ),
        (
            "fred: a\n   b@c\n",
            "aliases:2:4: error[not-an-alias]: `b@c` is no alias: it has no colon\nhelp: if it goes on with the line above, end that one with `,\\`",
        ),
        (
            "fred a@b\n",
            "aliases:1:1: error[not-an-alias]: `fred a@b` is no alias: it has no colon\nhelp: write `name: address`, or `!` in column one for a comment",
        ),
        (
            ": a@b\n",
            "aliases:1:1: error[not-an-alias]: there is no name in front of the colon\nhelp: write `name: address`",
        ),
        (
            "fred : a@b\n",
            "aliases:1:5: error[blank-before-alias-colon]: blanks between the alias `fred` and its colon\nhelp: write `fred:`",
        ),
        (
            "fred x: a@b\n",
            "aliases:1:1: error[not-an-alias]: the alias name `fred x` holds a blank\nhelp: put quotes around it",
        ),
        (
            "<missing.txt\n",
            "aliases:1:2: error[cannot-open-alias-file]: cannot open alias include file missing.txt: there is no such file",
        ),
        (
            "fred: <missing.txt\n",
            "aliases:1:7: error[cannot-open-alias-file]: cannot open alias include file of `fred`: missing.txt: there is no such file\nhelp: relative names start from the configuration folder",
        ),
        (
            "fred: <\n",
            "aliases:1:7: error[cannot-open-alias-file]: cannot open alias include file of `fred`: `<` names no file\nhelp: relative names start from the configuration folder",
        ),
        (
            "fred: \"<ldap:///o=x?mail?sub?(cn=y)>\"\n",
            "aliases:1:8: error[alias-from-directory]: the alias `fred` asks a directory, which Sluice does not\nhelp: write the addresses out, or into a file, and name that with `<file`",
        ),
        (
            "fred: a@b, [ENVELOP_FROM] c@d\n",
            "aliases:1:12: warning[unknown-alias-parameter]: `[ENVELOP_FROM]` is no parameter of a list\nhelp: did you mean `[ENVELOPE_FROM]`?",
        ),
        (
            "fred: a@b, [ENVELOPE_FROM]\n",
            "aliases:1:12: error[bad-alias-parameter]: `[ENVELOPE_FROM]` of the alias `fred`: there is no value\nhelp: write the value behind the bracket",
        ),
        (
            "fred: a@b, [BLOCKLIMIT] many\n",
            "aliases:1:25: error[bad-alias-parameter]: `[BLOCKLIMIT]` of the alias `fred`: it is no number\nhelp: write an integer; 0 is no limit",
        ),
        (
            "fred: a@b, [NOT_A_PARAMETER] x\n",
            "aliases:1:12: warning[unknown-alias-parameter]: `[NOT_A_PARAMETER]` is no parameter of a list\nhelp: it is ignored",
        ),
        (
            "fred: a@b, [HEADER_ADDITION] x\n",
            "aliases:1:12: info[alias-parameter-without-effect]: `[HEADER_ADDITION]` is accepted and has no effect: no header is added for a list; a header option file of the destination channel can (`headertrim`)",
        ),
        (
            "fred: a@b, [AUTH_LIST] no.txt\n",
            "aliases:1:24: error[cannot-open-alias-file]: cannot open alias include file of `fred`: no.txt: there is no such file\nhelp: relative names start from the configuration folder",
        ),
        (
            "fred: a \\\n  , b\n",
            "aliases:1:7: warning[alias-continuation]: a continued line of the alias file does not end with a comma\nhelp: put the `\\` behind a comma, as PMDF wants it",
        ),
        (
            "fred@hub: a@b\n",
            "aliases:1:1: warning[alias-never-found]: the alias `fred@hub` is never found: whole addresses are not looked up\nhelp: write `ALIAS_DOMAINS=3` into option.dat",
        ),
        (
            "*@hub: a@b\n",
            "aliases:1:1: warning[alias-never-found]: the alias `*@hub` is never found: `*@host` are not looked up\nhelp: write `ALIAS_DOMAINS=5` into option.dat",
        ),
    ];
    for (text, said) in cases {
        assert_eq!(aliases(text), said, "{text}");
    }
}

#[test]
fn what_is_too_long_is_said_once_and_works() {
    let name = "n".repeat(61);
    let address = format!("{}@b", "a".repeat(260));
    let text = format!("{name}: a@b\nfred: {address}\n");
    let said = aliases(&text);
    let codes: Vec<&str> = said.lines().filter(|line| line.starts_with("aliases")).collect();
    assert_eq!(
        codes,
        [
            "aliases:1:1: warning[alias-too-long]: the alias name has 61 characters, more than 60",
            "aliases:2:7: warning[alias-too-long]: an address of the alias `fred` has 262 characters"
        ]
    );
    assert_eq!(read(&with(&[("aliases", &text)])).len(), 2);
    let long = aliases(&format!("fred: a@b, {}c@d\n", " ".repeat(1030)));
    assert!(long.starts_with("aliases:1:1025: warning[long-line]"), "{long}");
}

#[test]
fn includes_of_the_alias_file_have_the_depth_and_loops_of_all_includes() {
    let files = with(&[
        ("aliases", "<1\n"),
        ("1", "<2\n"),
        ("2", "<3\n"),
        ("3", "deep: a@b\n<4\n"),
        ("4", "never: a@b\n"),
    ]);
    assert!(diagnose(&files).starts_with("3:2:2: error[include-too-deep]"), "{}", diagnose(&files));
    let looped = with(&[("aliases", "<1\n"), ("1", "<aliases\n")]);
    assert!(diagnose(&looped).starts_with("1:1:2: error[include-loop]"), "{}", diagnose(&looped));
}

#[test]
fn what_follows_a_list_is_named() {
    let said = |value: &str| {
        let text = format!("fred: {value}\n");
        diagnose(&with(&[("aliases", &text), ("list.txt", "a@b\n")]))
    };
    assert_eq!(
        said("<list.txt, o@p"),
        "aliases:1:18: info[alias-positional-parameter]: `o@p` behind a list is told of failures and is no member\n\
         help: a member goes into the list file, or in front of the `<`"
    );
    assert!(
        said("<list.txt, *, r@p")
            .contains("`r@p` behind a list is the address for answers; it has no effect")
    );
    assert!(said("<list.txt, *, *, r@p").contains("is the address for errors in the header"));
    assert!(said("<list.txt, *, *, *, r@p").contains("is the address for warnings"));
    assert!(said("<list.txt, *, *, *, *, our crew").contains("`our crew` behind a list is the comment"));
    assert!(said("<list.txt, o p@q").contains("error[bad-alias-address]"));
    assert_eq!(said("x@y, <list.txt, *"), "");
}

#[test]
fn entries_of_the_alias_database_name_files() {
    let files = with(&[
        (
            "alias.txt",
            "crew   <list.txt, [AUTH_LIST] list.txt, [BLOCKLIMIT] 5\nlost   <gone.txt\nplain  a@b\n",
        ),
        ("list.txt", "A@b\nc@d\n"),
    ]);
    assert_eq!(
        diagnose(&files),
        "alias.txt:2:1: error[cannot-open-alias-file]: cannot open alias include file of `lost`: gone.txt: there is no such file\n\
         help: relative names start from the configuration folder"
    );
    let value = "<list.txt, [AUTH_LIST] list.txt, [BLOCKLIMIT] 5";
    let files = with(&[("alias.txt", &format!("Crew {value}\n")), ("list.txt", "A@b\nc@d\n")]);
    let aliases = good(&files).aliases;
    let crew = aliases.of_entry("crew", value);
    assert_eq!((crew.members.len(), crew.block_limit, crew.is_list), (2, Some(5), true));
    assert_eq!(crew.auth_list, Some(vec!["a@b".to_owned(), "c@d".to_owned()]));
    // Another value came later, and its files have not been read.
    assert!(aliases.of_entry("crew", "<list.txt").members.is_empty());
    // A compiled database says the same.
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let path = |name: &str| PathBuf::from(FOLDER).join(name);
    let compiled = Database::from_pairs([("crew", value)]);
    let files = with(&[("list.txt", "e@f\n")])
        .with(path("alias.db"), compiled.image())
        .changed_at(path("alias.db"), at(1));
    assert_eq!(good(&files).aliases.of_entry("crew", value).members.len(), 1);
}

#[test]
fn a_mistake_in_a_list_file_is_shown_in_that_file() {
    let files = with(&[("aliases", "fred: <list.txt\n"), ("list.txt", "a@b\n  c d\n<ldap:x>\n")]);
    let said = diagnose(&files);
    assert!(said.contains("list.txt:2:3: error[bad-alias-address]"), "{said}");
}

#[test]
fn options_of_aliases_are_typed() {
    let files = with(&[("option.dat", "ALIAS_DOMAINS=3\nMAX_ALIAS_LEVELS=5\n"), ("aliases", "a@b: c@d\n")]);
    assert_eq!(diagnose(&files), "");
    let options = good(&files).options;
    assert_eq!((options.alias_domains, options.max_alias_levels), (3, 5));
    let wrong = diagnose(&with(&[("option.dat", "ALIAS_DOMAINS=8\n")]));
    assert!(wrong.starts_with("option.dat:1:15: error[bad-option-value]"), "{wrong}");
}

#[test]
fn a_colon_behind_a_key_belongs_to_the_alias_file() {
    let files = with(&[
        ("alias.txt", "team:   ann@h\n: bob@h\n"),
        ("reverse.txt", "a@h:b@h  c@h\n!x:  y\n"),
        ("general.txt", "key:   value\n"),
    ]);
    assert_eq!(
        diagnose(&files),
        "alias.txt:1:1: warning[database-key-with-colon]: the key `team:` is never found: the colon is part of it\n\
         help: write `team`, blanks, and the value"
    );
}

#[test]
fn text_databases_are_read_and_their_mistakes_named() {
    let text = "! comment\nHost.Example   $U%x@TAG\nkey\n  host.example\tagain\nlong\\\n  value behind\n";
    let files = with(&[("general.txt", text)]);
    assert_eq!(
        diagnose(&files),
        "general.txt:3:1: warning[database-entry-without-value]: the entry `key` has no value\n\
         help: write the value behind the key, with a blank in between\n\
         general.txt:4:3: warning[duplicate-database-key]: the key `host.example` is there twice; the first entry counts\n\
         note: general.txt:2:1: the first is here\n\
         help: take one of the two out"
    );
    let config = good(&files);
    assert_eq!(config.databases.value("general", "HOST.example"), Ok(Some("$U%x@TAG")));
    assert_eq!(config.databases.value("GENERAL", "long"), Ok(Some("value behind")));
    assert_eq!(
        (config.databases.value("general", "key"), config.databases.value("domain", "x")),
        (Ok(None), Ok(None))
    );

    let long =
        diagnose(&with(&[("domain.txt", &format!("{}  v\nk {}\n", "k".repeat(253), "v".repeat(253)))]));
    let places: Vec<&str> = long.lines().filter(|line| line.starts_with("domain")).collect();
    assert_eq!(
        places,
        [
            "domain.txt:1:1: warning[database-entry-too-long]: the key of a database entry has 253 characters, more than 252",
            "domain.txt:2:3: warning[database-entry-too-long]: the value of a database entry has 253 characters, more than 252"
        ]
    );
    assert_eq!(
        diagnose(&with(&[("alias.txt", "fred   a b\n")])),
        "alias.txt:1:8: error[bad-alias-address]: bad equivalence for alias `fred`: `a b`: ' ' may not stand in a local part unless it is quoted"
    );
}

#[test]
fn a_compiled_database_is_used_while_it_is_newer() {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let path = |name: &str| PathBuf::from(FOLDER).join(name);
    let compiled = Database::from_pairs([("k", "compiled")]);
    let both = |text_at, compiled_at| {
        with(&[("general.txt", "k text\n")])
            .with(path("general.db"), compiled.image())
            .changed_at(path("general.txt"), at(text_at))
            .changed_at(path("general.db"), at(compiled_at))
    };
    let value =
        |files: &MemoryFiles| good(files).databases.value("general", "k").unwrap().unwrap().to_owned();
    assert_eq!(value(&both(1, 2)), "compiled");
    assert_eq!(value(&both(2, 1)), "text");
    assert_eq!(value(&both(2, 2)), "text", "an edit in the same tick must not be lost");
    let alone = with(&[]).with(path("general.db"), compiled.image()).changed_at(path("general.db"), at(1));
    assert_eq!(value(&alone), "compiled");

    let mut damaged = compiled.image().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let files = both(1, 2).with(path("general.db"), damaged);
    assert_eq!(value(&files), "text");
    assert!(diagnose(&files).starts_with("general.db:1:1: warning[bad-compiled-database]"));
}

#[test]
fn a_compiled_database_gives_way_to_a_newer_include() {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let path = |name: &str| PathBuf::from(FOLDER).join(name);
    let files = with(&[("general.txt", "<hosts.txt\n"), ("hosts.txt", "k new\n")]);
    let (compiled, _, said) = sluice_config::read_database(
        &files.clone().with(path("hosts.txt"), "k old\n"),
        &PathBuf::from(FOLDER),
        &path("general.txt"),
    );
    assert!(said.is_empty());
    let files = files
        .with(path("general.db"), compiled.unwrap().image())
        .changed_at(path("general.txt"), at(1))
        .changed_at(path("general.db"), at(3));
    let with_include_at = |seconds| {
        let files = files.clone().changed_at(path("hosts.txt"), at(seconds));
        let (config, ..) = sluice_config::read(&files, &Place::Folder(PathBuf::from(FOLDER)));
        config.unwrap().databases.value("general", "k").unwrap().unwrap().to_owned()
    };
    assert_eq!(with_include_at(2), "old");
    assert_eq!(with_include_at(4), "new");
}
