//! What waits, by channel and destination domain: due times, leases, holds, releases.
//!
//! An *entry* is one message's recipients that share a channel and a destination domain, or a share of them where the
//! channel wants them apart. Entries stand in *queues*,
//! one per (channel, domain); a queue is found by its exact key, by its channel, or as part of a subnet, because domains
//! are also kept by reversed labels. The index owns no message bytes and no addresses: an entry points into the spool,
//! and the recipients it stands for are read from the envelope there. So the whole index can be rebuilt from the spool.
//!
//! What is taken first is what is most urgent, then what is oldest, or smallest where the queue is so ordered; and nobody waits for
//! ever for more urgent or smaller mail (`place`, `ring`).
//!
//! A worker's share of a queue is a *lease*: [`Queues::lease`] moves entries from ready to leased, and each of them must
//! come back by [`Queues::finish`] or [`Queues::put_back`]. A *release* makes what waits in a queue due now by moving
//! its whole shelf at once, so that a release costs by the queues it matches and not by the mail that waits in them.
//!
//! # Invariants
//! An entry stands on exactly one shelf of exactly one queue: ready, delayed, leased, deferred or held. A release never
//! touches what is deferred or held. No recipient is in two entries. A lease takes nothing from a suspended queue.
//! # Cost
//! About 80 bytes per waiting entry: its record, its message's record (shared by the entries of the message) and a
//! place on a shelf; and about 350 for each queue. Nothing per recipient, except for messages that are settled in part or whose recipients wait apart.
//! # Not here
//! Policy (when an entry is due, which channel may run: `dispatch`), threads, clocks (`now` is passed in), durability
//! (`spool`).

#![forbid(unsafe_code)]

mod counting;
mod entry;
mod homes;
mod index;
mod lease;
mod names;
mod passing;
mod place;
mod queue;
mod release;
mod ring;
mod seldom;
mod selector;
mod slab;
mod suspend;
mod tally;
mod view;

pub use entry::{Entry, EntryKey, Message, MessageKey, NewEntry, NewMessage, Placement, State, Then};
pub use index::{ChannelKey, Finished, QueueKey, Queues};
pub use place::Order;
pub use release::{Collect, Lanes, RunNumber};
pub use ring::{Party, Turns};
pub use selector::{Selector, SelectorError};
pub use tally::{Count, Settled, Tally};
pub use view::{EntryView, QueueSummary};
