//! A store in memory that does what a test says at the n-th call of a kind: it fails, waits, or
//! shows what a crash would leave just then.

mod elsewhere;
mod extensions;
mod faults;
mod local_disk;
mod tree;

pub(crate) use extensions::Extensions;
pub(crate) use faults::{Gate, damage, full, passing};

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use towline_engine::storage::{
    CopyStorage, DeferredStorage, FileLook, GoesOn, Latch, LocalDisk, MemoryStorage, NewName,
    Publishable, Published, Put, Staged, Staging, Storage, StorageError,
};
use towline_state::catalog::FileStamp;
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize, Offset, UserId};

/// What is asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Create,
    CreateWhole,
    CreateUnnamed,
    CreateCopy,
    /// A block is copied to the file system of its folder.
    CopyBlock,
    /// What is damaged, or belongs to no upload, is set aside.
    SetAside,
    Open,
    Write,
    Read,
    Sync,
    SyncData,
    SyncPublished,
    SyncAll,
    SyncName,
    Truncate,
    RequireRoom,
    FindAgain,
    Rename,
    Publish,
    Published,
    ReadPublished,
    Discard,
    DiscardWhole,
    Staged,
    MakeFolder,
    Replace,
    Relocate,
    IsThere,
    OpenSpot,
    DeleteTrash,
    DeleteVersions,
}

/// Whether a rule is for the moment before the call or behind it. What fails behind it has been
/// done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    After,
}

type Action = Box<dyn FnMut() -> Result<(), StorageError> + Send>;

struct Rule {
    call: Call,
    moment: Moment,
    /// The calls that still pass.
    left: usize,
    /// The action stays for all later calls.
    stays: bool,
    action: Action,
}

/// A file that has a name. Neither its bytes nor its name are durable.
type Unsynced = (UserId, DocumentPath, Arc<dyn Publishable>);

#[derive(Default)]
struct Script {
    rules: Mutex<Vec<Rule>>,
    calls: Mutex<Vec<Call>>,
    unnamed: Mutex<HashSet<DocumentId>>,
    unsynced: Mutex<Vec<Unsynced>>,
    stagings: Mutex<Vec<Arc<dyn Staging>>>,
    /// Where the bytes are of which a power cut took the name.
    lost: Mutex<HashMap<(UserId, String), DocumentPath>>,
    /// Staging areas that are listed besides the others, before them.
    listed: Mutex<Vec<Staged>>,
    /// What was set aside: the number of its document, and its bytes.
    aside: Mutex<Vec<(u64, Vec<u8>)>>,
    /// How many staging areas the engine holds open.
    open: AtomicUsize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Script {
    fn reach(&self, moment: Moment, call: Call) -> Result<(), StorageError> {
        if moment == Moment::Before {
            locked(&self.calls).push(call);
        }
        let due = {
            let mut rules = locked(&self.rules);
            let due = rules.iter_mut().position(|rule| {
                let fits = rule.call == call && rule.moment == moment;
                rule.left -= usize::from(fits && rule.left > 0);
                fits && rule.left == 0
            });
            due.map(|index| rules.remove(index))
        };
        let Some(mut rule) = due else { return Ok(()) };
        let answer = (rule.action)();
        if rule.stays {
            rule.left = 1;
            locked(&self.rules).push(rule);
        }
        answer
    }

    fn around<T>(
        &self,
        call: Call,
        done: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        self.reach(Moment::Before, call)?;
        let answer = done()?;
        self.reach(Moment::After, call)?;
        Ok(answer)
    }
}

/// See the module's description. Clones are the same store.
#[derive(Clone)]
pub(crate) struct Scripted {
    inner: MemoryStorage,
    script: Arc<Script>,
    extensions: Extensions,
}

impl Scripted {
    pub(crate) fn new(capacity_bytes: u64, extensions: Extensions) -> Self {
        Self::of(MemoryStorage::new(capacity_bytes), extensions)
    }

    pub(crate) fn of(inner: MemoryStorage, extensions: Extensions) -> Self {
        Self { inner, script: Arc::default(), extensions }
    }

