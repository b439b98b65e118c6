//! Runs the pages beside this file: prose for operators, with configurations and what must become of addresses.
//!
//! A page holds fenced blocks. Those that set the scene:
//! `sluice.cnf` (a whole configuration), `channels` (a channel table for the page) with `rules` (used with that table),
//! `hosted` (domains for which `$V` holds), `database NAME` (the text of a database), `mappings` (the mapping file) and `file
//! NAME` (another neighbour of the main file, such as `aliases`). Those that ask:
//!
//! * `routes`: `address → channel, address after rewriting`, then, when it matters, `via ROUTING-SYSTEM`,
//!   `final ADDRESS` and `host HOST`; or `address → refused: TEXT`, with `status 5.1.2` in front of the text when it
//!   matters. In front of the address, in brackets, the circumstances: `[header-from from tcp_local to tcp_site]`.
//! * `expansions`: `address → recipient, recipient`, in order; behind a recipient `from SENDER`, `up to N octets`, `up to N
//!   lines` and `held` when it has these. In front of the address, in brackets, the envelope sender.
//! * `steps`: an address and how it is expanded.
//! * `header`: a header, and in the `becomes` block behind it what it is in the copy. Behind the word, when it matters, `from
//!   CHANNEL`, `to CHANNEL` and `client NAME`. Without `becomes` the header must stay as it is, octet for octet.
//! * `probes`: an address and the patterns it is compared with, in order.
//! * `trace`: an address and all that is said about it.
//! * `remarks`: what is said about the rules when they are read, as `line:column code: message`.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_config::{MemoryFiles, Place};
use sluice_diag::Sources;
use sluice_mail::Address;
use sluice_rewrite::header::HeaderAddresses;
use sluice_rewrite::{AliasStep, Context, Expansion, Kind, Rejected, Rewriter, Step, Trace};

struct Scene {
    rewriter: Rewriter,
    sources: Sources,
    remarks: Vec<String>,
}

impl Scene {
    fn new(text: &str, hosted: &[String], neighbours: &[(String, String)]) -> Scene {
        let mut files = MemoryFiles::new().with("sluice.cnf", text);
        for (name, text) in neighbours {
            files = files.with(name, text.as_str());
        }
        let (config, sources, diagnostics) =
            sluice_config::read(&files, &Place::File(PathBuf::from("sluice.cnf")));
        let said: Vec<String> = diagnostics.iter().map(|diagnostic| diagnostic.render(&sources)).collect();
        let config = config.unwrap_or_else(|| panic!("not a configuration:\n{text}\n{}", said.join("\n")));
        let (rewriter, diagnostics) = Rewriter::compile(Arc::new(config));
        let remarks = diagnostics
            .iter()
            .map(|remark| {
                let position = sources.position(remark.span.expect("a remark about a rule has a place"));
                format!("{position} {}: {}", remark.code.name, remark.message)
            })
            .collect();
        let hosted = hosted.to_vec();
        let rewriter = rewriter.with_hosted(move |domain| hosted.iter().any(|name| name == domain));
        Scene { rewriter, sources, remarks }
    }

    fn trace(&self, address: &str) -> Trace {
        let mut trace = Trace::new();
        let context = Context { kind: Kind::EnvelopeTo, source_channel: "l", destination_channel: None };
        let address = Address::parse(address).unwrap();
        let _ = self.rewriter.route(&address, &context, Some(&mut trace));
        trace
    }

