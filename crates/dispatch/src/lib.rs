//! The core dispatcher: accepts what the spool has made durable, queues it, leases it to channels, settles what they
//! say, opens the gate when somebody asks, and tells senders what cannot be delivered.
//!
//! One thread, one loop, one closed `enum` of events. The loop owns the index and touches no file: workers of
//! channels read their own messages and a *desk* thread those of notices, the spool writes, instances of channels run on threads
//! of their own. Others talk to it through a
//! [`Handle`]; answers come by callbacks that hand over and return.
//!
//! # Promises
//! * A message whose commit was acknowledged is in the spool and in the queue, or is found by the next start.
//! * A recipient is closed when it was delivered, or when the notice about its failure is durable; never otherwise.
//! * A hold is never lifted by time, release, restart or reload.
//! * A channel that cannot run keeps its mail, and says why.
//! # Failure
//! A crash delivers at most twice what was under way or had been settled in the last journal batch (50 ms). A spool that takes
//! nothing delays notices and states, and loses none. What cannot be read is held and named in the log.
//! # Not here
//! The network, SMTP replies (`smtpd`, the binary), where bytes are (`spool`), what addresses mean (`rewrite`).

#![forbid(unsafe_code)]

mod accept;
mod acts;
mod agenda;
mod aside;
mod choose;
mod clock;
mod closed;
mod conversions;
mod core;
mod crashes;
mod desk;
mod details;
mod early;
mod ebb;
mod event;
mod expiry;
mod handle;
mod isolated;
mod journal;
mod jumps;
mod last_error;
mod lookout;
mod moments;
mod mute;
mod news;
mod notes;
mod notice;
mod order;
mod pieces;
mod plugins;
mod policy;
mod record;
mod records;
#[cfg(test)]
mod rehearsal;
mod release;
mod reload;
mod renew;
mod reports;
mod run;
mod runner;
mod runs;
mod schedule;
mod settle;
#[cfg(test)]
mod simulation;
mod sites;
mod state;
mod sync;
mod ticket;
mod timed;
mod told;

pub use acts::{ACT_REASON_MAX, Act, ActError, Acting, Tally};
pub use choose::{Choice, Chosen, Filter, Mailbox, NoMailbox, Standing};
pub use clock::{Clock, ClockWatch, Jump, SystemClock};
pub use closed::{Closing, ClosingDone, ClosingError, REASON_MAX, SUSPENSIONS_MAX, Suspension, suspendable};
pub use details::Details;
pub use early::{Answered, Fate, NoNotice, early_notices};
pub use event::{Answer, ChannelReport, ChannelStatus, Loaded, Part, Ticket};
pub use handle::{Busy, CommitError, Draft, Handle, TakeBackError, ask};
pub use last_error::{Deferral, LastError};
pub use notice::RETURNED_WHOLE_MAX;
pub use order::{Matched, Order, Peer, ReleaseId, Released, Requester, Via};
pub use plugins::Plugins;
pub use policy::Schedule;
pub use records::{End, ReleaseRecord};
pub use renew::{NotRenewed, Renewed, RenewedChannel, TriedOut};
pub use run::{Dispatcher, Parts};
pub use runner::{Instance, NextGeneration, NotTaken, PluginInfo, Runner, Runners, loop_mark};
pub use sluice_queue::{Count, EntryView, QueueSummary, Selector, SelectorError};
pub use state::{Group, MessageState, StateError};
