//! Clients: each says its lines to a real session over a line of the simulated network, waits for the replies as much as it has
//! to, and is sure of what was answered with 250 and of nothing else.
//!
//! They know SMTP by themselves, so that the server's idea of it is held against another one.

use std::collections::VecDeque;
use std::sync::Arc;

use sluice_mail::Envelope;
use sluice_spool::EntryId;

use super::super::chance::Chance;
use super::super::door::{Door, Holds, REFUSED, refusal};
use super::super::filters::{Filter, Verdict};
use super::super::ledger::Standing;
use super::super::network::{Heard, Line, Serving};
use super::super::peers::unstuffed;
use super::super::scenery::{CHANNELS, PLACES};
use super::World;

/// Clients at once.
const CLIENTS: usize = 4;

/// What a client has asked, and waits to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Greeting,
    Hello,
    Mail,
    Rcpt(usize),
    Data,
    Chunk,
    /// The end of the message.
    End,
    Quit,
}

/// What is said in one go, before anything is waited for.
struct Group {
    octets: Vec<u8>,
    asks: Vec<Asked>,
}

/// What a client sends.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    sender: String,
    /// As written, with the parameters behind each.
    recipients: Vec<(String, &'static str)>,
    /// Behind MAIL.
    params: String,
    later_secs: Option<u64>,
    priority: Option<i8>,
    /// In wire form.
    content: Vec<u8>,
}

struct Client {
    groups: VecDeque<Group>,
    /// Said, but not yet taken by the network.
    rest: VecDeque<u8>,
    waits_for: VecDeque<Asked>,
    heard: Vec<u8>,
    /// By what was answered so far, nothing can come of the message.
    is_vain: bool,
    is_over: bool,
}

/// A copy of a message, as it was handed on: the hub has answered for it, or not yet.
struct Committed {
    id: EntryId,
    envelope: Envelope,
    content: Vec<u8>,
    is_safe: bool,
}

/// A client, its line, and the session that it talks with.
pub(super) struct Session {
    pub(super) number: u64,
    line: Line,
    serving: Option<Serving>,
    client: Client,
    sent: Sent,
    /// The network may cut it.
    is_doomed: bool,
    filter: Option<Filter>,
    /// What it has committed, copy by copy.
    committed: Vec<Committed>,
}

impl Client {
    fn new(groups: VecDeque<Group>) -> Self {
        let waits_for = VecDeque::from([Asked::Greeting]);
        let (rest, heard) = (VecDeque::new(), Vec::new());
        Self { groups, rest, waits_for, heard, is_vain: false, is_over: false }
    }

    /// Says the next thing, when all before is said and answered.
    fn say(&mut self, line: &Line) -> bool {
        if self.rest.is_empty() && self.waits_for.is_empty() {
            // Nobody sends a message that nobody takes.
            while self.is_vain && self.groups.len() > 1 {
                self.groups.pop_front();
            }
            if let Some(group) = self.groups.pop_front() {
                self.rest.extend(group.octets);
                self.waits_for.extend(group.asks);
            }
        }
        let octets = self.rest.make_contiguous();
        if octets.is_empty() {
            return false;
        }
        match line.say(octets) {
            Some(taken) => {
                self.rest.drain(..taken);
                taken > 0
            }
            None => {
                self.is_over = true;
                true
            }
        }
    }

    /// The next whole reply: what it answers, its code and its last line.
    fn reply(&mut self) -> Option<(Asked, u16, String)> {
        loop {
            let end = self.heard.windows(2).position(|two| two == b"\r\n")?;
            let line: Vec<u8> = self.heard.drain(..end + 2).collect();
            let line = String::from_utf8(line).expect("replies are ASCII");
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let code = code.unwrap_or_else(|| panic!("no reply: {line:?}"));
            match line.as_bytes()[3] {
                b'-' => {}
                b' ' => {
                    let asked = self.waits_for.pop_front();
                    // 421 may come unasked.
                    let asked = asked.or((code == 421).then_some(Asked::Quit));
                    let asked = asked.unwrap_or_else(|| panic!("nobody has asked for {line:?}"));
                    return Some((asked, code, line));
                }
                _ => panic!("no reply: {line:?}"),
            }
        }
    }
}

