//! Releases: what a selector names, who may run it, and what runs then.
//!
//! # Reading
//! `domain` names the queues of exactly that domain, in any channel; also those of the host it is rewritten to; and
//! where it is the fixed peer of a channel (`daemon`), all of that channel. `@domain` names the queues of the domain and of
//! everything below it. `#channel` names all queues of the channel. `id:` names one message.
//!
//! ETRN runs no channel that has `blocketrn`, nor the local one; an operator may run both. Channels that nobody can run
//! (`slave`, no plugin) have nothing to run, which is no error. What an operator has closed stays closed for everybody:
//! a stopped channel does not run, and the mail of a suspended domain is left as it is.

use std::sync::Arc;

use sluice_mail::{Address, ReversedDomain, Time};
use sluice_queue::{ChannelKey, Collect, QueueKey, Selector};
use sluice_rewrite::{Context, Kind};

use crate::core::Core;
use crate::event::{Matched, Released, Requester};
use crate::notice::PROCESS_CHANNEL;

/// How many similar names are offered for one that is unknown.
const NEAREST_MAX: usize = 3;

/// What a selector names.
#[derive(Default)]
struct Named {
    queues: Vec<QueueKey>,
    channels: Vec<ChannelKey>,
    /// Channels named whole: their queues yet to come are covered too.
    whole: Vec<ChannelKey>,
    /// The configuration knows the name, whether or not there is mail.
    is_known: bool,
    /// The message is there.
    message: bool,
}

impl Core {
    /// Makes what waits under the selector due now, as far as the requester may.
    pub(crate) fn release(&mut self, selector: Selector, requester: &Requester, now: Time) -> Released {
        let named = self.named(&selector, requester);
        let is_known = named.is_known || !named.queues.is_empty() || named.message;
        let is_blocked = |core: &Self, key: ChannelKey| {
            matches!(requester, Requester::Etrn { .. })
                && core.policy(key).is_some_and(|policy| policy.block_etrn)
        };
        let blocked = named.channels.iter().filter(|&&key| is_blocked(self, key)).count();
        let all_blocked = blocked > 0 && blocked == named.channels.len();
        let mut running: Vec<ChannelKey> = named
            .channels
            .iter()
            .copied()
            .filter(|&key| !is_blocked(self, key) && !self.is_stopped(key) && self.may_run(key, requester))
            .collect();
        running.sort_unstable();
        running.dedup();
        let (is_closed, closed) = self.closed_ways(&selector, &named);
        let mut queues: Vec<QueueKey> = named
            .queues
            .into_iter()
            .filter(|&queue| {
                running.binary_search(&self.queues.queue_names(queue).0).is_ok()
                    && !self.queues.is_suspended(queue)
            })
            .collect();
        queues.sort_unstable();
        queues.dedup();
        let messages = match &selector {
            Selector::Message(id) => {
                let list = self.queues.list_message(*id);
                let covered = |entry: &sluice_queue::EntryView| entry.state != sluice_queue::State::Held;
                if list.iter().any(covered) && !queues.is_empty() {
                    self.queues.release_message(*id, now);
                    1
                } else {
                    0
                }
            }
            _ => self.queues.count_messages(&queues),
        };
        match &selector {
            Selector::Message(_) => {}
            Selector::Subnet(domain) => {
                let collect = Collect::Subnet(ReversedDomain::new(domain), self.runnable(requester));
                self.queues.release(&queues, collect, now);
            }
            Selector::Host(_) | Selector::Channel(_) => {
                for &channel in named.whole.iter().filter(|key| running.contains(key)) {
                    let own: Vec<QueueKey> = queues
                        .iter()
                        .copied()
                        .filter(|&queue| self.queues.queue_names(queue).0 == channel)
                        .collect();
                    self.queues.release(&own, Collect::Channel(channel), now);
                }
                let others: Vec<QueueKey> = queues
                    .iter()
                    .copied()
                    .filter(|&queue| !named.whole.contains(&self.queues.queue_names(queue).0))
                    .collect();
                self.queues.release(&others, Collect::Named, now);
            }
        }
        // An operator who runs a channel also asks its peer for what that holds for us.
        if matches!((&selector, requester), (Selector::Channel(_), Requester::Operator)) {
            for &key in &running {
                let asks = self.policy(key).is_some_and(|policy| policy.asks);
                if asks {
                    self.poll(key);
                }
            }
        }
        if *requester == Requester::Operator {
            // Somebody has looked, and perhaps mended the plugin: not the moment to sit out a pause. A peer's ETRN has
            // no such power, else it could have a broken plugin started as often as it likes.
            running.iter().for_each(|&key| self.wake_channel(key));
        }
        let mut channels: Vec<String> =
            running.iter().map(|&key| self.queues.channel_name(key).to_string()).collect();
        channels.sort_unstable();
        let matched = match (is_known, all_blocked) {
            (false, _) => Matched::Unknown,
            (true, true) => Matched::Blocked,
            (true, false) if is_closed => Matched::Closed,
            (true, false) => Matched::Known,
        };
        let nearest = match (matched, requester) {
            (Matched::Unknown, Requester::Operator) => self.nearest(&selector),
            _ => Vec::new(),
        };
        let selector_text = selector.to_string();
        let channels_text = channels.join(" ");
        tracing::info!(selector = selector_text, %requester, messages, channels = channels_text, ?matched, closed = closed.join(", "), "release");
        Released { selector, channels, messages, matched, nearest, closed }
    }

