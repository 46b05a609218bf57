//! `towline rm`: files and folders go to the trash of the server.

use super::arguments::Remove;
use super::error::CliError;
use super::nodes::{self, print_json, shown};
use super::output::{line, say};
use super::resolve;
use super::runtime::block_on;
use crate::client::Client;
use crate::exit::Exit;
use std::io::{IsTerminal as _, Write as _};
use towline_protocol::request;
use towline_types::{NodeKind, NodePath};

pub(super) fn run(remove: &Remove) -> Result<Exit, CliError> {
    let paths: Result<Vec<_>, _> = remove.paths.iter().map(|path| resolve::place(path)).collect();
    let paths = paths?;
    if paths.iter().any(NodePath::is_root) {
        return Err(CliError::usage("your own folder cannot be removed; name what is in it"));
    }
    if !remove.yes && !std::io::stdin().is_terminal() {
        return Err(CliError::usage("without a terminal that can be asked, say --yes"));
    }
    let mut client = nodes::client(&remove.connect, remove.answer.quiet)?;
    block_on(async {
        let mut worst = Exit::Done;
        for path in &paths {
            if let Err(error) = one(path, remove, &mut client).await {
                say(&error.to_string());
                worst = worst.max(error.exit);
            }
        }
        worst
    })
}

async fn one(path: &NodePath, remove: &Remove, client: &mut Client) -> Result<(), CliError> {
    let found = client.stat(path).await.map_err(|failure| nodes::about(path, failure))?;
    let is_folder = found.node.kind == NodeKind::Folder;
    let what = if is_folder { "with everything in it" } else { "" };
    if !remove.yes && !agrees(&format!("remove {} {what}", shown(path))) {
        return Ok(());
    }
    // What was asked about is what is removed, not something that came to its place meanwhile.
    let request = request::Remove {
        node_id: Some(found.node.node_id),
        version: found.node.version,
        place_rev: Some(found.node.place_rev),
        recursive: is_folder,
        ..request::Remove::default()
    };
    let removed = client.remove(request).await.map_err(|failure| nodes::about(path, failure))?;
    if remove.answer.json {
        print_json(&removed);
    } else if !remove.answer.quiet {
        line(&format!("{} is in the trash; `towline restore` brings it back", shown(path)));
    }
    Ok(())
}

/// Asks the person.
fn agrees(question: &str) -> bool {
    let mut answer = String::new();
    eprint!("{}? [y/N] ", question.trim_end());
    let _ = std::io::stderr().flush();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
