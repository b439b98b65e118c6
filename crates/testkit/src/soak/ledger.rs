//! The ledger of a run: what was sent and acknowledged, what arrived, when the hub was killed; and what does not add up.
//!
//! It is kept outside the hub by those who talk to it, so that nothing the hub forgets can be missing here too.

use crate::content::{below_received, message};
use crate::sender::Fate;
use crate::sink::Arrived;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

/// Longest time that a lazy transition of the spool stays in memory (`docs/internals/spool-format.md`).
const WINDOW: Duration = Duration::from_millis(50);
/// What may pass on a busy machine between the final dot at the sink, where the ledger looks, and the settlement in the hub, where
/// the window begins: the reply, the worker, the dispatcher's loop, and at the end the sync itself.
const ON_THE_WAY: Duration = Duration::from_millis(1500);
/// A message that was sent.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) number: usize,
    pub(crate) size: usize,
    /// Where it was sent to.
    pub(crate) domains: Vec<&'static str>,
    pub(crate) fate: Fate,
}

/// An arrival, under its number and domain.
#[derive(Debug, Default)]
struct Arrivals {
    came: Vec<Came>,
    spoiled: bool,
}

#[derive(Debug)]
struct Came {
    at: Instant,
    /// Its connection belongs to the hub that lived then. What a hub that was killed has left in a socket is read later.
    connected: Instant,
    /// The id of the notice that it is, or nothing.
    notice: String,
}

/// A hub between its start and its end.
#[derive(Debug)]
struct Life {
    began: Instant,
    killed: Option<Instant>,
}

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    letters: BTreeMap<usize, Letter>,
    arrivals: HashMap<(usize, String), Arrivals>,
    /// Recipients that were refused for good, by number.
    refusals: HashMap<usize, usize>,
    lives: Vec<Life>,
    /// Things that came from nowhere.
    strange: Vec<String>,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Times that the hub was killed.
    pub kills: usize,
    /// Messages that were sent whole, and those that got a 250.
    pub sent: usize,
    /// Those that got a 250 to the final dot.
    pub acknowledged: usize,
    /// Deliveries and notices that had to come.
    pub promised: usize,
    /// Those that came.
    pub delivered: usize,
    /// Deliveries beyond the first of each.
    pub duplicates: usize,
    /// The longest time before a kill at which something arrived that came again.
    pub oldest_duplicate: Duration,
    /// Second notices about one recipient.
    pub second_notices: usize,
    /// Acknowledged, and it never came.
    pub lost: Vec<String>,
    /// Came, and was never sent, or was refused, or is not as it was sent.
    pub invented: Vec<String>,
    /// Came again, and no kill explains it.
    pub unexplained: Vec<String>,
    /// Moved, though it was on hold, suspended, or not released.
    pub moved: Vec<String>,
}

impl Account {
    /// Whether everything is as it was promised.
    #[must_use]
    pub fn is_good(&self) -> bool {
        [&self.lost, &self.invented, &self.unexplained, &self.moved].into_iter().all(Vec::is_empty)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "killed         {:8}", self.kills)?;
        writeln!(out, "sent           {:8}", self.sent)?;
        writeln!(out, "acknowledged   {:8}", self.acknowledged)?;
        writeln!(
            out,
            "to be delivered{:8}  each recipient once, and a notice for each that was refused",
            self.promised
        )?;
        writeln!(out, "delivered      {:8}", self.delivered)?;
        writeln!(out, "lost           {:8}  must be 0", self.lost.len())?;
        writeln!(out, "invented       {:8}  must be 0", self.invented.len())?;
        writeln!(
            out,
            "duplicates     {:8}  what had arrived at most {:?} before a kill; allowed: {WINDOW:?}, and {ON_THE_WAY:?} on the way",
            self.duplicates, self.oldest_duplicate
        )?;
        writeln!(
            out,
            "second notices {:8}  about recipients that were refused again after a kill",
            self.second_notices
        )?;
        writeln!(
            out,
            "without cause  {:8}  must be 0: duplicates that no kill explains",
            self.unexplained.len()
        )?;
        write!(out, "moved          {:8}  must be 0: was held, suspended or not released", self.moved.len())?;
        for (what, list) in [
            ("lost", &self.lost),
            ("invented", &self.invented),
            ("without cause", &self.unexplained),
            ("moved", &self.moved),
        ] {
            for one in list.iter().take(20) {
                write!(out, "\n  {what}: {one}")?;
            }
            if list.len() > 20 {
                write!(out, "\n  {what}: and {} more", list.len() - 20)?;
            }
        }
        Ok(())
    }
}

