//! `sluice plugin new`: a project for a plugin of one's own, which builds, has a test that passes, and a configuration to try it.
//!
//! The program carries what the project needs: the sources of the SDK, or the header of the contract. Nothing is fetched.
//!
//! # Failure
//! Nothing that is there is written over. What was begun and cannot be finished is taken away again.
//! # Not here
//! Building it, and trying the result (`plugin check`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sluice_host::Host;

use crate::cli::{Lang, PluginNew};
use crate::exit::{Exit, Failure};
use crate::output;

/// Longest name of a plugin here: the library's name has a few letters more, and the contract has 64.
const NAME_MAX: usize = 48;

/// The sources of the crates `abi`, `sdk`, `sdk-derive` and `sdk-tracing`, as `sdk/src/lib.rs` and their text.
const SDK_SOURCES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk_sources.rs"));

/// Their manifests, which stand on their own and not on those of this workspace.
const SDK_MANIFESTS: &[(&str, &str)] = &[
    ("abi/Cargo.toml", include_str!("../../templates/plugin/sdk/abi.toml")),
    ("sdk/Cargo.toml", include_str!("../../templates/plugin/sdk/sdk.toml")),
    ("sdk-derive/Cargo.toml", include_str!("../../templates/plugin/sdk/sdk-derive.toml")),
    ("sdk-tracing/Cargo.toml", include_str!("../../templates/plugin/sdk/sdk-tracing.toml")),
];

const RUST: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../templates/plugin/rust/manifest.toml")),
    ("README.md", include_str!("../../templates/plugin/rust/README.md")),
    (".gitignore", include_str!("../../templates/plugin/rust/gitignore")),
    ("src/lib.rs", include_str!("../../templates/plugin/rust/lib.rs")),
    ("tests/delivers.rs", include_str!("../../templates/plugin/rust/delivers.rs")),
    ("tests/mail/hello", include_str!("../../templates/plugin/rust/hello")),
];

const C: &[(&str, &str)] = &[
    ("Makefile", include_str!("../../templates/plugin/c/Makefile")),
    ("README.md", include_str!("../../templates/plugin/c/README.md")),
    (".gitignore", include_str!("../../templates/plugin/c/gitignore")),
    ("@NAME@.c", include_str!("../../templates/plugin/c/plugin.c")),
    ("check.c", include_str!("../../templates/plugin/c/check.c")),
    ("sluice.h", include_str!("../../../../include/sluice.h")),
];

const SAMPLE: &[(&str, &str)] = &[
    ("sample/sluice.cnf", include_str!("../../templates/plugin/sample/sluice.cnf")),
    ("sample/option.dat", include_str!("../../templates/plugin/sample/option.dat")),
    ("sample/dispatcher.cnf", include_str!("../../templates/plugin/sample/dispatcher.cnf")),
    ("sample/job_controller.cnf", include_str!("../../templates/plugin/sample/job_controller.cnf")),
    ("sample/@NAME@_option", include_str!("../../templates/plugin/sample/option")),
];

/// Makes the project.
pub(crate) fn plugin_new(new: &PluginNew) -> Result<Exit, Failure> {
    let usage = |text: String| Failure::new(Exit::Usage, anyhow::anyhow!(text));
    check_name(&new.name).map_err(usage)?;
    if new.sdk.is_some() && new.lang == Lang::C {
        return Err(usage("--sdk is for Rust: a project in C has all it needs in sluice.h".to_owned()));
    }
    let sdk = new.sdk.as_deref().map(find_sdk).transpose().map_err(usage)?;
    let folder = new.dir.clone().unwrap_or_else(|| PathBuf::from(&new.name));
    make(&folder, &project(&new.name, new.lang, sdk.as_deref()))
        .map_err(|text| Failure::new(Exit::Data, anyhow::anyhow!(text)))?;
    let program = std::env::current_exe().unwrap_or_default();
    let file = format!("libsluice_{}.so", new.name);
    if let Some(there) =
        Host::usual_folders(&program, &[]).iter().map(|folder| folder.join(&file)).find(|path| path.exists())
    {
        crate::complain(&format!(
            "there is a plugin `{}` already, {}; a channel that names no library gets that one",
            new.name,
            there.display()
        ));
    }
    let (language, steps) = match new.lang {
        Lang::Rust => ("Rust", "cargo test && cargo build"),
        Lang::C => ("C", "make check"),
    };
    output::line(&format!("made a channel in {language}: {}", folder.display()))?;
    output::line(&format!("next: cd {} && {steps}; README.md goes on from there", folder.display()))?;
    Ok(Exit::Ok)
}

