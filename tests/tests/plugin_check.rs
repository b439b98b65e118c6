//! The conformance suite passes the plugins that are shipped, and finds each fault by the check that is for it.

use sluice_testkit::{Ran, Site, built};
use sluice_tests::{is_root, plugin_in_c};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `sluice plugin check FILE …`, in a folder of its own.
fn check(folder: &Path, file: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(built("sluice"))
        .args(["plugin", "check", "--format", "json"])
        .arg(file)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("the program");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The checks that failed, and what they say.
fn failed(ran: &Ran) -> Vec<(String, String)> {
    let rows = ran.json();
    assert!(rows.len() >= 3, "{}{}", ran.out, ran.err);
    let failed: Vec<(String, String)> = rows
        .iter()
        .filter(|row| row["verdict"] == "failed")
        .map(|row| {
            (row["check"].as_str().unwrap_or("").to_owned(), row["text"].as_str().unwrap_or("").to_owned())
        })
        .collect();
    assert_eq!(ran.code, if failed.is_empty() { 0 } else { 65 }, "{}{}", ran.out, ran.err);
    failed
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn passes(plugin: &str, arguments: &[&str]) {
    let folder = folder();
    let ran = check(folder.path(), &built(&format!("libsluice_{plugin}.so")), arguments);
    assert_eq!(failed(&ran), [], "{plugin}: {}", ran.err);
    assert!(ran.json().iter().all(|row| row["verdict"] == "passed"), "{}", ran.out);
}

/// Compiles the faulty plugin with one of its faults.
fn faulty(folder: &Path, fault: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = folder.join("libsluice_faulty.so");
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-g", "-pthread", "-I"])
        .arg(root.join("../include"))
        .arg(format!("-D{fault}"))
        .arg(root.join("src/fixtures/faulty.c"))
        .arg("-o")
        .arg(&library)
        .status();
    assert!(compiled.is_ok_and(|status| status.success()), "a C compiler is needed: apt-get install gcc");
    library
}

#[test]
fn the_bit_bucket_passes() {
    passes("bitbucket", &[]);
}

/// Plugins for which each message costs a file or a process are spared the great numbers.
fn spared<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let checks = ["options", "recipients", "order", "pause", "poll", "empty", "hostile", "addresses", "big"];
    let more = ["later-hub", "older-hub", "taken-away", "stop"];
    let only = checks.into_iter().chain(more).flat_map(|name| ["--only", name]);
    arguments.iter().copied().chain(only).collect()
}

#[test]
fn local_delivery_passes() {
    passes("local", &spared(&["--option", "MAILDIR_ROOT=boxes/%u", "--only", "hundred"]));
}

#[test]
fn programs_for_mail_pass() {
    let account = if is_root() { ["--option", "USER=nobody"].as_slice() } else { &[] };
    let arguments = [&["--option", "COMMAND=/bin/cat"], account].concat();
    passes("pipe", &spared(&arguments));
}

#[test]
fn parts_that_nobody_converts_pass() {
    passes("conversion", &spared(&["--only", "hundred"]));
}

#[test]
fn valgrind_finds_what_a_plugin_in_c_does_wrong() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("valgrind is not here; this is not tested: apt-get install valgrind");
        return;
    }
    let folder = folder();
    let arguments = ["--valgrind", "--only", "recipients", "--only", "stop"];
    let file = faulty(folder.path(), "NO_FAULT");
    assert_eq!(failed(&check(folder.path(), &file, &arguments)), []);
    let file = faulty(folder.path(), "LEAKS_MEMORY");
    let found = failed(&check(folder.path(), &file, &arguments));
    // It is found in whatever is delivered first, by the name of the function.
    assert!(found[0].0 == "one" && found[0].1.contains("definitely lost"), "{found:?}");
    assert!(found[0].1.contains("deliver") && found[0].1.contains("faulty.c"), "{found:?}");
}

#[test]
fn bringing_mail_in_again_passes() {
    passes("reprocess", &[]);
}

#[test]
fn a_plugin_in_c_passes() {
    let folder = folder();
    let file = faulty(folder.path(), "NO_FAULT");
    assert_eq!(failed(&check(folder.path(), &file, &[])), []);
}

