//! What a plugin that misbehaves costs the channel beside it (`cargo xtask bench plugin`).
//!
//! One hub for the plugins in its own process, another for the isolated ones. Each has a channel for every way of misbehaving, all of
//! them stopped while ten thousand messages come in, each of which goes to all of them. Then one channel at a time is
//! started, and stopped, in turns: how many messages a second a good channel delivers meanwhile, and how many without it; at the
//! end beside all of them at once. So the same mail waits in both halves of a turn, and the difference is the plugin's. Which half
//! comes first alternates, and the half without begins when nothing of the plugin is under way any more.
//!
//! Two rows are there to judge the others by. *nothing*: a turn in which no channel is started, whose difference is what the
//! measurement itself is worth. *delivers_all*: the same plugin, behaving. Who delivers mail has to have a share of the machine, and one
//! that delivers and misbehaves besides (it says too much, or does not end) is held against that one, by the mail that it
//! delivered meanwhile.
//!
//! Then everything is counted by id: of no message may it be unknown, on any channel, whether it was delivered, returned, or waits.

mod counts;
mod hub;

use super::{built, median};
use crate::bench::sinks::FastSink;
use crate::cargo::{cargo, root, step};
use anyhow::Result;
use hub::{Hub, Memory};
use serde_json::{Value, json};
use sluice_testkit::misbehaviour::{IN_PROCESS, ISOLATED_ONLY};
use sluice_testkit::{Batch, wait_until};
use std::path::Path;
use std::time::{Duration, Instant};

/// Nothing that is waited for takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long memory that is not used any more may take to go back to the system, idle threads included (30 seconds).
const RETURN: Duration = Duration::from_secs(45);
/// The most by which the rate of the good channel may fall.
const TARGET_PERCENT: f64 = 10.0;
/// The plugin, behaving.
const BEHAVES: &str = "delivers_all";
/// Octets of a message.
const SIZE: usize = 600;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Messages for each channel that misbehaves.
    pub(super) bad: usize,
    /// Messages for the good channel in half a turn.
    pub(super) good: u32,
    /// Turns for each way of misbehaving.
    pub(super) turns: usize,
}

/// Measures and shows. `only`: these ways of misbehaving; all when there is none.
pub(super) fn neighbour(profile: &str, size: Size, only: &[String]) -> Result<Value> {
    let root = root()?;
    let sluice = built(profile)?;
    let mut build = cargo(&root, &["build", "--profile", profile, "--package", "sluice-misbehaving"]);
    step("build of the plugin that misbehaves", &mut build, "read the compiler's words above")?;
    let isolated = [&IN_PROCESS[..], &ISOLATED_ONLY[..]].concat();
    let begun = Instant::now();
    let mut halves = Vec::new();
    for (modes, is_isolated) in [(&IN_PROCESS[..], false), (&isolated[..], true)] {
        let is_wanted = |mode: &&str| only.is_empty() || only.iter().any(|one| one == mode);
        let modes: Vec<&str> = modes.iter().copied().filter(is_wanted).collect();
        halves.push(half(&sluice, &modes, is_isolated, size)?);
    }
    let took = begun.elapsed().as_secs_f64();
    println!("took {took:.0} s ({profile} profile)");
    Ok(json!({
        "profile": profile, "messages": size.bad, "good_messages_in_half_a_turn": size.good, "turns": size.turns,
        "target_fall_percent": TARGET_PERCENT, "took_seconds": took.round(), "halves": halves,
    }))
}

/// Half a turn each: messages a second of the good channel, alone and beside what misbehaves.
#[derive(Debug, Clone, Copy)]
struct Turn {
    alone: f64,
    beside: f64,
}

impl Turn {
    fn fall(&self) -> f64 {
        (1.0 - self.beside / self.alone) * 100.0
    }
}

/// What the turns with a channel came to.
struct Row {
    name: String,
    turns: Vec<Turn>,
    /// Messages a second that the channel delivered itself meanwhile.
    delivers: f64,
}

impl Row {
    fn alone(&self) -> f64 {
        median(self.turns.iter().map(|turn| turn.alone))
    }

    fn beside(&self) -> f64 {
        median(self.turns.iter().map(|turn| turn.beside))
    }

