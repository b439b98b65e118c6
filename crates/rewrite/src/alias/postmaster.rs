//! Whether mail for the postmaster of this host is taken.
//!
//! # Not here
//! The postmasters of other hosts of ours (`aliaspostmaster`, the parent).

use sluice_diag::Diagnostic;
use sluice_mail::Address;

use super::Walk;
use crate::circumstances::{Context, Kind};
use crate::codes;
use crate::lookups::RoutineWatch;
use crate::rewriter::Rewriter;

/// `viaaliasrequired` on the local channel, and no alias for the postmaster.
pub(super) fn check(rewriter: &Rewriter, watch: &RoutineWatch) -> Option<Diagnostic> {
    let local = rewriter.config().channels.local();
    if !local.settings.via_alias_required {
        return None;
    }
    let host = Some(local.official_host.clone());
    let postmaster = Address { route: Vec::new(), local: "postmaster".to_owned(), host };
    let context = Context { kind: Kind::EnvelopeTo, source_channel: &local.name, destination_channel: None };
    watch.forget();
    let route = rewriter.route(&postmaster, &context, None).ok()?;
    if route.channel != local.name || watch.has_seen() {
        return None;
    }
    let walk = Walk::new(rewriter, &context, false, "", None);
    if walk.look_up(&route.address, local).is_some() {
        return None;
    }
    let message = format!("`viaaliasrequired`, and no alias for `{postmaster}`: mail for it is refused");
    let remark = Diagnostic::new(&codes::NO_POSTMASTER, message).at(local.span);
    Some(remark.help("write `postmaster: user@host` into the alias file"))
}
