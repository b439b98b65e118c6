//! Other people's servers get a release (row 6.5): fifty messages that were held arrive once each and unchanged.
//!
//! Each server is a process of the test with its own configuration, queue and port, and is ended by its own id. Exim and
//! Sendmail run as anybody. Postfix's master and OpenSMTPD start for root only. `cargo xtask peers` brings them.

use sluice_testkit::{
    Batch, Program, Sink, below_received, free_port, maildir, message, number_of, wait_for, watch,
};
use sluice_tests::{Destination, Peer, SOON, WHILE, hub, is_root, show};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How many messages a release has, and how large they are: a line near the limit of 998 is in each.
const MESSAGES: usize = 50;
const SIZE: usize = 4096;

fn greets(port: u16) -> bool {
    let greeting = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        Some(line)
    };
    greeting().is_some_and(|line| line.starts_with("220 "))
}

/// Holds mail for the server on this port, releases it by ETRN and compares what the server has done with it.
fn releases_to(name: &str, port: u16, inbox: impl Fn() -> Vec<Vec<u8>>) {
    let mut hub = hub(name, &[Destination::held("tcp_dialup", "site7.example", port)]);
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
    let mut exim = Peer::root("exim4-daemon-heavy");
    let (port, user) = (free_port(), exim.user());
    let (spool, log, mail) = (exim.make("spool"), exim.make("log"), exim.make("mail"));
    let inbox = mail.join("inbox");
    let configuration = exim.folder().join("exim.conf");
    // As delivered it only queues what comes after the tenth message of a connection, for a queue runner that is not here.
    // Exim begins itself anew for each delivery, by its path, and needs the libraries and users of its root again.
    let text = format!(
        "primary_hostname = exim.example\nexim_user = {user}\nexim_group = {user}\nexim_path = {program}\n\
         keep_environment = ^LD_ : ^NSS_\nspool_directory = {spool}\nlog_file_path = {log}/%s\n\
         pid_file_path = {spool}/pid\ndaemon_smtp_ports = {port}\nlocal_interfaces = 127.0.0.1\ntls_advertise_hosts =\n\
         host_lookup =\nrfc1413_hosts =\nsmtp_accept_queue_per_connection = 0\nacl_smtp_rcpt = accept\nacl_smtp_data = accept\n\n\
         begin routers\nall:\n  driver = accept\n  transport = inbox\n\n\
         begin transports\ninbox:\n  driver = appendfile\n  directory = {inbox}\n  maildir_format\n  user = {user}\n  \
         group = {user}\n  return_path_add\n",
        program = exim.file("usr/sbin/exim4").display(),
        spool = spool.display(),
        log = log.display(),
        inbox = inbox.display(),
    );
    fs::write(&configuration, text).expect("a new file");
    let path = configuration.to_string_lossy();
    exim.start(
        "usr/sbin/exim4",
        &["-C", &path, "-bdf"],
        &["Debian-exim"],
        &["exim.conf", "log/main", "log/panic"],
    );
    wait_for("Exim greets", SOON, || exim.ended() || greets(port));
    assert!(!exim.ended(), "Exim ended");
    releases_to("exim", port, || maildir(&inbox));
}

