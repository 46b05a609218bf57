//! The key by which clients recognise the server, and the certificate for it.

use super::receipt_key::ReceiptKey;
use crate::secret_file;
use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use towline_engine::storage::PathError;
use towline_types::Fingerprint;

/// The files of an operator's own certificate, both in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why the server has no key or certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// What the system says.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The file has no certificate or no key that TLS can use.
    #[error("{}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no random numbers.
    #[error("no TLS key could be made")]
    NotMade,
}

/// The key and the certificate, ready for connections.
pub(crate) struct TlsIdentity {
    /// The folder with the server's own keys.
    keys: PathBuf,
    files: Option<TlsFiles>,
    /// The key and certificate of new connections. Open connections keep those that they have.
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    config: Arc<ServerConfig>,
    fingerprint: Fingerprint,
    receipt_key: Arc<ReceiptKey>,
}

/// The file of the key and certificate that the server makes itself, in PEM.
const FILE: &str = "tls.pem";

/// The name in the certificate that the server makes itself. Clients compare the key, and not this
/// name.
const NAME: &str = "towline";

impl TlsIdentity {
    /// The operator's certificate; where there is none, the server's own, which is made on first
    /// use and kept in that folder. Blocks.
    ///
    /// # Errors
    /// Where it can be neither read nor made.
    pub(crate) fn open(keys: PathBuf, files: Option<TlsFiles>) -> Result<Self, TlsError> {
        let current = RwLock::new(Current::read(&keys, files.as_ref())?);
        Ok(Self { keys, files, current })
    }

    /// The fingerprint of the certificate that [`open`](Self::open) would take; `None` where the
    /// server would make one. Nothing is made. Blocks.
    ///
    /// # Errors
    /// Where it cannot be used.
    pub(crate) fn look(
        keys: &Path,
        files: Option<&TlsFiles>,
    ) -> Result<Option<Fingerprint>, TlsError> {
        if files.is_none() && !keys.join(FILE).exists() {
            return Ok(None);
        }
        Current::read(keys, files).map(|current| Some(current.fingerprint))
    }

    /// Reads the files again, because a certificate was renewed. Where they cannot be used, the key
    /// and certificate stay as they were. Blocks.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let renewed = Current::read(&self.keys, self.files.as_ref())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    /// The fingerprint by which clients recognise the server.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.current().fingerprint
    }

    /// The same key, for receipts.
    pub(crate) fn receipt_key(&self) -> Arc<ReceiptKey> {
        self.current().receipt_key
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.current().config
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Current {
    fn read(keys: &Path, files: Option<&TlsFiles>) -> Result<Self, TlsError> {
        if let Some(TlsFiles { certificate, key }) = files {
            let chain = read(certificate)?;
            return Self::of((certificate, &chain), (key, &read(key)?));
        }
        let path = keys.join(FILE);
        let pem = match secret_file::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                secret_file::make(keys, &path, made()?.as_bytes())?
            }
            read => read.map_err(not_read(&path))?,
        };
        Self::of((&path, &pem), (&path, &pem))
    }

    fn of(chain: (&Path, &[u8]), key: (&Path, &[u8])) -> Result<Self, TlsError> {
        let (path, pem) = chain;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(path, &error))?;
        if chain.is_empty() {
            return Err(unusable(path, &"there is no certificate in it"));
        }
        let (path, pem) = key;
        let key = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|_| unusable(path, &"there is no private key in it"))?;
        let provider = Arc::new(default_provider());
        let certified = CertifiedKey::from_der(chain, key, &provider)
            .map_err(|error| unusable(path, &error))?;
        let public_key = certified.key.public_key();
        let public_key =
            public_key.ok_or_else(|| unusable(path, &"its public key is not known"))?;
        let digest = digest(&SHA256, &public_key);
        let digest = digest.as_ref().try_into().map_err(|_| TlsError::NotMade)?;
        let receipt_key = ReceiptKey::of(&certified.key, public_key.to_vec())
            .ok_or_else(|| unusable(path, &"a key of its kind signs no receipts"))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| unusable(path, &error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        // No session tickets: a connection lasts long, so a shorter handshake of the next one gains
        // nothing.
        config.send_tls13_tickets = 0;
        Ok(Self {
            config: Arc::new(config),
            fingerprint: Fingerprint::from_bytes(digest),
            receipt_key: Arc::new(receipt_key),
        })
    }
}

/// A new key, and a certificate for it that does not expire: clients compare the key alone.
fn made() -> Result<String, TlsError> {
    let not_made = |_| TlsError::NotMade;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(not_made)?;
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).map_err(not_made)?;
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    let certificate = params.self_signed(&key).map_err(not_made)?;
    Ok(key.serialize_pem() + &certificate.pem())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    secret_file::read_of_operator(path).map_err(not_read(path))
}

fn not_read(path: &Path) -> impl FnOnce(io::Error) -> TlsError {
    PathError::of("read", path)
}

fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unusable { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn open(keys: &Path, files: Option<TlsFiles>) -> Result<TlsIdentity, TlsError> {
        TlsIdentity::open(keys.to_owned(), files)
    }

    #[test]
    fn a_renewed_key_is_read_again_and_a_broken_one_changes_nothing() {
        let (keys, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let identity = open(keys.path(), None).unwrap();
        let old = identity.fingerprint();
        let path = keys.path().join(FILE);
        fs::write(&path, "half a file").unwrap();
        assert!(identity.reload().is_err());
        assert_eq!(identity.fingerprint(), old);
        let new = open(others.path(), None).unwrap().fingerprint();
        fs::copy(others.path().join(FILE), &path).unwrap();
        identity.reload().unwrap();
        assert_eq!(identity.fingerprint(), new);
    }

    #[test]
    fn the_key_is_made_once_and_is_for_the_owner_alone() {
        let keys = tempfile::tempdir().unwrap();
        let first = open(keys.path(), None).unwrap().fingerprint();
        assert_eq!(open(keys.path(), None).unwrap().fingerprint(), first);
        let path = keys.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(path).unwrap();
        assert_ne!(open(keys.path(), None).unwrap().fingerprint(), first);
    }

    #[test]
    fn an_operators_files_are_taken_and_others_are_named() {
        let keys = tempfile::tempdir().unwrap();
        let own = open(keys.path(), None).unwrap().fingerprint();
        let pem = keys.path().join(FILE);
        let files = |certificate: &Path, key: &Path| {
            let files = TlsFiles { certificate: certificate.to_owned(), key: key.to_owned() };
            open(keys.path(), Some(files))
        };
        assert_eq!(files(&pem, &pem).unwrap().fingerprint(), own);
        let empty = keys.path().join("empty.pem");
        fs::write(&empty, "nothing").unwrap();
        for (certificate, key, named) in [
            (&empty, &pem, &empty),
            (&pem, &empty, &empty),
            (&keys.path().join("x"), &pem, &keys.path().join("x")),
        ] {
            let error = files(certificate, key).map(|one| one.fingerprint()).unwrap_err();
            assert!(error.to_string().contains(&named.display().to_string()), "{error}");
        }
        let others = tempfile::tempdir().unwrap();
        open(others.path(), None).unwrap();
        assert!(files(&pem, &others.path().join(FILE)).is_err(), "the key of another certificate");
    }
}
