//! Every capacity and time-out of the drivers, with its reason.

use std::time::Duration;

/// Bodies and messages larger than this are refused, unless the target says otherwise. What gRPC libraries use.
pub(crate) const BODY_BYTES: usize = 4 * 1024 * 1024;

/// A stream without a time-out of its own must bring its first message within this time…
pub(crate) const FIRST_MESSAGE: Duration = Duration::from_secs(30);

/// … and each further one within this.
pub(crate) const NEXT_MESSAGE: Duration = Duration::from_secs(60);

/// Connects in flight to one address. Accept queues are as short as 128 on many servers; beyond them the kernel drops
/// SYNs, and the client tries again only a second later.
pub(crate) const CONNECTS_IN_FLIGHT: usize = 64;

/// Addresses that the gate remembers before it forgets those that nobody waits for.
pub(crate) const GATES: usize = 1_024;

/// Keys in one store of connections. A virtual user that talks to a new address in each session keeps the latest ones.
pub(crate) const POOLS: usize = 256;

/// HTTP/2 windows, unless the stage says otherwise: hyper's, and so tonic's, defaults. Recorded in the report, since a
/// stream is never faster than window ÷ round trip.
pub(crate) const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
/// See [`STREAM_WINDOW`].
pub(crate) const CONNECTION_WINDOW: u32 = 5 * 1024 * 1024;

/// Bytes of small frames that may wait unread on one connection before `h2` closes it. A server that sends many small
/// messages is what is measured, not an attack; the windows bound what can wait.
pub(crate) const SMALL_FRAMES_BYTES: usize = 1 << 30;

/// Response headers larger than this are a protocol error.
pub(crate) const HEADER_LIST_BYTES: u32 = 64 * 1024;

/// Files that one server's reflection may answer with.
pub(crate) const REFLECTED_FILES: usize = 1_000;
/// And bytes of them: the descriptors of great services have a few hundred KiB.
pub(crate) const REFLECTED_BYTES: usize = 16 * 1024 * 1024;

/// How much of a body is kept for a finding, which shows 2 KiB of it.
pub(crate) const EVIDENCE_BYTES: usize = 2 * 1024;

/// Between two looks whether the worker has taken the rows that wait to be compared.
pub(crate) const ROOM_TRY: Duration = Duration::from_millis(1);

/// Looks until a stream reads on all the same: a second, in which a worker that is alive hands over many times as much.
pub(crate) const ROOM_TRIES: u32 = 1_000;

/// Documents of one answer, unless the stage has a `limit`: a list that expressions look at, not an export.
#[cfg(feature = "mongodb")]
pub(crate) const DOCUMENTS: usize = 10_000;

/// Connections of a MongoDB client that one session or virtual user has, or all sessions of an agent where the target says
/// nothing: what MongoDB's own drivers begin with.
#[cfg(feature = "mongodb")]
pub(crate) const MONGODB_CONNECTIONS: u32 = 10;

/// Connects in flight of one MongoDB client; more than its default of two, which would make a burst of sessions wait.
#[cfg(feature = "mongodb")]
pub(crate) const MONGODB_CONNECTING: u32 = 16;

/// How long a MongoDB client waits for one connection, unless its connection string says otherwise: its default.
#[cfg(feature = "mongodb")]
pub(crate) const MONGODB_CONNECT: Duration = Duration::from_secs(10);
