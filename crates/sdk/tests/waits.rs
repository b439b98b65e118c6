//! A channel's own waits, ended by its stop, on a bench.

use sluice_sdk::testing::{Bench, Ended, Mail};
use sluice_sdk::{Channel, Context, CreateError, Next, OptionSpec, Outcome, RunError, Status, Waits, Worker};
use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

/// No test waits longer.
const LONG: Duration = Duration::from_secs(600);

/// Asks a peer that never answers, or pauses, by what the recipient is called.
struct Asking {
    waits: Waits,
    peer: TcpListener,
}

impl Asking {
    fn ask(&self) -> io::Result<usize> {
        let mut stream = TcpStream::connect(self.peer.local_addr()?)?;
        stream.set_read_timeout(Some(LONG))?;
        let copy = stream.try_clone()?;
        let _wait = self.waits.enter(move || drop(copy.shutdown(Shutdown::Both)))?;
        stream.read(&mut [0; 10])
    }
}

impl Channel for Asking {
    const NAME: &'static str = "asking";
    const VERSION: &'static str = "1";
    const DESCRIPTION: &'static str = "waits for what never comes";
    const OPTIONS: &'static [OptionSpec] = &[];

    fn create(_context: Context) -> Result<Self, CreateError> {
        let peer = TcpListener::bind("127.0.0.1:0");
        Ok(Asking {
            waits: Waits::default(),
            peer: peer.map_err(|error| CreateError::failed(error.to_string()))?,
        })
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        loop {
            match worker.next(LONG) {
                Next::Delivery(delivery) => {
                    let text = match delivery.sender() {
                        "ask@a.example" => format!("{:?}", self.ask().map_err(|error| error.to_string())),
                        _ => format!("{:?}", self.waits.pause(LONG)),
                    };
                    delivery.settle_all(&Outcome::deferred(Status::new(4, 3, 2), text));
                }
                Next::Idle | Next::Poll => {}
                Next::Stop => return Ok(()),
            }
        }
    }

    fn stop(&self) {
        self.waits.stop();
    }
}

sluice_sdk::export_channel!(Asking);

#[test]
fn a_stop_ends_what_a_worker_waits_for() {
    // The stop may have come before the wait was entered, and then it does not begin.
    let asked = ["Ok(0)", "Err(\"the channel is stopping\")"];
    for (sender, told) in [("ask@a.example", &asked[..]), ("pause@a.example", &["Err(Stopping)"])] {
        let mail = Mail::new(sender).to("b@b.example").stop_meanwhile();
        let report = Bench::<Asking>::new().mail(mail).run();
        report.assert_clean();
        assert_eq!(report.ended, [Ended::Well]);
        let text = report.outcome("b@b.example").map(Outcome::text);
        assert!(text.is_some_and(|text| told.contains(&text)), "{}", report.story());
    }
}