    /// Does that at the `nth` call from now on, once.
    pub(crate) fn on(
        &self,
        moment: Moment,
        call: Call,
        nth: usize,
        action: impl FnOnce() -> Result<(), StorageError> + Send + 'static,
    ) {
        let mut action = Some(action);
        let action: Action = Box::new(move || action.take().map_or(Ok(()), |action| action()));
        let rule = Rule { call, moment, left: nth, stays: false, action };
        locked(&self.script.rules).push(rule);
    }

    /// Has the `nth` call from now on fail, once, before anything was done.
    pub(crate) fn fail(&self, call: Call, nth: usize, error: fn() -> StorageError) {
        self.on(Moment::Before, call, nth, move || Err(error()));
    }

    /// Has every call fail from now on.
    pub(crate) fn fail_always(&self, call: Call, error: fn() -> StorageError) {
        let action: Action = Box::new(move || Err(error()));
        let rule = Rule { call, moment: Moment::Before, left: 1, stays: true, action };
        locked(&self.script.rules).push(rule);
    }

    /// Has the `nth` sync fail as a disk does that did not keep what was written: the store is
    /// closed from then on.
    pub(crate) fn fail_sync(&self, call: Call, nth: usize) {
        let storage = self.inner.clone();
        self.on(Moment::Before, call, nth, move || {
            storage.latch().close();
            if call == Call::SyncAll {
                return Err(StorageError::ReadOnly);
            }
            Err(StorageError::SyncFailed(io::Error::from_raw_os_error(5)))
        });
    }

    /// Holds the `nth` call up until the gate is opened or dropped.
    pub(crate) fn hold(&self, moment: Moment, call: Call, nth: usize) -> Gate {
        self.hold_then(moment, call, nth, || Ok(()))
    }

    /// Holds the `nth` call up until the gate is opened or dropped, and does that then.
    pub(crate) fn hold_then(
        &self,
        moment: Moment,
        call: Call,
        nth: usize,
        action: impl FnOnce() -> Result<(), StorageError> + Send + 'static,
    ) -> Gate {
        let gate = Gate::closed();
        let wait = gate.wait();
        self.on(moment, call, nth, move || {
            wait();
            action()
        });
        gate
    }

    /// Takes every rule back.
    pub(crate) fn heal(&self) {
        locked(&self.script.rules).clear();
    }

    /// What was asked since the last time.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut locked(&self.script.calls))
    }

    /// How often that was asked since the calls were taken.
    pub(crate) fn count(&self, call: Call) -> usize {
        locked(&self.script.calls).iter().filter(|made| **made == call).count()
    }

    /// As [`MemoryStorage::after_kill`].
    pub(crate) fn after_kill(&self) -> Self {
        let inner = self.inner.after_kill();
        for id in locked(&self.script.unnamed).iter() {
            inner.discard_whole(*id).unwrap();
        }
        Self::of(inner, self.extensions)
    }

    /// As [`MemoryStorage::after_power_cut`]. A name may survive where its bytes are lost.
    pub(crate) fn after_power_cut(&self) -> Self {
        Self::of(self.inner.after_power_cut(), self.extensions)
    }

    /// The same, and no name survives that was not synced.
    pub(crate) fn after_power_cut_with_names_lost(&self) -> Self {
        let left = self.after_power_cut();
        for (user, path, _) in locked(&self.script.unsynced).iter() {
            let elsewhere = path.numbered(4_000_000_000).unwrap();
            locked(&left.script.lost).insert((*user, path.to_string()), elsewhere);
        }
        left
    }

    /// The bytes under that name; none where no file has it.
    pub(crate) fn bytes(&self, user: UserId, path: &str) -> Option<Vec<u8>> {
        let mut found = Vec::new();
        let path = DocumentPath::parse(path).unwrap();
        let all = Offset::ZERO..Offset::MAX;
        let mut reader = self.inner.read(user, &self.real(user, &path), all).unwrap()?;
        reader.read_to_end(&mut found).unwrap();
        Some(found)
    }

    /// The staging areas: number, whether made whole, length in bytes.
    pub(crate) fn areas(&self) -> Vec<(u64, bool, u64)> {
        let mut areas: Vec<_> = self.staged_now().unwrap();
        areas.sort_by_key(|staged| staged.id);
        areas.iter().map(|staged| (staged.id.get(), staged.is_whole, staged.length_bytes)).collect()
    }

    pub(crate) fn memory(&self) -> &MemoryStorage {
        &self.inner
    }

