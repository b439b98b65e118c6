//! From the end of a program to an outcome for its recipients.
//!
//! Exit codes mean what `sysexits.h` of BSD says, as local delivery agents have used them ever since. Codes that speak of this
//! machine, and not of the message or the recipient, defer: the operator mends that, and no mail is lost by it. A program may say
//! more precisely what it means with an RFC 3463 status code of the same class as the first word that it prints.

use sluice_programs::{End, Ran};
use sluice_sdk::{Outcome, Status};

/// What becomes of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Later,
    Never,
}

/// Code, name in `sysexits.h`, what becomes of the recipient, and its status code behind the class.
const EXITS: [(i32, &str, Fate, u16, u16); 17] = [
    (64, "EX_USAGE", Fate::Later, 3, 5),
    (65, "EX_DATAERR", Fate::Never, 6, 0),
    (66, "EX_NOINPUT", Fate::Never, 3, 0),
    (67, "EX_NOUSER", Fate::Never, 1, 1),
    (68, "EX_NOHOST", Fate::Never, 1, 2),
    (69, "EX_UNAVAILABLE", Fate::Never, 3, 0),
    (70, "EX_SOFTWARE", Fate::Later, 3, 0),
    (71, "EX_OSERR", Fate::Later, 3, 0),
    (72, "EX_OSFILE", Fate::Later, 3, 5),
    (73, "EX_CANTCREAT", Fate::Later, 2, 0),
    (74, "EX_IOERR", Fate::Later, 3, 0),
    (75, "EX_TEMPFAIL", Fate::Later, 3, 0),
    (76, "EX_PROTOCOL", Fate::Never, 5, 0),
    (77, "EX_NOPERM", Fate::Never, 7, 0),
    (78, "EX_CONFIG", Fate::Later, 3, 5),
    // What a shell says of a command that it cannot start.
    (126, "not executable", Fate::Later, 3, 5),
    (127, "not found", Fate::Later, 3, 5),
];

/// What a run means for its recipients. `program` is named to whoever reads about it.
pub(crate) fn outcome(program: &str, ran: &Ran) -> Outcome {
    let said = ran.said();
    let told = |what: String| match said.as_str() {
        "" => format!("{program}: {what}"),
        said => format!("{program}: {what}: {said}"),
    };
    let later = |detail, what| Outcome::deferred(Status::new(4, 3, detail), told(what));
    match &ran.end {
        End::Exit(0) => Outcome::delivered(told("exit status 0".to_owned())),
        End::Exit(code) => {
            let known = EXITS.iter().find(|(number, ..)| number == code);
            let (name, fate, subject, detail) = known
                .map_or(("", Fate::Never, 3, 0), |&(_, name, fate, subject, detail)| {
                    (name, fate, subject, detail)
                });
            let what = match name {
                "" => format!("exit status {code}"),
                name => format!("exit status {code} ({name})"),
            };
            let class = if fate == Fate::Later { 4 } else { 5 };
            let status = own_status(&said, class).unwrap_or_else(|| Status::new(class, subject, detail));
            match fate {
                Fate::Later => Outcome::deferred(status, told(what)),
                Fate::Never => Outcome::failed(status, told(what)),
            }
        }
        End::Signal(signal) => later(0, format!("ended by signal {signal}")),
        End::Late(limit) => later(0, format!("not done within {} seconds", limit.as_secs())),
        End::Endless(limit) => later(0, format!("it printed more than {limit} octets")),
        End::Stopped => later(2, "ended because the hub is stopping".to_owned()),
        End::NotStarted(error) => later(5, format!("it cannot be started: {error}")),
        End::Lost(error) => later(0, format!("it cannot be watched: {error}")),
    }
}

/// The status code that a program has put in front of what it says.
fn own_status(said: &str, class: u8) -> Option<Status> {
    let word = said.split([' ', '\t', ';']).next()?;
    let mut parts = word.split('.');
    let mut number = || {
        let part = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?;
        part.parse::<u16>().ok().filter(|number| *number <= 999)
    };
    let (own, subject, detail) = (number()?, number()?, number()?);
    (own == u16::from(class) && parts.next().is_none()).then(|| Status::new(class, subject, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn told(end: End, output: &str) -> String {
        match outcome("/bin/x", &Ran { end, output: output.as_bytes().to_vec() }) {
            Outcome::Delivered { status, text, .. } => format!("delivered {status} {text}"),
            Outcome::Deferred { status, text, .. } => format!("deferred {status} {text}"),
            Outcome::Failed { status, text, .. } => format!("failed {status} {text}"),
        }
    }

    #[test]
    fn exit_codes_mean_what_they_always_have() {
        for (code, output, expected) in [
            (0, "", "delivered 2.0.0 /bin/x: exit status 0"),
            (0, "done\n", "delivered 2.0.0 /bin/x: exit status 0: done"),
            (1, "", "failed 5.3.0 /bin/x: exit status 1"),
            (67, "who?\n", "failed 5.1.1 /bin/x: exit status 67 (EX_NOUSER): who?"),
            (75, "full\n\nof it\n", "deferred 4.3.0 /bin/x: exit status 75 (EX_TEMPFAIL): full; of it"),
            (75, "4.2.2 quota\n", "deferred 4.2.2 /bin/x: exit status 75 (EX_TEMPFAIL): 4.2.2 quota"),
            (75, "5.2.2 quota\n", "deferred 4.3.0 /bin/x: exit status 75 (EX_TEMPFAIL): 5.2.2 quota"),
            (69, "5.7.1 no\n", "failed 5.7.1 /bin/x: exit status 69 (EX_UNAVAILABLE): 5.7.1 no"),
            (69, "5.7.1.2 no\n", "failed 5.3.0 /bin/x: exit status 69 (EX_UNAVAILABLE): 5.7.1.2 no"),
            (78, "", "deferred 4.3.5 /bin/x: exit status 78 (EX_CONFIG)"),
            (127, "", "deferred 4.3.5 /bin/x: exit status 127 (not found)"),
            (255, "", "failed 5.3.0 /bin/x: exit status 255"),
        ] {
            assert_eq!(told(End::Exit(code), output), expected);
        }
    }

    #[test]
    fn other_ends_defer() {
        for (end, expected) in [
            (End::Signal(9), "deferred 4.3.0 /bin/x: ended by signal 9"),
            (End::Late(Duration::from_secs(3)), "deferred 4.3.0 /bin/x: not done within 3 seconds"),
            (End::Endless(10), "deferred 4.3.0 /bin/x: it printed more than 10 octets"),
            (End::Stopped, "deferred 4.3.2 /bin/x: ended because the hub is stopping"),
        ] {
            assert_eq!(told(end, ""), expected);
        }
    }
}
