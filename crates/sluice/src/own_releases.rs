//! HELP RELEASES of a session: a site reads its own records over the session that it has logged in to.
//!
//! A line for each of the last releases of the sites that the login owns: when it was asked for, what was promised, and what
//! came of it.
//!
//! # Not here
//! The records (`dispatch`), and how an operator reads them (`commands::release`).

use std::sync::Arc;

use sluice_dispatch::{Handle, ReleaseRecord};
use sluice_mail::rfc3339;
use sluice_smtp::replies;
use sluice_smtp::reply::Reply;
use tokio::sync::oneshot;

use crate::hub::Hub;

/// Sites of one login whose releases are told; a login that owns more has other means.
const SITES_MAX: usize = 20;
/// Releases that are told, a line each.
const LINES_MAX: usize = 10;

/// The answer to a client that has logged in so.
pub(crate) async fn answer(hub: Arc<Hub>, login: &str) -> Reply {
    let loaded = hub.loaded();
    let sites: Vec<String> =
        loaded.config.sites.by_login(login).take(SITES_MAX).map(|site| site.name.to_string()).collect();
    if sites.is_empty() {
        return replies::releases_of_nobody();
    }
    let mut records = Vec::new();
    for site in &sites {
        match records_of(hub.dispatcher(), site).await {
            Some(found) => records.extend(found),
            None => return replies::releases_unavailable(),
        }
    }
    let names = sites.join(", ");
    if records.is_empty() {
        return replies::releases_none(&names);
    }
    records.sort_by_key(|record| std::cmp::Reverse(record.id));
    records.truncate(LINES_MAX);
    records.iter().fold(replies::releases(&names), |reply, record| reply.and(line(record)))
}

async fn records_of(dispatcher: &Handle, site: &str) -> Option<Vec<ReleaseRecord>> {
    let (sender, answer) = oneshot::channel();
    dispatcher.releases(Some(site.to_owned()), LINES_MAX, move |records| drop(sender.send(records))).ok()?;
    answer.await.ok()
}

/// A release in one line. All counts are recipients but the promise, which is what the reply to ETRN said.
fn line(record: &ReleaseRecord) -> String {
    let tally = &record.tally;
    let end = match &record.ended {
        Some((_, end)) => end.to_string(),
        None => "under way".to_owned(),
    };
    format!(
        "{} {} {} {}: {} messages promised; recipients: {} delivered, {} deferred, {} returned, {} left; {end}",
        rfc3339(record.asked),
        record.id,
        record.by,
        record.argument,
        record.promised.messages,
        tally.delivered.recipients,
        tally.deferred.recipients,
        tally.bounced.recipients,
        tally.left.recipients,
    )
}
