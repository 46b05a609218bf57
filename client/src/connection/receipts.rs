//! Asking the server to sign what it confirms.

use super::Connection;
use crate::address::ServerAddress;
use crate::attempt_end::AttemptEnd;
use crate::failure::ReceiptFailure;
use crate::receipts::Issuer;
use crate::security::Security;
use std::sync::Arc;
use towline_protocol::request::Receipts;
use towline_protocol::{Reply, Request};

impl Connection {
    /// Has the server sign each SUCCESS from now on, with the key by which it is known.
    ///
    /// Cancel-safe in that the connection is dropped.
    pub(crate) async fn ask_for_receipts(
        &mut self,
        server: &ServerAddress,
        security: Security,
    ) -> Result<(), AttemptEnd> {
        let server = server.clone();
        if !self.knows("receipts") {
            return Err(ReceiptFailure::NotSigned { server }.into());
        }
        let channel = self.new_channel();
        let public_key = match self.ask(&Request::Receipts(Receipts { channel })).await? {
            Reply::Receipts(key) => key.public_key,
            Reply::Error(error) => return Err(AttemptEnd::refused(error)),
            other => return Err(AttemptEnd::protocol(format!("unexpected: {other:?}"))),
        };
        let Some(issuer) = Issuer::new(&self.welcome, public_key) else {
            return Err(AttemptEnd::protocol("receipts of a server that does not say which it is"));
        };
        if let Security::Key(expected) = security
            && !issuer.is_known_by(security)
        {
            let found = issuer.fingerprint();
            return Err(ReceiptFailure::OtherKey { server, expected, found }.into());
        }
        self.issuer = Some(Arc::new(issuer));
        Ok(())
    }

    /// The server as it signs the receipts of this connection; `None` where it was not asked for
    /// them.
    pub(crate) fn issuer(&self) -> Option<&Arc<Issuer>> {
        self.issuer.as_ref()
    }
}
