//! `sluice plugin new`: the project that it makes builds, its test passes, and a hub delivers through what was built.
#![allow(clippy::unwrap_used)]

use sluice_testkit::{Program, Talk, built, free_port, wait_for};
use sluice_tests::SOON;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn sluice(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(built("sluice")).args(arguments).current_dir(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a program of the project to its end; it must succeed.
fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}:\n{}", said(&output));
    said(&output)
}

/// The sample configuration is accepted, and a hub that runs it delivers by the plugin.
fn delivers(project: &Path, host: &str) {
    let port = free_port();
    let services = project.join("sample/dispatcher.cnf");
    let text = fs::read_to_string(&services).unwrap();
    fs::write(&services, text.replace("PORT=10025", &format!("PORT={port}"))).unwrap();
    fs::create_dir(project.join("spool")).unwrap();
    fs::create_dir(project.join("mail")).unwrap();
    // Where the umask lets the group write, the hub would not load it.
    run(project, "chmod", &["-R", "go-w", "."]);
    let checked = sluice(project, &["check", "--config", "sample"]);
    assert_eq!(
        (checked.status.code(), said(&checked).trim()),
        (Some(0), "sample: nothing to complain about")
    );

    let log = project.join("log");
    let arguments = ["run".into(), "--config".into(), project.join("sample").into_os_string()];
    let hub = Program::start(&built("sluice"), &arguments, &log).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_for("the hub greets", SOON, || matches!(Talk::open(address), Ok((_, reply)) if reply.code == 220));
    let mut talk = Talk::open(address).unwrap().0;
    talk.want("EHLO client.example", 250);
    let message = b"Subject: hello\r\n\r\n..dots\r\n.\r\n";
    talk.want("MAIL FROM:<ann@hub.example>", 250);
    talk.want(&format!("RCPT TO:<fred@{host}.example>"), 250);
    talk.want("DATA", 354);
    talk.raw(message).unwrap();
    assert_eq!(talk.read().unwrap().code, 250);
    let written = || {
        let mut files = fs::read_dir(project.join("mail")).unwrap().flatten().map(|entry| entry.path());
        files.find(|path| path.extension().is_some_and(|extension| extension == "eml"))
    };
    wait_for("the plugin writes it", SOON, || written().is_some() || panic_when_ended(&log));
    let text = fs::read_to_string(written().unwrap()).unwrap();
    assert!(text.contains("\nSubject: hello\n\n.dots\n"), "{text}\n{}", fs::read_to_string(&log).unwrap());
    drop(hub);
}

/// `sluice plugin check` finds nothing in the library. Each message costs two syncs, so that the great numbers are left out.
fn keeps_the_contract(project: &Path) {
    fs::create_dir(project.join("tried")).unwrap();
    let checks = ["options", "recipients", "order", "poll", "empty", "hostile", "addresses", "big"];
    let more = ["later-hub", "older-hub", "taken-away", "stop", "hundred"];
    let only: Vec<&str> = checks.into_iter().chain(more).flat_map(|name| ["--only", name]).collect();
    let settings = ["--config", "sample", "--channel", "bell", "--option", "FOLDER=../tried"];
    let checked =
        sluice(project, &[&["plugin", "check", "libsluice_bell.so"][..], &settings[..], &only[..]].concat());
    let text = said(&checked);
    assert_eq!(checked.status.code(), Some(0), "{text}");
    let passed = text.lines().filter(|line| line.starts_with("ok      ")).count();
    assert_eq!(passed, 3 + checks.len() + more.len(), "{text}");
    // It was given mail that it could write.
    assert!(text.lines().any(|line| line == "ok      one: 1 delivered"), "{text}");
    assert!(text.ends_with("the plugin keeps the contract, as far as this can tell\n"), "{text}");
}

/// False; a line of the log that says that the plugin was not loaded ends the wait with its words.
fn panic_when_ended(log: &Path) -> bool {
    let text = fs::read_to_string(log).unwrap_or_default();
    assert!(!text.contains("channel stopped"), "{text}");
    false
}

