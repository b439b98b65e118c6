//! Every folder of `samples/` is loaded and probed: it has no diagnostics, and addresses go where its comments say.

use sluice_testkit::{Batch, Sink, Site, below_received, built, maildir, message, number_of, wait_for};
use sluice_tests::SOON;
use std::path::{Path, PathBuf};
use std::process::Command;

/// For each sample: an address, and the channel and host it goes to; no channel when it must be refused.
type Probes = &'static [(&'static str, &'static str, &'static str)];

const SAMPLES: &[(&str, Probes)] = &[
    (
        "classic",
        &[
            ("fred@some.where.com", "tcp_dialup", "some.where.com"),
            ("fred@deep.some.where.com", "tcp_dialup", "deep.some.where.com"),
            ("fred@host1.example.com", "l", "host1.example.com"),
            ("fred@elsewhere.org", "", ""),
        ],
    ),
    (
        "conversion",
        &[
            ("fred@ship.example.org", "tcp_radio", "ship.example.org"),
            ("fred@hub.example.com", "l", "hub.example.com"),
            ("fred@elsewhere.example", "", ""),
        ],
    ),
    (
        "dialup/hub",
        &[
            ("fred@site7.example.net", "tcp_dialup", "site7.example.net"),
            ("Fred@PC.Site7.example.net", "tcp_dialup", "PC.Site7.example.net"),
            ("captain@ship.example.org", "tcp_ship", "ship.example.org"),
            ("postmaster@hub.example.com", "l", "hub.example.com"),
            ("fred@example.net", "", ""),
        ],
    ),
    (
        "dialup/site",
        &[
            ("fred@site7.example.net", "l", "site7.example.net"),
            ("fred@pc.site7.example.net", "l", "site7.example.net"),
            ("fred@hub.example.com", "", ""),
        ],
    ),
    (
        "no-wire/hub",
        &[
            ("fred@ship.example.org", "bsout_ship", "ship.example.org"),
            ("fred@bridge.ship.example.org", "bsout_ship", "bridge.ship.example.org"),
            ("postmaster@hub.example.com", "l", "hub.example.com"),
            ("fred@elsewhere.example", "", ""),
        ],
    ),
    (
        "no-wire/ship",
        &[
            ("fred@ship.example.org", "l", "ship.example.org"),
            ("fred@hub.example.com", "bsout_hub", "hub.example.com"),
        ],
    ),
    (
        "plugins/pop3/sample",
        &[
            ("fred@hub.example", "l", "hub.example"),
            ("fred@pop3.hub.example", "pop3", "pop3.hub.example"),
            ("fred@elsewhere.org", "", ""),
        ],
    ),
    (
        "plugins/webhook/sample",
        &[
            ("lunch@room.example", "webhook", "room.example"),
            ("fred@hub.example", "l", "hub.example"),
            ("fred@elsewhere.org", "", ""),
        ],
    ),
    ("plugins/words/sample", &[("fred@hub.example", "l", "hub.example"), ("fred@elsewhere.org", "", "")]),
];

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples")
}

/// Every folder below `folder` that holds a configuration, relative to the samples.
fn configurations(folder: &Path, found: &mut Vec<String>) {
    if folder.join("sluice.cnf").is_file() {
        let below = folder.strip_prefix(samples()).expect("a folder of the samples");
        found.push(below.to_string_lossy().into_owned());
    }
    for entry in std::fs::read_dir(folder).expect("samples can be listed").flatten() {
        if entry.path().is_dir() {
            configurations(&entry.path(), found);
        }
    }
}

#[test]
fn every_sample_is_probed() {
    let mut found = Vec::new();
    configurations(&samples(), &mut found);
    found.sort();
    assert_eq!(found, SAMPLES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

#[test]
fn no_sample_has_anything_to_remark_on() {
    for (name, _) in SAMPLES {
        let output = Command::new(built("sluice"))
            .args(["check", "--format", "json", "--config"])
            .arg(samples().join(name))
            .output()
            .expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{name}: {text}");
        let serious = text.lines().find(|line| !line.contains("\"severity\":\"info\""));
        assert_eq!(serious, None, "{name}");
    }
}

#[test]
fn addresses_go_where_the_samples_say() {
    for (name, probes) in SAMPLES {
        for (address, channel, host) in *probes {
            let output = Command::new(built("sluice"))
                .args(["test", "rewrite", "--format", "json", "--config"])
                .arg(samples().join(name))
                .arg(address)
                .output()
                .expect("the program starts");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let row: serde_json::Value = serde_json::from_str(text.trim()).expect("a JSON line");
            assert_eq!(row["input"], *address);
            assert!(row["trace"].as_array().is_some_and(|steps| !steps.is_empty()), "{row}");
            if channel.is_empty() {
                assert!(row["error"].is_string() && row["address"].is_null(), "{name}, {address}: {row}");
            } else {
                assert!(row["error"].is_null(), "{name}, {address}: {row}");
                assert_eq!(
                    (row["channel"].as_str(), row["host"].as_str()),
                    (Some(*channel), Some(*host)),
                    "{row}"
                );
                let local = address.split('@').next().unwrap_or_default();
                assert_eq!(row["address"], format!("{local}@{host}"), "{name}, {address}");
            }
        }
    }
}

#[test]
fn a_lone_file_is_enough() {
    let output = Command::new(built("sluice"))
        .args(["test", "rewrite", "--format", "json", "--config"])
        .arg(samples().join("classic/sluice.cnf"))
        .arg("fred@some.where.com")
        .output()
        .expect("the program starts");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"tcp_dialup\""));
}

#[test]
fn the_pair_of_the_dialup_sample_works_together() {
    let mut site = Site::copy_of("sample-site", &samples().join("dialup/site"));
    let mut hub = Site::copy_of("sample-hub", &samples().join("dialup/hub"));
    let ship = Sink::start();
    hub.replace("sluice.cnf", "port 10026", &format!("port {}", site.address().port()));
    hub.replace("sluice.cnf", "port 10027", &format!("port {}", ship.port()));
    site.replace("sluice.cnf", "port 10025", &format!("port {}", hub.address().port()));
    hub.start();
    site.start();
    Batch { size: 4096, ..Batch::new(hub.address(), "fred@site7.example.net", 5) }.send_all();
    Batch::new(hub.address(), "captain@ship.example.org", 1).send_all();
    let inbox = site.configuration().join("mail/fred");
    assert_eq!(hub.waiting(Some("tcp_dialup")), 5);
    assert!(maildir(&inbox).is_empty());
    hub.talk().want("ETRN site7.example.net", 253);
    wait_for("the site's people have their mail", SOON, || maildir(&inbox).len() == 5);
    for one in maildir(&inbox) {
        let number = number_of(&one).expect("a message of the batch");
        // A maildir holds lines that end in LF; everything else is as it was sent.
        let sent = String::from_utf8(message(number, 4096)).expect("text").replace("\r\n", "\n");
        let got = String::from_utf8_lossy(below_received(&one)).replace("\r\n", "\n");
        assert_eq!(got, sent);
    }
    assert_eq!(hub.waiting(Some("tcp_ship")), 1);

    // The site asks by itself: its channel to the hub polls, though it has no mail for it.
    Batch { first: 5, ..Batch::new(hub.address(), "fred@site7.example.net", 2) }.send_all();
    site.json(&["trigger", "#tcp_hub"]);
    wait_for("the site has asked for its mail", SOON, || maildir(&inbox).len() == 7);
    hub.stop();
    site.stop();
}
