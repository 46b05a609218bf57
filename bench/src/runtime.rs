//! One thread for all the clients of a section, so that the other cores are the
//! server's.

use crate::interrupt;
use anyhow::{Context as _, Result, anyhow};
use std::time::Duration;
use tokio::time::{interval, timeout};

/// Between two checks for a signal that ends the program.
const LOOK: Duration = Duration::from_millis(100);

/// Does that, within that time.
///
/// # Errors
/// Where it fails, takes too long, or is interrupted.
pub(crate) fn block_on<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(async {
        tokio::select! {
            done = timeout(limit, work) => done.unwrap_or_else(|_| {
                Err(anyhow!("not done after {}", humantime::format_duration(limit)))
            }),
            error = interrupted() => Err(error),
        }
    })
}

async fn interrupted() -> anyhow::Error {
    let mut look = interval(LOOK);
    loop {
        look.tick().await;
        if let Err(error) = interrupt::check() {
            return error;
        }
    }
}
