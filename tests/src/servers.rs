//! Exim, Postfix and Sendmail with configurations of the tests: each takes mail for itself, or keeps it for a site that asks
//! by ETRN.
//!
//! Each has its own queue and port, and is ended by its own id. Exim and Sendmail run as anybody; Postfix's master
//! starts for root only. `cargo xtask peers` brings them.
//!
//! # Not here
//! How a server in a root of its own is started (`peer`).

use crate::SOON;
use crate::peer::{Peer, show};
use sluice_testkit::{Program, free_port, wait_for};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The domain that all of them know.
pub const DOMAIN: &str = "site7.example";

/// What a server does with mail for [`DOMAIN`].
#[derive(Debug, Clone, Copy)]
pub enum Duty {
    /// Delivers it: Exim and Postfix into a maildir of their own, and Sendmail, which has none, to this port of loopback at once.
    Deliver(Option<u16>),
    /// Passes it on to this port of loopback when it is asked by ETRN, and not by itself within the time of a test.
    Keep(u16),
}

/// A server that takes mail.
#[derive(Debug)]
pub struct Server {
    port: u16,
    inbox: Option<PathBuf>,
    log: PathBuf,
    process: Process,
}

#[derive(Debug)]
enum Process {
    InRoot(Peer),
    Postfix { master: Program, folder: tempfile::TempDir },
}

impl Server {
    /// Exim.
    ///
    /// # Panics
    /// When it is not there or does not greet.
    #[must_use]
    pub fn exim(duty: Duty) -> Server {
        let mut exim = Peer::root("exim4-daemon-heavy");
        let (port, user) = (free_port(), exim.user());
        let (spool, log, mail) = (exim.make("spool"), exim.make("log"), exim.make("mail"));
        let (inbox, program) = (mail.join("inbox"), exim.file("usr/sbin/exim4"));
        let configuration = exim.folder().join("exim.conf");
        let path = configuration.to_string_lossy().into_owned();
        let (main, transport) = match duty {
            // As delivered it only queues what comes after the tenth message of a connection, for a queue runner that is not here.
            Duty::Deliver(_) => (
                "smtp_accept_queue_per_connection = 0\n\nbegin acl\n".to_owned(),
                format!(
                    "all:\n  driver = accept\n  transport = out\n\nbegin transports\nout:\n  driver = appendfile\n  \
                     directory = {}\n  maildir_format\n  user = {user}\n  group = {user}\n  return_path_add\n",
                    inbox.display()
                ),
            ),
            // What a client has said is tainted and may stand in no command, so that the name stands there as it is, and the rule
            // lets only it ask.
            Duty::Keep(site) => (
                format!(
                    "acl_smtp_etrn = etrn\nsmtp_etrn_command = {} -C {path} -R {DOMAIN}\nprod_requires_admin = false\n\
                     queue_smtp_domains = {DOMAIN}\n\nbegin acl\n\
                     etrn:\n  accept condition = ${{if eqi{{$smtp_command_argument}}{{{DOMAIN}}}}}\n",
                    program.display()
                ),
                format!(
                    "all:\n  driver = manualroute\n  route_list = * 127.0.0.1\n  transport = out\n  self = send\n\n\
                     begin transports\nout:\n  driver = smtp\n  port = {site}\n  allow_localhost\n  hosts_avoid_tls = *\n"
                ),
            ),
        };
        // Exim begins itself anew for each delivery, by its path, and needs the libraries and users of its root again.
        let text = format!(
            "primary_hostname = exim.example\nexim_user = {user}\nexim_group = {user}\nexim_path = {program}\n\
             keep_environment = ^LD_ : ^NSS_\nspool_directory = {spool}\nlog_file_path = {log}/%s\n\
             pid_file_path = {spool}/pid\ndaemon_smtp_ports = {port}\nlocal_interfaces = 127.0.0.1\n\
             tls_advertise_hosts =\nhost_lookup =\nrfc1413_hosts =\nacl_smtp_rcpt = accept\nacl_smtp_data = accept\n\
             {main}\nbegin routers\n{transport}",
            program = program.display(),
            spool = spool.display(),
            log = log.display(),
        );
        fs::write(&configuration, text).expect("a new file");
        exim.start(
            "usr/sbin/exim4",
            &["-C", &path, "-bdf"],
            &["Debian-exim"],
            &["exim.conf", "log/main", "log/panic"],
        );
        Server { port, inbox: Some(inbox), log: log.join("main"), process: Process::InRoot(exim) }.greeted()
    }

