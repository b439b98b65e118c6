//! `ETRN_HOSTS`: servers that are asked for our mail once, when the service starts and its listeners accept.
//!
//! Each server by itself: one that does not answer keeps nobody waiting. What comes of it is in the log; asking again is
//! for activators (`activators`).

use std::sync::Arc;

use sluice_config::EtrnHost;
use sluice_dispatch::Loaded;
use sluice_smtp::asker::{Name, Question};
use tokio::sync::Semaphore;

use crate::asking::{self, Errand, Protection, Server, Standing, Times};
use crate::hub::Hub;
use crate::own_names::own_names;

/// Servers that are asked at the same time.
const AT_ONCE: usize = 16;

/// Asks them all. Returns at once; to be called in a runtime.
pub(crate) fn ask_hosts(hub: &Hub) {
    let loaded = hub.loaded();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    for host in &loaded.config.etrn_hosts {
        let errand = match errand(&loaded, host) {
            Ok(errand) => errand,
            Err(why) => {
                tracing::error!(server = %host.server, why, "ETRN_HOSTS: a server is not asked");
                continue;
            }
        };
        let turns = Arc::clone(&turns);
        tokio::spawn(async move {
            // It is never closed.
            let _turn = turns.acquire().await;
            ask(&errand).await;
        });
    }
}

async fn ask(errand: &Errand) {
    let report = asking::ask(errand, &mut |_| {}).await;
    let (server, answers) = (&errand.server, report.words(&errand.server, "ETRN"));
    match report.standing() {
        Standing::Done => tracing::info!(%server, answers, "ETRN_HOSTS: asked"),
        Standing::Later | Standing::Refused => tracing::warn!(%server, answers, "ETRN_HOSTS: asked in vain"),
    }
}

fn errand(loaded: &Loaded, host: &EtrnHost) -> Result<Errand, String> {
    let names = if host.names.is_empty() {
        own_names(loaded)
    } else {
        let read = |name: &String| name.parse::<Name>().map_err(|error| format!("{name}: {error}"));
        host.names.iter().map(read).collect::<Result<Vec<_>, _>>()?
    };
    if names.is_empty() {
        return Err("there is no domain that this system takes mail for".to_owned());
    }
    Ok(Errand {
        server: Server { host: host.server.clone(), port: host.port },
        question: Question::Etrn(names),
        name: loaded.config.channels.local().official_host.clone(),
        protection: Protection::May,
        trust: asking::trust(Protection::May, false, false, None)?,
        credentials: None,
        times: Times::default(),
    })
}
