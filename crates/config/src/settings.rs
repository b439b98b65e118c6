//! What the keywords of a channel mean, one typed field for each thing that acts.
//!
//! Every field has PMDF's default. [`Settings::default`] is a channel on which no keyword is written; reading a block
//! starts from it and lets the keywords in force change it from left to right.

use crate::filters::FilterUse;
pub use crate::notice_terms::{NoticeTerms, PostmasterCopies};
pub use crate::protocol_settings::{Ehlo, ForwardCheck, Ident, LineEnds, Mx, Vrfy};
use crate::transfer_priorities::TransferPriorities;
use sluice_mail::Priority;
use std::net::IpAddr;
use std::time::Duration;

/// The meaning of a channel's keywords.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `smtp`, `smtp_cr`, `smtp_lf`, `smtp_crlf`, `smtp_crorlf`, and the same with `lmtp`: the channel speaks SMTP, or LMTP. `None` is `nosmtp`, the default.
    pub smtp: Option<LineEnds>,
    /// `mx` and its relatives: how the target of a connection is looked up.
    pub mx: Mx,
    /// The host all mail goes to: the argument of `daemon`, or the official host of the channel when that argument is
    /// not a full domain name.
    pub daemon: Option<String>,
    /// `port`: where to connect to.
    pub port: u16,
    /// `interfaceaddress`: the address that outgoing connections come from.
    pub interface_address: Option<IpAddr>,
    /// `lastresort`: tried when no regular target can be reached.
    pub last_resort: Option<String>,
    /// `nameservers`: asked instead of the system's own; empty is `defaultnameservers`.
    pub name_servers: Vec<IpAddr>,

    /// `master`, `slave`, `bidirectional`: who may start a transfer.
    pub direction: Direction,
    /// `immurgent`, `immnormal`, `immnonurgent`: the lowest priority that starts a job when it is queued.
    pub immediate: Immediate,
    /// `periodic`: nothing starts a job at enqueue, whatever its priority.
    pub periodic: bool,
    /// `period`: takes part in every n-th periodic service only.
    pub period: u32,
    /// `minperiodic…` and `maxperiodic…`: least and most urgent mail that the periodic service takes.
    pub periodic_priorities: (Priority, Priority),
    /// `after`: how long the start of a job is put off.
    pub after: Duration,
    /// `futurerelease`: so many seconds ahead a client may ask for a release.
    pub later_release: Option<u32>,
    /// `mtprioritiesallowed` and its kind: MT-PRIORITY in server and client.
    pub transfer_priorities: TransferPriorities,
    /// `deferredsource`: how long at most a date in `Deferred-Delivery:` is kept for mail from the channel.
    pub deferred_source: Option<Duration>,
    /// `deferred`, `deferreddestination`: the same for mail to the channel; [`Duration::MAX`] is without end.
    pub deferred_destination: Option<Duration>,
    /// `serviceall`: a job started for one message takes everything that waits on the channel.
    pub service_all: bool,
    /// `backoff` and its kind: waits between attempts, the last repeats. Never empty.
    pub backoff: PerPriority<Vec<Duration>>,
    /// `notices` and its kind: ages at which the sender is warned; at the last the message is returned. Never empty.
    pub notices: PerPriority<Vec<Duration>>,
    /// `maxjobs`: most jobs of the channel at a time.
    pub max_jobs: u32,
    /// `pool` or `queue`, or the job controller's own word for the channel; a pool that exists.
    pub pool: String,
    /// `urgentqueue`, `normalqueue`, `nonurgentqueue`: pools for mail of that priority, where that is not `pool`.
    pub priority_pools: PerPriority<Option<String>>,
    /// `threaddepth`: messages for one host that one worker takes before another helps.
    pub thread_depth: u32,
    /// `holdlimit`: a message for more recipients is put on hold.
    pub hold_limit: Option<u32>,
    /// `defragment`: pieces of messages are put together before they go to the channel.
    pub defragment: bool,
    /// `maxblocks`: octets of a message beyond which it goes in pieces.
    pub piece_octets: Option<u64>,
    /// `maxlines`: lines of a message beyond which it goes in pieces.
    pub piece_lines: Option<u64>,
    /// `addrsperfile`: most recipients in one queue entry.
    pub addrs_per_file: Option<u32>,
    /// `addrsperjob`: a job for each so many recipients; 0 is one job whatever their number.
    pub addrs_per_job: Option<u32>,
    /// `filesperjob`: a job for each so many entries; 0 is one job whatever their number.
    pub files_per_job: Option<u32>,
    /// `multiple`, `single`, `single_sys`: how recipients share an entry.
    pub copies: Copies,
    /// `alternatechannel` and its limits: where mail goes instead that is too much for the channel.
    pub alternate: Option<Alternate>,
    /// `connectcanonical`: a delivery is to the host that the queued one is rewritten to by then.
    pub connect_canonical: bool,
    /// `expandlimit`: recipients of one submission beyond which expansion is put off.
    pub expand_limit: Option<u32>,
    /// `expandchannel`: the channel that such submissions wait on, in the place of `reprocess`.
    pub expand_channel: Option<String>,
    /// `viaaliasrequired`: a recipient belongs to the channel only when an alias leads to it.
    pub via_alias_required: bool,

    /// `allowetrn`, `silentetrn`, `domainetrn`, `disableetrn`: what ETRN may do on sessions of this channel.
    pub etrn: EtrnPolicy,
    /// `blocketrn`: ETRN may not start this channel.
    pub block_etrn: bool,
    /// `sendetrn`: the name the client sends in ETRN.
    pub send_etrn: Option<String>,

    /// `switchchannel`, `allowswitchchannel`, `noswitchchannel`.
    pub switch_channel: SwitchChannel,
    /// `maytlsserver` and its kind: STARTTLS in the server.
    pub tls_server: Demand,
    /// `maytlsclient` and its kind: STARTTLS in the client.
    pub tls_client: Demand,
    /// `tlsswitchchannel`: where a session goes on under TLS.
    pub tls_switch_channel: Option<String>,
    /// `maysaslserver` and its kind: AUTH in the server.
    pub sasl_server: Demand,
    /// `maysaslclient` and its kind: AUTH in the client.
    pub sasl_client: Demand,
    /// `saslswitchchannel`: where a session goes on when the client has logged in.
    pub sasl_switch_channel: Option<String>,
    /// `disconnectbadauthlimit`: failed logins before the server hangs up.
    pub disconnect_bad_auth_limit: u32,
    /// `blocklimit` in bytes: larger messages are refused for this channel.
    pub block_limit: Option<u64>,
    /// `sourceblocklimit` in bytes: larger messages are refused from this channel.
    pub source_block_limit: Option<u64>,
    /// `urgentblocklimit`, `normalblocklimit`, `nonurgentblocklimit` in bytes, or the option of that name: a larger message
    /// counts as less urgent, and one that was nonurgent starts no job.
    pub priority_limits: PerPriority<Option<u64>>,
    /// `linelimit`: messages of more lines are refused.
    pub line_limit: Option<u32>,
    /// `recipientlimit`: most recipients that are accepted in one transaction.
    pub recipient_limit: Option<u32>,
    /// `recipientcutoff`: with more recipients the whole message is refused.
    pub recipient_cutoff: Option<u32>,
    /// `transactionlimit`: most messages in one session.
    pub transaction_limit: Option<u32>,
    /// `deferralrejectlimit`: refused recipients after which all further ones get a temporary error.
    pub deferral_reject_limit: Option<u32>,
    /// `disconnectbadcommandlimit`: bad commands before the server hangs up.
    pub disconnect_bad_command_limit: Option<u32>,
    /// `disconnectcommandlimit`: commands before the server hangs up.
    pub disconnect_command_limit: Option<u32>,
    /// `disconnectrecipientlimit`: recipients in a session before the server hangs up.
    pub disconnect_recipient_limit: Option<u32>,
    /// `disconnectrejectlimit`: refused recipients before the server hangs up.
    pub disconnect_reject_limit: Option<u32>,
    /// `disconnecttransactionlimit`: transactions before the server hangs up.
    pub disconnect_transaction_limit: Option<u32>,
    /// `chunkingserver`, `nochunkingserver`: whether the server offers CHUNKING.
    pub chunking_server: bool,
    /// `rejectsmtplonglines` and its kind: what becomes of lines that are too long for SMTP.
    pub long_lines: LongLines,
    /// `eightstrict`: 8-bit text that was not announced is refused from the channel.
    pub eight_bit_strict: bool,
    /// `receivedfrom`, `noreceivedfrom`: whether `Received:` names the sender where it was changed.
    pub received_from: bool,
    /// `identnone` and its kind: whether the name of a client is looked up, and what it is good for.
    pub ident: Ident,
    /// `forwardchecknone`, `forwardchecktag`, `forwardcheckdelete`.
    pub forward_check: ForwardCheck,
    /// `mailfromdnsverify`: the domain of a sender must be in the name service.
    pub mail_from_dns_verify: bool,
    /// `sourcespamfilterN`: filters that mail from the channel is shown to, in the order of their numbers.
    pub source_filters: Vec<FilterUse>,
    /// `destinationspamfilterN`: the same for mail to the channel.
    pub destination_filters: Vec<FilterUse>,
    /// `submit`: messages from the channel are new, and completed.
    pub submit: bool,
    /// `receivedfor`, `noreceivedfor`: whether `Received:` names the recipient when there is only one.
    pub received_for: bool,
    /// `acceptalladdresses`: every RCPT is accepted, bad addresses bounce later.
    pub accept_all_addresses: bool,

    /// `rules`, `norules`: whether channel checks in rewrite rules count for this channel.
    pub rules: bool,
    /// `routelocal`: routes through this system are dropped while addresses from the channel are rewritten.
    pub route_local: bool,
    /// `bangoverpercent`: `a!b%c` is read as `a!(b%c)`.
    pub bang_over_percent: bool,
    /// `aliaslocal`: aliases are looked up for addresses that end on this channel.
    pub alias_local: bool,
    /// `exproute`: an explicit route through this system on addresses sent to the channel.
    pub explicit_route: bool,
    /// `improute`: routing through the channel is implied for addresses it is known by.
    pub implicit_route: bool,
    /// `dequeue_removeroute`: source routes are taken off when a message leaves.
    pub remove_route_at_dequeue: bool,
    /// `defaulthost`: what is put behind bare addresses from the channel; the second is for RCPT TO.
    pub default_host: Option<(String, Option<String>)>,
    /// `remotehost`: bare addresses get the sending host's name instead of ours.
    pub remote_host: bool,
    /// `x_env_to`, `nox_env_to`: what is done with the field that tells the envelope recipients.
    pub envelope_to_field: EnvelopeToField,
    /// `addreturnpath`: a `Return-Path:` field with the envelope sender is put on top of mail to the channel.
    pub add_return_path: bool,
    /// `missingrecipientpolicy`: what is done about a header without recipients in mail from the channel, 0 to 6; `None`
    /// is what MISSING_RECIPIENT_POLICY says.
    pub missing_recipient_policy: Option<u32>,
    /// `authrewrite`: how the address of a login enters the header of mail from the channel; bit 1 adds a missing `Sender:`,
    /// bit 2 replaces what is there, 0 is nothing.
    pub auth_rewrite: u32,
    /// `inner`: headers of messages enclosed in mail to the channel are rewritten too.
    pub inner_headers: bool,
    /// `headertrim`: mail to the channel has its header changed as its header option file says.
    pub header_trim: bool,
    /// `headerread`: mail from the channel has its header changed as another header option file says.
    pub header_read: bool,
    /// `maxheaderaddrs`: addresses on one header line at most.
    pub max_header_addresses: Option<u32>,
    /// `maxheaderchars`: characters on one header line at most.
    pub max_header_octets: Option<u32>,
    /// `maxprocchars`: longer header lines of mail from the channel are passed on untouched.
    pub max_processed_octets: Option<u32>,
    /// `sourceroute`/`822`, `percents`/`733`, `uucp`/`bangstyle`: how routes are written in the envelope.
    pub env_address_style: AddressStyle,
    /// `header_822`, `header_733`, `header_uucp`: how routes are written in the header.
    pub header_address_style: AddressStyle,

    /// `sendpost` and its kind: which returned messages the postmaster gets a copy of.
    pub send_post: PostmasterCopies,
    /// `warnpost` and its kind: which warnings the postmaster gets a copy of.
    pub warn_post: PostmasterCopies,
    /// How notices about mail to the channel are written.
    pub notice_terms: NoticeTerms,
    /// `returnenvelope`, or the option of that name; bits: 1 notices of ours go out to the channel from the postmaster in the
    /// place of the null reverse-path, 2 so does all mail that has none. Bit 4 is always so: a bad address is refused. Bit 8 is
    /// `mailfromdnsverify`.
    pub return_envelope: u32,
    /// `aliaspostmaster`: the postmaster of the channel's official host is ours.
    pub alias_postmaster: bool,
    /// `user`: the account that local and pipe deliveries run under.
    pub user: Option<String>,
    /// `vrfyallow`, `vrfydefault`, `vrfyhide`: how VRFY is answered.
    pub vrfy: Vrfy,
    /// `ehlo`, `checkehlo`, `noehlo`: how the client greets.
    pub helo: Ehlo,
    /// `logging`: a record in the log for what happens on the channel.
    pub logging: bool,
    /// `master_debug`: the delivering side tells more.
    pub master_debug: bool,
    /// `slave_debug`: the receiving side tells more.
    pub slave_debug: bool,
    /// `isolated`: the plugin runs in a process of its own.
    pub isolated: bool,
}

