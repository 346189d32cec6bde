//! How to trust and to be trusted: a target's `tls: { ca, insecure, client }` as a rustls configuration.
//!
//! Built while the plan is read, so that a certificate that does not parse is a problem of the plan.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// What a target says about TLS.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tls {
    /// PEM certificates to trust instead of the public ones.
    pub(crate) ca: Option<Arc<[u8]>>,
    /// Trust whatever certificate comes.
    pub(crate) insecure: bool,
    /// Who we are.
    pub(crate) client: Option<ClientFiles>,
}

/// A client certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub(crate) struct ClientFiles {
    pub(crate) cert: Arc<[u8]>,
    pub(crate) key: Arc<[u8]>,
}

/// What is wrong with a target's certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("`ca` holds no PEM certificate")]
    Ca,
    #[error("`ca` holds a certificate that cannot be trusted")]
    Root(#[source] rustls::Error),
    #[error("`client.cert` holds no PEM certificate")]
    ClientCert,
    #[error("`client.key` holds no PEM private key")]
    ClientKey,
    #[error("`client.cert` and `client.key` do not fit together")]
    Client(#[source] rustls::Error),
}

impl Tls {
    /// A client configuration that offers these protocols.
    pub(crate) fn config(&self, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions");
        let builder = if self.insecure {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(TrustAll(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let certs = certificates(&client.cert).ok_or(TlsError::ClientCert)?;
                let key =
                    PrivateKeyDer::from_pem_slice(&client.key).map_err(|_| TlsError::ClientKey)?;
                builder
                    .with_client_auth_cert(certs, key)
                    .map_err(TlsError::Client)?
            }
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // Virtual users are clients that know nothing of each other: none resumes another's session, or connects would
        // look cheaper than those of real clients.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let Some(pem) = &self.ca else {
            return Ok(RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            });
        };
        let mut store = RootCertStore::empty();
        for certificate in certificates(pem).ok_or(TlsError::Ca)? {
            store.add(certificate).map_err(TlsError::Root)?;
        }
        Ok(store)
    }
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .ok()?;
    (!all.is_empty()).then_some(all)
}

/// Takes any certificate, and still checks that the peer holds its key. Only behind `insecure: true`.
#[derive(Debug)]
struct TrustAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_hold_no_certificate_are_told() {
        let ca = Tls {
            ca: Some(Arc::from(*b"no pem")),
            ..Tls::default()
        };
        assert!(matches!(ca.config(&[]), Err(TlsError::Ca)));
        let client = ClientFiles {
            cert: Arc::from(*b""),
            key: Arc::from(*b""),
        };
        let client = Tls {
            client: Some(client),
            ..Tls::default()
        };
        assert!(matches!(client.config(&[]), Err(TlsError::ClientCert)));
        assert_eq!(
            Tls::default()
                .config(&[b"h2"])
                .expect("public roots")
                .alpn_protocols,
            [b"h2".to_vec()]
        );
    }
}
