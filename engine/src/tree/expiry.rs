//! What is kept no longer: what was removed long ago, versions of files by the
//! [retention](crate::Keep), and the beginning of the change log.
//!
//! Files are deleted before the rows that know them, durably: a crash in between leaves rows whose
//! files are gone, and the next sweep deletes both (P4); in the other order it would leave files
//! of which no row knows. Files that no row knows are other programs', and are set aside by the
//! store. What is deleted here is seen by no user any more: nothing that a list shows, and no
//! version that is the one of its file.
//!
//! The clock has to be trusted: see [`ClockTrust`](crate::expiry::clock_trust::ClockTrust).

use crate::error::Error;
use crate::failpoint;
use crate::log;
use crate::may_block::MayBlock;
use crate::shared::Shared;
use crate::storage::{Deleted, Verdict};
use std::collections::BTreeMap;
use std::time::Duration;
use towline_state::CatalogError;
use towline_state::catalog::{Located, Node, NodeRef, Refusal};
use towline_types::{DocumentId, Name, NodeId, Timestamp, UserId};

/// The number of rows that one transaction reads or deletes. Other requests to the catalog wait
/// while it runs.
const PAGE: u32 = 256;

/// What a sweep has deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Things that had been removed, each with all that was below it.
    pub(crate) removed: u64,
    /// Older versions of files.
    pub(crate) versions: u64,
    /// Entries of the change log.
    pub(crate) changes: u64,
}

/// Deletes everything that is kept no longer, a page at a time, until nothing is left or the
/// engine is to end. Blocks.
pub(crate) fn sweep(shared: &Shared) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    if !shared.clock_trust.is_trusted() || shared.storage.latch().is_closed() {
        return Ok(swept);
    }
    sweep_trash(shared, &mut swept)?;
    sweep_versions(shared, &mut swept)?;
    sweep_changes(shared, &mut swept)?;
    Ok(swept)
}

/// The time `kept_for` before now; none where that is before 1970.
fn before(shared: &Shared, kept_for: Duration) -> Option<Timestamp> {
    let kept_ms = u64::try_from(kept_for.as_millis()).ok()?;
    let moment = shared.clock().now().get().checked_sub(kept_ms)?;
    Timestamp::try_from(moment).ok()
}

fn sweep_trash(shared: &Shared, swept: &mut Swept) -> Result<(), Error> {
    let Some(moment) = before(shared, shared.config.keep.trash) else { return Ok(()) };
    let mut failed = 0;
    loop {
        // What could not be deleted comes first the next time, and is passed over.
        let expired = shared.catalog.expired_trash(moment, PAGE + failed).wait()?;
        let mut deleted = 0;
        for (user, root) in expired {
            if shared.stopping.is_cancelled() {
                return Ok(());
            }
            match delete_removed(shared, user, root) {
                Ok(true) => deleted += 1,
                // It is being restored, or the engine is to end.
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(node_id = %root, %user, error = log::chain(&error), "something in the trash could not be deleted");
                    failed += 1;
                }
            }
        }
        swept.removed += deleted;
        if deleted == 0 {
            return Ok(());
        }
    }
}

/// Whether a removed node is kept no longer: from then on it is deleted, and not restored. While
/// the clock is not trusted nothing is.
pub(super) fn is_past_its_time(shared: &Shared, removed: &Node) -> bool {
    let moment = before(shared, shared.config.keep.trash);
    shared.clock_trust.is_trusted()
        && removed.deleted_at.is_some_and(|at| moment.is_some_and(|moment| at < moment))
}

/// Deletes one thing that was removed, with all that is below it; returns whether all of it is
/// gone.
fn delete_removed(shared: &Shared, user: UserId, root: NodeId) -> Result<bool, Error> {
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
    let (mut unknown, mut current) = (None, Vec::new());
    let mut judge = |below: &[Name]| {
        if shared.stopping.is_cancelled() {
            return Verdict::Stop;
        }
        match shared.catalog.in_trash(user, root, below).wait() {
            Ok(Some(document)) => {
                current.push(document.document_id);
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
    let mut after = None;
    loop {
        let versions = shared.catalog.versions_in_trash(root, after, PAGE).wait()?;
        let Some(last) = versions.last() else { break };
        after = Some(*last);
        shared.storage.delete_versions(user, &versions)?;
    }
    failpoint::reach("expiry.deleted");
    loop {
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
    let mut after = None;
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
            shared.storage.delete_versions(user, &versions)?;
            failpoint::reach("expiry.versions_deleted");
            swept.versions += versions.len() as u64;
            shared.catalog.forget_versions(versions).wait()?;
        }
        after = expired.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

fn sweep_changes(shared: &Shared, swept: &mut Swept) -> Result<(), Error> {
    let Some(moment) = before(shared, shared.config.keep.changes) else { return Ok(()) };
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
    use crate::tree::request::{DeltaRequest, Since};
    use crate::{
        Account, Clock, Engine, EngineConfig, NewUpload, Origin, RejectionKind, SendingMode,
    };
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tempfile::TempDir;
    use tokio::runtime::Handle;
    use tokio::task::block_in_place;
    use towline_state::catalog::{Cursor, Length, RemovalGuard, ResetReason};
    use towline_testkit::{path, size};
    use towline_types::{NodePath, OnConflict};

    const DAY_MS: u64 = 86_400_000;

    /// An engine with a clock that a test moves, and a user.
    struct Kept {
        account: Account,
        storage: MemoryStorage,
        engine: Engine,
        passed_ms: Arc<AtomicU64>,
        _folder: TempDir,
    }

    impl Kept {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let passed_ms = Arc::<AtomicU64>::default();
            let mut config = EngineConfig::new(folder.path());
            config.reserve_bytes = 0;
            let (wall, steady) = (Arc::clone(&passed_ms), Arc::clone(&passed_ms));
            let now =
                move || Timestamp::try_from(20_000 * DAY_MS + wall.load(Ordering::SeqCst)).unwrap();
            let steady = move || Duration::from_millis(steady.load(Ordering::SeqCst));
            config.clock = Clock::with_steady(now, steady);
            let storage = MemoryStorage::new(1 << 20);
            let shared = Arc::new(storage.clone());
            let open = || Engine::open_with_storage(config, shared, &Handle::current());
            let engine = block_in_place(open).unwrap();
            let user = engine.add_user("ada").await.unwrap().user_id;
            let account = engine.account(user, Origin::new("a test"));
            Self { account, storage, engine, passed_ms, _folder: folder }
        }

        fn pass_days(&self, days: u64) {
            self.passed_ms.fetch_add(days * DAY_MS, Ordering::SeqCst);
        }

        async fn put(&self, place: &str, bytes: &[u8]) -> DocumentId {
            let length = Length::Declared(size(bytes.len() as u64));
            let mut new = NewUpload::new(path(place), length, SendingMode::PLAIN);
            new.on_conflict = OnConflict::Replace;
            let mut buffer = self.engine.buffers().take(bytes.len()).await;
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
        assert!(kept.account.trash(None, 10).await.unwrap().entries.is_empty());
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
}
