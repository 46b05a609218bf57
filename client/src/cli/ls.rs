//! `towline ls`: what is on the server.

use super::arguments::List;
use super::error::CliError;
use super::json;
use super::listing_order::{EntryCount, ListingOrder};
use super::nodes::{self, Placed, marked, minute, mode, modified, time};
use super::output::line;
use super::resolve;
use super::runtime::block_on;
use crate::client::Client;
use crate::client::tree::{Page, names};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::printable_path;
use crate::units;
use towline_protocol::{Node, request};
use towline_types::{Name, NodeKind, NodePath};

pub(super) fn run(list: &List) -> Result<Exit, CliError> {
    let path = resolve::place(&list.path)?;
    let mut client = nodes::client(&list.connect, list.answer.quiet)?;
    if list.trash {
        return block_on(trash(list, &path, &mut client))?;
    }
    let request = request::List {
        path: Some(names(&path)),
        recursive: list.recursive || list.tree || list.b3sum,
        ..filtered(list)
    };
    block_on(async {
        let mut listing = Parts::default();
        let mut order = Order::default();
        let mut count = EntryCount::up_to(list.entries.max_entries);
        while let Some(after) = listing.next.take() {
            let page = client.list_some(request::List { after, ..request.clone() }).await;
            let page = page.map_err(|failure| nodes::about(&path, failure))?;
            // A file or link is listed itself.
            if let Some(node) = page.node.as_ref().filter(|node| node.kind != NodeKind::Folder) {
                show(list, node);
            }
            for node in &page.entries {
                count.add()?;
                order.check(list, node)?;
                show(list, node);
            }
            listing.go_on(list, page)?;
        }
        Ok(Exit::Done)
    })?
}

/// What was removed, from that folder or from below it.
async fn trash(list: &List, path: &NodePath, client: &mut Client) -> Result<Exit, CliError> {
    let asked = names(path);
    let request = request::List { trash: true, ..filtered(list) };
    let mut listing = Parts::default();
    let mut count = EntryCount::up_to(list.entries.max_entries);
    let mut last = None;
    while let Some(after) = listing.next.take() {
        let page = client.list_some(request::List { after, ..request.clone() }).await?;
        for node in &page.entries {
            count.add()?;
            // A server that lists the same again and again would never come to an end.
            let removal = (node.deleted_at, node.node_id);
            if last.replace(removal).is_some_and(|last| last >= removal) {
                return Err(out_of_order(node).into());
            }
            if place_names(node).zip(&asked).filter(|(name, asked)| name == asked).count()
                == asked.len()
            {
                show(list, node);
            }
        }
        listing.go_on(list, page)?;
    }
    Ok(Exit::Done)
}

fn out_of_order(node: &Node) -> Failure {
    let path = place_names(node).map(String::as_str).collect::<Vec<_>>().join("/");
    Failure::Protocol(format!("it lists {} twice or out of order", printable_path(&path)))
}

/// A request with the filter that the user chose.
fn filtered(list: &List) -> request::List {
    let kind = if list.b3sum { Some(NodeKind::File) } else { list.kind };
    request::List {
        kinds: kind.map(|kind| vec![kind]),
        name: list.name.as_ref().map(ToString::to_string),
        ..request::List::default()
    }
}

fn has_filter(list: &List) -> bool {
    list.name.is_some() || list.kind.is_some() || list.b3sum
}

/// How many entries an empty part of a filtered listing counts as, against the largest number of
/// entries: the server has left out at least this many.
const LEFT_OUT: u64 = 1000;

/// The number of empty parts in a row that is allowed in any case.
const EMPTY_PARTS_MIN: u64 = 16;

/// The parts of a listing.
struct Parts {
    /// Where the next part begins; nothing where there is none.
    next: Option<Option<String>>,
    /// How many parts in a row had no entry.
    empty: u64,
}

impl Default for Parts {
    fn default() -> Self {
        Self { next: Some(None), empty: 0 }
    }
}

impl Parts {
    /// Goes on after a part. Where no filter leaves entries out, a part without entries is an
    /// error: a server could send such parts for ever.
    fn go_on(&mut self, list: &List, page: Page<Node>) -> Result<(), CliError> {
        self.empty = if page.entries.is_empty() { self.empty + 1 } else { 0 };
        let most = match has_filter(list) {
            true => (list.entries.max_entries / LEFT_OUT).max(EMPTY_PARTS_MIN),
            false => 0,
        };
        self.next = page.next.map(Some);
        if self.next.is_some() && self.empty > most {
            return Err(Failure::Protocol("a listing without an end".to_owned()).into());
        }
        Ok(())
    }
}

/// The most entries whose names are not valid. They are shown, escaped, and their order cannot be
/// checked: a server that lists them again and again would never come to an end.
const BAD_NAMES_MAX: u32 = 10_000;

/// Checks that a listing comes to an end.
#[derive(Default)]
struct Order {
    entries: ListingOrder,
    bad_names: u32,
}

impl Order {
    fn check(&mut self, list: &List, node: &Node) -> Result<(), CliError> {
        let names = place_names(node).map(|name| Name::recorded(name.as_str()));
        let Ok(mut names) = names.collect::<Result<Vec<_>, _>>() else {
            self.bad_names += 1;
            if self.bad_names > BAD_NAMES_MAX {
                let what = "a listing without an end, of names that are none".to_owned();
                return Err(Failure::Protocol(what).into());
            }
            return Ok(());
        };
        let Some(name) = names.pop() else { return Ok(()) };
        if has_filter(list) {
            // A folder that the filter left out was not listed before what lies in it.
            return Ok(self.entries.follow_into(&names, &name, node.kind)?);
        }
        Ok(self.entries.follow(&names, &name, node.kind)?)
    }
}

fn place_names(node: &Node) -> impl Iterator<Item = &String> {
    node.folder.iter().chain([&node.name])
}

fn show(list: &List, node: &Node) {
    let path = place_names(node).map(String::as_str).collect::<Vec<_>>();
    let path = path.join("/");
    if list.answer.json {
        return json::event("entry", &Placed { path, existing: false, node });
    }
    if list.b3sum {
        if let Some(hash) = node.blake3 {
            line(&format!("{hash}  {}", printable_path(&path)));
        }
        return;
    }
    if list.tree {
        let indent = "  ".repeat(node.folder.len());
        return line(&format!("{indent}{}", marked(&node.name, node)));
    }
    let name = marked(&path, node);
    if !list.long {
        return line(&name);
    }
    let size = node.size.map_or_else(|| "-".to_owned(), |size| units::size(size.get()));
    let when = match list.trash {
        true => node.deleted_at.map(time),
        false => modified(node.mtime_ms),
    };
    let when = minute(when);
    line(&format!("{}  {size:>10}  {when}  {name}", mode(node.kind, node.mode)));
}
