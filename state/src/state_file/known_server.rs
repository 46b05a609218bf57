//! Which server an entry is about.

use super::UploadEntry;
use towline_types::StoreId;

/// A server as a client knows it: the address under which it is reached and, once it has
/// said so, the identity of its store.
///
/// The identity decides where both sides know one: the same store behind another address
/// is the same server, and another store behind the same address is another. Where one
/// side knows none, the address is all there is to go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownServer {
    /// `host:port`.
    pub address: String,
    /// The identity of its store; absent before a login, and for older servers.
    pub id: Option<StoreId>,
}

/// What an entry's server is to the one that is asked about; the better comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// It is the same: both have the same identity.
    Same,
    /// It has the same address; the identity of one of the two is not known.
    SameAddress,
    /// The entry names no server, as in a file written by hand.
    Unnamed,
    /// It has another address, and the identity of one of the two is not known: the same
    /// server may have moved.
    OtherAddress,
    /// It is another: the two have different identities.
    Other,
}

impl Relation {
    /// Whether the entry is about this server as far as can be told.
    #[must_use]
    pub const fn is_same(self) -> bool {
        matches!(self, Self::Same | Self::SameAddress)
    }

    /// The same for a reader, to whom an entry that names no server is any server's.
    #[must_use]
    pub const fn may_be_used(self) -> bool {
        matches!(self, Self::Same | Self::SameAddress | Self::Unnamed)
    }
}

impl KnownServer {
    /// The server at that address, with the identity that it has told.
    pub fn new(address: impl Into<String>, id: Option<StoreId>) -> Self {
        Self { address: address.into(), id }
    }

    /// What the entry's server is to this one.
    #[must_use]
    pub fn relation(&self, entry: &UploadEntry) -> Relation {
        self.relation_to(entry.server.as_deref(), entry.server_id)
    }

    /// What the server with that address and that identity is to this one.
    #[must_use]
    pub fn relation_to(&self, address: Option<&str>, id: Option<StoreId>) -> Relation {
        match (self.id, id, address) {
            (Some(here), Some(there), _) if here == there => Relation::Same,
            (Some(_), Some(_), _) => Relation::Other,
            (_, _, Some(address)) if *address == self.address => Relation::SameAddress,
            (_, None, None) => Relation::Unnamed,
            _ => Relation::OtherAddress,
        }
    }

    /// What follows the `@` in a long key.
    pub(super) fn suffix(&self) -> String {
        self.id.map_or_else(|| self.address.clone(), |id| id.to_string())
    }
}
