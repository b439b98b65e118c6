//! What is loaded and what is refused, each with its own words; and a plugin in C from end to end.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_host::{FileState, Host, HostEvent, LoadError, OptionKind, Setting, Spec};
use sluice_mail::Outcome;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use support::*;

/// The error as the operator reads it, with the folder written as `DIR`.
fn refusal(folder: &Path, name: &str) -> String {
    let host = Host::new(vec![folder.to_owned()]);
    let error = host.load(name).unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text.replace(&folder.canonicalize().unwrap().display().to_string(), "DIR")
        .replace(&folder.display().to_string(), "DIR")
}

/// Compiles the plugin in C with these macros and says why it is refused.
fn refused_when(defines: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "drain.c", "drain", defines);
    refusal(folder.path(), "drain")
}

#[test]
fn a_plugin_is_known_without_running_it() {
    let (_folder, host, plugin) = misbehaving();
    assert_eq!(
        (plugin.name(), plugin.version(), plugin.abi_version()),
        ("misbehaving", env!("CARGO_PKG_VERSION"), 1)
    );
    assert_eq!(plugin.description(), "fails in every way; for tests only");
    let options: Vec<_> =
        plugin.options().iter().map(|one| (one.name.as_str(), one.kind, one.default.as_deref())).collect();
    assert_eq!(
        options,
        [
            ("MODE", OptionKind::Text, Some("delivers_all")),
            ("PAUSE", OptionKind::Integer, Some("60000")),
            ("PLACE", OptionKind::Text, Some("/nowhere")),
            ("FOLDER", OptionKind::Path, None),
        ]
    );
    let bitbucket = host.load("bitbucket").unwrap();
    assert_eq!(bitbucket.options()[0].name, "LOG_DISCARDED");
    let names: Vec<String> = host.loaded().iter().map(|plugin| plugin.name().to_owned()).collect();
    assert_eq!(names, ["bitbucket", "misbehaving"]);
}

#[test]
fn lines_of_an_option_file_are_checked_without_running_it() {
    let (_folder, host, plugin) = misbehaving();
    let check =
        |name: &str, value: &str| plugin.check_option(name, value).map_err(|problem| problem.to_string());
    assert_eq!(check("mode", "anything"), Ok(()));
    assert_eq!(check("PAUSE", " 12 "), Ok(()));
    assert_eq!(check("PAUZE", "12"), Err("plugin misbehaving has no option PAUZE".to_owned()));
    for bad in ["", "-1", "+1", "1.5", "1s", "99999999999999999999"] {
        assert_eq!(
            check("PAUSE", bad),
            Err(format!("option PAUSE of plugin misbehaving is `{bad}`; it must be a whole number"))
        );
    }
    let bitbucket = host.load("bitbucket").unwrap();
    let problem = bitbucket.check_option("LOG_DISCARDED", "yes").unwrap_err();
    assert_eq!(problem.to_string(), "option LOG_DISCARDED of plugin bitbucket is `yes`; it must be 0 or 1");
}

#[test]
fn the_bit_bucket_takes_everything() {
    let (_folder, host, _) = misbehaving();
    let plugin = host.load("bitbucket").unwrap();
    let settings = vec![Setting::option("log_discarded", "1")];
    let mut channel = Running::start(&host, &plugin, Spec::new("bitbucket", settings));
    channel.offer(lease(1, &[&[0, 7]]));
    channel.until_leases_done(1);
    assert_eq!(
        channel.story(),
        "message 10: 0 delivered 2.0.0 thrown away, 7 delivered 2.0.0 thrown away\nlease 1 done"
    );
}

