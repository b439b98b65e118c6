//! The two relays, each with its own configuration, queue and port.

use super::leftovers::{self, Noted};
use super::listening;
use anyhow::{Context, Result, bail};
use sluice_testkit::{Program, free_port, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a hub says: nothing of each message, and at its end what its spool has written.
const LOG: &str = "warn,sluice_dispatch::run=info";

/// How long a relay may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// A running relay; it is stopped when this goes.
pub(super) struct Relay {
    pub(super) name: &'static str,
    pub(super) port: u16,
    /// The process whose time, with that of everything below it, is the relay's.
    pub(super) root_process: u32,
    /// Where its configuration, queue and log are.
    pub(super) folder: PathBuf,
    log: PathBuf,
    stop: Stop,
    _noted: Noted,
}

/// What a relay does with the mail.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// Passes it on at once.
    Relay,
    /// Keeps it: only accepting is measured.
    Held,
    /// Keeps what cannot be delivered, and makes another attempt for these domains when it is asked by ETRN, and for no
    /// other reason within the hour.
    Asked(&'a [String]),
}

enum Stop {
    /// Sluice is our child.
    Program(Program),
    /// Postfix's master has put itself into the background and is stopped by its own command.
    Postfix(PathBuf),
}

impl Relay {
    /// Ends a hub of ours in an orderly way. What it said at its end is in its log.
    pub(super) fn end(&mut self) -> Result<()> {
        let Stop::Program(program) = &mut self.stop else { return Ok(()) };
        let ended = program.terminate(STOP_WITHIN);
        ended.map(drop).with_context(|| format!("{} does not stop", self.name))
    }

    /// A number that its log names in this way, `written=4096`; the last of them.
    pub(super) fn logged(&self, name: &str) -> Option<u64> {
        let log = String::from_utf8_lossy(&fs::read(&self.log).ok()?).into_owned();
        let (_, rest) = log.rsplit_once(&format!(" {name}="))?;
        rest.split(|sign: char| !sign.is_ascii_digit()).next()?.parse().ok()
    }

    /// The last lines of its log, for a message about something that went wrong.
    pub(super) fn log_end(&self) -> String {
        let text = String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        match &mut self.stop {
            Stop::Program(program) => drop(program.terminate(STOP_WITHIN)),
            Stop::Postfix(configuration) => {
                let mut command = postfix(configuration, "stop");
                if let Err(error) = command {
                    eprintln!("xtask: postfix did not stop: {error:#}");
                    command = postfix(configuration, "abort");
                }
                drop(command);
            }
        }
    }
}

/// Sluice: one channel for everything, which passes it on to the sink or holds it.
pub(super) fn start_sluice(program: &Path, folder: &Path, sink: u16, wanted: Wanted<'_>) -> Result<Relay> {
    let port = free_port();
    fs::create_dir_all(folder).context("cannot make a folder for Sluice")?;
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))
    };
    write(
        "sluice.cnf",
        format!(
            "relay.example $U@relay.example\nbench.example $U%$D@TCP-SINK\n\nl\nrelay.example\n\n\
             tcp_local smtp nomx\nTCP-DAEMON\n\ntcp_sink smtp nomx daemon [127.0.0.1] port {sink} maxjobs 20{}\nTCP-SINK\n",
            if matches!(wanted, Wanted::Relay) { "" } else { " periodic" }
        ),
    )?;
    write("option.dat", "SPOOL_DIR=spool\n".to_owned())?;
    write("job_controller.cnf", "[POOL=DEFAULT]\nJOB_LIMIT=20\n".to_owned())?;
    write(
        "dispatcher.cnf",
        format!(
            "[SERVICE=SMTP]\nPORT={port}\nINTERFACE_ADDRESS=127.0.0.1\nMAX_PROCS=10\nMAX_CONNS=100\n\
             MAX_CONNS_PER_CLIENT=1000\n"
        ),
    )?;
    let log = folder.join("log");
    let arguments = ["run".as_ref(), "--log".as_ref(), LOG.as_ref(), "--config".as_ref(), folder.as_os_str()];
    let program = Program::start(program, &arguments, &log).context("cannot start sluice")?;
    let (root_process, folder) = (program.id(), folder.to_owned());
    let noted = leftovers::process(root_process);
    let relay = Relay {
        name: "sluice",
        port,
        root_process,
        folder,
        log,
        stop: Stop::Program(program),
        _noted: noted,
    };
    listening(port, "sluice").with_context(|| relay.log_end())?;
    Ok(relay)
}

