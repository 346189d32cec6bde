//! Every capacity of the testbed that is not a flag, with its reason.

use std::time::Duration;

/// A request body: the largest honest configure is under 1 KiB.
pub(crate) const MAX_BODY: usize = 1024 * 1024;
/// So much of a larger one is read before the connection is given up.
pub(crate) const MAX_DRAINED: usize = 64 * 1024 * 1024;
/// Connections of one server. Two hundred users with a connection per stream need far fewer on one job.
pub(crate) const MAX_CONNECTIONS: usize = 4_096;
/// Connections waiting to be accepted: a burst of virtual users must not meet one-second SYN retries.
pub(crate) const BACKLOG: u32 = 1_024;
/// One row's payload: the client's message limit is 50 MiB.
pub(crate) const MAX_ROW_BYTES: u64 = 32 * 1024 * 1024;
/// Rows of one manifest: an hour at 200 lines a second.
pub(crate) const MAX_MANIFEST_ROWS: u64 = 720_000;
/// Payload bytes that one manifest may generate and hash, so that one request cannot hold a core for minutes.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Manifests kept, because every session of a plan asks for the same few.
pub(crate) const MANIFESTS_KEPT: usize = 32;
/// Recordings in one answer: eleven days of ten-second files.
pub(crate) const MAX_RECORDINGS: usize = 100_000;
/// Behaviors set at once.
pub(crate) const MAX_BEHAVIORS: usize = 64;
/// Streams one call may hold waiting in its send buffer; beyond it, HTTP/2 pushes back and rows go late.
pub(crate) const SEND_BUFFER: usize = 128 * 1024;
/// How long a closing connection may take to say goodbye.
pub(crate) const CONNECTION_GRACE: Duration = Duration::from_millis(500);
/// How long a shutdown waits for everything to end by itself.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);
/// How long a shutdown waits after ending what was left.
pub(crate) const SHUTDOWN_ABORT: Duration = Duration::from_secs(2);
/// How long a connection to MongoDB may take to come about, and its heartbeat to be answered.
pub(crate) const MONGODB_CONNECT: Duration = Duration::from_secs(2);
/// How often MongoDB is asked whether it is there: one that is back is noticed within this.
pub(crate) const MONGODB_HEARTBEAT: Duration = Duration::from_secs(1);
/// Connections to MongoDB: more lookups at once wait for one.
pub(crate) const MONGODB_POOL: u32 = 32;
/// Documents of one answer of MongoDB's.
pub(crate) const MONGODB_BATCH: u32 = 10_000;
/// Recordings that a job's range may have: the longest official range, thirty days, in ten-second files.
pub(crate) const MAX_JOB_RECORDINGS: usize = 260_000;
/// Documents of jobs that wait for MongoDB: a thousand jobs and their ends. More are lost, and counted.
pub(crate) const TASK_DOCUMENTS_QUEUED: usize = 2_048;
/// How long an ending testbed goes on writing them.
pub(crate) const TASK_DOCUMENTS_FLUSH: Duration = Duration::from_secs(1);
/// Bytes of a request that such a document keeps.
pub(crate) const TASK_DOCUMENT_BYTES: usize = 64 * 1024;
/// How long behaviors may take to get into the database: the most unrecognized recordings take some seconds.
pub(crate) const DISORDER_TIMEOUT: Duration = Duration::from_secs(60);
/// Unrecognized recordings that `low-recognition` adds at most.
pub(crate) const LOW_RECOGNITION_MAX: u64 = 100_000;
/// As many of them go into one request.
pub(crate) const LOW_RECOGNITION_STEP: u64 = 1_000;
/// Recordings, or unrecognized ones, that one load makes: three years of ten-second files.
pub(crate) const MAX_LOADED: u64 = 10_000_000;
/// Documents of one request of a load.
pub(crate) const LOAD_BATCH: usize = 1_000;
/// Requests of a load whose rows are computed before their turn.
pub(crate) const LOAD_BATCHES_AHEAD: usize = 4;
/// How long one request of a load may take.
pub(crate) const LOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long RabbitMQ may take to answer one request, and a connection to come about.
pub(crate) const AMQP_ANSWER: Duration = Duration::from_secs(3);
/// How long a configure waits for its job's queue: a refusal must come within five seconds.
pub(crate) const AMQP_PATIENCE: Duration = Duration::from_secs(4);
/// Time between two tries to reach RabbitMQ.
pub(crate) const AMQP_RETRY: Duration = Duration::from_millis(500);
/// Seconds between heartbeats: a broker that falls silent is noticed after two.
pub(crate) const AMQP_HEARTBEAT_S: u16 = 5;
/// Bytes that a job's queue may hold, as deployed.
pub(crate) const AMQP_QUEUE_BYTES: i64 = 1_074_000_000;
/// Commands that a job has in hand at once.
pub(crate) const AMQP_PREFETCH: u16 = 16;
/// Messages that wait to be published: more are lost, and counted.
pub(crate) const AMQP_PUBLISHES_QUEUED: usize = 256;
/// Queues of gone jobs that wait for RabbitMQ to be deleted: more stay, and are counted.
pub(crate) const AMQP_REMOVALS_QUEUED: usize = 4_096;
/// Bytes of a command: the largest honest one is under 1 KiB.
pub(crate) const MAX_COMMAND: usize = 64 * 1024;
/// Queues that one command may ask to be monitored.
pub(crate) const MAX_MONITORED: usize = 256;
/// Characters of a text in a command.
pub(crate) const MAX_COMMAND_TEXT: usize = 256;
/// Commands of a job that `GET /_testbed` lists; all are counted.
pub(crate) const COMMANDS_LISTED: usize = 50;
/// How long the REST API is away while it restarts.
pub(crate) const RESTART: Duration = Duration::from_millis(1_500);
/// Streams shown on pages at once: thirty windows of three streams for a handful of users. Each holds a descriptor more
/// than a client without a page does.
pub(crate) const MAX_BRIDGES: usize = 512;
/// Rows that a page may be sent ahead of what it has drawn.
pub(crate) const MAX_PAGE_WINDOW: usize = 1_024;
/// What a page sends is a number.
pub(crate) const MAX_PAGE_FRAME: usize = 256;
/// What a bridge may hold for a page that reads slowly: the row in hand, which a client takes up to 50 MiB of, and its
/// frame's head.
pub(crate) const BRIDGE_BUFFER: usize = MAX_MESSAGE + 64 * 1024;
/// A job's message, as clients limit it.
pub(crate) const MAX_MESSAGE: usize = 50 * 1024 * 1024;
/// How long a bridge tries to reach a job whose pod comes up: most take 6 s, the slowest seen took 21 s.
pub(crate) const DIAL_PATIENCE: Duration = Duration::from_secs(30);
/// How long one try may take to connect.
pub(crate) const DIAL_ATTEMPT: Duration = Duration::from_secs(5);
/// How long to wait between tries: short against 6 s, and four refused connections a second cost nothing.
pub(crate) const DIAL_RETRY: Duration = Duration::from_millis(250);
/// HTTP/2 pings to a job and how long their answer may take, as the viewer has them.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(30);
pub(crate) const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(10);
/// How often a page is pinged, and how long it may be silent: three pings.
pub(crate) const PAGE_PING: Duration = Duration::from_secs(15);
pub(crate) const PAGE_HEARD_WITHIN: Duration = Duration::from_secs(45);
/// How long one frame may take to be written.
pub(crate) const PAGE_WRITE: Duration = Duration::from_secs(30);
/// How long a page may pause: longer than any job lets a client not read.
pub(crate) const PAGE_PAUSE: Duration = Duration::from_secs(600);
/// How long a page may take to read what is on its way when its stream ends, and to close.
pub(crate) const PAGE_GOODBYE: Duration = Duration::from_secs(30);
