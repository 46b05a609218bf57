//! The proof, for a later run, that the blocks which a server holds are those that this client has
//! sent of this same file.
//!
//! An unchanged local file says nothing about the server's blocks: another client may have
//! continued the upload with another file of the same name. So the state file keeps a digest over
//! the values of the blocks that were sent. With it a resumption is as fast as without: the client
//! compares values, and reads no byte of a block whose value agrees.

use crate::source::Identity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{ChainingValue, Offset};

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proof {
    /// The file that the blocks were read from.
    #[serde(flatten)]
    identity: Identity,
    /// The number of blocks, counted from the first one.
    blocks: u64,
    /// BLAKE3 over the values of the blocks, one after another.
    blake3: ChainingValue,
}

impl Proof {
    /// The proof for the durable blocks of known value up to the first gap.
    pub(crate) fn of(
        identity: Identity,
        values: &[Option<ChainingValue>],
        durable: Offset,
    ) -> Self {
        let durable = usize::try_from(durable.get() / BLOCK_SIZE_BYTES).unwrap_or(usize::MAX);
        let known: Vec<ChainingValue> =
            values.iter().take(durable).map_while(|value| *value).collect();
        Self { identity, blocks: known.len() as u64, blake3: digest(known.iter()) }
    }

    /// How many of the held blocks, counted from the first one, are proven to be blocks of a file
    /// with this identity.
    pub(crate) fn proven(&self, identity: Identity, held: &BTreeMap<u64, ChainingValue>) -> u64 {
        let first = (0..self.blocks).map_while(|number| held.get(&number));
        let agrees = self.identity == identity
            && (0..self.blocks).all(|number| held.contains_key(&number))
            && digest(first) == self.blake3;
        if agrees { self.blocks } else { 0 }
    }
}

fn digest<'a>(values: impl Iterator<Item = &'a ChainingValue>) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    for value in values {
        hasher.update(value.as_bytes());
    }
    ChainingValue::from_bytes(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_blocks_of_the_same_file_are_proven() {
        let value = |n: u8| ChainingValue::from_bytes([n; 32]);
        let values = [Some(value(0)), Some(value(1)), None, Some(value(3))];
        let durable = Offset::ZERO.plus(4 * BLOCK_SIZE_BYTES);
        let identity = Identity::default();
        let proof = Proof::of(identity, &values, durable);
        let mut held = BTreeMap::from([(0, value(0)), (1, value(1)), (2, value(9))]);
        assert_eq!(proof.proven(identity, &held), 2);
        let other = Identity { inode: Some(7), ..identity };
        assert_eq!(proof.proven(other, &held), 0);
        held.insert(1, value(7));
        assert_eq!(proof.proven(identity, &held), 0);
        held.remove(&1);
        assert_eq!(proof.proven(identity, &held), 0);
        // A block that is not durable may be lost, so the proof does not count it.
        assert_eq!(Proof::of(identity, &values, Offset::ZERO).proven(identity, &held), 0);
    }
}
