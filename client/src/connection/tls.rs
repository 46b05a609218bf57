//! The client's side of TLS: version 1.3 alone, and a server that is recognised by its key.

use crate::attempt_end::AttemptEnd;
use crate::failure::Failure;
use crate::public_key::fingerprint;
use crate::route::Route;
use crate::security::Security;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use std::io;
use std::sync::Arc;
use towline_types::Fingerprint;

/// The client's side of a connection that is to be encrypted.
pub(super) fn begin(route: &Route) -> Result<ClientConnection, AttemptEnd> {
    let provider = Arc::new(default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(no_tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ByKey(provider)))
        .with_no_client_auth();
    let host = route.server().host().to_owned();
    // The name is for a server that has several certificates; nothing is compared with it.
    let name = ServerName::try_from(host).or_else(|_| ServerName::try_from("towline"));
    ClientConnection::new(Arc::new(config), name.map_err(io::Error::other)?).map_err(no_tls)
}

fn no_tls(error: Error) -> AttemptEnd {
    io::Error::other(error).into()
}

/// Checks that the server has the key that it has to have. Until here the client has sent nothing
/// but the handshake.
pub(super) fn check_key(tls: &ClientConnection, route: &Route) -> Result<(), AttemptEnd> {
    let server = route.server().clone();
    let certificate = tls.peer_certificates().and_then(|chain| chain.first());
    let found = certificate.and_then(fingerprint_of);
    let Some(found) = found else {
        return Err(AttemptEnd::protocol("a certificate without a key"));
    };
    Err(match route.security() {
        Security::Key(expected) if expected == found => return Ok(()),
        Security::Key(expected) => Failure::KeyChanged { server, expected, found },
        Security::UnknownKey | Security::Plaintext => Failure::KeyUnknown { server, found },
    }
    .into())
}

fn fingerprint_of(certificate: &CertificateDer<'_>) -> Option<Fingerprint> {
    let certificate = ParsedCertificate::try_from(certificate).ok()?;
    Some(fingerprint(&certificate.subject_public_key_info()))
}

/// Accepts any certificate, and checks that the server has the private key of it. Whether that is
/// the right key, [`check_key`] says.
#[derive(Debug)]
struct ByKey(Arc<CryptoProvider>);

impl ServerCertVerifier for ByKey {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