#[test]
fn a_plugin_in_c_works_from_end_to_end() {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "drain.c", "drain", &[]);
    let host = Host::new(vec![folder.path().to_owned()]);
    let plugin = host.load("drain").unwrap();
    let mut channel =
        Running::start(&host, &plugin, Spec::new("c", vec![Setting::option("PEER", "sink.example")]));
    channel.offer(lease(1, &[&[0, 1], &[5]]));
    channel.until_leases_done(1);
    assert_eq!(
        channel.story(),
        "message 10: 0 delivered 2.0.0 24 bytes gone, 1 delivered 2.0.0 24 bytes gone\n\
         message 11: 5 delivered 2.0.0 24 bytes gone\nlease 1 done"
    );
    let HostEvent::Finished { outcomes, .. } = &channel.seen[0] else { panic!("{}", channel.story()) };
    assert!(matches!(&outcomes[0].1, Outcome::Delivered { peer, .. } if peer == "sink.example"));
    let settings = vec![Setting::option("PEER", "x".repeat(64))];
    let mut other = Running::start(&host, &plugin, Spec::new("d", settings));
    other.instance.prepare();
    other.until_stopped();
    assert_eq!(other.story(), "stopped: its plugin refuses the settings: PEER is too long; 0 left behind");
}

#[test]
fn a_plugin_in_cpp_works_and_keeps_its_exceptions_to_itself() {
    if !Command::new("c++").arg("--version").output().is_ok_and(|run| run.status.success()) {
        println!("no compiler for C++ is installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libsluice_plus.so");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = Command::new("c++")
        .args(["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fPIC", "-shared", "-I"])
        .arg(root.join("../../include"))
        .arg(root.join("tests/fixtures/plus.cc"))
        .arg("-o")
        .arg(&file)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    mode(&file, 0o755);
    let host = Host::new(vec![folder.path().to_owned()]);
    let plugin = host.load("plus").unwrap();
    let mut channel = Running::start(&host, &plugin, Spec::new("plus", Vec::new()));
    channel.offer(lease(1, &[&[0, 3]]));
    channel.until_leases_done(1);
    let said = "delivered 2.0.0 delivered to nowhere, in C++";
    assert_eq!(channel.story(), format!("message 10: 0 {said}, 3 {said}\nlease 1 done"));
    let settings = vec![Setting::fact("a", "1"), Setting::fact("b", "2")];
    let mut other = Running::start(
        &host,
        &plugin,
        Spec { pause_first: Duration::from_millis(50), ..Spec::new("other", settings) },
    );
    other.instance.prepare();
    other.until_failures(1);
    assert!(other.story().contains("thrown: too many settings"), "{}", other.story());
}

#[test]
fn what_is_not_there_is_named_with_the_places() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("lib/sluice");
    let host = Host::new(vec![folder.path().to_owned(), other.clone()]);
    assert_eq!(
        host.load("pipe").unwrap_err().to_string(),
        format!(
            "there is no plugin pipe: looked for {0}/libsluice_pipe.so, {1}/libsluice_pipe.so",
            folder.path().display(),
            other.display()
        )
    );
    assert_eq!(
        host.load("./lost.so").unwrap_err().to_string(),
        "there is no plugin ./lost.so: looked for ./lost.so"
    );
    for name in ["", "a b", "a\nb", "ü", "a.b"] {
        assert!(matches!(host.load(name), Err(LoadError::Name { .. })), "{name:?}");
    }
}

#[test]
fn folders_are_searched_in_their_order_and_a_path_goes_anywhere() {
    let (first, second) = (plugin_folder(), plugin_folder());
    std::fs::remove_file(first.path().join("libsluice_bitbucket.so")).unwrap();
    let host = Host::new(vec![first.path().to_owned(), second.path().to_owned()]);
    assert!(host.load("misbehaving").unwrap().file().starts_with(first.path().canonicalize().unwrap()));
    assert!(host.load("bitbucket").unwrap().file().starts_with(second.path().canonicalize().unwrap()));
    let path = second.path().join("libsluice_misbehaving.so");
    let by_path = host.load(path.to_str().unwrap()).unwrap();
    assert!(by_path.file().starts_with(second.path().canonicalize().unwrap()));
    assert_eq!(
        Host::usual_folders(Path::new("/opt/sluice/bin/sluice"), &["/srv/plugins".into()]),
        ["/opt/sluice/bin", "/opt/sluice/lib/sluice", "/srv/plugins"].map(std::path::PathBuf::from)
    );
}

