//! What the channel's keywords and options mean for this plugin.
//!
//! # Not here
//! The syntax of the configuration (`config`). What arrives here is checked again all the same: a plugin may be run by a
//! host that does not know what its settings mean.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use sluice_mail::NextHop;
use sluice_sasl::client::Credentials;

use sluice_sdk::{Context, CreateError, Setting, SettingKind};
use sluice_smtp::client::{Demand, Hello};

use crate::memory::HostCache;
use crate::options::OPTIONS;
use crate::tls::Trust;

/// Where settings are read from: the host's, or a test's.
pub(crate) trait Written {
    /// Arguments of a keyword in force, or a fact of the host; empty when it has none.
    fn setting(&self, name: &str) -> Option<&str>;
    /// Value of an option as the operator wrote it.
    fn written(&self, name: &str) -> Option<&str>;
}

/// Value of an option, or its default.
fn option<'a>(from: &'a dyn Written, name: &str) -> Option<&'a str> {
    let default = || OPTIONS.iter().find(|option| option.name == name).and_then(|option| option.default);
    from.written(name).or_else(default)
}

impl Written for Context {
    fn setting(&self, name: &str) -> Option<&str> {
        Context::setting(self, name)
    }

    fn written(&self, name: &str) -> Option<&str> {
        let is_it = |one: &&Setting| one.kind == SettingKind::Option && one.name.eq_ignore_ascii_case(name);
        self.settings().iter().rev().find(is_it).map(|one| one.value.as_str())
    }
}

/// How a destination is turned into hosts (channel keywords `mx` and its relatives).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookups {
    /// MX records; those of equal preference in the order received (`mx`, `nonrandommx`, `defaultmx`).
    Ordered,
    /// MX records; those of equal preference in random order, as RFC 5321 section 5.1 wants it (`randommx`).
    Shuffled,
    /// Address records only (`nomx`).
    Addresses,
    /// The local host table only (`nodns`).
    HostTable,
}

/// The keywords of channels that speak LMTP.
const LMTP: [&str; 5] = ["lmtp", "lmtp_crlf", "lmtp_crorlf", "lmtp_cr", "lmtp_lf"];

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Times {
    pub(crate) connect: Duration,
    pub(crate) idle: Duration,
    pub(crate) command: Duration,
    pub(crate) data: Duration,
    pub(crate) status: Duration,
    pub(crate) status_mail: Duration,
    pub(crate) status_rcpt: Duration,
    pub(crate) status_data: Duration,
    /// Seconds added for each recipient, each block, and each recipient times each block.
    pub(crate) per: (f64, f64, f64),
}

/// The additions to STATUS_DATA_RECEIVE_TIME stop here: 1000 recipients of 10 megabytes would make it weeks.
const STATUS_DATA_ADDED_MAX_SECS: f64 = 3600.0;
/// Where servers of LMTP listen: RFC 2033 section 5 forbids port 25, and 24 is for mail systems of a site's own.
const LMTP_PORT: u16 = 24;
/// Least value of `linelength` that counts: lines of quoted-printable and base64 have 76 characters.
const LINE_LENGTH_LEAST: usize = 76;
/// Longest time that an option can give: a day. Longer is a mistake in the unit.
const TIME_MAX_SECS: f64 = 86_400.0;

impl Times {
    /// How long the server may take to answer a message.
    pub(crate) fn status_data(&self, recipients: usize, bytes: u64) -> Duration {
        let (recipients, blocks) = (recipients as f64, bytes.div_ceil(1024) as f64);
        let added = self.per.0 * recipients + self.per.1 * blocks + self.per.2 * recipients * blocks;
        self.status_data + Duration::from_secs_f64(added.min(STATUS_DATA_ADDED_MAX_SECS))
    }
}

/// How a channel uses TLS.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    /// STARTTLS (`maytlsclient` and its kind).
    pub(crate) demand: Demand,
    /// TLS begins with the first octet (TLS_IMPLICIT).
    pub(crate) implicit: bool,
    /// What handshakes need; there unless TLS is never used.
    pub(crate) config: Option<Arc<ClientConfig>>,
}

