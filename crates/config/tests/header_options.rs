//! Header option files, and the keywords that read them.
#![allow(clippy::unwrap_used)]

mod support;
use sluice_config::{EnvelopeToField, HeaderOption};
use support::{diagnose, folder, good};

const MAIN: &str = ". $U%$H@TCP\n\nl\nh\n\ntcp_a smtp headertrim headerread\nTCP\n";

fn said(text: &str) -> String {
    diagnose(&folder(&[
        ("sluice.cnf", MAIN),
        ("tcp_a_headers.opt", text),
        ("tcp_a_read_headers.opt", "X: MAXIMUM=-1\n"),
    ]))
}

#[test]
fn the_files_are_read_where_the_keywords_ask() {
    let text = "! a comment\nSubject: MAXCHARS=60, LINELENGTH=72,MAXLINES=-1\nX-A : ADD=\"a, \\\"b\\\"\", FILL=c\n  , PRECEDENCE=-2,\n\tRELABEL=\"X-B:\"\n\
        OTHER: maximum=1\nDefaults: GROUP=1\nx-a: MAXIMUM=3\n";
    let files = folder(&[
        ("sluice.cnf", MAIN),
        ("tcp_a_headers.opt", text),
        ("tcp_a_read_headers.opt", "Y: MAXIMUM=-1\n"),
    ]);
    assert_eq!(diagnose(&files), "");
    let config = good(&files);
    let channel = config.channels.by_name("tcp_a").unwrap();
    let options = channel.header_options.as_ref().unwrap();
    let names: Vec<&str> = options.named.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Subject", "X-A"]);
    assert_eq!(
        *options.of(b"subject", true).unwrap(),
        HeaderOption { max_chars: 60, line_length: 72, max_lines: -1, ..HeaderOption::default() }
    );
    assert_eq!(
        *options.of(b"X-a", false).unwrap(),
        HeaderOption {
            add: Some("a, \"b\"".to_owned()),
            fill: Some("c".to_owned()),
            precedence: -2,
            relabel: Some("X-B".to_owned()),
            maximum: 3,
            ..HeaderOption::default()
        }
    );
    assert_eq!(options.of(b"X-C", false).unwrap().maximum, 1);
    assert_eq!(options.of(b"From", true).unwrap().maximum, 0);
    assert_eq!(channel.read_header_options.as_ref().unwrap().named.len(), 1);
    // Without the keyword nobody looks at the file.
    let main = MAIN.replace("headertrim headerread", "noheadertrim");
    let files = folder(&[("sluice.cnf", main.as_str()), ("tcp_a_headers.opt", "nonsense\n")]);
    assert_eq!(good(&files).channels.by_name("tcp_a").unwrap().header_options, None);
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let place = "tcp_a_headers.opt:1:";
    for (text, expected) in [
        ("Subject MAXIMUM=1\n", "1: error[bad-header-option]: no colon behind the name of a header line"),
        (
            "Sub ject: MAXIMUM=1\n",
            "1: error[bad-header-option]: `Sub ject` cannot be the name of a header line",
        ),
        ("Subject: MAXIMUM\n", "10: error[bad-header-option]: `MAXIMUM` has no value"),
        (
            "Subject: MAXIMUM=x\n",
            "18: error[bad-header-option]: MAXIMUM takes a number, or -1 to take the lines out, not `x`",
        ),
        ("Subject: MAXIMUM=-2\n", "18: error[bad-header-option]: MAXIMUM takes a number, or -1"),
        ("Subject: MAXCHARS=-1\n", "19: error[bad-header-option]: MAXCHARS takes a number, not `-1`"),
        ("Subject: ADD=\"x\n", "14: error[bad-header-option]: a quoted text has no end"),
        (
            "Subject: ADD=\"\u{e4}\"\n",
            "14: error[bad-header-option]: ADD takes a text of ASCII characters on one line",
        ),
        (
            "Subject: RELABEL=\"a b\"\n",
            "18: error[bad-header-option]: RELABEL takes the name of a header line, not `a b`",
        ),
        (
            "Subject: MAXIMUMS=1\n",
            "10: warning[unknown-header-option]: `MAXIMUMS` is no option of a header line\nhelp: did you mean MAXIMUM?",
        ),
        (
            "Defaults: ADD=x\n",
            "1: warning[unknown-header-option]: ADD and FILL have no effect in `Defaults:`",
        ),
        ("Other: FILL=x\n", "1: warning[unknown-header-option]: ADD and FILL have no effect in `Other:`"),
    ] {
        let said = said(text);
        assert!(said.starts_with(&format!("{place}{expected}")), "{text}\n{said}");
    }
    let long = format!("X: ADD=\"{}\"\n", "x".repeat(901));
    assert!(said(&long).contains("error[bad-header-option]"));
    assert_eq!(said(""), "");
}

#[test]
fn a_file_that_is_not_there_is_told() {
    assert_eq!(
        diagnose(&folder(&[("sluice.cnf", MAIN)])),
        "sluice.cnf:6:12: warning[header-options-missing]: `headertrim` reads tcp_a_headers.opt, and there is no such file\n\
         help: write the file, or take the keyword out\n\
         sluice.cnf:6:23: warning[header-options-missing]: `headerread` reads tcp_a_read_headers.opt, and there is no such file\n\
         help: write the file, or take the keyword out"
    );
}

#[test]
fn keywords_about_headers_mean_what_they_say() {
    let main = ". $U%$H@TCP\n\nl\nh\n\ntcp_a smtp x_env_to addreturnpath missingrecipientpolicy 4 maxheaderaddrs 5 maxheaderchars 0 \
        maxprocchars 1000\nTCP\n\ntcp_b smtp nox_env_to noaddreturnpath maxheaderchars 80\nTCP-B\n";
    let config = good(&folder(&[("sluice.cnf", main)]));
    let of = |name: &str| config.channels.by_name(name).unwrap().settings.clone();
    let (a, b, l) = (of("tcp_a"), of("tcp_b"), of("l"));
    assert_eq!(
        [a.envelope_to_field, b.envelope_to_field, l.envelope_to_field],
        [EnvelopeToField::Write, EnvelopeToField::Remove, EnvelopeToField::Keep]
    );
    assert_eq!([a.add_return_path, b.add_return_path], [true, false]);
    assert_eq!([a.missing_recipient_policy, b.missing_recipient_policy], [Some(4), None]);
    assert_eq!([a.max_header_addresses, b.max_header_addresses], [Some(5), None]);
    assert_eq!([a.max_header_octets, b.max_header_octets], [None, Some(80)]);
    assert_eq!(a.max_processed_octets, Some(1000));
}