/// Puts another build of the plugin in C where the first one is, by renaming or by writing over it.
fn replace(file: &Path, how: How, defines: &[&str]) {
    let next = tempfile::tempdir_in(file.parent().unwrap()).unwrap();
    let built = compile(next.path(), "drain.c", "drain", defines);
    match how {
        How::Rename => std::fs::rename(built, file).unwrap(),
        How::WriteOver => std::fs::write(file, std::fs::read(built).unwrap()).unwrap(),
    }
}

#[derive(Clone, Copy)]
enum How {
    Rename,
    WriteOver,
}

/// One delivery through a plugin, and what its outcome is.
fn works(host: &Host, plugin: &Arc<sluice_host::Plugin>, name: &str) {
    let mut channel = Running::start(host, plugin, Spec::new(name, Vec::new()));
    channel.offer(lease(1, &[&[0]]));
    channel.until_leases_done(1);
    assert_eq!(channel.story(), "message 10: 0 delivered 2.0.0 24 bytes gone\nlease 1 done");
}

#[test]
fn a_new_file_is_a_new_generation_beside_the_old_however_it_came_there() {
    for how in [How::Rename, How::WriteOver] {
        let folder = tempfile::tempdir().unwrap();
        let file = compile(folder.path(), "drain.c", "drain", &[]);
        let host = Host::new(vec![folder.path().to_owned()]);
        let old = host.load("drain").unwrap();
        assert!(Arc::ptr_eq(&old, &host.load_next("drain").unwrap()), "nothing is new");
        assert_eq!(host.has_changed(&old), Some(FileState::Known));
        // The old one runs while its file is written over.
        let mut running = Running::start(&host, &old, Spec::new("running", Vec::new()));
        running.offer(lease(1, &[&[0]]));
        replace(&file, how, &[r#"DESCRIPTION=SLUICE_TEXT("the next generation")"#]);
        assert!(matches!(host.has_changed(&old), Some(FileState::Changed(_))));
        assert!(Arc::ptr_eq(&old, &host.load("drain").unwrap()), "nobody has asked for the new one");
        let new = host.load_next("drain").unwrap();
        assert_eq!((old.generation(), new.generation(), new.generations()), (1, 2, 2));
        assert_eq!(
            (old.description(), new.description()),
            ("delivers to nowhere, in C", "the next generation")
        );
        assert!(Arc::ptr_eq(&old, &host.load("drain").unwrap()), "it is not in force yet");
        host.put_in_force(&new);
        assert!(Arc::ptr_eq(&new, &host.load("drain").unwrap()));
        assert!(Arc::ptr_eq(&new, &old.in_force()));
        assert_eq!(host.loaded().len(), 1);
        running.offer(lease(2, &[&[0]]));
        running.until_leases_done(2);
        works(&host, &old, "old");
        works(&host, &new, "new");
    }
}

#[test]
fn a_generation_is_what_a_link_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("1"), folder.path().join("2"));
    for (place, description) in [(&first, "one"), (&second, "two")] {
        std::fs::create_dir(place).unwrap();
        compile(place, "drain.c", "drain", &[&format!("DESCRIPTION=SLUICE_TEXT(\"{description}\")")]);
    }
    let link = folder.path().join("libsluice_drain.so");
    symlink(first.join("libsluice_drain.so"), &link).unwrap();
    let host = Host::new(vec![folder.path().to_owned()]);
    let old = host.load("drain").unwrap();
    std::fs::remove_file(&link).unwrap();
    assert!(Arc::ptr_eq(&old, &host.load("drain").unwrap()), "what is loaded is there without its file");
    assert!(matches!(host.load_next("drain"), Err(LoadError::Examine { .. } | LoadError::NotFound { .. })));
    symlink(second.join("libsluice_drain.so"), &link).unwrap();
    let new = host.load_next("drain").unwrap();
    assert_eq!((old.description(), new.description(), new.generation()), ("one", "two", 2));
    assert_eq!((new.place(), new.file()), (link, &*second.join("libsluice_drain.so")));
}

