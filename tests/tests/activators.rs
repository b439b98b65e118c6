//! Activators in a running hub: servers that are asked by a schedule and by command, what they answer and what follows
//! from it, by rows of the list of features (4.5 to 4.8, 6.3).
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use sluice_testkit::{Batch, Manner, Sink, Site, maildir, wait_for, watch};
use sluice_tests::{SOON, WHILE};

const CONFIGURATION: &str = "\
site7.example $U@site7.example
shop.example $U@site7.example
. $U%$H$D@TCP-DAEMON

l
site7.example

tcp_local smtp nomx disableetrn
TCP-DAEMON
";

/// A running site with these activators.
fn site(name: &str, activators: &str) -> Site {
    let mut site = Site::new(name);
    site.write("sluice.cnf", CONFIGURATION);
    site.write("l_option", "MAILDIR_ROOT=../mail\n");
    site.write("sites.cnf", activators);
    fs::set_permissions(site.configuration().join("sites.cnf"), Permissions::from_mode(0o600)).unwrap();
    site.start();
    site
}

fn asked(server: &Sink) -> Vec<String> {
    server.commands().into_iter().filter_map(|line| line.strip_prefix("ETRN ").map(str::to_owned)).collect()
}

fn activator(name: &str, server: &Sink, more: &str) -> String {
    format!("[ACTIVATOR={name}]\nSERVER=127.0.0.1\nPORT={}\nTLS=no\n{more}\n", server.port())
}

fn status(site: &Site, name: &str) -> Value {
    let rows = site.json(&["activator", "status"]);
    rows.into_iter().find(|row| row["activator"] == name).unwrap()
}

fn answering(reply: &str) -> Sink {
    let server = Sink::start();
    server.behave(Manner { etrn: Some(reply.to_owned()), ..Manner::default() });
    server
}

#[test]
fn row_4_5_and_4_6_several_activators_send_the_names_that_the_providers_gave() {
    let (one, two) = (Sink::start(), Sink::start());
    let text = activator("one", &one, "NAMES=#queue7, @a.example") + &activator("two", &two, "");
    let site = site("act-names", &text);
    assert_eq!(site.command(&["activator", "run", "one", "two"]).code, 0);
    assert_eq!(asked(&one), ["#queue7", "@a.example"]);
    assert_eq!(asked(&two), ["site7.example", "shop.example"]);
    let row = status(&site, "one");
    assert_eq!((row["standing"].as_str(), &row["alert"]), (Some("done"), &Value::Null), "{row}");
    assert!(row["last_run"].is_string() && row["next_run"].is_null());
    assert_eq!(row["answer"], "#queue7: 250 2.0.0 ok, queuing; @a.example: 250 2.0.0 ok, queuing");
    // A name that is nearly right, and a hub that is not there.
    let wrong = site.command(&["activator", "run", "ome"]);
    assert_eq!(wrong.code, 65);
    assert!(wrong.err.contains("did you mean one?"), "{}", wrong.err);
}

