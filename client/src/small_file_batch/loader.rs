//! The thread that reads small files ahead of the socket, each whole and at once.

use crate::feed::{Feed, FeedItem};
use crate::source::{Attributes, open_without_waiting};
use std::collections::HashSet;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use towline_types::block::hash_block;
use towline_types::file_hash::hash_file;
use towline_types::{BlockIndex, ChainingValue, FileHash, FileSize};

/// The length of the largest file that counts as small. The bytes of a longer one cost more
/// than the round trips that a batch saves.
const SMALL_BYTES: u64 = 256 << 10;

/// The number of files that are read ahead of the socket.
const READY: usize = 64;

/// A small file: its bytes and its hashes.
#[derive(Debug)]
pub(super) struct SmallFile {
    pub(super) filesize: FileSize,
    pub(super) bytes: Vec<u8>,
    /// The chaining value of its one block; an empty file has no block.
    pub(super) value: Option<ChainingValue>,
    pub(super) blake3: FileHash,
    pub(super) attributes: Attributes,
}

/// A file as the thread found it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) item: FeedItem,
    /// Absent where it is no file, or the file is not small, is no regular file, was begun by an
    /// earlier run, changes, or cannot be read.
    pub(super) small: Option<SmallFile>,
}

/// See the module's description. The thread ends when this is dropped; the files that it has
/// taken from the feed, and that were not handed over, are given back to the feed.
#[derive(Debug)]
pub(super) struct Loader {
    loaded: mpsc::Receiver<Loaded>,
    feed: Feed,
}

impl Loader {
    pub(super) fn start(feed: Feed, known: HashSet<PathBuf>) -> io::Result<Self> {
        let (done, loaded) = mpsc::channel(READY);
        let from = feed.clone();
        std::thread::Builder::new().name("towline-load".to_owned()).spawn(move || {
            while let Some(item) = from.next() {
                let path = &item.document.local;
                let is_wanted = item.kind.is_file() && item.is_plain() && !is_known(path, &known);
                let small = if is_wanted { load(path).ok().flatten() } else { None };
                if let Err(refused) = done.blocking_send(Loaded { item, small }) {
                    from.give_back(refused.0.item);
                    return;
                }
            }
        })?;
        Ok(Self { loaded, feed })
    }

    /// The next file; nothing after the last one.
    ///
    /// Cancel-safe: a file is either handed over or still in the channel.
    pub(super) async fn next(&mut self) -> Option<Loaded> {
        self.loaded.recv().await
    }
}

impl Drop for Loader {
    /// Their bytes are dropped: until they are sent, the files may change.
    fn drop(&mut self) {
        self.loaded.close();
        let mut unsent = Vec::new();
        while let Ok(Loaded { item, .. }) = self.loaded.try_recv() {
            unsent.push(item);
        }
        unsent.into_iter().rev().for_each(|item| self.feed.give_back(item));
    }
}

/// Whether an earlier run has begun the file. The list of uploads has absolute paths without
/// symbolic links, so the path is compared in that form.
fn is_known(path: &Path, known: &HashSet<PathBuf>) -> bool {
    !known.is_empty() && path.canonicalize().is_ok_and(|path| known.contains(&path))
}

fn load(path: &Path) -> io::Result<Option<SmallFile>> {
    // This comes before opening: the opening of a FIFO waits for its other end.
    if !is_small(&path.metadata()?) {
        return Ok(None);
    }
    let file = open_without_waiting(path)?;
    let before = file.metadata()?;
    if !is_small(&before) {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0) + 1);
    (&file).take(SMALL_BYTES + 1).read_to_end(&mut bytes)?;
    let after = file.metadata()?;
    // A file that changed while it was read may be a mixture of two versions: it is not sent.
    let same = |metadata: &Metadata| (metadata.len(), metadata.modified().ok());
    if bytes.len() as u64 != before.len() || same(&before) != same(&after) {
        return Ok(None);
    }
    let filesize = FileSize::try_from(before.len()).map_err(io::Error::other)?;
    let value = (!bytes.is_empty()).then(|| hash_block(BlockIndex::FIRST, filesize, &bytes));
    let blake3 = hash_file(filesize, value);
    let attributes = Attributes::of(&after);
    Ok(Some(SmallFile { filesize, bytes, value, blake3, attributes }))
}

fn is_small(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.len() <= SMALL_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use crate::item::Item;
    use crate::transfer::options::PutOptions;

    fn feed(paths: &[PathBuf]) -> Feed {
        let file = |path: &PathBuf| {
            let document = Document::in_folder(path, Vec::new()).unwrap();
            (Item::file(document), PutOptions::default())
        };
        let files: Vec<_> = paths.iter().map(file).collect();
        Feed::new(files.into_iter())
    }

    #[tokio::test]
    async fn small_files_are_loaded_and_all_others_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        std::fs::write(at("empty"), "").unwrap();
        std::fs::write(at("full"), vec![7; 256 << 10]).unwrap();
        std::fs::write(at("large"), vec![7; (256 << 10) + 1]).unwrap();
        std::fs::write(at("begun"), "hello").unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        let names = ["empty", "large", "full", "missing", "begun", "folder"];
        let paths: Vec<_> = names.iter().map(|name| at(name)).collect();
        let mut loader = Loader::start(feed(&paths), HashSet::from([at("begun")])).unwrap();
        let mut sizes = Vec::new();
        while let Some(Loaded { item, small }) = loader.next().await {
            assert_eq!(item.document.local, paths[sizes.len()]);
            sizes.push(small.map(|small| {
                assert_eq!(small.blake3.to_string(), blake3::hash(&small.bytes).to_string());
                small.bytes.len()
            }));
        }
        assert_eq!(sizes, [Some(0), None, Some(256 << 10), None, None, None]);
    }

    #[tokio::test]
    async fn what_was_read_and_not_taken_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..200).map(|n| folder.path().join(format!("{n:03}"))).collect();
        for path in &paths {
            std::fs::write(path, "hello").unwrap();
        }
        let feed = feed(&paths);
        let mut loader = Loader::start(feed.clone(), HashSet::new()).unwrap();
        assert_eq!(loader.next().await.unwrap().item.index, 0);
        drop(loader);
        // The thread may hold one more file, which it gives back as well.
        let mut places = Vec::new();
        while places.len() < 199 {
            places.extend(feed.next().map(|item| item.index));
        }
        places.sort_unstable();
        assert_eq!(places, (1..200).collect::<Vec<_>>());
    }
}
