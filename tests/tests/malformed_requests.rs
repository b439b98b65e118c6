//! Requests for mail that are none: two hundred lines of ETRN and ATRN, each with its code, none of which moves anything or
//! reaches the log unescaped.
#![allow(clippy::unwrap_used)]

use sluice_sasl::Mechanism;
use sluice_testkit::{Sink, Site, Talk};
use sluice_tests::{Destination, configuration, log_in, password, send};

/// Arguments that are neither a domain, nor `@` and one, nor `#` and a queue.
fn no_nodes() -> Vec<String> {
    let mut nodes: Vec<String> = [
        "",
        "@",
        "#",
        "@@",
        "##",
        "@#a",
        "#@a",
        "@ site7.example",
        "# tcp_sites",
        "site7.example ship.example",
        "site7.example,ship.example",
        "site7.example;ship.example",
        "site7.example\tship.example",
        "example",
        "@example",
        ".",
        "..",
        ".site7.example",
        "site7..example",
        "@.site7.example",
        "site7.example.",
        "@site7.example.",
        "-a.example",
        "a-.example",
        "@-a.example",
        "a_b.example",
        "a b.example",
        "a/b.example",
        "a\\b.example",
        "a'b.example",
        "a\"b.example",
        "a`id`.example",
        "$(id).example",
        "${x}.example",
        "a|b.example",
        "a&b.example",
        "a>b.example",
        "a<b.example",
        "<site7.example>",
        "(site7.example)",
        "{site7.example}",
        "a:b.example",
        "site7.example:25",
        "fred@site7.example",
        "@fred@site7.example",
        "smtp://site7.example",
        "%site7.example",
        "site7%.example",
        "%s%s%s%n.example",
        "!site7.example",
        "site7!example",
        "*",
        "*.example",
        "@*.example",
        "#*",
        "#tcp_*",
        "#../../etc/passwd",
        "#/etc/passwd",
        "#a/b",
        "#a b",
        "#a\\b",
        "#a'b",
        "#a;b",
        "#a|b",
        "#a$(id)",
        "#a@b",
        "#a#b",
        "#a,b",
        "#a:b",
        "#a%b",
        "#a*b",
        "#a?b",
        "#a(b",
        "#a=b",
        "[1.2.3]",
        "[1.2.3.4",
        "1.2.3.4]",
        "[1.2.3.4.5]",
        "[256.1.1.1]",
        "[01.2.3.4]",
        "[1.2.3.-4]",
        "[]",
        "[IPv6:]",
        "[IPv6:x]",
        "[IPv6:1::2::3]",
        "[IPv6:::1",
        "[IPv6:1.2.3.4]",
        "[ipv4:1.2.3.4]",
        "[tag:x]",
        "@[1.2.3.4]",
        "#[1.2.3.4]",
        "[[1.2.3.4]]",
        "[1.2.3.4]x",
        "x[1.2.3.4]",
        "[ 1.2.3.4 ]",
        "~site7.example",
        "+site7.example",
        "=site7.example",
        "^site7.example",
        "site7.example?",
        "site7.example=x",
        "site7.example#x",
        "site7.example@",
        "site7.example/..",
        "' OR '1'='1",
        "a.example' --",
        "a.example;DROP TABLE x",
        "\u{fc}ber.example",
        "@\u{fc}ber.example",
        "#\u{fc}",
        "xn--.\u{20ac}",
        "\u{202e}elpmaxe.7etis",
        "\u{ff53}ite7.example",
        "SITE=site7",
        "NODE site7.example",
        "FROM:<a@site7.example>",
    ]
    .map(str::to_owned)
    .to_vec();
    nodes.push(format!("{}.example", "x".repeat(64)));
    nodes.push(format!("@{}.example", "x".repeat(64)));
    nodes.push(format!("{}example", "label.".repeat(42)));
    nodes.push(format!("#{}", "q".repeat(64)));
    nodes.push("q".repeat(64));
    nodes
}

