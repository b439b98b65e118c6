//! `sluice activator run` and `status`: the activators of a running hub.
//!
//! Not here: how they are written into sites.cnf (`list` and `show` tell that, and take the state from here), and what they
//! do (`crate::activators`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sluice_admin::{Client, ClientError, Request};

use super::remote::ask;
use crate::cli::{ActivatorRun, Common, Format};
use crate::exit::{Exit, Failure};
use crate::load;
use crate::output::{Table, line};

/// How often is looked whether a run is over.
const LOOK: Duration = Duration::from_millis(50);

/// Asks servers now.
pub(crate) fn run(run: &ActivatorRun) -> Result<Exit, Failure> {
    let common = &run.common;
    if run.on_link_up {
        let mut any = false;
        let exit = ask(common, &Request::ActivatorLinkUp, |row| {
            any = true;
            match common.format {
                Format::Json => line(&row.to_string()),
                Format::Text => line(row["activator"].as_str().unwrap_or_default()),
            }
        })?;
        if !any && exit == Exit::Ok {
            crate::complain("no activator has ON_LINK_UP");
        }
        return Ok(exit);
    }
    let mut worst = Exit::Ok;
    for name in &run.names {
        let exit = run_one(common, name)?;
        // The first thing that went wrong counts, and the others are asked all the same.
        if worst == Exit::Ok {
            worst = exit;
        }
    }
    Ok(worst)
}

/// Starts one and waits for its end: a line may have to be dialled, and ATRN brings the mail itself.
fn run_one(common: &Common, name: &str) -> Result<Exit, Failure> {
    let mut before = None;
    let exit = ask(common, &Request::ActivatorRun { name: name.to_owned() }, |row| {
        before = row["activator"].as_str().map(str::to_owned).zip(row["runs"].as_u64());
        Ok(())
    })?;
    let Some((name, runs)) = before.filter(|_| exit == Exit::Ok) else { return Ok(exit) };
    loop {
        std::thread::sleep(LOOK);
        let mut after = None;
        let exit = ask(common, &Request::ActivatorStatus, |row| {
            if row["activator"] == *name {
                after = Some(row.clone());
            }
            Ok(())
        })?;
        if exit != Exit::Ok {
            return Ok(exit);
        }
        let Some(row) = after else {
            crate::complain(&format!("{name} was taken out of the configuration"));
            return Ok(Exit::Data);
        };
        if row["runs"].as_u64() > Some(runs) {
            told(common, &row)?;
            return Ok(match row["standing"].as_str() {
                Some("done") => Exit::Ok,
                Some("refused") => Exit::Refused,
                _ => Exit::Temporary,
            });
        }
    }
}

fn told(common: &Common, row: &Value) -> std::io::Result<()> {
    if common.format == Format::Json {
        return line(&row.to_string());
    }
    let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
    line(&format!("{}: {}", text("activator"), text("answer")))?;
    match row["alert"].as_str() {
        Some(alert) if alert != text("answer") => line(&format!("  alert: {alert}")),
        _ => Ok(()),
    }
}

/// How they are doing.
pub(crate) fn status(common: &Common) -> Result<Exit, Failure> {
    let mut table = Table::new(
        common.format,
        &[
            ("activator", "Activator"),
            ("server", "Server"),
            ("method", "Method"),
            ("last_run", "Last run"),
            ("standing", "Result"),
            ("next_run", "Next run"),
            ("waits_until", "Mail expected until"),
            ("answer", "Answer"),
            ("alert", "Alert"),
        ],
    );
    let exit = ask(common, &Request::ActivatorStatus, |row| table.row(row))?;
    table.finish("there are no activators")?;
    Ok(exit)
}

/// What is told of a running hub's state of an activator; `next_run` is the schedule's own where no hub runs.
const STATE: [&str; 7] = ["running", "runs", "last_run", "standing", "answer", "waits_until", "alert"];

/// How the activators are doing, for those who show what the configuration says of them.
#[derive(Debug)]
pub(super) struct States {
    /// Nothing where it could not be found out.
    hub_runs: Option<bool>,
    rows: BTreeMap<String, Value>,
}

impl States {
    /// Asks the hub, if one runs. One that does not answer is told of, and is no failure: the configuration is shown all the
    /// same.
    pub(super) fn ask(common: &Common) -> Result<States, Failure> {
        let mut rows = BTreeMap::new();
        let answered = Client::connect(&load::control_socket(common)?).and_then(|client| {
            client.call(&Request::ActivatorStatus, |row| {
                let name = row["activator"].as_str().unwrap_or_default().to_owned();
                rows.insert(name, row);
            })
        });
        let hub_runs = match answered {
            Ok(()) => Some(true),
            Err(ClientError::NotRunning { .. }) => Some(false),
            Err(error) => {
                crate::complain(&format!("the state of the activators is not known: {error}"));
                rows.clear();
                None
            }
        };
        Ok(States { hub_runs, rows })
    }

    /// Adds the state of an activator to what is told of it. A hub that has not read the configuration anew knows nothing of
    /// a new one.
    pub(super) fn add_to(&self, row: &mut Map<String, Value>, name: &str) {
        let state = self.rows.get(name);
        row.insert("hub_runs".to_owned(), json!(self.hub_runs));
        for field in STATE {
            row.insert(field.to_owned(), state.map_or(Value::Null, |state| state[field].clone()));
        }
        // What it met before may keep it from its next time.
        if let Some(state) = state {
            row.insert("next_run".to_owned(), state["next_run"].clone());
        }
    }

    /// Says on standard error, to people, why there is no state.
    pub(super) fn explain(&self, format: Format) {
        if self.hub_runs == Some(false) && format == Format::Text {
            crate::complain("no hub runs: nothing is asked, and the last runs are not known");
        }
    }
}
