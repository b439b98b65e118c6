//! Every reply this server gives, by name. Nothing else in the server writes reply text.
//!
//! [`TABLE`] is also printed in `docs/internals/wire-replies.md`; a test compares them, and another one demands that
//! each row occurs in a dialogue. Refusals of a sender or recipient and answers to VRFY come from the intake and pass
//! through unnamed.

use sluice_mail::Status;

use crate::reply::Reply;

/// A row of the table of replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Name of the function that makes it.
    pub name: &'static str,
    /// The reply code.
    pub code: u16,
    /// The enhanced code, if it carries one.
    pub status: Option<(u8, u16, u16)>,
    /// The text; the arguments in braces.
    pub text: &'static str,
    /// When it is given.
    pub when: &'static str,
}

macro_rules! status {
    (-) => {
        None
    };
    (($class:literal, $subject:literal, $detail:literal)) => {
        Some(($class, $subject, $detail))
    };
}

macro_rules! replies {
    ($( $(#[doc = $doc:literal])+ $name:ident($($argument:ident: $type:ty),*) = $code:literal $status:tt $text:literal; )*) => {
        $(
            $(#[doc = $doc])+
            pub fn $name($($argument: $type),*) -> Reply {
                reply($code, status!($status), replies!(@text $text $($argument)*))
            }
        )*

        /// All of them, in the order in which a session meets them.
        pub const TABLE: &[Row] = &[
            $( Row {
                name: stringify!($name),
                code: $code,
                status: status!($status),
                text: $text,
                when: concat!($($doc),+),
            }, )*
        ];
    };
    (@text $text:literal) => { std::borrow::Cow::Borrowed($text) };
    (@text $text:literal $($argument:ident)+) => { std::borrow::Cow::Owned(format!($text)) };
}

fn reply(code: u16, status: Option<(u8, u16, u16)>, text: std::borrow::Cow<'static, str>) -> Reply {
    let status = status.map(|(class, subject, detail)| Status::new(class, subject, detail));
    Reply { code, status, lines: vec![text] }
}

replies! {
    /// The greeting.
    greeting(host: &str) = 220 - "{host} ESMTP Sluice ready";
    /// Instead of the greeting: the service or the server serves as many as it may.
    too_many_connections(host: &str) = 421 - "{host} Too many connections, try again later";
    /// Instead of the greeting: this client has as many connections as it may.
    too_many_connections_of_client(host: &str) = 421 - "{host} Too many connections from your address, close one first";
    /// First line of the reply to EHLO, and the whole reply to HELO.
    hello(host: &str, client: &str) = 250 - "{host} Hello {client}";
    /// EHLO or HELO without a usable name.
    hello_syntax() = 501 - "Syntax: EHLO domain or HELO domain";

    /// STARTTLS, and a certificate is there.
    start_tls() = 220 (2, 0, 0) "Ready to start TLS";
    /// STARTTLS, and no certificate can be had at the moment.
    tls_unavailable() = 454 (4, 7, 0) "TLS not available due to a temporary reason";
    /// STARTTLS under TLS.
    tls_already() = 503 (5, 5, 1) "TLS is on already";
    /// Something was sent behind STARTTLS before its reply; it is thrown away.
    spoke_before_tls() = 421 (4, 7, 0) "Nothing may follow STARTTLS before TLS is on, closing connection";
    /// The channel has `musttls`, and STARTTLS comes first.
    tls_required() = 530 (5, 7, 0) "Must issue a STARTTLS command first";
    /// The channel has `mustsasl`, and AUTH comes first.
    auth_required() = 530 (5, 7, 0) "No AUTH command has been given";
    /// What the mechanism wants to be answered, in base64; may be empty.
    auth_challenge(challenge: &str) = 334 - "{challenge}";
    /// AUTH succeeded.
    authenticated() = 235 (2, 7, 0) "Authentication successful";
    /// AUTH failed: name or password are wrong, or the name may not be used.
    auth_failed() = 535 (5, 7, 8) "Authentication credentials invalid";
    /// As many of them as `disconnectbadauthlimit` allows.
    too_many_auth_failures() = 421 (4, 7, 0) "Too many failed logins, closing connection";
    /// AUTH that cannot be judged at the moment.
    auth_unavailable() = 454 (4, 7, 0) "Temporary authentication failure";
    /// The client ended an exchange with `*`.
    auth_cancelled() = 501 (5, 7, 0) "Authentication cancelled";
    /// A response that is no base64.
    auth_not_base64() = 501 (5, 5, 2) "Cannot decode base64";
    /// A response that is nothing of the mechanism, or came when the server speaks first.
    auth_malformed(mechanism: &str) = 501 (5, 5, 4) "That is no message of {mechanism}";
    /// AUTH without a mechanism, or with more than an initial response.
    auth_syntax() = 501 (5, 5, 4) "Syntax: AUTH mechanism [initial-response]";
    /// A response that is longer than 12288 octets.
    auth_line_too_long() = 500 (5, 5, 6) "Authentication exchange line is too long";
    /// The mechanism is not offered.
    auth_unknown_mechanism() = 504 (5, 5, 4) "Authentication mechanism not offered";
    /// A mechanism that shows the password, without TLS.
    auth_needs_tls() = 538 (5, 7, 11) "Encryption required for requested authentication mechanism";
    /// A second AUTH after one that succeeded.
    auth_already() = 503 (5, 5, 1) "Already authenticated";
    /// AUTH inside a transaction, which goes on.
    auth_in_transaction() = 503 (5, 5, 1) "AUTH not allowed inside a mail transaction";

    /// MAIL accepted.
    sender_ok() = 250 (2, 1, 0) "Sender OK";
    /// MAIL accepted, with a lower priority than was asked for.
    sender_lowered(priority: &str) = 250 (2, 3, 6) "{priority} is the priority that you may have; sender OK";
    /// RCPT accepted.
    recipient_ok() = 250 (2, 1, 5) "Recipient OK";
    /// DATA may begin.
    start_data() = 354 - "Start mail input; end with <CRLF>.<CRLF>";
    /// BDAT without LAST: the octets are there.
    chunk_taken(octets: u64) = 250 (2, 0, 0) "{octets} octets received";
    /// The message is safe on disk.
    accepted(id: &str) = 250 (2, 6, 0) "Message accepted, id {id}";
    /// The same, for a message with a lower priority than was asked for.
    accepted_lowered(priority: &str, id: &str) = 250 (2, 3, 6) "{priority} is the priority of the message; accepted, id {id}";
    /// RSET.
    reset() = 250 (2, 0, 0) "Reset, no transaction";
    /// NOOP.
    noop() = 250 (2, 0, 0) "OK";
    /// VRFY, unless the intake says more.
    cannot_verify() = 252 (2, 0, 0) "Cannot verify, but a message for it would be tried";
    /// First line of the reply to HELP.
    help(verbs: &str) = 214 (2, 0, 0) "Commands: {verbs}";
    /// QUIT.
    goodbye(host: &str) = 221 (2, 0, 0) "{host} closing connection";

    /// The verb is unknown.
    unknown_command() = 500 (5, 5, 2) "Command not recognized";
    /// The command line is longer than its verb allows.
    line_too_long() = 500 (5, 5, 2) "Command line too long";
    /// A NUL, a carriage return inside the line, or octets that are not UTF-8.
    illegal_characters() = 500 (5, 5, 2) "Illegal character in command line";
    /// A command this server knows and does not have.
    not_implemented(verb: &str) = 502 (5, 5, 1) "{verb} not implemented";
    /// HTTP and the like: the connection is closed at once.
    not_smtp() = 421 (4, 7, 0) "This is an SMTP server; closing connection";
    /// An argument where none belongs.
    no_argument_allowed(verb: &str) = 501 (5, 5, 4) "{verb} takes no argument";
    /// No argument where one is needed.
    argument_missing(verb: &str) = 501 (5, 5, 4) "{verb} needs an argument";
    /// MAIL is not `MAIL FROM:<address>`.
    mail_syntax() = 501 (5, 5, 4) "Syntax: MAIL FROM:<address> [parameters]";
    /// RCPT is not `RCPT TO:<address>`.
    rcpt_syntax() = 501 (5, 5, 4) "Syntax: RCPT TO:<address> [parameters]";
    /// What stands between the angle brackets of MAIL is not an address.
    bad_sender() = 501 (5, 1, 7) "Bad sender address syntax";
    /// What stands between the angle brackets of RCPT is not an address.
    bad_recipient() = 501 (5, 1, 3) "Bad recipient address syntax";
    /// BDAT without a number of octets, or with something else than LAST behind it. No octets are read.
    bdat_syntax() = 501 (5, 5, 4) "Syntax: BDAT octets [LAST]";
    /// A known parameter with a value that it cannot have, or given twice.
    bad_parameter(name: &str) = 501 (5, 5, 4) "Bad value of parameter {name}";
    /// A parameter that is not offered here.
    unknown_parameter(name: &str) = 555 (5, 5, 4) "Parameter {name} not recognized or not offered";
    /// HOLDFOR or HOLDUNTIL that is further ahead than the channel allows.
    release_too_late(seconds: u32) = 501 (5, 5, 4) "A message is held for at most {seconds} seconds";
    /// MT-PRIORITY that is no number from -9 to 9, or is there twice (RFC 6710 section 4.1).
    priority_syntax() = 501 (5, 5, 2) "MT-PRIORITY is one number from -9 to 9";
    /// MAIL without MT-PRIORITY on a channel with `mtprioritiesrequired`.
    priority_missing() = 550 (5, 7, 1) "MAIL needs MT-PRIORITY here";
    /// Characters beyond ASCII in an address, without SMTPUTF8 in MAIL.
    address_needs_smtputf8() = 553 (5, 6, 7) "Address is not ASCII: SMTPUTF8 needed";

    /// EHLO or HELO must come first.
    hello_first() = 503 (5, 5, 1) "Send EHLO or HELO first";
    /// MAIL inside a transaction.
    nested_mail() = 503 (5, 5, 1) "Sender already given";
    /// RCPT, DATA or BDAT outside a transaction.
    mail_first() = 503 (5, 5, 1) "Send MAIL first";
    /// MAIL, RCPT, DATA or ETRN after BDAT and before its LAST.
    content_begun() = 503 (5, 5, 1) "Message content has begun: send BDAT or RSET";
    /// DATA or BDAT before RCPT.
    rcpt_first() = 503 (5, 5, 1) "Send RCPT first";
    /// DATA or BDAT after nothing but refused recipients.
    no_valid_recipients() = 554 (5, 5, 1) "No valid recipients";

    /// MAIL on a channel with `mailfromdnsverify`, and the name service does not answer in time.
    sender_not_looked_up() = 450 (4, 4, 3) "The domain of the sender could not be looked up, try again later";
    /// SIZE in MAIL is more than is taken.
    declared_too_large(octets: u64) = 552 (5, 3, 4) "Message size exceeds limit of {octets} octets";
    /// SIZE in MAIL is more than the channel of this recipient takes.
    too_large_for_recipient(octets: u64) = 552 (5, 3, 4) "Message size exceeds limit of {octets} octets for this recipient";
    /// One recipient too many. The ones before stay accepted.
    too_many_recipients() = 452 (4, 5, 3) "Too many recipients";
    /// The transaction asked for more recipients than `recipientcutoff` allows; it is over.
    recipient_cutoff() = 451 (4, 5, 3) "Too many recipients for one message, none was taken";
    /// So many recipients of the session were refused that `deferralrejectlimit` puts off all further ones.
    too_many_rejects() = 450 (4, 7, 1) "Too many recipients were refused, try again later";
    /// MAIL when the session has sent as many messages as `transactionlimit` allows.
    too_many_messages() = 450 (4, 5, 3) "Too many messages on this connection, open another";
    /// MAIL or RSET when the session has sent as many messages as `disconnecttransactionlimit` allows.
    session_transaction_limit() = 421 (4, 7, 0) "Session transaction limit reached, closing connection";
    /// MAIL or RSET when the session has had as many recipients as `disconnectrecipientlimit` allows.
    session_recipient_limit() = 421 (4, 7, 0) "Session recipient limit reached, closing connection";
    /// MAIL or RSET when as many recipients were refused as `disconnectrejectlimit` allows.
    session_reject_limit() = 421 (4, 7, 0) "Session limit of refused recipients reached, closing connection";
    /// A command beyond `disconnectcommandlimit`, unless it is QUIT.
    session_command_limit() = 421 (4, 7, 0) "Session command limit reached, closing connection";
    /// The session has made as many errors as it may; instead of the reply to the last one.
    too_many_errors() = 421 (4, 7, 0) "Too many errors, closing connection";
    /// The session has said as much as it may without sending a message.
    too_many_idle_commands() = 421 (4, 7, 0) "Too many commands without a message, closing connection";
    /// No whole command line came in time.
    command_timeout(host: &str) = 421 (4, 4, 2) "{host} Timeout waiting for a command, closing connection";
    /// The message did not come in time, or by drops.
    data_timeout(host: &str) = 421 (4, 4, 2) "{host} Timeout waiting for message content, closing connection";
    /// The server stops.
    shutting_down(host: &str) = 421 (4, 3, 2) "{host} Shutting down, try again later";

    /// A carriage return or line feed alone in the message.
    bare_line_end() = 554 (5, 6, 0) "Message has CR or LF alone; lines end in CRLF";
    /// A NUL in the message.
    nul_in_message() = 554 (5, 6, 0) "Message contains NUL";
    /// A line of the message is too long.
    message_line_too_long(octets: u64) = 554 (5, 6, 0) "Message has a line longer than {octets} octets";
    /// The message itself is more than is taken.
    message_too_large(octets: u64) = 552 (5, 3, 4) "Message exceeds limit of {octets} octets";
    /// The message is more than the channels of its recipients take: there is none that may have it.
    too_large_for_recipients(octets: u64) = 552 (5, 3, 4) "Message exceeds limit of {octets} octets for its recipients";
    /// The message has more lines than the channels of its recipients take: there is none that may have it.
    too_long_for_recipients(lines: u32) = 552 (5, 3, 4) "Message exceeds limit of {lines} lines for its recipients";
    /// The message has more lines than are taken.
    message_too_long(lines: u32) = 552 (5, 3, 4) "Message exceeds limit of {lines} lines";
    /// The message has 8-bit characters that MAIL did not announce, and comes in by a channel with `eightstrict`.
    eight_bit_unannounced() = 554 (5, 6, 1) "Message has 8-bit characters and came without BODY=8BITMIME";
    /// A message that was refused already goes on without end; the connection is closed.
    endless_message() = 421 (4, 7, 0) "Refused message does not end, closing connection";
    /// The store takes no new mail.
    store_full() = 452 (4, 3, 1) "Insufficient storage, try again later";
    /// The message could not be kept, or nobody answered for it.
    not_stored() = 451 (4, 3, 0) "Message not stored, try again later";

    /// ETRN where it is switched off.
    etrn_disabled() = 502 (5, 5, 1) "ETRN not implemented";
    /// ETRN inside a transaction, which goes on.
    etrn_in_transaction() = 503 (5, 5, 1) "ETRN not allowed inside a mail transaction";
    /// ETRN with no node, more than one, or a malformed one.
    etrn_syntax() = 501 (5, 5, 4) "Syntax Error in Parameters: ETRN domain, @domain or #queue";
    /// More ETRN commands than a session may send.
    etrn_session_limit() = 458 (4, 7, 1) "ETRN session limit reached";
    /// Far more of them.
    etrn_far_over_limit() = 421 (4, 7, 0) "Too many ETRN commands, closing connection";
    /// ETRN accepted; nothing is said about whether mail waits.
    etrn_started(node: &str) = 250 (2, 0, 0) "OK, queuing for node {node} started";
    /// Certain: nothing waits.
    etrn_nothing_waiting(node: &str) = 251 (2, 0, 0) "OK, no messages waiting for node {node}";
    /// Certain: something waits.
    etrn_pending(node: &str) = 252 (2, 0, 0) "OK, pending messages for node {node} started";
    /// So much waits.
    etrn_pending_count(count: u64, node: &str) = 253 (2, 0, 0) "OK, {count} pending messages for node {node} started";
    /// As `etrn_started`, under `allowetrn`.
    etrn_channel_started(node: &str, channel: &str) = 250 (2, 0, 0) "OK, queuing for node {node} started, channel {channel}";
    /// As `etrn_pending`, under `allowetrn`.
    etrn_channel_pending(node: &str, channel: &str) = 252 (2, 0, 0) "OK, pending messages for node {node} started, channel {channel}";
    /// As `etrn_pending_count`, under `allowetrn`.
    etrn_channel_pending_count(count: u64, node: &str, channel: &str) = 253 (2, 0, 0) "OK, {count} pending messages for node {node} started, channel {channel}";
    /// The queue cannot do it now, or nobody answered in time.
    etrn_unable(node: &str) = 458 (4, 3, 0) "Unable to queue messages for node {node}";
    /// This client asks too often, or too many ask for the node.
    etrn_too_often(node: &str) = 458 (4, 7, 1) "Node {node} was asked for too often, try again later";
    /// Not for this client, or not this form.
    etrn_not_allowed(node: &str, reason: &str) = 459 (4, 7, 1) "Node {node} not allowed: {reason}";
    /// No such node here.
    etrn_unknown_node(node: &str) = 459 (4, 5, 4) "Node {node} not allowed: not served here";
    /// ATRN inside a transaction, which goes on.
    atrn_in_transaction() = 503 (5, 5, 1) "ATRN not allowed inside a mail transaction";
    /// ATRN with something that is no list of domains.
    atrn_syntax() = 501 (5, 5, 4) "Syntax Error in Parameters: ATRN [domain[,domain...]]";
    /// Something was sent behind ATRN before its reply: it would be taken for what the client says when the session is turned.
    spoke_before_turn() = 503 (5, 5, 1) "Nothing may follow ATRN before its reply";
    /// ATRN accepted: from here on the client is the server (RFC 2645 section 5.2).
    atrn_turning() = 250 (2, 0, 0) "OK now reversing the connection";
    /// ATRN for a domain that the login may not take, or too often, or while another session of the site is turned.
    atrn_refused(reason: &str) = 450 (4, 7, 1) "ATRN request refused: {reason}";
    /// The queue cannot do it now, or nobody answered in time.
    atrn_unable() = 451 (4, 3, 0) "Unable to process ATRN request now";
    /// Nothing waits for any of the domains.
    atrn_no_mail() = 453 (4, 0, 0) "You have no mail";
    /// A command that the service ODMR does not have.
    atrn_only(verb: &str) = 502 (5, 5, 1) "{verb} not implemented here: log in and ask for your mail with ATRN";
    /// HELP RELEASES of a client whose login owns sites: the first line, before a line for each release.
    releases(sites: &str) = 214 (2, 0, 0) "Releases of {sites}, the newest first";
    /// The same when there was none yet.
    releases_none(sites: &str) = 214 (2, 0, 0) "No release of {sites} yet";
    /// HELP RELEASES of a client that has logged in, but owns no site.
    releases_of_nobody() = 214 (2, 0, 0) "Your login owns no site here: there are no releases to tell you of";
    /// HELP RELEASES when nobody answered in time.
    releases_unavailable() = 451 (4, 3, 0) "The releases cannot be told now, try again later";
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALOGUES: [&str; 9] = [
        include_str!("server/later_dialogues.rs"),
        include_str!("server/priority_dialogues.rs"),
        include_str!("server/dialogues.rs"),
        include_str!("server/limit_dialogues.rs"),
        include_str!("server/chunk_dialogues.rs"),
        include_str!("../../smtpd/tests/sessions.rs"),
        include_str!("../../smtpd/tests/reception.rs"),
        include_str!("server/guard_dialogues.rs"),
        include_str!("../../smtpd/tests/safety.rs"),
    ];

    fn enhanced(row: &Row) -> String {
        row.status.map_or(String::new(), |(class, subject, detail)| format!("{class}.{subject}.{detail}"))
    }

    #[test]
    fn codes_agree_and_names_are_not_used_twice() {
        let mut names = std::collections::HashSet::new();
        for row in TABLE {
            assert!(names.insert(row.name), "{} twice", row.name);
            assert!((200..600).contains(&row.code), "{row:?}");
            if let Some((class, ..)) = row.status {
                assert_eq!(u16::from(class), row.code / 100, "{row:?}");
            }
        }
    }

    #[test]
    fn the_page_about_replies_has_every_row() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/internals/wire-replies.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (begin, end) = ("<!-- table: begin -->\n", "<!-- table: end -->");
        let at = (page.find(begin).unwrap() + begin.len(), page.find(end).unwrap());
        let mut table = String::from("| Name | Code | Enhanced | Text | When |\n|---|---|---|---|---|\n");
        for row in TABLE {
            let (text, when) = (row.text.replace('|', "\\|"), row.when.trim());
            table += &format!("| {} | {} | {} | `{text}` | {when} |\n", row.name, row.code, enhanced(row));
        }
        if page[at.0..at.1] != table {
            if std::env::var_os("UPDATE_PAGES").is_some() {
                std::fs::write(path, format!("{}{table}{}", &page[..at.0], &page[at.1..])).unwrap();
                return;
            }
            panic!(
                "docs/internals/wire-replies.md differs; UPDATE_PAGES=1 cargo test -p sluice-smtp writes it"
            );
        }
    }

    /// Whether a line of a dialogue shows the reply of this row.
    fn shows(line: &str, row: &Row) -> bool {
        let starts = ['-', ' '].map(|separator| match enhanced(row).as_str() {
            "" => format!("{}{separator}", row.code),
            enhanced => format!("{}{separator}{enhanced} ", row.code),
        });
        let line = line.trim().trim_matches(['"', '(', ')', ',', ';']);
        let Some(at) = starts.iter().find_map(|start| line.find(start.as_str()).map(|at| at + start.len()))
        else {
            return false;
        };
        let mut rest = &line[at..];
        let pieces: Vec<&str> = row.text.split(['{', '}']).step_by(2).collect();
        for (index, piece) in pieces.iter().enumerate() {
            match rest.find(piece) {
                Some(0) => rest = &rest[piece.len()..],
                Some(at) if index > 0 => rest = &rest[at + piece.len()..],
                _ => return false,
            }
        }
        row.text.ends_with('}') || rest.is_empty() || rest.starts_with('"')
    }

    #[test]
    fn each_reply_occurs_in_a_dialogue() {
        let lines: Vec<&str> = DIALOGUES.iter().flat_map(|text| text.lines()).collect();
        let missing: Vec<&str> = TABLE
            .iter()
            .filter(|row| !lines.iter().any(|line| shows(line, row)))
            .map(|row| row.name)
            .collect();
        assert!(missing.is_empty(), "no dialogue shows {missing:?}");
    }

    #[test]
    fn a_line_shows_only_its_own_reply() {
        let row = |name: &str| TABLE.iter().find(|row| row.name == name).unwrap();
        let line = "250 2.0.0 OK, queuing for node a.example started, channel tcp_dialup";
        assert!(!shows(line, row("etrn_started")) && shows(line, row("etrn_channel_started")));
        assert!(shows("    250 2.0.0 OK", row("noop")) && !shows("250 2.0.0 OK, no", row("noop")));
        assert!(shows("250-hub.example Hello client.example", row("hello")));
    }
}
