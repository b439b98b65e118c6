//! The main file: what is read, and what is said about what cannot be read.
#![allow(clippy::unwrap_used)]

mod support;
use support::{check, config, diagnose, folder, good, places, with_block};

const FULL: &str = "\
! A hub between two networks; part one ends at the blank line.
hub.example.com        $U@hub.example.com
example.com            $U@hub.example.com
.                      $U%$H@TCP-DAEMON
branch.example.net     $U%branch.example.net@TCP-DIALUP

defaults logging notices 1 2 4 7 immnonurgent

l nox_env_to
hub.example.com

tcp_local smtp mx single_sys remotehost inner switchchannel \\
          identnonenumeric subdirs 20 maxjobs 7
TCP-DAEMON

tcp_dialup smtp mx daemon intermittent.some.where.com \\
    periodic sendetrn host1.example.com
TCP-DIALUP

process
PROCESS-DAEMON
";

#[test]
fn a_full_file_has_nothing_to_complain_about() {
    assert_eq!(check(FULL), "");
}

#[test]
fn a_full_file_means_what_it_says() {
    let config = config(FULL);
    assert_eq!(config.rules.len(), 4);
    assert_eq!(config.rules[3].template, "$U%branch.example.net@TCP-DIALUP");
    let names: Vec<&str> = config.channels.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(names, ["l", "tcp_local", "tcp_dialup", "process"]);
    assert_eq!(config.channels.local().official_host, "hub.example.com");
    let dialup = config.channels.by_name("TCP_DIALUP").unwrap();
    assert_eq!(dialup.fixed_peer(), Some("intermittent.some.where.com"));
    assert!(dialup.has("periodic") && dialup.has("logging") && dialup.has("mx") && !dialup.has("nomx"));
    assert_eq!(dialup.keyword("notices").unwrap().value(), "1 2 4 7");
    assert_eq!(dialup.plugin.as_deref(), Some("tcp"));
    let (channel, host) = config.channels.by_host("tcp-daemon").unwrap();
    assert_eq!((channel.name.as_str(), host.proper.as_deref()), ("tcp_local", None));
}

#[test]
fn the_dial_up_block_parses_without_a_word() {
    let text = "\n\nl\nhub.example.com\n\n\
tcp_dialup smtp mx daemon intermittent.some.where.com \\\n    periodic sendetrn host1.example.com\nTCP-DIALUP\n";
    assert_eq!(check(text), "");
    let config = config(text);
    let settings = &config.channels.by_name("tcp_dialup").unwrap().settings;
    assert!(settings.periodic && settings.smtp.is_some());
    assert_eq!(settings.send_etrn.as_deref(), Some("host1.example.com"));
}

#[test]
fn a_file_with_ten_mistakes_gets_ten_diagnostics() {
    let text = "\
example.com $U@hub.example.com
no.template.example
.  $U%$H@TCP-DAEMON

defaults logging notices 1 4 2

! a comment in front of a block
l nologgin
hub.example.com

tcp_local smtp mx single_sys maxjobs many
TCP-DAEMON alias.example.com one.too.many

tcp_One smtp daemon
TCP-ONE

tcp_two smtp daemon router port 25 \\
        sendetrn periodic backoff PT30M PT1X
TCP-DAEMON
";
    assert_eq!(
        places(text),
        "2:1 error rule-without-template\n\
         5:30 error not-increasing\n\
         8:3 error unknown-channel-keyword\n\
         11:38 error bad-argument\n\
         12:30 error extra-words\n\
         14:1 error bad-channel-name\n\
         14:14 error missing-argument\n\
         18:9 error missing-argument\n\
         18:41 error bad-argument\n\
         19:1 error duplicate-host"
    );
}

#[test]
fn unknown_keywords_get_the_nearest_one() {
    assert_eq!(
        check(&with_block("tcp_x smtp nologgin")),
        "sluice.cnf:6:12: error[unknown-channel-keyword]: `nologgin` is not a keyword\nhelp: did you mean `nologging`?"
    );
    assert_eq!(places(&with_block("tcp_x smtp maxjob 7 mx")), "6:12 error unknown-channel-keyword");
    assert_eq!(places(&with_block("tcp_x smtp sendetn a.b mx")), "6:12 error unknown-channel-keyword");
    assert_eq!(places(&with_block("tcp_x smtp zebra 7 mx")), "6:12 error unknown-channel-keyword");
    assert_eq!(
        check(&with_block("tcp_x smtp maxjobs=7 mx")),
        "sluice.cnf:6:12: error[unknown-channel-keyword]: `maxjobs=7` is not a keyword\nhelp: write `maxjobs 7`"
    );
}

