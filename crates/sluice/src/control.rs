//! The hub as the control socket sees it: requests become questions to the dispatcher, answers become rows.
//!
//! Runs on threads that may wait. Not here: the socket (`admin`), the words for people (`commands::remote`).

mod closing;
mod plugins;
mod queue;
mod spool;

pub(crate) use plugins::details;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use sluice_admin::protocol::{ChannelRow, HubRow, LinkUpRow, PluginRow, SummaryRow, Triggered};
use sluice_admin::{Control, Fault, FaultKind, Request};
use sluice_dispatch::{Busy, Matched, Order, PluginInfo, Released, Requester, ask};
use sluice_mail::{Time, rfc3339};
use sluice_queue::Selector;
use sluice_spool::Health;

use crate::activators::RunError;
use crate::hub::Hub;
use crate::report;

/// Answers the control socket's requests for a hub.
pub(crate) struct Console {
    hub: Arc<Hub>,
}

impl Console {
    /// A console for this hub.
    pub(crate) fn new(hub: Arc<Hub>) -> Console {
        Console { hub }
    }

    fn trigger(&self, text: &str, row: Rows<'_>) -> Result<(), Fault> {
        let selector = selector(text)?;
        let order = Order::new(selector.clone(), Requester::Operator);
        let released = ask(|done| self.hub.dispatcher().release(order, done)).map_err(busy)?;
        if released.matched == Matched::Unknown {
            let what = match &selector {
                Selector::Channel(name) => format!("there is no channel `{name}`"),
                Selector::Message(id) => format!("there is no message {id} in the queue"),
                Selector::Host(_) | Selector::Subnet(_) => {
                    format!("nothing waits for `{text}`, and no rule or channel leads there")
                }
            };
            return Err(Fault { kind: FaultKind::Unknown, message: what, nearest: released.nearest });
        }
        if released.matched == Matched::Unanswered {
            let message = format!(
                "where mail for `{text}` goes cannot be told: a database has come to harm (see the log)"
            );
            return Err(Fault::new(FaultKind::Unavailable, message));
        }
        put(
            row,
            &Triggered {
                selector: selector.to_string(),
                channels: released.channels,
                messages: released.messages,
                closed: released.closed,
                release: released.id.to_string(),
            },
        );
        Ok(())
    }

    /// Releases the sites that are marked for when a line comes up, or those of them that are named.
    fn link_up(&self, names: &[String], row: Rows<'_>) -> Result<(), Fault> {
        let loaded = self.hub.dispatcher().loaded();
        let sites = &loaded.config.sites;
        let marked = || sites.iter().filter(|site| site.on_link_up);
        for name in names {
            let message = match sites.by_name(name) {
                Some(site) if site.on_link_up => continue,
                Some(_) => format!("the site `{name}` is not marked with ON_LINK_UP=1"),
                None => format!("there is no site `{name}`"),
            };
            let nearest = sluice_diag::nearest(name, marked().map(|site| &*site.name)).map(str::to_owned);
            return Err(Fault { kind: FaultKind::Unknown, message, nearest: nearest.into_iter().collect() });
        }
        let named = |site: &str| names.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(site));
        for site in marked().filter(|site| named(&site.name)) {
            let order = Order::for_site(site, Requester::Operator);
            let released = ask(|done| self.hub.dispatcher().release(order, done)).map_err(busy)?;
            let Released { channels, messages, .. } = released;
            put(row, &LinkUpRow { site: site.name.to_string(), channels, messages });
        }
        Ok(())
    }

    fn hub_row(&self) -> HubRow {
        let (health, stats) = self.hub.dispatcher().spool_health();
        let (spool, trouble) = match health {
            Health::Ok => ("ok", None),
            Health::Full => ("full", None),
            Health::Failing { what } => ("failing", Some(what)),
        };
        HubRow {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            spool: spool.to_owned(),
            trouble,
            messages: stats.entries,
            unwritten: stats.transitions_waiting,
            damaged: stats.quarantined,
        }
    }

    fn activator_run(&self, name: &str, row: Rows<'_>) -> Result<(), Fault> {
        match self.hub.activators().start(name) {
            Ok(ran) => {
                put(row, &ran);
                Ok(())
            }
            Err(RunError::Unknown(near)) => Err(Fault {
                kind: FaultKind::Unknown,
                message: format!("there is no activator `{name}` in the configuration that is in force"),
                nearest: near.into_iter().collect(),
            }),
            Err(RunError::Busy) => {
                Err(Fault::new(FaultKind::Unavailable, format!("the activator `{name}` is being run")))
            }
            Err(RunError::NotServing) => {
                Err(Fault::new(FaultKind::Unavailable, "the hub is starting or stopping"))
            }
        }
    }

    fn queue_summarize(&self, row: Rows<'_>) -> Result<(), Fault> {
        let now = Time::from(std::time::SystemTime::now());
        for queue in self.hub.dispatcher().summarize().map_err(busy)? {
            let due = if queue.ready > 0 { Some(now) } else { queue.next_due };
            put(
                row,
                &SummaryRow {
                    channel: queue.channel.to_string(),
                    domain: queue.domain.to_string(),
                    messages: queue.messages,
                    bytes: queue.bytes,
                    oldest: queue.oldest.map(rfc3339),
                    held: queue.held,
                    suspended: queue.suspended,
                    active: queue.active,
                    next_due: due.map(rfc3339),
                },
            );
        }
        Ok(())
    }

    fn channel_list(&self, row: Rows<'_>) -> Result<(), Fault> {
        for channel in ask(|done| self.hub.dispatcher().channels(done)).map_err(busy)? {
            put(
                row,
                &ChannelRow {
                    channel: channel.name,
                    official_host: channel.official_host,
                    plugin: channel.plugin,
                    isolated: channel.isolated,
                    pid: channel.process,
                    status: channel.status.to_string(),
                    schedule: channel.schedule.map_or_else(String::new, |schedule| schedule.to_string()),
                    messages: channel.messages,
                    jobs: channel.jobs,
                    max_jobs: channel.max_jobs,
                    pool: channel.pool,
                    error: channel.error,
                    next_run: channel.next_run.map(rfc3339),
                    stalled: channel.stalled,
                    stopped_since: channel.stopped_since.map(rfc3339),
                },
            );
        }
        Ok(())
    }

    fn reload(&self, row: Rows<'_>) -> Result<(), Fault> {
        let reloaded = self.hub.reload();
        for diagnostic in &reloaded.diagnostics {
            row(report::to_json(diagnostic, &reloaded.sources));
        }
        if reloaded.accepted {
            tracing::info!("the new configuration is in force");
            return Ok(());
        }
        let message = reloaded.refusal();
        tracing::warn!("{message}");
        Err(Fault::new(FaultKind::Configuration, message))
    }
}

