//! What a server's answer means for the recipients of a request.

use std::time::Duration;

use sluice_mail::{Time, header_date};
use sluice_sdk::{Outcome, Status};

/// A server that asks for a rest is believed for so long: mail that waits longer is for the channel's `backoff` to say.
const REST_MAX: Duration = Duration::from_secs(3600);
/// Characters of what the server said, in an outcome.
const SHOWN_MAX: usize = 200;

/// An answer, as far as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    /// Where a redirection leads.
    pub(crate) location: Option<String>,
    pub(crate) retry_after: Option<String>,
    /// The beginning of the body.
    pub(crate) said: Vec<u8>,
}

impl Answer {
    /// The outcome for each recipient.
    ///
    /// 408 (too slow), 425 (too early) and 429 (too many) may pass, and so may whatever is the server's own trouble (5xx). Other 4xx
    /// say that the request is wrong, which it will be the next time too. A redirection that is not followed is for the operator to
    /// see to.
    pub(crate) fn outcome(&self) -> Outcome {
        let text = self.shown();
        match self.code {
            200..=299 => Outcome::delivered(text),
            300..=399 => {
                let to = self.location.as_deref().map(|to| format!(" to {}", one_line(to.as_bytes())));
                let text =
                    format!("the server redirects{}, which is not followed: {text}", to.unwrap_or_default());
                Outcome::deferred(Status::new(4, 3, 5), text)
            }
            413 => Outcome::failed(Status::new(5, 3, 4), text),
            401 | 403 | 407 => Outcome::failed(Status::new(5, 7, 0), text),
            429 | 503 => Outcome::deferred(Status::new(4, 3, 2), text),
            408 | 425 | 500..=599 => Outcome::deferred(Status::new(4, 3, 0), text),
            400..=499 => Outcome::failed(Status::new(5, 3, 0), text),
            _ => Outcome::deferred(Status::new(4, 5, 0), format!("no answer to a POST: {text}")),
        }
    }

    /// Where to post in the place of this, method and body unchanged (RFC 9110 section 15.4).
    pub(crate) fn redirection(&self) -> Option<&str> {
        self.location.as_deref().filter(|_| matches!(self.code, 307 | 308))
    }

    /// How long the server wants to be left alone (RFC 9110 section 10.2.3).
    pub(crate) fn rest(&self, now: Time) -> Option<Duration> {
        let written = self.retry_after.as_deref().filter(|_| matches!(self.code, 429 | 503))?.trim();
        let rest = match written.parse::<u32>() {
            Ok(seconds) => Duration::from_secs(seconds.into()),
            Err(_) => header_date(written)?.since(now),
        };
        (!rest.is_zero()).then_some(rest.min(REST_MAX))
    }

    fn shown(&self) -> String {
        let reason = hyper::StatusCode::from_u16(self.code).ok().and_then(|code| code.canonical_reason());
        let mut text = format!("{} {}", self.code, reason.unwrap_or_default()).trim_end().to_owned();
        let said = one_line(&self.said);
        if !said.is_empty() {
            text.push_str(&format!(": {said}"));
        }
        if let Some(after) = &self.retry_after {
            text.push_str(&format!(" (Retry-After: {})", one_line(after.as_bytes())));
        }
        text
    }
}

/// The first line of a text from a stranger, cut, without control characters.
fn one_line(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().take(SHOWN_MAX).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answer: &Answer) -> String {
        match answer.outcome() {
            Outcome::Delivered { status, text, .. } => format!("delivered {status} {text}"),
            Outcome::Deferred { status, text, .. } => format!("deferred {status} {text}"),
            Outcome::Failed { status, text, .. } => format!("failed {status} {text}"),
        }
    }

    fn code(code: u16) -> Answer {
        Answer { code, ..Answer::default() }
    }

    #[test]
    fn every_status_has_its_outcome() {
        for (number, outcome) in [
            (200, "delivered 2.0.0 200 OK"),
            (202, "delivered 2.0.0 202 Accepted"),
            (299, "delivered 2.0.0 299"),
            (302, "deferred 4.3.5 the server redirects, which is not followed: 302 Found"),
            (400, "failed 5.3.0 400 Bad Request"),
            (401, "failed 5.7.0 401 Unauthorized"),
            (404, "failed 5.3.0 404 Not Found"),
            (408, "deferred 4.3.0 408 Request Timeout"),
            (413, "failed 5.3.4 413 Payload Too Large"),
            (425, "deferred 4.3.0 425 Too Early"),
            (429, "deferred 4.3.2 429 Too Many Requests"),
            (500, "deferred 4.3.0 500 Internal Server Error"),
            (503, "deferred 4.3.2 503 Service Unavailable"),
            (599, "deferred 4.3.0 599"),
            (101, "deferred 4.5.0 no answer to a POST: 101 Switching Protocols"),
            (999, "deferred 4.5.0 no answer to a POST: 999"),
        ] {
            assert_eq!(told(&code(number)), outcome);
        }
    }

    #[test]
    fn what_the_server_says_is_shown_in_one_line() {
        let answer = Answer { said: b"\r\n  no \x1b[2J room\xff\nmore".to_vec(), ..code(500) };
        assert_eq!(told(&answer), "deferred 4.3.0 500 Internal Server Error: no ?[2J room\u{fffd}");
        let answer = Answer { said: "x".repeat(5000).into_bytes(), ..code(400) };
        assert_eq!(told(&answer).len(), "failed 5.3.0 400 Bad Request: ".len() + SHOWN_MAX);
        let answer = Answer { location: Some("https://b.example/\u{7}".into()), ..code(307) };
        assert!(
            told(&answer).starts_with("deferred 4.3.5 the server redirects to https://b.example/?, which")
        );
    }

    #[test]
    fn rests() {
        let now = Time::from_secs(1_445_412_000);
        let rest = |number: u16, after: &str| {
            Answer { retry_after: Some(after.to_owned()), ..code(number) }
                .rest(now)
                .map(|rest| rest.as_secs())
        };
        assert_eq!(rest(429, "120"), Some(120));
        assert_eq!(rest(503, " 999999 "), Some(3600));
        assert_eq!(rest(503, "Wed, 21 Oct 2015 07:28:00 GMT"), Some(480));
        assert_eq!(rest(503, "Wed, 21 Oct 2015 07:00:00 GMT"), None);
        assert_eq!(
            (rest(503, "soon"), rest(503, "0"), rest(500, "120"), rest(200, "5")),
            (None, None, None, None)
        );
    }
}
