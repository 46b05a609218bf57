//! What there is to fetch, as the server lists it, while the first things are fetched already.

use super::Progress;
use super::place::Source;
use crate::cli::listing_order::{EntryCount, ListingOrder};
use crate::cli::selection::found_files::FoundFiles;
use crate::client::Client;
use crate::client::get::GetTold;
use crate::client::tree::Page;
use crate::failure::Failure;
use crate::get::prepare::{Wanted, WantedKind};
use crate::get::staging::Expected;
use crate::text::printable;
use crate::walk::{Filter, Rules};
use std::path::Path;
use tokio::sync::mpsc;
use towline_protocol::Node;
use towline_protocol::reply::Status;
use towline_types::{DocumentId, ModifiedTime, Name, NodeKind, NodePath, PermissionBits};

/// What a source turned out to be.
#[derive(Debug)]
pub(super) struct First {
    name: Option<Name>,
    kind: FirstKind,
}

#[derive(Debug)]
enum FirstKind {
    /// A file or link.
    One(WantedKind),
    /// A folder, with the first part of what lies in it.
    Folder { path: NodePath, page: Page<Node> },
}

impl First {
    /// Asks the server what it is. `keeps_name`: it gets here the name that the server says.
    pub(super) async fn of(
        source: Source,
        keeps_name: bool,
        lister: &mut Client,
        progress: &Progress,
    ) -> Result<Self, Failure> {
        let listener = &|told: GetTold| progress.tell(told);
        match source {
            Source::Document(document_id) => {
                let status = lister.document(document_id, listener).await?;
                let (mtime, mode) = match status.status.as_str() {
                    "completed" => lister.described(&status, listener).await?,
                    _ => (None, None),
                };
                of_status(status, keeps_name, mtime, mode)
            }
            Source::Path(path) => {
                let page = lister.list_below(&path, None, listener).await?;
                of_page(path, page)
            }
        }
    }

    pub(super) fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// Whether it is a folder other than the user's own, which has no name.
    pub(super) fn is_named_folder(&self) -> bool {
        self.name.is_some() && matches!(self.kind, FirstKind::Folder { .. })
    }

    /// The permissions that it gets at the end, where it is a folder and they are known.
    pub(super) fn folder_mode(&self) -> Option<PermissionBits> {
        match &self.kind {
            FirstKind::Folder { page, .. } => page.node.as_ref().and_then(|node| node.mode),
            FirstKind::One(_) => None,
        }
    }

    /// The document, where it is a file.
    pub(super) fn file(&self) -> Option<(DocumentId, Expected)> {
        match &self.kind {
            FirstKind::One(WantedKind::File(document_id, expected)) => {
                Some((*document_id, expected.clone()))
            }
            _ => None,
        }
    }
}

fn of_status(
    status: Status,
    keeps_name: bool,
    mtime: Option<ModifiedTime>,
    mode: Option<PermissionBits>,
) -> Result<First, Failure> {
    let (Some(blake3), "completed") = (status.blake3, status.status.as_str()) else {
        return Err(Failure::NotComplete { document_id: status.document_id });
    };
    let filename = status.filename;
    let check = if keeps_name { Name::new } else { Name::recorded };
    let name = check(filename.clone()).map_err(|reason| Failure::NameLeftOut {
        name: filename,
        reason,
        is_folder: false,
    })?;
    let expected = Expected { filesize: status.filesize, blake3, mtime, mode };
    let kind = FirstKind::One(WantedKind::File(status.document_id, expected));
    Ok(First { name: Some(name), kind })
}

fn of_page(path: NodePath, page: Page<Node>) -> Result<First, Failure> {
    let name = path.name().cloned();
    let kind = match page.node.as_deref() {
        Some(node) if node.kind != NodeKind::Folder => FirstKind::One(kind_of(node)?),
        _ => FirstKind::Folder { path, page },
    };
    Ok(First { name, kind })
}

