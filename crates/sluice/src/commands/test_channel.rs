//! `sluice test channel`: what a channel is, where each of its keywords comes from, and what a message that is queued to it
//! would do now.
//!
//! Works on the files alone. Not here: what waits in a running hub (`remote`).

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sluice_config::{
    Channel, Config, Copies, Direction, EtrnPolicy, Immediate, PerPriority, Service, Settings, Timetable,
    Windows,
};
use sluice_diag::{Sources, Span, nearest};
use sluice_dispatch::Loaded;
use sluice_host::Host;
use sluice_mail::{Time, rfc3339, rfc5322_date};

use crate::cli::{Format, TestChannel};
use crate::exit::{Exit, Failure};
use crate::hub::plugin_folders;
use crate::{load, output};

/// Rules shown that end with a host of the channel.
const RULES_MAX: usize = 20;

/// Shows each channel in turn.
pub(crate) fn test_channel(test: &TestChannel) -> Result<Exit, Failure> {
    let (loaded, sources) = load::read_or_fail(&test.common.config)?;
    let mut exit = Exit::Ok;
    for name in &test.names {
        let channels = &loaded.config.channels;
        let wanted = channels.by_name(name).or_else(|| channels.by_host(name).map(|(channel, _)| channel));
        let Some(channel) = wanted else {
            let hint = nearest(name, channels.iter().map(|channel| channel.name.as_str()));
            let hint = hint.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            crate::complain(&format!("there is no channel `{name}`{hint}"));
            exit = Exit::Data;
            continue;
        };
        let shown = Shown::of(channel, &loaded, &sources);
        match test.common.format {
            Format::Json => output::line(&shown.json().to_string())?,
            Format::Text => output::line(&shown.text())?,
        }
    }
    Ok(exit)
}

struct Shown<'c> {
    channel: &'c Channel,
    config: &'c Config,
    keywords: Vec<Word>,
    options: Vec<Word>,
    plugin: Option<Result<String, String>>,
    rules: Vec<Word>,
    start: Vec<String>,
}

/// Something written, and where: `origin` says on what kind of line.
struct Word {
    name: String,
    value: String,
    origin: &'static str,
    file: String,
    line: u32,
}

impl Word {
    fn new(name: &str, value: String, origin: &'static str, span: Span, sources: &Sources) -> Word {
        let file = sources.path(span.source);
        Word { name: name.to_owned(), value, origin, file: short(file), line: sources.position(span).line }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "value": self.value, "from": self.origin, "file": self.file, "line": self.line,
        })
    }

    fn text(&self) -> String {
        let said = format!("{} {}", self.name, self.value);
        format!("  {:<44} {}:{} ({})\n", said.trim_end(), self.file, self.line, self.origin)
    }
}

