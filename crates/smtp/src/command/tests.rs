//! Command lines as clients write them: what is taken, what is refused, and with which reply.

use super::*;

fn said(line: &str) -> String {
    match parse(line.as_bytes()) {
        Ok(command) => format!("{command:?}"),
        Err(Mistake::Answer(reply)) => reply.to_string(),
        Err(Mistake::ForeignProtocol) => "foreign protocol".to_owned(),
    }
}

#[test]
fn paths_are_handed_on_as_written() {
    let paths = [
        "a@b.example",
        "",
        "postmaster",
        "user",
        "@a,@b:c@d.example",
        "\"a b\"@c.example",
        "\"a@b\"@gw",
        "\"a\\\"b>\"@c",
        "\"<>\"@c",
        "u@[192.0.2.1]",
        "u@[IPv6:2001:db8::1]",
        "a!b!c",
        "a%b@c",
        "\"\"@c",
        "a@b.example:c",
        "o'neil@x",
    ];
    for path in paths {
        let found = match parse(format!("MAIL FROM:<{path}>").as_bytes()) {
            Ok(Command::Mail { path, .. }) => path.to_owned(),
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(found, path);
        if !path.is_empty() {
            let line = format!("RCPT TO:<{path}>  ");
            assert_eq!(
                parse(line.as_bytes()),
                Ok(Command::Rcpt { path, wishes: RecipientWishes::default() })
            );
        }
    }
}

#[test]
fn what_no_path_can_be_is_refused() {
    let long = format!("<{}@b.example>", "x".repeat(PATH_OCTETS_MAX));
    let bad = [
        "<",
        "<a@b.example",
        "<a b@c>",
        "<a<b@c>",
        "<\"a@b>",
        "<\"a\\",
        "<a@[1.2.3.4>",
        "<a@]>",
        "<a\\b@c>",
        "<a@>",
        "<@a,@b>",
        "<@a:>",
        "<a@b.example>x",
        "<a@b.example>SIZE=1",
        &long,
    ];
    for path in bad {
        assert_eq!(said(&format!("MAIL FROM:{path}")), "501 5.1.7 Bad sender address syntax", "{path}");
        assert_eq!(said(&format!("RCPT TO:{path}")), "501 5.1.3 Bad recipient address syntax", "{path}");
    }
}

#[test]
fn blanks_and_case_are_forgiven() {
    let expected = Ok(Command::Rcpt { path: "a@b", wishes: RecipientWishes::default() });
    for line in ["RCPT TO:<a@b>", "rcpt to:<a@b>", "Rcpt  To: <a@b>", "RCPT\tTO:\t<a@b>\t", "RCPT TO:<a@b> "]
    {
        assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
    }
    assert_eq!(parse(b"etrn  a.example  "), Ok(Command::Etrn("a.example")));
    assert_eq!(parse(b"ETRN a b"), Ok(Command::Etrn("a b")));
    assert_eq!(parse(b"eHlO a.example (comment)"), Ok(Command::Ehlo("a.example")));
    assert_eq!(parse(b"noop a b c"), Ok(Command::Noop));
}

#[test]
fn parameters_of_mail() {
    let params = |line: &str| match parse(line.as_bytes()) {
        Ok(Command::Mail { params, .. }) => params,
        other => panic!("{line}: {other:?}"),
    };
    let all = params("MAIL FROM:<a@b> size=12 body=8bitmime smtputf8");
    assert_eq!(
        all,
        MailParams { size: Some(12), body: Body::EightBitMime, smtputf8: true, ..MailParams::default() }
    );
    assert_eq!(params("MAIL FROM:<> BODY=7BIT").body, Body::SevenBit);
    assert_eq!(params("MAIL FROM:<> SIZE=99999999999999999999").size, Some(u64::MAX));
    for bad in
        ["SIZE", "SIZE=", "SIZE=-1", "SIZE=999999999999999999999", "BODY", "BODY=", "BODY=x", "SMTPUTF8=1"]
    {
        assert!(said(&format!("MAIL FROM:<> {bad}")).starts_with("501 5.5.4 Bad value"), "{bad}");
    }
    for twice in ["SIZE=1", "BODY=7BIT", "SMTPUTF8"] {
        assert!(said(&format!("MAIL FROM:<> {twice} {twice}")).starts_with("501 5.5.4 Bad value"), "{twice}");
    }
    for known in ["AUTH=<>", "AUTH=a@b.example", "AUTH=a+2Bb+3Dc", "auth=x"] {
        assert!(params(&format!("MAIL FROM:<> {known}")).auth, "{known}");
    }
    for bad in ["AUTH", "AUTH=", "AUTH=a=b", "AUTH=a+2", "AUTH=+2b", "AUTH=x AUTH=x"] {
        assert!(said(&format!("MAIL FROM:<> {bad}")).starts_with("501 5.5.4 Bad value"), "{bad}");
    }
    let wishes = params("MAIL FROM:<a@b> ret=hdrs ENVID=QQ+2B314159").wishes;
    assert_eq!(
        wishes,
        Wishes { returned: Some(Return::Headers), envelope_id: "QQ+2B314159".into(), ..Wishes::default() }
    );
    let long = format!("ENVID={}", "x".repeat(101));
    for bad in [
        "RET",
        "RET=",
        "RET=ALL",
        "RET=FULL RET=HDRS",
        "ENVID",
        "ENVID=",
        "ENVID=a=b",
        "ENVID=a+2",
        "ENVID=+0D",
        "ENVID=\u{e4}",
        "ENVID=a ENVID=b",
        &long,
    ] {
        assert!(said(&format!("MAIL FROM:<> {bad}")).starts_with("501 5.5.4 Bad value"), "{bad}");
    }
    let later = |text: &str| params(&format!("MAIL FROM:<a@b> {text}")).wishes.later;
    assert_eq!(later("holdfor=999999999"), Some(LaterRelease::For(999_999_999)));
    let until = Some(LaterRelease::Until(sluice_mail::Time::from_secs(1_795_296_600)));
    assert_eq!(later("HOLDUNTIL=2026-11-21T22:30:00+01:00"), until);
    for bad in [
        "HOLDFOR",
        "HOLDFOR=",
        "HOLDFOR=0",
        "HOLDFOR=01",
        "HOLDFOR=+1",
        "HOLDFOR=-1",
        "HOLDFOR=1h",
        "HOLDFOR=1000000000",
        "HOLDFOR=99999999999999999999",
        "HOLDUNTIL",
        "HOLDUNTIL=",
        "HOLDUNTIL=3600",
        "HOLDUNTIL=2026-11-21",
        "HOLDUNTIL=2026-11-21T21:30:00",
        "HOLDFOR=1 HOLDFOR=1",
        "HOLDFOR=1 HOLDUNTIL=2026-11-21T21:30:00Z",
        "HOLDUNTIL=2026-11-21T21:30:00Z HOLDFOR=1",
    ] {
        assert!(said(&format!("MAIL FROM:<> {bad}")).starts_with("501 5.5.4 Bad value"), "{bad}");
    }
    for unknown in ["NOTIFY=NEVER", "ORCPT=rfc822;a@b", "=", "x", "<b@c>"] {
        assert!(said(&format!("MAIL FROM:<> {unknown}")).starts_with("555 5.5.4"), "{unknown}");
    }
}

#[test]
fn parameters_of_rcpt() {
    let wishes = |line: &str| match parse(line.as_bytes()) {
        Ok(Command::Rcpt { wishes, .. }) => (wishes.notify.to_string(), wishes.original),
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(wishes("RCPT TO:<a@b>"), (String::new(), String::new()));
    let said_all = wishes("RCPT TO:<a@b> notify=success,Delay  ORCPT=rfc822;A+2Bx@b.example");
    assert_eq!(said_all, ("SUCCESS,DELAY".to_owned(), "rfc822;A+2Bx@b.example".to_owned()));
    assert_eq!(wishes("RCPT TO:<a@b> NOTIFY=NEVER").0, "NEVER");
    let long = format!("ORCPT=rfc822;{}", "x".repeat(494));
    for bad in [
        "NOTIFY",
        "NOTIFY=",
        "NOTIFY=NEVER,DELAY",
        "NOTIFY=SUCCESS,",
        "NOTIFY=LATE",
        "NOTIFY=NEVER NOTIFY=NEVER",
        "ORCPT",
        "ORCPT=",
        "ORCPT=a@b",
        "ORCPT=rfc822;",
        "ORCPT=;a@b",
        "ORCPT=rfc822;a=b",
        "ORCPT=rfc822;a+2b",
        "ORCPT=rfc822;\u{e4}",
        "ORCPT=rfc822;a ORCPT=rfc822;b",
        &long,
    ] {
        assert!(said(&format!("RCPT TO:<a@b> {bad}")).starts_with("501 5.5.4 Bad value"), "{bad}");
    }
    for unknown in ["RET=FULL", "SIZE=1", "=", "x"] {
        assert!(said(&format!("RCPT TO:<a@b> {unknown}")).starts_with("555 5.5.4"), "{unknown}");
    }
}

#[test]
fn lengths_are_limited_by_verb() {
    let line = |verb: &str, octets: usize| format!("{verb}{}", "x".repeat(octets - verb.len()));
    assert_eq!(said(&line("NOOP ", SHORT_COMMAND_OCTETS_MAX)), "Noop");
    assert_eq!(said(&line("NOOP ", SHORT_COMMAND_OCTETS_MAX + 1)), "500 5.5.2 Command line too long");
    assert_eq!(said(&line("MAIL FROM:<>", COMMAND_OCTETS_MAX)), "501 5.1.7 Bad sender address syntax");
    assert_eq!(said(&line("MAIL FROM:<>", COMMAND_OCTETS_MAX + 1)), "500 5.5.2 Command line too long");
    assert_eq!(said(&line("AUTH PLAIN ", AUTH_OCTETS_MAX + 1)), "500 5.5.2 Command line too long");
    assert!(said(&line("AUTH PLAIN ", AUTH_OCTETS_MAX)).starts_with("Auth"));
    assert_eq!(said(&line("EHLO ", 300)), "501 Syntax: EHLO domain or HELO domain");
}

#[test]
fn control_characters_and_broken_utf8_are_refused() {
    for line in [
        &b"NOOP\r"[..],
        b"NO\0OP",
        b"MAIL FROM:<a\rb@c>",
        b"NOOP \x7f",
        b"NOOP \xff",
        b"\x16\x03\x01",
        b"NOOP \xc2\x85",
    ] {
        assert_eq!(parse(line), Err(replies::illegal_characters().into()), "{line:?}");
    }
    assert_eq!(said(""), "500 5.5.2 Command not recognized");
    assert_eq!(said(" NOOP"), "500 5.5.2 Command not recognized");
    assert_eq!(said("MA\u{130}L FROM:<>"), "500 5.5.2 Command not recognized");
    assert_eq!(said("MAIL \u{fc}\u{fc}\u{fc}M:<>"), "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]");
}

#[test]
fn an_oracle_agrees_on_plain_commands() {
    use smtp_proto::Request;
    for line in
        ["MAIL FROM:<a@b.example> SIZE=10", "RCPT TO:<a@b.example>", "ETRN #queue", "ETRN @a.example", "RSET"]
    {
        let wire = format!("{line}\r\n");
        let other = Request::parse(&mut wire.as_bytes().iter()).unwrap();
        let agrees = match (parse(line.as_bytes()).unwrap(), other) {
            (Command::Mail { path, params }, Request::Mail { from }) => {
                path == from.address && params.size == Some(from.size as u64)
            }
            (Command::Rcpt { path, .. }, Request::Rcpt { to }) => path == to.address,
            (Command::Etrn(argument), Request::Etrn { name }) => argument == name,
            (Command::Rset, Request::Rset) => true,
            _ => false,
        };
        assert!(agrees, "{line}");
    }
}
