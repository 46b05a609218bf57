//! The arguments of `towline login`, `towline servers` and `towline logout`.

use super::AnswerArgs;
use clap::Args;

#[derive(Debug, Args)]
pub(in crate::cli) struct Login {
    /// The line that the server's operator sent; without it, it is read from standard input
    pub(in crate::cli) line: Vec<String>,
    /// The name that the server gets here [default: that of its host]
    #[arg(long = "as", value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Servers {
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Logout {
    /// The name of the server, as `towline servers` shows it
    pub(in crate::cli) name: String,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}
