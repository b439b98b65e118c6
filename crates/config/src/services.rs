//! `dispatcher.cnf` and `job_controller.cnf`: listeners, pools, and which plugin serves which channel.

use crate::codes;
use crate::lines::{Reader, Text, file_name};
use crate::model::{Atrn, Pool, Service};
use crate::option_file::{self, Section, Setting, Settings};
use crate::settings::DEFAULT_POOL;
use crate::tables;
use crate::timetable::{Mistake, Timetable, Windows, Zone};
use crate::values;
use sluice_diag::{Code, Diagnostic, Span, errors_in, nearest};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// Connections of a service where neither `MAX_PROCS` nor `MAX_CONNS` is set.
const CONNECTIONS: u32 = 500;
/// Connections from one address where `MAX_CONNS_PER_CLIENT` is not set.
const CONNECTIONS_PER_CLIENT: u32 = 200;
/// `MAX_PROCS` and `MAX_CONNS` where only the other is set.
const PROCESSES_AND_CONNECTIONS: (u32, u32) = (5, 10);
/// Jobs in a pool where `JOB_LIMIT` is not set.
const JOB_LIMIT: u32 = 10;
/// The channel on which sessions start where `PARAMETER` names none.
const SERVER_CHANNEL: &str = "tcp_local";

/// Name of the service that turns connections round and does nothing else (RFC 2645 section 4).
const ODMR: &str = "ODMR";

/// The listener that is there without `dispatcher.cnf`.
pub(crate) fn default_service(span: Span) -> Service {
    Service {
        name: "SMTP".to_owned(),
        listen: vec![(None, 25)],
        listen_tls: Vec::new(),
        tls_span: None,
        tls_certificate: None,
        tls_key: None,
        channel: SERVER_CHANNEL.to_owned(),
        atrn: Atrn::No,
        max_connections: CONNECTIONS,
        max_connections_per_client: CONNECTIONS_PER_CLIENT,
        span,
    }
}

/// `dispatcher.cnf`.
pub(crate) fn dispatcher(text: &Text, channels: &[String], reader: &mut Reader<'_>) -> Vec<Service> {
    let (head, sections) = option_file::read(text, tables::DISPATCHER, &["SERVICE"], reader);
    let mut services: Vec<Service> = Vec::new();
    for section in merged(sections) {
        // The dispatcher's own section says how it runs, not what it listens on.
        if section.name.eq_ignore_ascii_case("DISPATCHER") {
            continue;
        }
        let image = section.settings.get("IMAGE").or_else(|| head.get("IMAGE"));
        if let Some(image) = image.filter(|image| !is_smtp_server(&image.value)) {
            let message =
                format!("the service `{}` is not served: its program is no SMTP server", section.name);
            let remark = Diagnostic::new(&codes::SERVICE_NOT_SERVED, message).at(image.value_span);
            reader.push(remark.help("nothing listens on its ports; take the section out"));
            continue;
        }
        services.push(service(&section, &head, channels, reader));
    }
    check_ports(&services, reader);
    services
}

/// Two listeners cannot have one port, unless each has an address of its own.
fn check_ports(services: &[Service], reader: &mut Reader<'_>) {
    let ports = services.iter().flat_map(|service| {
        service
            .listen
            .iter()
            .chain(&service.listen_tls)
            .map(move |(address, port)| (service, *address, *port))
    });
    let mut taken: Vec<(&Service, Option<IpAddr>, u16)> = Vec::new();
    for (service, address, port) in ports {
        let meets = |other: &&(&Service, Option<IpAddr>, u16)| {
            other.2 == port && (other.1 == address || other.1.is_none() || address.is_none())
        };
        let Some((first, ..)) = taken.iter().find(meets) else {
            taken.push((service, address, port));
            continue;
        };
        let message = match std::ptr::eq(*first, service) {
            true => format!("the service `{}` has the port {port} twice", service.name),
            false => {
                format!(
                    "the port {port} of the service `{}` is that of `{}` already",
                    service.name, first.name
                )
            }
        };
        let remark = Diagnostic::new(&codes::PORT_TWICE, message).at(service.span);
        let remark = remark.note(first.span, "the first is here");
        reader.push(remark.help("give one of the two another port, or each an `INTERFACE_ADDRESS`"));
        return;
    }
}

