//! `towline rm`: files and folders go to the trash of the server.

use super::arguments::Remove;
use super::error::{CliError, Reader};
use super::json;
use super::nodes::{self, Placed, shown};
use super::output::line;
use super::question::agrees;
use super::resolve;
use super::runtime::block_on;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use std::io::IsTerminal as _;
use std::path::Path;
use towline_protocol::request;
use towline_types::{ChangeId, NodeKind, NodePath};

pub(super) fn run(remove: &Remove) -> Result<Exit, CliError> {
    let paths: Result<Vec<_>, _> = remove.paths.iter().map(|path| resolve::place(path)).collect();
    let paths = paths?;
    if paths.iter().any(NodePath::is_root) {
        return Err(CliError::usage(
            "your own folder cannot be removed; give the paths of what is in it",
        ));
    }
    if !remove.yes && !std::io::stdin().is_terminal() {
        return Err(CliError::usage("there is no terminal to ask for confirmation; add --yes"));
    }
    let mut client = nodes::client(&remove.connect, remove.answer.quiet)?;
    block_on(async {
        let mut worst = Exit::Done;
        for path in &paths {
            if let Err(error) = one(path, remove, &mut client).await {
                error.report(Some(Path::new(&path.to_string())), Reader::of(remove.answer.json));
                worst = worst.max(error.exit);
            }
        }
        worst
    })
}

async fn one(path: &NodePath, remove: &Remove, client: &mut Client) -> Result<(), CliError> {
    // This question comes first: whatever changes after its answer was not seen.
    let seen = newest_change(client).await?;
    let found = client.stat(path).await.map_err(|failure| nodes::about(path, failure))?;
    let is_folder = found.node.kind == NodeKind::Folder;
    let what = if is_folder { "with everything in it" } else { "" };
    if !remove.yes {
        if !agrees(&format!("remove {} {what}", shown(path))) {
            return Ok(());
        }
        // While a person thinks a connection is silent, and a server closes it in the end.
        client.hang_up();
    }
    // What was asked about is what is removed, not something that came to its place, or into the
    // folder, meanwhile.
    let request = request::Remove {
        node_id: Some(found.node.node_id),
        version: found.node.version,
        place_rev: Some(found.node.place_rev),
        seen: seen.filter(|_| is_folder),
        recursive: is_folder,
        ..request::Remove::default()
    };
    let removed = client.remove(request).await.map_err(|failure| nodes::about(path, failure))?;
    if remove.answer.json {
        let (existing, node) = (removed.existing, &*removed.node);
        json::event("removed", &Placed { path: path.to_string(), existing, node });
    } else {
        line(&format!(
            "{} is in the trash; `towline restore {}` brings it back while the server keeps it",
            shown(path),
            nodes::typed(path)
        ));
    }
    Ok(())
}

/// The number of the newest change; nothing where the server has no log of changes.
async fn newest_change(client: &mut Client) -> Result<Option<ChangeId>, CliError> {
    match client.delta("latest".to_owned()).await {
        Ok(delta) => Ok(delta.latest),
        Err(Failure::NotSupported { .. }) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}
