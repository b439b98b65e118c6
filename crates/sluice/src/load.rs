//! From a path on the command line to a compiled configuration.
//!
//! The files are read here because the rules below do no IO. Not here: what they mean (`config`, `rewrite`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sluice_config::{Compiled, CompiledError, Config, DATABASES, Files, Options, Place};
use sluice_diag::{Diagnostic, Severity, Sources, Span, errors_in};
use sluice_dispatch::Loaded;
use sluice_rewrite::Rewriter;

use crate::cli::{Common, Instead, Run};
use crate::exit::{Exit, Failure};
use crate::keys::{self, Keys};
use crate::lookups::Outside;
use crate::routines::Routines;
use crate::{access, mapped, report};

/// Remarks about rules that depend on which channels and hosts there are.
const ABOUT_CHANNELS: [&str; 2] = ["rewrite-unknown-channel", "rewrite-no-channel-host"];
/// Remarks about what rules do together, which a mistake anywhere may be the reason of.
const ABOUT_THE_WHOLE: [&str; 2] = ["rewrite-channel-not-reached", "rewrite-alias-goes-nowhere"];
/// Mistakes that leave names out of the channel table, or change them: who misses the name then would only mislead.
const HIDES_NAMES: [&str; 12] = [
    "first-channel-not-local",
    "cannot-read-file",
    "include-without-name",
    "include-too-deep",
    "include-loop",
    "not-utf8",
    "control-character",
    "lost-continuation",
    "bad-channel-name",
    "no-official-host",
    "host-name-too-long",
    "bad-host-name",
];

/// A word among the keywords that is none.
const STRANGER: &str = "unknown-channel-keyword";