    /// Whether an operator has closed all that a selector names, and what is closed of it.
    fn closed_ways(&self, selector: &Selector, named: &Named) -> (bool, Vec<String>) {
        let stopped: Vec<ChannelKey> =
            named.channels.iter().copied().filter(|&key| self.is_stopped(key)).collect();
        let suspended: Vec<QueueKey> =
            named.queues.iter().copied().filter(|&queue| self.queues.is_suspended(queue)).collect();
        let whole = match selector {
            Selector::Host(domain) => self.closed.suspension_of(domain),
            Selector::Subnet(domain) => self.closed.suspension_below(domain),
            Selector::Channel(_) | Selector::Message(_) => None,
        };
        let all_stopped = !named.channels.is_empty() && stopped.len() == named.channels.len();
        let all_suspended = match whole {
            // A name may also be that of a fixed peer, whose mail is for other domains.
            Some(_) => suspended.len() == named.queues.len(),
            None => !named.queues.is_empty() && suspended.len() == named.queues.len(),
        };
        let names =
            stopped.iter().map(|&key| format!("channel {} is stopped", self.queues.channel_name(key)));
        let domains =
            suspended.iter().filter_map(|&queue| self.closed.suspension_of(self.queues.queue_names(queue).1));
        let domains = domains.chain(whole).map(|one| format!("{one} is suspended"));
        let mut closed: Vec<String> = names.chain(domains).collect();
        closed.sort_unstable();
        closed.dedup();
        (all_stopped || all_suspended, closed)
    }

    fn named(&mut self, selector: &Selector, requester: &Requester) -> Named {
        let mut named = Named::default();
        match selector {
            Selector::Host(domain) => self.name_host(domain, requester, &mut named),
            Selector::Subnet(domain) => {
                named.queues = self.queues.queues_of_subnet(domain);
                named.channels = named.queues.iter().map(|&queue| self.queues.queue_names(queue).0).collect();
                let routed = self.route(domain, requester);
                named.is_known = routed.is_some() || self.loaded.rewriter.knows_under(domain);
                if let Some((channel, _)) = routed {
                    named.channels.push(channel);
                }
            }
            Selector::Channel(name) => {
                let configured = self.loaded.config.channels.by_name(name).is_some();
                if let Some(key) =
                    self.queues.known_channel(name).filter(|key| key.index() < self.channels.len())
                {
                    named.queues = self.queues.queues_of_channel(key);
                    if configured || !named.queues.is_empty() {
                        named.channels.push(key);
                        named.whole.push(key);
                    }
                }
                named.is_known = configured;
            }
            Selector::Message(id) => {
                let list = self.queues.list_message(*id);
                named.message = !list.is_empty();
                for entry in list {
                    let key = self.channel(&entry.channel);
                    named.channels.push(key);
                    named.queues.extend(self.queues.queue(key, &entry.domain));
                }
            }
        }
        named
    }

