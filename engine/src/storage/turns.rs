//! Syncs that several ask for at once: one serves all who asked before it began. A
//! hundred files that come into a folder together cost a few syncs of it, not a hundred.

use super::StorageError;
use super::directory::Directory;
use super::latch::Latch;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Those who ask for a sync of one thing.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: AtomicU64,
    served: Mutex<u64>,
}

/// Says when its holder asked: behind the change that is to become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

impl Turns {
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
    /// unless somebody else's has done so already.
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

/// Whose sync it was.
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
    fn one_sync_serves_all_who_asked_before_it() {
        let turns = Turns::default();
        let (first, second) = (turns.ticket(), turns.ticket());
        assert_eq!(turns.serve(first, || Ok(())).unwrap(), Served::Now);
        let never = || panic!("it is durable already");
        assert_eq!(turns.serve(second, never).unwrap(), Served::ByAnother);
        let third = turns.ticket();
        let late = std::cell::Cell::new(None);
        let sync = || {
            late.set(Some(turns.ticket()));
            Ok(())
        };
        assert_eq!(turns.serve(third, sync).unwrap(), Served::Now);
        // Who asked while it was under way may have come too late for it.
        assert_eq!(turns.serve(late.get().unwrap(), || Ok(())).unwrap(), Served::Now);
    }

    #[test]
    fn a_failed_sync_serves_nobody() {
        let turns = Turns::default();
        let ticket = turns.ticket();
        assert!(turns.serve(ticket, || Err(StorageError::ReadOnly)).is_err());
        assert_eq!(turns.serve(ticket, || Ok(())).unwrap(), Served::Now);
    }
}
