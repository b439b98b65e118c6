//! Which segments are still needed, and by whom.
//!
//! A segment is needed while a live entry has its record in it, while a live entry has a chunk of its body in it, or
//! while a draft has written a chunk to it. Only the writer thread has the books, so there is no lock. An entry costs
//! twelve bytes in the list of its segment, which is in the order of the file; states are the owner's and are not here.
//!
//! Entries of a segment that has few left may be moved to another ([`Books::sparse`], [`Books::moved`]). Their owner goes on
//! using the place that he was told first; the books know both.
//!
//! Not here: *when* a segment may go. It goes only after the removals are durable (`writer`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::brief::brief_list;
use crate::checkpoint::LiveRow;
use crate::ids::{EntryId, Location};
use crate::room::GivesBack;

/// What a record has beside its body: header, head, envelope. A guess; envelopes are not looked at for it.
const BESIDE_BODY: u64 = 512;
/// Lists that are shorter are not tidied.
const TIDY_MIN: usize = 64;

#[derive(Default)]
struct Book {
    /// By offset. Those that are settled stay until they are many.
    lines: Vec<Line>,
    live: usize,
    /// Entries with chunks here and their record elsewhere.
    refs: usize,
    /// Cloned by drafts with chunks here.
    pin: Arc<()>,
    /// When something in it was last settled, or when a start found it. `None`: all that came into it is there, and as long
    /// as that is so there is nothing to give back.
    settled: Option<Instant>,
    /// Ids that do not fit into a line, with the offsets of their records.
    far: Vec<(u32, EntryId)>,
    /// Its entries cannot be moved: something in it cannot be read.
    stays: bool,
    /// The disk kept part of it back at this start: what was lost by that may be readable one day.
    goes_aside: bool,
}

/// An entry in the list of its segment, 96 bits: 4 and 16 of the length of its body, 27 of its offset in eights (a segment has a
/// gibibyte at most), one that says that it is settled, 48 of its id. What does not fit is kept beside the lists.
#[derive(Clone, Copy)]
struct Line([u32; 3]);

/// Stands for a length that is among the long ones.
const LONG: u64 = (1 << 20) - 1;
/// Stands for an id that is among the far ones: at a thousand messages a second, nine thousand years away.
const FAR: u64 = (1 << 48) - 1;
const _: () = assert!(size_of::<Line>() == 12);
const _: () = assert!(crate::spool::FILE_SIZE_MAX <= 1 << 30 && crate::record::ALIGNMENT == 8);

impl Line {
    fn new(id: EntryId, offset: u32, body_len: u64) -> Line {
        debug_assert!(offset.is_multiple_of(8) && u64::from(offset) < crate::spool::FILE_SIZE_MAX);
        let (id, body_len) = (id.0.min(FAR), body_len.min(LONG));
        let place = (offset >> 2) & 0x0fff_fffe;
        let low = |number: u64, bits: u32| (number & ((1 << bits) - 1)) as u32;
        Line([low(body_len >> 16, 4) << 28 | place, low(id, 32), low(id >> 32, 16) << 16 | low(body_len, 16)])
    }

    fn offset(self) -> u32 {
        (self.0[0] & 0x0fff_fffe) << 2
    }

    fn is_settled(self) -> bool {
        self.0[0] & 1 != 0
    }

    fn settle(&mut self) {
        self.0[0] |= 1;
    }

    /// [`LONG`] when it is not here.
    fn body_len(self) -> u64 {
        u64::from(self.0[0] >> 28) << 16 | u64::from(self.0[2] & 0xffff)
    }

    /// [`FAR`] when it is not here.
    fn id(self) -> u64 {
        u64::from(self.0[2] >> 16) << 32 | u64::from(self.0[1])
    }
}

impl Book {
    fn find(&self, id: EntryId, offset: u32) -> Option<usize> {
        let place = self.lines.binary_search_by_key(&offset, |line| line.offset()).ok()?;
        let line = self.lines[place];
        (self.id(line) == id && !line.is_settled()).then_some(place)
    }

