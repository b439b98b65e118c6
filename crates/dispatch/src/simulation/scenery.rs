//! What the simulated hub is configured with: channels of every kind, in a few variants that reloads go between.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sluice_config::{MemoryFiles, Place};
use sluice_rewrite::Rewriter;

use crate::event::Loaded;

/// Nothing that was deferred by its peer is tried again sooner, unless somebody asks.
pub(super) const BACKOFF_MIN: Duration = Duration::from_secs(300);

/// No channel of these waits longer for its next attempt.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(3600);
/// Nor for its next service, where it waits for that.
pub(super) const SERVICES: Duration = Duration::from_secs(14_400);

/// Where mail goes: channel and domain. The first is also where notices go.
pub(super) const PLACES: [(&str, &str); 8] = [
    ("tcp_local", "there.example"),
    ("tcp_local", "deep.there.example"),
    ("tcp_local", "else.there.example"),
    ("tcp_site", "site.example"),
    ("tcp_site", "sub.site.example"),
    ("tcp_slow", "slow.example"),
    ("tcp_slow", "deep.slow.example"),
    ("tcp_window", "window.example"),
];

pub(super) const CHANNELS: [&str; 4] = ["tcp_local", "tcp_site", "tcp_slow", "tcp_window"];

/// The one that tries by itself in some variants, and waits for requests in others.
pub(super) const CHANGING: &str = "tcp_window";

/// The channel that a peer of this name stands behind.
pub(super) const PEER: (&str, &str) = ("peer.example", "tcp_site");

/// A site that is released by its schedule, and what its mail is for.
pub(super) const PLANNED: &str = "planned";
pub(super) const PLANNED_DOMAIN: &str = "slow.example";

const RULES: &str = "\
there.example $U%$D@TCP-DAEMON
.there.example $U%$H$D@TCP-DAEMON
site.example $U%$D@TCP-SITE
.site.example $U%$H$D@TCP-SITE
peer.example $U%$D@TCP-SITE
slow.example $U%$D@TCP-SLOW
.slow.example $U%$H$D@TCP-SLOW
window.example $U%$D@TCP-WINDOW
hub.example $U@hub.example
";

/// What differs from variant to variant: keywords of channels, and the job controller's file.
struct Variant {
    local: &'static str,
    site: &'static str,
    slow: &'static str,
    window: &'static str,
    jobs: &'static str,
}

const VARIANTS: [Variant; 4] = [
    Variant { local: "backoff PT5M PT10M PT1H", site: "", slow: "", window: "backoff PT5M", jobs: "" },
    Variant {
        local: "backoff PT5M PT30M single maxjobs 2",
        site: "maxjobs 1",
        slow: "threaddepth 1 maxjobs 3",
        window: "backoff PT1H single",
        jobs: "",
    },
    Variant {
        local: "backoff PT6M PT10M addrsperfile 2",
        site: "multiple",
        slow: "single maxjobs 2",
        window: "periodic",
        jobs: "[QUEUE=NARROW]\njob_limit=1\n",
    },
    Variant {
        local: "backoff PT5M multiple queue NARROW",
        site: "",
        slow: "queue NARROW multiple",
        window: "backoff PT5M",
        jobs: "[QUEUE=NARROW]\njob_limit=2\n",
    },
];

pub(super) const fn variants() -> usize {
    VARIANTS.len()
}

/// One of the configurations; each is read once.
pub(super) fn loaded(variant: usize) -> Arc<Loaded> {
    static ALL: OnceLock<Vec<Arc<Loaded>>> = OnceLock::new();
    let all = ALL.get_or_init(|| VARIANTS.iter().map(read).collect());
    Arc::clone(&all[variant])
}

fn read(Variant { local, site, slow, window, jobs }: &Variant) -> Arc<Loaded> {
    let ages = "notices 6 24";
    let text = format!(
        "{RULES}\nl {ages} backoff PT5M\nhub.example\n\ntcp_local smtp {ages} {local}\nTCP-DAEMON\n\n\
         tcp_site smtp daemon peer.example periodic {ages} {site}\nTCP-SITE\n\n\
         tcp_slow smtp periodic {ages} {slow}\nTCP-SLOW\n\n\
         tcp_window smtp {ages} {window}\nTCP-WINDOW\n\n"
    );
    let jobs = format!("{jobs}[CHANNEL=tcp_window]\nWINDOW=02:00-04:00, 16:00-18:30\n");
    let services = SERVICES.as_secs();
    let options = format!("POST_INTERVAL={services}\nRETURN_UNITS=1\nRETURN_INTERVAL=60\nTIME_ZONE=UTC\n");
    let sites = format!(
        "[SITE={PLANNED}]\nDOMAINS=@{PLANNED_DOMAIN}\nTARGET=192.0.2.7\nPORT=2525\nSCHEDULE=every 90m\n\
         [SITE=open]\nDOMAINS=else.there.example\nWINDOW=05:00-09:00, 20:00-22:00\n"
    );
    let files = MemoryFiles::new()
        .with("/house/sluice.cnf", text)
        .with("/house/option.dat", options)
        .with("/house/sites.cnf", sites)
        .with("/house/job_controller.cnf", jobs);
    let (config, _, diagnostics) = sluice_config::read(&files, &Place::Folder(PathBuf::from("/house")));
    let config = Arc::new(config.unwrap_or_else(|| panic!("{diagnostics:#?}")));
    let (rewriter, _) = Rewriter::compile(Arc::clone(&config));
    Arc::new(Loaded { config, rewriter: Arc::new(rewriter) })
}