    fn expand(&self, address: &str, sender: &str, steps: &mut Vec<AliasStep>) -> Result<Expansion, Rejected> {
        let context = Context { kind: Kind::EnvelopeTo, source_channel: "l", destination_channel: None };
        let address = Address::parse(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        self.rewriter.expand(&address, sender, &context, Some(steps))
    }

    /// The answer to one line of an `expansions` block.
    fn expansion(&self, question: &str) -> String {
        let (sender, address) = match question.strip_prefix('[') {
            Some(rest) => rest.split_once("] ").expect("the sender ends with a bracket and a blank"),
            None => ("someone@far.example", question),
        };
        match self.expand(address, sender, &mut Vec::new()) {
            Ok(expansion) => {
                let words = expansion.recipients.iter().map(|recipient| {
                    let sender = recipient.sender.as_ref().map(|sender| format!(" from {sender}"));
                    let held = if recipient.held { " held" } else { "" };
                    let octets = recipient.size_max.map(|octets| format!(" up to {octets} octets"));
                    let lines = recipient.lines_max.map(|lines| format!(" up to {lines} lines"));
                    let marks = [sender, octets, lines].into_iter().flatten().collect::<String>();
                    format!("{}{marks}{held}", recipient.route.final_address())
                });
                let lost =
                    expansion.lost.iter().map(|(address, why)| format!("lost {address}: {}", why.text));
                words.chain(lost).collect::<Vec<_>>().join(", ")
            }
            Err(rejected) => format!("refused: {}", rejected.text),
        }
    }

    /// A header as the copy has it.
    fn header(&self, circumstances: &str, text: &str) -> String {
        let mut context = Context { kind: Kind::HeaderTo, source_channel: "l", destination_channel: None };
        let mut client = None;
        let mut words = circumstances.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "from" => context.source_channel = words.next().unwrap(),
                "to" => context.destination_channel = words.next(),
                "client" => client = words.next(),
                other => panic!("{other:?} is neither from, to nor client"),
            }
        }
        let wire = text.replace('\n', "\r\n");
        let addresses = HeaderAddresses::read(wire.as_bytes(), None);
        let edited = self.rewriter.edit_header(wire.as_bytes(), &addresses, &context, client, &|| false);
        assert!(edited.bad_reversals.is_empty(), "{:?}", edited.bad_reversals);
        let mut out = Vec::new();
        edited.edits.apply(wire.as_bytes(), &mut out);
        String::from_utf8(out).unwrap().replace("\r\n", "\n")
    }

    /// The answer to one line of a `routes` block, in the words of the expectation.
    fn answer(&self, question: &str, expected: &str) -> String {
        let (circumstances, address) =
            match question.strip_prefix('[').filter(|_| !question.starts_with("[]")) {
                Some(rest) => rest.split_once("] ").expect("circumstances end with a bracket and a blank"),
                None => ("", question),
            };
        let mut context = Context { kind: Kind::EnvelopeTo, source_channel: "l", destination_channel: None };
        let mut words = circumstances.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "from" => context.source_channel = words.next().unwrap(),
                "to" => context.destination_channel = words.next(),
                kind => context.kind = Kind::from_name(kind).unwrap_or_else(|| panic!("no kind {kind}")),
            }
        }
        let address = Address::parse(address.trim()).unwrap_or_else(|e| panic!("{address}: {e}"));
        let route = match self.rewriter.route(&address, &context, None) {
            Ok(route) => route,
            Err(rejected) if expected.contains("status") => {
                return format!("refused: status {} {}", rejected.status, rejected.text);
            }
            Err(rejected) => return format!("refused: {}", rejected.text),
        };
        let mut answer = format!("{}, {}", route.channel, route.address);
        for part in expected.split(", ").skip(2) {
            let _ = match part.split_once(' ') {
                Some(("via", _)) => write!(answer, ", via {}", route.routing_system),
                Some(("final", _)) => write!(answer, ", final {}", route.final_address()),
                Some(("host", _)) => write!(answer, ", host {}", route.host()),
                _ => panic!("{part:?} is neither via, final nor host"),
            };
        }
        answer
    }
}

