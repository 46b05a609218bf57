//! TLS: the server's key and certificate, and connections that are encrypted.
//!
//! TLS 1.3 is the only version. A client recognises the server by the fingerprint of its public
//! key, as with SSH, because most servers have no name that an authority could certify.

mod identity;
mod receipt_key;
mod stream;

pub(crate) use identity::TlsIdentity;
pub use identity::{TlsError, TlsFiles};
pub(crate) use receipt_key::ReceiptKey;
pub(crate) use stream::accept;
