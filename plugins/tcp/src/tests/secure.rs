//! One worker against servers with TLS and logins.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sluice_sasl::server::{Exchange, Step as Sasl};
use sluice_sasl::users::{User, Users, changed};
use sluice_sasl::{Mechanism, decode, encode};

use super::support::*;
use crate::outbox::Outbox;

/// A certificate, and a file with it that goes with the test.
struct Certificate {
    config: Arc<ServerConfig>,
    file: PathBuf,
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn certificate(test: &str, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let file = std::env::temp_dir().join(format!("sluice-tcp-{test}-{}.pem", std::process::id()));
    std::fs::write(&file, made.pem()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(made.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Certificate { config: Arc::new(config), file }
}

/// What the server does on one connection.
#[derive(Clone)]
enum Manner {
    /// Offers STARTTLS and does it.
    StartTls(Arc<ServerConfig>),
    /// TLS first.
    Implicit(Arc<ServerConfig>),
    /// Offers STARTTLS and sends something else.
    Garbage,
    /// Offers STARTTLS and goes silent.
    Silent,
    /// Knows nothing of TLS.
    Plain,
}

/// A server for so many connections, one after the other; what it heard on each, `(TLS)` where TLS began.
fn serve(manners: Vec<Manner>) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let mut heard = Vec::new();
        for manner in manners {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut lines = Vec::new();
            converse(stream, &manner, &mut lines);
            heard.push(lines.join("|"));
        }
        heard
    });
    (port, thread)
}

fn converse(mut stream: TcpStream, manner: &Manner, heard: &mut Vec<String>) {
    match manner {
        Manner::Implicit(config) => under_tls(stream, config, heard),
        Manner::Plain => drop(session(BufReader::new(stream), "", heard)),
        Manner::StartTls(config) => {
            if session(BufReader::new(stream.try_clone().unwrap()), "STARTTLS", heard) {
                under_tls(stream, config, heard);
            }
        }
        Manner::Garbage => {
            if session(BufReader::new(stream.try_clone().unwrap()), "STARTTLS", heard) {
                // Before the client has begun, it would be a breach of another kind.
                stream.read_exact(&mut [0; 5]).unwrap();
                stream.write_all(b"I have no idea what TLS is\r\n").unwrap();
            }
        }
        Manner::Silent => {
            if session(BufReader::new(stream.try_clone().unwrap()), "STARTTLS", heard) {
                let _ = stream.read_to_end(&mut Vec::new());
            }
        }
    }
}

fn under_tls(stream: TcpStream, config: &Arc<ServerConfig>, heard: &mut Vec<String>) {
    heard.push("(TLS)".into());
    let connection = ServerConnection::new(Arc::clone(config)).unwrap();
    session(BufReader::new(StreamOwned::new(connection, stream)), "AUTH PLAIN SCRAM-SHA-256", heard);
}

/// Talks SMTP; true when STARTTLS was said.
fn session<S: Read + Write>(mut stream: BufReader<S>, offer: &str, heard: &mut Vec<String>) -> bool {
    let fred = User::new("pencil", *b"0123456789abcdef", 4096, true).unwrap();
    let users = Users::read(&changed("", "fred", Some(&fred)).unwrap()).0;
    let mut exchange: Option<Exchange> = None;
    // The second EHLO of a connection comes without a greeting.
    let fresh = heard.is_empty() || (heard.len() == 1 && heard[0] == "(TLS)");
    if fresh && stream.get_mut().write_all(b"220 mx ESMTP\r\n").is_err() {
        return false;
    }
    loop {
        let mut line = String::new();
        if !matches!(stream.read_line(&mut line), Ok(octets) if octets > 0) {
            return false;
        }
        let line = line.trim_end().to_owned();
        let mut said = match &mut exchange {
            Some(_) => decode(line.as_bytes()),
            None => None,
        };
        if exchange.is_none() {
            heard.push(line.clone());
        }
        let mut words = line.split(' ');
        let reply = match words.next().unwrap_or_default() {
            _ if exchange.is_some() => String::new(),
            "EHLO" if offer.is_empty() => "250 mx".into(),
            "EHLO" => format!("250-mx\r\n250 {offer}"),
            "STARTTLS" => "220 go".into(),
            "AUTH" => {
                let mechanism = words.next().and_then(Mechanism::by_name).unwrap();
                said = words.next().and_then(|word| decode(word.as_bytes()));
                exchange = Some(Exchange::new(mechanism, &[3; 18], "mx", 1));
                String::new()
            }
            "DATA" => {
                stream.get_mut().write_all(b"354 go\r\n").unwrap();
                let mut octets = 0;
                loop {
                    let mut line = Vec::new();
                    stream.read_until(b'\n', &mut line).unwrap();
                    if line == b".\r\n" {
                        break;
                    }
                    octets += line.len();
                }
                heard.push(format!("({octets} octets)"));
                "250 2.0.0 done".into()
            }
            "QUIT" => "221 bye".into(),
            _ => "250 ok".into(),
        };
        let reply = match exchange.as_mut().map(|exchange| exchange.step(&users, said.as_deref())) {
            None => reply,
            Some(Sasl::Challenge(challenge)) => format!("334 {}", encode(&challenge)),
            Some(Sasl::Accepted(_)) => {
                exchange = None;
                "235 2.7.0 welcome".into()
            }
            Some(_) => {
                exchange = None;
                "535 5.7.8 no".into()
            }
        };
        if stream.get_mut().write_all(format!("{reply}\r\n").as_bytes()).is_err() {
            return false;
        }
        if line == "STARTTLS" {
            return true;
        }
    }
}

