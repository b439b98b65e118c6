//! The tables of options: every name that may stand in `option.dat`, `dispatcher.cnf`, `job_controller.cnf` and a
//! channel's option file.
//!
//! Names are those of PMDF's and Messaging Server's documents; our own are marked in the help. An option that does
//! nothing in this release is recognised, so that existing files can be used as they are.

use crate::filters::TIME_MAX_SECS;
use crate::keyword::Status::{self, Acts, Partly, Recognised};
use crate::options::OptionKind::{
    Address, Duration, Integer, Minutes, Number, Path, Paths, Ports, Size, Switch, Text,
};
use crate::options::{OptionInfo, OptionKind};

pub(crate) mod products;

const COUNT: OptionKind = Integer { least: 0, most: 2_147_483_647 };
const POSITIVE: OptionKind = Integer { least: 1, most: 2_147_483_647 };

const fn option(
    name: &'static str,
    kind: OptionKind,
    default: &'static str,
    status: Status,
    help: &'static str,
) -> OptionInfo {
    OptionInfo { name, kind, default, status, help }
}

/// `option.dat`.
pub(crate) static GLOBAL: &[OptionInfo] = &joined::<{ HUB.len() + FILTERS.len() }>(HUB, FILTERS);

const fn joined<const N: usize>(one: &'static [OptionInfo], other: &'static [OptionInfo]) -> [OptionInfo; N] {
    let mut all = [one[0]; N];
    let mut at = 1;
    while at < N {
        all[at] = if at < one.len() { one[at] } else { other[at - one.len()] };
        at += 1;
    }
    all
}

macro_rules! filters {
    ($($number:literal)*) => {
        &[$(
            option(
                concat!("SPAMFILTER", $number, "_LIBRARY"),
                Text,
                "none",
                Acts,
                concat!("Plugin that messages are shown to before they are queued, by name, or as a file when there is a `/` in it: filter ", $number,
                    ", for channels with `sourcespamfilter", $number, "` or `destinationspamfilter", $number, "`."),
            ),
            option(
                concat!("SPAMFILTER", $number, "_CONFIG_FILE"),
                Text,
                "none",
                Acts,
                concat!("Option file of the plugin of filter ", $number, ", in the configuration folder."),
            ),
            option(
                concat!("SPAMFILTER", $number, "_OPTIONAL"),
                Number(&[-2, 0, 1, 2, 3, 4]),
                "0",
                Acts,
                concat!("What becomes of mail when filter ", $number, " fails: 0, -2 it is refused for now (451); 1, 2 it passes without; 3, 4 it waits on the channel \
                    `reprocess`, and is shown to the filter again from there. The log tells of it in each case."),
            ),
            option(
                concat!("SPAMFILTER", $number, "_TIMEOUT"),
                Integer { least: 1, most: TIME_MAX_SECS },
                "30",
                Acts,
                concat!("Seconds that filter ", $number, " may take for a message (ours)."),
            ),
        )*]
    };
}

const FILTERS: &[OptionInfo] = filters!("1" "2" "3" "4" "5" "6" "7" "8");

