//! The store that a command works in. Most commands may run beside the server. The path of the
//! store is printed on standard error. This file never makes a store.

use super::keep::KeepArgs;
use super::listen::ListenAddress;
use super::settings::{ServeArgs, address_and_tls, data_dir, keep};
use crate::TlsFiles;
use anyhow::Context as _;
use clap::Args;
use rustix::process::{Gid, Uid, geteuid, getuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use towline_engine::storage::DataFolder;
use towline_engine::{Keep, identity};
use tracing::level_filters::LevelFilter;

/// Where the store of a command lies.
#[derive(Debug, Clone, Default, Args)]
pub struct StoreArgs {
    /// The server's data folder [default: $TOWLINE_DATA_DIR, else what the configuration file
    /// says, else ./storage]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// The server's configuration file
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl StoreArgs {
    /// What stands after the subcommand counts, then what stands before it.
    pub(super) fn or(&self, before: &ServeArgs) -> Self {
        Self {
            data_dir: self.data_dir.clone().or_else(|| before.data_dir.clone()),
            config: self.config.clone().or_else(|| before.config.clone()),
        }
    }

    /// For how long things are kept: as typed for the command, else as the configuration file says.
    ///
    /// # Errors
    /// A mistake in the configuration file.
    pub(super) fn keep(&self, typed: KeepArgs) -> anyhow::Result<Keep> {
        keep(typed, self.config.as_deref())
    }

    /// Where the server listens and which certificate it has, as the configuration file says.
    ///
    /// # Errors
    /// A mistake in the configuration file.
    pub(super) fn address_and_tls(&self) -> anyhow::Result<(ListenAddress, Option<TlsFiles>)> {
        address_and_tls(self.config.as_deref())
    }

    /// The data folder. Its path is printed on standard error. The folder holds a whole store.
    ///
    /// # Errors
    /// Where there is no store, or a part of it is missing.
    pub(super) fn find(&self) -> anyhow::Result<PathBuf> {
        let path = self.name()?;
        identity::require(&path)?;
        Ok(path)
    }

    /// The data folder. Its path is printed on standard error. The folder may hold no store, or not
    /// exist.
    ///
    /// # Errors
    /// A mistake in the configuration file.
    pub(super) fn name(&self) -> anyhow::Result<PathBuf> {
        // What the catalog has to wait for is a line of the log.
        let log = tracing_subscriber::fmt().with_max_level(LevelFilter::WARN);
        let log = log.with_writer(std::io::stderr).with_ansi(false).without_time();
        let _ = log.with_target(false).try_init();
        let path = data_dir(self.data_dir.as_deref(), self.config.as_deref())?;
        let path = std::path::absolute(&path)
            .with_context(|| format!("cannot find {}", path.display()))?;
        let _ = writeln!(std::io::stderr(), "data folder: {}", path.display());
        Ok(path)
    }

    /// The same for a command that may write there. Run by root, it goes on as the owner of
    /// the data folder: what it makes must be the server's to use.
    ///
    /// To be called before the first thread is started: threads have the rights of the one
    /// that starts them.
    ///
    /// # Errors
    /// As [`find`](Self::find); and where root cannot become that user.
    pub(super) fn open(&self) -> anyhow::Result<DataFolder> {
        let path = self.find()?;
        caller();
        become_owner_of(&path)?;
        Ok(DataFolder::find(&path)?)
    }
}

/// The user of the machine who has run the command, as it was before the command became the owner of
/// the catalog.
pub(super) fn caller() -> u32 {
    static CALLER: OnceLock<u32> = OnceLock::new();
    *CALLER.get_or_init(|| getuid().as_raw())
}

/// Run by root, becomes the owner of the catalog, so that every file is the server's.
fn become_owner_of(data_dir: &Path) -> anyhow::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let about = std::fs::metadata(data_dir.join("state/catalog.db"))
        .with_context(|| format!("cannot look at the catalog in {}", data_dir.display()))?;
    let (owner, group) = (about.uid(), about.gid());
    if owner == 0 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(owner), Gid::from_raw(group));
    set_thread_groups(&[gid])
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid))
        .with_context(|| {
            format!(
                "{} belongs to user {owner}, and root cannot act as that user here; run the \
                 command as that user",
                data_dir.display()
            )
        })
}
