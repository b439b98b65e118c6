//! The recorder: what each worker did last, in a mapped file that survives whoever wrote it.
//!
//! A worker writes a few words before it lets the plugin go on, without a system call. When the process is found dead (the
//! hub at its next start, a child by its hub) the words say which plugin was in whose code, and with which message. The
//! layout is drawn in `docs/internals/isolation.md`, and a test reads an example by it.
//!
//! # Invariants
//! Words are written one by one and without order: what is read is the memory of a dead, not a ledger, and is bounded and
//! made one line before it is shown.
//! # Not here
//! What follows from it (`isolate` for a child, the program for itself).
#![allow(unsafe_code)]

use crate::log::one_line;
use memmap2::{MmapOptions, MmapRaw};
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const MAGIC: u64 = u64::from_le_bytes(*b"SLUICREC");
const VERSION: u32 = 1;
/// Workers that have a slot at a time; more than a busy hub has. The others are not recorded.
const SLOTS: usize = 256;
const WORD: usize = 8;
const HEAD: usize = 64 / WORD;
const SLOT: usize = 1024 / WORD;
/// Length of the file.
const LENGTH: usize = (HEAD + SLOTS * SLOT) * WORD;

// Words of the head.
const SIZES: usize = 1;
const WRITER: usize = 2;
// Words of a slot.
const LAST: usize = 0;
const SINCE: usize = 1;
const CALLS: usize = 2;
const ID: usize = 3;
const CHANNEL: usize = 6;
const PLUGIN: usize = 14;
const HELD: usize = 64;
/// Words of a text in a slot.
const ID_WORDS: usize = 3;
const NAME_WORDS: usize = 8;
/// Most held deliveries that are recorded.
pub(crate) const HELD_MAX: usize = 64;

const _: () = assert!(HELD + HELD_MAX == SLOT && PLUGIN + NAME_WORDS <= HELD);

/// What crossed the edge between host and plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Call {
    /// `create` was called.
    Create = 1,
    /// `run` was called.
    Run = 2,
    /// `next` lent a delivery.
    Lent = 3,
    /// A recipient was settled.
    Settled = 4,
    /// A delivery was finished.
    Finished = 5,
    /// Mail was brought in.
    Enqueued = 6,
    /// `stop` was called.
    Stop = 7,
    /// `destroy` was called.
    Destroy = 8,
    /// The worker waits in `next`, outside of the plugin.
    Waits = 9,
    /// `next` had nothing in that time.
    Idle = 10,
    /// `next` asked for a poll.
    Poll = 11,
    /// `next` said that the worker is to end.
    ToldToStop = 12,
}

impl Call {
    fn of(number: u64) -> Option<Call> {
        use Call::{
            Create, Destroy, Enqueued, Finished, Idle, Lent, Poll, Run, Settled, Stop, ToldToStop, Waits,
        };
        let all =
            [Create, Run, Lent, Settled, Finished, Enqueued, Stop, Destroy, Waits, Idle, Poll, ToldToStop];
        all.into_iter().find(|call| *call as u64 == number)
    }

    /// What the worker was doing, for a sentence that begins with it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Call::Create => "was in `create`",
            Call::Run => "had begun `run`",
            Call::Lent => "had been lent a delivery",
            Call::Settled => "had settled a recipient",
            Call::Finished => "had finished a delivery",
            Call::Enqueued => "had brought mail in",
            Call::Stop => "was in `stop`",
            Call::Destroy => "was in `destroy`",
            Call::Waits => "waited for work",
            Call::Idle => "had been told that there is no work",
            Call::Poll => "had been told to poll",
            Call::ToldToStop => "had been told to stop",
        }
    }
}

/// What a slot says of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastCall {
    /// Its channel.
    pub channel: String,
    /// Its plugin.
    pub plugin: String,
    /// What crossed the edge last.
    pub call: Call,
    /// How often anything did.
    pub calls: u64,
    /// Id of the delivery that it was lent last; empty for none.
    pub id: String,
    /// Tokens of the deliveries that it held.
    pub held: Vec<u64>,
}

/// A recorder that workers of this process write to.
pub struct Recorder {
    map: MmapRaw,
    /// Slots in use, by bits.
    used: Mutex<[u64; SLOTS / 64]>,
}