const HUB: &[OptionInfo] = &[
    option("SPOOL_DIR", Path, "/var/spool/sluice", Acts, "Folder in which messages wait (ours)."),
    option(
        "PLUGIN_PATH",
        Paths,
        "none",
        Acts,
        "Folders searched for plugins after those beside the program, separated by colons or commas (ours).",
    ),
    option(
        "ROUTINE_PLUGINS",
        Text,
        "none",
        Acts,
        "Plugins whose routines rewrite rules and mapping tables may call, besides the plugins of channels: names or files, separated by commas (ours).",
    ),
    option(
        "WATCH_PLUGINS",
        Switch,
        "0",
        Acts,
        "With 1, a plugin whose file has changed is made anew as by `sluice plugin reload`, once nobody writes to the file any more (ours).",
    ),
    option(
        "TIME_ZONE",
        Text,
        "the system's",
        Acts,
        "Zone of times in the configuration: a name such as Europe/Berlin, UTC, or a rule such as CET-1CEST,M3.5.0,M10.5.0/3 (ours).",
    ),
    option(
        "LOG_DIR",
        Path,
        "SPOOL_DIR/log",
        Acts,
        "Folder of mail.log_current, mail.log_yesterday and mail.log, of channels with `logging` (ours).",
    ),
    option(
        "CONTROL_SOCKET",
        Path,
        "SPOOL_DIR/control.sock",
        Acts,
        "Socket on which the running hub listens for the sluice commands (ours).",
    ),
    option(
        "BLOCK_SIZE",
        Integer { least: 1, most: 1 << 30 },
        "1024",
        Acts,
        "Bytes in a block, the unit of blocklimit and its kind.",
    ),
    option(
        "BLOCK_LIMIT",
        POSITIVE,
        "none",
        Acts,
        "Largest message in blocks, whatever the channel; SIZE announces it.",
    ),
    option("RETURN_UNITS", Switch, "0", Acts, "0: the numbers of notices are days; 1: hours."),
    option("RETURN_ADDRESS", Text, "postmaster at the local host", Acts, "Address that notices come from."),
    option("RETURN_PERSONAL", Text, "Mail Delivery System", Acts, "Display name of that address."),
    option(
        "RETURN_ENVELOPE",
        Integer { least: 0, most: 15 },
        "0",
        Acts,
        "What returnenvelope is on channels without that keyword.",
    ),
    option(
        "HISTORY_TO_RETURN",
        COUNT,
        "20",
        Recognised,
        "Delivery attempts that a notice tells about at most.",
    ),
    option(
        "LINES_TO_RETURN",
        COUNT,
        "20",
        Acts,
        "Lines of the message's body that a warning holds at most; what is returned, is returned whole.",
    ),
    option(
        "MAX_RECEIVED_LINES",
        POSITIVE,
        "50",
        Acts,
        "A message with more Received lines is put on hold, as it probably goes in circles.",
    ),
    option("POST_INTERVAL", Duration, "4h", Acts, "Time between two periodic services (ours)."),
    option(
        "PMDF_POST_INTERVAL",
        Duration,
        "4h",
        Acts,
        "The same as POST_INTERVAL, under the name that PMDF has for it.",
    ),
    option(
        "RELEASE_GRACE",
        Duration,
        "0",
        Acts,
        "How long mail that comes in for a released queue still joins the run after everything was sent. With 0 it waits \
         for the next release (ours).",
    ),
    option(
        "RETURN_INTERVAL",
        Duration,
        "1h",
        Acts,
        "Time between two looks at the ages of what waits (ours).",
    ),
    option(
        "MAX_MESSAGE_SIZE",
        Size { least: 1024 },
        "64M",
        Acts,
        "Largest message that is accepted, in bytes (ours).",
    ),
    option("MAX_RECIPIENTS", POSITIVE, "1000", Acts, "Most recipients in one transaction (ours)."),
    option(
        "DELIVERY_DEADLINE",
        Duration,
        "30m",
        Acts,
        "How long a plugin may keep a delivery without settling it (ours).",
    ),
    option(
        "ETRN_HOSTS",
        Text,
        "none",
        Acts,
        "Servers that are asked for our mail when the service starts, once its listeners accept: groups with blanks between them, \
         each `server` or `server:name,name`, as in \"s1:c1.1,c1.2 s2:c2.1 s3\". A server without names is asked for every \
         name that we take mail for; a port may stand in front of the names, `s1:2525:c1.1`. The log has what came of it.",
    ),
    option(
        "ETRN_HOSTS_FILE",
        Path,
        "none",
        Acts,
        "A file of the form of /etc/default/sendmail with a line ETRN_HOSTS=\"…\"; its servers are asked too.",
    ),
    option(
        "PASSWORD_FILE",
        Path,
        "none",
        Acts,
        "Who may log in: a file that `sluice password` writes and only the hub's account may read (ours).",
    ),
    option("SEGMENT_SIZE", Size { least: 1 << 20 }, "64M", Acts, "Size of a spool segment in bytes (ours)."),
    option(
        "LOG_CONNECTION",
        Integer { least: 0, most: 255 },
        "7",
        Partly,
        "Bits: 1 transport data in records, 2 connections, 4 ETRN. Bit 4 acts: a record of each ETRN, with code I.",
    ),
    option(
        "ETRN_PER_CLIENT",
        COUNT,
        "6000",
        Acts,
        "Most requests for mail (ETRN, ATRN) from one address in a minute; those beyond get 458 or 450. 0 is no limit (ours).",
    ),
    option(
        "ETRN_PER_NODE",
        COUNT,
        "6000",
        Acts,
        "Most requests for the mail of one node in a minute, whoever asks. 0 is no limit (ours).",
    ),
    option(
        "RELEASE_RECORDS",
        Integer { least: 1, most: 1_000_000 },
        "10000",
        Acts,
        "Newest records of releases that are kept, whoever asked. Each is a hundred octets or so of memory, and of each checkpoint (ours).",
    ),
    option(
        "RELEASE_RECORDS_PER_SITE",
        Integer { least: 1, most: 1000 },
        "10",
        Acts,
        "Records of the last releases of each site that are kept beside those, however old they are. HELP RELEASES tells up to ten (ours).",
    ),
    option("ACCESS_ERRORS", Switch, "0", Recognised, "Whether a refused sender is told the true reason."),
    option(
        "ALIAS_DOMAINS",
        Integer { least: 0, most: 7 },
        "1",
        Acts,
        "Which forms of an address are looked up as aliases; bits: 1 local part, 2 whole address, 4 *@host.",
    ),
    option(
        "CONTENT_RETURN_BLOCK_LIMIT",
        COUNT,
        "none",
        Acts,
        "Messages of more blocks are returned without their content; without the option, messages of more than 64 KiB. \
         None of more than 4 MiB is returned whole.",
    ),
    option("DEQUEUE_DEBUG", COUNT, "0", Recognised, "Debug log of dequeues."),
    option("DISABLE_DELIVERY_RECEIPT", Switch, "0", Recognised, "No delivery receipts."),
    option(
        "ACCESS_ORCPT",
        Switch,
        "0",
        Acts,
        "1: the address as the client wrote it is a last field in the questions to the access tables of recipients.",
    ),
    option("COMMENT_STRINGS", COUNT, "0", Recognised, "What becomes of comments in addresses."),
    option(
        "DOMAIN_FAILURE",
        Text,
        "none",
        Recognised,
        "Template that stands for the rest of a rule when the directory fails.",
    ),
    option("DOMAIN_UPLEVEL", COUNT, "0", Recognised, "Whether the domains above a domain are asked for too."),
    option(
        "ERROR_TEXT_UNKNOWN_ALIAS",
        Text,
        "unknown or illegal alias",
        Acts,
        "Why an address is refused that no alias leads to, where viaaliasrequired wants one.",
    ),
    option(
        "ERROR_TEXT_UNKNOWN_HOST",
        Text,
        "unknown host or domain",
        Acts,
        "Why an address is refused that no rule knows and that `$?` has no text for.",
    ),
    option(
        "ERROR_TEXT_UNKNOWN_USER",
        Text,
        "unknown or illegal user",
        Recognised,
        "Text of a refusal; which users there are is known where mail is delivered.",
    ),
    option(
        "EXPROUTE_FORWARD",
        Switch,
        "1",
        Acts,
        "Whether `exproute` adds routes to forward-pointing header addresses (To, Cc) too, not only to backward ones.",
    ),
    option(
        "IMPROUTE_FORWARD",
        Switch,
        "1",
        Acts,
        "Whether `improute` adds routes to forward-pointing header addresses (To, Cc) too, not only to backward ones.",
    ),
    option("HELD_SNDOPR", COUNT, "0", Recognised, "Messages put on hold are reported to the operator."),
    option("ID_DOMAIN", Text, "none", Recognised, "Domain in the message identifiers that are made here."),
    option("INCLUDE_CONNECTIONINFO", COUNT, "0", Recognised, "Access mappings see the transport data."),
    option(
        "MISSING_RECIPIENT_POLICY",
        Integer { least: 0, most: 6 },
        "0",
        Acts,
        "What is done about a header without recipients: 0 and 1 nothing, 2 the envelope recipients in To, 3 in Bcc, 4 an \
         empty group in To, 5 an empty Bcc, 6 the message is refused.",
    ),
    option("PERSONAL_NAMES", COUNT, "0", Recognised, "What becomes of personal names in addresses."),
    option("RECEIVED_DOMAIN", Text, "none", Recognised, "Name of this host in Received lines."),
    option("REVERSE_ENVELOPE", Switch, "1", Acts, "Whether envelope senders are reversed too."),
    option("USE_ALIAS_DATABASE", COUNT, "1", Acts, "0: the alias database is not asked."),
    option("USE_DOMAIN_DATABASE", COUNT, "1", Acts, "0: the domain database is not asked."),
    option(
        "USE_FORWARD_DATABASE",
        Integer { least: 0, most: 1023 },
        "0",
        Acts,
        "Whether the forward database is asked, and how. Bits: 1 it is, 8 with source channel and sender in front of the \
         address, 16 FORWARD is asked source|from|address, 64 FORWARD is told the destination channel too. Others have no \
         effect.",
    ),
    option("USE_PERSONAL_ALIASES", COUNT, "1", Recognised, "Whether personal alias databases are asked."),
    option(
        "USE_REVERSE_DATABASE",
        Integer { least: 0, most: 1023 },
        "5",
        Acts,
        "Which addresses are reversed, and how. Bits: 1 after rewriting, 2 before it, 4 forward-pointing addresses too, \
         8 REVERSE is asked source|destination|address, 16 the database too, 32 REVERSE is asked about what the \
         database gave, 128 and 256 leave the source out for database and REVERSE. 64 (message identifiers) has no effect.",
    ),
    option("ALIAS_HASH_SIZE", COUNT, "none", Recognised, "Room for a table; tables grow by themselves here."),
    option(
        "ALIAS_MEMBER_SIZE",
        COUNT,
        "none",
        Recognised,
        "Room for a table; tables grow by themselves here.",
    ),
    option(
        "CHANNEL_TABLE_SIZE",
        COUNT,
        "none",
        Recognised,
        "Room for a table; tables grow by themselves here.",
    ),
    option("CONVERSION_SIZE", COUNT, "none", Recognised, "Room for a table; tables grow by themselves here."),
    option(
        "DOMAIN_HASH_SIZE",
        COUNT,
        "none",
        Recognised,
        "Room for a table; tables grow by themselves here.",
    ),
    option(
        "FILE_MEMBER_SIZE",
        COUNT,
        "none",
        Recognised,
        "Room for a table; tables grow by themselves here.",
    ),
    option("HOST_HASH_SIZE", COUNT, "none", Recognised, "Room for a table; tables grow by themselves here."),
    option("MAP_NAMES_SIZE", COUNT, "none", Recognised, "Room for a table; tables grow by themselves here."),
    option(
        "STRING_POOL_SIZE",
        COUNT,
        "none",
        Recognised,
        "Room for a table; tables grow by themselves here.",
    ),
    option("WILD_POOL_SIZE", COUNT, "none", Recognised, "Room for a table; tables grow by themselves here."),
    option(
        "LINE_LIMIT",
        POSITIVE,
        "none",
        Acts,
        "Most lines of a message, header and body, whatever the channel.",
    ),
    option("LOG_CONNECTIONS_SYSLOG", COUNT, "0", Recognised, "Connection records go to the system log."),
    option("LOG_DIAGNOSTICS", COUNT, "0", Recognised, "Field of the mail log."),
    option("LOG_ENVELOPE_ID", COUNT, "0", Recognised, "Field of the mail log."),
    option("LOG_FILENAME", COUNT, "0", Recognised, "Field of the mail log."),
    option("LOG_FILTER", COUNT, "0", Recognised, "Field of the mail log."),
    option(
        "LOG_FORMAT",
        Integer { least: 1, most: 4 },
        "1",
        Recognised,
        "Form of the records of the mail log.",
    ),
    option("LOG_HEADER", COUNT, "0", Recognised, "Field of the mail log."),
    option("LOG_INTERMEDIATE", COUNT, "0", Recognised, "Field of the mail log."),
    option("LOG_LOCAL", COUNT, "0", Recognised, "Local addresses get the local domain in the mail log."),
    option("LOG_MESSAGE_ID", COUNT, "0", Recognised, "Field of the mail log."),
    option("LOG_MESSAGES_SYSLOG", COUNT, "0", Recognised, "Message records go to the system log."),
    option("LOG_NODE", COUNT, "0", Recognised, "Field of the mail log."),
    option("LOG_NOTARY", COUNT, "0", Recognised, "Field of the mail log."),
    option("LOG_PRIORITY", COUNT, "0", Recognised, "Field of the mail log."),
    option("LOG_PROCESS", COUNT, "0", Recognised, "Field of the mail log."),
    option("LOG_QUEUE_TIME", COUNT, "0", Recognised, "Field of the mail log."),
    option("LOG_REASON", COUNT, "0", Recognised, "Field of the mail log."),
    option("LOG_SENSITIVITY", COUNT, "0", Recognised, "Field of the mail log."),
    option("LOG_SNDOPR", COUNT, "0", Recognised, "Trouble with the log goes to the operator."),
    option("LOG_USERNAME", COUNT, "0", Recognised, "Field of the mail log."),
    option(
        "MAX_ALIAS_LEVELS",
        Integer { least: 1, most: 100 },
        "10",
        Acts,
        "How deep aliases may point to aliases.",
    ),
    option(
        "MAX_LOCAL_RECEIVED_LINES",
        COUNT,
        "10",
        Recognised,
        "As MAX_RECEIVED_LINES, for lines of this host.",
    ),
    option(
        "NON_URGENT_BLOCK_LIMIT",
        COUNT,
        "none",
        Acts,
        "Larger nonurgent messages wait for the periodic service.",
    ),
    option("NORMAL_BLOCK_LIMIT", COUNT, "none", Acts, "Larger normal messages count as nonurgent."),
    option("POST_DEBUG", COUNT, "0", Recognised, "Debug log of the periodic service."),
    option("RETURN_DEBUG", COUNT, "0", Recognised, "Debug log of the return job."),
    option(
        "SEPARATE_CONNECTION_LOG",
        Switch,
        "0",
        Recognised,
        "Connection records go to a log of their own.",
    ),
    option("URGENT_BLOCK_LIMIT", COUNT, "none", Acts, "Larger urgent messages count as normal."),
];

