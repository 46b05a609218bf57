//! The rules of one upload.

use crate::progress::{Append, Progress, Snapshot, Verdict};
use crate::{BlockOrder, Integrity, Lease, Phase, Refusal, SendingMode};
use std::ops::Range;
use std::time::Duration;
use towline_types::limits::WRITERS_MAX;
use towline_types::{
    BlockIndex, ChainingValue, DocumentPath, FileHash, FileSize, Generation, Offset, Timestamp,
    UserId,
};

/// One upload, from its first byte to its receipt.
///
/// Three kinds of methods, in the order of a life:
/// * questions (`phase`, `progress`, `lease` …) change nothing;
/// * a *writer* asks [`resume`](Self::resume) (or is given the first lease by
///   [`begin`](Self::begin), or has a part in another's by
///   [`join`](Self::join)), then for each piece [`append`](Self::append),
///   writes it, says [`appended`](Self::appended) and, where a block ended,
///   [`hashed`](Self::hashed); it announces values with
///   [`announce`](Self::announce) and ends with [`complete`](Self::complete) or
///   [`release`](Self::release);
/// * the *server* says what it did: [`recorded`](Self::recorded) after a
///   checkpoint, [`published`](Self::published), [`give_up`](Self::give_up).
///
/// A refused command changes nothing, but for a block that differs from its
/// announcement: the caller withdraws it.
#[derive(Debug, Clone)]
pub struct Upload {
    owner: UserId,
    path: DocumentPath,
    phase: Phase,
    progress: Progress,
    /// That of the last lease.
    generation: Generation,
    lease: Option<Lease>,
    /// How many share the lease.
    writers: usize,
    last_byte_at: Timestamp,
}

/// What somebody says who wants to continue an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask<'a> {
    /// Who they are.
    pub user: UserId,
    /// How they send.
    pub mode: SendingMode,
    /// The file's name, where they say it.
    pub filename: Option<&'a str>,
    /// The file's size, where they say it.
    pub filesize: Option<FileSize>,
    /// The file may have become longer since: a larger size is then no other file.
    pub grow: bool,
    /// Where they believe it stands, where they say it.
    pub offset: Option<Offset>,
}

impl Upload {
    /// A new upload and the right to write to it.
    #[must_use]
    pub fn begin(
        owner: UserId,
        path: DocumentPath,
        filesize: FileSize,
        mode: SendingMode,
        now: Timestamp,
    ) -> (Self, Lease) {
        let mut upload =
            Self::restore(owner, path, Phase::Uploading, Progress::empty(filesize), now);
        let lease = upload.grant(mode, now);
        (upload, lease)
    }

    /// An upload as the catalog knows it.
    #[must_use]
    pub fn restore(
        owner: UserId,
        path: DocumentPath,
        phase: Phase,
        progress: Progress,
        last_byte_at: Timestamp,
    ) -> Self {
        let generation = Generation::MIN;
        Self { owner, path, phase, progress, generation, lease: None, writers: 0, last_byte_at }
    }

