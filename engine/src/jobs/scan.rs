//! One scan: the file is read once, and that one read gives the verdict, the SHA-256 hash, the media
//! type, and whether the file is still the one that was uploaded.

use super::isolation::{self, spot_of};
use super::{again, give_up, jitter, wait_before};
use crate::content_type::{self, HEAD_BYTES};
use crate::error::Error;
use crate::failpoint;
use crate::may_block::MayBlock;
use crate::presence::{self, is_known_apart};
use crate::scanning::{ScanBytes, ScanResult, Scanned, Scanning, Unscannable};
use crate::shared::Shared;
use crate::storage::{Published, Spot};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use std::time::{Duration, Instant};
use towline_state::CatalogError;
use towline_state::catalog::{
    Availability, DeadWorkers, Document, Kept, LeasedJob, Refusal, ScanOutcome, ScanRecord,
    ScanVerdict,
};
use towline_types::block::{BLOCK_SIZE_BYTES, BlockHasher};
use towline_types::file_hash::FileHasher;
use towline_types::{BlockIndex, FileHash, FileSize, Offset, Sha256Hash};
use towline_upload::Phase;

/// The wait before a verdict is recorded again where its file was just being moved or replaced.
const MOVED_WAIT: Duration = Duration::from_secs(1);

/// How much of a file is read at a time, after the scanner has seen enough of it.
const REST_BYTES: usize = 128 << 10;

/// See the module's description. Blocks.
pub(super) fn scan(shared: &Shared, scanning: &Scanning, job: LeasedJob) -> Result<(), Error> {
    failpoint::reach("scan.leased");
    let (document, file) = match open(shared, job) {
        Ok(Some(opened)) => opened,
        // The document is gone, and the job with it; or its file is, and that was recorded.
        Ok(None) => return give_up(shared, job, "its file is not there"),
        Err(error) => return retry(shared, job, crate::log::chain(&error)),
    };
    let mut source = Source::of(&file, document.filesize);
    let is_stopping = || shared.stopping.is_cancelled();
    let deadline = Instant::now() + scanning.patience(document.filesize);
    let mut bytes = ScanBytes {
        source: &mut source,
        filesize: document.filesize,
        deadline,
        stopping: shared.stopping.clone(),
    };
    let Scanned { result, signatures } = scanning.scanner.scan(&mut bytes);
    if is_stopping() && !matches!(result, ScanResult::Infected { .. }) {
        return Ok(shared.catalog.return_job(job, shared.clock().now(), None).wait()?);
    }
    let (outcome, detail) = match result {
        ScanResult::Clean => (ScanOutcome::Clean, None),
        ScanResult::Infected { threat } => (ScanOutcome::Infected, Some(threat)),
        ScanResult::Unscannable { reason } => (ScanOutcome::Unscannable, Some(reason)),
        ScanResult::Retry { .. } if Instant::now() >= deadline => return out_of_time(shared, job),
        ScanResult::Retry { reason } => return retry(shared, job, reason),
    };
    // What a scanner calls clean has to be the file that was uploaded, to its last byte.
    let hashes = match outcome {
        ScanOutcome::Clean => match source.finish(&is_stopping) {
            Ok(Some(hashes)) => Some(hashes),
            Ok(None) => {
                return Ok(shared.catalog.return_job(job, shared.clock().now(), None).wait()?);
            }
            Err(error) => return retry(shared, job, format!("the file cannot be read: {error}")),
        },
        _ => None,
    };
    if let Some((blake3, _)) = &hashes
        && Some(*blake3) != document.blake3
    {
        // It may just have been replaced. A file that stays another one is damaged.
        if job.attempts == 0 {
            return retry(shared, job, "the file has other bytes than were uploaded".to_owned());
        }
        presence::mark_damaged(shared, &document);
        return give_up(shared, job, "the file does not have the bytes that were uploaded");
    }
    failpoint::reach("scan.done");
    let verdict = ScanVerdict {
        outcome,
        scanner: Some(scanning.scanner.name().to_owned()),
        signatures,
        detail: detail.map(|detail| plain(&detail)),
        content_type: source.media_type().map(str::to_owned),
        at: shared.clock().now(),
    };
    let then = match (outcome, scanning.unscannable) {
        (ScanOutcome::Infected, _) | (ScanOutcome::Unscannable, Unscannable::Quarantine) => {
            Availability::Isolating
        }
        (ScanOutcome::Unscannable, Unscannable::Fail) => Availability::Failed,
        _ => Availability::Available,
    };
    let record = ScanRecord { verdict, sha256: hashes.map(|(_, sha256)| sha256), then };
    record_verdict(shared, job, record)
}

/// Records a verdict; what that means for the file is done at once. The places of the user stay as
/// they are meanwhile, so the file is where the row says (P4).
fn record_verdict(shared: &Shared, job: LeasedJob, record: ScanRecord) -> Result<(), Error> {
    let guard = shared.places.change(job.user_id, MayBlock::on_own_thread());
    let outcome = record.verdict.outcome;
    let verdict = record.verdict.clone();
    let recorded = match guard.is_unsettled() && record.then == Availability::Isolating {
        // A move of this user was cut off: the disk may be ahead of the catalog.
        true => Err(CatalogError::Refused(Refusal::Busy)),
        false => shared.catalog.record_scan(job, record).wait(),
    };
    let document = match recorded {
        Ok(Some(document)) => document,
        Ok(None) => return Ok(()),
        Err(CatalogError::Refused(Refusal::Busy)) => {
            drop(guard);
            return again(shared, job, MOVED_WAIT, None);
        }
        Err(error) => return Err(error.into()),
    };
    failpoint::reach("scan.recorded");
    shared.metrics.verdicts.increment(outcome.as_str());
    let moved = isolation::finish(shared, &document);
    drop(guard);
    isolation::tell(shared, &document, &verdict);
    shared.notifier.raise(document.user_id);
    moved
}

