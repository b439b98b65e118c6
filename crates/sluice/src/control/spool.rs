//! Requests about segments in quarantine, answered from the spool of the running hub.

use sluice_admin::protocol::BroughtBackRow;
use sluice_admin::{Fault, FaultKind};
use sluice_spool::{Aside, AsideError, Spool};

use super::queue::{Watch, named};
use super::{Rows, put};
use crate::hub::Hub;
use crate::set_aside;

/// What segments in quarantine have.
pub(super) fn aside(hub: &Hub, segment: Option<u32>, row: Rows<'_>) -> Result<(), Fault> {
    let spool = hub.dispatcher().spool();
    for number in numbers(spool, segment)? {
        let aside = read(spool, number)?;
        for message in &aside.messages {
            if !put(row, &set_aside::message_row(&aside, message)) {
                return Ok(());
            }
        }
        put(row, &set_aside::segment_row(number, &aside));
    }
    Ok(())
}

/// Brings it back, a segment at a time. Each message is in the queue when its group is on the disk.
pub(super) fn bring_back(hub: &Hub, segment: Option<u32>, by: &str, row: Rows<'_>) -> Result<(), Fault> {
    let (spool, by) = (hub.dispatcher().spool(), named(by));
    let mut watch = Watch::new();
    let mut done = BroughtBackRow { is_whole: true, ..BroughtBackRow::default() };
    for number in numbers(spool, segment)? {
        let aside = read(spool, number)?;
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
        done.brought_back += result.map_err(fault)?;
    }
    put(row, &done);
    Ok(())
}

fn numbers(spool: &Spool, segment: Option<u32>) -> Result<Vec<u32>, Fault> {
    match segment {
        Some(number) => Ok(vec![number]),
        None => spool.set_aside().map_err(|error| {
            Fault::new(FaultKind::Unavailable, format!("the folder `quarantine` cannot be read: {error}"))
        }),
    }
}

fn read(spool: &Spool, number: u32) -> Result<Aside, Fault> {
    let mut aside = spool.aside(number).map_err(fault)?;
    set_aside::doubt_envelopes(&mut aside);
    Ok(aside)
}

fn fault(error: AsideError) -> Fault {
    let kind = match error {
        AsideError::NotThere(_) | AsideError::NoList(_) => FaultKind::Unknown,
        _ => FaultKind::Unavailable,
    };
    Fault::new(kind, format!("{:#}", anyhow::Error::new(error)))
}
