//! TLS towards a server that is asked: whom to believe, and the handshake.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sluice_smtp::client::Loss;
use sluice_smtpd::Stream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Errand, Protection};

/// What a handshake needs; nothing where there is to be none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust(Option<Arc<ClientConfig>>);

/// Whom to believe. Who must be believed follows from what is at stake: where TLS is demanded, and where a password may go
/// over the line, the server's certificate counts, unless `anybody` says otherwise.
///
/// # Errors
/// No authorities can be found; in words, for the operator.
pub(crate) fn trust(
    protection: Protection,
    logs_in: bool,
    anybody: bool,
    authorities: Option<&Path>,
) -> Result<Trust, String> {
    if protection == Protection::No {
        return Ok(Trust(None));
    }
    let verify = !anybody && (protection != Protection::May || logs_in || authorities.is_some());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if !verify {
        let verifier = Arc::new(Anybody(provider));
        let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        return Ok(Trust(Some(Arc::new(config))));
    }
    let mut roots = RootCertStore::empty();
    match authorities {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err("this system has no certificates of authorities to know servers by".to_owned());
            }
        }
        Some(path) => {
            let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let chain = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
            if roots.add_parsable_certificates(chain.collect::<Vec<_>>()).0 == 0 {
                return Err(format!("{}: there is no certificate in PEM form in it", path.display()));
            }
        }
    }
    Ok(Trust(Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))))
}

/// Turns on TLS.
pub(super) async fn begin(errand: &Errand, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, Loss> {
    let Some(config) = &errand.trust.0 else { return Err(Loss::Failed("no TLS was set up".to_owned())) };
    let name = errand.server.bare_host().trim_end_matches('.').to_owned();
    let name = ServerName::try_from(name).map_err(|error| Loss::Failed(format!("no TLS: {error}")))?;
    let shaking = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    match timeout(errand.times.connect, shaking).await {
        Ok(Ok(secured)) => Ok(Box::new(secured)),
        Ok(Err(error)) => Err(Loss::Failed(format!("no TLS: {error}"))),
        Err(_) => Err(Loss::TimedOut),
    }
}

/// Believes every certificate, but not that somebody has its key who has not: that keeps out those who only listen.
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
