//! Sites in the dispatcher: releases by their schedules, the windows in which their mail may go on its own, and their ages.
//!
//! A schedule is planned one moment ahead, within the site's windows; of those that passed while no hub ran one is made up for
//! (`moments`). Planning a hundred thousand schedules takes a while, so that it is done in steps between which
//! the loop goes on.
//!
//! A window acts where an entry is put: what would be due while it is closed is due when it opens. Who asks gets mail at any
//! time, since a release makes due whatever it finds, except for messages beyond `MAX_SIZE_IN_WINDOW`: those wait for the window
//! like mail for a date of its sender's, which no release moves, and go when it opens, whatever the channel. What is due when the window closes, and has found no free job, still goes, large messages excepted: no lease takes those
//! while it is closed. Where a site keeps large messages for its windows, its mail goes smallest first.
//!
//! # Not here
//! What a release is (`release`), and whom the server lets ask (`smtpd`).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sluice_config::{Config, Site, SiteDomain, Tier, Windows};
use sluice_mail::{Time, rfc5322_date};
use sluice_queue::{EntryKey, Placement, QueueKey, Selector, Then};

use crate::core::Core;
use crate::moments::{LATE, PlanState};
use crate::order::{Order, Requester, Via};
use crate::runs::Way;

/// Schedules that are planned in one step of the loop.
const PLANNED_MAX: usize = 256;
/// Releases by schedule in one step of the loop.
const RELEASED_MAX: usize = 64;

/// How long a large message rests after a failed attempt in a channel that makes no attempts of its own.
pub(crate) const LARGE_PAUSE: Duration = Duration::from_secs(900);

/// What the configuration's sites ask of the dispatcher.
#[derive(Debug, Default)]
pub(crate) struct SitePlan {
    /// The next release of each site with a schedule.
    next: BTreeSet<(Time, Box<str>)>,
    /// Sites whose next release is still to be found out.
    unplanned: Vec<Box<str>>,
    has_windows: bool,
    has_ages: bool,
    /// Some site keeps large messages for its windows.
    has_sizes: bool,
}

impl SitePlan {
    pub(crate) const fn has_sizes(&self) -> bool {
        self.has_sizes
    }

    pub(crate) fn of(config: &Config) -> Self {
        let mut plan = Self::default();
        for site in &config.sites {
            if site.schedule.is_some() {
                plan.unplanned.push(site.name.clone());
            }
            plan.has_windows |= site.windows.is_some();
            plan.has_sizes |= keeps_large(site);
            plan.has_ages |= site.lifetime.is_some() || site.notices.is_some();
        }
        plan.has_windows |= config.channels.iter().any(|channel| channel.windows.is_some());
        plan
    }

    pub(crate) fn kept(&self) -> PlanState {
        PlanState { is_planned: self.unplanned.is_empty(), next: self.next.first().map(|(at, _)| *at) }
    }

    /// When there is something to do; at once while there are schedules to plan.
    pub(crate) fn next_wake(&self) -> Option<Time> {
        if self.unplanned.is_empty() { self.next.first().map(|(at, _)| *at) } else { Some(Time(0)) }
    }
}

/// Which way the mail of a site goes when nobody has asked for it: to its target, if it has one.
fn way_of(site: &Site) -> Via {
    let target = site.target.as_deref().filter(|_| matches!(site.tier, Tier::Static | Tier::Dynamic));
    let Some(target) = target else { return Via::Channel };
    let text = site.port.map_or_else(|| target.to_owned(), |port| format!("{target}:{port}"));
    Via::target(&text).unwrap_or(Via::Channel)
}

/// Whether a site keeps large messages for its windows.
fn keeps_large(site: &Site) -> bool {
    site.max_size_in_window.is_some() && site.windows.is_some()
}

impl Order {
    /// What waits for a domain of a site.
    #[must_use]
    pub fn selector_of(own: &SiteDomain) -> Selector {
        match own.with_below {
            true => Selector::Subnet(own.domain.to_string()),
            false => Selector::Host(own.domain.to_string()),
        }
    }

    /// All that waits for a site.
    #[must_use]
    pub fn selectors_of(site: &Site) -> Vec<Selector> {
        match (&*site.domains, &site.channel) {
            ([], Some(channel)) => vec![Selector::Channel(channel.to_string())],
            (domains, _) => domains.iter().map(Self::selector_of).collect(),
        }
    }

    /// An order for all that waits for a site, to go to its target if it has one.
    #[must_use]
    pub fn for_site(site: &Site, requester: Requester) -> Self {
        Self {
            selectors: Self::selectors_of(site),
            requester,
            via: way_of(site),
            site: Some(site.name.to_string()),
        }
    }
}