    /// Sendmail. All that it takes it passes on: it has rules that find the address in what stands around it, and one mailer.
    ///
    /// # Panics
    /// When it is not there or does not greet, or has nobody to deliver to.
    #[must_use]
    pub fn sendmail(duty: Duty) -> Server {
        let (mode, to) = match duty {
            Duty::Deliver(to) => ("background", to.expect("a port to deliver to")),
            // Into the queue, which nobody runs: only ETRN does.
            Duty::Keep(to) => ("queueonly", to),
        };
        let mut sendmail = Peer::root("sendmail-bin");
        let (port, queue) = (free_port(), sendmail.make("queue"));
        let configuration = sendmail.folder().join("sendmail.cf");
        let text = format!(
            "V10/Berkeley\nDjsendmail.example\nCwsendmail.example\nO QueueDirectory={queue}\nO PidFile={queue}/pid\n\
             O DaemonPortOptions=Port={port}, Addr=127.0.0.1, Name=MTA\nO DeliveryMode={mode}\nO Timeout.ident=0\n\
             O QueueLA=1000\nO RefuseLA=1000\nO TrustedUser=smmta\nTroot\nTsmmta\n\
             HReceived: $?sfrom $s $.$?_($?s$|from $.$_) $.by $j ($v)$?r with $r$. id $i; $b\n\
             S3\nR$* < $* > $*\t$2\nS0\nR$*\t$#relay $@ [127.0.0.1] $: $1\n\
             Mlocal, P=/bin/false, F=ls, S=0, R=0, A=false\nMprog, P=/bin/false, F=ls, S=0, R=0, A=false\n\
             Mrelay, P=[IPC], F=mX8k, E=\\r\\n, L=2040, T=DNS/RFC822/SMTP, A=TCP $h {to}\n",
            queue = queue.display(),
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
        Server { port, inbox: None, log: queue.join("traffic"), process: Process::InRoot(sendmail) }.greeted()
    }

    /// A Postfix of the test beside whatever the machine has. For root only.
    ///
    /// # Panics
    /// When it is not installed or does not greet.
    #[must_use]
    pub fn postfix(duty: Duty) -> Server {
        let folder = tempfile::Builder::new().prefix("sluice-postfix-").tempdir();
        let folder = folder.expect("a temporary folder");
        let (place, port) = (folder.path(), free_port());
        for part in ["conf", "queue", "data", "mail"] {
            fs::create_dir(place.join(part)).expect("a new folder");
        }
        for (part, user) in [("data", "postfix"), ("mail", "nobody")] {
            let done = Command::new("chown").args([user, &place.join(part).to_string_lossy()]).status();
            assert!(done.is_ok_and(|status| status.success()), "{user} owns {part}; cargo xtask peers");
        }
        // Its processes are other users than root, and go through the folder.
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        let nobody = fs::metadata(place.join("mail")).expect("the folder is there").uid();
        let (main, service) = match duty {
            Duty::Deliver(_) => (
                format!(
                    "enable_original_recipient = no\nvirtual_mailbox_domains = {DOMAIN}\n\
                     virtual_mailbox_maps = static:inbox/\nvirtual_mailbox_base = {}/mail\n\
                     virtual_uid_maps = static:{nobody}\nvirtual_gid_maps = static:{nobody}\nvirtual_minimum_uid = 1\n",
                    place.display()
                ),
                "virtual unix - n n - - virtual\n",
            ),
            // The first attempt finds nobody, and the next one would come in an hour.
            Duty::Keep(site) => (
                format!(
                    "smtp_host_lookup = native\nrelay_domains = {DOMAIN}\nrelay_recipient_maps =\n\
                     relay_transport = smtp:[127.0.0.1]:{site}\nfast_flush_domains = $relay_domains\n\
                     smtpd_etrn_restrictions = permit_mynetworks, reject\nminimal_backoff_time = 1h\nqueue_run_delay = 1h\n"
                ),
                "smtp unix - - n - - smtp\nscache unix - - n - 1 scache\n",
            ),
        };
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {place}/queue\ndata_directory = {place}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
             setgid_group = postdrop\nmyhostname = postfix.example\nmydestination =\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nmaillog_file = {place}/log\nmaillog_file_prefixes = {place}\n\
             smtp_dns_support_level = disabled\nsmtpd_peername_lookup = no\nlocal_header_rewrite_clients =\n\
             alias_maps =\nalias_database =\nlocal_recipient_maps =\n{main}",
            place = place.display(),
        );
        fs::write(place.join("conf/main.cf"), main).expect("a new file");
        let services = format!(
            "127.0.0.1:{port} inet n - n - - smtpd\npickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\n\
             qmgr unix n - n 300 1 qmgr\nrewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
             defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nproxymap unix - - n - - proxymap\n\
             flush unix n - n 1000? 0 flush\nerror unix - - n - - error\nretry unix - - n - - error\n\
             anvil unix - - n - 1 anvil\npostlog unix-dgram n - n - 1 postlogd\n{service}"
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
        let (inbox, log) = (place.join("mail/inbox"), place.join("log"));
        let process = Process::Postfix { master: master.expect("Postfix's master"), folder };
        Server { port, inbox: Some(inbox), log, process }.greeted()
    }

    fn greeted(mut self) -> Server {
        wait_for("the server greets", SOON, || self.has_ended() || greets(self.port));
        assert!(!self.has_ended(), "the server ended");
        self
    }

    fn has_ended(&mut self) -> bool {
        match &mut self.process {
            Process::InRoot(peer) => peer.ended(),
            Process::Postfix { master, .. } => master.ended().is_some(),
        }
    }

    /// Its port on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The maildir of what it has delivered.
    ///
    /// # Panics
    /// Sendmail has none.
    #[must_use]
    pub fn inbox(&self) -> &Path {
        self.inbox.as_deref().expect("a server with a maildir")
    }

    /// Has Postfix read a session from a file, as `sendmail -bs` does. What it answered.
    ///
    /// # Panics
    /// When it is another server, or cannot be run.
    #[must_use]
    pub fn read_session(&self, file: &Path) -> String {
        let Process::Postfix { folder, .. } = &self.process else {
            panic!("only Postfix has `sendmail -bs`")
        };
        let output = Command::new("/usr/sbin/sendmail")
            .arg("-C")
            .arg(folder.path().join("conf"))
            .arg("-bs")
            .stdin(fs::File::open(file).expect("a file"))
            .output()
            .expect("sendmail; cargo xtask peers");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// How often a text stands in its log.
    #[must_use]
    pub fn logged(&self, text: &str) -> usize {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).matches(text).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Process::Postfix { master, folder } = &mut self.process {
            // Its master ends all the others before itself.
            master.terminate(Duration::from_secs(10));
            if std::thread::panicking() {
                show(&[self.log.clone(), folder.path().join("output")]);
            }
        }
    }
}

/// Whether a server on this port of loopback greets.
#[must_use]
pub fn greets(port: u16) -> bool {
    let greeting = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        Some(line)
    };
    greeting().is_some_and(|line| line.starts_with("220 "))
}
