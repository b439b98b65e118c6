//! Entries of the file `conversions` that are read, and mistakes that are shown.

use super::*;
use crate::files::{MemoryFiles, Place};
use crate::reading::read_with_errors;
use std::path::PathBuf;

const MAIN: &str = ". $U%$H@TCP\n\nl\nh.example\n\ntcp_local smtp\nTCP\n\nconversion\nCONVERSION-DAEMON\n";
const TABLE: &str = "CONVERSIONS\n\n  IN-CHAN=tcp_local;OUT-CHAN=*;CONVERT Yes\n";

/// What is read and said of a folder with these three files.
fn of(main: &str, mappings: &str, conversions: &str) -> (String, Vec<String>) {
    let mut files = MemoryFiles::new().with("/c/sluice.cnf", main);
    for (name, text) in [("/c/mappings", mappings), ("/c/conversions", conversions)] {
        if !text.is_empty() {
            files = files.with(name, text);
        }
    }
    let (config, sources, diagnostics) = read_with_errors(&files, &Place::Folder(PathBuf::from("/c")));
    let said = diagnostics.iter().map(|one| {
        let place = one.span.map(|span| {
            let at = sources.position(span);
            format!("{}:{}", at.line, at.column)
        });
        format!("{} {} {}", place.unwrap_or_default(), one.code.name, one.message)
    });
    (config.map(|config| config.conversions.to_text()).unwrap_or_default(), said.collect())
}

fn text_of(conversions: &str) -> String {
    let (text, said) = of(MAIN, TABLE, conversions);
    assert!(said.is_empty(), "{said:?}");
    text
}

fn said_of(conversions: &str) -> Vec<String> {
    of(MAIN, TABLE, &format!("{conversions}\n\nin-type=*; delete=1\n")).1
}

#[test]
fn entries_are_clauses_over_several_lines() {
    let text = "! from a manual\n\
        out-chan=l; in-type=application; IN-SUBTYPE=wordperfect5.1;\n  \
          out-type=application; out-subtype=postscript; parameter-copy-0=*; out-mode=block;\n  \
          command=\"wp2ps 'INPUT_FILE' \\\"'OUTPUT_FILE'\\\"; true\"\n\
        in-type=image;\n! between\nin-subtype = gif ; delete=1;\n\n\
        in-type=*; delete=1\n";
    assert_eq!(
        text_of(text),
        "out-channel=l\nin-type=application\nin-subtype=wordperfect5.1\nout-type=application\n\
         out-subtype=postscript\nparameter-copy-0=*\nout-mode=block\n\
         command=wp2ps 'INPUT_FILE' \"'OUTPUT_FILE'\"; true\n\n\
         in-type=image\nin-subtype=gif\ndelete=1\n\n\
         in-type=*\ndelete=1\n\n"
    );
}

#[test]
fn a_line_goes_on_behind_a_backslash() {
    assert_eq!(text_of("in-type=text; command=\"tr a \\\nb\"\n"), "in-type=text\ncommand=tr a b\n\n");
}

#[test]
fn every_mistake_is_said_where_it_is() {
    for (text, expected) in [
        ("in-type", "1:1 bad-conversion `in-type` has no value"),
        ("in-type=text; command=\"a", "1:23 bad-conversion a quoted text has no end"),
        ("in-type=text; command=a b", "1:24 bad-conversion `b` stands behind a value"),
        ("in-type=text; delete=yes", "1:22 bad-conversion `delete` cannot be `yes`"),
        ("in-type=text; delete=1; out-type=\"a b\"", "1:34 bad-conversion `out-type` cannot be `a b`"),
        ("in-type=text; delete=1; out-mode=lines", "1:34 bad-conversion `out-mode` cannot be `lines`"),
        (
            "in-type=text; delete=1; message-header-file=3",
            "1:45 bad-conversion `message-header-file` cannot be `3`",
        ),
        (
            "in-type=text; delete=1; parameter-symbol-0=PATH",
            "1:44 bad-conversion `parameter-symbol-0` cannot be `PATH`",
        ),
        (
            "in-type=text; delete=1; parameter-symbol-0=LD_PRELOAD",
            "1:44 bad-conversion `parameter-symbol-0` cannot be `LD_PRELOAD`",
        ),
        ("in-type=text; delete=1; in-type=image", "1:25 bad-conversion `in-type` is twice in one entry"),
        (
            "in-type=text; delete=1; in-parameter-value-1=a",
            "1:1 bad-conversion `in-parameter-value-1` has no `in-parameter-name-1` that it is about",
        ),
        ("delete=1", "1:1 conversion-without-effect the entry has no `in-type`, so it is for no part"),
        (
            "in-type=text; out-type=image",
            "1:1 conversion-without-effect the entry has neither `command` nor `delete=1`, so it does nothing",
        ),
        (
            "in-type=text; delete=1; in-parameter-nam-0=a",
            "1:25 conversion-without-effect `in-parameter-nam-0` is no parameter of a conversion; it is passed over",
        ),
        (
            "in-type=text; out-type=image; relabel=1",
            "1:31 conversion-without-effect `relabel`: 1: the entry is for the table CHARSET-CONVERSION, which nobody asks here, and is skipped, as in PMDF; the entry does nothing",
        ),
    ] {
        assert_eq!(said_of(text), [expected], "{text}");
    }
}

#[test]
fn an_entry_that_does_nothing_is_not_handed_on() {
    let (text, _) = of(MAIN, TABLE, "in-type=text; relabel=1; delete=1\nin-type=text; relabel=0; delete=1\n");
    assert_eq!(text, "in-type=text\ndelete=1\n\n");
}

#[test]
fn table_file_and_channel_belong_together() {
    let entry = "in-type=*; delete=1\n";
    let without = MAIN.replace("conversion\nCONVERSION-DAEMON\n", "");
    let codes = |main: &str, mappings: &str, conversions: &str| {
        let said = of(main, mappings, conversions).1;
        said.iter().map(|one| one.split(' ').nth(1).unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert!(codes(MAIN, TABLE, entry).is_empty());
    assert!(codes(&without, "", "").is_empty());
    assert_eq!(codes(&without, TABLE, entry), ["no-conversion-channel"]);
    assert_eq!(codes(&without, "", entry), ["no-conversion-channel"]);
    assert_eq!(codes(MAIN, TABLE, ""), ["conversion-without-effect"]);
    let answers =
        "CONVERSIONS\n\n  a Yes,Maybe\n  b Channel=nowhere\n  c Channel=TCP_LOCAL\n  d No\n  e $0\n";
    assert_eq!(codes(MAIN, answers, entry), ["bad-conversion-answer", "bad-conversion-answer"]);
}

#[test]
fn answers() {
    for (output, channel) in [
        ("Yes", Some("conversion")),
        ("NO", None),
        ("", None),
        ("channel=Conversion_2", Some("conversion_2")),
        ("Yes,Channel=conversion_2", Some("conversion_2")),
        ("Channel=conversion_2,Yes", Some("conversion_2")),
        ("Yes, No", None),
        ("Channel=", None),
    ] {
        assert_eq!(ConversionAnswer::read(output).channel.as_deref(), channel, "{output}");
    }
    assert_eq!(ConversionAnswer::read("Yes,Tag=x").unknown, ["Tag=x"]);
}
