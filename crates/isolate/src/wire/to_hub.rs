//! What a child says to its hub.

use super::fields::{Bad, Fields, begin, end, put_text};
use sluice_host::{Cause, Failure, LINE_MAX, NAME_MAX, OUTCOME_MAX, REASON_MAX, StopReason, one_line};
use sluice_mail::{Handover, Notify, Outcome, RecipientWishes, Return, Status, wishes};
use std::time::Duration;

const READY: u8 = 1;
const CANNOT: u8 = 2;
const SETTLED: u8 = 3;
const FINISHED: u8 = 4;
const LEASE_DONE: u8 = 5;
const FAILED: u8 = 6;
const STOPPED: u8 = 7;
const LOG: u8 = 8;
const SUBMIT: u8 = 9;
const RECIPIENTS: u8 = 10;
const CONTENT: u8 = 11;
const SUBMITTED: u8 = 12;
const REFUSED: u8 = 13;
const CREATED: u8 = 14;

/// Least octets of an outcome with its index, and of a recipient of a submission.
const OUTCOME_MIN: usize = 20;
const RECIPIENT_MIN: usize = 13;
/// Most options of a plugin, as in the contract.
const OPTIONS_MAX: usize = 256;
/// Longest address that is looked at, as for plugins in process.
const ADDRESS_MAX: usize = 4096;
/// Longest time that a child can speak of.
const TIME_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

const EIGHT_BIT: u8 = 1;
const SMTPUTF8: u8 = 2;
const AS_ORIGINAL: u8 = 4;
const HAS_ORIGIN: u8 = 8;
const ON_HOLD: u8 = 16;

/// What a child says of the plugin that it has loaded. Shown, and believed by nobody.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ready {
    /// Name of the plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// One line about it.
    pub description: String,
    /// The version of the contract it was built for.
    pub abi: u32,
    /// Names of its options, and whether they hold a path.
    pub options: Vec<(String, bool)>,
    /// What confines the child.
    pub confined: String,
}

/// A frame to the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToHub {
    /// The plugin is loaded. With the version of the frames.
    Ready(u16, Ready),
    /// It is not, and why.
    Cannot(String),
    /// Outcomes of a delivery, to which more will be added.
    Settled {
        /// The delivery.
        delivery: u64,
        /// By index.
        outcomes: Vec<(u32, Outcome)>,
    },
    /// A delivery is back.
    Finished {
        /// The delivery.
        delivery: u64,
        /// Why.
        cause: Cause,
        /// By index.
        outcomes: Vec<(u32, Outcome)>,
    },
    /// A lease is done.
    LeaseDone(u64),
    /// The plugin failed.
    Failed {
        /// How.
        failure: Failure,
        /// How long no worker is started.
        pause: Duration,
    },
    /// The instance has ended.
    Stopped {
        /// Why.
        reason: StopReason,
        /// Threads that did not come back.
        left_behind: u32,
    },
    /// A line for the log.
    Log {
        /// 1 error to 5 trace.
        level: u8,
        /// Of which message; empty for none.
        id: String,
        /// The line.
        text: String,
    },
    /// A submission begins.
    Submit {
        /// Its number.
        request: u32,
        /// It is not all seven-bit.
        eight_bit: bool,
        /// It needs SMTPUTF8.
        smtputf8: bool,
        /// It is to appear from the source channel of its origin.
        as_original: bool,
        /// It is on hold from the moment it comes in.
        on_hold: bool,
        /// Id of the message that it comes of.
        origin: Option<String>,
        /// Envelope sender.
        sender: String,
        /// RET.
        returned: Option<Return>,
        /// ENVID, encoded; empty for none.
        envelope_id: String,
    },
    /// Recipients of it: address, original address, wishes.
    Recipients(u32, Vec<(String, String, RecipientWishes)>),
    /// Content of it.
    Content(u32, Vec<u8>),
    /// That was all of it.
    Submitted(u32),
    /// The instance has not taken a lease.
    Refused(u64),
    /// The channel has been created, or why it has not: the answer to PREPARE.
    Created(Result<(), String>),
}

