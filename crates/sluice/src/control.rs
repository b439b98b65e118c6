//! The hub as the control socket sees it: requests become questions to the dispatcher, answers become rows.
//!
//! Runs on threads that may wait. Not here: the socket (`admin`), the words for people (`commands::remote`).

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use sluice_admin::protocol::{ChannelRow, EntryRow, HubRow, PluginRow, SummaryRow, Triggered};
use sluice_admin::{Control, Fault, FaultKind, Request};
use sluice_dispatch::{Busy, Matched, Order, PluginInfo, Requester, ask};
use sluice_mail::{Time, rfc3339};
use sluice_queue::{Selector, State};

use crate::activators::RunError;
use crate::hub::Hub;
use crate::report;

/// Most entries that one `queue list` shows; a hub may hold millions.
const LIST_LIMIT_MAX: u64 = 1_000_000;

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
        put(
            row,
            &Triggered {
                selector: selector.to_string(),
                channels: released.channels,
                messages: released.messages,
            },
        );
        Ok(())
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

    fn queue_list(&self, text: Option<&str>, limit: u64, row: Rows<'_>) -> Result<(), Fault> {
        let selector = text.map(selector).transpose()?;
        let limit = limit.min(LIST_LIMIT_MAX) as usize;
        let entries = ask(|done| self.hub.dispatcher().list(selector, limit, done)).map_err(busy)?;
        for entry in entries {
            let (sender, recipients, error) = match self.hub.dispatcher().details(&entry) {
                Ok(Some((sender, recipients))) => (sender, recipients, None),
                // What was settled since is no longer worth a row.
                Ok(None) => continue,
                Err(error) => (String::new(), Vec::new(), Some(error)),
            };
            let wanted = put(
                row,
                &EntryRow {
                    id: entry.id.to_string(),
                    channel: entry.channel.to_string(),
                    domain: entry.domain.to_string(),
                    state: match entry.state {
                        State::Ready | State::Delayed => "waiting",
                        State::Leased => "active",
                        State::Deferred => "deferred",
                        State::Held => "held",
                    }
                    .to_owned(),
                    sender,
                    recipients,
                    bytes: entry.size,
                    arrived: rfc3339(entry.arrived),
                    attempts: u32::from(entry.attempts),
                    due: entry.due.map(rfc3339),
                    error,
                },
            );
            if !wanted {
                break;
            }
        }
        Ok(())
    }

    fn queue_summarize(&self, row: Rows<'_>) -> Result<(), Fault> {
        let now = Time::from(std::time::SystemTime::now());
        for queue in ask(|done| self.hub.dispatcher().summarize(done)).map_err(busy)? {
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
                    status: channel.status.to_string(),
                    schedule: channel.schedule.map_or_else(String::new, |schedule| schedule.to_string()),
                    messages: channel.messages,
                    jobs: channel.jobs,
                    max_jobs: channel.max_jobs,
                    pool: channel.pool,
                    error: channel.error,
                    stalled: channel.stalled,
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
        let tally = report::tally(&reloaded.diagnostics);
        let message = format!("the new configuration is refused ({tally}); the old one stays in force");
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
            Request::QueueList { selector, limit } => self.queue_list(selector.as_deref(), limit, row),
            Request::QueueSummarize => self.queue_summarize(row),
            Request::ChannelList => self.channel_list(row),
            Request::PluginList => {
                for plugin in self.hub.dispatcher().plugins() {
                    put(row, &plugin_row(plugin));
                }
                Ok(())
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
            Request::Reload => self.reload(row),
            Request::Ping => {
                put(row, &HubRow { version: env!("CARGO_PKG_VERSION").to_owned(), pid: std::process::id() });
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
        version: plugin.version,
        abi: plugin.abi,
        description: plugin.description,
        options: plugin.options,
        channels: plugin.channels,
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
