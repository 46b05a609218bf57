//! `towline`, for the tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    towline_client::cli::main()
}
