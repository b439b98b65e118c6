//! Other people's servers get a release (row 6.5): fifty messages that were held arrive once each and unchanged.
//!
//! The servers are `sluice_tests::Server`; OpenSMTPD, which knows its files by fixed paths, is started here.

use sluice_testkit::{Batch, Sink, below_received, free_port, maildir, message, number_of, wait_for, watch};
use sluice_tests::{DOMAIN, Destination, Duty, Peer, SOON, Server, WHILE, greets, hub, is_root};
use std::fs;

/// How many messages a release has, and how large they are: a line near the limit of 998 is in each.
const MESSAGES: usize = 50;
const SIZE: usize = 4096;

/// Holds mail for the server on this port, releases it by ETRN and compares what the server has done with it.
fn releases_to(name: &str, port: u16, inbox: impl Fn() -> Vec<Vec<u8>>) {
    let mut hub = hub(name, &[Destination::held("tcp_dialup", DOMAIN, port)]);
    hub.start();
    let batch = Batch { size: SIZE, ..Batch::new(hub.address(), "fred@site7.example", MESSAGES) };
    batch.send_all();
    watch("nothing arrives before it is asked for", WHILE, || inbox().is_empty());
    hub.talk().want("ETRN site7.example", 253);
    wait_for("all fifty arrive", SOON, || inbox().len() >= MESSAGES);
    hub.wait_for_waiting(None, 0, SOON);
    watch("none arrives twice", WHILE, || inbox().len() == MESSAGES);
    let arrived = inbox();
    let mut numbers: Vec<usize> = arrived.iter().filter_map(|content| number_of(content)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>());
    for content in &arrived {
        let number = number_of(content).expect("a number");
        // A maildir has the line ends of the machine.
        let sent = String::from_utf8(message(number, SIZE)).expect("text").replace("\r\n", "\n");
        let got = String::from_utf8_lossy(below_received(content)).replace("\r\n", "\n");
        assert_eq!(got, sent, "message {number}");
    }
    hub.stop();
}

#[test]
fn row_6_5_exim_receives_a_release() {
    let exim = Server::exim(Duty::Deliver(None));
    releases_to("exim", exim.port(), || maildir(exim.inbox()));
}

#[test]
fn row_6_5_sendmail_receives_a_release() {
    let sink = Sink::start();
    let sendmail = Server::sendmail(Duty::Deliver(Some(sink.port())));
    releases_to("sendmail", sendmail.port(), || sink.arrived().into_iter().map(|one| one.content).collect());
}

/// OpenSMTPD knows its users, its queue and where it locks itself up by fixed paths: it gets a `/var` and a list of users that
/// nobody else sees, which only root can give it.
const OPENSMTPD: &str = "
cp /etc/passwd $FOLDER/passwd; cp /etc/group $FOLDER/group
for user in opensmtpd:65532 opensmtpq:65531; do
    number=${user#*:}; name=${user%:*}
    echo $name:x:$number:$number::/var/lib/opensmtpd/empty:/bin/false >> $FOLDER/passwd
    echo $name:x:$number: >> $FOLDER/group
done
chmod 644 $FOLDER/passwd $FOLDER/group
mount --bind $FOLDER/passwd /etc/passwd
mount --bind $FOLDER/group /etc/group
mount -t tmpfs -o mode=755 tmpfs /var
mkdir -p /var/lib/opensmtpd/empty /var/run /var/spool
export LD_LIBRARY_PATH=$LIBRARIES
exec $ROOT/usr/sbin/smtpd -d -f $FOLDER/smtpd.conf
";

#[test]
fn row_6_5_opensmtpd_receives_a_release() {
    if !is_root() {
        eprintln!("left out: OpenSMTPD starts for root only, and these tests run as somebody else");
        return;
    }
    let mut opensmtpd = Peer::root("opensmtpd");
    let (port, sink) = (free_port(), Sink::start());
    let text = format!(
        "listen on 127.0.0.1 port {port} hostname opensmtpd.example\n\
         action \"out\" relay host smtp://127.0.0.1:{}\nmatch from any for any action \"out\"\n",
        sink.port()
    );
    fs::write(opensmtpd.folder().join("smtpd.conf"), text).expect("a new file");
    opensmtpd.start_apart(OPENSMTPD, &["smtpd.conf"]);
    wait_for("OpenSMTPD greets", SOON, || opensmtpd.ended() || greets(port));
    assert!(!opensmtpd.ended(), "OpenSMTPD ended");
    // It completes the headers of whoever sends to it without a date and without domains; that is taken back, and nothing else.
    let as_sent = |content: Vec<u8>| {
        let text = String::from_utf8(content).expect("text");
        let (header, body) = text.split_once("\r\n\r\n").expect("a header and a body");
        let lines = header.lines().filter(|line| !line.starts_with("Date: "));
        let lines = lines.map(|line| line.replace("whom it concerns@opensmtpd.example", "whom it concerns"));
        format!("{}\r\n\r\n{body}", lines.collect::<Vec<_>>().join("\r\n")).into_bytes()
    };
    releases_to("opensmtpd", port, || sink.arrived().into_iter().map(|one| as_sent(one.content)).collect());
}

#[test]
fn row_6_5_postfix_receives_a_release() {
    if !is_root() {
        eprintln!("left out: Postfix's master starts for root only, and these tests run as somebody else");
        return;
    }
    let postfix = Server::postfix(Duty::Deliver(None));
    releases_to("postfix", postfix.port(), || maildir(postfix.inbox()));
}
