//! Where finished spans go: a bounded queue, and one task that exports from it over OTLP. Handing a span over never waits;
//! what does not fit, and what the collector does not take, is counted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::shutdown::Tasks;

/// Spans that wait for export, unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise: a few seconds of a busy agent.
const QUEUE_LEN: usize = 8_192;
/// Spans of one export, unless `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` says otherwise.
const BATCH_LEN: usize = 512;
/// How long spans gather before an export, unless `OTEL_BSP_SCHEDULE_DELAY` says otherwise.
const GATHER: Duration = Duration::from_secs(1);
/// How long one export may take, unless `OTEL_BSP_EXPORT_TIMEOUT` says otherwise.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no sink although one is configured.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The standard variables name an endpoint, headers or a protocol that cannot be.
    #[error("failed to set up the export of traces; see the OTEL_EXPORTER_OTLP_ variables")]
    Exporter {
        /// What the exporter says.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// The standard variables name a protocol that this build does not speak.
    #[error("{variable} asks for `{protocol}`, but traces are exported over `grpc` only")]
    Protocol {
        /// Which variable.
        variable: &'static str,
        /// What it says.
        protocol: String,
    },
}

/// Takes the finished spans of one service. Clones share a queue.
#[derive(Clone)]
pub struct SpanSink {
    spans: mpsc::Sender<SpanData>,
    flushes: mpsc::Sender<oneshot::Sender<()>>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl SpanSink {
    /// The sink that the standard OTLP variables ask for, or none if they ask for nothing. Called within a runtime.
    ///
    /// # Errors
    /// [`SinkError`] if what they ask for cannot be.
    pub fn from_env(service: &str, tasks: &Tasks) -> Result<Option<Self>, SinkError> {
        if !is_configured(|name| std::env::var(name).ok()) {
            return Ok(None);
        }
        check_protocol(|name| std::env::var(name).ok())?;
        let exporter = OtlpExporter::builder().with_tonic().build();
        exporter
            .map(|exporter| Some(Self::start(exporter, service, tasks)))
            .map_err(|source| SinkError::Exporter { source })
    }

    /// A sink that exports to this endpoint, whatever the variables say. Called within a runtime.
    ///
    /// # Errors
    /// [`SinkError`] if the endpoint is no URL.
    pub fn to_endpoint(endpoint: &str, service: &str, tasks: &Tasks) -> Result<Self, SinkError> {
        let exporter = OtlpExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build();
        exporter
            .map(|exporter| Self::start(exporter, service, tasks))
            .map_err(|source| SinkError::Exporter { source })
    }

    fn start<E: SpanExporter + 'static>(mut exporter: E, service: &str, tasks: &Tasks) -> Self {
        exporter.set_resource(&resource(service));
        let limits = Limits::from(|name| std::env::var(name).ok());
        let (spans, queue) = mpsc::channel(limits.queue_len);
        let (flushes, asked) = mpsc::channel(8);
        let counters = Arc::new(Counters::default());
        let worker = Worker {
            exporter,
            queue,
            limits,
            counters: Arc::clone(&counters),
            failing: false,
        };
        // It ends with the last clone of the sink, after the tasks whose spans it exports: nobody waits for it but `flush`.
        tasks.spawn_detached("span-export", worker.run(asked));
        Self {
            spans,
            flushes,
            counters,
        }
    }

    /// Hands a finished span over; drops and counts it if the queue is full.
    pub fn export(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many spans were lost so far: the queue was full, or the collector did not take them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counters.dropped.load(Ordering::Relaxed)
    }

    /// How many spans the collector took so far.
    #[must_use]
    pub fn exported(&self) -> u64 {
        self.counters.exported.load(Ordering::Relaxed)
    }

    /// Exports what is queued, for at most `within`. Returns whether all of it was tried.
    pub async fn flush(&self, within: Duration) -> bool {
        let flushed = async {
            let (done, told) = oneshot::channel();
            self.flushes.send(done).await.is_ok() && told.await.is_ok()
        };
        tokio::time::timeout(within, flushed).await.unwrap_or(false)
    }
}

impl fmt::Debug for SpanSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanSink")
            .field("exported", &self.exported())
            .field("dropped", &self.dropped())
            .finish()
    }
}