#[test]
fn values_without_a_keyword_are_one_mistake() {
    assert_eq!(
        check(&with_block("tcp_x smtp 5 7.3 mx")),
        "sluice.cnf:6:12: error[unexpected-argument]: `5` is not a keyword, and `smtp` takes no argument\n\
         help: take it out, or put in front of it the keyword that it belongs to"
    );
}

#[test]
fn arguments_of_each_kind_are_checked() {
    let cases = [
        ("maxjobs 7", ""),
        ("maxjobs", "6:12 error missing-argument"),
        ("maxjobs mx", "6:12 error missing-argument"),
        ("maxjobs seven", "6:20 error bad-argument"),
        ("maxjobs 16%7", "6:20 error bad-argument"),
        ("maxjobs 0", "6:20 error bad-argument"),
        ("port 70000", "6:17 error bad-argument"),
        ("port 2525", ""),
        ("subdirs 1000", "6:20 error bad-argument"),
        ("notices 1 2 3 4 5", ""),
        ("notices 1 2 3 4 5 6", "6:30 error list-too-long"),
        ("notices 1 3 3", "6:24 error not-increasing"),
        ("notices 0 1", "6:20 error bad-argument"),
        ("notices many", "6:20 error bad-argument"),
        ("notices", "6:12 error missing-argument"),
        ("notices 1 2 822", ""),
        ("backoff PT30M pt1h \"P1D\"", ""),
        ("backoff PT1M PT2M PT3M PT4M PT5M PT6M PT7M PT8M", ""),
        ("backoff PT1M PT2M PT3M PT4M PT5M PT6M PT7M PT8M PT9M", "6:60 error list-too-long"),
        ("backoff 30", "6:20 error bad-argument"),
        ("backoff PT30M PT1X mx", "6:26 error bad-argument"),
        ("backoff mx", "6:12 error missing-argument"),
        ("after 90", ""),
        ("after \"0 00:30:00\"", ""),
        ("after PT5M", ""),
        ("after noon", "6:18 error bad-argument"),
        ("interfaceaddress 127.0.0.1", ""),
        ("interfaceaddress 127.0.0.256", "6:29 error bad-argument"),
        ("nameservers 127.0.0.1 ::1", ""),
        ("daemon router", ""),
        ("daemon [127.0.0.1]", ""),
        ("daemon a@b", ""),
        ("daemon \"a b\"", "6:19 error bad-argument"),
        ("deferred 60", "6:12 info keyword-or-not"),
        ("pool A_NAME_TOO_LONG", "6:17 error argument-too-long"),
        ("description \"What it is for\"", ""),
        ("description \"not closed", "6:24 error unclosed-quote"),
        ("lastresort", "6:12 error missing-argument"),
        ("defaulthost a.example b.example", ""),
        ("defaulthost a.example periodc", "6:34 error unknown-channel-keyword"),
        ("sendetrn @example.com", ""),
        ("sendetrn #tcp_x", ""),
    ];
    for (keywords, expected) in cases {
        let found = places(&with_block(&format!("tcp_x smtp {keywords}")));
        let expected = if expected == "6:12 info keyword-or-not" { "" } else { expected };
        assert_eq!(found, expected, "{keywords}");
    }
    let long = "x".repeat(41);
    assert_eq!(
        check(&with_block(&format!("tcp_x smtp daemon {long}"))),
        format!(
            "sluice.cnf:6:19: error[argument-too-long]: the argument of `daemon` has 41 characters, more than 40\n\
             help: make the host the official host name of the channel, and write `daemon router`"
        )
    );
}

#[test]
fn case_and_the_tail_of_a_long_keyword_do_not_count() {
    assert_eq!(check(&with_block("tcp_x SMTP Mx PERIODIC")), "");
}

#[test]
fn the_rightmost_keyword_of_a_group_wins() {
    assert_eq!(
        check(&with_block("tcp_x smtp mx nomx")),
        "sluice.cnf:6:15: warning[overridden-keyword]: `nomx` takes away the effect of `mx` in front of it\n\
         note: sluice.cnf:6:12: `mx` is here\nhelp: take out the one that is not meant"
    );
    assert_eq!(places(&with_block("tcp_x smtp smtp")), "6:12 warning overridden-keyword");
    assert_eq!(
        places(&with_block("tcp_x smtp urgentnotices 1 notices 2")),
        "6:28 warning overridden-keyword"
    );
    assert_eq!(places(&with_block("tcp_x smtp notices 2 urgentnotices 1")), "");
    assert_eq!(places(&with_block("tcp_x smtp periodic immnonurgent blocketrn allowetrn")), "");
}

