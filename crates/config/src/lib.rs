//! The configuration language: text, what was written, what it means.
//!
//! A configuration is a folder in PMDF's own form: `sluice.cnf` (rewrite rules, a blank line, channel blocks),
//! `option.dat`, `dispatcher.cnf`, `job_controller.cnf`, `mappings` (mapping tables) and a `CHANNEL_option` for each
//! channel that wants one, and `sites.cnf` (who is given what mail, and whom we ask for ours). [`read`] gives an immutable [`Config`] and a list of diagnostics; it never stops at the first mistake, and each slip gives one
//! diagnostic.
//!
//! Logical lines are made first (`lines`); then each line is parsed alone by the pest rule of its kind (`grammar`), so
//! that one bad line never hides the next. What was written (`main_file`, `written`, `option_file`) is turned into what
//! it means (`meaning`, `services`) only after all of it has been looked at.
//!
//! # Not here
//! Reading from a disk ([`Files`] is what the caller brings), the meaning of a rewrite rule (`rewrite`), the drawing of
//! diagnostics (the binary).
#![forbid(unsafe_code)]

mod aliases;
mod books;
mod codes;
mod conversions;
mod databases;
mod etrn_hosts;
mod files;
mod filters;
mod grammar;
mod header_options;
mod keyword;
mod lines;
mod main_file;
mod mappings;
mod meaning;
mod model;
mod notice_terms;
mod option_file;
mod options;
mod print;
mod protocol_settings;
mod public_suffix;
mod reading;
mod reference;
mod services;
mod settings;
mod sites;
mod tables;
mod timetable;
mod transfer_priorities;
mod values;
mod written;

pub use aliases::{Alias, Aliases, ListParameter, Member, list_parameters};
pub use books::sources;
pub use codes::codes;
pub use conversions::{
    CONVERSIONS, ConversionAnswer, ConversionEntry, ConversionParameter, ConversionUse, ConversionValue,
    Conversions, conversion_parameters,
};
pub use databases::{
    DATABASES, Database, DatabaseError, Databases, Image, Unavailable, damaged_databases, read_database,
};
pub use etrn_hosts::EtrnHost;
pub use files::{Compiled, CompiledError, Files, InMemory, MemoryFiles, Place};
pub use filters::{
    DESTINATION_FILTER, FilterOptions, FilterPlugin, FilterUse, SOURCE_FILTER, WAITING_CHANNEL,
    WithoutVerdict, waits_for_filter,
};
pub use header_options::{HeaderOption, HeaderOptions};
pub use keyword::{Arguments, KeywordInfo, Origin, Status, keyword, keywords};
pub use mappings::{MappingEntry, MappingTable, Mappings, read_mappings, read_mappings_and_databases};
pub use model::{
    Atrn, CONVERSION, Channel, Channels, Config, DEFRAGMENT, HostName, Keyword, OptionValue, Pool, Rule,
    Service, is_local_name,
};
pub use options::{Isolation, LOG_DIR, OptionInfo, OptionKind, Options, OtherOption, ServerOptions};
pub use print::print;
pub use public_suffix::is_public_suffix;
pub use reading::{
    is_of_products, main_file_of, nearest_keyword, read, read_options, read_text, read_with_errors,
    site_file_of,
};
pub use reference::{
    reference_conversions, reference_diagnostics, reference_keywords, reference_options, reference_sites,
    reference_without_effect,
};
pub use settings::{
    AddressStyle, Alternate, Copies, DEFAULT_POOL, Demand, Direction, Ehlo, EnvelopeToField, EtrnPolicy,
    ForwardCheck, Ident, Immediate, LineEnds, LongLines, Mx, NoticeTerms, PerPriority, PostmasterCopies,
    Settings, SwitchChannel, Vrfy, default_backoff, default_notices,
};
pub use sites::{
    Activator, ActivatorLogin, Counts, Covers, Method, Password, SITE_FILE, Site, SiteDomain, SiteOption,
    SiteSection, Sites, Tier, Tls, site_options,
};
pub use tables::{OptionTable, option_tables};
pub use timetable::{Timetable, Windows, Zone};
pub use transfer_priorities::TransferPriorities;
pub use values::duration as time_in_words;