/// Where rows of an answer go; `false` when nobody wants more.
type Rows<'a> = &'a mut dyn FnMut(Value) -> bool;

impl Control for Console {
    fn call(&self, request: Request, row: Rows<'_>) -> Result<(), Fault> {
        match request {
            Request::Trigger { selector } => self.trigger(&selector, row),
            Request::LinkUp { names } => self.link_up(&names, row),
            Request::QueueList { selector, filter, limit } => {
                queue::list(&self.hub, selector.as_deref(), &filter, limit, row)
            }
            Request::QueueCount { filter } => queue::count(&self.hub, &filter, row),
            Request::QueueShow { id } => queue::show(&self.hub, &id, row),
            Request::QueueRead { id, headers } => queue::read(&self.hub, &id, headers, row),
            Request::QueueAct { act, filter, by, reason } => {
                queue::act(&self.hub, act, &filter, &by, reason, row)
            }
            Request::QueueSummarize => self.queue_summarize(row),
            Request::ChannelList => self.channel_list(row),
            Request::ChannelStop { channels } => closing::channels(&self.hub, &channels, true, row),
            Request::ChannelStart { channels } => closing::channels(&self.hub, &channels, false, row),
            Request::Suspend { domain, seconds, reason } => {
                closing::suspend(&self.hub, &domain, seconds, reason, row)
            }
            Request::Resume { domain } => closing::resume(&self.hub, &domain, row),
            Request::SuspendList => closing::list(&self.hub, row),
            Request::ReleaseList { site, limit } => {
                crate::releases::list(self.hub.dispatcher(), site, limit, row)
            }
            Request::ReleaseShow { id } => crate::releases::show(self.hub.dispatcher(), &id, row),
            Request::ReleaseFollow { id } => {
                crate::releases::follow(self.hub.dispatcher(), id.as_deref(), row)
            }
            Request::PluginList => {
                for mut plugin in self.hub.dispatcher().plugins() {
                    plugin.channels.extend(self.hub.filters().made_of(&plugin.file));
                    put(row, &plugin_row(plugin));
                }
                Ok(())
            }
            Request::PluginShow { plugin } => plugins::show(&self.hub, &plugin, row),
            Request::PluginReload { plugin, drain_secs } => {
                plugins::reload(&self.hub, &plugin, drain_secs.map(Duration::from_secs), row)
            }
            Request::ActivatorStatus => {
                let config = Arc::clone(&self.hub.loaded().config);
                for activator in self.hub.activators().rows(&config) {
                    put(row, &activator);
                }
                Ok(())
            }
            Request::ActivatorRun { name } => self.activator_run(&name, row),
            Request::ActivatorLinkUp => {
                let config = Arc::clone(&self.hub.loaded().config);
                for activator in self.hub.activators().link_up(&config) {
                    put(row, &serde_json::json!({ "activator": activator }));
                }
                Ok(())
            }
            Request::SpoolAside { segment } => spool::aside(&self.hub, segment, row),
            Request::SpoolBringBack { segment, by } => spool::bring_back(&self.hub, segment, &by, row),
            Request::Reload => self.reload(row),
            Request::Ping => {
                put(row, &self.hub_row());
                Ok(())
            }
        }
    }
}

/// A plugin as a row.
pub(crate) fn plugin_row(plugin: PluginInfo) -> PluginRow {
    PluginRow {
        plugin: plugin.name,
        file: plugin.file,
        generation: plugin.generation,
        version: plugin.version,
        abi: plugin.abi,
        description: plugin.description,
        options: plugin.options.into_iter().map(|option| option.name).collect(),
        channels: plugin.channels,
        isolated: plugin.isolated,
        pids: plugin.processes.into_iter().map(|(_, pid)| pid).collect(),
        error: plugin.error,
    }
}

fn selector(text: &str) -> Result<Selector, Fault> {
    text.parse().map_err(|error| Fault::new(FaultKind::Malformed, format!("{error}")))
}

fn busy(busy: Busy) -> Fault {
    Fault::new(FaultKind::Unavailable, busy.to_string())
}

fn put(row: Rows<'_>, value: &impl Serialize) -> bool {
    row(serde_json::to_value(value).expect("rows are strings and numbers"))
}