/// Delivers one message with these settings: what was settled, and what the server heard.
fn sent(manners: Vec<Manner>, given: &[(&str, &str)]) -> (String, Vec<String>) {
    let (port, server) = serve(manners);
    let mut pairs = vec![("daemon", "[127.0.0.1]")];
    pairs.extend_from_slice(given);
    let shared = channel(port, &pairs, None);
    let settled = deliver(&mut Outbox::new(&shared), &message(&["r@b"])).remove(0);
    drop(shared);
    (settled, server.join().unwrap())
}

const DONE: &str = "delivered 2.0.0 [127.0.0.1]: 250 2.0.0 done";
const IN_CLEAR: &str = "EHLO hub.example|MAIL FROM:<s@a.example>|RCPT TO:<r@b>|DATA|(27 octets)";

#[test]
fn a_message_goes_under_tls_where_that_is_offered() {
    let own = certificate("may", "elsewhere.example", |_| {});
    let (settled, heard) = sent(vec![Manner::StartTls(Arc::clone(&own.config))], &[("tls_client", "may")]);
    assert_eq!(settled, DONE);
    assert_eq!(heard, [format!("EHLO hub.example|STARTTLS|(TLS)|{IN_CLEAR}")]);
    let (settled, heard) = sent(vec![Manner::Plain], &[("tls_client", "may")]);
    assert_eq!((settled.as_str(), heard[0].as_str()), (DONE, IN_CLEAR));
    let (settled, heard) = sent(vec![Manner::StartTls(Arc::clone(&own.config))], &[]);
    assert_eq!((settled.as_str(), heard[0].as_str()), (DONE, IN_CLEAR), "not without being told");
}

#[test]
fn a_large_message_arrives_whole_under_tls() {
    let own = certificate("large", "127.0.0.1", |_| {});
    let (port, server) = serve(vec![Manner::StartTls(Arc::clone(&own.config))]);
    let shared = channel(port, &[("daemon", "[127.0.0.1]"), ("tls_client", "may")], None);
    let line = [b"x".repeat(78), b"\r\n".to_vec()].concat();
    let mut large = message(&["r@b"]);
    large.pieces = (0..40_000).map(|_| line.as_slice()).collect();
    large.size = 40_000 * 80;
    assert_eq!(deliver(&mut Outbox::new(&shared), &large), [DONE]);
    shared.pool.close_idle(Duration::ZERO);
    drop(shared);
    assert!(server.join().unwrap()[0].ends_with("|(3200000 octets)|QUIT"));
}

