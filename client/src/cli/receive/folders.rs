//! The folders that senders have sent. A folder of a sender is a new one here: nothing is put into a
//! folder that was there before. Which one it is here is remembered by its number in the file system, so
//! that one that the person has moved away, or put in its place, is never taken for it.

use super::own_name::own_name;
use crate::get::landing::{folder_mode, land_new_folder};
use crate::get::local_folder::LocalFolder;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::PathBuf;
use towline_types::{Name, PermissionBits, UserId};

/// The name of the list in the hidden folder.
const NAME: &str = "folders.json";

/// The number of changed folders that are held open until they are synced together.
const CHANGED_MAX: usize = 64;

/// A folder that was made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    name: String,
    device: u64,
    inode: u64,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Folders {
    base: LocalFolder,
    hidden: LocalFolder,
    umask: Mode,
    /// By the number of the sender and the name that the sender gave it.
    made: BTreeMap<String, Made>,
    /// Those in which a name is not durable yet.
    changed: BTreeMap<PathBuf, LocalFolder>,
    /// A sync has failed. No later one is believed (P5): the system may have forgotten what it could not
    /// write.
    has_failed: bool,
}

impl Folders {
    /// Reads the list, if there is one. Blocks.
    pub(super) fn open(base: LocalFolder, hidden: LocalFolder, umask: Mode) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let made = match rustix::fs::openat(hidden.fd(), NAME, flags, Mode::empty()) {
            Ok(file) => {
                let mut text = Vec::new();
                File::from(file).read_to_end(&mut text)?;
                serde_json::from_slice(&text)?
            }
            Err(rustix::io::Errno::NOENT) => BTreeMap::new(),
            Err(error) => return Err(error.into()),
        };
        let changed = BTreeMap::new();
        Ok(Self { base, hidden, umask, made, changed, has_failed: false })
    }

    /// The folder of a sender with these names, each made where it is missing. `mode` is what the sender
    /// says of the last one, where that is known. Returns also whether that was made. Blocks.
    pub(super) fn make(
        &mut self,
        sender: UserId,
        names: &[Name],
        mode: Option<PermissionBits>,
    ) -> io::Result<(LocalFolder, bool)> {
        let [top, below @ ..] = names else { return Ok((self.base.clone(), false)) };
        let mode_of = |is_last: bool| mode.filter(|_| is_last);
        let (mut folder, mut is_made) = self.top(sender, top, mode_of(below.is_empty()))?;
        for (place, name) in below.iter().enumerate() {
            let mode = mode_of(place + 1 == below.len());
            let (next, is_new) = folder.make_subfolder(&own_name(name, false)?, mode)?;
            self.has_changed(&folder)?;
            (folder, is_made) = (next, is_new);
        }
        if let Some(mode) = mode {
            folder.set_mode(folder_mode(mode, self.umask))?;
        }
        Ok((folder, is_made))
    }

    fn top(
        &mut self,
        sender: UserId,
        name: &Name,
        mode: Option<PermissionBits>,
    ) -> io::Result<(LocalFolder, bool)> {
        let key = format!("{sender}/{name}");
        self.has_changed(&self.base.clone())?;
        if let Some(made) = self.made.get(&key)
            && let Some(folder) = self.again(made)?
        {
            return Ok((folder, false));
        }
        let (base, hidden) = (self.base.clone(), self.hidden.clone());
        let folder =
            land_new_folder(&base, &own_name(name, true)?, mode, &hidden, |made, name| {
                let about = made.about()?;
                let (device, inode) = (about.st_dev, about.st_ino);
                self.made.insert(key.clone(), Made { name: name.to_string(), device, inode });
                self.write()
            })?;
        Ok((folder, true))
    }

    /// The folder that was made before, where it is still there.
    fn again(&self, made: &Made) -> io::Result<Option<LocalFolder>> {
        let name = Name::new(made.name.as_str()).map_err(io::Error::other)?;
        let folder = match self.base.subfolder(&name) {
            Ok(folder) => folder,
            Err(error) if is_other(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let about = folder.about()?;
        Ok(((about.st_dev, about.st_ino) == (made.device, made.inode)).then_some(folder))
    }

    fn write(&self) -> io::Result<()> {
        let beside = format!("{NAME}.tmp");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let opened = rustix::fs::openat(self.hidden.fd(), &beside, flags | OFlags::NOFOLLOW, mode)?;
        let mut file = File::from(opened);
        file.write_all(&serde_json::to_vec(&self.made)?)?;
        file.sync_all()?;
        rustix::fs::renameat(self.hidden.fd(), &beside, self.hidden.fd(), NAME)?;
        self.hidden.sync()
    }

    /// A name in the folder is new, or was new when a kill came.
    pub(super) fn has_changed(&mut self, folder: &LocalFolder) -> io::Result<()> {
        self.changed.insert(folder.path().to_owned(), folder.clone());
        if self.changed.len() > CHANGED_MAX { self.sync() } else { Ok(()) }
    }

    /// Makes all new names durable. Blocks.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        while let Some((_, folder)) = self.changed.first_key_value() {
            let synced = folder.sync();
            self.believe(synced)?;
            self.changed.pop_first();
        }
        Ok(())
    }

    /// Makes everything durable that has landed, modes and times included. Blocks.
    pub(super) fn sync_all(&mut self) -> io::Result<()> {
        let synced = self.base.sync_file_system();
        self.believe(synced)
    }

    fn believe(&mut self, synced: io::Result<()>) -> io::Result<()> {
        if self.has_failed {
            return Err(io::Error::other("an earlier sync has failed"));
        }
        self.has_failed = synced.is_err();
        synced
    }
}

/// Nothing, or something else, has the name.
fn is_other(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}