    /// Whether a file of that size may be uploaded at all.
    ///
    /// # Errors
    /// [`Refusal::SizeLimit`].
    pub fn admit(filesize: FileSize, max: FileSize) -> Result<(), Refusal> {
        if filesize > max { Err(Refusal::SizeLimit { filesize, max }) } else { Ok(()) }
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> UserId {
        self.owner
    }

    /// Under which name it was begun.
    #[must_use]
    pub fn path(&self) -> &DocumentPath {
        &self.path
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Which bytes are here.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The lease in force; nothing while the upload is paused.
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        self.lease
    }

    /// When the last byte came.
    #[must_use]
    pub fn last_byte_at(&self) -> Timestamp {
        self.last_byte_at
    }

    /// When it will be given up if no byte comes.
    #[must_use]
    pub fn expires_at(&self, patience: Duration) -> Timestamp {
        self.last_byte_at.plus(patience)
    }

    /// Continues the upload. The new lease is in force at once; whoever had one
    /// before can never write again.
    ///
    /// # Errors
    /// In the order of the questions: is there such an upload of yours, is it
    /// still uploading, has it expired, is it the same file, is it there that
    /// you continue.
    ///
    /// Where the file has grown, `progress` has another size and fewer blocks afterwards:
    /// the caller records that before anything else is written.
    pub fn resume(
        &mut self,
        ask: &Ask<'_>,
        now: Timestamp,
        patience: Duration,
    ) -> Result<Lease, Refusal> {
        if ask.user != self.owner {
            return Err(Refusal::NotFound);
        }
        self.check_uploading()?;
        if self.has_expired(now, patience) {
            return Err(Refusal::Expired { days: patience.as_secs() / 86_400 });
        }
        let before = self.progress.filesize();
        let grown = ask.filesize.filter(|filesize| ask.grow && *filesize > before);
        if grown.is_none() && ask.filesize.is_some_and(|filesize| filesize != before) {
            return Err(Refusal::FileChanged { what: "filesize" });
        }
        if ask.filename.is_some_and(|filename| filename != self.path.filename().as_str()) {
            return Err(Refusal::FileChanged { what: "filename" });
        }
        let grown = grown.map(|filesize| self.progress.grown(filesize));
        let expected = grown.as_ref().unwrap_or(&self.progress).received();
        if ask.offset.is_some_and(|offset| offset != expected) {
            return Err(Refusal::OffsetMismatch { expected });
        }
        if let Some(grown) = grown {
            self.progress = grown;
        }
        self.progress.drop_strays();
        if ask.mode.integrity == Integrity::Unannounced {
            self.progress.accept_unannounced();
        }
        Ok(self.grant(ask.mode, now))
    }

    /// One more writer for the lease in force. Blocks are what they share: each writes
    /// whole ones, in any order, so whoever needs the order of the bytes is alone.
    ///
    /// # Errors
    /// In the order of the questions: is there such an upload of yours, is it still
    /// uploading, is that its lease, can it be shared, by one more.
    pub fn join(&mut self, user: UserId, generation: Generation) -> Result<Lease, Refusal> {
        if user != self.owner {
            return Err(Refusal::NotFound);
        }
        self.check_uploading()?;
        let lease = self.lease.filter(|lease| lease.generation == generation);
        let lease = lease.ok_or(Refusal::Superseded)?;
        if lease.mode.order == BlockOrder::InOrder {
            return Err(Refusal::NotShared);
        }
        if self.writers >= WRITERS_MAX {
            return Err(Refusal::TooManyWriters { max: WRITERS_MAX });
        }
        self.writers += 1;
        Ok(lease)
    }

    /// May these bytes be written? Those of them that belong to the first block
    /// may; ask again for the rest.
    ///
    /// # Errors
    /// Where they do not follow, reach too far, or the lease is no longer in force.
    pub fn append(
        &self,
        lease: Lease,
        offset: Offset,
        length_bytes: u64,
    ) -> Result<Append, Refusal> {
        self.check_lease(lease)?;
        self.progress.append(lease.mode.order, offset, length_bytes)
    }

    /// The bytes are written.
    pub fn appended(&mut self, append: Append, now: Timestamp) {
        self.progress.appended(append);
        self.last_byte_at = now;
    }

    /// The value of a block whose last bytes have been written.
    ///
    /// # Errors
    /// [`Refusal::BlockMismatch`]: withdraw the block.
    pub fn hashed(
        &mut self,
        lease: Lease,
        index: BlockIndex,
        value: ChainingValue,
    ) -> Result<Verdict, Refusal> {
        self.progress.hashed(lease.mode.integrity, index, value)
    }

    /// The value of a block that was full before a restart and still awaits its
    /// announcement.
    pub fn read_back(&mut self, index: BlockIndex, value: ChainingValue) {
        // Without an announcement there is nothing it could differ from.
        let _ = self.progress.hashed(Integrity::Announced, index, value);
    }

    /// The writer says which value a block has, before or after its bytes.
    ///
    /// # Errors
    /// [`Refusal::BlockMismatch`]: withdraw the block.
    pub fn announce(
        &mut self,
        lease: Lease,
        index: BlockIndex,
        value: ChainingValue,
    ) -> Result<Verdict, Refusal> {
        self.check_lease(lease)?;
        self.progress.announce(index, value)
    }

    /// Forgets blocks, so that they can be sent again.
    ///
    /// # Errors
    /// Where the lease is no longer in force.
    pub fn withdraw(&mut self, lease: Lease, blocks: Range<BlockIndex>) -> Result<(), Refusal> {
        self.check_lease(lease)?;
        self.progress.withdraw(blocks);
        Ok(())
    }

    /// Everything is sent. The upload is publishing from here on; no byte may
    /// come any more.
    ///
    /// # Errors
    /// Where bytes are missing, or the whole is not what the writer claims.
    pub fn complete(
        &mut self,
        lease: Lease,
        claimed: Option<FileHash>,
    ) -> Result<FileHash, Refusal> {
        self.check_lease(lease)?;
        // A block that its writer meant to announce and did not is vouched for by
        // the hash of the whole, or by nobody.
        let vouched = lease.mode.integrity == Integrity::Unannounced || claimed.is_some();
        let actual = self.progress.whole(vouched)?;
        match claimed {
            Some(claimed) if claimed != actual => Err(Refusal::HashMismatch { claimed, actual }),
            _ => {
                self.progress.accept_unannounced();
                self.phase = Phase::Publishing;
                Ok(actual)
            }
        }
    }

    /// The name was taken: the upload waits for another word of its writer.
    pub fn unpublish(&mut self) {
        if self.phase == Phase::Publishing {
            self.phase = Phase::Uploading;
        }
    }

    /// The document is in its place.
    pub fn published(&mut self) {
        self.phase = Phase::Completed;
        self.lease = None;
    }

    /// The upload ends without a document.
    ///
    /// # Errors
    /// Where it has ended already.
    pub fn give_up(&mut self, phase: Phase) -> Result<(), Refusal> {
        match self.phase {
            Phase::Uploading | Phase::Publishing => {
                self.phase = phase;
                self.lease = None;
                Ok(())
            }
            ended => Err(Refusal::NotUploading(ended)),
        }
    }

    /// A writer is gone; says whether its lease was in force. It ends with the last one.
    pub fn release(&mut self, lease: Lease) -> bool {
        let in_force = self.lease == Some(lease);
        if in_force {
            self.writers -= 1;
            self.lease = self.lease.filter(|_| self.writers > 0);
        }
        in_force
    }

    /// The lease ends, however many share it.
    pub fn revoke(&mut self) {
        self.lease = None;
    }

    /// The data of the snapshot is synced and the catalog has recorded it.
    pub fn recorded(&mut self, snapshot: &Snapshot) {
        self.progress.recorded(snapshot);
    }

    /// Whether so much time has passed without a byte that nobody will come back.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp, patience: Duration) -> bool {
        self.lease.is_none() && now > self.expires_at(patience)
    }

    fn grant(&mut self, mode: SendingMode, now: Timestamp) -> Lease {
        self.generation = self.generation.next(now);
        let lease = Lease { generation: self.generation, mode };
        self.lease = Some(lease);
        self.writers = 1;
        lease
    }

    fn check_uploading(&self) -> Result<(), Refusal> {
        if self.phase == Phase::Uploading { Ok(()) } else { Err(Refusal::NotUploading(self.phase)) }
    }

    fn check_lease(&self, lease: Lease) -> Result<(), Refusal> {
        self.check_uploading()?;
        if self.lease == Some(lease) { Ok(()) } else { Err(Refusal::Superseded) }
    }
}
