//! Lines that are dialled when they are wanted: the first connection takes its time, or there is no way at all for a while.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::support::{Do, Here, Peer, channel, deliver, message, silent};
use super::support::{Hear, Say, Take, UntilGone};
use crate::names::{Answer, Exchange, Names};
use crate::outbox::Outbox;

/// Nobody can connect to a broadcast address: the system says at once that there is no route.
const NO_ROUTE: &str = "127.255.255.255";

fn takes_one() -> Vec<Do> {
    vec![
        Say("220 mx"),
        Hear,
        Say("250 mx"),
        Hear,
        Say("250 ok"),
        Hear,
        Say("250 ok"),
        Hear,
        Say("354 go"),
        Take,
        Say("250 taken"),
        UntilGone,
    ]
}

/// A name service in which each look finds the next list of addresses, and the last one from then on.
#[derive(Debug)]
struct Changing {
    lists: Vec<Vec<&'static str>>,
    looks: Arc<AtomicUsize>,
}

impl Names for Changing {
    fn exchanges(&self, _domain: &str) -> Answer<Exchange> {
        Answer::Nothing
    }

    fn addresses(&self, _host: &str) -> Answer<IpAddr> {
        let look = self.looks.fetch_add(1, Ordering::SeqCst).min(self.lists.len() - 1);
        Answer::Found(self.lists[look].iter().map(|text| text.parse().unwrap()).collect())
    }
}

fn changing(lists: &[&[&'static str]]) -> (Option<Box<dyn Names>>, Arc<AtomicUsize>) {
    let looks = Arc::new(AtomicUsize::new(0));
    let lists = lists.iter().map(|list| list.to_vec()).collect();
    (Some(Box::new(Changing { lists, looks: Arc::clone(&looks) })), looks)
}

#[test]
fn a_connection_that_is_long_in_coming_is_waited_for() {
    // The system asks again after one second and after three; the second time somebody answers.
    let begun = Instant::now();
    let peer = Peer::start_later(Duration::from_secs(2), vec![takes_one()]);
    let shared = channel(peer.port, &[("CONNECT_TIME", "120")], Some(Box::new(Here(vec!["127.0.0.1"]))));
    let mut outbox = Outbox::new(&shared);
    assert_eq!(deliver(&mut outbox, &message(&["r@b"])), ["delivered 2.0.0 site.example: 250 taken"]);
    assert!(begun.elapsed() >= Duration::from_secs(2), "nobody could connect before");
    shared.pool.close_idle(Duration::ZERO);
    peer.heard();
}

#[test]
fn while_there_is_no_route_all_hosts_are_tried_again_and_looked_up_again() {
    let peer = Peer::start(vec![takes_one()]);
    let (names, looks) = changing(&[&[NO_ROUTE, NO_ROUTE], &[NO_ROUTE], &["127.0.0.1"]]);
    let shared = channel(peer.port, &[("CONNECT_TIME", "60")], names);
    let mut outbox = Outbox::new(&shared);
    assert_eq!(deliver(&mut outbox, &message(&["r@b"])), ["delivered 2.0.0 site.example: 250 taken"]);
    assert_eq!(looks.load(Ordering::SeqCst), 3);
    shared.pool.close_idle(Duration::ZERO);
    peer.heard();
}

#[test]
fn without_a_route_for_all_the_time_it_is_deferred_and_a_batch_waits_once() {
    let (names, looks) = changing(&[&[NO_ROUTE]]);
    let shared = channel(9, &[("CONNECT_TIME", "2.5")], names);
    let mut outbox = Outbox::new(&shared);
    let begun = Instant::now();
    let settled = deliver(&mut outbox, &message(&["r@b"]));
    assert!(settled[0].starts_with("deferred 4.4.1 "), "{settled:?}");
    assert!(settled[0].contains("Network is unreachable"), "{settled:?}");
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    let tries = looks.load(Ordering::SeqCst);
    assert!(tries >= 2, "{tries}");
    assert_eq!(deliver(&mut outbox, &message(&["r@b"])), settled);
    assert_eq!(looks.load(Ordering::SeqCst), tries + 1, "the next message of the batch is not waited for");
}

#[test]
fn all_workers_of_a_channel_wait_for_a_line_once_until_somebody_gets_through() {
    let (names, looks) = changing(&[&[NO_ROUTE]]);
    let shared = channel(9, &[("CONNECT_TIME", "2.5")], names);
    let settled = deliver(&mut Outbox::new(&shared), &message(&["r@b"]));
    let tries = looks.load(Ordering::SeqCst);
    assert!(tries >= 2, "{tries}");
    let mut other = message(&["r@b"]);
    other.lease = 2;
    assert_eq!(deliver(&mut Outbox::new(&shared), &other), settled);
    assert_eq!(looks.load(Ordering::SeqCst), tries + 1, "another worker does not wait again");
    let none_until = *shared.no_line_until.lock().unwrap();
    let peer = Peer::start(vec![takes_one()]);
    let shared = channel(peer.port, &[], Some(Box::new(Here(vec!["127.0.0.1"]))));
    *shared.no_line_until.lock().unwrap() = none_until;
    assert_eq!(deliver(&mut Outbox::new(&shared), &other), ["delivered 2.0.0 site.example: 250 taken"]);
    assert_eq!((none_until.is_some(), *shared.no_line_until.lock().unwrap()), (true, None));
    shared.pool.close_idle(Duration::ZERO);
    peer.heard();
}

#[test]
fn a_host_that_is_reached_and_refuses_is_no_line_that_is_down() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (names, looks) = changing(&[&[NO_ROUTE, "127.0.0.1"]]);
    let shared = channel(nobody, &[("CONNECT_TIME", "60")], names);
    let settled = deliver(&mut Outbox::new(&shared), &message(&["r@b"]));
    assert!(settled[0].starts_with("deferred 4.4.1 "), "{settled:?}");
    assert_eq!(looks.load(Ordering::SeqCst), 1);
}

#[test]
fn a_channel_that_stops_waits_for_no_line() {
    let (names, looks) = changing(&[&[NO_ROUTE]]);
    let shared = channel(9, &[("CONNECT_TIME", "60")], names);
    let begun = Instant::now();
    let settled = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| *settled.lock().unwrap() = deliver(&mut Outbox::new(&shared), &message(&["r@b"])));
        while looks.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        shared.halt.stop();
    });
    assert!(settled.lock().unwrap()[0].starts_with("deferred 4."), "{settled:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn hosts_that_do_not_answer_do_not_use_up_the_time_of_the_delivery() {
    // Half of the time is for finding a host that answers. Without that, many dead hosts would outlast the hub's patience, which
    // then takes the worker for lost.
    let (listener, queued) = silent();
    let port = listener.local_addr().unwrap().port();
    let names: Box<dyn Names> = Box::new(Here(vec!["127.0.0.1"; 5]));
    let shared = channel(port, &[("CONNECT_TIME", "60"), ("nocache", "")], Some(names));
    let mut short = message(&["r@b"]);
    short.time_left = Duration::from_secs(4);
    let begun = Instant::now();
    let settled = deliver(&mut Outbox::new(&shared), &short);
    assert!(settled[0].starts_with("deferred 4.4.1 "), "{settled:?}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
    drop((listener, queued));
}
