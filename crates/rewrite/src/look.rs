//! How an address looks in the copy of a message that goes to a channel: completed, rewritten, reversed, and then written
//! in the manner of that channel.
//!
//! The steps, in this order (PMDF System Manager's Guide, sections 2.2.3 and 2.3.4; chapter 3 on address reversal):
//!
//! 1. a bare address gets the name of the client, where the source channel has `remotehost`;
//! 2. reversal before rewriting, where USE_REVERSE_DATABASE asks for it;
//! 3. the rewrite rules, with the channel of the copy known to `$C` and `$Q`;
//! 4. reversal after rewriting;
//! 5. a route through this system, as `exproute` of the channel that the address belongs to and `improute` of the channel
//!    of the copy ask for it;
//! 6. the local host alias of the channel, wherever the official name of this system stands;
//! 7. the form of routes: `822`, `733`, `uucp` in the envelope, `header_822` and so on in the header.
//!
//! An envelope recipient decides the channel of its copy: for it, the rules come first, and then only 6 and 7 are left.
//!
//! # Not here
//! Where addresses stand in a header ([`crate::header`]).

use sluice_config::{AddressStyle, Channel};
use sluice_mail::Address;

use crate::place;
use crate::reversal::{Moment, Reversal};
use crate::rewriter::{Context, Kind, Rewriter};

/// What became of an address, and what the operator should be told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The address as it stands in the copy.
    pub address: Address,
    /// Reversal gave this text, which is no address; it was not used.
    pub bad_reversal: Option<String>,
}

impl Rewriter {
    /// The address as the copy for `context.destination_channel` has it. `client` is the name of the host that the mail
    /// comes from, for `remotehost`. An address that no rule knows is not refused but left as it was, and only reversed:
    /// nothing but envelope recipients turns mail away.
    pub fn seen_in_copy(&self, address: &Address, context: &Context<'_>, client: Option<&str>) -> Seen {
        let mut seen = Seen { address: address.clone(), bad_reversal: None };
        if address.is_null() || address.local.is_empty() {
            return seen;
        }
        self.complete_from_client(&mut seen.address, context, client);
        self.reverse_into(&mut seen, context, Moment::BeforeRewriting);
        let channels = &self.config().channels;
        let home = match self.route(&seen.address, context, None) {
            Ok(route) => {
                seen.address = route.address;
                channels.by_name(&route.channel)
            }
            Err(_) => {
                seen.address = address.clone();
                None
            }
        };
        self.reverse_into(&mut seen, context, Moment::AfterRewriting);
        if let Some(destination) = context.destination_channel.and_then(|name| channels.by_name(name)) {
            if let Some(home) = home {
                self.add_route(&mut seen.address, context.kind, home, destination);
            }
            self.write_for(&mut seen.address, context.kind, destination);
        }
        seen
    }

    /// `remotehost`: the name of the client completes a bare address; `defaulthost` wins over it.
    fn complete_from_client(&self, address: &mut Address, context: &Context<'_>, client: Option<&str>) {
        let Some(source) = self.config().channels.by_name(context.source_channel) else { return };
        let settings = &source.settings;
        let wanted =
            settings.remote_host && settings.default_host.is_none() && context.kind != Kind::EnvelopeTo;
        if let Some(client) = client.filter(|_| wanted)
            && place::first_host(address, settings.bang_over_percent).is_none()
        {
            address.host = Some(client.to_owned());
        }
    }

    fn reverse_into(&self, seen: &mut Seen, context: &Context<'_>, moment: Moment) {
        match self.reverse(&seen.address, context, moment) {
            Reversal::Unchanged => {}
            Reversal::Changed(address) => seen.address = address,
            Reversal::NotAnAddress(text) => seen.bad_reversal = Some(text),
        }
    }

