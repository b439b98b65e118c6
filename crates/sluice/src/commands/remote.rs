//! Commands that ask the running hub: `trigger`, `queue`, `channel`, `reload`.
//!
//! They read the configuration's options only to find the control socket. Not here: the answers (`crate::control`).

use serde_json::{Value, json};
use sluice_admin::{Client, ClientError, FaultKind, Request};

use crate::cli::{Common, Format, Trigger};
use crate::exit::{Exit, Failure};
use crate::load;
use crate::output::{Table, line};

/// `sluice trigger`.
pub(crate) fn trigger(trigger: &Trigger) -> Result<Exit, Failure> {
    if trigger.on_link_up {
        return link_up(&trigger.common, &trigger.selectors);
    }
    let mut worst = Exit::Ok;
    for selector in &trigger.selectors {
        let exit = release(&trigger.common, selector)?;
        worst = if exit == Exit::Ok { worst } else { exit };
    }
    Ok(worst)
}

/// Releases the sites that are marked for when a line comes up, and has the activators that are marked ask their servers.
fn link_up(common: &Common, names: &[String]) -> Result<Exit, Failure> {
    let mut sites = 0;
    let exit = ask(common, &Request::LinkUp { names: names.to_vec() }, |row| {
        sites += 1;
        let (site, messages) =
            (row["site"].as_str().unwrap_or_default(), row["messages"].as_u64().unwrap_or(0));
        match common.format {
            Format::Json => line(&row.to_string()),
            Format::Text if messages == 1 => line(&format!("{site}: 1 message released")),
            Format::Text => line(&format!("{site}: {messages} messages released")),
        }
    })?;
    if exit != Exit::Ok || !names.is_empty() {
        return Ok(exit);
    }
    // The same line may be the one over which we ask for our own mail.
    let mut activators = 0;
    let exit = ask(common, &Request::ActivatorLinkUp, |row| {
        activators += 1;
        match common.format {
            Format::Json => line(&row.to_string()),
            Format::Text => line(&format!("{}: asked", row["activator"].as_str().unwrap_or_default())),
        }
    })?;
    if sites + activators == 0 && exit == Exit::Ok && common.format == Format::Text {
        line("no site and no activator has ON_LINK_UP=1")?;
    }
    Ok(exit)
}