/// One value for each priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerPriority<T> {
    /// For urgent mail.
    pub urgent: T,
    /// For mail without a priority of its own.
    pub normal: T,
    /// For nonurgent mail.
    pub nonurgent: T,
}

impl<T: Clone> PerPriority<T> {
    /// The same value for all.
    pub fn all(value: T) -> PerPriority<T> {
        PerPriority { urgent: value.clone(), normal: value.clone(), nonurgent: value }
    }
}

/// A channel for what is too much for another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alternate {
    /// `alternatechannel`: its name, lower case.
    pub channel: String,
    /// `alternateblocklimit` in bytes.
    pub block_limit: Option<u64>,
    /// `alternatelinelimit`.
    pub line_limit: Option<u64>,
    /// `alternaterecipientlimit`.
    pub recipient_limit: Option<u64>,
}

/// Who may start transfers of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// `master`: we do, and the periodic service does even when nothing waits (polling).
    Master,
    /// `slave`: only the other side; we never run the channel.
    Slave,
    /// `bidirectional`: both.
    #[default]
    Bidirectional,
}

/// The lowest priority that starts a job at enqueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Immediate {
    /// Only urgent mail.
    Urgent,
    /// Urgent and normal mail.
    #[default]
    Normal,
    /// All mail.
    Nonurgent,
}

