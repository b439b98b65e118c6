//! Plugin host: finds and loads channel plugins, runs their workers, and contains their failures.
//!
//! A [`Host`] loads libraries and checks them before it calls anything in them; what it knows about one is a
//! [`Plugin`]. An [`Instance`] is one channel run by one plugin: it takes [`Lease`]s (batches of deliveries for one
//! destination) into a bounded queue of its own, starts worker threads when there is work and lets them go when there
//! is none, and tells what happened through [`HostEvent`]s. Mail that workers bring in goes through the [`FrontDoor`];
//! routines for rewrite rules are called by [`Plugin::call`]. A [`Filter`] is shown messages before they are queued.
//!
//! # Invariants
//! Every delivery that [`Instance::offer`] took ends in exactly one [`HostEvent::Finished`], whatever the plugin does:
//! panic, hang, return early, forget to settle, settle twice or settle what it was not given. It
//! names each recipient once, settled or not. Every lease ends in exactly one [`HostEvent::LeaseDone`], after all its
//! deliveries, or with the last of them. An instance says [`HostEvent::Stopped`] once, and nothing afterwards.
//!
//! The bytes of a delivery stay alive until the plugin gives it back or its `run` returns, even when the delivery was
//! taken away from it long before. Libraries are never unloaded.
//! # Failure
//! A plugin that panics or returns early costs its channel a pause (1 s, doubling, at most 60 s) and gives its
//! deliveries back. One that hangs past its deadline loses its deliveries and its thread, which is left alone; after a
//! few of these the channel is stopped. What a plugin in C does to the memory of the process cannot be contained here.
//! # Not here
//! Choosing what to deliver and when to try again (`dispatch`); the contract (`abi`); the author's side (`sdk`).
#![deny(unsafe_code)]

mod aside;
mod call;
mod copy;
mod door;
mod elf;
mod event;
mod filter;
mod generations;
mod guise;
mod instance;
mod library;
mod load;
mod log;
mod permissions;
mod plugin;
mod recorder;
#[cfg(test)]
mod rehearsal;
mod routine;
mod sealed;
mod sending;
mod spec;
mod sync;
mod watchdog;
mod work;
mod worker;

pub use door::{FrontDoor, Origin, Submission, Submitted};
pub use event::{Cause, Events, Failure, HostEvent, StopReason};
pub use filter::{About, Filter, FilterError, Judged, Shown, ShownRecipient, Verdict};
pub use guise::Guise;
pub use instance::{Instance, OfferError, Refusal, Report};
pub use load::{FileState, Host, LoadError, Seen};
pub use log::{LINE_MAX, LINES_MAX, Lines, NAME_MAX, OUTCOME_MAX, REASON_MAX, one_line};
pub use plugin::{OptionKind, OptionProblem, Plugin, PluginOption};
pub use recorder::{Call, LastCall, Recorder};
pub use routine::RoutineError;
pub use sealed::Sealed;
pub use spec::{Setting, SettingKind, Spec};
pub use work::{Content, Delivery, Lease, Offer, Place, Recipient};