#[test]
fn who_must_have_tls_looks_at_the_certificate() {
    let good = certificate("good", "127.0.0.1", |_| {});
    let stranger = certificate("stranger", "127.0.0.1", |_| {});
    let misnamed = certificate("misnamed", "other.example", |_| {});
    let expired = certificate("expired", "127.0.0.1", |params| params.not_after = date_time_ymd(2001, 1, 1));
    for (server, ca, expected) in [
        (&good, &good, DONE),
        (
            &stranger,
            &good,
            "deferred 4.7.5 [127.0.0.1]: connection lost while turning on TLS: no TLS: invalid peer certificate",
        ),
        (
            &misnamed,
            &misnamed,
            "deferred 4.7.5 [127.0.0.1]: connection lost while turning on TLS: no TLS: invalid peer certificate",
        ),
        (
            &expired,
            &expired,
            "deferred 4.7.5 [127.0.0.1]: connection lost while turning on TLS: no TLS: invalid peer certificate: certificate expired",
        ),
    ] {
        let ca = ca.file.to_string_lossy().into_owned();
        let given = [("tls_client", "must"), ("TLS_CA", ca.as_str())];
        let (settled, heard) = sent(vec![Manner::StartTls(Arc::clone(&server.config))], &given);
        assert!(settled.starts_with(expected), "{settled}\nnot: {expected}");
        assert!(heard[0].starts_with("EHLO hub.example|STARTTLS|(TLS)"), "{heard:?}");
        let given = [("tls_client", "must"), ("TLS_VERIFY", "0")];
        assert_eq!(sent(vec![Manner::StartTls(Arc::clone(&server.config))], &given).0, DONE);
    }
    let (settled, _) = sent(vec![Manner::Plain], &[("tls_client", "must"), ("TLS_VERIFY", "0")]);
    assert_eq!(
        settled,
        "deferred 4.7.10 [127.0.0.1]: TLS is demanded, and the server does not offer STARTTLS"
    );
}

#[test]
fn a_handshake_that_fails_costs_who_may_nothing_but_a_connection() {
    let (settled, heard) = sent(vec![Manner::Garbage, Manner::Plain], &[("tls_client", "may")]);
    assert_eq!(settled, DONE);
    assert_eq!(heard, ["EHLO hub.example|STARTTLS", IN_CLEAR]);
    let (settled, heard) = sent(vec![Manner::Garbage], &[("tls_client", "must"), ("TLS_VERIFY", "0")]);
    assert!(
        settled.starts_with("deferred 4.7.5 [127.0.0.1]: connection lost while turning on TLS"),
        "{settled}"
    );
    assert_eq!(heard, ["EHLO hub.example|STARTTLS"]);
    let given = [("tls_client", "must"), ("TLS_VERIFY", "0"), ("CONNECT_TIME", "1")];
    let (settled, _) = sent(vec![Manner::Silent], &given);
    assert_eq!(settled, "deferred 4.7.5 [127.0.0.1]: timed out while turning on TLS");
}

#[test]
fn logins_and_a_port_of_its_own() {
    let own = certificate("login", "127.0.0.1", |_| {});
    let ca = own.file.to_string_lossy().into_owned();
    let fred = [("sasl_client", "must"), ("authusername", "fred"), ("TLS_CA", ca.as_str())];
    let given = [&fred[..], &[("tls_client", "may"), ("AUTH_PASSWORD", "pencil")]].concat();
    let (settled, heard) = sent(vec![Manner::StartTls(Arc::clone(&own.config))], &given);
    assert_eq!(settled, DONE);
    assert!(
        heard[0].contains("(TLS)|EHLO hub.example|AUTH SCRAM-SHA-256 ") && heard[0].ends_with("octets)"),
        "{heard:?}"
    );
    let given = [&fred[..], &[("TLS_IMPLICIT", "1"), ("authpassword", "pencil")]].concat();
    let (settled, heard) = sent(vec![Manner::Implicit(Arc::clone(&own.config))], &given);
    assert_eq!(settled, DONE);
    assert!(heard[0].starts_with("(TLS)|EHLO hub.example|AUTH SCRAM-SHA-256 "), "{heard:?}");
    let given = [&fred[..], &[("TLS_IMPLICIT", "1"), ("authpassword", "pen")]].concat();
    let (settled, _) = sent(vec![Manner::Implicit(Arc::clone(&own.config))], &given);
    assert_eq!(
        settled,
        "deferred 4.7.0 [127.0.0.1]: a login is demanded: the server refused the login: 535 5.7.8 no"
    );
    // In clear the password stays here: the server has no way that keeps it.
    let given = [&fred[..], &[("authpassword", "pencil")]].concat();
    let (settled, heard) = sent(vec![Manner::Plain], &given);
    assert!(
        settled.starts_with("deferred 4.7.0 [127.0.0.1]: a login is demanded: the server offers no way"),
        "{settled}"
    );
    assert!(!heard[0].contains("AUTH"), "{heard:?}");
}
