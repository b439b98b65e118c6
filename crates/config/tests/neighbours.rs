//! The files beside the main file.
#![allow(clippy::unwrap_used)]

mod support;
use sluice_config::{Atrn, Config, MemoryFiles, Place, read};
use std::path::PathBuf;
use std::time::Duration;
use support::{diagnose, folder, good};

const MAIN: &str = ". $U%$H@TCP-DAEMON\n\nl\nh\n\ntcp_local smtp\nTCP-DAEMON\n\ntcp_site7 smtp pool SITES\nSITE7\n\nx_y\nXY\n";

fn with(name: &str, text: &str) -> MemoryFiles {
    let files = folder(&[
        ("sluice.cnf", MAIN),
        ("job_controller.cnf", "[POOL=SITES]\n[CHANNEL=x_y]\nMASTER_PLUGIN=x\n"),
    ]);
    files.with(PathBuf::from(support::FOLDER).join(name), text)
}

fn said(name: &str, text: &str) -> String {
    diagnose(&with(name, text))
}

fn config(name: &str, text: &str) -> Config {
    good(&with(name, text))
}

#[test]
fn the_option_file_is_typed() {
    let text = "\
! our options
SPOOL_DIR = spool
plugin_path=/a:plugins,/b
BLOCK_SIZE=16%800
RETURN_UNITS=1
RETURN_ADDRESS=postmaster@example.com
MAX_RECEIVED_LINES=20
POST_INTERVAL=30s
MAX_MESSAGE_SIZE=10M
DELIVERY_DEADLINE=PT5M
LOG_MESSAGE_ID=1
";
    assert_eq!(said("option.dat", text), "");
    let options = config("option.dat", text).options;
    assert_eq!(options.spool_dir, PathBuf::from("/etc/sluice/spool"));
    assert_eq!(options.control_socket, PathBuf::from("/etc/sluice/spool/control.sock"));
    let path: Vec<PathBuf> = ["/a", "/etc/sluice/plugins", "/b"].map(PathBuf::from).to_vec();
    assert_eq!(options.plugin_path, path);
    assert_eq!(options.block_size, 2048);
    assert!(options.return_units_hours);
    assert_eq!(options.return_address.as_deref(), Some("postmaster@example.com"));
    assert_eq!(options.max_received_lines, 20);
    assert_eq!(options.post_interval, Duration::from_secs(30));
    assert_eq!(options.max_message_size, 10 << 20);
    assert_eq!(options.delivery_deadline, Duration::from_secs(300));
    assert_eq!(options.others.len(), 1);
    assert_eq!(
        config("option.dat", "PMDF_POST_INTERVAL=1h").options.post_interval,
        Duration::from_secs(3600)
    );
}

#[test]
fn what_is_wrong_in_the_option_file_is_said() {
    assert_eq!(
        said(
            "option.dat",
            "SPOOL_DIRS=x\nBLOCK_SIZE=many\nRETURN_UNITS=2\n\nnonsense\nPOST_INTERVAL=4 weeks?\n[A=b]\nX=y\n"
        ),
        "option.dat:1:1: warning[unknown-option]: `SPOOL_DIRS` is not an option\nhelp: did you mean `SPOOL_DIR`?\n\
         option.dat:2:12: error[bad-option-value]: `many` is no value for `BLOCK_SIZE` (integer 1–1073741824)\n\
         help: the default is 1024\n\
         option.dat:3:14: error[bad-option-value]: `2` is no value for `RETURN_UNITS` (0 or 1)\nhelp: the default is 0\n\
         option.dat:5:1: error[not-an-option]: `nonsense` is not `NAME=value`\n\
         help: write `NAME=value`, or `!` in column one for a comment\n\
         option.dat:6:15: error[bad-option-value]: `4 weeks?` is no value for `POST_INTERVAL` (duration)\n\
         help: write a time such as `30s`, `4h` or `PT4H`\n\
         option.dat:7:2: error[unknown-section]: a section `A` does not belong here\nhelp: this file has no sections"
    );
    assert_eq!(
        said("option.dat", "BLOCK_SIZE=1\nblock_size=2\n"),
        "option.dat:2:1: warning[repeated-option]: `BLOCK_SIZE` is set twice; the last one counts\n\
         note: option.dat:1:1: the first is here\nhelp: take out one of the two"
    );
}

