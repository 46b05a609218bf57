//! Whether files without a name can be had on a volume, and how they get one.

use super::directory::Directory;
use super::file::FILE_MODE;
use super::paths;
use rustix::fs::{AtFlags, CWD, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// How a file without a name gets one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkMethod {
    /// By its descriptor. Takes a privilege, or a kernel that asks for none.
    Descriptor,
    /// By what `/proc` calls the descriptor.
    Proc,
}

/// Whether files without a name can be had on a volume.
#[derive(Debug)]
pub(super) struct UnnamedFiles {
    /// Found out when the first is wanted.
    method: OnceLock<Option<LinkMethod>>,
    /// A rule of the system keeps such files from getting names, though a probe got one.
    refused: AtomicBool,
}

impl UnnamedFiles {
    /// Where they are not wanted.
    pub(super) fn none() -> Self {
        Self { method: OnceLock::from(None), refused: AtomicBool::default() }
    }

    /// Where they are, if it is possible.
    pub(super) fn wanted() -> Self {
        Self { method: OnceLock::new(), refused: AtomicBool::default() }
    }

    /// None is possible any more: some rule of the system keeps such files from getting names.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// How such files get names there, if it is possible.
    pub(super) fn link_method(&self, staging: &Directory) -> Option<LinkMethod> {
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(found) = self.method.get() {
            return *found;
        }
        match make(staging) {
            Ok(file) => *self.method.get_or_init(|| find_link_method(staging, &file)),
            // What is short now need not be short the next time.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOSPC | Errno::DQUOT) => None,
            Err(_) => *self.method.get_or_init(|| None),
        }
    }
}

/// Which way there is in that folder, if any: found out by going it.
fn find_link_method(staging: &Directory, file: &OwnedFd) -> Option<LinkMethod> {
    // What has that name is what a kill left here.
    let name = OsStr::new(paths::PROBE);
    let _ = staging.remove(name);
    let works = |method: &LinkMethod| link(file, *method, staging, name).is_ok();
    let method = [LinkMethod::Descriptor, LinkMethod::Proc].into_iter().find(works)?;
    staging.remove(name).is_ok().then_some(method)
}

pub(super) fn make(staging: &Directory) -> Result<OwnedFd, Errno> {
    staging.file(".", OFlags::TMPFILE | OFlags::RDWR, FILE_MODE)
}

pub(super) fn link(
    file: &OwnedFd,
    method: LinkMethod,
    to: &Directory,
    new: &OsStr,
) -> Result<(), Errno> {
    match method {
        LinkMethod::Descriptor => rustix::fs::linkat(file, "", to, new, AtFlags::EMPTY_PATH),
        LinkMethod::Proc => {
            let old = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(CWD, old, to, new, AtFlags::SYMLINK_FOLLOW)
        }
    }
}
