//! `connect` and `wait`.

use std::time::Duration;

use tokio::time::Instant;

use crate::harness::Bench;
use crate::servers::{self, Raw};

#[tokio::test]
async fn handshakes_are_made_and_timed() {
    let plain = servers::raw(Raw::Silence(b"")).await;
    let http2 = servers::grpc(Vec::new()).await.address;
    let nobody = servers::nobody().await;
    let targets = format!(
        "web: {{ http: 'http://{plain}/x' }}\nrpc: {{ grpc: {{ reflection: true }}, address: '{http2}' }}"
    );
    let stages = format!(
        r"
- {{ name: web, connect: {{ target: web }} }}
- {{ name: rpc, connect: {{ target: rpc, http2: true }} }}
- {{ name: own, connect: {{ address: '{plain}' }} }}
- {{ name: nobody, connect: {{ address: '{nobody}' }} }}
- {{ name: closed, connect: {{ address: '{}', http2: true }} }}
- {{ name: other, connect: {{ address: '{}', http2: true }} }}
- {{ name: no_tls, connect: {{ address: 'https://{}' }} }}",
        servers::raw(Raw::Answer(b"")).await,
        servers::raw(Raw::Answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await,
        servers::raw(Raw::Answer(b"220 smtp\r\n")).await,
    );
    let bench = Bench::new(&targets, &stages);
    for name in ["web", "rpc", "own"] {
        bench.run(name).await.expect(name);
    }
    assert_eq!(bench.meter.connects.get(), 3);
    assert_eq!(bench.failure("nobody").await, ("refused", None));
    assert_eq!(bench.failure("closed").await.0, "reset");
    assert_eq!(bench.failure("other").await.0, "protocol");
    assert_eq!(bench.failure("no_tls").await, ("protocol", Some("tls")));
}

#[tokio::test(start_paused = true)]
async fn waiting_takes_as_long_as_the_plan_says() {
    let bench = Bench::new(
        "",
        "- { name: for, wait: { for: 3s } }\n- { name: at, wait: { at: 5s } }",
    );
    for (name, seconds) in [("for", 3), ("at", 5)] {
        let start = Instant::now();
        bench.run(name).await.expect("waits");
        assert_eq!(start.elapsed().as_secs(), seconds);
        assert!(start.elapsed() < Duration::from_secs(seconds + 1));
    }
}
