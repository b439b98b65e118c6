//! Text in, text out: what the tests of this crate share.
#![allow(dead_code, clippy::unwrap_used)]

use sluice_config::{Config, MemoryFiles, Place, read};
use std::path::PathBuf;

/// The folder that the files of tests stand in.
pub(crate) const FOLDER: &str = "/etc/sluice";

/// Files of a folder by name and content.
pub(crate) fn folder(files: &[(&str, &str)]) -> MemoryFiles {
    files.iter().fold(MemoryFiles::new(), |all, (name, text)| {
        all.with(PathBuf::from(FOLDER).join(name), text.as_bytes().to_vec())
    })
}

/// All diagnostics of a folder as text, without the folder in front of file names.
pub(crate) fn diagnose(files: &MemoryFiles) -> String {
    let (config, sources, diagnostics) = read(files, &Place::Folder(PathBuf::from(FOLDER)));
    let errors = sluice_diag::errors_in(&diagnostics);
    assert_eq!(config.is_some(), !errors, "a configuration exists exactly when there is no error");
    let lines: Vec<String> = diagnostics.iter().map(|diagnostic| diagnostic.render(&sources)).collect();
    lines.join("\n").replace(&format!("{FOLDER}/"), "")
}

/// All diagnostics of a lone main file.
pub(crate) fn check(text: &str) -> String {
    diagnose(&folder(&[("sluice.cnf", text)]))
}

/// The place and code of each diagnostic of a lone main file, one a line.
pub(crate) fn places(text: &str) -> String {
    let files = folder(&[("sluice.cnf", text)]);
    let (_, sources, diagnostics) = read(&files, &Place::Folder(PathBuf::from(FOLDER)));
    let lines = diagnostics.iter().map(|diagnostic| {
        let place = diagnostic.span.map_or("-".to_owned(), |span| sources.position(span).to_string());
        format!("{place} {} {}", diagnostic.severity, diagnostic.code.name)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The configuration of a folder that has no errors.
pub(crate) fn good(files: &MemoryFiles) -> Config {
    let (config, sources, diagnostics) = read(files, &Place::Folder(PathBuf::from(FOLDER)));
    let said: Vec<String> = diagnostics.iter().map(|diagnostic| diagnostic.render(&sources)).collect();
    config.unwrap_or_else(|| panic!("no configuration:\n{}", said.join("\n")))
}

/// The configuration of a lone main file that has no errors.
pub(crate) fn config(text: &str) -> Config {
    good(&folder(&[("sluice.cnf", text)]))
}

/// A main file with one more block, whose first line is given.
pub(crate) fn with_block(line: &str) -> String {
    format!(". $U%$H@TAG\n\nl\nhub.example.com\n\n{line}\nTAG\n")
}
