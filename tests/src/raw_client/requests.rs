//! Requests with only their required fields, and positions in the form of the protocol.

use super::ZERO;
use crate::test_file::TestFile;
use towline_protocol::Request;
use towline_protocol::reply::Granted;
use towline_protocol::request::{DocumentRef, Find, Hello, Join, Read, Resume, Upload};
use towline_types::{DocumentId, FileSize, Offset};

/// A `hello` with that token, in version 1.
#[must_use]
pub fn hello(token: &str) -> Request {
    hello_of_version(token, 1)
}

/// The same of a client that supports versions up to another one.
#[must_use]
pub fn hello_of_version(token: &str, version: u32) -> Request {
    let client = Some("towline-tests".to_owned());
    Request::Hello(Hello { version, client, ..Hello::with_token(token) })
}

/// An `upload` with only its required fields.
#[must_use]
pub fn upload(filename: &str, test_file: &TestFile) -> Upload {
    upload_of_size(filename, test_file.filesize())
}

/// The same for a file that does not exist.
#[must_use]
pub fn upload_of_size(filename: &str, filesize: FileSize) -> Upload {
    Upload { filename: filename.to_owned(), filesize: Some(filesize), ..Upload::default() }
}

/// A `resume` that asks for the offset.
#[must_use]
pub fn resume(document_id: DocumentId) -> Resume {
    Resume {
        channel: ZERO,
        document_id,
        offset: None,
        filename: None,
        filesize: None,
        user_id: None,
        blocks: false,
        grow: false,
    }
}

/// A `join` of the lease in that grant.
///
/// # Panics
/// Where the grant has no lease.
#[must_use]
pub fn join(granted: &Granted) -> Join {
    let lease = granted.lease.expect("a grant names its lease");
    Join { channel: ZERO, document_id: granted.document_id, lease }
}

/// A `find` by name and size.
#[must_use]
pub fn find(filename: &str, filesize: FileSize) -> Find {
    Find {
        channel: ZERO,
        filename: filename.to_owned(),
        folder: Vec::new(),
        filesize,
        blake3: None,
    }
}

/// A question about a document.
#[must_use]
pub fn about(document_id: DocumentId) -> DocumentRef {
    DocumentRef { channel: ZERO, document_id }
}

/// A `read` of a document, as much as one request may have, with the values of its blocks.
#[must_use]
pub fn read_of(document_id: DocumentId) -> Read {
    Read { document_id: Some(document_id), blocks: true, ..Read::default() }
}

/// A position in the form of the protocol.
#[must_use]
pub fn offset(bytes: usize) -> Offset {
    Offset::try_from(bytes as u64).expect("memory is smaller than 2^63")
}

/// A position in the form of an index into a slice.
#[must_use]
pub fn position(offset: Offset) -> usize {
    usize::try_from(offset.get()).expect("an offset in memory")
}

/// A document that does not exist.
#[must_use]
pub fn nobodys_document() -> DocumentId {
    DocumentId::try_from(987_654).expect("a positive number")
}
