//! The server's spans join the caller's trace, over HTTP and over gRPC.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use testmesh_testbed::pandadatastream::StreamDataRequest;
use testmesh_testbed::pandadatastream::data_stream_service_client::DataStreamServiceClient;
use tokio::time::{Instant, sleep};
use tracing_subscriber::layer::SubscriberExt;

use crate::kit::{Bed, PATIENCE, connect, historic, next};

#[derive(Debug, Default, Clone)]
struct Collected(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Collected {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[tokio::test]
async fn spans_join_the_callers_trace() {
    let collected = Collected::default();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(collected.clone())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("testbed"));
    // Every test runs in a process of its own, or at least does not mind the spans of others.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
    let bed = Bed::quick().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");

    let url = format!("{}/ack", bed.testbed.url());
    bed.http
        .get(url)
        .header("traceparent", &parent)
        .send()
        .await
        .unwrap();
    let job = bed.job(&historic()).await;
    let mut request = tonic::Request::new(StreamDataRequest { stream_id: 1 });
    request
        .metadata_mut()
        .insert("traceparent", parent.parse().unwrap());
    let mut client = DataStreamServiceClient::new(connect(&job).await);
    let mut stream = client.stream_data(request).await.unwrap().into_inner();
    while next(&mut stream).await.unwrap().is_some() {}

    let start = Instant::now();
    let joined = loop {
        let spans = collected.0.lock().unwrap().clone();
        let of_trace = spans
            .into_iter()
            .filter(|span| span.span_context.trace_id().to_string() == trace);
        let joined: Vec<_> = of_trace.collect();
        if joined.len() == 2 {
            break joined;
        }
        assert!(start.elapsed() < PATIENCE, "{joined:?}");
        sleep(Duration::from_millis(10)).await;
    };
    let mut names: Vec<_> = joined.iter().map(|span| span.name.to_string()).collect();
    names.sort();
    assert_eq!(
        names,
        ["GET /ack", "pandadatastream.DataStreamService/StreamData"]
    );
    for span in &joined {
        assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
        assert_eq!(span.span_kind, opentelemetry::trace::SpanKind::Server);
    }
    let rows = joined
        .iter()
        .flat_map(|span| &span.attributes)
        .find(|pair| pair.key.as_str() == "rows")
        .unwrap();
    assert_eq!(rows.value, opentelemetry::Value::I64(120));
}
