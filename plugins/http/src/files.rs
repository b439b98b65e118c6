//! Files beside the option file: header fields, the key of signatures. Secrets are kept where only the hub reads them.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hyper::header::{HeaderName, HeaderValue};

/// The largest of these files.
const SIZE_MAX: u64 = 64 * 1024;
/// The largest list of certificates.
const CERTIFICATES_MAX: u64 = 16 * 1024 * 1024;
/// What a key must have, for a signature that cannot be guessed.
const KEY_LEAST: usize = 16;
/// Fields of the file, at most.
const FIELDS_MAX: usize = 50;
/// Fields that are ours, or that would change where the request ends.
const OURS: [&str; 10] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// The certificates of authorities in a file; a list of all of them is larger than the other files.
///
/// # Errors
/// Why there is none, with its name.
pub(crate) fn certificates(path: &Path) -> Result<Vec<u8>, String> {
    at_most(path, CERTIFICATES_MAX)
}

/// The content of a file.
///
/// # Errors
/// Why there is none, with its name.
pub(crate) fn content(path: &Path) -> Result<Vec<u8>, String> {
    at_most(path, SIZE_MAX)
}

fn at_most(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(named)?;
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content).map_err(named)?;
    if content.len() as u64 > most {
        return Err(format!("{}: it has more than {most} octets", path.display()));
    }
    Ok(content)
}

/// The content of a file that others cannot read.
///
/// # Errors
/// Why there is none, or that others can.
pub(crate) fn secret(path: &Path) -> Result<Vec<u8>, String> {
    let about = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if about.mode() & 0o007 != 0 {
        return Err(format!("{}: others can read it or change it (`chmod o= FILE`)", path.display()));
    }
    content(path)
}

/// The key in a file.
///
/// # Errors
/// As [`secret`], or that it is too short.
pub(crate) fn key(path: &Path) -> Result<Vec<u8>, String> {
    let mut key = secret(path)?;
    if key.last() == Some(&b'\n') {
        key.pop();
        if key.last() == Some(&b'\r') {
            key.pop();
        }
    }
    match key.len() {
        KEY_LEAST.. => Ok(key),
        length => Err(format!(
            "{}: a key of {length} octets is too short; {KEY_LEAST} are the least",
            path.display()
        )),
    }
}

/// The header fields in a file. Their values are never shown.
///
/// # Errors
/// As [`secret`], or which line is no field.
pub(crate) fn headers(path: &Path) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let text = String::from_utf8(secret(path)?).map_err(|_| format!("{}: it is no text", path.display()))?;
    let mut fields = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: &str| Err(format!("{}:{}: {why}", path.display(), number + 1));
        let Some((name, value)) = line.split_once(':') else {
            return wrong("it is no header field; write `Name: value`");
        };
        let Ok(name) = HeaderName::from_bytes(name.trim_end().as_bytes()) else {
            return wrong("what stands before the colon is no name of a header field");
        };
        if OURS.contains(&name.as_str()) || name.as_str().starts_with("sluice-") {
            return wrong(&format!("the field `{name}` is made by the channel"));
        }
        let Ok(mut value) = HeaderValue::from_str(value.trim()) else {
            return wrong("the value has characters that no header field may have");
        };
        value.set_sensitive(true);
        fields.push((name, value));
        if fields.len() > FIELDS_MAX {
            return wrong("there are too many fields");
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn fields_are_read_line_by_line() {
        let (_folder, path) = file(b"# of the gateway\r\nAuthorization: Bearer a:b \n\nX-Site:7\n", 0o640);
        let fields = headers(&path).unwrap();
        let shown: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        assert_eq!(shown, ["authorization=Bearer a:b", "x-site=7"]);
        assert!(!format!("{fields:?}").contains("Bearer"), "{fields:?}");
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_is() {
        for (text, why) in [
            ("Authorization Bearer hunter2", ":1: it is no header field"),
            ("\nBad Name: hunter2", ":2: what stands before"),
            ("X: hunter\x012", ":1: the value has"),
            ("Content-Length: 7", ":1: the field `content-length` is made by the channel"),
            ("Sluice-Id: 7", ":1: the field `sluice-id` is made"),
        ] {
            let (_folder, path) = file(text.as_bytes(), 0o600);
            let error = headers(&path).unwrap_err();
            assert!(error.contains(why) && !error.contains("hunter"), "{error}");
        }
        let (_folder, path) = file(b"X: y\n", 0o644);
        assert!(headers(&path).unwrap_err().contains("others can read it"));
        assert!(key(Path::new("/nowhere/key")).unwrap_err().starts_with("/nowhere/key: "));
        let (_folder, path) = file(&[b'x'; 70_000], 0o600);
        assert!(headers(&path).unwrap_err().contains("more than 65536 octets"));
        let (_folder, path) = file("X: y\n".repeat(60).as_bytes(), 0o600);
        assert!(headers(&path).unwrap_err().contains(":51: there are too many"));
    }

    #[test]
    fn a_key_is_octets_without_the_line_end() {
        let (_folder, path) = file(b"0123456789abcdef\r\n", 0o600);
        assert_eq!(key(&path).unwrap(), b"0123456789abcdef");
        let (_folder, path) = file(b"short\n", 0o600);
        assert!(key(&path).unwrap_err().contains("5 octets is too short"));
    }
}
