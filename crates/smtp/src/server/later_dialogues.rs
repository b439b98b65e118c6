//! Later release (FUTURERELEASE, RFC 4865): what EHLO offers, and what MAIL may ask for. It is 2026-11-21 21:30:00 UTC here.

use insta::assert_snapshot;
use sluice_mail::Time;

use super::dialogues::{dialogue, policy, with};

/// When everything is said in all dialogues.
pub(super) const NOW: Time = Time::from_secs(1_795_296_600);

#[test]
fn a_release_is_asked_for_in_seconds_or_by_date() {
    let policy = with(|policy| policy.later_release = Some(3600));
    assert_snapshot!(dialogue(&policy, "
        EHLO client.example
        MAIL FROM:<a@b.example> HOLDFOR=3600
        RSET
        MAIL FROM:<a@b.example> HOLDUNTIL=2026-11-21T23:30:00+01:00
        RSET
        MAIL FROM:<a@b.example> HOLDUNTIL=2026-11-21T21:29:00Z
        RSET
        MAIL FROM:<a@b.example> HOLDFOR=3601
        MAIL FROM:<a@b.example> HOLDUNTIL=2026-11-21T22:30:00.001Z
        MAIL FROM:<a@b.example> HOLDUNTIL=9999-01-01T00:00:00Z
        MAIL FROM:<a@b.example> HOLDFOR=soon
        MAIL FROM:<a@b.example> HOLDFOR=1 HOLDUNTIL=2026-11-21T22:00:00Z
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
    250-FUTURERELEASE 3600 2026-11-21T22:30:00Z
    250 HELP
    > MAIL FROM:<a@b.example> HOLDFOR=3600
    250 2.1.0 Sender OK
    > RSET
    250 2.0.0 Reset, no transaction
    > MAIL FROM:<a@b.example> HOLDUNTIL=2026-11-21T23:30:00+01:00
    250 2.1.0 Sender OK
    > RSET
    250 2.0.0 Reset, no transaction
    > MAIL FROM:<a@b.example> HOLDUNTIL=2026-11-21T21:29:00Z
    250 2.1.0 Sender OK
    > RSET
    250 2.0.0 Reset, no transaction
    > MAIL FROM:<a@b.example> HOLDFOR=3601
    501 5.5.4 A message is held for at most 3600 seconds
    > MAIL FROM:<a@b.example> HOLDUNTIL=2026-11-21T22:30:00.001Z
    501 5.5.4 A message is held for at most 3600 seconds
    > MAIL FROM:<a@b.example> HOLDUNTIL=9999-01-01T00:00:00Z
    501 5.5.4 A message is held for at most 3600 seconds
    > MAIL FROM:<a@b.example> HOLDFOR=soon
    501 5.5.4 Bad value of parameter HOLDFOR
    > MAIL FROM:<a@b.example> HOLDFOR=1 HOLDUNTIL=2026-11-21T22:00:00Z
    501 5.5.4 Bad value of parameter HOLDUNTIL
    > MAIL FROM:<a@b.example>
    250 2.1.0 Sender OK
    ");
}

#[test]
fn where_it_is_not_offered_it_is_no_parameter() {
    assert_snapshot!(dialogue(&policy(), "
        HELO client.example
        MAIL FROM:<a@b.example> HOLDFOR=1
        MAIL FROM:<a@b.example> HOLDUNTIL=2026-11-21T22:00:00Z
        MAIL FROM:<a@b.example>
    "), @r"
    220 hub.example ESMTP Sluice ready
    > HELO client.example
    250 hub.example Hello client.example
    > MAIL FROM:<a@b.example> HOLDFOR=1
    555 5.5.4 Parameter HOLDFOR not recognized or not offered
    > MAIL FROM:<a@b.example> HOLDUNTIL=2026-11-21T22:00:00Z
    555 5.5.4 Parameter HOLDUNTIL not recognized or not offered
    > MAIL FROM:<a@b.example>
    250 2.1.0 Sender OK
    ");
}
