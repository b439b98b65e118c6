//! Files of `NAME=value` lines, with or without sections: `option.dat`, `dispatcher.cnf`, `job_controller.cnf` and the
//! option files of channels.
//!
//! Unknown names are warned about and kept, values of the wrong kind are errors; the typed results are made by reading
//! values again with the functions of [`crate::values`], which by then cannot fail.

use crate::codes;
use crate::etrn_hosts::ETRN_HOSTS;
use crate::filters::{self, FILTERS_MAX, FilterOptions, WithoutVerdict};
use crate::grammar;
use crate::keyword::{Status, keyword};
use crate::lines::{Line, Reader, Text};
use crate::options::{
    ISOLATED_MEMORY_MIN, Isolation, OptionInfo, OptionKind, Options, OtherOption, ServerOptions,
};
use crate::settings::PerPriority;
use crate::tables::{self, products};
use crate::values;
use sluice_diag::{Diagnostic, Severity, Span, nearest};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A line `NAME=value`.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// Upper case.
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) span: Span,
    pub(crate) value_span: Span,
}

/// `[KIND=name]` with the lines below it.
#[derive(Debug)]
pub(crate) struct Section {
    /// Upper case.
    pub(crate) kind: String,
    pub(crate) name: String,
    /// Where the name stands.
    pub(crate) span: Span,
    pub(crate) settings: Settings,
}

/// The lines of a file or section, one for each name.
#[derive(Debug, Default, Clone)]
pub(crate) struct Settings(pub(crate) Vec<Setting>);

impl Settings {
    pub(crate) fn get(&self, name: &str) -> Option<&Setting> {
        self.0.iter().find(|setting| setting.name == name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|setting| setting.value.clone()).filter(|value| !value.is_empty())
    }

    /// A file, from the folder on, and where it is named.
    pub(crate) fn path(&self, name: &str, folder: &Path) -> Option<(PathBuf, Span)> {
        let setting = self.get(name).filter(|setting| !setting.value.is_empty())?;
        Some((folder.join(&setting.value), setting.value_span))
    }

    fn integer(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(|setting| values::integer(&setting.value))
    }

    pub(crate) fn count(&self, name: &str) -> Option<u32> {
        self.integer(name).and_then(|value| u32::try_from(value).ok())
    }

    fn switch(&self, name: &str) -> bool {
        self.integer(name) == Some(1)
    }

    fn size(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|setting| values::size(&setting.value))
    }

    fn duration(&self, name: &str) -> Option<Duration> {
        self.get(name).and_then(|setting| values::duration(&setting.value))
    }

    /// Takes the line in; an earlier one of the same name goes, with a warning.
    fn put(&mut self, setting: Setting, diagnostics: &mut Vec<Diagnostic>) {
        if let Some(index) = self.0.iter().position(|earlier| earlier.name == setting.name) {
            let earlier = self.0.remove(index);
            let message = format!("`{}` is set twice; the last one counts", setting.name);
            let remark = Diagnostic::new(&codes::REPEATED_OPTION, message).at(setting.span);
            diagnostics.push(remark.note(earlier.span, "the first is here").help("take out one of the two"));
        }
        self.0.push(setting);
    }
}

/// The shape of a file of settings.
pub(crate) struct Form<'a> {
    /// Which sections it may have.
    pub(crate) kinds: &'a [&'a str],
    /// What is said of a setting; the kind of its section is empty in front of the first.
    pub(crate) check: &'a dyn Fn(&str, &Setting, &mut Reader<'_>),
    /// Names that may stand in a section more than once: each line adds to those above.
    pub(crate) repeats: fn(&str) -> bool,
    /// What is said of a second section of one kind and name: the code, and the way out.
    pub(crate) twice: (&'static sluice_diag::Code, &'a str),
}

/// The lines of a file: those in front of the first section, and the sections.
pub(crate) fn read(
    text: &Text,
    table: &'static [OptionInfo],
    kinds: &[&str],
    reader: &mut Reader<'_>,
) -> (Settings, Vec<Section>) {
    let form = Form {
        kinds,
        check: &|_, setting, reader| check(table, setting, reader),
        repeats: |_| false,
        twice: (&codes::REPEATED_SECTION, "make one section of the two"),
    };
    read_form(text, &form, reader)
}

