//! The local file during a transfer: the values of its blocks, and whether it has changed.

use super::{AttemptContext, Transfer};
use crate::attempt_end::AttemptEnd;
use crate::events::Event;
use crate::failure::Failure;
use crate::source::{Sameness, Source};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towline_types::FileHash;
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::file_hash::hash_file;

/// How often the listener gets the number of bytes of a local file that were read to compare it.
const CHECK_TOLD_EVERY: Duration = Duration::from_millis(200);

impl Transfer {
    /// The hash of the whole file. Only blocks of unknown value are read.
    pub(super) async fn hash(
        &mut self,
        context: &mut AttemptContext<'_>,
    ) -> Result<FileHash, AttemptEnd> {
        self.hash_local(context, |_| true).await?;
        Ok(hash_file(self.filesize(), self.values.iter().copied().flatten()))
    }

    /// Reads and hashes the blocks of unknown value that `wanted` picks by their numbers.
    pub(super) async fn hash_local(
        &mut self,
        context: &mut AttemptContext<'_>,
        wanted: impl Fn(u64) -> bool,
    ) -> Result<(), AttemptEnd> {
        let needed: Vec<bool> = (0..)
            .zip(&self.values)
            .map(|(number, value)| value.is_none() && wanted(number))
            .collect();
        if !needed.contains(&true) {
            return Ok(());
        }
        let wanted_blocks = needed.iter().filter(|needed| **needed).count() as u64;
        let bytes = (wanted_blocks * BLOCK_SIZE_BYTES).min(self.filesize().get());
        let path = self.document.local.clone();
        let begun = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&begun);
        let cancel = CancellationToken::new();
        // The guard stops the reading thread when this future is dropped.
        let _guard = cancel.clone().drop_guard();
        let found = {
            let reading = self.blocking(move |source| {
                let mut values = vec![None; needed.len()];
                let wanted = |number| {
                    let needed = usize::try_from(number).ok().and_then(|n| needed.get(n));
                    let needed = needed.is_some_and(|needed| *needed);
                    counter.fetch_add(u64::from(needed), Ordering::Relaxed);
                    needed
                };
                source.hash_blocks(&mut values, wanted, || cancel.is_cancelled()).map(|()| values)
            });
            tokio::pin!(reading);
            loop {
                // The last block that was begun is not read yet.
                let blocks = begun.load(Ordering::Relaxed).saturating_sub(1);
                let checked_bytes = (blocks * BLOCK_SIZE_BYTES).min(bytes);
                (context.listener)(Event::Checking { path: path.clone(), bytes, checked_bytes });
                tokio::select! {
                    // Cancel-safe: the thread reads on meanwhile.
                    found = &mut reading => break found,
                    () = tokio::time::sleep(CHECK_TOLD_EVERY) => {}
                }
            }
        };
        let found = found.map_err(|error| self.unreadable(error))?;
        for (value, found) in self.values.iter_mut().zip(found) {
            *value = value.or(found);
        }
        // Values that were read while the file changed belong to no single version of the file.
        self.check_unchanged().await
    }

    /// Fails where the file has changed since it was opened. An upload of such a file is never
    /// completed, because its blocks could be blocks of different versions.
    pub(super) async fn check_unchanged(&self) -> Result<(), AttemptEnd> {
        let values = self.values.clone();
        let unchanged = self.blocking(move |source| match source.sameness()? {
            Sameness::Same => Ok(true),
            Sameness::Touched => source.agrees_with(&values),
            Sameness::Changed => Ok(false),
        });
        match unchanged.await.map_err(|error| self.unreadable(error))? {
            true => Ok(()),
            false => Err(self.changed().into()),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Source) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let source = Arc::clone(&self.source);
        match tokio::task::spawn_blocking(move || work(&source)).await {
            Ok(done) => done,
            Err(error) => Err(io::Error::other(error)),
        }
    }

    pub(super) fn unreadable(&self, error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return self.changed();
        }
        let path = self.document.local.clone();
        Failure::File { action: "read", path, source: error, kept: self.saved() }
    }

    /// The failure for a changed file. A file that is shorter now loses its upload: the next run
    /// begins a new one, so no byte on the server is called safe.
    fn changed(&self) -> Failure {
        let found = std::fs::metadata(self.source.path());
        let is_shorter = found.is_ok_and(|found| found.len() < self.filesize().get());
        Failure::Changed { kept: self.saved().filter(|_| !is_shorter), is_shorter }
    }
}
