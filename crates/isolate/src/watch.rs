//! One thread for each child: it notices the child's end, holds it to its limits, and writes into the log what it says on standard output and error.
//!
//! Woken by the child's end, by what it says, and by the clock; ended by the child's end.
// In the tests of this crate processes are played (`rehearsal`).
#![cfg_attr(test, allow(dead_code))]

use crate::instance::{Limits, Shared};
use crate::process::Handle;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use sluice_host::{LINE_MAX, Lines, one_line};
use std::fs;
use std::io::{PipeReader, Read};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often memory and deadlines are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often the processor's time is, where there is a share.
const LOOK_CPU: Duration = Duration::from_millis(100);
/// How much of its share a child may save up, as time.
const SAVED_MAX: Duration = Duration::from_secs(2);
/// What is read in a second of what a child writes, in reads of 4 KiB: one that writes more waits, as at a terminal.
const READS_MAX: u32 = 64;
/// How often the pipe of a dead child is read from, 4 KiB at a time: a pipe that was made larger may be cut short.
const LAST_READS: u32 = 64;
/// The kernel counts processor time in these (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);
/// A child that has work and has finished none for its deadline and this is ended, at least.
const SILENCE_MIN: Duration = Duration::from_secs(15);

/// What is known of a child while it lives, and wanted when it is dead.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Why the hub ended it, if it did: the end of a sentence that begins with the child.
    pub(crate) ended_because: Option<String>,
    /// The most memory that was seen, in octets.
    pub(crate) memory: u64,
}

impl Known {
    /// The first reason counts.
    pub(crate) fn ended_because(known: &Mutex<Known>, why: String) {
        known.lock().ended_because.get_or_insert(why);
    }
}

/// Watches a child until its end.
pub(crate) fn watch(shared: &Shared, handle: &Handle, mut output: Option<PipeReader>, known: &Mutex<Known>) {
    let mut clock = Share::of(&shared.limits);
    let mut said = Said::default();
    let mut progress = (0, Instant::now());
    let mut next_look = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next_look {
            next_look = now + LOOK;
            let limits = &shared.limits;
            let memory = memory_of(handle.pid);
            let most = {
                let mut known = known.lock();
                known.memory = known.memory.max(memory);
                limits.memory.unwrap_or(u64::MAX)
            };
            if memory > most {
                let why =
                    format!("was ended: it had {} MiB of memory, and may have {}", memory >> 20, most >> 20);
                Known::ended_because(known, why);
                handle.kill();
            }
            if let Some(silent) = shared.silent_for(&mut progress) {
                let limit =
                    (shared.spec.deadline + shared.spec.deadline / 4).max(shared.spec.deadline + SILENCE_MIN);
                if silent > limit {
                    let why = format!("was ended: it had deliveries and finished none for {silent:.0?}");
                    Known::ended_because(known, why);
                    handle.kill();
                }
            }
        }
        if let Some(share) = &mut clock {
            share.look(handle);
        }
        let wait = match &clock {
            Some(share) => share.next_look(),
            None => next_look.saturating_duration_since(Instant::now()),
        };
        let (heard, wait) = match said.holds_back() {
            None => (output.as_ref(), wait.min(LOOK)),
            Some(rest) => (None, wait.min(LOOK).min(rest)),
        };
        let is_over = wait_for(handle, heard, wait);
        if is_over.1
            && let Some(pipe) = &mut output
            && !said.take(shared, pipe)
        {
            output = None;
        }
        if is_over.0 {
            break;
        }
    }
    // What it has started goes with it. Nobody has waited for it yet, so the number of its group is still its own.
    if let Some(group) = Pid::from_raw(handle.pid.cast_signed()) {
        // Fails when nobody is in it, or it had none yet.
        let _ = kill_process_group(group, Signal::KILL);
    }
    // What it wrote before its end is there; others who have the pipe and write on are not waited for.
    for _ in 0..LAST_READS {
        let Some(pipe) = &mut output else { break };
        if !wait_for(handle, Some(pipe), Duration::ZERO).1 || !said.take(shared, pipe) {
            break;
        }
    }
    said.end(shared);
    shared.tell_untold(said.lines.rest());
    // The reader takes what is in the socket, and then finds its end, whoever else has it open.
    let _ = handle.socket.shutdown(Shutdown::Both);
}

