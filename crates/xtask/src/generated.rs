//! Files that are generated from a table in a crate, and the test that compares each.
//!
//! The crates own both the data and the writing: their test compares the file in the tree with what the table gives,
//! and writes it anew when the variable is set. This verb only knows whom to ask; the page of the mission, which is about
//! tests and belongs to no crate, it writes itself.

use crate::cargo::{cargo, root, step};
use anyhow::Result;

/// A family of generated files: which package writes it, and what makes it write.
struct Generated {
    what: &'static str,
    package: &'static str,
    variable: &'static str,
}

const GENERATED: &[Generated] = &[
    Generated {
        what: "docs/reference, from the keyword and option tables",
        package: "sluice-config",
        variable: "UPDATE_REFERENCE",
    },
    Generated {
        what: "docs/reference/rewrite-rules.md, from the table of remarks about rules",
        package: "sluice-rewrite",
        variable: "UPDATE_REFERENCE",
    },
    Generated {
        what: "docs/reference/channel-tcp.md, from the plugin's option table",
        package: "sluice-tcp",
        variable: "UPDATE_REFERENCE",
    },
    Generated {
        what: "docs/reference/channel-conversion.md, its options from the plugin's table (its parameters are config's)",
        package: "sluice-conversion",
        variable: "UPDATE_REFERENCE",
    },
    Generated {
        what: "docs/reference/channel-defragment.md, from the plugin's option table",
        package: "sluice-defragment",
        variable: "UPDATE_REFERENCE",
    },
    Generated {
        what: "docs/reference/channel-http.md, from the plugin's option table",
        package: "sluice-http",
        variable: "UPDATE_REFERENCE",
    },
    Generated {
        what: "docs/reference/channel-local.md, from the plugin's option table",
        package: "sluice-local",
        variable: "UPDATE_REFERENCE",
    },
    Generated {
        what: "docs/reference/channel-pipe.md, from the plugin's option table",
        package: "sluice-pipe",
        variable: "UPDATE_REFERENCE",
    },
    Generated {
        what: "docs/reference/channel-directory.md, from the plugin's option table",
        package: "sluice-directory",
        variable: "UPDATE_REFERENCE",
    },
    Generated {
        what: "docs/reference/channel-bsmtp.md, from the plugin's option table",
        package: "sluice-bsmtp",
        variable: "UPDATE_REFERENCE",
    },
    Generated {
        what: "docs/reference/channel-archive.md, from the plugin's option table",
        package: "sluice-archive",
        variable: "UPDATE_REFERENCE",
    },
    Generated {
        what: "docs/reference/queue-commands.md, from the command line",
        package: "sluice",
        variable: "UPDATE_REFERENCE",
    },
    Generated {
        what: "docs/internals/wire-replies.md, from the replies",
        package: "sluice-smtp",
        variable: "UPDATE_PAGES",
    },
    Generated {
        what: "include/sluice.h and docs/man/sluice-channel.7, from the ABI and its page",
        package: "sluice-abi",
        variable: "UPDATE_HEADER",
    },
];

/// Writes all of them.
pub(crate) fn run() -> Result<()> {
    let root = root()?;
    for generated in GENERATED {
        step(
            generated.what,
            // One test at a time: others read the page that one of them writes.
            cargo(&root, &["test", "--quiet", "--package", generated.package, "--", "--test-threads=1"])
                .env(generated.variable, "1"),
            "read the failure above",
        )?;
    }
    crate::mission::write(&root)?;
    eprintln!("see what changed: git diff --stat");
    Ok(())
}
