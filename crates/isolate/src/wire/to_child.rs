//! What a hub says to its child. The hub is believed: what cannot be read here ends the child with a word about it.

use super::fields::{Bad, Fields, begin, end, put_text};
use super::to_hub::{outcome, put_count, put_outcome, put_time};
use sluice_host::{Delivery, Recipient, Setting, SettingKind, Spec};
use sluice_mail::{Notify, Outcome, Priority, RecipientWishes, Return, Time, TransferPriority, Wishes};
use std::sync::Arc;
use std::time::Duration;

const HELLO: u8 = 1;
const SEGMENT: u8 = 2;
const FORGET: u8 = 3;
const LEASE: u8 = 4;
const ANSWER: u8 = 5;
const STOP: u8 = 6;
const PREPARE: u8 = 7;

const POLL: u8 = 1;
const EIGHT_BIT: u8 = 1;
const SMTPUTF8: u8 = 2;
const MORE: u8 = 4;
const NEXT_HOP: u8 = 8;
const TRANSFER: u8 = 16;

/// How the child is to begin.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    /// Most verbose level of the log, 0 for none to 5 for everything.
    pub(crate) level: u8,
    /// It only looks at the plugin.
    pub(crate) looks: bool,
    /// Process id of the hub.
    pub(crate) hub: u32,
    /// Octets; 0 for no limit.
    pub(crate) memory: u64,
    /// The plugin's file.
    pub(crate) file: String,
    /// Paths that it may read, and read and write.
    pub(crate) read: Vec<String>,
    pub(crate) write: Vec<String>,
    pub(crate) spec: Spec,
}

/// A stretch of a file that the child knows by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) key: u32,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A delivery as it goes to the child; its content is pieces.
#[derive(Debug)]
pub(crate) struct LentDelivery {
    pub(crate) delivery: Delivery,
    pub(crate) pieces: Vec<Piece>,
}

/// A lease as it goes to the child.
#[derive(Debug)]
pub(crate) struct LentLease {
    pub(crate) lease: u64,
    pub(crate) poll: bool,
    pub(crate) deliveries: Vec<LentDelivery>,
}

/// A frame to the child.
#[derive(Debug)]
pub(crate) enum ToChild {
    Hello(Box<Hello>),
    Segment { key: u32, length: u64 },
    Forget(u32),
    Lease(LentLease),
    Answer(u32, Option<Vec<Outcome>>),
    Stop(Duration),
    Prepare,
}

fn time(fields: &mut Fields<'_>) -> Result<Duration, Bad> {
    fields.u64().map(Duration::from_millis)
}

impl ToChild {
    /// Reads the body of a frame.
    pub(crate) fn read(kind: u8, body: &[u8]) -> Result<ToChild, Bad> {
        let mut fields = Fields(body);
        let fields = &mut fields;
        let frame = match kind {
            HELLO => ToChild::Hello(Box::new(hello(fields)?)),
            SEGMENT => ToChild::Segment { key: fields.u32()?, length: fields.u64()? },
            FORGET => ToChild::Forget(fields.u32()?),
            LEASE => {
                let (lease, flags) = (fields.u64()?, fields.u8()?);
                let deliveries = fields.list(48, delivery)?;
                ToChild::Lease(LentLease { lease, poll: flags & POLL != 0, deliveries })
            }
            ANSWER => {
                let (request, closed) = (fields.u32()?, fields.u8()?);
                let answers = fields.list(16, outcome)?;
                ToChild::Answer(request, (closed == 0).then_some(answers))
            }
            STOP => ToChild::Stop(time(fields)?),
            PREPARE => ToChild::Prepare,
            _ => return Err(Bad("a frame is of a kind that there is not")),
        };
        fields.end()?;
        Ok(frame)
    }

