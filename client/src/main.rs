//! `towline`: see the crate's [`towline_client::cli`].
fn main() -> std::process::ExitCode {
    towline_client::cli::main()
}