#[test]
fn keywords_of_other_products_are_named_once() {
    let text = "a $U@a\n\nl\nh\n\ntcp_a smtp network\na\n\ntcp_b smtp network grey\nb\n";
    assert_eq!(places(text), "6:12 info keyword-without-effect\n9:20 info keyword-without-effect");
}

#[test]
fn channels_that_cannot_deliver_are_said() {
    assert_eq!(places(&with_block("tcp_x mx")), "6:1 warning tcp-without-smtp");
    assert_eq!(places("a $U@a\n\ndefaults smtp\n\nl\nh\n\ntcp_a\na\n"), "");
    assert_eq!(places(&with_block("tcp_x stmp mx")), "6:7 error unknown-channel-keyword");
    assert_eq!(places(&with_block("p_modem")), "6:1 info channel-without-plugin");
    for quiet in [
        "pipe",
        "pipe_x",
        "drop",
        "pickup_x",
        "bsin_x",
        "bsout_x",
        "archive",
        "process",
        "process_x",
        "reprocess",
        "hold",
        "defragment",
        "conversion_x",
        "filter_discard",
        "bitbucket",
        "x_in slave",
    ] {
        assert_eq!(places(&with_block(quiet)), "", "{quiet}");
    }
    assert_eq!(
        check(&with_block("directory")),
        "sluice.cnf:6:1: info[channel-passes-through]: mail on the channel `directory` goes on as it is: no directory is asked"
    );
    assert_eq!(places(&with_block("directory_x")), "6:1 info channel-passes-through");
    for (keywords, said) in [
        ("defragment", "6:12 info keyword-without-effect"),
        ("maxblocks 10", "6:12 warning no-defragment-channel"),
        ("maxlines 10", "6:12 warning no-defragment-channel"),
    ] {
        let block = with_block(&format!("tcp_x smtp {keywords}"));
        assert_eq!(places(&block), said);
        assert_eq!(places(&format!("{block}\ndefragment\nDEFRAGMENT-DAEMON\n")), "");
    }
}

#[test]
fn expansion_that_cannot_be_put_off_is_said() {
    let with = |keywords: &str, more: &str| with_block(&format!("tcp_x smtp {keywords}\nTAG2\n\n{more}"));
    assert_eq!(places(&with("expandlimit 10", "reprocess")), "");
    assert_eq!(places(&with("expandlimit 10 expandchannel process_big", "process_big")), "");
    assert_eq!(
        check(&with("expandlimit 10", "bitbucket")),
        "sluice.cnf:6:12: warning[expansion-not-put-off]: `expandlimit` has no effect: there is no channel `reprocess`\n\
         help: add a channel block `reprocess` with the host `REPROCESS-DAEMON`, or name another with `expandchannel`"
    );
    assert_eq!(
        check(&with("expandlimit 10 expandchannel tcp_y", "tcp_y smtp")),
        "sluice.cnf:6:12: warning[expansion-not-put-off]: the channel `tcp_y` does not bring mail in again: it sends it away unexpanded\n\
         help: name a channel such as `reprocess` with `expandchannel`"
    );
    assert_eq!(
        check(&with_block("reprocess expandlimit 10")),
        "sluice.cnf:6:11: warning[expansion-not-put-off]: `expandlimit` on the channel `reprocess` has no effect\n\
         help: write it on the channels that mail comes in by"
    );
    // From `defaults` it stands on every channel, and means those that mail comes in by.
    assert_eq!(places("a $U@a\n\ndefaults expandlimit 5\n\nl\nh\n\ntcp_a smtp\na\n\nreprocess\nR\n"), "");
}

#[test]
fn blocks_without_names() {
    assert_eq!(
        check("a $U@a\n\nl\n\ntcp_x smtp\nTAG\n"),
        "sluice.cnf:3:1: error[no-official-host]: no official host name for channel `l`\n\
         help: write the host name of the channel on the line below its keywords"
    );
    assert_eq!(
        check("a $U@a\n\nl\nh\n\ntcp_x smtp\n\nTCP-X\n\ntcp_y smtp\nTCP-Y\n"),
        "sluice.cnf:6:1: error[no-official-host]: no official host name for channel `tcp_x`\n\
         note: sluice.cnf:7:1: this blank line ends the block in front of `TCP-X`\n\
         help: take out the blank line inside the block"
    );
}

