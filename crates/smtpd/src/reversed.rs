//! Serving on a connection that we opened: the customer's side of ATRN (RFC 2645 section 5.3).
//!
//! The provider has said 250 and waits for our greeting. What follows is a session like any other, with the line as
//! protected as it is: nothing of STARTTLS, AUTH, ETRN and ATRN is offered in it. Mail that was answered with 250 is
//! safe; whatever else the line's end cuts off, the provider keeps and offers the next time.
//!
//! # Not here
//! How the connection came about, and who is on its other end: the caller has made sure.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use sluice_mail::Refusal;
use sluice_smtp::server::Safety;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::intake::{AtrnPolicy, Connection, EtrnPolicy, Intake};
use crate::session::{GOODBYE, Talk};
use crate::tls::Wire;

/// A connection in whatever protects it.
pub trait Stream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Stream for T {}

/// Serves on a turned connection to its end; `connection` says what the intake is to know of it. Gives the number of
/// messages that were made safe, and how it ended.
///
/// # Errors
/// The intake does not let such a connection in; nothing was said on it then.
pub async fn serve_reversed(
    stream: Box<dyn Stream>,
    connection: Connection,
    intake: Arc<dyn Intake>,
    stopping: watch::Receiver<bool>,
) -> Result<(u64, io::Result<()>), Refusal> {
    let mut admission = intake.admit(&connection)?;
    admission.safety = Safety::default();
    admission.etrn = EtrnPolicy::Disable;
    admission.atrn = AtrnPolicy::No;
    let mut talk = Talk::new(Wire::Reversed(stream), connection, admission, intake, stopping);
    let ended = talk.run().await;
    let how = match ended {
        // 221: the provider has said that there is no more.
        Ok(()) if talk.last_code == GOODBYE => Ok(()),
        Ok(()) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended without QUIT")),
        Err(error) => Err(error),
    };
    Ok((talk.accepted, how))
}
