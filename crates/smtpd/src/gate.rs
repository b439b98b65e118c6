//! How many connections there are: in all, per service, and per client address of a service.
//!
//! # Not here
//! What the client is told (`server`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parts::{AtomicU32, Mutex, PoisonError};

/// What gates are made of: in the program the standard library's, in the tests of this module each of their steps is, while a rehearsal
/// goes on, a place at which shuttle decides by chance who goes on.
pub(crate) mod parts {
    #[cfg(test)]
    pub(crate) use super::rehearsal::doubles::{AtomicU32, Mutex};
    pub(crate) use std::sync::PoisonError;
    #[cfg(not(test))]
    pub(crate) use std::sync::{Mutex, atomic::AtomicU32};
}

#[cfg(test)]
mod rehearsal;

/// Counts the connections of one service.
#[derive(Debug)]
pub(crate) struct Gate {
    total: Arc<AtomicU32>,
    total_max: u32,
    of_service: AtomicU32,
    of_service_max: u32,
    /// Only addresses that are connected have an entry. The lock is held for one look-up.
    of_client: Mutex<HashMap<IpAddr, u32>>,
    of_client_max: u32,
}

/// Why a connection is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// The server or the service is full.
    Here,
    /// The client has enough.
    Client,
}

/// A place that a connection holds until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Arc<Gate>,
    client: IpAddr,
}

impl Gate {
    /// A gate for one service. A limit of 0 is no limit. `total` is shared by all services.
    pub(crate) fn new(
        total: Arc<AtomicU32>,
        total_max: u32,
        of_service_max: u32,
        of_client_max: u32,
    ) -> Arc<Gate> {
        let of_client = Mutex::new(HashMap::new());
        Arc::new(Gate {
            total,
            total_max,
            of_service: AtomicU32::new(0),
            of_service_max,
            of_client,
            of_client_max,
        })
    }

    /// Takes a place for a connection from `client`.
    pub(crate) fn enter(self: &Arc<Gate>, client: IpAddr) -> Result<Place, Crowded> {
        let client = owner(client);
        take(&self.total, self.total_max).ok_or(Crowded::Here)?;
        if take(&self.of_service, self.of_service_max).is_none() {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err(Crowded::Here);
        }
        let mut clients = self.of_client.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_insert(0);
        if self.of_client_max != 0 && *count >= self.of_client_max {
            drop(clients);
            self.total.fetch_sub(1, Ordering::Relaxed);
            self.of_service.fetch_sub(1, Ordering::Relaxed);
            return Err(Crowded::Client);
        }
        *count += 1;
        drop(clients);
        Ok(Place { gate: Arc::clone(self), client })
    }
}

/// Under what address a client is counted: with IPv6 its network of 64 bits, since whoever has one address there has
/// them all.
fn owner(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// Counts one up unless the limit is reached.
fn take(counter: &AtomicU32, limit: u32) -> Option<()> {
    let more = |count: u32| (limit == 0 || count < limit).then_some(count.saturating_add(1));
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(drop)
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.total.fetch_sub(1, Ordering::Relaxed);
        self.gate.of_service.fetch_sub(1, Ordering::Relaxed);
        let mut clients = self.gate.of_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = clients.entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn each_limit_holds_and_places_come_back() {
        let total = Arc::new(AtomicU32::new(0));
        let one = Gate::new(Arc::clone(&total), 4, 3, 2);
        let two = Gate::new(Arc::clone(&total), 4, 0, 0);
        let first = one.enter(client(1)).unwrap();
        let second = one.enter(client(1)).unwrap();
        assert_eq!(one.enter(client(1)).unwrap_err(), Crowded::Client);
        let third = one.enter(client(2)).unwrap();
        assert_eq!(one.enter(client(3)).unwrap_err(), Crowded::Here, "the service has three");
        let fourth = two.enter(client(1)).unwrap();
        assert_eq!(two.enter(client(1)).unwrap_err(), Crowded::Here, "all together have four");
        drop(first);
        let again = one.enter(client(1)).unwrap();
        drop((second, third, fourth, again));
        assert_eq!(total.load(Ordering::Relaxed), 0);
        assert!(one.of_client.lock().unwrap().is_empty(), "an address without connections is forgotten");
    }

    #[test]
    fn an_ipv6_client_is_counted_by_its_network() {
        let gate = Gate::new(Arc::default(), 0, 0, 1);
        let client = |text: &str| gate.enter(text.parse().unwrap());
        let place = client("2001:db8:0:1::1").unwrap();
        assert_eq!(client("2001:db8:0:1:ffff::2").unwrap_err(), Crowded::Client);
        let other = client("2001:db8:0:2::1").unwrap();
        drop((place, other));
        assert!(gate.of_client.lock().unwrap().is_empty());
    }
}
