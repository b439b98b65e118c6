//! TLS at the client's side: whom to believe, the handshake, and a stream that may be with or without.
//!
//! Sockets block, for one tick at most, and so does everything here: a handshake and a write go on where the tick left
//! them.
//!
//! # Not here
//! When TLS begins (`sluice_smtp::client`), what a failure means (`connection`, `outbox`).

use std::io::{self, IoSlice, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::socket::Socket;

/// Whom we believe to be the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust<'a> {
    /// Whoever answers: that keeps out those who only listen.
    Anybody,
    /// Who has a certificate of an authority that the system knows, for the name that we called.
    System,
    /// The same, of an authority in this file.
    File(&'a Path),
}

/// What a channel needs for its handshakes.
///
/// # Errors
/// No authorities can be found; in words, for the operator.
pub(crate) fn config(trust: Trust<'_>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::Anybody => {
            let verifier = Arc::new(Anybody(provider));
            let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
            return Ok(Arc::new(builder.with_no_client_auth()));
        }
        Trust::System => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(
                    "this system has no certificates of authorities; name a file with TLS_CA".to_owned()
                );
            }
        }
        Trust::File(path) => {
            let certificates = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let chain: Vec<_> =
                CertificateDer::pem_slice_iter(&certificates).filter_map(Result::ok).collect();
            let (added, _) = roots.add_parsable_certificates(chain);
            if added == 0 {
                return Err(format!("{}: there is no certificate in PEM form in it", path.display()));
            }
        }
    }
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Believes every certificate, but not that somebody has its key who has not.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection, with TLS or without.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
}

impl Wire {
    pub(crate) fn new(socket: Socket) -> Wire {
        Wire { socket, tls: None }
    }

    /// The socket below: for its timeouts, never for octets.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Begins a handshake with a server of that name. [`Wire::shake_hands`] does it.
    pub(crate) fn begin_tls(&mut self, config: &Arc<ClientConfig>, name: &str) -> io::Result<()> {
        let bare = name.trim_start_matches('[').trim_end_matches(']').trim_start_matches("IPv6:");
        let bare = bare.trim_end_matches('.').to_owned();
        let name = ServerName::try_from(bare).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        self.tls = Some(Box::new(connection));
        Ok(())
    }

    /// Goes on with the handshake: true when it is done. A tick is an error as it is from the socket.
    pub(crate) fn shake_hands(&mut self) -> io::Result<bool> {
        let Wire { socket, tls: Some(connection) } = self else { return Ok(true) };
        while connection.is_handshaking() || connection.wants_write() {
            if connection.wants_write() {
                connection.write_tls(socket)?;
                continue;
            }
            if connection.read_tls(socket)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up"));
            }
            if let Err(error) = connection.process_new_packets() {
                // The server is told why, if it still listens.
                let _ = connection.write_tls(socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        Ok(true)
    }

    /// Whether octets that were taken are still to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|connection| connection.wants_write())
    }

    /// Sends some of them.
    pub(crate) fn send_rest(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(connection) if connection.wants_write() => connection.write_tls(&mut self.socket).map(drop),
            _ => Ok(()),
        }
    }

    /// Takes some octets. Under TLS they may be sent later, by the next call or [`Wire::send_rest`].
    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(connection) = &mut self.tls else { return self.socket.write_vectored(slices) };
        while connection.wants_write() {
            connection.write_tls(&mut self.socket)?;
        }
        connection.writer().write_vectored(slices)
    }

    /// Says that nothing more will come, so that the end cannot be taken for a cut.
    pub(crate) fn say_end(&mut self) {
        if let Some(connection) = &mut self.tls {
            connection.send_close_notify();
            let _ = connection.write_tls(&mut self.socket);
        }
    }
}

impl Read for Wire {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let Some(connection) = &mut self.tls else { return self.socket.read(octets) };
        loop {
            match connection.reader().read(octets) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A server that ends without saying so under TLS has hung up all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            if connection.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            connection
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
}
