//! `sluice plugin check`: the conformance suite. Does a plugin keep its side of the contract, whatever it is given?
//!
//! Each check runs in a process of its own, which loads the plugin and runs a channel of it with the same host that a hub has.
//! A plugin that dies, hangs or eats the memory costs that process; what it died of is a finding, and the next check begins
//! afresh. The first three checks are gates: where the file is no plugin, its settings are refused, or a single message is too much,
//! there is no point in the others.
//!
//! A plugin that needs something, a folder or a peer, gets it by options or from a channel of the configuration. What it
//! then does with the mail is its affair: deferring all of it, because the peer is not there, keeps the contract too,
//! and is remarked.
//!
//! # Not here
//! What the checks do (`life`, `mail`, `verdicts`), and what they stand on (`stage`).

mod life;
mod mail;
mod stage;
mod verdicts;

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};

use crate::cli::{Format, PluginCheck};
use crate::exit::{Exit, Failure};
use crate::load;
use crate::output::line;
use crate::plugins::LastWords;
use stage::{Stage, Tried};

/// How much longer everything may take under valgrind, and how many times less of it there is.
const VALGRIND_SLOWER: u32 = 20;
/// How many times as long as usual a large delivery may take.
const LARGE: u32 = 20;
/// How long a check may take beyond what deliveries may take in it.
const CHECK_LIMIT: Duration = Duration::from_secs(90);
/// valgrind(1) ends with this when it has found something and the program has not.
const VALGRIND_FOUND: i32 = 99;
/// How often is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(5);
/// How long is waited for what a process has said when it has ended: programs that the plugin has started may live on.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Most of what a process says that is shown.
const SAID_MAX: usize = 16 * 1024;

/// One check.
struct Check {
    name: &'static str,
    /// What it finds out, in a sentence for the operator.
    about: &'static str,
    run: fn(&Stage) -> Tried,
    /// Without it there is no point in the others.
    is_gate: bool,
}

const fn check(name: &'static str, about: &'static str, run: fn(&Stage) -> Tried) -> Check {
    Check { name, about, run, is_gate: false }
}

const fn gate(name: &'static str, about: &'static str, run: fn(&Stage) -> Tried) -> Check {
    Check { name, about, run, is_gate: true }
}

/// All of them, in their order.
static CHECKS: [Check; 21] = [
    gate("file", "it is a plugin for this hub, in a file that nobody else can write", life::file),
    gate("settings", "it makes a channel of the settings that it is given", life::settings),
    gate("one", "a message for one recipient is settled", mail::one),
    check("options", "wrong values of options are refused or coped with", life::options),
    check("recipients", "each of several recipients is settled once, and nobody else", mail::recipients),
    check("many", "10,000 messages are settled (100,000 with --full)", mail::many),
    check("order", "messages that are held at the same time are settled, in whatever order", mail::order),
    check("pause", "a channel that had nothing to do for a while works on", mail::pause),
    check("poll", "being asked for its peer's mail does no harm", mail::poll),
    check("empty", "messages without header, without body and without a single octet", mail::empty),
    check("hostile", "long lines, dots, eight bits, a thousand pieces", mail::hostile),
    check("addresses", "senders and recipients as strangers write them", mail::addresses),
    check("crowd", "10,000 recipients of one message", mail::crowd),
    check("big", "a message of 64 MiB (256 with --full)", mail::big),
    check("filter", "a filter has a verdict on empty, hostile and large messages", verdicts::filter),
    check("later-hub", "a hub with flags, fields and settings that are not known yet", mail::later_hub),
    check("older-hub", "a hub that has only what the first one had", mail::older_hub),
    check("taken-away", "deliveries that are taken away at their deadline", life::taken_away),
    check("stop", "a stop in the middle of deliveries, and one without any", life::stop),
    check(
        "hundred",
        "100 channels after each other leave no thread and no open file (1,000 with --full)",
        life::hundred,
    ),
    check("leak", "memory, threads and open files do not grow with the messages", life::leak),
];

/// What one check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Passed,
    Failed,
    NotRun,
}

/// One row of the answer.
#[derive(Debug, Serialize)]
struct Row<'a> {
    check: &'a str,
    verdict: Verdict,
    /// What is wrong, or worth knowing.
    text: String,
    about: &'a str,
    millis: u64,
}

/// What the process of a check reports.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    verdict: Verdict,
    text: String,
}