#[test]
fn a_project_in_rust_builds_and_delivers() {
    let folder = tempfile::tempdir().unwrap();
    let made = sluice(folder.path(), &["plugin", "new", "chat_room"]);
    assert_eq!(
        said(&made),
        "made a channel in Rust: chat_room\n\
         next: cd chat_room && cargo test && cargo build; README.md goes on from there\n"
    );
    assert!(made.status.success());
    let project = folder.path().join("chat_room");
    let tests = run(&project, "cargo", &["test", "--offline"]);
    assert!(tests.contains("test messages_are_written ... ok") && tests.contains("3 passed"), "{tests}");
    assert!(!tests.contains("warning"), "{tests}");
    run(&project, "cargo", &["build", "--offline"]);
    delivers(&project, "chat-room");
}

#[test]
fn a_project_in_c_builds_and_delivers() {
    let folder = tempfile::tempdir().unwrap();
    // An empty folder is as good as none.
    let project = folder.path().join("here");
    fs::create_dir(&project).unwrap();
    let made = sluice(&project, &["plugin", "new", "bell", "--lang", "c", "."]);
    assert_eq!(
        said(&made),
        "made a channel in C: .\nnext: cd . && make check; README.md goes on from there\n"
    );
    assert!(run(&project, "make", &["check"]).contains("all is well"));
    delivers(&project, "bell");
    keeps_the_contract(&project);
}

#[test]
fn wrong_names_and_places_are_told_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], code: i32| {
        let output = sluice(folder.path(), &[&["plugin", "new"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        said(&output)
    };
    assert_eq!(
        refused(&["Chat"], 64),
        "sluice: `Chat` is no name for a plugin: it begins with a lower-case letter and has lower-case letters, digits and `_`\n"
    );
    assert!(refused(&["../chat"], 64).starts_with("sluice: `../chat` is no name for a plugin: "));
    assert!(refused(&["tcp_chat"], 64).contains("are those of the plugin tcp"));
    assert!(refused(&["chat", "--lang", "cobol"], 64).contains("possible values: rust, c"));
    assert_eq!(
        refused(&["chat", "--sdk", "nowhere"], 64),
        "sluice: there is no crate sluice-sdk in nowhere, nor in sdk or crates/sdk below it\n"
    );
    assert!(refused(&["chat", "--lang", "c", "--sdk", "."], 64).contains("--sdk is for Rust"));
    assert!(refused(&["chat", "no/such/folder"], 65).contains("cannot make the folder no/such/folder: "));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    fs::create_dir(folder.path().join("chat")).unwrap();
    fs::write(folder.path().join("chat/mine"), "mine").unwrap();
    assert_eq!(refused(&["chat"], 65), "sluice: chat is not empty; nothing was written\n");
    assert_eq!(fs::read_dir(folder.path().join("chat")).unwrap().count(), 1);
    fs::write(folder.path().join("file"), "mine").unwrap();
    assert_eq!(
        refused(&["chat", "file"], 65),
        "sluice: file is there already and no folder; nothing was written\n"
    );
    assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "mine");

    // Root may write everywhere, so what cannot be written is a place where nobody can.
    assert!(refused(&["chat", "/proc/chat"], 65).contains("cannot make the folder /proc/chat: "));
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let output = sluice(folder.path(), &["plugin", "new", "chat", "closed/chat"]);
    assert!(output.status.success() || said(&output).contains("cannot make the folder closed/chat: "));
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn an_sdk_of_ones_own_is_used_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let made = sluice(folder.path(), &["plugin", "new", "chat", "--sdk", ours.to_str().unwrap()]);
    assert!(made.status.success(), "{}", said(&made));
    let manifest = fs::read_to_string(folder.path().join("chat/Cargo.toml")).unwrap();
    let line = format!("sluice-sdk = {{ path = \"{}\" }}", ours.join("crates/sdk").display());
    assert!(manifest.contains(&line), "{manifest}");
    assert!(!folder.path().join("chat/sdk").exists());
}
