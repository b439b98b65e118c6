//! Fills a spool with mail for many sites, for `cargo xtask bench`: by the spool's own front door, without the hub,
//! so that a million messages take seconds.
//!
//! `backlog FOLDER MESSAGES DOMAINS CHANNELS [SIZE [EACH*SITES@SUFFIX …]]`: message `n` is for the domain
//! `s{n mod DOMAINS}.{suffix}`, on the channel `tcp_many{n mod DOMAINS mod CHANNELS}`, whose number is in the suffix:
//! `s17.c7.example`. SIZE is that of a body; 0, or none, is some hundred octets. With a group, EACH messages for each of
//! `s0.SUFFIX` … are put on the first channel, behind the others.

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

/// A line of a body; its end is all of a shorter one.
const LINE: &[u8] = b"0123456789 abcdefghijklmnopqrstuvwxyz 0123456789 abcdefghijklmnopqrstuvwxyz\r\n";

/// Sites beside the many, each with so many messages.
struct Group {
    each: u64,
    sites: u64,
    suffix: String,
}

impl Group {
    fn read(text: &str) -> Result<Group, Box<dyn Error>> {
        let (counts, suffix) = text.split_once('@').ok_or("a group is EACH*SITES@SUFFIX")?;
        let (each, sites) = counts.split_once('*').ok_or("a group is EACH*SITES@SUFFIX")?;
        Ok(Group { each: each.parse()?, sites: sites.parse()?, suffix: suffix.to_owned() })
    }

    fn mail(&self) -> impl Iterator<Item = (String, String)> {
        let sites = (0..self.each).flat_map(|_| 0..self.sites);
        sites.map(|site| (format!("s{site}.{}", self.suffix), "tcp_many0".to_owned()))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut next = || {
        arguments.next().ok_or("usage: backlog FOLDER MESSAGES DOMAINS CHANNELS [SIZE [EACH*SITES@SUFFIX …]]")
    };
    let folder = PathBuf::from(next()?);
    let (messages, domains, channels): (u64, u64, u64) =
        (next()?.parse()?, next()?.parse()?, next()?.parse()?);
    let size: usize = arguments.next().map_or(Ok(0), |size| size.parse())?;
    let groups = arguments.map(|group| Group::read(&group)).collect::<Result<Vec<_>, _>>()?;
    std::fs::create_dir_all(&folder)?;
    let (spool, _) = Spool::open(Arc::new(Disk::open(&folder)?), Options::default())?;
    let arrived = Time(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?);
    let (written_in, written) = sync_channel::<Result<(), String>>(UNDER_WAY);
    let mut body =
        b"From: sender@origin.example\r\nSubject: backlog\r\n\r\nMail that waits until somebody asks for it.\r\n".to_vec();
    while body.len() < size {
        body.extend_from_slice(&LINE[LINE.len().saturating_sub((size - body.len()).max(2))..]);
    }
    let many = (0..messages).map(|number| {
        let site = number % domains;
        (format!("s{site}.c{}.example", site % channels), format!("tcp_many{}", site % channels))
    });
    let mail = many.chain(groups.iter().flat_map(Group::mail));
    let mut under_way = 0;
    for (number, (domain, channel)) in mail.enumerate() {
        if under_way == UNDER_WAY {
            written.recv()??;
            under_way -= 1;
        }
        let address = format!("user{number}@{domain}");
        let envelope = Envelope {
            hold_reason: String::new(),
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
                channel,
                domain,
                ..Recipient::default()
            }],
        };
        let done = written_in.clone();
        spool.draft().commit(envelope.encode(), body.clone(), move |result| {
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