impl Core {
    /// Releases the sites whose moment has come, and finds out the next one of each.
    pub(crate) fn release_sites(&mut self, now: Time) {
        if self.stopping.is_some() {
            return;
        }
        let config = Arc::clone(&self.loaded.config);
        for _ in 0..PLANNED_MAX {
            let Some(name) = self.sites.unplanned.pop() else { break };
            self.plan(&config, name, self.moments.kept.min(now));
        }
        let mut taken = false;
        for _ in 0..RELEASED_MAX {
            let Some((at, name)) = self.sites.next.pop_first() else { break };
            if at > now {
                self.sites.next.insert((at, name));
                break;
            }
            taken = true;
            // A moment that is made up for may find the window closed.
            let is_open = |site: &&Site| site.windows.as_ref().is_none_or(|windows| windows.is_open(now));
            if let Some(site) = config.sites.by_name(&name).filter(is_open) {
                if at.plus(LATE) < now {
                    tracing::info!(site = &*name, at = %rfc5322_date(at), "a moment of its schedule was missed: released now");
                }
                let order = Order::for_site(site, Requester::Schedule);
                self.release(&order, now);
            }
            self.plan(&config, name, now);
        }
        if taken {
            self.note_moments(now);
        }
    }

    fn plan(&mut self, config: &Config, name: Box<str>, after: Time) {
        let Some(site) = config.sites.by_name(&name) else { return };
        let Some(schedule) = &site.schedule else { return };
        if let Some(next) = schedule.next_within(site.windows.as_deref(), after) {
            self.sites.next.insert((next, name));
        }
    }

    /// The site whose mail stands in a queue.
    pub(crate) fn site_of(&self, channel: &str, domain: &str) -> Option<&Site> {
        self.loaded.config.sites.owner(channel, domain)
    }

    /// What the mail in a queue is ordered by: where large messages wait for a window, size counts, so that as many as
    /// may be are through when the line goes down.
    pub(crate) fn order_of(&self, channel: &str, domain: &str) -> sluice_queue::Order {
        let site = self.sites.has_sizes.then(|| self.site_of(channel, domain)).flatten();
        if site.is_some_and(keeps_large) { sluice_queue::Order::Size } else { sluice_queue::Order::Age }
    }

    /// Orders all queues as the configuration in force says, where it or the one before says anything.
    pub(crate) fn order_queues(&mut self, had_sizes: bool) {
        if !self.sites.has_sizes && !had_sizes {
            return;
        }
        let mut queues = std::mem::take(&mut self.queues);
        queues.set_orders(|channel, domain| self.order_of(channel, domain));
        self.queues = queues;
    }

    /// The windows of the mail in a queue: those of its site, or else of its channel.
    fn windows_of(&self, channel: &str, domain: &str) -> Option<&Windows> {
        let of_site = self.site_of(channel, domain).and_then(|site| site.windows.as_deref());
        let of_channel = || self.policy(self.queues.known_channel(channel)?)?.windows.as_deref();
        of_site.or_else(of_channel)
    }

    /// Where mail is put that would be due while its window is closed: until it opens. A large message waits for that
    /// whoever asks; `pause` is how long it rests first where nothing but a request would start it.
    pub(crate) fn within_window(
        &self,
        (channel, domain): (&str, &str),
        size: u64,
        placement: Placement,
        pause: Duration,
        now: Time,
    ) -> Placement {
        if !self.sites.has_windows {
            return placement;
        }
        let Some(windows) = self.windows_of(channel, domain) else { return placement };
        let site = self.site_of(channel, domain).filter(|site| site.windows.is_some());
        let is_large = site.and_then(|site| site.max_size_in_window).is_some_and(|most| size > most);
        let due = match placement {
            Placement::Ready => now,
            Placement::At(due) => due.max(now),
            Placement::UntilReleased if is_large => now.plus(pause),
            _ => return placement,
        };
        match windows.opens_after(due) {
            Some(open) if open <= due => match placement {
                Placement::UntilReleased => Placement::At(due),
                placement => placement,
            },
            // Only time moves what is put off like that, and no request.
            Some(open) if is_large => Placement::Deferred { until: open, then: Then::Ready },
            Some(open) => Placement::At(open),
            None => Placement::UntilReleased,
        }
    }

    /// A date of its sender's is the earliest time for a message, and no window: where none is open when the date comes, it
    /// waits for the next one.
    pub(crate) fn hold_dated(&mut self, now: Time) {
        for entry in self.queues.take_dated() {
            let record = self.queues.entry(entry);
            let (channel, domain) = self.queues.queue_names(record.queue);
            let queue = (&**self.queues.channel_name(channel), &**domain);
            let size = self.queues.message(record.message).size;
            let placement = self.within_window(queue, size, Placement::Ready, Duration::ZERO, now);
            if placement != Placement::Ready {
                self.queues.put_back(entry, placement, now);
            }
        }
    }

    /// Where an entry has to wait that is too large for the time being, because its window has closed since it became due.
    pub(crate) fn too_large_now(&self, key: EntryKey, now: Time) -> Option<Placement> {
        if !self.sites.has_sizes {
            return None;
        }
        let entry = self.queues.entry(key);
        let (channel, domain) = self.queues.queue_names(entry.queue);
        let site = self.site_of(self.queues.channel_name(channel), domain)?;
        let (windows, most) = (site.windows.as_deref()?, site.max_size_in_window?);
        if self.queues.message(entry.message).size <= most || windows.is_open(now) {
            return None;
        }
        Some(match windows.opens_after(now) {
            Some(until) => Placement::Deferred { until, then: Then::Ready },
            None => Placement::UntilReleased,
        })
    }

