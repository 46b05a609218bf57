//! The arguments of the commands about what is on the server.

use super::{ConnectArgs, conflict_here};
use crate::cli::printer::OutputStyle;
use clap::Args;
use std::path::PathBuf;
use towline_types::{DocumentId, OnConflict};

/// How the answer is printed.
#[derive(Debug, Args)]
pub(in crate::cli) struct AnswerArgs {
    /// One JSON object a line
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Errors only
    #[arg(long, short)]
    pub(in crate::cli) quiet: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Get {
    /// Files and folders on the server, or the numbers of documents; a file whose name is a number
    /// is ./7
    #[arg(required = true, value_name = "PATH|ID")]
    pub(in crate::cli) sources: Vec<String>,
    /// Where to: a folder that is there is filled, another name is the new one, - is standard
    /// output [default: this folder]
    #[arg(long = "output", short = 'o', value_name = "FILE|DIR|-")]
    pub(in crate::cli) to_local: Option<PathBuf>,
    /// If the name is taken by another file: reject, skip, rename (get it as "name (1)") or replace
    #[arg(long, value_name = "CHOICE", default_value = "reject", value_parser = conflict_here)]
    pub(in crate::cli) on_conflict: OnConflict,
    /// Do not wait until the files are on the disk
    #[arg(long)]
    pub(in crate::cli) no_sync: bool,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) output: GetOutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct GetOutputArgs {
    /// Give up after N attempts in a row that brought nothing [default: never, except where no
    /// server was ever found]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) retries: Option<u32>,
    /// One JSON event a line on standard output
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Errors only
    #[arg(long, short, conflicts_with = "verbose")]
    pub(in crate::cli) quiet: bool,
    /// A line for every file, with its hash
    #[arg(long, short)]
    pub(in crate::cli) verbose: bool,
    /// Accepted for habit: folders always come with everything in them
    #[arg(long, short, hide = true)]
    recursive: bool,
}

impl GetOutputArgs {
    pub(in crate::cli) fn style(&self) -> OutputStyle {
        OutputStyle { json: self.json, quiet: self.quiet, verbose: self.verbose }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// A folder or file on the server [default: your own folder]
    #[arg(value_name = "PATH", default_value = ".", hide_default_value = true)]
    pub(in crate::cli) path: String,
    /// With permissions, size and time
    #[arg(long, short)]
    pub(in crate::cli) long: bool,
    /// With everything below
    #[arg(long, short = 'R')]
    pub(in crate::cli) recursive: bool,
    /// Everything below, as a tree
    #[arg(long, conflicts_with_all = ["recursive", "long"])]
    pub(in crate::cli) tree: bool,
    /// The hashes of all files below, as b3sum prints them: `b3sum --check` compares a local copy
    #[arg(long, conflicts_with_all = ["tree", "long", "json"])]
    pub(in crate::cli) b3sum: bool,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Remove {
    /// Files and folders on the server
    #[arg(required = true, value_name = "PATH")]
    pub(in crate::cli) paths: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    pub(in crate::cli) yes: bool,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
    /// Accepted for habit: a folder is removed with everything in it
    #[arg(long, short, hide = true)]
    recursive: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Move {
    /// What to move
    #[arg(value_name = "OLD")]
    pub(in crate::cli) old: String,
    /// Its new place; where that is a folder, into that folder
    #[arg(value_name = "NEW")]
    pub(in crate::cli) new: String,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MakeFolder {
    /// Folders to make; those around them are made as well
    #[arg(required = true, value_name = "PATH")]
    pub(in crate::cli) paths: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Versions {
    /// A file on the server
    #[arg(value_name = "PATH")]
    pub(in crate::cli) path: String,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Restore {
    /// Where it lay before it was removed; with --version, where the file lies
    #[arg(value_name = "PATH")]
    pub(in crate::cli) path: String,
    /// The version that the file is to have again; `towline versions` lists them
    #[arg(long, value_name = "N")]
    pub(in crate::cli) version: Option<DocumentId>,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Log {
    /// How many changes, the newest last
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub(in crate::cli) number: u32,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Verify {
    /// A local file or folder that was put
    #[arg(value_name = "PATH")]
    pub(in crate::cli) path: PathBuf,
    /// The folder on the server that it was put into
    #[arg(long, value_name = "A/B")]
    pub(in crate::cli) folder: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}
