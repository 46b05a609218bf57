//! The arguments as they were typed.

mod choose;
mod login;
mod receipt;
#[cfg(feature = "serve")]
mod receive;
mod tree;
mod values;

use super::error::Reader;
use super::named_servers::NamedServer;
use super::printer::{Detail, OutputStyle};
use crate::address::ServerAddress;
use crate::parallel::Parallel;
pub(super) use choose::ChooseArgs;
use clap::{Args, Parser, Subcommand};
pub(super) use login::{Login, Logout, Servers};
pub(super) use receipt::{Receipt, ReceiptCommand, VerifyReceipts};
#[cfg(feature = "serve")]
pub(super) use receive::Receive;
use std::path::PathBuf;
use towline_types::{DocumentId, Fingerprint, OnConflict};
pub(super) use tree::{
    AnswerArgs, Get, Link, List, Log, MakeFolder, Move, Remove, Restore, Verify, Versions, Watch,
};
pub(super) use values::TypedServer;
use values::{chunk_bytes, conflict, rate};

/// The end of the help of every command: the exit codes.
macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0  done
  1  refused; the same command would be refused again
  2  the command line is wrong
  3  interrupted or paused; run the same command again to continue
  4  damaged: the bytes that arrived are not the bytes that were sent"
    };
}

/// The environment variable that only a program with the server in it reads.
#[cfg(feature = "serve")]
macro_rules! log_variable {
    () => {
        "  TOWLINE_LOG     how much `towline serve` logs: error, warn, info, debug or trace\n"
    };
}

#[cfg(not(feature = "serve"))]
macro_rules! log_variable {
    () => {
        ""
    };
}

/// Send files to your own server and fetch them; what is interrupted can always be continued.
#[derive(Debug, Parser)]
#[command(name = "towline", version, propagate_version = true)]
#[command(after_help = concat!("\
Examples:
  towline put holiday.mkv --to server --token-file me.token
  towline put photos --to server --folder backup/2026    a folder, under its own name
  towline resume                                         continue after an interruption
  towline uploads                                        list what is unfinished
  towline watch                                          follow the uploads that run now
  towline get photos -o copies                           fetch a folder

Environment:
  TOWLINE_SERVER  the server, used without --to
  TOWLINE_TOKEN   the token itself, used without --token-file
", log_variable!(), "
", exit_codes!()))]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Join a server by the line that its operator sent, and give it a name
    #[command(display_name = "towline")]
    Login(Login),
    /// List the servers that have names
    #[command(display_name = "towline")]
    Servers(Servers),
    /// Remove a named server, and its token, from this machine
    #[command(display_name = "towline")]
    Logout(Logout),
    /// Send files and folders to the server, or continue an interrupted upload
    #[command(aliases = ["upload", "send", "push", "cp"], display_name = "towline")]
    #[command(after_help = concat!("\
Examples:
  towline put holiday.mkv --to server --token-file me.token
  towline put photos notes.txt --to server:9000 --folder backup
  towline put report.csv --on-conflict reject            an error if the name is taken

After an interruption, run the same command again: it sends only what is missing.

", exit_codes!()))]
    Put(Put),
    /// Fetch files and folders from the server, or continue an interrupted run
    #[cfg(unix)]
    // `restore` has a version, so people type one here: it is no question about the program.
    #[command(aliases = ["download", "pull", "fetch"], disable_version_flag = true)]
    #[command(display_name = "towline")]
    #[command(after_help = concat!("\
Examples:
  towline get photos/2026 --to server --token-file me.token
  towline get report.csv -o old.csv                      under another name
  towline get backup.tar -o - | tar x                    to standard output

After an interruption, run the same command again: it fetches only what is missing.

", exit_codes!()))]
    Get(Get),
    /// Follow the uploads that run now, from any machine, until Ctrl-C
    #[cfg(unix)]
    #[command(display_name = "towline")]
    Watch(Watch),
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
    /// Print an address at which others can fetch a file, without a token, for a time
    #[command(alias = "share", display_name = "towline")]
    #[command(after_help = concat!("\
Examples:
  towline link holiday.mkv                               for 7 days
  towline link proj/report.pdf --ttl 2h

Whoever has the address can fetch that version of that file, and nothing else.

