//! A server on loopback with an intake in memory, and a client that talks to it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice_mail::{Envelope, Recipient, Refusal, Status};
use sluice_smtp::etrn::{Answers, Node, Waiting};
use sluice_smtp::replies;
use sluice_smtp::reply::{Reply, ReplyReader};
use sluice_smtpd::{
    Admission, AtrnAnswer, AtrnPolicy, Certificates, Connection, Done, EtrnAnswer, EtrnPolicy, Incoming,
    Intake, Limits, Lookup, MailParams, Orders, Parcel, Reception, Refused, Safety, Server, Service, Session,
    Settings, Transaction, Users,
};
use tokio::sync::oneshot;

/// Longer than anything here takes, unless something hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How the intake answers when it is given something to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    AtOnce,
    After(Duration),
    Full,
    /// Drops the callback.
    Forgets,
    /// Keeps the callback and never calls it.
    Hangs,
}

/// Whom an address stands for.
pub type Addressee = sluice_smtpd::Accepted;

/// A recipient of that address, as the queue would have it.
pub fn addressee(address: &str) -> Recipient {
    Recipient {
        address: address.into(),
        original: address.into(),
        channel: "tcp_dialup".into(),
        domain: "site.example".into(),
        ..Recipient::default()
    }
}

/// An accepted message.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub id: String,
    pub envelope: Envelope,
    pub bytes: Vec<u8>,
    /// Sizes of the chunks before the tail.
    pub chunks: Vec<usize>,
}

pub struct Fake {
    pub limits: Limits,
    pub reception: Reception,
    pub etrn: EtrnPolicy,
    pub atrn: AtrnPolicy,
    pub safety: Safety,
    pub certificates: Mutex<Option<Certificates>>,
    pub users: Option<Arc<Users>>,
    /// What `readmit` was asked about: TLS version, login, mechanism.
    pub readmitted: Mutex<Vec<String>>,
    pub on_commit: Manner,
    pub on_chunk: Manner,
    pub on_etrn: Manner,
    /// Answers to ATRN, in order, and what was asked.
    pub on_atrn: Mutex<Vec<AtrnAnswer>>,
    pub asked_atrn: Mutex<Vec<String>>,
    pub accepted: Mutex<Vec<Accepted>>,
    /// Recipients whose senders were to be told.
    pub refused: Mutex<Vec<Refused>>,
    /// Whom `list@` anywhere stands for.
    pub list: Vec<Addressee>,
    pub drafts: AtomicUsize,
    pub outstanding_max: AtomicUsize,
    outstanding: AtomicUsize,
    kept: Mutex<Vec<Box<dyn std::any::Any + Send>>>,
    ids: AtomicU64,
}

impl Default for Fake {
    fn default() -> Fake {
        Fake {
            limits: Limits::default(),
            reception: Reception::default(),
            etrn: EtrnPolicy::Silent,
            atrn: AtrnPolicy::No,
            safety: Safety::default(),
            certificates: Mutex::default(),
            users: None,
            readmitted: Mutex::default(),
            on_commit: Manner::AtOnce,
            on_chunk: Manner::AtOnce,
            on_etrn: Manner::AtOnce,
            on_atrn: Mutex::default(),
            asked_atrn: Mutex::default(),
            accepted: Mutex::default(),
            refused: Mutex::default(),
            list: Vec::new(),
            drafts: AtomicUsize::new(0),
            outstanding_max: AtomicUsize::new(0),
            outstanding: AtomicUsize::new(0),
            kept: Mutex::default(),
            ids: AtomicU64::new(1),
        }
    }
}

impl Fake {
    /// Runs `call` in the given manner.
    fn answer<T: Send + 'static>(&self, manner: Manner, callback: T, call: impl FnOnce(T) + Send + 'static) {
        match manner {
            Manner::AtOnce | Manner::Full => call(callback),
            Manner::After(delay) => drop(std::thread::spawn(move || {
                std::thread::sleep(delay);
                call(callback);
            })),
            Manner::Forgets => drop(callback),
            Manner::Hangs => self.kept.lock().unwrap().push(Box::new(callback)),
        }
    }
}

