//! The word that was probably meant.

/// Words longer than this are not compared: they are nobody's slip of a key, and the work grows with the square.
const LONGEST_COMPARED: usize = 64;

/// The word of `among` that is nearest to `word`, case aside; `None` when nothing is close enough to be a slip.
///
/// Close enough is one change in words of up to five letters, and one more for every three letters beyond. Among
/// equals the first wins.
#[must_use]
pub fn nearest<'a>(word: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length == 0 || length > LONGEST_COMPARED {
        return None;
    }
    let allowed = (length / 3).max(1);
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in among {
        // Each letter more or less is a change, so most candidates need no closer look.
        let other = candidate.chars().count();
        if other.abs_diff(length) > allowed {
            continue;
        }
        let found = distance(word, candidate);
        if found <= allowed
            && found < candidate.chars().count()
            && best.is_none_or(|(least, _)| found < least)
        {
            best = Some((found, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// How many single changes (a letter more, less or other, or two neighbours swapped) make one word of the other,
/// case aside. This is the optimal string alignment distance.
#[must_use]
pub fn distance(one: &str, other: &str) -> usize {
    let one: Vec<char> = one.chars().flat_map(char::to_lowercase).collect();
    let other: Vec<char> = other.chars().flat_map(char::to_lowercase).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for row in 1..=one.len() {
        let mut current = vec![row; other.len() + 1];
        for column in 1..=other.len() {
            let same = one[row - 1] == other[column - 1];
            let mut least =
                (last[column] + 1).min(current[column - 1] + 1).min(last[column - 1] + usize::from(!same));
            let swapped = row > 1
                && column > 1
                && one[row - 1] == other[column - 2]
                && one[row - 2] == other[column - 1];
            if swapped {
                least = least.min(before[column - 2] + 1);
            }
            current[column] = least;
        }
        before = std::mem::replace(&mut last, current);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn among<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
        nearest(word, words.iter().copied())
    }

    #[test]
    fn one_slip_is_found() {
        let words = ["logging", "nologging", "periodic", "period", "mx", "nomx"];
        assert_eq!(among("nologgin", &words), Some("nologging"));
        assert_eq!(among("preiodic", &words), Some("periodic"));
        assert_eq!(among("PERIODC", &words), Some("periodic"));
        assert_eq!(among("xm", &words), Some("mx"));
    }

    #[test]
    fn strangers_are_not_guessed_at() {
        let words = ["logging", "nologging", "periodic", "mx"];
        assert_eq!(among("zebra", &words), None);
        assert_eq!(among("", &words), None);
        assert_eq!(among("ab", &words), None);
        assert_eq!(among("q", &["mx"]), None);
        assert_eq!(among(&"x".repeat(100_000), &words), None);
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("Größe", "grösse"), 2);
        assert_eq!(distance("same", "SAME"), 0);
    }
}
