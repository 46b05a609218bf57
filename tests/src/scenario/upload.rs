//! One upload of a scenario, and everything that the server has told about it.

use super::AllowedLoss;
use crate::PATIENCE;
use crate::raw_client::{
    CHUNK, RawClient, ZERO, chunk_frames, find, offset, position, resume, upload,
};
use crate::site::{Site, TestUser};
use crate::test_file::{BLOCK, TestFile};
use std::ops::Range;
use std::time::{Duration, Instant};
use towline_protocol::reply::Success;
use towline_protocol::request::{DocumentRef, Resume, Upload};
use towline_protocol::{Channel, Code, ErrorReply, Reply, Request, frame};
use towline_types::{BlockIndex, DocumentId, Offset};

/// See the module's description.
#[derive(Debug)]
pub(super) struct ScenarioUpload {
    pub(super) channel: Channel,
    pub(super) test_file: TestFile,
    /// The server needs bytes of it, as far as the test knows.
    pub(super) is_sending: bool,
    /// The last message about it that no step has taken yet; a progress report does not count.
    pub(super) answer: Option<Reply>,
    name: &'static str,
    folder: Vec<String>,
    blocks: bool,
    document_id: Option<DocumentId>,
    /// The highest durable offset that the server has reported: the promise (P1).
    promised: Offset,
    /// A withdrawal was sent and is not answered: a progress report may be older than it.
    is_withdrawing: bool,
    is_cancelling: bool,
    receipt: Option<Success>,
    cancelled: bool,
    errors: Vec<ErrorReply>,
}

impl ScenarioUpload {
    pub(super) fn new(
        channel: u32,
        name: &'static str,
        folder: Vec<String>,
        test_file: TestFile,
    ) -> Self {
        Self {
            channel: Channel(channel),
            test_file,
            is_sending: false,
            answer: None,
            name,
            folder,
            blocks: false,
            document_id: None,
            promised: Offset::ZERO,
            is_withdrawing: false,
            is_cancelling: false,
            receipt: None,
            cancelled: false,
            errors: Vec::new(),
        }
    }

    pub(super) fn in_blocks(self) -> Self {
        Self { blocks: true, ..self }
    }

    pub(super) fn has_receipt(&self) -> bool {
        self.receipt.is_some()
    }

    pub(super) fn errors(&self) -> impl Iterator<Item = String> {
        self.errors.iter().map(|error| format!("{}: {}", self.name, error.code))
    }

    pub(super) fn is_whole(&self, bytes: &[u8]) -> bool {
        self.test_file.bytes == bytes
    }

    // The messages that are sent about the upload.

    pub(super) fn upload_request(&self) -> Request {
        let (channel, folder, blocks) = (self.channel, self.folder.clone(), self.blocks);
        Request::Upload(Upload { channel, folder, blocks, ..upload(self.name, &self.test_file) })
    }

    pub(super) fn resume_request(&self) -> Option<Request> {
        let (channel, blocks) = (self.channel, self.blocks);
        let id = self.document_id.filter(|_| self.receipt.is_none())?;
        Some(Request::Resume(Resume { channel, blocks, ..resume(id) }))
    }

    pub(super) fn cancel_request(&mut self) -> Option<Request> {
        let document_id = self.document_id?;
        self.is_cancelling = true;
        Some(Request::Cancel(DocumentRef { channel: self.channel, document_id }))
    }

    pub(super) fn chunks(&self, range: Range<usize>) -> Vec<Vec<u8>> {
        chunk_frames(self.channel, &self.test_file, range, CHUNK).collect()
    }

    pub(super) fn announcement(&self, index: usize) -> Vec<u8> {
        let number = BlockIndex::new(index as u64).expect("a block in memory");
        frame::block(self.channel, number, self.test_file.value(index)).to_vec()
    }

    /// The writer withdraws from this offset on, and by that gives up what was promised beyond it.
    pub(super) fn takes_promises_back(&mut self, to: Offset) {
        self.promised = self.promised.min(to);
        self.is_withdrawing = true;
    }

    /// A request on an earlier connection is not answered on this one.
    pub(super) fn is_on_a_new_connection(&mut self) {
        (self.is_sending, self.answer) = (false, None);
    }

    // The messages that come about the upload.

    pub(super) fn hear(&mut self, reply: Reply) {
        match &reply {
            Reply::Progress(progress) => {
                if !self.is_withdrawing {
                    self.promised = self.promised.max(progress.durable);
                }
                return;
            }
            Reply::Upload(granted) => self.document_id = Some(granted.document_id),
            Reply::Withdraw(_) => self.is_withdrawing = false,
            Reply::Success(success) => self.receipt = Some(success.clone()),
            Reply::Cancel(_) => self.cancelled = true,
            Reply::Error(error) => {
                self.is_sending = false;
                self.errors.push(error.clone());
            }
            _ => {}
        }
        self.answer = Some(reply);
    }