fn shown(fields: &mut Fields<'_>, most: usize) -> Result<String, Bad> {
    fields.bytes().map(|octets| one_line(octets, most))
}

fn time(fields: &mut Fields<'_>) -> Result<Duration, Bad> {
    Ok(Duration::from_millis(fields.u64()?).min(TIME_MAX))
}

fn flags(fields: &mut Fields<'_>, known: u8) -> Result<u8, Bad> {
    match fields.u8()? {
        flags if flags & !known == 0 => Ok(flags),
        _ => Err(Bad("a frame has flags that mean nothing")),
    }
}

impl ToHub {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// It is none, or says what cannot be meant.
    pub fn read(kind: u8, body: &[u8]) -> Result<ToHub, Bad> {
        let mut fields = Fields(body);
        let fields = &mut fields;
        let frame = match kind {
            READY => ToHub::Ready(
                fields.u16()?,
                Ready {
                    plugin: shown(fields, NAME_MAX)?,
                    version: shown(fields, NAME_MAX)?,
                    description: shown(fields, NAME_MAX)?,
                    abi: fields.u32()?,
                    options: {
                        let options = fields
                            .list(5, |fields| Ok((shown(fields, NAME_MAX)?, flags(fields, 1)? == 1)))?;
                        if options.len() > OPTIONS_MAX {
                            return Err(Bad("a plugin has more options than plugins may have"));
                        }
                        options
                    },
                    confined: shown(fields, LINE_MAX)?,
                },
            ),
            CANNOT => ToHub::Cannot(shown(fields, LINE_MAX)?),
            SETTLED => ToHub::Settled { delivery: fields.u64()?, outcomes: outcomes(fields)? },
            FINISHED => {
                let delivery = fields.u64()?;
                let cause = match fields.u8()? {
                    0 => Cause::Done,
                    1 => Cause::WorkerEnded,
                    2 => Cause::Hung,
                    3 => Cause::NotCreated,
                    4 => Cause::Stopping,
                    5 => Cause::Unusable,
                    _ => return Err(Bad("a delivery is back for a reason that there is not")),
                };
                ToHub::Finished { delivery, cause, outcomes: outcomes(fields)? }
            }
            LEASE_DONE => ToHub::LeaseDone(fields.u64()?),
            FAILED => {
                let (what, status) = (fields.u8()?, fields.i32()?);
                let (limit, text) = (time(fields)?, shown(fields, REASON_MAX)?);
                let failure = match what {
                    0 => Failure::CreateFailed(text),
                    1 => Failure::CreatePanicked(text),
                    2 => Failure::CreateHung(limit),
                    3 => Failure::Panicked(text),
                    4 => Failure::Returned { status, text },
                    5 => Failure::Hung(limit),
                    6 => Failure::NoThread(text),
                    _ => return Err(Bad("a failure is of a kind that there is not")),
                };
                ToHub::Failed { failure, pause: time(fields)? }
            }
            STOPPED => {
                let (why, left_behind) = (fields.u8()?, fields.u32()?);
                let text = shown(fields, REASON_MAX)?;
                let reason = match why {
                    0 => StopReason::Asked,
                    1 => StopReason::Refused(text),
                    2 => StopReason::TooManyHung(left_behind),
                    _ => return Err(Bad("an instance ended for a reason that there is not")),
                };
                ToHub::Stopped { reason, left_behind }
            }
            LOG => {
                let level = fields.u8()?;
                if !(1..=5).contains(&level) {
                    return Err(Bad("a log line has a level that there is not"));
                }
                ToHub::Log { level, id: shown(fields, NAME_MAX)?, text: shown(fields, LINE_MAX)? }
            }
            SUBMIT => {
                let request = fields.u32()?;
                let flags = flags(fields, EIGHT_BIT | SMTPUTF8 | AS_ORIGINAL | HAS_ORIGIN | ON_HOLD)?;
                let (origin, sender) = (shown(fields, NAME_MAX)?, address(fields)?);
                let has = |bit| flags & bit != 0;
                if has(AS_ORIGINAL) && !has(HAS_ORIGIN) {
                    return Err(Bad("a submission is to appear as an original that it has not"));
                }
                let returned =
                    Return::from_number(fields.u8()?).ok_or(Bad("a message has a RET that means nothing"))?;
                let envelope_id = match fields.text()? {
                    "" => String::new(),
                    id if wishes::is_envelope_id(id) => id.to_owned(),
                    _ => return Err(Bad("a message has an ENVID that is none")),
                };
                ToHub::Submit {
                    request,
                    eight_bit: has(EIGHT_BIT),
                    smtputf8: has(SMTPUTF8),
                    as_original: has(AS_ORIGINAL),
                    on_hold: has(ON_HOLD),
                    origin: has(HAS_ORIGIN).then_some(origin),
                    sender,
                    returned,
                    envelope_id,
                }
            }
            RECIPIENTS => {
                let request = fields.u32()?;
                let recipients = fields.list(RECIPIENT_MIN, |fields| {
                    let (address, original) = (address(fields)?, address(fields)?);
                    let notify = Notify::from_bits(fields.u8()?)
                        .ok_or(Bad("a recipient has wishes that mean nothing"))?;
                    let origin = fields.text()?;
                    let original_recipient = match origin {
                        "" => String::new(),
                        origin if wishes::is_original(origin) => origin.to_owned(),
                        _ => return Err(Bad("a recipient has an ORCPT that is none")),
                    };
                    Ok((address, original, RecipientWishes { notify, original: original_recipient }))
                })?;
                ToHub::Recipients(request, recipients)
            }
            CONTENT => {
                let request = fields.u32()?;
                ToHub::Content(request, std::mem::take(&mut fields.0).to_vec())
            }
            SUBMITTED => ToHub::Submitted(fields.u32()?),
            REFUSED => ToHub::Refused(fields.u64()?),
            CREATED => {
                let (is_created, why) = (fields.u8()?, shown(fields, REASON_MAX)?);
                match (is_created, why.is_empty()) {
                    (1, true) => ToHub::Created(Ok(())),
                    (0, _) => ToHub::Created(Err(why)),
                    _ => return Err(Bad("a channel has been created in a way that there is not")),
                }
            }
            _ => return Err(Bad("a frame is of a kind that there is not")),
        };
        fields.end()?;
        Ok(frame)
    }

