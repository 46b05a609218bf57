//! What proves, in a later run, that the blocks a server holds are those that this
//! client sent of this very file.
//!
//! That the local file has not changed says nothing about the server's blocks:
//! another client may have gone on with the upload meanwhile, with another file of
//! the same name. So the state file keeps a digest over the values of the blocks
//! that were sent. A resume is as quick as without it: values are compared, and
//! no byte of the file is read for those that agree.

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
    /// The number of blocks, from the first on.
    blocks: u64,
    /// BLAKE3 over their values, one after the other.
    blake3: ChainingValue,
}

impl Proof {
    /// For the blocks of known value without a gap that are durable.
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

    /// How many of the held blocks are proven to be those of a file with that
    /// identity, from the first on.
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
        // What is not durable may be gone, and is not counted on.
        assert_eq!(Proof::of(identity, &values, Offset::ZERO).proven(identity, &held), 0);
    }
}
