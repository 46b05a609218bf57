//! What has landed, so that it does not land twice: not after a kill, and not where the person has moved
//! it meanwhile. A thing is added when its name is durable, so that none is lost in a power cut (P3).

use super::line_file::LineFile;
use crate::get::local_folder::LocalFolder;
use std::collections::HashSet;
use std::io;
use towline_server::cli::{Thing, ThingKind};
use towline_types::StoreId;

/// The name of the list in the hidden folder: a thing a line.
const NAME: &str = "landed";

/// See the module's description.
#[derive(Debug)]
pub(super) struct LandedList {
    file: LineFile,
    landed: HashSet<String>,
    /// What is not in the file yet.
    new: Vec<String>,
}

impl LandedList {
    /// Reads the list of that store, or begins one. Blocks.
    pub(super) fn open(hidden: &LocalFolder, store: StoreId) -> io::Result<Self> {
        let (file, lines) = LineFile::open(hidden, NAME, store)?;
        Ok(Self { file, landed: lines.into_iter().collect(), new: Vec::new() })
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
        self.file.add(&self.new.join("\n"))?;
        self.new.clear();
        self.file.sync()
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
        let store: StoreId = "01".repeat(16).parse().unwrap();
        let [one, two, three] = [1, 2, 3].map(folder);
        let mut list = LandedList::open(&hidden, store).unwrap();
        list.add(&one);
        list.add(&two);
        assert!(list.has(&one) && list.has_new());
        list.keep().unwrap();
        list.add(&three);
        let path = home.path().join(NAME);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 2]).unwrap();
        let mut list = LandedList::open(&hidden, store).unwrap();
        assert!(list.has(&one) && !list.has(&two) && !list.has(&three));
        list.add(&two);
        list.keep().unwrap();
        let list = LandedList::open(&hidden, store).unwrap();
        assert!(list.has(&one) && list.has(&two) && !list.has(&three));
        // The numbers of another store are those of other things.
        let other = "02".repeat(16).parse().unwrap();
        assert!(!LandedList::open(&hidden, other).unwrap().has(&one));
    }
}
