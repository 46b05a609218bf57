//! The one folder in which everything lies, sent and received, and what must be true
//! of it.

use crate::interrupt;
use crate::workload::Workload;
use anyhow::{Context as _, Result, ensure};
use bytesize::ByteSize;
use rustix::fs::statvfs;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How much is made free at the most, and a tenth of what there is: beyond that Linux
/// begins to write it to the disk.
pub(crate) const MEMORY_BYTES_MAX: u64 = 2 << 30;

/// More than a tree of small files takes: pages, inodes, names, a catalog.
const MEMORY_BYTES_MIN: u64 = 512 << 20;

/// Pieces in which that is written, and how many quarters of it: memory is handed out by
/// the length of what is written, and leaves gaps for those who write in other lengths.
/// Short ones as the peers write, long ones as Towline and the floor program do.
const PIECES: [(usize, u64); 2] = [(32 << 10, 1), (1 << 20, 3)];

/// What is left over on the disk at the worst.
const SPARE_BYTES: u64 = 256 << 20;

/// For longer than ext4 remembers that an inode was deleted.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(6);

/// Until a guest has told its host of all memory that was freed up to now. Linux does so
/// two seconds after the first was freed that the host does not know of: whatever is
/// freed after such a rest is kept for two seconds, and what is freed without one may be
/// taken at any moment (`PAGE_REPORTING_DELAY` in its mm/page_reporting.c).
pub(crate) const TOLD: Duration = Duration::from_millis(2500);

/// The folder in which everything is measured. Dropped, it is removed with all its files.
#[derive(Debug)]
pub(crate) struct Workspace {
    folder: TempDir,
    file_system: String,
}

/// One contender's place in one round: empty at first, gone afterwards.
#[derive(Debug)]
pub(crate) struct RunDir<'a> {
    folder: TempDir,
    /// What is to be sent.
    pub(crate) workload: &'a Workload,
    /// The longest that a command may take.
    pub(crate) limit: Duration,
}

impl Workspace {
    /// A new folder in that one, with space for that number of bytes.
    ///
    /// # Errors
    /// Where it is in memory, or too small.
    pub(crate) fn in_folder(parent: &Path, needed_bytes: u64) -> Result<Self> {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        // Whole: programs are told of it that take a path to begin where they please.
        let parent =
            &parent.canonicalize().with_context(|| format!("cannot find {}", parent.display()))?;
        let folder = tempfile::Builder::new().prefix("towline-bench-").tempdir_in(parent);
        let folder = folder.with_context(|| format!("cannot write in {}", parent.display()))?;
        let path = folder.path();
        let file_system = file_system_of(path)?;
        ensure!(
            !matches!(file_system.as_str(), "tmpfs" | "ramfs"),
            "{} is in memory ({file_system}), where a sync costs nothing; name a folder on a disk with --dir",
            parent.display()
        );
        let free_bytes = free_bytes(path)?;
        let needed_bytes = needed_bytes + SPARE_BYTES;
        ensure!(
            free_bytes >= needed_bytes,
            "{} has {} free, and {} are needed; name another folder with --dir, or a smaller --size",
            parent.display(),
            ByteSize(free_bytes),
            ByteSize(needed_bytes)
        );
        Ok(Self { folder, file_system })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whether the disk lacks room for that number of bytes more; then a sentence that says how much it has.
    pub(crate) fn lacks(&self, bytes: u64) -> Option<String> {
        match free_bytes(self.path()) {
            Ok(free) if free >= bytes.saturating_add(SPARE_BYTES) => None,
            Ok(free) => Some(format!(
                "the disk has {} free, and {} are needed",
                ByteSize(free),
                ByteSize(bytes)
            )),
            Err(error) => Some(format!("{error:#}")),
        }
    }

    /// The kind of file system that it is on: `ext4`.
    pub(crate) fn file_system(&self) -> &str {
        &self.file_system
    }

    /// A new folder, gone when it is dropped.
    pub(crate) fn place(&self) -> Result<TempDir> {
        let folder = tempfile::Builder::new().prefix("place-").tempdir_in(self.path());
        folder.context("cannot make a folder for a server")
    }

    /// Sees to it that that amount of memory is free, and still the machine's own for the next
    /// two seconds: the first write to what a host has taken back costs ten times as much.
    pub(crate) fn free_memory(&self, bytes: u64) -> Result<()> {
        let bytes = bytes.clamp(MEMORY_BYTES_MIN, MEMORY_BYTES_MAX).min(available_bytes()? / 10);
        let place = self.place()?;
        for (piece, quarters) in PIECES {
            fill(&place.path().join(piece.to_string()), bytes / 4 * quarters, piece)?;
        }
        rest(TOLD)?;
        drop(place);
        Ok(())
    }

    pub(crate) fn run_dir<'a>(
        &self,
        workload: &'a Workload,
        limit: Duration,
    ) -> Result<RunDir<'a>> {
        let folder = tempfile::Builder::new().prefix("room-").tempdir_in(self.path());
        Ok(RunDir { folder: folder.context("cannot make a folder for a round")?, workload, limit })
    }
}

/// Leaves the machine idle for that time.
pub(crate) fn rest(rest: Duration) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < rest {
        interrupt::check()?;
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

impl RunDir<'_> {
    /// The folder alone, still to be removed.
    pub(crate) fn into_folder(self) -> TempDir {
        self.folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A place in it.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A new folder in it.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.at(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// A new file in it with that text.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.at(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The name of what is sent.
    pub(crate) fn load_name(&self) -> &OsStr {
        self.workload.path().file_name().unwrap_or_default()
    }
}

fn fill(path: &Path, bytes: u64, piece: usize) -> Result<()> {
    let piece = vec![1; piece];
    let mut file =
        File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
    for _ in 0..bytes.div_ceil(piece.len() as u64) {
        interrupt::check()?;
        file.write_all(&piece).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The memory that could be had.
fn available_bytes() -> Result<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kibibytes.context("the system does not say how much memory it has")?.saturating_mul(1024))
}

fn free_bytes(path: &Path) -> Result<u64> {
    let space = statvfs(path).context("cannot ask for free space")?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// What is mounted at the longest of the mount points above that path; of several at
/// one point, the last covers the others.
fn file_system_of(path: &Path) -> Result<String> {
    let mounts = std::fs::read("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    let mut found = (0, "unknown".to_owned());
    for line in mounts.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b' ');
        let (Some(point), Some(kind)) = (fields.nth(1), fields.next()) else { continue };
        let point = unescaped(point);
        if path.starts_with(Path::new(OsStr::from_bytes(&point))) && point.len() >= found.0 {
            found = (point.len(), String::from_utf8_lossy(kind).into_owned());
        }
    }
    Ok(found.1)
}

/// A mount point as it is: the list writes a space as `\040`, and a few more so.
fn unescaped(mut field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((&first, rest)) = field.split_first() {
        let code = rest.get(..3).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                field = &rest[3..];
            }
            _ => {
                bytes.push(first);
                field = rest;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_own_folder_is_not_on_a_disk() {
        assert_eq!(file_system_of(Path::new("/proc/self")).unwrap(), "proc");
    }

    #[test]
    fn a_mount_point_with_a_space_is_found() {
        assert_eq!(unescaped(br"/mnt/my\040disk\134"), b"/mnt/my disk\\");
    }

    #[test]
    fn too_small_a_disk_is_refused() {
        let parent = std::env::current_dir().unwrap();
        let refused = Workspace::in_folder(&parent, u64::MAX >> 1).unwrap_err().to_string();
        assert!(refused.contains("are needed"), "{refused}");
    }
}