    fn id(&self, line: Line) -> EntryId {
        match line.id() {
            FAR => {
                self.far.iter().find(|(offset, _)| *offset == line.offset()).map_or(EntryId(FAR), |far| far.1)
            }
            id => EntryId(id),
        }
    }

    fn live(&self) -> impl Iterator<Item = Line> {
        self.lines.iter().copied().filter(|line| !line.is_settled())
    }
}

/// The books of all segments.
#[derive(Default)]
pub(crate) struct Books {
    segments: BTreeMap<u32, Book>,
    /// Other segments of the few entries that have chunks.
    spread: HashMap<EntryId, Box<[u32]>>,
    /// Lengths of bodies that do not fit into a line.
    long: HashMap<EntryId, u64>,
    /// Where the owner believes entries to be that were moved; and the way there.
    origins: HashMap<EntryId, Location>,
    now_at: HashMap<Location, Location>,
    entries: usize,
}

impl Books {
    /// Opens the book of a segment file that exists. Those before it do not grow any more.
    pub(crate) fn open(&mut self, segment: u32) {
        if let Some((_, before)) = self.segments.range_mut(..segment).next_back() {
            before.lines.shrink_to_fit();
        }
        self.segments.entry(segment).or_default();
    }

    /// Keeps a segment for good: damage in it could not be copied anywhere else.
    pub(crate) fn keep(&mut self, segment: u32) {
        self.segments.entry(segment).or_default().refs += 1;
    }

    /// Has a segment set aside when nobody needs it any more, instead of removed.
    pub(crate) fn set_aside(&mut self, segment: u32) {
        self.segments.entry(segment).or_default().goes_aside = true;
    }

    /// Whether a segment is to be set aside.
    pub(crate) fn goes_aside(&self, segment: u32) -> bool {
        self.segments.get(&segment).is_some_and(|book| book.goes_aside)
    }

    /// A start has found these segments, and what is in them; what was settled before counts from now on.
    pub(crate) fn found_at(&mut self, now: Instant) {
        for book in self.segments.values_mut() {
            book.settled = Some(now);
        }
    }

    /// Notes a live entry. Entries come in the order of their segment, or [`Books::sort`] is called before anything is looked for.
    pub(crate) fn insert(&mut self, id: EntryId, row: &LiveRow) {
        let line = Line::new(id, row.at.offset, row.body_len);
        let book = self.segments.entry(row.at.segment).or_default();
        if book.lines.last().is_some_and(|last| last.offset() == row.at.offset && book.id(*last) == id) {
            return;
        }
        book.lines.push(line);
        book.live += 1;
        self.entries += 1;
        if line.id() == FAR {
            book.far.push((row.at.offset, id));
        }
        if line.body_len() == LONG {
            self.long.insert(id, row.body_len);
        }
        if !row.spread.is_empty() {
            for segment in &row.spread {
                self.segments.entry(*segment).or_default().refs += 1;
            }
            self.spread.insert(id, row.spread.clone());
        }
    }

    /// Puts the entries of each segment into their order: after a start, which finds them in another.
    pub(crate) fn sort(&mut self) {
        for book in self.segments.values_mut() {
            book.lines.sort_unstable_by_key(|line| line.offset());
            book.lines.shrink_to_fit();
        }
    }

    /// Where an entry is now that its owner was told to be there.
    pub(crate) fn place(&self, at: Location) -> Location {
        self.now_at.get(&at).copied().unwrap_or(at)
    }

    /// Whether an entry is live and there.
    pub(crate) fn has(&self, id: EntryId, at: Location) -> bool {
        self.has_now(id, self.place(at))
    }

    /// Whether an entry is live and at that place itself.
    pub(crate) fn has_now(&self, id: EntryId, at: Location) -> bool {
        self.segments.get(&at.segment).is_some_and(|book| book.find(id, at.offset).is_some())
    }