#[test]
fn names_that_are_there_twice() {
    assert_eq!(
        check("a $U@a\n\nl\nh\n\ntcp_x smtp\nTAG\n\ntcp_y smtp\ntag\n"),
        "sluice.cnf:10:1: error[duplicate-host]: duplicate host in channel table: `tag` of channel `tcp_y` is also in \
         channel `tcp_x`\nnote: sluice.cnf:7:1: the first is here, in channel `tcp_x`\n\
         help: take one of the two out; a blank line among the rewrite rules?"
    );
    assert_eq!(
        check("a $U@a\n\nl\nh\n\ntcp_x smtp\nTAG\n\ntcp_x smtp\nTAG2\n"),
        "sluice.cnf:9:1: error[duplicate-channel]: duplicate channel name: there is a channel `tcp_x` already\n\
         note: sluice.cnf:6:1: the first is here\nhelp: rename one of the two, or make one block of them"
    );
    assert_eq!(places("a $U@a\n\nl\nh\n\ntcp_x smtp\nTAG\nother h\nh x\n"), "9:1 error duplicate-host");
}

#[test]
fn names_that_are_no_names() {
    let long = "x".repeat(33);
    let far = format!("{}.example", "h".repeat(125));
    assert_eq!(places(&with_block(&long)), "6:1 error bad-channel-name");
    assert_eq!(places(&with_block("tcp-x smtp")), "6:1 error bad-channel-name");
    assert_eq!(places(&with_block("ims-ms slave")), "");
    assert_eq!(places(&with_block("sims-ms slave")), "");
    assert_eq!(
        check(&with_block("TCP_X smtp")),
        "sluice.cnf:6:1: error[bad-channel-name]: the channel name `TCP_X` holds `T`\n\
         help: channel names are lower case: write `tcp_x`"
    );
    assert_eq!(places(&format!("a $U@a\n\nl\n{far}\n")), "4:1 error host-name-too-long");
    assert!(check(&format!("a $U@a\n\nl\n{far}\n")).contains("official host name is too long: channel `l`"));
    assert!(check(&format!("a $U@a\n\nl\nh {far}\n")).contains("local host alias or proper name too long"));
    assert_eq!(places("a $U@a\n\nl\nuser@host\n"), "4:1 error bad-host-name");
    assert_eq!(places("a $U@a\n\nl\nh\n\ntcp_x smtp\nTAG one two\n"), "7:9 error extra-words");
}

#[test]
fn the_local_channel_comes_first() {
    assert_eq!(
        check("a $U@a\n\ntcp_x smtp\nTAG\n\nl\nh\n"),
        "sluice.cnf:3:1: error[first-channel-not-local]: the first channel block must be the local channel `l`, found \
         `tcp_x`\nnote: sluice.cnf:6:1: the local channel is here\nhelp: move it up"
    );
    assert_eq!(places("a $U@a\n\ntcp_x smtp\nTAG\n"), "3:1 error first-channel-not-local");
    assert_eq!(places("a $U@a\n\nmsgstore slave\nh\n"), "");
    assert_eq!(places("a $U@a\n"), "1:1 error no-channels");
    assert_eq!(places(""), "1:1 error no-channels");
}

#[test]
fn a_blank_line_among_the_rules_is_recognised() {
    let blocks = "l\nh\n\ntcp_x smtp\nTAG\n";
    assert_eq!(
        check(&format!("a $U@h\n\nb $U%b@TAG\nc $U%c@TAG\n\n{blocks}")),
        "sluice.cnf:2:1: error[blank-line-in-rules]: blank line inside the rewrite rules: the rule for `b` is read as a \
         channel block\nnote: sluice.cnf:3:1: this looks like a rewrite rule\n\
         help: take the blank line out, or put a `!` in its first column"
    );
    assert_eq!(places(&format!("\na $U@h\nb $U@h\n\n{blocks}")), "1:1 error blank-line-in-rules");
    assert_eq!(
        places(&format!("a $U@h\n\n \nb user.$U@h\n\nc $U@h\n\n{blocks}")),
        "2:1 error blank-line-in-rules\n5:1 error blank-line-in-rules"
    );
    assert_eq!(places(&format!("a $U@h\n\n{blocks}\nb $U@h\nc $U@h\n")), "9:1 error rule-after-channels");
}

#[test]
fn a_blank_line_that_is_missing_is_recognised() {
    assert_eq!(places("a $U@h\nl nox_env_to\nh\n\ntcp_x smtp\nTAG\n"), "2:1 error missing-blank-line");
    assert_eq!(places("a $U@h\nl\nh\n\ntcp_x smtp\nTAG\n"), "2:1 error missing-blank-line");
    assert_eq!(places("a $U@h\ndefaults logging\n\nl\nh\n"), "2:1 error missing-blank-line");
    assert_eq!(places("a $U@h\n\ndefaults logging\nl\nh\n"), "4:1 error missing-blank-line");
    assert_eq!(
        places("a $U@h\n\nl\nh\ntcp_x smtp mx\nTAG\ntcp_y smtp\nTAG2\n"),
        "5:1 error missing-blank-line\n7:1 error missing-blank-line"
    );
    assert_eq!(places("a $U@h\n\ndefaults logging\nsmtp mx\n\nl\nh\n"), "4:1 warning line-after-defaults");
}

