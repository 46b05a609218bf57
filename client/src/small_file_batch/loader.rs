//! The thread that reads small files ahead of the socket, each whole and at once.

use crate::source::open_without_waiting;
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
}

/// What the thread found at a path.
#[derive(Debug)]
pub(super) enum Loaded {
    Small(SmallFile),
    /// The file is not small, is no regular file, was begun by an earlier run, changes, or
    /// cannot be read.
    Other,
}

/// See the module's description. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Loader {
    loaded: mpsc::Receiver<Loaded>,
}

impl Loader {
    pub(super) fn start(paths: Vec<PathBuf>, known: HashSet<PathBuf>) -> io::Result<Self> {
        let (done, loaded) = mpsc::channel(READY);
        std::thread::Builder::new().name("towline-load".to_owned()).spawn(move || {
            for path in paths {
                let small = if is_known(&path, &known) { None } else { load(&path).ok().flatten() };
                let loaded = small.map_or(Loaded::Other, Loaded::Small);
                if done.blocking_send(loaded).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { loaded })
    }

    /// What was found at the next path.
    ///
    /// Cancel-safe: a file is either handed over or still in the channel.
    pub(super) async fn next(&mut self) -> Loaded {
        self.loaded.recv().await.unwrap_or(Loaded::Other)
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
    Ok(Some(SmallFile { filesize, bytes, value, blake3 }))
}

fn is_small(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.len() <= SMALL_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_files_are_loaded_and_all_others_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        std::fs::write(at("empty"), "").unwrap();
        std::fs::write(at("full"), vec![7; 256 << 10]).unwrap();
        std::fs::write(at("large"), vec![7; (256 << 10) + 1]).unwrap();
        std::fs::write(at("begun"), "hello").unwrap();
        let names = ["empty", "large", "full", "missing", "begun", "."];
        let paths = names.iter().map(|name| at(name)).collect();
        let mut loader = Loader::start(paths, HashSet::from([at("begun")])).unwrap();
        let mut sizes = Vec::new();
        for _ in names {
            sizes.push(match loader.next().await {
                Loaded::Small(small) => {
                    assert_eq!(small.blake3.to_string(), blake3::hash(&small.bytes).to_string());
                    Some(small.bytes.len())
                }
                Loaded::Other => None,
            });
        }
        assert_eq!(sizes, [Some(0), None, Some(256 << 10), None, None, None]);
    }
}
