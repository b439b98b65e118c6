//! What a child says, held against the ledger, and told on.
//!
//! # Failure
//! A frame that is not as it must be ends the child. What it had said before counts.

use crate::instance::{Creation, Shared};
use crate::sync::{Handle, thread};
use crate::watch::{Knowledge, Known};
use crate::wire::{self, Bad, Frames, SUBMISSION_MAX, ToChild, ToHub};
use sluice_host::{Cause, Failure, HostEvent, LINES_MAX, Lines, Origin, StopReason, Submission, Submitted};
use sluice_mail::{Outcome, RecipientWishes, Wishes};
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most recipients of a submission, as for plugins in process; and octets of their texts.
const RECIPIENTS_MAX: usize = 100_000;
const TEXTS_MAX: usize = 32 << 20;
/// Submissions of a child that wait for an answer.
const SUBMISSIONS_MAX: usize = 64;
/// Of a submission with more recipients than this, answers are told in short, so that they fit into a frame.
const ANSWERED_IN_FULL: usize = 10_000;
/// Octets of such an answer.
const SHORT: usize = 100;
/// Octets of all submissions of a child that wait for an answer. One too many is answered as if the door were closed.
const WAITING_MAX: usize = 256 << 20;
/// Frames in a second that are words for the log, and for failures: more than a child says whose lines are counted on its side, and
/// whose plugin rests after each failure, with as many workers as there may be.
const WORDS_MAX: u32 = 5 * LINES_MAX;
/// Lines of a child in a second: what it counts itself in two of its seconds, which begin when they like, with its words about those that
/// were left out. A child that keeps to that has all of them told.
const LINES_OF_CHILDREN_MAX: u32 = 2 * LINES_MAX + 10;
/// How long workers get when the child's plugin has refused its settings.
const OWN_STOP: Duration = Duration::from_secs(10);

/// How long a child that has closed its socket may take to end.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// A submission that is coming in.
struct Coming {
    request: u32,
    eight_bit: bool,
    smtputf8: bool,
    as_original: bool,
    on_hold: bool,
    origin: Option<Origin>,
    /// It names a message as its origin that the child has not.
    is_orphan: bool,
    sender: String,
    wishes: Wishes,
    recipients: Vec<(String, String, RecipientWishes)>,
    /// Octets of their texts.
    texts: usize,
    content: Vec<u8>,
}

impl Coming {
    /// What it takes in memory, with the recipients as they are handed to the door.
    fn octets(&self) -> usize {
        let recipients = self.recipients.len() * 2 * size_of::<(String, String, RecipientWishes)>();
        self.content.len() + self.texts + recipients
    }
}

struct Reader<'s> {
    shared: &'s Arc<Shared>,
    lines: Lines,
    /// Frames that cost the hub more than they are worth.
    words: Lines,
    coming: Option<Coming>,
    /// The greeting is over.
    ready: bool,
}

impl<'s> Reader<'s> {
    fn new(shared: &'s Arc<Shared>) -> Reader<'s> {
        let words = Lines::of(WORDS_MAX.saturating_add(shared.spec.max_workers));
        Reader { shared, lines: Lines::of(LINES_OF_CHILDREN_MAX), words, coming: None, ready: false }
    }

    /// One more frame that costs the hub more than it is worth.
    fn word(&mut self) -> Result<(), Bad> {
        if self.words.one_more().0 { Ok(()) } else { Err(Bad("it says more than anybody reads")) }
    }
}

/// Takes everything that a child says, until it says no more.
pub(crate) fn read(shared: &Arc<Shared>, handle: &Handle, known: &Knowledge) {
    let mut reader = Reader::new(shared);
    let mut frames = Frames::new(wire::TO_HUB_MAX);
    let mut socket = &handle.socket;
    let mut was_bad = false;
    loop {
        let count = match socket.read(frames.room()) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        frames.came(count);
        let turn = shared.turn_to_tell();
        let (events, result) = reader.take(&mut frames);
        events.into_iter().for_each(|event| shared.send(event));
        drop(turn);
        if let Err(bad) = result {
            Known::ended_because(known, format!("was ended: {bad}"));
            was_bad = true;
            break;
        }
    }
    if !was_bad && !handle.ends_within(LAST_BREATH) {
        Known::ended_because(known, "was ended: it closed its socket".to_owned());
    }
    shared.tell_untold(reader.lines.rest());
    // It is not listened to any more.
    handle.kill();
    let mut state = shared.state.lock();
    state.over = true;
    shared.changed.notify_all();
}

impl Reader<'_> {
    /// Takes all whole frames.
    fn take(&mut self, frames: &mut Frames) -> (Vec<HostEvent>, Result<(), Bad>) {
        let mut events = Vec::new();
        let result = loop {
            match frames.next_frame() {
                Ok(None) => break Ok(()),
                Err(bad) => break Err(bad),
                Ok(Some((kind, body))) => {
                    if let Err(bad) = ToHub::read(kind, body).and_then(|frame| self.frame(frame, &mut events))
                    {
                        break Err(bad);
                    }
                }
            }
        };
        let ended = events.iter().filter(|event| event.lease_done().is_some()).count();
        let mut state = self.shared.state.lock();
        state.leases = state.leases.saturating_sub(ended);
        if state.wants_empty && state.ledger.is_empty() {
            state.wants_empty = false;
            self.shared.changed.notify_all();
        }
        drop(state);
        (events, result)
    }

