//! Folders of PMDF and Messaging Server are run as they stand: names in upper case, services of other programs, files that
//! only the products read. Nothing in them is changed; the test port and the spool come from the command line.

use serde_json::Value;
use sluice_testkit::{Program, Talk, built, free_port, wait_until};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(20);

const PMDF_CNF: &str = "\
! PMDF.CNF -- node HUB, edited by SYSTEM
!
HUB.LAB.EXAMPLE         $U@HUB.LAB.EXAMPLE
LAB.EXAMPLE             $U@HUB.LAB.EXAMPLE
SITE7.LAB.EXAMPLE       $U%SITE7.LAB.EXAMPLE@TCP-DIALUP
TRASH.LAB.EXAMPLE       $U@BITBUCKET
<PMDF_TABLE:INTERNET.RULES
[]                      $E$R$U%[$L]@TCP-DAEMON

DEFAULTS LOGGING NOTICES 1 2 4 7 COPYWARNPOST COPYSENDPOST POSTHEADONLY

l nox_env_to IMMNONURGENT
HUB.LAB.EXAMPLE HUB

tcp_local SINGLE_SYS SMTP MX REMOTEHOST INNER
TCP-DAEMON

tcp_dialup SMTP NOMX DAEMON DIAL.LAB.EXAMPLE PERIODIC MASTER PMDF_USERS
TCP-DIALUP

bitbucket
BITBUCKET

process
PROCESS.LAB.EXAMPLE

mailserv
MAILSERV.LAB.EXAMPLE

";

const DISPATCHER_CNF: &str = "\
MIN_PROCS=1
MAX_PROCS=5
MAX_CONNS=10
MAX_LIFE_CONNS=500
HISTORICAL_TIME=86400
! SMTP
[SERVICE=SMTP]
PORT=25
IMAGE=PMDF_EXE:TCP_SMTP_SERVER.EXE
LOGFILE=PMDF_LOG:TCP_SMTP_SERVER.LOG
PARAMETER=CHANNEL=tcp_local
MAX_IDLE_TIME=600
! POP
[SERVICE=POP3]
PORT=110
IMAGE=PMDF_EXE:POP3D.EXE
LOGFILE=PMDF_LOG:POP3D.LOG
";

/// A hub on a folder, on a port of its own.
struct Trial {
    folder: tempfile::TempDir,
    port: u16,
    hub: Option<Program>,
}

impl Trial {
    fn new() -> Trial {
        Trial { folder: tempfile::tempdir().expect("a folder"), port: free_port(), hub: None }
    }

    fn table(&self) -> PathBuf {
        self.folder.path().join("TABLE")
    }

