//! Dialogues about the limits that an operator sets on sessions.

use insta::assert_snapshot;

use super::dialogues::{dialogue, policy, with};
use super::*;

fn quotas(change: impl FnOnce(&mut Quotas)) -> Policy {
    with(|policy| change(&mut policy.quotas))
}

#[test]
fn transactionlimit_refuses_further_messages_and_keeps_the_session() {
    assert_snapshot!(dialogue(&quotas(|quotas| quotas.transactions = Some(1)), "
        HELO client.example
        MAIL FROM:<a@client.example>
        RSET
        MAIL FROM:<a@client.example>
        RCPT TO:<b@site.example>
        DATA
        .
        MAIL FROM:<a@client.example>
        ETRN site.example
        MAIL FROM:<a@client.example>
        QUIT
    "), @r"
    220 hub.example ESMTP Sluice ready
    > HELO client.example
    250 hub.example Hello client.example
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RSET
    250 2.0.0 Reset, no transaction
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    > MAIL FROM:<a@client.example>
    450 4.5.3 Too many messages on this connection, open another
    > ETRN site.example
    250 2.0.0 OK, queuing for node site.example started
    > MAIL FROM:<a@client.example>
    450 4.5.3 Too many messages on this connection, open another
    > QUIT
    221 2.0.0 hub.example closing connection
    (closed)
    ");
}

#[test]
fn disconnecttransactionlimit_ends_the_session_at_mail() {
    let policy = quotas(|quotas| quotas.disconnect_transactions = Some(1));
    assert_snapshot!(dialogue(&policy, "
        HELO client.example
        MAIL FROM:<a@client.example>
        RCPT TO:<b@site.example>
        DATA
        .
        NOOP
        MAIL FROM:<a@client.example>
    "), @r"
    220 hub.example ESMTP Sluice ready
    > HELO client.example
    250 hub.example Hello client.example
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    > NOOP
    250 2.0.0 OK
    > MAIL FROM:<a@client.example>
    421 4.7.0 Session transaction limit reached, closing connection
    (closed)
    ");
}

#[test]
fn disconnectrecipientlimit_counts_over_transactions_and_ends_the_session_at_rset() {
    let policy = quotas(|quotas| quotas.disconnect_recipients = Some(3));
    assert_snapshot!(dialogue(&policy, "
        HELO client.example
        MAIL FROM:<a@client.example>
        RCPT TO:<b@site.example>
        RCPT TO:<c@site.example>
        RSET
        MAIL FROM:<a@client.example>
        RCPT TO:<d@unknown.example>
        RCPT TO:<b@site.example>
        RCPT TO:<c@site.example>
        DATA
        .
        RSET
    "), @r"
    220 hub.example ESMTP Sluice ready
    > HELO client.example
    250 hub.example Hello client.example
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > RCPT TO:<c@site.example>
    250 2.1.5 Recipient OK
    > RSET
    250 2.0.0 Reset, no transaction
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<d@unknown.example>
    550 5.1.2 unknown host or domain: d@unknown.example
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > RCPT TO:<c@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    > RSET
    421 4.7.0 Session recipient limit reached, closing connection
    (closed)
    ");
}

#[test]
fn disconnectrejectlimit_ends_the_session_at_mail() {
    let policy = with(|policy| {
        policy.quotas.disconnect_rejects = Some(3);
        policy.max_errors = 2;
    });
    assert_snapshot!(dialogue(&policy, "
        HELO client.example
        MAIL FROM:<a@client.example>
        RCPT TO:<b@unknown.example>
        RCPT TO:<c@unknown.example>
        RSET
        MAIL FROM:<a@client.example>
        RCPT TO:<d@unknown.example>
        RCPT TO:<b@site.example>
        DATA
        .
        MAIL FROM:<a@client.example>
    "), @r"
    220 hub.example ESMTP Sluice ready
    > HELO client.example
    250 hub.example Hello client.example
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@unknown.example>
    550 5.1.2 unknown host or domain: b@unknown.example
    > RCPT TO:<c@unknown.example>
    550 5.1.2 unknown host or domain: c@unknown.example
    > RSET
    250 2.0.0 Reset, no transaction
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<d@unknown.example>
    550 5.1.2 unknown host or domain: d@unknown.example
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    > MAIL FROM:<a@client.example>
    421 4.7.0 Session limit of refused recipients reached, closing connection
    (closed)
    ");
}

#[test]
fn deferralrejectlimit_puts_off_good_and_bad_alike() {
    let policy = quotas(|quotas| quotas.rejects_before_deferral = Some(2));
    assert_snapshot!(dialogue(&policy, "
        HELO client.example
        MAIL FROM:<a@client.example>
        RCPT TO:<b@unknown.example>
        RCPT TO:<b@site.example>
        RCPT TO:<c@unknown.example>
        RCPT TO:<d@unknown.example>
        RCPT TO:<c@site.example>
        DATA
        .
        MAIL FROM:<a@client.example>
        RCPT TO:<b@site.example>
        DATA
    "), @r"
    220 hub.example ESMTP Sluice ready
    > HELO client.example
    250 hub.example Hello client.example
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@unknown.example>
    550 5.1.2 unknown host or domain: b@unknown.example
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > RCPT TO:<c@unknown.example>
    550 5.1.2 unknown host or domain: c@unknown.example
    > RCPT TO:<d@unknown.example>
    450 4.7.1 Too many recipients were refused, try again later
    > RCPT TO:<c@site.example>
    450 4.7.1 Too many recipients were refused, try again later
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    450 4.7.1 Too many recipients were refused, try again later
    > DATA
    554 5.5.1 No valid recipients
    ");
}

#[test]
fn recipientcutoff_refuses_the_whole_message() {
    let policy = quotas(|quotas| quotas.recipient_cutoff = Some(2));
    assert_snapshot!(dialogue(&policy, "
        HELO client.example
        MAIL FROM:<a@client.example>
        RCPT TO:<b@site.example>
        RCPT TO:<c@unknown.example>
        RCPT TO:<d@site.example>
        DATA
        DATA
        MAIL FROM:<a@client.example>
        RCPT TO:<b@site.example>
        RCPT TO:<c@site.example>
        DATA
        .
    "), @r"
    220 hub.example ESMTP Sluice ready
    > HELO client.example
    250 hub.example Hello client.example
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > RCPT TO:<c@unknown.example>
    550 5.1.2 unknown host or domain: c@unknown.example
    > RCPT TO:<d@site.example>
    250 2.1.5 Recipient OK
    > DATA
    451 4.5.3 Too many recipients for one message, none was taken
    > DATA
    503 5.5.1 Send MAIL first
    > MAIL FROM:<a@client.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > RCPT TO:<c@site.example>
    250 2.1.5 Recipient OK
    > DATA
    354 Start mail input; end with <CRLF>.<CRLF>
    250 2.6.0 Message accepted, id 0000000000000A7F
    ");
}

#[test]
fn disconnectcommandlimit_counts_every_command() {
    let policy = quotas(|quotas| quotas.disconnect_commands = Some(3));
    assert_snapshot!(dialogue(&policy, "
        HELO client.example
        FROB
        NOOP
        NOOP
    "), @r"
    220 hub.example ESMTP Sluice ready
    > HELO client.example
    250 hub.example Hello client.example
    > FROB
    500 5.5.2 Command not recognized
    > NOOP
    250 2.0.0 OK
    > NOOP
    421 4.7.0 Session command limit reached, closing connection
    (closed)
    ");
    let said = dialogue(&policy, "HELO client.example\nNOOP\nNOOP\nQUIT");
    assert!(said.ends_with("221 2.0.0 hub.example closing connection\n(closed)\n"), "{said}");
}

#[test]
fn a_guesser_in_one_transaction_is_cut_off_whatever_the_operator_limits() {
    for change in [(|quotas: &mut Quotas| quotas.disconnect_rejects = Some(5)) as fn(&mut Quotas), |quotas| {
        quotas.rejects_before_deferral = Some(5);
    }] {
        let guesses = "RCPT TO:<x@unknown.example>\n".repeat(IDLE_COMMANDS_MAX as usize + 10);
        let said = dialogue(&quotas(change), &format!("HELO c.example\nMAIL FROM:<a@b.example>\n{guesses}"));
        assert!(
            said.ends_with("421 4.7.0 Too many commands without a message, closing connection\n(closed)\n")
        );
    }
}

#[test]
fn bad_commands_are_counted_without_refused_recipients_that_have_their_own_limit() {
    let lines = "HELO c.example\nMAIL FROM:<a@b.example>\nRCPT TO:<x@unknown.example>\nFROB\nFROB";
    let mut policy = policy();
    policy.max_errors = 3;
    assert!(dialogue(&policy, lines).ends_with("421 4.7.0 Too many errors, closing connection\n(closed)\n"));
    policy.quotas.disconnect_rejects = Some(10);
    assert!(dialogue(&policy, lines).ends_with("500 5.5.2 Command not recognized\n"));
}
