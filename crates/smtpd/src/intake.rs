//! What the listeners need from the rest of the house.
//!
//! [`Intake`] is asked about a connection, a sender, a recipient; [`Incoming`] takes one message. Everything that may
//! wait for a disk or another thread answers through a callback, so that no session ever blocks a runtime thread.
//! A callback that is dropped without being called counts as a temporary failure.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sluice_mail::{Envelope, Recipient, Refusal, Time, Wishes};
use sluice_sasl::Mechanism;
use sluice_sasl::users::Users;
pub use sluice_smtp::atrn::AtrnPolicy;
pub use sluice_smtp::command::{Body, MailParams};
pub use sluice_smtp::content::LongLines;
pub use sluice_smtp::etrn::EtrnPolicy;
pub use sluice_smtp::line::Ends;
use sluice_smtp::replies;
use sluice_smtp::reply::Reply;
use sluice_smtp::server::Safety;
pub use sluice_smtp::server::{Accepted, Expanded, Quotas, Transaction};

use crate::tls::{Certificates, Tls};
use crate::turn::AtrnAnswer;

/// One accepted connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The client's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Name of the service that listens there.
    pub service: Arc<str>,
    /// The service's channel, lower case: what the source channel is unless `admit` says otherwise.
    pub channel: Arc<str>,
    /// TLS begins with the first octet (`TLS_PORT`).
    pub implicit_tls: bool,
    /// What the name service calls the client, when [`Intake::client_name`] has asked it.
    pub name: Option<ClientName>,
}

/// What the name service calls a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientName {
    /// The name; letters, digits, dots, hyphens and underscores.
    pub name: String,
    /// The name does not lead back to the client's address, and is to be marked (`forwardchecktag`).
    pub doubtful: bool,
}

/// An answer that has to be waited for.
pub type Lookup<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A connection after [`Intake::admit`], with what the client has said about itself.
#[derive(Debug, Clone)]
pub struct Session {
    /// The connection.
    pub connection: Connection,
    /// What was decided about it.
    pub admission: Admission,
    /// The name given with EHLO or HELO; empty before. A stranger's text.
    pub helo: String,
    /// EHLO was said, not HELO.
    pub extended: bool,
    /// What protects it; `None` in clear.
    pub tls: Option<Tls>,
    /// Who the client has proved to be.
    pub login: Option<Login>,
    /// Where its messages come from.
    pub origin: Origin,
    /// The queue in which they waited on the channel that brings them in; empty where they did not.
    pub waited_in: String,
}

/// A client that has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name in the password file.
    pub name: String,
    /// How it was proved. Whether the password went over the line at all, see [`Mechanism::is_clear`].
    pub mechanism: Mechanism,
}

/// Where the messages of a session come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// A client of a listener.
    #[default]
    Client,
    /// A channel that brings mail in; there is no connection.
    Channel,
    /// A channel that brings mail in again which has come in before.
    Again,
}

/// What is decided about a connection once, before the greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Channel the mail comes in by, after `switchchannel`.
    pub source_channel: String,
    /// Our name in the greeting, the EHLO reply and `Received:`.
    pub banner_host: String,
    /// How ETRN is served.
    pub etrn: EtrnPolicy,
    /// Whether the session may be turned round (RFC 2645).
    pub atrn: AtrnPolicy,
    /// TLS and logins: what is offered, what is demanded.
    pub safety: Safety,
    /// The client is none of the strangers who may reach us: its address or its login has moved it to this channel.
    pub is_known: bool,
    /// What one session may use up.
    pub limits: Limits,
    /// How messages are received.
    pub reception: Reception,
}

