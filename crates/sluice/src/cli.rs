//! The command line: subcommands, their arguments, and the help that teaches them.
//!
//! Not here: what a subcommand does; each has its module in [`crate::commands`].

pub(crate) mod closing;
pub(crate) mod queue;
#[cfg(test)]
mod reference;
mod release;
mod sites;
pub(crate) mod spool;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::closing::{Channel, Resume, Suspend};
use self::queue::Queue;
use self::spool::Spool;
pub(crate) use release::Release;
pub(crate) use sites::{
    Activator, ActivatorAdd, ActivatorRun, ActivatorSet, Editing, Removal, Site, SiteAdd, SiteSet,
};

/// What `--help` says below the list of subcommands.
const AFTER_HELP: &str = "\
A first look at a configuration:   sluice check --config samples/dialup/hub
Where would this address go:       sluice test rewrite --config samples/dialup/hub user@site7.example.net
Run it:                            sluice run --config samples/dialup/hub
What waits, and for whom:          sluice queue summarize
Open the gate for a site:          sluice trigger site7.example.net
Everything about one message:      sluice queue show ID
ETRN and ATRN explained:           sluice help etrn

Exit status: 0 done; 64 the command line was wrong; 65 the thing named is not there; 75 not now, try again; \
78 the configuration has errors. Data goes to standard output, talk to standard error.";

/// What `etrn --help` says about its exit status.
const ETRN_STATUS: &str = "\
Exit status:
   0  every name was accepted (250 to 253)
  64  the command line was wrong
  65  the server cannot read a name (501), or a file named here cannot be used
  68  no connection: the server's name is unknown, or nobody answers there
  69  the server does not offer ETRN (also 500 or 502 to it)
  71  our own listener does not accept mail; the server was not asked
  75  later: 458, 421 or another 4xx, or the connection was lost
  76  what the server says is no SMTP
  77  refused: 459, 530 or another 5xx, no TLS or no login where they are demanded
  78  the configuration has errors, or has no name to ask for
When names fare differently it is the first of 77, 65, 69, 76, 75 that one of them met.";

/// A store-and-forward mail hub: it holds mail in channels for sites that are away, and lets it run when asked.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, about, after_help = AFTER_HELP, max_term_width = 110)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What nearly every subcommand takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The configuration: a folder with sluice.cnf, option.dat, dispatcher.cnf …, or a lone sluice.cnf (its neighbours
    /// in the folder are used when they exist).
    #[arg(long, value_name = "DIR|FILE", default_value = "/etc/sluice")]
    pub(crate) config: PathBuf,
    /// `text` for people, `json` for programs: one object a line, with stable field names.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Uses this folder in the place of SPOOL_DIR, with the control socket in it: for trying a configuration as it is
    /// beside a hub that runs. Give it to `run` and to every command that talks to that hub.
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
}

