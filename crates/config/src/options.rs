//! What the option files mean: `option.dat` for the whole hub, `CHANNEL_option` for the server side of a channel.
//!
//! Each option stands once in a table of [`crate::option_table`], with its type, default and help; the fields here are
//! filled from those tables.

use crate::filters::FilterOptions;
use crate::keyword::Status;
use crate::settings::PerPriority;
use sluice_diag::Span;
use std::path::PathBuf;
use std::time::Duration;

/// Least memory of a plugin's process: with less it does not get as far as its first message.
pub(crate) const ISOLATED_MEMORY_MIN: u64 = 32 << 20;

/// What the lines of `CHANNEL_option` say of the process in which the plugin runs (`isolated`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// `ISOLATED_MEMORY`: most memory in octets; `None` for no limit.
    pub memory: Option<u64>,
    /// `ISOLATED_CPU`: percent of one processor; `None` for no limit.
    pub cpu_percent: Option<u32>,
    /// `ISOLATED_READ`: what it may read beside the system's.
    pub read: Vec<PathBuf>,
    /// `ISOLATED_WRITE`: what it may write beside what its options name.
    pub write: Vec<PathBuf>,
}

impl Default for Isolation {
    fn default() -> Isolation {
        Isolation { memory: Some(512 << 20), cpu_percent: Some(100), read: Vec::new(), write: Vec::new() }
    }
}