/// `dispatcher.cnf`.
pub(crate) static DISPATCHER: &[OptionInfo] = &[
    option(
        "PORT",
        Ports,
        "25 for SMTP, 587 for SUBMIT, 366 for ODMR",
        Acts,
        "Ports to listen on, separated by commas, each with an address in brackets in front if wanted.",
    ),
    option(
        "INTERFACE_ADDRESS",
        Address,
        "all addresses",
        Acts,
        "Address to listen on where PORT names none.",
    ),
    option(
        "PARAMETER",
        Text,
        "CHANNEL=tcp_local",
        Acts,
        "CHANNEL=name: the channel on which sessions start.",
    ),
    option(
        "MAX_PROCS",
        POSITIVE,
        "5",
        Acts,
        "With MAX_CONNS: most connections are the product of both; 500 when neither is set.",
    ),
    option(
        "MAX_CONNS",
        POSITIVE,
        "10",
        Acts,
        "With MAX_PROCS: most connections are the product of both; 500 when neither is set.",
    ),
    option(
        "MAX_CONNS_PER_CLIENT",
        POSITIVE,
        "200",
        Acts,
        "Most connections at a time from one address (ours).",
    ),
    option(
        "ATRN",
        Switch,
        "0",
        Acts,
        "1: a client that has logged in may turn its connection round with ATRN and take the mail of its sites over it (ours). The service \
         `ODMR` does that and nothing else (RFC 2645).",
    ),
    option(
        "TLS_PORT",
        Ports,
        "none",
        Acts,
        "Ports on which TLS begins with the first octet, as on 465; written as PORT is.",
    ),
    option(
        "TLS_CERTIFICATE",
        Path,
        "server-pub.pem, where it exists",
        Acts,
        "PEM file with the certificate of the service and those above it (ours; the default name is PMDF's).",
    ),
    option(
        "TLS_KEY",
        Path,
        "server-priv.pem",
        Acts,
        "PEM file with the private key of that certificate; nobody but its owner and group may read it (ours).",
    ),
    option(
        "BACKLOG",
        COUNT,
        "MAX_CONNS times MAX_PROCS",
        Recognised,
        "Connections that wait to be accepted.",
    ),
    option("DEBUG", COUNT, "0", Recognised, "Debug log."),
    option("DNS_VERIFY_DOMAIN", Text, "none", Recognised, "DNS block lists."),
    option("ENABLE_RBL", Switch, "0", Recognised, "The old single block list."),
    option(
        "GROUP",
        Text,
        "none",
        Recognised,
        "Group of a worker process; there are no worker processes here.",
    ),
    option("HISTORICAL_TIME", COUNT, "120", Recognised, "How long ended workers stay in the statistics."),
    option("IDENT", COUNT, "0", Recognised, "RFC 1413 queries."),
    option(
        "IMAGE",
        Text,
        "none",
        Recognised,
        "Program of a worker process; a service with any other than the SMTP server is not served.",
    ),
    option("LOGFILE", Text, "none", Recognised, "Log of a worker process."),
    option("MAX_HANDOFFS", COUNT, "5", Recognised, "Connections that are being handed over at a time."),
    option("MAX_IDLE_TIME", COUNT, "600", Recognised, "Surplus idle workers go after this."),
    option("MAX_LIFE_CONNS", COUNT, "300", Recognised, "A worker goes after so many connections."),
    option("MAX_LIFE_TIME", COUNT, "86400", Recognised, "A worker goes after so many seconds."),
    option("MAX_SHUTDOWN", COUNT, "2", Recognised, "Workers that may be going at a time."),
    option("MIN_CONNS", COUNT, "3", Recognised, "Connections at which a worker counts as busy."),
    option("MIN_PROCS", COUNT, "1", Recognised, "Workers that are always there."),
    option("STACKSIZE", COUNT, "none", Recognised, "Stack of a worker."),
    option("USER", Text, "none", Recognised, "Account of a worker process."),
];

