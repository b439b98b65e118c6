//! Fills a spool with mail for many sites, for `cargo xtask bench release`: by the spool's own front door, without the hub,
//! so that a million messages take seconds.
//!
//! `backlog FOLDER MESSAGES DOMAINS CHANNELS`: message `n` is for the domain `s{n mod DOMAINS}.{suffix}`, on the channel
//! `tcp_many{n mod DOMAINS mod CHANNELS}`, whose number is in the suffix: `s17.c7.example`.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{SystemTime, UNIX_EPOCH};

use sluice_mail::{Envelope, Priority, Recipient, Time};
use sluice_spool::{Disk, Options, Spool};

/// Messages on their way to the disk at once: well below what the spool takes.
const UNDER_WAY: usize = 8192;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut next = || arguments.next().ok_or("usage: backlog FOLDER MESSAGES DOMAINS CHANNELS");
    let folder = PathBuf::from(next()?);
    let (messages, domains, channels): (u64, u64, u64) =
        (next()?.parse()?, next()?.parse()?, next()?.parse()?);
    std::fs::create_dir_all(&folder)?;
    let (spool, _) = Spool::open(Arc::new(Disk::open(&folder)?), Options::default())?;
    let arrived = Time(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?);
    let (written_in, written) = sync_channel::<Result<(), String>>(UNDER_WAY);
    let body = b"From: sender@origin.example\r\nSubject: backlog\r\n\r\nMail that waits until somebody asks for it.\r\n";
    let mut under_way = 0;
    for number in 0..messages {
        if under_way == UNDER_WAY {
            written.recv()??;
            under_way -= 1;
        }
        let site = number % domains;
        let channel = site % channels;
        let domain = format!("s{site}.c{channel}.example");
        let address = format!("user{number}@{domain}");
        let envelope = Envelope {
            sender: "sender@origin.example".to_owned(),
            arrived,
            source_channel: "tcp_local".to_owned(),
            priority: Priority::Normal,
            eight_bit: false,
            smtputf8: false,
            held: false,
            deferred_until: None,
            wishes: sluice_mail::Wishes::default(),
            recipients: vec![Recipient {
                original: address.clone(),
                address,
                channel: format!("tcp_many{channel}"),
                domain,
                ..Recipient::default()
            }],
        };
        let done = written_in.clone();
        spool.draft().commit(envelope.encode(), body.to_vec(), move |result| {
            let _ = done.send(result.map(drop).map_err(|error| error.to_string()));
        });
        under_way += 1;
    }
    for _ in 0..under_way {
        written.recv()??;
    }
    spool.close();
    Ok(())
}