/// How output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// JSON lines.
    Json,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the hub in the foreground until SIGTERM or Ctrl-C.
    ///
    /// Logs to standard error, in text or (`--format json`) as JSON lines, and says first what it listens on. SIGHUP
    /// reads the configuration again, as `sluice reload` does. SIGTERM stops cleanly within ten seconds: what was
    /// accepted is on disk, what was being delivered is delivered or waits.
    Run(Run),
    /// Reads a configuration and says everything that is wrong with it.
    ///
    /// Exit status 0 when it can be used (warnings are possible), 78 when it cannot. `sluice explain CODE` tells more
    /// about a diagnostic.
    Check(Check),
    /// Makes a file for quick reading of each text database: general.db of general.txt, and so on.
    ///
    /// The file is used while it is newer than the text. Exit status 78 when a text has errors; its file stays as it was.
    Compile(Compile),
    /// Explains a diagnostic's code, a channel keyword or an option.
    ///
    /// Example: sluice explain periodic
    Explain(Explain),
    /// Tries a part of the configuration without sending anything.
    #[command(subcommand)]
    Test(Test),
    /// Opens the gate: makes what waits under a selector due now.
    ///
    /// A selector is what ETRN takes: `example.com` for exactly that domain (or the whole channel, if that is the name
    /// of the host a channel always connects to), `@example.com` for the domain and everything under it,
    /// `#tcp_dialup` for a channel; beyond that `id:…` for one message, and `sourcespamfilter1:tcp_local`, as `sluice queue list` shows it,
    /// for what waits for that filter. Held mail stays held. Answers what runs and how many
    /// messages that is; exit status 65 when nothing has that name.
    Trigger(Trigger),
    /// Asks a server to send what it holds for us (ETRN, RFC 1985).
    ///
    /// The command of that name in Solaris and in the sendmail package: one ETRN for each CLIENT-HOST, in order, in one
    /// session. Without CLIENT-HOSTs, one for every name that this system takes mail for, and not before its own listener
    /// has been seen to accept mail, since the server connects back to it. Nothing is printed without -v but what went wrong.
    /// The environment has no influence. A link named `etrn` to the program is the same command.
    ///
    /// Example: sluice etrn -v hub.example.net site7.example.net '@lab.site7.example.net' '#site7'
    #[command(after_help = ETRN_STATUS)]
    Etrn(Etrn),
    /// Shows what waits, and holds, releases, returns, deletes and retries it.
    ///
    /// Options that name entries combine: within one option, repeated, any will do; all options given must hold. An act on
    /// more than one id is counted first and wants `--yes`, or a yes at the terminal (exit status 64 without either).
    #[command(subcommand)]
    Queue(Queue),
    /// Looks into a spool folder without a hub: is it whole, what is in it, what of a damaged one can be saved.
    ///
    /// The folder is that of the configuration, or of `--spool`. Nothing in it is changed, except by `bring-back`.
    #[command(subcommand)]
    Spool(Spool),
    /// Shows what releases have come to: who asked, what was promised, what was delivered.
    #[command(subcommand)]
    Release(Release),
    /// Shows the channels, stops and starts them.
    #[command(subcommand)]
    Channel(Channel),
    /// Has nothing tried for a domain: on no channel, whoever asks.
    ///
    /// Its mail waits until `sluice resume`, or until the time is over; restarts and reloads do not change that. What is
    /// in delivery finishes. ETRN for it is told 458, a release says what keeps it back. Ages go on counting: what grows too
    /// old is returned. The domain is the one that mail waits under (`sluice queue summarize`).
    ///
    /// Example: sluice suspend @example.com --for 2h --reason 'their server is being moved'
    Suspend(Suspend),
    /// Ends a suspension: what is due is delivered. Exit status 65 when there is none of that name.
    Resume(Resume),
    /// Plugins: shows and reloads those of the configuration, makes new ones, checks any.
    #[command(subcommand)]
    Plugin(Plugin),
    /// Says who may log in: the users of the password file.
    ///
    /// The file is the one of PASSWORD_FILE in option.dat, or the one of `--file`. Passwords are read from the terminal
    /// without showing them, or from standard input, one line. The hub takes note at the next `sluice reload`.
    #[command(subcommand)]
    Password(Password),
    /// Says who is given what mail: the sites of sites.cnf.
    ///
    /// A site is somebody who is not always there and asks for its mail, by ETRN or ATRN. The commands edit sites.cnf in
    /// place, keeping comments and order; what they would write is checked with the whole configuration first (exit status
    /// 78, nothing written), and a running hub takes it into force at once.
    #[command(subcommand)]
    Site(Site),
    /// Says whom we ask for our own mail, and when: the activators of sites.cnf.
    ///
    /// The commands edit sites.cnf as those of `sluice site` do.
    #[command(subcommand)]
    Activator(Activator),
    /// Makes a Sluice configuration of a PMDF or Messaging Server one.
    ///
    /// Reads the table directory of the product (pmdf.cnf or imta.cnf, mappings, aliases, the option files, and what
    /// they include), writes a folder for `--config`, and reports what works as it is, what has no effect here and
    /// why, and what somebody must decide. Lines that need no change are copied byte for byte, comments included. No
    /// existing file is ever overwritten. Exit status 0 when the new folder can be used, 78 when it was written and has
    /// errors to mend, 65 when there was nothing to read or the new folder is not empty.
    Import(Import),
    /// Shows how the running hub is: version, process, the state of its spool's disk, and how much is in the spool.
    ///
    /// `spool` is `ok`, `full` (new mail is refused with 452, what is queued stays and goes) or `failing` (what is written does
    /// not arrive on the disk; new mail is refused with 451). Both mend by themselves when the disk does. Exit status 0 when it is ok, else 75, as when
    /// no hub runs.
    Status(Status),
    /// Has the running hub read its configuration again.
    ///
    /// The new configuration takes effect whole or not at all: with errors in it (exit status 78, and each error
    /// shown) the hub stays with the one it has. So it does where a channel whose plugin works is to have other settings, and
    /// cannot be made with them: the channel is named, with the plugin's words.
    Reload(Reload),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Listens here and nowhere else, for trying a configuration on a test port: a service of dispatcher.cnf (the first one
    /// when none is named), an address (127.0.0.1 when none is given) and a port. May be repeated.
    #[arg(long, value_name = "[SERVICE=][ADDRESS:]PORT")]
    pub(crate) listen: Vec<String>,
    /// How much to log: error, warn, info, debug, trace, or directives such as `info,sluice_smtpd=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: String,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Prints the rules and channels as they were understood, includes spliced in and `defaults` written out; the remarks go
    /// to standard error then.
    #[arg(long)]
    pub(crate) print: bool,
}