/// `job_controller.cnf`.
pub(crate) static JOB_CONTROLLER: &[OptionInfo] = &[
    option(
        "JOB_LIMIT",
        Integer { least: 1, most: 1_000_000 },
        "10",
        Acts,
        "Jobs at a time in a pool; in front of the first section: for all pools.",
    ),
    option(
        "MASTER_PLUGIN",
        Text,
        "by the channel's name",
        Acts,
        "In a [CHANNEL=pattern] section: the plugin that delivers for the channels that match; a value with a slash is a file (ours).",
    ),
    option(
        "QUEUE",
        Text,
        "by keyword",
        Acts,
        "In a [CHANNEL=pattern] section: the pool of the channels that match, wins over the keyword.",
    ),
    option("POOL", Text, "by keyword", Acts, "The same as QUEUE (ours)."),
    option(
        "SCHEDULE",
        Text,
        "none",
        Acts,
        "In a [CHANNEL=pattern] section: when the channels that match are run, beside the periodic services: what waits is attempted, and \
         the peer is asked for mail where `sendetrn` says so, or the plugin of a `periodic` or `master` channel brings it in. Written as SCHEDULE in sites.cnf, and made up for like it after a \
         time without a hub; a site's own SCHEDULE wins for its mail (ours).",
    ),
    option(
        "WINDOW",
        Text,
        "always",
        Acts,
        "In a [CHANNEL=pattern] section: outside of it nothing is attempted on its own, while ETRN, an operator and a site's SCHEDULE still \
         release. Written as WINDOW in sites.cnf; a site's own WINDOW wins for its mail (ours).",
    ),
    option(
        "CAPACITY",
        COUNT,
        "200",
        Recognised,
        "Requests that a queue holds; ours are not limited, what waits is in the spool.",
    ),
    option(
        "ANON_HOST",
        COUNT,
        "0",
        Recognised,
        "In a section for TCP channels of PMDF: no host name is told.",
    ),
    option("COMMAND", Text, "none", Recognised, "Program of a periodic job."),
    option("DEBUG", COUNT, "0", Recognised, "Debug log."),
    option(
        "INTERFACE_ADDRESS",
        Address,
        "all",
        Recognised,
        "Address the job controller listens on; here it is a part of the hub.",
    ),
    option(
        "MASTER_COMMAND",
        Text,
        "none",
        Recognised,
        "Program that delivers; here a plugin does, see MASTER_PLUGIN.",
    ),
    option("MAX_AGE", COUNT, "1800", Recognised, "How long a delivery process lives."),
    option("MAX_CONNS", COUNT, "300", Recognised, "Messages that a delivery process serves."),
    option("MAX_LIFE_AGE", COUNT, "14400", Recognised, "How long a delivery process lives."),
    option("MAX_LIFE_ASKWORK", COUNT, "300", Recognised, "How often a delivery process asks for work."),
    option("MAX_LIFE_CONNS", COUNT, "300", Recognised, "Messages that a delivery process serves."),
    option("MAX_LIFE_TIME", COUNT, "14400", Recognised, "How long a delivery process lives."),
    option("MAX_MESSAGES", COUNT, "100000", Recognised, "Messages that are kept track of in memory."),
    option("NONURGENT_DELIVERY", Text, "any time", Recognised, "When nonurgent mail may be delivered."),
    option("NORMAL_DELIVERY", Text, "any time", Recognised, "When normal mail may be delivered."),
    option("REBUILD_IN_ORDER", COUNT, "0", Recognised, "How the queue is read at the start."),
    option("REBUILD_PARALLEL_CHANNEL", COUNT, "12", Recognised, "How the queue is read at the start."),
    option("SECRET", Text, "none", Recognised, "Word that clients of the job controller must know."),
    option("SLAVE_COMMAND", Text, "NULL", Recognised, "Program that polls for inbound mail."),
    option("SYNCH_TIME", Text, "PT4H", Recognised, "How often memory is compared with the disk."),
    option("TCP_PORT", COUNT, "27442", Recognised, "Port of the job controller."),
    option("TIME", Text, "none", Recognised, "When a periodic job runs."),
    option("UDP_PORT", COUNT, "27442", Recognised, "Port of the job controller."),
    option("URGENT_DELIVERY", Text, "any time", Recognised, "When urgent mail may be delivered."),
];