/// `option.dat`, typed, defaults applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `SPOOL_DIR`: where messages wait.
    pub spool_dir: PathBuf,
    /// `LOG_DIR`: where the mail log is; `log` in the spool if not set.
    pub log_dir: PathBuf,
    /// `PLUGIN_PATH`: folders searched for plugins after the built-in ones.
    pub plugin_path: Vec<PathBuf>,
    /// `ROUTINE_PLUGINS`: plugins that only rules and tables call, by name, or as files when there is a `/` in it.
    pub routine_plugins: Vec<String>,
    /// `WATCH_PLUGINS`: plugins whose files change are made anew.
    pub watch_plugins: bool,
    /// `SPAMFILTERn_…`: filters that have a plugin, by their numbers.
    pub filters: Vec<FilterOptions>,
    /// `CONTROL_SOCKET`: where the running hub listens for `sluice` commands; `control.sock` in the spool if not set.
    pub control_socket: PathBuf,
    /// `BLOCK_SIZE`: bytes in a block, the unit of `blocklimit` and its kind.
    pub block_size: u64,
    /// `BLOCK_LIMIT` in bytes: largest message of all.
    pub block_limit: Option<u64>,
    /// `LINE_LIMIT`: most lines of a message.
    pub line_limit: Option<u32>,
    /// `URGENT_BLOCK_LIMIT`, `NORMAL_BLOCK_LIMIT`, `NON_URGENT_BLOCK_LIMIT` in bytes: beyond which a message of that
    /// priority counts as less urgent, on channels that do not say it themselves.
    pub priority_limits: PerPriority<Option<u64>>,
    /// `RETURN_UNITS`: whether the numbers of `notices` are hours; otherwise they are days.
    pub return_units_hours: bool,
    /// `RETURN_ADDRESS`: who notices come from; `postmaster` at the official local host if not set.
    pub return_address: Option<String>,
    /// `RETURN_PERSONAL`: the display name that goes with it.
    pub return_personal: Option<String>,
    /// `HISTORY_TO_RETURN`: most delivery attempts told in a notice.
    pub history_to_return: u32,
    /// `LINES_TO_RETURN`: most lines of a returned message's body in a notice.
    pub lines_to_return: u32,
    /// `CONTENT_RETURN_BLOCK_LIMIT` in bytes: of larger messages a notice holds the header only.
    pub content_return_limit: Option<u64>,
    /// `RETURN_ENVELOPE`: bits of `returnenvelope` on channels that do not say it themselves.
    pub return_envelope: u32,
    /// `MAX_RECEIVED_LINES`: a message with more `Received:` lines is put on hold.
    pub max_received_lines: u32,
    /// `POST_INTERVAL` (also `PMDF_POST_INTERVAL`): time between two periodic services.
    pub post_interval: Duration,
    /// `ETRN_PER_CLIENT`: most ETRN and ATRN commands of one client in a minute; 0 is no limit.
    pub etrns_per_client: u32,
    /// `ETRN_PER_NODE`: most of them for one node in a minute, whoever asks; 0 is no limit.
    pub etrns_per_node: u32,
    /// `RELEASE_RECORDS`: newest records of releases that are kept.
    pub release_records: u32,
    /// `RELEASE_RECORDS_PER_SITE`: records of each site that are kept beside those.
    pub release_records_per_site: u32,
    /// `RELEASE_GRACE`: how long mail that comes in for a released queue still joins the run after all was sent.
    pub release_grace: Duration,
    /// `RETURN_INTERVAL`: time between two looks at the ages of what waits.
    pub return_interval: Duration,
    /// `MAX_MESSAGE_SIZE` in bytes: largest message that is accepted.
    pub max_message_size: u64,
    /// `MAX_RECIPIENTS`: most recipients in one transaction.
    pub max_recipients: u32,
    /// `DELIVERY_DEADLINE`: how long a plugin may keep a delivery without settling it.
    pub delivery_deadline: Duration,
    /// `SEGMENT_SIZE` in bytes: size of a spool segment.
    pub segment_size: u64,
    /// `LOG_CONNECTION` bits: 1 transport data in records, 2 connections, 4 ETRN.
    pub log_connection: u32,
    /// `ALIAS_DOMAINS` bits: 1 local parts are looked up as aliases, 2 whole addresses, 4 `*@host`.
    pub alias_domains: u32,
    /// `MAX_ALIAS_LEVELS`: how deep aliases may point to aliases.
    pub max_alias_levels: u32,
    /// `USE_REVERSE_DATABASE` bits: 1 addresses are reversed after rewriting, 2 before it, 4 those that point forward too,
    /// 8 channels are part of the question to REVERSE, 16 of that to the database, 32 REVERSE is asked about what the
    /// database gave, 128 and 256 leave the source channel out of the database's question and of the table's.
    pub use_reverse_database: u32,
    /// `REVERSE_ENVELOPE`: whether envelope senders are reversed too.
    pub reverse_envelope: bool,
    /// `MISSING_RECIPIENT_POLICY`: what is done about a header without recipients, where the source channel does not say.
    pub missing_recipient_policy: u32,
    /// `EXPROUTE_FORWARD`: whether `exproute` adds routes to forward-pointing addresses of headers too.
    pub exproute_forward: bool,
    /// `IMPROUTE_FORWARD`: whether `improute` adds routes to forward-pointing addresses of headers too.
    pub improute_forward: bool,
    /// `USE_FORWARD_DATABASE` bits: 1 the forward database is asked, 8 source channel and sender are part of its question,
    /// 16 of that to FORWARD, 64 the destination channel too.
    pub use_forward_database: u32,
    /// `ACCESS_ORCPT`: whether the tables of recipients see the address as the client wrote it.
    pub access_orcpt: bool,
    /// `TIME_ZONE`: a name or a rule, and where it stands.
    pub time_zone: Option<(String, Span)>,
    /// `USE_ALIAS_DATABASE`: whether the alias database is asked.
    pub use_alias_database: bool,
    /// `USE_DOMAIN_DATABASE`: whether the domain database is asked.
    pub use_domain_database: bool,
    /// `ERROR_TEXT_UNKNOWN_HOST`: why an address is refused that no rule knows.
    pub unknown_host_text: Option<String>,
    /// `ERROR_TEXT_UNKNOWN_ALIAS`: why an address is refused that no alias leads to where one must.
    pub unknown_alias_text: Option<String>,
    /// `ETRN_HOSTS`, and where its value stands.
    pub etrn_hosts: Option<(String, Span)>,
    /// `ETRN_HOSTS_FILE`, and where it is named.
    pub etrn_hosts_file: Option<(PathBuf, Span)>,
    /// `PASSWORD_FILE`: who may log in.
    pub password_file: Option<(PathBuf, Span)>,
    /// Lines whose option does nothing in this release or is not known at all, as written.
    pub others: Vec<OtherOption>,
}