    /// Takes out of a lease what is too large for the time being; it waits for its window. Whether nothing is left of the
    /// lease: then it was none.
    pub(crate) fn put_back_large(&mut self, taken: &mut Vec<EntryKey>, way: &Way, now: Time) -> bool {
        if !self.sites.has_sizes || taken.is_empty() {
            return false;
        }
        taken.retain(|&entry| {
            let Some(placement) = self.too_large_now(entry, now) else { return true };
            self.queues.put_back(entry, placement, now);
            false
        });
        if let Some(run) = way.turned.filter(|_| taken.is_empty()) {
            self.queues.end_turn(run.0, now);
        }
        taken.is_empty()
    }

    /// What becomes of mail whose date has come, where the date may be the opening of a window.
    pub(crate) fn after_window(&self, (channel, domain): (&str, &str), size: u64, then: Then) -> Then {
        let site = self.sites.has_windows.then(|| self.site_of(channel, domain)).flatten();
        let is_large = site.and_then(|site| site.max_size_in_window).is_some_and(|most| size > most);
        if is_large { Then::Ready } else { then }
    }

    /// Leaves the queues that have an open window now, or need none.
    pub(crate) fn keep_open_windows(&self, queues: &mut Vec<QueueKey>, now: Time) {
        if !self.sites.has_windows {
            return;
        }
        queues.retain(|&queue| {
            let (key, domain) = self.queues.queue_names(queue);
            let windows = self.windows_of(self.queues.channel_name(key), domain);
            windows.is_none_or(|windows| windows.is_open(now))
        });
    }

    /// What a sender is told whose mail waits for a site: that it is not always there, and when it is expected if that is
    /// known. Empty where the mail is no site's.
    pub(crate) fn expected_of_site(&self, channel: &str, domain: &str, now: Time) -> String {
        let Some(site) = self.site_of(channel, domain) else { return String::new() };
        let (windows, schedule) = (site.windows.as_deref(), site.schedule.as_deref());
        let release = schedule.and_then(|schedule| schedule.next_within(windows, now));
        let opens =
            windows.filter(|windows| !windows.is_open(now)).and_then(|windows| windows.opens_after(now));
        match release.or(opens) {
            Some(at) => format!(
                "waits for a host that is not always connected; it is expected on {}",
                rfc5322_date(at)
            ),
            None => "waits for a host that is not always connected; it gets its mail when it asks for it"
                .to_owned(),
        }
    }

    /// The ages of a queue's mail where its site has its own, made of those of the channel.
    pub(crate) fn ages_of_site<'a>(
        &self,
        queue: QueueKey,
        of_channel: &'a [Duration],
    ) -> Cow<'a, [Duration]> {
        if !self.sites.has_ages {
            return Cow::Borrowed(of_channel);
        }
        let (key, domain) = self.queues.queue_names(queue);
        match self.site_of(self.queues.channel_name(key), domain) {
            Some(site) if site.lifetime.is_some() || site.notices.is_some() => {
                Cow::Owned(ages(site.notices.as_deref(), site.lifetime, of_channel))
            }
            _ => Cow::Borrowed(of_channel),
        }
    }
}

/// Warnings, and the end: `LIFETIME` is the end, else the last of `NOTICES`; warnings are those of the site, else of the
/// channel, as far as they come before the end.
fn ages(notices: Option<&[Duration]>, lifetime: Option<Duration>, of_channel: &[Duration]) -> Vec<Duration> {
    let warnings = match (notices, lifetime) {
        (Some(notices), _) => notices,
        // The last age of a channel is its end, which the site's takes the place of.
        (None, Some(_)) => of_channel.split_last().map_or(of_channel, |(_, warnings)| warnings),
        (None, None) => of_channel,
    };
    let Some(lifetime) = lifetime else { return warnings.to_vec() };
    warnings.iter().copied().filter(|age| *age < lifetime).chain([lifetime]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_of_a_site_take_the_place_of_the_channels() {
        let days =
            |days: &[u64]| days.iter().map(|day| Duration::from_secs(day * 86_400)).collect::<Vec<_>>();
        let channel = days(&[3, 6, 9, 12]);
        let end = |day: u64| Some(Duration::from_secs(day * 86_400));
        assert_eq!(ages(None, end(60), &channel), days(&[3, 6, 9, 60]));
        assert_eq!(ages(None, end(5), &channel), days(&[3, 5]));
        assert_eq!(ages(Some(&days(&[10, 20])), end(60), &channel), days(&[10, 20, 60]));
        assert_eq!(ages(Some(&days(&[10, 20])), None, &channel), days(&[10, 20]));
        assert_eq!(ages(None, None, &channel), channel);
    }
}