    /// `exproute`: addresses of `home` are reached through this system alone, and say so to everybody else. `improute`:
    /// `destination` reaches nobody by itself, and everybody else's addresses say so to it.
    fn add_route(&self, address: &mut Address, kind: Kind, home: &Channel, destination: &Channel) {
        let local = self.config().channels.local();
        let options = &self.config().options;
        let is_local = |channel: &Channel| std::ptr::eq(channel, local);
        if std::ptr::eq(home, destination) || is_local(home) {
            return;
        }
        let here = self.name_towards(destination);
        let explicit = home.settings.explicit_route
            && !is_local(destination)
            && (options.exproute_forward || !kind.is_forward());
        let implicit =
            destination.settings.implicit_route && (options.improute_forward || !kind.is_forward());
        let routed = address.route.first().or(address.host.as_ref());
        if (explicit || implicit) && !routed.is_some_and(|host| same_host(host, here)) {
            address.route.insert(0, here.to_owned());
        }
    }

    /// What this system calls itself towards a channel: its local host alias, or else the official local name.
    fn name_towards<'a>(&'a self, channel: &'a Channel) -> &'a str {
        channel.local_alias.as_deref().unwrap_or(&self.config().channels.local().official_host)
    }

    /// The local host alias and the form of routes.
    pub(crate) fn write_for(&self, address: &mut Address, kind: Kind, destination: &Channel) {
        self.alias_hosts(address, destination);
        let style = if kind.is_envelope() {
            destination.settings.env_address_style
        } else {
            destination.settings.header_address_style
        };
        restyle(address, style);
    }

    /// Puts the local host alias wherever the official local name is; true if there was any.
    pub(crate) fn alias_hosts(&self, address: &mut Address, destination: &Channel) -> bool {
        let Some(alias) = &destination.local_alias else { return false };
        let official = &self.config().channels.local().official_host;
        let mut found = false;
        for host in address.route.iter_mut().chain(&mut address.host) {
            if same_host(host, official) && host != alias {
                host.clone_from(alias);
                found = true;
            }
        }
        found
    }
}

/// Whether somebody wrote a keyword for the form of envelope addresses on the channel.
pub(crate) fn style_is_written(channel: &Channel) -> bool {
    channel.keywords.iter().any(|keyword| keyword.info.group == Some("envaddr"))
}

pub(crate) fn same_host(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
        || (!(one.is_ascii() && other.is_ascii()) && one.to_lowercase() == other.to_lowercase())
}

/// Writes the hosts of an address in another form; true if that changed anything.
pub(crate) fn restyle(address: &mut Address, style: AddressStyle) -> bool {
    match style {
        AddressStyle::SourceRoute => false,
        AddressStyle::Percent => percents(address),
        AddressStyle::Bang => bangs(address),
    }
}

/// `@a,@b:u@c` becomes `u%c%b@a`.
fn percents(address: &mut Address) -> bool {
    if address.route.is_empty() {
        return false;
    }
    let mut route = std::mem::take(&mut address.route).into_iter();
    let first = route.next();
    for host in address.host.take().into_iter().chain(route.rev()) {
        address.local.push('%');
        address.local.push_str(&host);
    }
    address.host = first;
    true
}

/// `@a,@b:u@c` becomes `a!b!c!u` (RFC 976).
fn bangs(address: &mut Address) -> bool {
    if address.route.is_empty() && address.host.is_none() {
        return false;
    }
    let mut path = String::new();
    for host in std::mem::take(&mut address.route).into_iter().chain(address.host.take()) {
        path.push_str(&host);
        path.push('!');
    }
    path.push_str(&address.local);
    address.local = path;
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn routes_are_written_in_three_ways() {
        let shown = |text: &str, style| {
            let mut address = Address::parse(text).unwrap();
            restyle(&mut address, style);
            address.to_string()
        };
        for (source_route, percent, bang) in [
            ("u@c", "u@c", "c!u"),
            ("@a:u@c", "u%c@a", "a!c!u"),
            ("@a,@b:u@c", "u%c%b@a", "a!b!c!u"),
            ("@a:\"x y\"@c", "\"x y\"%c@a", "a!c!\"x y\""),
            ("@[192.0.2.1]:u@c", "u%c@[192.0.2.1]", "[192.0.2.1]!c!u"),
            ("@a:u", "u@a", "a!u"),
            ("u", "u", "u"),
            ("x!u%v@c", "x!u%v@c", "c!x!u%v"),
        ] {
            assert_eq!(shown(source_route, AddressStyle::SourceRoute), source_route);
            assert_eq!(shown(source_route, AddressStyle::Percent), percent);
            assert_eq!(shown(source_route, AddressStyle::Bang), bang);
        }
    }
}
