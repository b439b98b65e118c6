//! Imports of folders that exist only in memory.
#![allow(clippy::unwrap_used)]

use super::*;
use sluice_config::MemoryFiles;

const MAIN: &str = "! our hub\r\n</pmdf/table/internet.rules\r\n. $U%$H@TCP-DAEMON\r\n\r\nl charset7 us-ascii\r\nhub.example\r\n\r\ntcp_local smtp mx switchchannel maytls\r\nTCP-DAEMON\r\n\r\nfax_out pool FAX\r\nFAX\r\n";

fn files(files: &[(&str, &str)]) -> MemoryFiles {
    files.iter().fold(MemoryFiles::new(), |all, (name, text)| all.with(Path::new("/old").join(name), *text))
}

fn import(all: &[(&str, &str)]) -> Plan {
    plan(&files(all), Product::Pmdf, Path::new("/old"), Path::new("/new")).unwrap()
}

fn text(plan: &Plan, name: &str) -> String {
    let file = plan
        .files
        .iter()
        .find(|file| file.name == name)
        .unwrap_or_else(|| panic!("no {name}: {:?}", names(plan)));
    String::from_utf8(file.bytes.clone()).unwrap()
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.files.iter().map(|file| file.name.as_str()).collect()
}

fn found(plan: &Plan, kind: Kind, subject: &str) -> String {
    let all = plan.findings.iter().filter(|finding| finding.kind == kind && finding.subject == subject);
    let all: Vec<String> = all
        .map(|found| {
            format!("{}:{} {}", found.file.as_deref().unwrap_or("-"), found.line.unwrap_or(0), found.text)
        })
        .collect();
    all.join("\n")
}

#[test]
fn includes_are_taken_along_and_all_else_is_left_as_it_is() {
    let plan = import(&[
        ("PMDF.CNF;3", MAIN),
        ("PMDF.CNF;2", "x"),
        ("INTERNET.RULES;1", ".com $U%$H$D@TCP-DAEMON\n"),
    ]);
    assert!(plan.loads, "{:?}", plan.findings);
    assert_eq!(names(&plan), ["sluice.cnf", "internet.rules"]);
    assert_eq!(text(&plan, "sluice.cnf"), MAIN.replace("</pmdf/table/internet.rules", "<internet.rules"));
    assert_eq!(
        found(&plan, Kind::Changed, "</pmdf/table/internet.rules"),
        "sluice.cnf:2 is `<internet.rules` now, in the folder itself"
    );
    assert!(found(&plan, Kind::Dropped, "charset7").starts_with("sluice.cnf:5 is kept and changes nothing"));
    assert!(found(&plan, Kind::Decide, "channel fax_out").starts_with("sluice.cnf:11 no plugin"));
    assert!(found(&plan, Kind::Decide, "SPOOL_DIR").contains("/var/spool/sluice"));
    assert!(found(&plan, Kind::Decide, "[SERVICE=SMTP]").contains("port 25"));
    assert!(found(&plan, Kind::Decide, "relay policy of tcp_local").contains("nobody may send through"));
    assert!(found(&plan, Kind::Decide, "warning[undefined-pool]").starts_with("sluice.cnf:11 "));
}

#[test]
fn two_included_files_of_one_name_stay_two() {
    let main = "<a/x.rules\n<b/x.rules\n<a/x.rules\n. $U%$H@h\n\nl\nh\n";
    let plan = import(&[("pmdf.cnf", main), ("a/x.rules", "a $U@h\n"), ("b/x.rules", "b $U@h\n")]);
    assert_eq!(text(&plan, "sluice.cnf"), "<x.rules\n<x.rules.2\n<x.rules\n. $U%$H@h\n\nl\nh\n");
    assert_eq!(
        (text(&plan, "x.rules").as_str(), text(&plan, "x.rules.2").as_str()),
        ("a $U@h\n", "b $U@h\n")
    );
}

