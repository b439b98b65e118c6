//! Diagnostics on their way to a person or a program.
//!
//! In text: a headline that editors understand (`file:line:column: severity[code]: message`), the source line with a
//! caret, then notes and help. In JSON: an object a line. Not here: what the diagnostics say (`diag` and the crates that
//! find them).

use std::io;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};
use sluice_diag::{Diagnostic, Severity, Sources, Span};

use crate::cli::Format;
use crate::output::line;

/// Longest part of a source line that is shown, in octets; a rule of a kilobyte helps nobody on a terminal.
const EXCERPT_LIMIT: usize = 240;

/// A diagnostic as one JSON object: `file`, `line`, `column`, `severity`, `code`, `message`, `help`.
pub(crate) fn to_json(diagnostic: &Diagnostic, sources: &Sources) -> Value {
    let place = diagnostic.span.map(|span| (sources.path(span.source), sources.position(span)));
    json!({
        "file": place.map(|(path, _)| path.display().to_string()),
        "line": place.map(|(_, position)| position.line),
        "column": place.map(|(_, position)| position.column),
        "severity": diagnostic.severity.as_str(),
        "code": diagnostic.code.name,
        "message": diagnostic.message,
        "help": diagnostic.help,
    })
}

/// A diagnostic as text, without a line end after the last line.
pub(crate) fn to_text(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let plain = diagnostic.render(sources);
    let Some(span) = diagnostic.span else { return plain };
    let (headline, rest) = plain.split_once('\n').map_or((plain.as_str(), None), |(a, b)| (a, Some(b)));
    let excerpt = excerpt(diagnostic.severity, span, sources);
    match rest {
        Some(rest) => format!("{headline}\n{excerpt}{rest}"),
        None => format!("{headline}\n{excerpt}").trim_end().to_owned(),
    }
}

/// The source line with a caret under the span, each line ended; empty when there is nothing to show.
fn excerpt(severity: Severity, span: Span, sources: &Sources) -> String {
    let position = sources.position(span);
    let text = sources.line(span.source, position.line);
    if text.trim().is_empty() || text.len() > EXCERPT_LIMIT {
        return String::new();
    }
    let start = text.char_indices().nth(position.column as usize - 1).map_or(text.len(), |(at, _)| at);
    let end = (start + (span.end - span.start) as usize).min(text.len()).max(start);
    let end = (end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let level = match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let snippet = Snippet::source(text)
        .line_start(position.line as usize)
        .annotation(AnnotationKind::Primary.span(start..end));
    let drawn = Renderer::plain().render(&[Group::with_level(level).element(snippet)]);
    drawn.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Writes diagnostics to standard output, in the order given.
pub(crate) fn show(diagnostics: &[Diagnostic], sources: &Sources, format: Format) -> io::Result<()> {
    for diagnostic in diagnostics {
        match format {
            Format::Json => line(&to_json(diagnostic, sources).to_string())?,
            Format::Text => line(&to_text(diagnostic, sources))?,
        }
    }
    Ok(())
}

/// `2 errors, 1 warning`, or `no errors`.
pub(crate) fn tally(diagnostics: &[Diagnostic]) -> String {
    let count = |severity, one: &str| {
        let n = diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
        match n {
            0 => None,
            1 => Some(format!("1 {one}")),
            n => Some(format!("{n} {one}s")),
        }
    };
    let parts = [
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning"),
        count(Severity::Info, "remark"),
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if text.is_empty() { "nothing to complain about".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_diag::Code;

    static SAMPLE: Code = Code {
        name: "a-sample",
        severity: Severity::Error,
        summary: "a sample",
        explanation: "Nothing to do.",
    };

    fn diagnostic() -> (Diagnostic, Sources) {
        let mut sources = Sources::new();
        let id = sources.add("sluice.cnf", "l\nhub\n\ntcp_x smtp nologgin\n".to_owned());
        (
            Diagnostic::new(&SAMPLE, "`nologgin` is not a keyword").at(Span::new(id, 18, 26)).help("drop it"),
            sources,
        )
    }

    #[test]
    fn text_shows_the_line_and_a_caret() {
        let (diagnostic, sources) = diagnostic();
        let text = to_text(&diagnostic, &sources);
        assert_eq!(
            text,
            "sluice.cnf:4:12: error[a-sample]: `nologgin` is not a keyword\n  |\n4 | tcp_x smtp nologgin\n  |            ^^^^^^^^\nhelp: drop it"
        );
    }

    #[test]
    fn json_has_stable_fields() {
        let (diagnostic, sources) = diagnostic();
        assert_eq!(
            to_json(&diagnostic, &sources).to_string(),
            r#"{"code":"a-sample","column":12,"file":"sluice.cnf","help":"drop it","line":4,"message":"`nologgin` is not a keyword","severity":"error"}"#
        );
    }
}
