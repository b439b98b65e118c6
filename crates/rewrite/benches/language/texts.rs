//! Configurations of any size, in the shapes that large sites have and in some that nobody should have.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Files of which the rules of the shape `includes` come.
const INCLUDES: usize = 100;

/// The pattern and template of rule `number` of a shape.
fn rule(shape: &str, number: usize, channel: usize) -> Option<(String, String)> {
    let site = number % 5000;
    Some(match shape {
        "hosts" | "includes" | "channels" => (host(number), format!("$U%$D@daemon-{channel}.example")),
        "domains" => (domain(number), format!("$U%$H$D@daemon-{channel}.example")),
        "stars" => (star(number), format!("$U%$H.star{number}.example@daemon-{channel}.example")),
        "mixed" => match number % 10 {
            0..5 => return rule("hosts", number, channel),
            5..9 => return rule("domains", number, channel),
            _ => return rule("stars", number, channel),
        },
        // The pattern of all is the same; only one rule applies to any one address.
        "controls" => {
            let controls = ["$E$F", "$E$R", "$B$F", "$B$R"][number % 4];
            ("same.example".to_owned(), format!("$U%$D@daemon-{channel}.example{controls}$Mtcp_c{channel}"))
        }
        "tagged" => (
            if number.is_multiple_of(2) { host(number) } else { format!("tag{site}|{}", host(number - 1)) },
            if number.is_multiple_of(2) {
                format!("$U%$D$Ttag{}|", (number + 1) % 5000)
            } else {
                format!("$U%$D@daemon-{channel}.example")
            },
        ),
        "long" => {
            let padding = "long-label-of-a-template.".repeat(6);
            (host(number), format!("$U%$\\$D$_.{padding}example@daemon-{channel}.example$E$F$Ntcp_local"))
        }
        "names" => (format!("node{number}"), format!("$U%$D@daemon-{channel}.example")),
        _ => return None,
    })
}

pub(crate) fn host(number: usize) -> String {
    format!("host{number}.site{}.example.com", number % 5000)
}

pub(crate) fn domain(number: usize) -> String {
    format!(".dom{number}.example.net")
}

pub(crate) fn star(number: usize) -> String {
    format!("*.star{number}.example.org")
}

/// Writes a whole folder. There are two rules more than asked for: this system, and one for all other hosts.
pub(crate) fn write(folder: &Path, shape: &str, rules: usize, channels: usize) -> Result<(), String> {
    let mut main = "hub.example $U@hub.example\n. $U%$H@tcp-daemon\n".to_owned();
    let mut included = vec![String::new(); if shape == "includes" { INCLUDES } else { 0 }];
    for number in 0..rules {
        let (pattern, template) =
            rule(shape, number, number % channels).ok_or_else(|| format!("no such shape: {shape}"))?;
        let text = match included.len() {
            0 => &mut main,
            files => &mut included[number * files / rules],
        };
        _ = writeln!(text, "{pattern} {template}");
    }
    for (number, text) in included.iter().enumerate() {
        let name = format!("rules{number}.txt");
        _ = writeln!(main, "<{name}");
        fs::write(folder.join(name), text).map_err(|error| error.to_string())?;
    }
    main.push_str("\nl\nhub.example\n\ntcp_local smtp mx single_sys\ntcp-daemon\n\n");
    // What a rule of `mixed` rewrites again once, at the end of `rewriting`.
    for channel in 0..channels {
        _ = write!(
            main,
            "tcp_c{channel} smtp mx single_sys maxjobs 3 notices 1 3 7\ndaemon-{channel}.example\n\n"
        );
    }
    fs::write(folder.join("sluice.cnf"), main).map_err(|error| error.to_string())?;
    fs::write(folder.join("option.dat"), "SPOOL_DIR=spool\n").map_err(|error| error.to_string())
}
