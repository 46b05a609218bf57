//! The command line of the server: `towlined`, and `towline serve` alike.

mod backup;
mod check_config;
mod confinement;
mod documents;
mod expire;
mod first_start;
mod group_access;
mod http_args;
mod join;
mod keep;
mod key;
mod listen;
mod operator_log;
mod output;
mod people;
mod quarantine;
mod quota;
mod restore;
mod run_as;
mod scan;
mod service_manager;
mod settings;
mod signals;
mod sitting;
mod size;
mod span;
mod status;
mod store;
mod token;
mod trash;
mod uploads;
mod usage;
mod usage_error;
mod verify;

pub use crate::scanner::BadClamdAddress;
pub use backup::BackupArgs;
pub use check_config::CheckConfigArgs;
pub use documents::DocumentsArgs;
pub use expire::ExpireArgs;
pub use http_args::HttpArgs;
pub use join::JoinArgs;
pub use keep::{BadKeep, KeepArgs, KeepTime, KeepVersions};
pub use key::KeyArgs;
pub use listen::{BadAddress, ListenAddress};
pub use people::UserArgs;
pub use quarantine::QuarantineArgs;
pub use restore::RestoreArgs;
pub use scan::{ScanArgs, ScanClamd, UnscannablePolicy};
pub use settings::ServeArgs;
pub use sitting::{
    Arrivals, ClosedSitting, Line, LineState, Lines, OpenFile, Page, Sitting, Thing, ThingKind,
};
pub use size::{BadSize, MaxFileSize};
pub use span::Span;
pub use status::StatusArgs;
pub use store::StoreArgs;
pub use token::{TokenArgs, TokensArgs};
pub use trash::TrashArgs;
pub use uploads::UploadsArgs;
pub use usage::UsageArgs;
pub use verify::VerifyArgs;

use crate::listening::Listening;
use crate::{Config, Server, log};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use confinement::{Confinement, NotConfined};
use group_access::GroupAccess;
use http_args::{FramesAlone, HttpListeners, MoreDoors};
use service_manager::ServiceManager;
use settings::Settings;
use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use towline_engine::Durability;
use towline_engine::units::Size;
use towline_types::FileSize;
use usage_error::UsageError;

/// Receives files; an interrupted upload continues where it stopped.
#[derive(Debug, Parser)]
#[command(name = "towlined", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

/// The end of the help text.
const EXIT_CODES: &str = "\
Exit codes: 0 done (a server: stopped by SIGTERM or SIGINT); 1 failed, or `verify` has found \
something; 2 a mistake in the arguments or in the configuration file.
TOWLINE_LOG says how much is logged: error, warn, info (default), debug or trace.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Say all that is wrong with the configuration, keys, folders and address of a server
    CheckConfig(Box<CheckConfigArgs>),
    /// Say what the server that runs is doing: uploads, bytes, syncs, refusals, connections
    Status(StatusArgs),
    /// Add, list and remove users
    User(UserArgs),
    /// Print a token for a user, or revoke one
    Token(TokenArgs),
    /// Print one line with which another machine joins as a user: towline login LINE
    Join(JoinArgs),
    /// List the tokens: when each was issued, when it ends, when it was used last
    Tokens(TokensArgs),
    /// List the keys that sign tokens, add one, retire one
    Key(KeyArgs),
    /// Read every document back and say which are not as they were uploaded
    Verify(VerifyArgs),
    /// List the documents of all users, or of one
    Documents(DocumentsArgs),
    /// List the unfinished uploads of all users, or of one; cancel some
    Uploads(UploadsArgs),
    /// List the documents that are not given out, as a scanner has not looked through them or has
    /// found something; release, delete or rescan some
    Quarantine(QuarantineArgs),
    /// Say how much each user has: files, older versions, trash, unfinished uploads
    Usage(UsageArgs),
    /// List what was removed, and when it is deleted for good
    Trash(TrashArgs),
    /// Delete now what is kept no longer; the server must be stopped
    Expire(ExpireArgs),
    /// Copy the catalog and the keys into a new folder, also while the server runs
    Backup(BackupArgs),
    /// Put back what `backup` wrote, into a new data folder or where the catalog is lost
    Restore(RestoreArgs),
}

