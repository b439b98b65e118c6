//! What a session offers: the replies to EHLO and HELP, and how far ahead a release may be asked for.
//!
//! # Not here
//! TLS and logins, which have their own words in both (`guard`).

use std::time::Duration;

use sluice_mail::{LaterRelease, Time, rfc3339};

use super::{Helo, Server, Step};
use crate::atrn::AtrnPolicy;
use crate::command::VERBS;
use crate::etrn::EtrnPolicy;
use crate::replies;
use crate::reply::Reply;

impl Server {
    pub(super) fn hello(&mut self, name: &str, extended: bool) -> Step<'static> {
        // RFC 5321 section 4.1.4: a second EHLO starts over, as RSET does.
        (self.transaction, self.chunks) = (None, false);
        self.helo = Some(Helo { name: name.to_owned(), extended });
        let mut reply = replies::hello(&self.policy.host, name);
        if extended && self.policy.atrn == AtrnPolicy::Only {
            reply = self.with_protection(reply.and("ENHANCEDSTATUSCODES").and("ATRN")).and("HELP");
        } else if extended {
            for keyword in ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"] {
                reply = reply.and(keyword);
            }
            if self.policy.chunking {
                reply = reply.and("CHUNKING");
            }
            reply = match self.policy.max_message_size {
                // RFC 1870 section 4: no number means that no fixed limit is in force.
                0 => reply.and("SIZE"),
                octets => reply.and(format!("SIZE {octets}")),
            };
            if self.policy.etrn != EtrnPolicy::Disable {
                reply = reply.and("ETRN");
            }
            if self.policy.atrn == AtrnPolicy::Offered {
                reply = reply.and("ATRN");
            }
            if let Some(secs) = self.policy.later_release {
                // Both in which the client may count: seconds, and the clock that is ours.
                reply = reply.and(format!("FUTURERELEASE {secs} {}", rfc3339(self.latest_release(secs))));
            }
            if self.policy.priorities.is_some() {
                // RFC 6710 section 10.2: urgent, normal and non-urgent of X.400 and RFC 2156 are 4, 0 and -4.
                reply = reply.and("MT-PRIORITY MIXER");
            }
            if let Some(mark) = self.policy.loop_mark {
                reply = reply.and(format!("XLOOP {mark}"));
            }
            reply = self.with_protection(reply).and("HELP");
        }
        Step::Hello(reply)
    }

    pub(super) fn help(&self) -> Reply {
        let mut verbs = VERBS.to_owned();
        if self.policy.atrn == AtrnPolicy::Only {
            verbs = "HELO EHLO RSET NOOP HELP QUIT".to_owned();
        }
        if self.policy.atrn != AtrnPolicy::No {
            verbs += " ATRN";
        }
        if self.policy.etrn == EtrnPolicy::Disable {
            verbs = verbs.replace(" ETRN", "");
        }
        if !self.policy.chunking {
            verbs = verbs.replace(" BDAT", "");
        }
        verbs += self.protecting_verbs();
        let reply = replies::help(&verbs).and("See RFC 5321; for ETRN see RFC 1985");
        if self.has_logged_in() { reply.and("HELP RELEASES tells what was released for you") } else { reply }
    }

    fn latest_release(&self, secs: u32) -> Time {
        self.now.plus(Duration::from_secs(secs.into()))
    }

    /// What is against HOLDFOR or HOLDUNTIL. A date that has passed is nothing to wait for, and no mistake: the client's
    /// clock may differ from ours.
    pub(super) fn later_refused(&self, later: LaterRelease) -> Option<Reply> {
        let Some(most) = self.policy.later_release else {
            let name = if matches!(later, LaterRelease::For(_)) { "HOLDFOR" } else { "HOLDUNTIL" };
            return Some(replies::unknown_parameter(name));
        };
        (later.date(self.now) > self.latest_release(most)).then(|| replies::release_too_late(most))
    }
}
