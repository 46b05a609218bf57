//! The rules of one upload.

mod ending;
mod lease;
mod resume;
mod writing;

use crate::progress::Progress;
use crate::{Length, Phase, Refusal, SendingMode};
pub use lease::Lease;
pub use resume::ResumeClaim;
use std::time::Duration;
use towline_types::{DocumentPath, FileSize, Generation, Timestamp, UserId};

/// One upload, from its first byte to its receipt.
///
/// Three kinds of methods, in the order of a life:
/// * questions (`phase`, `progress`, `lease` …) change nothing;
/// * a *writer* asks [`resume`](Self::resume) (or is given the first lease by
///   [`begin`](Self::begin), or a part in the lease in force by [`join`](Self::join)), then for
///   each piece [`append`](Self::append), writes it, says [`appended`](Self::appended) and,
///   where a block is whole, [`hashed`](Self::hashed); it announces values with
///   [`announce`](Self::announce), says how long the file is with [`declare`](Self::declare)
///   where that was not known at the beginning, and ends with [`complete`](Self::complete) or
///   [`release`](Self::release);
/// * the *server* says what it did: [`recorded`](Self::recorded) after a
///   checkpoint, [`published`](Self::published), [`give_up`](Self::give_up).
///
/// A refused command changes nothing, but for a block that differs from its
/// announcement: the caller [takes it back](Self::take_back_unconfirmed).
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

impl Upload {
    /// A new upload and the right to write to it.
    #[must_use]
    pub fn begin(
        owner: UserId,
        path: DocumentPath,
        length: Length,
        mode: SendingMode,
        now: Timestamp,
    ) -> (Self, Lease) {
        let mut upload = Self::restore(owner, path, Phase::Uploading, Progress::empty(length), now);
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

    /// The user whose document it becomes.
    #[must_use]
    pub fn owner(&self) -> UserId {
        self.owner
    }

    /// Under which name it was begun.
    #[must_use]
    pub fn path(&self) -> &DocumentPath {
        &self.path
    }

    /// Where it is in its life.
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

    /// Whether the upload is complete, and was completed under that lease: no later lease was
    /// granted.
    #[must_use]
    pub fn was_completed_under(&self, lease: Lease) -> bool {
        matches!(self.phase, Phase::Publishing | Phase::Completed)
            && self.generation == lease.generation
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

    /// Whether no byte has come for longer than `patience`, and no writer has its lease.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp, patience: Duration) -> bool {
        self.lease.is_none() && now > self.expires_at(patience)
    }

    fn check_uploading(&self) -> Result<(), Refusal> {
        if self.phase == Phase::Uploading { Ok(()) } else { Err(Refusal::NotUploading(self.phase)) }
    }
}