/// All that a channel was told.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) lookups: Lookups,
    /// The host that all mail goes to (`daemon`).
    pub(crate) peer: Option<String>,
    pub(crate) port: u16,
    /// The stream socket of this machine that all mail goes to in place of a host (SOCKET).
    pub(crate) socket: Option<String>,
    pub(crate) interface: Option<IpAddr>,
    pub(crate) last_resort: Option<String>,
    /// Empty: the system's.
    pub(crate) nameservers: Vec<IpAddr>,
    pub(crate) nameserver_port: u16,
    pub(crate) hello: Hello,
    pub(crate) etrn: Option<String>,
    /// `dequeue_removeroute`: a source route has done its work when the message leaves, and is taken off.
    pub(crate) remove_route: bool,
    pub(crate) eight_bit: bool,
    /// The peer takes 7-bit text only, whatever it offers (`sevenbit`).
    pub(crate) seven_bit: bool,
    /// Octets of a line beyond which a message is encoded (`linelength`).
    pub(crate) line_length: Option<usize>,
    /// How far commands go ahead of replies (`streaming`); `None` for what is negotiated.
    pub(crate) streaming: Option<u8>,
    /// Messages go as chunks where that is offered (`chunkingclient`).
    pub(crate) chunking: bool,
    /// What our own server says of itself (`loopcheck`).
    pub(crate) mark: Option<String>,
    /// What is remembered of hosts within a batch.
    pub(crate) host_cache: HostCache,
    /// Rests of an address after trouble with it (`ipbackoff`), the last of which repeats.
    pub(crate) ip_backoff: Vec<Duration>,
    /// Every step goes to the log (`master_debug`).
    pub(crate) debug: bool,
    /// TLS with the servers.
    pub(crate) tls: Tls,
    /// Logging in (`maysaslclient` and its kind).
    pub(crate) auth: Demand,
    pub(crate) credentials: Option<Credentials>,
    /// What a message has of MT-PRIORITY is passed on (not with `nomtpriorities`).
    pub(crate) passes_priority: bool,
    /// Our name in EHLO.
    pub(crate) name: String,
    pub(crate) connections_max: u32,
    pub(crate) transactions_max: Option<u32>,
    pub(crate) mx_max: usize,
    pub(crate) addresses_max: usize,
    pub(crate) times: Times,
}

impl Settings {
    /// Whether the envelope of a message can go with the message before it at all; most servers and messages decide further.
    pub(crate) fn may_send_ahead(&self) -> bool {
        self.hello != Hello::Lhlo
            && self.streaming.is_none_or(|level| level >= 3)
            && self.transactions_max.is_none_or(|most| most > 1)
            && !self.times.idle.is_zero()
    }

