//! What is kept no longer: what was removed long ago, versions of files by the
//! [retention](crate::Keep), and the beginning of the change log.
//!
//! Files are deleted before the rows that know them, durably: a crash in between leaves rows whose
//! files are gone, and the next sweep deletes both (P4); in the other order it would leave files
//! of which no row knows. Files that no row knows are other programs', and are set aside by the
//! store. What is deleted here is seen by no user any more: nothing that a list shows, and no
//! version that is the one of its file.
//!
//! The clock has to be trusted: see [`ClockTrust`](crate::expiry::clock_trust::ClockTrust). Where
//! an operator asks for the deletion ([`cleanup`](crate::cleanup)), the operator answers for the
//! clock.

use crate::error::Error;
use crate::failpoint;
use crate::log;
use crate::may_block::MayBlock;
use crate::shared::Shared;
use crate::storage::{Deleted, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use towline_state::CatalogError;
use towline_state::catalog::{Located, Node, NodeRef, Refusal};
use towline_types::{DocumentId, Name, NodeId, Timestamp, UserId};

/// The number of rows that one transaction reads or deletes. Other requests to the catalog wait
/// while it runs.
const PAGE: u32 = if cfg!(test) { 4 } else { 256 };

/// What a sweep has deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Things that had been removed, each with all that was below it.
    pub removed: u64,
    /// Older versions of files.
    pub versions: u64,
    /// Entries of the change log.
    pub changes: u64,
    /// The lengths of the files that were deleted.
    pub bytes: u64,
    /// Things that had been removed, and older versions, that could not be deleted; the log says
    /// why.
    pub left: u64,
}

impl Swept {
    /// Whether anything was deleted.
    #[must_use]
    pub const fn has_deleted(self) -> bool {
        self.removed + self.versions + self.changes > 0
    }
}

/// Deletes everything that is kept no longer by a clock that is trusted, a page at a time, until
/// nothing is left or the engine is to end. Blocks.
pub(crate) fn sweep(shared: &Shared) -> Result<Swept, Error> {
    sweep_where(shared, |kept_for| shared.clock_trust.is_trusted_for(kept_for))
}

/// The same at once, for an operator who says that the clock is right. Blocks.
pub(crate) fn sweep_now(shared: &Shared) -> Result<Swept, Error> {
    sweep_where(shared, |_| true)
}

/// Deletes what is kept no longer, each kind only where the clock is trusted for the time that this
/// kind is kept.
fn sweep_where(shared: &Shared, is_trusted_for: impl Fn(Duration) -> bool) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    if shared.storage.latch().is_closed() {
        return Ok(swept);
    }
    let keep = shared.config.keep;
    // An error in one kind does not end the others: they would be kept for ever (P6).
    let mut all = Ok(());
    if is_trusted_for(keep.trash) {
        all = sweep_trash(shared, &mut swept);
    }
    if is_trusted_for(keep.versions.daily) {
        all = all.and(sweep_versions(shared, &mut swept));
    }
    if is_trusted_for(keep.changes) {
        all = all.and(sweep_changes(shared, &mut swept));
    }
    all.map(|()| swept)
}

/// The time `kept_for` before now; `None` where that is before 1970, or where something is kept for
/// ever.
pub(crate) fn before(now: Timestamp, kept_for: Duration) -> Option<Timestamp> {
    let kept_ms = u64::try_from(kept_for.as_millis()).ok()?;
    let moment = now.get().checked_sub(kept_ms)?;
    Timestamp::try_from(moment).ok()
}

