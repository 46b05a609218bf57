//! The keys of an identity provider: a JSON web key set (RFC 7517) in a file of the operator's.

use crate::secret_file;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use towline_engine::storage::PathError;
use towline_types::KeyId;

/// Why the keys of a provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProviderKeysError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The file is no set of keys, or a key in it is not safe.
    #[error("the token keys in {}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A key, and the one algorithm that it is for.
#[derive(Debug)]
pub(super) struct ProviderKey {
    pub(super) algorithm: Algorithm,
    pub(super) checking: DecodingKey,
    /// An id made of the name and the bytes of the key, so that another key of the same name has
    /// another id.
    pub(super) id: KeyId,
}

/// The keys by their names, `kid`.
#[derive(Debug)]
pub(super) struct ProviderKeys(BTreeMap<String, ProviderKey>);

impl ProviderKeys {
    /// Reads the file.
    pub(super) fn read(path: &Path) -> Result<Self, ProviderKeysError> {
        let not_read = |error| ProviderKeysError::from(PathError::new("read", path, error));
        let bytes = secret_file::read_of_operator(path).map_err(not_read)?;
        Self::parse(&bytes)
            .map_err(|reason| ProviderKeysError::Unusable { path: path.to_owned(), reason })
    }

    /// The key of that name.
    pub(super) fn get(&self, name: &str) -> Option<&ProviderKey> {
        self.0.get(name)
    }

    /// Whether one of the keys is that one.
    pub(super) fn has(&self, id: KeyId) -> bool {
        self.0.values().any(|key| key.id == id)
    }

    /// The number of keys.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Jwk>,
        }
        let Set { keys } =
            serde_json::from_slice(bytes).map_err(|error| format!("no set of keys: {error}"))?;
        let mut all = BTreeMap::new();
        for (number, jwk) in (1..).zip(keys) {
            let Some(algorithm) = jwk.algorithm() else { continue };
            let named = jwk.kid.clone().filter(|kid| !kid.is_empty());
            let kid =
                named.ok_or_else(|| format!("key {number} has no kid, by which tokens name it"))?;
            let key = jwk.key(algorithm, &kid).map_err(|reason| format!("key {kid:?} {reason}"))?;
            if all.insert(kid.clone(), key).is_some() {
                return Err(format!("two keys have the kid {kid:?}"));
            }
        }
        match all.is_empty() {
            true => Err("there is no key for RS256, ES256, EdDSA or HS256 in it".to_owned()),
            false => Ok(Self(all)),
        }
    }
}

/// The least number of bytes of a secret: then it is as strong as the hash that it is used with.
const SECRET_BYTES_MIN: usize = 32;
/// The least number of different bytes in a secret. That 32 random bytes have fewer is as unlikely
/// as to guess a key of 64 bits.
const DIFFERENT_BYTES_MIN: usize = 16;
/// The number of bits that an RSA key may have.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The number of bytes of a coordinate of P-256, and of a key of Ed25519.
const POINT_BYTES: usize = 32;

/// A key as the file has it. A member that stands there twice is an error of the parser.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    /// The private part.
    d: Option<IgnoredAny>,
}

impl Jwk {
    /// The one algorithm that the key is for; `None` where the key is for something else.
    fn algorithm(&self) -> Option<Algorithm> {
        let is_for_signatures = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let (algorithm, name) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (Algorithm::RS256, "RS256"),
            ("EC", Some("P-256")) => (Algorithm::ES256, "ES256"),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, "EdDSA"),
            ("oct", _) => (Algorithm::HS256, "HS256"),
            _ => return None,
        };
        let is_of_it = self.alg.as_deref().is_none_or(|alg| alg == name);
        (is_for_signatures && is_of_it).then_some(algorithm)
    }

    fn key(&self, algorithm: Algorithm, kid: &str) -> Result<ProviderKey, String> {
        if self.d.is_some() {
            return Err("is a private key, which belongs to the provider alone".to_owned());
        }
        let bytes = |name: &str, text: &Option<String>| {
            let text = text.as_deref().ok_or_else(|| format!("has no {name}"))?;
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(text);
            let bytes = bytes.map_err(|_| format!("has a {name} that is no base64url"))?;
            Ok::<_, String>((text.to_owned(), bytes))
        };
        let point = |name: &str, text: &Option<String>| match bytes(name, text)? {
            (text, bytes) if bytes.len() == POINT_BYTES => Ok((text, bytes)),
            (_, bytes) => Err(format!("has a {name} of {} bytes, not {POINT_BYTES}", bytes.len())),
        };
        let (checking, parts) = match algorithm {
            Algorithm::RS256 => {
                let ((n, modulus), (e, exponent)) = (bytes("n", &self.n)?, bytes("e", &self.e)?);
                let bits = bits(&modulus);
                if !RSA_BITS.contains(&bits) {
                    return Err(format!(
                        "has {bits} bits; RSA keys of {} to {} bits are safe",
                        RSA_BITS.start(),
                        RSA_BITS.end()
                    ));
                }
                (DecodingKey::from_rsa_components(&n, &e), [modulus, exponent].concat())
            }
            Algorithm::ES256 => {
                let ((x, left), (y, right)) = (point("x", &self.x)?, point("y", &self.y)?);
                (DecodingKey::from_ec_components(&x, &y), [left, right].concat())
            }
            Algorithm::EdDSA => {
                let (x, public) = point("x", &self.x)?;
                (DecodingKey::from_ed_components(&x), public)
            }
            _ => {
                let (_, secret) = bytes("k", &self.k)?;
                if secret.len() < SECRET_BYTES_MIN {
                    return Err(format!(
                        "has {} bytes; a secret needs {SECRET_BYTES_MIN} random ones at least",
                        secret.len()
                    ));
                }
                if secret.iter().collect::<BTreeSet<_>>().len() < DIFFERENT_BYTES_MIN {
                    return Err("is not random: too many of its bytes are the same".to_owned());
                }
                (Ok(DecodingKey::from_secret(&secret)), secret)
            }
        };
        let checking = checking.map_err(|error| format!("cannot be used: {error}"))?;
        let hash = digest(&SHA256, &[kid.as_bytes(), b"\n", &parts].concat());
        let mut id = [0; 8];
        id.copy_from_slice(&hash.as_ref()[..8]);
        Ok(ProviderKey { algorithm, checking, id: KeyId::from_bytes(id) })
    }
}