/// How recipients of one message share queue entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Copies {
    /// One for all recipients on the channel.
    #[default]
    Multiple,
    /// One for each recipient.
    Single,
    /// One for each destination host.
    SingleSystem,
}

/// What ETRN may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EtrnPolicy {
    /// All forms, and the reply names the channel.
    Allow,
    /// All forms; the reply does not name the channel.
    #[default]
    Silent,
    /// Only the form with `@`; the reply does not name the channel.
    Domain,
    /// Not offered, not known.
    Disable,
}

/// Whether sessions may change their source channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SwitchChannel {
    /// The client's address chooses the channel; sessions may also be switched to this one.
    Switch,
    /// Sessions may be switched to this channel.
    #[default]
    Allow,
    /// Neither from nor to.
    Never,
}

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Demand {
    /// `no…`: it is not.
    #[default]
    No,
    /// `may…`: where it can be.
    May,
    /// `must…`: nothing goes without.
    Must,
}

/// How a route is written in an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressStyle {
    /// `@a:u@b`.
    #[default]
    SourceRoute,
    /// `u%b@a`.
    Percent,
    /// `a!b!u`.
    Bang,
}

/// What is done with `X-Envelope-To:` fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EnvelopeToField {
    /// Neither keyword is written: those that are there stay.
    #[default]
    Keep,
    /// `nox_env_to`: they are taken out.
    Remove,
    /// `x_env_to`: there is one, with the recipients of the copy.
    Write,
}