    fn staged_now(&self) -> Result<Vec<Staged>, StorageError> {
        let unnamed = locked(&self.script.unnamed);
        let staged = self.inner.staged()?;
        let named = staged.into_iter().filter(|staged| !unnamed.contains(&staged.id));
        Ok(locked(&self.script.listed).iter().copied().chain(named).collect())
    }

    fn real(&self, user: UserId, path: &DocumentPath) -> DocumentPath {
        let lost = locked(&self.script.lost);
        lost.get(&(user, path.to_string())).unwrap_or(path).clone()
    }

    fn staging(&self, id: DocumentId, inner: Arc<dyn Staging>) -> Arc<dyn Staging> {
        locked(&self.script.stagings).push(Arc::clone(&inner));
        let file: Arc<dyn Publishable> = Arc::<dyn Staging>::clone(&inner);
        self.script.open.fetch_add(1, Ordering::SeqCst);
        Arc::new(ScriptedArea { storage: self.clone(), id, file, staging: inner, is_named: true })
    }

    fn whole(
        &self,
        id: DocumentId,
        file: Arc<dyn Publishable>,
        is_named: bool,
    ) -> Arc<dyn Publishable> {
        self.script.open.fetch_add(1, Ordering::SeqCst);
        Arc::new(ScriptedArea { storage: self.clone(), id, file, staging: (), is_named })
    }

    fn rename(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<(), StorageError> {
        let goes_on = &mut |_| panic!("nothing is copied in memory");
        let any_hash = FileHash::from_bytes([0; 32]);
        self.inner.publish(id, user, &self.real(user, path), any_hash, goes_on).map(drop)
    }
}

impl Storage for Scripted {
    fn create(&self, id: DocumentId, filesize: FileSize) -> Result<Arc<dyn Staging>, StorageError> {
        let inner = self.script.around(Call::Create, || self.inner.create(id, filesize))?;
        Ok(self.staging(id, inner))
    }

    fn create_whole(
        &self,
        id: DocumentId,
        bytes: &[u8],
    ) -> Result<Arc<dyn Publishable>, StorageError> {
        let inner = self.script.around(Call::CreateWhole, || self.inner.create_whole(id, bytes))?;
        Ok(self.whole(id, inner, true))
    }

    fn open(&self, id: DocumentId) -> Result<Arc<dyn Staging>, StorageError> {
        let inner = self.script.around(Call::Open, || self.inner.open(id))?;
        Ok(self.staging(id, inner))
    }

    fn publish(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
        blake3: FileHash,
        goes_on: GoesOn<'_>,
    ) -> Result<Put, StorageError> {
        let path = self.real(user, path);
        let publish = || match self.extensions.elsewhere {
            true => self.copy_to_place(id, user, &path, goes_on),
            false => self.inner.publish(id, user, &path, blake3, goes_on),
        };
        self.script.around(Call::Publish, publish)
    }

    fn published(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<Published>, StorageError> {
        let published = || self.inner.published(user, &self.real(user, path));
        let found = self.script.around(Call::Published, published)?;
        Ok(found.map(|found| {
            let (filesize, stamp) = (found.filesize, found.stamp);
            let content = ScriptedFile { script: Arc::clone(&self.script), found };
            Published::new(filesize, stamp, Box::new(content))
        }))
    }

    fn sync_published(&self, user: UserId, path: &DocumentPath) -> Result<(), StorageError> {
        let sync = || self.inner.sync_published(user, &self.real(user, path));
        self.script.around(Call::SyncPublished, sync)
    }

    fn discard(&self, id: DocumentId) -> Result<(), StorageError> {
        self.script.around(Call::Discard, || self.inner.discard(id))
    }

    fn discard_whole(&self, id: DocumentId) -> Result<(), StorageError> {
        self.script.around(Call::DiscardWhole, || {
            let mut listed = locked(&self.script.listed);
            match listed.iter().position(|staged| staged.id == id) {
                Some(index) => drop(listed.remove(index)),
                None => self.inner.discard_whole(id)?,
            }
            Ok(())
        })
    }

    fn staged(&self) -> Result<Vec<Staged>, StorageError> {
        self.script.around(Call::Staged, || self.staged_now())
    }

    fn free_bytes(&self) -> Result<u64, StorageError> {
        self.inner.free_bytes()
    }

    fn latch(&self) -> &Latch {
        self.inner.latch()
    }

    fn check_folder(&self, user: UserId, path: &DocumentPath) -> Result<(), StorageError> {
        self.inner.check_folder(user, path)
    }

    fn deferred(&self) -> Option<&dyn DeferredStorage> {
        self.extensions.deferred.then_some(self)
    }

    fn copies(&self) -> Option<&dyn CopyStorage> {
        self.extensions.copies.then_some(self)
    }

    fn local_disk(&self) -> Option<&dyn LocalDisk> {
        self.extensions.local.then_some(self)
    }
}

struct ScriptedFile {
    script: Arc<Script>,
    found: Published,
}

impl fmt::Debug for ScriptedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.found.fmt(f)
    }
}

