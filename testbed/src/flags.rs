//! The command line: a profile, and a flag for every number of it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::behavior::{Behavior, parse_duration};
use crate::profile::{
    AMQP_VARIABLE, Config, DATABASE, DATABASE_VARIABLE, HistoricEnd, JobPorts, MONGODB_VARIABLE,
    STORAGE_PATH, TaskFlow, Validation,
};
use crate::server_uri::ServerUri;

/// Which profile the flags start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Profile {
    /// Quick and correct: 250 jobs, ready after 50 ms, clean-up after 2 s.
    Quick,
    /// What was seen in production: 30 jobs, ready after 6 to 21 s, clean-up after 50 s, lenient validation.
    AsObserved,
}

/// The flags of `focus-server`. Every number overrides the profile's.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// Where the REST API listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// What the other flags override
    #[arg(long, value_enum, default_value = "quick")]
    profile: Profile,
    /// A misbehavior, NAME[:RATE|:DURATION]; may be given again
    #[arg(long = "behavior", value_name = "NAME[:VALUE]")]
    behaviors: Vec<Behavior>,
    /// What faults are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// First port of jobs, or `auto` for a free block; a job listens on this plus its slot
    #[arg(long, value_name = "PORT|auto", default_value = "12300", value_parser = job_ports)]
    job_ports: JobPorts,
    /// Host that stream_url names
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// Jobs at once
    #[arg(long, value_name = "N")]
    max_jobs: Option<u16>,
    /// Least time until a job's port answers
    #[arg(long, value_name = "TIME", value_parser = duration)]
    ready_min: Option<Duration>,
    /// Greatest time until a job's port answers
    #[arg(long, value_name = "TIME", value_parser = duration)]
    ready_max: Option<Duration>,
    /// Time without an open call after which a job is cleaned up
    #[arg(long, value_name = "TIME", value_parser = duration)]
    idle_cleanup: Option<Duration>,
    /// Added to it before a job's first call
    #[arg(long, value_name = "TIME", value_parser = duration)]
    startup_grace: Option<Duration>,
    /// Time for which a client may stop reading
    #[arg(long, value_name = "TIME", value_parser = duration)]
    stream_idle: Option<Duration>,
    /// Speed of historic streams, times real time
    #[arg(long, value_name = "FACTOR")]
    historic_rate: Option<f64>,
    /// Rows that a historic stream sends at once
    #[arg(long, value_name = "N")]
    historic_burst: Option<u32>,
    /// What happens after the last row of a historic stream
    #[arg(long, value_enum)]
    historic_end: Option<HistoricEnd>,
    /// Silence before an unavailable end
    #[arg(long, value_name = "TIME", value_parser = duration)]
    historic_silence: Option<Duration>,
    /// Live rows of slot s are late by (s mod N)/N of lines_dt; 1 for none
    #[arg(long, value_name = "N")]
    stagger: Option<u16>,
    /// How strictly configure validates
    #[arg(long, value_enum)]
    validation: Option<Validation>,
    /// Whether the older task flow is there
    #[arg(long, value_enum)]
    task_flow: Option<TaskFlow>,
    /// Time that configure takes
    #[arg(long, value_name = "TIME", value_parser = duration)]
    configure_delay: Option<Duration>,
    /// Time that a configure without recordings takes
    #[arg(long, value_name = "TIME", value_parser = duration)]
    no_recording_delay: Option<Duration>,
    /// Pulse repetition rate in Hz
    #[arg(long, value_name = "HZ")]
    prr: Option<u32>,
    /// Decimation of live data
    #[arg(long, value_name = "N")]
    live_decimation: Option<u32>,
    /// Decimation of recorded data
    #[arg(long, value_name = "N")]
    recorded_decimation: Option<u32>,
    /// Highest channel of the fibre
    #[arg(long, value_name = "N")]
    highest_channel: Option<u32>,
    /// Channels that one job may show
    #[arg(long, value_name = "N")]
    max_channels: Option<u32>,
    /// Streams of a job with several channels
    #[arg(long, value_name = "N")]
    streams: Option<u32>,
    /// Windows that a historic range may span
    #[arg(long, value_name = "N")]
    max_windows: Option<u32>,
    /// Seconds on the time axis of a waterfall
    #[arg(long, value_name = "SECONDS")]
    waterfall_duration: Option<u32>,
    /// Bytes of rows kept for other calls of the same view
    #[arg(long, value_name = "BYTES")]
    row_cache: Option<usize>,
    /// The MongoDB that has the recordings; without it they are embedded
    #[arg(long, value_name = "URI", env = MONGODB_VARIABLE, hide_env_values = true)]
    mongodb: Option<ServerUri>,
    /// Its database
    #[arg(long, value_name = "NAME", default_value = DATABASE, env = DATABASE_VARIABLE)]
    mongodb_database: String,
    /// Which of its base paths the recordings are of
    #[arg(long, value_name = "PATH", default_value = STORAGE_PATH)]
    storage_path: String,
    /// How long a request waits for MongoDB
    #[arg(long, value_name = "TIME", value_parser = duration)]
    mongodb_patience: Option<Duration>,
    /// The RabbitMQ that commands come from
    #[arg(long, value_name = "URI", env = AMQP_VARIABLE, hide_env_values = true)]
    amqp: Option<ServerUri>,
    /// The exchange that commands are published to
    #[arg(long, value_name = "NAME", default_value = "focus")]
    amqp_exchange: String,
}

