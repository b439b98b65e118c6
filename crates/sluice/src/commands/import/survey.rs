//! What an imported configuration means here: it is read from memory as `sluice check` would read it from the new
//! folder, and everything that an operator of the old system must know is made out of the result.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use sluice_config::{Config, Demand, MemoryFiles, Place, Status, SwitchChannel, option_tables};
use sluice_diag::{Diagnostic, Severity, Sources, errors_in};
use sluice_rewrite::Rewriter;

use super::edit::{Lines, option};
use super::finding::{Finding, Kind};
use super::plan::Planned;
use crate::keys;

/// Ports below this one need a privilege.
const PRIVILEGED_PORTS: u16 = 1024;
/// Mapping tables that the hub asks on its own; others act when a rule or another table calls them.
const TABLES_ASKED: [&str; 10] = [
    "PORT_ACCESS",
    "FROM_ACCESS",
    "ORIG_SEND_ACCESS",
    "SEND_ACCESS",
    "ORIG_MAIL_ACCESS",
    "MAIL_ACCESS",
    "ETRN_ACCESS",
    "REVERSE",
    "FORWARD",
    "CONVERSIONS",
];
/// Remarks that are told in other words here.
const TOLD_OTHERWISE: [&str; 3] = ["keyword-without-effect", "channel-without-plugin", "service-not-served"];

/// Remarks that are no mistakes, and that somebody who moves to another system should look at all the same.
const NEEDS_A_LOOK: [&str; 2] = ["rewrite-channel-not-reached", "alias-positional-parameter"];
/// Tables that the products ask and the hub does not, each with the reason.
const TABLES_IDLE: [(&str, &str); 10] = [
    ("CHARSET-CONVERSION", "texts are passed on in the character set that they came in"),
    ("COMMENT_STRINGS", "comments in headers are passed on as they are"),
    ("PERSONAL_NAMES", "names in headers are passed on as they are"),
    ("AUTH_REWRITE", "`authrewrite` acts without asking a table"),
    ("NOTIFICATION_LANGUAGE", "notices are in English"),
    ("DISPOSITION_LANGUAGE", "the hub sends no disposition notifications"),
    ("X-ATT-NAMES", GATEWAY_TEXT),
    ("MIME-CONTENT-TYPES-TO-MR", GATEWAY_TEXT),
    ("PAGER", GATEWAY_TEXT),
    ("DOMAIN_DC", "no directory is asked"),
];
const GATEWAY_TEXT: &str = "for a gateway to another kind of mail, which no plugin of this release is";

/// Looks at the planned files; also tells whether they are free of errors.
pub(crate) fn survey(planned: &[Planned], folder: &Path) -> (Vec<Finding>, bool) {
    let files = planned
        .iter()
        .fold(MemoryFiles::new(), |all, file| all.with(folder.join(&file.name), file.bytes.clone()));
    let (config, sources, mut diagnostics) =
        sluice_config::read_with_errors(&files, &Place::Folder(folder.to_path_buf()));
    let mut findings = Vec::new();
    let config = config.map(Arc::new);
    if let Some(config) = &config {
        diagnostics.extend(Rewriter::compile(Arc::clone(config)).1);
        // Certificates and users are never among the files of the products; what waits for them is to be decided.
        diagnostics.extend(
            keys::read(config, &sources).1.into_iter().map(|remark| remark.severity(Severity::Warning)),
        );
        let mut survey = Survey { config, sources: &sources, folder, findings: &mut findings };
        survey.what_works();
        survey.keywords();
        survey.channels();
        survey.listeners(planned);
        survey.relay(planned);
        survey.spool(planned);
    }
    options(planned, &mut findings);
    directory(planned, &mut findings);
    if let Some(config) = &config {
        mapping_tables(planned, config, &mut findings);
    }
    for remark in diagnostics.iter().filter(|remark| !TOLD_OTHERWISE.contains(&remark.code.name)) {
        findings.push(from_remark(remark, &sources, folder));
    }
    (findings, !errors_in(&diagnostics))
}

/// Options about a directory: they change nothing here, and mail depends on what they did.
fn directory(planned: &[Planned], findings: &mut Vec<Finding>) {
    const BEGINNINGS: [&str; 5] =
        ["ALIAS_URL", "REVERSE_URL", "DELIVERY_OPTIONS", "LDAP_", "DOMAIN_MATCH_URL"];
    for file in planned.iter().filter(|file| file.name == "option.dat") {
        let lines = Lines::new(&file.bytes);
        for index in 0..lines.len() {
            let line = lines.text(index);
            let Some((name, _)) = option(&line) else { continue };
            if !BEGINNINGS.iter().any(|start| name.starts_with(start)) {
                continue;
            }
            let text =
                "is about an LDAP directory, and none is asked here: whom it knows is unknown to the hub";
            let fix = "write its addresses into alias.txt (and those that go out under another name into reverse.txt), or lead \
                       the mail of its domains to the system that has the directory";
            findings
                .push(Finding::new(Kind::Decide, name, text).at(&file.name, Some(index as u32 + 1)).fix(fix));
        }
    }
}

