//! ATRN of a session: the mail of a login's sites goes out over the connection that the site has opened (RFC 2645).
//!
//! The session's stream and the plugins of the channels that have the site's mail are joined by a socket of this machine, the
//! *bridge*: the dispatcher is ordered to release down it, and each plugin connects to it as to any host, one after the
//! other. So a turned session is sent to by the same client, with the same rules, as every other; TLS stays with the
//! session.
//!
//! # Promises
//! All domains are the login's, or nothing is sent. A site has one turned session at a time. A message is done when the
//! customer's last reply to it was read; whatever breaks before leaves it waiting.
//! # Failure
//! A customer that hangs up, or never says anything, ends the release; what is left waits for the next one.

mod bridge;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sluice_config::{Site, Tier};
use sluice_dispatch::{Loaded, Matched, Order, ReleaseId, Requester, Via};
use sluice_queue::Selector;
use sluice_smtp::replies;
use sluice_smtp::reply::Reply;
use sluice_smtpd::{AtrnAnswer, Session, Turned};
use tokio::sync::oneshot;

use crate::etrn;
use crate::hub::Hub;
use crate::turning::bridge::Bridge;

/// Sites whose mail goes down a turned session now.
#[derive(Default)]
pub(crate) struct TurnedSites {
    names: Mutex<HashSet<String>>,
    bridges: AtomicU64,
}

/// Answers ATRN.
pub(crate) async fn answer(hub: Arc<Hub>, session: &Session, domains: &[String]) -> AtrnAnswer {
    match turn(hub, session, domains).await {
        Ok(turn) => AtrnAnswer::Turn(Box::new(move |stream| Box::pin(turn.run(stream)))),
        Err(reply) => AtrnAnswer::Refused(reply),
    }
}

/// A turn that has been promised. Dropped, it gives back what it has taken.
struct Turn {
    hub: Arc<Hub>,
    sites: Vec<String>,
    release: Option<ReleaseId>,
    /// Is told, or closed, when the release is over.
    over: oneshot::Receiver<()>,
    bridge: Bridge,
}

async fn turn(hub: Arc<Hub>, session: &Session, domains: &[String]) -> Result<Turn, Reply> {
    let loaded = hub.loaded();
    let argument = domains.join(",");
    let (sites, selectors) = wanted(&loaded, session, domains)?;
    let options = &loaded.config.options;
    let asks = hub.asks();
    if !sites.iter().all(|site| asks.admits(options, etrn::client(session), &site.name)) {
        return Err(replies::atrn_refused("asked for too often, try again later"));
    }
    let names: Vec<String> = sites.iter().map(|site| site.name.to_string()).collect();
    let site = match names.as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    };
    // What is taken from here on is given back when `turn` goes.
    if !hub.turned().take(&names) {
        return Err(replies::atrn_refused("another session is taking this mail"));
    }
    let number = hub.turned().bridges.fetch_add(1, Ordering::Relaxed);
    let bridge = Bridge::new(&options.spool_dir.join("turned"), number).map_err(|error| {
        hub.turned().give_back(&names);
        tracing::error!(%error, "ATRN: there is no socket to send down");
        replies::atrn_unable()
    })?;
    let via = Via::turned(bridge.path());
    let (told, over) = oneshot::channel();
    let mut turn = Turn { hub: Arc::clone(&hub), sites: names, release: None, over, bridge };
    let requester = Requester::Atrn(etrn::peer(session, &argument));
    let order = Order { selectors, requester, via, site };
    let released = etrn::release(&hub, order, &argument).await.ok_or_else(replies::atrn_unable)?;
    turn.release = Some(released.id);
    match released.matched {
        Matched::Closed | Matched::Blocked | Matched::Unanswered => Err(replies::atrn_unable()),
        Matched::Known | Matched::Unknown if released.messages == 0 => Err(replies::atrn_no_mail()),
        Matched::Known | Matched::Unknown => {
            let tell = move |_| {
                // Nobody may be there to hear it any more.
                let _ = told.send(());
            };
            hub.dispatcher().when_released(released.id, tell).map_err(|_| replies::atrn_unable())?;
            Ok(turn)
        }
    }
}

/// The sites whose mail is asked for, and what it is; all domains must be the login's.
fn wanted<'l>(
    loaded: &'l Loaded,
    session: &Session,
    domains: &[String],
) -> Result<(Vec<&'l Site>, Vec<Selector>), Reply> {
    let login = session.login.as_ref().map(|login| login.name.as_str()).unwrap_or_default();
    let sites = &loaded.config.sites;
    let may_turn = |site: &&Site| matches!(site.tier, Tier::Dynamic | Tier::Turned) && site.has_login(login);
    if domains.is_empty() {
        let own: Vec<&Site> = sites.iter().filter(may_turn).collect();
        let selectors = own.iter().flat_map(|site| Order::selectors_of(site)).collect();
        return match own.is_empty() {
            true => Err(replies::atrn_refused("your login owns no site that takes its mail so")),
            false => Ok((own, selectors)),
        };
    }
    let mut own: Vec<&Site> = Vec::new();
    for domain in domains {
        // One that is unknown and one that is another's are refused in the same words.
        let site = sites.by_domain(domain).filter(may_turn);
        let site = site.ok_or_else(|| replies::atrn_refused(&format!("{domain} is not yours to take")))?;
        if own.iter().all(|other| other.name != site.name) {
            own.push(site);
        }
    }
    Ok((own, domains.iter().cloned().map(Selector::Host).collect()))
}

impl TurnedSites {
    /// Takes all of them, or none when one is taken.
    fn take(&self, names: &[String]) -> bool {
        let mut taken = self.names.lock();
        if names.iter().any(|name| taken.contains(name)) {
            return false;
        }
        taken.extend(names.iter().cloned());
        true
    }

    fn give_back(&self, names: &[String]) {
        let mut taken = self.names.lock();
        taken.retain(|name| !names.contains(name));
    }
}

impl Turn {
    /// Joins the turned stream and the plugins that come for it until the site has all, or hangs up.
    async fn run(mut self, stream: Turned) {
        let sites = self.sites.join(", ");
        match self.bridge.join(stream, &mut self.over).await {
            Ok(()) => tracing::debug!(sites, "the turned session has ended"),
            Err(error) => tracing::info!(sites, %error, "a turned session broke off"),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // A dispatcher that is stopping ends all releases.
            let _ = self.hub.dispatcher().end_release(release);
        }
        self.hub.turned().give_back(&self.sites);
    }
}
