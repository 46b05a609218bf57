//! What is sent, and whether it has arrived.

use anyhow::{Context as _, Result, ensure};
use blake3::Hash;
use fastrand::Rng;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The most of it that is in memory at a time; see `measure.rs`.
const BUFFER_BYTES: usize = 1 << 20;

/// The length of each file of a folder.
pub(crate) const SMALL_FILE_BYTES: usize = 4 << 10;

/// Of a folder every 97th file is compared byte by byte.
const LOOK_AT_EVERY: u32 = 97;

/// Random bytes that lie ready to be sent.
#[derive(Debug)]
pub(crate) enum Workload {
    /// One file.
    File { path: PathBuf, bytes: u64, hash: Hash },
    /// A folder of small files.
    Folder { path: PathBuf, files: u32 },
}

impl Workload {
    /// Writes one file of that length into the folder.
    pub(crate) fn file(folder: &Path, bytes: u64, random: &mut Rng) -> Result<Self> {
        let path = folder.join("big.bin");
        let mut file = create(&path)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut left = bytes;
        while left > 0 {
            random.fill(&mut buffer);
            let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            hasher.update(&buffer[..count]);
            file.write_all(&buffer[..count]).with_context(|| cannot("write", &path))?;
            left -= count as u64;
        }
        Ok(Self::File { path, bytes, hash: hasher.finalize() })
    }

    /// Writes a folder with that number of small files into the folder.
    pub(crate) fn folder(folder: &Path, files: u32, random: &mut Rng) -> Result<Self> {
        let path = folder.join("small");
        std::fs::create_dir(&path).with_context(|| cannot("create", &path))?;
        let mut buffer = [0; SMALL_FILE_BYTES];
        for number in 0..files {
            random.fill(&mut buffer);
            let file = path.join(small_name(number));
            create(&file)?.write_all(&buffer).with_context(|| cannot("write", &file))?;
        }
        Ok(Self::Folder { path, files })
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::File { path, .. } | Self::Folder { path, .. } => path,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::File { bytes, .. } => *bytes,
            Self::Folder { files, .. } => u64::from(*files) * SMALL_FILE_BYTES as u64,
        }
    }

    /// Reads all of it, so that it lies in the page cache.
    pub(crate) fn warm(&self) -> Result<()> {
        match self {
            Self::File { path, .. } => read(path, |_| {}),
            Self::Folder { path, files } => {
                (0..*files).try_for_each(|number| read(&path.join(small_name(number)), |_| {}))
            }
        }
    }

    /// Compares what has arrived there with what was sent: a file by its hash, a folder
    /// by the number and the length of its files and by the bytes of some.
    ///
    /// # Errors
    /// Where it is not the same.
    pub(crate) fn check(&self, arrived: &Path) -> Result<()> {
        match self {
            Self::File { hash, .. } => {
                let found = hash_of(arrived)?;
                ensure!(found == *hash, "{} arrived with other bytes", arrived.display());
                Ok(())
            }
            Self::Folder { path, files } => {
                check_lengths(arrived, *files)?;
                for number in (0..*files).step_by(LOOK_AT_EVERY as usize) {
                    let name = small_name(number);
                    let (sent, came) = (path.join(&name), arrived.join(&name));
                    ensure!(hash_of(&sent)? == hash_of(&came)?, "{name} arrived with other bytes");
                }
                Ok(())
            }
        }
    }
}

fn check_lengths(arrived: &Path, files: u32) -> Result<()> {
    let mut found = 0;
    let entries = std::fs::read_dir(arrived).with_context(|| cannot("look into", arrived))?;
    for entry in entries {
        let length = entry?.metadata()?.len();
        ensure!(length == SMALL_FILE_BYTES as u64, "a small file arrived with {length} bytes");
        found += 1;
    }
    ensure!(found == files, "{found} of {files} files arrived");
    Ok(())
}

fn small_name(number: u32) -> String {
    format!("{number:06}.bin")
}

fn hash_of(path: &Path) -> Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    read(path, |bytes| {
        hasher.update(bytes);
    })?;
    Ok(hasher.finalize())
}

fn read(path: &Path, mut each: impl FnMut(&[u8])) -> Result<()> {
    let mut file = File::open(path).with_context(|| cannot("open", path))?;
    let length = file.metadata().with_context(|| cannot("look at", path))?.len();
    let mut buffer =
        vec![0; usize::try_from(length).unwrap_or(BUFFER_BYTES).clamp(1, BUFFER_BYTES)];
    loop {
        match file.read(&mut buffer).with_context(|| cannot("read", path))? {
            0 => return Ok(()),
            count => each(&buffer[..count]),
        }
    }
}

fn create(path: &Path) -> Result<File> {
    File::create_new(path).with_context(|| cannot("create", path))
}

fn cannot(what: &str, path: &Path) -> String {
    format!("cannot {what} {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_one_other_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let workload = Workload::file(folder.path(), 3 << 19, &mut Rng::with_seed(1)).unwrap();
        let copy = folder.path().join("copy");
        let mut bytes = std::fs::read(workload.path()).unwrap();
        assert_eq!(bytes.len() as u64, workload.bytes());
        std::fs::write(&copy, &bytes).unwrap();
        workload.check(&copy).unwrap();
        bytes[1 << 20] ^= 1;
        std::fs::write(&copy, &bytes).unwrap();
        workload.check(&copy).unwrap_err();
    }

    #[test]
    fn a_folder_without_one_of_its_files_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let workload = Workload::folder(folder.path(), 3, &mut Rng::with_seed(1)).unwrap();
        workload.check(workload.path()).unwrap();
        std::fs::remove_file(workload.path().join(small_name(1))).unwrap();
        workload.check(workload.path()).unwrap_err();
    }
}
