//! Makes the table of the SDK's sources, which `sluice plugin new` writes into a project: every file of its crates, so that
//! none can be forgotten.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let crates =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("..").canonicalize()?;
    let mut table = String::from("&[\n");
    for name in ["abi", "sdk", "sdk-derive", "sdk-tracing"] {
        let folder = crates.join(name).join("src");
        // A folder is as new as the last file that was made or removed in it.
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut files = Vec::new();
        walk(&folder, &mut files)?;
        files.sort();
        for file in files {
            let within = file.strip_prefix(&crates).unwrap_or(&file).display().to_string();
            let _ = writeln!(table, "    ({within:?}, include_str!({:?})),", file.display().to_string());
        }
    }
    table.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("sdk_sources.rs");
    fs::write(out, table)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