/// The file system as `config` sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        std::fs::metadata(path)?.modified()
    }

    fn compiled(&self, path: &Path) -> Result<Compiled, CompiledError> {
        mapped::compiled(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            // A name that is no text cannot be one of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// What reading a configuration gave.
pub(crate) struct Reading {
    /// The configuration and its compiled rules; `None` when there are errors.
    pub(crate) loaded: Option<Loaded>,
    /// The texts that the diagnostics point into.
    pub(crate) sources: Sources,
    /// Everything that was noticed, in the order of the files.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Certificates and users, where they were asked for.
    pub(crate) keys: Keys,
}

/// A configuration with the secrets that a hub needs to run.
pub(crate) fn with_keys(mut reading: Reading) -> Reading {
    let Some(loaded) = &reading.loaded else { return reading };
    let (keys, found) = keys::read(&loaded.config, &reading.sources);
    reading.diagnostics.extend(found);
    reading.diagnostics.sort_by_key(|diagnostic| diagnostic.span.map(|span| (span.source, span.start)));
    if errors_in(&reading.diagnostics) {
        reading.loaded = None;
    }
    reading.keys = keys;
    reading
}

/// Reads and compiles the configuration at `path`, a folder or a lone `sluice.cnf`, to work with it.
///
/// In a file of PMDF or Messaging Server a word that is no keyword is a warning then: the products take such a word for the
/// name of a group and go on.
pub(crate) fn read(path: &Path) -> Reading {
    read_and_change(path, Strangers::Warn, |_| {})
}

/// As [`read`], to judge it: a word that is no keyword is an error.
///
/// Compiled databases are read whole, so that damage anywhere in them is found.
pub(crate) fn judge(path: &Path) -> Reading {
    let mut damaged = Vec::new();
    let mut reading = read_and_change(path, Strangers::Refuse, |config| {
        damaged = sluice_config::damaged_databases(config);
    });
    for (file, remark) in damaged {
        let source = reading.sources.add(&file, String::new());
        reading.diagnostics.push(remark.at(Span::new(source, 0, 0)));
    }
    reading
}

/// As [`read`], with another text in the place of one file of the folder, which may not be there yet.
pub(crate) fn read_with_file(path: &Path, file: &Path, text: &str) -> Reading {
    read_from(&Draft { file, text }, path, Strangers::Warn, |_| {})
}

/// As [`read`], for a hub that listens and keeps its mail elsewhere than the files say.
///
/// # Errors
/// [`Exit::Usage`] for a `--listen` that is none.
pub(crate) fn read_to_run(path: &Path, run: &Run) -> Result<Reading, Failure> {
    // Nothing later depends on the folder that the program was started in.
    let spool = run.common.spool.as_deref().map(std::path::absolute).transpose()?;
    let wanted = run.listen.iter().map(|text| Listen::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let mut unknown = None;
    let reading = read_and_change(path, Strangers::Warn, |config| {
        if let Some(spool) = spool {
            config.options.control_socket = control_in(&spool);
            config.options.log_dir = spool.join(sluice_config::LOG_DIR);
            config.options.spool_dir = spool;
        }
        unknown = listen_only(config, &wanted).err();
    });
    match unknown {
        Some(error) => Err(Failure::new(Exit::Usage, error)),
        None => Ok(reading),
    }
}

/// What becomes of words that are no keywords.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strangers {
    Warn,
    Refuse,
}

/// One `--listen`.
struct Listen {
    service: Option<String>,
    address: (Option<IpAddr>, u16),
}

impl Listen {
    fn parse(text: &str) -> Result<Listen, Failure> {
        let (service, place) = match text.split_once('=') {
            Some((service, place)) => (Some(service.to_owned()), place),
            None => (None, text),
        };
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let address = match place.parse::<SocketAddr>() {
            Ok(address) => Some((Some(address.ip()), address.port())),
            Err(_) => place.parse().ok().map(|port| (Some(localhost), port)),
        };
        let address = address.filter(|_| service.as_deref() != Some("")).ok_or_else(|| {
            let error = anyhow::anyhow!(
                "--listen {text}: write a port, ADDRESS:PORT or SERVICE=ADDRESS:PORT, such as SMTP=127.0.0.1:2525"
            );
            Failure::new(Exit::Usage, error)
        })?;
        Ok(Listen { service, address })
    }
}

/// Lets the services listen where the command line says, and no others.
fn listen_only(config: &mut Config, wanted: &[Listen]) -> anyhow::Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    for service in &mut config.services {
        service.listen.clear();
        service.listen_tls.clear();
    }
    for listen in wanted {
        let names: Vec<String> = config.services.iter().map(|service| service.name.clone()).collect();
        let mut services = config.services.iter_mut();
        let service = match &listen.service {
            Some(name) => services.find(|service| service.name.eq_ignore_ascii_case(name)),
            None => services.next(),
        };
        let Some(service) = service else {
            let name = listen.service.as_deref().unwrap_or_default();
            anyhow::bail!("--listen {name}=…: there is no such service; there are: {}", names.join(", "));
        };
        service.listen.push(listen.address);
    }
    config.services.retain(|service| !service.listen.is_empty());
    Ok(())
}

/// The control socket of a hub whose spool was named on the command line.
fn control_in(spool: &Path) -> PathBuf {
    spool.join("control.sock")
}

/// As [`read`], with a chance to change the configuration before it is compiled.
fn read_and_change(path: &Path, strangers: Strangers, change: impl FnOnce(&mut Config)) -> Reading {
    read_from(&Disk, path, strangers, change)
}

/// As [`read_and_change`], from files that are not all as the disk has them.
fn read_from(
    files: &dyn Files,
    path: &Path,
    strangers: Strangers,
    change: impl FnOnce(&mut Config),
) -> Reading {
    let place = place(path);
    let (config, sources, mut diagnostics) = sluice_config::read_with_errors(files, &place);
    let of_products = sluice_config::is_of_products(&sluice_config::main_file_of(files, &place));
    if strangers == Strangers::Warn && of_products {
        for remark in diagnostics.iter_mut().filter(|remark| remark.code.name == STRANGER) {
            remark.severity = Severity::Warning;
        }
    }
    let mut loaded = None;
    if let Some(mut config) = config {
        change(&mut config);
        let config = Arc::new(config);
        let (rewriter, mut found) = Rewriter::compile(Arc::clone(&config));
        let hides_names = |remark: &Diagnostic| {
            remark.severity == Severity::Error && HIDES_NAMES.contains(&remark.code.name)
        };
        if diagnostics.iter().any(hides_names) {
            found.retain(|remark| !ABOUT_CHANNELS.contains(&remark.code.name));
        }
        if errors_in(&diagnostics) || errors_in(&found) {
            found.retain(|remark| !ABOUT_THE_WHOLE.contains(&remark.code.name));
        }
        diagnostics.extend(found);
        diagnostics.extend(access::check(&rewriter));
        let routines = Routines::new(&config);
        diagnostics.extend(routines.check(&rewriter));
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.map(|span| (span.source, span.start)));
        if !errors_in(&diagnostics) {
            let rewriter = rewriter.with_lookups(Arc::new(Outside::new(&config, routines)));
            loaded = Some(Loaded { config, rewriter: Arc::new(rewriter) });
        }
    }
    Reading { loaded, sources, diagnostics, keys: Keys::default() }
}

/// Reads a configuration for a command that cannot work without: what is wrong is shown on standard error.
///
/// # Errors
/// [`Exit::Config`] when there are errors.
pub(crate) fn read_or_fail(path: &Path) -> Result<(Loaded, Sources), Failure> {
    or_fail(path, read(path))
}

