//! Channel plugin: runs programs over parts of messages.
//!
//! PMDF's `conversion` channel. The hub leads mail here that the mapping table `CONVERSIONS` says yes to. What the entries of the file
//! `conversions` say is done to its parts, and then it is brought in again, as from where it came.
//!
//! # Reading order
//! `entity`: the parts of a message. `rules`: which entry is for which part. `running`: a program and its files. `told`: what it says.
//! `making`: the message with what came of it.
//! # Invariants
//! A recipient is settled only when the converted message is on the hub's disk. A program that fails, in whatever way, keeps the
//! message waiting as it was. What no entry is for keeps its octets.
//! # Failure
//! A message that cannot be taken apart goes on as it is, or waits, as UNREADABLE says.
//! # Not here
//! Which mail comes here (`dispatch`), the file `conversions` as it is written (`config`).
#![forbid(unsafe_code)]

mod entity;
mod making;
mod rules;
mod running;
mod told;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluice_mail::encoding::decoded;
use sluice_mail::mime::{self, parameters};
use sluice_mail::wire::stuff;
use sluice_programs::NoAccount;
use sluice_sdk::{
    Channel, Claim, Context, CreateError, Delivery, Level, Next, OptionSpec, OptionWord, Options, Outcome,
    Recipient, RunError, Status, Submission, Worker,
};

use entity::Parts;
use making::{Label, Made};
use rules::{Asked, Rule};
use running::{Bounds, Given};
use told::Wish;

/// What the option file may say.
#[derive(Debug, Options)]
struct Written {
    /// The account, in /etc/passwd, that programs run as; without it, the one of the keyword `user`. A hub that runs as
    /// root needs one of the two; any other hub can name its own account only.
    user: Option<String>,
    /// The folder in which each run of a program gets one of its own, which is removed behind it. What a hub that was killed has left there
    /// is removed when the channel starts. A relative path starts from the folder of the configuration.
    #[option(default = "/tmp")]
    work_dir: PathBuf,
    /// Time for one run. It is never longer than what is left of the hub's own limit for the message. Then the program and its
    /// process group get SIGTERM, five seconds later SIGKILL, and the message is tried again later.
    #[option(default = 600, range = 1..=86_400)]
    shell_timeout: Duration,
    /// Octets of any file that a program writes. One that writes more is ended by the system (SIGXFSZ), and the message is tried again later.
    #[option(default = 104_857_600, range = 512..=17_179_869_184)]
    file_max: u64,
    /// Octets of a message. A larger one is not taken apart.
    #[option(default = 104_857_600, range = 1..=4_294_967_296)]
    max_size: u64,
    /// Parts of a message. One with more is not taken apart.
    #[option(default = 1000, range = 1..=1_000_000)]
    max_parts: u32,
    /// What becomes of what is not taken apart: a message that is too large or has too many parts, and in other messages parts within parts
    /// more than 60 deep, a multipart without parts, an encoded message, a part for an entry in an encoding that nobody knows. `pass`: it
    /// stays as it is, and entries count for the other parts of its message. `wait`: the whole message is tried again later, and goes back to
    /// its sender when the last of the `notices` is over.
    #[option(default = "pass")]
    unreadable: Unreadable,
    /// What becomes of parts that are signed or encrypted (`multipart/signed`, `multipart/encrypted`): `leave`, they stay as they are;
    /// `convert`, they are parts like others, and their signature is broken.
    #[option(default = "leave")]
    signed: Signed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, OptionWord)]
enum Unreadable {
    Pass,
    Wait,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, OptionWord)]
enum Signed {
    Leave,
    Convert,
}

/// How long to wait for a delivery; the host wakes the wait by itself, this is only a bound.
const WAIT: Duration = Duration::from_secs(600);
/// What is left of the hub's limit for a delivery when a program must have ended: time to end it by force and to bring mail in.
const MARGIN: Duration = Duration::from_secs(10);

/// A channel where parts of messages are converted.
#[derive(Debug)]
pub struct Conversion {
    rules: Vec<Rule>,
    bounds: Bounds,
    max_size: u64,
    max_parts: usize,
    unreadable: Unreadable,
    signed: Signed,
    postmaster: String,
    stopping: AtomicBool,
}