/// As [`read`], for files with rules of their own.
pub(crate) fn read_form(text: &Text, form: &Form<'_>, reader: &mut Reader<'_>) -> (Settings, Vec<Section>) {
    let mut head = Settings::default();
    let mut sections: Vec<Section> = Vec::new();
    let mut above: HashMap<(String, String), Span> = HashMap::new();
    // What stands below a section that was refused is not looked at.
    let mut skipping = false;
    for line in text.lines.iter().filter(|line| !line.is_blank()) {
        if line.text.trim_start().starts_with('[') {
            let section = section(line, form, &mut above, reader);
            skipping = section.is_none();
            sections.extend(section);
            continue;
        }
        if skipping {
            continue;
        }
        let Some(setting) = setting(line, reader) else { continue };
        (form.check)(sections.last().map_or("", |section| section.kind.as_str()), &setting, reader);
        let into = sections.last_mut().map_or(&mut head, |section| &mut section.settings);
        if (form.repeats)(&setting.name) {
            into.0.push(setting);
        } else {
            into.put(setting, &mut reader.diagnostics);
        }
    }
    (head, sections)
}

fn section(
    line: &Line,
    form: &Form<'_>,
    above: &mut HashMap<(String, String), Span>,
    reader: &mut Reader<'_>,
) -> Option<Section> {
    let kinds = form.kinds;
    let wanted = || match kinds {
        [] => "this file has no sections".to_owned(),
        _ => format!(
            "write {}",
            kinds.iter().map(|kind| format!("`[{kind}=name]`")).collect::<Vec<_>>().join(" or ")
        ),
    };
    let Some((kind, name)) = grammar::section_line(&line.text) else {
        let message = format!("`{}` is no section", line.text.trim());
        reader.push(Diagnostic::new(&codes::NOT_AN_OPTION, message).at(line.whole()).help(wanted()));
        return None;
    };
    let upper = kind.text.to_ascii_uppercase();
    if !kinds.contains(&upper.as_str()) {
        let remark = Diagnostic::new(
            &codes::UNKNOWN_SECTION,
            format!("a section `{}` does not belong here", kind.text),
        );
        let remark = remark.at(line.span(&kind.range));
        reader.push(match nearest(&upper, kinds.iter().copied()) {
            Some(near) => remark.help(format!("did you mean `[{near}={}]`?", name.text)),
            None => remark.help(wanted()),
        });
        return None;
    }
    let span = line.span(&name.range);
    match above.entry((upper.clone(), name.text.to_ascii_lowercase())) {
        Entry::Vacant(entry) => {
            entry.insert(span);
        }
        Entry::Occupied(first) => {
            let (code, help) = form.twice;
            let message = format!("the section `[{upper}={}]` is there twice", name.text);
            let remark = Diagnostic::new(code, message).at(span);
            reader.push(remark.note(*first.get(), "the first is here").help(help));
        }
    }
    Some(Section { kind: upper, name: name.text, span, settings: Settings::default() })
}

fn setting(line: &Line, reader: &mut Reader<'_>) -> Option<Setting> {
    let text = line.text.trim_start();
    if text.starts_with('!') {
        let remark = Diagnostic::new(&codes::MISPLACED_COMMENT, "`!` makes a comment only in column one");
        reader.push(remark.at(line.whole()).help("take out the blanks in front of it"));
        return None;
    }
    let Some((name, value)) = grammar::option_line(&line.text) else {
        let remark = Diagnostic::new(&codes::NOT_AN_OPTION, format!("`{text}` is not `NAME=value`"));
        reader.push(remark.at(line.whole()).help("write `NAME=value`, or `!` in column one for a comment"));
        return None;
    };
    Some(Setting {
        name: name.text.to_ascii_uppercase(),
        value: value.text,
        span: line.span(&name.range),
        value_span: line.span(&value.range),
    })
}

