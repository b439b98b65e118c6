//! The plan of an import: which files the new folder gets, and every change in them.
//!
//! Nothing is written here and the new folder is not looked at; files come through [`Files`], so that tests run in
//! memory. What the new configuration means is looked at in `survey`.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use sluice_config::Files;

use super::edit::{Lines, base_name, included, list_file, option, section};
use super::finding::{Finding, Kind};
use super::survey;
use crate::cli::Product;

/// The text databases that are read where the products read compiled ones.
const TEXT_DATABASES: [&str; 5] = ["general.txt", "domain.txt", "alias.txt", "reverse.txt", "forward.txt"];
/// Longest file that is taken for configuration; a queue or a log that lies about is not read into memory.
const FILE_SIZE_MAX: usize = 256 << 20;
/// Delivery programs of the products and the plugins that do their work.
const PLUGINS: [(&str, &str); 14] = [
    ("tcp_smtp_client", "tcp"),
    ("tcp_smtp_master", "tcp"),
    ("tcp_master", "tcp"),
    ("mtcp_smtp_client", "tcp"),
    ("l_master", "local"),
    ("local_master", "local"),
    ("bitbucket_master", "bitbucket"),
    ("bitbucket", "bitbucket"),
    ("pipe_master", "pipe"),
    ("pipe", "pipe"),
    ("reprocess", "reprocess"),
    ("process", "reprocess"),
    ("conversion", "conversion"),
    ("defragment", "defragment"),
];

/// What an import does.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The files of the new folder.
    pub(crate) files: Vec<Planned>,
    pub(crate) findings: Vec<Finding>,
    /// Whether the new configuration is free of errors.
    pub(crate) loads: bool,
}

/// A file of the new folder.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) from: PathBuf,
    pub(crate) bytes: Vec<u8>,
    /// Lines that differ from the old file.
    pub(crate) changed: u32,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("cannot list the folder {}", .folder.display())]
    List { folder: PathBuf, source: io::Error },
    #[error("there is no {wanted} in {}{hint}", .folder.display())]
    NoMainFile { folder: PathBuf, wanted: &'static str, hint: &'static str },
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is larger than any configuration", .path.display())]
    TooLarge { path: PathBuf },
}

/// What a file is, which decides what is changed in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Dispatcher,
    JobController,
    Aliases,
    Other,
}

/// Plans the import of the folder `from` into `to`.
pub(crate) fn plan(files: &dyn Files, product: Product, from: &Path, to: &Path) -> Result<Plan, PlanError> {
    let listing =
        files.list(from).map_err(|source| PlanError::List { folder: from.to_path_buf(), source })?;
    let known = by_name(&listing);
    let (wanted, other, hint) = match product {
        Product::Pmdf => {
            ("pmdf.cnf", "imta.cnf", "; there is an imta.cnf: import it with `sluice import imta`")
        }
        Product::Imta => {
            ("imta.cnf", "pmdf.cnf", "; there is a pmdf.cnf: import it with `sluice import pmdf`")
        }
    };
    let Some(main) = known.get(wanted) else {
        let hint = if known.contains_key(other) { hint } else { "" };
        return Err(PlanError::NoMainFile { folder: from.to_path_buf(), wanted, hint });
    };
    let mut planner = Planner {
        files,
        from,
        known: &known,
        names: BTreeMap::new(),
        waiting: VecDeque::new(),
        planned: Vec::new(),
        findings: Vec::new(),
    };
    planner.take(&from.join(main), "sluice.cnf", Role::Other);
    for (name, real) in &known {
        let role = match name.as_str() {
            "dispatcher.cnf" => Role::Dispatcher,
            "job_controller.cnf" => Role::JobController,
            "aliases" => Role::Aliases,
            "mappings" | "option.dat" | "conversions" => Role::Other,
            name if TEXT_DATABASES.contains(&name) || name.ends_with("_option") => Role::Other,
            _ => continue,
        };
        planner.take(&from.join(real), name, role);
    }
    while let Some((path, name, role)) = planner.waiting.pop_front() {
        planner.file(path, name, role)?;
    }
    let Planner { planned, mut findings, names, .. } = planner;
    for (name, real) in &known {
        if !names.contains_key(&from.join(real)) {
            findings.extend(left_behind(name, real));
        }
    }
    let (found, loads) = survey::survey(&planned, to);
    findings.extend(found);
    findings
        .sort_by(|one, other| (one.kind, &one.file, one.line).cmp(&(other.kind, &other.file, other.line)));
    Ok(Plan { files: planned, findings, loads })
}

/// The files of a folder by their names as UNIX would write them: VMS has capitals, versions, and a dot at the end of
/// `MAPPINGS.` and `ALIASES.`. Of several versions the latest counts.
fn by_name(listing: &[String]) -> BTreeMap<String, String> {
    let version = |name: &str| name.rsplit_once(';').and_then(|(_, version)| version.parse::<u64>().ok());
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for real in listing {
        let name = base_name(real).trim_end_matches('.').to_lowercase();
        let better = known.get(&name).is_none_or(|other| (version(real), real) > (version(other), other));
        if !name.is_empty() && better {
            known.insert(name, real.clone());
        }
    }
    known
}

