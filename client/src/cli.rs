//! The command line `towline`, in two steps: [`arguments`] is what was typed, and [`resolve`] finds
//! out what it means. The other files of `cli/` carry the commands out.

mod about;
mod arguments;
mod config_folder;
mod destination;
mod dry_run;
mod error;
mod forget;
#[cfg(unix)]
mod get;
mod habits;
mod job;
mod joining;
mod json;
mod known_servers;
mod known_stores;
mod link;
mod list;
mod listed;
mod listing_order;
mod log;
mod login;
mod ls;
mod mkdir;
mod movement;
mod mv;
mod named_servers;
mod nodes;
mod order;
mod output;
mod printer;
mod private_file;
mod put;
mod put_pipe;
mod question;
mod receipt;
mod receipts_file;
#[cfg(feature = "serve")]
mod receive;
mod resolve;
mod restore;
mod resume;
mod rm;
mod runtime;
mod selection;
mod sending;
mod sent_again;
mod server_among;
mod servers;
mod signals;
mod unfinished;
mod verify;
mod versions;
#[cfg(unix)]
mod watch;

use crate::exit::Exit;
use arguments::{Arguments, Command};
use clap::Parser as _;
use error::Reader;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    run_from(std::env::args_os())
}

/// [`main`] inside another program, where the arguments are not those of the process. The first of
/// them is the name of the program, as in [`std::env::args_os`].
pub fn run_from(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let typed: Vec<OsString> = arguments.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&typed) {
        Ok(arguments) => arguments,
        Err(error) if habits::is_help_of_help(&error) => {
            return run_from(["towline".into(), "--help".into()]);
        }
        Err(error) => {
            let error = habits::with_tip(error, &typed);
            // Where the error cannot be printed, only the exit code tells of it.
            let printed = error.print();
            if error.use_stderr() {
                return Exit::Usage.into();
            }
            output::note(printed);
            return whole_output(Exit::Done, false).into();
        }
    };
    let json = arguments.command.is_for_programs();
    if arguments.command.is_quiet() {
        output::be_quiet();
    }
    let mut command = arguments.command;
    if let Err(error) = prepare(&mut command) {
        error.report(None, Reader::of(json));
        return error.exit.into();
    }
    let ended = match command {
        Command::Login(login) => login::run(&login),
        Command::Servers(servers) => servers::list(&servers),
        Command::Logout(logout) => servers::logout(&logout),
        Command::Put(put) => put::run(put),
        #[cfg(unix)]
        Command::Get(get) => get::run(get),
        #[cfg(unix)]
        Command::Watch(watch) => watch::run(&watch),
        Command::Ls(list) => ls::run(&list),
        Command::Rm(remove) => rm::run(&remove),
        Command::Mv(moved) => mv::run(&moved),
        Command::Mkdir(make) => mkdir::run(&make),
        Command::Versions(versions) => versions::run(&versions),
        Command::Link(link) => link::run(&link),
        Command::Restore(restore) => restore::run(&restore),
        Command::Verify(verify) => verify::run(&verify),
        Command::Receipt(receipt) => receipt::run(&receipt),
        Command::Log(log) => log::run(&log),
        Command::Resume(resume) => resume::run(resume),
        Command::Uploads(uploads) => list::run(&uploads),
        Command::Status(about) => about::status(about),
        Command::Cancel(about) => about::cancel(about),
        #[cfg(feature = "serve")]
        Command::Serve(serve) => {
            towline_server::cli::serve(&serve).map(|()| Exit::Done).map_err(error::of_server)
        }
        #[cfg(feature = "serve")]
        Command::Receive(receive) => receive::run(&receive),
        #[cfg(feature = "serve")]
        Command::Demo { file } => crate::demo::run(file).map_err(error::of_server),
    };
    let exit = match ended {
        Ok(exit) => exit,
        Err(error) => {
            error.report(None, Reader::of(json));
            error.exit
        }
    };
    whole_output(exit, json).into()
}

/// Puts the addresses of servers in the place of their names.
fn prepare(command: &mut Command) -> Result<(), error::CliError> {
    if let Some(connect) = command.connect() {
        destination::take_address(connect);
    }
    if let Command::Put(put) = command {
        destination::take_line(put)?;
        destination::take(put)?;
    }
    if let Command::Link(link) = command {
        destination::take_named(link)?;
    }
    if let Command::Resume(resume) = command {
        destination::take_place(resume)?;
    }
    if let Some(connect) = command.connect() {
        destination::refuse_line(connect)?;
    }
    command.connect().map_or(Ok(()), resolve::look_up_names)
}

/// The exit code of a run: a run whose output was lost is not done.
fn whole_output(exit: Exit, json: bool) -> Exit {
    match output::lost(json) {
        Some(reason) => {
            output::say(&reason);
            exit.max(Exit::Refused)
        }
        None => exit,
    }
}
