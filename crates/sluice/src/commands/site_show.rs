//! `sluice site` and `sluice activator`, `list` and `show`: what `sites.cnf` says, and what that means now.
//!
//! Works on the files; what waits, and how activators are doing, is asked of the hub if one runs. Not here: the edits (`site_edit`).

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use sluice_admin::{Client, ClientError, Request};
use sluice_config::{Activator, Config, Method, Password, Site, Tier, Timetable, Windows};
use sluice_diag::{Sources, Span, nearest};
use sluice_dispatch::Loaded;
use sluice_mail::{Address, Time, rfc3339};
use sluice_rewrite::{Context, Kind};

use super::activator::States;
use crate::cli::{Common, Format};
use crate::exit::{Exit, Failure};
use crate::output::{self, Table};
use crate::{complain, load};

/// `sluice site list`.
pub(crate) fn list_sites(common: &Common) -> Result<Exit, Failure> {
    let (loaded, sources) = load::read_or_fail(&common.config)?;
    let mut table = Table::new(
        common.format,
        &[
            ("site", "Site"),
            ("domains", "Domains"),
            ("queue_name", "Queue name"),
            ("channel", "Channel"),
            ("logins", "Logins"),
            ("tier", "Tier"),
            ("target", "Target"),
            ("schedule", "Schedule"),
            ("windows", "Windows"),
        ],
    );
    for site in &loaded.config.sites {
        table.row(&Value::Object(site_row(site, &sources)))?;
    }
    table.finish("no sites")?;
    Ok(Exit::Ok)
}

/// `sluice activator list`.
pub(crate) fn list_activators(common: &Common) -> Result<Exit, Failure> {
    let (loaded, sources) = load::read_or_fail(&common.config)?;
    let mut table = Table::new(
        common.format,
        &[
            ("activator", "Activator"),
            ("server", "Server"),
            ("port", "Port"),
            ("method", "Method"),
            ("names", "Names"),
            ("login", "Login"),
            ("tls", "TLS"),
            ("schedule", "Schedule"),
            ("last_run", "Last run"),
            ("standing", "Result"),
            ("next_run", "Next run"),
            ("alert", "Alert"),
        ],
    );
    let activators = loaded.config.sites.activators();
    let states = States::ask(common)?;
    for activator in activators {
        let mut row = activator_row(activator, &sources);
        states.add_to(&mut row, &activator.name);
        table.row(&Value::Object(row))?;
    }
    table.finish("no activators")?;
    if !activators.is_empty() {
        states.explain(common.format);
    }
    Ok(Exit::Ok)
}

/// `sluice site show`.
pub(crate) fn show_sites(common: &Common, names: &[String]) -> Result<Exit, Failure> {
    let (loaded, sources) = load::read_or_fail(&common.config)?;
    let sites = &loaded.config.sites;
    let mut exit = Exit::Ok;
    for name in names {
        let Some(site) = sites.by_name(name) else {
            exit = nobody("site", name, sites.iter().map(|site| &*site.name));
            continue;
        };
        let mut row = site_row(site, &sources);
        let channels = channels_of(site, &loaded);
        row.extend(effect(site, &channels));
        let (messages, bytes) = waiting(common, site, &channels)?;
        row.insert("messages".to_owned(), json!(messages));
        row.insert("bytes".to_owned(), json!(bytes));
        show(common.format, &row, &site.name, "site", SITE_LINES)?;
    }
    Ok(exit)
}

/// `sluice activator show`.
pub(crate) fn show_activators(common: &Common, names: &[String]) -> Result<Exit, Failure> {
    let (loaded, sources) = load::read_or_fail(&common.config)?;
    let sites = &loaded.config.sites;
    let states = States::ask(common)?;
    let mut exit = Exit::Ok;
    for name in names {
        let Some(activator) = sites.activator(name) else {
            exit = nobody("activator", name, sites.activators().iter().map(|activator| &*activator.name));
            continue;
        };
        let mut row = activator_row(activator, &sources);
        let password = activator.login.as_ref().map(|login| match &login.password {
            Password::Written { .. } => "in sites.cnf".to_owned(),
            Password::InFile { path, .. } => path.display().to_string(),
        });
        row.insert("password".to_owned(), json!(password));
        let (listeners, reachable) = listeners(&loaded.config);
        row.insert("listeners".to_owned(), json!(listeners));
        row.insert("reachable".to_owned(), json!(reachable || activator.method == Method::Atrn));
        states.add_to(&mut row, &activator.name);
        show(common.format, &row, &activator.name, "activator", ACTIVATOR_LINES)?;
    }
    Ok(exit)
}