struct Planner<'a> {
    files: &'a dyn Files,
    from: &'a Path,
    known: &'a BTreeMap<String, String>,
    /// Old files, and their names in the new folder.
    names: BTreeMap<PathBuf, String>,
    waiting: VecDeque<(PathBuf, String, Role)>,
    planned: Vec<Planned>,
    findings: Vec<Finding>,
}

impl Planner<'_> {
    /// Puts a file on the list; gives the name that it has in the new folder.
    fn take(&mut self, path: &Path, wanted: &str, role: Role) -> String {
        if let Some(name) = self.names.get(path) {
            return name.clone();
        }
        let mut name = wanted.to_owned();
        let mut number = 2;
        while self.names.values().any(|other| *other == name) {
            name = format!("{wanted}.{number}");
            number += 1;
        }
        self.names.insert(path.to_path_buf(), name.clone());
        self.waiting.push_back((path.to_path_buf(), name.clone(), role));
        name
    }

    fn file(&mut self, path: PathBuf, name: String, role: Role) -> Result<(), PlanError> {
        let bytes =
            self.files.read(&path).map_err(|source| PlanError::Read { path: path.clone(), source })?;
        if bytes.len() > FILE_SIZE_MAX {
            return Err(PlanError::TooLarge { path });
        }
        let mut lines = Lines::new(&bytes);
        match role {
            Role::Dispatcher => self.dispatcher(&mut lines, &name),
            Role::JobController => self.job_controller(&mut lines, &name),
            Role::Aliases | Role::Other => {}
        }
        self.includes(&mut lines, &name, role);
        self.planned.push(Planned { name, from: path, changed: lines.changed(), bytes: lines.into_bytes() });
        Ok(())
    }

    /// Lines that name other files: those are taken along, and named as they are called in the new folder.
    fn includes(&mut self, lines: &mut Lines, name: &str, role: Role) {
        for index in 0..lines.len() {
            let line = lines.text(index);
            let range = match included(&line) {
                Some(file) => {
                    let start = line.find(file).unwrap_or(1);
                    start..start + file.len()
                }
                None if role == Role::Aliases && !line.starts_with('!') => match list_file(&line) {
                    Some(range) => range,
                    None => continue,
                },
                None => continue,
            };
            let old = line[range.clone()].to_owned();
            let place = Some(index as u32 + 1);
            let Some((path, wanted)) = self.find(&old) else {
                let missing =
                    Finding::new(Kind::Decide, format!("<{old}"), "the included file was not found");
                self.findings.push(
                    missing.at(name, place).fix(
                        "put it into the folder that is imported, or take the line out, and import again",
                    ),
                );
                continue;
            };
            let new = self.take(&path, &wanted, if role == Role::Aliases { role } else { Role::Other });
            if new != old {
                lines.replace(index, &format!("{}{new}{}", &line[..range.start], &line[range.end..]));
                let text = format!("is `<{new}` now, in the folder itself");
                self.findings.push(Finding::new(Kind::Changed, format!("<{old}"), text).at(name, place));
            }
        }
    }

    /// Where an included file is: as named, or, when the name is of another machine, beside the main file. With the
    /// name that it wants in the new folder.
    fn find(&self, name: &str) -> Option<(PathBuf, String)> {
        let base = base_name(name);
        let wanted = if base.chars().any(char::is_lowercase) { base.to_owned() } else { base.to_lowercase() };
        if base.is_empty() {
            return None;
        }
        let named = self.from.join(name.trim_matches('"'));
        if self.files.read(&named).is_ok() {
            return Some((named, wanted));
        }
        let here = self.known.get(base.trim_end_matches('.').to_lowercase().as_str())?;
        Some((self.from.join(here), wanted))
    }

    /// Sections of other servers are left out, programs and their surroundings are commented out.
    fn dispatcher(&mut self, lines: &mut Lines, name: &str) {
        for range in sections(lines) {
            let head = section(&lines.text(range.start)).filter(|(kind, _)| kind == "SERVICE");
            let image = range.clone().find_map(|index| {
                option(&lines.text(index))
                    .filter(|(name, _)| name == "IMAGE")
                    .map(|(_, value)| value.to_owned())
            });
            let place = Some(range.start as u32 + 1);
            if let Some((_, service)) = &head
                && let Some(image) = &image
                && !base_name(image).to_ascii_lowercase().contains("smtp_server")
            {
                range.for_each(|index| lines.comment_out(index));
                let text = format!("its program {image} is no SMTP server; the section is a comment now");
                let subject = format!("[SERVICE={service}]");
                self.findings.push(Finding::new(Kind::Dropped, subject, text).at(name, place));
                continue;
            }
            for index in range {
                let line = lines.text(index);
                let Some((option, value)) = option(&line) else { continue };
                let why = match option.as_str() {
                    "IMAGE" => "the server is a part of the hub",
                    "LOGFILE" => "the hub logs to standard error",
                    "USER" | "GROUP" => "the hub runs as the account that starts it",
                    _ => continue,
                };
                lines.comment_out(index);
                let text = format!("{why}; {value} is a comment now");
                self.findings
                    .push(Finding::new(Kind::Dropped, option, text).at(name, Some(index as u32 + 1)));
            }
        }
    }

    /// Delivery programs become plugins; periodic jobs and pollers are left out.
    fn job_controller(&mut self, lines: &mut Lines, name: &str) {
        for range in sections(lines) {
            let head = section(&lines.text(range.start));
            let place = Some(range.start as u32 + 1);
            match head.as_ref().map(|(kind, name)| (kind.as_str(), name)) {
                Some(("PERIODIC_JOB", job)) => {
                    range.for_each(|index| lines.comment_out(index));
                    let text = "periodic service and returns are a part of the hub (POST_INTERVAL, RETURN_INTERVAL); \
                                the section is a comment now";
                    let subject = format!("[PERIODIC_JOB={job}]");
                    self.findings.push(Finding::new(Kind::Dropped, subject, text).at(name, place));
                }
                Some(("CHANNEL", pattern)) => {
                    for index in range {
                        self.program(lines, index, pattern, name);
                    }
                }
                _ => {}
            }
        }
    }

    fn program(&mut self, lines: &mut Lines, index: usize, pattern: &str, name: &str) {
        let line = lines.text(index);
        let Some((option, value)) = option(&line) else { return };
        let place = Some(index as u32 + 1);
        let program = base_name(value).to_ascii_lowercase();
        let program = program.split_whitespace().next().unwrap_or_default();
        let program = program.trim_end_matches(".exe").trim_end_matches(".com");
        match option.as_str() {
            "MASTER_COMMAND" => {
                let plugin = PLUGINS.iter().find(|(other, _)| *other == program).map(|(_, plugin)| *plugin);
                let finding = match plugin {
                    Some(plugin) => {
                        lines.replace(index, &format!("MASTER_PLUGIN={plugin}"));
                        let text =
                            format!("{value} is `MASTER_PLUGIN={plugin}` now, for [CHANNEL={pattern}]");
                        Finding::new(Kind::Changed, option, text)
                    }
                    None => {
                        lines.comment_out(index);
                        let text = format!(
                            "no plugin stands for the program {value} of [CHANNEL={pattern}]; the line is a comment now"
                        );
                        Finding::new(Kind::Dropped, option, text)
                    }
                };
                self.findings.push(finding.at(name, place));
            }
            "SLAVE_COMMAND" if !value.eq_ignore_ascii_case("NULL") => {
                lines.comment_out(index);
                let text = format!(
                    "nothing polls for inbound mail ({value} of [CHANNEL={pattern}]); the line is a comment now"
                );
                self.findings.push(Finding::new(Kind::Dropped, option, text).at(name, place));
            }
            _ => {}
        }
    }
}

