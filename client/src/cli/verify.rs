//! `towline verify`: whether what is here is what the server has. Nothing but the list of what the
//! server has is transferred.
//!
//! The folder here and the listing are walked through side by side, in the order of the listing. So
//! memory holds a part of the listing and, of the folder here, the entries of one folder and of
//! those around it.

mod listed;
mod place;
mod teller;

use super::arguments::Verify;
use super::error::CliError;
use super::nodes;
use super::resolve;
use super::runtime::block_on;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::source::Source;
use crate::walk::{Found, Order, Walk, WalkOptions};
use listed::{Listed, Theirs, Thing};
use place::Place;
use std::path::{Path, PathBuf};
use teller::{Teller, Verdict};
use towline_types::{DocumentPath, FileHash, FileSize, LinkTarget, Name, NodePath};

pub(super) fn run(verify: &Verify) -> Result<Exit, CliError> {
    let folder = resolve::folder(verify.folder.as_deref())?;
    let rules = verify.choose.rules()?;
    let top = own_place(&verify.path, &folder)?;
    let client = nodes::client(&verify.connect, verify.answer.quiet)?;
    let filter = rules.filter(&verify.path);
    let follows_links = verify.copy_links;
    let order = Order::OfServer;
    let options = WalkOptions { folder, rules, follows_links, order, ..Default::default() };
    let walk = Walk::of(vec![verify.path.clone()], options);
    let mut teller = Teller::new(verify.answer.style());
    let listed = Listed::of(&top, &filter, verify.entries.max_entries, client);
    let compared = block_on(compare(walk, listed, filter.takes_only_what_is_named(), &mut teller));
    if let Err(error) = compared.and_then(|compared| compared) {
        teller.stop();
        return Err(error);
    }
    Ok(teller.end())
}

/// A file, folder or link that is here.
enum Ours {
    File(PathBuf),
    Folder,
    Link(LinkTarget),
}

/// Goes through both sides. `only_named`: only what a rule names is meant, so a folder that is on
/// the server alone is no difference.
async fn compare(
    walk: Walk,
    mut listed: Listed<'_>,
    only_named: bool,
    teller: &mut Teller,
) -> Result<(), CliError> {
    let tell_only_there = |theirs: &Theirs, teller: &mut Teller| {
        if theirs.thing != Thing::Folder || !only_named {
            teller.tell(&theirs.place, Verdict::OnlyThere);
        }
    };
    // Where nothing is there on the server, that is said before anything is compared.
    let mut next = listed.next().await?;
    for found in walk {
        let (place, ours) = match found {
            Found::File(document, _) => (place(&document.remote), Ours::File(document.local)),
            Found::Link(document, target) => (place(&document.remote), Ours::Link(target)),
            Found::Folder(folder) => (place(&folder.document.remote), Ours::Folder),
            Found::Refused(path, failure) => {
                teller.fail(&path, &failure);
                continue;
            }
            Found::Skipped(..) | Found::Excluded | Found::Barren(_) | Found::BadLine(..) => {
                continue;
            }
        };
        while let Some(mut theirs) = next.take() {
            if let Some(depth) = place.twin_depth(&theirs.place) {
                let Some(first) = listed.sorted(theirs, depth).await? else { break };
                theirs = first;
            }
            if theirs.place >= place {
                next = Some(theirs);
                break;
            }
            tell_only_there(&theirs, teller);
            next = listed.next().await?;
        }
        match next.take_if(|theirs| theirs.place == place) {
            Some(theirs) => {
                judge(&place, &ours, &theirs.thing, teller);
                next = listed.next().await?;
            }
            None => teller.tell(&place, Verdict::OnlyHere),
        }
    }
    while let Some(theirs) = next {
        tell_only_there(&theirs, teller);
        next = listed.next().await?;
    }
    Ok(())
}

/// Compares what lies at the same place on both sides.
fn judge(place: &Place, ours: &Ours, theirs: &Thing, teller: &mut Teller) {
    match (ours, theirs) {
        (Ours::File(path), Thing::File(size, hash)) => match is_same(path, *size, *hash, teller) {
            Ok(true) => teller.tell(place, Verdict::Same),
            Ok(false) => teller.tell(place, Verdict::Differs),
            Err(failure) => teller.fail(path, &failure),
        },
        (Ours::Link(target), Thing::Link(known)) if known == target => teller.same_link(place),
        // No line for a folder that is on both sides: what lies in it says more.
        (Ours::Folder, Thing::Folder) => {}
        _ => teller.tell(place, Verdict::Differs),
    }
}

fn place(remote: &DocumentPath) -> Place {
    Place::of(remote.folder().iter().chain([remote.filename()]))
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

fn is_same(
    path: &Path,
    size: FileSize,
    hash: FileHash,
    teller: &mut Teller,
) -> Result<bool, Failure> {
    let source = Source::open(path)?;
    if source.filesize() != size {
        teller.comparing.has_compared(0);
        return Ok(false);
    }
    let reading = teller.comparing.reading(path, size.get());
    let found = source.hash(|bytes| reading.is_at(bytes));
    teller.comparing.has_compared(size.get());
    let unreadable = |source| {
        let (action, path, kept) = ("read", path.to_owned(), None);
        Failure::File { action, path, source, kept }
    };
    Ok(found.map_err(unreadable)? == hash)
}
