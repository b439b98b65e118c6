//! The queue state of a message as bytes: what the journal and the checkpoint keep beside each message.
//!
//! The layout is drawn in `docs/internals/queue-state.md`; a test there reads the example printed in it. A message that
//! has no state yet is as its envelope says. The bytes carry no checksum: the spool checks the record around them.

use sluice_mail::{Priority, Status, Time, TransferPriority};

use crate::last_error::LastError;

/// First byte of every state.
const VERSION: u8 = 1;
/// Priority of a message that has none of the three words: this and its level.
const LEVELS: u8 = 16;
/// Flags of a group.
const HELD: u8 = 1;
const DEFERRED: u8 = 2;
/// Why the last attempt was deferred follows the open recipients.
const HAS_ERROR: u8 = 4;
/// Due time of what waits for a release.
const NEVER: u64 = u64::MAX;
/// Count of open recipients that stands for "all".
const ALL: u32 = u32::MAX;

/// What is kept of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageState {
    /// How urgent it is.
    pub priority: TransferPriority,
    /// When it was accepted; its age is counted from here.
    pub arrived: Time,
    /// Its entries.
    pub groups: Vec<Group>,
}

/// What is kept of an entry: the recipients with one channel and one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Name of the channel.
    pub channel: String,
    /// The destination domain.
    pub domain: String,
    /// On hold.
    pub held: bool,
    /// Waits for the sender's date, which is `due`.
    pub deferred: bool,
    /// Attempts made, stays at 65535.
    pub attempts: u16,
    /// How many of the channel's `backoff` waits were used up.
    pub step: u8,
    /// How many of the channel's `notices` ages were acted upon.
    pub noticed: u8,
    /// How many processes of its channel's plugin have died with it in hand; stays at 255.
    pub crashes: u8,
    /// How many recipients it was made for; stays at 65535. 0: an earlier version did not say.
    pub recipients: u16,
    /// `None`: not before a release.
    pub due: Option<Time>,
    /// Open recipients, when that is not all of them.
    pub open: Option<Vec<u32>>,
    /// When it was deferred last, and why.
    pub error: Option<(Time, LastError)>,
}

/// Bytes that are not a queue state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Written by a version that this program does not know.
    #[error("queue state of version {0}, this program reads version {VERSION}")]
    Version(u8),
    /// It ends early.
    #[error("queue state ends early")]
    Short,
    /// It goes on behind its end.
    #[error("queue state has {0} bytes too many")]
    Long(usize),
    /// There is no such priority.
    #[error("queue state has priority {0}")]
    Priority(u8),
    /// Flags that mean nothing.
    #[error("queue state has flags {0:#04x} that mean nothing")]
    Flags(u8),
    /// A name that is not UTF-8.
    #[error("queue state has a name that is not UTF-8")]
    Name,
}

/// Writes a state group by group, so that a checkpoint needs no allocation per entry.
#[derive(Debug)]
pub(crate) struct StateWriter<'a> {
    out: &'a mut Vec<u8>,
    count_at: usize,
    count: u16,
}

impl<'a> StateWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, priority: TransferPriority, arrived: Time) -> Self {
        let word = priority.class();
        let is_word = priority == word.into();
        let written = if is_word { word as u8 } else { LEVELS + priority.level() };
        out.extend_from_slice(&[VERSION, written]);
        let count_at = out.len();
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&arrived.0.to_le_bytes());
        Self { out, count_at, count: 0 }
    }

    pub(crate) fn group(&mut self, group: &GroupRef<'_>) {
        let (out, name) = (&mut *self.out, |text: &str| u16::try_from(text.len()).unwrap_or(u16::MAX));
        let flags = u8::from(group.held) * HELD
            + u8::from(group.deferred) * DEFERRED
            + u8::from(group.error.is_some()) * HAS_ERROR;
        out.extend_from_slice(&[flags, group.step, group.noticed, group.crashes]);
        out.extend_from_slice(&group.attempts.to_le_bytes());
        out.extend_from_slice(&name(group.channel).to_le_bytes());
        out.extend_from_slice(&name(group.domain).to_le_bytes());
        out.extend_from_slice(&group.recipients.to_le_bytes());
        out.extend_from_slice(&group.due.map_or(NEVER, |due| due.0).to_le_bytes());
        let open = group.open.map_or(ALL, |open| u32::try_from(open.len()).unwrap_or(ALL));
        out.extend_from_slice(&open.to_le_bytes());
        out.extend_from_slice(&group.channel.as_bytes()[..usize::from(name(group.channel))]);
        out.extend_from_slice(&group.domain.as_bytes()[..usize::from(name(group.domain))]);
        for index in group.open.unwrap_or_default() {
            out.extend_from_slice(&index.to_le_bytes());
        }
        if let Some((at, error)) = group.error {
            write_error(out, at, error);
        }
        self.count = self.count.saturating_add(1);
        self.out[self.count_at..self.count_at + 2].copy_from_slice(&self.count.to_le_bytes());
    }
}

