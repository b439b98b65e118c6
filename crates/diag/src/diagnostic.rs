//! One remark about what was read, and the fixed kinds of remark.

use crate::{Sources, Span};
use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// What was read cannot be used.
    Error,
    /// It can be used, and probably does not do what was meant.
    Warning,
    /// Worth knowing once.
    Info,
}

impl Severity {
    /// `error`, `warning` or `info`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A kind of diagnostic: one `static` each, so that a name has one meaning and one explanation everywhere.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The name in kebab-case that stands in brackets behind the severity, and that `sluice explain` takes.
    pub name: &'static str,
    /// How bad it is unless a diagnostic says otherwise.
    pub severity: Severity,
    /// One line: what is wrong.
    pub summary: &'static str,
    /// Paragraphs (separated by a blank line): why it matters and how to put it right.
    pub explanation: &'static str,
}

/// One remark: what is wrong, where, and the way out if it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its kind.
    pub code: &'static Code,
    /// How bad it is in this case.
    pub severity: Severity,
    /// The headline: lower case, no full stop, understandable alone.
    pub message: String,
    /// Where; `None` when there is no text to point at (a file that is missing).
    pub span: Option<Span>,
    /// What to do.
    pub help: Option<String>,
    /// Other places that belong to it, such as the first of two duplicates.
    pub notes: Vec<(Span, String)>,
}

impl Diagnostic {
    /// A diagnostic of the code's own severity, with no place yet.
    #[must_use]
    pub fn new(code: &'static Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: code.severity,
            message: message.into(),
            span: None,
            help: None,
            notes: Vec::new(),
        }
    }

    /// Sets the place.
    #[must_use]
    pub fn at(mut self, span: Span) -> Diagnostic {
        self.span = Some(span);
        self
    }

    /// Sets the advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Adds another place that belongs to the remark.
    #[must_use]
    pub fn note(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.notes.push((span, text.into()));
        self
    }

    /// Sets another severity than the code's own.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Diagnostic {
        self.severity = severity;
        self
    }

    /// Plain text, without a line end after the last line:
    ///
    /// ```text
    /// sluice.cnf:41:18: error[unknown-channel-keyword]: `nologgin` is not a keyword
    /// note: sluice.cnf:7:1: the block begins here
    /// help: did you mean `nologging`?
    /// ```
    #[must_use]
    pub fn render(&self, sources: &Sources) -> String {
        let mut text = String::new();
        if let Some(span) = self.span {
            text = format!("{}:{}: ", sources.path(span.source).display(), sources.position(span));
        }
        text.push_str(&format!("{}[{}]: {}", self.severity, self.code.name, self.message));
        for (span, note) in &self.notes {
            let (path, position) = (sources.path(span.source).display(), sources.position(*span));
            text.push_str(&format!("\nnote: {path}:{position}: {note}"));
        }
        if let Some(help) = &self.help {
            text.push_str(&format!("\nhelp: {help}"));
        }
        text
    }
}

/// Whether any of them is an error.
#[must_use]
pub fn errors_in(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    static SAMPLE: Code = Code {
        name: "a-sample",
        severity: Severity::Error,
        summary: "a sample",
        explanation: "Nothing to do.",
    };

    #[test]
    fn plain_text_names_place_kind_note_and_fix() {
        let mut sources = Sources::new();
        let id = sources.add("dir/sluice.cnf", "one\ntwo three\n".to_owned());
        let remark = Diagnostic::new(&SAMPLE, "`three` is one too many")
            .at(Span::new(id, 8, 13))
            .note(Span::new(id, 0, 3), "the first is here")
            .help("take it out");
        let expected = "dir/sluice.cnf:2:5: error[a-sample]: `three` is one too many\n\
            note: dir/sluice.cnf:1:1: the first is here\nhelp: take it out";
        assert_eq!(remark.render(&sources), expected);
    }

    #[test]
    fn a_remark_without_a_place_has_no_prefix() {
        let remark = Diagnostic::new(&SAMPLE, "nothing there").severity(Severity::Warning);
        assert_eq!(remark.render(&Sources::new()), "warning[a-sample]: nothing there");
    }

    #[test]
    fn only_errors_count_as_errors() {
        let error = Diagnostic::new(&SAMPLE, "x");
        let warning = error.clone().severity(Severity::Warning);
        assert!(errors_in(&[warning.clone(), error]));
        assert!(!errors_in(&[warning]));
    }
}
