//! The end of a walk: the route of an address that needs no further rule, and the form in which its channel gets it.
//!
//! Which rules it went through is decided in the module above; the forms themselves are in [`look`](crate::look).

use sluice_config::Channel;
use sluice_mail::Address;

use super::Walk;
use crate::circumstances::{Kind, Route, way_host};
use crate::destinations::Destination;
use crate::look;
use crate::trace::Step;

impl Walk<'_, '_, '_> {
    /// The whole local part becomes a mailbox name of this system.
    pub(super) fn mailbox(&mut self, work: &mut Address) -> Route {
        let local = self.rewriter.config.channels.local();
        work.host = Some(local.official_host.clone());
        self.step(|| Step::Mailbox { address: work.to_string() });
        let address = std::mem::take(work);
        self.changed(address, local, local.official_host.clone())
    }

    /// The route of an address that is ready, to the channel of that number.
    pub(super) fn finish(
        &mut self,
        work: &mut Address,
        number: usize,
        row: Destination,
        routing_system: String,
    ) -> Route {
        let address = std::mem::take(work);
        let rewriter = self.rewriter;
        let changes = row.changes && self.surroundings.kind == Kind::EnvelopeTo;
        if !changes && way_host(&address).is_some() {
            return Route::plain(address, rewriter.destinations.name(row).to_owned(), routing_system);
        }
        let channels = &rewriter.config.channels;
        self.changed(address, channels.number(number).unwrap_or(channels.local()), routing_system)
    }

    /// The same, where the channel may get something else.
    fn changed(&mut self, address: Address, channel: &Channel, routing_system: String) -> Route {
        let mut final_address = address.clone();
        if self.surroundings.kind == Kind::EnvelopeTo {
            self.implied_route(&mut final_address, channel, &routing_system);
            self.proper_name(&mut final_address, channel);
            if self.rewriter.alias_hosts(&mut final_address, channel) {
                let address = final_address.to_string();
                self.step(|| Step::LocalAlias { channel: channel.name.clone(), address });
            }
        }
        let host = way_host(&final_address).unwrap_or(&channel.official_host).clone();
        if self.surroundings.kind == Kind::EnvelopeTo
            && look::restyle(&mut final_address, channel.settings.env_address_style)
        {
            let address = final_address.to_string();
            self.step(|| Step::Restyled { channel: channel.name.clone(), address });
        }
        Route::changed(address, channel.name.clone(), routing_system, final_address, host)
    }

    /// A channel that says in which form it wants envelope addresses wants the whole way in them: `u@c` that goes by `b`
    /// is `@b:u@c` to it. The official name of an SMTP channel is a tag and no host, so nothing is said there.
    fn implied_route(&mut self, address: &mut Address, channel: &Channel, routing_system: &str) {
        let first = way_host(address);
        if channel.is_smtp()
            || self.is_local(channel)
            || !look::style_is_written(channel)
            || first.is_none_or(|host| look::same_host(host, routing_system))
        {
            return;
        }
        address.route.insert(0, routing_system.to_owned());
        self.step(|| Step::RouteWritten {
            routing_system: routing_system.to_owned(),
            address: address.to_string(),
        });
    }

    /// A host that stands in the channel's own table is replaced by its proper name.
    fn proper_name(&mut self, address: &mut Address, channel: &Channel) {
        let Some(host) = address.route.first_mut().or(address.host.as_mut()) else { return };
        let Some((owner, entry)) = self.rewriter.config.channels.by_host(host) else { return };
        let Some(proper) = entry.proper.as_ref().filter(|_| std::ptr::eq(owner, channel)) else { return };
        let named = std::mem::replace(host, proper.clone());
        self.step(|| Step::ProperName { host: named, proper: proper.clone(), channel: channel.name.clone() });
    }
}
