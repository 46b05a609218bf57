//! What a server signs of a document, so that a client can show it years later without the server.
//! `SPEC.md`, section 15, is normative. Nothing here signs or checks a signature.

use crate::encoded_bytes::EncodedBytes;
use crate::json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use towline_types::{DocumentId, FileHash, FileSize, StoreId, Timestamp, UserId};

/// The number of the format of receipts that is described here.
pub const FORMAT: u64 = 1;

/// The first bytes of all that is signed: no other use of the same key signs bytes that begin so.
const PREFIX: &[u8] = b"towline receipt 1\n";

/// What is signed. Each field of it is in the signed bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// How it is signed: the name of a signature scheme of TLS 1.3, such as
    /// `ecdsa_secp256r1_sha256`.
    pub scheme: String,
    /// The server's public key, in the form `SubjectPublicKeyInfo` in DER.
    pub public_key: EncodedBytes,
    /// The store that has the document.
    pub server_id: StoreId,
    /// Whose document it is.
    pub user_id: UserId,
    /// The name of that user.
    pub user: String,
    /// The document.
    pub document_id: DocumentId,
    /// The folders around it, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folder: Vec<String>,
    /// The name that it got.
    pub filename: String,
    /// Its length in bytes.
    pub filesize: FileSize,
    /// Its hash.
    pub blake3: FileHash,
    /// When it was completed, in ms since 1970.
    pub created_at: Timestamp,
    /// Whether file, name and record survived a power cut of the server when this was signed.
    pub durable: bool,
    /// When this was signed, in ms since 1970.
    pub signed_at: Timestamp,
}

/// A statement with its signature: one line of a file of receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReceipt {
    /// What is signed.
    pub statement: Statement,
    /// The signature of [`Statement::signed_bytes`].
    pub signature: EncodedBytes,
}

/// The line is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    /// It has the format of a later version.
    #[error("it has the format {0}, and this version reads {FORMAT}")]
    Newer(u64),
    /// It is not what [`SignedReceipt::line`] makes.
    #[error("{0}")]
    Unreadable(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Line<'a> {
    receipt: u64,
    #[serde(flatten)]
    statement: &'a Statement,
    signature: &'a EncodedBytes,
}

impl Statement {
    /// The bytes that are signed.
    ///
    /// A prefix, and each field with its length before it: two statements that differ have different
    /// bytes.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        // No wildcard: a field that is added here has to be signed as well.
        let Self {
            scheme,
            public_key,
            server_id,
            user_id,
            user,
            document_id,
            folder,
            filename,
            filesize,
            blake3,
            created_at,
            durable,
            signed_at,
        } = self;
        let mut bytes = PREFIX.to_vec();
        let mut push = |field: &[u8]| {
            let length = u32::try_from(field.len()).expect("a field is shorter than a frame");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(field);
        };
        push(scheme.as_bytes());
        push(&public_key.0);
        push(server_id.to_string().as_bytes());
        push(user_id.to_string().as_bytes());
        push(user.as_bytes());
        push(document_id.to_string().as_bytes());
        push(folder.len().to_string().as_bytes());
        folder.iter().for_each(|name| push(name.as_bytes()));
        push(filename.as_bytes());
        push(filesize.to_string().as_bytes());
        push(blake3.to_string().as_bytes());
        push(created_at.to_string().as_bytes());
        push(if *durable { b"true" } else { b"false" });
        push(signed_at.to_string().as_bytes());
        bytes
    }
}

impl SignedReceipt {
    /// The receipt as one line of JSON, without its end.
    ///
    /// # Panics
    /// Never: each field has a form in JSON.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { statement, signature } = self;
        serde_json::to_string(&Line { receipt: FORMAT, statement, signature })
            .expect("plain fields")
    }

    /// Reads such a line. Whether the signature is right, the caller checks.
    ///
    /// # Errors
    /// Where it is none, has a field that is not signed, or is of a later format.
    pub fn parse(line: &[u8]) -> Result<Self, BadLine> {
        let mut object = json::object(line)?;
        let format: u64 = field(&mut object, "receipt")?;
        if format != FORMAT {
            return Err(BadLine::Newer(format));
        }
        let signature = field(&mut object, "signature")?;
        let statement = serde_json::from_value(Value::Object(object))?;
        Ok(Self { statement, signature })
    }
}

fn field<T: serde::de::DeserializeOwned>(
    object: &mut Map<String, Value>,
    name: &'static str,
) -> Result<T, serde_json::Error> {
    let missing = || <serde_json::Error as serde::de::Error>::missing_field(name);
    serde_json::from_value(object.remove(name).ok_or_else(missing)?)
}
