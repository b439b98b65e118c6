//! Dialogues: each case is the whole conversation as it must happen. `S:` is what the server says, `C:` what the client
//! must say, `=` the verdict on a recipient, `>` how the connection stands at the end. `!` is a mishap.

#![allow(clippy::unwrap_used)]

use super::transaction::{GROUP_BYTES_MAX, GROUP_RECIPIENTS_MAX};
use super::*;

pub(super) const BASE: Mail<'static> = Mail {
    sender: "s@a.example",
    size: Some(123),
    eight_bit: false,
    smtputf8: false,
    chunk: None,
    wishes: None,
};

pub(super) struct Case<'a> {
    manner: Manner,
    mails: Vec<(Mail<'a>, Vec<&'a str>)>,
    /// Envelopes go with the message before, where they may.
    ahead: bool,
}

pub(super) fn case<'a>(recipients: &[&'a str]) -> Case<'a> {
    let manner = Manner { name: "me.example".into(), peer: "mx".into(), ..Manner::default() };
    Case { manner, mails: vec![(BASE, recipients.to_vec())], ahead: false }
}

impl<'a> Case<'a> {
    pub(super) fn mail(mut self, mail: Mail<'a>) -> Self {
        self.mails[0].0 = mail;
        self
    }

    pub(super) fn then(mut self, recipients: &[&'a str]) -> Self {
        self.mails.push((BASE, recipients.to_vec()));
        self
    }

    pub(super) fn ahead(mut self) -> Self {
        self.ahead = true;
        self
    }

    pub(super) fn manner(mut self, change: impl FnOnce(&mut Manner)) -> Self {
        change(&mut self.manner);
        self
    }

    /// Plays the server's part of `script` and compares the whole conversation with it, with the server's bytes
    /// arriving in one piece, in every small size, and one by one.
    pub(super) fn plays(&self, script: &str) {
        let script: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        for piece in [usize::MAX, 7, 1] {
            let seen = self.play(&script, piece);
            assert_eq!(
                seen,
                script,
                "\n--- seen (pieces of {piece}):\n{}\n--- script:\n{}\n",
                seen.join("\n"),
                script.join("\n")
            );
        }
    }

    fn play(&self, script: &[&str], piece: usize) -> Vec<String> {
        let mut client = Client::new(self.manner.clone());
        let mut seen: Vec<String> = Vec::new();
        let mut mails = self.mails.iter();
        let mut current: &[&str] = &[];
        let mut has_begun = false;
        loop {
            assert!(seen.len() < 500, "this goes round: {seen:?}");
            match client.step() {
                Step::StartTls => panic!("nobody has asked for TLS"),
                Step::Write => {
                    let text = String::from_utf8(client.output().to_vec()).unwrap();
                    assert!(text.ends_with("\r\n"));
                    seen.extend(text.split_terminator("\r\n").map(|line| format!("C: {line}")));
                    client.output_sent();
                }
                Step::Read(_) => {
                    let mut said = 0;
                    while let Some(line) = script.get(seen.len()) {
                        let Some(reply) = line.strip_prefix("S: ") else { break };
                        said += 1;
                        seen.push(line.to_string());
                        for bytes in format!("{reply}\r\n").as_bytes().chunks(piece.min(1000)) {
                            client.receive(bytes);
                        }
                    }
                    if said == 0 {
                        let mishap = script.get(seen.len()).copied().unwrap_or("the script ends");
                        match mishap {
                            "! closed" => client.lost(&Loss::Closed),
                            "! late" => client.lost(&Loss::TimedOut),
                            "! stop" => client.lost(&Loss::Stopping),
                            _ => {
                                seen.push(format!("(the client waits, next in the script: {mishap})"));
                                return seen;
                            }
                        }
                        seen.push(mishap.to_string());
                    }
                }
                Step::Content => {
                    let chunk =
                        client.chunk().map(|line| String::from_utf8_lossy(line).trim_end().to_owned());
                    seen.extend(chunk.map(|line| format!("C: {line}")));
                    seen.push("C: (message)".into());
                    if let Some((mail, recipients)) = mails.clone().next().filter(|_| self.ahead) {
                        has_begun = client.begin_next(mail, recipients.iter().copied());
                        assert_eq!(client.has_begun_next(), has_begun);
                    }
                    let ahead = String::from_utf8(client.envelope_ahead().concat()).unwrap();
                    seen.extend(ahead.split_terminator("\r\n").map(|line| format!("C: {line}")));
                    if script.get(seen.len()) == Some(&"! cut") {
                        seen.push("! cut".into());
                        client.lost(&Loss::Failed("broken pipe".into()));
                    } else {
                        client.content_sent();
                    }
                }
                Step::Settled(settled) => {
                    assert_eq!(settled.verdicts.len(), current.len());
                    for (recipient, verdict) in current.iter().zip(&settled.verdicts) {
                        let kind = match &verdict.outcome {
                            Outcome::Delivered { .. } => "delivered",
                            Outcome::Deferred { .. } => "deferred",
                            Outcome::Failed { .. } => "failed",
                        };
                        let (status, text, peer) =
                            (verdict.outcome.status(), verdict.outcome.text(), verdict.outcome.peer());
                        let more = if verdict.surplus { " (surplus)" } else { "" };
                        let peer = if peer.is_empty() { "we" } else { peer };
                        seen.push(format!("= {recipient} {kind} {status}, {peer}: {text}{more}"));
                    }
                    if settled.stale {
                        seen.push("= stale".into());
                    }
                    if std::mem::take(&mut has_begun)
                        && let Some((mail, recipients)) = mails.next()
                    {
                        current = recipients;
                        client.begin(mail, recipients.iter().copied());
                        assert!(!client.has_begun_next());
                    }
                }
                Step::Ready if script.get(seen.len()).is_some_and(|line| line.starts_with("! ")) => {
                    let line = script[seen.len()];
                    seen.push(line.to_string());
                    client.receive(format!("{}\r\n", &line[2..]).as_bytes());
                }
                Step::Ready => match mails.next() {
                    Some((mail, recipients)) => {
                        current = recipients;
                        client.begin(mail, recipients.iter().copied());
                    }
                    None => client.quit(),
                },
                Step::Over(ending) => {
                    let polite = if ending.polite { " (polite)" } else { "" };
                    seen.push(format!("> {} {}{polite}", ending.outcome.status(), ending.outcome.text()));
                    return seen;
                }
            }
        }
    }
}

#[test]
fn a_message_one_command_at_a_time() {
    case(&["r@b.example"]).plays(
        "S: 220 mx ESMTP
         C: EHLO me.example
         S: 250 mx
         C: MAIL FROM:<s@a.example>
         S: 250 ok
         C: RCPT TO:<r@b.example>
         S: 250 ok
         C: DATA
         S: 354 go
         C: (message)
         S: 250 2.0.0 queued as 4711
         = r@b.example delivered 2.0.0, mx: 250 2.0.0 queued as 4711
         C: QUIT
         S: 221 bye
         > 4.0.0 the connection was closed by us",
    );
}

#[test]
fn two_messages_in_groups() {
    case(&["r@b", "q@b"]).then(&["r@b"]).plays(
        "S: 220-mx ESMTP
         S: 220 welcome
         C: EHLO me.example
         S: 250-mx
         S: 250-PIPELINING
         S: 250-SIZE 1000000
         S: 250 8BITMIME
         C: MAIL FROM:<s@a.example> SIZE=123
         C: RCPT TO:<r@b>
         C: RCPT TO:<q@b>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 550 5.1.1 no such user
         S: 354 go
         C: (message)
         S: 250-2.6.0 one
         S: 250 2.6.0 two
         = r@b delivered 2.6.0, mx: 250 2.6.0 one two
         = q@b failed 5.1.1, mx: 550 5.1.1 no such user
         C: MAIL FROM:<s@a.example> SIZE=123
         C: RCPT TO:<r@b>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 354 go
         C: (message)
         S: 451 not now
         = r@b deferred 4.3.0, mx: 451 not now
         C: QUIT
         S: 221 bye
         > 4.0.0 the connection was closed by us",
    );
}

#[test]
fn helo_where_ehlo_is_unknown() {
    for refusal in ["500 what?", "502 no", "504 no", "501 no", "550 5.7.1 no"] {
        case(&[]).plays(&format!(
            "S: 220 mx
             C: EHLO me.example
             S: {refusal}
             C: HELO me.example
             S: 250 mx
             C: QUIT
             S: 221 bye
             > 4.0.0 the connection was closed by us"
        ));
    }
}

#[test]
fn helo_as_configured() {
    let helo = "S: 220 mx here
         C: HELO me.example
         S: 250 mx
         C: MAIL FROM:<s@a.example>
         ! closed
         = r@b deferred 4.4.2, mx: connection lost while waiting for the reply to MAIL
         > 4.4.2 connection lost while waiting for the reply to MAIL";
    case(&["r@b"]).manner(|m| m.hello = Hello::Helo).plays(helo);
    case(&["r@b"]).manner(|m| m.hello = Hello::IfAnnounced).plays(helo);
    case(&["r@b"]).manner(|m| m.hello = Hello::IfAnnounced).plays(
        "S: 220 mx esmtp here
         C: EHLO me.example
         ! closed
         > 4.4.2 connection lost while waiting for the reply to EHLO",
    );
}

#[test]
fn a_server_that_does_not_want_us() {
    case(&["r@b"]).plays("S: 554 5.3.2 go away\n> 5.3.2 554 5.3.2 go away (polite)");
    case(&["r@b"]).plays("S: 521 no mail here\n> 5.3.2 521 no mail here (polite)");
    case(&["r@b"]).plays("S: 450 later\n> 4.0.0 450 later (polite)");
    case(&["r@b"]).plays("S: 421 4.7.0 too many connections\n> 4.7.0 421 4.7.0 too many connections");
    case(&["r@b"]).plays("! late\n> 4.4.2 timed out while waiting for the greeting");
    case(&["r@b"]).plays("S: 220 a\nC: EHLO me.example\nS: 451 later\n> 4.3.0 451 later (polite)");
    case(&["r@b"]).plays(
        "S: 220 a\nC: EHLO me.example\nS: 502 what\nC: HELO me.example\nS: 550 5.7.1 no\n> 5.7.1 550 5.7.1 no (polite)",
    );
}

#[test]
fn etrn_before_the_first_mail_and_once() {
    for reply in
        ["250 OK, queuing for node me.example started", "459 4.7.1 not you", "500 what", "253 OK, 12 pending"]
    {
        case(&["r@b"]).then(&["q@b"]).manner(|m| m.etrn = Some("me.example".into())).plays(&format!(
            "S: 220 mx
             C: EHLO me.example
             S: 250-mx
             S: 250-ETRN
             S: 250 PIPELINING
             C: ETRN me.example
             S: {reply}
             C: MAIL FROM:<s@a.example>
             C: RCPT TO:<r@b>
             C: DATA
             S: 250 ok
             S: 250 ok
             S: 354 go
             C: (message)
             S: 250 done
             = r@b delivered 2.0.0, mx: 250 done
             C: MAIL FROM:<s@a.example>
             C: RCPT TO:<q@b>
             C: DATA
             ! closed
             = q@b deferred 4.4.2, mx: connection lost while waiting for the reply to MAIL
             = stale
             > 4.4.2 connection lost while waiting for the reply to MAIL"
        ));
    }
}

#[test]
fn no_etrn_where_it_is_not_offered() {
    case(&["r@b"]).manner(|m| m.etrn = Some("me.example".into())).plays(
        "S: 220 mx
         C: EHLO me.example
         S: 250 mx
         C: MAIL FROM:<s@a.example>
         S: 421 4.3.2 shutting down
         = r@b deferred 4.3.2, mx: 421 4.3.2 shutting down
         > 4.3.2 421 4.3.2 shutting down",
    );
    let mut client = Client::new(Manner { etrn: Some("@example.com".into()), ..Manner::default() });
    client.receive(b"220 mx\r\n");
    client.output_sent();
    client.receive(b"250-mx\r\n250 ETRN\r\n");
    assert_eq!(client.output(), b"ETRN @example.com\r\n");
    client.output_sent();
    client.receive(b"252 OK, pending messages for node example.com started\r\n");
    assert_eq!(client.etrn_reply(), Some("252 OK, pending messages for node example.com started"));
    assert_eq!(client.step(), Step::Ready);
}

const OPEN: &str = "S: 220 mx
    C: EHLO me.example
    S: 250 mx
    ";
const OPEN_PIPELINING: &str = "S: 220 mx
    C: EHLO me.example
    S: 250-mx
    S: 250 PIPELINING
    ";
const QUIT: &str = "
    C: QUIT
    S: 221 bye
    > 4.0.0 the connection was closed by us";

fn open(rest: &str) -> String {
    format!("{OPEN}{rest}{QUIT}")
}

fn open_pipelining(rest: &str) -> String {
    format!("{OPEN_PIPELINING}{rest}{QUIT}")
}

#[test]
fn mail_refused() {
    for (reply, verdict) in [
        ("550 5.7.1 no", "failed 5.7.1, mx: 550 5.7.1 no"),
        ("552 too big", "failed 5.3.4, mx: 552 too big"),
        ("452 4.3.1 full", "deferred 4.3.1, mx: 452 4.3.1 full"),
        ("451 later", "deferred 4.3.0, mx: 451 later"),
        ("501 syntax", "failed 5.1.7, mx: 501 syntax"),
    ] {
        case(&["r@b", "q@b"]).plays(&open(&format!(
            "C: MAIL FROM:<s@a.example>\nS: {reply}\n= r@b {verdict}\n= q@b {verdict}"
        )));
        // In a group the rest of the group is refused too, and that says nothing.
        case(&["r@b", "q@b"]).plays(&open_pipelining(&format!(
            "C: MAIL FROM:<s@a.example>\nC: RCPT TO:<r@b>\nC: RCPT TO:<q@b>\nC: DATA
             S: {reply}\nS: 503 no mail\nS: 503 no mail\nS: 503 no mail\n= r@b {verdict}\n= q@b {verdict}"
        )));
        // A server that wants data all the same gets an empty message.
        case(&["r@b"]).plays(&open_pipelining(&format!(
            "C: MAIL FROM:<s@a.example>\nC: RCPT TO:<r@b>\nC: DATA
             S: {reply}\nS: 250 ok\nS: 354 go\nC: .\nS: 250 thanks\n= r@b {verdict}"
        )));
    }
}

#[test]
fn recipients_refused() {
    case(&["r@b", "q@b", "p@b"]).then(&["r@b"]).plays(&open(
        "C: MAIL FROM:<s@a.example>
         S: 250 ok
         C: RCPT TO:<r@b>
         S: 550 no such user
         C: RCPT TO:<q@b>
         S: 450 busy
         C: RCPT TO:<p@b>
         S: 553 what?
         = r@b failed 5.1.1, mx: 550 no such user
         = q@b deferred 4.2.0, mx: 450 busy
         = p@b failed 5.1.3, mx: 553 what?
         C: RSET
         S: 250 ok
         C: MAIL FROM:<s@a.example>
         S: 250 ok
         C: RCPT TO:<r@b>
         S: 251 will forward
         C: DATA
         S: 354 go
         C: (message)
         S: 250 ok
         = r@b delivered 2.0.0, mx: 250 ok",
    ));
}

#[test]
fn all_recipients_of_a_group_refused() {
    case(&["r@b"]).then(&["q@b"]).plays(&open_pipelining(
        "C: MAIL FROM:<s@a.example>
         C: RCPT TO:<r@b>
         C: DATA
         S: 250 ok
         S: 550 no
         S: 554 no valid recipients
         = r@b failed 5.1.1, mx: 550 no
         C: RSET
         C: MAIL FROM:<s@a.example>
         C: RCPT TO:<q@b>
         C: DATA
         S: 250 reset
         S: 250 ok
         S: 550 no
         S: 354 go
         C: .
         S: 554 no recipients
         = q@b failed 5.1.1, mx: 550 no",
    ));
}

#[test]
fn data_refused() {
    case(&["r@b", "q@b"]).then(&["r@b"]).plays(
        &(OPEN_PIPELINING.to_owned()
            + "C: MAIL FROM:<s@a.example>
         C: RCPT TO:<r@b>
         C: RCPT TO:<q@b>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 550 no
         S: 451 4.3.5 not now
         = r@b deferred 4.3.5, mx: 451 4.3.5 not now
         = q@b failed 5.1.1, mx: 550 no
         C: RSET
         C: MAIL FROM:<s@a.example>
         C: RCPT TO:<r@b>
         C: DATA
         S: 250 reset
         ! closed
         = r@b deferred 4.4.2, mx: connection lost while waiting for the reply to MAIL
         = stale
         > 4.4.2 connection lost while waiting for the reply to MAIL"),
    );
    // RSET refused: what the server holds is unknown, so the connection goes.
    case(&["r@b"]).then(&["r@b"]).plays(&format!(
        "{OPEN}C: MAIL FROM:<s@a.example>
         S: 250 ok
         C: RCPT TO:<r@b>
         S: 550 no
         = r@b failed 5.1.1, mx: 550 no
         C: RSET
         S: 502 what
         = r@b deferred 4.5.0, mx: protocol violation: RSET was refused: 502 what
         = stale
         > 4.5.0 protocol violation: RSET was refused: 502 what"
    ));
}

#[test]
fn too_many_recipients_are_sent_in_another_transaction() {
    case(&["r@b", "q@b", "p@b"]).plays(&open(
        "C: MAIL FROM:<s@a.example>
         S: 250 ok
         C: RCPT TO:<r@b>
         S: 250 ok
         C: RCPT TO:<q@b>
         S: 452 4.5.3 too many
         C: DATA
         S: 354 go
         C: (message)
         S: 250 ok
         = r@b delivered 2.0.0, mx: 250 ok
         = q@b deferred 4.5.3, mx: 452 4.5.3 too many (surplus)
         = p@b deferred 4.5.3, mx: the server takes no more recipients at once (surplus)",
    ));
    case(&["r@b", "q@b", "p@b"]).plays(&open_pipelining(
        "C: MAIL FROM:<s@a.example>
         C: RCPT TO:<r@b>
         C: RCPT TO:<q@b>
         C: RCPT TO:<p@b>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 552 too many
         S: 452 4.2.2 mailbox full
         S: 354 go
         C: (message)
         S: 250 ok
         = r@b delivered 2.0.0, mx: 250 ok
         = q@b deferred 4.5.3, mx: 552 too many (surplus)
         = p@b deferred 4.2.2, mx: 452 4.2.2 mailbox full",
    ));
    // Nobody was taken: another transaction would go the same way.
    case(&["r@b"]).plays(&open(
        "C: MAIL FROM:<s@a.example>\nS: 250 ok\nC: RCPT TO:<r@b>\nS: 552 5.2.2 full\n= r@b deferred 4.2.2, mx: 552 5.2.2 full",
    ));
}

#[test]
fn the_line_drops() {
    let mishap = |before: &str, what: &str, own: &str| {
        case(&["r@b", "q@b"]).plays(&format!(
            "{OPEN_PIPELINING}C: MAIL FROM:<s@a.example>\nC: RCPT TO:<r@b>\nC: RCPT TO:<q@b>\nC: DATA
             {before}
             = r@b {own}
             = q@b deferred 4.4.2, mx: {what}
             > 4.4.2 {what}"
        ));
    };
    let lost = |what: &str| format!("connection lost while waiting for the reply to {what}");
    let own = |what: &str| format!("deferred 4.4.2, mx: {}", lost(what));
    mishap("! closed", &lost("MAIL"), &own("MAIL"));
    mishap("S: 250 ok\n! closed", &lost("RCPT"), &own("RCPT"));
    // What the server has said of a recipient stays said.
    mishap("S: 250 ok\nS: 550 no\n! closed", &lost("RCPT"), "failed 5.1.1, mx: 550 no");
    mishap("S: 250 ok\nS: 250 ok\n! closed", &lost("RCPT"), &own("RCPT"));
    mishap("S: 250 ok\nS: 550 no\nS: 250 ok\n! closed", &lost("DATA"), "failed 5.1.1, mx: 550 no");
    let content = "S: 250 ok\nS: 550 no\nS: 250 ok\nS: 354 go\nC: (message)\n";
    mishap(&format!("{content}! closed"), &lost("the end of the message"), "failed 5.1.1, mx: 550 no");
    mishap(
        &format!("{content}! late"),
        "timed out while waiting for the reply to the end of the message",
        "failed 5.1.1, mx: 550 no",
    );
    mishap(
        &format!("{content}! cut"),
        "connection lost while sending the message: broken pipe",
        "failed 5.1.1, mx: 550 no",
    );
}

#[test]
fn stopping_is_not_the_peers_fault() {
    case(&["r@b"]).plays(&format!(
        "{OPEN}C: MAIL FROM:<s@a.example>\n! stop\n= r@b deferred 4.3.2, mx: stopped while waiting for the reply to MAIL
         > 4.3.2 stopped while waiting for the reply to MAIL"
    ));
}

#[test]
fn protocol_violations_defer_and_end_the_connection() {
    let violation = |before: &str, why: &str| {
        case(&["r@b"]).plays(&format!(
            "{OPEN_PIPELINING}C: MAIL FROM:<s@a.example>\nC: RCPT TO:<r@b>\nC: DATA
             {before}
             = r@b deferred 4.5.0, mx: protocol violation: {why}
             > 4.5.0 protocol violation: {why}"
        ));
    };
    violation("S: 250 ok\nS: 250 ok\nS: 250 ok", "DATA was answered without 354: 250 ok");
    violation("S: 354 go", "no possible answer to what was asked (the reply to MAIL): 354 go");
    violation(
        "S: 250 ok\nS: 250 ok\nS: 334 x",
        "no possible answer to what was asked (the reply to DATA): 334 x",
    );
    violation("S: hello", "not an SMTP reply: \"hello\"");
    violation("S: 250-ok\nS: 550 no", "a reply that began with code 250 goes on with 550");
    violation(
        "S: 250 ok\nS: 250 ok\nS: 354 go\nC: (message)\nS: 354 go on",
        "no possible answer to what was asked (the reply to the end of the message): 354 go on",
    );
}

#[test]
fn replies_that_nobody_asked_for_end_the_connection() {
    // While the message is being sent: a second answer to DATA, say.
    let mut client = ready_for_content();
    client.receive(b"250 done already\r\n");
    assert!(
        matches!(client.step(), Step::Settled(settled) if matches!(settled.verdicts[0].outcome, Outcome::Deferred { .. }))
    );
    assert!(matches!(client.step(), Step::Over(_)));
    // Half a line is enough.
    let mut client = ready_for_content();
    client.receive(b"2");
    assert!(matches!(client.step(), Step::Settled(settled) if !settled.verdicts[0].outcome.is_final()));
    // Between transactions.
    case(&["r@b"]).plays(&format!(
        "{OPEN}! 250 what\n> 4.5.0 protocol violation: the server speaks without being asked: 250 what"
    ));
    case(&["r@b"]).plays(&format!("{OPEN}! 421 4.4.2 idle\n> 4.4.2 421 4.4.2 idle"));
}

fn ready_for_content() -> Client {
    let mut client = Client::new(Manner { name: "me".into(), peer: "mx".into(), ..Manner::default() });
    client.receive(b"220 mx\r\n");
    client.output_sent();
    client.receive(b"250-mx\r\n250 PIPELINING\r\n");
    client.begin(&BASE, ["r@b"]);
    client.output_sent();
    client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(client.step(), Step::Content);
    client
}

#[test]
fn a_connection_that_ended_between_messages_is_stale() {
    for (mishap, text) in [
        ("S: 421 4.4.2 idle too long", "4.4.2, mx: 421 4.4.2 idle too long"),
        ("! closed", "4.4.2, mx: connection lost while waiting for the reply to MAIL"),
    ] {
        let end = text.replace(", mx:", "");
        case(&["r@b"]).then(&["q@b"]).plays(&format!(
            "{OPEN}C: MAIL FROM:<s@a.example>\nS: 550 no\n= r@b failed 5.0.0, mx: 550 no
             C: MAIL FROM:<s@a.example>\n{mishap}\n= q@b deferred {text}\n= stale\n> {end}"
        ));
        // The first message of a connection is not stale: the peer is to blame.
        case(&["r@b"])
            .plays(&format!("{OPEN}C: MAIL FROM:<s@a.example>\n{mishap}\n= r@b deferred {text}\n> {end}"));
    }
    // Once MAIL was answered, too.
    case(&["r@b"]).then(&["q@b"]).plays(&format!(
        "{OPEN}C: MAIL FROM:<s@a.example>\nS: 550 no\n= r@b failed 5.0.0, mx: 550 no
         C: MAIL FROM:<s@a.example>\nS: 250 ok\nC: RCPT TO:<q@b>\nS: 421 bye\n= q@b deferred 4.3.2, mx: 421 bye\n> 4.3.2 421 bye"
    ));
}

#[test]
fn parameters_of_mail() {
    let offers = "S: 220 mx\nC: EHLO me.example\nS: 250-mx\nS: 250-SIZE\nS: 250-8BITMIME\nS: 250 SMTPUTF8\n";
    let line = |mail: Mail<'static>, line: &str| {
        case(&["r@b"]).mail(mail).plays(&format!(
            "{offers}C: MAIL FROM:{line}\n! stop\n= r@b deferred 4.3.2, mx: stopped while waiting for the reply to MAIL
             > 4.3.2 stopped while waiting for the reply to MAIL"
        ));
    };
    line(BASE, "<s@a.example> SIZE=123");
    line(Mail { size: None, ..BASE }, "<s@a.example>");
    line(Mail { sender: "", ..BASE }, "<> SIZE=123");
    line(Mail { eight_bit: true, ..BASE }, "<s@a.example> SIZE=123 BODY=8BITMIME");
    line(Mail { smtputf8: true, ..BASE }, "<s@a.example> SIZE=123 SMTPUTF8");
    line(Mail { sender: "\u{e9}@a", ..BASE }, "<\u{e9}@a> SIZE=123 SMTPUTF8");
    line(Mail { sender: "@x,@y:\"a > b\\\" <\"@a", ..BASE }, "<@x,@y:\"a > b\\\" <\"@a> SIZE=123");
}

#[test]
fn what_the_server_cannot_take_is_refused_without_asking_it() {
    let refused = |mail: Mail<'static>, verdict: &str| {
        case(&["r@b"]).mail(mail).plays(&open(&format!("= r@b failed {verdict}")));
    };
    refused(
        Mail { eight_bit: true, ..BASE },
        "5.6.3, we: the message has 8-bit content and mx does not offer 8BITMIME",
    );
    refused(
        Mail { smtputf8: true, ..BASE },
        "5.6.7, we: the message needs SMTPUTF8, which mx does not offer",
    );
    refused(
        Mail { sender: "\u{e9}@a", ..BASE },
        "5.6.7, we: the message needs SMTPUTF8, which mx does not offer",
    );
    // Only the recipients that need it.
    case(&["\u{e9}@b", "r@b"]).plays(&open(
        "C: MAIL FROM:<s@a.example>
         S: 250 ok
         C: RCPT TO:<r@b>
         S: 250 ok
         C: DATA
         S: 354 go
         C: (message)
         S: 250 ok
         = \u{e9}@b failed 5.6.7, we: the address needs SMTPUTF8, which mx does not offer
         = r@b delivered 2.0.0, mx: 250 ok",
    ));
    // The keyword `eightbit` says that the peer can, whatever it offers.
    case(&["r@b"])
        .mail(Mail { eight_bit: true, ..BASE })
        .manner(|m| m.eight_bit = true)
        .plays(&open("C: MAIL FROM:<s@a.example>\nS: 550 no\n= r@b failed 5.0.0, mx: 550 no"));
}

