//! What a server offers in its reply to EHLO (RFC 5321 section 4.1.1.1): a keyword and perhaps parameters on each line.
//!
//! Only keywords that the client acts on are read, so a line nobody can read harms nothing.

use std::borrow::Cow;

use sluice_sasl::Mechanism;

/// What a server offers, from its reply to EHLO. All off after HELO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offers {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870).
    pub size: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// ETRN (RFC 1985).
    pub etrn: bool,
    /// ATRN (RFC 2645).
    pub atrn: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// MT-PRIORITY (RFC 6710).
    pub mt_priority: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// AUTH (RFC 4954): which of `Mechanism::ALL`.
    pub mechanisms: [bool; Mechanism::ALL.len()],
}

impl Offers {
    /// Reads the lines of a reply to EHLO; the first is the server's greeting (RFC 5321 section 4.1.1.1).
    pub(super) fn read(lines: &[Cow<'static, str>]) -> Offers {
        let mut offers = Offers::default();
        for line in lines.iter().skip(1) {
            let keyword = line.split([' ', '\t']).find(|word| !word.is_empty()).unwrap_or_default();
            let is = |name: &str| keyword.eq_ignore_ascii_case(name);
            offers.pipelining |= is("PIPELINING");
            offers.size |= is("SIZE");
            offers.eight_bit_mime |= is("8BITMIME");
            offers.smtputf8 |= is("SMTPUTF8");
            offers.etrn |= is("ETRN");
            offers.atrn |= is("ATRN");
            offers.chunking |= is("CHUNKING");
            offers.dsn |= is("DSN");
            offers.mt_priority |= is("MT-PRIORITY");
            offers.starttls |= is("STARTTLS");
            // `AUTH=LOGIN` is how old servers wrote it, before RFC 2554.
            if is("AUTH") || keyword.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("AUTH=")) {
                for name in line.split([' ', '\t', '=']).filter_map(Mechanism::by_name) {
                    offers.mechanisms[name as usize] = true;
                }
            }
        }
        offers
    }

    /// Whether the reply to EHLO has this mark behind XLOOP: the server is then ourselves.
    pub(super) fn has_mark(lines: &[Cow<'static, str>], mark: &str) -> bool {
        lines.iter().skip(1).any(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next().is_some_and(|word| word.eq_ignore_ascii_case("XLOOP"))
                && words.any(|word| word == mark)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(lines: &[&str]) -> Offers {
        Offers::read(&lines.iter().map(|line| Cow::Owned((*line).to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn offers_are_read_line_by_line() {
        let all = offers(&[
            "hub.example greets",
            "PIPELINING",
            "size 1000",
            "8bitmime",
            "SMTPUTF8",
            "ETRN",
            "Chunking",
            "dsn",
            "MT-Priority STANAG4406",
            "AUTH PLAIN",
        ]);
        assert_eq!(
            all,
            Offers {
                pipelining: true,
                size: true,
                eight_bit_mime: true,
                smtputf8: true,
                etrn: true,
                atrn: false,
                chunking: true,
                dsn: true,
                mt_priority: true,
                starttls: false,
                mechanisms: [false, false, true, false],
            }
        );
        // The first line is a greeting whatever it says.
        assert_eq!(offers(&["PIPELINING"]), Offers::default());
        let odd = offers(&[
            "h",
            "SIZE=12 x",
            "\u{fffd}???",
            "",
            "AUTH=LOGIN",
            "DELIVERBY x",
            "XYZZY",
            "SIZE",
            "ETRN now",
        ]);
        assert_eq!(
            odd,
            Offers { size: true, etrn: true, mechanisms: [false, false, false, true], ..Offers::default() }
        );
        assert_eq!(offers(&["h", "PIPELININGS", "ETRNX", "8BITMIME2"]), Offers::default());
    }

    #[test]
    fn an_oracle_agrees() {
        use smtp_proto::{
            EXT_8BIT_MIME, EXT_DSN, EXT_ETRN, EXT_PIPELINING, EXT_SIZE, EXT_SMTP_UTF8, EhloResponse,
        };
        for lines in [
            &[
                "h",
                "PIPELINING",
                "SIZE 10240000",
                "VRFY",
                "ETRN",
                "STARTTLS",
                "ENHANCEDSTATUSCODES",
                "8BITMIME",
                "DSN",
            ][..],
            &["h", "SMTPUTF8", "CHUNKING", "AUTH PLAIN LOGIN"],
            &["h", "size", "etrn", "HELP"],
        ] {
            let mut reply = String::new();
            for (at, line) in lines.iter().enumerate() {
                reply += &format!("250{}{line}\r\n", if at + 1 == lines.len() { ' ' } else { '-' });
            }
            let other = EhloResponse::parse(&mut reply.as_bytes().iter()).unwrap();
            let ours = offers(lines);
            for (mine, theirs) in [
                (ours.pipelining, EXT_PIPELINING),
                (ours.size, EXT_SIZE),
                (ours.eight_bit_mime, EXT_8BIT_MIME),
                (ours.smtputf8, EXT_SMTP_UTF8),
                (ours.etrn, EXT_ETRN),
                (ours.dsn, EXT_DSN),
            ] {
                assert_eq!(mine, other.has_capability(theirs), "{reply}");
            }
        }
    }
}
