//! Every capacity and time-out of the coordinator, each with its reason.
//!
//! What does not fit is refused or counted, never queued without end: each bound here has a reason code, a finding, an
//! error, or a counter that tells when it was reached.
use std::time::Duration;

/// Largest gRPC message taken from an agent. A batch of 2,000 series is below 4 MiB; row witnesses come in parts.
pub const MAX_AGENT_MESSAGE: usize = 16 * 1024 * 1024;
/// Largest gRPC message taken from the command line: blobs come in chunks, so nothing needs to be large.
pub const MAX_CONTROL_MESSAGE: usize = 4 * 1024 * 1024;
/// Events waiting for one watcher; a slow one reads what was kept.
pub const WATCH_QUEUE: usize = 64;
/// Chunk of a blob or of a report file that we send.
pub const CHUNK: usize = 1024 * 1024;
/// Largest single blob: a feed or a descriptor set. A plan itself has its own, smaller limit in the reader.
pub const MAX_BLOB: u64 = 64 * 1024 * 1024;
/// All blobs kept at once; the least recently used ones that no run needs go first.
pub const MAX_BLOBS_TOTAL: u64 = 512 * 1024 * 1024;
/// Files that one plan may name.
pub const MAX_PLAN_FILES: usize = 1_000;

/// Agents connected at once: ten times what one coordinator is planned for.
pub const MAX_AGENTS: usize = 10_000;
/// Longest agent id, site, label name or value; they become labels of series and lines of reports.
pub const MAX_NAME: usize = 128;
/// Labels of one agent.
pub const MAX_LABELS: usize = 64;
/// HTTP/2 pings on quiet connections: a peer that vanished without a word is noticed.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Flow-control window of one stream and of one connection: a batch of a busy agent fits without waiting.
pub const STREAM_WINDOW: u32 = 1024 * 1024;
/// The same for a connection, which carries few streams.
pub const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Streams of one connection: an agent has one, a command line a few.
pub const MAX_STREAMS: u32 = 64;
/// Time for a new connection to say Hello.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages waiting for one agent. It reads them all in its link loop, so a full queue means a stuck agent.
pub const OUTBOUND_QUEUE: usize = 256;
/// How often agents say that they are alive.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which an agent is suspect: three heartbeats.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(3);
/// Silence after which an agent is lost: long enough for a garbage collection of a loaded node, short enough for a run.
pub const LOST_AFTER: Duration = Duration::from_secs(10);
/// Requests waiting for the registry; each is answered within microseconds.
pub const REGISTRY_QUEUE: usize = 1_024;
/// Lost agents that `agents list` still shows.
pub const MAX_DEPARTED: usize = 100;

/// Runs waiting for agents.
pub const MAX_QUEUED_RUNS: usize = 100;
/// Runs at once, each with agents of its own.
pub const MAX_ACTIVE_RUNS: usize = 64;
/// Sealed runs kept with their reports.
pub const MAX_STORED_RUNS: usize = 50;
/// All sealed runs together; the oldest go first.
pub const MAX_STORE_BYTES: usize = 1024 * 1024 * 1024;
/// Rendered report files of one run.
pub const MAX_REPORT_BYTES: usize = 256 * 1024 * 1024;
/// Messages of agents waiting for one run. When it is full the links wait, and gRPC holds the agents back.
pub const RUN_QUEUE: usize = 1_024;
/// The same in KiB on the wire: a thousand batches of a greedy agent would be 16 GiB.
pub const RUN_QUEUE_KIB: usize = 128 * 1024;
/// Requests waiting for the actor that owns all runs.
pub const RUNS_QUEUE: usize = 256;
/// Events of one run kept for watchers that resume; older progress is forgotten first.
pub const MAX_RUN_EVENTS: usize = 10_000;
/// How often a run tells its progress.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How long a queued run waits for agents that are not there at all. Busy agents are waited for without end.
pub const AGENTS_WAIT: Duration = Duration::from_secs(5);
/// From Prepare until every agent is armed: 64 MiB of blobs over a slow line, and a plan with hundreds of protos.
pub const PREPARE_TIMEOUT: Duration = Duration::from_secs(60);
/// The whole setup or teardown; single stages have shorter bounds of their own in the plan.
pub const SETUP_TIMEOUT: Duration = Duration::from_secs(600);
/// Least time between sending Start and the start itself, for agents in the same process.
pub const START_MARGIN_MIN: Duration = Duration::from_millis(30);
/// Greatest time between sending Start and the start itself; a clock more uncertain than this is a finding.
pub const START_MARGIN_MAX: Duration = Duration::from_secs(5);
/// The same while the clock of some agent is unknown. Agents tell theirs with the second heartbeat, and a message that
/// takes as long as this is later than any start could wait for.
pub const START_MARGIN_UNKNOWN: Duration = Duration::from_secs(2);
/// After the last planned end, graceful stop and cleanup: time for Drained and the last batches.
pub const SEAL_GRACE: Duration = Duration::from_secs(60);
/// Longest run whose plan names no end (so many sessions, however long they take).
pub const MAX_RUN: Duration = Duration::from_hours(24);

