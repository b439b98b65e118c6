//! Events reach the log with the channel and the message that they are about, from wherever they come.
#![allow(clippy::unwrap_used)]

use sluice_sdk::testing::{Bench, Mail};
use sluice_sdk::{Channel, Context, CreateError, Level, Next, OptionSpec, Options, RunError, Worker};
use sluice_sdk_tracing::Tracing;
use std::time::Duration;
use tracing::Instrument as _;

#[derive(Debug, Options)]
struct Talker {
    /// 1: detail too.
    detail: bool,
}

struct Talks(Tracing);

impl Channel for Talks {
    const NAME: &'static str = "talks";
    const VERSION: &'static str = "1";
    const DESCRIPTION: &'static str = "talks";
    const OPTIONS: &'static [OptionSpec] = Talker::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        let talker: Talker = context.options()?;
        let most = if talker.detail { tracing::Level::TRACE } else { tracing::Level::INFO };
        Ok(Talks(Tracing::install(&context, most)))
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        let _channel = self.0.channel().entered();
        tracing::warn!("beginning");
        loop {
            match worker.next(Duration::from_secs(1)) {
                Next::Delivery(delivery) => {
                    let span = self.0.delivery(&delivery);
                    {
                        let _inside = span.enter();
                        let _deeper =
                            tracing::info_span!("deeper", sluice.channel = "a stranger's").entered();
                        tracing::info!(
                            size = delivery.body_size(),
                            peer = "a \"b\"",
                            "gone to {}",
                            "nowhere"
                        );
                        tracing::debug!("in detail");
                    }
                    // A thread and a future take the span along.
                    std::thread::scope(|scope| {
                        scope.spawn(|| span.in_scope(|| tracing::error!(code = ?Some(5))));
                    });
                    let future = async { tracing::info!("later") }.instrument(span);
                    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                    assert!(std::pin::pin!(future).poll(&mut context).is_ready());
                    delivery.take_recipients().for_each(|one| one.delivered("gone"));
                }
                Next::Idle | Next::Poll => {}
                Next::Stop => return Ok(()),
            }
        }
    }
}

sluice_sdk::export_channel!(Talks);

#[test]
fn events_are_lines_of_the_log() {
    let mail = || Mail::new("a@b").to("c@d").text("Subject: x\n\n");
    let report = Bench::<Talks>::new().mail(mail()).mail(mail()).run();
    report.assert_clean();
    let lines: Vec<_> =
        report.log.iter().map(|line| (line.level, line.id.as_deref(), line.text.as_str())).collect();
    let about = |id: &'static str| {
        [
            (Level::Info, Some(id), "gone to nowhere size=14 peer=\"a \\\"b\\\"\""),
            (Level::Error, Some(id), " code=Some(5)"),
            (Level::Info, Some(id), "later"),
        ]
    };
    let wanted = [&[(Level::Warn, None, "beginning")][..], &about("test-1"), &about("test-2")].concat();
    assert_eq!(lines, wanted);

    // Another channel of the same library has a log and a level of its own.
    let loud = Bench::<Talks>::new().option("DETAIL", "1").mail(mail()).run();
    loud.assert_clean();
    assert!(
        loud.log.iter().any(|line| line.text == "in detail" && line.level == Level::Debug),
        "{:?}",
        loud.log
    );
    assert_eq!(loud.log.len(), 5);
}