/// What `towlined` does, from its arguments to its exit code: 0 done, 1 failed or
/// something was found, 2 usage.
#[must_use]
pub fn main() -> ExitCode {
    run_from(std::env::args_os())
}

/// [`main`] inside another program, whose arguments these are not: the first of them
/// is the name, as in [`std::env::args_os`].
#[must_use]
pub fn run_from(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut command = Arguments::command();
    let matches = command.try_get_matches_from_mut(arguments).unwrap_or_else(|error| error.exit());
    if let Some(option) = stray_option(&command, &matches) {
        let has_it = option.starts_with("keep-")
            && matches!(matches.subcommand_name(), Some("expire" | "trash"));
        let message = match has_it {
            true => format!("write --{option} behind the command"),
            false => format!("--{option} is an option of the server, not of its commands"),
        };
        command.error(ErrorKind::ArgumentConflict, message).exit();
    }
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // What a command makes has the modes that a server gives it.
    GroupAccess::default().apply();
    let before = &arguments.serve;
    let done = match &arguments.command {
        None => serve_with::<HttpListeners>(before).map(|()| true),
        Some(Command::CheckConfig(check)) => check_config::run(check, before),
        Some(Command::Status(status)) => {
            status::run(status, &status.store.or(before)).map(|()| true)
        }
        Some(Command::User(user)) => people::user(user, &user.store.or(before)).map(|()| true),
        Some(Command::Token(token)) => token::run(token, &token.store.or(before)).map(|()| true),
        Some(Command::Join(join)) => join::run(join, &join.store.or(before)).map(|()| true),
        Some(Command::Tokens(tokens)) => {
            token::list(tokens, &tokens.store.or(before)).map(|()| true)
        }
        Some(Command::Key(key)) => key::run(key, &key.store.or(before)).map(|()| true),
        Some(Command::Verify(verify)) => verify::run(verify, &verify.store.or(before)),
        Some(Command::Documents(documents)) => {
            documents::run(documents, &documents.store.or(before)).map(|()| true)
        }
        Some(Command::Uploads(uploads)) => {
            uploads::run(uploads, &uploads.store().or(before)).map(|()| true)
        }
        Some(Command::Quarantine(quarantine)) => {
            quarantine::run(quarantine, &quarantine.store().or(before)).map(|()| true)
        }
        Some(Command::Usage(usage)) => usage::run(usage, &usage.store.or(before)).map(|()| true),
        Some(Command::Trash(trash)) => trash::run(trash, &trash.store.or(before)).map(|()| true),
        Some(Command::Expire(expire)) => expire::run(expire, &expire.store.or(before)),
        Some(Command::Backup(backup)) => {
            backup::run(backup, &backup.store.or(before)).map(|()| true)
        }
        Some(Command::Restore(restore)) => {
            restore::run(restore, &restore.store.or(before)).map(|()| true)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            log::finish(Some(&format!("towlined: {error:#}\n")));
            if is_usage(&error) { USAGE.into() } else { ExitCode::FAILURE }
        }
    }
}

/// What a mistake in the arguments or in the configuration file exits with.
const USAGE: u8 = 2;

/// Whether the error is a mistake in the arguments or in the configuration file.
#[must_use]
pub fn is_usage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<UsageError>())
}

/// An option before a subcommand that says something else than where the store lies.
fn stray_option(command: &clap::Command, matches: &ArgMatches) -> Option<String> {
    matches.subcommand_name()?;
    let mut options = command.get_arguments().map(|option| option.get_id().as_str());
    let stray = options.find(|id| {
        let typed = matches.value_source(id) == Some(ValueSource::CommandLine);
        typed && !matches!(*id, "data_dir" | "config")
    });
    stray.map(|id| id.replace('_', "-"))
}

/// How long threads may take to end that outlived the orderly stop.
const LAST_THREADS: Duration = Duration::from_millis(300);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Where the server cannot start, or cannot write down what it knows at the end.
pub fn serve(arguments: &ServeArgs) -> anyhow::Result<()> {
    serve_with::<FramesAlone>(arguments)
}