#[test]
fn without_a_dispatcher_file_there_is_one_service() {
    let services = good(&folder(&[("sluice.cnf", ". $U@h\n\nl\nh\n")])).services;
    assert_eq!(services.len(), 1);
    assert_eq!((services[0].name.as_str(), services[0].channel.as_str()), ("SMTP", "tcp_local"));
    assert_eq!(services[0].listen, [(None, 25)]);
}

#[test]
fn services_listen_where_their_section_says() {
    let text = "\
MAX_CONNS=20
[SERVICE=DISPATCHER]
DEBUG=1
[SERVICE=SMTP]
PORT=2525,[127.0.0.2]2526
INTERFACE_ADDRESS=127.0.0.1
[service=sites]
PORT=2600
PARAMETER=CHANNEL=tcp_site7
MAX_PROCS=2
MAX_CONNS_PER_CLIENT=3
[SERVICE=SUBMIT]
ATRN=1
[SERVICE=odmr]
";
    assert_eq!(said("dispatcher.cnf", text), "");
    let services = config("dispatcher.cnf", text).services;
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["SMTP", "sites", "SUBMIT", "odmr"]);
    let (one, two) = ("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap());
    assert_eq!(services[0].listen, [(Some(one), 2525), (Some(two), 2526)]);
    assert_eq!((services[0].channel.as_str(), services[0].max_connections), ("tcp_local", 100));
    assert_eq!(services[1].listen, [(None, 2600)]);
    assert_eq!((services[1].channel.as_str(), services[1].max_connections), ("tcp_site7", 40));
    assert_eq!(services[1].max_connections_per_client, 3);
    assert_eq!(services[2].listen, [(None, 587)]);
    assert_eq!(services[3].listen, [(None, 366)]);
    let turned: Vec<Atrn> = services.iter().map(|service| service.atrn).collect();
    assert_eq!(turned, [Atrn::No, Atrn::No, Atrn::Offered, Atrn::Only]);
}

#[test]
fn what_is_wrong_in_the_dispatcher_file_is_said() {
    assert_eq!(
        said(
            "dispatcher.cnf",
            "[SERVICE=SMTP]\nPORT=25,x\nPARAMETER=CHANNEL=tcp_lokal\nTLS_PORT=465\nPOTR=1\n[SERVIC=X]\nPORT=0\n[SERVICE=HTTP]\n"
        ),
        "dispatcher.cnf:2:6: error[bad-option-value]: `25,x` is no value for `PORT` (ports)\n\
         help: write `25`, or `[127.0.0.1]2525`, with commas in between\n\
         dispatcher.cnf:3:11: error[undefined-channel]: the channel `tcp_lokal` is not defined\n\
         help: did you mean `tcp_local`?\n\
         dispatcher.cnf:5:1: warning[unknown-option]: `POTR` is not an option\nhelp: did you mean `PORT`?\n\
         dispatcher.cnf:6:2: error[unknown-section]: a section `SERVIC` does not belong here\n\
         help: did you mean `[SERVICE=X]`?\n\
         dispatcher.cnf:8:10: error[service-without-port]: the service `HTTP` has no port\n\
         help: write `PORT=` into its section"
    );
}

#[test]
fn the_job_controller_says_when_channels_run() {
    let text = "[CHANNEL=tcp_*]\nSCHEDULE=every 2h; mon 06:00\nWINDOW=mon-fri 22:00-06:00\n[CHANNEL=tcp_site7]\nSCHEDULE=@daily\n";
    let config = config("job_controller.cnf", text);
    let times = |name: &str| {
        let channel = config.channels.by_name(name).unwrap();
        (
            channel.schedule.as_deref().map(|one| one.as_str().to_owned()),
            channel.windows.as_deref().map(|one| one.as_str().to_owned()),
        )
    };
    let written = |text: &str| Some(text.to_owned());
    assert_eq!(times("tcp_local"), (written("every 2h; mon 06:00"), written("mon-fri 22:00-06:00")));
    assert_eq!(times("tcp_site7"), (written("@daily"), written("mon-fri 22:00-06:00")));
    assert_eq!(times("l"), (None, None));
}