#[test]
fn an_include_that_is_nowhere_is_to_be_decided() {
    let plan = import(&[("pmdf.cnf", MAIN)]);
    assert!(!plan.loads);
    assert_eq!(
        found(&plan, Kind::Decide, "</pmdf/table/internet.rules"),
        "sluice.cnf:2 the included file was not found"
    );
    assert_eq!(text(&plan, "sluice.cnf"), MAIN);
    let round = [("pmdf.cnf", "</x/a\n. $U%$H@h\n\nl\nh\n"), ("a", "</x/b\n"), ("b", "</x/a\n")];
    assert!(
        !import(&round).loads,
        "files that include each other are copied once, and refused where they stand"
    );
}

#[test]
fn programs_become_plugins() {
    let jobs = "\
! ours
UDP_PORT=27442
SLAVE_COMMAND=NULL
[QUEUE=DEFAULT]
JOB_LIMIT=4
[QUEUE=FAX]
[CHANNEL=tcp_*]
master_command = PMDF_EXE:TCP_SMTP_CLIENT.EXE
ANON_HOST=0
[CHANNEL=fax_*]
MASTER_COMMAND=/pmdf/bin/fax_master -v
SLAVE_COMMAND=/pmdf/bin/fax_slave
[PERIODIC_JOB=return]
COMMAND=/pmdf/bin/return.sh \\
! so it goes
   -x
TIME=00:30/24:00
";
    let plan = import(&[("pmdf.cnf", MAIN), ("internet.rules", ""), ("job_controller.cnf", jobs)]);
    assert_eq!(
        text(&plan, "job_controller.cnf"),
        "\
! ours
UDP_PORT=27442
SLAVE_COMMAND=NULL
[QUEUE=DEFAULT]
JOB_LIMIT=4
[QUEUE=FAX]
[CHANNEL=tcp_*]
MASTER_PLUGIN=tcp
ANON_HOST=0
[CHANNEL=fax_*]
!MASTER_COMMAND=/pmdf/bin/fax_master -v
!SLAVE_COMMAND=/pmdf/bin/fax_slave
![PERIODIC_JOB=return]
!COMMAND=/pmdf/bin/return.sh \\
! so it goes
!   -x
!TIME=00:30/24:00
"
    );
    assert!(plan.loads, "{:?}", plan.findings);
    assert!(found(&plan, Kind::Changed, "MASTER_COMMAND").starts_with("job_controller.cnf:8 "));
    assert!(found(&plan, Kind::Dropped, "MASTER_COMMAND").starts_with("job_controller.cnf:11 no plugin"));
    assert!(found(&plan, Kind::Dropped, "[PERIODIC_JOB=return]").starts_with("job_controller.cnf:13 "));
    assert!(found(&plan, Kind::Dropped, "UDP_PORT").starts_with("job_controller.cnf:2 is kept"));
}

#[test]
fn only_smtp_is_listened_for() {
    let dispatcher = "\
MIN_PROCS=1
[SERVICE=SMTP]
PORT=2525
IMAGE=PMDF_EXE:TCP_SMTP_SERVER.EXE
LOGFILE=pmdf_log:smtp.log
[SERVICE=POP3]
IMAGE=PMDF_EXE:POP3D.EXE
PORT=110
";
    let plan = import(&[("pmdf.cnf", MAIN), ("internet.rules", ""), ("dispatcher.cnf", dispatcher)]);
    let expected = "\
MIN_PROCS=1
[SERVICE=SMTP]
PORT=2525
!IMAGE=PMDF_EXE:TCP_SMTP_SERVER.EXE
!LOGFILE=pmdf_log:smtp.log
![SERVICE=POP3]
!IMAGE=PMDF_EXE:POP3D.EXE
!PORT=110
";
    assert_eq!(text(&plan, "dispatcher.cnf"), expected);
    assert!(found(&plan, Kind::Works, "[SERVICE=SMTP]").starts_with("dispatcher.cnf:2 listens on port 2525"));
    assert!(found(&plan, Kind::Dropped, "[SERVICE=POP3]").starts_with("dispatcher.cnf:6 its program"));
}

