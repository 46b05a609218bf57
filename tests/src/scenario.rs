//! Three uploads, sent while a fault happens to the server. The scenario records every promise of
//! the server, and checks later that each of them was kept.
//!
//! [`Scenario::travel`] takes every kind of step that the server has: new folders, blocks in any
//! order, a withdrawal, a cancellation, a pause, a resume, `complete`. It accepts every answer, and
//! also that the connection ends. [`Scenario::arrive`] requires a server without faults and checks
//! P1 to P5.

mod upload;

use crate::raw_client::{Heard, RawClient, offset, upload};
use crate::site::{Site, TestUser};
use crate::test_file::{BLOCK, TestFile};
use std::net::SocketAddr;
use towline_protocol::request::{Complete, Withdraw};
use towline_protocol::{Channel, Code, Reply, Request};
use towline_types::BlockIndex;
use upload::ScenarioUpload;

/// See the module's description.
#[derive(Debug)]
pub struct Scenario {
    user: TestUser,
    uploads: Vec<ScenarioUpload>,
}

/// The fault of the server, which decides which uploads may have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedLoss {
    /// A fault that changes no bytes: every upload that was granted can be continued.
    None,
    /// The power was cut: an upload without a promised byte may be lost.
    PowerCut,
    /// The sync of an upload's data failed: that upload may have failed, and the server says so.
    FailedSync,
}

/// The indexes of the uploads.
const LARGE: usize = 0;
const SMALL: usize = 1;
const DROPPED: usize = 2;

/// One connection to the server, over which the three uploads are sent.
struct Connection<'a> {
    client: RawClient,
    uploads: &'a mut [ScenarioUpload],
}

impl Scenario {
    /// Three uploads of a user, two of which become documents.
    #[must_use]
    pub fn new(user: &TestUser) -> Self {
        let folders = ["new", "deep"].map(str::to_owned).to_vec();
        let large =
            ScenarioUpload::new(1, "large.bin", folders, TestFile::new(2 * BLOCK + BLOCK / 2, 900));
        let small = ScenarioUpload::new(2, "small.bin", Vec::new(), TestFile::new(60_000, 901));
        let dropped = ScenarioUpload::new(3, "dropped.bin", Vec::new(), TestFile::new(90_000, 902));
        Self { user: user.clone(), uploads: vec![large.in_blocks(), small, dropped] }
    }

    /// All steps, as far as the server permits them.
    pub async fn travel(&mut self, address: SocketAddr) {
        self.set_out(address).await;
        self.go_on(address).await;
    }

    /// The first half: all uploads begin, one is cancelled, the others pause.
    pub async fn set_out(&mut self, address: SocketAddr) {
        let Some(mut connection) = self.connection(address).await else { return };
        if connection.begin_all().await.is_some() {
            connection.pause().await;
        }
    }

    /// The second half: the other uploads continue to their end.
    pub async fn go_on(&mut self, address: SocketAddr) {
        if let Some(mut connection) = self.connection(address).await {
            connection.finish_all().await;
        }
    }

    /// Whether both documents have their receipts.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.uploads[LARGE].has_receipt() && self.uploads[SMALL].has_receipt()
    }

    /// The errors that the server sent, in short, for the output of the test.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        self.uploads.iter().flat_map(ScenarioUpload::errors).collect()
    }

    /// Checks every promise on a server that no longer has a fault, and then completes the uploads.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub async fn arrive(&mut self, address: SocketAddr, site: &Site, allowed_loss: AllowedLoss) {
        self.assert_only_whole_files(site);
        let mut client = RawClient::login(address, &self.user.token).await;
        for upload in &mut self.uploads {
            upload.arrive(&mut client, site, &self.user, allowed_loss).await;
        }
        self.assert_only_whole_files(site);
        let left: Vec<_> = site.on_disk().into_keys().filter(|path| is_left(site, path)).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    /// Checks a server that still runs after a failed sync (P5): it accepts no changes, the last
    /// document has no receipt, and an upload whose own bytes were not synced (`hit` has the name
    /// of its staging file) is given up. This has to be checked now: the error was injected and the
    /// bytes are in the file, so no later step would find a fault.
    ///
    /// # Panics
    /// Where the server treats a failed sync as done.
    pub async fn assert_closed(&self, address: SocketAddr, hit: &[String]) {
        let mut client = RawClient::login(address, &self.user.token).await;
        let probe = upload("probe.bin", &TestFile::new(1000, 903));
        client.upload_refused(probe, Code::StorageReadOnly).await;
        assert!(!self.uploads[SMALL].has_receipt(), "a receipt behind a failed sync: {self:?}");
        for upload in &self.uploads {
            upload.assert_given_up_if_hit(&mut client, hit).await;
        }
    }

    /// P2: every file with a published name is complete. True at any moment, with or without a
    /// server.
    ///
    /// # Panics
    /// Where a file is not complete.
    pub fn assert_only_whole_files(&self, site: &Site) {
        let documents = site.documents(&self.user);
        for path in site.on_disk().into_keys() {
            if path.is_dir() || !path.starts_with(&documents) {
                continue;
            }
            let bytes = std::fs::read(&path).expect("a published file");
            let is_whole = self.uploads.iter().any(|upload| upload.is_whole(&bytes));
            assert!(is_whole, "{} with {} bytes is not whole", path.display(), bytes.len());
        }
    }

    async fn connection(&mut self, address: SocketAddr) -> Option<Connection<'_>> {
        let client = RawClient::try_login(address, &self.user.token).await?;
        self.uploads.iter_mut().for_each(ScenarioUpload::is_on_a_new_connection);
        Some(Connection { client, uploads: &mut self.uploads })
    }
}

