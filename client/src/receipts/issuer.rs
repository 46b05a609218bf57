//! What all receipts of a connection have in common, and the check of each.

use super::{BadReceipt, SignedReceipt, Statement, verify};
use crate::public_key::fingerprint;
use crate::security::Security;
use towline_protocol::EncodedBytes;
use towline_protocol::reply::{ReceiptSignature, Success, Welcome};
use towline_types::{Fingerprint, StoreId, UserId};

/// The server of a connection, as it signs receipts, and the user to whom it signs them.
#[derive(Debug)]
pub(crate) struct Issuer {
    server_id: StoreId,
    user_id: UserId,
    user: String,
    public_key: EncodedBytes,
}

impl Issuer {
    /// The server that has said this; `None` where it has not said which store it has.
    pub(crate) fn new(welcome: &Welcome, public_key: EncodedBytes) -> Option<Self> {
        let Welcome { server_id, user_id, user, .. } = welcome;
        Some(Self { server_id: (*server_id)?, user_id: *user_id, user: user.clone(), public_key })
    }

    /// The fingerprint of its key.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.public_key.0)
    }

    /// Whether its key is the one by which the server of such a connection is known. Without TLS no
    /// key is known: a person who checks the receipts later has to know the right one.
    pub(crate) fn is_known_by(&self, security: Security) -> bool {
        !matches!(security, Security::Key(key) if key != self.fingerprint())
    }

    /// The receipt that came with SUCCESS: it says what `welcome` and SUCCESS say, and nothing else.
    pub(crate) fn checked(&self, success: &Success) -> Result<Box<SignedReceipt>, BadReceipt> {
        let ReceiptSignature { scheme, signed_at, signature } =
            success.receipt.clone().ok_or(BadReceipt::Missing)?;
        let statement = Statement {
            scheme,
            public_key: self.public_key.clone(),
            server_id: self.server_id,
            user_id: self.user_id,
            user: self.user.clone(),
            document_id: success.document_id,
            folder: success.folder.clone(),
            filename: success.filename.clone(),
            filesize: success.filesize,
            blake3: success.blake3,
            created_at: success.created_at,
            durable: success.durable,
            signed_at,
        };
        let receipt = Box::new(SignedReceipt { statement, signature });
        verify(&receipt).map(|_| receipt)
    }
}