pub(crate) fn check(table: &'static [OptionInfo], setting: &Setting, reader: &mut Reader<'_>) {
    match tables::find(table, &setting.name) {
        Some(info) => check_value(info, setting, reader),
        None if std::ptr::eq(table, tables::GLOBAL) && products::why_unused(&setting.name).is_some() => {}
        None => {
            let remark =
                Diagnostic::new(&codes::UNKNOWN_OPTION, format!("`{}` is not an option", setting.name));
            let remark = remark.at(setting.span);
            let near = || nearest(&setting.name, table.iter().map(|info| info.name));
            reader.push(
                match at_home(table, setting).or_else(|| Some(format!("did you mean `{}`?", near()?))) {
                    Some(help) => remark.help(help),
                    None => remark.help("it is ignored; the reference lists the options of each file"),
                },
            );
        }
    }
}

/// Where an option is at home that stands in the wrong place.
fn at_home(table: &'static [OptionInfo], setting: &Setting) -> Option<String> {
    let (name, value) = (setting.name.as_str(), setting.value.as_str());
    let of_channel = tables::find(tables::SERVER, name)
        .or_else(|| tables::find(tables::CLIENT, name))
        .or_else(|| tables::find(tables::ISOLATION, name));
    if std::ptr::eq(table, tables::DISPATCHER) && name == "CHANNEL" {
        Some(format!("write `PARAMETER=CHANNEL={value}`"))
    } else if of_channel.is_some() {
        Some("it belongs into the option file of a channel, such as `tcp_local_option`".to_owned())
    } else if let Some(info) = keyword(name) {
        let word = info.name;
        Some(format!("`{word}` is a keyword: write it behind the name of a channel, or on a `defaults` line"))
    } else if !std::ptr::eq(table, tables::GLOBAL) && tables::find(tables::GLOBAL, name).is_some() {
        Some("it belongs into option.dat".to_owned())
    } else {
        None
    }
}

pub(crate) fn check_value(info: &OptionInfo, setting: &Setting, reader: &mut Reader<'_>) {
    let value = setting.value.as_str();
    let fine = match info.kind {
        OptionKind::Integer { least, most } => {
            values::integer(value).is_some_and(|number| (least..=most).contains(&number))
        }
        OptionKind::Number(known) => values::integer(value).is_some_and(|number| known.contains(&number)),
        OptionKind::Switch => matches!(values::integer(value), Some(0 | 1)),
        OptionKind::Size { least } => values::size(value).is_some_and(|size| size >= least),
        OptionKind::Duration => values::duration(value).is_some_and(|duration| !duration.is_zero()),
        OptionKind::Minutes => values::minutes(value, 60.0).is_some_and(|time| !time.is_zero()),
        // White space of any kind is between the groups of ETRN_HOSTS; anywhere else a tab may end up in a header.
        OptionKind::Text if setting.name == ETRN_HOSTS => {
            !value.contains(|c: char| c.is_control() && c != '\t')
        }
        OptionKind::Text => !value.contains(char::is_control),
        OptionKind::Path => !value.is_empty() && !value.contains('\0'),
        OptionKind::Paths => !value.contains('\0'),
        OptionKind::Ports => value.split(',').all(|port| values::port(port.trim()).is_some()),
        OptionKind::Address => values::address(value).is_some(),
    };
    if !fine {
        let message = format!("`{value}` is no value for `{}` ({})", info.name, info.kind.describe());
        let remark = Diagnostic::new(&codes::BAD_OPTION_VALUE, message).at(setting.value_span);
        let help = match info.kind {
            OptionKind::Size { least } => {
                format!("write bytes, at least {least}; `64M` is short for 64 × 1024 × 1024")
            }
            OptionKind::Duration => "write a time such as `30s`, `4h` or `PT4H`".to_owned(),
            OptionKind::Ports => "write `25`, or `[127.0.0.1]2525`, with commas in between".to_owned(),
            _ if value.contains(" !") => "a comment has a line of its own, with `!` in column one".to_owned(),
            _ => format!("the default is {}", info.default),
        };
        let remark = remark.help(help);
        // What changes nothing cannot do harm either.
        let harmless = info.status == Status::Recognised;
        reader.push(if harmless { remark.severity(Severity::Warning) } else { remark });
    }
}

