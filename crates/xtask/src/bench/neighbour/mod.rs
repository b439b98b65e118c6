//! What a plugin that misbehaves costs the channel beside it (`cargo xtask bench plugin`).
//!
//! One hub for the plugins in its own process, another for the isolated ones. Each has a channel for every way of misbehaving, all of
//! them stopped while ten thousand messages come in, each of which goes to all of them. Then one channel at a time is
//! started, and stopped, in turns: how many messages a second a good channel delivers meanwhile, and how many without it; at the
//! end beside all of them at once. So the same mail waits in both halves of a turn, and the difference is the plugin's. Which half
//! comes first alternates, and the half without begins when nothing of the plugin is under way any more.
//!
//! A turn is short and there are many; of their falls the median is taken, with an interval by rank in which the true one lies
//! nineteen times in twenty. Where the limit is within the interval, nothing is decided, and there are more turns, as long as there is time.
//!
//! Two rows are there to judge the others by. *nothing*: a turn in which no channel is started, whose difference is what the
//! measurement itself is worth. *delivers_all*: the same plugin, behaving. Who delivers mail has to have a share of the machine, and one
//! that delivers and misbehaves besides (it says too much, or does not end) is held against that one, by the mail that it
//! delivered meanwhile.
//!
//! Then everything is counted by id: of no message may it be unknown, on any channel, whether it was delivered, returned, or waits. What waits
//! is deleted, and the memory of the hub is to be what it was before; and after a second time of all that, not more than after the first.

mod counts;
mod hub;
mod interval;

use super::{built, median};
use crate::bench::sinks::FastSink;
use crate::cargo::{cargo, root, step};
use anyhow::Result;
use hub::{Hub, Left, Memory};
use interval::{Interval, Verdict};
use serde_json::{Value, json};
use sluice_testkit::misbehaviour::{IN_PROCESS, ISOLATED_ONLY};
use sluice_testkit::{Batch, wait_until};
use std::path::Path;
use std::time::{Duration, Instant};

