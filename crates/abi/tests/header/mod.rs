//! Makes `include/sluice.h` of the source text of the abi crate.
//!
//! The crate has only constants and plain structures, one item a line, so that a reader of lines is enough; what it
//! does not know, it refuses. Comments go along.

use std::fmt::Write;

const SOURCE: &str = include_str!("../../src/lib.rs");

/// Stands where `lib.rs` names it: what it needs is above.
const FILTER: &str = include_str!("../../src/filter.rs");

fn source_lines() -> impl Iterator<Item = &'static str> {
    SOURCE.lines().flat_map(|line| {
        let inner = if line == "mod filter;" { FILTER } else { line };
        inner.lines()
    })
}

const HEAD: &str = "\
/* Sluice: the contract between the hub and a channel plugin.
 *
 * Made from crates/abi/src/lib.rs; do not change it here. The document is docs/internals/abi.md: who owns which bytes
 * for how long, which thread may call what, and how the contract grows.
 *
 * SPDX-License-Identifier: Apache-2.0 OR MIT
 */
#ifndef SLUICE_H
#define SLUICE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern \"C\" {
#endif

/* Initialises a sluice_text with a string literal. */
#define SLUICE_TEXT(literal) { (const uint8_t *)(literal), sizeof(literal) - 1 }

/* Makes a symbol visible although the library is built with -fvisibility=hidden. */
#define SLUICE_EXPORT __attribute__((visibility(\"default\")))

";

const FOOT: &str = "\
/* Every plugin defines this one symbol. */
extern SLUICE_EXPORT const sluice_plugin_table sluice_plugin;

#ifdef __cplusplus
}
#endif

#endif
";

/// `Delivery` is `sluice_delivery`.
pub(crate) fn type_name(rust: &str) -> String {
    match rust {
        "OptionSpec" => "sluice_option_spec".to_owned(),
        // `sluice_plugin` is the symbol.
        "Plugin" => "sluice_plugin_table".to_owned(),
        "FilterMessage" => "sluice_filter_message".to_owned(),
        "FilterRecipient" => "sluice_filter_recipient".to_owned(),
        "FilterCall" => "sluice_filter_call".to_owned(),
        "FilterReply" => "sluice_filter_reply".to_owned(),
        "HeaderEdit" => "sluice_header_edit".to_owned(),
        other => format!("sluice_{}", other.to_lowercase()),
    }
}

/// The names that C or C++ keep for themselves get an underscore.
pub(crate) fn field_name(rust: &str) -> String {
    match rust {
        "default" | "class" => format!("{rust}_"),
        other => other.to_owned(),
    }
}

/// Name and value of each constant that is a number.
pub(crate) fn constants() -> Vec<(String, String)> {
    source_lines().filter_map(constant).map(|(name, _, value)| (name.to_owned(), value.to_owned())).collect()
}

fn constant(line: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = line.strip_prefix("pub const ")?.split_once(": ")?;
    let (kind, value) = rest.strip_suffix(';')?.split_once(" = ")?;
    matches!(kind, "u32" | "i32").then_some((name, kind, value))
}

/// The whole header.
pub(crate) fn generate() -> String {
    let mut out = HEAD.to_owned();
    let mut comment: Vec<String> = Vec::new();
    let mut lines = source_lines();
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("///") {
            comment.push(plain(text.trim()));
        } else if let Some((name, kind, value)) = constant(line) {
            write_comment(&mut out, "", &mut comment);
            let value = if kind == "u32" { format!("{value}u") } else { value.to_owned() };
            writeln!(out, "#define SLUICE_{name} {value}\n").unwrap();
        } else if let Some(name) = line.strip_prefix("pub struct ").and_then(|rest| rest.strip_suffix(" {")) {
            write_comment(&mut out, "", &mut comment);
            structure(&mut out, name, &mut lines);
        } else if !line.starts_with("#[") {
            comment.clear();
        }
    }
    out.push_str(FOOT);
    out
}