/// How messages are received: what the channel's keywords say about it. The default is a channel without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reception {
    /// `chunkingserver`: CHUNKING is offered.
    pub chunking: bool,
    /// `acceptalladdresses`: the size of a message does not make RCPT fail. What else would, the intake answers with
    /// [`Accepted::refused`].
    pub accept_all: bool,
    /// `futurerelease`: FUTURERELEASE is offered, up to so many seconds ahead.
    pub later_release: Option<u32>,
    /// `mtprioritiesallowed`, `mtprioritiesrequired`: MT-PRIORITY is offered, and whether MAIL must have it.
    pub priorities: Option<bool>,
    /// What EHLO says behind XLOOP, where some channel has `loopcheck`.
    pub loop_mark: Option<&'static str>,
    /// `linelimit` and `LINE_LIMIT`: most lines of a message.
    pub max_lines: Option<u32>,
    /// `rejectsmtplonglines`, `truncatesmtplonglines`, `wrapsmtplonglines`.
    pub long_lines: LongLines,
    /// `eightstrict`: 8-bit text that MAIL did not announce is refused.
    pub eight_bit_strict: bool,
    /// `smtp`, `smtp_cr`, `smtp_lf`, `smtp_crlf`: what ends a command line.
    pub line_ends: Ends,
    /// `identnonesymbolic`: `Received:` has the client's name without its address, where it has one.
    pub name_only: bool,
    /// `submit`: messages are new; a missing `Date:` and `Message-ID:` are added.
    pub submit: bool,
    /// `slave_debug`: every command and reply is logged, at level debug under the target `slave_debug`.
    pub debug: bool,
    /// `receivedfrom`: `Received:` names the reverse-path where copies go out with another one.
    pub received_from: bool,
    /// `receivedfor`: `Received:` names the recipient when there is only one.
    pub received_for: bool,
}

impl Default for Reception {
    fn default() -> Reception {
        Reception {
            chunking: true,
            accept_all: false,
            later_release: None,
            priorities: None,
            loop_mark: None,
            max_lines: None,
            long_lines: LongLines::default(),
            eight_bit_strict: false,
            line_ends: Ends::default(),
            name_only: false,
            submit: false,
            debug: false,
            received_from: true,
            received_for: true,
        }
    }
}

/// What one session may use up. [`Limits::default`] has the values that suit a hub on the open net.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest message in octets (offered with SIZE); 0 is no limit.
    pub max_message_size: u64,
    /// Recipients of one message; RFC 5321 section 4.5.3.1.8 demands at least 100.
    pub max_recipients: u32,
    /// Errors before 421, refused recipients among them unless `quotas` limits those. An accepted message takes the count back to nought.
    pub max_errors: u32,
    /// What the operator limits besides; nothing unless they say so.
    pub quotas: Quotas,
    /// ETRN commands that are served (`ALLOW_ETRNS_PER_SESSION`); the next ones get 458.
    pub etrn_per_session: u32,
    /// More `Received:` fields than this in a message: it is accepted on hold, for it runs in a circle.
    pub max_received_lines: u32,
    /// Time for one command line to arrive whole (RFC 5321 section 4.5.3.2.7: five minutes), and for a reply to leave.
    pub command_timeout: Duration,
    /// A message is handed to [`Incoming::chunk`] in pieces of about this size.
    pub chunk_octets: usize,
    /// Within this time [`crate::DATA_WINDOW_OCTETS`] of a message, or its end, must arrive.
    pub data_timeout: Duration,
    /// Time for a whole message to arrive.
    pub data_total_timeout: Duration,
    /// `expandlimit`: messages for more recipients are put off.
    pub expand_later: Option<ExpandLater>,
    /// Time for a TLS handshake.
    pub handshake_timeout: Duration,
    /// How long the answer to a wrong password waits; twice as long for the second in a session, and so on.
    pub auth_failure_delay: Duration,
    /// Time for the name service to answer about a sender.
    pub lookup_timeout: Duration,
    /// Time that the intake has for one answer. RFC 5321 section 4.5.3.2.6 lets a client wait ten minutes.
    pub intake_timeout: Duration,
}