    /// Strikes an entry out. False when it was not live.
    pub(crate) fn remove(&mut self, id: EntryId, at: Location, now: Instant) -> bool {
        if !self.strike_out(id, self.place(at), Some(now)) {
            return false;
        }
        if let Some(origin) = self.origins.remove(&id) {
            self.now_at.remove(&origin);
            self.now_at.give_back();
            self.origins.give_back();
        }
        true
    }

    /// Takes an entry out of the list of its segment.
    fn strike_out(&mut self, id: EntryId, at: Location, now: Option<Instant>) -> bool {
        let Some(book) = self.segments.get_mut(&at.segment) else { return false };
        let Some(place) = book.find(id, at.offset) else { return false };
        book.lines[place].settle();
        book.live -= 1;
        book.settled = now.or(book.settled);
        if book.lines.len() > TIDY_MIN && book.live < book.lines.len() / 2 {
            book.lines.retain(|line| !line.is_settled());
            book.lines.shrink_to(TIDY_MIN);
        }
        book.far.retain(|(offset, _)| *offset != at.offset);
        self.entries -= 1;
        if self.long.remove(&id).is_some() {
            self.long.give_back();
        }
        for segment in self.spread.remove(&id).unwrap_or_default() {
            self.spread.give_back();
            if let Some(book) = self.segments.get_mut(&segment) {
                book.refs = book.refs.saturating_sub(1);
                book.settled = now.or(book.settled);
            }
        }
        true
    }

    /// A pin that keeps a segment while somebody holds it.
    pub(crate) fn pin(&mut self, segment: u32) -> Arc<()> {
        Arc::clone(&self.segments.entry(segment).or_default().pin)
    }

    /// Segments that nobody needs, but for the one being written.
    pub(crate) fn unneeded(&self, current: Option<u32>) -> Vec<u32> {
        let unneeded = self.segments.iter().filter(|(number, book)| {
            Some(**number) != current && book.live == 0 && book.refs == 0 && Arc::strong_count(&book.pin) == 1
        });
        unneeded.map(|(number, _)| *number).collect()
    }

    /// Something that was written into these segments is nobody's any more: what is left of them may be worth moving.
    pub(crate) fn given_up(&mut self, segments: impl IntoIterator<Item = u32>, now: Instant) {
        for segment in segments {
            if let Some(book) = self.segments.get_mut(&segment) {
                book.settled = Some(now);
            }
        }
    }

    /// The next segment behind a number, and which of these entries, sorted by id, are live in it.
    pub(crate) fn have_behind(&self, behind: u32, ids: &[EntryId]) -> Option<(u32, Vec<EntryId>)> {
        let (number, book) = self.segments.range(behind.checked_add(1)?..).next()?;
        let live = book.live().map(|line| book.id(line)).filter(|id| ids.binary_search(id).is_ok());
        Some((*number, live.collect()))
    }

    /// Closes the book of a segment that was removed.
    pub(crate) fn close(&mut self, segment: u32) {
        self.segments.remove(&segment);
    }

    /// Number of live entries.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// A copy of all lines, for a checkpoint, by id.
    pub(crate) fn rows(&self) -> LiveRows {
        let mut rows = brief_list(self.entries);
        for (segment, book) in &self.segments {
            rows.extend(book.live().map(|line| {
                let at = Location { segment: *segment, offset: line.offset() };
                (book.id(line), at, self.body_len(book, line))
            }));
        }
        rows.sort_unstable_by_key(|(id, _, _)| *id);
        LiveRows { taken: vec![0; rows.len().div_ceil(64)], rows, spread: self.spread.clone(), next: 0 }
    }
}

