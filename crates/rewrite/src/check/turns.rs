//! Conditions of rules that cannot change while an address is rewritten: if they let it into a circle, they let it round for ever.
//!
//! Direction and place of the address, position of the host, source and destination channel stay the same from turn to turn
//! (`A%B` puts the new host where the old one stood). What depends on the address itself may change with it, and is not
//! looked at.

use std::ops::Range;

use crate::place::Position;
use crate::template::{Need, Op, Template};

/// What must be so for a rule, or for each of several, to apply.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Conditions {
    needs: Vec<Need>,
    /// Positions that are allowed; empty for any.
    positions: Vec<Position>,
    /// Checks of channels, as they stand in the template.
    channels: Vec<Op>,
}

/// Stays the same from turn to turn.
pub(super) fn is_lasting(op: &Op) -> bool {
    matches!(
        op,
        Op::Need(_)
            | Op::Position(_)
            | Op::Source { .. }
            | Op::SourceIsInternal { .. }
            | Op::Destination { .. }
            | Op::CheckNow { or_stop: false }
    )
}

impl Conditions {
    pub(super) fn of(template: &Template) -> Conditions {
        let mut conditions = Conditions::default();
        let lasting = template.ops.iter().filter(|(op, _): &&(Op, Range<usize>)| is_lasting(op));
        for (op, _) in lasting {
            match op {
                Op::Need(need) => conditions.needs.push(*need),
                Op::Position(position) => conditions.positions.push(*position),
                op => conditions.channels.push(op.clone()),
            }
        }
        conditions
    }

    pub(super) fn are_none(&self) -> bool {
        *self == Conditions::default()
    }

    /// Whether one address can meet these.
    pub(super) fn can_be_met(&self) -> bool {
        let both = |one, other| self.needs.contains(&one) && self.needs.contains(&other);
        !both(Need::Envelope, Need::Header) && !both(Need::Forward, Need::Backward)
    }

    /// Both together; `None` where no address is known to meet both. Different checks of channels are taken for such: to
    /// miss a circle does less harm than to see one where there is none.
    pub(super) fn and(&self, other: &Conditions) -> Option<Conditions> {
        let one_of = |ours: &[Op], theirs: &[Op]| match (ours, theirs) {
            ([], only) | (only, []) => Some(only.to_vec()),
            (ours, theirs) => (ours == theirs).then(|| ours.to_vec()),
        };
        let positions: Vec<Position> = match (&self.positions[..], &other.positions[..]) {
            ([], only) | (only, []) => only.to_vec(),
            (ours, theirs) => {
                let common: Vec<_> = ours.iter().filter(|one| theirs.contains(one)).copied().collect();
                (!common.is_empty()).then_some(common)?
            }
        };
        let needs = self.needs.iter().chain(&other.needs).copied().collect();
        let both = Conditions { needs, positions, channels: one_of(&self.channels, &other.channels)? };
        both.can_be_met().then_some(both)
    }
}
