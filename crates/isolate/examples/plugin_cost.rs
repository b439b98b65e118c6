//! What it costs to give a delivery to a plugin: by a direct call of a function, in process, and isolated. Run by `cargo xtask bench plugin`;
//! the first argument is a folder with the libraries of `bitbucket` and `misbehaving`, built alike. A line of JSON for each measurement.
#![allow(clippy::print_stdout)]

use sluice_host::{
    Cause, Content, Delivery, Events, Host, HostEvent, Instance, Lease, Offer, Place, Recipient, Setting,
    Spec,
};
use sluice_isolate::{Isolated, Limits, Program};
use sluice_mail::{Handover, Outcome, RecipientWishes, Status};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

type Done<T> = Result<T, Box<dyn std::error::Error>>;

/// Messages of a measurement, and how often it is made.
const MESSAGES: u64 = 200_000;
const ROUNDS: usize = 5;
/// Octets of a body.
const BODY: usize = 4096;

/// A body in a file, as a segment of the spool is one.
struct InFile {
    path: PathBuf,
    octets: Vec<u8>,
}

impl Content for InFile {
    fn pieces<'a>(&'a self, take: &mut dyn FnMut(&'a [u8])) {
        take(&self.octets);
    }

    fn places<'a>(&'a self, take: &mut dyn FnMut(Place<'a>)) -> bool {
        take(Place { file: 1, path: &self.path, offset: 0, length: BODY as u64 });
        true
    }
}

fn delivery(token: u64, domain: &Arc<str>, content: &Arc<InFile>) -> Delivery {
    Delivery {
        token,
        id: "0123456789ABCDEF".to_owned(),
        sender: "someone@hub.example".to_owned(),
        source_channel: "tcp_local".to_owned(),
        domain: Arc::clone(domain),
        recipients: vec![Recipient {
            index: 0,
            address: "someone@site.example".to_owned(),
            original: "someone@site.example".to_owned(),
            wishes: RecipientWishes::default(),
        }],
        content: Arc::clone(content) as Arc<dyn Content>,
        ..Delivery::blank()
    }
}

fn leases(batch: u64, content: &Arc<InFile>) -> impl Iterator<Item = Lease> + use<> {
    let (domain, content): (Arc<str>, _) = ("site.example".into(), Arc::clone(content));
    (0..MESSAGES / batch).map(move |lease| Lease {
        lease,
        poll: false,
        deliveries: (0..batch).map(|number| delivery(lease * batch + number, &domain, &content)).collect(),
    })
}

/// Has all leases done, as many at a time as are taken; nanoseconds for each message.
fn timed(
    batch: u64,
    content: &Arc<InFile>,
    events: &Receiver<HostEvent>,
    mut offer: impl FnMut(Offer) -> Result<(), Offer>,
) -> Done<f64> {
    let mut leases = leases(batch, content);
    let mut waiting = leases.next().map(Offer::from);
    let (mut done, mut finished) = (0, 0);
    let start = Instant::now();
    while done < MESSAGES / batch {
        while let Some(lease) = waiting.take() {
            match offer(lease) {
                Ok(()) => waiting = leases.next().map(Offer::from),
                Err(back) => {
                    waiting = Some(back);
                    break;
                }
            }
        }
        let event = events.recv_timeout(Duration::from_secs(60))?;
        if let HostEvent::Finished { outcomes, .. } = &event {
            finished += outcomes.len() as u64;
        }
        done += u64::from(event.lease_done().is_some());
    }
    let took = start.elapsed();
    if finished != MESSAGES / batch * batch {
        return Err(format!("{finished} of {MESSAGES} messages were settled").into());
    }
    Ok(took.as_nanos() as f64 / finished as f64)
}

fn sink() -> (Events, Receiver<HostEvent>) {
    let (sender, events): (SyncSender<HostEvent>, _) = sync_channel(1024);
    let sink = Arc::new(move |event| {
        let _ = sender.send(event); // Fails when the measurement is over.
    });
    (sink, events)
}

/// What a worker's thread does without an edge: reads leases, calls a function for each delivery, tells of it.
fn direct(batch: u64, content: &Arc<InFile>) -> Done<f64> {
    let (sink, events) = sink();
    let (give, take) = sync_channel::<Offer>(64);
    let worker = std::thread::spawn(move || {
        for offer in take {
            let name = offer.lease;
            let deliveries = (offer.read)();
            let last = deliveries.len();
            for (at, delivery) in (1..).zip(deliveries) {
                let outcomes = std::hint::black_box(carry as fn(&Delivery) -> Vec<(u32, Outcome)>)(&delivery);
                let lease_done = at == last;
                let (token, cause, unsettled) = (delivery.token, Cause::Done, Vec::new());
                sink(HostEvent::Finished { token, lease: name, outcomes, unsettled, cause, lease_done });
            }
        }
    });
    let result = timed(batch, content, &events, |offer| {
        give.try_send(offer).map_err(|error| match error {
            std::sync::mpsc::TrySendError::Full(offer)
            | std::sync::mpsc::TrySendError::Disconnected(offer) => offer,
        })
    });
    drop(give);
    drop(events);
    worker.join().map_err(|_| "the worker panicked")?;
    result
}

