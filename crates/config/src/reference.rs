//! The pages of `docs/reference/` that are made from the tables of this crate.
//!
//! A test compares them with the files; `UPDATE_REFERENCE=1 cargo test -p sluice-config` writes them.

use crate::conversions::{ConversionUse, ConversionValue, conversion_parameters};
use crate::keyword::{KeywordInfo, Origin, Status, keywords};
use crate::sites::{SiteSection, site_options};
use crate::tables::option_tables;
use crate::tables::products::UNUSED;
use sluice_diag::Code;
use std::fmt::Write as _;

/// The page of channel keywords.
#[must_use]
pub fn reference_keywords() -> String {
    let mut page = String::from(
        "# Channel keywords\n\n\
         Every word that may stand on the first line of a channel block, or on a `defaults` line. Case does not count, and \
         only the first 32 characters do. Where two keywords set the same thing the rightmost wins.\n\n\
         *Status* says what this release makes of a keyword: **acts**, **partly** (the note says what is missing), or \
         **recognised**: it is read and checked, and changes nothing. A keyword in *italics* is what holds when none of its kind \
         is written. *Of* says whose word it is: PMDF's (P), Messaging Server's (M), both (B), or Sluice's own (S). Those that do not act whole are listed, \
         with the reason, in [keywords-without-effect.md](keywords-without-effect.md).\n",
    );
    for area in areas() {
        let _ = write!(page, "\n## {}\n\n", heading(area));
        page.push_str("| Keyword | Argument | Status | Of | Meaning |\n|---|---|---|---|---|\n");
        for info in keywords().iter().filter(|info| info.area == area) {
            keyword_row(info, &mut page);
        }
    }
    page
}

fn keyword_row(info: &KeywordInfo, page: &mut String) {
    let name = if info.default { format!("*`{}`*", info.name) } else { format!("`{}`", info.name) };
    let origin = match info.origin {
        Origin::Pmdf => "P",
        Origin::Oracle => "M",
        Origin::Both => "B",
        Origin::Ours => "S",
    };
    let note = if info.note.is_empty() { String::new() } else { format!(" ({})", info.note) };
    let argument = info.arguments.describe();
    let status = strong(info.status);
    let _ = writeln!(page, "| {name} | {argument} | {status} | {origin} | {}{note} |", cell(info.meaning));
}

/// The page of keywords that change nothing here, or not everything that they say, each with the reason.
#[must_use]
pub fn reference_without_effect() -> String {
    let short = |info: &&KeywordInfo| info.status != Status::Acts;
    let partly = keywords().iter().filter(|info| info.status == Status::Partly).count();
    let recognised = keywords().iter().filter(|info| info.status == Status::Recognised).count();
    let all = keywords().len();
    let mut page = format!(
        "# Keywords without effect\n\n\
         Of {all} channel keywords {} do here what the books say. This page lists the others and says why: {partly} that act in part, \
         and {recognised} that are read, checked and kept, and change nothing. None of them stops a configuration from being used; \
         `sluice check` names those of a configuration once, and `sluice explain KEYWORD` shows the same text for each.\n\n\
         *Always so* means that the hub behaves as if the keyword were written on every channel.\n",
        all - partly - recognised
    );
    for area in areas() {
        let rows: Vec<_> = keywords().iter().filter(short).filter(|info| info.area == area).collect();
        if rows.is_empty() {
            continue;
        }
        let _ = write!(page, "\n## {}\n\n", heading(area));
        page.push_str("| Keyword | Status | Would mean | Why not here |\n|---|---|---|---|\n");
        for info in rows {
            let status = info.status.as_str();
            let _ = writeln!(
                page,
                "| `{}` | {status} | {} | {} |",
                info.name,
                cell(info.meaning),
                cell(info.note)
            );
        }
    }
    page
}

fn areas() -> Vec<&'static str> {
    let mut areas: Vec<&str> = keywords().iter().map(|info| info.area).collect();
    areas.sort_unstable();
    areas.dedup();
    areas
}

/// The page of options.
#[must_use]
pub fn reference_options() -> String {
    let mut page = String::from(
        "# Options\n\n\
         Option files have one `NAME=value` on a line. `!`, `#` or `;` in column one makes a comment, `<` in column one includes a \
         file, `\\` at the end continues a line. Case does not count in names. Integers may have a base: `16%ff` is 255. Relative paths start from \
         the configuration folder. An option that is **recognised** is accepted and changes nothing in this release.\n",
    );
    for table in option_tables() {
        let _ = write!(page, "\n## {}\n\n{}\n\n", table.file, table.about);
        page.push_str("| Option | Value | Default | Status | Meaning |\n|---|---|---|---|---|\n");
        for info in table.options {
            let (kind, status) = (info.kind.describe(), strong(info.status));
            let _ = writeln!(
                page,
                "| `{}` | {kind} | {} | {status} | {} |",
                info.name,
                cell(info.default),
                cell(info.help)
            );
        }
    }
    page.push_str(
        "\n## option.dat, options of the products\n\n\
         These are known too, from PMDF or Messaging Server, and change nothing here. `*` stands for any characters.\n\n\
         | Why | Options |\n|---|---|\n",
    );
    for unused in UNUSED {
        let names: Vec<String> = unused.names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(page, "| {} | {} |", cell(unused.why), names.join(" "));
    }
    page
}

