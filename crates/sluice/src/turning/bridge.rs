//! The bridge of a turned session: plugins connect to a socket of this machine, one after the other, and each finds the site
//! behind it.
//!
//! To the site it is one SMTP session from its greeting to QUIT, whoever sends in it: a plugin that connects after another
//! is greeted with what the site said first, begins with EHLO as on any connection, and its QUIT is answered here. The site
//! hears QUIT once, when the release is over.
//!
//! # Promises
//! A plugin is let in only where the one before has left nothing half done. One that breaks off within a transaction takes
//! the session with it: what it had begun could be taken for a part of the next message.
//! # Failure
//! A site that hangs up, or says what cannot be followed, ends the session; so does a plugin that does not come in time, but
//! then the site is said goodbye to.
//! # Not here
//! Which mail, and whose turn it is (the dispatcher); what SMTP is (`sluice_smtp::onlooker`).

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use sluice_admin::Reach;
use sluice_smtp::onlooker::Onlooker;
use sluice_smtp::reply::ReplyReader;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

/// How long the site has to greet (RFC 5321 section 4.5.3.2.1).
const GREETING_TIME: Duration = Duration::from_secs(300);
/// How long a plugin has to come. It may have to be started first.
const CONNECT_TIME: Duration = Duration::from_secs(120);
/// How long the site has to hang up when it has heard QUIT.
const END_TIME: Duration = Duration::from_secs(30);
/// Most that is read in one piece from either side.
const PIECE: usize = 64 * 1024;
const QUIT: &[u8] = b"QUIT\r\n";
/// The answer to a plugin's QUIT. Nobody but the plugin hears it.
const GOODBYE: &[u8] = b"221 2.0.0 closing\r\n";

/// The socket that plugins connect to. Nobody but this account can.
pub(super) struct Bridge {
    listener: UnixListener,
    file: PathBuf,
    reach: Reach,
}

impl Bridge {
    pub(super) fn new(folder: &Path, number: u64) -> io::Result<Bridge> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let file = folder.join(format!("{number}.sock"));
        // One that a hub before this one has left behind.
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let reach = Reach::new(&file)?;
        let listener = UnixListener::bind(reach.path())?;
        Ok(Bridge { listener, file, reach })
    }

    pub(super) fn path(&self) -> String {
        self.reach.path().display().to_string()
    }

    /// Joins the site and the plugins that come for it. `over` is told of, or dropped, when the release is over.
    ///
    /// # Errors
    /// How the session broke off. Where the site heard QUIT there is none.
    pub(super) async fn join(
        &self,
        site: impl AsyncRead + AsyncWrite,
        over: &mut oneshot::Receiver<()>,
    ) -> io::Result<()> {
        let (mut from_site, to_site) = split(site);
        let greeted = timeout(GREETING_TIME, greeting(&mut from_site)).await;
        let (greeting, is_welcome) = greeted.map_err(|_| late("the site did not greet"))??;
        let mut session = Session {
            from_site,
            to_site,
            plugin: None,
            onlooker: Onlooker::new(),
            out: Pending::default(),
            greeting,
            deadline: Instant::now() + CONNECT_TIME,
        };
        let ended = session.run(&self.listener, over, is_welcome).await;
        let _ = session.to_site.shutdown().await;
        ended
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What the site says first, as it is, and whether that lets us in.
async fn greeting(site: &mut (impl AsyncRead + Unpin)) -> io::Result<(Vec<u8>, bool)> {
    let mut reader = ReplyReader::new();
    let mut greeting = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let count = site.read(&mut buffer).await?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the site hung up without a greeting"));
        }
        // The reader has the limit for how long that may be.
        greeting.extend_from_slice(&buffer[..count]);
        let mut rest = &buffer[..count];
        match reader.read(&mut rest) {
            Ok(None) => {}
            Ok(Some(reply)) if rest.is_empty() => return Ok((greeting, reply.is_success())),
            Ok(Some(_)) => return Err(broken("the site says more than a greeting")),
            Err(error) => return Err(broken(&format!("the site does not greet: {error}"))),
        }
    }
}

/// Octets that are to be written.
#[derive(Default)]
struct Pending {
    octets: Vec<u8>,
    written: usize,
    /// Some were written that may not have left a buffer below.
    is_unflushed: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Nothing is left to do for what was given here.
    fn is_done(&self) -> bool {
        self.is_empty() && !self.is_unflushed
    }

    /// Writes some, and flushes behind the last. Whatever is cut off here is done by the next call. Never ends while there
    /// is nothing to do.
    async fn send(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.is_done() {
            return std::future::pending().await;
        }
        if !self.is_empty() {
            let count = to.write(&self.octets[self.written..]).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += count;
            self.is_unflushed = true;
            if self.written < self.octets.len() {
                return Ok(());
            }
            self.octets.clear();
            self.written = 0;
        }
        to.flush().await?;
        self.is_unflushed = false;
        Ok(())
    }
}

/// A plugin's connection.
struct Plugin {
    stream: UnixStream,
    out: Pending,
    /// It has been answered to QUIT.
    is_leaving: bool,
}

