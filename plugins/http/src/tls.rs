//! Whom TLS believes to be the server: who has a certificate of a known authority for the name that was called, and nobody else.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::files;

/// What a channel needs for its handshakes: the authorities of a file, or those of the system.
///
/// # Errors
/// No authorities can be found; in words, for the operator.
pub(crate) fn config(file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match file {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(
                    "this system has no certificates of authorities; name a file with TLS_CA".to_owned()
                );
            }
        }
        Some(path) => {
            let text = files::certificates(path)?;
            let chain = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
            let (added, _) = roots.add_parsable_certificates(chain);
            if added == 0 {
                return Err(format!("{}: there is no certificate in PEM form in it", path.display()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
