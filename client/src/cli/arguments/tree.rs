//! The arguments of the commands about what is on the server.

use super::values::{conflict_here, kind, link_time};
use super::{ChooseArgs, ConnectArgs, style};
use crate::cli::printer::OutputStyle;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use towline_types::limits::WRITERS_MAX;
use towline_types::{DocumentId, NamePattern, NodeKind, OnConflict};

/// How the answer is printed.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(in crate::cli) struct AnswerArgs {
    /// Print JSON, one object on each line; docs/json.md describes them
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Print only errors; the exit code says the rest
    #[arg(long, short)]
    pub(in crate::cli) quiet: bool,
}

impl AnswerArgs {
    pub(in crate::cli) fn style(self) -> OutputStyle {
        style(self.json, self.quiet, false)
    }
}

/// How long a list of the server may be.
#[derive(Debug, Args)]
pub(in crate::cli) struct EntriesArgs {
    /// Give up where the server lists more files, folders and links than this: a broken server
    /// could list without end
    #[arg(long, value_name = "N", default_value_t = 100_000_000)]
    pub(in crate::cli) max_entries: u64,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Get {
    /// Files and folders on the server, or the numbers of documents; write ./7 for a file that is
    /// called 7
    #[arg(required = true, value_name = "PATH|ID")]
    pub(in crate::cli) sources: Vec<String>,
    /// Where to put them: into this folder if it exists, otherwise under this name; - is standard
    /// output [default: into the current folder]
    #[arg(long = "output", short = 'o', value_name = "FILE|DIR|-")]
    pub(in crate::cli) to_local: Option<PathBuf>,
    /// What to do if another file has the name here: reject (report an error), skip (do not fetch
    /// the file), rename (the fetched file becomes "name (1)") or replace
    #[arg(long, value_name = "CHOICE", default_value = "reject", value_parser = conflict_here)]
    pub(in crate::cli) on_conflict: OnConflict,
    /// Connections to fetch over, 1 to 16: several files at the same time, or several parts of a
    /// large file; more than one helps on a long link
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = connections)]
    pub(in crate::cli) parallel: usize,
    /// Faster: do not wait until the files are safe on the disk; a power cut may then damage them
    #[arg(long)]
    pub(in crate::cli) no_sync: bool,
    #[command(flatten)]
    pub(in crate::cli) choose: ChooseArgs,
    #[command(flatten)]
    pub(in crate::cli) entries: EntriesArgs,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) output: GetOutputArgs,
}

/// The number of connections that files are fetched over.
fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=WRITERS_MAX).contains(&count) => Ok(count),
        _ => Err(format!("write a number between 1 and {WRITERS_MAX}")),
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct GetOutputArgs {
    /// Give up after N more attempts in a row that fetched nothing [default: try without end; a
    /// server that has never answered is given up after a few attempts]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) retries: Option<u32>,
    /// Print events as JSON, one object on each line; docs/json.md describes them
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Print only errors; the exit code says the rest
    #[arg(long, short, conflicts_with = "verbose")]
    pub(in crate::cli) quiet: bool,
    /// Print a line for every file, with its hash
    #[arg(long, short)]
    pub(in crate::cli) verbose: bool,
    /// Accepted for habit: folders always come with everything in them
    #[arg(long, short, hide = true)]
    recursive: bool,
}

impl GetOutputArgs {
    pub(in crate::cli) fn style(&self) -> OutputStyle {
        style(self.json, self.quiet, self.verbose)
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// A folder or file on the server [default: your own folder]
    #[arg(value_name = "PATH", default_value = ".", hide_default_value = true)]
    pub(in crate::cli) path: String,
    /// Also show permissions, size and time
    #[arg(long, short)]
    pub(in crate::cli) long: bool,
    /// Also list everything in the folders below
    #[arg(long, short = 'R')]
    pub(in crate::cli) recursive: bool,
    /// Show everything below as a tree
    #[arg(long, conflicts_with_all = ["recursive", "long"])]
    pub(in crate::cli) tree: bool,
    /// Print the hashes of all files below in the format of b3sum: `b3sum --check` can then compare
    /// a local copy
    #[arg(long, conflicts_with_all = ["tree", "long", "json"])]
    pub(in crate::cli) b3sum: bool,
    /// List what was removed and can be restored: under the paths that it had, the latest removal
    /// last; with PATH, what was removed from below it. The time of -l is that of the removal
    #[arg(long, conflicts_with_all = ["recursive", "tree", "b3sum"])]
    pub(in crate::cli) trash: bool,
    /// List only what has a name like this: * stands for any characters, ? for one, and upper and
    /// lower case are the same
    #[arg(long, value_name = "PATTERN", conflicts_with = "tree")]
    pub(in crate::cli) name: Option<NamePattern>,
    /// List only files, only folders or only links
    #[arg(long, value_name = "KIND", value_parser = kind, alias = "type", conflicts_with_all = ["tree", "b3sum"])]
    pub(in crate::cli) kind: Option<NodeKind>,
    #[command(flatten)]
    pub(in crate::cli) entries: EntriesArgs,
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
    /// Do not ask for confirmation
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
    /// The file or folder to move
    #[arg(value_name = "OLD")]
    pub(in crate::cli) old: String,
    /// Its new name or place; if that is an existing folder, it is moved into that folder
    #[arg(value_name = "NEW")]
    pub(in crate::cli) new: String,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MakeFolder {
    /// Folders to make; missing folders above them are made as well
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
    /// The path that it had when it was removed; with --version, the path that the file has now
    #[arg(value_name = "PATH")]
    pub(in crate::cli) path: String,
    /// Go back to this version of the file; `towline versions` lists the numbers
    #[arg(long, value_name = "N")]
    pub(in crate::cli) version: Option<DocumentId>,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Link {
    /// A file on the server; NAME:PATH names a server of `towline login` as well
    #[arg(value_name = "[NAME:]PATH")]
    pub(in crate::cli) path: String,
    /// How long the link is good, 30d at most: a time such as 2h or 7d. It ends before that with your
    /// token
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = link_time)]
    pub(in crate::cli) ttl: Duration,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Log {
    /// How many changes to show; the newest is the last line
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub(in crate::cli) number: u32,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Watch {
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Verify {
    /// A local file or folder that was sent with `towline put`
    #[arg(value_name = "PATH")]
    pub(in crate::cli) path: PathBuf,
    /// The folder on the server that it was put into (put --folder)
    #[arg(long, value_name = "A/B")]
    pub(in crate::cli) folder: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) choose: ChooseArgs,
    /// Compare what symbolic links in folders lead to, as it was sent with put --copy-links
    #[arg(long, short = 'L')]
    pub(in crate::cli) copy_links: bool,
    #[command(flatten)]
    pub(in crate::cli) entries: EntriesArgs,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}