#[test]
fn aliases_mappings_and_option_files_go_along() {
    let plan = import(&[
        ("pmdf.cnf", MAIN),
        ("internet.rules", ""),
        (
            "ALIASES.",
            "!\n<PMDF_TABLE:more.aliases\nstaff: <PMDF_ROOT:[lists]staff.dis\nroot: fred@hub.example\n",
        ),
        ("MORE.ALIASES", "x: y@hub.example\n"),
        ("STAFF.DIS", "fred@hub.example\n"),
        ("MAPPINGS.", "PORT_ACCESS\n\n  * $Y\n\nOUR_OWN\n\n  a b\n"),
        ("OPTION.DAT", "SPOOL_DIR=/tmp/x\nLOG_HEADER=1\n"),
        ("TCP_LOCAL_OPTION", "BANNER_HOST=hub.example\n"),
        ("CONVERSIONS.", "in-type=text; delete=1\n"),
        ("ALIASESDB.DAT", "\0"),
        ("pmdf.cnf.bak", "x"),
    ]);
    let mut all = names(&plan);
    all.sort_unstable();
    assert_eq!(
        all,
        [
            "aliases",
            "conversions",
            "internet.rules",
            "mappings",
            "more.aliases",
            "option.dat",
            "sluice.cnf",
            "staff.dis",
            "tcp_local_option"
        ]
    );
    assert_eq!(text(&plan, "aliases"), "!\n<more.aliases\nstaff: <staff.dis\nroot: fred@hub.example\n");
    assert_eq!(found(&plan, Kind::Works, "aliases"), "aliases:0 3 aliases", "{:?}", plan.findings);
    assert_eq!(found(&plan, Kind::Works, "mapping PORT_ACCESS"), "mappings:1 is asked by the hub");
    assert!(found(&plan, Kind::Dropped, "mapping OUR_OWN").starts_with("mappings:5 "));
    assert!(found(&plan, Kind::Decide, "ALIASESDB.DAT").contains("compiled database"));
    assert!(found(&plan, Kind::Decide, "SPOOL_DIR").is_empty());
    assert!(found(&plan, Kind::Dropped, "LOG_HEADER").starts_with("option.dat:2 "));
    assert_eq!(
        found(&plan, Kind::Works, "options").lines().count(),
        2,
        "those of option.dat and of the channel"
    );
}

#[test]
fn tables_that_something_calls_are_not_called_idle() {
    let main = "[] $E$R${INTERNAL_IP,$L}$U%[$L]@hub.example\nhub.example $U@hub.example\n\nl\nhub.example\n";
    let plan = import(&[
        ("pmdf.cnf", main),
        (
            "mappings",
            "INTERNAL_IP\n\n  * $Y\n\nPORT_ACCESS\n\n  * $|site_list;$0|$Y\n\nSITE_LIST\n\n  * $Y\n\nINTERNAL\n\n  * $Y\n\nLISTS\n\n  * $Y\n",
        ),
        ("aliases", "staff: <staff.dis, [AUTH_MAPPING] lists\n"),
        ("staff.dis", "fred@hub.example\n"),
    ]);
    let by = "is asked by the rewrite rules or tables that call it";
    assert_eq!(found(&plan, Kind::Works, "mapping INTERNAL_IP"), format!("mappings:1 {by}"));
    assert_eq!(found(&plan, Kind::Works, "mapping SITE_LIST"), format!("mappings:9 {by}"));
    assert_eq!(
        found(&plan, Kind::Works, "mapping LISTS"),
        "mappings:17 is asked by the aliases that name it"
    );
    assert!(found(&plan, Kind::Dropped, "mapping INTERNAL").starts_with("mappings:13 nobody asks it"));
    assert!(found(&plan, Kind::Dropped, "mapping INTERNAL_IP").is_empty());
}

#[test]
fn certificates_and_users_that_keywords_wait_for_are_to_be_decided() {
    let main =
        "hub.example $U@hub.example\n\nl\nhub.example\n\ntcp_local smtp maytls maysaslserver\nTCP-DAEMON\n";
    let plan = import(&[("pmdf.cnf", main)]);
    for (code, what) in [("tls-without-certificate", "STARTTLS"), ("login-without-users", "AUTH")] {
        let text = found(&plan, Kind::Decide, &format!("warning[{code}]"));
        assert!(text.starts_with("sluice.cnf:6 ") && text.contains(what), "{code}: {text}");
    }
    assert!(plan.loads);
}

