//! A client that changes a tree at random over one connection: it makes, replaces, moves, removes
//! and restores files, folders and links, and reads documents back.

use super::crash_client::{CrashClient, Gone};
use super::ledger::Ledger;
use super::tree_ledger::Wish;
use crate::one_shot_frames::one_shot_frames;
use crate::raw_client::{Heard, upload};
use crate::site::TestUser;
use crate::test_file::{BLOCK, TestFile};
use std::sync::Arc;
use std::time::Duration;
use towline_protocol::reply::Read as ReadReply;
use towline_protocol::request::{
    Delta, Link, List, Mkdir, Move, Read, Remove, Restore, Stat, Upload, Versions,
};
use towline_protocol::{Channel, Code, ErrorReply, Reply, Request};
use towline_types::{DocumentId, LinkTarget, OnConflict};

/// The work on one connection.
pub(super) struct TreeWorker {
    pub(super) client: CrashClient,
    pub(super) user: TestUser,
    pub(super) ledger: Ledger,
    pub(super) chance: fastrand::Rng,
}

impl TreeWorker {
    /// Changes the tree until the connection ends.
    pub(super) async fn work(&mut self) {
        while self.one().await.is_ok() {
            if self.chance.u8(..) < 60 {
                tokio::time::sleep(Duration::from_millis(self.chance.u64(0..10))).await;
            }
        }
    }

    async fn one(&mut self) -> Result<(), Gone> {
        match self.chance.u8(0..20) {
            0..6 => self.put().await,
            6..8 => self.look().await,
            8..10 => self.read().await,
            _ => self.change().await,
        }
    }

    /// Sends a small file at once. Its name is often taken.
    async fn put(&mut self) -> Result<(), Gone> {
        let test_file = TestFile::of_seed(self.chance.usize(1..30_000), self.chance.u64(..));
        let test_file = Arc::new(test_file);
        let path = self.path();
        let (name, folder) = path.split_last().expect("a path has a name");
        let on_conflict = match self.chance.u8(0..8) {
            0 => OnConflict::Rename,
            1 => OnConflict::Skip,
            2 => OnConflict::Reject,
            _ => OnConflict::Replace,
        };
        let (channel, folder) = (self.client.channel(), folder.to_vec());
        let request = Upload { channel, folder, on_conflict, ..upload(name, &test_file) };
        self.ledger.trees().will_send(self.user.id, &test_file);
        let wish = Wish::Put { hash: test_file.hash(), path: path.clone() };
        self.ledger.trees().will_ask(self.user.id, wish);
        self.client.send(&one_shot_frames(request, &test_file)).await?;
        loop {
            match self.client.reply_on(channel).await? {
                Reply::Upload(_) | Reply::Progress(_) => {}
                Reply::Success(_) => return Ok(()),
                Reply::Error(error) => {
                    self.may_be_refused(&error);
                    return Ok(());
                }
                other => panic!("an upload is answered by {other:?}"),
            }
        }
    }

    /// Asks for a change, and waits for its answer.
    async fn change(&mut self) -> Result<(), Gone> {
        let channel = self.client.channel();
        let node = self.ledger.trees().any_node(self.user.id, &mut self.chance);
        let (wish, request) = match (self.chance.u8(0..12), node) {
            (0..2, _) | (_, None) => {
                let path = self.path();
                let request = Mkdir { channel, path: path.clone(), mode: None };
                (Wish::MakeFolder { path }, Request::Mkdir(request))
            }
            (2, _) => {
                let (path, target) = (self.path(), format!("to/{}", self.chance.u8(0..4)));
                let to = LinkTarget::new(&*target).expect("a legal target");
                let (mtime_ms, on_conflict) = (None, OnConflict::Replace);
                let link = Link { channel, path: path.clone(), target: to, mtime_ms, on_conflict };
                (Wish::MakeLink { path, target }, Request::Link(link))
            }
            (3..7, Some(node)) => {
                let to = self.path();
                let node_id = Some(node);
                let request = Move { channel, node_id, to: to.clone(), ..Move::default() };
                (Wish::Move { node, to }, Request::Move(request))
            }
            (7..9, Some(node)) => {
                let (node_id, recursive) = (Some(node), self.chance.bool());
                let request = Remove { channel, node_id, recursive, ..Remove::default() };
                (Wish::Remove { node }, Request::Remove(request))
            }
            (9..11, Some(node)) => {
                let request = Restore { channel, node_id: Some(node), ..Restore::default() };
                (Wish::Restore { node }, Request::Restore(request))
            }
            (_, Some(node)) => {
                let version = self.ledger.trees().any_document(self.user.id, &mut self.chance);
                if version.is_none() {
                    return Ok(());
                }
                let node_id = Some(node);
                let request = Restore { channel, node_id, version, ..Restore::default() };
                (Wish::RestoreVersion { node }, Request::Restore(request))
            }
        };
        self.ledger.trees().will_ask(self.user.id, wish);
        self.client.ask(&request).await?;
        if let Reply::Error(error) = self.client.reply_on(channel).await? {
            self.may_be_refused(&error);
        }
        Ok(())
    }

