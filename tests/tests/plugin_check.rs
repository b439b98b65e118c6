//! The conformance suite passes the plugins that are shipped, and finds each fault by the check that is for it.

use sluice_testkit::{Ran, built};
use sluice_tests::is_root;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