/// `CHANNEL_option`: what the SMTP server reads.
pub(crate) static SERVER: &[OptionInfo] = &[
    option(
        "ALLOW_ETRNS_PER_SESSION",
        COUNT,
        "8, or the number of the peer's nodes",
        Acts,
        "ETRN commands that are accepted in a session; further ones get 458.",
    ),
    option(
        "ETRN_DOMAIN_PLAIN",
        Switch,
        "0",
        Acts,
        "1: domainetrn admits ETRN domain beside ETRN @domain (ours).",
    ),
    option(
        "ALLOW_RECIPIENTS_PER_TRANSACTION",
        COUNT,
        "no limit",
        Acts,
        "Further recipients of a transaction get 452.",
    ),
    option(
        "REJECT_RECIPIENTS_PER_TRANSACTION",
        COUNT,
        "no limit",
        Acts,
        "With more recipients the whole message is refused.",
    ),
    option(
        "ALLOW_REJECTIONS_BEFORE_DEFERRAL",
        COUNT,
        "no limit",
        Acts,
        "After so many refused recipients all further ones get a temporary error.",
    ),
    option(
        "ALLOW_TRANSACTIONS_PER_SESSION",
        COUNT,
        "no limit",
        Acts,
        "Messages that are accepted in a session.",
    ),
    option(
        "ALLOW_RELAY",
        Switch,
        "0",
        Acts,
        "1: sessions that stay on this channel may send to the channel itself (ours).",
    ),
    option("BANNER_HOST", Text, "the local host", Acts, "Name in the greeting, and in the client's EHLO."),
    option("BANNER_ADDITION", Text, "none", Recognised, "Text added to the greeting."),
    option("CUSTOM_VERSION_STRING", Text, "none", Recognised, "Program and version in the greeting."),
    option("HIDE_VERIFY", Switch, "0", Acts, "1: VRFY is answered vaguely on channels without vrfyallow."),
    option("COMMAND_RECEIVE_TIME", Minutes, "10", Acts, "Wait for a command."),
    option("DATA_RECEIVE_TIME", Minutes, "5", Acts, "Wait for more of a message."),
    option("STATUS_TRANSMIT_TIME", Minutes, "10", Recognised, "Time to get rid of a reply."),
    option("MAX_HELO_DOMAIN_LENGTH", COUNT, "no limit", Recognised, "Longest name in HELO and EHLO."),
    option("TIMEOUT_MULTIPLIER", POSITIVE, "60", Acts, "Seconds in the unit of all times of the file."),
    option(
        "LOG_CONNECTION",
        Integer { least: 0, most: 255 },
        "the global option",
        Recognised,
        "The global option, for this channel.",
    ),
    option(
        "BANNER_PURGE_DELAY",
        COUNT,
        "0",
        Recognised,
        "Wait behind the greeting; who talks early is refused.",
    ),
    option("CHECK_SOURCE", Switch, "1", Recognised, "Compare the HELO name with the name of the client."),
    option("CONTINUATION_CHARS", Text, "none", Recognised, "More continuation characters of batch SMTP."),
    option("DISABLE_ADDRESS", Switch, "0", Recognised, "1: no XADR command; there is none."),
    option("DISABLE_CIRCUIT", Switch, "0", Recognised, "1: no XCIR command; there is none."),
    option("DISABLE_EXPAND", Switch, "0", Recognised, "1: no EXPN command; there is none."),
    option("DISABLE_GENERAL", Switch, "0", Recognised, "1: no XGEN command; there is none."),
    option("DISABLE_SEND", Switch, "0", Recognised, "1: no SEND, SAML and SOML commands; there are none."),
    option("DISABLE_STATUS", Switch, "0", Recognised, "1: no XSTA command; there is none."),
    option("EHLO_ADDITION", Text, "none", Recognised, "More lines in the reply to EHLO."),
    option("LOG_BANNER", Switch, "1", Recognised, "The peer's greeting in the log."),
    option("LOG_TRANSPORTINFO", Switch, "1", Recognised, "Transport data in the log."),
    option("MAX_B_ENTRIES", COUNT, "3", Recognised, "Records of bad commands in a session."),
    option("MAX_J_ENTRIES", COUNT, "10", Recognised, "Records of refusals in a session."),
    option("PROXY_PASSWORD", Text, "none", Recognised, "Lets a front end say whom it speaks for."),
    option(
        "TRACE_LEVEL",
        Integer { least: 0, most: 2 },
        "0",
        Recognised,
        "How much debug logs tell about TCP.",
    ),
    option("TRANSACTION_LIMIT_RCPT_TO", Switch, "0", Recognised, "The limit of transactions acts at RCPT."),
];