fn nobody<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> Exit {
    let hint = nearest(name, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    complain(&format!("there is no {what} `{name}`{hint}"));
    Exit::Data
}

/// Fields that `show` tells people about, with what stands in front of each.
type Lines = &'static [(&'static str, &'static str)];

const SITE_LINES: Lines = &[
    ("domains", "domains"),
    ("queue_name", "queue name"),
    ("channels", "waits in"),
    ("messages", "messages"),
    ("asked_by", "asked for by"),
    ("goes_to", "goes to"),
    ("port", "port"),
    ("covers", "a request covers"),
    ("counts", "is told how much waits"),
    ("schedule", "schedule"),
    ("next_release", "next release"),
    ("windows", "windows"),
    ("window_open", "window open"),
    ("next_window", "next window"),
    ("max_size_in_window", "larger waits for a window"),
    ("lifetime", "returned after"),
    ("notices", "senders told after"),
    ("on_link_up", "released on link-up"),
];

const ACTIVATOR_LINES: Lines = &[
    ("server", "server"),
    ("port", "port"),
    ("method", "method"),
    ("channel", "channel of its mail"),
    ("names", "names"),
    ("login", "login"),
    ("password", "password"),
    ("tls", "TLS"),
    ("schedule", "schedule"),
    ("windows", "windows"),
    ("hub_runs", "a hub runs"),
    ("running", "is asked now"),
    ("last_run", "last run"),
    ("standing", "result"),
    ("answer", "answer"),
    ("next_run", "next run"),
    ("waits_until", "mail expected until"),
    ("alert", "alert"),
    ("watch", "mail must come within"),
    ("on_link_up", "asked on link-up"),
    ("listeners", "we listen on"),
    ("reachable", "can be reached"),
];

/// Writes a row: as one JSON object, or line by line without what is not set.
fn show(
    format: Format,
    row: &Map<String, Value>,
    name: &str,
    what: &str,
    lines: Lines,
) -> Result<(), Failure> {
    if format == Format::Json {
        output::line(&Value::Object(row.clone()).to_string())?;
        return Ok(());
    }
    output::line(&format!("{what} {name}"))?;
    for (field, label) in lines {
        let seconds = row.get(&format!("{field}_secs"));
        let text = match (row.get(*field), seconds) {
            (Some(Value::Null) | None, Some(Value::Number(seconds))) => {
                in_words(seconds.as_u64().unwrap_or(0))
            }
            (Some(Value::Null) | None, Some(Value::Array(ages))) => {
                let ages = ages.iter().map(|age| in_words(age.as_u64().unwrap_or(0)));
                ages.collect::<Vec<_>>().join(", ")
            }
            (Some(Value::Bool(is)), _) => if *is { "yes" } else { "no" }.to_owned(),
            (Some(value), _) => output::cell(value),
            (None, _) => continue,
        };
        // A site whose domains no rule knows gets no mail at all: that is no detail.
        let text = if *field == "channels" && text == "-" {
            "no channel: no rule leads to one".to_owned()
        } else {
            text
        };
        if text != "-" {
            output::line(&format!("  {label:<26} {text}"))?;
        }
    }
    Ok(())
}

/// A length of time in the largest unit that it is a multiple of.
fn in_words(seconds: u64) -> String {
    let unit =
        [(86_400, "d"), (3600, "h"), (60, "m")].into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, letter)| format!("{}{letter}", seconds / unit))
}

