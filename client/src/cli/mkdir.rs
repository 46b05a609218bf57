//! `towline mkdir`: folders on the server.

use super::arguments::MakeFolder;
use super::error::CliError;
use super::nodes::{self, place_of, print_json};
use super::output::line;
use super::resolve;
use super::runtime::block_on;
use crate::exit::Exit;

pub(super) fn run(make: &MakeFolder) -> Result<Exit, CliError> {
    let paths: Result<Vec<_>, _> = make.paths.iter().map(|path| resolve::place(path)).collect();
    let paths = paths?;
    let mut client = nodes::client(&make.connect, make.answer.quiet)?;
    block_on(async {
        for path in &paths {
            let made = client.mkdir(path, None).await;
            let made = made.map_err(|failure| nodes::about(path, failure))?;
            if make.answer.json {
                print_json(&made);
            } else if !make.answer.quiet {
                let how = if made.existing { "was there already" } else { "is made" };
                line(&format!("{} {how}", place_of(&made)));
            }
        }
        Ok(Exit::Done)
    })?
}