/// Moving entries out of segments that have few left.
impl Books {
    /// A segment that has little left and has been at rest for so long, with the entries that need it: those whose records
    /// are in it and those that have chunks there. At most `limit` octets of it are live, as far as the books can tell.
    pub(crate) fn sparse(
        &self,
        current: Option<u32>,
        limit: u64,
        rest: Duration,
        now: Instant,
    ) -> Option<(u32, Vec<(EntryId, Location)>)> {
        let is_at_rest =
            |book: &Book| book.settled.is_some_and(|at| now.saturating_duration_since(at) >= rest);
        let candidates = self.segments.iter().filter(|(number, book)| {
            Some(**number) != current
                && !book.stays
                && book.live + book.refs > 0
                && Arc::strong_count(&book.pin) == 1
                && is_at_rest(book)
                // Most segments are full of live entries; they are told apart by this number alone.
                && (book.live as u64) * BESIDE_BODY <= limit
        });
        for (number, book) in candidates {
            let mut needed: Vec<(EntryId, Location)> = book
                .live()
                .map(|line| (book.id(line), Location { segment: *number, offset: line.offset() }))
                .collect();
            let mut octets: u64 = book.live().map(|line| self.body_len(book, line) + BESIDE_BODY).sum();
            if octets > limit {
                continue;
            }
            if book.refs > 0 {
                let others = self.spread.iter().filter(|(_, segments)| segments.contains(number));
                let before = needed.len();
                for (id, _) in others {
                    if octets > limit {
                        break;
                    }
                    let Some((at, body_len)) = self.find(*id) else { continue };
                    needed.push((*id, at));
                    octets += body_len + BESIDE_BODY;
                }
                // Somebody else keeps it: damage that could not be copied.
                if needed.len() - before < book.refs {
                    continue;
                }
            }
            if octets <= limit {
                return Some((*number, needed));
            }
        }
        None
    }

    fn body_len(&self, book: &Book, line: Line) -> u64 {
        match line.body_len() {
            LONG => self.long.get(&book.id(line)).copied().unwrap_or(LONG),
            length => length,
        }
    }

    /// Looks an entry up by its id alone: through all segments, for the few that have chunks elsewhere.
    fn find(&self, id: EntryId) -> Option<(Location, u64)> {
        self.segments.iter().find_map(|(segment, book)| {
            let line = book.live().find(|line| book.id(*line) == id)?;
            Some((Location { segment: *segment, offset: line.offset() }, self.body_len(book, line)))
        })
    }

    /// Leaves a segment as it is from now on.
    pub(crate) fn stays(&mut self, segment: u32) {
        if let Some(book) = self.segments.get_mut(&segment) {
            book.stays = true;
        }
    }

    /// An entry is somewhere else now. Returns what its owner was told, and still uses; `None` when it was settled meanwhile.
    pub(crate) fn moved(&mut self, id: EntryId, from: Location, to: &LiveRow) -> Option<Location> {
        if !self.strike_out(id, from, None) {
            return None;
        }
        self.insert(id, to);
        let origin = *self.origins.entry(id).or_insert(from);
        self.now_at.insert(origin, to.at);
        Some(origin)
    }
}

/// Live entries by their ids; each is taken once.
pub(crate) struct LiveRows {
    rows: Vec<(EntryId, Location, u64)>,
    /// A bit for each row.
    taken: Vec<u64>,
    spread: HashMap<EntryId, Box<[u32]>>,
    /// The row behind the last that was taken: the next to be asked for, as a rule.
    next: usize,
}

impl LiveRows {
    /// The row of an entry, if it is live and was not taken before.
    pub(crate) fn take(&mut self, id: EntryId) -> Option<LiveRow> {
        let is_next = self.rows.get(self.next).is_some_and(|(next, _, _)| *next == id);
        let place =
            if is_next { self.next } else { self.rows.binary_search_by_key(&id, |(id, _, _)| *id).ok()? };
        let (word, bit) = (place / 64, 1 << (place % 64));
        if self.taken[word] & bit != 0 {
            return None;
        }
        self.taken[word] |= bit;
        self.next = place + 1;
        Some(self.row(place))
    }

