//! What every layer of Towline says: numbers, names, digests, and how a file is hashed
//! block by block.
//!
//! Nothing here reads or writes, opens a socket or looks at a clock, and nothing here
//! knows a protocol.

pub mod block;
mod digest;
pub mod file_hash;
pub mod limits;
pub mod name;
mod number;
mod on_conflict;
mod store_id;

pub use block::{BlockHasher, BlockIndex};
pub use digest::{ChainingValue, FileHash, SecondDigest, Sha256Hash};
pub use name::{BadName, DocumentPath, Name};
pub use number::{DocumentId, FileSize, Generation, NodeId, Offset, OutOfRange, Timestamp, UserId};
pub use on_conflict::OnConflict;
pub use store_id::{BadStoreId, StoreId};