/// `CHANNEL_option`: what the products' SMTP client reads. A plugin has its own table; these are no slips even when it
/// does not know them.
pub(crate) static CLIENT: &[OptionInfo] = &[
    option(
        "522_PERMANENT_ERROR_STRING",
        Text,
        "none",
        Recognised,
        "Texts behind a 552 that make it permanent.",
    ),
    option("ATTEMPT_TRANSACTIONS_PER_SESSION", COUNT, "no limit", Acts, "Messages sent in a session."),
    option("BACKOFF", COUNT, "none", Recognised, "PhoneNet: attempts for each step of waiting."),
    option("CLIENT_CERT_NICKNAME", Text, "none", Recognised, "Certificate of the client."),
    option("COMMAND_TRANSMIT_TIME", Minutes, "10", Acts, "Time to send a command."),
    option("DATA_TRANSMIT_TIME", Minutes, "10", Acts, "Time to send a message."),
    option("DOT_TRANSMIT_TIME", Minutes, "10", Acts, "Time to send the final dot."),
    option("INITIAL_COMMAND", Text, "none", Recognised, "First thing that the client sends."),
    option("MAIL_TRANSMIT_TIME", Minutes, "10", Recognised, "Time to send MAIL FROM."),
    option("MAX_A_RECORDS", COUNT, "no limit", Acts, "Addresses tried for a target."),
    option("MAX_CLIENT_THREADS", COUNT, "10", Acts, "Sessions at a time."),
    option("MAX_MX_RECORDS", Integer { least: 1, most: 32 }, "32", Acts, "MX records tried."),
    option("RCPT_TRANSMIT_TIME", Minutes, "10", Recognised, "Time to send RCPT TO."),
    option("STATUS_DATA_RECEIVE_TIME", Minutes, "10", Acts, "Wait for the reply to the final dot."),
    option("STATUS_DATA_RECV_PER_ADDR_TIME", Minutes, "0.083333", Acts, "Added to it for each recipient."),
    option("STATUS_DATA_RECV_PER_BLOCK_TIME", Minutes, "0.001666", Acts, "Added to it for each block."),
    option(
        "STATUS_DATA_RECV_PER_ADDR_PER_BLOCK_TIME",
        Minutes,
        "0.003333",
        Acts,
        "Added to it for each recipient times block.",
    ),
    option("STATUS_MAIL_RECEIVE_TIME", Minutes, "10", Acts, "Wait for the reply to MAIL FROM."),
    option("STATUS_RCPT_RECEIVE_TIME", Minutes, "10", Acts, "Wait for the reply to RCPT TO."),
    option("STATUS_RECEIVE_TIME", Minutes, "10", Acts, "Wait for other replies."),
];

