//! How a worker that waits for a server is told that the channel stops.

use std::time::Duration;

use tokio::sync::watch;

/// How long a request that is under way may still take when the channel stops: the server may have taken the message.
const GRACE: Duration = Duration::from_secs(5);

/// Told once, and for good.
#[derive(Debug)]
pub(crate) struct Halt(watch::Sender<bool>);

impl Default for Halt {
    fn default() -> Halt {
        Halt(watch::Sender::new(false))
    }
}

impl Halt {
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_told(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when the channel has been told to stop, and the grace is over.
    pub(crate) async fn over(&self) {
        let mut told = self.0.subscribe();
        if told.wait_for(|told| *told).await.is_ok() {
            tokio::time::sleep(GRACE).await;
        }
    }
}