#[test]
fn list_and_show_tell_how_they_are_doing_while_a_hub_runs_and_that_none_does_otherwise() {
    let (one, two) = (Sink::start(), answering("459 4.7.1 not you"));
    let text = activator("one", &one, "NAMES=a.example")
        + &activator("two", &two, "NAMES=b.example\nSCHEDULE=every 10m");
    let mut site = site("act-shown", &text);
    // Before the first run.
    let row = &site.json(&["activator", "show", "one"])[0];
    assert_eq!((&row["hub_runs"], &row["runs"], &row["last_run"]), (&true.into(), &0.into(), &Value::Null));
    site.command(&["activator", "run", "one", "two"]);
    let rows = site.json(&["activator", "list"]);
    for row in &rows {
        let name = row["activator"].as_str().unwrap();
        let state = status(&site, name);
        for field in ["running", "runs", "last_run", "standing", "answer", "next_run", "waits_until", "alert"]
        {
            assert_eq!(row[field], state[field], "{field} of {name}");
        }
        assert_eq!(site.json(&["activator", "show", name])[0]["answer"], state["answer"]);
    }
    assert_eq!((&rows[0]["standing"], &rows[1]["standing"]), (&"done".into(), &"refused".into()));
    // The refusal has put off what the schedule says.
    assert!(seconds_between(&rows[1]["last_run"], &rows[1]["next_run"]) >= 3600, "{}", rows[1]);
    let shown = site.command(&["activator", "show", "two"]);
    assert!(shown.out.contains("refused") && shown.out.contains("459 4.7.1 not you"), "{}", shown.out);
    let listed = site.command(&["activator", "list"]);
    assert!(listed.out.contains("459 4.7.1 not you") && listed.err.is_empty(), "{listed:?}");
    site.stop();
    let listed = site.command(&["activator", "list"]);
    assert_eq!(listed.code, 0);
    assert!(listed.err.contains("no hub runs") && !listed.out.contains("refused"), "{listed:?}");
    let row = &site.json(&["activator", "show", "two"])[0];
    assert_eq!(
        (&row["hub_runs"], &row["standing"], &row["runs"]),
        (&false.into(), &Value::Null, &Value::Null)
    );
    assert!(row["next_run"].is_string(), "the schedule is known without a hub: {row}");
    let shown = site.command(&["activator", "show", "two"]);
    assert!(
        shown.out.lines().any(|line| line.trim().starts_with("a hub runs") && line.ends_with(" no")),
        "{}",
        shown.out
    );
}

#[test]
fn row_4_7_a_schedule_runs_them_and_a_reload_changes_it() {
    let server = Sink::start();
    let mut site =
        site("act-schedule", &activator("provider", &server, "NAMES=a.example\nSCHEDULE=every 1s"));
    wait_for("three runs", SOON, || asked(&server).len() >= 3);
    assert!(status(&site, "provider")["next_run"].is_string());
    site.write("sites.cnf", &activator("provider", &server, "NAMES=a.example"));
    site.hang_up();
    wait_for("the reload", SOON, || status(&site, "provider")["next_run"].is_null());
    wait_for("the end of the last run", SOON, || status(&site, "provider")["running"] == false);
    let runs = asked(&server).len();
    watch("nobody is asked any more", WHILE, || asked(&server).len() == runs);
}