/// Arguments of `compile`.
#[derive(Debug, Args)]
pub(crate) struct Compile {
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A diagnostic's code, such as `unknown-channel-keyword`, a keyword, such as `periodic`, or an option, such as
    /// `RELEASE_GRACE`.
    #[arg(value_name = "CODE|KEYWORD|OPTION")]
    pub(crate) word: String,
    /// `text` for people, `json` for programs.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// What can be tested.
#[derive(Debug, Subcommand)]
pub(crate) enum Test {
    /// Rewrites addresses and shows channel, host and every step on the way.
    ///
    /// Works on the files alone; no hub needs to run. Each JSON line has input, kind, address (after rewriting),
    /// final_address (the envelope recipient after line-3 names), channel, host, error and trace. An address that
    /// cannot be routed has its reason in `error`; the exit status is 0 all the same.
    Rewrite(TestRewrite),
    /// Expands aliases and shows who would get the mail.
    ///
    /// Works on the files alone. Each JSON line has input, expansion (the recipients as they would be queued, in order)
    /// and error; the exit status is 0 all the same. The text form shows each step.
    Alias(TestAlias),
    /// As `alias`, with channel, host and reverse-path of each recipient.
    Expansion(TestAlias),
    /// Asks a mapping table.
    ///
    /// Reads only the mapping file (in the folder, or a lone one) and the text databases beside it. Each JSON line has
    /// table, input, matched, output (null without a match) and flags in alphabetical order; `C`, `L`, `R` and `E` only
    /// steer and are not among them. Exit status 65 when there is no such table.
    ///
    /// Example: sluice test mapping --table PORT_ACCESS 'TCP|192.0.2.1|25|198.51.100.7|4711'
    Mapping(TestMapping),
    /// Compares texts with a pattern of the mapping file.
    ///
    /// Shows what the pattern is read as, element by element (`S` marks those whose text is kept), and for each text what
    /// the kept wildcards took. Each JSON line has pattern, elements (element, wildcard), input, matched and wildcards (null
    /// without a match). Reads no configuration. Exit status 65 for a pattern with a mistake.
    ///
    /// Example: sluice test match '$[ax1]*@*.example.com' xx11a@sys1.example.com
    Match(TestMatch),
    /// Shows a channel: its keywords and where each was written, its plugin and options, the rules that lead to it, and what
    /// a message that is queued to it would do now.
    ///
    /// Works on the files alone. A host of the channel stands for its name. Each JSON line has channel, official_host, hosts,
    /// keywords (name, value, from, file, line), plugin, options, rules, starts, attempts_after_secs, warns_after_secs,
    /// returned_after_secs, limits and etrn. Exit status 65 when there is no such channel.
    ///
    /// Example: sluice test channel tcp_dialup
    Channel(TestChannel),
}

/// Arguments of `test channel`.
#[derive(Debug, Args)]
pub(crate) struct TestChannel {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Names of channels, or of their hosts.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
}

/// What the tests may put in the place of the configuration's own.
#[derive(Debug, Clone, Args)]
pub(crate) struct Instead {
    /// Uses a text file in the place of a database: general, domain, alias, reverse or forward. May be repeated.
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) database: Vec<String>,
}

