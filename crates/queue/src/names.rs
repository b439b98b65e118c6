//! Domains by name: the queues of a channel by theirs, and the order in which a domain stands before all that is below it.
//!
//! There is a name for each of a hundred thousand sites, and it is kept once, by its queue: a table of names holds the numbers of
//! queues, and the order is that of the labels from the right, so that no copy with its labels reversed is needed.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use sluice_mail::ReversedDomain;
use sluice_spool::room_left;

use crate::index::QueueKey;
use crate::queue::Queue;
use crate::slab::Slab;

/// The queues of a channel by their domains.
#[derive(Debug, Default)]
pub(crate) struct ByDomain(HashTable<QueueKey>);

impl ByDomain {
    pub(crate) fn get(&self, domain: &str, queues: &Slab<Queue>, hasher: &RandomState) -> Option<QueueKey> {
        let is_it = |key: &QueueKey| queues.get(key.0).is_some_and(|queue| *queue.domain == *domain);
        self.0.find(hasher.hash_one(domain), is_it).copied()
    }

    /// Puts in a queue that has its place already, and whose domain has none here.
    pub(crate) fn insert(&mut self, key: QueueKey, queues: &Slab<Queue>, hasher: &RandomState) {
        let hash = hash_of(queues, hasher);
        self.0.insert_unique(hash(&key), key, hash);
    }

    /// Takes out the queue of that domain.
    pub(crate) fn remove(&mut self, key: QueueKey, domain: &str, queues: &Slab<Queue>, hasher: &RandomState) {
        if let Ok(found) = self.0.find_entry(hasher.hash_one(domain), |other| *other == key) {
            found.remove();
        }
        if let Some(room) = room_left(self.0.len(), self.0.capacity()) {
            self.0.shrink_to(room, hash_of(queues, hasher));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = QueueKey> {
        self.0.iter().copied()
    }
}

/// By the domain of a queue.
fn hash_of(queues: &Slab<Queue>, hasher: &RandomState) -> impl Fn(&QueueKey) -> u64 {
    |key| queues.get(key.0).map_or(0, |queue| hasher.hash_one(&*queue.domain))
}

/// A domain, in the order of its labels from the right: one that is above others stands right before them, and nothing
/// else between. Case, a trailing dot, and the spelling of a name beyond ASCII make no difference, as with [`ReversedDomain`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(Arc<str>);

impl Name {
    pub(crate) fn new(domain: &str) -> Self {
        Self(usual(domain).into())
    }

    /// The same, and the text is shared where it is spelt as usual.
    pub(crate) fn of(domain: &Arc<str>) -> Self {
        match usual(domain) {
            Cow::Borrowed(text) if text.len() == domain.len() => Self(Arc::clone(domain)),
            text => Self(text.into()),
        }
    }

    /// From the right. A domain literal is one.
    fn labels(&self) -> impl Iterator<Item = &str> {
        let is_literal = self.0.starts_with('[');
        self.0.rsplit(move |letter| letter == '.' && !is_literal)
    }

    /// Is this the other domain, or below it?
    pub(crate) fn is_within(&self, above: &Name) -> bool {
        let mut labels = self.labels();
        above.labels().all(|label| labels.next() == Some(label))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.labels().cmp(other.labels())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The spelling in which names are compared.
fn usual(domain: &str) -> Cow<'_, str> {
    if !domain.is_ascii() {
        return Cow::Owned(ReversedDomain::new(domain).to_domain());
    }
    let name = if domain.starts_with('[') { domain } else { domain.strip_suffix('.').unwrap_or(domain) };
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn spellings_of_a_name_are_one_and_the_usual_one_is_shared() {
        for (text, usual) in [
            ("Site7.Example.COM", "site7.example.com"),
            ("example.com.", "example.com"),
            ("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("", ""),
        ] {
            assert_eq!((Name::new(text), &*Name::new(text).0), (Name::new(usual), usual), "{text}");
            let shared: Arc<str> = usual.into();
            assert!(Arc::ptr_eq(&Name::of(&shared).0, &shared), "{usual}");
            assert_eq!(Name::of(&text.into()), Name::new(usual));
        }
    }

    #[test]
    fn what_is_below_a_name_follows_it_without_strangers() {
        let names = [
            "example.com",
            "a.example.com",
            "b.a.example.com",
            "x-example.com",
            "examplex.com",
            "example-x.com",
            "example.comx",
            "com",
            "0.example.com",
            "-.example.com",
            "~.example.com",
            "!.com",
            "[192.0.2.1]",
            "[192.0.2.1",
            "2.1]",
            "",
        ];
        let all: BTreeMap<Name, &str> = names.iter().map(|name| (Name::new(name), *name)).collect();
        assert_eq!(all.len(), names.len());
        for above in &names {
            let above = Name::new(above);
            let range: Vec<&str> = all
                .range(&above..)
                .take_while(|(name, _)| name.is_within(&above))
                .map(|(_, name)| *name)
                .collect();
            let within = all.iter().filter(|(name, _)| name.is_within(&above)).map(|(_, name)| *name);
            assert_eq!(range, within.collect::<Vec<_>>(), "{above:?}");
            // As reversed texts say it.
            let reversed = ReversedDomain::new(&above.0);
            let by_text = names.iter().filter(|name| ReversedDomain::new(name).is_within(&reversed)).count();
            assert_eq!(range.len(), by_text, "{above:?}");
        }
    }
}
