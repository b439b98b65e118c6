//! The log of a child: what is said there, by the plugin or by the host around it, becomes frames for the hub, no more of them than
//! the hub would write down.
//!
//! # Not here
//! Spans: nobody in a child uses them.

use crate::child::Outgoing;
use crate::wire::ToHub;
use sluice_host::Lines;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Sends events to the hub.
pub(crate) struct ToTheHub {
    pub(crate) outgoing: Arc<Outgoing>,
    /// 1 errors to 5 everything.
    pub(crate) most: u8,
    pub(crate) spans: AtomicU64,
}

pub(crate) const WARN: u8 = 2;

impl ToTheHub {
    fn say(&self, level: u8, id: String, text: String) {
        self.outgoing.say(&ToHub::Log { level, id, text });
    }
}

fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

impl Subscriber for ToTheHub {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && number(*metadata.level()) <= self.most
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed).max(1))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        // A word about lines that were left out is none of them: there is one in a second, and it counts for the others.
        let counts = event.metadata().fields().field("untold").is_some();
        let (is_told, untold) = match counts {
            true => (true, self.outgoing.count_lines(Lines::over)),
            false => self.outgoing.count_lines(Lines::one_more),
        };
        self.outgoing.say_untold(untold);
        if !is_told {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let Line { mut text, id, fields } = line;
        text.push_str(&fields);
        self.say(number(*event.metadata().level()), id, text);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event as a line. The channel and the plugin are put in front by the hub.
#[derive(Default)]
struct Line {
    text: String,
    id: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.text.push_str(value),
            "id" => value.clone_into(&mut self.id),
            "channel" | "plugin" => {}
            name => {
                let _ = write!(self.fields, " {name}={value}");
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => {
                let _ = write!(self.text, "{value:?}");
            }
            "id" => self.id = format!("{value:?}").trim_matches('"').to_owned(),
            "channel" | "plugin" => {}
            name => {
                let _ = write!(self.fields, " {name}={value:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Frames, TO_HUB_MAX};
    use sluice_host::LINES_MAX;

    /// Lines in these octets, and the sum of those that were left out.
    fn lines_of(octets: &[u8]) -> (u32, u32) {
        let mut frames = Frames::new(TO_HUB_MAX);
        let (mut told, mut untold, mut from) = (0, 0, 0);
        while from < octets.len() {
            let room = frames.room();
            let some = room.len().min(octets.len() - from);
            room[..some].copy_from_slice(&octets[from..from + some]);
            frames.came(some);
            from += some;
            while let Some((kind, body)) = frames.next_frame().unwrap() {
                let ToHub::Log { text, .. } = ToHub::read(kind, body).unwrap() else { panic!("no line") };
                match text.split_once("untold=") {
                    Some((_, count)) => untold += count.parse::<u32>().unwrap(),
                    None => told += 1,
                }
            }
        }
        (told, untold)
    }

    #[test]
    fn the_writer_says_what_was_left_out_when_nobody_else_says_anything() {
        use std::io::Read;
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let outgoing = Outgoing::new();
        let writer = Arc::clone(&outgoing);
        // It lives as long as this program, and so does the other end: one that has gone would end it.
        std::thread::spawn(move || writer.write_to(&ours));
        let log = ToTheHub { outgoing, most: 3, spans: AtomicU64::new(1) };
        tracing::subscriber::with_default(log, || {
            // It sleeps already, and is woken by the first that is left out.
            (0..LINES_MAX).for_each(|number| tracing::error!(number, "the host has something to say"));
            std::thread::sleep(std::time::Duration::from_millis(100));
            (0..50).for_each(|number| tracing::error!(number, "the host has something to say"));
        });
        let mut came = Vec::new();
        let mut buffer = [0; 4096];
        while lines_of(&came) != (LINES_MAX, 50) {
            let count = theirs.read(&mut buffer).unwrap();
            came.extend_from_slice(&buffer[..count]);
        }
        std::mem::forget(theirs);
    }

    #[test]
    fn how_many_errors_were_left_out_is_said_when_they_end_and_at_the_end_of_the_child() {
        let outgoing = Outgoing::new();
        let log = ToTheHub { outgoing: Arc::clone(&outgoing), most: 3, spans: AtomicU64::new(1) };
        tracing::subscriber::with_default(log, || {
            (0..500).for_each(|number| tracing::error!(number, "the host has something to say"));
            let (told, untold) = lines_of(&outgoing.take());
            assert!(told >= LINES_MAX && told + untold < 500, "some are counted and not told yet");
            // Nobody says anything more; a second later somebody comes by.
            std::thread::sleep(std::time::Duration::from_millis(1100));
            outgoing.say_untold(outgoing.count_lines(Lines::over));
            let (more, counted) = lines_of(&outgoing.take());
            assert_eq!((more, told + untold + counted), (0, 500));
            // Before a second is over it is the end.
            (0..300).for_each(|number| tracing::error!(number, "the host has something to say"));
            outgoing.tell_rest();
            let (told, untold) = lines_of(&outgoing.take());
            assert_eq!(told + untold, 300);
        });
    }

    #[test]
    fn a_child_says_no_more_than_the_hub_writes_down() {
        let outgoing = Outgoing::new();
        let log = ToTheHub { outgoing: Arc::clone(&outgoing), most: 3, spans: AtomicU64::new(1) };
        let begun = std::time::Instant::now();
        tracing::subscriber::with_default(log, || {
            (0..10_000).for_each(|number| tracing::warn!(number, "another line"));
            tracing::debug!("nobody wants this");
            tracing::warn!(untold = 7, "it said more than fits into the log");
        });
        let seconds = u32::try_from(begun.elapsed().as_secs()).unwrap();
        let octets = outgoing.take();
        let mut frames = Frames::new(TO_HUB_MAX);
        let (mut count, mut from, mut counted) = (0, 0, false);
        while from < octets.len() {
            let room = frames.room();
            let some = room.len().min(octets.len() - from);
            room[..some].copy_from_slice(&octets[from..from + some]);
            frames.came(some);
            from += some;
            while let Some((kind, body)) = frames.next_frame().unwrap() {
                let ToHub::Log { level: 2, text, .. } = ToHub::read(kind, body).unwrap() else {
                    panic!("no line")
                };
                counted |= text.ends_with(" untold=7");
                count += 1;
            }
        }
        assert!(counted, "the plugin's own count is told whatever else was said");
        // And a line about the others in each second that it took.
        assert!((LINES_MAX..=(LINES_MAX + 1) * (seconds + 1) + 1).contains(&count), "{count} frames");
    }
}
