//! Mail to a web server that is not ours: Python's, with and without TLS.

use sluice_testkit::{Program, Sink, Site, free_port, wait_for};
use sluice_tests::SOON;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const CONTENT: &[u8] =
    b"From: Fred <fred@origin.example>\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n\r\n.one\r\n..two\r\nend\r\n";

/// Writes each request into a file of its own: line, header, empty line, body. The status comes from the path, and a path
/// `/flaky` says 503 to the first request.
const SERVER: &str = r#"
import http.server, os, ssl, sys
folder, port, certificate = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = 0
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Handler.seen += 1
        name = os.path.join(folder, "%04d" % Handler.seen)
        with open(name + ".part", "wb") as file:
            file.write(self.requestline.encode() + b"\r\n")
            for field, value in self.headers.items():
                file.write(("%s: %s\r\n" % (field.lower(), value)).encode())
            file.write(b"\r\n" + body)
        os.rename(name + ".part", name)
        last = self.path.rsplit("/", 1)[1]
        code = int(last) if last.isdigit() else 503 if last == "flaky" and Handler.seen == 1 else 200
        text = b"because\n"
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
if certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[0])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

struct Server {
    port: u16,
    folder: tempfile::TempDir,
    _program: Program,
}

impl Server {
    fn start(certificate: Option<&Path>) -> Server {
        let folder = tempfile::Builder::new().prefix("sluice-http-").tempdir().expect("a temporary folder");
        let (script, seen) = (folder.path().join("server.py"), folder.path().join("seen"));
        fs::write(&script, SERVER).expect("a new file");
        fs::create_dir(&seen).expect("a new folder");
        let port = free_port();
        let mut arguments = vec![script.into_os_string(), seen.into_os_string(), port.to_string().into()];
        arguments.extend(certificate.map(|file| file.as_os_str().to_owned()));
        let program = Program::start(Path::new("/usr/bin/python3"), &arguments, &folder.path().join("log"));
        let program = program.expect("python3");
        wait_for("the server listens", SOON, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        Server { port, folder, _program: program }
    }

    /// The requests so far: header and body.
    fn seen(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.folder.path().join("seen")).expect("the folder is there").flatten();
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_none()).collect();
        files.sort();
        let split = |path: &PathBuf| {
            let octets = fs::read(path).expect("a request");
            let at = octets.windows(4).position(|four| four == b"\r\n\r\n").expect("an empty line");
            (String::from_utf8(octets[..at + 2].to_vec()).expect("a header"), octets[at + 4..].to_vec())
        };
        files.iter().map(split).collect()
    }
}

/// A hub whose mail for `hook.example` is posted as the option file says; mail for `origin.example` goes to the sink.
fn site(name: &str, back: &Sink, options: &str) -> Site {
    let hub = Site::new(name);
    hub.write(
        "sluice.cnf",
        &format!(
            "hub.example $U@hub.example\nhook.example $U%$D@HTTP-HOOK\norigin.example $U%$D@TCP-BACK\n\n\
             l\nhub.example\n\ntcp_local smtp nomx\nTCP-DAEMON\n\nhttp_hook backoff PT1S\nHTTP-HOOK\n\n\
             tcp_back smtp nomx daemon [127.0.0.1] port {}\nTCP-BACK\n",
            back.port()
        ),
    );
    hub.write("http_hook_option", options);
    hub
}

fn send(hub: &Site, recipients: &[&str]) {
    let mut client = hub.talk();
    client.want("EHLO client.example", 250);
    client.want("MAIL FROM:<fred@origin.example> BODY=8BITMIME", 250);
    for recipient in recipients {
        client.want(&format!("RCPT TO:<{recipient}>"), 250);
    }
    let reply = client.content(CONTENT).expect("an answer");
    assert_eq!(reply.code, 250, "{reply}");
}

