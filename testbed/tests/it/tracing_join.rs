//! The server's spans join the caller's trace, over HTTP and over gRPC.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::types::{AMQPValue, FieldTable};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use testmesh_testbed::FIXED_START;
use testmesh_testbed::pandadatastream::StreamDataRequest;
use testmesh_testbed::pandadatastream::data_stream_service_client::DataStreamServiceClient;
use tracing_subscriber::layer::SubscriberExt;

use crate::foreign::{Mongo, Rabbit};
use crate::kit::{Bed, connect, historic, live, next};
use crate::proxy::eventually;

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

/// The spans of this process, from its first test on.
fn collected() -> Collected {
    static COLLECTED: OnceLock<(Collected, SdkTracerProvider)> = OnceLock::new();
    let (collected, _) = COLLECTED.get_or_init(|| {
        let collected = Collected::default();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(collected.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("testbed"));
        let registry = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(registry).unwrap();
        (collected, provider)
    });
    collected.clone()
}

/// The spans of a trace, once there are so many.
async fn of_trace(trace: &str, count: usize) -> Vec<SpanData> {
    let collected = collected();
    eventually("the spans are there", || async {
        let spans = collected.0.lock().unwrap().clone();
        let of_trace = spans
            .into_iter()
            .filter(|span| span.span_context.trace_id().to_string() == trace);
        let joined: Vec<_> = of_trace.collect();
        (joined.len() == count).then_some(joined)
    })
    .await
}

fn attribute(span: &SpanData, name: &str) -> String {
    let found = span
        .attributes
        .iter()
        .find(|pair| pair.key.as_str() == name);
    found.map(|pair| pair.value.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn queries_are_spans_of_their_request() {
    let Some(mongo) = Mongo::fresh("spans").await else {
        return;
    };
    collected();
    mongo.load(&["--to", &(FIXED_START + 200).to_string()]);
    let bed = Bed::start(mongo.config()).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4737";
    let request = bed
        .http
        .post(format!("{}/configure", bed.testbed.url()))
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .body(historic().to_string());
    assert_eq!(request.send().await.unwrap().status(), 200);
    // The request, its two lookups, and the document of its job.
    let spans = of_trace(trace, 4).await;
    let request = spans
        .iter()
        .find(|span| span.name == "POST /configure")
        .unwrap();
    let guid = mongo.guid().await;
    for name in ["find base_paths", &format!("find {guid}"), "update tasks"] {
        let span = spans.iter().find(|span| span.name == name).unwrap();
        assert_eq!(
            span.parent_span_id,
            request.span_context.span_id(),
            "{name}"
        );
        assert_eq!(span.span_kind, opentelemetry::trace::SpanKind::Client);
        assert_eq!(attribute(span, "db.system"), "mongodb");
        assert_eq!(attribute(span, "db.namespace"), mongo.database.name());
    }
    bed.testbed.shutdown().await.unwrap();
    mongo.remove().await;
}

#[tokio::test]
async fn commands_join_their_senders_trace_and_messages_carry_it_on() {
    let Some(rabbit) = Rabbit::fresh("spans").await else {
        return;
    };
    collected();
    let bed = Bed::start(rabbit.config()).await;
    let job = bed.job(&live()).await;
    let commands = rabbit.client().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4738";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let mut headers = FieldTable::default();
    let value = AMQPValue::LongString(parent.clone().into());
    headers.insert("traceparent".into(), value);
    let command = r#"{"type":"ColormapCommand","value":"jet"}"#;
    commands
        .send_with("baby_analyzer.commands.colormap", command, headers)
        .await;
    let spans = of_trace(trace, 1).await;
    let queue = format!("grpc-job-{}-commands", job["job_id"].as_str().unwrap());
    assert_eq!(spans[0].name, format!("process {queue}"));
    assert_eq!(spans[0].parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(spans[0].span_kind, opentelemetry::trace::SpanKind::Consumer);
    assert_eq!(attribute(&spans[0], "messaging.system"), "rabbitmq");
    assert_eq!(attribute(&spans[0], "command"), "ColormapCommand");

    let trace = "4bf92f3577b34da6a3ce929d0e0e4739";
    let mut heard = commands.listen().await;
    let task = serde_json::json!({
        "displayTimeAxisDuration": 10, "nfftSelection": 1024, "canvasInfo": { "height": 200 },
        "sensors": { "min": 0, "max": 9 }, "frequencyRange": { "min": 0, "max": 500 },
        "start_time": null, "end_time": null,
    });
    assert_eq!(bed.post("/config/t1", &task).await.0, 200);
    let request = bed
        .http
        .get(format!("{}/waterfall/t1/10", bed.testbed.url()))
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    request.send().await.unwrap();
    let message = heard.next().await.unwrap().unwrap();
    let spans = of_trace(trace, 2).await;
    let sent = spans
        .iter()
        .find(|span| span.name == "publish focus")
        .unwrap();
    let headers = message.properties.headers().as_ref().unwrap();
    let AMQPValue::LongString(carried) = &headers.inner()["traceparent"] else {
        panic!("{headers:?}");
    };
    let expected = format!("00-{trace}-{}-01", sent.span_context.span_id());
    assert_eq!(carried.to_string(), expected);
    bed.testbed.shutdown().await.unwrap();
    rabbit.remove().await;
}

#[tokio::test]
async fn spans_join_the_callers_trace() {
    collected();
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

    let joined = of_trace(trace, 2).await;
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
