//! Sample poller: brings mail in from a POP3 mailbox (RFC 1939).
//!
//! A channel whose block has the keyword `periodic` is told to ask for mail whenever its periodic service runs, and by
//! `sluice trigger`. This one then logs in, brings each message in, and deletes it on the server only after the hub has answered for it:
//! PMDF would call it a slave program. Mail that is routed *to* the channel fails: there is no way into a mailbox by POP3.
//!
//! # Invariants
//! A message is deleted on the server only after it was delivered into the queue; POP3 carries deletions out at `QUIT`. A connection that is
//! lost before it brings the messages of that session in once more at the next poll, and loses none.
//! # Failure
//! Trouble with the server is a line in the log and the end of this poll. A message that the hub refuses for good stays on the server and is
//! named in the log each time, until somebody looks; so does one that is too long.
//! # Not here
//! The words of the protocol (`session`); TLS: connect to a proxy on this machine.
#![forbid(unsafe_code)]

mod session;

use session::{Server, Session};
use sluice_sdk::{
    Channel, Context, CreateError, Level, Log, Next, OptionSpec, Options, Outcome, RunError, Status,
    Submission, Waits, Worker,
};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How long a worker waits in one call for something to do. It changes nothing that can be seen.
const WAIT: Duration = Duration::from_secs(60);

/// The option file.
#[derive(Debug, Options)]
struct Settings {
    /// The POP3 server, as `host` or `host:port`.
    server: Server,
    /// Name to log in with.
    user: String,
    /// A file whose first line is the password. Let nobody read it who should not.
    password_file: PathBuf,
    /// Whom the mail is for: the address that each message is brought in for.
    recipient: String,
    /// Longest message that is fetched, in bytes.
    #[option(default = 20_000_000, range = 1_000..=1_000_000_000)]
    most: u64,
    /// Seconds to wait for an answer of the server.
    #[option(default = 60, range = 1..=3600)]
    timeout: Duration,
}

/// The channel.
#[derive(Debug)]
pub struct Pop3 {
    settings: Settings,
    password: String,
    /// Connections that are waited for, so that `stop` can end the wait.
    waits: Waits,
    log: Log,
}

impl Channel for Pop3 {
    const NAME: &'static str = "pop3";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "brings mail in from a POP3 mailbox";
    const OPTIONS: &'static [OptionSpec] = Settings::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        let settings: Settings = context.options()?;
        let file = settings.password_file.display();
        let text = std::fs::read_to_string(&settings.password_file)
            .map_err(|error| CreateError::refused(format!("PASSWORD_FILE {file}: {error}")))?;
        let password = text.lines().next().unwrap_or_default().to_owned();
        // They become parts of a command.
        if password.is_empty()
            || [&password, &settings.user].iter().any(|text| text.chars().any(char::is_control))
        {
            let text = format!(
                "USER and the first line of PASSWORD_FILE {file} must be text without control characters"
            );
            return Err(CreateError::refused(text));
        }
        Ok(Pop3 { settings, password, waits: Waits::default(), log: context.logger() })
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        loop {
            match worker.next(WAIT) {
                Next::Poll => {
                    if let Err(error) = self.poll(worker) {
                        self.log.write(Level::Warn, &format!("{}: {error}", self.settings.server));
                    }
                }
                Next::Delivery(delivery) => {
                    let text = "this channel only brings mail in";
                    delivery.settle_all(&Outcome::failed(Status::new(5, 3, 2), text));
                }
                Next::Idle => {}
                Next::Stop => return Ok(()),
            }
        }
    }

    fn stop(&self) {
        self.waits.stop();
    }
}

/// What became of a message.
enum Fetched {
    /// The hub answers for it.
    Ours,
    /// It stays on the server.
    Left,
    /// The hub takes nothing at the moment: the rest is for another time.
    NotNow,
}

impl Pop3 {
    /// Empties the mailbox, as far as the hub takes it.
    fn poll(&self, worker: &Worker<'_>) -> io::Result<()> {
        let mut session = Session::open(&self.settings.server, self.settings.timeout, &self.waits)?;
        session.log_in(&self.settings.user, &self.password)?;
        let (mut count, mut left) = (0_u32, 0_u32);
        for (number, size) in session.list()? {
            if size > self.settings.most {
                self.log.write(
                    Level::Warn,
                    &format!("message {number} has {size} bytes and is left on the server"),
                );
                left += 1;
                continue;
            }
            match self.fetch(worker, &mut session, number)? {
                Fetched::Ours => {
                    session.delete(number)?;
                    count += 1;
                }
                Fetched::Left => left += 1,
                Fetched::NotNow => break,
            }
        }
        // Only now the server deletes what was marked.
        session.quit()?;
        if count + left > 0 {
            self.log.write(Level::Info, &format!("{count} messages brought in, {left} left on the server"));
        }
        Ok(())
    }

    fn fetch(&self, worker: &Worker<'_>, session: &mut Session<'_>, number: u32) -> io::Result<Fetched> {
        // The server may have told another size than it sends; `read` ends at the bound.
        let mut content = session.retrieve(number)?;
        let read = Submission::read("", &mut content, self.settings.most);
        let submission = match read {
            Ok(submission) => submission.to(self.settings.recipient.as_str()),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                content.skip()?;
                self.log
                    .write(Level::Warn, &format!("message {number} is {error} and is left on the server"));
                return Ok(Fetched::Left);
            }
            Err(error) => return Err(error),
        };
        Ok(match worker.enqueue(&submission).map(|mut answers| answers.pop()) {
            Ok(Some(Outcome::Delivered { .. })) => Fetched::Ours,
            Ok(Some(Outcome::Failed { status, text, .. })) => {
                let line = format!("message {number} is refused and left on the server: {status} {text}");
                self.log.write(Level::Warn, &line);
                Fetched::Left
            }
            Ok(_) | Err(_) => Fetched::NotNow,
        })
    }
}

sluice_sdk::export_channel!(Pop3);