#[test]
fn row_4_7_on_link_up() {
    let (one, two) = (Sink::start(), Sink::start());
    let text =
        activator("one", &one, "NAMES=a.example\nON_LINK_UP=1") + &activator("two", &two, "NAMES=a.example");
    let site = site("act-link", &text);
    let rows = site.json(&["activator", "run", "--on-link-up"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["activator"], "one");
    wait_for("the run", SOON, || asked(&one) == ["a.example"]);
    wait_for("its end", SOON, || status(&site, "one")["running"] == false);
    // The command that releases sites asks them too.
    assert_eq!(site.command(&["trigger", "--on-link-up"]).out, "one: asked\n");
    wait_for("another run", SOON, || asked(&one) == ["a.example", "a.example"]);
    watch("the other is left alone", Duration::from_millis(500), || two.connections() == 0);
}

#[test]
fn a_refusal_is_an_alert_and_is_left_alone_for_hours_and_trouble_for_minutes() {
    for (reply, code, standing, hours) in [
        ("459 4.7.1 not you", 77, "refused", true),
        ("501 what", 77, "refused", true),
        ("502 off", 77, "refused", true),
        ("458 not now", 75, "later", false),
        ("421 closing", 75, "later", false),
    ] {
        let server = answering(reply);
        let site =
            site("act-refused", &activator("provider", &server, "NAMES=a.example\nSCHEDULE=every 10s"));
        // The schedule may have been quicker.
        site.command(&["activator", "run", "provider"]);
        let row = status(&site, "provider");
        assert_eq!(row["standing"], standing, "{row}");
        assert_eq!(row["alert"].is_string(), hours, "{row}");
        let wait = seconds_between(&row["last_run"], &row["next_run"]);
        if hours {
            assert!(wait >= 3600, "{row}");
        } else {
            assert!((60..=120).contains(&wait), "{row}");
        }
        assert_eq!(site.command(&["activator", "run", "provider"]).code, code);
    }
    let site = site("act-dead", "[ACTIVATOR=dead]\nSERVER=127.0.0.1\nPORT=1\nNAMES=a.example\n");
    let ran = site.command(&["activator", "run", "dead"]);
    assert_eq!(ran.code, 75, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("no connection to"), "{}", ran.out);
}

/// Between two times of the form `2026-11-30T10:53:21.838Z`, of the same month.
fn seconds_between(from: &Value, to: &Value) -> u64 {
    let seconds = |value: &Value| {
        value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second().cast_unsigned()
    };
    seconds(to).saturating_sub(seconds(from))
}

#[test]
fn promised_mail_that_does_not_come_is_an_alert_and_mail_that_comes_ends_the_wait() {
    for reply in ["252 pending", "253 2.0.0 OK, 4 pending messages for node shop.example started"] {
        let server = answering(reply);
        let site = site("act-watch", &activator("provider", &server, "NAMES=shop.example\nWATCH=2s"));
        assert_eq!(site.command(&["activator", "run", "provider"]).code, 0);
        assert!(status(&site, "provider")["waits_until"].is_string());
        wait_for("the alert", SOON, || status(&site, "provider")["alert"].is_string());
        let row = status(&site, "provider");
        assert!(row["alert"].as_str().unwrap().contains("no mail came within 2 s"), "{row}");
        assert!(site.log().contains("promised mail did not come"));
        // The next run that goes well takes the alert back; and mail for the name ends the wait.
        site.replace("sites.cnf", "WATCH=2s", "WATCH=1h");
        assert_eq!(site.command(&["reload"]).code, 0);
        assert_eq!(site.command(&["activator", "run", "provider"]).code, 0);
        assert!(status(&site, "provider")["waits_until"].is_string());
        Batch::new(site.address(), "fred@shop.example", 1).send_all();
        let row = status(&site, "provider");
        assert!(row["waits_until"].is_null() && row["alert"].is_null(), "{row}");
    }
    for reply in ["250 ok", "251 nothing", "253 OK, 0 pending messages"] {
        let server = answering(reply);
        let site = site("act-nothing", &activator("provider", &server, "NAMES=shop.example\nWATCH=1s"));
        assert_eq!(site.command(&["activator", "run", "provider"]).code, 0);
        assert!(status(&site, "provider")["waits_until"].is_null());
    }
}

/// An ATRN provider that keeps one message for its customer until it has read the 250 for it, and hangs up after so many
/// octets of what it has to say.
struct Provider {
    port: u16,
    plan: Arc<Plan>,
}

#[derive(Default)]
struct Plan {
    /// Octets after which the line is cut.
    cut: AtomicUsize,
    /// Octets that a whole session has.
    whole: AtomicUsize,
    /// The messages it keeps.
    kept: Mutex<Vec<String>>,
    heard: Mutex<Vec<String>>,
    /// The reply to ATRN.
    reply: Mutex<String>,
}

impl Provider {
    fn start() -> Provider {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let plan = Arc::new(Plan::default());
        plan.cut.store(usize::MAX, Ordering::SeqCst);
        *plan.reply.lock().unwrap() = "250 2.0.0 OK now reversing the connection".to_owned();
        let ours = Arc::clone(&plan);
        // Ends with the process of the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // How a session ends is what the test looks at from the other side.
                let _ = serve(&stream, &ours);
            }
        });
        Provider { port, plan }
    }

    fn keep(&self, message: &str) {
        self.plan.kept.lock().unwrap().push(message.to_owned());
    }

    fn kept(&self) -> usize {
        self.plan.kept.lock().unwrap().len()
    }

    fn activator(&self) -> String {
        format!(
            "[ACTIVATOR=isp]\nSERVER=127.0.0.1\nPORT={}\nMETHOD=atrn\nTLS=no\nLOGIN=site\nPASSWORD=pencil\nNAMES=shop.example\n",
            self.port
        )
    }
}

