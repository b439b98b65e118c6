//! Dialogues: what the client says, and the whole conversation that comes of it.
//!
//! The intake here is a simple one. Senders at `refused.example` and recipients at `unknown.example` are refused, the
//! store is full for senders at `full.example` and broken for those at `broken.example`. Lines in parentheses are events:
//! `(no command in time)`, `(no content in time)`, `(content without end)`, `(shutdown)`, `(long line)`. In message
//! content `{CR}`, `{LF}` and `{NUL}` stand for those octets.

use insta::assert_snapshot;
use sluice_mail::{Recipient, Refusal, Status};

use super::later_dialogues::NOW;
use super::*;
use crate::content::{Content, Fed, Rules};
use crate::etrn::Waiting;
use sluice_sasl::server::{Exchange, RANDOM_OCTETS, Step as Sasl};
use sluice_sasl::users::{self, User, Users};

pub(super) fn policy() -> Policy {
    Policy {
        host: "hub.example".into(),
        etrn: EtrnPolicy::Silent,
        etrn_per_session: 3,
        atrn: AtrnPolicy::No,
        max_message_size: 1000,
        max_recipients: 3,
        max_errors: 30,
        quotas: Quotas::default(),
        chunking: false,
        accept_all: false,
        later_release: None,
        priorities: None,
        loop_mark: None,
        safety: Safety::default(),
    }
}

fn at(host: &str, address: &str) -> bool {
    address.ends_with(&format!("@{host}"))
}

fn sender_answer(path: &str) -> Result<(), Refusal> {
    match at("refused.example", path) {
        true => Err(Refusal::new(550, Status::new(5, 7, 1), "no mail from there")),
        false => Ok(()),
    }
}

fn recipient_answer(path: &str) -> Result<Recipient, Refusal> {
    match at("unknown.example", path) {
        true => Err(Refusal::new(550, Status::NO_SUCH_HOST, format!("unknown host or domain: {path}"))),
        false => Ok(Recipient { original: path.into(), ..Recipient::default() }),
    }
}

fn etrn_answer(policy: EtrnPolicy, argument: &str) -> Reply {
    let node: Node = argument.parse().unwrap();
    let answers = Answers::new(policy, &node);
    if matches!(&node, Node::Name(name) if !["queue7", "hidden"].contains(&name.as_str())) {
        return replies::etrn_syntax();
    }
    match argument.trim_start_matches(['@', '#']) {
        "empty.example" => answers.started(&["tcp_dialup"], Waiting::Messages(0)),
        "some.example" => answers.started(&["tcp_dialup", "tcp_two"], Waiting::Something),
        "five.example" => answers.started(&["tcp_dialup"], Waiting::Messages(5)),
        "mine-some.example" => answers.with_claim().started(&["tcp_dialup"], Waiting::Something),
        "mine-five.example" => answers.with_claim().started(&["tcp_dialup"], Waiting::Messages(5)),
        "stopped.example" => answers.unable(),
        "often.example" => answers.too_often(),
        "mine-blocked.example" => answers.with_claim().not_allowed("blocked for ETRN"),
        "blocked.example" => answers.not_allowed("blocked for ETRN"),
        "elsewhere.example" => answers.unknown(),
        _ => answers.started(&["tcp_dialup"], Waiting::Unknown),
    }
}

/// Fred, whose password is pencil.
pub(super) fn users() -> &'static Users {
    static USERS: std::sync::LazyLock<Users> = std::sync::LazyLock::new(|| {
        let fred = User::new("pencil", *b"0123456789abcdef", 4096, true).unwrap();
        Users::read(&users::changed("", "fred", Some(&fred)).unwrap()).0
    });
    &USERS
}

pub(super) fn exchanged(step: Sasl) -> Exchanged {
    match step {
        Sasl::Challenge(challenge) => Exchanged::Challenge(challenge),
        Sasl::Accepted(_) => Exchanged::Accepted,
        Sasl::Rejected => Exchanged::Rejected,
        Sasl::Malformed => Exchanged::Malformed,
    }
}

/// What stands behind a line to say what the intake, or the socket, has to say to it.
const TOLD: [&str; 9] = [
    "(no certificate)",
    "(and more at once)",
    "(owns nothing)",
    "(none yet)",
    "(no answer)",
    "(gotcha)",
    "(no mail)",
    "(not yours)",
    "(unable)",
];

