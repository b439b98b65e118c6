//! One function for each parser that takes what others have written: any bytes go in, nothing may panic, and what can be said
//! about the result in general is asserted.
//!
//! The fuzz targets call these with what the fuzzer makes up; an ordinary test (`tests/tests/fuzz_corpus.rs`) calls them with
//! the files of `corpus/` and with thousands of changed copies of those, so that a saved find is tried on every machine.
//!
//! # Not here
//! Whether what is parsed means the right thing: that is the business of the tests of each crate.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_config::{Config, Database, Image, MemoryFiles, Place};
use sluice_isolate::wire::{Frames, TO_HUB_MAX, ToHub};
use sluice_mail::{Address, Envelope};
use sluice_rewrite::mapping::{Flags, LonePattern, MappingTables};
use sluice_rewrite::{Context, Kind, NoLookups, Rewriter, Trace};
use sluice_smtp::reply::ReplyReader;
use sluice_smtp::{command, content};
use sluice_spool::{Disk, Options, Spool};

/// A parser under test.
pub type Body = fn(&[u8]);

/// Every body with its name: that of its target and of its folder in `corpus/`.
pub const BODIES: [(&str, Body); 16] = [
    ("main_file", main_file),
    ("configuration_line", configuration_line),
    ("template", template),
    ("mappings", mappings),
    ("pattern", pattern),
    ("aliases", aliases),
    ("database", database),
    ("options", options),
    ("header", header),
    ("address", address),
    ("smtp_command", smtp_command),
    ("smtp_content", smtp_content),
    ("smtp_reply", smtp_reply),
    ("envelope", envelope),
    ("control", control),
    ("isolated", isolated),
];

/// The spool is slower, for it has files: it is called less often.
pub const SPOOL: (&str, Body) = ("spool", spool);

/// Addresses that are rewritten with every configuration.
const PROBES: [&str; 6] = ["u@a.b", "u%x@h", "a!u@h", "@a,@b:u@c", "u", "u@[10.1.2.3]"];

fn read(files: &MemoryFiles) -> Option<Config> {
    let place = Place::Folder(PathBuf::from("c"));
    let (config, sources, diagnostics) = sluice_config::read(files, &place);
    for remark in &diagnostics {
        // Every remark can be drawn.
        assert!(!remark.render(&sources).is_empty());
    }
    let errors = sluice_diag::errors_in(&diagnostics);
    assert_eq!(config.is_some(), !errors, "there is a configuration exactly when there is no error");
    config
}

fn rewrite(config: Config) {
    let (rewriter, _) = Rewriter::compile(Arc::new(config));
    let context = Context { kind: Kind::EnvelopeTo, source_channel: "l", destination_channel: None };
    for probe in PROBES {
        let address = Address::parse(probe).expect("a good address");
        let mut trace = Trace::new();
        let looked_at = rewriter.route(&address, &context, Some(&mut trace));
        // `$W` gives another text each time, so only the way is the same.
        let way = rewriter.route(&address, &context, None).map(|route| route.channel);
        assert_eq!(looked_at.map(|route| route.channel).ok(), way.ok(), "looking on changes nothing");
        let _ = rewriter.expand(&address, "someone@far.example", &context, None);
    }
}

/// A whole main file. What is printed of it reads as the same rules and prints as the same text.
pub fn main_file(bytes: &[u8]) {
    let Some(config) = read(&MemoryFiles::new().with("c/sluice.cnf", bytes)) else { return };
    let text = sluice_config::print(&config);
    let (again, ..) = sluice_config::read_text(&text);
    let again = again.unwrap_or_else(|| panic!("the printed text is refused:\n{text}"));
    assert_eq!(sluice_config::print(&again), text);
    rewrite(config);
}

/// The keywords of a channel.
pub fn configuration_line(bytes: &[u8]) {
    let line: Vec<u8> = bytes.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    let text = [b". $U%$H@TCP\n\nl\nh\n\ntcp_x ", line.as_slice(), b"\nTCP\n"].concat();
    read(&MemoryFiles::new().with("c/sluice.cnf", text));
}

/// The template of a rewrite rule, and the rewriting of addresses with it.
pub fn template(bytes: &[u8]) {
    let line: Vec<u8> = bytes.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    let text =
        [b"a.b ", line.as_slice(), b"\n. ", &line, b"\nx|. $U%$H@TCP\n\nl\nh\n\ntcp_x smtp\nTCP\n"].concat();
    let files = MemoryFiles::new()
        .with("c/sluice.cnf", text)
        .with("c/general.txt", "a $U%x@TCP\n")
        .with("c/mappings", "T\n\n *  $0$Y\n");
    if let Some(config) = read(&files) {
        rewrite(config);
    }
}

