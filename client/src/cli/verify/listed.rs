//! What the server has, for `verify` to compare: one thing after the other, in the order of the
//! listing. Only a part of the listing is in memory.

use super::place::Place;
use crate::cli::error::CliError;
use crate::cli::listing_order::{EntryCount, ListingOrder};
use crate::cli::nodes;
use crate::client::Client;
use crate::failure::Failure;
use crate::walk::Filter;
use std::collections::BTreeMap;
use towline_protocol::Node;
use towline_types::{FileHash, FileSize, LinkTarget, Name, NodeKind, NodePath};

/// A file, folder or link, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Thing {
    File(FileSize, FileHash),
    Folder,
    Link(LinkTarget),
}

/// A thing and where it lies.
#[derive(Debug)]
pub(super) struct Theirs {
    pub(super) place: Place,
    pub(super) thing: Thing,
}

/// The most entries of twins that are in memory while their order is found. Twins are names that
/// are the same to the server.
const TWINS_MAX: usize = 1_000_000;

/// Everything at and below a place that the filter does not leave out.
pub(super) struct Listed<'a> {
    path: &'a NodePath,
    top: Place,
    filter: &'a Filter,
    client: Client,
    order: ListingOrder,
    count: EntryCount,
    /// The folder that is left out, with all that is in it.
    left_out: Option<Vec<Name>>,
    /// The rest of the part that came last.
    entries: std::vec::IntoIter<Node>,
    next: Part,
    /// What lies in twins, in the order of their spelling.
    twins: BTreeMap<Place, Thing>,
    /// What comes after the twins.
    behind_twins: Option<Theirs>,
}

/// Where a listing goes on.
enum Part {
    First,
    Behind(String),
    None,
}

impl<'a> Listed<'a> {
    /// The server may list at most `max_entries`.
    pub(super) fn of(
        path: &'a NodePath,
        filter: &'a Filter,
        max_entries: u64,
        client: Client,
    ) -> Self {
        Self {
            path,
            top: Place::of(path.names()),
            filter,
            client,
            order: ListingOrder::default(),
            count: EntryCount::up_to(max_entries),
            left_out: None,
            entries: Vec::new().into_iter(),
            next: Part::First,
            twins: BTreeMap::new(),
            behind_twins: None,
        }
    }

    /// The next one; `None` after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Theirs>, CliError> {
        if let Some((place, thing)) = self.twins.pop_first() {
            return Ok(Some(Theirs { place, thing }));
        }
        match self.behind_twins.take() {
            Some(theirs) => Ok(Some(theirs)),
            None => self.read().await,
        }
    }

    /// Puts twins, and all that lies in them, into the order of their spelling, and returns the
    /// first of them: a server lists those of one spelling before or after those of another, as it
    /// likes. `theirs` is the first one that came; the names of all of them are the same to the
    /// server down to that depth.
    pub(super) async fn sorted(
        &mut self,
        theirs: Theirs,
        depth: usize,
    ) -> Result<Option<Theirs>, CliError> {
        // The twins are in order already.
        if !self.twins.is_empty() {
            return Ok(Some(theirs));
        }
        let first = theirs.place.clone();
        self.twins.insert(theirs.place, theirs.thing);
        loop {
            let next = match self.behind_twins.take() {
                Some(next) => Some(next),
                None => self.read().await?,
            };
            match next {
                Some(next) if next.place.is_same_to(&first, depth) => {
                    if self.twins.len() >= TWINS_MAX {
                        return Err(Failure::EndlessList { max: TWINS_MAX as u64 }.into());
                    }
                    self.twins.insert(next.place, next.thing);
                }
                behind => {
                    self.behind_twins = behind;
                    return self.next().await;
                }
            }
        }
    }

    /// The next one of the listing.
    async fn read(&mut self) -> Result<Option<Theirs>, CliError> {
        loop {
            while let Some(node) = self.entries.next() {
                if let Some(theirs) = self.entry(&node)? {
                    return Ok(Some(theirs));
                }
            }
            let (after, is_first) = match std::mem::replace(&mut self.next, Part::None) {
                Part::First => (None, true),
                Part::Behind(after) => (Some(after), false),
                Part::None => return Ok(None),
            };
            let page = self.client.list_after_rest(self.path, after).await;
            let page = page.map_err(|failure| nodes::about(self.path, failure))?;
            self.next = page.next.map_or(Part::None, Part::Behind);
            self.entries = page.entries.into_iter();
            if let Some(thing) = page.node.as_deref().filter(|_| is_first).and_then(thing) {
                return Ok(Some(Theirs { place: self.top.clone(), thing }));
            }
        }
    }

    /// The entry; nothing where it is not compared.
    fn entry(&mut self, node: &Node) -> Result<Option<Theirs>, Failure> {
        self.count.add()?;
        let names = node.folder.iter().chain([&node.name]);
        let names = names.map(|name| Name::recorded(name.as_str())).collect::<Result<Vec<_>, _>>();
        let names = names.map_err(|reason| Failure::BadName { name: node.name.clone(), reason })?;
        let Some((name, folder)) = names.split_last() else { return Ok(None) };
        self.order.follow(folder, name, node.kind)?;
        if self.left_out.as_ref().is_some_and(|around| names.starts_with(around)) {
            return Ok(None);
        }
        let below = names.iter().map(Name::as_str).collect::<Vec<_>>().join("/");
        let is_folder = node.kind == NodeKind::Folder;
        if self.filter.leaves_out(&below, is_folder) {
            if is_folder {
                self.left_out = Some(names);
            }
            return Ok(None);
        }
        Ok(thing(node).map(|thing| Theirs { place: self.top.below(&names), thing }))
    }
}

fn thing(node: &Node) -> Option<Thing> {
    match node.kind {
        NodeKind::File => Some(Thing::File(node.size?, node.blake3?)),
        NodeKind::Folder => Some(Thing::Folder),
        NodeKind::Link => node.target.clone().map(Thing::Link),
    }
}
