//! Configurations as sites of both products have them: they are read without an error, and without a warning that is
//! not deserved.
#![allow(clippy::unwrap_used)]

mod support;
use sluice_config::{Place, read};
use sluice_diag::Severity;
use std::path::PathBuf;
use support::folder;

/// Errors and warnings, by code.
fn complaints(files: &[(&str, &str)]) -> Vec<&'static str> {
    let (config, _, diagnostics) = read(&folder(files), &Place::Folder(PathBuf::from(support::FOLDER)));
    assert!(config.is_some());
    let serious = diagnostics.iter().filter(|remark| remark.severity != Severity::Info);
    serious.map(|remark| remark.code.name).collect()
}

const TOP_LEVEL: &str =
    "! Top-level domains\n.COM $U%$H$D@TCP-DAEMON\n.EDU $U%$H$D@TCP-DAEMON\n[] $U%[$L]@TCP-DAEMON\n";

const CLUSTER: &str = r"! The file of a VMS cluster
<PMDF_TABLE:INTERNET.RULES
NODE                      $U@NODE.EXAMPLE.EDU
NODE.EXAMPLE.EDU          $U@NODE.EXAMPLE.EDU
*                         $U%$&0.EXAMPLE.EDU
.EXAMPLE.EDU              $U%$H.EXAMPLE.EDU@TCP-INTERNAL
[192.0.2.]                $E$R$U%[192.0.2.$L]@TCP-INTERNAL
.DECNET                   $U%$H@D-NODE
.UUCP                     $U%$H@uucp-gateway
.removable                $U%$H
.                         $?Unrecognized address; contact postmaster@example.edu

defaults logging notices 1 2 4 7 charset7 us-ascii charset8 iso-8859-1

l 733 nox_env_to copysendpost copywarnpost postheadonly
NODE.EXAMPLE.EDU node.decnet

d 733 nosendpost
D-NODE
THUBAN thuban
PCVAX PCVAX.EXAMPLE.EDU

! TCP/IP
tcp_local single_sys smtp mx inner switchchannel remotehost \
    identnonenumeric subdirs 10 \
    maxjobs 3
TCP-DAEMON

tcp_internal smtp mx allowswitchchannel single_sys
TCP-INTERNAL

uucp_gateway uucp master period 4 periodic slave_debug
uucp-gateway
oldbox oldbox.uucp

p_noc 822
NOC.EXAMPLE.ORG

process
PROCESS-DAEMON

reprocess
REPROCESS-DAEMON

conversion
CONVERSION-DAEMON

defragment
DEFRAGMENT-DAEMON

mailserv
MAILSERV-DAEMON

circuitcheck
CIRCUITCHECK-DAEMON

bitbucket
BITBUCKET-DAEMON
";

const STORE: &str = r#"! The file of a message store
<IMTA_TABLE:internet.rules
$*                      $E$F$U%$H$V$H@host.example.com
host.example.com        $U%$D@host.example.com
.ims-ms-daemon          $U%$H.ims-ms-daemon@ims-ms-daemon
.example.com            $U%$H.example.com@tcp_intranet-daemon
*                       $U%$&0.example.com
hold-daemon             $U%hold-daemon@hold-daemon
.lmtpcs-daemon          $E$F$U%$H.lmtpcs-daemon@lmtpcs-daemon

defaults notices 1 2 4 7 copywarnpost copysendpost postheadonly \
         noswitchchannel immnonurgent maxjobs 7 defaulthost example.com example.com

l subdirs 20 viaaliasrequired maxjobs 7 pool LOCAL_POOL
host.example.com

ims-ms defragment subdirs 20 notices 1 7 14 21 28 backoff "pt5m" "pt10m" "pt30m" "pt1h" \
       "pt2h" "pt4h" maxjobs 2 pool IMS_POOL fileinto $U+$S@$D
ims-ms-daemon

tcp_local smtp mx single_sys remotehost inner switchchannel identnonenumeric subdirs 20 \
          pool SMTP_POOL maytlsserver maysaslserver saslswitchchannel tcp_intranet \
          missingrecipientpolicy 0 loopcheck
TCP-DAEMON

tcp_intranet smtp mx single_sys subdirs 20 dequeue_removeroute pool SMTP_POOL \
          maytlsserver allowswitchchannel missingrecipientpolicy 4
tcp_intranet-daemon

tcp_lmtpcs defragment lmtp port 225 nomx single_sys subdirs 20 pool SMTP_POOL dequeue_removeroute
lmtpcs-daemon

tcp_lmtpss lmtp subdirs 20 flagtransfer identnonelimited
tcp_lmtpss-daemon

hold slave
hold-daemon

pipe single defragment subdirs 20
pipe-daemon

filter_discard notices 7
filter-discard
"#;

const POOLS: &str = "! Pools\nTCP_PORT=27442\n[POOL=LOCAL_POOL]\njob_limit=10\n[POOL=IMS_POOL]\njob_limit=1\n[POOL=SMTP_POOL]\n\
job_limit=10\n[CHANNEL=tcp_*]\nmaster_command=IMTA_BIN:tcp_smtp_client\n";

#[test]
fn a_cluster_on_the_internet() {
    let none: [&str; 0] = [];
    assert_eq!(complaints(&[("pmdf.cnf", CLUSTER), ("INTERNET.RULES", TOP_LEVEL)]), none);
}

#[test]
fn a_message_store() {
    let none: [&str; 0] = [];
    let options = "LOG_CONNECTION=7\nHISTORY_TO_RETURN=0\nRETURN_UNITS=1\nUSE_REVERSE_DATABASE=13\n";
    let files = [
        ("imta.cnf", STORE),
        ("internet.rules", TOP_LEVEL),
        ("job_controller.cnf", POOLS),
        ("option.dat", options),
    ];
    assert_eq!(complaints(&files), none);
}

#[test]
fn files_from_other_systems_say_the_same() {
    let none: [&str; 0] = [];
    for text in [CLUSTER.replace('\n', "\r\n"), CLUSTER.replace(' ', "\t"), CLUSTER.trim_end().to_owned()] {
        assert_eq!(complaints(&[("sluice.cnf", &text), ("INTERNET.RULES", TOP_LEVEL)]), none);
    }
}