#[test]
fn comments_stand_in_column_one() {
    assert_eq!(check("! c\na $U@a\n! c\n\n! c\nl\n! c\nh\n! c\n"), "");
    assert_eq!(places(" ! c\na $U@a\n\nl\nh\n"), "1:2 error misplaced-comment");
    assert_eq!(places(&with_block("tcp_x smtp ! the main one")), "6:12 error misplaced-comment");
    assert_eq!(places("a $U@a\n\nl\nh ! that is us\n"), "4:3 error misplaced-comment");
    assert_eq!(places("a $U@a\n\nl\nh alias ! that is us\n"), "4:9 error misplaced-comment");
    assert_eq!(check("a a!$U@a\n\nl\nh\n"), "");
}

#[test]
fn lines_are_continued_by_a_last_backslash() {
    assert_eq!(check(&with_block("tcp_x smtp \\\n! a comment\n  mx \\\n  periodic")), "");
    assert_eq!(
        places(&with_block("tcp_x smtp \\\n! a comment\n  mx \\\n  periodc")),
        "9:3 error unknown-channel-keyword"
    );
    assert_eq!(config("a $U\\\n@a\n\nl\nh\n").rules[0].template, "$U@a");
}

#[test]
fn a_backslash_with_blanks_behind_it_is_said() {
    assert_eq!(
        check("a $U@a \\ \nb $U@b\n\nl\nh\n"),
        "sluice.cnf:1:8: warning[lost-continuation]: `\\` with blanks behind it does not continue the line\n\
         help: take out the blanks at the end of the line"
    );
    // The next line makes no sense then: that is one mistake, and an error.
    assert_eq!(
        places(&with_block("tcp_x smtp \\ \n  periodic sendetrn a.b")),
        "6:12 error lost-continuation"
    );
    assert_eq!(places("a $U\\\t\n@a\n\nl\nh\n"), "1:5 error lost-continuation");
    assert_eq!(places("a $U@a\n\nl\nh\\"), "4:2 warning lost-continuation");
    assert_eq!(places("a $U@a \\\n\nl\nh\n"), "1:8 warning lost-continuation");
}

#[test]
fn long_lines_are_said_where_they_become_too_long() {
    let long = format!("a {}\n\nl\nh\n", "x".repeat(251));
    assert_eq!(places(&long), "1:253 warning long-line");
    assert_eq!(places(&format!("a {}\n\nl\nh\n", "x".repeat(250))), "");
    assert_eq!(places(&format!("!{}\na $U@a\n\nl\nh\n", "x".repeat(300))), "");
}

#[test]
fn line_ends_of_other_systems_are_read() {
    assert_eq!(check(&FULL.replace('\n', "\r\n")), "");
    assert_eq!(config(&FULL.replace('\n', "\r\n")), config(&FULL.replace('\n', "\r\n")));
    assert_eq!(
        check(&format!("\u{feff}{FULL}")).lines().next().unwrap(),
        "sluice.cnf:1:1: warning[byte-order-mark]: the file begins with a byte order mark"
    );
}

#[test]
fn bytes_that_are_no_text_are_said() {
    let text = [b"a $U@a\n! caf\xe9\n\nl\nhub.ex\xe9mple\n".as_slice()].concat();
    let files = sluice_config::MemoryFiles::new().with("/etc/sluice/sluice.cnf", text);
    assert_eq!(
        diagnose(&files),
        "sluice.cnf:2:6: info[not-utf8]: byte 0xE9 is not UTF-8 text\nhelp: save the file as ASCII or UTF-8\n\
         sluice.cnf:5:7: error[not-utf8]: byte 0xE9 is not UTF-8 text\nhelp: save the file as ASCII or UTF-8"
    );
}

#[test]
fn included_files_are_spliced_in() {
    let main = "<first.rules\n. $U%$H@TAG\n\nl\nh\n\n<blocks.cnf\n";
    let files = folder(&[
        ("sluice.cnf", main),
        ("first.rules", "a $U@a\n<PMDF_TABLE:second.rules\n"),
        ("second.rules", "b $U@b\n"),
        ("blocks.cnf", "tcp_x smtp \\\n  periodik\nTAG\n"),
    ]);
    assert_eq!(
        diagnose(&files),
        "blocks.cnf:2:3: error[unknown-channel-keyword]: `periodik` is not a keyword\nhelp: did you mean `periodic`?"
    );
    let files = files.with("/etc/sluice/blocks.cnf", "tcp_x smtp periodic\nTAG\n");
    let patterns: Vec<String> = support::good(&files).rules.into_iter().map(|rule| rule.pattern).collect();
    assert_eq!(patterns, ["a", "b", "."]);
}

