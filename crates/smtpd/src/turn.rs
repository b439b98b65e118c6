//! Turning a session round (ATRN, RFC 2645): who the stream goes to after 250, and in what state.
//!
//! The session is over with its 250; from the next octet on the client is the server. [`Turned`] is the stream as it is then,
//! with the TLS that it had. Nothing was read ahead: what a client has sent behind ATRN before it knew the answer would be
//! taken for its greeting, so such an ATRN is refused.
//!
//! # Not here
//! What is sent down the turned stream: the intake takes it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use sluice_smtp::reply::Reply;
use sluice_smtp::{atrn::Domains, replies};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::session::Talk;
use crate::tls::Wire;

/// A connection whose roles are changed: the client waits to be told who we are, as a server does.
#[derive(Debug)]
pub struct Turned {
    wire: Wire,
    /// The line end of ATRN came in two pieces, and the second of them may still come.
    skips_lf: bool,
}

/// What goes on with a turned connection, to its end.
pub type Course = Box<dyn FnOnce(Turned) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The answer of the intake to ATRN.
pub enum AtrnAnswer {
    /// The session is not turned.
    Refused(Reply),
    /// It is turned: 250, and then this.
    Turn(Course),
}

impl fmt::Debug for AtrnAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AtrnAnswer::Refused(reply) => write!(out, "Refused({reply})"),
            AtrnAnswer::Turn(_) => out.write_str("Turn"),
        }
    }
}

/// What follows ATRN.
pub(crate) enum AfterAtrn {
    /// The session goes on.
    Line,
    /// It is closed.
    Close,
    /// The connection has found its way and its end.
    Gone,
}

impl Talk {
    /// Waits for the answer to ATRN, and hands the connection over if it is to be turned.
    pub(crate) async fn finish_atrn(
        &mut self,
        domains: &Domains,
        answer: oneshot::Receiver<AtrnAnswer>,
    ) -> io::Result<AfterAtrn> {
        let answer = self.answer(answer).await?;
        let answer = answer.unwrap_or_else(|| AtrnAnswer::Refused(replies::atrn_unable()));
        let peer = self.session.connection.peer;
        let login = self.session.login.as_ref().map_or("", |login| login.name.as_str()).to_owned();
        let course = match answer {
            AtrnAnswer::Refused(reply) => {
                tracing::info!(%peer, login, domains = ?domains.0, %reply, "ATRN");
                let step = self.server.answered(reply);
                return Ok(if self.carry_out(step) { AfterAtrn::Line } else { AfterAtrn::Close });
            }
            AtrnAnswer::Turn(course) => course,
        };
        let reply = replies::atrn_turning();
        tracing::info!(%peer, login, domains = ?domains.0, %reply, "ATRN");
        self.say(&reply);
        self.flush().await?;
        let Some(wire) = self.stream.take() else { return Ok(AfterAtrn::Gone) };
        let skips_lf = self.lines.expects_lf();
        course(Turned { wire, skips_lf }).await;
        Ok(AfterAtrn::Gone)
    }
}

impl AsyncRead for Turned {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.skips_lf {
            let mut first = [0];
            let mut one = ReadBuf::new(&mut first);
            std::task::ready!(Pin::new(&mut this.wire).poll_read(context, &mut one))?;
            this.skips_lf = false;
            match one.filled() {
                [b'\n'] => {}
                // The end, or the first octet of the client's greeting.
                other => {
                    buffer.put_slice(&other[..other.len().min(buffer.remaining())]);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        Pin::new(&mut this.wire).poll_read(context, buffer)
    }
}

impl AsyncWrite for Turned {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().wire).poll_write(context, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(context)
    }
}