/// The sections of an option file, each with its heading; what stands in front of the first is a section too.
fn sections(lines: &Lines) -> Vec<std::ops::Range<usize>> {
    let mut starts = vec![0];
    starts.extend((1..lines.len()).filter(|index| lines.text(*index).trim_start().starts_with('[')));
    let ends = starts.iter().skip(1).copied().chain([lines.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// What is to be said about a file that is not taken along.
fn left_behind(name: &str, real: &str) -> Option<Finding> {
    let dropped = |text: &str| Some(Finding::new(Kind::Dropped, real, text));
    let ends = |with: &[&str]| with.iter().any(|end| name.ends_with(end));
    if name.ends_with("~") || ends(&[".bak", ".old", ".log"]) {
        return None;
    }
    if ends(&[".db", "db.dat", ".pag", ".dir"]) || name.ends_with("database.dat") {
        let text = "a compiled database, which nobody else can read";
        let into = TEXT_DATABASES.iter().find(|file| name.contains(file.trim_end_matches(".txt")));
        let into = into.map_or_else(|| TEXT_DATABASES.join(", or "), |file| (*file).to_owned());
        return Some(Finding::new(Kind::Decide, real, text).fix(format!(
            "write it out with the product's own dump utility, as key, blanks, value, into {into}; import again, or put the file \
             into the new folder"
        )));
    }
    match name {
        "imta_tailor" | "pmdf_tailor" => {
            dropped("where the products keep their files; option.dat says it here")
        }
        "charsets" | "charsets.txt" | "maximum.dat" => {
            dropped("sizes and character sets of the products' compiled tables")
        }
        _ if ends(&["headers.opt", "_headers"]) => dropped("header lines are not trimmed"),
        _ => dropped("not read"),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
