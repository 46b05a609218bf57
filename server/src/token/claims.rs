//! The header and the claims of a token, and the check of its signature.

use super::error::TokenError;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// What a token of this server says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The user, as a number in a string, as the standard wants it.
    pub(super) sub: String,
    /// The store it was issued for. Older tokens name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) iss: Option<String>,
    /// When it was issued, in seconds since 1970.
    pub(super) iat: u64,
    /// When it ends, in seconds since 1970.
    pub(super) exp: u64,
    /// From when on it is good, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<u64>,
    /// Its id. Older tokens have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) jti: Option<String>,
}

/// Reads the header of a token. A header is refused that brings a key, names a place to get one
/// from, or demands something of its reader: the server does none of these things.
pub(super) fn header(token: &str) -> Result<Header, TokenError> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Bad)?;
    let Header { jku, jwk, x5u, x5c, crit, enc, zip, .. } = &header;
    let is_plain = jku.is_none()
        && jwk.is_none()
        && x5u.is_none()
        && x5c.is_none()
        && crit.is_none()
        && enc.is_none()
        && zip.is_none();
    if is_plain { Ok(header) } else { Err(TokenError::Bad) }
}

/// The claims of a token that this key has signed with this algorithm. The times and names in the
/// claims are not checked here.
pub(super) fn verified<T: DeserializeOwned>(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<T, TokenError> {
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["exp", "sub"]);
    // The caller checks these, and compares times with the server's own clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let decoded = jsonwebtoken::decode(token, key, &validation);
    decoded.map(|token| token.claims).map_err(|_| TokenError::Bad)
}

/// The issuer that a token names, without a check of the signature; `None` where the token does not
/// look like one of a Towline server. It decides only which error message a client gets.
pub(super) fn alleged_issuer<T: FromStr>(token: &str) -> Option<T> {
    let claims: Claims = jsonwebtoken::dangerous::insecure_decode(token).ok()?.claims;
    claims.iss?.parse().ok()
}