/// What the server does with a line of more than 1000 octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LongLines {
    /// The message is refused.
    #[default]
    Reject,
    /// The line is cut off.
    Truncate,
    /// The line is broken.
    Wrap,
}

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// Jobs of a channel at a time without `maxjobs`, as the products are shipped.
pub(crate) const MAX_JOBS: u32 = 7;
/// The pool that always exists.
pub const DEFAULT_POOL: &str = "DEFAULT";
/// Failed logins of a session before the server hangs up, without `disconnectbadauthlimit`.
pub(crate) const BAD_AUTH_LIMIT: u32 = 3;
/// Messages for one host that a worker takes before another helps, without `threaddepth`.
pub(crate) const THREAD_DEPTH: u32 = 10;

fn minutes<const N: usize>(list: [u64; N]) -> Vec<Duration> {
    list.iter().map(|minutes| Duration::from_secs(minutes * MINUTE)).collect()
}

/// The waits between attempts where no keyword says otherwise.
#[must_use]
pub fn default_backoff() -> PerPriority<Vec<Duration>> {
    PerPriority {
        urgent: minutes([30, 60, 60, 120, 120, 120, 240]),
        normal: minutes([60, 120, 120, 240, 240, 240, 480]),
        nonurgent: minutes([120, 240, 240, 480, 480, 480, 960]),
    }
}

