//! Things of a store on this machine get names in a folder of the person, by the rules by which fetched
//! things get them: what has a name is never replaced, and no link is followed (P7).
//!
//! A file gets a second name for the same bytes, so that it takes no time and no room. Where the file
//! system has no second names, or other bytes may lie there than were sent, it is copied: into a file in
//! a folder of the program's own, which gets the name when its bytes have the hash that they should
//! have. Beside its place another user of the machine could have made the files that the copy goes on
//! with.

use super::attributes;
use super::local_folder::{Found, LocalFolder};
use super::numbered_names::numbered_names;
use super::prepare::same_file;
use super::staging::{Durability, Expected, Staging, Unusable, rename_no_replace};
use rustix::fs::Mode;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::iter::once;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use towline_types::block::{BLOCK_SIZE_BYTES, hash_block};
use towline_types::{BlockIndex, LinkTarget, Name, PermissionBits};

/// The name in the folder of the program's own that a copy has when it is whole.
const COPIED: &str = "copied";

/// The name there of a folder that has yet to get its name.
const MAKING: &str = "making";

/// How many files that have a name of a file and its length are compared with it. A sender can send
/// one file again and again with other bytes, and all of them would be read for each.
const COMPARED_MAX: u32 = 8;

/// A file that is to land.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: File,
    /// The bytes are known to be those that are expected.
    pub(crate) is_known: bool,
    pub(crate) expected: Expected,
}

/// A thing that has landed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Landed {
    /// The name that it has.
    pub(crate) name: Name,
    /// The same was there before.
    pub(crate) existing: bool,
}

/// Gives a file its name, or a numbered one where something else has that. `own` is a folder in which no
/// other user makes files, on the same file system. Blocks.
pub(crate) fn land_file(
    folder: &LocalFolder,
    name: &Name,
    source: &Source,
    umask: Mode,
    own: &LocalFolder,
) -> io::Result<Landed> {
    let left = Cell::new(COMPARED_MAX);
    let is_same = |name: &Name, found| is_same_file(folder, name, found, source, umask, &left);
    land(folder, name, is_same, |name| {
        if source.is_known {
            match folder.link_file(&source.file, name) {
                Ok(()) => return describe(source, umask),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
                // Whatever the reason, a copy needs no second name.
                Err(_) => {}
            }
        }
        copy(folder, name, source, umask, own)
    })
}

/// Makes a link, under a numbered name where something else has its own. Blocks.
pub(crate) fn land_link(
    folder: &LocalFolder,
    name: &Name,
    target: &LinkTarget,
) -> io::Result<Landed> {
    let is_same = |name: &Name, found| match found {
        Found::Link => Ok(folder.link_target(name)? == target.as_str().as_bytes()),
        _ => Ok(false),
    };
    land(folder, name, is_same, |name| folder.make_link(name, target))
}