/// A table of options, with the file that it is about.
#[derive(Debug, Clone, Copy)]
pub struct OptionTable {
    /// The name of the file, as a heading.
    pub file: &'static str,
    /// What the file is for.
    pub about: &'static str,
    /// Its options.
    pub options: &'static [OptionInfo],
}

/// Every table of options, in the order of the reference.
#[must_use]
pub fn option_tables() -> [OptionTable; 6] {
    [
        OptionTable { file: "option.dat", about: "Options of the whole hub.", options: GLOBAL },
        OptionTable {
            file: "dispatcher.cnf",
            about: "Listeners: sections `[SERVICE=name]`; what stands above the first section holds for all. Without the \
                    file there is one service, SMTP, on port 25 of all addresses.",
            options: DISPATCHER,
        },
        OptionTable {
            file: "job_controller.cnf",
            about: "Pools (`[POOL=name]` or `[QUEUE=name]`) and plugins of channels (`[CHANNEL=pattern]`, where `*` stands for \
                    any characters; the pattern with most other characters wins). The file may be missing.",
            options: JOB_CONTROLLER,
        },
        OptionTable {
            file: "CHANNEL_option, server",
            about: "Options of the SMTP server, in the file of the channel on which sessions start (`tcp_local_option` for \
                    `tcp_local`). The options of the channel's plugin stand in the same file; `sluice plugin list` tells \
                    them.",
            options: SERVER,
        },
        OptionTable {
            file: "CHANNEL_option, client",
            about: "Options of the products' SMTP client. Those that act are read by the plugin `tcp`, which has some of its own \
                    beside them; the others are accepted.",
            options: CLIENT,
        },
        OptionTable {
            file: "CHANNEL_option, isolated",
            about: "Options of the process in which the plugin of a channel with the keyword `isolated` runs.",
            options: ISOLATION,
        },
    ]
}