/// The page of `sites.cnf`.
#[must_use]
pub fn reference_sites() -> String {
    let mut page = String::from(
        "# Sites and activators\n\n\
         The file `sites.cnf` in the configuration folder says who is given what mail when he asks for it (sites), and whom this hub asks \
         for its own (activators). It has the form of the other [option files](options.md): sections `[SITE=name]` and `[ACTIVATOR=name]` \
         with one `NAME=value` on a line. `sluice site add` and `sluice activator add` write it. Without the file there are none of either, \
         and ETRN follows the channels alone.\n\n\
         ```\n[SITE=branch7]\nDOMAINS=branch7.example.com, @b7.example.com\nLOGIN=branch7\nTIER=dynamic\nLIFETIME=30d\n\n\
         [ACTIVATOR=provider]\nSERVER=mail.provider.example\nNAMES=@example.com\nSCHEDULE=every 30m; weekdays 08:00\n```\n",
    );
    for section in SiteSection::ALL {
        let _ = write!(page, "\n## [{}=name]\n\n", section.as_str());
        let options = || site_options().iter().filter(move |option| option.section == section);
        page.push_str("| Option | Value | Default | Meaning |\n|---|---|---|---|\n");
        for option in options() {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                option.name,
                cell(option.value),
                cell(option.default),
                cell(option.help)
            );
        }
        for option in options() {
            let again = if option.repeats {
                " It may stand more than once: each line adds to those above."
            } else {
                ""
            };
            let _ = write!(page, "\n### {}\n\n{} {}{again}\n", option.name, option.help, option.long);
        }
    }
    page
}

/// The table of parameters on the page of the file `conversions`.
#[must_use]
pub fn reference_conversions() -> String {
    let mut page = String::new();
    for (part, heading) in [
        (ConversionUse::Condition, "For which parts"),
        (ConversionUse::Action, "What is done"),
        (ConversionUse::Elsewhere, "Of the products: an entry with one of these is skipped"),
        (ConversionUse::PassedOver, "Of the products: passed over"),
    ] {
        let _ = write!(page, "\n### {heading}\n\n| Parameter | Value | Meaning |\n|---|---|---|\n");
        for one in conversion_parameters().iter().filter(|one| one.part == part) {
            let mut name = format!("`{}{}`", one.name, if one.name.ends_with('-') { "N" } else { "" });
            if !one.also.is_empty() {
                let _ = write!(name, ", `{}`", one.also);
            }
            let value = match one.value {
                ConversionValue::Pattern => "pattern".to_owned(),
                ConversionValue::Token => "word".to_owned(),
                ConversionValue::Text => "text".to_owned(),
                ConversionValue::Switch => "0 or 1".to_owned(),
                ConversionValue::HeaderFile => "0, 1 or 2".to_owned(),
                ConversionValue::Variable => "name".to_owned(),
                ConversionValue::Words(words) => words.join(", "),
            };
            let _ = writeln!(page, "| {name} | {value} | {} |", cell(one.meaning));
        }
    }
    page
}

/// The page of diagnostics, in the order of their names.
#[must_use]
pub fn reference_diagnostics(codes: &[&'static Code]) -> String {
    let mut page = String::from(
        "# Diagnostics\n\n\
         What `sluice check` can say about a configuration. The name stands in brackets behind the severity; \
         `sluice explain NAME` shows the same text. A configuration with an error is not used; warnings and remarks do not stop \
         anything. What can be said about the meaning of rewrite rules is explained in [rewrite-rules.md](rewrite-rules.md).\n",
    );
    let mut sorted = codes.to_vec();
    sorted.sort_by_key(|code| code.name);
    for code in sorted {
        let _ = write!(
            page,
            "\n## {}\n\n*{}*: {}\n\n{}\n",
            code.name, code.severity, code.summary, code.explanation
        );
    }
    page
}

fn strong(status: Status) -> String {
    match status {
        Status::Acts => "acts".to_owned(),
        other => format!("**{}**", other.as_str()),
    }
}

fn heading(area: &str) -> String {
    let mut chars = area.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