#[test]
fn mistakes_in_times_of_channels_are_told_once_at_their_place() {
    // Two channels match; the other half of each section stays in force.
    for (line, code, at) in [
        ("SCHEDULE=mon 06:00; 25:00", "error[bad-schedule]", ":2:21"),
        ("SCHEDULE=0 0 31 2 *", "error[schedule-never-runs]", ":2:"),
        ("WINDOW=mon 22:00", "error[bad-window]", ":2:"),
        ("WINDOW=22:00-22:00", "error[window-never-opens]", ":2:"),
    ] {
        let said = said(
            "job_controller.cnf",
            &format!("[CHANNEL=tcp_*]\n{line}\n[POOL=SITES]\n[CHANNEL=x_y]\nMASTER_PLUGIN=x\n"),
        );
        assert_eq!(said.matches(code).count(), 1, "{line}: {said}");
        assert!(said.contains(&format!("job_controller.cnf{at}")), "{line}: {said}");
    }
}

#[test]
fn pools_and_plugins_come_from_the_job_controller() {
    let text = "\
JOB_LIMIT=4
[QUEUE=SITES]
JOB_LIMIT=2
[POOL=other]
[CHANNEL=tcp_*]
MASTER_PLUGIN=carrier
MASTER_COMMAND=PMDF_EXE:tcp_smtp_client.exe
[CHANNEL=tcp_site*]
MASTER_PLUGIN=./plugins/libsite.so
[CHANNEL=x_*]
POOL=other
";
    let config = config("job_controller.cnf", text);
    let pools: Vec<(&str, u32)> =
        config.pools.iter().map(|pool| (pool.name.as_str(), pool.job_limit)).collect();
    assert_eq!(pools, [("DEFAULT", 4), ("SITES", 2), ("other", 4)]);
    let of = |name: &str| config.channels.by_name(name).unwrap();
    assert_eq!(of("tcp_local").plugin.as_deref(), Some("carrier"));
    assert_eq!(of("tcp_site7").plugin.as_deref(), Some("/etc/sluice/./plugins/libsite.so"));
    assert_eq!(of("l").plugin.as_deref(), Some("local"));
    assert_eq!(of("x_y").plugin, None);
    assert_eq!(
        (of("tcp_site7").settings.pool.as_str(), of("x_y").settings.pool.as_str()),
        ("SITES", "other")
    );
    assert_eq!(config.pool("sites").unwrap().job_limit, 2);
}

#[test]
fn a_section_for_no_channel_is_named() {
    let files = folder(&[
        ("sluice.cnf", ". $U@h\n\nl\nh\n\ntcp_a smtp\na\n"),
        (
            "job_controller.cnf",
            "[CHANNEL=tpc_*]\nPOOL=DEFAULT\n[CHANNEL=TCP_*]\nPOOL=DEFAULT\n[CHANNEL=fax]\nmaster_command=x\n",
        ),
    ]);
    let said = diagnose(&files);
    assert!(said.contains("job_controller.cnf:1:10: warning[channel-section-unused]: no channel has a name like `tpc_*`\nhelp: did you mean `tcp_*`?"), "{said}");
    assert_eq!(said.matches("channel-section-unused").count(), 1, "{said}");
}

#[test]
fn a_pool_that_is_not_there_is_default() {
    let files = folder(&[
        ("sluice.cnf", ". $U@h\n\nl\nh\n\ntcp_a smtp pool SITE\na\n"),
        ("job_controller.cnf", "[POOL=SITES]\n"),
    ]);
    assert_eq!(
        diagnose(&files),
        "sluice.cnf:6:17: warning[undefined-pool]: the pool `SITE` is not defined; the channel `tcp_a` uses DEFAULT\n\
         help: did you mean `SITES`?"
    );
    assert_eq!(good(&files).channels.by_name("tcp_a").unwrap().settings.pool, "DEFAULT");
}

#[test]
fn a_channel_has_an_option_file() {
    let text = "ALLOW_ETRNS_PER_SESSION=3\nALLOW_RELAY=1\nBANNER_HOST=mx.example.com\nCOMMAND_RECEIVE_TIME=0.5\nMAX_MX_RECORDS=4\nOURS=x\n";
    assert_eq!(said("tcp_local_option", text), "");
    let config = config("tcp_local_option", text);
    let channel = config.channels.by_name("tcp_local").unwrap();
    assert_eq!(channel.server.allow_etrns_per_session, Some(3));
    assert!(channel.server.allow_relay);
    assert_eq!(channel.server.banner_host.as_deref(), Some("mx.example.com"));
    assert_eq!(channel.server.command_receive_time, Duration::from_secs(30));
    assert_eq!(channel.server.data_receive_time, Duration::from_secs(300));
    let known: Vec<(&str, bool, bool)> = channel
        .option_file
        .iter()
        .map(|option| (option.name.as_str(), option.known_to_server, option.recognised))
        .collect();
    assert_eq!(
        known[3..],
        [("COMMAND_RECEIVE_TIME", true, true), ("MAX_MX_RECORDS", false, true), ("OURS", false, false)]
    );
    let text = "TIMEOUT_MULTIPLIER=1\nCOMMAND_RECEIVE_TIME=90\n";
    let config = self::config("tcp_local_option", text);
    assert_eq!(
        config.channels.by_name("tcp_local").unwrap().server.command_receive_time,
        Duration::from_secs(90)
    );
}

