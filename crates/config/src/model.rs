//! What a configuration folder means: the immutable snapshot that everybody else works from.
//!
//! Nothing here parses. Fields are public because a snapshot is data; it is shared as an `Arc<Config>` and replaced
//! whole when the folder is read again.

use crate::aliases::Aliases;
use crate::conversions::Conversions;
use crate::databases::Databases;
use crate::etrn_hosts::EtrnHost;
use crate::filters::FilterPlugin;
use crate::header_options::HeaderOptions;
use crate::keyword::KeywordInfo;
use crate::mappings::Mappings;
use crate::options::{Isolation, Options, ServerOptions};
use crate::settings::Settings;
use crate::sites::Sites;
use crate::timetable::{Timetable, Windows, Zone};
use foldhash::fast::RandomState;
use sluice_diag::Span;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The channel where pieces of messages are put together, and messages are cut into pieces.
pub const DEFRAGMENT: &str = "defragment";

/// The channel where parts of messages are converted.
pub const CONVERSION: &str = "conversion";

/// A whole configuration, free of errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The folder that relative names in it start from.
    pub folder: PathBuf,
    /// The rewrite rules in the order of the file, includes spliced in.
    pub rules: Vec<Rule>,
    /// The channel table.
    pub channels: Channels,
    /// `option.dat`.
    pub options: Options,
    /// Filters of messages that channels may ask for, by their numbers.
    pub filters: Vec<FilterPlugin>,
    /// The listeners of `dispatcher.cnf`.
    pub services: Vec<Service>,
    /// The pools of `job_controller.cnf`; `DEFAULT` is always among them.
    pub pools: Vec<Pool>,
    /// `sites.cnf`: who is given what mail, and whom we ask for ours.
    pub sites: Sites,
    /// `ETRN_HOSTS` and `ETRN_HOSTS_FILE`: servers that are asked for our mail when the service starts.
    pub etrn_hosts: Vec<EtrnHost>,
    /// `TIME_ZONE`: the zone of times in the configuration.
    pub time_zone: Zone,
    /// The text databases of the folder.
    pub databases: Databases,
    /// The alias file.
    pub aliases: Aliases,
    /// The tables of `mappings`; none when there is no such file.
    pub mappings: Mappings,
    /// The file `conversions`; no entries when there is none.
    pub conversions: Conversions,
    /// Some channel has `loopcheck`: then our server says who it is.
    pub checks_loops: bool,
}

impl Config {
    /// The pool of that name, case aside.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name.eq_ignore_ascii_case(name))
    }
}

/// One rewrite rule as written, continuation lines joined. Its meaning is the business of the rewriter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Up to the first blank.
    pub pattern: String,
    /// The rest of the line without the blanks around it.
    pub template: String,
    /// Where the pattern stands.
    pub span: Span,
    /// Where the template stands (its first line, when it is continued into another file).
    pub template_span: Span,
    /// Offset in the template and where that piece of it stands: for pointing into continued templates. Empty when the
    /// template is one piece, as nearly all are.
    pub template_pieces: Vec<(usize, Span)>,
}

impl Rule {
    /// The place of the bytes `start..end` of the template.
    #[must_use]
    pub fn template_part(&self, start: usize, end: usize) -> Span {
        crate::lines::place(&self.template_pieces, self.template_span, start, end)
    }
}

/// The channel table: blocks in the order of the file, found by name or by host.
///
/// Official host names and the further host names of all blocks live in one table (PMDF System Manager's Guide,
/// chapter 2, "the channel/host table"): no name stands in it twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Channels {
    list: Vec<Channel>,
    by_name: HashMap<Box<str>, u32, RandomState>,
    by_host: HashMap<Box<str>, (u32, u32), RandomState>,
    local: usize,
    block_limit: Option<u64>,
}

impl Channels {
    /// Takes the blocks in; the caller has made sure that no name or host is there twice, of which the first is kept.
    #[must_use]
    pub fn new(list: Vec<Channel>) -> Channels {
        let mut by_name = HashMap::with_capacity_and_hasher(list.len(), RandomState::default());
        let mut by_host = HashMap::with_capacity_and_hasher(list.len(), RandomState::default());
        for (index, channel) in (0u32..).zip(&list) {
            by_name.entry(channel.name.to_ascii_lowercase().into()).or_insert(index);
            for (place, host) in (0u32..).zip(&channel.hosts) {
                by_host.entry(host.name.to_lowercase().into()).or_insert((index, place));
            }
        }
        let local = list.iter().position(|channel| is_local_name(&channel.name)).unwrap_or(0);
        let block_limit = list
            .iter()
            .map(|channel| channel.settings.block_limit)
            .collect::<Option<Vec<u64>>>()
            .and_then(|limits| limits.into_iter().max());
        Channels { list, by_name, by_host, local, block_limit }
    }

