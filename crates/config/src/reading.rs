//! Reading a whole folder: all files, what they say together, and the checks that need more than one place.

use crate::codes;
use crate::conversions::{self, CONVERSION_FILE};
use crate::etrn_hosts;
use crate::files::{Files, Names, Place, plain_name};
use crate::filters;
use crate::keyword::Arguments;
use crate::lines::{Manner, Reader, Text};
use crate::main_file::{self, Block, Written};
use crate::mappings::{self, MAPPING_FILE, Mappings};
use crate::meaning::{self, Surroundings};
use crate::model::{Channel, Channels, Config, DEFRAGMENT, is_local_name};
use crate::options::{Isolation, Options, ServerOptions};
use crate::services::{self, JobController};
use crate::settings::{DEFAULT_POOL, default_notices};
use crate::sites::{self, SITE_FILE, Sites};
use crate::timetable::Zone;
use crate::written::is_channel_name;
use crate::{aliases, databases, header_options, keyword, option_file};
use sluice_diag::{Diagnostic, Sources, Span, errors_in, nearest};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Names of the main file in a folder, the first that exists.
const MAIN_FILES: [&str; 3] = ["sluice.cnf", "pmdf.cnf", "imta.cnf"];
/// Characters in the name of a pool (Messaging Server; PMDF's own examples of a queue have 14). A longer one behind the
/// keyword `pool` has been reported where it stands.
const POOL_NAME_LENGTH_MAX: usize = 12;
const QUEUE_NAME_LENGTH_MAX: usize = 40;
/// Behind the name of a channel: its option file.
const OPTION_FILE_SUFFIX: &str = "_option";
/// Behind the name of a channel and an underscore: its header option files.
const HEADER_OPTIONS_SUFFIX: &str = "headers.opt";
/// The zone of this system, and where zones are found by name.
const SYSTEM_ZONE: &str = "/etc/localtime";
const ZONES: &str = "/usr/share/zoneinfo";
/// Channels of the products that run a service on mail before it goes on. Here it goes on as it is.
const PASSING_THROUGH: [(&str, &str); 1] = [("directory", "no directory is asked")];

/// Reads a configuration. There is one unless some diagnostic is an error.
///
/// All mistakes are reported, in the order of the files and their lines, never only the first.
#[must_use]
pub fn read(files: &dyn Files, place: &Place) -> (Option<Config>, Sources, Vec<Diagnostic>) {
    let (config, sources, diagnostics) = read_with_errors(files, place);
    let config = config.filter(|_| !errors_in(&diagnostics));
    (config, sources, diagnostics)
}

/// As [`read`], and where there are errors, what could be made out all the same: to look for more mistakes in it, never
/// to run with it.
#[must_use]
pub fn read_with_errors(files: &dyn Files, place: &Place) -> (Option<Config>, Sources, Vec<Diagnostic>) {
    let (folder, main) = locate(files, place);
    let mut reader = Reader::new(files, &folder, Manner::ORDINARY);
    let config = read_all(&mut reader, &folder, &main, matches!(place, Place::Folder(_)));
    let Reader { sources, mut diagnostics, .. } = reader;
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.map(|span| (span.source, span.start)));
    (config, sources, diagnostics)
}

/// Reads a main file that has no neighbours, given as text: for tests and for asking "what if".
#[must_use]
pub fn read_text(text: &str) -> (Option<Config>, Sources, Vec<Diagnostic>) {
    let files = crate::files::MemoryFiles::new().with("sluice.cnf", text);
    read(&files, &Place::File(PathBuf::from("sluice.cnf")))
}

/// Reads `option.dat` of a configuration and nothing else: for a command that only wants to find the running hub, which
/// a mistake in another file must not prevent.
#[must_use]
pub fn read_options(files: &dyn Files, place: &Place) -> (Options, Sources, Vec<Diagnostic>) {
    let (folder, main) = locate(files, place);
    let mut reader = Reader::new(files, &folder, Manner::ORDINARY);
    let options = match reader.read_optional_as(&main.with_file_name("option.dat"), Manner::OPTIONS) {
        Some(text) => option_file::global(&text, &folder, &mut reader),
        None => Options::default(),
    };
    (options, reader.sources, reader.diagnostics)
}

/// The main file of a place: `sluice.cnf`, or that of PMDF or Messaging Server.
#[must_use]
pub fn main_file_of(files: &dyn Files, place: &Place) -> PathBuf {
    locate(files, place).1
}

