//! Plugins of the simulation: instances that take leases, and do with them what the simulation says, in whatever order. They
//! keep the one promise that the host keeps for every plugin: each delivery is finished once, each lease is done once, and
//! nothing comes behind the word that an instance has ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sluice_host::{Delivery, Events, Offer};

use super::chance::Chance;
use super::peers::Transfer;
use crate::runner::{Instance, NotTaken, PluginInfo, Runner, Runners};

/// A lease that an instance has, and what of it is not finished.
pub(super) struct OpenLease {
    pub(super) lease: u64,
    pub(super) deliveries: Vec<Delivery>,
    /// The one that is on its way to a peer.
    pub(super) transfer: Option<Transfer>,
}

impl OpenLease {
    /// Nothing of it is left to finish.
    pub(super) const fn is_done(&self) -> bool {
        self.deliveries.is_empty() && self.transfer.is_none()
    }
}

/// An instance of a channel.
pub(super) struct Living {
    pub(super) channel: String,
    pub(super) events: Events,
    pub(super) leases: Vec<OpenLease>,
    pub(super) is_asked_to_stop: bool,
    pub(super) has_ended: bool,
}

/// All plugins of one life of the hub.
pub(super) struct Stage {
    pub(super) instances: Vec<Living>,
    /// Leases that an instance has taken and no worker of its has read.
    pub(super) unread: VecDeque<(usize, Offer)>,
    /// What was offered since somebody looked.
    pub(super) offered: Vec<(String, Delivery)>,
    pub(super) chance: Chance,
    /// Starts and leases are refused now and then.
    pub(super) is_moody: bool,
}

#[derive(Clone)]
pub(super) struct Plugins(Arc<Mutex<Stage>>);

impl Plugins {
    pub(super) fn new(chance: Chance, is_moody: bool) -> Self {
        let (instances, unread, offered) = (Vec::new(), VecDeque::new(), Vec::new());
        Self(Arc::new(Mutex::new(Stage { instances, unread, offered, chance, is_moody })))
    }

    /// A worker reads a lease, if one waits for that.
    pub(super) fn read(&self) -> bool {
        let unread = self.stage().unread.pop_front();
        let Some((number, Offer { lease, read, .. })) = unread else { return false };
        let deliveries = read();
        let mut stage = self.stage();
        let instance = &mut stage.instances[number];
        let channel = instance.channel.clone();
        instance.leases.push(OpenLease { lease, deliveries: deliveries.clone(), transfer: None });
        stage.offered.extend(deliveries.into_iter().map(|delivery| (channel.clone(), delivery)));
        true
    }

    pub(super) fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().expect("nobody panics with the stage in hand")
    }
}

struct Acting {
    stage: Plugins,
    number: usize,
}

impl Runners for Plugins {
    fn start(&self, instance: &Instance, events: Events) -> Result<Arc<dyn Runner>, String> {
        let mut stage = self.stage();
        if stage.is_moody && stage.chance.once_in(12) {
            return Err("the plugin has a bad day".to_owned());
        }
        let number = stage.instances.len();
        let channel = instance.channel.clone();
        let leases = Vec::new();
        stage.instances.push(Living { channel, events, leases, is_asked_to_stop: false, has_ended: false });
        Ok(Arc::new(Acting { stage: self.clone(), number }))
    }

    fn plugins(&self) -> Vec<PluginInfo> {
        Vec::new()
    }
}

impl Runner for Acting {
    fn offer(&self, offer: Offer) -> Result<(), NotTaken> {
        let mut stage = self.stage.stage();
        let is_moody = stage.is_moody && stage.chance.once_in(25);
        let instance = &mut stage.instances[self.number];
        if instance.is_asked_to_stop || instance.has_ended || is_moody {
            return Err(NotTaken { why: "not now".to_owned(), pause: Duration::from_secs(1) });
        }
        stage.unread.push_back((self.number, offer));
        Ok(())
    }

    fn untaken(&self) -> usize {
        0
    }

    fn ready(&self) -> Result<(), String> {
        let mut stage = self.stage.stage();
        let is_moody = stage.is_moody && stage.chance.once_in(20);
        if is_moody { Err("its channel cannot be made".to_owned()) } else { Ok(()) }
    }

    fn stop(&self, _deadline: Duration) {
        self.stage.stage().instances[self.number].is_asked_to_stop = true;
    }
}