    /// The channel of that name, case aside.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Channel> {
        let index = in_lower_case(name, str::to_ascii_lowercase, |name| self.by_name.get(name).copied())?;
        self.list.get(index as usize)
    }

    /// The channel to which a routing system belongs, and which of its names that is; case aside.
    #[must_use]
    pub fn by_host(&self, host: &str) -> Option<(&Channel, &HostName)> {
        let (channel, place) =
            in_lower_case(host, str::to_lowercase, |host| self.by_host.get(host).copied())?;
        let channel = self.list.get(channel as usize)?;
        Some((channel, channel.hosts.get(place as usize)?))
    }

    /// The number of the channel to which a routing system belongs; case aside.
    #[must_use]
    pub fn number_by_host(&self, host: &str) -> Option<usize> {
        let found = in_lower_case(host, str::to_lowercase, |host| self.by_host.get(host).copied());
        found.map(|(channel, _)| channel as usize)
    }

    /// The channel of a number, which is its place in the file.
    #[must_use]
    pub fn number(&self, number: usize) -> Option<&Channel> {
        self.list.get(number)
    }

    /// The local channel, whose official host is the name of this system.
    ///
    /// # Panics
    /// On an empty table, which no [`Config`] holds.
    #[must_use]
    pub fn local(&self) -> &Channel {
        &self.list[self.local]
    }

    /// Every channel in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Channel> {
        self.list.iter()
    }

    /// The most that any channel takes: the largest of their `blocklimit`s, in bytes, when all have one.
    #[must_use]
    pub fn largest_block_limit(&self) -> Option<u64> {
        self.block_limit
    }

    /// How many channels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Asks with a name in lower case. Each address that is rewritten asks for several names, so none of usual length costs an
/// allocation.
fn in_lower_case<T>(name: &str, lower: fn(&str) -> String, ask: impl FnOnce(&str) -> T) -> T {
    if !name.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        return ask(name);
    }
    let mut buffer = [0; 256];
    if name.is_ascii()
        && let Some(buffer) = buffer.get_mut(..name.len())
    {
        buffer.copy_from_slice(name.as_bytes());
        buffer.make_ascii_lowercase();
        if let Ok(name) = std::str::from_utf8(buffer) {
            return ask(name);
        }
    }
    ask(&lower(name))
}

impl<'a> IntoIterator for &'a Channels {
    type Item = &'a Channel;
    type IntoIter = std::slice::Iter<'a, Channel>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Whether a channel of this name is the local one: `l`, or PMDF's store channels on systems without local mailboxes.
#[must_use]
pub fn is_local_name(name: &str) -> bool {
    matches!(name, "l" | "msgstore" | "popstore")
}

/// One channel block.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// First word of the second line: the name by which rules choose the channel.
    pub official_host: String,
    /// Second word of the second line: what this system calls itself towards the channel.
    pub local_alias: Option<String>,
    /// All names of the channel in the table, the official one first.
    pub hosts: Vec<HostName>,
    /// Where the name of the channel stands.
    pub span: Span,
    /// What the keywords mean, defaults applied.
    pub settings: Settings,
    /// Every keyword in force, those of `defaults` blocks included, in the order in which they were written.
    pub keywords: Vec<Keyword>,
    /// Words among the keywords that are none. PMDF takes them for groups that a sender must belong to; here they have no
    /// effect, and an error says so when the configuration is checked.
    pub groups: Vec<String>,
    /// The plugin that delivers: `MASTER_PLUGIN` of the best `[CHANNEL=…]` section, or the built-in choice for the name.
    /// `None`: nothing delivers, mail stays queued.
    pub plugin: Option<String>,
    /// `SCHEDULE` of the best `[CHANNEL=…]` section: when the channel is run beside the periodic services.
    pub schedule: Option<Arc<Timetable>>,
    /// `WINDOW` of the best `[CHANNEL=…]` section: when its mail is attempted without anybody asking. `None`: always.
    pub windows: Option<Arc<Windows>>,
    /// The lines of `CHANNEL_option`.
    pub option_file: Vec<OptionValue>,
    /// What the lines of `CHANNEL_option` mean to the server side.
    pub server: ServerOptions,
    /// What they mean to the process of its plugin, where it has one (`isolated`).
    pub isolation: Isolation,
    /// `CHANNEL_headers.opt`, read under `headertrim`: what is done to headers of mail to the channel.
    pub header_options: Option<HeaderOptions>,
    /// `CHANNEL_read_headers.opt`, read under `headerread`: what is done to headers of mail from the channel.
    pub read_header_options: Option<HeaderOptions>,
    /// The text of the `description` keyword.
    pub description: Option<String>,
}

impl Channel {
    /// Whether the keyword is in force because somebody wrote it, on the block or in a `defaults` block above.
    /// The name is compared without case.
    #[must_use]
    pub fn has(&self, keyword: &str) -> bool {
        self.keyword(keyword).is_some()
    }