#[test]
fn each_fault_is_found_by_the_check_for_it() {
    // The fault, the check, and a part of what it says.
    let cases = [
        ("SIZES", "later-hub", ""),
        ("NEEDS_ENQUEUE", "older-hub", "died of signal 11"),
        ("LEAKS_MEMORY", "leak", "memory grows by"),
        ("LEAKS_FILES", "leak", "files stay open"),
        ("LEAKS_FILES", "hundred", "files stay open"),
        ("LEAKS_THREADS", "hundred", "threads are left"),
        ("EIGHT_BITS", "hostile", "died of signal 6"),
        ("LARGE", "big", "died of signal"),
        ("COUNTS", "one", "who is not in the delivery"),
        ("LATE", "one", "of a delivery that it does not hold"),
    ];
    for (fault, name, says) in cases {
        let folder = folder();
        let file = faulty(folder.path(), fault);
        let found = failed(&check(folder.path(), &file, &["--only", name]));
        assert_eq!(found.len(), 1, "{fault}: {found:?}");
        assert!(found[0].0 == name && found[0].1.contains(says), "{fault}: {found:?}");
    }
}

#[test]
fn each_way_of_misbehaving_is_found() {
    let cases = [
        ("panic_in_create", "settings", "a panic in create"),
        ("fail_in_create", "settings", "the moon is in the wrong house"),
        ("no_such_mode", "settings", "MODE is `no_such_mode`"),
        ("ignores_stop", "settings", "did not come back within 2 s of a stop"),
        ("panic_in_run", "pause", "a panic between deliveries"),
        ("panic_on_delivery", "one", "a panic on"),
        ("panic_once", "one", "a panic after the first recipient"),
        ("hang", "one", "did not finish within 2s"),
        ("slow", "one", "did not finish within 2s"),
        ("leaks", "one", "did not finish within 2s"),
        ("never_settles", "one", "without a word about"),
        ("settles_twice", "one", "again; the first word counts"),
        ("settles_wrong_index", "one", "who is not in the delivery"),
        ("settles_late", "one", "did not finish within 2s"),
        ("returns_early", "one", "without being told to stop"),
        ("returns_error", "one", "no network today"),
        ("hang_in_stop", "hundred", "threads are left"),
        ("enqueues_nonsense", "one", "brought a message in"),
    ];
    for (mode, name, says) in cases {
        let folder = folder();
        let mode_option = format!("MODE={mode}");
        let arguments = ["--only", name, "--seconds", "2", "--option", &mode_option];
        let found = failed(&check(folder.path(), &built("libsluice_misbehaving.so"), &arguments));
        assert_eq!(found.len(), 1, "{mode}: {found:?}");
        assert!(found[0].0 == name && found[0].1.contains(says), "{mode}: {found:?}");
    }
}

#[test]
fn what_is_no_plugin_is_said_and_the_rest_is_not_run() {
    let folder = folder();
    let file = folder.path().join("libsluice_text.so");
    fs::write(&file, "no library, whatever its name says\n".repeat(20)).expect("a new file");
    let ran = check(folder.path(), &file, &[]);
    let found = failed(&ran);
    assert!(
        found.len() == 1 && found[0].0 == "file" && found[0].1.contains("is not a shared library"),
        "{found:?}"
    );
    assert!(ran.json().iter().skip(1).all(|row| row["verdict"] == "not-run"), "{}", ran.out);
    let missing = check(folder.path(), &folder.path().join("nothing.so"), &[]);
    assert!(failed(&missing)[0].1.contains("there is no plugin"), "{}", missing.out);
    let unknown = check(folder.path(), &built("libsluice_bitbucket.so"), &["--only", "hostil"]);
    assert!(unknown.code == 64 && unknown.err.contains("did you mean `hostile`?"), "{}", unknown.err);
    let option =
        check(folder.path(), &built("libsluice_bitbucket.so"), &["--option", "LOG_DISCARDED=perhaps"]);
    let found = failed(&option);
    assert!(found[0].0 == "settings" && found[0].1.contains("it must be 0 or 1"), "{found:?}");
}

