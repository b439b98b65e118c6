//! Dialogues about STARTTLS and AUTH. Fred's password is `pencil`. After STARTTLS all is under TLS, unless `(no
//! certificate)` or `(and more at once)` follows. `(users are lost)` is the intake giving no answer to AUTH.

use insta::assert_snapshot;

use super::dialogues::{dialogue, with};
use super::*;

fn safe(tls: Demand, auth: Demand) -> Policy {
    with(|policy| {
        policy.safety = Safety { tls, auth, mechanisms: Mechanism::ALL.to_vec(), max_auth_failures: 3 };
    })
}

#[test]
fn tls_begins_anew_and_shows_what_was_hidden() {
    assert_snapshot!(dialogue(&safe(Demand::May, Demand::May), "
        STARTTLS
        EHLO client.example
        STARTTLS now
        AUTH PLAIN AGZyZWQAcGVuY2ls
        MAIL FROM:<a@b.example>
        STARTTLS
        MAIL FROM:<a@b.example>
        RCPT TO:<a@b.example>
        STARTTLS
        EHLO client.example
        STARTTLS
        HELP
        AUTH PLAIN AGZyZWQAcGVuY2ls
        AUTH PLAIN AGZyZWQAcGVuY2ls
        MAIL FROM:<a@b.example> AUTH=<>
        AUTH LOGIN
        QUIT
    "), @r"
    220 hub.example ESMTP Sluice ready
    > STARTTLS
    503 5.5.1 Send EHLO or HELO first
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250-STARTTLS
    250-AUTH SCRAM-SHA-256 CRAM-MD5
    250 HELP
    > STARTTLS now
    501 5.5.4 STARTTLS takes no argument
    > AUTH PLAIN AGZyZWQAcGVuY2ls
    538 5.7.11 Encryption required for requested authentication mechanism
    > MAIL FROM:<a@b.example>
    250 2.1.0 Sender OK
    > STARTTLS
    220 2.0.0 Ready to start TLS
    > MAIL FROM:<a@b.example>
    503 5.5.1 Send EHLO or HELO first
    > RCPT TO:<a@b.example>
    503 5.5.1 Send EHLO or HELO first
    > STARTTLS
    503 5.5.1 TLS is on already
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250-AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN
    250 HELP
    > STARTTLS
    503 5.5.1 TLS is on already
    > HELP
    214-2.0.0 Commands: HELO EHLO MAIL RCPT DATA RSET NOOP VRFY ETRN HELP QUIT STARTTLS AUTH
    214 2.0.0 See RFC 5321; for ETRN see RFC 1985
    > AUTH PLAIN AGZyZWQAcGVuY2ls
    235 2.7.0 Authentication successful
    > AUTH PLAIN AGZyZWQAcGVuY2ls
    503 5.5.1 Already authenticated
    > MAIL FROM:<a@b.example> AUTH=<>
    250 2.1.0 Sender OK
    > AUTH LOGIN
    503 5.5.1 Already authenticated
    > QUIT
    221 2.0.0 hub.example closing connection
    (closed)
    ");
}

#[test]
fn tls_may_fail_and_nothing_may_follow_the_command() {
    assert_snapshot!(dialogue(&safe(Demand::May, Demand::No), "
        EHLO client.example
        STARTTLS
        (no certificate)
        AUTH PLAIN AGZyZWQAcGVuY2ls
        MAIL FROM:<a@b.example> AUTH=<>
        STARTTLS
        (and more at once)
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
    250-STARTTLS
    250 HELP
    > STARTTLS
    454 4.7.0 TLS not available due to a temporary reason
    > AUTH PLAIN AGZyZWQAcGVuY2ls
    502 5.5.1 AUTH not implemented
    > MAIL FROM:<a@b.example> AUTH=<>
    555 5.5.4 Parameter AUTH not recognized or not offered
    > STARTTLS
    421 4.7.0 Nothing may follow STARTTLS before TLS is on, closing connection
    (closed)
    ");
}

#[test]
fn must_means_nothing_goes_without() {
    assert_snapshot!(dialogue(&safe(Demand::Must, Demand::Must), "
        NOOP
        EHLO client.example
        HELP
        VRFY fred
        ETRN site.example
        AUTH CRAM-MD5
        MAIL FROM:<a@b.example>
        RCPT TO:<a@b.example>
        DATA
        RSET
        STARTTLS
        EHLO client.example
        VRFY fred
        ETRN site.example
        MAIL FROM:<a@b.example>
        RCPT TO:<a@b.example>
        DATA
        AUTH PLAIN AGZyZWQAcGVuY2ls
        VRFY fred
        ETRN site.example
        MAIL FROM:<a@b.example> AUTH=fred+40b.example
    "), @r"
    220 hub.example ESMTP Sluice ready
    > NOOP
    250 2.0.0 OK
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250-STARTTLS
    250 HELP
    > HELP
    530 5.7.0 Must issue a STARTTLS command first
    > VRFY fred
    530 5.7.0 Must issue a STARTTLS command first
    > ETRN site.example
    530 5.7.0 Must issue a STARTTLS command first
    > AUTH CRAM-MD5
    530 5.7.0 Must issue a STARTTLS command first
    > MAIL FROM:<a@b.example>
    530 5.7.0 Must issue a STARTTLS command first
    > RCPT TO:<a@b.example>
    530 5.7.0 Must issue a STARTTLS command first
    > DATA
    530 5.7.0 Must issue a STARTTLS command first
    > RSET
    530 5.7.0 Must issue a STARTTLS command first
    > STARTTLS
    220 2.0.0 Ready to start TLS
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250-AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN
    250 HELP
    > VRFY fred
    530 5.7.0 No AUTH command has been given
    > ETRN site.example
    530 5.7.0 No AUTH command has been given
    > MAIL FROM:<a@b.example>
    530 5.7.0 No AUTH command has been given
    > RCPT TO:<a@b.example>
    503 5.5.1 Send MAIL first
    > DATA
    503 5.5.1 Send MAIL first
    > AUTH PLAIN AGZyZWQAcGVuY2ls
    235 2.7.0 Authentication successful
    > VRFY fred
    252 2.0.0 Cannot verify, but a message for it would be tried
    > ETRN site.example
    250 2.0.0 OK, queuing for node site.example started
    > MAIL FROM:<a@b.example> AUTH=fred+40b.example
    250 2.1.0 Sender OK
    ");
}

#[test]
fn each_mechanism() {
    assert_snapshot!(dialogue(&safe(Demand::May, Demand::May), "
        EHLO client.example
        AUTH LOGIN
        AUTH CRAM-MD5
        ZnJlZCBkMDFlOTVmZmNlNjAwMDhkYzYzNjJmNmFkMTdmMGFmZA==
        AUTH SCRAM-SHA-256
        biwsbj1mcmVkLHI9eA==
        Yz1iaXdzLHI9eCxwPU1ERXlNelExTmpjNE9XRmlZMlJsWmpBeE1qTTBOVFkzT0RsaFltTmtaV1k9
        STARTTLS
        EHLO client.example
        AUTH LOGIN
        ZnJlZA==
        cGVuY2ls
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
    250-STARTTLS
    250-AUTH SCRAM-SHA-256 CRAM-MD5
    250 HELP
    > AUTH LOGIN
    538 5.7.11 Encryption required for requested authentication mechanism
    > AUTH CRAM-MD5
    334 PEJ3Y0hCd2NIQndjSEJ3Y0hCd2NIQndjSC4xQGh1Yi5leGFtcGxlPg==
    > ZnJlZCBkMDFlOTVmZmNlNjAwMDhkYzYzNjJmNmFkMTdmMGFmZA==
    535 5.7.8 Authentication credentials invalid
    > AUTH SCRAM-SHA-256
    334 
    > biwsbj1mcmVkLHI9eA==
    334 cj14QndjSEJ3Y0hCd2NIQndjSEJ3Y0hCd2NILHM9TURFeU16UTFOamM0T1dGaVkyUmxaZz09LGk9NDA5Ng==
    > Yz1iaXdzLHI9eCxwPU1ERXlNelExTmpjNE9XRmlZMlJsWmpBeE1qTTBOVFkzT0RsaFltTmtaV1k9
    535 5.7.8 Authentication credentials invalid
    > STARTTLS
    220 2.0.0 Ready to start TLS
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250-AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN
    250 HELP
    > AUTH LOGIN
    334 VXNlcm5hbWU6
    > ZnJlZA==
    334 UGFzc3dvcmQ6
    > cGVuY2ls
    235 2.7.0 Authentication successful
    ");
}

#[test]
fn exchanges_that_go_wrong() {
    assert_snapshot!(dialogue(&safe(Demand::May, Demand::May), "
        AUTH CRAM-MD5
        HELO client.example
        AUTH CRAM-MD5
        EHLO client.example
        AUTH
        AUTH PLAIN a b
        AUTH GSSAPI
        AUTH CRAM-MD5 ZnJlZA==
        AUTH CRAM-MD5 Zn*
        AUTH CRAM-MD5 =
        AUTH CRAM-MD5
        *
        AUTH CRAM-MD5
        QUIT
        AUTH CRAM-MD5
        (long line)
        AUTH SCRAM-SHA-256 =
        AUTH SCRAM-SHA-256 ZnJlZA==
        AUTH CRAM-MD5
        (users are lost)
        MAIL FROM:<a@b.example>
        AUTH CRAM-MD5
        RSET
        STARTTLS
        EHLO client.example
        AUTH PLAIN AGZyZWQAcGVuY2lsAA==
        AUTH PLAIN
        AGZyZWQAcGVu
        AUTH PLAIN Z2luZ2VyAGZyZWQAcGVuY2ls
        AUTH PLAIN AG5vYm9keQBwZW5jaWw=
    "), @r"
    220 hub.example ESMTP Sluice ready
    > AUTH CRAM-MD5
    503 5.5.1 Send EHLO or HELO first
    > HELO client.example
    250 hub.example Hello client.example
    > AUTH CRAM-MD5
    503 5.5.1 Send EHLO or HELO first
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250-STARTTLS
    250-AUTH SCRAM-SHA-256 CRAM-MD5
    250 HELP
    > AUTH
    501 5.5.4 Syntax: AUTH mechanism [initial-response]
    > AUTH PLAIN a b
    501 5.5.4 Syntax: AUTH mechanism [initial-response]
    > AUTH GSSAPI
    504 5.5.4 Authentication mechanism not offered
    > AUTH CRAM-MD5 ZnJlZA==
    501 5.5.4 That is no message of CRAM-MD5
    > AUTH CRAM-MD5 Zn*
    501 5.5.2 Cannot decode base64
    > AUTH CRAM-MD5 =
    501 5.5.4 That is no message of CRAM-MD5
    > AUTH CRAM-MD5
    334 PEJ3Y0hCd2NIQndjSEJ3Y0hCd2NIQndjSC4xQGh1Yi5leGFtcGxlPg==
    > *
    501 5.7.0 Authentication cancelled
    > AUTH CRAM-MD5
    334 PEJ3Y0hCd2NIQndjSEJ3Y0hCd2NIQndjSC4xQGh1Yi5leGFtcGxlPg==
    > QUIT
    501 5.5.4 That is no message of CRAM-MD5
    > AUTH CRAM-MD5
    334 PEJ3Y0hCd2NIQndjSEJ3Y0hCd2NIQndjSC4xQGh1Yi5leGFtcGxlPg==
    > (long line)
    500 5.5.6 Authentication exchange line is too long
    > AUTH SCRAM-SHA-256 =
    501 5.5.4 That is no message of SCRAM-SHA-256
    > AUTH SCRAM-SHA-256 ZnJlZA==
    501 5.5.4 That is no message of SCRAM-SHA-256
    > AUTH CRAM-MD5
    (CramMd5)
    > (users are lost)
    454 4.7.0 Temporary authentication failure
    > MAIL FROM:<a@b.example>
    250 2.1.0 Sender OK
    > AUTH CRAM-MD5
    503 5.5.1 AUTH not allowed inside a mail transaction
    > RSET
    250 2.0.0 Reset, no transaction
    > STARTTLS
    220 2.0.0 Ready to start TLS
    > EHLO client.example
    250-hub.example Hello client.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250-AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN
    250 HELP
    > AUTH PLAIN AGZyZWQAcGVuY2lsAA==
    501 5.5.4 That is no message of PLAIN
    > AUTH PLAIN
    334 
    > AGZyZWQAcGVu
    535 5.7.8 Authentication credentials invalid
    > AUTH PLAIN Z2luZ2VyAGZyZWQAcGVuY2ls
    535 5.7.8 Authentication credentials invalid
    > AUTH PLAIN AG5vYm9keQBwZW5jaWw=
    421 4.7.0 Too many failed logins, closing connection
    (closed)
    ");
}

#[test]
fn only_a_login_is_told_of_releases() {
    assert_snapshot!(dialogue(&safe(Demand::May, Demand::May), "
        HELP RELEASES
        EHLO site7.example
        HELP RELEASES
        STARTTLS
        EHLO site7.example
        AUTH PLAIN AGZyZWQAcGVuY2ls
        HELP releases
        HELP RELEASES
        (none yet)
        HELP RELEASES
        (owns nothing)
        HELP RELEASES
        (no answer)
        HELP RELEASES please
        QUIT
    "), @r"
    220 hub.example ESMTP Sluice ready
    > HELP RELEASES
    503 5.5.1 Send EHLO or HELO first
    > EHLO site7.example
    250-hub.example Hello site7.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250-STARTTLS
    250-AUTH SCRAM-SHA-256 CRAM-MD5
    250 HELP
    > HELP RELEASES
    530 5.7.0 No AUTH command has been given
    > STARTTLS
    220 2.0.0 Ready to start TLS
    > EHLO site7.example
    250-hub.example Hello site7.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250-AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN
    250 HELP
    > AUTH PLAIN AGZyZWQAcGVuY2ls
    235 2.7.0 Authentication successful
    > HELP releases
    214-2.0.0 Releases of site7, the newest first
    214 2.0.0 r1 delivered 5 of 5
    > HELP RELEASES
    214 2.0.0 No release of site7 yet
    > HELP RELEASES
    214 2.0.0 Your login owns no site here: there are no releases to tell you of
    > HELP RELEASES
    451 4.3.0 The releases cannot be told now, try again later
    > HELP RELEASES please
    214-2.0.0 Commands: HELO EHLO MAIL RCPT DATA RSET NOOP VRFY ETRN HELP QUIT STARTTLS AUTH
    214-2.0.0 See RFC 5321; for ETRN see RFC 1985
    214 2.0.0 HELP RELEASES tells what was released for you
    > QUIT
    221 2.0.0 hub.example closing connection
    (closed)
    ");
}

#[test]
fn the_service_odmr_is_for_atrn_and_nothing_else() {
    let policy = with(|policy| {
        *policy = safe(Demand::May, Demand::May);
        policy.atrn = AtrnPolicy::Only;
        policy.chunking = true;
    });
    assert_snapshot!(dialogue(&policy, "
        ATRN
        EHLO site7.example
        ATRN site7.example
        MAIL FROM:<a@b.example>
        RCPT TO:<a@b.example>
        DATA
        VRFY someone
        ETRN site7.example
        BDAT 5 LAST
        STARTTLS
        EHLO site7.example
        AUTH PLAIN AGZyZWQAcGVuY2ls
        ATRN @site7.example
        ATRN site7.example b.example
        ATRN example
        ATRN site7.example
        (gotcha)
        ATRN site7.example
        (no mail)
        ATRN elsewhere.example
        (not yours)
        ATRN
        (unable)
        NOOP
        RSET
        HELP
        ATRN a.example,b.example
        QUIT
    "), @r"
    220 hub.example ESMTP Sluice ready
    > ATRN
    503 5.5.1 Send EHLO or HELO first
    > EHLO site7.example
    250-hub.example Hello site7.example
    250-ENHANCEDSTATUSCODES
    250-ATRN
    250-STARTTLS
    250-AUTH SCRAM-SHA-256 CRAM-MD5
    250 HELP
    > ATRN site7.example
    530 5.7.0 No AUTH command has been given
    > MAIL FROM:<a@b.example>
    502 5.5.1 MAIL not implemented here: log in and ask for your mail with ATRN
    > RCPT TO:<a@b.example>
    502 5.5.1 RCPT not implemented here: log in and ask for your mail with ATRN
    > DATA
    502 5.5.1 DATA not implemented here: log in and ask for your mail with ATRN
    > VRFY someone
    502 5.5.1 VRFY not implemented here: log in and ask for your mail with ATRN
    > ETRN site7.example
    502 5.5.1 ETRN not implemented here: log in and ask for your mail with ATRN
    > BDAT 5 LAST
    502 5.5.1 BDAT not implemented here: log in and ask for your mail with ATRN
    > STARTTLS
    220 2.0.0 Ready to start TLS
    > EHLO site7.example
    250-hub.example Hello site7.example
    250-ENHANCEDSTATUSCODES
    250-ATRN
    250-AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN
    250 HELP
    > AUTH PLAIN AGZyZWQAcGVuY2ls
    235 2.7.0 Authentication successful
    > ATRN @site7.example
    501 5.5.4 Syntax Error in Parameters: ATRN [domain[,domain...]]
    > ATRN site7.example b.example
    501 5.5.4 Syntax Error in Parameters: ATRN [domain[,domain...]]
    > ATRN example
    501 5.5.4 Syntax Error in Parameters: ATRN [domain[,domain...]]
    > ATRN site7.example
    503 5.5.1 Nothing may follow ATRN before its reply
    > ATRN site7.example
    453 4.0.0 You have no mail
    > ATRN elsewhere.example
    450 4.7.1 ATRN request refused: not your domain
    > ATRN
    451 4.3.0 Unable to process ATRN request now
    > NOOP
    250 2.0.0 OK
    > RSET
    250 2.0.0 Reset, no transaction
    > HELP
    214-2.0.0 Commands: HELO EHLO RSET NOOP HELP QUIT ATRN STARTTLS AUTH
    214-2.0.0 See RFC 5321; for ETRN see RFC 1985
    214 2.0.0 HELP RELEASES tells what was released for you
    > ATRN a.example,b.example
    250 2.0.0 OK now reversing the connection
    (turned)
    ");
}

#[test]
fn where_atrn_is_not_offered_it_is_not_there() {
    assert_snapshot!(dialogue(&safe(Demand::May, Demand::May), "
        EHLO site7.example
        ATRN site7.example
    "), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO site7.example
    250-hub.example Hello site7.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250-STARTTLS
    250-AUTH SCRAM-SHA-256 CRAM-MD5
    250 HELP
    > ATRN site7.example
    502 5.5.1 ATRN not implemented
    ");
}

#[test]
fn atrn_inside_a_transaction_leaves_it_intact() {
    let policy = with(|policy| {
        *policy = safe(Demand::May, Demand::May);
        policy.atrn = AtrnPolicy::Offered;
    });
    assert_snapshot!(dialogue(&policy, "
        EHLO site7.example
        MAIL FROM:<a@b.example>
        ATRN
        RCPT TO:<a@b.example>
        QUIT
    "), @r"
    220 hub.example ESMTP Sluice ready
    > EHLO site7.example
    250-hub.example Hello site7.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-SIZE 1000
    250-ETRN
    250-ATRN
    250-STARTTLS
    250-AUTH SCRAM-SHA-256 CRAM-MD5
    250 HELP
    > MAIL FROM:<a@b.example>
    250 2.1.0 Sender OK
    > ATRN
    503 5.5.1 ATRN not allowed inside a mail transaction
    > RCPT TO:<a@b.example>
    250 2.1.5 Recipient OK
    > QUIT
    221 2.0.0 hub.example closing connection
    (closed)
    ");
}