/// A site with Fred, whose password is pencil, and no TLS.
pub fn with_fred(change: impl FnOnce(&mut Fake)) -> Fake {
    use sluice_sasl::users::{User, changed};
    let fred = User::new("pencil", *b"0123456789abcdef", 4096, true).unwrap();
    let safety = Safety {
        tls: sluice_smtpd::Demand::May,
        auth: sluice_smtpd::Demand::May,
        mechanisms: sluice_smtpd::Mechanism::ALL.to_vec(),
        max_auth_failures: 3,
    };
    let users = Some(Arc::new(Users::read(&changed("", "fred", Some(&fred)).unwrap()).0));
    let mut fake = Fake { safety, users, ..Fake::default() };
    fake.limits.auth_failure_delay = Duration::from_millis(50);
    change(&mut fake);
    fake
}

/// The intake: the fake, shared with its drafts.
pub struct Door(pub Arc<Fake>);

struct Draft {
    fake: Arc<Fake>,
    id: String,
    bytes: Vec<u8>,
    chunks: Vec<usize>,
}

impl Intake for Door {
    fn admit(&self, connection: &Connection) -> Result<Admission, Refusal> {
        if &*connection.service == "closed" {
            return Err(Refusal::new(554, Status::new(5, 7, 1), "no service for you"));
        }
        Ok(Admission {
            source_channel: connection.channel.to_string(),
            banner_host: "hub.example".into(),
            etrn: self.0.etrn,
            atrn: self.0.atrn,
            safety: self.0.safety.clone(),
            is_known: false,
            limits: self.0.limits.clone(),
            reception: self.0.reception,
        })
    }

    fn readmit(&self, session: &Session) -> Option<Admission> {
        assert!(!session.extended || session.login.is_some(), "TLS forgets EHLO");
        let tls = session.tls.as_ref().map_or("clear", |tls| tls.version);
        let login = session.login.as_ref().map_or("nobody", |login| login.name.as_str());
        self.0.readmitted.lock().unwrap().push(format!("{tls} {login}"));
        let source_channel = match session.login {
            Some(_) => "tcp_auth".to_owned(),
            None => return None,
        };
        Some(Admission { source_channel, is_known: true, ..session.admission.clone() })
    }

    fn certificates(&self, _: &Connection) -> Option<Certificates> {
        self.0.certificates.lock().unwrap().clone()
    }

    fn users(&self) -> Option<Arc<Users>> {
        self.0.users.clone()
    }

    fn sender(&self, _: &Session, path: &str, _: &MailParams, orders: &mut Orders) -> Result<(), Refusal> {
        assert_eq!(*orders, Orders::default(), "a transaction begins without orders");
        match path {
            "slow@x" => orders.delay_each = Duration::from_millis(300),
            "refused-slowly@x" => orders.delay_once = Duration::from_millis(300),
            "marked@x" => orders.fields.push("X-Mark: from".to_owned()),
            _ => {}
        }
        match path.contains("refused") {
            true => Err(Refusal::new(550, Status::new(5, 7, 1), "not from you")),
            false => Ok(()),
        }
    }

    fn sender_exists(&self, _: &Session, path: &str) -> Option<Lookup<Result<(), Refusal>>> {
        // This domain has a name server that never answers.
        path.contains("silent").then(|| Box::pin(std::future::pending()) as Lookup<_>)
    }

