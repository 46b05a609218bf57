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
    /// End when the first sender is done
    #[arg(long)]
    pub(in crate::cli) once: bool,
    /// Where to listen, HOST:PORT [default: every address of this machine, the port of the sitting
    /// before that was not finished, else a free one]
    #[arg(long, value_name = "HOST:PORT")]
    pub(in crate::cli) listen: Option<ListenAddress>,
    #[command(flatten)]
    pub(in crate::cli) answer: AnswerArgs,
}
