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
//!
//! Where mail is a site's (`sites.cnf`), an order for the site releases that and no other site's, and an order for whatever else
//! leaves it where it is unless its requester may have it: whoever names a channel or a domain above gets nothing that a
//! login protects.

use std::sync::Arc;

use sluice_config::Site;
use sluice_mail::{Address, ReversedDomain, Time};
use sluice_queue::{ChannelKey, Collect, Count, QueueKey, Selector, State};
use sluice_rewrite::{Context, Kind, Rejected};
use sluice_spool::EntryId;

use crate::core::Core;
use crate::notice::PROCESS_CHANNEL;
use crate::order::{Matched, Order, ReleaseId, Released, Requester, written};
use crate::runs::Run;

/// How many similar names are offered for one that is unknown.
const NEAREST_MAX: usize = 3;

/// What the selectors of an order name.
#[derive(Default)]
struct Named {
    queues: Vec<QueueKey>,
    channels: Vec<ChannelKey>,
    /// Channels named whole: their queues yet to come are covered too.
    whole: Vec<ChannelKey>,
    /// Domains named with everything below them.
    subnets: Vec<String>,
    /// Messages named by their id, those that are there.
    messages: Vec<EntryId>,
    /// The configuration knows a name, whether or not there is mail.
    is_known: bool,
    /// A database could not be asked where mail for a domain goes.
    is_unanswered: bool,
}

const fn is_channel(selector: &Selector) -> bool {
    matches!(selector, Selector::Channel(_))
}

impl Core {
    /// Makes what waits under the order's selectors due now, as far as its requester may.
    pub(crate) fn release(&mut self, order: &Order, now: Time) -> Released {
        let id = self.next_release(now);
        let Order { selectors, requester, via, site } = order.clone();
        let mut named = Named::default();
        for selector in &selectors {
            self.name(selector, &requester, &mut named);
        }
        let loaded = Arc::clone(&self.loaded);
        let (sites, site_name) = (&loaded.config.sites, site);
        let site = site_name.as_deref().and_then(|name| sites.by_name(name));
        let is_known =
            named.is_known || site.is_some() || !named.queues.is_empty() || !named.messages.is_empty();
        named.channels.sort_unstable();
        named.channels.dedup();
        let is_blocked = |core: &Self, key: ChannelKey| {
            requester.peer().is_some() && core.policy(key).is_some_and(|policy| policy.block_etrn)
        };
        let blocked = named.channels.iter().filter(|&&key| is_blocked(self, key)).count();
        let all_blocked = blocked > 0 && blocked == named.channels.len();
        let may_run = |core: &Self, key| {
            !is_blocked(core, key) && !core.is_stopped(key) && core.may_run(key, &requester)
        };
        let running: Vec<ChannelKey> =
            named.channels.iter().copied().filter(|&key| may_run(self, key)).collect();
        let (is_closed, closed) = self.closed_ways(&selectors, &named);
        let mut queues = named.queues;
        queues.retain(|&queue| {
            running.binary_search(&self.queues.queue_names(queue).0).is_ok()
                && !self.queues.is_suspended(queue)
                && self.may_have(queue, &requester, site)
        });
        queues.sort_unstable();
        queues.dedup();
        let mut collects = Vec::new();
        // What comes into being while the run lasts is not looked at again, so it must all be the requester's.
        let is_alone = |domain: &str| requester.peer().is_none() || !sites.others_below(domain, site);
        for domain in named.subnets.iter().filter(|domain| is_alone(domain)) {
            collects.push(Collect::Subnet(ReversedDomain::new(domain), self.runnable(&requester)));
        }
        if sites.is_empty() || requester.peer().is_none() || site.is_some_and(|site| site.domains.is_empty())
        {
            let whole = named.whole.iter().filter(|key| running.contains(key));
            collects.extend(whole.map(|&key| Collect::Channel(key)));
        }
        let mut covered = self.queues.count(&queues);
        let party = order.party();
        let mut with = self.begin_run(id, &via, party.as_ref(), &queues, collects, now);
        for message in named.messages {
            covered += self.release_message(id, message, &running, &mut with, now);
        }
        // An operator who runs a channel also asks its peer for what that holds for us.
        if requester == Requester::Operator {
            let named_whole = named.whole.iter().filter(|key| running.contains(key));
            let asks = |&&key: &&ChannelKey| self.policy(key).is_some_and(|policy| policy.asks);
            let asking: Vec<ChannelKey> = named_whole.filter(asks).copied().collect();
            if selectors.iter().any(is_channel) {
                asking.into_iter().for_each(|key| self.poll(key));
            }
            // Somebody has looked, and perhaps mended the plugin: not the moment to sit out a pause. A peer's ETRN has
            // no such power, else it could have a broken plugin started as often as it likes.
            running.iter().for_each(|&key| self.wake_channel(key));
        }
        let mut channels: Vec<String> =
            running.iter().map(|&key| self.queues.channel_name(key).to_string()).collect();
        channels.sort_unstable();
        let matched = match (is_known, all_blocked) {
            (false, _) if named.is_unanswered => Matched::Unanswered,
            (false, _) => Matched::Unknown,
            (true, true) => Matched::Blocked,
            (true, false) if is_closed => Matched::Closed,
            (true, false) => Matched::Known,
        };
        if matched == Matched::Known {
            self.begin_record(id, order, covered, &with, now);
        }
        if requester != Requester::Operator {
            running.iter().for_each(|&key| self.leave_runs_in_pause(key, now));
        }
        let nearest = match (matched, &requester, selectors.as_slice()) {
            (Matched::Unknown, Requester::Operator, [selector]) => self.nearest(selector),
            _ => Vec::new(),
        };
        let (selector, channels_text) = (written(&selectors), channels.join(" "));
        let messages = covered.messages;
        let joined = with.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        tracing::info!(%id, selector, %requester, site = site_name, %via, messages, channels = channels_text, joined, ?matched, closed = closed.join(", "), "release");
        Released { id, selectors, channels, messages, covered, with, matched, nearest, closed }
    }

