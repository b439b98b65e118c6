//! The parts of a session that turn on TLS and find out who the client is.
//!
//! # Failure
//! A handshake that fails or takes too long ends the connection: nothing can be said to a client whose octets cannot be
//! read. A wrong password costs its session time, more with each, and no thread waits meanwhile.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use sluice_sasl::Mechanism;
use sluice_sasl::server::{Exchange, RANDOM_OCTETS, Step as Sasl};
use sluice_smtp::line::LineReader;
use sluice_smtp::reply::Reply;
use sluice_smtp::server::{Exchanged, Policy, Priorities};
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use crate::intake::{Admission, Login, Session};
use crate::session::Talk;
use crate::tls::{Certificates, Wire};

/// An exchange under way, and its mechanism.
pub(crate) type Underway = (Mechanism, Box<Exchange>);

/// What the state machine is told of the terms of a session.
pub(crate) fn policy(admission: &Admission) -> Policy {
    Policy {
        host: admission.banner_host.clone(),
        etrn: admission.etrn,
        etrn_per_session: admission.limits.etrn_per_session,
        atrn: admission.atrn,
        max_message_size: admission.limits.max_message_size,
        max_recipients: admission.limits.max_recipients,
        max_errors: admission.limits.max_errors,
        quotas: admission.limits.quotas,
        safety: admission.safety.clone(),
        chunking: admission.reception.chunking,
        accept_all: admission.reception.accept_all,
        later_release: admission.reception.later_release,
        priorities: admission
            .reception
            .priorities
            .map(|required| Priorities { required, is_known: admission.is_known }),
        loop_mark: admission.reception.loop_mark,
    }
}

impl Talk {
    /// STARTTLS: `reply` goes out and TLS begins. False when the connection is to be closed with what has been said;
    /// an error when it is gone.
    pub(crate) async fn start_tls(&mut self, reply: &Reply) -> io::Result<bool> {
        if !self.input.unused().is_empty() {
            tracing::warn!(peer = %self.session.connection.peer, "something was sent behind STARTTLS before TLS was on");
            let reply = self.server.spoke_before_tls();
            self.say(&reply);
            return Ok(false);
        }
        let Some(certificates) = self.intake.certificates(&self.session.connection) else {
            let step = self.server.tls_unavailable();
            return Ok(self.carry_out(step));
        };
        self.say(reply);
        self.flush().await?;
        self.handshake(certificates).await?;
        Ok(true)
    }

    /// The handshake, now. What the session knew of the client is forgotten.
    pub(crate) async fn handshake(&mut self, certificates: Certificates) -> io::Result<()> {
        let Some(Wire::Plain(mut stream)) = self.stream.take() else {
            return Err(io::Error::other("TLS is on already"));
        };
        let expects_lf = std::mem::take(&mut self.lines).expects_lf();
        self.lines = LineReader::new(self.session.admission.reception.line_ends);
        let secured = async move {
            let mut first = [0];
            // The second half of the end of STARTTLS, which a slow line has brought late, is no part of the handshake.
            if expects_lf && stream.peek(&mut first).await? == 1 && first == *b"\n" {
                stream.read_exact(&mut first).await?;
            }
            Wire::accept(stream, certificates).await
        };
        let limit = self.session.admission.limits.handshake_timeout;
        let peer = self.session.connection.peer;
        let accepted = tokio::select! {
            biased;
            _ = self.stopping.wait_for(|stop| *stop) => return Err(io::Error::other("the server stops")),
            accepted = timeout(limit, secured) => accepted,
        };
        let (wire, tls) = match accepted {
            Ok(Ok(secured)) => secured,
            Ok(Err(error)) => {
                tracing::info!(%peer, %error, "no TLS: the handshake failed");
                return Err(error);
            }
            Err(_) => {
                tracing::info!(%peer, "no TLS: the client did not finish the handshake in time");
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"));
            }
        };
        tracing::debug!(%peer, version = tls.version, cipher = tls.cipher, "TLS is on");
        self.stream = Some(wire);
        self.exchange = None;
        self.server.secured();
        let Session { helo, extended, login, tls: known, .. } = &mut self.session;
        (*extended, *login, *known) = (false, None, Some(tls));
        helo.clear();
        self.readmit();
        Ok(())
    }

    /// AUTH: begins an exchange with `mechanism`, or goes on with the one that was begun. False when the connection is to
    /// be closed.
    pub(crate) async fn authenticate(
        &mut self,
        mechanism: Option<Mechanism>,
        response: Option<Vec<u8>>,
    ) -> io::Result<bool> {
        self.flush().await?;
        if let Some(mechanism) = mechanism {
            self.exchange = self.begin_exchange(mechanism);
        }
        let exchanged = match self.exchange.take() {
            Some(exchange) => self.exchange_on(exchange, response).await,
            None => Exchanged::Unavailable,
        };
        if exchanged == Exchanged::Rejected {
            self.auth_failures += 1;
            let delay = self.session.admission.limits.auth_failure_delay.saturating_mul(self.auth_failures);
            tokio::select! {
                biased;
                _ = self.stopping.wait_for(|stop| *stop) => {}
                () = sleep(delay) => {}
            }
        }
        let step = self.server.exchanged(&exchanged);
        Ok(self.carry_out(step))
    }

    fn begin_exchange(&self, mechanism: Mechanism) -> Option<Underway> {
        let mut random = [0; RANDOM_OCTETS];
        let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        if source.fill(&mut random).is_err() {
            tracing::error!("the system gives no random octets; nobody can log in");
            return None;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let host = &self.session.admission.banner_host;
        Some((mechanism, Box::new(Exchange::new(mechanism, &random, host, now.as_secs()))))
    }

    /// One step of an exchange. Checking a password takes milliseconds, for which the threads of the runtime are too good.
    async fn exchange_on(
        &mut self,
        (mechanism, mut exchange): Underway,
        response: Option<Vec<u8>>,
    ) -> Exchanged {
        let Some(users) = self.intake.users() else { return Exchanged::Unavailable };
        let work = tokio::task::spawn_blocking(move || {
            let step = exchange.step(&users, response.as_deref());
            (exchange, step)
        });
        let Ok((exchange, step)) = work.await else { return Exchanged::Unavailable };
        let peer = self.session.connection.peer;
        match step {
            Sasl::Challenge(challenge) => {
                self.exchange = Some((mechanism, exchange));
                Exchanged::Challenge(challenge)
            }
            Sasl::Accepted(name) => {
                tracing::info!(%peer, login = name, mechanism = mechanism.name(), "logged in");
                self.session.login = Some(Login { name, mechanism });
                self.readmit();
                Exchanged::Accepted
            }
            Sasl::Rejected => {
                tracing::info!(%peer, mechanism = mechanism.name(), "login refused");
                Exchanged::Rejected
            }
            Sasl::Malformed => Exchanged::Malformed,
        }
    }

    /// Asks whether the session goes on under other terms, now that more is known of it.
    fn readmit(&mut self) {
        if let Some(admission) = self.intake.readmit(&self.session) {
            let peer = self.session.connection.peer;
            tracing::debug!(%peer, channel = admission.source_channel, "the session goes on by another channel");
            self.server.set_policy(policy(&admission));
            self.session.admission = admission;
        }
    }
}