    /// Reads and checks everything at once.
    pub(crate) fn read(from: &dyn Written) -> Result<Settings, CreateError> {
        let has = |keyword: &str| from.setting(keyword).is_some();
        let lookups = match () {
            () if has("nodns") => Lookups::HostTable,
            () if has("nomx") => Lookups::Addresses,
            () if has("randommx") => Lookups::Shuffled,
            () => Lookups::Ordered,
        };
        let hello = match () {
            () if LMTP.iter().any(|keyword| has(keyword)) => Hello::Lhlo,
            () if has("noehlo") => Hello::Helo,
            () if has("checkehlo") => Hello::IfAnnounced,
            () => Hello::Ehlo,
        };
        let nameservers = match from.setting("nameservers") {
            None => Vec::new(),
            Some(list) => list
                .split([' ', ',', '\t'])
                .filter(|word| !word.is_empty())
                .map(|word| parsed(word, "keyword `nameservers`", "a list of IP addresses"))
                .collect::<Result<_, _>>()?,
        };
        let interface = match from.setting("interfaceaddress") {
            None => None,
            Some(word) => Some(parsed(word, "keyword `interfaceaddress`", "an IP address of this machine")?),
        };
        let port = match from.setting("port") {
            None if hello == Hello::Lhlo => LMTP_PORT,
            None => 25,
            Some(word) => match parsed(word, "keyword `port`", "a TCP port from 1 to 65535")? {
                0 => return Err(wrong("keyword `port`", word, "a TCP port from 1 to 65535")),
                port => port,
            },
        };
        let host_cache = match () {
            () if has("nocache") || has("cachesuccesses") => HostCache::Nothing,
            () if has("cachefailures") => HostCache::Failures,
            () => HostCache::Everything,
        };
        let (tls, auth, socket) = (tls(from)?, demand(from, "sasl_client"), socket(from)?);
        if socket.is_some() && (tls.demand == Demand::Must || tls.implicit || auth == Demand::Must) {
            return Err(CreateError::refused(
                "option SOCKET is set: there is neither TLS nor a login over a socket of this machine; the channel must be without `musttlsclient`, \
                 `mustsaslclient` and TLS_IMPLICIT",
            ));
        }
        let local_host = || from.setting("local_host").filter(|name| !name.is_empty());
        let name = option(from, "BANNER_HOST").or_else(local_host).unwrap_or("localhost");
        Ok(Settings {
            lookups,
            peer: peer(from)?,
            port,
            socket,
            interface,
            last_resort: word(from, "lastresort")?,
            nameservers,
            nameserver_port: number(from, "NAMESERVER_PORT", 1, u64::from(u16::MAX))?.unwrap_or(53) as u16,
            hello,
            passes_priority: !has("nomtpriorities"),
            etrn: word(from, "sendetrn")?,
            eight_bit: has("eightbit"),
            seven_bit: has("sevenbit"),
            line_length: line_length(from)?,
            remove_route: has("dequeue_removeroute"),
            streaming: streaming(from)?,
            chunking: !has("nochunkingclient"),
            mark: if has("loopcheck") { word(from, "loop_mark")? } else { None },
            host_cache,
            ip_backoff: ip_backoff(from)?,
            debug: has("master_debug"),
            tls,
            auth,
            credentials: credentials(from)?,
            name: checked_word("option BANNER_HOST", name)?,
            connections_max: number(from, "MAX_CLIENT_THREADS", 1, 10_000)?.unwrap_or(10) as u32,
            transactions_max: number(from, "ATTEMPT_TRANSACTIONS_PER_SESSION", 1, u64::from(u32::MAX))?
                .map(|number| number as u32),
            mx_max: number(from, "MAX_MX_RECORDS", 1, 32)?.unwrap_or(32) as usize,
            addresses_max: number(from, "MAX_A_RECORDS", 1, 1000)?.unwrap_or(1000) as usize,
            times: times(from)?,
        })
    }
}

/// The path of SOCKET, from the configuration folder on.
fn socket(from: &dyn Written) -> Result<Option<String>, CreateError> {
    let Some(written) = option(from, "SOCKET") else { return Ok(None) };
    let path = Path::new(from.setting("folder").unwrap_or_default()).join(written);
    let path = path.to_string_lossy().into_owned();
    match format!("unix:{path}").parse::<NextHop>() {
        Ok(_) => Ok(Some(path)),
        Err(_) => Err(wrong(
            "option SOCKET",
            &path,
            "an absolute path of at most 103 characters, or one from the configuration folder on",
        )),
    }
}

/// `daemon HOST`: HOST; `daemon router`, or any other word that is no full domain name: the official host.
fn peer(from: &dyn Written) -> Result<Option<String>, CreateError> {
    match word(from, "daemon")? {
        None => Ok(None),
        Some(host) if host.contains('.') || host.starts_with('[') || host.contains(':') => Ok(Some(host)),
        Some(word) => match from.setting("official_host") {
            Some(official) if !official.is_empty() => Ok(Some(official.to_owned())),
            _ => {
                Err(wrong("keyword `daemon`", &word, "a full domain name, as the official host is not known"))
            }
        },
    }
}

