//! The mapping tables that decide about connections, senders, recipients and ETRN: the questions put to them, and what
//! their answers order (Messaging Server Administration Guide, "Mail filtering and access control"; PMDF System Manager's
//! Guide, chapter 16, "Access control").
//!
//! A table that does not exist, and a text that nothing matches, has no opinion. Every table that exists is asked, and each
//! can refuse.
//!
//! # Not here
//! The language of tables (`rewrite::mapping`), the flags and their arguments (`flags`), and the conversation (`smtpd`).

mod flags;

use std::borrow::Cow;

use sluice_dispatch::Loaded;
use sluice_mail::{Address, Refusal};
use sluice_rewrite::mapping::{Answer, Flags};
use sluice_smtpd::{Connection, Orders, Origin, Session};

pub(crate) use flags::{CODES, check};
use flags::{Delay, clean};

/// Most fields that tables put on one message.
const FIELDS_MAX: usize = 20;

/// What the tables that were asked about one copy have said together. What concerns the whole message is in [`Orders`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// A table said `$Y`.
    pub(crate) allowed: bool,
    /// `$H`: the copy waits for an operator.
    pub(crate) hold: bool,
    /// `$B`: the copy is accepted and thrown away.
    pub(crate) discard: bool,
}

/// Somebody who gets mail, as the tables see it.
#[derive(Clone, Copy)]
pub(crate) struct Addressee<'a> {
    /// The channel that it goes to.
    pub(crate) channel: &'a str,
    /// The address after rewriting.
    pub(crate) address: &'a str,
    /// The address as the client wrote it.
    pub(crate) original: &'a str,
}

/// What is asked about one session.
pub(crate) struct Access<'a> {
    loaded: &'a Loaded,
    port: String,
    application: String,
    /// Who has logged in; empty for nobody.
    login: String,
    flags: Flags,
}