/// `CHANNEL_option`: what the hub reads of a channel with `isolated`.
pub(crate) static ISOLATION: &[OptionInfo] = &[
    option(
        "ISOLATED_MEMORY",
        Size { least: 0 },
        "512M",
        Acts,
        "Most memory of the plugin's process, segments of the spool that it reads not counted; above it the process is ended and started anew. \
         At least 32M; 0 is no limit (ours).",
    ),
    option(
        "ISOLATED_CPU",
        Integer { least: 0, most: 100_000 },
        "100",
        Acts,
        "Percent of one processor that the plugin's process may use; beyond it, it is stopped for as long as it takes. 0 is no limit (ours).",
    ),
    option(
        "ISOLATED_READ",
        Paths,
        "none",
        Acts,
        "Folders and files that the plugin's process may read beside the system's, separated by colons or commas (ours).",
    ),
    option(
        "ISOLATED_WRITE",
        Paths,
        "none",
        Acts,
        "Folders and files that the plugin's process may read and write beside /tmp and those that its options name as paths, separated by \
         colons or commas (ours).",
    ),
];

/// The row of a name, case aside.
pub(crate) fn find(table: &'static [OptionInfo], name: &str) -> Option<&'static OptionInfo> {
    table.iter().find(|info| info.name.eq_ignore_ascii_case(name))
}
