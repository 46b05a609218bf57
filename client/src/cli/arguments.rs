//! What was typed.

use crate::address::ServerAddress;
use crate::parallel::Parallel;
use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use towline_protocol::limits::CHUNK_BYTES_MAX;
use towline_protocol::{DocumentId, OnConflict};

/// Upload files and never make them start again.
#[derive(Debug, Parser)]
#[command(name = "towline", version, propagate_version = true)]
#[command(after_help = "\
The environment variables TOWLINE_SERVER and TOWLINE_TOKEN stand in for --to and for the token.

Exit codes: 0 done, 1 refused for good, 2 usage, 3 interrupted or paused and resumable, 4 integrity.")]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Upload files, or go on where an earlier run was interrupted
    Put(Put),
    /// Go on with unfinished uploads
    Resume(Resume),
    /// List unfinished uploads
    Uploads(Uploads),
    /// Ask the server how a document stands
    Status(About),
    /// Give an upload up
    Cancel(About),
    /// Show the whole story on this machine: upload, cut, resume, kill, resume, verify
    #[cfg(feature = "serve")]
    Demo {
        /// The file to upload; this program itself where none is given
        file: Option<PathBuf>,
    },
    /// Be the server
    #[cfg(feature = "serve")]
    Serve(towline_server::cli::ServeArgs),
}

#[derive(Debug, Args)]
pub(super) struct Put {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) reach: Reach,
    #[command(flatten)]
    pub(super) keeping: Keeping,
    #[command(flatten)]
    pub(super) manner: Manner,
    /// Put them into this folder on the server
    #[arg(long, value_name = "A/B")]
    pub(super) folder: Option<String>,
    /// What to do where the name is taken
    #[arg(long, value_name = "WHAT", default_value = "rename")]
    pub(super) on_conflict: Conflict,
    /// Upload even what the server has already
    #[arg(long)]
    pub(super) again: bool,
}

#[derive(Debug, Args)]
pub(super) struct Resume {
    /// Which; not needed where there is but one
    #[arg(value_name = "DOCUMENT_ID", conflicts_with = "all")]
    pub(super) documents: Vec<DocumentId>,
    /// All of them
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) reach: Reach,
    #[command(flatten)]
    pub(super) keeping: Keeping,
    #[command(flatten)]
    pub(super) manner: Manner,
}

#[derive(Debug, Args)]
pub(super) struct Uploads {
    #[command(flatten)]
    pub(super) keeping: Keeping,
    /// One JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct About {
    #[arg(value_name = "DOCUMENT_ID")]
    pub(super) document: DocumentId,
    #[command(flatten)]
    pub(super) reach: Reach,
    #[command(flatten)]
    pub(super) keeping: Keeping,
    /// The server's answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// How to get there.
#[derive(Debug, Args)]
pub(super) struct Reach {
    /// The server [default: $TOWLINE_SERVER; for known uploads, theirs]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) to: Option<ServerAddress>,
    /// A file with the token [default: the token in $TOWLINE_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

/// What is remembered.
#[derive(Debug, Args)]
pub(super) struct Keeping {
    /// Where unfinished uploads are remembered [default: ~/.local/state/towline/uploads_state.json]
    #[arg(long, value_name = "FILE")]
    pub(super) state_file: Option<PathBuf>,
}

/// How it is done and talked about.
#[derive(Debug, Args)]
pub(super) struct Manner {
    /// Bytes in one chunk, at most 1MiB [default: what the server proposes]
    #[arg(long, value_name = "SIZE", value_parser = chunk_bytes)]
    pub(super) chunk_size: Option<u32>,
    /// Connections for one file, up to 16; auto adds some to a long upload that gains by it
    #[arg(long, value_name = "N", default_value = "auto")]
    pub(super) parallel: Parallel,
    /// Give up after so many attempts without progress [default: never]
    #[arg(long, value_name = "N")]
    pub(super) retries: Option<u32>,
    /// One JSON event a line on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// Errors only
    #[arg(long, short)]
    pub(super) quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Conflict {
    /// Publish under the next free name
    Rename,
    /// Refuse
    Reject,
}

impl From<Conflict> for OnConflict {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Rename => Self::Rename,
            Conflict::Reject => Self::Reject,
        }
    }
}

fn chunk_bytes(text: &str) -> Result<u32, String> {
    let bytes = text.parse::<ByteSize>()?.as_u64();
    match u32::try_from(bytes) {
        Ok(bytes) if (1..=CHUNK_BYTES_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!("a chunk has between 1 and {CHUNK_BYTES_MAX} bytes")),
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
            "towline put a --retries 3 --folder a/b --on-conflict reject --again",
            "towline put a --parallel 4",
            "towline put a --parallel auto",
            "towline resume 7 8",
            "towline resume --all",
            "towline uploads --json",
            "towline status 7",
            "towline cancel 7 --to [::1]:8695",
        ] {
            Arguments::try_parse_from(line.split(' ')).unwrap();
        }
        for line in [
            "towline",
            "towline put",
            "towline status 0",
            "towline resume 7 --all",
            "towline put a --parallel 0",
            "towline put a --parallel 17",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