impl Ledger {
    pub(crate) fn sent(&mut self, letters: Vec<Letter>) {
        self.letters.extend(letters.into_iter().map(|letter| (letter.number, letter)));
    }

    /// To be told before the hub is started.
    pub(crate) fn begins(&mut self) {
        self.lives.push(Life { began: Instant::now(), killed: None });
    }

    /// To be told when it is dead.
    pub(crate) fn killed(&mut self) {
        if let Some(life) = self.lives.last_mut() {
            life.killed = Some(Instant::now());
        }
    }

    /// Which life something belongs to.
    fn life(&self, when: Instant) -> usize {
        self.lives.partition_point(|life| life.began <= when)
    }

    /// What a sink took: recipients are `u`, the number, and the domain.
    pub(crate) fn arrived(&mut self, arrived: Vec<Arrived>) {
        for one in arrived {
            for to in &one.to {
                let Some((number, domain)) = numbered(to) else {
                    self.strange.push(format!("for {to}"));
                    continue;
                };
                let known = self.arrivals.entry((number, domain.to_owned())).or_default();
                let (mut notice, mut spoiled) = (String::new(), false);
                if domain == BACK {
                    notice = message_id(&one.content);
                } else if let Some(letter) = self.letters.get(&number) {
                    spoiled = below_received(&one.content) != message(number, letter.size);
                }
                known.spoiled |= spoiled;
                known.came.push(Came { at: one.at, connected: one.connected, notice });
            }
        }
    }

    /// Recipients that a sink refused, from the lines that it was told.
    pub(crate) fn refused(&mut self, commands: &[String]) {
        for line in commands.iter().filter(|line| line.starts_with("RCPT")) {
            let path = line.split(['<', '>']).nth(1).unwrap_or_default();
            if let Some((number, _)) = numbered(path) {
                *self.refusals.entry(number).or_default() += 1;
            }
        }
    }

    /// How many messages were acknowledged, and how many things have arrived, so far.
    pub(crate) fn so_far(&self) -> (usize, usize) {
        (
            self.letters.values().filter(|letter| letter.fate == Fate::Accepted).count(),
            self.arrivals.values().map(|arrivals| arrivals.came.len()).sum(),
        )
    }

    /// Of these, what has come for the domain after the instant given with it. What had come before, and is back because the hub
    /// was killed in the window, may well be put on hold then.
    pub(crate) fn came_after(&self, domain: &str, since: &BTreeMap<usize, Instant>) -> Vec<usize> {
        let came = |(number, instant): (&usize, &Instant)| {
            let arrivals = self.arrivals.get(&(*number, domain.to_owned()))?;
            // What a hub that was killed before has left in a socket is none of the later one's doing.
            let moved = |came: &Came| came.at > *instant && self.life(came.connected) >= self.life(*instant);
            arrivals.came.iter().any(moved).then_some(*number)
        };
        since.iter().filter_map(came).collect()
    }

    /// What has come for a domain.
    pub(crate) fn came_for(&self, domain: &str) -> BTreeSet<usize> {
        self.arrivals.keys().filter(|(_, known)| known == domain).map(|(number, _)| *number).collect()
    }

    /// Numbers of the acknowledged that were sent there.
    pub(crate) fn acknowledged_for(&self, domain: &str) -> BTreeSet<usize> {
        let there = |letter: &&Letter| letter.fate == Fate::Accepted && letter.domains.contains(&domain);
        self.letters.values().filter(there).map(|letter| letter.number).collect()
    }

