//! The sums that the mechanisms share.

use hmac::{Hmac, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Least iterations of a record and of a server's challenge (RFC 7677 section 4).
pub const ITERATIONS_MIN: u32 = 4096;
/// Most iterations: a challenge with more would only keep us busy.
pub const ITERATIONS_MAX: u32 = 5_000_000;

/// Octets of the keys.
pub(crate) const KEY_OCTETS: usize = 32;
/// A key of SCRAM-SHA-256.
pub(crate) type Key = [u8; KEY_OCTETS];

/// HMAC-SHA-256.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("any length of key will do");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// SHA-256.
pub(crate) fn hash(octets: &[u8]) -> Key {
    Sha256::digest(octets).into()
}

/// SaltedPassword of RFC 5802 section 3. Takes its time; that is what it is for.
pub(crate) fn salted(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    pbkdf2::pbkdf2_hmac_array::<Sha256, KEY_OCTETS>(password, salt, iterations)
}

/// StoredKey and ServerKey of RFC 5802 section 3, from a SaltedPassword.
pub(crate) fn keys(salted: &Key) -> (Key, Key) {
    (hash(&hmac(salted, &[b"Client Key"])), hmac(salted, &[b"Server Key"]))
}

/// One key over another.
pub(crate) fn xor(one: &Key, other: &Key) -> Key {
    std::array::from_fn(|at| one[at] ^ other[at])
}

/// The answer to a challenge of CRAM-MD5: HMAC-MD5 in small hexadecimal digits (RFC 2195 section 2).
pub(crate) fn cram(secret: &[u8], challenge: &[u8]) -> String {
    let mut mac = <Hmac<Md5> as Mac>::new_from_slice(secret).expect("any length of key will do");
    mac.update(challenge);
    mac.finalize().into_bytes().iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Whether both are the same, in a time that depends on their length only.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}
