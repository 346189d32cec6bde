//! Calls that only the server's own reflection knows, from a real tonic server.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use prost_reflect::DescriptorPool;
use testmesh_agent::driver::Body;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::server::NamedService;
use tonic_reflection::server::Builder;

use crate::harness::{Bench, PROTO};
use crate::servers::{listen, spawn};

/// Answers every call of the service with the same message.
#[derive(Clone)]
struct Fixed;

impl NamedService for Fixed {
    const NAME: &'static str = "t.S";
}

impl tower::Service<http::Request<tonic::body::Body>> for Fixed {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<tonic::body::Body>) -> Self::Future {
        let trailers = http::HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            http::HeaderValue::from_static("0"),
        )]);
        let body = Full::new(Bytes::from_static(&[0, 0, 0, 0, 2, 0x08, 42]));
        let body = body.with_trailers(ready(Some(Ok(trailers))));
        let response = http::Response::builder().header("content-type", "application/grpc");
        ready(Ok(response
            .body(tonic::body::Body::new(body))
            .expect("a response")))
    }
}

fn descriptors() -> Vec<u8> {
    let file = protox::file::File::from_source("t.proto", PROTO).expect("parses");
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_proto(file.file_descriptor_proto().clone())
        .expect("links");
    pool.encode_to_vec()
}

#[derive(Clone, Copy, PartialEq)]
enum Version {
    One,
    Alpha,
    None,
}

async fn server(version: Version) -> SocketAddr {
    let (listener, address) = listen().await;
    let descriptors = Arc::new(descriptors());
    let reflection = Builder::configure().register_encoded_file_descriptor_set(&descriptors);
    let mut routes = tonic::service::Routes::new(Fixed);
    match version {
        Version::One => routes = routes.add_service(reflection.build_v1().expect("descriptors")),
        Version::Alpha => {
            routes = routes.add_service(reflection.build_v1alpha().expect("descriptors"))
        }
        Version::None => {}
    }
    let server = tonic::transport::Server::builder().add_routes(routes);
    spawn(async move {
        server
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
            .expect("serves")
    });
    address
}

fn bench(address: SocketAddr, call: &str) -> Bench {
    let stages = format!(
        "- {{ name: get, grpc: {{ target: a, address: '{address}', call: {call}, message: {{ id: 1 }} }} }}"
    );
    Bench::new("a: { grpc: { reflection: true } }", &stages)
}

#[tokio::test]
async fn services_are_asked_for_at_the_first_use_of_an_address() {
    for version in [Version::One, Version::Alpha] {
        let bench = bench(server(version).await, "t.S/Get");
        for _ in 0..2 {
            let results = bench.run("get").await.expect("answers");
            let Body::Message(message) = &results.body else {
                panic!("no message")
            };
            let value = message.to_value().expect("decodes");
            assert_eq!(
                value
                    .get("value")
                    .and_then(testmesh_shared::plan::expr::Value::as_i64),
                Some(42)
            );
        }
    }
}

#[tokio::test]
async fn what_reflection_does_not_know_is_a_clear_error() {
    let address = server(Version::One).await;
    assert_eq!(
        bench(address, "t.S/Gett").failure("get").await,
        ("protocol", Some("unknown_method"))
    );
    assert_eq!(
        bench(address, "t.Nobody/Get").failure("get").await,
        ("protocol", Some("no_reflection"))
    );
    let silent = server(Version::None).await;
    assert_eq!(
        bench(silent, "t.S/Get").failure("get").await,
        ("protocol", Some("no_reflection"))
    );
}

#[tokio::test]
async fn a_method_of_another_kind_than_the_plan_takes_it_for_is_a_clear_error() {
    let address = server(Version::One).await;
    let failure = async |call: &str| {
        let stages =
            format!("- {{ name: get, grpc: {{ target: a, address: '{address}', {call} }} }}");
        let bench = Bench::new("a: { grpc: { reflection: true } }", &stages);
        bench.failure("get").await
    };
    let wrong = ("protocol", Some("wrong_kind"));
    assert_eq!(failure("call: t.S/Get, messages: [ {} ]").await, wrong);
    assert_eq!(failure("call: t.S/Rows, messages: [ {} ]").await, wrong);
    assert_eq!(failure("call: t.S/Get, watch: { a: 'true' }").await, wrong);
    let during = "during: [ { name: b, wait: { for: 1s } } ]";
    assert_eq!(failure(&format!("call: t.S/Upload, {during}")).await, wrong);
    let stages = format!(
        "- {{ name: get, grpc: {{ target: a, address: '{address}', call: t.S/Upload, messages: [ {{ id: 1 }}, {{}} ] }} }}"
    );
    let upload = Bench::new("a: { grpc: { reflection: true } }", &stages);
    assert_eq!(upload.run("get").await.expect("answers").status, Some(0));
}

#[tokio::test]
async fn a_descriptor_set_does_as_well_as_its_sources() {
    let address = server(Version::None).await;
    let mut tree = crate::harness::tree();
    tree.0.insert("t.binpb".into(), descriptors());
    let stages = format!(
        "- {{ name: get, grpc: {{ target: a, address: '{address}', call: t.S/Get, message: {{ id: 1 }} }} }}"
    );
    let bench = Bench::with("a: { grpc: { descriptors: t.binpb } }", &stages, &tree);
    assert_eq!(bench.run("get").await.expect("answers").status, Some(0));
}
