//! Enhanced status codes, RFC 3463: `class.subject.detail`.

use std::fmt;
use std::str::FromStr;

/// An enhanced status code (RFC 3463 section 2). Class 2 is success, 4 may pass, 5 is for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status {
    /// 2, 4 or 5. A configuration may write other digits; they are kept and shown.
    pub class: u8,
    /// Which part of the system the code speaks about.
    pub subject: u16,
    /// What happened there.
    pub detail: u16,
}

impl Status {
    /// `2.0.0`: done, nothing more to say.
    pub const DONE: Status = Status::new(2, 0, 0);
    /// `4.0.0`: not now, no more is known.
    pub const NOT_NOW: Status = Status::new(4, 0, 0);
    /// `5.0.0`: not ever, no more is known.
    pub const NEVER: Status = Status::new(5, 0, 0);
    /// `5.1.1`: bad destination mailbox.
    pub const NO_SUCH_USER: Status = Status::new(5, 1, 1);
    /// `5.1.2`: bad destination system.
    pub const NO_SUCH_HOST: Status = Status::new(5, 1, 2);
    /// `4.4.7`: the time allowed for delivery is over.
    pub const TOO_OLD: Status = Status::new(4, 4, 7);

    /// The code with these three numbers.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Status {
        Status { class, subject, detail }
    }

    /// What an SMTP reply code without an enhanced code says: its class and nothing else.
    pub const fn of_reply_code(code: u16) -> Status {
        match code / 100 {
            0..=3 => Status::DONE,
            4 => Status::NOT_NOW,
            _ => Status::NEVER,
        }
    }

    /// Class 2.
    pub const fn is_success(self) -> bool {
        self.class == 2
    }

    /// Class 4: trying again later may help.
    pub const fn is_transient(self) -> bool {
        self.class == 4
    }

    /// Class 5: trying again does not help.
    pub const fn is_permanent(self) -> bool {
        self.class == 5
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// The text is not an enhanced status code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an enhanced status code: it has the form 5.1.1, the first number being 2, 4 or 5")]
pub struct StatusError;

impl FromStr for Status {
    type Err = StatusError;

    /// Reads exactly `class.subject.detail`: class 2, 4 or 5, the others one to three digits (RFC 3463 section 2).
    fn from_str(text: &str) -> Result<Status, StatusError> {
        let mut parts = text.split('.');
        let mut number = |digits_max: usize| -> Result<u16, StatusError> {
            let part = parts.next().ok_or(StatusError)?;
            let plain = (1..=digits_max).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            if !plain {
                return Err(StatusError);
            }
            part.parse().map_err(|_| StatusError)
        };
        let (class, subject, detail) = (number(1)?, number(3)?, number(3)?);
        if parts.next().is_some() || !matches!(class, 2 | 4 | 5) {
            return Err(StatusError);
        }
        Ok(Status::new(class as u8, subject, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for text in ["5.1.1", "2.0.0", "4.999.999", "5.7.26"] {
            assert_eq!(text.parse::<Status>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_code() {
        for text in [
            "", "5", "5.1", "5.1.1.1", "3.1.1", "5.1.", "5..1", "5.1000.1", "5.+1.1", " 5.1.1", "55.1.1",
            "5.1.1x",
        ] {
            assert_eq!(text.parse::<Status>(), Err(StatusError), "{text:?}");
        }
    }

    #[test]
    fn a_reply_code_gives_its_class() {
        assert_eq!(Status::of_reply_code(250), Status::DONE);
        assert_eq!(Status::of_reply_code(421), Status::NOT_NOW);
        assert_eq!(Status::of_reply_code(554), Status::NEVER);
    }
}