/// Nothing that is waited for takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long memory that is not used any more may take to go back to the system: idle threads end after 30 seconds, and pages go back at
/// most once a minute.
const RETURN: Duration = Duration::from_secs(75);
/// Before that it is not looked at.
const REST: Duration = Duration::from_secs(10);
/// The most by which the rate of the good channel may fall.
const TARGET_PERCENT: f64 = 10.0;
/// The plugin, behaving.
const BEHAVES: &str = "delivers_all";
/// Octets of a message.
const SIZE: usize = 600;
/// Messages that a channel has had before memory is looked at.
const FIRST: usize = 4;
/// How long each channel runs the second time.
const AGAIN: Duration = Duration::from_secs(2);
/// Messages in two seconds that are no load: some channels deliver one now and then.
const FEW: usize = 500;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Messages for each channel that misbehaves.
    pub(super) bad: usize,
    /// Messages for the good channel in half a turn.
    pub(super) good: u32,
    /// Turns for each way of misbehaving, at least.
    pub(super) turns: usize,
    /// At most, where nothing is decided.
    pub(super) turns_max: usize,
    /// For each of them on the average, undecided ones included.
    pub(super) time: Duration,
    /// How long channels run before memory is looked at, and how long it then has to come to rest.
    pub(super) rest: Duration,
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
        "profile": profile, "messages": size.bad, "good_messages_in_half_a_turn": size.good, "turns": size.turns, "turns_at_most": size.turns_max,
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

    fn interval(&self) -> Interval {
        Interval::of(self.turns.iter().map(Turn::fall).collect())
    }

    /// What the mail that the channel delivers meanwhile is worth, by the row of one that behaves.
    fn worth(&self, behaves: &Row) -> f64 {
        let share = if behaves.delivers > 0.0 { (self.delivers / behaves.delivers).min(1.0) } else { 0.0 };
        behaves.fall().max(0.0) * share
    }

    /// By how much it falls more than that.
    fn above(&self, behaves: &Row) -> Interval {
        self.interval().less(self.worth(behaves))
    }

    fn shown(&self, above: Option<Interval>) -> String {
        let fall = self.interval();
        let judged = above.map_or_else(
            || " ".repeat(35),
            |above| format!("{:>5.1}% {:>14} {:<13}", above.middle, above.ends(), above.verdict().said()),
        );
        format!(
            "{:<20} {:>7.0} {:>8.0} {:>5.1}% {:>14} {:>8.0} {judged} {:>5}",
            self.name,
            self.alone(),
            self.beside(),
            fall.middle,
            fall.ends(),
            self.delivers,
            self.turns.len()
        )
    }

    fn json(&self, above: Option<Interval>) -> Value {
        let fall = self.interval();
        json!({
            "mode": self.name, "alone": self.alone().round(), "beside": self.beside().round(), "turns": self.turns.len(),
            "fall_percent": tenth(fall.middle), "fall_between_percent": [tenth(fall.least), tenth(fall.most)],
            "delivers": self.delivers.round(),
            "above_percent": above.map(|above| tenth(above.middle)),
            "above_between_percent": above.map(|above| [tenth(above.least), tenth(above.most)]),
            "verdict": above.map(|above| above.verdict().said()),
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
    let domains: Vec<String> = all.iter().map(|mode| format!("fred@{}", hub::domain(mode))).collect();
    let send = |to: Vec<String>, count| {
        Batch { sessions: 4, size: SIZE, to, ..Batch::new(hub.address(), "nobody", count) }.send_all();
    };
    // What an instance costs, and the process of an isolated one, is there before and after: each channel has run once.
    send(domains.clone(), FIRST);
    std::thread::sleep(size.rest);
    hub.order("stop", &names)?;
    hub.rate(&sink, size.good)?;
    std::thread::sleep(size.rest);
    hub.be_quiet(PATIENCE)?;
    let before = hub.memory()?;
    let threads = hub.threads()?;
    send(domains.clone(), size.bad);
    let mut sent = vec![FIRST + size.bad; all.len()];
    let full = hub.memory()?;

    let place = if is_isolated { "isolated" } else { "in process" };
    println!(
        "{place:<20} alone/s beside/s   fall        between itself/s  above        between verdict       turns   MiB"
    );
    let mut rows = Vec::new();
    let mut most = full;
    let mut show = |row: &Row, above: Option<Interval>| -> Result<()> {
        let memory = hub.memory()?;
        most = most.larger(memory);
        println!("{} {:>5.1}", row.shown(above), memory.own_mib());
        let mut shown = row.json(above);
        shown["own_kib"] = memory.own.into();
        rows.push(shown);
        Ok(())
    };
    // What the first rows leave of their time is for those behind them.
    let (begun, mut rows_begun) = (Instant::now(), 0);
    let mut measure = |name: &str, channels: &[&str], behaves: Option<&Row>| {
        rows_begun += 1;
        let until = begun + size.time * rows_begun;
        // Beside a channel that has delivered all of its mail there would soon be nothing.
        let mut refill = || -> Result<()> {
            for (mode, sent) in all.iter().zip(&mut sent) {
                let channel = hub::channel(mode);
                if channels.contains(&channel.as_str()) && hub.waiting_in(&channel)? < size.bad / 2 {
                    send(vec![format!("fred@{}", hub::domain(mode))], size.bad);
                    *sent += size.bad;
                }
            }
            Ok(())
        };
        // All at once are there for what they do besides delivering.
        let mut nothing = || Ok(());
        let refill: &mut dyn FnMut() -> Result<()> =
            if channels.len() > 1 { &mut nothing } else { &mut refill };
        turns(&hub, &sink, name, channels, size, until, behaves, refill)
    };
    show(&measure("nothing", &[], None)?, None)?;
    let behaves = measure(BEHAVES, &names[..1], None)?;
    show(&behaves, None)?;
    for (mode, name) in modes.iter().zip(bad) {
        let row = measure(mode, &[name], Some(&behaves))?;
        show(&row, Some(row.above(&behaves)))?;
    }
    deliver_all(&hub, bad)?;
    let together = measure("all of them at once", bad, Some(&behaves))?;
    show(&together, Some(together.above(&behaves)))?;

    let counts = counts::counts(&hub, &all, &sent)?;
    let waited = hub.memory()?;
    let lost_by_plugins = if is_isolated { 0 } else { hub.leaked()? };
    let selected: Vec<String> = names.iter().map(|channel| format!("#{channel}")).collect();
    let selected: Vec<&str> = selected.iter().map(String::as_str).collect();
    let empty = || -> Result<bool> {
        hub.run(&[&["queue", "delete", "--yes"], &selected[..]].concat())?;
        Ok(wait_until(PATIENCE, || hub.waiting().ok().filter(|waiting| *waiting == 0)).is_some())
    };
    let emptied = empty()?;
    let (after, left) = returned(&hub, before, &threads, lost_by_plugins)?;

    // Once more: what somebody keeps for ever adds up.
    send(domains, size.bad);
    for name in bad {
        hub.order("start", &[name])?;
        std::thread::sleep(AGAIN);
        hub.order("stop", &[name])?;
    }
    let full_again = hub.memory()?;
    let lost_by_plugins = lost_by_plugins + if is_isolated { 0 } else { hub.leaked()? };
    empty()?;
    let (after_again, left_again) = returned(&hub, before, &threads, lost_by_plugins)?;
    for ((row, count), sent) in rows.iter_mut().skip(1).zip(&counts).zip(&sent) {
        row["sent"] = (*sent).into();
        row["delivered"] = count.delivered.into();
        row["returned"] = count.returned.into();
        row["waiting"] = count.waiting.into();
        row["held"] = count.held.into();
        row["lost"] = count.lost.into();
    }
    let sum = |field: fn(&counts::Counts) -> usize| counts.iter().map(field).sum::<usize>();
    println!(
        "of {}: {} delivered, {} returned, {} wait ({} of them held), {} lost",
        sent.iter().sum::<usize>(),
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
    let comes_back = left.comes_back(before, after);
    println!(
        "left behind: {left}; allowed besides: {} KiB: memory {}",
        hub::besides(),
        hub::said(comes_back)
    );
    let grows = left_again.grew(after, left, after_again);
    println!(
        "once more: {:.1} MiB with what waits, {:.1} without it; left behind: {left_again}: memory {}",
        full_again.own_mib(),
        after_again.own_mib(),
        if grows { "grows" } else { "does not grow" }
    );
    Ok(json!({
        "isolated": is_isolated, "rows": rows, "lost": sum(|one| one.lost), "emptied": emptied,
        "own_kib": {
            "before": before.own, "with_all_that_was_to_come": full.own, "at_most": most.own,
            "with_what_waits_at_the_end": waited.own, "after": after.own,
            "left_behind": left.json(), "allowed_besides": hub::besides(), "memory": hub::said(comes_back),
            "once_more": full_again.own, "after_once_more": after_again.own, "grows": grows,
        },
    }))
}

/// Lets these channels deliver what they are going to deliver.
fn deliver_all(hub: &Hub, channels: &[&str]) -> Result<()> {
    hub.order("start", channels)?;
    let end = Instant::now() + PATIENCE;
    let mut before = counts::delivered(hub, channels);
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let now = counts::delivered(hub, channels);
        if now.saturating_sub(before) < FEW || Instant::now() >= end {
            return hub.order("stop", channels);
        }
        before = now;
    }
}

/// Memory and what is left behind by design, some seconds later, or as soon as it has come back.
fn returned(hub: &Hub, before: Memory, threads: &[u32], leaked: u64) -> Result<(Memory, Left)> {
    let end = Instant::now() + RETURN;
    std::thread::sleep(REST);
    loop {
        let (now, left) = (hub.memory()?, hub.left(threads, leaked)?);
        if left.comes_back(before, now) || Instant::now() >= end {
            return Ok((now, left));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// In turns without these channels and with them: as many as there are at least, then more until it is decided, `until` then.
fn turns(
    hub: &Hub,
    sink: &FastSink,
    name: &str,
    channels: &[&str],
    size: Size,
    until: Instant,
    behaves: Option<&Row>,
    refill: &mut dyn FnMut() -> Result<()>,
) -> Result<Row> {
    let mut row = Row { name: name.to_owned(), turns: Vec::with_capacity(size.turns), delivers: 0.0 };
    let (mut delivered, mut time) = (0, Duration::ZERO);
    loop {
        refill()?;
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
        // Without, with, with, without: what changes evenly from turn to turn is in both halves alike.
        let turn = if row.turns.len().is_multiple_of(2) {
            let alone = alone()?;
            Turn { alone, beside: beside()? }
        } else {
            hub.be_quiet(PATIENCE)?;
            let beside = beside()?;
            Turn { alone: alone()?, beside }
        };
        row.turns.push(turn);
        #[allow(clippy::cast_precision_loss)] // some thousands
        let delivers = if time.is_zero() { 0.0 } else { delivered as f64 / time.as_secs_f64() };
        row.delivers = delivers;
        if row.turns.len() < size.turns || !row.turns.len().is_multiple_of(2) && size.turns > 1 {
            continue;
        }
        let is_open = match behaves {
            Some(behaves) => row.above(behaves).verdict() == Verdict::NotDecided,
            // Others are judged by it.
            None => row.turns.len() < 3 * size.turns,
        };
        if !is_open || row.turns.len() >= size.turns_max || Instant::now() >= until {
            return Ok(row);
        }
    }
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
    }

    #[test]
    fn who_delivers_is_held_against_one_that_behaves() {
        let behaves = row(1000.0, &[(1000.0, 800.0)]);
        let above = |delivers, beside| row(delivers, &[(1000.0, beside)]).above(&behaves).middle;
        assert!((above(1000.0, 780.0) - 2.0).abs() < 1e-9, "as much as that one");
        assert!((above(500.0, 800.0) - 10.0).abs() < 1e-9, "half as much");
        assert!((above(0.0, 800.0) - 20.0).abs() < 1e-9, "nothing");
        assert!((above(5000.0, 800.0)).abs() < 1e-9, "and never more than all of it");
    }
}