#[test]
fn included_files_that_cannot_be_read() {
    let files = folder(&[("sluice.cnf", "a $U@a\n<gone.rules\n\nl\nh\n"), ("x", "")]);
    assert_eq!(
        diagnose(&files),
        "sluice.cnf:2:2: error[cannot-read-file]: cannot read the included file /etc/sluice/gone.rules: there is no such file"
            .replace("/etc/sluice/", "")
    );
    assert_eq!(places("a $U@a\n<\n\nl\nh\n"), "2:1 error include-without-name");
    assert_eq!(places("a $U@a\n <x\n\nl\nh\n"), "2:2 error misplaced-include");
    assert_eq!(places("a $U@a\n<./sluice.cnf\n\nl\nh\n"), "2:2 error include-loop");
}

#[test]
fn files_are_included_three_levels_deep() {
    let main = "<one\n\nl\nh\n";
    let deep = [("sluice.cnf", main), ("one", "<two\n"), ("two", "<three\n"), ("three", "a $U@a\n")];
    assert_eq!(diagnose(&folder(&deep)), "");
    let deeper = folder(&deep).with("/etc/sluice/three", "<four\n").with("/etc/sluice/four", "a $U@a\n");
    assert_eq!(
        diagnose(&deeper),
        "three:1:2: error[include-too-deep]: four is included more than 3 levels deep\n\
         note: two:1:2: three is included here\nnote: one:1:2: two is included here\n\
         note: sluice.cnf:1:2: one is included here"
    );
    let looped = folder(&deep).with("/etc/sluice/two", "<one\n");
    assert_eq!(
        diagnose(&looped),
        "two:1:2: error[include-loop]: one includes itself\nnote: one:1:2: two is included here\n\
         note: sluice.cnf:1:2: one is included here\nhelp: take the line out, or name another file"
    );
}

#[test]
fn a_folder_has_one_main_file_under_one_of_three_names() {
    let text = "a $U@a\n\nl\nh\n";
    assert_eq!(diagnose(&folder(&[("pmdf.cnf", text)])), "");
    assert_eq!(diagnose(&folder(&[("imta.cnf", text)])), "");
    assert_eq!(diagnose(&folder(&[("sluice.cnf", text), ("pmdf.cnf", "nonsense")])), "");
    assert_eq!(
        diagnose(&folder(&[("other", "")])),
        "sluice.cnf:1:1: error[cannot-read-file]: cannot read sluice.cnf: there is no such file"
    );
}

#[test]
fn every_keyword_can_be_written() {
    use sluice_config::{Arguments, keywords};
    for info in keywords() {
        let argument = match info.arguments {
            Arguments::None => "",
            Arguments::Integer { .. } | Arguments::OptionalInteger | Arguments::Seconds => "1",
            Arguments::Integers => "1 2",
            Arguments::Durations => "PT1M pt2m",
            Arguments::Host | Arguments::Peer => "host.example.com",
            Arguments::Hosts => "one.example two.example",
            Arguments::Text { .. } => "\"a text\"",
            Arguments::Name { .. } => "DEFAULT",
            Arguments::Url { .. } => "file:/some/where",
            Arguments::Mailbox => "postmaster@example.com",
            Arguments::Channel => "l",
            Arguments::Charset => "utf-8",
            Arguments::Language => "en",
            Arguments::Character => "=",
            Arguments::Address => "127.0.0.1",
            Arguments::Addresses => "127.0.0.1 ::1",
        };
        let name = info.name.to_ascii_uppercase();
        let config = config(&with_block(&format!("bitbucket {name} {argument}")));
        let found = config.channels.by_name("bitbucket").unwrap().keyword(info.name).unwrap();
        assert_eq!(found.value(), argument.replace('"', ""), "{name}");
        if !argument.is_empty() && info.arguments != Arguments::OptionalInteger {
            assert_eq!(
                places(&with_block(&format!("bitbucket {name}"))).lines().next().unwrap(),
                "6:11 error missing-argument",
                "{name}"
            );
        }
    }
}

#[test]
fn a_reserved_name_among_the_rules_begins_the_blocks_even_when_misspelt() {
    assert_eq!(
        places("a $U@h\nl nox_env\nh\n"),
        "2:1 error missing-blank-line\n2:3 error unknown-channel-keyword"
    );
}