    fn recipient(
        &self,
        session: &Session,
        sender: &str,
        path: &str,
        orders: &mut Orders,
    ) -> Result<Vec<Addressee>, Refusal> {
        match path {
            "slow@x" => orders.delay_once = Duration::from_millis(300),
            "slow-unknown@x" => orders.delay_each = Duration::from_millis(300),
            "for-ever@x" => orders.delay_once = Duration::from_secs(1_000_000),
            "marked@x" => orders.fields.push("X-Mark: to".to_owned()),
            "discarded@x" => orders.discard = true,
            _ => {}
        }
        assert!(!sender.contains("refused"), "a refused sender has no recipients");
        assert!(!session.helo.is_empty(), "the session knows who is speaking");
        if path.contains("panic") {
            panic!("the intake is wrong");
        }
        match path.contains("unknown") {
            true => Err(Refusal::new(550, Status::NO_SUCH_HOST, format!("unknown host or domain: {path}"))),
            false if path.starts_with("list@") => Ok(self.0.list.clone()),
            // Recipients of this kind take so many octets.
            false if path.starts_with("size-") => {
                let size_max = path[5..].split('@').next().and_then(|octets| octets.parse().ok());
                Ok(vec![Addressee { size_max, ..addressee(path).into() }])
            }
            false => Ok(vec![addressee(path).into()]),
        }
    }

    fn begin(&self, _: &Session, _: &Transaction) -> Box<dyn Incoming> {
        let id = format!("{:08X}", self.0.ids.fetch_add(1, Ordering::Relaxed));
        self.0.drafts.fetch_add(1, Ordering::SeqCst);
        Box::new(Draft { fake: Arc::clone(&self.0), id, bytes: Vec::new(), chunks: Vec::new() })
    }

    fn etrn(&self, _: &Session, argument: &str, done: Box<dyn FnOnce(EtrnAnswer) + Send>) {
        let node: Node = argument.parse().unwrap();
        let reply = Answers::new(self.0.etrn, &node).started(&["tcp_dialup"], Waiting::Messages(3));
        self.0.answer(self.0.on_etrn, done, move |done| done(EtrnAnswer { reply }));
    }

    fn atrn(&self, session: &Session, domains: &[String], done: Box<dyn FnOnce(AtrnAnswer) + Send>) {
        let login = session.login.as_ref().map_or("nobody", |login| login.name.as_str());
        self.0.asked_atrn.lock().unwrap().push(format!("{login}: {}", domains.join(" ")));
        // Without an answer left, nobody answers.
        if let Some(answer) = self.0.on_atrn.lock().unwrap().pop() {
            done(answer);
        }
    }
}

impl Incoming for Draft {
    fn id(&self) -> String {
        self.id.clone()
    }

    fn chunk(&mut self, bytes: Vec<u8>, done: Done) {
        self.chunks.push(bytes.len());
        self.bytes.extend(bytes);
        let outstanding = self.fake.outstanding.fetch_add(1, Ordering::SeqCst) + 1;
        self.fake.outstanding_max.fetch_max(outstanding, Ordering::SeqCst);
        let (manner, fake) = (self.fake.on_chunk, Arc::clone(&self.fake));
        self.fake.answer(manner, done, move |done| {
            fake.outstanding.fetch_sub(1, Ordering::SeqCst);
            done(if manner == Manner::Full { Err(replies::store_full().into_refusal()) } else { Ok(()) });
        });
    }

    fn commit(mut self: Box<Self>, parcel: Parcel, done: Done) {
        let Parcel { envelopes, refused, tail, .. } = parcel;
        self.fake.refused.lock().unwrap().extend(refused);
        self.bytes.extend(tail);
        let (id, bytes, chunks) =
            (self.id.clone(), std::mem::take(&mut self.bytes), std::mem::take(&mut self.chunks));
        let (manner, fake) = (self.fake.on_commit, Arc::clone(&self.fake));
        self.fake.answer(manner, done, move |done| {
            if manner == Manner::Full {
                return done(Err(replies::store_full().into_refusal()));
            }
            for envelope in envelopes {
                let (id, bytes, chunks) = (id.clone(), bytes.clone(), chunks.clone());
                fake.accepted.lock().unwrap().push(Accepted { id, envelope, bytes, chunks });
            }
            done(Ok(()));
        });
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.fake.drafts.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A running server. Stops when dropped.
pub struct Site {
    pub fake: Arc<Fake>,
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

pub fn service(name: &str) -> Service {
    Service {
        name: name.into(),
        listen: vec![(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0)],
        listen_tls: Vec::new(),
        channel: "tcp_local".into(),
        max_connections: 0,
        max_connections_per_client: 0,
    }
}

impl Site {
    pub fn new(fake: Fake) -> Site {
        Site::with(fake, service("SMTP"), Settings { grace: Duration::from_secs(10), ..Settings::default() })
    }

    pub fn with(fake: Fake, service: Service, settings: Settings) -> Site {
        let fake = Arc::new(fake);
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let door = Arc::new(Door(Arc::clone(&fake)));
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async move {
                let server = Server::bind(vec![service], settings).await.unwrap();
                tell.send(server.addresses()[0].1).unwrap();
                let shutdown = async move {
                    let _ = stopped.await;
                };
                server.run(door, shutdown).await;
            });
        });
        let address = told.recv().unwrap();
        Site { fake, address, stop: Some(stop), thread: Some(thread) }
    }