/// The file of sites and activators of a place, whether it is there or not.
#[must_use]
pub fn site_file_of(files: &dyn Files, place: &Place) -> PathBuf {
    let (folder, main) = locate(files, place);
    Reader::new(files, &folder, Manner::ORDINARY).here(&main.with_file_name(SITE_FILE))
}

/// Is it a file of PMDF or Messaging Server, by its name?
#[must_use]
pub fn is_of_products(main: &Path) -> bool {
    let name = main.file_name().and_then(|name| name.to_str()).map(|name| plain_name(name).0);
    name.is_some_and(|name| MAIN_FILES[1..].contains(&name.as_str()))
}

/// The folder and the main file of a place.
fn locate(files: &dyn Files, place: &Place) -> (PathBuf, PathBuf) {
    match place {
        Place::Folder(folder) => (folder.clone(), main_file(files, folder)),
        Place::File(file) => {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            (folder.unwrap_or(Path::new(".")).to_path_buf(), file.clone())
        }
    }
}

fn main_file(files: &dyn Files, folder: &Path) -> PathBuf {
    let names = Names::of(files, folder);
    folder.join(MAIN_FILES.into_iter().find_map(|name| names.here(name)).unwrap_or(MAIN_FILES[0]))
}

fn read_all(reader: &mut Reader<'_>, folder: &Path, main: &Path, whole_folder: bool) -> Option<Config> {
    let neighbour = |name: &str| main.parent().unwrap_or(Path::new("")).join(name);
    let text = reader.read(main)?;
    let written = main_file::read(&text, reader);
    let options = match reader.read_optional_as(&neighbour("option.dat"), Manner::OPTIONS) {
        Some(text) => option_file::global(&text, folder, reader),
        None => Options::default(),
    };
    let time_zone = time_zone(&options, reader);
    let jobs = match reader.read_optional_as(&neighbour("job_controller.cnf"), Manner::OPTIONS) {
        Some(text) => services::job_controller(&text, folder, &time_zone, reader),
        None => JobController::default(),
    };
    check_blocks(&written, &text, reader);
    let Written { rules, blocks } = written;
    // Empty when a part of the file is missing: then nobody can say which channels there are not.
    let names: Vec<String> =
        blocks.iter().filter(|_| text.complete).map(|block| block.name.clone()).collect();
    if whole_folder && !names.is_empty() {
        jobs.check_patterns(&names, reader);
    }
    let mut channels = channels(blocks, &options, &jobs, reader);
    for channel in &mut channels {
        let name = neighbour(&format!("{}{OPTION_FILE_SUFFIX}", channel.name));
        if let Some(text) = reader.read_optional_as(&name, Manner::OPTIONS) {
            (channel.option_file, channel.server, channel.isolation) =
                option_file::of_channel(&text, folder, reader);
        }
        if channel.plugin.as_deref() == Some("pipe") {
            // Its option file has commands for addresses and hosts, as PMDF's has.
            let entries = channel.option_file.iter_mut().filter(|line| line.name.contains(['@', '.']));
            entries.for_each(|line| line.recognised = true);
        }
        let settings = &channel.settings;
        for (keyword, asked, infix, options) in [
            ("headertrim", settings.header_trim, "", &mut channel.header_options),
            ("headerread", settings.header_read, "read_", &mut channel.read_header_options),
        ] {
            let name = format!("{}_{infix}{HEADER_OPTIONS_SUFFIX}", channel.name);
            if !asked {
                continue;
            }
            match reader.read_optional(&neighbour(&name)) {
                Some(text) => *options = Some(header_options::read(&text, reader)),
                None => {
                    let message = format!("`{keyword}` reads {name}, and there is no such file");
                    let written = channel.keywords.iter().find(|one| one.info.name == keyword);
                    let at = written.map_or(channel.span, |one| one.span);
                    let remark = Diagnostic::new(&codes::HEADER_OPTIONS_MISSING, message).at(at);
                    reader.push(remark.help("write the file, or take the keyword out"));
                }
            }
        }
    }
    if whole_folder {
        check_option_files(folder, &names, reader);
    }
    let start = Span::new(text.source, 0, 0);
    let services = match reader.read_optional_as(&neighbour("dispatcher.cnf"), Manner::OPTIONS) {
        Some(text) => services::dispatcher(&text, &names, reader),
        None => vec![services::default_service(start)],
    };
    let mappings = match reader.read_optional(&neighbour(MAPPING_FILE)) {
        Some(text) => mappings::tables(&text, reader),
        None => Mappings::default(),
    };
    let conversions = reader.read_optional_as(&neighbour(CONVERSION_FILE), Manner::CONVERSIONS);
    let conversions = conversions.map(|text| conversions::read(&text, reader));
    conversions::check(conversions.as_ref(), &mappings, &channels, reader);
    let filters = filters::read(&options, &channels, reader);
    let etrn_hosts = etrn_hosts::read(&options, reader);
    let sites = match reader.read_optional_as(&neighbour(SITE_FILE), Manner::SITES) {
        Some(text) => {
            let local = channels.iter().find(|channel| is_local_name(&channel.name));
            let around = sites::Surroundings {
                channels: &names,
                local_host: local.map_or("", |channel| channel.official_host.as_str()),
                services: &services,
                zone: &time_zone,
            };
            sites::read(&text, &around, reader)
        }
        None => Sites::default(),
    };
    if channels.is_empty() {
        return None;
    }
    let beside = main.parent().unwrap_or(Path::new(""));
    let mut databases = databases::read_all(beside, reader);
    for (name, used) in [("alias", options.use_alias_database), ("domain", options.use_domain_database)] {
        if !used {
            databases.remove(name);
        }
    }
    let aliases = aliases::read(beside, options.alias_domains, &databases, reader);
    let channels = Channels::new(channels);
    let checks_loops = channels.iter().any(|channel| channel.has("loopcheck"));
    Some(Config {
        folder: folder.to_path_buf(),
        rules,
        channels,
        options,
        filters,
        services,
        pools: jobs.pools,
        sites,
        etrn_hosts,
        time_zone,
        databases,
        aliases,
        mappings,
        conversions: conversions.unwrap_or_default(),
        checks_loops,
    })
}