/// Whether the program of a worker is the products' SMTP server, `tcp_smtp_server` in some folder.
fn is_smtp_server(image: &str) -> bool {
    file_name(image.trim_matches('"')).to_ascii_lowercase().contains("smtp_server")
}

fn service(section: &Section, head: &Settings, channels: &[String], reader: &mut Reader<'_>) -> Service {
    let get = |name: &str| section.settings.get(name).or_else(|| head.get(name));
    let count =
        |name: &str| section.settings.count(name).or_else(|| head.count(name)).filter(|count| *count > 0);
    let interface = get("INTERFACE_ADDRESS").and_then(|setting| values::address(&setting.value));
    let listen = match get("PORT") {
        Some(setting) => ports(setting, interface),
        None => match section.name.to_ascii_uppercase().as_str() {
            "SMTP" => vec![(interface, 25)],
            "SUBMIT" | "SMTP_SUBMIT" => vec![(interface, 587)],
            ODMR => vec![(interface, 366)],
            _ if get("TLS_PORT").is_some() => Vec::new(),
            _ => {
                let message = format!("the service `{}` has no port", section.name);
                let remark = Diagnostic::new(&codes::SERVICE_WITHOUT_PORT, message).at(section.span);
                reader.push(remark.help("write `PORT=` into its section"));
                Vec::new()
            }
        },
    };
    let tls_port = get("TLS_PORT").filter(|setting| !setting.value.is_empty());
    let path = |name: &str| {
        let of = |settings: &Settings| settings.path(name, reader.folder);
        of(&section.settings).or_else(|| of(head))
    };
    let (tls_certificate, tls_key) = (path("TLS_CERTIFICATE"), path("TLS_KEY"));
    let channel = channel_of(section, get("PARAMETER"), channels, reader);
    let atrn = match get("ATRN").map(|setting| setting.value.as_str()) {
        _ if section.name.eq_ignore_ascii_case(ODMR) => Atrn::Only,
        Some("1") => Atrn::Offered,
        _ => Atrn::No,
    };
    let max_connections = match (count("MAX_PROCS"), count("MAX_CONNS")) {
        (None, None) => CONNECTIONS,
        (processes, connections) => processes
            .unwrap_or(PROCESSES_AND_CONNECTIONS.0)
            .saturating_mul(connections.unwrap_or(PROCESSES_AND_CONNECTIONS.1)),
    };
    Service {
        name: section.name.clone(),
        listen,
        listen_tls: tls_port.map(|setting| ports(setting, interface)).unwrap_or_default(),
        tls_span: tls_port.map(|setting| setting.span),
        tls_certificate,
        tls_key,
        channel,
        atrn,
        max_connections,
        max_connections_per_client: count("MAX_CONNS_PER_CLIENT").unwrap_or(CONNECTIONS_PER_CLIENT),
        span: section.span,
    }
}

fn ports(setting: &Setting, interface: Option<IpAddr>) -> Vec<(Option<IpAddr>, u16)> {
    let ports = setting.value.split(',').filter_map(|port| values::port(port.trim()));
    ports.map(|(address, port)| (address.or(interface), port)).collect()
}

/// `CHANNEL=name` among the parameters, which commas separate.
fn channel_of(
    section: &Section,
    setting: Option<&Setting>,
    channels: &[String],
    reader: &mut Reader<'_>,
) -> String {
    let named = setting.and_then(|setting| {
        let (_, value) = setting.value.split(',').find_map(|part| {
            part.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("CHANNEL"))
        })?;
        Some((value.trim(), setting.value_span))
    });
    let (name, span) = named.unwrap_or((SERVER_CHANNEL, section.span));
    if let Some(channel) = channels.iter().find(|channel| channel.eq_ignore_ascii_case(name)) {
        return channel.clone();
    }
    if !channels.is_empty() {
        let message = match named {
            Some(_) => format!("the channel `{name}` is not defined"),
            None => format!("the service `{}` names no channel, and `{name}` is not defined", section.name),
        };
        let remark = Diagnostic::new(&codes::UNDEFINED_CHANNEL, message).at(span);
        reader.push(match nearest(name, channels.iter().map(String::as_str)) {
            Some(near) => remark.help(format!("did you mean `{near}`?")),
            None => remark.help("name a channel of the main file with `PARAMETER=CHANNEL=`"),
        });
    }
    name.to_owned()
}

