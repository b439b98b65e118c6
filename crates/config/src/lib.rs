//! The configuration language: text, what was written, what it means.
//!
//! A configuration is a folder in PMDF's own form: `sluice.cnf` (rewrite rules, a blank line, channel blocks),
//! `option.dat`, `dispatcher.cnf`, `job_controller.cnf` and a `CHANNEL_option` for each channel that wants one. Reading
//! it gives an immutable [`Config`] and a list of diagnostics; it never stops at the first mistake.
//!
//! # Not here
//! Reading from a disk ([`Files`] is what the caller brings), the meaning of a rewrite rule (`rewrite`), drawing of
//! diagnostics (the binary).
#![forbid(unsafe_code)]

mod files;
mod keyword;
mod lines;
mod model;
mod options;
mod settings;

pub use files::{Files, MemoryFiles, Place};
pub use keyword::{Arguments, KeywordInfo, Origin, Status, keyword, keywords};
pub use model::{
    Channel, Channels, Config, HostName, Keyword, OptionValue, Pool, Rule, Service, is_local_name,
};
pub use options::{OptionInfo, OptionKind, Options, OtherOption, ServerOptions};
pub use settings::{
    AddressStyle, Copies, DEFAULT_POOL, Direction, Ehlo, EtrnPolicy, Immediate, LineEnds, Mx, PerPriority,
    PostmasterCopies, Settings, SwitchChannel, Vrfy, default_backoff, default_notices,
};