    /// Whether all that was promised has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.promised().all(|key| self.arrivals.contains_key(&key))
    }

    /// Under what everything that was acknowledged must arrive.
    fn promised(&self) -> impl Iterator<Item = (usize, String)> {
        let accepted = self.letters.values().filter(|letter| letter.fate == Fate::Accepted);
        accepted.flat_map(|letter| {
            letter.domains.iter().map(|domain| {
                let there = if *domain == REFUSED { BACK } else { domain };
                (letter.number, there.to_owned())
            })
        })
    }

    /// Draws the line.
    pub(crate) fn account(&self, moved: Vec<String>) -> Account {
        let mut account = Account {
            kills: self.lives.iter().filter(|life| life.killed.is_some()).count(),
            moved,
            ..Account::default()
        };
        account.sent = self.letters.len();
        account.acknowledged = self.so_far().0;
        account.invented.clone_from(&self.strange);
        for key in self.promised() {
            account.promised += 1;
            if self.arrivals.contains_key(&key) {
                account.delivered += 1;
            } else {
                account.lost.push(format!("number {} for {}", key.0, key.1));
            }
        }
        for ((number, domain), arrivals) in &self.arrivals {
            let sent_there = |letter: &Letter| {
                let there = if domain == BACK { REFUSED } else { domain };
                !matches!(letter.fate, Fate::Refused(_)) && letter.domains.contains(&there)
            };
            if !self.letters.get(number).is_some_and(sent_there) {
                account.invented.push(format!("number {number} for {domain} was not sent, or was refused"));
            } else if arrivals.spoiled {
                account.invented.push(format!("number {number} for {domain} is not as it was sent"));
            }
            self.repeats(*number, domain, arrivals, &mut account);
        }
        account
    }

    fn repeats(&self, number: usize, domain: &str, arrivals: &Arrivals, account: &mut Account) {
        let notices: BTreeSet<&String> = arrivals.came.iter().map(|came| &came.notice).collect();
        let refusals = self.refusals.get(&number).copied().unwrap_or(0);
        account.second_notices += notices.len() - 1;
        if domain == BACK && notices.len() > refusals {
            let many = notices.len();
            account
                .unexplained
                .push(format!("{many} notices about number {number}, refused {refusals} times"));
        }
        for notice in notices {
            let same = arrivals.came.iter().filter(|came| came.notice == *notice);
            let mut times: Vec<(usize, Instant)> =
                same.map(|came| (self.life(came.connected), came.at)).collect();
            times.sort_unstable();
            for pair in times.windows(2) {
                account.duplicates += 1;
                let (life, at) = pair[0];
                let end = life.checked_sub(1).and_then(|index| self.lives.get(index)?.killed);
                let age = end.map(|killed| killed.saturating_duration_since(at));
                match age {
                    Some(age) if life < pair[1].0 && age <= WINDOW + ON_THE_WAY => {
                        account.oldest_duplicate = account.oldest_duplicate.max(age);
                    }
                    Some(age) if life < pair[1].0 => account.unexplained.push(format!(
                        "number {number} for {domain} came again, though it had arrived {age:?} before the kill"
                    )),
                    _ => account
                        .unexplained
                        .push(format!("number {number} for {domain} came twice from one life of the hub")),
                }
            }
        }
    }
}

/// Where recipients are refused for good, and where the notices about them go.
pub(crate) const REFUSED: &str = "refused.example";
pub(crate) const BACK: &str = "back.example";

/// The number and the domain of `u12@held.example`.
pub(crate) fn numbered(address: &str) -> Option<(usize, &str)> {
    let (user, domain) = address.split_once('@')?;
    Some((user.strip_prefix('u')?.parse().ok()?, domain))
}

