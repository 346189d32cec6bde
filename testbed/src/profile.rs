//! Configuration: two profiles and everything that a flag may change in them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::behavior::{Behavior, Needs};
use crate::broker::{self, BrokerConfig};
use crate::server_uri::ServerUri;
use crate::store::StoreConfig;

/// The variable that stands for `--mongodb`.
pub(crate) const MONGODB_VARIABLE: &str = "FOCUS_MONGODB";
/// The variable that stands for `--amqp`.
pub(crate) const AMQP_VARIABLE: &str = "FOCUS_AMQP";
/// The variable that stands for `--mongodb-database`.
pub(crate) const DATABASE_VARIABLE: &str = "FOCUS_MONGODB_DATABASE";
/// The database and the base path of production.
pub(crate) const DATABASE: &str = "focus";
pub(crate) const STORAGE_PATH: &str = "/focus/root/recordings";

/// How the ports of jobs are chosen: a job listens on the base plus its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobPorts {
    /// This base, as in production (12300).
    Base(u16),
    /// The first free block of 256 from 12300 upward, below 32768, held while the testbed runs.
    FreeBlock,
}

/// What happens after the last row of a historic stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum HistoricEnd {
    /// The stream ends with status OK at once.
    Clean,
    /// Nothing for a while, then UNAVAILABLE "Cancelling all calls", as observed in production.
    Unavailable,
}

/// How strictly `POST /configure` validates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Validation {
    /// As specified: every rule is kept, 422 for schema, 400 for meaning.
    Strict,
    /// As observed: most rules are not enforced, some bad requests are answered with 500.
    Lenient,
}

/// Whether the older task flow is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TaskFlow {
    /// `/sensors`, `/config/{task_id}` and `/waterfall/{task_id}/{row_count}` answer.
    Served,
    /// They are 404, as on every tested deployment.
    Absent,
}

/// Everything that can be set. Start from [`Config::quick`] or [`Config::as_observed`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the REST API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The host that `stream_url` names; without it, the address of `listen`.
    pub advertise: Option<String>,
    /// Where jobs listen.
    pub job_ports: JobPorts,
    /// Jobs at once; one more is refused with 503.
    pub max_jobs: u16,
    /// Least time from configure until the job's port answers.
    pub ready_min: Duration,
    /// Greatest time from configure until the job's port answers; most jobs are near the least.
    pub ready_max: Duration,
    /// Time without an open `StreamData` call after which a job is cleaned up.
    pub idle_cleanup: Duration,
    /// Added to it for a job that has never had a call.
    pub startup_grace: Duration,
    /// Time for which a client may stop reading before its connection is closed.
    pub stream_idle: Duration,
    /// Speed of historic streams, times real time.
    pub historic_rate: f64,
    /// Rows that a historic stream sends at once.
    pub historic_burst: u32,
    /// End of historic streams.
    pub historic_end: HistoricEnd,
    /// Silence before an unavailable end.
    pub historic_silence: Duration,
    /// Live rows of slot s are delayed by (s mod this) / this of `lines_dt`; 1 delays none.
    pub stagger: u16,
    /// Validation of configure.
    pub validation: Validation,
    /// The older task flow.
    pub task_flow: TaskFlow,
    /// Time that configure takes.
    pub configure_delay: Duration,
    /// Time that a configure without recordings takes.
    pub no_recording_delay: Duration,
    /// Pulse repetition rate of the fibre in Hz.
    pub prr: u32,
    /// Decimation of live data: the frequency step is this × PRR / (nfft + 1).
    pub live_decimation: u32,
    /// Decimation of recorded data.
    pub recorded_decimation: u32,
    /// Highest channel of the fibre; the lowest is 1.
    pub highest_channel: u32,
    /// Channels that one job may show.
    pub max_channels: u32,
    /// Streams of a job with several channels.
    pub streams: u32,
    /// A historic range may be this many times `displayTimeAxisDuration`.
    pub max_windows: u32,
    /// Seconds on the time axis of a waterfall, whose request has none.
    pub waterfall_duration: u32,
    /// Bytes of rows kept for other calls of the same view.
    pub row_cache: usize,
    /// The MongoDB that has the recordings; none: they are embedded.
    pub mongodb: Option<ServerUri>,
    /// Its database.
    pub mongodb_database: String,
    /// Which of its base paths the recordings are of.
    pub storage_path: String,
    /// How long a request waits for it.
    pub mongodb_patience: Duration,
    /// The RabbitMQ that commands come from; none: there are no commands.
    pub amqp: Option<ServerUri>,
    /// The exchange that they are published to.
    pub amqp_exchange: String,
    /// Behaviors that are on from the start.
    pub behaviors: Vec<Behavior>,
    /// What faults are drawn from.
    pub seed: u64,
}