/// Sections of one kind and name made one; later lines win.
fn merged(sections: Vec<Section>) -> Vec<Section> {
    let mut merged: Vec<Section> = Vec::new();
    for section in sections {
        let same = merged
            .iter_mut()
            .find(|other| other.kind == section.kind && other.name.eq_ignore_ascii_case(&section.name));
        match same {
            Some(other) => {
                let later = section.settings.0;
                other.settings.0.retain(|setting| later.iter().all(|new| new.name != setting.name));
                other.settings.0.extend(later);
            }
            None => merged.push(section),
        }
    }
    merged
}

/// `job_controller.cnf`.
#[derive(Debug)]
pub(crate) struct JobController {
    /// `DEFAULT` is always among them.
    pub(crate) pools: Vec<Pool>,
    /// Whether every section could be read; if not, a pool that seems to be missing may be in the one that could not.
    pub(crate) complete: bool,
    sections: Vec<ChannelSection>,
}

/// `[CHANNEL=pattern]`.
#[derive(Debug)]
struct ChannelSection {
    pattern: String,
    /// Where the pattern stands.
    span: Span,
    plugin: Option<String>,
    pool: Option<(String, Span)>,
    schedule: Option<Timetable>,
    windows: Option<Arc<Windows>>,
}

impl Default for JobController {
    fn default() -> JobController {
        JobController {
            pools: vec![Pool { name: DEFAULT_POOL.to_owned(), job_limit: JOB_LIMIT }],
            complete: true,
            sections: Vec::new(),
        }
    }
}

/// Reads `job_controller.cnf`.
///
/// Schedules and windows go by the clock of `zone`.
pub(crate) fn job_controller(
    text: &Text,
    folder: &Path,
    zone: &Zone,
    reader: &mut Reader<'_>,
) -> JobController {
    let kinds = ["POOL", "QUEUE", "CHANNEL", "PERIODIC_JOB"];
    let before = reader.diagnostics.len();
    let (head, sections) = option_file::read(text, tables::JOB_CONTROLLER, &kinds, reader);
    let complete = text.complete && !errors_in(&reader.diagnostics[before..]);
    let general = head.count("JOB_LIMIT").filter(|limit| *limit > 0).unwrap_or(JOB_LIMIT);
    let mut controller = JobController { pools: Vec::new(), complete, sections: Vec::new() };
    for section in merged(sections) {
        match section.kind.as_str() {
            "POOL" | "QUEUE" => {
                let limit = section.settings.count("JOB_LIMIT").filter(|limit| *limit > 0).unwrap_or(general);
                let name = if section.name.eq_ignore_ascii_case(DEFAULT_POOL) {
                    DEFAULT_POOL.to_owned()
                } else {
                    section.name
                };
                // `[POOL=x]` and `[QUEUE=x]` are the same pool.
                if !controller.pools.iter().any(|pool| pool.name.eq_ignore_ascii_case(&name)) {
                    controller.pools.push(Pool { name, job_limit: limit });
                }
            }
            "CHANNEL" => {
                let get = |name: &str| section.settings.get(name).filter(|setting| !setting.value.is_empty());
                let plugin = get("MASTER_PLUGIN").map(|setting| plugin_name(&setting.value, folder));
                let pool =
                    get("POOL").or(get("QUEUE")).map(|setting| (setting.value.clone(), setting.value_span));
                let schedule = get("SCHEDULE").and_then(|setting| {
                    let read = Timetable::read(&setting.value, zone, &section.name);
                    timed(read, setting, [&codes::BAD_SCHEDULE, &codes::SCHEDULE_NEVER_RUNS], reader)
                });
                let windows = get("WINDOW").and_then(|setting| {
                    let read = Windows::read(&setting.value, zone);
                    timed(read, setting, [&codes::BAD_WINDOW, &codes::WINDOW_NEVER_OPENS], reader)
                });
                controller.sections.push(ChannelSection {
                    pattern: section.name,
                    span: section.span,
                    plugin,
                    pool,
                    schedule,
                    windows: windows.map(Arc::new),
                });
            }
            _ => {}
        }
    }
    if !controller.pools.iter().any(|pool| pool.name == DEFAULT_POOL) {
        controller.pools.insert(0, Pool { name: DEFAULT_POOL.to_owned(), job_limit: general });
    }
    controller
}