fn kind_of(node: &Node) -> Result<WantedKind, Failure> {
    let missing = || {
        let name = printable(&node.name);
        Failure::Protocol(format!("it lists the {} {name} without its content", node.kind))
    };
    Ok(match node.kind {
        NodeKind::Folder => WantedKind::Folder { mode: node.mode, is_made: false },
        NodeKind::Link => WantedKind::Link(node.target.clone().ok_or_else(missing)?),
        NodeKind::File => {
            let (Some(version), Some(filesize), Some(blake3)) =
                (node.version, node.size, node.blake3)
            else {
                return Err(missing());
            };
            let (mtime, mode) = (node.mtime_ms, node.mode);
            WantedKind::File(version, Expected { filesize, blake3, mtime, mode })
        }
    })
}

/// How far the listing of a folder is.
#[derive(Debug)]
struct Listing {
    order: ListingOrder,
    count: EntryCount,
    /// The folder that is left out, with all that is in it.
    left_out: Option<Vec<String>>,
    filter: Filter,
    /// Where only what a rule names is wanted: the folders that the listing is in and in which
    /// nothing was wanted so far.
    empty: Vec<Wanted>,
}

/// An entry of a listing.
enum Entry {
    /// The folders below the listed one that it lies in, and its name.
    Named(Vec<Name>, Name),
    /// It lies in a folder that is left out.
    Below,
    /// A rule leaves it out.
    Excluded,
    /// Nothing of that name may be made here.
    LeftOut(String, Failure),
}

impl Listing {
    fn of(rules: &Rules, max_entries: u64) -> Self {
        let (order, count) = (ListingOrder::default(), EntryCount::up_to(max_entries));
        // The rules are about what lies below a folder, whatever it is called.
        let filter = rules.filter(Path::new("/folder"));
        Self { order, count, left_out: None, filter, empty: Vec::new() }
    }

    /// What is handed over when this comes: the folders around it that have waited, and then it.
    /// Where only what a rule names is wanted, a folder waits until something in it is wanted.
    fn now_wanted(&mut self, wanted: Wanted) -> Vec<Wanted> {
        let is_around = |folder: &Wanted| {
            let depth = folder.folder.len();
            wanted.folder.starts_with(&folder.folder)
                && wanted.folder.get(depth) == Some(&folder.name)
        };
        while self.empty.last().is_some_and(|folder| !is_around(folder)) {
            self.empty.pop();
        }
        let is_folder = matches!(wanted.what, WantedKind::Folder { .. });
        if is_folder && self.filter.takes_only_what_is_named() {
            self.empty.push(wanted);
            return Vec::new();
        }
        let mut now = std::mem::take(&mut self.empty);
        now.push(wanted);
        now
    }

    /// # Errors
    /// Where no correct server lists the entry there, or it is one too many.
    fn take(&mut self, node: &Node) -> Result<Entry, Failure> {
        self.count.add()?;
        let names: Vec<_> = node.folder.iter().chain([&node.name]).cloned().collect();
        let recorded = names.iter().map(|name| Name::recorded(name.as_str()));
        // A name that leads elsewhere is no name on any server, so it has no place in the order.
        let checked = match recorded.collect::<Result<Vec<_>, _>>() {
            Ok(mut recorded) => {
                let name = recorded.pop().ok_or_else(|| Failure::Protocol("no name".to_owned()))?;
                self.order.follow(&recorded, &name, node.kind)?;
                // Names that only earlier rules allowed may not be made here.
                names
                    .iter()
                    .try_for_each(|name| Name::new(name.as_str()).map(drop))
                    .map(|()| (recorded, name))
            }
            Err(reason) => Err(reason),
        };
        if self.left_out.as_ref().is_some_and(|around| names.starts_with(around)) {
            return Ok(Entry::Below);
        }
        let (name, is_folder) = (node.name.clone(), node.kind == NodeKind::Folder);
        let path = names.join("/");
        let is_excluded = self.filter.leaves_out(&path, is_folder);
        let reason = match checked {
            Ok((folder, name)) if !is_excluded => return Ok(Entry::Named(folder, name)),
            Ok(_) => None,
            Err(reason) => Some(reason),
        };
        self.left_out = is_folder.then_some(names).or(self.left_out.take());
        // What a rule leaves out may have any name.
        let Some(reason) = reason.filter(|_| !is_excluded) else { return Ok(Entry::Excluded) };
        Ok(Entry::LeftOut(path, Failure::NameLeftOut { name, reason, is_folder }))
    }
}

