//! Sessions that send without a pause until the hub is gone, and write down what they were told.

use super::chance::Chance;
use super::lanes;
use super::ledger::{Letter, REFUSED};
use crate::content::message;
use crate::sender::Fate;
use crate::talk::{Talk, stuffed};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Where letters go, and in how many of a hundred cases.
const SHARES: [(&[&str], usize); 9] = [
    (&[lanes::DIRECT], 24),
    (&[lanes::WEATHER], 14),
    (&[lanes::APART], 10),
    (&[lanes::ASKED], 14),
    (&[lanes::KEPT], 6),
    (&[REFUSED], 8),
    (&[lanes::SUSPENDED], 6),
    (&[lanes::HELD], 8),
    (&[lanes::DIRECT, lanes::KEPT, lanes::WEATHER], 10),
];

/// Sends over one session after another until `stop`, or until nobody listens any more.
pub(super) fn send(
    server: SocketAddr,
    next: &AtomicUsize,
    stop: &AtomicBool,
    mut chance: Chance,
) -> Vec<Letter> {
    let mut letters = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let Ok(mut talk) = open(server) else { break };
        let in_this_session = 1 + chance.below(40);
        for _ in 0..in_this_session {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let number = next.fetch_add(1, Ordering::SeqCst);
            let letter = Letter {
                number,
                size: size(&mut chance),
                domains: domains(&mut chance),
                fate: Fate::Unknown,
            };
            let fate = one(&mut talk, &letter);
            let gone = fate.is_err();
            letters.push(Letter { fate: fate.unwrap_or(Fate::Unknown), ..letter });
            if gone {
                break;
            }
            std::thread::sleep(chance.moment(4));
        }
    }
    letters
}

/// Asks now and then for the mail of the two domains that may be asked for.
pub(super) fn ask(server: SocketAddr, stop: &AtomicBool, mut chance: Chance) {
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(chance.moment(400));
        let Ok(mut talk) = open(server) else { return };
        // Seldom for the second, so that there is something to put on hold.
        let domain = if chance.below(10) == 0 { lanes::HELD } else { lanes::ASKED };
        // What it answers is of no interest here: what comes of it is in the ledger.
        if talk.ask(&format!("ETRN {domain}")).is_err() {
            return;
        }
    }
}

fn open(server: SocketAddr) -> io::Result<Talk> {
    let (mut talk, greeting) = Talk::open(server)?;
    if greeting.code != 220 {
        return Err(io::Error::other(greeting.to_string()));
    }
    talk.ask("EHLO soak.example")?;
    Ok(talk)
}

/// Mostly small; some of several chunks, and a few that the spool keeps in more than one record.
fn size(chance: &mut Chance) -> usize {
    match chance.below(200) {
        0 => 1_300_000,
        1..=8 => 200_000,
        _ => 400 + chance.below(6000),
    }
}

fn domains(chance: &mut Chance) -> Vec<&'static str> {
    let mut place = chance.below(SHARES.iter().map(|(_, share)| share).sum());
    for (domains, share) in SHARES {
        if place < share {
            return domains.to_vec();
        }
        place -= share;
    }
    vec![lanes::DIRECT]
}

fn one(talk: &mut Talk, letter: &Letter) -> io::Result<Fate> {
    let number = letter.number;
    let mut group = format!("MAIL FROM:<u{number}@back.example>\r\n");
    for domain in &letter.domains {
        group.push_str(&format!("RCPT TO:<u{number}@{domain}>\r\n"));
    }
    group.push_str("DATA\r\n");
    talk.raw(group.as_bytes())?;
    for _ in 0..=letter.domains.len() {
        talk.read()?;
    }
    let data = talk.read()?;
    if data.code != 354 {
        talk.ask("RSET")?;
        return Ok(Fate::Refused(data.to_string()));
    }
    let mut wire = stuffed(&message(number, letter.size));
    wire.extend(b".\r\n");
    talk.raw(&wire)?;
    let last = talk.read()?;
    Ok(if last.code == 250 { Fate::Accepted } else { Fate::Refused(last.to_string()) })
}
