//! Who is who: JSON web tokens, signed with an Ed25519 key of this server's own.
//!
//! One algorithm, one key, no header that could name another. What a token has to
//! say is a user (`sub`) and an end (`exp`).

use crate::Clock;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use towline_protocol::{Timestamp, UserId};

/// Signs and checks tokens.
pub struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
    clock: Clock,
}

/// Who somebody is, and until when they may say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// When the token ends.
    pub expires_at: Timestamp,
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    /// The user, as a number in a string, as the standard wants it.
    sub: String,
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
    #[error("the token is not valid")]
    Bad,
}

/// The key could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// What the system says.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
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

/// Far more than a PKCS#8 document of an Ed25519 key has.
const KEY_BYTES_MAX: u64 = 4096;

impl Tokens {
    /// The server's key, made on first use and kept in that folder.
    ///
    /// # Errors
    /// Where it can neither be read nor made.
    pub fn open(keys: &Path, clock: Clock) -> Result<Self, KeyError> {
        let path = keys.join("ed25519.pk8");
        let pkcs8 = match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(keys, &path)?,
            read => read.map_err(io_error("read", &path))?,
        };
        let damaged = |_| KeyError::Damaged { path: path.clone() };
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(damaged)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["exp", "sub"]);
        // Times are checked here, by the server's own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Ok(Self {
            signing: EncodingKey::from_ed_der(&pkcs8),
            checking: DecodingKey::from_ed_der(pair.public_key().as_ref()),
            validation,
            clock,
        })
    }

    /// A token for a user.
    ///
    /// # Errors
    /// Where signing fails, which it does not.
    pub fn issue(&self, user: UserId, ttl: Duration) -> Result<String, KeyError> {
        let iat = self.clock.now().as_secs();
        let exp = iat.saturating_add(ttl.as_secs());
        let claims = Claims { sub: user.to_string(), iat, exp, nbf: None };
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
        if user.to_string() != claims.sub {
            return Err(TokenError::Bad);
        }
        match claims {
            Claims { nbf: Some(nbf), .. } if now < nbf => Err(TokenError::Bad),
            Claims { exp, .. } if now >= exp => Err(TokenError::Expired),
            Claims { exp, .. } => Ok(Identity { user, expires_at: Timestamp::from_secs(exp) }),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(KEY_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes the key. Where two processes make it at once, the first one wins and
/// the other reads it.
fn make(keys: &Path, path: &Path) -> Result<Vec<u8>, KeyError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::NotMade)?;
    let pkcs8 = pair.to_pkcs8().map_err(|_| KeyError::NotMade)?;
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .tempfile_in(keys)
        .map_err(io_error("make a key in", keys))?;
    file.write_all(pkcs8.as_ref()).map_err(io_error("write", path))?;
    file.as_file().sync_all().map_err(io_error("sync", path))?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            let folder = File::open(keys).and_then(|folder| folder.sync_all());
            folder.map_err(io_error("sync", keys))?;
        }
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io_error("write", path)(error.error)),
    }
    read(path).map_err(io_error("read", path))
}

/// Writes a token where only its owner reads it.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_token(path: &Path, token: &str) -> Result<(), KeyError> {
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).and_then(
            |mut file| {
                writeln!(file, "{token}")?;
                file.sync_all()
            },
        );
    written.map_err(io_error("write", path))
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(folder: &Path, seconds: u64) -> Tokens {
        Tokens::open(folder, Clock::new(move || Timestamp::from_secs(seconds))).unwrap()
    }

    fn user(id: u64) -> UserId {
        UserId::try_from(id).unwrap()
    }

    #[test]
    fn a_token_is_good_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let token = tokens(folder.path(), 1000).issue(user(7), Duration::from_secs(60)).unwrap();
        let identity = Identity { user: user(7), expires_at: Timestamp::from_secs(1060) };
        assert_eq!(tokens(folder.path(), 1059).check(&token), Ok(identity));
        assert_eq!(tokens(folder.path(), 1060).check(&token), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_of_another_key_or_algorithm_is_bad() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tokens_here = tokens(ours.path(), 1000);
        let foreign = tokens(theirs.path(), 1000).issue(user(1), Duration::from_secs(60)).unwrap();
        assert_eq!(tokens_here.check(&foreign), Err(TokenError::Bad));
        let own = tokens_here.issue(user(1), Duration::from_secs(60)).unwrap();
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
            serde_json::json!({"sub": "1"}),
            serde_json::json!({"exp": 2000}),
            serde_json::json!({"sub": "1", "exp": "2000", "iat": 1}),
            serde_json::json!({"sub": "0", "exp": 2000, "iat": 1}),
            serde_json::json!({"sub": "1 OR 1=1", "exp": 2000, "iat": 1}),
            serde_json::json!({"sub": "+1", "exp": 2000, "iat": 1}),
            serde_json::json!({"sub": "01", "exp": 2000, "iat": 1}),
            serde_json::json!({"sub": "1", "exp": 2000, "iat": 1, "nbf": 1500}),
        ] {
            let token =
                jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &tokens.signing);
            assert_eq!(tokens.check(&token.unwrap()), Err(TokenError::Bad), "{claims}");
        }
    }

    #[test]
    fn the_key_is_nobody_elses_to_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let _ = tokens(folder.path(), 1000);
        let metadata = std::fs::metadata(folder.path().join("ed25519.pk8")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        std::fs::write(folder.path().join("ed25519.pk8"), b"no key").unwrap();
        let again = Tokens::open(folder.path(), Clock::system());
        assert!(matches!(again, Err(KeyError::Damaged { .. })));
    }
}
