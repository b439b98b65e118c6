//! Tests of a channel without a hub: deliveries are played to it through the table that it exports, and what it does is
//! collected.
//!
//! ```
//! use sluice_sdk::testing::{Bench, Mail};
//! # use sluice_sdk::{Channel, Context, CreateError, Next, RunError, Worker};
//! # struct Drain;
//! # impl Channel for Drain {
//! #     const NAME: &'static str = "drain";
//! #     const VERSION: &'static str = "1.0";
//! #     const DESCRIPTION: &'static str = "delivers everything to nowhere";
//! #     fn create(_context: Context) -> Result<Self, CreateError> { Ok(Drain) }
//! #     fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
//! #         loop {
//! #             match worker.next(std::time::Duration::from_secs(60)) {
//! #                 Next::Delivery(delivery) => delivery.take_recipients().for_each(|one| one.delivered("gone")),
//! #                 Next::Idle | Next::Poll => {}
//! #                 Next::Stop => return Ok(()),
//! #             }
//! #         }
//! #     }
//! # }
//! # sluice_sdk::export_channel!(Drain);
//!
//! # fn main() {
//! let mail = Mail::new("sender@hub.example").to("fred@site.example").text("Subject: x\n\nHello.\n");
//! let report = Bench::<Drain>::new().mail(mail).run();
//! report.assert_clean();
//! assert_eq!(report.story(), "test-1 fred@site.example delivered 2.0.0 gone\n");
//! # }
//! ```
//!
//! Nothing here waits for a clock: a bench hands out what it has, says `Idle` to a channel that holds something, and then `Stop`.
//! The time that is left for a delivery is what the test says ([`Mail::time_left`]). Only a channel that hangs is waited for
//! ([`Bench::patience`]).
//!
//! # Recorded deliveries
//! A [`Mail`] is kept in a file as lines of the envelope, a blank line, and the message:
//!
//! ```text
//! sender: sender@hub.example
//! recipient: fred@site.example
//! recipient: kim@site.example original=list@site.example notify=6
//! attempts: 2
//!
//! Subject: x
//!
//! Hello.
//! ```
//!
//! | Line | Meaning | Without it |
//! |---|---|---|
//! | `sender:` | envelope sender; nothing behind it is the null reverse-path | the null reverse-path |
//! | `recipient:` | an address, and perhaps `original=`, `notify=` (a number) and `origin=` | there must be one |
//! | `id:` | queue id | `test-` and a number |
//! | `attempts:` | earlier attempts | 0 |
//! | `priority:` | `urgent`, `normal` or `nonurgent` | `normal` |
//! | `transfer-priority:` | -9 to 9, as the sender has said it (RFC 6710) | it has not |
//! | `arrived:` | milliseconds since 1970 | 1700000000000 |
//! | `lease:` | the batch; equal numbers one behind the other are the same destination | 0 |
//! | `next-hop:` | where it goes in place of where the settings say | as configured |
//! | `returned:` | 1 or 2 (RET of RFC 3461) | 0 |
//! | `envelope-id:` | ENVID, encoded | none |
//! | `smtputf8:` | 1: it needs SMTPUTF8 | 0 |
//!
//! Names are taken in any letter case, and lines that begin with `#` are passed over. The message is kept as people read it: with
//! line ends of any kind, and without stuffed dots.
//!
//! # Not here
//! What a hub does with what a plugin does wrong: here it is a fault in the report. The conformance suite, which runs a built
//! library, is `sluice plugin check`.

use crate::export::{IsExported, stage};
use crate::{NotTaken, OptionKind, OptionSpec, Outcome, Setting, SettingKind};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

mod mail;
mod recorded;
mod report;

pub use mail::Mail;
pub use report::{Brought, BroughtTo, Ended, Line, Report, Settled};

/// How long a channel that does not come back is waited for, if the test does not say.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host for one channel: settings and deliveries go in, a [`Report`] comes out.
pub struct Bench<C> {
    channel: String,
    settings: Vec<Setting>,
    mails: Vec<Mail>,
    polls: u32,
    workers: usize,
    patience: Duration,
    answer: Box<stage::Answer>,
    takes_mail: bool,
    of: PhantomData<fn() -> C>,
}

impl<C: IsExported> Default for Bench<C> {
    fn default() -> Bench<C> {
        Bench::new()
    }
}

impl<C> fmt::Debug for Bench<C> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Bench")
            .field("channel", &self.channel)
            .field("mails", &self.mails)
            .finish_non_exhaustive()
    }
}

impl<C: IsExported> Bench<C> {
    /// A host without settings and mail, for a channel that has the plugin's name.
    #[must_use]
    pub fn new() -> Bench<C> {
        Bench {
            channel: C::NAME.to_owned(),
            settings: Vec::new(),
            mails: Vec::new(),
            polls: 0,
            workers: 1,
            patience: PATIENCE,
            answer: Box::new(|brought| {
                Ok(brought.recipients.iter().map(|_| Outcome::delivered("queued")).collect())
            }),
            takes_mail: true,
            of: PhantomData,
        }
    }

