//! `sluice test match`: what a pattern of the mapping file makes of a text.

use serde_json::{Value, json};
use sluice_rewrite::mapping::LonePattern;

use crate::cli::{Format, TestMatch};
use crate::commands::test_mapping::inputs;
use crate::exit::{Exit, Failure};
use crate::output;

/// Shows the pattern, then each text. No configuration is read.
pub(crate) fn test_match(test: &TestMatch) -> Result<Exit, Failure> {
    let pattern = match LonePattern::read(&test.pattern) {
        Ok(pattern) => pattern,
        Err(mistakes) => {
            for mistake in &mistakes {
                let column = test.pattern[..mistake.place.start].chars().count() + 1;
                crate::complain(&format!(
                    "column {column} of the pattern: {}; {}",
                    mistake.message, mistake.help
                ));
            }
            let error = anyhow::anyhow!("`{}` is no pattern", test.pattern);
            return Err(Failure::new(Exit::Data, error));
        }
    };
    let elements = pattern.elements();
    let in_json: Vec<Value> =
        elements.iter().map(|(words, kept)| json!({ "element": words, "wildcard": kept })).collect();
    if test.format == Format::Text {
        output::line(&format!("Pattern: {}", test.pattern))?;
        for (index, (words, kept)) in elements.iter().enumerate() {
            let mark = if kept.is_some() { 'S' } else { ' ' };
            output::line(&format!("[{:3}{mark}] {words}", index + 1))?;
        }
    }
    for input in inputs(&test.inputs)? {
        let taken = pattern.matches(&input);
        output::line(&match test.format {
            Format::Json => json!({
                "pattern": test.pattern,
                "elements": in_json,
                "input": input,
                "matched": taken.is_some(),
                "wildcards": taken,
            })
            .to_string(),
            Format::Text => text(&input, taken.as_deref()),
        })?;
    }
    Ok(Exit::Ok)
}

/// The lines that PMDF's own test shows.
fn text(input: &str, taken: Option<&[String]>) -> String {
    let Some(taken) = taken else { return format!("Target: {input}\nNo match.") };
    let wildcards = taken.iter().enumerate().map(|(number, text)| format!("\n{number} - {text}"));
    format!("Target: {input}\nMatch.{}", wildcards.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_lines_that_people_look_for() {
        assert_eq!(text("a", None), "Target: a\nNo match.");
        assert_eq!(text("ab", Some(&["a".to_owned(), String::new()])), "Target: ab\nMatch.\n0 - a\n1 - ");
        assert_eq!(text("ab", Some(&[])), "Target: ab\nMatch.");
    }
}
