//! `sluice explain`: what a diagnostic's code, a channel keyword or an option means.

use serde_json::json;
use sluice_config::{KeywordInfo, OptionInfo, SITE_FILE, SiteOption, option_tables, site_options};
use sluice_diag::Code;

use crate::cli::{Explain, Format};
use crate::exit::{Exit, Failure};
use crate::output;

/// Every code that any part of the program can give.
pub(crate) fn codes() -> impl Iterator<Item = &'static Code> {
    let of_rules = sluice_rewrite::codes().iter().chain(sluice_rewrite::mapping::codes());
    let of_program =
        crate::access::CODES.into_iter().chain(crate::routines::CODES).chain(crate::filters::CODES);
    sluice_config::codes().iter().chain(of_rules).copied().chain(of_program)
}

/// Explains a word: a code first, a keyword or options of that name otherwise.
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
    let options = options_named(&word);
    if !options.is_empty() {
        for (at, option) in options.iter().enumerate() {
            match explain.format {
                Format::Json => output::line(&option.json().to_string())?,
                Format::Text if at > 0 => output::line(&format!("\n{}", option.text()))?,
                Format::Text => output::line(&option.text())?,
            }
        }
        return Ok(Exit::Ok);
    }
    let of_files = option_tables().into_iter().flat_map(|table| table.options).map(|option| option.name);
    let named = of_files.chain(site_options().iter().map(|option| option.name));
    let hint =
        sluice_diag::nearest(&word.to_uppercase(), named).map(|name| format!("; did you mean `{name}`?"));
    let known =
        codes().map(|code| code.name).chain(sluice_config::keywords().iter().map(|keyword| keyword.name));
    let hint = sluice_diag::nearest(&word, known).map(|name| format!("; did you mean `{name}`?")).or(hint);
    let error = anyhow::anyhow!(
        "`{word}` is no diagnostic's code, no channel keyword and no option{}",
        hint.unwrap_or_default()
    );
    Err(Failure::new(Exit::Data, error))
}

/// An option as its table has it.
struct Explained {
    name: &'static str,
    /// The file, with the section where that matters.
    place: String,
    value: String,
    default: &'static str,
    status: &'static str,
    meaning: String,
}

/// The options of that name, in whatever files.
fn options_named(word: &str) -> Vec<Explained> {
    let of_files = option_tables().into_iter().flat_map(|table| {
        let named = table.options.iter().filter(|option| option.name.eq_ignore_ascii_case(word));
        named.map(move |option: &OptionInfo| Explained {
            name: option.name,
            place: table.file.to_owned(),
            value: option.kind.describe(),
            default: option.default,
            status: option.status.as_str(),
            meaning: option.help.to_owned(),
        })
    });
    let of_sites = site_options().iter().filter(|option| option.name.eq_ignore_ascii_case(word));
    let of_sites = of_sites.map(|option: &SiteOption| Explained {
        name: option.name,
        place: format!("{SITE_FILE}, `[{}=name]`", option.section.as_str()),
        value: option.value.to_owned(),
        default: option.default,
        status: "acts",
        meaning: format!("{} {}", option.help, option.long),
    });
    of_files.chain(of_sites).collect()
}

impl Explained {
    fn json(&self) -> serde_json::Value {
        json!({
            "option": self.name,
            "place": self.place,
            "value": self.value,
            "default": self.default,
            "status": self.status,
            "meaning": self.meaning,
        })
    }

    fn text(&self) -> String {
        let Explained { name, place, value, default, status, meaning } = self;
        format!(
            "{name} (option, {place})\n\n{meaning}\n\nvalue:    {value}\ndefault:  {default}\nstatus:   {status}"
        )
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_explained_wherever_it_may_stand() {
        let places = |word: &str| -> Vec<String> {
            options_named(word).into_iter().map(|option| option.place).collect()
        };
        assert_eq!(places("release_records"), ["option.dat"]);
        assert_eq!(places("Domains"), ["sites.cnf, `[SITE=name]`"]);
        assert!(places("CHANNEL").contains(&"sites.cnf, `[ACTIVATOR=name]`".to_owned()));
        assert!(places("nonsense").is_empty());
        let option = &options_named("release_records_per_site")[0];
        assert_eq!((option.default, option.status), ("10", "acts"));
        assert!(option.text().contains("value:    integer 1–1000"), "{}", option.text());
        assert_eq!(option.json()["option"], "RELEASE_RECORDS_PER_SITE");
    }
}