fn sweep_trash(shared: &Shared, swept: &mut Swept) -> Result<(), Error> {
    let Some(moment) = before(shared.clock().now(), shared.config.keep.trash) else {
        return Ok(());
    };
    for user in shared.catalog.users().wait()?.into_iter().flatten() {
        let (user, mut after) = (user.user_id, None);
        loop {
            let expired = shared.catalog.expired_trash(user, moment, after, PAGE).wait()?;
            for root in expired.nodes {
                if shared.stopping.is_cancelled() {
                    return Ok(());
                }
                match delete_removed(shared, user, root, swept) {
                    Ok(true) => swept.removed += 1,
                    // It is being restored, or a move of this user is not finished. It waits for
                    // the next sweep; what was removed later does not wait for it (P6).
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(node_id = %root, %user, error = log::chain(&error), "something in the trash could not be deleted");
                        swept.left += 1;
                    }
                }
            }
            after = expired.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// Whether a removed node is kept no longer: from then on it is deleted, and not restored. While
/// the clock is not trusted nothing is.
pub(super) fn is_past_its_time(shared: &Shared, removed: &Node) -> bool {
    let kept_for = shared.config.keep.trash;
    let moment = before(shared.clock().now(), kept_for);
    shared.clock_trust.is_trusted_for(kept_for)
        && removed.deleted_at.is_some_and(|at| moment.is_some_and(|moment| at < moment))
}

/// Deletes one thing that was removed, with all that is below it; returns whether all of it is
/// gone.
fn delete_removed(
    shared: &Shared,
    user: UserId,
    root: NodeId,
    swept: &mut Swept,
) -> Result<bool, Error> {
    // A restoration that began before the time was over ends first; none begins from now on.
    drop(shared.places.change(user, MayBlock::on_own_thread()));
    if shared.places.may_differ(user) {
        return Ok(false);
    }
    match shared.catalog.locate(user, NodeRef::Id(root)).wait() {
        Ok(Located::InTrash { below, .. }) if below.is_empty() => {}
        Ok(_) | Err(CatalogError::Refused(Refusal::NoSuchNode)) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let (mut unknown, mut current, mut bytes) = (None, Vec::new(), 0);
    let mut judge = |below: &[Name]| {
        if shared.stopping.is_cancelled() {
            return Verdict::Stop;
        }
        match shared.catalog.in_trash(user, root, below).wait() {
            Ok(Some(document)) => {
                current.push(document.document_id);
                bytes += document.filesize.get();
                Verdict::Delete
            }
            Ok(None) => Verdict::Keep,
            Err(error) => {
                unknown = Some(error);
                Verdict::Stop
            }
        }
    };
    let deleted = shared.storage.delete_trash(user, root, &mut judge)?;
    if let Some(error) = unknown {
        return Err(error.into());
    }
    match deleted {
        Deleted::All => {}
        Deleted::Kept(place) => {
            let place = place.display();
            tracing::warn!(node_id = %root, %user, %place, "files of other programs lay in a removed folder; they were set aside");
        }
        Deleted::Stopped => return Ok(false),
    }
    // A replacement that was given up may have left a second name of a current version.
    for versions in current.chunks(PAGE as usize) {
        shared.storage.delete_versions(user, versions)?;
    }
    failpoint::reach("expiry.deleted");
    swept.bytes += bytes;
    loop {
        if shared.stopping.is_cancelled() {
            return Ok(false);
        }
        let isolated = shared.catalog.quarantined_in_trash(user, root, PAGE).wait()?;
        if !isolated.is_empty() {
            swept.bytes += shared.catalog.bytes_of(isolated.clone()).wait()?;
            shared.storage.delete_versions(user, &isolated)?;
        }
        let versions = shared.catalog.versions_in_trash(user, root, PAGE).wait()?;
        if !versions.is_empty() {
            swept.bytes += delete_versions(shared, user, versions)?;
        }
        match shared.catalog.forget_trash(user, root, PAGE).wait() {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(CatalogError::Refused(Refusal::Busy)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

fn sweep_versions(shared: &Shared, swept: &mut Swept) -> Result<(), Error> {
    let (retention, now) = (shared.config.keep.versions, shared.clock().now());
    let (mut after, mut told) = (None, BTreeSet::new());
    loop {
        let expired = shared.catalog.expired_versions(after, retention, now, PAGE).wait()?;
        let mut of_users: BTreeMap<UserId, Vec<DocumentId>> = BTreeMap::new();
        for (user, version) in expired.versions {
            of_users.entry(user).or_default().push(version);
        }
        for (user, versions) in of_users {
            if shared.stopping.is_cancelled() {
                return Ok(());
            }
            let count = versions.len() as u64;
            match delete_versions(shared, user, versions) {
                Ok(bytes) => {
                    swept.versions += count;
                    swept.bytes += bytes;
                }
                // The disk of one user may be away for months: the versions of all others go
                // meanwhile (P6).
                Err(error) => {
                    swept.left += count;
                    if told.insert(user) {
                        tracing::warn!(%user, error = log::chain(&error), "older versions could not be deleted");
                    }
                }
            }
        }
        after = expired.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Deletes earlier versions of a user's files, and returns how many bytes they had.
fn delete_versions(shared: &Shared, user: UserId, versions: Vec<DocumentId>) -> Result<u64, Error> {
    let bytes = shared.catalog.bytes_of(versions.clone()).wait()?;
    shared.storage.delete_versions(user, &versions)?;
    failpoint::reach("expiry.versions_deleted");
    shared.catalog.forget_versions(versions).wait()?;
    Ok(bytes)
}

fn sweep_changes(shared: &Shared, swept: &mut Swept) -> Result<(), Error> {
    let Some(moment) = before(shared.clock().now(), shared.config.keep.changes) else {
        return Ok(());
    };
    for user in shared.catalog.users().wait()?.into_iter().flatten() {
        loop {
            if shared.stopping.is_cancelled() {
                return Ok(());
            }
            let trimmed = shared.catalog.trim_changes(user.user_id, moment, PAGE).wait()?;
            swept.changes += trimmed;
            if trimmed == 0 {
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{MemoryStorage, Spot, TreeStorage as _};
    use crate::tree::request::{DeltaRequest, ListFilter, Since};
    use crate::{
        Account, Clock, Engine, EngineConfig, Keep, NewUpload, Origin, RejectionKind, SendingMode,
    };
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tempfile::TempDir;
    use tokio::runtime::Handle;
    use tokio::task::block_in_place;
    use towline_state::catalog::{Cursor, Length, RemovalGuard, ResetReason, Retention};
    use towline_testkit::{path, size};
    use towline_types::{NodePath, OnConflict};

    const DAY_MS: u64 = 86_400_000;

    /// An engine with a clock that a test moves, and a user.
    struct Kept {
        account: Account,
        storage: MemoryStorage,
        engine: Engine,
        passed_ms: Arc<AtomicU64>,
        /// How far the wall clock alone is ahead.
        wall_ms: Arc<AtomicU64>,
        _folder: TempDir,
    }

    impl Kept {
        async fn new() -> Self {
            Self::keeping(Keep::default()).await
        }

        async fn keeping(keep: Keep) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let passed_ms = Arc::<AtomicU64>::default();
            let mut config = EngineConfig::new(folder.path());
            config.reserve_bytes = 0;
            config.keep = keep;
            let (wall, steady) = (Arc::clone(&passed_ms), Arc::clone(&passed_ms));
            let wall_ms = Arc::<AtomicU64>::default();
            let ahead = Arc::clone(&wall_ms);
            let now = move || {
                let passed = wall.load(Ordering::SeqCst) + ahead.load(Ordering::SeqCst);
                Timestamp::try_from(20_000 * DAY_MS + passed).unwrap()
            };
            let steady = move || Duration::from_millis(steady.load(Ordering::SeqCst));
            config.clock = Clock::with_steady(now, steady);
            let storage = MemoryStorage::new(1 << 20);
            let shared = Arc::new(storage.clone());
            let open = || Engine::open_with_storage(config, shared, &Handle::current());
            let engine = block_in_place(open).unwrap();
            let user = engine.add_user("ada").await.unwrap().user_id;
            let account = engine.account(user, Origin::new("a test"));
            Self { account, storage, engine, passed_ms, wall_ms, _folder: folder }
        }

        fn pass_days(&self, days: u64) {
            self.passed_ms.fetch_add(days * DAY_MS, Ordering::SeqCst);
        }

        async fn put(&self, place: &str, bytes: &[u8]) -> DocumentId {
            let length = Length::Declared(size(bytes.len() as u64));
            let mut new = NewUpload::new(path(place), length, SendingMode::PLAIN);
            new.on_conflict = OnConflict::Replace;
            let mut buffer = self.account.buffer(bytes.len()).await;
            buffer.space()[..bytes.len()].copy_from_slice(bytes);
            buffer.filled(bytes.len());
            let stored = self.account.put_whole(new, buffer, None).await.unwrap();
            stored.receipt.document_id()
        }

        fn sweep(&self) -> Swept {
            let shared = Arc::clone(&self.account.watch().shared);
            block_in_place(|| sweep(&shared)).unwrap()
        }

        async fn now(&self) -> Cursor {
            let request = DeltaRequest { since: Since::Now, limit: 1, wait: Duration::ZERO };
            self.account.delta(request).await.unwrap().next
        }
    }

    fn at(place: &str) -> NodeRef {
        NodeRef::Path(NodePath::typed(place).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_removed_goes_for_good_when_its_time_is_over() {
        let kept = Kept::new().await;
        let user = UserId::MIN;
        let old = kept.put("a/b/doc", b"one").await;
        kept.put("a/b/doc", b"two").await;
        kept.put("a/other", b"three").await;
        kept.put("stays", b"four").await;
        let guard = RemovalGuard { recursive: true, ..RemovalGuard::default() };
        let removed = kept.account.remove(at("a"), guard).await.unwrap().node.node_id;
        kept.pass_days(29);
        assert_eq!(kept.sweep().removed, 0);
        assert!(kept.account.restore(NodeRef::Id(removed)).await.is_ok());
        let removed = kept.account.remove(at("a"), guard).await.unwrap().node.node_id;
        kept.pass_days(31);
        // Before the sweep as after it: what a client is told does not depend on when it comes.
        let late = kept.account.restore(NodeRef::Id(removed)).await;
        assert_eq!(late.unwrap_err().kind, RejectionKind::NotFound);
        assert_eq!(kept.sweep().removed, 1);
        for spot in [Spot::Trash(removed), Spot::Version(old)] {
            assert_eq!(kept.storage.is_there(user, &spot).unwrap(), None, "{spot:?}");
        }
        assert!(
            kept.account.trash(ListFilter::default(), None, 10).await.unwrap().entries.is_empty()
        );
        assert!(kept.account.stat(at("stays")).await.is_ok());
        assert_eq!(kept.sweep(), Swept::default());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn versions_go_by_the_rule_and_the_current_one_stays() {
        let kept = Kept::new().await;
        let mut ids = Vec::new();
        for content in [b"one", b"two", b"six"] {
            ids.push(kept.put("doc", content).await);
        }
        kept.pass_days(2);
        // Of one hour the last one is kept.
        assert_eq!(kept.sweep().versions, 1);
        let versions = kept.account.versions(at("doc"), None, 10).await.unwrap().versions;
        let there: Vec<_> = versions.iter().map(|one| one.version.document_id).collect();
        assert_eq!(there, [ids[2], ids[1]]);
        assert_eq!(kept.storage.is_there(UserId::MIN, &Spot::Version(ids[0])).unwrap(), None);
        kept.pass_days(400);
        assert_eq!(kept.sweep().versions, 1);
        assert!(kept.account.stat(at("doc")).await.is_ok());
        assert_eq!(kept.account.versions(at("doc"), None, 10).await.unwrap().versions.len(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_that_was_away_for_too_long_begins_anew() {
        let kept = Kept::new().await;
        let beginning = kept.now().await;
        kept.put("doc", b"one").await;
        kept.pass_days(91);
        let later = kept.now().await;
        kept.put("late", b"two").await;
        assert!(kept.sweep().changes > 0);
        let since = |cursor| DeltaRequest {
            since: Since::Cursor(cursor),
            limit: 100,
            wait: Duration::ZERO,
        };
        let reset = kept.account.delta(since(beginning)).await.unwrap_err();
        assert_eq!(reset.kind, RejectionKind::CursorReset { reason: ResetReason::Expired });
        assert_eq!(kept.account.delta(since(later)).await.unwrap().changes.len(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_move_that_is_not_finished_keeps_nothing_of_others() {
        let kept = Kept::new().await;
        let other = kept.engine.add_user("bob").await.unwrap().user_id;
        let bob = kept.engine.account(other, Origin::new("a test"));
        for account in [&kept.account, &bob] {
            // More than one page of it.
            for n in 0..=PAGE {
                let made = account
                    .make_folder(NodePath::typed(&format!("{n}")).unwrap(), None)
                    .await
                    .unwrap();
                let node = NodeRef::Id(made.node.node_id);
                account.remove(node, RemovalGuard::default()).await.unwrap();
            }
        }
        let shared = Arc::clone(&kept.account.watch().shared);
        shared.places.leave_unsettled(UserId::MIN);
        kept.pass_days(31);
        // What waits has not failed. (The engine sweeps by itself, too.)
        assert_eq!(kept.sweep().left, 0);
        assert!(bob.trash(ListFilter::default(), None, 10).await.unwrap().entries.is_empty());
        assert_eq!(
            kept.account.trash(ListFilter::default(), None, 10).await.unwrap().entries.len(),
            PAGE as usize + 1
        );
    }

    const FOR_EVER: Duration = Duration::MAX;

    /// The same time for everything.
    fn all_for(time: Duration) -> Keep {
        let versions = Retention { all: time, hourly: time, daily: time };
        Keep { trash: time, versions, changes: time }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_kept_for_ever_outlives_ten_years() {
        let kept = Kept::keeping(all_for(FOR_EVER)).await;
        for content in [b"one", b"two", b"six"] {
            kept.put("doc", content).await;
        }
        kept.put("gone", b"four").await;
        let removed = kept.account.remove(at("gone"), RemovalGuard::default()).await.unwrap();
        kept.pass_days(3650);
        assert_eq!(kept.sweep(), Swept::default());
        assert_eq!(kept.account.versions(at("doc"), None, 10).await.unwrap().versions.len(), 3);
        assert!(kept.account.restore(NodeRef::Id(removed.node.node_id)).await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_not_kept_at_all_goes_at_once_whatever_the_clock_says() {
        let kept = Kept::keeping(all_for(Duration::ZERO)).await;
        let old = kept.put("doc", b"one").await;
        kept.put("doc", b"two").await;
        kept.put("gone", b"four").await;
        kept.account.remove(at("gone"), RemovalGuard::default()).await.unwrap();
        // No day has to pass, and no half day in which the clock is watched.
        kept.passed_ms.fetch_add(1, Ordering::SeqCst);
        // The engine sweeps by itself, too, so how much is left for this sweep is not known.
        assert_eq!(kept.sweep().left, 0);
        assert_eq!(kept.storage.is_there(UserId::MIN, &Spot::Version(old)).unwrap(), None);
        assert_eq!(kept.account.versions(at("doc"), None, 10).await.unwrap().versions.len(), 1);
        assert!(
            kept.account.trash(ListFilter::default(), None, 10).await.unwrap().entries.is_empty()
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_operator_who_asks_answers_for_the_clock() {
        let keep = all_for(Duration::from_secs(86_400));
        let kept = Kept::keeping(keep).await;
        kept.put("gone", b"four").await;
        kept.account.remove(at("gone"), RemovalGuard::default()).await.unwrap();
        // Only the wall clock has gone on: it may be wrong.
        kept.wall_ms.fetch_add(2 * DAY_MS, Ordering::SeqCst);
        assert_eq!(kept.sweep(), Swept::default());
        let shared = Arc::clone(&kept.account.watch().shared);
        assert_eq!(block_in_place(|| sweep_now(&shared)).unwrap().removed, 1);
    }
}