impl Sent {
    /// Whom the server takes it for.
    fn expected(&self) -> impl Iterator<Item = &str> {
        self.recipients.iter().map(|(path, _)| path.as_str()).filter(|path| refusal(path).is_none())
    }

    /// Each recipient is accounted for once: in one of the copies, and as the filter wanted it.
    fn account(&self, copies: &[Committed], filter: Option<&Filter>) {
        let (mut left, mut has_redirected): (Vec<&str>, bool) = (self.expected().collect(), false);
        for copy in copies {
            for one in &copy.envelope.recipients {
                if filter.is_some_and(|filter| one.original == filter.instead()) {
                    has_redirected = true;
                    continue;
                }
                let at = left.iter().position(|path| *path == one.original);
                let at = at.unwrap_or_else(|| panic!("{one:?} is not expected, or comes twice: {self:?}"));
                left.remove(at);
                let verdict = filter.filter(|filter| filter.channel == one.channel);
                match verdict.map_or(Verdict::Accept, |filter| filter.verdict) {
                    Verdict::Accept => {}
                    Verdict::Mark => {
                        let mark = verdict.map(Filter::mark).unwrap_or_default();
                        assert!(copy.content.starts_with(mark.as_bytes()), "{one:?} has no mark");
                    }
                    Verdict::Hold => assert!(copy.envelope.held, "{one:?} is not on hold"),
                    other => panic!("{one:?} comes all the same: {other:?}"),
                }
            }
        }
        let is_elsewhere = |path: &&str| {
            let filter = filter.filter(|one| one.verdict == Verdict::Redirect && has_redirected);
            let domain = path.split('@').nth(1);
            filter.is_some_and(|one| {
                PLACES.iter().any(|place| place.0 == one.channel && Some(place.1) == domain)
            })
        };
        assert!(left.iter().all(is_elsewhere), "{left:?} are in no copy of {self:?}");
    }

    /// One copy of it at the intake: for some of its recipients, and nothing but what was sent, or what the filter has made of that.
    fn check(&self, envelope: &Envelope, content: &[u8], filter: Option<&Filter>) {
        assert_eq!(envelope.sender, self.sender);
        assert!(!envelope.recipients.is_empty(), "a copy for nobody: {self:?}");
        for recipient in &envelope.recipients {
            let place = (recipient.channel.as_str(), recipient.domain.as_str());
            assert!(PLACES.contains(&place), "{recipient:?} goes nowhere");
            if filter.is_some_and(|filter| recipient.original == filter.instead()) {
                continue;
            }
            let sent = self.recipients.iter().find(|(path, _)| *path == recipient.original);
            let Some((_, params)) = sent else { panic!("{recipient:?} is none of {self:?}") };
            let notify = recipient.wishes.notify;
            let said = if notify.is_default() { String::new() } else { format!(" NOTIFY={notify}") };
            assert_eq!(said, *params, "{recipient:?}");
        }
        let mark = filter.filter(|one| one.verdict == Verdict::Mark).map(Filter::mark).unwrap_or_default();
        let content = content.strip_prefix(mark.as_bytes()).unwrap_or(content);
        let promised = envelope.deferred_until.map(|date| date.since(envelope.arrived).as_secs());
        assert_eq!(promised, self.later_secs, "{envelope:?}");
        assert_eq!(envelope.wishes.priority.map(|one| one.number()), self.priority, "{envelope:?}");
        let (front, own) = content.split_at(content.len().saturating_sub(self.content.len()));
        assert!(own == self.content, "{} octets were sent and others came", self.content.len());
        let front = std::str::from_utf8(front).expect("a field of ours");
        let is_folded = front.split_inclusive("\r\n").skip(1).all(|line| line.starts_with('\t'));
        assert!(front.starts_with("Received: ") && is_folded, "{front:?} stands before what was sent");
    }

