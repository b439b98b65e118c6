//! Requests that close and open ways: stopped channels, suspended domains.

use std::time::Duration;

use sluice_admin::protocol::{ChannelClosing, SuspensionRow};
use sluice_admin::{Fault, FaultKind};
use sluice_dispatch::{Closing, ClosingDone, ClosingError, REASON_MAX, ask, suspendable};
use sluice_mail::rfc3339;

use super::{Rows, busy, put, selector};
use crate::hub::Hub;

/// Longest suspension with an end: who means longer means "until it is resumed".
const SUSPENSION_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

pub(super) fn channels(hub: &Hub, names: &[String], stop: bool, row: Rows<'_>) -> Result<(), Fault> {
    if names.is_empty() {
        return Err(Fault::new(FaultKind::Malformed, "no channel is named"));
    }
    let names = names.iter().map(|name| name.to_lowercase()).collect();
    for done in close(hub, if stop { Closing::Stop(names) } else { Closing::Start(names) })? {
        let ClosingDone { name, changed, messages, active, .. } = done;
        put(row, &ChannelClosing { channel: name, stopped: stop, changed, messages, active });
    }
    Ok(())
}

pub(super) fn suspend(
    hub: &Hub,
    text: &str,
    seconds: Option<u64>,
    reason: String,
    row: Rows<'_>,
) -> Result<(), Fault> {
    let (domain, below) = domain(text)?;
    let time = seconds.map(Duration::from_secs);
    let malformed = |text: String| Err(Fault::new(FaultKind::Malformed, text));
    if time.is_some_and(|time| time.is_zero() || time > SUSPENSION_MAX) {
        return malformed(format!(
            "a suspension lasts from one second to {} days, or until it is resumed",
            SUSPENSION_MAX.as_secs() / 86_400
        ));
    }
    if reason.len() > REASON_MAX {
        return malformed(format!("a reason has at most {REASON_MAX} octets, this one has {}", reason.len()));
    }
    if reason.chars().any(char::is_control) {
        return malformed("a reason is one line, without control characters".to_owned());
    }
    let done = close(hub, Closing::Suspend { domain, below, time, reason })?;
    rows(done, row);
    Ok(())
}

pub(super) fn resume(hub: &Hub, text: &str, row: Rows<'_>) -> Result<(), Fault> {
    let (domain, below) = domain(text)?;
    let done = close(hub, Closing::Resume { domain, below })?;
    rows(done, row);
    Ok(())
}

pub(super) fn list(hub: &Hub, row: Rows<'_>) -> Result<(), Fault> {
    let suspensions = ask(|done| hub.dispatcher().suspensions(done)).map_err(busy)?;
    rows(suspensions, row);
    Ok(())
}

fn domain(text: &str) -> Result<(String, bool), Fault> {
    let selector = selector(text)?;
    let (domain, below) = suspendable(&selector).ok_or_else(|| {
        let text = format!("`{text}` is no domain; a channel is stopped by `sluice channel stop`");
        Fault::new(FaultKind::Malformed, text)
    })?;
    Ok((domain.to_owned(), below))
}

fn rows(done: Vec<ClosingDone>, row: Rows<'_>) {
    for one in done {
        let Some(suspension) = one.suspension else { continue };
        let wanted = put(
            row,
            &SuspensionRow {
                domain: one.name,
                since: rfc3339(suspension.since),
                until: suspension.until.map(rfc3339),
                reason: suspension.reason,
                messages: one.messages,
                active: one.active,
            },
        );
        if !wanted {
            return;
        }
    }
}

fn close(hub: &Hub, closing: Closing) -> Result<Vec<ClosingDone>, Fault> {
    let closed = ask(|done| hub.dispatcher().close(closing, done)).map_err(busy)?;
    closed.map_err(|error| {
        let message = error.to_string();
        match error {
            ClosingError::NoChannel { nearest, .. } | ClosingError::NotSuspended { nearest, .. } => {
                Fault { kind: FaultKind::Unknown, message, nearest }
            }
            ClosingError::TooMany => Fault::new(FaultKind::Malformed, message),
            ClosingError::NotDurable(_) => Fault::new(FaultKind::Unavailable, message),
        }
    })
}
