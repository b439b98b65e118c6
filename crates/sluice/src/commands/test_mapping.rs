//! `sluice test mapping`: what a mapping table makes of a text.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use sluice_config::DATABASES;
use sluice_diag::{Severity, errors_in};
use sluice_rewrite::mapping::{Answer, Flags, MappingTables};

use crate::cli::{Format, TestMapping};
use crate::exit::{Exit, ExitWith, Failure};
use crate::load::{self, Disk};
use crate::lookups::Outside;
use crate::routines::Routines;
use crate::{output, report};

/// Asks the table for each input in turn. Only the mapping file and the databases beside it are read.
pub(crate) fn test_mapping(test: &TestMapping) -> Result<Exit, Failure> {
    let file = mapping_file(&test.common.config);
    let databases = databases(&test.instead.database)?;
    let (mappings, databases, sources, mut diagnostics) =
        sluice_config::read_mappings_and_databases(&Disk, &file, &databases);
    let (tables, found) = MappingTables::compile(&mappings);
    diagnostics.extend(found);
    for diagnostic in diagnostics.iter().filter(|remark| remark.severity != Severity::Info) {
        crate::complain(&report::to_text(diagnostic, &sources));
    }
    if errors_in(&diagnostics) {
        let tally = report::tally(&diagnostics);
        let error = anyhow::anyhow!("{} cannot be used: {tally}", file.display());
        return Err(Failure::new(Exit::Config, error));
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    // Which plugins may be called is in the rest of the configuration; a lone mapping file calls none.
    let calls = tables.routines().next().is_some();
    let whole =
        if calls && file != test.common.config { load::read(&test.common.config).loaded } else { None };
    let routines = whole.map(|loaded| Routines::new(&loaded.config));
    if calls && routines.is_none() {
        crate::complain(
            "routines are not called: there is no configuration that can be used beside the mapping file",
        );
    }
    let outside = Outside::of(databases, folder, routines);
    let flags: Flags = test.flags.chars().collect();
    for input in inputs(&test.inputs)? {
        let input = input.as_ref();
        let Some(answer) = tables.probe(&test.table, input, flags, &outside) else {
            let hint = sluice_diag::nearest(&test.table.to_uppercase(), tables.names())
                .map(|name| format!("; did you mean `{name}`?"));
            let error = anyhow::anyhow!(
                "there is no mapping table `{}` in {}{}",
                test.table,
                file.display(),
                hint.unwrap_or_default()
            );
            return Err(Failure::new(Exit::Data, error));
        };
        for warning in &answer.warnings {
            crate::complain(warning);
        }
        output::line(&match test.common.format {
            Format::Json => json!({
                "table": test.table,
                "input": input,
                "matched": answer.matched(),
                "output": answer.output,
                "flags": answer.flags.to_string(),
            })
            .to_string(),
            Format::Text => text(input, &answer),
        })?;
    }
    Ok(Exit::Ok)
}

/// The texts of the command line, or the lines of standard input.
pub(crate) fn inputs(arguments: &[String]) -> Result<Vec<Cow<'_, str>>, Failure> {
    if !arguments.is_empty() {
        return Ok(arguments.iter().map(|argument| Cow::Borrowed(argument.as_str())).collect());
    }
    let lines = std::io::stdin().lines().map(|line| line.map(Cow::Owned));
    lines.collect::<Result<_, _>>().context("cannot read standard input").exit_with(Exit::Data)
}

/// The lines that PMDF's own test shows.
fn text(input: &str, answer: &Answer) -> String {
    let Some(output) = &answer.output else { return format!("Input string:  {input}\nNo match.") };
    let flags: Vec<String> =
        answer.flags.iter().map(|flag| format!("'{flag}' ({})", u32::from(flag))).collect();
    format!("Input string:  {input}\nOutput string: {output}\nOutput flags: [{}]", flags.join(", "))
}

/// The mapping file that is meant: the one in a folder, the one beside a main file, or the file itself.
fn mapping_file(config: &Path) -> PathBuf {
    if config.is_dir() {
        return config.join("mappings");
    }
    let name = config.file_name().unwrap_or_default();
    let is_main = ["sluice.cnf", "pmdf.cnf", "imta.cnf"].iter().any(|main| name.eq_ignore_ascii_case(main))
        || std::fs::read_to_string(config).is_ok_and(|text| begins_like_a_main_file(&text));
    if is_main { config.with_file_name("mappings") } else { config.to_owned() }
}

/// Does a main file of any name begin so? A mapping file begins with a word that stands alone, and its next line is blank or
/// indented.
fn begins_like_a_main_file(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.starts_with(['!', '<']));
    match lines.next() {
        Some(first) if first.starts_with(|c: char| !c.is_whitespace()) => {
            let alone = first.split_whitespace().count() == 1;
            !alone || lines.next().is_some_and(|next| next.starts_with(|c: char| !c.is_whitespace()))
        }
        _ => false,
    }
}

/// `general=FILE`, as often as wanted.
fn databases(arguments: &[String]) -> Result<Vec<(String, PathBuf)>, Failure> {
    let usage = |text: String| Failure::new(Exit::Usage, anyhow::anyhow!(text));
    arguments
        .iter()
        .map(|argument| {
            let (name, file) = argument
                .split_once('=')
                .ok_or_else(|| usage(format!("`{argument}` is not NAME=FILE, as in general=general.txt")))?;
            let name = name.to_lowercase();
            if !DATABASES.contains(&name.as_str()) {
                return Err(usage(format!("`{name}` is no database; they are {}", DATABASES.join(", "))));
            }
            Ok((name, PathBuf::from(file)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_files_and_mapping_files_are_told_apart() {
        for (text, is_main) in [
            ("! x\nA\n\n *  $Y\n", false),
            ("A\n *  $Y\n", false),
            ("\n\nA\n\n *  $Y\n", false),
            ("", false),
            ("a.b $U@c\n\nl\nh\n", true),
            ("l\nh\n", true),
        ] {
            assert_eq!(begins_like_a_main_file(text), is_main, "{text}");
        }
    }

    #[test]
    fn the_text_has_the_lines_that_people_look_for() {
        let mut answer = Answer { flags: "YD".chars().collect(), ..Answer::default() };
        assert_eq!(text("a", &answer), "Input string:  a\nNo match.");
        answer.output = Some("b".to_owned());
        assert_eq!(
            text("a", &answer),
            "Input string:  a\nOutput string: b\nOutput flags: ['D' (68), 'Y' (89)]"
        );
    }
}