fn serve(stream: &TcpStream, plan: &Plan) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut left = plan.cut.load(Ordering::SeqCst);
    let mut said = 0;
    let mut say = |text: &str| -> std::io::Result<()> {
        let octets = text.as_bytes();
        said += octets.len();
        plan.whole.store(said, Ordering::SeqCst);
        let mut writer = stream;
        writer.write_all(&octets[..octets.len().min(left)])?;
        if left < octets.len() {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        left -= octets.len();
        Ok(())
    };
    let mut hear = || -> std::io::Result<String> {
        let mut whole = String::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            plan.heard.lock().unwrap().push(line.trim_end().to_owned());
            whole.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') || !line.as_bytes()[..3].iter().all(u8::is_ascii_digit) {
                return Ok(whole);
            }
        }
    };
    say("220 provider.example odmr\r\n")?;
    hear()?;
    say("250-provider.example\r\n250-AUTH CRAM-MD5\r\n250 ATRN\r\n")?;
    hear()?;
    say("334 PDE4OTYuNjk3MTcwOTUyQHByb3ZpZGVyLmV4YW1wbGU+\r\n")?;
    hear()?;
    say("235 2.7.0 welcome\r\n")?;
    hear()?;
    let reply = plan.reply.lock().unwrap().clone();
    say(&format!("{reply}\r\n"))?;
    if !reply.starts_with("250") {
        hear()?;
        return say("221 2.0.0 bye\r\n");
    }
    // The roles are turned: it greets us.
    hear()?;
    say("EHLO provider.example\r\n")?;
    hear()?;
    loop {
        let next = plan.kept.lock().unwrap().first().cloned();
        let Some(message) = next else { break };
        say("MAIL FROM:<anna@far.example>\r\n")?;
        hear()?;
        say("RCPT TO:<fred@shop.example>\r\n")?;
        if !hear()?.starts_with("250") {
            break;
        }
        say("DATA\r\n")?;
        hear()?;
        say(&format!("Subject: {message}\r\n\r\nbody\r\n.\r\n"))?;
        let answer = hear()?;
        assert!(answer.starts_with("250"), "{answer}");
        plan.kept.lock().unwrap().remove(0);
    }
    say("QUIT\r\n")?;
    hear().map(drop)
}

fn delivered(site: &Site, subject: &str) -> usize {
    let messages = maildir(&site.folder().join("mail/fred"));
    messages
        .iter()
        .filter(|one| String::from_utf8_lossy(one).contains(&format!("Subject: {subject}")))
        .count()
}

