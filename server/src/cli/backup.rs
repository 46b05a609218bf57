//! `towlined backup`: what was typed, and what a person is told.

use super::output::NOT_WRITTEN;
use super::store::StoreArgs;
use anyhow::Context as _;
use clap::Args;
use std::io::Write as _;
use std::path::PathBuf;
use towline_engine::Clock;
use towline_engine::backup;
use towline_engine::storage::Look;

/// `towlined backup …`
#[derive(Debug, Args)]
pub struct BackupArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The folder for the backup; it must be new or empty
    #[arg(value_name = "DIR")]
    into: PathBuf,
}

/// Makes a backup. Run by root it writes as root, for the folder is not the server's; in the
/// data folder it only reads.
pub(super) fn run(arguments: &BackupArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let look = Look::at(store.find()?)?;
    let backup = backup::back_up(&look, &arguments.into, &Clock::system())?;
    let (documents, uploads) = (backup.documents, backup.uploads);
    writeln!(
        std::io::stdout(),
        "backed up the catalog with {documents} documents and {uploads} unfinished uploads, and the \
         keys, to {}\nThe documents themselves are not in it: copy {} now",
        arguments.into.display(),
        look.path().join("uploads").display()
    )
    .context(NOT_WRITTEN)
}