/// `option.dat`.
pub(crate) fn global(text: &Text, folder: &Path, reader: &mut Reader<'_>) -> Options {
    let (settings, _) = read(text, tables::GLOBAL, &[], reader);
    let mut options = Options::default();
    fn set<T>(field: &mut T, value: Option<T>) {
        if let Some(value) = value {
            *field = value;
        }
    }
    let path = |name: &str| settings.text(name).map(|text| folder.join(text));
    set(&mut options.spool_dir, path("SPOOL_DIR"));
    options.log_dir = path("LOG_DIR").unwrap_or_else(|| options.spool_dir.join(crate::options::LOG_DIR));
    options.control_socket =
        path("CONTROL_SOCKET").unwrap_or_else(|| options.spool_dir.join(crate::options::CONTROL_SOCKET));
    options.password_file = settings.path("PASSWORD_FILE", folder);
    options.etrn_hosts_file = settings.path("ETRN_HOSTS_FILE", folder);
    let hosts = settings.get(ETRN_HOSTS);
    options.etrn_hosts = hosts.map(|setting| (setting.value.clone(), setting.value_span));
    let zone = settings.get("TIME_ZONE").filter(|setting| !setting.value.is_empty());
    options.time_zone = zone.map(|setting| (setting.value.clone(), setting.value_span));
    options.plugin_path = paths(settings.text("PLUGIN_PATH").as_deref(), folder);
    let routines = settings.text("ROUTINE_PLUGINS").unwrap_or_default();
    let routines = routines.split(',').map(str::trim).filter(|name| !name.is_empty());
    options.routine_plugins = routines.map(|name| crate::services::plugin_name(name, folder)).collect();
    options.watch_plugins = settings.switch("WATCH_PLUGINS");
    options.filters = (1..=FILTERS_MAX).filter_map(|number| filter(number, &settings, folder)).collect();
    set(&mut options.block_size, settings.integer("BLOCK_SIZE").and_then(|size| u64::try_from(size).ok()));
    let block_size = options.block_size;
    let bytes = |name: &str| settings.count(name).map(|blocks| u64::from(blocks).saturating_mul(block_size));
    options.block_limit = bytes("BLOCK_LIMIT");
    options.priority_limits = PerPriority {
        urgent: bytes("URGENT_BLOCK_LIMIT"),
        normal: bytes("NORMAL_BLOCK_LIMIT"),
        nonurgent: bytes("NON_URGENT_BLOCK_LIMIT"),
    };
    options.line_limit = settings.count("LINE_LIMIT");
    options.return_units_hours = settings.switch("RETURN_UNITS");
    options.return_address = settings.text("RETURN_ADDRESS");
    options.return_personal = settings.text("RETURN_PERSONAL");
    set(&mut options.history_to_return, settings.count("HISTORY_TO_RETURN"));
    set(&mut options.lines_to_return, settings.count("LINES_TO_RETURN"));
    options.content_return_limit = bytes("CONTENT_RETURN_BLOCK_LIMIT");
    set(&mut options.return_envelope, settings.count("RETURN_ENVELOPE"));
    set(&mut options.max_received_lines, settings.count("MAX_RECEIVED_LINES"));
    set(&mut options.post_interval, settings.duration("PMDF_POST_INTERVAL"));
    set(&mut options.post_interval, settings.duration("POST_INTERVAL"));
    set(&mut options.etrns_per_client, settings.count("ETRN_PER_CLIENT"));
    set(&mut options.etrns_per_node, settings.count("ETRN_PER_NODE"));
    set(&mut options.release_records, settings.count("RELEASE_RECORDS"));
    set(&mut options.release_records_per_site, settings.count("RELEASE_RECORDS_PER_SITE"));
    set(&mut options.release_grace, settings.duration("RELEASE_GRACE"));
    set(&mut options.return_interval, settings.duration("RETURN_INTERVAL"));
    set(&mut options.max_message_size, settings.size("MAX_MESSAGE_SIZE"));
    set(&mut options.max_recipients, settings.count("MAX_RECIPIENTS"));
    set(&mut options.delivery_deadline, settings.duration("DELIVERY_DEADLINE"));
    set(&mut options.segment_size, settings.size("SEGMENT_SIZE"));
    set(&mut options.log_connection, settings.count("LOG_CONNECTION"));
    set(&mut options.alias_domains, settings.count("ALIAS_DOMAINS"));
    set(&mut options.max_alias_levels, settings.count("MAX_ALIAS_LEVELS"));
    set(&mut options.use_reverse_database, settings.count("USE_REVERSE_DATABASE"));
    set(&mut options.use_forward_database, settings.count("USE_FORWARD_DATABASE"));
    set(&mut options.use_alias_database, settings.count("USE_ALIAS_DATABASE").map(|value| value != 0));
    set(&mut options.use_domain_database, settings.count("USE_DOMAIN_DATABASE").map(|value| value != 0));
    options.unknown_host_text = settings.text("ERROR_TEXT_UNKNOWN_HOST");
    options.unknown_alias_text = settings.text("ERROR_TEXT_UNKNOWN_ALIAS");
    options.access_orcpt = settings.switch("ACCESS_ORCPT");
    set(&mut options.reverse_envelope, settings.count("REVERSE_ENVELOPE").map(|value| value != 0));
    set(&mut options.missing_recipient_policy, settings.count("MISSING_RECIPIENT_POLICY"));
    set(&mut options.exproute_forward, settings.count("EXPROUTE_FORWARD").map(|value| value != 0));
    set(&mut options.improute_forward, settings.count("IMPROUTE_FORWARD").map(|value| value != 0));
    for setting in settings.0 {
        let acts =
            tables::find(tables::GLOBAL, &setting.name).is_some_and(|info| info.status != Status::Recognised);
        if !acts {
            options.others.push(OtherOption { name: setting.name, value: setting.value, span: setting.span });
        }
    }
    options
}

