//! The order of a session: which command is allowed when, what is counted, and what must be asked of others.
//!
//! A line goes in, a [`Step`] comes out. Most steps are replies. For a sender, a recipient, VRFY, ETRN and a message the
//! caller asks whoever knows, and hands the answer to the method named at the step. The caller may not hand in another
//! line before it has done so.
//!
//! # Invariants
//! Every command gets exactly one reply. After [`Step::Close`] nothing more is answered.
//! # Not here
//! Cutting lines (`line`), message content (`content`), time and sockets (`smtpd`).

use sluice_mail::{RecipientWishes, Refusal, Time, TransferPriority};

use crate::atrn::AtrnPolicy;
use crate::command::{self, Command, MailParams, Mistake};
use crate::etrn::{Answers, EtrnPolicy, Node};
use crate::replies;
use crate::reply::{Charset, Reply};

pub use quota::Quotas;
use quota::Spent;

mod guard;
mod offers;
mod priorities;
mod quota;
mod transaction;
mod turning;

use guard::Guard;
pub use guard::{Demand, Exchanged, Safety};
pub use priorities::Priorities;
use sluice_sasl::Mechanism;
pub use transaction::{Accepted, Expanded, Received, Transaction, hand_down};

/// So many ETRN commands over the limit are told 458; the one after them ends the session.
pub const ETRN_OVER_LIMIT_MAX: u32 = 8;

/// Most seconds ahead that FUTURERELEASE can offer: nine digits (RFC 4865 section 4).
pub const LATER_SECS_MAX: u32 = 999_999_999;

/// So many commands a session may send that move nothing (all but RCPT, DATA, ETRN and QUIT, which have limits of
/// their own), counted from the last accepted message. Monitors that look in every few seconds reach it after an hour and connect anew.
pub const IDLE_COMMANDS_MAX: u32 = 1000;

/// So many recipients a transaction may have once aliases are expanded, however few RCPT commands they came from.
pub const EXPANDED_MAX: usize = 100_000;

/// What a session may do, fixed before its greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Our name.
    pub host: String,
    /// How ETRN is served; decides whether EHLO offers it.
    pub etrn: EtrnPolicy,
    /// ETRN commands that are carried out.
    pub etrn_per_session: u32,
    /// Whether the session may be turned; decides whether EHLO offers it.
    pub atrn: AtrnPolicy,
    /// Largest message in octets; 0 is no limit.
    pub max_message_size: u64,
    /// Recipients of one message.
    pub max_recipients: u32,
    /// Errors before 421: bad commands and refused senders and messages, and refused recipients unless [`Quotas`] has a
    /// limit for those.
    pub max_errors: u32,
    /// What the operator limits besides.
    pub quotas: Quotas,
    /// CHUNKING is offered (RFC 3030).
    pub chunking: bool,
    /// `acceptalladdresses`: the size that MAIL declares is no reason to refuse a recipient.
    pub accept_all: bool,
    /// `futurerelease`: a message may be released so many seconds ahead (RFC 4865); `None` where that is not offered.
    pub later_release: Option<u32>,
    /// `mtprioritiesallowed`: MT-PRIORITY is served (RFC 6710); `None` where it is not offered.
    pub priorities: Option<Priorities>,
    /// What stands behind XLOOP, by which a client that is ourselves knows us (channel keyword `loopcheck`).
    pub loop_mark: Option<&'static str>,
    /// TLS and logins.
    pub safety: Safety,
}