impl Recorder {
    /// Begins a recorder in a file that can be read and written, whatever was in it.
    ///
    /// # Errors
    /// The file cannot be made long enough, or mapped.
    pub fn begin(file: &File) -> io::Result<Arc<Recorder>> {
        // Not shortened first: another who has it mapped would die of that.
        if file.metadata()?.len() < LENGTH as u64 {
            file.set_len(LENGTH as u64)?;
        }
        file.write_all_at(&vec![0; LENGTH], 0)?;
        let map = MmapOptions::new().len(LENGTH).map_raw(file)?;
        let recorder = Recorder { map, used: Mutex::new([0; SLOTS / 64]) };
        let words = recorder.words();
        words[SIZES].store(u64::from(VERSION) | (SLOTS as u64) << 32, Ordering::Relaxed);
        words[WRITER].store(u64::from(std::process::id()), Ordering::Relaxed);
        words[0].store(MAGIC.to_le(), Ordering::Release);
        Ok(Arc::new(recorder))
    }

    /// Octets that a recorder's file has.
    #[must_use]
    pub const fn length() -> u64 {
        LENGTH as u64
    }

    /// Nobody is to make anything of what stands there: the process ends as it should.
    pub fn end(&self) {
        self.words()[WRITER].store(0, Ordering::Relaxed);
    }

    /// What the writer of a recorder was doing when it ended, and its process id; `None` when it ended as it should, or when
    /// this is no recorder. Whoever wrote it may have written anything.
    #[must_use]
    pub fn read(file: &File) -> Option<(u32, Vec<LastCall>)> {
        let mut octets = vec![0; LENGTH];
        file.read_exact_at(&mut octets, 0).ok()?;
        let words: Vec<u64> = octets
            .chunks_exact(WORD)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()))
            .collect();
        let writer = words[WRITER] as u32;
        if words[0] != MAGIC || words[SIZES] as u32 != VERSION || writer == 0 {
            return None;
        }
        let text = |slot: usize, word: usize, most: usize| {
            let at = (HEAD + slot * SLOT + word) * WORD;
            let octets = &octets[at..at + most * WORD];
            let end = octets.iter().position(|octet| *octet == 0).unwrap_or(octets.len());
            one_line(&octets[..end], octets.len())
        };
        let calls = (0..SLOTS).filter_map(|slot| {
            let words = &words[HEAD + slot * SLOT..][..SLOT];
            Some(LastCall {
                call: Call::of(words[LAST])?,
                calls: words[CALLS],
                id: text(slot, ID, ID_WORDS),
                channel: text(slot, CHANNEL, NAME_WORDS),
                plugin: text(slot, PLUGIN, NAME_WORDS),
                held: words[HELD..].iter().copied().filter(|token| *token != 0).collect(),
            })
        });
        Some((writer, calls.collect()))
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the map is LENGTH octets long, a multiple of a word, begins at a page, and lives as long as `self`. All
        // who write to it in this process do it through these atomic words; what others do to the file gives other
        // numbers, which nobody here reads. It is not made shorter: it is a file that only this user may write (the
        // program makes it in the spool folder), or a memfd that is sealed against that (`isolate`).
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), LENGTH / WORD) }
    }

    /// A slot for a worker; `None` when all are taken.
    pub(crate) fn slot(self: &Arc<Self>, channel: &str, plugin: &str) -> Option<Slot> {
        let number = {
            let mut used = self.used.lock();
            let (at, bits) = used.iter_mut().enumerate().find(|(_, bits)| **bits != u64::MAX)?;
            let bit = bits.trailing_ones() as usize;
            *bits |= 1 << bit;
            at * 64 + bit
        };
        let slot = Slot { recorder: Arc::clone(self), first: HEAD + number * SLOT };
        for word in slot.words() {
            word.store(0, Ordering::Relaxed);
        }
        slot.text(CHANNEL, NAME_WORDS, channel);
        slot.text(PLUGIN, NAME_WORDS, plugin);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        slot.words()[SINCE].store(now.as_millis() as u64, Ordering::Relaxed);
        Some(slot)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Recorder").finish_non_exhaustive()
    }
}

/// One worker's place in a recorder. Dropping it frees the place.
pub(crate) struct Slot {
    recorder: Arc<Recorder>,
    first: usize,
}

impl Slot {
    fn words(&self) -> &[AtomicU64] {
        &self.recorder.words()[self.first..self.first + SLOT]
    }

    fn text(&self, word: usize, most: usize, text: &str) {
        let mut octets = [0_u8; NAME_WORDS * WORD];
        let length = text.len().min(most * WORD);
        octets[..length].copy_from_slice(&text.as_bytes()[..length]);
        for (word, octets) in self.words()[word..word + most].iter().zip(octets.chunks_exact(WORD)) {
            word.store(u64::from_ne_bytes(octets.try_into().unwrap_or_default()), Ordering::Relaxed);
        }
    }

