//! The arguments as they were typed.

mod choose;
mod tree;

use super::printer::OutputStyle;
use crate::address::ServerAddress;
use crate::parallel::Parallel;
use crate::units;
use bytesize::ByteSize;
pub(super) use choose::ChooseArgs;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use towline_protocol::limits::CHUNK_BYTES_MAX;
use towline_types::{DocumentId, OnConflict};
pub(super) use tree::{Get, List, Log, MakeFolder, Move, Remove, Restore, Verify, Versions};

/// The end of the help of every command: the exit codes.
macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0  done
  1  refused; the same command would be refused again
  2  wrong usage of the command line
  3  interrupted or paused; the same command goes on where this one ended
  4  the bytes that arrived are not the bytes that were sent"
    };
}

/// The environment variable that only a program with the server in it reads.
#[cfg(feature = "serve")]
macro_rules! log_variable {
    () => {
        "  TOWLINE_LOG     what `towline serve` logs: error, warn, info, debug or trace\n"
    };
}

#[cfg(not(feature = "serve"))]
macro_rules! log_variable {
    () => {
        ""
    };
}

/// Send files to your own server; an interrupted upload always continues.
#[derive(Debug, Parser)]
#[command(name = "towline", version, propagate_version = true)]
#[command(after_help = concat!("\
Examples:
  towline put holiday.mkv --to server --token-file me.token
  towline put photos --to server --folder backup/2026    a folder, under its own name
  towline resume                                         go on after an interruption
  towline uploads                                        what is unfinished

Environment:
  TOWLINE_SERVER  the server, where --to is not given
  TOWLINE_TOKEN   the token itself, where --token-file is not given
", log_variable!(), "
", exit_codes!()))]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Upload files and folders, or continue where an earlier run was interrupted
    #[command(aliases = ["upload", "send", "push", "cp"], display_name = "towline")]
    #[command(after_help = concat!("\
Examples:
  towline put holiday.mkv --to server --token-file me.token
  towline put photos notes.txt --to server:9000 --folder backup
  towline put report.csv --on-conflict reject            refuse if the name is taken

Run the same command again after an interruption: it sends only what is missing.

", exit_codes!()))]
    Put(Put),
    /// Fetch files and folders from the server, or continue where an earlier run was interrupted
    #[cfg(unix)]
    #[command(aliases = ["download", "pull", "fetch"], display_name = "towline")]
    #[command(after_help = concat!("\
Examples:
  towline get photos/2026 --to server --token-file me.token
  towline get report.csv -o old.csv                      under another name
  towline get backup.tar -o - | tar x                    to standard output

Run the same command again after an interruption: it fetches only what is missing.

", exit_codes!()))]
    Get(Get),
    /// List what is on the server
    #[command(aliases = ["list", "dir"], display_name = "towline")]
    Ls(List),
    /// Move files and folders to the trash of the server
    #[command(aliases = ["remove", "delete"], display_name = "towline")]
    Rm(Remove),
    /// Rename or move a file or folder on the server
    #[command(aliases = ["move", "rename"], display_name = "towline")]
    Mv(Move),
    /// Make folders on the server
    #[command(display_name = "towline")]
    Mkdir(MakeFolder),
    /// List the versions of a file
    #[command(display_name = "towline")]
    Versions(Versions),
    /// Bring back what was removed, or an older version of a file
    #[command(display_name = "towline", disable_version_flag = true)]
    Restore(Restore),
    /// Compare a local file or folder with the server; nothing is transferred
    #[command(display_name = "towline")]
    Verify(Verify),
    /// Show what was changed on the server
    #[command(display_name = "towline")]
    Log(Log),
    /// Resume unfinished uploads
    #[command(display_name = "towline", after_help = exit_codes!())]
    Resume(Resume),
    /// List unfinished uploads, or take some off the list
    #[command(display_name = "towline")]
    Uploads(Uploads),
    /// Ask the server about a document: its size, and how much has arrived
    #[command(display_name = "towline")]
    Status(About),
    /// Cancel an upload and delete what has arrived
    #[command(display_name = "towline")]
    Cancel(About),
    /// Try it out on this machine: upload, cut, resume, kill, resume, verify
    #[cfg(feature = "serve")]
    #[command(display_name = "towline")]
    Demo {
        /// The file to upload; this program itself where none is given
        file: Option<PathBuf>,
    },
    /// Run the server
    #[cfg(feature = "serve")]
    #[command(display_name = "towline")]
    Serve(towline_server::cli::ServeArgs),
}

