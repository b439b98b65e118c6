//! `sluice explain`: what a diagnostic's code or a channel keyword means.

use serde_json::json;
use sluice_config::KeywordInfo;
use sluice_diag::Code;

use crate::cli::{Explain, Format};
use crate::exit::{Exit, Failure};
use crate::output;

/// Every code that any part of the program can give.
pub(crate) fn codes() -> impl Iterator<Item = &'static Code> {
    let of_rules = sluice_rewrite::codes().iter().chain(sluice_rewrite::mapping::codes());
    let of_program = crate::access::CODES.into_iter().chain(crate::routines::CODES);
    sluice_config::codes().iter().chain(of_rules).copied().chain(of_program)
}

/// Explains a word: a code first, a keyword otherwise.
pub(crate) fn explain(explain: &Explain) -> Result<Exit, Failure> {
    let word = explain.word.to_lowercase();
    if let Some(code) = codes().find(|code| code.name == word) {
        match explain.format {
            Format::Json => output::line(
                &json!({
                    "code": code.name,
                    "severity": code.severity.as_str(),
                    "summary": code.summary,
                    "explanation": code.explanation,
                })
                .to_string(),
            )?,
            Format::Text => output::line(&format!(
                "{}[{}]: {}\n\n{}",
                code.severity, code.name, code.summary, code.explanation
            ))?,
        }
        return Ok(Exit::Ok);
    }
    if let Some(keyword) = sluice_config::keyword(&word) {
        match explain.format {
            Format::Json => output::line(&keyword_json(keyword).to_string())?,
            Format::Text => output::line(&keyword_text(keyword))?,
        }
        return Ok(Exit::Ok);
    }
    let known =
        codes().map(|code| code.name).chain(sluice_config::keywords().iter().map(|keyword| keyword.name));
    let hint = sluice_diag::nearest(&word, known).map(|name| format!("; did you mean `{name}`?"));
    let error = anyhow::anyhow!(
        "`{word}` is no diagnostic's code and no channel keyword{}",
        hint.unwrap_or_default()
    );
    Err(Failure::new(Exit::Data, error))
}

fn keyword_json(keyword: &KeywordInfo) -> serde_json::Value {
    json!({
        "keyword": keyword.name,
        "argument": keyword.arguments.describe(),
        "group": keyword.group,
        "default": keyword.default,
        "status": keyword.status.as_str(),
        "note": keyword.note,
        "area": keyword.area,
        "meaning": keyword.meaning,
        "source": sluice_config::sources(keyword),
    })
}

fn keyword_text(keyword: &KeywordInfo) -> String {
    let mut text = format!("{} (channel keyword, {})\n\n{}\n\n", keyword.name, keyword.area, keyword.meaning);
    let argument = keyword.arguments.describe();
    text.push_str(&format!("argument: {}\n", if argument.is_empty() { "none" } else { &argument }));
    text.push_str(&format!("default:  {}\n", if keyword.default { "yes" } else { "no" }));
    text.push_str(&format!("status:   {}", keyword.status.as_str()));
    if !keyword.note.is_empty() {
        text.push_str(&format!(": {}", keyword.note));
    }
    for source in sluice_config::sources(keyword) {
        text.push_str(&format!("\nsource:   {source}"));
    }
    let siblings = sluice_config::keywords()
        .iter()
        .filter(|other| keyword.group.is_some() && other.group == keyword.group && other.name != keyword.name)
        .map(|other| other.name)
        .collect::<Vec<_>>();
    if !siblings.is_empty() {
        text.push_str(&format!("\ninstead:  {} (the rightmost on a channel wins)", siblings.join(", ")));
    }
    text
}
