//! What the plugin edge costs for each delivery: `cargo run --release -p sluice-host --example overhead FOLDER`, where
//! `FOLDER` has the bit bucket's library built alike.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use sluice_host::{Delivery, Host, Instance, Lease, Offer, Recipient, Spec};
use sluice_mail::RecipientWishes;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

/// Messages in all.
const MESSAGES: u64 = 400_000;

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "target/release".to_owned());
    let host = Host::new(vec![folder.into()]);
    let plugin = match host.load("bitbucket") {
        Ok(plugin) => plugin,
        Err(error) => return println!("{error}"),
    };
    let content = Arc::new(vec![b'x'; 4096]);
    let domain: Arc<str> = "site.example".into();
    for (batch, recipients) in [(1, 1), (10, 1), (100, 1), (10, 20)] {
        let (sender, events) = sync_channel(1024);
        let sink = Arc::new(move |event| {
            let _ = sender.send(event); // Fails when the measurement is over.
        });
        let instance = Instance::start(&host, plugin.clone(), Spec::new("bench", Vec::new()), sink);
        let mut leases = (0..MESSAGES / batch).map(|lease| Lease {
            lease,
            poll: false,
            deliveries: (0..batch)
                .map(|number| Delivery {
                    token: lease * batch + number,
                    id: "0123456789ABCDEF".to_owned(),
                    sender: "someone@hub.example".to_owned(),
                    source_channel: "tcp_local".to_owned(),
                    domain: domain.clone(),
                    recipients: (0..recipients)
                        .map(|index| Recipient {
                            index,
                            address: "someone@site.example".to_owned(),
                            original: "someone@site.example".to_owned(),
                            wishes: RecipientWishes::default(),
                        })
                        .collect(),
                    content: content.clone(),
                    ..Delivery::blank()
                })
                .collect(),
        });
        let start = Instant::now();
        let mut waiting = leases.next().map(Offer::from);
        let mut done = 0;
        while done < MESSAGES / batch {
            while let Some(lease) = waiting.take() {
                match instance.offer(lease) {
                    Ok(()) => waiting = leases.next().map(Offer::from),
                    Err(error) => {
                        waiting = Some(error.offer);
                        break;
                    }
                }
            }
            if events.recv().unwrap().lease_done().is_some() {
                done += 1;
            }
        }
        let nanoseconds = start.elapsed().as_nanos() / u128::from(MESSAGES);
        println!("{batch:3} messages a lease, {recipients:2} recipients each: {nanoseconds} ns a message");
    }
}
