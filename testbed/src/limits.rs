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