#[test]
fn a_part_that_is_missing_is_no_reason_for_more() {
    let files = folder(&[
        ("sluice.cnf", "a $U@h\n<gone\n"),
        ("dispatcher.cnf", "[SERVICE=SMTP]\n"),
        ("tcp_x_option", "A=1\n"),
    ]);
    assert_eq!(
        diagnose(&files),
        "sluice.cnf:2:2: error[cannot-read-file]: cannot read the included file gone: there is no such file"
    );
}

const LOCAL: &str = ". $U%$H@TCP-DAEMON\n\nl\nhub\n\n";

#[test]
fn a_forgotten_backslash_is_found_and_the_channel_keeps_its_host() {
    for (second, column) in [
        ("  remotehost inner", 3),
        ("remotehost inner", 1),
        ("  remotehost inner switchchannel", 3),
        ("\tperiodic", 2),
        ("daemon peer.example.com", 1),
        ("  maxjobs 7", 3),
    ] {
        let text = format!("{LOCAL}tcp_local smtp mx\n{second}\nTCP-DAEMON\n");
        assert_eq!(places(&text), format!("7:{column} error missing-continuation"), "{second}");
    }
    let text = format!("{LOCAL}tcp_local mx\n  smtp periodic\nTCP-DAEMON\n");
    assert_eq!(
        places(&text),
        "7:3 error missing-continuation",
        "`smtp` was written, only in the wrong place"
    );
    let text = format!("{LOCAL}tcp_local\nTCP-DAEMON\nsmtp mx\n");
    assert!(check(&text).contains("\nhelp: keywords belong on the first line"), "{}", check(&text));
    let text = format!("{LOCAL}tcp_local smtp mx\n  remotehost inner\nTCP-DAEMON\n");
    assert!(check(&text).ends_with("help: end the line above with `\\`"), "{}", check(&text));
}

#[test]
fn hosts_may_be_called_like_keywords() {
    for names in ["mx", "smtp mx.example.com", "TCP-DAEMON\nmx mx.example.com\nuser user.example.com"] {
        assert_eq!(places(&format!("{LOCAL}tcp_local smtp mx\n{names}\n")), "", "{names}");
    }
}

#[test]
fn an_included_file_of_another_system_is_looked_for_in_the_folder() {
    let main = "</pmdf/table/internet.rules\n. $U%$H@h\n\nl\nh\n";
    let beside = [("sluice.cnf", main), ("INTERNET.RULES", ".com $U%$H$D@h\n")];
    assert_eq!(
        diagnose(&folder(&beside)),
        "sluice.cnf:1:2: info[include-found-beside]: /pmdf/table/internet.rules is not there; INTERNET.RULES beside the \
         main file is read\nhelp: write `<INTERNET.RULES`"
    );
    assert_eq!(good(&folder(&beside)).rules.len(), 2);
    for name in
        ["PMDF_ROOT:[table]internet.rules;4", "C:\\pmdf\\table\\internet.rules", "IMTA_TABLE:internet.rules"]
    {
        let other = main.replace("/pmdf/table/internet.rules", name);
        let files = folder(&[("sluice.cnf", &other), beside[1]]);
        let said = diagnose(&files);
        assert!(said.starts_with("sluice.cnf:1:2: info[include-found-beside]"), "{name}: {said}");
    }
    let plain = folder(&[("sluice.cnf", "<internet.rules\n\nl\nh\n"), beside[1]]);
    assert_eq!(good(&plain).rules.len(), 1, "letter case does not count in names that have no folder");
    assert_eq!(diagnose(&plain), "");
    let said = diagnose(&folder(&[("sluice.cnf", "</pmdf/sluice.cnf\n\nl\nh\n")]));
    assert!(said.contains("sluice.cnf includes itself\n"), "{said}");
    let said = diagnose(&folder(&beside[..1]));
    assert!(!said.contains("help"), "{said}");
}

