//! The table of behaviors: name, finding, meaning, and what a plan must say about each.

use std::time::Duration;

/// Identifies a behavior.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One bit of a row's payload is inverted.
    FlipBit,
    /// A row is left out.
    DropRow,
    /// A row is sent twice.
    RepeatRow,
    /// Two neighbouring rows change places, each with its own number.
    SwapRows,
    /// A row's payload is cut short.
    TruncateRow,
    /// From a row on, another stream's payload comes with this stream's numbering.
    WrongStream,
    /// The stream pauses before a row.
    Stall,
    /// The stream ends by itself, with status OK.
    EarlyEnd,
    /// `POST /configure` answers late.
    SlowStage,
    /// While five jobs are there, `POST /configure` answers 500, 502 and 504 in turn.
    Overload,
    /// `POST /configure` takes this much longer for each job that was asked before.
    Degrade,
    /// Every second `POST /configure` answers 500.
    Alternate500,
    /// Configure answers 200 and the job's port refuses connections for ever.
    NeverReady,
    /// `POST /configure` answers 500 "NodePort already allocated", always with the same port.
    PortTaken,
    /// A job is there for ever, though nobody streams from it.
    LeakJob,
    /// A job is cleaned up this much later.
    Linger,
    /// Live configures answer 503, `/live_metadata` says `waiting for fiber`.
    WaitingForFiber,
    /// What is refused is refused late.
    SlowRefusal,
    /// `POST /recordings_in_time_range` answers late.
    SlowRecordings,
    /// Every historic configure answers 404, while `/recordings_in_time_range` lists recordings.
    HistoricNotFound,
    /// `GET /metadata/{job_id}` answers 404 for this long after configure.
    MetadataNotFound,
    /// `frequencies_amount` and `channel_amount` are one too great.
    WrongAmounts,
    /// `stream_port` is a text, `frequencies_list` an empty object.
    WrongTypes,
    /// A single-channel view of many channels is accepted, with one stream and all of them in the mapping.
    ManyAsSingle,
    /// A null `frequencyRange`, and a body without a required field, give 500.
    Null500,
    /// A waterfall without `displayTimeAxisDuration` and `frequencyRange` gives 500.
    BareWaterfall500,
    /// What is well-formed answers 200, adjusted to what can be served.
    AcceptAll,
    /// Rows come at half their rate, each later than the one before.
    SlowRows,
    /// The connection is closed before a row, without a status.
    Disconnect,
    /// The job's port refuses connections for so much longer.
    SlowReady,
    /// After the last row nothing for this long, then UNAVAILABLE "Cancelling all calls".
    UnavailableEnd,
    /// `global_minimum` is -1 in every row.
    NegativeMinimum,
    /// `POST /recordings_in_time_range` lists a recording that began 117 hours ago and has no end.
    StaleRecording,
    /// A task that is complete answers 200 for ever, never 208.
    StuckTask,
    /// No document of a job is written to MongoDB.
    NotPersisted,
    /// The index on `start_time` is missing in MongoDB.
    MissingIndex,
    /// Every lookup of recordings in MongoDB takes this much longer.
    SlowMongodb,
    /// A recording in MongoDB lacks a required field.
    NullFields,
    /// MongoDB lists so many unrecognized recordings that 62 % are recognized.
    LowRecognition,
    /// While MongoDB is away the REST API restarts again and again.
    CrashWithoutMongodb,
    /// A job's queue stays in RabbitMQ after its clean-up.
    LeakQueue,
    /// A region of interest is acknowledged and not shown.
    IgnoreRoi,
    /// A region of interest that changes by more than half is shown.
    UnsafeRoi,
}

/// What a behavior's value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A rate only.
    Rate,
    /// A rate, or a duration with this default.
    RateOrDuration(Duration),
}

/// Which other server a behavior is about. Without it, the behavior is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// None.
    Nothing,
    /// `--mongodb`.
    MongoDb,
    /// `--amqp`.
    RabbitMq,
}

/// One behavior of the table.
#[derive(Debug)]
pub struct Entry {
    /// Which it is.
    pub kind: Kind,
    /// Its name on the command line, in `--testbed=` and in the admin API.
    pub name: &'static str,
    /// The finding of the real server that it imitates, or why it exists.
    pub finding: &'static str,
    /// What a client sees.
    pub doc: &'static str,
    /// The code that a plan which looks must give: a verdict's reason, or a stage error's code.
    pub reason: &'static str,
    /// What its value may be.
    pub takes: Takes,
    /// Without which server it would do nothing.
    pub needs: Needs,
}

