//! Checks about a channel's life: being made, stopping, and leaving nothing behind.

use std::time::Duration;

use sluice_host::{OptionKind, Setting, SettingKind, Spec};

use super::stage::{Held, Stage, Tried, compare, delivery};

const ONE: &str = "fred@check.example";
/// Memory that may be added by each message, in bytes, before it is a leak; and how much there must be of it in all, in KiB.
const BYTES_OF_A_LEAK: u64 = 256;
const KIB_OF_A_LEAK: u64 = 512;
/// Rounds of messages, of which the first ones fill what is kept for good reasons.
const ROUNDS: usize = 7;
const FIRST_ROUNDS: usize = 3;

/// It was loaded before this is called.
pub(super) fn file(stage: &Stage) -> Tried {
    let plugin = &stage.plugin;
    Ok(format!(
        "{} version {}, ABI version {}, {} options, {} routines{}",
        plugin.name(),
        plugin.version(),
        plugin.abi_version(),
        plugin.options().len(),
        plugin.routines().len(),
        if plugin.has_filter() { ", a filter" } else { "" }
    ))
}

pub(super) fn settings(stage: &Stage) -> Tried {
    let given = |setting: &&Setting| setting.kind == SettingKind::Option;
    for option in stage.settings.iter().filter(given) {
        stage.plugin.check_option(&option.name, &option.value).map_err(|problem| problem.to_string())?;
    }
    let mut channel = stage.channel();
    channel
        .instance
        .create_now()
        .map_err(|why| format!("{why} (options are given with --option NAME=VALUE)"))?;
    channel.end()?;
    stage.complaints()?;
    Ok(String::new())
}

/// Values that are of the option's kind, and that nobody would want.
fn strange_values(kind: OptionKind) -> Vec<String> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    match kind {
        OptionKind::Switch => texts(&["0", "1"]),
        OptionKind::Integer | OptionKind::Seconds => {
            texts(&["0", "1", "4294967295", "4294967296", "9223372036854775808", "18446744073709551615"])
        }
        // Nothing can be made below these, by nobody.
        OptionKind::Path => {
            let mut paths =
                texts(&["/proc/nowhere/x", "/dev/null/x", "relative", ".", "%s%n", "\u{fc}\u{1f4e8}"]);
            paths.push(format!("/proc/{}", "x/".repeat(5000)));
            paths
        }
        OptionKind::Text => {
            let mut values =
                texts(&["", " ", "-1", "%s%n", "a\u{1}b", "\u{fc}\u{1f4e8}", "../../x", "$(false)", "0"]);
            values.push("x".repeat(100_000));
            values
        }
    }
}

pub(super) fn options(stage: &Stage) -> Tried {
    let mut tried = 0;
    let mut refused = 0;
    for option in stage.plugin.options() {
        let mut values = strange_values(option.kind);
        if let Some(range) = &option.range {
            values.extend([range.start().to_string(), range.end().to_string()]);
        }
        for value in values.into_iter().filter(|value| option.takes(value)) {
            let mut settings = stage.settings.clone();
            settings.retain(|one| {
                !(one.kind == SettingKind::Option && one.name.eq_ignore_ascii_case(&option.name))
            });
            settings.push(Setting::option(&option.name, &value));
            let mut channel = stage.channel_with(Spec { settings, ..stage.spec() });
            let made = channel.instance.create_now();
            tried += 1;
            refused += usize::from(made.is_err());
            let shown: String = value.chars().take(40).collect();
            let ended = channel.end();
            // A refusal is an answer, and so is a failure that it tells of itself.
            let bad = |failure: &&String| {
                failure.contains("while it was created") || failure.contains("was not created within")
            };
            if let Some(failure) = channel.account.failures.iter().find(bad) {
                return Err(format!("with {}={shown:?}: {failure}", option.name));
            }
            ended.map_err(|why| format!("with {}={shown:?}: {why}", option.name))?;
        }
    }
    stage.complaints()?;
    Ok(if tried == 0 { "it has no options".to_owned() } else { format!("{tried} values, {refused} refused") })
}