    /// The channel's name.
    #[must_use]
    pub fn channel(mut self, name: impl Into<String>) -> Bench<C> {
        self.channel = name.into();
        self
    }

    /// A line of the option file.
    #[must_use]
    pub fn option(self, name: &str, value: impl Into<String>) -> Bench<C> {
        self.setting(SettingKind::Option, name, value.into())
    }

    /// A channel keyword with its arguments, which may be none.
    #[must_use]
    pub fn keyword(self, name: &str, arguments: impl Into<String>) -> Bench<C> {
        self.setting(SettingKind::Keyword, name, arguments.into())
    }

    /// Something the host knows, such as `folder`, the folder of the configuration.
    #[must_use]
    pub fn fact(self, name: &str, value: impl Into<String>) -> Bench<C> {
        self.setting(SettingKind::Fact, name, value.into())
    }

    fn setting(mut self, kind: SettingKind, name: &str, value: String) -> Bench<C> {
        self.settings.push(Setting { kind, name: name.to_owned(), value });
        self
    }

    /// One delivery more.
    #[must_use]
    pub fn mail(mut self, mail: Mail) -> Bench<C> {
        self.mails.push(mail);
        self
    }

    /// Some deliveries more.
    #[must_use]
    pub fn mails(mut self, mails: impl IntoIterator<Item = Mail>) -> Bench<C> {
        self.mails.extend(mails);
        self
    }

    /// The channel is told so often to ask for its mail ([`Next::Poll`](crate::Next::Poll)), before it gets any delivery.
    #[must_use]
    pub fn polls(mut self, polls: u32) -> Bench<C> {
        self.polls = polls;
        self
    }

    /// So many threads work at once.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Bench<C> {
        self.workers = workers.max(1);
        self
    }

    /// What becomes of mail that the channel brings in: an outcome for each recipient. Without this all are delivered.
    #[must_use]
    pub fn answers(
        mut self,
        answer: impl Fn(&Brought) -> Result<Vec<Outcome>, NotTaken> + Send + Sync + 'static,
    ) -> Bench<C> {
        self.answer = Box::new(answer);
        self
    }

    /// The host is one that takes no mail from plugins.
    #[must_use]
    pub fn takes_no_mail(mut self) -> Bench<C> {
        self.takes_mail = false;
        self
    }

    /// How long a channel that does not come back is waited for.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Bench<C> {
        self.patience = patience;
        self
    }

    /// Makes the channel, plays all there is, stops it and takes it down.
    #[must_use]
    pub fn run(self) -> Report {
        if let Some(text) = refused(C::OPTIONS, &self.settings) {
            return Report { created: Ended::Refused(text), ..Report::default() };
        }
        let mut mails = self.mails;
        for (at, mail) in mails.iter_mut().enumerate().filter(|(_, mail)| mail.id.is_empty()) {
            mail.id = format!("test-{}", at + 1);
        }
        let Bench { channel, settings, polls, workers, patience, answer, takes_mail, .. } =
            Bench::<C> { mails: Vec::new(), ..self };
        stage::play(
            C::exported(),
            stage::Play { channel, settings, mails, polls, workers, patience, answer, takes_mail },
        )
    }

    /// Asks a routine of the plugin, as `$[image,routine,argument]` does.
    ///
    /// # Errors
    /// What a rule never sees: no such routine, a panic, an answer that is too long.
    pub fn route(&self, routine: &str, argument: &str) -> Result<Option<String>, String> {
        stage::route(C::exported(), routine, argument)
    }
}

/// What a hub refuses before the plugin sees it.
fn refused(table: &[OptionSpec], settings: &[Setting]) -> Option<String> {
    let written = |name: &str| {
        let mut lines = settings.iter().filter(|one| one.kind == SettingKind::Option);
        lines.rfind(|one| one.name.eq_ignore_ascii_case(name))
    };
    for option in table {
        match written(option.name) {
            Some(line) if !takes(option, &line.value) => {
                let (name, value) = (option.name, &line.value);
                return Some(format!("option {name} is `{value}`; it must be {}", option.wanted()));
            }
            None if option.required => {
                return Some(format!("option {} is not set and has no default", option.name));
            }
            _ => {}
        }
    }
    None
}

fn takes(option: &OptionSpec, value: &str) -> bool {
    let digits = value.trim();
    let number = || {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u64>().ok()).flatten()
    };
    match option.kind {
        OptionKind::Text => true,
        OptionKind::Integer | OptionKind::Seconds => {
            let (min, max) = option.range.unwrap_or((0, u64::MAX));
            number().is_some_and(|number| (min..=max).contains(&number))
        }
        OptionKind::Switch => matches!(digits, "0" | "1"),
        OptionKind::Path => !digits.is_empty(),
    }
}
