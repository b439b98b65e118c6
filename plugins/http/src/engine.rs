//! What drives a channel's connections: a runtime with a thread of its own.
//!
//! # Not here
//! How long anything may take: that is said where it is waited for.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// The runtime of a channel. It ends with the channel, and waits for nothing then.
///
/// Names are looked up by the system, on a thread that nobody can call back. A runtime that is simply dropped waits for it, which may
/// be for as long as a name server says nothing, and the hub that stops would wait along. Such a thread harms nobody:
/// it ends by itself, and libraries stay loaded.
#[derive(Debug)]
pub(crate) struct Engine(Option<Runtime>);

impl Engine {
    /// # Errors
    /// The system gives no thread, or nothing to wait by.
    pub(crate) fn start() -> io::Result<Engine> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("http").enable_all();
        Ok(Engine(Some(builder.build()?)))
    }

    /// Drives a future to its end, on this thread.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        let runtime = self.0.as_ref().expect("it is only taken when it is dropped");
        runtime.block_on(future)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_name_that_is_looked_up_for_ever_keeps_nobody_from_stopping() {
        let engine = Engine::start().unwrap();
        let (begun, has_begun) = channel();
        let (end, ends) = channel::<()>();
        engine.block_on(async {
            // As `lookup_host` does it.
            tokio::task::spawn_blocking(move || {
                begun.send(()).unwrap();
                let _ = ends.recv();
            });
        });
        has_begun.recv_timeout(Duration::from_secs(20)).unwrap();
        let (dropped, is_dropped) = channel();
        std::thread::spawn(move || {
            drop(engine);
            dropped.send(()).unwrap();
        });
        is_dropped.recv_timeout(Duration::from_secs(20)).expect("the channel hangs with it");
        drop(end);
    }
}