/// Arguments of `test alias` and `test expansion`.
#[derive(Debug, Args)]
pub(crate) struct TestAlias {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) instead: Instead,
    /// The channel the mail comes in on.
    #[arg(long, value_name = "CHANNEL", default_value = "l")]
    pub(crate) source_channel: String,
    /// The envelope sender, which lists with [AUTH_LIST] and its kind look at.
    #[arg(long, value_name = "ADDRESS", default_value = "postmaster")]
    pub(crate) sender: String,
    /// Addresses; angle brackets around one are passed over.
    #[arg(value_name = "ADDRESS", required = true)]
    pub(crate) addresses: Vec<String>,
}

/// Arguments of `test mapping`.
#[derive(Debug, Args)]
pub(crate) struct TestMapping {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The table; letter case does not count.
    #[arg(long, value_name = "NAME")]
    pub(crate) table: String,
    /// Flags handed in, for $:x and $;x.
    #[arg(long, value_name = "LETTERS", default_value = "")]
    pub(crate) flags: String,
    #[command(flatten)]
    pub(crate) instead: Instead,
    /// Texts, each exactly as the table is to see it; without any, the lines of standard input.
    #[arg(value_name = "INPUT", allow_hyphen_values = true)]
    pub(crate) inputs: Vec<String>,
}

/// Arguments of `test match`.
#[derive(Debug, Args)]
pub(crate) struct TestMatch {
    /// The pattern.
    #[arg(value_name = "PATTERN", allow_hyphen_values = true)]
    pub(crate) pattern: String,
    /// Texts; without any, the lines of standard input.
    #[arg(value_name = "INPUT", allow_hyphen_values = true)]
    pub(crate) inputs: Vec<String>,
    /// `text` for people, `json` for programs: one object a line.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Arguments of `test rewrite`.
#[derive(Debug, Args)]
pub(crate) struct TestRewrite {
    #[command(flatten)]
    pub(crate) common: Common,
    /// What the address is: it decides which of $E $B $F $R apply.
    #[arg(long, value_enum, default_value_t = Kind::EnvelopeTo)]
    pub(crate) kind: Kind,
    /// The channel the mail comes in on ($M and $N look at it).
    #[arg(long, value_name = "CHANNEL", default_value = "l")]
    pub(crate) source_channel: String,
    #[command(flatten)]
    pub(crate) instead: Instead,
    /// Input flags. Rewrite rules have none and hand none to the mapping tables they call; the option is taken so that
    /// one command line fits all tests.
    #[arg(long, value_name = "LETTERS", default_value = "")]
    pub(crate) flags: String,
    /// The envelope sender. Rewrite rules do not look at it; it is taken so that one command line fits all tests.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) sender: Option<String>,
    /// The channel the mail goes to ($Q and $C look at it); they are passed over when this is left out.
    #[arg(long, value_name = "CHANNEL")]
    pub(crate) destination_channel: Option<String>,
    /// Addresses; angle brackets around one are passed over.
    #[arg(value_name = "ADDRESS", required = true)]
    pub(crate) addresses: Vec<String>,
}

/// The kinds of address of `--kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// An envelope recipient.
    EnvelopeTo,
    /// The envelope sender.
    EnvelopeFrom,
    /// A forward-pointing header address (To, Cc, Bcc).
    HeaderTo,
    /// A backward-pointing header address (From, Sender, Reply-To).
    HeaderFrom,
}

