//! Random changes of a tree, cut off at random between the step on the disk and the one in the
//! catalog: log, tree and disk always agree.

use crate::fixture::{Fixture, at, hash, path};
use crate::log_checker::{check, listed};
use crate::quotas::assert_counted;
use std::collections::{BTreeMap, BTreeSet};
use towline_state::Catalog;
use towline_state::catalog::{
    Bytes, CatalogError, Created, Move, NewDocument, NodeRef, RemovalGuard, Spot, Unless,
};
use towline_types::{
    DocumentId, LinkTarget, ModifiedTime, NodeId, NodeKind, NodePath, OnConflict, PermissionBits,
};

/// So many trees, each of so many steps.
const TREES: u64 = 20;
const STEPS: u32 = 90;

#[test]
fn log_tree_and_disk_agree_wherever_a_change_is_cut_off() {
    for seed in 1..=TREES {
        println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
            if world.dice(6) == 0 {
                world.crash();
            }
        }
        world.crash();
        world.agree();
        println!("seed {seed}: {:?}", world.done);
        assert!(world.done.values().sum::<u32>() > STEPS / 4, "steps do something");
    }
}

/// What lies on the disk: the document of each file, and folders without one.
#[derive(Debug, Default)]
struct Disk {
    living: BTreeMap<String, Option<DocumentId>>,
    trash: BTreeMap<NodeId, BTreeMap<String, Option<DocumentId>>>,
    versions: BTreeSet<DocumentId>,
}

impl Disk {
    fn is_there(&self, spot: &Spot) -> bool {
        match spot {
            Spot::Living(place) => self.living.contains_key(&place.to_string()),
            Spot::Trash(node_id) => self.trash.contains_key(node_id),
            Spot::Version(version) => self.versions.contains(version),
        }
    }

    /// One rename: a node and all that lies below it.
    fn rename(&mut self, from: &Spot, to: &Spot) {
        assert!(!self.is_there(to), "nothing is replaced: {to:?}");
        let taken = match from {
            Spot::Trash(node_id) => self.trash.remove(node_id).expect("it is there"),
            Spot::Version(version) => {
                assert!(self.versions.remove(version), "{version} is kept");
                BTreeMap::from([(String::new(), Some(*version))])
            }
            Spot::Living(place) => {
                let place = place.to_string();
                let below = format!("{place}/");
                let is_moved = |path: &str| path == place || path.starts_with(&below);
                let (moved, rest) = std::mem::take(&mut self.living)
                    .into_iter()
                    .partition(|(path, _)| is_moved(path));
                self.living = rest;
                let moved: BTreeMap<String, _> = moved;
                moved
                    .into_iter()
                    .map(|(path, file)| (path[place.len()..].to_owned(), file))
                    .collect()
            }
        };
        match to {
            Spot::Trash(node_id) => drop(self.trash.insert(*node_id, taken)),
            Spot::Version(version) => panic!("nothing becomes version {version} by a move"),
            Spot::Living(place) => {
                let named =
                    taken.into_iter().map(|(below, file)| (format!("{place}{below}"), file));
                self.living.extend(named);
            }
        }
    }

    fn folders_of(&mut self, path: &towline_types::DocumentPath) {
        let mut names = Vec::new();
        for name in path.folder() {
            names.push(name.as_str());
            self.living.entry(names.join("/")).or_insert(None);
        }
    }
}

struct World {
    f: Fixture,
    disk: Disk,
    random: u64,
    now: u64,
    done: BTreeMap<&'static str, u32>,
    stamp: u8,
}

impl World {
    fn new(seed: u64) -> Self {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (disk, done) = Default::default();
        Self { f: Fixture::new(), disk, random, now: 100, done, stamp: 0 }
    }

    fn dice(&mut self, sides: u64) -> u64 {
        // xorshift
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % sides
    }

    fn now(&mut self) -> towline_types::Timestamp {
        self.now += 1;
        at(self.now)
    }

