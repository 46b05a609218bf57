//! A server whose scanner is a command, seen by a client that waits for verdicts.

use crate::raw_client::{RawClient, ZERO, read_of, upload};
use crate::test_file::TestFile;
use towline_protocol::request::{Delta, Request, Upload};
use towline_protocol::{Code, Held};
use towline_types::DocumentId;

/// A command that finds what every scanner finds.
pub const EICAR_COMMAND: &str =
    "if grep -q EICAR-STANDARD-ANTIVIRUS; then echo Eicar-Signature; exit 1; fi";

/// How long a client waits for a change at a time, in milliseconds.
const WAIT_MS: u32 = 20_000;

impl RawClient {
    /// Sends a file and completes it; the answer names the document.
    pub async fn put(&mut self, request: Upload, test_file: &TestFile) -> DocumentId {
        self.upload(request).await;
        self.chunks(ZERO, test_file, 0..test_file.size()).await;
        self.complete(ZERO).await.document_id
    }

    /// Sends a file to a server that may die of it.
    pub async fn try_put(&mut self, name: &str, test_file: &TestFile) {
        let _ = self.try_send(&Request::Upload(upload(name, test_file))).await;
        let _ = self.try_chunks(ZERO, test_file, 0..test_file.size()).await;
        let _ = self.try_send(&Request::Complete(Default::default())).await;
    }

    /// Waits for changes of the tree until the file is held back for that reason, or is not.
    ///
    /// # Panics
    /// Where no change comes.
    pub async fn until_held(&mut self, path: &str, held: Option<Held>) -> DocumentId {
        let mut since = "latest".to_owned();
        loop {
            let now = Delta { since: Some(since), ..Delta::default() };
            since = self.delta(now).await.cursor;
            let node = self.stat(path).await.node;
            if node.held == held {
                return node.version.expect("a file has a version");
            }
            let next = Delta { since: Some(since), wait_ms: Some(WAIT_MS), ..Delta::default() };
            let changes = self.delta(next).await;
            assert!(!changes.items.is_empty(), "{path}: {:?}, not {held:?}", node.held);
            since = changes.cursor;
        }
    }

    /// The document is not given out.
    ///
    /// # Panics
    /// Where it is.
    pub async fn assert_held(&mut self, document: DocumentId, code: Code) {
        let refused = self.read(read_of(document)).await.map(|read| read.bytes);
        assert_eq!(refused.expect_err("no byte").code, code);
    }
}
