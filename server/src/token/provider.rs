//! Tokens of an identity provider: which user each is for, checked by the keys in a file of the
//! operator.
//!
//! The name of a key in the token (`kid`) chooses one of these keys, and the key says the one
//! algorithm that it is for. Nothing else in a header has any effect.

use super::claims;
use super::error::TokenError;
use super::identity::Verified;
use super::jwks::{ProviderKeys, ProviderKeysError};
use jsonwebtoken::Header;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use towline_state::catalog::UserRef;
use towline_types::{KeyId, Timestamp};

/// Whose tokens are taken besides the server's own.
#[derive(Debug, Clone)]
pub struct TrustedProvider {
    /// The file with the provider's keys, a JSON web key set.
    pub keys: PathBuf,
    /// What `iss` of each token has to be, where that is checked.
    pub issuer: Option<String>,
    /// What `aud` of each token has to name, where that is checked.
    pub audience: Option<String>,
}

impl TrustedProvider {
    /// Reads the keys, and returns how many can be used. Blocks.
    ///
    /// # Errors
    /// Where the file cannot be read, or a key in it is not safe.
    pub fn check(&self) -> Result<usize, ProviderKeysError> {
        Ok(ProviderKeys::read(&self.keys)?.len())
    }
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Provider {
    trusted: TrustedProvider,
    keys: RwLock<Arc<ProviderKeys>>,
}

/// How far the clocks of the provider and of the server may be apart.
const LEEWAY_SECS: u64 = 5;

/// The beginning of the year 10,000: no token ends so late.
const END_MAX_SECS: u64 = 253_402_300_800;

/// What a token of a provider has to say, and what is looked at where it says it.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    #[serde(default)]
    nbf: Option<u64>,
    #[serde(default)]
    iat: Option<u64>,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    aud: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

impl Provider {
    /// Reads the keys. Blocks.
    pub(super) fn open(trusted: TrustedProvider) -> Result<Self, ProviderKeysError> {
        let keys = RwLock::new(Arc::new(ProviderKeys::read(&trusted.keys)?));
        Ok(Self { trusted, keys })
    }

    /// Reads the keys again. Where they cannot be used, the earlier ones stay. Blocks.
    pub(super) fn reload(&self) -> Result<usize, ProviderKeysError> {
        let keys = ProviderKeys::read(&self.trusted.keys)?;
        let count = keys.len();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(count)
    }

    fn keys(&self) -> Arc<ProviderKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether tokens that this key has signed are still valid.
    pub(super) fn has_key(&self, key: KeyId) -> bool {
        self.keys().has(key)
    }

    /// The user and the times of the token; `None` where it names no key of the provider.
    pub(super) fn check(
        &self,
        token: &str,
        header: &Header,
        now: Timestamp,
    ) -> Option<Result<Verified, TokenError>> {
        let keys = self.keys();
        let key = keys.get(header.kid.as_deref()?)?;
        let claims = claims::verified::<Claims>(token, &key.checking, key.algorithm);
        Some(claims.and_then(|claims| self.verified(claims, key.id, now.as_secs())))
    }

    fn verified(&self, claims: Claims, key: KeyId, now: u64) -> Result<Verified, TokenError> {
        let Claims { sub, exp, nbf, iat, iss, aud } = claims;
        let TrustedProvider { issuer, audience, .. } = &self.trusted;
        let is_from = issuer.as_ref().is_none_or(|issuer| iss.as_ref() == Some(issuer));
        let is_for = audience
            .as_ref()
            .is_none_or(|audience| aud.as_ref().is_some_and(|named| named.names(audience)));
        let has_begun = [nbf, iat]
            .into_iter()
            .flatten()
            .all(|moment| moment <= now.saturating_add(LEEWAY_SECS));
        if !(is_from && is_for && has_begun) || exp >= END_MAX_SECS {
            return Err(TokenError::Bad);
        }
        if now >= exp {
            return Err(TokenError::Expired);
        }
        Ok(Verified {
            user: UserRef::parse(&sub).ok_or(TokenError::Bad)?,
            issued_at_secs: iat,
            expires_at: Timestamp::from_secs(exp),
            token: None,
            says_id: false,
            key,
        })
    }
}
