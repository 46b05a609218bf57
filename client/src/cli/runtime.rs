//! The runtime of a command.

use super::error::CliError;
use crate::exit::Exit;
use crate::system::in_words;

/// All work of a client is one task, which waits for the socket most of the time; a second worker
/// thread would only add wake-ups.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            CliError::new(Exit::Refused, format!("cannot start: {}", in_words(&error)))
        })?;
    let done = runtime.block_on(work);
    // A thread may still wait for a name server that does not answer; the process ends without
    // waiting for it.
    runtime.shutdown_background();
    Ok(done)
}