    fn name_host(&mut self, domain: &str, requester: &Requester, named: &mut Named) {
        named.queues = self.queues.queues_of_domain(domain);
        // A fixed peer, by its name: the whole channel is for it.
        for &key in self.peers.get(domain).into_iter().flatten() {
            named.is_known = true;
            named.channels.push(key);
            named.whole.push(key);
            named.queues.extend(self.queues.queues_of_channel(key));
        }
        // What mail for it would be queued under, which a rule may spell in another way.
        if let Some((channel, host)) = self.route(domain, requester) {
            named.is_known = true;
            named.channels.push(channel);
            if host != domain {
                named.queues.extend(self.queues.queue(channel, &host));
            }
        }
        let own: Vec<ChannelKey> =
            named.queues.iter().map(|&queue| self.queues.queue_names(queue).0).collect();
        named.channels.extend(own);
        named.channels.sort_unstable();
        named.channels.dedup();
    }

    /// Channel and host that mail for a domain goes to.
    fn route(&mut self, domain: &str, requester: &Requester) -> Option<(ChannelKey, String)> {
        let address =
            Address { route: Vec::new(), local: "postmaster".to_owned(), host: Some(domain.to_owned()) };
        let source_channel = match requester {
            Requester::Etrn { source_channel, .. } => source_channel.as_str(),
            Requester::Operator | Requester::Schedule => PROCESS_CHANNEL,
        };
        let context = Context { kind: Kind::EnvelopeTo, source_channel, destination_channel: None };
        let rewriter = Arc::clone(&self.loaded.rewriter);
        let route = rewriter.route(&address, &context, None).ok()?;
        Some((self.channel(&route.channel), route.host().to_lowercase()))
    }

    /// Whether there is anything to run at all.
    pub(crate) fn may_run(&self, key: ChannelKey, requester: &Requester) -> bool {
        let is_kept_back = matches!(requester, Requester::Etrn { .. }) && self.is_local(key);
        !is_kept_back && self.policy(key).is_some_and(crate::policy::Policy::runs)
    }

    pub(crate) fn is_local(&self, key: ChannelKey) -> bool {
        **self.queues.channel_name(key) == *self.loaded.config.channels.local().name
    }

    fn runnable(&self, requester: &Requester) -> Arc<[ChannelKey]> {
        let [operators, peers] = &self.runnable;
        Arc::clone(if matches!(requester, Requester::Etrn { .. }) { peers } else { operators })
    }

    /// Names like the one that nobody knows.
    fn nearest(&self, selector: &Selector) -> Vec<String> {
        let config = &self.loaded.config;
        let (word, prefix, mut names): (&str, &str, Vec<String>) = match selector {
            Selector::Channel(name) => {
                (name, "#", config.channels.iter().map(|channel| channel.name.clone()).collect())
            }
            Selector::Host(domain) | Selector::Subnet(domain) => {
                let waiting = self.queues.summaries().map(|summary| summary.domain.to_string());
                let hosts = config
                    .channels
                    .iter()
                    .flat_map(|channel| channel.hosts.iter().map(|host| host.name.to_lowercase()));
                let peers =
                    config.channels.iter().filter_map(|channel| channel.fixed_peer().map(str::to_lowercase));
                // Patterns that spell a domain out: nothing may wait for it now, and it is known all the same.
                let spelt =
                    config.rules.iter().map(|rule| rule.pattern.trim_start_matches('.').to_lowercase());
                let ruled = spelt.filter(|pattern| pattern.starts_with(char::is_alphanumeric));
                let prefix = if matches!(selector, Selector::Subnet(_)) { "@" } else { "" };
                (domain, prefix, waiting.chain(hosts).chain(peers).chain(ruled).collect())
            }
            Selector::Message(_) => return Vec::new(),
        };
        let mut found = Vec::new();
        while found.len() < NEAREST_MAX {
            let Some(name) = sluice_diag::nearest(word, names.iter().map(String::as_str)).map(str::to_owned)
            else {
                break;
            };
            names.retain(|other| *other != name);
            found.push(format!("{prefix}{name}"));
        }
        found
    }
}
