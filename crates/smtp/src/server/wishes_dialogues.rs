//! What a sender wishes to be told: the parameters of DSN in a dialogue, and what becomes of them where a recipient stands
//! for others.

use insta::assert_snapshot;
use sluice_mail::Recipient;

use super::dialogues::{dialogue, policy};
use super::*;

#[test]
fn a_sender_may_say_what_it_wants_to_be_told() {
    assert_snapshot!(dialogue(&policy(), "
        EHLO client.example
        MAIL FROM:<a@b.example> RET=HDRS ENVID=QQ+2B314159
        RCPT TO:<c@d.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;c+2Bd@e.example
        RCPT TO:<d@d.example> NOTIFY=NEVER
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
    > MAIL FROM:<a@b.example> RET=HDRS ENVID=QQ+2B314159
    250 2.1.0 Sender OK
    > RCPT TO:<c@d.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;c+2Bd@e.example
    250 2.1.5 Recipient OK
    > RCPT TO:<d@d.example> NOTIFY=NEVER
    250 2.1.5 Recipient OK
    ");
}

#[test]
fn wishes_are_handed_down_to_those_that_a_recipient_stands_for() {
    use sluice_mail::notice::Action;
    use sluice_mail::{Notify, RecipientWishes};
    let handed = |notify: &str, members: &[Option<&str>]| {
        let notify = if notify.is_empty() { Notify::default() } else { Notify::parse(notify).unwrap() };
        let wishes = RecipientWishes { notify, original: String::new() };
        let member = |sender: &Option<&str>| Accepted {
            expanded: true,
            sender: sender.map(str::to_owned),
            ..Recipient::default().into()
        };
        let mut accepted: Vec<Accepted> = members.iter().map(member).collect();
        let told = hand_down("c@d.example", wishes, &mut accepted).map(|one| one.action);
        let kept: Vec<String> = accepted.iter().map(|one| one.recipient.wishes.notify.to_string()).collect();
        (told, kept.join(" "))
    };
    assert_eq!(handed("", &[None, None]), (None, " ".into()));
    assert_eq!(handed("SUCCESS", &[]), (None, String::new()));
    assert_eq!(handed("SUCCESS", &[None]), (None, "SUCCESS".into()));
    assert_eq!(handed("SUCCESS", &[None, None]), (Some(Action::Expanded), "NEVER NEVER".into()));
    let both = handed("SUCCESS,DELAY", &[None, None]);
    assert_eq!(both, (Some(Action::Expanded), "DELAY DELAY".into()));
    // A list has a reverse-path of its own, and what happens to its members is its owner's business.
    let list = handed("SUCCESS,DELAY", &[Some("owner@d.example")]);
    assert_eq!(list, (Some(Action::Delivered), String::new()));
}