/// What becomes of a message.
#[derive(Debug)]
enum Fate {
    /// It goes on as it is.
    AsIs,
    /// It goes on with this content.
    Changed(Vec<u8>),
    /// It goes on to the postmaster alone.
    Post,
    /// It comes in again as it is, on hold.
    Hold,
    /// It goes nowhere, or not now.
    Settled(Outcome),
}

/// Who gets a message, and on which way.
struct Way<'a> {
    from: &'a str,
    to: &'a str,
    /// The hub has led it here, so it goes on as what it was.
    was_led: bool,
}

impl Channel for Conversion {
    const NAME: &'static str = "conversion";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "runs programs over parts of messages";
    const OPTIONS: &'static [OptionSpec] = Written::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        let written: Written = context.options()?;
        let rules = rules::read(context.setting("conversions").unwrap_or_default());
        let user = written.user.as_deref().or_else(|| context.setting("user")).map(str::trim);
        let runs_programs = rules.iter().any(|rule| rule.get("command").is_some());
        let account = match runs_programs {
            true => sluice_programs::find(user).map_err(|why| match why {
                NoAccount::Refused(text) => CreateError::refused(text),
                NoAccount::Unknown(text) => CreateError::failed(text),
            })?,
            false => None,
        };
        if runs_programs {
            running::remove_left(&written.work_dir, |text| context.log(Level::Info, text));
        }
        let host = context.setting("local_host").filter(|name| !name.is_empty()).unwrap_or("localhost");
        Ok(Conversion {
            rules,
            bounds: Bounds {
                account,
                folder: written.work_dir,
                time: written.shell_timeout,
                file_max: written.file_max,
                log: Some(context.logger()),
            },
            max_size: written.max_size,
            max_parts: written.max_parts as usize,
            unreadable: written.unreadable,
            signed: written.signed,
            postmaster: format!("postmaster@{host}"),
            stopping: AtomicBool::new(false),
        })
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        loop {
            match worker.next(WAIT) {
                Next::Delivery(delivery) => self.deliver(worker, &delivery),
                Next::Idle | Next::Poll => {}
                Next::Stop => return Ok(()),
            }
        }
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

impl Conversion {
    fn deliver(&self, worker: &Worker<'_>, delivery: &Delivery<'_>) {
        // The hub keeps those on the same way together; a batch may have several.
        let mut by_way: BTreeMap<&str, Vec<Claim<'_>>> = BTreeMap::new();
        for recipient in delivery.take_recipients() {
            by_way.entry(recipient.domain).or_default().push(recipient);
        }
        for (domain, claims) in by_way {
            let way = match domain.split_once(':') {
                // An address in brackets may have a colon too.
                Some((from, to)) if !from.starts_with('[') => Way { from, to, was_led: true },
                _ => Way { from: "", to: "", was_led: false },
            };
            let recipients: Vec<Recipient<'_>> = claims.iter().map(|claim| **claim).collect();
            let outcomes = match self.fate(delivery, &way) {
                Fate::AsIs => bring_in(worker, delivery, &way, None, &recipients),
                Fate::Changed(content) => bring_in(worker, delivery, &way, Some(&content), &recipients),
                Fate::Hold => held(worker, delivery, &way, &recipients),
                Fate::Post => self.to_postmaster(worker, delivery, &way, recipients.len()),
                Fate::Settled(outcome) => vec![outcome; recipients.len()],
            };
            for (claim, outcome) in claims.into_iter().zip(outcomes) {
                claim.settle(outcome);
            }
        }
    }

    /// What is to become of a message that cannot be taken apart.
    fn unreadable(&self, delivery: &Delivery<'_>, why: &str) -> Fate {
        match self.unreadable {
            Unreadable::Pass => {
                delivery.log(Level::Warn, &format!("it goes on as it is: {why}"));
                Fate::AsIs
            }
            Unreadable::Wait => Fate::Settled(Outcome::deferred(
                Status::new(4, 6, 0),
                format!("it is not taken apart: {why}"),
            )),
        }
    }

    /// What becomes of a message in which something cannot be taken apart; `None` when that stays as it is, and the rest counts.
    fn odd(&self, delivery: &Delivery<'_>, why: &str) -> Option<Fate> {
        match self.unreadable {
            Unreadable::Pass => {
                delivery.log(Level::Warn, &format!("a part of it stays as it is: {why}"));
                None
            }
            Unreadable::Wait => Some(self.unreadable(delivery, why)),
        }
    }

