//! Programs that channels run: by whose rights, within which limits, and how they end.
//!
//! For plugins that give mail, or parts of it, to programs of the operator's.
//!
//! # Invariants
//! A program is ended with its process group when its time is over, when it prints too much, and when the hub stops. It is always waited
//! for. It inherits its three standard files and the environment that it is given, and nothing else.
//! # Not here
//! What the end of a program means for the mail: the plugins say that.
#![forbid(unsafe_code)]

mod account;
mod run;

pub use account::{Account, NoAccount, environment, find};
pub use run::{End, Job, Ran, run};
