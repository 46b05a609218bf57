//! Tokens, by which a client proves its user: JSON web tokens, signed with an Ed25519 key of this server's own.
//!
//! One algorithm, one key, no header that could name another. What a token has to
//! say is a user (`sub`), an end (`exp`), a beginning (`iat`) and the store that it was issued
//! for (`iss`): after the loss of a catalog the numbers of users may be given to others, and
//! the key may still be there.

use crate::secret_file;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use towline_engine::Clock;
use towline_engine::storage::PathError;
use towline_state::catalog::Store;
use towline_types::{StoreId, Timestamp, UserId};

/// Signs and checks tokens.
pub struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
    store_id: StoreId,
    /// Until when tokens were issued that name no store.
    without_store_until: Option<Timestamp>,
    clock: Clock,
}

/// The user whom a token names, and until when the token holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// When the token was issued, in seconds since 1970.
    pub issued_at_secs: u64,
    /// When the token ends.
    pub expires_at: Timestamp,
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    /// The user, as a number in a string, as the standard wants it.
    sub: String,
    /// The store it was issued for. Older tokens name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    /// When it was issued, in seconds since 1970.
    iat: u64,
    /// When it ends, in seconds since 1970.
    exp: u64,
    /// From when on it is good, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
}

/// Why a token opens nothing. The two are all that a stranger learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once.
    #[error("the token has expired; ask for a new one")]
    Expired,
    /// Anything else.
    #[error("this server did not issue that token")]
    Bad,
}

/// The key could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// What the system says.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The file holds no Ed25519 key.
    #[error("{} holds no Ed25519 key", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// No random numbers were to be had.
    #[error("no key could be made")]
    NotMade,
}

const KEY_FILE: &str = "ed25519.pk8";

impl Tokens {
    /// The server's key, made on first use and kept in that folder.
    ///
    /// # Errors
    /// Where it can neither be read nor made.
    pub fn open(keys: &Path, store: &Store, clock: Clock) -> Result<Self, KeyError> {
        let path = keys.join(KEY_FILE);
        let pkcs8 = match secret_file::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if store.marked_at.is_some() {
                    tracing::warn!(
                        "there is no key at {}; a new one is made, and no token that was issued \
                         before is valid any more",
                        path.display()
                    );
                }
                make(keys, &path)?
            }
            read => read.map_err(io_error("read", &path))?,
        };
        Self::with_key(&path, &pkcs8, store, clock)
    }

    /// The same with the key that is there. None is made: the server that runs would not
    /// know it.
    ///
    /// # Errors
    /// Where the key cannot be read.
    pub fn find(keys: &Path, store: &Store, clock: Clock) -> Result<Self, KeyError> {
        let path = keys.join(KEY_FILE);
        let pkcs8 = secret_file::read(&path).map_err(io_error("read", &path))?;
        Self::with_key(&path, &pkcs8, store, clock)
    }

    fn with_key(path: &Path, pkcs8: &[u8], store: &Store, clock: Clock) -> Result<Self, KeyError> {
        let damaged = |_| KeyError::Damaged { path: path.to_owned() };
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(damaged)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["exp", "sub"]);
        // Times are checked here, by the server's own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Ok(Self {
            signing: EncodingKey::from_ed_der(pkcs8),
            checking: DecodingKey::from_ed_der(pair.public_key().as_ref()),
            validation,
            store_id: store.store_id,
            without_store_until: store.tokens_without_id_until,
            clock,
        })
    }

    /// A token for a user that was created then.
    ///
    /// # Errors
    /// Where signing fails, which it does not.
    pub fn issue(
        &self,
        user: UserId,
        created_at: Timestamp,
        ttl: Duration,
    ) -> Result<String, KeyError> {
        let now = self.clock.now().as_secs();
        let exp = now.saturating_add(ttl.as_secs());
        // The clock may have been ahead when the user was created.
        let iat = now.max(created_at.as_secs());
        let iss = Some(self.store_id.to_string());
        let claims = Claims { sub: user.to_string(), iss, iat, exp, nbf: None };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.signing)
            .map_err(|_| KeyError::NotMade)
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// Where it is not good, or no longer.
    pub fn check(&self, token: &str) -> Result<Identity, TokenError> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.checking, &self.validation)
            .map_err(|_| TokenError::Bad)?
            .claims;
        let now = self.clock.now().as_secs();
        // One user, one spelling: what the server itself writes.
        let user: UserId = claims.sub.parse().map_err(|_| TokenError::Bad)?;
        if user.to_string() != claims.sub || !self.is_of_this_store(&claims) {
            return Err(TokenError::Bad);
        }
        match claims {
            Claims { nbf: Some(nbf), .. } if now < nbf => Err(TokenError::Bad),
            Claims { exp, .. } if now >= exp => Err(TokenError::Expired),
            Claims { exp, iat, .. } => {
                let expires_at = Timestamp::from_secs(exp);
                Ok(Identity { user, issued_at_secs: iat, expires_at })
            }
        }
    }

    /// Whether the token was issued for this store. Those of before name none, and are good
    /// only where the catalog is as old as they are.
    fn is_of_this_store(&self, claims: &Claims) -> bool {
        match &claims.iss {
            Some(iss) => *iss == self.store_id.to_string(),
            None => self.without_store_until.is_some_and(|until| claims.iat <= until.as_secs()),
        }
    }
}

