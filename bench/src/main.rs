//! `towline-bench compare`: Towline, a floor and its peers, measured in turn in one run,
//! and what else is asked of Towline alone.
//!
//! The programs under test are in this very one: `towline-bench towline …` and
//! `towline-bench towlined …` are what the two names are elsewhere, so what is
//! measured is always the code of this build.

mod arguments;
mod baseline;
mod chart;
mod compare;
mod contender;
mod count;
mod descriptors;
mod floor;
mod goal_test;
mod interrupt;
mod link;
mod machine;
mod markdown;
mod measure;
mod metric;
mod pattern;
mod process_stats;
mod program;
mod raw_client;
mod result;
mod runtime;
mod sample;
mod section;
mod server;
mod stats;
mod strace;
mod table;
mod towlined;
mod workload;
mod workspace;

use arguments::{Arguments, Command};
use clap::Parser as _;
use std::ffi::OsString;
use std::io::Write as _;
use std::iter::once;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    match arguments.peek().and_then(|name| name.to_str()) {
        Some("towline") => towline_client::cli::run_from(arguments),
        Some("towlined") => towline_server::cli::run_from(arguments),
        _ => own(once(OsString::from("towline-bench")).chain(arguments)),
    }
}

fn own(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let done = match Arguments::parse_from(arguments).command {
        Command::Compare(compare) => compare::run(&compare),
        Command::Counters(counters) => baseline::run(&counters),
        Command::Floor(floor) => floor::run(&floor).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "towline-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