/// Runs one page; gives the number of things that were compared.
fn page(path: &Path) -> (usize, Vec<String>) {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    let (mut channels, mut hosted, mut neighbours) = (String::new(), Vec::new(), Vec::new());
    let mut scene: Option<Scene> = None;
    let (mut compared, mut wrong) = (0, Vec::new());
    let mut compare = |line: usize, what: &str, found: &str, expected: &str| {
        compared += 1;
        if found != expected {
            wrong.push(format!("{name}:{line}: {what}\n  expected  {expected}\n  found     {found}"));
        }
    };
    let mut lines = text.lines().enumerate();
    while let Some((fence, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else { continue };
        let block: Vec<(usize, &str)> = lines
            .by_ref()
            .take_while(|(_, line)| *line != "```")
            .map(|(number, line)| (number + 1, line))
            .collect();
        let plain = || block.iter().map(|(_, line)| format!("{line}\n")).collect::<String>();
        let rows = || block.iter().filter(|(_, line)| !line.trim().is_empty());
        let asked = || scene.as_ref().unwrap_or_else(|| panic!("{name}:{}: no configuration yet", fence + 1));
        match kind {
            "sluice.cnf" => scene = Some(Scene::new(&plain(), &hosted, &neighbours)),
            "channels" => channels = plain(),
            "rules" => scene = Some(Scene::new(&format!("{}\n{channels}", plain()), &hosted, &neighbours)),
            kind if kind == "mappings" || kind.starts_with("database ") || kind.starts_with("file ") => {
                let name = match kind.split_once(' ') {
                    Some(("database", name)) => format!("{name}.txt"),
                    Some((_, name)) => name.to_owned(),
                    None => kind.to_owned(),
                };
                neighbours.retain(|(other, _)| *other != name);
                neighbours.push((name, plain()));
            }
            "expansions" => {
                for (number, line) in rows() {
                    let (question, expected) =
                        line.split_once('→').unwrap_or_else(|| panic!("{name}:{number}: no arrow"));
                    compare(*number, question.trim(), &asked().expansion(question.trim()), expected.trim());
                }
            }
            kind if kind == "header" || kind.starts_with("header ") => {
                let given = plain();
                let found = asked().header(kind.trim_start_matches("header"), &given);
                let mut ahead = lines.clone();
                let becomes = loop {
                    match ahead.next() {
                        Some((_, "```becomes")) => break true,
                        Some((_, line)) if line.starts_with("```") => break false,
                        Some(_) => {}
                        None => break false,
                    }
                };
                let expected = if becomes {
                    lines = ahead;
                    lines
                        .by_ref()
                        .take_while(|(_, line)| *line != "```")
                        .map(|(_, line)| format!("{line}\n"))
                        .collect()
                } else {
                    given
                };
                compare(fence + 1, "header", &format!("\n{found}"), &format!("\n{expected}"));
            }
            "steps" => {
                let mut rows = rows();
                let address = rows.next().unwrap().1;
                let expected: Vec<&str> = rows.map(|(_, line)| *line).collect();
                let mut steps = Vec::new();
                let _ = asked().expand(address, "", &mut steps);
                let found: Vec<String> = steps.iter().map(ToString::to_string).collect();
                compare(fence + 1, address, &found.join("\n"), &expected.join("\n"));
            }
            "hosted" => hosted = rows().map(|(_, line)| (*line).to_owned()).collect(),
            "routes" => {
                for (number, line) in rows() {
                    let (question, expected) =
                        line.split_once('→').unwrap_or_else(|| panic!("{name}:{number}: no arrow"));
                    let expected = expected.trim();
                    compare(*number, question.trim(), &asked().answer(question.trim(), expected), expected);
                }
            }
            "probes" => {
                let mut rows = rows();
                let address = rows.next().unwrap().1;
                let probed = asked().trace(address).steps.into_iter().filter_map(|step| match step {
                    Step::Probe { pattern, .. } => Some(pattern),
                    _ => None,
                });
                let expected: Vec<&str> = rows.map(|(_, line)| *line).collect();
                compare(fence + 1, address, &probed.collect::<Vec<_>>().join(" "), &expected.join(" "));
            }
            "trace" => {
                let mut rows = rows();
                let address = rows.next().unwrap().1;
                let expected: Vec<&str> = rows.map(|(_, line)| *line).collect();
                let found = asked().trace(address).lines(&asked().sources).join("\n");
                compare(fence + 1, address, &found, &expected.join("\n"));
            }
            "remarks" => {
                let expected: Vec<&str> = rows().map(|(_, line)| *line).collect();
                compare(fence + 1, "remarks", &asked().remarks.join("\n"), &expected.join("\n"));
            }
            other => panic!("{name}:{}: a block of unknown kind {other:?}", fence + 1),
        }
    }
    (compared, wrong)
}

#[test]
fn every_page_says_what_happens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut pages: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    assert!(pages.len() >= 9, "some pages are missing: {pages:?}");
    let mut wrong = Vec::new();
    for path in pages {
        let (compared, mut in_page) = page(&path);
        assert!(compared > 0, "{} compares nothing", path.display());
        wrong.append(&mut in_page);
    }
    assert!(wrong.is_empty(), "{} differences\n\n{}", wrong.len(), wrong.join("\n\n"));
}