    fn name(&mut self) -> &'static str {
        const NAMES: [&str; 6] = ["a", "b", "c", "A", "straße", "strasse"];
        let at = self.dice(NAMES.len() as u64);
        NAMES[usize::try_from(at).unwrap()]
    }

    fn place(&mut self) -> String {
        let depth = self.dice(3);
        (0..=depth).map(|_| self.name()).collect::<Vec<_>>().join("/")
    }

    fn did(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    /// A node that there is: of the tree, or of the trash.
    fn some_node(&mut self, in_trash: bool) -> Option<NodeId> {
        let condition = if in_trash { "IS NOT NULL" } else { "IS NULL AND place_rev > 0" };
        let sql =
            format!("SELECT node_id FROM nodes WHERE deleted_at {condition} ORDER BY node_id");
        let connection = self.f.by_hand();
        let mut statement = connection.prepare(&sql).unwrap();
        let ids: Vec<i64> =
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let chosen = self.dice(ids.len().max(1) as u64);
        ids.get(usize::try_from(chosen).unwrap()).map(|id| NodeId::from_i64(*id).unwrap())
    }

    fn step(&mut self) {
        match self.dice(12) {
            0..=3 => self.upload(),
            4 => self.make_folder(),
            5 => self.make_link(),
            6 | 7 => self.change_place(),
            8 | 9 => self.remove(),
            10 => self.restore(),
            _ => match self.dice(3) {
                0 => self.lose(),
                1 => self.forget(),
                _ => self.describe(),
            },
        }
    }

    /// A place in a folder that is there, or one where something lies.
    fn known_place(&mut self) -> String {
        let kinds: Vec<_> =
            self.disk.living.iter().map(|(place, file)| (place.clone(), file.is_some())).collect();
        let chosen = self.dice(kinds.len().max(1) as u64);
        match kinds.get(usize::try_from(chosen).unwrap()) {
            Some((place, true)) => place.clone(),
            Some((folder, false)) => format!("{folder}/{}", self.name()),
            None => self.name().to_owned(),
        }
    }

    fn upload(&mut self) {
        let place = if self.dice(2) == 0 { self.known_place() } else { self.place() };
        let on_conflict = match self.dice(3) {
            0 => OnConflict::Replace,
            1 => OnConflict::Reject,
            _ => OnConflict::Rename,
        };
        let mut new = NewDocument { on_conflict, ..self.f.new_document(&place, 5) };
        new.wish.mtime = Some(ModifiedTime::from_ms(self.now.cast_signed()));
        self.stamp = self.stamp.wrapping_add(1);
        let id = self.f.catalog.reserve_document_id(self.f.user).unwrap();
        let (blake3, unless) = (hash(self.stamp), Unless::default());
        let row = self.f.catalog.publish_new(id, new, unless, blake3, Bytes::Synced).wait();
        let document = match row {
            Ok(Created::New((document, _))) => document,
            Err(CatalogError::Refused(_)) => return,
            other => panic!("{other:?}"),
        };
        self.did(if document.replaces.is_some() { "replaced" } else { "published" });
        match self.dice(8) {
            // Cut off before the rename, or behind it: a start goes on.
            0 => {}
            1 => self.publish_on_disk(id),
            2 if document.replaces.is_none() => {
                let now = self.now();
                let given_up = self.f.catalog.finish(id, towline_upload::Phase::Cancelled, "", now);
                given_up.wait().unwrap();
            }
            _ => {
                self.publish_on_disk(id);
                let now = self.now();
                self.f.catalog.complete_publish(id, None, now).wait().unwrap();
            }
        }
    }

    fn publish_on_disk(&mut self, id: DocumentId) {
        let document = self.f.document(id);
        let place = document.file_path.unwrap();
        self.disk.folders_of(&place);
        let before = self.disk.living.insert(place.to_string(), Some(id));
        match document.replaces {
            Some(old) => {
                assert_eq!(before, Some(Some(old)), "{place}");
                self.disk.versions.insert(old);
            }
            None => assert!(before.is_none() || before == Some(Some(id)), "{place}: {before:?}"),
        }
    }

    fn make_folder(&mut self) {
        let place = NodePath::typed(&self.place()).unwrap();
        let user = self.f.user;
        match self.f.catalog.plan_folder(user, place.clone()).wait() {
            Ok(None) => {}
            Ok(Some(_)) | Err(CatalogError::Refused(_)) => return,
            Err(error) => panic!("{error:?}"),
        }
        let document = place.to_document().unwrap();
        self.disk.folders_of(&document);
        self.disk.living.entry(place.to_string()).or_insert(None);
        let now = self.now();
        let made = self.f.catalog.make_folder(user, place, None, now).wait().unwrap();
        assert!(!made.existing);
        self.did("made a folder");
    }

    fn make_link(&mut self) {
        let place = path(&self.place());
        let target = LinkTarget::new(format!("../{}", self.now)).unwrap();
        let now = self.now();
        let on_conflict = match self.dice(2) {
            0 => OnConflict::Replace,
            _ => OnConflict::Rename,
        };
        let user = self.f.user;
        match self.f.catalog.make_link(user, place.clone(), target, None, on_conflict, now).wait() {
            // The engine makes the folders first; whether it may is asked in the same breath here.
            Ok(_) => self.disk.folders_of(&place),
            Err(CatalogError::Refused(_)) => return,
            Err(error) => panic!("{error:?}"),
        }
        self.did("made a link");
    }

    fn change_place(&mut self) {
        let Some(node) = self.some_node(false) else { return };
        let to = if self.dice(3) > 0 { self.known_place() } else { self.place() };
        let to = NodePath::typed(&to).unwrap();
        let now = self.now();
        let moved = self.f.catalog.begin_move(self.f.user, NodeRef::Id(node), to, None, now).wait();
        self.carry_out("moved", moved);
    }

    fn remove(&mut self) {
        let Some(node) = self.some_node(false) else { return };
        let guard = RemovalGuard { recursive: self.dice(4) > 0, ..RemovalGuard::default() };
        let now = self.now();
        let begun = self.f.catalog.begin_removal(self.f.user, NodeRef::Id(node), guard, now).wait();
        self.carry_out("removed", begun);
    }

    fn restore(&mut self) {
        let Some(node) = self.some_node(true) else { return };
        let now = self.now();
        let begun = self.f.catalog.begin_restore(self.f.user, node, 0, now).wait();
        let begun = begun.map(|(begun, _)| begun);
        let is_version = begun.as_ref().is_ok_and(|begun| matches!(begun.from, Spot::Version(_)));
        self.carry_out(if is_version { "revived" } else { "restored" }, begun);
    }

    fn carry_out(&mut self, what: &'static str, begun: Result<Move, CatalogError>) {
        let begun = match begun {
            Ok(begun) => begun,
            Err(CatalogError::Refused(_)) => return,
            Err(error) => panic!("{error:?}"),
        };
        self.did(what);
        let stop_after = self.dice(8);
        if stop_after == 0 {
            return;
        }
        self.rename_on_disk(&begun);
        if stop_after == 1 {
            return;
        }
        let now = self.now();
        self.f.catalog.finish_move(begun.node.node_id, now).wait().unwrap();
    }

    /// A link has nothing on the disk.
    fn rename_on_disk(&mut self, begun: &Move) {
        if begun.node.kind != NodeKind::Link && begun.from != begun.to {
            self.disk.rename(&begun.from, &begun.to);
        }
    }

    fn lose(&mut self) {
        let files: Vec<_> = self.disk.living.values().copied().flatten().collect();
        let chosen = self.dice(files.len().max(1) as u64);
        let Some(id) = files.get(usize::try_from(chosen).unwrap()).copied() else { return };
        let now = self.now();
        match self.f.catalog.lose(id, "gone", now).wait() {
            // An operator has removed it, and the folders that it was the last file in.
            Ok(()) => {
                let tree = listed(&self.f.catalog, self.f.user, 1000);
                let stays = |file: &Option<DocumentId>| file.is_some_and(|file| file != id);
                self.disk.living.retain(|place, file| {
                    stays(file) || (file.is_none() && tree.contains_key(place))
                });
            }
            Err(CatalogError::Refused(_)) => return,
            Err(error) => panic!("{error:?}"),
        }
        self.did("lost");
    }

    fn forget(&mut self) {
        let Some(node) = self.some_node(true) else { return };
        if self.f.catalog.moves(None, 99).wait().unwrap().iter().any(|one| one.node.node_id == node)
        {
            return;
        }
        self.disk.trash.remove(&node);
        let (catalog, user) = (&self.f.catalog, self.f.user);
        while !catalog.forget_trash(user, node, 2).wait().unwrap() {
            let versions = catalog.versions_in_trash(user, node, 2).wait().unwrap();
            catalog.forget_versions(versions).wait().unwrap();
        }
        self.did("forgotten");
    }

    fn describe(&mut self) {
        let Some(node) = self.some_node(false) else { return };
        let mode = Some(PermissionBits::of_mode(u32::try_from(self.dice(512)).unwrap()));
        let now = self.now();
        let set = self.f.catalog.set_metadata(self.f.user, node, None, mode, now).wait();
        match set {
            Ok(_) | Err(CatalogError::Refused(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The process ends, and a start puts in order what was under way.
    fn crash(&mut self) {
        self.f.catalog.close().wait().unwrap();
        self.f.catalog = Catalog::open(self.f.path()).unwrap();
        for begun in self.f.catalog.moves(None, 100).wait().unwrap() {
            let node_id = begun.node.node_id;
            let is_link = begun.node.kind == NodeKind::Link;
            let was_renamed = is_link || self.disk.is_there(&begun.to);
            if !was_renamed && self.dice(3) == 0 {
                self.f.catalog.drop_move(node_id).wait().unwrap();
                continue;
            }
            if !was_renamed {
                self.rename_on_disk(&begun);
            }
            let now = self.now();
            self.f.catalog.finish_move(node_id, now).wait().unwrap();
        }
        let unfinished = self.f.catalog.unfinished(None, 100).wait().unwrap();
        for row in unfinished.rows {
            let id = row.unwrap().document.document_id;
            if self.disk.living.values().all(|file| *file != Some(id)) {
                if self.dice(3) == 0 {
                    self.f.catalog.return_to_uploading(id, at(50)).wait().unwrap();
                    let now = self.now();
                    let end = self.f.catalog.finish(id, towline_upload::Phase::Failed, "", now);
                    end.wait().unwrap();
                    continue;
                }
                self.publish_on_disk(id);
            }
            let now = self.now();
            self.f.catalog.complete_publish(id, None, now).wait().unwrap();
        }
        self.agree();
    }

    /// The log alone tells the tree, and the tree tells what lies on the disk.
    fn agree(&mut self) {
        let tree = check(&self.f.catalog, self.f.user);
        assert_counted(&self.f);
        for (place, node) in &tree {
            match node.kind {
                NodeKind::Link => assert!(!self.disk.living.contains_key(place), "{place}"),
                // A folder whose last file was lost is there or not.
                NodeKind::Folder => {}
                NodeKind::File => {
                    let document = node.version.unwrap().document_id;
                    assert_eq!(self.disk.living.get(place), Some(&Some(document)), "{place}");
                    let row = self.f.document(document);
                    assert_eq!(row.file_path.unwrap().to_string(), *place);
                }
            }
        }
        let known = tree.values().filter(|node| node.kind == NodeKind::File).count();
        let lying = self.disk.living.values().flatten().count();
        assert_eq!(lying, known, "each file is a node: {:?}", self.disk.living);
    }
}
