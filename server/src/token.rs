//! Tokens, by which a client proves its user: JSON web tokens, signed with Ed25519 keys of this
//! server's own.
//!
//! There is one algorithm, and no header can name another one or bring a key. A token has to say
//! its user (`sub`), its end (`exp`), its beginning (`iat`) and the store that it was issued for
//! (`iss`): after the loss of a catalog the same user numbers may be given to other people, while
//! the keys are still there. A token also names the key that has signed it (`kid`) and itself
//! (`jti`). Tokens of earlier versions name neither. Where the operator trusts an identity
//! provider, its tokens are taken as well (`provider`).

mod claims;
mod document_token;
mod error;
mod file;
mod identity;
mod invitation;
mod jwks;
mod provider;
mod signing_keys;

pub(crate) use document_token::{DocumentRight, DocumentToken, is_document_token};
pub use error::{KeyError, TokenError};
pub use file::write_token;
pub use identity::{Identity, Verified};
pub use invitation::new_invitation;
pub(crate) use invitation::secret_hash;
pub use jwks::ProviderKeysError;
pub use provider::TrustedProvider;
pub use signing_keys::{SigningKey, SigningKeys};

use aws_lc_rs::digest::{SHA256, digest};
use claims::Claims;
use jsonwebtoken::{Algorithm, Header};
use provider::Provider;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use towline_engine::Clock;
use towline_state::catalog::{IssuedToken, Store, UserRef};
use towline_types::{KeyId, StoreId, Timestamp, TokenId, UserId};

/// Signs and checks tokens.
pub struct Tokens {
    /// The folder of the keys.
    folder: PathBuf,
    keys: RwLock<Arc<SigningKeys>>,
    /// The identity provider whose tokens are taken as well.
    provider: Option<Provider>,
    store_id: StoreId,
    /// Until when tokens were issued that name no store.
    without_store_until: Option<Timestamp>,
    clock: Clock,
}

/// A token that was made just now.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token itself: a secret.
    pub token: String,
    /// What the token says.
    pub identity: Identity,
    /// What the catalog keeps of it.
    pub row: IssuedToken,
}

impl Tokens {
    /// The server's keys in that folder; the first one is made where there is none.
    ///
    /// # Errors
    /// Where they can neither be read nor made.
    pub fn open(folder: &Path, store: &Store, clock: Clock) -> Result<Self, KeyError> {
        let keys = match SigningKeys::read(folder)? {
            Some(keys) => keys,
            None => {
                if store.marked_at.is_some() {
                    tracing::warn!(
                        "there is no key at {}; a new one is made, and no token that was issued \
                         before is valid any more",
                        SigningKeys::first_path(folder).display()
                    );
                }
                SigningKeys::make_first(folder)?
            }
        };
        Ok(Self::with_keys(folder, keys, store, clock))
    }

    /// The same, with the keys that are there. No key is made, because a running server would not
    /// know it.
    ///
    /// # Errors
    /// Where there is none, or one cannot be read.
    pub fn find(folder: &Path, store: &Store, clock: Clock) -> Result<Self, KeyError> {
        Ok(Self::with_keys(folder, SigningKeys::find(folder)?, store, clock))
    }

    fn with_keys(folder: &Path, keys: SigningKeys, store: &Store, clock: Clock) -> Self {
        Self {
            folder: folder.to_owned(),
            keys: RwLock::new(Arc::new(keys)),
            provider: None,
            store_id: store.store_id,
            without_store_until: store.tokens_without_id_until,
            clock,
        }
    }

    /// Takes tokens of an identity provider as well. Blocks.
    ///
    /// # Errors
    /// Where its keys cannot be read, or one of them is not safe.
    pub fn trusting(self, provider: TrustedProvider) -> Result<Self, ProviderKeysError> {
        Ok(Self { provider: Some(Provider::open(provider)?), ..self })
    }

    /// Reads the keys of the identity provider again, where there is one. Where they cannot be
    /// used, the earlier ones stay. Returns how many there are. Blocks.
    ///
    /// # Errors
    /// As for [`trusting`](Self::trusting).
    pub fn reload_provider(&self) -> Option<Result<usize, ProviderKeysError>> {
        self.provider.as_ref().map(Provider::reload)
    }