    fn frame(&mut self, frame: ToHub, events: &mut Vec<HostEvent>) -> Result<(), Bad> {
        let shared = self.shared;
        let is_greeting = matches!(frame, ToHub::Ready(..) | ToHub::Cannot(_));
        if is_greeting == self.ready && !matches!(frame, ToHub::Log { .. }) {
            return Err(Bad("it spoke out of turn"));
        }
        match frame {
            ToHub::Finished { delivery, cause, outcomes } => {
                // That a delivery is unusable is looked at here.
                if cause == Cause::Unusable {
                    return Err(Bad("it calls a delivery unusable that is not"));
                }
                let mut state = shared.state.lock();
                let event = state.ledger.finished(delivery, cause, outcomes)?;
                if matches!(&event, HostEvent::Finished { cause: Cause::Done, outcomes, .. } if !outcomes.is_empty())
                {
                    state.worked();
                }
                events.push(event);
            }
            ToHub::Settled { delivery, outcomes } => {
                shared.state.lock().ledger.settled(delivery, outcomes)?;
            }
            ToHub::LeaseDone(part) => events.extend(shared.state.lock().ledger.polled(part)?),
            ToHub::Refused(part) => events.extend(shared.state.lock().ledger.refused(part)?),
            ToHub::Failed { failure, pause } => {
                // Each of its workers may fail before the first rest begins.
                self.word()?;
                self.failed(failure, pause, events);
            }
            ToHub::Stopped { reason, left_behind } => {
                if let StopReason::Refused(_) = &reason {
                    shared.begin_stop(reason.clone(), OWN_STOP);
                }
                let mut state = shared.state.lock();
                state.not_created(&reason);
                state.stopped = Some((reason, left_behind));
                shared.changed.notify_all();
            }
            ToHub::Created(created) => {
                let mut state = shared.state.lock();
                if !std::mem::take(&mut state.asked) {
                    return Err(Bad("it answers what nobody has asked"));
                }
                if state.creation == Creation::Asked {
                    state.creation = Creation::Known(created);
                    shared.changed.notify_all();
                }
            }
            ToHub::Log { level, id, text } => {
                self.word()?;
                self.log(level, &id, &text);
            }
            ToHub::Ready(version, ready) => {
                if version != wire::VERSION {
                    return Err(Bad("it speaks another version"));
                }
                self.ready = true;
                shared.state.lock().answer = Some(Ok(ready));
                shared.changed.notify_all();
            }
            ToHub::Cannot(why) => {
                self.ready = true;
                shared.state.lock().answer = Some(Err(why));
                shared.changed.notify_all();
            }
            ToHub::Submit {
                request,
                eight_bit,
                smtputf8,
                as_original,
                on_hold,
                origin,
                sender,
                returned,
                envelope_id,
            } => {
                if self.coming.is_some() {
                    return Err(Bad("it brings in two messages at the same time"));
                }
                let state = shared.state.lock();
                if state.submissions >= SUBMISSIONS_MAX {
                    return Err(Bad("it brings in more messages than may wait"));
                }
                // It may just have lost its origin to the deadline: then nothing is taken, and nobody has lied.
                let is_named = origin.is_some();
                let origin = origin.and_then(|id| state.ledger.origin(&id));
                let is_orphan = is_named && origin.is_none();
                let (recipients, texts, content) = (Vec::new(), 0, Vec::new());
                self.coming = Some(Coming {
                    request,
                    eight_bit,
                    smtputf8,
                    as_original,
                    on_hold,
                    origin,
                    is_orphan,
                    sender,
                    wishes: Wishes { returned, envelope_id, ..Wishes::default() },
                    recipients,
                    texts,
                    content,
                });
            }
            ToHub::Recipients(request, recipients) => {
                let coming = self.coming(request)?;
                let octets = |(one, other, wishes): &(String, String, RecipientWishes)| {
                    one.len() + other.len() + wishes.original.len()
                };
                coming.texts += recipients.iter().map(octets).sum::<usize>();
                coming.recipients.extend(recipients);
                if coming.recipients.len() > RECIPIENTS_MAX || coming.texts > TEXTS_MAX {
                    return Err(Bad("it brings in a message for more recipients than one may have"));
                }
            }
            ToHub::Content(request, octets) => {
                let coming = self.coming(request)?;
                coming.content.extend_from_slice(&octets);
                if coming.content.len() > SUBMISSION_MAX {
                    return Err(Bad("it brings in a message that is larger than one may be"));
                }
            }
            ToHub::Submitted(request) => {
                self.coming(request)?;
                if let Some(coming) = self.coming.take() {
                    self.bring_in(coming)?;
                }
            }
        }
        Ok(())
    }

