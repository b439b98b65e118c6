//! A delivery as the host lends it.
//!
//! # Not here
//! Looking whether it can be read (`export`), what an author sees of it (`delivery`).

use super::{RawLog, RawWorker, borrowed, taken};
use crate::delivery::{Pieces, Recipient};
use crate::{Handover, Outcome, Status};
use sluice_abi as abi;
use std::time::Duration;

/// A delivery across the edge. Gives itself back when it is dropped.
#[derive(Debug)]
pub struct RawDelivery<'w> {
    /// As far as the host has it; fields that an older host does not know are zero.
    pub(super) lent: Box<abi::Delivery>,
    pub(super) worker: RawWorker<'w>,
}

// SAFETY: what it leads to does not change while it is lent, and may be read from any thread.
unsafe impl Send for RawDelivery<'_> {}
// SAFETY: as above; settling is a callback, which any thread may call.
unsafe impl Sync for RawDelivery<'_> {}

impl RawDelivery<'_> {
    pub(crate) fn get(&self) -> &abi::Delivery {
        &self.lent
    }

    pub(crate) fn log(&self) -> RawLog {
        self.worker.log
    }

    pub(crate) fn id(&self) -> &str {
        self.text(&self.lent.id)
    }

    pub(crate) fn sender(&self) -> &str {
        self.text(&self.lent.sender)
    }

    pub(crate) fn next_hop(&self) -> Option<&str> {
        Some(self.text(&self.lent.next_hop)).filter(|text| !text.is_empty())
    }

    pub(crate) fn envelope_id(&self) -> &str {
        self.text(&self.lent.envelope_id)
    }

    pub(crate) fn recipient_count(&self) -> usize {
        self.lent.recipient_count
    }

    pub(crate) fn index_at(&self, position: usize) -> u32 {
        self.at(position).index
    }

    pub(crate) fn recipient(&self, position: usize) -> Recipient<'_> {
        let one = self.at(position);
        Recipient {
            index: one.index,
            address: self.text(&one.address),
            original: self.text(&one.original),
            domain: self.text(&one.domain),
            notify: u8::try_from(one.notify).unwrap_or(0),
            origin: self.text(&one.origin),
        }
    }

    pub(crate) fn pieces(&self) -> Pieces<'_> {
        Pieces { raw: self, position: 0 }
    }

    pub(crate) fn piece(&self, position: usize) -> Option<&[u8]> {
        if position >= self.lent.piece_count {
            return None;
        }
        // SAFETY: below the count; pieces and their bytes live as long as the delivery, and are never null.
        Some(unsafe {
            let piece = &*self.lent.pieces.add(position);
            std::slice::from_raw_parts(piece.data, piece.len)
        })
    }

    pub(crate) fn remaining(&self) -> Duration {
        // SAFETY: `'w` has not ended.
        Duration::from_millis(unsafe {
            (self.worker.callbacks.deadline)(self.worker.pointer, self.lent.token)
        })
    }

    pub(crate) fn settle(&self, index: u32, outcome: &Outcome) -> u32 {
        let outcome = raw_outcome(outcome);
        // SAFETY: the outcome and its texts live for the length of the call; `'w` has not ended.
        unsafe {
            (self.worker.callbacks.settle)(self.worker.pointer, self.lent.token, index, &raw const outcome)
        }
    }

    pub(super) fn at(&self, position: usize) -> abi::Recipient {
        assert!(position < self.lent.recipient_count, "a recipient that is not in the delivery");
        let stride = self.lent.recipient_size as usize;
        // SAFETY: below the count; the host states the stride; recipients live as long as the delivery.
        unsafe { taken(self.lent.recipients.byte_add(position * stride), stride) }
    }

    fn text(&self, text: &abi::Text) -> &str {
        // SAFETY: texts live as long as the delivery.
        unsafe { borrowed(text) }.expect("`accept` has looked at every text")
    }
}

/// An outcome as it crosses the edge; its texts are borrowed.
pub(super) fn raw_outcome(outcome: &Outcome) -> abi::Outcome {
    let (kind, status, text, peer, handover) = match outcome {
        Outcome::Delivered { status, text, peer, handover } => {
            (abi::OUTCOME_DELIVERED, status, text, peer, *handover)
        }
        Outcome::Deferred { status, text, peer } => {
            (abi::OUTCOME_DEFERRED, status, text, peer, Handover::Final)
        }
        Outcome::Failed { status, text, peer } => (abi::OUTCOME_FAILED, status, text, peer, Handover::Final),
    };
    let handover = match handover {
        Handover::Final => abi::HANDOVER_FINAL,
        Handover::Relayed => abi::HANDOVER_RELAYED,
        Handover::PassedOn => abi::HANDOVER_PASSED_ON,
    };
    let Status { class, subject, detail } = *status;
    abi::Outcome {
        size: size_of::<abi::Outcome>() as u32,
        kind,
        class: u16::from(class),
        subject,
        detail,
        handover: handover as u16,
        text: abi::Text::of(text),
        peer: abi::Text::of(peer),
    }
}

impl Drop for RawDelivery<'_> {
    fn drop(&mut self) {
        // SAFETY: `'w` has not ended; nothing borrowed from the delivery outlives it.
        unsafe { (self.worker.callbacks.finish)(self.worker.pointer, self.lent.token) };
    }
}