#[test]
fn a_next_generation_that_cannot_be_used_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = compile(folder.path(), "drain.c", "drain", &[]);
    let host = Host::new(vec![folder.path().to_owned()]);
    let old = host.load("drain").unwrap();
    let whole = std::fs::read(&file).unwrap();
    let refused = |what: &str| {
        let error = host.load_next("drain").map(|plugin| plugin.generation()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        assert!(Arc::ptr_eq(&old, &host.load("drain").unwrap()));
    };
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    refused("is cut short");
    std::fs::write(&file, "no library at all, but some text that is longer than a header of one\n".repeat(9))
        .unwrap();
    refused("invalid ELF header");
    replace(&file, How::WriteOver, &["VERSION=7"]);
    refused("ABI version 7");
    let kept = old.generations();
    refused("ABI version 7");
    assert_eq!(old.generations(), kept, "the same file is not loaded again and again");
    replace(&file, How::Rename, &["STOP=0"]);
    refused("null pointer for its function `stop`");
    std::fs::write(&file, &whole).unwrap();
    mode(&file, 0o777);
    refused("lets the group and everybody write it");
    mode(&file, 0o755);
    works(&host, &old, "old");
    assert_eq!(host.load_next("drain").unwrap().description(), "delivers to nowhere, in C");
}