    /// Appends the frame.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let kind = match self {
            ToHub::Ready(..) => READY,
            ToHub::Cannot(_) => CANNOT,
            ToHub::Settled { .. } => SETTLED,
            ToHub::Finished { .. } => FINISHED,
            ToHub::LeaseDone(_) => LEASE_DONE,
            ToHub::Failed { .. } => FAILED,
            ToHub::Stopped { .. } => STOPPED,
            ToHub::Log { .. } => LOG,
            ToHub::Submit { .. } => SUBMIT,
            ToHub::Recipients(..) => RECIPIENTS,
            ToHub::Content(..) => CONTENT,
            ToHub::Submitted(_) => SUBMITTED,
            ToHub::Refused(_) => REFUSED,
            ToHub::Created(_) => CREATED,
        };
        let at = begin(out, kind);
        match self {
            ToHub::Ready(version, ready) => {
                out.extend_from_slice(&version.to_le_bytes());
                for text in [&ready.plugin, &ready.version, &ready.description] {
                    put_text(out, text.as_bytes());
                }
                out.extend_from_slice(&ready.abi.to_le_bytes());
                put_count(out, ready.options.len());
                for (name, is_path) in &ready.options {
                    put_text(out, name.as_bytes());
                    out.push(u8::from(*is_path));
                }
                put_text(out, ready.confined.as_bytes());
            }
            ToHub::Cannot(text) => put_text(out, text.as_bytes()),
            ToHub::Settled { delivery, outcomes } => {
                out.extend_from_slice(&delivery.to_le_bytes());
                put_outcomes(out, outcomes);
            }
            ToHub::Finished { delivery, cause, outcomes } => {
                put_finished(out, *delivery, cause, outcomes);
            }
            ToHub::LeaseDone(lease) | ToHub::Refused(lease) => out.extend_from_slice(&lease.to_le_bytes()),
            ToHub::Failed { failure, pause } => {
                let (what, status, limit, text) = match failure {
                    Failure::CreateFailed(text) => (0, 0, Duration::ZERO, text.as_str()),
                    Failure::CreatePanicked(text) => (1, 0, Duration::ZERO, text.as_str()),
                    Failure::CreateHung(limit) => (2, 0, *limit, ""),
                    Failure::Panicked(text) => (3, 0, Duration::ZERO, text.as_str()),
                    Failure::Returned { status, text } => (4, *status, Duration::ZERO, text.as_str()),
                    Failure::Hung(limit) => (5, 0, *limit, ""),
                    Failure::NoThread(text) | Failure::Died(text) => (6, 0, Duration::ZERO, text.as_str()),
                };
                out.push(what);
                out.extend_from_slice(&status.to_le_bytes());
                put_time(out, limit);
                put_text(out, text.as_bytes());
                put_time(out, *pause);
            }
            ToHub::Stopped { reason, left_behind } => {
                let (why, text) = match reason {
                    StopReason::Asked => (0, ""),
                    StopReason::Refused(text) => (1, text.as_str()),
                    StopReason::TooManyHung(_) => (2, ""),
                };
                out.push(why);
                out.extend_from_slice(&left_behind.to_le_bytes());
                put_text(out, text.as_bytes());
            }
            ToHub::Log { level, id, text } => {
                out.push(*level);
                put_text(out, id.as_bytes());
                put_text(out, text.as_bytes());
            }
            ToHub::Submit {
                request,
                eight_bit,
                smtputf8,
                as_original,
                on_hold,
                origin,
                sender,
                returned,
                envelope_id,
            } => {
                out.extend_from_slice(&request.to_le_bytes());
                let bits = [
                    (*eight_bit, EIGHT_BIT),
                    (*smtputf8, SMTPUTF8),
                    (*as_original, AS_ORIGINAL),
                    (*on_hold, ON_HOLD),
                    (origin.is_some(), HAS_ORIGIN),
                ];
                out.push(bits.into_iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum());
                put_text(out, origin.as_deref().unwrap_or_default().as_bytes());
                put_text(out, sender.as_bytes());
                out.push(returned.map_or(0, |returned| returned as u8));
                put_text(out, envelope_id.as_bytes());
            }
            ToHub::Recipients(request, recipients) => {
                out.extend_from_slice(&request.to_le_bytes());
                put_count(out, recipients.len());
                for (address, original, wishes) in recipients {
                    put_text(out, address.as_bytes());
                    put_text(out, original.as_bytes());
                    out.push(wishes.notify.bits());
                    put_text(out, wishes.original.as_bytes());
                }
            }
            ToHub::Content(request, octets) => {
                out.extend_from_slice(&request.to_le_bytes());
                out.extend_from_slice(octets);
            }
            ToHub::Submitted(request) => out.extend_from_slice(&request.to_le_bytes()),
            ToHub::Created(created) => {
                out.push(u8::from(created.is_ok()));
                put_text(out, created.as_ref().err().map_or(&b""[..], |why| why.as_bytes()));
            }
        }
        end(out, at);
    }
}

