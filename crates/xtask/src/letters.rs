//! `cargo xtask send` and `cargo xtask etrn`: a mail client of the smallest kind, so that the demonstration needs no
//! other program.

use anyhow::{Context, Result, bail};
use sluice_testkit::{Reply, Talk, message};
use std::net::SocketAddr;

/// Sends `count` messages of `size` bytes over one session; each must be accepted.
pub(crate) fn send(
    server: SocketAddr,
    from: &str,
    to: &str,
    count: usize,
    size: usize,
) -> Result<Vec<Reply>> {
    let mut talk = greeted(server)?;
    let mut replies = Vec::new();
    for number in 0..count {
        let reply = talk.deliver(from, &[to], &message(number, size)).context("the connection failed")?;
        if reply.code != 250 {
            bail!("message {number} to {to} was refused: {reply}");
        }
        replies.push(reply);
    }
    talk.quit();
    Ok(replies)
}

/// Asks for a release; any of the positive answers of RFC 1985 will do.
pub(crate) fn etrn(server: SocketAddr, argument: &str) -> Result<Reply> {
    let mut talk = greeted(server)?;
    let reply = talk.ask(&format!("ETRN {argument}")).context("the connection failed")?;
    talk.quit();
    match reply.code {
        250..=253 => Ok(reply),
        _ => bail!("ETRN {argument} was refused: {reply}"),
    }
}

fn greeted(server: SocketAddr) -> Result<Talk> {
    let (mut talk, greeting) = Talk::open(server).with_context(|| format!("no mail server at {server}"))?;
    if greeting.code != 220 {
        bail!("{server} is not ready: {greeting}");
    }
    let answer = talk.ask("EHLO demo.example").context("the connection failed")?;
    if answer.code != 250 {
        bail!("{server} does not like our name: {answer}");
    }
    Ok(talk)
}
