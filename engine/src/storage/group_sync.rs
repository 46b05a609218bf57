//! Syncs of one folder that several threads ask for at once: one sync serves all threads that
//! asked before it began. A hundred files that come into a folder together cost a few syncs of
//! it, not a hundred.

use super::StorageError;
use super::directory::Directory;
use super::latch::Latch;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The syncs of one folder.
#[derive(Debug, Default)]
pub(super) struct GroupSync {
    /// The number of tickets that were taken.
    taken: AtomicU64,
    /// All tickets up to this one are served.
    served: Mutex<u64>,
}

/// When a sync was asked for: taken after the change that is to become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

impl GroupSync {
    /// A ticket for a change that was just made, or whose durability is not known.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.taken.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Makes the names durable that are in the folder, up to the one with the ticket.
    pub(super) fn sync_names(
        &self,
        ticket: Ticket,
        folder: &Directory,
        latch: &Latch,
    ) -> Result<(), StorageError> {
        match self.serve(ticket, || latch.sync_names(|| folder.sync()))? {
            Served::Now => Ok(()),
            Served::ByAnother => latch.refuse_if_closed(),
        }
    }

    /// Makes what the ticket stands for durable, and everything before it; by `sync`,
    /// unless the sync of another thread has done so already.
    fn serve(
        &self,
        ticket: Ticket,
        sync: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<Served, StorageError> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if *served >= ticket.0 {
            return Ok(Served::ByAnother);
        }
        let taken = self.taken.load(Ordering::SeqCst);
        sync()?;
        *served = taken;
        Ok(Served::Now)
    }
}

/// Which thread has synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    Now,
    /// It was begun after the ticket was taken, and has succeeded.
    ByAnother,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sync_serves_all_tickets_that_were_taken_before_it() {
        let group = GroupSync::default();
        let (first, second) = (group.ticket(), group.ticket());
        assert_eq!(group.serve(first, || Ok(())).unwrap(), Served::Now);
        let never = || panic!("it is durable already");
        assert_eq!(group.serve(second, never).unwrap(), Served::ByAnother);
        let third = group.ticket();
        let late = std::cell::Cell::new(None);
        let sync = || {
            late.set(Some(group.ticket()));
            Ok(())
        };
        assert_eq!(group.serve(third, sync).unwrap(), Served::Now);
        // A ticket that was taken during the sync may stand for a change that came too late for it.
        assert_eq!(group.serve(late.get().unwrap(), || Ok(())).unwrap(), Served::Now);
    }

    #[test]
    fn a_failed_sync_serves_no_ticket() {
        let group = GroupSync::default();
        let ticket = group.ticket();
        assert!(group.serve(ticket, || Err(StorageError::ReadOnly)).is_err());
        assert_eq!(group.serve(ticket, || Ok(())).unwrap(), Served::Now);
    }
}