/// Runs the suite.
pub(crate) fn plugin_check(arguments: &PluginCheck) -> Result<Exit, Failure> {
    if let Some(name) = &arguments.one {
        return one(arguments, name);
    }
    if let Some(unknown) = arguments.only.iter().find(|name| CHECKS.iter().all(|check| check.name != **name))
    {
        let names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        let near = sluice_diag::nearest(unknown, names.iter().copied());
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let error = anyhow!("there is no check `{unknown}`{near}; there are {}", names.join(", "));
        return Err(Failure::new(Exit::Usage, error));
    }
    let mut failed = 0;
    let mut stopped = false;
    for check in &CHECKS {
        let wanted = check.is_gate
            || arguments.only.is_empty()
            || arguments.only.iter().any(|name| name == check.name);
        if !wanted {
            continue;
        }
        let begun = Instant::now();
        let report = match stopped {
            true => Report { verdict: Verdict::NotRun, text: String::new() },
            false => in_a_process(arguments, check)?,
        };
        stopped |= check.is_gate && report.verdict == Verdict::Failed;
        failed += usize::from(report.verdict == Verdict::Failed);
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Report { verdict, text } = report;
        show(arguments, &Row { check: check.name, verdict, text, about: check.about, millis })?;
    }
    if arguments.common.format == Format::Text {
        line(&match failed {
            0 => "the plugin keeps the contract, as far as this can tell".to_owned(),
            1 => "1 check failed".to_owned(),
            _ => format!("{failed} checks failed"),
        })?;
    }
    Ok(if failed == 0 { Exit::Ok } else { Exit::Data })
}

fn show(arguments: &PluginCheck, row: &Row<'_>) -> Result<(), Failure> {
    if arguments.common.format == Format::Json {
        line(&serde_json::to_value(row)?.to_string())?;
        return Ok(());
    }
    let Row { check, verdict, text, about, .. } = row;
    match verdict {
        Verdict::Passed if text.is_empty() => line(&format!("ok      {check}"))?,
        Verdict::Passed => line(&format!("ok      {check}: {text}"))?,
        Verdict::NotRun => line(&format!("-       {check}"))?,
        Verdict::Failed => {
            line(&format!("FAILED  {check}: {text}"))?;
            line(&format!("        it finds out: {about}"))?;
        }
    }
    Ok(())
}

/// Runs one check in a process of its own.
fn in_a_process(arguments: &PluginCheck, check: &Check) -> Result<Report, Failure> {
    // What the plugin prints is not mistaken for the report.
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| anyhow!("no random number: {error}"))?;
    let mark: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut command = command(arguments);
    command.args(["plugin", "check"]).arg(&arguments.file).args(["--one", check.name, "--mark", &mark]);
    command.arg("--config").arg(&arguments.common.config);
    command.args(["--seconds", &arguments.seconds.to_string()]);
    if arguments.fewer > 1 {
        command.args(["--fewer", &arguments.fewer.to_string()]);
    }
    for option in &arguments.options {
        command.arg("--option").arg(option);
    }
    for keyword in &arguments.keywords {
        command.arg("--keyword").arg(keyword);
    }
    if let Some(channel) = &arguments.channel {
        command.args(["--channel", channel]);
    }
    for (flag, is_set) in [("--full", arguments.full), ("--valgrind", arguments.valgrind)] {
        if is_set {
            command.arg(flag);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().map_err(|error| {
        let what =
            if arguments.valgrind { "valgrind (apt-get install valgrind)" } else { "a process of our own" };
        Failure::new(Exit::System, anyhow!("cannot start {what}: {error}"))
    })?;
    let ended = wait_for(&mut process, &mark, limit(arguments));
    Ok(judged(ended, arguments))
}

/// The program again, perhaps under valgrind.
fn command(arguments: &PluginCheck) -> Command {
    // As it was started, whatever lies at its path by now.
    let program = std::fs::read_link("/proc/self/exe").unwrap_or_else(|_| "/proc/self/exe".into());
    if !arguments.valgrind {
        return Command::new(program);
    }
    let mut command = Command::new("valgrind");
    command.args([
        "--quiet",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite",
    ]);
    // Threads of a Rust program end with a little of theirs left to the system.
    command.args([format!("--error-exitcode={VALGRIND_FOUND}"), "--child-silent-after-fork=yes".to_owned()]);
    command.arg(program);
    command
}

fn limit(arguments: &PluginCheck) -> Duration {
    let limit = CHECK_LIMIT + Duration::from_secs(arguments.seconds) * (LARGE + 2);
    limit * if arguments.full || arguments.valgrind { VALGRIND_SLOWER / 2 } else { 1 }
}

/// How a process ended.
struct Ended {
    report: Option<Report>,
    /// `None`: it did not, and was ended.
    status: Option<std::process::ExitStatus>,
    said: String,
    within: Duration,
}

fn wait_for(process: &mut Child, mark: &str, limit: Duration) -> Ended {
    let (sender, reports) = channel();
    let mark = mark.to_owned();
    if let Some(out) = process.stdout.take() {
        // Ends when nobody has that end open any more.
        thread::spawn(move || {
            for text in BufReader::new(out).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&text).into_owned();
                if let Some(report) =
                    text.strip_prefix(&mark).and_then(|json| serde_json::from_str(json).ok())
                {
                    let _ = sender.send(report);
                }
            }
        });
    }
    let said = process.stderr.take().map(|errors| LastWords::of(errors, SAID_MAX));
    let end = Instant::now() + limit;
    let mut report: Option<Report> = None;
    let status = loop {
        match process.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < end => {
                thread::sleep(LOOK);
                report = report.or_else(|| reports.try_recv().ok());
            }
            _ => {
                // Both fail only when it has just ended.
                let _ = process.kill();
                let _ = process.wait();
                break None;
            }
        }
    };
    // One that dies sends none. Its standard output may be open for longer than it lives, as its standard error may.
    let report = report.or_else(|| reports.recv_timeout(LAST_WORDS).ok());
    let said = said.map(|said| said.within(LAST_WORDS)).unwrap_or_default();
    Ended { report, status, said, within: limit }
}

