//! Every capacity and time-out of an agent, with its reason.

use std::time::Duration;

/// Series per run and agent: twice the 2,000 that a whole run may have. The coordinator enforces the
/// run's own bound, this one only keeps a broken plan from filling an agent's memory.
pub const SERIES: usize = 4_000;

/// Failures of one (stage, error) that keep status, headers and body. The sixth teaches nothing new.
pub const EVIDENCE_KEPT: u32 = 5;

/// Kinds of findings (severity, code, scenario, stage) on one worker. Each stage has at most eleven error kinds.
pub const FINDING_KINDS: usize = 1_000;

/// Slowest sessions that an agent reports in a run.
pub const SLOWEST: usize = 10;

/// Rows waiting on one worker to be compared, between two cuts, in bytes on the wire: some 200,000 with numbers as keys. When
/// half of it is taken, the worker cuts, and streams that have more wait until it has.
pub const WITNESS_BYTES: usize = 5_000_000;

/// Rows of one batch, of all workers, in bytes on the wire, so that a batch stays far below the 16 MiB that a coordinator
/// takes: some 400,000 with numbers as keys. When half of it is taken, the batch is made.
pub const MERGED_BYTES: usize = 10_000_000;

/// Groups with rows, of one worker or batch. A batch may name 65,536 strings, and others need some.
pub const WITNESS_GROUPS: usize = 20_000;

/// Whole-stream digests waiting on one worker between two cuts, or in one batch: about 50 bytes each.
pub const WITNESS_STREAMS: usize = 50_000;

/// Streams of one session in one group that are remembered apart, so that the session is no witness twice; older ones are
/// remembered together.
pub const STREAMS_OF_A_SESSION: usize = 64;

/// Faults of the data that one stage of one session tells. The rest are counted.
pub const FAULTS_OF_A_STAGE: usize = 32;

/// What drivers notice in one stage of one session beside that. The rest are counted.
pub const NOTES_OF_A_STAGE: usize = 64;

/// Pictures that an agent reports in a run, and bytes of all of them: each of the first few failures of a kind has one, of
/// half a MiB at most. Further findings come without.
pub const SCREENSHOTS: usize = 40;
/// See [`SCREENSHOTS`].
pub const SCREENSHOT_BYTES: usize = 8 * 1024 * 1024;

/// Pictures of one batch, in bytes, so that a batch with all its rows stays below what a coordinator takes.
pub const BATCH_SCREENSHOT_BYTES: usize = 3 * 1024 * 1024;

/// The longest text that is a row's key as it is; of a longer one its start and digest are. A coordinator takes no more than
/// 4 KiB.
pub const KEY_BYTES: usize = 256;

/// The longest name of a group of rows.
pub const GROUP_BYTES: usize = 1_024;

/// Worker threads of one agent.
pub const RUNTIMES: usize = 256;

/// The largest message on the link: a batch of all the rows that a second may hold, with room to spare. Coordinators take as
/// much.
pub const LINK_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Messages that wait for the transport. Few, so that what waits is in the spool, where it is counted.
pub const LINK_QUEUE: usize = 32;

/// Events that wait for the agent's loop.
pub const EVENT_QUEUE: usize = 256;

/// HTTP/2 pings on an idle link, and the wait for each.
pub const LINK_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The shortest heartbeat a coordinator may ask for.
pub const HEARTBEAT_LEAST: Duration = Duration::from_millis(50);

/// The shortest lease a coordinator may give.
pub const LEASE_LEAST: Duration = Duration::from_secs(1);

/// For the transport to deliver what was sent last.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// For a connection to the coordinator to open, and for its welcome.
pub const LINK_ANSWER: Duration = Duration::from_secs(10);

/// Before the second attempt to reach the coordinator.
pub const LINK_BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// The longest pause between two attempts.
pub const LINK_BACKOFF_MOST: Duration = Duration::from_secs(5);

/// Distinct statuses of one stage that are counted by name.
pub const STATUSES: usize = 60;

/// Spans that one session keeps until its end, when it is decided whether they are exported: about 100 bytes each.
pub const SPANS_PER_SESSION: usize = 500;

/// Stages that a slow session shows.
pub const SLOW_SESSION_STAGES: usize = 50;

/// Branches of one parallel group. What a server answers may decide how many there are.
pub const BRANCHES: u64 = 10_000;

/// Rounds of a repeat after which other sessions get their turn, even if no round ever waited.
pub const ROUNDS_WITHOUT_YIELD: u64 = 64;

/// What cleanup may take beyond the time-outs of its stages.
pub const CLEANUP_SLACK: Duration = Duration::from_secs(10);

/// What cleanup grants a stage without a time-out of its own.
pub const CLEANUP_STAGE: Duration = Duration::from_secs(60);

/// The message of a finding, in bytes.
pub const FINDING_MESSAGE: usize = 500;

