//! What the options mean for this plugin.
//!
//! # Not here
//! The syntax of option files (`config`). What arrives here is checked again all the same.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use rustls::ClientConfig;
use sluice_sdk::{Context, CreateError};

use crate::address::Address;
use crate::files;
use crate::options::{Word, Written};
use crate::template::Template;
use crate::tls;

/// What is posted.
#[derive(Debug, Clone)]
pub(crate) enum Format {
    Message,
    Json,
    Multipart,
    Template(Template),
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) connect: Duration,
    pub(crate) data: Duration,
    pub(crate) status: Duration,
    pub(crate) idle: Duration,
}

/// All that a channel was told.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) channel: String,
    /// The name of this hub.
    pub(crate) hub: String,
    pub(crate) address: Address,
    pub(crate) format: Format,
    /// Header fields for the server of `address` only.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) recipients_max: usize,
    pub(crate) size_max: Option<u64>,
    pub(crate) redirects_max: u32,
    /// What TLS needs, where the address or a redirection may ask for it.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) times: Times,
}

impl Settings {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// What is wrong, with what would be right.
    pub(crate) fn read(context: &Context) -> Result<Settings, CreateError> {
        let written: Written = context.options()?;
        let of =
            |name: &'static str| move |why: String| CreateError::refused(format!("option {name}: {why}"));
        // The URL is not repeated: there may be a secret in it.
        let address = Address::read(written.url.trim()).map_err(|why| of("URL")(format!("it {why}")))?;
        let tls = match address.tls || written.follow_redirects > 0 {
            true => Some(tls::config(written.tls_ca.as_deref()).map_err(of("TLS_CA"))?),
            false => None,
        };
        let headers = written.headers_file.as_deref().map(files::headers).transpose();
        let key = written.signature_key_file.as_deref().map(files::key).transpose();
        Ok(Settings {
            channel: context.channel().to_owned(),
            hub: context
                .setting("local_host")
                .filter(|name| !name.is_empty())
                .unwrap_or("localhost")
                .to_owned(),
            address,
            headers: headers.map_err(of("HEADERS_FILE"))?.unwrap_or_default(),
            key: key.map_err(of("SIGNATURE_KEY_FILE"))?,
            recipients_max: written.max_recipients as usize,
            size_max: written.max_size,
            redirects_max: written.follow_redirects,
            tls,
            times: Times {
                connect: written.connect_time,
                data: written.data_transmit_time,
                status: written.status_receive_time,
                idle: written.idle_time,
            },
            format: format(&written)?,
        })
    }
}

fn format(written: &Written) -> Result<Format, CreateError> {
    match (written.format, &written.template_file) {
        (Word::Template, None) => {
            Err(CreateError::refused("option FORMAT is `template`; TEMPLATE_FILE must be there too"))
        }
        (Word::Template, Some(file)) => template(file, written.template_text_max as usize)
            .map(Format::Template)
            .map_err(|why| CreateError::refused(format!("option TEMPLATE_FILE: {why}"))),
        (_, Some(_)) => Err(CreateError::refused("option TEMPLATE_FILE is set; FORMAT must be `template`")),
        (Word::Message, None) => Ok(Format::Message),
        (Word::Json, None) => Ok(Format::Json),
        (Word::Multipart, None) => Ok(Format::Multipart),
    }
}

fn template(file: &Path, text_max: usize) -> Result<Template, String> {
    let octets = files::content(file)?;
    let named = |why: String| format!("{}: {why}", file.display());
    let text = String::from_utf8(octets).map_err(|_| named("it is no text in UTF-8".to_owned()))?;
    Template::read(&text, text_max).map_err(named)
}