/// The number of bits of a number, whose most significant byte comes first.
fn bits(number: &[u8]) -> usize {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let rest = &number[first..];
    rest.first().map_or(0, |byte| rest.len() * 8 - byte.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(set: serde_json::Value) -> String {
        ProviderKeys::parse(set.to_string().as_bytes()).map(drop).unwrap_err()
    }

    fn text(bytes: usize) -> String {
        let bytes: Vec<u8> = (0x80..=0xff).cycle().take(bytes).collect();
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn a_key_that_is_not_safe_is_refused_with_the_reason() {
        let oct = |k: String| serde_json::json!({"kty": "oct", "kid": "o", "k": k});
        let rsa = |n: String| serde_json::json!({"kty": "RSA", "kid": "r", "n": n, "e": "AQAB"});
        let ec = |x: String| {
            serde_json::json!({"kty": "EC", "crv": "P-256", "kid": "e", "x": x,
            "y": text(32)})
        };
        let same = BASE64_URL_SAFE_NO_PAD.encode([7; 64]);
        for (key, reason) in [
            (oct(text(31)), "has 31 bytes"),
            (oct(same), "is not random"),
            (oct("?".to_owned()), "no base64url"),
            (rsa(text(128)), "has 1024 bits"),
            (rsa(text(2048)), "has 16384 bits"),
            (ec(text(31)), "has a x of 31 bytes"),
            (serde_json::json!({"kty": "OKP", "crv": "Ed25519", "kid": "p"}), "has no x"),
            (serde_json::json!({"kty": "oct", "k": text(32)}), "has no kid"),
            (
                serde_json::json!({"kty": "OKP", "crv": "Ed25519", "kid": "p", "x": text(32),
                "d": text(32)}),
                "private key",
            ),
        ] {
            let refused = refused(serde_json::json!({"keys": [key]}));
            assert!(refused.contains(reason), "{reason}: {refused}");
        }
        let twice = serde_json::json!({"keys": [oct(text(32)), oct(text(33))]});
        assert!(refused(twice).contains("two keys have the kid"));
        assert!(refused(serde_json::json!({"keys": []})).contains("no key for"));
        assert!(refused(serde_json::json!({"k": []})).contains("no set of keys"));
        let doubled =
            format!(r#"{{"keys":[{{"kty":"oct","kid":"o","kid":"p","k":"{}"}}]}}"#, text(32));
        assert!(ProviderKeys::parse(doubled.as_bytes()).unwrap_err().contains("duplicate field"));
    }

    #[test]
    fn keys_for_something_else_are_passed_over() {
        let good = serde_json::json!({"kty": "oct", "kid": "good", "k": text(32), "alg": "HS256"});
        let mut others = Vec::new();
        for (kid, change) in [
            ("enc", serde_json::json!({"use": "enc"})),
            ("hs512", serde_json::json!({"alg": "HS512"})),
            ("signs", serde_json::json!({"key_ops": ["sign"]})),
            ("p384", serde_json::json!({"kty": "EC", "crv": "P-384"})),
            ("none", serde_json::json!({"kty": "none"})),
        ] {
            let mut other = good.clone();
            other["kid"] = kid.into();
            for (name, value) in change.as_object().unwrap() {
                other[name] = value.clone();
            }
            others.push(other);
        }
        others.push(good);
        let set = serde_json::json!({"keys": others}).to_string();
        let keys = ProviderKeys::parse(set.as_bytes()).unwrap();
        assert_eq!(keys.0.keys().collect::<Vec<_>>(), ["good"]);
        assert_eq!(keys.get("good").unwrap().algorithm, Algorithm::HS256);
        let id = keys.get("good").unwrap().id;
        assert!(keys.has(id) && keys.len() == 1);
        let other = set.replace(&text(32), &text(40));
        assert!(!ProviderKeys::parse(other.as_bytes()).unwrap().has(id), "other bytes");
    }
}
