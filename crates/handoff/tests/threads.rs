//! Bells with the threads of the system.
#![allow(clippy::unwrap_used)]

use sluice_handoff::{Bell, Patience, SendError, TrySendError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn nothing_is_overslept() {
    const EACH: u32 = 20_000;
    let bell = Bell::new();
    let (one, ones) = bell.bounded::<u32>(7);
    let (two, twos) = bell.unbounded::<u32>();
    let reader = {
        let bell = Arc::clone(&bell);
        thread::spawn(move || {
            let (mut seen, mut slept) = (0, Duration::ZERO);
            while seen < 2 * EACH {
                let taken = ones.try_iter().chain(twos.try_iter()).count() as u32;
                seen += taken;
                if taken == 0 {
                    let begun = Instant::now();
                    bell.wait(LONG, || ones.is_empty() && twos.is_empty());
                    slept = slept.max(begun.elapsed());
                }
            }
            slept
        })
    };
    let writers = [one, two].map(|queue| {
        thread::spawn(move || {
            for number in 0..EACH {
                queue.send(number).unwrap();
                if number % 64 == 0 {
                    thread::yield_now();
                }
            }
        })
    });
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert!(reader.join().unwrap() < LONG, "a bell was not heard");
}

#[test]
fn a_bell_rung_before_the_reader_looks_costs_nothing_and_one_after_it_wakes() {
    let bell = Bell::new();
    let (queue, things) = bell.unbounded();
    queue.send(1).unwrap();
    bell.wait(LONG, || things.is_empty());
    assert_eq!(things.try_recv(), Ok(1));
    let (asleep, times) = (Arc::clone(&bell), Arc::new(AtomicU32::new(0)));
    let woken = Arc::clone(&times);
    let reader = thread::spawn(move || {
        asleep.wait(LONG, || {
            woken.fetch_add(1, Ordering::SeqCst);
            true
        });
        woken.fetch_add(1, Ordering::SeqCst);
    });
    while times.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    bell.ring();
    reader.join().unwrap();
    assert_eq!(times.load(Ordering::SeqCst), 2);
}

#[test]
fn what_has_time_wakes_the_reader_once() {
    let bell = Bell::new();
    let (queue, things) = bell.unbounded();
    let patience = Patience::default();
    queue.send_in_time(1, &patience).unwrap();
    bell.wait(LONG, || things.is_empty());
    assert_eq!(things.try_recv(), Ok(1));
    patience.begins();
    // The second one finds that the reader will look by itself.
    queue.send_in_time(2, &patience).unwrap();
    let begun = Instant::now();
    bell.wait(Duration::from_millis(1), || true);
    assert!(begun.elapsed() >= Duration::from_millis(1), "nobody rang");
    assert_eq!(things.try_recv(), Ok(2));
    patience.ends();
    let ringing = thread::spawn(move || queue.send_in_time(3, &patience));
    bell.wait(LONG, || things.is_empty());
    ringing.join().unwrap().unwrap();
    assert_eq!(things.try_recv(), Ok(3));
}

#[test]
fn a_full_queue_and_one_without_a_reader_give_back() {
    let bell = Bell::new();
    let (queue, things) = bell.bounded(1);
    queue.try_send(1).unwrap();
    assert_eq!(queue.try_send(2), Err(TrySendError::Full(2)));
    drop(things);
    assert_eq!(queue.send(3), Err(SendError(3)));
    assert_eq!(queue.try_send(3), Err(TrySendError::Disconnected(3)));
}

#[test]
fn what_is_in_a_queue_is_dropped_with_its_reader_though_somebody_might_put_in_more() {
    for _ in 0..200 {
        let bell = Bell::new();
        let (queue, things) = bell.bounded::<std::sync::mpsc::Sender<()>>(4);
        let asking = queue.clone();
        let asks = thread::spawn(move || {
            let mut asked = 0;
            loop {
                let (answer, answers) = std::sync::mpsc::channel();
                if asking.send(answer).is_err() {
                    return asked;
                }
                asked += 1;
                // There will be no answer, but the word that there is none.
                assert!(
                    answers
                        .recv_timeout(LONG)
                        .is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Disconnected)
                );
            }
        });
        while things.is_empty() {
            thread::yield_now();
        }
        drop(things);
        assert!(asks.join().unwrap() > 0);
        drop(queue);
    }
}