/// The conversation with a client that says the lines of `text`.
pub(super) fn dialogue(policy: &Policy, text: &str) -> String {
    let users = users();
    let mut exchange = None;
    let mut server = Server::new(policy.clone());
    let mut said = String::new();
    let mut client = text.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    said.push_str(&String::from_utf8(server.greeting().to_bytes()).unwrap());
    while let Some(line) = client.next() {
        said.push_str(&format!("> {line}\n"));
        let step = match line {
            "(no command in time)" => Step::Close(server.command_timeout()),
            "(no content in time)" => Step::Close(server.data_timeout()),
            "(content without end)" => Step::Close(replies::endless_message()),
            "(shutdown)" => Step::Close(server.shutdown()),
            "(users are lost)" => server.exchanged(&Exchanged::Unavailable),
            "(long line)" => server.line_too_long(),
            _ => server.line(line.as_bytes(), NOW),
        };
        let step = match step {
            Step::Sender { path, params } => server.sender(path, params, sender_answer(path)),
            Step::Recipient { path, wishes } => {
                let answer = recipient_answer(path).map(|recipient| vec![recipient.into()]);
                server.recipient(path, wishes, answer)
            }
            Step::Verify(_) => server.answered(replies::cannot_verify()),
            Step::Etrn(argument) => server.answered(etrn_answer(policy.etrn, argument)),
            Step::Atrn(_) => match client.peek() {
                Some(&"(gotcha)") => server.spoke_before_turn(),
                Some(&"(no mail)") => server.answered(replies::atrn_no_mail()),
                Some(&"(not yours)") => server.answered(replies::atrn_refused("not your domain")),
                Some(&"(unable)") => server.answered(replies::atrn_unable()),
                _ => {
                    said.push_str(&format!(
                        "{}(turned)\n",
                        String::from_utf8(replies::atrn_turning().to_bytes()).unwrap()
                    ));
                    break;
                }
            },
            Step::Discard(_, reply) => Step::Reply(reply),
            Step::Releases if client.peek() == Some(&"(owns nothing)") => {
                server.answered(replies::releases_of_nobody())
            }
            Step::Releases if client.peek() == Some(&"(none yet)") => {
                server.answered(replies::releases_none("site7"))
            }
            Step::Releases if client.peek() == Some(&"(no answer)") => {
                server.answered(replies::releases_unavailable())
            }
            Step::Releases => server.answered(replies::releases("site7").and("r1 delivered 5 of 5")),
            Step::Authenticate(mechanism, _) if client.peek() == Some(&"(users are lost)") => {
                said.push_str(&format!("({mechanism:?})\n"));
                continue;
            }
            Step::Authenticate(mechanism, response) => {
                let random = [7; RANDOM_OCTETS];
                let exchange = exchange.insert(Exchange::new(mechanism, &random, &policy.host, 1));
                server.exchanged(&exchanged(exchange.step(users, response.as_deref())))
            }
            Step::AuthResponse(response) => {
                let exchange = exchange.as_mut().expect("an exchange that was begun");
                server.exchanged(&exchanged(exchange.step(users, Some(&response))))
            }
            Step::StartTls(reply) => match client.peek() {
                Some(&"(no certificate)") => server.tls_unavailable(),
                Some(&"(and more at once)") => Step::Close(server.spoke_before_tls()),
                _ => {
                    server.secured();
                    Step::Reply(reply)
                }
            },
            step => step,
        };
        client.next_if(|line| TOLD.contains(line));
        let mut say = |reply: &Reply, charset| {
            let mut bytes = Vec::new();
            reply.write_in(charset, &mut bytes);
            said.push_str(&String::from_utf8(bytes).unwrap());
        };
        let closes = matches!(step, Step::Close(_));
        match &step {
            Step::Reply(reply) | Step::Hello(reply) | Step::Close(reply) => say(reply, server.charset()),
            Step::Content(reply, transaction) => {
                say(reply, server.charset());
                match content(policy, transaction, &mut client) {
                    Some(received) => match server.received(received) {
                        Step::Reply(reply) | Step::Close(reply) => say(&reply, server.charset()),
                        step => panic!("{step:?}"),
                    },
                    None => said.push_str("(content goes on)\n"),
                }
            }
            step => panic!("{step:?}"),
        }
        if closes {
            said.push_str("(closed)\n");
            break;
        }
    }
    said.replace('\r', "")
}

