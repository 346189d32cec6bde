//! TLS: own authorities, no authority, client certificates, for both protocols.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use crate::harness::{Bench, Tree, tree};
use crate::servers::{listen, spawn};

/// An authority, and what it vouches for.
pub(crate) struct Pki {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
            .expect("an authority");
        Self { ca }
    }

    fn issue(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params =
            CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).expect("names");
        (
            params.signed_by(&key, &self.ca).expect("a certificate"),
            key,
        )
    }

    pub(crate) fn files(&self) -> Tree {
        let (cert, key) = self.issue();
        let mut tree = tree();
        tree.0.insert("ca.pem".into(), self.ca.pem().into_bytes());
        tree.0.insert("client.pem".into(), cert.pem().into_bytes());
        tree.0
            .insert("client.key".into(), key.serialize_pem().into_bytes());
        tree
    }

    /// A server's end of TLS, which asks for a client's certificate if `strict`.
    pub(crate) fn acceptor(&self, strict: bool) -> TlsAcceptor {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (cert, key) = self.issue();
        let builder = rustls::ServerConfig::builder();
        let builder = if strict {
            let mut roots = RootCertStore::empty();
            roots.add(self.ca.der().clone()).expect("an authority");
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder(Arc::new(roots))
                    .build()
                    .expect("a verifier"),
            )
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let config = builder
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a pair");
        TlsAcceptor::from(Arc::new(config))
    }

    /// An HTTP/1.1 server over TLS, that asks for a client's certificate if `strict`.
    async fn server(&self, strict: bool) -> SocketAddr {
        let acceptor = self.acceptor(strict);
        let (listener, address) = listen().await;
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let _ = stream.read(&mut [0; 1024]).await;
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                        .await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        address
    }
}

const STAGES: &str = r"
- { name: get, http: { target: a, get: / } }
- { name: connect, connect: { target: a } }";

fn bench(address: SocketAddr, tls: &str, files: &Tree) -> Bench {
    Bench::with(
        &format!("a: {{ http: 'https://{address}'{tls} }}"),
        STAGES,
        files,
    )
}

#[tokio::test]
async fn servers_are_trusted_as_the_target_says() {
    let pki = Pki::new();
    let (address, files) = (pki.server(false).await, pki.files());
    assert_eq!(
        bench(address, "", &files).failure("get").await,
        ("protocol", Some("tls"))
    );
    assert_eq!(
        bench(address, "", &files).failure("connect").await,
        ("protocol", Some("tls"))
    );
    for tls in [", tls: { ca: ca.pem }", ", tls: { insecure: true }"] {
        let bench = bench(address, tls, &files);
        assert_eq!(bench.run("get").await.expect("answers").status, Some(200));
        bench.run("connect").await.expect("connects");
    }
    let other = Pki::new().files();
    assert_eq!(
        bench(address, ", tls: { ca: ca.pem }", &other)
            .failure("get")
            .await,
        ("protocol", Some("tls"))
    );
}

#[tokio::test]
async fn clients_show_who_they_are() {
    let pki = Pki::new();
    let (address, files) = (pki.server(true).await, pki.files());
    let known = ", tls: { ca: ca.pem, client: { cert: client.pem, key: client.key } }";
    assert_eq!(
        bench(address, known, &files)
            .run("get")
            .await
            .expect("answers")
            .status,
        Some(200)
    );
    let kind = bench(address, ", tls: { ca: ca.pem }", &files)
        .failure("get")
        .await
        .0;
    assert!(kind == "protocol" || kind == "reset", "{kind}");
}

#[tokio::test]
async fn grpc_over_tls_needs_http2() {
    let pki = Pki::new();
    let (address, files) = (pki.server(false).await, pki.files());
    let stages = format!(
        "- {{ name: get, grpc: {{ target: a, address: 'https://{address}', call: t.S/Get }} }}"
    );
    let bench = Bench::with(
        "a: { grpc: { protos: [protos/t.proto] }, tls: { insecure: true } }",
        &stages,
        &files,
    );
    assert_eq!(bench.failure("get").await, ("protocol", Some("no_http2")));
}
