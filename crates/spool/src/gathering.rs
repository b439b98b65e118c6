//! When the writer waits a moment for more messages before it syncs, and for how many.
//!
//! A group of messages costs one sync, and the page in which it ends. On a quiet machine the disk is quicker than the clients, and a
//! group would be whatever came during one sync: two or three messages of twenty sessions. So the writer waits until as many have
//! arrived as it expects company ([`Company`]), but no longer than [`Options::company`](crate::Options::company).
//!
//! How many it expects it learns. The spool knows of every message that is being received, from its draft on. While there are others on their way when a group is
//! complete, one more is expected next time, up to [`ENOUGH`]; when the time was over before as many had come, one less, and the next
//! try for more is put off, each time longer, up to [`PUT_OFF_MAX`] groups. Who comes alone never finds anybody on his way, and never
//! waits. Several who wait for each other's sync are complete when all of them are there. One who takes minutes for a message is on
//! his way all that time and is waited for now and then, and not every time.
//!
//! # Not here
//! The sleep itself (`handoff`), and when the writer asks (`writer::run`). A writer without a thread never waits.

/// Messages that are a group worth its sync: of 4 KiB each the rest of the last page is about a twentieth of what is written.
const ENOUGH: usize = 8;

/// Groups without a try for more, after many that were for nothing.
const PUT_OFF_MAX: u32 = 64;

/// How many are expected to come close together.
#[derive(Debug)]
pub(crate) struct Company {
    expected: usize,
    /// Groups until one more is tried.
    put_off: u32,
    /// As it was after the last try that was for nothing.
    put_off_by: u32,
    /// One more than before is expected, to see whether it comes.
    is_tried: bool,
}

impl Default for Company {
    fn default() -> Company {
        Company { expected: 1, put_off: 0, put_off_by: 0, is_tried: false }
    }
}

impl Company {
    /// So many are waited for; one is nobody but whoever is there.
    pub(crate) fn expected(&self) -> usize {
        self.expected
    }

    /// A group is about to be taken: so many have arrived, and so many others were on their way.
    pub(crate) fn came(&mut self, arrived: usize, on_their_way: usize) {
        if arrived < self.expected {
            self.expected = arrived.max(self.expected - 1);
            self.put_off_by = (self.put_off_by * 2).clamp(1, PUT_OFF_MAX);
            self.put_off = self.put_off_by;
            self.is_tried = false;
            return;
        }
        if self.is_tried {
            self.put_off_by = 0;
            self.is_tried = false;
        }
        if on_their_way > 0 && self.expected < ENOUGH {
            self.is_tried = self.put_off == 0;
            self.expected += usize::from(self.is_tried);
            self.put_off = self.put_off.saturating_sub(1);
        }
    }

    /// The time was over, and nobody had come, so that nobody has waited.
    pub(crate) fn nobody_came(&mut self) {
        self.expected = 1.max(self.expected - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_alone_waits_for_nobody() {
        let mut company = Company::default();
        for _ in 0..100 {
            assert_eq!(company.expected(), 1);
            company.came(1, 0);
        }
    }

    #[test]
    fn a_slow_sender_is_waited_for_less_and_less_often() {
        let mut company = Company::default();
        let mut waits = Vec::new();
        for group in 0..300 {
            if company.expected() > 1 {
                waits.push(group);
            }
            company.came(1, 1);
        }
        assert_eq!(waits, [1, 4, 8, 14, 24, 42, 76, 142, 208, 274]);
    }

    #[test]
    fn two_who_wait_for_each_other_are_seldom_kept_waiting_for_a_third() {
        let mut company = Company::default();
        let late = (0..1000).filter(|_| {
            let expected = company.expected();
            company.came(2.min(expected.max(1)), 1);
            expected > 2
        });
        assert!(late.count() < 30);
        assert_eq!(company.expected(), 2);
    }

    #[test]
    fn many_are_a_group_of_enough() {
        let mut company = Company::default();
        for _ in 0..ENOUGH {
            company.came(company.expected(), 3);
        }
        assert_eq!(company.expected(), ENOUGH);
        company.came(ENOUGH, 12);
        assert_eq!(company.expected(), ENOUGH);
        // They go home.
        for _ in 0..ENOUGH {
            company.nobody_came();
        }
        assert_eq!(company.expected(), 1);
    }
}