    /// Appends the frame. Leases have [`encode_lease`] for themselves.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            ToChild::Hello(hello) => {
                let at = begin(out, HELLO);
                put_hello(out, hello);
                end(out, at);
            }
            ToChild::Segment { key, length } => {
                let at = begin(out, SEGMENT);
                out.extend_from_slice(&key.to_le_bytes());
                out.extend_from_slice(&length.to_le_bytes());
                end(out, at);
            }
            ToChild::Forget(key) => {
                let at = begin(out, FORGET);
                out.extend_from_slice(&key.to_le_bytes());
                end(out, at);
            }
            ToChild::Lease(lease) => {
                let deliveries =
                    lease.deliveries.iter().map(|lent| (lent.delivery.token, &lent.delivery, &*lent.pieces));
                encode_lease(out, lease.lease, lease.poll, deliveries);
            }
            ToChild::Answer(request, answers) => {
                let at = begin(out, ANSWER);
                out.extend_from_slice(&request.to_le_bytes());
                out.push(u8::from(answers.is_none()));
                let answers = answers.as_deref().unwrap_or_default();
                put_count(out, answers.len());
                answers.iter().for_each(|answer| put_outcome(out, answer));
                end(out, at);
            }
            ToChild::Stop(deadline) => {
                let at = begin(out, STOP);
                put_time(out, *deadline);
                end(out, at);
            }
            ToChild::Prepare => {
                let at = begin(out, PREPARE);
                end(out, at);
            }
        }
    }
}

fn hello(fields: &mut Fields<'_>) -> Result<Hello, Bad> {
    Ok(Hello {
        version: fields.u16()?,
        level: fields.u8()?,
        looks: fields.u8()? != 0,
        hub: fields.u32()?,
        memory: fields.u64()?,
        file: fields.string()?,
        read: fields.list(4, Fields::string)?,
        write: fields.list(4, Fields::string)?,
        spec: spec(fields)?,
    })
}

fn put_hello(out: &mut Vec<u8>, hello: &Hello) {
    out.extend_from_slice(&hello.version.to_le_bytes());
    out.extend_from_slice(&[hello.level, u8::from(hello.looks)]);
    out.extend_from_slice(&hello.hub.to_le_bytes());
    out.extend_from_slice(&hello.memory.to_le_bytes());
    put_text(out, hello.file.as_bytes());
    for paths in [&hello.read, &hello.write] {
        put_count(out, paths.len());
        paths.iter().for_each(|path| put_text(out, path.as_bytes()));
    }
    put_spec(out, &hello.spec);
}

fn spec(fields: &mut Fields<'_>) -> Result<Spec, Bad> {
    let mut spec = Spec::new(fields.string()?, Vec::new());
    spec.max_workers = fields.u32()?;
    spec.queue_bound = fields.u32()? as usize;
    spec.deadline = time(fields)?;
    spec.create_deadline = time(fields)?;
    spec.idle_exit = time(fields)?;
    spec.held_max = fields.u32()? as usize;
    spec.hung_max = fields.u32()?;
    spec.pause_first = time(fields)?;
    spec.pause_max = time(fields)?;
    spec.settings = fields.list(9, |fields| {
        let kind = match fields.u8()? {
            0 => SettingKind::Keyword,
            1 => SettingKind::Option,
            2 => SettingKind::Fact,
            _ => return Err(Bad("a setting is of a kind that there is not")),
        };
        Ok(Setting { kind, name: fields.string()?, value: fields.string()? })
    })?;
    Ok(spec)
}

fn put_spec(out: &mut Vec<u8>, spec: &Spec) {
    put_text(out, spec.channel.as_bytes());
    out.extend_from_slice(&spec.max_workers.to_le_bytes());
    put_count(out, spec.queue_bound);
    for time in [spec.deadline, spec.create_deadline, spec.idle_exit] {
        put_time(out, time);
    }
    put_count(out, spec.held_max);
    out.extend_from_slice(&spec.hung_max.to_le_bytes());
    put_time(out, spec.pause_first);
    put_time(out, spec.pause_max);
    put_count(out, spec.settings.len());
    for setting in &spec.settings {
        out.push(match setting.kind {
            SettingKind::Keyword => 0,
            SettingKind::Option => 1,
            SettingKind::Fact => 2,
        });
        put_text(out, setting.name.as_bytes());
        put_text(out, setting.value.as_bytes());
    }
}

/// Appends a lease: deliveries with the numbers by which the child is to know them.
pub(crate) fn encode_lease<'d>(
    out: &mut Vec<u8>,
    lease: u64,
    poll: bool,
    deliveries: impl ExactSizeIterator<Item = (u64, &'d Delivery, &'d [Piece])>,
) {
    let at = begin(out, LEASE);
    out.extend_from_slice(&lease.to_le_bytes());
    out.push(if poll { POLL } else { 0 });
    put_count(out, deliveries.len());
    for (number, delivery, pieces) in deliveries {
        put_delivery(out, number, delivery, pieces);
    }
    end(out, at);
}

