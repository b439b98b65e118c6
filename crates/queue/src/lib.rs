//! What waits, by channel and destination domain: due times, leases, holds.