/// The ages of warnings and of the return, where neither the channel nor the local channel says otherwise: 3, 6, 9 and
/// 12 days.
#[must_use]
pub fn default_notices() -> PerPriority<Vec<Duration>> {
    PerPriority::all([3, 6, 9, 12].iter().map(|days| Duration::from_secs(days * DAY)).collect())
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            smtp: None,
            mx: Mx::default(),
            daemon: None,
            port: 25,
            interface_address: None,
            last_resort: None,
            name_servers: Vec::new(),
            direction: Direction::default(),
            immediate: Immediate::default(),
            periodic: false,
            period: 1,
            periodic_priorities: (Priority::Nonurgent, Priority::Urgent),
            after: Duration::ZERO,
            later_release: None,
            transfer_priorities: TransferPriorities::default(),
            deferred_source: None,
            deferred_destination: None,
            service_all: false,
            backoff: default_backoff(),
            notices: default_notices(),
            max_jobs: MAX_JOBS,
            pool: DEFAULT_POOL.to_owned(),
            priority_pools: PerPriority::all(None),
            thread_depth: THREAD_DEPTH,
            hold_limit: None,
            defragment: false,
            piece_octets: None,
            piece_lines: None,
            addrs_per_file: None,
            addrs_per_job: None,
            files_per_job: None,
            copies: Copies::default(),
            alternate: None,
            connect_canonical: false,
            expand_limit: None,
            expand_channel: None,
            via_alias_required: false,
            etrn: EtrnPolicy::default(),
            block_etrn: false,
            send_etrn: None,
            switch_channel: SwitchChannel::default(),
            tls_server: Demand::default(),
            tls_client: Demand::default(),
            tls_switch_channel: None,
            sasl_server: Demand::default(),
            sasl_client: Demand::default(),
            sasl_switch_channel: None,
            disconnect_bad_auth_limit: BAD_AUTH_LIMIT,
            block_limit: None,
            source_block_limit: None,
            priority_limits: PerPriority::all(None),
            line_limit: None,
            recipient_limit: None,
            recipient_cutoff: None,
            transaction_limit: None,
            deferral_reject_limit: None,
            disconnect_bad_command_limit: None,
            disconnect_command_limit: None,
            disconnect_recipient_limit: None,
            disconnect_reject_limit: None,
            disconnect_transaction_limit: None,
            chunking_server: true,
            long_lines: LongLines::default(),
            eight_bit_strict: false,
            received_from: true,
            ident: Ident::default(),
            forward_check: ForwardCheck::default(),
            mail_from_dns_verify: false,
            source_filters: Vec::new(),
            destination_filters: Vec::new(),
            submit: false,
            received_for: true,
            accept_all_addresses: false,
            rules: true,
            route_local: false,
            bang_over_percent: false,
            alias_local: false,
            explicit_route: false,
            implicit_route: false,
            remove_route_at_dequeue: false,
            default_host: None,
            remote_host: false,
            envelope_to_field: EnvelopeToField::default(),
            add_return_path: false,
            missing_recipient_policy: None,
            auth_rewrite: 0,
            inner_headers: false,
            header_trim: false,
            header_read: false,
            max_header_addresses: None,
            max_header_octets: None,
            max_processed_octets: None,
            env_address_style: AddressStyle::default(),
            header_address_style: AddressStyle::default(),
            send_post: PostmasterCopies::default(),
            warn_post: PostmasterCopies::default(),
            notice_terms: NoticeTerms::default(),
            return_envelope: 0,
            alias_postmaster: false,
            user: None,
            vrfy: Vrfy::default(),
            helo: Ehlo::default(),
            logging: false,
            master_debug: false,
            slave_debug: false,
            isolated: false,
        }
    }
}
