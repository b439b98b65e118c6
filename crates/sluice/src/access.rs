//! The mapping tables that decide about connections, senders, recipients and ETRN: the questions put to them, and what
//! their answers mean (Messaging Server Administration Guide, "Mail filtering and access control"; PMDF System Manager's
//! Guide, chapter 16, "Access control").
//!
//! A table that does not exist, and a text that nothing matches, has no opinion. Every table that exists is asked, and each
//! can refuse. Where an answer has arguments, they are fields of its text in a fixed order ([`ARGUMENTS`]).
//!
//! # Not here
//! The language of tables (`rewrite::mapping`), and the conversation (`smtpd`).

use sluice_dispatch::Loaded;
use sluice_mail::{Refusal, Status};
use sluice_rewrite::mapping::{Answer, Flags};
use sluice_smtpd::{Connection, Origin, Session};

/// The flags that take an argument, in the order in which the arguments stand in the text. `N` and `F`, whose argument is
/// all the rest, come last and are not listed. `I` takes two fields.
const ARGUMENTS: [char; 13] = ['U', 'J', 'K', 'I', '<', '>', 'D', 'T', 'A', 'G', 'S', 'X', ','];
/// Flags that an access table may put out and that do something here.
const ACTING: &str = "YNFBHVZJ<>X";
/// The tables that are asked about mail, and those that have flags of their own; with the flags that act.
const TABLES: [(&str, &str); 9] = [
    ("PORT_ACCESS", "YNF<>"),
    ("FROM_ACCESS", ACTING),
    ("ORIG_SEND_ACCESS", ACTING),
    ("SEND_ACCESS", ACTING),
    ("ORIG_MAIL_ACCESS", ACTING),
    ("MAIL_ACCESS", ACTING),
    ("ETRN_ACCESS", "YNFSD"),
    ("REVERSE", "YND"),
    ("FORWARD", "YNDGHI"),
];

/// What the tables that were asked have said together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// A table said `$Y`.
    pub(crate) allowed: bool,
    /// `$H`: the copy waits for an operator.
    pub(crate) hold: bool,
    /// `$B`, `$V`, `$Z`: the copy is accepted and thrown away.
    pub(crate) discard: bool,
    /// `$J`: another reverse-path.
    pub(crate) sender: Option<String>,
}

/// What a table's answer says, its arguments read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    refused: Option<String>,
    sender: Option<String>,
    log: Option<String>,
    log_refusal: Option<String>,
    status: Option<Status>,
}

/// What is asked about one session.
pub(crate) struct Access<'a> {
    loaded: &'a Loaded,
    port: String,
    application: String,
    flags: Flags,
}

