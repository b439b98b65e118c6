//! Templates of the shape that nearly all rules have, with everything found out in advance that does not depend on the
//! address: `$U%HOST@SYSTEM` and `$U@SYSTEM`, where the host is made of `$H`, `$D` and text, and the system is plain text and a
//! host of some channel.
//!
//! With very many rules the time of an address is the time until memory answers, and each rule is a stranger to the
//! cache. So what such a rule needs stands together in a few octets, and its channel is not looked up again.
//!
//! # Invariants
//! A direct template gives what its program gives (`evaluate`), and fails when that fails; a test compares them. It does
//! not say why it failed: whoever wants to know runs the program.

use sluice_config::Channels;
use sluice_mail::Address;

use crate::evaluate::{PART_LENGTH_MAX, Subject};
use crate::place::Position;
use crate::rewriter::Kind;
use crate::template::{Need, Op, Separator};

/// Parts of a host.
const PARTS_MAX: usize = 3;

/// A template of that shape. Its texts stand elsewhere: [`crate::table`] puts them behind the pattern that they are for, so that
/// the memory which is waited for to compare the pattern has them too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Direct {
    /// Number of the channel that the system belongs to.
    pub(crate) channel: u32,
    /// Where its texts stand: that of the host, if there is one, and the system behind it.
    at: u32,
    text_length: u16,
    system_length: u16,
    /// Kinds of addresses that it applies to, one bit for each.
    kinds: u8,
    /// Positions that it applies to; `0` for any.
    positions: u8,
    host: [Part; PARTS_MAX],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Nothing,
    Host,
    Domain,
    Text,
    /// `$U@SYSTEM`: the host is the system.
    System,
}

/// What it makes of an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) system: String,
}

const fn bit(kind: Kind) -> u8 {
    1 << kind as u8
}

impl Direct {
    /// The direct form of a template's instructions, if they have that shape. Its texts are put behind `texts`.
    pub(crate) fn new<'o>(
        ops: impl Iterator<Item = &'o Op>,
        channels: &Channels,
        texts: &mut String,
    ) -> Option<Direct> {
        let all = [Kind::EnvelopeTo, Kind::EnvelopeFrom, Kind::HeaderTo, Kind::HeaderFrom];
        let (mut kinds, mut positions) = (all.into_iter().map(bit).sum::<u8>(), 0);
        let mut host = [Part::Nothing; PARTS_MAX];
        let (mut parts, mut text, mut system) = (0, None, None);
        let mut separators = [None; 2];
        let (mut part, mut user) = (0, false);
        for op in ops {
            let mut add = |what| {
                *host.get_mut(parts)? = what;
                parts += 1;
                Some(())
            };
            match (op, part) {
                (Op::Position(position), _) => positions |= position.bit(),
                (Op::Need(need), _) => {
                    let met = |kind: &Kind| match need {
                        Need::Envelope => kind.is_envelope(),
                        Need::Header => !kind.is_envelope(),
                        Need::Forward => kind.is_forward(),
                        Need::Backward => !kind.is_forward(),
                    };
                    kinds &= all.into_iter().filter(met).map(bit).sum::<u8>();
                }
                (Op::User, 0) if !user => user = true,
                (Op::Separator(separator), _) if user => {
                    *separators.get_mut(part)? = Some(*separator);
                    part += 1;
                }
                (Op::Host(0), 1) if separators[0] == Some(Separator::Percent) => add(Part::Host)?,
                (Op::Domain(0), 1) if separators[0] == Some(Separator::Percent) => add(Part::Domain)?,
                (Op::Text(found), 1) if separators[0] == Some(Separator::Percent) && text.is_none() => {
                    text = Some(&**found);
                    add(Part::Text)?;
                }
                (Op::Text(found), 1 | 2)
                    if separators[part - 1] == Some(Separator::At) && system.is_none() =>
                {
                    system = Some(&**found);
                }
                _ => return None,
            }
        }
        match separators {
            [Some(Separator::At), None] => host[0] = Part::System,
            [Some(Separator::Percent), Some(Separator::At)] if parts > 0 => {}
            _ => return None,
        }
        let (text, system) = (text.unwrap_or_default(), system?);
        if system.len() > PART_LENGTH_MAX {
            return None;
        }
        let channel = u32::try_from(channels.number_by_host(system)?).ok()?;
        let text_length = u16::try_from(text.len()).ok()?;
        let system_length = u16::try_from(system.len()).ok()?;
        let at = u32::try_from(texts.len()).ok()?;
        texts.push_str(text);
        texts.push_str(system);
        Some(Direct { channel, at, text_length, system_length, kinds, positions, host })
    }

    /// The same with its texts behind `to`. `None`: they do not fit there.
    pub(crate) fn moved(self, from: &str, to: &mut String) -> Option<Direct> {
        let at = u32::try_from(to.len()).ok()?;
        to.push_str(self.texts(from));
        Some(Direct { at, ..self })
    }

    fn texts<'t>(&self, texts: &'t str) -> &'t str {
        let at = self.at as usize;
        &texts[at..at + usize::from(self.text_length) + usize::from(self.system_length)]
    }

    /// Runs it; `texts` are those that it was made or moved with. `None`: the rule is skipped.
    #[inline]
    pub(crate) fn run(&self, texts: &str, subject: Subject<'_>, kind: Kind) -> Option<Made> {
        let (first, matched) = (subject.first, subject.matched);
        let here = self.positions == 0 || self.positions & Position::bit(first.position) != 0;
        if !here || self.kinds & bit(kind) == 0 || first.user.len() > PART_LENGTH_MAX {
            return None;
        }
        let texts = self.texts(texts);
        let (text, system) = texts.split_at(usize::from(self.text_length));
        let length = matched.host().len() + first.host.len() + texts.len();
        let mut host = String::with_capacity(length.min(PART_LENGTH_MAX));
        for part in self.host {
            match part {
                Part::Nothing => break,
                Part::Host => host.push_str(matched.host()),
                Part::Domain => host.push_str(&matched.domain()),
                Part::Text => host.push_str(text),
                Part::System => host.push_str(system),
            }
            if host.len() > PART_LENGTH_MAX {
                return None;
            }
        }
        (!host.is_empty()).then(|| Made { user: first.user.to_owned(), host, system: system.to_owned() })
    }
}