/// What is said of a filter that has a plugin.
fn filter(number: u32, settings: &Settings, folder: &Path) -> Option<FilterOptions> {
    let get = |name: &str| {
        let setting = settings.get(&format!("SPAMFILTER{number}_{name}"));
        setting.filter(|setting| !setting.value.is_empty())
    };
    let library = get("LIBRARY")?;
    let time = get("TIMEOUT").and_then(|setting| u64::try_from(values::integer(&setting.value)?).ok());
    Some(FilterOptions {
        number,
        plugin: crate::services::plugin_name(&library.value, folder),
        plugin_span: library.value_span,
        config_file: get("CONFIG_FILE").map(|setting| (setting.value.clone(), setting.value_span)),
        without_verdict: match get("OPTIONAL").and_then(|setting| values::integer(&setting.value)) {
            Some(1 | 2) => WithoutVerdict::Passes,
            Some(3 | 4) => WithoutVerdict::Waits,
            _ => WithoutVerdict::Refused,
        },
        without_verdict_span: get("OPTIONAL").map_or(library.value_span, |setting| setting.value_span),
        time: time.map_or(filters::TIME, Duration::from_secs),
    })
}

/// Folders separated by colons or commas.
fn paths(text: Option<&str>, folder: &Path) -> Vec<PathBuf> {
    let parts = text.unwrap_or_default().split([':', ',']).map(str::trim);
    parts.filter(|part| !part.is_empty()).map(|part| folder.join(part)).collect()
}

/// A channel's option file: its lines, and what they mean to the server. Names that are in none of the tables may be
/// the plugin's, so nothing is said about them here.
pub(crate) fn of_channel(
    text: &Text,
    folder: &Path,
    reader: &mut Reader<'_>,
) -> (Vec<crate::model::OptionValue>, ServerOptions, Isolation) {
    let settings = without_sections(text, "an option file of a channel", reader);
    for setting in &settings.0 {
        let info = tables::find(tables::SERVER, &setting.name);
        if let Some(info) = info.or_else(|| tables::find(tables::ISOLATION, &setting.name)) {
            check_value(info, setting, reader);
        }
    }
    let server = server(&settings);
    let isolation = isolation(&settings, folder);
    let values = settings.0.into_iter().map(|setting| {
        let known_to_server = tables::find(tables::SERVER, &setting.name).is_some()
            || tables::find(tables::ISOLATION, &setting.name).is_some();
        crate::model::OptionValue {
            recognised: known_to_server || tables::find(tables::CLIENT, &setting.name).is_some(),
            known_to_server,
            name: setting.name,
            value: setting.value,
            span: setting.span,
            value_span: setting.value_span,
        }
    });
    (values.collect(), server, isolation)
}

