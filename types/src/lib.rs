//! What every layer of Towline says: numbers, names, digests, and how a file is hashed
//! block by block.
//!
//! Nothing here reads or writes, opens a socket or looks at a clock, and nothing here
//! knows a protocol.

pub mod block;
mod digest;
pub mod file_hash;
mod fingerprint;
mod hexadecimal;
mod join_secret;
pub mod limits;
mod metadata;
pub mod name;
mod node;
mod node_path;
mod number;
mod on_conflict;
mod store_id;
mod token_id;

pub use block::{BlockHasher, BlockIndex};
pub use digest::{ChainingValue, FileHash, JoinHash, SecondDigest, Sha256Hash};
pub use fingerprint::{BadFingerprint, Fingerprint};
pub use join_secret::{BadJoinSecret, JoinSecret};
pub use metadata::{BadLinkTarget, BadMode, LinkTarget, ModifiedTime, PermissionBits};
pub use name::{BadName, BadPattern, DocumentPath, Name, NamePattern};
pub use node::NodeKind;
pub use node_path::NodePath;
pub use number::{
    ChangeId, DocumentId, FileSize, Generation, NodeId, Offset, OutOfRange, Timestamp, UserId,
};
pub use on_conflict::OnConflict;
pub use store_id::{BadStoreId, StoreId};
pub use token_id::{BadKeyId, BadTokenId, KeyId, TokenId};
