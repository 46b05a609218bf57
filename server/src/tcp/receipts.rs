//! Signs what a connection is told of its documents, once its client has asked for that.

use crate::shared::Shared;
use crate::tls::ReceiptKey;
use std::sync::Arc;
use towline_engine::Clock;
use towline_protocol::EncodedBytes;
use towline_protocol::receipt::Statement;
use towline_protocol::reply::{ReceiptSignature, Success};
use towline_state::catalog::User;
use towline_types::{StoreId, UserId};

/// What all receipts of a connection have in common.
pub(super) struct Receipts {
    key: Arc<ReceiptKey>,
    clock: Clock,
    server_id: StoreId,
    user_id: UserId,
    user: String,
}

impl Receipts {
    /// The receipts of a connection, signed with the key that the server has now.
    pub(super) fn new(shared: &Shared, user: &User) -> Self {
        Self {
            key: shared.tls.receipt_key(),
            clock: shared.engine.clock().clone(),
            server_id: shared.engine.store_id(),
            user_id: user.user_id,
            user: user.name.clone(),
        }
    }

    /// The public key, as clients are told it.
    pub(super) fn public_key(&self) -> EncodedBytes {
        EncodedBytes(self.key.public_key().to_vec())
    }

    /// The signature of what SUCCESS says; `None` where the system has no random numbers for it.
    /// The document is in its place all the same.
    pub(super) fn sign(&self, success: &Success) -> Option<ReceiptSignature> {
        let statement = Statement {
            scheme: self.key.scheme().to_owned(),
            public_key: self.public_key(),
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
            signed_at: self.clock.now(),
        };
        match self.key.sign(&statement.signed_bytes()) {
            Ok(signature) => {
                let Statement { scheme, signed_at, .. } = statement;
                let signature = EncodedBytes(signature);
                Some(ReceiptSignature { scheme, signed_at, signature })
            }
            Err(error) => {
                tracing::error!(%error, "a receipt could not be signed");
                None
            }
        }
    }
}
