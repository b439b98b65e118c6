//! TLS at the server's side: certificates, the handshake, and a stream that may be with or without.
//!
//! # Not here
//! When TLS begins (`protection`, and `sluice_smtp::server`), where the files are and who may read them (the intake).

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::reversed::Stream;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate, those above it, and its key: what a listener needs for TLS. Cheap to clone.
#[derive(Clone)]
pub struct Certificates(Arc<ServerConfig>);

impl fmt::Debug for Certificates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Certificates")
    }
}

/// Why two files are no certificate and key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Nothing between `-----BEGIN CERTIFICATE-----` and its end, or something else there.
    #[error("there is no certificate in PEM form in it")]
    NoCertificate,
    /// No PKCS#8, PKCS#1 or SEC1 key without a password.
    #[error("there is no private key in PEM form in it; a key under a password cannot be used")]
    NoKey,
    /// They do not belong together, or are of a kind that nobody uses any more.
    #[error("the certificate and the key cannot be used together")]
    Unusable {
        /// What the library says.
        source: rustls::Error,
    },
}

impl Certificates {
    /// Reads a chain of certificates, the server's own first, and the key of the first.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn read(certificates: &[u8], key: &[u8]) -> Result<Certificates, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::NoCertificate)?;
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        // The provider is named here and nowhere set for the process: other users of the library are not our business.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|source| CertificateError::Unusable { source })?;
        Ok(Certificates(Arc::new(config)))
    }
}

/// What is known of the TLS of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, such as `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The name that the client asked for. A stranger's text, though a well-formed name.
    pub server_name: Option<String>,
}

/// A connection, with TLS or without.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// One that we opened, with whatever protects it.
    Reversed(Box<dyn Stream>),
}

impl Wire {
    /// The server's side of the handshake. A client that does not answer is the caller's to give up on.
    pub(crate) async fn accept(stream: TcpStream, certificates: Certificates) -> io::Result<(Wire, Tls)> {
        let stream = TlsAcceptor::from(certificates.0).accept(stream).await?;
        let (_, connection) = stream.get_ref();
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let cipher = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        // The library's names of the suites of TLS 1.3 begin in a way of its own.
        let cipher = cipher.unwrap_or_default().replace("TLS13_", "TLS_");
        let tls = Tls { version, cipher, server_name: connection.server_name().map(str::to_owned) };
        Ok((Wire::Tls(Box::new(stream)), tls))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Wire::Reversed(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_write(context, octets),
            Wire::Reversed(stream) => Pin::new(stream.as_mut()).poll_write(context, octets),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(context),
            Wire::Reversed(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Reversed(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
