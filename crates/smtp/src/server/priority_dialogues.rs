//! Priorities (MT-PRIORITY, RFC 6710): what EHLO offers, what MAIL may ask for, and how a client is told that it gets less.

use insta::assert_snapshot;

use super::Priorities;
use super::dialogues::{dialogue, policy, with};

#[test]
fn a_client_that_is_known_asks_for_any_priority() {
    let terms = Priorities { required: false, is_known: true };
    let policy = with(|policy| policy.priorities = Some(terms));
    assert_snapshot!(dialogue(&policy, "
        EHLO client.example
        MAIL FROM:<a@b.example> MT-PRIORITY=9
        RCPT TO:<u@site7.example>
        DATA
        .
        MAIL FROM:<a@b.example> mt-priority=-9
        RSET
        MAIL FROM:<a@b.example> MT-PRIORITY=0
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
    250-MT-PRIORITY MIXER
    250 HELP
    > MAIL FROM:<a@b.example> MT-PRIORITY=9
    250 2.1.0 Sender OK
    > RCPT TO:<u@site7.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    > MAIL FROM:<a@b.example> mt-priority=-9
    250 2.1.0 Sender OK
    > RSET
    250 2.0.0 Reset, no transaction
    > MAIL FROM:<a@b.example> MT-PRIORITY=0
    250 2.1.0 Sender OK
    ");
}

#[test]
fn what_is_no_priority_is_refused() {
    let terms = Priorities { required: false, is_known: true };
    let policy = with(|policy| policy.priorities = Some(terms));
    assert_snapshot!(dialogue(&policy, "
        EHLO client.example
        MAIL FROM:<a@b.example> MT-PRIORITY=10
        MAIL FROM:<a@b.example> MT-PRIORITY=+1
        MAIL FROM:<a@b.example> MT-PRIORITY=-0
        MAIL FROM:<a@b.example> MT-PRIORITY=
        MAIL FROM:<a@b.example> MT-PRIORITY
        MAIL FROM:<a@b.example> MT-PRIORITY=high
        MAIL FROM:<a@b.example> MT-PRIORITY=1 MT-PRIORITY=1
        RCPT TO:<u@site7.example>
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
    250-MT-PRIORITY MIXER
    250 HELP
    > MAIL FROM:<a@b.example> MT-PRIORITY=10
    501 5.5.2 MT-PRIORITY is one number from -9 to 9
    > MAIL FROM:<a@b.example> MT-PRIORITY=+1
    501 5.5.2 MT-PRIORITY is one number from -9 to 9
    > MAIL FROM:<a@b.example> MT-PRIORITY=-0
    501 5.5.2 MT-PRIORITY is one number from -9 to 9
    > MAIL FROM:<a@b.example> MT-PRIORITY=
    501 5.5.2 MT-PRIORITY is one number from -9 to 9
    > MAIL FROM:<a@b.example> MT-PRIORITY
    501 5.5.2 MT-PRIORITY is one number from -9 to 9
    > MAIL FROM:<a@b.example> MT-PRIORITY=high
    501 5.5.2 MT-PRIORITY is one number from -9 to 9
    > MAIL FROM:<a@b.example> MT-PRIORITY=1 MT-PRIORITY=1
    501 5.5.2 MT-PRIORITY is one number from -9 to 9
    > RCPT TO:<u@site7.example>
    503 5.5.1 Send MAIL first
    ");
}

#[test]
fn a_stranger_gets_no_more_than_others_and_is_told_so() {
    let terms = Priorities { required: false, is_known: false };
    let policy = with(|policy| policy.priorities = Some(terms));
    assert_snapshot!(dialogue(&policy, "
        EHLO client.example
        MAIL FROM:<a@b.example> MT-PRIORITY=4
        RCPT TO:<u@site7.example>
        DATA
        .
        MAIL FROM:<a@b.example> MT-PRIORITY=1
        RSET
        MAIL FROM:<a@b.example> MT-PRIORITY=-4
        RCPT TO:<u@site7.example>
        DATA
        .
        MAIL FROM:<a@b.example>
        RCPT TO:<u@site7.example>
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
    250-MT-PRIORITY MIXER
    250 HELP
    > MAIL FROM:<a@b.example> MT-PRIORITY=4
    250 2.3.6 0 is the priority that you may have; sender OK
    > RCPT TO:<u@site7.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.3.6 0 is the priority of the message; accepted, id 0000000000000A7F
    > MAIL FROM:<a@b.example> MT-PRIORITY=1
    250 2.3.6 0 is the priority that you may have; sender OK
    > RSET
    250 2.0.0 Reset, no transaction
    > MAIL FROM:<a@b.example> MT-PRIORITY=-4
    250 2.1.0 Sender OK
    > RCPT TO:<u@site7.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    > MAIL FROM:<a@b.example>
    250 2.1.0 Sender OK
    > RCPT TO:<u@site7.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    ");
}

#[test]
fn a_channel_may_want_a_priority_of_each_message_or_know_none() {
    let terms = Priorities { required: true, is_known: true };
    let required = with(|policy| policy.priorities = Some(terms));
    assert_snapshot!(dialogue(&required, "
        EHLO client.example
        MAIL FROM:<a@b.example>
        MAIL FROM:<a@b.example> MT-PRIORITY=0
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
    250-MT-PRIORITY MIXER
    250 HELP
    > MAIL FROM:<a@b.example>
    550 5.7.1 MAIL needs MT-PRIORITY here
    > MAIL FROM:<a@b.example> MT-PRIORITY=0
    250 2.1.0 Sender OK
    ");
    assert_snapshot!(dialogue(&policy(), "
        EHLO client.example
        MAIL FROM:<a@b.example> MT-PRIORITY=0
        MAIL FROM:<a@b.example>
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
    > MAIL FROM:<a@b.example> MT-PRIORITY=0
    555 5.5.4 Parameter MT-PRIORITY not recognized or not offered
    > MAIL FROM:<a@b.example>
    250 2.1.0 Sender OK
    ");
}