/// The name of the plugin, of its library and, in the sample, of its channel.
fn check_name(name: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.bytes().all(good) {
        return Err(format!(
            "`{name}` is no name for a plugin: it begins with a lower-case letter and has lower-case letters, digits and `_`"
        ));
    }
    if name.len() < 2 || name.len() > NAME_MAX {
        return Err(format!("`{name}` is no name for a plugin: it has 2 to {NAME_MAX} letters"));
    }
    if name.starts_with("tcp_") {
        return Err(format!(
            "`{name}` is no name for a plugin: channels whose names begin with `tcp_` are those of the plugin tcp"
        ));
    }
    Ok(())
}

/// The folder of the crate `sluice-sdk`, from what `--sdk` names: itself, or a folder that has it below.
fn find_sdk(given: &Path) -> Result<PathBuf, String> {
    for below in [".", "sdk", "crates/sdk"] {
        let folder = given.join(below);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        if manifest.lines().any(|line| line.trim() == "name = \"sluice-sdk\"") {
            return folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()));
        }
    }
    Err(format!("there is no crate sluice-sdk in {}, nor in sdk or crates/sdk below it", given.display()))
}

/// All files of a project, with their texts.
fn project(name: &str, lang: Lang, sdk: Option<&Path>) -> Vec<(String, String)> {
    let at = sdk.map_or_else(|| "sdk/sdk".to_owned(), |folder| folder.display().to_string());
    let library = match lang {
        Lang::Rust => format!("../target/debug/libsluice_{name}.so"),
        Lang::C => format!("../libsluice_{name}.so"),
    };
    let filled = |text: &str| {
        text.replace("@NAME@", name)
            .replace("@TYPE@", &type_name(name))
            .replace("@HOST@", &name.replace('_', "-"))
            .replace("@SDK@", &at.replace('\\', "\\\\").replace('"', "\\\""))
            .replace("@LIBRARY@", &library)
            .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
    };
    let own = match lang {
        Lang::Rust => RUST,
        Lang::C => C,
    };
    let mut files: Vec<(String, String)> =
        own.iter().chain(SAMPLE).map(|(path, text)| (filled(path), filled(text))).collect();
    if lang == Lang::Rust && sdk.is_none() {
        files.extend(SDK_MANIFESTS.iter().map(|(path, text)| (format!("sdk/{path}"), filled(text))));
        files.extend(SDK_SOURCES.iter().map(|(path, text)| (format!("sdk/{path}"), (*text).to_owned())));
    }
    files
}

/// `chat_room` is `ChatRoomChannel`, which no name of the SDK is.
fn type_name(name: &str) -> String {
    let mut made = String::new();
    for word in name.split('_') {
        let mut letters = word.chars();
        made.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        made.extend(letters);
    }
    made + "Channel"
}