#[test]
fn what_an_administrator_would_ask_next_is_answered() {
    let main = "hub.example $U@hub.example\na.example $U%$D@A\n.example $U%$H$D@TCP-DAEMON\n\nl\nhub.example\n\n\
                tcp_local smtp\nTCP-DAEMON\n\ntcp_submit smtp mustsaslserver\nTCP-SUBMIT\n\ntcp_lost smtp\nB.EXAMPLE\n\nreprocess\nREPROCESS-DAEMON\n";
    let plan = import(&[
        ("pmdf.cnf", main),
        ("option.dat", "ALIAS_URL0=ldap:///$V?*?sub?$R\nNONSENSE=1\n"),
        ("mappings", "CHARSET-CONVERSION\n\n  * Yes\n"),
        (
            "job_controller.cnf",
            "[CHANNEL=reprocess]\nMASTER_COMMAND=IMTA_BIN:reprocess\n[CHANNEL=defragment]\nMASTER_COMMAND=IMTA_BIN:defragment\n",
        ),
        (
            "dispatcher.cnf",
            "[SERVICE=SMTP]\nPORT=2525\n[SERVICE=SUBMIT]\nPORT=2587\nPARAMETER=CHANNEL=tcp_submit\n",
        ),
        ("PMDF_REVERSE_DATABASE.DAT;3", "x"),
    ]);
    let directory = found(&plan, Kind::Decide, "ALIAS_URL0");
    assert!(directory.starts_with("option.dat:1 is about an LDAP directory"), "{directory}");
    let unknown = found(&plan, Kind::Decide, "warning[unknown-option]");
    assert_eq!(unknown, "option.dat:2 `NONSENSE` is not an option");
    let table = found(&plan, Kind::Dropped, "mapping CHARSET-CONVERSION");
    assert!(table.contains("character set that they came in"), "{table}");
    assert!(text(&plan, "job_controller.cnf").contains("MASTER_PLUGIN=reprocess"));
    assert!(text(&plan, "job_controller.cnf").contains("MASTER_PLUGIN=defragment"));
    let lost = found(&plan, Kind::Decide, "info[rewrite-channel-not-reached]");
    assert!(lost.contains("`tcp_lost`"), "{lost}");
    let relay = found(&plan, Kind::Decide, "relay policy of tcp_submit");
    assert!(relay.contains("without a login"), "{relay}");
    let fix = plan
        .findings
        .iter()
        .find(|found| found.subject.starts_with("PMDF_REVERSE"))
        .and_then(|found| found.fix.clone());
    assert!(fix.is_some_and(|fix| fix.contains("into reverse.txt;")));
}

#[test]
fn what_is_not_there_is_said() {
    let one = files(&[("imta.cnf", MAIN)]);
    let error = plan(&one, Product::Pmdf, Path::new("/old"), Path::new("/new")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no pmdf.cnf in /old; there is an imta.cnf: import it with `sluice import imta`"
    );
}

#[test]
fn damaged_files_are_imported_without_a_panic() {
    let samples: [(&str, &str); 5] = [
        ("pmdf.cnf", MAIN),
        ("dispatcher.cnf", "[SERVICE=SMTP]\nIMAGE=a:b.exe;1 \\\n-x\n[SERVICE=\u{e9}]\nPORT=1\n"),
        ("job_controller.cnf", "[CHANNEL=tcp_*]\nMASTER_COMMAND=[x]y.exe;2\n[PERIODIC_JOB=r]\nTIME=1\n"),
        ("aliases", "a: <\"x y\", b\nc: <\u{e9}\n<d\n"),
        ("mappings", "T\n\n  a b\n<e\n"),
    ];
    let mut state = 42_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..500 {
        let mut all = MemoryFiles::new();
        for (name, text) in samples {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..random(4) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = b"<[]=;:\"\\!\n \xff\0"[random(13)],
                    1 => drop(bytes.drain(at..)),
                    _ => bytes.insert(at, b"<[]=;:\"\\!\n \xff\0"[random(13)]),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            all = all.with(Path::new("/old").join(name), bytes);
        }
        let plan = plan(&all, Product::Pmdf, Path::new("/old"), Path::new("/new")).unwrap();
        for file in &plan.files {
            let old = all.read(&file.from).unwrap();
            let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(lines(&old), lines(&file.bytes), "lines keep their numbers");
            assert!(file.changed > 0 || old == file.bytes, "what is not changed is the same");
        }
    }
}