    /// The keyword in force of that name, with its arguments.
    #[must_use]
    pub fn keyword(&self, name: &str) -> Option<&Keyword> {
        self.keywords.iter().find(|keyword| keyword.info.name.eq_ignore_ascii_case(name))
    }

    /// The one host that all mail of the channel goes to, when `daemon` names one: its argument, or the official host
    /// of the channel when the argument is not a full domain name (`daemon router`).
    #[must_use]
    pub fn fixed_peer(&self) -> Option<&str> {
        self.settings.daemon.as_deref()
    }

    /// Whether the channel puts pieces of messages together and makes some: `defragment` and `defragment_*`.
    #[must_use]
    pub fn defragments(&self) -> bool {
        self.name == DEFRAGMENT
            || self.name.strip_prefix(DEFRAGMENT).is_some_and(|rest| rest.starts_with('_'))
    }

    /// Whether parts of messages are converted on the channel: `conversion` and `conversion_*`.
    #[must_use]
    pub fn converts(&self) -> bool {
        self.name == CONVERSION
            || self.name.strip_prefix(CONVERSION).is_some_and(|rest| rest.starts_with('_'))
    }

    /// Whether mail on the channel waits for an operator, and goes on when it is released: `hold` and `hold_*`.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.name == "hold" || self.name.starts_with("hold_")
    }

    /// Whether the channel runs the server's SMTP or the client's.
    #[must_use]
    pub fn is_smtp(&self) -> bool {
        self.settings.smtp.is_some()
    }
}

/// A name in the channel table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    /// As written.
    pub name: String,
    /// What takes its place in envelope recipients: for the official name nothing, for a name of the third line or
    /// later the proper name written behind it, or else the official name.
    pub proper: Option<String>,
    /// Where the name stands.
    pub span: Span,
}

/// A keyword in force on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyword {
    /// Its entry in the table of keywords.
    pub info: &'static KeywordInfo,
    /// Its arguments, quotes taken off.
    pub arguments: Vec<String>,
    /// Where the keyword stands.
    pub span: Span,
    /// Where each argument stands.
    pub argument_spans: Vec<Span>,
    /// Whether it came from a `defaults` block.
    pub inherited: bool,
}

impl Keyword {
    /// The name as the table spells it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.info.name
    }

    /// The arguments joined by one blank; empty when there are none.
    #[must_use]
    pub fn value(&self) -> String {
        self.arguments.join(" ")
    }
}

/// A line of a channel's option file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionValue {
    /// Left of the equals sign, upper case.
    pub name: String,
    /// Right of it, without the blanks around.
    pub value: String,
    /// Where the name stands.
    pub span: Span,
    /// Where the value stands.
    pub value_span: Span,
    /// Whether the hub itself reads it (see [`ServerOptions`] and [`Isolation`]), so that it is no plugin's.
    pub known_to_server: bool,
    /// Whether it is an option of PMDF's or Messaging Server's documents, whoever reads it. What is neither this nor
    /// an option of the channel's plugin is probably a slip.
    pub recognised: bool,
}

/// A listener of `dispatcher.cnf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name behind `SERVICE=`.
    pub name: String,
    /// Addresses and ports; `None` stands for all addresses.
    pub listen: Vec<(Option<IpAddr>, u16)>,
    /// The same for connections that begin with TLS (`TLS_PORT`).
    pub listen_tls: Vec<(Option<IpAddr>, u16)>,
    /// Where `TLS_PORT` stands.
    pub tls_span: Option<Span>,
    /// `TLS_CERTIFICATE`, and where it stands.
    pub tls_certificate: Option<(PathBuf, Span)>,
    /// `TLS_KEY`, and where it stands.
    pub tls_key: Option<(PathBuf, Span)>,
    /// The channel that sessions start on (`PARAMETER=CHANNEL=…`).
    pub channel: String,
    /// Whether sessions may be turned round: the service `ODMR`, or `ATRN=1`.
    pub atrn: Atrn,
    /// Most connections at a time: `MAX_PROCS` times `MAX_CONNS`.
    pub max_connections: u32,
    /// Most connections at a time from one address (`MAX_CONNS_PER_CLIENT`, ours).
    pub max_connections_per_client: u32,
    /// Where the section begins; the beginning of the main file for the service that exists without `dispatcher.cnf`.
    pub span: Span,
}

/// Whether sessions of a service may be turned round (ATRN, RFC 2645).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Atrn {
    /// No.
    #[default]
    No,
    /// Beside all that a session is otherwise good for.
    Offered,
    /// They are there for nothing else.
    Only,
}

/// A pool of `job_controller.cnf`: the jobs of all its channels share one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The name behind `POOL=` or `QUEUE=`.
    pub name: String,
    /// Most jobs at a time.
    pub job_limit: u32,
}
