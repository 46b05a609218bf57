//! The arguments of `towline receive`.

use super::AnswerArgs;
use clap::Args;
use std::path::PathBuf;
use towline_server::cli::ListenAddress;

#[derive(Debug, Args)]
pub(in crate::cli) struct Receive {
    /// The folder that files land in [default: this folder]; nothing in it is replaced
    #[arg(value_name = "DIR")]
    pub(in crate::cli) folder: Option<PathBuf>,
    /// End when the first sender is done: everything has landed, and the sender has not come back for 5 s
    #[arg(long)]
    pub(in crate::cli) once: bool,
    /// Where to listen [default: every address of this machine, a free port; a sitting that goes on
    /// listens where it did before]
    #[arg(long, value_name = "HOST:PORT")]
    pub(in crate::cli) listen: Option<ListenAddress>,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}
