//! What a client says of the bytes of its request: `Content-Digest` (RFC 9530), the older `Digest`
//! (RFC 3230), and `Upload-Checksum` of tus, which may also come behind the bytes.

use super::problem::Problem;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use towline_types::Sha256Hash;

/// Hashes the bytes of a request while they come, and compares the hash with what was said.
pub(super) struct Checker {
    /// One hash, or where the digest comes behind the bytes, all that it may be.
    hashings: Vec<(Algorithm, Hashing)>,
    /// What was said before the bytes came.
    expected: Option<Expected>,
    /// The header that says it.
    header: &'static str,
    /// The answer where the bytes are other ones.
    mismatch: StatusCode,
}

enum Hashing {
    Sha(Box<Context>),
    Blake3(Box<blake3::Hasher>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
    Blake3,
}

/// A digest that a client says.
struct Expected {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

/// The header of tus.
const UPLOAD_CHECKSUM: &str = "upload-checksum";

/// The algorithms of tus, as they are told to clients.
pub(super) const TUS_ALGORITHMS: &str = "sha1,sha256,blake3";

/// The status of tus for bytes that are other ones.
const CHECKSUM_MISMATCH: u16 = 460;

impl Algorithm {
    const OF_TUS: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Blake3];

    /// The algorithm of that word of RFC 9530. SHA-1 is none of those.
    fn of_header(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "sha-256" => Self::Sha256,
            "sha-512" => Self::Sha512,
            "blake3" => Self::Blake3,
            _ => return None,
        })
    }

    fn of_tus(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "sha1" => Self::Sha1,
            "sha256" => Self::Sha256,
            "blake3" => Self::Blake3,
            _ => return None,
        })
    }

    const fn length_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha512 => 64,
        }
    }

    fn hashing(self) -> Hashing {
        let sha = |algorithm| Hashing::Sha(Box::new(Context::new(algorithm)));
        match self {
            Self::Sha1 => sha(&SHA1_FOR_LEGACY_USE_ONLY),
            Self::Sha256 => sha(&SHA256),
            Self::Sha512 => sha(&SHA512),
            Self::Blake3 => Hashing::Blake3(Box::default()),
        }
    }

    fn expected(self, text: &str, header: &'static str) -> Result<Expected, Problem> {
        let bytes = STANDARD.decode(text).map_err(|_| unreadable(header))?;
        match bytes.len() == self.length_bytes() {
            true => Ok(Expected { algorithm: self, bytes }),
            false => Err(unreadable(header)),
        }
    }
}

/// The SHA-256 hash that the whole file must have, as `Repr-Digest` (RFC 9530) says it.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn of_whole(headers: &HeaderMap) -> Result<Option<Sha256Hash>, Problem> {
    const HEADER: &str = "repr-digest";
    for value in headers.get_all(HEADER) {
        let text = value.to_str().map_err(|_| unreadable(HEADER))?;
        for item in text.split(',') {
            let Some((name, value)) = item.trim().split_once('=') else { continue };
            if Algorithm::of_header(name.trim()) == Some(Algorithm::Sha256) {
                let expected =
                    Algorithm::Sha256.expected(value.trim().trim_matches(':'), HEADER)?;
                let bytes = expected.bytes.try_into().map_err(|_| unreadable(HEADER))?;
                return Ok(Some(Sha256Hash::from_bytes(bytes)));
            }
        }
    }
    Ok(None)
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
                    let Some(algorithm) = Algorithm::of_header(name.trim()) else { continue };
                    let expected = algorithm.expected(bytes_of(value), header)?;
                    return Ok(Some(Self::new(expected, header, StatusCode::BAD_REQUEST)));
                }
            }
        }
        Ok(None)
    }

    /// The check that a request of tus asks for.
    ///
    /// # Errors
    /// Where the checksum cannot be read, or is of a kind that is not known.
    pub(super) fn of_tus(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mismatch = StatusCode::from_u16(CHECKSUM_MISMATCH).unwrap_or(StatusCode::BAD_REQUEST);
        if let Some(value) = headers.get(UPLOAD_CHECKSUM) {
            return Ok(Some(Self::new(tus_checksum(value)?, UPLOAD_CHECKSUM, mismatch)));
        }
        let trailers = headers.get_all(header::TRAILER).iter().filter_map(|one| one.to_str().ok());
        let mut names = trailers.flat_map(|list| list.split(','));
        let comes_behind = names.any(|name| name.trim().eq_ignore_ascii_case(UPLOAD_CHECKSUM));
        Ok(comes_behind.then(|| Self {
            hashings: Algorithm::OF_TUS.map(|one| (one, one.hashing())).into(),
            expected: None,
            header: UPLOAD_CHECKSUM,
            mismatch,
        }))
    }

    fn new(expected: Expected, header: &'static str, mismatch: StatusCode) -> Self {
        let hashings = vec![(expected.algorithm, expected.algorithm.hashing())];
        Self { hashings, expected: Some(expected), header, mismatch }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        for (_, hashing) in &mut self.hashings {
            match hashing {
                Hashing::Sha(context) => context.update(bytes),
                Hashing::Blake3(hasher) => {
                    hasher.update(bytes);
                }
            }
        }
    }

    /// Compares, with what the trailers say where nothing was said before.
    ///
    /// # Errors
    /// Where the bytes are other ones, or it was never said which ones they are.
    pub(super) fn check(self, trailers: Option<&HeaderMap>) -> Result<(), Problem> {
        let Expected { algorithm, bytes } = match self.expected {
            Some(expected) => expected,
            None => {
                let value = trailers.and_then(|trailers| trailers.get(self.header));
                tus_checksum(value.ok_or_else(|| unreadable(self.header))?)?
            }
        };
        let of_kind = self.hashings.into_iter().find(|(one, _)| *one == algorithm);
        let is_equal = match of_kind {
            Some((_, Hashing::Sha(context))) => context.finish().as_ref() == bytes,
            Some((_, Hashing::Blake3(hasher))) => hasher.finalize().as_bytes()[..] == bytes,
            None => false,
        };
        if is_equal {
            return Ok(());
        }
        let message = format!(
            "the bytes that came are not those that {} speaks of; none of them is kept, send them \
             again",
            self.header
        );
        Err(Problem::new(self.mismatch, "digest_mismatch", message))
    }
}

