//! Documents in the memory of the process: for tests, and for doors that are tried without a
//! disk. It is also the shortest complete implementation of [`Storage`], and shows what a power
//! cut may leave ([`MemoryStorage::after_power_cut`]).
//!
//! What keeps each promise here:
//!
//! - A staging area has its written bytes and its durable bytes. Only [`Staging::sync`] and
//!   [`Publishable::sync_data`] make the second equal to the first (P1, P2); the name of the
//!   area becomes durable by the former alone.
//! - A name is given under one lock, after a look at what has it (P2: nothing is replaced). The
//!   memory of a process is lost with it, so a name is as durable as it can be at once (P3).
//! - Blocks are shared between written and durable bytes until one of them is written to, so a
//!   sync copies a list of pointers and no bytes.

mod blocks;
mod tree;
mod tree_storage;

use super::error::Loss;
use super::{
    FileLook, GoesOn, Latch, Publishable, Published, Put, ReadAt, Staged, Staging, Storage,
    StorageError,
};
use blocks::Blocks;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use towline_state::catalog::FileStamp;
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize, Offset, UserId};
use tree::{Node, Tree};

/// See the module's description. Clones are the same store.
#[derive(Debug, Clone)]
pub struct MemoryStorage(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    names: Mutex<Names>,
    latch: Latch,
    space: Space,
    last_number: AtomicU64,
}

/// What has which name. Its lock is taken before that of a file's content, never after.
#[derive(Debug, Default)]
struct Names {
    staged: BTreeMap<DocumentId, StagedFile>,
    tree: Tree,
}

#[derive(Debug, Clone)]
struct StagedFile {
    file: Arc<File>,
    is_whole: bool,
}

/// The space that no file has claimed.
#[derive(Debug)]
struct Space {
    free_bytes: AtomicU64,
}

