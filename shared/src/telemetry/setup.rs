//! Sets logs and traces up, once per process: logs to stderr, `tracing` spans to a sink if the standard variables ask for
//! one.

use std::io;
use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::sink::{SinkError, SpanSink};
use crate::shutdown::Tasks;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// What is logged unless `TESTMESH_LOG` or `RUST_LOG` says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Warnings only: the output of a command is what it was asked for.
    #[default]
    Warn,
    /// What testmesh does, and warnings of its libraries: for services.
    Info,
}

impl LogLevel {
    const fn directives(self) -> &'static str {
        match self {
            // lapin logs messages that a broker returns with their content; what fails, its driver tells.
            Self::Warn => "warn,lapin=off",
            Self::Info => "warn,lapin=off,testmesh=info",
        }
    }
}

/// What a process says about itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name that its spans carry: `testmesh`, `testmesh-agent`, `focus-server`.
    pub service: String,
    /// What else runs in this process under a name of its own, as in a local run.
    pub guests: Vec<Guest>,
    /// How log lines look.
    pub format: LogFormat,
    /// What is logged unless the environment says otherwise.
    pub level: LogLevel,
}

/// A service within the process of another.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The name that its spans carry.
    pub service: String,
    /// The crate whose `tracing` spans are its own.
    pub krate: &'static str,
}

/// Why logs and traces are not set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `TESTMESH_LOG` or `RUST_LOG` is no filter.
    #[error("`{text}` in {variable} is not a log filter, such as `info` or `warn,testmesh=debug`")]
    Filter {
        /// The variable.
        variable: &'static str,
        /// Its value.
        text: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The export of traces cannot be set up.
    #[error("failed to set traces up")]
    Traces {
        /// Why not.
        #[source]
        source: SinkError,
    },
    /// Somebody else has set logs up in this process.
    #[error("logs are set up already")]
    Twice,
}

/// Logs and traces are set up. Kept by `main` until its end.
#[derive(Debug)]
#[must_use = "spans that are still queued are lost unless it is shut down"]
pub struct Telemetry {
    /// By service, the process' own first; none if nothing is exported.
    sinks: Vec<(String, SpanSink)>,
    /// Spans end in them; kept so that they can until the process ends.
    _providers: Vec<SdkTracerProvider>,
}

impl Telemetry {
    /// Where this process' own `tracing` spans go, if anywhere.
    #[must_use]
    pub fn sink(&self) -> Option<&SpanSink> {
        self.sinks.first().map(|(_, sink)| sink)
    }

    /// Where the spans of a service go that is this process or its guest, if anywhere.
    #[must_use]
    pub fn sink_of(&self, service: &str) -> Option<&SpanSink> {
        let mut sinks = self.sinks.iter();
        sinks
            .find(|(name, _)| name == service)
            .map(|(_, sink)| sink)
    }

    /// Exports what is still queued, for at most `within`.
    pub async fn shutdown(self, within: Duration) {
        let flushes = self.sinks.iter().map(|(_, sink)| sink.flush(within));
        if !futures_util::future::join_all(flushes)
            .await
            .into_iter()
            .all(|done| done)
        {
            tracing::warn!("the trace collector did not take the last spans in time");
        }
        let spans: u64 = self.sinks.iter().map(|(_, sink)| sink.dropped()).sum();
        if spans > 0 {
            tracing::warn!(spans, "spans were lost on the way to the trace collector");
        }
    }
}

/// Sets logs (to stderr) and traces up. Called once per process, within a runtime.
///
/// # Errors
/// [`TelemetryError`] if the environment asks for what cannot be, or if it was called before.
pub fn init(config: &Config, tasks: &Tasks) -> Result<Telemetry, TelemetryError> {
    init_to(config, tasks, io::stderr)
}

/// As [`init`], with logs going elsewhere: past a progress bar, or into a test.
///
/// # Errors
/// As [`init`].
pub fn init_to<W>(config: &Config, tasks: &Tasks, logs: W) -> Result<Telemetry, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = filter(config.level, |name| std::env::var(name).ok())?;
    let mut own = Targets::new().with_target("testmesh", LevelFilter::INFO);
    for guest in &config.guests {
        own = own.with_target(guest.krate, LevelFilter::OFF);
    }
    let guests = config.guests.iter().map(|guest| {
        let theirs = Targets::new().with_target(guest.krate, LevelFilter::INFO);
        (&guest.service, theirs)
    });
    let mut sinks = Vec::new();
    let mut providers = Vec::new();
    let mut traces = Vec::new();
    // Only our own spans: those of the exporter's own calls would make new ones for ever.
    for (service, targets) in std::iter::once((&config.service, own)).chain(guests) {
        let sink = SpanSink::from_env(service, tasks)
            .map_err(|source| TelemetryError::Traces { source })?;
        let Some(sink) = sink else { continue };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(sink.clone())
            .build();
        traces.push(
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("testmesh"))
                .with_filter(targets),
        );
        sinks.push((service.clone(), sink));
        providers.push(provider);
    }
    let subscriber = tracing_subscriber::registry()
        .with(log_layer(config.format, logs, filter))
        // Not an empty list, which would turn all logs off: nothing in it wants any level.
        .with((!traces.is_empty()).then_some(traces));
    subscriber.try_init().map_err(|_| TelemetryError::Twice)?;
    Ok(Telemetry {
        sinks,
        _providers: providers,
    })
}

fn log_layer<W>(
    format: LogFormat,
    logs: W,
    filter: EnvFilter,
) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colored = io::stderr().is_terminal() && !no_color;
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(logs)
        .with_ansi(colored);
    match format {
        LogFormat::Text => layer.with_target(false).with_filter(filter).boxed(),
        LogFormat::Json => layer.json().with_filter(filter).boxed(),
    }
}

fn filter(
    level: LogLevel,
    var: impl Fn(&str) -> Option<String>,
) -> Result<EnvFilter, TelemetryError> {
    for variable in ["TESTMESH_LOG", "RUST_LOG"] {
        let Some(text) = var(variable).filter(|text| !text.trim().is_empty()) else {
            continue;
        };
        return EnvFilter::try_new(&text).map_err(|source| TelemetryError::Filter {
            variable,
            text,
            source,
        });
    }
    Ok(EnvFilter::new(level.directives()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::Shutdown;

    #[test]
    fn the_environment_decides_what_is_logged() {
        let with = |variable: &'static str, text: &'static str| {
            filter(LogLevel::Info, move |name| {
                (name == variable).then(|| text.to_owned())
            })
            .map(|filter| filter.to_string())
        };
        assert_eq!(with("TESTMESH_LOG", "debug").unwrap(), "debug");
        assert_eq!(with("RUST_LOG", "error").unwrap(), "error");
        assert_eq!(
            with("RUST_LOG", " ").unwrap(),
            filter(LogLevel::Info, |_| None).unwrap().to_string()
        );
        let error = with("TESTMESH_LOG", "a=b=c").unwrap_err().to_string();
        assert!(error.contains("`a=b=c` in TESTMESH_LOG"), "{error}");
    }

    #[tokio::test]
    async fn it_is_set_up_once() {
        let tasks = Tasks::new(Shutdown::new());
        let config = Config {
            service: "test".to_owned(),
            guests: Vec::new(),
            format: LogFormat::Json,
            level: LogLevel::Warn,
        };
        let telemetry = init_to(&config, &tasks, io::sink).unwrap();
        assert!(matches!(
            init_to(&config, &tasks, io::sink),
            Err(TelemetryError::Twice)
        ));
        telemetry.shutdown(Duration::from_secs(1)).await;
    }
}
