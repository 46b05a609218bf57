//! A token for one upload alone. It is good for a short time, so it may stand in a URL.
//!
//! It is signed as the tokens of people are, by the same keys, and cannot be taken for one of them:
//! its subject is no user number. It names the token by whose owner it was asked for, and ends with
//! that one.

use super::claims;
use super::error::{KeyError, TokenError};
use super::identity::Identity;
use super::{Tokens, signing_keys::SigningKey};
use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use towline_types::{DocumentId, KeyId, Timestamp, TokenId, UserId};

/// What the header says of its kind.
const KIND: &str = "upload+jwt";

/// What comes before the numbers of the user and of the upload in the subject.
const SUBJECT: &str = "upload";

#[derive(Debug, Serialize, Deserialize)]
struct UploadClaims {
    /// `upload/USER/DOCUMENT`.
    sub: String,
    iss: String,
    iat: u64,
    exp: u64,
    /// When the token of the person ends, in seconds since 1970.
    until: u64,
    /// The token of the person, where it has an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// What a token says that is good for one upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UploadToken {
    /// Whose upload.
    pub(crate) user: UserId,
    /// The upload.
    pub(crate) upload: DocumentId,
    /// When the token of the person ends: no token that is made from this one lasts longer.
    pub(crate) until: Timestamp,
    /// What counts for the time and the rights of its bearer. Its token is the one of the person.
    pub(crate) identity: Identity,
}

/// Whether a token says that it is for one upload alone. Nothing is checked yet.
pub(crate) fn is_upload_token(token: &str) -> bool {
    claims::header(token).is_ok_and(|header| header.typ.as_deref() == Some(KIND))
}

impl Tokens {
    /// A token for that upload, which is good for `ttl` and not after `until`, when the token of the
    /// person ends. Returns the token and its end.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub(crate) fn issue_for_upload(
        &self,
        person: &Identity,
        until: Timestamp,
        upload: DocumentId,
        ttl: Duration,
    ) -> Result<(String, Timestamp), KeyError> {
        let now = self.clock.now();
        let expires_at = now.plus(ttl).min(until);
        let claims = UploadClaims {
            sub: format!("{SUBJECT}/{}/{upload}", person.user),
            iss: self.store_id.to_string(),
            iat: now.as_secs(),
            exp: expires_at.as_secs(),
            until: until.as_secs(),
            by: person.token.map(|id| id.to_string()),
        };
        let keys = self.keys();
        let key = keys.signer();
        let header = Header {
            typ: Some(KIND.to_owned()),
            kid: Some(key.id().to_string()),
            ..Header::new(Algorithm::EdDSA)
        };
        let token =
            jsonwebtoken::encode(&header, &claims, &key.signing).map_err(|_| KeyError::NotMade)?;
        Ok((token, Timestamp::from_secs(claims.exp)))
    }

    /// Which upload the token is for.
    ///
    /// # Errors
    /// Where it is not good, or no longer.
    pub(crate) fn check_for_upload(&self, token: &str) -> Result<UploadToken, TokenError> {
        let header = claims::header(token)?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(KIND) {
            return Err(TokenError::Bad);
        }
        let key: KeyId =
            header.kid.as_deref().ok_or(TokenError::Bad)?.parse().map_err(|_| TokenError::Bad)?;
        let keys = self.keys();
        let key = keys.get(key).ok_or(TokenError::UnknownKey)?;
        let claims = verified(token, key)?;
        if claims.iss != self.store_id.to_string() {
            return Err(TokenError::OtherServer);
        }
        let (user, upload) = subject(&claims.sub).ok_or(TokenError::Bad)?;
        let by: Option<TokenId> =
            claims.by.map(|id| id.parse()).transpose().map_err(|_| TokenError::Bad)?;
        if self.clock.now().as_secs() >= claims.exp {
            return Err(TokenError::Expired);
        }
        let identity = Identity {
            user,
            issued_at_secs: None,
            expires_at: Timestamp::from_secs(claims.exp),
            token: by,
            says_id: by.is_some(),
            key: key.id(),
        };
        Ok(UploadToken { user, upload, until: Timestamp::from_secs(claims.until), identity })
    }
}

fn verified(token: &str, key: &SigningKey) -> Result<UploadClaims, TokenError> {
    claims::verified(token, &key.checking, Algorithm::EdDSA)
}

fn subject(text: &str) -> Option<(UserId, DocumentId)> {
    let (user, upload) = text.strip_prefix(SUBJECT)?.strip_prefix('/')?.split_once('/')?;
    Some((user.parse().ok()?, upload.parse().ok()?))
}
