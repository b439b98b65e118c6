//! The spool: segments, journal, group commit, recovery.
