//! Every lease that an instance takes comes to a worker: also when the instance is only being created, when workers have just
//! gone for want of work, and when one of them has failed while others are busy.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_host::{Host, HostEvent, Spec};
use std::time::{Duration, Instant};
use support::*;

/// A small generator, so that a run can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn leases_done(events: &[HostEvent]) -> usize {
    events.iter().filter(|event| event.lease_done().is_some()).count()
}

#[test]
fn first_leases_of_many_instances_are_all_taken() {
    let folder = plugin_folder();
    let host = Host::new(vec![folder.path().to_owned()]);
    let mut chance = Chance(7);
    for round in 0..150 {
        // Loaded again each time, as at a first start.
        let plugin = host.load("bitbucket").unwrap();
        let mut limits = Spec::new("c", Vec::new());
        limits.max_workers = 1 + u32::try_from(chance.below(4)).unwrap();
        // Workers go while leases come.
        limits.idle_exit = Duration::from_micros(chance.below(400));
        let mut channel = Running::start(&host, &plugin, limits);
        if round % 3 == 0 {
            channel.instance.prepare();
        }
        for number in 1..=8 {
            channel.offer(lease(number, &[&[0], &[1]]));
            let wait = Duration::from_micros(chance.below(500));
            let since = Instant::now();
            while since.elapsed() < wait {
                std::hint::spin_loop();
            }
        }
        channel.until_leases_done(8);
        assert_eq!(leases_done(&channel.seen), 8);
        assert!(times_finished(&channel.seen).values().all(|&times| times == 1));
        channel.instance.stop(Duration::from_secs(10));
        channel.until_stopped();
    }
}

#[test]
fn a_lease_that_came_while_the_plugin_rested_does_not_wait_for_a_busy_worker() {
    let (_folder, host, plugin) = misbehaving();
    let mut limits = spec("c", "hang_when_addressed", Duration::from_secs(60));
    limits.max_workers = 3;
    limits.deadline = Duration::from_secs(3);
    let mut channel = Running::start(&host, &plugin, limits);
    let hanging = |number| {
        let mut lease = lease(number, &[&[0]]);
        lease.deliveries[0].recipients[0].address = "hang@site.example".to_owned();
        lease
    };
    channel.offer(hanging(1));
    std::thread::sleep(Duration::from_millis(1500));
    channel.offer(hanging(2));
    // The first hangs for good and is given up; the second has half of its time left.
    channel.until_failures(1);
    channel.offer(lease(3, &[&[0]]));
    channel.until_failures(2);
    channel.until_leases_done(3);
    assert!(
        channel.story().contains("message 30: 0 delivered"),
        "no worker came for it, and it was given back:\n{}",
        channel.story()
    );
}
