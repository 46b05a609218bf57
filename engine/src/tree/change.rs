//! Changes of the place of a node: moved, removed, restored.
//!
//! A rename on the disk and a commit of the catalog cannot be one step. So each change has three:
//!
//! 1. The catalog records what is intended. From here on a start finds it and finishes it (P4),
//!    and no other upload or move gets the new name.
//! 2. The disk renames, never over anything (P2), and both folders are synced, so that no power
//!    cut takes the name back (P3). A folder is one rename, however much is below it.
//! 3. One transaction changes the row of the node, writes the change into the log, and removes the
//!    intention. Only then the client is told of the change, and other clients are woken (P3).
//!
//! Where step 2 finds that nothing can be moved, the intention is dropped and nothing has changed.
//! Where it is not known what the disk has done, the intention stays: the next change of this user
//! finishes it first, or the next start does (P4, P5). Until then a file of this user that is not
//! found in its place does not count as removed.

use super::place_locks::ChangeGuard;
use crate::error::Error;
use crate::failpoint;
use crate::log;
use crate::may_block::MayBlock;
use crate::publish::deferred;
use crate::shared::Shared;
use crate::storage::{Loss, Spot, StorageError};
use std::time::{Duration, Instant};
use towline_state::CatalogError;
use towline_state::catalog::{self, Move, Node, Refusal};
use towline_types::{NodeKind, NodePath, UserId};

/// How long a change waits for uploads that are just getting their names below the node, or for
/// another change that is in its way.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest time between two looks at what is in the way. Where its end is a change, the waiting
/// thread is woken at once. An upload that fails and a move that is dropped are no changes.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How many intentions are in memory at a time.
const PAGE: u32 = 256;

/// A change that was made.
pub(super) struct Changed {
    /// The node after the change.
    pub(super) node: Node,
    /// Its place; none while it is in the trash.
    pub(super) path: Option<NodePath>,
}

/// Makes a change: `intend` asks the catalog for step 1. Blocks.
pub(super) fn carry_out(
    shared: &Shared,
    user: UserId,
    may_block: MayBlock,
    mut intend: impl FnMut() -> Result<Move, Error>,
) -> Result<Changed, Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut others = None;
    loop {
        match try_once(shared, user, may_block, &mut intend) {
            Err(Error::Catalog(CatalogError::Refused(Refusal::Busy)))
                if Instant::now() < deadline && !shared.stopping.is_cancelled() =>
            {
                // Documents that have their names and wait for their sync are under way as well.
                // The lock of the places is not held here: the lock of the sync comes before it.
                deferred::sync_deferred(shared);
                match &mut others {
                    // What was in the way may have ended before this thread listens, so it looks
                    // once more first.
                    None => others = Some(shared.notifier.wait_for(user)),
                    Some(others) => others.change_or(LOOK_AGAIN),
                }
            }
            done => return done,
        }
    }
}

fn try_once(
    shared: &Shared,
    user: UserId,
    may_block: MayBlock,
    intend: &mut impl FnMut() -> Result<Move, Error>,
) -> Result<Changed, Error> {
    let guard = shared.places.change(user, may_block);
    if shared.storage.latch().is_closed() {
        return Err(StorageError::ReadOnly.into());
    }
    settle(shared, user, &guard)?;
    let intended = intend()?;
    failpoint::reach("move.intended");
    let changed = finish(shared, &intended);
    guard.set_unsettled(matches!(&changed, Err(Unfinished::Unknown(_))));
    drop(guard);
    match changed {
        Ok(node) => {
            shared.notifier.raise(user);
            Ok(Changed { node, path: new_place(&intended) })
        }
        Err(Unfinished::Dropped(error)) => Err(error),
        Err(Unfinished::Unknown(error)) => {
            tracing::error!(
                node_id = %intended.node.node_id, error = log::chain(&error),
                "a move was cut off; it is finished later"
            );
            shared.storage_follows_catalog();
            Err(Error::MoveUnfinished(Box::new(error)))
        }
    }
}

/// Finishes what an earlier change of this user has left, before another one is made.
fn settle(shared: &Shared, user: UserId, guard: &ChangeGuard<'_>) -> Result<(), Error> {
    if !guard.is_unsettled() {
        return Ok(());
    }
    each_intended(shared, |intended| {
        if intended.node.user_id == user
            && let Err(Unfinished::Unknown(error)) = finish(shared, &intended)
        {
            return Err(Error::MoveUnfinished(Box::new(error)));
        }
        Ok(())
    })?;
    guard.set_unsettled(false);
    shared.notifier.raise(user);
    Ok(())
}

