//! What is mounted below a folder, as the kernel lists it.

use super::directory::Directory;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// The mount points below that folder, as seen from it. Nothing where the system has no `/proc`.
pub(super) fn below(folder: &Directory) -> Vec<PathBuf> {
    let name = format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd());
    let (Ok(path), Ok(list)) = (std::fs::read_link(name), std::fs::read("/proc/self/mountinfo"))
    else {
        return Vec::new();
    };
    points(&list).filter_map(|point| below_of(&point, &path)).collect()
}

fn below_of(point: &Path, folder: &Path) -> Option<PathBuf> {
    let below = point.strip_prefix(folder).ok()?;
    (!below.as_os_str().is_empty()).then(|| below.to_owned())
}

/// The fifth field of each line.
fn points(list: &[u8]) -> impl Iterator<Item = PathBuf> {
    list.split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(unescaped(field)))
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| *first == b'\\');
        let escaped = digits.and_then(|digits| OsStr::from_bytes(digits).to_str());
        let escaped = escaped.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { behind.get(3..).unwrap_or_default() } else { behind };
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_from_the_list_of_the_kernel() {
        let list = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            36 22 8:2 / /srv/up\\040loads/5 rw,noatime master:1 - ext4 /dev/sdb rw\n\
            37 22 8:2 / /srv/up\\134\\011loads/5/a rw - ext4 /dev/sdb rw\n\
            38 22 8:3 / /srv/up\\040loads rw - ext4 /dev/sdc rw\n\
            cut off";
        let found: Vec<_> = points(list).collect();
        let expected = ["/", "/srv/up loads/5", "/srv/up\\\tloads/5/a", "/srv/up loads"];
        assert_eq!(found, expected.map(PathBuf::from));
        let folder = Path::new("/srv/up loads");
        let below: Vec<_> = found.iter().filter_map(|point| below_of(point, folder)).collect();
        assert_eq!(below, [PathBuf::from("5")]);
    }

    #[test]
    fn nothing_is_mounted_below_a_new_folder() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Directory::at_path(temp.path()).unwrap();
        assert_eq!(below(&folder), Vec::<PathBuf>::new());
        let root = Directory::at_path(Path::new("/")).unwrap();
        assert!(below(&root).contains(&PathBuf::from("proc")), "the list is read");
    }
}