impl Command {
    /// Whether a program reads what the command prints.
    pub(super) fn is_for_programs(&self) -> bool {
        match self {
            Self::Put(put) => put.output.json,
            Self::Resume(resume) => resume.output.json,
            Self::Uploads(uploads) => uploads.json,
            Self::Status(about) | Self::Cancel(about) => about.json,
            #[cfg(unix)]
            Self::Get(get) => get.output.json,
            Self::Ls(List { answer, .. })
            | Self::Rm(Remove { answer, .. })
            | Self::Mv(Move { answer, .. })
            | Self::Mkdir(MakeFolder { answer, .. })
            | Self::Versions(Versions { answer, .. })
            | Self::Restore(Restore { answer, .. })
            | Self::Verify(Verify { answer, .. })
            | Self::Log(Log { answer, .. }) => answer.json,
            #[cfg(feature = "serve")]
            Self::Demo { .. } | Self::Serve(_) => false,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Put {
    /// Files and folders; a folder is sent with everything in it
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    #[command(flatten)]
    pub(super) state_args: StateArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Put them into this folder on the server
    #[arg(long, value_name = "A/B")]
    pub(super) folder: Option<String>,
    /// If the name is taken: rename (store beside it as "name (1)"), reject, skip (leave the file
    /// out) or replace (the server keeps the old file as a version)
    #[arg(long, value_name = "CHOICE", default_value = "rename", value_parser = conflict)]
    pub(super) on_conflict: OnConflict,
    /// Send even files that the server has already
    #[arg(long)]
    pub(super) again: bool,
    #[command(flatten)]
    pub(super) choose: ChooseArgs,
    /// Send what symbolic links in folders lead to; without it they are left out
    #[arg(long, short = 'L')]
    pub(super) copy_links: bool,
    /// Leave out what no server takes: names such as "con", pipes, devices; they are counted
    #[arg(long)]
    pub(super) skip_refused: bool,
    /// Only list what would be sent; the server is not asked
    #[arg(long, short = 'n')]
    pub(super) dry_run: bool,
    /// Accepted for habit: folders are always sent with everything in them
    #[arg(long, short, hide = true)]
    pub(super) recursive: bool,
}

#[derive(Debug, Args)]
pub(super) struct Resume {
    /// The upload to resume; without it, all that an interrupted command named
    #[arg(value_name = "DOCUMENT_ID", conflicts_with = "all")]
    pub(super) documents: Vec<DocumentId>,
    /// Resume all interrupted commands and uploads
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    #[command(flatten)]
    pub(super) state_args: StateArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct Uploads {
    #[command(flatten)]
    pub(super) state_args: StateArgs,
    /// One JSON object a line
    #[arg(long, conflicts_with = "forget")]
    pub(super) json: bool,
    /// Take an upload, a file or folder with all below it, or everything off the list; what has
    /// arrived stays on the server until it expires (towline cancel deletes it at once)
    #[arg(long, value_name = "DOCUMENT_ID|PATH|all")]
    pub(super) forget: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct About {
    /// The number of the document; `towline uploads` and each upload show it
    #[arg(value_name = "DOCUMENT_ID")]
    pub(super) document: DocumentId,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    #[command(flatten)]
    pub(super) state_args: StateArgs,
    /// The server's answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// How to get there.
#[derive(Debug, Args)]
pub(super) struct ConnectArgs {
    /// The server [default: $TOWLINE_SERVER; for an unfinished upload, its server]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) to: Option<ServerAddress>,
    /// A file with the token [default: the token in $TOWLINE_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

/// What is remembered.
#[derive(Debug, Args)]
pub(super) struct StateArgs {
    /// Where unfinished uploads are remembered [default: ~/.local/state/towline/uploads_state.json]
    #[arg(long, value_name = "FILE")]
    pub(super) state_file: Option<PathBuf>,
}

/// How it is done and talked about.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Payload of one frame, at most 1MiB [default: grows with the link, from 64KiB to 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = chunk_bytes)]
    pub(super) chunk_size: Option<u32>,
    /// Connections for one file, up to 16; auto adds connections where they make it faster
    #[arg(long, value_name = "N", default_value = "auto")]
    pub(super) parallel: Parallel,
    /// Give up after N attempts in a row that made nothing durable [default: never, except
    /// where no server was ever found]
    #[arg(long, value_name = "N")]
    pub(super) retries: Option<u32>,
    /// Send at most this much in a second, over all connections together
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub(super) limit_rate: Option<u64>,
    /// Give up when nothing has moved for this long, and exit with 3 [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) timeout: Option<u64>,
    /// One JSON event a line on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// Errors only
    #[arg(long, short, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// A line for every file, with its hash
    #[arg(long, short)]
    pub(super) verbose: bool,
}

impl OutputArgs {
    pub(super) fn style(&self) -> OutputStyle {
        OutputStyle { json: self.json, quiet: self.quiet, verbose: self.verbose }
    }
}

/// What to do where a name is taken on the server.
fn conflict(text: &str) -> Result<OnConflict, String> {
    OnConflict::parse(text).ok_or_else(|| {
        "say rename (the new file is stored beside the other as \"name (1)\"), reject (the new \
         file is refused), skip (it is left out) or replace (it becomes the file, and the server \
         keeps the old one as a version)"
            .to_owned()
    })
}

/// `500K`, `2MB`, `2MiB/s`: bytes in a second.
fn rate(text: &str) -> Result<u64, String> {
    let size = text.strip_suffix("/s").unwrap_or(text);
    match size.parse::<ByteSize>().map(|size| size.as_u64()) {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => Err(format!(
            "\"{}\" is not a rate; write 500KiB or 2MB, which is meant for a second",
            crate::text::printable(text)
        )),
    }
}

/// What to do where a name is taken on this machine.
fn conflict_here(text: &str) -> Result<OnConflict, String> {
    OnConflict::parse(text).ok_or_else(|| {
        "say reject, skip, rename (the other file stays, and this one becomes \"name (1)\") or \
         replace"
            .to_owned()
    })
}

fn chunk_bytes(text: &str) -> Result<u32, String> {
    let Ok(bytes) = text.parse::<ByteSize>() else {
        return Err(format!(
            "\"{}\" is not a size; write 64KiB or 1MiB",
            crate::text::printable(text)
        ));
    };
    let bytes = bytes.as_u64();
    match u32::try_from(bytes) {
        Ok(bytes) if (1..=CHUNK_BYTES_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!("it is between 1 byte and {}", units::limit(CHUNK_BYTES_MAX.into()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(chunk_bytes("64KiB"), Ok(65_536));
        assert_eq!(chunk_bytes("65536"), Ok(65_536));
        assert_eq!(chunk_bytes("1MiB"), Ok(1 << 20));
        for text in ["0", "2MiB", "-1", "many", "1TiB"] {
            assert!(chunk_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_words_that_tools_rely_on() {
        for line in [
            "towline put a b --to h:1 --token-file t --state-file s --chunk-size 64KiB --json --quiet",
            "towline upload -v -r a",
            "towline send -n a",
            "towline push a",
            "towline cp a",
            "towline put a --retries 3 --folder a/b --on-conflict reject --again",
            "towline put a --parallel 4",
            "towline put a --skip-refused",
            "towline put a --limit-rate 2MB --timeout 60",
            "towline resume --limit-rate 500K/s",
            "towline put a --parallel auto",
            "towline resume 7 8",
            "towline resume --all",
            "towline uploads --json",
            "towline uploads --forget photos",
            "towline status 7",
            "towline cancel 7 --to [::1]:8695",
            "towline get proj/a 7 -o x --no-sync --on-conflict skip --json --retries 3",
            "towline get a -o - --quiet",
            "towline get -r a -v",
            "towline ls",
            "towline ls -l -R proj --json",
            "towline ls --tree",
            "towline ls --b3sum proj",
            "towline rm --yes a b",
            "towline mv a b",
            "towline mkdir a/b c",
            "towline versions a",
            "towline restore a --version 7",
            "towline verify a --folder b",
            "towline log -n 10",
        ] {
            Arguments::try_parse_from(line.split(' ')).unwrap();
        }
        for line in [
            "towline",
            "towline put",
            "towline status 0",
            "towline resume 7 --all",
            "towline uploads --json --forget all",
            "towline put a --parallel 0",
            "towline put a --limit-rate 0",
            "towline put a --timeout 0",
            "towline put a --parallel 17",
            "towline put a --on-conflict overwrite",
            "towline put a -v -q",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
