//! `towlined`: the Towline server.

use std::process::ExitCode;

fn main() -> ExitCode {
    towline_server::cli::main()
}