#[test]
fn what_other_processes_are_lent_is_what_is_in_force_and_one_copy_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = compile(folder.path(), "drain.c", "drain", &[]);
    let host = Host::new(vec![folder.path().to_owned()]);
    let first = host.seal("drain").unwrap();
    assert_eq!((first.file(), Some(first.seen())), (&*file, sluice_host::Seen::of(&file)));
    assert!(!Arc::ptr_eq(&first, &host.seal("drain").unwrap()), "nobody could load it yet");
    assert!(Arc::ptr_eq(&first, &host.hold(&first).unwrap()));
    // The same octets again are no second copy; and it is known what the file is like now.
    let again = host.seal_next("drain").unwrap();
    let beside = file.with_extension("new");
    std::fs::copy(&file, &beside).unwrap();
    std::fs::rename(&beside, &file).unwrap();
    assert_ne!(Some(first.seen()), sluice_host::Seen::of(&file));
    assert!(Arc::ptr_eq(&first, &again) && Arc::ptr_eq(&first, &host.seal_next("drain").unwrap()));
    assert_eq!(Some(first.seen()), sluice_host::Seen::of(&file));
    // Whatever the file is: it is in force for this process too.
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, "no library").unwrap();
    assert!(Arc::ptr_eq(&first, &host.seal("drain").unwrap()));
    let rubbish = host.seal_next("drain").unwrap();
    assert!(host.hold(&rubbish).is_none(), "other octets are in force");
    std::fs::remove_file(&file).unwrap();
    assert!(Arc::ptr_eq(&first, &host.seal("drain").unwrap()));
    assert!(host.seal_next("drain").is_err());
    let plugin = host.load("drain").unwrap();
    assert!(Arc::ptr_eq(&first, plugin.sealed()));
    works(&host, &plugin, "sealed");
    // Another process loads it by what it was lent.
    let other = Host::new(Vec::new());
    let lent = || first.descriptor().try_clone().unwrap();
    let loaded = other.load_lent(&file, lent()).unwrap();
    assert_eq!((loaded.file(), loaded.description()), (&*file, plugin.description()));
    works(&other, &loaded, "lent");
    let why = other.load_lent(&folder.path().join("text.so"), rubbish.descriptor().try_clone().unwrap());
    let why = why.unwrap_err().to_string();
    assert!(why.contains("text.so is not a shared library"), "{why}");
    // The next one is for both at once.
    std::fs::write(&file, whole).unwrap();
    mode(&file, 0o755);
    replace(&file, How::Rename, &[r#"DESCRIPTION=SLUICE_TEXT("the next generation")"#]);
    let next = host.seal_next("drain").unwrap();
    assert!(Arc::ptr_eq(&first, &host.seal("drain").unwrap()), "it is not in force yet");
    host.put_sealed_in_force(&next);
    assert!(Arc::ptr_eq(&next, &host.seal("drain").unwrap()));
    assert_eq!(host.load("drain").unwrap().description(), "the next generation");
    // And so is what is loaded here first.
    replace(&file, How::WriteOver, &[r#"DESCRIPTION=SLUICE_TEXT("the one after it")"#]);
    let plugin = host.load_next("drain").unwrap();
    host.put_in_force(&plugin);
    let sealed = host.seal("drain").unwrap();
    assert!(Arc::ptr_eq(&sealed, plugin.sealed()) && Arc::ptr_eq(&plugin, &host.load("drain").unwrap()));
}

#[test]
fn the_copy_that_is_loaded_can_be_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libsluice_named_in_maps.so");
    std::fs::rename(compile(folder.path(), "drain.c", "drain", &[]), &file).unwrap();
    Host::new(Vec::new()).load(file.to_str().unwrap()).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(maps.contains("/memfd:libsluice_named_in_maps.so#1"), "{maps}");
    assert!(!maps.contains(file.to_str().unwrap()), "the file itself is not mapped");
    Host::in_place(Vec::new()).load(file.to_str().unwrap()).unwrap();
    assert!(std::fs::read_to_string("/proc/self/maps").unwrap().contains(file.to_str().unwrap()));
}

#[test]
fn a_library_beside_the_plugin_is_not_found_by_origin_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("libbeside.so");
    let run = |arguments: &[&str]| {
        assert!(std::process::Command::new("cc").args(arguments).status().unwrap().success());
    };
    let source = folder.path().join("beside.c");
    std::fs::write(&source, "int beside(void) { return 1; }\n").unwrap();
    let (source, folder_name) = (source.to_str().unwrap(), folder.path().to_str().unwrap());
    run(&["-shared", "-fPIC", source, "-o", other.to_str().unwrap()]);
    let plugin = folder.path().join("libsluice_drain.so");
    let code = folder.path().join("plugin.c");
    std::fs::write(&code, "int beside(void);\nint sluice_plugin(void) { return beside(); }\n").unwrap();
    let arguments = ["-shared", "-fPIC", code.to_str().unwrap(), "-L", folder_name, "-lbeside", "-o"];
    run(&[&arguments[..], &[plugin.to_str().unwrap(), "-Wl,-rpath,$ORIGIN"]].concat());
    mode(&plugin, 0o755);
    let text = refusal(folder.path(), "drain");
    assert!(text.contains("libbeside.so") && text.contains("build it with an absolute RUNPATH"), "{text}");
}

#[test]
fn a_file_that_takes_the_place_of_a_refused_one_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let file = compile(folder.path(), "drain.c", "drain", &["VERSION=7"]);
    let host = Host::new(vec![folder.path().to_owned()]);
    for _ in 0..2 {
        assert!(matches!(host.load("drain"), Err(LoadError::Version { plugin: 7, .. })));
    }
    assert!(host.loaded().is_empty());
    let next = tempfile::tempdir_in(folder.path()).unwrap();
    std::fs::rename(compile(next.path(), "drain.c", "drain", &[]), &file).unwrap();
    assert_eq!(host.load("drain").unwrap().name(), "drain");
    assert_eq!(host.loaded().len(), 1);
}

