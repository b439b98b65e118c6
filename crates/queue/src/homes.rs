//! The queues of one domain: mostly one, and one for each channel where it has mail on several.

use crate::index::QueueKey;

/// Some queues, at least one.
#[derive(Debug)]
pub(crate) enum Homes {
    One(QueueKey),
    /// Boxed, because there is one of these for every domain that has mail.
    #[expect(clippy::box_collection, reason = "a list would make the others twice as large")]
    More(Box<Vec<QueueKey>>),
}

impl Homes {
    pub(crate) fn push(&mut self, key: QueueKey) {
        match self {
            Homes::One(first) => *self = Homes::More(Box::new(vec![*first, key])),
            Homes::More(keys) => keys.push(key),
        }
    }

    /// Takes one out. False when it was the last: then there is no such domain any more.
    pub(crate) fn remove(&mut self, key: QueueKey) -> bool {
        match self {
            Homes::One(only) => *only != key,
            Homes::More(keys) => {
                keys.retain(|&other| other != key);
                !keys.is_empty()
            }
        }
    }

    pub(crate) fn keys(&self) -> &[QueueKey] {
        match self {
            Homes::One(key) => std::slice::from_ref(key),
            Homes::More(keys) => keys,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_becomes_several_and_none() {
        let mut homes = Homes::One(QueueKey(1));
        assert!(homes.remove(QueueKey(2)) && homes.keys() == [QueueKey(1)]);
        homes.push(QueueKey(2));
        homes.push(QueueKey(3));
        assert!(homes.remove(QueueKey(1)) && homes.keys() == [QueueKey(2), QueueKey(3)]);
        assert!(homes.remove(QueueKey(3)) && !homes.remove(QueueKey(2)));
        assert!(!Homes::One(QueueKey(7)).remove(QueueKey(7)));
    }
}
