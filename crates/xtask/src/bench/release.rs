//! `cargo xtask bench release`: how soon a site gets its mail when a million messages wait for a hundred thousand sites.
//!
//! A spool is filled (the benchmark `backlog` of the crate `dispatch`), the release build of the hub is started on it, and sites
//! ask by ETRN over loopback; all mail goes to one sink, which notes when it first hears of each domain. Once with all
//! sites on one channel and once with a thousand channels:
//! * *alone*: site after site asks; the time to the reply, and from the reply to the first RCPT of its first message;
//! * *together*: a thousand sites ask at once, each on a connection of its own; the time until each has its first message;
//! * *beside a crowd*: one session asks for a thousand sites, as fast as it is answered, and others ask for one each.
//!
//! Results go to `benches/release.json`, with the machine and the versions.

use super::filled::{Backlog, Hub, PATIENCE, configure, fill};
use super::language::machine;
use super::{built, median, millis};
use crate::cargo::root;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluice_testkit::{Sink, wait_until};
use std::fs;
use std::time::{Duration, Instant};

/// Where the results are kept.
const RESULTS: &str = "benches/release.json";
/// Messages for each site.
const EACH: usize = 10;
/// Sites that ask one after the other.
const ALONE: usize = 200;
/// Sites that ask at once.
const TOGETHER: usize = 1000;
/// Sites that one session asks for, while others ask for themselves; and those others.
const CROWD: usize = 1000;
const BESIDE: usize = 20;
/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Release {
    /// A tenth of the backlog, to try the benchmark itself; the results are shown and not kept
    #[arg(long)]
    small: bool,
}

/// Both shapes, one after the other.
pub(crate) fn release(options: &Release) -> Result<()> {
    let root = root()?;
    let sluice = built("release")?;
    let sites = if options.small { 10_000 } else { 100_000 };
    let mut shapes = Vec::new();
    for channels in [1, 1000] {
        let folder = super::folder(None)?;
        let sink = Sink::start();
        configure(folder.path(), sink.port(), channels, &[])?;
        fill(
            folder.path(),
            &Backlog { messages: sites * EACH, domains: sites, channels, ..Backlog::default() },
        )?;
        let hub = Hub::start(&sluice, folder.path())?;
        hub.settle()?;
        let shape = Asking { hub, channels, next: 0 }.measure(&sink)?;
        println!("{shape}");
        shapes.push(shape);
    }
    let all = json!({ "machine": machine(), "messages": sites * EACH, "sites": sites, "shapes": shapes });
    if !options.small {
        fs::create_dir_all(root.join("benches")).context("cannot make the folder benches")?;
        let pretty = serde_json::to_string_pretty(&all).context("results are JSON")?;
        fs::write(root.join(RESULTS), pretty + "\n").with_context(|| format!("cannot write {RESULTS}"))?;
        println!("kept in {RESULTS}");
    }
    Ok(())
}

/// A hub, and who asks it.
struct Asking {
    hub: Hub,
    channels: usize,
    /// The next site that nobody has asked for.
    next: usize,
}

impl Asking {
    /// The names of so many sites that nobody has asked for, spread over the channels.
    fn sites(&mut self, count: usize) -> Vec<String> {
        let from = self.next;
        self.next += count;
        (from..self.next).map(|site| format!("s{site}.c{}.example", site % self.channels)).collect()
    }

    fn measure(mut self, sink: &Sink) -> Result<Value> {
        let alone = self.alone(sink)?;
        let together = self.together(sink)?;
        let beside = self.beside_a_crowd(sink)?;
        Ok(json!({
            "channels": self.channels, "seconds_to_start": (self.hub.greeted - self.hub.begun).as_secs_f64(),
            "alone": alone, "together": together, "beside_a_crowd": beside,
        }))
    }