/// The argument of `linelength`. RFC 5321 section 4.5.3.1.6 lets lines have 998 octets; none is encoded for being shorter
/// than the lines that encoding makes.
fn line_length(from: &dyn Written) -> Result<Option<usize>, CreateError> {
    let Some(word) = from.setting("linelength") else { return Ok(None) };
    match word.trim().parse() {
        Ok(length @ 1..) => Ok(Some(length.max(LINE_LENGTH_LEAST))),
        _ => Err(wrong("keyword `linelength`", word, "a number of octets")),
    }
}

/// What the keywords of one kind come to; the host has put them together.
fn demand(from: &dyn Written, fact: &str) -> Demand {
    match from.setting(fact) {
        Some("must") => Demand::Must,
        Some("may") => Demand::May,
        _ => Demand::No,
    }
}

/// Who must be believed follows from what is at stake: where TLS is demanded, and where a password may go over the line,
/// the certificate counts, unless TLS_VERIFY says otherwise.
fn tls(from: &dyn Written) -> Result<Tls, CreateError> {
    let implicit = number(from, "TLS_IMPLICIT", 0, 1)? == Some(1);
    let demand = demand(from, "tls_client");
    let logs_in = self::demand(from, "sasl_client") != Demand::No;
    let verify = match number(from, "TLS_VERIFY", 0, 1)? {
        Some(verify) => verify == 1,
        None => demand == Demand::Must || implicit || logs_in,
    };
    let file =
        option(from, "TLS_CA").map(|file| Path::new(from.setting("folder").unwrap_or_default()).join(file));
    if demand == Demand::No && !implicit {
        return Ok(Tls { demand, implicit, config: None });
    }
    let trust = match &file {
        _ if !verify => Trust::Anybody,
        Some(file) => Trust::File(file),
        None => Trust::System,
    };
    match crate::tls::config(trust) {
        Ok(config) => Ok(Tls { demand, implicit, config: Some(config) }),
        Err(why) => Err(CreateError::refused(format!("no server can be verified: {why}"))),
    }
}

fn credentials(from: &dyn Written) -> Result<Option<Credentials>, CreateError> {
    let written = |keyword: &str, name: &str| {
        from.setting(keyword).map(str::to_owned).or_else(|| option(from, name).map(str::to_owned))
    };
    match (written("authusername", "AUTH_USERNAME"), written("authpassword", "AUTH_PASSWORD")) {
        (None, None) => Ok(None),
        (Some(name), Some(password)) => match Credentials::new(&name, &password) {
            Some(credentials) => Ok(Some(credentials)),
            // The password is not repeated: this goes into the log.
            None => Err(CreateError::refused(
                "option AUTH_PASSWORD or AUTH_USERNAME must be text without control characters",
            )),
        },
        (Some(_), None) => {
            Err(CreateError::refused("option AUTH_USERNAME is set; AUTH_PASSWORD must be there too"))
        }
        (None, Some(_)) => {
            Err(CreateError::refused("option AUTH_PASSWORD is set; AUTH_USERNAME must be there too"))
        }
    }
}

/// How far commands go ahead of replies, where the operator says so.
fn streaming(from: &dyn Written) -> Result<Option<u8>, CreateError> {
    let Some(word) = from.setting("streaming") else { return Ok(None) };
    match word.trim().parse() {
        Ok(level @ 0..=3) => Ok(Some(level)),
        _ => Err(wrong("keyword `streaming`", word, "0, 1, 2 or 3")),
    }
}

fn ip_backoff(from: &dyn Written) -> Result<Vec<Duration>, CreateError> {
    let list = from.setting("ipbackoff").unwrap_or_default();
    let one = |word: &str| {
        let must_be = "durations such as PT5M and P1DT2H";
        iso_duration(word).ok_or_else(|| wrong("keyword `ipbackoff`", word, must_be))
    };
    list.split_ascii_whitespace().map(one).collect()
}

