//! Plugins in C, compiled for a test.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles a C file of this repository into `libsluice_NAME.so` of a folder, against the header of this repository.
///
/// # Panics
/// When it does not compile without a warning.
#[must_use]
pub fn plugin_in_c(source: &str, name: &str, folder: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = folder.join(format!("libsluice_{name}.so"));
    let output = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-I"])
        .arg(root.join("include"))
        .arg(root.join(source))
        .arg("-o")
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
    // Whatever the umask of whoever runs the tests: a plugin that others may write is not loaded.
    fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    file
}
