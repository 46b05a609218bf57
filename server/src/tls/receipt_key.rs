//! The server's key as it signs receipts.
//!
//! It is the key of TLS, because clients know the server by that one. What is signed for a receipt
//! begins with words of its own, so that no signature of one kind passes for one of the other.

use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// The schemes of receipts: those of TLS 1.3, one for each kind of key, with their names in the
/// registry of TLS.
const SCHEMES: [(SignatureScheme, &str); 5] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, "ecdsa_secp256r1_sha256"),
    (SignatureScheme::ECDSA_NISTP384_SHA384, "ecdsa_secp384r1_sha384"),
    (SignatureScheme::ECDSA_NISTP521_SHA512, "ecdsa_secp521r1_sha512"),
    (SignatureScheme::ED25519, "ed25519"),
    (SignatureScheme::RSA_PSS_SHA256, "rsa_pss_rsae_sha256"),
];

/// See the module's description.
pub(crate) struct ReceiptKey {
    signer: Box<dyn Signer>,
    scheme: &'static str,
    public_key: Vec<u8>,
}

impl ReceiptKey {
    /// The private key with its public key in DER; `None` where it signs in no scheme of receipts.
    pub(super) fn of(key: &Arc<dyn SigningKey>, public_key: Vec<u8>) -> Option<Self> {
        let signer = key.choose_scheme(&SCHEMES.map(|(scheme, _)| scheme))?;
        let chosen = signer.scheme();
        let (_, scheme) = SCHEMES.into_iter().find(|(scheme, _)| *scheme == chosen)?;
        Some(Self { signer, scheme, public_key })
    }

    /// The name of the scheme in which it signs.
    pub(crate) const fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// The public key, in the form `SubjectPublicKeyInfo` in DER.
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Signs the bytes of a receipt. That takes some 20 µs, with a key of RSA a millisecond or more.
    ///
    /// # Errors
    /// Where the system has no random numbers.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        self.signer.sign(bytes)
    }
}

impl fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiptKey({})", self.scheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::aws_lc_rs::sign::any_supported_type;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use towline_protocol::receipt::SignedReceipt;

    /// The first test key of RFC 8032, section 7.1, as PKCS #8.
    const KEY: [u8; 48] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20, 0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec,
        0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c,
        0xae, 0x7f, 0x60,
    ];

    #[test]
    fn it_signs_the_receipt_of_the_specification() {
        let spec = include_str!("../../../protocol/SPEC.md");
        let (_, shown) = spec.split_once("\n```json\n").unwrap();
        let shown = shown.split('\n').next().unwrap();
        let shown = SignedReceipt::parse(shown.as_bytes()).unwrap();
        let key = any_supported_type(&PrivatePkcs8KeyDer::from(&KEY[..]).into()).unwrap();
        let public_key = key.public_key().unwrap().to_vec();
        let key = ReceiptKey::of(&key, public_key).unwrap();
        assert_eq!(key.scheme(), shown.statement.scheme);
        assert_eq!(key.public_key(), shown.statement.public_key.0);
        // Ed25519 has one signature for each message.
        assert_eq!(key.sign(&shown.statement.signed_bytes()).unwrap(), shown.signature.0);
    }
}