/// The bytes of an item of a structured field, which stand between colons; parameters behind them
/// say nothing here.
fn bytes_of(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim().trim_matches(':')
}

/// `sha1 BASE64`.
fn tus_checksum(value: &HeaderValue) -> Result<Expected, Problem> {
    let text = value.to_str().map_err(|_| unreadable(UPLOAD_CHECKSUM))?;
    let (word, digest) = text.trim().split_once(' ').ok_or_else(|| unreadable(UPLOAD_CHECKSUM))?;
    let algorithm = Algorithm::of_tus(word).ok_or_else(|| {
        let message = format!("Upload-Checksum: this server knows {TUS_ALGORITHMS}");
        Problem::bad_request("Upload-Checksum", message)
    })?;
    algorithm.expected(digest.trim(), UPLOAD_CHECKSUM)
}

fn unreadable(header: &'static str) -> Problem {
    let message = format!("{header}: a digest in base64 was expected");
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

    /// Its SHA-1 hash, from there as well.
    const ABC_SHA1: &str = "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=";

    fn outcome(checker: Checker, bytes: &[u8], trailers: Option<&HeaderMap>) -> Result<(), u16> {
        let mut checker = checker;
        checker.update(bytes);
        checker.check(trailers).map_err(|problem| problem.status())
    }

    #[test]
    fn the_headers_are_read_and_the_bytes_are_compared() {
        for (name, value) in [
            ("content-digest", format!("sha-256=:{ABC}:")),
            ("digest", format!("sha-256={ABC}")),
            ("content-digest", format!("sha-256=:{ABC}:;x=1")),
            ("digest", format!("md5=x, SHA-256={ABC}")),
        ] {
            let checker = || Checker::of(&headers(name, &value)).unwrap().unwrap();
            assert_eq!(outcome(checker(), b"abc", None), Ok(()));
            assert_eq!(outcome(checker(), b"abd", None), Err(400));
            assert_eq!(outcome(checker(), b"", None), Err(400));
        }
    }

    #[test]
    fn an_unknown_digest_is_passed_over_and_a_broken_one_refused() {
        assert!(Checker::of(&headers("digest", "crc32c=abc")).unwrap().is_none());
        for broken in ["sha-256=abc", "sha-256=:%:", "sha-256=:AAAA:"] {
            assert!(Checker::of(&headers("content-digest", broken)).is_err(), "{broken}");
        }
    }

    #[test]
    fn the_checksum_of_tus_comes_before_the_bytes_or_behind_them() {
        let value = format!("sha1 {ABC_SHA1}");
        let before = headers("upload-checksum", &value);
        let checker = || Checker::of_tus(&before).unwrap().unwrap();
        assert_eq!(outcome(checker(), b"abc", None), Ok(()));
        assert_eq!(outcome(checker(), b"abd", None), Err(460));
        let behind = || Checker::of_tus(&headers("trailer", "Upload-Checksum")).unwrap().unwrap();
        assert_eq!(outcome(behind(), b"abc", Some(&before)), Ok(()));
        assert_eq!(outcome(behind(), b"abd", Some(&before)), Err(460));
        let sha256 = headers("upload-checksum", &format!("sha256 {ABC}"));
        assert_eq!(outcome(behind(), b"abc", Some(&sha256)), Ok(()));
        assert_eq!(outcome(behind(), b"abc", None), Err(400));
        for broken in ["md5 AAAA", "sha1", "sha1 AAAA"] {
            assert!(Checker::of_tus(&headers("upload-checksum", broken)).is_err(), "{broken}");
        }
        assert!(Checker::of_tus(&headers("trailer", "Expires")).unwrap().is_none());
    }
}
