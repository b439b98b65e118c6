//! Messages that processes of plugins have died with: how often as far as an outsider can know, and what must come of it.
//!
//! The count is written with what else is known of an entry, and lazily, so a crash of the hub may take it back to anything that it
//! has been since the disk was last up to date.
//!
//! # Not here
//! Which processes die (`world::dying`).

use sluice_spool::EntryId;

use super::{Ledger, Said, Word};

/// So many deaths, the last of them alone, put a message on hold (docs/internals/isolation.md).
const DEATHS_MAX: u32 = 3;

/// How a delivery came back from its plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum End {
    /// The plugin was done with it.
    Done,
    /// Its worker ended, hung, or never looked at it.
    Left,
    /// The process that had it died, and had no other: or several.
    Died { alone: bool },
}

/// What a plugin has said of one delivery, whose turn it is to be taken in.
#[derive(Debug)]
pub(in super::super) struct Back {
    pub(in super::super) id: EntryId,
    pub(in super::super) said: Vec<(u32, Said)>,
    pub(in super::super) end: End,
}

/// How many processes have died with a recipient's mail: at least and at most, now and since the disk was up to date.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Deaths {
    pub(super) least: u32,
    pub(super) most: u32,
    low: u32,
    high: u32,
}

impl Deaths {
    fn set(&mut self, least: u32, most: u32) {
        (self.least, self.most) = (least, most);
        (self.low, self.high) = (self.low.min(least), self.high.max(most));
    }

    pub(super) fn is_durable(&mut self) {
        (self.low, self.high) = (self.least, self.most);
    }

    pub(super) fn crash(&mut self) {
        (self.least, self.most) = (self.low, self.high);
    }
}

impl Ledger {
    /// Whether anything was put on hold for the deaths of processes since somebody asked.
    pub(in super::super) const fn has_set_aside(&mut self) -> bool {
        std::mem::replace(&mut self.has_set_aside, false)
    }

    /// Counts what a delivery's end says about it. Whether nothing else is to be said of it.
    pub(super) fn ended(&mut self, Back { id, said, end }: &Back) -> bool {
        let (mut least, mut most) = (0, 0);
        for &(index, _) in said {
            let deaths = &mut self.recipient(*id, index).deaths;
            match end {
                End::Done => deaths.set(0, 0),
                End::Left => {}
                End::Died { .. } => deaths.set(deaths.least + 1, deaths.most + 1),
            }
            (least, most) = (least.max(deaths.least), most.max(deaths.most));
        }
        let End::Died { alone } = *end else { return false };
        if said.iter().any(|(_, said)| *said != Said::Nothing) {
            return false;
        }
        for &(index, _) in said {
            let recipient = self.recipient(*id, index);
            recipient.waits_since = None;
            recipient.waits_for_notice = recipient.gone == Word::Asked;
            let (must_be_held, may_be_held) = (alone && least >= DEATHS_MAX, alone && most >= DEATHS_MAX);
            if recipient.gone != Word::No {
                // Whatever the hub does by itself, an operator may have it returned or deleted at the same moment.
                recipient.held = Word::Asked;
            } else if must_be_held {
                (recipient.held, recipient.is_set_aside) = (Word::Promised, true);
            } else if may_be_held && recipient.held == Word::No {
                recipient.held = Word::Asked;
            }
            // One that is put on hold is not counted as tried.
            let (at_least, at_most) = recipient.attempts;
            recipient.attempts = (at_least + u32::from(!may_be_held), at_most + u32::from(!must_be_held));
        }
        self.has_set_aside |= alone && least >= DEATHS_MAX;
        self.is_volatile = true;
        true
    }
}