/// Where a message goes whole that has too many recipients to look at them at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpandLater {
    /// With more recipients than this.
    pub more_than: u32,
    /// The channel that brings it in again.
    pub channel: String,
    /// The domain it waits under there.
    pub domain: String,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_message_size: 50 << 20,
            max_recipients: 1000,
            max_errors: 20,
            quotas: Quotas::default(),
            etrn_per_session: 8,
            max_received_lines: 50,
            command_timeout: Duration::from_secs(300),
            chunk_octets: crate::CHUNK_OCTETS,
            data_timeout: Duration::from_secs(300),
            data_total_timeout: Duration::from_secs(6 * 3600),
            expand_later: None,
            handshake_timeout: Duration::from_secs(60),
            auth_failure_delay: Duration::from_secs(1),
            lookup_timeout: crate::LOOKUP_TIME,
            intake_timeout: Duration::from_secs(300),
        }
    }
}

/// What the answers to MAIL and RCPT order beside their replies. One of them belongs to each transaction: MAIL begins it,
/// each RCPT is given it as the commands before have left it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// Wait for so long before this reply. Asked for anew with each command.
    pub delay_once: Duration,
    /// Wait for so long before this reply and that to every further command of the transaction.
    pub delay_each: Duration,
    /// Fields to put on top of the message: whole lines without their end, in ASCII.
    pub fields: Vec<String>,
    /// The message is accepted and all copies of it are thrown away.
    pub discard: bool,
    /// The copies wait for an operator.
    pub hold: bool,
    /// The reverse-path in the place of the client's.
    pub sender: Option<String>,
}

impl Orders {
    /// How long the reply to a command has to wait.
    pub(crate) fn delay(&self) -> Duration {
        self.delay_once.saturating_add(self.delay_each).min(crate::DELAY_MAX)
    }