    /// A question; the ledger compares the answer with what was shown before.
    async fn look(&mut self) -> Result<(), Gone> {
        let channel = self.client.channel();
        let node_id = self.ledger.trees().any_node(self.user.id, &mut self.chance);
        let request = match self.chance.u8(0..4) {
            0 => {
                let (path, recursive, limit) = (Some(Vec::new()), true, Some(20));
                Request::List(List { channel, path, recursive, limit, ..List::default() })
            }
            1 => Request::Stat(Stat { channel, node_id, path: None }),
            2 => Request::Versions(Versions { channel, node_id, ..Versions::default() }),
            _ => Request::Delta(Delta { channel, limit: Some(50), ..Delta::default() }),
        };
        if node_id.is_none() {
            return Ok(());
        }
        self.client.ask(&request).await?;
        loop {
            let is_last = match self.client.reply_on(channel).await? {
                Reply::List(listing) => listing.end,
                Reply::Versions(versions) => versions.end,
                Reply::Delta(delta) => delta.end,
                Reply::Error(error) => {
                    self.may_be_refused(&error);
                    true
                }
                _ => true,
            };
            if is_last {
                return Ok(());
            }
        }
    }

    /// Reads a document that is complete.
    async fn read(&mut self) -> Result<(), Gone> {
        let document = self.ledger.trees().any_document(self.user.id, &mut self.chance);
        let Some(document) = document else { return Ok(()) };
        read_back(&mut self.client, &self.user, &self.ledger, document).await
    }

    /// A path of few names, so that they are taken again and again.
    fn path(&mut self) -> Vec<String> {
        let depth = self.chance.usize(0..3);
        let folders = (0..depth).map(|_| format!("folder {}", self.chance.u8(0..4)));
        let mut path: Vec<_> = folders.collect();
        path.push(match self.chance.u8(0..3) {
            0 => format!("folder {}", self.chance.u8(0..4)),
            _ => format!("file {}.bin", self.chance.u8(0..6)),
        });
        path
    }

    /// Another client may have changed what the request is about.
    fn may_be_refused(&self, error: &ErrorReply) {
        let is_expected = matches!(
            error.code,
            Code::NotFound
                | Code::Exists
                | Code::Busy
                | Code::Conflict
                | Code::Cycle
                | Code::NotEmpty
                | Code::BadState
                | Code::BadName
                | Code::Cancelled
                | Code::ShuttingDown
        );
        if !is_expected {
            self.ledger.breach(format!("a change of the tree is refused: {error:?}"));
        }
    }
}

/// Reads a document, and compares it with what was sent: also an older version, and one in the
/// trash, is there and good (P3).
pub(super) async fn read_back(
    client: &mut CrashClient,
    user: &TestUser,
    ledger: &Ledger,
    document: DocumentId,
) -> Result<(), Gone> {
    let channel = client.channel();
    let (document_id, blocks) = (Some(document), document.get().is_multiple_of(2));
    client.ask(&Request::Read(Read { channel, document_id, blocks, ..Read::default() })).await?;
    let mut bytes = Vec::new();
    loop {
        match client.heard().await? {
            Heard::Chunk(on, _, payload) if on == channel => bytes.extend_from_slice(&payload.0),
            Heard::Reply(Reply::Error(error)) if error.channel == channel => {
                // A connection that is closed for the stop of the server says so.
                if error.code != Code::ShuttingDown {
                    ledger.breach(format!("{document} cannot be read (P3): {error:?}"));
                }
                return Ok(());
            }
            Heard::Reply(Reply::Read(ReadReply::Ends(end))) if end.channel == channel => break,
            _ => {}
        }
    }
    let hash = towline_types::FileHash::from_bytes(blake3::hash(&bytes).into());
    let is_sent = ledger.trees().file(user.id, hash).is_some_and(|sent| sent.bytes == bytes);
    if !is_sent {
        let length = bytes.len();
        ledger.breach(format!("{document} is read as {length} bytes that nobody sent (P2)"));
    }
    debug_assert!(bytes.len() < BLOCK, "small files");
    Ok(())
}

/// The channel is new, so that every frame on it belongs to this question.
pub(super) async fn all_below(
    client: &mut CrashClient,
) -> Result<Vec<towline_protocol::Node>, Gone> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let channel: Channel = client.channel();
        let (path, recursive, limit) = (Some(Vec::new()), true, Some(500));
        let list = List { channel, path, recursive, limit, after, ..List::default() };
        client.ask(&Request::List(list)).await?;
        after = loop {
            match client.reply_on(channel).await? {
                Reply::List(listing) => {
                    all.extend(listing.entries);
                    if listing.end {
                        break listing.next;
                    }
                }
                other => panic!("a list is answered by {other:?}"),
            }
        };
        if after.is_none() {
            return Ok(all);
        }
    }
}