    /// Each turn by itself: what the machine does besides is in both of its halves.
    fn fall(&self) -> f64 {
        median(self.turns.iter().map(Turn::fall))
    }

    /// How far half of the turns are from that, at least.
    fn spread(&self) -> f64 {
        let fall = self.fall();
        median(self.turns.iter().map(|turn| (turn.fall() - fall).abs()))
    }

    /// By how much it falls more than the mail that the channel delivers meanwhile is worth, by the row of one that behaves.
    fn above(&self, behaves: &Row) -> f64 {
        let share = if behaves.delivers > 0.0 { (self.delivers / behaves.delivers).min(1.0) } else { 0.0 };
        self.fall() - behaves.fall().max(0.0) * share
    }

    fn shown(&self, above: Option<f64>) -> String {
        let mark = if above.unwrap_or_default() < TARGET_PERCENT { ' ' } else { '!' };
        let above = above.map_or_else(|| " ".repeat(7), |above| format!("{above:>5.1}%{mark}"));
        format!(
            "{:<20} {:>7.0} {:>8.0} {:>5.1}% ±{:<4.1} {:>8.0} {above}",
            self.name,
            self.alone(),
            self.beside(),
            self.fall(),
            self.spread(),
            self.delivers
        )
    }

    fn json(&self, above: Option<f64>) -> Value {
        json!({
            "mode": self.name, "alone": self.alone().round(), "beside": self.beside().round(),
            "fall_percent": tenth(self.fall()), "spread_percent": tenth(self.spread()),
            "delivers": self.delivers.round(), "above_percent": above.map(tenth),
        })
    }
}

/// All modes in one hub.
fn half(sluice: &Path, modes: &[&str], is_isolated: bool, size: Size) -> Result<Value> {
    let sink = FastSink::start()?;
    let folder = super::folder(None)?;
    let all = [&[BEHAVES], modes].concat();
    let hub = Hub::start(sluice, folder.path(), sink.port(), &all, is_isolated)?;
    let names: Vec<String> = all.iter().map(|mode| hub::channel(mode)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let bad = &names[1..];
    hub.order("stop", &names)?;
    hub.rate(&sink, size.good)?;
    let before = hub.memory()?;
    let to = all.iter().map(|mode| format!("fred@{}", hub::domain(mode))).collect();
    Batch { sessions: 4, size: SIZE, to, ..Batch::new(hub.address(), "nobody", size.bad) }.send_all();
    let full = hub.memory()?;

    let place = if is_isolated { "isolated" } else { "in process" };
    println!("{place:<20} alone/s beside/s   fall        itself/s  above   MiB");
    let mut rows = Vec::new();
    let mut most = full;
    let mut show = |row: &Row, above: Option<f64>| -> Result<()> {
        let memory = hub.memory()?;
        most = most.larger(memory);
        println!("{} {:>5.1}", row.shown(above), memory.own_mib());
        let mut shown = row.json(above);
        shown["own_kib"] = memory.own.into();
        rows.push(shown);
        Ok(())
    };
    show(&turns(&hub, &sink, "nothing", &[], size)?, None)?;
    let behaves = turns(&hub, &sink, BEHAVES, &names[..1], size)?;
    show(&behaves, None)?;
    for (mode, name) in modes.iter().zip(bad) {
        let row = turns(&hub, &sink, mode, &[name], size)?;
        show(&row, Some(row.above(&behaves)))?;
    }
    let together = turns(&hub, &sink, "all of them at once", bad, size)?;
    show(&together, Some(together.above(&behaves)))?;

    let counts = counts::counts(&hub, &all, size.bad)?;
    let waited = hub.memory()?;
    let selected: Vec<String> = names.iter().map(|channel| format!("#{channel}")).collect();
    let selected: Vec<&str> = selected.iter().map(String::as_str).collect();
    hub.run(&[&["queue", "delete", "--yes"], &selected[..]].concat())?;
    let emptied = wait_until(PATIENCE, || hub.waiting().ok().filter(|waiting| *waiting == 0));
    let after = returned(&hub, before)?;
    for (row, count) in rows.iter_mut().skip(1).zip(&counts) {
        row["delivered"] = count.delivered.into();
        row["returned"] = count.returned.into();
        row["waiting"] = count.waiting.into();
        row["held"] = count.held.into();
        row["lost"] = count.lost.into();
    }
    let sum = |field: fn(&counts::Counts) -> usize| counts.iter().map(field).sum::<usize>();
    println!(
        "of {}: {} delivered, {} returned, {} wait ({} of them held), {} lost",
        all.len() * size.bad,
        sum(|one| one.delivered),
        sum(|one| one.returned),
        sum(|one| one.waiting),
        sum(|one| one.held),
        sum(|one| one.lost)
    );
    println!(
        "own memory: {:.1} MiB before, {:.1} with all that was to come, {:.1} at most, {:.1} with what waits at the end, {:.1} without it",
        before.own_mib(),
        full.own_mib(),
        most.own_mib(),
        waited.own_mib(),
        after.own_mib()
    );
    Ok(json!({
        "isolated": is_isolated, "rows": rows, "lost": sum(|one| one.lost), "emptied": emptied.is_some(),
        "own_kib": {
            "before": before.own, "with_all_that_was_to_come": full.own, "at_most": most.own,
            "with_what_waits_at_the_end": waited.own, "after": after.own,
        },
    }))
}

/// Memory, when it does not become less any more.
fn returned(hub: &Hub, before: Memory) -> Result<Memory> {
    let end = Instant::now() + RETURN;
    let mut least = hub.memory()?;
    while least.own > before.own && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(500));
        let now = hub.memory()?;
        if now.own < least.own {
            least = now;
        }
    }
    Ok(least)
}