fn from_remark(remark: &Diagnostic, sources: &Sources, folder: &Path) -> Finding {
    let idle = remark.severity == Severity::Info && !NEEDS_A_LOOK.contains(&remark.code.name);
    let kind = if idle { Kind::Dropped } else { Kind::Decide };
    let subject = format!("{}[{}]", remark.severity, remark.code.name);
    let mut finding = Finding::new(kind, subject, remark.message.clone());
    finding.fix.clone_from(&remark.help);
    if let Some(span) = remark.span {
        let path = sources.path(span.source);
        let name = path.strip_prefix(folder).unwrap_or(path).display().to_string();
        finding = finding.at(&name, Some(sources.position(span).line));
    }
    finding
}

struct Survey<'a> {
    config: &'a Config,
    sources: &'a Sources,
    folder: &'a Path,
    findings: &'a mut Vec<Finding>,
}

impl Survey<'_> {
    fn place(&self, span: sluice_diag::Span) -> (String, u32) {
        let path = self.sources.path(span.source);
        let name = path.strip_prefix(self.folder).unwrap_or(path).display().to_string();
        (name, self.sources.position(span).line)
    }

    fn what_works(&mut self) {
        let count = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
        let text = format!(
            "{}, {}",
            count(self.config.rules.len(), "rewrite rule"),
            count(self.config.channels.len(), "channel")
        );
        self.findings.push(Finding::new(Kind::Works, "configuration", text));
        let aliases = match self.config.aliases.len() {
            0 => return,
            1 => "1 alias".to_owned(),
            n => format!("{n} aliases"),
        };
        self.findings.push(Finding::new(Kind::Works, "aliases", aliases).at("aliases", None));
    }

    /// Every keyword that is written somewhere, once, with the channels that have it.
    fn keywords(&mut self) {
        let mut used: BTreeMap<&str, (&sluice_config::Keyword, BTreeSet<&str>)> = BTreeMap::new();
        for channel in &self.config.channels {
            for keyword in &channel.keywords {
                let entry = used.entry(keyword.info.name).or_insert_with(|| (keyword, BTreeSet::new()));
                entry.1.insert(&channel.name);
            }
        }
        let acting = used.values().filter(|(keyword, _)| keyword.info.status == Status::Acts);
        let acting = acting.map(|(keyword, _)| keyword.info.name).collect::<Vec<_>>().join(" ");
        if !acting.is_empty() {
            self.findings.push(Finding::new(Kind::Works, "keywords", acting));
        }
        for (keyword, channels) in used.values() {
            let info = keyword.info;
            let (kind, what) = match info.status {
                Status::Acts => continue,
                Status::Partly => (Kind::Dropped, "acts in part"),
                Status::Recognised => (Kind::Dropped, "is kept and changes nothing"),
            };
            let note = if info.note.is_empty() { String::new() } else { format!(" ({})", info.note) };
            let on = channels.iter().copied().collect::<Vec<_>>().join(", ");
            let text = format!("{what}{note}: {}; on {on}", info.meaning);
            let (file, line) = self.place(keyword.span);
            self.findings.push(Finding::new(kind, info.name, text).at(&file, Some(line)));
        }
    }

    fn channels(&mut self) {
        let mut served: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for channel in &self.config.channels {
            match &channel.plugin {
                Some(plugin) => served.entry(plugin).or_default().push(&channel.name),
                None if channel.name == "hold" || channel.name.starts_with("hold_") => {
                    let text = "keeps what is queued to it until an operator decides, as it should";
                    let (file, line) = self.place(channel.span);
                    let subject = format!("channel {}", channel.name);
                    self.findings.push(Finding::new(Kind::Works, subject, text).at(&file, Some(line)));
                }
                None => {
                    let text = "no plugin delivers what is queued to it; its mail is kept until one does";
                    let (file, line) = self.place(channel.span);
                    let fix = format!(
                        "write `[CHANNEL={}]` and `MASTER_PLUGIN=` into job_controller.cnf, or lead its mail elsewhere",
                        channel.name
                    );
                    let subject = format!("channel {}", channel.name);
                    self.findings
                        .push(Finding::new(Kind::Decide, subject, text).at(&file, Some(line)).fix(fix));
                }
            }
        }
        for (plugin, channels) in served {
            let subject = format!("plugin {plugin}");
            self.findings.push(Finding::new(
                Kind::Works,
                subject,
                format!("delivers for {}", channels.join(", ")),
            ));
        }
        let local = self.config.channels.local();
        if local.plugin.as_deref() == Some("local") {
            let text = "delivers to maildirs, not to the mailboxes or the store of the old system";
            let (file, line) = self.place(local.span);
            let fix = "the folder and the users are options of the plugin, in l_option; lead the mail elsewhere if there \
                       are no local users";
            let subject = format!("channel {}", local.name);
            self.findings.push(Finding::new(Kind::Decide, subject, text).at(&file, Some(line)).fix(fix));
        }
    }

    fn listeners(&mut self, planned: &[Planned]) {
        let written = planned.iter().any(|file| file.name == "dispatcher.cnf");
        for service in &self.config.services {
            let ports: Vec<String> = service.listen.iter().map(|(_, port)| port.to_string()).collect();
            let low = service.listen.iter().any(|(_, port)| *port < PRIVILEGED_PORTS);
            let subject = format!("[SERVICE={}]", service.name);
            let text = format!("listens on port {}, sessions start on {}", ports.join(", "), service.channel);
            let mut finding = Finding::new(if low { Kind::Decide } else { Kind::Works }, subject, text);
            if written {
                let (file, line) = self.place(service.span);
                finding = finding.at(&file, Some(line));
            }
            self.findings.push(if low {
                finding.fix(
                    "a port below 1024 needs a privilege, and the old system must have let go of it; for a trial write \
                     `PORT=[127.0.0.1]2525` into dispatcher.cnf",
                )
            } else {
                finding
            });
        }
    }

    /// Whether clients of the own network may still send through the hub.
    fn relay(&mut self, planned: &[Planned]) {
        let main = planned.iter().find(|file| file.name == "sluice.cnf").map(|file| &file.bytes[..]);
        let literal_rules = self.config.rules.iter().filter(|rule| rule.pattern.contains('[')).count();
        let internal_ip = planned.iter().any(|file| {
            file.name == "mappings"
                && file.bytes.windows(11).any(|part| part.eq_ignore_ascii_case(b"INTERNAL_IP"))
        });
        for service in &self.config.services {
            let Some(channel) = self.config.channels.by_name(&service.channel) else { continue };
            let switches = channel.settings.switch_channel == SwitchChannel::Switch;
            let with_login = channel.settings.sasl_server == Demand::Must;
            let text = match (switches, channel.server.allow_relay) {
                _ if with_login => format!(
                    "nobody may send on {} without a login, and whoever has logged in may send to everywhere",
                    channel.name
                ),
                (_, true) => "ALLOW_RELAY=1 lets everybody send through the hub to everywhere".to_owned(),
                (true, _) if literal_rules > 0 || internal_ip => format!(
                    "clients whose address a rule or table leads to another channel may send to everywhere, all \
                     others only to channels other than {}",
                    channel.name
                ),
                (true, _) => format!(
                    "`switchchannel` is set on {} and no rule or table leads a client's address to another channel, so \
                     nobody may send through the hub back to {}",
                    channel.name, channel.name
                ),
                (false, _) => format!(
                    "sessions of {} stay on it, and none may send through the hub back to {}; mail for every other \
                     channel is taken from everybody",
                    channel.name, channel.name
                ),
            };
            let (file, line) = self.place(channel.span);
            let finding = Finding::new(Kind::Decide, format!("relay policy of {}", channel.name), text);
            let finding = if main.is_some() { finding.at(&file, Some(line)) } else { finding };
            self.findings.push(if with_login {
                finding.fix("make the users with `sluice password set NAME`; the access tables hold for them too")
            } else {
                finding.fix(
                "compare it with the access tables of the old system; a rule such as `[10.] $E$R$U%[10.$L]@INTERNAL-DAEMON` leads \
                 clients of a network to the channel of that host",
                )
            });
        }
    }

    fn spool(&mut self, planned: &[Planned]) {
        let set = planned.iter().find(|file| file.name == "option.dat").is_some_and(|file| {
            let lines = Lines::new(&file.bytes);
            (0..lines.len())
                .any(|index| option(&lines.text(index)).is_some_and(|(name, _)| name == "SPOOL_DIR"))
        });
        let spool = self.config.options.spool_dir.display();
        if !set {
            let text = format!("mail waits in {spool}; the queues of the old system are not read");
            self.findings.push(Finding::new(Kind::Decide, "SPOOL_DIR", text).fix(
                "write `SPOOL_DIR=` into option.dat for another folder, and let the old system deliver what it has",
            ));
        }
    }
}