/// The zone that the options name, or that of this system. Zones by name are files of the system.
fn time_zone(options: &Options, reader: &mut Reader<'_>) -> Zone {
    let Some((name, span)) = &options.time_zone else {
        let system = reader.files.read(Path::new(SYSTEM_ZONE)).ok();
        return system.and_then(|content| Zone::from_file("", &content)).unwrap_or_default();
    };
    if ["UTC", "GMT"].iter().any(|utc| name.eq_ignore_ascii_case(utc)) {
        return Zone::utc();
    }
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'/' | b'_' | b'-' | b'+');
    if name.bytes().all(fits) && !name.starts_with('/') {
        let content = reader.files.read(&Path::new(ZONES).join(name));
        if let Some(zone) = content.ok().and_then(|content| Zone::from_file(name, &content)) {
            return zone;
        }
    }
    if let Some(zone) = Zone::from_rule(name) {
        return zone;
    }
    let message = format!("the time zone `{name}` is not known");
    let remark = Diagnostic::new(&codes::UNKNOWN_TIME_ZONE, message).at(*span);
    reader.push(remark.help(format!(
        "write a name that stands below {ZONES}, such as `Europe/Berlin`, or a rule such as `CET-1CEST,M3.5.0,M10.5.0/3`"
    )));
    Zone::utc()
}

/// What can be wrong between blocks.
fn check_blocks(written: &Written, text: &Text, reader: &mut Reader<'_>) {
    let mut names: HashMap<&str, &Block> = HashMap::new();
    let mut hosts: HashMap<String, (&Block, Span)> = HashMap::new();
    let mut without_effect = HashSet::new();
    for block in &written.blocks {
        if let Some(first) = names.get(block.name.as_str()) {
            let message = format!("duplicate channel name: there is a channel `{}` already", block.name);
            let remark = Diagnostic::new(&codes::DUPLICATE_CHANNEL, message).at(block.span);
            let remark = remark.note(first.span, "the first is here");
            reader.push(remark.help("rename one of the two, or make one block of them"));
            continue;
        }
        names.insert(&block.name, block);
        for host in &block.hosts {
            let Some((other, span)) = hosts.get(&host.name.to_lowercase()) else {
                hosts.insert(host.name.to_lowercase(), (block, host.span));
                continue;
            };
            let message = if std::ptr::eq(*other, block) {
                format!(
                    "duplicate host in channel table: `{}` is twice in channel `{}`",
                    host.name, block.name
                )
            } else {
                format!(
                    "duplicate host in channel table: `{}` of channel `{}` is also in channel `{}`",
                    host.name, block.name, other.name
                )
            };
            let remark = Diagnostic::new(&codes::DUPLICATE_HOST, message).at(host.span);
            let remark = remark.note(*span, format!("the first is here, in channel `{}`", other.name));
            reader.push(remark.help("take one of the two out; a blank line among the rewrite rules?"));
        }
        check_keywords(block, &mut without_effect, reader);
    }
    if text.complete {
        check_channel_arguments(written, reader);
    }
    if let Some(first) = written.blocks.first()
        && !is_local_name(&first.name)
        && text.complete
    {
        let message =
            format!("the first channel block must be the local channel `l`, found `{}`", first.name);
        let mut remark = Diagnostic::new(&codes::FIRST_CHANNEL_NOT_LOCAL, message).at(first.span);
        remark = match written.blocks.iter().find(|block| is_local_name(&block.name)) {
            Some(local) => remark.note(local.span, "the local channel is here").help("move it up"),
            None => remark.help("put a block with `l` and the name of this host in front of it"),
        };
        reader.push(remark);
    }
}