#[test]
fn a_folder_of_another_system_is_read_as_it_stands() {
    let main =
        "! a table directory\n<INTERNET.RULES\n. $U%$H@TCP-DAEMON\n\nl\nh\n\ntcp_local smtp\nTCP-DAEMON\n";
    let files = folder(&[
        ("PMDF.CNF;12", main),
        ("PMDF.CNF;9", "old\n"),
        ("INTERNET.RULES;1", ".com $U%$H$D@TCP-DAEMON\n"),
        ("MAPPINGS.;3", "PORT_ACCESS\n\n *  $Y\n"),
        ("ALIASES.", "fred: mary@h\n"),
        ("OPTION.DAT", "RETURN_UNITS=1\nBLOCK_SIZE=512\n"),
        ("TCP_LOCAL_OPTION.", "ALLOW_ETRNS_PER_SESSION=2\n"),
        ("DISPATCHER.CNF", "[SERVICE=SMTP]\nPORT=2525\n"),
        ("JOB_CONTROLLER.CNF", "[QUEUE=FAST]\nJOB_LIMIT=3\n"),
        ("GENERAL.TXT", "a b\n"),
    ]);
    assert_eq!(diagnose(&files), "");
    let config = good(&files);
    assert_eq!(config.rules.len(), 2);
    assert!(config.mappings.table("port_access").is_some());
    assert_eq!(config.aliases.iter().count(), 1);
    assert_eq!(config.options.block_size, 512);
    assert_eq!(config.channels.by_name("tcp_local").unwrap().server.allow_etrns_per_session, Some(2));
    assert_eq!(config.services[0].listen, [(None, 2525)]);
    assert!(config.pool("FAST").is_some());
    assert_eq!(config.databases.value("general", "a"), Ok(Some("b")));
    let wrong = folder(&[("PMDF.CNF", ". $U%$H@h\n\nl\nh\n"), ("Option.Dat", "x\n")]);
    assert!(diagnose(&wrong).starts_with("Option.Dat:1:1: error"), "{}", diagnose(&wrong));
}

#[test]
fn what_cannot_be_seen_is_pointed_at() {
    assert_eq!(places("a\0b $U@h\n\nl\nh\n"), "1:2 error control-character");
    assert_eq!(places("a $U@h\n! \u{1b}[1m comment\n\nl\nh\u{7f}\n"), "5:2 error control-character");
    assert_eq!(places("a $U@h\n\x0C\nl\nh\n"), "", "a form feed is a blank");
    let said = check("a $U@h\r\rl\rh\r");
    assert!(said.contains("1:7: error[control-character]: a carriage return inside a line"), "{said}");
    assert_eq!(places("a $U@h\r\n\r\nl\r\nh\r\n"), "");
}

#[test]
fn words_that_are_nearly_right_are_named_once() {
    let said = check("a $U@hub\n\ndefault logging\n\nl\nhub\n");
    assert_eq!(
        said,
        "sluice.cnf:3:1: error[no-official-host]: no official host name for channel `default`\nhelp: did you mean `defaults`?"
    );
    let said = check(&format!("{LOCAL}tcp_local smtp\u{a0}mx\nTCP-DAEMON\n"));
    assert!(said.ends_with("help: it holds a blank that only looks like one; type it anew"), "{said}");
    let said = check(&format!("{LOCAL}tcp_local smtp, mx\nTCP-DAEMON\n"));
    assert!(said.ends_with("help: keywords are separated by blanks alone"), "{said}");
    let said = check(&format!("{LOCAL}tcp_local smtp daemon peer.example.com:26\nTCP-DAEMON\n"));
    assert!(said.contains("6:23: error[bad-argument]") && said.contains("`port`"), "{said}");
    for peer in ["[IPv6:2001:db8::1]", "[10.0.0.1]", "[::1]", "peer.example.com"] {
        let text = format!("{LOCAL}tcp_local smtp daemon {peer}\nTCP-DAEMON\n");
        assert_eq!(check(&text), "", "{peer}");
    }
    let said = check(&format!("{LOCAL}tcp_local smtp\nTCP-DAEMON\ntcp-daemon\n"));
    assert!(said.contains("`tcp-daemon` is twice in channel `tcp_local`"), "{said}");
}

#[test]
fn columns_do_not_count_a_byte_order_mark() {
    let text = "\u{FEFF}a $U@h\tb\u{1}\n\nl\nh\n";
    assert_eq!(places(text), "1:1 warning byte-order-mark\n1:9 error control-character");
}

#[test]
fn a_file_that_is_no_utf8_at_all_is_named_once() {
    for bom in [[0xFF, 0xFE], [0xFE, 0xFF]] {
        let text: Vec<u8> = bom.into_iter().chain(*b"a\0 \0$\0U\0\n\0").collect();
        let files = sluice_config::MemoryFiles::new().with("/etc/sluice/sluice.cnf", text);
        let said = diagnose(&files);
        assert_eq!(
            said,
            "sluice.cnf:1:1: error[not-utf8]: the file is UTF-16 text\nhelp: save the file as ASCII or UTF-8"
        );
    }
    let picture = "\u{1}x\n".repeat(1000);
    assert_eq!(places(&picture).matches("control-character").count(), 20);
}