fn put_delivery(out: &mut Vec<u8>, number: u64, delivery: &Delivery, pieces: &[Piece]) {
    out.extend_from_slice(&number.to_le_bytes());
    for text in [&*delivery.id, &*delivery.sender, &*delivery.domain] {
        put_text(out, text.as_bytes());
    }
    out.extend_from_slice(&delivery.attempts.to_le_bytes());
    out.extend_from_slice(&delivery.arrived.0.to_le_bytes());
    let bits = [
        (delivery.eight_bit, EIGHT_BIT),
        (delivery.smtputf8, SMTPUTF8),
        (delivery.more_follows, MORE),
        (delivery.next_hop.is_some(), NEXT_HOP),
        (delivery.wishes.priority.is_some(), TRANSFER),
    ];
    let flags = bits.into_iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum();
    let transfer = delivery.wishes.priority.map_or(0, |priority| priority.number());
    let returned = delivery.wishes.returned.map_or(0, |returned| returned as u8);
    out.extend_from_slice(&[delivery.priority as u8, flags, transfer.to_le_bytes()[0], returned]);
    put_text(out, delivery.wishes.envelope_id.as_bytes());
    put_count(out, delivery.recipients.len());
    for recipient in &delivery.recipients {
        out.extend_from_slice(&recipient.index.to_le_bytes());
        put_text(out, recipient.address.as_bytes());
        put_text(out, recipient.original.as_bytes());
        out.push(recipient.wishes.notify.bits());
        put_text(out, recipient.wishes.original.as_bytes());
    }
    if let Some(hop) = &delivery.next_hop {
        put_text(out, hop.as_bytes());
    }
    put_count(out, pieces.len());
    for piece in pieces {
        out.extend_from_slice(&piece.key.to_le_bytes());
        out.extend_from_slice(&piece.offset.to_le_bytes());
        out.extend_from_slice(&piece.length.to_le_bytes());
    }
}

fn delivery(fields: &mut Fields<'_>) -> Result<LentDelivery, Bad> {
    let token = fields.u64()?;
    let (id, sender) = (fields.string()?, fields.string()?);
    let domain: Arc<str> = fields.text()?.into();
    let attempts = fields.u32()?;
    let arrived = Time(fields.u64()?);
    let priority = Priority::from_number(fields.u8()?).ok_or(Bad("there is no such priority"))?;
    let flags = fields.u8()?;
    let transfer = i8::from_le_bytes([fields.u8()?]);
    let transfer = match flags & TRANSFER != 0 {
        true => Some(TransferPriority::new(transfer).ok_or(Bad("there is no such priority"))?),
        false => None,
    };
    let returned = Return::from_number(fields.u8()?).ok_or(Bad("there is no such wish"))?;
    let envelope_id = fields.string()?;
    let recipients = fields.list(17, |fields| {
        Ok(Recipient {
            index: fields.u32()?,
            address: fields.string()?,
            original: fields.string()?,
            wishes: RecipientWishes {
                notify: Notify::from_bits(fields.u8()?).ok_or(Bad("there is no such wish"))?,
                original: fields.string()?,
            },
        })
    })?;
    let next_hop = if flags & NEXT_HOP == 0 { None } else { Some(fields.text()?.into()) };
    let pieces = fields
        .list(20, |fields| Ok(Piece { key: fields.u32()?, offset: fields.u64()?, length: fields.u64()? }))?;
    let delivery = Delivery {
        token,
        id,
        sender,
        source_channel: String::new(),
        domain,
        recipients,
        content: Arc::new(Vec::new()),
        attempts,
        arrived,
        priority,
        eight_bit: flags & EIGHT_BIT != 0,
        smtputf8: flags & SMTPUTF8 != 0,
        wishes: Wishes { returned, envelope_id, later: None, priority: transfer },
        more_follows: flags & MORE != 0,
        next_hop,
        suspect: false,
    };
    Ok(LentDelivery { delivery, pieces })
}
