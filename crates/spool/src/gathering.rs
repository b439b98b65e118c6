//! When the writer waits a moment for more messages before it syncs.
//!
//! A group of messages costs one sync, and the page in which it ends. On a quiet machine the disk is quicker than the clients, and a
//! group would be whatever came during one sync: two or three messages of twenty sessions. But the spool knows of every
//! message that is being received, from its draft on, and most of them are complete within a fraction of a millisecond. So while
//! there are such, the writer waits for them ([`sluice_handoff::Gathering`]): until all of them are there, or [`ENOUGH`], or
//! [`Options::company`](crate::Options::company) is over. One that comes alone waits for nobody.
//!
//! # Slow senders
//! One who takes minutes for a message is on his way all that time, and is not worth waiting for. When a wait was for nothing, the next
//! chance is let pass, then the next two, four, and so on up to [`PASSED_MAX`]; when one was worth it, all are taken again.
//!
//! # Not here
//! The sleep itself (`handoff`), and when the writer asks (`writer::run`). A writer without a thread never waits.

/// Messages that are a group worth its sync: of 4 KiB each the rest of the last page is about a twentieth of what is written.
pub(crate) const ENOUGH: usize = 8;

/// Chances that are let pass at most after waits that were for nothing.
const PASSED_MAX: u32 = 64;

/// Which chances to wait the writer takes.
#[derive(Debug, Default)]
pub(crate) struct Chances {
    /// So many are let pass.
    passing: u32,
    /// So many were let pass after the last wait that was for nothing.
    passed: u32,
}

impl Chances {
    /// There is a chance; whether it is taken.
    pub(crate) fn take(&mut self) -> bool {
        let takes = self.passing == 0;
        self.passing = self.passing.saturating_sub(1);
        takes
    }

    /// What came of one that was taken: `arrived` wait to be written now. With none of them nobody has waited.
    pub(crate) fn was_taken(&mut self, arrived: usize) {
        match arrived {
            0 => {}
            1 => {
                self.passed = (self.passed * 2).clamp(1, PASSED_MAX);
                self.passing = self.passed;
            }
            _ => self.passed = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_nothing_waits_less_and_less_often() {
        let mut chances = Chances::default();
        let mut taken = Vec::new();
        for chance in 0..300 {
            if chances.take() {
                taken.push(chance);
                chances.was_taken(1);
            }
        }
        assert_eq!(taken, [0, 2, 5, 10, 19, 36, 69, 134, 199, 264]);
        while !chances.take() {}
        chances.was_taken(0);
        assert!(chances.take(), "nobody had waited");
        chances.was_taken(3);
        assert!(chances.take() && chances.take());
        chances.was_taken(1);
        assert!(!chances.take() && chances.take());
    }
}