/// The texts of an error are short enough for their lengths ([`LastError::new`]).
fn write_error(out: &mut Vec<u8>, at: Time, error: &LastError) {
    let length = |text: &str| u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&at.0.to_le_bytes());
    out.extend_from_slice(&[error.status.class, 0]);
    for number in [error.status.subject, error.status.detail, length(&error.text), length(&error.peer)] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for text in [&error.text, &error.peer] {
        out.extend_from_slice(&text.as_bytes()[..usize::from(length(text))]);
    }
}

/// A [`Group`] that borrows.
#[derive(Debug)]
pub(crate) struct GroupRef<'a> {
    pub(crate) channel: &'a str,
    pub(crate) domain: &'a str,
    pub(crate) held: bool,
    pub(crate) deferred: bool,
    pub(crate) attempts: u16,
    pub(crate) step: u8,
    pub(crate) noticed: u8,
    pub(crate) crashes: u8,
    pub(crate) recipients: u16,
    pub(crate) due: Option<Time>,
    pub(crate) open: Option<&'a [u32]>,
    pub(crate) error: Option<(Time, &'a LastError)>,
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], StateError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(StateError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        self.take(N)?.try_into().map_err(|_| StateError::Short)
    }

    fn name(&mut self, count: u16) -> Result<String, StateError> {
        let bytes = self.take(usize::from(count))?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| StateError::Name)
    }
}

impl MessageState {
    /// Reads the bytes of a state.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut bytes = Bytes(bytes);
        let [version, priority] = bytes.array()?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let word = Priority::from_number(priority).map(TransferPriority::from);
        let level = || TransferPriority::at_level(priority.checked_sub(LEVELS)?);
        let priority = word.or_else(level).ok_or(StateError::Priority(priority))?;
        let count = u16::from_le_bytes(bytes.array()?);
        let arrived = Time(u64::from_le_bytes(bytes.array()?));
        let mut groups = Vec::new();
        for _ in 0..count {
            groups.push(Group::decode(&mut bytes)?);
        }
        if bytes.0.is_empty() {
            Ok(Self { priority, arrived, groups })
        } else {
            Err(StateError::Long(bytes.0.len()))
        }
    }
}

impl Group {
    fn decode(bytes: &mut Bytes<'_>) -> Result<Self, StateError> {
        let [flags, step, noticed, crashes] = bytes.array()?;
        if flags & !(HELD | DEFERRED | HAS_ERROR) != 0 {
            return Err(StateError::Flags(flags));
        }
        let attempts = u16::from_le_bytes(bytes.array()?);
        let channel = u16::from_le_bytes(bytes.array()?);
        let domain = u16::from_le_bytes(bytes.array()?);
        let recipients = u16::from_le_bytes(bytes.array()?);
        let due = u64::from_le_bytes(bytes.array()?);
        let open = u32::from_le_bytes(bytes.array()?);
        let (channel, domain) = (bytes.name(channel)?, bytes.name(domain)?);
        let open = if open == ALL {
            None
        } else {
            let length =
                usize::try_from(open).ok().and_then(|count| count.checked_mul(4)).ok_or(StateError::Short)?;
            let numbers = bytes.take(length)?.chunks_exact(4);
            Some(numbers.map(|n| u32::from_le_bytes([n[0], n[1], n[2], n[3]])).collect())
        };
        let error = if flags & HAS_ERROR == 0 { None } else { Some(decode_error(bytes)?) };
        let due = (due != NEVER).then_some(Time(due));
        let (held, deferred) = (flags & HELD != 0, flags & DEFERRED != 0);
        Ok(Self {
            channel,
            domain,
            held,
            deferred,
            attempts,
            step,
            noticed,
            crashes,
            recipients,
            due,
            open,
            error,
        })
    }
}