impl<'a> Access<'a> {
    /// Questions about a connection that has just been made.
    pub(crate) fn of_connection(loaded: &'a Loaded, connection: &Connection) -> Access<'a> {
        Access { loaded, port: port_probe(connection), application: "SMTP".to_owned(), flags: Flags::NONE }
    }

    /// Questions about a session.
    pub(crate) fn of_session(loaded: &'a Loaded, session: &Session) -> Access<'a> {
        if session.origin != Origin::Client {
            // There is no connection; what brings the mail is the channel.
            let application = session.connection.channel.to_string();
            return Access { loaded, port: String::new(), application, flags: Flags::NONE };
        }
        let flags = if session.extended { Flags::NONE.with('E') } else { Flags::NONE };
        // A bar in the name would move all fields behind it.
        let helo = session.helo.replace('|', "_");
        let application = if helo.is_empty() { "SMTP".to_owned() } else { format!("SMTP/{helo}") };
        Access { loaded, port: port_probe(&session.connection), application, flags }
    }

    /// PORT_ACCESS: may the client connect at all?
    pub(crate) fn connect(&self) -> Result<(), Refusal> {
        let mut verdict = Verdict::default();
        self.ask("PORT_ACCESS", &self.port, Flags::NONE, 554, &mut verdict)
    }

    /// FROM_ACCESS: may it send with this reverse-path?
    pub(crate) fn sender(&self, source_channel: &str, sender: &str) -> Result<Verdict, Refusal> {
        let mut verdict = Verdict::default();
        if self.has("FROM_ACCESS") {
            let probe = format!("{}|{}|MAIL|{source_channel}|{sender}|", self.port, self.application);
            self.ask("FROM_ACCESS", &probe, Flags::NONE, 550, &mut verdict)?;
        }
        Ok(verdict)
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
        channel: &str,
        recipient: &str,
        verdict: &mut Verdict,
    ) -> Result<(), Refusal> {
        let (send, mail) = recipient_tables(original);
        let probe = format!("{source_channel}|{sender}|{channel}|{recipient}");
        self.ask(send, &probe, self.flags, 550, verdict)?;
        if self.has(mail) {
            let probe = format!("{}|{}|MAIL|{probe}", self.port, self.application);
            self.ask(mail, &probe, self.flags, 550, verdict)?;
        }
        Ok(())
    }

    /// ETRN_ACCESS. `Err` has the text of the refusal, empty for none; `Ok(Some)` the channel to run instead.
    pub(crate) fn etrn(&self, channel: &str, name: &str, claimed: &str) -> Result<Option<String>, String> {
        let probe = format!("{}|{}|{channel}|{name}|{claimed}", self.port, self.application);
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
        code: u16,
        verdict: &mut Verdict,
    ) -> Result<(), Refusal> {
        let Some((answer, output)) = self.answer(table, probe, flags) else { return Ok(()) };
        let flags = answer.flags;
        let read = read(flags, &output);
        if let Some(text) = &read.log {
            tracing::info!(table, ?probe, "{}", clean(text));
        }
        if let Some(reason) = read.refused {
            if let Some(text) = &read.log_refusal {
                tracing::info!(table, ?probe, "{}", clean(text));
            }
            tracing::info!(table, ?probe, ?reason, "refused by a mapping table");
            return Err(refusal(code, read.status, &reason));
        }
        verdict.allowed |= flags.has('Y');
        verdict.hold |= flags.has('H');
        verdict.discard |= ['B', 'V', 'Z'].into_iter().any(|flag| flags.has(flag));
        if let Some(sender) = read.sender {
            verdict.sender = Some(sender);
        }
        Ok(())
    }
}

fn recipient_tables(original: bool) -> (&'static str, &'static str) {
    if original { ("ORIG_SEND_ACCESS", "ORIG_MAIL_ACCESS") } else { ("SEND_ACCESS", "MAIL_ACCESS") }
}

/// `TCP|server-address|server-port|client-address|client-port`.
fn port_probe(connection: &Connection) -> String {
    let (local, peer) = (connection.local, connection.peer);
    format!("TCP|{}|{}|{}|{}", local.ip().to_canonical(), local.port(), peer.ip().to_canonical(), peer.port())
}

/// Takes the arguments of the flags out of the text.
fn read(flags: Flags, output: &str) -> Read {
    let mut rest = Some(output);
    let mut field = || {
        let text = rest?;
        let (first, behind) =
            text.split_once('|').map_or((text, None), |(first, behind)| (first, Some(behind)));
        rest = behind;
        Some(first.to_owned())
    };
    let mut read = Read::default();
    for flag in ARGUMENTS.into_iter().filter(|flag| flags.has(*flag)) {
        let argument = field();
        match flag {
            'J' => read.sender = argument,
            '<' => read.log = argument,
            '>' => read.log_refusal = argument,
            'X' => read.status = argument.and_then(|text| text.trim().parse().ok()),
            'I' => drop(field()),
            _ => {}
        }
    }
    if flags.has('N') || flags.has('F') {
        read.refused = Some(rest.unwrap_or_default().to_owned());
    }
    read
}

/// What the client is told. The text may begin with a reply code, and an enhanced code behind it.
fn refusal(code: u16, status: Option<Status>, text: &str) -> Refusal {
    let text = clean(text);
    let (mut code, mut rest) = (code, text.as_str());
    let mut said = None;
    if let Some((digits, behind)) = rest.split_once(' ')
        && digits.len() == 3
        && let Ok(number @ 400..=599) = digits.parse::<u16>()
    {
        (code, rest, said) = (number, behind.trim_start(), Some(number));
    }
    let mut written = status;
    if let Some((digits, behind)) = rest.split_once(' ')
        && let Ok(found) = digits.parse::<Status>()
        && matches!(found.class, 4 | 5)
    {
        (written, rest) = (Some(found), behind.trim_start());
    }
    let status = written.unwrap_or(Status { class: if code < 500 { 4 } else { 5 }, subject: 7, detail: 1 });
    if said.is_none() {
        // 450 for what may be tried again.
        code = if status.class == 4 { 450 } else { code };
    }
    let class = if code < 500 { 4 } else { 5 };
    let text = if rest.is_empty() { "refused by the rules of this system" } else { rest };
    Refusal { code, status: Status { class, ..status }, text: text.to_owned() }
}

/// Text of an answer as it may stand in a reply or a log: strangers have a part in it.
fn clean(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(400).collect()
}

/// What FORWARD says about a recipient.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// The address to use instead.
    pub(crate) address: Option<String>,
    /// `$D`: the rewritten form of it is used.
    pub(crate) rewritten: bool,
    /// `$I`: the copy waits for an operator.
    pub(crate) hold: bool,
}

/// Asks FORWARD about an envelope recipient.
pub(crate) fn forward(loaded: &Loaded, address: &str) -> Forwarded {
    let Some(answer) = loaded.rewriter.map("FORWARD", address, Flags::NONE) else {
        return Forwarded::default();
    };
    let Some(output) = answer.output else { return Forwarded::default() };
    let mut forwarded =
        Forwarded { hold: answer.flags.has('I'), rewritten: answer.flags.has('D'), address: None };
    if answer.flags.has('Y') {
        let asks_database = answer.flags.has('G') && !answer.flags.has('H');
        let found = if asks_database { loaded.rewriter.lookups().database("forward", &output) } else { None };
        forwarded.address = Some(found.unwrap_or(output));
    }
    forwarded
}

/// Flags that entries of the tables put out and that do nothing in this version: each flag of a table once.
pub(crate) fn check(loaded: &sluice_rewrite::Rewriter) -> Vec<sluice_diag::Diagnostic> {
    let mut found = Vec::new();
    for (table, acting) in TABLES {
        let mut seen = Flags::NONE;
        for (flags, span) in loaded.mappings().flags_in(table) {
            for flag in flags.iter().filter(|flag| !acting.contains(*flag)) {
                if !seen.has(flag) {
                    let message = format!("the flag `${flag}` of {table} has no effect in this version");
                    found.push(sluice_diag::Diagnostic::new(&NO_EFFECT, message).at(span));
                }
                seen = seen.with(flag);
            }
        }
    }
    found
}

/// The kind of remark that [`check`] makes.
pub(crate) static NO_EFFECT: sluice_diag::Code = sluice_diag::Code {
    name: "mapping-flag-without-effect",
    severity: sluice_diag::Severity::Warning,
    summary: "a flag of an access table has no effect",
    explanation: "The answer is used, and this flag in it is passed over; its argument, if it has one, is still taken out of the text. The \
reference page on mapping tables says which flags of which tables act. Where such a flag closed a door, close it in another way: `$N` \
refuses, `$H` holds.",
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn flags(letters: &str) -> Flags {
        letters.chars().collect()
    }

    #[test]
    fn arguments_are_read_in_their_order() {
        let found = read(flags("ND"), "30|Relaying not allowed");
        assert_eq!(found.refused.as_deref(), Some("Relaying not allowed"));
        let found = read(flags("N<>XIJ"), "new@from|user|group|seen|turned away|4.7.1|Come | later");
        assert_eq!(found.sender.as_deref(), Some("new@from"));
        assert_eq!(found.log.as_deref(), Some("seen"));
        assert_eq!(found.log_refusal.as_deref(), Some("turned away"));
        assert_eq!(found.status, Some(Status { class: 4, subject: 7, detail: 1 }));
        assert_eq!(found.refused.as_deref(), Some("Come | later"));
        assert_eq!(read(flags("Y"), "EXTERNAL"), Read::default());
        assert_eq!(read(flags("F"), "").refused.as_deref(), Some(""));
        assert_eq!(read(flags("ND"), "30").refused.as_deref(), Some(""));
    }

    #[test]
    fn refusals_carry_the_codes_that_are_written() {
        let shown = |code, status: Option<&str>, text| {
            let refusal = refusal(code, status.map(|status| status.parse().unwrap()), text);
            format!("{} {} {}", refusal.code, refusal.status, refusal.text)
        };
        assert_eq!(shown(550, None, "Mail Blocked"), "550 5.7.1 Mail Blocked");
        assert_eq!(shown(550, Some("4.4.2"), "later"), "450 4.4.2 later");
        assert_eq!(shown(554, None, "421 4.3.2 busy"), "421 4.3.2 busy");
        assert_eq!(shown(550, None, "571 no"), "571 5.7.1 no");
        assert_eq!(shown(550, None, "45s 4.40 Try again later"), "550 5.7.1 45s 4.40 Try again later");
        assert_eq!(shown(550, None, "a\r\n250 b"), "550 5.7.1 a250 b");
        assert_eq!(shown(550, None, ""), "550 5.7.1 refused by the rules of this system");
    }
}