/// A file by its name alone: all of them stand in one folder.
fn short(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

impl<'c> Shown<'c> {
    fn of(channel: &'c Channel, loaded: &'c Loaded, sources: &Sources) -> Shown<'c> {
        let config: &Config = &loaded.config;
        let keywords = channel.keywords.iter().map(|keyword| {
            let origin = if keyword.inherited { "defaults" } else { "block" };
            Word::new(keyword.name(), keyword.value(), origin, keyword.span, sources)
        });
        let host = Host::new(plugin_folders(config));
        let plugin = channel.plugin.as_deref().map(|name| host.load(name));
        let options = channel.option_file.iter().map(|option| {
            let of_plugin = matches!(&plugin, Some(Ok(plugin)) if plugin.check_option(&option.name, &option.value).is_ok());
            // The commands of a pipe channel, by address or host.
            let is_entry = channel.plugin.as_deref() == Some("pipe") && option.name.contains(['@', '.']);
            let origin = match (option.known_to_server, of_plugin || is_entry) {
                (true, _) => "hub",
                (false, true) => "plugin",
                _ => "nobody reads it",
            };
            Word::new(&option.name, option.value.clone(), origin, option.span, sources)
        });
        let ends = |template: &str| {
            let system = template.rsplit(['@', '%']).next().unwrap_or_default();
            let system = system.split('$').next().unwrap_or_default();
            channel.hosts.iter().any(|host| host.name.eq_ignore_ascii_case(system))
        };
        let rules = config.rules.iter().filter(|rule| ends(&rule.template)).take(RULES_MAX);
        let rules =
            rules.map(|rule| Word::new(&rule.pattern, rule.template.clone(), "rule", rule.span, sources));
        Shown {
            keywords: keywords.collect(),
            options: options.collect(),
            rules: rules.collect(),
            start: start(channel, config),
            plugin: plugin.map(|plugin| match plugin {
                Ok(plugin) => Ok(format!("{} {}: {}", plugin.name(), plugin.version(), plugin.description())),
                Err(error) => Err(format!("{:#}", anyhow::Error::new(error))),
            }),
            channel,
            config,
        }
    }

    fn json(&self) -> Value {
        let (channel, settings) = (self.channel, &self.channel.settings);
        let hosts: Vec<_> =
            channel.hosts.iter().map(|host| json!({ "name": host.name, "proper": host.proper })).collect();
        let rows = |words: &[Word]| words.iter().map(Word::json).collect::<Vec<_>>();
        json!({
            "channel": channel.name,
            "description": channel.description,
            "official_host": channel.official_host,
            "local_host_alias": channel.local_alias,
            "hosts": hosts,
            "keywords": rows(&self.keywords),
            "groups": channel.groups,
            "plugin": channel.plugin,
            "plugin_error": self.plugin.as_ref().and_then(|plugin| plugin.as_ref().err()),
            "options": rows(&self.options),
            "rules": rows(&self.rules),
            "periodic": settings.periodic,
            "schedule": channel.schedule.as_deref().map(Timetable::as_str),
            "window": channel.windows.as_deref().map(Windows::as_str),
            "next_run": next(channel).map(rfc3339),
            "direction": direction(settings.direction),
            "starts": starts(settings),
            "attempts_after_secs": attempts(settings),
            "warns_after_secs": seconds(split(&settings.notices.normal).0),
            "returned_after_secs": split(&settings.notices.normal).1.as_secs(),
            "max_jobs": settings.max_jobs,
            "pool": settings.pool,
            "limits": limits(settings).into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect::<serde_json::Map<_, _>>(),
            "etrn": releasers(channel, self.config),
        })
    }

    fn text(&self) -> String {
        let (channel, settings) = (self.channel, &self.channel.settings);
        let mut text = format!("{}\n", channel.name);
        let mut field = |name: &str, value: &str| text.push_str(&format!("  {name:<22}= {value}\n"));
        if let Some(description) = &channel.description {
            field("description", description);
        }
        field("official host", &channel.official_host);
        if let Some(alias) = &channel.local_alias {
            field("local host alias", alias);
        }
        for host in channel.hosts.iter().skip(1) {
            let proper = host.proper.as_deref().unwrap_or(&channel.official_host);
            field("further host", &format!("{}, in the envelope {proper}", host.name));
        }
        if !channel.groups.is_empty() {
            field("rightslist ids", &format!("{} (without effect)", channel.groups.join(" ")));
        }
        match &self.plugin {
            Some(Ok(plugin)) => field("plugin", plugin),
            Some(Err(error)) => field("plugin", &format!("cannot be used: {error}")),
            None => field("plugin", "none; mail stays queued"),
        }
        field("direction", direction(settings.direction));
        let part = |title: &str, words: &[Word]| {
            let rows: String = words.iter().map(Word::text).collect();
            if rows.is_empty() { String::new() } else { format!("{title}\n{rows}") }
        };
        text.push_str(&part("keywords in force", &self.keywords));
        text.push_str(&part("options", &self.options));
        text.push_str(&part("rules that lead here", &self.rules));
        text.push_str("a message that is queued here now\n");
        for line in &self.start {
            text.push_str(&format!("  {line}\n"));
        }
        text.trim_end().to_owned()
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Master => "master: the hub begins every transfer",
        Direction::Slave => "slave: nothing is delivered from here",
        Direction::Bidirectional => "bidirectional",
    }
}

/// The priorities whose mail starts a job when it is queued.
fn starts(settings: &Settings) -> &'static [&'static str] {
    if settings.periodic || settings.direction == Direction::Slave {
        return &[];
    }
    match settings.immediate {
        Immediate::Urgent => &["urgent"],
        Immediate::Normal => &["urgent", "normal"],
        Immediate::Nonurgent => &["urgent", "normal", "nonurgent"],
    }
}

/// Waits between attempts for mail of normal priority; none where failures wait for a release.
fn attempts(settings: &Settings) -> Vec<u64> {
    if settings.periodic || settings.direction == Direction::Slave {
        return Vec::new();
    }
    seconds(&settings.backoff.normal)
}

fn seconds(list: &[Duration]) -> Vec<u64> {
    list.iter().map(Duration::as_secs).collect()
}

/// Ages of warnings, and the age at which the message goes back.
fn split(notices: &[Duration]) -> (&[Duration], Duration) {
    notices.split_last().map_or((&[], Duration::ZERO), |(last, warnings)| (warnings, *last))
}

