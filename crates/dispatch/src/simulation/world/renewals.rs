//! Plugins made anew while they have deliveries: what is in force is planned for, new instances are started beside it, and the loop changes
//! over to them, with anything else in between.
//!
//! # Not here
//! What old and new instances do with what they have (`world::performing`).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::World;
use crate::event::Event;
use crate::renew::{Planned, RenewedChannel};
use crate::runner::{Instance, NextGeneration};

/// One that is under way: what is to be started, once the loop has said so.
pub(super) type Renewal = Arc<Mutex<Option<Vec<Planned>>>>;

impl World {
    /// The next stage of a renewal, or a new one.
    pub(super) fn renew(&mut self) {
        let Some(renewal) = self.renewal.take() else {
            let renewal = Renewal::default();
            let told = Arc::clone(&renewal);
            let done = Box::new(move |planned| *told.lock().expect("no panic within") = Some(planned));
            let plugins = self.plugins();
            if self.hub().handle.tell(Event::PlanRenewal { plugins, done }).is_ok() {
                self.note("a plugin is to be made anew");
                self.renewal = Some(renewal);
            }
            return;
        };
        let planned = renewal.lock().expect("no panic within").take();
        let Some(planned) = planned else {
            self.renewal = Some(renewal);
            return;
        };
        let generation = u32::try_from(self.number()).unwrap_or(u32::MAX);
        let next = NextGeneration {
            name: "simulated".to_owned(),
            generation,
            version: generation.to_string(),
            file: "/plugin".to_owned(),
            plugin: None,
            sealed: None,
        };
        let has_others = !self.chance.once_in(8);
        let settings = |mut instance: Instance| {
            instance.facts.insert("generation".to_owned(), generation.to_string());
            instance
        };
        let others = |_: &NextGeneration| match has_others {
            true => Ok(()),
            false => Err(crate::renew::NotRenewed::NotLoaded("a filter of it cannot be made".to_owned())),
        };
        let prepared = match self.hub().handle.prepare(planned, settings, others, &next) {
            Ok(prepared) => prepared,
            Err(why) => return self.note(format!("it stays as it was: {why}")),
        };
        self.note(format!("it is made anew for {} channels", prepared.len()));
        let done = Box::new(|_: Vec<RenewedChannel>| ());
        let drain = Duration::from_secs(60);
        let _ = self.hub().handle.tell(Event::Renew { prepared, next, drain, done });
    }

    /// The names of all plugins.
    fn plugins(&mut self) -> Vec<String> {
        let channels = &self.hub().core.loaded.config.channels;
        let mut names: Vec<String> = channels.iter().filter_map(|one| one.plugin.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}
