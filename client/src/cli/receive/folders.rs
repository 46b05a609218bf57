//! The folders that senders have sent. A folder of a sender is a new one here, at the top and below:
//! nothing is put into a folder that was there before, or that the person has made in one that was
//! received since (P7). So a sender reaches no `.git/hooks` of the person's.
//!
//! Which folders are a sender's is written down: each by its numbers in the file system and the time at
//! which it was made, so that one that the person has put in its place is never taken for it, not even
//! where the system has used the numbers again. Only what is written down gets the permission bits that a
//! sender says.

use super::line_file::LineFile;
use super::own_name::own_name;
use crate::get::landing::{folder_mode, land_new_folder};
use crate::get::local_folder::LocalFolder;
use rustix::fs::Mode;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::time::UNIX_EPOCH;
use towline_types::{Name, PermissionBits, StoreId, UserId};

/// The name of the list in the hidden folder: a folder a line.
const NAME: &str = "folders";

/// The number of changed folders that are held open until they are synced together.
const CHANGED_MAX: usize = 64;

/// By what a folder is known whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    device: u64,
    inode: u64,
    /// When it was made, in nanoseconds since 1970; absent where the file system does not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_ns: Option<u64>,
}

/// A folder that was made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    /// The number of the sender, and the names that the sender gave it and those around it.
    sent: String,
    /// The name that it has here.
    name: Name,
    #[serde(flatten)]
    identity: Identity,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Folders {
    base: LocalFolder,
    hidden: LocalFolder,
    umask: Mode,
    list: LineFile,
    /// By what is in [`Made::sent`].
    made: HashMap<String, Made>,
    /// Those in which a name is not durable yet, by device and inode: two of them can have had one path.
    changed: BTreeMap<(u64, u64), LocalFolder>,
    /// A sync has failed. No later one is believed (P5): the system may have forgotten what it could not
    /// write.
    has_failed: bool,
}

impl Folders {
    /// Reads the list of that store, or begins one. Blocks.
    pub(super) fn open(
        base: LocalFolder,
        hidden: LocalFolder,
        umask: Mode,
        store: StoreId,
    ) -> io::Result<Self> {
        let (list, lines) = LineFile::open(&hidden, NAME, store)?;
        let mut made = HashMap::new();
        // A later line of a folder is about a later try to give it a name.
        for line in lines {
            let folder: Made = serde_json::from_str(&line)?;
            made.insert(folder.sent.clone(), folder);
        }
        let changed = BTreeMap::new();
        Ok(Self { base, hidden, umask, list, made, changed, has_failed: false })
    }

    /// The folder of a sender with these names, each made where it is missing. `mode` is what the sender
    /// says of the last one, where that is known. Returns also whether that was made. Blocks.
    pub(super) fn make(
        &mut self,
        sender: UserId,
        names: &[Name],
        mode: Option<PermissionBits>,
    ) -> io::Result<(LocalFolder, bool)> {
        let (mut folder, mut is_made) = (self.base.clone(), false);
        let mut sent = sender.to_string();
        for (depth, name) in names.iter().enumerate() {
            sent = format!("{sent}/{name}");
            let own = own_name(name, depth == 0)?;
            let mode = mode.filter(|_| depth + 1 == names.len());
            (folder, is_made) = self.make_in(&folder, &sent, &own, mode)?;
        }
        if let (Some(mode), false) = (mode, names.is_empty()) {
            folder.set_mode(folder_mode(mode, self.umask))?;
        }
        Ok((folder, is_made))
    }

    fn make_in(
        &mut self,
        around: &LocalFolder,
        sent: &str,
        name: &Name,
        mode: Option<PermissionBits>,
    ) -> io::Result<(LocalFolder, bool)> {
        // Its name is new, or was new when a kill came.
        self.has_changed(around)?;
        if let Some(made) = self.made.get(sent)
            && let Some(folder) = again(around, made)?
        {
            return Ok((folder, false));
        }
        let Self { made, list, hidden, .. } = self;
        // The line is written before the folder has its name, so that a kill leaves no folder that is
        // taken for the person's. It is synced with the names: what a power cut leaves of a folder
        // without a line is never written to again, and what lay in it lands once more (P3).
        let folder = land_new_folder(around, name, mode, hidden, |folder, name| {
            let identity = Identity::of(folder)?;
            let new = Made { sent: sent.to_owned(), name: name.clone(), identity };
            list.add(&serde_json::to_string(&new)?)?;
            made.insert(sent.to_owned(), new);
            Ok(())
        })?;
        Ok((folder, true))
    }

    /// A name in the folder is new, or was new when a kill came.
    pub(super) fn has_changed(&mut self, folder: &LocalFolder) -> io::Result<()> {
        let about = folder.about()?;
        self.changed.entry((about.st_dev, about.st_ino)).or_insert_with(|| folder.clone());
        if self.changed.len() > CHANGED_MAX { self.sync() } else { Ok(()) }
    }

    /// Makes all new names durable, and before them the lines of new folders. Blocks.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let listed = self.list.sync();
        self.believe(listed)?;
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

impl Identity {
    fn of(folder: &LocalFolder) -> io::Result<Self> {
        let about = folder.about()?;
        let made = File::from(folder.fd().try_clone_to_owned()?).metadata()?.created();
        let made_ns = made.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let made_ns = made_ns.and_then(|since| u64::try_from(since.as_nanos()).ok());
        Ok(Self { device: about.st_dev, inode: about.st_ino, made_ns })
    }
}

/// The folder that was made before, where it still has its name.
fn again(around: &LocalFolder, made: &Made) -> io::Result<Option<LocalFolder>> {
    let folder = match around.subfolder(&made.name) {
        Ok(folder) => folder,
        Err(error) if is_other(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok((Identity::of(&folder)? == made.identity).then_some(folder))
}

/// Nothing, or something else, has the name.
fn is_other(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(test)]
mod tests;
