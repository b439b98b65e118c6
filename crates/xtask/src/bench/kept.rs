//! A row of the table of targets: what was reached, against what, and what limits it; and how rows are shown and kept.

use super::language::machine;
use crate::cargo::root;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Where the results are kept, one file for each run.
const RESULTS: &str = "benches/results";

/// One line of the table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// By which it is asked for.
    pub(super) name: &'static str,
    pub(super) what: String,
    pub(super) sluice: String,
    /// Nothing where there is nobody to compare with.
    pub(super) postfix: String,
    pub(super) goals: Vec<Goal>,
    /// What holds it back, as measured.
    pub(super) limit: String,
    /// Everything that was measured for it.
    pub(super) details: Value,
}

/// A target and what was reached.
#[derive(Debug, Clone)]
pub(super) struct Goal {
    target: String,
    reached: f64,
    pub(super) is_met: bool,
    unit: &'static str,
}

impl Goal {
    /// At least so many times as much.
    pub(super) fn at_least(times: f64, reached: f64) -> Goal {
        Goal { target: format!("≥ {times} x"), reached, is_met: reached >= times, unit: "x" }
    }

    /// At most so much.
    pub(super) fn at_most(most: f64, reached: f64, unit: &'static str) -> Goal {
        Goal { target: format!("≤ {most} {unit}"), reached, is_met: reached <= most, unit }
    }

    /// With another word for the target.
    pub(super) fn named(self, target: &str) -> Goal {
        Goal { target: target.to_owned(), ..self }
    }

    fn reached(&self) -> String {
        let digits = if self.reached.abs() < 10.0 { 2 } else { usize::from(self.reached.abs() < 100.0) };
        format!("{:.digits$} {}", self.reached, self.unit)
    }
}

/// The table, for a terminal.
pub(super) fn shown(rows: &[Row]) -> String {
    let heads = ["row", "Sluice", "Postfix", "target", "reached", "", "what limits"].map(str::to_owned);
    let mut lines = vec![heads];
    for row in rows {
        let first = Goal { target: String::new(), reached: f64::NAN, is_met: true, unit: "" };
        let goals = if row.goals.is_empty() { std::slice::from_ref(&first) } else { &row.goals };
        for (number, goal) in goals.iter().enumerate() {
            let only_first = |text: &str| if number == 0 { text.to_owned() } else { String::new() };
            let (reached, verdict) = match (goal.reached.is_nan(), goal.is_met) {
                (true, true) => (String::new(), ""),
                (_, true) => (goal.reached(), "yes"),
                (_, false) => (goal.reached(), "NO"),
            };
            lines.push([
                only_first(&row.what),
                only_first(&row.sluice),
                only_first(&row.postfix),
                goal.target.clone(),
                reached,
                verdict.to_owned(),
                only_first(&row.limit),
            ]);
        }
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut whole = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            // Writing to a text cannot fail.
            let _ = write!(whole, "{cell:width$}  ");
        }
        text.push_str(whole.trim_end());
        text.push('\n');
    }
    text
}

/// Everything as JSON: the rows, and what they belong to.
pub(super) fn as_json(rows: &[Row], runs: u32, is_small: bool, minutes: f64) -> Value {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let mut about = machine();
    about["date"] = json!(said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]));
    about["sluice_commit"] = json!(said("git", &["describe", "--always", "--dirty", "--abbrev=12"]));
    about["postfix"] = json!(said("/usr/sbin/postconf", &["-d", "-h", "mail_version"]));
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let goals: Vec<Value> = row
                .goals
                .iter()
                .map(|goal| json!({ "target": goal.target, "reached": goal.reached(), "met": goal.is_met }))
                .collect();
            json!({
                "row": row.name, "what": row.what, "sluice": row.sluice, "postfix": row.postfix, "goals": goals,
                "limit": row.limit, "details": row.details,
            })
        })
        .collect();
    json!({ "machine": about, "runs": runs, "small": is_small, "minutes": minutes, "rows": rows })
}

/// Writes the results under the day and the commit; the name of the file.
pub(super) fn keep(all: &Value) -> Result<String> {
    let text = |name: &str| all["machine"][name].as_str().unwrap_or("unknown").to_owned();
    let day = text("date");
    let name = format!("{}-{}.json", day.get(..10).unwrap_or(&day), text("sluice_commit"));
    let folder = root()?.join(RESULTS);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {RESULTS}"))?;
    let pretty = serde_json::to_string_pretty(all).context("results are JSON")?;
    let path = Path::new(RESULTS).join(name);
    fs::write(root()?.join(&path), pretty + "\n")
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_was_reached_and_what_was_not() {
        let row = Row {
            name: "relay",
            what: "relay".into(),
            sluice: "8000/s".into(),
            postfix: "900/s".into(),
            goals: vec![Goal::at_least(10.0, 8.888), Goal::at_least(0.7, 0.81)],
            limit: "the source".into(),
            details: json!({}),
        };
        let table = shown(&[row]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[1], "relay  8000/s  900/s    ≥ 10 x   8.89 x   NO   the source");
        assert_eq!(lines[2], "                        ≥ 0.7 x  0.81 x   yes");
    }
}
