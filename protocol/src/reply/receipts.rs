//! What a server says for receipts. [`receipt`](crate::receipt) has what they sign.

use crate::encoded_bytes::EncodedBytes;
use crate::frame::Channel;
use serde::{Deserialize, Serialize};
use towline_types::Timestamp;

/// `{"action":"receipts","public_key":"…"}`: from now on each SUCCESS is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptKey {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// The server's public key, in the form `SubjectPublicKeyInfo` in DER.
    pub public_key: EncodedBytes,
}

/// In SUCCESS: the signature, and those signed fields that neither `welcome` nor SUCCESS has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptSignature {
    /// The name of the signature scheme.
    pub scheme: String,
    /// When it was signed, in ms since 1970.
    pub signed_at: Timestamp,
    /// The signature.
    pub signature: EncodedBytes,
}