/// The id in the header of a notice.
fn message_id(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    let header = text.split("\r\n\r\n").next().unwrap_or_default();
    let line = header.lines().find(|line| line.to_ascii_lowercase().starts_with("message-id:"));
    line.map(|line| line[11..].trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(number: usize, domain: &'static str, fate: Fate) -> Letter {
        Letter { number, size: 1000, domains: vec![domain], fate }
    }

    fn arrival(number: usize, domain: &str, at: Instant) -> Arrived {
        Arrived {
            from: "u1@back.example".to_owned(),
            to: vec![format!("u{number}@{domain}")],
            helo: String::new(),
            content: [b"Received: by us\r\n".to_vec(), message(number, 1000)].concat(),
            connected: at - Duration::from_millis(500),
            at,
        }
    }

    /// A hub that was started, killed at second 100, and started again at second 101.
    fn ledger() -> (Ledger, impl Fn(f64) -> Instant) {
        let begin = Instant::now();
        let at = move |second: f64| begin + Duration::from_secs_f64(second);
        let mut ledger = Ledger::default();
        ledger.lives.push(Life { began: begin, killed: Some(at(100.0)) });
        ledger.lives.push(Life { began: at(101.0), killed: None });
        ledger.sent(vec![
            letter(1, "a.example", Fate::Accepted),
            letter(2, "a.example", Fate::Unknown),
            letter(3, "a.example", Fate::Refused("451".to_owned())),
            letter(4, REFUSED, Fate::Accepted),
        ]);
        (ledger, at)
    }

    fn notice(id: &str, at: Instant) -> Arrived {
        let content = format!("Message-ID: {id}\r\n\r\nIt went wrong.\r\n").into_bytes();
        Arrived { content, ..arrival(4, BACK, at) }
    }

    #[test]
    fn what_was_acknowledged_and_has_not_come_is_lost() {
        let (mut ledger, at) = ledger();
        ledger.arrived(vec![arrival(1, "a.example", at(1.0))]);
        assert!(!ledger.is_complete());
        let account = ledger.account(Vec::new());
        assert_eq!((account.sent, account.acknowledged, account.promised, account.delivered), (4, 2, 2, 1));
        assert_eq!(account.lost, ["number 4 for back.example"]);
        ledger.refused(&["EHLO x".to_owned(), "RCPT TO:<u4@refused.example>".to_owned()]);
        ledger.arrived(vec![notice("<n1>", at(2.0))]);
        assert!(ledger.is_complete());
        assert!(ledger.account(Vec::new()).is_good(), "what is not known may come or not");
    }

    #[test]
    fn what_was_not_sent_or_refused_or_is_another_text_is_invented() {
        for number in [3, 7] {
            let (mut ledger, at) = ledger();
            ledger.arrived(vec![arrival(number, "a.example", at(1.0))]);
            assert_eq!(ledger.account(Vec::new()).invented.len(), 1, "{number}");
        }
        let (mut ledger, at) = ledger();
        let mut spoiled = arrival(1, "a.example", at(1.0));
        spoiled.content[200] ^= 1;
        ledger.arrived(vec![spoiled, arrival(1, "b.example", at(1.0))]);
        assert_eq!(ledger.account(Vec::new()).invented.len(), 2);
    }

    #[test]
    fn a_duplicate_is_explained_by_a_kill_shortly_after_the_first_and_by_nothing_else() {
        let cases = [
            (99.96, 105.0, true),
            // Left in the socket by the one that was killed.
            (100.2, 105.0, true),
            (95.0, 105.0, false),
            (50.0, 51.0, false),
            (99.8, 99.9, false),
            (120.0, 121.0, false),
        ];
        for (first, second, good) in cases {
            let (mut ledger, at) = ledger();
            ledger.arrived(vec![arrival(1, "a.example", at(second)), arrival(1, "a.example", at(first))]);
            let account = ledger.account(Vec::new());
            assert_eq!(account.duplicates, 1);
            assert_eq!(account.unexplained.is_empty(), good, "{first} and {second}: {account}");
        }
    }

    #[test]
    fn what_comes_after_it_was_put_on_hold_has_moved_and_what_came_before_has_not() {
        let (mut ledger, at) = ledger();
        ledger.arrived(vec![arrival(1, "a.example", at(1.0)), arrival(2, "a.example", at(5.0))]);
        let held = BTreeMap::from([(1, at(3.0)), (2, at(3.0)), (7, at(3.0))]);
        assert_eq!(ledger.came_after("a.example", &held), [2]);
        ledger.arrived(vec![Arrived { connected: at(90.0), ..arrival(1, "a.example", at(102.0)) }]);
        assert_eq!(
            ledger.came_after("a.example", &BTreeMap::from([(1, at(101.5))])),
            [0; 0],
            "left in a socket"
        );
        assert_eq!(ledger.came_after("b.example", &held), [0; 0]);
    }

    #[test]
    fn a_second_notice_needs_a_second_refusal() {
        for (refusals, good) in [(1, false), (2, true)] {
            let (mut ledger, at) = ledger();
            for _ in 0..refusals {
                ledger.refused(&["RCPT TO:<u4@refused.example>".to_owned()]);
            }
            ledger.arrived(vec![notice("<n1>", at(1.0)), notice("<n2>", at(2.0))]);
            let account = ledger.account(Vec::new());
            assert_eq!((account.second_notices, account.unexplained.is_empty()), (1, good));
        }
    }
}