    fn coming(&mut self, request: u32) -> Result<&mut Coming, Bad> {
        let coming = self.coming.as_mut().filter(|coming| coming.request == request);
        coming.ok_or(Bad("it adds to a message that it does not bring in"))
    }

    /// The plugin failed inside of the child, which goes on.
    fn failed(&self, failure: Failure, pause: Duration, events: &mut Vec<HostEvent>) {
        let shared = self.shared;
        let mut state = shared.state.lock();
        let pause = shared.rests(&mut state, pause);
        // A thread of it will never come back; a new child has all of its own.
        if matches!(failure, Failure::Hung(_) | Failure::CreateHung(_)) {
            state.retire.get_or_insert_with(Instant::now);
            state.hung += 1;
            // Its answer to whoever waits for the channel may come after its word that it has stopped, which tells less.
            if matches!(failure, Failure::CreateHung(_)) && state.creation == Creation::Asked {
                state.not_created(&failure);
            }
            shared.changed.notify_all();
        }
        drop(state);
        events.push(HostEvent::WorkerFailed { channel: Arc::clone(&shared.channel), failure, pause });
    }

    fn log(&mut self, level: u8, id: &str, text: &str) {
        let (is_told, untold) = self.lines.one_more();
        self.shared.tell_untold(untold);
        if !is_told {
            return;
        }
        let (channel, plugin) = (&*self.shared.channel, self.shared.plugin_name());
        let id = (!id.is_empty()).then_some(id);
        match level {
            1 => tracing::error!(channel, plugin, id, "{text}"),
            2 => tracing::warn!(channel, plugin, id, "{text}"),
            3 => tracing::info!(channel, plugin, id, "{text}"),
            4 => tracing::debug!(channel, plugin, id, "{text}"),
            _ => tracing::trace!(channel, plugin, id, "{text}"),
        }
    }

    /// Hands a message to the door, on a thread of its own, for it waits until it is durable.
    fn bring_in(&self, mut coming: Coming) -> Result<(), Bad> {
        if coming.recipients.is_empty() {
            return Err(Bad("it brings in a message for nobody"));
        }
        // It has grown by doubling.
        coming.content.shrink_to_fit();
        let (request, octets) = (coming.request, coming.octets());
        let (life, has_room) = {
            let mut state = self.shared.state.lock();
            state.submissions += 1;
            state.submitted += octets;
            (state.life, state.submitted <= WAITING_MAX)
        };
        let asked = Asked { life, request, octets };
        if !has_room {
            answer(self.shared, asked, None);
            return Ok(());
        }
        let shared = Arc::clone(self.shared);
        let work = move || {
            let answers = submit(&shared, &coming);
            answer(&shared, asked, answers);
        };
        let name = format!("{}-enqueue", self.shared.channel).replace('\0', "?");
        if thread::Builder::new().name(name).spawn(work).is_err() {
            answer(self.shared, asked, None);
        }
        Ok(())
    }
}

/// A submission that waits for its answer.
#[derive(Clone, Copy)]
struct Asked {
    /// Which child.
    life: u64,
    request: u32,
    octets: usize,
}

fn submit(shared: &Shared, coming: &Coming) -> Option<Vec<Outcome>> {
    let door = shared.host.door_if_open().filter(|_| !coming.is_orphan)?;
    let recipients = coming.recipients.iter().map(|(address, original, wishes)| Submitted {
        address,
        original,
        wishes: wishes.clone(),
    });
    let pieces = [coming.content.as_slice()];
    door.submit(&Submission {
        channel: &shared.channel,
        origin: coming.origin.clone(),
        as_original: coming.as_original,
        sender: &coming.sender,
        wishes: coming.wishes.clone(),
        recipients: &recipients.collect::<Vec<_>>(),
        pieces: if coming.content.is_empty() { &[] } else { &pieces },
        eight_bit: coming.eight_bit,
        smtputf8: coming.smtputf8,
        on_hold: coming.on_hold,
    })
}