    /// The offset at which a granted resume continues; it may not be below the promised one.
    pub(super) fn goes_on_at(&self, from: Offset) -> usize {
        assert!(from >= self.promised, "{from} after a promise of {}", self.promised);
        position(from)
    }

    // The checks at the end.

    /// Checks what the server has promised, and completes the upload.
    pub(super) async fn arrive(
        &mut self,
        client: &mut RawClient,
        site: &Site,
        user: &TestUser,
        allowed_loss: AllowedLoss,
    ) {
        if self.document_id.is_none() {
            // The upload may have been granted, and the answer lost.
            let found = client.find(self.find()).await;
            self.document_id = found.unfinished.map(|unfinished| unfinished.document_id);
        }
        if let Some(id) = self.document_id {
            let status = client.status(id).await;
            match status.status.as_str() {
                "completed" => assert_eq!(status.blake3, Some(self.test_file.hash())),
                "uploading" => {
                    assert!(!self.has_receipt() && !self.cancelled, "{status:?}; {self:?}");
                    assert!(status.durable >= self.promised, "{status:?}; {self:?}");
                }
                "cancelled" => assert!(self.is_cancelling, "{status:?}; {self:?}"),
                "failed" => {
                    let is_excused = match allowed_loss {
                        AllowedLoss::None => false,
                        AllowedLoss::PowerCut => self.promised == Offset::ZERO,
                        AllowedLoss::FailedSync => true,
                    };
                    assert!(is_excused && !self.has_receipt(), "{status:?}; {self:?}");
                    assert!(status.reason.is_some_and(|reason| !reason.is_empty()));
                    let refused = Resume { channel: ZERO, ..resume(id) };
                    client.resume_refused(refused, Code::Failed).await;
                    self.document_id = None;
                    self.promised = Offset::ZERO;
                }
                other => panic!("{other} after a start; {self:?}"),
            }
            if status.status == "cancelled" {
                return;
            }
        }
        let success = self.finish(client).await;
        if let Some(receipt) = &self.receipt {
            assert_eq!((&receipt.filename, receipt.blake3), (&success.filename, success.blake3));
            assert_eq!(receipt.created_at, success.created_at, "the same receipt");
        }
        assert_eq!(success.blake3, self.test_file.hash());
        let path = success.folder.iter().chain([&success.filename]).cloned().collect::<Vec<_>>();
        site.assert_published(user, &path.join("/"), &self.test_file);
    }

    /// Checks that the upload was given up by the server, or cancelled by the test before.
    pub(super) async fn assert_given_up_if_hit(&self, client: &mut RawClient, hit: &[String]) {
        let Some(id) = self.document_id.filter(|id| hit.contains(&format!("{id}.tmp"))) else {
            return;
        };
        let began = Instant::now();
        loop {
            let status = client.status(id).await;
            if matches!(status.status.as_str(), "failed" | "cancelled") {
                assert!(!self.has_receipt(), "{status:?}; {self:?}");
                return;
            }
            // The call may have failed only a moment ago.
            assert!(began.elapsed() < PATIENCE, "its sync failed: {status:?}; {self:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn finish(&self, client: &mut RawClient) -> Success {
        let from = match self.document_id {
            None => {
                let blocks = self.blocks;
                let folder = self.folder.clone();
                let begin = Upload { folder, blocks, ..upload(self.name, &self.test_file) };
                client.upload(begin).await.offset
            }
            Some(id) => {
                let again = Resume { blocks: self.blocks, ..resume(id) };
                client.send(&Request::Resume(again)).await;
                match client.reply_on(ZERO).await {
                    Reply::Success(success) => return success,
                    Reply::Resume(granted) => granted.offset,
                    other => panic!("no resume but {other:?}; {self:?}"),
                }
            }
        };
        let from = self.goes_on_at(from);
        if self.blocks {
            self.finish_blocks(client, from).await;
        } else {
            client.chunks(ZERO, &self.test_file, from..self.test_file.size()).await;
        }
        client.complete(ZERO).await
    }

    /// Asks which blocks the server holds, so that no block is sent twice.
    async fn finish_blocks(&self, client: &mut RawClient, from: usize) {
        let mut held = Vec::new();
        if let Some(id) = self.document_id {
            held = client.blocks(id).await;
            assert_eq!(client.status(id).await.received, offset(from));
        }
        for (index, value) in &held {
            assert_eq!(*value, self.test_file.value(*index), "block {index} is another");
        }
        for index in 0..self.test_file.block_count() {
            if held.iter().any(|(other, _)| *other == index) {
                continue;
            }
            let start = (index * BLOCK).max(from);
            if start < self.test_file.block_end(index) {
                client.chunks(ZERO, &self.test_file, start..self.test_file.block_end(index)).await;
            }
            client.announce(ZERO, index, self.test_file.value(index)).await;
        }
    }

    fn find(&self) -> towline_protocol::request::Find {
        let folder = self.folder.clone();
        towline_protocol::request::Find { folder, ..find(self.name, self.test_file.filesize()) }
    }
}
