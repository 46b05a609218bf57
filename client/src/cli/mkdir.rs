//! `towline mkdir`: folders on the server.

use super::arguments::MakeFolder;
use super::error::{CliError, Reader};
use super::json;
use super::nodes::{self, Placed, place_of};
use super::output::line;
use super::resolve;
use super::runtime::block_on;
use crate::exit::Exit;
use std::path::Path;

pub(super) fn run(make: &MakeFolder) -> Result<Exit, CliError> {
    let paths: Result<Vec<_>, _> = make.paths.iter().map(|path| resolve::place(path)).collect();
    let paths = paths?;
    let mut client = nodes::client(&make.connect, make.answer.quiet)?;
    block_on(async {
        let mut worst = Exit::Done;
        for path in &paths {
            match client.mkdir(path, None).await {
                Ok(made) if make.answer.json => json::event("created", &Placed::of(&made)),
                Ok(made) => {
                    let how = if made.existing { "already exists" } else { "is made" };
                    line(&format!("{} {how}", place_of(&made)));
                }
                // The others are made all the same.
                Err(failure) => {
                    let error = nodes::about(path, failure);
                    error.report(Some(Path::new(&path.to_string())), Reader::of(make.answer.json));
                    worst = worst.max(error.exit);
                }
            }
        }
        worst
    })
}