    /// Something crosses the edge.
    pub(crate) fn note(&self, call: Call) {
        let words = self.words();
        words[LAST].store((call as u64).to_le(), Ordering::Relaxed);
        if call != Call::Waits {
            let calls = words[CALLS].load(Ordering::Relaxed);
            words[CALLS].store(calls.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// A delivery is lent, as one of those that are held.
    pub(crate) fn lent(&self, place: usize, token: u64, id: &str) {
        self.text(ID, ID_WORDS, id);
        self.held(place, token);
        self.note(Call::Lent);
    }

    /// What is held in a place; 0 for nothing.
    pub(crate) fn held(&self, place: usize, token: u64) {
        if place < HELD_MAX {
            self.words()[HELD + place].store(token.to_le(), Ordering::Relaxed);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.words()[LAST].store(0, Ordering::Relaxed);
        let number = (self.first - HEAD) / SLOT;
        self.recorder.used.lock()[number / 64] &= !(1 << (number % 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder() -> (File, Arc<Recorder>) {
        let file = tempfile::tempfile().unwrap();
        let recorder = Recorder::begin(&file).unwrap();
        (file, recorder)
    }

    #[test]
    fn what_a_worker_did_last_is_read_by_others() {
        let (file, recorder) = recorder();
        let slot = recorder.slot("tcp_local", "tcp").unwrap();
        slot.note(Call::Create);
        slot.lent(0, 7, "0123456789ABCDEF");
        slot.lent(1, 8, "FEDCBA9876543210");
        slot.held(0, 0);
        slot.note(Call::Finished);
        let (writer, calls) = Recorder::read(&file).unwrap();
        assert_eq!(writer, std::process::id());
        let expected = LastCall {
            channel: "tcp_local".into(),
            plugin: "tcp".into(),
            call: Call::Finished,
            calls: 4,
            id: "FEDCBA9876543210".into(),
            held: vec![8],
        };
        assert_eq!(calls, [expected]);
        drop(slot);
        assert_eq!(Recorder::read(&file).unwrap().1, []);
        recorder.end();
        assert_eq!(Recorder::read(&file), None, "it ended as it should");
    }

    #[test]
    fn words_are_where_the_document_draws_them() {
        let (file, recorder) = recorder();
        let slot = recorder.slot("c", "p").unwrap();
        slot.lent(63, 0x0102_0304_0506_0708, "ID");
        let mut octets = vec![0; LENGTH];
        file.read_exact_at(&mut octets, 0).unwrap();
        assert_eq!(&octets[..8], b"SLUICREC");
        assert_eq!(octets[8..16], [1, 0, 0, 0, 0, 1, 0, 0], "version and slots");
        assert_eq!(octets[16..20], std::process::id().to_le_bytes());
        let slot = &octets[64..64 + 1024];
        assert_eq!((slot[0], slot[16]), (3, 1), "lent, one call");
        assert!(slot[8..16].iter().any(|octet| *octet != 0), "since when");
        assert_eq!((&slot[24..27], &slot[48..50], &slot[112..114]), (&b"ID\0"[..], &b"c\0"[..], &b"p\0"[..]));
        assert_eq!(slot[512 + 63 * 8..], [8, 7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn slots_are_given_back_and_run_out() {
        let (_file, recorder) = recorder();
        let mut slots: Vec<Slot> = (0..SLOTS).map(|_| recorder.slot("c", "p").unwrap()).collect();
        assert!(recorder.slot("c", "p").is_none());
        slots.remove(100);
        assert!(recorder.slot("c", "p").is_some());
    }

    #[test]
    fn what_is_no_recorder_or_was_written_over_is_read_without_harm() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Recorder::read(&file), None);
        file.write_all_at(&vec![0xff; LENGTH], 0).unwrap();
        assert_eq!(Recorder::read(&file), None);
        let (file, recorder) = recorder();
        let slot = recorder.slot(&"n".repeat(500), "\u{1b}[2J").unwrap();
        slot.lent(1000, 5, &"i".repeat(100));
        file.write_all_at(&[0xff; 24], 64 + 24).unwrap();
        let (_, calls) = Recorder::read(&file).unwrap();
        assert_eq!((calls[0].channel.len(), calls[0].plugin.as_str()), (64, r"\u{1b}[2J"));
        assert_eq!(calls[0].held, [] as [u64; 0]);
        file.write_all_at(&[0xff; 8], 64).unwrap();
        assert_eq!(Recorder::read(&file).unwrap().1, [], "a call that there is not");
    }
}