#[test]
fn great_numbers_are_delivered_to_mailboxes_and_programs() {
    let checks = ["--only", "many", "--only", "leak", "--only", "crowd"];
    passes("local", &[&["--option", "MAILDIR_ROOT=boxes/%u", "--fewer", "20"], &checks[..]].concat());
    let account = if is_root() { ["--option", "USER=nobody"].as_slice() } else { &[] };
    passes("pipe", &[&["--option", "COMMAND=/bin/true", "--fewer", "20"], account, &checks].concat());
}

/// What each plugin that is shipped is given so that it can do something. A peer that is not there defers the mail, which keeps
/// the contract.
const SHIPPED: &[(&str, &[&str])] = &[
    ("archive", &["--option", "ARCHIVE_DIR=kept"]),
    ("bitbucket", &[]),
    ("bsmtp", &["--option", "OUT_DIR=out", "--option", "STATE_DIR=state", "--option", "LINK=check"]),
    ("conversion", &[]),
    ("defragment", &["--option", "FOLDER=pieces"]),
    ("directory", &["--option", "DROP_DIR=dropped", "--option", "PICKUP_DIR=put"]),
    ("http", &["--option", "URL=http://127.0.0.1:1/hook"]),
    ("local", &["--option", "MAILDIR_ROOT=boxes/%u"]),
    ("pipe", &["--option", "COMMAND=/bin/true"]),
    ("reprocess", &[]),
    ("tcp", &["--keyword", "daemon=[127.0.0.1]", "--keyword", "port=1"]),
];

/// The samples in Rust, which are built as plugins are.
const SAMPLES: &[(&str, &[&str])] = &[
    (
        "pop3",
        &[
            "--option",
            "SERVER=127.0.0.1:1",
            "--option",
            "USER=fred",
            "--option",
            "PASSWORD_FILE=password",
            "--option",
            "RECIPIENT=fred@check.example",
        ],
    ),
    ("webhook", &["--option", "URL=http://127.0.0.1:1/hook"]),
    ("words", &["--option", "WORDS=lottery", "--option", "ATTACHMENTS=.exe"]),
];

/// The folders of a folder of this repository.
fn packages(of: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of);
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().into_string().expect("a name")).collect()
}

#[test]
fn every_plugin_and_sample_keeps_the_contract() {
    let named = |table: &[(&str, &[&str])], more: &str| -> BTreeSet<String> {
        table.iter().map(|(name, _)| (*name).to_owned()).chain([more.to_owned()]).collect()
    };
    // Each has its line above; the fixture that misbehaves and the sample in C have tests of their own.
    assert_eq!(packages("plugins"), named(SHIPPED, "misbehaving"));
    assert_eq!(packages("samples/plugins"), named(SAMPLES, "fifo"));
    for (name, arguments) in SHIPPED.iter().chain(SAMPLES) {
        let folder = folder();
        for made in ["out", "dropped", "put"] {
            fs::create_dir(folder.path().join(made)).expect("a folder");
        }
        fs::write(folder.path().join("password"), "secret\n").expect("a file");
        fs::set_permissions(folder.path().join("password"), fs::Permissions::from_mode(0o600))
            .expect("its mode");
        let account = if is_root() && ["pipe", "conversion"].contains(name) {
            ["--option", "USER=nobody"].as_slice()
        } else {
            &[]
        };
        let checks = [
            "one",
            "recipients",
            "order",
            "empty",
            "hostile",
            "addresses",
            "filter",
            "later-hub",
            "older-hub",
            "stop",
        ];
        let only: Vec<&str> = checks.into_iter().flat_map(|check| ["--only", check]).collect();
        let ran = check(
            folder.path(),
            &built(&format!("libsluice_{name}.so")),
            &[arguments, account, &only].concat(),
        );
        assert_eq!(failed(&ran), [], "{name}: {}", ran.err);
    }
}

#[test]
fn the_sample_in_c_keeps_the_contract() {
    let folder = folder();
    let file = plugin_in_c("samples/plugins/fifo/fifo.c", "fifo", folder.path());
    // Nobody reads there, so everything is deferred.
    assert!(Command::new("mkfifo").arg(folder.path().join("line")).status().is_ok_and(|made| made.success()));
    let ran = check(folder.path(), &file, &["--option", "DEVICE=line", "--fewer", "20"]);
    assert_eq!(failed(&ran), [], "{}", ran.err);
}