    /// The groups in which it is said, up to QUIT.
    fn said(&self, chance: &mut Chance) -> VecDeque<Group> {
        let mail = format!("MAIL FROM:<{}>{}\r\n", self.sender, self.params);
        let mut envelope = vec![(mail, Asked::Mail)];
        for (index, (path, params)) in self.recipients.iter().enumerate() {
            envelope.push((format!("RCPT TO:<{path}>{params}\r\n"), Asked::Rcpt(index)));
        }
        let hello = [("EHLO client.example\r\n".to_owned(), Asked::Hello)];
        let quit = [("QUIT\r\n".to_owned(), Asked::Quit)];
        let data = [("DATA\r\n".to_owned(), Asked::Data)];
        let one = |lines: &[(String, Asked)]| Group {
            octets: lines.iter().flat_map(|(line, _)| line.bytes()).collect(),
            asks: lines.iter().map(|(_, asked)| *asked).collect(),
        };
        let with_dot = Group { octets: [&self.content[..], b".\r\n"].concat(), asks: vec![Asked::End] };
        let mut groups = vec![one(&hello)];
        match chance.below(3) {
            // Each line by itself.
            0 => {
                groups.extend(envelope.iter().chain(&data).map(|line| one(std::slice::from_ref(line))));
                groups.push(with_dot);
            }
            // The envelope in one go (RFC 2920), and QUIT behind the message.
            1 => {
                envelope.extend(data);
                groups.push(one(&envelope));
                groups.push(with_dot);
            }
            // In chunks (RFC 3030), which wait for nothing.
            _ => {
                let mut all = one(&envelope);
                let plain = unstuffed(&self.content);
                let length = plain.len() / (1 + chance.below(3)) + 1;
                let chunks: Vec<&[u8]> = plain.chunks(length).collect();
                for (index, chunk) in chunks.iter().enumerate() {
                    let is_last = index + 1 == chunks.len();
                    let last = if is_last { " LAST" } else { "" };
                    all.octets.extend(format!("BDAT {}{last}\r\n", chunk.len()).bytes());
                    all.octets.extend_from_slice(chunk);
                    all.asks.push(if is_last { Asked::End } else { Asked::Chunk });
                }
                groups.push(all);
            }
        }
        groups.push(one(&quit));
        groups.into()
    }
}

impl World {
    pub(super) fn client(&mut self) {
        if self.sessions.len() < CLIENTS && (self.sessions.is_empty() || self.chance.once_in(4)) {
            return self.connect();
        }
        let which = self.chance.below(self.sessions.len());
        for _ in 0..=self.chance.below(60) {
            if which >= self.sessions.len() {
                return;
            }
            let session = &mut self.sessions[which];
            if session.is_doomed && self.chance.once_in(40) {
                session.line.cut();
                let number = session.number;
                self.note(format!("client {number}: the line is cut"));
            }
            match self.chance.below(3) {
                0 => {
                    self.sessions[which].line.carry(&mut self.chance);
                }
                1 => self.serve(which),
                _ => {
                    self.speak(which);
                }
            }
        }
    }

    /// A session does what it can do.
    pub(super) fn serve(&mut self, which: usize) {
        let session = &mut self.sessions[which];
        if session.serving.as_mut().is_some_and(Serving::go_on) {
            session.serving = None;
        }
        self.take_answers();
        self.forget_sessions();
    }

    /// Those that are over at both ends.
    fn forget_sessions(&mut self) {
        self.sessions.retain(|session| session.serving.is_some() || !session.client.is_over);
    }

    /// A client hears and says what it can. Whether it did anything.
    pub(super) fn speak(&mut self, which: usize) -> bool {
        let Session { line, client, .. } = &mut self.sessions[which];
        if client.is_over {
            return false;
        }
        let heard = line.hear();
        let mut did = heard != Heard::Nothing;
        match heard {
            Heard::Nothing => {}
            Heard::Octets(octets) => client.heard.extend(octets),
            Heard::End | Heard::Lost => client.is_over = true,
        }
        while let Some((asked, code, text)) = self.sessions[which].client.reply() {
            self.answered(which, asked, code, &text);
        }
        let Session { line, client, .. } = &mut self.sessions[which];
        did |= client.say(line);
        if client.is_over {
            line.hang_up();
            self.forget_sessions();
        }
        did
    }

