//! Whatever the bytes of the files are: no panic, and a configuration exactly when nothing is an error.
#![allow(clippy::unwrap_used)]

use sluice_config::{MemoryFiles, Place, read};
use std::path::PathBuf;

/// Pieces that meet the grammar more often than chance would.
const PIECES: &[&str] = &[
    "l",
    "tcp_a",
    "smtp",
    " ",
    "\t",
    "\n",
    "\n\n",
    "\\\n",
    "\\ \n",
    "!",
    "<",
    "<sluice.cnf\n",
    "<other\n",
    "\"",
    "$U@",
    "%",
    "@",
    "defaults",
    "nodefaults",
    "notices",
    "1",
    "2",
    "822",
    "backoff",
    "PT30M",
    "daemon",
    "a.b",
    "[127.0.0.1]",
    "=",
    "[SERVICE=",
    "[POOL=x]\n",
    "PORT",
    "SPOOL_DIR=",
    "16%ff",
    "é",
    "\u{feff}",
    "\0",
    "\r\n",
    "description",
    "defaulthost",
    "after",
    "pool",
    "x",
    "99999999999999999999",
    "-1",
    "hub.example.com",
    "TCP-DAEMON",
    "sendetrn",
    "nameservers",
    "::1",
    "PARAMETER=CHANNEL=",
    "JOB_LIMIT=0",
    "[CHANNEL=*]\n",
    "MASTER_PLUGIN=/",
    "maxjobs=7",
];

/// A generator of numbers that is the same every time (xorshift64*), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    fn text(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..self.below(60) {
            match self.below(12) {
                0 => text.push(self.below(256) as u8),
                _ => text.extend_from_slice(PIECES[self.below(PIECES.len())].as_bytes()),
            }
        }
        text
    }
}

fn read_all(files: &MemoryFiles, seed: u64) {
    let (config, sources, diagnostics) = read(files, &Place::Folder(PathBuf::from("/c")));
    assert_eq!(config.is_some(), !sluice_diag::errors_in(&diagnostics), "seed {seed}");
    for diagnostic in &diagnostics {
        let text = diagnostic.render(&sources);
        assert!(!text.is_empty() && !diagnostic.message.ends_with('.'), "seed {seed}: {text}");
    }
    if let Some(config) = config {
        assert!(config.channels.local().hosts.len() == config.channels.local().hosts.len().max(1));
        assert!(config.pool("DEFAULT").is_some());
        for rule in &config.rules {
            let _ = rule.template_part(0, rule.template.len());
            let _ = rule.template_part(rule.template.len(), usize::MAX / 2);
        }
    }
}

#[test]
fn no_bytes_make_it_panic() {
    for seed in 1..400 {
        let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let mut files = MemoryFiles::new();
        for name in [
            "sluice.cnf",
            "other",
            "option.dat",
            "dispatcher.cnf",
            "job_controller.cnf",
            "l_option",
            "x_option",
        ] {
            files = files.with(format!("/c/{name}"), numbers.text());
        }
        read_all(&files, seed);
        let main = [b". $U@h\n\nl\nh\n\ntcp_a smtp ".to_vec(), numbers.text()].concat();
        read_all(&files.with("/c/sluice.cnf", main), seed);
    }
}

#[test]
fn much_of_anything_does_not_exhaust_the_stack() {
    for line in [
        " !\n",
        "tcp_a smtp mx\n",
        "l\n\n",
        "a $U@b\n\n",
        "x \\\n",
        "\"a ",
        "[SERVICE=X]\n",
        "defaults mx\nl\n",
    ] {
        let text = line.repeat(2000);
        let files = MemoryFiles::new().with("/c/sluice.cnf", text.clone()).with("/c/dispatcher.cnf", text);
        read_all(&files, 0);
    }
}
