//! The layout of the contract as one text, and what a change of it means.
//!
//! A line for each constant and each structure, and below each structure a line for each field: offset, size, and how C declares it.
//! Libraries that were built against one state of this text go on being loaded, so what stands in it stays; the rules are those of
//! `docs/internals/abi.md`, "Versions".

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::{Layout, header};

/// Structures that are handed over as they are, or stand in rows without a stride: nobody could tell a longer one.
const FIXED: [&str; 2] = ["Text", "Piece"];

/// The text.
pub(crate) fn generate(layouts: &[Layout]) -> String {
    let mut out = String::from(
        "# What libraries rely on: see crates/abi/tests/snapshot/mod.rs. Written by `UPDATE_LAYOUT=1 cargo test -p sluice-abi`, after changes\n\
         # that keep every line that is here.\n",
    );
    for (name, value) in header::constants() {
        writeln!(out, "constant {name} {value}").unwrap();
    }
    let declared = header::generate();
    for layout in layouts {
        writeln!(out, "structure {} {} {}", layout.name, layout.size, layout.align).unwrap();
        let begin = format!("typedef struct {} {{\n", header::type_name(layout.name));
        let body = declared.split(&begin).nth(1).unwrap_or_else(|| panic!("no {begin}")).split("\n}").next();
        let mut fields = body.unwrap().lines().filter(|line| line.ends_with(';')).map(|line| line.trim());
        for (name, offset, size) in &layout.fields {
            let declaration = fields.next().unwrap_or_else(|| panic!("{}.{name}", layout.name));
            writeln!(out, "field {}.{name} {offset} {size} {declaration}", layout.name).unwrap();
        }
    }
    out
}

/// What a change means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Meaning {
    /// Libraries that are there could not be loaded any more, or would be misunderstood.
    Breaks(String),
    /// Libraries that are there do not see it.
    Adds(String),
}

/// Every difference of two such texts, the worst first.
pub(crate) fn compare(old: &str, new: &str) -> Vec<Meaning> {
    let (before, after) = (items(old), items(new));
    if before.get("constant ABI_VERSION") != after.get("constant ABI_VERSION") {
        return vec![Meaning::Adds(
            "another ABI_VERSION: no library of the old one is loaded any more".to_owned(),
        )];
    }
    let mut found = Vec::new();
    for (key, was) in &before {
        match after.get(key) {
            Some(is) if is == was => {}
            Some(is) => found.push(changed(key, was, is)),
            None if is_spare(key) && after.iter().any(|(other, is)| has_its_place(key, was, other, is)) => {}
            None => found.push(Meaning::Breaks(format!("{key} is gone: libraries use it"))),
        }
    }
    for (key, is) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
        found.push(added(key, is, &before));
    }
    found.sort();
    found
}

/// `constant NAME`, `structure NAME` or `field STRUCTURE.NAME`, and what stands behind it.
fn items(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let key = format!("{} {}", words.next().unwrap_or(""), words.next().unwrap_or(""));
            (key, words.next().unwrap_or("").to_owned())
        })
        .collect()
}

fn changed(key: &str, was: &str, is: &str) -> Meaning {
    let sizes = |text: &str| -> Vec<usize> { text.split(' ').filter_map(|word| word.parse().ok()).collect() };
    let Some(name) = key.strip_prefix("structure ") else {
        let what = if key.starts_with("constant ") { "number" } else { "place or type" };
        return Meaning::Breaks(format!(
            "{key} was `{was}` and is `{is}`: the {what} of what is published stays"
        ));
    };
    let (was, is) = (sizes(was), sizes(is));
    if FIXED.contains(&name) {
        return Meaning::Breaks(format!(
            "{name} has another size or alignment, and has none that it could be told by"
        ));
    }
    if is[0] < was[0] || is[1] != was[1] {
        return Meaning::Breaks(format!(
            "{name} was {was:?} and is {is:?}: a structure grows at its end, and never shrinks"
        ));
    }
    Meaning::Adds(format!(
        "{name} is longer: who reads what is new looks first whether `size`, or the stride, covers it; the old length stays its `SIZE_FIRST`"
    ))
}

/// A field that was kept free.
fn is_spare(key: &str) -> bool {
    key.rsplit('.').next().is_some_and(|field| field.starts_with("reserved"))
}

/// Whether a field has the place of one that was kept free, in the same structure.
fn has_its_place(spare: &str, was: &str, other: &str, is: &str) -> bool {
    let place = |text: &str| text.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
    spare.split('.').next() == other.split('.').next() && place(was) == place(is)
}

fn added(key: &str, is: &str, before: &BTreeMap<String, String>) -> Meaning {
    let Some((structure, _)) = key.strip_prefix("field ").and_then(|field| field.split_once('.')) else {
        return Meaning::Adds(format!("{key} is new: older libraries do not know it, and must do without"));
    };
    let length =
        before.get(&format!("structure {structure}")).and_then(|text| text.split(' ').next()?.parse().ok());
    let offset: usize = is.split(' ').next().and_then(|offset| offset.parse().ok()).unwrap_or(0);
    let taken = before.iter().any(|(other, was)| is_spare(other) && has_its_place(other, was, key, is));
    match length {
        None => Meaning::Adds(format!("{key} is new, with its structure")),
        Some(length) if offset >= length => {
            Meaning::Adds(format!("{key} is new, behind what older libraries know"))
        }
        Some(_) if taken => {
            Meaning::Adds(format!("{key} has the place of a word that was 0: 0 must mean what was before"))
        }
        Some(_) => Meaning::Breaks(format!("{key} stands in front of what older libraries know")),
    }
}