    fn answered(&mut self, which: usize, asked: Asked, code: u16, text: &str) {
        let Session { number, client, sent, filter, committed, .. } = &mut self.sessions[which];
        let number = *number;
        let is_fine = (200..400).contains(&code);
        let path = |index: usize| sent.recipients[index].0.as_str();
        match asked {
            Asked::Rcpt(index) if is_fine => {
                assert!(refusal(path(index)).is_none(), "{} was refused, and hears {text}", path(index));
            }
            Asked::Rcpt(index) => {
                let is_right = refusal(path(index)).is_some() || code / 100 == 4 || client.is_vain;
                assert!(is_right, "{} is fine, and hears {text}", path(index));
            }
            Asked::End if is_fine => {
                let is_safe = !committed.is_empty() && committed.iter().all(|one| one.is_safe);
                assert!(is_safe, "nobody answers for all of it, and client {number} hears {text}");
                sent.account(committed, filter.as_ref());
                let ids: Vec<EntryId> = committed.iter().map(|one| one.id).collect();
                assert!(text.contains(&ids[0].to_string()), "{ids:?} hears {text}");
                for id in &ids {
                    let message = self.ledger.messages.get_mut(id).expect("it was begun");
                    message.standing = Standing::Acknowledged;
                }
                let others = if ids.len() > 1 { format!(" and {:?}", &ids[1..]) } else { String::new() };
                self.note(format!("250 {}{others}", ids[0]));
            }
            Asked::Quit => client.is_over = true,
            Asked::End | Asked::Chunk if !is_fine => {
                client.is_vain = true;
                self.note(format!("client {number} gives up: {}", text.trim_end()));
            }
            _ if !is_fine => client.is_vain = true,
            _ => {}
        }
        if code == 421 {
            self.sessions[which].client.is_over = true;
        }
    }

    /// What a session has handed on is what its client has sent.
    pub(super) fn begun(&mut self, number: u64, id: EntryId, envelope: Envelope, content: Vec<u8>) {
        if let Some(session) = self.sessions.iter_mut().find(|one| one.number == number) {
            session.sent.check(&envelope, &content, session.filter.as_ref());
            let (envelope, content) = (envelope.clone(), content.clone());
            session.committed.push(Committed { id, envelope, content, is_safe: false });
        }
        self.note(format!("commit {id}"));
        let core = &self.hub.as_ref().expect("a hub lives between the steps").core;
        self.ledger.begin(id, envelope, content, core, self.now);
    }

    /// The hub answers for a message, though its client may never hear of it.
    pub(super) fn is_safe(&mut self, number: u64, id: EntryId) {
        self.note(format!("safe {id}"));
        if let Some(session) = self.sessions.iter_mut().find(|one| one.number == number) {
            session.committed.iter_mut().filter(|one| one.id == id).for_each(|one| one.is_safe = true);
        }
    }

    pub(super) fn connect(&mut self) {
        let number = self.number();
        let sent = self.message(number);
        let groups = sent.said(&mut self.chance);
        let room = *self.chance.pick(&[16, 300, 4096, 65_536]);
        let line = Line::new(room);
        let filter = self.filter(number);
        let door = Door {
            session: number,
            handle: self.hub().handle.clone(),
            wall: Arc::clone(&self.wall),
            answers: Arc::clone(&self.answers),
            holds: self.chance.weighed(&[(13, Holds::Nothing), (1, Holds::All), (1, Holds::Some)]),
            filter: filter.clone(),
            questions: Arc::clone(&self.questions),
            piece: *self.chance.pick(&[700, 3000, 16_000]),
        };
        let serving = Some(Serving::of(&line, Arc::new(door)));
        let count = sent.recipients.len();
        self.note(format!("client {number}: {} octets to {count}{}", sent.content.len(), sent.params));
        let is_doomed = !self.is_good && self.chance.once_in(3);
        let client = Client::new(groups);
        self.sessions.push(Session {
            number,
            line,
            serving,
            client,
            sent,
            is_doomed,
            filter,
            committed: Vec::new(),
        });
    }