    fn write(&self, file: &str, text: &str) {
        fs::create_dir_all(self.table()).expect("a folder");
        fs::write(self.table().join(file), text).expect("a file");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn common(&self) -> Vec<String> {
        let spool = self.folder.path().join("spool");
        vec![
            "--config".into(),
            self.table().display().to_string(),
            "--spool".into(),
            spool.display().to_string(),
        ]
    }

    fn start(&mut self, listen: &str) -> Talk {
        let mut arguments = vec!["run".to_owned()];
        arguments.extend(self.common());
        arguments.extend(["--listen".to_owned(), listen.to_owned()]);
        let log = self.folder.path().join("log");
        self.hub = Some(Program::start(&built("sluice"), &arguments, &log).expect("the program starts"));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let talk = wait_until(START, || match Talk::open(address) {
            Ok((talk, greeting)) if greeting.code == 220 => Some(talk),
            _ => {
                let ended = self.hub.as_mut().and_then(Program::ended);
                assert!(ended.is_none(), "the hub ended: {}", self.log());
                None
            }
        });
        talk.unwrap_or_else(|| panic!("the hub does not greet: {}", self.log()))
    }

    fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        let output = Command::new(built("sluice"))
            .args(arguments)
            .args(self.common())
            .args(["--format", "json"])
            .output()
            .expect("the program starts");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {out}{err}");
        out.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    fn waiting(&self, channel: &str) -> u64 {
        let rows = self.rows(&["queue", "summarize"]);
        rows.iter().filter(|row| row["channel"] == channel).filter_map(|row| row["messages"].as_u64()).sum()
    }

    fn stop(mut self) {
        let status = self.hub.take().expect("a hub").terminate(STOP);
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", self.log());
    }
}

fn say(talk: &mut Talk, command: &str, code: u16) -> String {
    let reply = talk.ask(command).expect("a reply");
    assert_eq!(reply.code, code, "{command}: {reply}");
    reply.to_string()
}

fn send(talk: &mut Talk, to: &[&str]) {
    say(talk, "EHLO client.lab.example", 250);
    say(talk, "MAIL FROM:<someone@far.example>", 250);
    for to in to {
        say(talk, &format!("RCPT TO:<{to}>"), 250);
    }
    say(talk, "DATA", 354);
    talk.raw(b"Subject: as it stands\r\n\r\nHello.\r\n.\r\n").expect("the message goes out");
    assert_eq!(talk.read().expect("a reply").code, 250);
}

#[test]
fn a_table_directory_of_pmdf_runs_unmodified_on_a_test_port() {
    let mut trial = Trial::new();
    trial.write("PMDF.CNF", PMDF_CNF);
    trial.write("INTERNET.RULES", "! top levels\n.EXAMPLE                $U%$H$D@TCP-DAEMON\n");
    trial.write("DISPATCHER.CNF", DISPATCHER_CNF);
    trial.write(
        "JOB_CONTROLLER.CNF",
        "TCP_PORT=27442\nSECRET=9347\n[QUEUE=DEFAULT]\njob_limit=4\ncapacity=200\n",
    );
    trial.write("OPTION.DAT", "RETURN_UNITS=0\nLOG_MESSAGE_ID=1\nMAX_ALIAS_LEVELS=7\n");
    trial.write(
        "ALIASES.",
        "postmaster: root@hub.lab.example\ndesk: a@site7.lab.example, b@site7.lab.example\n",
    );
    trial.write("MAPPINGS.", "ORIG_SEND_ACCESS\n\n  *|*|*|never@*    $NNobody$ writes$ there\n");
    trial.write("TCP_LOCAL_OPTION.", "ALLOW_ETRNS_PER_SESSION=1\n");
    trial.write("PMDF_SITE_STARTUP.COM", "$ exit\n");
    let port = trial.port;
    let mut talk = trial.start(&port.to_string());
    send(&mut talk, &["user@site7.lab.example", "desk@lab.example", "x@trash.lab.example"]);
    say(&mut talk, "MAIL FROM:<someone@far.example>", 250);
    let refused = say(&mut talk, "RCPT TO:<never@site7.lab.example>", 550);
    assert!(refused.contains("Nobody writes there"), "{refused}");
    say(&mut talk, "RCPT TO:<x@nowhere.test>", 550);
    say(&mut talk, "QUIT", 221);
    let waits = wait_until(START, || (trial.waiting("bitbucket") == 0).then(|| trial.waiting("tcp_dialup")));
    assert_eq!(waits, Some(1), "one message for a channel, whatever its recipients: {}", trial.log());
    // The word that PMDF takes for a group is said, and does not keep the hub from starting.
    let log = trial.log();
    assert!(log.contains("`PMDF_USERS` is not a keyword"), "{log}");
    assert!(log.contains("service-not-served") && log.contains("POP3"), "{log}");
    let listening = log.lines().filter(|line| line.contains("listening")).count();
    assert_eq!(listening, 1, "nothing listens but what the command line says: {log}");
    trial.stop();
}

#[test]
fn a_configuration_of_messaging_server_runs_unmodified_on_a_test_port() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("configurations/good/isp-many-ports");
    let mut trial = Trial::new();
    for entry in fs::read_dir(source).expect("the folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        trial.write(&name, &fs::read_to_string(entry.path()).expect("a text"));
    }
    let service = fs::read_to_string(trial.table().join("dispatcher.cnf")).expect("the dispatcher's file");
    let second = service.match_indices("[SERVICE=").nth(1).expect("a second service").0;
    let name = service[second + 9..].split(']').next().expect("a name").to_owned();
    let listen = format!("{name}=127.0.0.1:{}", trial.port);
    let mut talk = trial.start(&listen);
    say(&mut talk, "EHLO client.example", 250);
    say(&mut talk, "QUIT", 221);
    assert!(trial.log().contains(&name), "{}", trial.log());
    trial.stop();
}

#[test]
fn a_listen_that_is_none_is_refused() {
    let trial = Trial::new();
    trial.write("pmdf.cnf", ". $U%$H@h\n\nl\nh\n");
    for (listen, part) in [
        ("smtp", "--listen smtp: write a port"),
        ("SUBMIT=2525", "there is no such service; there are: SMTP"),
        ("=2525", "write a port"),
        ("127.0.0.1:x", "write a port"),
    ] {
        let output = Command::new(built("sluice"))
            .arg("run")
            .args(trial.common())
            .args(["--listen", listen])
            .output()
            .expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{listen}: {said}");
        assert!(said.contains(part), "{listen}: {said}");
    }
}