fn secret(hub: &Site, name: &str, text: &str) {
    hub.write(name, text);
    let file = hub.configuration().join(name);
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

#[test]
fn a_message_is_posted_once_for_all_recipients_and_arrives_as_it_is() {
    let (server, back) = (Server::start(None), Sink::start());
    let options = format!(
        "URL=http://127.0.0.1:{}/hook\nHEADERS_FILE=hook.fields\nSIGNATURE_KEY_FILE=hook.key\n",
        server.port
    );
    let mut hub = site("http-message", &back, &options);
    secret(&hub, "hook.fields", "Authorization: Bearer b5d1\n");
    secret(&hub, "hook.key", "0123456789abcdef\n");
    let checked = hub.command(&["check"]);
    assert!(
        checked.code == 0 && checked.out.ends_with("nothing to complain about\n"),
        "{}{}",
        checked.out,
        checked.err
    );
    hub.start();
    send(&hub, &["a@hook.example", "b@hook.example"]);
    hub.wait_for_waiting(None, 0, SOON);
    let seen = server.seen();
    assert_eq!(seen.len(), 1, "{}", hub.report());
    let (header, body) = &seen[0];
    for line in [
        "POST /hook HTTP/1.1\r\n",
        "content-type: message/rfc822\r\n",
        "authorization: Bearer b5d1\r\n",
        "sluice-sender: <fred@origin.example>\r\n",
        "sluice-recipient: <a@hook.example>\r\n",
        "sluice-recipient: <b@hook.example>\r\n",
        "idempotency-key: ",
        "sluice-signature: t=",
    ] {
        assert!(header.contains(line), "{line}: {header}");
    }
    assert!(
        body.starts_with(b"Received: from ") && body.ends_with(CONTENT),
        "{}",
        String::from_utf8_lossy(body)
    );
    assert_eq!(back.count(), 0);
    hub.stop();
}

#[test]
fn what_the_server_says_decides() {
    let (server, back) = (Server::start(None), Sink::start());
    // Tried again: the second attempt is taken, and has the key of the first.
    let mut hub =
        site("http-flaky", &back, &format!("URL=http://127.0.0.1:{}/flaky\nFORMAT=json\n", server.port));
    hub.start();
    send(&hub, &["a@hook.example"]);
    hub.wait_for_waiting(None, 0, SOON);
    let seen = server.seen();
    let key =
        |header: &str| header.lines().find(|line| line.starts_with("idempotency-key: ")).map(str::to_owned);
    assert_eq!((seen.len(), back.count()), (2, 0), "{}", hub.report());
    assert!(key(&seen[0].0).is_some() && key(&seen[0].0) == key(&seen[1].0), "{seen:?}");
    let json: Vec<serde_json::Value> =
        seen.iter().map(|(_, body)| serde_json::from_slice(body).expect("JSON")).collect();
    assert_eq!((&json[0]["attempt"], &json[1]["attempt"]), (&1.into(), &2.into()));
    assert_eq!(json[1]["recipients"][0]["address"], "a@hook.example");
    hub.stop();
    // Refused for good: the sender hears of it.
    let mut hub = site("http-no", &back, &format!("URL=http://127.0.0.1:{}/410\n", server.port));
    hub.start();
    send(&hub, &["a@hook.example"]);
    let notice = String::from_utf8_lossy(&back.wait(1, SOON)[0].content).into_owned();
    assert!(notice.contains("Status: 5.3.0") && notice.contains("410 Gone: because"), "{notice}");
    hub.stop();
}

#[test]
fn a_chat_gets_a_line_over_tls_with_a_root_of_our_own() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let both = folder.path().join("both.pem");
    fs::write(&both, format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem())).expect("a new file");
    let (server, back) = (Server::start(Some(&both)), Sink::start());
    let options = format!(
        "URL=https://127.0.0.1:{}/chat?token=secret\nFORMAT=template\nTEMPLATE_FILE=chat.json\nTLS_CA=root.pem\n",
        server.port
    );
    let mut hub = site("http-chat", &back, &options);
    hub.write("chat.json", r#"{"text": "$(from): $(subject)\n$(text)"}"#);
    hub.write("root.pem", &made.cert.pem());
    hub.start();
    send(&hub, &["a@hook.example"]);
    hub.wait_for_waiting(None, 0, SOON);
    let seen = server.seen();
    let text = String::from_utf8(seen[0].1.clone()).expect("text");
    assert_eq!(text, r#"{"text": "Fred <fred@origin.example>: Grüße\n.one\n..two\nend"}"#);
    assert!(seen[0].0.starts_with("POST /chat?token=secret HTTP/1.1\r\n"), "{}", seen[0].0);
    assert!(!hub.log().contains("token=secret"), "{}", hub.report());
    hub.stop();
    // Nobody is believed without it.
    hub.replace("http_hook_option", "TLS_CA=root.pem\n", "");
    hub.start();
    send(&hub, &["b@hook.example"]);
    wait_for("it is deferred", SOON, || hub.log().contains("no TLS with 127.0.0.1"));
    assert_eq!(server.seen().len(), 1);
    hub.stop();
}

#[test]
fn options_that_cannot_be_meant_are_told_and_the_mail_waits() {
    let back = Sink::start();
    let checked = site("http-check", &back, "FORMAT=xml\nIDLE_TIME=601\n").command(&["check"]);
    let all = format!("{}{}", checked.out, checked.err);
    assert!(
        all.contains("option-required") && all.contains("http_hook_option:2:11: warning[bad-option-value]"),
        "{all}"
    );
    let mut hub = site("http-wrong", &back, "URL=http://127.0.0.1:9/\nHEADERS_FILE=open\n");
    hub.write("open", "X: y\n");
    fs::set_permissions(hub.configuration().join("open"), fs::Permissions::from_mode(0o644)).expect("ours");
    hub.start();
    send(&hub, &["a@hook.example"]);
    wait_for("it is told", SOON, || hub.log().contains("others can read it"));
    assert_eq!(hub.waiting(Some("http_hook")), 1);
    hub.stop();
}