/// A mapping file, each table asked with a few texts.
pub fn mappings(bytes: &[u8]) {
    let path = Path::new("c/mappings");
    let (mappings, sources, diagnostics) =
        sluice_config::read_mappings(&MemoryFiles::new().with("c/mappings", bytes), path);
    assert!(diagnostics.iter().all(|remark| !remark.render(&sources).is_empty()));
    let (tables, _) = MappingTables::compile(&mappings);
    let names: Vec<String> = tables.names().map(str::to_owned).collect();
    for name in names {
        for text in ["", "TCP|10.0.0.1|25|10.1.2.3|4711", "a@b.c|d|$0", "tcp_local|u@a|l|v@b"] {
            let answer = tables.probe(&name, text, Flags::NONE, &NoLookups).expect("the table exists");
            assert_eq!(answer.matched(), answer.output.is_some());
        }
    }
}

/// A pattern in the first line, the text that it is compared with behind it.
pub fn pattern(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (pattern, text) = text.split_once('\n').unwrap_or((&text, "a1.b2|c"));
    match LonePattern::read(pattern) {
        Ok(pattern) => {
            assert!(pattern.elements().iter().all(|(words, _)| !words.is_empty()), "elements have words");
            let taken = pattern.matches(text).unwrap_or_default();
            assert!(
                taken.iter().all(|part| text.contains(part.as_str())),
                "wildcards take parts of the text"
            );
        }
        Err(mistakes) => assert!(
            mistakes.iter().all(|mistake| pattern.get(mistake.place.clone()).is_some()),
            "mistakes have places"
        ),
    }
}

/// The alias file, and a list that it may name.
pub fn aliases(bytes: &[u8]) {
    let main = "h $U@h\n. $U%$H@TCP\n\nl\nh\n\ntcp_x smtp\nTCP\n";
    let files = MemoryFiles::new().with("c/sluice.cnf", main).with("c/aliases", bytes).with("c/list", bytes);
    let Some(config) = read(&files) else { return };
    let names: Vec<String> = config.aliases.iter().map(|alias| alias.name.clone()).collect();
    let (rewriter, _) = Rewriter::compile(Arc::new(config));
    let context = Context { kind: Kind::EnvelopeTo, source_channel: "l", destination_channel: None };
    for name in names {
        if let Ok(address) = Address::parse(&format!("{name}@h")) {
            let _ = rewriter.expand(&address, "someone@far.example", &context, None);
        }
    }
}

/// The same text as each of the option files.
pub fn options(bytes: &[u8]) {
    let files = MemoryFiles::new()
        .with("c/sluice.cnf", "h $U@h\n\nl\nh\n\ntcp_x smtp\nTCP\n\nconversion\nCONVERSION\n")
        .with("c/option.dat", bytes)
        .with("c/conversions", bytes)
        .with("c/dispatcher.cnf", bytes)
        .with("c/job_controller.cnf", bytes)
        .with("c/tcp_x_option", bytes)
        .with("c/general.txt", bytes);
    read(&files);
}

/// Octets that stay as they are.
#[derive(Debug)]
struct Octets(Vec<u8>);

impl Image for Octets {
    fn octets(&self) -> Option<&[u8]> {
        Some(&self.0)
    }
}

/// A compiled database: first the octets as they are, then the text in front of the first zero, compiled and damaged in the places
/// that the rest names, three octets for each. A damaged one is refused, or it answers as the whole one does, or not at all.
pub fn database(bytes: &[u8]) {
    let _ = Database::from_image(bytes.to_vec());
    let end = bytes.iter().position(|octet| *octet == 0).unwrap_or(bytes.len());
    let Ok(text) = std::str::from_utf8(&bytes[..end]) else { return };
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let whole = Database::from_pairs(pairs);
    let mut image = whole.image().to_vec();
    for change in bytes[end..].get(1..).unwrap_or_default().chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % image.len();
        image[at] ^= change[2];
    }
    let changed = image != whole.image();
    assert_eq!(Database::from_image(image.clone()).is_err(), changed, "all damage is found");
    let Ok(opened) = Database::from_map(Arc::new(Octets(image))) else { return };
    for (key, value) in whole.iter() {
        assert!(opened.get(key).is_err() || opened.get(key) == Ok(Some(value)), "{key:?}");
    }
    assert!(opened.get("a key that nobody has").is_err() || opened.get("a key that nobody has") == Ok(None));
    let _ = (opened.iter().count(), opened.with_brackets().count(), opened.sources().count());
}

/// A header and its addresses.
pub fn header(bytes: &[u8]) {
    let found = sluice_rewrite::header::HeaderAddresses::read(bytes, Some(4096));
    let _ = found.is_empty();
}

/// An address; what was read reads the same again.
pub fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(address) = Address::parse(text) {
        let written = address.to_string();
        if written.len() <= Address::LENGTH_MAX {
            assert_eq!(Address::parse(&written).as_ref(), Ok(&address), "{text:?} is written {written:?}");
        }
    }
}

