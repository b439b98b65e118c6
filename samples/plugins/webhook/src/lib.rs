//! Sample channel plugin: posts a line to a chat room's webhook for each message.
//!
//! The room gets `{"text": "…"}` by HTTP, with sender and subject and the beginning of the message. What the server says decides:
//! 2xx is delivered; 408, 429 and 5xx are tried again; anything else fails and the sender is told. The queue id goes along as
//! `Idempotency-Key`, so that a server that looks at it shows a message once although it was sent twice.
//!
//! # Reading order
//! The options; `run` and `deliver`; `chat` makes the text, `http` carries it.
//! # Not here
//! TLS: the server is on this machine or in this network, or a proxy speaks TLS for us. The plugin `http` does it itself.
#![forbid(unsafe_code)]

mod chat;
mod http;

use http::Target;
use sluice_sdk::{
    Channel, Context, CreateError, Delivery, Level, Log, Next, OptionSpec, Options, Outcome, RunError,
    Status, Waits, Worker,
};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a worker waits in one call for the next delivery. It changes nothing that can be seen.
const WAIT: Duration = Duration::from_secs(60);
/// Longest secret, in bytes.
const TOKEN_MAX: usize = 1024;

/// The option file.
#[derive(Debug, Options)]
struct Settings {
    /// The webhook, as `http://host:port/path`.
    url: Target,
    /// Seconds for a whole request, from the connection to the answer.
    #[option(default = 30, range = 1..=600)]
    timeout: Duration,
    /// Most characters of the message's text that are shown in the room; 0 shows sender and subject only.
    #[option(default = 300, range = 0..=10_000)]
    excerpt: usize,
    /// A file whose first line is sent as `Authorization: Bearer`. Not set: nothing is.
    token_file: Option<PathBuf>,
}

/// The channel.
#[derive(Debug)]
pub struct Webhook {
    settings: Settings,
    token: Option<String>,
    /// Answers that are waited for, so that `stop` can end the wait.
    waits: Waits,
    log: Log,
}

impl Channel for Webhook {
    const NAME: &'static str = "webhook";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "posts to a chat webhook";
    const OPTIONS: &'static [OptionSpec] = Settings::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        let settings: Settings = context.options()?;
        let token = settings.token_file.as_ref().map(read_token).transpose()?;
        Ok(Webhook { settings, token, waits: Waits::default(), log: context.logger() })
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

    /// A worker may wait for an answer: its connection is shut, which ends the wait with an error, and the mail is deferred.
    fn stop(&self) {
        self.waits.stop();
    }
}

impl Webhook {
    /// One post for all recipients: the room is one.
    fn deliver(&self, delivery: &Delivery<'_>) {
        let body = chat::body(delivery, self.settings.excerpt);
        let time = self.settings.timeout.min(delivery.remaining());
        let posted = http::post(
            &self.settings.url,
            &http::Request { body: &body, token: self.token.as_deref(), key: delivery.id() },
            Instant::now() + time,
            &self.waits,
        );
        let outcome = match posted {
            Ok(answer) => outcome_of(answer.code, &answer.reason).from_peer(&self.settings.url.host),
            Err(error) => Outcome::deferred(Status::new(4, 4, 2), error.to_string()),
        };
        if !matches!(outcome, Outcome::Delivered { .. }) {
            self.log.write_about(Level::Debug, delivery.id(), outcome.text());
        }
        for recipient in delivery.take_recipients() {
            recipient.settle(outcome.clone());
        }
    }
}

fn outcome_of(code: u16, reason: &str) -> Outcome {
    let text = format!("{code} {reason}");
    match code {
        200..=299 => Outcome::delivered(text),
        // Too slow, too many, or trouble of its own: all of that passes.
        408 | 429 | 500..=599 => Outcome::deferred(Status::new(4, 3, 0), text),
        _ => Outcome::failed(Status::new(5, 7, 1), text),
    }
}

/// The first line of the file. It goes into a header, so it must be one word.
fn read_token(file: &PathBuf) -> Result<String, CreateError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| CreateError::refused(format!("TOKEN_FILE {}: {error}", file.display())))?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() || token.len() > TOKEN_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let wanted = format!("its first line must be a word of ASCII, of at most {TOKEN_MAX} bytes");
        return Err(CreateError::refused(format!("TOKEN_FILE {}: {wanted}", file.display())));
    }
    Ok(token.to_owned())
}

sluice_sdk::export_channel!(Webhook);
