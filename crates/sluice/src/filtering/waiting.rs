//! Mail that waits on the channel `reprocess` for a filter that has had no verdict (`SPAMFILTERn_OPTIONAL` 3 and 4).
//!
//! The queue that it waits in says for which: `sourcespamfilter1:tcp_local` for filter 1 of what comes from `tcp_local`, and
//! `destinationspamfilter2:tcp_next` for filter 2 of what goes to `tcp_next`. Operators see it, and it is kept with the message. When it comes in again
//! it is shown to that filter and those behind it; the ones before it have had their say. No address has a host of that form, for a colon stands in none but a
//! domain literal.
//!
//! # Not here
//! Bringing it in again (the plugin `reprocess`), by the channel's `backoff`.

use sluice_config::{
    DESTINATION_FILTER as DESTINATION, SOURCE_FILTER as SOURCE, WAITING_CHANNEL, waits_for_filter,
};
use sluice_mail::Recipient;
use sluice_smtpd::{Origin, Session};

/// For which filter mail has waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting<'a> {
    /// One that sees what comes from this channel.
    Source { number: u32, channel: &'a str },
    /// One that sees what goes to this channel.
    Destination { number: u32, channel: &'a str },
}

impl Waiting<'_> {
    /// Whether a recipient is to wait for a filter.
    pub(crate) fn has(recipient: &Recipient) -> bool {
        waits_for_filter(&recipient.channel, &recipient.domain)
    }

    /// The queue for filter `number`: of the copy for the channel `destination`, or of the whole message from `source`.
    pub(crate) fn queue(number: u32, destination: Option<&str>, source: &str) -> String {
        match destination {
            Some(channel) => format!("{DESTINATION}{number}:{channel}"),
            None => format!("{SOURCE}{number}:{source}"),
        }
    }
}

impl<'a> Waiting<'a> {
    /// What the messages of a session have waited for, if for a filter.
    pub(crate) fn of(session: &'a Session) -> Option<Waiting<'a>> {
        let is_brought_back =
            session.origin == Origin::Again && *session.connection.channel == *WAITING_CHANNEL;
        if is_brought_back { Waiting::in_queue(&session.waited_in) } else { None }
    }

    fn in_queue(queue: &'a str) -> Option<Waiting<'a>> {
        let (filter, channel) = queue.split_once(':')?;
        match filter.strip_prefix(SOURCE) {
            Some(number) => Some(Waiting::Source { number: number.parse().ok()?, channel }),
            None => {
                let number = filter.strip_prefix(DESTINATION)?.parse().ok()?;
                Some(Waiting::Destination { number, channel })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_says_for_which_filter_and_no_address_can() {
        let source = Waiting::queue(3, None, "tcp_local");
        assert_eq!(source, "sourcespamfilter3:tcp_local");
        assert_eq!(Waiting::in_queue(&source), Some(Waiting::Source { number: 3, channel: "tcp_local" }));
        let destination = Waiting::queue(8, Some("tcp_next"), "tcp_local");
        assert_eq!(destination, "destinationspamfilter8:tcp_next");
        let expected = Waiting::Destination { number: 8, channel: "tcp_next" };
        assert_eq!(Waiting::in_queue(&destination), Some(expected));
        for other in
            ["", "reprocess-daemon", "sourcespamfilter1", "sourcespamfilter:x", "destinationspamfilterx:y"]
        {
            assert_eq!(Waiting::in_queue(other), None, "{other}");
        }
        for queue in [source, destination] {
            assert!(sluice_mail::Address::parse(&format!("a@{queue}")).is_err(), "{queue}");
        }
    }
}
