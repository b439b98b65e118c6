//! What the clock has set going so far: up to when schedules are kept, and the periodic services.
//!
//! A moment of a schedule that passes while no hub runs would be lost: a site that gets its mail once a day would wait for another
//! day because the hub was restarted at that minute. So a note says up to when the moments of sites and channels
//! have been kept, how many services there have been, and when the next one was to be. The next start goes on from there: of each
//! schedule with moments since then one is made up for at once, however many they are. Where a window is closed by then it
//! is not, and the next moment comes.
//!
//! Activators are asked by the hub, not here; what it says of them stands in the same note, by name, and is given back to it.
//!
//! The note is written whenever a moment or a service has taken place, and with each checkpoint, the last one included. After a
//! sudden end none has taken place since the last note, so that it is right then too.
//!
//! # Not here
//! What a moment sets going (`sites`, `timed`, `schedule`).

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_mail::Time;
use sluice_spool::Durability;

use crate::core::Core;
use crate::notes::{Bytes, Kind, NoteError};

/// A moment that is taken so much later was missed, and the log says that it is made up for.
pub(crate) const LATE: Duration = Duration::from_secs(60);

/// A note of kind 3 (`docs/internals/notes-format.md`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Moments {
    /// The moments of sites and channels up to this time have been kept.
    pub(crate) kept: Time,
    /// Periodic services so far.
    pub(crate) services: u64,
    /// When the next one is.
    pub(crate) next_service: Time,
    /// Up to when the moments of each activator have been kept.
    pub(crate) activators: BTreeMap<String, Time>,
}

impl Moments {
    /// The body of a note.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(28 + 32 * self.activators.len());
        for number in [self.kept.0, self.services, self.next_service.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let activators = || self.activators.iter().filter(|(name, _)| u16::try_from(name.len()).is_ok());
        out.extend_from_slice(&u32::try_from(activators().count()).unwrap_or(u32::MAX).to_le_bytes());
        for (name, kept) in activators() {
            out.extend_from_slice(&kept.0.to_le_bytes());
            out.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(name.as_bytes());
        }
        out
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, NoteError> {
        let mut bytes = Bytes(body);
        let (kept, services, next_service) = (Time(bytes.u64()?), bytes.u64()?, Time(bytes.u64()?));
        let mut activators = BTreeMap::new();
        for _ in 0..bytes.u32()? {
            let kept = Time(bytes.u64()?);
            let length = bytes.u16()?;
            activators.insert(bytes.text(length)?, kept);
        }
        bytes.end()?;
        Ok(Self { kept, services, next_service, activators })
    }
}

impl Core {
    /// Goes on where an earlier run has ended; before any schedule is planned. Nothing was missed before the first run.
    pub(crate) fn go_on_from(&mut self, found: Option<Moments>, now: Time) {
        self.moments = Moments { kept: now, next_service: self.moments.next_service, ..Moments::default() };
        let Some(found) = found else { return };
        // A clock that has been set back since would keep schedules waiting until it is as late again.
        self.moments.kept = found.kept.min(now);
        self.moments.services = found.services;
        self.moments.next_service = found.next_service.clamp(now, self.moments.next_service);
        if let Ok(mut place) = self.shared.activators_kept.lock() {
            place.clone_from(&found.activators);
        }
        self.moments.activators = found.activators;
    }

    /// Brings up to date until when moments have been kept: until now, but for those that are still to be planned or taken.
    pub(crate) fn reckon_moments(&mut self, now: Time) {
        let plans = [self.sites.kept(), self.timed.kept()];
        if plans.iter().all(|plan| plan.is_planned) {
            let pending = plans.into_iter().filter_map(|plan| plan.next).min();
            self.moments.kept = pending.map_or(now, |next| now.min(next.minus(Duration::from_millis(1))));
        }
    }

    /// Moments have been kept: that is to survive.
    pub(crate) fn note_moments(&mut self, now: Time) {
        self.reckon_moments(now);
        self.write_note(Kind::Moments, &self.moments.encode(), Durability::Lazy, None);
    }

    /// What the hub says of its activators, all of them.
    pub(crate) fn note_activators(&mut self, kept: BTreeMap<String, Time>, now: Time) {
        if self.moments.activators != kept {
            self.moments.activators = kept;
            self.note_moments(now);
        }
    }
}

/// How far a plan of moments has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanState {
    /// The next moment of each schedule is known.
    pub(crate) is_planned: bool,
    /// The first of them.
    pub(crate) next: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notes::{frame, read};

    fn example() -> Moments {
        let activators = BTreeMap::from([("isp".to_owned(), Time(1_790_000_000_000))]);
        Moments {
            kept: Time(1_790_000_060_000),
            services: 7,
            next_service: Time(1_790_007_200_000),
            activators,
        }
    }

    /// The second example of the document.
    fn printed() -> Vec<u8> {
        let page = include_str!("../../../docs/internals/notes-format.md");
        let block = page.split("```hex\n").nth(2).and_then(|rest| rest.split("```").next());
        let lines = block.expect("the page has a second hex block").lines();
        let bytes = lines.flat_map(|line| line.split("  ").next().unwrap_or("").split_whitespace());
        bytes.map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits")).collect()
    }

    #[test]
    fn the_document_shows_what_is_written() {
        let ours = frame(Kind::Moments, &example().encode());
        assert_eq!(ours, printed(), "ours: {ours:02x?}");
        assert_eq!(read(vec![printed()]).moments, Some(example()));
    }

    #[test]
    fn the_last_note_counts_and_a_damaged_one_does_not() {
        let later = Moments { services: 8, ..example() };
        let notes: Vec<Vec<u8>> =
            [example(), later.clone()].iter().map(|one| frame(Kind::Moments, &one.encode())).collect();
        assert_eq!(read(notes.clone()).moments, Some(later));
        for length in 0..notes[1].len() {
            let found = read(vec![notes[0].clone(), notes[1][..length].to_vec()]);
            assert_eq!(found.moments, Some(example()), "{length} bytes");
        }
        let body = example().encode();
        for length in 0..body.len() {
            assert_eq!(Moments::decode(&body[..length]), Err(NoteError::Short), "{length} bytes");
        }
        let mut long = body.clone();
        long.push(0);
        assert_eq!(Moments::decode(&long), Err(NoteError::Long(1)));
        let mut odd = body;
        *odd.last_mut().expect("a name") = 0xff;
        assert_eq!(Moments::decode(&odd), Err(NoteError::Text));
    }
}