#[test]
fn a_library_that_is_cut_short_is_refused_and_the_whole_one_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let file = compile(folder.path(), "drain.c", "drain", &[]);
    let whole = std::fs::read(&file).unwrap();
    let host = Host::new(vec![folder.path().to_owned()]);
    for len in [100, 1000, whole.len() / 2] {
        std::fs::write(&file, &whole[..len]).unwrap();
        match host.load("drain") {
            Err(LoadError::CutShort { has, needed, .. }) => {
                assert!(has == len as u64 && needed > has, "{has} {needed}");
            }
            other => panic!("{other:?}"),
        }
    }
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(host.load("drain").unwrap().name(), "drain");
}

#[test]
fn what_is_not_a_library_is_refused_in_the_linkers_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libsluice_drain.so");
    std::fs::write(&file, "this is not a library, whatever its name says\n".repeat(20)).unwrap();
    mode(&file, 0o644);
    let text = refusal(folder.path(), "drain");
    assert!(
        text.starts_with("plugin DIR/libsluice_drain.so is not a shared library for this machine: "),
        "{text}"
    );
    assert!(text.contains("invalid ELF header"), "{text}");
    std::fs::write(&file, "").unwrap();
    assert!(refusal(folder.path(), "drain").contains("file too short"));
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(refusal(folder.path(), "drain"), "plugin DIR/libsluice_drain.so is not a regular file");
    std::fs::remove_dir(&file).unwrap();
    compile(folder.path(), "no_symbol.c", "drain", &[]);
    let text = refusal(folder.path(), "drain");
    assert!(
        text.starts_with(
            "library DIR/libsluice_drain.so is not a Sluice plugin: it does not export the data symbol `sluice_plugin` ("
        ),
        "{text}"
    );
}

#[test]
fn another_version_is_refused_with_both_numbers() {
    assert_eq!(
        refused_when(&["VERSION=7"]),
        format!(
            "plugin DIR/libsluice_drain.so (drain 1.0) was built for plugin ABI version 7, this hub (Sluice {}) has version 1; \
             build it again with this hub's sluice.h or sdk",
            env!("CARGO_PKG_VERSION")
        )
    );
    // Of a table that may have anything behind its size, nothing more is read.
    assert!(
        refused_when(&["VERSION=7", "SIZE=16"])
            .contains("libsluice_drain.so was built for plugin ABI version 7,")
    );
    assert!(refused_when(&["VERSION=7", "NAME={0,3}"]).contains("libsluice_drain.so (1.0) was built for"));
}