/// The evidence of a finding, in bytes: headers and 2 KiB of a body.
pub const FINDING_DETAIL: usize = 4 * 1024;

/// Sessions started in one go before those already started get their turn.
pub const BURST_WITHOUT_YIELD: u32 = 64;

/// Runs that one agent serves at once.
pub const RUNS: usize = 4;

/// Until a worker tries again to hand over what it measured, if its assignment had no room.
pub const CUT_AGAIN: Duration = Duration::from_millis(10);

/// Between two batches.
pub const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Encoded batches that wait in memory for their acknowledgement.
pub const SPOOL_BYTES: usize = 64 * 1024 * 1024;

/// Orders that wait for an assignment, and commands that wait for a worker.
pub const ORDER_QUEUE: usize = 32;

/// Content of plans and their files that an agent holds for its coordinator.
pub const BLOB_BYTES: usize = 256 * 1024 * 1024;

/// For tasks to end once nothing is left for them to do.
pub const ENDING: Duration = Duration::from_secs(5);

/// For the coordinator to acknowledge the last batches of an agent that is leaving.
pub const LEAVING: Duration = Duration::from_secs(10);

/// For the trace collector to take the last spans.
pub const TRACES_FLUSH: Duration = Duration::from_secs(5);

/// Keys and digests of all truths that an agent reads, together: some 5 million rows with a number for a key.
pub const TRUTH_BYTES: usize = 256 * 1024 * 1024;

/// Truths that an agent keeps, each one query: a session may well have one of its own.
pub const TRUTHS: usize = 1_024;

/// Truths that are read at the same time; more would only wait for each other, and for the server.
pub const TRUTH_READS: usize = 8;

/// Rows of a truth that are handed to the streams at once.
pub const TRUTH_CHUNK: usize = 256;

/// Documents of a truth after which others get their turn, even if no document was ever waited for.
pub const TRUTH_WITHOUT_YIELD: u64 = 64;

/// Rows of one stream that wait for their truth to be read, some 40 bytes each.
pub const TRUTH_PENDING: usize = 16 * 1_024;

/// How long a stream is not read on while its truth is read and so many rows wait: then rows are lost to verification, and
/// the stream goes on.
pub const TRUTH_HELD: Duration = Duration::from_secs(1);

/// How long a stream that is over waits for its truth to be read.
pub const TRUTH_SETTLES: Duration = Duration::from_secs(30);

/// Spans of rows that a stream has left out and may still bring. What falls out is missing.
pub const TRUTH_GAPS: usize = 4_096;

/// Connections through one proxy at once: each takes two descriptors, and a process has some 20,000.
pub const PROXY_CONNECTIONS: usize = 4_096;

/// What a proxy reads at once.
pub const PROXY_CHUNK: usize = 16 * 1024;

/// Pieces under way on one way of one connection through a proxy: 4 MiB, which a delay of 100 ms empties at 40 MiB a second.
pub const PROXY_CHUNKS: usize = 256;

/// KiB under way through one proxy, of all connections: who finds no room is not read from until there is.
pub const PROXY_ROOM_KIB: usize = 256 * 1024;

/// For a proxy to reach the other side.
pub const PROXY_CONNECT: Duration = Duration::from_secs(10);

/// For open connections to end when a fault cuts them.
pub const PROXY_CUT: Duration = Duration::from_secs(1);

/// Until a proxy takes connections again after the system had no room for one.
pub const PROXY_ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// Until a proxy tries again to listen after a cut.
pub const PROXY_LISTEN_AGAIN: Duration = Duration::from_millis(100);

/// Orders that wait for a proxy.
pub const PROXY_ORDERS: usize = 32;

/// Bytes of orders and answers under way to a proxy within the agent's process.
pub const PROXY_PIPE: usize = 16 * 1024;

/// For a proxy to carry an order out; a cut takes up to [`PROXY_CUT`].
pub const PROXY_ANSWER: Duration = Duration::from_secs(5);

/// For the process of a proxy to end.
pub const PROXY_END: Duration = Duration::from_secs(2);

/// How long a proxy stays when its agent is gone: what other agents have in flight through it may end, which takes up to the
/// 30 s of a graceful stop and a cleanup.
pub const PROXY_LINGER: Duration = Duration::from_secs(60);

/// Orders that wait for one fault: an injection takes a while, and renewals come meanwhile.
pub const FAULT_ORDERS: usize = 16;

/// How long a stage of a fault may take that has no time-out of its own. Coordinators wait a little longer.
pub const FAULT_STAGE: Duration = Duration::from_secs(60);

/// What is kept of the output of a command, of stdout and of stderr each.
pub const COMMAND_OUTPUT: usize = 2 * 1024;

/// Passing sessions of one worker that are remembered, to find the first one after a fault's end of which the worker hears a
/// little later.
pub const PASSED_REMEMBERED: usize = 1_024;