#[test]
fn row_6_3_mail_of_an_atrn_provider_comes_in_by_our_own_front_door() {
    let provider = Provider::start();
    let site = site("act-atrn", &provider.activator());
    provider.keep("one");
    provider.keep("two");
    let ran = site.command(&["activator", "run", "isp"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("2 messages came"), "{}", ran.out);
    assert_eq!(provider.kept(), 0);
    wait_for("the mail", SOON, || delivered(&site, "one") == 1 && delivered(&site, "two") == 1);
    let heard = provider.plan.heard.lock().unwrap().clone();
    assert!(heard.contains(&"ATRN shop.example".to_owned()) && heard.contains(&"AUTH CRAM-MD5".to_owned()));
    assert!(heard.iter().any(|line| line.starts_with("220 site7.example")), "{heard:?}");
    // Nothing of what belongs to other connections is offered on this one.
    for word in ["STARTTLS", "AUTH", "ETRN", "ATRN"] {
        let offered = |line: &String| line.starts_with("250") && line[4..].starts_with(word);
        assert!(!heard.iter().any(offered), "{word}: {heard:?}");
    }
}

#[test]
fn mail_of_an_atrn_provider_comes_in_by_the_channel_of_its_activator() {
    let provider = Provider::start();
    let mut site = site("act-channel", &provider.activator());
    site.stop();
    let channels = format!("{CONFIGURATION}\ntcp_provider smtp\nPROVIDER-DAEMON\n");
    site.write("sluice.cnf", &channels);
    // What listeners take is not for the shop.
    site.write("mappings", "ORIG_SEND_ACCESS\n\n    tcp_local|*|l|*    $NNot$ by$ this$ way\n");
    site.start();
    provider.keep("one");
    let ran = site.command(&["activator", "run", "isp"]);
    assert!(ran.out.contains("0 messages came"), "{}{}", ran.out, ran.err);
    assert_eq!(provider.kept(), 1, "the table holds for the channel of the listener");

    // A channel that there is not is refused with the file left as it was.
    let before = fs::read_to_string(site.configuration().join("sites.cnf")).unwrap();
    let wrong = site.command(&["activator", "set", "isp", "--channel", "tcp_providr"]);
    assert_eq!(wrong.code, 78, "{}", wrong.err);
    assert!(wrong.err.contains("site-unknown-channel"), "{}", wrong.err);
    assert!(wrong.err.contains("did you mean `tcp_provider`?"), "{}", wrong.err);
    assert_eq!(fs::read_to_string(site.configuration().join("sites.cnf")).unwrap(), before);

    assert_eq!(site.command(&["activator", "set", "isp", "--channel", "TCP_Provider"]).code, 0);
    assert_eq!(site.json(&["activator", "show", "isp"])[0]["channel"], "tcp_provider");
    let ran = site.command(&["activator", "run", "isp"]);
    assert!(ran.out.contains("1 message came"), "{}{}", ran.out, ran.err);
    wait_for("the mail", SOON, || delivered(&site, "one") == 1);
    assert_eq!(provider.kept(), 0);
    site.stop();
}

#[test]
fn each_answer_of_an_atrn_provider_has_its_meaning() {
    for (reply, code, standing) in [
        ("453 4.0.0 you have no mail", 0, "done"),
        ("450 4.7.1 refused", 77, "refused"),
        ("451 4.3.0 not now", 75, "later"),
        ("502 5.5.1 what", 77, "refused"),
        ("530 5.7.0 log in", 77, "refused"),
    ] {
        let provider = Provider::start();
        *provider.plan.reply.lock().unwrap() = reply.to_owned();
        let site = site("act-atrn-answers", &provider.activator());
        let ran = site.command(&["activator", "run", "isp"]);
        assert_eq!(ran.code, code, "{reply}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains(reply), "{}", ran.out);
        assert_eq!(status(&site, "isp")["standing"], standing);
    }
}

#[test]
fn row_6_7_nothing_is_lost_when_the_line_of_an_atrn_session_drops_at_any_octet() {
    let provider = Provider::start();
    let site = site("act-cut", &provider.activator());
    provider.keep("first");
    assert_eq!(site.command(&["activator", "run", "isp"]).code, 0);
    let whole = provider.plan.whole.load(Ordering::SeqCst);
    assert!(whole > 300, "{whole}");
    for cut in 0..whole {
        let subject = format!("cut {cut}.");
        provider.keep(&subject);
        provider.plan.cut.store(cut, Ordering::SeqCst);
        let ran = site.command(&["activator", "run", "isp"]);
        // What was answered with 250 is ours, whatever came of the rest of the session.
        let was_kept = provider.kept() == 1;
        assert!(ran.code == 75, "cut at {cut}: {} {}{}", ran.code, ran.out, ran.err);
        if was_kept {
            provider.plan.cut.store(usize::MAX, Ordering::SeqCst);
            let ran = site.command(&["activator", "run", "isp"]);
            assert_eq!(ran.code, 0, "after a cut at {cut}: {}{}", ran.out, ran.err);
        }
        assert_eq!(provider.kept(), 0, "cut at {cut}");
    }
    for cut in 0..whole {
        let subject = format!("cut {cut}.");
        wait_for("each message once", SOON, || delivered(&site, &subject) >= 1);
        assert_eq!(delivered(&site, &subject), 1, "cut at {cut}");
    }
}