/// What a process that has ended says about the plugin.
fn judged(ended: Ended, arguments: &PluginCheck) -> Report {
    let Ended { report, status, said, within } = ended;
    let failed = |text: String| Report { verdict: Verdict::Failed, text };
    let last =
        |said: &str| said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
    let Some(status) = status else {
        return failed(format!("its process did not end within {} s", within.as_secs()));
    };
    match (report, status.signal(), status.code()) {
        (Some(report), None, Some(0)) => report,
        (report, None, Some(VALGRIND_FOUND)) if arguments.valgrind => {
            let before =
                report.filter(|report| report.verdict == Verdict::Failed).map(|report| report.text + "; ");
            failed(format!("{}valgrind found:\n{}", before.unwrap_or_default(), said.trim_end()))
        }
        (Some(report), None, _) if report.verdict == Verdict::Failed => report,
        (None, Some(signal), _) => {
            failed(format!("its process died of signal {signal}{}", quoted(&last(&said))))
        }
        (Some(_), Some(signal), _) => failed(format!(
            "its process died of signal {signal} when everything was over{}",
            quoted(&last(&said))
        )),
        (_, None, code) => {
            let code = code.unwrap_or(-1);
            failed(format!("its process ended with status {code} in the middle{}", quoted(&last(&said))))
        }
    }
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("; it last said: {said}") }
}

/// The process of one check.
fn one(arguments: &PluginCheck, name: &str) -> Result<Exit, Failure> {
    let check = CHECKS.iter().find(|check| check.name == name).context("a check of that name")?;
    let settings = settings(arguments)?;
    let tried = Stage::set(arguments, settings).and_then(|stage| (check.run)(&stage));
    let report = match tried {
        Ok(text) => Report { verdict: Verdict::Passed, text },
        Err(text) => Report { verdict: Verdict::Failed, text },
    };
    let mark = arguments.mark.as_deref().unwrap_or_default();
    line(&format!("\n{mark}{}", serde_json::to_value(&report)?))?;
    Ok(Exit::Ok)
}

/// What its channel is started with: as the configuration says for a channel, or as given here.
fn settings(arguments: &PluginCheck) -> Result<Vec<sluice_host::Setting>, Failure> {
    use sluice_host::Setting;
    let mut settings = Vec::new();
    if let Some(name) = &arguments.channel {
        let (loaded, _) = load::read_or_fail(&arguments.common.config)?;
        let config = &loaded.config;
        let channel = config.channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(name));
        let Some(channel) = channel else {
            let near = sluice_diag::nearest(name, config.channels.iter().map(|channel| &*channel.name));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(Failure::new(Exit::Data, anyhow!("there is no channel `{name}`{near}")));
        };
        let Some(instance) = sluice_dispatch::Instance::of(channel, config) else {
            return Err(Failure::new(Exit::Data, anyhow!("the channel `{name}` has no plugin")));
        };
        // A hub may be at work in the spool, and what its plugins keep there is mail: a check gets no hand on it.
        let facts = instance.facts.iter().filter(|(name, _)| *name != "spool");
        settings.extend(facts.map(|(name, value)| Setting::fact(name, value)));
        settings.extend(instance.keywords.iter().map(|(name, value)| Setting::keyword(name, value)));
        settings.extend(instance.options.iter().map(|(name, value)| Setting::option(name, value)));
    } else {
        let folder = std::env::current_dir()?.to_string_lossy().into_owned();
        let facts = [
            ("channel", "check"),
            ("official_host", "check.example"),
            ("local_host", "hub.example"),
            ("folder", &folder),
            ("tls_client", "no"),
            ("sasl_client", "no"),
        ];
        settings.extend(facts.map(|(name, value)| Setting::fact(name, value)));
    }
    for option in &arguments.options {
        let Some((name, value)) = option.split_once('=') else {
            return Err(Failure::new(
                Exit::Usage,
                anyhow!("`--option {option}` has no `=`: write NAME=VALUE"),
            ));
        };
        let is_other = |one: &Setting| {
            one.kind != sluice_host::SettingKind::Option || !one.name.eq_ignore_ascii_case(name)
        };
        settings.retain(is_other);
        settings.push(Setting::option(name.to_ascii_uppercase(), value));
    }
    for keyword in &arguments.keywords {
        let (name, value) = keyword.split_once('=').unwrap_or((keyword, ""));
        settings.push(Setting::keyword(name.to_ascii_lowercase(), value));
    }
    Ok(settings)
}