/// A child's answer is for nobody when it has died meanwhile: the next one counts its requests from 1 again.
fn answer(shared: &Shared, asked: Asked, mut answers: Option<Vec<Outcome>>) {
    if let Some(answers) = answers.as_mut().filter(|answers| answers.len() > ANSWERED_IN_FULL) {
        answers.iter_mut().for_each(shorten);
    }
    let mut state = shared.state.lock();
    state.submissions = state.submissions.saturating_sub(1);
    state.submitted = state.submitted.saturating_sub(asked.octets);
    state.answered += 1;
    if state.life != asked.life {
        return;
    }
    ToChild::Answer(asked.request, answers).write(&mut state.frames);
    shared.changed.notify_all();
}

fn shorten(outcome: &mut Outcome) {
    let (Outcome::Delivered { text, peer, .. }
    | Outcome::Deferred { text, peer, .. }
    | Outcome::Failed { text, peer, .. }) = outcome;
    for text in [text, peer] {
        text.truncate(text.floor_char_boundary(SHORT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_comes_after_the_childs_death_is_not_for_the_next_one() {
        let shared = Shared::of_nothing();
        {
            let mut state = shared.state.lock();
            (state.life, state.submissions, state.submitted) = (2, 3, 30);
        }
        let asked = |life| Asked { life, request: 1, octets: 10 };
        answer(&shared, asked(1), Some(Vec::new()));
        assert!(shared.state.lock().frames.is_empty(), "that child has died");
        answer(&shared, asked(2), Some(Vec::new()));
        let state = shared.state.lock();
        let mut expected = Vec::new();
        ToChild::Answer(1, Some(Vec::new())).write(&mut expected);
        assert_eq!((&state.frames, state.submissions, state.submitted), (&expected, 1, 10));
    }

    #[test]
    fn what_waits_for_an_answer_is_bounded_by_octets() {
        let shared = Arc::new(Shared::of_nothing());
        shared.state.lock().submitted = WAITING_MAX - 100;
        let reader = Reader::new(&shared);
        let coming = |request, size| Coming {
            request,
            eight_bit: false,
            smtputf8: false,
            as_original: false,
            on_hold: false,
            origin: None,
            is_orphan: false,
            sender: String::new(),
            wishes: Wishes::default(),
            recipients: vec![(String::new(), String::new(), RecipientWishes::default())],
            texts: 0,
            content: vec![b'x'; size],
        };
        // It is answered here and now, and what was in it is gone.
        reader.bring_in(coming(7, 101)).unwrap();
        let mut expected = Vec::new();
        ToChild::Answer(7, None).write(&mut expected);
        {
            let mut state = shared.state.lock();
            let counts = (state.submissions, state.submitted);
            assert_eq!((&state.frames, counts), (&expected, (0, WAITING_MAX - 100)));
            state.submitted = WAITING_MAX - (1 << 20);
            state.frames.clear();
        }
        // Recipients count although their texts are short.
        let mut many = coming(7, 1);
        many.recipients = vec![many.recipients[0].clone(); 20_000];
        assert!(many.octets() > 1 << 20, "{} octets", many.octets());
        reader.bring_in(many).unwrap();
        let state = shared.state.lock();
        assert_eq!((&state.frames, state.submitted), (&expected, WAITING_MAX - (1 << 20)));
    }

    #[test]
    fn who_waits_for_a_channel_that_hangs_hears_of_that_and_not_of_the_end_of_its_child() {
        let shared = Arc::new(Shared::of_nothing());
        {
            let mut state = shared.state.lock();
            (state.creation, state.asked) = (Creation::Asked, true);
        }
        let mut reader = Reader { ready: true, ..Reader::new(&shared) };
        let failure = Failure::CreateHung(Duration::from_millis(700));
        let words = failure.to_string();
        // The child's thread that waits for the channel is the last one to say so.
        let mut events = Vec::new();
        for frame in [
            ToHub::Failed { failure, pause: Duration::ZERO },
            ToHub::Stopped { reason: StopReason::Asked, left_behind: 1 },
            ToHub::Created(Err(words.clone())),
        ] {
            reader.frame(frame, &mut events).unwrap();
        }
        assert_eq!(shared.state.lock().creation, Creation::Known(Err(words)));
        assert_eq!(events.len(), 1, "one failure: {events:?}");
    }

    #[test]
    fn words_without_end_end_the_child() {
        let shared = Arc::new(Shared::of_nothing());
        let mut reader = Reader::new(&shared);
        let most = WORDS_MAX + shared.spec.max_workers;
        let begun = Instant::now();
        assert!((0..most).all(|_| reader.word().is_ok()));
        assert!(reader.word().is_err() || begun.elapsed() >= Duration::from_secs(1));
    }
}
