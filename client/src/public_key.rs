//! Public keys of servers.

use aws_lc_rs::digest::{SHA256, digest};
use towline_types::Fingerprint;

/// The fingerprint by which people recognise a public key. The key is in the form
/// `SubjectPublicKeyInfo` in DER.
///
/// # Panics
/// Never: a SHA-256 digest has 32 bytes.
pub(crate) fn fingerprint(public_key: &[u8]) -> Fingerprint {
    let digest = digest(&SHA256, public_key);
    Fingerprint::from_bytes(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}
