//! The front door: what the SMTP listeners ask, answered from the configuration, the rewriter and the dispatcher.
//!
//! Decides who may send. Not here: by which channel a session comes in (`terms`), what becomes of a recipient (`recipients`), the
//! conversation (`smtpd`), who may ask for mail (`etrn`, `turning`).

use std::sync::Arc;

use sluice_config::{Ident, Vrfy};
use sluice_mail::{Address, Recipient, Refusal, Status};
use sluice_smtp::replies;
use sluice_smtp::reply::Reply;
use sluice_smtpd::{
    Accepted, Admission, AtrnAnswer, Certificates, ClientName, Connection, EtrnAnswer, Incoming, Intake,
    Lookup, MailParams, Orders, Session, Transaction, Users,
};

use crate::access::Access;
use crate::activators::Watched;
use crate::arriving::Arriving;
use crate::etrn;
use crate::filtering::Filtering;
use crate::hub::{self, Hub};
use crate::lookups;
use crate::names::{self, Names};
use crate::own_releases;
use crate::recipients::Recipients;
use crate::terms;
use crate::turning;

/// The hub as the listeners see it.
pub(crate) struct Door {
    hub: Arc<Hub>,
    names: Arc<Names>,
}

impl Door {
    /// A door into this hub.
    pub(crate) fn new(hub: Arc<Hub>) -> Door {
        Door { hub, names: Arc::default() }
    }

    /// Where a recipient goes, or why it goes nowhere.
    fn resolve(
        &self,
        session: &Session,
        sender: &str,
        path: &str,
        orders: &mut Orders,
    ) -> Result<Vec<Accepted>, Refusal> {
        let loaded = self.hub.loaded();
        let address = Address::parse(path).map_err(|error| bad_address(5, 1, 3, path, &error))?;
        let mut ordered = orders.clone();
        let accepted = lookups::answered(&loaded, || {
            Recipients { loaded: &loaded, session, sender, path }.accept(&address, &mut ordered)
        });
        let accepted = accepted.map_err(|refusal| {
            // The terms of the session may come from a time when the database could not be asked.
            let doubtful = refusal.code >= 500 && loaded.config.databases.any_is_lost();
            if doubtful { lookups::unavailable() } else { refusal }
        });
        match accepted {
            Ok(_) => *orders = ordered,
            // What was said about a recipient who is refused concerns nobody else, but the client may well wait.
            Err(_) => {
                (orders.delay_once, orders.delay_each) = (ordered.delay_once, ordered.delay_each);
            }
        }
        accepted
    }
}

impl Intake for Door {
    fn client_name(&self, connection: &Connection) -> Option<Lookup<Option<ClientName>>> {
        let loaded = self.hub.loaded();
        let default = loaded.config.channels.by_name(&connection.channel)?;
        if default.settings.ident == Ident::Numeric {
            return None;
        }
        let resolver = self.names.of(default)?;
        Some(Box::pin(names::client_name(resolver, connection.peer.ip(), default.settings.forward_check)))
    }

    fn sender_exists(&self, session: &Session, path: &str) -> Option<Lookup<Result<(), Refusal>>> {
        let loaded = self.hub.loaded();
        let source = loaded.config.channels.by_name(&session.admission.source_channel)?;
        if !source.settings.mail_from_dns_verify {
            return None;
        }
        // A literal is not in the name service, and neither is the null reverse-path.
        let domain = Address::parse(path).ok()?.host.filter(|host| !host.starts_with('['))?;
        let resolver = self.names.of(source)?;
        Some(Box::pin(names::domain_exists(resolver, domain)))
    }

    fn admit(&self, connection: &Connection) -> Result<Admission, Refusal> {
        let loaded = self.hub.loaded();
        let config = &loaded.config;
        let Some(default) = config.channels.by_name(&connection.channel) else {
            // The listener outlived a reload that took its channel away.
            let text = format!("{} does not take mail at the moment", config.channels.local().official_host);
            return Err(Refusal { code: 421, status: Status { class: 4, subject: 3, detail: 2 }, text });
        };
        let before = loaded.rewriter.lookups().unanswered();
        let admitted = Access::of_connection(&loaded, connection)
            .connect()
            .map(|()| terms::of(&loaded, &self.hub.keys(), default, connection, None));
        if loaded.rewriter.lookups().unanswered() != before {
            return Err(lookups::closed_for_now());
        }
        admitted
    }