    fn fate(&self, delivery: &Delivery<'_>, way: &Way<'_>) -> Fate {
        if self.rules.is_empty() {
            return Fate::AsIs;
        }
        if delivery.body_size() > self.max_size {
            let why = format!("it has {} octets, more than MAX_SIZE", delivery.body_size());
            return self.unreadable(delivery, &why);
        }
        let mut message = Vec::new();
        // Reading from memory does not fail.
        let _ = delivery.reader().read_to_end(&mut message);
        let parts = match Parts::of(&message, self.max_parts) {
            Ok(parts) => parts,
            Err(entity::Unreadable(why)) => return self.unreadable(delivery, &why),
        };
        if let Some(fate) = parts.odd.as_deref().and_then(|why| self.odd(delivery, why)) {
            return fate;
        }
        let most = self.max_size.max(self.bounds.file_max).saturating_mul(2);
        let mut size: u64 = 0;
        let mut made: Vec<(usize, Made)> = Vec::new();
        for (index, leaf) in parts.leaves.iter().enumerate() {
            if leaf.is_sealed && self.signed == Signed::Leave {
                continue;
            }
            if delivery.remaining() <= MARGIN {
                let text =
                    format!("part {} ({}/{}): no time was left", leaf.number, leaf.kind.0, leaf.kind.1);
                return Fate::Settled(Outcome::deferred(Status::new(4, 3, 0), text));
            }
            let asked = Asked { from: way.from, to: way.to, message: &message, leaf };
            let Some(rule) = self.rules.iter().find(|rule| rule.is_for(&asked)) else { continue };
            match self.part(delivery, rule, &asked, &parts) {
                Ok(None) => {}
                Ok(Some(new)) => {
                    if let Made::Entity(entity) = &new {
                        size += entity.len() as u64;
                    }
                    if size > most {
                        let text = format!(
                            "its parts have become more than {most} octets, twice MAX_SIZE or FILE_MAX"
                        );
                        return Fate::Settled(Outcome::deferred(Status::new(4, 3, 4), text));
                    }
                    made.push((index, new));
                }
                Err(fate) => return fate,
            }
        }
        match made.is_empty() {
            true => Fate::AsIs,
            false => Fate::Changed(making::message(&message, &parts, &made)),
        }
    }

