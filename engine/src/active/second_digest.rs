//! The SHA-256 hash of a whole file, for clients that ask for it besides the BLAKE3 hash.
//!
//! Bytes that come in order are hashed when they are written, and are not read for it. Bytes that
//! came in another order, or before a restart, are read once when the upload is completed.

use super::{ActiveUpload, Inner, RowGuard};
use crate::error::Error;
use crate::storage::Staging;
use sha2::{Digest as _, Sha256};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{FileSize, Offset, SecondDigest, Sha256Hash};

/// The hash of the first bytes of a file.
#[derive(Clone)]
pub(super) struct HashPass {
    hasher: Sha256,
    /// The end of the bytes that the hasher has taken in.
    end: Offset,
}

impl HashPass {
    fn new() -> Self {
        Self { hasher: Sha256::new(), end: Offset::ZERO }
    }

    /// Takes in bytes that begin at `end`. All other bytes are ignored here, and are read later.
    pub(super) fn take(&mut self, offset: Offset, bytes: &[u8]) {
        if offset == self.end {
            self.hasher.update(bytes);
            self.end = self.end.plus(bytes.len() as u64);
        }
    }

    /// Bytes from `offset` on may change. If the hasher has taken one of them in, it begins anew.
    pub(super) fn forget_from(&mut self, offset: Offset) {
        if offset < self.end {
            *self = Self::new();
        }
    }

    /// Reads the missing bytes, a block at a time. Before each block `goes_on` says whether to go
    /// on.
    fn read_rest(
        &mut self,
        staging: &dyn Staging,
        filesize: FileSize,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), Error> {
        let mut buffer = Vec::new();
        while self.end < filesize.end() {
            if !goes_on() {
                return Err(Error::CutShort);
            }
            let rest = filesize.get() - self.end.get();
            let count =
                usize::try_from(rest.min(BLOCK_SIZE_BYTES)).expect("a block fits in memory");
            buffer.resize(count, 0);
            staging.read_exact_at(&mut buffer, self.end)?;
            self.take(self.end, &buffer);
        }
        Ok(())
    }

    fn hash(&self) -> Sha256Hash {
        Sha256Hash::from_bytes(self.hasher.clone().finalize().into())
    }
}

impl ActiveUpload {
    /// The same upload; its client wants that digest besides the BLAKE3 hash.
    pub(crate) fn with_second_digest(self, digest: SecondDigest) -> Self {
        self.inner().sha256 = match digest {
            SecondDigest::None => None,
            SecondDigest::Sha256 => Some(HashPass::new()),
        };
        self
    }

    /// The SHA-256 hash of the whole file, if the client has asked for it when the upload began, or
    /// asks now. The upload is being published, so none of its bytes changes meanwhile. Blocks
    /// while it reads.
    pub(crate) fn sha256(
        &self,
        _: &RowGuard,
        digest: SecondDigest,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Sha256Hash>, Error> {
        let (pass, filesize) = {
            let inner = self.inner();
            (inner.sha256.clone(), inner.upload.progress().filesize())
        };
        let pass = match (pass, digest) {
            (None, SecondDigest::None) => return Ok(None),
            (pass, _) => pass,
        };
        // Outside of the lock: a question about the upload does not wait for the disk.
        let mut pass = pass.unwrap_or_else(HashPass::new);
        pass.read_rest(self.staging(), filesize, goes_on)?;
        let hash = pass.hash();
        self.inner().sha256 = Some(pass);
        Ok(Some(hash))
    }
}

impl Inner {
    /// Bytes from `offset` on may change: the SHA-256 hash that has taken them in begins anew.
    pub(super) fn forget_hashed_from(&mut self, offset: Offset) {
        if let Some(pass) = &mut self.sha256 {
            pass.forget_from(offset);
        }
    }
}
