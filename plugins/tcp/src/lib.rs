//! Channel plugin: SMTP client over TCP; with the keyword `lmtp`, LMTP client, over TCP or a socket of this machine.
//!
//! A worker takes a delivery from the host, finds the hosts of its destination (MX and address records, or the fixed
//! peer that `daemon` names), connects to the first that answers, and settles each recipient with what that host said.
//! Connections are kept for a short time and used again. `sendetrn` asks the peer for our mail at the start of each.
//!
//! # Reading order
//! `options` and `settings` say what the operator may write; `targets` over `names` says whom to connect to; `connection`
//! runs `sluice_smtp::client` over a socket (`trace` shows what is said), `pool` has those that are open; `memory` is of
//! hosts that do not answer; `outbox` is a worker's day.
//! # Failure
//! Whatever the network does is an outcome for a recipient. What may pass is deferred; only a destination that does not
//! exist or a host that refuses for good is a failure. A host that the configuration names and the DNS does not know is
//! deferred too: the operator wants the mail to go there.
//! 8-bit content for a server without 8BITMIME is encoded (`fitting`), unless the channel has the keyword `eightbit`; what
//! cannot be encoded without being spoiled is returned with 5.6.3.
//! # Not here
//! When to try again, how many workers there are, which channel a message belongs to: all that is the host's.
#![forbid(unsafe_code)]

mod connection;
mod fitting;
mod halt;
mod memory;
mod message;
mod names;
mod options;
mod outbox;
mod pieces;
mod pool;
mod settings;
mod socket;
mod targets;
mod tls;
mod trace;
mod wishes;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use sluice_mail::{RecipientWishes, Wishes};
use sluice_sdk::{Channel, Claim, Context, CreateError, Delivery, Next, OptionSpec, RunError, Worker};

use halt::Halt;
use memory::Rests;
use message::Message;
use outbox::{Outbox, Shared};
use pool::Pool;
use settings::Settings;

/// Longest wait for a delivery while no connection is kept. The host wakes the wait by itself; this is only a bound.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// A channel that speaks SMTP to other hosts.
pub struct Tcp {
    shared: Shared,
}

impl Channel for Tcp {
    const NAME: &'static str = "tcp";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "SMTP and LMTP to other hosts over TCP/IP";
    const OPTIONS: &'static [OptionSpec] = options::OPTIONS;

    fn create(context: Context) -> Result<Self, CreateError> {
        let settings = Settings::read(&context)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("tcp-resolver")
            .enable_all()
            .build()
            .map_err(|error| CreateError::failed(format!("no runtime for the resolver: {error}")))?;
        let (runtime, halt) = (Arc::new(runtime), Arc::new(Halt::default()));
        let logger = context.logger();
        Ok(Tcp {
            shared: Shared {
                names: names::service(&settings, &runtime, &halt),
                pool: Pool::new(settings.connections_max),
                rests: Rests::new(settings.ip_backoff.clone()),
                settings,
                runtime,
                halt,
                no_line_until: std::sync::Mutex::default(),
                log: Arc::new(move |level, text| logger.write(level, text)),
            },
        })
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        let mut outbox = Outbox::new(&self.shared);
        // The next thing, and of a delivery what its sender has said.
        let mut known: Option<(Next<'_>, Option<Said>)> = None;
        loop {
            let wait = outbox.until_idle().unwrap_or(WAIT_MAX);
            let (thing, said) = known.take().unwrap_or_else(|| (worker.next(wait), None));
            match thing {
                Next::Delivery(delivery) => {
                    let settings = &self.shared.settings;
                    // One after the other, but the envelope of the next may go with the message at hand.
                    let looks_ahead = delivery.more_follows() && settings.may_send_ahead();
                    known = looks_ahead.then(|| match worker.next(Duration::ZERO) {
                        Next::Delivery(next) => {
                            let said = Said::of(&next, settings);
                            (Next::Delivery(next), Some(said))
                        }
                        other => (other, None),
                    });
                    let next = match &known {
                        Some((Next::Delivery(next), Some(said))) if next.lease() == delivery.lease() => {
                            Some((next, said))
                        }
                        _ => None,
                    };
                    let said = said.unwrap_or_else(|| Said::of(&delivery, settings));
                    deliver(&mut outbox, &delivery, &said, next);
                }
                Next::Poll => outbox.poll(),
                Next::Idle => {}
                Next::Stop => {
                    outbox.close();
                    return Ok(());
                }
            }
            outbox.close_idle();
        }
    }

    fn stop(&self) {
        self.shared.halt.stop();
    }
}

fn deliver(
    outbox: &mut Outbox<'_>,
    delivery: &Delivery<'_>,
    said: &Said,
    next: Option<(&Delivery<'_>, &Said)>,
) {
    let mut claims: Vec<Option<Claim<'_>>> = delivery.take_recipients().map(Some).collect();
    let ours = || !delivery.remaining().is_zero();
    let ours_of_next = || next.is_some_and(|(next, _)| !next.remaining().is_zero());
    let next = next.map(|(next, said)| message(next, said, &ours_of_next));
    outbox.deliver(&message(delivery, said, &ours), next.as_ref(), &mut |recipient, outcome| {
        if let Some(claim) = claims[recipient].take() {
            claim.settle(outcome);
        }
    });
}

/// What the sender has said about a message beside its content.
struct Said {
    wishes: Wishes,
    of_recipients: Vec<RecipientWishes>,
}

impl Said {
    fn of(delivery: &Delivery<'_>, settings: &Settings) -> Said {
        Said {
            wishes: wishes::of(delivery, settings.passes_priority),
            of_recipients: wishes::of_recipients(delivery),
        }
    }
}

fn message<'d>(delivery: &'d Delivery<'_>, said: &'d Said, ours: &'d dyn Fn() -> bool) -> Message<'d> {
    Message {
        id: delivery.id(),
        lease: delivery.lease(),
        domain: delivery.domain(),
        sender: delivery.sender(),
        recipients: delivery.recipients().map(|one| one.address).collect(),
        wishes: &said.wishes,
        of_recipients: &said.of_recipients,
        pieces: delivery.pieces().collect(),
        size: delivery.body_size(),
        eight_bit: delivery.eight_bit(),
        smtputf8: delivery.smtputf8(),
        next_hop: delivery.next_hop(),
        more_follows: delivery.more_follows(),
        time_left: delivery.remaining(),
        ours,
    }
}

sluice_sdk::export_channel!(Tcp);
