//! Faults at rest: what has happened to the data folder while nobody looked, and
//! what the server makes of it.

mod clock;
mod flips;
mod lost_bytes;
mod lost_catalog;
mod parts;
mod rows;
mod second_server;
mod state_copy;
mod versions;

use towline_tests::corpus::Corpus;
use towline_tests::speaker::{Speaker, ZERO, upload};
use towline_types::DocumentId;

/// An upload of which the first bytes are durable and nobody sends the rest.
async fn paused(mut speaker: Speaker, name: &str, corpus: &Corpus, bytes: usize) -> DocumentId {
    let document_id = speaker.upload(upload(name, corpus)).await.document_id;
    speaker.chunks(ZERO, corpus, 0..bytes).await;
    speaker.pause().await;
    document_id
}
