//! Printing a configuration and reading what was printed gives the same configuration.
#![allow(clippy::unwrap_used)]

use sluice_config::{Config, Files, MemoryFiles, Place, print, read};
use sluice_diag::Severity;
use std::path::{Path, PathBuf};

/// What a configuration says, without the places where it was written.
fn said(config: &Config) -> Vec<String> {
    let rules = config.rules.iter().map(|rule| format!("{} -> {}", rule.pattern, rule.template));
    let channels = config.channels.iter().map(|channel| {
        let keywords = channel.keywords.iter().map(|keyword| (keyword.name(), &keyword.arguments));
        let hosts = channel.hosts.iter().map(|host| (&host.name, &host.proper));
        format!(
            "{} {:?} {:?} {:?} {:?}",
            channel.name,
            keywords.collect::<Vec<_>>(),
            hosts.collect::<Vec<_>>(),
            channel.local_alias,
            channel.settings
        )
    });
    rules.chain(channels).collect()
}

/// The printed text reads as the same configuration, and prints as the same text.
fn comes_back(config: &Config, name: &str) {
    let text = print(config);
    // The neighbours that settings depend on are not part of the text.
    let (again, sources, diagnostics) = sluice_config::read_text(&text);
    let remarks: Vec<_> = diagnostics.iter().map(|remark| remark.render(&sources)).collect();
    let again = again
        .unwrap_or_else(|| panic!("{name}: the printed text is refused\n{}\n{text}", remarks.join("\n")));
    assert_eq!(said(config), said(&again), "{name}\n{text}");
    assert_eq!(text, print(&again), "{name}");
    let warned = diagnostics.iter().any(|remark| remark.severity == Severity::Error);
    assert!(!warned, "{name}: {remarks:?}");
}

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        // Options and pools change what keywords mean; the printed text has the main file alone.
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if ["option.dat", "job_controller.cnf", "dispatcher.cnf"].contains(&name.as_str()) {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        std::fs::read(path)
    }

    fn list(&self, folder: &Path) -> std::io::Result<Vec<String>> {
        let entries = std::fs::read_dir(folder)?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
    }
}

#[test]
fn configurations_of_sites_come_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/configurations/good");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let (config, _, diagnostics) = read(&Disk, &Place::Folder(path.clone()));
        let config = config.unwrap_or_else(|| panic!("{}: {diagnostics:?}", path.display()));
        // A pool of job_controller.cnf is unknown without that file, and then the default one.
        comes_back(&config, &path.display().to_string());
        seen += 1;
    }
    assert!(seen >= 30, "{seen}");
}

#[test]
fn odd_words_are_quoted_and_long_lines_broken() {
    let rule =
        format!(". $U%$H@TCP-DAEMON$Mtcp_local$?{}", "no such place; ask the postmaster ! < ".repeat(12));
    let text = format!(
        "{rule}\n$! $U@h\n[] $U%[$L]@TCP-DAEMON\n\nl\nh\n\ndefaults notices 822 900 logging\n\n\
         tcp_local smtp description \"mx of ours\" defaulthost hub.example \"relay\" pool \"logging\" mx \\\n \
         urgentbackoff \"pt5m\" PT10M 822 switchchannel identnonenumeric maxjobs 7 single_sys remotehost inner\n\
         TCP-DAEMON alias.example\nnear\nfar proper.example\n"
    );
    let (config, sources, diagnostics) = sluice_config::read_text(&text);
    let remarks: Vec<_> = diagnostics.iter().map(|remark| remark.render(&sources)).collect();
    let config = config.unwrap_or_else(|| panic!("{}", remarks.join("\n")));
    comes_back(&config, "odd words");
    let printed = print(&config);
    assert!(printed.lines().all(|line| line.chars().count() <= 252), "{printed}");
    assert!(printed.contains(r#"description "mx of ours" defaulthost hub.example "relay""#), "{printed}");
    assert!(printed.contains(r#"pool "logging" mx"#), "{printed}");
}

/// A generator of numbers that is the same every time (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

#[test]
fn whatever_can_be_read_comes_back() {
    let patterns = [
        "a", ".b.c", "*", "*.x", "$*", "$%", "tag|.", "[]", "[1.2.]", "l", "tcp_a", "defaults", "A.B",
        "\u{e4}.x", ".",
    ];
    let templates = [
        "$U@$D",
        "$U%$H@TCP-DAEMON",
        "$E$F$U@h",
        "$U%x$Mtcp_a",
        "$?some text; here",
        "smtp",
        "@$$\\x",
        "$U \"a b\"",
        "!x<y",
    ];
    let keywords = [
        "smtp",
        "smtp mx",
        "notices 1 2 4",
        "urgentnotices 3 822",
        "backoff pt1h P1D",
        "daemon router",
        "daemon \"a.b\"",
        "description \"a b\"",
        "description \"smtp\"",
        "description x\"y",
        "defaulthost a.b c.d",
        "defaulthost a.b \"c\"",
        "822",
        "733",
        "period 3",
        "periodic",
        "deferredsource 10",
        "deferredsource",
        "holdlimit 5",
        "pool \"DEFAULT\"",
        "nameservers 1.2.3.4 ::1",
        "after 00:30:00",
        "user \"!x\"",
        "saslswitchchannel tcp_a",
        "contchar =",
        "contchar \"\\\"",
    ];
    let mut numbers = Numbers(0x5151_2023);
    let mut read_well = 0;
    for round in 0..1200 {
        let mut text = String::new();
        for _ in 0..numbers.below(5) {
            text.push_str(&format!("{} {}\n", numbers.pick(&patterns), numbers.pick(&templates)));
        }
        text.push_str("! end\n\nl\nh\n");
        for name in ["tcp_a", "x", "tcp_b$1"] {
            if numbers.below(4) == 0 {
                text.push_str(&format!("\ndefaults {}\n", numbers.pick(&keywords)));
            }
            if numbers.below(9) == 0 {
                text.push_str("\nnodefaults\n");
            }
            text.push_str(&format!("\n{name}"));
            for _ in 0..numbers.below(6) {
                text.push_str(&format!(" {}", numbers.pick(&keywords)));
            }
            text.push_str(&format!(
                "\nHOST-{} alias{}\nthird.{} {}\n",
                name.len(),
                numbers.below(3),
                name.len(),
                ["", "proper"][numbers.below(2)]
            ));
        }
        let files = MemoryFiles::new().with("sluice.cnf", text.clone());
        let (config, ..) = read(&files, &Place::File(PathBuf::from("sluice.cnf")));
        if let Some(config) = config {
            read_well += 1;
            comes_back(&config, &format!("round {round}\n{text}\n---"));
        }
    }
    assert!(read_well > 300, "only {read_well} of the texts are configurations");
}