/// Arguments of ATRN that are no list of domains.
fn no_lists() -> Vec<String> {
    [
        ",",
        ",,",
        "site7.example,",
        ",site7.example",
        "site7.example,,ship.example",
        "site7.example, ship.example",
        "site7.example ship.example",
        "@site7.example",
        "#tcp_sites",
        "site7.example,@ship.example",
        "example",
        "site7.example,example",
        "[127.0.0.1]",
        "site7.example,[127.0.0.1]",
        "site7..example",
        ".site7.example",
        "site7.example.",
        "-a.example",
        "a-.example",
        "a_b.example",
        "*",
        "*.example",
        "fred@site7.example",
        "<site7.example>",
        "site7.example;ship.example",
        "site7.example|x",
        "$(id).example",
        "`id`.example",
        "'site7.example'",
        "\"site7.example\"",
        "%s.example",
        "a/b.example",
        "a\\b.example",
        "site7.example\tship.example",
        "site7.example:366",
        "\u{fc}ber.example",
        "site7.example=x",
        "ALL",
        "?",
        "-",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn hub(sink: &Sink) -> Site {
    let hub = Site::new("malformed");
    let held = [Destination::held("tcp_sites", "site7.example", sink.port())];
    let incoming = "allowetrn maysaslserver disconnectbadcommandlimit 10000";
    hub.write("sluice.cnf", &configuration(incoming, &held));
    hub.write("option.dat", "SPOOL_DIR=../spool\nPASSWORD_FILE=passwords\n");
    hub.write("tcp_local_option", "ALLOW_ETRNS_PER_SESSION=10000\n");
    hub.write("sites.cnf", "[SITE=site7]\nDOMAINS=site7.example\nQUEUE_NAME=q7\nLOGIN=fred\nTIER=dynamic\n");
    let dispatcher = std::fs::read_to_string(hub.configuration().join("dispatcher.cnf")).unwrap();
    hub.write("dispatcher.cnf", &format!("{dispatcher}ATRN=1\n"));
    assert_eq!(password(&hub, &["set", "fred", "--cram-md5"], "pencil").code, 0);
    hub
}

fn refused(talk: &mut Talk, line: &str, codes: &[u16]) {
    let reply = talk.ask(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    assert!(codes.contains(&reply.code), "{line:?}: {reply}");
    let class = reply.code / 100;
    assert!(reply.lines[0].starts_with(&format!("{class}.")), "{line:?} has no code of its class: {reply}");
}

#[test]
fn two_hundred_malformed_requests_have_their_codes_and_no_effect() {
    let sink = Sink::start();
    let mut hub = hub(&sink);
    hub.start();
    send(&hub, "a@site7.example", 0, 1);
    let mut owner = hub.talk();
    assert_eq!(log_in(&mut owner, Mechanism::CramMd5, "fred", "pencil").code, 235);
    let (nodes, lists) = (no_nodes(), no_lists());
    let mut count = 0;
    for argument in &nodes {
        refused(&mut owner, &format!("ETRN {argument}"), &[501]);
        // In the manner of etrn(8): lower case, LF alone.
        owner.raw(format!("etrn {argument}\n").as_bytes()).unwrap();
        assert_eq!(owner.read().unwrap().code, 501, "{argument:?}");
        count += 2;
    }
    for argument in &lists {
        refused(&mut owner, &format!("ATRN {argument}"), &[501]);
        count += 1;
    }
    // Lines that are no commands at all: octets that cannot be, and more of them than a line may have.
    for verb in ["ETRN", "ATRN"] {
        for argument in
            ["site7.example\u{0}", "site7\u{0}.example", "\u{1b}[31msite7.example", "site7.example\u{7f}"]
        {
            refused(&mut owner, &format!("{verb} {argument}"), &[500, 501]);
            count += 1;
        }
        owner.raw(verb.as_bytes()).unwrap();
        owner.raw(b" site7.\xff\xfe.example\r\n").unwrap();
        assert_eq!(owner.read().unwrap().code, 500);
        refused(&mut owner, &format!("{verb} {}", "a.".repeat(5000)), &[500]);
        refused(&mut owner, &format!("{verb}site7.example"), &[500]);
        refused(&mut owner, &format!("{verb}:site7.example"), &[500]);
        count += 4;
    }
    // In the wrong place.
    for line in ["ETRN site7.example", "ATRN site7.example"] {
        let (mut early, _) = Talk::open(hub.address()).unwrap();
        refused(&mut early, line, &[503]);
        owner.want("MAIL FROM:<a@b.example>", 250);
        refused(&mut owner, line, &[503]);
        owner.want("RSET", 250);
        count += 2;
    }
    refused(&mut hub.talk(), "ETRN site7.example", &[530]);
    refused(&mut hub.talk(), "ATRN site7.example", &[530]);
    refused(&mut owner, "ATRN ship.example", &[450]);
    refused(&mut owner, "ETRN @co.uk", &[459]);
    refused(&mut owner, "ETRN #tcp_nosuch", &[459]);
    assert!(count + 5 >= 200, "{count}");

    assert_eq!(hub.waiting(Some("tcp_sites")), 1);
    assert_eq!(sink.connections(), 0, "something was sent");
    assert!(hub.json(&["release", "list"]).is_empty(), "something was released: {}", hub.report());
    let log = hub.log();
    assert!(
        !log.contains('\u{1b}') && !log.contains('\u{0}') && !log.contains('\u{202e}'),
        "{}",
        log.escape_debug()
    );
    // What is well formed is served all the same.
    owner.want("ETRN site7.example", 253);
    hub.stop();
}