#[test]
fn a_filter_is_shown_what_strangers_send_and_its_faults_are_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("crates/host/tests/fixtures/filter.c")).expect("the fixture");
    let filtered = "    uint32_t verdict = SLUICE_FILTER_ACCEPT;\n    if (content == NULL) {";
    assert!(text.contains(filtered));
    // What the filter does with every message, and a part of what is found.
    for (does, says) in [
        ("", None),
        ("free(content); return SLUICE_FILTER_FAILED;", None),
        ("free(content); return 77;", Some("returned 77, which has no meaning")),
        ("if (message->body_size > 1000000) { abort(); }", Some("died of signal 6")),
        (
            "if (message->recipient_count > 1) { sleep_for(60000); }",
            Some("with an empty message: it did not return within 2s"),
        ),
        ("edit(to, SLUICE_EDIT_ADD_LAST, 0, \"X-A: y\", \"x\");", Some("it gives a change of the header")),
        ("if (fopen(\"/dev/null\", \"r\") == NULL) { abort(); }", Some("files stay open")),
    ] {
        let folder = folder();
        let source = folder.path().join("filter.c");
        let changed = text.replace(
            filtered,
            &format!("    uint32_t verdict = SLUICE_FILTER_ACCEPT;\n    {does}\n    if (content == NULL) {{"),
        );
        fs::write(&source, changed).expect("a file");
        let file = plugin_in_c(source.to_str().expect("a path"), "filter", folder.path());
        let ran = check(folder.path(), &file, &["--only", "filter", "--seconds", "2"]);
        let found = failed(&ran);
        match says {
            None => assert_eq!(found, [], "{does}: {}", ran.err),
            Some(says) => {
                assert!(
                    found.len() == 1 && found[0].0 == "filter" && found[0].1.contains(says),
                    "{does}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn a_check_gives_no_plugin_the_folder_of_the_spool() {
    let site = Site::new("check-spool");
    let text = "hub.example $U@hub.example\n\nl\nhub.example\n\ntcp_local smtp\nTCP-DAEMON\n\ndefragment\nDEFRAGMENT-DAEMON\n";
    site.write("sluice.cnf", text);
    let config = site.configuration().display().to_string();
    let arguments = ["--config", &config, "--channel", "defragment"];
    let ran = check(site.folder(), &built("libsluice_defragment.so"), &arguments);
    let found = failed(&ran);
    assert!(found[0].0 == "settings" && found[0].1.contains("does not say where its spool is"), "{found:?}");
    // With a folder of its own there is nothing against it.
    let with_folder = [&arguments[..], &["--option", "FOLDER=pieces", "--only", "one"]].concat();
    assert_eq!(failed(&check(site.folder(), &built("libsluice_defragment.so"), &with_folder)), []);
}

#[test]
fn a_program_that_outlives_a_check_does_not_hold_it_up() {
    let folder = folder();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("src/fixtures/faulty.c")).expect("the fixture");
    let create = "static int32_t create(";
    assert!(text.contains(create));
    // It has the check's standard output and error open for as long as it lives.
    let starts = "#include <stdlib.h>\n__attribute__((constructor)) static void start(void) {\n    \
                  if (system(\"sleep 100 & echo $! >> left; echo some words >&2\") != 0) {\n        abort();\n    }\n}\n\n";
    let text = text.replacen(create, &format!("{starts}{create}"), 1);
    let begun = Instant::now();
    let mut found = Vec::new();
    for text in [text.clone(), text.replace("    *channel = faulty;", "    (void)channel;\n    abort();")] {
        fs::write(folder.path().join("faulty.c"), text).expect("a file");
        let source = folder.path().join("faulty.c");
        let file = plugin_in_c(source.to_str().expect("a path"), "faulty", folder.path());
        found.push(failed(&check(folder.path(), &file, &["--only", "one"])));
    }
    let took = begun.elapsed();
    let left = fs::read_to_string(folder.path().join("left")).expect("the ids of what was left");
    let _ = Command::new("kill").args(left.split_whitespace()).status();
    assert_eq!(found[0], []);
    assert!(
        found[1][0].0 == "settings" && found[1][0].1.contains("died of signal 6; it last said: some words"),
        "{found:?}"
    );
    assert!(took < Duration::from_secs(60), "{took:?}");
}