/// A session under way.
struct Session<R, W> {
    from_site: R,
    to_site: W,
    plugin: Option<Plugin>,
    onlooker: Onlooker,
    /// For the site.
    out: Pending,
    greeting: Vec<u8>,
    /// When a plugin must have come.
    deadline: Instant,
}

/// What happened.
enum Happened {
    Site(io::Result<usize>),
    Plugin(io::Result<usize>),
    ToSite(io::Result<()>),
    ToPlugin(io::Result<()>),
    Came(io::Result<UnixStream>),
    Over,
    Late,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Session<R, W> {
    async fn run(
        &mut self,
        listener: &UnixListener,
        over: &mut oneshot::Receiver<()>,
        is_welcome: bool,
    ) -> io::Result<()> {
        let mut from_site = vec![0; PIECE];
        let mut from_plugin = vec![0; PIECE];
        let (mut is_over, mut has_served) = (false, false);
        loop {
            // What the plugin has not been told yet is under way too.
            let plugin_out = self.plugin.as_ref().is_none_or(|plugin| plugin.out.is_done());
            let is_between = self.onlooker.is_between() && self.out.is_done() && plugin_out;
            if self.plugin.is_none() && !self.onlooker.is_between() {
                return Err(broken("a plugin broke off within a transaction"));
            }
            // A site that does not let anybody in says so to one plugin, whose mail is put off; the next would hear the same.
            if is_between && (is_over || (!is_welcome && has_served && self.plugin.is_none())) {
                return self.say_goodbye(&mut from_site).await;
            }
            if is_between && self.onlooker.has_quit() {
                self.answer_quit();
            }
            let reads = self.out.is_empty();
            let happened = tokio::select! {
                read = self.from_site.read(&mut from_site), if plugin_out => Happened::Site(read),
                sent = self.out.send(&mut self.to_site) => Happened::ToSite(sent),
                happened = attend(&mut self.plugin, &mut from_plugin, reads) => happened,
                came = listener.accept(), if is_between => Happened::Came(came.map(|(stream, _)| stream)),
                _ = &mut *over, if !is_over => Happened::Over,
                () = sleep_until(self.deadline), if self.plugin.is_none() => Happened::Late,
            };
            match happened {
                Happened::Site(Ok(0)) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the site hung up"));
                }
                Happened::Site(Err(error)) | Happened::ToSite(Err(error)) => return Err(error),
                Happened::Site(Ok(count)) => {
                    self.onlooker.server(&from_site[..count]);
                    match &mut self.plugin {
                        Some(plugin) => plugin.out.octets.extend_from_slice(&from_site[..count]),
                        None => return Err(broken("the site speaks without being asked")),
                    }
                }
                Happened::Plugin(Ok(0) | Err(_)) | Happened::ToPlugin(Err(_)) => self.dismiss(),
                Happened::Plugin(Ok(count)) => {
                    self.onlooker.client(&from_plugin[..count], &mut self.out.octets);
                }
                Happened::ToPlugin(Ok(())) => {
                    if self.plugin.as_ref().is_some_and(|plugin| plugin.is_leaving && plugin.out.is_done()) {
                        self.dismiss();
                    }
                }
                Happened::ToSite(Ok(())) => {}
                Happened::Came(stream) => {
                    self.onlooker.next_client();
                    has_served = true;
                    let out = Pending { octets: self.greeting.clone(), ..Pending::default() };
                    self.plugin = Some(Plugin { stream: stream?, out, is_leaving: false });
                }
                Happened::Over => is_over = true,
                Happened::Late if is_between => {
                    self.say_goodbye(&mut from_site).await?;
                    return Err(late("no channel came for the connection"));
                }
                Happened::Late => return Err(late("the site does not take what is said to it")),
            }
        }
    }

    /// The plugin is done with the connection; it shall not wait for the site to hang up.
    fn answer_quit(&mut self) {
        if let Some(plugin) = self.plugin.as_mut().filter(|plugin| !plugin.is_leaving) {
            plugin.is_leaving = true;
            plugin.out.octets.extend_from_slice(GOODBYE);
        }
    }

    fn dismiss(&mut self) {
        self.plugin = None;
        self.deadline = Instant::now() + CONNECT_TIME;
    }

    /// There is no more. What the site answers is not worth an error: all that matters was settled before.
    async fn say_goodbye(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.plugin = None;
        let goodbye = async {
            self.to_site.write_all(QUIT).await?;
            self.to_site.flush().await?;
            while self.from_site.read(buffer).await? > 0 {}
            Ok::<(), io::Error>(())
        };
        let _ = timeout(END_TIME, goodbye).await;
        Ok(())
    }
}

/// Reads from the plugin, if that is wanted, and writes to it. Never ends where there is none.
async fn attend(plugin: &mut Option<Plugin>, buffer: &mut [u8], reads: bool) -> Happened {
    let Some(plugin) = plugin else { return std::future::pending().await };
    let (mut from, mut to) = plugin.stream.split();
    tokio::select! {
        read = from.read(buffer), if reads => Happened::Plugin(read),
        sent = plugin.out.send(&mut to) => Happened::ToPlugin(sent),
    }
}