impl towline_engine::storage::ReadAt for ScriptedFile {
    fn read_at(&self, buffer: &mut [u8], at: Offset) -> Result<usize, StorageError> {
        self.script.reach(Moment::Before, Call::ReadPublished)?;
        let left = self.found.filesize.get().saturating_sub(at.get());
        let length = usize::try_from(left).unwrap().min(buffer.len());
        self.found.read_exact_at(&mut buffer[..length], at)?;
        Ok(length)
    }

    fn look(&self) -> Result<FileLook, StorageError> {
        self.found.look()
    }
}

const _: fn(&ScriptedFile) -> &dyn Any = |file| file;

/// A staging area. `S` is nothing where it was made whole, and else what takes its bytes.
struct ScriptedArea<S> {
    storage: Scripted,
    id: DocumentId,
    file: Arc<dyn Publishable>,
    staging: S,
    is_named: bool,
}

impl<S> Drop for ScriptedArea<S> {
    fn drop(&mut self) {
        self.storage.script.open.fetch_sub(1, Ordering::SeqCst);
        // A file without a name ends with its descriptor.
        if !self.is_named && locked(&self.storage.script.unnamed).remove(&self.id) {
            let _ = self.storage.inner.discard_whole(self.id);
        }
    }
}

impl<S: Send + Sync> Publishable for ScriptedArea<S> {
    fn file_number(&self) -> u64 {
        self.file.file_number()
    }

    fn stamp(&self) -> Option<FileStamp> {
        self.file.stamp()
    }

    fn sync_data(&self) -> Result<(), StorageError> {
        self.storage.script.around(Call::SyncData, || self.file.sync_data())
    }

    fn rename(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<Box<dyn NewName>>, StorageError> {
        let extensions = self.storage.extensions;
        if extensions.elsewhere || (self.is_named && !extensions.renames) {
            return Ok(None);
        }
        let script = &self.storage.script;
        script.around(Call::Rename, || self.storage.rename(self.id, user, path))?;
        if locked(&script.unnamed).remove(&self.id) {
            let unsynced = (user, path.clone(), Arc::clone(&self.file));
            locked(&script.unsynced).push(unsynced);
        }
        Ok(Some(Box::new(ScriptedName(self.storage.clone()))))
    }
}

impl Staging for ScriptedArea<Arc<dyn Staging>> {
    fn write_all_at(&self, bytes: &[u8], at: Offset) -> Result<(), StorageError> {
        self.storage.script.around(Call::Write, || self.staging.write_all_at(bytes, at))
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: Offset) -> Result<(), StorageError> {
        self.storage.script.around(Call::Read, || self.staging.read_exact_at(buffer, at))
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.storage.script.around(Call::Sync, || self.staging.sync())
    }

    fn length_bytes(&self) -> Result<u64, StorageError> {
        self.staging.length_bytes()
    }

    fn truncate(&self, end: Offset) -> Result<(), StorageError> {
        self.storage.script.around(Call::Truncate, || self.staging.truncate(end))
    }

    fn require_room(&self, filesize: FileSize) -> Result<(), StorageError> {
        self.storage.script.around(Call::RequireRoom, || self.staging.require_room(filesize))
    }

    fn find_again(&self) -> Result<u64, StorageError> {
        self.storage.script.around(Call::FindAgain, || self.staging.find_again())
    }
}

struct ScriptedName(Scripted);

impl NewName for ScriptedName {
    fn sync_name(self: Box<Self>) -> Result<(), StorageError> {
        self.0.script.around(Call::SyncName, || self.0.inner.latch().refuse_if_closed())
    }
}