impl Space {
    fn claim(&self, bytes: u64) -> Result<(), StorageError> {
        let take = |free: u64| free.checked_sub(bytes);
        match self.free_bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
            Ok(_) => Ok(()),
            Err(free) => Err(StorageError::no_room(bytes - free)),
        }
    }

    fn give_back(&self, bytes: u64) {
        self.free_bytes.fetch_add(bytes, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct File {
    number: u64,
    /// A number that grows with every write, in the place of a time of modification.
    version: AtomicI64,
    content: Mutex<Content>,
}

#[derive(Debug, Clone)]
struct Content {
    written: Blocks,
    durable: Blocks,
    /// Whether the file's name survives a power cut.
    is_name_durable: bool,
    /// The space that the file takes: what is reserved for it, or its length where that is more.
    claimed_bytes: u64,
}

impl File {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn length_bytes(&self) -> u64 {
        self.content().written.length() as u64
    }

    fn filesize(&self) -> Result<FileSize, StorageError> {
        FileSize::try_from(self.length_bytes())
            .map_err(|_| StorageError::TooLarge { what: "open the file" })
    }

    fn stamp(&self) -> FileStamp {
        let modified_ns = self.version.load(Ordering::SeqCst);
        FileStamp { inode: self.number, modified_ns, mount_depth: None }
    }

    fn sync_data(&self, latch: &Latch) -> Result<(), StorageError> {
        latch.refuse_if_closed()?;
        let mut content = self.content();
        content.durable = content.written.clone();
        Ok(())
    }

    /// Takes as much more space as the file then has that many bytes.
    fn claim(&self, content: &mut Content, space: &Space, bytes: u64) -> Result<(), StorageError> {
        let more_bytes = bytes.saturating_sub(content.claimed_bytes);
        space.claim(more_bytes)?;
        content.claimed_bytes += more_bytes;
        Ok(())
    }
}

impl MemoryStorage {
    /// An empty store with room for that many bytes.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        Self::with(Names::default(), capacity_bytes, 0)
    }

    /// The store as the next process would find it where this one was killed: all that was
    /// written is there, and the store takes changes again. What this store does from now on
    /// changes nothing there.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        self.survivor(|content| Some(content.clone()))
    }

    /// The store as the next process would find it after a power cut: of what was not synced
    /// nothing is left. What this store does from now on changes nothing there.
    #[must_use]
    pub fn after_power_cut(&self) -> Self {
        let durable = |content: &Content| {
            content
                .is_name_durable
                .then(|| Content { written: content.durable.clone(), ..content.clone() })
        };
        self.survivor(durable)
    }

    /// A store of those files of which `left` leaves something.
    fn survivor(&self, left: impl Fn(&Content) -> Option<Content>) -> Self {
        let names = self.names();
        let mut survivors = Names::default();
        let mut free_bytes = self.0.space.free_bytes.load(Ordering::SeqCst);
        let mut survives = |file: &File| {
            let content = file.content();
            let left = left(&content);
            free_bytes += if left.is_none() { content.claimed_bytes } else { 0 };
            let version = AtomicI64::new(file.version.load(Ordering::SeqCst));
            let content = Mutex::new(left?);
            Some(Arc::new(File { number: file.number, version, content }))
        };
        for (id, StagedFile { file, is_whole }) in &names.staged {
            if let Some(file) = survives(file) {
                survivors.staged.insert(*id, StagedFile { file, is_whole: *is_whole });
            }
        }
        for ((user, key), node) in names.tree.all() {
            let left = match node {
                Node::File(file) => survives(file).map(Node::File),
                Node::Folder => Some(Node::Folder),
            };
            if let Some(node) = left {
                survivors.tree.insert(*user, key.clone(), node);
            }
        }
        Self::with(survivors, free_bytes, self.0.last_number.load(Ordering::SeqCst))
    }

    fn with(names: Names, free_bytes: u64, last_number: u64) -> Self {
        Self(Arc::new(Shared {
            names: Mutex::new(names),
            latch: Latch::default(),
            space: Space { free_bytes: AtomicU64::new(free_bytes) },
            last_number: AtomicU64::new(last_number),
        }))
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(
        &self,
        id: DocumentId,
        filesize: FileSize,
        (bytes, is_whole): (&[u8], bool),
    ) -> Result<Arc<MemoryStaging>, StorageError> {
        let shared = &self.0;
        shared.latch.refuse_if_closed()?;
        let mut names = self.names();
        if names.staged.contains_key(&id) {
            return Err(StorageError::Occupied);
        }
        shared.space.claim(filesize.get())?;
        let mut written = Blocks::default();
        written.write(bytes, 0);
        let (durable, is_name_durable) = (Blocks::default(), false);
        let claimed_bytes = filesize.get();
        let content = Content { written, durable, is_name_durable, claimed_bytes };
        let file = Arc::new(File {
            number: shared.last_number.fetch_add(1, Ordering::SeqCst) + 1,
            version: AtomicI64::new(0),
            content: Mutex::new(content),
        });
        names.staged.insert(id, StagedFile { file: Arc::clone(&file), is_whole });
        Ok(Arc::new(MemoryStaging { shared: Arc::clone(shared), id, file }))
    }

    fn discard_if(
        &self,
        id: DocumentId,
        wanted: impl Fn(&StagedFile) -> bool,
    ) -> Result<(), StorageError> {
        self.0.latch.refuse_if_closed()?;
        let mut names = self.names();
        if names.staged.get(&id).is_some_and(wanted)
            && let Some(staged) = names.staged.remove(&id)
        {
            self.give_back(&staged.file);
        }
        Ok(())
    }

    /// The space of a file that is deleted is free again.
    fn give_back(&self, file: &File) {
        self.0.space.give_back(std::mem::take(&mut file.content().claimed_bytes));
    }
}

impl Names {
    /// Gives a staged file its final name, which is free.
    fn publish(&mut self, id: DocumentId, user: UserId, key: &str) -> Result<(), StorageError> {
        let staged = self.staged.get(&id).cloned().ok_or(StorageError::Lost(Loss::Missing))?;
        self.tree.add(user, key, Node::File(Arc::clone(&staged.file)))?;
        staged.file.content().is_name_durable = true;
        self.staged.remove(&id);
        Ok(())
    }

    fn open(&self, user: UserId, key: &str) -> Result<Option<Published>, StorageError> {
        let file = match self.tree.get(user, key) {
            Some(Node::File(file)) => file,
            Some(Node::Folder) => return Err(StorageError::in_the_way("open the published file")),
            None => return Ok(None),
        };
        let content = Box::new(MemoryFile(Arc::clone(file)));
        Ok(Some(Published::new(file.filesize()?, file.stamp(), content)))
    }
}

impl Storage for MemoryStorage {
    fn create(&self, id: DocumentId, filesize: FileSize) -> Result<Arc<dyn Staging>, StorageError> {
        Ok(self.make(id, filesize, (&[], false))?)
    }

    fn create_whole(
        &self,
        id: DocumentId,
        bytes: &[u8],
    ) -> Result<Arc<dyn Publishable>, StorageError> {
        let filesize = FileSize::try_from(bytes.len() as u64);
        let filesize = filesize.map_err(|_| StorageError::no_room(bytes.len() as u64))?;
        Ok(self.make(id, filesize, (bytes, true))?)
    }

    fn open(&self, id: DocumentId) -> Result<Arc<dyn Staging>, StorageError> {
        let mut names = self.names();
        let staged = names.staged.get_mut(&id).ok_or(StorageError::Lost(Loss::Missing))?;
        if staged.is_whole {
            self.0.latch.refuse_if_closed()?;
            staged.is_whole = false;
        }
        let file = Arc::clone(&staged.file);
        Ok(Arc::new(MemoryStaging { shared: Arc::clone(&self.0), id, file }))
    }

    fn publish(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
        _: FileHash,
        _: GoesOn<'_>,
    ) -> Result<Put, StorageError> {
        self.0.latch.refuse_if_closed()?;
        self.names().publish(id, user, &path.to_string())?;
        Ok(Put::InPlace)
    }

    fn published(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<Published>, StorageError> {
        let names = self.names();
        names.tree.check_folder(user, path)?;
        names.open(user, &path.to_string())
    }

    fn sync_published(&self, user: UserId, path: &DocumentPath) -> Result<(), StorageError> {
        self.0.latch.refuse_if_closed()?;
        let names = self.names();
        names.tree.check_folder(user, path)?;
        let published = names.tree.get(user, &path.to_string()).and_then(Node::file);
        published.ok_or(StorageError::Lost(Loss::Missing))?.sync_data(&self.0.latch)
    }

    fn discard(&self, id: DocumentId) -> Result<(), StorageError> {
        self.discard_if(id, |_| true)
    }

    fn discard_whole(&self, id: DocumentId) -> Result<(), StorageError> {
        self.discard_if(id, |staged| staged.is_whole)
    }

    fn staged(&self) -> Result<Vec<Staged>, StorageError> {
        let listed = |(id, staged): (&DocumentId, &StagedFile)| {
            let (is_whole, length_bytes) = (staged.is_whole, staged.file.length_bytes());
            Staged { id: *id, is_whole, length_bytes }
        };
        Ok(self.names().staged.iter().map(listed).collect())
    }

    fn free_bytes(&self) -> Result<u64, StorageError> {
        Ok(self.0.space.free_bytes.load(Ordering::SeqCst))
    }

    fn latch(&self) -> &Latch {
        &self.0.latch
    }

    fn check_folder(&self, user: UserId, path: &DocumentPath) -> Result<(), StorageError> {
        self.names().tree.check_folder(user, path)
    }
}

/// A published file that is held open.
#[derive(Debug)]
struct MemoryFile(Arc<File>);

impl ReadAt for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], at: Offset) -> Result<usize, StorageError> {
        Ok(self.0.content().written.read(buffer, index(at)))
    }

    fn look(&self) -> Result<FileLook, StorageError> {
        let FileStamp { inode, modified_ns, .. } = self.0.stamp();
        Ok(FileLook { length_bytes: self.0.length_bytes(), inode, modified_ns })
    }
}

