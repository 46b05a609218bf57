//! Signed receipts: whether a signature is right, and what a server signs during a connection.
//!
//! A receipt proves nothing by itself: anyone can make a key and sign with it. [`verify`] returns by
//! which key it is signed, and the caller compares that with a key that it trusts.

mod issuer;

use crate::public_key::fingerprint;
use crate::text::printable;
pub(crate) use issuer::Issuer;
use rustls::pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
pub use towline_protocol::receipt::{BadLine, SignedReceipt, Statement};
use towline_types::Fingerprint;
use webpki::RawPublicKeyEntity;
use webpki::aws_lc_rs::{
    ECDSA_P256_SHA256, ECDSA_P384_SHA384, ECDSA_P521_SHA512, ED25519,
    RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
};

/// The schemes in which receipts are signed.
static SCHEMES: [(&str, &dyn SignatureVerificationAlgorithm); 5] = [
    ("ecdsa_secp256r1_sha256", ECDSA_P256_SHA256),
    ("ecdsa_secp384r1_sha384", ECDSA_P384_SHA384),
    ("ecdsa_secp521r1_sha512", ECDSA_P521_SHA512),
    ("ed25519", ED25519),
    ("rsa_pss_rsae_sha256", RSA_PSS_2048_8192_SHA256_LEGACY_KEY),
];

/// Why a receipt is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadReceipt {
    /// The server has promised receipts and sent none.
    #[error("the server sent no receipt")]
    Missing,
    /// It is signed in another way than this version knows.
    #[error("it is signed as \"{}\", which this version cannot check", printable(.0))]
    UnknownScheme(String),
    /// Signature, key and contents do not belong together.
    #[error("its signature is wrong: what it says is not what was signed with its key")]
    WrongSignature,
}

/// Checks the signature of a receipt; returns the fingerprint of the key that has signed it.
///
/// # Errors
/// Where the signature is wrong, or its scheme is not known.
pub fn verify(receipt: &SignedReceipt) -> Result<Fingerprint, BadReceipt> {
    let SignedReceipt { statement, signature } = receipt;
    let scheme = SCHEMES.iter().find(|(name, _)| *name == statement.scheme);
    let (_, algorithm) =
        scheme.ok_or_else(|| BadReceipt::UnknownScheme(statement.scheme.clone()))?;
    let public_key = SubjectPublicKeyInfoDer::from(statement.public_key.0.as_slice());
    let key = RawPublicKeyEntity::try_from(&public_key).map_err(|_| BadReceipt::WrongSignature)?;
    key.verify_signature(*algorithm, &statement.signed_bytes(), &signature.0)
        .map_err(|_| BadReceipt::WrongSignature)?;
    Ok(fingerprint(&statement.public_key.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const SPEC: &str = include_str!("../../protocol/SPEC.md");

    /// The receipt that the specification shows.
    fn shown() -> &'static str {
        let (_, json) = SPEC.split_once("\n```json\n").unwrap();
        json.split('\n').next().unwrap()
    }

    fn parsed(line: &str) -> SignedReceipt {
        SignedReceipt::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn the_receipt_of_the_specification_is_good_and_its_key_is_named_there() {
        let key = verify(&parsed(shown())).unwrap();
        assert!(SPEC.contains(&format!("`{key}`")), "{key}");
    }

    #[test]
    fn a_receipt_in_which_anything_was_changed_is_not_good() {
        let other = json!({
            "scheme": "ecdsa_secp256r1_sha256",
            "public_key": "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
            "server_id": "00000000000000000000000000000000",
            "user_id": 124, "user": "adb", "document_id": 125, "folder": ["lectures2024"],
            "filename": "a", "filesize": 1, "durable": false,
            "blake3": "0000000000000000000000000000000000000000000000000000000000000000",
            "created_at": 1, "signed_at": 1,
            "signature": "AAAA",
        });
        let good: Value = serde_json::from_str(shown()).unwrap();
        for (field, value) in other.as_object().unwrap() {
            let mut edited = good.clone();
            assert_ne!(&edited[field], value, "{field}");
            edited[field] = value.clone();
            let edited = parsed(&edited.to_string());
            assert_eq!(verify(&edited), Err(BadReceipt::WrongSignature), "{field}");
        }
        let fields = good.as_object().unwrap().len();
        assert_eq!(fields, other.as_object().unwrap().len() + 1, "`receipt` has a test of its own");
        let mut edited = good;
        edited["scheme"] = json!("rot13");
        let unknown = BadReceipt::UnknownScheme("rot13".to_owned());
        assert_eq!(verify(&parsed(&edited.to_string())), Err(unknown));
    }
}
