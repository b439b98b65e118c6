//! The subcommands, one module each; `remote` has those that only ask the running hub.

pub(crate) mod activator;
pub(crate) mod check;
pub(crate) mod closing;
pub(crate) mod compile;
pub(crate) mod etrn;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod password;
pub(crate) mod plugin_list;
pub(crate) mod plugin_reload;
pub(crate) mod plugin_show;
pub(crate) mod queue;
pub(crate) mod release;
pub(crate) mod remote;
pub(crate) mod run;
pub(crate) mod site_edit;
pub(crate) mod site_show;
pub(crate) mod spool;
pub(crate) mod spool_dump;
pub(crate) mod spool_recover;
pub(crate) mod test_alias;
pub(crate) mod test_channel;
pub(crate) mod test_mapping;
pub(crate) mod test_match;
pub(crate) mod test_rewrite;
