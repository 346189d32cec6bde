//! An OTLP receiver that keeps every span it is sent.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// One span as it arrived.
#[derive(Clone, Debug)]
pub struct Span {
    /// `service.name` of the resource that sent it.
    pub service: String,
    /// The span's name.
    pub name: String,
    /// 32 lowercase hex digits.
    pub trace: String,
    /// 16 lowercase hex digits.
    pub id: String,
    /// The parent's id; empty for a root.
    pub parent: String,
    /// Traces that this span links to.
    pub links: Vec<String>,
}

/// A collector on a free loopback port; dropping it stops it.
pub struct Collector {
    endpoint: String,
    spans: Arc<Mutex<Vec<Span>>>,
    arrivals: watch::Receiver<usize>,
    server: JoinHandle<()>,
}

impl Collector {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// If no loopback port is to be had.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let spans = Arc::new(Mutex::new(Vec::new()));
        let (sender, arrivals) = watch::channel(0);
        let service = TraceServiceServer::new(Receiver {
            spans: Arc::clone(&spans),
            sender,
        });
        #[expect(
            clippy::disallowed_methods,
            reason = "aborted when the collector is dropped"
        )]
        let server = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let served = Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming);
            served.await.expect("a loopback listener accepts");
        });
        Ok(Self {
            endpoint,
            spans,
            arrivals,
            server,
        })
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// All spans so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.spans
            .lock()
            .expect("no request panics while it holds the spans")
            .clone()
    }

    /// Waits until `enough` holds of the spans that have arrived, at most 20 seconds.
    ///
    /// # Errors
    ///
    /// If it never does; the error shows what arrived.
    pub async fn wait_for(&mut self, enough: impl Fn(&[Span]) -> bool) -> Result<Vec<Span>> {
        let spans = Arc::clone(&self.spans);
        let arrivals = &mut self.arrivals;
        let wait = async {
            loop {
                let now = spans
                    .lock()
                    .expect("no request panics while it holds the spans")
                    .clone();
                if enough(&now) || arrivals.changed().await.is_err() {
                    return now;
                }
            }
        };
        let limit = std::time::Duration::from_secs(20);
        let found = timeout(limit, wait).await;
        found.with_context(|| format!("these spans are not enough: {:#?}", self.spans()))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Receiver {
    spans: Arc<Mutex<Vec<Span>>>,
    sender: watch::Sender<usize>,
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self
            .spans
            .lock()
            .expect("no request panics while it holds the spans");
        for resource in request.into_inner().resource_spans {
            let service = resource
                .resource
                .into_iter()
                .flat_map(|resource| resource.attributes)
                .find(|attribute| attribute.key == "service.name")
                .and_then(|attribute| attribute.value?.value)
                .map_or_else(String::new, |value| match value {
                    Value::StringValue(name) => name,
                    other => format!("{other:?}"),
                });
            let scopes = resource.scope_spans.into_iter();
            spans.extend(scopes.flat_map(|scope| scope.spans).map(|span| Span {
                service: service.clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
            }));
        }
        drop(spans);
        self.sender.send_modify(|arrivals| *arrivals += 1);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}