/// Keywords that name a channel.
fn check_channel_arguments(written: &Written, reader: &mut Reader<'_>) {
    let mut said = HashSet::new();
    let names = || written.blocks.iter().map(|block| block.name.as_str());
    for keyword in written.blocks.iter().flat_map(|block| &block.keywords) {
        let argument = keyword.arguments.first().zip(keyword.argument_spans.first());
        // What `expandchannel` leaves undone has a remark of its own.
        let ours = keyword.info.arguments == Arguments::Channel && keyword.info.name != "expandchannel";
        let Some((name, span)) = argument.filter(|_| ours) else { continue };
        // A name that cannot be one has its own remark, and what came from `defaults` is said once.
        if !is_channel_name(name)
            || names().any(|other| other == name)
            || !said.insert((span.source, span.start))
        {
            continue;
        }
        let message = format!("`{}` names the channel `{name}`, which does not exist", keyword.info.name);
        let remark = Diagnostic::new(&codes::NO_SUCH_CHANNEL, message).at(*span);
        reader.push(match nearest(name, names()) {
            Some(near) => remark.help(format!("did you mean `{near}`?")),
            None => remark.help("write a channel block for it, or take the keyword out"),
        });
    }
}

fn check_keywords(block: &Block, without_effect: &mut HashSet<&'static str>, reader: &mut Reader<'_>) {
    for keyword in &block.keywords {
        let name = keyword.info.name;
        if keyword.info.importance == 3
            && keyword.info.status == keyword::Status::Recognised
            && without_effect.insert(name)
        {
            let message = format!("`{name}` is accepted and has no effect");
            reader.push(Diagnostic::new(&codes::KEYWORD_WITHOUT_EFFECT, message).at(keyword.span));
        }
    }
    let protocol = block.keywords.iter().find(|keyword| keyword.info.sets() == "protocol");
    if block.name.starts_with("tcp_")
        && !block.misspelt
        && protocol.is_none_or(|keyword| keyword.info.name == "nosmtp")
    {
        let message =
            format!("the channel `{}` has no `smtp` keyword, so it does not speak SMTP", block.name);
        let remark = Diagnostic::new(&codes::TCP_WITHOUT_SMTP, message).at(block.span);
        reader.push(remark.help("write `smtp` behind the name"));
    }
}

