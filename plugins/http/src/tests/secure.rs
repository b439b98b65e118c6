//! Servers with TLS: the one that was called, and others that only say so.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::support::*;
use crate::outbox::{Outbox, Shared};
use crate::tls;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken";

struct Certificate {
    config: Arc<ServerConfig>,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

fn certificate(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root.pem");
    std::fs::write(&file, made.pem()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(made.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Certificate { config: Arc::new(config), file, _folder: folder }
}

fn server(certificate: &Certificate, script: Vec<Do>) -> Server {
    let config = Arc::clone(&certificate.config);
    Server::start_over(vec![script], move |stream| {
        Box::new(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream))
    })
}

/// A channel that believes this certificate.
fn channel(server: &Server, believes: &Certificate) -> Shared {
    let mut shared = shared(&format!("https://127.0.0.1:{}/hook", server.port));
    shared.settings.tls = Some(tls::config(Some(&believes.file)).unwrap());
    shared
}

#[test]
fn messages_go_under_tls_to_who_is_believed() {
    let certificate = certificate("127.0.0.1", |_| {});
    let server = server(&certificate, vec![Hear, Say(OK), Hear, Say(OK)]);
    let shared = channel(&server, &certificate);
    let mut outbox = Outbox::new(&shared);
    for _ in 0..2 {
        assert_eq!(post(&mut outbox, &mail(&["a@b"])), "delivered 2.0.0 127.0.0.1: 200 OK: taken");
    }
    drop(outbox);
    assert_eq!(server.heard()[0].len(), 2, "over one connection");
}

#[test]
fn others_get_nothing() {
    let here = certificate("127.0.0.1", |_| {});
    let elsewhere = certificate("other.example", |_| {});
    let old = certificate("127.0.0.1", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    for (has, believes, why) in [
        (&here, &elsewhere, "invalid peer certificate"),
        (&elsewhere, &elsewhere, "invalid peer certificate"),
        (&old, &old, "invalid peer certificate"),
    ] {
        let server = server(has, vec![Hear, Say(OK)]);
        let shared = channel(&server, believes);
        let told = post(&mut Outbox::new(&shared), &mail(&["a@b"]));
        assert!(
            told.starts_with("deferred 4.7.5 127.0.0.1: no TLS with 127.0.0.1:") && told.contains(why),
            "{told}"
        );
        assert!(server.heard()[0].is_empty());
    }
}

#[test]
fn a_server_without_tls_gets_nothing() {
    let certificate = certificate("127.0.0.1", |_| {});
    let server = Server::start(vec![vec![Say("HTTP/1.1 400 Bad Request\r\n\r\n"), UntilGone]]);
    let shared = channel(&server, &certificate);
    let told = post(&mut Outbox::new(&shared), &mail(&["a@b"]));
    assert!(told.starts_with("deferred 4.7.5 127.0.0.1: no TLS with "), "{told}");
}

#[test]
fn a_file_without_certificates_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root.pem");
    assert!(tls::config(Some(&file)).unwrap_err().contains("No such file"));
    std::fs::write(&file, "-----BEGIN NOTHING-----\n").unwrap();
    assert!(tls::config(Some(&file)).unwrap_err().contains("no certificate in PEM form"));
}
