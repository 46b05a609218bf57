//! Volumes of a test's own: a file system that loses its power, one that is small,
//! one that has less room than it claims.
//!
//! They are loop mounts and need root, `mkfs.ext4`, `losetup` and `mount`. Where
//! these are missing, [`Volume::ext4`] and its sisters say aloud that the test is
//! skipped, and why, and return nothing: skipped is never passed in silence.

mod shutdown;

use crate::flip::flip;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A mounted volume. Dropped, it is unmounted and gone.
#[derive(Debug)]
pub struct Volume {
    source: Source,
    mount_point: PathBuf,
    /// Holds image and mount point; last, because it goes when nothing is mounted.
    _temporary: TempDir,
}

#[derive(Debug)]
enum Source {
    /// An ext4 image over a loop device.
    Image(PathBuf),
    /// A tmpfs of that number of bytes.
    Memory(u64),
    /// One file system over another: `upper` over `lower` in this folder.
    Overlay(PathBuf),
}

/// A volume shown at a second place. Dropped, it is there no longer.
#[derive(Debug)]
pub struct Shown(PathBuf);

/// Why there is no volume.
#[derive(Debug)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Volume {
    /// An ext4 file system of that size, in memory where the machine has a place for
    /// it; or nothing, said aloud.
    #[must_use]
    pub fn ext4(size_bytes: u64) -> Option<Self> {
        or_skipped(Self::try_ext4(size_bytes))
    }

    /// An ext4 file system that claims to have that size and lies in `folder`: it has
    /// no more room than that folder's volume (a thin disk: full only at the sync).
    #[must_use]
    pub fn ext4_in(size_bytes: u64, folder: &Path) -> Option<Self> {
        or_skipped(place(Some(folder)).and_then(|place| Self::image(size_bytes, place)))
    }

    /// A tmpfs of that size.
    #[must_use]
    pub fn memory(size_bytes: u64) -> Option<Self> {
        or_skipped(Self::try_memory(size_bytes))
    }

    /// As [`ext4`](Self::ext4), with the reason where there is none.
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
        // No reserved blocks: what is promised to uploads is theirs.
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

    /// An overlay file system, as containers have it.
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

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// The power goes: whatever was not synced is lost, and every call on the volume
    /// fails from now on. Processes with open files there must end before
    /// [`power_on`](Self::power_on).
    ///
    /// # Panics
    /// Where the kernel refuses, or it is no ext4 volume.
    pub fn power_off(&self) {
        assert!(matches!(self.source, Source::Image(_)), "only a disk has power to lose");
        shutdown::shutdown(&self.mount_point).expect("the file system can be shut down");
    }

    /// The power comes back: mounted anew, from what lies on the image.
    ///
    /// # Panics
    /// Where a process still holds the volume, or it does not mount.
    pub fn power_on(&self) {
        self.mount_again();
    }

    /// Taken out and put in again: what is on it stays.
    ///
    /// # Panics
    /// Where a process still holds the volume, or it does not mount.
    pub fn mount_again(&self) {
        let began = Instant::now();
        loop {
            self.unmount().expect("nobody holds the volume");
            self.mount().expect("a file system mounts again");
            // A mount namespace that another test makes has a copy of the mount. Until that
            // namespace has ended, the kernel gives the same file system again, which has no
            // power.
            match std::fs::read_dir(&self.mount_point)
                .and_then(|mut names| names.next().transpose())
            {
                Ok(_) => return,
                Err(error) if began.elapsed() > crate::PATIENCE => panic!("no power: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Turns a bit of a file's first bytes where they lie on the disk, behind the file
    /// system's back: memory goes on knowing them as they were.
    ///
    /// # Panics
    /// Where no block of the disk begins with these bytes, or it is no disk.
    pub fn rot(&self, bytes: &[u8]) {
        const BLOCK_BYTES: usize = 1024;
        let Source::Image(image) = &self.source else { panic!("only a disk rots") };
        let disk = std::fs::read(image).expect("an image");
        let block = disk.chunks(BLOCK_BYTES).position(|block| block.starts_with(bytes));
        flip(image, block.expect("a block that begins so") * BLOCK_BYTES);
    }

    /// Fills it up to that many bytes, with a file that is to be deleted when there
    /// shall be room again.
    ///
    /// # Panics
    /// Where it has less already.
    #[must_use]
    pub fn fill_up_to(&self, left_bytes: u64) -> PathBuf {
        let path = self.mount_point.join("ballast");
        let mut ballast = std::fs::File::create(&path).expect("a file");
        let free = rustix::fs::statvfs(&self.mount_point).expect("a file system");
        let free_bytes = free.f_bavail * free.f_frsize;
        let wanted = free_bytes.checked_sub(left_bytes).expect("so much is free");
        let block = vec![1; 4096];
        for _ in 0..wanted / 4096 {
            // What a file needs besides its bytes may end it a little early.
            if ballast.write_all(&block).is_err() {
                break;
            }
        }
        let _ = ballast.sync_all();
        path
    }

    /// Shows it in the place of a folder, too. Nothing may be shown while the power
    /// comes back.
    ///
    /// # Panics
    /// Where that is refused.
    #[must_use]
    pub fn show_at(&self, folder: &Path) -> Shown {
        run(Command::new("mount").arg("--bind").arg(&self.mount_point).arg(folder))
            .unwrap_or_else(|error| panic!("mount --bind: {error}"));
        Shown(folder.to_owned())
    }

    /// Mounts it again with that option (`ro`, `rw`).
    ///
    /// # Panics
    /// Where that is refused.
    pub fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        run(Command::new("mount").args(["-o", &option]).arg(&self.mount_point))
            .unwrap_or_else(|error| panic!("mount -o {option}: {error}"));
    }

    fn mount(&self) -> Result<(), Unavailable> {
        let mut command = Command::new("mount");
        match &self.source {
            // noload must not be: the journal is what recovers.
            Source::Image(image) => {
                command.args(["-t", "ext4", "-o", "loop,errors=continue"]).arg(image)
            }
            Source::Memory(size_bytes) => {
                command.args(["-t", "tmpfs", "-o", &format!("size={size_bytes}"), "tmpfs"])
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
    /// Shows it no longer.
    ///
    /// # Panics
    /// Where a process still holds it.
    pub fn hide(self) {
        unmount(&self.0).expect("nobody holds the volume");
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // Hidden already, mostly.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

/// A process that was killed may hold the volume for a moment longer.
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
        // Lazily: a failing test may leave a server on it, which is killed right after.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.mount_point));
    }
}

/// Says aloud that a test is skipped, past the harness, which keeps what a passing
/// test prints.
pub fn skipped(why: &impl fmt::Display) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "\nSKIPPED, not passed: {test}: {why}");
}

/// Whether that program can be run here; says aloud that the test is skipped where
/// it cannot.
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

/// A folder in memory, where the machine has one: what lies in it costs no disk.
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
