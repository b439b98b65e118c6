//! Clients: each sends a message in pieces, and goes on when the hub has answered, as a session does.

use std::collections::VecDeque;
use std::sync::Arc;

use sluice_mail::{Envelope, Priority, Recipient, Wishes};

use super::super::scenery::PLACES;
use super::{Answer, World};
use crate::handle::Draft;

/// A client that is sending a message.
pub(super) struct Session {
    pub(super) number: u64,
    pub(super) draft: Option<Draft>,
    pub(super) pieces: VecDeque<Vec<u8>>,
    pub(super) envelope: Option<Envelope>,
    pub(super) content: Vec<u8>,
    pub(super) is_waiting: bool,
}

impl World {
    pub(super) fn client(&mut self) {
        if self.sessions.len() < 3 && (self.sessions.is_empty() || self.chance.once_in(3)) {
            return self.connect();
        }
        let which = self.chance.below(self.sessions.len());
        let answers = Arc::clone(&self.answers);
        let now = self.now;
        let session = &mut self.sessions[which];
        let number = session.number;
        if session.is_waiting {
            return;
        }
        session.is_waiting = true;
        let hub = self.hub.as_mut().expect("a hub lives between the steps");
        if session.pieces.len() > 1 {
            let (Some(draft), Some(piece)) = (&mut session.draft, session.pieces.pop_front()) else { return };
            draft.chunk(piece, move |result| {
                answers.lock().expect("no panic within").push(Answer::Chunk { session: number, result });
            });
            return;
        }
        let draft = session.draft.take().expect("it is taken once");
        let mut envelope = session.envelope.take().expect("it is taken once");
        let tail = session.pieces.pop_front().unwrap_or_default();
        envelope.arrived = now;
        let id = draft.id();
        self.ledger.begin(id, envelope.clone(), std::mem::take(&mut session.content), &hub.core);
        hub.handle.commit(draft, envelope, tail, move |result| {
            answers.lock().expect("no panic within").push(Answer::Commit { session: number, result });
        });
        self.note(format!("commit {id}"));
        self.take_answers();
    }

    pub(super) fn connect(&mut self) {
        let number = self.number();
        let count = 1 + self.chance.below(4);
        let place = *self.chance.pick(&PLACES);
        let recipients = (0..count).map(|index| {
            // Half of them share a place, as recipients of one message mostly do.
            let place = if self.chance.once_in(2) { place } else { *self.chance.pick(&PLACES) };
            let (channel, domain) = place;
            let address = format!("to{number}-{index}@{domain}");
            let (channel, domain, original) = (channel.to_owned(), domain.to_owned(), address.clone());
            Recipient { address, original, channel, domain, ..Recipient::default() }
        });
        let recipients = recipients.collect();
        let envelope = Envelope {
            sender: format!("from{number}@there.example"),
            arrived: self.now,
            source_channel: "tcp_local".to_owned(),
            priority: *self.chance.pick(&[Priority::Normal, Priority::Normal, Priority::Urgent]),
            eight_bit: false,
            smtputf8: false,
            held: self.chance.once_in(15),
            deferred_until: None,
            wishes: Wishes::default(),
            recipients,
        };
        let mut content = format!("Subject: {number}\r\n\r\n").into_bytes();
        let lines = *self.chance.pick(&[1, 1, 1, 20, 120, 500]);
        for line in 0..lines {
            content.extend_from_slice(format!("{number} {line} {:x}\r\n", self.chance.number()).as_bytes());
        }
        let length = (content.len() / (1 + self.chance.below(4))).max(1);
        let pieces = content.chunks(length).map(<[u8]>::to_vec).collect();
        let draft = self.hub().handle.draft();
        self.note(format!("client {number}: {} octets to {count} as {}", content.len(), draft.id()));
        let (draft, envelope) = (Some(draft), Some(envelope));
        self.sessions.push(Session { number, draft, pieces, envelope, content, is_waiting: false });
    }
}