#[test]
fn no_address_can_smuggle_a_command() {
    for hostile in [
        "r@b>\r\nDATA",
        "r@b\nX",
        "r@b> SIZE=1",
        "a b@c",
        "<r@b",
        "\"a@b",
        "\"a\\\"@b",
        "",
        "r\u{0}@b",
        "r\u{85}@b",
        "r\u{7f}@b",
    ] {
        let shown = verdict::printable(hostile);
        case(&[hostile]).play(&[], 1);
        let mut client = Client::new(Manner { name: "me".into(), ..Manner::default() });
        client.receive(b"220 mx\r\n");
        client.output_sent();
        client.receive(b"250-mx\r\n250-SMTPUTF8\r\n250 PIPELINING\r\n");
        client.begin(&BASE, [hostile, "r@b"]);
        assert_eq!(client.output(), b"MAIL FROM:<s@a.example>\r\nRCPT TO:<r@b>\r\nDATA\r\n", "{shown}");
        client.output_sent();
        client.receive(b"550 no\r\n503 no\r\n503 no\r\n");
        let Step::Settled(settled) = client.step() else { panic!("not settled: {shown}") };
        assert_eq!(settled.verdicts[0].outcome.status(), Status::new(5, 1, 3), "{shown}");
        assert_eq!(client.step(), Step::Ready);
        if !hostile.is_empty() {
            client.begin(&Mail { sender: hostile, ..BASE }, ["r@b"]);
            let Step::Settled(settled) = client.step() else { panic!("not settled: {shown}") };
            assert_eq!(settled.verdicts[0].outcome.status(), Status::new(5, 1, 7), "{shown}");
        }
    }
    let mut client = Client::new(Manner { name: "me\r\nMAIL FROM:<x>".into(), ..Manner::default() });
    client.receive(b"220 mx\r\n");
    assert_eq!(client.output(), b"EHLO meMAIL FROM:<x>\r\n");
}