    fn alone(&mut self, sink: &Sink) -> Result<Value> {
        let mut talk = self.hub.talk()?;
        let (mut replies, mut firsts) = (Vec::new(), Vec::new());
        for site in self.sites(ALONE) {
            sink.clear();
            let asked = Instant::now();
            let reply = talk.ask(&format!("ETRN {site}"))?;
            let answered = Instant::now();
            ensure!(reply.code == 253, "ETRN {site}: {reply}");
            let first = heard(sink, &site)?;
            ensure!(
                wait_until(PATIENCE, || (sink.count() == EACH).then_some(())).is_some(),
                "{site} lacks mail"
            );
            replies.push(millis(answered - asked));
            firsts.push(millis(first.saturating_duration_since(answered)));
        }
        Ok(json!({ "reply_ms": figures(replies), "first_after_reply_ms": figures(firsts) }))
    }

    fn together(&mut self, sink: &Sink) -> Result<Value> {
        sink.clear();
        let sites = self.sites(TOGETHER);
        let mut talks = Vec::new();
        for site in &sites {
            talks.push((site, self.hub.talk()?));
        }
        self.hub.settle()?;
        let asked = Instant::now();
        for (site, talk) in &mut talks {
            talk.raw(format!("ETRN {site}\r\n").as_bytes())?;
        }
        for (site, talk) in &mut talks {
            let reply = talk.read()?;
            ensure!(reply.code == 253, "ETRN {site}: {reply}");
        }
        let replied = asked.elapsed();
        let mut firsts = Vec::new();
        for site in &sites {
            firsts.push(millis(heard(sink, site)? - asked));
        }
        let all = wait_until(PATIENCE, || (sink.count() == TOGETHER * EACH).then(|| asked.elapsed()));
        let all = all.context("not all of the mail arrived")?;
        Ok(
            json!({ "sites": TOGETHER, "all_replies_ms": millis(replied), "first_ms": figures(firsts), "all_mail_ms": millis(all) }),
        )
    }

    fn beside_a_crowd(&mut self, sink: &Sink) -> Result<Value> {
        sink.clear();
        let (crowd, others) = (self.sites(CROWD), self.sites(BESIDE));
        let (mut one, mut other) = (self.hub.talk()?, self.hub.talk()?);
        self.hub.settle()?;
        let firsts = std::thread::scope(|scope| -> Result<Vec<f64>> {
            let asking = scope.spawn(|| -> Result<()> {
                for site in &crowd {
                    let reply = one.ask(&format!("ETRN {site}"))?;
                    ensure!(reply.code == 253, "ETRN {site}: {reply}");
                }
                Ok(())
            });
            let mut firsts = Vec::new();
            for site in &others {
                // Spread over the time that the crowd takes.
                std::thread::sleep(Duration::from_millis(20));
                let asked = Instant::now();
                let reply = other.ask(&format!("ETRN {site}"))?;
                ensure!(reply.code == 253, "ETRN {site}: {reply}");
                firsts.push(millis(heard(sink, site)? - asked));
            }
            asking.join().map_err(|_| anyhow::anyhow!("the crowd's thread panicked"))??;
            Ok(firsts)
        })?;
        let expected = (CROWD + BESIDE) * EACH;
        ensure!(
            wait_until(PATIENCE, || (sink.count() == expected).then_some(())).is_some(),
            "mail is missing"
        );
        Ok(json!({ "crowd": CROWD, "first_ms": figures(firsts) }))
    }
}

/// When the sink first heard of the domain.
fn heard(sink: &Sink, domain: &str) -> Result<Instant> {
    wait_until(PATIENCE, || sink.heard_of(domain)).with_context(|| format!("nothing arrived for {domain}"))
}

/// Median, ninety-ninth of a hundred, and the worst.
fn figures(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let late = values.len() * 99 / 100;
    let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
    json!({
        "median": rounded(median(values.iter().copied())),
        "p99": values.get(late.min(values.len().saturating_sub(1))).copied().map(rounded),
        "worst": values.last().copied().map(rounded),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn figures_name_the_middle_and_the_ends() {
        let figures = super::figures((1..=200).rev().map(f64::from).collect());
        assert_eq!(figures, serde_json::json!({ "median": 100.5, "p99": 199.0, "worst": 200.0 }));
    }
}
