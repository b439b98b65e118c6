//! Incoming mail that is looked at because an activator waits for some.

use std::net::IpAddr;
use std::sync::Arc;

use sluice_mail::Address;
use sluice_smtpd::{Done, Incoming, Parcel};

use crate::hub::Hub;

/// A message on its way in; when it is safe, the activators hear of it.
pub(crate) struct Watched {
    hub: Arc<Hub>,
    from: IpAddr,
    inner: Box<dyn Incoming>,
}

impl Watched {
    /// The same message, looked at if an activator waits for mail; most of the time none does.
    pub(crate) fn over(hub: &Arc<Hub>, from: IpAddr, inner: Box<dyn Incoming>) -> Box<dyn Incoming> {
        if !hub.activators().is_watching() {
            return inner;
        }
        Box::new(Watched { hub: Arc::clone(hub), from, inner })
    }
}

impl Incoming for Watched {
    fn id(&self) -> String {
        self.inner.id()
    }

    fn chunk(&mut self, bytes: Vec<u8>, done: Done) {
        self.inner.chunk(bytes, done);
    }

    fn commit(self: Box<Self>, parcel: Parcel, done: Done) {
        let Watched { hub, from, inner } = *self;
        let recipients = parcel.envelopes.iter().flat_map(|envelope| &envelope.recipients);
        let domains = recipients.filter_map(|recipient| Address::parse(&recipient.address).ok()?.host);
        let domains: Vec<String> = domains.collect();
        let told = move |result: Result<(), _>| {
            if result.is_ok() {
                hub.activators().mail_came(from, &domains);
            }
            done(result);
        };
        inner.commit(parcel, Box::new(told));
    }
}