/// Feeds the lines of the message; `None` when they stop before its end.
fn content<'a>(
    policy: &Policy,
    transaction: &Transaction,
    client: &mut impl Iterator<Item = &'a str>,
) -> Option<Received> {
    let (mut content, mut kept) =
        (Content::new(Rules { size_max: policy.max_message_size, ..Rules::default() }), Vec::new());
    for line in client {
        if line == "(stop)" {
            return None;
        }
        let line = line.replace("{CR}", "\r").replace("{LF}", "\n").replace("{NUL}", "\0");
        let line = line.replace("{999}", &"x".repeat(999)).replace("{990}", &"x".repeat(990));
        if content.feed(format!("{line}\r\n").as_bytes(), &mut kept) == Fed::More {
            continue;
        }
        let sender = &transaction.sender;
        return Some(match content.finish() {
            Err(fault) => Received::Faulty(fault),
            Ok(_) if at("full.example", sender) => Received::Refused(replies::store_full().into_refusal()),
            Ok(_) if at("broken.example", sender) => Received::Refused(replies::not_stored().into_refusal()),
            Ok(_) => Received::Safe("0000000000000A7F".into()),
        });
    }
    None
}

pub(super) fn with(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = policy();
    change(&mut policy);
    policy
}

#[test]
fn a_message_goes_through() {
    assert_snapshot!(dialogue(&policy(), "
        EHLO client.example
        MAIL FROM:<a@client.example> SIZE=300 BODY=8BITMIME
        RCPT TO:<@gate:\"b c\"@site.example>
        rcpt to: <postmaster>
        DATA
        Subject: x
        .
        QUIT
    "), @r#"
    220 hub.example ESMTP Sluice ready
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > MAIL FROM:<a@client.example> SIZE=300 BODY=8BITMIME
    250 2.1.0 Sender OK
    > RCPT TO:<@gate:"b c"@site.example>
    250 2.1.5 Recipient OK
    > rcpt to: <postmaster>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    > QUIT
    221 2.0.0 hub.example closing connection
    (closed)
    "#);
}

#[test]
fn helo_offers_nothing_and_serves_the_same() {
    assert_snapshot!(dialogue(&policy(), "
        helo client.example
        Mail From:<>
        RCPT TO:<b@site.example>
        RSET
        NOOP whatever
        VRFY someone
        HELP
        ETRN site.example
        QUIT
    "), @r"
    220 hub.example ESMTP Sluice ready
    > helo client.example
    250 hub.example Hello client.example
    > Mail From:<>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > RSET
    250 2.0.0 Reset, no transaction
    > NOOP whatever
    250 2.0.0 OK
    > VRFY someone
    252 2.0.0 Cannot verify, but a message for it would be tried
    > HELP
    214-2.0.0 Commands: HELO EHLO MAIL RCPT DATA RSET NOOP VRFY ETRN HELP QUIT
    214 2.0.0 See RFC 5321; for ETRN see RFC 1985
    > ETRN site.example
    250 2.0.0 OK, queuing for node site.example started
    > QUIT
    221 2.0.0 hub.example closing connection
    (closed)
    ");
}

#[test]
fn commands_out_of_order() {
    assert_snapshot!(dialogue(&policy(), "
        MAIL FROM:<a@b.example>
        RCPT TO:<a@b.example>
        DATA
        ETRN site.example
        EHLO
        HELO \u{fc}ber.example
        EHLO client.example
        RCPT TO:<a@b.example>
        DATA
        MAIL FROM:<a@b.example>
        MAIL FROM:<a@b.example>
        DATA
        RCPT TO:<a@unknown.example>
        DATA
        RCPT TO:<a@b.example>
        EHLO again.example
        DATA
    "), @r"
    220 hub.example ESMTP Sluice ready
    > MAIL FROM:<a@b.example>
    503 5.5.1 Send EHLO or HELO first
    > RCPT TO:<a@b.example>
    503 5.5.1 Send EHLO or HELO first
    > DATA
    503 5.5.1 Send EHLO or HELO first
    > ETRN site.example
    503 5.5.1 Send EHLO or HELO first
    > EHLO
    501 Syntax: EHLO domain or HELO domain
    > HELO über.example
    501 Syntax: EHLO domain or HELO domain
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > RCPT TO:<a@b.example>
    503 5.5.1 Send MAIL first
    > DATA
    503 5.5.1 Send MAIL first
    > MAIL FROM:<a@b.example>
    250 2.1.0 Sender OK
    > MAIL FROM:<a@b.example>
    503 5.5.1 Sender already given
    > DATA
    503 5.5.1 Send RCPT first
    > RCPT TO:<a@unknown.example>
    550 5.1.2 unknown host or domain: a@unknown.example
    > DATA
    554 5.5.1 No valid recipients
    > RCPT TO:<a@b.example>
    250 2.1.5 Recipient OK
    > EHLO again.example
    250-hub.example Hello again.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > DATA
    503 5.5.1 Send MAIL first
    ");
}

#[test]
fn malformed_commands() {
    assert_snapshot!(dialogue(&policy(), "
        EHLO client.example
        FROB
        MAILFROM:<a@b.example>
        NOOP\u{7}
        (long line)
        RSET now
        VRFY
        MAIL a@b.example
        MAIL FROM:a@b.example
        MAIL FROM:<a b@c.example>
        MAIL FROM:<\u{fc}@b.example>
        MAIL FROM:<a@b.example> SIZE=many
        MAIL FROM:<a@b.example> SIZE=1 SIZE=1
        MAIL FROM:<a@b.example> BODY=BINARYMIME
        MAIL FROM:<a@b.example> NOTIFY=NEVER
        MAIL FROM:<a@b.example> RET=SOME
        MAIL FROM:<a@b.example> SIZE=1001
        MAIL FROM:<a@b.example> SIZE=1000
        RCPT <a@b.example>
        RCPT TO:<>
        RCPT TO:<a@[1.2.3.4>
        RCPT TO:<a@b.example> NOTIFY=NEVER,DELAY
        RCPT TO:<a@b.example> ORCPT=utf-8;\u{fc}@b.example
        RCPT TO:<\u{fc}@b.example>
        RCPT TO:<a@b.example>
    "), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > FROB
    500 5.5.2 Command not recognized
    > MAILFROM:<a@b.example>
    500 5.5.2 Command not recognized
    > NOOP
    500 5.5.2 Illegal character in command line
    > (long line)
    500 5.5.2 Command line too long
    > RSET now
    501 5.5.4 RSET takes no argument
    > VRFY
    501 5.5.4 VRFY needs an argument
    > MAIL a@b.example
    501 5.5.4 Syntax: MAIL FROM:<address> [parameters]
    > MAIL FROM:a@b.example
    501 5.5.4 Syntax: MAIL FROM:<address> [parameters]
    > MAIL FROM:<a b@c.example>
    501 5.1.7 Bad sender address syntax
    > MAIL FROM:<ü@b.example>
    553 5.6.7 Address is not ASCII: SMTPUTF8 needed
    > MAIL FROM:<a@b.example> SIZE=many
    501 5.5.4 Bad value of parameter SIZE
    > MAIL FROM:<a@b.example> SIZE=1 SIZE=1
    501 5.5.4 Bad value of parameter SIZE
    > MAIL FROM:<a@b.example> BODY=BINARYMIME
    501 5.5.4 Bad value of parameter BODY
    > MAIL FROM:<a@b.example> NOTIFY=NEVER
    555 5.5.4 Parameter NOTIFY not recognized or not offered
    > MAIL FROM:<a@b.example> RET=SOME
    501 5.5.4 Bad value of parameter RET
    > MAIL FROM:<a@b.example> SIZE=1001
    552 5.3.4 Message size exceeds limit of 1000 octets
    > MAIL FROM:<a@b.example> SIZE=1000
    250 2.1.0 Sender OK
    > RCPT <a@b.example>
    501 5.5.4 Syntax: RCPT TO:<address> [parameters]
    > RCPT TO:<>
    501 5.1.3 Bad recipient address syntax
    > RCPT TO:<a@[1.2.3.4>
    501 5.1.3 Bad recipient address syntax
    > RCPT TO:<a@b.example> NOTIFY=NEVER,DELAY
    501 5.5.4 Bad value of parameter NOTIFY
    > RCPT TO:<a@b.example> ORCPT=utf-8;ü@b.example
    553 5.6.7 Address is not ASCII: SMTPUTF8 needed
    > RCPT TO:<ü@b.example>
    553 5.6.7 Address is not ASCII: SMTPUTF8 needed
    > RCPT TO:<a@b.example>
    250 2.1.5 Recipient OK
    ");
}

#[test]
fn known_commands_that_this_server_does_not_have() {
    assert_snapshot!(dialogue(&policy(), "
        EHLO client.example
        EXPN list
        TURN
        ATRN site.example
        STARTTLS
        AUTH PLAIN AHgAeQ==
        BDAT 10 LAST
    "), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > EXPN list
    502 5.5.1 EXPN not implemented
    > TURN
    502 5.5.1 TURN not implemented
    > ATRN site.example
    502 5.5.1 ATRN not implemented
    > STARTTLS
    502 5.5.1 STARTTLS not implemented
    > AUTH PLAIN AHgAeQ==
    502 5.5.1 AUTH not implemented
    > BDAT 10 LAST
    502 5.5.1 BDAT not implemented
    ");
}

#[test]
fn another_protocol_is_cut_off_at_once() {
    assert_snapshot!(dialogue(&policy(), "
        POST / HTTP/1.1
        EHLO client.example
    "), @r"
    220 hub.example ESMTP Sluice ready
    > POST / HTTP/1.1
    421 4.7.0 This is an SMTP server; closing connection
    (closed)
    ");
}

#[test]
fn refusals_of_the_intake_pass_through() {
    assert_snapshot!(dialogue(&policy(), "
        EHLO client.example
        MAIL FROM:<a@refused.example>
        MAIL FROM:<\u{fc}@client.example> SMTPUTF8
        RCPT TO:<\u{fc}@unknown.example>
        RCPT TO:<one@site.example>
        RCPT TO:<two@site.example>
        RCPT TO:<three@site.example>
        RCPT TO:<four@site.example>
        DATA
        .
    "), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > MAIL FROM:<a@refused.example>
    550 5.7.1 no mail from there
    > MAIL FROM:<ü@client.example> SMTPUTF8
    250 2.1.0 Sender OK
    > RCPT TO:<ü@unknown.example>
    550 5.1.2 unknown host or domain: ü@unknown.example
    > RCPT TO:<one@site.example>
    250 2.1.5 Recipient OK
    > RCPT TO:<two@site.example>
    250 2.1.5 Recipient OK
    > RCPT TO:<three@site.example>
    250 2.1.5 Recipient OK
    > RCPT TO:<four@site.example>
    452 4.5.3 Too many recipients
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    ");
}

#[test]
fn content_that_is_refused() {
    assert_snapshot!(dialogue(&policy(), "
        EHLO client.example
        MAIL FROM:<a@client.example>
        RCPT TO:<b@site.example>
        DATA
        text{LF}.{LF}MAIL FROM:<evil@client.example>
        .
        MAIL FROM:<a@client.example>
        RCPT TO:<b@site.example>
        DATA
        a{NUL}b
        .
        MAIL FROM:<a@client.example>
        RCPT TO:<b@site.example>
        DATA
        {999}
        .
        MAIL FROM:<a@client.example>
        RCPT TO:<b@site.example>
        DATA
        {990}
        more
        .
        MAIL FROM:<a@client.example>
        RCPT TO:<b@site.example>
        DATA
        {990}
        {990}
        .
        RCPT TO:<b@site.example>
    "), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    554 5.6.0 Message has CR or LF alone; lines end in CRLF
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    554 5.6.0 Message contains NUL
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    554 5.6.0 Message has a line longer than 1000 octets
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    552 5.3.4 Message exceeds limit of 1000 octets
    > RCPT TO:<b@site.example>
    503 5.5.1 Send MAIL first
    ");
}

#[test]
fn a_store_that_cannot() {
    assert_snapshot!(dialogue(&policy(), "
        EHLO client.example
        MAIL FROM:<a@full.example>
        RCPT TO:<b@site.example>
        DATA
        .
        MAIL FROM:<a@broken.example>
        RCPT TO:<b@site.example>
        DATA
        .
    "), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > MAIL FROM:<a@full.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    452 4.3.1 Insufficient storage, try again later
    > MAIL FROM:<a@broken.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    451 4.3.0 Message not stored, try again later
    ");
}

#[test]
fn time_and_shutdown_end_a_session() {
    assert_snapshot!(dialogue(&policy(), "
        EHLO client.example
        (no command in time)
    "), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > (no command in time)
    421 4.4.2 hub.example Timeout waiting for a command, closing connection
    (closed)
    ");
    let sending = "
        EHLO client.example
        MAIL FROM:<a@client.example>
        RCPT TO:<b@site.example>
        DATA
        (stop)
    ";
    assert_snapshot!(dialogue(&policy(), &format!("{sending}\n(no content in time)")), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    (content goes on)
    > (no content in time)
    421 4.4.2 hub.example Timeout waiting for message content, closing connection
    (closed)
    ");
    assert_snapshot!(dialogue(&policy(), &format!("{sending}\n(content without end)")), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    (content goes on)
    > (content without end)
    421 4.7.0 Refused message does not end, closing connection
    (closed)
    ");
    assert_snapshot!(dialogue(&policy(), "(shutdown)"), @r"
    220 hub.example ESMTP Sluice ready
    > (shutdown)
    421 4.3.2 hub.example Shutting down, try again later
    (closed)
    ");
}

#[test]
fn errors_are_counted_and_forgiven_after_a_message() {
    assert_snapshot!(dialogue(&with(|policy| policy.max_errors = 3), "
        EHLO client.example
        FROB
        FROB
        MAIL FROM:<a@client.example>
        RCPT TO:<b@site.example>
        DATA
        .
        FROB
        FROB
        FROB
        NOOP
    "), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > FROB
    500 5.5.2 Command not recognized
    > FROB
    500 5.5.2 Command not recognized
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    > FROB
    500 5.5.2 Command not recognized
    > FROB
    500 5.5.2 Command not recognized
    > FROB
    421 4.7.0 Too many errors, closing connection
    (closed)
    ");
}

#[test]
fn a_session_cannot_talk_for_ever_without_a_message() {
    let idle = "NOOP\nRSET\nHELP\n".repeat(IDLE_COMMANDS_MAX as usize / 3);
    let said = dialogue(&policy(), &format!("EHLO client.example\n{idle}NOOP\n"));
    let end: Vec<&str> = said.lines().rev().take(3).collect();
    assert_eq!(
        end,
        ["(closed)", "421 4.7.0 Too many commands without a message, closing connection", "> NOOP"]
    );
    let message = "MAIL FROM:<>\nRCPT TO:<b@site.example>\nDATA\n.\n";
    let said = dialogue(&policy(), &format!("EHLO client.example\n{message}{idle}NOOP\n"));
    assert!(said.ends_with("> NOOP\n250 2.0.0 OK\n"), "a message starts the count anew");
}

#[test]
fn no_size_limit_is_offered_as_such() {
    let policy = with(|policy| policy.max_message_size = 0);
    assert!(dialogue(&policy, "EHLO client.example").contains("250-SIZE\n"));
    assert!(
        dialogue(&policy, "EHLO a.example\nMAIL FROM:<> SIZE=99999999999999999999").contains("250 2.1.0")
    );
}

#[test]
fn etrn_under_allowetrn_names_channel_and_count() {
    let policy = with(|policy| (policy.etrn, policy.etrn_per_session) = (EtrnPolicy::Allow, 99));
    assert_snapshot!(dialogue(&policy, "
        EHLO site.example
        ETRN site.example
        etrn @site.example
        ETRN #tcp_dialup
        ETRN [192.0.2.1]
        ETRN empty.example
        ETRN some.example
        ETRN five.example
        ETRN stopped.example
        ETRN often.example
        ETRN blocked.example
        ETRN elsewhere.example
        ETRN queue7
        ETRN no-such-queue
    "), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO site.example
    250-hub.example Hello site.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > ETRN site.example
    250 2.0.0 OK, queuing for node site.example started, channel tcp_dialup
    > etrn @site.example
    250 2.0.0 OK, queuing for node @site.example started, channel tcp_dialup
    > ETRN #tcp_dialup
    250 2.0.0 OK, queuing for node #tcp_dialup started, channel tcp_dialup
    > ETRN [192.0.2.1]
    250 2.0.0 OK, queuing for node [192.0.2.1] started, channel tcp_dialup
    > ETRN empty.example
    251 2.0.0 OK, no messages waiting for node empty.example
    > ETRN some.example
    252 2.0.0 OK, pending messages for node some.example started, channel tcp_dialup, tcp_two
    > ETRN five.example
    253 2.0.0 OK, 5 pending messages for node five.example started, channel tcp_dialup
    > ETRN stopped.example
    458 4.3.0 Unable to queue messages for node stopped.example
    > ETRN often.example
    458 4.7.1 Node often.example was asked for too often, try again later
    > ETRN blocked.example
    459 4.7.1 Node blocked.example not allowed: blocked for ETRN
    > ETRN elsewhere.example
    459 4.5.4 Node elsewhere.example not allowed: not served here
    > ETRN queue7
    250 2.0.0 OK, queuing for node queue7 started, channel tcp_dialup
    > ETRN no-such-queue
    501 5.5.4 Syntax Error in Parameters: ETRN domain, @domain or #queue
    ");
}

#[test]
fn etrn_under_silentetrn_tells_nothing() {
    let policy = with(|policy| policy.etrn_per_session = 99);
    let said = dialogue(
        &policy,
        "
        EHLO site.example
        ETRN site.example
        ETRN #hidden
        ETRN hidden
        ETRN empty.example
        ETRN some.example
        ETRN five.example
        ETRN mine-some.example
        ETRN mine-five.example
        ETRN mine-blocked.example
        ETRN blocked.example
        ETRN elsewhere.example
    ",
    );
    let server_lines = said.lines().filter(|line| !line.starts_with("> "));
    assert!(
        server_lines.clone().all(|line| !line.contains("tcp_dialup") && !line.contains("hidden")),
        "{said}"
    );
    assert_snapshot!(said, @r"
    220 hub.example ESMTP Sluice ready
    > EHLO site.example
    250-hub.example Hello site.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > ETRN site.example
    250 2.0.0 OK, queuing for node site.example started
    > ETRN #hidden
    250 2.0.0 OK, queuing for node as named started
    > ETRN hidden
    250 2.0.0 OK, queuing for node as named started
    > ETRN empty.example
    250 2.0.0 OK, queuing for node empty.example started
    > ETRN some.example
    250 2.0.0 OK, queuing for node some.example started
    > ETRN five.example
    250 2.0.0 OK, queuing for node five.example started
    > ETRN mine-some.example
    252 2.0.0 OK, pending messages for node mine-some.example started
    > ETRN mine-five.example
    253 2.0.0 OK, 5 pending messages for node mine-five.example started
    > ETRN mine-blocked.example
    459 4.7.1 Node mine-blocked.example not allowed: blocked for ETRN
    > ETRN blocked.example
    459 4.5.4 Node blocked.example not allowed: not served here
    > ETRN elsewhere.example
    459 4.5.4 Node elsewhere.example not allowed: not served here
    ");
}

#[test]
fn etrn_under_domainetrn_serves_only_the_domain_form() {
    let lines = "
        EHLO site.example
        ETRN site.example
        ETRN @site.example
        ETRN #tcp_dialup
        ETRN queue7
    ";
    let domain =
        |plain| with(|policy| (policy.etrn, policy.etrn_per_session) = (EtrnPolicy::Domain { plain }, 99));
    assert_snapshot!(dialogue(&domain(false), lines), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO site.example
    250-hub.example Hello site.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > ETRN site.example
    459 4.7.1 Node site.example not allowed: use ETRN @domain
    > ETRN @site.example
    250 2.0.0 OK, queuing for node @site.example started
    > ETRN #tcp_dialup
    459 4.7.1 Node as named not allowed: queues are not released here
    > ETRN queue7
    501 5.5.4 Syntax Error in Parameters: ETRN domain, @domain or #queue
    ");
    assert_snapshot!(dialogue(&domain(true), lines), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO site.example
    250-hub.example Hello site.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > ETRN site.example
    250 2.0.0 OK, queuing for node site.example started
    > ETRN @site.example
    250 2.0.0 OK, queuing for node @site.example started
    > ETRN #tcp_dialup
    459 4.7.1 Node as named not allowed: queues are not released here
    > ETRN queue7
    501 5.5.4 Syntax Error in Parameters: ETRN domain, @domain or #queue
    ");
}

#[test]
fn etrn_switched_off_is_not_offered() {
    assert_snapshot!(dialogue(&with(|policy| policy.etrn = EtrnPolicy::Disable), "
        ETRN site.example
        EHLO site.example
        ETRN site.example
        HELP
    "), @r"
    220 hub.example ESMTP Sluice ready
    > ETRN site.example
    502 5.5.1 ETRN not implemented
    > EHLO site.example
    250-hub.example Hello site.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250 HELP
    > ETRN site.example
    502 5.5.1 ETRN not implemented
    > HELP
    214-2.0.0 Commands: HELO EHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT
    214 2.0.0 See RFC 5321; for ETRN see RFC 1985
    ");
}

#[test]
fn etrn_inside_a_transaction_leaves_it_intact() {
    assert_snapshot!(dialogue(&policy(), "
        EHLO client.example
        MAIL FROM:<a@client.example>
        ETRN site.example
        RCPT TO:<b@site.example>
        ETRN site.example
        DATA
        .
        ETRN site.example
    "), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > ETRN site.example
    503 5.5.1 ETRN not allowed inside a mail transaction
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > ETRN site.example
    503 5.5.1 ETRN not allowed inside a mail transaction
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    > ETRN site.example
    250 2.0.0 OK, queuing for node site.example started
    ");
}

#[test]
fn etrn_is_limited_per_session() {
    assert_snapshot!(dialogue(&with(|policy| policy.etrn_per_session = 1), "
        EHLO client.example
        ETRN a..b
        ETRN a.example
        ETRN b.example
        NOOP
        ETRN b.example
        ETRN b.example
        ETRN b.example
        ETRN b.example
        ETRN b.example
        ETRN b.example
        ETRN b.example
        ETRN b.example
        NOOP
    "), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250 HELP
    > ETRN a..b
    501 5.5.4 Syntax Error in Parameters: ETRN domain, @domain or #queue
    > ETRN a.example
    250 2.0.0 OK, queuing for node a.example started
    > ETRN b.example
    458 4.7.1 ETRN session limit reached
    > NOOP
    250 2.0.0 OK
    > ETRN b.example
    458 4.7.1 ETRN session limit reached
    > ETRN b.example
    458 4.7.1 ETRN session limit reached
    > ETRN b.example
    458 4.7.1 ETRN session limit reached
    > ETRN b.example
    458 4.7.1 ETRN session limit reached
    > ETRN b.example
    458 4.7.1 ETRN session limit reached
    > ETRN b.example
    458 4.7.1 ETRN session limit reached
    > ETRN b.example
    458 4.7.1 ETRN session limit reached
    > ETRN b.example
    421 4.7.0 Too many ETRN commands, closing connection
    (closed)
    ");
}

#[test]
fn malformed_nodes() {
    let long_label = format!("ETRN {}.example", "x".repeat(64));
    let long_domain = format!("ETRN {}example", "label.".repeat(42));
    let long_queue = format!("ETRN #{}", "q".repeat(64));
    let nodes = [
        "ETRN",
        "ETRN a.example b.example",
        "ETRN example",
        "ETRN @com",
        "ETRN @ a.example",
        "ETRN #",
        "ETRN # a",
        "ETRN #a/b",
        "ETRN %a.example",
        "ETRN -a.example",
        "ETRN a-.example",
        "ETRN .a.example",
        "ETRN a.example.",
        "ETRN a_b.example",
        "ETRN [1.2.3]",
        "ETRN [1.2.3.4",
        "ETRN [IPv6:x]",
        "ETRN @[1.2.3.4]",
        "ETRN \u{fc}.example",
        "ETRN @@a.example",
        "ETRN #../../etc/passwd",
        "ETRN 'a.example",
        &long_label,
        &long_domain,
        &long_queue,
    ];
    for line in nodes {
        let said = dialogue(&policy(), &format!("EHLO a.example\n{line}"));
        assert!(
            said.ends_with("501 5.5.4 Syntax Error in Parameters: ETRN domain, @domain or #queue\n"),
            "{said}"
        );
    }
    for line in ["ETRN a.example  ", "ETRN\t[IPv6:2001:db8::1]", "ETRN #A$b_c.d-e", "ETRN XN--A.example"] {
        let said = dialogue(&policy(), &format!("EHLO a.example\n{line}"));
        assert!(said.contains("\n250 2.0.0 OK, queuing for node"), "{said}");
    }
}