#[test]
fn what_is_wrong_in_a_channels_option_file_is_said() {
    assert_eq!(
        said("tcp_local_option", "ALLOW_ETRNS_PER_SESSION=some\n[X=y]\nZ=1\n"),
        "tcp_local_option:1:25: error[bad-option-value]: `some` is no value for `ALLOW_ETRNS_PER_SESSION` (integer)\n\
         help: the default is 8, or the number of the peer's nodes\n\
         tcp_local_option:2:1: error[unknown-section]: `[X=y]`: an option file of a channel has no sections\n\
         help: take the line out"
    );
    assert_eq!(
        said("tcp_lokal_option", "X=1\n"),
        "tcp_lokal_option:1:1: warning[option-file-without-channel]: tcp_lokal_option belongs to no channel: there is \
         none named `tcp_lokal`\nhelp: did you mean tcp_local_option?"
    );
}

#[test]
fn a_lone_file_uses_its_neighbours() {
    let files = with("option.dat", "BLOCK_SIZE=2\n")
        .with("/etc/sluice/other.cnf", ". $U@h\n\nl\nh\n")
        .with("/etc/sluice/tcp_gone_option", "X=1\n");
    let (config, _, diagnostics) = read(&files, &Place::File(PathBuf::from("/etc/sluice/other.cnf")));
    assert_eq!(diagnostics, []);
    let config = config.unwrap();
    assert_eq!((config.options.block_size, config.pools.len(), config.channels.len()), (2, 2, 1));
    assert_eq!(config.folder, PathBuf::from("/etc/sluice"));
}

#[test]
fn a_service_starts_on_a_channel_that_exists() {
    let files = folder(&[("sluice.cnf", ". $U@h\n\nl\nh\n"), ("dispatcher.cnf", "[SERVICE=SMTP]\n")]);
    assert_eq!(
        diagnose(&files),
        "dispatcher.cnf:1:10: error[undefined-channel]: the service `SMTP` names no channel, and `tcp_local` is not defined\n\
         help: name a channel of the main file with `PARAMETER=CHANNEL=`"
    );
}

#[test]
fn options_of_the_products_are_no_slips() {
    let text = "USE_REVERSE_DATABASE=13\nREVERSE_ENVELOPE=1\nMISSING_RECIPIENT_POLICY=4\nDOMAIN_UPLEVEL=1\n\
DOMAIN_FAILURE=reprocess-daemon$Mtcp_local$1M$1~-error$4000000?Temporary lookup failure\nSTRING_POOL_SIZE=80000\n";
    assert_eq!(said("option.dat", text), "");
    assert!(said("option.dat", "USE_REVERSE_DATABSE=13\n").contains("did you mean `USE_REVERSE_DATABASE`?"));
}

#[test]
fn services_of_other_programs_are_not_served() {
    let text = "\
[SERVICE=SMTP]
IMAGE=PMDF_EXE:TCP_SMTP_SERVER.EXE
PORT=2525
[SERVICE=POP3]
IMAGE=/pmdf/bin/pop3d
PORT=110
[SERVICE=LMTPSS]
IMAGE=IMTA_BIN:tcp_lmtp_server
PORT=225
";
    assert_eq!(
        said("dispatcher.cnf", text),
        "dispatcher.cnf:5:7: warning[service-not-served]: the service `POP3` is not served: its program is no SMTP server\n\
         help: nothing listens on its ports; take the section out\n\
         dispatcher.cnf:8:7: warning[service-not-served]: the service `LMTPSS` is not served: its program is no SMTP server\n\
         help: nothing listens on its ports; take the section out"
    );
    let services = config("dispatcher.cnf", text).services;
    assert_eq!(services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>(), ["SMTP"]);
}