/// A line of `option.dat` that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherOption {
    /// Left of the equals sign, upper case.
    pub name: String,
    /// Right of it.
    pub value: String,
    /// Where it stands.
    pub span: Span,
}

/// What a channel's option file means to the SMTP server, defaults applied.
///
/// PMDF's server reads only the file of the channel on which a session starts, not of one it is switched to.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerOptions {
    /// `ALLOW_ETRNS_PER_SESSION`. `None`: not set; the server then allows 8, or as many as the peer owns nodes.
    pub allow_etrns_per_session: Option<u32>,
    /// `ETRN_DOMAIN_PLAIN` (ours): `domainetrn` admits `ETRN domain` beside `ETRN @domain`.
    pub etrn_domain_plain: bool,
    /// `ALLOW_RECIPIENTS_PER_TRANSACTION`: further recipients get 452.
    pub allow_recipients_per_transaction: Option<u32>,
    /// `REJECT_RECIPIENTS_PER_TRANSACTION`: with more recipients the whole message is refused.
    pub reject_recipients_per_transaction: Option<u32>,
    /// `ALLOW_REJECTIONS_BEFORE_DEFERRAL`: after so many refused recipients all further ones get a temporary error.
    pub allow_rejections_before_deferral: Option<u32>,
    /// `ALLOW_TRANSACTIONS_PER_SESSION`: messages in one session.
    pub allow_transactions_per_session: Option<u32>,
    /// `ALLOW_RELAY` (ours): sessions that stay on the channel may send to the channel itself.
    pub allow_relay: bool,
    /// `BANNER_HOST`: the name in the greeting, and in the client's EHLO.
    pub banner_host: Option<String>,
    /// `BANNER_ADDITION`: text added to the greeting.
    pub banner_addition: Option<String>,
    /// `CUSTOM_VERSION_STRING`: program and version in the greeting.
    pub custom_version_string: Option<String>,
    /// `HIDE_VERIFY`: VRFY is answered vaguely.
    pub hide_verify: bool,
    /// `COMMAND_RECEIVE_TIME`: wait for a command.
    pub command_receive_time: Duration,
    /// `DATA_RECEIVE_TIME`: wait for more of a message.
    pub data_receive_time: Duration,
    /// `STATUS_TRANSMIT_TIME`: time to get rid of a reply.
    pub status_transmit_time: Duration,
    /// `MAX_HELO_DOMAIN_LENGTH`: longest name in HELO and EHLO.
    pub max_helo_domain_length: Option<u32>,
    /// `LOG_CONNECTION` of the channel, where it differs from the global one.
    pub log_connection: Option<u32>,
}

/// A row of an option table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionInfo {
    /// The name, upper case.
    pub name: &'static str,
    /// What stands right of the equals sign.
    pub kind: OptionKind,
    /// The default, as an operator would write it or say it.
    pub default: &'static str,
    /// What this release makes of it.
    pub status: Status,
    /// What it does, in a line or two.
    pub help: &'static str,
}

/// What stands right of the equals sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// An integer in a range; `b%v` gives it in base b.
    Integer {
        /// The least that is allowed.
        least: i64,
        /// The most.
        most: i64,
    },
    /// One of a few integers; `b%v` gives it in base b.
    Number(&'static [i64]),
    /// 0 or 1.
    Switch,
    /// Bytes: an integer, or one with K, M or G behind it.
    Size {
        /// The least that is allowed.
        least: u64,
    },
    /// A length of time: `30s`, `4h`, `1h30m`, `PT4H`; a bare number is in seconds.
    Duration,
    /// A time in minutes, with a fraction if need be, as PMDF's channel options have it.
    Minutes,
    /// Text up to the end of the line.
    Text,
    /// A file or folder; a relative one starts from the configuration folder.
    Path,
    /// Folders separated by colons or commas.
    Paths,
    /// Ports with or without address: `25`, `[127.0.0.1]2525`, comma separated.
    Ports,
    /// An IP address.
    Address,
}