", exit_codes!()))]
    Link(Link),
    /// Compare a local file or folder with the server; nothing is transferred
    #[command(display_name = "towline")]
    Verify(Verify),
    /// Check signed receipts of files that were sent
    #[command(alias = "receipts", display_name = "towline")]
    Receipt(Receipt),
    /// Show what was changed on the server
    #[command(display_name = "towline")]
    Log(Log),
    /// Continue interrupted commands and uploads
    #[command(display_name = "towline", after_help = exit_codes!())]
    Resume(Resume),
    /// List the unfinished uploads of this machine, or remove some from the list
    #[command(display_name = "towline")]
    Uploads(Uploads),
    /// Ask the server about one document: its size, and how much has arrived
    #[command(display_name = "towline")]
    Status(About),
    /// Cancel an upload, and delete what the server has of it
    #[command(display_name = "towline")]
    Cancel(About),
    /// Receive what others send: a server for one sitting, until Ctrl-C
    #[cfg(feature = "serve")]
    #[command(display_name = "towline", after_help = exit_codes!())]
    Receive(Receive),
    /// Show on this machine how an upload survives a lost connection and a killed server
    #[cfg(feature = "serve")]
    #[command(display_name = "towline")]
    Demo {
        /// The file to send [default: the program towline itself]
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
        self.chosen().json
    }

    /// Whether only errors are printed.
    pub(super) fn is_quiet(&self) -> bool {
        self.chosen().quiet
    }

    /// Which server, and with which token: of every command that asks a server.
    pub(super) fn connect(&mut self) -> Option<&mut ConnectArgs> {
        match self {
            Self::Put(Put { connect, .. })
            | Self::Resume(Resume { connect, .. })
            | Self::Status(About { connect, .. })
            | Self::Cancel(About { connect, .. })
            | Self::Ls(List { connect, .. })
            | Self::Rm(Remove { connect, .. })
            | Self::Mv(Move { connect, .. })
            | Self::Mkdir(MakeFolder { connect, .. })
            | Self::Versions(Versions { connect, .. })
            | Self::Link(Link { connect, .. })
            | Self::Restore(Restore { connect, .. })
            | Self::Verify(Verify { connect, .. })
            | Self::Log(Log { connect, .. }) => Some(connect),
            #[cfg(unix)]
            Self::Get(Get { connect, .. }) | Self::Watch(Watch { connect, .. }) => Some(connect),
            Self::Login(_)
            | Self::Servers(_)
            | Self::Logout(_)
            | Self::Uploads(_)
            | Self::Receipt(_) => None,
            #[cfg(feature = "serve")]
            Self::Receive(_) | Self::Demo { .. } | Self::Serve(_) => None,
        }
    }

    /// `--json` and `--quiet`, which every command has but those that are the server.
    fn chosen(&self) -> AnswerArgs {
        match self {
            Self::Put(Put { output: OutputArgs { json, quiet, .. }, .. })
            | Self::Resume(Resume { output: OutputArgs { json, quiet, .. }, .. }) => {
                AnswerArgs { json: *json, quiet: *quiet }
            }
            #[cfg(unix)]
            Self::Get(get) => AnswerArgs { json: get.output.json, quiet: get.output.quiet },
            #[cfg(unix)]
            Self::Watch(Watch { answer, .. }) => *answer,
            Self::Login(Login { answer, .. })
            | Self::Servers(Servers { answer })
            | Self::Logout(Logout { answer, .. })
            | Self::Uploads(Uploads { answer, .. })
            | Self::Status(About { answer, .. })
            | Self::Cancel(About { answer, .. })
            | Self::Ls(List { answer, .. })
            | Self::Rm(Remove { answer, .. })
            | Self::Mv(Move { answer, .. })
            | Self::Mkdir(MakeFolder { answer, .. })
            | Self::Versions(Versions { answer, .. })
            | Self::Link(Link { answer, .. })
            | Self::Restore(Restore { answer, .. })
            | Self::Verify(Verify { answer, .. })
            | Self::Log(Log { answer, .. }) => *answer,
            Self::Receipt(receipt) => receipt.answer(),
            #[cfg(feature = "serve")]
            Self::Receive(receive) => receive.answer,
            #[cfg(feature = "serve")]
            Self::Demo { .. } | Self::Serve(_) => AnswerArgs::default(),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Put {
    /// Files and folders; a folder is sent with everything in it; - alone is standard input
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    #[command(flatten)]
    pub(super) state_args: StateArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// The name that standard input gets on the server
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// The folder on the server that the files are put into
    #[arg(long, value_name = "A/B")]
    pub(super) folder: Option<String>,
    /// What to do if another file has the name on the server: rename (the new file becomes
    /// "name (1)"), reject (report an error), skip (do not send the file) or replace (the new file
    /// gets the name, and the server keeps the old one as an earlier version)
    #[arg(long, value_name = "CHOICE", default_value = "rename", value_parser = conflict)]
    pub(super) on_conflict: OnConflict,
    /// Send all files again, also those that the server already has
    #[arg(long)]
    pub(super) again: bool,
    #[command(flatten)]
    pub(super) choose: ChooseArgs,
    /// Send what symbolic links in folders lead to; without it they stay links
    #[arg(long, short = 'L')]
    pub(super) copy_links: bool,
    /// Leave out what no server accepts (names such as "con", pipes, devices), and do not report it
    /// as an error; the last line says how many there were
    #[arg(long)]
    pub(super) skip_refused: bool,
    /// List what would be sent, and send nothing; the server is not contacted, so the list also has
    /// files that it already has
    #[arg(long, short = 'n')]
    pub(super) dry_run: bool,
    /// Accepted for habit: folders are always sent with everything in them
    #[arg(long, short, hide = true)]
    pub(super) recursive: bool,
}

#[derive(Debug, Args)]
pub(super) struct Resume {
    /// What to continue: uploads by their numbers, or what is at or below a path that a command
    /// named [default: the interrupted command as a whole, with all the files that it named]
    #[arg(value_name = "DOCUMENT_ID|PATH", conflicts_with = "all")]
    pub(super) typed: Vec<PathBuf>,
    /// Continue all interrupted commands and uploads
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
    /// Remove from the list: the upload with that number, everything at or below that path, or all.
    /// The server keeps what has arrived until it expires; `towline cancel` deletes it at once
    #[arg(long, value_name = "DOCUMENT_ID|PATH|all", conflicts_with = "json")]
    pub(super) forget: Option<PathBuf>,
    #[command(flatten)]
    pub(super) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(super) struct About {
    /// The number of the document, as `towline uploads` shows it
    #[arg(value_name = "DOCUMENT_ID")]
    pub(super) document: DocumentId,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    #[command(flatten)]
    pub(super) state_args: StateArgs,
    #[command(flatten)]
    pub(super) answer: AnswerArgs,
}

/// Which server, and with which token.
#[derive(Debug, Args)]
pub(super) struct ConnectArgs {
    /// The server, by its address or by the name that `towline login` gave it; for `put` also the line
    /// that `towlined join` prints, and for `resume` such a line of a server that has another address
    /// now [default: $TOWLINE_SERVER, else the default server; for an
    /// unfinished upload, its server]
    #[arg(long = "to", id = "to", value_name = "HOST[:PORT]|NAME")]
    pub(super) typed_to: Option<TypedServer>,
    /// The address of the server that was typed.
    #[arg(skip)]
    pub(super) to: Option<ServerAddress>,
    /// The key of the server, where a line was typed. The line is another person's, so this key is not
    /// remembered in the place of one that is known.
    #[arg(skip)]
    pub(super) key_of_line: Option<Fingerprint>,
    /// The server that is used where neither the command nor an upload names one.
    #[arg(skip)]
    pub(super) usual: Option<NamedServer>,
    /// The file that contains your token [default: that of a named server, else the token in
    /// $TOWLINE_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// The key that the server must have, as the server prints it when it starts
    #[arg(long, value_name = "SHA256:...", conflicts_with_all = ["plaintext", "trust_new"])]
    pub(super) fingerprint: Option<Fingerprint>,
    /// Do not ask about a server that is not known yet: take the key that it has, and remember it
    #[arg(long, conflicts_with = "plaintext")]
    pub(super) trust_new: bool,
    /// Encrypt connections to this machine as well; by default only those to other machines are
    #[arg(long, conflicts_with = "plaintext")]
    pub(super) tls: bool,
    /// Do not encrypt: anyone who can read the network traffic sees the token and the files
    #[arg(long)]
    pub(super) plaintext: bool,
}

/// What is remembered.
#[derive(Debug, Args)]
pub(super) struct StateArgs {
    /// The file that lists unfinished uploads [default: ~/.local/state/towline/uploads_state.json]
    #[arg(long, value_name = "FILE")]
    pub(super) state_file: Option<PathBuf>,
}

/// How files are sent, and what is printed.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// How many bytes of a file one message to the server holds, at most 1MiB [default: 64KiB, and
    /// more on a fast connection]
    #[arg(long, value_name = "SIZE", value_parser = chunk_bytes)]
    pub(super) chunk_size: Option<u32>,
    /// Connections for one file, 1 to 16; auto adds connections while they make the upload faster
    #[arg(long, value_name = "N", default_value = "auto")]
    pub(super) parallel: Parallel,
    /// Give up after N more attempts in a row that stored nothing on the server [default: try
    /// without end; a server that has never answered is given up after a few attempts]
    #[arg(long, value_name = "N")]
    pub(super) retries: Option<u32>,
    /// Send at most this many bytes per second, over all connections together
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub(super) limit_rate: Option<u64>,
    /// Give up, with exit code 3, if there was no progress for this many seconds [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) timeout: Option<u64>,
    /// Add a receipt of each file, signed by the server, to this file; `towline receipt verify`
    /// checks them later, without the server
    #[arg(long, value_name = "FILE")]
    pub(super) receipts: Option<PathBuf>,
    /// Print events as JSON, one object on each line; docs/json.md describes them
    #[arg(long)]
    pub(super) json: bool,
    /// Print only errors; the exit code says the rest
    #[arg(long, short, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Print a line for every file, with its hash
    #[arg(long, short)]
    pub(super) verbose: bool,
}

impl OutputArgs {
    pub(super) fn style(&self) -> OutputStyle {
        style(self.json, self.quiet, self.verbose)
    }
}

/// What the options `--json`, `--quiet` and `--verbose` mean together. A command has at most one of
/// the last two.
fn style(json: bool, quiet: bool, verbose: bool) -> OutputStyle {
    let detail = match (quiet, verbose) {
        (true, _) => Detail::Errors,
        (false, true) => Detail::EachFile,
        (false, false) => Detail::Usual,
    };
    OutputStyle { reader: Reader::of(json), detail }
}

#[cfg(test)]
mod tests;
