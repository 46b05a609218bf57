//! A token for one document alone: it fills the document while that is an upload, or it fetches the
//! document. It is good for a short time, so it may stand in a URL.
//!
//! It is signed as the tokens of people are, by the same keys, and cannot be taken for one of them:
//! its subject is no user number. It names the token by whose owner it was asked for, and ends with
//! that one.

use super::claims;
use super::error::{KeyError, TokenError};
use super::identity::{Identity, Verified};
use super::{Tokens, signing_keys::SigningKey};
use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use towline_state::catalog::UserRef;
use towline_types::{DocumentId, KeyId, Timestamp, TokenId, UserId};

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DocumentRight {
    /// Sending bytes of an upload, and ending it.
    Fill,
    /// Fetching the bytes of a document.
    Fetch,
}

impl DocumentRight {
    const ALL: [Self; 2] = [Self::Fill, Self::Fetch];

    /// What the header says of the token's kind.
    const fn kind(self) -> &'static str {
        match self {
            Self::Fill => "upload+jwt",
            Self::Fetch => "download+jwt",
        }
    }

    /// What comes before the numbers of the user and of the document in the subject.
    const fn subject(self) -> &'static str {
        match self {
            Self::Fill => "upload",
            Self::Fetch => "download",
        }
    }

    fn of_kind(kind: Option<&str>) -> Option<Self> {
        Self::ALL.into_iter().find(|right| kind == Some(right.kind()))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct DocumentClaims {
    /// `upload/USER/DOCUMENT` or `download/USER/DOCUMENT`.
    sub: String,
    iss: String,
    iat: u64,
    exp: u64,
    /// When the token of the person ends, in seconds since 1970.
    until: u64,
    /// The token of the person: its key, its id where it has one, and when it was issued where the
    /// server has issued it itself.
    by_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by_iat: Option<u64>,
}

/// What a token says that is good for one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DocumentToken {
    /// What it is good for.
    pub(crate) right: DocumentRight,
    /// The document.
    pub(crate) document: DocumentId,
    /// When the token of the person ends: no token that is made from this one lasts longer.
    pub(crate) until: Timestamp,
    /// The token of the person, with the end of this one: user, token and key are looked at as for
    /// the person, so that this one ends with it.
    pub(crate) person: Verified,
}

/// Whether a token says that it is for one document alone. Nothing is checked yet.
pub(crate) fn is_document_token(token: &str) -> bool {
    claims::header(token)
        .is_ok_and(|header| DocumentRight::of_kind(header.typ.as_deref()).is_some())
}

impl Tokens {
    /// A token for that document, which is good for `ttl` and not after `until`, when the token of
    /// the person ends. Returns the token and its end.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub(crate) fn issue_for_document(
        &self,
        person: &Identity,
        until: Timestamp,
        right: DocumentRight,
        document: DocumentId,
        ttl: Duration,
    ) -> Result<(String, Timestamp), KeyError> {
        let now = self.clock.now();
        let expires_at = now.plus(ttl).min(until);
        let claims = DocumentClaims {
            sub: format!("{}/{}/{document}", right.subject(), person.user),
            iss: self.store_id.to_string(),
            iat: now.as_secs(),
            exp: expires_at.as_secs(),
            until: until.as_secs(),
            by_key: person.key.to_string(),
            by: person.token.map(|id| id.to_string()),
            by_iat: person.issued_at_secs.filter(|_| person.token.is_some()),
        };
        let keys = self.keys();
        let key = keys.signer();
        let header = Header {
            typ: Some(right.kind().to_owned()),
            kid: Some(key.id().to_string()),
            ..Header::new(Algorithm::EdDSA)
        };
        let token =
            jsonwebtoken::encode(&header, &claims, &key.signing).map_err(|_| KeyError::NotMade)?;
        Ok((token, Timestamp::from_secs(claims.exp)))
    }

    /// Which document the token is for.
    ///
    /// # Errors
    /// Where it is not good, or no longer.
    pub(crate) fn check_for_document(&self, token: &str) -> Result<DocumentToken, TokenError> {
        let header = claims::header(token)?;
        let right = DocumentRight::of_kind(header.typ.as_deref());
        let right = right.filter(|_| header.alg == Algorithm::EdDSA).ok_or(TokenError::Bad)?;
        let key: KeyId =
            header.kid.as_deref().ok_or(TokenError::Bad)?.parse().map_err(|_| TokenError::Bad)?;
        let keys = self.keys();
        let key = keys.get(key).ok_or(TokenError::UnknownKey)?;
        let claims = verified(token, key)?;
        if claims.iss != self.store_id.to_string() {
            return Err(TokenError::OtherServer);
        }
        let (user, document) = subject(right, &claims.sub).ok_or(TokenError::Bad)?;
        let by: Option<TokenId> =
            claims.by.map(|id| id.parse()).transpose().map_err(|_| TokenError::Bad)?;
        let by_key: KeyId = claims.by_key.parse().map_err(|_| TokenError::Bad)?;
        if !self.has_key(by_key) {
            return Err(TokenError::UnknownKey);
        }
        if self.clock.now().as_secs() >= claims.exp {
            return Err(TokenError::Expired);
        }
        let person = Verified {
            user: UserRef::Number(user),
            issued_at_secs: claims.by_iat,
            expires_at: Timestamp::from_secs(claims.exp),
            token: by,
            says_id: by.is_some(),
            key: by_key,
        };
        Ok(DocumentToken { right, document, until: Timestamp::from_secs(claims.until), person })
    }
}

fn verified(token: &str, key: &SigningKey) -> Result<DocumentClaims, TokenError> {
    claims::verified(token, &key.checking, Algorithm::EdDSA)
}

fn subject(right: DocumentRight, text: &str) -> Option<(UserId, DocumentId)> {
    let (user, document) =
        text.strip_prefix(right.subject())?.strip_prefix('/')?.split_once('/')?;
    Some((user.parse().ok()?, document.parse().ok()?))
}