/// Arguments of `trigger`.
#[derive(Debug, Args)]
pub(crate) struct Trigger {
    #[command(flatten)]
    pub(crate) common: Common,
    /// A line has come up: releases the sites of sites.cnf that have ON_LINK_UP=1 and has the activators that have it ask their
    /// servers; or only releases the sites that are named. For the hooks of NetworkManager, pppd and systemd-networkd (samples/link-up).
    #[arg(long)]
    pub(crate) on_link_up: bool,
    /// `DOMAIN`, `@DOMAIN`, `#CHANNEL` or `id:ID` (quote the # for the shell); with `--on-link-up` names of sites.
    #[arg(value_name = "SELECTOR", required_unless_present = "on_link_up")]
    pub(crate) selectors: Vec<String>,
}

/// Arguments of `etrn`.
#[derive(Debug, Args)]
pub(crate) struct Etrn {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Asks nothing unless our own listener accepts mail. That is so without -b too when no CLIENT-HOSTs are given.
    #[arg(short = 'b')]
    pub(crate) check_own: bool,
    /// Shows the conversation.
    #[arg(short = 'v')]
    pub(crate) verbose: bool,
    /// Takes the names from Cw and Fw lines of a sendmail.cf, in the place of the configuration's.
    #[arg(long, value_name = "FILE")]
    pub(crate) sendmail_cf: Option<PathBuf>,
    /// TLS: never; where the server offers STARTTLS; or nothing is asked without it; or from the first octet.
    #[arg(long, value_enum, default_value_t = EtrnTls::May)]
    pub(crate) tls: EtrnTls,
    /// Certificates of authorities (PEM) to know the server by, in the place of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Believes any certificate. Without it the certificate counts with `--tls must` or `implicit` and with a login.
    #[arg(long, conflicts_with = "tls_ca")]
    pub(crate) tls_anybody: bool,
    /// Logs in under this name, by SCRAM-SHA-256 or CRAM-MD5, or under TLS by PLAIN or LOGIN.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub(crate) login: Option<String>,
    /// The password, in the first line of a file that nobody but its owner may read.
    #[arg(long, value_name = "FILE", requires = "login")]
    pub(crate) password_file: Option<PathBuf>,
    /// What we call ourselves in EHLO: otherwise the official name of the local host, or of this machine.
    #[arg(long, value_name = "NAME")]
    pub(crate) helo: Option<String>,
    /// Seconds that a connection may take (a line may have to be dialled), and that our own listener may take to come up.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) wait: u64,
    /// The server: a host name or an address, with `:port` behind it when it is not 25.
    #[arg(value_name = "SERVER-HOST")]
    pub(crate) server: crate::asking::Server,
    /// What to ask for: a domain, `@domain` for it and all below, or `#name` for a queue of the server's naming.
    #[arg(value_name = "CLIENT-HOST")]
    pub(crate) names: Vec<sluice_smtp::asker::Name>,
}

/// TLS of `etrn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EtrnTls {
    /// Never.
    No,
    /// STARTTLS where it is offered.
    May,
    /// STARTTLS, or nothing is asked.
    Must,
    /// TLS before the first octet.
    Implicit,
}