fn isolation(settings: &Settings, folder: &Path) -> Isolation {
    let default = Isolation::default();
    let limit = |value: u64| (value > 0).then_some(value);
    let cpu = settings.count("ISOLATED_CPU");
    Isolation {
        memory: settings
            .size("ISOLATED_MEMORY")
            .map_or(default.memory, |size| limit(size).map(|size| size.max(ISOLATED_MEMORY_MIN))),
        cpu_percent: cpu.map_or(default.cpu_percent, |percent| (percent > 0).then_some(percent)),
        read: paths(settings.text("ISOLATED_READ").as_deref(), folder),
        write: paths(settings.text("ISOLATED_WRITE").as_deref(), folder),
    }
}

/// An option file whose lines are all for a plugin.
pub(crate) fn of_plugin(text: &Text, reader: &mut Reader<'_>) -> Vec<crate::model::OptionValue> {
    let settings = without_sections(text, "an option file of a filter", reader);
    let values = settings.0.into_iter().map(|setting| crate::model::OptionValue {
        name: setting.name,
        value: setting.value,
        span: setting.span,
        value_span: setting.value_span,
        known_to_server: false,
        recognised: false,
    });
    values.collect()
}

fn without_sections(text: &Text, what: &str, reader: &mut Reader<'_>) -> Settings {
    let mut settings = Settings::default();
    for line in text.lines.iter().filter(|line| !line.is_blank()) {
        if line.text.trim_start().starts_with('[') {
            let message = format!("`{}`: {what} has no sections", line.text.trim());
            let remark = Diagnostic::new(&codes::UNKNOWN_SECTION, message).at(line.whole());
            reader.push(remark.help("take the line out"));
            continue;
        }
        let Some(setting) = setting(line, reader) else { continue };
        settings.put(setting, &mut reader.diagnostics);
    }
    settings
}

fn server(settings: &Settings) -> ServerOptions {
    let default = ServerOptions::default();
    let unit = settings.count("TIMEOUT_MULTIPLIER").filter(|unit| *unit > 0).map_or(60.0, f64::from);
    let time = |name: &str, default: Duration| {
        let found = settings.get(name).and_then(|setting| values::minutes(&setting.value, unit));
        found.filter(|time| !time.is_zero()).unwrap_or(default)
    };
    ServerOptions {
        allow_etrns_per_session: settings.count("ALLOW_ETRNS_PER_SESSION"),
        etrn_domain_plain: settings.switch("ETRN_DOMAIN_PLAIN"),
        allow_recipients_per_transaction: settings.count("ALLOW_RECIPIENTS_PER_TRANSACTION"),
        reject_recipients_per_transaction: settings.count("REJECT_RECIPIENTS_PER_TRANSACTION"),
        allow_rejections_before_deferral: settings.count("ALLOW_REJECTIONS_BEFORE_DEFERRAL"),
        allow_transactions_per_session: settings.count("ALLOW_TRANSACTIONS_PER_SESSION"),
        allow_relay: settings.switch("ALLOW_RELAY"),
        banner_host: settings.text("BANNER_HOST"),
        banner_addition: settings.text("BANNER_ADDITION"),
        custom_version_string: settings.text("CUSTOM_VERSION_STRING"),
        hide_verify: settings.switch("HIDE_VERIFY"),
        command_receive_time: time("COMMAND_RECEIVE_TIME", default.command_receive_time),
        data_receive_time: time("DATA_RECEIVE_TIME", default.data_receive_time),
        status_transmit_time: time("STATUS_TRANSMIT_TIME", default.status_transmit_time),
        max_helo_domain_length: settings.count("MAX_HELO_DOMAIN_LENGTH"),
        log_connection: settings.count("LOG_CONNECTION"),
    }
}
