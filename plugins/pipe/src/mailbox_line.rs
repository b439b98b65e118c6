//! The line in front of a message in a Unix mailbox.

use std::time::{SystemTime, UNIX_EPOCH};

/// The line in front of a message in a Unix mailbox: `From sender Mon Nov 30 16:41:16 2026`, in UTC.
pub(crate) fn from_line(sender: &str, now: SystemTime) -> String {
    let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let date = sluice_mail::rfc5322_date(sluice_mail::Time(u64::try_from(millis).unwrap_or(0)));
    let words: Vec<&str> = date.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let sender: String = sender.chars().filter(|c| !c.is_control() && *c != ' ').collect();
    let sender = if sender.is_empty() { "MAILER-DAEMON" } else { &sender };
    match words[..] {
        [weekday, day, month, year, time, ..] => {
            format!("From {sender} {weekday} {month} {:>2} {time} {year}\n", day.trim_start_matches('0'))
        }
        _ => format!("From {sender} {date}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_line_in_front_is_that_of_a_mailbox() {
        let at = |secs| UNIX_EPOCH + Duration::from_secs(secs);
        assert_eq!(from_line("a@b", at(1_793_465_676)), "From a@b Sat Oct 31 16:54:36 2026\n");
        assert_eq!(from_line("", at(0)), "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n");
        assert_eq!(from_line("\"a b\"@c\n", at(0)), "From \"ab\"@c Thu Jan  1 00:00:00 1970\n");
    }
}
