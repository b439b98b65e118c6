//! The check about filters: a verdict on whatever a stranger may send.
//!
//! # Not here
//! Whether the verdict is a good one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sluice_host::{
    About, Content, Filter, FilterError, Setting, SettingKind, Shown, ShownRecipient, Spec, Verdict,
};
use sluice_mail::{RecipientWishes, Time};

use super::stage::{Held, Stage, Tried, compare};
use super::{LARGE, VALGRIND_SLOWER, mail};
use crate::filters::name_of;

/// The first field of whatever a filter is shown.
const OWN: &[u8] =
    b"Received: from origin.example by check.example with ESMTP; 1 Jan 2026 00:00:00 +0000\r\n";
/// Recipients of the messages that are for more than one.
const RECIPIENTS: usize = 500;
/// Threads that ask at the same time.
const AT_ONCE: usize = 4;

/// A message behind the hub's own field.
struct Come(Arc<dyn Content>);

impl Content for Come {
    fn pieces<'a>(&'a self, take: &mut dyn FnMut(&'a [u8])) {
        take(OWN);
        self.0.pieces(take);
    }
}

/// What verdicts were given, how often.
type Given = BTreeMap<&'static str, usize>;

pub(super) fn filter(stage: &Stage) -> Tried {
    if !stage.plugin.has_filter() {
        return Ok("it is no filter".to_owned());
    }
    let before = Held::now();
    let filter = Filter::create(&stage.plugin, &spec(stage))
        .map_err(|why| format!("{why} (options are given with --option NAME=VALUE)"))?;
    let mut given = Given::new();
    for (what, contents) in [("an empty", mail::empty_contents()), ("a hostile", mail::hostile_contents())] {
        for content in contents {
            for recipients in [1, RECIPIENTS] {
                ask(&filter, shown(content.clone(), recipients), stage.patience, &mut given)
                    .map_err(|why| format!("with {what} message: {why}"))?;
            }
        }
    }
    let time = stage.patience * LARGE;
    ask(&filter, shown(mail::big_content(stage), 1), time, &mut given)
        .map_err(|why| format!("with a large message: {why}"))?;
    at_once(stage, &filter, &mut given)?;
    drop(filter);
    // Threads that the host has called it on stay for a while, and are not told from its own.
    let after = Held { threads: before.threads, ..Held::now() };
    compare(before, after).map_err(|why| format!("when it was ended, {why}"))?;
    stage.complaints()?;
    let told: Vec<String> = given.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    Ok(told.join(", "))
}

/// Several messages on several threads.
fn at_once(stage: &Stage, filter: &Filter, given: &mut Given) -> Result<(), String> {
    let content: Arc<dyn Content> = Arc::new(b"Subject: one of many\r\n\r\nbody\r\n".to_vec());
    let each = stage.number(500, 5000);
    let asked: Vec<Result<Given, String>> = thread::scope(|scope| {
        let ask_all = || {
            let mut given = Given::new();
            (0..each)
                .try_for_each(|_| ask(filter, shown(content.clone(), 1), stage.patience, &mut given))
                .map(|()| given)
        };
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(ask_all)).collect();
        threads
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|_| Err("this program panicked".to_owned())))
            .collect()
    });
    for one in asked {
        let one = one.map_err(|why| format!("when {AT_ONCE} messages were shown at once: {why}"))?;
        one.into_iter().for_each(|(verdict, count)| *given.entry(verdict).or_default() += count);
    }
    Ok(())
}

/// One call. That there is no verdict may be said; everything else must be one.
fn ask(filter: &Filter, shown: Shown, time: Duration, given: &mut Given) -> Result<(), String> {
    let verdict = match filter.ask(shown, time) {
        Ok(judged) => match judged.verdict {
            Verdict::Accept => "accepted",
            Verdict::Refuse(_) => "refused",
            Verdict::Hold(_) => "held",
            Verdict::Discard => "thrown away",
        },
        Err(FilterError::Failed(_)) => "without a verdict",
        Err(why) => return Err(why.to_string()),
    };
    *given.entry(verdict).or_default() += 1;
    Ok(())
}

/// How a filter is made here: as the hub makes number 1.
fn spec(stage: &Stage) -> Spec {
    let name = name_of(1);
    let mut settings: Vec<Setting> = stage.settings.clone();
    settings.retain(|one| {
        one.kind != SettingKind::Keyword && !(one.kind == SettingKind::Fact && one.name == "channel")
    });
    settings.push(Setting::fact("filter", "1"));
    let mut spec = Spec::new(name, settings);
    if stage.valgrind {
        spec.create_deadline *= VALGRIND_SLOWER;
    }
    spec
}

fn shown(content: Arc<dyn Content>, recipients: usize) -> Shown {
    let recipient = |number: usize| ShownRecipient {
        address: format!("user{number}@check.example"),
        original: format!("User{number}@check.example"),
        channel: "tcp_check".to_owned(),
        wishes: RecipientWishes::default(),
    };
    Shown {
        about: Arc::new(About {
            id: "00000000C0DE".to_owned(),
            source_channel: "tcp_local".to_owned(),
            client_address: Some([192, 0, 2, 1].into()),
            client_name: String::new(),
            helo: "origin.example".to_owned(),
            login: String::new(),
            arrived: Time::from(std::time::SystemTime::now()),
            eight_bit: true,
            smtputf8: false,
            tls: false,
            is_known: false,
            from_channel: false,
            again: false,
        }),
        number: 1,
        opt_in: String::new(),
        destination_channel: None,
        sender: "sender@origin.example".to_owned(),
        recipients: (0..recipients).map(recipient).collect(),
        content: Arc::new(Come(content)),
        may_be_edited: true,
    }
}