/// As [`read_or_fail`], with other files in the place of databases.
///
/// # Errors
/// Also [`Exit::Usage`] for a database that is none, and [`Exit::Data`] for a file that cannot be read.
pub(crate) fn read_with(path: &Path, instead: &Instead) -> Result<(Loaded, Sources), Failure> {
    let mut databases = Vec::new();
    for option in &instead.database {
        let (name, file) = option.split_once('=').unwrap_or((option, ""));
        if file.is_empty() || !DATABASES.contains(&name) {
            let known = DATABASES.join(", ");
            let error = anyhow::anyhow!("--database {option}: write NAME=FILE, with a name among {known}");
            return Err(Failure::new(Exit::Usage, error));
        }
        let file = Path::new(file);
        let alone = Path::new(name).with_extension("txt");
        let (database, sources, diagnostics) =
            sluice_config::read_database(&Renamed { name: &alone, file }, Path::new(""), &alone);
        for diagnostic in diagnostics.iter().filter(|found| found.severity != Severity::Info) {
            crate::complain(&report::to_text(diagnostic, &sources));
        }
        let Some(database) = database.filter(|_| !errors_in(&diagnostics)) else {
            let error = anyhow::anyhow!("--database {option}: {} cannot be used", file.display());
            return Err(Failure::new(Exit::Data, error));
        };
        databases.push((name, database.without_places()));
    }
    let change = |config: &mut Config| {
        for (name, database) in databases {
            config.databases.set(name, database);
        }
    };
    or_fail(path, read_and_change(path, Strangers::Warn, change))
}

/// One file under another name, and all others under their own.
struct Renamed<'a> {
    name: &'a Path,
    file: &'a Path,
}

impl Files for Renamed<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Disk.read(if path == self.name { self.file } else { path })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        Disk.list(folder)
    }
}

/// The disk, with another text in the place of one file.
struct Draft<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Files for Draft<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == self.file { Ok(self.text.as_bytes().to_vec()) } else { Disk.read(path) }
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        Disk.modified(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Disk.list(folder)?;
        let name = self.file.file_name().map(|name| name.to_string_lossy().into_owned());
        if let Some(name) = name.filter(|name| self.file.parent() == Some(folder) && !names.contains(name)) {
            names.push(name);
            names.sort_unstable();
        }
        Ok(names)
    }
}

/// Says that a channel named on the command line is not there.
pub(crate) fn complain_of_channel(config: &Config, channel: &str) {
    if config.channels.by_name(channel).is_none() {
        let names = config.channels.iter().map(|channel| channel.name.as_str());
        let hint = sluice_diag::nearest(channel, names).map(|name| format!("; did you mean `{name}`?"));
        let hint = hint.unwrap_or_default();
        crate::complain(&format!("there is no channel `{channel}` in the configuration{hint}"));
    }
}

fn or_fail(path: &Path, reading: Reading) -> Result<(Loaded, Sources), Failure> {
    if let Some(loaded) = reading.loaded {
        return Ok((loaded, reading.sources));
    }
    // Remarks about what has no effect would hide the mistakes; `sluice check` shows them.
    for diagnostic in reading.diagnostics.iter().filter(|found| found.severity != Severity::Info) {
        crate::complain(&report::to_text(diagnostic, &reading.sources));
    }
    let tally = report::tally(&reading.diagnostics);
    Err(Failure::new(Exit::Config, anyhow::anyhow!("{} cannot be used: {tally}", path.display())))
}

/// The control socket of the hub that runs with the configuration at `path`. Only `option.dat` is looked at, so that a
/// mistake elsewhere does not keep an operator from a hub that still runs with what it read before.
pub(crate) fn control_socket(common: &Common) -> Result<PathBuf, Failure> {
    if let Some(spool) = &common.spool {
        return Ok(control_in(spool));
    }
    Ok(read_options(&common.config)?.control_socket)
}

/// The folder of the mail log that the configuration's hub writes, found as [`control_socket`] finds its socket.
pub(crate) fn log_dir(common: &Common) -> Result<PathBuf, Failure> {
    if let Some(spool) = &common.spool {
        return Ok(spool.join(sluice_config::LOG_DIR));
    }
    Ok(read_options(&common.config)?.log_dir)
}

/// The folder of the configuration's spool, found in the same way.
pub(crate) fn spool_dir(common: &Common) -> Result<PathBuf, Failure> {
    if let Some(spool) = &common.spool {
        return Ok(spool.clone());
    }
    Ok(read_options(&common.config)?.spool_dir)
}

fn read_options(path: &Path) -> Result<Options, Failure> {
    if !path.exists() {
        let error =
            anyhow::anyhow!("there is no configuration {}; name its folder with --config", path.display());
        return Err(Failure::new(Exit::Config, error));
    }
    let (options, sources, diagnostics) = sluice_config::read_options(&Disk, &place(path));
    if errors_in(&diagnostics) {
        for diagnostic in &diagnostics {
            crate::complain(&report::to_text(diagnostic, &sources));
        }
        let error = anyhow::anyhow!("the options of {} cannot be used", path.display());
        return Err(Failure::new(Exit::Config, error));
    }
    Ok(options)
}