/// What the caller does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'l> {
    /// Send this; go on with the next line.
    Reply(Reply),
    /// Send this and close the connection.
    Close(Reply),
    /// The client has introduced itself: note [`Server::helo`], then as [`Step::Reply`].
    Hello(Reply),
    /// Ask about the sender, then [`Server::sender`].
    Sender {
        /// Without angle brackets; empty for the null reverse-path.
        path: &'l str,
        /// What MAIL said besides.
        params: MailParams,
    },
    /// Ask about the recipient, then [`Server::recipient`] with the same path and wishes.
    Recipient {
        /// Without angle brackets.
        path: &'l str,
        /// What the sender wants to be told about it.
        wishes: RecipientWishes,
    },
    /// Send the reply, and if nothing came behind the command turn on TLS, then [`Server::secured`]. If there is no
    /// certificate, [`Server::tls_unavailable`] instead.
    StartTls(Reply),
    /// Begin an exchange of this mechanism with what the client said, then [`Server::exchanged`].
    Authenticate(Mechanism, Option<Vec<u8>>),
    /// Go on with the exchange, then [`Server::exchanged`].
    AuthResponse(Vec<u8>),
    /// Ask, then [`Server::answered`].
    Verify(&'l str),
    /// Ask, then [`Server::answered`].
    Etrn(&'l str),
    /// Ask, then [`Server::answered`] unless the session is turned. When something has come behind the command, it is
    /// [`Server::spoke_before_turn`] instead.
    Atrn(&'l str),
    /// Ask what was released for the sites of the client's login, then [`Server::answered`].
    Releases,
    /// Send the reply, receive the content, then [`Server::received`].
    Content(Reply, Box<Transaction>),
    /// Receive so many octets of content. Then [`Server::received`] if they were the last ones or the message has come to
    /// nothing, and else [`Server::chunk_taken`].
    Chunk {
        /// How many.
        octets: u64,
        /// The message ends with them.
        last: bool,
        /// With the first chunk of a message.
        transaction: Option<Box<Transaction>>,
    },
    /// Read so many octets and throw them away, then send the reply: they belong to no message.
    Discard(u64, Reply),
}

/// The state of one session.
#[derive(Debug)]
pub struct Server {
    policy: Policy,
    guard: Guard,
    /// When the last line came.
    now: Time,
    helo: Option<Helo>,
    transaction: Option<Open>,
    /// Some of a message has come by BDAT, and more is to come.
    chunks: bool,
    /// The priority of the transaction, where it is lower than what was asked for.
    lowered: Option<TransferPriority>,
    spent: Spent,
    errors: u32,
    idle_commands: u32,
    etrn_served: u32,
    etrn_refused: u32,
}

/// How the client introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helo {
    /// The name it gave. A stranger's text.
    pub name: String,
    /// EHLO, not HELO.
    pub extended: bool,
}

#[derive(Debug)]
struct Open {
    transaction: Transaction,
    /// A recipient was refused.
    refused: bool,
    /// RCPT commands with an address, whatever became of them.
    presented: u32,
}

impl Server {
    /// A session that has not said anything yet.
    pub fn new(policy: Policy) -> Server {
        Server {
            policy,
            guard: Guard::default(),
            now: Time::default(),
            lowered: None,
            helo: None,
            transaction: None,
            chunks: false,
            spent: Spent::default(),
            errors: 0,
            idle_commands: 0,
            etrn_served: 0,
            etrn_refused: 0,
        }
    }

    /// Puts other limits and offers in force, as when a session goes over to another channel.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The greeting.
    pub fn greeting(&self) -> Reply {
        replies::greeting(&self.policy.host)
    }

    /// How the client introduced itself, if it has.
    pub fn helo(&self) -> Option<&Helo> {
        self.helo.as_ref()
    }

    /// A transaction is open.
    pub fn is_in_transaction(&self) -> bool {
        self.transaction.is_some() || self.chunks
    }

    /// Some of a message has come by BDAT, and more is to come. When this is no longer so, what has come is to be forgotten,
    /// unless [`Server::received`] has said otherwise.
    pub fn expects_chunks(&self) -> bool {
        self.chunks
    }

    /// The reverse-path of the open transaction.
    pub fn reverse_path(&self) -> Option<&str> {
        self.transaction.as_ref().map(|open| open.transaction.sender.as_str())
    }

    /// Characters that may be sent to this client now.
    pub fn charset(&self) -> Charset {
        match &self.transaction {
            Some(open) if open.transaction.params.smtputf8 => Charset::Utf8,
            _ => Charset::Ascii,
        }
    }

    /// Takes a command line, without its end, that has come at `now`.
    pub fn line<'l>(&mut self, line: &'l [u8], now: Time) -> Step<'l> {
        self.now = now;
        if self.is_in_exchange() {
            return self.exchange_line(line);
        }
        let parsed = command::parse(line);
        if self.spent.command(&self.policy.quotas) && !matches!(parsed, Ok(Command::Quit)) {
            return Step::Close(replies::session_command_limit());
        }
        match parsed {
            Ok(command) => self.command(command),
            Err(Mistake::Answer(reply)) => self.answered(reply),
            Err(Mistake::ForeignProtocol) => Step::Close(replies::not_smtp()),
        }
    }

    /// A line came that was too long for any command.
    pub fn line_too_long(&mut self) -> Step<'static> {
        if self.is_in_exchange() {
            return self.exchange_line_too_long();
        }
        self.answered(replies::line_too_long())
    }

    fn command<'l>(&mut self, command: Command<'l>) -> Step<'l> {
        let moves = match command {
            Command::Rcpt { .. } | Command::Data | Command::Etrn(_) | Command::Quit => true,
            Command::Bdat { octets, last } => octets > 0 || last,
            _ => false,
        };
        if !moves && self.idles() {
            return Step::Close(replies::too_many_idle_commands());
        }
        if self.chunks
            && matches!(
                command,
                Command::Mail { .. } | Command::Rcpt { .. } | Command::Data | Command::Etrn(_)
            )
        {
            return self.answered(replies::content_begun());
        }
        if matches!(command, Command::Mail { .. } | Command::Rset)
            && let Some(reply) = self.spent.end(&self.policy.quotas)
        {
            return Step::Close(reply);
        }
        if let Some(reply) = self.withheld(&command) {
            return self.answered(reply);
        }
        if let Some(step) = self.not_in_odmr(&command) {
            return step;
        }
        match command {
            Command::Helo(name) => self.hello(name, false),
            Command::Ehlo(name) => self.hello(name, true),
            Command::Mail { path, params } => self.mail(path, params),
            Command::Rcpt { path, wishes } => self.rcpt(path, wishes),
            Command::Data => match self.content() {
                Ok(transaction) => Step::Content(replies::start_data(), transaction),
                Err(reply) => self.answered(reply),
            },
            Command::Bdat { octets, last } => self.bdat(octets, last),
            Command::Rset => {
                (self.transaction, self.chunks) = (None, false);
                Step::Reply(replies::reset())
            }
            Command::Noop => Step::Reply(replies::noop()),
            Command::Help(topic) if topic.eq_ignore_ascii_case("RELEASES") => self.releases(),
            Command::Help(_) => Step::Reply(self.help()),
            Command::Vrfy(text) => Step::Verify(text),
            Command::StartTls => self.start_tls(),
            Command::Auth { mechanism, response } => self.auth(mechanism, response),
            Command::Etrn(argument) => self.etrn(argument),
            Command::Atrn(argument) => self.atrn(argument),
            Command::Quit => Step::Close(replies::goodbye(&self.policy.host)),
        }
    }

    /// Counts a command that has moved nothing; whether it is one too many.
    fn idles(&mut self) -> bool {
        self.idle_commands += 1;
        self.idle_commands > IDLE_COMMANDS_MAX
    }

    /// HELP RELEASES: a site reads its own records. Who it is only a login can say.
    fn releases(&mut self) -> Step<'static> {
        if self.helo.is_none() {
            return self.answered(replies::hello_first());
        }
        if self.has_logged_in() { Step::Releases } else { self.answered(replies::auth_required()) }
    }

    fn mail<'l>(&mut self, path: &'l str, mut params: MailParams) -> Step<'l> {
        if self.helo.is_none() {
            return self.answered(replies::hello_first());
        }
        if self.transaction.is_some() {
            return self.answered(replies::nested_mail());
        }
        if self.spent.no_more_messages(&self.policy.quotas) {
            return Step::Reply(replies::too_many_messages());
        }
        if let Some(reply) = self.login_missing().or_else(|| self.auth_parameter(&params)) {
            return self.answered(reply);
        }
        if let Some(reply) = params.wishes.later.and_then(|later| self.later_refused(later)) {
            return self.answered(reply);
        }
        if let Some(reply) = self.priority_refused(&mut params) {
            return self.answered(reply);
        }
        let limit = self.policy.max_message_size;
        if limit != 0 && params.size.is_some_and(|size| size > limit) {
            return self.answered(replies::declared_too_large(limit));
        }
        Step::Sender { path, params }
    }

    /// The answer to [`Step::Sender`].
    pub fn sender(&mut self, path: &str, params: MailParams, answer: Result<(), Refusal>) -> Step<'static> {
        match answer {
            Ok(()) => {
                let transaction = Transaction {
                    sender: path.to_owned(),
                    params,
                    recipients: Vec::new(),
                    commands: 0,
                    expanded: Vec::new(),
                };
                self.transaction = Some(Open { transaction, refused: false, presented: 0 });
                Step::Reply(match self.lowered {
                    Some(priority) => replies::sender_lowered(&priority.to_string()),
                    None => replies::sender_ok(),
                })
            }
            Err(refusal) => self.answered(refusal.into()),
        }
    }

    fn rcpt<'l>(&mut self, path: &'l str, wishes: RecipientWishes) -> Step<'l> {
        let Some(open) = &mut self.transaction else {
            return self.answered(self.mail_missing());
        };
        open.presented = open.presented.saturating_add(1);
        let is_ascii = path.is_ascii() && wishes.original.is_ascii();
        if !is_ascii && !open.transaction.params.smtputf8 {
            open.refused = true;
            return self.answered(replies::address_needs_smtputf8());
        }
        if self.spent.defers(&self.policy.quotas) {
            open.refused = true;
            return match self.idles() {
                true => Step::Close(replies::too_many_idle_commands()),
                false => Step::Reply(replies::too_many_rejects()),
            };
        }
        if open.transaction.commands >= self.policy.max_recipients {
            return Step::Reply(replies::too_many_recipients());
        }
        Step::Recipient { path, wishes }
    }

    /// The answer to [`Step::Recipient`]: whom the path stands for. An empty list is accepted too; what was asked for
    /// then goes to nobody.
    pub fn recipient(
        &mut self,
        path: &str,
        wishes: RecipientWishes,
        answer: Result<Vec<Accepted>, Refusal>,
    ) -> Step<'static> {
        let Some(open) = &mut self.transaction else {
            return self.answered(replies::mail_first());
        };
        let declared = open.transaction.params.size.filter(|_| !self.policy.accept_all).unwrap_or(0);
        let answer = answer.and_then(|accepted| {
            let outgrown = accepted.iter().filter(|one| one.is_outgrown_by(declared));
            match outgrown.filter_map(|one| one.size_max).max() {
                Some(size_max) if accepted.iter().all(|one| one.is_outgrown_by(declared)) => {
                    Err(replies::too_large_for_recipient(size_max).into_refusal())
                }
                _ => Ok(accepted),
            }
        });
        match answer {
            Ok(mut accepted) => {
                let recipients = &mut open.transaction.recipients;
                if recipients.len() + accepted.len() > EXPANDED_MAX {
                    return Step::Reply(replies::too_many_recipients());
                }
                open.transaction.expanded.extend(hand_down(path, wishes, &mut accepted));
                recipients.extend(accepted);
                open.transaction.commands += 1;
                self.spent.recipients = self.spent.recipients.saturating_add(1);
                Step::Reply(replies::recipient_ok())
            }
            Err(refusal) => {
                open.refused = true;
                let reply = Reply::from(refusal);
                if !reply.is_permanent() {
                    return Step::Reply(reply);
                }
                self.spent.rejects = self.spent.rejects.saturating_add(1);
                if !self.policy.quotas.limit_rejects() {
                    return self.answered(reply);
                }
                // The operator's limits may leave a guesser alone for as long as it stays in one transaction.
                if self.idles() { Step::Close(replies::too_many_idle_commands()) } else { Step::Reply(reply) }
            }
        }
    }

    fn mail_missing(&self) -> Reply {
        if self.helo.is_none() { replies::hello_first() } else { replies::mail_first() }
    }

    /// The transaction whose content begins now, or why none does.
    fn content(&mut self) -> Result<Box<Transaction>, Reply> {
        let Some(open) = self.transaction.take() else { return Err(self.mail_missing()) };
        if self.policy.quotas.recipient_cutoff.is_some_and(|cutoff| open.presented > cutoff) {
            return Err(replies::recipient_cutoff());
        }
        if open.transaction.commands > 0 {
            self.spent.transactions = self.spent.transactions.saturating_add(1);
            return Ok(Box::new(open.transaction));
        }
        // RFC 2920 section 3.1: DATA may have been sent together with RCPT commands that were all refused.
        let reply = if open.refused { replies::no_valid_recipients() } else { replies::rcpt_first() };
        self.transaction = Some(open);
        Err(reply)
    }

    /// RFC 3030 section 2: the octets come whatever the reply will be, so they are read in every case.
    fn bdat(&mut self, octets: u64, last: bool) -> Step<'static> {
        if !self.policy.chunking {
            return self.answered(replies::not_implemented("BDAT"));
        }
        let transaction = if self.chunks {
            None
        } else {
            match self.content() {
                Ok(transaction) => Some(transaction),
                Err(reply) => {
                    return match self.answered(reply) {
                        Step::Reply(reply) => Step::Discard(octets, reply),
                        step => step,
                    };
                }
            }
        };
        self.chunks = true;
        Step::Chunk { octets, last, transaction }
    }

    /// The octets of [`Step::Chunk`] are there, and there is nothing against them.
    pub fn chunk_taken(&mut self, octets: u64) -> Step<'static> {
        Step::Reply(replies::chunk_taken(octets))
    }

    /// The message of [`Step::Content`] or [`Step::Chunk`] has ended.
    pub fn received(&mut self, received: Received) -> Step<'static> {
        self.chunks = false;
        match received {
            Received::Safe(id) => {
                // Who gets a message through is no guesser: its errors are forgotten.
                (self.errors, self.idle_commands) = (0, 0);
                Step::Reply(match self.lowered.take() {
                    Some(priority) => replies::accepted_lowered(&priority.to_string(), &id),
                    None => replies::accepted(&id),
                })
            }
            Received::Faulty(fault) => self.answered(fault.reply()),
            Received::Refused(refusal) => self.answered(refusal.into()),
        }
    }

    fn etrn<'l>(&mut self, argument: &'l str) -> Step<'l> {
        if self.policy.etrn == EtrnPolicy::Disable {
            return self.answered(replies::etrn_disabled());
        }
        if self.helo.is_none() {
            return self.answered(replies::hello_first());
        }
        if self.transaction.is_some() {
            return self.answered(replies::etrn_in_transaction());
        }
        if let Some(reply) = self.login_missing() {
            return self.answered(reply);
        }
        if self.etrn_served >= self.policy.etrn_per_session {
            self.etrn_refused += 1;
            return match self.etrn_refused {
                ..=ETRN_OVER_LIMIT_MAX => Step::Reply(replies::etrn_session_limit()),
                _ => Step::Close(replies::etrn_far_over_limit()),
            };
        }
        let Ok(node) = argument.parse::<Node>() else {
            return self.answered(replies::etrn_syntax());
        };
        self.etrn_served += 1;
        if !self.policy.etrn.permits(&node) {
            // What is no domain is a mistake wherever only domains are served.
            if matches!(node, Node::Name(_)) {
                return self.answered(replies::etrn_syntax());
            }
            let form = if matches!(node, Node::Queue(_)) {
                "queues are not released here"
            } else {
                "use ETRN @domain"
            };
            return Step::Reply(Answers::new(self.policy.etrn, &node).form_not_served(form));
        }
        Step::Etrn(argument)
    }

    /// The whole answer to [`Step::Verify`], [`Step::Etrn`], [`Step::Atrn`] or [`Step::Releases`]; also the place where errors are counted.
    pub fn answered(&mut self, reply: Reply) -> Step<'static> {
        if reply.is_permanent() {
            self.errors += 1;
            if self.errors >= self.policy.max_errors.max(1) {
                return Step::Close(replies::too_many_errors());
            }
        }
        Step::Reply(reply)
    }

    /// No command came in time.
    pub fn command_timeout(&self) -> Reply {
        replies::command_timeout(&self.policy.host)
    }

    /// The content did not come in time.
    pub fn data_timeout(&self) -> Reply {
        replies::data_timeout(&self.policy.host)
    }

    /// The server stops while the client is thinking.
    pub fn shutdown(&self) -> Reply {
        replies::shutting_down(&self.policy.host)
    }
}

#[cfg(test)]
#[path = "server/dialogues.rs"]
mod dialogues;

#[cfg(test)]
#[path = "server/wishes_dialogues.rs"]
mod wishes_dialogues;

#[cfg(test)]
#[path = "server/later_dialogues.rs"]
mod later_dialogues;
#[cfg(test)]
#[path = "server/priority_dialogues.rs"]
mod priority_dialogues;

#[cfg(test)]
#[path = "server/limit_dialogues.rs"]
mod limit_dialogues;

#[cfg(test)]
#[path = "server/chunk_dialogues.rs"]
mod chunk_dialogues;

#[cfg(test)]
#[path = "server/guard_dialogues.rs"]
mod guard_dialogues;

#[cfg(test)]
#[path = "server/any_input.rs"]
mod any_input;
