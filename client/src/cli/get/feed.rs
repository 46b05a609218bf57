//! What there is to fetch, as the server lists it, while the first things are fetched already.

use super::Progress;
use super::place::Source;
use crate::cli::error::CliError;
use crate::cli::listing_order::ListingOrder;
use crate::cli::selection::found_files::FoundFiles;
use crate::client::Client;
use crate::client::get::GetTold;
use crate::client::tree::Page;
use crate::failure::Failure;
use crate::get::prepare::{Wanted, WantedKind};
use crate::get::staging::Expected;
use crate::text::printable;
use std::path::Path;
use tokio::sync::mpsc;
use towline_protocol::Node;
use towline_protocol::reply::Status;
use towline_types::{DocumentId, Name, NodeKind, NodePath};

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
    /// Asks the server what it is.
    pub(super) async fn of(
        source: Source,
        lister: &mut Client,
        progress: &Progress,
    ) -> Result<Self, Failure> {
        let listener = &mut |told: GetTold| progress.tell(told);
        match source {
            Source::Document(document_id) => {
                of_status(lister.document(document_id, listener).await?)
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

/// What a server refuses is said with the thing that was asked for.
pub(super) fn about(what: &str, failure: Failure) -> CliError {
    let is_refused = failure.code().is_some();
    let error = CliError::from(failure);
    if !is_refused {
        return error;
    }
    CliError::new(error.exit, format!("{}: {}", printable(what), error.message))
}

fn of_status(status: Status) -> Result<First, Failure> {
    let (Some(blake3), "completed") = (status.blake3, status.status.as_str()) else {
        return Err(Failure::NotComplete { document_id: status.document_id });
    };
    let filename = status.filename;
    let name = Name::recorded(filename.clone())
        .map_err(|reason| Failure::BadName { name: filename, reason })?;
    let expected = Expected { filesize: status.filesize, blake3, mtime: None, mode: None };
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
    let missing = || Failure::Protocol(format!("what is a {} without its content?", node.kind));
    Ok(match node.kind {
        NodeKind::Folder => WantedKind::Folder(node.mode),
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

/// Hands things over to those who fetch them.
pub(super) struct Feed<'a> {
    pub(super) wanted: mpsc::Sender<Wanted>,
    pub(super) found: &'a FoundFiles,
    pub(super) progress: &'a Progress,
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
            match First::of(source, lister, self.progress).await {
                Ok(first) => {
                    let name = first.name.clone();
                    self.one(first, name, lister).await?;
                }
                Err(failure) => self.progress.failed(Path::new(&what), &failure),
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
            let what = WantedKind::Folder(mode);
            self.hand_over(Wanted { folder: Vec::new(), outside: 0, name, what }).await?;
        }
        let mut order = ListingOrder::default();
        loop {
            for node in page.entries {
                self.entry(&top, &node, &mut order).await?;
            }
            let Some(next) = page.next else { return Ok(()) };
            let listener = &mut |told: GetTold| self.progress.tell(told);
            page = lister.list_below(&path, Some(next), listener).await?;
        }
    }

    async fn entry(
        &self,
        top: &[Name],
        node: &Node,
        order: &mut ListingOrder,
    ) -> Result<(), Failure> {
        let shown: Vec<_> = node.folder.iter().chain([&node.name]).map(String::as_str).collect();
        let names =
            node.folder.iter().chain([&node.name]).map(|name| Name::recorded(name.as_str()));
        let mut names = match names.collect::<Result<Vec<_>, _>>() {
            Ok(names) => names,
            Err(reason) => {
                let name = shown.join("/");
                let failure = Failure::BadName { name: name.clone(), reason };
                self.progress.failed(Path::new(&name), &failure);
                return Ok(());
            }
        };
        let Some(name) = names.pop() else { return Ok(()) };
        if !order.goes_on(&names, &name) {
            let what = format!("it lists {} again, or out of order", printable(&shown.join("/")));
            return Err(Failure::Protocol(what));
        }
        let folder = [top, &names[..]].concat();
        let what = kind_of(node)?;
        self.hand_over(Wanted { folder, outside: top.len(), name, what }).await
    }

    async fn hand_over(&self, wanted: Wanted) -> Result<(), Failure> {
        if let WantedKind::File(_, expected) = &wanted.what {
            self.found.add(expected.filesize.get());
        }
        // Where nothing is fetched any more, that has been said.
        self.wanted.send(wanted).await.map_err(|_| Failure::Interrupted(None))
    }
}
