//! Channel plugin: delivers to nowhere.
//!
//! What is routed here is gone, and counts as delivered. For addresses that exist only to be thrown away, and for
//! measuring everything except the delivery.
//!
//! # Not here
//! Refusing mail: a bit bucket is silent. A sender that should hear of it wants a rewrite rule that refuses.
#![forbid(unsafe_code)]

use sluice_sdk::{
    Channel, Context, CreateError, Level, Next, OptionSpec, Options, Outcome, RunError, Worker,
};
use std::time::Duration;

/// How long a worker sits in one call for the next delivery. It changes nothing that can be seen.
const WAIT: Duration = Duration::from_secs(60);

/// The bit bucket, which is nothing but its options.
#[derive(Debug, Options)]
pub struct BitBucket {
    /// 1 writes a log line for each message that is thrown away: its queue id, its size and how many recipients it had.
    log_discarded: bool,
}

impl Channel for BitBucket {
    const NAME: &'static str = "bitbucket";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "throws mail away and calls it delivered";
    const OPTIONS: &'static [OptionSpec] = Self::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        context.options()
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        loop {
            match worker.next(WAIT) {
                Next::Delivery(delivery) => {
                    if self.log_discarded {
                        let count = delivery.recipients().len();
                        let size = delivery.body_size();
                        delivery.log(Level::Info, &format!("thrown away: {size} bytes, {count} recipients"));
                    }
                    delivery.settle_all(&Outcome::delivered("thrown away"));
                }
                Next::Idle | Next::Poll => {}
                Next::Stop => return Ok(()),
            }
        }
    }
}

sluice_sdk::export_channel!(BitBucket);