// The longest address has parts that fit.
const _: () = assert!(Address::LENGTH_MAX <= PART_LENGTH_MAX);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::evaluate::{self, Program, Shape, Surroundings};
    use crate::lookups::NoLookups;
    use crate::mapping::MappingTables;
    use crate::place::First;
    use crate::probe::Matched;
    use crate::template;

    const KINDS: [Kind; 4] = [Kind::EnvelopeTo, Kind::EnvelopeFrom, Kind::HeaderTo, Kind::HeaderFrom];
    const POSITIONS: [Position; 4] = [Position::Route, Position::At, Position::Percent, Position::Bang];

    /// Whether a template is direct, and that it then gives what its program gives.
    fn is_direct(text: &str) -> bool {
        let (config, ..) = sluice_config::read_text("a $U@h\n\nl\nh\n\ntcp_x smtp\nTCP-x\nalso-x x\n");
        let config = config.unwrap();
        let template = template::parse(text, &|_| false);
        assert_eq!(template.problems, [], "{text}");
        let mut texts = "before".to_owned();
        let direct = Direct::new(template.ops.iter().map(|(op, _)| op), &config.channels, &mut texts);
        let Some(direct) = direct else {
            assert_eq!(texts, "before");
            return false;
        };
        let mut elsewhere = "pattern".to_owned();
        let direct = direct.moved(&texts, &mut elsewhere).unwrap();
        let program = Program::new(template);
        let long = "x".repeat(PART_LENGTH_MAX);
        let matches = [
            Matched::Name { host: "", domain: "a.b" },
            Matched::Name { host: "A", domain: ".b" },
            Matched::Name { host: &long, domain: ".b" },
            Matched::Literal { domain: "1.2.", rest: "3.4" },
            Matched::open("a.b"),
        ];
        for (kind, position) in KINDS.iter().flat_map(|kind| POSITIONS.map(|position| (*kind, position))) {
            for (matched, user) in
                matches.iter().flat_map(|matched| ["", "User"].map(|user| (*matched, user)))
            {
                let subject = Subject { first: First { position, host: "a.b", user }, matched };
                let surroundings = Surroundings {
                    kind,
                    source_name: "l",
                    again: false,
                    source: None,
                    destination: None,
                    hosted: &|_| false,
                    lookups: &NoLookups,
                    mappings: &MappingTables::default(),
                    is_channel: &|_| false,
                };
                let by_program = evaluate::run(&program, subject, surroundings).ok().map(|output| {
                    assert_eq!((&output.tag, &output.error), (&None, &None));
                    match output.shape {
                        Shape::Routed { user, host, via: None, system } => {
                            Made { user: user.into(), host: host.into(), system: system.into() }
                        }
                        other => panic!("{text}: {other:?}"),
                    }
                });
                assert_eq!(
                    direct.run(&elsewhere, subject, kind),
                    by_program,
                    "{text} {kind} {position:?} {matched:?}"
                );
                assert_eq!(config.channels.number(direct.channel as usize).unwrap().name, "tcp_x");
            }
        }
        true
    }

    #[test]
    fn common_templates_are_direct() {
        for text in [
            "$U%$D@TCP-X",
            "$U%$H$D@tcp-x",
            "$U@tcp-x",
            "$U%host.example@also-x",
            "$U%$H.text@tcp-x",
            "$U%$H.text$D@tcp-x",
            "$E$F$U%$D@tcp-x",
            "$U%$D@tcp-x$B$R$A$P",
            "$E$B$U%$D@tcp-x",
            "$U%$H@tcp-x",
            "$S$U%$D$X@tcp-x",
        ] {
            assert!(is_direct(text), "{text}");
        }
    }

    #[test]
    fn others_are_not() {
        for text in [
            "$U%$D",
            "$U%$D@nobody",
            "$U@$D",
            "$U$U%$D@tcp-x",
            "$Ux%$D@tcp-x",
            "x@tcp-x",
            "$U%@tcp-x",
            "$U%$D@",
            "$U@a@tcp-x",
            "$U%a%tcp-x",
            "$U%$H$D$H$D@tcp-x",
            "$U%a$Hb@tcp-x",
            "$U%$1D@tcp-x",
            "$U%$D@$\\tcp-x",
            "$U%$D@tcp-x$Ml",
            "$U%$D@tcp-x$Tt",
            "$U%$D@tcp-x$?no",
            "$U%$D$,x@tcp-x",
            "$U%$D@tcp$$x",
            "$?no",
            "",
        ] {
            assert!(!is_direct(text), "{text}");
        }
    }
}