impl<'a> Access<'a> {
    /// Questions about a connection that has just been made.
    pub(crate) fn of_connection(loaded: &'a Loaded, connection: &Connection) -> Access<'a> {
        let (mut port, login) = (String::new(), String::new());
        if !loaded.rewriter.mappings().is_empty() {
            port = port_probe(connection);
        }
        Access { loaded, port, application: "SMTP".to_owned(), login, flags: Flags::NONE }
    }

    /// Questions about a session.
    pub(crate) fn of_session(loaded: &'a Loaded, session: &Session) -> Access<'a> {
        if session.origin != Origin::Client {
            // There is no connection; what brings the mail is the channel.
            let application = session.connection.channel.to_string();
            let (port, login) = (String::new(), String::new());
            return Access { loaded, port, application, login, flags: Flags::NONE };
        }
        let said = [('E', session.extended), ('A', session.login.is_some()), ('T', session.tls.is_some())];
        let flags = said.into_iter().filter(|(_, is_so)| *is_so).map(|(flag, _)| flag).collect();
        if loaded.rewriter.mappings().is_empty() {
            let (port, application, login) = (String::new(), String::new(), String::new());
            return Access { loaded, port, application, login, flags };
        }
        let helo = part(&session.helo);
        let tls = session.tls.as_ref().map(|tls| format!("/TLS-{}", tls.cipher.trim_start_matches("TLS_")));
        let tls = tls.unwrap_or_default();
        let application = if helo.is_empty() { format!("SMTP{tls}") } else { format!("SMTP{tls}/{helo}") };
        let login = session.login.as_ref().map(|login| part(&login.name).into_owned()).unwrap_or_default();
        Access { loaded, port: port_probe(&session.connection), application, login, flags }
    }

    /// The flags that are handed to the tables of recipients.
    pub(crate) fn flags(&self) -> Flags {
        self.flags
    }

    /// PORT_ACCESS: may the client connect at all?
    pub(crate) fn connect(&self) -> Result<(), Refusal> {
        const TABLE: &str = "PORT_ACCESS";
        let Some((answer, output)) = self.answer(TABLE, &self.port, Flags::NONE) else { return Ok(()) };
        let (read, note) = flags::read_port(answer.flags, &output);
        let probe = self.port.as_str();
        for text in read.log.iter().chain(&note) {
            tracing::info!(table = TABLE, probe, "{}", clean(text));
        }
        let Some(reason) = read.refused else { return Ok(()) };
        if let Some(text) = &read.log_refusal {
            tracing::info!(table = TABLE, probe, "{}", clean(text));
        }
        tracing::info!(table = TABLE, probe, ?reason, "refused by a mapping table");
        Err(flags::closed_door(&reason))
    }

    /// FROM_ACCESS: may it send with this reverse-path? What else is said about the sender holds for all of the message.
    pub(crate) fn sender(
        &self,
        source_channel: &str,
        sender: &str,
        orders: &mut Orders,
    ) -> Result<(), Refusal> {
        if !self.asks_about_senders() {
            return Ok(());
        }
        let from = part(sender);
        let (port, application, login) = (&self.port, &self.application, &self.login);
        let probe = format!("{port}|{application}|MAIL|{source_channel}|{from}|{login}");
        // This table is not told of EHLO.
        let flags = self.flags.iter().filter(|flag| *flag != 'E').collect();
        let mut verdict = Verdict::default();
        let result = self.ask("FROM_ACCESS", &probe, flags, &mut verdict, orders);
        orders.hold |= verdict.hold;
        orders.discard |= verdict.discard;
        result
    }

    /// Is there a table that is asked about recipients before aliases are expanded (`original`), or after?
    pub(crate) fn asks_about_recipients(&self, original: bool) -> bool {
        let (send, mail) = recipient_tables(original);
        self.has(send) || self.has(mail)
    }

    /// ORIG_SEND_ACCESS and ORIG_MAIL_ACCESS (`original`), or SEND_ACCESS and MAIL_ACCESS: may this sender send there?
    pub(crate) fn recipient(
        &self,
        original: bool,
        source_channel: &str,
        sender: &str,
        to: Addressee<'_>,
        verdict: &mut Verdict,
        orders: &mut Orders,
    ) -> Result<(), Refusal> {
        let (send, mail) = recipient_tables(original);
        let mut probe = format!("{source_channel}|{}|{}|{}", part(sender), to.channel, part(to.address));
        if self.loaded.config.options.access_orcpt {
            probe.push('|');
            probe.push_str(&part(to.original));
        }
        self.ask(send, &probe, self.flags, verdict, orders)?;
        if self.has(mail) {
            let probe = format!("{}|{}|MAIL|{probe}", self.port, self.application);
            self.ask(mail, &probe, self.flags, verdict, orders)?;
        }
        Ok(())
    }

    /// ETRN_ACCESS. `Err` has the text of the refusal, empty for none; `Ok(Some)` the channel to run instead.
    pub(crate) fn etrn(&self, channel: &str, name: &str, claimed: &str) -> Result<Option<String>, String> {
        let probe = format!("{}|{}|{channel}|{}|{}", self.port, self.application, part(name), part(claimed));
        let Some((answer, output)) = self.answer("ETRN_ACCESS", &probe, Flags::NONE) else { return Ok(None) };
        if answer.flags.has('N') || answer.flags.has('F') {
            return Err(clean(&output));
        }
        let instead = output.trim();
        let channels = &self.loaded.config.channels;
        let found =
            channels.by_host(instead).map(|(channel, _)| channel).or_else(|| channels.by_name(instead));
        let redirects = answer.flags.has('S') && answer.flags.has('D');
        if redirects && found.is_none() {
            tracing::warn!(
                ?probe,
                ?instead,
                "ETRN_ACCESS names a channel that does not exist; ETRN is served as asked"
            );
        }
        Ok(found.filter(|_| redirects).map(|channel| channel.name.clone()))
    }

    /// Is there a table that is asked about senders?
    pub(crate) fn asks_about_senders(&self) -> bool {
        self.has("FROM_ACCESS")
    }

    fn has(&self, table: &str) -> bool {
        self.loaded.rewriter.mappings().has(table)
    }

    fn answer(&self, table: &str, probe: &str, flags: Flags) -> Option<(Answer, String)> {
        let answer = self.loaded.rewriter.map(table, probe, flags)?;
        for warning in &answer.warnings {
            tracing::warn!(table, ?probe, "{warning}");
        }
        let output = answer.output.clone()?;
        tracing::debug!(table, ?probe, ?output, flags = %answer.flags, "asked a mapping table");
        Some((answer, output))
    }

    fn ask(
        &self,
        table: &str,
        probe: &str,
        flags: Flags,
        verdict: &mut Verdict,
        orders: &mut Orders,
    ) -> Result<(), Refusal> {
        let Some((answer, output)) = self.answer(table, probe, flags) else { return Ok(()) };
        let flags = answer.flags;
        let read = flags::read(flags, &output);
        if read.debug {
            tracing::info!(table, ?probe, ?output, %flags, "asked a mapping table");
        }
        for mistake in &read.mistakes {
            tracing::error!(table, ?probe, "{mistake}: it is passed over");
        }
        if let Some(text) = &read.log {
            tracing::info!(table, ?probe, "{}", clean(text));
        }
        match read.delay {
            Some(Delay::Once(time)) => orders.delay_once = orders.delay_once.max(time),
            Some(Delay::Each(time)) => orders.delay_each = orders.delay_each.max(time),
            None => {}
        }
        if let Some(group) = &read.group {
            tracing::warn!(table, ?probe, group, "refused: a group is asked for, and there are none");
        }
        if let Some(reason) = read.refused {
            if let Some(text) = &read.log_refusal {
                tracing::info!(table, ?probe, "{}", clean(text));
            }
            tracing::info!(table, ?probe, ?reason, "refused by a mapping table");
            return Err(flags::refusal(550, read.status, &reason));
        }
        verdict.allowed |= flags.has('Y');
        verdict.hold |= flags.has('H');
        verdict.discard |= flags.has('B');
        orders.discard |= flags.has('V') || flags.has('Z');
        if let Some(field) = read.field
            && !orders.fields.contains(&field)
        {
            if orders.fields.len() < FIELDS_MAX {
                orders.fields.push(field);
            } else {
                tracing::warn!(
                    table,
                    field,
                    "a message gets no more than {FIELDS_MAX} fields from mapping tables"
                );
            }
        }
        if let Some(sender) = read.sender.filter(|_| table == "FROM_ACCESS") {
            match Address::parse(&sender) {
                Ok(_) => orders.sender = Some(sender),
                Err(error) => {
                    tracing::error!(table, ?probe, ?sender, %error, "$J gives something that is no address; it is not used");
                }
            }
        }
        Ok(())
    }
}

fn recipient_tables(original: bool) -> (&'static str, &'static str) {
    if original { ("ORIG_SEND_ACCESS", "ORIG_MAIL_ACCESS") } else { ("SEND_ACCESS", "MAIL_ACCESS") }
}

/// A stranger's text as a part of a probe: a bar in it would move all parts behind it.
fn part(text: &str) -> Cow<'_, str> {
    if text.contains('|') { Cow::Owned(text.replace('|', "_")) } else { Cow::Borrowed(text) }
}

/// `TCP|server-address|server-port|client-address|client-port`.
fn port_probe(connection: &Connection) -> String {
    let (local, peer) = (connection.local, connection.peer);
    format!("TCP|{}|{}|{}|{}", local.ip().to_canonical(), local.port(), peer.ip().to_canonical(), peer.port())
}