    /// What becomes of a part; `None` when it stays as it is. An error is about the whole message.
    fn part(
        &self,
        delivery: &Delivery<'_>,
        rule: &Rule,
        asked: &Asked<'_>,
        parts: &Parts,
    ) -> Result<Option<Made>, Fate> {
        let leaf = asked.leaf;
        let name = || format!("part {} ({}/{})", leaf.number, leaf.kind.0, leaf.kind.1);
        if rule.number("delete") == 1 {
            delivery.log(Level::Info, &format!("{} is taken out", name()));
            return Ok(Some(Made::Gone));
        }
        let later = |detail: u16, text: String| {
            let text = format!("{}: {text}", name());
            Fate::Settled(Outcome::deferred(Status::new(4, 3, detail), text))
        };
        let Some(command) = rule.get("command") else { return Ok(None) };
        let Some(content) =
            decoded(&asked.message[leaf.body.clone()], &mime::encoding(&asked.message[leaf.header.clone()]))
        else {
            let why = format!("nobody knows the encoding `{}` of {}", asked.encoding(), name());
            return self.odd(delivery, &why).map_or(Ok(None), Err);
        };
        if self.stopping.load(Ordering::Relaxed) {
            return Err(later(2, "the hub is stopping".to_owned()));
        }
        let time = delivery.remaining().saturating_sub(MARGIN);
        if time.is_zero() {
            return Err(later(0, "no time was left to run a program".to_owned()));
        }
        let is_lines = making::is_lines(asked);
        let input = if is_lines { making::without_carriage_returns(&content).into() } else { content };
        let mut variables = variables(delivery, rule, asked, input.len());
        let find = |variables: &[(String, String)], name: &str| {
            let known = variables.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            known.map(|(_, value)| running::clean(value))
        };
        for name in ["type", "subtype"] {
            let old = if name == "type" { &leaf.kind.0 } else { &leaf.kind.1 };
            let new = rule.get(&format!("out-{name}")).map_or_else(
                || old.clone(),
                |text| running::replaced(text, |symbol| find(&variables, symbol)),
            );
            variables.push((format!("OUTPUT_{}", name.to_uppercase()), new));
        }
        let message_header = match rule.number("message-header-file") {
            1 => Some(&asked.message[leaf.message.clone()]),
            2 => Some(mime::split(asked.message).0),
            _ => None,
        };
        let given = Given {
            command,
            input: &input,
            part_header: (rule.number("original-header-file") == 1)
                .then(|| &asked.message[leaf.header.clone()]),
            message_header,
            variables: &variables,
            wants_headers: rule.number("override-header-file") == 1,
            wants_options: rule.number("override-option-file") == 1,
            time,
        };
        let left = running::run(&given, &self.bounds, &self.stopping)
            .map_err(|trouble| later(trouble.detail, trouble.text))?;
        if !left.said.is_empty() {
            delivery.log(Level::Info, &format!("the program of {} says: {}", name(), left.said));
        }
        for line in &left.told.unknown {
            delivery.log(
                Level::Warn,
                &format!("the program of {} says in OUTPUT_OPTIONS what nobody knows: {line}", name()),
            );
        }
        match left.told.status.unwrap_or(Wish::Convert) {
            Wish::Convert => {}
            Wish::Delete => {
                delivery.log(Level::Info, &format!("{} is taken out, since its program says so", name()));
                return Ok(Some(Made::Gone));
            }
            wish => return Err(fate_of(wish, left.told.diagnostic.as_deref(), delivery, &name())),
        }
        let Some(output) = left.output else {
            return Err(later(0, "the program wrote no file OUTPUT_FILE".to_owned()));
        };
        let filled =
            |text: &str| told::bounded(&running::replaced(text, |symbol| find(&variables, symbol)), 800);
        let mut label = Label::of(rule, &left.told, asked, &filled);
        if label.lost_description {
            delivery.log(
                Level::Warn,
                &format!("{} gets no new Content-Description, which has other than ASCII characters", name()),
            );
        }
        if let Some(headers) = &left.headers {
            for line in label.take_fields(headers) {
                delivery.log(
                    Level::Warn,
                    &format!(
                        "the program of {} wrote into OUTPUT_HEADERS what is no field of a part: {line}",
                        name()
                    ),
                );
            }
        }
        if label.is_unchanged() && output == *input {
            return Ok(None);
        }
        match label.entity(asked.message, leaf, output, &parts.boundaries(leaf)) {
            Ok(entity) => {
                delivery.log(
                    Level::Info,
                    &format!("{} is converted into {}/{}", name(), label.kind.0, label.kind.1),
                );
                Ok(Some(Made::Entity(entity)))
            }
            Err(why) => Err(later(0, format!("what the program wrote cannot go on: {why}"))),
        }
    }