fn row_of(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

fn place(span: Span, sources: &Sources) -> (String, u32) {
    (sources.path(span.source).display().to_string(), sources.position(span).line)
}

fn site_row(site: &Site, sources: &Sources) -> Map<String, Value> {
    let (file, line) = place(site.span, sources);
    let domains =
        site.domains.iter().map(|own| format!("{}{}", if own.with_below { "@" } else { "" }, own.domain));
    row_of(json!({
        "site": site.name,
        "domains": domains.collect::<Vec<_>>(),
        "queue_name": site.queue_name,
        "channel": site.channel.as_deref(),
        "logins": site.logins,
        "tier": site.tier.as_str(),
        "target": site.target,
        "port": site.port,
        "lifetime_secs": site.lifetime.map(|age| age.as_secs()),
        "notices_secs": site.notices.as_ref().map(|ages| ages.iter().map(Duration::as_secs).collect::<Vec<_>>()),
        "windows": site.windows.as_deref().map(Windows::as_str),
        "schedule": site.schedule.as_deref().map(Timetable::as_str),
        "max_size_in_window": site.max_size_in_window,
        "counts": site.counts.as_str(),
        "covers": site.covers.as_str(),
        "on_link_up": site.on_link_up,
        "file": file,
        "line": line,
    }))
}

fn activator_row(activator: &Activator, sources: &Sources) -> Map<String, Value> {
    let (file, line) = place(activator.span, sources);
    row_of(json!({
        "activator": activator.name,
        "server": activator.server,
        "port": activator.port,
        "method": activator.method.as_str(),
        "channel": activator.channel.as_deref(),
        "names": activator.names,
        "login": activator.login.as_ref().map(|login| &login.name),
        "tls": activator.tls.as_str(),
        "schedule": activator.schedule.as_deref().map(Timetable::as_str),
        "windows": activator.windows.as_deref().map(Windows::as_str),
        "on_link_up": activator.on_link_up,
        "watch_secs": activator.watch.as_secs(),
        "next_run": next(activator.schedule.as_deref(), activator.windows.as_deref()),
        "file": file,
        "line": line,
    }))
}

/// The next moment of a schedule at which a window is open.
fn next(schedule: Option<&Timetable>, windows: Option<&Windows>) -> Option<String> {
    let next = schedule?.next_within(windows, Time::from(SystemTime::now()))?;
    Some(rfc3339(next))
}

/// What the options come to.
fn effect(site: &Site, channels: &BTreeSet<String>) -> Map<String, Value> {
    let exchangers = "the mail exchangers of the domain";
    let goes_to = match (site.tier, site.target.as_deref()) {
        (Tier::None, _) => exchangers.to_owned(),
        (Tier::Static, Some(target)) => target.to_owned(),
        (Tier::Static, None) => exchangers.to_owned(),
        (Tier::Dynamic, target) => format!(
            "the address that a request with a safe login came from, else {}",
            target.unwrap_or(exchangers)
        ),
        (Tier::Turned, _) => "the connection that it is asked for over (ATRN)".to_owned(),
    };
    let asked_by = match &*site.logins {
        [] => "whoever the incoming channel lets ask".to_owned(),
        logins => format!("the login {}", logins.join(" or ")),
    };
    let now = Time::from(SystemTime::now());
    let windows = site.windows.as_deref();
    row_of(json!({
        "channels": channels,
        "goes_to": goes_to,
        "asked_by": asked_by,
        "window_open": windows.map(|windows| windows.is_open(now)),
        "next_window": windows.filter(|windows| !windows.is_open(now)).and_then(|windows| windows.opens_after(now)).map(rfc3339),
        "next_release": next(site.schedule.as_deref(), windows),
    }))
}

/// The channels in which the site's mail waits: the one it names, or those that its domains are sent to.
fn channels_of(site: &Site, loaded: &Loaded) -> BTreeSet<String> {
    if let Some(channel) = &site.channel {
        return BTreeSet::from([channel.to_string()]);
    }
    let source = loaded.config.services.first().map_or("tcp_local", |service| service.channel.as_str());
    let context = Context { kind: Kind::EnvelopeTo, source_channel: source, destination_channel: None };
    let routes = site.domains.iter().filter_map(|own| {
        let address = Address::new("postmaster", &*own.domain);
        Some(loaded.rewriter.route(&address, &context, None).ok()?.channel)
    });
    routes.collect()
}

/// How much waits for the site in a running hub; nothing where none runs.
fn waiting(
    common: &Common,
    site: &Site,
    channels: &BTreeSet<String>,
) -> Result<(Option<u64>, Option<u64>), Failure> {
    let client = match Client::connect(&load::control_socket(common)?) {
        Ok(client) => client,
        Err(ClientError::NotRunning { .. }) => return Ok((None, None)),
        Err(error) => return Err(Failure::new(Exit::Temporary, error)),
    };
    let (mut messages, mut bytes) = (0, 0);
    let count = |row: &Value, field: &str| row[field].as_u64().unwrap_or(0);
    let answered = client.call(&Request::QueueSummarize, |row| {
        let domain = row["domain"].as_str().unwrap_or_default();
        let in_channel = row["channel"].as_str().is_some_and(|channel| channels.contains(channel));
        if in_channel && (site.domains.is_empty() || site.has_domain(domain)) {
            messages += count(&row, "messages");
            bytes += count(&row, "bytes");
        }
    });
    answered.map_err(|error| Failure::new(Exit::Temporary, error))?;
    Ok((Some(messages), Some(bytes)))
}

/// Where we listen, and whether anybody else could get there.
fn listeners(config: &Config) -> (Vec<String>, bool) {
    let places = config.services.iter().flat_map(|service| &service.listen);
    let shown = places.clone().map(|(address, port)| match address {
        Some(address) => format!("{address} port {port}"),
        None => format!("all addresses, port {port}"),
    });
    let reachable = places.clone().any(|(address, _)| address.is_none_or(|address| !address.is_loopback()));
    (shown.collect(), reachable)
}
