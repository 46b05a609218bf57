//! Faults at rest: changes of the data folder while no server runs or no client sends, and what the
//! server does about them.

mod clock;
mod flips;
mod last_release;
mod lost_bytes;
mod lost_catalog;
mod parts;
mod rows;
mod second_server;
mod state_copy;
mod versions;

use towline_tests::raw_client::{RawClient, ZERO, upload};
use towline_tests::test_file::TestFile;
use towline_types::DocumentId;

/// An upload whose first bytes are durable and whose client has paused.
async fn paused(
    mut client: RawClient,
    name: &str,
    test_file: &TestFile,
    bytes: usize,
) -> DocumentId {
    let document_id = client.upload(upload(name, test_file)).await.document_id;
    client.chunks(ZERO, test_file, 0..bytes).await;
    client.pause().await;
    document_id
}