/// Appends a frame of a delivery that is back.
pub(crate) fn write_finished(out: &mut Vec<u8>, delivery: u64, cause: &Cause, outcomes: &[(u32, Outcome)]) {
    let at = begin(out, FINISHED);
    put_finished(out, delivery, cause, outcomes);
    end(out, at);
}

fn put_finished(out: &mut Vec<u8>, delivery: u64, cause: &Cause, outcomes: &[(u32, Outcome)]) {
    out.extend_from_slice(&delivery.to_le_bytes());
    out.push(match cause {
        Cause::Done => 0,
        Cause::WorkerEnded => 1,
        Cause::Hung => 2,
        Cause::NotCreated => 3,
        // A child has no child of its own.
        Cause::Stopping | Cause::Crashed { .. } => 4,
        Cause::Unusable => 5,
    });
    put_outcomes(out, outcomes);
}

fn address(fields: &mut Fields<'_>) -> Result<String, Bad> {
    match fields.text()? {
        text if text.len() <= ADDRESS_MAX => Ok(text.to_owned()),
        _ => Err(Bad("an address is longer than addresses may be")),
    }
}

pub(super) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

pub(super) fn put_time(out: &mut Vec<u8>, time: Duration) {
    out.extend_from_slice(&u64::try_from(time.as_millis()).unwrap_or(u64::MAX).to_le_bytes());
}