/// A scan that takes all its time counts as a dead worker: it must not take the worker from the
/// documents of others for ever (P6).
fn out_of_time(shared: &Shared, job: LeasedJob) -> Result<(), Error> {
    let now = shared.clock().now();
    let again = now.plus(wait_before(job.attempts, jitter(job)));
    let died = shared.catalog.workers_died(DeadWorkers::Of(job.lease), again, now).wait()?;
    let is_last = died.iter().any(|death| death.is_last);
    tracing::warn!(
        document = %job.document_id, user = %job.user_id, is_last,
        "the scan of a document took too long; it is not given out"
    );
    if is_last {
        shared.notifier.raise(job.user_id);
    }
    Ok(())
}

fn retry(shared: &Shared, job: LeasedJob, reason: String) -> Result<(), Error> {
    if shared.stopping.is_cancelled() {
        return Ok(shared.catalog.return_job(job, shared.clock().now(), None).wait()?);
    }
    shared.metrics.verdicts.increment("retry");
    let reason = plain(&reason);
    let wait = wait_before(job.attempts, jitter(job));
    // The first attempt and then ever fewer: a scanner that is away for a day is no log of a day.
    if job.attempts.is_power_of_two() || job.attempts == 0 {
        tracing::warn!(
            document = %job.document_id, user = %job.user_id, attempts = job.attempts + 1, reason,
            "a document could not be scanned; it is not given out, and is tried again"
        );
    }
    again(shared, job, wait, Some(reason))
}

/// A text of a scanner, on one line and not too long.
fn plain(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(clean).take(DETAIL_CHARS).collect()
}

/// As many characters of what a scanner says are kept.
const DETAIL_CHARS: usize = 200;

/// The document of a job, and its file; nothing where one of them is gone. While the row is read and
/// the file opened, no move comes between. Blocks.
fn open(shared: &Shared, job: LeasedJob) -> Result<Option<(Document, Published)>, Error> {
    let _look = shared.places.look(job.user_id, MayBlock::on_own_thread());
    let row = shared.catalog.document(job.document_id).wait()?;
    let Some(document) = row.filter(|row| row.phase == Phase::Completed) else { return Ok(None) };
    let (user, mut other) = (document.user_id, None);
    // Before the rename, a file that is being replaced gets its place among the older versions.
    for spot in [spot_of(&document), Some(Spot::Version(job.document_id))].into_iter().flatten() {
        match shared.storage.open_spot(user, &spot, &[])? {
            Some(found) if is_known_apart(&found, &document) => {
                return Ok(Some((document, found)));
            }
            Some(found) if found.filesize == document.filesize => other = other.or(Some(found)),
            _ => {}
        }
    }
    // Another program may have written to it. Whether it is the right one its bytes will say.
    if other.is_none()
        && document.kept == Kept::InPlace
        && matches!(presence::of(shared, &document), presence::Presence::Unknown)
    {
        return Err(Error::OutOfReach);
    }
    Ok(other.map(|found| (document, found)))
}

/// The file on its way into the scanner.
struct Source<'a> {
    file: &'a Published,
    filesize: FileSize,
    at: Offset,
    sha256: Sha256,
    whole: FileHasher,
    block: Option<BlockHasher>,
    head: Vec<u8>,
}

impl<'a> Source<'a> {
    fn of(file: &'a Published, filesize: FileSize) -> Self {
        Self {
            file,
            filesize,
            at: Offset::ZERO,
            sha256: Sha256::new(),
            whole: FileHasher::default(),
            block: None,
            head: Vec::new(),
        }
    }

    /// The media type, once anything of the file was read.
    fn media_type(&self) -> Option<&'static str> {
        let is_whole = self.head.len() as u64 == self.filesize.get();
        let is_known = !self.head.is_empty() || self.filesize.get() == 0;
        is_known.then(|| content_type::of(&self.head, is_whole))
    }

    /// The hashes of the whole file, after its rest was read; nothing where the engine ends.
    fn finish(
        &mut self,
        is_stopping: &dyn Fn() -> bool,
    ) -> io::Result<Option<(FileHash, Sha256Hash)>> {
        let mut rest = vec![0; REST_BYTES];
        while self.read(&mut rest)? > 0 {
            if is_stopping() {
                return Ok(None);
            }
        }
        if self.filesize.get() == 0 {
            let empty = BlockHasher::new(BlockIndex::at(Offset::ZERO), self.filesize);
            self.whole.push(empty.finish());
        }
        let sha256 = Sha256Hash::from_bytes(std::mem::take(&mut self.sha256).finalize().into());
        Ok(Some((std::mem::take(&mut self.whole).finish(), sha256)))
    }

    fn hash(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(missing) = HEAD_BYTES.checked_sub(self.head.len()) {
            self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        }
        let index = BlockIndex::at(self.at);
        let mut hasher =
            self.block.take().unwrap_or_else(|| BlockHasher::new(index, self.filesize));
        hasher.update(bytes);
        self.at = self.at.plus(bytes.len() as u64);
        match self.at == index.end(self.filesize) {
            true => self.whole.push(hasher.finish()),
            false => self.block = Some(hasher),
        }
    }
}

impl Read for Source<'_> {
    /// At most to the end of a block.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let in_block = BLOCK_SIZE_BYTES - self.at.get() % BLOCK_SIZE_BYTES;
        let left = in_block.min(self.filesize.get() - self.at.get());
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if count == 0 {
            return Ok(0);
        }
        let part = &mut buffer[..count];
        self.file.read_exact_at(part, self.at).map_err(io::Error::other)?;
        self.hash(part);
        Ok(count)
    }
}
