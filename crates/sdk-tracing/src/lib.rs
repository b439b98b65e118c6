//! Events of `tracing` in a plugin become lines of the hub's log, with the channel and the message that they are about.
//!
//! A plugin is a library of its own, and so is its copy of `tracing`: what the hub has set up does not reach it, and what its
//! dependencies say is lost unless the plugin listens. This crate does.
//!
//! ```
//! use sluice_sdk::{Channel, Context, CreateError, Next, RunError, Worker};
//! use sluice_sdk_tracing::Tracing;
//! use std::time::Duration;
//!
//! struct Drain {
//!     tracing: Tracing,
//! }
//!
//! impl Channel for Drain {
//!     const NAME: &'static str = "drain";
//!     const VERSION: &'static str = "1.0";
//!     const DESCRIPTION: &'static str = "delivers everything to nowhere";
//!
//!     fn create(context: Context) -> Result<Self, CreateError> {
//!         Ok(Drain { tracing: Tracing::install(&context, tracing::Level::DEBUG) })
//!     }
//!
//!     fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
//!         let _channel = self.tracing.channel().entered();
//!         loop {
//!             match worker.next(Duration::from_secs(60)) {
//!                 Next::Delivery(delivery) => {
//!                     let _delivery = self.tracing.delivery(&delivery).entered();
//!                     tracing::info!(size = delivery.body_size(), "gone");
//!                     delivery.take_recipients().for_each(|one| one.delivered("gone"));
//!                 }
//!                 Next::Idle | Next::Poll => {}
//!                 Next::Stop => return Ok(()),
//!             }
//!         }
//!     }
//! }
//! ```
//!
//! The log has `gone size=981` then, about that message. Spans go where `tracing` takes them: to other threads and into futures, with
//! `Instrument`. An event outside of any span of a channel is a line of the channel that was made last.
//!
//! # Invariants
//! One subscriber for the whole library, however many channels it carries. Spans of a channel that is gone still lead to its log, which
//! the hub keeps as long as the process lives.
//! # Failure
//! Where the plugin has set a subscriber of its own before, that one stays and nothing comes to the hub's log from here;
//! [`Tracing::is_heard`] tells.
//! # Not here
//! The hub's side, which bounds and escapes what it is given.
#![forbid(unsafe_code)]

use sluice_sdk::{Context, Delivery, Level, Log};
use std::fmt::{self, Write};
use std::sync::{OnceLock, PoisonError, RwLock};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Span, Subscriber, span};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context as In, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// The field of a span that says by number whose log it leads to.
const CHANNEL: &str = "sluice.channel";
/// The field of a span that has the queue id.
const MESSAGE: &str = "sluice.message";

/// The logs of all channels that were made, by the number in their spans; and the loudest level that any of them wants.
static LOGS: RwLock<Vec<(Log, LevelFilter)>> = RwLock::new(Vec::new());

/// One channel's way from `tracing` to the log.
#[derive(Clone, Copy, Debug)]
pub struct Tracing {
    channel: u64,
    is_heard: bool,
}

impl Tracing {
    /// Listens for this channel, to events up to `most`. For `create`.
    #[must_use]
    pub fn install(context: &Context, most: tracing::Level) -> Tracing {
        static IS_HEARD: OnceLock<bool> = OnceLock::new();
        let channel = {
            let mut logs = LOGS.write().unwrap_or_else(PoisonError::into_inner);
            logs.push((context.logger(), LevelFilter::from_level(most)));
            logs.len() as u64 - 1
        };
        let is_heard = *IS_HEARD
            .get_or_init(|| tracing::subscriber::set_global_default(Registry::default().with(ToLog)).is_ok());
        // What was switched off at its place because nobody wanted it may be wanted now.
        tracing::callsite::rebuild_interest_cache();
        Tracing { channel, is_heard }
    }

    /// Do events come to the hub's log? Not where the plugin has a subscriber of its own.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// A span of what the channel does.
    #[must_use]
    pub fn channel(&self) -> Span {
        tracing::error_span!("channel", { CHANNEL } = self.channel)
    }

    /// A span of what is done about one message.
    #[must_use]
    pub fn delivery(&self, delivery: &Delivery<'_>) -> Span {
        tracing::error_span!("delivery", { CHANNEL } = self.channel, { MESSAGE } = delivery.id())
    }
}

/// The layer: events go to the log that their spans name.
struct ToLog;

/// What a span of ours knows.
#[derive(Default)]
struct Ours {
    channel: Option<u64>,
    message: Option<String>,
}

impl Visit for Ours {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == CHANNEL {
            self.channel = Some(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.message = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ToLog {
    fn enabled(&self, metadata: &Metadata<'_>, _: In<'_, S>) -> bool {
        let logs = LOGS.read().unwrap_or_else(PoisonError::into_inner);
        metadata.is_span() || logs.iter().any(|(_, most)| *most >= *metadata.level())
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: In<'_, S>) {
        let mut ours = Ours::default();
        attributes.record(&mut ours);
        if let Some(span) = context.span(id).filter(|_| ours.channel.is_some()) {
            span.extensions_mut().insert(ours);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: In<'_, S>) {
        let (mut channel, mut message) = (None, None);
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            if let Some(ours) = extensions.get::<Ours>() {
                channel = channel.or(ours.channel);
                message = message.or_else(|| ours.message.clone());
            }
        }
        let chosen = {
            let logs = LOGS.read().unwrap_or_else(PoisonError::into_inner);
            let place = channel.and_then(|number| usize::try_from(number).ok());
            place.and_then(|place| logs.get(place)).or(logs.last()).copied()
        };
        let Some((log, most)) = chosen else { return };
        if most < *event.metadata().level() {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let text = line.message + &line.fields;
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::TRACE => Level::Trace,
        };
        match message {
            Some(id) => log.write_about(level, &id, &text),
            None => log.write(level, &text),
        }
    }
}

/// Message first, then `name=value` of each field.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            let _ = write!(self.fields, " {}={value:?}", field.name());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