/// Writes the files into a new folder, or into one that is empty.
fn make(folder: &Path, files: &[(String, String)]) -> Result<(), String> {
    let there = match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => true,
            Some(_) => return Err(format!("{} is not empty; nothing was written", folder.display())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(format!("{} is there already and no folder; nothing was written", folder.display()));
        }
        Err(error) => return Err(format!("cannot look into {}: {error}", folder.display())),
    };
    if !there {
        fs::create_dir(folder)
            .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    }
    for (path, text) in files {
        if let Err((path, error)) = write(&folder.join(path), text) {
            take_away(folder, files, there);
            return Err(format!("cannot write {}: {error}; nothing is left of it", path.display()));
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), (PathBuf, io::Error)> {
    let failed = |error| (path.to_owned(), error);
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
    // Only what is not there: nothing is written over, whoever came in between.
    let mut file = File::options().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

/// Takes away what was written of the files, and the folder unless it was there before. What cannot be taken away is left.
fn take_away(folder: &Path, files: &[(String, String)], there: bool) {
    for (path, text) in files {
        let path = folder.join(path);
        // A file of another text is somebody else's.
        if fs::read_to_string(&path).is_ok_and(|found| text.starts_with(&found)) {
            let _ = fs::remove_file(&path);
        }
        for above in path.ancestors().skip(1).take_while(|above| *above != folder) {
            let _ = fs::remove_dir(above); // Only when it is empty.
        }
    }
    if !there {
        let _ = fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_names_of_libraries_and_channels() {
        for good in ["chat", "chat_room", "x25", "ab"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let long = "x".repeat(NAME_MAX + 1);
        for bad in
            ["", "a", "Chat", "1st", "_x", "a-b", "a.b", "a/b", "../x", "tcp_x", "\u{e4}b", "a b", &long]
        {
            assert!(
                check_name(bad).unwrap_err().starts_with(&format!("`{bad}` is no name for a plugin: ")),
                "{bad}"
            );
        }
        assert_eq!((type_name("chat"), type_name("a_b2_c")), ("ChatChannel".into(), "AB2CChannel".into()));
    }

    #[test]
    fn nothing_of_a_template_is_left_open() {
        for lang in [Lang::Rust, Lang::C] {
            for (path, text) in project("chat_room", lang, None) {
                let open = ["@NAME@", "@TYPE@", "@HOST@", "@SDK@", "@LIBRARY@", "@VERSION@"];
                let theirs = path.starts_with("sdk/") && path.ends_with(".rs");
                assert!(
                    theirs || !open.iter().any(|mark| text.contains(mark) || path.contains(mark)),
                    "{path}"
                );
                assert!(!text.is_empty(), "{path}");
            }
        }
    }

    /// What the crates of this workspace depend on is what the manifests of a project say.
    #[test]
    fn the_sdk_of_a_project_has_the_dependencies_of_ours() {
        let dependencies = |manifest: &str| -> Vec<String> {
            let behind = manifest.split_once("[dependencies]").map_or("", |(_, behind)| behind);
            let lines = behind.lines().skip(1).take_while(|line| !line.starts_with('['));
            let names =
                lines.filter_map(|line| line.split([' ', '.', '=']).next()).filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        for (path, manifest) in SDK_MANIFESTS {
            let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
            let ours = fs::read_to_string(ours).unwrap();
            assert_eq!(dependencies(manifest), dependencies(&ours), "{path}");
        }
        for wanted in ["abi/src/lib.rs", "sdk/src/export/stage.rs", "sdk-derive/src/lib.rs"] {
            assert!(SDK_SOURCES.iter().any(|(path, _)| *path == wanted), "{wanted}");
        }
    }

    #[test]
    fn nothing_that_is_there_is_written_over() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("chat");
        let files = project("chat", Lang::C, None);
        make(&folder, &files).unwrap();
        assert!(folder.join("sample/chat_option").is_file());
        let error = make(&folder, &files).unwrap_err();
        assert_eq!(error, format!("{} is not empty; nothing was written", folder.display()));
        let file = above.path().join("file");
        fs::write(&file, "mine").unwrap();
        let error = make(&file, &files).unwrap_err();
        assert_eq!(error, format!("{} is there already and no folder; nothing was written", file.display()));
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        let error = make(&above.path().join("no/where"), &files).unwrap_err();
        assert!(error.starts_with("cannot make the folder "), "{error}");
        let empty = above.path().join("empty");
        fs::create_dir(&empty).unwrap();
        make(&empty, &files).unwrap();
    }

    #[test]
    fn what_cannot_be_finished_is_taken_away() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("chat");
        let mut files = project("chat", Lang::C, None);
        // A file cannot be below a file: stands for a disk that fills up.
        files.push(("sluice.h/below".to_owned(), "x".to_owned()));
        let error = make(&folder, &files).unwrap_err();
        assert!(error.starts_with("cannot write ") && error.ends_with("; nothing is left of it"), "{error}");
        assert!(!folder.exists());
        fs::create_dir(&folder).unwrap();
        make(&folder, &files).unwrap_err();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}
