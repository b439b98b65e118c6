//! Activators: servers that keep mail for us, and how they are asked for it.
//!
//! # Not here
//! The asking (`sluice etrn`, the hub), and the content of password files.

use crate::timetable::{Timetable, Windows};
use sluice_diag::Span;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What an activator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// ETRN (RFC 1985): the mail comes over connections that the server opens to us.
    #[default]
    Etrn,
    /// ATRN (RFC 2645): the mail comes over the connection that we opened.
    Atrn,
}

impl Method {
    /// As the file has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Etrn => "etrn",
            Method::Atrn => "atrn",
        }
    }
}

/// Whether the connection to the server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// Never.
    No,
    /// By STARTTLS when it is offered.
    #[default]
    May,
    /// By STARTTLS with a certificate that is good, or not at all.
    Must,
    /// From the first octet on, with a certificate that is good.
    Implicit,
}

impl Tls {
    /// As the file has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Tls::No => "no",
            Tls::May => "may",
            Tls::Must => "must",
            Tls::Implicit => "implicit",
        }
    }
}

/// Where the password of an activator stands.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// `PASSWORD`: in `sites.cnf` itself, which others must not be able to read then.
    Written {
        /// The password.
        text: Box<str>,
        /// Where the value stands.
        span: Span,
    },
    /// `PASSWORD_FILE`: the first line of a file that others must not be able to read.
    InFile {
        /// The file.
        path: PathBuf,
        /// Where it is named.
        span: Span,
    },
}

impl fmt::Debug for Password {
    /// Without the password: what is debugged is written to logs.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Password::Written { .. } => out.write_str("Written"),
            Password::InFile { path, .. } => out.debug_tuple("InFile").field(path).finish(),
        }
    }
}

/// As whom an activator logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivatorLogin {
    /// `LOGIN`.
    pub name: Box<str>,
    /// `PASSWORD` or `PASSWORD_FILE`.
    pub password: Password,
}

/// A section `[ACTIVATOR=name]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Activator {
    /// Its name, as written.
    pub name: Box<str>,
    /// `SERVER`: a host name, or an address in brackets.
    pub server: Box<str>,
    /// `PORT`: 25, 465 with `TLS=implicit`, 366 with `METHOD=atrn`.
    pub port: u16,
    /// `NAMES`: what is asked for, as it goes over the wire: `example.com`, `@example.com`, `#queue`. Empty: with ETRN
    /// every name that we take mail for, with ATRN all that the login may have.
    pub names: Box<[Box<str>]>,
    /// `LOGIN` with its password.
    pub login: Option<ActivatorLogin>,
    /// `TLS`.
    pub tls: Tls,
    /// `METHOD`.
    pub method: Method,
    /// `CHANNEL`, as the main file spells it: by which channel mail comes in over the connection that we opened. `None`: by
    /// that of the first service.
    pub channel: Option<Arc<str>>,
    /// `SCHEDULE`: when it is asked. `None`: only by `sluice activator run`, and when the link comes up.
    pub schedule: Option<Arc<Timetable>>,
    /// `WINDOW`: when the schedule counts. `None`: always.
    pub windows: Option<Arc<Windows>>,
    /// `ON_LINK_UP`: `sluice trigger --on-link-up` asks it.
    pub on_link_up: bool,
    /// `WATCH`: how long after 252 or 253 mail must have come.
    pub watch: Duration,
    /// Where its name stands.
    pub span: Span,
}
