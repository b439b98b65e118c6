//! What an import found, for people and for programs.

use serde_json::json;

use super::plan::Plan;
use super::say;
use crate::cli::{Format, Import};
use crate::exit::Failure;

/// What becomes of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// It means here what it meant there.
    Works,
    /// It stands in the new folder in another form.
    Changed,
    /// It has no effect here, or was left behind.
    Dropped,
    /// Somebody has to decide.
    Decide,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Works, Kind::Changed, Kind::Dropped, Kind::Decide];

    /// The word in JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Works => "works",
            Kind::Changed => "changed",
            Kind::Dropped => "dropped",
            Kind::Decide => "decide",
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Kind::Works => "Works as it is",
            Kind::Changed => "Written in another form",
            Kind::Dropped => "Has no effect here",
            Kind::Decide => "To decide",
        }
    }
}

/// One thing worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    /// The file it is about, by its name in the new folder (in the old one, if it was left behind).
    pub(crate) file: Option<String>,
    /// Its line, from 1; the same in both folders.
    pub(crate) line: Option<u32>,
    /// A keyword, option, section, channel or file.
    pub(crate) subject: String,
    /// What there is to say.
    pub(crate) text: String,
    /// What to do.
    pub(crate) fix: Option<String>,
}

impl Finding {
    pub(crate) fn new(kind: Kind, subject: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding { kind, file: None, line: None, subject: subject.into(), text: text.into(), fix: None }
    }

    pub(crate) fn at(mut self, file: &str, line: Option<u32>) -> Finding {
        self.file = Some(file.to_owned());
        self.line = line;
        self
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Finding {
        self.fix = Some(fix.into());
        self
    }

    fn place(&self) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            _ => String::new(),
        }
    }
}

/// Writes the report: each finding under its heading, or a line of JSON for each.
pub(crate) fn show(plan: &Plan, import: &Import) -> Result<(), Failure> {
    match import.format {
        Format::Json => show_json(plan, import.dry_run),
        Format::Text => show_text(plan, import),
    }
}

fn show_json(plan: &Plan, dry_run: bool) -> Result<(), Failure> {
    for file in &plan.files {
        say(&json!({
            "kind": "file",
            "file": file.name,
            "from": file.from.display().to_string(),
            "changed_lines": file.changed,
            "written": !dry_run,
        })
        .to_string())?;
    }
    for finding in &plan.findings {
        say(&json!({
            "kind": finding.kind.as_str(),
            "file": finding.file,
            "line": finding.line,
            "subject": finding.subject,
            "text": finding.text,
            "fix": finding.fix,
        })
        .to_string())?;
    }
    Ok(())
}

fn show_text(plan: &Plan, import: &Import) -> Result<(), Failure> {
    let to = import.to.display();
    say(&match import.dry_run {
        true => format!("{to}: nothing is written; this is what would be"),
        false => format!("{to}: {} files written", plan.files.len()),
    })?;
    let width = plan.files.iter().map(|file| file.name.chars().count()).max().unwrap_or(0);
    for file in &plan.files {
        let changed = match file.changed {
            0 => "byte for byte".to_owned(),
            1 => "1 line changed".to_owned(),
            n => format!("{n} lines changed"),
        };
        say(&format!("  {:<width$}  {changed}, from {}", file.name, file.from.display()))?;
    }
    for kind in Kind::ALL {
        let mut found = plan.findings.iter().filter(|finding| finding.kind == kind).peekable();
        if found.peek().is_none() {
            continue;
        }
        say(&format!("\n{}", kind.heading()))?;
        for finding in found {
            say(&format!("  {}{}: {}", finding.place(), finding.subject, finding.text))?;
            if let Some(fix) = &finding.fix {
                say(&format!("      {fix}"))?;
            }
        }
    }
    let open = plan.findings.iter().filter(|finding| finding.kind == Kind::Decide).count();
    say(&format!("\n{open} to decide; then: sluice check --config {to}"))
}