/// Options that are read and change nothing, or that are not known at all.
fn options(planned: &[Planned], findings: &mut Vec<Finding>) {
    let tables = option_tables();
    for file in planned {
        let tables: Vec<_> = tables
            .iter()
            .filter(|table| {
                table.file == file.name
                    || file.name.ends_with("_option") && table.file.starts_with("CHANNEL_option")
            })
            .collect();
        let lines = Lines::new(&file.bytes);
        let (mut acting, mut idle) = (BTreeSet::new(), BTreeMap::new());
        for index in (0..lines.len()).filter(|_| !tables.is_empty()) {
            let line = lines.text(index);
            let Some((name, _)) = option(&line) else { continue };
            let rows = tables.iter().flat_map(|table| table.options).filter(|info| info.name == name);
            let rows: Vec<_> = rows.collect();
            if rows.iter().any(|info| info.status == Status::Acts) {
                acting.insert(name);
            } else if let Some(info) = rows.first() {
                idle.entry(name).or_insert((index as u32 + 1, info.help));
            }
        }
        if !acting.is_empty() {
            let text = acting.into_iter().collect::<Vec<_>>().join(" ");
            findings.push(Finding::new(Kind::Works, "options", text).at(&file.name, None));
        }
        for (name, (line, help)) in idle {
            let text = format!("is kept and changes nothing: {help}");
            findings.push(Finding::new(Kind::Dropped, name, text).at(&file.name, Some(line)));
        }
    }
}

