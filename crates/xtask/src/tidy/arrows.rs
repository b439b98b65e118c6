//! Which crate may use which: the arrows of ARCHITECTURE.md, and the homes of heavy dependencies.
//!
//! Read from cargo's account of the manifests, so that a renamed or optional dependency cannot hide.

use super::Finding;
use serde_json::Value;

/// For every crate of ours, the crates of ours that it may use. Lower tiers only; the arrows that are missing matter
/// as much as those that are here: `rewrite` cannot see the spool, `queue` cannot see the configuration.
const ARROWS: &[(&str, &[&str])] = &[
    // 0: facts
    ("sluice-mail", &[]),
    ("sluice-diag", &[]),
    ("sluice-abi", &[]),
    // 1: rules
    ("sluice-config", &["sluice-mail", "sluice-diag"]),
    ("sluice-rewrite", &["sluice-config", "sluice-mail", "sluice-diag"]),
    ("sluice-sasl", &[]),
    ("sluice-smtp", &["sluice-sasl", "sluice-mail"]),
    // 2: machines
    ("sluice-handoff", &[]),
    ("sluice-spool", &["sluice-handoff"]),
    ("sluice-queue", &["sluice-spool", "sluice-mail"]),
    ("sluice-host", &["sluice-queue", "sluice-spool", "sluice-mail", "sluice-abi"]),
    ("sluice-isolate", &["sluice-host", "sluice-mail"]),
    (
        "sluice-dispatch",
        &[
            "sluice-handoff",
            "sluice-host",
            "sluice-isolate",
            "sluice-queue",
            "sluice-spool",
            "sluice-rewrite",
            "sluice-config",
            "sluice-mail",
            "sluice-diag",
        ],
    ),
    // 3: edges
    ("sluice-smtpd", &["sluice-smtp", "sluice-sasl", "sluice-mail"]),
    ("sluice-admin", &["sluice-mail", "sluice-diag"]),
    (
        "sluice",
        &[
            "sluice-abi",
            "sluice-admin",
            "sluice-config",
            "sluice-diag",
            "sluice-dispatch",
            "sluice-host",
            "sluice-isolate",
            "sluice-mail",
            "sluice-queue",
            "sluice-rewrite",
            "sluice-sasl",
            "sluice-smtp",
            "sluice-smtpd",
            "sluice-spool",
        ],
    ),
    // beside the house
    ("sluice-sdk", &["sluice-abi", "sluice-sdk-derive"]),
    ("sluice-sdk-derive", &[]),
    ("sluice-sdk-tracing", &["sluice-sdk"]),
    ("sluice-durable", &[]),
    ("sluice-programs", &[]),
    ("sluice-testkit", &[]),
    ("sluice-xtask", &["sluice-testkit"]),
    (
        "sluice-tests",
        &[
            "sluice-testkit",
            "sluice-admin",
            "sluice-config",
            "sluice-diag",
            "sluice-isolate",
            "sluice-mail",
            "sluice-rewrite",
            "sluice-sasl",
            "sluice-smtp",
            "sluice-spool",
        ],
    ),
];

/// What a channel plugin may compile in.
const PLUGIN: &[&str] = &[
    "sluice-sdk",
    "sluice-abi",
    "sluice-mail",
    "sluice-sasl",
    "sluice-smtp",
    "sluice-durable",
    "sluice-programs",
];

/// What any crate may use for its own tests, besides what it uses anyway.
const FOR_TESTS: &[&str] = &["sluice-testkit"];

/// Crates beside it whose machines a crate's own tests drive: the simulation of the hub (`dispatch`) has its clients and peers
/// speak with real sessions.
const SPARRING: &[(&str, &[&str])] = &[("sluice-dispatch", &["sluice-smtp", "sluice-smtpd"])];

