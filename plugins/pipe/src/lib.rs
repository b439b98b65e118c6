//! Channel plugin: gives each message to a program, on its standard input.
//!
//! Which program a recipient's address means is written in the channel's option file, as PMDF's pipe channel has it: lines
//! `user@host=command` and `host=command`, then `COMMAND`; or in a file of such entries. A command is cut into words when it is
//! read; what comes from an address fills a word and never makes one, and no shell sees any of it unless USE_SHELL asks for one.
//!
//! # Reading order
//! `commands`: from an address to the words of a command. `mailbox_line`: the line in front. `verdict`: from the end of a program to
//! an outcome.
//! # Invariants
//! A recipient is delivered only when the program has ended with 0. A program that is late, prints without end, or is in the way of
//! a stopping hub is ended with everything in its process group, and its recipients are deferred.
//! # Failure
//! What the operator has to mend (no such program, no rights) defers; what the program says by its exit code counts as
//! `sysexits.h` means it.
//! # Not here
//! Which addresses reach this channel: rewriting and aliases decide that. Running a program within limits (`sluice_programs`).
#![forbid(unsafe_code)]

mod commands;
mod mailbox_line;
mod verdict;

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use sluice_mail::Address;
use sluice_programs::{Account, Job, NoAccount};
use sluice_sdk::{
    Channel, Claim, Context, CreateError, Delivery, Next, OptionSpec, OptionWord, Options, Outcome,
    Recipient, RunError, Status, Worker,
};

use commands::{Command, Commands, Values};

/// How lines end in what a program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, OptionWord)]
enum LineEnd {
    Lf,
    Crlf,
}

/// The options of the channel's option file, beside its lines for addresses.
#[derive(Debug, Options)]
struct Written {
    /// The command for addresses that have none of their own. Without it they are unknown (5.1.1).
    command: Option<String>,
    /// A text file with an entry a line: an address or a host, blanks, a command. `!` and `#` in column one make a comment.
    /// Read when the channel starts. A relative path starts from the folder of the configuration.
    pipe_database: Option<PathBuf>,
    /// 1: the command is one line for `/bin/sh -c`. It then has no `%` substitutions; the shell finds the same in variables
    /// of its environment. 0: it is cut into words here, and no shell is started.
    use_shell: bool,
    /// 1: the program is run once for each recipient. 0: once for all recipients of a delivery that have the same command;
    /// a word with `%s`, `%a` or `%o` then stands once for each of them.
    #[option(default = true)]
    per_recipient: bool,
    /// The account, in /etc/passwd, that programs run as; without it, the one of the keyword `user`. A hub that runs as
    /// root needs one of the two; any other hub can name its own account only.
    user: Option<String>,
    /// The folder that programs start in. A relative path starts from the folder of the configuration.
    #[option(default = "/")]
    work_dir: PathBuf,
    /// How lines end in what the program reads: `lf`, or `crlf` as in mail on the wire.
    #[option(default = "lf")]
    line_end: LineEnd,
    /// 1: a line `From sender date` stands in front of the message, as in a Unix mailbox.
    from_line: bool,
    /// Time for one run. It is never longer than the hub's own limit for a delivery. Then the program and its
    /// process group get SIGTERM, five seconds later SIGKILL, and the recipient is tried again later.
    #[option(default = 600, range = 1..=86_400)]
    shell_timeout: Duration,
    /// Octets that a program may print. The first lines go into the log and, when it fails, into the sender's notice; the
    /// rest is thrown away. A program that prints more is ended, and the recipient is tried again later. 0: no limit.
    #[option(default = 1048576)]
    output_max: u64,
}

/// How long to wait for a delivery; the host wakes the wait by itself, this is only a bound.
const WAIT: Duration = Duration::from_secs(600);
/// What is left of the hub's limit for a delivery when a program must have ended: time to end it by force and to say so.
const MARGIN: Duration = Duration::from_secs(10);
/// Recipients in one run, where one run is for many: the system limits what a command line may hold.
const RECIPIENTS_MAX: usize = 100;

/// A channel whose mail goes to programs.
#[derive(Debug)]
pub struct Pipe {
    commands: Commands,
    account: Option<Account>,
    folder: PathBuf,
    line_end: LineEnd,
    from_line: bool,
    per_recipient: bool,
    time_max: Duration,
    output_max: u64,
    stopping: AtomicBool,
}