#[test]
fn row_6_5_sendmail_receives_a_release() {
    let mut sendmail = Peer::root("sendmail-bin");
    let (port, sink) = (free_port(), Sink::start());
    let queue = sendmail.make("queue");
    let configuration = sendmail.folder().join("sendmail.cf");
    // All that it takes it passes on to a sink: rules that find the address in what stands around it, and one mailer.
    let text = format!(
        "V10/Berkeley\nDjsendmail.example\nCwsendmail.example\nO QueueDirectory={queue}\nO PidFile={queue}/pid\n\
         O DaemonPortOptions=Port={port}, Addr=127.0.0.1, Name=MTA\nO Timeout.ident=0\nO QueueLA=1000\nO RefuseLA=1000\n\
         O TrustedUser=smmta\nTroot\nTsmmta\n\
         HReceived: $?sfrom $s $.$?_($?s$|from $.$_) $.by $j ($v)$?r with $r$. id $i; $b\n\
         S3\nR$* < $* > $*\t$2\nS0\nR$*\t$#relay $@ [127.0.0.1] $: $1\n\
         Mlocal, P=/bin/false, F=ls, S=0, R=0, A=false\nMprog, P=/bin/false, F=ls, S=0, R=0, A=false\n\
         Mrelay, P=[IPC], F=mX8k, E=\\r\\n, L=2040, T=DNS/RFC822/SMTP, A=TCP $h {to}\n",
        queue = queue.display(),
        to = sink.port(),
    );
    fs::write(&configuration, text).expect("a new file");
    let path = format!("-C{}", configuration.display());
    let traffic = format!("-X{}/traffic", queue.display());
    sendmail.start(
        "usr/libexec/sendmail/sendmail",
        &[&path, "-bD", &traffic],
        &["smmta", "smmsp"],
        &["sendmail.cf", "queue/traffic"],
    );
    wait_for("Sendmail greets", SOON, || sendmail.ended() || greets(port));
    assert!(!sendmail.ended(), "Sendmail ended");
    releases_to("sendmail", port, || sink.arrived().into_iter().map(|one| one.content).collect());
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

/// A Postfix of the test beside whatever the machine has.
struct Postfix {
    master: Program,
    folder: tempfile::TempDir,
}

impl Postfix {
    fn start(port: u16) -> Postfix {
        let folder =
            tempfile::Builder::new().prefix("sluice-postfix-").tempdir().expect("a temporary folder");
        let place = folder.path();
        for part in ["conf", "queue", "data", "mail"] {
            fs::create_dir(place.join(part)).expect("a new folder");
        }
        let own = |part: &str, user: &str| {
            let done = Command::new("chown").args([user, &place.join(part).to_string_lossy()]).status();
            assert!(done.is_ok_and(|status| status.success()), "{user} owns {part}; cargo xtask peers");
        };
        own("data", "postfix");
        own("mail", "nobody");
        // Its processes are other users than root, and go through the folder.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(place, open).expect("the folder is ours");
        let nobody =
            fs::metadata(place.join("mail")).map(|about| std::os::unix::fs::MetadataExt::uid(&about));
        let nobody = nobody.expect("the folder is there");
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {place}/queue\ndata_directory = {place}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
             setgid_group = postdrop\nmyhostname = postfix.example\nmydestination =\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nmaillog_file = {place}/log\nmaillog_file_prefixes = {place}\n\
             smtp_dns_support_level = disabled\nsmtpd_peername_lookup = no\nlocal_header_rewrite_clients =\n\
             enable_original_recipient = no\nvirtual_mailbox_domains = site7.example\n\
             virtual_mailbox_maps = static:inbox/\nvirtual_mailbox_base = {place}/mail\nvirtual_uid_maps = static:{nobody}\n\
             virtual_gid_maps = static:{nobody}\nvirtual_minimum_uid = 1\nalias_maps =\nalias_database =\n\
             local_recipient_maps =\n",
            place = place.display(),
        );
        fs::write(place.join("conf/main.cf"), main).expect("a new file");
        let services = format!(
            "127.0.0.1:{port} inet n - n - - smtpd\npickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\n\
             qmgr unix n - n 300 1 qmgr\nrewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
             defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nproxymap unix - - n - - proxymap\n\
             flush unix n - n 1000? 0 flush\nerror unix - - n - - error\nretry unix - - n - - error\n\
             virtual unix - n n - - virtual\nanvil unix - - n - 1 anvil\npostlog unix-dgram n - n - 1 postlogd\n"
        );
        fs::write(place.join("conf/master.cf"), services).expect("a new file");
        let configuration = place.join("conf");
        // Makes the folders of the queue, each with its owner.
        let check = Command::new("/usr/sbin/postfix").arg("-c").arg(&configuration).arg("check").output();
        let check = check.expect("postfix; cargo xtask peers");
        assert!(check.status.success(), "postfix check: {}", String::from_utf8_lossy(&check.stderr));
        let master = Program::start(
            Path::new("/usr/lib/postfix/sbin/master"),
            &["-c".as_ref(), configuration.as_os_str(), "-d".as_ref()],
            &place.join("output"),
        );
        Postfix { master: master.expect("Postfix's master"), folder }
    }

    fn inbox(&self) -> PathBuf {
        self.folder.path().join("mail/inbox")
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // Its master ends all the others before itself.
        self.master.terminate(Duration::from_secs(10));
        if std::thread::panicking() {
            show(&[self.folder.path().join("log"), self.folder.path().join("output")]);
        }
    }
}

#[test]
fn row_6_5_postfix_receives_a_release() {
    if !is_root() {
        eprintln!("left out: Postfix's master starts for root only, and these tests run as somebody else");
        return;
    }
    let port = free_port();
    let mut postfix = Postfix::start(port);
    wait_for("Postfix greets", SOON, || postfix.master.ended().is_some() || greets(port));
    assert!(postfix.master.ended().is_none(), "Postfix's master ended");
    releases_to("postfix", port, || maildir(&postfix.inbox()));
}
