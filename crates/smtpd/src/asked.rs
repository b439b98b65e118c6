//! Commands whose answer a session waits for: what the intake says to ETRN and HELP RELEASES, and the name service to MAIL.
//!
//! The replies to what came before leave first, unless the answer is there already. A client whose question nobody answers
//! in time is told to try again.
//!
//! # Not here
//! Messages (`delivery`), TLS and logins (`protection`).

use std::io;

use sluice_mail::Refusal;
use sluice_smtp::etrn::{Answers, Node};
use sluice_smtp::replies;
use sluice_smtp::reply::Reply;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::intake::{EtrnAnswer, Lookup, MailParams};
use crate::session::Talk;

impl Talk {
    /// Waits for an answer of the intake; `None` when there is none in time. The replies before it leave first, unless the
    /// answer is there already.
    pub(crate) async fn answer<T>(&mut self, mut answer: oneshot::Receiver<T>) -> io::Result<Option<T>> {
        Ok(match answer.try_recv() {
            Ok(answer) => Some(answer),
            Err(oneshot::error::TryRecvError::Closed) => None,
            Err(oneshot::error::TryRecvError::Empty) => {
                self.flush().await?;
                let limit = self.session.admission.limits.intake_timeout;
                timeout(limit, answer).await.ok().and_then(Result::ok)
            }
        })
    }

    /// Tells a client what was released for it; false when the connection is to be closed.
    pub(crate) async fn finish_releases(&mut self, answer: oneshot::Receiver<Reply>) -> io::Result<bool> {
        let reply = self.answer(answer).await?.unwrap_or_else(replies::releases_unavailable);
        let step = self.server.answered(reply);
        Ok(self.carry_out(step))
    }

    /// Waits for the answer to ETRN; false when the connection is to be closed.
    pub(crate) async fn finish_etrn(
        &mut self,
        node: Node,
        answer: oneshot::Receiver<EtrnAnswer>,
    ) -> io::Result<bool> {
        let reply = match self.answer(answer).await? {
            Some(answer) => answer.reply,
            None => {
                tracing::warn!(%node, "an ETRN was not answered; the client is told to try again");
                Answers::new(self.session.admission.etrn, &node).unable()
            }
        };
        let peer = self.session.connection.peer;
        tracing::info!(%peer, channel = %self.session.admission.source_channel, %node, %reply, "ETRN");
        let step = self.server.answered(reply);
        Ok(self.carry_out(step))
    }

    /// Waits for what the name service says about a sender; false when the connection is to be closed.
    pub(crate) async fn finish_sender(
        &mut self,
        lookup: Lookup<Result<(), Refusal>>,
        path: &str,
        params: MailParams,
    ) -> io::Result<bool> {
        self.flush().await?;
        let limit = self.session.admission.limits.lookup_timeout;
        let late = || Err(replies::sender_not_looked_up().into_refusal());
        let answer = timeout(limit, lookup).await.unwrap_or_else(|_| late());
        if let Err(refusal) = &answer {
            tracing::info!(peer = %self.session.connection.peer, sender = ?path, %refusal, "sender refused");
        }
        let step = self.server.sender(path, params, answer);
        Ok(self.carry_out(step))
    }
}