fn structure(out: &mut String, name: &str, lines: &mut impl Iterator<Item = &'static str>) {
    let name = type_name(name);
    let mut body = String::new();
    let mut comment = Vec::new();
    let mut declaration = String::new();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line == "}" {
            break;
        } else if let Some(text) = line.strip_prefix("///") {
            comment.push(plain(text.trim()));
        } else if line.starts_with("opaque:") {
            writeln!(out, "typedef struct {name} {name};\n").unwrap();
            // The opaque structure of Rust has no size; C only knows the name.
            assert_eq!(lines.next(), Some("}"));
            return;
        } else {
            declaration.push_str(line);
            // A field may be broken over several lines; it ends with a comma outside of all brackets.
            let same = |one: &str, other: usize| declaration.matches(one).count() == other;
            let angles = declaration.matches('>').count() - declaration.matches("->").count();
            let whole = same("(", declaration.matches(')').count()) && same("<", angles);
            if !declaration.ends_with(',') || !whole {
                declaration.push(' ');
                continue;
            }
            let field = std::mem::take(&mut declaration);
            let (field, kind) =
                field.strip_prefix("pub ").unwrap().strip_suffix(',').unwrap().split_once(": ").unwrap();
            write_comment(&mut body, "    ", &mut comment);
            writeln!(body, "    {};", declared(&field_name(field), kind)).unwrap();
        }
    }
    writeln!(out, "typedef struct {name} {{\n{body}}} {name};\n").unwrap();
}

/// A declaration of `name` with the Rust type `kind`.
fn declared(name: &str, kind: &str) -> String {
    let kind = kind.trim();
    if let Some(function) = kind.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')) {
        // A long type is broken over lines, with a comma at its end.
        let function = function.trim().trim_end_matches(',');
        let function = function.strip_prefix("unsafe extern \"C\" fn(").unwrap();
        let (parameters, result) = function.rsplit_once(')').unwrap();
        let result = result.trim().strip_prefix("-> ").map_or("void".to_owned(), |kind| declared("", kind));
        let parameters: Vec<String> = parameters
            .split(',')
            .map(str::trim)
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| {
                let (name, kind) = parameter.split_once(": ").unwrap_or(("", parameter));
                declared(name, kind)
            })
            .collect();
        return format!("{result} (*{name})({})", parameters.join(", "));
    }
    if let Some(array) = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let (kind, count) = array.split_once("; ").unwrap();
        return format!("{}[{count}]", declared(name, kind));
    }
    if let Some(to) = kind.strip_prefix("*const ") {
        // A pointer to constant data; behind it may be another pointer.
        return match to.starts_with('*') {
            true => declared(&format!("*{name}"), to),
            false => format!("const {}", declared(&format!("*{name}"), to)),
        };
    }
    if let Some(to) = kind.strip_prefix("*mut ") {
        return declared(&format!("*{name}"), to);
    }
    let c = match kind {
        "u8" => "uint8_t".to_owned(),
        "u16" => "uint16_t".to_owned(),
        "u32" => "uint32_t".to_owned(),
        "i32" => "int32_t".to_owned(),
        "u64" => "uint64_t".to_owned(),
        "usize" => "size_t".to_owned(),
        "c_void" => "void".to_owned(),
        name if name.chars().all(|letter| letter.is_ascii_alphabetic()) => type_name(name),
        other => panic!("the header generator does not know the type {other}"),
    };
    format!("{c} {name}").trim_end().to_owned()
}

/// Links of Rust's documentation become words.
fn plain(text: &str) -> String {
    text.replace("[`", "`").replace("`]", "`").replace("::", ".").replace('`', "")
}

fn write_comment(out: &mut String, indent: &str, comment: &mut Vec<String>) {
    match comment.as_slice() {
        [] => {}
        [one] => writeln!(out, "{indent}/* {one} */").unwrap(),
        [first, rest @ ..] => {
            writeln!(out, "{indent}/* {first}").unwrap();
            for line in rest {
                writeln!(out, "{}", format!("{indent} * {line}").trim_end()).unwrap();
            }
            writeln!(out, "{indent} */").unwrap();
        }
    }
    comment.clear();
}