/// In turns without these channels and with them.
fn turns(hub: &Hub, sink: &FastSink, name: &str, channels: &[&str], size: Size) -> Result<Row> {
    let mut turns = Vec::with_capacity(size.turns);
    let (mut delivered, mut time) = (0, Duration::ZERO);
    for number in 0..size.turns {
        let alone = || -> Result<f64> {
            hub.be_quiet(PATIENCE)?;
            hub.rate(sink, size.good)
        };
        let mut beside = || -> Result<f64> {
            let (before, begun) = (counts::delivered(hub, channels), Instant::now());
            if !channels.is_empty() {
                hub.order("start", channels)?;
            }
            let rate = hub.rate(sink, size.good)?;
            if !channels.is_empty() {
                hub.order("stop", channels)?;
            }
            time += begun.elapsed();
            delivered += counts::delivered(hub, channels).saturating_sub(before);
            Ok(rate)
        };
        let turn = if number % 2 == 0 {
            let alone = alone()?;
            Turn { alone, beside: beside()? }
        } else {
            hub.be_quiet(PATIENCE)?;
            let beside = beside()?;
            Turn { alone: alone()?, beside }
        };
        turns.push(turn);
    }
    #[allow(clippy::cast_precision_loss)] // some thousands
    let delivers = if time.is_zero() { 0.0 } else { delivered as f64 / time.as_secs_f64() };
    Ok(Row { name: name.to_owned(), turns, delivers })
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(delivers: f64, turns: &[(f64, f64)]) -> Row {
        let turns = turns.iter().map(|(alone, beside)| Turn { alone: *alone, beside: *beside }).collect();
        Row { name: "x".to_owned(), turns, delivers }
    }

    #[test]
    fn each_turn_is_compared_with_itself() {
        // The machine had half of its strength in the second turn.
        let row = row(0.0, &[(1000.0, 900.0), (500.0, 450.0), (1000.0, 950.0)]);
        assert!((row.fall() - 10.0).abs() < 1e-9, "{}", row.fall());
        assert!(row.spread() < 1e-9, "{}", row.spread());
    }

    #[test]
    fn who_delivers_is_held_against_one_that_behaves() {
        let behaves = row(1000.0, &[(1000.0, 800.0)]);
        let above = |delivers, beside| row(delivers, &[(1000.0, beside)]).above(&behaves);
        assert!((above(1000.0, 780.0) - 2.0).abs() < 1e-9, "as much as that one");
        assert!((above(500.0, 800.0) - 10.0).abs() < 1e-9, "half as much");
        assert!((above(0.0, 800.0) - 20.0).abs() < 1e-9, "nothing");
        assert!((above(5000.0, 800.0)).abs() < 1e-9, "and never more than all of it");
    }
}
