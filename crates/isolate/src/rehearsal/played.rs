//! A process that is played: an honest child, which may die at each of its words.

use super::doubles::Socket;
use super::{below, once_in};
use crate::wire::{Frames, Ready, TO_CHILD_MAX, ToChild, ToHub, VERSION};
use sluice_host::{Cause, Failure, StopReason};
use std::time::Duration;

/// Lives until it has been stopped, or has died.
pub(crate) fn play(socket: &Socket) {
    let mut frames = Frames::new(TO_CHILD_MAX);
    let mut held: Vec<u64> = Vec::new();
    let mut is_stopped = false;
    loop {
        let octets = {
            let mut line = socket.line.lock();
            // Who holds something does not wait for more.
            while line.to_child.is_empty() && !line.is_dead && held.is_empty() {
                socket.changed.wait(&mut line);
            }
            if line.is_dead {
                return;
            }
            std::mem::take(&mut line.to_child)
        };
        frames.room()[..octets.len()].copy_from_slice(&octets);
        frames.came(octets.len());
        while let Some((kind, body)) = frames.next_frame().expect("the hub writes whole frames") {
            let frame = ToChild::read(kind, body).expect("the hub is believed");
            assert!(
                !is_stopped || matches!(frame, ToChild::Stop(_)),
                "it was told to stop, and hears {frame:?}"
            );
            match frame {
                ToChild::Hello(_) if once_in(10) => say(socket, &ToHub::Cannot("a bad file".to_owned())),
                ToChild::Hello(_) => say(socket, &ToHub::Ready(VERSION, Ready::default())),
                ToChild::Prepare if once_in(4) => say(socket, &ToHub::Created(Err("a bad day".to_owned()))),
                ToChild::Prepare => say(socket, &ToHub::Created(Ok(()))),
                ToChild::Lease(lease) => {
                    held.extend(lease.deliveries.iter().map(|lent| lent.delivery.token));
                    if lease.poll {
                        say(socket, &ToHub::LeaseDone(lease.lease));
                    }
                }
                ToChild::Stop(_) => is_stopped = true,
                ToChild::Segment { .. } | ToChild::Forget(_) | ToChild::Answer(..) => {}
            }
        }
        if !held.is_empty() && once_in(10) {
            // A thread of it hangs: it is to be let go when it has nothing to do.
            let failure = Failure::Hung(Duration::ZERO);
            say(socket, &ToHub::Failed { failure, pause: Duration::ZERO });
        }
        while !held.is_empty() && (is_stopped || !once_in(3)) {
            let delivery = held.swap_remove(below(held.len()));
            let cause = if is_stopped { Cause::Stopping } else { Cause::Done };
            say(socket, &ToHub::Finished { delivery, cause, outcomes: Vec::new() });
        }
        if is_stopped {
            say(socket, &ToHub::Stopped { reason: StopReason::Asked, left_behind: 0 });
            socket.die();
            return;
        }
    }
}

fn say(socket: &Socket, frame: &ToHub) {
    if once_in(20) {
        return socket.die();
    }
    let mut octets = Vec::new();
    frame.write(&mut octets);
    socket.say(&octets);
}
