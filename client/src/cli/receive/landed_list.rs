//! What has landed, so that it does not land twice: not after a kill, and not where the person has moved
//! it meanwhile. A thing is added when its name is durable, so that none is lost in a power cut.

use crate::get::local_folder::LocalFolder;
use rustix::fs::{Mode, OFlags};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use towline_server::cli::{Thing, ThingKind};

/// The name of the list in the hidden folder: a thing a line.
const NAME: &str = "landed";

/// See the module's description.
#[derive(Debug)]
pub(super) struct LandedList {
    file: File,
    landed: HashSet<String>,
    /// What is not in the file yet.
    new: Vec<String>,
}

impl LandedList {
    /// Reads the list, or begins one. Blocks.
    pub(super) fn open(hidden: &LocalFolder) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let opened = rustix::fs::openat(hidden.fd(), NAME, flags | OFlags::NOFOLLOW, mode)?;
        let mut file = File::from(opened);
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // A power cut may have left a part of the last line: that thing is looked at again.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        let text = String::from_utf8_lossy(&text[..whole]);
        let landed = text.lines().map(str::to_owned).collect();
        Ok(Self { file, landed, new: Vec::new() })
    }

    pub(super) fn has(&self, thing: &Thing) -> bool {
        self.landed.contains(&key(thing))
    }

    /// Adds a thing whose name is not durable yet.
    pub(super) fn add(&mut self, thing: &Thing) {
        let key = key(thing);
        if self.landed.insert(key.clone()) {
            self.new.push(key);
        }
    }

    /// Whether there is something to [keep](Self::keep).
    pub(super) fn has_new(&self) -> bool {
        !self.new.is_empty()
    }

    /// Writes down what was added: its names are durable now. Blocks.
    pub(super) fn keep(&mut self) -> io::Result<()> {
        let text: String = self.new.drain(..).map(|key| key + "\n").collect();
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()
    }
}

/// Numbers that no other thing of this store ever has.
fn key(thing: &Thing) -> String {
    match &thing.kind {
        ThingKind::File(version) => format!("file {}", version.document_id),
        // A folder may get its mode later.
        ThingKind::Folder => {
            format!("folder {} {:o}", thing.node_id, thing.mode.map_or(0, |mode| mode.bits()))
        }
        ThingKind::Link(_) => format!("link {} {}", thing.node_id, thing.content_rev),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_types::{ChangeId, NodeId};

    fn folder(number: u64) -> Thing {
        Thing {
            node_id: NodeId::try_from(number).unwrap(),
            content_rev: ChangeId::MIN,
            names: Vec::new(),
            mtime: None,
            mode: None,
            kind: ThingKind::Folder,
        }
    }

    #[test]
    fn what_is_kept_is_known_again_and_a_torn_line_is_not() {
        let home = tempfile::tempdir().unwrap();
        let hidden = LocalFolder::open(home.path()).unwrap();
        let [one, two, three] = [1, 2, 3].map(folder);
        let mut list = LandedList::open(&hidden).unwrap();
        list.add(&one);
        list.add(&two);
        assert!(list.has(&one) && list.has_new());
        list.keep().unwrap();
        list.add(&three);
        let path = home.path().join(NAME);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{}fol", &whole[..whole.len() / 2])).unwrap();
        let mut list = LandedList::open(&hidden).unwrap();
        assert!(list.has(&one) && !list.has(&two) && !list.has(&three));
        list.add(&two);
        list.keep().unwrap();
        let list = LandedList::open(&hidden).unwrap();
        assert!(list.has(&one) && list.has(&two) && !list.has(&three));
    }
}