/// An outcome.
pub(super) fn put_outcome(out: &mut Vec<u8>, outcome: &Outcome) {
    let (kind, handover) = match outcome {
        Outcome::Delivered { handover, .. } => {
            let handover = match handover {
                Handover::Final => 0,
                Handover::Relayed => 1,
                Handover::PassedOn => 2,
            };
            (1, handover)
        }
        Outcome::Deferred { .. } => (2, 0),
        Outcome::Failed { .. } => (3, 0),
    };
    let Status { class, subject, detail } = outcome.status();
    out.extend_from_slice(&[kind, class, handover, 0]);
    out.extend_from_slice(&subject.to_le_bytes());
    out.extend_from_slice(&detail.to_le_bytes());
    put_text(out, outcome.text().as_bytes());
    put_text(out, outcome.peer().as_bytes());
}

/// A list of outcomes with their indexes.
fn put_outcomes(out: &mut Vec<u8>, outcomes: &[(u32, Outcome)]) {
    put_count(out, outcomes.len());
    for (index, outcome) in outcomes {
        out.extend_from_slice(&index.to_le_bytes());
        put_outcome(out, outcome);
    }
}

fn outcomes(fields: &mut Fields<'_>) -> Result<Vec<(u32, Outcome)>, Bad> {
    fields.list(OUTCOME_MIN, |fields| Ok((fields.u32()?, outcome(fields)?)))
}

/// An outcome. Its class is made to agree with its kind, as that of a plugin in process is.
pub(super) fn outcome(fields: &mut Fields<'_>) -> Result<Outcome, Bad> {
    let (kind, class, handover, zero) = (fields.u8()?, fields.u8()?, fields.u8()?, fields.u8()?);
    let (subject, detail) = (fields.u16()?, fields.u16()?);
    if !matches!(class, 2 | 4 | 5) || subject > 999 || detail > 999 || zero != 0 {
        return Err(Bad("an outcome has an impossible status"));
    }
    let status = |class| Status { class, subject, detail };
    let (text, peer) = (shown(fields, OUTCOME_MAX)?, shown(fields, NAME_MAX)?);
    match (kind, handover) {
        (1, 0..=2) => {
            let handover = [Handover::Final, Handover::Relayed, Handover::PassedOn][usize::from(handover)];
            Ok(Outcome::Delivered { status: status(2), text, peer, handover })
        }
        (2, 0) => Ok(Outcome::Deferred { status: status(4), text, peer }),
        (3, 0) => Ok(Outcome::Failed { status: status(5), text, peer }),
        _ => Err(Bad("an outcome is of a kind that there is not")),
    }
}
