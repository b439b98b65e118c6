//! What an errand came to, in words for the log and in one of three kinds for those who ask again.

use sluice_smtp::asker::{End, Meaning};

use super::{Ended, Report, Server};

/// Whether, and when, it is worth asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The server does what it was asked for.
    Done,
    /// It may do so soon: 458, 421, no connection.
    Later,
    /// It will not until somebody changes something: 459, 501, 530, no ETRN there.
    Refused,
}

impl Standing {
    /// One word for programs and logs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Standing::Done => "done",
            Standing::Later => "later",
            Standing::Refused => "refused",
        }
    }
}

impl Report {
    /// The worst of the answers and the end.
    pub(crate) fn standing(&self) -> Standing {
        let of_answer = |meaning: Meaning| match meaning {
            Meaning::Later | Meaning::OutOfOrder => Standing::Later,
            meaning if meaning.is_accepted() => Standing::Done,
            _ => Standing::Refused,
        };
        let ended = match &self.ended {
            Ended::Said(End::Answered) | Ended::Turned(_) => Standing::Done,
            Ended::Said(End::NotOffered | End::NoTls(_) | End::NoLogin(_)) => Standing::Refused,
            Ended::Said(End::TurnedAway { for_now: false, .. }) => Standing::Refused,
            Ended::NoConnection(_) | Ended::Said(_) => Standing::Later,
        };
        let all = || self.answers.iter().map(|answer| of_answer(answer.meaning)).chain([ended]);
        let worst = [Standing::Refused, Standing::Later].into_iter().find(|bad| all().any(|one| one == *bad));
        worst.unwrap_or(Standing::Done)
    }

    /// Whether the server said for certain that mail is on its way (252, 253).
    pub(crate) fn promises_mail(&self) -> bool {
        self.answers.iter().any(|answer| match answer.meaning {
            Meaning::Counted(count) => count > 0,
            meaning => meaning == Meaning::Pending,
        })
    }

    /// Everything in one line.
    pub(crate) fn words(&self, server: &Server, command: &str) -> String {
        let mut words: Vec<String> = self
            .answers
            .iter()
            .map(|answer| match answer.name.as_str() {
                "" => answer.reply.clone(),
                name => format!("{name}: {}", answer.reply),
            })
            .collect();
        words.extend(self.ended.trouble(server, command));
        words.join("; ")
    }
}

impl Ended {
    /// What went wrong with the conversation; `None` when all was answered.
    pub(crate) fn trouble(&self, server: &Server, command: &str) -> Option<String> {
        match self {
            Ended::NoConnection(why) => Some(why.clone()),
            Ended::Said(End::Answered) | Ended::Turned(_) => None,
            Ended::Said(End::NotOffered) => Some(format!("{server} does not offer {command}")),
            Ended::Said(End::TurnedAway { reply, .. }) => Some(format!("{server} turned us away: {reply}")),
            Ended::Said(End::NoTls(why) | End::NoLogin(why) | End::Lost(why) | End::Nonsense(why)) => {
                Some(format!("{server}: {why}"))
            }
        }
    }
}