#[test]
fn a_plugin_that_needs_what_the_hub_cannot_do_is_refused_with_the_features() {
    let hub = format!("Sluice {}", env!("CARGO_PKG_VERSION"));
    for (needs, features) in
        [("1ull<<40", "number 40"), ("(1ull<<63)|SLUICE_FEATURE_FILTER|(1u<<20)", "number 20, number 63")]
    {
        assert_eq!(
            refused_when(&[&format!("NEEDS={needs}")]),
            format!(
                "plugin DIR/libsluice_drain.so (drain 1.0) needs what this hub ({hub}) cannot do: {features}; \
                 take a newer hub, or an older version of the plugin"
            )
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let all = "SLUICE_FEATURE_ENQUEUE|SLUICE_FEATURE_ROUTE|SLUICE_FEATURE_FILTER|SLUICE_FEATURE_POLL|SLUICE_FEATURE_NEXT_HOP|\
               SLUICE_FEATURE_WISHES|SLUICE_FEATURE_PRIORITY";
    let (needs, features) = (format!("NEEDS={all}"), "FEATURES=SLUICE_FEATURE_NEXT_HOP|(1ull<<50)");
    compile(folder.path(), "drain.c", "drain", &[&needs, features]);
    let plugin = Host::new(vec![folder.path().to_owned()]).load("drain").unwrap();
    assert_eq!(plugin.features(), ["next_hop", "number 50"]);
    // A table that ends before these words says nothing, whatever stands behind it.
    for (size, features) in [("144", vec![]), ("152", vec!["next_hop", "number 50"])] {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("SIZE={size}");
        compile(
            folder.path(),
            "drain.c",
            "drain",
            &["NEEDS=1ull<<40", "FEATURES=SLUICE_FEATURE_NEXT_HOP|(1ull<<50)", &size],
        );
        let plugin = Host::new(vec![folder.path().to_owned()]).load("drain").unwrap();
        assert_eq!(plugin.features(), features);
    }
}

#[test]
fn a_small_table_is_refused_and_a_larger_one_is_not() {
    assert_eq!(
        refused_when(&["SIZE=100"]),
        "plugin DIR/libsluice_drain.so has a table of 100 bytes, ABI version 1 needs at least 144; \
         was `size` set to sizeof(sluice_plugin_table)?"
    );
    // A plugin that knows a later minor form of the table: only the part that this hub knows is read.
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "drain.c", "drain", &["SIZE=1000"]);
    Host::new(vec![folder.path().to_owned()]).load("drain").unwrap();
}

#[test]
fn missing_functions_are_named() {
    for (define, function) in
        [("CREATE=0", "create"), ("RUN=0", "run"), ("STOP=0", "stop"), ("DESTROY=0", "destroy")]
    {
        assert_eq!(
            refused_when(&[define]),
            format!("plugin DIR/libsluice_drain.so has a null pointer for its function `{function}`")
        );
    }
}

#[test]
fn bad_tables_are_refused_field_by_field() {
    let problem = |define: &str| {
        let text = refused_when(&[define]);
        text.strip_prefix("plugin DIR/libsluice_drain.so has a bad table: ").unwrap_or(&text).to_owned()
    };
    assert_eq!(
        problem(r#"NAME=SLUICE_TEXT("Drain!")"#),
        "name must be lower-case letters, digits, `_` and `-`"
    );
    assert_eq!(problem(r#"NAME=SLUICE_TEXT("")"#), "name must be lower-case letters, digits, `_` and `-`");
    assert_eq!(problem("NAME={0,3}"), "name is null with length 3");
    assert_eq!(
        problem(r#"DESCRIPTION={(const uint8_t*)"x",1u<<31}"#),
        "description has 2147483648 bytes; at most 256 are allowed"
    );
    assert_eq!(problem(r#"DESCRIPTION=SLUICE_TEXT("\xff")"#), "description is not UTF-8");
    assert_eq!(problem(r#"DESCRIPTION=SLUICE_TEXT("two\nlines")"#), "description has control characters");
    assert_eq!(problem(r#"SECOND_OPTION="PEER""#), "options[1].name is PEER for the second time");
    assert_eq!(
        problem(r#"SECOND_OPTION="peer""#),
        "options[1].name must be upper-case letters, digits and `_`"
    );
    assert_eq!(problem("KIND=99"), "options[1].kind is 99, which is no kind of option");
    assert_eq!(problem("OPTION_COUNT=257"), "option_count is 257; at most 256 options are allowed");
    assert_eq!(problem("OPTION_SIZE=40"), "option_size is 40; at least 56, in steps of 8");
    assert_eq!(problem("OPTION_SIZE=57"), "option_size is 57; at least 56, in steps of 8");
    assert_eq!(problem("OPTIONS=NULL"), "options is null or not aligned although option_count is not 0");
}

#[test]
fn bounds_of_an_option_are_told_and_checked_without_running_it() {
    let folder = tempfile::tempdir().unwrap();
    compile(
        folder.path(),
        "drain.c",
        "drain",
        &["KIND=SLUICE_OPTION_SECONDS", "MIN=5", "MAX=60", "FLAGS=SLUICE_OPTION_FLAG_REQUIRED"],
    );
    let plugin = Host::new(vec![folder.path().to_owned()]).load("drain").unwrap();
    let option = &plugin.options()[1];
    assert_eq!((option.range.clone(), option.required), (Some(5..=60), true));
    let check = |value: &str| plugin.check_option(&option.name, value).map_err(|problem| problem.to_string());
    assert_eq!((check("5"), check("60")), (Ok(()), Ok(())));
    for bad in ["4", "61", "", "x"] {
        let name = &option.name;
        assert_eq!(
            check(bad),
            Err(format!(
                "option {name} of plugin drain is `{bad}`; it must be a whole number of seconds from 5 to 60"
            ))
        );
    }
    let says = |define: &[&str]| refused_when(define);
    assert!(says(&["MIN=5"]).ends_with("options[1].min and `max` are for numbers and seconds only"));
    assert!(
        says(&["KIND=SLUICE_OPTION_INTEGER", "MIN=5", "MAX=4"])
            .ends_with("options[1].min is 5, and `max` is 4")
    );
}

#[test]
fn a_table_of_the_first_version_is_read_by_its_own_stride() {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "drain.c", "drain", &["OPTIONS=(const void*)first_options", "OPTION_SIZE=56"]);
    let plugin = Host::new(vec![folder.path().to_owned()]).load("drain").unwrap();
    let options: Vec<_> =
        plugin.options().iter().map(|one| (one.name.as_str(), one.range.clone(), one.required)).collect();
    assert_eq!(options, [("PEER", None, false), ("OTHER", None, false)]);
}

#[test]
fn a_table_without_options_needs_no_pointer() {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "drain.c", "drain", &["OPTIONS=NULL", "OPTION_COUNT=0", "OPTION_SIZE=0"]);
    let plugin = Host::new(vec![folder.path().to_owned()]).load("drain").unwrap();
    assert!(plugin.options().is_empty());
}

#[test]
fn files_that_others_can_write_are_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = compile(folder.path(), "drain.c", "drain", &[]);
    for (bits, who) in [(0o775, "the group"), (0o757, "everybody"), (0o777, "the group and everybody")] {
        mode(&file, bits);
        assert_eq!(
            refusal(folder.path(), "drain"),
            format!(
                "plugin DIR/libsluice_drain.so is not loaded: its mode {bits:04o} lets {who} write it; \
                 type `chmod go-w DIR/libsluice_drain.so`"
            )
        );
    }
    mode(&file, 0o755);
    mode(folder.path(), 0o777);
    assert_eq!(
        refusal(folder.path(), "drain"),
        "plugin DIR/libsluice_drain.so is not loaded: the mode 0777 of its folder DIR lets the group and everybody \
         replace it; type `chmod go-w DIR`"
    );
    // A link does not help: what it leads to is looked at.
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(&file, elsewhere.path().join("libsluice_drain.so")).unwrap();
    assert!(Host::new(vec![elsewhere.path().to_owned()]).load("drain").is_err());
    // A sticky folder is shared, but nobody can replace another's file in it.
    mode(folder.path(), 0o1777);
    Host::new(vec![folder.path().to_owned()]).load("drain").unwrap();
}

#[test]
fn files_of_strangers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = compile(folder.path(), "drain.c", "drain", &[]);
    // Only root can give a file away; without that this machine cannot show it.
    if chown(&file, Some(12_345), None).is_err() {
        return;
    }
    let me = std::fs::metadata(folder.path()).unwrap().uid();
    assert_eq!(
        refusal(folder.path(), "drain"),
        format!(
            "plugin DIR/libsluice_drain.so is not loaded: it belongs to user 12345, not to root or to user {me} who runs \
             the hub; type `chown root DIR/libsluice_drain.so`"
        )
    );
    chown(&file, Some(0), None).unwrap();
    chown(folder.path(), Some(12_345), None).unwrap();
    assert_eq!(
        refusal(folder.path(), "drain"),
        format!(
            "plugin DIR/libsluice_drain.so is not loaded: its folder DIR belongs to user 12345, not to root or to user {me} \
             who runs the hub; type `chown root DIR`"
        )
    );
}