    /// Reads the keys again, because one was added or retired. Where that fails, the earlier ones
    /// stay. Returns how many there are. Blocks.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn reload(&self) -> Result<usize, KeyError> {
        let keys = SigningKeys::find(&self.folder)?;
        let count = keys.iter().count();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(count)
    }

    fn keys(&self) -> Arc<SigningKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether tokens that this key has signed are still valid.
    #[must_use]
    pub fn has_key(&self, key: KeyId) -> bool {
        self.keys().get(key).is_some()
            || self.provider.as_ref().is_some_and(|provider| provider.has_key(key))
    }

    /// A token for a user that was created then.
    ///
    /// # Errors
    /// Where there are no random numbers.
    pub fn issue(
        &self,
        user: UserId,
        created_at: Timestamp,
        ttl: Duration,
    ) -> Result<Issued, KeyError> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| KeyError::NotMade)?;
        let id = TokenId::from_bytes(id);
        let now = self.clock.now().as_secs();
        let exp = now.saturating_add(ttl.as_secs());
        // The clock may have been ahead when the user was created.
        let iat = now.max(created_at.as_secs());
        let (iss, jti) = (Some(self.store_id.to_string()), Some(id.to_string()));
        let claims = Claims { sub: user.to_string(), iss, iat, exp, nbf: None, jti };
        let keys = self.keys();
        let key = keys.signer();
        let header = Header { kid: Some(key.id().to_string()), ..Header::new(Algorithm::EdDSA) };
        let token =
            jsonwebtoken::encode(&header, &claims, &key.signing).map_err(|_| KeyError::NotMade)?;
        let row = IssuedToken {
            token_id: id,
            user_id: user,
            key_id: key.id(),
            issued_at: Timestamp::from_secs(iat),
            expires_at: Timestamp::from_secs(exp),
        };
        let identity = Identity {
            user,
            issued_at_secs: Some(iat),
            expires_at: row.expires_at,
            token: Some(id),
            says_id: true,
            key: key.id(),
        };
        Ok(Issued { token, identity, row })
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// Where it is not good, or no longer.
    pub fn check(&self, token: &str) -> Result<Verified, TokenError> {
        let header = claims::header(token)?;
        let keys = self.keys();
        let named = header.kid.as_deref().map(str::parse::<KeyId>);
        // Keys of the server's own go before those of a provider.
        if let Some(Ok(id)) = named
            && let Some(key) = keys.get(id)
        {
            return self.check_own(token, &header, key);
        }
        let now = self.clock.now();
        let of_provider = self.provider.as_ref().and_then(|one| one.check(token, &header, now));
        if let Some(checked) = of_provider {
            return checked;
        }
        if header.alg != Algorithm::EdDSA {
            return Err(TokenError::Bad);
        }
        match named {
            None => match keys.first() {
                Some(key) => self.check_own(token, &header, key),
                None => Err(self.unknown_key(token)),
            },
            Some(Ok(_)) => Err(self.unknown_key(token)),
            Some(Err(_)) => Err(TokenError::Bad),
        }
    }

    /// The same for a token that names a key of the server's own, or none.
    fn check_own(
        &self,
        token: &str,
        header: &Header,
        key: &SigningKey,
    ) -> Result<Verified, TokenError> {
        let claims: Claims = claims::verified(token, &key.checking, Algorithm::EdDSA)
            .map_err(|bad| if header.kid.is_none() { self.of_no_key(token) } else { bad })?;
        let now = self.clock.now().as_secs();
        // One user, one spelling: what the server itself writes.
        let user: UserId = claims.sub.parse().map_err(|_| TokenError::Bad)?;
        if user.to_string() != claims.sub {
            return Err(TokenError::Bad);
        }
        if !self.is_of_this_store(&claims) {
            return Err(self.of_no_key(token));
        }
        let says_id = claims.jti.is_some();
        let id = match &claims.jti {
            Some(id) => id.parse().map_err(|_| TokenError::Bad)?,
            None => Self::id_of_text(token),
        };
        match claims {
            Claims { nbf: Some(nbf), .. } if now < nbf => Err(TokenError::Bad),
            Claims { exp, .. } if now >= exp => Err(TokenError::Expired),
            Claims { exp, iat, .. } => Ok(Verified {
                user: UserRef::Number(user),
                issued_at_secs: Some(iat),
                expires_at: Timestamp::from_secs(exp),
                token: Some(id),
                says_id,
                key: key.id(),
            }),
        }
    }

    /// The id of a token that does not say one: the first half of the SHA-256 hash of its text.
    #[must_use]
    pub fn id_of_text(token: &str) -> TokenId {
        let hash = digest(&SHA256, token.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_ref()[..16]);
        TokenId::from_bytes(id)
    }

    /// Whether the token was issued for this store. Tokens of earlier versions name no store, and
    /// are valid only where the catalog is as old as they are.
    fn is_of_this_store(&self, claims: &Claims) -> bool {
        match &claims.iss {
            Some(iss) => *iss == self.store_id.to_string(),
            None => self.without_store_until.is_some_and(|until| claims.iat <= until.as_secs()),
        }
    }

    /// The error for a token that names a key which this server does not have.
    fn unknown_key(&self, token: &str) -> TokenError {
        match claims::alleged_issuer::<StoreId>(token) {
            Some(issuer) if issuer == self.store_id => TokenError::UnknownKey,
            Some(_) => TokenError::OtherServer,
            None => TokenError::Bad,
        }
    }

    /// The error for a token that was issued for another store, or that names no key and was not
    /// signed by the key which signed such tokens.
    fn of_no_key(&self, token: &str) -> TokenError {
        match self.unknown_key(token) {
            TokenError::OtherServer => TokenError::OtherServer,
            _ => TokenError::Bad,
        }
    }
}

#[cfg(test)]
mod tests;