impl Flags {
    /// The profile with what the flags override.
    ///
    /// # Errors
    ///
    /// A behavior is named twice, or a value is impossible.
    pub fn config(self) -> anyhow::Result<Config> {
        let base = match self.profile {
            Profile::Quick => Config::quick(),
            Profile::AsObserved => Config::as_observed(),
        };
        // A single bound given above or below the profile's other one moves both.
        let ready_min = self
            .ready_min
            .unwrap_or_else(|| base.ready_min.min(self.ready_max.unwrap_or(base.ready_min)));
        let ready_max = self
            .ready_max
            .unwrap_or_else(|| base.ready_max.max(ready_min));
        Behavior::check_list(&self.behaviors)?;
        let config = Config {
            listen: self.listen,
            advertise: self.advertise,
            job_ports: self.job_ports,
            max_jobs: self.max_jobs.unwrap_or(base.max_jobs),
            ready_min,
            ready_max,
            idle_cleanup: self.idle_cleanup.unwrap_or(base.idle_cleanup),
            startup_grace: self.startup_grace.unwrap_or(base.startup_grace),
            stream_idle: self.stream_idle.unwrap_or(base.stream_idle),
            historic_rate: self.historic_rate.unwrap_or(base.historic_rate),
            historic_burst: self.historic_burst.unwrap_or(base.historic_burst),
            historic_end: self.historic_end.unwrap_or(base.historic_end),
            historic_silence: self.historic_silence.unwrap_or(base.historic_silence),
            stagger: self.stagger.unwrap_or(base.stagger),
            validation: self.validation.unwrap_or(base.validation),
            task_flow: self.task_flow.unwrap_or(base.task_flow),
            configure_delay: self.configure_delay.unwrap_or(base.configure_delay),
            no_recording_delay: self.no_recording_delay.unwrap_or(base.no_recording_delay),
            prr: self.prr.unwrap_or(base.prr),
            live_decimation: self.live_decimation.unwrap_or(base.live_decimation),
            recorded_decimation: self.recorded_decimation.unwrap_or(base.recorded_decimation),
            highest_channel: self.highest_channel.unwrap_or(base.highest_channel),
            max_channels: self.max_channels.unwrap_or(base.max_channels),
            streams: self.streams.unwrap_or(base.streams),
            max_windows: self.max_windows.unwrap_or(base.max_windows),
            waterfall_duration: self.waterfall_duration.unwrap_or(base.waterfall_duration),
            row_cache: self.row_cache.unwrap_or(base.row_cache),
            mongodb: self.mongodb,
            mongodb_database: self.mongodb_database,
            storage_path: self.storage_path,
            mongodb_patience: self.mongodb_patience.unwrap_or(base.mongodb_patience),
            amqp: self.amqp,
            amqp_exchange: self.amqp_exchange,
            behaviors: self.behaviors,
            seed: self.seed,
        };
        config.check()?;
        Ok(config)
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| {
        format!("`{text}` is not a time: give for instance 500ms, 2s or 3m, up to 1h")
    })
}

fn job_ports(text: &str) -> Result<JobPorts, String> {
    if text == "auto" {
        return Ok(JobPorts::FreeBlock);
    }
    text.parse()
        .map(JobPorts::Base)
        .map_err(|_| format!("`{text}` is neither a port nor `auto`"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    fn config(args: &[&str]) -> Config {
        let args = ["focus-server"].iter().chain(args);
        Cli::try_parse_from(args).unwrap().flags.config().unwrap()
    }

    #[test]
    fn a_profile_is_what_its_flags_do_not_override() {
        let same = |a: Config, b: Config| format!("{a:?}") == format!("{b:?}");
        let served = |config: Config| Config {
            listen: "127.0.0.1:8080".parse().unwrap(),
            job_ports: JobPorts::Base(12_300),
            ..config
        };
        assert!(same(config(&[]), served(Config::quick())));
        assert!(same(
            config(&["--profile", "as-observed"]),
            served(Config::as_observed())
        ));
        let changed = config(&[
            "--max-jobs",
            "7",
            "--historic-end",
            "unavailable",
            "--job-ports",
            "auto",
        ]);
        assert_eq!(
            (changed.max_jobs, changed.historic_end),
            (7, HistoricEnd::Unavailable)
        );
        assert_eq!(changed.job_ports, JobPorts::FreeBlock);
        let listed = config(&["--behavior", "stall:2s", "--behavior", "drop-row"]);
        assert_eq!(
            listed.behaviors,
            Behavior::parse_list("stall:2s,drop-row").unwrap()
        );
    }

    #[test]
    fn one_bound_of_the_ready_time_moves_the_other() {
        let bounds = |args: &[&str]| {
            let config = config(args);
            (config.ready_min.as_secs(), config.ready_max.as_secs())
        };
        let observed = ["--profile", "as-observed"];
        assert_eq!(
            bounds(&[&observed[..], &["--ready-max", "1s"]].concat()),
            (1, 1)
        );
        assert_eq!(
            bounds(&[&observed[..], &["--ready-min", "30s"]].concat()),
            (30, 30)
        );
        assert_eq!(
            bounds(&[&observed[..], &["--ready-min", "1s"]].concat()),
            (1, 21)
        );
    }
}