/// Makes a folder that was not there before. `record` writes down which folder gets which name, before
/// it gets it: so one that a kill has cut off is the same one at the next try, and leaves no other behind.
/// `own` is a folder of the program's own on the same file system. Blocks.
pub(crate) fn land_new_folder(
    folder: &LocalFolder,
    name: &Name,
    mode: Option<PermissionBits>,
    own: &LocalFolder,
    mut record: impl FnMut(&LocalFolder, &Name) -> io::Result<()>,
) -> io::Result<LocalFolder> {
    let (made, _) = own.make_subfolder(&Name::new(MAKING).map_err(io::Error::other)?, mode)?;
    for name in once(name.clone()).chain(numbered_names(name)) {
        if !matches!(folder.look(&name)?, Found::Nothing) {
            continue;
        }
        record(&made, &name)?;
        match rename_no_replace(own, MAKING, folder, &name) {
            Ok(()) => return folder.subfolder(&name),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // A file system on which a folder cannot be renamed without replacing another one.
            Err(_) => {
                if let (made, true) = folder.make_subfolder(&name, mode)? {
                    record(&made, &name)?;
                    return Ok(made);
                }
            }
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

fn land(
    folder: &LocalFolder,
    name: &Name,
    is_same: impl Fn(&Name, Found) -> io::Result<bool>,
    make: impl Fn(&Name) -> io::Result<()>,
) -> io::Result<Landed> {
    for name in once(name.clone()).chain(numbered_names(name)) {
        match folder.look(&name)? {
            Found::Nothing => match make(&name) {
                Ok(()) => return Ok(Landed { name, existing: false }),
                // Something has taken the name in between.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            },
            found if is_same(&name, found)? => return Ok(Landed { name, existing: true }),
            _ => {}
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Whether what has the name is the file itself, as after a kill, or has the same bytes.
fn is_same_file(
    folder: &LocalFolder,
    name: &Name,
    found: Found,
    source: &Source,
    umask: Mode,
    left: &Cell<u32>,
) -> io::Result<bool> {
    let Found::File(length) = found else { return Ok(false) };
    if length != source.expected.filesize.get() {
        return Ok(false);
    }
    let there = match folder.open_file(name) {
        Ok(there) => there.metadata()?,
        // The person has a file there that not even the person may read.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(false),
        Err(error) => return Err(error),
    };
    let here = source.file.metadata()?;
    // The bytes of the store's own file were synced before its sender was told so.
    if (there.dev(), there.ino()) == (here.dev(), here.ino()) {
        describe(source, umask)?;
        return Ok(true);
    }
    // The file of another user may change as soon as it was looked at.
    if there.uid() != here.uid() || left.get() == 0 {
        return Ok(false);
    }
    left.set(left.get() - 1);
    let Some(same) = same_file(folder, name, found, &source.expected)? else { return Ok(false) };
    // P3: it stands for what the sender was told is stored, and nobody knows whether the one who wrote it
    // has synced it. P5: where that fails, it does not stand for it.
    sync_existing(&same)?;
    Ok(true)
}

fn sync_existing(file: &File) -> io::Result<()> {
    #[cfg(test)]
    tests::SYNCED.with_borrow_mut(|synced| synced.push(file.metadata().map_or(0, |it| it.ino())));
    file.sync_all()
}

/// The permission bits of a file that lands: what its sender says, less what the umask takes. Its owner
/// here may always read and write it.
fn file_mode(mode: Option<PermissionBits>, umask: Mode) -> PermissionBits {
    let bits = Mode::from_raw_mode(mode.map_or(0o666, PermissionBits::bits));
    PermissionBits::of_mode((bits.difference(umask) | Mode::RUSR | Mode::WUSR).as_raw_mode())
}

/// The same of a folder.
pub(crate) fn folder_mode(mode: PermissionBits, umask: Mode) -> PermissionBits {
    let bits = Mode::from_raw_mode(mode.bits()).difference(umask);
    PermissionBits::of_mode((bits | Mode::RWXU).as_raw_mode())
}

/// The file gets its mode and its time.
fn describe(source: &Source, umask: Mode) -> io::Result<()> {
    let Source { file, expected, .. } = source;
    attributes::set_mode(file, file_mode(expected.mode, umask))?;
    expected.mtime.map_or(Ok(()), |mtime| attributes::set_mtime(file, mtime))
}

/// Copies the file. A copy that a kill has cut off goes on, as one that is fetched does.
///
/// # Errors
/// `AlreadyExists` where something has the name.
fn copy(
    folder: &LocalFolder,
    name: &Name,
    source: &Source,
    umask: Mode,
    own: &LocalFolder,
) -> io::Result<()> {
    let mut expected = source.expected.clone();
    expected.mode = Some(file_mode(expected.mode, umask));
    let (filesize, hash) = (expected.filesize, expected.blake3);
    let mut staging = match Staging::open(own, name, expected, Durability::Synced) {
        Ok(staging) => staging,
        Err(Unusable::Busy) => return Err(ErrorKind::ResourceBusy.into()),
        Err(Unusable::Io(error)) => return Err(error),
    };
    let length = usize::try_from(BLOCK_SIZE_BYTES.min(filesize.get())).unwrap_or(0);
    let mut buffer = vec![0; length];
    for missing in staging.missing() {
        for index in missing.start / BLOCK_SIZE_BYTES..missing.end.div_ceil(BLOCK_SIZE_BYTES) {
            let index = BlockIndex::try_from(index).map_err(io::Error::other)?;
            let span = index.span(filesize);
            let bytes = &mut buffer[..usize::try_from(span.end - span.start).unwrap_or(0)];
            source.file.read_exact_at(bytes, span.start)?;
            staging.write(index, hash_block(index, filesize, bytes), bytes)?;
        }
    }
    if staging.hash() != Some(hash) {
        staging.discard();
        return Err(io::Error::new(ErrorKind::InvalidData, OTHER_BYTES));
    }
    // A copy that a kill has left there is of no use any more.
    let copied = Name::new(COPIED).map_err(io::Error::other)?;
    staging.publish(&copied, true, umask)?;
    rename_no_replace(own, COPIED, folder, name)
}

const OTHER_BYTES: &str = "its bytes are not those that were sent: it was changed since";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use towline_types::file_hash::hash_file;
    use towline_types::{FileSize, ModifiedTime};

    thread_local! {
        /// The files that were there and were synced by this thread, by their inodes.
        pub(super) static SYNCED: std::cell::RefCell<Vec<u64>> = const { std::cell::RefCell::new(Vec::new()) };
    }

    const UMASK: Mode = Mode::RWXO.union(Mode::WGRP);

    fn source(path: &Path, bytes: &[u8], is_known: bool) -> Source {
        std::fs::write(path, bytes).unwrap();
        let filesize = FileSize::try_from(bytes.len() as u64).unwrap();
        let blocks = bytes.chunks(1 << 20).enumerate().map(|(index, bytes)| {
            hash_block(BlockIndex::try_from(index as u64).unwrap(), filesize, bytes)
        });
        let blake3 = hash_file(filesize, blocks);
        let mode = Some(PermissionBits::of_mode(0o477));
        let mtime = Some(ModifiedTime::from_ms(1_000_000_000_000));
        let expected = Expected { filesize, blake3, mtime, mode };
        Source { file: File::open(path).unwrap(), is_known, expected }
    }

    /// The folder of the program's own.
    fn own(home: &Path) -> LocalFolder {
        std::fs::create_dir(home.join("own")).unwrap();
        LocalFolder::open(&home.join("own")).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_file_lands_by_a_second_name_or_as_a_copy_and_replaces_nothing() {
        let home = tempfile::tempdir().unwrap();
        let (store, place) = (home.path().join("store"), home.path().join("place"));
        std::fs::create_dir(&place).unwrap();
        let folder = LocalFolder::open(&place).unwrap();
        let own = own(home.path());
        let bytes: Vec<u8> = (0..(1 << 20) + 7_u32).map(|at| at.to_le_bytes()[1]).collect();
        for (is_known, lands, names) in [(true, "a.txt", 2), (false, "b.txt", 1)] {
            let source = source(&store, &bytes, is_known);
            let landed = land_file(&folder, &name(lands), &source, UMASK, &own).unwrap();
            assert_eq!(landed, Landed { name: name(lands), existing: false });
            let there = place.join(lands);
            let about = there.metadata().unwrap();
            assert_eq!(std::fs::read(&there).unwrap(), bytes);
            assert_eq!(about.nlink(), names, "{lands}");
            assert_eq!(about.permissions().mode() & 0o777, 0o650);
            assert_eq!(about.mtime(), 1_000_000_000);
            // The same once more changes nothing, whatever the bytes are known by.
            let again = land_file(&folder, &name(lands), &source, UMASK, &own).unwrap();
            assert!(again.existing);
            std::fs::remove_file(&store).unwrap();
        }
        let other = source(&store, &bytes[1..], true);
        for number in ["a (1).txt", "a (2).txt"] {
            let landed = land_file(&folder, &name("a.txt"), &other, UMASK, &own).unwrap();
            assert_eq!(landed, Landed { name: name(number), existing: false });
            std::fs::write(place.join(number), "mine").unwrap();
        }
        assert_eq!(std::fs::read(place.join("a.txt")).unwrap(), bytes);
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 4, "nothing else is left");
        assert_eq!(std::fs::read_dir(own.path()).unwrap().count(), 0, "nor here");
    }

    #[test]
    fn a_sender_cannot_have_all_that_it_has_sent_read_again_for_each_file() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("place");
        std::fs::create_dir(&place).unwrap();
        let (folder, own) = (LocalFolder::open(&place).unwrap(), own(home.path()));
        let land = |bytes: &[u8]| {
            // Not known, so that no name leads to the file itself.
            let source = source(&home.path().join("store"), bytes, false);
            land_file(&folder, &name("a"), &source, UMASK, &own).unwrap()
        };
        let count = u8::try_from(COMPARED_MAX).unwrap() + 1;
        for number in 0..count {
            assert!(!land(&[number]).existing);
        }
        assert!(land(&[count - 2]).existing, "the last one that is compared");
        let again = land(&[count - 1]);
        assert_eq!(again, Landed { name: name(&format!("a ({count})")), existing: false });
    }

    #[test]
    fn a_file_that_is_there_already_is_synced_before_it_counts() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("place");
        std::fs::create_dir(&place).unwrap();
        let (folder, own) = (LocalFolder::open(&place).unwrap(), own(home.path()));
        let source = source(&home.path().join("store"), b"abc", true);
        for bytes in ["abd", "abc"] {
            std::fs::write(place.join("a"), bytes).unwrap();
            let landed = land_file(&folder, &name("a"), &source, UMASK, &own).unwrap();
            assert_eq!(landed.existing, bytes == "abc");
            let synced = SYNCED.take();
            let here = place.join("a").metadata().unwrap().ino();
            assert_eq!(synced.contains(&here), landed.existing, "{synced:?}");
        }
    }

    #[test]
    fn no_time_that_a_sender_says_keeps_a_file_from_landing() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("place");
        std::fs::create_dir(&place).unwrap();
        let (folder, own) = (LocalFolder::open(&place).unwrap(), own(home.path()));
        for (number, ms) in [i64::MIN, -1, i64::MAX].into_iter().enumerate() {
            for is_known in [true, false] {
                let mut source = source(&home.path().join("store"), b"abc", is_known);
                source.expected.mtime = Some(ModifiedTime::from_ms(ms));
                let name = name(&format!("{number} {is_known}"));
                land_file(&folder, &name, &source, UMASK, &own).unwrap();
                std::fs::remove_file(home.path().join("store")).unwrap();
            }
        }
    }

    #[test]
    fn what_was_changed_since_does_not_land() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("place");
        std::fs::create_dir(&place).unwrap();
        let folder = LocalFolder::open(&place).unwrap();
        let source = source(&home.path().join("store"), b"abc", false);
        std::fs::write(home.path().join("store"), "abd").unwrap();
        let own = own(home.path());
        let error = land_file(&folder, &name("a"), &source, UMASK, &own).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(std::fs::read_dir(&place).unwrap().next().is_none());
    }

    #[test]
    fn nothing_that_has_a_name_is_replaced_or_followed() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("place");
        std::fs::create_dir(&place).unwrap();
        let outside = home.path().join("outside");
        std::os::unix::fs::symlink(&outside, place.join("a")).unwrap();
        let folder = LocalFolder::open(&place).unwrap();
        let source = source(&home.path().join("store"), b"abc", true);
        let own = own(home.path());
        let landed = land_file(&folder, &name("a"), &source, UMASK, &own).unwrap();
        assert_eq!(landed.name, name("a (1)"));
        let about = |folder: &LocalFolder| folder.about().unwrap().st_ino;
        let mut recorded = Vec::new();
        let record = |made: &LocalFolder, name: &Name| {
            recorded.push((about(made), name.to_string()));
            Ok(())
        };
        let made = land_new_folder(&folder, &name("a"), None, &own, record).unwrap();
        assert_eq!(made.path(), place.join("a (2)"));
        assert_eq!(recorded, [(about(&made), "a (2)".to_owned())]);
        // One that a kill has cut off before it had its name is the one that gets it.
        let (cut_off, _) = own.make_subfolder(&name(MAKING), None).unwrap();
        let made = land_new_folder(&folder, &name("b"), None, &own, |_, _| Ok(())).unwrap();
        assert_eq!(about(&made), about(&cut_off));
        assert!(std::fs::read_dir(own.path()).unwrap().next().is_none());
        let target = LinkTarget::new("b").unwrap();
        let link = land_link(&folder, &name("a"), &target).unwrap();
        assert_eq!(link, Landed { name: name("a (3)"), existing: false });
        assert!(land_link(&folder, &name("a"), &target).unwrap().existing);
        assert!(!outside.exists());
    }
}
