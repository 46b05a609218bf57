//! `towlined restore`: puts back what `towlined backup` wrote.

use super::output::NOT_WRITTEN;
use super::store::StoreArgs;
use anyhow::Context as _;
use clap::Args;
use std::io::{self, Write};
use std::path::PathBuf;
use towline_engine::restore::{self, Documents, Keys, Restored};

/// `towlined restore …`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The folder that `towlined backup` wrote
    #[arg(value_name = "DIR")]
    from: PathBuf,
}

/// Puts a backup back. Files that root makes in the data folder of another user are given to that
/// user.
pub(super) fn run(arguments: &RestoreArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let data_dir = store.name()?;
    let Restored { store_id, keys, documents } = restore::put_back(&arguments.from, &data_dir)?;
    let shown = data_dir.display();
    let tell = || -> io::Result<()> {
        let mut out = io::stdout();
        writeln!(out, "put back the catalog of store {store_id}")?;
        match keys {
            Keys::PutBack => {
                writeln!(out, "put back the keys: tokens of that time are valid again")?
            }
            Keys::Kept => writeln!(out, "the keys that were there are kept")?,
        }
        match documents {
            Documents::There => writeln!(out, "Start the server now, then run `towlined verify`.")?,
            Documents::Missing => {
                writeln!(
                    out,
                    "The documents are not in the backup: put your copy of uploads/ back now, with \
                     its hidden files:"
                )?;
                writeln!(out, "  rsync -a COPY/uploads/ {shown}/uploads/")?;
                writeln!(out, "Until then the server does not start. Then run `towlined verify`.")?;
            }
        }
        out.flush()
    };
    tell().context(NOT_WRITTEN)
}
