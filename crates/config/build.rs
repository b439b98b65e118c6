//! Makes the table of keywords from `data/keywords.tsv`, so that parser, reference and `sluice explain` have one source.
//!
//! A row that does not fit the columns stops the build with its line number.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

const TABLE: &str = "data/keywords.tsv";
const HEADER: &str = "keyword\targuments\tgroup\tdefault\torigin\tarea\timportance\tstatus\tmeaning\tnote";

fn main() {
    println!("cargo:rerun-if-changed={TABLE}");
    let text = fs::read_to_string(TABLE).unwrap_or_else(|error| panic!("{TABLE}: {error}"));
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(HEADER), "{TABLE}:1: unexpected columns");
    let mut entries = Vec::new();
    for (index, line) in lines.enumerate() {
        let entry = entry(line).unwrap_or_else(|what| panic!("{TABLE}:{}: {what}: {line}", index + 2));
        entries.push(entry);
    }
    entries.sort();
    for pair in entries.windows(2) {
        assert_ne!(pair[0].0, pair[1].0, "{TABLE}: a keyword stands there twice");
    }
    let mut code = String::from("static KEYWORDS: &[KeywordInfo] = &[\n");
    for (_, entry) in &entries {
        let _ = writeln!(code, "    {entry},");
    }
    code.push_str("];\n");
    let target = env::var("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    fs::write(Path::new(&target).join("keywords.rs"), code).expect("the build folder can be written");
}

fn entry(line: &str) -> Result<(String, String), String> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [name, arguments, group, default, origin, area, importance, status, meaning, note] = columns[..]
    else {
        return Err(format!("{} columns instead of 10", columns.len()));
    };
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if name.is_empty() || name.len() > 32 || !plain {
        return Err("a keyword has 1 to 32 lower-case letters, digits and underscores".to_owned());
    }
    let group = if group == "-" { "None".to_owned() } else { format!("Some({group:?})") };
    let default = match default {
        "yes" => true,
        "no" => false,
        _ => return Err("default is yes or no".to_owned()),
    };
    let origin = match origin {
        "pmdf" => "Pmdf",
        "oracle" => "Oracle",
        "both" => "Both",
        "ours" => "Ours",
        _ => return Err("origin is pmdf, oracle, both or ours".to_owned()),
    };
    let status = match status {
        "acts" => "Acts",
        "partly" => "Partly",
        "recognised" => "Recognised",
        _ => return Err("status is acts, partly or recognised".to_owned()),
    };
    if !matches!(importance, "1" | "2" | "3") {
        return Err("importance is 1, 2 or 3".to_owned());
    }
    if meaning.is_empty() {
        return Err("no meaning".to_owned());
    }
    let arguments = kind(arguments)?;
    let code = format!(
        "KeywordInfo {{ name: {name:?}, arguments: Arguments::{arguments}, group: {group}, default: {default}, \
         origin: Origin::{origin}, area: {area:?}, importance: {importance}, status: Status::{status}, \
         meaning: {meaning:?}, note: {note:?} }}"
    );
    Ok((name.to_owned(), code))
}

fn kind(text: &str) -> Result<String, String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let number = |default: u32| if rest.is_empty() { Ok(default) } else { rest.parse() };
    let wrong = |_| format!("`{rest}` is not a number");
    Ok(match (word, rest) {
        ("none", "") => "None".to_owned(),
        ("integer", "") => "Integer { least: 0, most: 2_147_483_647 }".to_owned(),
        ("integer", "any") => "Integer { least: -2_147_483_648, most: 2_147_483_647 }".to_owned(),
        ("integer", _) => {
            let (least, most) = rest.split_once('-').ok_or("an integer has a range like 0-3")?;
            let (least, most): (i64, i64) = (least.parse().map_err(wrong)?, most.parse().map_err(wrong)?);
            format!("Integer {{ least: {least}, most: {most} }}")
        }
        ("optional", "integer") => "OptionalInteger".to_owned(),
        ("integers", "1-5") => "Integers".to_owned(),
        ("durations", "1-8") => "Durations".to_owned(),
        ("seconds", "") => "Seconds".to_owned(),
        ("host", "") => "Host".to_owned(),
        ("hosts", "1-2") => "Hosts".to_owned(),
        ("peer", "") => "Peer".to_owned(),
        ("string", _) => format!("Text {{ most: {} }}", number(40).map_err(wrong)?),
        ("name", _) => format!("Name {{ most: {} }}", number(40).map_err(wrong)?),
        ("url", _) => format!("Url {{ most: {} }}", number(252).map_err(wrong)?),
        ("mailbox", "") => "Mailbox".to_owned(),
        ("channel", "") => "Channel".to_owned(),
        ("charset", "") => "Charset".to_owned(),
        ("language", "") => "Language".to_owned(),
        ("character", "") => "Character".to_owned(),
        ("address", "") => "Address".to_owned(),
        ("addresses", "") => "Addresses".to_owned(),
        _ => return Err(format!("`{text}` is no kind of argument")),
    })
}