fn limits(settings: &Settings) -> Vec<(&'static str, u64)> {
    let count = |value: Option<u32>| value.map(u64::from);
    [
        ("blocklimit_bytes", settings.block_limit),
        ("sourceblocklimit_bytes", settings.source_block_limit),
        ("linelimit", count(settings.line_limit)),
        ("holdlimit", count(settings.hold_limit)),
        ("addrsperfile", count(settings.addrs_per_file)),
        ("recipientlimit", count(settings.recipient_limit)),
        ("recipientcutoff", count(settings.recipient_cutoff)),
        ("transactionlimit", count(settings.transaction_limit)),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| (name, value)))
    .collect()
}

/// The services whose sessions may start the channel by ETRN.
fn releasers(channel: &Channel, config: &Config) -> Vec<String> {
    if channel.settings.block_etrn || channel.settings.direction == Direction::Slave {
        return Vec::new();
    }
    let policy = |service: &Service| {
        let source = config.channels.by_name(&service.channel);
        source.map_or(EtrnPolicy::Disable, |source| source.settings.etrn)
    };
    let services = config.services.iter().filter(|service| policy(service) != EtrnPolicy::Disable);
    services.map(|service| service.name.clone()).collect()
}

/// The next moment of the channel's schedule at which its window is open.
fn next(channel: &Channel) -> Option<Time> {
    channel.schedule.as_ref()?.next_within(channel.windows.as_deref(), Time::from(SystemTime::now()))
}

/// What becomes of a message, sentence by sentence.
fn start(channel: &Channel, config: &Config) -> Vec<String> {
    let settings = &channel.settings;
    let mut lines = Vec::new();
    let service = time(config.options.post_interval * settings.period.max(1));
    if settings.direction == Direction::Slave {
        lines.push("stays queued: the channel is marked `slave`, for incoming mail only".to_owned());
        return lines;
    }
    if channel.plugin.is_none() {
        lines.push("stays queued: no plugin delivers for the channel".to_owned());
    }
    if settings.periodic {
        lines.push(format!("waits for the periodic service (every {service}), an operator or ETRN"));
        lines.push("waits for the next release when an attempt fails for a passing reason".to_owned());
    } else {
        let kinds = starts(settings);
        let after = match settings.after {
            Duration::ZERO => "at once".to_owned(),
            after => format!("after {}", time(after)),
        };
        lines.push(format!("starts a job {after} when it is {}", kinds.join(" or ")));
        if kinds.len() < 3 {
            lines.push(format!("waits for the periodic service (every {service}) when it is less urgent"));
        }
        let PerPriority { urgent, normal, nonurgent } = &settings.backoff;
        let waits = |list: &[Duration]| list.iter().map(|wait| time(*wait)).collect::<Vec<_>>().join(", ");
        if urgent == normal && normal == nonurgent {
            lines.push(format!("is tried again after {}; the last repeats", waits(normal)));
        } else {
            for (name, list) in [("urgent", urgent), ("normal", normal), ("nonurgent", nonurgent)] {
                lines.push(format!("is tried again, if {name}, after {}; the last repeats", waits(list)));
            }
        }
    }
    if let Some(schedule) = &channel.schedule {
        let next = next(channel).map_or_else(String::new, |next| format!("; next on {}", rfc5322_date(next)));
        lines.push(format!("is attempted by the channel's schedule, `{}`{next}", schedule.as_str()));
    }
    if let Some(windows) = &channel.windows {
        lines.push(format!(
            "is attempted without anybody asking only in the channel's window, `{}`",
            windows.as_str()
        ));
    }
    let (warnings, end) = split(&settings.notices.normal);
    let warned = match warnings {
        [] => String::new(),
        ages => {
            let ages: Vec<_> = ages.iter().map(|age| time(*age)).collect();
            format!("the sender is warned after {}, and ", ages.join(", "))
        }
    };
    lines.push(format!("{warned}it is returned after {}", time(end)));
    lines.push(format!(
        "shares {} jobs of the channel and those of the pool {}; {}",
        settings.max_jobs,
        settings.pool,
        match settings.copies {
            Copies::Multiple => "all recipients share a copy",
            Copies::Single => "each recipient has a copy",
            Copies::SingleSystem => "recipients of one host share a copy",
        }
    ));
    for (name, value) in limits(settings) {
        lines.push(format!("limit {name} = {value}"));
    }
    let names: Vec<&str> = [channel.official_host.as_str()].into_iter().chain(channel.fixed_peer()).collect();
    match releasers(channel, config).as_slice() {
        [] => lines.push("may be released by the operator (`sluice trigger`); not by ETRN".to_owned()),
        services => lines.push(format!(
            "may be released by the operator (`sluice trigger '#{}'`) and by ETRN for {} or the domain of a recipient, at {}",
            channel.name,
            names.join(", "),
            services.join(", ")
        )),
    }
    lines
}

/// A time in its largest whole unit.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => "0 s".to_owned(),
        _ if seconds.is_multiple_of(86_400) => format!("{} d", seconds / 86_400),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}
