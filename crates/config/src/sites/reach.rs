//! Whether those who are to talk can reach each other: activators their servers, servers us, sites somebody who offers ATRN.
//!
//! # Not here
//! What the network says: these are looks at what is written.

use super::reading::All;
use super::{Activator, Method, Site, Tier};
use crate::codes;
use crate::model::{Atrn, Service};
use crate::values;
use std::net::IpAddr;

impl All<'_, '_> {
    pub(super) fn is_ourselves(&self, host: &str, port: u16) -> bool {
        let listens = |on: IpAddr| {
            let places = |service: &Service| [&service.listen[..], &service.listen_tls[..]].concat();
            let mut places = self.around.services.iter().flat_map(places);
            places.any(|(address, listened)| listened == port && address.is_none_or(|address| address == on))
        };
        match values::address(host) {
            Some(address) => address.is_loopback() && listens(address),
            None if host.eq_ignore_ascii_case("localhost") => {
                listens(IpAddr::from([127, 0, 0, 1])) || listens(IpAddr::from(std::net::Ipv6Addr::LOCALHOST))
            }
            None => host.eq_ignore_ascii_case(self.around.local_host),
        }
    }

    /// Who takes mail by ATRN must find somebody who offers it.
    pub(super) fn check_turned(&mut self, sites: &[Site]) {
        let Some(first) = sites.iter().find(|site| site.tier == Tier::Turned) else { return };
        if self.around.services.iter().any(|service| service.atrn != Atrn::No) {
            return;
        }
        let message = format!("the site `{}` takes its mail by ATRN, and no service offers that", first.name);
        let help =
            "write a section `[SERVICE=ODMR]` into dispatcher.cnf, or `ATRN=1` into that of another service";
        self.say(&codes::TURNED_WITHOUT_SERVICE, message, first.span, help);
    }

    /// Who asks by ETRN must be reachable for what comes then.
    pub(super) fn check_listeners(&mut self, activators: &[Activator]) {
        let Some(first) = activators.iter().find(|activator| activator.method == Method::Etrn) else {
            return;
        };
        // The service ODMR takes no mail.
        let services = self.around.services.iter().filter(|service| service.atrn != Atrn::Only);
        let addresses: Vec<Option<IpAddr>> =
            services.flat_map(|service| &service.listen).map(|(address, _)| *address).collect();
        let message = if addresses.is_empty() {
            format!("the activator `{}` asks for mail, and no service listens for it", first.name)
        } else if addresses.iter().all(|address| address.is_some_and(|address| address.is_loopback())) {
            format!("the activator `{}` asks for mail, and we listen on loopback addresses only", first.name)
        } else {
            return;
        };
        let help = "after ETRN the server connects to us: let a service in dispatcher.cnf listen on an address that it can reach";
        self.say(&codes::ACTIVATOR_WITHOUT_LISTENER, message, first.span, help);
    }
}