/// The password file of the configuration at `path`. As with [`control_socket`], only `option.dat` is looked at.
pub(crate) fn password_file(path: &Path) -> Result<PathBuf, Failure> {
    match read_options(path)?.password_file {
        Some((file, _)) => Ok(file),
        None => {
            let error = anyhow::anyhow!(
                "{} has no password file; write `PASSWORD_FILE=passwords` into its option.dat, or name one with --file",
                path.display()
            );
            Err(Failure::new(Exit::Config, error))
        }
    }
}

/// The main file of the configuration at `path`.
pub(crate) fn main_file(path: &Path) -> PathBuf {
    sluice_config::main_file_of(&Disk, &place(path))
}

/// The file of sites and activators of the configuration at `path`.
pub(crate) fn site_file(path: &Path) -> PathBuf {
    sluice_config::site_file_of(&Disk, &place(path))
}

/// The folder that the configuration at `path` stands in.
pub(crate) fn folder(path: &Path) -> PathBuf {
    match place(path) {
        Place::Folder(folder) => folder,
        Place::File(file) => match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        },
    }
}

/// A folder, or a lone file, which may be a pipe (`--config <(make-rules)`). What is not there is taken for what its name
/// looks like, and reading it then says that it is missing.
fn place(path: &Path) -> Place {
    let named_like_a_file = path.extension().is_some_and(|extension| extension == "cnf");
    let is_folder = path.metadata().map_or(!named_like_a_file, |metadata| metadata.is_dir());
    if is_folder { Place::Folder(path.to_owned()) } else { Place::File(path.to_owned()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Place and code of each diagnostic of a main file.
    fn places(name: &str, text: &str) -> Vec<String> {
        let path = std::env::temp_dir().join(format!("sluice-load-{name}-{}.cnf", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let reading = read(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(reading.loaded.is_none(), errors_in(&reading.diagnostics));
        let shown = reading.diagnostics.iter().map(|diagnostic| {
            let position = reading.sources.position(diagnostic.span.unwrap());
            format!("{}:{} {}", position.line, position.column, diagnostic.code.name)
        });
        shown.collect()
    }

    #[test]
    fn mistakes_in_rules_and_in_channels_are_reported_together() {
        let text = "a.*.com $U%$H@TAG\nb $U%$Y@TAG\nc $U\nd $U@TGA\ne $U@TAG$Mtcp_y\nf $U@TAG\nf $U@h\ng\n\n\
l\nh\n\ntcp_x smtp nologgin port x\nTAG\n";
        assert_eq!(
            places("all", text),
            [
                "1:1 rewrite-asterisk-not-leading",
                "2:6 rewrite-unknown-sequence",
                "3:3 rewrite-template-shape",
                "4:6 rewrite-no-channel-host",
                "5:9 rewrite-unknown-channel",
                "7:1 rewrite-unreachable-rule",
                "8:1 rule-without-template",
                "13:12 unknown-channel-keyword",
                "13:26 bad-argument",
            ]
        );
    }

    #[test]
    fn a_mistake_in_the_channel_table_is_not_reported_again_by_the_rules() {
        assert_eq!(places("local", "a $U@h\n\ntcp_x smtp\nTAG\n"), ["3:1 first-channel-not-local"]);
        assert_eq!(places("host", "a $U@TAG\n\nl\nh\n\ntcp_x smtp\n\n"), ["6:1 no-official-host"]);
        assert_eq!(
            places("name", "a $U@TAG$Mtcp_xy\n\nl\nh\n\ntcp-xy smtp\nTAG\n"),
            ["6:1 bad-channel-name"]
        );
        assert_eq!(
            places("double", "a $U@TAG\n\nl\nh\n\ntcp_x smtp\nx\n\ntcp_x smtp\nTAG\n"),
            ["9:1 duplicate-channel"]
        );
    }

    #[test]
    fn what_is_missing_is_named_as_it_was_written() {
        assert_eq!(place(Path::new("/no/such/site.cnf")), Place::File("/no/such/site.cnf".into()));
        assert_eq!(place(Path::new("/no/such/folder")), Place::Folder("/no/such/folder".into()));
        assert_eq!(place(Path::new("/")), Place::Folder("/".into()));
        assert_eq!(place(Path::new("/dev/null")), Place::File("/dev/null".into()));
    }

    #[test]
    fn the_codes_asked_for_exist() {
        let known = |name: &&str| {
            sluice_config::codes().iter().chain(sluice_rewrite::codes()).any(|code| code.name == *name)
        };
        assert!(
            ABOUT_CHANNELS.iter().chain(&HIDES_NAMES).chain(&ABOUT_THE_WHOLE).chain([&STRANGER]).all(known)
        );
    }
}
