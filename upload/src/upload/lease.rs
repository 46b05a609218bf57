//! The right to write to the upload: which writers have it, and until when.

use super::Upload;
use crate::{BlockOrder, Refusal, SendingMode};
use towline_types::limits::WRITERS_MAX;
use towline_types::{Generation, Timestamp, UserId};

/// The right to write to one upload, until a later lease is granted. It is a number and no
/// lock: the next lease is granted without this one being given back. Several writers may
/// share it; see [`Upload::join`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub(super) generation: Generation,
    pub(super) mode: SendingMode,
}

impl Lease {
    /// What tells it from all other leases of its upload.
    #[must_use]
    pub const fn generation(self) -> Generation {
        self.generation
    }

    /// How its writers send.
    #[must_use]
    pub const fn mode(self) -> SendingMode {
        self.mode
    }
}

impl Upload {
    /// Whether a writer with that lease may still write: a later lease ends it for good.
    pub(super) fn check_lease(&self, lease: Lease) -> Result<(), Refusal> {
        self.check_uploading()?;
        if self.lease == Some(lease) { Ok(()) } else { Err(Refusal::Superseded) }
    }

    /// One more writer for the lease in force. Blocks, or ranges, are what the writers share;
    /// a writer whose bytes come in order is alone.
    ///
    /// # Errors
    /// In the order of the questions: does the user have such an upload, is it still
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

    /// A writer is gone; says whether its lease was in force. It ends with the last one.
    pub fn release(&mut self, lease: Lease) -> bool {
        let in_force = self.lease == Some(lease);
        if in_force {
            self.writers -= 1;
            self.lease = self.lease.filter(|_| self.writers > 0);
            if self.lease.is_none() {
                self.progress.confirm_all_requests();
            }
        }
        in_force
    }

    /// The lease ends, however many share it.
    pub fn revoke(&mut self) {
        self.lease = None;
        self.progress.confirm_all_requests();
    }

    pub(super) fn grant(&mut self, mode: SendingMode, now: Timestamp) -> Lease {
        self.generation = self.generation.next(now);
        let lease = Lease { generation: self.generation, mode };
        self.lease = Some(lease);
        self.writers = 1;
        lease
    }
}
