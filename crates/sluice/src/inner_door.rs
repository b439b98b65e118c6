//! Mail that channels bring in: the host's [`FrontDoor`], opened to the same [`Door`] that the listeners use.
//!
//! The source channel is the worker's own, or the one by which the message first came in, for a channel like `reprocess`.
//! Access tables, rewriting, aliases and limits are those of that source channel. Nobody relays here: whoever may write a
//! plugin into the configuration may send anywhere.
//!
//! # Not here
//! Reading what a plugin hands over (`host`), and the message on its way in (`smtpd::inside`).

use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use sluice_host::{FrontDoor, Submission};
use sluice_mail::{Outcome, Time};
use sluice_smtpd::inside::{self, Message, To};
use sluice_smtpd::{Admission, AtrnPolicy, EtrnPolicy, Limits, Origin, Reception, Safety, Session};

use crate::hub::Hub;
use crate::intake::Door;

/// How long a worker waits for the spool. The spool answers within milliseconds, or says that it cannot.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The door for plugins. It is there before the hub is; until then, and when the hub has gone, it is closed.
#[derive(Default)]
pub(crate) struct InnerDoor {
    hub: OnceLock<Weak<Hub>>,
}

impl InnerDoor {
    /// Opens it.
    pub(crate) fn open(&self, hub: &Arc<Hub>) {
        let _ = self.hub.set(Arc::downgrade(hub));
    }
}

impl FrontDoor for InnerDoor {
    fn submit(&self, submission: &Submission<'_>) -> Option<Vec<Outcome>> {
        let hub = self.hub.get()?.upgrade()?;
        let loaded = hub.loaded();
        let config = &loaded.config;
        let (source_channel, origin) = match &submission.origin {
            Some(origin) if submission.as_original => (origin.source_channel.as_str(), Origin::Again),
            Some(_) => (submission.channel, Origin::Again),
            None => (submission.channel, Origin::Channel),
        };
        let local = config.channels.local();
        let by = config.channels.by_name(submission.channel).unwrap_or(local);
        let source = config.channels.by_name(source_channel);
        // What has come in once was not too large then.
        let of_source = source.filter(|_| origin == Origin::Channel);
        let of_source = of_source.and_then(|source| source.settings.source_block_limit);
        let of_all = config.options.block_limit.filter(|_| origin == Origin::Channel);
        let largest = [Some(config.options.max_message_size), of_all, of_source];
        let lines = config.options.line_limit.filter(|_| origin == Origin::Channel);
        let admission = Admission {
            source_channel: source_channel.to_owned(),
            banner_host: local.official_host.clone(),
            etrn: EtrnPolicy::Disable,
            atrn: AtrnPolicy::No,
            safety: Safety::default(),
            is_known: true,
            limits: Limits {
                max_message_size: largest.into_iter().flatten().filter(|size| *size > 0).min().unwrap_or(0),
                max_received_lines: config.options.max_received_lines,
                intake_timeout: WAIT_MAX,
                ..Limits::default()
            },
            reception: Reception { max_lines: lines, ..Reception::default() },
        };
        let name = match by.official_host.contains('.') {
            true => by.official_host.clone(),
            false => format!("{}.{}", by.official_host.to_lowercase(), local.official_host),
        };
        let mut session = Session::inside(submission.channel, name, admission, origin);
        if let Some(origin) = &submission.origin {
            session.waited_in = origin.domain.to_string();
        }
        let to = submission.recipients.iter().map(|one| To {
            address: one.address,
            original: one.original,
            wishes: one.wishes.clone(),
        });
        let recipients: Vec<To<'_>> = to.collect();
        let wishes = submission.origin.as_ref().map_or(&submission.wishes, |origin| &origin.wishes);
        let message = Message {
            sender: submission.sender,
            recipients: &recipients,
            wishes,
            pieces: submission.pieces,
            eight_bit: submission.eight_bit,
            smtputf8: submission.smtputf8,
            on_hold: submission.on_hold,
            priority: submission.origin.as_ref().map(|origin| origin.priority),
            now: Time::from(SystemTime::now()),
        };
        inside::take(&Door::new(hub), &session, &message)
    }
}
