//! How a channel is to be run.

use crate::guise::Guise;
use std::time::Duration;

/// Where a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// A channel keyword in force.
    Keyword,
    /// A line of the channel's option file.
    Option,
    /// Something the caller knows, such as `official_host`.
    Fact,
}

/// One setting handed to the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Where it comes from.
    pub kind: SettingKind,
    /// Its name.
    pub name: String,
    /// Its value; empty when there is none.
    pub value: String,
}

impl Setting {
    /// A keyword in force, with its arguments joined by one blank.
    pub fn keyword(name: impl Into<String>, value: impl Into<String>) -> Setting {
        Setting { kind: SettingKind::Keyword, name: name.into(), value: value.into() }
    }

    /// A line of the option file.
    pub fn option(name: impl Into<String>, value: impl Into<String>) -> Setting {
        Setting { kind: SettingKind::Option, name: name.into(), value: value.into() }
    }

    /// Something the caller knows.
    pub fn fact(name: impl Into<String>, value: impl Into<String>) -> Setting {
        Setting { kind: SettingKind::Fact, name: name.into(), value: value.into() }
    }
}

/// Longer than any hub runs, and short enough to be added to a clock.
pub(crate) const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How a channel is to be run. [`Spec::new`] gives the usual limits.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name, lower case.
    pub channel: String,
    /// Everything the plugin is told.
    pub settings: Vec<Setting>,
    /// Most threads at once (`maxjobs`), at least 1.
    pub max_workers: u32,
    /// Most leases that wait for a worker, at least 1. Full is an answer, not a wait.
    pub queue_bound: usize,
    /// How long a worker may take for one delivery, or for anything else between two calls of `next`.
    pub deadline: Duration,
    /// How long `create` may take.
    pub create_deadline: Duration,
    /// A worker that has had nothing to do for so long is let go.
    pub idle_exit: Duration,
    /// Most deliveries that one worker may hold at once.
    pub held_max: usize,
    /// The channel is stopped when so many workers hang at the same time.
    pub hung_max: u32,
    /// Pause after the first failure; it doubles with each one in a row.
    pub pause_first: Duration,
    /// Longest pause.
    pub pause_max: Duration,
    /// Which hub the plugin is to see; another one only in checks of plugins.
    pub guise: Guise,
}

impl Spec {
    /// The usual limits: one worker, 10 minutes for a delivery (RFC 5321 section 4.5.3.2 gives the reply after the
    /// final dot as long), 10 seconds for `create`.
    pub fn new(channel: impl Into<String>, settings: Vec<Setting>) -> Spec {
        Spec {
            channel: channel.into(),
            settings,
            max_workers: 1,
            queue_bound: 64,
            deadline: Duration::from_secs(600),
            create_deadline: Duration::from_secs(10),
            idle_exit: Duration::from_secs(30),
            held_max: 64,
            hung_max: 3,
            pause_first: Duration::from_secs(1),
            pause_max: Duration::from_secs(60),
            guise: Guise::Now,
        }
    }

    /// The same with every limit that would stop all work, or overflow the clock, made harmless.
    pub(crate) fn within_limits(mut self) -> Spec {
        let times = [
            &mut self.deadline,
            &mut self.create_deadline,
            &mut self.idle_exit,
            &mut self.pause_first,
            &mut self.pause_max,
        ];
        for time in times {
            *time = (*time).min(FOREVER);
        }
        self.max_workers = self.max_workers.max(1);
        self.queue_bound = self.queue_bound.max(1);
        self.held_max = self.held_max.max(1);
        self.hung_max = self.hung_max.max(1);
        self
    }
}
