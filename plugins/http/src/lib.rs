//! Channel plugin: posts mail to a web server, a webhook in most cases.
//!
//! One POST for a message and up to MAX_RECIPIENTS of its recipients, as the message itself, as JSON, as a form of two parts, or as
//! what a template says (for chats). The server's status is the outcome for all recipients of the request.
//!
//! # Reading order
//! `settings` over `options`, `files` and `address` says what the operator may write; `request` and `content` say what goes out,
//! `template` what a chat gets; `connection` carries it, over `tls`, and `written` knows when it has; `answer` says what the server's word means; `outbox` is a
//! worker's day, which `engine` drives and `halt` ends.
//! # Invariants
//! A message is never whole in memory, but for a template, which looks at the first mebibyte. What a server sends is read up to
//! named limits.
//! # Failure
//! What may pass is deferred; a request that the server calls wrong (4xx) is a failure, with the exceptions that `answer` lists. A
//! message may arrive twice when a connection is lost before the answer; its `Idempotency-Key` is the same then.
//! # Not here
//! Proxies, cookies, other methods than POST. When to try again is the host's.
#![forbid(unsafe_code)]

mod address;
mod answer;
mod connection;
mod content;
mod engine;
mod files;
mod halt;
mod options;
mod outbox;
mod request;
mod settings;
mod template;
mod tls;
mod written;

#[cfg(test)]
mod tests;

use std::sync::Mutex;
use std::time::Duration;

use sluice_sdk::{Channel, Context, CreateError, Next, OptionSpec, Options, RunError, Worker};

use engine::Engine;
use halt::Halt;
use options::Written;
use outbox::{Outbox, Shared};
use settings::Settings;

/// Longest wait for a delivery while no connection is kept. The host wakes the wait by itself; this is only a bound.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// A channel that posts mail to a web server.
pub struct Http {
    shared: Shared,
}

impl Channel for Http {
    const NAME: &'static str = "http";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "posts mail to a web server";
    const OPTIONS: &'static [OptionSpec] = Written::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        let settings = Settings::read(&context)?;
        let engine = Engine::start()
            .map_err(|error| CreateError::failed(format!("no runtime for connections: {error}")))?;
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        Ok(Http {
            shared: Shared { settings, engine, random, halt: Halt::default(), rest: Mutex::default() },
        })
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        let mut outbox = Outbox::new(&self.shared);
        loop {
            match worker.next(outbox.until_idle().unwrap_or(WAIT_MAX)) {
                Next::Delivery(delivery) => outbox.deliver(&delivery),
                Next::Idle | Next::Poll => {}
                Next::Stop => return Ok(()),
            }
            outbox.close_idle();
        }
    }

    fn stop(&self) {
        self.shared.halt.stop();
    }
}

sluice_sdk::export_channel!(Http);
