//! The log of a child: what is said there, by the plugin or by the host around it, becomes frames for the hub.
//!
//! # Not here
//! Spans: nobody in a child uses them.

use crate::child::Outgoing;
use crate::wire::ToHub;
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
        let mut line = Line::default();
        event.record(&mut line);
        let Line { mut text, id, fields } = line;
        text.push_str(&fields);
        self.outgoing.say(&ToHub::Log { level: number(*event.metadata().level()), id, text });
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