    /// Whether what waits in a queue may go by an order for a site, or for none in particular.
    fn may_have(&self, queue: QueueKey, requester: &Requester, site: Option<&Site>) -> bool {
        let (channel, domain) = self.queues.queue_names(queue);
        let channel = self.queues.channel_name(channel);
        let owner = self.loaded.config.sites.owner(channel, domain);
        match site {
            // A name of the site may be that of a fixed peer, with mail that is nobody's in particular.
            Some(site) => {
                site.channel.as_deref().is_none_or(|own| *own == **channel)
                    && owner.is_none_or(|owner| owner.name == site.name)
            }
            None => requester
                .peer()
                .is_none_or(|peer| owner.is_none_or(|owner| owner.is_open_to(peer.login.as_deref()))),
        }
    }

    /// Whether an operator has closed all that the selectors name, and what is closed of it.
    fn closed_ways(&self, selectors: &[Selector], named: &Named) -> (bool, Vec<String>) {
        let stopped: Vec<ChannelKey> =
            named.channels.iter().copied().filter(|&key| self.is_stopped(key)).collect();
        let suspended: Vec<QueueKey> =
            named.queues.iter().copied().filter(|&queue| self.queues.is_suspended(queue)).collect();
        let suspension = |selector: &Selector| match selector {
            Selector::Host(domain) => self.closed.suspension_of(domain),
            Selector::Subnet(domain) => self.closed.suspension_below(domain),
            Selector::Channel(_) | Selector::Message(_) => None,
        };
        let whole: Vec<_> = selectors.iter().map(suspension).collect();
        let all_stopped = !named.channels.is_empty() && stopped.len() == named.channels.len();
        // A name may also be that of a fixed peer, whose mail is for other domains.
        let all_suspended = suspended.len() == named.queues.len()
            && (!named.queues.is_empty() || (!whole.is_empty() && whole.iter().all(Option::is_some)));
        let names =
            stopped.iter().map(|&key| format!("channel {} is stopped", self.queues.channel_name(key)));
        let domains =
            suspended.iter().filter_map(|&queue| self.closed.suspension_of(self.queues.queue_names(queue).1));
        let domains = domains.chain(whole.into_iter().flatten()).map(|one| format!("{one} is suspended"));
        let mut closed: Vec<String> = names.chain(domains).collect();
        closed.sort_unstable();
        closed.dedup();
        (all_stopped || all_suspended, closed)
    }