/// Every behavior, in the order of the documentation.
pub const TABLE: &[Entry] = &[
    Entry {
        kind: Kind::FlipBit,
        name: "flip-bit",
        finding: "silent corruption on the way (data fault)",
        doc: "one bit of a row's payload is inverted",
        reason: "rows_mismatched",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::DropRow,
        name: "drop-row",
        finding: "rows lost under load (F-23)",
        doc: "a row is left out, its number is never sent",
        reason: "rows_missing",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::RepeatRow,
        name: "repeat-row",
        finding: "rows sent again after a reconnect inside the server (data fault)",
        doc: "a row is sent twice in a row",
        reason: "rows_repeated",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::SwapRows,
        name: "swap-rows",
        finding: "rows out of order (data fault)",
        doc: "two neighbouring messages change places, each keeps its own number and payload",
        reason: "rows_reordered",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::TruncateRow,
        name: "truncate-row",
        finding: "short payloads (data fault)",
        doc: "the last quarter of a row's payload is missing, its shape fields still announce it",
        reason: "rows_mismatched",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::WrongStream,
        name: "wrong-stream",
        finding: "another job's or stream's data (F-26)",
        doc: "from a row on, the payload is another stream's, of the same length, under this stream's numbering",
        reason: "rows_mismatched",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::Stall,
        name: "stall",
        finding: "streams that pause, zero rows a second reported as a pass (F-23, F-31)",
        doc: "the stream pauses once before a row, then sends what is late",
        reason: "threshold_broken",
        takes: Takes::RateOrDuration(Duration::from_secs(3)),
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::EarlyEnd,
        name: "early-end",
        finding: "streams that end while data is left (F-31)",
        doc: "the stream ends by itself before a row, with status OK",
        reason: "ended_early",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::SlowStage,
        name: "slow-stage",
        finding: "slow job creation (F-01, F-02, F-03)",
        doc: "POST /configure answers late",
        reason: "threshold_broken",
        takes: Takes::RateOrDuration(Duration::from_millis(1_500)),
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::Overload,
        name: "overload",
        finding: "jobs asked at once fail with 500, 502 and 504 (F-01, F-02)",
        doc: "while five jobs are there, POST /configure answers 500, 502 and 504 in turn",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::Degrade,
        name: "degrade",
        finding: "a server that gets slower with every job (F-02, F-03)",
        doc: "POST /configure takes this much longer for each job that was asked before",
        reason: "threshold_broken",
        takes: Takes::RateOrDuration(Duration::from_millis(20)),
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::Alternate500,
        name: "alternate-500",
        finding: "addresses for pods run out: 200 and 500 alternate (F-04)",
        doc: "every second POST /configure answers 500",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::NeverReady,
        name: "never-ready",
        finding: "a pod that stays Pending behind a 200 (F-04, F-06)",
        doc: "configure answers 200 and the job's port refuses connections for ever",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::PortTaken,
        name: "port-taken",
        finding: "the first slot's port is still allocated by a stale service (F-05)",
        doc: "POST /configure answers 500 \"NodePort already allocated\", always with the same port",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::LeakJob,
        name: "leak-job",
        finding: "clean-up that fails and leaves jobs behind (F-07)",
        doc: "a job is there for ever, though nobody streams from it",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::Linger,
        name: "linger",
        finding: "jobs that linger after their client has left (F-08)",
        doc: "a job is cleaned up this much later",
        reason: "threshold_broken",
        takes: Takes::RateOrDuration(Duration::from_secs(6)),
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::WaitingForFiber,
        name: "waiting-for-fiber",
        finding: "live requests before the fibre's metadata is there (F-09)",
        doc: "live configures answer 503, /live_metadata says `waiting for fiber`",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::SlowRefusal,
        name: "slow-refusal",
        finding: "a refusal that takes 15 s instead of 5 (F-10)",
        doc: "what is refused is refused late",
        reason: "threshold_broken",
        takes: Takes::RateOrDuration(Duration::from_millis(1_500)),
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::SlowRecordings,
        name: "slow-recordings",
        finding: "scans without an index (F-11)",
        doc: "POST /recordings_in_time_range answers late",
        reason: "threshold_broken",
        takes: Takes::RateOrDuration(Duration::from_millis(1_500)),
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::HistoricNotFound,
        name: "historic-404",
        finding: "a storage path that does not match: recordings are listed and not found (F-12)",
        doc: "every historic configure answers 404, while /recordings_in_time_range lists recordings",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::MetadataNotFound,
        name: "metadata-404",
        finding: "/metadata/{job_id} does not know a job right after configure (F-13)",
        doc: "/metadata/{job_id} answers 404 for this long after configure",
        reason: "threshold_broken",
        takes: Takes::RateOrDuration(Duration::from_secs(2)),
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::WrongAmounts,
        name: "wrong-amounts",
        finding: "amounts that are not the lengths of their lists (F-14)",
        doc: "frequencies_amount and channel_amount are one too great",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::WrongTypes,
        name: "wrong-types",
        finding: "answers of another type (F-15)",
        doc: "stream_port is a text, frequencies_list is `{}`",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::ManyAsSingle,
        name: "many-as-single",
        finding: "a single-channel view of many channels is accepted (F-17)",
        doc: "view_type 1 with channels 1 to 50 answers 200 with one stream and all channels in the mapping",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::Null500,
        name: "null-500",
        finding: "fields that are null or missing give 500 (F-18)",
        doc: "frequencyRange: null, and a body without a required field, answer 500 instead of 200 and 422",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::BareWaterfall500,
        name: "bare-waterfall-500",
        finding: "a waterfall fails where optional fields are left out (F-19)",
        doc: "a waterfall without displayTimeAxisDuration and frequencyRange answers 500",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::AcceptAll,
        name: "accept-all",
        finding: "the future, negative heights and wrong nfft are accepted (F-20)",
        doc: "what is well-formed answers 200, adjusted to what can be served",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::SlowRows,
        name: "slow-rows",
        finding: "rows that come at another rate than lines_dt says (F-23)",
        doc: "rows come at half their rate, each later than the one before",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::Disconnect,
        name: "disconnect",
        finding: "connections that break under load (F-23)",
        doc: "the connection is closed before a row, without a status",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::SlowReady,
        name: "slow-ready",
        finding: "pods that take long to answer (F-24)",
        doc: "the job's port refuses connections for so much longer",
        reason: "threshold_broken",
        takes: Takes::RateOrDuration(Duration::from_secs(4)),
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::UnavailableEnd,
        name: "unavailable-end",
        finding: "a historic stream ends with UNAVAILABLE after silence (F-25)",
        doc: "after the last row nothing for this long, then UNAVAILABLE \"Cancelling all calls\"",
        reason: "threshold_broken",
        takes: Takes::RateOrDuration(Duration::from_secs(30)),
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::NegativeMinimum,
        name: "negative-minimum",
        finding: "negative amplitudes, which a viewer paints black (F-27)",
        doc: "global_minimum is -1 in every row",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::StaleRecording,
        name: "stale-recording",
        finding: "a recording that has been open for 117 hours (F-29)",
        doc: "/recordings_in_time_range lists one that began 117 hours ago and has no end",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::StuckTask,
        name: "stuck-task",
        finding: "a playback that never says that it is complete (F-31)",
        doc: "/waterfall of the task flow answers 200 for ever after the last row, never 208",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::Nothing,
    },
    Entry {
        kind: Kind::NotPersisted,
        name: "not-persisted",
        finding: "jobs whose configuration is not stored (F-28)",
        doc: "no document of a job is written to MongoDB",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::MongoDb,
    },
    Entry {
        kind: Kind::MissingIndex,
        name: "missing-index",
        finding: "missing indexes, scans of 10 to 60 s (F-11)",
        doc: "in MongoDB, the recordings have no index on start_time",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::MongoDb,
    },
    Entry {
        kind: Kind::SlowMongodb,
        name: "slow-mongodb",
        finding: "lookups that take seconds (F-10, F-11)",
        doc: "what looks recordings up in MongoDB answers late; 503 where that takes longer than a request waits",
        reason: "threshold_broken",
        takes: Takes::RateOrDuration(Duration::from_millis(1_500)),
        needs: Needs::MongoDb,
    },
    Entry {
        kind: Kind::NullFields,
        name: "null-fields",
        finding: "recordings without a required field (data rule)",
        doc: "in MongoDB, a recording's deleted is null",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::MongoDb,
    },
    Entry {
        kind: Kind::LowRecognition,
        name: "low-recognition",
        finding: "61 to 63 % of recordings are recognized, not 80 % (F-29)",
        doc: "in MongoDB, so many recordings are unrecognized that 62 % are recognized",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::MongoDb,
    },
    Entry {
        kind: Kind::CrashWithoutMongodb,
        name: "crash-without-mongodb",
        finding: "the server restarts when MongoDB is not found (F-30)",
        doc: "while MongoDB is away, the REST API closes its connections and its port for 1.5 s again and again",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::MongoDb,
    },
    Entry {
        kind: Kind::LeakQueue,
        name: "leak-queue",
        finding: "clean-up that leaves queues behind (F-07)",
        doc: "a job's queue stays in RabbitMQ after its clean-up",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::RabbitMq,
    },
    Entry {
        kind: Kind::IgnoreRoi,
        name: "ignore-roi",
        finding: "a region of interest whose effect nobody checked (ROI rules)",
        doc: "a region of interest is acknowledged, and the stream shows what it showed",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::RabbitMq,
    },
    Entry {
        kind: Kind::UnsafeRoi,
        name: "unsafe-roi",
        finding: "a change of the region by more than half is followed (ROI rules)",
        doc: "a region of interest is followed however much it changes",
        reason: "threshold_broken",
        takes: Takes::Rate,
        needs: Needs::RabbitMq,
    },
];

/// Finds an entry by name.
pub(crate) fn named(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name)
}

impl Kind {
    /// Whether it strikes single rows of a call; the others strike a whole request, call, job or task.
    pub(crate) fn strikes_rows(self) -> bool {
        matches!(
            self,
            Self::FlipBit
                | Self::DropRow
                | Self::RepeatRow
                | Self::SwapRows
                | Self::TruncateRow
                | Self::WrongStream
                | Self::Stall
                | Self::EarlyEnd
                | Self::Disconnect
        )
    }
}

/// The entry of a kind.
pub(crate) fn entry(kind: Kind) -> &'static Entry {
    TABLE
        .iter()
        .find(|entry| entry.kind == kind)
        .expect("every kind has an entry, which a test checks")
}