/// A staging area that is held open.
#[derive(Debug)]
struct MemoryStaging {
    shared: Arc<Shared>,
    id: DocumentId,
    file: Arc<File>,
}

impl Publishable for MemoryStaging {
    fn file_number(&self) -> u64 {
        self.file.number
    }

    fn stamp(&self) -> Option<FileStamp> {
        Some(self.file.stamp())
    }

    fn sync_data(&self) -> Result<(), StorageError> {
        self.file.sync_data(&self.shared.latch)
    }
}

impl Staging for MemoryStaging {
    fn write_all_at(&self, bytes: &[u8], at: Offset) -> Result<(), StorageError> {
        self.shared.latch.refuse_if_closed()?;
        let mut content = self.file.content();
        let end_bytes = at.get() + bytes.len() as u64;
        self.file.claim(&mut content, &self.shared.space, end_bytes)?;
        content.written.write(bytes, index(at));
        self.file.version.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: Offset) -> Result<(), StorageError> {
        let content = self.file.content();
        let expected_bytes = at.get() + buffer.len() as u64;
        let found_bytes = content.written.length() as u64;
        if found_bytes < expected_bytes {
            return Err(StorageError::Lost(Loss::Length { expected_bytes, found_bytes }));
        }
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += content.written.read(rest, index(at) + filled);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.sync_data()?;
        self.file.content().is_name_durable = true;
        Ok(())
    }

    fn length_bytes(&self) -> Result<u64, StorageError> {
        Ok(self.file.length_bytes())
    }

    fn truncate(&self, end: Offset) -> Result<(), StorageError> {
        self.shared.latch.refuse_if_closed()?;
        let mut content = self.file.content();
        if content.written.length() > index(end) {
            content.written.set_length(index(end));
            self.shared.space.give_back(content.claimed_bytes - end.get());
            content.claimed_bytes = end.get();
            self.file.version.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn require_room(&self, filesize: FileSize) -> Result<(), StorageError> {
        self.shared.latch.refuse_if_closed()?;
        let mut content = self.file.content();
        self.file.claim(&mut content, &self.shared.space, filesize.get())
    }

    fn find_again(&self) -> Result<u64, StorageError> {
        let names = self.shared.names.lock().unwrap_or_else(PoisonError::into_inner);
        match names.staged.get(&self.id) {
            None => Err(StorageError::Lost(Loss::Missing)),
            Some(staged) if staged.file.number != self.file.number => {
                Err(StorageError::Lost(Loss::Replaced))
            }
            Some(_) => Ok(self.file.length_bytes()),
        }
    }
}

/// A position in memory. What lies after the end of the address space is after the end of
/// every file.
fn index(at: Offset) -> usize {
    usize::try_from(at.get()).unwrap_or(usize::MAX)
}