/// Hands things over to the connections that fetch them.
pub(super) struct Feed<'a> {
    pub(super) wanted: mpsc::Sender<Wanted>,
    pub(super) found: &'a FoundFiles,
    pub(super) progress: &'a Progress,
    /// The folder that the only source becomes was made by this run already.
    pub(super) is_first_made: bool,
    /// What of a folder is left out.
    pub(super) rules: &'a Rules,
    /// The most that the server may list of one source.
    pub(super) max_entries: u64,
}

impl Feed<'_> {
    /// The first source, under that name, and the others, under their own ones.
    pub(super) async fn all(
        self,
        first: First,
        name: Option<Name>,
        others: impl Iterator<Item = Source>,
        lister: &mut Client,
    ) -> Result<(), Failure> {
        self.one(first, name, lister).await?;
        for source in others {
            let what = source.to_string();
            match First::of(source, true, lister, self.progress).await {
                Ok(first) => {
                    let name = first.name.clone();
                    self.one(first, name, lister).await?;
                }
                Err(failure) if failure.is_of_one_thing() => {
                    self.progress.failed(Path::new(&what), &failure);
                }
                // The others would end in the same way.
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    async fn one(
        &self,
        first: First,
        name: Option<Name>,
        lister: &mut Client,
    ) -> Result<(), Failure> {
        match (first.kind, name) {
            (FirstKind::One(what), Some(name)) => {
                self.hand_over(Wanted { folder: Vec::new(), outside: 0, name, what }).await
            }
            (FirstKind::One(_), None) => Err(Failure::Protocol("a file without a name".to_owned())),
            (FirstKind::Folder { path, page }, name) => self.folder(path, page, name, lister).await,
        }
    }

    async fn folder(
        &self,
        path: NodePath,
        mut page: Page<Node>,
        name: Option<Name>,
        lister: &mut Client,
    ) -> Result<(), Failure> {
        let top: Vec<Name> = name.iter().cloned().collect();
        if let (Some(name), mode) = (name, page.node.as_ref().and_then(|node| node.mode)) {
            let what = WantedKind::Folder { mode, is_made: self.is_first_made };
            self.hand_over(Wanted { folder: Vec::new(), outside: 0, name, what }).await?;
        }
        let mut listing = Listing::of(self.rules, self.max_entries);
        loop {
            for node in page.entries {
                self.entry(&top, &node, &mut listing).await?;
            }
            let Some(next) = page.next else { return Ok(()) };
            let listener = &|told: GetTold| self.progress.tell(told);
            page = lister.list_below(&path, Some(next), listener).await?;
        }
    }

    async fn entry(&self, top: &[Name], node: &Node, listing: &mut Listing) -> Result<(), Failure> {
        self.found.is_listed();
        let (folder, name) = match listing.take(node)? {
            Entry::Named(folder, name) => (folder, name),
            Entry::Below => return Ok(()),
            Entry::Excluded => {
                self.progress.excluded();
                return Ok(());
            }
            Entry::LeftOut(path, failure) => {
                self.progress.failed(Path::new(&path), &failure);
                return Ok(());
            }
        };
        let folder = [top, &folder[..]].concat();
        let what = kind_of(node)?;
        let wanted = Wanted { folder, outside: top.len(), name, what };
        for wanted in listing.now_wanted(wanted) {
            self.hand_over(wanted).await?;
        }
        Ok(())
    }

    async fn hand_over(&self, wanted: Wanted) -> Result<(), Failure> {
        if let WantedKind::File(_, expected) = &wanted.what {
            self.found.add(expected.filesize.get());
        }
        // Where nothing is fetched any more, that has been said.
        self.wanted.send(wanted).await.map_err(|_| Failure::Interrupted(None))
    }
}
