//! Requests about segments in quarantine, answered from the spool of the running hub.

use sluice_admin::protocol::BroughtBackRow;
use sluice_admin::{Fault, FaultKind};
use sluice_spool::{Aside, AsideError, Spool};

use super::queue::{Watch, named};
use super::{Rows, put};
use crate::hub::Hub;
use crate::set_aside;

/// What segments in quarantine have. One that cannot be read does not stand in the way of those behind it.
pub(super) fn aside(hub: &Hub, segment: Option<u32>, row: Rows<'_>) -> Result<(), Fault> {
    let spool = hub.dispatcher().spool();
    let (mut watch, mut first, mut messages) = (Watch::new(), None, 0);
    for number in numbers(spool, segment)? {
        watch.tell(row, messages, messages);
        let Some(aside) = read(spool, number, segment, &mut first) else { continue };
        messages += aside.messages.len() as u64;
        for message in &aside.messages {
            if !put(row, &set_aside::message_row(&aside, message)) {
                return Ok(());
            }
        }
        put(row, &set_aside::segment_row(number, &aside));
    }
    first.map_or(Ok(()), Err)
}

/// Brings it back, a segment at a time. Each message is in the queue when its group is on the disk. What came is told also where
/// something has failed.
pub(super) fn bring_back(hub: &Hub, segment: Option<u32>, by: &str, row: Rows<'_>) -> Result<(), Fault> {
    let (spool, by) = (hub.dispatcher().spool(), named(by));
    let mut watch = Watch::new();
    let mut done = BroughtBackRow { is_whole: true, ..BroughtBackRow::default() };
    let mut first = None;
    for number in numbers(spool, segment)? {
        watch.tell(row, done.brought_back, done.brought_back);
        let Some(aside) = read(spool, number, segment, &mut first) else { continue };
        done.is_whole &= aside.is_whole;
        done.damaged += aside.damaged().count() as u64;
        let of = aside.missing().count() as u64;
        if of == 0 {
            continue;
        }
        let mut came = 0;
        let result = spool.bring_back(&aside, set_aside::is_done(&aside), &mut |one| {
            came += 1;
            tracing::info!(id = %one.id, segment = number, by, "a message is back from quarantine");
            // A hub that is stopping has it in its spool, and the next one finds it there.
            if let Err(error) = hub.dispatcher().take_back(&one) {
                tracing::warn!(id = %one.id, %error, "a message that is back waits for the next start");
            }
            watch.tell(row, came, of);
        });
        done.brought_back += came;
        if let Err(error) = result {
            first.get_or_insert(fault(error));
        }
    }
    done.is_whole &= first.is_none();
    put(row, &done);
    first.map_or(Ok(()), Err)
}

fn numbers(spool: &Spool, segment: Option<u32>) -> Result<Vec<u32>, Fault> {
    match segment {
        Some(number) => Ok(vec![number]),
        None => spool.set_aside().map_err(|error| {
            Fault::new(FaultKind::Unavailable, format!("the folder `quarantine` cannot be read: {error}"))
        }),
    }
}

/// Reads a segment, or keeps the first fault. Of all segments, one that is gone since they were listed has been dealt with by somebody else.
fn read(spool: &Spool, number: u32, asked: Option<u32>, first: &mut Option<Fault>) -> Option<Aside> {
    match spool.aside(number) {
        Ok(mut aside) => {
            set_aside::doubt_envelopes(&mut aside);
            return Some(aside);
        }
        Err(AsideError::NotThere(_)) if asked.is_none() => {}
        Err(error) => {
            first.get_or_insert(fault(error));
        }
    }
    None
}

fn fault(error: AsideError) -> Fault {
    let kind = match error {
        AsideError::NotThere(_) | AsideError::NoList(_) => FaultKind::Unknown,
        _ => FaultKind::Unavailable,
    };
    Fault::new(kind, format!("{:#}", anyhow::Error::new(error)))
}
