//! TLS: the server's key and certificate, and connections that are encrypted.
//!
//! Version 1.3 alone. A client recognises the server by the fingerprint of its public key, as SSH
//! does: most servers have no name that an authority could vouch for.

mod identity;
mod receipt_key;
mod stream;

pub(crate) use identity::TlsIdentity;
pub use identity::{TlsError, TlsFiles};
pub(crate) use receipt_key::ReceiptKey;
pub(crate) use stream::accept;
