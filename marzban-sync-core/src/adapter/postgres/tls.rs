//! TLS clients, one for each degree of trust.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier,
};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::port::error::{StoreError, StoreErrorKind};

fn invalid(message: &str, source: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, message).with_source(source)
}

/// Names its provider, since a process that has two of them (sqlx brings ring) has no default one.
fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, StoreError> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("cannot set up TLS", error))
}

/// Encrypts, whoever the server is.
pub(super) fn trusting() -> Result<ClientConfig, StoreError> {
    with_verifier(None)
}

/// Demands a certificate that an authority of the file signed, for any host.
pub(super) fn verifying_chain(root_cert: &Path) -> Result<ClientConfig, StoreError> {
    with_verifier(Some(roots(root_cert)?))
}

/// Demands a certificate that an authority of the file signed, for the host that was asked for.
pub(super) fn verifying_host(root_cert: &Path) -> Result<ClientConfig, StoreError> {
    Ok(builder()?
        .with_root_certificates(roots(root_cert)?)
        .with_no_client_auth())
}

/// Demands a certificate that the system trusts, for the host that was asked for.
pub(super) fn verifying_by_system() -> Result<ClientConfig, StoreError> {
    let builder = builder()?
        .with_platform_verifier()
        .map_err(|error| invalid("cannot load the certificate authorities of the system", error))?;
    Ok(builder.with_no_client_auth())
}

fn with_verifier(roots: Option<RootCertStore>) -> Result<ClientConfig, StoreError> {
    let verifier = AnyHost {
        roots,
        provider: aws_lc_rs::default_provider(),
    };
    Ok(builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

fn roots(path: &Path) -> Result<RootCertStore, StoreError> {
    const UNREADABLE: &str = "cannot read sslrootcert of the PostgreSQL URL";
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| invalid(UNREADABLE, error))? {
        roots
            .add(certificate.map_err(|error| invalid(UNREADABLE, error))?)
            .map_err(|error| invalid(UNREADABLE, error))?;
    }
    if roots.is_empty() {
        return Err(StoreError::new(
            StoreErrorKind::Invalid,
            "sslrootcert of the PostgreSQL URL holds no certificate",
        ));
    }
    Ok(roots)
}

/// Takes the certificate of any host: one that these roots signed, or any at all.
#[derive(Debug)]
struct AnyHost {
    roots: Option<RootCertStore>,
    provider: CryptoProvider,
}

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