/// Whether the file is a staging file that no upload needs any more. Files that were set aside are
/// kept for the operator and do not count.
fn is_left(site: &Site, path: &std::path::Path) -> bool {
    path.parent() == Some(&site.staging_folder()) && path.is_file()
}

/// Every function returns `None` once the connection has ended.
impl Connection<'_> {
    async fn begin_all(&mut self) -> Option<()> {
        self.begin(LARGE).await?;
        self.send(LARGE, 0..BLOCK + BLOCK / 2).await?;
        self.announce(LARGE, 0).await?;
        self.begin(SMALL).await?;
        self.send(SMALL, 0..30_000).await?;
        self.begin(DROPPED).await?;
        self.send(DROPPED, 0..1000).await?;
        if let Some(request) = self.uploads[DROPPED].cancel_request() {
            self.ask(DROPPED, request).await?;
        }
        Some(())
    }

    async fn finish_all(&mut self) -> Option<()> {
        if let Some(from) = self.resume(LARGE).await? {
            let size = self.uploads[LARGE].test_file.size();
            for index in 0..from / BLOCK {
                self.announce(LARGE, index).await?;
            }
            let mut rest = from;
            if from > BLOCK && self.withdraw_second(LARGE).await? {
                self.send(LARGE, BLOCK..2 * BLOCK).await?;
                self.announce(LARGE, 1).await?;
                rest = from.max(2 * BLOCK);
            }
            self.send(LARGE, rest..size).await?;
            for index in from / BLOCK..size.div_ceil(BLOCK) {
                self.announce(LARGE, index).await?;
            }
        }
        if let Some(from) = self.resume(SMALL).await? {
            let size = self.uploads[SMALL].test_file.size();
            self.send(SMALL, from..size).await?;
        }
        for which in [LARGE, SMALL] {
            if self.uploads[which].is_sending {
                let channel = self.uploads[which].channel;
                let complete = Complete { channel, ..Complete::default() };
                self.ask(which, Request::Complete(complete)).await?;
            }
        }
        Some(())
    }

    async fn begin(&mut self, which: usize) -> Option<()> {
        let request = self.uploads[which].upload_request();
        let granted = self.ask(which, request).await?;
        self.uploads[which].is_sending = matches!(granted, Reply::Upload(_));
        Some(())
    }

    /// The offset at which the upload continues; nothing where the server refuses, or the upload is
    /// completed.
    async fn resume(&mut self, which: usize) -> Option<Option<usize>> {
        let Some(request) = self.uploads[which].resume_request() else { return Some(None) };
        let granted = self.ask(which, request).await?;
        let upload = &mut self.uploads[which];
        upload.is_sending = matches!(granted, Reply::Resume(_));
        let Reply::Resume(granted) = granted else { return Some(None) };
        Some(Some(upload.goes_on_at(granted.offset)))
    }

    /// Withdraws the second block, if the server permits that.
    async fn withdraw_second(&mut self, which: usize) -> Option<bool> {
        let upload = &mut self.uploads[which];
        upload.takes_promises_back(offset(BLOCK));
        let ranges = vec![(BlockIndex::new(1).expect("a block"), 1)];
        let request = Request::Withdraw(Withdraw { channel: upload.channel, ranges });
        let answer = self.ask(which, request).await?;
        Some(matches!(answer, Reply::Withdraw(_)))
    }

    async fn send(&mut self, which: usize, range: std::ops::Range<usize>) -> Option<()> {
        if !self.uploads[which].is_sending {
            return Some(());
        }
        for frame in self.uploads[which].chunks(range) {
            self.client.try_send_raw(&frame).await.ok()?;
        }
        Some(())
    }

    async fn announce(&mut self, which: usize, index: usize) -> Option<()> {
        if !self.uploads[which].is_sending {
            return Some(());
        }
        let frame = self.uploads[which].announcement(index);
        self.client.try_send_raw(&frame).await.ok()
    }

    /// Sends a request and waits for the answer. An error about something that was sent before
    /// counts as the answer.
    async fn ask(&mut self, which: usize, request: Request) -> Option<Reply> {
        self.client.try_send(&request).await.ok()?;
        loop {
            if let Some(answer) = self.uploads[which].answer.take() {
                return Some(answer);
            }
            self.hear().await?;
        }
    }

    async fn pause(&mut self) {
        self.client.try_finish_sending().await;
        while self.hear().await.is_some() {}
    }

    async fn hear(&mut self) -> Option<()> {
        if let Heard::Reply(reply) = self.client.next().await? {
            let channel: Channel = reply.channel();
            if let Some(upload) = self.uploads.iter_mut().find(|upload| upload.channel == channel) {
                upload.hear(reply);
            }
        }
        Some(())
    }
}