/// What can be asked of the plugins.
#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Lists the plugins that the configuration uses: file, version, options, channels, and why one does not load.
    ///
    /// Asks the running hub; without one, the files are loaded and looked at here.
    List(PluginList),
    /// Makes a project for a plugin of your own: it builds, has a test that passes, and a configuration to try it with.
    ///
    /// NAME is the plugin's name: lower-case letters, digits and `_`. The files go into DIR, which must be empty or not there
    /// yet; without it, into a folder called NAME. Nothing is fetched: the SDK, or the header of the contract, is in this program.
    ///
    /// Example: sluice plugin new chat --lang c
    New(PluginNew),
    /// Shows everything about a plugin: its file, generation and version, its options with their defaults, its routines, and
    /// how its channels are: workers, those that hang, failures.
    ///
    /// Asks the running hub; without one, the file is loaded and looked at here.
    Show(PluginShow),
    /// Loads what is in a plugin's file now, beside what runs, and has its channels go over to that.
    ///
    /// The file may have been replaced or written over. It is tried first: when it cannot be loaded, is not a plugin for
    /// this hub, others could have written it, or it refuses the settings of one of its channels, everything stays as it
    /// is, and the reason is told. The channels' option files are read anew. New deliveries go to the new generation;
    /// the old one finishes what it holds, and gives back what it has not begun. Nothing is lost, and nothing goes
    /// twice.
    Reload(PluginReload),
    /// Runs the conformance suite on a plugin's file: does it keep its side of the contract, whatever it is given?
    ///
    /// Each check runs in a process of its own, so that a plugin that dies or hangs is a finding and not the end. The plugin
    /// gets a few ten thousand messages from nobody to nobody (`…@check.example`) and does with them what it does: give it a
    /// folder or a peer for that by `--option` and `--keyword`, or by `--channel` what a channel of the configuration
    /// has. Deferring everything, because the peer is not there, is a proper answer. A line for each check; exit status 65 when one failed.
    ///
    /// Fields: check, verdict (passed, failed, not-run), text, about, millis.
    Check(PluginCheck),
    /// Loads a file and says whether it is a plugin. What a reload does first, in a process of its own.
    #[command(name = crate::plugins::TRIAL_COMMAND, hide = true)]
    TryLoad {
        /// The file.
        file: PathBuf,
    },
}

/// Arguments of `plugin show`.
#[derive(Debug, Args)]
pub(crate) struct PluginShow {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The plugin's name in the configuration, or the one in its file's name.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Arguments of `plugin check`.
#[derive(Debug, Args)]
pub(crate) struct PluginCheck {
    #[command(flatten)]
    pub(crate) common: Common,
    /// An option for the plugin, as it would stand in the channel's option file; may be given several times.
    #[arg(long = "option", value_name = "NAME=VALUE")]
    pub(crate) options: Vec<String>,
    /// A keyword for its channel, with its arguments; may be given several times.
    #[arg(long = "keyword", value_name = "NAME[=VALUE]")]
    pub(crate) keywords: Vec<String>,
    /// Takes keywords and options from this channel of the configuration; `--option` wins.
    #[arg(long, value_name = "NAME")]
    pub(crate) channel: Option<String>,
    /// Only this check, beside the first three; may be given several times.
    #[arg(long, value_name = "CHECK")]
    pub(crate) only: Vec<String>,
    /// More of everything; takes minutes.
    #[arg(long)]
    pub(crate) full: bool,
    /// So many times fewer messages, recipients and channels in the checks with many, for a plugin for which each costs a file or a program.
    #[arg(long, value_name = "TIMES", default_value_t = 1, conflicts_with = "full", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) fewer: u32,
    /// Runs each check under valgrind, which reports wrong accesses and leaks; there is less of everything then.
    #[arg(long)]
    pub(crate) valgrind: bool,
    /// How long a delivery may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// The plugin's file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The check that this process is for.
    #[arg(long, hide = true)]
    pub(crate) one: Option<String>,
    /// What its report begins with.
    #[arg(long, hide = true)]
    pub(crate) mark: Option<String>,
}

/// Arguments of `plugin reload`.
#[derive(Debug, Args)]
pub(crate) struct PluginReload {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Seconds that what is in delivery may still take with the old generation; when they are over it is given to the new
    /// one, and may go twice. Without it, deliveries have the time that they have anyway (DELIVERY_DEADLINE).
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86400))]
    pub(crate) drain: Option<u64>,
    /// The plugin's name in the configuration, or the one in its file's name.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Arguments of `plugin new`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PluginNew {
    /// Name of the plugin.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The folder to make.
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The language.
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    pub(crate) lang: Lang,
    /// Uses the SDK in this folder in the place of a copy (Rust only).
    #[arg(long, value_name = "PATH")]
    pub(crate) sdk: Option<PathBuf>,
}