/// Heavy dependencies, and the only packages that may ship them. Tests may use what they like.
const HOMES: &[(&str, &[&str])] = &[
    ("pest", &["sluice-config"]),
    ("pest_derive", &["sluice-config"]),
    ("psl", &["sluice-config"]),
    ("cronexpr", &["sluice-config"]),
    ("memmap2", &["sluice-spool", "sluice-host", "sluice-isolate"]),
    ("landlock", &["sluice-isolate"]),
    ("seccompiler", &["sluice-isolate"]),
    ("libc", &["sluice-isolate", "sluice-spool"]),
    ("crc32c", &["sluice-spool"]),
    // The test fixtures and `programs` send signals to the programs they start, and `misbehaving` to itself.
    (
        "rustix",
        &[
            "sluice-spool",
            "sluice-testkit",
            "sluice-programs",
            "sluice-durable",
            "sluice-host",
            "sluice-isolate",
            "sluice-misbehaving",
        ],
    ),
    ("libloading", &["sluice-host"]),
    ("smtp-proto", &["sluice-smtp"]),
    ("mail-parser", &["sluice-mail", "sluice-http"]),
    ("mail-builder", &["sluice-mail"]),
    ("hyper", &["sluice-http"]),
    ("tokio", &["sluice-smtpd", "sluice-admin", "sluice", "sluice-tcp", "sluice-http"]),
    ("hickory-resolver", &["sluice", "sluice-tcp"]),
    ("rustls", &["sluice-smtpd", "sluice", "sluice-tcp", "sluice-http"]),
    ("tokio-rustls", &["sluice-smtpd", "sluice", "sluice-http"]),
    ("rustls-native-certs", &["sluice", "sluice-tcp", "sluice-http"]),
    ("hmac", &["sluice-sasl", "sluice-http"]),
    ("pbkdf2", &["sluice-sasl"]),
    // The oracle of tests.
    ("rsasl", &["sluice-sasl"]),
    ("flate2", &["sluice-bsmtp"]),
    ("axum", &["sluice-admin"]),
    ("anyhow", &["sluice", "sluice-xtask"]),
    ("clap", &["sluice", "sluice-xtask"]),
    ("annotate-snippets", &["sluice"]),
    ("tracing-subscriber", &["sluice", "sluice-sdk-tracing"]),
];

struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    manifest: String,
    plugin: bool,
    for_tests: bool,
}

/// Every dependency line of every package.
fn edges(metadata: &Value) -> Vec<Edge<'_>> {
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let mut edges = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let path = package["manifest_path"].as_str().unwrap_or_default();
        let manifest = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/').to_owned();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            edges.push(Edge {
                from: package["name"].as_str().unwrap_or_default(),
                to: dependency["name"].as_str().unwrap_or_default(),
                // Samples are plugins too, whose authors have nothing but the SDK.
                plugin: manifest.starts_with("plugins/") || manifest.starts_with("samples/plugins/"),
                manifest: manifest.clone(),
                for_tests: dependency["kind"].as_str() == Some("dev"),
            });
        }
    }
    edges
}

/// No crate uses one that is not below it.
pub(super) fn directions(metadata: &Value, found: &mut Vec<Finding>) {
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        if !manifest.contains("/plugins/") && !ARROWS.iter().any(|(crate_name, _)| *crate_name == name) {
            found.push(Finding::new(
                "ARCHITECTURE.md",
                0,
                format!("{name} has no place among the tiers"),
                "give it one in ARCHITECTURE.md and in the table of arrows in crates/xtask/src/tidy/arrows.rs",
            ));
        }
    }
    let ours = |name: &str| name == "sluice" || name.starts_with("sluice-");
    for edge in edges(metadata).iter().filter(|edge| ours(edge.to)) {
        let allowed = match edge.plugin {
            true => PLUGIN,
            false => {
                ARROWS.iter().find(|(name, _)| *name == edge.from).map_or(&[][..], |(_, allowed)| *allowed)
            }
        };
        let sparring = SPARRING.iter().any(|(from, with)| *from == edge.from && with.contains(&edge.to));
        let fine =
            allowed.contains(&edge.to) || (edge.for_tests && (FOR_TESTS.contains(&edge.to) || sparring));
        if !fine {
            found.push(Finding::new(
                &edge.manifest,
                0,
                format!("{} uses {}, which is not below it", edge.from, edge.to),
                "hand in what is needed as a value or a trait of the lower crate; ARCHITECTURE.md draws the arrows",
            ));
        }
    }
}