    /// What is released of one message, by itself.
    fn release_message(
        &mut self,
        id: ReleaseId,
        message: EntryId,
        running: &[ChannelKey],
        with: &mut Vec<ReleaseId>,
        now: Time,
    ) -> Count {
        let list = self.queues.list_message(message);
        let runs = |entry: &sluice_queue::EntryView| {
            self.queues.known_channel(&entry.channel).is_some_and(|key| running.contains(&key))
        };
        let covered = |entry: &&sluice_queue::EntryView| {
            runs(entry) && !matches!(entry.state, State::Held | State::Deferred)
        };
        let Some(size) = list.iter().find(covered).map(|entry| entry.size) else { return Count::default() };
        let queues = self.queues.release_message(id.0, message, now);
        if self.queues.tally(id.0).is_some() {
            self.runs.insert(id, Run::as_configured());
        }
        with.extend(queues.iter().filter_map(|&queue| self.queues.run_of(queue).map(ReleaseId)));
        with.sort_unstable();
        with.dedup();
        let recipients = self.queues.recipients_of_message(message);
        Count { messages: 1, recipients, bytes: size }
    }

    /// Adds what a selector names.
    fn name(&mut self, selector: &Selector, requester: &Requester, named: &mut Named) {
        match selector {
            Selector::Host(domain) => self.name_host(domain, requester, named),
            Selector::Subnet(domain) => {
                let queues = self.queues.queues_of_subnet(domain);
                named.channels.extend(queues.iter().map(|&queue| self.queues.queue_names(queue).0));
                named.queues.extend(queues);
                named.subnets.push(domain.clone());
                let routed = self.route(domain, requester, named);
                named.is_known |= routed.is_some() || self.loaded.rewriter.knows_under(domain);
                if let Some((channel, _)) = routed {
                    named.channels.push(channel);
                }
            }
            Selector::Channel(name) => {
                let configured = self.loaded.config.channels.by_name(name).is_some();
                if let Some(key) =
                    self.queues.known_channel(name).filter(|key| key.index() < self.channels.len())
                {
                    let queues = self.queues.queues_of_channel(key);
                    if configured || !queues.is_empty() {
                        named.channels.push(key);
                        named.whole.push(key);
                    }
                    named.queues.extend(queues);
                }
                named.is_known |= configured;
            }
            Selector::Message(id) => {
                let list = self.queues.list_message(*id);
                if !list.is_empty() {
                    named.messages.push(*id);
                }
                for entry in list {
                    let key = self.channel(&entry.channel);
                    named.channels.push(key);
                }
            }
        }
    }

    fn name_host(&mut self, domain: &str, requester: &Requester, named: &mut Named) {
        let queues = self.queues.queues_of_domain(domain);
        named.channels.extend(queues.iter().map(|&queue| self.queues.queue_names(queue).0));
        named.queues.extend(queues);
        // A fixed peer, by its name: the whole channel is for it.
        for &key in self.peers.get(domain).into_iter().flatten() {
            named.is_known = true;
            named.channels.push(key);
            named.whole.push(key);
            named.queues.extend(self.queues.queues_of_channel(key));
        }
        // What mail for it would be queued under, which a rule may spell in another way.
        if let Some((channel, host)) = self.route(domain, requester, named) {
            named.is_known = true;
            named.channels.push(channel);
            if host != domain {
                named.queues.extend(self.queues.queue(channel, &host));
            }
        }
    }

    /// Channel and host that mail for a domain goes to.
    fn route(
        &mut self,
        domain: &str,
        requester: &Requester,
        named: &mut Named,
    ) -> Option<(ChannelKey, String)> {
        let address =
            Address { route: Vec::new(), local: "postmaster".to_owned(), host: Some(domain.to_owned()) };
        let source_channel = requester.peer().map_or(PROCESS_CHANNEL, |peer| peer.source_channel.as_str());
        let context = Context { kind: Kind::EnvelopeTo, source_channel, destination_channel: None };
        let rewriter = Arc::clone(&self.loaded.rewriter);
        match rewriter.route(&address, &context, None) {
            Ok(route) => Some((self.channel(&route.channel), route.host().to_lowercase())),
            Err(rejected) => {
                named.is_unanswered |= rejected == Rejected::unavailable();
                None
            }
        }
    }

    /// Whether there is anything to run at all.
    pub(crate) fn may_run(&self, key: ChannelKey, requester: &Requester) -> bool {
        let is_kept_back = requester.peer().is_some() && self.is_local(key);
        !is_kept_back && self.policy(key).is_some_and(crate::policy::Policy::runs)
    }

    pub(crate) fn is_local(&self, key: ChannelKey) -> bool {
        **self.queues.channel_name(key) == *self.loaded.config.channels.local().name
    }

    fn runnable(&self, requester: &Requester) -> Arc<[ChannelKey]> {
        let [operators, peers] = &self.runnable;
        Arc::clone(if requester.peer().is_some() { peers } else { operators })
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
