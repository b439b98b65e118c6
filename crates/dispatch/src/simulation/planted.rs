//! Faults that are planted, each of which must be found within the seeds of a run: else a hub that has it would pass as well.
//!
//! # Not here
//! What finds them: the ledger, and what peers know (`world::peering`).

use std::panic::catch_unwind;

use super::run_with;

/// Seeds within which each is found.
const SEEDS: u64 = 200;

/// What the hub, or its side of SMTP, does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plant {
    /// Whom the peer has refused at RCPT counts as taken, once it has taken the message for others.
    RefusedIsTaken,
    /// The clock was set back, and what waits for another attempt waits for the old time.
    RetriesStayWhereTheyWere,
    /// Nobody remembers which messages processes have died with.
    DeathsAreForgotten,
    /// Whatever a process had in hand when it died counts as the only thing that it had.
    DeathsAreAlone,
}

/// Runs seeds with the fault until one finds it, and looks whether it has found this one.
fn is_found(plant: Plant, says: &str) {
    for seed in 0..SEEDS {
        let Err(panic) = catch_unwind(|| run_with(seed, false, Some(plant))) else { continue };
        let said = panic.downcast_ref::<String>().map_or("", String::as_str);
        let said = said.lines().next().unwrap_or_default();
        assert!(said.contains(says), "{plant:?} was taken for something else: {said}");
        return;
    }
    panic!("{plant:?} is not found within {SEEDS} seeds");
}

#[test]
fn a_client_that_takes_a_refused_recipient_for_taken_is_found() {
    is_found(Plant::RefusedIsTaken, "is called delivered, and nobody has it");
}

#[test]
fn retries_that_are_not_planned_anew_when_the_clock_was_set_back_are_found() {
    is_found(Plant::RetriesStayWhereTheyWere, "is not tried again");
}

#[test]
fn deaths_of_processes_that_nobody_counts_are_found() {
    is_found(Plant::DeathsAreForgotten, "processes have died with it, and nobody says so");
}

#[test]
fn a_hold_for_a_death_among_others_is_found() {
    is_found(Plant::DeathsAreAlone, "is on hold and nobody wanted that");
}