/// The same with more doors.
fn serve_with<D: MoreDoors>(arguments: &ServeArgs) -> anyhow::Result<()> {
    let Settings { listen, config, http_ports, log_format, group_access, run_as, confines } =
        arguments.settings()?;
    group_access.apply();
    let bound = listen.bind().and_then(|listener| {
        let doors = D::bind(&http_ports)?;
        let more = doors.addresses()?;
        let all: Vec<_> = std::iter::once(listener.local_addr()?)
            .chain(more.iter().map(|(_, address)| *address))
            .collect();
        run_as.apply(&all)?;
        Ok((listener, doors, more))
    });
    let confined = match &bound {
        Ok(_) if confines => Confinement::of(&config).apply(),
        _ => Err(NotConfined::TurnedOff),
    };
    // From here on there are threads.
    log::begin(log_format);
    let (listener, doors, more) = bound?;
    let is_confined = tell(confined);
    if let Some(warning) = run_as.warning() {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        signals::pass_over()?;
        let hangup = signals::Hangup::new()?;
        let mut stop = signals::Stop::new()?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let about = first_start::About::of(&config);
        let data_dir = about.data_dir.clone();
        let started = Started::of(&config, address, is_confined);
        let audit_log = config.audit.as_ref().and_then(|file| std::path::absolute(&file.path).ok());
        let server = tokio::select! {
            server = Server::open(config) => doors.open(server?)?,
            // What is put in order at a start may be cut off at any time (P4).
            () = stop.asked() => return Ok(()),
        };
        let manager = ServiceManager::of_environment();
        let fingerprint = server.fingerprint();
        let listening = Listening { listen: address, key: fingerprint, audit_log };
        let place = (listening.clone(), data_dir.clone());
        hangup.reloads(server.reloader(), place, manager.clone(), is_confined);
        let welcome = tokio::task::spawn_blocking(move || {
            let welcome = first_start::welcome(&data_dir, address, fingerprint);
            listening.record_in(&data_dir);
            welcome
        });
        let welcome = tokio::select! {
            welcome = welcome => welcome??,
            // It may wait for another program that keeps the catalog locked.
            () = stop.asked() => return Ok(()),
        };
        // What the start had to say comes before the line by which others know that it is over.
        log::finish(None);
        let mut out = std::io::stdout();
        // Whoever started us may have closed its end; serving matters more.
        let _ = writeln!(out, "listening on {address}\n{about}\nkey {fingerprint}");
        for (what, address) in more {
            let _ = writeln!(out, "{what} on {address}");
        }
        if let Some(welcome) = welcome {
            let _ = write!(out, "{welcome}");
        }
        let _ = out.flush();
        started.log();
        manager.ready();
        let stopped = async move {
            stop.asked().await;
            manager.stopping();
        };
        server.serve(listener, stopped).await?;
        anyhow::Ok(())
    });
    // Whatever still hangs on a disk that does not answer has promised nothing.
    runtime.shutdown_timeout(LAST_THREADS);
    log::finish(None);
    served
}

/// Says in the log where the process is not confined, and returns whether it is.
fn tell(confined: Result<(), NotConfined>) -> bool {
    match &confined {
        Ok(()) => {}
        // What is asked for and does not work is no matter of the kernel's age.
        Err(error @ (NotConfined::System(_) | NotConfined::Filtered)) => tracing::warn!(
            %error,
            "the server can reach every file that its user can reach: the kernel did not take the rules (landlock)"
        ),
        Err(why) => {
            tracing::debug!(%why, "the server can reach every file that its user can reach");
        }
    }
    confined.is_ok()
}

/// What the log says of a start.
struct Started {
    data_dir: PathBuf,
    address: SocketAddr,
    durability: Durability,
    max_file_size: FileSize,
    is_confined: bool,
}

impl Started {
    fn of(config: &Config, address: SocketAddr, is_confined: bool) -> Self {
        let data_dir = std::path::absolute(&config.engine.data_dir);
        Self {
            data_dir: data_dir.unwrap_or_else(|_| config.engine.data_dir.clone()),
            address,
            durability: config.engine.durability,
            max_file_size: config.engine.max_filesize,
            is_confined,
        }
    }

    fn log(self) {
        let Self { data_dir, address, durability, max_file_size, is_confined } = self;
        let max_file_size = match max_file_size {
            FileSize::MAX => "unlimited".to_owned(),
            max => Size(max.get()).to_string(),
        };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            ?data_dir,
            %address,
            ?durability,
            max_file_size,
            uid = rustix::process::geteuid().as_raw(),
            landlock = is_confined,
            "serving"
        );
    }
}
