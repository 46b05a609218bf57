//! Values for tests, made of plain numbers and text. Every function stops the test where the
//! value is not legal, so that a test reads `size(5)` and not a conversion that cannot fail.
//!
//! It depends on `towline-types` alone. So the unit tests of every other crate of the workspace
//! can use it: a kit that depended on the crate under test would bring a second copy of its
//! types. Servers, clients and files for whole tests are in `towline-tests`.

use towline_types::{
    BlockIndex, ChainingValue, ChangeId, DocumentId, DocumentPath, FileHash, FileSize, NodeId,
    Offset, Timestamp, UserId,
};

/// The number of a document.
///
/// # Panics
/// Where it is 0 or above 2^63 - 1.
#[must_use]
pub fn id(number: u64) -> DocumentId {
    DocumentId::try_from(number).expect("a legal number of a document")
}

/// The number of a node.
///
/// # Panics
/// Where it is 0 or above 2^63 - 1.
#[must_use]
pub fn node(number: u64) -> NodeId {
    NodeId::try_from(number).expect("a legal number of a node")
}

/// The number of a change.
///
/// # Panics
/// Where it is above 2^63 - 1.
#[must_use]
pub fn change(number: u64) -> ChangeId {
    ChangeId::try_from(number).expect("a legal number of a change")
}

/// The number of a user.
///
/// # Panics
/// Where it is 0 or above 2^63 - 1.
#[must_use]
pub fn user(number: u64) -> UserId {
    UserId::try_from(number).expect("a legal number of a user")
}

/// The length of a file in bytes.
///
/// # Panics
/// Where it is above 2^63 - 1.
#[must_use]
pub fn size(bytes: u64) -> FileSize {
    FileSize::try_from(bytes).expect("a legal length of a file")
}

/// A position in a file, in bytes.
///
/// # Panics
/// Where it is above 2^63 - 1.
#[must_use]
pub fn offset(bytes: u64) -> Offset {
    Offset::try_from(bytes).expect("a legal position in a file")
}

/// A moment, in milliseconds since 1970.
///
/// # Panics
/// Where it is above 2^63 - 1.
#[must_use]
pub fn at(ms: u64) -> Timestamp {
    Timestamp::try_from(ms).expect("a legal moment")
}

/// The index of a block.
///
/// # Panics
/// Where no file has such a block.
#[must_use]
pub fn index(index: u64) -> BlockIndex {
    BlockIndex::new(index).expect("the index of a block")
}

/// Folders and name of a document: `a/b.txt`.
///
/// # Panics
/// Where one of them is not legal.
#[must_use]
pub fn path(text: &str) -> DocumentPath {
    DocumentPath::parse(text).expect("a legal path of a document")
}

/// A hash of that byte, 32 times.
#[must_use]
pub fn hash(byte: u8) -> FileHash {
    FileHash::from_bytes([byte; 32])
}

/// A value of a block of that byte, 32 times.
#[must_use]
pub fn value(byte: u8) -> ChainingValue {
    ChainingValue::from_bytes([byte; 32])
}