fn channels(
    blocks: Vec<Block>,
    options: &Options,
    jobs: &JobController,
    reader: &mut Reader<'_>,
) -> Vec<Channel> {
    let mut notices = default_notices();
    if let Some(local) = blocks.iter().find(|block| is_local_name(&block.name)) {
        let around = Surroundings { official_host: "", options, notices: &notices };
        notices = meaning::settings(&local.keywords, &around).notices;
    }
    let mut seen = HashSet::new();
    let mut channels = Vec::new();
    for block in blocks {
        let Some(official) = block.hosts.first().map(|host| host.name.clone()) else { continue };
        if !seen.insert(block.name.clone()) {
            // Reported already. Its names are kept, so that nobody is told that they do not exist.
            let first = channels.iter_mut().find(|channel: &&mut Channel| channel.name == block.name);
            if let Some(first) = first {
                first.hosts.extend(block.hosts);
            }
            continue;
        }
        let around = Surroundings { official_host: &official, options, notices: &notices };
        let mut settings = meaning::settings(&block.keywords, &around);
        settings.pool = pool(&block, jobs, reader);
        let plugin = jobs.plugin(&block.name).or_else(|| built_in_plugin(&block.name).map(str::to_owned));
        // Nothing is delivered from `hold`: that is what it is for.
        if plugin.is_none()
            && block.name != "hold"
            && !block.misspelt
            && settings.direction != crate::settings::Direction::Slave
        {
            let message =
                format!("no plugin delivers for the channel `{}`; messages stay queued", block.name);
            let remark = Diagnostic::new(&codes::CHANNEL_WITHOUT_PLUGIN, message).at(block.span);
            reader.push(remark.help(format!(
                "write `[CHANNEL={}]` and `MASTER_PLUGIN=` into job_controller.cnf",
                block.name
            )));
        }
        if let (Some("reprocess"), Some((_, missing))) =
            (plugin.as_deref(), PASSING_THROUGH.iter().find(|(name, _)| is_of_family(&block.name, name)))
        {
            let message = format!("mail on the channel `{}` goes on as it is: {missing}", block.name);
            reader.push(Diagnostic::new(&codes::CHANNEL_PASSES_THROUGH, message).at(block.span));
        }
        let description = block.keywords.iter().find(|keyword| keyword.info.name == "description");
        channels.push(Channel {
            description: description.and_then(|keyword| keyword.arguments.first().cloned()),
            official_host: official,
            schedule: jobs.schedule(&block.name),
            windows: jobs.windows(&block.name),
            name: block.name,
            local_alias: block.local_alias,
            hosts: block.hosts,
            span: block.span,
            settings,
            keywords: block.keywords,
            groups: block.groups,
            plugin,
            option_file: Vec::new(),
            server: ServerOptions::default(),
            isolation: Isolation::default(),
            header_options: None,
            read_header_options: None,
        });
    }
    check_expansion(&channels, reader);
    check_pieces(&channels, reader);
    channels
}

/// Pieces are put together and made by the channel `defragment`. Configurations of the products have the keyword of that name on
/// many channels, with and without it.
fn check_pieces(channels: &[Channel], reader: &mut Reader<'_>) {
    if channels.iter().any(|channel| channel.name == DEFRAGMENT) {
        return;
    }
    let help = "add a channel block `defragment` with the host `DEFRAGMENT-DAEMON`";
    let message = |name: &str| format!("`{name}` has no effect: there is no channel `{DEFRAGMENT}`");
    if let Some(keyword) = channels.iter().find_map(|channel| channel.keyword(DEFRAGMENT)) {
        let remark = Diagnostic::new(&codes::KEYWORD_WITHOUT_EFFECT, message(DEFRAGMENT)).at(keyword.span);
        reader.push(remark.help(help));
    }
    for channel in channels {
        for name in ["maxblocks", "maxlines"] {
            if let Some(keyword) = channel.keyword(name).filter(|keyword| !keyword.inherited) {
                let remark = Diagnostic::new(&codes::NO_DEFRAGMENT_CHANNEL, message(name)).at(keyword.span);
                reader.push(remark.help(help));
            }
        }
    }
}

/// `expandlimit` needs a channel that brings mail in again, and none of those may have one itself.
fn check_expansion(channels: &[Channel], reader: &mut Reader<'_>) {
    for channel in channels {
        let Some(keyword) = channel.keyword("expandlimit") else { continue };
        let refuse = |message: String, help: String| {
            Diagnostic::new(&codes::EXPANSION_NOT_PUT_OFF, message).at(keyword.span).help(help)
        };
        let name = channel.settings.expand_channel.as_deref().unwrap_or("reprocess");
        let later = channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(name));
        if channel.plugin.as_deref() == Some("reprocess") || is_local_name(&channel.name) {
            if !keyword.inherited {
                let message = format!("`expandlimit` on the channel `{}` has no effect", channel.name);
                let help = "write it on the channels that mail comes in by";
                reader.push(refuse(message, help.to_owned()));
            }
        } else if later.is_none() {
            let message = format!("`expandlimit` has no effect: there is no channel `{name}`");
            let help = format!(
                "add a channel block `{name}` with the host `{}-DAEMON`, or name another with `expandchannel`",
                name.to_uppercase()
            );
            reader.push(refuse(message, help));
        } else if later.is_some_and(|later| later.plugin.as_deref() == Some("tcp")) {
            let message =
                format!("the channel `{name}` does not bring mail in again: it sends it away unexpanded");
            reader
                .push(refuse(message, "name a channel such as `reprocess` with `expandchannel`".to_owned()));
        }
    }
}