/// `tracing` spans go the same way as all others. Flushing and ending are the sink's, which do not block a thread.
impl SpanProcessor for SpanSink {
    fn on_start(&self, _span: &mut Span, _context: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.export(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The queue's other end.
struct Worker<E> {
    exporter: E,
    queue: mpsc::Receiver<SpanData>,
    limits: Limits,
    counters: Arc<Counters>,
    failing: bool,
}

enum Woken {
    Spans(usize),
    Flush(oneshot::Sender<()>),
    Gathered,
}

impl<E: SpanExporter> Worker<E> {
    async fn run(mut self, mut asked: mpsc::Receiver<oneshot::Sender<()>>) {
        let mut batch = Vec::with_capacity(self.limits.batch_len);
        let mut due = Instant::now();
        loop {
            let room = self.limits.batch_len - batch.len();
            let woken = tokio::select! {
                biased;
                Some(done) = asked.recv() => Woken::Flush(done),
                count = self.queue.recv_many(&mut batch, room) => Woken::Spans(count),
                () = tokio::time::sleep_until(due), if !batch.is_empty() => Woken::Gathered,
            };
            match woken {
                Woken::Spans(0) => return self.export(&mut batch).await,
                Woken::Spans(count) if count == batch.len() => {
                    due = Instant::now() + self.limits.gather
                }
                Woken::Spans(_) => {}
                Woken::Gathered => self.export(&mut batch).await,
                Woken::Flush(done) => {
                    self.drain(&mut batch).await;
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(());
                }
            }
            if batch.len() == self.limits.batch_len {
                self.export(&mut batch).await;
            }
        }
    }

    /// Exports what is in the queue now, and nothing that comes meanwhile, so that it ends.
    async fn drain(&mut self, batch: &mut Vec<SpanData>) {
        let mut left = self.queue.len();
        while left > 0 {
            let room = (self.limits.batch_len - batch.len()).min(left);
            left -= self.queue.recv_many(batch, room).await;
            self.export(batch).await;
        }
        self.export(batch).await;
    }

    async fn export(&mut self, batch: &mut Vec<SpanData>) {
        if batch.is_empty() {
            return;
        }
        let spans = std::mem::replace(batch, Vec::with_capacity(self.limits.batch_len));
        let count = spans.len() as u64;
        let exported =
            tokio::time::timeout(self.limits.export_timeout, self.exporter.export(spans)).await;
        if matches!(exported, Ok(Ok(()))) {
            self.counters.exported.fetch_add(count, Ordering::Relaxed);
            self.failing = false;
            return;
        }
        self.counters.dropped.fetch_add(count, Ordering::Relaxed);
        // Once per outage: the counter tells the rest.
        if !std::mem::replace(&mut self.failing, true) {
            let error = exported.map_or_else(
                |_| "timed out".to_owned(),
                |sent| sent.err().map(|e| e.to_string()).unwrap_or_default(),
            );
            tracing::warn!(
                error,
                spans = count,
                "the trace collector did not take spans"
            );
        }
    }
}

/// How much waits, and for how long.
#[derive(Debug, Clone, Copy)]
struct Limits {
    queue_len: usize,
    batch_len: usize,
    gather: Duration,
    export_timeout: Duration,
}

impl Limits {
    fn from(var: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| var(name)?.trim().parse::<u32>().ok().filter(|n| *n > 0);
        let millis = |name: &str, otherwise: Duration| {
            number(name).map_or(otherwise, |ms| Duration::from_millis(ms.into()))
        };
        let count = |name: &str, otherwise: usize| {
            number(name).map_or(otherwise, |n| n.min(1 << 20) as usize)
        };
        let queue_len = count("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_LEN);
        Self {
            queue_len,
            batch_len: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH_LEN).min(queue_len),
            gather: millis("OTEL_BSP_SCHEDULE_DELAY", GATHER),
            export_timeout: millis("OTEL_BSP_EXPORT_TIMEOUT", EXPORT_TIMEOUT),
        }
    }
}

/// Whether the standard variables ask for an export of traces.
fn is_configured(var: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| var(name).filter(|value| !value.trim().is_empty());
    let off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
    let endpoints = [
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ];
    !off && endpoints.into_iter().any(|name| set(name).is_some())
}

/// Refuses protocols other than gRPC, which the exporter would ignore: spans would go where nobody takes them. The variable
/// for traces wins over the one for all signals.
fn check_protocol(var: impl Fn(&str) -> Option<String>) -> Result<(), SinkError> {
    let variables = [
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ];
    let said = variables.into_iter().find_map(|variable| {
        let protocol = var(variable).map(|value| value.trim().to_owned());
        Some((variable, protocol.filter(|value| !value.is_empty())?))
    });
    match said {
        Some((variable, protocol)) if protocol != "grpc" => {
            Err(SinkError::Protocol { variable, protocol })
        }
        _ => Ok(()),
    }
}

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win over the name that the code gives.
fn resource(service: &str) -> Resource {
    let found = Resource::builder().build();
    let key = opentelemetry::Key::from_static_str("service.name");
    let named = found
        .get(&key)
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let builder = Resource::builder();
    if named {
        builder.build()
    } else {
        builder.with_service_name(service.to_owned()).build()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::{SpanKind, Status};
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
        TraceService, TraceServiceServer,
    };
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
    };
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
    use tonic::transport::server::TcpIncoming;

    use super::*;
    use crate::clock::TimeAnchor;
    use crate::rng::SeedTree;
    use crate::shutdown::Shutdown;
    use crate::telemetry::Traceparent;
    use crate::telemetry::traceparent::Origin;

    /// A collector that takes everything.
    #[derive(Debug, Clone, Default)]
    struct Taker(Arc<AtomicU64>);

    impl SpanExporter for Taker {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            assert!(batch.len() <= BATCH_LEN);
            self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
            Ok(())
        }
    }

    fn span(name: &'static str) -> SpanData {
        let at = TimeAnchor::now().system_time(Instant::now());
        SpanData {
            span_context: Traceparent::root(&mut SeedTree::new(1).rng(), true)
                .span_context(Origin::Local),
            parent_span_id: opentelemetry::SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: Cow::Borrowed(name),
            start_time: at,
            end_time: at,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("test").build(),
        }
    }

    fn vars(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| {
            pairs
                .iter()
                .find(|(other, _)| *other == name)
                .map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn nothing_is_exported_unless_asked_for() {
        assert!(!is_configured(vars(&[])));
        assert!(!is_configured(vars(&[(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            " "
        )])));
        assert!(is_configured(vars(&[(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://c:4317"
        )])));
        assert!(is_configured(vars(&[(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://c:4317"
        )])));
        assert!(!is_configured(vars(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
            ("OTEL_SDK_DISABLED", "TRUE")
        ])));
        assert!(!is_configured(vars(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
            ("OTEL_TRACES_EXPORTER", "none")
        ])));
    }

    #[test]
    fn protocols_other_than_grpc_are_refused_by_name() {
        let check = |pairs| check_protocol(vars(pairs)).map_err(|error| error.to_string());
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("OTEL_EXPORTER_OTLP_PROTOCOL", " grpc ")]), Ok(()));
        assert_eq!(
            check(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]),
            Err("OTEL_EXPORTER_OTLP_PROTOCOL asks for `http/protobuf`, but traces are exported over `grpc` only".to_owned())
        );
        let both = &[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ];
        assert_eq!(check(both), Ok(()));
    }

    #[test]
    fn limits_come_from_the_standard_variables() {
        let limits = Limits::from(vars(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "7"),
            ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ]));
        assert_eq!(
            (limits.queue_len, limits.batch_len, limits.gather),
            (7, 7, GATHER)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn spans_are_exported_after_they_gathered() {
        let tasks = Tasks::new(Shutdown::new());
        let exporter = Taker::default();
        let sink = SpanSink::start(exporter.clone(), "test", &tasks);
        for _ in 0..3 {
            sink.export(span("a"));
        }
        tokio::time::sleep(GATHER * 2).await;
        assert_eq!((sink.exported(), sink.dropped()), (3, 0));
        sink.export(span("b"));
        assert!(sink.flush(Duration::from_secs(1)).await);
        assert_eq!(sink.exported(), 4);
        assert_eq!(exporter.0.load(Ordering::Relaxed), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_counted_and_costs_no_time() {
        let tasks = Tasks::new(Shutdown::new());
        let sink = SpanSink::start(Taker::default(), "test", &tasks);
        for _ in 0..QUEUE_LEN + 10 {
            sink.export(span("a"));
        }
        assert_eq!(sink.dropped(), 10);
        assert!(sink.flush(Duration::from_secs(1)).await);
        assert_eq!(sink.exported(), QUEUE_LEN as u64);
    }

    /// A collector in a few lines: it hands on what it was sent.
    struct Collector(mpsc::Sender<ExportTraceServiceRequest>);

    #[tonic::async_trait]
    impl TraceService for Collector {
        async fn export(
            &self,
            request: tonic::Request<ExportTraceServiceRequest>,
        ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
            self.0.send(request.into_inner()).await.unwrap();
            Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
        }
    }

    #[tokio::test]
    async fn a_collector_sees_spans_by_their_service() {
        let tasks = Tasks::new(Shutdown::new());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, mut requests) = mpsc::channel(8);
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(Collector(sender)));
        tasks.spawn_detached("collector", async move {
            server
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
                .unwrap();
        });
        for service in ["testmesh-agent", "focus-server"] {
            let sink = SpanSink::to_endpoint(&endpoint, service, &tasks).unwrap();
            let sent = span("stage");
            let trace_id = sent.span_context.trace_id().to_bytes();
            sink.export(sent);
            assert!(sink.flush(Duration::from_secs(10)).await);
            assert_eq!((sink.exported(), sink.dropped()), (1, 0));
            let resource_spans = requests.recv().await.unwrap().resource_spans.remove(0);
            let attributes = resource_spans.resource.unwrap().attributes;
            let name = attributes
                .into_iter()
                .find(|attribute| attribute.key == "service.name")
                .unwrap();
            assert_eq!(
                name.value.unwrap().value,
                Some(Value::StringValue(service.to_owned()))
            );
            assert_eq!(resource_spans.scope_spans[0].spans[0].trace_id, trace_id);
        }
    }

    #[tokio::test]
    async fn an_absent_collector_costs_spans_only() {
        let tasks = Tasks::new(Shutdown::new());
        // Nobody listens on the port of a listener that was closed.
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let sink = SpanSink::to_endpoint(&format!("http://{closed}"), "test", &tasks).unwrap();
        sink.export(span("a"));
        sink.flush(Duration::from_secs(20)).await;
        assert_eq!((sink.exported(), sink.dropped()), (0, 1));
        assert!(SpanSink::to_endpoint("::", "test", &tasks).is_err());
    }
}