/// What was read of times, or what is wrong with them, at its place; the second code is for what stands for nothing.
fn timed<T>(
    read: Result<T, Mistake>,
    setting: &Setting,
    codes: [&'static Code; 2],
    reader: &mut Reader<'_>,
) -> Option<T> {
    let mistake = match read {
        Ok(times) => return Some(times),
        Err(mistake) => mistake,
    };
    let place = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
    let whole = setting.value_span;
    let at = Span::new(
        whole.source,
        whole.start.saturating_add(place(mistake.range.start)).min(whole.end),
        whole.start.saturating_add(place(mistake.range.end)).min(whole.end),
    );
    let remark = Diagnostic::new(codes[usize::from(mistake.never)], mistake.what).at(at);
    reader.push(remark.help(mistake.help));
    None
}

/// A value with a slash is a file; a relative one starts from the configuration folder.
pub(crate) fn plugin_name(value: &str, folder: &Path) -> String {
    if value.contains('/') { folder.join(value).to_string_lossy().into_owned() } else { value.to_owned() }
}

impl JobController {
    /// The plugin that the best section for a channel names.
    pub(crate) fn plugin(&self, channel: &str) -> Option<String> {
        self.best(channel, |section| section.plugin.clone())
    }

    /// The pool that the best section for a channel names.
    pub(crate) fn pool_of(&self, channel: &str) -> Option<(&str, Span)> {
        let (name, span) = self.best(channel, |section| section.pool.as_ref())?;
        Some((name, *span))
    }

    /// Names the sections that give something to channels and match none of these, which are all there are.
    pub(crate) fn check_patterns(&self, channels: &[String], reader: &mut Reader<'_>) {
        let gives = |section: &&ChannelSection| {
            section.plugin.is_some()
                || section.pool.is_some()
                || section.schedule.is_some()
                || section.windows.is_some()
        };
        for section in self.sections.iter().filter(gives) {
            let pattern = &section.pattern;
            if channels.iter().any(|channel| matches_pattern(pattern, channel)) {
                continue;
            }
            let message = format!("no channel has a name like `{pattern}`");
            let remark = Diagnostic::new(&codes::CHANNEL_SECTION_UNUSED, message).at(section.span);
            // `tpc_*` is near to `tcp_*` and not to any whole name.
            let alike: Vec<String> = match pattern.strip_suffix('*') {
                Some(stem) => {
                    let length = stem.chars().count();
                    channels
                        .iter()
                        .map(|channel| channel.chars().take(length).chain(['*']).collect())
                        .collect()
                }
                None => channels.to_vec(),
            };
            reader.push(match nearest(pattern, alike.iter().map(String::as_str)) {
                Some(near) => remark.help(format!("did you mean `{near}`?")),
                None => remark.help("take the section out, or write the channel's name"),
            });
        }
    }

    /// The schedule that the best section for a channel names. Intervals have moments of the channel's own, whatever the
    /// pattern, so that those of one section do not all run at once.
    pub(crate) fn schedule(&self, channel: &str) -> Option<Arc<Timetable>> {
        let schedule = self.best(channel, |section| section.schedule.as_ref())?;
        Timetable::read(schedule.as_str(), schedule.zone(), channel).ok().map(Arc::new)
    }

    /// The windows that the best section for a channel names.
    pub(crate) fn windows(&self, channel: &str) -> Option<Arc<Windows>> {
        self.best(channel, |section| section.windows.clone())
    }

    /// What the section with the most exact pattern says, among those that say anything.
    fn best<'a, T>(&'a self, channel: &str, say: impl Fn(&'a ChannelSection) -> Option<T>) -> Option<T> {
        let mut best: Option<(usize, T)> = None;
        for section in self.sections.iter().filter(|section| matches_pattern(&section.pattern, channel)) {
            let exact = section.pattern.chars().filter(|c| *c != '*').count();
            if let Some(said) = say(section)
                && best.as_ref().is_none_or(|(most, _)| exact > *most)
            {
                best = Some((exact, said));
            }
        }
        best.map(|(_, said)| said)
    }
}

/// Whether a name fits a pattern in which `*` stands for any characters; case aside.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        assert!(matches_pattern("tcp_*", "tcp_local"));
        assert!(matches_pattern("*", ""));
        assert!(matches_pattern("l", "L"));
        assert!(matches_pattern("t*_*al", "tcp_local"));
        assert!(!matches_pattern("l", "tcp_l"));
        assert!(!matches_pattern("tcp_*x", "tcp_"));
        assert!(!matches_pattern("ab*ba", "aba"));
    }
}