pub(super) fn stop(stage: &Stage) -> Tried {
    let mut idle = stage.channel();
    idle.instance.create_now()?;
    idle.end().map_err(|why| format!("while it had nothing to do: {why}"))?;
    let mut busy = stage.channel();
    let count = 500;
    busy.offer((0..count).map(|number| delivery(number, &[ONE, "kim@check.example"])).collect());
    busy.until(stage.patience, |account| !account.back.is_empty());
    busy.end().map_err(|why| format!("in the middle of deliveries: {why}"))?;
    stage.complaints()?;
    let account = &busy.account;
    if let Some(failure) = account.failures.first() {
        return Err(format!("when it was stopped in the middle of deliveries: {failure}"));
    }
    if let Some((why, count)) = account.unsettled.iter().find(|(why, _)| why.starts_with("it finished")) {
        return Err(format!("when it was stopped in the middle of deliveries, {why} {count} recipients"));
    }
    Ok(format!("{} of {count} deliveries came back", account.back.len()))
}

pub(super) fn taken_away(stage: &Stage) -> Tried {
    let short = Duration::from_millis(1);
    let spec = Spec {
        deadline: short,
        pause_first: short,
        pause_max: 5 * short,
        hung_max: u32::MAX,
        ..stage.spec()
    };
    let mut channel = stage.channel_with(spec);
    channel.instance.create_now()?;
    channel.offer((0..100).map(|number| delivery(number, &[ONE])).collect());
    channel.wait_for_all()?;
    // Threads that were given up must find out by themselves.
    let end = std::time::Instant::now() + stage.patience;
    while channel.instance.report().hung > 0 {
        if std::time::Instant::now() >= end {
            let hung = channel.instance.report().hung;
            let patience = stage.patience.as_secs();
            return Err(format!(
                "{hung} workers whose deliveries were taken away did not come back within {patience} s"
            ));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    channel.end()?;
    let (late, other): (Vec<&String>, Vec<&String>) =
        channel.account.failures.iter().partition(|failure| failure.contains("did not finish within"));
    match other.first() {
        Some(failure) => Err((*failure).clone()),
        None if late.is_empty() => Ok("it was faster than any deadline".to_owned()),
        None => Ok(format!("{} were taken away", late.len())),
    }
}

pub(super) fn hundred(stage: &Stage) -> Tried {
    let round = |number: usize| -> Result<(), String> {
        stage
            .delivers(stage.channel(), vec![delivery(number, &[ONE])])
            .map(drop)
            .map_err(|why| format!("channel {number}: {why}"))
    };
    // The first ones may make what is kept.
    let first = 5;
    (0..first).try_for_each(round)?;
    let before = Held::settled(0);
    (first..first + stage.number(100, 1000)).try_for_each(round)?;
    compare(before, Held::settled(before.threads))
}

pub(super) fn leak(stage: &Stage) -> Tried {
    let count = stage.number(2000, 20_000);
    let mut held = Vec::new();
    for _ in 0..ROUNDS {
        let mut channel = stage.channel();
        channel.offer((0..count).map(|number| delivery(number, &[ONE])).collect());
        channel.wait_for_all()?;
        channel.end()?;
        channel.account.verdict()?;
        drop(channel);
        let limit = held.last().map_or(0, |before: &Held| before.threads);
        held.push(Held::settled(limit));
    }
    stage.complaints()?;
    let (first, last) = (held[FIRST_ROUNDS - 1], held[ROUNDS - 1]);
    compare(first, last)?;
    let grown = last.memory.saturating_sub(first.memory);
    let each = grown * 1024 / ((ROUNDS - FIRST_ROUNDS) * count) as u64;
    // Memory that is kept for reuse grows by leaps, a leak with every round.
    let always = held[FIRST_ROUNDS - 1..].windows(2).all(|pair| pair[1].memory > pair[0].memory);
    if always && each >= BYTES_OF_A_LEAK && grown >= KIB_OF_A_LEAK && !stage.valgrind {
        return Err(format!(
            "memory grows by {each} bytes with each message ({grown} KiB in {} messages)",
            (ROUNDS - FIRST_ROUNDS) * count
        ));
    }
    Ok(format!("{grown} KiB more after {} messages", (ROUNDS - FIRST_ROUNDS) * count))
}