    /// Appends the fields.
    pub(crate) fn write_fields(&self, out: &mut Vec<u8>) {
        for field in &self.fields {
            out.extend_from_slice(field.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Called when a piece or a message is where it should be, or why it is not.
pub type Done = Box<dyn FnOnce(Result<(), Refusal>) + Send>;

/// The front door of the house, as the sessions see it.
///
/// `admit`, `sender`, `recipient` and `verify` are called on the runtime's threads: they compute, and wait for nothing.
pub trait Intake: Send + Sync + 'static {
    /// What time it is: when messages come, and what the dates in MAIL are compared with.
    fn now(&self) -> Time {
        Time::from(SystemTime::now())
    }

    /// Looks up the name of a client, if anybody wants to know it. Asked before `admit`, which then finds it in
    /// [`Connection::name`]; an answer that takes longer than [`crate::LOOKUP_TIME`] is not waited for.
    fn client_name(&self, connection: &Connection) -> Option<Lookup<Option<ClientName>>> {
        let _ = connection;
        None
    }

    /// Asks the name service about the domain of a sender that is otherwise welcome, if anybody wants to know.
    fn sender_exists(&self, session: &Session, path: &str) -> Option<Lookup<Result<(), Refusal>>> {
        let _ = (session, path);
        None
    }

    /// Decides about a connection: source channel, name in the greeting, limits. Called once, before the greeting.
    fn admit(&self, connection: &Connection) -> Result<Admission, Refusal>;

    /// Other terms for the rest of a session whose TLS was turned on, or whose client has logged in; `None` leaves what
    /// `admit` said. Both may happen, in this order, and what came of the first is not remembered: the answer is to be
    /// made from the connection anew.
    fn readmit(&self, session: &Session) -> Option<Admission> {
        let _ = session;
        None
    }

    /// What the service of a connection shows of itself under TLS. Asked for each handshake, so that it may change while
    /// the server runs.
    fn certificates(&self, connection: &Connection) -> Option<Certificates> {
        let _ = connection;
        None
    }

    /// Who may log in. Asked for each step of AUTH.
    fn users(&self) -> Option<Arc<Users>> {
        None
    }

    /// Whether mail of this sender is taken. `path` is the address without angle brackets, empty for `<>`.
    /// What is ordered besides counts for a refusal too, as far as that makes sense: delays do.
    fn sender(
        &self,
        session: &Session,
        path: &str,
        params: &MailParams,
        orders: &mut Orders,
    ) -> Result<(), Refusal>;

    /// Where this recipient goes, or why it is refused. `path` is the address without angle brackets, as written;
    /// `sender` is the reverse-path, empty for `<>`. An alias stands for several recipients. For none at all, the
    /// recipient is accepted and its copy discarded.
    fn recipient(
        &self,
        session: &Session,
        sender: &str,
        path: &str,
        orders: &mut Orders,
    ) -> Result<Vec<Accepted>, Refusal>;

    /// The answer to VRFY. Unless overridden it says neither yes nor no.
    fn verify(&self, session: &Session, text: &str) -> Reply {
        let _ = (session, text);
        replies::cannot_verify()
    }

    /// A place for the message of a transaction, whose content is about to arrive. It will be committed with an envelope for
    /// each kind of copy in it (own reverse-path, on hold), or with none if it is to be discarded.
    fn begin(&self, session: &Session, transaction: &Transaction) -> Box<dyn Incoming>;

    /// Answers ETRN. `argument` is a well-formed node (`sluice_smtp::etrn::Node` reads it) in a form that the policy
    /// permits; `sluice_smtp::etrn::Answers` has the replies.
    fn etrn(&self, session: &Session, argument: &str, done: Box<dyn FnOnce(EtrnAnswer) + Send>);

    /// Answers ATRN of a client that has logged in. `domains` are well-formed, in lower case, each once; none are all that the
    /// login may take. When the client has gone before it hears of its turn, the course is dropped.
    fn atrn(&self, session: &Session, domains: &[String], done: Box<dyn FnOnce(AtrnAnswer) + Send>) {
        let _ = (session, domains);
        done(AtrnAnswer::Refused(replies::not_implemented("ATRN")));
    }

    /// Answers HELP RELEASES of a client that has logged in: what was released for the sites that its login owns.
    fn releases(&self, session: &Session, done: Box<dyn FnOnce(Reply) + Send>) {
        let _ = session;
        done(replies::releases_of_nobody());
    }
}

/// One message on its way in. Dropped without `commit`, it leaves nothing behind.
pub trait Incoming: Send {
    /// The queue id, for `Received:` and the reply after DATA.
    fn id(&self) -> String;

    /// Takes the next piece of the content, in wire form. The next call comes after `done`.
    fn chunk(&mut self, bytes: Vec<u8>, done: Done);

    /// Takes the rest of the content. `done(Ok)` means that the message is safe with all its envelopes, and the notices
    /// about refused recipients are safe too: the client then gets 250.
    fn commit(self: Box<Self>, parcel: Parcel, done: Done);
}

/// The end of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// One, and more where copies go out with another sender or on hold.
    pub envelopes: Vec<Envelope>,
    /// Recipients that the client was told would get the message, and who do not.
    pub refused: Vec<Refused>,
    /// Recipients that stand for others. Their sender, which is the client's reverse-path, is to be told if it asked for
    /// that.
    pub expanded: Vec<Expanded>,
    /// What the sender wishes about notices.
    pub wishes: Wishes,
    /// When the message came.
    pub arrived: Time,
    /// The rest of the content, in wire form.
    pub tail: Vec<u8>,
}

/// A recipient that does not get the message after all. Its sender is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The recipient.
    pub recipient: Recipient,
    /// The reverse-path of its copy.
    pub sender: String,
    /// Why.
    pub refusal: Refusal,
}

/// What the client gets for its ETRN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtrnAnswer {
    /// The whole reply.
    pub reply: Reply,
}