/// The pool of a channel: the job controller's word for it, else the keyword's, else `DEFAULT`.
fn pool(block: &Block, jobs: &JobController, reader: &mut Reader<'_>) -> String {
    let keyword = block.keywords.iter().find(|keyword| keyword.info.sets() == "queue");
    let wanted = jobs.pool_of(&block.name).map(|(name, span)| (name.to_owned(), span)).or_else(|| {
        let keyword = keyword?;
        Some((keyword.arguments.first()?.clone(), *keyword.argument_spans.first()?))
    });
    let Some((name, span)) = wanted else { return DEFAULT_POOL.to_owned() };
    if let Some(pool) = jobs.pools.iter().find(|pool| pool.name.eq_ignore_ascii_case(&name)) {
        return pool.name.clone();
    }
    let is_keyword = keyword.is_some_and(|keyword| keyword.argument_spans.first() == Some(&span));
    let most = match keyword.filter(|_| is_keyword).map(|keyword| keyword.info.name) {
        Some("pool") => POOL_NAME_LENGTH_MAX,
        _ => QUEUE_NAME_LENGTH_MAX,
    };
    if name.chars().count() > most {
        return DEFAULT_POOL.to_owned();
    }
    let said =
        |remark: &Diagnostic| remark.code.name == codes::UNDEFINED_POOL.name && remark.span == Some(span);
    if !jobs.complete || reader.diagnostics.iter().any(said) {
        return DEFAULT_POOL.to_owned();
    }
    let message = format!("the pool `{name}` is not defined; the channel `{}` uses DEFAULT", block.name);
    let remark = Diagnostic::new(&codes::UNDEFINED_POOL, message).at(span);
    let near = nearest(&name, jobs.pools.iter().map(|pool| pool.name.as_str()));
    reader.push(match near {
        Some(near) => remark.help(format!("did you mean `{near}`?")),
        None => remark.help(format!("write `[POOL={name}]` and `JOB_LIMIT=` into job_controller.cnf")),
    });
    DEFAULT_POOL.to_owned()
}

/// The plugin that serves a channel of this name where `job_controller.cnf` names none.
fn built_in_plugin(name: &str) -> Option<&'static str> {
    let reprocess = ["process", "reprocess", "hold"].iter().any(|family| is_of_family(name, family))
        || PASSING_THROUGH.iter().any(|(family, _)| is_of_family(name, family));
    match name {
        "l" => Some("local"),
        "bitbucket" | "filter_discard" => Some("bitbucket"),
        _ if name.starts_with("tcp_") => Some("tcp"),
        _ if is_of_family(name, "defragment") => Some("defragment"),
        _ if is_of_family(name, "conversion") => Some("conversion"),
        _ if is_of_family(name, "http") => Some("http"),
        _ if is_of_family(name, "pipe") => Some("pipe"),
        _ if is_of_family(name, "bsin") || is_of_family(name, "bsout") => Some("bsmtp"),
        _ if is_of_family(name, "archive") => Some("archive"),
        _ if is_of_family(name, "drop") || is_of_family(name, "pickup") => Some("directory"),
        _ if reprocess => Some("reprocess"),
        _ => None,
    }
}

/// `process` and `process_*`.
fn is_of_family(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// Option files whose channel does not exist.
fn check_option_files(folder: &Path, channels: &[String], reader: &mut Reader<'_>) {
    let mut names = reader.files.list(folder).unwrap_or_default();
    names.sort();
    for file in names {
        let (plain, _) = plain_name(&file);
        let Some(name) = plain.strip_suffix(OPTION_FILE_SUFFIX) else { continue };
        if channels.is_empty() || channels.iter().any(|channel| channel == name) {
            continue;
        }
        let source = reader.sources.add(folder.join(&file), String::new());
        let message = format!("{file} belongs to no channel: there is none named `{name}`");
        let remark =
            Diagnostic::new(&codes::OPTION_FILE_WITHOUT_CHANNEL, message).at(Span::new(source, 0, 0));
        reader.push(match nearest(name, channels.iter().map(String::as_str)) {
            Some(near) => remark.help(format!("did you mean {near}{OPTION_FILE_SUFFIX}?")),
            None => remark.help("it is not read; rename it or take it away"),
        });
    }
}

/// The keyword that is nearest to a word, for everybody who takes keywords from people.
#[must_use]
pub fn nearest_keyword(word: &str) -> Option<&'static str> {
    nearest(word, keyword::keywords().iter().map(|info| info.name))
}