#[test]
fn many_recipients_go_in_bounded_groups() {
    let recipients: Vec<String> = (0..500).map(|n| format!("recipient-number-{n}@b.example")).collect();
    let mut client = Client::new(Manner { name: "me".into(), ..Manner::default() });
    client.receive(b"220 mx\r\n");
    client.output_sent();
    client.receive(b"250-mx\r\n250 PIPELINING\r\n");
    client.begin(&BASE, recipients.iter().map(String::as_str));
    let (mut groups, mut commands) = (0, 0);
    loop {
        match client.step() {
            Step::Write => {
                groups += 1;
                let sent = String::from_utf8(client.output().to_vec()).unwrap();
                assert!(sent.len() < GROUP_BYTES_MAX + 1000);
                client.output_sent();
                for line in sent.lines() {
                    commands += 1;
                    let n = commands;
                    let reply: &[u8] = match line.as_bytes() {
                        b"DATA" => b"354 go\r\n",
                        _ if n % 3 == 0 => b"550 no\r\n",
                        _ => b"250 ok\r\n",
                    };
                    client.receive(reply);
                }
            }
            Step::Content => {
                client.content_sent();
                client.receive(b"250 done\r\n");
            }
            Step::Settled(settled) => {
                assert_eq!((groups, commands), (500 / GROUP_RECIPIENTS_MAX + 1, 502));
                for (n, verdict) in settled.verdicts.iter().enumerate() {
                    assert_eq!(matches!(verdict.outcome, Outcome::Failed { .. }), (n + 2) % 3 == 0, "{n}");
                }
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_recipient_gets_one_verdict_wherever_a_dialogue_is_cut_or_spoiled() {
    let reply = b"220 mx\r\n250-mx\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n250 done\r\n";
    // The server's bytes with one byte changed to something else, and then the end of the connection.
    for at in 0..=reply.len() {
        for put in [None, Some(b'\n'), Some(b'5'), Some(b'4'), Some(b'-'), Some(0xff)] {
            let mut bytes = reply.to_vec();
            match put {
                None => bytes.truncate(at),
                Some(byte) if at < bytes.len() => bytes[at] = byte,
                Some(_) => continue,
            }
            let mut client =
                Client::new(Manner { name: "me".into(), peer: "mx".into(), ..Manner::default() });
            let (mut bytes, mut begun, mut settled) = (bytes.into_iter(), false, 0);
            loop {
                match client.step() {
                    Step::StartTls => panic!("nobody has asked for TLS"),
                    Step::Write => client.output_sent(),
                    Step::Read(_) => match bytes.next() {
                        Some(byte) => client.receive(&[byte]),
                        None => client.lost(&Loss::Closed),
                    },
                    Step::Content => client.content_sent(),
                    Step::Ready if begun => client.quit(),
                    Step::Ready => {
                        begun = true;
                        client.begin(&BASE, ["r@b", "q@b"]);
                    }
                    Step::Settled(end) => {
                        settled += 1;
                        assert_eq!(end.verdicts.len(), 2);
                        let delivered = |v: &Verdict| matches!(v.outcome, Outcome::Delivered { .. });
                        assert!(!delivered(&end.verdicts[1]), "at {at} put {put:?}");
                        if put.is_none() && at < reply.len() {
                            assert!(!delivered(&end.verdicts[0]), "cut at {at}");
                        }
                    }
                    Step::Over(_) => break,
                }
            }
            assert_eq!(settled, u32::from(begun), "at {at} put {put:?}");
        }
    }
}

#[test]
fn the_end_of_a_message_on_the_wire() {
    assert_eq!(terminator(b""), b".\r\n");
    assert_eq!(terminator(b"\r\n"), b".\r\n");
    assert_eq!(terminator(b"x\n"), b"\r\n.\r\n");
    assert_eq!(terminator(b"x"), b"\r\n.\r\n");
    assert_eq!(terminator(b"\r"), b"\r\n.\r\n");
}

#[test]
fn streaming_says_how_far_ahead_commands_go() {
    let ends = "C: DATA
         S: 354 go
         C: (message)
         S: 250 done
         = a@b delivered 2.0.0, mx: 250 done
         = c@d delivered 2.0.0, mx: 250 done";
    let rows = [
        (
            0,
            "C: MAIL FROM:<s@a.example>
             S: 250 ok
             C: RCPT TO:<a@b>
             S: 250 ok
             C: RCPT TO:<c@d>
             S: 250 ok",
        ),
        (
            1,
            "C: MAIL FROM:<s@a.example>
             S: 250 ok
             C: RCPT TO:<a@b>
             C: RCPT TO:<c@d>
             S: 250 ok
             S: 250 ok",
        ),
        (
            2,
            "C: MAIL FROM:<s@a.example>
             C: RCPT TO:<a@b>
             C: RCPT TO:<c@d>
             S: 250 ok
             S: 250 ok
             S: 250 ok",
        ),
    ];
    for (level, envelope) in rows {
        let two = case(&["a@b", "c@d"]).manner(|m| m.streaming = Some(level));
        // Whether or not PIPELINING is offered.
        two.plays(&open(&format!("{envelope}\n{ends}")));
        two.plays(&open_pipelining(&format!("{envelope}\n{ends}")));
    }
    let three = case(&["a@b", "c@d"]).manner(|m| m.streaming = Some(3));
    three.plays(&open(&format!("{}\n{ends}", rows[2].1)));
    three.plays(&open_pipelining(
        "C: MAIL FROM:<s@a.example>
         C: RCPT TO:<a@b>
         C: RCPT TO:<c@d>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 250 ok
         S: 354 go
         C: (message)
         S: 250 done
         = a@b delivered 2.0.0, mx: 250 done
         = c@d delivered 2.0.0, mx: 250 done",
    ));
    // RSET goes with the next MAIL from level 3 on.
    for (level, between) in [(2, "S: 250 reset\n"), (3, "")] {
        let behind = if level == 3 { "S: 250 reset\n" } else { "" };
        case(&["a@b"]).then(&["c@d"]).manner(|m| m.streaming = Some(level)).plays(&open(&format!(
            "C: MAIL FROM:<s@a.example>
             C: RCPT TO:<a@b>
             S: 250 ok
             S: 550 who
             = a@b failed 5.1.1, mx: 550 who
             C: RSET
             {between}C: MAIL FROM:<s@a.example>
             C: RCPT TO:<c@d>
             {behind}S: 250 ok
             S: 550 who
             = c@d failed 5.1.1, mx: 550 who"
        )));
    }
}

const OPEN_CHUNKING: &str = "S: 220 mx
    C: EHLO me.example
    S: 250-mx
    S: 250-PIPELINING
    S: 250 CHUNKING
    ";

#[test]
fn a_message_goes_in_one_chunk_where_that_is_offered_and_wanted() {
    let chunked = Mail { chunk: Some(120), ..BASE };
    let one = || case(&["a@b", "c@d"]).mail(chunked);
    one().manner(|m| m.chunking = true).plays(&format!(
        "{OPEN_CHUNKING}C: MAIL FROM:<s@a.example>
         C: RCPT TO:<a@b>
         C: RCPT TO:<c@d>
         S: 250 ok
         S: 250 ok
         S: 550 5.1.1 who
         C: BDAT 120 LAST
         C: (message)
         S: 250 done
         = a@b delivered 2.0.0, mx: 250 done
         = c@d failed 5.1.1, mx: 550 5.1.1 who{QUIT}"
    ));
    one().manner(|m| m.chunking = true).plays(&format!(
        "{OPEN_CHUNKING}C: MAIL FROM:<s@a.example>
         C: RCPT TO:<a@b>
         C: RCPT TO:<c@d>
         S: 250 ok
         S: 550 who
         S: 550 who
         = a@b failed 5.1.1, mx: 550 who
         = c@d failed 5.1.1, mx: 550 who{QUIT}"
    ));
    one().plays(&format!(
        "{OPEN_CHUNKING}C: MAIL FROM:<s@a.example>
         C: RCPT TO:<a@b>
         C: RCPT TO:<c@d>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 250 ok
         S: 354 go
         C: (message)
         S: 250 done
         = a@b delivered 2.0.0, mx: 250 done
         = c@d delivered 2.0.0, mx: 250 done{QUIT}"
    ));
    case(&["a@b"]).mail(chunked).manner(|m| m.chunking = true).plays(&open(
        "C: MAIL FROM:<s@a.example>
         S: 250 ok
         C: RCPT TO:<a@b>
         S: 250 ok
         C: DATA
         S: 354 go
         C: (message)
         S: 250 done
         = a@b delivered 2.0.0, mx: 250 done",
    ));
    case(&["a@b"]).mail(chunked).manner(|m| m.chunking = true).plays(&format!(
        "{OPEN_CHUNKING}C: MAIL FROM:<s@a.example>
         C: RCPT TO:<a@b>
         S: 250 ok
         S: 250 ok
         C: BDAT 120 LAST
         C: (message)
         ! closed
         = a@b deferred 4.4.2, mx: connection lost while waiting for the reply to the end of the message
         > 4.4.2 connection lost while waiting for the reply to the end of the message"
    ));
}

#[test]
fn a_server_that_refuses_bdat_gets_the_message_behind_data() {
    let chunked = Mail { chunk: Some(120), ..BASE };
    let case = || case(&["a@b", "c@d"]).mail(chunked).then(&["e@f"]).manner(|m| m.chunking = true);
    let refused = |reply: &str| {
        format!(
            "{OPEN_CHUNKING}C: MAIL FROM:<s@a.example>
             C: RCPT TO:<a@b>
             C: RCPT TO:<c@d>
             S: 250 ok
             S: 250 ok
             S: 550 5.1.1 who
             C: BDAT 120 LAST
             C: (message)
             S: {reply}
             "
        )
    };
    for reply in ["500 what", "502 5.5.1 not implemented"] {
        case().plays(&format!(
            "{}C: RSET
             S: 250 ok
             C: MAIL FROM:<s@a.example>
             C: RCPT TO:<a@b>
             C: DATA
             S: 250 ok
             S: 250 ok
             S: 354 go
             C: (message)
             S: 250 done
             = a@b delivered 2.0.0, mx: 250 done
             = c@d failed 5.1.1, mx: 550 5.1.1 who
             C: MAIL FROM:<s@a.example>
             C: RCPT TO:<e@f>
             C: DATA
             S: 250 ok
             S: 250 ok
             S: 354 go
             C: (message)
             S: 250 done
             = e@f delivered 2.0.0, mx: 250 done{QUIT}",
            refused(reply)
        ));
    }
    // What the server took for commands has replies of its own.
    let why = "protocol violation: RSET was refused: 500 what; it offers CHUNKING and refuses BDAT, which \
               `nochunkingclient` avoids";
    case().plays(&format!(
        "{}C: RSET
         S: 500 what
         = a@b deferred 4.5.0, mx: {why}
         = c@d failed 5.1.1, mx: 550 5.1.1 who
         > 4.5.0 {why}",
        refused("500 what")
    ));
    // Any other refusal of a chunk is one of the message.
    case().plays(&format!(
        "{}= a@b failed 5.6.0, mx: 554 5.6.0 no
         = c@d failed 5.1.1, mx: 550 5.1.1 who
         C: MAIL FROM:<s@a.example>
         C: RCPT TO:<e@f>
         C: DATA
         ! closed
         = e@f deferred 4.4.2, mx: connection lost while waiting for the reply to MAIL
         = stale
         > 4.4.2 connection lost while waiting for the reply to MAIL",
        refused("554 5.6.0 no")
    ));
}

#[test]
fn a_server_is_told_what_the_sender_wishes_as_far_as_it_offers_that() {
    use sluice_mail::{Handover, Notify, Return, TransferPriority};
    let wishes = Wishes {
        returned: Some(Return::Full),
        envelope_id: "QQ+2B1".into(),
        priority: TransferPriority::new(-3),
        ..Wishes::default()
    };
    let of_one =
        RecipientWishes { notify: Notify::parse("SUCCESS,DELAY").unwrap(), original: "rfc822;a+2B@b".into() };
    let plain = RecipientWishes::default();
    let said = |offers: &str| {
        let manner = Manner { name: "me.example".into(), peer: "mx".into(), ..Manner::default() };
        let mut client = Client::new(manner);
        client.receive(b"220 mx\r\n");
        client.output_sent();
        client.receive(format!("250-mx\r\n250-PIPELINING\r\n250 {offers}\r\n").as_bytes());
        let to = [To { address: "a@b", wishes: Some(&of_one) }, To { address: "c@d", wishes: Some(&plain) }];
        client.begin(&Mail { size: None, wishes: Some(&wishes), ..BASE }, to);
        let text = String::from_utf8(client.output().to_vec()).unwrap();
        client.output_sent();
        client.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
        client.content_sent();
        client.receive(b"250 done\r\n");
        let Step::Settled(settled) = client.step() else { panic!("it is over") };
        let handover = match settled.verdicts[0].outcome {
            Outcome::Delivered { handover, .. } => handover,
            ref other => panic!("{other:?}"),
        };
        (text, handover)
    };
    let (text, _) = said("MT-PRIORITY MIXER");
    assert_eq!(text, "MAIL FROM:<s@a.example> MT-PRIORITY=-3\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    let (text, handover) = said("DSN");
    assert_eq!(
        text,
        "MAIL FROM:<s@a.example> RET=FULL ENVID=QQ+2B1\r\n\
         RCPT TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2B@b\r\n\
         RCPT TO:<c@d>\r\nDATA\r\n"
    );
    assert_eq!(handover, Handover::PassedOn);
    let (text, handover) = said("HELP");
    assert_eq!(text, "MAIL FROM:<s@a.example>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    assert_eq!(handover, Handover::Relayed);
}

#[test]
fn a_server_with_our_own_mark_gets_nothing() {
    let marked = |said: &str| format!("S: 220 mx\nC: EHLO me.example\nS: 250-mx\nS: 250 {said}\n");
    let ours = |mark: Option<&str>| case(&[]).manner(|m| m.mark = mark.map(str::to_owned));
    ours(Some("AB12"))
        .plays(&format!("{}> 5.4.6 SMTP client-server loop detected (polite)", marked("XLOOP AB12")));
    for (mark, said) in [(Some("AB12"), "XLOOP AB13"), (Some("AB12"), "XLOOP"), (None, "XLOOP AB12")] {
        ours(mark).plays(&format!("{}{}", marked(said), QUIT.trim_start()));
    }
}