fn release(common: &Common, selector: &str) -> Result<Exit, Failure> {
    ask(common, &Request::Trigger { selector: selector.to_owned() }, |row| match common.format {
        Format::Json => line(&row.to_string()),
        Format::Text => {
            let channels = row["channels"].as_array().map_or(0, Vec::len);
            let names = row["channels"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let names = names.collect::<Vec<_>>().join(", ");
            let messages = row["messages"].as_u64().unwrap_or(0);
            let selector = row["selector"].as_str().unwrap_or(selector);
            for closed in row["closed"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                line(&format!("{selector}: {closed}"))?;
            }
            line(&match (messages, channels) {
                (0, 0) if row["closed"].as_array().is_some_and(|closed| !closed.is_empty()) => {
                    format!("{selector}: nothing is released")
                }
                (0, 0) => format!("{selector}: nothing waits"),
                (0, _) => format!("{selector}: nothing waits on {names}"),
                (1, _) => format!("{selector}: 1 message released on {names}"),
                (_, _) => format!("{selector}: {messages} messages released on {names}"),
            })
        }
    })
}

/// `sluice queue summarize`.
pub(crate) fn queue_summarize(common: &Common) -> Result<Exit, Failure> {
    let mut table = Table::new(
        common.format,
        &[
            ("channel", "Channel"),
            ("domain", "Domain"),
            ("messages", "Messages"),
            ("bytes", "Bytes"),
            ("oldest", "Oldest"),
            ("held", "Held"),
            ("suspended", "Suspended"),
            ("active", "Active"),
            ("next_due", "Next due"),
        ],
    );
    let exit = ask(common, &Request::QueueSummarize, |row| table.row(row))?;
    table.finish("nothing waits")?;
    Ok(exit)
}

/// `sluice channel list`.
pub(crate) fn channel_list(common: &Common) -> Result<Exit, Failure> {
    let mut table = Table::new(
        common.format,
        &[
            ("channel", "Channel"),
            ("official_host", "Official host"),
            ("plugin", "Plugin"),
            ("isolated", "Isolated"),
            ("pid", "Process"),
            ("status", "Status"),
            ("schedule", "Schedule"),
            ("messages", "Messages"),
            ("jobs", "Jobs"),
            ("max_jobs", "Most"),
            ("pool", "Pool"),
            ("next_run", "Next run"),
            ("error", "Last error"),
            ("stalled", "Stalled"),
        ],
    );
    let exit = ask(common, &Request::ChannelList, |row| table.row(row))?;
    table.finish("no channels")?;
    if exit == Exit::Ok && common.format == Format::Text {
        // Whoever looks why mail does not move should not have to think of another command.
        ask(common, &Request::Ping, |row| {
            if let Some(trouble) = spool_trouble(row) {
                crate::complain(&format!("the disk of the spool is {trouble}"));
            }
            Ok(())
        })?;
    }
    Ok(exit)
}

/// `sluice status`.
pub(crate) fn status(common: &Common) -> Result<Exit, Failure> {
    let mut is_well = true;
    let exit = ask(common, &Request::Ping, |row| {
        is_well = row["spool"] == "ok";
        if common.format == Format::Json {
            return line(&row.to_string());
        }
        let (text, number) = (
            |field: &str| row[field].as_str().unwrap_or_default().to_owned(),
            |field: &str| row[field].as_u64().unwrap_or(0),
        );
        line(&format!("version    {}", text("version")))?;
        line(&format!("process    {}", number("pid")))?;
        line(&format!("spool      {}", spool_trouble(row).unwrap_or_else(|| text("spool"))))?;
        line(&format!("messages   {}", number("messages")))?;
        line(&format!("unwritten  {}", number("unwritten")))?;
        line(&format!("damaged    {}", number("damaged")))
    })?;
    Ok(if exit == Exit::Ok && !is_well { Exit::Temporary } else { exit })
}

/// What is wrong with the disk of the spool, in words.
fn spool_trouble(row: &Value) -> Option<String> {
    match row["spool"].as_str().unwrap_or_default() {
        "full" => {
            Some("full: new mail is refused until there is room; what is queued stays, and goes".to_owned())
        }
        "failing" => {
            let what = row["trouble"].as_str().unwrap_or("it cannot be written");
            Some(format!("failing: new mail is refused: {what}"))
        }
        _ => None,
    }
}

/// `sluice reload`.
pub(crate) fn reload(common: &Common) -> Result<Exit, Failure> {
    let exit = ask(common, &Request::Reload, |row| match common.format {
        Format::Json => line(&row.to_string()),
        Format::Text => line(&one_line(row)),
    })?;
    if exit == Exit::Ok && common.format == Format::Text {
        line("the new configuration is in force")?;
    }
    Ok(exit)
}

/// A diagnostic of the hub as text; the hub's files may not be readable here, so there is no source line to show.
fn one_line(row: &Value) -> String {
    let text = |field: &str| row[field].as_str().unwrap_or("").to_owned();
    let place = match (row["file"].as_str(), row["line"].as_u64()) {
        (Some(file), Some(line)) => format!("{file}:{line}:{}: ", row["column"].as_u64().unwrap_or(1)),
        (Some(file), None) => format!("{file}: "),
        _ => String::new(),
    };
    let help = row["help"].as_str().map_or(String::new(), |help| format!("\nhelp: {help}"));
    format!("{place}{}[{}]: {}{help}", text("severity"), text("code"), text("message"))
}

/// Sends a request to the configuration's hub and hands the rows on. A fault is told on standard error (in JSON, as an
/// object on standard output too) and becomes the exit status.
pub(crate) fn ask(
    common: &Common,
    request: &Request,
    mut row: impl FnMut(&Value) -> std::io::Result<()>,
) -> Result<Exit, Failure> {
    let socket = load::control_socket(common)?;
    let client = Client::connect(&socket).map_err(|error| Failure::new(Exit::Temporary, error))?;
    let mut written = Ok(());
    let answered = client.call(request, |value| {
        if written.is_ok() {
            written = row(&value);
        }
    });
    written?;
    match answered {
        Ok(()) => Ok(Exit::Ok),
        Err(ClientError::Refused(fault)) => {
            if common.format == Format::Json {
                line(&json!({ "error": fault.message, "nearest": fault.nearest }).to_string())?;
            }
            crate::complain(&fault.message);
            if !fault.nearest.is_empty() {
                crate::complain(&format!("did you mean {}?", fault.nearest.join(" or ")));
            }
            Ok(match fault.kind {
                FaultKind::Malformed => Exit::Usage,
                FaultKind::Unknown => Exit::Data,
                FaultKind::Configuration => Exit::Config,
                FaultKind::Unavailable => Exit::Temporary,
            })
        }
        Err(error) => Err(Failure::new(Exit::Temporary, error)),
    }
}
