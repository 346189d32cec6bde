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
