//! The channel's option file.

use std::path::PathBuf;
use std::time::Duration;

use sluice_sdk::{OptionWord, Options};

/// What the option file may say. Order: where, what, who we are, what limits, what waits.
#[derive(Debug, Options)]
pub(crate) struct Written {
    /// Where messages are posted to: `https://host[:port]/path` or the same with `http`. A secret does not belong into it but into
    /// HEADERS_FILE; the part behind `?` is not shown in outcomes and logs.
    pub(crate) url: String,
    /// What is posted: `message`, the message as it is (message/rfc822), with sender and recipients in header fields; `json`, one JSON
    /// object with the envelope and the message in base64; `multipart`, a form with the parts `envelope` (JSON) and `message`;
    /// `template`, what TEMPLATE_FILE makes of it.
    #[option(default = "message")]
    pub(crate) format: Word,
    /// File with a JSON text for FORMAT=template, in which `$(subject)` and its kind stand inside of strings; from the configuration
    /// folder on.
    pub(crate) template_file: Option<PathBuf>,
    /// Characters of a value in a template, at most. What is longer ends in `...`.
    #[option(default = 2000, range = 1..=100_000)]
    pub(crate) template_text_max: u32,
    /// File with header fields for each request, `Name: value` on a line of its own, such as `Authorization: Bearer ...`; from the
    /// configuration folder on. Others may not be able to read it.
    pub(crate) headers_file: Option<PathBuf>,
    /// File with a key of at least 16 octets, with which each request is signed: `Sluice-Signature: t=SECONDS,v1=HEX`, the HMAC-SHA-256
    /// of `SECONDS`, a dot and the body. Others may not be able to read it. A line end at its end does not count.
    pub(crate) signature_key_file: Option<PathBuf>,
    /// Recipients of one request, at most. A message for more is posted more than once.
    #[option(default = 100, range = 1..=1000)]
    pub(crate) max_recipients: u32,
    /// Octets of a message, at most; a larger one is returned with 5.3.4. Not set: the server is the one to say so.
    #[option(range = 1..)]
    pub(crate) max_size: Option<u64>,
    /// How many redirections (307 and 308) of one request are followed. From https to http none is; the fields of HEADERS_FILE go to
    /// the server of URL only.
    #[option(default = 0, range = 0..=10)]
    pub(crate) follow_redirects: u32,
    /// PEM file with the certificates of the authorities that are believed, from the configuration folder on. Not set: those of the
    /// system.
    pub(crate) tls_ca: Option<PathBuf>,
    /// Seconds for a connection, TLS included.
    #[option(default = 30, range = 1..=600)]
    pub(crate) connect_time: Duration,
    /// Seconds without any progress while a request is being sent. A request that moves, however slowly, is not cut.
    #[option(default = 60, range = 1..=3600)]
    pub(crate) data_transmit_time: Duration,
    /// Seconds to wait for the answer to a request that is sent.
    #[option(default = 60, range = 1..=3600)]
    pub(crate) status_receive_time: Duration,
    /// Seconds a worker keeps a connection for its next message; 0 closes at once.
    #[option(default = 5, range = 0..=600)]
    pub(crate) idle_time: Duration,
}

/// The words of FORMAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, OptionWord)]
pub(crate) enum Word {
    Message,
    Json,
    Multipart,
    Template,
}