/// A Postfix of our own beside whatever the machine has: own configuration, queue, data and port. As delivered by
/// Debian, except that nothing is slowed down on purpose (`in_flow_delay`), no DNS is asked, and as many connections to
/// the sink are allowed as Sluice makes.
pub(super) fn start_postfix(folder: &Path, sink: u16, wanted: Wanted<'_>) -> Result<Relay> {
    let port = free_port();
    for part in ["conf", "queue", "data"] {
        fs::create_dir_all(folder.join(part)).context("cannot make folders for Postfix")?;
    }
    let owner = Command::new("chown").arg("postfix").arg(folder.join("data")).stdin(Stdio::null()).status();
    if !owner.is_ok_and(|status| status.success()) {
        bail!(
            "a private Postfix can only be started by root: run the benchmark as root, in a container for instance"
        );
    }
    let (place, log) = (folder.display(), folder.join("log"));
    let more = match wanted {
        Wanted::Relay => String::new(),
        Wanted::Held => "smtpd_client_restrictions = check_client_access static:HOLD\n".to_owned(),
        Wanted::Asked(domains) => format!(
            "minimal_backoff_time = 1h\nmaximal_backoff_time = 1h\nqueue_run_delay = 1h\nfast_flush_domains = {}\n",
            domains.join(" ")
        ),
    };
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {place}/queue\ndata_directory = {place}/data\n\
         command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
         setgid_group = postdrop\nmyhostname = relay.example\nmydestination =\ninet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nrelayhost = [127.0.0.1]:{sink}\n\
         maillog_file = {log}\nmaillog_file_prefixes = {place}\nin_flow_delay = 0\n\
         smtp_dns_support_level = disabled\nsmtp_host_lookup = native\nsmtpd_peername_lookup = no\n\
         default_destination_concurrency_limit = 20\nalias_maps =\nalias_database =\nlocal_recipient_maps =\n{more}",
        log = log.display()
    );
    fs::write(folder.join("conf/main.cf"), main).context("cannot write main.cf")?;
    let services = format!(
        "127.0.0.1:{port} inet n - n - - smtpd\npickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\n\
         qmgr unix n - n 300 1 qmgr\nrewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
         defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nverify unix - - n - 1 verify\n\
         flush unix n - n 1000? 0 flush\nproxymap unix - - n - - proxymap\nsmtp unix - - n - - smtp\n\
         relay unix - - n - - smtp\nerror unix - - n - - error\nretry unix - - n - - error\n\
         discard unix - - n - - discard\nanvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\n\
         postlog unix-dgram n - n - 1 postlogd\n"
    );
    fs::write(folder.join("conf/master.cf"), services).context("cannot write master.cf")?;
    let configuration = folder.join("conf");
    let noted = leftovers::postfix(&configuration);
    postfix(&configuration, "start")?;
    let pid = wait_until(Duration::from_secs(30), || {
        fs::read_to_string(folder.join("queue/pid/master.pid")).ok()?.trim().parse::<u32>().ok()
    });
    let root_process = pid.with_context(|| format!("postfix did not start; its log is {}", log.display()))?;
    let (folder, stop) = (folder.to_owned(), Stop::Postfix(configuration));
    let relay = Relay { name: "postfix", port, root_process, folder, log, stop, _noted: noted };
    listening(port, "postfix").with_context(|| relay.log_end())?;
    Ok(relay)
}

fn postfix(configuration: &Path, verb: &str) -> Result<()> {
    let mut command = Command::new("/usr/sbin/postfix");
    let output = command.arg("-c").arg(configuration).arg(verb).stdin(Stdio::null()).output();
    let output = output.context("cannot start postfix")?;
    if !output.status.success() {
        bail!("postfix {verb} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