/// What setup may save: it travels to every agent in one message.
pub const MAX_SAVES: usize = 1024 * 1024;
/// At the end: time for links and watchers to hear that the coordinator leaves.
pub const LEAVE: Duration = Duration::from_secs(5);

/// Windows of one series before they are merged into coarser ones.
pub const MAX_WINDOWS: usize = 600;
/// Memory of all windows of one run before they are merged into coarser ones.
pub const MAX_WINDOW_BYTES: usize = 192 * 1024 * 1024;
/// Memory of what all sliding thresholds of one run judge: a few hundred bytes for each second and side of one.
pub const MAX_SLIDING_BYTES: usize = 192 * 1024 * 1024;
/// Silence of an agent after which thresholds that may end a run are judged without its latest seconds.
pub const JUDGE_WITHOUT_AFTER: u64 = LOST_AFTER.as_secs();
/// How uncertain the clocks of agents may be before their seconds cannot be laid on each other: half of one.
pub const CLOCK_UNCERTAINTY_MAX: Duration = Duration::from_millis(500);
/// Batches of one agent that arrived before an earlier one; a link keeps order, so this is only ever a broken agent.
pub const MAX_OUT_OF_ORDER: usize = 64;
/// Distinct findings of one run; more are counted in one that says so.
pub const MAX_FINDINGS: usize = 1_000;
/// Places told for equal findings.
pub const MAX_EVIDENCE: usize = 5;
/// Pictures of one run, and bytes of all of them: they are files of the report, and evidence of at most [`MAX_EVIDENCE`]
/// places for each finding.
pub const MAX_SCREENSHOTS: usize = 100;
/// See [`MAX_SCREENSHOTS`].
pub const MAX_SCREENSHOTS_BYTES: usize = 16 * 1024 * 1024;
/// The largest picture; agents send no larger ones.
pub const MAX_SCREENSHOT_BYTES: usize = 512 * 1024;
/// Slowest sessions in the report.
pub const MAX_SLOWEST: usize = 20;
/// Longest text of an agent that is kept: messages, details.
pub const MAX_TEXT: usize = 8 * 1024;

/// How long rows wait for a second witness.
pub const AGREE_HORIZON_S: u32 = 600;
/// Memory of all rows that wait for witnesses.
pub const AGREE_BYTES: usize = 256 * 1024 * 1024;
/// Keys that are remembered after they were settled, at 16 bytes and their slots: rows that come later than the horizon are
/// told from new ones, and compared with what the majority saw. About as many as fit into [`AGREE_BYTES`] at once.
pub const MAX_SETTLED_KEYS: usize = 1_000_000;
/// Stages at sites whose rows are compared: each costs four series, of which a run has 2,000.
pub const MAX_PLACES: usize = 4_096;
/// Disagreements kept as evidence; all are counted.
pub const MAX_DISAGREEMENTS: usize = 100;
/// Distinct contents remembered for one key; a server that answers everyone differently is proven wrong by fewer.
pub const MAX_DIGESTS_PER_KEY: usize = 64;
/// Agents named for one content in a disagreement.
pub const MAX_AGENTS_PER_DIGEST: usize = 8;

/// How long a fault stays on its agent without a renewal: longer than an agent may be silent before it is lost, so that a
/// link that breaks for a moment ends no fault.
pub const FAULT_LEASE: Duration = Duration::from_secs(15);
/// How often a fault is renewed: several times within a lease.
pub const FAULT_RENEW: Duration = Duration::from_secs(3);
/// A lease ends on its agent a little later than here, by the time that its renewal was under way.
pub const FAULT_LEASE_SLACK: Duration = Duration::from_secs(2);
/// For an agent to say how a fault is, beyond the time-outs of its stage or command: it tries to revert three times, and a
/// proxy may take 5 s each time.
pub const FAULT_ANSWER: Duration = Duration::from_secs(20);
/// How long other agents may tell of a passing session that was sooner than the one that was heard of first.
pub const RECOVERY_SETTLES: Duration = Duration::from_secs(1);
/// Reverts of faults kept for runs that could not do them; the oldest go first.
pub const MAX_STORED_REVERTS: usize = 1_000;