impl OptionKind {
    /// How the value is named in help and reference.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            OptionKind::Integer { least: 0, most: 2_147_483_647.. } => "integer".to_owned(),
            OptionKind::Integer { least, most: 2_147_483_647.. } => format!("integer from {least}"),
            OptionKind::Integer { least, most } => format!("integer {least}–{most}"),
            OptionKind::Number(values) => match values.split_last() {
                Some((last, [])) => last.to_string(),
                Some((last, others)) => {
                    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
                    format!("{} or {last}", others.join(", "))
                }
                None => "none".to_owned(),
            },
            OptionKind::Switch => "0 or 1".to_owned(),
            OptionKind::Size { .. } => "bytes (K, M, G)".to_owned(),
            OptionKind::Duration => "duration".to_owned(),
            OptionKind::Minutes => "minutes".to_owned(),
            OptionKind::Text => "text".to_owned(),
            OptionKind::Path => "path".to_owned(),
            OptionKind::Paths => "paths".to_owned(),
            OptionKind::Ports => "ports".to_owned(),
            OptionKind::Address => "IP address".to_owned(),
        }
    }
}

/// Where messages wait when `SPOOL_DIR` is not set.
pub(crate) const SPOOL_DIR: &str = "/var/spool/sluice";
/// Name of the control socket in the spool when `CONTROL_SOCKET` is not set.
pub(crate) const CONTROL_SOCKET: &str = "control.sock";

/// Name of the folder of the mail log in the spool when `LOG_DIR` is not set.
pub const LOG_DIR: &str = "log";

const MINUTE: u64 = 60;

impl Default for Options {
    fn default() -> Options {
        Options {
            spool_dir: PathBuf::from(SPOOL_DIR),
            log_dir: PathBuf::from(SPOOL_DIR).join(LOG_DIR),
            plugin_path: Vec::new(),
            routine_plugins: Vec::new(),
            watch_plugins: false,
            filters: Vec::new(),
            control_socket: PathBuf::from(SPOOL_DIR).join(CONTROL_SOCKET),
            block_size: 1024,
            block_limit: None,
            line_limit: None,
            priority_limits: PerPriority::all(None),
            return_units_hours: false,
            return_address: None,
            return_personal: None,
            content_return_limit: None,
            return_envelope: 0,
            history_to_return: 20,
            lines_to_return: 20,
            max_received_lines: 50,
            post_interval: Duration::from_secs(240 * MINUTE),
            etrns_per_client: 6000,
            etrns_per_node: 6000,
            release_records: 10_000,
            release_records_per_site: 10,
            release_grace: Duration::ZERO,
            return_interval: Duration::from_secs(60 * MINUTE),
            max_message_size: 64 << 20,
            max_recipients: 1000,
            delivery_deadline: Duration::from_secs(30 * MINUTE),
            segment_size: 64 << 20,
            log_connection: 7,
            alias_domains: 1,
            max_alias_levels: 10,
            use_reverse_database: 5,
            reverse_envelope: true,
            missing_recipient_policy: 0,
            exproute_forward: true,
            improute_forward: true,
            use_forward_database: 0,
            use_alias_database: true,
            use_domain_database: true,
            unknown_host_text: None,
            unknown_alias_text: None,
            access_orcpt: false,
            time_zone: None,
            etrn_hosts: None,
            etrn_hosts_file: None,
            password_file: None,
            others: Vec::new(),
        }
    }
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            allow_etrns_per_session: None,
            etrn_domain_plain: false,
            allow_recipients_per_transaction: None,
            reject_recipients_per_transaction: None,
            allow_rejections_before_deferral: None,
            allow_transactions_per_session: None,
            allow_relay: false,
            banner_host: None,
            banner_addition: None,
            custom_version_string: None,
            hide_verify: false,
            command_receive_time: Duration::from_secs(10 * MINUTE),
            data_receive_time: Duration::from_secs(5 * MINUTE),
            status_transmit_time: Duration::from_secs(10 * MINUTE),
            max_helo_domain_length: None,
            log_connection: None,
        }
    }
}
