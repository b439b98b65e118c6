//! The walk of one text through the elements of a pattern, with a memory of what has failed.

use super::{BACK_MAX, Class, Item, REMEMBER_AFTER, STEP_COST, Scratch, WORK_MAX, ipv6, quad};

/// One match on its way.
pub(super) struct Matcher<'a> {
    pub(super) items: &'a [Item],
    pub(super) text: &'a str,
    pub(super) taken: [(u32, u32); BACK_MAX],
    pub(super) work: u64,
    /// Failures may be remembered.
    pub(super) remember: bool,
    /// They are.
    pub(super) remembering: bool,
    pub(super) scratch: &'a mut Scratch,
}

impl Matcher<'_> {
    fn keep(&mut self, save: Option<u8>, from: usize, to: usize) {
        if let Some(place) = save.and_then(|index| self.taken.get_mut(usize::from(index))) {
            *place = (from as u32, to as u32);
        }
    }

    /// Do the elements from `index` on match all of the text from `at` on?
    pub(super) fn run(&mut self, mut index: usize, mut at: usize) -> bool {
        loop {
            let Some(item) = self.items.get(index) else { return at == self.text.len() };
            let from = at;
            let (end, save) = match item {
                Item::Text(wanted) => (same_text(self.text, at, wanted), None),
                Item::One(class, save) => {
                    let c = self.text[at..].chars().next().filter(|c| class.has(*c));
                    (c.map(|c| at + c.len_utf8()), *save)
                }
                Item::Back(number, save) => {
                    let (start, stop) = self.taken[usize::from(*number).min(BACK_MAX - 1)];
                    let wanted = &self.text[start as usize..stop as usize];
                    (same_text_folded(self.text, at, wanted), *save)
                }
                Item::V4 { net, mask, save } => {
                    let found = quad(self.text.as_bytes(), at).filter(|(value, _)| value & mask == *net);
                    (found.map(|(_, end)| end), *save)
                }
                Item::V6 { net, mask, save } => {
                    let found = ipv6(self.text, at).filter(|(value, _)| value & mask == *net);
                    (found.map(|(_, end)| end), *save)
                }
                Item::Run { class, few, save } => return self.run_of(index, at, class, *few, *save),
            };
            let Some(end) = end else { return false };
            self.keep(save, from, end);
            at = end;
            index += 1;
        }
    }

    /// A wildcard for any number of characters at `at`, with all that follows it.
    fn run_of(&mut self, index: usize, at: usize, class: &Class, few: bool, save: Option<u8>) -> bool {
        let text = self.text;
        let end = if *class == Class::Any {
            text.len()
        } else {
            let run = text[at..].char_indices().find(|(_, c)| !class.has(*c));
            let end = run.map_or(text.len(), |(offset, _)| at + offset);
            self.work += (end - at) as u64;
            end
        };
        let next = self.items.get(index + 1);
        if next.is_none() {
            self.keep(save, at, end);
            return end == text.len();
        }
        if self.known_to_fail(index, at) {
            return false;
        }
        self.work += STEP_COST;
        // Most places can be told from the first octet of the text behind the wildcard.
        let first = match next {
            Some(Item::Text(text)) => text.bytes().next().filter(u8::is_ascii),
            _ => None,
        };
        let bytes = text.as_bytes();
        let mut place = if few { at } else { end };
        loop {
            self.work += 1;
            if self.work > WORK_MAX {
                return false;
            }
            let possible = match first {
                Some(first) => bytes.get(place).is_some_and(|byte| byte.to_ascii_lowercase() == first),
                None => text.is_char_boundary(place) && !self.known_to_fail(index + 1, place),
            };
            if possible {
                self.work += 1;
                self.keep(save, at, place);
                if self.run(index + 1, place) {
                    return true;
                }
            }
            if few {
                if place >= end {
                    break;
                }
                place += 1;
            } else {
                if place <= at {
                    break;
                }
                place -= 1;
            }
        }
        self.note_failure(index, at);
        false
    }

    fn place(&self, index: usize, at: usize) -> (usize, u64) {
        let bit = index * (self.text.len() + 1) + at;
        (bit / 64, 1 << (bit % 64))
    }

    fn known_to_fail(&self, index: usize, at: usize) -> bool {
        let (word, bit) = self.place(index, at);
        self.remembering && self.scratch.failed.get(word).is_some_and(|failed| failed & bit != 0)
    }

    fn note_failure(&mut self, index: usize, at: usize) {
        if !self.remember || self.work < REMEMBER_AFTER {
            return;
        }
        if !self.remembering {
            self.remembering = true;
            self.scratch.failed.clear();
            self.scratch.failed.resize(self.items.len() * (self.text.len() + 1) / 64 + 1, 0);
        }
        let (word, bit) = self.place(index, at);
        if let Some(failed) = self.scratch.failed.get_mut(word) {
            *failed |= bit;
        }
    }
}

/// The end of `wanted` (ASCII letters in lower case) in `text` at `at`, if it is there.
fn same_text(text: &str, at: usize, wanted: &str) -> Option<usize> {
    if let Some(here) = text.as_bytes().get(at..at + wanted.len())
        && here.eq_ignore_ascii_case(wanted.as_bytes())
    {
        return Some(at + wanted.len());
    }
    if wanted.is_ascii() { None } else { same_text_folded(text, at, wanted) }
}

/// The same, character by character and for all letters.
fn same_text_folded(text: &str, at: usize, wanted: &str) -> Option<usize> {
    let mut here = text[at..].char_indices();
    for wanted in wanted.chars() {
        let (_, c) = here.next()?;
        let same = c == wanted
            || c.eq_ignore_ascii_case(&wanted)
            || (!c.is_ascii() && !wanted.is_ascii() && c.to_lowercase().eq(wanted.to_lowercase()));
        if !same {
            return None;
        }
    }
    Some(here.next().map_or(text.len(), |(offset, _)| at + offset))
}