    /// What nobody has taken.
    pub(crate) fn rest(&self) -> impl Iterator<Item = (EntryId, LiveRow)> {
        let is_left = |place: &usize| self.taken[place / 64] & 1 << (place % 64) == 0;
        (0..self.rows.len()).filter(is_left).map(|place| (self.rows[place].0, self.row(place)))
    }

    fn row(&self, place: usize) -> LiveRow {
        let (id, at, body_len) = self.rows[place];
        LiveRow { at, body_len, spread: self.spread.get(&id).cloned().unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(segment: u32, spread: &[u32]) -> LiveRow {
        LiveRow { at: Location { segment, offset: 40 }, body_len: 1, spread: spread.into() }
    }

    fn at(segment: u32, offset: u32) -> Location {
        Location { segment, offset }
    }

    #[test]
    fn a_line_gives_back_what_fits_and_says_what_does_not() {
        for (id, offset, body_len) in [
            (0, 0, 0),
            (7, 40, 4096),
            (FAR - 1, (1 << 30) - 8, LONG - 1),
            (0x1234_5678_9abc, 0x1234_5678, 0xfedc),
        ] {
            let mut line = Line::new(EntryId(id), offset, body_len);
            assert_eq!(
                (line.id(), line.offset(), line.body_len(), line.is_settled()),
                (id, offset, body_len, false)
            );
            line.settle();
            assert_eq!(
                (line.id(), line.offset(), line.body_len(), line.is_settled()),
                (id, offset, body_len, true)
            );
        }
        let mut books = Books::default();
        for (n, (id, body_len)) in (1..).zip([(FAR, 5), (u64::MAX, LONG), (FAR - 1, 1 << 40)]) {
            let at = at(1, 8 * n);
            books.insert(EntryId(id), &LiveRow { at, body_len, spread: Box::default() });
            assert!(books.has(EntryId(id), at) && !books.has(EntryId(id - 1), at), "{id:x}");
        }
        let mut rows = books.rows();
        let found = |row: Option<LiveRow>| row.map(|row| (row.at, row.body_len));
        assert_eq!(found(rows.take(EntryId(FAR))), Some((at(1, 8), 5)));
        assert_eq!(found(rows.take(EntryId(u64::MAX))), Some((at(1, 16), LONG)));
        assert_eq!(found(rows.take(EntryId(FAR - 1))), Some((at(1, 24), 1 << 40)));
        assert!(books.remove(EntryId(u64::MAX), at(1, 16), Instant::now()));
        assert!(!books.has(EntryId(u64::MAX), at(1, 16)) && books.has(EntryId(FAR), at(1, 8)));
        assert!(!books.has(EntryId(FAR), at(1, 12)), "no record begins there");
    }

    #[test]
    fn a_segment_is_needed_by_records_chunks_and_drafts() {
        let mut books = Books::default();
        for segment in 1..=4 {
            books.open(segment);
        }
        books.insert(EntryId(7), &row(2, &[1]));
        let pin = books.pin(3);
        assert_eq!(books.unneeded(None), [4]);
        assert_eq!(books.unneeded(Some(4)), [0; 0]);
        drop(pin);
        assert!(books.remove(EntryId(7), row(2, &[]).at, Instant::now()));
        assert_eq!(books.unneeded(Some(4)), [1, 2, 3]);
    }

    #[test]
    fn an_entry_counts_once_and_is_removed_once() {
        let mut books = Books::default();
        let now = Instant::now();
        books.insert(EntryId(7), &row(2, &[1]));
        books.insert(EntryId(7), &row(2, &[1]));
        books.insert(EntryId(8), &LiveRow { at: at(2, 80), ..row(2, &[1]) });
        assert_eq!(books.entries(), 2);
        assert!(books.remove(EntryId(7), at(2, 40), now));
        assert!(!books.remove(EntryId(7), at(2, 40), now));
        assert!(!books.remove(EntryId(8), at(1, 80), now), "it is not in that segment");
        assert!(!books.remove(EntryId(8), at(2, 40), now), "it is not at that place");
        assert_eq!(books.unneeded(None), [0; 0]);
        let mut rows = books.rows();
        assert_eq!(rows.take(EntryId(8)), Some(LiveRow { at: at(2, 80), ..row(2, &[1]) }));
        assert_eq!((rows.take(EntryId(8)), rows.take(EntryId(7))), (None, None));
    }

    #[test]
    fn entries_that_came_in_any_order_are_found_and_many_settled_ones_are_forgotten() {
        let mut books = Books::default();
        for number in (0..1000u32).rev() {
            let long = if number == 5 { 1 << 40 } else { 3 };
            books.insert(
                EntryId(number.into()),
                &LiveRow { at: at(1, 40 + number * 8), body_len: long, ..row(1, &[]) },
            );
        }
        books.sort();
        for number in 10..1000u32 {
            assert!(books.remove(EntryId(number.into()), at(1, 40 + number * 8), Instant::now()));
        }
        assert!(books.segments[&1].lines.len() <= TIDY_MIN);
        assert!(books.has(EntryId(5), at(1, 80)) && !books.has(EntryId(10), at(1, 120)));
        let rows = books.rows();
        let lengths: Vec<u64> = rows.rest().map(|(_, row)| row.body_len).collect();
        assert_eq!(lengths, [3, 3, 3, 3, 3, 1 << 40, 3, 3, 3, 3]);
    }

    #[test]
    fn what_is_left_in_a_segment_at_rest_is_named_and_found_where_it_was_moved() {
        let mut books = Books::default();
        let rest = Duration::from_secs(60);
        let begun = Instant::now();
        let now = begun + rest;
        (1..=3).for_each(|segment| books.open(segment));
        books.insert(EntryId(1), &row(1, &[]));
        books.insert(EntryId(2), &LiveRow { at: at(1, 80), ..row(1, &[]) });
        books.insert(EntryId(3), &LiveRow { at: at(2, 40), ..row(2, &[1]) });
        let sparse = |books: &Books, now| books.sparse(Some(3), 1 << 18, rest, now);
        assert_eq!(sparse(&books, now), None, "all that came is there");
        books.found_at(begun);
        assert!(books.remove(EntryId(2), at(1, 80), now));
        // The second segment has lost nothing since the start.
        assert_eq!(sparse(&books, now), Some((2, vec![(EntryId(3), at(2, 40))])));
        books.stays(2);
        assert_eq!(sparse(&books, now), None, "the first one has lost something just now");
        let later = now + rest;
        let found = sparse(&books, later);
        assert_eq!(found, Some((1, vec![(EntryId(1), at(1, 40)), (EntryId(3), at(2, 40))])));
        assert_eq!(books.sparse(Some(3), 512, rest, later), None, "that would be too much");
        let pin = books.pin(1);
        assert_eq!(sparse(&books, later), None, "a draft has a part there");
        drop(pin);
        assert_eq!(books.moved(EntryId(1), at(1, 40), &row(3, &[])), Some(at(1, 40)));
        assert_eq!(books.moved(EntryId(2), at(1, 80), &row(3, &[])), None, "it is settled");
        assert_eq!(
            books.moved(EntryId(1), at(3, 40), &LiveRow { at: at(4, 48), ..row(4, &[]) }),
            Some(at(1, 40))
        );
        assert_eq!(books.place(at(1, 40)), at(4, 48));
        assert!(books.has(EntryId(1), at(1, 40)) && books.remove(EntryId(1), at(1, 40), later));
        assert_eq!(books.place(at(1, 40)), at(1, 40));
        assert_eq!((books.entries(), books.unneeded(None)), (1, vec![3, 4]));
    }
}