/// A duration of ISO 8601: `PT5M`, `P1DT12H`, `P2W`. At most a year.
fn iso_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim_matches('"').strip_prefix(['P', 'p'])?;
    let (mut secs, mut in_time, mut parts) = (0u64, false, 0);
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix(['T', 't']).filter(|_| !in_time) {
            (rest, in_time) = (behind, true);
            continue;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = match (rest[digits..].chars().next()?.to_ascii_uppercase(), in_time) {
            ('W', false) => 7 * 86_400,
            ('D', false) => 86_400,
            ('H', true) => 3600,
            ('M', true) => 60,
            ('S', true) => 1,
            _ => return None,
        };
        secs = secs.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
        parts += 1;
    }
    (parts > 0 && secs <= 366 * 86_400).then(|| Duration::from_secs(secs))
}

fn times(from: &dyn Written) -> Result<Times, CreateError> {
    let unit = number(from, "TIMEOUT_MULTIPLIER", 1, 3600)?.unwrap_or(60) as f64;
    let secs = |name: &str| -> Result<f64, CreateError> {
        // The defaults are minutes whatever the unit of the file is.
        let unit = if from.written(name).is_some() { unit } else { 60.0 };
        let written = option(from, name).unwrap_or("0").trim();
        // `parse` also takes `inf`, `nan`, `+1` and `1e9`; an option file has digits and a point.
        let plain = written.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let number = if plain { written.parse::<f64>().ok() } else { None };
        match number.map(|number| number * unit) {
            Some(secs) if (0.0..=TIME_MAX_SECS).contains(&secs) => Ok(secs),
            _ => Err(wrong(&format!("option {name}"), written, "a time of at most a day, such as 10 or 0.5")),
        }
    };
    let time = |name: &str| secs(name).map(Duration::from_secs_f64);
    // A time of nothing would fail every message.
    let some_time = |name: &str| match time(name) {
        Ok(Duration::ZERO) => Err(wrong(&format!("option {name}"), "0", "more than nothing")),
        other => other,
    };
    Ok(Times {
        connect: some_time("CONNECT_TIME")?,
        idle: time("IDLE_TIME")?,
        command: some_time("COMMAND_TRANSMIT_TIME")?,
        data: some_time("DATA_TRANSMIT_TIME")?.max(some_time("DOT_TRANSMIT_TIME")?),
        status: some_time("STATUS_RECEIVE_TIME")?,
        status_mail: some_time("STATUS_MAIL_RECEIVE_TIME")?,
        status_rcpt: some_time("STATUS_RCPT_RECEIVE_TIME")?,
        status_data: some_time("STATUS_DATA_RECEIVE_TIME")?,
        per: (
            secs("STATUS_DATA_RECV_PER_ADDR_TIME")?,
            secs("STATUS_DATA_RECV_PER_BLOCK_TIME")?,
            secs("STATUS_DATA_RECV_PER_ADDR_PER_BLOCK_TIME")?,
        ),
    })
}

fn word(from: &dyn Written, keyword: &str) -> Result<Option<String>, CreateError> {
    match from.setting(keyword) {
        None => Ok(None),
        Some(word) => checked_word(&format!("keyword `{keyword}`"), word).map(Some),
    }
}

/// What goes into a command or a lookup: one word of printable characters.
fn checked_word(what: &str, word: &str) -> Result<String, CreateError> {
    let fits = !word.is_empty() && word.len() <= 255;
    if fits && !word.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Ok(word.to_owned())
    } else {
        Err(wrong(what, word, "one word of at most 255 characters"))
    }
}

fn number(from: &dyn Written, name: &str, least: u64, most: u64) -> Result<Option<u64>, CreateError> {
    let Some(written) = option(from, name) else { return Ok(None) };
    let written = written.trim();
    let digits = !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit());
    match written.parse::<u64>() {
        Ok(number) if digits && (least..=most).contains(&number) => Ok(Some(number)),
        _ => {
            Err(wrong(&format!("option {name}"), written, &format!("a whole number from {least} to {most}")))
        }
    }
}

fn parsed<T: std::str::FromStr>(word: &str, what: &str, must_be: &str) -> Result<T, CreateError> {
    let bare = word.trim().trim_start_matches('[').trim_end_matches(']');
    bare.parse().map_err(|_| wrong(what, word, must_be))
}

