//! `towlined`, for the tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    towline_server::cli::main()
}