/// What the bit bucket does.
fn carry(delivery: &Delivery) -> Vec<(u32, Outcome)> {
    let outcome = |index| {
        let (text, peer) = ("discarded".to_owned(), String::new());
        (index, Outcome::Delivered { status: Status::new(2, 0, 0), text, peer, handover: Handover::Final })
    };
    delivery.recipients.iter().map(|one| outcome(one.index)).collect()
}

fn spec(settings: Vec<Setting>) -> Spec {
    let mut spec = Spec::new("bench", settings);
    spec.queue_bound = 64;
    spec
}

fn in_process(host: &Host, batch: u64, content: &Arc<InFile>) -> Done<f64> {
    let (sink, events) = sink();
    let instance = Instance::start(host, host.load("bitbucket")?, spec(Vec::new()), sink);
    timed(batch, content, &events, |offer| instance.offer(offer).map_err(|refused| refused.offer))
}

fn isolated(host: &Host, batch: u64, content: &Arc<InFile>, workers: u32) -> Done<f64> {
    let (sink, events) = sink();
    let mut spec = spec(Vec::new());
    spec.max_workers = workers;
    let instance = Isolated::start(host, &Program::this_one(), "bitbucket", spec, Limits::default(), &sink)?;
    timed(batch, content, &events, |offer| instance.offer(offer).map_err(|refused| refused.offer))
}

/// One message after the other, each waiting for the one before: microseconds.
fn alone(host: &Host, content: &Arc<InFile>) -> Done<f64> {
    const TIMES: u32 = 5000;
    let (sink, events) = sink();
    let limits = Limits::default();
    let instance = Isolated::start(host, &Program::this_one(), "bitbucket", spec(Vec::new()), limits, &sink)?;
    let domain: Arc<str> = "site.example".into();
    let mut start = Instant::now();
    for lease in 0..u64::from(TIMES) + 100 {
        if lease == 100 {
            start = Instant::now();
        }
        let deliveries = vec![delivery(lease, &domain, content)];
        instance
            .offer(Lease { lease, poll: false, deliveries })
            .map_err(|refused| format!("{:?}", refused.why))?;
        while events.recv_timeout(Duration::from_secs(60))?.lease_done().is_none() {}
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES))
}

/// Where a plugin in process finds the body that we hold: at the place where we hold it.
fn is_lent(host: &Host, content: &Arc<InFile>) -> Done<bool> {
    let (sink, events) = sink();
    let settings = vec![Setting::option("MODE", "tells_where")];
    let instance = Instance::start(host, host.load("misbehaving")?, spec(settings), sink);
    let deliveries = vec![delivery(1, &"site.example".into(), content)];
    instance
        .offer(Lease { lease: 1, poll: false, deliveries })
        .map_err(|refused| format!("{:?}", refused.why))?;
    match events.recv_timeout(Duration::from_secs(60))? {
        HostEvent::Finished { outcomes, .. } => {
            let told = outcomes.first().map_or("", |(_, outcome)| outcome.text());
            Ok(told == format!("{} at {:p}", BODY, content.octets.as_ptr()))
        }
        other => Err(format!("{other:?}").into()),
    }
}

/// The one in the middle of several, and the least.
fn several(mut measure: impl FnMut() -> Done<f64>) -> Done<(f64, f64)> {
    let mut all = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        all.push(measure()?);
    }
    all.sort_by(f64::total_cmp);
    Ok((all[ROUNDS / 2], all[0]))
}

fn main() -> Done<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "target/release".to_owned());
    if folder == sluice_isolate::ARGUMENT {
        sluice_isolate::run_child();
    }
    let host = Host::new(vec![folder.into()]);
    let own = tempfile::tempdir()?;
    let content = Arc::new(body(own.path())?);
    for batch in [1, 10, 100] {
        let (direct, direct_least) = several(|| direct(batch, &content))?;
        let (inside, inside_least) = several(|| in_process(&host, batch, &content))?;
        let (apart, apart_least) = several(|| isolated(&host, batch, &content, 1))?;
        println!(
            r#"{{"batch":{batch},"direct_ns":{direct:.0},"in_process_ns":{inside:.0},"isolated_ns":{apart:.0},"least":[{direct_least:.0},{inside_least:.0},{apart_least:.0}],"edge_ns":{:.0},"isolated_per_second":{:.0}}}"#,
            inside - direct,
            1e9 / apart
        );
    }
    println!(r#"{{"isolated_alone_us":{:.1}}}"#, alone(&host, &content)?);
    println!(r#"{{"bodies_are_lent":{}}}"#, is_lent(&host, &content)?);
    Ok(())
}

fn body(folder: &Path) -> Done<InFile> {
    let (path, octets) = (folder.join("segment"), vec![b'x'; BODY]);
    File::create_new(&path)?.write_all(&octets)?;
    Ok(InFile { path, octets })
}