    /// The filter that looks at what a client sends, where there is one.
    fn filter(&mut self, number: u64) -> Option<Filter> {
        if !self.chance.once_in(4) {
            return None;
        }
        let verdict = self.chance.weighed(&[
            (2, Verdict::Accept),
            (1, Verdict::Refuse),
            (1, Verdict::Fail),
            (2, Verdict::Hold),
            (2, Verdict::Mark),
            (2, Verdict::Redirect),
        ]);
        let channel = CHANNELS[self.chance.below(CHANNELS.len())];
        let filter = Filter { channel, verdict, number };
        self.note(format!("a filter of {} will {verdict:?}", filter.channel));
        Some(filter)
    }

    /// One of the filters that were asked has its verdict. Whether there was one.
    pub(super) fn verdict(&mut self) -> bool {
        let question = {
            let mut questions = self.questions.lock().expect("no panic within");
            let count = questions.len();
            (count > 0).then(|| questions.remove(self.chance.below(count)))
        };
        let Some(question) = question else { return false };
        question();
        self.note("a verdict");
        self.take_answers();
        true
    }

    /// What the next client sends.
    fn message(&mut self, number: u64) -> Sent {
        let count = 1 + self.chance.below(4);
        let place = *self.chance.pick(&PLACES);
        let recipients = (0..count).map(|index| {
            // Half of them share a place, as recipients of one message mostly do.
            let (_, domain) = if self.chance.once_in(2) { place } else { *self.chance.pick(&PLACES) };
            let front = self.chance.weighed(&[(14, ""), (1, REFUSED[0]), (1, REFUSED[1])]);
            let params = self.chance.weighed(&[
                (6, ""),
                (1, " NOTIFY=NEVER"),
                (2, " NOTIFY=SUCCESS,FAILURE"),
                (1, " NOTIFY=FAILURE,DELAY"),
            ]);
            (format!("{front}to{number}-{index}@{domain}"), params)
        });
        let recipients = recipients.collect();
        let later_secs = self.chance.once_in(8).then(|| 60 + self.chance.below(40_000) as u64);
        let priority = self.chance.once_in(3).then(|| *self.chance.pick(&[-4, 0, 3, 6]));
        let mut params = later_secs.map(|secs| format!(" HOLDFOR={secs}")).unwrap_or_default();
        params += &priority.map(|priority| format!(" MT-PRIORITY={priority}")).unwrap_or_default();
        let mut content = format!("Subject: {number}\r\n\r\n").into_bytes();
        let lines = *self.chance.pick(&[1, 1, 1, 20, 120, 500]);
        for line in 0..lines {
            let dots = self.chance.weighed(&[(20, ""), (1, ".."), (1, "..."), (1, "..\r\n")]);
            content.extend_from_slice(
                format!("{dots}{number} {line} {:x}\r\n", self.chance.number()).as_bytes(),
            );
        }
        Sent {
            sender: format!("from{number}@there.example"),
            recipients,
            params,
            later_secs,
            priority,
            content,
        }
    }

    /// All clients, their sessions and the network between them, as far as they get without anybody else. Whether anything
    /// was done.
    pub(super) fn converse(&mut self) -> bool {
        let mut did = false;
        for which in (0..self.sessions.len()).rev() {
            let number = self.sessions[which].number;
            loop {
                let is_there =
                    |world: &Self| world.sessions.get(which).is_some_and(|one| one.number == number);
                let mut moved = self.sessions[which].line.carry(&mut self.chance);
                self.serve(which);
                if is_there(self) {
                    moved |= self.speak(which);
                }
                did |= moved;
                if !moved || !is_there(self) {
                    break;
                }
            }
        }
        did
    }

    /// The listeners stop: sessions that wait for a command end, and those in a message go on.
    pub(super) fn stop_sessions(&self) {
        self.sessions.iter().filter_map(|session| session.serving.as_ref()).for_each(Serving::stop);
    }
}