/// Makes the key. Where two processes make it at once, the first one wins and
/// the other reads it.
fn make(keys: &Path, path: &Path) -> Result<Vec<u8>, KeyError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::NotMade)?;
    let pkcs8 = pair.to_pkcs8().map_err(|_| KeyError::NotMade)?;
    Ok(secret_file::make(keys, path, pkcs8.as_ref())?)
}

/// Writes a token into a new file that only its owner reads. What has the name already stays
/// as it is: it may be a link that leads elsewhere, or a file that others read.
///
/// # Errors
/// Where the file cannot be written, or something has the name.
pub fn write_token(path: &Path, token: &str) -> Result<(), KeyError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = made.and_then(|mut file| {
        writeln!(file, "{token}")?;
        file.sync_all()
    });
    written.map_err(io_error("write", path))
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    PathError::of(what, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_testkit::user;

    const ID: &str = "5f1c0a9e7b3d42688e21c4f09d6ab735";

    fn store() -> Store {
        Store {
            store_id: ID.parse().unwrap(),
            made_at: Timestamp::MIN,
            tokens_without_id_until: None,
            marked_at: None,
        }
    }

    fn clock(seconds: u64) -> Clock {
        Clock::new(move || Timestamp::from_secs(seconds))
    }

    fn tokens(folder: &Path, seconds: u64) -> Tokens {
        Tokens::open(folder, &store(), clock(seconds)).unwrap()
    }

    fn issued(tokens: &Tokens, user: UserId) -> String {
        tokens.issue(user, Timestamp::MIN, Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn a_token_is_good_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let token = issued(&tokens(folder.path(), 1000), user(7));
        let expires_at = Timestamp::from_secs(1060);
        let identity = Identity { user: user(7), issued_at_secs: 1000, expires_at };
        assert_eq!(tokens(folder.path(), 1059).check(&token), Ok(identity));
        assert_eq!(tokens(folder.path(), 1060).check(&token), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_of_another_key_or_algorithm_is_bad() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tokens_here = tokens(ours.path(), 1000);
        let foreign = issued(&tokens(theirs.path(), 1000), user(1));
        assert_eq!(tokens_here.check(&foreign), Err(TokenError::Bad));
        let own = issued(&tokens_here, user(1));
        let parts: Vec<_> = own.split('.').collect();
        // {"alg":"none"} and {"alg":"HS256"}
        for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiJ9"] {
            let forged = format!("{header}.{}.{}", parts[1], parts[2]);
            assert_eq!(tokens_here.check(&forged), Err(TokenError::Bad));
            assert_eq!(tokens_here.check(&format!("{header}.{}.", parts[1])), Err(TokenError::Bad));
        }
        for text in ["", ".", "a.b", "a.b.c", &own[1..], &own[..own.len() - 2], &"x".repeat(9000)] {
            assert_eq!(tokens_here.check(text), Err(TokenError::Bad), "{text}");
        }
    }

    #[test]
    fn claims_that_say_too_little_are_bad() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = tokens(folder.path(), 1000);
        for claims in [
            serde_json::json!({"iss": ID, "sub": "1"}),
            serde_json::json!({"iss": ID, "exp": 2000}),
            serde_json::json!({"iss": ID, "sub": "1", "exp": "2000", "iat": 1}),
            serde_json::json!({"iss": ID, "sub": "0", "exp": 2000, "iat": 1}),
            serde_json::json!({"iss": ID, "sub": "1 OR 1=1", "exp": 2000, "iat": 1}),
            serde_json::json!({"iss": ID, "sub": "1", "exp": 2000, "iat": 1, "nbf": 1500}),
            serde_json::json!({"iss": "other", "sub": "1", "exp": 2000, "iat": 1}),
            serde_json::json!({"iss": "", "sub": "1", "exp": 2000, "iat": 1}),
            serde_json::json!({"sub": "1", "exp": 2000, "iat": 1}),
            serde_json::json!({"iss": ID, "sub": "+1", "exp": 2000, "iat": 1}),
            serde_json::json!({"iss": ID, "sub": "01", "exp": 2000, "iat": 1}),
        ] {
            let token =
                jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &tokens.signing);
            assert_eq!(tokens.check(&token.unwrap()), Err(TokenError::Bad), "{claims}");
        }
    }

    #[test]
    fn a_token_is_good_in_the_store_it_was_issued_for_and_in_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let token = issued(&tokens(folder.path(), 1000), user(1));
        let other = Store { store_id: ID.replace('5', "6").parse().unwrap(), ..store() };
        let other = Tokens::open(folder.path(), &other, clock(1000)).unwrap();
        assert_eq!(other.check(&token), Err(TokenError::Bad), "the key is the same");
    }

    #[test]
    fn a_token_of_before_is_good_where_the_catalog_is_as_old() {
        let folder = tempfile::tempdir().unwrap();
        let until = Some(Timestamp::from_secs(500));
        let old = Store { tokens_without_id_until: until, ..store() };
        let old = Tokens::open(folder.path(), &old, clock(1000)).unwrap();
        let new = tokens(folder.path(), 1000);
        for (iat, is_good) in [(1, true), (500, true), (501, false)] {
            let claims = serde_json::json!({"sub": "1", "exp": 2000, "iat": iat});
            let header = Header::new(Algorithm::EdDSA);
            let token = jsonwebtoken::encode(&header, &claims, &old.signing).unwrap();
            assert_eq!(old.check(&token).is_ok(), is_good, "{iat}");
            assert_eq!(new.check(&token), Err(TokenError::Bad));
        }
    }

    #[test]
    fn a_token_is_never_issued_before_its_user_was_created() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = tokens(folder.path(), 1000);
        let created_at = Timestamp::from_secs(4000);
        let token = tokens.issue(user(1), created_at, Duration::from_secs(60)).unwrap();
        let identity = tokens.check(&token).unwrap();
        assert_eq!(identity.issued_at_secs, 4000);
        assert_eq!(identity.expires_at, Timestamp::from_secs(1060));
    }

    #[test]
    fn a_token_is_written_into_a_new_file_and_through_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("ada.token"));
        std::fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(write_token(&link, "secret").is_err());
        assert!(write_token(&target, "secret").is_err());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "kept");
    }

    #[test]
    fn the_key_is_nobody_elses_to_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let _ = tokens(folder.path(), 1000);
        let metadata = std::fs::metadata(folder.path().join("ed25519.pk8")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        std::fs::write(folder.path().join("ed25519.pk8"), b"no key").unwrap();
        let again = Tokens::open(folder.path(), &store(), Clock::system());
        assert!(matches!(again, Err(KeyError::Damaged { .. })));
    }
}
