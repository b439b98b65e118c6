//! Stopping: told once, seen by all workers of a channel.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// How long a dialogue under way may go on after the channel was told to stop. The hub allows ten seconds for all of
/// its stopping; a message whose end was sent deserves most of that, since giving up means sending it twice.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(6);

/// Told once, by the host; seen by all workers.
#[derive(Debug, Default)]
pub(crate) struct Halt {
    since: OnceLock<Instant>,
    told: Notify,
}

impl Halt {
    pub(crate) fn stop(&self) {
        let _ = self.since.set(Instant::now());
        self.told.notify_waiters();
    }

    pub(crate) fn is_told(&self) -> bool {
        self.since.get().is_some()
    }

    /// Nothing is to be waited for any longer.
    pub(crate) fn is_over(&self) -> bool {
        self.since.get().is_some_and(|since| since.elapsed() >= STOP_GRACE)
    }

    /// Waits for a while, or until the channel is told to stop.
    pub(crate) fn wait(&self, runtime: &Runtime, time: Duration) {
        runtime.block_on(async {
            let _ = tokio::time::timeout(time, self.told()).await;
        });
    }

    /// Ends when the channel is told to stop.
    pub(crate) async fn told(&self) {
        let told = self.told.notified();
        tokio::pin!(told);
        // Registered before the look, so that a word in between is not missed.
        told.as_mut().enable();
        if !self.is_told() {
            told.await;
        }
    }
}