    pub fn client(&self) -> Client {
        let mut client = self.silent_client();
        assert_eq!(client.reply(), "220 hub.example ESMTP Sluice ready");
        client
    }

    /// A client that has not read the greeting.
    pub fn silent_client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client::new(stream)
    }

    pub fn accepted(&self) -> Vec<Accepted> {
        self.fake.accepted.lock().unwrap().clone()
    }

    /// Asks the server to stop, without waiting.
    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until the server has stopped.
    pub fn stopped(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

pub struct Client {
    pub stream: TcpStream,
    reader: ReplyReader,
    buffer: Vec<u8>,
}

impl Client {
    pub fn new(stream: TcpStream) -> Client {
        Client { stream, reader: ReplyReader::new(), buffer: Vec::new() }
    }

    pub fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    fn next_reply(&mut self) -> Option<Reply> {
        loop {
            let mut rest = self.buffer.as_slice();
            let reply = self.reader.read(&mut rest).unwrap();
            self.buffer = rest.to_vec();
            if reply.is_some() {
                return reply;
            }
            let mut octets = [0; 4096];
            match self.stream.read(&mut octets) {
                Ok(0) => return None,
                Ok(read) => self.buffer.extend_from_slice(&octets[..read]),
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    /// The next reply on one line; `(closed)` if there is none.
    pub fn reply(&mut self) -> String {
        self.next_reply().map_or("(closed)".into(), |reply| reply.to_string())
    }

    /// Sends a line, gives its reply.
    pub fn say(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n"));
        self.reply()
    }

    pub fn hello(&mut self) {
        assert!(
            self.say("EHLO client.example").starts_with("250 hub.example Hello client.example PIPELINING")
        );
    }

    /// AUTH CRAM-MD5 as fred, whose password is pencil.
    pub fn log_in(&mut self) {
        let challenge = self.say("AUTH CRAM-MD5");
        let challenge = sluice_sasl::decode(challenge.trim_start_matches("334 ").as_bytes()).unwrap();
        let credentials = sluice_sasl::client::Credentials::new("fred", "pencil").unwrap();
        let mechanism = sluice_smtpd::Mechanism::CramMd5;
        let mut attempt = sluice_sasl::client::Attempt::new(mechanism, credentials, &[0; 18]);
        let answer = sluice_sasl::encode(&attempt.answer(&challenge).unwrap());
        assert_eq!(self.say(&answer), "235 2.7.0 Authentication successful");
    }

    /// EHLO, MAIL, RCPT and DATA, up to 354.
    pub fn begin_message(&mut self) {
        self.hello();
        self.send("MAIL FROM:<a@client.example>\r\nRCPT TO:<b@site.example>\r\nDATA\r\n");
        assert_eq!(self.reply(), "250 2.1.0 Sender OK");
        assert_eq!(self.reply(), "250 2.1.5 Recipient OK");
        assert!(self.reply().starts_with("354 "));
    }

    /// Sends `text`, half-closes, gives all replies until the server closes.
    pub fn all_replies_to(&mut self, text: &[u8]) -> Vec<String> {
        // The server may close first; what it said before can still be read.
        let _ = self.stream.write_all(text);
        let _ = self.stream.shutdown(Shutdown::Write);
        std::iter::from_fn(|| self.next_reply()).map(|reply| reply.to_string()).collect()
    }
}

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
