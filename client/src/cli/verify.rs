//! `towline verify`: whether what is here is what the server has. Nothing but the list of the
//! server's files is transferred.

use super::arguments::Verify;
use super::error::CliError;
use super::listing_order::ListingOrder;
use super::nodes::{self, print_json};
use super::output::{line, say};
use super::resolve;
use super::runtime::block_on;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::source::Source;
use crate::text::{printable, shown};
use crate::units;
use crate::walk::{Found, Walk, WalkOptions};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use towline_types::{FileHash, FileSize, Name, NodeKind, NodePath};

/// What was found about one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Same,
    Differs,
    OnlyHere,
    OnlyThere,
}

#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    verdict: Verdict,
}

/// The files of the server, by their paths.
type Listed = BTreeMap<String, (FileSize, FileHash)>;

pub(super) fn run(verify: &Verify) -> Result<Exit, CliError> {
    let folder = resolve::folder(verify.folder.as_deref())?;
    let top = own_place(&verify.path, &folder)?;
    let mut client = nodes::client(&verify.connect, verify.answer.quiet)?;
    let mut there = block_on(listed(&top, &mut client))??;
    let mut counts = [0usize; 4];
    let mut exit = Exit::Done;
    let mut tell = |path: &str, verdict: Verdict| {
        counts[verdict as usize] += 1;
        if verify.answer.json {
            print_json(&Line { path, verdict });
        } else if verdict != Verdict::Same {
            let words = match verdict {
                Verdict::Differs => "differs",
                Verdict::OnlyHere => "is not on the server",
                _ => "is only on the server",
            };
            line(&format!("{}: {words}", printable(path)));
        }
    };
    for found in Walk::of(vec![verify.path.clone()], WalkOptions { folder, ..Default::default() }) {
        match found {
            Found::File(document, _) => {
                let place = document.remote.to_string();
                let verdict = match there.remove(&place) {
                    None => Verdict::OnlyHere,
                    Some(known) => match is_same(&document.local, known) {
                        Ok(true) => Verdict::Same,
                        Ok(false) => Verdict::Differs,
                        Err(failure) => {
                            exit = exit.max(failure.exit());
                            say(&format!("{}: {failure}", shown(&document.local)));
                            continue;
                        }
                    },
                };
                tell(&place, verdict);
            }
            Found::Refused(path, failure) => {
                exit = exit.max(failure.exit());
                say(&format!("{}: {failure}", shown(&path)));
            }
            _ => {}
        }
    }
    for path in there.keys() {
        tell(path, Verdict::OnlyThere);
    }
    let [same, differs, only_here, only_there] = counts;
    if !verify.answer.json && !verify.answer.quiet {
        line(&format!(
            "{} the same, {differs} different, {only_here} only here, {only_there} only on the server",
            units::count(same, "file")
        ));
    }
    if differs + only_here + only_there > 0 {
        exit = exit.max(Exit::Refused);
    }
    Ok(exit)
}

/// Where `put` of that path into that folder of the server puts it.
fn own_place(path: &Path, folder: &[Name]) -> Result<NodePath, CliError> {
    let absolute = match path.file_name() {
        Some(_) => path.to_owned(),
        None => std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path)),
    };
    let name = crate::document::own_name(&absolute)?;
    NodePath::new([folder, &[name]].concat()).map_err(|reason| CliError::usage(reason.to_string()))
}

async fn listed(top: &NodePath, client: &mut Client) -> Result<Listed, CliError> {
    let mut files = Listed::new();
    let mut order = ListingOrder::default();
    let mut after = None;
    loop {
        let page = client.list(top, true, after).await;
        let page = page.map_err(|failure| nodes::about(top, failure))?;
        if let Some(node) = page.node.filter(|node| node.kind == NodeKind::File)
            && let (Some(size), Some(hash)) = (node.size, node.blake3)
        {
            files.insert(top.to_string(), (size, hash));
        }
        for node in page.entries {
            let names = node.folder.iter().chain([&node.name]);
            let names =
                names.map(|name| Name::recorded(name.as_str())).collect::<Result<Vec<_>, _>>();
            let names =
                names.map_err(|reason| Failure::BadName { name: node.name.clone(), reason })?;
            let Some((name, folder)) = names.split_last() else { continue };
            if !order.goes_on(folder, name) {
                let what = format!("it lists {} again, or out of order", printable(name.as_str()));
                return Err(Failure::Protocol(what).into());
            }
            if let (Some(size), Some(hash)) = (node.size, node.blake3) {
                let below = names.iter().map(Name::as_str).collect::<Vec<_>>().join("/");
                files.insert(format!("{top}/{below}"), (size, hash));
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(files);
        }
    }
}

fn is_same(path: &Path, (size, hash): (FileSize, FileHash)) -> Result<bool, Failure> {
    let source = Source::open(path)?;
    if source.filesize() != size {
        return Ok(false);
    }
    let unreadable = |source| {
        let (action, path, kept) = ("read", path.to_owned(), None);
        Failure::File { action, path, source, kept }
    };
    Ok(source.hash().map_err(unreadable)? == hash)
}
