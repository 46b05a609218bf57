//! Files to upload: random bytes that a seed reproduces, with hashes that are computed without any
//! of Towline's own code.

use blake3::hazmat::HasherExt as _;
use std::cell::Cell;
use std::fmt;
use std::sync::OnceLock;
use towline_types::{ChainingValue, FileHash, FileSize};

/// The length of a block in bytes, as in `SPEC.md`.
pub const BLOCK: usize = 1 << 20;

/// The seed of this run: `TOWLINE_SEED` where it is set, otherwise a new one. Each test prints it,
/// so that a failure can be reproduced.
pub fn run_seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    // Each test has a thread of its own.
    thread_local!(static IS_PRINTED: Cell<bool> = const { Cell::new(false) });
    let seed = *SEED.get_or_init(|| {
        let given = std::env::var("TOWLINE_SEED").ok().and_then(|text| text.parse().ok());
        given.unwrap_or_else(|| fastrand::u64(..))
    });
    if !IS_PRINTED.replace(true) {
        println!("again with TOWLINE_SEED={seed}");
    }
    seed
}

/// A generator for the random choices of a test.
#[must_use]
pub fn chance() -> fastrand::Rng {
    fastrand::Rng::with_seed(run_seed())
}

/// A file.
#[derive(Clone)]
pub struct TestFile {
    /// The content.
    pub bytes: Vec<u8>,
}

/// Without the bytes, which would hide the rest of a message.
impl fmt::Debug for TestFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Corpus({} bytes, {})", self.size(), self.hash())
    }
}

impl TestFile {
    /// A file of that number of bytes. Each combination of size, `salt` and [`run_seed`] has its
    /// own content.
    #[must_use]
    pub fn new(size: usize, salt: u64) -> Self {
        Self::of_seed(size, run_seed() ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ size as u64)
    }

    /// A file of that number of bytes, made from this seed.
    #[must_use]
    pub fn of_seed(size: usize, seed: u64) -> Self {
        let mut bytes = vec![0; size];
        fastrand::Rng::with_seed(seed).fill(&mut bytes);
        Self { bytes }
    }

    /// Its length.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Its length, in the form of the protocol.
    #[must_use]
    pub fn filesize(&self) -> FileSize {
        FileSize::try_from(self.bytes.len() as u64).expect("memory is smaller than 2^63")
    }

    /// The plain BLAKE3 hash, the one that `b3sum` prints.
    #[must_use]
    pub fn hash(&self) -> FileHash {
        FileHash::from_bytes(*blake3::hash(&self.bytes).as_bytes())
    }

    /// How many blocks it has.
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.bytes.len().div_ceil(BLOCK)
    }

    /// The bytes of one block.
    #[must_use]
    pub fn block(&self, index: usize) -> &[u8] {
        &self.bytes[index * BLOCK..self.block_end(index)]
    }

    /// The position at which a block ends.
    #[must_use]
    pub fn block_end(&self, index: usize) -> usize {
        ((index + 1) * BLOCK).min(self.bytes.len())
    }

    /// The value of one block, directly from the `blake3` crate.
    #[must_use]
    pub fn value(&self, index: usize) -> ChainingValue {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset((index * BLOCK) as u64).update(self.block(index));
        ChainingValue::from_bytes(match self.block_count() {
            1 => *hasher.finalize().as_bytes(),
            _ => hasher.finalize_non_root(),
        })
    }
}