impl Config {
    /// The default profile: a quick, correct server with room for 250 jobs.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            advertise: None,
            job_ports: JobPorts::FreeBlock,
            max_jobs: 250,
            ready_min: Duration::from_millis(50),
            ready_max: Duration::from_millis(50),
            idle_cleanup: Duration::from_secs(2),
            startup_grace: Duration::from_secs(3),
            stream_idle: Duration::from_secs(180),
            historic_rate: 200.0,
            historic_burst: 8,
            historic_end: HistoricEnd::Clean,
            historic_silence: Duration::from_secs(30),
            stagger: 16,
            validation: Validation::Strict,
            task_flow: TaskFlow::Served,
            configure_delay: Duration::ZERO,
            no_recording_delay: Duration::ZERO,
            prr: 2_000,
            live_decimation: 4,
            recorded_decimation: 1,
            highest_channel: 2_337,
            max_channels: 2_222,
            streams: 3,
            max_windows: 30,
            waterfall_duration: 30,
            row_cache: 128 * 1024 * 1024,
            mongodb: None,
            mongodb_database: DATABASE.to_owned(),
            storage_path: STORAGE_PATH.to_owned(),
            mongodb_patience: Duration::from_secs(3),
            amqp: None,
            amqp_exchange: "focus".to_owned(),
            behaviors: Vec::new(),
            seed: 1,
        }
    }

    /// What was seen in production: few jobs, slow pods, lenient validation, unclean ends.
    #[must_use]
    pub fn as_observed() -> Self {
        Self {
            max_jobs: 30,
            ready_min: Duration::from_secs(6),
            ready_max: Duration::from_secs(21),
            idle_cleanup: Duration::from_secs(50),
            startup_grace: Duration::ZERO,
            historic_end: HistoricEnd::Unavailable,
            validation: Validation::Lenient,
            task_flow: TaskFlow::Absent,
            configure_delay: Duration::from_millis(337),
            no_recording_delay: Duration::from_millis(120),
            mongodb_patience: Duration::from_millis(15_400),
            ..Self::quick()
        }
    }

    /// Sets where the REST API listens.
    #[must_use]
    pub fn listen(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// Sets where jobs listen.
    #[must_use]
    pub fn job_ports(mut self, job_ports: JobPorts) -> Self {
        self.job_ports = job_ports;
        self
    }

    /// Sets the behaviors that are on from the start.
    #[must_use]
    pub fn behaviors(mut self, behaviors: Vec<Behavior>) -> Self {
        self.behaviors = behaviors;
        self
    }

    /// Sets what faults are drawn from.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Takes MongoDB and RabbitMQ from the environment (`FOCUS_MONGODB`, `FOCUS_MONGODB_DATABASE`, `FOCUS_AMQP`), as
    /// `focus-server` does.
    #[must_use]
    pub fn servers_of_environment(mut self) -> Self {
        let text = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let uri = |name| text(name)?.parse().ok();
        self.mongodb = uri(MONGODB_VARIABLE);
        if let Some(database) = text(DATABASE_VARIABLE) {
            self.mongodb_database = database;
        }
        self.amqp = uri(AMQP_VARIABLE);
        self
    }

    /// The MongoDB that it names.
    pub(crate) fn store(&self) -> Option<StoreConfig> {
        let uri = self.mongodb.clone()?;
        Some(StoreConfig {
            uri,
            database: self.mongodb_database.clone(),
            storage_path: self.storage_path.clone(),
            patience: self.mongodb_patience,
        })
    }

    /// The RabbitMQ that it names.
    pub(crate) fn broker(&self) -> Option<BrokerConfig> {
        let uri = self.amqp.clone()?;
        let exchange = self.amqp_exchange.clone();
        Some(BrokerConfig { uri, exchange })
    }

    /// Refuses behaviors that would do nothing.
    pub(crate) fn check_behaviors(&self, behaviors: &[Behavior]) -> anyhow::Result<()> {
        for behavior in behaviors {
            let (missing, flag, variable) = match behavior.entry().needs {
                Needs::Nothing => continue,
                Needs::MongoDb => (self.mongodb.is_none(), "--mongodb", MONGODB_VARIABLE),
                Needs::RabbitMq => (self.amqp.is_none(), "--amqp", AMQP_VARIABLE),
            };
            let name = behavior.entry().name;
            anyhow::ensure!(
                !missing,
                "behavior `{name}` needs {flag}, or {variable} in the environment"
            );
        }
        Ok(())
    }

    /// Finds values that no server could run with.
    ///
    /// # Errors
    ///
    /// Names the first such value and its bounds.
    pub fn check(&self) -> anyhow::Result<()> {
        let positive = [
            ("max-jobs", u64::from(self.max_jobs)),
            ("historic-burst", u64::from(self.historic_burst)),
            ("stagger", u64::from(self.stagger)),
            ("prr", u64::from(self.prr)),
            ("live-decimation", u64::from(self.live_decimation)),
            ("recorded-decimation", u64::from(self.recorded_decimation)),
            ("highest-channel", u64::from(self.highest_channel)),
            ("max-channels", u64::from(self.max_channels)),
            ("streams", u64::from(self.streams)),
            ("max-windows", u64::from(self.max_windows)),
            ("waterfall-duration", u64::from(self.waterfall_duration)),
        ];
        for (name, value) in positive {
            anyhow::ensure!(value > 0, "--{name} must be at least 1");
        }
        anyhow::ensure!(
            self.historic_rate.is_finite() && self.historic_rate > 0.0,
            "--historic-rate must be a positive number, not {}",
            self.historic_rate
        );
        anyhow::ensure!(
            self.ready_min <= self.ready_max,
            "--ready-min must not exceed --ready-max"
        );
        anyhow::ensure!(
            !self.stream_idle.is_zero() && !self.idle_cleanup.is_zero(),
            "--stream-idle and --idle-cleanup must be positive"
        );
        anyhow::ensure!(
            !self.mongodb_patience.is_zero(),
            "--mongodb-patience must be positive"
        );
        anyhow::ensure!(
            !self.mongodb_database.is_empty() && !self.storage_path.is_empty(),
            "--mongodb-database and --storage-path must not be empty"
        );
        if let Some(broker) = self.broker() {
            broker::check(&broker)?;
        }
        self.check_behaviors(&self.behaviors)?;
        if let JobPorts::Base(base) = self.job_ports {
            anyhow::ensure!(
                base > 0 && base.checked_add(self.max_jobs - 1).is_some(),
                "--job-ports {base} leaves no room for {} jobs below port 65536",
                self.max_jobs
            );
        }
        Ok(())
    }
}
