//! When tokens were last used: told to the catalog at most once in some minutes for each, and never
//! waited for.

use crate::token::Identity;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use towline_engine::Engine;
use towline_types::{Timestamp, TokenId};

/// How often the catalog is told of one token. The time of its last use is as exact as that.
const EVERY: Duration = Duration::from_secs(300);

/// From this number of tokens on, those that the catalog is to be told of again anyway are
/// forgotten.
const KNOWN_MAX: usize = 10_000;

/// The uses that the catalog was told of.
#[derive(Debug, Default)]
pub(crate) struct TokenUse(Mutex<HashMap<TokenId, Timestamp>>);

impl TokenUse {
    /// Tells the catalog that a token is in use. Where the catalog has too much to do, it is not
    /// told this time.
    pub(crate) fn note(&self, engine: &Engine, identity: &Identity) {
        let now = engine.clock().now();
        // A token of an identity provider has no row.
        let Some(token) = identity.issued() else { return };
        if self.is_due(token.token_id, now) {
            drop(engine.note_token_use(token, now, EVERY));
        }
    }

    fn is_due(&self, token: TokenId, now: Timestamp) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = |at: &Timestamp| Duration::from_millis(now.get().abs_diff(at.get()));
        let is_due = |at: &Timestamp| age(at) >= EVERY;
        if told.get(&token).is_some_and(|at| !is_due(at)) {
            return false;
        }
        if told.len() >= KNOWN_MAX {
            told.retain(|_, at| !is_due(at));
        }
        told.insert(token, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_due_again_after_some_minutes_and_when_the_clock_was_set_back() {
        let uses = TokenUse::default();
        let (one, other) = (TokenId::from_bytes([1; 16]), TokenId::from_bytes([2; 16]));
        let due = |token, seconds| uses.is_due(token, Timestamp::from_secs(seconds));
        assert!(due(one, 1000) && due(other, 1000));
        assert!(!due(one, 1000) && !due(one, 1299));
        assert!(due(one, 1300) && !due(one, 1301));
        assert!(due(one, 10) && !due(one, 11));
    }
}
