//! `towline ls`: what is on the server.

use super::arguments::List;
use super::error::CliError;
use super::listing_order::ListingOrder;
use super::nodes::{self, marked, minute, mode, modified, print_json};
use super::output::line;
use super::resolve;
use super::runtime::block_on;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::printable;
use crate::units;
use serde::Serialize;
use towline_protocol::Node;
use towline_types::{Name, NodeKind};

/// A node, with its path seen from the folder that is listed.
#[derive(Serialize)]
struct Line<'a> {
    path: String,
    #[serde(flatten)]
    node: &'a Node,
}

pub(super) fn run(list: &List) -> Result<Exit, CliError> {
    let path = resolve::place(&list.path)?;
    let mut client = nodes::client(&list.connect, list.answer.quiet)?;
    let recursive = list.recursive || list.tree || list.b3sum;
    block_on(async {
        let mut order = ListingOrder::default();
        let mut after = None;
        loop {
            let page = client.list(&path, recursive, after).await;
            let page = page.map_err(|failure| nodes::about(&path, failure))?;
            // A file or link is listed itself.
            if let Some(node) = page.node.filter(|node| node.kind != NodeKind::Folder) {
                show(list, &node);
            }
            for node in &page.entries {
                check(&mut order, node)?;
                show(list, node);
            }
            after = page.next;
            if after.is_none() {
                return Ok(Exit::Done);
            }
        }
    })?
}

/// A server that lists the same again and again would never come to an end.
fn check(order: &mut ListingOrder, node: &Node) -> Result<(), CliError> {
    let names = node.folder.iter().chain([&node.name]).map(|name| Name::recorded(name.as_str()));
    // What is no name is shown, escaped, and is nothing to compare with.
    let Ok(mut names) = names.collect::<Result<Vec<_>, _>>() else { return Ok(()) };
    let Some(name) = names.pop() else { return Ok(()) };
    if order.goes_on(&names, &name) {
        return Ok(());
    }
    let what = format!("it lists {} again, or out of order", printable(name.as_str()));
    Err(Failure::Protocol(what).into())
}

fn show(list: &List, node: &Node) {
    let path = node.folder.iter().chain([&node.name]).map(String::as_str).collect::<Vec<_>>();
    let path = path.join("/");
    if list.answer.json {
        return print_json(&Line { path, node });
    }
    if list.b3sum {
        if let Some(hash) = node.blake3 {
            line(&format!("{hash}  {}", printable(&path)));
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
    let when = minute(modified(node.mtime_ms));
    line(&format!("{}  {size:>10}  {when}  {name}", mode(node.kind, node.mode)));
}