    fn readmit(&self, session: &Session) -> Option<Admission> {
        let loaded = self.hub.loaded();
        let default = loaded.config.channels.by_name(&session.connection.channel)?;
        Some(terms::of(&loaded, &self.hub.keys(), default, &session.connection, Some(session)))
    }

    fn certificates(&self, connection: &Connection) -> Option<Certificates> {
        self.hub.keys().certificates(&connection.service)
    }

    fn users(&self) -> Option<Arc<Users>> {
        self.hub.keys().users()
    }

    fn sender(
        &self,
        session: &Session,
        path: &str,
        _params: &MailParams,
        orders: &mut Orders,
    ) -> Result<(), Refusal> {
        if !path.is_empty() {
            Address::parse(path).map_err(|error| bad_address(5, 1, 7, path, &error))?;
        }
        let loaded = self.hub.loaded();
        if loaded.rewriter.mappings().is_empty() {
            return Ok(());
        }
        let access = Access::of_session(&loaded, session);
        if !access.asks_about_senders() {
            return Ok(());
        }
        let source_channel = session.admission.source_channel.as_str();
        lookups::answered(&loaded, || {
            access.sender(source_channel, &hub::rewritten(&loaded, path, source_channel), orders)
        })
    }

    fn recipient(
        &self,
        session: &Session,
        sender: &str,
        path: &str,
        orders: &mut Orders,
    ) -> Result<Vec<Accepted>, Refusal> {
        match self.resolve(session, sender, path, orders) {
            // A temporary error stays one: to bounce the recipient would make it permanent.
            Err(refusal) if session.admission.reception.accept_all && refusal.code >= 500 => {
                let original = path.to_owned();
                let recipient = Recipient { address: path.to_owned(), original, ..Recipient::default() };
                Ok(vec![Accepted { refused: Some(refusal), ..recipient.into() }])
            }
            answer => answer,
        }
    }

    fn verify(&self, session: &Session, text: &str) -> Reply {
        let loaded = self.hub.loaded();
        let channel = loaded.config.channels.by_name(&session.admission.source_channel);
        let open = channel.is_some_and(|channel| match channel.settings.vrfy {
            Vrfy::Allow => true,
            Vrfy::Hide => false,
            Vrfy::Default => {
                let default = loaded.config.channels.by_name(&session.connection.channel);
                !default.unwrap_or(channel).server.hide_verify
            }
        });
        if !open {
            return replies::cannot_verify();
        }
        let path = text.strip_prefix('<').and_then(|path| path.strip_suffix('>')).unwrap_or(text);
        let known = self.resolve(session, "", path, &mut Orders::default());
        match known.as_deref() {
            // Whom a list stands for is not told.
            Ok([only]) => Reply::new(
                250,
                Status { class: 2, subject: 1, detail: 5 },
                format!("<{}>", only.recipient.address),
            ),
            Err(refusal) => Reply::from(refusal.clone()),
            Ok(_) => replies::cannot_verify(),
        }
    }

    fn begin(&self, session: &Session, transaction: &Transaction) -> Box<dyn Incoming> {
        let arriving = Box::new(Arriving::new(&self.hub, session, transaction));
        let arriving = Filtering::over(&self.hub, session, transaction, arriving);
        Watched::over(&self.hub, session.connection.peer.ip(), arriving)
    }

    fn etrn(&self, session: &Session, argument: &str, done: Box<dyn FnOnce(EtrnAnswer) + Send>) {
        let (hub, names) = (Arc::clone(&self.hub), Arc::clone(&self.names));
        let (session, argument) = (session.clone(), argument.to_owned());
        tokio::spawn(async move {
            done(EtrnAnswer { reply: etrn::answer(&hub, &names, &session, &argument).await });
        });
    }

    fn releases(&self, session: &Session, done: Box<dyn FnOnce(Reply) + Send>) {
        let hub = Arc::clone(&self.hub);
        let login = session.login.as_ref().map(|login| login.name.clone()).unwrap_or_default();
        tokio::spawn(async move { done(own_releases::answer(hub, &login).await) });
    }

    fn atrn(&self, session: &Session, domains: &[String], done: Box<dyn FnOnce(AtrnAnswer) + Send>) {
        let (hub, session, domains) = (Arc::clone(&self.hub), session.clone(), domains.to_vec());
        tokio::spawn(async move { done(turning::answer(hub, &session, &domains).await) });
    }
}

fn bad_address(class: u8, subject: u16, detail: u16, path: &str, error: &dyn std::error::Error) -> Refusal {
    Refusal { code: 553, status: Status { class, subject, detail }, text: format!("{path}: {error}") }
}
