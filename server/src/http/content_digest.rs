//! What a client says of the bytes of its request: `Content-Digest` (RFC 9530), and the older
//! `Digest` (RFC 3230).

use super::problem::Problem;
use aws_lc_rs::digest::{Context, SHA256, SHA512};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Hashes the bytes of a request while they come, and compares the hash with what was said.
pub(super) struct Checker {
    hashing: Hashing,
    expected: Vec<u8>,
    /// The header that named it.
    header: &'static str,
}

enum Hashing {
    Sha2(Box<Context>),
    Blake3(Box<blake3::Hasher>),
}

impl Checker {
    /// The check that the headers ask for. Of several digests the first is checked that this server
    /// knows; where it knows none, nothing is checked, as the RFC has it.
    ///
    /// # Errors
    /// Where the value of a known digest cannot be read.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        for header in ["content-digest", "digest"] {
            for value in headers.get_all(header) {
                let text = value.to_str().map_err(|_| unreadable(header))?;
                for item in text.split(',') {
                    let Some((name, value)) = item.trim().split_once('=') else { continue };
                    // A structured field has its bytes between colons.
                    let value = value.trim().trim_matches(':');
                    if let Some(checker) = Self::known(header, name.trim(), value)? {
                        return Ok(Some(checker));
                    }
                }
            }
        }
        Ok(None)
    }

    fn known(header: &'static str, name: &str, value: &str) -> Result<Option<Self>, Problem> {
        let (hashing, length) = match name.to_ascii_lowercase().as_str() {
            "sha-256" => (Hashing::Sha2(Box::new(Context::new(&SHA256))), 32),
            "sha-512" => (Hashing::Sha2(Box::new(Context::new(&SHA512))), 64),
            "blake3" => (Hashing::Blake3(Box::default()), 32),
            _ => return Ok(None),
        };
        let expected = STANDARD.decode(value).map_err(|_| unreadable(header))?;
        match expected.len() == length {
            true => Ok(Some(Self { hashing, expected, header })),
            false => Err(unreadable(header)),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match &mut self.hashing {
            Hashing::Sha2(context) => context.update(bytes),
            Hashing::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    /// Compares.
    ///
    /// # Errors
    /// Where the bytes are other ones.
    pub(super) fn check(self) -> Result<(), Problem> {
        let is_equal = match self.hashing {
            Hashing::Sha2(context) => context.finish().as_ref() == self.expected,
            Hashing::Blake3(hasher) => hasher.finalize().as_bytes()[..] == self.expected,
        };
        if is_equal {
            return Ok(());
        }
        let message = format!(
            "the bytes that came are not those that {} speaks of; none of them is kept, send them \
             again",
            self.header
        );
        Err(Problem::new(StatusCode::BAD_REQUEST, "digest_mismatch", message))
    }
}

fn unreadable(header: &'static str) -> Problem {
    let message = format!("{header}: a digest in base64 was expected, such as sha-256=:…:");
    Problem::bad_request(header, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    /// The SHA-256 hash of `abc`, from FIPS 180-2.
    const ABC: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

    #[test]
    fn both_headers_are_read_and_the_bytes_are_compared() {
        for (name, value) in [
            ("content-digest", format!("sha-256=:{ABC}:")),
            ("digest", format!("sha-256={ABC}")),
            ("digest", format!("md5=x, SHA-256={ABC}")),
        ] {
            let check = |bytes: &[u8]| {
                let mut checker = Checker::of(&headers(name, &value)).unwrap().unwrap();
                checker.update(bytes);
                checker.check()
            };
            check(b"abc").unwrap();
            assert!(check(b"abd").is_err() && check(b"").is_err());
        }
    }

    #[test]
    fn an_unknown_digest_is_passed_over_and_a_broken_one_refused() {
        assert!(Checker::of(&headers("digest", "crc32c=abc")).unwrap().is_none());
        for broken in ["sha-256=abc", "sha-256=:%:", "sha-256=:AAAA:"] {
            assert!(Checker::of(&headers("content-digest", broken)).is_err(), "{broken}");
        }
    }
}
