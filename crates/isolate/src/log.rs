//! The log of a child: what is said there, by the plugin or by the host around it, becomes frames for the hub, no more of them than
//! the hub would write down.
//!
//! # Not here
//! Spans: nobody in a child uses them.

use crate::child::Outgoing;
use crate::wire::ToHub;
use parking_lot::Mutex;
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
    /// The hub counts them as well, and ends a child that says much more.
    pub(crate) lines: Mutex<Lines>,
}

const WARN: u8 = 2;

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
            true => (true, self.lines.lock().over()),
            false => self.lines.lock().one_more(),
        };
        if untold > 0 {
            self.say(WARN, String::new(), format!("it said more than fits into the log untold={untold}"));
        }
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

    #[test]
    fn a_child_says_no_more_than_the_hub_writes_down() {
        let outgoing = Outgoing::new();
        let log = ToTheHub {
            outgoing: Arc::clone(&outgoing),
            most: 3,
            spans: AtomicU64::new(1),
            lines: Mutex::default(),
        };
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