    fn to_postmaster(
        &self,
        worker: &Worker<'_>,
        delivery: &Delivery<'_>,
        way: &Way<'_>,
        count: usize,
    ) -> Vec<Outcome> {
        let submission = again(delivery, way, None).to(self.postmaster.as_str());
        let outcome = match answers(worker, &submission, 1).pop() {
            Some(Outcome::Delivered { .. }) => Outcome::passed_on("a program has sent it to the postmaster"),
            Some(Outcome::Failed { text, .. }) => {
                let text = format!("a program has sent it to {}, who is refused: {text}", self.postmaster);
                Outcome::deferred(Status::new(4, 3, 5), text)
            }
            Some(deferred) => deferred,
            None => Outcome::deferred(Status::new(4, 3, 0), "the hub gave no answer"),
        };
        vec![outcome; count]
    }
}

/// What becomes of a message whose program has a wish about it.
fn fate_of(wish: Wish, diagnostic: Option<&str>, delivery: &Delivery<'_>, name: &str) -> Fate {
    let said = diagnostic.unwrap_or_default();
    let told = |what: &str| {
        if said.is_empty() { format!("{name}: {what}") } else { format!("{name}: {said}") }
    };
    match wish {
        Wish::Return => {
            let status = own_status(said).unwrap_or(Status::new(5, 7, 1));
            Fate::Settled(Outcome::failed(status, told("a program has refused it")))
        }
        Wish::Discard => {
            delivery
                .log(Level::Warn, &format!("it is thrown away, since the program of {name} says so {said}"));
            Fate::Settled(Outcome::passed_on("a program has thrown it away"))
        }
        Wish::Post => {
            delivery.log(
                Level::Info,
                &format!("it goes to the postmaster, since the program of {name} says so {said}"),
            );
            Fate::Post
        }
        Wish::AsIs | Wish::Convert | Wish::Delete => Fate::AsIs,
        Wish::Hold => {
            delivery
                .log(Level::Warn, &format!("it is put on hold, since the program of {name} says so {said}"));
            Fate::Hold
        }
        Wish::Later => {
            Fate::Settled(Outcome::deferred(Status::new(4, 3, 0), told("its program wants it to wait")))
        }
    }
}

/// A status code of class 5 in front of what a program says.
fn own_status(said: &str) -> Option<Status> {
    let word = said.split_ascii_whitespace().next()?;
    let numbers: Option<Vec<u16>> =
        word.split('.').map(|part| part.parse().ok().filter(|number| *number <= 999)).collect();
    match numbers?[..] {
        [5, subject, detail] => Some(Status::new(5, subject, detail)),
        _ => None,
    }
}

/// The environment that tells of a part.
fn variables(delivery: &Delivery<'_>, rule: &Rule, asked: &Asked<'_>, size: usize) -> Vec<(String, String)> {
    let (content_type, disposition) = (asked.field("content-type"), asked.field("content-disposition"));
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut all = vec![
        own("INPUT_CHANNEL", asked.from),
        own("OUTPUT_CHANNEL", asked.to),
        own("INPUT_TYPE", &asked.leaf.kind.0),
        own("INPUT_SUBTYPE", &asked.leaf.kind.1),
        own("INPUT_ENCODING", &asked.encoding()),
        own("INPUT_DESCRIPTION", &asked.field("content-description")),
        own("INPUT_DISPOSITION", &asked.disposition()),
        own("PART_NUMBER", &asked.leaf.number),
        own("PART_SIZE", &size.to_string()),
        own("ENVELOPE_FROM", delivery.sender()),
        own("QUEUE_ID", delivery.id()),
    ];
    for (stem, symbols, field) in [
        ("INPUT_PARAMETER", "parameter-symbol-", &content_type),
        ("INPUT_DPARAMETER", "dparameter-symbol-", &disposition),
    ] {
        for (number, (name, value)) in parameters(field).enumerate().take(PARAMETERS_MAX) {
            all.push((format!("{stem}_NAME_{number}"), name.to_owned()));
            all.push((format!("{stem}_VALUE_{number}"), value));
        }
        for (_, symbol) in rule.numbered(symbols) {
            let value = parameters(field).find(|(name, _)| name.eq_ignore_ascii_case(symbol));
            all.push((symbol.to_owned(), value.map(|(_, value)| value).unwrap_or_default()));
        }
    }
    all
}

/// Parameters of a field that are told.
const PARAMETERS_MAX: usize = 50;

/// The message once more, with its own content or with other.
fn again<'a>(delivery: &'a Delivery<'_>, way: &Way<'_>, content: Option<&[u8]>) -> Submission<'a> {
    let mut submission = Submission::again(delivery);
    if way.was_led {
        submission = submission.as_original();
    }
    match content {
        Some(content) => submission.with_content(stuff(content)),
        None => submission,
    }
}

/// Brings a message in again: an outcome for each recipient.
fn bring_in(
    worker: &Worker<'_>,
    delivery: &Delivery<'_>,
    way: &Way<'_>,
    content: Option<&[u8]>,
    recipients: &[Recipient<'_>],
) -> Vec<Outcome> {
    let mut submission = again(delivery, way, content);
    for recipient in recipients {
        submission = submission.to_again(recipient);
    }
    answers(worker, &submission, recipients.len())
}

/// Puts a message on hold: it comes in again as it was.
fn held(
    worker: &Worker<'_>,
    delivery: &Delivery<'_>,
    way: &Way<'_>,
    recipients: &[Recipient<'_>],
) -> Vec<Outcome> {
    let submission = again(delivery, way, None).on_hold();
    let submission = recipients.iter().fold(submission, |all, recipient| all.to_again(recipient));
    answers(worker, &submission, recipients.len())
}

fn answers(worker: &Worker<'_>, submission: &Submission<'_>, count: usize) -> Vec<Outcome> {
    worker.enqueue(submission).unwrap_or_else(|why| vec![Outcome::from(why); count])
}

sluice_sdk::export_channel!(Conversion);