/// Command lines, one after the other.
pub fn smtp_command(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let _ = command::parse(line);
    }
}

/// Content behind DATA: the same whatever the pieces it comes in.
pub fn smtp_content(bytes: &[u8]) {
    let whole = receive(bytes, usize::MAX);
    for size in [1, 2, 7, 64] {
        assert_eq!(receive(bytes, size), whole, "in pieces of {size}");
    }
}

fn receive(bytes: &[u8], size: usize) -> (Vec<u8>, Option<usize>, bool) {
    let mut reader = content::Content::new(content::Rules::default());
    let mut kept = Vec::new();
    let mut used = 0;
    for piece in bytes.chunks(size.clamp(1, bytes.len().max(1))) {
        match reader.feed(piece, &mut kept) {
            content::Fed::More => used += piece.len(),
            content::Fed::End(here) => {
                return (kept_of(&reader, kept), Some(used + here), reader.fault().is_some());
            }
        }
    }
    (kept_of(&reader, kept), None, reader.fault().is_some())
}

/// What is kept of a message that is refused is nobody's business.
fn kept_of(reader: &content::Content, kept: Vec<u8>) -> Vec<u8> {
    if reader.fault().is_some() { Vec::new() } else { kept }
}

/// Replies of another server: the same whatever the pieces.
pub fn smtp_reply(bytes: &[u8]) {
    let whole = replies(bytes, usize::MAX);
    for size in [1, 3, 100] {
        assert_eq!(replies(bytes, size), whole, "in pieces of {size}");
    }
}

fn replies(bytes: &[u8], size: usize) -> (Vec<(u16, String)>, bool) {
    let mut reader = ReplyReader::new();
    let mut found = Vec::new();
    for mut piece in bytes.chunks(size.clamp(1, bytes.len().max(1))) {
        while !piece.is_empty() {
            match reader.read(&mut piece) {
                Ok(Some(reply)) => found.push((reply.code, reply.text())),
                Ok(None) => {}
                Err(_) => return (found, false),
            }
        }
    }
    (found, true)
}

/// An envelope from the spool; one that is read is written as it was, in the form of today.
pub fn envelope(bytes: &[u8]) {
    if let Ok(envelope) = Envelope::decode(bytes) {
        let written = envelope.encode();
        assert_eq!(Envelope::decode(&written).as_ref(), Ok(&envelope));
    }
}

/// Lines of the control socket, of both sides.
pub fn control(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(request) = serde_json::from_slice::<sluice_admin::Request>(line) {
            let written = serde_json::to_vec(&request).expect("a request can be written");
            let again: sluice_admin::Request = serde_json::from_slice(&written).expect("and read again");
            assert_eq!(again, request);
        }
        let _ = serde_json::from_slice::<sluice_admin::Line>(line);
    }
}

/// A spool with two messages of which a part is overwritten: the first byte says where, the rest with what. Opening it either
/// fails or finds no more than was there, and what is found can be asked for.
pub fn spool(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Options { segment_size: 8192, journal_size: 4096, ..Options::default() };
    let open = || Spool::open(Arc::new(Disk::open(folder.path()).expect("a folder")), settings.clone());
    {
        let (spool, _) = open().expect("a new spool");
        for text in ["one", "two"] {
            let (sender, receiver) = std::sync::mpsc::channel();
            let done = move |result| sender.send(result).expect("somebody waits");
            spool.draft().commit(text.into(), b"body\r\n".to_vec(), done);
            receiver.recv().expect("an answer").expect("the message is kept");
        }
        spool.close();
    }
    let Some((place, over)) = bytes.split_first() else { return };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    let Some(file) = files.get(usize::from(place & 7) % files.len().max(1)) else { return };
    let mut content = std::fs::read(file).expect("a file of the spool");
    let from = (usize::from(place >> 3) * 24).min(content.len());
    let end = (from + over.len()).min(content.len());
    content[from..end].copy_from_slice(&over[..end - from]);
    std::fs::write(file, content).expect("a file of the spool");
    if let Ok((spool, recovered)) = open() {
        assert!(recovered.entries.len() <= 2, "{} entries of two", recovered.entries.len());
        for live in &recovered.entries {
            let _ = spool.read(live.at);
        }
        spool.close();
    }
}

/// What the child of an isolated channel says: frames, and what can be said of each.
pub fn isolated(bytes: &[u8]) {
    let mut frames = Frames::new(TO_HUB_MAX);
    for part in bytes.chunks(700) {
        let room = frames.room();
        room[..part.len()].copy_from_slice(part);
        frames.came(part.len());
        loop {
            match frames.next_frame() {
                Ok(Some((kind, body))) => {
                    assert!(body.len() <= TO_HUB_MAX);
                    if let Ok(ToHub::Finished { outcomes, .. }) = ToHub::read(kind, body) {
                        assert!(outcomes.iter().all(|(_, outcome)| outcome.text().len() < 3000));
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}