/// The language of a new plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    /// Rust, with the SDK.
    Rust,
    /// C, with the header of the contract.
    C,
}

/// Arguments of `plugin list`.
#[derive(Debug, Args)]
pub(crate) struct PluginList {
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What can be done with the users.
#[derive(Debug, Subcommand)]
pub(crate) enum Password {
    /// Gives a user a password; who is not there yet is added.
    ///
    /// The file keeps what is needed to check the password, from which it cannot be had. CRAM-MD5, which fetchmail and
    /// ATRN (RFC 2645) need, works only with `--cram-md5`: the file then has the password itself, so let it be one that
    /// is used nowhere else.
    Set(PasswordSet),
    /// Takes a user out.
    Remove(PasswordRemove),
    /// Lists the users.
    List(PasswordList),
    /// Says whether a password is the right one: exit status 0 if it is, 65 if not.
    Check(PasswordCheck),
}

/// Which password file.
#[derive(Debug, Clone, Args)]
pub(crate) struct PasswordFile {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The password file, in the place of the configuration's.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Arguments of `password set`.
#[derive(Debug, Args)]
pub(crate) struct PasswordSet {
    #[command(flatten)]
    pub(crate) file: PasswordFile,
    /// Keeps the password itself, for CRAM-MD5.
    #[arg(long)]
    pub(crate) cram_md5: bool,
    /// How often the password is hashed: more takes longer to guess, and longer to check.
    #[arg(long, value_name = "N", default_value_t = sluice_sasl::users::ITERATIONS,
        value_parser = clap::value_parser!(u32).range(4096..=5_000_000))]
    pub(crate) iterations: u32,
    /// The name that the user logs in with.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Arguments of `password remove`.
#[derive(Debug, Args)]
pub(crate) struct PasswordRemove {
    #[command(flatten)]
    pub(crate) file: PasswordFile,
    /// The user's name.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Arguments of `password list`.
#[derive(Debug, Args)]
pub(crate) struct PasswordList {
    #[command(flatten)]
    pub(crate) file: PasswordFile,
}

/// Arguments of `password check`.
#[derive(Debug, Args)]
pub(crate) struct PasswordCheck {
    #[command(flatten)]
    pub(crate) file: PasswordFile,
    /// The user's name.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Whose configuration it is.
    #[arg(value_enum)]
    pub(crate) product: Product,
    /// The folder with pmdf.cnf or imta.cnf in it.
    #[arg(value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// The folder to write; it is made when it does not exist.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) to: PathBuf,
    /// Reports, and writes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// `text` for people, `json` for programs: one object a line, with stable field names.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// The products that configurations come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Product {
    /// PMDF: pmdf.cnf.
    Pmdf,
    /// Sun, iPlanet or Oracle Messaging Server: imta.cnf.
    Imta,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Arguments of `reload`.
#[derive(Debug, Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    pub(crate) common: Common,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed_and_every_subcommand_explains_itself() {
        fn visit(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for argument in command.get_arguments() {
                let id = argument.get_id();
                assert!(argument.get_help().is_some(), "{} {id} has no help", command.get_name());
            }
            command.get_subcommands().for_each(visit);
        }
        let command = Cli::command();
        command.clone().debug_assert();
        visit(&command);
    }
}
