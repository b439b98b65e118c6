//! TLS and logins over loopback sockets.
#![allow(missing_docs, clippy::unwrap_used)]

#[allow(unreachable_pub, dead_code)]
mod site;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use site::{Fake, PATIENCE, Site, service, with_fred};
use sluice_smtp::reply::ReplyReader;
use sluice_smtpd::{CertificateError, Certificates, Demand, Settings};

/// Fred, whose password is pencil.
const FRED: &str = "AGZyZWQAcGVuY2ls";
const NOT_FRED: &str = "AGZyZWQAcGVu";

fn certificate(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn certificates(name: &str) -> Certificates {
    let (certificate, key) = certificate(name);
    Certificates::read(certificate.as_bytes(), key.as_bytes()).unwrap()
}

/// A site with a certificate for `hub.example` and with Fred.
fn safe(change: impl FnOnce(&mut Fake)) -> Fake {
    with_fred(|fake| {
        fake.certificates = Mutex::new(Some(certificates("hub.example")));
        change(fake);
    })
}

/// Takes any certificate, and remembers it.
#[derive(Debug, Default)]
struct Witness(Mutex<Vec<u8>>);

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = certificate.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client under TLS.
struct Secure {
    stream: StreamOwned<ClientConnection, TcpStream>,
    reader: ReplyReader,
    buffer: Vec<u8>,
    witness: Arc<Witness>,
}

impl Secure {
    fn over(stream: TcpStream) -> Secure {
        let witness = Arc::new(Witness::default());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        let name = ServerName::try_from("hub.example").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = StreamOwned::new(connection, stream);
        Secure { stream, reader: ReplyReader::new(), buffer: Vec::new(), witness }
    }

    fn reply(&mut self) -> String {
        loop {
            let mut rest = self.buffer.as_slice();
            let reply = self.reader.read(&mut rest).unwrap();
            self.buffer = rest.to_vec();
            if let Some(reply) = reply {
                return reply.to_string();
            }
            let mut octets = [0; 4096];
            match self.stream.read(&mut octets) {
                Ok(0) => return "(closed)".into(),
                Ok(read) => self.buffer.extend_from_slice(&octets[..read]),
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    fn say(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n"));
        self.reply()
    }
}

/// EHLO and STARTTLS.
fn secured(site: &Site) -> Secure {
    let mut client = site.client();
    client.hello();
    assert_eq!(client.say("STARTTLS"), "220 2.0.0 Ready to start TLS");
    Secure::over(client.stream)
}

#[test]
fn a_message_under_tls_from_someone_we_know() {
    let site = Site::new(safe(|_| {}));
    let mut client = site.client();
    let offers = client.say("EHLO client.example");
    assert!(offers.contains("STARTTLS AUTH SCRAM-SHA-256 CRAM-MD5 HELP"), "{offers}");
    assert_eq!(client.say("MAIL FROM:<a@client.example>"), "250 2.1.0 Sender OK");
    assert_eq!(client.say("STARTTLS"), "220 2.0.0 Ready to start TLS");
    let mut client = Secure::over(client.stream);
    assert_eq!(client.say("RCPT TO:<b@site.example>"), "503 5.5.1 Send EHLO or HELO first");
    let offers = client.say("EHLO client.example");
    assert!(offers.contains("AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN HELP"), "{offers}");
    assert!(!offers.contains("STARTTLS"), "{offers}");
    assert_eq!(client.say(&format!("AUTH PLAIN {FRED}")), "235 2.7.0 Authentication successful");
    client.send("MAIL FROM:<a@client.example>\r\nRCPT TO:<b@site.example>\r\nDATA\r\n");
    assert_eq!(client.reply(), "250 2.1.0 Sender OK");
    assert_eq!(client.reply(), "250 2.1.5 Recipient OK");
    assert!(client.reply().starts_with("354 "));
    let body = "x".repeat(70) + "\r\n";
    for _ in 0..10_000 {
        client.send(&body);
    }
    assert_eq!(client.say("."), "250 2.6.0 Message accepted, id 00000001");
    assert_eq!(client.say("QUIT"), "221 2.0.0 hub.example closing connection");
    assert_eq!(client.reply(), "(closed)", "the end is said under TLS, too");
    let accepted = site.accepted().remove(0);
    assert_eq!(accepted.envelope.source_channel, "tcp_auth");
    let text = String::from_utf8(accepted.bytes).unwrap();
    assert!(text.contains(") with ESMTPSA id 00000001"), "{}", &text[..200]);
    assert!(text.ends_with(&body.repeat(10_000)));
    assert_eq!(*site.fake.readmitted.lock().unwrap(), ["TLSv1.3 nobody", "TLSv1.3 fred"]);
}

#[test]
fn what_was_sent_behind_starttls_is_never_carried_out() {
    let site = Site::new(safe(|_| {}));
    let mut client = site.client();
    client.hello();
    client.send("STARTTLS\r\nRSET\r\n");
    assert_eq!(client.reply(), "421 4.7.0 Nothing may follow STARTTLS before TLS is on, closing connection");
    assert_eq!(client.reply(), "(closed)");
    // In a packet of its own it is no part of a handshake either.
    let mut client = site.client();
    client.hello();
    assert_eq!(client.say("STARTTLS"), "220 2.0.0 Ready to start TLS");
    client.stream.write_all(b"MAIL FROM:<a@client.example>\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = client.stream.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"250"), "{rest:?}");
    assert_eq!(secured(&site).say("NOOP"), "250 2.0.0 OK", "others are served");
}

#[test]
fn a_line_end_in_two_packets_does_not_spoil_the_handshake() {
    let site = Site::new(safe(|_| {}));
    let mut client = site.client();
    client.hello();
    client.send("STARTTLS\r");
    assert_eq!(client.reply(), "220 2.0.0 Ready to start TLS");
    client.send("\n");
    assert_eq!(Secure::over(client.stream).say("NOOP"), "250 2.0.0 OK");
}

#[test]
fn a_handshake_that_does_not_end_is_ended() {
    let mut site = Site::new(safe(|fake| fake.limits.handshake_timeout = Duration::from_millis(200)));
    let mut client = site.client();
    client.hello();
    assert_eq!(client.say("STARTTLS"), "220 2.0.0 Ready to start TLS");
    let began = Instant::now();
    // The beginning of a record that never comes.
    client.stream.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    let mut rest = Vec::new();
    let _ = client.stream.read_to_end(&mut rest);
    assert!(rest.is_empty() && began.elapsed() >= Duration::from_millis(190));
    // Nor does one keep the server from stopping.
    let mut client = site.client();
    client.hello();
    client.say("STARTTLS");
    let began = Instant::now();
    site.stopped();
    assert!(began.elapsed() < PATIENCE / 2);
}

#[test]
fn certificates_come_and_go_and_sessions_stay() {
    let site = Site::new(safe(|_| {}));
    let mut first = secured(&site);
    assert_eq!(first.say("NOOP"), "250 2.0.0 OK");
    *site.fake.certificates.lock().unwrap() = Some(certificates("hub.example"));
    let mut second = secured(&site);
    assert_eq!(second.say("NOOP"), "250 2.0.0 OK");
    assert_ne!(*first.witness.0.lock().unwrap(), *second.witness.0.lock().unwrap());
    *site.fake.certificates.lock().unwrap() = None;
    assert_eq!(first.say("NOOP"), "250 2.0.0 OK");
    let mut third = site.client();
    third.hello();
    assert_eq!(third.say("STARTTLS"), "454 4.7.0 TLS not available due to a temporary reason");
    assert_eq!(third.say("MAIL FROM:<a@b.example>"), "250 2.1.0 Sender OK");
}

#[test]
fn files_that_are_no_certificate_are_told_apart() {
    let ((mine, my_key), (_, other_key)) = (certificate("a.example"), certificate("a.example"));
    let read = |certificate: &str, key: &str| Certificates::read(certificate.as_bytes(), key.as_bytes());
    assert!(read(&mine, &my_key).is_ok());
    assert!(read(&format!("{mine}{mine}"), &my_key).is_ok(), "a chain");
    assert!(matches!(read("", &my_key), Err(CertificateError::NoCertificate)));
    assert!(matches!(read(&my_key, &my_key), Err(CertificateError::NoCertificate)));
    let broken = mine.replace("-----END CERTIFICATE-----", "");
    assert!(matches!(read(&broken, &my_key), Err(CertificateError::NoCertificate)));
    assert!(matches!(read(&mine, ""), Err(CertificateError::NoKey)));
    assert!(matches!(read(&mine, &mine), Err(CertificateError::NoKey)));
    assert!(matches!(read(&mine, &other_key), Err(CertificateError::Unusable { .. })));
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(read(empty, &my_key), Err(CertificateError::Unusable { .. })));
}

#[test]
fn on_a_port_of_its_own_tls_comes_first() {
    let mut implicit = service("SMTPS");
    implicit.listen_tls = std::mem::take(&mut implicit.listen);
    let site = Site::with(safe(|_| {}), implicit, Settings::default());
    let mut client = Secure::over(site.silent_client().stream);
    assert_eq!(client.reply(), "220 hub.example ESMTP Sluice ready");
    assert!(client.say("EHLO client.example").contains("AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"));
    assert_eq!(client.say("STARTTLS"), "503 5.5.1 TLS is on already");
    let mut plain = site.silent_client();
    plain.stream.write_all(b"EHLO client.example\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = plain.stream.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"2"), "{rest:?}");
    *site.fake.certificates.lock().unwrap() = None;
    let mut rest = Vec::new();
    let _ = site.silent_client().stream.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    assert_eq!(client.say("NOOP"), "250 2.0.0 OK");
}

#[test]
fn a_full_service_with_tls_hangs_up() {
    let mut implicit = service("SMTPS");
    implicit.listen_tls = vec![(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0)];
    implicit.listen.clear();
    implicit.max_connections = 1;
    let site = Site::with(safe(|_| {}), implicit, Settings::default());
    let mut client = Secure::over(site.silent_client().stream);
    assert_eq!(client.reply(), "220 hub.example ESMTP Sluice ready");
    let mut rest = Vec::new();
    let _ = site.silent_client().stream.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

#[test]
fn wrong_passwords_take_longer_each_time_and_cost_others_nothing() {
    let site = Site::new(safe(|fake| fake.limits.auth_failure_delay = Duration::from_millis(150)));
    let mut client = secured(&site);
    client.say("EHLO client.example");
    let began = Instant::now();
    let attempt = format!("AUTH PLAIN {NOT_FRED}");
    assert_eq!(client.say(&attempt), "535 5.7.8 Authentication credentials invalid");
    let first = began.elapsed();
    client.send(&format!("{attempt}\r\n"));
    let mut other = site.client();
    let asked = Instant::now();
    other.hello();
    assert!(asked.elapsed() < Duration::from_millis(150), "{:?}", asked.elapsed());
    assert_eq!(client.reply(), "535 5.7.8 Authentication credentials invalid");
    assert!(first >= Duration::from_millis(150) && began.elapsed() >= Duration::from_millis(450));
    assert_eq!(
        client.say("AUTH PLAIN AG5vYm9keQBwZW5jaWw="),
        "421 4.7.0 Too many failed logins, closing connection"
    );
    assert_eq!(client.reply(), "(closed)");
}

#[test]
fn failures_before_tls_count_behind_it() {
    let site = Site::new(safe(|fake| fake.safety.max_auth_failures = 2));
    let mut client = site.client();
    client.hello();
    assert!(client.say("AUTH CRAM-MD5").starts_with("334 P"));
    let wrong = "ZnJlZCAwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==";
    assert_eq!(client.say(wrong), "535 5.7.8 Authentication credentials invalid");
    client.say("STARTTLS");
    let mut client = Secure::over(client.stream);
    client.say("EHLO client.example");
    assert_eq!(
        client.say(&format!("AUTH PLAIN {NOT_FRED}")),
        "421 4.7.0 Too many failed logins, closing connection"
    );
}

#[test]
fn a_login_is_forgotten_when_tls_begins() {
    let site = Site::new(safe(|fake| fake.safety.auth = Demand::Must));
    let mut client = site.client();
    client.hello();
    client.log_in();
    assert_eq!(client.say("MAIL FROM:<a@b.example>"), "250 2.1.0 Sender OK");
    client.say("STARTTLS");
    let mut client = Secure::over(client.stream);
    client.say("EHLO client.example");
    assert_eq!(client.say("MAIL FROM:<a@b.example>"), "530 5.7.0 No AUTH command has been given");
    assert_eq!(*site.fake.readmitted.lock().unwrap(), ["clear fred", "TLSv1.3 nobody"]);
}

#[test]
fn lines_of_an_exchange_have_a_limit_of_their_own() {
    let site = Site::new(safe(|_| {}));
    let mut client = site.client();
    client.hello();
    assert!(client.say("AUTH SCRAM-SHA-256").starts_with("334"));
    assert_eq!(client.say(&"A".repeat(100_000)), "500 5.5.6 Authentication exchange line is too long");
    assert!(client.say("AUTH SCRAM-SHA-256").starts_with("334"));
    // Within the limit it is read, and nothing of the mechanism.
    assert_eq!(client.say(&"AAAA".repeat(3000)), "501 5.5.4 That is no message of SCRAM-SHA-256");
    assert_eq!(client.say(&"A".repeat(600)), "500 5.5.2 Command not recognized");
    assert_eq!(client.say(&format!("NOOP {}", "A".repeat(600))), "500 5.5.2 Command line too long");
}

#[test]
fn without_users_nobody_can_be_judged() {
    let site = Site::new(safe(|fake| fake.users = None));
    let mut client = site.client();
    client.hello();
    assert_eq!(client.say("AUTH CRAM-MD5"), "454 4.7.0 Temporary authentication failure");
    assert_eq!(client.say("NOOP"), "250 2.0.0 OK");
}

#[test]
fn tls_goes_on_when_a_session_is_turned() {
    use sluice_smtpd::{AtrnAnswer, AtrnPolicy};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let site = Site::new(safe(|fake| {
        fake.atrn = AtrnPolicy::Offered;
        let course =
            |mut turned: sluice_smtpd::Turned| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
                Box::pin(async move {
                    let mut greeting = [0; 14];
                    turned.read_exact(&mut greeting).await.unwrap();
                    assert_eq!(greeting, *b"220 site7 ok\r\n");
                    turned.write_all(b"250 not a reply, but it comes through\r\n").await.unwrap();
                    turned.flush().await.unwrap();
                })
            };
        fake.on_atrn = Mutex::new(vec![AtrnAnswer::Turn(Box::new(course))]);
    }));
    let mut client = secured(&site);
    assert!(client.say("EHLO site7.example").contains(" ATRN "));
    assert_eq!(client.say(&format!("AUTH PLAIN {FRED}")), "235 2.7.0 Authentication successful");
    assert_eq!(client.say("ATRN site7.example"), "250 2.0.0 OK now reversing the connection");
    assert_eq!(client.say("220 site7 ok"), "250 not a reply, but it comes through");
    assert_eq!(*site.fake.asked_atrn.lock().unwrap(), ["fred: site7.example"]);
}