fn decode_error(bytes: &mut Bytes<'_>) -> Result<(Time, LastError), StateError> {
    let at = Time(u64::from_le_bytes(bytes.array()?));
    let [class, _] = bytes.array()?;
    let mut number = || bytes.array().map(u16::from_le_bytes);
    let (subject, detail, text, peer) = (number()?, number()?, number()?, number()?);
    let (text, peer) = (bytes.name(text)?, bytes.name(peer)?);
    Ok((at, LastError::new(Status::new(class, subject, detail), &text, &peer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(state: &MessageState) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = StateWriter::new(&mut out, state.priority, state.arrived);
        for group in &state.groups {
            writer.group(&GroupRef {
                channel: &group.channel,
                domain: &group.domain,
                held: group.held,
                deferred: group.deferred,
                recipients: group.recipients,
                attempts: group.attempts,
                step: group.step,
                noticed: group.noticed,
                crashes: group.crashes,
                due: group.due,
                open: group.open.as_deref(),
                error: group.error.as_ref().map(|(at, error)| (*at, error)),
            });
        }
        out
    }

    fn example() -> MessageState {
        let tcp = Group {
            channel: "tcp_local".into(),
            domain: "example.com".into(),
            held: false,
            deferred: false,
            recipients: 5,
            attempts: 3,
            step: 2,
            noticed: 1,
            crashes: 0,
            due: Some(Time(1_790_000_060_000)),
            open: Some(vec![1, 4]),
            error: Some((
                Time(1_790_000_030_000),
                LastError::new(Status::new(4, 2, 2), "mailbox full", "mx.example.com"),
            )),
        };
        let dialup = Group {
            channel: "tcp_dialup".into(),
            domain: "site.example".into(),
            held: true,
            deferred: false,
            recipients: 1,
            attempts: 0,
            step: 0,
            noticed: 0,
            crashes: 0,
            due: None,
            open: None,
            error: None,
        };
        MessageState {
            priority: TransferPriority::NORMAL,
            arrived: Time(1_790_000_000_000),
            groups: vec![tcp, dialup],
        }
    }

    /// The example as it is printed in the document: hexadecimal bytes between the fences of the first `hex` block.
    fn printed() -> Vec<u8> {
        let page = include_str!("../../../docs/internals/queue-state.md");
        let block = page
            .split("```hex\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .expect("the page has a hex block");
        let bytes = block.lines().flat_map(|line| line.split("  ").next().unwrap_or("").split_whitespace());
        bytes.map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits")).collect()
    }

    #[test]
    fn the_document_shows_what_is_written() {
        assert_eq!(MessageState::decode(&printed()), Ok(example()), "ours: {:02x?}", encode(&example()));
        assert_eq!(encode(&example()), printed());
    }

    #[test]
    fn words_are_written_as_ever_and_other_priorities_as_levels() {
        for (number, byte) in [(4, 0), (0, 1), (-4, 2), (9, 16), (1, 24), (-1, 26), (-9, 34)] {
            let priority = TransferPriority::new(number).expect("from -9 to 9");
            let state = MessageState { priority, ..example() };
            assert_eq!(encode(&state)[1], byte, "{number}");
            assert_eq!(MessageState::decode(&encode(&state)), Ok(state));
        }
    }

    #[test]
    fn crashes_are_counted_where_there_was_a_zero() {
        let mut state = example();
        state.groups[0].crashes = 2;
        let bytes = encode(&state);
        assert_eq!((bytes.len(), bytes[15]), (printed().len(), 2));
        assert_eq!(MessageState::decode(&bytes), Ok(state));
    }

    #[test]
    fn what_is_not_a_state_is_said_and_nothing_panics() {
        let whole = encode(&example());
        for length in 0..whole.len() {
            assert_eq!(MessageState::decode(&whole[..length]), Err(StateError::Short), "{length} bytes");
        }
        let with = |at: usize, value: u8| {
            let mut bytes = whole.clone();
            bytes[at] = value;
            MessageState::decode(&bytes)
        };
        assert_eq!(with(0, 2), Err(StateError::Version(2)));
        for value in [3, 15, 35, 255] {
            assert_eq!(with(1, value), Err(StateError::Priority(value)));
        }
        assert_eq!(with(12, 8), Err(StateError::Flags(8)));
        assert_eq!(with(36, 0xff), Err(StateError::Name));
        let long = [&whole[..], b"xy"].concat();
        assert_eq!(MessageState::decode(&long), Err(StateError::Long(2)));
        // A count of recipients that no memory would hold is seen to be too long before anything is reserved.
        let mut bytes = whole;
        bytes[32..36].copy_from_slice(&(u32::MAX - 1).to_le_bytes());
        assert_eq!(MessageState::decode(&bytes), Err(StateError::Short));
    }
}