/// Every heavy dependency stays in its home.
pub(super) fn homes(metadata: &Value, found: &mut Vec<Finding>) {
    for edge in edges(metadata).iter().filter(|edge| !edge.for_tests) {
        let Some((name, homes)) = HOMES.iter().find(|(name, _)| *name == edge.to) else { continue };
        if !homes.contains(&edge.from) {
            found.push(Finding::new(
                &edge.manifest,
                0,
                format!("{} uses {name}, whose home is {}", edge.from, homes.join(", ")),
                "use it through its home, or argue for a second home in ARCHITECTURE.md and in the table of homes",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(path: &str, name: &str, uses: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<Value> =
            uses.iter().map(|(name, kind)| json!({ "name": name, "kind": kind })).collect();
        json!({ "name": name, "manifest_path": format!("/w/{path}/Cargo.toml"), "dependencies": dependencies })
    }

    fn found(packages: &[Value]) -> Vec<String> {
        let metadata = json!({ "workspace_root": "/w", "packages": packages });
        let mut found = Vec::new();
        directions(&metadata, &mut found);
        homes(&metadata, &mut found);
        found.into_iter().map(|finding| format!("{}: {}", finding.path, finding.what)).collect()
    }

    #[test]
    fn an_arrow_upwards_is_found() {
        let wrong =
            package("crates/rewrite", "sluice-rewrite", &[("sluice-spool", None), ("sluice-mail", None)]);
        assert_eq!(
            found(&[wrong]),
            ["crates/rewrite/Cargo.toml: sluice-rewrite uses sluice-spool, which is not below it"]
        );
    }

    #[test]
    fn tests_do_not_excuse_an_arrow_upwards_but_may_use_the_fixtures() {
        let uses = [("sluice-dispatch", Some("dev")), ("sluice-testkit", Some("dev"))];
        let wrong = package("crates/queue", "sluice-queue", &uses);
        assert_eq!(
            found(&[wrong]),
            ["crates/queue/Cargo.toml: sluice-queue uses sluice-dispatch, which is not below it"]
        );
    }

    #[test]
    fn a_plugin_that_reaches_into_the_hub_is_found() {
        let wrong = package("plugins/pipe", "sluice-pipe", &[("sluice-host", None), ("sluice-sdk", None)]);
        assert_eq!(
            found(&[wrong]),
            ["plugins/pipe/Cargo.toml: sluice-pipe uses sluice-host, which is not below it"]
        );
    }

    #[test]
    fn a_heavy_dependency_away_from_home_is_found() {
        let wrong = package("crates/smtpd", "sluice-smtpd", &[("memmap2", None), ("tokio", None)]);
        assert_eq!(
            found(&[wrong]),
            [
                "crates/smtpd/Cargo.toml: sluice-smtpd uses memmap2, whose home is sluice-spool, sluice-host, sluice-isolate"
            ]
        );
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        let wrong = package("crates/extra", "sluice-extra", &[]);
        assert_eq!(found(&[wrong]), ["ARCHITECTURE.md: sluice-extra has no place among the tiers"]);
    }

    #[test]
    fn a_right_one_is_left_alone() {
        let uses =
            [("sluice-spool", None), ("sluice-mail", None), ("thiserror", None), ("tokio", Some("dev"))];
        assert!(found(&[package("crates/queue", "sluice-queue", &uses)]).is_empty());
    }
}