/// Every text that may call a mapping table, in upper case: `$(…)` leads to templates too, so databases count.
fn callers(config: &Config) -> Vec<String> {
    let rules = config.rules.iter().map(|rule| rule.template.as_str());
    let entries =
        config.mappings.iter().flat_map(|table| &table.entries).map(|entry| entry.template.as_str());
    let values = config.databases.iter().flat_map(|(_, database)| database.iter().map(|(_, value)| value));
    let all = rules.chain(entries).chain(values);
    all.filter(|text| text.contains("${") || text.contains("$|")).map(str::to_uppercase).collect()
}

/// Who asks a table that the hub does not ask by itself.
fn caller(table: &str, config: &Config, callers: &[String]) -> Option<&'static str> {
    let table = table.to_uppercase();
    let calls = |text: &String| {
        // The name ends at a comma in a rule, at a semicolon or a comma in a table.
        ["${", "$|"].iter().any(|start| {
            text.match_indices(start).any(|(at, _)| {
                let rest = text[at + 2..].trim_start();
                rest.strip_prefix(&table).is_some_and(|rest| rest.trim_start().starts_with([',', ';']))
            })
        })
    };
    if callers.iter().any(calls) {
        return Some("is asked by the rewrite rules or tables that call it");
    }
    let by_alias =
        config.aliases.iter().any(|alias| alias.tables().any(|name| name.eq_ignore_ascii_case(&table)));
    by_alias.then_some("is asked by the aliases that name it")
}

/// The tables of the mapping file by name, and which of them nobody asks.
fn mapping_tables(planned: &[Planned], config: &Config, findings: &mut Vec<Finding>) {
    let callers = callers(config);
    for file in planned.iter().filter(|file| file.name == "mappings") {
        let lines = Lines::new(&file.bytes);
        for index in 0..lines.len() {
            let line = lines.text(index);
            let name = line.trim_end();
            if name.is_empty() || name.starts_with(['!', '<', ' ', '\t']) {
                continue;
            }
            let asked = TABLES_ASKED.contains(&name.to_ascii_uppercase().as_str());
            let subject = format!("mapping {name}");
            let finding = match (asked, caller(name, config, &callers)) {
                (true, _) => Finding::new(Kind::Works, subject, "is asked by the hub"),
                (false, Some(who)) => Finding::new(Kind::Works, subject, who),
                (false, None) => {
                    let known = TABLES_IDLE.iter().find(|(idle, _)| name.eq_ignore_ascii_case(idle));
                    let text = known.map_or(
                        "nobody asks it: the hub does not know it, and no rule, table or alias calls it"
                            .to_owned(),
                        |(_, why)| format!("is not asked: {why}"),
                    );
                    Finding::new(Kind::Dropped, subject, text)
                }
            };
            findings.push(finding.at(&file.name, Some(index as u32 + 1)));
        }
    }
}
