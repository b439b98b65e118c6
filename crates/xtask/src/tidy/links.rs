//! Links between pages: what a page points to exists.

use super::{Finding, Tree};

/// Relative links of every Markdown file lead to a file or folder of the tree, anchors to a heading.
pub(super) fn links(tree: &Tree, found: &mut Vec<Finding>) {
    for (path, text) in tree.pages() {
        for (line, target) in targets(text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let place = match file {
                "" => Some(path.to_owned()),
                file => resolve(path, file),
            };
            let there = place.as_deref().is_some_and(|place| tree.has(place));
            if !there {
                found.push(Finding::new(
                    path,
                    line,
                    format!("the link to {target} leads nowhere"),
                    "correct the path; it is relative to the page",
                ));
                continue;
            }
            let page = tree.pages().find(|(page, _)| Some(*page) == place.as_deref());
            if let Some((_, text)) = page
                && !anchor.is_empty()
                && !headings(text).iter().any(|heading| heading == anchor)
            {
                found.push(Finding::new(
                    path,
                    line,
                    format!("the link to {target}: that page has no such heading"),
                    "anchors are headings in lower case, blanks as hyphens, other marks left out",
                ));
            }
        }
    }
}

/// The lines of a page that are prose, numbered from 1: fenced blocks are left out, code within a line is blanked.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let pieces = line.split('`').enumerate();
            let kept =
                pieces.map(|(n, piece)| if n % 2 == 0 { piece.to_owned() } else { "x".repeat(piece.len()) });
            lines.push((number + 1, kept.collect()));
        }
    }
    lines
}

/// `[text](target)` and `[name]: target`, with their lines.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut targets = Vec::new();
    let written: Vec<&str> = text.lines().collect();
    for (number, kept) in prose(text) {
        // The link's own text may be code; the target never is, so it can be found in the line as written.
        for (at, _) in kept.match_indices("](") {
            let open = kept[at..].find('(').map_or(at, |n| at + n + 1);
            let Some(length) = kept[open..].find(')') else { continue };
            let inside = &kept[open..open + length];
            if let Some(target) = inside.split_whitespace().next()
                && let Some(found) = written[number - 1].find(target)
            {
                targets.push((number, &written[number - 1][found..found + target.len()]));
            }
        }
        let line = written[number - 1];
        if line.starts_with('[')
            && let Some((_, target)) = line.split_once("]: ")
        {
            targets.push((number, target.trim()));
        }
    }
    targets
}

/// The anchors of a page's headings, as the usual renderers make them.
fn headings(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut headings = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && line.starts_with('#') {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            headings.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    headings
}

/// The path below the root that `target` means on the page `from`; `None` when it climbs out of the tree.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let mut found = Vec::new();
        links(&Tree::of(files), &mut found);
        found
            .into_iter()
            .map(|finding| format!("{}:{}: {}", finding.path, finding.line, finding.what))
            .collect()
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let page = "See [a](b.md), [that](../README.md) and\n[`code`](gone.md \"title\"), [web](https://example.com/x).\n";
        let files = [
            ("docs/a.md", page),
            ("docs/b.md", ""),
            ("README.md", "[out](../x) [docs](docs)\n[r]: docs/c.md\n"),
        ];
        assert_eq!(
            found(&files),
            [
                "README.md:1: the link to ../x leads nowhere",
                "README.md:2: the link to docs/c.md leads nowhere",
                "docs/a.md:2: the link to gone.md leads nowhere"
            ]
        );
    }

    #[test]
    fn a_missing_heading_is_found() {
        let files = [
            ("a.md", "[x](b.md#the-way-of-a-message) [y](b.md#gone) [z](#here)\n# Here\n"),
            ("b.md", "## The way of a message\n```\n# gone\n```\n"),
        ];
        assert_eq!(found(&files), ["a.md:1: the link to b.md#gone: that page has no such heading"]);
    }

    #[test]
    fn code_is_not_a_link() {
        assert!(found(&[("a.md", "`[a](b)`\n```\n[a](b)\n```\n")]).is_empty());
    }
}
