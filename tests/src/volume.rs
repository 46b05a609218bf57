//! Volumes for one test: a file system whose power is cut, a small one, and one that has less room
//! than it reports.
//!
//! They are loop mounts and need root, `mkfs.ext4`, `losetup` and `mount`. Where one of these is
//! missing, [`Volume::ext4`] and the other constructors print that the test is skipped, and why,
//! and return nothing: no test is skipped silently.

mod shutdown;

use crate::flip::flip;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A mounted volume. When it is dropped, it is unmounted and removed.
#[derive(Debug)]
pub struct Volume {
    source: Source,
    mount_point: PathBuf,
    /// Holds image and mount point. The last field, because it is removed after the unmounting.
    _temporary: TempDir,
}

#[derive(Debug)]
enum Source {
    /// An ext4 image over a loop device.
    Image(PathBuf),
    /// A tmpfs of that number of bytes.
    Memory(u64),
    /// An overlay file system: `upper` over `lower` in this folder.
    Overlay(PathBuf),
}

/// A volume mounted at a second place. When it is dropped, that mount is removed.
#[derive(Debug)]
pub struct Shown(PathBuf);

/// Why the machine can have no volume.
#[derive(Debug)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Volume {
    /// An ext4 file system of that size, in memory where the machine has a file system in memory.
    /// Nothing where the machine cannot have one, which is printed.
    #[must_use]
    pub fn ext4(size_bytes: u64) -> Option<Self> {
        or_skipped(Self::try_ext4(size_bytes))
    }

    /// An ext4 file system that reports that size and has its image in `folder`, so it has no more
    /// room than that folder's volume (like a thin disk, which is found full only at a sync).
    #[must_use]
    pub fn ext4_in(size_bytes: u64, folder: &Path) -> Option<Self> {
        or_skipped(place(Some(folder)).and_then(|place| Self::image(size_bytes, place)))
    }

    /// A tmpfs of that size.
    #[must_use]
    pub fn memory(size_bytes: u64) -> Option<Self> {
        or_skipped(Self::try_memory(size_bytes))
    }

    /// As [`ext4`](Self::ext4), with the reason where the machine cannot have one.
    ///
    /// # Errors
    /// What is missing on this machine.
    pub fn try_ext4(size_bytes: u64) -> Result<Self, Unavailable> {
        Self::image(size_bytes, place(fast_folder().as_deref())?)
    }

    fn image(
        size_bytes: u64,
        (temporary, mount_point): (TempDir, PathBuf),
    ) -> Result<Self, Unavailable> {
        need_root()?;
        let image = temporary.path().join("image");
        let file = std::fs::File::create(&image).map_err(unavailable)?;
        file.set_len(size_bytes).map_err(unavailable)?;
        // No reserved blocks: all room of the volume is for uploads.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        let volume = Self { source: Source::Image(image), mount_point, _temporary: temporary };
        volume.mount()?;
        Ok(volume)
    }

    fn try_memory(size_bytes: u64) -> Result<Self, Unavailable> {
        need_root()?;
        let (temporary, mount_point) = place(None)?;
        let source = Source::Memory(size_bytes);
        let volume = Self { source, mount_point, _temporary: temporary };
        volume.mount()?;
        Ok(volume)
    }

    /// An overlay file system, as containers use it.
    #[must_use]
    pub fn overlay() -> Option<Self> {
        or_skipped(Self::try_overlay())
    }

    fn try_overlay() -> Result<Self, Unavailable> {
        need_root()?;
        let (temporary, mount_point) = place(fast_folder().as_deref())?;
        for name in ["lower", "upper", "work"] {
            std::fs::create_dir(temporary.path().join(name)).map_err(unavailable)?;
        }
        let source = Source::Overlay(temporary.path().to_owned());
        let volume = Self { source, mount_point, _temporary: temporary };
        volume.mount()?;
        Ok(volume)
    }

    /// The path of the mount.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Cuts the power: everything that was not synced is lost, and every call on the volume fails
    /// from now on. Processes with open files there must end before [`power_on`](Self::power_on).
    ///
    /// # Panics
    /// Where the kernel refuses, or the volume is no ext4 volume.
    pub fn power_off(&self) {
        assert!(matches!(self.source, Source::Image(_)), "only a disk has power to lose");
        shutdown::shutdown(&self.mount_point).expect("the file system can be shut down");
    }

    /// Brings the power back: mounts the volume again, from the content of the image.
    ///
    /// # Panics
    /// Where a process still holds the volume, or it does not mount.
    pub fn power_on(&self) {
        self.mount_again();
    }

    /// Unmounts and mounts the volume; its content stays.
    ///
    /// # Panics
    /// Where a process still holds the volume, or it does not mount.
    pub fn mount_again(&self) {
        let began = Instant::now();
        loop {
            self.unmount().expect("nobody holds the volume");
            self.mount().expect("a file system mounts again");
            // A mount namespace that another test makes has a copy of the mount. Until that
            // namespace has ended, the kernel mounts the same file system again, which has no
            // power. It may still list its names, from memory; it syncs nothing.
            let root = std::fs::File::open(&self.mount_point);
            match root.and_then(|root| root.sync_all()) {
                Ok(()) => return,
                Err(error) if began.elapsed() > crate::PATIENCE => panic!("no power: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Turns a bit in the first bytes of a file where they are on the disk, without the file
    /// system: the page cache keeps the old bytes.
    ///
    /// # Panics
    /// Where no block of the disk begins with these bytes, or the volume has no disk.
    pub fn rot(&self, bytes: &[u8]) {
        const BLOCK_BYTES: usize = 1024;
        let Source::Image(image) = &self.source else { panic!("only a disk rots") };
        let disk = std::fs::read(image).expect("an image");
        let block = disk.chunks(BLOCK_BYTES).position(|block| block.starts_with(bytes));
        flip(image, block.expect("a block that begins so") * BLOCK_BYTES);
    }

    /// Fills the volume until only that number of bytes is free, with a file that the test deletes
    /// when it needs room again.
    ///
    /// # Panics
    /// Where fewer bytes are free already.
    #[must_use]
    pub fn fill_up_to(&self, left_bytes: u64) -> PathBuf {
        let path = self.mount_point.join("ballast");
        let mut ballast = std::fs::File::create(&path).expect("a file");
        let free = rustix::fs::statvfs(&self.mount_point).expect("a file system");
        let free_bytes = free.f_bavail * free.f_frsize;
        let wanted = free_bytes.checked_sub(left_bytes).expect("so much is free");
        let block = vec![1; 4096];
        for _ in 0..wanted / 4096 {
            // A file also needs room for its metadata, so the volume may be full a little earlier.
            if ballast.write_all(&block).is_err() {
                break;
            }
        }
        let _ = ballast.sync_all();
        path
    }

    /// Mounts the volume also at the place of a folder. No such mount may exist while the power
    /// comes back.
    ///
    /// # Panics
    /// Where the system refuses that.
    #[must_use]
    pub fn show_at(&self, folder: &Path) -> Shown {
        run(Command::new("mount").arg("--bind").arg(&self.mount_point).arg(folder))
            .unwrap_or_else(|error| panic!("mount --bind: {error}"));
        Shown(folder.to_owned())
    }

    /// Mounts the volume again with that option (`ro`, `rw`).
    ///
    /// # Panics
    /// Where the system refuses that.
    pub fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        run(Command::new("mount").args(["-o", &option]).arg(&self.mount_point))
            .unwrap_or_else(|error| panic!("mount -o {option}: {error}"));
    }

    fn mount(&self) -> Result<(), Unavailable> {
        let mut command = Command::new("mount");
        match &self.source {
            // `noload` must not be set: the recovery of the file system needs the journal.
            Source::Image(image) => {
                command.args(["-t", "ext4", "-o", "loop,errors=continue"]).arg(image)
            }
            // Without a mode everybody might write into it, and a server does not take such a folder.
            Source::Memory(size_bytes) => {
                let options = format!("size={size_bytes},mode=0755");
                command.args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            }
            Source::Overlay(folder) => {
                let at = |name| folder.join(name).display().to_string();
                let (lower, upper, work) = (at("lower"), at("upper"), at("work"));
                let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
                command.args(["-t", "overlay", "-o", &options, "overlay"])
            }
        };
        run(command.arg(&self.mount_point)).map(drop)
    }

    fn unmount(&self) -> Result<(), Unavailable> {
        unmount(&self.mount_point)
    }
}

impl Shown {
    /// Removes the mount.
    ///
    /// # Panics
    /// Where a process still uses it.
    pub fn hide(self) {
        unmount(&self.0).expect("nobody holds the volume");
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // Most often the mount is removed already.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

/// A process that was killed may use the volume for a moment longer.
fn unmount(place: &Path) -> Result<(), Unavailable> {
    let began = Instant::now();
    loop {
        match run(Command::new("umount").arg(place)) {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > crate::PATIENCE => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // With `--lazy`: a failing test may leave a server on the volume, which is killed just
        // after.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.mount_point));
    }
}

/// Prints that a test is skipped. It writes past the test harness, which hides the output of a
/// passing test.
pub fn skipped(why: &impl fmt::Display) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "\nSKIPPED, not passed: {test}: {why}");
}

/// Whether this program can be run here. Where it cannot, prints that the test is skipped.
#[must_use]
pub fn has(program: &str) -> bool {
    run(Command::new(program).arg("--version"))
        .inspect_err(|_| skipped(&format!("needs {program}")))
        .is_ok()
}

fn or_skipped(volume: Result<Volume, Unavailable>) -> Option<Volume> {
    volume.inspect_err(skipped).ok()
}

pub(crate) fn need_root() -> Result<(), Unavailable> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Unavailable("needs root, for a file system or a network of its own".to_owned()))
}

/// A folder in memory, where the machine has one: files in it use no disk.
pub(crate) fn fast_folder() -> Option<PathBuf> {
    Some(PathBuf::from("/dev/shm")).filter(|folder| folder.is_dir())
}

fn place(folder: Option<&Path>) -> Result<(TempDir, PathBuf), Unavailable> {
    let temporary = match folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let temporary = temporary.map_err(unavailable)?;
    let mount_point = temporary.path().join("mounted");
    std::fs::create_dir(&mount_point).map_err(unavailable)?;
    Ok((temporary, mount_point))
}

pub(crate) fn run(command: &mut Command) -> Result<Output, Unavailable> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| Unavailable(format!("{name}: {error}")))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Unavailable(format!("{name}: {}", said.trim())))
}

fn unavailable(error: std::io::Error) -> Unavailable {
    Unavailable(error.to_string())
}
