//! What `slave_debug` tells: every command and every reply of a session, as events of level debug under a target of
//! their own, so that a log for one channel need not hold the debug events of all.

use sluice_smtp::reply::Reply;

use crate::intake::Session;

/// The target of these events.
pub const TARGET: &str = "slave_debug";

/// A command line. What belongs to a login is left out.
pub(crate) fn command(session: &Session, line: &[u8], is_in_exchange: bool) {
    let secret = is_in_exchange || line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"));
    let line = if secret { "AUTH (not shown)".into() } else { String::from_utf8_lossy(line) };
    let (peer, channel) = (session.connection.peer, &session.admission.source_channel);
    tracing::debug!(target: TARGET, %peer, %channel, ?line, "command");
}

/// A reply.
pub(crate) fn reply(session: &Session, reply: &Reply) {
    let (peer, channel) = (session.connection.peer, &session.admission.source_channel);
    tracing::debug!(target: TARGET, %peer, %channel, %reply, "reply");
}