/// Whether the child has ended, and whether it has said something.
fn wait_for(handle: &Handle, output: Option<&PipeReader>, time: Duration) -> (bool, bool) {
    let mut places = vec![PollFd::new(&handle.pidfd, PollFlags::IN)];
    places.extend(output.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    let time = Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    if poll(&mut places, Some(&time)).is_err() {
        return (false, false);
    }
    let is_set = |place: Option<&PollFd<'_>>| place.is_some_and(|place| !place.revents().is_empty());
    (is_set(places.first()), is_set(places.get(1)))
}

/// What a child says on standard output and error, by lines.
struct Said {
    line: Vec<u8>,
    lines: Lines,
    since: Instant,
    reads: u32,
}

impl Default for Said {
    fn default() -> Said {
        Said { line: Vec::new(), lines: Lines::default(), since: Instant::now(), reads: 0 }
    }
}

impl Said {
    /// For how long nothing is read: enough was in this second.
    fn holds_back(&mut self) -> Option<Duration> {
        let rest = Duration::from_secs(1).saturating_sub(self.since.elapsed());
        if rest.is_zero() {
            (self.since, self.reads) = (Instant::now(), 0);
        }
        (self.reads >= READS_MAX).then_some(rest)
    }

    /// `false` at its end.
    fn take(&mut self, shared: &Shared, pipe: &mut PipeReader) -> bool {
        let mut octets = [0; 4096];
        self.reads += 1;
        let count = match pipe.read(&mut octets) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(_) => return true,
        };
        for octet in &octets[..count] {
            match octet {
                b'\n' => self.end(shared),
                // What is longer than a line may be is cut by whoever shows it.
                octet if self.line.len() <= LINE_MAX => self.line.push(*octet),
                _ => {}
            }
        }
        true
    }

    fn end(&mut self, shared: &Shared) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return;
        }
        let (is_told, untold) = self.lines.one_more();
        shared.tell_untold(untold);
        if is_told {
            let (channel, plugin) = (&*shared.channel, shared.plugin_name());
            tracing::warn!(channel, plugin, "it wrote: {}", one_line(&line, LINE_MAX));
        }
    }
}

/// Holds a child to its share of a processor: what it has saved up may be negative, and then it is stopped.
struct Share {
    /// Of one processor.
    share: f64,
    /// Seconds.
    saved: f64,
    used: Duration,
    looked: Instant,
    is_stopped: bool,
}

impl Share {
    fn of(limits: &Limits) -> Option<Share> {
        let share = f64::from(limits.cpu_percent?) / 100.0;
        let saved = SAVED_MAX.as_secs_f64() * share;
        Some(Share { share, saved, used: Duration::ZERO, looked: Instant::now(), is_stopped: false })
    }

    fn look(&mut self, handle: &Handle) {
        let passed = self.looked.elapsed();
        if passed < LOOK_CPU / 2 {
            return;
        }
        self.looked += passed;
        let used = processor_time_of(handle.pid).unwrap_or(self.used);
        let newly = used.saturating_sub(self.used);
        self.used = self.used.max(used);
        let most = SAVED_MAX.as_secs_f64() * self.share;
        self.saved = (self.saved + passed.as_secs_f64() * self.share - newly.as_secs_f64()).min(most);
        if self.saved < 0.0 && !self.is_stopped {
            handle.signal(Signal::STOP);
            self.is_stopped = true;
        } else if self.saved >= 0.0 && self.is_stopped {
            handle.signal(Signal::CONT);
            self.is_stopped = false;
        }
    }

    /// How long until it is to be looked again: when a stopped one may go on.
    fn next_look(&self) -> Duration {
        match self.is_stopped {
            true => Duration::from_secs_f64((-self.saved / self.share).clamp(0.001, 1.0)).max(LOOK_CPU / 2),
            false => LOOK_CPU,
        }
    }
}

/// User and system time, fields 14 and 15 of /proc/PID/stat (proc(5)). The name of the program before them may hold blanks and brackets.
fn processor_time_of(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let ticks: u32 = fields.next()?.parse::<u32>().ok()?.checked_add(fields.next()?.parse().ok()?)?;
    Some(TICK * ticks)
}

/// Memory that is no file's, in octets: anonymous and shared (proc(5), /proc/PID/status).
fn memory_of(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    ["RssAnon:", "RssShmem:", "VmSwap:"].into_iter().filter_map(of).sum::<u64>() << 10
}

/// For the threads that share it.
pub(crate) type Knowledge = Arc<Mutex<Known>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_uses_can_be_told() {
        let pid = std::process::id();
        assert!(memory_of(pid) > 100_000, "{}", memory_of(pid));
        let before = processor_time_of(pid).unwrap();
        let begun = Instant::now();
        while processor_time_of(pid).unwrap() < before + 2 * TICK {
            assert!(begun.elapsed() < Duration::from_secs(30));
        }
        assert_eq!((memory_of(0), processor_time_of(0)), (0, None));
    }

    #[test]
    fn who_writes_without_end_is_read_from_in_measure() {
        let mut said = Said::default();
        assert_eq!(said.holds_back(), None);
        said.reads = READS_MAX;
        assert!(said.holds_back().is_some_and(|rest| rest <= Duration::from_secs(1)));
        said.since -= Duration::from_secs(1);
        assert_eq!(said.holds_back(), None, "the next second has begun");
        assert_eq!(said.reads, 0);
    }
}