impl Channel for Pipe {
    const NAME: &'static str = "pipe";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "gives messages to programs";
    const OPTIONS: &'static [OptionSpec] = Written::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        let written: Written = context.options()?;
        let user = written.user.as_deref().or_else(|| context.setting("user")).map(str::trim);
        Ok(Pipe {
            account: sluice_programs::find(user).map_err(|why| match why {
                NoAccount::Refused(text) => CreateError::refused(text),
                NoAccount::Unknown(text) => CreateError::failed(text),
            })?,
            commands: Commands::read(&context, &written)?,
            folder: written.work_dir,
            line_end: written.line_end,
            from_line: written.from_line,
            per_recipient: written.per_recipient,
            time_max: written.shell_timeout,
            output_max: if written.output_max == 0 { u64::MAX } else { written.output_max },
            stopping: AtomicBool::new(false),
        })
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        loop {
            match worker.next(WAIT) {
                Next::Delivery(delivery) => self.deliver(&delivery),
                Next::Idle | Next::Poll => {}
                Next::Stop => return Ok(()),
            }
        }
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

impl Pipe {
    fn deliver(&self, delivery: &Delivery<'_>) {
        let mut together: Vec<(&Command, Vec<Claim<'_>>)> = Vec::new();
        for recipient in delivery.take_recipients() {
            let command = match self.command(&recipient) {
                Ok(command) => command,
                Err(outcome) => {
                    recipient.settle(outcome);
                    continue;
                }
            };
            let room = |group: &&mut (&Command, Vec<Claim<'_>>)| {
                !self.per_recipient && std::ptr::eq(group.0, command) && group.1.len() < RECIPIENTS_MAX
            };
            match together.iter_mut().find(room) {
                Some((_, group)) => group.push(recipient),
                None => together.push((command, vec![recipient])),
            }
        }
        for (command, claims) in together {
            let recipients: Vec<Recipient<'_>> = claims.iter().map(|claim| **claim).collect();
            let outcome = self.put(delivery, command, &recipients);
            for claim in claims {
                claim.settle(outcome.clone());
            }
        }
    }

    /// The command for a recipient, or why there is none.
    fn command(&self, recipient: &Recipient<'_>) -> Result<&Command, Outcome> {
        let address = Address::parse(recipient.address)
            .map_err(|error| Outcome::failed(Status::new(5, 1, 3), format!("this is no address: {error}")))?;
        let host = address.host.as_deref().unwrap_or(recipient.domain);
        self.commands.of(&address.local_text(), host).ok_or_else(|| {
            Outcome::failed(Status::new(5, 1, 1), "no command belongs to this address".to_owned())
        })
    }

    /// Runs a command for one or several recipients.
    fn put(&self, delivery: &Delivery<'_>, command: &Command, recipients: &[Recipient<'_>]) -> Outcome {
        if self.stopping.load(Ordering::Relaxed) {
            return Outcome::deferred(Status::new(4, 3, 2), "the hub is stopping");
        }
        let time = self.time_max.min(delivery.remaining().saturating_sub(MARGIN));
        if time.is_zero() {
            return Outcome::deferred(Status::new(4, 4, 7), "no time was left to run the command");
        }
        let each: Vec<Values> = recipients
            .iter()
            .map(|recipient| Values::of(delivery.sender(), delivery.id(), recipient))
            .collect();
        let words = match command.words(&each) {
            Ok(words) => words,
            Err((status, why)) => return Outcome::failed(status, why),
        };
        let job = Job {
            words: &words,
            variables: &commands::variables(&each, self.account.as_ref()),
            account: self.account.as_ref(),
            folder: &self.folder,
            time,
            output_max: self.output_max,
        };
        let mut reader = delivery.reader();
        if self.line_end == LineEnd::Lf {
            reader = reader.lf_only();
        }
        let first = self.from_line.then(|| mailbox_line::from_line(delivery.sender(), SystemTime::now()));
        let first = first.unwrap_or_default();
        let ran = sluice_programs::run(&job, &mut first.as_bytes().chain(reader), &self.stopping);
        verdict::outcome(&words[0].to_string_lossy(), &ran)
    }
}

sluice_sdk::export_channel!(Pipe);