/// Finishes at a start what a crash has cut off. What cannot be finished now stays for the next
/// change of that user, or for the next start. Blocks.
pub(crate) fn recover(shared: &Shared) -> Result<(), Error> {
    each_intended(shared, |intended| {
        let (node_id, user) = (intended.node.node_id, intended.node.user_id);
        match finish(shared, &intended) {
            Ok(_) => tracing::info!(%node_id, %user, "a move was finished"),
            Err(Unfinished::Dropped(error)) => {
                let error = log::chain(&error);
                tracing::warn!(%node_id, %user, error, "a move that had begun was not made");
            }
            Err(Unfinished::Unknown(error)) => {
                let error = log::chain(&error);
                tracing::error!(%node_id, %user, error, "a move could not be finished");
                shared.places.leave_unsettled(user);
            }
        }
        failpoint::reach("recovery.moved");
        Ok(())
    })
}

fn each_intended(
    shared: &Shared,
    mut work: impl FnMut(Move) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = shared.catalog.moves(after, PAGE).wait()?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.node.node_id);
        page.into_iter().try_for_each(&mut work)?;
    }
}

/// Why a change was not finished.
enum Unfinished {
    /// Nothing was moved, and the intention is gone.
    Dropped(Error),
    /// It is not known what was moved, or the catalog could not record it.
    Unknown(Error),
}

/// Does steps 2 and 3 of an intended change. It may be called again after a crash at any point:
/// the store finds that it has moved already, and the transaction is made once.
fn finish(shared: &Shared, intended: &Move) -> Result<Node, Unfinished> {
    if !intended.is_row_alone
        && let Err(error) = relocate(shared, intended)
    {
        if !has_moved_nothing(shared, intended, &error) {
            return Err(Unfinished::Unknown(error.into()));
        }
        return match shared.catalog.drop_move(intended.node.node_id).wait() {
            Ok(()) => Err(Unfinished::Dropped(error.into())),
            Err(error) => Err(Unfinished::Unknown(error.into())),
        };
    }
    failpoint::reach("move.renamed");
    let now = shared.clock().now();
    let finished = shared.catalog.finish_move(intended.node.node_id, now).wait();
    let node = finished.map_err(|error| Unfinished::Unknown(error.into()))?;
    failpoint::reach("move.recorded");
    Ok(node)
}

fn relocate(shared: &Shared, intended: &Move) -> Result<(), StorageError> {
    let (user, from, to) = (intended.node.user_id, spot(&intended.from), spot(&intended.to));
    match (shared.storage.relocate(user, &from, &to), &to) {
        // What the operator has removed by hand can be removed: nothing is left to be renamed.
        (Err(StorageError::Lost(Loss::Missing)), Spot::Trash(_)) => Ok(()),
        // A folder is as good as another empty one.
        (Err(StorageError::Lost(Loss::Missing)), Spot::Living(path))
            if intended.node.kind == NodeKind::Folder =>
        {
            shared.storage.make_folder(user, path)
        }
        (relocated, _) => relocated,
    }
}

/// Whether nothing has moved: the store says so (see
/// [`relocate`](crate::storage::TreeStorage::relocate)), or the disk does.
fn has_moved_nothing(shared: &Shared, intended: &Move, error: &StorageError) -> bool {
    let is_certain = matches!(
        error,
        StorageError::Exists
            | StorageError::Lost(_)
            | StorageError::NotAFolder
            | StorageError::Unsafe { .. }
            | StorageError::Refused { .. }
    );
    let user = intended.node.user_id;
    let is_there = |place| shared.storage.is_there(user, &spot(place));
    is_certain
        || matches!((is_there(&intended.from), is_there(&intended.to)), (Ok(Some(_)), Ok(None)))
}

/// Where the node lies after the change.
fn new_place(intended: &Move) -> Option<NodePath> {
    match &intended.to {
        catalog::Spot::Living(path) => Some(NodePath::from(path.clone())),
        catalog::Spot::Trash(_) | catalog::Spot::Version(_) => None,
    }
}

fn spot(spot: &catalog::Spot) -> Spot {
    match spot {
        catalog::Spot::Living(path) => Spot::Living(path.clone()),
        catalog::Spot::Trash(node) => Spot::Trash(*node),
        catalog::Spot::Version(document) => Spot::Version(*document),
    }
}
