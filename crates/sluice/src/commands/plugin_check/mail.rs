//! Checks about deliveries: few and many, small and large, and those that a stranger would send.

use std::sync::Arc;
use std::time::Duration;

use sluice_host::{Content, Delivery, Guise, Spec};

use super::LARGE;
use super::stage::{Channel, Pieces, Stage, Tried, delivery, with_content};

const ONE: &str = "fred@check.example";
/// How long a channel has nothing to do in the check for that, and after what time its worker goes.
const PAUSE: Duration = Duration::from_millis(1500);
const IDLE_EXIT: Duration = Duration::from_millis(500);

/// So many small messages for one recipient each.
fn small(count: usize) -> Vec<Delivery> {
    (0..count).map(|number| delivery(number, &[ONE])).collect()
}

/// A channel with more time for a delivery, of which there is much.
fn patient(stage: &Stage) -> Channel {
    stage.channel_with(Spec { deadline: stage.patience * LARGE, ..stage.spec() })
}

pub(super) fn one(stage: &Stage) -> Tried {
    stage.delivers(stage.channel(), small(1))
}

pub(super) fn recipients(stage: &Stage) -> Tried {
    let addresses: Vec<String> = (0..50).map(|number| format!("user{number}@check.example")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let several = (2..12).map(|count| delivery(count, &addresses[..count * count.min(4)]));
    stage.delivers(stage.channel(), several.collect())
}

pub(super) fn many(stage: &Stage) -> Tried {
    stage.delivers(stage.channel(), small(stage.number(10_000, 100_000)))
}

pub(super) fn order(stage: &Stage) -> Tried {
    let mut channel = stage.channel_with(Spec { max_workers: 1, ..stage.spec() });
    channel.lease(small(64), false);
    channel.lease(small(64), false);
    channel.wait_for_all()?;
    channel.end()?;
    stage.complaints()?;
    let told = channel.account.verdict()?;
    let how = if channel.account.back.is_sorted() { "in their order" } else { "in another order" };
    Ok(format!("{told}, {how}"))
}

pub(super) fn pause(stage: &Stage) -> Tried {
    let mut channel = stage.channel_with(Spec { idle_exit: IDLE_EXIT, ..stage.spec() });
    channel.offer(small(3));
    channel.wait_for_all()?;
    std::thread::sleep(PAUSE);
    stage.delivers(channel, small(3))
}

pub(super) fn poll(stage: &Stage) -> Tried {
    let mut channel = stage.channel();
    channel.lease(Vec::new(), true);
    channel.lease(small(2), true);
    channel.wait_for_all()?;
    stage.delivers(channel, small(1))
}

/// One delivery for each content.
fn deliveries(contents: Vec<Arc<dyn Content>>) -> Vec<Delivery> {
    let made = contents.into_iter().enumerate();
    made.map(|(number, content)| {
        let mut eight_bit = false;
        content.pieces(&mut |piece| eight_bit |= !piece.is_ascii());
        Delivery { eight_bit, ..with_content(number, &[ONE], content) }
    })
    .collect()
}

pub(super) fn empty(stage: &Stage) -> Tried {
    stage.delivers(stage.channel(), deliveries(empty_contents()))
}

/// Messages of which something is missing.
pub(super) fn empty_contents() -> Vec<Arc<dyn Content>> {
    let texts = ["", "\r\n", "Subject: header only\r\n", "Subject: header only\r\n\r\n", "\r\nbody only\r\n"];
    texts.iter().map(|text| Arc::new(text.as_bytes().to_vec()) as Arc<dyn Content>).collect()
}

pub(super) fn hostile(stage: &Stage) -> Tried {
    stage.delivers(stage.channel(), deliveries(hostile_contents()))
}

/// Messages that nobody writes who means well.
pub(super) fn hostile_contents() -> Vec<Arc<dyn Content>> {
    let header = "From: sender@origin.example\r\nSubject: hostile\r\n";
    let with_body = |body: &[u8]| [header.as_bytes(), b"\r\n", body].concat();
    let long = [vec![b'x'; 100_000], b"\r\n".to_vec()].concat();
    let whole = [
        with_body(&long),
        [b"Subject: ", &long[..]].concat(),
        with_body(b"..\r\n...\r\n.. \r\n..QUIT\r\n..\r\n"),
        with_body(&(128..=255).chain(*b"\r\n").collect::<Vec<u8>>()),
        with_body(b"\x01\x02\x1b[2J\x7f\t\x0b\x0c\r\n"),
        [header, "no colon in this line\r\n: no name\r\n Folded: what is this\r\n\r\nbody\r\n"]
            .concat()
            .into_bytes(),
        format!("{header}{}\r\nbody\r\n", "X-Many: of them\r\n".repeat(10_000)).into_bytes(),
        format!("Subject: folded\r\n{}\r\nbody\r\n", " again and again\r\n".repeat(10_000)).into_bytes(),
        with_body(&b"\r\n".repeat(20_000)),
    ];
    let mut all: Vec<Arc<dyn Content>> =
        whole.into_iter().map(|content| Arc::new(content) as Arc<dyn Content>).collect();
    let text = with_body(&b"Words that are cut anywhere, between CR and LF too.\r\n".repeat(100));
    let pieces = Pieces(text.chunks(5).map(<[u8]>::to_vec).collect());
    all.push(Arc::new(pieces));
    all
}

pub(super) fn addresses(stage: &Stage) -> Tried {
    let long = format!("{}@check.example", "x".repeat(1000));
    let odd = [
        "\"quoted local part\"@check.example",
        "\"a\\\"b@c\"@check.example",
        "a%b.example@check.example",
        "b.example!a@check.example",
        "-rf@check.example",
        "--help@check.example",
        "|/bin/false@check.example",
        "/etc/passwd@check.example",
        "../../../etc/passwd@check.example",
        "..@check.example",
        "$(false)@check.example",
        "`false`;false&@check.example",
        "%s%n%d@check.example",
        "'\"\\*?[~@check.example",
        "user+detail@check.example",
        "fred@[192.0.2.1]",
        "postmaster",
        "\u{fc}\u{f1}\u{1f4e8}@ex\u{e4}mple.example",
        &long,
    ];
    let mut all: Vec<Delivery> = odd
        .iter()
        .enumerate()
        .map(|(number, address)| Delivery { smtputf8: !address.is_ascii(), ..delivery(number, &[address]) })
        .collect();
    for sender in ["", "<>", "-f root", "a b", "\u{fc}@check.example", &long] {
        all.push(Delivery { sender: sender.to_owned(), ..delivery(all.len(), &[ONE]) });
    }
    stage.delivers(stage.channel(), all)
}

pub(super) fn crowd(stage: &Stage) -> Tried {
    let addresses: Vec<String> =
        (0..stage.number(10_000, 10_000)).map(|number| format!("user{number}@check.example")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    stage.delivers(patient(stage), vec![delivery(1, &addresses)])
}

pub(super) fn big(stage: &Stage) -> Tried {
    stage.delivers(patient(stage), vec![with_content(1, &[ONE], big_content(stage))])
}

/// A large message.
pub(super) fn big_content(stage: &Stage) -> Arc<dyn Content> {
    let line = [vec![b'y'; 1022], b"\r\n".to_vec()].concat();
    let megabyte = line.repeat(1024);
    let mut pieces = vec![b"Subject: large\r\n\r\n".to_vec()];
    pieces.extend(std::iter::repeat_n(megabyte, stage.number(64, 256)));
    Arc::new(Pieces(pieces))
}

pub(super) fn later_hub(stage: &Stage) -> Tried {
    guised(stage, Guise::Later)
}

pub(super) fn older_hub(stage: &Stage) -> Tried {
    guised(stage, Guise::Older)
}

fn guised(stage: &Stage, guise: Guise) -> Tried {
    let several = (1..20).map(|number| delivery(number, &[ONE, "kim@check.example", "jo@check.example"]));
    stage.delivers(stage.guised(guise), several.collect())
}