fn wrong(what: &str, written: &str, must_be: &str) -> CreateError {
    CreateError::refused(format!("{what} is `{}`; it must be {must_be}", written.escape_debug()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Settings as a test writes them: keywords in lower case, options in upper case.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Given(pub(crate) Vec<(String, String)>);

    impl Given {
        pub(crate) fn of(pairs: &[(&str, &str)]) -> Given {
            Given(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
        }
    }

    impl Written for Given {
        fn setting(&self, name: &str) -> Option<&str> {
            self.0.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str())
        }

        fn written(&self, name: &str) -> Option<&str> {
            self.setting(name)
        }
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(&Given::of(pairs)).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults() {
        let settings = read(&[("smtp", "")]).unwrap();
        assert_eq!((settings.lookups, settings.port, settings.hello), (Lookups::Ordered, 25, Hello::Ehlo));
        assert_eq!((settings.connections_max, settings.mx_max, settings.transactions_max), (10, 32, None));
        // A line may take a minute to come up, and Linux asks again 63 s after the first time (RFC 6298: waits of 1, 2, 4 … s).
        assert!(settings.times.connect >= Duration::from_secs(90), "{:?}", settings.times.connect);
        // RFC 5321 section 4.5.3.2: nothing is given up before its time.
        let times = settings.times;
        assert!(times.status >= Duration::from_secs(300) && times.status_mail >= Duration::from_secs(300));
        assert!(times.status_rcpt >= Duration::from_secs(300) && times.data >= Duration::from_secs(180));
        assert!(times.status_data(1, 0) >= Duration::from_secs(600));
        assert!(times.status_data(usize::MAX, u64::MAX) <= Duration::from_secs(600 + 3600));
        assert_eq!(settings.name, "localhost");
        assert_eq!((settings.streaming, settings.chunking, settings.debug), (None, true, false));
        assert_eq!((settings.mark, settings.host_cache), (None, HostCache::Everything));
        assert_eq!(read(&[("loop_mark", "AB12")]).unwrap().mark, None, "without loopcheck");
        for keyword in ["nocache", "cachesuccesses"] {
            assert_eq!(read(&[(keyword, "")]).unwrap().host_cache, HostCache::Nothing);
        }
    }

    #[test]
    fn keywords_and_options() {
        let settings = read(&[
            ("nomx", ""),
            ("daemon", "router"),
            ("official_host", "[127.0.0.1]"),
            ("port", "2525"),
            ("interfaceaddress", "127.0.0.2"),
            ("lastresort", "relay.example"),
            ("nameservers", "127.0.0.1, ::1"),
            ("sendetrn", "@site.example"),
            ("checkehlo", ""),
            ("local_host", "hub.example"),
            ("ATTEMPT_TRANSACTIONS_PER_SESSION", "7"),
            ("streaming", "2"),
            ("nochunkingclient", ""),
            ("loopcheck", ""),
            ("loop_mark", "AB12"),
            ("cachefailures", ""),
            ("ipbackoff", "PT5M P1DT12H P2W"),
            ("master_debug", ""),
            ("TIMEOUT_MULTIPLIER", "1"),
            ("CONNECT_TIME", "2.5"),
        ])
        .unwrap();
        assert_eq!(settings.peer.as_deref(), Some("[127.0.0.1]"));
        assert_eq!((settings.lookups, settings.port), (Lookups::Addresses, 2525));
        assert_eq!(settings.nameservers.len(), 2);
        assert_eq!(
            (settings.name.as_str(), settings.etrn.as_deref()),
            ("hub.example", Some("@site.example"))
        );
        assert_eq!(settings.transactions_max, Some(7));
        assert_eq!((settings.streaming, settings.chunking, settings.debug), (Some(2), false, true));
        assert_eq!((settings.mark.as_deref(), settings.host_cache), (Some("AB12"), HostCache::Failures));
        let minutes: Vec<u64> = settings.ip_backoff.iter().map(|wait| wait.as_secs() / 60).collect();
        assert_eq!(minutes, [5, 36 * 60, 14 * 24 * 60]);
        assert_eq!(settings.times.connect, Duration::from_millis(2500));
        // What is not written stays what it is.
        assert_eq!(settings.times.status, Duration::from_secs(600));
    }

    #[test]
    fn an_envelope_may_go_ahead_where_the_connection_is_kept_and_nobody_objects() {
        let may = |pairs: &[(&str, &str)]| read(pairs).unwrap().may_send_ahead();
        assert!(may(&[("smtp", "")]) && may(&[("streaming", "3")]));
        let one_each = ("ATTEMPT_TRANSACTIONS_PER_SESSION", "1");
        for not in [("lmtp", ""), ("streaming", "2"), ("IDLE_TIME", "0"), one_each] {
            assert!(!may(&[not]), "{not:?}");
        }
    }

    #[test]
    fn lmtp_and_its_socket() {
        let settings = read(&[("lmtp", ""), ("SOCKET", "/run/dovecot/lmtp")]).unwrap();
        assert_eq!((settings.hello, settings.port), (Hello::Lhlo, 24));
        assert_eq!(settings.socket.as_deref(), Some("/run/dovecot/lmtp"));
        assert_eq!(read(&[("lmtp_crlf", ""), ("noehlo", ""), ("port", "2424")]).unwrap().hello, Hello::Lhlo);
        for (name, value) in [("tls_client", "must"), ("sasl_client", "must"), ("TLS_IMPLICIT", "1")] {
            let error = read(&[("SOCKET", "/run/lmtp"), (name, value)]).unwrap_err();
            assert!(error.starts_with("option SOCKET is set"), "{error}");
        }
        let from_folder = read(&[("folder", "/etc/sluice"), ("SOCKET", "lmtp")]).unwrap();
        assert_eq!(from_folder.socket.as_deref(), Some("/etc/sluice/lmtp"));
    }

    #[test]
    fn a_daemon_that_is_no_full_name_is_the_official_host() {
        for (daemon, peer) in
            [("router", "TCP-DAEMON.example"), ("mail.example", "mail.example"), ("[::1]", "[::1]")]
        {
            let settings = read(&[("daemon", daemon), ("official_host", "TCP-DAEMON.example")]).unwrap();
            assert_eq!(settings.peer.as_deref(), Some(peer));
        }
        assert!(read(&[("daemon", "router")]).unwrap_err().contains("keyword `daemon`"));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (name, value) in [
            ("port", "0"),
            ("port", "70000"),
            ("port", "smtp"),
            ("interfaceaddress", "eth0"),
            ("nameservers", "127.0.0.1 ns.example"),
            ("sendetrn", "two words"),
            ("streaming", "4"),
            ("linelength", "0"),
            ("linelength", "long"),
            ("streaming", ""),
            ("ipbackoff", "PT5M 5M"),
            ("ipbackoff", "P"),
            ("ipbackoff", "P1000000W"),
            ("sendetrn", "a\r\nMAIL"),
            ("sendetrn", ""),
            ("lastresort", ""),
            ("BANNER_HOST", "a b"),
            ("MAX_CLIENT_THREADS", "0"),
            ("SOCKET", "lmtp/of/nowhere"),
            ("SOCKET", "/with\r\nend"),
            ("MAX_MX_RECORDS", "33"),
            ("MAX_MX_RECORDS", "+3"),
            ("CONNECT_TIME", "0"),
            ("CONNECT_TIME", "-1"),
            ("CONNECT_TIME", "inf"),
            ("CONNECT_TIME", ""),
            ("IDLE_TIME", "soon"),
            ("STATUS_DATA_RECEIVE_TIME", "100000"),
            ("TIMEOUT_MULTIPLIER", "0"),
            ("TLS_VERIFY", "2"),
            ("TLS_IMPLICIT", "yes"),
            ("AUTH_USERNAME", "fred"),
            ("AUTH_PASSWORD", "pencil"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(
                error.contains(&format!("`{name}`")) || error.contains(&format!("option {name} ")),
                "{error}"
            );
            assert!(error.contains("must be"), "{error}");
            assert!(!error.contains('\r'));
        }
    }
}
